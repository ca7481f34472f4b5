// SPDX-License-Identifier: Apache-2.0
// Proves on the mock cluster that records come back byte for byte from the offset that the owner
// names, that a position which is not in the topic is an error and never a jump, that pause and
// resume neither lose nor double, and that a watch tells how far partitions reach.
#include "base/time.h"
#include "kafka/kafka.h"

#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PARTITIONS = 2, BIG = 3 * 1024 * 1024, PATIENCE_MS = 15000 };

static struct {
    pid_t pid;
    FILE *in, *out;
    char brokers[64];
} mock;

static const char *const TOPICS[] = {"one", "big"};
static KafkaConfig config_for(const char *group)
{
    return (KafkaConfig){mock.brokers, TOPICS, 2, group, .session_timeout_ms = 6000};
}

// ---- the mock's process ----
static void mock_start(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    ck_assert_int_gt(n, 0);
    path[n] = '\0';
    char *name = strrchr(path, '/') + 1;
    snprintf(name, (size_t)(path + sizeof path - name), "tool_mock");
    int in[2], out[2];
    ck_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    mock.pid = fork();
    ck_assert_int_ge(mock.pid, 0);
    if (mock.pid == 0) {
        if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0) _exit(127);
        execl(path, path, "--partitions", "2", "--topic", "one", "--topic", "big", (char *)NULL);
        _exit(127);
    }
    ck_assert(close(in[0]) == 0 && close(out[1]) == 0);
    mock.in = fdopen(in[1], "w");
    mock.out = fdopen(out[0], "r");
    char line[128];
    ck_assert_msg(fgets(line, sizeof line, mock.out), "%s did not start", path);
    ck_assert_int_eq(sscanf(line, "brokers=%63s", mock.brokers), 1);
}

static void mock_stop(void)
{
    ck_assert_int_eq(fclose(mock.in), 0);
    ck_assert_int_eq(waitpid(mock.pid, NULL, 0), mock.pid);
    ck_assert_int_eq(fclose(mock.out), 0);
}

static void mock_tell(const char *command)
{
    char answer[256];
    ck_assert(fprintf(mock.in, "%s\n", command) > 0 && fflush(mock.in) == 0);
    ck_assert_ptr_nonnull(fgets(answer, sizeof answer, mock.out));
    ck_assert_str_eq(answer, "ok\n");
}

// ---- helpers ----
#define OK(call) ck_assert_msg((call) == ST_OK, "%s: %s", #call, error.text)

static void produce(const char *topic, int partition, int count)
{
    Error error = {0};
    OWNED_KAFKA_PRODUCER KafkaProducer *producer = NULL;
    KafkaConfig config = config_for(NULL);
    OK(kafka_producer_new(&config, &producer, &error));
    for (int i = 0; i < count; i++) {
        char value[16];
        int n = snprintf(value, sizeof value, "v%d", i);
        KafkaMessage message = {topic, partition, STR("key"), {value, (size_t)n}};
        OK(kafka_produce(producer, &message, &error));
    }
    OK(kafka_producer_flush(producer, PATIENCE_MS, &error));
    ck_assert_int_eq(kafka_producer_delivered(producer), count);
}

typedef struct Owner {
    int64_t start[2][PARTITIONS]; // by topic and partition
    int refusals;                 // how often to be unable to answer
    int asked, assigned, revoked, lost;
} Owner;

static Status on_assigned(void *context, KafkaPartition *partitions, int count, Error *error)
{
    Owner *owner = context;
    owner->asked++;
    if (owner->refusals-- > 0) return error_set(error, ST_RETRY, "no database");
    for (int i = 0; i < count; i++)
        if (owner->start[partitions[i].topic_index][partitions[i].partition])
            partitions[i].offset = owner->start[partitions[i].topic_index][partitions[i].partition];
    owner->assigned += count;
    return ST_OK;
}

static void on_revoked(void *context, const KafkaPartition *partitions, int count)
{
    (void)partitions;
    ((Owner *)context)->revoked += count;
}

