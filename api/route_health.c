// SPDX-License-Identifier: Apache-2.0
// GET /healthz and /readyz: whether the process serves, and whether it can do what it is for.
// How far metering is behind stands in the body and decides nothing: a broker's outage takes no
// server out of service.
#include "api/api_sql.h"
#include "api/internal.h"
#include "base/log.h"
#include "meter/usage.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { LOOK_MS = 2000, WHY_MAX = 512 }; // LOOK_MS: how long a statement may take

struct Health {
    const Db *like;
    Db *db; // the thread's, once it runs
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; // over all below
    pthread_cond_t ended; // CLOCK_MONOTONIC
    bool stopping;
    bool ready;
    int64_t at_ms;        // when it was last looked
    Buf body;             // where ready
    char why[WHY_MAX];    // where not
    bool told, was_ready; // what the log says already; the thread's
};

static void lock(Health *health) { ASSERT(pthread_mutex_lock(&health->lock) == 0); }
static void unlock(Health *health) { ASSERT(pthread_mutex_unlock(&health->lock) == 0); }

// ---- looking ----
static void write_partition(JsonWriter *w, const Rows *rows, int row)
{
    char at[INSTANT_TEXT];
    bool none = rows_null(rows, row, 2);
    jw_begin_object(w, NULL);
    jw_str(w, "topic", rows_str(rows, row, 0));
    jw_int(w, "partition", rows_int(rows, row, 1));
    jw_text(w, "progress", none ? NULL : instant_format(rows_instant(rows, row, 2), at));
    if (none) jw_null(w, "behind_seconds");
    else jw_int(w, "behind_seconds", rows_int(rows, row, 3));
    jw_end_object(w);
}

static void write_body(const Now *now, const Rows *rows, Buf *out)
{
    char at[INSTANT_TEXT];
    JsonWriter writer = {.out = out}, *w = &writer;
    bool none = now->horizon.us <= INSTANT_MIN.us; // a partition without progress
    jw_begin_object(w, NULL);
    jw_text(w, "status", "ready");
    jw_text(w, "database", "ok");
    jw_text(w, "schema", "ok");
    jw_text(w, "clock", instant_format(now->clock, at));
    jw_text(w, "horizon", none ? NULL : instant_format(now->horizon, at));
    if (none) jw_null(w, "behind_seconds");
    else jw_int(w, "behind_seconds", (now->clock.us - now->horizon.us) / US_PER_SECOND);
    jw_begin_array(w, "partitions");
    for (int row = 0; row < rows_count(rows); row++) write_partition(w, rows, row);
    jw_end_array(w);
    jw_end_object(w);
}

// `schema`: the schema is what is wrong, and the error says so to anybody.
static Status look(Health *health, Buf *body, bool *schema, Error *error)
{
    Now now;
    OWNED_ROWS Rows *rows = NULL;
    OWNED_ARENA Arena *arena = arena_new();
    const Str most = param_int(arena, HEALTH_PARTITIONS_MAX);
    *schema = false;
    if (!health->db) TRY(db_another(health->like, &health->db, error));
    else if (db_lost(health->db)) TRY(db_reopen(health->db, error));
    db_deadline(health->db, LOOK_MS);
    Status status = db_schema_check(health->db, error);
    *schema = status == ST_REFUSED;
    if (status != ST_OK) return status;
    TRY(now_read(health->db, NULL, &now, error));
    TRY(db_query(health->db, &SQL_API_PARTITIONS, 1, &most, &rows, error));
    write_body(&now, rows, body);
    return ST_OK;
}

// In the log: each change, once.
static void tell(Health *health, Status status, const Error *error)
{
    bool ready = status == ST_OK;
    if (health->told && ready == health->was_ready) return;
    const LogField fields[] = {{"error", str(error->text)},
                               {error->hint[0] ? "hint" : NULL, str(error->hint)}};
    if (ready) log_line(LOG_INFO, "ready", NULL, 0);
    else log_line(LOG_WARN, "not ready", fields, 2);
    health->told = true;
    health->was_ready = ready;
}

static void look_and_keep(Health *health)
{
    Buf body = {0};
    bool schema = false;
    Error error = {0};
    Status status = look(health, &body, &schema, &error);
    tell(health, status, &error);
    lock(health);
    health->ready = status == ST_OK;
    health->at_ms = clock_monotonic_ms();
    buf_free(&health->body);
    health->body = body;
    int n = snprintf(health->why, sizeof health->why, "%s%s%s",
                     schema ? error.text : "The database cannot be reached.",
                     schema && error.hint[0] ? "; " : "", schema ? error.hint : "");
    ASSERT(n >= 0);
    unlock(health);
}

static void *look_on(void *context)
{
    Health *health = context;
    struct timespec next;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &next) == 0);
    lock(health);
    while (!health->stopping) {
        next.tv_sec += HEALTH_EVERY_MS / 1000;
        while (!health->stopping &&
               pthread_cond_timedwait(&health->ended, &health->lock, &next) == 0) {}
        if (health->stopping) break;
        unlock(health);
        look_and_keep(health);
        ASSERT(clock_gettime(CLOCK_MONOTONIC, &next) == 0);
        lock(health);
    }
    unlock(health);
    return NULL;
}

// ---- start and stop ----
Status health_start(const Db *db, Health **out, Error *error)
{
    Health *health = mem_alloc(sizeof *health);
    pthread_condattr_t monotonic;
    health->like = db;
    ASSERT(pthread_condattr_init(&monotonic) == 0);
    ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_mutex_init(&health->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&health->ended, &monotonic) == 0);
    ASSERT(pthread_condattr_destroy(&monotonic) == 0);
    look_and_keep(health);
    health->runs = pthread_create(&health->thread, NULL, look_on, health) == 0;
    if (!health->runs) {
        health_stop(health);
        return error_set(error, ST_FATAL, "cannot start a thread");
    }
    *out = health;
    return ST_OK;
}

void health_stop(Health *health)
{
    if (!health) return;
    lock(health);
    health->stopping = true;
    ASSERT(pthread_cond_broadcast(&health->ended) == 0);
    unlock(health);
    if (health->runs) ASSERT(pthread_join(health->thread, NULL) == 0);
    ASSERT(pthread_cond_destroy(&health->ended) == 0);
    ASSERT(pthread_mutex_destroy(&health->lock) == 0);
    db_close(health->db);
    buf_free(&health->body);
    free(health);
}

// ---- routes ----
void route_healthz(Call *call)
{
    Buf body = {0};
    if (!call_params(call, NULL, 0)) return;
    buf_add_text(&body, "{\"status\":\"ok\"}");
    call_json(call, 200, &body);
}

void route_readyz(Call *call)
{
    Health *health = api_health(call->api);
    Buf body = {0};
    char why[WHY_MAX] = "The database does not answer in time.";
    if (!call_params(call, NULL, 0)) return;
    bool away = access_away(api_access(call->api));
    lock(health);
    bool stale = clock_monotonic_ms() - health->at_ms > HEALTH_STALE_MS;
    bool ready = health->ready && !stale && !away;
    if (ready) buf_add_str(&body, buf_str(&health->body));
    else if (!health->ready) memcpy(why, health->why, sizeof why);
    unlock(health);
    if (ready) call_json(call, 200, &body);
    else call_problem(call, PROBLEM_UNAVAILABLE, NULL, 1, "%s", why);
}
