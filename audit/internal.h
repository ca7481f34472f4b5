// SPDX-License-Identifier: Apache-2.0
// audit/internal: what the audit's parts share. Nothing outside the room includes it.
#pragma once

#include "audit/audit.h"

typedef struct Audit {
    const AuditOrder *order;
    AuditResult *result;
    Db *db;   // the first connection: it holds the snapshot, and may be streaming
    Db *side; // another one in the same snapshot, for look-ups while `db` streams
    Now now;
    const Catalog *catalog; // in force
    Books books;
    Arena *arena; // for the whole audit
} Audit;

// Counts it and hands it on.
Status audit_find(Audit *audit, const Finding *finding, Error *error) MUST_USE;
void audit_progress(Audit *audit, const char *step, int64_t done, int64_t all);

// What an account used, computed anew from its events as of now: by day and size, ordered so.
typedef struct Recounted {
    Str account;
    DayUsage *cells; // from the first day of the books on; empty where they have not begun
    size_t count;
} Recounted;

// audit/chain.c: hashes, links, places, numbers and series of all invoices and credit notes, in the
// order of issue; and the head, stored and kept. On audit->db.
Status audit_chain(Audit *audit, Error *error) MUST_USE;
// audit/closings.c: the table closing; accounts and catalogues against their histories. On
// audit->db.
Status audit_closings(Audit *audit, Error *error) MUST_USE;
// audit/books.c: the invoices of these accounts, which come in order of id and include those
// without any event: each rated again from what it keeps, its terms against catalogue and account
// of its revisions, draws and carried amounts, and all closed periods with what is known now. On
// audit->side.
Status audit_books(Audit *audit, const Recounted *accounts, size_t n, Error *error) MUST_USE;
