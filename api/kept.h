// SPDX-License-Identifier: Apache-2.0
// api/kept: accounts' credits as they were reckoned lately, so that not every ask needs a rating.
// What is kept may be used while nothing else than time has changed them (the caller compares the
// version) and time cannot have changed the answer. Bounded; no I/O; times are the caller's.
#pragma once

#include "quota/admit.h"

enum {
    KEPT_CREDITS_MAX = 16384, // accounts; beyond, the oldest of a bucket gives way
    KEPT_WAYS = 4,
    KEPT_MS = 30 * 1000,  // how old credits may be that allow a start, at most
    KEPT_BRIEF_MS = 1000, // ones that deny it, or that approach a spend limit
};
#define KEPT_END_US (2 * US_PER_MINUTE) // before credits run out they are reckoned each time

typedef struct Kept Kept;
Kept *kept_new(void);
void kept_free(Kept *kept);
// `mono_ms` and `wall` are when reckoning began, by the clocks of this machine.
void kept_put(Kept *kept, Str account, const Credits *credits, int64_t mono_ms, Instant wall);
// What may still hold now, or NULL; good until the next call.
const Credits *kept_get(const Kept *kept, Str account, int64_t mono_ms, Instant wall);
