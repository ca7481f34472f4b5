// SPDX-License-Identifier: Apache-2.0
// Proves that billing/rate gives what the contract's section 3 says, step by step and to the cent,
// that grants pass from period to period, and that a kept input rates to the same again.
#include "billing/inputs.h"
#include "billing/invoice.h"
#include "billing/ledger.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>

extern const char DEFAULT_CATALOG[];

enum { CELLS_MAX = 4096 };

// A catalogue whose rate of `nano`, whose price and whose scale plan change within September 2026.
#define SIZE_AT(rate) "\"nano\":{\"vcpus\":2,\"memory_gib\":4,\"credits_per_hour\":" #rate "}"
static const char CHANGING[] =
    "{\"versions\":["
    "{\"from\":\"2026-01-01\",\"credit_price\":\"0.02\",\"heartbeat_timeout_seconds\":600,"
    "\"sizes\":{" SIZE_AT(10) "},"
    "\"plans\":{\"scale\":{\"base_fee\":\"170.00\",\"included_credits\":1100,"
    "\"concurrency_limit\":100,\"overage\":\"bill\"}}},"
    "{\"from\":\"2026-09-11\",\"credit_price\":\"0.01\",\"heartbeat_timeout_seconds\":600,"
    "\"sizes\":{" SIZE_AT(20) "},"
    "\"plans\":{\"scale\":{\"base_fee\":\"200.00\",\"included_credits\":0,"
    "\"concurrency_limit\":100,\"overage\":\"bill\"}}}]}";

typedef struct Case {
    const char *label;
    const char *catalog;       // NULL: the default one
    const char *account;       // its members besides id and name
    const char *first, *last;  // periods
    const char *usage;         // "FROM..TO SIZE MINUTES-A-DAY; ..."
    RateAdjustment adjustment; // of the last period; 0: none
    const char *expected;      // per period: included/granted/bought: lines = subtotal, total
} Case;

// clang-format off
#define PLAN(plan, from) "{\"plan\":\"" plan "\",\"from\":\"" from "\"}"
#define PLAN_WITH(plan, from, overrides)                                                          \
    "{\"plan\":\"" plan "\",\"from\":\"" from "\",\"overrides\":{" overrides "}}"
#define END(from) "{\"plan\":null,\"from\":\"" from "\"}"
#define SUBSCRIBED(list) "\"subscriptions\":[" list "]"
#define ENTERPRISE(overrides) SUBSCRIBED(PLAN_WITH("enterprise", "2026-01-01", overrides))
#define GRANTED(list) ",\"grants\":[" list "]"
#define GRANT(id, unit, amount, from, rest)                                                       \
    "{\"id\":\"" id "\",\"unit\":\"" unit "\",\"amount\":\"" amount "\","                          \
    "\"from\":\"" from "\"" rest "}"
#define PRIORITY(n) ",\"priority\":" #n
#define UNTIL(day) ",\"expires\":\"" day "\""
#define TAX ",\"tax_rate_bps\":1900"
#define NO_ADJUSTMENT {{0}, {0}}

