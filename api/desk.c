// SPDX-License-Identifier: Apache-2.0
// See desk.h.
//
// A ticket is one ask. It is in the list `ages`, in order of arrival, until it is answered, and in
// one place besides: waiting in `queue` to be decided, waiting in `credits` for its account's
// credits, or taken by the thread that decides. All of that changes under one lock; deciding,
// reckoning and answering happen without it.
//
// An account's asks all go to one lane, by its hash, and so are decided in order of arrival; the
// lanes have a thread, a connection and a queue each: while one waits for its commit, another
// decides.
//
//   desk_ask → queue → decided → answered
//                ↑        ↓ needs credits
//                └──── credits
//
// Whoever takes a ticket from `ages` answers it. One that is late while it is taken is answered by
// the reaper, and freed by the thread that has it, which has its own copy of the ask's texts.
//
// Where the database is away, or unwilling, tickets go back to the head of the queue, in order, and
// are asked again (`again`: it may be unknown whether they were done) until they are late.
#include "api/desk.h"

#include "api/desk_metrics.h"
#include "api/kept.h"
#include "api/ticket.h"
#include "base/log.h"
#include "billing/credits.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum {
    LANES = 2,
    DEADLINE_MS = 3000,
    BLOCKED_MS = 500,    // so long an account that somebody holds is passed over
    AWAY_MS = 1000,      // so long the database is waited for by those who come
    REAP_MS = 100,       // the reaper looks at least so often
    REAP_MAX = 64,       // and answers so many at once
    PAUSE_LEAST_MS = 10, // between tries, doubling
    PAUSE_MOST_MS = 1000,
    REOPEN_AFTER = 3, // tries that fail while the connection seems well
    RETRY_AFTER_S = 1,
};

// A thread with a connection of its own.
typedef struct Worker {
    Desk *desk;
    pthread_t thread;
    bool running;
    Db *db;          // NULL: not opened yet
    bool decides;    // else it reckons
    bool attended;   // quota_attend went well since it was opened (deciding threads')
    int failures;    // in a row
    int64_t away_ms; // since when it could not connect; 0: it could. Under the desk's lock
} Worker;

struct Lane {
    Worker worker;
    Quota *quota;
    pthread_cond_t queued;
    List queue;
    size_t alone;     // so many are decided one by one: one of them spoiled a batch
    char blocked[65]; // an account that somebody else holds, until then
    int64_t blocked_until_ms;
    // The deciding thread's.
    Ticket *taken[QUOTA_ASKS_MAX];
    Ask asks[QUOTA_ASKS_MAX];
};

struct Desk {
    const Db *from;
    int64_t deadline_ms;
    pthread_mutex_t lock;
    pthread_cond_t needed, stop; // CLOCK_MONOTONIC, as the lanes' are
    bool stopping;
    List ages, credits;
    Lane lane[LANES];
    Kept *kept;
    Worker reckoner;
    pthread_t reaper;
    bool reaping;
    DeskMetrics metrics;
};

static const char LOCK_NOT_AVAILABLE[] = "55P03"; // PostgreSQL's, where lock_timeout is over

static void lock(Desk *desk) { ASSERT(pthread_mutex_lock(&desk->lock) == 0); }
static void unlock(Desk *desk) { ASSERT(pthread_mutex_unlock(&desk->lock) == 0); }
static void wake(pthread_cond_t *condition) { ASSERT(pthread_cond_broadcast(condition) == 0); }

// ---- tickets ----
// Whoever gets true answers it; under the lock. A ticket that is left to its thread is only freed.
static bool ticket_settle(Desk *desk, Ticket *ticket)
{
    if (!ticket->aged) return false;
    list_remove(&desk->ages, ticket);
    ticket->aged = false;
    return true;
}

// Back to the head of the queue: hand them over last one first.
static void ticket_put_back(Ticket *ticket)
{
    if (!ticket->aged) {
        free(ticket);
        return;
    }
    ticket->place = &ticket->lane->queue;
    list_add(ticket->place, NULL, ticket);
}

