// SPDX-License-Identifier: Apache-2.0
// The consumer: a member of a group that reads from its owner's offsets.
//
// The order of a rebalance (eager, so all partitions come and go together). librdkafka runs
// rebalanced() inside kafka_poll. On an assignment the owner is asked first, then librdkafka is
// told to fetch: so no record is handed out before the owner knows its partition. Where the owner
// cannot answer (its database is away), the assignment stays pending: nothing is fetched, the
// membership lives on, and each kafka_poll asks again. On a revocation the owner is told first,
// then librdkafka gives the partitions up: so nobody else reads them while the owner still writes.
// The callback ends librdkafka's poll, so that a failure reaches the caller at once.
//
// What librdkafka 2.0 may do wrong around pause and resume is to hand out a record twice. `offset`
// of a held partition is what comes next: whatever lies below is dropped here. It never skips as
// long as records are polled one by one, which is why there are no batches.
//
// After a failure that would skip records, the consumer is dead: librdkafka would read on behind
// it, so the failure is kept and every later kafka_poll returns it again.
#include "base/time.h"
#include "kafka/internal.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    PARTITIONS_MAX = 100000, // of a topic: Kafka's own limit is far lower
    PENDING_WAIT_MS = 200,   // between two questions to an owner who could not answer
    CLOSE_STEP_MS = 50,
    HEARTBEAT_MS = 3000,
};

typedef struct Places {
    int *of; // by partition: index in `held`, plus 1
    int room;
} Places;

struct KafkaConsumer {
    rd_kafka_t *rk;
    KafkaOwner owner;
    Topics topics;
    KafkaPartition *held; // offset: of the record that comes next, at least
    int held_count;
    Places *places; // by topic
    bool pending;   // held, but the owner has not said where to start
    bool paused, closing;
    bool brokers_away; // none has been heard of since librdkafka said that all are down
    Error trouble;     // something to tell at the next kafka_poll, if its status is not ST_OK
    Error dead;        // the failure that ended it
    int64_t notes_failed;
};

// ---- what is held ----
static KafkaPartition *held_of(KafkaConsumer *c, int topic_index, int32_t partition)
{
    const Places *places = &c->places[topic_index];
    if (partition < 0 || partition >= places->room || c->pending) return NULL;
    int place = places->of[partition];
    return place ? &c->held[place - 1] : NULL;
}

static void forget_held(KafkaConsumer *c)
{
    for (int i = 0; i < c->held_count; i++)
        c->places[c->held[i].topic_index].of[c->held[i].partition] = 0;
    free(c->held);
    c->held = NULL;
    c->held_count = 0;
    c->pending = false;
}

static void place(KafkaConsumer *c, int topic_index, int32_t partition, int index)
{
    ASSERT(partition >= 0 && partition < PARTITIONS_MAX);
    Places *places = &c->places[topic_index];
    if (partition >= places->room) {
        int room = partition + 64;
        places->of = mem_resize(places->of, (size_t)room * sizeof *places->of);
        memset(places->of + places->room, 0, (size_t)(room - places->room) * sizeof *places->of);
        places->room = room;
    }
    places->of[partition] = index + 1;
}

static void hold(KafkaConsumer *c, const rd_kafka_topic_partition_list_t *list)
{
    forget_held(c);
    c->held = mem_alloc(((size_t)list->cnt + 1) * sizeof *c->held);
    for (int i = 0; i < list->cnt; i++) {
        int topic_index = topics_index(&c->topics, list->elems[i].topic);
        if (topic_index < 0) continue; // another member's topic: an old protocol's leader may err
        place(c, topic_index, list->elems[i].partition, c->held_count);
        c->held[c->held_count++] = (KafkaPartition){c->topics.names[topic_index], topic_index,
                                                    list->elems[i].partition,
                                                    KAFKA_OFFSET_BEGINNING};
    }
    c->pending = true;
}

static rd_kafka_topic_partition_list_t *list_of(const KafkaPartition *partitions, int count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, partitions[i].topic, partitions[i].partition)
            ->offset = partitions[i].offset;
    return list;
}

// Where a failure is kept until the next kafka_poll; one that ends the consumer is not written
// over.
static Error *trouble(KafkaConsumer *c)
{
    return c->trouble.status == ST_OK || c->trouble.status == ST_RETRY ? &c->trouble : NULL;
}

// ---- rebalances ----
static rd_kafka_resp_err_t pause_held(KafkaConsumer *c, bool pause)
{
    rd_kafka_topic_partition_list_t *list = list_of(c->held, c->held_count);
    rd_kafka_resp_err_t err = pause ? rd_kafka_pause_partitions(c->rk, list)
                                    : rd_kafka_resume_partitions(c->rk, list);
    for (int i = 0; i < list->cnt && !err; i++) err = list->elems[i].err;
    rd_kafka_topic_partition_list_destroy(list);
    return err;
}