static const Case CASES[] = {
    {"worked example", NULL,
     SUBSCRIBED(PLAN("scale", "2026-09-01")),
     "2026-09", "2026-09", "2026-09-01..2026-09-30 nano 14400", NO_ADJUSTMENT,
     "66000/0/4254000: base_fee 170.00, credits 1053.57 = 1223.57, 1223.57"},
    {"price change in the month", NULL,
     SUBSCRIBED(PLAN("scale", "2025-01-01")),
     "2025-05", "2025-05", "2025-05-10..2025-05-30 large 1200", NO_ADJUSTMENT,
     "66000/0/3966000: base_fee 104.19, base_fee 65.81, credits 556.20, credits 523.07"
     " = 1249.27, 1249.27"},
    {"rate, price and plan change in the month", CHANGING,
     // 22,000 cm are included, all used on the 10th, of 60,000; then 120,000 at the new price
     SUBSCRIBED(PLAN("scale", "2026-01-01")),
     "2026-09", "2026-09", "2026-09-10..2026-09-11 nano 6000", NO_ADJUSTMENT,
     "22000/0/158000: base_fee 56.67, base_fee 133.33, credits 12.67, credits 20.00"
     " = 222.67, 222.67"},
    {"two subscriptions to one plan are two segments", NULL,
     SUBSCRIBED(PLAN("pro", "2026-09-01") "," PLAN("pro", "2026-09-12")),
     "2026-09", "2026-09", "2026-09-11..2026-09-12 nano 600", NO_ADJUSTMENT,
     "0/0/12000: base_fee 55.00, base_fee 95.00, credits 1.49, credits 1.49 = 152.98, 152.98"},
    {"plan change, discount, credit grants and a minimum that is reached", NULL,
     SUBSCRIBED(PLAN("scale", "2026-08-01") ","
                PLAN_WITH("enterprise", "2026-10-11",
                          "\"included_credits\":5000,\"credit_discount_bps\":1250,"
                          "\"monthly_minimum\":\"400.00\"")) TAX
     GRANTED(GRANT("promo", "credit", "500", "2026-10-01", PRIORITY(1) UNTIL("2026-10-05")) ","
             GRANT("commit", "credit", "300", "2026-09-01", PRIORITY(2))),
     "2026-09", "2026-10",
     "2026-09-16..2026-09-30 xlarge 1200; 2026-10-01..2026-10-30 large 1380", NO_ADJUSTMENT,
     "66000/18000/5676000: base_fee 170.00, credits 1405.76, tax 299.39, draw commit 18000"
     " = 1575.76, 1875.15 | "
     "224516/30000/6369484: base_fee 54.84, credits 483.81, credits 1093.70, discount -136.71,"
     " tax 284.17, draw promo 30000 = 1495.64, 1779.81"},
    {"sign-up credit passes on", NULL,
     SUBSCRIBED(PLAN("build", "2026-09-15")),
     "2026-09", "2026-10",
     "2026-09-16..2026-09-30 medium 180; 2026-10-01..2026-10-30 medium 660", NO_ADJUSTMENT,
     "0/0/216000: credits 53.50, grant signup -53.50 = 53.50, 0.00 | "
     "0/0/1584000: credits 392.30, grant signup -46.50 = 392.30, 345.80"},
    {"days before the first subscription, and an expired grant", NULL,
     SUBSCRIBED(PLAN("pro", "2026-10-20"))
     GRANTED(GRANT("goodwill", "usd", "10.05", "2026-10-01", "") ","
             GRANT("old", "usd", "99.00", "2026-01-01", UNTIL("2026-10-01"))),
     "2026-10", "2026-10", "2026-10-01..2026-10-30 pico 420", NO_ADJUSTMENT,
     "0/0/63000: base_fee 58.06, credits 9.88, credits 5.72, grant goodwill -10.05"
     " = 73.66, 63.61"},
    {"minimum of a part of the month", NULL,
     SUBSCRIBED(PLAN_WITH("enterprise", "2026-10-16", "\"monthly_minimum\":\"100.01\"")),
     "2026-10", "2026-10", "2026-10-20..2026-10-20 pico 60", NO_ADJUSTMENT,
     "0/0/300: credits 0.07, minimum 51.55 = 51.62, 51.62"},
    {"minimum without usage", NULL,
     ENTERPRISE("\"monthly_minimum\":\"12.00\""),
     "2026-09", "2026-09", "", NO_ADJUSTMENT,
     "0/0/0: minimum 12.00 = 12.00, 12.00"},
    {"nothing used, nothing due: no invoice", NULL,
     ENTERPRISE("\"included_credits\":10"),
     "2026-09", "2026-09", "", NO_ADJUSTMENT,
     "600/0/0: = 0.00, 0.00 (none)"},
    {"used, nothing due: an invoice without lines", NULL,
     ENTERPRISE("\"included_credits\":10"),
     "2026-09", "2026-09", "2026-09-01..2026-09-01 pico 1", NO_ADJUSTMENT,
     "600/0/0: = 0.00, 0.00"},
    {"after an end: the last terms, without base, allowance and minimum", NULL,
     SUBSCRIBED(PLAN_WITH("enterprise", "2026-01-01",
                          "\"base_fee\":\"30.00\",\"included_credits\":100,"
                          "\"credit_discount_bps\":1000,\"monthly_minimum\":\"60.00\"") ","
                END("2026-09-11")),
     "2026-09", "2026-09", "2026-09-20..2026-09-20 nano 6000", NO_ADJUSTMENT,
     "2000/0/58000: base_fee 10.00, credits 14.36, discount -1.44 = 22.92, 22.92"},
    {"a month after the end", NULL,
     SUBSCRIBED(PLAN("scale", "2026-01-01") "," END("2026-09-01")),
     "2026-09", "2026-09", "", NO_ADJUSTMENT,
     "0/0/0: = 0.00, 0.00 (none)"},
    {"lines of 0.00: credits and discount stay", NULL,
     ENTERPRISE("\"credit_discount_bps\":1250"),
     "2026-09", "2026-09", "2026-09-01..2026-09-01 pico 1", NO_ADJUSTMENT,
     "0/0/5: credits 0.00, discount 0.00 = 0.00, 0.00"},
    {"grants by priority, then expiry, then from, then id", NULL,
     ENTERPRISE("")
     GRANTED(GRANT("d", "credit", "1", "2026-01-01", "") ","
             GRANT("c", "credit", "1", "2026-01-01", "") ","
             GRANT("e", "credit", "1", "2025-12-31", "") ","
             GRANT("b", "credit", "1", "2026-01-02", UNTIL("2027-01-01")) ","
             GRANT("a", "credit", "1", "2026-01-01", UNTIL("2027-02-01")) ","
             GRANT("z", "credit", "1", "2026-01-01", PRIORITY(7))),
     "2026-09", "2026-09", "2026-09-01..2026-09-01 pico 54", NO_ADJUSTMENT,
     "0/270/0: draw z 60, draw b 60, draw a 60, draw e 60, draw c 30 = 0.00, 0.00"},
    {"a credit grant gives on its days alone", NULL,
     ENTERPRISE("") GRANTED(GRANT("promo", "credit", "10", "2026-09-02", UNTIL("2026-09-03"))),
     "2026-09", "2026-09", "2026-09-01..2026-09-03 pico 60", NO_ADJUSTMENT,
     "0/300/600: credits 0.15, draw promo 300 = 0.15, 0.15"},
    {"the pool comes before grants", NULL,
     ENTERPRISE("\"included_credits\":5")
     GRANTED(GRANT("g", "credit", "1", "2026-01-01", PRIORITY(0))),
     "2026-09", "2026-09", "2026-09-01..2026-09-02 pico 60", NO_ADJUSTMENT,
     "300/60/240: credits 0.06, draw g 60 = 0.06, 0.06"},
    {"usd grants in order, up to what is due; tax of the rest", NULL,
     ENTERPRISE("\"base_fee\":\"30.00\"") TAX
     GRANTED(GRANT("second", "usd", "100.00", "2026-09-30", PRIORITY(2) UNTIL("2026-10-01")) ","
             GRANT("first", "usd", "9.99", "2026-01-01", PRIORITY(1)) ","
             GRANT("later", "usd", "5.00", "2026-10-01", PRIORITY(0))),
     "2026-09", "2026-10", "", NO_ADJUSTMENT,
     "0/0/0: base_fee 30.00, grant first -9.99, grant second -20.01 = 30.00, 0.00 | "
     "0/0/0: base_fee 30.00, grant later -5.00, tax 4.75 = 30.00, 29.75"},
    {"tax is rounded half away from zero", NULL,
     ENTERPRISE("\"base_fee\":\"0.50\"") TAX,
     "2026-09", "2026-09", "", NO_ADJUSTMENT,
     "0/0/0: base_fee 0.50, tax 0.10 = 0.50, 0.60"},
    {"discount is rounded half away from zero", CHANGING,
     SUBSCRIBED(PLAN_WITH("scale", "2026-01-01", "\"credit_discount_bps\":5000")),
     "2026-10", "2026-10", "2026-10-01..2026-10-01 nano 3", NO_ADJUSTMENT,
     "0/0/60: base_fee 200.00, credits 0.01, discount -0.01 = 200.00, 200.00"},
    {"a positive adjustment is taxed", NULL,
     ENTERPRISE("") TAX,
     "2026-11", "2026-11", "", {{2026 * 12 + 8}, {3554}},
     "0/0/0: adjustment 2026-09 35.54, tax 6.75 = 35.54, 42.29"},
    {"what is negative is carried forward, and drawn last", NULL,
     ENTERPRISE("\"base_fee\":\"10.00\"") TAX
     GRANTED(GRANT("usd", "usd", "1.00", "2026-12-01", PRIORITY(1000))),
     "2026-11", "2026-12", "", {{2026 * 12 + 9}, {-1250}},
     "0/0/0: base_fee 10.00, adjustment 2026-10 -12.50, carry_forward 2.50"
     " = -2.50, 0.00 carried 2.50 | "
     "0/0/0: base_fee 10.00, grant usd -1.00, grant carry:x -2.50, tax 1.24 = 10.00, 7.74"},
    {"an adjustment does not count towards the minimum", NULL,
     ENTERPRISE("\"monthly_minimum\":\"20.00\""),
     "2026-11", "2026-11", "", {{2026 * 12 + 9}, {500}},
     "0/0/0: minimum 20.00, adjustment 2026-10 5.00 = 25.00, 25.00"},
    {"February of a leap year", NULL,
     SUBSCRIBED(PLAN("scale", "2028-02-15")),
     "2028-02", "2028-02", "2028-02-29..2028-02-29 nano 6000", NO_ADJUSTMENT,
     "34138/0/25862: base_fee 87.93, credits 6.41 = 94.34, 94.34"},
};
// clang-format on

