// SPDX-License-Identifier: Apache-2.0
// billing/unsettled: which accounts' closed periods may have come to something else than was
// billed, and all that settle() must know of them. Whoever changes usage, terms or charges adds a
// mark, a row of the table `unsettled`; a closing rates closed periods anew of accounts that have
// one, and of no others. It deletes those marks alone that the snapshot saw which read the usage:
// what others add meanwhile stays for the next closing. Everything here works inside the caller's
// transaction.
#pragma once

#include "billing/settle.h"

// Read and rated at a time: usage over all periods is much to hold.
enum { SETTLE_ACCOUNTS = 64 };

// All the marks of one account.
typedef struct Mark {
    Str account;
    Day since; // the earliest
    Str ids;   // of the rows: "17,42"
} Mark;
typedef struct Marks {
    size_t count;
    Mark *mark; // by account
} Marks;

// Those of `n` accounts; they live in `arena`.
Status marks_read(Db *db, const Str *accounts, size_t n, Arena *arena, Marks *out, Error *error)
    MUST_USE;
// An account's; NULL where there is none.
const Mark *marks_of(const Marks *marks, Str account);
// Marks accounts; NULL: all there are.
Status marks_add(Db *db, const Str *accounts, size_t n, Day since, Error *error) MUST_USE;
// `ids` are several Mark.ids, with commas between.
Status marks_delete(Db *db, Str ids, Error *error) MUST_USE;

// Whether closed periods of the account are to be rated anew before `period` is billed: a mark
// (NULL: none) reaches into them, or the last of them was closed early.
bool must_settle(const Books *books, const Catalog *catalog, Str account, const Mark *mark,
                 Period period);

// Fills `n` accounts' settlings, of which `account` and `grants` are set, in order of id: the
// periods from the beginning of the books up to and with `through`, and all that are closed. The
// cells live in `arena`.
Status settlings_read(Db *db, const Catalog *catalog, const Books *books, Period through,
                      const Now *now, Settling *settlings, size_t n, Arena *arena, Error *error)
    MUST_USE;
