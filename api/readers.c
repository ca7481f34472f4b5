// SPDX-License-Identifier: Apache-2.0
// Readers: threads that run a route each, with a connection of their own. Calls wait in one queue,
// in order of arrival. A reader connects before it takes a call, so that whatever a connection that
// hangs delays is still in the queue, from which another thread answers what has become late.
//
// An answer that streams keeps its thread for as long as whoever asked likes to take. So streams
// have threads of their own, of which customers never hold the last one, and none more than one.
#include "api/internal.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { REAP_MS = 100 };

typedef struct Reader {
    Readers *readers;
    pthread_t thread;
    bool reads;
    char account[sizeof((Caller *)NULL)->account]; // the customer's that it reads for, else ""
} Reader;

struct Readers {
    const Db *like;
    bool streams;
    pthread_mutex_t lock;
    pthread_cond_t came, ended; // CLOCK_MONOTONIC
    Pending *first, *last;
    int waiting, threads;
    bool stopping, reaps;
    pthread_t reaper;
    Reader reader[READERS_MAX];
};

// ---- the queue; under the lock ----
static Pending *take_out(Readers *readers, Pending *before) // what is behind it; NULL: the first
{
    Pending **at = before ? &before->next : &readers->first, *pending = *at;
    if (!pending) return NULL;
    *at = pending->next;
    if (readers->last == pending) readers->last = before;
    readers->waiting--;
    pending->next = NULL;
    return pending;
}

static bool may_begin(const Readers *readers, const Pending *pending)
{
    const char *account = pending->call.caller.account;
    int customers = 0;
    if (!readers->streams || !account[0]) return true;
    for (int i = 0; i < readers->threads; i++) {
        if (strcmp(readers->reader[i].account, account) == 0) return false;
        customers += readers->reader[i].account[0] != '\0';
    }
    return customers < readers->threads - 1;
}

// The first that may begin, with the one before it; NULL: none may.
static Pending *find(const Readers *readers, Pending **before)
{
    *before = NULL;
    Pending *pending = readers->first;
    for (; pending && !may_begin(readers, pending); pending = pending->next) *before = pending;
    return pending;
}

// Whether a stream waits for others to end, and not for the database.
static bool crowded(const Readers *readers, const Pending *pending)
{
    int reading = 0;
    for (int i = 0; i < readers->threads; i++) reading += readers->reader[i].reads;
    return readers->streams && (reading == readers->threads || !may_begin(readers, pending));
}

static void lock(Readers *readers) { ASSERT(pthread_mutex_lock(&readers->lock) == 0); }
static void unlock(Readers *readers) { ASSERT(pthread_mutex_unlock(&readers->lock) == 0); }

static void answer_late(Pending *pending, bool crowd)
{
    if (crowd) {
        call_problem(&pending->call, PROBLEM_BUSY, NULL, 1,
                     "Too many answers that stream are under way. Ask again when one has ended.");
        return;
    }
    pending->why = "it waited too long for a reader";
    call_problem(&pending->call, PROBLEM_UNAVAILABLE, NULL, 1,
                 "The database did not answer in time.");
}

void readers_take(Readers *readers, Pending *pending)
{
    lock(readers);
    bool full = readers->waiting >= READERS_QUEUE_MAX, stopping = readers->stopping;
    if (!full && !stopping) {
        if (readers->last) readers->last->next = pending;
        else readers->first = pending;
        readers->last = pending;
        readers->waiting++;
        ASSERT(pthread_cond_signal(&readers->came) == 0);
    }
    unlock(readers);
    if (full || stopping)
        call_problem(&pending->call, PROBLEM_BUSY, NULL, 1,
                     "Too much is waiting for an answer already. Ask again.");
}

// ---- reading ----
static Status connect(const Readers *readers, Db **db, Error *error)
{
    if (*db && !db_gone(*db)) return ST_OK;
    if (*db) return db_reopen(*db, error);
    return db_another(readers->like, db, error);
}

