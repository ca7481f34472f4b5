// SPDX-License-Identifier: Apache-2.0
// Proves on a real PostgreSQL that slots follow asks, events and progress as docs/quota.md says:
// step by step, and over random histories in which the counts are recounted after every step.
#include "catalog/store.h"
#include "meter/meter.h"
#include "meter/rebuild.h"
#include "quota/quota.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

extern const char DEFAULT_CATALOG[];

static const char *server; // TALLY_TEST_DATABASE_URL
static char schema[32];
static Db *db, *meter_connection;
static Meter *meter;
static Quota *quota;
static Error error;
static int nth_event;
static Instant now; // of the database, when the test began
static int32_t origin;

#define OK(call) ck_assert_msg((call) == ST_OK, "%s (%s)", error.text, error.hint)

static Db *open_db(void)
{
    OWNED_BUF Buf url = {0};
    buf_addf(&url, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
             schema);
    Db *opened = NULL;
    OK(db_open(url.p, "test", &opened, &error));
    return opened;
}

// Statements are known by their place: each text has one of its own, prepared once.
static int64_t number(const char *sql)
{
    enum { TEXTS_MAX = 32 };
    static Statement texts[TEXTS_MAX];
    static char names[TEXTS_MAX][16];
    int i = 0;
    while (i < TEXTS_MAX && texts[i].text && strcmp(texts[i].text, sql) != 0) i++;
    ck_assert_int_lt(i, TEXTS_MAX);
    snprintf(names[i], sizeof names[i], "test/%d", i);
    texts[i] = (Statement){names[i], sql};
    OWNED_ROWS Rows *rows = NULL;
    OK(db_query(db, &texts[i], 0, NULL, &rows, &error));
    ck_assert_int_eq(rows_count(rows), 1);
    return rows_int(rows, 0, 0);
}

static void script(const char *sql) { OK(db_script(db, sql, &error)); }

// `free` has 2 slots, `many` a thousand, `open` no limit; lifetime 60 s, delay 60 s.
static void setup(void)
{
    char sql[64];
    int applied;
    snprintf(schema, sizeof schema, "quota_%d", (int)getpid());
    snprintf(sql, sizeof sql, "CREATE SCHEMA %s", schema);
    db = open_db();
    script(sql);
    int64_t revision;
    OK(db_migrate(db, &applied, &error));
    OK(catalog_save(db, str(DEFAULT_CATALOG), &revision, &error));
    script(
        "INSERT INTO account (account, content) SELECT id, jsonb_build_object('id', id, 'name', id,"
        " 'subscriptions', jsonb_build_array(jsonb_build_object('plan', 'scale', 'from', '2025-01-01',"
        " 'overrides', jsonb_build_object('concurrency_limit', slots))))"
        " FROM (VALUES ('free', 2), ('many', 1000), ('open', NULL)) AS a (id, slots)");
    meter_connection = open_db();
    OK(meter_new(meter_connection, NULL, 0, &meter, &error));
    OK(meter_origin_file(meter, "test", &origin, &error));
    quota = quota_new(&(QuotaConfig){.clock_skew_us = -1});
    now.us = number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    OK(quota_attend(db, &error));
}

static void teardown(void)
{
    char sql[64];
    quota_free(quota);
    meter_free(meter);
    db_close(meter_connection);
    snprintf(sql, sizeof sql, "DROP SCHEMA %s CASCADE", schema);
    script(sql);
    db_close(db);
}

// ---- steps ----
static Ask ask(Ask asked)
{
    OK(quota_decide(quota, db, &asked, 1, &error));
    return asked;
}

static Ask reserve(const char *account, const char *vm)
{
    return ask(
        (Ask){.kind = ASK_RESERVE, .account = str(account), .vm = str(vm), .size = STR("nano")});
}

static Ask show(const char *account, const char *vm)
{
    return ask((Ask){.kind = ASK_SHOW, .account = str(account), .vm = str(vm)});
}

static Ask release(const char *account, const char *vm, bool stopped)
{
    return ask(
        (Ask){.kind = ASK_RELEASE, .account = str(account), .vm = str(vm), .stopped = stopped});
}

static Ask counts(const char *account)
{
    return ask((Ask){.kind = ASK_QUOTA, .account = str(account)});
}

