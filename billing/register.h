// SPDX-License-Identifier: Apache-2.0
// billing/register: issued invoices and credit notes, read back from PostgreSQL as values.
#pragma once

#include "billing/invoice.h"
#include "db/db.h"

// One by its number; ST_MISSING where there is none. Lives in `arena`.
Status invoice_load(Db *db, Str number, Arena *arena, Invoice *out, Error *error) MUST_USE;

// All of a period in order of number, one at a time; memory does not grow with their number. An
// invoice is valid only during the call. The first status that is not ST_OK ends it.
typedef Status (*InvoiceFn)(void *context, const Invoice *invoice, Error *error);
Status invoices_stream(Db *db, Period period, InvoiceFn each, void *context, Error *error) MUST_USE;

// A page of an account's invoices and credit notes, the last issued first, from before a place in
// the chain on (INT64_MAX: from the last); place[i] is invoice i's. Lives in `arena`.
enum { INVOICES_PAGE_MAX = 1000 };
Status invoices_page(Db *db, Str account, int64_t before, int limit, Arena *arena, Invoice **out,
                     int64_t **place, size_t *count, Error *error) MUST_USE;

// The number of an account's standing invoice of a closed period, absent where there is none; and
// whether the period is open again, since its invoice was voided.
Status invoice_of_period(Db *db, Str account, Period period, Arena *arena, Str *number, bool *open,
                         Error *error) MUST_USE;
