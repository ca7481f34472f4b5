// SPDX-License-Identifier: Apache-2.0
// Proves, on a real PostgreSQL, that a closing adjusts what changed since a period was closed: of
// accounts with a mark, or of all where the last closing was early, and of no others; that no mark
// is lost that it has not seen; and that previews, grants and voided periods agree with it.
#include "billing/close.h"
#include "billing/credits.h"
#include "billing/guard.h"
#include "billing/issue.h"
#include "billing/register.h"
#include "billing/void.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

extern const char DEFAULT_CATALOG[];

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
    snprintf(schema, sizeof schema, "closing_%d_%d", (int)getpid(), nth++);
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

// ---- what happens ----
static void save_account(const char *json)
{
    Account account;
    size_t changed;
    OK(account_parse(str(json), arena, &account, &error));
    OK(accounts_save(db, &account, 1, &changed, &error));
}

// A plan without a base fee.
#define ACCOUNT(id, overrides, rest)                                                               \
    "{\"id\":\"" id "\",\"name\":\"" id                                                            \
    "\",\"subscriptions\":[{\"plan\":\"pro\","                                                     \
    "\"from\":\"2025-01-01\",\"overrides\":{\"base_fee\":\"0\"" overrides "}}]" rest "}"

static Status guard(void *context, bool retroactive)
{
    Str id = str(context);
    return billing_guard(db, &id, 1, retroactive, &error);
}

typedef struct Applying {
    const char *json;
    char *id;
    bool retroactive;
} Applying;

static Status apply_once(Db *with, void *context, Error *failed)
{
    (void)with;
    Applying *a = context;
    save_account(a->json);
    Status status = guard(a->id, a->retroactive);
    *failed = error;
    return status;
}

// As `tally accounts apply` does.
static Status apply(const char *id, const char *json, bool retroactive)
{
    char name[32];
    snprintf(name, sizeof name, "%s", id);
    Applying applying = {json, name, retroactive};
    return db_transaction(db, apply_once, &applying, &error);
}

static void use(const char *account, const char *day, int minutes)
{
    OWNED_BUF Buf sql = {0};
    buf_addf(&sql,
             "INSERT INTO usage_day VALUES ('%s', '%s', 'nano', %d)"
             " ON CONFLICT (account, day, size) DO UPDATE SET minutes = excluded.minutes",
             account, day, minutes);
    script(sql.p);
}

static void mark(const char *account, const char *since)
{
    Str id = str(account);
    Day day;
    ck_assert(day_parse(str(since), &day));
    OK(marks_add(db, &id, 1, day, &error));
}

// ---- what is done about it ----
static Period period_of(const char *text)
{
    Period period;
    ck_assert(period_parse(str(text), &period));
    return period;
}

static Now now_at(const char *text)
{
    Now now = {.as_of = true};
    ck_assert(instant_or_day_parse(str(text), &now.clock));
    now.horizon = now.clock;
    return now;
}

static CloseResult close_period(const char *period, const char *as_of)
{
    CloseOrder order = {.period = period_of(period), .now = now_at(as_of), .force = true};
    CloseResult result;
    OK(billing_close(db, &order, &result, &error));
    ck_assert(!result.was_closed);
    return result;
}

static CloseResult close_again(const char *account, const char *period, const char *as_of)
{
    CloseOrder order = {.period = period_of(period), .now = now_at(as_of), .force = true};
    CloseResult result;
    OK(billing_close_account(db, &order, str(account), &result, &error));
    ck_assert(!result.was_closed);
    return result;
}

static void void_invoice(const char *account, const char *period)
{
    Str number;
    bool open;
    Voided out;
    OK(invoice_of_period(db, str(account), period_of(period), arena, &number, &open, &error));
    ck_assert(!str_absent(number) && !open);
    VoidOrder order = {number, STR("a test"), now_at("2026-01-01").clock};
    OK(billing_void(db, &order, arena, &out, &error));
}

// ---- what is to be seen ----
static int64_t count(const char *sql)
{
    OWNED_ROWS Rows *rows = NULL;
    static int nth;
    OWNED_BUF Buf name = {0};
    buf_addf(&name, "count_%d", nth++);
    Statement *statement = arena_alloc(arena, sizeof *statement); // known by where it stands
    *statement = (Statement){arena_copy(arena, buf_str(&name)).p, sql};
    OK(db_query(db, statement, 0, NULL, &rows, &error));
    return rows_int(rows, 0, 0);
}