// ---- answers ----
static void answer(Desk *desk, Ticket *ticket)
{
    outcome_count(&desk->metrics, &ticket->ask, outcome_of(&ticket->ask));
    ticket->answer(ticket->call, &ticket->ask);
    free(ticket);
}

static void answer_unavailable(Call *call)
{
    call_problem(call, PROBLEM_UNAVAILABLE, NULL, RETRY_AFTER_S,
                 "The database did not answer in time. Assume nothing to be reserved or released, "
                 "and ask again.");
}

static void answer_failed(Desk *desk, Ticket *ticket, Status status, const Error *error)
{
    outcome_count(&desk->metrics, &ticket->ask, OUTCOME_FAILED);
    call_failed(ticket->call, status, error);
    free(ticket);
}

void desk_ask(Desk *desk, Call *call, const Ask *ask, bool credits, AskFn answer_fn)
{
    Ticket *ticket = ticket_new(call, ask, credits, answer_fn);
    ticket->late_ms = clock_monotonic_ms() + desk->deadline_ms;
    Lane *lane = ticket->lane = &desk->lane[str_hash(HASH_SEED, ask->account) % LANES];
    lock(desk);
    bool stopping = desk->stopping;
    bool full = desk->ages.count >= DESK_QUEUE_MAX;
    // Who comes when the database has been away for a while need not wait to hear it.
    int64_t away_ms = lane->worker.away_ms;
    bool away = away_ms != 0 && clock_monotonic_ms() - away_ms >= AWAY_MS;
    if (!stopping && !full && !away) {
        ticket->aged = true;
        list_add(&desk->ages, desk->ages.last, ticket);
        List *place = credits ? &desk->credits : &lane->queue;
        ticket_place(ticket, place);
        // Its thread only sleeps while there is nothing.
        if (place->count == 1) wake(credits ? &desk->needed : &lane->queued);
    }
    unlock(desk);
    if (!stopping && !full && !away) return;
    outcome_count(&desk->metrics, ask, full ? OUTCOME_BUSY : OUTCOME_UNAVAILABLE);
    if (!full) answer_unavailable(call);
    else
        call_problem(call, PROBLEM_BUSY, NULL, RETRY_AFTER_S,
                     "%d requests are waiting already. Nothing was reserved; ask again.",
                     DESK_QUEUE_MAX);
    free(ticket);
}

// ---- threads with a connection ----
static void until(int64_t ms, struct timespec *out)
{
    ASSERT(clock_gettime(CLOCK_MONOTONIC, out) == 0);
    int64_t ns = out->tv_nsec + ms % 1000 * 1000000;
    out->tv_sec += ms / 1000 + ns / 1000000000;
    out->tv_nsec = ns % 1000000000;
}

// Says so once, then waits a little longer each time.
static void worker_failed(Worker *worker, const Error *error)
{
    LogField why[] = {{"error", str(error->text), 0}, {"hint", str(error->hint), 0}};
    if (!error->hint[0]) why[1].name = NULL;
    if (worker->failures++ == 0)
        log_line(LOG_WARN,
                 "quota waits for the database; requests are answered 503 when they are late", why,
                 2);
    int shift = worker->failures < 8 ? worker->failures - 1 : 7;
    int64_t pause = (int64_t)PAUSE_LEAST_MS << shift;
    Desk *desk = worker->desk;
    if (pause > PAUSE_MOST_MS) pause = PAUSE_MOST_MS;
    if (pause > desk->deadline_ms / 4) pause = desk->deadline_ms / 4;
    struct timespec end;
    until(pause, &end);
    lock(desk);
    while (!desk->stopping && pthread_cond_timedwait(&desk->stop, &desk->lock, &end) == 0) continue;
    unlock(desk);
}

static void worker_fine(Worker *worker)
{
    if (worker->failures) log_line(LOG_INFO, "quota goes on: the database answers again", NULL, 0);
    worker->failures = 0;
}

