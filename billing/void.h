// SPDX-License-Identifier: Apache-2.0
// billing/void: taking an invoice back. A credit note says the invoice again with its amounts
// negated, in the same chain; what the invoice drew and carried forward does not count any more,
// and its period is open again for the account (billing_close_account).
#pragma once

#include "base/money.h"
#include "base/time.h"
#include "db/db.h"

enum { VOID_REASON_BYTES_MAX = 500 };

typedef struct VoidOrder {
    Str number; // of the invoice
    Str reason; // 1 to VOID_REASON_BYTES_MAX bytes of UTF-8 without control characters
    Instant issued_at;
} VoidOrder;

// What was issued; lives in the caller's arena.
typedef struct Voided {
    Str number; // the credit note's
    Str account;
    Period period;
    Cents total; // the credit note's
} Voided;

// ST_BAD_INPUT where the reason is none.
Status void_reason_check(Str reason, Error *error) MUST_USE;

// Issues the credit note, in a transaction of its own. ST_MISSING: there is no such invoice.
// ST_REFUSED: it is a credit note, or was voided before, or a standing invoice has drawn what it
// carried forward. ST_RETRY where the connection broke: asked again, it says whether it was done.
Status billing_void(Db *db, const VoidOrder *order, Arena *arena, Voided *out, Error *error)
    MUST_USE;
