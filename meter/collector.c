// SPDX-License-Identifier: Apache-2.0
#include "meter/collector.h"

#include "meter/dead_letters.h"
#include "meter/meter_sql.h"
#include "quota/quota.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    WATCH_EVERY_MS = 1000,
    RETRY_DUE_EVERY_MS = 5000,
    SWEEP_EVERY_MS = 10 * 60 * 1000,
    POLL_MS = 50,
    WAIT_MS = 200, // between tries while the database or the broker is away
    REJOIN_MS = 1000,
};

// Our side of an assigned partition, beside its Place.
typedef struct Reading {
    int topic_index;
    bool verify; // the next record must be the one that was metered last
    int64_t last_offset;
    uint64_t last_hash;
    int64_t last_ms; // -1: not known
    int64_t reached; // everything below was handed out
    bool has_goal;   // at `goal` the noted time becomes the progress
    int64_t goal;
    Instant noted;
    int64_t lag; // records behind the end, when it was last asked for
} Reading;

typedef struct Collector {
    Meter *meter;
    const CollectorConfig *config;
    KafkaConsumer *consumer;
    KafkaWatch *watch;
    Place place[PLACES_MAX];
    Reading reading[PLACES_MAX];
    Lag lag[PLACES_MAX]; // for the tick
    int places;
    int64_t batch_began_ms, watch_asked_ms, retried_ms, swept_ms;
    Instant asked_at; // of the question under way
    bool has_start;
    Instant start;  // --until-caught-up: what stood there then must be metered
    bool troubled;  // the last notice was of trouble
    Buf topics;     // as an array
    Header *header; // of the record at hand
    int header_room;
} Collector;

static void notice(const Collector *c, const char *text)
{
    if (c->config->notice) c->config->notice(text);
}

// Of all that a record says, so that another one at the same offset and time differs.
static uint64_t record_hash(const KafkaRecord *record)
{
    uint64_t hash = str_hash(str_hash(HASH_SEED, record->key) * 31, record->value);
    for (int h = 0; h < record->headers_count; h++)
        hash = str_hash(str_hash(hash * 31, record->headers[h].name) * 31,
                        record->headers[h].value);
    return hash;
}

// ---- taking partitions up ----
static const KafkaWatermark *find_mark(const KafkaWatermarks *marks,
                                       const KafkaPartition *partition)
{
    for (int i = 0; i < marks->count; i++)
        if (marks->marks[i].topic_index == partition->topic_index &&
            marks->marks[i].partition == partition->partition)
            return &marks->marks[i];
    return NULL;
}

static Status gone(const KafkaPartition *partition, int64_t next, const char *why, Error *error)
{
    error_set(error, ST_FATAL, "topic %s, partition %d: position %" PRId64 " %s", partition->topic,
              partition->partition, next, why);
    error_hint(
        error,
        "nothing was skipped; if the topic was deleted and made anew, meter it under another name, "
        "or from a new database");
    return ST_FATAL;
}

// Where to begin, from the stored position and what the broker has.
static Status begin_at(KafkaPartition *partition, const KafkaWatermark *mark, const Rows *rows,
                       Place *place, Reading *reading, Error *error)
{
    place->epoch = rows_int(rows, 0, 0);
    place->next_offset = rows_int(rows, 0, 1);
    bool metered = !rows_null(rows, 0, 2);
    *reading = (Reading){.topic_index = partition->topic_index, .last_ms = -1};
    if (place->next_offset < mark->low)
        return gone(partition, place->next_offset,
                    "is gone from the broker: its retention was shorter than our pause", error);
    if (place->next_offset > mark->high)
        return gone(partition, place->next_offset,
                    "lies behind the topic's end: the topic was made anew", error);
    partition->offset = place->next_offset;
    if (!metered) return ST_OK;
    reading->last_offset = rows_int(rows, 0, 2);
    if (reading->last_offset < mark->low)
        return ST_OK; // by now gone, as its time was; what follows is there
    reading->verify = true;
    reading->last_hash = (uint64_t)rows_int(rows, 0, 3);
    if (!rows_null(rows, 0, 4)) reading->last_ms = rows_instant(rows, 0, 4).us / 1000;
    partition->offset = reading->last_offset;
    return ST_OK;
}

