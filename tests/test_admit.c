// SPDX-License-Identifier: Apache-2.0
// Proves who may start: every combination of the facts, with limits and counts around each other,
// against the rules told as sentences; the order of the reasons by rows that can be read; and what
// a reservation and an account's quota look like as JSON.
#include "quota/quota.h"

#include <check.h>
#include <inttypes.h>

// ---- rows ----
typedef struct AdmitRow {
    const char *label;
    bool suspended, ended, deny; // ended: no plan is in force
    int credits;                 // -1: not known, 0: used up, 1: some are left
    bool spend;                  // the spend limit is reached
    int64_t limit, in_use;       // limit below 0: none
    bool has_slot;
    unsigned reasons;
    Denial denied;
    bool fresh;
} AdmitRow;

#define ALL (DENY_SUSPENDED | DENY_NO_PLAN | DENY_CREDITS | DENY_SPEND | DENY_CONCURRENCY)
static const AdmitRow ROWS[] = {
    {"a free slot", 0, 0, 0, -1, 0, 10, 9, 0, 0, 0, true},
    {"the last slot is taken", 0, 0, 0, -1, 0, 10, 10, 0, DENY_CONCURRENCY, DENY_CONCURRENCY, 0},
    {"more in use than allowed", 0, 0, 0, -1, 0, 10, 11, 0, DENY_CONCURRENCY, DENY_CONCURRENCY, 0},
    {"at the limit, but it has one", 0, 0, 0, -1, 0, 10, 10, true, 0, 0, false},
    {"beyond the limit, but it has one", 0, 0, 0, -1, 0, 10, 99, true, 0, 0, false},
    {"it has one of few", 0, 0, 0, -1, 0, 10, 1, true, 0, 0, false},
    {"no limit", 0, 0, 0, -1, 0, -1, 1000000, 0, 0, 0, true},
    {"a limit of none", 0, 0, 0, -1, 0, 0, 0, 0, DENY_CONCURRENCY, DENY_CONCURRENCY, 0},
    {"a limit of none, but it has one", 0, 0, 0, -1, 0, 0, 1, true, 0, 0, false},
    {"suspended", true, 0, 0, -1, 0, 10, 0, 0, DENY_SUSPENDED, DENY_SUSPENDED, 0},
    {"suspended stops renewals too", true, 0, 0, -1, 0, 10, 1, true, DENY_SUSPENDED, DENY_SUSPENDED,
     0},
    {"no plan", 0, true, 0, -1, 0, 10, 0, 0, DENY_NO_PLAN, DENY_NO_PLAN, 0},
    {"no plan stops renewals too", 0, true, 0, -1, 0, 10, 1, true, DENY_NO_PLAN, DENY_NO_PLAN, 0},
    {"used up, overage denied", 0, 0, true, 0, 0, 10, 0, 0, DENY_CREDITS, DENY_CREDITS, 0},
    {"used up stops renewals too", 0, 0, true, 0, 0, 10, 1, true, DENY_CREDITS, DENY_CREDITS, 0},
    {"used up, overage billed", 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, true},
    {"some left, overage denied", 0, 0, true, 1, 0, 10, 0, 0, 0, 0, true},
    {"spend limit", 0, 0, 0, 1, true, 10, 0, 0, DENY_SPEND, DENY_SPEND, 0},
    {"spend limit stops renewals too", 0, 0, 0, 1, true, 10, 1, true, DENY_SPEND, DENY_SPEND, 0},
    {"suspended before no plan", true, true, 0, -1, 0, 10, 0, 0, DENY_SUSPENDED | DENY_NO_PLAN,
     DENY_SUSPENDED, 0},
    {"no plan before credits", 0, true, true, 0, 0, 10, 0, 0, DENY_NO_PLAN | DENY_CREDITS,
     DENY_NO_PLAN, 0},
    {"credits before spend limit", 0, 0, true, 0, true, 10, 0, 0, DENY_CREDITS | DENY_SPEND,
     DENY_CREDITS, 0},
    {"spend limit before concurrency", 0, 0, 0, 1, true, 10, 10, 0, DENY_SPEND | DENY_CONCURRENCY,
     DENY_SPEND, 0},
    {"everything at once", true, true, true, 0, true, 1, 1, 0, ALL, DENY_SUSPENDED, 0},
    {"everything but a slot that it has", true, true, true, 0, true, 1, 1, true,
     ALL & ~(unsigned)DENY_CONCURRENCY, DENY_SUSPENDED, 0},
};

