// SPDX-License-Identifier: Apache-2.0
// Proves that the price before the bill is the bill's: the public worked example to the cent, each
// of a plan's terms, and that what cannot be priced is refused by name.
#include "billing/estimate.h"

#include <check.h>

extern const char DEFAULT_CATALOG[];

static Catalog *parse(const char *json)
{
    Catalog *catalog = NULL;
    Error error = {0};
    ck_assert_msg(catalog_parse(str(json), &catalog, &error) == ST_OK, "%s", error.text);
    return catalog;
}

static Day day(const char *text)
{
    Day day;
    ck_assert(day_parse(str(text), &day));
    return day;
}

typedef struct Row {
    const char *label, *on, *plan;
    EstimateItem item;
    const char *expected; // JSON, or part of the message
} Row;
#define ITEM(size, vms, hours, days)                                                               \
    {                                                                                              \
        {size, sizeof(size) - 1}, vms, {hours, sizeof(hours) - 1}, days                            \
    }

static const Row ROWS[] = {
    {"the worked example", "2026-09-01", "scale", ITEM("nano", 80, "3", 30),
     "{\"credits\":\"72000.0000\",\"included\":\"1100.0000\",\"purchased\":\"70900.0000\",\"base\":"
     "\"170.00\","
     "\"usage\":\"1053.57\",\"total\":\"1223.57\"}"},
    {"at the price before", "2025-05-19", "scale", ITEM("NANO", 80, "3.00", 30),
     "{\"credits\":\"72000.0000\",\"included\":\"1100.0000\",\"purchased\":\"70900.0000\",\"base\":"
     "\"170.00\","
     "\"usage\":\"1276.20\",\"total\":\"1446.20\"}"},
    {"within the allowance", "2026-09-01", "scale", ITEM("nano", 1, "1", 30),
     "{\"credits\":\"300.0000\",\"included\":\"1100.0000\",\"purchased\":\"0.0000\",\"base\":\"170."
     "00\","
     "\"usage\":\"0.00\",\"total\":\"170.00\"}"},
    {"nothing runs", "2026-09-01", "enterprise", ITEM("nano", 0, "0", 0),
     "{\"credits\":\"0.0000\",\"included\":\"0.0000\",\"purchased\":\"0.0000\",\"base\":\"0.00\","
     "\"usage\":\"0.00\",\"total\":\"0.00\"}"},
    {"hundredths of an hour", "2026-09-01", "pro", ITEM("pico", 3, "0.33", 7),
     "{\"credits\":\"34.6500\",\"included\":\"0.0000\",\"purchased\":\"34.6500\",\"base\":\"150."
     "00\","
     "\"usage\":\"0.51\",\"total\":\"150.51\"}"},
    {"all that can be", "2026-09-01", "pro", ITEM("xlarge", 1000000, "24", 31),
     "{\"credits\":\"238080000000.0000\",\"included\":\"0.0000\",\"purchased\":\"238080000000."
     "0000\","
     "\"base\":\"150.00\",\"usage\":\"3537868800.00\",\"total\":\"3537868950.00\"}"},
    {"no such plan", "2026-09-01", "gold", ITEM("nano", 1, "1", 1),
     "there is no plan \"gold\"; expected one of build enterprise pro scale"},
    {"no such size", "2026-09-01", "pro", ITEM("mini", 1, "1", 1),
     "there is no size \"mini\"; expected one of large"},
    {"more hours than a day has", "2026-09-01", "pro", ITEM("nano", 1, "24.01", 1),
     "\"24.01\" hours a day; expected"},
    {"negative hours", "2026-09-01", "pro", ITEM("nano", 1, "-1", 1), "\"-1\" hours a day"},
    {"three decimals", "2026-09-01", "pro", ITEM("nano", 1, "0.005", 1), "\"0.005\" hours a day"},
    {"no hours", "2026-09-01", "pro", {{"nano", 4}, 1, {NULL, 0}, 1}, "\"\" hours a day"},
    {"more days than a month has", "2026-09-01", "pro", ITEM("nano", 1, "1", 32),
     "32 days; expected 0 to 31"},
    {"too many VMs", "2026-09-01", "pro", ITEM("nano", 1000001, "1", 1),
     "1000001 VMs; expected 0 to 1000000"},
    {"negative VMs", "2026-09-01", "pro", ITEM("nano", -1, "1", 1), "-1 VMs"},
};

START_TEST(estimates)
{
    const Row *row = &ROWS[_i];
    OWNED_CATALOG Catalog *catalog = parse(DEFAULT_CATALOG);
    Estimate result;
    Error error = {0};
    Status status = estimate(catalog, day(row->on), str(row->plan), &row->item, 1, &result, &error);
    if (row->expected[0] != '{') {
        ck_assert_msg(status == ST_BAD_INPUT, "%s: accepted", row->label);
        ck_assert_msg(strstr(error.text, row->expected) != NULL, "%s: %s", row->label, error.text);
        return;
    }
    ck_assert_msg(status == ST_OK, "%s: %s", row->label, error.text);
    OWNED_BUF Buf json = {0};
    estimate_json(&result, &json);
    ck_assert_msg(strcmp(json.p, row->expected) == 0, "%s: %s", row->label, json.p);
}
END_TEST

// A discount and a minimum, which the default catalogue's plans do not have, and several items at
// once.
START_TEST(terms)
{
    OWNED_CATALOG Catalog *catalog = parse(
        "{\"versions\":[{\"from\":\"2026-01-01\",\"credit_price\":\"0.01486\",\"sizes\":{"
        "\"nano\":{\"vcpus\":2,\"memory_gib\":4,\"credits_per_hour\":10},"
        "\"big\":{\"vcpus\":8,\"memory_gib\":16,\"credits_per_hour\":1000000}},"
        "\"plans\":{\"p\":{\"base_fee\":\"10.00\",\"included_credits\":100,\"concurrency_limit\":"
        "null,"
        "\"credit_discount_bps\":1500,\"monthly_minimum\":\"1000.00\"}}}]}");
    const EstimateItem items[] = {ITEM("nano", 80, "3", 30), ITEM("nano", 1, "10", 1),
                                  ITEM("big", 1000000, "24", 31)};
    Estimate got;
    Error error;
    ck_assert_int_eq(estimate(catalog, DAY_MIN, STR("p"), items, 2, &got, &error), ST_OK);
    ck_assert_int_eq(got.credits.cm, 72100 * 60);
    ck_assert_int_eq(got.purchased.cm, 72000 * 60);
    ck_assert_int_eq(got.usage.cents, 106992 - 16049); // 1069.92, and 15 % of it, 160.488
    ck_assert_int_eq(got.minimum.cents, 100000 - 1000 - 90943);
    ck_assert_int_eq(got.total.cents, 100000);
    ck_assert_int_eq(estimate(catalog, DAY_MIN, STR("p"), NULL, 0, &got, &error), ST_OK);
    ck_assert_int_eq(got.total.cents, 100000);
    ck_assert_int_eq(estimate(catalog, DAY_MIN, STR("p"), items, 3, &got, &error), ST_BAD_INPUT);
    ck_assert_str_eq(error.text, "more than 1000000000000 credits");
    ck_assert_int_eq(
        estimate(catalog, DAY_MIN, STR("p"), items, ESTIMATE_ITEMS_MAX + 1, &got, &error),
        ST_BAD_INPUT);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("estimate");
    tcase_add_loop_test(tests, estimates, 0, sizeof ROWS / sizeof *ROWS);
    tcase_add_test(tests, terms);
    Suite *suite = suite_create("estimate");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