// The regular question may be under way; its answer is not wanted any more, but must be fetched.
static Status finish_question(Collector *c, Error *error)
{
    for (int i = 0; c->asked_at.us && i <= KAFKA_WATCH_TIMEOUT_MS / 10; i++) {
        bool ready = false;
        Error ignored;
        KafkaWatermarks old = {0};
        if (kafka_watch_answer(c->watch, &ready, &old, &ignored) == ST_OK && ready)
            kafka_watermarks_free(&old);
        if (ready) c->asked_at.us = 0;
        else clock_sleep_ms(10);
    }
    if (!c->asked_at.us) return ST_OK;
    return error_set(error, ST_RETRY, "the broker does not say how far its partitions reach");
}

static Status take_up(Collector *c, KafkaPartition *partition, const KafkaWatermarks *marks, int p,
                      Arena *arena, Error *error)
{
    const KafkaWatermark *mark = find_mark(marks, partition);
    if (!mark)
        return error_set(error, ST_RETRY,
                         "topic %s, partition %d: the broker does not say how far it reaches",
                         partition->topic, partition->partition);
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {str(partition->topic), param_int(arena, partition->partition),
                    param_int(arena, mark->low)};
    TRY(db_query(meter_db(c->meter), &SQL_METER_POSITION_TAKE, 3, params, &rows, error));
    c->place[p] = (Place){.topic = partition->topic, .partition = partition->partition};
    TRY(begin_at(partition, mark, rows, &c->place[p], &c->reading[p], error));
    return meter_origin_partition(c->meter, partition->topic, partition->partition,
                                  &c->place[p].origin, error);
}

// What Kafka's group has noted was committed here first. Where it knows more than we do, this
// database was restored, or another one than before: what had been reserved is not known here. The
// marks were asked for before our positions were read.
static Status check_noted(Collector *c, const KafkaWatermarks *marks, int count, Error *error)
{
    for (int p = 0; p < count; p++) {
        KafkaPartition partition = {.topic_index = c->reading[p].topic_index,
                                    .partition = c->place[p].partition};
        const KafkaWatermark *mark = find_mark(marks, &partition);
        if (!mark || mark->noted <= c->place[p].next_offset) continue;
        notice(c,
               "Kafka's group is ahead of this database: it was restored; nothing new is reserved "
               "until progress has caught up");
        return quota_restored(meter_db(c->meter), error);
    }
    return ST_OK;
}

static Status assigned(void *context, KafkaPartition *partitions, int count, Error *error)
{
    Collector *c = context;
    if (count > PLACES_MAX)
        return error_set(error, ST_FATAL, "%d partitions, more than %d", count, PLACES_MAX);
    if (db_lost(meter_db(c->meter))) TRY(meter_recover(c->meter, error));
    if (count > 0) {
        OWNED_KAFKA_WATERMARKS KafkaWatermarks marks = {0};
        OWNED_ARENA Arena *arena = arena_new();
        TRY(finish_question(c, error));
        TRY(kafka_watch_now(c->watch, &marks, error));
        for (int p = 0; p < count; p++) TRY(take_up(c, &partitions[p], &marks, p, arena, error));
        TRY(check_noted(c, &marks, count, error));
    }
    c->places = count;
    meter_places(c->meter, c->place, count);
    return ST_OK;
}

static void forget_places(Collector *c)
{
    meter_drop(c->meter);
    c->places = 0;
    meter_places(c->meter, c->place, 0);
}

static void note_offsets(Collector *c)
{
    KafkaPartition noted[64];
    int n = 0;
    for (int p = 0; p < c->places; p++) {
        if (c->reading[p].verify) continue;
        noted[n++] = (KafkaPartition){c->place[p].topic, c->reading[p].topic_index,
                                      c->place[p].partition, c->place[p].next_offset};
        if (n < 64 && p + 1 < c->places) continue;
        kafka_note_offsets(c->consumer, noted, n);
        n = 0;
    }
}

