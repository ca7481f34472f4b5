// SPDX-License-Identifier: Apache-2.0
#include "api/exporter.h"
#include "base/log.h"
#include "cli/attend.h"
#include "cli/cli.h"
#include "cli/meter_metrics.h"
#include "meter/collector.h"
#include "meter/dead_letters.h"
#include "meter/file.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

// A second signal ends the process at once.
static Status catch_signals(Error *error)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    if (sigaction(SIGINT, &action, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0)
        return error_set(error, ST_FATAL, "cannot catch signals");
    return ST_OK;
}

// ---- telling how far things are ----
static int64_t metered(const Tally *tally)
{
    int64_t sum = 0;
    for (int type = 0; type < EVENT_NOT_METERED; type++) sum += tally->metered[type];
    return sum;
}

static int64_t dead(const Tally *tally)
{
    int64_t sum = 0;
    for (int reason = 0; reason < DEAD_REASONS; reason++) sum += tally->dead[reason];
    return sum;
}

static void clear_progress(void)
{
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
}

static void notice(const char *text)
{
    clear_progress();
    fprintf(stderr, "tally: %s\n", text);
}

static void tick_file(const Meter *meter, int64_t done, int64_t all)
{
    static int64_t shown_ms;
    int64_t now = clock_monotonic_ms();
    if (!isatty(STDERR_FILENO) || now - shown_ms < 200) return;
    shown_ms = now;
    fprintf(stderr, "\rmetering: ");
    if (all > 0) fprintf(stderr, "%3" PRId64 " %%, ", done * 100 / all);
    fprintf(stderr, "%" PRId64 " events metered\033[K", metered(meter_tally(meter)));
}

static void tick_topics(void *context, const Meter *meter, const Lag *lags, int count)
{
    if (context) meter_metrics_tick(context, meter, lags, count);
    if (!isatty(STDERR_FILENO)) return;
    int64_t behind = 0;
    for (int i = 0; i < count; i++) behind += lags[i].records;
    fprintf(stderr, "\rmetering: %" PRId64 " events metered, %" PRId64 " behind\033[K",
            metered(meter_tally(meter)), behind);
}

static void add_part(Buf *out, const char *name, int64_t count)
{
    if (count) buf_addf(out, "%s%" PRId64 " %s", out->n ? ", " : "", count, name);
}

static void print_summary(const Meter *meter)
{
    const Tally *tally = meter_tally(meter);
    OWNED_BUF Buf reasons = {0};
    for (int reason = 1; reason < DEAD_REASONS; reason++)
        add_part(&reasons, dead_reason_name((DeadReason)reason), tally->dead[reason]);
    clear_progress();
    fprintf(stderr,
            "%" PRId64 " events metered, %" PRId64 " repeated, %" PRId64
            " of types that are not metered",
            metered(tally), tally->repeated, tally->not_metered);
    if (reasons.n)
        fprintf(stderr, "; %" PRId64 " dead letter%s (%s): tally dead-letters list", dead(tally),
                dead(tally) == 1 ? "" : "s", reasons.p);
    fprintf(stderr, "; %" PRId64 " ms from the first to the last commit\n",
            tally->last_ms - tally->first_ms);
}

// ---- the command ----
#define METRICS_LISTEN "127.0.0.1:8482"

typedef struct MeterOptions {
    const char *file, *brokers, *group, *metrics_listen, *notices_topic;
    OptionList topics, kafka;
    bool until_caught_up, has_as_of;
    Instant as_of;
    int64_t batch_max, linger_ms, session_timeout_ms;
} MeterOptions;

static Status run_file(Meter *meter, const MeterOptions *o, Error *error)
{
    FileConfig config = {.path = o->file, .stop = &stop, .notice = notice, .tick = tick_file};
    int64_t retried = 0;
    TRY(meter_retry_due(meter, &retried, error));
    TRY(meter_file(meter, &config, error));
    TRY(meter_retry_due(meter, &retried, error));
    return meter_sweep(meter, error);
}

// ---- /metrics ----
typedef struct Shown {
    Metrics *metrics;
    MeterMetrics *series;
    Exporter *exporter;
} Shown;

static void shown_done(Shown *shown)
{
    exporter_stop(shown->exporter);
    meter_metrics_stop(shown->series);
    if (shown->metrics) metrics_free(shown->metrics);
}

// A second collector on the host finds the default port taken, and does without.
static Status show_metrics(const Db *db, Meter *meter, const MeterOptions *o, Shown *shown,
                           Error *error)
{
    Address at;
    if (!o->metrics_listen && o->until_caught_up) return ST_OK;
    const char *listen = o->metrics_listen ? o->metrics_listen : METRICS_LISTEN;
    TRY(cli_address("--metrics-listen", listen, &at, error));
    shown->metrics = metrics_new();
    Status status = exporter_start(shown->metrics, at.host, at.port, &shown->exporter, error);
    if (status != ST_OK && o->metrics_listen) return error_prefix(error, "--metrics-listen");
    if (status != ST_OK) {
        const LogField fields[] = {{"listen", str(listen)}, {"reason", str(error->text)}};
        log_line(LOG_WARN, "no metrics: the default port is taken (--metrics-listen HOST:PORT)",
                 fields, 2);
        return ST_OK;
    }
    TRY(meter_metrics_start(db, shown->metrics, &shown->series, error));
    meter_observe(meter, meter_metrics_wrote, shown->series);
    return ST_OK;
}