static int64_t marks(void) { return count("SELECT count(*) FROM unsettled"); }

// "credits 2025-09-01 1.00, adjustment 2025-09 2.00 = 3.00, 3.00": kinds, amounts and sums.
static char *words(const Invoice *invoice)
{
    OWNED_BUF Buf out = {0};
    char text[AMOUNT_TEXT], period[PERIOD_TEXT];
    for (size_t i = 0; i < invoice->lines; i++) {
        const Line *line = &invoice->line[i];
        buf_addf(&out, "%s%s", i ? ", " : "", line_kind_name(line->kind));
        if (line->kind == LINE_ADJUSTMENT)
            buf_addf(&out, " %s", period_format(line->adjusted, period));
        buf_addf(&out, " %s", cents_format(line->amount, text));
    }
    buf_addf(&out, " = %s", cents_format(invoice->subtotal, text));
    buf_addf(&out, ", %s", cents_format(invoice->total, text));
    return (char *)arena_copy(arena, buf_str(&out)).p;
}

static char *invoice_words(const char *account, const char *period)
{
    Str number;
    bool open;
    Invoice invoice;
    OK(invoice_of_period(db, str(account), period_of(period), arena, &number, &open, &error));
    if (str_absent(number)) return "";
    OK(invoice_load(db, number, arena, &invoice, &error));
    return words(&invoice);
}

static char *preview_words(const char *account, const char *period, const char *as_of)
{
    Invoice invoice;
    Instant now = now_at(as_of).clock;
    OK(billing_preview(db, str(account), period_of(period), &now, arena, &invoice, &error));
    return words(&invoice);
}

static CreditsView credits_at(const char *account, const char *as_of)
{
    CreditsView view;
    Instant now = now_at(as_of).clock;
    OK(credits_read_shown(db, str(account), &now, arena, &view, &error));
    return view;
}

static int64_t drawn(const char *grant)
{
    OWNED_BUF Buf sql = {0};
    buf_addf(&sql, "SELECT coalesce(sum(amount), 0)::bigint FROM grant_draw WHERE grant_id = '%s'",
             grant);
    return count(sql.p);
}

