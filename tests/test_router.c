// SPDX-License-Identifier: Apache-2.0
// Proves which route a path is, how parameters and Accept are read, and that a cursor is taken only
// as it was given out, for the path it was given out for.
#include "api/internal.h"
#include "api/router.h"

#include <check.h>

#define COUNT(rows) ((int)(sizeof(rows) / sizeof *(rows)))

// ---- routes ----
typedef struct PathRow {
    const char *method, *path;
    const char *pattern; // NULL: none
    const char *allow;   // where none: the methods that there are; "": unknown path
    const char *variable[PATH_VARIABLES_MAX];
} PathRow;
#define SLOT "/v1/quota/reservations/{account}/{vm}"
static const PathRow PATHS[] = {
    {"GET", "/healthz", "/healthz"},
    {"HEAD", "/healthz", "/healthz"},
    {"POST", "/v1/quota/reservations", "/v1/quota/reservations"},
    {"GET", "/v1/quota/reservations", NULL, "POST"},
    {"GET", "/v1/quota/reservations/a/b", SLOT, NULL, {"a", "b"}},
    {"DELETE", "/v1/quota/reservations/a%2Fb/%20", SLOT, NULL, {"a/b", " "}},
    {"PUT", "/v1/quota/reservations/a/b", NULL, "GET, HEAD, DELETE"},
    {"GET", "/v1/quota/reservations/a", NULL, ""},
    {"GET", "/v1/quota/reservations/a/", NULL, ""},
    {"GET", "/v1/quota/reservations//b", NULL, ""},
    {"GET", "/v1/quota/reservations/a/b/", NULL, ""},
    {"GET", "/v1/quota/reservations/a/b/c", NULL, ""},
    {"GET", "/v1/accounts", "/v1/accounts"},
    {"GET", "/v1/accounts/", NULL, ""},
    {"GET", "/v1/accounts/a/invoices", "/v1/accounts/{account}/invoices", NULL, {"a"}},
    {"GET",
     "/v1/accounts/a/invoices/upcoming",
     "/v1/accounts/{account}/invoices/upcoming",
     NULL,
     {"a"}},
    {"GET", "/v1/accounts/a/invoices/other", NULL, ""},
    {"GET", "/v1/invoices/INV-1", "/v1/invoices/{number}", NULL, {"INV-1"}},
    {"GET", "/v1/invoices/INV-1.json", "/v1/invoices/{number}.json", NULL, {"INV-1"}},
    {"GET", "/v1/invoices/.json", "/v1/invoices/{number}", NULL, {".json"}},
    {"GET", "/v1/invoices/INV-1.pdf", "/v1/invoices/{number}", NULL, {"INV-1.pdf"}},
    {"DELETE", "/v1/invoices/INV-1.json", NULL, "GET, HEAD"},
    {"get", "/healthz", NULL, "GET, HEAD"},
    {"GET", "/Healthz", NULL, ""},
    {"GET", "/healthz/", NULL, ""},
    {"GET", "//healthz", NULL, ""},
    {"GET", "/%68ealthz", NULL, ""},
    {"GET", "", NULL, ""},
    {"GET", "/", NULL, ""},
    {"OPTIONS", "*", NULL, ""},
};

START_TEST(paths)
{
    const PathRow *row = &PATHS[_i];
    OWNED_ARENA Arena *arena = arena_new();
    Match match;
    route_match(ROUTES, row->method, str(row->path), &match);
    if (!row->pattern) {
        ck_assert_msg(!match.route, "%s %s", row->method, row->path);
        ck_assert_str_eq(match.allow, row->allow);
        return;
    }
    ck_assert_msg(match.route, "%s %s: none", row->method, row->path);
    ck_assert_str_eq(match.route->pattern, row->pattern);
    ck_assert(match_decode(&match, arena));
    for (int i = 0; i < PATH_VARIABLES_MAX; i++)
        ck_assert_msg(str_equal(match.variable[i], str(row->variable[i])), "%s: %d", row->path, i);
}
END_TEST

static const char *const BAD_PATHS[] = {"/v1/invoices/%", "/v1/invoices/%4", "/v1/invoices/%zz",
                                        "/v1/invoices/a%00b", "/v1/invoices/%ff"};
START_TEST(bad_paths)
{
    OWNED_ARENA Arena *arena = arena_new();
    Match match;
    route_match(ROUTES, "GET", str(BAD_PATHS[_i]), &match);
    ck_assert(match.route && !match_decode(&match, arena));
}
END_TEST

