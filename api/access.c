// SPDX-License-Identifier: Apache-2.0
// See access.h.
//
// What was looked up is kept in a table by id. Who is in it, and looked up lately enough, is known
// at once. Others wait in a queue; the thread takes them, asks for all of their ids in one
// statement, and tells each. About every second it asks again for all that were used lately, so
// that who comes often never waits. While the database is away, what is kept counts for longer,
// nobody waits, and the thread tries to reach it again.
#include "api/access.h"
#include "api/api_sql.h"
#include "base/random.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum {
    BUCKETS_BITS = 14,
    BATCH_MAX = 256,    // ids of one statement for who waits
    REFRESH_MAX = 1000, // ids of one statement of a refresh
    REFRESH_MS = 1000,
    AWAY_MS = 200, // between tries to reach the database
    STATEMENT_MS = 1500,
};

typedef struct Entry {
    struct Entry *next;
    uint64_t id;
    bool known; // else there is no such token
    bool revoked, expires;
    Instant expires_at;
    Sha256 hash;
    Caller caller;
    int64_t checked_ms, used_ms; // monotonic; the first: before it was asked for
} Entry;

typedef struct Waiter {
    struct Waiter *next;
    uint64_t id;
    Sha256 hash;
    AccessFn found;
    void *context;
} Waiter;

struct Access {
    const Db *like;
    Db *db; // the thread's
    pthread_t thread;
    bool runs;
    uint64_t factor; // odd and secret: nobody can choose ids that meet in one bucket
    pthread_mutex_t lock;
    pthread_cond_t wake; // CLOCK_MONOTONIC
    Entry *bucket[1 << BUCKETS_BITS];
    int kept, waiting;
    Waiter *first, *last;
    bool away, stopping;
};

static void lock(Access *access) { ASSERT(pthread_mutex_lock(&access->lock) == 0); }
static void unlock(Access *access) { ASSERT(pthread_mutex_unlock(&access->lock) == 0); }

// ---- what is kept; under the lock ----
static Entry **place(Access *access, uint64_t id)
{
    Entry **at = &access->bucket[id * access->factor >> (64 - BUCKETS_BITS)];
    while (*at && (*at)->id != id) at = &(*at)->next;
    return at;
}

static void drop(Access *access, Entry **at)
{
    Entry *entry = *at;
    *at = entry->next;
    access->kept--;
    free(entry);
}

// Forgets who was not there, and who was not used for long.
static void sweep(Access *access, int64_t now_ms, int64_t refused_ms)
{
    for (int i = 0; i < 1 << BUCKETS_BITS; i++)
        for (Entry **at = &access->bucket[i]; *at;) {
            Entry *entry = *at;
            bool old = entry->known ? now_ms - entry->used_ms > ACCESS_AWAY_MS
                                    : now_ms - entry->checked_ms >= refused_ms;
            if (old) drop(access, at);
            else at = &entry->next;
        }
}

// The entry of this id, a new one where there is none; NULL: there is no room.
static Entry *entry_of(Access *access, uint64_t id, int64_t now_ms)
{
    Entry **at = place(access, id);
    if (*at) return *at;
    if (access->kept >= ACCESS_KEPT_MAX) {
        sweep(access, now_ms, 0);
        at = place(access, id);
    }
    if (access->kept >= ACCESS_KEPT_MAX) return NULL;
    *at = mem_alloc(sizeof **at);
    (*at)->id = id;
    (*at)->used_ms = now_ms;
    access->kept++;
    return *at;
}

static bool holds(const Entry *entry, int64_t now_ms, bool away)
{
    int64_t most = !entry->known ? ACCESS_REFUSED_MS : away ? ACCESS_AWAY_MS : ACCESS_FRESH_MS;
    return now_ms - entry->checked_ms <= most;
}

static AccessResult decide(Entry *entry, const Sha256 *hash, int64_t now_ms, Caller *caller)
{
    if (!entry->known || !hash_equal(&entry->hash, hash)) return ACCESS_REFUSED;
    if (entry->revoked) return ACCESS_REFUSED;
    if (entry->expires && instant_compare(entry->expires_at, clock_now()) <= 0)
        return ACCESS_REFUSED;
    entry->used_ms = now_ms; // by who has the secret: others keep nothing in the table
    *caller = entry->caller;
    return ACCESS_GRANTED;
}

