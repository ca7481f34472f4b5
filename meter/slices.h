// SPDX-License-Identifier: Apache-2.0
// meter/slices: usage_rows of a span of any length, slice by slice, so that memory does not grow
// with the span or with the runs in it. For doors that stream.
#pragma once

#include "meter/usage.h"

enum { SLICE_MINUTES_MAX = 200000 }; // of usage in a slice, unless a single day has more

// Rows in order of start, size, vm; none is handed out twice. They live during the call.
typedef Status (*UsageRowsFn)(void *context, const UsageRow *rows, size_t count, Error *error);

// The same rows as usage_rows(), a few at a time. Windows of a month, and the total, are handed out
// when they are complete: memory holds a row for each size or VM of one window. Inside db_snapshot;
// `each` may use `db`. The first status of `each` that is not ST_OK ends it. Days without usage
// cost nothing.
Status usage_slices(Db *db, const Catalog *catalog, const Now *now, Str account, Instant from,
                    Instant to, UsageWindow window, UsageGroup group, UsageRowsFn each,
                    void *context, Error *error) MUST_USE;
