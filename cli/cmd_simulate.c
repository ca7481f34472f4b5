// SPDX-License-Identifier: Apache-2.0
// tally simulate: a made-up fleet's events on standard output or in a topic.
//
// Keeping pace. A broker that holds its records in memory only (librdkafka's mock cluster, in the
// demo) drops a partition's oldest beyond a few MiB without a word. With --max-ahead N the producer
// therefore goes in slices of N/2 records: after each it waits for every acknowledgement, and then
// until the group has noted all but N/2 of each partition. A partition is never more than N ahead
// of the group, whatever the keys are.
#include "cli/cli.h"
#include "kafka/kafka.h"
#include "simulate/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 256 * 1024,
    PROGRESS_MS = 500,
    PACE_MS = 50,
    STUCK_MS = 120 * 1000, // the group has noted nothing for so long
    FLUSH_MS = 60 * 1000,
};

typedef struct Simulation {
    FleetConfig fleet;
    int64_t seed, count_max;
    OptionList accounts, kafka_options;
    bool to_kafka;
    const char *brokers, *topic, *group;
    int64_t ahead_max; // 0: as fast as it goes
} Simulation;

typedef struct Progress {
    bool shown;
    int64_t count, last_ms;
} Progress;

static void show(Progress *progress, Instant time, bool last)
{
    char text[INSTANT_TEXT];
    int64_t now_ms = clock_monotonic_ms();
    if (!progress->shown || (!last && now_ms - progress->last_ms < PROGRESS_MS)) return;
    progress->last_ms = now_ms;
    fprintf(stderr, "\r%" PRId64 " events, up to %-28s%s", progress->count,
            instant_format(time, text), last ? "\n" : "");
}

// ---- to standard output ----
static Status write_all(const Simulation *s, Fleet *fleet, Error *error)
{
    OWNED_BUF Buf out = {0};
    FleetEvent event;
    for (int64_t i = 0; (s->count_max == 0 || i < s->count_max) && fleet_next(fleet, &event); i++) {
        fleet_json(fleet, &event, &out);
        buf_add_char(&out, '\n');
        if (out.n < CHUNK_BYTES) continue;
        TRY(cli_write(buf_str(&out), error));
        buf_clear(&out);
    }
    return cli_write(buf_str(&out), error);
}

// ---- to Kafka ----
// How far the farthest partition is ahead of the group; *noted sums what the group noted.
static Status ahead_of_group(KafkaWatch *watch, int64_t *ahead, int64_t *noted, Error *error)
{
    OWNED_KAFKA_WATERMARKS KafkaWatermarks marks = {0};
    TRY(kafka_watch_now(watch, &marks, error));
    *ahead = *noted = 0;
    for (int i = 0; i < marks.count; i++) {
        const KafkaWatermark *mark = &marks.marks[i];
        if (mark->noted >= 0 && mark->noted < mark->low)
            return error_set(error, ST_FATAL,
                             "%s [%d]: the broker dropped records %" PRId64 " to %" PRId64
                             " before the group had read them",
                             mark->topic, mark->partition, mark->noted, mark->low - 1);
        int64_t from = mark->noted >= 0 ? mark->noted : mark->low;
        if (mark->high - from > *ahead) *ahead = mark->high - from;
        *noted += mark->noted >= 0 ? mark->noted : 0;
    }
    return ST_OK;
}

static Status keep_pace(const Simulation *s, KafkaProducer *producer, KafkaWatch *watch,
                        Error *error)
{
    int64_t ahead = 0, noted = 0, noted_before = -1, since_ms = clock_monotonic_ms();
    TRY(kafka_producer_flush(producer, FLUSH_MS, error));
    for (;;) {
        Status status = ahead_of_group(watch, &ahead, &noted, error);
        if (status == ST_OK && ahead <= s->ahead_max / 2) return ST_OK;
        if (status != ST_OK && status != ST_RETRY) return status;
        int64_t now_ms = clock_monotonic_ms();
        if (status == ST_OK && noted != noted_before) {
            noted_before = noted;
            since_ms = now_ms;
        } else if (now_ms - since_ms > STUCK_MS) {
            return status != ST_OK
                       ? status
                       : error_set(error, ST_RETRY,
                                   "group '%s' has read nothing for %d s, and is %" PRId64
                                   " records behind",
                                   s->group, STUCK_MS / 1000, ahead);
        }
        clock_sleep_ms(PACE_MS);
    }
}

static Status produce_all(const Simulation *s, Fleet *fleet, KafkaProducer *producer,
                          KafkaWatch *watch, Error *error)
{
    OWNED_BUF Buf value = {0};
    FleetEvent event = {.time = s->fleet.from};
    Progress progress = {.shown = isatty(STDERR_FILENO) == 1};
    int64_t slice = s->ahead_max > 1 ? s->ahead_max / 2 : s->ahead_max;
    while ((s->count_max == 0 || progress.count < s->count_max) && fleet_next(fleet, &event)) {
        char key[FLEET_ID_TEXT];
        buf_clear(&value);
        fleet_json(fleet, &event, &value);
        KafkaMessage message = {s->topic, -1, str(fleet_vm_id(fleet, event.vm, key)),
                                buf_str(&value)};
        TRY(kafka_produce(producer, &message, error));
        progress.count++;
        show(&progress, event.time, false);
        if (slice > 0 && progress.count % slice == 0) TRY(keep_pace(s, producer, watch, error));
    }
    TRY(kafka_producer_flush(producer, FLUSH_MS, error));
    show(&progress, event.time, true);
    if (!progress.shown)
        fprintf(stderr, "%" PRId64 " events produced to topic %s\n", progress.count, s->topic);
    return ST_OK;
}