// ---- marks ----
// 600 minutes of nano are 100 credits: $1.49 at $0.01486.
START_TEST(late_usage)
{
    save_account(ACCOUNT("acme", "", ""));
    save_account(ACCOUNT("other", "", ""));
    use("acme", "2025-09-10", 6000);
    use("other", "2025-09-10", 6000);
    close_period("2025-09", "2025-10-02");
    char *september = invoice_words("acme", "2025-09");
    use("acme", "2025-09-10", 12000);
    use("other", "2025-09-10", 12000); // nobody says so: it is not looked at
    mark("acme", "2025-09-10");
    use("acme", "2025-10-03", 600);
    char *preview = preview_words("acme", "2025-10", "2025-11-02");
    CreditsView view = credits_at("acme", "2025-10-31T23:00:00Z");
    ck_assert_str_eq(words(&view.upcoming), preview);
    CloseResult result = close_period("2025-10", "2025-11-02");
    ck_assert_int_eq(result.done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-10"), preview);
    ck_assert_str_eq(september, "credits 14.86 = 14.86, 14.86");
    ck_assert_str_eq(preview, "credits 1.49, adjustment 2025-09 14.86 = 16.35, 16.35");
    ck_assert_str_eq(invoice_words("other", "2025-10"), "");
    ck_assert_int_eq(marks(), 0);
    ck_assert_int_eq(close_period("2025-11", "2025-12-02").done.settled, 0);
    ck_assert_str_eq(invoice_words("acme", "2025-11"), "");
}
END_TEST

// What reaches into the period itself needs nothing anew, and is settled by reading it.
START_TEST(usage_of_the_period)
{
    save_account(ACCOUNT("acme", "", ""));
    close_period("2025-08", "2025-09-02");
    use("acme", "2025-09-10", 6000);
    mark("acme", "2025-09-01");
    ck_assert_int_eq(close_period("2025-09", "2025-10-02").done.settled, 0);
    ck_assert_int_eq(marks(), 0);
    mark("acme", "2025-09-30");
    ck_assert_int_eq(close_period("2025-10", "2025-11-02").done.settled, 1);
}
END_TEST

// Draws move from one grant to another: there is nothing to bill, so nothing that could say so. The
// mark stays, and the invoice that comes later puts it right.
START_TEST(draws_alone)
{
    save_account(ACCOUNT("acme", "",
                         ",\"grants\":["
                         "{\"id\":\"early\",\"unit\":\"credit\",\"amount\":\"100\",\"priority\":1,"
                         "\"from\":\"2025-09-01\",\"expires\":\"2025-09-10\"},"
                         "{\"id\":\"all\",\"unit\":\"credit\",\"amount\":\"100\","
                         "\"from\":\"2025-09-01\"}]"));
    use("acme", "2025-09-05", 600);
    close_period("2025-09", "2025-10-02");
    ck_assert(drawn("early") == 6000 && drawn("all") == 0);
    use("acme", "2025-09-05", 0);
    use("acme", "2025-09-15", 600);
    mark("acme", "2025-09-05");
    ck_assert_int_eq(close_period("2025-10", "2025-11-02").done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-10"), "");
    ck_assert_int_eq(marks(), 1);
    CreditsView view = credits_at("acme", "2025-11-10");
    ck_assert(view.grants == 2 && str_is(view.grant[1].grant.grant.id, "all"));
    ck_assert(view.grant[1].left == 0 && view.grant[1].grant.balance == 0);
    use("acme", "2025-11-05", 600);
    ck_assert_int_eq(close_period("2025-11", "2025-12-02").done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-11"), "credits 1.49 = 1.49, 1.49");
    ck_assert(drawn("early") == 0 && drawn("all") == 6000);
    ck_assert_int_eq(marks(), 0);
}
END_TEST

typedef struct Billing {
    Ahead *ahead;
    size_t issued;
} Billing;

static Status bill_september(Db *with, void *context, Error *failed)
{
    Billing *b = context;
    OWNED_CATALOG Catalog *catalog = NULL;
    Account *accounts;
    Books books;
    size_t n;
    Issue *items;
    Now now = now_at("2025-10-02");
    const IssueOrder order = {
        .period = period_of("2025-09"), .now = &now, .books = &books, .ahead = b->ahead};
    TRY(books_lock(with, failed));
    TRY(books_read(with, arena, &books, failed));
    TRY(catalog_load(with, &catalog, failed));
    TRY(accounts_load(with, (Str){0}, 10, arena, &accounts, &n, failed));
    TRY(issues_rate(with, catalog, accounts, n, &order, arena, &items, failed));
    return issues_write(with, items, n, now.clock, catalog->revision, arena, &b->issued, failed);
}

// Usage that comes after it was read ahead, with its mark, is not billed, and the mark is not lost.
START_TEST(mark_between)
{
    save_account(ACCOUNT("acme", "", ""));
    close_period("2025-08", "2025-09-02");
    use("acme", "2025-09-10", 6000);
    mark("acme", "2025-09-10");
    Now now = now_at("2025-10-02");
    Str acme = STR("acme");
    DayUsage *cells;
    size_t n;
    Marks seen;
    OWNED_AHEAD Ahead *ahead = ahead_new(db, &now, period_first(period_of("2025-09")),
                                         period_end(period_of("2025-09")));
    ahead_ask(ahead, STR(""), 10);
    ck_assert(ahead_take(ahead, 1, &acme, 1, &cells, &n, &seen)); // it has read
    ck_assert(n == 1 && cells[0].minutes == 6000 && seen.count == 1);
    use("acme", "2025-09-10", 12000);
    mark("acme", "2025-09-10");
    Billing billing = {.ahead = ahead};
    OK(db_transaction(db, bill_september, &billing, &error));
    ck_assert_uint_eq(billing.issued, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-09"), "credits 14.86 = 14.86, 14.86");
    ck_assert_int_eq(marks(), 1);
    script("INSERT INTO closing (period, closed) VALUES ('2025-09-01', true)");
    close_period("2025-10", "2025-11-02");
    ck_assert_str_eq(invoice_words("acme", "2025-10"), "adjustment 2025-09 14.86 = 14.86, 14.86");
}
END_TEST

// ---- time ----
// What runs goes on after an early closing: all are rated anew once, without a mark.
START_TEST(early)
{
    save_account(ACCOUNT("acme", "", ""));
    save_account(ACCOUNT("other", "", ""));
    script(
        "INSERT INTO vm VALUES ('acme','a',1,'2025-09-10',1,'2025-09-10',0,NULL,'nano',NULL,"
        "false,true)");
    close_period("2025-09", "2025-09-20"); // ten days of 240 credits
    ck_assert_str_eq(invoice_words("acme", "2025-09"), "credits 35.66 = 35.66, 35.66");
    char *preview = preview_words("acme", "2025-10", "2025-11-02");
    ck_assert_int_eq(close_period("2025-10", "2025-11-02").done.settled, 2);
    ck_assert_str_eq(invoice_words("acme", "2025-10"), preview);
    ck_assert_str_eq(preview, "credits 110.56, adjustment 2025-09 39.23 = 149.79, 149.79");
    ck_assert_int_eq(close_period("2025-11", "2025-12-02").done.settled, 0);
}
END_TEST

// Up to the heartbeat timeout after a period's end, time alone takes minutes of it back.
START_TEST(early_by_minutes)
{
    save_account(ACCOUNT("acme", "", ""));
    script(
        "INSERT INTO vm VALUES ('acme','a',1,'2025-09-30',1,'2025-09-30',0,NULL,'nano',"
        "'2025-09-30T23:55:00Z',false,true)");
    close_period("2025-09", "2025-10-01T00:01:00Z");
    ck_assert_str_eq(invoice_words("acme", "2025-09"), "credits 3.57 = 3.57, 3.57");
    ck_assert_int_eq(close_period("2025-10", "2025-11-01T00:10:00Z").done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-10"),
                     "adjustment 2025-09 -0.02, carry_forward 0.02 = -0.02, 0.00");
    ck_assert_int_eq(close_period("2025-11", "2025-12-01T00:09:59Z").done.settled, 0);
    ck_assert_int_eq(close_period("2025-12", "2026-01-02").done.settled, 1);
}
END_TEST

// ---- voided ----
START_TEST(voided)
{
    save_account(ACCOUNT("acme", "",
                         ",\"grants\":[{\"id\":\"promo\",\"unit\":\"credit\",\"amount\":\"150\","
                         "\"from\":\"2025-09-01\"}]"));
    use("acme", "2025-09-10", 600);
    close_period("2025-09", "2025-10-02");
    use("acme", "2025-09-10", 1200); // 50 credits of promo, and 50 bought
    mark("acme", "2025-09-10");
    use("acme", "2025-10-03", 600);
    close_period("2025-10", "2025-11-02");
    ck_assert_str_eq(invoice_words("acme", "2025-10"),
                     "credits 1.49, adjustment 2025-09 0.74 = 2.23, 2.23");
    ck_assert_int_eq(drawn("promo"), 9000);
    void_invoice("acme", "2025-09");
    ck_assert_int_eq(marks(), 1);
    use("acme", "2025-11-03", 600);
    char *preview = preview_words("acme", "2025-11", "2025-12-02");
    ck_assert_int_eq(close_period("2025-11", "2025-12-02").done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-11"), preview);
    ck_assert_str_eq(preview,
                     "credits 1.49 = 1.49, 1.49"); // the period that is open is not adjusted
    ck_assert_int_eq(marks(), 1);
    // September comes to 0.74, which October's invoice has charged already.
    preview = preview_words("acme", "2025-09", "2025-12-03");
    ck_assert_int_eq(close_again("acme", "2025-09", "2025-12-03").done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-09"), preview);
    ck_assert_str_eq(preview, "credits 0.74, adjustment 2025-09 -0.74 = 0.00, 0.00");
    ck_assert_int_eq(marks(), 0);
    ck_assert_int_eq(close_period("2025-12", "2026-01-02").done.settled, 0);
    // October's adjustment goes with its invoice, and comes back with the new one.
    void_invoice("acme", "2025-10");
    close_again("acme", "2025-10", "2026-01-03");
    ck_assert_str_eq(invoice_words("acme", "2025-10"),
                     "credits 1.49, adjustment 2025-09 0.74 = 2.23, 2.23");
    ck_assert_int_eq(count("SELECT sum(subtotal_cents)::bigint FROM invoice"), 74 + 149 + 149);
    ck_assert_int_eq(
        count("SELECT sum(d.amount)::bigint FROM grant_draw d WHERE NOT EXISTS (SELECT "
              "FROM invoice c WHERE c.credits_number = d.number)"),
        9000);
}
END_TEST

// What is open again is not left of the grants in usd, either.
START_TEST(voided_credits)
{
    save_account(ACCOUNT("acme", "",
                         ",\"grants\":[{\"id\":\"goodwill\",\"unit\":\"usd\",\"amount\":\"20.00\","
                         "\"from\":\"2025-09-01\"}]"));
    use("acme", "2025-09-10", 6000);
    close_period("2025-09", "2025-10-02");
    int64_t before = credits_at("acme", "2025-10-03").credits.remaining_e4;
    void_invoice("acme", "2025-09");
    CreditsView view = credits_at("acme", "2025-10-03");
    ck_assert_int_eq(view.credits.remaining_e4, before);
    ck_assert(view.grant[0].left == 514 && view.grant[0].grant.balance == 2000);
}
END_TEST

// ---- terms ----
START_TEST(changed_account)
{
    save_account(ACCOUNT("acme", "", ""));
    save_account(ACCOUNT("idle", "", ""));
    const char *dearer = ACCOUNT("acme", ",\"monthly_minimum\":\"20.00\"", "");
    ck_assert(apply("acme", ACCOUNT("acme", "", ",\"tax_rate_bps\":0"), false) == ST_OK);
    ck_assert_int_eq(marks(), 0); // the books have not begun
    use("acme", "2025-09-10", 6000);
    close_period("2025-09", "2025-10-02");
    ck_assert_int_eq(apply("acme", dearer, false), ST_REFUSED);
    ck_assert_int_eq(marks(), 0);
    OK(apply("acme", dearer, true));
    ck_assert_int_eq(marks(), 1);
    ck_assert_int_eq(close_period("2025-10", "2025-11-02").done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-10"),
                     "minimum 20.00, adjustment 2025-09 5.14 = 25.14, 25.14");
    // The closed periods are compared as they were adjusted, not as they were first.
    OK(apply("acme", ACCOUNT("acme", ",\"monthly_minimum\":\"20\"", ""), false));
    ck_assert_int_eq(apply("acme", ACCOUNT("acme", "", ""), false), ST_REFUSED);
    // An account that comes later is billed for what is closed where that is wanted.
    const char *late = ACCOUNT("late", ",\"monthly_minimum\":\"170.00\"", "");
    ck_assert_int_eq(apply("late", late, false), ST_REFUSED);
    OK(apply("late", late, true));
    close_period("2025-11", "2025-12-02");
    ck_assert_str_eq(invoice_words("late", "2025-11"),
                     "minimum 170.00, adjustment 2025-09 170.00, adjustment 2025-10 170.00"
                     " = 510.00, 510.00");
}
END_TEST

// Usage that came late is all that a period was rated from; a change of its price is one.
START_TEST(guard_knows_adjusted)
{
    save_account(ACCOUNT("acme", "", ""));
    close_period("2025-09", "2025-10-02");
    use("acme", "2025-09-10", 6000);
    mark("acme", "2025-09-10");
    close_period("2025-10", "2025-11-02");
    const char *cheaper = ACCOUNT("acme", ",\"credit_discount_bps\":5000", "");
    ck_assert_int_eq(apply("acme", cheaper, false), ST_REFUSED);
    ck_assert_msg(strstr(error.text, "2025-09"), "%s", error.text);
    // A grant in usd has no part in what a period comes to.
    OK(apply("acme",
             ACCOUNT("acme", "",
                     ",\"grants\":[{\"id\":\"g\",\"unit\":\"usd\",\"amount\":\"5\","
                     "\"from\":\"2025-09-01\",\"expires\":\"2025-10-01\"}]"),
             false));
    void_invoice("acme", "2025-10"); // the adjustment is gone with it
    OK(apply("acme", cheaper, false));
    ck_assert_int_eq(close_period("2025-11", "2025-12-02").done.settled, 1);
    ck_assert_str_eq(invoice_words("acme", "2025-11"), "adjustment 2025-09 7.43 = 7.43, 7.43");
}
END_TEST

// A grant that is made one of money gives back what it gave in credits.
START_TEST(changed_grants)
{
#define GRANTED(unit, amount)                                                                      \
    ACCOUNT("acme", "",                                                                            \
            ",\"grants\":[{\"id\":\"g\",\"unit\":\"" unit "\",\"amount\":\"" amount                \
            "\",\"from\":\"2025-09-01\"}]")
    save_account(GRANTED("credit", "1000"));
    use("acme", "2025-09-10", 6000);
    close_period("2025-09", "2025-10-02");
    ck_assert_str_eq(invoice_words("acme", "2025-09"), " = 0.00, 0.00");
    ck_assert_int_eq(apply("acme", GRANTED("credit", "999"), false), ST_REFUSED);
    OK(apply("acme", GRANTED("usd", "10.00"), true));
    close_period("2025-10", "2025-11-02");
    ck_assert_str_eq(invoice_words("acme", "2025-10"),
                     "adjustment 2025-09 14.86, grant -10.00 = 14.86, 4.86");
    ck_assert_int_eq(count("SELECT sum(amount)::bigint FROM grant_draw WHERE unit = 0"), 0);
    OK(apply("acme", ACCOUNT("acme", "", ""), true));
    OK(apply("acme", GRANTED("credit", "500"), true));
    close_period("2025-11", "2025-12-02");
    ck_assert_str_eq(invoice_words("acme", "2025-11"),
                     "adjustment 2025-09 -7.43, carry_forward 7.43 = -7.43, 0.00");
}
END_TEST

// As `tally catalog apply` does, of the version in force.
static Status change_catalogue(const char *path, const char *value, bool retroactive)
{
    OWNED_BUF Buf sql = {0};
    buf_addf(
        &sql,
        "BEGIN; INSERT INTO catalog (revision, content) SELECT revision + 1, jsonb_set(content, '{versions,1,%s}', '%s')"
        " FROM catalog ORDER BY revision DESC LIMIT 1",
        path, value);
    script(sql.p);
    Status status = billing_guard(db, NULL, 0, retroactive, &error);
    script(status == ST_OK ? "COMMIT" : "ROLLBACK");
    return status;
}

START_TEST(changed_catalogue)
{
    save_account(ACCOUNT("acme", "", ""));
    save_account(ACCOUNT("other", "", ""));
    OK(change_catalogue("credit_price", "\"0.01\"", false));
    use("acme", "2025-09-10", 600);
    close_period("2025-09", "2025-10-02");
    ck_assert_int_eq(change_catalogue("credit_price", "\"0.015\"", false), ST_REFUSED);
    ck_assert_msg(strstr(error.text, "account acme: the closed period 2025-09"), "%s", error.text);
    OK(change_catalogue("credit_price", "\"0.015\"", true));
    ck_assert_int_eq(marks(), 2);
    ck_assert_int_eq(change_catalogue("credit_price", "\"0.02\"", false), ST_REFUSED);
    ck_assert_int_eq(close_period("2025-10", "2025-11-02").done.settled, 2);
    ck_assert_str_eq(invoice_words("acme", "2025-10"), "adjustment 2025-09 0.50 = 0.50, 0.50");
    ck_assert_int_eq(marks(), 0);
    // What nobody was billed for may change; but that may come late, and is rated by it.
    OK(change_catalogue("sizes,xlarge,credits_per_hour", "640", false));
    ck_assert_int_eq(marks(), 2);
}
END_TEST

int main(void)
{
    server = getenv("TALLY_TEST_DATABASE_URL");
    if (!server) {
        printf("TALLY_TEST_DATABASE_URL names no PostgreSQL\n");
        return 77;
    }
    const TTest *const tests[] = {late_usage,
                                  usage_of_the_period,
                                  draws_alone,
                                  mark_between,
                                  early,
                                  early_by_minutes,
                                  voided,
                                  voided_credits,
                                  changed_account,
                                  changed_grants,
                                  guard_knows_adjusted,
                                  changed_catalogue};
    Suite *suite = suite_create("closing");
    TCase *tcase = tcase_create("closing");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