// Each route can be reached by its own pattern, and what a customer must own is there.
START_TEST(table)
{
    for (const Route *route = ROUTES; route->method; route++) {
        Match match;
        route_match(ROUTES, route->method, str(route->pattern), &match);
        ck_assert_msg(match.route == route, "%s %s is hidden", route->method, route->pattern);
        ck_assert(route->run && route->roles);
        ck_assert(!(route->roles & ROLE_ADMIN));
        if (route->account_variable >= 0)
            ck_assert_str_eq(match.variable[route->account_variable].p,
                             strstr(route->pattern, "{account}"));
        else ck_assert_ptr_null(strstr(route->pattern, "{account}"));
    }
}
END_TEST

// ---- parameters ----
typedef struct ParamRow {
    ParamKind kind;
    const char *text;
    bool right;
    int64_t value; // of PARAM_INT, PARAM_CHOICE; bytes of texts; microseconds of instants
} ParamRow;
static const ParamRow PARAMS[] = {
    {PARAM_INT, "1", true, 1},
    {PARAM_INT, "1000", true, 1000},
    {PARAM_INT, "0", false, 0},
    {PARAM_INT, "1001", false, 0},
    {PARAM_INT, "-1", false, 0},
    {PARAM_INT, "", false, 0},
    {PARAM_INT, "1.0", false, 0},
    {PARAM_INT, " 1", false, 0},
    {PARAM_INT, "99999999999999999999", false, 0},
    {PARAM_CHOICE, "hour", true, 0},
    {PARAM_CHOICE, "total", true, 2},
    {PARAM_CHOICE, "Hour", false, 0},
    {PARAM_CHOICE, "", false, 0},
    {PARAM_CHOICE, "hour|day", false, 0},
    {PARAM_TEXT, "x", true, 1},
    {PARAM_TEXT, "", false, 0},
    {PARAM_ID, "a.b:c_D-1", true, 9},
    {PARAM_ID, "a b", false, 0},
    {PARAM_ID, "", false, 0},
    {PARAM_INSTANT, "2026-10-03", true, INT64_C(1790985600000000)},
    {PARAM_INSTANT, "2026-10-03T00:00:00Z", true, INT64_C(1790985600000000)},
    {PARAM_INSTANT, "2026-10-03T00:00:00", false, 0},
    {PARAM_INSTANT, "today", false, 0},
};

START_TEST(parameters)
{
    const ParamRow *row = &PARAMS[_i];
    OWNED_ARENA Arena *arena = arena_new();
    int64_t integer = -1;
    int choice = -1;
    Str text = {0};
    Instant at = {0};
    void *const targets[] = {[PARAM_INSTANT] = &at,
                             [PARAM_CHOICE] = &choice,
                             [PARAM_INT] = &integer,
                             [PARAM_TEXT] = &text,
                             [PARAM_ID] = &text};
    const Param param = {"p",        row->kind,   targets[row->kind], .choices = "hour|day|total",
                         .least = 1, .most = 1000};
    char why[WHY_TEXT] = "";
    ck_assert_msg(param_read(&param, str(row->text), arena, why) == row->right, "\"%s\"",
                  row->text);
    ck_assert_int_eq(why[0] == '\0', row->right);
    if (!row->right) return;
    int64_t got = row->kind == PARAM_INT       ? integer
                  : row->kind == PARAM_CHOICE  ? choice
                  : row->kind == PARAM_INSTANT ? at.us
                                               : (int64_t)text.n;
    ck_assert_int_eq(got, row->value);
}
END_TEST

// ---- Accept ----
static const struct {
    const char *accept;
    bool csv;
} ACCEPTS[] = {
    {NULL, false},
    {"", false},
    {"*/*", false},
    {"text/csv", true},
    {"TEXT/CSV", true},
    {"text/csv; charset=utf-8", true},
    {"text/*", true},
    {"text/csv, application/json", false},
    {"application/json, text/csv;q=0.9", false},
    {"application/json;q=0.5, text/csv;q=0.9", true},
    {"text/csv, */*;q=0.1", true},
    {"text/csv, */*", true},
    {"*/*, application/json", false},
    {"text/csv;q=0", false},
    {"text/csv;q=0, */*", false},
    {"text/csv;q=0.001", true},
    {"text/csv;q=2", false},
    {"text/csv;q=x", false},
    {"text/html", false},
    {",,;,text/csv", true},
    {"text/csvx", false},
};

START_TEST(accepts)
{
    ck_assert_msg(accept_prefers(str(ACCEPTS[_i].accept), "text/csv") == ACCEPTS[_i].csv, "\"%s\"",
                  ACCEPTS[_i].accept ? ACCEPTS[_i].accept : "absent");
}
END_TEST

START_TEST(media)
{
    ck_assert(media_is_json(STR("application/json")));
    ck_assert(media_is_json(STR("Application/JSON ; charset=utf-8")));
    ck_assert(media_is_json(STR("application/merge-patch+json")));
    ck_assert(!media_is_json(STR("application/+json")));
    ck_assert(!media_is_json(STR("application/jsonx")));
    ck_assert(!media_is_json(STR("text/json")));
    ck_assert(!media_is_json(STR("")));
    ck_assert(!media_is_json((Str){0}));
}
END_TEST

