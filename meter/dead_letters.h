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

// ---- by hand ----
// Which ones are meant. What is absent, or has no number, is as it may be.
typedef struct LetterFilter {
    const int64_t *ids;
    size_t ids_count;
    Str state, reason, account, vm, topic, file;
    bool has_since, has_until, has_limit;
    Instant since, until; // of their arrival: [since, until)
    int64_t limit;        // the first so many in order of id, which is that of arrival
} LetterFilter;

// Tries open ones again (`state` is not looked at). ST_MISSING where an id is not an open dead
// letter's: nothing is tried.
Status dead_letters_retry(Db *db, const Instant *as_of, const LetterFilter *filter,
                          int64_t *metered, Error *error) MUST_USE;
// Gives open ones up, all at once; otherwise as dead_letters_retry.
Status dead_letters_discard(Db *db, const LetterFilter *filter, int64_t *discarded, Error *error)
    MUST_USE;

typedef struct DeadLetter {
    int64_t id;
    Str reason, detail, account, vm, topic, file, state;
    bool has_at, has_partition;
    Instant at, arrived_at;
    int64_t partition, position;
    Message message;
} DeadLetter;

// Hands them out in order of id; a letter lives during the call. Memory does not grow with their
// number. The first status that is not ST_OK ends it.
typedef Status (*LetterFn)(void *context, const DeadLetter *letter, Error *error);
Status dead_letters_list(Db *db, const LetterFilter *filter, LetterFn each, void *context,
                         Error *error) MUST_USE;

typedef struct LetterCount {
    Str reason, state;
    int64_t letters;
} LetterCount;
// In order of reason and state; `limit` is not looked at. They live in `arena`.
Status dead_letters_count(Db *db, const LetterFilter *filter, Arena *arena, LetterCount **out,
                          size_t *count, Error *error) MUST_USE;
