// SPDX-License-Identifier: Apache-2.0
// Proves that the desk answers every ask once, in order, and in time, whatever the database does:
// quota, billing and the database are stand-ins here that can be held, fail, or be away. And that
// credits are kept no longer than they hold.
#include "api/desk.h"
#include "api/kept.h"
#include "base/log.h"
#include "billing/credits.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>

enum { CALLS_MAX = DESK_QUEUE_MAX + 100, DEADLINE_MS = 400, PATIENCE_MS = 10000 };

// ---- the stand-ins ----
struct Db {
    bool lost;
};
typedef struct Answered {
    int times;
    int status; // 201, 503, or what call_problem and call_failed make of it
    int place;  // in order of answering
    Ask ask;
    int64_t ms; // when
} Answered;

static struct World {
    pthread_mutex_t lock;
    bool away;      // the database cannot be reached
    bool held;      // decisions do not end
    int retries;    // so many decisions end with ST_RETRY first
    char poison[8]; // this VM's ask spoils its transaction
    bool needs_credits;
    Status credits_status;
    bool credits_held;
    Credits credits;
    int64_t version;
    int decisions, reckonings, connects, most, again, order_broken;
    int64_t last_vm;
    int answers;
    Call call[CALLS_MAX];
    Answered answered[CALLS_MAX];
} world;

static void enter(void) { ASSERT(pthread_mutex_lock(&world.lock) == 0); }
static void leave(void) { ASSERT(pthread_mutex_unlock(&world.lock) == 0); }

Status db_another(const Db *db, Db **out, Error *error)
{
    (void)db;
    enter();
    bool away = world.away;
    if (!away) world.connects++;
    leave();
    if (away) return error_set(error, ST_RETRY, "away");
    *out = mem_alloc(sizeof **out);
    return ST_OK;
}

Status db_reopen(Db *db, Error *error)
{
    enter();
    bool away = world.away;
    if (!away) world.connects++;
    leave();
    if (away) return error_set(error, ST_RETRY, "away");
    db->lost = false;
    return ST_OK;
}

bool db_lost(const Db *db) { return db->lost; }
bool db_gone(Db *db) { return db->lost; }
void db_deadline(Db *db, int64_t ms)
{
    (void)db;
    ck_assert_int_eq(ms, DEADLINE_MS);
}
void db_close(Db *db) { free(db); }
Quota *quota_new(const QuotaConfig *config)
{
    (void)config;
    return mem_alloc(1);
}
void quota_free(Quota *quota) { free(quota); }
Status quota_attend(Db *db, Error *error)
{
    (void)db;
    (void)error;
    return ST_OK;
}

static void decide_one(Ask *ask)
{
    bool usable = ask->has_credits && (ask->credits_fresh || ask->credits.version == world.version);
    ask->version = world.version;
    ask->result = ASKED_GRANTED;
    if (world.needs_credits && !usable) ask->result = ASKED_NEEDS_CREDITS;
    world.again += ask->again;
    int64_t vm;
    ck_assert(str_to_int(ask->vm, &vm));
    if (vm < world.last_vm) world.order_broken++;
    world.last_vm = vm;
}

Status quota_decide(Quota *quota, Db *db, Ask *asks, size_t n, Error *error)
{
    (void)quota;
    ck_assert(n > 0 && n <= QUOTA_ASKS_MAX);
    for (bool held = true; held;) {
        enter();
        held = world.held;
        leave();
        if (held) clock_sleep_ms(1);
    }
    enter();
    Status status = ST_OK;
    world.decisions++;
    if ((int)n > world.most) world.most = (int)n;
    for (size_t i = 0; i < n; i++)
        if (str_is(asks[i].vm, world.poison)) status = error_set(error, ST_FATAL, "poison");
    if (world.retries > 0) {
        world.retries--;
        db->lost = true;
        status = error_set(error, ST_RETRY, "lost");
    }
    for (size_t i = 0; i < n && status == ST_OK; i++) decide_one(&asks[i]);
    leave();
    return status;
}

Status credits_read(Db *db, Str account, const Instant *as_of, Arena *arena, CreditsView *out,
                    Error *error)
{
    (void)db;
    (void)account;
    (void)as_of;
    (void)arena;
    for (bool held = true; held;) {
        enter();
        held = world.credits_held;
        leave();
        if (held) clock_sleep_ms(1);
    }
    enter();
    world.reckonings++;
    out->credits = world.credits;
    out->credits.version = world.version;
    Status status = world.credits_status;
    leave();
    return status == ST_OK ? ST_OK : error_set(error, status, "credits");
}

