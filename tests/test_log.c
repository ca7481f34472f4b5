// SPDX-License-Identifier: Apache-2.0
// Proves the log: every line is one JSON object whatever is in it, long values are cut between
// characters, a terminal gets text, and lines of several threads do not mix.
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

static Json *parse_line(Str line)
{
    Json *json = NULL;
    Error error = {0};
    ck_assert_msg(json_parse(line, 1 << 20, &json, &error) == ST_OK, "%s: %.*s", error.text,
                  (int)line.n, line.p);
    return json;
}

static Str member(const Json *json, const char *name)
{
    Str text = {0};
    (void)json_text(json_get(json, name), &text);
    return text;
}

START_TEST(lines)
{
    OWNED_BUF Buf out = {0};
    log_to(&out);
    LogField fields[] = {{"text", STR("a \"b\"\n\x01")},
                         {NULL, STR("left out")},
                         {"number", {0}, -9000000000},
                         {"empty", STR("")},
                         {"bad", STR("x\xFFy\xE2\x82z")}};
    log_line(LOG_WARN, "what \xC3\xA9 \xC3(", fields, 5);
    log_line(LOG_INFO, "second", NULL, 0);
    log_to(NULL);
    char *end = strchr(out.p, '\n');
    OWNED_JSON Json *json = parse_line((Str){out.p, (size_t)(end - out.p)});
    Instant time;
    int64_t number = 0;
    ck_assert(instant_parse(member(json, "time"), &time));
    ck_assert(str_is(member(json, "level"), "warn"));
    ck_assert(str_is(member(json, "message"), "what \xC3\xA9 \xEF\xBF\xBD("));
    ck_assert(str_is(member(json, "text"), "a \"b\"\n\x01"));
    ck_assert(json_integer(json_get(json, "number"), &number) && number == -9000000000);
    ck_assert(str_is(member(json, "empty"), ""));
    ck_assert(str_is(member(json, "bad"), "x\xEF\xBF\xBDy\xEF\xBF\xBD\xEF\xBF\xBDz"));
    ck_assert_uint_eq(json_count(json), 7);
    OWNED_JSON Json *second = parse_line((Str){end + 1, strlen(end + 1) - 1});
    ck_assert(str_is(member(second, "level"), "info"));
}
END_TEST

START_TEST(long_values)
{
    OWNED_BUF Buf out = {0}, value = {0};
    for (int i = 0; i < LOG_VALUE_MAX; i++) buf_add_text(&value, i ? "é" : "x");
    log_to(&out);
    log_line(LOG_ERROR, value.p, &(LogField){"value", buf_str(&value)}, 1);
    log_to(NULL);
    OWNED_JSON Json *json = parse_line((Str){out.p, out.n - 1});
    Str cut = member(json, "value"), message = member(json, "message");
    ck_assert_uint_eq(cut.n, LOG_VALUE_MAX - 1 + strlen("…")); // not half an é
    ck_assert(str_equal(cut, message));
}
END_TEST

enum { THREADS = 8, TIMES = 500, LINE_FIELDS = 10 };

static void *say(void *context)
{
    (void)context;
    LogField fields[LINE_FIELDS];
    for (int i = 0; i < LINE_FIELDS; i++)
        fields[i] = (LogField){&"a\0b\0c\0d\0e\0f\0g\0h\0i\0j"[2 * i],
                               STR("some words that are long")};
    for (int i = 0; i < TIMES; i++) log_line(LOG_INFO, "many", fields, LINE_FIELDS);
    return NULL;
}

START_TEST(threads) // into a pipe, as a service's standard error is
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    ck_assert_int_eq(close(ends[1]), 0);
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, say, NULL), 0);
    OWNED_BUF Buf all = {0};
    int lines = 0;
    while (lines < THREADS * TIMES) {
        char piece[4096];
        ssize_t n = read(ends[0], piece, sizeof piece);
        ck_assert_int_gt(n, 0);
        for (ssize_t i = 0; i < n; i++) lines += piece[i] == '\n';
        buf_add(&all, piece, (size_t)n);
    }
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    for (char *line = all.p, *end; (end = strchr(line, '\n')); line = end + 1) {
        OWNED_JSON Json *json = parse_line((Str){line, (size_t)(end - line)});
        ck_assert_uint_eq(json_count(json), 3 + LINE_FIELDS);
    }
}
END_TEST

START_TEST(on_a_terminal)
{
    int main_end = posix_openpt(O_RDWR | O_NOCTTY);
    char name[64];
    ck_assert(main_end >= 0 && grantpt(main_end) == 0 && unlockpt(main_end) == 0);
    ck_assert_int_eq(ptsname_r(main_end, name, sizeof name), 0);
    int terminal = open(name, O_RDWR | O_NOCTTY);
    ck_assert_int_ge(dup2(terminal, STDERR_FILENO), 0);
    LogField fields[] = {{"plain", STR("a/b")}, {"words", STR("two \x1B[2J")}, {"n", {0}, 7}};
    log_line(LOG_WARN, "it \x1B is", fields, 3);
    char line[256] = {0};
    ck_assert_int_gt(read(main_end, line, sizeof line - 1), 0);
    ck_assert(line[2] == ':' && line[5] == ':');
    ck_assert_str_eq(line + 8, " warn it   is plain=a/b words=\"two \\u001b[2J\" n=7\r\n");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("log");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, lines);
    tcase_add_test(tests, long_values);
    tcase_add_test(tests, threads);
    tcase_add_test(tests, on_a_terminal);
    Suite *suite = suite_create("log");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
