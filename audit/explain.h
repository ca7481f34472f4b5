// SPDX-License-Identifier: Apache-2.0
// audit/explain: an invoice or a credit note down to the events that it came from. Its amounts are
// rated again from what it keeps; its runs are made again from the events, up to the horizon that
// it keeps; where the two do not agree, because events came later, that is said. Reads only.
#pragma once

#include "billing/register.h"

typedef struct Explained Explained;

// Reads all but the runs. `catalog` is the one in force; it and `arena` must outlive what comes
// out. ST_MISSING where there is no such invoice; ST_FATAL where what it keeps does not lead to its
// lines. Call this and what follows in one db_snapshot.
Status explain_load(Db *db, const Catalog *catalog, Str number, Arena *arena, Explained **out,
                    Error *error) MUST_USE;
Str explain_account(const Explained *explained); // whose it is

// What is explained comes out in pieces of about this size, and memory does not grow with runs,
// events and VMs. (A piece is larger only where a run that began long before the days that are
// explained has many events other than heartbeats.) The first status that is not ST_OK ends it.
enum { EXPLAIN_PIECE_BYTES = 32 * 1024 };
typedef Status (*ExplainFn)(void *context, Str piece, Error *error);

// One JSON object, as docs/http.md describes it. Once only for each explain_load, as the next.
Status explain_json(Db *db, Explained *explained, ExplainFn write, void *context, Error *error)
    MUST_USE;
// For people; prints up to `runs_max` runs, in order of VM and start (INT64_MAX: all).
Status explain_text(Db *db, Explained *explained, int64_t runs_max, ExplainFn write, void *context,
                    Error *error) MUST_USE;