static void answered(Call *call, int status, const Ask *ask)
{
    enter();
    Answered *a = &world.answered[call - world.call];
    a->times++;
    a->status = status;
    a->place = world.answers++;
    a->ms = clock_monotonic_ms();
    if (ask) a->ask = *ask;
    leave();
}

void call_problem(Call *call, Problem problem, const char *members, int retry_after_s,
                  const char *format, ...)
{
    (void)members;
    ck_assert_int_eq(retry_after_s, 1);
    ck_assert(format[0] != '\0');
    answered(call, problem == PROBLEM_BUSY ? 1503 : problem == PROBLEM_UNAVAILABLE ? 503 : 0, NULL);
}
void call_failed(Call *call, Status status, const Error *error)
{
    ck_assert_int_eq(status, error->status);
    answered(call, 500, NULL);
}
static void on_answer(Call *call, const Ask *ask)
{
    answered(call, ask->result == ASKED_NO_ACCOUNT ? 404 : 201, ask);
}

// ---- around each test ----
static Desk *desk;
static Metrics *metrics;

static void open_desk(void)
{
    static Buf log;
    memset(&world, 0, sizeof world);
    ck_assert_int_eq(pthread_mutex_init(&world.lock, NULL), 0);
    world.poison[0] = '!';
    world.credits.remaining_e4 = 10000;
    log_to(&log);
    metrics = metrics_new();
    DeskConfig config = {.deadline_ms = DEADLINE_MS, .metrics = metrics};
    Error error;
    ck_assert_int_eq(desk_start(&config, &desk, &error), ST_OK);
}

static void close_desk(void)
{
    if (desk) desk_stop(desk);
    desk = NULL;
    metrics_free(metrics);
    ck_assert_int_eq(pthread_mutex_destroy(&world.lock), 0);
}

static void ask_one(int i, const char *account, AskKind kind, bool credits)
{
    char vm[16], own[16]; // gone when the ask is decided: the desk keeps its own
    snprintf(vm, sizeof vm, "%d", i);
    snprintf(own, sizeof own, "%s", account);
    Ask ask = {.kind = kind, .account = str(own), .vm = str(vm)};
    desk_ask(desk, &world.call[i], &ask, credits, on_answer);
    memset(vm, 'x', sizeof vm);
    memset(own, 'x', sizeof own);
}

static void ask_many(int from, int to)
{
    for (int i = from; i < to; i++) ask_one(i, "acme", ASK_RESERVE, false);
}

static int answers(void)
{
    enter();
    int n = world.answers;
    leave();
    return n;
}

static void wait_answers(int n)
{
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    while (answers() < n && clock_monotonic_ms() < end) clock_sleep_ms(1);
    ck_assert_int_eq(answers(), n);
}

static void check_all(int from, int to, int status)
{
    for (int i = from; i < to; i++) {
        const Answered *a = &world.answered[i];
        ck_assert_msg(a->times == 1 && a->status == status, "call %d: %d times, %d", i, a->times,
                      a->status);
    }
}

static void set_bool(bool *what, bool value)
{
    enter();
    *what = value;
    leave();
}

// ---- tests ----
START_TEST(in_order_and_together)
{
    world.held = true;
    ask_many(0, 1000);
    set_bool(&world.held, false);
    wait_answers(1000);
    check_all(0, 1000, 201);
    for (int i = 0; i < 1000; i++) ck_assert_int_eq(world.answered[i].place, i);
    ck_assert_int_eq(world.order_broken, 0);
    ck_assert_int_eq(world.most, QUOTA_ASKS_MAX);
    ck_assert_int_le(world.decisions, 6);
}
END_TEST

static void *ask_from_thread(void *context)
{
    int from = *(int *)context;
    for (int i = from; i < from + 1000; i++) ask_one(i, "acme", ASK_RESERVE, false);
    return NULL;
}

