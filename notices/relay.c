// SPDX-License-Identifier: Apache-2.0
// The relay: notices go to Kafka in the order of their ids, keyed by account, so that one account's
// stand in one partition.
//
//   1. hold the advisory lock: it lives and dies with the session, so a relay that is killed gives
//      way at once, and one that lost its connection is no relay until it has the lock again
//   2. read the next batch that is not published; queue it; wait until every one is acknowledged
//   3. mark the batch as published
//
// Who is killed between 2 and 3, or loses the connection there, leaves the batch to be published
// again: at least once. Order holds all the same, in this sense: of two notices of an account, the
// first copy of the earlier one stands before the first copy of the later one. Each relay sends an
// account's notices in order, and never leaves one out: the producer is idempotent, keeps trying
// without an end, and where it cannot (gapless), dies rather than deliver what comes behind. Where
// a relay has lost its lock but not yet its queue, both send the same notices in the same order,
// and the first copies of two such sequences, however mixed, are in order too.
#include "notices/notices.h"

#include "notices/notices_sql.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    FLUSH_MS = 500,  // between looks at `stop` while acknowledgements are awaited
    GRACE_MS = 2000, // a batch under way may still be acknowledged, and marked, when it is stopped
    PATIENCE_MS = 5000, // until waiting for them is trouble
    EMPTY_MS = 250,     // between looks at an empty outbox
    TURN_MS = 2000,     // between tries to become the relay
    TROUBLE_MS = 1000,  // between tries while something is away
    NAP_MS = 50,
    GIVE_UP_MS = 30000, // of one pass (relay_once)
    OPTIONS_OURS = 2,
};

static const char *topic_of(const RelayConfig *config)
{
    return config->topic ? config->topic : NOTICES_TOPIC;
}

static bool stopping(const RelayConfig *config) { return config->stop && *config->stop; }

// ---- the producer ----
Status relay_producer(const RelayConfig *config, KafkaProducer **out, Error *error)
{
    // Ours come last, since they win.
    const char *options[KAFKA_OPTIONS_MAX];
    KafkaConfig kafka = config->kafka;
    if (kafka.options_count > KAFKA_OPTIONS_MAX - OPTIONS_OURS)
        return error_set(error, ST_BAD_INPUT, "%d Kafka options: at most %d are expected",
                         kafka.options_count, KAFKA_OPTIONS_MAX - OPTIONS_OURS);
    for (int i = 0; i < kafka.options_count; i++) options[i] = kafka.options[i];
    options[kafka.options_count++] = "message.timeout.ms=0";
    options[kafka.options_count++] = "enable.gapless.guarantee=true";
    kafka.options = options;
    return kafka_producer_new(&kafka, out, error);
}

// What may be behind acknowledgements that do not come.
static void explain(const RelayConfig *config, Error *error)
{
    const char *topic = topic_of(config);
    KafkaConfig kafka = config->kafka;
    kafka.topics = &topic;
    kafka.topics_count = 1;
    kafka.group = NULL;
    OWNED_KAFKA_WATCH KafkaWatch *watch = NULL;
    OWNED_KAFKA_WATERMARKS KafkaWatermarks marks = {0};
    Error why;
    if (kafka_watch_new(&kafka, false, &watch, &why) != ST_OK) return;
    if (kafka_watch_now(watch, &marks, &why) == ST_OK) return;
    error_set(error, ST_RETRY, "notices wait: %s", why.text);
    if (why.status == ST_MISSING)
        error_set(error, ST_RETRY, "notices wait: Kafka: topic '%s' does not exist: create it",
                  topic);
}

// ---- a batch ----
static void write_event(const RelayConfig *config, const Rows *rows, int row, Buf *out)
{
    char at[INSTANT_TEXT];
    JsonWriter w = {.out = out};
    buf_clear(out);
    jw_begin_object(&w, NULL);
    jw_text(&w, "specversion", "1.0");
    jw_str(&w, "id", rows_str(rows, row, 1));
    jw_text(&w, "source", config->source ? config->source : "/tally");
    jw_str(&w, "type", rows_str(rows, row, 3));
    jw_str(&w, "subject", rows_str(rows, row, 4));
    jw_text(&w, "time", instant_format(rows_instant(rows, row, 5), at));
    jw_text(&w, "datacontenttype", "application/json");
    jw_raw(&w, "data", rows_str(rows, row, 6));
    jw_end_object(&w);
}

static Status queue_all(KafkaProducer *producer, const RelayConfig *config, const Rows *rows,
                        Error *error)
{
    static const KafkaHeader content_type = {
        {"content-type", sizeof "content-type" - 1},
        {"application/cloudevents+json", sizeof "application/cloudevents+json" - 1}};
    OWNED_BUF Buf value = {0};
    for (int row = 0; row < rows_count(rows); row++) {
        write_event(config, rows, row, &value);
        KafkaMessage message = {.topic = topic_of(config),
                                .partition = -1,
                                .key = rows_str(rows, row, 2),
                                .value = buf_str(&value),
                                .headers = &content_type,
                                .headers_count = 1};
        TRY(kafka_produce(producer, &message, error));
    }
    return ST_OK;
}

static Status mark(Db *db, const Rows *rows, Error *error)
{
    OWNED_BUF Buf ids = {0};
    array_begin(&ids);
    for (int row = 0; row < rows_count(rows); row++) array_add(&ids, rows_str(rows, row, 0));
    array_end(&ids);
    Str params[] = {buf_str(&ids)};
    return db_run(db, &SQL_NOTICES_PUBLISHED, 1, params, NULL, error);
}

