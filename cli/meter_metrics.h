// SPDX-License-Identifier: Apache-2.0
// cli/meter_metrics: what a collector shows on its /metrics. Counters follow the Meter's tally and
// the collector's lag; what stands in the database (VMs that run, progress) is read now and then by
// a thread with a connection of its own, so that the collector never waits for a scrape.
#pragma once

#include "base/metrics.h"
#include "meter/collector.h"

typedef struct MeterMetrics MeterMetrics;

// Starts the thread. `db` gives the URL alone; it and `metrics` must outlive this.
Status meter_metrics_start(const Db *db, Metrics *metrics, MeterMetrics **out, Error *error)
    MUST_USE;
void meter_metrics_stop(MeterMetrics *m); // takes NULL
static inline void meter_metrics_stop_pointer(MeterMetrics **m) { meter_metrics_stop(*m); }
#define OWNED_METER_METRICS __attribute__((cleanup(meter_metrics_stop_pointer)))

// As the Meter's observer (MeterWrote).
void meter_metrics_wrote(void *context, size_t messages, int64_t us);
// As part of the collector's tick; in the collector's thread.
void meter_metrics_tick(MeterMetrics *m, const Meter *meter, const Lag *lags, int count);