static AdmitFacts facts_of(const AdmitRow *row)
{
    return (AdmitFacts){
        .suspended = row->suspended,
        .active = !row->ended,
        .overage_deny = row->deny,
        .has_credits = row->credits >= 0,
        .credits = {.remaining_e4 = row->credits, .spend_reached = row->spend},
        .limit = row->limit,
        .in_use = row->in_use,
        .has_slot = row->has_slot,
    };
}

START_TEST(rows)
{
    const AdmitRow *row = &ROWS[_i];
    AdmitFacts facts = facts_of(row);
    Admission got = admit(&facts);
    ck_assert_msg(got.reasons == row->reasons, "%s: reasons %#x, not %#x", row->label, got.reasons,
                  row->reasons);
    ck_assert_msg(got.denied == row->denied, "%s: denied %#x, not %#x", row->label, got.denied,
                  row->denied);
    ck_assert_msg(got.fresh == row->fresh, "%s: fresh %d", row->label, got.fresh);
}
END_TEST

// ---- every combination ----
// The rules once more, as the contract tells them, one sentence a line.
static void check_one(const AdmitFacts *f)
{
    Admission got = admit(f);
    bool credits = f->has_credits && f->overage_deny && f->credits.remaining_e4 == 0;
    bool spend = f->has_credits && f->credits.spend_reached;
    bool full = !f->has_slot && f->limit != -1 && !(f->in_use < f->limit);
    const char *expected = f->suspended ? "suspended"
                           : !f->active ? "no-plan"
                           : credits    ? "credits-exhausted"
                           : spend      ? "spend-limit"
                           : full       ? "concurrency-limit"
                                        : "";
    const char *answered = got.denied ? denial_name(got.denied) : "";
    ck_assert_msg(strcmp(answered, expected) == 0,
                  "suspended %d active %d deny %d credits %d (%" PRId64 ") spend %d limit %" PRId64
                  " in use %" PRId64 " slot %d: \"%s\", not \"%s\"",
                  f->suspended, f->active, f->overage_deny, f->has_credits, f->credits.remaining_e4,
                  f->credits.spend_reached, f->limit, f->in_use, f->has_slot, answered, expected);
    ck_assert_int_eq((got.reasons & DENY_SUSPENDED) != 0, f->suspended);
    ck_assert_int_eq((got.reasons & DENY_NO_PLAN) != 0, !f->active);
    ck_assert_int_eq((got.reasons & DENY_CREDITS) != 0, credits);
    ck_assert_int_eq((got.reasons & DENY_SPEND) != 0, spend);
    ck_assert_int_eq((got.reasons & DENY_CONCURRENCY) != 0, full);
    ck_assert_int_eq(got.reasons & ~(unsigned)ALL, 0);
    ck_assert_int_eq(got.fresh, got.denied == 0 && !f->has_slot);
    // What the limit is for: a slot that was free is only taken below it.
    if (got.fresh && f->limit >= 0) ck_assert_int_lt(f->in_use, f->limit);
}

