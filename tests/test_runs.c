// SPDX-License-Identifier: Apache-2.0
// Proves on a real PostgreSQL that pages of runs, whatever their length and filter, are all runs
// once and in order, also while new ones arrive; and that usage slice by slice is the same rows as
// usage at once.
#include "catalog/store.h"
#include "meter/runs.h"
#include "meter/slices.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

extern const char DEFAULT_CATALOG[];

static const char *server; // TALLY_TEST_DATABASE_URL
static char schema[32];
static Db *db;
static Arena *arena;
static Error error;
static Catalog *catalog;

#define OK(call) ck_assert_msg((call) == ST_OK, "%s", error.text)

static void script(const char *sql)
{
    ck_assert_msg(db_script(db, sql, &error) == ST_OK, "%s: %s", sql, error.text);
}

// Runs of a few microseconds, minutes, hours and days, many with one start, and of length 0; VMs
// that run, some of them lost. Each begins at an event, as when they are metered.
static const char FILL[] =
    "SELECT setseed(0.42);"
    "INSERT INTO run SELECT 'acme', s, vm, 0, s + l, 1, NULL,"
    " CASE WHEN l > interval '3 minutes' THEN 'nano ' || to_char(s + interval '90 seconds',"
    "  'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || ' large' ELSE 'micro' END, 1, 1 FROM ("
    " SELECT timestamptz '2026-10-01' + trunc(random() * 400) * interval '4 hours' AS s,"
    "  'vm-' || trunc(random() * 12) AS vm, (ARRAY[interval '0', interval '7 us',"
    "  interval '1 minute', interval '61 s', interval '59 minutes', interval '25 hours',"
    "  interval '23 hours 59 minutes', interval '24 hours', interval '9 days'])"
    "  [1 + trunc(random() * 9)] AS l FROM generate_series(1, 700)) AS r ON CONFLICT DO NOTHING;"
    "INSERT INTO run SELECT account, started_at, vm, 1, ended_at, 2, NULL, sizes, 1, 1 FROM run"
    " WHERE vm IN ('vm-1', 'vm-2') AND ended_at = started_at;"
    "INSERT INTO event SELECT account, vm, '/s', row_number() OVER (), started_at, nth, 0, NULL,"
    " 'nano', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 1 FROM run;"
    "INSERT INTO vm SELECT 'acme', 'open-' || n, 1, s, CASE WHEN n % 7 = 0 THEN 0 ELSE 1 END, s, 0,"
    " NULL, 'nano', CASE n % 3 WHEN 0 THEN s + interval '1 hour' END, false, true FROM ("
    " SELECT n, timestamptz '2026-11-01' + (n % 11) * interval '1 day' AS s"
    " FROM generate_series(1, 40) n) AS v;";

static Status load(Db *on, void *context, Error *e)
{
    (void)context;
    return catalog_load(on, &catalog, e);
}

static void setup(void)
{
    static int nth;
    OWNED_BUF Buf url = {0};
    char sql[64];
    int applied;
    int64_t revision;
    snprintf(schema, sizeof schema, "runs_%d_%d", (int)getpid(), nth++);
    buf_addf(&url, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
             schema);
    OK(db_open(url.p, "test", &db, &error));
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    script(sql);
    OK(db_migrate(db, &applied, &error));
    OK(catalog_save(db, str(DEFAULT_CATALOG), &revision, &error));
    OK(load(db, NULL, &error));
    script(FILL);
    arena = arena_new();
}

static void teardown(void)
{
    char sql[64];
    snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", schema);
    script(sql);
    db_close(db);
    catalog_free(catalog);
    arena_free(arena);
}

static Instant at(const char *text)
{
    Instant instant;
    ck_assert(instant_or_day_parse(str(text), &instant));
    return instant;
}

// ---- pages ----
// Ended and open runs as they should show, in order. The timeout of the default catalogue is ten
// minutes.
// $1 from, $2 to, $3 VM or '', $4 the horizon
static const Statement EXPECTED = {
    "test/expected",
    "SELECT vm, started_at, nth, ended_at FROM ("
    " SELECT vm, started_at, nth, ended_at FROM run"
    " UNION ALL SELECT vm, started_at, nth,"
    "  CASE WHEN proof_at < $4::timestamptz - interval '10 minutes' THEN proof_at END"
    "  FROM vm WHERE phase = 1) AS r"
    " WHERE started_at < $2::timestamptz"
    "  AND (ended_at IS NULL OR ended_at > $1::timestamptz OR started_at >= $1::timestamptz)"
    "  AND ($3 = '' OR vm = $3)"
    " ORDER BY started_at DESC, vm DESC, nth DESC"};

typedef struct Filter {
    const char *from, *to, *vm;
} Filter;