static Status to_kafka(const Simulation *s, Fleet *fleet, Error *error)
{
    OWNED_KAFKA_PRODUCER KafkaProducer *producer = NULL;
    OWNED_KAFKA_WATCH KafkaWatch *watch = NULL;
    KafkaConfig config = {
        s->brokers, &s->topic, 1, s->group, s->kafka_options.text, s->kafka_options.count};
    int64_t ahead, noted;
    TRY(kafka_watch_new(&config, s->ahead_max > 0, &watch, error));
    TRY(ahead_of_group(watch, &ahead, &noted, error)); // a topic that is missing is told at once
    TRY(kafka_producer_new(&config, &producer, error));
    return produce_all(s, fleet, producer, watch, error);
}

// ---- options ----
static Status parse(int argc, char **argv, Simulation *s, Error *error)
{
    static const Usage usage = {
        "tally simulate", "",
        "Writes a made-up fleet's VM lifecycle events, one CloudEvent a line, or "
        "produces them to Kafka. The same options give the same events.",
        0, 0};
    FleetConfig *f = &s->fleet;
    const Option options[] = {
        {"seed", OPTION_INT, &s->seed, .argument = "N", .help = "another fleet for each (1)"},
        {"from", OPTION_INSTANT, &f->from, .argument = "TIME",
         .help = "first event (the last month's start)"},
        {"to", OPTION_INSTANT, &f->to, .argument = "TIME",
         .help = "end of the events (this month's start)"},
        {"accounts", OPTION_INT, &f->accounts, .argument = "N",
         .help = "accounts acct-001 ... (10)"},
        {"account", OPTION_REPEAT, &s->accounts, .argument = "ID",
         .help = "these accounts instead"},
        {"vms", OPTION_INT, &f->vms, .argument = "N", .help = "VMs in all (50)"},
        {"runs-per-day", OPTION_INT, &f->runs_per_day, .argument = "N",
         .help = "of a VM, on average (4)"},
        {"heartbeats", OPTION_INT, &f->heartbeat_s, .argument = "SECONDS",
         .help = "between two; 0: none (300)"},
        {"repeats", OPTION_INT, &f->repeats_permille, .argument = "PERMILLE",
         .help = "events that come again (0)"},
        {"disorder", OPTION_INT, &f->disorder_s, .argument = "SECONDS",
         .help = "how late an event may come (0)"},
        {"lost-stops", OPTION_INT, &f->lost_stops_permille, .argument = "PERMILLE",
         .help = "runs whose end nobody is told (0)"},
        {"worked-example", OPTION_TEXT, &f->example, .argument = "ACCOUNT",
         .help = "adds 80 nano VMs, 3 hours a day on 30 days, of this account"},
        {"count", OPTION_INT, &s->count_max, .argument = "N",
         .help = "ends after N events; 0: does not (0)"},
        {"to-kafka", OPTION_FLAG, &s->to_kafka, .help = "produces to a topic, keyed by VM"},
        {"brokers", OPTION_TEXT, &s->brokers, .argument = "HOST:PORT,...",
         .help = "Kafka's brokers", .environment = "TALLY_KAFKA_BROKERS"},
        {"topic", OPTION_TEXT, &s->topic, .argument = "TOPIC", .help = "the topic (vm.lifecycle)",
         .environment = "TALLY_TOPIC"},
        {"kafka-option", OPTION_REPEAT, &s->kafka_options, .argument = "NAME=VALUE",
         .help = "passed on to librdkafka (TLS, SASL)"},
        {"max-ahead", OPTION_INT, &s->ahead_max, .argument = "RECORDS",
         .help = "waits for the collector: at most so many records a partition ahead; 0: no limit"},
        {"group", OPTION_TEXT, &s->group, .argument = "GROUP",
         .help = "the collector's group (tally)", .environment = "TALLY_GROUP"},
        {0},
    };
    char **arguments;
    int count;
    return options_parse(&usage, options, argc, argv, &arguments, &count, error);
}

Status cmd_simulate(int argc, char **argv, Error *error)
{
    Period now = day_period(instant_day(clock_now()));
    Simulation s = {
        .seed = 1,
        .topic = "vm.lifecycle",
        .group = "tally",
        .fleet = {.from = day_start(period_first((Period){now.months - 1})),
                  .to = day_start(period_first(now)),
                  .accounts = 10,
                  .vms = 50,
                  .runs_per_day = 4,
                  .heartbeat_s = 300},
    };
    TRY(parse(argc, argv, &s, error));
    s.fleet.seed = (uint64_t)s.seed;
    s.fleet.named = s.accounts.text;
    s.fleet.named_count = s.accounts.count;
    OWNED_FLEET Fleet *fleet = NULL;
    TRY(fleet_new(&s.fleet, &fleet, error));
    return s.to_kafka ? to_kafka(&s, fleet, error) : write_all(&s, fleet, error);
}
