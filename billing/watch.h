// SPDX-License-Identifier: Apache-2.0
// billing/watch: what is caused by time alone, looked for once a minute by one process:
// reservations that lapse and runs that are lost (quota_sweep), credits and spending that pass a
// threshold, runs that last longer than their plan allows. docs/notices.md says what exactly is
// told, and when.
//
// Not every account is rated every minute. Of each is kept what was seen of it (quota.version and
// the revisions: whatever else changes its rating changes one of them) and a time before which, at
// the rate at which it burns, it passes no threshold; it is looked at again half-way there. Pages
// are bounded, and so is a pass: what it did not come to is the next one's.
#pragma once

#include "billing/credits.h"
#include "notices/notices.h"
#include "quota/quota.h"

enum {
    WATCH_STEPS = 3,           // 50, 80, 100 %
    WATCH_PAGE_ACCOUNTS = 200, // rated, and told of, in one transaction
    WATCH_PAGE_RUNNING = 500,  // looked at for long runs at once
    WATCH_SESSIONS_MAX = 1000, // long runs told of per page; the rest a minute later
    WATCH_PASS_MS = 30 * 1000, // then the next pass goes on with the next account
};
extern const int WATCH_PERCENT[WATCH_STEPS];

// What decides, of one account.
typedef struct WatchFacts {
    Instant clock, horizon;
    Period period;
    int64_t used_e4, remaining_e4; // credits, times 10^4, of pool and grants; used in this period
    int64_t per_hour;              // credits per hour that what runs now burns
    bool running;                  // a run is open, perhaps since after the horizon
    bool overage_deny;
    bool has_spend_limit;
    Cents spent, spend_limit;
    Price price; // of a credit, without discount
    int64_t tax_rate_bps;
    bool expires; // a grant with something left does, at expires_at
    Instant expires_at;
} WatchFacts;

typedef struct WatchVerdict {
    int credit_steps, spend_steps; // how many of WATCH_PERCENT are reached
    bool exhausted;
    bool due; // look again at due_at, whatever else happens
    Instant due_at;
} WatchVerdict;

// Pure.
WatchVerdict watch_judge(const WatchFacts *facts);

typedef struct Watch Watch;
Watch *watch_new(const QuotaConfig *config);
void watch_free(Watch *watch);

// Whether this session is the one that watches, from now on until it ends.
Status watch_turn(Db *db, bool *mine, Error *error) MUST_USE;

typedef struct WatchDone {
    int64_t lapsed, rated, told;
    bool unfinished; // the next pass goes on
} WatchDone;

// One pass; ends early where *stop is set (it may be NULL). A part that fails does not keep the
// others from being done; the first failure is returned.
Status watch_pass(Watch *watch, Db *db, const atomic_bool *stop, WatchDone *done, Error *error)
    MUST_USE;

// For /metrics: VMs that run, and how far progress is behind the clock (has_behind: there is one).
typedef struct WatchGauges {
    int64_t running;
    bool has_behind;
    int64_t behind_us;
} WatchGauges;
Status watch_gauges(Db *db, WatchGauges *out, Error *error) MUST_USE;