static const Filter FILTERS[] = {
    {NULL, NULL, NULL},
    {"2026-10-10", NULL, NULL},
    {NULL, "2026-10-10T04:00:00Z", NULL},
    {"2026-10-10", "2026-10-12", NULL},
    {"2026-10-10T04:00:00Z", "2026-10-10T04:00:00.000001Z", NULL},
    {"2026-11-05T12:00:00Z", "2026-11-20", NULL},
    {"2026-11-05T01:00:00Z", NULL, NULL},
    {NULL, NULL, "vm-1"},
    {"2026-10-10", "2026-10-30", "vm-2"},
    {NULL, NULL, "open-3"},
    {NULL, NULL, "nobody"},
};

static RunsAsk ask_of(const Filter *f, int limit)
{
    RunsAsk ask = {.account = STR("acme"), .vm = str(f->vm), .limit = limit};
    if ((ask.has_from = f->from != NULL)) ask.from = at(f->from);
    if ((ask.has_to = f->to != NULL)) ask.to = at(f->to);
    return ask;
}

// Goes through all pages; returns how many.
static int check_pages(const Filter *f, int limit, const Now *now, bool arriving)
{
    Str params[] = {str(f->from ? f->from : "-infinity"), str(f->to ? f->to : "infinity"),
                    str(f->vm ? f->vm : ""), param_instant(arena, now->horizon)};
    OWNED_ROWS Rows *expected = NULL;
    OK(db_query(db, &EXPECTED, 4, params, &expected, &error));
    RunsAsk ask = ask_of(f, limit);
    int row = 0, pages = 0;
    for (bool more = true; more; pages++) {
        RunView *run = NULL;
        size_t count = 0;
        OK(runs_page(db, catalog, now, &ask, arena, &run, &count, &more, &error));
        ck_assert(count <= (size_t)limit && (!more || count == (size_t)limit));
        for (size_t i = 0; i < count; i++, row++) {
            ck_assert_int_lt(row, rows_count(expected));
            ck_assert(str_equal(run[i].vm, rows_str(expected, row, 0)));
            ck_assert_int_eq(run[i].start.us, rows_instant(expected, row, 1).us);
            ck_assert_int_eq(run[i].nth, rows_int(expected, row, 2));
            ck_assert_int_eq(run[i].open, rows_null(expected, row, 3));
            if (!run[i].open) ck_assert_int_eq(run[i].end.us, rows_instant(expected, row, 3).us);
        }
        if (count)
            ask.after = (RunKey){run[count - 1].start, run[count - 1].vm, run[count - 1].nth};
        ask.has_after = true;
        if (arriving) // newer than all
            script(
                "INSERT INTO run SELECT 'acme', max(started_at) + interval '1 hour', 'new', 0,"
                " max(started_at) + interval '2 hours', 1, NULL, 'nano', 60, 600 FROM run");
    }
    ck_assert_int_eq(row, rows_count(expected));
    return pages;
}

START_TEST(pages)
{
    Now now = {at("2026-11-10T12:00:00Z"), at("2026-11-10T12:00:00Z"), false};
    for (size_t i = 0; i < sizeof FILTERS / sizeof *FILTERS; i++) {
        check_pages(&FILTERS[i], 1, &now, false);
        check_pages(&FILTERS[i], 7, &now, false);
        ck_assert_int_eq(check_pages(&FILTERS[i], RUNS_PAGE_MAX, &now, false), 1);
    }
    ck_assert_int_gt(check_pages(&FILTERS[0], 50, &now, true), 10);
}
END_TEST

START_TEST(open_ones)
{
    Now now = {at("2026-11-02T00:10:01Z"), at("2026-11-02T00:10:01Z"), false};
    RunsAsk ask = ask_of(&(Filter){NULL, NULL, "open-1"}, 10);
    RunView *run = NULL;
    size_t count;
    bool more;
    OK(runs_page(db, catalog, &now, &ask, arena, &run, &count, &more, &error));
    ck_assert(count == 1 && run[0].open && run[0].minutes == 11 && run[0].cm.cm == 110 && !more);
    now.horizon = INSTANT_MIN; // a partition without progress
    OK(runs_page(db, catalog, &now, &ask, arena, &run, &count, &more, &error));
    ck_assert(count == 1 && run[0].open && run[0].minutes == 0);
    now.horizon = at("2026-12-01"); // by then 3 was lost
    ask.vm = STR("open-3");
    OK(runs_page(db, catalog, &now, &ask, arena, &run, &count, &more, &error));
    ck_assert(count == 1 && !run[0].open && run[0].by == ENDED_HEARTBEAT_LOST);
    ck_assert_int_eq(run[0].minutes, 60);
}
END_TEST

// ---- slices ----
typedef struct Gathered {
    UsageRow *row;
    size_t count, at, calls;
} Gathered;

