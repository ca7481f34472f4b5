// SPDX-License-Identifier: Apache-2.0
// Proves that what is left of an account's credits is added exactly and cut, that it runs out when
// it does, and, on a real PostgreSQL, that pool, grants and usd balances are what the rating of the
// open periods leaves.
#include "billing/credits.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

extern const char DEFAULT_CATALOG[];

// ---- pure ----
static const struct {
    const char *label;
    int64_t pool_cm, grants_cm, usd_cents;
    const char *price;
    int64_t bps, remaining_e4;
} REMAINING[] = {
    {"nothing", 0, 0, 0, "0.01486", 0, 0},
    {"a pool of 1100 credits", 66000, 0, 0, "0.01486", 0, 11000000},
    {"one cm is 0.01666...", 1, 0, 0, "0.01486", 0, 166},
    {"two cm are 0.03333...", 1, 1, 0, "0.01486", 0, 333},
    {"three cm are 0.05 exactly", 1, 2, 0, "0.01486", 0, 500},
    {"usd at the price", 0, 0, 10000, "0.01486", 0, 67294751},
    {"usd at half the price", 0, 0, 10000, "0.01486", 5000, 134589502},
    {"usd at 15 % off", 0, 0, 100, "0.02", 1500, 588235},
    {"two rests that do not make up one: 1/3 + 1/3", 1, 1, 1, "30", 0, 336},
    {"two rests that make up one: 2/3 + 1/3", 4, 0, 1, "30", 0, 670},
    {"two rests of more than one: 2/3 + 2/3", 1, 0, 1, "15", 0, 173},
    {"credits that cost nothing", 60, 0, 10000, "0", 0, 10000},
    {"a discount of all", 60, 0, 10000, "0.01486", 10000, 10000},
    {"beyond int64", INT64_MAX, INT64_MAX, INT64_MAX, "0.000000000001", 9999, INT64_MAX},
    {"the dearest credits", 0, 0, 99, "1000000", 0, 0},
    {"the dearest credits, for a million", 0, 0, 100000000, "1000000", 0, 10000},
};

START_TEST(remaining)
{
    Price price;
    ck_assert(price_parse(str(REMAINING[_i].price), &price));
    int64_t got = credits_remaining_e4((CreditMinutes){REMAINING[_i].pool_cm},
                                       (CreditMinutes){REMAINING[_i].grants_cm},
                                       (Cents){REMAINING[_i].usd_cents}, price, REMAINING[_i].bps);
    ck_assert_msg(got == REMAINING[_i].remaining_e4, "%s: %lld", REMAINING[_i].label,
                  (long long)got);
}
END_TEST

static const struct {
    const char *label;
    int64_t remaining_e4, per_hour;
    const char *now, *out; // NULL: never
} RUN_OUT[] = {
    {"ten credits at ten an hour", 100000, 10, "2026-10-03T12:00:00Z", "2026-10-03T13:00:00Z"},
    {"a third of an hour, cut", 10000, 3, "2026-10-03T12:00:00Z", "2026-10-03T12:20:00Z"},
    {"a seventh, cut to the microsecond", 10000, 7, "2026-10-03T12:00:00Z",
     "2026-10-03T12:08:34.285714Z"},
    {"nothing runs", 100000, 0, "2026-10-03T12:00:00Z", NULL},
    {"used up", 0, 10, "2026-10-03T12:00:00Z", "2026-10-03T12:00:00Z"},
    {"used up, and nothing runs", 0, 0, "2026-10-03T12:00:00Z", "2026-10-03T12:00:00Z"},
    {"beyond all years", INT64_MAX, 1, "2026-10-03T12:00:00Z", NULL},
    {"the last moment", 99999, 3600, "2199-12-31T23:59:50Z", "2199-12-31T23:59:59.9999Z"},
    {"a moment too late", 100000, 3600, "2199-12-31T23:59:50Z", NULL},
};

