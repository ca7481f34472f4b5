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
    Arena *arena;           // for the whole audit
    Str snapshot;           // its name
    bool has_topics;        // Kafka is asked, and something was metered from there
    KafkaConfig kafka;      // has_topics: the order's, with all topics that were metered
    KafkaWatermarks oldest; // has_topics: what stood there before the snapshot
} Audit;

// One more connection in the same snapshot, for the caller to close. `before` (may be NULL) is run
// before its transaction begins.
Status audit_connect(Audit *audit, const char *before, Db **out, Error *error) MUST_USE;
// What stands in audit->kafka's topics now.
Status audit_watermarks(const Audit *audit, KafkaWatermarks *out, Error *error) MUST_USE;
// Of a topic's partition; NULL where Kafka does not have it.
const KafkaWatermark *audit_mark(const Audit *audit, const KafkaWatermarks *marks, Str topic,
                                 int64_t partition);

// Counts it and hands it on.
Status audit_find(Audit *audit, const Finding *finding, Error *error) MUST_USE;
void audit_progress(Audit *audit, const char *step, int64_t done, int64_t all);

// What an account used, computed anew from its events as of now: by day and size, ordered so.
typedef struct Recounted {
    Str account;
    DayUsage *cells; // from the first day of the books on; empty where they have not begun
    size_t count;
} Recounted;

// audit/recount.c: runs, minutes, VMs and slots, rebuilt from the events; hands all accounts to
// audit_books as it goes.
Status audit_recount(Audit *audit, Error *error) MUST_USE;
// audit/positions.c: how far each partition has been metered, against what was metered. On
// audit->db.
Status audit_positions(Audit *audit, Error *error) MUST_USE;
// audit/topics.c: what stands in the topics, against what was metered, both ways.
Status audit_topics(Audit *audit, Error *error) MUST_USE;
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
