// SPDX-License-Identifier: Apache-2.0
// api/desk_metrics: what the desk counts: reservations by outcome, asks of a transaction, how long
// these take, how many wait. Any thread.
#pragma once

#include "base/metrics.h"
#include "quota/quota.h"

// What came of a reservation, or of giving one back; denials come behind, in their order.
typedef enum Outcome {
    OUTCOME_GRANTED,
    OUTCOME_RENEWED,
    OUTCOME_RELEASED,
    OUTCOME_NO_ACCOUNT,
    OUTCOME_NO_SLOT,
    OUTCOME_RUNS,
    OUTCOME_OTHER,
    OUTCOME_NO_SIZE,
    OUTCOME_CATCHING_UP,
    OUTCOME_BUSY,
    OUTCOME_UNAVAILABLE,
    OUTCOME_FAILED,
    OUTCOME_DENIED,
    OUTCOMES = OUTCOME_DENIED + DENIALS,
} Outcome;

typedef struct DeskMetrics {
    Counter *outcome[OUTCOMES];
    Histogram *batch_asks, *commit_us;
    Gauge *waiting;
} DeskMetrics;

void desk_metrics_init(DeskMetrics *m, Metrics *metrics);
// Of an ask that has its answer.
Outcome outcome_of(const Ask *ask);
// Counts reservations and their release; what is only shown is not counted.
void outcome_count(const DeskMetrics *m, const Ask *ask, Outcome outcome);
