// SPDX-License-Identifier: Apache-2.0
// billing/settle: what an invoice adjusts. All periods since the books began are rated in order
// with what is known now, credit grants drawn anew from their full amounts; what a closed period
// comes to by that, less what standing invoices charge for it, is an adjustment. So the subtotals
// of all invoices add up to what would have been billed had everything been known from the start.
// Pure: values in, values out.
#pragma once

#include "billing/ledger.h"

// One period of an account, and what was billed for it.
typedef struct SettlePeriod {
    const DayUsage *cell; // by day and size
    size_t cells;
    bool closed;   // else not yet, or it is open again: its invoice was voided
    Cents charged; // by own lines and adjustments of standing invoices
} SettlePeriod;

typedef struct Settling {
    const Account *account;
    const Catalog *catalog;
    Instant horizon;  // of the usage
    GrantList grants; // as grants_read has them
    Period first;     // in which the books began
    size_t periods;
    SettlePeriod *period; // from `first` on, without gaps
} Settling;

typedef struct Settled {
    RateInput in; // with adjustments; credit grants have the balances of being drawn anew
    Rating rating;
    size_t draws;
    GrantDraw *draw; // what the invoice draws: of credit grants, what closed periods draw by now,
                     // less what was drawn; of usd grants, what pays it
    bool others_open; // another one of the periods is not closed
} Settled;

// The invoice of a period that is not closed, were it issued now. Lives in `arena` and borrows from
// the account and the catalogue, not from the cells.
void settle(const Settling *settling, Period period, Arena *arena, Settled *out);

// Takes that invoice for issued, so that the one after it can be settled. What it carries forward
// goes by the period instead of a number.
void settle_issue(Settling *settling, const Settled *settled, Arena *arena);
