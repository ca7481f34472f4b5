// SPDX-License-Identifier: Apache-2.0
// Proves that catalogue files are read to the letter: what is wrong is refused with its path, value
// and expectation, what is right means what it says, on every day.
#include "tests/catalog_rows.h"

#define ONE_SIZE(size) CATALOG(VERSION("2026-01-01", size, FREE))
#define ONE_PLAN(plan) CATALOG(VERSION("2026-01-01", NANO, "'p':" plan))
#define MEMBERS(members) "{'versions':[{" members "}]}"
#define REST "'credit_price':'1','sizes':{" NANO "},'plans':{" FREE "}"

static const Row CATALOGS[] = {
    {"the least there can be", CATALOG(VERSION("2026-01-01", NANO, FREE)), NULL},
    {"versions in any order",
     CATALOG(VERSION("2026-02-01", NANO "," PICO, FREE) "," VERSION("2026-01-01", NANO, FREE)),
     NULL},
    {"all of a plan",
     ONE_PLAN("{'base_fee':'1','included_credits':2,'signup_credit':'3.5','concurrency_limit':null,"
              "'max_session_minutes':null,'overage':'deny','credit_discount_bps':10000,"
              "'monthly_minimum':'9.99'}"),
     NULL},
    {"a size that costs nothing", ONE_SIZE("'x':{'vcpus':1,'memory_gib':1,'credits_per_hour':0}"),
     NULL},
    {"a plan that comes later",
     CATALOG(VERSION("2026-01-01", NANO, FREE) "," VERSION("2026-02-01", NANO,
                                                           FREE ",'b':{'concurrency_limit':1}")),
     NULL},
    {"not JSON", "{", "no member name"},
    {"no versions", "{}", "\"versions\" is missing; expected an array"},
    {"versions of another kind", "{'versions':{}}", "versions: {} is not an array"},
    {"empty versions", "{'versions':[]}", "versions: 0 versions; expected 1 to 1000"},
    {"an unknown member at the top", "{'versions':[],'x':1}",
     "x: no member has this name here; there are versions"},
    {"a version of another kind", "{'versions':[1]}", "versions[0]: 1 is not an object"},
    {"an unknown member of a version", MEMBERS("'from':'2026-01-01','price':'1'," REST),
     "versions[0].price: no member has this name here; there are from, credit_price, "
     "heartbeat_timeout_seconds, sizes, plans"},
    {"no date", MEMBERS(REST), "versions[0]: \"from\" is missing; expected a date (YYYY-MM-DD)"},
    {"no such date", MEMBERS("'from':'2026-13-01'," REST),
     "versions[0].from: \"2026-13-01\" is not a date (YYYY-MM-DD)"},
    {"a date before 2000", MEMBERS("'from':'1999-12-31'," REST),
     "versions[0].from: \"1999-12-31\""},
    {"a date after 2199", MEMBERS("'from':'2200-01-01'," REST), "versions[0].from: \"2200-01-01\""},
    {"a date that is a number", MEMBERS("'from':20260101," REST),
     "versions[0].from: 20260101 is not a date"},
    {"a null date", MEMBERS("'from':null," REST), "versions[0].from: null is not a date"},
    {"two of one date",
     CATALOG(VERSION("2026-01-01", NANO, FREE) "," VERSION("2026-02-01", NANO, FREE) "," VERSION(
         "2026-01-01", NANO, FREE)),
     "versions: two are from 2026-01-01"},
    {"a price that is a number",
     MEMBERS("'from':'2026-01-01','credit_price':0.018,'sizes':{" NANO "},'plans':{" FREE "}"),
     "versions[0].credit_price: 0.018 is not a price"},
    {"a negative price",
     MEMBERS("'from':'2026-01-01','credit_price':'-1','sizes':{" NANO "},'plans':{" FREE "}"),
     "credit_price: \"-1\" is not"},
    {"a price beyond its bound",
     MEMBERS("'from':'2026-01-01','credit_price':'10000.01','sizes':{" NANO "},'plans':{" FREE "}"),
     "credit_price: \"10000.01\" is not"},
    {"a timeout of 0", MEMBERS("'from':'2026-01-01','heartbeat_timeout_seconds':0," REST),
     "heartbeat_timeout_seconds: 0 is not"},
    {"a null timeout", MEMBERS("'from':'2026-01-01','heartbeat_timeout_seconds':null," REST),
     "heartbeat_timeout_seconds: null is not"},
    {"no sizes", CATALOG(VERSION("2026-01-01", "", FREE)),
     "versions[0].sizes: there must be at least one size"},
    {"no plans", CATALOG(VERSION("2026-01-01", NANO, "")),
     "versions[0].plans: there must be at least one plan"},
    {"a size's name with a space",
     ONE_SIZE("'na no':{'vcpus':2,'memory_gib':4,'credits_per_hour':10}"),
     "versions[0].sizes.na no: a size's name is 1 to 32 of a-z 0-9 . _ -"},
    {"a size's empty name", ONE_SIZE("'':{'vcpus':2,'memory_gib':4,'credits_per_hour':10}"),
     "a size's name is"},
    {"a size's long name",
     ONE_SIZE(
         "'a23456789012345678901234567890123':{'vcpus':2,'memory_gib':4,'credits_per_hour':10}"),
     "a size's name is"},
    {"a size in two cases",
     ONE_SIZE(NANO ",'Nano':{'vcpus':2,'memory_gib':4,'credits_per_hour':10}"),
     "versions[0].sizes.Nano: this size stands twice, in different case"},
    {"a size without its rate", ONE_SIZE("'x':{'vcpus':2,'memory_gib':4}"),
     "versions[0].sizes.x: \"credits_per_hour\" is missing"},
    {"a rate that is no integer", ONE_SIZE("'x':{'vcpus':2,'memory_gib':4,'credits_per_hour':1.0}"),
     "versions[0].sizes.x.credits_per_hour: 1 is not a whole number"},
    {"a negative rate", ONE_SIZE("'x':{'vcpus':2,'memory_gib':4,'credits_per_hour':-1}"),
     "sizes.x.credits_per_hour: -1 is not"},
    {"a rate beyond its bound",
     ONE_SIZE("'x':{'vcpus':2,'memory_gib':4,'credits_per_hour':1000001}"),
     "sizes.x.credits_per_hour: 1000001 is not"},
    {"no vcpus", ONE_SIZE("'x':{'vcpus':0,'memory_gib':4,'credits_per_hour':1}"),
     "sizes.x.vcpus: 0 is not"},
    {"no memory", ONE_SIZE("'x':{'vcpus':1,'memory_gib':0,'credits_per_hour':1}"),
     "sizes.x.memory_gib: 0 is not"},
    {"an unknown member of a size",
     ONE_SIZE("'x':{'vcpus':1,'memory_gib':1,'credits_per_hour':1,'gpus':1}"),
     "versions[0].sizes.x.gpus: no member has this name here"},
    {"a size that is lost",
     CATALOG(VERSION("2026-02-01", NANO, FREE) "," VERSION("2026-01-01", NANO "," PICO, FREE)),
     "versions[0].sizes: \"pico\" is missing, which the version from 2026-01-01 has"},
    {"a plan's name", CATALOG(VERSION("2026-01-01", NANO, "'a b':{'concurrency_limit':5}")),
     "versions[0].plans.a b: a plan's name is an id"},
    {"a plan of another kind", ONE_PLAN("[]"), "versions[0].plans.p: [] is not an object"},
    {"a plan without a limit", ONE_PLAN("{}"),
     "versions[0].plans.p: \"concurrency_limit\" is missing; expected a whole number from 0 to "
     "1000000000, or null for no limit"},
    {"a typo", ONE_PLAN("{'concurrency_limit':1,'base_fees':'1.00'}"),
     "versions[0].plans.p.base_fees: no member has this name here; there are base_fee,"},
    {"a fee that is a number", ONE_PLAN("{'concurrency_limit':1,'base_fee':170}"),
     "versions[0].plans.p.base_fee: 170 is not an amount of money"},
    {"a fee of three decimals", ONE_PLAN("{'concurrency_limit':1,'base_fee':'1.005'}"),
     "base_fee: \"1.005\" is not"},
    {"a negative fee", ONE_PLAN("{'concurrency_limit':1,'base_fee':'-1'}"),
     "base_fee: \"-1\" is not"},
    {"a null fee", ONE_PLAN("{'concurrency_limit':1,'base_fee':null}"), "base_fee: null is not"},
    {"an allowance that is text", ONE_PLAN("{'concurrency_limit':1,'included_credits':'1100'}"),
     "included_credits: \"1100\" is not a whole number of credits"},
    {"a negative allowance", ONE_PLAN("{'concurrency_limit':1,'included_credits':-1}"),
     "included_credits: -1 is not"},
    {"a negative limit", ONE_PLAN("{'concurrency_limit':-1}"), "concurrency_limit: -1 is not"},
    {"a session of no minutes", ONE_PLAN("{'concurrency_limit':1,'max_session_minutes':0}"),
     "max_session_minutes: 0 is not"},
    {"another overage", ONE_PLAN("{'concurrency_limit':1,'overage':'Bill'}"),
     "overage: \"Bill\" is not \"bill\" or \"deny\""},
    {"a discount beyond all", ONE_PLAN("{'concurrency_limit':1,'credit_discount_bps':10001}"),
     "credit_discount_bps: 10001 is not"},
    {"a negative discount", ONE_PLAN("{'concurrency_limit':1,'credit_discount_bps':-1}"),
     "credit_discount_bps: -1 is not"},
    {"a long wrong value",
     ONE_PLAN("'0123456789012345678901234567890123456789012345678901234567890123456789012345678\xC3"
              "\xA9x'"),
     "012345678... is not an object"},
};

