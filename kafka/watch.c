// SPDX-License-Identifier: Apache-2.0
// The watch: one thread, one question at a time. A question goes IDLE -> ASKED -> ANSWERED -> IDLE;
// `asker` moves it by kafka_watch_ask and kafka_watch_answer, the thread from ASKED to ANSWERED.
// The mutex guards the phase, the token and the answer; in ASKED the answer is the thread's, else
// the asker's.
//
// The handle is a consumer that never joins a group, since only consumers have an isolation level,
// and only uncommitted reads see as far as a partition really reaches. Nothing is taken from
// librdkafka's caches: each question sends a metadata request per topic, then asks all leaders for
// the oldest and the newest offsets.
#include "base/time.h"
#include "kafka/internal.h"

#include <pthread.h>

enum { NOTED_TIMEOUT_MS = 1000 };

typedef enum Phase { IDLE, ASKED, ANSWERED } Phase;

struct KafkaWatch {
    rd_kafka_t *rk;
    Topics topics;
    rd_kafka_topic_t **handles; // by topic
    bool noted;
    bool started; // the thread
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    Phase phase;
    bool stop;
    int64_t until_ms; // of the monotonic clock: the question's time is up
    KafkaWatermarks answer;
    Error error; // of the answer; status ST_OK where there are marks
};

// ---- asking the broker; in the thread ----
static int left_ms(const KafkaWatch *watch)
{
    int64_t left = watch->until_ms - clock_monotonic_ms();
    return left > 1 ? (int)left : 1;
}

static Status partitions_of(const KafkaWatch *watch, int topic_index,
                            rd_kafka_topic_partition_list_t *list, Error *error)
{
    const char *name = watch->topics.names[topic_index];
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t err = rd_kafka_metadata(watch->rk, 0, watch->handles[topic_index],
                                                &metadata, left_ms(watch));
    if (err) return kafka_error(error, err, false, "asking for the partitions of topic %s", name);
    const rd_kafka_metadata_topic_t *topic = metadata->topic_cnt == 1 ? &metadata->topics[0] : NULL;
    Status status = ST_OK;
    if (!topic || topic->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        status = error_set(error, ST_MISSING, "Kafka: topic '%s' does not exist", name);
    else if (topic->err)
        status = kafka_error(error, topic->err, false, "asking for the partitions of topic %s",
                             name);
    for (int i = 0; topic && status == ST_OK && i < topic->partition_cnt; i++)
        rd_kafka_topic_partition_list_add(list, name, topic->partitions[i].id);
    rd_kafka_metadata_destroy(metadata);
    return status;
}

// `list` with every offset replaced by what the brokers say. `which` is RD_KAFKA_OFFSET_BEGINNING
// or _END.
static Status offsets_of(const KafkaWatch *watch, rd_kafka_topic_partition_list_t *list,
                         int64_t which, Error *error)
{
    for (int i = 0; i < list->cnt; i++) list->elems[i].offset = which;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(watch->rk, list, left_ms(watch));
    if (err) return kafka_error(error, err, false, "asking for watermarks");
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *part = &list->elems[i];
        if (part->err)
            return kafka_error(error, part->err, false, "asking for the watermarks of %s [%d]",
                               part->topic, part->partition);
        if (part->offset < 0)
            return error_set(error, ST_RETRY, "Kafka: no watermark of %s [%d] was given",
                             part->topic, part->partition);
    }
    return ST_OK;
}

// What the group noted is a hint: a coordinator that does not answer costs no watermarks.
static void noted_of(const KafkaWatch *watch, rd_kafka_topic_partition_list_t *list,
                     KafkaWatermarks *out)
{
    int wait_ms = left_ms(watch) < NOTED_TIMEOUT_MS ? left_ms(watch) : NOTED_TIMEOUT_MS;
    if (rd_kafka_committed(watch->rk, list, wait_ms) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].offset >= 0) out->marks[i].noted = list->elems[i].offset;
}

