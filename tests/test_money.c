// SPDX-License-Identifier: Apache-2.0
// Proves that amounts are exact: the one rounding, half away from zero; what is read as an amount
// and what is not; that what is written is what is meant; that what would overflow stops the
// process.
#include "base/money.h"

#include <check.h>
#include <inttypes.h>
#include <signal.h>

typedef struct RoundRow {
    int64_t numerator, denominator, rounded;
} RoundRow;
static const RoundRow ROUNDS[] = {
    {0, 7, 0},
    {1, 2, 1},
    {-1, 2, -1},
    {3, 2, 2},
    {-3, 2, -2},
    {5, 2, 3},
    {-5, 2, -3},
    {1, 3, 0},
    {2, 3, 1},
    {-1, 3, 0},
    {-2, 3, -1},
    {49, 100, 0},
    {50, 100, 1},
    {-49, 100, 0},
    {-50, 100, -1},
    {149, 100, 1},
    {150, 100, 2},
    {-149, 100, -1},
    {-150, 100, -2},
    {7, 1, 7},
    {-7, 1, -7},
    {INT64_MAX, 1, INT64_MAX},
    {-INT64_MAX, 1, -INT64_MAX},
    {INT64_MAX, INT64_MAX, 1},
    {INT64_MAX / 2, INT64_MAX, 0},
    {INT64_MAX / 2 + 1, INT64_MAX, 1},
    {-(INT64_MAX / 2 + 1), INT64_MAX, -1},
};

START_TEST(rounding)
{
    const RoundRow *row = &ROUNDS[_i];
    int64_t got = round_div(row->numerator, row->denominator);
    ck_assert_msg(got == row->rounded, "%" PRId64 "/%" PRId64 " -> %" PRId64, row->numerator,
                  row->denominator, got);
}
END_TEST

START_TEST(wide_rounding)
{
    // Beyond 64 bits on the way, within them in the end; a half is a half at any size.
    Wide huge = (Wide)INT64_MAX * INT64_MAX;
    ck_assert_int_eq(round_div(huge, INT64_MAX), INT64_MAX);
    ck_assert_int_eq(round_div(-huge, INT64_MAX), -INT64_MAX);
    Wide odd = (Wide)2 * INT64_MAX - 1;
    ck_assert_int_eq(round_div(odd, 2), INT64_MAX);
    ck_assert_int_eq(round_div(odd - 1, 2), INT64_MAX - 1);
}
END_TEST

START_TEST(overflow_aborts)
{
    switch (_i) {
    case 0: (void)round_div((Wide)INT64_MAX + 1, 1); break;
    case 1: (void)round_div(-((Wide)INT64_MAX + 1), 1); break;
    case 2: (void)round_div(1, 0); break;
    case 3: (void)cents_add((Cents){INT64_MAX}, (Cents){1}); break;
    case 4: (void)cents_sub((Cents){INT64_MIN}, (Cents){1}); break;
    case 5: (void)cm_add((CreditMinutes){INT64_MAX}, (CreditMinutes){1}); break;
    case 6: (void)cm_sub((CreditMinutes){INT64_MIN}, (CreditMinutes){1}); break;
    default: (void)price_of((CreditMinutes){INT64_MAX}, (Price){PRICE_MAX_E12}); break;
    }
}
END_TEST

typedef struct CentsRow {
    const char *text;
    bool valid;
    int64_t cents;
    const char *formatted;
} CentsRow;
static const CentsRow CENTS[] = {
    {"0", true, 0, "0.00"},
    {"-0", true, 0, "0.00"},
    {"0.05", true, 5, "0.05"},
    {"-0.05", true, -5, "-0.05"},
    {"25", true, 2500, "25.00"},
    {"25.5", true, 2550, "25.50"},
    {"25.00", true, 2500, "25.00"},
    {"-1.5", true, -150, "-1.50"},
    {"007.10", true, 710, "7.10"},
    {"1000000000000", true, CENTS_MAX, "1000000000000.00"},
    {"-1000000000000.00", true, -CENTS_MAX, "-1000000000000.00"},
    {"1000000000000.01", false, 0, NULL},
    {"99999999999999999999999999999999", false, 0, NULL},
    {"0.001", false, 0, NULL},
    {"0.000", false, 0, NULL},
    {"25.", false, 0, NULL},
    {".5", false, 0, NULL},
    {"-.5", false, 0, NULL},
    {"", false, 0, NULL},
    {"-", false, 0, NULL},
    {".", false, 0, NULL},
    {"+1", false, 0, NULL},
    {"1,000.00", false, 0, NULL},
    {"1 ", false, 0, NULL},
    {" 1", false, 0, NULL},
    {"1e3", false, 0, NULL},
    {"1.0.0", false, 0, NULL},
    {"--1", false, 0, NULL},
    {"1-", false, 0, NULL},
    {"$1", false, 0, NULL},
    {"NaN", false, 0, NULL},
};