START_TEST(catalogs)
{
    OWNED_BUF Buf text = {0};
    OWNED_CATALOG Catalog *catalog = NULL;
    Error error = {0};
    check_row(&CATALOGS[_i], catalog_parse(quoted(CATALOGS[_i].text, &text), &catalog, &error),
              &error);
}
END_TEST

START_TEST(default_catalog)
{
    OWNED_CATALOG Catalog *c = parse(DEFAULT_CATALOG);
    ck_assert_int_eq(c->versions, 2);
    ck_assert_int_eq(c->sizes, 7);
    ck_assert_int_eq(c->plans, 4);
    ck_assert_int_eq(c->revision, 0);
    const CatalogVersion *now = catalog_on(c, day("2026-09-01"));
    ck_assert_int_eq(now->credit_price.e12, INT64_C(14860000000));
    ck_assert_int_eq(now->heartbeat_timeout_us, 600 * US_PER_SECOND);
    const Terms *pro = &now->plans[catalog_plan(c, STR("pro"))].terms;
    ck_assert_int_eq(pro->base_fee.cents, 15000);
    ck_assert_int_eq(pro->max_session_minutes, 1440);
    ck_assert_int_eq(pro->concurrency_limit, 100);
    ck_assert(!pro->overage_deny);
    const Terms *build = &now->plans[catalog_plan(c, STR("build"))].terms;
    ck_assert_int_eq(build->signup_credit.cents, 10000);
    ck_assert_int_eq(build->max_session_minutes, TERM_NONE);
    ck_assert(build->overage_deny);
    ck_assert_int_eq(now->plans[catalog_plan(c, STR("scale"))].terms.included.cm, 1100 * 60);
    ck_assert_int_eq(catalog_plan(c, STR("Scale")), -1);
    ck_assert_int_eq(catalog_plan(c, (Str){0}), -1);
}
END_TEST

