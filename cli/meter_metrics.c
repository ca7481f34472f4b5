// SPDX-License-Identifier: Apache-2.0
#include "cli/meter_metrics.h"

#include "billing/watch.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

enum { READ_EVERY_MS = 10000, NAP_MS = 50 };

static const char EVENTS[] = "Events, by type and by what became of them.";
static const char LAG[] = "Records of a partition of this collector's that are not metered yet.";

static const int64_t BATCH_SIZES[] = {1, 10, 100, 1000, 5000, 10000, 25000, 50000};

// A partition's series; partitions that went to another collector show 0.
typedef struct LagSeries {
    char *topic;
    int32_t partition;
    bool seen;
    Gauge *gauge;
} LagSeries;

struct MeterMetrics {
    const Db *like;
    Metrics *metrics;
    Counter *metered[EVENT_NOT_METERED], *not_metered, *repeated, *dead[DEAD_REASONS],
        *dead_letters;
    Tally counted; // how far the counters are
    Histogram *batch_messages, *commit_time;
    Gauge *running, *behind;
    size_t lags, lag_room;
    LagSeries *lag;
    volatile sig_atomic_t stop;
    bool reads;
    pthread_t thread;
};

// ---- series ----
static Counter *events(Metrics *metrics, const char *type, const char *outcome)
{
    OWNED_BUF Buf labels = {0};
    label_add(&labels, "type", str(type));
    label_add(&labels, "outcome", str(outcome));
    return metrics_counter(metrics, "tally_events_total", labels.p, EVENTS);
}

static Counter *dead_letters(Metrics *metrics, DeadReason reason)
{
    OWNED_BUF Buf labels = {0};
    label_add(&labels, "reason", str(dead_reason_name(reason)));
    return metrics_counter(metrics, "tally_dead_letters_total", labels.p,
                           "Dead letters that this collector wrote, by reason.");
}

static void make_series(MeterMetrics *m)
{
    for (int type = 0; type < EVENT_NOT_METERED; type++)
        m->metered[type] = events(m->metrics, event_type_name((EventType)type), "metered");
    // Of these the type is not kept.
    m->not_metered = events(m->metrics, "any", "not_metered");
    m->repeated = events(m->metrics, "any", "repeated");
    m->dead_letters = events(m->metrics, "any", "dead_letter");
    for (int reason = DEAD_NOT + 1; reason < DEAD_REASONS; reason++)
        m->dead[reason] = dead_letters(m->metrics, (DeadReason)reason);
    m->batch_messages = metrics_histogram(m->metrics, "tally_batch_messages", NULL,
                                          "Messages of a batch that was committed.", BATCH_SIZES,
                                          sizeof BATCH_SIZES / sizeof *BATCH_SIZES, false);
    m->commit_time = metrics_histogram(m->metrics, "tally_batch_seconds", NULL,
                                       "How long a batch's transaction took, from begin to commit.",
                                       METRICS_LATENCY_US, METRICS_LATENCY_COUNT, true);
    m->running = metrics_gauge(m->metrics, "tally_vms_running", NULL,
                               "VMs that run, of all accounts.");
    m->behind = metrics_gauge(
        m->metrics, "tally_progress_behind_seconds", NULL,
        "How far the slowest partition's progress is behind the clock; -1: it has none yet.");
}

// ---- what stands in the database ----
static void *read_now_and_then(void *context)
{
    MeterMetrics *m = context;
    OWNED_DB Db *db = NULL;
    while (!m->stop) {
        WatchGauges gauges;
        Error ignored; // the collector tells of a database that is away
        Status status = !db           ? db_another(m->like, &db, &ignored)
                        : db_lost(db) ? db_reopen(db, &ignored)
                                      : ST_OK;
        if (status == ST_OK && watch_gauges(db, &gauges, &ignored) == ST_OK) {
            gauge_set(m->running, gauges.running);
            gauge_set_us(m->behind, gauges.has_behind ? gauges.behind_us : -US_PER_SECOND);
        }
        int64_t until = clock_monotonic_ms() + READ_EVERY_MS;
        while (!m->stop && clock_monotonic_ms() < until) clock_sleep_ms(NAP_MS);
    }
    return NULL;
}

