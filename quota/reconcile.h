// SPDX-License-Identifier: Apache-2.0
// quota/reconcile: what runs by the books against the orchestrator's own list.
#pragma once

#include "quota/quota.h"

enum { RECONCILE_LINE_MAX = 4096 };

typedef enum Difference {
    ONLY_IN_BOOKS, // an open run, but the orchestrator has no such VM: billed until an end is
                   // metered
    ONLY_IN_LIST,  // runs, but no start was metered: not billed
    OTHER_SIZE,
} Difference;
const char *difference_name(Difference difference); // "only_in_books"

typedef struct Ghost {
    Difference difference;
    Str account, vm;
    Str books_size, list_size; // absent where it is on the other side only
    bool has_start;
    Instant started_at; // ONLY_IN_BOOKS, OTHER_SIZE
} Ghost;
typedef Status (*GhostFn)(void *context, const Ghost *ghost, Error *error);

typedef struct ReconcileCount {
    int64_t listed, running, differences;
} ReconcileCount;

// `next` yields the list's lines, one at a time, without their ends (*got false: no more), each
// {"account","vm","size"}. ST_BAD_INPUT names the line and the member. Differences come in order of
// account and VM. Memory grows with neither side. Runs that are lost by now do not count as
// running.
typedef Status (*LineFn)(void *context, Str *line, bool *got, Error *error);
Status quota_reconcile(Quota *quota, Db *db, LineFn next, void *lines, GhostFn each, void *context,
                       ReconcileCount *count, Error *error) MUST_USE;