START_TEST(versions_by_day)
{
    OWNED_CATALOG Catalog *c = parse(DEFAULT_CATALOG);
    ck_assert_int_eq(catalog_version_index(c, DAY_MIN), 0);
    ck_assert_int_eq(catalog_version_index(c, day("2024-12-12")), 0);
    ck_assert_int_eq(catalog_version_index(c, day("2025-05-19")), 0);
    ck_assert_int_eq(catalog_version_index(c, day("2025-05-20")), 1);
    ck_assert_int_eq(catalog_version_index(c, day_add(DAY_END, -1)), 1);
    OWNED_BUF Buf text = {0};
    for (int i = 0; i < 9; i++)
        buf_addf(&text,
                 "%s{'from':'2026-01-%02d','credit_price':'%d','sizes':{" NANO "},'plans':{" FREE
                 "}}",
                 i ? "," : "{'versions':[", 29 - 3 * i, 9 - i);
    buf_add_text(&text, "]}");
    OWNED_CATALOG Catalog *many = parse(text.p);
    for (int d = 1; d <= 31; d++) {
        Day on = day_add(day("2026-01-01"), d - 1);
        int expected = d < 5 ? 0 : (d - 5) / 3 > 8 ? 8 : (d - 5) / 3;
        ck_assert_int_eq(catalog_version_index(many, on), expected);
        ck_assert_int_eq(catalog_on(many, on)->credit_price.e12, (expected + 1) * PRICE_E12);
    }
}
END_TEST

