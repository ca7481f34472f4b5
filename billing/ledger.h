// SPDX-License-Identifier: Apache-2.0
// billing/ledger: what the books hold: which periods are closed, and how much is left of each
// grant. Everything here reads inside the caller's transaction.
#pragma once

#include "billing/rate.h"
#include "catalog/store.h"

// How far the books are closed. Periods are closed in order and none is skipped, so the first and
// the last say it all; of the last, only the accounts up to `after` may have been dealt with.
typedef struct Books {
    bool begun;         // the first closing has begun
    Period first, last; // periods whose closing has begun
    bool last_closed;   // the last is closed for every account
    Str after;          // else: for accounts up to this one; absent: for none yet
    Instant horizon;    // up to which the last closing that went through knew usage
} Books;

Status books_read(Db *db, Arena *arena, Books *out, Error *error) MUST_USE;
// Whether the period is closed for this account.
bool books_closed(const Books *books, Period period, Str account);
// The period that is to be closed next; only where the books have begun.
Period books_next(const Books *books);

// An account's grants, those of its file, the sign-up credit and what invoices carried forward,
// with what standing invoices have left of them (0 or more), in no particular order.
typedef struct GrantList {
    size_t count;
    RateGrant *grant;
} GrantList;

// Those of `n` accounts, which stand in order of id: lists[i] belongs to accounts[i]. They live in
// `arena` and borrow from `accounts`.
Status grants_read(Db *db, const Catalog *catalog, const Account *accounts, size_t n, Arena *arena,
                   GrantList **lists, Error *error) MUST_USE;

// The account's grants with full balances, without those carried forward; room for `more` besides.
GrantList grants_of(const Account *account, const Catalog *catalog, size_t more, Arena *arena);

// A carried amount as the grant that it is from the day after its period on.
RateGrant grant_carried(Str number, Day from, Cents amount, Arena *arena);

// The ids of accounts as an array parameter.
void accounts_array(const Account *accounts, size_t n, Buf *out);
