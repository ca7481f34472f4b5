// SPDX-License-Identifier: Apache-2.0
// Handles: how every rd_kafka_t is configured, made and destroyed, and what its errors mean.
//
// librdkafka writes its log to standard error by itself. That is turned off, since whatever matters
// comes back as a Status, unless a user asks for it with the option `debug`.
#include "kafka/internal.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { OPTION_NAME_MAX = 128, REASON_MAX = 512, TOPIC_NAME_MAX = 249 };

// ---- settings ----
static const Setting EVERYWHERE[] = {
    {"client.id", "tally", false},
    {"socket.keepalive.enable", "true", false},
    {"reconnect.backoff.max.ms", "2000", false},
    {"bootstrap.servers", NULL, true},
    {"metadata.broker.list", NULL, true},
    {"group.id", NULL, true},
    {NULL},
};

static bool is_fixed(const Setting *settings, const char *name)
{
    for (; settings->name; settings++)
        if (settings->fixed && strcmp(settings->name, name) == 0) return true;
    return false;
}

static Status set(rd_kafka_conf_t *conf, const char *name, const char *value, Error *error)
{
    char reason[REASON_MAX] = "";
    if (rd_kafka_conf_set(conf, name, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return ST_OK;
    return error_set(error, ST_BAD_INPUT, "Kafka option '%s': %s", name, reason);
}

static Status set_all(rd_kafka_conf_t *conf, const Setting *settings, Error *error)
{
    for (; settings->name; settings++)
        if (settings->value) TRY(set(conf, settings->name, settings->value, error));
    return ST_OK;
}

static Status set_option(rd_kafka_conf_t *conf, const Setting *settings, const char *option,
                         Error *error)
{
    const char *equals = strchr(option, '=');
    size_t length = equals ? (size_t)(equals - option) : 0;
    if (length == 0 || length >= OPTION_NAME_MAX)
        return error_set(error, ST_BAD_INPUT, "Kafka option '%s': expected name=value", option);
    char name[OPTION_NAME_MAX];
    memcpy(name, option, length);
    name[length] = '\0';
    if (is_fixed(settings, name) || is_fixed(EVERYWHERE, name))
        return error_set(error, ST_BAD_INPUT,
                         "Kafka option '%s': is set by tally and cannot be changed", name);
    TRY(set(conf, name, equals + 1, error));
    if (strcmp(name, "debug") == 0) rd_kafka_conf_set_log_cb(conf, rd_kafka_log_print);
    return ST_OK;
}

static void keep_silent(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk, (void)level, (void)facility, (void)text;
}

static Status fill(rd_kafka_conf_t *conf, const KafkaConfig *config, const Setting *settings,
                   Error *error)
{
    if (!config->brokers || !*config->brokers)
        return error_set(error, ST_BAD_INPUT, "no Kafka brokers: expected host:port[,host:port]");
    if (config->options_count > KAFKA_OPTIONS_MAX)
        return error_set(error, ST_BAD_INPUT, "%d Kafka options: at most %d are expected",
                         config->options_count, KAFKA_OPTIONS_MAX);
    rd_kafka_conf_set_log_cb(conf, keep_silent);
    TRY(set_all(conf, EVERYWHERE, error));
    TRY(set_all(conf, settings, error));
    TRY(set(conf, "bootstrap.servers", config->brokers, error));
    for (int i = 0; i < config->options_count; i++)
        TRY(set_option(conf, settings, config->options[i], error));
    return ST_OK;
}

Status handle_conf(const KafkaConfig *config, const Setting *settings, rd_kafka_conf_t **out,
                   Error *error)
{
    *out = NULL;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    Status status = fill(conf, config, settings, error);
    if (status == ST_OK) *out = conf;
    else rd_kafka_conf_destroy(conf);
    return status;
}

// ---- handles ----
Status handle_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, Error *error)
{
    char reason[REASON_MAX] = "";
    *out = rd_kafka_new(type, conf, reason, sizeof reason);
    if (*out) return ST_OK;
    rd_kafka_conf_destroy(conf);
    return error_set(error, ST_BAD_INPUT, "Kafka options: %s", reason);
}

typedef struct Destruction {
    rd_kafka_t *rk;
    int flags;
} Destruction;

static void *destroy(void *argument)
{
    Destruction *destruction = argument;
    rd_kafka_destroy_flags(destruction->rk, destruction->flags);
    free(destruction);
    return NULL;
}

void handle_destroy(rd_kafka_t *rk, int flags, int timeout_ms)
{
    if (!rk) return;
    Destruction *destruction = mem_alloc(sizeof *destruction);
    *destruction = (Destruction){rk, flags};
    pthread_t thread;
    if (pthread_create(&thread, NULL, destroy, destruction) != 0) {
        destroy(destruction);
        return;
    }
    struct timespec until;
    ASSERT(clock_gettime(CLOCK_REALTIME, &until) == 0);
    until.tv_sec += timeout_ms / 1000 + 1;
    if (pthread_timedjoin_np(thread, NULL, &until) != 0) ASSERT(pthread_detach(thread) == 0);
}

// ---- topics ----
static Status topic_add(Topics *topics, const char *name, Error *error)
{
    size_t length = strlen(name);
    bool valid = length > 0 && length <= TOPIC_NAME_MAX;
    for (const char *p = name; *p; p++)
        valid &= (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                 *p == '.' || *p == '_' || *p == '-';
    if (!valid)
        return error_set(error, ST_BAD_INPUT,
                         "topic '%s': expected 1 to %d characters of A-Z a-z 0-9 . _ -", name,
                         TOPIC_NAME_MAX);
    if (topics_index(topics, name) >= 0)
        return error_set(error, ST_BAD_INPUT, "topic '%s': is given twice", name);
    topics->names[topics->count++] = mem_strdup(name);
    return ST_OK;
}

Status topics_init(Topics *topics, const KafkaConfig *config, Error *error)
{
    *topics = (Topics){0};
    if (config->topics_count < 1 || config->topics_count > KAFKA_TOPICS_MAX)
        return error_set(error, ST_BAD_INPUT, "%d topics: expected 1 to %d", config->topics_count,
                         KAFKA_TOPICS_MAX);
    topics->names = mem_alloc((size_t)config->topics_count * sizeof *topics->names);
    for (int i = 0; i < config->topics_count; i++) TRY(topic_add(topics, config->topics[i], error));
    return ST_OK;
}

void topics_done(Topics *topics)
{
    for (int i = 0; i < topics->count; i++) free(topics->names[i]);
    free(topics->names);
    *topics = (Topics){0};
}

int topics_index(const Topics *topics, const char *name)
{
    for (int i = 0; i < topics->count; i++)
        if (strcmp(topics->names[i], name) == 0) return i;
    return -1;
}

// ---- errors ----
Status kafka_classify(rd_kafka_resp_err_t err, bool of_partition)
{
    switch (err) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID: return ST_FATAL;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_UNKNOWN:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE: return ST_RETRY;
    default: return of_partition ? ST_FATAL : ST_RETRY;
    }
}

Status kafka_error(Error *error, rd_kafka_resp_err_t err, bool of_partition, const char *format,
                   ...)
{
    char what[REASON_MAX] = "";
    va_list arguments;
    va_start(arguments, format);
    ASSERT(vsnprintf(what, sizeof what, format, arguments) >= 0);
    va_end(arguments);
    const char *words = rd_kafka_err2str(err); // librdkafka often has them in its reason already
    bool said = strstr(what, words) != NULL;
    Status status = error_set(error, kafka_classify(err, of_partition), "Kafka: %s%s%s", what,
                              said ? "" : ": ", said ? "" : words);
    if (!error) return status;
    ASSERT(snprintf(error->code, sizeof error->code, "%s", rd_kafka_err2name(err)) >= 0);
    return status;
}
