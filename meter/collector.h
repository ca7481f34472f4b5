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

typedef struct CollectorConfig {
    KafkaConfig kafka;
    int64_t linger_ms;    // how long a batch may wait to fill; 0: COLLECTOR_LINGER_MS
    bool until_caught_up; // end when all that stands in the topics now is metered
    // Set by a signal handler: finish the batch and end.
    const volatile sig_atomic_t *stop;
    // Told what goes on, once per change; and every second how far things are.
    void (*notice)(const char *text);
    void (*tick)(const Meter *meter, int64_t behind);
} CollectorConfig;

enum { COLLECTOR_LINGER_MS = 100 };

// Runs until stopped, caught up, or something is wrong that must not be skipped. ST_FATAL: position
// gone, topic made anew.
Status collector_run(Meter *meter, const CollectorConfig *config, Error *error) MUST_USE;