START_TEST(sizes)
{
    OWNED_CATALOG Catalog *c = parse(
        CATALOG(VERSION("2026-01-01",
                        "'B.1':{'vcpus':2,'memory_gib':4,'credits_per_hour':10},"
                        "'a':{'vcpus':2,'memory_gib':4,'credits_per_hour':10},"
                        "'big':{'vcpus':64,'memory_gib':8,'credits_per_hour':30}",
                        FREE) "," VERSION("2026-02-01",
                                          "'b.1':{'vcpus':2,'memory_gib':4,'credits_per_hour':9},"
                                          "'A':{'vcpus':2,'memory_gib':4,'credits_per_hour':10},"
                                          "'big':{'vcpus':64,'memory_gib':8,'credits_per_hour':30},"
                                          "'new':{'vcpus':1,'memory_gib':1,'credits_per_hour':30}",
                                          FREE)));
    ck_assert_int_eq(c->sizes, 4);
    SizeNo a = catalog_size(c, STR("a")), b = catalog_size(c, STR("b.1"));
    ck_assert(a != SIZE_NONE && b != SIZE_NONE && a < b);
    ck_assert_uint_eq(catalog_size(c, STR("B.1")), b);
    ck_assert_uint_eq(catalog_size(c, STR("B.2")), SIZE_NONE);
    ck_assert_uint_eq(catalog_size(c, STR("")), SIZE_NONE);
    ck_assert_uint_eq(catalog_size(c, (Str){0}), SIZE_NONE);
    ck_assert_uint_eq(catalog_size(c, STR("a2345678901234567890123456789012345")), SIZE_NONE);
    const CatalogVersion *first = &c->version[0], *second = &c->version[1];
    SizeNo new = catalog_size(c, STR("new")), big = catalog_size(c, STR("big"));
    ck_assert(!first->sizes[new].present && second->sizes[new].present);
    const int64_t gib = INT64_C(1) << 30;
    ck_assert_uint_eq(catalog_size_for(c, first, 250, 1), a); // equally cheap: the first by name
    ck_assert_uint_eq(catalog_size_for(c, second, 250, 1), b);
    ck_assert_uint_eq(catalog_size_for(c, first, 2000, 4 * gib), a);
    ck_assert_uint_eq(catalog_size_for(c, first, 2250, 1), big);
    ck_assert_uint_eq(catalog_size_for(c, first, 250, 4 * gib + 1), big);
    ck_assert_uint_eq(catalog_size_for(c, first, 64000, 8 * gib), big);
    ck_assert_uint_eq(catalog_size_for(c, first, 64250, 1), SIZE_NONE);
    ck_assert_uint_eq(catalog_size_for(c, first, 250, 8 * gib + 1), SIZE_NONE);
}
END_TEST

START_TEST(sizes_kept)
{
    OWNED_CATALOG Catalog *before = parse(
        CATALOG(VERSION("2026-01-01", NANO, FREE) "," VERSION("2026-02-01", NANO "," PICO, FREE)));
    OWNED_CATALOG Catalog *same = parse(
        CATALOG(VERSION("2025-01-01", NANO, FREE) "," VERSION("2026-01-15", NANO "," PICO, FREE)));
    OWNED_CATALOG Catalog *gone = parse(CATALOG(VERSION("2026-01-01", NANO, FREE)));
    OWNED_CATALOG Catalog *later = parse(
        CATALOG(VERSION("2026-01-01", NANO, FREE) "," VERSION("2026-02-02", NANO "," PICO, FREE)));
    Error error;
    ck_assert_int_eq(catalog_keeps_sizes(before, before, &error), ST_OK);
    ck_assert_int_eq(catalog_keeps_sizes(before, same, &error), ST_OK);
    ck_assert_int_eq(catalog_keeps_sizes(before, gone, &error), ST_BAD_INPUT);
    ck_assert_str_eq(error.text,
                     "the version from 2026-01-01 lacks the size \"pico\", which the "
                     "catalogue in force has in its version from 2026-02-01");
    ck_assert_int_eq(catalog_keeps_sizes(before, later, &error), ST_BAD_INPUT);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("catalog");
    tcase_add_loop_test(tests, catalogs, 0, sizeof CATALOGS / sizeof *CATALOGS);
    tcase_add_test(tests, default_catalog);
    tcase_add_test(tests, versions_by_day);
    tcase_add_test(tests, sizes);
    tcase_add_test(tests, sizes_kept);
    Suite *suite = suite_create("catalog");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
