// SPDX-License-Identifier: Apache-2.0
// Proves that meter/minutes counts each minute of a run once: for the dearest size held in it, on
// the UTC day in which it begins, and ceil(length / 60 s) of them in all, however long the run is.
#include "tests/history_rows.h"

typedef struct Case {
    const char *label, *start, *end;
    const char *sizes;    // as spans_format writes them
    const char *expected; // "DAY SIZE MINUTES CREDIT-MINUTES" for each stretch, joined by "; "
} Case;

#define AT(time) "2026-10-03T" time "Z"
static const Case CASES[] = {
    // rounding
    {"no length, no minute", "10:00", "10:00", "nano", ""},
    {"a microsecond", "10:00", "10:00:00.000001", "nano", "03 nano 1 10"},
    {"a microsecond less than a minute", "10:00", "10:00:59.999999", "nano", "03 nano 1 10"},
    {"a minute", "10:00", "10:01", "nano", "03 nano 1 10"},
    {"a microsecond more than a minute", "10:00", "10:01:00.000001", "nano", "03 nano 2 20"},
    {"3 min 25 s is 4 minutes", "10:00", "10:03:25", "nano", "03 nano 4 40"},
    {"minutes begin at the start, not at the clock's", "10:00:59.999999", "10:01:59.999999", "nano",
     "03 nano 1 10"},
    // resizes
    {"on the minute", "10:00", "10:05", "nano " AT("10:02:00") " large",
     "03 nano 2 20; 03 large 3 480"},
    {"within a minute, up: the minute is the dearer's", "10:00", "10:05",
     "nano " AT("10:02:30") " large", "03 nano 2 20; 03 large 1 160; 03 large 2 320"},
    {"within a minute, down", "10:00", "10:05", "large " AT("10:02:30") " nano",
     "03 large 2 320; 03 large 1 160; 03 nano 2 20"},
    {"a microsecond of a minute", "10:00", "10:05", "large " AT("10:02:00.000001") " nano",
     "03 large 2 320; 03 large 1 160; 03 nano 2 20"},
    {"the minute's last microsecond", "10:00", "10:02", "nano " AT("10:00:59.999999") " large",
     "03 large 1 160; 03 large 1 160"},
    {"minutes of the run, not of the clock", "10:00:30", "10:02:30",
     "nano " AT("10:01:30") " large", "03 nano 1 10; 03 large 1 160"},
    {"up and down within a minute", "10:00", "10:02",
     "nano " AT("10:00:20") " large " AT("10:00:20.000001") " pico", "03 large 1 160; 03 pico 1 5"},
    {"down and up within a minute", "10:00", "10:01",
     "nano " AT("10:00:20") " pico " AT("10:00:40") " nano", "03 nano 1 10"},
    {"many in one minute", "10:00", "10:01",
     "pico " AT("10:00:10") " nano " AT("10:00:20") " pico " AT("10:00:30") " large " AT(
         "10:00:40") " pico",
     "03 large 1 160"},
    {"at a minute's end, after another within it", "10:00", "10:02",
     "nano " AT("10:00:30") " pico " AT("10:01:00") " large", "03 nano 1 10; 03 large 1 160"},
    {"in neighbouring minutes", "10:00", "10:03",
     "pico " AT("10:00:30") " nano " AT("10:01:30") " large",
     "03 nano 1 10; 03 large 1 160; 03 large 1 160"},
    {"in the last minute, which is cut short", "10:00", "10:01:10", "nano " AT("10:01:05") " large",
     "03 nano 1 10; 03 large 1 160"},
    {"equal rates: the first by name", "10:00", "10:02", "nano " AT("10:00:30") " alpha",
     "03 alpha 1 10; 03 alpha 1 10"},
    {"equal rates, the other way about", "10:00", "10:02", "alpha " AT("10:00:30") " nano",
     "03 alpha 1 10; 03 nano 1 10"},
    {"equal rates on the minute", "10:00", "10:02", "nano " AT("10:01:00") " alpha",
     "03 nano 1 10; 03 alpha 1 10"},
    // days
    {"midnight", "23:58", "04T00:02", "nano", "03 nano 2 20; 04 nano 2 20"},
    {"a minute that crosses midnight begins before it", "23:58:30", "04T00:01:30", "nano",
     "03 nano 2 20; 04 nano 1 10"},
    {"the last microsecond of a day", "23:59:59.999999", "04T00:01", "nano",
     "03 nano 1 10; 04 nano 1 10"},
    {"exactly from midnight to midnight", "00:00", "04T00:00", "nano", "03 nano 1440 14400"},
    {"resized across midnight", "23:59:30", "04T00:01:30", "nano 2026-10-04T00:00:10Z large",
     "03 large 1 160; 04 large 1 160"},
    {"the end of a month", "2026-09-30T23:59:30Z", "2026-10-01T00:01:00Z", "nano",
     "2026-09-30 nano 1 10; 01 nano 1 10"},
    {"the end of a year", "2026-12-31T23:59:00Z", "2027-01-01T00:01:00Z", "large",
     "2026-12-31 large 1 160; 2027-01-01 large 1 160"},
    {"February of a leap year", "2028-02-28T23:59:30Z", "2028-03-01T00:01:30Z", "alpha",
     "2028-02-28 alpha 1 160; 2028-02-29 alpha 1440 230400; 2028-03-01 alpha 1 160"},
    {"February of another", "2027-02-28T23:59:30Z", "2027-03-01T00:01:30Z", "alpha",
     "2027-02-28 alpha 1 160; 2027-03-01 alpha 1 160"},
    // the rates change on the 10th
    {"a price change", "09T23:58:30", "10T00:01:30", "nano", "09 nano 2 20; 10 nano 1 200"},
    {"the dearest by the rates of the minute's day", "09T23:59:00", "10T00:01:00",
     "large 2026-10-09T23:59:30Z nano 2026-10-10T00:00:30Z large", "09 large 1 160; 10 nano 1 200"},
    {"the day in which the minute begins, though the change of size comes after", "09T23:59:30",
     "10T00:01:30", "large 2026-10-10T00:00:10Z nano", "09 large 1 160; 10 nano 1 200"},
    {"ties come and go with the rates", "09T23:59:00", "10T00:01:00",
     "large 2026-10-09T23:59:30Z alpha 2026-10-10T00:00:30Z large",
     "09 large 1 160; 10 alpha 1 160"},
};

