// SPDX-License-Identifier: Apache-2.0
// Readers: threads that run a route each, with a connection of their own. Calls wait in one queue,
// in order of arrival. A reader connects before it takes a call, so that whatever a connection that
// hangs delays is still in the queue, from which another thread answers what has become late.
#include "api/internal.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

enum { REAP_MS = 100 };

struct Readers {
    const Db *like;
    pthread_mutex_t lock;
    pthread_cond_t came, ended; // CLOCK_MONOTONIC
    Pending *first, *last;
    int waiting, threads;
    bool stopping, reaps;
    pthread_t thread[READERS_MAX], reaper;
};

// ---- the queue; under the lock ----
static Pending *pop(Readers *readers)
{
    Pending *first = readers->first;
    if (!first) return NULL;
    readers->first = first->next;
    if (!readers->first) readers->last = NULL;
    readers->waiting--;
    first->next = NULL;
    return first;
}

static void lock(Readers *readers) { ASSERT(pthread_mutex_lock(&readers->lock) == 0); }
static void unlock(Readers *readers) { ASSERT(pthread_mutex_unlock(&readers->lock) == 0); }

static void answer_late(Pending *pending)
{
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
        answer_late(pending);
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
    Readers *readers = context;
    OWNED_DB Db *db = NULL;
    lock(readers);
    while (!readers->stopping) {
        if (!readers->first) {
            ASSERT(pthread_cond_wait(&readers->came, &readers->lock) == 0);
            continue;
        }
        unlock(readers);
        Error error = {0};
        Status status = connect(readers, &db, &error);
        lock(readers);
        Pending *pending = pop(readers);
        if (!pending) continue;
        unlock(readers);
        if (status == ST_OK) run(pending, db);
        else call_failed(&pending->call, ST_RETRY, &error);
        lock(readers);
    }
    unlock(readers);
    return NULL;
}

// ---- what is late ----
static Pending *pop_late(Readers *readers)
{
    bool late = readers->first && readers->first->late_ms <= clock_monotonic_ms();
    return late ? pop(readers) : NULL;
}

static void *reap_all(void *context)
{
    Readers *readers = context;
    lock(readers);
    while (!readers->stopping) {
        Pending *late = pop_late(readers);
        if (late) {
            unlock(readers);
            answer_late(late);
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
Status readers_start(const Db *db, int threads, Readers **out, Error *error)
{
    ASSERT(threads > 0 && threads <= READERS_MAX);
    Readers *readers = mem_alloc(sizeof *readers);
    pthread_condattr_t monotonic;
    readers->like = db;
    ASSERT(pthread_condattr_init(&monotonic) == 0);
    ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_mutex_init(&readers->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&readers->came, &monotonic) == 0);
    ASSERT(pthread_cond_init(&readers->ended, &monotonic) == 0);
    ASSERT(pthread_condattr_destroy(&monotonic) == 0);
    readers->reaps = pthread_create(&readers->reaper, NULL, reap_all, readers) == 0;
    while (readers->reaps && readers->threads < threads &&
           pthread_create(&readers->thread[readers->threads], NULL, read_all, readers) == 0)
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
    for (int i = 0; i < readers->threads; i++) ASSERT(pthread_join(readers->thread[i], NULL) == 0);
    if (readers->reaps) ASSERT(pthread_join(readers->reaper, NULL) == 0);
    for (Pending *pending; (pending = pop(readers));) answer_late(pending);
    ASSERT(pthread_mutex_destroy(&readers->lock) == 0);
    ASSERT(pthread_cond_destroy(&readers->came) == 0);
    ASSERT(pthread_cond_destroy(&readers->ended) == 0);
    free(readers);
}