void access_check(Access *access, Str authorization, AccessFn found, void *context)
{
    uint64_t id = 0;
    Sha256 hash = {{0}};
    Caller caller = {0};
    AccessResult result = ACCESS_REFUSED;
    Waiter *waiter = NULL;
    if (bearer_parse(authorization, &id, &hash)) {
        lock(access);
        int64_t now_ms = clock_monotonic_ms();
        Entry *entry = *place(access, id);
        if (entry && holds(entry, now_ms, access->away)) {
            result = decide(entry, &hash, now_ms, &caller);
        } else if (access->away || access->stopping || access->waiting >= ACCESS_QUEUE_MAX) {
            result = ACCESS_UNKNOWN;
        } else {
            waiter = mem_alloc(sizeof *waiter);
            *waiter = (Waiter){.id = id, .hash = hash, .found = found, .context = context};
            if (access->last) access->last->next = waiter;
            else access->first = waiter;
            access->last = waiter;
            access->waiting++;
            ASSERT(pthread_cond_signal(&access->wake) == 0);
        }
        unlock(access);
    }
    if (!waiter) found(context, result, &caller);
}

bool access_away(Access *access)
{
    lock(access);
    bool away = access->away;
    unlock(access);
    return away;
}

// ---- asking the database; in the thread ----
static void fill(Entry *entry, const Rows *rows, int row)
{
    Str account = rows_str(rows, row, 3);
    entry->known = true;
    ASSERT(sha256_parse(rows_str(rows, row, 1), &entry->hash));
    ASSERT(role_parse(rows_str(rows, row, 2), &entry->caller.role));
    ASSERT(account.n < sizeof entry->caller.account);
    memset(entry->caller.account, 0, sizeof entry->caller.account);
    if (account.n) memcpy(entry->caller.account, account.p, account.n);
    token_id_format(entry->id, entry->caller.token);
    entry->expires = !rows_null(rows, row, 4);
    if (entry->expires) entry->expires_at = rows_instant(rows, row, 4);
    entry->revoked = !rows_null(rows, row, 5);
}

// Keeps what came of asking for these ids.
static void keep(Access *access, const uint64_t *ids, size_t n, const Rows *rows, int64_t began_ms)
{
    lock(access);
    for (size_t i = 0; i < n; i++) {
        Entry *entry = entry_of(access, ids[i], began_ms);
        if (!entry) continue;
        entry->known = false;
        entry->checked_ms = began_ms;
    }
    for (int row = 0; row < rows_count(rows); row++) {
        Str text = rows_str(rows, row, 0);
        uint64_t id = strtoull(text.p, NULL, 16);
        Entry *entry = *place(access, id);
        if (entry) fill(entry, rows, row);
    }
    access->away = false;
    unlock(access);
}

static Status ask(Access *access, const uint64_t *ids, size_t n, Error *error)
{
    char text[TOKEN_ID_TEXT];
    OWNED_BUF Buf list = {0};
    OWNED_ROWS Rows *rows = NULL;
    array_begin(&list);
    for (size_t i = 0; i < n; i++) {
        token_id_format(ids[i], text);
        array_add(&list, str(text));
    }
    array_end(&list);
    if (!access->db) TRY(db_another(access->like, &access->db, error));
    else if (db_lost(access->db)) TRY(db_reopen(access->db, error));
    db_deadline(access->db, STATEMENT_MS);
    int64_t began_ms = clock_monotonic_ms();
    const Str params[] = {buf_str(&list)};
    TRY(db_query(access->db, &SQL_API_TOKEN_FIND, 1, params, &rows, error));
    keep(access, ids, n, rows, began_ms);
    return ST_OK;
}

// Where the database gives no answer, whatever the reason, who waits does not go on waiting.
static bool asked(Access *access, const uint64_t *ids, size_t n)
{
    Error error = {0};
    if (ask(access, ids, n, &error) == ST_OK) return true;
    lock(access);
    access->away = true;
    unlock(access);
    return false;
}

// `now`: it has just been asked for.
static AccessResult answer_of(Access *access, const Waiter *waiter, bool now, Caller *caller)
{
    int64_t now_ms = clock_monotonic_ms();
    Entry *entry = *place(access, waiter->id);
    if (!entry || (!now && !holds(entry, now_ms, access->away))) return ACCESS_UNKNOWN;
    return decide(entry, &waiter->hash, now_ms, caller);
}

