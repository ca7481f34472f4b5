// SPDX-License-Identifier: Apache-2.0
// Proves that every statement that is built in can be prepared on a freshly migrated schema, that
// each file holds one statement, and that its parameters are the ones that its head describes.
#include "db/db.h"

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

// Each ends with NULL.
extern const Statement *const SQL_CATALOG_ALL[];
extern const Statement *const SQL_METER_ALL[];
extern const Statement *const SQL_BILLING_ALL[];
extern const Statement *const SQL_QUOTA_ALL[];
extern const Statement *const SQL_NOTICES_ALL[];
extern const Statement *const SQL_AUDIT_ALL[];
extern const Statement *const SQL_API_ALL[];
static const Statement *const *const ROOMS[] = {SQL_CATALOG_ALL, SQL_METER_ALL,   SQL_BILLING_ALL,
                                                SQL_QUOTA_ALL,   SQL_NOTICES_ALL, SQL_AUDIT_ALL,
                                                SQL_API_ALL};
enum { ROOMS_COUNT = sizeof ROOMS / sizeof *ROOMS, PARAMETERS_MAX = 64 };

static const char *server; // TALLY_TEST_DATABASE_URL
static char schema[32];
static Db *db;
static Error error;

static void script(const char *sql)
{
    ck_assert_msg(db_script(db, sql, &error) == ST_OK, "%s: %s", sql, error.text);
}

static void setup(void)
{
    OWNED_BUF Buf url = {0}, create = {0};
    int applied;
    snprintf(schema, sizeof schema, "statements_%d", (int)getpid());
    buf_addf(&url, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
             schema);
    buf_addf(&create, "CREATE SCHEMA %s", schema);
    ck_assert_msg(db_open(url.p, "test", &db, &error) == ST_OK, "%s", error.text);
    script(create.p);
    ck_assert_msg(db_migrate(db, &applied, &error) == ST_OK, "%s", error.text);
    ck_assert_int_gt(applied, 0);
    // As meter_new, quota_reconcile and audit_topics make them.
    script("CREATE TEMPORARY TABLE vm_stage (LIKE vm) ON COMMIT DELETE ROWS");
    script("CREATE TEMPORARY TABLE orchestrator_list (account text, vm text, size text)");
    script("CREATE TEMPORARY TABLE topic_record (LIKE event)");
    script(
        "CREATE TEMPORARY TABLE topic_range (topic text, partition integer, origin integer,"
        " first bigint)");
}

static void teardown(void)
{
    OWNED_BUF Buf drop = {0};
    buf_addf(&drop, "DROP SCHEMA %s CASCADE", schema);
    script(drop.p);
    db_close(db);
}

static void quote(Buf *out, const char *text, char with)
{
    buf_add_char(out, with);
    for (; *text; text++) {
        if (*text == with) buf_add_char(out, with);
        buf_add_char(out, *text);
    }
    buf_add_char(out, with);
}

// Prepared by SQL's own PREPARE, which takes one statement, and its types from the text, as libpq.
static void check_prepares(const Statement *statement)
{
    OWNED_BUF Buf sql = {0};
    buf_add_text(&sql, "PREPARE ");
    quote(&sql, statement->name, '"');
    buf_addf(&sql, " AS\n%s", statement->text);
    ck_assert_msg(db_script(db, sql.p, &error) == ST_OK, "%s: %s (%s)", statement->name, error.text,
                  error.hint);
}

// The text without its comments; in our statements no literal holds "--" or ';'.
static void strip(const char *text, Buf *out)
{
    for (const char *p = text; *p; p++) {
        if (p[0] == '-' && p[1] == '-') p += strcspn(p, "\n");
        if (!*p) return;
        buf_add_char(out, *p);
    }
}

static void check_single(const Statement *statement, const char *code)
{
    ck_assert_ptr_nonnull(code);
    const char *end = strchr(code, ';');
    ck_assert_msg(!end || end[1 + strspn(end + 1, " \n")] == '\0', "%s: something behind the ';'",
                  statement->name);
}

static void note_parameters(const char *text, bool seen[static PARAMETERS_MAX])
{
    for (const char *p = strchr(text, '$'); p; p = strchr(p + 1, '$')) {
        int n = isdigit((unsigned char)p[1]) ? atoi(p + 1) : 0;
        ck_assert_int_lt(n, PARAMETERS_MAX);
        if (n > 0) seen[n] = true;
    }
}

// Parameters are numbered without a gap, and those that the head describes are those of the code.
static void check_parameters(const Statement *statement, const char *code)
{
    bool described[PARAMETERS_MAX] = {0}, used[PARAMETERS_MAX] = {0};
    OWNED_BUF Buf head = {0};
    for (const char *p = statement->text; strncmp(p, "--", 2) == 0;) {
        size_t n = strcspn(p, "\n");
        buf_add(&head, p, n);
        p += n + (p[n] == '\n');
    }
    ck_assert_msg(head.n > 2, "%s: no head", statement->name);
    note_parameters(head.p, described);
    note_parameters(code, used);
    for (int n = 1; n < PARAMETERS_MAX; n++) {
        ck_assert_msg(described[n] == used[n], "%s: $%d is %s only", statement->name, n,
                      used[n] ? "used" : "described");
        ck_assert_msg(n == 1 || !used[n] || used[n - 1], "%s: no $%d before $%d", statement->name,
                      n - 1, n);
    }
}

START_TEST(statements)
{
    int count = 0;
    for (const Statement *const *s = ROOMS[_i]; *s; s++, count++) {
        OWNED_BUF Buf code = {0};
        strip((*s)->text, &code);
        check_prepares(*s);
        check_single(*s, code.p);
        check_parameters(*s, code.p);
    }
    ck_assert_int_gt(count, 0);
}
END_TEST

// libpq knows a prepared statement by its name.
START_TEST(unique_names)
{
    for (int a = 0; a < ROOMS_COUNT; a++)
        for (const Statement *const *s = ROOMS[a]; *s; s++)
            for (int b = 0; b < ROOMS_COUNT; b++)
                for (const Statement *const *t = ROOMS[b]; *t; t++)
                    ck_assert_msg(*s == *t || strcmp((*s)->name, (*t)->name) != 0, "%s",
                                  (*s)->name);
}
END_TEST

int main(void)
{
    server = getenv("TALLY_TEST_DATABASE_URL");
    if (!server) {
        printf("TALLY_TEST_DATABASE_URL names no PostgreSQL\n");
        return 77;
    }
    TCase *tests = tcase_create("statements");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, statements, 0, ROOMS_COUNT);
    tcase_add_test(tests, unique_names);
    Suite *suite = suite_create("statements");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