static Status read_batch(Db *db, Rows **rows, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Str params[] = {param_int(arena, NOTICES_BATCH_MAX)};
    return db_query(db, &SQL_NOTICES_UNPUBLISHED, 1, params, rows, error);
}

static Status become_relay(Db *db, bool *mine, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_NOTICES_RELAY_LOCK, 0, NULL, &rows, error));
    *mine = rows_bool(rows, 0, 0);
    return ST_OK;
}

// ---- one pass ----
static Status publish_all(Db *db, KafkaProducer *producer, const RelayConfig *config,
                          int64_t *published, Error *error)
{
    for (;;) {
        OWNED_ROWS Rows *rows = NULL;
        TRY(read_batch(db, &rows, error));
        if (rows_count(rows) == 0) return ST_OK;
        TRY(queue_all(producer, config, rows, error));
        TRY(kafka_producer_flush(producer, GIVE_UP_MS, error));
        TRY(mark(db, rows, error));
        *published += rows_count(rows);
    }
}

Status relay_once(Db *db, KafkaProducer *producer, const RelayConfig *config, int64_t *published,
                  Error *error)
{
    bool mine = false;
    *published = 0;
    TRY(become_relay(db, &mine, error));
    if (!mine) return error_set(error, ST_CONFLICT, "another process publishes the notices");
    Status status = publish_all(db, producer, config, published, error);
    Error later; // of two errors the first says more
    Status unlocked = db_lost(db) ? ST_OK
                                  : db_run(db, &SQL_NOTICES_RELAY_UNLOCK, 0, NULL, NULL,
                                           status == ST_OK ? error : &later);
    return status == ST_OK ? unlocked : status;
}

// ---- until stopped ----
typedef struct Relay {
    Db *db;
    const RelayConfig *config;
    KafkaProducer *producer;
    bool mine;      // this session holds the lock
    bool troubled;  // the last notice was of trouble
    bool explained; // of the trouble at hand, what may be behind it
    bool sending;   // what fails now is Kafka's, and tried again with another producer
    int64_t pruned_ms;
} Relay;

static void tell(const Relay *r, const char *text)
{
    if (r->config->notice) r->config->notice(text);
}

static void nap(const Relay *r, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    while (!stopping(r->config) && clock_monotonic_ms() < until) clock_sleep_ms(NAP_MS);
}

static void trouble(Relay *r, const Error *error)
{
    if (!r->troubled) tell(r, error->text);
    r->troubled = true;
}

static void well(Relay *r)
{
    if (r->troubled) tell(r, "notices are published again");
    r->troubled = r->explained = false;
}

// Waits for acknowledgements as long as it takes; ST_RETRY: stopped.
static Status await(Relay *r, Error *error)
{
    int64_t began = clock_monotonic_ms();
    for (;;) {
        Status status = kafka_producer_flush(r->producer, FLUSH_MS, error);
        if (status != ST_RETRY) return status;
        bool late = clock_monotonic_ms() - began >= GRACE_MS;
        if (stopping(r->config) && late) return status;
        if (r->explained || clock_monotonic_ms() - began < PATIENCE_MS) continue;
        explain(r->config, error);
        trouble(r, error);
        r->explained = true;
    }
}

// Nothing to do shows as *idle.
static Status step(Relay *r, bool *idle, Error *error)
{
    *idle = false;
    if (db_lost(r->db)) {
        r->mine = false;
        TRY(db_reopen(r->db, error));
    }
    if (!r->mine) TRY(become_relay(r->db, &r->mine, error));
    if (!r->mine) {
        r->troubled = false; // whoever it is will tell
        nap(r, TURN_MS);
        return ST_OK;
    }
    if (!r->producer) TRY(relay_producer(r->config, &r->producer, error));
    OWNED_ROWS Rows *rows = NULL;
    TRY(read_batch(r->db, &rows, error));
    if (rows_count(rows) > 0) {
        r->sending = true;
        TRY(queue_all(r->producer, r->config, rows, error));
        TRY(await(r, error));
        r->sending = false;
        TRY(mark(r->db, rows, error));
    }
    well(r);
    int64_t now = clock_monotonic_ms(), pruned = 0;
    if (now - r->pruned_ms >= NOTICES_PRUNE_EVERY_MS) {
        TRY(notices_prune(r->db, &pruned, error));
        r->pruned_ms = now;
    }
    *idle = rows_count(rows) < NOTICES_BATCH_MAX;
    return ST_OK;
}

// What a producer could not deliver, or still has in its queue, is read again from the outbox: the
// next producer begins with what is not published.
static void drop_producer(Relay *r)
{
    kafka_producer_free(r->producer);
    r->producer = NULL;
}

Status relay_run(Db *db, const RelayConfig *config, Error *error)
{
    Relay r = {
        .db = db, .config = config, .pruned_ms = clock_monotonic_ms() - NOTICES_PRUNE_EVERY_MS};
    Status status = ST_OK;
    while (!stopping(config)) {
        bool idle = false;
        r.sending = false;
        status = step(&r, &idle, error);
        if (status == ST_OK) {
            if (idle) nap(&r, EMPTY_MS);
            continue;
        }
        drop_producer(&r);
        bool passes = status == ST_RETRY || r.sending || stopping(config);
        if (!passes) break;
        status = ST_OK;
        if (stopping(config)) break;
        trouble(&r, error);
        nap(&r, TROUBLE_MS);
    }
    drop_producer(&r);
    Error ignored; // the lock goes with the session, too
    if (r.mine && !db_lost(db) &&
        db_run(db, &SQL_NOTICES_RELAY_UNLOCK, 0, NULL, NULL, &ignored) != ST_OK)
        tell(&r, ignored.text);
    return status;
}
