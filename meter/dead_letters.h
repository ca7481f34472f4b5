// SPDX-License-Identifier: Apache-2.0
// meter/dead_letters: what could not be metered, tried again through the same door as everything
// else, listed, or put away by hand.
#pragma once

#include "meter/meter.h"

enum { LETTERS_PAGE = 1000 };

// Tries those again whose time has come: their account appeared, their time is not far ahead any
// more. The meter's batch must be empty. *metered counts those that are dead letters no more.
Status meter_retry_due(Meter *meter, int64_t *metered, Error *error) MUST_USE;
// The same on a connection without a meter.
Status meter_retry_dead_letters(Db *db, const Instant *as_of, int64_t *metered, Error *error)
    MUST_USE;
// Tries open ones again: these ids, or all where n is 0. ST_MISSING where an id is not an open dead
// letter's: nothing is tried.
Status dead_letters_retry(Db *db, const Instant *as_of, const int64_t *ids, size_t n,
                          int64_t *metered, Error *error) MUST_USE;
Status dead_letters_discard(Db *db, const int64_t *ids, size_t n, int64_t *discarded, Error *error)
    MUST_USE;

typedef struct DeadLetter {
    int64_t id;
    Str reason, detail, account, vm, topic, file, state;
    bool has_at, has_partition;
    Instant at, arrived_at;
    int64_t partition, position;
    Message message;
} DeadLetter;

// Up to `limit` after id `after`, by id; state and reason may be absent: any. They live in `arena`.
Status dead_letters_list(Db *db, Str state, Str reason, int64_t after, int limit, Arena *arena,
                         DeadLetter **out, size_t *count, Error *error) MUST_USE;