static Status fill(const KafkaWatch *watch, rd_kafka_topic_partition_list_t *list,
                   KafkaWatermarks *out, Error *error)
{
    for (int i = 0; i < watch->topics.count; i++) TRY(partitions_of(watch, i, list, error));
    out->marks = mem_alloc(((size_t)list->cnt + 1) * sizeof *out->marks);
    if (list->cnt == 0) return ST_OK;
    TRY(offsets_of(watch, list, RD_KAFKA_OFFSET_BEGINNING, error));
    for (int i = 0; i < list->cnt; i++) {
        int topic_index = topics_index(&watch->topics, list->elems[i].topic);
        out->marks[i] = (KafkaWatermark){.topic = watch->topics.names[topic_index],
                                         .topic_index = topic_index,
                                         .partition = list->elems[i].partition,
                                         .low = list->elems[i].offset,
                                         .noted = -1};
    }
    TRY(offsets_of(watch, list, RD_KAFKA_OFFSET_END, error));
    for (int i = 0; i < list->cnt; i++) out->marks[i].high = list->elems[i].offset;
    if (watch->noted) noted_of(watch, list, out);
    out->count = list->cnt;
    return ST_OK;
}

static void answer(KafkaWatch *watch)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    watch->error = (Error){0};
    watch->until_ms = clock_monotonic_ms() + KAFKA_WATCH_TIMEOUT_MS;
    Status status = fill(watch, list, &watch->answer, &watch->error);
    rd_kafka_topic_partition_list_destroy(list);
    if (status == ST_OK) return;
    int64_t token = watch->answer.token;
    kafka_watermarks_free(&watch->answer);
    watch->answer.token = token;
}

static void *run(void *argument)
{
    KafkaWatch *watch = argument;
    ASSERT(pthread_mutex_lock(&watch->mutex) == 0);
    while (!watch->stop) {
        if (watch->phase != ASKED) {
            ASSERT(pthread_cond_wait(&watch->changed, &watch->mutex) == 0);
            continue;
        }
        ASSERT(pthread_mutex_unlock(&watch->mutex) == 0);
        answer(watch);
        ASSERT(pthread_mutex_lock(&watch->mutex) == 0);
        watch->phase = ANSWERED;
        ASSERT(pthread_cond_broadcast(&watch->changed) == 0);
    }
    ASSERT(pthread_mutex_unlock(&watch->mutex) == 0);
    return NULL;
}

// ---- asking the watch ----
bool kafka_watch_ask(KafkaWatch *watch, int64_t token)
{
    ASSERT(pthread_mutex_lock(&watch->mutex) == 0);
    bool idle = watch->phase == IDLE;
    if (idle) {
        watch->answer = (KafkaWatermarks){.token = token};
        watch->phase = ASKED;
        ASSERT(pthread_cond_broadcast(&watch->changed) == 0);
    }
    ASSERT(pthread_mutex_unlock(&watch->mutex) == 0);
    return idle;
}

// With the mutex held, in ANSWERED.
static Status hand_over(KafkaWatch *watch, KafkaWatermarks *out, Error *error)
{
    *out = watch->answer;
    watch->answer = (KafkaWatermarks){0};
    watch->phase = IDLE;
    if (watch->error.status != ST_OK && error) *error = watch->error;
    return watch->error.status;
}

Status kafka_watch_answer(KafkaWatch *watch, bool *ready, KafkaWatermarks *out, Error *error)
{
    *out = (KafkaWatermarks){0};
    ASSERT(pthread_mutex_lock(&watch->mutex) == 0);
    *ready = watch->phase == ANSWERED;
    Status status = *ready ? hand_over(watch, out, error) : ST_OK;
    ASSERT(pthread_mutex_unlock(&watch->mutex) == 0);
    return status;
}

