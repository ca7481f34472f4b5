// SPDX-License-Identifier: Apache-2.0
// Proves on a real PostgreSQL that what is stored is what was read, that only changes make
// revisions, that each change stays on record, and that who replaces the catalogue waits for who
// reads it.
#include "catalog/store.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

extern const char DEFAULT_CATALOG[];

static const char *server; // TALLY_TEST_DATABASE_URL
static char schema[32];

// ---- a schema of its own ----
static Db *open_db(void)
{
    OWNED_BUF Buf url = {0};
    buf_addf(&url, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
             schema);
    Db *db = NULL;
    Error error = {0};
    ck_assert_msg(db_open(url.p, "test", &db, &error) == ST_OK, "%s", error.text);
    return db;
}

static void script(Db *db, const char *sql)
{
    Error error = {0};
    ck_assert_msg(db_script(db, sql, &error) == ST_OK, "%s: %s", sql, error.text);
}

static Db *db;
static Arena *arena;
static Error error;

static void setup(void)
{
    static int nth;
    char sql[64];
    int applied;
    snprintf(schema, sizeof schema, "store_%d_%d", (int)getpid(), nth++);
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    db = open_db();
    script(db, sql);
    ck_assert_msg(db_migrate(db, &applied, &error) == ST_OK, "%s", error.text);
    arena = arena_new();
}

static void teardown(void)
{
    char sql[64];
    snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", schema);
    script(db, sql);
    db_close(db);
    arena_free(arena);
}

static const Statement CATALOGS = {"test/catalogs", "SELECT count(*) FROM catalog"};
static const Statement HISTORY = {"test/history", "SELECT count(*) FROM account_history"};
static const Statement NEWEST = {
    "test/newest",
    "SELECT count(*) FROM account_history h JOIN account a USING (account, revision)"
    " WHERE h.content = a.content AND h.applied_at = a.applied_at"};

static int64_t number(const Statement *statement)
{
    OWNED_ROWS Rows *rows = NULL;
    ck_assert_msg(db_query(db, statement, 0, NULL, &rows, &error) == ST_OK, "%s", error.text);
    return rows_int(rows, 0, 0);
}

#define OK(call) ck_assert_msg((call) == ST_OK, "%s", error.text)

// ---- the catalogue ----
#define SIZES "\"sizes\":{\"Nano\":{\"vcpus\":2,\"memory_gib\":4,\"credits_per_hour\":10}}"
#define PLANS "\"plans\":{\"free\":{\"concurrency_limit\":5}}"
#define VERSION(from, price)                                                                       \
    "{\"from\":\"" from "\",\"credit_price\":\"" price "\"," SIZES "," PLANS "}"
#define CATALOG                                                                                    \
    "{\"versions\":[" VERSION("2026-03-01", "3") "," VERSION("2026-01-01", "1") "," VERSION(       \
        "2026-02-01", "2") "]}"

static Status lock_and_save(Db *on, void *context, Error *e)
{
    int64_t *revision = context, before;
    TRY(catalog_lock_exclusive(on, &before, e));
    return catalog_save(on, STR(CATALOG), revision, e);
}

START_TEST(catalogue)
{
    OWNED_CATALOG Catalog *none = NULL, *c = NULL, *d = NULL;
    OWNED_BUF Buf text = {0};
    ck_assert_int_eq(catalog_load(db, &none, &error), ST_MISSING);
    ck_assert_int_eq(catalog_text(db, &text, &error), ST_MISSING);
    int64_t revision = 0;
    OK(catalog_save(db, str(DEFAULT_CATALOG), &revision, &error));
    ck_assert_int_eq(revision, 1);
    OK(db_transaction(db, lock_and_save, &revision, &error));
    ck_assert_int_eq(revision, 2);
    OK(db_transaction(db, lock_and_save, &revision, &error)); // the same again changes nothing
    ck_assert_int_eq(revision, 2);
    OK(catalog_load(db, &c, &error));
    ck_assert_int_eq(c->revision, 2);
    ck_assert_int_eq(c->versions, 3);
    ck_assert_uint_ne(catalog_size(c, STR("nano")), SIZE_NONE);
    OK(catalog_save(db, str(DEFAULT_CATALOG), &revision,
                    &error)); // one that was there before is a change
    ck_assert_int_eq(revision, 3);
    OK(catalog_load(db, &d, &error));
    ck_assert_int_eq(d->versions, 2);
    OK(catalog_lock_shared(db, &revision, &error));
    ck_assert_int_eq(revision, 3);
    ck_assert_int_eq(number(&CATALOGS), 3);
}
END_TEST

START_TEST(catalogue_text)
{
    static const char *const rows[][2] = {
        {"2000-01-01", "1"}, {"2025-12-31", "1"}, {"2026-01-01", "1"}, {"2026-01-31", "1"},
        {"2026-02-01", "2"}, {"2026-02-28", "2"}, {"2026-03-01", "3"}, {"2199-12-31", "3"}};
    int64_t revision;
    OK(catalog_save(db, STR(CATALOG), &revision, &error));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        OWNED_BUF Buf text = {0};
        OWNED_JSON Json *version = NULL;
        Day day;
        Str price;
        ck_assert(day_parse(str(rows[i][0]), &day));
        OK(catalog_version_text(db, day, &text, &error));
        OK(json_parse(buf_str(&text), text.n, &version, &error));
        ck_assert(json_text(json_get(version, "credit_price"), &price));
        ck_assert_msg(str_is(price, rows[i][1]), "%s", rows[i][0]);
    }
    OWNED_BUF Buf text = {0};
    OWNED_CATALOG Catalog *c = NULL;
    OK(catalog_text(db, &text, &error));
    OK(catalog_parse(buf_str(&text), &c, &error)); // what is shown can be applied
    ck_assert_ptr_nonnull(strstr(text.p, "\n    "));
}
END_TEST

