// SPDX-License-Identifier: Apache-2.0
// audit/books: what the checks of the books share: an invoice or credit note as its rows have it,
// and one account's books while they are gone through in the order of issue. What is stored may be
// anything: nothing here trusts it before it was looked at.
#pragma once

#include "audit/internal.h"
#include "billing/chain.h"

// No stored amount, in any unit, is larger: what an account has adds up within int64.
#define STORED_MAX INT64_C(10000000000000000)

typedef struct StoredDraw {
    Str grant;
    int64_t unit, amount;
} StoredDraw;

typedef struct Stored {
    const char *wrong; // the first column that holds what is never written; then only account,
                       // number, place and hash are to be looked at
    int64_t place;     // 0: none
    bool credit_note;
    bool again;      // its period was closed again with nothing to bill; read for the books
    Invoice invoice; // without status and hashes
    Str currency;
    Kept kept;    // `inputs` as inputs_write writes them
    RateInput in; // the kept inputs
    bool foreign; // inputs or usage hold what nobody writes; looked for where `closely`
    bool hashed;  // hash and previous are set
    Sha256 hash, previous;
    size_t draws; // read for the books, not for the chain; so are carried amounts
    StoredDraw *draw;
    bool carries;
    Day carried_from;
    Cents carried;
} Stored;

// A row of chain_invoices or books_invoices. Lives in `arena`. `closely` takes about twice as long.
void stored_read(const Rows *rows, int row, bool closely, Arena *arena, Stored *out);

// What a finding is about; the sentence is said when it is found.
typedef struct Matter {
    Audit *audit;
    const char *check;
    Str account, subject;
    bool in_money, pending;
    Cents overcharged;
} Matter;
Status matter_find(const Matter *matter, Error *error, const char *format, ...) PRINTF(3, 4)
    MUST_USE;

// ---- one account ----
typedef struct PeriodSum {
    bool standing; // an invoice stands
    bool open;     // it was closed, and the invoice was taken back
    Cents charged; // by standing invoices: own lines, and adjustments
} PeriodSum;

typedef struct GrantSum {
    Str id;
    GrantUnit unit;
    int64_t drawn;  // by standing invoices
    int64_t amount; // the largest of the grant's that an invoice kept; -1: none did
} GrantSum;

typedef struct CarrySum {
    Str number;
    Day from;
    Cents amount;
    bool standing;
} CarrySum;

typedef struct Issued {
    Stored stored;
    Cents own; // its base fees, credits, discounts and minimum
    Str credited_by;
} Issued;

typedef struct Ledger {
    Audit *audit;
    Arena *arena; // this account's
    Str account;
    bool whole; // a mark says that all its closed periods may have changed
    size_t periods, grants, carries, issues;
    PeriodSum *period; // from the books' first on
    GrantSum *grant;
    CarrySum *carry;
    Issued *issue; // what was gone through
    size_t grants_room, carries_room, issues_room;
} Ledger;

void ledger_begin(Ledger *ledger, Audit *audit, Str account, Arena *arena);
// NULL where the books do not have it.
PeriodSum *ledger_period(const Ledger *ledger, Period period);
GrantSum *ledger_grant(Ledger *ledger, Str id, GrantUnit unit);
// Enters an invoice or credit note; what does not fit with what came before is found.
Status ledger_enter(Ledger *ledger, const Stored *stored, Error *error) MUST_USE;

// ---- what is checked ----
// An invoice against what it keeps: amounts, lines, usage, draws, carried amount.
Status books_rating(const Ledger *ledger, const Stored *stored, const Rating *rated, Error *error)
    MUST_USE;
// A credit note against the invoice that it takes back.
Status books_credit_note(const Ledger *ledger, const Stored *note, const Issued *credited,
                         Error *error) MUST_USE;

// Accounts and catalogues of the revisions that invoices name. `account` or `catalog` is NULL where
// there is no such revision, or it cannot be read.
typedef struct Revisions {
    const Account *account;
    const Catalog *catalog;
} Revisions;
// What an invoice keeps against account and catalogue of its revisions, and against what was issued
// before it.
Status books_terms(Ledger *ledger, const Stored *stored, const Rating *rated, Revisions at,
                   Error *error) MUST_USE;
// All closed periods with what is known now, against what was charged and drawn. `account` is the
// account as it is now.
Status books_periods(Ledger *ledger, const Account *account, const Recounted *used,
                     const Day *unsettled, Error *error) MUST_USE;
