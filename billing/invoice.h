// SPDX-License-Identifier: Apache-2.0
// billing/invoice: an invoice, a credit note or a preview as a value, and how it is written: JSON
// for programs, text for people, a row of the register. Pure: where it came from is not its
// business.
#pragma once

#include "billing/rate.h"

typedef struct Invoice {
    Str number; // absent: a preview
    Str account, name;
    Period period;
    bool issued;       // issued_at is set
    Instant issued_at; // absent in previews
    Instant horizon;   // previews: up to which usage counts
    Str status;        // "issued", "voided", "preview"
    Str credits;       // a credit note: the invoice that it takes back; else absent
    Str reason;        // a credit note's
    size_t usages, lines;
    SizeUsage *usage; // by size name
    Line *line;       // in the order of printing
    CreditMinutes included, granted, purchased;
    Cents subtotal, total;
    Str hash, previous_hash; // lower-case hex; absent: none
} Invoice;

// An unnumbered invoice of what was rated; borrows from all three.
Invoice invoice_of(const Account *account, const RateInput *in, const Rating *rating);

// The object that `tally invoices show --format json` prints. `name` as for every jw_ call.
void invoice_write_json(const Invoice *invoice, JsonWriter *w, const char *name);
// The same object as it is hashed: without status, hash and previous_hash.
void invoice_write_content(const Invoice *invoice, JsonWriter *w);
// For people: at most 80 columns (but for descriptions and names that are wider).
void invoice_write_text(const Invoice *invoice, Buf *out);

// What a register adds up.
typedef struct Register {
    int64_t invoices, credit_notes;
    Cents subtotal, total;
} Register;

// The register's table and CSV: a head, a row for each invoice, and (the table) a foot with the
// sums.
void register_table_head(Buf *out);
void register_table_row(const Invoice *invoice, Register *sums, Buf *out);
void register_table_foot(const Register *sums, Buf *out);
void register_csv_head(Buf *out);
void register_csv_row(const Invoice *invoice, Buf *out);
