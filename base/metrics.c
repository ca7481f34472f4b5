// SPDX-License-Identifier: Apache-2.0
// Series are found and made under a lock, once each; whoever counts keeps the pointer and needs no
// lock. So a rendering is no snapshot: a histogram's count is what its buckets add up to at that
// moment, and its sum may be an observation ahead.
#include "base/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

typedef enum Kind { COUNTER, GAUGE, HISTOGRAM } Kind;
typedef struct Series Series;

enum { BUCKETS_MAX = 32, US_DIGITS = 6 };

struct Counter {
    _Atomic int64_t value;
};
struct Gauge {
    _Atomic int64_t value;
    atomic_bool us; // the value is microseconds
};
struct Histogram {
    int count;
    bool seconds;
    int64_t bound[BUCKETS_MAX];
    _Atomic int64_t bucket[BUCKETS_MAX + 1]; // each by itself; the last one is +Inf's
    _Atomic int64_t sum;
};

struct Series {
    Series *next; // by name, then labels
    Kind kind;
    char *name, *labels, *help;
    union {
        Counter counter;
        Gauge gauge;
        Histogram histogram;
    };
};

struct Metrics {
    pthread_mutex_t lock;
    Series *first;
    int count;
};

const int64_t METRICS_LATENCY_US[] = {1000,   2500,   5000,    10000,   25000,   50000,   100000,
                                      250000, 500000, 1000000, 2500000, 5000000, 10000000};
const int METRICS_LATENCY_COUNT = sizeof METRICS_LATENCY_US / sizeof *METRICS_LATENCY_US;

Metrics *metrics_new(void)
{
    Metrics *metrics = mem_alloc(sizeof *metrics);
    ASSERT(pthread_mutex_init(&metrics->lock, NULL) == 0);
    return metrics;
}

void metrics_free(Metrics *metrics)
{
    if (!metrics) return;
    while (metrics->first) {
        Series *series = metrics->first;
        metrics->first = series->next;
        free(series->name);
        free(series->labels);
        free(series->help);
        free(series);
    }
    ASSERT(pthread_mutex_destroy(&metrics->lock) == 0);
    free(metrics);
}

// ---- series ----
static Series *series_get(Metrics *metrics, Kind kind, const char *name, const char *labels,
                          const char *help, bool *made)
{
    if (!labels) labels = "";
    *made = false;
    Series **at = &metrics->first;
    for (; *at; at = &(*at)->next) {
        int order = strcmp((*at)->name, name);
        if (order == 0) {
            ASSERT((*at)->kind == kind && strcmp((*at)->help, help) == 0);
            order = strcmp((*at)->labels, labels);
        }
        if (order == 0) return *at;
        if (order > 0) break;
    }
    ASSERT(metrics->count < METRICS_SERIES_MAX);
    Series *series = mem_alloc(sizeof *series);
    *series = (Series){.next = *at, .kind = kind};
    series->name = mem_strdup(name);
    series->labels = mem_strdup(labels);
    series->help = mem_strdup(help);
    *at = series;
    metrics->count++;
    *made = true;
    return series;
}

static void lock(Metrics *metrics) { ASSERT(pthread_mutex_lock(&metrics->lock) == 0); }
static void unlock(Metrics *metrics) { ASSERT(pthread_mutex_unlock(&metrics->lock) == 0); }

Counter *metrics_counter(Metrics *metrics, const char *name, const char *labels, const char *help)
{
    bool made;
    lock(metrics);
    Series *series = series_get(metrics, COUNTER, name, labels, help, &made);
    unlock(metrics);
    return &series->counter;
}

Gauge *metrics_gauge(Metrics *metrics, const char *name, const char *labels, const char *help)
{
    bool made;
    lock(metrics);
    Series *series = series_get(metrics, GAUGE, name, labels, help, &made);
    unlock(metrics);
    return &series->gauge;
}

Histogram *metrics_histogram(Metrics *metrics, const char *name, const char *labels,
                             const char *help, const int64_t *bounds, int count, bool seconds)
{
    ASSERT(count >= 1 && count <= BUCKETS_MAX);
    for (int i = 1; i < count; i++) ASSERT(bounds[i - 1] < bounds[i]);
    bool made;
    lock(metrics);
    Histogram *histogram = &series_get(metrics, HISTOGRAM, name, labels, help, &made)->histogram;
    if (made) {
        histogram->count = count;
        histogram->seconds = seconds;
        memcpy(histogram->bound, bounds, (size_t)count * sizeof *bounds);
    }
    ASSERT(histogram->count == count && histogram->seconds == seconds);
    unlock(metrics);
    return histogram;
}