Status meter_metrics_start(const Db *db, Metrics *metrics, MeterMetrics **out, Error *error)
{
    MeterMetrics *m = mem_alloc(sizeof *m);
    sigset_t all, before; // signals are the main thread's
    m->like = db;
    m->metrics = metrics;
    make_series(m);
    (void)sigfillset(&all);
    ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    m->reads = pthread_create(&m->thread, NULL, read_now_and_then, m) == 0;
    ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (!m->reads) {
        meter_metrics_stop(m);
        return error_set(error, ST_FATAL, "cannot start a thread");
    }
    *out = m;
    return ST_OK;
}

void meter_metrics_stop(MeterMetrics *m)
{
    if (!m) return;
    m->stop = 1;
    if (m->reads) ASSERT(pthread_join(m->thread, NULL) == 0);
    for (size_t i = 0; i < m->lags; i++) free(m->lag[i].topic);
    free(m->lag);
    free(m);
}

// ---- following the collector ----
void meter_metrics_wrote(void *context, size_t messages, int64_t us)
{
    MeterMetrics *m = context;
    histogram_observe(m->batch_messages, (int64_t)messages);
    histogram_observe(m->commit_time, us);
}

static int64_t follow(Counter *counter, int64_t now, int64_t *counted)
{
    int64_t more = now - *counted;
    if (more > 0) counter_add(counter, more);
    *counted = now;
    return more;
}

static void follow_tally(MeterMetrics *m, const Tally *tally)
{
    Tally *counted = &m->counted;
    for (int type = 0; type < EVENT_NOT_METERED; type++)
        follow(m->metered[type], tally->metered[type], &counted->metered[type]);
    follow(m->not_metered, tally->not_metered, &counted->not_metered);
    follow(m->repeated, tally->repeated, &counted->repeated);
    int64_t dead = 0;
    for (int reason = DEAD_NOT + 1; reason < DEAD_REASONS; reason++)
        dead += follow(m->dead[reason], tally->dead[reason], &counted->dead[reason]);
    if (dead > 0) counter_add(m->dead_letters, dead);
}

static LagSeries *lag_series(MeterMetrics *m, const Lag *lag)
{
    for (size_t i = 0; i < m->lags; i++)
        if (m->lag[i].partition == lag->partition && strcmp(m->lag[i].topic, lag->topic) == 0)
            return &m->lag[i];
    if (m->lags == m->lag_room) {
        m->lag_room = m->lag_room ? 2 * m->lag_room : 16;
        m->lag = mem_resize(m->lag, m->lag_room * sizeof *m->lag);
    }
    OWNED_BUF Buf labels = {0};
    char partition[16];
    int n = snprintf(partition, sizeof partition, "%" PRId32, lag->partition);
    label_add(&labels, "topic", str(lag->topic));
    label_add(&labels, "partition", (Str){partition, (size_t)n});
    LagSeries *series = &m->lag[m->lags++];
    *series = (LagSeries){
        .topic = mem_strdup(lag->topic),
        .partition = lag->partition,
        .gauge = metrics_gauge(m->metrics, "tally_partition_lag_records", labels.p, LAG)};
    return series;
}

void meter_metrics_tick(MeterMetrics *m, const Meter *meter, const Lag *lags, int count)
{
    follow_tally(m, meter_tally(meter));
    for (size_t i = 0; i < m->lags; i++) m->lag[i].seen = false;
    for (int i = 0; i < count; i++) {
        LagSeries *series = lag_series(m, &lags[i]);
        series->seen = true;
        gauge_set(series->gauge, lags[i].records);
    }
    for (size_t i = 0; i < m->lags; i++)
        if (!m->lag[i].seen) gauge_set(m->lag[i].gauge, 0);
}