START_TEST(cents)
{
    const CentsRow *row = &CENTS[_i];
    Cents amount = {0};
    char text[AMOUNT_TEXT];
    ck_assert_msg(cents_parse(str(row->text), &amount) == row->valid, "\"%s\"", row->text);
    ck_assert_msg(amount.cents == row->cents, "\"%s\"", row->text);
    if (row->valid) ck_assert_str_eq(cents_format(amount, text), row->formatted);
    ck_assert(!cents_parse((Str){0}, &amount));
}
END_TEST

typedef struct CreditsRow {
    const char *text;
    bool valid;
    int64_t cm;
    const char *formatted;
} CreditsRow;
static const CreditsRow CREDITS[] = {
    {"500", true, 30000, "500.0000"},
    {"12.25", true, 735, "12.2500"},
    {"0.05", true, 3, "0.0500"},
    {"-0.05", true, -3, "-0.0500"},
    {"0.35", true, 21, "0.3500"},
    {"0.350000", true, 21, "0.3500"},
    {"0", true, 0, "0.0000"},
    {"1000000000000", true, CREDITS_MAX * 60, "1000000000000.0000"},
    {"1000000000000.05", false, 0, NULL},
    {"0.001", false, 0, NULL},
    {"0.01", false, 0, NULL},
    {"0.016666", false, 0, NULL},
    {"0.0500000", false, 0, NULL},
    {"", false, 0, NULL},
    {"1.", false, 0, NULL},
};

START_TEST(credits)
{
    const CreditsRow *row = &CREDITS[_i];
    CreditMinutes amount = {0};
    char text[AMOUNT_TEXT];
    ck_assert_msg(credits_parse(str(row->text), &amount) == row->valid, "\"%s\"", row->text);
    ck_assert_msg(amount.cm == row->cm, "\"%s\"", row->text);
    if (row->valid) ck_assert_str_eq(credits_format(amount, text), row->formatted);
}
END_TEST

START_TEST(credits_rounded)
{
    char text[AMOUNT_TEXT];
    ck_assert_str_eq(credits_format((CreditMinutes){1}, text), "0.0167");
    ck_assert_str_eq(credits_format((CreditMinutes){2}, text), "0.0333");
    ck_assert_str_eq(credits_format((CreditMinutes){-1}, text), "-0.0167");
    ck_assert_str_eq(credits_format((CreditMinutes){-2}, text), "-0.0333");
    ck_assert_str_eq(credits_format((CreditMinutes){4254000}, text), "70900.0000");
}
END_TEST

typedef struct PriceRow {
    const char *text;
    bool valid;
    int64_t e12;
    const char *formatted;
} PriceRow;
static const PriceRow PRICES[] = {
    {"0.01486", true, INT64_C(14860000000), "0.01486"},
    {"0.018", true, INT64_C(18000000000), "0.018"},
    {"0.01800", true, INT64_C(18000000000), "0.018"},
    {"1", true, PRICE_E12, "1"},
    {"10.00", true, 10 * PRICE_E12, "10"},
    {"0", true, 0, "0"},
    {"0.000000000001", true, 1, "0.000000000001"},
    {"1000000", true, PRICE_MAX_E12, "1000000"},
    {"1000000.000000000001", false, 0, NULL},
    {"0.0000000000001", false, 0, NULL},
    {"", false, 0, NULL},
    {"1.", false, 0, NULL},
};

START_TEST(prices)
{
    const PriceRow *row = &PRICES[_i];
    Price price = {0};
    char text[AMOUNT_TEXT];
    ck_assert_msg(price_parse(str(row->text), &price) == row->valid, "\"%s\"", row->text);
    ck_assert_msg(price.e12 == row->e12, "\"%s\"", row->text);
    if (row->valid) ck_assert_str_eq(price_format(price, text), row->formatted);
}
END_TEST