static Status compare(void *context, const UsageRow *rows, size_t count, Error *e)
{
    (void)e;
    Gathered *g = context;
    ck_assert_uint_gt(count, 0);
    for (size_t i = 0; i < count; i++, g->at++) {
        const UsageRow *a = &rows[i], *b = &g->row[g->at];
        ck_assert_uint_lt(g->at, g->count);
        ck_assert(a->start.us == b->start.us && a->end.us == b->end.us && a->size == b->size);
        ck_assert(str_equal(a->vm, b->vm) && a->minutes == b->minutes && a->cm.cm == b->cm.cm);
    }
    g->calls++;
    return ST_OK;
}

static const char *const SPANS[][2] = {
    {"2026-10-01", "2026-11-01"},
    {"2026-09-01", "2027-02-01"},
    {"2026-10-03T07:30:30.5Z", "2026-12-04T11:11:11Z"},
    {"2026-10-03T07:30:30.5Z", "2026-10-03T09:00:00Z"},
    {"2000-01-01", "2199-12-31T23:59:59Z"},
    {"2026-10-31T23:00:00Z", "2026-11-01T01:00:00Z"},
    {"2026-09-01", "2026-09-02"},
};

// The day totals that metering would have kept, from usage by day of the runs themselves.
static void fill_days(const Now *now)
{
    UsageRow *row = NULL;
    size_t count;
    script("UPDATE vm SET listed = false");
    OK(usage_rows(db, catalog, now, STR("acme"), at("2026-09-01T00:00:01Z"), at("2027-03-01"),
                  WINDOW_DAY, GROUP_SIZE, arena, &row, &count, &error));
    ck_assert_uint_gt(count, 100);
    for (size_t i = 0; i < count; i++) {
        OWNED_BUF Buf sql = {0};
        char day[DAY_TEXT];
        buf_addf(&sql, "INSERT INTO usage_day VALUES ('acme', '%s', '%s', %lld)",
                 day_format(instant_day(row[i].start), day), catalog->size_names[row[i].size],
                 (long long)row[i].minutes);
        script(sql.p);
    }
    script("UPDATE vm SET listed = true");
}

START_TEST(slices)
{
    Now now = {at("2026-12-20T12:34:56Z"), at("2026-12-20T12:34:56Z"), false};
    fill_days(&now);
    for (size_t s = 0; s < sizeof SPANS / sizeof *SPANS; s++)
        for (int window = WINDOW_HOUR; window <= WINDOW_TOTAL; window++)
            for (int group = GROUP_NONE; group <= GROUP_VM; group++) {
                Gathered g = {0};
                Instant from = at(SPANS[s][0]), to = at(SPANS[s][1]);
                arena_reset(arena);
                OK(usage_rows(db, catalog, &now, STR("acme"), from, to, (UsageWindow)window,
                              (UsageGroup)group, arena, &g.row, &g.count, &error));
                OK(usage_slices(db, catalog, &now, STR("acme"), from, to, (UsageWindow)window,
                                (UsageGroup)group, compare, &g, &error));
                ck_assert_msg(g.at == g.count, "%s to %s, window %d, group %d: %zu of %zu rows",
                              SPANS[s][0], SPANS[s][1], window, group, g.at, g.count);
                if (s == 1 && window == WINDOW_HOUR && group == GROUP_VM)
                    ck_assert_uint_gt(g.calls, 1);
            }
}
END_TEST

static Status enough(void *context, const UsageRow *rows, size_t count, Error *e)
{
    (void)rows;
    size_t *seen = context;
    *seen += count;
    return error_set(e, ST_REFUSED, "enough");
}

START_TEST(slices_end)
{
    Now now = {at("2026-12-20"), at("2026-12-20"), false};
    size_t seen = 0;
    fill_days(&now);
    ck_assert_int_eq(usage_slices(db, catalog, &now, STR("acme"), at("2026-10-01"),
                                  at("2026-12-01"), WINDOW_MONTH, GROUP_VM, enough, &seen, &error),
                     ST_REFUSED);
    ck_assert_uint_gt(seen, 0);
}
END_TEST

START_TEST(per_hour)
{
    Now now = {at("2026-11-12"), at("2026-11-12"), false};
    int64_t nanos = 0;
    OK(runs_per_hour(db, catalog, &now, STR("acme"), &nanos, &error));
    // Of 40 VMs, 5 do not run, and of the others 12 were lost long ago.
    ck_assert_int_eq(nanos, (40 - 5 - 12) * 10);
    OK(runs_per_hour(db, catalog, &now, STR("nobody"), &nanos, &error));
    ck_assert_int_eq(nanos, 0);
}
END_TEST

int main(void)
{
    server = getenv("TALLY_TEST_DATABASE_URL");
    if (!server) {
        printf("TALLY_TEST_DATABASE_URL names no PostgreSQL\n");
        return 77;
    }
    TCase *tests = tcase_create("runs");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, pages);
    tcase_add_test(tests, open_ones);
    tcase_add_test(tests, slices);
    tcase_add_test(tests, slices_end);
    tcase_add_test(tests, per_hour);
    Suite *suite = suite_create("runs");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