// ---- what a case is made of ----
static size_t cells_of(const Catalog *catalog, const char *usage, DayUsage cells[static CELLS_MAX])
{
    size_t n = 0;
    char from[11], to[11], size[32];
    int64_t minutes;
    while (sscanf(usage, " %10[0-9-]..%10[0-9-] %31s %" SCNd64, from, to, size, &minutes) == 4) {
        Day day, last;
        ck_assert(day_parse(str(from), &day) && day_parse(str(to), &last));
        for (; day.days <= last.days; day = day_add(day, 1))
            cells[n++] = (DayUsage){
                .day = day, .size = catalog_size(catalog, str(size)), .minutes = minutes};
        usage += strcspn(usage, ";");
        usage += *usage == ';';
    }
    return n;
}

static void print_rating(const RateInput *in, const Rating *rating, Buf *out)
{
    char amount[AMOUNT_TEXT], text[PERIOD_TEXT];
    const char *comma = "";
    buf_addf(out, "%" PRId64 "/%" PRId64 "/%" PRId64 ":", rating->included.cm, rating->granted.cm,
             rating->purchased.cm);
    for (size_t i = 0; i < rating->lines; i++) {
        const Line *line = &rating->line[i];
        buf_addf(out, "%s %s", comma, line_kind_name(line->kind));
        if (line->kind == LINE_GRANT) buf_addf(out, " %.*s", (int)line->grant.n, line->grant.p);
        if (line->kind == LINE_ADJUSTMENT)
            buf_addf(out, " %s", period_format(line->adjusted, text));
        buf_addf(out, " %s", cents_format(line->amount, amount));
        comma = ",";
    }
    for (size_t i = 0; i < in->grants; i++) {
        if (rating->drawn[i] == 0 || in->grant[i].grant.unit != GRANT_CREDIT) continue;
        buf_addf(out, "%s draw %.*s %" PRId64, comma, (int)in->grant[i].grant.id.n,
                 in->grant[i].grant.id.p, rating->drawn[i]);
        comma = ",";
    }
    buf_addf(out, " = %s", cents_format(rating->subtotal, amount));
    buf_addf(out, ", %s", cents_format(rating->total, amount));
    if (rating->carried.cents) buf_addf(out, " carried %s", cents_format(rating->carried, amount));
    if (!rating->to_issue) buf_addf(out, " (none)");
}