START_TEST(combinations)
{
    static const int64_t limits[] = {-1, 0, 1, 5, INT32_MAX};
    static const int64_t in_use[] = {0, 1, 2, 4, 5, 6, 100, INT32_MAX - 1, INT32_MAX};
    static const int64_t remaining[] = {0, 1, 10000};
    int count = 0;
    for (unsigned flags = 0; flags < 1U << 6; flags++)
        for (size_t r = 0; r < sizeof remaining / sizeof *remaining; r++)
            for (size_t l = 0; l < sizeof limits / sizeof *limits; l++)
                for (size_t u = 0; u < sizeof in_use / sizeof *in_use; u++, count++)
                    check_one(&(AdmitFacts){
                        .suspended = flags & 1,
                        .active = flags & 2,
                        .overage_deny = flags & 4,
                        .has_credits = flags & 8,
                        .credits = {.remaining_e4 = remaining[r], .spend_reached = flags & 16},
                        .has_slot = flags & 32,
                        .limit = limits[l],
                        .in_use = in_use[u],
                    });
    ck_assert_int_eq(count, 64 * 3 * 5 * 9);
}
END_TEST

START_TEST(credits_are_needed)
{
    ck_assert(!admit_needs_credits(false, false));
    ck_assert(admit_needs_credits(true, false));
    ck_assert(admit_needs_credits(false, true));
    ck_assert(admit_needs_credits(true, true));
}
END_TEST

// ---- slots ----
START_TEST(a_vm_holds_one_slot)
{
    for (unsigned flags = 0; flags < 8; flags++) {
        SlotState s = {.runs = flags & 1, .uncounted = flags & 2, .reserved = flags & 4};
        ck_assert_int_eq(slot_running(s) + slot_reserved(s), slot_held(s));
        ck_assert_int_eq(slot_held(s), (s.runs && !s.uncounted) || s.reserved);
    }
}
END_TEST

// ---- JSON ----
typedef struct CreditsRow {
    int64_t e4;
    const char *text;
} CreditsRow;
static const CreditsRow CREDITS[] = {
    {0, "0.0000"},
    {1, "0.0001"},
    {9999, "0.9999"},
    {10000, "1.0000"},
    {-1, "-0.0001"},
    {-25000, "-2.5000"},
    {708999999, "70899.9999"},
    {INT64_MAX, "922337203685477.5807"},
    {INT64_MIN, "-922337203685477.5808"},
};

START_TEST(credits_text)
{
    char text[AMOUNT_TEXT];
    credits_e4_format(CREDITS[_i].e4, text);
    ck_assert_str_eq(text, CREDITS[_i].text);
}
END_TEST

static Instant at(const char *text)
{
    Instant instant;
    ck_assert(instant_parse(str(text), &instant));
    return instant;
}

static Ask reserved(void)
{
    return (Ask){
        .kind = ASK_RESERVE,
        .result = ASKED_GRANTED,
        .account = STR("acme"),
        .vm = STR("k3x9qa"),
        .has_reservation = true,
        .id = "5f0c",
        .size_name = "nano",
        .reserved_at = at("2026-10-03T12:34:56Z"),
        .expires_at = at("2026-10-03T12:35:56Z"),
        .plan = "scale",
        .limit = 250,
        .max_session_minutes = -1,
        .running = 12,
        .reserved = 1,
    };
}

static void check_json(const char *label, const Ask *ask, const char *expected)
{
    OWNED_BUF Buf out = {0};
    ask_json(ask, &out);
    ck_assert_msg(strcmp(out.p, expected) == 0, "%s:\n%s\nnot\n%s", label, out.p, expected);
}