static void tell(Access *access, Waiter *waiter, bool now)
{
    while (waiter) {
        Waiter *next = waiter->next;
        Caller caller = {0};
        lock(access);
        AccessResult result = answer_of(access, waiter, now, &caller);
        unlock(access);
        waiter->found(waiter->context, result, &caller);
        free(waiter);
        waiter = next;
    }
}

// Up to BATCH_MAX of who waits; under the lock.
static Waiter *take(Access *access, uint64_t ids[static BATCH_MAX], size_t *n)
{
    Waiter *first = access->first, *last = NULL;
    for (*n = 0; access->first && *n < BATCH_MAX; ++*n) {
        last = access->first;
        ids[*n] = last->id;
        access->first = last->next;
        access->waiting--;
    }
    if (last) last->next = NULL;
    if (!access->first) access->last = NULL;
    return first;
}

// Asks again for all that are kept. With none, too: so that it is known when the database is away,
// and when it is back.
static void refresh(Access *access)
{
    size_t n = 0;
    lock(access);
    sweep(access, clock_monotonic_ms(), ACCESS_REFUSED_MS);
    uint64_t *ids = mem_alloc(((size_t)access->kept + 1) * sizeof *ids);
    for (int i = 0; i < 1 << BUCKETS_BITS; i++)
        for (const Entry *entry = access->bucket[i]; entry; entry = entry->next)
            if (entry->known) ids[n++] = entry->id;
    unlock(access);
    for (size_t at = 0, part;; at += part) {
        part = n - at < REFRESH_MAX ? n - at : REFRESH_MAX;
        if (!asked(access, ids + at, part) || at + part == n) break;
    }
    free(ids);
}

static void wait_until(Access *access, int64_t ms)
{
    struct timespec until = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)pthread_cond_timedwait(&access->wake, &access->lock, &until); // looks, either way
}

static void *look_up(void *context)
{
    Access *access = context;
    int64_t due_ms = clock_monotonic_ms() + REFRESH_MS;
    lock(access);
    while (!access->stopping) {
        uint64_t ids[BATCH_MAX];
        size_t n;
        if (clock_monotonic_ms() >= due_ms) {
            unlock(access);
            refresh(access);
            lock(access);
            due_ms = clock_monotonic_ms() + (access->away ? AWAY_MS : REFRESH_MS);
        }
        Waiter *waiter = take(access, ids, &n);
        if (!waiter) {
            if (!access->stopping) wait_until(access, due_ms);
            continue;
        }
        bool away = access->away;
        unlock(access);
        bool now = !away && asked(access, ids, n);
        if (!away && !now) due_ms = clock_monotonic_ms() + AWAY_MS;
        tell(access, waiter, now);
        lock(access);
    }
    unlock(access);
    return NULL;
}

// ---- start and stop ----
Status access_start(const Db *db, Access **out, Error *error)
{
    Access *access = mem_alloc(sizeof *access);
    pthread_condattr_t monotonic;
    access->like = db;
    ASSERT(pthread_condattr_init(&monotonic) == 0);
    ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_mutex_init(&access->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&access->wake, &monotonic) == 0);
    ASSERT(pthread_condattr_destroy(&monotonic) == 0);
    random_bytes(&access->factor, sizeof access->factor);
    access->factor |= 1;
    refresh(access); // connects, where it can
    access->runs = pthread_create(&access->thread, NULL, look_up, access) == 0;
    if (!access->runs) {
        access_stop(access);
        return error_set(error, ST_FATAL, "cannot start a thread");
    }
    *out = access;
    return ST_OK;
}

void access_stop(Access *access)
{
    uint64_t ids[BATCH_MAX];
    size_t n;
    if (!access) return;
    lock(access);
    access->stopping = true;
    ASSERT(pthread_cond_broadcast(&access->wake) == 0);
    unlock(access);
    if (access->runs) ASSERT(pthread_join(access->thread, NULL) == 0);
    for (Waiter *waiter; (waiter = take(access, ids, &n));) tell(access, waiter, false);
    for (int i = 0; i < 1 << BUCKETS_BITS; i++)
        while (access->bucket[i]) drop(access, &access->bucket[i]);
    ASSERT(pthread_cond_destroy(&access->wake) == 0);
    ASSERT(pthread_mutex_destroy(&access->lock) == 0);
    db_close(access->db);
    free(access);
}
