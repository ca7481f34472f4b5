// SPDX-License-Identifier: Apache-2.0
// base/metrics: counters, gauges and histograms, in Prometheus's text format (version 0.0.4). All
// values are integers; times are kept in microseconds and written as seconds. Any thread may count;
// making a series and rendering take a lock, counting does not. Knows no domain.
#pragma once

#include "base/text.h"

enum { METRICS_SERIES_MAX = 10000 }; // a label per customer would get here: it aborts

typedef struct Metrics Metrics;
Metrics *metrics_new(void);
void metrics_free(Metrics *metrics);

// A series: one name with one set of labels. `labels` are as written, without braces
// (`route="/v1/x",status="200"`; label_add makes them), or NULL. Asking for the same series again
// gives the same one; a name has one kind and one help text.
typedef struct Counter Counter;
typedef struct Gauge Gauge;
typedef struct Histogram Histogram;
Counter *metrics_counter(Metrics *metrics, const char *name, const char *labels, const char *help);
Gauge *metrics_gauge(Metrics *metrics, const char *name, const char *labels, const char *help);
// Buckets by upper bound, rising, in the unit of what is observed; `seconds`: values and bounds are
// microseconds and shown in seconds.
Histogram *metrics_histogram(Metrics *metrics, const char *name, const char *labels,
                             const char *help, const int64_t *bounds, int count, bool seconds);
void counter_add(Counter *counter, int64_t n);
void gauge_set(Gauge *gauge, int64_t value);
void gauge_set_us(Gauge *gauge, int64_t us); // shown in seconds
void histogram_observe(Histogram *histogram, int64_t value);

// Appends `name="value"`, escaped, with a comma before it where `out` is not empty.
void label_add(Buf *out, const char *name, Str value);
// Everything, names in order.
void metrics_render(Metrics *metrics, Buf *out);

// Bounds that fit latencies, in microseconds: 1 ms to 10 s.
extern const int64_t METRICS_LATENCY_US[];
extern const int METRICS_LATENCY_COUNT;