static Status worker_connect(Worker *worker, Error *error)
{
    // A server that only reads now, or refuses for another reason, may have a successor.
    if (worker->db && db_gone(worker->db)) worker->attended = false;
    bool doubtful = worker->failures > 0 && worker->failures % REOPEN_AFTER == 0;
    if (worker->db && !db_lost(worker->db) && !doubtful && worker->attended) return ST_OK;
    Desk *desk = worker->desk;
    worker->attended = false;
    if (!worker->db) TRY(db_another(desk->from, &worker->db, error));
    else if (db_lost(worker->db) || doubtful) TRY(db_reopen(worker->db, error));
    db_deadline(worker->db, desk->deadline_ms);
    if (worker->decides) TRY(quota_attend(worker->db, error));
    worker->attended = true;
    return ST_OK;
}

// False: could not connect, and waited.
static bool worker_ready(Worker *worker)
{
    Error error = {0};
    Status status = worker_connect(worker, &error);
    lock(worker->desk);
    if (status == ST_OK) worker->away_ms = 0;
    else if (worker->away_ms == 0) worker->away_ms = clock_monotonic_ms();
    unlock(worker->desk);
    if (status == ST_OK) return true;
    worker_failed(worker, &error);
    return false;
}

static bool stopping(Desk *desk)
{
    lock(desk);
    bool is = desk->stopping;
    unlock(desk);
    return is;
}

// ---- deciding ----
static void hand_credits(Desk *desk, Ask *ask, int64_t now_ms, Instant wall)
{
    if (ask->kind == ASK_RELEASE || (ask->has_credits && ask->credits_fresh)) return;
    const Credits *credits = kept_get(desk->kept, ask->account, now_ms, wall);
    ask->has_credits = credits != NULL;
    if (credits) ask->credits = *credits;
}

// The oldest ticket that may be decided now, from `ticket` on: whose account is not held by
// somebody else.
static Ticket *free_from(const Lane *lane, Ticket *ticket, int64_t now_ms)
{
    bool blocks = now_ms < lane->blocked_until_ms;
    while (ticket && blocks && str_is(ticket->ask.account, lane->blocked))
        ticket = ticket->link[BY_PLACE].after;
    return ticket;
}

// Until there is one, or the desk stops; under the lock.
static void wait_for_tickets(Desk *desk, Lane *lane)
{
    while (!desk->stopping && !free_from(lane, lane->queue.first, clock_monotonic_ms())) {
        if (!lane->queue.first) {
            ASSERT(pthread_cond_wait(&lane->queued, &desk->lock) == 0);
            continue;
        }
        struct timespec end;
        int64_t left = lane->blocked_until_ms - clock_monotonic_ms();
        until(left > 0 ? left : 0, &end);
        int woken = pthread_cond_timedwait(&lane->queued, &desk->lock, &end);
        (void)woken; // it looks again
    }
}

static size_t take(Lane *lane)
{
    Desk *desk = lane->worker.desk;
    lock(desk);
    gauge_set(desk->metrics.waiting, desk->ages.count);
    wait_for_tickets(desk, lane);
    size_t n = 0, most = lane->alone ? 1 : QUOTA_ASKS_MAX;
    if (lane->alone) lane->alone--;
    int64_t now_ms = clock_monotonic_ms();
    Instant wall = clock_now();
    Ticket *ticket = desk->stopping ? NULL : free_from(lane, lane->queue.first, now_ms);
    while (ticket && n < most) {
        Ticket *next = free_from(lane, ticket->link[BY_PLACE].after, now_ms);
        ticket_take(ticket);
        hand_credits(desk, &ticket->ask, now_ms, wall);
        lane->taken[n] = ticket;
        lane->asks[n++] = ticket->ask;
        ticket = next;
    }
    unlock(desk);
    return n;
}