// ---- cursors ----
START_TEST(cursors)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf text = {0};
    Sha256 scope = sha256(STR("here")), other = sha256(STR("there"));
    const Str members[] = {STR("1790985600000000"), STR(""), {"a\0b\xff", 4}};
    Str got[3];
    cursor_encode(&scope, members, 3, &text);
    for (size_t i = 0; i < text.n; i++)
        ck_assert_ptr_nonnull(
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                   "0123456789-_",
                   text.p[i]));
    ck_assert(cursor_decode(&scope, buf_str(&text), arena, got, 3));
    for (int i = 0; i < 3; i++) ck_assert(str_equal(got[i], members[i]));
    ck_assert(!cursor_decode(&other, buf_str(&text), arena, got, 3));
    ck_assert(!cursor_decode(&scope, buf_str(&text), arena, got, 2));
    ck_assert(!cursor_decode(&scope, STR(""), arena, got, 3));
    // Cut anywhere, longer, or with any character changed, it is refused.
    for (size_t n = 0; n < text.n; n++)
        ck_assert(!cursor_decode(&scope, (Str){text.p, n}, arena, got, 3));
    for (size_t i = 0; i < text.n; i++)
        for (const char *c = "Ab0-_=+/ %"; *c; c++) {
            OWNED_BUF Buf changed = {0};
            buf_add_str(&changed, buf_str(&text));
            if (changed.p[i] == *c) continue;
            changed.p[i] = *c;
            ck_assert(!cursor_decode(&scope, buf_str(&changed), arena, got, 3));
        }
    buf_add_char(&text, 'A');
    ck_assert(!cursor_decode(&scope, buf_str(&text), arena, got, 3));
}
END_TEST

START_TEST(cursors_of_calls)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf text = {0};
    const Str key = STR("k");
    Str got;
    Call call = {.arena = arena, .route = &ROUTES[6], .variable = {STR("acme")}};
    cursor_write(&call, &key, 1, &text);
    ck_assert(cursor_read(&call, buf_str(&text), &got, 1) && str_is(got, "k"));
    call.variable[0] = STR("acmf");
    ck_assert(!cursor_read(&call, buf_str(&text), &got, 1));
    call.variable[0] = STR("acme");
    call.route = &ROUTES[7];
    ck_assert(!cursor_read(&call, buf_str(&text), &got, 1));
}
END_TEST

// ---- problems ----
START_TEST(problems)
{
    for (int problem = 0; problem < PROBLEM_NONE; problem++) {
        const ProblemKind *kind = problem_kind((Problem)problem);
        OWNED_BUF Buf out = {0};
        OWNED_JSON Json *json = NULL;
        Error error;
        Str text;
        int64_t status;
        ck_assert(kind->name && kind->title && kind->status >= 400 && kind->status < 600);
        problem_json(kind, STR("a \"b\" \n"), "id", ",\"limit\":1", &out);
        ck_assert_msg(json_parse(buf_str(&out), out.n, &json, &error) == ST_OK, "%s", out.p);
        ck_assert(json_text(json_get(json, "detail"), &text) && str_is(text, "a \"b\" \n"));
        ck_assert(json_integer(json_get(json, "status"), &status) && status == kind->status);
        ck_assert(json_integer(json_get(json, "limit"), &status) && status == 1);
        ck_assert(json_text(json_get(json, "instance"), &text) &&
                  str_is(text, "urn:tally:request:id"));
    }
}
END_TEST

START_TEST(sight)
{
    Caller customer = {.role = ROLE_CUSTOMER, .account = "acme"}, finance = {.role = ROLE_FINANCE};
    ck_assert(caller_sees(&customer, STR("acme")) && !caller_sees(&customer, STR("acm")));
    ck_assert(!caller_sees(&customer, STR("Acme")) && !caller_sees(&customer, (Str){0}));
    ck_assert(caller_sees(&finance, STR("acme")));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("router");
    tcase_add_loop_test(tests, paths, 0, COUNT(PATHS));
    tcase_add_loop_test(tests, bad_paths, 0, COUNT(BAD_PATHS));
    tcase_add_test(tests, table);
    tcase_add_loop_test(tests, parameters, 0, COUNT(PARAMS));
    tcase_add_loop_test(tests, accepts, 0, COUNT(ACCEPTS));
    tcase_add_test(tests, media);
    tcase_add_test(tests, cursors);
    tcase_add_test(tests, cursors_of_calls);
    tcase_add_test(tests, problems);
    tcase_add_test(tests, sight);
    Suite *suite = suite_create("router");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
