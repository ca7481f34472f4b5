// SPDX-License-Identifier: Apache-2.0
// meter/minutes: a run's minutes. Minute k of a run is [start + 60 s * k, start + 60 s * (k + 1));
// each counts once, for the dearest size held for any time in it within the run, on the UTC day in
// which it begins. Pure.
#pragma once

#include "meter/timeline.h"

// `count` minutes in a row of one size, the first beginning at `first`, all beginning on one UTC
// day.
typedef void (*MinutesFn)(void *context, Instant first, int64_t count, SizeNo size);

// Calls `minutes` for all minutes of the run in order of time. Cost grows with days and resizes,
// not minutes.
void run_minutes(const Catalog *catalog, const Run *run, MinutesFn minutes, void *context);
// Number of minutes of a run: ceil(length / 60 s).
int64_t run_minute_count(const Run *run);
// What `count` minutes of `size` on `day` cost.
CreditMinutes minutes_cost(const Catalog *catalog, Day day, SizeNo size, int64_t count);