// Asks the owner of a pending assignment where to start, and starts.
static Status settle(KafkaConsumer *c, Error *error)
{
    for (int i = 0; i < c->held_count; i++) c->held[i].offset = KAFKA_OFFSET_BEGINNING;
    TRY(c->owner.assigned(c->owner.context, c->held, c->held_count, error));
    rd_kafka_topic_partition_list_t *list = list_of(c->held, c->held_count);
    rd_kafka_resp_err_t err = rd_kafka_assign(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    c->pending = false;
    if (!err && c->paused) err = pause_held(c, true);
    return err ? kafka_error(error, err, false, "taking up %d partitions", c->held_count) : ST_OK;
}

static void settle_or_tell(KafkaConsumer *c)
{
    Error *error = trouble(c);
    Status status = settle(c, error);
    if (error) error->status = status;
}

static void give_back(KafkaConsumer *c, bool lost)
{
    bool told = c->held_count > 0 && !c->pending;
    if (told && lost) c->owner.lost(c->owner.context, c->held, c->held_count);
    else if (told) c->owner.revoked(c->owner.context, c->held, c->held_count);
    // A partition that comes back later would else still be paused.
    if (told && c->paused) (void)pause_held(c, false); // fails where it is gone: nothing to resume
    forget_held(c);
}

static void rebalanced(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                       rd_kafka_topic_partition_list_t *list, void *opaque)
{
    KafkaConsumer *c = opaque;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !c->closing) {
        hold(c, list);
        settle_or_tell(c);
    } else {
        give_back(c, rd_kafka_assignment_lost(rk));
        rd_kafka_resp_err_t failed = rd_kafka_assign(rk, NULL);
        if (failed) (void)kafka_error(trouble(c), failed, false, "giving partitions back");
        else if (err != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS &&
                 err != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
            (void)kafka_error(trouble(c), err, false, "rebalance");
    }
    rd_kafka_yield(rk);
}

static void failed(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    KafkaConsumer *c = opaque;
    char fatal[256] = "";
    rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)code;
    if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) c->brokers_away = true;
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        (void)rd_kafka_fatal_error(rk, fatal, sizeof fatal);
        reason = fatal;
    }
    (void)kafka_error(trouble(c), err, false, "%s", reason);
    rd_kafka_yield(rk);
}

static void noted(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                  void *opaque)
{
    (void)rk, (void)list;
    KafkaConsumer *c = opaque;
    if (err && err != RD_KAFKA_RESP_ERR__NO_OFFSET) c->notes_failed++;
}

// ---- polling ----
static Status die(KafkaConsumer *c, const Error *why, Error *error)
{
    c->dead = *why;
    if (error) *error = *why;
    return why->status;
}

static Status tell_trouble(KafkaConsumer *c, Error *error)
{
    Error trouble = c->trouble;
    c->trouble = (Error){0};
    if (trouble.status != ST_RETRY && trouble.status != ST_OK) return die(c, &trouble, error);
    if (error) *error = trouble;
    return trouble.status;
}

// A pending assignment: nothing can come but callbacks.
static Status poll_pending(KafkaConsumer *c, int timeout_ms, Error *error)
{
    int wait_ms = timeout_ms < PENDING_WAIT_MS ? timeout_ms : PENDING_WAIT_MS;
    rd_kafka_message_t *message = rd_kafka_consumer_poll(c->rk, wait_ms);
    if (message) rd_kafka_message_destroy(message);
    if (c->pending) settle_or_tell(c);
    return tell_trouble(c, error);
}

static void read_headers(KafkaRecord *out, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    size_t count = rd_kafka_header_cnt(headers);
    KafkaHeader *list = mem_alloc((count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        size_t size;
        if (rd_kafka_header_get_all(headers, i, &name, &value, &size)) break;
        list[out->headers_count++] = (KafkaHeader){str(name), {value, value ? size : 0}};
    }
    out->headers = list;
}

void record_read(KafkaRecord *out, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    out->kind = KAFKA_RECORD;
    out->timestamp_ms = rd_kafka_message_timestamp(message, &type);
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) out->timestamp_ms = -1;
    out->key = (Str){message->key, message->key ? message->key_len : 0};
    out->value = (Str){message->payload, message->payload ? message->len : 0};
    read_headers(out, message);
}

