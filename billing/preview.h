// SPDX-License-Identifier: Apache-2.0
// billing/preview: an account's open periods rated as they stand now: what a period would be
// billed, with what it would adjust, and what would be left of pool and grants.
#pragma once

#include "billing/invoice.h"
#include "billing/ledger.h"

typedef struct OpenOrder {
    const Catalog *catalog;
    const Account *account;
    const Books *books;
    Period through; // not closed for the account, or open again
    const Now *now;
} OpenOrder;

// Each rated on what the ones before have left of the grants.
typedef struct OpenPeriods {
    size_t count;     // 1 or more
    RateInput *input; // the last is `through`
    Rating *rating;
    GrantList left; // after all of them
} OpenPeriods;

// Rates the periods that are open for the account up to and with `through`; only `through` itself
// where the books have not begun. The first of them adjusts what is closed. Those that are open
// again are rated, too, as if closed after `through`; where it is one of them, the ones that were
// never closed are not. Inside the caller's snapshot; all lives in `arena` or is borrowed from
// `account` and `catalog`.
Status open_periods(Db *db, const OpenOrder *order, Arena *arena, OpenPeriods *out, Error *error)
    MUST_USE;

// The account's invoice of the period as it would be now, without a number; lives in `arena`.
// ST_REFUSED where the period is closed, naming the invoice, or before the books begin; ST_MISSING:
// no such account.
Status billing_preview(Db *db, Str account, Period period, const Instant *as_of, Arena *arena,
                       Invoice *out, Error *error) MUST_USE;