static void revoked(void *context, const KafkaPartition *partitions, int count)
{
    (void)partitions, (void)count;
    Collector *c = context;
    Error error;
    // What cannot be written now is read again by whoever is next.
    if (meter_flush(c->meter, &error) == ST_OK) note_offsets(c);
    forget_places(c);
}

static void lost(void *context, const KafkaPartition *partitions, int count)
{
    (void)partitions, (void)count;
    forget_places(context);
}

// ---- records ----
static int find_place(const Collector *c, int topic_index, int32_t partition)
{
    for (int p = 0; p < c->places; p++)
        if (c->place[p].partition == partition && c->reading[p].topic_index == topic_index)
            return p;
    return -1;
}

static Status recognise(Collector *c, const KafkaRecord *record, int p, Error *error)
{
    Reading *reading = &c->reading[p];
    bool same = record->kind == KAFKA_RECORD && record->offset == reading->last_offset &&
                record_hash(record) == reading->last_hash &&
                (reading->last_ms < 0 || record->timestamp_ms == reading->last_ms);
    KafkaPartition partition = {record->topic, record->topic_index, record->partition, 0};
    if (!same)
        return gone(&partition, reading->last_offset,
                    "does not hold the record that was metered last: the topic was made anew",
                    error);
    reading->verify = false;
    reading->reached = record->offset + 1;
    return ST_OK;
}

static Status take_record(Collector *c, const KafkaRecord *record, Error *error)
{
    int p = find_place(c, record->topic_index, record->partition);
    if (p < 0) return ST_OK; // of an assignment that is over
    Reading *reading = &c->reading[p];
    if (reading->verify) return recognise(c, record, p, error);
    if (record->kind == KAFKA_END) {
        if (record->offset > reading->reached) reading->reached = record->offset;
        return ST_OK;
    }
    int headers = record->headers_count;
    if (headers > c->header_room) {
        c->header_room = headers;
        c->header = mem_resize(c->header, (size_t)headers * sizeof *c->header);
    }
    for (int h = 0; h < headers; h++)
        c->header[h] = (Header){record->headers[h].name, record->headers[h].value};
    Message message = {record->key, record->value, headers, c->header};
    if (meter_pending(c->meter) == 0) c->batch_began_ms = clock_monotonic_ms();
    meter_add(c->meter, &message,
              &(Standpoint){.origin = c->place[p].origin,
                            .position = record->offset,
                            .place = p,
                            .record_hash = record_hash(record),
                            .timestamp_ms = record->timestamp_ms});
    reading->reached = record->offset + 1;
    return ST_OK;
}

// ---- writing, and waiting for the database ----
static bool stopping(const Collector *c) { return c->config->stop && *c->config->stop; }

// The database is away or unwilling: stop reading, stay in the group, look again until the batch is
// written.
static Status wait_and_write(Collector *c, Error *error)
{
    Status status = ST_RETRY;
    notice(c, error->text);
    c->troubled = true;
    TRY(kafka_pause(c->consumer, error));
    while (status == ST_RETRY && !stopping(c)) {
        KafkaRecord record = {0};
        Error poll_error;
        Status polled = kafka_poll(c->consumer, WAIT_MS, &record, &poll_error);
        if (polled == ST_OK && record.kind == KAFKA_RECORD) {
            // Paused partitions hand out nothing; one that was assigned meanwhile may.
            polled = take_record(c, &record, &poll_error);
            kafka_record_done(&record);
        }
        if (polled == ST_FATAL) {
            *error = poll_error;
            return polled;
        }
        status = meter_recover(c->meter, error);
        if (status == ST_OK) status = meter_flush(c->meter, error);
    }
    if (status == ST_RETRY) { // stopped while waiting: nothing is lost, it will be read again
        forget_places(c);
        return ST_OK;
    }
    if (status != ST_OK) return status;
    notice(c, "the database is back; metering goes on");
    c->troubled = false;
    return kafka_resume(c->consumer, error);
}

static Status flush(Collector *c, Error *error)
{
    for (int p = 0; p < c->places; p++) {
        Reading *reading = &c->reading[p];
        if (!reading->has_goal || reading->verify || reading->reached < reading->goal) continue;
        c->place[p].has_progress = true;
        c->place[p].progress = reading->noted;
        reading->has_goal = false;
    }
    Status status = meter_flush(c->meter, error);
    if (status == ST_RETRY) status = wait_and_write(c, error);
    if (status == ST_OK) note_offsets(c);
    return status;
}