// The sums that hold for every rating.
static void check_sums(const RateInput *in, const Rating *rating)
{
    CreditMinutes used = {0}, pooled = {0}, granted = {0}, bought = {0}, sizes = {0};
    for (size_t i = 0; i < rating->days; i++) {
        used = cm_add(used, rating->day[i].used);
        pooled = cm_add(pooled, rating->day[i].pooled);
        granted = cm_add(granted, rating->day[i].granted);
        bought = cm_add(bought, rating->day[i].bought);
    }
    for (size_t i = 0; i < rating->usages; i++) sizes = cm_add(sizes, rating->usage[i].cm);
    ck_assert_int_eq(used.cm, pooled.cm + granted.cm + bought.cm);
    ck_assert_int_eq(used.cm, sizes.cm);
    ck_assert_int_eq(bought.cm, rating->purchased.cm);
    ck_assert_int_eq(granted.cm, rating->granted.cm);
    ck_assert_int_le(pooled.cm, rating->included.cm);
    Cents sum = {0};
    for (size_t i = 0; i < rating->lines; i++) {
        ck_assert(!str_absent(rating->line[i].description) && rating->line[i].description.n > 0);
        sum = cents_add(sum, rating->line[i].amount);
    }
    ck_assert_int_eq(sum.cents, rating->total.cents);
    ck_assert_int_ge(rating->total.cents, 0);
    for (size_t i = 0; i < in->grants; i++)
        ck_assert_int_le(rating->drawn[i], in->grant[i].balance);
}