// Who replaces the catalogue waits for who holds it still, and reads what they left.
START_TEST(catalogue_lock)
{
    OWNED_DB Db *other = open_db();
    int64_t revision;
    script(db, "BEGIN");
    OK(catalog_lock_shared(db, &revision, &error));
    script(other, "SET lock_timeout = '100ms'; BEGIN");
    OK(catalog_lock_shared(other, &revision, &error));
    script(other, "COMMIT; BEGIN");
    ck_assert_int_eq(catalog_lock_exclusive(other, &revision, &error), ST_RETRY);
    script(other, "ROLLBACK; BEGIN");
    OK(catalog_save(db, STR(CATALOG), &revision, &error));
    script(db, "COMMIT");
    revision = 0;
    OK(catalog_lock_exclusive(other, &revision, &error));
    ck_assert_int_eq(revision, 1);
    script(other, "COMMIT");
}
END_TEST

// ---- accounts ----
static Account make(const char *id, const char *name)
{
    OWNED_BUF Buf json = {0};
    Account account;
    buf_addf(&json, "{\"id\":\"%s\",\"name\":", id);
    json_quote(&json, str(name));
    buf_add_text(&json, ",\"subscriptions\":[{\"plan\":\"free\",\"from\":\"2026-01-01\"}]}");
    OK(account_parse(buf_str(&json), arena, &account, &error));
    return account;
}

START_TEST(accounts)
{
    // Names with all that an array literal or JSON could trip over.
    Account list[] = {make("B", "quote \" back\\slash {brace}, NULL"),
                      make("a", "N\xC3\xA9 \xF0\x9F\x98\x80\n\t"), make("a:1", "NULL")};
    size_t changed = 0, count = 0;
    Account *got = NULL, one;
    OK(accounts_changed(db, list, 3, arena, &got, &changed, &error));
    ck_assert_uint_eq(changed, 3);
    OK(accounts_save(db, list, 3, &changed, &error));
    ck_assert_uint_eq(changed, 3);
    OK(accounts_load(db, (Str){0}, 10, arena, &got, &count, &error));
    ck_assert_uint_eq(count, 3);
    for (size_t i = 0; i < 3; i++) {
        ck_assert(str_equal(got[i].id, list[i].id) && str_equal(got[i].name, list[i].name));
        ck_assert_int_eq(got[i].revision, 1);
    }
    list[1] = make("a", "another");
    OK(accounts_changed(db, list, 3, arena, &got, &changed, &error));
    ck_assert(changed == 1 && str_is(got[0].id, "a"));
    OK(accounts_save(db, list, 3, &changed, &error));
    ck_assert_uint_eq(changed, 1);
    OK(account_load(db, STR("a"), arena, &one, &error));
    ck_assert(one.revision == 2 && str_is(one.name, "another"));
    OK(account_load(db, (Str){"Bx", 1}, arena, &one,
                    &error)); // a slice that goes on behind its end
    ck_assert(one.revision == 1 && str_is(one.id, "B"));
    ck_assert_int_eq(account_load(db, STR("b"), arena, &one, &error), ST_MISSING);
    ck_assert_str_eq(error.text, "there is no account \"b\"");
    OK(accounts_changed(db, list, 3, arena, &got, &changed, &error));
    ck_assert_uint_eq(changed, 0);
    ck_assert_int_eq(number(&HISTORY), 4);
    ck_assert_int_eq(number(&NEWEST), 3);
}
END_TEST

START_TEST(pages)
{
    enum { MANY = 2500 };
    Account *list = mem_alloc(MANY * sizeof *list), *got = NULL;
    for (int i = 0; i < MANY; i++) {
        char id[32];
        snprintf(id, sizeof id, "acct-%04d", i);
        list[i] = make(id, id);
    }
    size_t changed, count;
    OK(accounts_save(db, list, MANY, &changed, &error));
    ck_assert_uint_eq(changed, MANY);
    list[0] = make("acct-0000", "x");
    list[MANY - 1] = make("acct-2499", "x");
    OK(accounts_changed(db, list, MANY, arena, &got, &changed, &error));
    ck_assert(changed == 2 && str_is(got[0].id, "acct-0000") && str_is(got[1].id, "acct-2499"));
    free(list);
    OK(accounts_load(db, STR("acct-1499"), 700, arena, &got, &count, &error));
    ck_assert(count == 700 && str_is(got[0].id, "acct-1500") && str_is(got[699].id, "acct-2199"));
    OK(accounts_load(db, STR("acct-2499"), 700, arena, &got, &count, &error));
    ck_assert_uint_eq(count, 0);
    const Str ids[] = {STR("acct-0007"), STR("nobody"), STR("acct-0003"), STR("acct-0003")};
    OK(accounts_load_some(db, ids, 4, arena, &got, &count, &error));
    ck_assert(count == 2 && str_is(got[0].id, "acct-0003") && str_is(got[1].id, "acct-0007"));
    OK(accounts_load_some(db, NULL, 0, arena, &got, &count, &error));
    ck_assert_uint_eq(count, 0);
}
END_TEST

int main(void)
{
    server = getenv("TALLY_TEST_DATABASE_URL");
    if (!server) {
        printf("TALLY_TEST_DATABASE_URL names no PostgreSQL\n");
        return 77;
    }
    TCase *tests = tcase_create("store");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, catalogue);
    tcase_add_test(tests, catalogue_text);
    tcase_add_test(tests, catalogue_lock);
    tcase_add_test(tests, accounts);
    tcase_add_test(tests, pages);
    Suite *suite = suite_create("store");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