// Meters an event, `seconds` after the test began.
static void event(const char *account, const char *vm, const char *type, int64_t seconds,
                  const char *more)
{
    OWNED_BUF Buf text = {0};
    char at[INSTANT_TEXT];
    buf_addf(&text,
             "{\"specversion\":\"1.0\",\"id\":\"e%d\",\"source\":\"/t\",\"type\":\"vm.%s\","
             "\"subject\":\"%s\",\"time\":\"%s\",\"data\":{\"account\":\"%s\"%s}}",
             nth_event++, type, vm,
             instant_format(instant_add_us(now, seconds * US_PER_SECOND), at), account, more);
    Message message = {.value = buf_str(&text)};
    meter_add(meter, &message, &(Standpoint){.origin = origin, .position = nth_event, .place = -1});
    OK(meter_flush(meter, &error));
    const Tally *tally = meter_tally(meter);
    for (int reason = 1; reason < DEAD_REASONS; reason++)
        ck_assert_msg(tally->dead[reason] == 0, "%s: %s", dead_reason_name((DeadReason)reason),
                      text.p);
}

static void start(const char *account, const char *vm, int64_t seconds, const char *reservation)
{
    OWNED_BUF Buf more = {0};
    buf_add_text(&more, ",\"size\":\"nano\"");
    if (reservation) buf_addf(&more, ",\"reservation\":\"%s\"", reservation);
    event(account, vm, "started", seconds, more.p);
}

// From now on progress is the test's to tell: NULL, or seconds after the test began.
static void progress(const int64_t *seconds)
{
    OWNED_BUF Buf sql = {0};
    char at[INSTANT_TEXT];
    Instant when = instant_add_us(now, seconds ? *seconds * US_PER_SECOND : 0);
    buf_addf(
        &sql,
        "INSERT INTO position (topic, partition, next_offset, progress) VALUES ('t', 0, 0, %s%s%s)"
        " ON CONFLICT (topic, partition) DO UPDATE SET progress = excluded.progress",
        seconds ? "'" : "NULL", seconds ? instant_format(when, at) : "", seconds ? "'" : "");
    script(sql.p);
}
#define PROGRESS(seconds) progress(&(int64_t){seconds})

static void check_counts(const char *account, int64_t running, int64_t reserved)
{
    Ask got = counts(account);
    ck_assert_msg(got.running == running && got.reserved == reserved,
                  "%" PRId64 " running and %" PRId64 " reserved, not %" PRId64 " and %" PRId64,
                  got.running, got.reserved, running, reserved);
}

// ---- the table of answers ----
START_TEST(answers)
{
    Ask first = reserve("free", "a");
    ck_assert_int_eq(first.result, ASKED_GRANTED);
    ck_assert_int_eq(first.limit, 2);
    ck_assert_int_eq(first.running + first.reserved, 1);
    ck_assert_int_eq(first.expires_at.us - first.reserved_at.us, 60 * US_PER_SECOND);
    Ask again = reserve("free", "a");
    ck_assert_int_eq(again.result, ASKED_RENEWED);
    ck_assert_str_ne(first.id, again.id);
    ck_assert_int_eq(reserve("free", "b").result, ASKED_GRANTED);
    Ask denied = reserve("free", "c");
    ck_assert_int_eq(denied.result, ASKED_DENIED);
    ck_assert_int_eq(denied.denied, DENY_CONCURRENCY);
    ck_assert_int_eq(reserve("free", "b").result, ASKED_RENEWED);
    ck_assert_int_eq(reserve("none", "a").result, ASKED_NO_ACCOUNT);
    ck_assert_int_eq(show("free", "a").result, ASKED_RENEWED);
    ck_assert_int_eq(show("free", "c").result, ASKED_NO_SLOT);
    ck_assert_int_eq(release("free", "c", false).result, ASKED_NO_SLOT);
    Ask other = ask((Ask){
        .kind = ASK_RELEASE, .account = STR("free"), .vm = STR("a"), .reservation = str(first.id)});
    ck_assert_int_eq(other.result, ASKED_OTHER);
    ck_assert_int_eq(release("free", "a", false).result, ASKED_RELEASED);
    ck_assert_int_eq(reserve("free", "c").result, ASKED_GRANTED);
    ck_assert_int_eq(
        ask((Ask){.kind = ASK_RESERVE, .account = STR("free"), .vm = STR("c"), .size = STR("huge")})
            .result,
        ASKED_NO_SIZE);
    Ask sized = ask((Ask){.kind = ASK_RESERVE,
                          .account = STR("open"),
                          .vm = STR("c"),
                          .millicpu = 3000,
                          .memory_bytes = 1});
    ck_assert_str_eq(sized.size_name, "micro");
    ck_assert_int_lt(sized.limit, 0);
    check_counts("free", 0, 2);
}
END_TEST

