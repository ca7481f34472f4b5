// SPDX-License-Identifier: Apache-2.0
// quota/internal: what quota/*.c share and nobody else sees.
#pragma once

#include "quota/quota.h"

// ---- terms.c: what accounts may today, kept by revision ----
typedef struct TermsNow {
    bool suspended, active, overage_deny, has_spend_limit;
    char plan[PLAN_NAME_MAX + 1];       // "": none is in force
    int64_t limit, max_session_minutes; // TERM_NONE: none
} TermsNow;

typedef struct TermsKept TermsKept;
TermsKept *terms_new(void);
void terms_free(TermsKept *kept);
// Reads those that are not kept as of this revision, catalogue and day, with one statement at most.
Status terms_refresh(Db *db, TermsKept *kept, const Catalog *catalog, Day day, const Str *ids,
                     const int64_t *revisions, size_t n, Error *error) MUST_USE;
// One that was refreshed; borrowed until the next refresh. NULL where it is not there.
const TermsNow *terms_of(const TermsKept *kept, Str id);

// ---- parameters by column ----
enum { COLUMNS_MAX = 8, COUNTS_COLUMNS = 7 };
typedef struct Columns { // arrays of equal length, one per column
    Buf array[COLUMNS_MAX];
    Str param[COLUMNS_MAX];
    int count;
    size_t rows;
} Columns;
void columns_begin(Columns *columns, int count);
void columns_end(Columns *columns); // sets `param`
void columns_free(Columns *columns);
void columns_add_instant(Columns *columns, int column, const Instant *at); // NULL is NULL
#define OWNED_COLUMNS __attribute__((cleanup(columns_free)))

// ---- a transaction ----
typedef struct AccountState {
    Str account;
    bool exists; // has a row in quota
    int64_t running, reserved, version;
    bool looks; // look_at is set
    Instant look_at;
    bool exceeded;
    bool lapses; // lapse_at is set
    Instant lapse_at;
    int64_t revision;
    int64_t stamp; // quota/follow: the version of the row that was seen before it was locked
    TermsNow terms;
    bool changed;   // to be written
    bool recounted; // runs count again: the limit may be exceeded by them
} AccountState;

typedef enum Why { WHY_VOUCHED = 0, WHY_LOST = 1 } Why;

typedef struct VmState {
    Str account, vm;
    AccountState *of;
    SlotState slot;
    Why why;                      // where slot.uncounted
    char size[SIZE_NAME_MAX + 1]; // of the reservation, else the one that runs
    char id[QUOTA_ID_TEXT];       // of the reservation
    Instant reserved_at, expires_at;
    // What is to be written.
    bool reserve, unreserve, uncount, ran;
    bool doubt, doubted;   // has a row in doubt; it says that the VM counts without a granted slot
    bool give_back, clear; // a doubt is to be noted, or forgotten
    Str reason;            // of a release by hand
    bool released;
    char released_id[QUOTA_ID_TEXT];
} VmState;

// One transaction's inside; all lives in `arena`.
typedef struct Turn {
    Quota *quota;
    Db *db;
    Arena *arena;
    Instant clock, latest; // latest: the clock, or progress where the clock was set back
    Progress progress;
    Instant horizon;
    bool gated; // a restored database, and progress is not there yet
    AccountState *account;
    size_t accounts;
    VmState *vm; // those asked about, in order of account and VM
    size_t vms;
    Columns gone, back, lost, doubt; // reservations and vouches that lapsed, runs that
                                     // are lost, and those that count again
    struct Dropped {                 // the reservations among them
        Str account, vm;
    } * dropped;
    size_t drops;
    int64_t lapsed;
} Turn;

struct Quota {
    QuotaConfig config;
    Catalog *catalog;
    TermsKept *terms;
};

AccountState *turn_account(Turn *turn, Str account); // NULL where it was not asked about
VmState *turn_vm(Turn *turn, Str account, Str vm);
// Moves the account's counts by what a VM was and is.
void slot_move(AccountState *account, SlotState before, SlotState after);

// read.c: locks and reads; lapse.c: lets lapse; write.c: writes and commits.
Status turn_read(Turn *turn, Error *error) MUST_USE;
Status turn_lapse(Turn *turn, Error *error) MUST_USE;
Status turn_write(Turn *turn, Error *error) MUST_USE;
// When what is made now lapses: its lifetime (0 for a vouch) and the event delay from now.
Instant lapses_at(const Turn *turn, int64_t lifetime_us);
// decide.c: asks one after the other; what is to be written is noted in the states.
void turn_decide(Turn *turn, Ask *ask);

// Takes rows of lock.sql into the turn's accounts.
void counts_take(Turn *turn, const Rows *rows);
// A row of counts_save.sql.
Status counts_add(const AccountState *account, Columns *counts, Error *error) MUST_USE;
// tally.quota.exceeded for an account, into the caller's transaction.
Status exceeded_notice(Db *db, Str account, int64_t limit, int64_t in_use, Error *error) MUST_USE;
