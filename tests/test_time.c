// SPDX-License-Identifier: Apache-2.0
// Proves the calendar and the reading of times: every day of the two centuries, leap days, offsets
// across midnight and year ends, the leap second, and what is not a time.
#include "base/time.h"

#include <check.h>
#include <stdio.h>
#include <time.h>

typedef struct InstantRow {
    const char *label, *text, *expected; // NULL: refused
} InstantRow;
static const InstantRow INSTANTS[] = {
    {"plain", "2026-10-03T12:34:56Z", "2026-10-03T12:34:56Z"},
    {"lower case", "2026-10-03t12:34:56z", "2026-10-03T12:34:56Z"},
    {"milliseconds", "2026-10-03T12:34:56.789Z", "2026-10-03T12:34:56.789Z"},
    {"microseconds", "2026-10-03T12:34:56.123456Z", "2026-10-03T12:34:56.123456Z"},
    {"further digits are cut", "2026-10-03T12:34:56.1234569999Z", "2026-10-03T12:34:56.123456Z"},
    {"digits that do not count", "2026-10-03T12:34:56.000000999Z", "2026-10-03T12:34:56Z"},
    {"zeros at the end", "2026-10-03T12:34:56.500000Z", "2026-10-03T12:34:56.5Z"},
    {"a fraction with zeros before", "2026-10-03T12:34:56.000001Z", "2026-10-03T12:34:56.000001Z"},
    {"east", "2026-10-03T01:30:00+02:00", "2026-10-02T23:30:00Z"},
    {"west", "2026-10-03T23:30:00-02:00", "2026-10-04T01:30:00Z"},
    {"minus nothing", "2026-10-03T12:00:00-00:00", "2026-10-03T12:00:00Z"},
    {"half an hour west", "2026-10-03T00:00:00-00:30", "2026-10-03T00:30:00Z"},
    {"the largest offset", "2026-10-03T00:00:00+23:59", "2026-10-02T00:01:00Z"},
    {"east across a year's end", "2027-01-01T00:30:00+01:00", "2026-12-31T23:30:00Z"},
    {"west onto a leap day", "2028-02-28T23:30:00-01:00", "2028-02-29T00:30:00Z"},
    {"second 60", "2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z"},
    {"second 60 with a fraction", "2026-10-03T12:34:60.25Z", "2026-10-03T12:35:00.25Z"},
    {"second 60 with an offset", "2016-12-31T18:59:60-05:00", "2017-01-01T00:00:00Z"},
    {"a leap day", "2028-02-29T00:00:00Z", "2028-02-29T00:00:00Z"},
    {"the leap day of 2000", "2000-02-29T23:59:59.999999Z", "2000-02-29T23:59:59.999999Z"},
    {"the first instant", "2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"},
    {"the first instant, from the year before", "1999-12-31T23:00:00-01:00",
     "2000-01-01T00:00:00Z"},
    {"the last instant", "2199-12-31T23:59:59.999999Z", "2199-12-31T23:59:59.999999Z"},
    {"the last instant, from the year after", "2200-01-01T00:59:59.999999+01:00",
     "2199-12-31T23:59:59.999999Z"},
    {"before the first", "1999-12-31T23:59:59.999999Z", NULL},
    {"before the first by its offset", "2000-01-01T00:00:00+00:01", NULL},
    {"after the last", "2200-01-01T00:00:00Z", NULL},
    {"after the last by second 60", "2199-12-31T23:59:60Z", NULL},
    {"after the last by its offset", "2199-12-31T23:59:59-00:01", NULL},
    {"far away", "0001-01-01T00:00:00Z", NULL},
    {"farther", "9999-12-31T23:59:59Z", NULL},
    {"no leap year", "2026-02-29T00:00:00Z", NULL},
    {"2100 is no leap year", "2100-02-29T00:00:00Z", NULL},
    {"day 31 of a short month", "2026-04-31T00:00:00Z", NULL},
    {"day 0", "2026-04-00T00:00:00Z", NULL},
    {"month 0", "2026-00-01T00:00:00Z", NULL},
    {"month 13", "2026-13-01T00:00:00Z", NULL},
    {"hour 24", "2026-10-03T24:00:00Z", NULL},
    {"minute 60", "2026-10-03T12:60:00Z", NULL},
    {"second 61", "2026-10-03T12:00:61Z", NULL},
    {"offset of a day", "2026-10-03T12:00:00+24:00", NULL},
    {"offset minute 60", "2026-10-03T12:00:00+01:60", NULL},
    {"offset without a colon", "2026-10-03T12:00:00+0100", NULL},
    {"offset of hours only", "2026-10-03T12:00:00+01", NULL},
    {"no zone", "2026-10-03T12:00:00", NULL},
    {"no seconds", "2026-10-03T12:00Z", NULL},
    {"a point without digits", "2026-10-03T12:00:00.Z", NULL},
    {"a comma", "2026-10-03T12:00:00,5Z", NULL},
    {"a space for the T", "2026-10-03 12:00:00Z", NULL},
    {"something after it", "2026-10-03T12:00:00Zx", NULL},
    {"space around it", " 2026-10-03T12:00:00Z", NULL},
    {"a date alone", "2026-10-03", NULL},
    {"one digit", "2026-10-3T12:00:00Z", NULL},
    {"a sign", "+2026-10-03T12:00:00Z", NULL},
    {"nothing", "", NULL},
};

