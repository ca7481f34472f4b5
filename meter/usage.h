// SPDX-License-Identifier: Apache-2.0
// meter/usage: what was used, read from PostgreSQL as of a moment. Runs that have ended are counted
// from stored totals; open ones up to the horizon; with --as-of, VMs that went on after that moment
// are recounted from their events. For billing, reports and doors alike.
#pragma once

#include "catalog/catalog.h"
#include "db/db.h"

// What "now" is. `clock` is the database's clock, `horizon` that or the slowest partition's
// progress where it is earlier. With --as-of both are that time, and events after it have not
// happened yet.
typedef struct Now {
    Instant clock, horizon;
    bool as_of;
} Now;
// Reads both; `as_of` may be NULL. A partition without any progress puts the horizon at
// INSTANT_MIN.
Status now_read(Db *db, const Instant *as_of, Now *out, Error *error) MUST_USE;

typedef struct DayUsage {
    Str account;
    Day day;
    SizeNo size;
    int64_t minutes; // above 0
} DayUsage;

// Minutes by account, UTC day and size, of `n` accounts, in days [from, to), ordered by those
// three. `accounts` are in order of id. Cells live in `arena`. Call inside db_snapshot for one
// view.
Status usage_days(Db *db, const Catalog *catalog, const Now *now, const Str *accounts, size_t n,
                  Day from, Day to, Arena *arena, DayUsage **cells, size_t *count, Error *error)
    MUST_USE;

typedef enum UsageWindow { WINDOW_HOUR, WINDOW_DAY, WINDOW_MONTH, WINDOW_TOTAL } UsageWindow;
typedef enum UsageGroup { GROUP_NONE, GROUP_SIZE, GROUP_VM } UsageGroup;

typedef struct UsageRow {
    Instant start, end; // of the window, cut to [from, to)
    Str vm;             // GROUP_VM only, else absent
    SizeNo size;        // GROUP_SIZE only, else SIZE_NONE
    int64_t minutes;
    CreditMinutes cm;
} UsageRow;

// One account's usage of minutes that begin in [from, to), in order of start, size, vm; windows
// without usage are left out. Rows live in `arena`.
Status usage_rows(Db *db, const Catalog *catalog, const Now *now, Str account, Instant from,
                  Instant to, UsageWindow window, UsageGroup group, Arena *arena, UsageRow **rows,
                  size_t *count, Error *error) MUST_USE;
