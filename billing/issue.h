// SPDX-License-Identifier: Apache-2.0
// billing/issue: rated accounts become invoices: they get their numbers and are written, within the
// caller's transaction.
#pragma once

#include "billing/ahead.h"
#include "billing/rate.h"

typedef struct Issue {
    const Account *account;
    RateInput in;
    Rating rating;
    Str number; // set when it is issued; absent where there is nothing to bill
} Issue;

// Rates `n` accounts, in order of id, for a period, from usage and balances as they are. What was
// rated lives in `arena` and borrows from `accounts`, `catalog` and `ahead`, which may be NULL.
Status issues_rate(Db *db, const Catalog *catalog, const Account *accounts, size_t n, Period period,
                   const Now *now, Ahead *ahead, Arena *arena, Issue **out, Error *error) MUST_USE;

// Numbers those to be issued, in their order, and writes them. *issued counts them.
Status issues_write(Db *db, Issue *items, size_t n, Instant issued_at, int64_t catalog_revision,
                    Arena *arena, size_t *issued, Error *error) MUST_USE;