START_TEST(run_out)
{
    Instant now, expected, got = {0};
    ck_assert(instant_parse(str(RUN_OUT[_i].now), &now));
    bool runs_out = credits_run_out(RUN_OUT[_i].remaining_e4, RUN_OUT[_i].per_hour, now, &got);
    ck_assert_msg(runs_out == (RUN_OUT[_i].out != NULL), "%s", RUN_OUT[_i].label);
    if (!runs_out) return;
    ck_assert(instant_parse(str(RUN_OUT[_i].out), &expected));
    char text[INSTANT_TEXT];
    ck_assert_msg(got.us == expected.us, "%s: %s", RUN_OUT[_i].label, instant_format(got, text));
}
END_TEST

// ---- on PostgreSQL ----
static const char *server; // TALLY_TEST_DATABASE_URL
static char schema[32];
static Db *db;
static Arena *arena;
static Error error;

#define OK(call) ck_assert_msg((call) == ST_OK, "%s", error.text)

static void script(const char *sql) { OK(db_script(db, sql, &error)); }

static void setup(void)
{
    static int nth;
    OWNED_BUF Buf url = {0};
    char sql[64];
    int applied;
    int64_t revision;
    snprintf(schema, sizeof schema, "credits_%d_%d", (int)getpid(), nth++);
    buf_addf(&url, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
             schema);
    OK(db_open(url.p, "test", &db, &error));
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    script(sql);
    OK(db_migrate(db, &applied, &error));
    OK(catalog_save(db, str(DEFAULT_CATALOG), &revision, &error));
    arena = arena_new();
}

static void teardown(void)
{
    char sql[64];
    snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", schema);
    script(sql);
    db_close(db);
    arena_free(arena);
}

static void add_account(const char *json)
{
    Account account;
    size_t changed;
    OK(account_parse(str(json), arena, &account, &error));
    OK(accounts_save(db, &account, 1, &changed, &error));
}

static Instant at(const char *text)
{
    Instant instant;
    ck_assert(instant_or_day_parse(str(text), &instant));
    return instant;
}

static CreditsView read_at(const char *as_of, bool shown)
{
    CreditsView view;
    Instant now = at(as_of);
    OK((shown ? credits_read_shown : credits_read)(db, STR("acme"), &now, arena, &view, &error));
    return view;
}

#define ACCOUNT                                                                                    \
    "{\"id\":\"acme\",\"name\":\"Acme\",\"spend_limit\":\"170.05\","                               \
    "\"subscriptions\":[{\"plan\":\"scale\",\"from\":\"2026-09-01\"}],\"grants\":["                \
    "{\"id\":\"promo\",\"unit\":\"credit\",\"amount\":\"500\",\"priority\":1,"                     \
    "\"from\":\"2026-10-05\",\"expires\":\"2026-11-01\"},"                                         \
    "{\"id\":\"goodwill\",\"unit\":\"usd\",\"amount\":\"25.00\",\"from\":\"2026-10-30\"},"         \
    "{\"id\":\"later\",\"unit\":\"usd\",\"amount\":\"99.00\",\"from\":\"2026-11-01\"}]}"

