// SPDX-License-Identifier: Apache-2.0
// billing/close: closing a period: every account is rated and its invoice issued. Streamed in
// batches of accounts in order of id, one transaction each, so that it can be killed anywhere and
// run again, and run twice at once: the batches of both take turns. close.c's head tells why that
// is so.
#pragma once

#include "billing/rate.h"

enum { CLOSE_BATCH_ACCOUNTS = 2000, CHECK_NAMED_MAX = 20 };

// What may be amiss with a period's events.
typedef struct CheckLetters {
    Str reason;
    int64_t count;
} CheckLetters;
typedef struct CheckVm {
    bool lost; // else unproven
    Str account, vm;
    Instant started_at;
} CheckVm;
typedef struct Check {
    size_t reasons, named;
    CheckLetters *letters; // open dead letters dated in the period, by reason
    int64_t dead_letters;
    int64_t lost;     // VMs under watch whose last proof of life is too long ago
    int64_t unproven; // VMs still running for all we know, but never a heartbeat
    CheckVm *vm;      // the first few of both
} Check;
Status billing_check(Db *db, Period period, const Now *now, Arena *arena, Check *out, Error *error)
    MUST_USE;

typedef struct CloseProgress {
    int64_t accounts, invoices; // dealt with and issued so far, by this run
    int64_t settled;            // accounts whose closed periods were rated anew
    Cents total;
    Str first, last; // numbers, absent where none was issued
} CloseProgress;

typedef struct CloseOrder {
    Period period;
    Now now;          // its clock is when the invoices are issued
    int64_t grace_us; // after the period's end
    bool force;       // do not wait for the end, the grace and the horizon
    void (*progress)(void *context, const CloseProgress *so_far); // after each batch; may be NULL
    void *context;
} CloseOrder;

typedef struct CloseResult {
    bool was_closed; // before this run; then nothing was done
    CloseProgress done;
    char first[32], last[32]; // the numbers' text
} CloseResult;

// ST_REFUSED where the period's turn has not come, or it is too early.
Status billing_close(Db *db, const CloseOrder *order, CloseResult *out, Error *error) MUST_USE;
// For one account of a closed period whose invoice was voided; was_closed where one stands.
// ST_REFUSED where the period is not closed for it; ST_MISSING where there is no such account.
Status billing_close_account(Db *db, const CloseOrder *order, Str account, CloseResult *out,
                             Error *error) MUST_USE;
