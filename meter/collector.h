// SPDX-License-Identifier: Apache-2.0
// meter/collector: Kafka to the Meter. Any number of collectors share the topics as one consumer
// group.
//
// Positions are PostgreSQL's. When a partition is assigned, its epoch is raised, and reading begins
// at the record that was metered last: it must be that record still (offset, timestamp, hash), or
// the topic was made anew, and the collector stops. A batch is written before partitions are given
// back. Whoever lost a partition without noticing (a stopped process, continued) finds its epoch
// outdated and writes nothing.
//
// Progress: about every second the database's clock is noted, then the broker is asked, afresh, for
// all partitions and how far each reaches. When all below that has been handed out, the noted time
// is the partition's progress, and is written with the batch that holds those records, or alone
// when the partition is idle.
#pragma once

#include "kafka/kafka.h"
#include "meter/meter.h"

#include <signal.h>

// How much of a partition that is ours is not read yet, as of the last look at its end.
typedef struct Lag {
    const char *topic;
    int32_t partition;
    int64_t records;
} Lag;

typedef struct CollectorConfig {
    KafkaConfig kafka;
    int64_t linger_ms;    // how long a batch may wait to fill; 0: COLLECTOR_LINGER_MS
    bool until_caught_up; // end when all that stands in the topics now is metered
    // Set by a signal handler: finish the batch and end.
    const volatile sig_atomic_t *stop;
    // Told what goes on, once per change; and every second how far things are.
    void (*notice)(const char *text);
    void (*tick)(void *context, const Meter *meter, const Lag *lags, int count);
    void *context; // of tick
} CollectorConfig;

enum { COLLECTOR_LINGER_MS = 100 };

// Runs until stopped, caught up, or something is wrong that must not be skipped. ST_FATAL: position
// gone, topic made anew.
Status collector_run(Meter *meter, const CollectorConfig *config, Error *error) MUST_USE;