// 1,100 credits are in the pool; nano is 10 credits an hour. $170.00 of base fee take the $25.00.
START_TEST(pool_and_grants)
{
    add_account(ACCOUNT);
    script("INSERT INTO usage_day VALUES ('acme', '2026-10-06', 'nano', 6000)"); // 1,000 credits
    CreditsView view = read_at("2026-10-04T12:00:00Z", false);
    ck_assert_int_eq(view.credits.remaining_e4, 1000000); // known is everything: usage of the 6th
    ck_assert(!view.credits.runs_out && view.credits.spend_rising);
    view = read_at("2026-10-10T12:00:00Z", true);
    ck_assert_int_eq(view.pool.cm, 66000);
    ck_assert_int_eq(view.pooled.cm, 60000);
    ck_assert_uint_eq(view.grants, 3);
    ck_assert(str_is(view.grant[0].grant.grant.id, "promo") && view.grant[0].in_force);
    ck_assert_int_eq(view.grant[0].left, 30000);
    ck_assert(str_is(view.grant[1].grant.grant.id, "goodwill") && view.grant[1].in_force);
    ck_assert(view.grant[1].left == 0 && view.grant[1].grant.balance == 2500);
    ck_assert(str_is(view.grant[2].grant.grant.id, "later") && !view.grant[2].in_force);
    ck_assert_int_eq(view.credits.remaining_e4, 6000000);
    ck_assert(view.spent.cents == 14500 && !view.credits.spend_reached);
    script("UPDATE usage_day SET minutes = 30000"); // 5,000 credits: 3,400 of them bought
    view = read_at("2026-10-10T12:00:00Z", false);
    ck_assert(view.credits.remaining_e4 == 0 && view.credits.runs_out);
    ck_assert_int_eq(view.credits.run_out_at.us, at("2026-10-10T12:00:00Z").us);
    ck_assert(view.spent.cents > 17005 && view.credits.spend_reached);
}
END_TEST

// What runs burns, is counted up to the horizon, and is not under watch for ever.
START_TEST(what_runs)
{
    add_account(ACCOUNT);
    script(
        "INSERT INTO vm VALUES "
        "('acme','a',1,'2026-10-10',1,'2026-10-10',0,NULL,'nano',NULL,false,true),"
        "('acme','b',1,'2026-10-10T06:00:00Z',1,'2026-10-10',0,NULL,"
        " 'large 2026-10-10T06:00:00Z nano',NULL,false,true),"
        "('acme','c',1,'2026-10-10T11:00:00Z',1,'2026-10-10T11:00:00Z',0,NULL,'nano',"
        " '2026-10-10T11:30:00Z',false,true),"
        "('acme','d',1,'2026-10-10T11:00:00Z',0,'2026-10-10T11:00:00Z',0,NULL,NULL,NULL,"
        " false,true)");
    CreditsView view = read_at("2026-10-10T11:35:00Z", false);
    ck_assert_int_eq(view.credits.per_hour, 30);
    view = read_at("2026-10-10T12:00:00Z", false);
    ck_assert_int_eq(view.credits.per_hour, 20); // c has been lost since 11:30
    ck_assert(view.credits.runs_out);
    ck_assert_uint_eq(view.upcoming.usages, 2);
    int64_t used_cm = view.upcoming.usage[0].cm.cm + view.upcoming.usage[1].cm.cm;
    ck_assert_int_eq(view.credits.remaining_e4, (66000 + 30000 - used_cm) * 500 / 3);
    ck_assert_int_eq(view.credits.run_out_at.us,
                     at("2026-10-10T12:00:00Z").us + view.credits.remaining_e4 * 360000 / 20);
}
END_TEST

START_TEST(closed_ahead)
{
    add_account(ACCOUNT);
    script("INSERT INTO closing (period, closed) VALUES ('2026-10-01', true)");
    script("INSERT INTO usage_day VALUES ('acme', '2026-10-06', 'nano', 6000)");
    CreditsView view = read_at("2026-10-10T12:00:00Z", false);
    ck_assert(view.books_closed && view.pool.cm == 0 && view.spent.cents == 0);
    // promo's 500, and $25.00 at $0.01486
    ck_assert_int_eq(view.credits.remaining_e4, 5000000 + 16823687);
}
END_TEST

START_TEST(books_begin_later)
{
    add_account(ACCOUNT);
    script("INSERT INTO closing (period, closed) VALUES ('2026-12-01', true)");
    ck_assert(read_at("2026-10-10T12:00:00Z", false).books_closed);
}
END_TEST