// ---- counting ----
void counter_add(Counter *counter, int64_t n)
{
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

void gauge_set(Gauge *gauge, int64_t value)
{
    atomic_store_explicit(&gauge->us, false, memory_order_relaxed);
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void gauge_set_us(Gauge *gauge, int64_t us)
{
    atomic_store_explicit(&gauge->us, true, memory_order_relaxed);
    atomic_store_explicit(&gauge->value, us, memory_order_relaxed);
}

void histogram_observe(Histogram *histogram, int64_t value)
{
    int i = 0;
    while (i < histogram->count && value > histogram->bound[i]) i++;
    atomic_fetch_add_explicit(&histogram->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
}

// ---- rendering ----
static void add_escaped(Buf *out, Str value, bool quotes)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\n') buf_add_text(out, "\\n");
        else if (c == '\\') buf_add_text(out, "\\\\");
        else if (c == '"' && quotes) buf_add_text(out, "\\\"");
        else buf_add_char(out, c);
    }
}

void label_add(Buf *out, const char *name, Str value)
{
    buf_addf(out, "%s%s=\"", out->n ? "," : "", name);
    add_escaped(out, value, true);
    buf_add_char(out, '"');
}

// Microseconds as seconds: exactly, with `digits` decimals or, with 0, as few as will do.
static void add_seconds(Buf *out, int64_t us, int digits)
{
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    char fraction[US_DIGITS + 1] = {0};
    uint64_t rest = size % 1000000;
    for (int i = US_DIGITS - 1; i >= 0; i--, rest /= 10) fraction[i] = (char)('0' + rest % 10);
    int keep = US_DIGITS;
    while (keep > digits && fraction[keep - 1] == '0') keep--;
    buf_addf(out, "%s%" PRIu64, us < 0 ? "-" : "", size / 1000000);
    if (keep > 0) buf_addf(out, ".%.*s", keep, fraction);
}

static void add_value(Buf *out, int64_t value, bool seconds, int digits)
{
    if (seconds) add_seconds(out, value, digits);
    else buf_addf(out, "%" PRId64, value);
}

static void add_name(Buf *out, const Series *series, const char *suffix)
{
    buf_addf(out, "%s%s", series->name, suffix);
    if (*series->labels) buf_addf(out, "{%s}", series->labels);
    buf_add_char(out, ' ');
}

static void render_histogram(Buf *out, const Series *series)
{
    const Histogram *histogram = &series->histogram;
    int64_t total = 0;
    for (int i = 0; i <= histogram->count; i++) {
        total += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
        buf_addf(out, "%s_bucket{%s%sle=\"", series->name, series->labels,
                 *series->labels ? "," : "");
        if (i == histogram->count) buf_add_text(out, "+Inf");
        else add_value(out, histogram->bound[i], histogram->seconds, 0);
        buf_addf(out, "\"} %" PRId64 "\n", total);
    }
    add_name(out, series, "_sum");
    int64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    add_value(out, sum, histogram->seconds, US_DIGITS);
    buf_add_char(out, '\n');
    add_name(out, series, "_count");
    buf_addf(out, "%" PRId64 "\n", total);
}

static void render_series(Buf *out, const Series *series)
{
    if (series->kind == HISTOGRAM) {
        render_histogram(out, series);
        return;
    }
    add_name(out, series, "");
    if (series->kind == COUNTER)
        add_value(out, atomic_load_explicit(&series->counter.value, memory_order_relaxed), false,
                  0);
    else
        add_value(out, atomic_load_explicit(&series->gauge.value, memory_order_relaxed),
                  atomic_load_explicit(&series->gauge.us, memory_order_relaxed), 0);
    buf_add_char(out, '\n');
}

void metrics_render(Metrics *metrics, Buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    lock(metrics);
    const char *name = "";
    for (const Series *series = metrics->first; series; series = series->next) {
        if (strcmp(name, series->name) != 0) {
            name = series->name;
            buf_addf(out, "# HELP %s ", name);
            add_escaped(out, str(series->help), false);
            buf_addf(out, "\n# TYPE %s %s\n", name, kinds[series->kind]);
        }
        render_series(out, series);
    }
    unlock(metrics);
}