static bool needs_credits(const Ask *ask)
{
    if (ask->result == ASKED_NEEDS_CREDITS) return true;
    // A reservation that is shown tells when credits run out.
    return ask->kind == ASK_SHOW && ask->result == ASKED_RENEWED && ask->overage_deny &&
           !(ask->has_credits && (ask->credits_fresh || ask->credits.version == ask->version));
}

static void decided(Lane *lane, size_t n)
{
    Desk *desk = lane->worker.desk;
    size_t settled = 0;
    lock(desk);
    for (size_t i = 0; i < n; i++) {
        Ticket *ticket = lane->taken[i];
        ticket->ask = lane->asks[i];
        if (ticket->aged && needs_credits(&ticket->ask)) {
            ticket_place(ticket, &desk->credits);
            if (desk->credits.count == 1) wake(&desk->needed);
        } else if (ticket_settle(desk, ticket)) {
            lane->taken[settled++] = ticket;
        } else {
            free(ticket);
        }
    }
    unlock(desk);
    for (size_t i = 0; i < settled; i++) answer(desk, lane->taken[i]);
}

static void put_back(Lane *lane, size_t n, bool again)
{
    Desk *desk = lane->worker.desk;
    lock(desk);
    for (size_t i = n; i > 0; i--) {
        lane->taken[i - 1]->ask.again |= again;
        ticket_put_back(lane->taken[i - 1]);
    }
    unlock(desk);
}

// Somebody holds one of the accounts for longer than that takes. Nothing was done. Which account it
// is shows when each ask is decided by itself; it is passed over for a moment, and the others go
// on.
static void held(Lane *lane, size_t n)
{
    if (n > 1) {
        lane->alone = n;
    } else {
        Str account = lane->asks[0].account;
        int length = snprintf(lane->blocked, sizeof lane->blocked, "%.*s", (int)account.n,
                              account.p);
        ASSERT(length > 0 && length < (int)sizeof lane->blocked);
        lane->blocked_until_ms = clock_monotonic_ms() + BLOCKED_MS;
    }
    put_back(lane, n, false);
}

// Not decided, for a reason that does not pass.
static void undecided(Lane *lane, size_t n, Status status, const Error *error)
{
    Desk *desk = lane->worker.desk;
    if (n > 1) { // whose fault it is shows when each is decided by itself
        put_back(lane, n, false);
        lane->alone = n;
        return;
    }
    lock(desk);
    bool ours = ticket_settle(desk, lane->taken[0]);
    unlock(desk);
    if (ours) answer_failed(desk, lane->taken[0], status, error);
    else free(lane->taken[0]);
}

static void *decide_all(void *context)
{
    Lane *lane = context;
    Worker *worker = &lane->worker;
    Desk *desk = worker->desk;
    while (!stopping(desk)) {
        if (!worker_ready(worker)) continue;
        size_t n = take(lane);
        if (n == 0) break;
        Error error = {0};
        int64_t begun_us = clock_monotonic_us();
        Status status = quota_decide(lane->quota, worker->db, lane->asks, n, &error);
        if (status == ST_RETRY && strcmp(error.code, LOCK_NOT_AVAILABLE) == 0) {
            held(lane, n);
            continue;
        }
        if (status == ST_RETRY) {
            put_back(lane, n, true);
            worker_failed(worker, &error);
            continue;
        }
        if (status != ST_OK) {
            undecided(lane, n, status, &error);
            continue;
        }
        worker_fine(worker);
        histogram_observe(desk->metrics.batch_asks, (int64_t)n);
        histogram_observe(desk->metrics.commit_us, clock_monotonic_us() - begun_us);
        decided(lane, n);
    }
    return NULL;
}