Status kafka_watch_now(KafkaWatch *watch, KafkaWatermarks *out, Error *error)
{
    *out = (KafkaWatermarks){0};
    ASSERT(kafka_watch_ask(watch, 0)); // one asker, who has fetched all answers
    ASSERT(pthread_mutex_lock(&watch->mutex) == 0);
    while (watch->phase != ANSWERED) ASSERT(pthread_cond_wait(&watch->changed, &watch->mutex) == 0);
    Status status = hand_over(watch, out, error);
    ASSERT(pthread_mutex_unlock(&watch->mutex) == 0);
    return status;
}

void kafka_watermarks_free(KafkaWatermarks *watermarks)
{
    free(watermarks->marks);
    *watermarks = (KafkaWatermarks){0};
}

// ---- from beginning to end ----
static const Setting WATCH[] = {
    {"isolation.level", "read_uncommitted", true},
    {"allow.auto.create.topics", "false", true},
    {"enable.auto.commit", "false", true},
    {"enable.auto.offset.store", "false", true},
    {"auto.offset.reset", "error", true},
    // The consumer's, so that one list of options does for both.
    {"check.crcs", "true", true},
    {"enable.partition.eof", "true", true},
    {"partition.assignment.strategy", "roundrobin", true},
    {NULL},
};

static Status open_watch(KafkaWatch *watch, const KafkaConfig *config, Error *error)
{
    TRY(topics_init(&watch->topics, config, error));
    rd_kafka_conf_t *conf;
    TRY(handle_conf(config, WATCH, &conf, error));
    if (watch->noted) {
        char reason[256] = "no name";
        if (!config->group ||
            rd_kafka_conf_set(conf, "group.id", config->group, reason, sizeof reason)) {
            rd_kafka_conf_destroy(conf);
            return error_set(error, ST_BAD_INPUT, "Kafka consumer group: %s", reason);
        }
    }
    TRY(handle_new(RD_KAFKA_CONSUMER, conf, &watch->rk, error));
    watch->handles = mem_alloc((size_t)watch->topics.count * sizeof *watch->handles);
    for (int i = 0; i < watch->topics.count; i++) {
        watch->handles[i] = rd_kafka_topic_new(watch->rk, watch->topics.names[i], NULL);
        if (!watch->handles[i])
            return kafka_error(error, rd_kafka_last_error(), false, "topic %s",
                               watch->topics.names[i]);
    }
    int failed = pthread_create(&watch->thread, NULL, run, watch);
    if (failed) return error_set(error, ST_FATAL, "a thread: %s", strerror(failed));
    watch->started = true;
    return ST_OK;
}

Status kafka_watch_new(const KafkaConfig *config, bool noted, KafkaWatch **out, Error *error)
{
    KafkaWatch *watch = mem_alloc(sizeof *watch);
    watch->noted = noted;
    ASSERT(pthread_mutex_init(&watch->mutex, NULL) == 0);
    ASSERT(pthread_cond_init(&watch->changed, NULL) == 0);
    *out = NULL;
    Status status = open_watch(watch, config, error);
    if (status == ST_OK) *out = watch;
    else kafka_watch_free(watch);
    return status;
}

void kafka_watch_free(KafkaWatch *watch)
{
    if (!watch) return;
    if (watch->started) {
        ASSERT(pthread_mutex_lock(&watch->mutex) == 0);
        watch->stop = true;
        ASSERT(pthread_cond_broadcast(&watch->changed) == 0);
        ASSERT(pthread_mutex_unlock(&watch->mutex) == 0);
        ASSERT(pthread_join(watch->thread, NULL) == 0);
    }
    for (int i = 0; i < watch->topics.count && watch->handles; i++)
        if (watch->handles[i]) rd_kafka_topic_destroy(watch->handles[i]);
    free(watch->handles);
    handle_destroy(watch->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE, KAFKA_WATCH_TIMEOUT_MS);
    kafka_watermarks_free(&watch->answer);
    ASSERT(pthread_cond_destroy(&watch->changed) == 0);
    ASSERT(pthread_mutex_destroy(&watch->mutex) == 0);
    topics_done(&watch->topics);
    free(watch);
}
