// SPDX-License-Identifier: Apache-2.0
// meter/runs: an account's runs, newest first, page by page (keyset, never OFFSET); and what those
// that are open burn.
#pragma once

#include "meter/timeline.h"
#include "meter/usage.h"

enum { RUNS_PAGE_MAX = 1000 };

typedef struct RunKey { // where a page ended: runs go on behind it
    Instant start;
    Str vm;
    int32_t nth;
} RunKey;

typedef struct RunsAsk {
    Str account;
    bool has_from, has_to;
    Instant from, to; // runs that overlap [from, to)
    Str vm;           // absent: all
    int limit;        // 1 to RUNS_PAGE_MAX
    bool has_after;
    RunKey after;
} RunsAsk;

typedef struct RunView {
    Str vm;
    Instant start;
    int32_t nth;
    bool open; // else `end` and `by` are set
    Instant end;
    EndedBy by;
    SizeNo size;     // the one held last
    int64_t minutes; // of an open run, up to the horizon
    CreditMinutes cm;
} RunView;

// One page, in order of start (newest first), vm, nth (downwards); *more tells whether another
// follows. A run that is open in the books but lost at the horizon shows as ended
// (heartbeat_lost, see ended_by_name). Inside db_snapshot with `now`, which must be of the clock
// (not --as-of); lives in `arena`.
//
// Cost grows with the page, not with the account's runs. To that come: the VMs that run; with
// `from`, the runs of the day before it, and those of more than a day that end after it; with `vm`,
// that VM's events.
Status runs_page(Db *db, const Catalog *catalog, const Now *now, const RunsAsk *ask, Arena *arena,
                 RunView **out, size_t *count, bool *more, Error *error) MUST_USE;

// Credits per hour, at today's rates, of the sizes held now by the VMs that run at the horizon:
// open runs that are not lost.
Status runs_per_hour(Db *db, const Catalog *catalog, const Now *now, Str account, int64_t *per_hour,
                     Error *error) MUST_USE;
