// SPDX-License-Identifier: Apache-2.0
// What is counted and logged of every answer.
#include "api/observe.h"

#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>

enum {
    ROUTES_MAX = 64,
    STATUS_FIRST = 100,
    STATUSES = 500,
    SLOW_US = 1000000,      // what takes longer is logged
    LINES_PER_SECOND = 100, // of requests; what is more is counted
};

// Routes by their place in ROUTES, then all that is none.
struct Observer {
    Metrics *metrics;
    bool all;
    int routes;
    Histogram *seconds[ROUTES_MAX + 1];
    _Atomic(Counter *) requests[ROUTES_MAX + 1][STATUSES];
    atomic_llong second; // whose lines are counted
    atomic_int lines, left_out;
};

static void labels_of(const Observer *observer, int route, Buf *labels)
{
    bool matched = route < observer->routes;
    label_add(labels, "route", matched ? str(ROUTES[route].pattern) : STR("unmatched"));
    label_add(labels, "method", matched ? str(ROUTES[route].method) : STR("any"));
}

Observer *observer_new(Metrics *metrics, bool log_requests)
{
    Observer *observer = mem_alloc(sizeof *observer);
    observer->metrics = metrics;
    observer->all = log_requests;
    while (ROUTES[observer->routes].method) observer->routes++;
    ASSERT(observer->routes <= ROUTES_MAX);
    for (int i = 0; i <= observer->routes; i++) {
        OWNED_BUF Buf labels = {0};
        labels_of(observer, i, &labels);
        observer->seconds[i] = metrics_histogram(
            metrics, "tally_http_request_seconds", labels.p,
            "How long requests took, from their first byte to the answer's last.",
            METRICS_LATENCY_US, METRICS_LATENCY_COUNT, true);
    }
    return observer;
}

void observer_free(Observer *observer) { free(observer); }

static void count(Observer *observer, int route, int status, int64_t us)
{
    histogram_observe(observer->seconds[route], us);
    if (status < STATUS_FIRST || status >= STATUS_FIRST + STATUSES) return;
    _Atomic(Counter *) *place = &observer->requests[route][status - STATUS_FIRST];
    Counter *counter = atomic_load_explicit(place, memory_order_acquire);
    if (!counter) {
        OWNED_BUF Buf labels = {0};
        char text[16];
        int n = snprintf(text, sizeof text, "%d", status);
        ASSERT(n > 0 && n < (int)sizeof text);
        labels_of(observer, route, &labels);
        label_add(&labels, "status", str(text));
        counter = metrics_counter(observer->metrics, "tally_http_requests_total", labels.p,
                                  "Requests that were answered.");
        atomic_store_explicit(place, counter, memory_order_release);
    }
    counter_add(counter, 1);
}

// Whether one more line may be written in this second; the next second tells of those left out.
static bool may_log(Observer *observer)
{
    long long now = clock_monotonic_ms() / 1000, before = atomic_load(&observer->second);
    if (now != before && atomic_compare_exchange_strong(&observer->second, &before, now)) {
        int left_out = atomic_exchange(&observer->left_out, 0);
        const LogField fields[] = {{"requests", {0}, left_out}};
        atomic_store(&observer->lines, 0);
        if (left_out > 0) log_line(LOG_WARN, "lines of requests were left out", fields, 1);
    }
    if (atomic_fetch_add(&observer->lines, 1) < LINES_PER_SECOND) return true;
    atomic_fetch_add(&observer->left_out, 1);
    return false;
}

static void log_request(const Request *request, const Pending *pending, int status, int64_t us)
{
    const Route *route = pending ? pending->call.route : NULL;
    Str trace = request_trace(request);
    bool known = pending && pending->call.caller.token[0];
    const LogField fields[] = {
        {"request_id", str(request_id(request)), 0},
        {str_absent(trace) ? NULL : "trace_id", trace, 0},
        {"method", str(request_method(request)), 0},
        {"route", route ? str(route->pattern) : STR("unmatched"), 0},
        {"status", {0}, status},
        {"ms", {0}, us / 1000},
        {known ? "token" : NULL, known ? str(pending->call.caller.token) : STR(""), 0},
        {pending && pending->why ? "error" : NULL, pending ? str(pending->why) : STR(""), 0},
    };
    log_line(status >= 500 ? LOG_ERROR : LOG_INFO, "request", fields,
             sizeof fields / sizeof *fields);
}

void observe(Observer *observer, const Request *request, int status, int64_t us)
{
    const Pending *pending = request_attached(request);
    const Route *route = pending ? pending->call.route : NULL;
    count(observer, route ? (int)(route - ROUTES) : observer->routes, status, us);
    bool told = observer->all || status >= 500 || us > SLOW_US;
    if (told && (observer->all || may_log(observer))) log_request(request, pending, status, us);
}