START_TEST(instants)
{
    const InstantRow *row = &INSTANTS[_i];
    Instant instant;
    char text[INSTANT_TEXT];
    bool valid = instant_parse(str(row->text), &instant);
    ck_assert_msg(valid == (row->expected != NULL), "%s: %s", row->label, row->text);
    if (valid)
        ck_assert_msg(strcmp(instant_format(instant, text), row->expected) == 0, "%s: %s",
                      row->label, text);
}
END_TEST

START_TEST(instant_values)
{
    Instant instant;
    ck_assert(instant_parse(STR("2000-01-01T00:00:00Z"), &instant));
    ck_assert_int_eq(instant.us, INSTANT_MIN.us);
    ck_assert(instant_parse(STR("2199-12-31T23:59:59.999999Z"), &instant));
    ck_assert_int_eq(instant.us, INSTANT_END.us - 1);
    ck_assert(instant_parse(STR("2026-10-03T12:34:56.000001Z"), &instant));
    ck_assert_int_eq(instant.us, INT64_C(1791030896000001));
    ck_assert(!instant_parse((Str){0}, &instant));
    ck_assert(
        !instant_parse(((Str){"2026-10-03T12:34:56Z", 19}), &instant)); // the Z lies behind the end
    ck_assert(instant_or_day_parse(STR("2026-10-03"), &instant));
    ck_assert_int_eq(instant.us, INT64_C(1790985600) * US_PER_SECOND);
    ck_assert(instant_or_day_parse(STR("2026-10-03T00:00:01Z"), &instant));
    ck_assert(!instant_or_day_parse(STR("2026-10"), &instant));
}
END_TEST