#define HEAD "{\"id\":\"5f0c\",\"account\":\"acme\",\"vm\":\"k3x9qa\",\"size\":\"nano\",\"state\":"
#define TIMES "\"reserved_at\":\"2026-10-03T12:34:56Z\",\"expires_at\":\"2026-10-03T12:35:56Z\","
START_TEST(reservation_json)
{
    Ask ask = reserved();
    check_json("as the contract has it", &ask,
               HEAD "\"reserved\"," TIMES
                    "\"limit\":250,\"in_use\":13,\"available\":237,"
                    "\"max_session_minutes\":null,\"credits_run_out_at\":null}");
    ask.limit = 10;
    ask.max_session_minutes = 60;
    check_json("never below 0", &ask,
               HEAD "\"reserved\"," TIMES
                    "\"limit\":10,\"in_use\":13,\"available\":0,"
                    "\"max_session_minutes\":60,\"credits_run_out_at\":null}");
    ask.limit = -1;
    ask.runs = true;
    ask.has_credits = ask.credits.runs_out = true;
    ask.credits.run_out_at = at("2026-10-04T00:00:00.5Z");
    check_json("overage billed: no end", &ask,
               HEAD "\"running\"," TIMES
                    "\"limit\":null,\"in_use\":13,\"available\":null,"
                    "\"max_session_minutes\":60,\"credits_run_out_at\":null}");
    ask.overage_deny = true;
    ask.has_reservation = false;
    ask.max_session_minutes = -1;
    check_json("runs without a reservation, overage denied", &ask,
               "{\"id\":null,\"account\":\"acme\",\"vm\":\"k3x9qa\",\"size\":\"nano\","
               "\"state\":\"running\",\"reserved_at\":null,\"expires_at\":null,\"limit\":null,"
               "\"in_use\":13,\"available\":null,\"max_session_minutes\":null,"
               "\"credits_run_out_at\":\"2026-10-04T00:00:00.5Z\"}");
}
END_TEST

START_TEST(account_json)
{
    Ask ask = reserved();
    OWNED_BUF Buf out = {0};
    Credits credits = {.remaining_e4 = 11000000, .per_hour = 120};
    quota_json(&ask, &credits, &out);
    ck_assert_str_eq(out.p,
                     "{\"account\":\"acme\",\"plan\":\"scale\",\"limit\":250,\"running\":12,"
                     "\"reserved\":1,\"in_use\":13,\"available\":237,\"can_start\":true,"
                     "\"reasons\":[],\"credits\":{\"remaining\":\"1100.0000\","
                     "\"per_hour_now\":\"120.0000\",\"run_out_at\":null}}");
    buf_clear(&out);
    ask.plan[0] = '\0';
    ask.reasons = ALL;
    ask.limit = 13;
    credits = (Credits){.runs_out = true, .run_out_at = at("2026-10-03T12:34:56Z")};
    quota_json(&ask, &credits, &out);
    ck_assert_str_eq(out.p,
                     "{\"account\":\"acme\",\"plan\":null,\"limit\":13,\"running\":12,"
                     "\"reserved\":1,\"in_use\":13,\"available\":0,\"can_start\":false,"
                     "\"reasons\":[\"suspended\",\"no-plan\",\"credits-exhausted\","
                     "\"spend-limit\",\"concurrency-limit\"],"
                     "\"credits\":{\"remaining\":\"0.0000\",\"per_hour_now\":\"0.0000\","
                     "\"run_out_at\":\"2026-10-03T12:34:56Z\"}}");
    buf_clear(&out);
    ask.reasons = 0;
    ask.limit = -1;
    quota_json(&ask, NULL, &out);
    ck_assert_str_eq(out.p,
                     "{\"account\":\"acme\",\"plan\":null,\"limit\":null,\"running\":12,"
                     "\"reserved\":1,\"in_use\":13,\"available\":null,\"can_start\":true,"
                     "\"reasons\":[],\"credits\":null}");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admit");
    TCase *admission = tcase_create("admission");
    tcase_add_loop_test(admission, rows, 0, sizeof ROWS / sizeof *ROWS);
    tcase_add_test(admission, combinations);
    tcase_add_test(admission, credits_are_needed);
    tcase_add_test(admission, a_vm_holds_one_slot);
    suite_add_tcase(suite, admission);
    TCase *json = tcase_create("json");
    tcase_add_loop_test(json, credits_text, 0, sizeof CREDITS / sizeof *CREDITS);
    tcase_add_test(json, reservation_json);
    tcase_add_test(json, account_json);
    suite_add_tcase(suite, json);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