// A full batch is written while the next one is read.
static Status submit(Collector *c, Error *error)
{
    Status status = meter_submit(c->meter, error);
    return status == ST_RETRY ? wait_and_write(c, error) : status;
}

// ---- progress ----
static Status ask_watch(Collector *c, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(meter_db(c->meter), &SQL_METER_CLOCK, 0, NULL, &rows, error));
    Instant now = rows_instant(rows, 0, 0);
    if (kafka_watch_ask(c->watch, now.us)) c->asked_at = now;
    return ST_OK;
}

static Status discover(Collector *c, const KafkaWatermarks *marks, Error *error)
{
    OWNED_BUF Buf topics = {0}, partitions = {0}, oldest = {0};
    array_begin(&topics);
    array_begin(&partitions);
    array_begin(&oldest);
    for (int i = 0; i < marks->count; i++) {
        array_add(&topics, str(marks->marks[i].topic));
        array_add_int(&partitions, marks->marks[i].partition);
        array_add_int(&oldest, marks->marks[i].low);
    }
    array_end(&topics);
    array_end(&partitions);
    array_end(&oldest);
    return db_run(meter_db(c->meter), &SQL_METER_POSITION_DISCOVER, 3,
                  (Str[]){buf_str(&topics), buf_str(&partitions), buf_str(&oldest)}, NULL, error);
}

static Status take_answer(Collector *c, Error *error)
{
    bool ready = false;
    OWNED_KAFKA_WATERMARKS KafkaWatermarks marks = {0};
    Error watch_error;
    Status status = kafka_watch_answer(c->watch, &ready, &marks, &watch_error);
    if (!ready) return ST_OK;
    Instant asked_at = c->asked_at;
    c->asked_at.us = 0;
    if (status != ST_OK) {
        if (!c->troubled) notice(c, watch_error.text);
        c->troubled = true;
        if (status != ST_RETRY && status != ST_MISSING) *error = watch_error;
        return status == ST_RETRY || status == ST_MISSING ? ST_OK : status;
    }
    if (c->troubled) notice(c, "the broker answers again");
    c->troubled = false;
    TRY(discover(c, &marks, error));
    for (int i = 0; i < marks.count; i++) {
        const KafkaWatermark *mark = &marks.marks[i];
        int p = find_place(c, mark->topic_index, mark->partition);
        if (p < 0) continue;
        Reading *reading = &c->reading[p];
        reading->lag = mark->high > reading->reached ? mark->high - reading->reached : 0;
        if (reading->has_goal)
            continue; // under load the end moves on: the older goal is reached sooner
        reading->has_goal = true;
        reading->goal = mark->high;
        reading->noted = asked_at;
    }
    if (!c->has_start) {
        c->has_start = true;
        c->start = asked_at;
    }
    return ST_OK;
}

static Status is_caught_up(Collector *c, bool *done, Error *error)
{
    *done = false;
    if (!c->config->until_caught_up || !c->has_start || meter_pending(c->meter) > 0) return ST_OK;
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {buf_str(&c->topics), param_instant(arena, c->start)};
    TRY(db_query(meter_db(c->meter), &SQL_METER_PROGRESS_BEHIND, 2, params, &rows, error));
    *done = rows_int(rows, 0, 0) == 0;
    return ST_OK;
}

// ---- the loop ----
static void tick(Collector *c)
{
    if (!c->config->tick) return;
    for (int p = 0; p < c->places; p++)
        c->lag[p] = (Lag){c->place[p].topic, c->place[p].partition, c->reading[p].lag};
    c->config->tick(c->config->context, c->meter, c->lag, c->places);
}

