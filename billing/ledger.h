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
    // Up to which usage was known to the last closing that went through, and to the one under way;
    // INSTANT_END where there is none, or it was not noted.
    Instant horizon, horizon_under_way;
} Books;

// The first thing in a transaction that issues: its snapshot is taken after the lock, so that it
// sees all that the one before has committed. close.c's head tells who takes turns so.
Status books_lock(Db *db, Error *error) MUST_USE;
Status books_read(Db *db, Arena *arena, Books *out, Error *error) MUST_USE;
// Whether the period is closed for this account.
bool books_closed(const Books *books, Period period, Str account);
// The period that is to be closed next, of all accounts and of this one; only where the books have
// begun.
Period books_next(const Books *books);
Period books_next_of(const Books *books, Str account);
// From when on time alone does not change what was used in a period: runs that are open at its end,
// with their last proof of life before it, count as lost by then.
Instant usage_final(const Catalog *catalog, Period period);
// Whether the account's last closed period was closed before that, so that it may come to something
// else by now, without any event.
bool books_early(const Books *books, const Catalog *catalog, Str account);

// What is drawn from a grant, in its unit; below 0 where it is given back.
typedef struct GrantDraw {
    Str id;
    GrantUnit unit;
    int64_t amount;
} GrantDraw;

// An account's grants, those of its file, the sign-up credit and what invoices carried forward,
// with what standing invoices have left of them (0 or more), in no particular order.
typedef struct GrantList {
    size_t count, draws;
    RateGrant *grant;
    GrantDraw *draw; // what standing invoices have drawn, one for each grant; also of grants that
                     // the account does not have any more
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