typedef struct Sink {
    const Catalog *catalog;
    Buf *out; // NULL: only sums
    Instant next;
    int64_t minutes;
} Sink;

static void take(void *context, Instant first, int64_t count, SizeNo size)
{
    Sink *sink = context;
    Day day = instant_day(first);
    ck_assert_int_gt(count, 0);
    ck_assert_int_eq(first.us, sink->next.us); // no gap, no overlap
    ck_assert_int_eq(instant_day(instant_add_us(first, (count - 1) * US_PER_MINUTE)).days,
                     day.days);
    sink->next = instant_add_us(first, count * US_PER_MINUTE);
    sink->minutes += count;
    if (!sink->out) return;
    char text[DAY_TEXT];
    day_format(day, text);
    buf_addf(sink->out, "%s%s %s %lld %lld", sink->out->n ? "; " : "",
             memcmp(text, "2026-10-", 8) == 0 ? text + 8 : text, sink->catalog->size_names[size],
             (long long)count, (long long)minutes_cost(sink->catalog, day, size, count).cm);
}

static Run run_of(const Catalog *catalog, const char *start, const char *end, const char *sizes,
                  Arena *arena)
{
    Run run = {.start = time_parse(str(start)), .end = time_parse(str(end))};
    run.span = spans_parse(catalog, str(sizes), run.start, arena, &run.spans);
    return run;
}