START_TEST(versions)
{
    Instant now = at("2026-10-10");
    CreditsView view;
    ck_assert_int_eq(credits_read(db, STR("acme"), &now, arena, &view, &error), ST_MISSING);
    add_account(ACCOUNT);
    script("UPDATE quota SET version = 41 WHERE account = 'acme'");
    // with the revisions of account and catalogue
    int64_t version = read_at("2026-10-10", false).credits.version;
    ck_assert_int_gt(version, 41);
    script("UPDATE account SET revision = revision + 1");
    ck_assert_int_eq(read_at("2026-10-10", false).credits.version, version + 1);
    OK(credits_read(db, STR("acme"), NULL, arena, &view, &error)); // by the clock
    script("INSERT INTO position (topic, partition, next_offset) VALUES ('t', 0, 0)");
    OK(credits_read(db, STR("acme"), NULL, arena, &view, &error)); // and without any progress
    ck_assert_int_eq(view.now.horizon.us, view.now.clock.us);
}
END_TEST

START_TEST(json)
{
    add_account(ACCOUNT);
    script("INSERT INTO usage_day VALUES ('acme', '2026-10-06', 'nano', 7)");
    CreditsView view = read_at("2026-10-10T12:00:00Z", true);
    OWNED_BUF Buf out = {0};
    credits_json(&view, STR("acme"), &out);
    ck_assert_str_eq(
        out.p,
        "{\"account\":\"acme\",\"period\":\"2026-10\",\"data_through\":\"2026-10-10T12:00:00Z\","
        "\"pool\":{\"included\":\"1100.0000\",\"used\":\"1.1667\",\"remaining\":\"1098.8333\"},"
        "\"grants\":[{\"id\":\"promo\",\"unit\":\"credit\",\"priority\":1,\"from\":\"2026-10-05\","
        "\"expires\":\"2026-11-01\",\"amount\":\"500.0000\",\"balance\":\"500.0000\","
        "\"left\":\"500.0000\",\"in_force\":true,\"draws\":[]},"
        "{\"id\":\"goodwill\",\"unit\":\"usd\",\"priority\":100,\"from\":\"2026-10-30\","
        "\"expires\":null,\"amount\":\"25.00\",\"balance\":\"25.00\",\"left\":\"0.00\","
        "\"in_force\":true,\"draws\":[]},"
        "{\"id\":\"later\",\"unit\":\"usd\",\"priority\":100,\"from\":\"2026-11-01\","
        "\"expires\":null,\"amount\":\"99.00\",\"balance\":\"99.00\",\"left\":\"99.00\","
        "\"in_force\":false,\"draws\":[]}],"
        "\"remaining\":\"1598.8333\",\"per_hour_now\":\"0.0000\",\"run_out_at\":null,"
        "\"spend_limit\":\"170.05\",\"spent\":\"145.00\"}");
}
END_TEST

int main(void)
{
    server = getenv("TALLY_TEST_DATABASE_URL");
    Suite *suite = suite_create("credits");
    TCase *pure = tcase_create("pure");
    tcase_add_loop_test(pure, remaining, 0, sizeof REMAINING / sizeof *REMAINING);
    tcase_add_loop_test(pure, run_out, 0, sizeof RUN_OUT / sizeof *RUN_OUT);
    suite_add_tcase(suite, pure);
    if (server) {
        TCase *stored = tcase_create("stored");
        tcase_add_checked_fixture(stored, setup, teardown);
        tcase_set_timeout(stored, 60);
        tcase_add_test(stored, pool_and_grants);
        tcase_add_test(stored, what_runs);
        tcase_add_test(stored, closed_ahead);
        tcase_add_test(stored, books_begin_later);
        tcase_add_test(stored, versions);
        tcase_add_test(stored, json);
        suite_add_tcase(suite, stored);
    } else printf("TALLY_TEST_DATABASE_URL names no PostgreSQL\n");
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : server ? 0 : 77;
}