START_TEST(from_many_threads)
{
    pthread_t thread[8];
    int from[8];
    for (int i = 0; i < 8; i++) {
        from[i] = i * 1000;
        ck_assert_int_eq(pthread_create(&thread[i], NULL, ask_from_thread, &from[i]), 0);
    }
    for (int i = 0; i < 8; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    wait_answers(8000);
    check_all(0, 8000, 201);
}
END_TEST

START_TEST(asked_again)
{
    world.held = true;
    world.retries = 3;
    ask_many(0, 100);
    set_bool(&world.held, false);
    wait_answers(100);
    check_all(0, 100, 201);
    for (int i = 0; i < 100; i++) ck_assert_int_eq(world.answered[i].place, i);
    ck_assert_int_ge(world.again, 1);
    ck_assert_int_eq(world.order_broken, 0);
    ck_assert_int_ge(world.connects, 4); // two at first
}
END_TEST

START_TEST(stuck)
{
    world.held = true;
    int64_t begun = clock_monotonic_ms();
    ask_many(0, 600); // more than one transaction's
    wait_answers(600);
    check_all(0, 600, 503);
    for (int i = 0; i < 600; i++) {
        ck_assert_int_ge(world.answered[i].ms - begun, DEADLINE_MS);
        ck_assert_int_le(world.answered[i].ms - begun, DEADLINE_MS + 300);
    }
    set_bool(&world.held, false);
    ask_many(600, 700);
    wait_answers(700);
    check_all(0, 600, 503);
    check_all(600, 700, 201);
}
END_TEST

START_TEST(away_and_back)
{
    enter();
    world.away = true;
    world.retries = 1; // it is lost with the first decision
    leave();
    ask_many(0, 10);
    wait_answers(10);
    check_all(0, 10, 503);
    set_bool(&world.away, false);
    ask_many(10, 20);
    wait_answers(20);
    check_all(10, 20, 201);
}
END_TEST

START_TEST(one_spoils_only_its_own)
{
    world.held = true;
    snprintf(world.poison, sizeof world.poison, "57");
    ask_many(0, 200);
    set_bool(&world.held, false);
    wait_answers(200);
    check_all(0, 57, 201);
    check_all(57, 58, 500);
    check_all(58, 200, 201);
    ask_many(200, 300);
    wait_answers(300);
    check_all(200, 300, 201);
}
END_TEST

START_TEST(full)
{
    world.held = true;
    ask_many(0, DESK_QUEUE_MAX + 50);
    ck_assert_int_eq(answers(), 50);
    check_all(DESK_QUEUE_MAX, DESK_QUEUE_MAX + 50, 1503);
    set_bool(&world.held, false);
    wait_answers(DESK_QUEUE_MAX + 50);
    for (int i = 0; i < DESK_QUEUE_MAX; i++) ck_assert_int_eq(world.answered[i].times, 1);
}
END_TEST

START_TEST(stopped)
{
    world.held = world.credits_held = true;
    ask_many(0, 10);
    for (int i = 10; i < 20; i++) ask_one(i, "acme", ASK_QUOTA, true);
    clock_sleep_ms(20);
    set_bool(&world.held, false);
    set_bool(&world.credits_held, false);
    desk_stop(desk);
    desk = NULL;
    for (int i = 0; i < 20; i++) ck_assert_int_eq(world.answered[i].times, 1);
}
END_TEST

START_TEST(credits_once_for_all)
{
    world.needs_credits = world.held = world.credits_held = true;
    ask_many(0, 100);
    set_bool(&world.held, false);
    clock_sleep_ms(50);
    set_bool(&world.credits_held, false);
    wait_answers(100);
    check_all(0, 100, 201);
    for (int i = 0; i < 100; i++) ck_assert(world.answered[i].ask.has_credits);
    // Those that came after reckoning began are reckoned for anew, so up to twice.
    ck_assert_int_le(world.reckonings, 2);
    int before = world.reckonings;
    ask_many(100, 200); // kept, and still right
    wait_answers(200);
    ck_assert_int_eq(world.reckonings, before);
    enter();
    world.version = 7; // usage has changed
    leave();
    ask_many(200, 300);
    wait_answers(300);
    ck_assert_int_gt(world.reckonings, before);
    ck_assert_int_eq(world.answered[299].ask.credits.version, 7);
}
END_TEST

START_TEST(quota_is_reckoned_fresh)
{
    for (int i = 0; i < 3; i++) {
        ask_one(i, "acme", ASK_QUOTA, true);
        wait_answers(i + 1);
        ck_assert(world.answered[i].ask.credits_fresh);
        ck_assert_int_eq(world.reckonings, i + 1);
    }
    enter();
    world.credits_status = ST_MISSING;
    leave();
    ask_one(3, "nobody", ASK_QUOTA, true);
    wait_answers(4);
    check_all(3, 4, 404);
    enter();
    world.credits_status = ST_FATAL;
    leave();
    ask_one(4, "acme", ASK_QUOTA, true);
    wait_answers(5);
    check_all(4, 5, 500);
    enter();
    world.credits_status = ST_RETRY;
    leave();
    ask_one(5, "acme", ASK_QUOTA, true);
    wait_answers(6);
    check_all(5, 6, 503);
}
END_TEST

// ---- kept credits ----
typedef struct KeptRow {
    const char *label;
    int64_t remaining_e4, per_hour;
    bool reached, rising;
    const char *run_out_at;
    int64_t after_ms; // when it is asked for, reckoned at 2026-10-31T23:00:00Z
    bool there;
} KeptRow;
static const KeptRow KEPT[] = {
    {"at once", 1, 0, 0, 0, NULL, 0, true},
    {"30 s", 1, 0, 0, 0, NULL, 30000, true},
    {"longer", 1, 0, 0, 0, NULL, 30001, false},
    {"used up", 0, 0, 0, 0, NULL, 1000, true},
    {"used up, longer", 0, 0, 0, 0, NULL, 1001, false},
    {"used up, long ago", 0, 5, 0, 0, "2026-10-01T00:00:00Z", 1000, true},
    {"spend reached", 1, 0, true, true, NULL, 1001, false},
    {"spend rising", 1, 5, 0, true, NULL, 1001, false},
    {"spend limit, nothing runs", 1, 0, 0, true, NULL, 30000, true},
    {"runs out much later", 1, 5, 0, 0, "2026-10-31T23:10:00Z", 30000, true},
    {"runs out soon", 1, 5, 0, 0, "2026-10-31T23:02:10Z", 9999, true},
    {"runs out too soon", 1, 5, 0, 0, "2026-10-31T23:02:10Z", 10000, false},
};

static Instant at(const char *text)
{
    Instant instant;
    ck_assert(instant_parse(str(text), &instant));
    return instant;
}

START_TEST(kept_while_it_holds)
{
    const KeptRow *row = &KEPT[_i];
    Kept *kept = kept_new();
    Credits credits = {.version = 3,
                       .remaining_e4 = row->remaining_e4,
                       .per_hour = row->per_hour,
                       .spend_reached = row->reached,
                       .spend_rising = row->rising,
                       .runs_out = row->run_out_at != NULL};
    if (row->run_out_at) credits.run_out_at = at(row->run_out_at);
    Instant wall = at("2026-10-31T23:00:00Z");
    kept_put(kept, STR("acme"), &credits, 5, wall);
    wall = instant_add_us(wall, row->after_ms * 1000);
    const Credits *got = kept_get(kept, STR("acme"), 5 + row->after_ms, wall);
    ck_assert_msg((got != NULL) == row->there, "%s", row->label);
    if (got) ck_assert_int_eq(got->version, 3);
    ck_assert_ptr_null(kept_get(kept, STR("acm"), 5, wall));
    kept_free(kept);
}
END_TEST

START_TEST(kept_until_midnight)
{
    Kept *kept = kept_new();
    Credits credits = {.remaining_e4 = 1};
    kept_put(kept, STR("acme"), &credits, 0, at("2026-10-31T23:59:59Z"));
    ck_assert_ptr_nonnull(kept_get(kept, STR("acme"), 0, at("2026-10-31T23:59:59.9Z")));
    ck_assert_ptr_null(kept_get(kept, STR("acme"), 0, at("2026-11-01T00:00:00Z")));
    kept_free(kept);
}
END_TEST

START_TEST(kept_is_bounded)
{
    Kept *kept = kept_new();
    char name[32];
    int there = 0;
    for (int i = 0; i < 100000; i++) {
        Credits credits = {.remaining_e4 = 1, .version = i};
        snprintf(name, sizeof name, "account-%d", i);
        kept_put(kept, str(name), &credits, i, INSTANT_MIN);
        const Credits *got = kept_get(kept, str(name), i, INSTANT_MIN);
        ck_assert(got && got->version == i);
    }
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "account-%d", i);
        const Credits *got = kept_get(kept, str(name), i, INSTANT_MIN);
        ck_assert(!got || got->version == i);
        there += got != NULL;
    }
    ck_assert_int_le(there, KEPT_CREDITS_MAX);
    ck_assert_int_ge(there, KEPT_CREDITS_MAX / 2);
    kept_free(kept);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("desk");
    TCase *tests = tcase_create("desk");
    tcase_add_checked_fixture(tests, open_desk, close_desk);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, in_order_and_together);
    tcase_add_test(tests, from_many_threads);
    tcase_add_test(tests, asked_again);
    tcase_add_test(tests, stuck);
    tcase_add_test(tests, away_and_back);
    tcase_add_test(tests, one_spoils_only_its_own);
    tcase_add_test(tests, full);
    tcase_add_test(tests, stopped);
    tcase_add_test(tests, credits_once_for_all);
    tcase_add_test(tests, quota_is_reckoned_fresh);
    suite_add_tcase(suite, tests);
    TCase *kept = tcase_create("kept");
    tcase_add_loop_test(kept, kept_while_it_holds, 0, sizeof KEPT / sizeof *KEPT);
    tcase_add_test(kept, kept_until_midnight);
    tcase_add_test(kept, kept_is_bounded);
    suite_add_tcase(suite, kept);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