static void run(Pending *pending, Db *db)
{
    int64_t left = pending->late_ms - clock_monotonic_ms();
    if (left <= 0) {
        answer_late(pending, false);
        return;
    }
    db_deadline(db, left);
    pending->call.db = db;
    // A customer's own rows are all that it finds, whatever a statement forgets to ask for.
    const Caller *caller = &pending->call.caller;
    bool customer = caller->role == ROLE_CUSTOMER;
    db_act_as(db, customer ? "act_as_customer" : NULL, str(caller->account));
    pending->call.route->run(&pending->call);
}

static void *read_all(void *context)
{
    Reader *reader = context;
    Readers *readers = reader->readers;
    OWNED_DB Db *db = NULL;
    Pending *before;
    lock(readers);
    while (!readers->stopping) {
        if (!find(readers, &before)) {
            ASSERT(pthread_cond_wait(&readers->came, &readers->lock) == 0);
            continue;
        }
        unlock(readers);
        Error error = {0};
        Status status = connect(readers, &db, &error);
        lock(readers);
        if (!find(readers, &before)) continue;
        Pending *pending = take_out(readers, before);
        memcpy(reader->account, pending->call.caller.account, sizeof reader->account);
        reader->reads = true;
        unlock(readers);
        if (status == ST_OK) run(pending, db);
        else call_failed(&pending->call, ST_RETRY, &error);
        lock(readers);
        reader->reads = false;
        reader->account[0] = '\0';
    }
    unlock(readers);
    return NULL;
}

// ---- what is late ----
static Pending *take_late(Readers *readers)
{
    bool late = readers->first && readers->first->late_ms <= clock_monotonic_ms();
    return late ? take_out(readers, NULL) : NULL;
}

static void *reap_all(void *context)
{
    Readers *readers = context;
    lock(readers);
    while (!readers->stopping) {
        Pending *late = take_late(readers);
        if (late) {
            bool crowd = crowded(readers, late);
            unlock(readers);
            answer_late(late, crowd);
            lock(readers);
            continue;
        }
        struct timespec until;
        ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
        until.tv_nsec += REAP_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&readers->ended, &readers->lock, &until); // looks, either way
    }
    unlock(readers);
    return NULL;
}

// ---- start and stop ----
static bool start_reader(Readers *readers)
{
    Reader *reader = &readers->reader[readers->threads];
    reader->readers = readers;
    return pthread_create(&reader->thread, NULL, read_all, reader) == 0;
}

Status readers_start(const Db *db, int threads, bool streams, Readers **out, Error *error)
{
    ASSERT(threads > 0 && threads <= READERS_MAX);
    Readers *readers = mem_alloc(sizeof *readers);
    pthread_condattr_t monotonic;
    readers->like = db;
    readers->streams = streams;
    ASSERT(pthread_condattr_init(&monotonic) == 0);
    ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_mutex_init(&readers->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&readers->came, &monotonic) == 0);
    ASSERT(pthread_cond_init(&readers->ended, &monotonic) == 0);
    ASSERT(pthread_condattr_destroy(&monotonic) == 0);
    readers->reaps = pthread_create(&readers->reaper, NULL, reap_all, readers) == 0;
    while (readers->reaps && readers->threads < threads && start_reader(readers))
        readers->threads++;
    if (readers->threads < threads) {
        readers_stop(readers);
        return error_set(error, ST_FATAL, "cannot start a thread");
    }
    *out = readers;
    return ST_OK;
}

void readers_stop(Readers *readers)
{
    if (!readers) return;
    lock(readers);
    readers->stopping = true;
    ASSERT(pthread_cond_broadcast(&readers->came) == 0);
    ASSERT(pthread_cond_broadcast(&readers->ended) == 0);
    unlock(readers);
    for (int i = 0; i < readers->threads; i++)
        ASSERT(pthread_join(readers->reader[i].thread, NULL) == 0);
    if (readers->reaps) ASSERT(pthread_join(readers->reaper, NULL) == 0);
    for (Pending *pending; (pending = take_out(readers, NULL));) answer_late(pending, false);
    ASSERT(pthread_mutex_destroy(&readers->lock) == 0);
    ASSERT(pthread_cond_destroy(&readers->came) == 0);
    ASSERT(pthread_cond_destroy(&readers->ended) == 0);
    free(readers);
}