// What is done about once a second, between batches.
static Status keep_up(Collector *c, bool *done, Error *error)
{
    int64_t now = clock_monotonic_ms();
    if (c->asked_at.us) TRY(take_answer(c, error));
    if (!c->asked_at.us && now - c->watch_asked_ms >= WATCH_EVERY_MS) {
        c->watch_asked_ms = now;
        TRY(ask_watch(c, error));
        TRY(is_caught_up(c, done, error));
        tick(c);
    }
    if (meter_pending(c->meter) == 0 && now - c->retried_ms >= RETRY_DUE_EVERY_MS) {
        c->retried_ms = now;
        int64_t metered = 0;
        TRY(meter_retry_due(c->meter, &metered, error));
    }
    if (meter_pending(c->meter) == 0 && now - c->swept_ms >= SWEEP_EVERY_MS) {
        c->swept_ms = now;
        TRY(meter_sweep(c->meter, error));
    }
    return ST_OK;
}

static bool goal_reached(const Collector *c)
{
    for (int p = 0; p < c->places; p++)
        if (c->reading[p].has_goal && !c->reading[p].verify &&
            c->reading[p].reached >= c->reading[p].goal)
            return true;
    return false;
}

static Status step(Collector *c, bool *done, Error *error)
{
    KafkaRecord record = {0};
    bool waiting = meter_pending(c->meter) > 0;
    Status status = kafka_poll(c->consumer, waiting ? 5 : POLL_MS, &record, error);
    if (status == ST_RETRY) {
        if (!c->troubled) notice(c, error->text);
        c->troubled = true;
        clock_sleep_ms(POLL_MS);
    } else if (status != ST_OK) {
        return status;
    }
    if (record.kind == KAFKA_RECORD || record.kind == KAFKA_END) {
        status = take_record(c, &record, error);
        kafka_record_done(&record);
        TRY(status);
    }
    int64_t linger_ms = c->config->linger_ms ? c->config->linger_ms : COLLECTOR_LINGER_MS;
    waiting = meter_pending(c->meter) > 0;
    bool full = meter_full(c->meter);
    if (record.kind == KAFKA_RECORD && !full && meter_pending(c->meter) % 256 != 0) return ST_OK;
    bool old = waiting && clock_monotonic_ms() - c->batch_began_ms >= linger_ms;
    if (full && !goal_reached(c)) TRY(submit(c, error));
    else if (full || old || (!waiting && goal_reached(c))) TRY(flush(c, error));
    status = keep_up(c, done, error);
    return status == ST_RETRY ? wait_and_write(c, error) : status;
}

static Status run_member(Collector *c, Error *error)
{
    KafkaOwner owner = {c, assigned, revoked, lost};
    TRY(kafka_consumer_new(&c->config->kafka, &owner, &c->consumer, error));
    bool done = false;
    Status status = ST_OK;
    while (status == ST_OK && !done && !stopping(c)) status = step(c, &done, error);
    if (status == ST_OK) {
        Error flush_error;
        Status flushed = meter_flush(c->meter, &flush_error);
        if (flushed == ST_OK) note_offsets(c);
        else if (flushed != ST_REFUSED) notice(c, flush_error.text);
    }
    meter_drop(c->meter);
    kafka_consumer_close(c->consumer, KAFKA_CLOSE_TIMEOUT_MS);
    c->consumer = NULL;
    forget_places(c);
    if (status == ST_OK && c->config->until_caught_up && !done)
        return error_set(error, ST_FATAL,
                         "stopped before the topics' end; what was metered stays, "
                         "run it again to go on");
    return status;
}

Status collector_run(Meter *meter, const CollectorConfig *config, Error *error)
{
    Collector *c = mem_alloc(sizeof *c);
    c->meter = meter;
    c->config = config;
    c->swept_ms = clock_monotonic_ms();
    array_begin(&c->topics);
    for (int i = 0; i < config->kafka.topics_count; i++)
        array_add(&c->topics, str(config->kafka.topics[i]));
    array_end(&c->topics);
    Status status = kafka_watch_new(&config->kafka, true, &c->watch, error);
    while (status == ST_OK) {
        status = run_member(c, error);
        if (status != ST_REFUSED) break;
        // A partition was taken over while we were not looking. What we had read is the new
        // owner's; join anew.
        notice(c, error->text);
        clock_sleep_ms(REJOIN_MS);
        status = ST_OK;
        if (stopping(c)) break;
    }
    kafka_watch_free(c->watch);
    buf_free(&c->topics);
    free(c->header);
    free(c);
    return status;
}
