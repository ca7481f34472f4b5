// SPDX-License-Identifier: Apache-2.0
// billing/restored: whether the books are as new as what was told of them. A database that was
// restored from an older state does not know what it has issued since, and would issue the same
// numbers again, for other amounts. The notices on Kafka do know: each has the place in the chain
// and the hash of what it tells of.
#pragma once

#include "db/db.h"
#include "kafka/kafka.h"

typedef struct RestoredConfig {
    KafkaConfig kafka; // brokers and options; topics and group are not looked at
    const char *topic; // of the notices: NOTICES_TOPIC where NULL
    // Told while a long topic is read: records read, of how many at most. May be NULL.
    void (*progress)(int64_t read, int64_t all);
} RestoredConfig;

// Finds the newest notice of an invoice or credit note (the one with the highest place) and
// compares it with the chain. ST_OK: the chain has it, or there is no such notice, or no such
// topic. ST_REFUSED: the chain ends before it, or has something else in its place. ST_RETRY: the
// broker is away.
Status restored_check(Db *db, const RestoredConfig *config, Error *error) MUST_USE;
