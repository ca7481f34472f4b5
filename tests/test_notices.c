// SPDX-License-Identifier: Apache-2.0
// Proves, of the outbox, that a notice stands or falls with its transaction, in order, and what is
// said once is said once; of the watch, which thresholds are reached and when it looks again
// (pure), and on a real PostgreSQL that each is told once, that nobody is rated in vain, and that a
// run that lasts too long is told of once.
#include "billing/watch.h"
#include "catalog/store.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

extern const char DEFAULT_CATALOG[];

static const char *server; // TALLY_TEST_DATABASE_URL
static char schema[32];
static Db *db;
static Arena *arena;
static Error error;

#define OK(call) ck_assert_msg((call) == ST_OK, "%s", error.text)

static Db *open_db(void)
{
    OWNED_BUF Buf url = {0};
    buf_addf(&url, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
             schema);
    Db *opened = NULL;
    OK(db_open(url.p, "test", &opened, &error));
    return opened;
}

static void script(const char *sql)
{
    ck_assert_msg(db_script(db, sql, &error) == ST_OK, "%s: %s", sql, error.text);
}

static void setup(void)
{
    static int nth;
    char sql[64];
    int applied;
    snprintf(schema, sizeof schema, "notices_%d_%d", (int)getpid(), nth++);
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    db = open_db();
    script(sql);
    OK(db_migrate(db, &applied, &error));
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

static int64_t number(const char *sql)
{
    const Statement statement = {sql, sql};
    OWNED_DB Db *other =
        open_db(); // statements are known by their address: a connection of its own
    OWNED_ROWS Rows *rows = NULL;
    ck_assert_msg(db_query(other, &statement, 0, NULL, &rows, &error) == ST_OK, "%s: %s", sql,
                  error.text);
    return rows_int(rows, 0, 0);
}

static Str text(const char *sql)
{
    const Statement statement = {sql, sql};
    OWNED_DB Db *other = open_db();
    OWNED_ROWS Rows *rows = NULL;
    ck_assert_msg(db_query(other, &statement, 0, NULL, &rows, &error) == ST_OK, "%s: %s", sql,
                  error.text);
    return arena_copy(arena, rows_str(rows, 0, 0));
}

#define ck_text(sql, expected)                                                                     \
    do {                                                                                           \
        Str got_ = text(sql);                                                                      \
        ck_assert_msg(str_is(got_, expected), "%s: %.*s", sql, (int)got_.n, got_.p);               \
    } while (0)

// ---- the outbox ----
static Notice make(const char *account, const char *type, const char *once)
{
    return (Notice){.account = str(account),
                    .type = type,
                    .subject = str(account),
                    .data = STR("{\"quote \\\" {brace}\":[1, null]}"),
                    .once = str(once)};
}

START_TEST(in_order)
{
    const Notice notices[] = {make("b", "t.1", NULL), make("a", "t.2", NULL),
                              make("b", "t.3", NULL)};
    int64_t written;
    OK(notices_add(db, notices, 3, &written, &error));
    ck_assert_int_eq(written, 3);
    OK(notices_add(db, NULL, 0, &written, &error));
    ck_assert_int_eq(written, 0);
    OK(notices_add(db, notices, 3, NULL, &error)); // without a step: each time
    ck_text("SELECT string_agg(account || ':' || type, ' ' ORDER BY id) FROM notice",
            "b:t.1 a:t.2 b:t.3 b:t.1 a:t.2 b:t.3");
    ck_text("SELECT data #>> '{}' FROM notice LIMIT 1", "{\"quote \\\" {brace}\": [1, null]}");
    ck_assert_int_eq(number("SELECT count(*) FROM noticed"), 0);
}
END_TEST

// So many that they go another way.
START_TEST(very_many)
{
    enum { MANY = 1000 };
    Notice *notices = mem_alloc(MANY * sizeof *notices);
    int64_t written;
    for (int i = 0; i < MANY; i++) {
        OWNED_BUF Buf data = {0};
        notices[i] = make("a", "t", NULL);
        buf_addf(&data, "{\"n\":%d}", i);
        notices[i].data = arena_copy(arena, buf_str(&data));
    }
    script("BEGIN");
    OK(notices_add(db, notices, MANY, &written, &error));
    ck_assert_int_eq(written, MANY);
    script("ROLLBACK");
    OK(notices_add(db, notices, MANY, &written, &error));
    ck_assert_int_eq(number("SELECT count(*) FROM (SELECT data->>'n' AS n, row_number() OVER "
                            "(ORDER BY id) - 1 AS nth FROM notice) AS x WHERE n::int = nth"),
                     MANY);
    ck_assert_int_eq(number("SELECT count(DISTINCT event_id) FROM notice"), MANY);
    notices[MANY / 2].once = STR("x"); // one that is said once only, among many
    OK(notices_add(db, notices, MANY, &written, &error));
    OK(notices_add(db, notices, MANY, &written, &error));
    ck_assert_int_eq(written, MANY - 1);
    notices[0].data = STR("[]");
    notices[MANY / 2].once = (Str){0};
    ck_assert_int_eq(notices_add(db, notices, MANY, &written, &error), ST_BAD_INPUT);
    free(notices);
}
END_TEST

START_TEST(with_the_transaction)
{
    const Notice notices[] = {make("a", "t.1", "2026-10"), make("a", "t.2", NULL)};
    int64_t written;
    script("BEGIN");
    OK(notices_add(db, notices, 2, &written, &error));
    ck_assert_int_eq(written, 2);
    script("ROLLBACK");
    ck_assert_int_eq(number("SELECT count(*) FROM notice"), 0);
    OK(notices_add(db, notices, 2, &written, &error)); // it was not said
    ck_assert_int_eq(written, 2);
}
END_TEST

START_TEST(once_only)
{
    const Notice notices[] = {
        make("a", "t", "2026-10/50"), make("a", "t", "2026-10/50"), // the same again
        make("a", "t", "2026-10/80"), make("b", "t", "2026-10/50"),
        make("a", "u", "2026-10/50"), make("a", "t", NULL),
    };
    int64_t written;
    OK(notices_add(db, notices, 6, &written, &error));
    ck_assert_int_eq(written, 5);
    OK(notices_add(db, notices, 6, &written, &error));
    ck_assert_int_eq(written, 1);
    const Notice next = make("a", "t", "2026-11/50");
    OK(notices_add(db, &next, 1, &written, &error));
    ck_assert_int_eq(written, 1);
}
END_TEST

START_TEST(pruned)
{
    int64_t count;
    const Notice notices[] = {make("a", "t.1", "x"), make("a", "t.2", NULL),
                              make("a", "t.3", NULL)};
    OK(notices_add(db, notices, 3, NULL, &error));
    script(
        "UPDATE notice SET published_at = clock_timestamp() - interval '169 hours'"
        " WHERE type = 't.1'");
    script(
        "UPDATE notice SET published_at = clock_timestamp() - interval '167 hours'"
        " WHERE type = 't.2'");
    script("UPDATE notice SET at = '2020-01-01' WHERE type = 't.3'"); // never published: stays
    OK(notices_prune(db, &count, &error));
    ck_assert_int_eq(count, 1);
    ck_text("SELECT string_agg(type, ' ' ORDER BY id) FROM notice", "t.2 t.3");
    script("UPDATE noticed SET at = clock_timestamp() - interval '401 days'");
    OK(notices_prune(db, &count, &error));
    ck_assert_int_eq(count, 1);
    ck_assert_int_eq(number("SELECT count(*) FROM noticed"), 0);
}
END_TEST

// ---- what is reached ----
#define CREDITS(n) (INT64_C(10000) * (n))

START_TEST(credit_steps)
{
    static const struct {
        const char *label;
        int64_t used_e4, remaining_e4;
        bool deny, runs;
        int steps;
        bool exhausted;
    } rows[] = {
        {"nothing granted, nothing used", 0, 0, false, true, 0, false},
        {"nothing granted, overage is denied, and it runs", 0, 0, true, true, 0, true},
        {"nothing granted, overage is denied, nothing runs", 0, 0, true, false, 0, false},
        {"unused", 0, CREDITS(100), false, true, 0, false},
        {"just below half", CREDITS(50) - 1, CREDITS(50) + 1, false, true, 0, false},
        {"half", CREDITS(50), CREDITS(50), false, true, 1, false},
        {"just below 80 %", CREDITS(80) - 1, CREDITS(20) + 1, false, true, 1, false},
        {"80 %", CREDITS(80), CREDITS(20), true, true, 2, false},
        {"all but the least", CREDITS(100), 1, false, true, 2, false},
        {"all", CREDITS(100), 0, false, false, 3, true},
        {"all of very much", INT64_MAX, 0, true, true, 3, true},
        {"half of very much", INT64_MAX / 2, INT64_MAX / 2, true, true, 1, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        WatchFacts facts = {.used_e4 = rows[i].used_e4,
                            .remaining_e4 = rows[i].remaining_e4,
                            .overage_deny = rows[i].deny,
                            .per_hour = rows[i].runs ? 10 : 0};
        facts.clock = facts.horizon = day_start((Day){20000});
        facts.period = day_period((Day){20000});
        WatchVerdict v = watch_judge(&facts);
        ck_assert_msg(v.credit_steps == rows[i].steps, "%s: %d", rows[i].label, v.credit_steps);
        ck_assert_msg(v.exhausted == rows[i].exhausted, "%s", rows[i].label);
        ck_assert_msg(v.due == rows[i].runs, "%s", rows[i].label);
    }
}
END_TEST

START_TEST(spend_steps)
{
    static const struct {
        const char *label;
        int64_t spent, limit;
        int steps;
    } rows[] = {{"nothing", 0, 10000, 0},         {"below half", 4999, 10000, 0},
                {"half", 5000, 10000, 1},         {"below 80 %", 7999, 10000, 1},
                {"80 %", 8000, 10000, 2},         {"below the limit", 9999, 10000, 2},
                {"the limit", 10000, 10000, 3},   {"above it", 99999, 10000, 3},
                {"a limit of 0", 0, 0, 3},        {"half of an odd limit", 5, 9, 1},
                {"less than half of it", 4, 9, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        WatchFacts facts = {
            .has_spend_limit = true, .spent = {rows[i].spent}, .spend_limit = {rows[i].limit}};
        facts.clock = facts.horizon = day_start((Day){20000});
        facts.period = day_period((Day){20000});
        ck_assert_msg(watch_judge(&facts).spend_steps == rows[i].steps, "%s", rows[i].label);
    }
}
END_TEST

static Instant at_time(const char *when)
{
    Instant at;
    ck_assert(instant_parse(str(when), &at));
    return at;
}

// When it must look again.
START_TEST(due)
{
    char out[INSTANT_TEXT];
    WatchFacts facts = {.clock = at_time("2026-10-03T12:00:00Z"),
                        .horizon = at_time("2026-10-03T12:00:00Z"),
                        .remaining_e4 = CREDITS(100)};
    facts.period = day_period(instant_day(facts.clock));
    ck_assert(!watch_judge(&facts).due); // nothing runs, nothing expires: never
    facts.expires = true;
    facts.expires_at = at_time("2026-10-20T00:00:00Z");
    ck_assert_str_eq(instant_format(watch_judge(&facts).due_at, out), "2026-10-20T00:00:00Z");
    facts.has_spend_limit = true; // a new period begins with its base fee
    facts.spend_limit = (Cents){100000};
    facts.expires = false;
    ck_assert_str_eq(instant_format(watch_judge(&facts).due_at, out), "2026-11-01T00:00:00Z");
    facts.has_spend_limit = false;
    facts.per_hour = 10; // 5 hours to 50 %: half-way
    facts.used_e4 = 0;
    ck_assert_str_eq(instant_format(watch_judge(&facts).due_at, out), "2026-10-03T14:30:00Z");
    facts.per_hour = 1; // further than midnight, when prices may change
    ck_assert_str_eq(instant_format(watch_judge(&facts).due_at, out), "2026-10-04T00:00:00Z");
    facts.per_hour = 1000000; // any moment: with the next pass
    ck_assert_str_eq(instant_format(watch_judge(&facts).due_at, out), "2026-10-03T12:00:30Z");
    facts.per_hour = 1; // what collectors have not metered yet may be older than the clock
    facts.horizon = at_time("2026-10-03T11:00:00Z");
    ck_assert_str_eq(instant_format(watch_judge(&facts).due_at, out), "2026-10-03T12:00:30Z");
    // $100 of $1000 spent, at 1000 credits an hour for $0.01 each: 40 hours to half
    facts = (WatchFacts){.clock = at_time("2026-10-03T00:00:00Z"),
                         .horizon = at_time("2026-10-03T00:00:00Z"),
                         .period = facts.period,
                         .per_hour = 1000,
                         .has_spend_limit = true,
                         .spent = {10000},
                         .spend_limit = {100000},
                         .price = {PRICE_E12 / 100}};
    facts.per_hour = 4000; // 10 hours
    Instant half = watch_judge(&facts).due_at;
    ck_assert(half.us > at_time("2026-10-03T04:59:00Z").us);
    ck_assert(half.us <= at_time("2026-10-03T05:00:00Z").us);
}
END_TEST

// ---- on a database ----
static void apply(const char *accounts)
{
    OWNED_CATALOG Catalog *catalog = NULL;
    Account *list = NULL;
    size_t count, changed;
    int64_t revision;
    OK(catalog_save(db, str(DEFAULT_CATALOG), &revision, &error));
    OK(catalog_load(db, &catalog, &error));
    OK(accounts_parse(str(accounts), catalog, arena, &list, &count, &error));
    OK(accounts_save(db, list, count, &changed, &error));
}

static void use(const char *account, int64_t minutes) // of nano: 10 credit-minutes each
{
    OWNED_BUF Buf sql = {0};
    buf_addf(
        &sql,
        "INSERT INTO usage_day VALUES ('%s', (now() AT TIME ZONE 'UTC')::date, 'nano', %" PRId64
        ") ON CONFLICT (account, day, size) DO UPDATE SET minutes = excluded.minutes;"
        "UPDATE quota SET version = version + 1 WHERE account = '%s'",
        account, minutes, account);
    script(sql.p);
}

static WatchDone pass(Watch *watch)
{
    WatchDone done;
    OK(watch_pass(watch, db, NULL, &done, &error));
    ck_assert(!done.unfinished);
    return done;
}

#define TOLD                                                                                       \
    "SELECT coalesce(string_agg(account || ' ' || substr(type, 7) || coalesce(' ' || (data->>'"    \
    "percent'), ''), ', ' ORDER BY id), '') FROM notice"

START_TEST(thresholds)
{
    // 60 credits: 360 minutes of nano; a limit of a dollar: 67 credits and more, after the pool.
    apply(
        "{\"accounts\":[{\"id\":\"acme\",\"name\":\"A\",\"spend_limit\":\"1.00\",\"subscriptions\":"
        "[{\"plan\":\"scale\",\"from\":\"2020-01-01\",\"overrides\":{\"base_fee\":\"0.00\","
        "\"included_credits\":60}}]},{\"id\":\"idle\",\"name\":\"I\",\"subscriptions\":"
        "[{\"plan\":\"scale\",\"from\":\"2020-01-01\"}]}]}");
    Watch *watch = watch_new(&(QuotaConfig){0});
    ck_assert_int_eq(pass(watch).rated, 2); // once, to know
    ck_assert_int_eq(pass(watch).rated, 0);
    use("acme", 179);
    ck_assert_int_eq(pass(watch).rated, 1);
    ck_text(TOLD, "");
    use("acme", 180);
    ck_assert_int_eq(pass(watch).told, 1);
    use("acme", 181);
    ck_assert_int_eq(pass(watch).told, 0); // once
    use("acme", 360);
    ck_assert_int_eq(pass(watch).told, 3);
    ck_text(TOLD,
            "acme credits.threshold 50, acme credits.threshold 80, acme credits.threshold 100,"
            " acme credits.exhausted");
    script("DELETE FROM notice");
    use("acme", 360 + 337 * 6 / 10); // 33.7 credits: 50 cents
    pass(watch);
    ck_text(TOLD, "acme spend.threshold 50");
    ck_text(
        "SELECT data->>'spent' || ' ' || (data->>'spend_limit') || ' ' || (data->>'currency')"
        " FROM notice",
        "0.50 1.00 USD");
    use("acme", 100000);
    pass(watch);
    ck_text(TOLD, "acme spend.threshold 50, acme spend.threshold 80, acme spend.threshold 100");
    use("acme", 100);
    pass(watch);
    use("acme", 100000);
    ck_assert_int_eq(pass(watch).told, 0);
    watch_free(watch);
}
END_TEST

START_TEST(by_grants)
{
    // A usd grant counts at today's net price, a credit grant as it is; overage is denied.
    apply(
        "{\"accounts\":[{\"id\":\"b\",\"name\":\"B\",\"subscriptions\":[{\"plan\":\"build\","
        "\"from\":\"2020-01-01\",\"overrides\":{\"signup_credit\":\"0.00\"}}],"
        "\"grants\":[{\"id\":\"g\",\"unit\":\"credit\",\"amount\":\"10\",\"from\":\"2020-01-01\"}]},"
        "{\"id\":\"u\",\"name\":\"U\",\"subscriptions\":[{\"plan\":\"build\",\"from\":\"2020-01-01\","
        "\"overrides\":{\"signup_credit\":\"0.00\"}}],"
        "\"grants\":[{\"id\":\"g\",\"unit\":\"usd\",\"amount\":\"1.00\",\"from\":\"2020-01-01\"}]}]}");
    Watch *watch = watch_new(&(QuotaConfig){0});
    ck_assert_int_eq(pass(watch).told, 0);
    use("b", 60);
    use("u", 240); // 40 credits: 59 cents
    pass(watch);
    ck_text(TOLD,
            "b credits.threshold 50, b credits.threshold 80, b credits.threshold 100,"
            " b credits.exhausted, u credits.threshold 50");
    ck_text("SELECT data->>'overage' FROM notice WHERE type = 'tally.credits.exhausted'", "deny");
    ck_text("SELECT (data->>'used') || ' ' || (data->>'remaining') FROM notice WHERE account = 'u'",
            "39.7039 27.5908");
    watch_free(watch);
}
END_TEST

START_TEST(sessions)
{
    apply(
        "{\"accounts\":[{\"id\":\"p\",\"name\":\"P\",\"subscriptions\":[{\"plan\":\"pro\",\"from\":"
        "\"2020-01-01\"}]},{\"id\":\"s\",\"name\":\"S\",\"subscriptions\":[{\"plan\":\"scale\","
        "\"from\":\"2020-01-01\"}]}]}"); // pro: 1440 minutes; scale: no limit
    script(
        "INSERT INTO vm (account, vm, version, phase, started_at, nth, run, sizes, pending, listed)"
        " SELECT account, vm, 1, 1, clock_timestamp() - age, 0, run, sizes, false, true FROM (VALUES"
        " ('p', 'long', interval '1441 minutes', 'r-1', 'nano 2026-10-03T10:00:30Z large'),"
        " ('p', 'lost', interval '1 month', NULL, 'nano'),"
        " ('p', 'short', interval '1439 minutes', NULL, 'nano'),"
        " ('s', 'long', interval '1 year', NULL, 'nano')) AS v (account, vm, age, run, sizes)");
    script("INSERT INTO uncounted (account, vm, why, since) VALUES ('p', 'lost', 1, now())");
    script("UPDATE quota SET running = 2");
    Watch *watch = watch_new(&(QuotaConfig){0});
    pass(watch);
    pass(watch);
#define SESSIONS                                                                                   \
    "SELECT string_agg(account || ' ' || subject || ' ' || (data->>'size') || ' ' ||"              \
    " coalesce(data->>'run', '-') || ' ' || (data->>'max_session_minutes'), ', ' ORDER BY id)"     \
    " FROM notice WHERE type = 'tally.session.limit'"
    ck_text(SESSIONS, "p long large r-1 1440");
    script("UPDATE vm SET started_at = started_at - interval '1 day' WHERE vm = 'short'");
    pass(watch);
    ck_text(SESSIONS, "p long large r-1 1440, p short nano - 1440");
    // Another run of the same VM is another matter.
    script(
        "UPDATE vm SET started_at = started_at - interval '1 day' WHERE account = 'p' AND"
        " vm = 'long'");
    pass(watch);
    pass(watch);
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.session.limit'"), 3);
    watch_free(watch);
}
END_TEST

// More accounts than a page holds, and one watcher at a time.
START_TEST(pages)
{
    enum { MANY = 2 * WATCH_PAGE_ACCOUNTS + 1 };
    OWNED_BUF Buf json = {0};
    buf_add_text(&json, "{\"accounts\":[");
    for (int i = 0; i < MANY; i++)
        buf_addf(&json,
                 "%s{\"id\":\"a%04d\",\"name\":\"x\",\"subscriptions\":[{\"plan\":\"scale\","
                 "\"from\":\"2020-01-01\"}]}",
                 i ? "," : "", i);
    buf_add_text(&json, "]}");
    apply(json.p);
    Watch *watch = watch_new(&(QuotaConfig){0});
    ck_assert_int_eq(pass(watch).rated, MANY);
    ck_assert_int_eq(pass(watch).rated, 0);
    atomic_bool stop = true;
    WatchDone done;
    script("UPDATE quota SET version = version + 1");
    OK(watch_pass(watch, db, &stop, &done, &error));
    ck_assert_int_eq(done.rated, 0);
    watch_free(watch);
    OWNED_DB Db *other = open_db();
    bool mine = false;
    OK(watch_turn(db, &mine, &error));
    ck_assert(mine);
    OK(watch_turn(other, &mine, &error));
    ck_assert(!mine);
}
END_TEST

int main(void)
{
    server = getenv("TALLY_TEST_DATABASE_URL");
    if (!server) {
        printf("TALLY_TEST_DATABASE_URL names no PostgreSQL\n");
        return 77;
    }
    Suite *suite = suite_create("notices");
    TCase *pure = tcase_create("pure"), *stored = tcase_create("stored");
    tcase_add_test(pure, credit_steps);
    tcase_add_test(pure, spend_steps);
    tcase_add_test(pure, due);
    tcase_add_checked_fixture(stored, setup, teardown);
    tcase_set_timeout(stored, 60);
    tcase_add_test(stored, in_order);
    tcase_add_test(stored, very_many);
    tcase_add_test(stored, with_the_transaction);
    tcase_add_test(stored, once_only);
    tcase_add_test(stored, pruned);
    tcase_add_test(stored, thresholds);
    tcase_add_test(stored, by_grants);
    tcase_add_test(stored, sessions);
    tcase_add_test(stored, pages);
    suite_add_tcase(suite, pure);
    suite_add_tcase(suite, stored);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
