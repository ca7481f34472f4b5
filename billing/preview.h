// SPDX-License-Identifier: Apache-2.0
// billing/preview: an account's open periods rated as they stand now: what a period would be
// billed, and what would be left of pool and grants.
#pragma once

#include "billing/invoice.h"
#include "billing/ledger.h"

// Open periods in order, each rated on what the ones before have left of the grants.
typedef struct OpenPeriods {
    size_t count; // 1 or more
    RateInput *input;
    Rating *rating;
    GrantList left; // after the last
} OpenPeriods;

// Rates the periods that are open for the account up to and with `through`; only `through` itself
// where the books have not begun. `through` must be open (books_closed). Inside the caller's
// snapshot; all lives in `arena` or is borrowed from `account` and `catalog`.
Status open_periods(Db *db, const Catalog *catalog, const Account *account, const Books *books,
                    Period through, const Now *now, Arena *arena, OpenPeriods *out, Error *error)
    MUST_USE;

// The account's invoice of the period as it would be now, without a number; lives in `arena`.
// ST_REFUSED where the period is closed, naming the invoice, or before the books begin; ST_MISSING:
// no such account.
Status billing_preview(Db *db, Str account, Period period, const Instant *as_of, Arena *arena,
                       Invoice *out, Error *error) MUST_USE;
