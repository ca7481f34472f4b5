// SPDX-License-Identifier: Apache-2.0
// tool_mock: librdkafka's mock cluster as a process: one broker, in memory, for tests and the demo.
// It prints "brokers=127.0.0.1:PORT" and lives until its standard input ends or SIGTERM comes.
//
// usage: tool_mock --partitions N --topic T [--topic T2 ...]
//
// Commands on standard input, one a line, each answered with "ok" or "error: ...":
//   down | up              the broker stops, or goes on, answering; what it holds stays
//   topic T N              makes one more topic with N partitions (they cannot be raised later)
//   topic-error T CODE     metadata requests for T answer that error code (3: no such topic)
//   error KEY CODE COUNT   the next COUNT requests with that API key fail with that error code
//                          (0 Produce, 1 Fetch, 2 ListOffsets, 3 Metadata, 8 OffsetCommit,
//                          9 OffsetFetch, 10 FindCoordinator, 11 JoinGroup, 12 Heartbeat)
//
// A topic that does not exist is made when it is asked for, with 4 partitions. It drops a
// partition's oldest records beyond 5 MiB without a word.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BROKER = 1, TOPICS_MAX = 64, LINE_MAX_BYTES = 512, ERRORS_MAX = 1000 };

typedef struct Cluster {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *mock;
} Cluster;

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "tool_mock: %s: %s\n", what, why);
    return 2;
}

static rd_kafka_resp_err_t push_errors(Cluster *cluster, int key, int code, int count)
{
    if (count < 1 || count > ERRORS_MAX) return RD_KAFKA_RESP_ERR__INVALID_ARG;
    rd_kafka_resp_err_t errors[ERRORS_MAX];
    for (int i = 0; i < count; i++) errors[i] = (rd_kafka_resp_err_t)code;
    rd_kafka_mock_push_request_errors_array(cluster->mock, (int16_t)key, (size_t)count, errors);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t obey(Cluster *cluster, const char *line)
{
    char topic[LINE_MAX_BYTES];
    int key, code, count;
    if (strcmp(line, "down") == 0) return rd_kafka_mock_broker_set_down(cluster->mock, BROKER);
    if (strcmp(line, "up") == 0) return rd_kafka_mock_broker_set_up(cluster->mock, BROKER);
    if (sscanf(line, "topic %511s %d", topic, &count) == 2)
        return rd_kafka_mock_topic_create(cluster->mock, topic, count, 1);
    if (sscanf(line, "topic-error %511s %d", topic, &code) == 2) {
        rd_kafka_mock_topic_set_error(cluster->mock, topic, (rd_kafka_resp_err_t)code);
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (sscanf(line, "error %d %d %d", &key, &code, &count) == 3)
        return push_errors(cluster, key, code, count);
    return RD_KAFKA_RESP_ERR__INVALID_ARG;
}

static int serve(Cluster *cluster)
{
    char line[LINE_MAX_BYTES];
    printf("brokers=%s\n", rd_kafka_mock_cluster_bootstraps(cluster->mock));
    if (fflush(stdout) != 0) return 1;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\r\n")] = '\0';
        rd_kafka_resp_err_t err = obey(cluster, line);
        if (err) printf("error: %s: %s\n", line, rd_kafka_err2str(err));
        else printf("ok\n");
        if (fflush(stdout) != 0) return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *topics[TOPICS_MAX];
    int topics_count = 0, partitions = 4;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--partitions") == 0) partitions = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--topic") == 0 && topics_count < TOPICS_MAX)
            topics[topics_count++] = argv[i + 1];
        else return fail(argv[i], "expected --partitions N or --topic T");
    }
    if (argc % 2 == 0) return fail(argv[argc - 1], "expected a value after it");
    if (partitions < 1 || topics_count == 0) return fail("usage", "--partitions N --topic T ...");

    char reason[512] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, NULL); // it would warn that it has no brokers
    Cluster cluster = {.rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason)};
    if (!cluster.rk) {
        rd_kafka_conf_destroy(conf);
        return fail("librdkafka", reason);
    }
    cluster.mock = rd_kafka_mock_cluster_new(cluster.rk, 1);
    int result = cluster.mock ? 0 : fail("mock cluster", "could not be made");
    for (int i = 0; i < topics_count && result == 0; i++) {
        rd_kafka_resp_err_t err = rd_kafka_mock_topic_create(cluster.mock, topics[i], partitions,
                                                             1);
        if (err) result = fail(topics[i], rd_kafka_err2str(err));
    }
    if (result == 0) result = serve(&cluster);
    if (cluster.mock) rd_kafka_mock_cluster_destroy(cluster.mock);
    rd_kafka_destroy(cluster.rk);
    return result;
}
