// SPDX-License-Identifier: Apache-2.0
// tool_consume: prints what stands on a topic now, a record a line, each partition in its order:
//   {"partition":0,"offset":7,"key":"acme","headers":{"content-type":"…"},"value":"…"}
// Ends at the end of every partition, or after --seconds with status 1.
//
// usage: tool_consume --brokers B --topic T [--group G] [--seconds N]
#include "base/json.h"
#include "base/time.h"
#include "kafka/kafka.h"

#include <stdio.h>
#include <unistd.h>

enum { PARTITIONS_MAX = 64, POLL_MS = 100 };

typedef struct Reader {
    int assigned; // partitions; -1: none yet
    bool ended[PARTITIONS_MAX];
} Reader;

static Status assigned(void *context, KafkaPartition *partitions, int count, Error *error)
{
    Reader *reader = context;
    if (count > PARTITIONS_MAX) return error_set(error, ST_FATAL, "too many partitions");
    for (int i = 0; i < count; i++) partitions[i].offset = 0;
    reader->assigned = count;
    return ST_OK;
}

static void taken(void *context, const KafkaPartition *partitions, int count)
{
    (void)context, (void)partitions, (void)count;
}

static void print(const KafkaRecord *record)
{
    OWNED_BUF Buf line = {0};
    JsonWriter w = {.out = &line};
    jw_begin_object(&w, NULL);
    jw_int(&w, "partition", record->partition);
    jw_int(&w, "offset", record->offset);
    jw_str(&w, "key", record->key);
    jw_begin_object(&w, "headers");
    for (int h = 0; h < record->headers_count; h++) {
        OWNED_ARENA Arena *arena = arena_new();
        jw_str(&w, arena_copy(arena, record->headers[h].name).p, record->headers[h].value);
    }
    jw_end_object(&w);
    jw_str(&w, "value", record->value);
    jw_end_object(&w);
    printf("%s\n", line.p);
}

static bool all_ended(const Reader *reader)
{
    for (int i = 0; i < reader->assigned; i++)
        if (!reader->ended[i]) return false;
    return reader->assigned > 0;
}

static Status read_all(const KafkaConfig *config, int64_t seconds, Error *error)
{
    Reader reader = {.assigned = -1};
    KafkaOwner owner = {&reader, assigned, taken, taken};
    OWNED_KAFKA_CONSUMER KafkaConsumer *consumer = NULL;
    TRY(kafka_consumer_new(config, &owner, &consumer, error));
    int64_t until = clock_monotonic_ms() + seconds * 1000;
    while (!all_ended(&reader)) {
        if (clock_monotonic_ms() > until)
            return error_set(error, ST_RETRY, "not at the end after so many seconds: %s",
                             error->text);
        KafkaRecord record = {0};
        Status status = kafka_poll(consumer, POLL_MS, &record, error);
        if (status != ST_OK && status != ST_RETRY) return status;
        if (record.kind == KAFKA_END) reader.ended[record.partition] = true;
        if (record.kind == KAFKA_RECORD) print(&record);
        kafka_record_done(&record);
    }
    return ST_OK;
}

int main(int argc, char **argv)
{
    char group[64];
    const char *topic = NULL;
    int64_t seconds = 30;
    snprintf(group, sizeof group, "tool_consume.%d", (int)getpid());
    KafkaConfig config = {
        .topics = &topic, .topics_count = 1, .group = group, .session_timeout_ms = 6000};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--brokers") == 0) config.brokers = argv[i + 1];
        else if (strcmp(argv[i], "--topic") == 0) topic = argv[i + 1];
        else if (strcmp(argv[i], "--group") == 0) config.group = argv[i + 1];
        else if (strcmp(argv[i], "--seconds") == 0) seconds = atoi(argv[i + 1]);
        else return fprintf(stderr, "tool_consume: unknown option %s\n", argv[i]), 2;
    }
    if (!config.brokers || !topic)
        return fputs("usage: tool_consume --brokers B --topic T [--group G] [--seconds N]\n",
                     stderr),
               2;
    Error error = {0};
    Status status = read_all(&config, seconds, &error);
    if (status != ST_OK) fprintf(stderr, "tool_consume: %s\n", error.text);
    return status_exit_code(status);
}