// One message of librdkafka's; *out stays KAFKA_NOTHING where it was nothing to hand out, and then
// the message is still the caller's.
static Status take(KafkaConsumer *c, rd_kafka_message_t *message, KafkaRecord *out, Error *error)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : NULL;
    int index = topic ? topics_index(&c->topics, topic) : -1;
    rd_kafka_resp_err_t err = message->err;
    if (err && err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        Error why = {0};
        if (index >= 0 && message->offset >= 0)
            (void)kafka_error(&why, err, true, "%s [%d] at offset %" PRId64 ": %s", topic,
                              message->partition, message->offset,
                              rd_kafka_message_errstr(message));
        else (void)kafka_error(&why, err, index >= 0, "%s", rd_kafka_message_errstr(message));
        if (err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
            error_hint(&why,
                       "the position is not in the topic: its records expired unread, or it was "
                       "made anew; nothing was skipped");
        if (why.status != ST_RETRY) return die(c, &why, error);
        if (error) *error = why;
        return why.status;
    }
    KafkaPartition *held = index >= 0 ? held_of(c, index, message->partition) : NULL;
    if (!held || message->offset < held->offset) return ST_OK;
    c->brokers_away = false;
    out->topic = held->topic;
    out->topic_index = index;
    out->partition = message->partition;
    out->offset = held->offset = message->offset;
    if (err) {
        out->kind = KAFKA_END;
        return ST_OK;
    }
    held->offset++;
    record_read(out, message);
    out->message = message;
    return ST_OK;
}

Status kafka_poll(KafkaConsumer *c, int timeout_ms, KafkaRecord *out, Error *error)
{
    *out = (KafkaRecord){0};
    if (c->dead.status != ST_OK) return die(c, &c->dead, error);
    TRY(tell_trouble(c, error));
    if (c->pending) return poll_pending(c, timeout_ms, error);
    int64_t until = timeout_ms > 0 ? clock_monotonic_ms() + timeout_ms : 0;
    for (int64_t left = timeout_ms;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(c->rk, left > 0 ? (int)left : 0);
        if (!message) return tell_trouble(c, error); // the time is up, or a callback ended the wait
        Status status = take(c, message, out, error);
        if (!out->message) rd_kafka_message_destroy(message);
        if (status != ST_OK || out->kind != KAFKA_NOTHING) return status;
        left = timeout_ms > 0 ? until - clock_monotonic_ms() : 0;
        if (left <= 0) return ST_OK;
    }
}

void kafka_record_done(KafkaRecord *record)
{
    if (!record->message) return;
    rd_kafka_message_destroy(record->message);
    free((KafkaHeader *)record->headers);
    record->message = NULL;
    record->headers = NULL;
    record->headers_count = 0;
    record->key = record->value = (Str){0};
}

// ---- pause, resume, offsets ----
static Status set_paused(KafkaConsumer *c, bool paused, Error *error)
{
    if (c->paused == paused) return ST_OK;
    c->paused = paused; // those assigned later follow it
    if (c->pending || c->held_count == 0) return ST_OK;
    rd_kafka_resp_err_t err = pause_held(c, paused);
    return err ? kafka_error(error, err, false, paused ? "pause" : "resume") : ST_OK;
}

Status kafka_pause(KafkaConsumer *c, Error *error) { return set_paused(c, true, error); }
Status kafka_resume(KafkaConsumer *c, Error *error) { return set_paused(c, false, error); }

int kafka_assigned(const KafkaConsumer *c, const KafkaPartition **out)
{
    *out = c->held;
    return c->pending ? 0 : c->held_count;
}

void kafka_note_offsets(KafkaConsumer *c, const KafkaPartition *partitions, int count)
{
    if (count == 0) return;
    rd_kafka_topic_partition_list_t *list = list_of(partitions, count);
    if (rd_kafka_commit(c->rk, list, true)) c->notes_failed++;
    rd_kafka_topic_partition_list_destroy(list);
}

int64_t kafka_notes_failed(const KafkaConsumer *c) { return c->notes_failed; }

// ---- from beginning to end ----
static const Setting CONSUMER[] = {
    {"enable.auto.commit", "false", true},
    {"enable.auto.offset.store", "false", true},
    {"auto.offset.reset", "error", true},
    {"isolation.level", "read_committed", true},
    {"allow.auto.create.topics", "false", true},
    {"check.crcs", "true", true},
    {"enable.partition.eof", "true", true},
    {"partition.assignment.strategy", "roundrobin", true}, // eager; with several topics, even
    // New partitions hold all progress back until somebody reads them: look often.
    {"topic.metadata.refresh.interval.ms", "5000", false},
    // What is fetched ahead of the owner. A fetch waits up to a second when it finds the queue full
    // (fixed in librdkafka 2.2), so this is also the fewest records and bytes per second that can
    // be had.
    {"queued.min.messages", "100000", false},
    {"queued.max.messages.kbytes", "65536", false},
    {"fetch.max.bytes", "33554432", false},
    {"fetch.wait.max.ms", "100", false},
    {NULL},
};