START_TEST(many_in_one)
{
    Ask asks[6] = {0};
    const char *const vms[] = {"a", "b", "a", "c", "d", "b"};
    for (int i = 0; i < 6; i++)
        asks[i] = (Ask){
            .kind = ASK_RESERVE, .account = STR("free"), .vm = str(vms[i]), .size = STR("Nano")};
    asks[4].account = STR("many");
    OK(quota_decide(quota, db, asks, 6, &error));
    const AskResult expected[] = {ASKED_GRANTED, ASKED_GRANTED, ASKED_RENEWED,
                                  ASKED_DENIED,  ASKED_GRANTED, ASKED_RENEWED};
    for (int i = 0; i < 6; i++) ck_assert_msg(asks[i].result == expected[i], "ask %d", i);
    ck_assert_str_eq(show("free", "a").id, asks[2].id);
    check_counts("free", 0, 2);
    check_counts("many", 0, 1);
}
END_TEST

// ---- starts ----
START_TEST(starts)
{
    Ask a = reserve("free", "a");
    start("free", "a", 1, a.id);
    check_counts("free", 1, 0);
    ck_assert(show("free", "a").runs && !show("free", "a").has_reservation);
    ck_assert_int_eq(release("free", "a", false).result, ASKED_RUNS);
    ck_assert_int_eq(reserve("free", "b").result, ASKED_GRANTED);
    start("free", "b", -6, NULL); // older than the skew allows
    check_counts("free", 2, 0);
    ck_assert(show("free", "b").has_reservation);
    event("free", "b", "stopped", -5, "");
    check_counts("free", 1, 1); // the end of a run ends no reservation
    start("free", "b", -4, "another");
    ck_assert(show("free", "b").has_reservation);
    start("free", "b", 1, NULL);
    ck_assert(!show("free", "b").has_reservation);
    check_counts("free", 2, 0);
}
END_TEST

START_TEST(resume)
{
    Ask first = reserve("free", "a");
    start("free", "a", 1, first.id);
    Ask second = reserve("free", "a"); // it is to resume; its hibernation lies unread
    ck_assert_int_eq(second.result, ASKED_RENEWED);
    check_counts("free", 1, 0);
    event("free", "a", "hibernated", 2, "");
    check_counts("free", 0, 1);
    Ask third = reserve("free", "a");
    start("free", "a", 3, second.id); // an id that was replaced uses nothing up
    ck_assert_str_eq(show("free", "a").id, third.id);
    event("free", "a", "hibernated", 4, "");
    check_counts("free", 0, 1);
    start("free", "a", 5, third.id);
    check_counts("free", 1, 0);
}
END_TEST

