// SPDX-License-Identifier: Apache-2.0
// The reader: stretches of partitions, read once from end to end, without a group: nobody's
// offsets, assignments or rights but those to read the topic are touched. All partitions feed one
// queue. A stretch is over when a record at or behind its end comes, or the partition's own end:
// offsets without a record (of transactions, or compacted away) are passed over.
#include "kafka/internal.h"

#include <inttypes.h>

typedef struct Reading {
    rd_kafka_topic_t *topic;
    KafkaStretch stretch;
    bool begun, over;
} Reading;

struct KafkaReader {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    Topics topics;
    Reading *reading;
    int count, open; // open: stretches that are not over
};

static const Setting READER[] = {
    {"enable.auto.commit", "false", true},          {"enable.auto.offset.store", "false", true},
    {"auto.offset.reset", "error", true},           {"isolation.level", "read_committed", true},
    {"allow.auto.create.topics", "false", true},    {"check.crcs", "true", true},
    {"enable.partition.eof", "true", true},         {"queued.min.messages", "10000", false},
    {"queued.max.messages.kbytes", "16384", false}, {NULL},
};

static void end_stretch(KafkaReader *r, Reading *reading)
{
    if (reading->over) return;
    reading->over = true;
    r->open--;
    if (reading->begun) (void)rd_kafka_consume_stop(reading->topic, reading->stretch.partition);
}

static Status begin_all(KafkaReader *r, Error *error)
{
    for (int i = 0; i < r->count; i++) {
        Reading *reading = &r->reading[i];
        const KafkaStretch *s = &reading->stretch;
        const char *name = r->topics.names[s->topic_index];
        if (s->from >= s->to) {
            end_stretch(r, reading);
            continue;
        }
        reading->topic = rd_kafka_topic_new(r->rk, name, NULL);
        if (!reading->topic ||
            rd_kafka_consume_start_queue(reading->topic, s->partition, s->from, r->queue) != 0)
            return kafka_error(error, rd_kafka_last_error(), false, "reading %s [%d]", name,
                               s->partition);
        reading->begun = true;
    }
    return ST_OK;
}

static Status open_reader(KafkaReader *r, const KafkaConfig *config, Error *error)
{
    TRY(topics_init(&r->topics, config, error));
    rd_kafka_conf_t *conf;
    TRY(handle_conf(config, READER, &conf, error));
    TRY(handle_new(RD_KAFKA_CONSUMER, conf, &r->rk, error));
    r->queue = rd_kafka_queue_new(r->rk);
    return begin_all(r, error);
}

Status kafka_reader_new(const KafkaConfig *config, const KafkaStretch *stretches, int count,
                        KafkaReader **out, Error *error)
{
    *out = NULL;
    KafkaReader *r = mem_alloc(sizeof *r);
    r->reading = mem_alloc(((size_t)count + 1) * sizeof *r->reading);
    r->count = r->open = count;
    for (int i = 0; i < count; i++) r->reading[i].stretch = stretches[i];
    Status status = open_reader(r, config, error);
    if (status == ST_OK) *out = r;
    else kafka_reader_free(r);
    return status;
}

static Reading *reading_of(KafkaReader *r, const rd_kafka_message_t *message)
{
    for (int i = 0; i < r->count; i++)
        if (r->reading[i].topic == message->rkt &&
            r->reading[i].stretch.partition == message->partition)
            return &r->reading[i];
    return NULL;
}

// *out stays KAFKA_NOTHING where it was nothing to hand out; then the message is still the
// caller's.
static Status take(KafkaReader *r, rd_kafka_message_t *message, KafkaRecord *out, Error *error)
{
    Reading *reading = message->rkt ? reading_of(r, message) : NULL;
    bool end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (message->err && !end) {
        if (!reading) return kafka_error(error, message->err, false, "reading");
        Status status = kafka_error(error, message->err, true, "reading %s [%d]: %s",
                                    rd_kafka_topic_name(message->rkt), message->partition,
                                    rd_kafka_message_errstr(message));
        if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
            error_hint(error, "records expired before they could be read: begin again");
        return status;
    }
    if (!reading || reading->over) return ST_OK;
    if (message->offset >= reading->stretch.to || end) {
        end_stretch(r, reading);
        return ST_OK;
    }
    out->topic_index = reading->stretch.topic_index;
    out->topic = r->topics.names[out->topic_index];
    out->partition = message->partition;
    out->offset = message->offset;
    record_read(out, message);
    if (out->offset + 1 >= reading->stretch.to) end_stretch(r, reading);
    return ST_OK;
}

Status kafka_read(KafkaReader *r, int timeout_ms, KafkaRecord *out, Error *error)
{
    *out = (KafkaRecord){0};
    while (r->open > 0) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(r->queue, timeout_ms);
        if (!message)
            return error_set(error, ST_RETRY, "Kafka: nothing came for %d ms, of %d partitions",
                             timeout_ms, r->open);
        Status status = take(r, message, out, error);
        if (out->kind == KAFKA_RECORD) out->message = message;
        else rd_kafka_message_destroy(message);
        if (status == ST_RETRY) continue; // librdkafka tries again by itself
        if (status != ST_OK || out->kind == KAFKA_RECORD) return status;
    }
    out->kind = KAFKA_END;
    return ST_OK;
}

void kafka_reader_free(KafkaReader *r)
{
    if (!r) return;
    for (int i = 0; i < r->count; i++) {
        end_stretch(r, &r->reading[i]);
        if (r->reading[i].topic) rd_kafka_topic_destroy(r->reading[i].topic);
    }
    if (r->queue) rd_kafka_queue_destroy(r->queue);
    handle_destroy(r->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE, KAFKA_CLOSE_TIMEOUT_MS);
    topics_done(&r->topics);
    free(r->reading);
    free(r);
}