// ---- credits ----
// The oldest one's account, for all that wait for it now; those that come later are reckoned for
// anew. False: the desk stops.
static bool next_account(Desk *desk, char account[static 65])
{
    lock(desk);
    while (!desk->credits.first && !desk->stopping)
        ASSERT(pthread_cond_wait(&desk->needed, &desk->lock) == 0);
    bool go_on = !desk->stopping;
    if (go_on) {
        Str oldest = desk->credits.first->ask.account;
        int n = snprintf(account, 65, "%.*s", (int)oldest.n, oldest.p);
        ASSERT(n > 0 && n < 65);
        for (Ticket *t = desk->credits.first; t; t = t->link[BY_PLACE].after)
            t->reckoning = str_equal(t->ask.account, oldest);
    }
    unlock(desk);
    return go_on;
}

static void reckoned(Desk *desk, Str account, const Credits *credits, int64_t mono_ms, Instant wall)
{
    lock(desk);
    kept_put(desk->kept, account, credits, mono_ms, wall);
    for (Ticket *t = desk->credits.last, *before; t; t = before) { // oldest to the very front
        before = t->link[BY_PLACE].before;
        if (!t->reckoning) continue;
        ticket_take(t);
        t->reckoning = false;
        t->ask.has_credits = t->ask.credits_fresh = true;
        t->ask.credits = *credits;
        wake(&t->lane->queued);
        ticket_put_back(t);
    }
    unlock(desk);
}

// There are none to reckon: answers all that wait for them.
static void not_reckoned(Desk *desk, Status status, const Error *error)
{
    for (;;) {
        lock(desk);
        Ticket *ticket = desk->credits.first;
        while (ticket && !ticket->reckoning) ticket = ticket->link[BY_PLACE].after;
        if (ticket) ticket_take(ticket);
        bool ours = ticket && ticket_settle(desk, ticket);
        unlock(desk);
        if (!ticket) return;
        ASSERT(ours); // who answers a ticket that waits takes it from its place too
        ticket->ask.result = ASKED_NO_ACCOUNT;
        if (status == ST_MISSING) answer(desk, ticket);
        else answer_failed(desk, ticket, status, error);
    }
}

static void *reckon_all(void *context)
{
    Worker *worker = context;
    Desk *desk = worker->desk;
    OWNED_ARENA Arena *arena = arena_new();
    char account[65];
    while (!stopping(desk)) {
        if (!worker_ready(worker)) continue;
        if (!next_account(desk, account)) break;
        arena_reset(arena);
        Error error = {0};
        CreditsView view = {0};
        int64_t mono_ms = clock_monotonic_ms();
        Instant wall = clock_now();
        Status status = credits_read(worker->db, str(account), NULL, arena, &view, &error);
        if (status == ST_RETRY) {
            worker_failed(worker, &error);
            continue;
        }
        worker_fine(worker);
        if (status == ST_OK) reckoned(desk, str(account), &view.credits, mono_ms, wall);
        else not_reckoned(desk, status, &error);
    }
    return NULL;
}

// ---- the reaper ----
// Takes up to REAP_MAX tickets whose time is over (or all), oldest first; under the lock.
static int reap(Desk *desk, bool all, Call *calls[static REAP_MAX])
{
    int n = 0;
    int64_t now_ms = clock_monotonic_ms();
    while (n < REAP_MAX && desk->ages.first && (all || desk->ages.first->late_ms <= now_ms)) {
        Ticket *ticket = desk->ages.first;
        if (!ticket_settle(desk, ticket)) break;
        calls[n++] = ticket->call;
        outcome_count(&desk->metrics, &ticket->ask, OUTCOME_UNAVAILABLE);
        if (!ticket->place) continue; // taken: freed by the thread that has it
        ticket_take(ticket);
        free(ticket);
    }
    return n;
}