START_TEST(pricing)
{
    const Price scale = {INT64_C(14860000000)};
    ck_assert_int_eq(price_of((CreditMinutes){4254000}, scale).cents, 105357); // $1,053.574
    ck_assert_int_eq(price_of((CreditMinutes){-4254000}, scale).cents, -105357);
    ck_assert_int_eq(price_of((CreditMinutes){0}, scale).cents, 0);
    // Half a cent, just below it, and its mirror: 30 cm at one cent a credit.
    const Price cent = {PRICE_E12 / 100};
    ck_assert_int_eq(price_of((CreditMinutes){30}, cent).cents, 1);
    ck_assert_int_eq(price_of((CreditMinutes){29}, cent).cents, 0);
    ck_assert_int_eq(price_of((CreditMinutes){-30}, cent).cents, -1);
    ck_assert_int_eq(price_of((CreditMinutes){30}, (Price){cent.e12 - 1}).cents, 0);
    // A share of the exact price, not of the rounded one: 0.49 of a cent is nothing, 10000 bps of
    // 30 cm one cent.
    ck_assert_int_eq(price_share_of((CreditMinutes){30}, cent, 10000).cents, 1);
    ck_assert_int_eq(price_share_of((CreditMinutes){30}, cent, 9999).cents, 0);
    ck_assert_int_eq(price_share_of((CreditMinutes){4254000}, scale, 1500).cents,
                     15804); // $158.0361
    ck_assert_int_eq(price_share_of((CreditMinutes){4254000}, scale, 0).cents, 0);
    ck_assert_int_eq(cents_share((Cents){17000}, 15, 31).cents, 8226); // $82.258
    ck_assert_int_eq(cents_share((Cents){17000}, 31, 31).cents, 17000);
    ck_assert_int_eq(cents_share((Cents){-17000}, 15, 31).cents, -8226);
    ck_assert_int_eq(cents_share((Cents){1}, 15, 30).cents, 1);
    ck_assert_int_eq(cents_share((Cents){CENTS_MAX}, 30, 31).cents, INT64_C(96774193548387));
}
END_TEST

START_TEST(arithmetic)
{
    ck_assert_int_eq(cents_add((Cents){INT64_MAX - 1}, (Cents){1}).cents, INT64_MAX);
    ck_assert_int_eq(cents_sub((Cents){5}, (Cents){7}).cents, -2);
    ck_assert_int_eq(cents_negate((Cents){5}).cents, -5);
    ck_assert_int_eq(cm_add((CreditMinutes){2}, (CreditMinutes){3}).cm, 5);
    ck_assert_int_eq(cm_sub((CreditMinutes){2}, (CreditMinutes){3}).cm, -1);
    ck_assert_int_eq(cm_min((CreditMinutes){2}, (CreditMinutes){3}).cm, 2);
    char text[AMOUNT_TEXT];
    ck_assert_str_eq(cents_format((Cents){INT64_MAX}, text), "92233720368547758.07");
    ck_assert_str_eq(cents_format((Cents){INT64_MIN}, text), "-92233720368547758.08");
}
END_TEST

START_TEST(grouping)
{
    static const char *const rows[][2] = {
        {"0.00", "0.00"},
        {"999.99", "999.99"},
        {"1000.00", "1,000.00"},
        {"70900.0000", "70,900.0000"},
        {"123456", "123,456"},
        {"1234567.8", "1,234,567.8"},
        {"-123.45", "-123.45"},
        {"-1234.5", "-1,234.5"},
        {"-123456.00", "-123,456.00"},
        {"1", "1"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[AMOUNT_TEXT];
        ck_assert_str_eq(amount_group(rows[i][0], text), rows[i][1]);
    }
    char text[AMOUNT_TEXT];
    ck_assert_str_eq(amount_group("-92233720368547758.08", text), "-92,233,720,368,547,758.08");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("money");
    tcase_add_loop_test(tests, rounding, 0, sizeof ROUNDS / sizeof *ROUNDS);
    tcase_add_test(tests, wide_rounding);
    tcase_add_loop_test_raise_signal(tests, overflow_aborts, SIGABRT, 0, 8);
    tcase_add_loop_test(tests, cents, 0, sizeof CENTS / sizeof *CENTS);
    tcase_add_loop_test(tests, credits, 0, sizeof CREDITS / sizeof *CREDITS);
    tcase_add_test(tests, credits_rounded);
    tcase_add_loop_test(tests, prices, 0, sizeof PRICES / sizeof *PRICES);
    tcase_add_test(tests, pricing);
    tcase_add_test(tests, arithmetic);
    tcase_add_test(tests, grouping);
    Suite *suite = suite_create("money");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
