// SPDX-License-Identifier: Apache-2.0
// The producer: idempotent, so librdkafka's own retries neither double nor reorder. Its queue is
// bounded by bytes; a full one makes kafka_produce wait. The first message that cannot be delivered
// ends it: what came after may have been delivered, and whoever produced must know.
#include "base/time.h"
#include "kafka/internal.h"

#include <errno.h>
#include <inttypes.h>

enum { SERVE_EVERY = 256, FULL_WAIT_MS = 50, FREE_TIMEOUT_MS = 5000 };

struct KafkaProducer {
    rd_kafka_t *rk;
    int64_t queued, delivered;
    Error dead; // why a message could not be delivered
};

static const Setting PRODUCER[] = {
    {"enable.idempotence", "true", true},
    {"acks", "all", true},
    {"request.required.acks", NULL, true},
    {"partitioner", "murmur2_random", false}, // Java's
    {"linger.ms", "10", false},
    {"message.max.bytes", "16777216", false}, // ours; the broker's limit is its own
    {"queue.buffering.max.kbytes", "65536", false},
    {"queue.buffering.max.messages", "200000", false},
    {NULL},
};

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    KafkaProducer *producer = opaque;
    if (!message->err) {
        producer->delivered++;
        return;
    }
    if (producer->dead.status != ST_OK) return;
    (void)kafka_error(&producer->dead, message->err, true,
                      "a message for topic %s was not delivered",
                      rd_kafka_topic_name(message->rkt));
    producer->dead.status = ST_FATAL; // librdkafka has retried for as long as it may
}

Status kafka_producer_new(const KafkaConfig *config, KafkaProducer **out, Error *error)
{
    rd_kafka_conf_t *conf;
    *out = NULL;
    TRY(handle_conf(config, PRODUCER, &conf, error));
    KafkaProducer *producer = mem_alloc(sizeof *producer);
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    Status status = handle_new(RD_KAFKA_PRODUCER, conf, &producer->rk, error);
    if (status == ST_OK) *out = producer;
    else free(producer);
    return status;
}

static rd_kafka_headers_t *make_headers(const KafkaMessage *message)
{
    if (message->headers_count == 0) return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new((size_t)message->headers_count);
    for (int i = 0; i < message->headers_count; i++) {
        const KafkaHeader *header = &message->headers[i];
        ASSERT(
            rd_kafka_header_add(headers, header->name.p, (ssize_t)header->name.n, header->value.p,
                                (ssize_t)header->value.n) == 0); // fails on read-only lists alone
    }
    return headers;
}

// Takes `headers` where it succeeds.
static rd_kafka_resp_err_t queue(KafkaProducer *producer, const KafkaMessage *message,
                                 rd_kafka_headers_t *headers)
{
    rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = message->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = message->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)message->key.p, message->key.n}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)message->value.p, message->value.n}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
    };
    size_t count = sizeof parts / sizeof *parts - (headers ? 0 : 1);
    rd_kafka_error_t *error = rd_kafka_produceva(producer->rk, parts, count);
    rd_kafka_resp_err_t err = rd_kafka_error_code(error);
    if (error) rd_kafka_error_destroy(error);
    return err;
}

static Status tell_dead(const KafkaProducer *producer, Error *error)
{
    if (producer->dead.status != ST_OK && error) *error = producer->dead;
    return producer->dead.status;
}

Status kafka_produce(KafkaProducer *producer, const KafkaMessage *message, Error *error)
{
    int64_t until = clock_monotonic_ms() + KAFKA_PRODUCE_TIMEOUT_MS;
    if (producer->queued % SERVE_EVERY == 0) rd_kafka_poll(producer->rk, 0);
    for (;;) {
        TRY(tell_dead(producer, error));
        rd_kafka_headers_t *headers = make_headers(message);
        rd_kafka_resp_err_t err = queue(producer, message, headers);
        if (!err) {
            producer->queued++;
            return ST_OK;
        }
        if (headers) rd_kafka_headers_destroy(headers);
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return kafka_error(error, err, true, "producing to topic %s", message->topic);
        if (clock_monotonic_ms() >= until)
            return error_set(
                error, ST_RETRY,
                "Kafka: %d messages wait for their acknowledgement, and none came in %d s",
                rd_kafka_outq_len(producer->rk), KAFKA_PRODUCE_TIMEOUT_MS / 1000);
        rd_kafka_poll(producer->rk, FULL_WAIT_MS);
    }
}

Status kafka_producer_flush(KafkaProducer *producer, int timeout_ms, Error *error)
{
    rd_kafka_resp_err_t err = rd_kafka_flush(producer->rk, timeout_ms);
    TRY(tell_dead(producer, error));
    if (!err) return ST_OK;
    return error_set(error, ST_RETRY,
                     "Kafka: %d of %" PRId64 " messages are not acknowledged after %d ms",
                     rd_kafka_outq_len(producer->rk), producer->queued, timeout_ms);
}

int64_t kafka_producer_delivered(const KafkaProducer *producer) { return producer->delivered; }

void kafka_producer_free(KafkaProducer *producer)
{
    if (!producer) return;
    if (rd_kafka_outq_len(producer->rk) > 0)
        (void)rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void)rd_kafka_flush(producer->rk, FULL_WAIT_MS); // serves what the purge reports
    handle_destroy(producer->rk, 0, FREE_TIMEOUT_MS);
    free(producer);
}