static void *reap_late(void *context)
{
    Desk *desk = context;
    Call *calls[REAP_MAX];
    lock(desk);
    while (!desk->stopping) {
        int n = reap(desk, false, calls);
        if (n > 0) {
            unlock(desk);
            for (int i = 0; i < n; i++) answer_unavailable(calls[i]);
            lock(desk);
            continue;
        }
        int64_t wait_ms = REAP_MS;
        if (desk->ages.first) {
            int64_t left = desk->ages.first->late_ms - clock_monotonic_ms();
            if (left < wait_ms) wait_ms = left > 0 ? left : 0;
        }
        struct timespec end;
        until(wait_ms, &end);
        int woken = pthread_cond_timedwait(&desk->stop, &desk->lock, &end);
        (void)woken; // the time may be over, or the desk stops: it looks
    }
    unlock(desk);
    return NULL;
}

// ---- life ----
Status desk_start(const DeskConfig *config, Desk **out, Error *error)
{
    Desk *desk = mem_alloc(sizeof *desk);
    desk->from = config->db;
    desk->deadline_ms = config->deadline_ms > 0 ? config->deadline_ms : DEADLINE_MS;
    desk->kept = kept_new();
    desk->ages.kind = BY_AGE;
    desk->credits.kind = BY_PLACE;
    desk_metrics_init(&desk->metrics, config->metrics);
    pthread_condattr_t monotonic;
    ASSERT(pthread_mutex_init(&desk->lock, NULL) == 0);
    ASSERT(pthread_condattr_init(&monotonic) == 0);
    ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    for (int i = 0; i < LANES; i++) {
        Lane *lane = &desk->lane[i];
        lane->worker = (Worker){.desk = desk, .decides = true};
        lane->quota = quota_new(&config->quota);
        lane->queue.kind = BY_PLACE;
        ASSERT(pthread_cond_init(&lane->queued, &monotonic) == 0);
    }
    ASSERT(pthread_cond_init(&desk->needed, &monotonic) == 0);
    ASSERT(pthread_cond_init(&desk->stop, &monotonic) == 0);
    ASSERT(pthread_condattr_destroy(&monotonic) == 0);
    desk->reckoner.desk = desk;
    bool running = true;
    for (int i = 0; i < LANES; i++) {
        Worker *worker = &desk->lane[i].worker;
        worker->running = pthread_create(&worker->thread, NULL, decide_all, &desk->lane[i]) == 0;
        running &= worker->running;
    }
    desk->reckoner.running = pthread_create(&desk->reckoner.thread, NULL, reckon_all,
                                            &desk->reckoner) == 0;
    desk->reaping = pthread_create(&desk->reaper, NULL, reap_late, desk) == 0;
    if (!running || !desk->reckoner.running || !desk->reaping) {
        desk_stop(desk);
        return error_set(error, ST_FATAL, "cannot start a thread: too many run on this machine");
    }
    *out = desk;
    return ST_OK;
}

void desk_stop(Desk *desk)
{
    if (!desk) return;
    lock(desk);
    desk->stopping = true;
    for (int i = 0; i < LANES; i++) wake(&desk->lane[i].queued);
    wake(&desk->needed);
    wake(&desk->stop);
    unlock(desk);
    for (int i = 0; i < LANES; i++)
        if (desk->lane[i].worker.running)
            ASSERT(pthread_join(desk->lane[i].worker.thread, NULL) == 0);
    if (desk->reckoner.running) ASSERT(pthread_join(desk->reckoner.thread, NULL) == 0);
    if (desk->reaping) ASSERT(pthread_join(desk->reaper, NULL) == 0);
    Call *calls[REAP_MAX];
    for (int n; (n = reap(desk, true, calls)) > 0;)
        for (int i = 0; i < n; i++) answer_unavailable(calls[i]);
    for (int i = 0; i < LANES; i++) {
        db_close(desk->lane[i].worker.db);
        quota_free(desk->lane[i].quota);
        ASSERT(pthread_cond_destroy(&desk->lane[i].queued) == 0);
    }
    db_close(desk->reckoner.db);
    kept_free(desk->kept);
    ASSERT(pthread_cond_destroy(&desk->needed) == 0);
    ASSERT(pthread_cond_destroy(&desk->stop) == 0);
    ASSERT(pthread_mutex_destroy(&desk->lock) == 0);
    free(desk);
}