static void on_lost(void *context, const KafkaPartition *partitions, int count)
{
    (void)partitions;
    ((Owner *)context)->lost += count;
}

static KafkaConsumer *consumer_of(Owner *owner, const char *group)
{
    Error error = {0};
    KafkaConsumer *consumer;
    KafkaConfig config = config_for(group);
    KafkaOwner functions = {owner, on_assigned, on_revoked, on_lost};
    OK(kafka_consumer_new(&config, &functions, &consumer, &error));
    return consumer;
}

// Polls until `records` and `ends` have come; *next checks that offsets grow by one, per topic and
// partition.
static void read_until(KafkaConsumer *consumer, int records, int ends, int64_t next[2][PARTITIONS])
{
    Error error = {0};
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    while (records > 0 || ends > 0) {
        KafkaRecord record;
        ck_assert_msg(clock_monotonic_ms() < until, "%d records, %d ends missing", records, ends);
        OK(kafka_poll(consumer, 200, &record, &error));
        if (record.kind == KAFKA_NOTHING) continue;
        ck_assert_int_eq(record.offset, next[record.topic_index][record.partition]);
        if (record.kind == KAFKA_RECORD) next[record.topic_index][record.partition]++;
        if (record.kind == KAFKA_RECORD) records--;
        else ends--;
        kafka_record_done(&record);
    }
}