// Day by day against the C library's calendar.
START_TEST(every_day)
{
    Day day = DAY_MIN;
    for (; day.days < DAY_END.days; day = day_add(day, 1)) {
        time_t seconds = (time_t)day.days * 86400;
        struct tm tm;
        char expected[32], text[DAY_TEXT];
        Day back;
        ck_assert_ptr_nonnull(gmtime_r(&seconds, &tm));
        ck_assert_uint_ne(strftime(expected, sizeof expected, "%Y-%m-%d", &tm), 0);
        ck_assert_str_eq(day_format(day, text), expected);
        ck_assert(day_parse(str(text), &back) && back.days == day.days);
        Period period = day_period(day);
        ck_assert_int_eq(period.months, (tm.tm_year + 1900) * 12 + tm.tm_mon);
        ck_assert_int_eq(period_first(period).days, day.days - tm.tm_mday + 1);
        ck_assert_int_gt(period_end(period).days, day.days);
        ck_assert_int_eq(period_end(period).days, period_first(period_next(period)).days);
        Instant start = day_start(day);
        ck_assert_int_eq(instant_day(start).days, day.days);
        ck_assert_int_eq(instant_day(instant_add_us(start, -1)).days, day.days - 1);
        ck_assert_int_eq(instant_day(instant_add_us(start, US_PER_DAY - 1)).days, day.days);
    }
    ck_assert_int_eq(period_end(day_period(day_add(DAY_END, -1))).days, DAY_END.days);
    char text[DAY_TEXT];
    ck_assert_str_eq(day_format(DAY_MIN, text), "2000-01-01");
    ck_assert_str_eq(day_format(DAY_END, text), "2200-01-01");
    ck_assert_int_eq(instant_day((Instant){-1}).days, -1);
}
END_TEST

typedef struct YesNo {
    const char *text;
    bool yes;
} YesNo;
static const YesNo DAYS[] = {
    {"2000-01-01", true},
    {"2199-12-31", true},
    {"2028-02-29", true},
    {"2000-02-29", true},
    {"1999-12-31", false},
    {"2200-01-01", false},
    {"2026-02-29", false},
    {"2100-02-29", false},
    {"2026-13-01", false},
    {"2026-00-01", false},
    {"2026-01-00", false},
    {"2026-06-31", false},
    {"2026-1-01", false},
    {"2026-01-1", false},
    {"26-01-01", false},
    {"2026/01/01", false},
    {"20260101", false},
    {"2026-01-01 ", false},
    {" 2026-01-01", false},
    {"2026-01-01T00:00:00Z", false},
    {"", false},
    {"2026-01", false},
    {"-026-01-01", false},
};

START_TEST(days)
{
    Day day;
    ck_assert_msg(day_parse(str(DAYS[_i].text), &day) == DAYS[_i].yes, "\"%s\"", DAYS[_i].text);
    ck_assert(!day_parse((Str){0}, &day));
}
END_TEST

static const YesNo PERIODS[] = {
    {"2000-01", true},   {"2199-12", true},     {"2026-10", true},  {"1999-12", false},
    {"2200-01", false},  {"2026-00", false},    {"2026-13", false}, {"2026-1", false},
    {"202610", false},   {"2026-10-01", false}, {"", false},        {"2026", false},
    {"2026-10 ", false},
};

START_TEST(periods)
{
    Period period;
    char text[PERIOD_TEXT];
    bool valid = period_parse(str(PERIODS[_i].text), &period);
    ck_assert_msg(valid == PERIODS[_i].yes, "\"%s\"", PERIODS[_i].text);
    if (valid) ck_assert_str_eq(period_format(period, text), PERIODS[_i].text);
    ck_assert(!period_parse((Str){0}, &period));
}
END_TEST

START_TEST(clocks)
{
    Instant now = clock_now();
    int64_t before = clock_monotonic_ms();
    ck_assert_int_gt(now.us, INSTANT_MIN.us);
    ck_assert_int_lt(now.us, INSTANT_END.us);
    clock_sleep_ms(20);
    ck_assert_int_ge(clock_monotonic_ms() - before, 19);
    Instant a = {1}, b = {2};
    ck_assert(instant_compare(a, b) < 0 && instant_compare(b, a) > 0 && instant_compare(a, a) == 0);
    ck_assert(instant_min(a, b).us == 1 && instant_max(a, b).us == 2);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("time");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, instants, 0, sizeof INSTANTS / sizeof *INSTANTS);
    tcase_add_test(tests, instant_values);
    tcase_add_test(tests, every_day);
    tcase_add_loop_test(tests, days, 0, sizeof DAYS / sizeof *DAYS);
    tcase_add_loop_test(tests, periods, 0, sizeof PERIODS / sizeof *PERIODS);
    tcase_add_test(tests, clocks);
    Suite *suite = suite_create("time");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