// ---- time ----
START_TEST(expiry)
{
    progress(NULL);
    Ask a = reserve("free", "a");
    script(
        "UPDATE reservation SET lapses_at = lapses_at - interval '1 hour';"
        "UPDATE quota SET lapse_at = lapse_at - interval '1 hour'");
    ck_assert_int_eq(show("free", "a").result, ASKED_RENEWED); // a partition without progress
    PROGRESS(-3600 + 100);
    ck_assert_int_eq(show("free", "a").result, ASKED_RENEWED);
    PROGRESS(-3600 + 125);
    check_counts("free", 0, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM reservation"), 0);
    ck_assert_int_eq(reserve("free", "a").result, ASKED_GRANTED);
    ck_assert_str_ne(show("free", "a").id, a.id);
}
END_TEST

// Reservations of several accounts lapse in the transaction that finds a run of one of them lost.
START_TEST(lapses_together)
{
    PROGRESS(-2990);
    start("free", "a", -3000, NULL);
    event("free", "a", "heartbeat", -2995, "");
    ck_assert_int_eq(reserve("free", "a").result, ASKED_RENEWED);
    ck_assert_int_eq(reserve("many", "z").result, ASKED_GRANTED);
    script(
        "UPDATE reservation SET lapses_at = lapses_at - interval '1 hour';"
        "UPDATE quota SET lapse_at = lapse_at - interval '1 hour'");
    PROGRESS(-100);
    Ask asks[] = {{.kind = ASK_QUOTA, .account = STR("free")},
                  {.kind = ASK_QUOTA, .account = STR("many")}};
    OK(quota_decide(quota, db, asks, 2, &error));
    for (int i = 0; i < 2; i++) ck_assert_int_eq(asks[i].running + asks[i].reserved, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM reservation"), 0);
}
END_TEST

// Progress never goes back; a clock that was set back may be behind it for a while.
START_TEST(clock_set_back)
{
    PROGRESS(3600);
    ck_assert_int_eq(reserve("free", "a").result, ASKED_GRANTED);
    ck_assert_int_eq(show("free", "a").result, ASKED_RENEWED);
    PROGRESS(3600 + 115);
    check_counts("free", 0, 1);
    PROGRESS(3600 + 125);
    check_counts("free", 0, 0);
}
END_TEST

START_TEST(vouches)
{
    PROGRESS(0);
    start("free", "a", 0, NULL);
    start("free", "b", 0, NULL);
    ck_assert_int_eq(reserve("free", "c").result, ASKED_DENIED);
    ck_assert_int_eq(release("free", "a", true).result, ASKED_RELEASED);
    check_counts("free", 1, 0);
    ck_assert_int_eq(show("free", "a").result, ASKED_NO_SLOT);
    ck_assert_int_eq(reserve("free", "c").result, ASKED_GRANTED);
    PROGRESS(70);
    check_counts("free", 2, 1); // no end was metered: it counts again
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.quota.exceeded'"), 1);
    ck_assert_int_eq(release("free", "a", true).result, ASKED_RELEASED);
    event("free", "a", "stopped", 1, "");
    check_counts("free", 1, 1);
    ck_assert_int_eq(number("SELECT count(*) FROM uncounted"), 0);
    // Of a start that lies unread when the orchestrator vouches.
    reserve("many", "v");
    ck_assert_int_eq(release("many", "v", true).result, ASKED_RELEASED);
    start("many", "v", -20, NULL);
    check_counts("many", 0, 0);
    ck_assert_int_eq(reserve("many", "v").result, ASKED_GRANTED);
    start("many", "v", 2, NULL); // a new one, with the reservation made after the call
    check_counts("many", 1, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM uncounted"), 0);
}
END_TEST

// Two machines are never started for one slot, though a VM counts that gave its slot away.
START_TEST(doubts)
{
    PROGRESS(0);
    start("free", "x", 0, NULL);
    reserve("free", "a"); // starts, hibernates: both lie unread
    Ask resumed = reserve("free", "a");
    ck_assert_int_eq(resumed.result, ASKED_RENEWED);
    ck_assert_int_eq(release("free", "a", false).result, ASKED_RELEASED); // it could not resume
    Ask b = reserve("free", "b");
    ck_assert_int_eq(b.result, ASKED_GRANTED);
    start("free", "a", 1, NULL);
    check_counts("free", 2, 1); // one more than there are machines
    ck_assert_int_eq(reserve("free", "a").result, ASKED_DENIED);
    ck_assert_int_eq(reserve("free", "x").result, ASKED_RENEWED);
    ck_assert_int_eq(release("free", "b", false).result, ASKED_RELEASED);
    ck_assert_int_eq(reserve("free", "a").result, ASKED_RENEWED); // within the limit, it may
    event("free", "a", "hibernated", 2, "");
    check_counts("free", 1, 1);
    // A vouch that runs out before the end is metered.
    start("free", "a", 3, NULL);
    ck_assert_int_eq(release("free", "a", true).result, ASKED_RELEASED);
    ck_assert_int_eq(reserve("free", "b").result, ASKED_GRANTED);
    PROGRESS(70);
    ck_assert_int_eq(reserve("free", "a").result, ASKED_DENIED);
    event("free", "a", "hibernated", 4, "");
    ck_assert_int_eq(number("SELECT count(*) FROM doubt WHERE vm = 'a'"), 0);
    // Who started without asking is renewed, as the rules have it.
    for (int i = 0; i < 3; i++) start("free", (const char *[]){"u", "v", "w"}[i], 5, NULL);
    ck_assert_int_eq(reserve("free", "u").result, ASKED_RENEWED);
}
END_TEST

START_TEST(losses)
{
    start("free", "a", -3000, NULL);
    event("free", "a", "heartbeat", -2000, "");
    start("free", "b", -3000, NULL);
    event("free", "b", "heartbeat", -10, "");
    check_counts("free", 1, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.run.lost'"), 1);
    check_counts("free", 1, 0);
    event("free", "a", "heartbeat", -1900, ""); // late, and still too old
    check_counts("free", 1, 0);
    event("free", "a", "heartbeat", -1400, "");
    event("free", "a", "heartbeat", -800, "");
    event("free", "a", "heartbeat", -300, "");
    check_counts("free", 2, 0);
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.run.recovered'"), 1);
    event("free", "a", "hibernated", -200, "");
    check_counts("free", 1, 0);
    int64_t lapsed;
    OK(quota_sweep(quota, db, &lapsed, &error));
    ck_assert_int_eq(number("SELECT count(*) FROM uncounted"), 0);
}
END_TEST

START_TEST(exceeded)
{
    for (int i = 0; i < 3; i++) start("free", (const char *[]){"a", "b", "c"}[i], 0, NULL);
    Ask got = counts("free");
    ck_assert_int_eq(got.running, 3);
    ck_assert_uint_eq(got.reasons, DENY_CONCURRENCY);
    start("free", "d", 0, NULL);
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.quota.exceeded'"), 1);
    event("free", "d", "stopped", 1, "");
    event("free", "c", "stopped", 1, "");
    start("free", "c", 2, NULL);
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.quota.exceeded'"), 2);
    start("free", "c", 3, NULL); // CLEAN: nobody is told
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.run.superseded'"), 0);
    event("free", "c", "started", 4, ",\"size\":\"nano\",\"bootup\":\"RESUME\"");
    ck_assert_int_eq(number("SELECT count(*) FROM notice WHERE type = 'tally.run.superseded'"), 1);
}
END_TEST

START_TEST(restored)
{
    script("UPDATE instance SET identity = 'another'");
    OK(quota_attend(db, &error));
    ck_assert_int_eq(reserve("free", "a").result, ASKED_CATCHING_UP);
    PROGRESS(100);
    ck_assert_int_eq(reserve("free", "a").result, ASKED_CATCHING_UP);
    OK(quota_attend(db, &error)); // recognised once
    PROGRESS(130);
    ck_assert_int_eq(reserve("free", "a").result, ASKED_GRANTED);
}
END_TEST

// ---- random histories ----
static uint64_t seed;

static int64_t pick(int64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int64_t)(seed % (uint64_t)n);
}

static const char RECOUNT[] =
    "SELECT count(*) FROM quota q JOIN ("
    " SELECT a.account, count(*) FILTER (WHERE s.runs) AS running,"
    "        count(*) FILTER (WHERE NOT s.runs AND s.reserved) AS reserved"
    " FROM account a LEFT JOIN ("
    "  SELECT account, vm, coalesce(v.phase = 1, false) AND u.vm IS NULL AS runs, r.vm IS NOT NULL AS reserved"
    "  FROM vm v FULL JOIN reservation r USING (account, vm) LEFT JOIN uncounted u USING (account, vm)) s"
    "  USING (account) GROUP BY a.account) c USING (account)"
    " WHERE q.running <> c.running OR q.reserved <> c.reserved";

static void random_step(int64_t *progressed)
{
    static const char *const accounts[] = {"free", "many"};
    static const char *const vms[] = {"a", "b", "c", "d"};
    static const char *const ends[] = {"stopped", "hibernated"};
    const char *account = accounts[pick(2)], *vm = vms[pick(4)];
    int64_t when = pick(300) - 200;
    switch (pick(9)) {
    case 0: (void)reserve(account, vm); break;
    case 1: (void)release(account, vm, false); break;
    case 2: (void)release(account, vm, true); break;
    case 3: {
        Ask shown = show(account, vm);
        start(account, vm, when, pick(2) && shown.has_reservation ? shown.id : NULL);
        break;
    }
    case 4:
    case 5: event(account, vm, ends[pick(2)], when, ""); break;
    case 6: event(account, vm, "heartbeat", when - pick(2) * 900, ""); break;
    case 7: {
        OWNED_BUF Buf more = {0};
        buf_addf(&more, ",\"source\":\"/t\",\"id\":\"e%d\"", (int)pick(nth_event + 1));
        event(account, vm, "retracted", when, more.p);
        break;
    }
    default: *progressed += pick(60); PROGRESS(*progressed);
    }
}

// ---- another catalogue ----
static Status apply_catalog(Db *connection, void *context, Error *why)
{
    OWNED_CATALOG Catalog *before = NULL, *after = NULL;
    int64_t revision;
    Status status = catalog_lock_exclusive(connection, &revision, why);
    if (status == ST_OK) status = catalog_load(connection, &before, why);
    if (status == ST_OK) status = catalog_save(connection, str(context), &revision, why);
    if (status == ST_OK) status = catalog_load(connection, &after, why);
    return status == ST_OK ? meter_rebuild(connection, before, after, NULL, NULL, why) : status;
}

// A proof of life that comes after the timeout finds the VM lost; under a longer one it is not.
START_TEST(rebuilds)
{
    start("many", "x", -4000, NULL);
    event("free", "a", "started", -4000, ",\"size\":\"nano\",\"run\":\"r1\"");
    event("free", "a", "heartbeat", -3900, ",\"run\":\"r1\"");
    event("free", "a", "heartbeat", -3000, ",\"run\":\"r2\""); // of another run: does nothing
    check_counts("free", 0, 0);
    OWNED_BUF Buf longer = {0};
    const char *from = DEFAULT_CATALOG, *word = "\"heartbeat_timeout_seconds\": 600";
    for (const char *at; (at = strstr(from, word)); from = at + strlen(word)) {
        buf_add(&longer, from, (size_t)(at - from));
        buf_add_text(&longer, "\"heartbeat_timeout_seconds\": 7200");
    }
    buf_add_text(&longer, from);
    OK(db_transaction(db, apply_catalog, longer.p, &error));
    check_counts("free", 1, 0);
    check_counts("many", 1, 0);
    OK(db_transaction(db, apply_catalog, (void *)(uintptr_t)DEFAULT_CATALOG, &error));
    check_counts("free", 0, 0);
    check_counts("many", 1, 0);
}
END_TEST

START_TEST(recounts)
{
    int64_t mended = -1;
    reserve("free", "a");
    start("free", "b", 0, NULL);
    reserve("free", "b");
    start("many", "c", 0, NULL);
    release("many", "c", true);
    OK(quota_recount(db, &mended, &error));
    ck_assert_int_eq(mended, 0);
    script("UPDATE quota SET running = running + 3, reserved = 0");
    OK(quota_recount(db, &mended, &error));
    ck_assert_int_eq(mended, 3);
    check_counts("free", 1, 1);
    check_counts("many", 0, 0);
    script("UPDATE quota SET running = 0");
    Ask ended = {.kind = ASK_RELEASE, .account = STR("free"), .vm = STR("b"), .stopped = true};
    ck_assert_int_eq(quota_decide(quota, db, &ended, 1, &error), ST_FATAL);
    ck_assert_ptr_nonnull(strstr(error.hint, "tally quota recount"));
}
END_TEST

START_TEST(random_histories)
{
    seed = (uint64_t)_i * UINT64_C(0x9e3779b97f4a7c15) + 88172645463325252u;
    int64_t progressed = -600;
    PROGRESS(progressed);
    for (int step = 0; step < 120; step++) {
        random_step(&progressed);
        int64_t wrong = number(RECOUNT);
        ck_assert_msg(wrong == 0, "history %d: after step %d, %" PRId64 " accounts are miscounted",
                      _i, step, wrong);
    }
}
END_TEST

int main(void)
{
    server = getenv("TALLY_TEST_DATABASE_URL");
    if (!server) {
        printf("TALLY_TEST_DATABASE_URL names no PostgreSQL\n");
        return 77;
    }
    TCase *tests = tcase_create("quota");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, answers);
    tcase_add_test(tests, many_in_one);
    tcase_add_test(tests, starts);
    tcase_add_test(tests, resume);
    tcase_add_test(tests, expiry);
    tcase_add_test(tests, lapses_together);
    tcase_add_test(tests, clock_set_back);
    tcase_add_test(tests, vouches);
    tcase_add_test(tests, doubts);
    tcase_add_test(tests, losses);
    tcase_add_test(tests, exceeded);
    tcase_add_test(tests, restored);
    tcase_add_test(tests, rebuilds);
    tcase_add_test(tests, recounts);
    tcase_add_loop_test(tests, random_histories, 0, 20);
    Suite *suite = suite_create("quota");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