// Beside the collector go the relay and the minute watch; the watch goes by the clock, so not where
// --as-of stands in for it.
static Status run_topics(const Db *db, Meter *meter, const MeterOptions *o, Error *error)
{
    const char *const default_topic[] = {"vm.lifecycle"};
    CollectorConfig config = {.kafka = {.brokers = o->brokers,
                                        .group = o->group,
                                        .topics = o->topics.count ? o->topics.text : default_topic,
                                        .topics_count = o->topics.count ? o->topics.count : 1,
                                        .options = o->kafka.text,
                                        .options_count = o->kafka.count,
                                        .session_timeout_ms = (int)o->session_timeout_ms},
                              .linger_ms = o->linger_ms,
                              .until_caught_up = o->until_caught_up,
                              .stop = &stop,
                              .notice = notice,
                              .tick = tick_topics};
    const QuotaConfig quota = {.clock_skew_us = -1};
    OWNED_ATTEND Attend *attend = NULL;
    __attribute__((cleanup(shown_done))) Shown shown = {0};
    TRY(show_metrics(db, meter, o, &shown, error));
    config.context = shown.series;
    TRY(attend_start(db, &config.kafka, o->notices_topic, o->has_as_of ? NULL : &quota, &attend,
                     error));
    Status status = collector_run(meter, &config, error);
    meter_observe(meter, NULL, NULL);
    return status;
}

// "a,b" in one option or variable is two topics.
static void split_topics(OptionList *topics, Arena *arena)
{
    OptionList split = {0};
    for (int i = 0; i < topics->count; i++) {
        Str rest = str(topics->text[i]);
        while (rest.n > 0 && split.count < OPTION_REPEAT_MAX) {
            const char *comma = memchr(rest.p, ',', rest.n);
            size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
            if (n > 0) split.text[split.count++] = arena_copy(arena, (Str){rest.p, n}).p;
            size_t step = comma ? n + 1 : n;
            rest = (Str){rest.p + step, rest.n - step};
        }
    }
    *topics = split;
}

static Status read_options(int argc, char **argv, MeterOptions *o, Error *error)
{
    static const Usage usage = {
        "tally meter", "",
        "Meters VM lifecycle events: from Kafka's topics as one of any number of collectors, "
        "or with --file from a file of NDJSON.",
        0, 0};
    const Option options[] = {
        {"file", OPTION_TEXT, &o->file, .argument = "FILE",
         .help = "meter a file, - is standard input"},
        OPTION_BROKERS(&o->brokers, "Kafka's bootstrap servers"),
        {"topic", OPTION_REPEAT, &o->topics, .argument = "NAME",
         .help = "topic to meter, may be given several times (default vm.lifecycle)",
         .environment = "TALLY_TOPIC"},
        {"group", OPTION_TEXT, &o->group, .argument = "NAME",
         .help = "consumer group (default tally)", .environment = "TALLY_GROUP"},
        OPTION_KAFKA(&o->kafka),
        OPTION_NOTICES_TOPIC(&o->notices_topic),
        {"session-timeout-ms", OPTION_INT, &o->session_timeout_ms, .argument = "MS",
         .help = "how long a silent collector keeps its partitions (default 10000)"},
        {"until-caught-up", OPTION_FLAG, &o->until_caught_up,
         .help = "end at the topics' present end"},
        {"batch-max", OPTION_INT, &o->batch_max, .argument = "N",
         .help = "events per transaction (default 50000)"},
        {"linger-ms", OPTION_INT, &o->linger_ms, .argument = "MS",
         .help = "how long a batch may wait to fill (default 100)"},
        {"metrics-listen", OPTION_TEXT, &o->metrics_listen, .argument = "HOST:PORT",
         .help = "where a collector on Kafka serves /metrics (default " METRICS_LISTEN
                 ", where that is free)"},
        {"as-of", OPTION_INSTANT, &o->as_of, &o->has_as_of, .argument = "TIME",
         .help = "stands in for the clock"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    if (!o->file && !o->brokers) {
        error_set(
            error, ST_BAD_INPUT,
            "nothing to meter: neither --file nor --brokers (or TALLY_KAFKA_BROKERS) is given");
        error_hint(error, "tally meter --help");
        return ST_BAD_INPUT;
    }
    if (o->file && o->until_caught_up)
        return error_set(error, ST_BAD_INPUT,
                         "--until-caught-up is for topics: a file ends by itself");
    return ST_OK;
}

Status cmd_meter(int argc, char **argv, Error *error)
{
    MeterOptions o = {.group = "tally"};
    OWNED_ARENA Arena *arena = arena_new();
    TRY(read_options(argc, argv, &o, error));
    split_topics(&o.topics, arena);
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    TRY(catch_signals(error));
    OWNED_METER Meter *meter = NULL;
    TRY(meter_new(db, o.has_as_of ? &o.as_of : NULL, o.batch_max, &meter, error));
    Status status = o.file ? run_file(meter, &o, error) : run_topics(db, meter, &o, error);
    print_summary(meter);
    return status;
}
