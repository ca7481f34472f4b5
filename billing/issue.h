// SPDX-License-Identifier: Apache-2.0
// billing/issue: rated accounts become invoices: they get their numbers and are written, within the
// caller's transaction.
#pragma once

#include "billing/ahead.h"
#include "billing/unsettled.h"

typedef struct Issue {
    const Account *account;
    RateInput in;
    Rating rating;
    bool settled; // closed periods were rated anew as well
    size_t draws;
    GrantDraw *draw;
    Str marks;  // those that are settled once this is written (Mark.ids); absent where none is
    Str number; // set when it is issued; absent where there is nothing to bill
} Issue;

typedef struct IssueOrder {
    Period period;
    bool again; // the period is open again: closed ones are rated anew in any case
    const Now *now;
    const Books *books;
    Ahead *ahead; // may be NULL
} IssueOrder;

// Rates `n` accounts, in order of id, for a period, from usage and balances as they are; where
// closed periods may have changed, those as well. What was rated lives in `arena` and borrows from
// `accounts`, `catalog` and `ahead`.
Status issues_rate(Db *db, const Catalog *catalog, const Account *accounts, size_t n,
                   const IssueOrder *order, Arena *arena, Issue **out, Error *error) MUST_USE;

// Numbers those to be issued, in their order, and writes them; deletes the marks that are settled
// by that. *issued counts them.
Status issues_write(Db *db, Issue *items, size_t n, Instant issued_at, int64_t catalog_revision,
                    Arena *arena, size_t *issued, Error *error) MUST_USE;

// Takes the next `count` numbers of this kind's series ("INV" or "CN") of the year of issue; *first
// is the lowest. The series stays locked until the transaction ends, and loses no number if it
// fails.
Status numbers_take(Db *db, const char *kind, Instant issued_at, size_t count, Arena *arena,
                    int64_t *first, Error *error) MUST_USE;
// "INV-2026-000001", in `arena`.
Str number_text(const char *kind, Instant issued_at, int64_t number, Arena *arena);