// ---- tests ----
START_TEST(refuses_options)
{
    static const struct {
        const char *label, *topic, *option, *group, *says;
    } rows[] = {
        {"fixed", "t", "auto.offset.reset=latest", "g", "cannot be changed"},
        {"fixed everywhere", "t", "group.id=other", "g", "cannot be changed"},
        {"unknown", "t", "no.such.thing=1", "g", "no.such.thing"},
        {"wrong value", "t", "security.protocol=carrier_pigeon", "g", "security.protocol"},
        {"no value", "t", "security.protocol", "g", "name=value"},
        {"pattern", "^t.*", "client.id=x", "g", "topic '^t.*'"},
        {"no group", "t", "client.id=x", NULL, "group"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Error error = {0};
        KafkaConsumer *consumer;
        KafkaOwner owner = {NULL, on_assigned, on_revoked, on_lost};
        KafkaConfig config = {"127.0.0.1:1", &rows[i].topic, 1, rows[i].group, &rows[i].option, 1};
        ck_assert_msg(kafka_consumer_new(&config, &owner, &consumer, &error) == ST_BAD_INPUT, "%s",
                      rows[i].label);
        ck_assert_msg(strstr(error.text, rows[i].says), "%s: %s", rows[i].label, error.text);
        ck_assert_ptr_null(consumer);
    }
}
END_TEST

static void expect_odd_record(const KafkaRecord *record, const char *big)
{
    ck_assert(record->partition == 1 && record->timestamp_ms > 0);
    if (record->offset == 0) { // everything is null, or there and empty
        ck_assert(str_absent(record->key) && str_absent(record->value));
        ck_assert_int_eq(record->headers_count, 3);
        ck_assert(str_is(record->headers[0].name, "a") && str_is(record->headers[0].value, "1"));
        ck_assert(str_is(record->headers[1].name, "a") && str_absent(record->headers[1].value));
        ck_assert(!str_absent(record->headers[2].value) && record->headers[2].value.n == 0);
    } else if (record->offset == 1) {
        ck_assert(!str_absent(record->key) && record->key.n == 0);
        ck_assert(!str_absent(record->value) && record->value.n == 0);
        ck_assert_int_eq(record->headers_count, 0);
    } else {
        ck_assert(record->value.n == BIG && memcmp(record->value.p, big, BIG) == 0);
    }
}

START_TEST(keeps_every_byte)
{
    Error error = {0};
    OWNED_TEXT char *big = mem_alloc(BIG);
    for (int i = 0; i < BIG; i++) big[i] = (char)(i * 7);
    KafkaHeader headers[] = {{STR("a"), STR("1")}, {STR("a"), {NULL, 0}}, {STR("b"), STR("")}};
    KafkaMessage odd[] = {{"big", 1, {NULL, 0}, {NULL, 0}, headers, 3},
                          {"big", 1, STR(""), STR("")},
                          {"big", 1, STR("k"), {big, BIG}}};
    KafkaConfig config = config_for(NULL);
    KafkaProducer *producer;
    OK(kafka_producer_new(&config, &producer, &error));
    for (int i = 0; i < 3; i++) OK(kafka_produce(producer, &odd[i], &error));
    OK(kafka_producer_flush(producer, PATIENCE_MS, &error));
    kafka_producer_free(producer);

    Owner owner = {.start = {{0}, {0, 0}}};
    OWNED_KAFKA_CONSUMER KafkaConsumer *consumer = consumer_of(&owner, "bytes");
    KafkaRecord held[3];
    for (int count = 0; count < 3;) {
        OK(kafka_poll(consumer, 1000, &held[count], &error));
        if (held[count].kind == KAFKA_RECORD && held[count].topic_index == 1) count++;
        else kafka_record_done(&held[count]);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(held[i].offset, i);
        ck_assert_str_eq(held[i].topic, "big");
        expect_odd_record(&held[i], big);
    }
    for (int i = 0; i < 3; i++) kafka_record_done(&held[i]);
    kafka_record_done(&held[0]);
}
END_TEST

START_TEST(reads_pauses_and_notes)
{
    Error error = {0};
    produce("one", 0, 300);
    produce("one", 1, 5);
    Owner owner = {.start = {{100, 0}, {0, 3}}, .refusals = 2};
    int64_t next[2][PARTITIONS] = {{100, 0}, {0, 3}};
    KafkaConsumer *consumer = consumer_of(&owner, "pauses");
    KafkaRecord record;
    const KafkaPartition *assigned;
    for (int refused = 0; refused < 2;) { // an owner who cannot answer is asked again
        Status status = kafka_poll(consumer, 500, &record, &error);
        refused += status == ST_RETRY;
        ck_assert_msg(status == ST_OK || strcmp(error.text, "no database") == 0, "%s", error.text);
        ck_assert_int_eq(record.kind, KAFKA_NOTHING);
        ck_assert_int_eq(kafka_assigned(consumer, &assigned), 0);
    }
    read_until(consumer, 50, 0, next);
    ck_assert_int_eq(owner.asked, 3);
    ck_assert_int_eq(owner.assigned, 4);
    ck_assert_int_eq(kafka_assigned(consumer, &assigned), 4);
    OK(kafka_pause(consumer, &error));
    for (int i = 0; i < 5; i++) {
        OK(kafka_poll(consumer, 50, &record, &error));
        ck_assert_int_ne(record.kind, KAFKA_RECORD);
    }
    OK(kafka_resume(consumer, &error));
    OK(kafka_resume(consumer, &error));
    read_until(consumer, 155, 1, next);
    produce("one", 0, 10);
    read_until(consumer, 10, 1, next);
    ck_assert(next[0][0] == 310 && next[0][1] == 5);
    KafkaPartition notes[] = {{"one", 0, 0, 310}, {"one", 0, 1, 4}};
    kafka_note_offsets(consumer, notes, 2);
    for (int i = 0; i < 5; i++) OK(kafka_poll(consumer, 100, &record, &error));
    ck_assert_int_eq(kafka_notes_failed(consumer), 0);

    KafkaConfig config = config_for("pauses");
    OWNED_KAFKA_WATCH KafkaWatch *watch = NULL;
    OWNED_KAFKA_WATERMARKS KafkaWatermarks marks = {0};
    OK(kafka_watch_new(&config, true, &watch, &error));
    OK(kafka_watch_now(watch, &marks, &error));
    ck_assert_int_eq(marks.count, 4);
    for (int i = 0; i < 4; i++) {
        const KafkaWatermark *mark = &marks.marks[i];
        if (mark->topic_index == 1) ck_assert_int_eq(mark->noted, -1);
        else ck_assert_int_eq(mark->noted, mark->partition == 0 ? 310 : 4);
        if (mark->topic_index == 0) ck_assert_int_eq(mark->high, mark->partition == 0 ? 310 : 5);
        ck_assert_int_eq(mark->low, 0);
    }
    produce("one", 1, 500); // and goes with most of these unread
    read_until(consumer, 1, 0, next);
    int64_t began = clock_monotonic_ms();
    kafka_consumer_close(consumer, 3000);
    ck_assert_int_lt(clock_monotonic_ms() - began, 5000);
    ck_assert(owner.revoked == 4 && owner.lost == 0);
}
END_TEST

START_TEST(never_skips)
{
    Error error = {0};
    Owner owner = {.start = {{1000, 0}, {0, 0}}}; // far behind the end
    OWNED_KAFKA_CONSUMER KafkaConsumer *consumer = consumer_of(&owner, "skips");
    Status status = ST_OK;
    for (int i = 0; i < 100 && status == ST_OK; i++) {
        KafkaRecord record;
        status = kafka_poll(consumer, 200, &record, &error);
        ck_assert(record.kind != KAFKA_RECORD || record.topic_index != 0 || record.partition != 0);
        kafka_record_done(&record);
    }
    ck_assert_int_eq(status, ST_FATAL);
    ck_assert_msg(strstr(error.text, "one [0]") && strstr(error.text, "1000"), "%s", error.text);
    ck_assert_str_eq(error.code, "_AUTO_OFFSET_RESET");
    KafkaRecord record;
    ck_assert_int_eq(kafka_poll(consumer, 100, &record, &error), ST_FATAL); // and stays so
}
END_TEST

START_TEST(watches)
{
    Error error = {0};
    const char *missing[] = {"one", "not-there"};
    mock_tell("topic-error not-there 3"); // or the mock would make it when asked for it
    KafkaConfig config = {mock.brokers, missing, 2};
    KafkaWatch *watch;
    KafkaWatermarks marks;
    OK(kafka_watch_new(&config, false, &watch, &error));
    ck_assert_int_eq(kafka_watch_now(watch, &marks, &error), ST_MISSING);
    ck_assert_msg(strstr(error.text, "'not-there' does not exist"), "%s", error.text);
    kafka_watch_free(watch);

    config.topics_count = 1;
    OK(kafka_watch_new(&config, false, &watch, &error));
    ck_assert(kafka_watch_ask(watch, 42));
    ck_assert(!kafka_watch_ask(watch, 43));
    bool ready = false;
    for (int i = 0; i < 300 && !ready; i++, clock_sleep_ms(10))
        OK(kafka_watch_answer(watch, &ready, &marks, &error));
    ck_assert(ready && marks.token == 42 && marks.count == PARTITIONS);
    kafka_watermarks_free(&marks);

    mock_tell("down");
    int64_t began = clock_monotonic_ms();
    ck_assert_int_eq(kafka_watch_now(watch, &marks, &error), ST_RETRY);
    ck_assert_int_lt(clock_monotonic_ms() - began, KAFKA_WATCH_TIMEOUT_MS + 1000);
    mock_tell("up");
    Status status = ST_RETRY;
    for (int i = 0; i < 5 && status != ST_OK; i++) status = kafka_watch_now(watch, &marks, &error);
    ck_assert_msg(status == ST_OK, "%s", error.text);
    kafka_watermarks_free(&marks);
    kafka_watch_free(watch);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kafka");
    TCase *cases = tcase_create("mock");
    tcase_set_timeout(cases, 30);
    tcase_add_unchecked_fixture(cases, mock_start, mock_stop);
    tcase_add_test(cases, refuses_options);
    tcase_add_test(cases, keeps_every_byte);
    tcase_add_test(cases, reads_pauses_and_notes);
    tcase_add_test(cases, never_skips);
    tcase_add_test(cases, watches);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