START_TEST(minutes)
{
    const Case *row = &CASES[_i];
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf got = {0};
    Run run = run_of(catalog, row->start, row->end, row->sizes, arena);
    Sink sink = {catalog, &got, run.start, 0};
    run_minutes(catalog, &run, take, &sink);
    ck_assert_msg(str_is(buf_str(&got), row->expected), "%s:\n  %s\n  expected %s", row->label,
                  got.p, row->expected);
    ck_assert_msg(sink.minutes == run_minute_count(&run), "%s: %lld of %lld minutes", row->label,
                  (long long)sink.minutes, (long long)run_minute_count(&run));
}
END_TEST

static const struct {
    const char *label, *start, *end;
    int64_t minutes;
} LONG[] = {
    {"a leap year", "2028-01-01T00:00:00Z", "2029-01-01T00:00:00Z", 366 * 1440},
    {"a leap year and a microsecond", "2028-01-01T00:00:00Z", "2029-01-01T00:00:00.000001Z",
     366 * 1440 + 1},
    {"a leap year, off the minute", "2028-01-01T00:00:17.5Z", "2029-01-01T00:00:17.5Z", 366 * 1440},
    {"400 days across the change", "2026-01-01T00:00:00Z", "2027-02-05T00:00:00Z", 400 * 1440},
    {"all the time there is", "2000-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z",
     INT64_C(73049) * 1440},
};

START_TEST(long_runs)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    OWNED_ARENA Arena *arena = arena_new();
    Run run = run_of(catalog, LONG[_i].start, LONG[_i].end, "nano", arena);
    Sink sink = {catalog, NULL, run.start, 0};
    run_minutes(catalog, &run, take, &sink);
    ck_assert_msg(sink.minutes == LONG[_i].minutes, "%s: %lld", LONG[_i].label,
                  (long long)sink.minutes);
    ck_assert_int_eq(run_minute_count(&run), LONG[_i].minutes);
}
END_TEST

// Every length up to three minutes and a bit, in steps that are no divisor of a minute.
START_TEST(sums)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    OWNED_ARENA Arena *arena = arena_new();
    Run run = run_of(catalog, "23:58:21.7", "23:58:21.7",
                     "nano 2026-10-03T23:59:00Z large 2026-10-04T00:00:30Z pico", arena);
    int all = run.spans;
    for (int64_t us = 0; us <= 200 * US_PER_SECOND; us += 997001) {
        run.end = instant_add_us(run.start, us);
        for (run.spans = all; run.spans > 1 && run.span[run.spans - 1].from.us >= run.end.us;)
            run.spans--;
        Sink sink = {catalog, NULL, run.start, 0};
        run_minutes(catalog, &run, take, &sink);
        int64_t expected = us / US_PER_MINUTE + (us % US_PER_MINUTE > 0);
        ck_assert_msg(sink.minutes == expected, "%lld us: %lld minutes", (long long)us,
                      (long long)sink.minutes);
    }
}
END_TEST

START_TEST(cost)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    SizeNo nano = catalog_size(catalog, STR("nano"));
    const struct {
        const char *day;
        int64_t count, cm;
    } rows[] = {{"2026-10-09", 7, 70}, {"2026-10-10", 7, 1400}, {"2026-10-09", -7, -70},
                {"2026-10-09", 0, 0},  {"2000-01-01", 1, 10},   {"2199-12-31", 1, 200}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_int_eq(minutes_cost(catalog, day(rows[i].day), nano, rows[i].count).cm,
                         rows[i].cm);
}
END_TEST

#define EACH(test, rows) tcase_add_loop_test(tests, test, 0, (int)(sizeof(rows) / sizeof *(rows)))

int main(void)
{
    TCase *tests = tcase_create("minutes");
    EACH(minutes, CASES);
    EACH(long_runs, LONG);
    tcase_add_test(tests, sums);
    tcase_add_test(tests, cost);
    Suite *suite = suite_create("minutes");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