static Status set_session(rd_kafka_conf_t *conf, const KafkaConfig *config, Error *error)
{
    int session_ms = config->session_timeout_ms > 0 ? config->session_timeout_ms
                                                    : KAFKA_SESSION_TIMEOUT_MS;
    int heartbeat_ms = session_ms / 3 < HEARTBEAT_MS ? session_ms / 3 : HEARTBEAT_MS;
    char session[16], heartbeat[16], reason[256] = "";
    ASSERT(snprintf(session, sizeof session, "%d", session_ms) > 0);
    ASSERT(snprintf(heartbeat, sizeof heartbeat, "%d", heartbeat_ms) > 0);
    if (rd_kafka_conf_set(conf, "session.timeout.ms", session, reason, sizeof reason) ||
        rd_kafka_conf_set(conf, "heartbeat.interval.ms", heartbeat, reason, sizeof reason) ||
        rd_kafka_conf_set(conf, "group.id", config->group, reason, sizeof reason))
        return error_set(error, ST_BAD_INPUT, "Kafka session timeout or group: %s", reason);
    return ST_OK;
}

static Status subscribe(KafkaConsumer *c, Error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(c->topics.count);
    for (int i = 0; i < c->topics.count; i++)
        rd_kafka_topic_partition_list_add(list, c->topics.names[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return err ? kafka_error(error, err, false, "subscribing") : ST_OK;
}

static Status open_consumer(KafkaConsumer *c, const KafkaConfig *config, Error *error)
{
    TRY(topics_init(&c->topics, config, error));
    c->places = mem_alloc((size_t)c->topics.count * sizeof *c->places);
    if (!config->group || !*config->group)
        return error_set(error, ST_BAD_INPUT, "no Kafka consumer group: expected a name");
    rd_kafka_conf_t *conf;
    TRY(handle_conf(config, CONSUMER, &conf, error));
    Status status = set_session(conf, config, error);
    if (status != ST_OK) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    rd_kafka_conf_set_error_cb(conf, failed);
    rd_kafka_conf_set_offset_commit_cb(conf, noted);
    TRY(handle_new(RD_KAFKA_CONSUMER, conf, &c->rk, error));
    rd_kafka_resp_err_t err = rd_kafka_poll_set_consumer(c->rk);
    if (err) return kafka_error(error, err, false, "consumer queue");
    return subscribe(c, error);
}

Status kafka_consumer_new(const KafkaConfig *config, const KafkaOwner *owner, KafkaConsumer **out,
                          Error *error)
{
    KafkaConsumer *c = mem_alloc(sizeof *c);
    c->owner = *owner;
    *out = NULL;
    Status status = open_consumer(c, config, error);
    if (status == ST_OK) *out = c;
    else kafka_consumer_close(c, KAFKA_CLOSE_TIMEOUT_MS);
    return status;
}

// What comes while the group is being left: the last rebalance matters, unread records do not.
static void serve_leaving(KafkaConsumer *c, rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CLOSE_STEP_MS);
    if (!event) return;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
        rebalanced(c->rk, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event),
                   c);
    rd_kafka_event_destroy(event);
}

// Leaves the group. With all brokers away librdkafka 2.0 may crash on the way out, so then it is
// not tried: the group notices by the session timeout.
static bool leave_group(KafkaConsumer *c, int64_t until)
{
    if (c->brokers_away) return false;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(c->rk);
    rd_kafka_error_t *err = rd_kafka_consumer_close_queue(c->rk, queue);
    while (!err && !rd_kafka_consumer_closed(c->rk) && clock_monotonic_ms() < until)
        serve_leaving(c, queue);
    if (err) rd_kafka_error_destroy(err);
    bool closed = rd_kafka_consumer_closed(c->rk);
    rd_kafka_queue_destroy(queue);
    return closed;
}

void kafka_consumer_close(KafkaConsumer *c, int timeout_ms)
{
    if (!c) return;
    c->closing = true;
    int64_t until = clock_monotonic_ms() + timeout_ms;
    bool closed = c->rk && leave_group(c, until);
    // Not told by a rebalance: whether they are still ours is unknown, so nothing more may be
    // written.
    if (c->held_count > 0 && !c->pending) c->owner.lost(c->owner.context, c->held, c->held_count);
    int64_t left = until - clock_monotonic_ms();
    handle_destroy(c->rk, closed ? 0 : RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE,
                   left > 0 ? (int)left : 0);
    forget_held(c);
    for (int i = 0; i < c->topics.count && c->places; i++) free(c->places[i].of);
    free(c->places);
    topics_done(&c->topics);
    free(c);
}
