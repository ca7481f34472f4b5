// SPDX-License-Identifier: Apache-2.0
#include "cli/attend.h"

#include "base/log.h"
#include "billing/watch.h"
#include "notices/notices.h"

#include <pthread.h>
#include <signal.h>

enum {
    AGAIN_MS = 5000,        // between tries while the database is away, or something is wrong
    WATCH_EVERY_MS = 60000, // "once a minute"
    TURN_MS = 10000,        // between tries to become the one that watches
    UNFINISHED_MS = 1000,   // between a pass that was not finished and the next
    NAP_MS = 50,
};

struct Attend {
    const Db *like; // its URL is ours
    RelayConfig relay;
    QuotaConfig quota;
    bool relays, watches; // the threads that run
    pthread_t relay_thread, watch_thread;
    atomic_bool stop;
};

static void nap(const Attend *attend, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    while (!attend->stop && clock_monotonic_ms() < until) clock_sleep_ms(NAP_MS);
}

// Trouble is told once, and its end.
typedef struct Trouble {
    const char *who;
    bool now;
} Trouble;

static void told(Trouble *trouble, Status status, const Error *error)
{
    const LogField fields[] = {
        {"part", str(trouble->who)},
        {error && error->hint[0] ? "hint" : NULL, error ? str(error->hint) : STR("")}};
    if (status != ST_OK && !trouble->now)
        log_line(status == ST_RETRY ? LOG_WARN : LOG_ERROR, error->text, fields, 2);
    if (status == ST_OK && trouble->now) log_line(LOG_INFO, "goes on", fields, 1);
    trouble->now = status != ST_OK;
}

static Status connect(const Attend *attend, Db **db, Error *error)
{
    if (*db) return db_lost(*db) ? db_reopen(*db, error) : ST_OK;
    return db_another(attend->like, db, error);
}

// ---- the relay ----
static void relay_notice(const char *text)
{
    const LogField fields[] = {{"part", STR("relay")}};
    log_line(LOG_WARN, text, fields, 1);
}

static void *run_relay(void *context)
{
    const Attend *attend = context;
    OWNED_DB Db *db = NULL;
    Trouble away = {.who = "relay"}, wrong = {.who = "relay"};
    while (!attend->stop) {
        Error error = {0};
        Status status = connect(attend, &db, &error);
        told(&away, status, &error);
        if (status == ST_OK) {
            status = relay_run(db, &attend->relay, &error); // tells by itself of what passes
            if (status != ST_OK) told(&wrong, status, &error);
        }
        if (status != ST_OK) nap(attend, AGAIN_MS);
    }
    return NULL;
}

// ---- the watch ----
// One pass where it is this process's turn; *wait_ms until the next one.
static Status watch_once(const Attend *attend, Watch *watch, Db **db, bool *mine, int64_t *wait_ms,
                         Error *error)
{
    *wait_ms = TURN_MS;
    if (!*db || db_lost(*db)) *mine = false; // the lock went with the session
    TRY(connect(attend, db, error));
    if (!*mine) TRY(watch_turn(*db, mine, error));
    if (!*mine) return ST_OK;
    WatchDone done;
    int64_t began = clock_monotonic_ms();
    TRY(watch_pass(watch, *db, &attend->stop, &done, error));
    int64_t took = clock_monotonic_ms() - began;
    *wait_ms = done.unfinished || took >= WATCH_EVERY_MS ? UNFINISHED_MS : WATCH_EVERY_MS - took;
    return ST_OK;
}

static void *run_watch(void *context)
{
    const Attend *attend = context;
    OWNED_DB Db *db = NULL;
    Watch *watch = watch_new(&attend->quota);
    Trouble trouble = {.who = "watch"};
    bool mine = false;
    while (!attend->stop) {
        Error error = {0};
        int64_t wait_ms = AGAIN_MS;
        Status status = watch_once(attend, watch, &db, &mine, &wait_ms, &error);
        if (status != ST_OK) wait_ms = AGAIN_MS;
        told(&trouble, status, &error);
        nap(attend, wait_ms);
    }
    watch_free(watch);
    return NULL;
}

// ---- both ----
// Signals are the main thread's.
static int start(pthread_t *thread, void *(*run)(void *), Attend *attend)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int failed = pthread_create(thread, NULL, run, attend);
    ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return failed;
}

Status attend_start(const Db *db, const KafkaConfig *kafka, const char *notices_topic,
                    const QuotaConfig *quota, Attend **out, Error *error)
{
    Attend *attend = mem_alloc(sizeof *attend);
    attend->like = db;
    if (quota) attend->quota = *quota;
    if (kafka) attend->relay.kafka = *kafka;
    attend->relay.topic = notices_topic;
    attend->relay.stop = &attend->stop;
    attend->relay.notice = relay_notice;
    attend->relays = kafka && start(&attend->relay_thread, run_relay, attend) == 0;
    attend->watches = quota && start(&attend->watch_thread, run_watch, attend) == 0;
    if ((kafka && !attend->relays) || (quota && !attend->watches)) {
        attend_stop(attend);
        return error_set(error, ST_FATAL, "cannot start a thread");
    }
    *out = attend;
    return ST_OK;
}

void attend_stop(Attend *attend)
{
    if (!attend) return;
    attend->stop = true;
    if (attend->relays) ASSERT(pthread_join(attend->relay_thread, NULL) == 0);
    if (attend->watches) ASSERT(pthread_join(attend->watch_thread, NULL) == 0);
    free(attend);
}
