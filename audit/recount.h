// SPDX-License-Identifier: Apache-2.0
// audit/recount: what recount.c, its VMs and its slots share: streams that are merged, and the
// account at hand.
#pragma once

#include "audit/cells.h"
#include "audit/internal.h"
#include "audit/refold.h"

// A stream on a connection of its own, and the row at hand; NULL behind the last.
typedef struct Source {
    Db *db;
    Stream *stream;
    const Rows *row;
} Source;
Status source_open(Audit *audit, const Statement *statement, Source *out, Error *error) MUST_USE;
Status source_next(Source *source, Error *error) MUST_USE;
void source_close(Source *source);
// Whether the row at hand is of this account (column 0), and of this VM (column 1).
bool source_of_account(const Source *source, Str account);
bool source_of_vm(const Source *source, Str account, Str vm);

// An account's slots, counted anew, and what its row must not be later than.
typedef struct Slots {
    Instant clock, latest; // the database's clock; the later of it and the greatest progress
    int64_t running, reserved;
    bool looks, lapses;
    Instant lost_after; // the first moment at which a run that counts may be lost
    Instant lapses_at;  // the first of a reservation or a vouch
} Slots;
// Adds what a VM holds, and finds what would be held for longer than any server's settings allow;
// `row` is its row of recount_vms.sql, or NULL where it has none.
Status slots_add(Slots *slots, Audit *audit, const Timeline *timeline, const Rows *row,
                 Error *error) MUST_USE;
// Compares with the row of recount_accounts.sql.
Status slots_check(const Slots *slots, Audit *audit, Str account, const Rows *row, Error *error)
    MUST_USE;

// A VM that is being rebuilt, beside what is stored of it.
typedef struct VmCheck {
    Audit *audit;
    Source *events, *runs, *vms; // in order of account and VM
    const char *by;              // before each sentence: "", or by what it was rebuilt
    bool counts;                 // whether its minutes go to `cells`
    DayCells *cells;
    Day first; // of minutes that count as used; DAY_END: none does
    Refold refold;
    Arena *keys;
    Str account, vm; // at hand
    Run run;         // being counted
    int64_t minutes;
    CreditMinutes cm;
    Buf what, sizes;
    Status status; // of what failed where no status could be returned
    Error error;
} VmCheck;
void vm_check_init(VmCheck *check, Audit *audit);
void vm_check_done(VmCheck *check);
// Rebuilds the VM from the events at hand, and compares; afterwards all three sources are behind
// it, but for `vms`, which is at its row, where it has one.
Status vm_check(VmCheck *check, Str account, Str vm, Error *error) MUST_USE;
