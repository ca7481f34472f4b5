// SPDX-License-Identifier: Apache-2.0
// billing/credits: what is left of an account's credits now, by the same rating as its invoice: all
// open periods rated in order up to the horizon. "Today" and the current period are by the clock;
// usage counts as far as the horizon.
#pragma once

#include "billing/preview.h"
#include "quota/admit.h"

// What a standing invoice took from a grant.
typedef struct CreditDraw {
    Str number;
    Period period;
    int64_t amount; // in the grant's unit
} CreditDraw;

// A grant as it stands.
typedef struct GrantStand {
    RateGrant grant; // its balance before the open periods
    int64_t left;    // after them, in the grant's unit
    bool in_force;   // can be drawn now: a credit grant today, one in usd in this period
    size_t draws;    // credits_read_shown only
    CreditDraw *draw;
} GrantStand;

typedef struct CreditsView {
    Now now;
    Period period;              // the current one
    CreditMinutes pool, pooled; // its whole pool, and what has come out of it
    size_t grants;
    GrantStand *grant; // in the order of drawing; without carried ones that are used up
    Credits credits;
    bool has_spend_limit;
    Cents spend_limit;
    Cents spent;       // the period's total, as it would be billed now
    Invoice upcoming;  // the same as an invoice without a number
    bool books_closed; // the current period is closed for this account already: then only grants'
                       // balances are known, nothing is used, and `spent` is what was invoiced
} CreditsView;

// Pure: what is left, from the current period's rating and the grants left after it. `discount_bps`
// and price are today's. usd / (price * (10000 - discount_bps) / 10000) credits and the others,
// added exactly and then cut; where credits cost nothing, usd are left out.
int64_t credits_remaining_e4(CreditMinutes pool_left, CreditMinutes credit_grants_left,
                             Cents usd_left, Price price, int64_t discount_bps);
// When it is gone at a rate in credits per hour; false where never (rate 0, or beyond the year
// 2199). Used up already: `now` itself.
bool credits_run_out(int64_t remaining_e4, int64_t per_hour, Instant now, Instant *out);

// One snapshot of the database; all lives in `arena`. ST_MISSING: no such account.
Status credits_read(Db *db, Str account, const Instant *as_of, Arena *arena, CreditsView *out,
                    Error *error) MUST_USE;
// The same with the draws of each grant, for people.
Status credits_read_shown(Db *db, Str account, const Instant *as_of, Arena *arena, CreditsView *out,
                          Error *error) MUST_USE;
// GET credits' object.
void credits_json(const CreditsView *view, Str account, Buf *out);