// Written out, read and rated again it is the same, and so is the input.
static void check_kept(const RateInput *in, const Rating *rating, Arena *arena, const char *label)
{
    OWNED_BUF Buf first = {0}, second = {0}, one = {0}, two = {0};
    Error error;
    RateInput again;
    Rating rated;
    inputs_write(in, &first);
    ck_assert_msg(inputs_parse(buf_str(&first), arena, &again, &error) == ST_OK, "%s: %s", label,
                  error.text);
    inputs_write(&again, &second);
    ck_assert_str_eq(first.p, second.p);
    rate(&again, arena, &rated);
    print_rating(in, rating, &one);
    print_rating(&again, &rated, &two);
    ck_assert_str_eq(one.p, two.p);
}

static Catalog *read_catalog(const char *json)
{
    Catalog *catalog = NULL;
    Error error;
    Status status = catalog_parse(str(json ? json : DEFAULT_CATALOG), &catalog, &error);
    ck_assert_msg(status == ST_OK, "%s", error.text);
    return catalog;
}

static Account read_account(const char *members, const Catalog *catalog, Arena *arena,
                            const char *label)
{
    OWNED_BUF Buf json = {0};
    Account *accounts = NULL;
    size_t count = 0;
    Error error;
    buf_addf(&json, "{\"accounts\":[{\"id\":\"acme\",\"name\":\"Acme GmbH\",%s}]}", members);
    Status status = accounts_parse(buf_str(&json), catalog, arena, &accounts, &count, &error);
    ck_assert_msg(status == ST_OK && count == 1, "%s: %s", label, error.text);
    return accounts[0];
}

static void run_case(const Case *c)
{
    static DayUsage cells[CELLS_MAX];
    OWNED_CATALOG Catalog *catalog = read_catalog(c->catalog);
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf got = {0};
    Account account = read_account(c->account, catalog, arena, c->label);
    size_t count = cells_of(catalog, c->usage, cells), at = 0;
    GrantList grants = grants_of(&account, catalog, 4, arena);
    Period period, last;
    ck_assert(period_parse(str(c->first), &period) && period_parse(str(c->last), &last));
    for (bool first = true; period.months <= last.months;
         period = period_next(period), first = false) {
        RateInput in;
        Rating rating;
        size_t from = at;
        while (at < count && cells[at].day.days < period_end(period).days) at++;
        rate_input(&account, catalog, period, cells + from, at - from, grants.grant, grants.count,
                   arena, &in);
        RateAdjustment adjustment = c->adjustment;
        RateInput rated; // kept beside it
        in.adjustment = &adjustment;
        in.adjustments = first && adjustment.amount.cents != 0;
        if (in.adjustments)
            rate_input(&account, catalog, adjustment.period, NULL, 0, NULL, 0, arena, &rated);
        adjustment.rated = &rated;
        adjustment.due = adjustment.amount;
        rate(&in, arena, &rating);
        rate_draw(&in, &rating, grants.grant, grants.count);
        if (rating.carried.cents)
            grants.grant[grants.count++] = grant_carried(STR("x"), period_end(period),
                                                         rating.carried, arena);
        if (!first) buf_add_text(&got, " | ");
        print_rating(&in, &rating, &got);
        check_sums(&in, &rating);
        check_kept(&in, &rating, arena, c->label);
    }
    ck_assert_ptr_nonnull(got.p);
    ck_assert_msg(strcmp(got.p, c->expected) == 0, "%s:\n     got %s\nexpected %s", c->label, got.p,
                  c->expected);
}

START_TEST(rates) { run_case(&CASES[_i]); }
END_TEST

// The contract's example, written as there.
START_TEST(invoice_as_in_the_contract)
{
    static const char expected[] =
        "{\"number\":null,\"account\":\"acme\",\"name\":\"Acme GmbH\",\"period\":\"2026-09\","
        "\"issued_at\":null,\"currency\":\"USD\",\"status\":\"preview\","
        "\"usage\":[{\"size\":\"nano\",\"minutes\":432000,"
        "\"credit_minutes\":4320000,\"credits\":\"72000.0000\"}],\"included_credit_minutes\":66000,"
        "\"granted_credit_minutes\":0,\"purchased_credit_minutes\":4254000,\"lines\":["
        "{\"kind\":\"base_fee\",\"description\":\"Scale plan, 30 of 30 days\","
        "\"from\":\"2026-09-01\",\"to\":\"2026-10-01\",\"amount\":\"170.00\"},"
        "{\"kind\":\"credits\",\"description\":\"70,900 credits at $0.01486\","
        "\"from\":\"2026-09-01\",\"to\":\"2026-10-01\","
        "\"quantity\":\"70900.0000\",\"unit_price\":\"0.01486\","
        "\"amount\":\"1053.57\"}],\"subtotal\":\"1223.57\",\"total\":\"1223.57\",\"hash\":null,"
        "\"previous_hash\":null}";
    static DayUsage cells[CELLS_MAX];
    const Case *c = &CASES[0];
    OWNED_CATALOG Catalog *catalog = read_catalog(c->catalog);
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf json = {0}, text = {0};
    JsonWriter w = {.out = &json};
    Account account = read_account(c->account, catalog, arena, c->label);
    size_t count = cells_of(catalog, c->usage, cells);
    RateInput in;
    Rating rating;
    rate_input(&account, catalog, day_period(cells[0].day), cells, count, NULL, 0, arena, &in);
    rate(&in, arena, &rating);
    Invoice invoice = invoice_of(&account, &in, &rating);
    invoice_write_json(&invoice, &w, NULL);
    ck_assert_str_eq(json.p, expected);
    invoice_write_text(&invoice, &text);
    ck_assert_msg(strstr(text.p, "1,223.57") != NULL, "%s", text.p);
    for (const char *line = text.p; *line; line += strcspn(line, "\n") + 1)
        ck_assert_msg(strcspn(line, "\n") <= 80, "wider than 80 columns: %s", line);
}
END_TEST

// Kept inputs that were altered are refused, not rated.
START_TEST(altered_inputs)
{
    static const char *const altered[] = {
        "",
        "[]",
        "{}",
        "{\"period\":\"2026-09\"}",
        ("{\"period\":\"2026-09\",\"tax_rate_bps\":0,\"segments\":[],\"usage\":[],"
         "\"grants\":[],\"adjustments\":[]}"),
    };
    OWNED_ARENA Arena *arena = arena_new();
    RateInput in;
    Error error;
    ck_assert_int_eq(inputs_parse(str(altered[_i]), arena, &in, &error), ST_FATAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rate");
    TCase *rating = tcase_create("rate");
    tcase_add_loop_test(rating, rates, 0, sizeof CASES / sizeof *CASES);
    tcase_add_test(rating, invoice_as_in_the_contract);
    tcase_add_loop_test(rating, altered_inputs, 0, 5);
    suite_add_tcase(suite, rating);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
