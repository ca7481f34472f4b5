// SPDX-License-Identifier: Apache-2.0
// Proves the metrics: exact text, order, escapes and decimals; no count is lost between threads.
#include "base/metrics.h"

#include <check.h>
#include <pthread.h>

START_TEST(text)
{
    Metrics *metrics = metrics_new();
    static const int64_t bounds[] = {5000, 100000, 2500000};
    Histogram *took = metrics_histogram(metrics, "took_seconds", "route=\"/a\"", "How long.",
                                        bounds, 3, true);
    histogram_observe(took, 5000); // a bound belongs to its bucket
    histogram_observe(took, 5001);
    histogram_observe(took, 2500001);
    OWNED_BUF Buf labels = {0};
    label_add(&labels, "why", STR("a\"b\\c\nd"));
    label_add(&labels, "status", STR("200"));
    counter_add(metrics_counter(metrics, "b_total", labels.p, "With\na \\ line."), 2);
    counter_add(metrics_counter(metrics, "b_total", labels.p, "With\na \\ line."), 40);
    counter_add(metrics_counter(metrics, "b_total", NULL, "With\na \\ line."), 1);
    gauge_set(metrics_gauge(metrics, "a", NULL, "First."), -7);
    gauge_set_us(metrics_gauge(metrics, "lag_seconds", "partition=\"1\"", "Lag."), 1500000);
    gauge_set_us(metrics_gauge(metrics, "lag_seconds", "partition=\"0\"", "Lag."), -1);
    static const int64_t sizes[] = {1, 10};
    histogram_observe(metrics_histogram(metrics, "size", NULL, "Size.", sizes, 2, false), 3);
    OWNED_BUF Buf out = {0};
    metrics_render(metrics, &out);
    ck_assert_str_eq(out.p,
                     "# HELP a First.\n# TYPE a gauge\na -7\n"
                     "# HELP b_total With\\na \\\\ line.\n# TYPE b_total counter\n"
                     "b_total 1\n"
                     "b_total{why=\"a\\\"b\\\\c\\nd\",status=\"200\"} 42\n"
                     "# HELP lag_seconds Lag.\n# TYPE lag_seconds gauge\n"
                     "lag_seconds{partition=\"0\"} -0.000001\n"
                     "lag_seconds{partition=\"1\"} 1.5\n"
                     "# HELP size Size.\n# TYPE size histogram\n"
                     "size_bucket{le=\"1\"} 0\nsize_bucket{le=\"10\"} 1\n"
                     "size_bucket{le=\"+Inf\"} 1\nsize_sum 3\nsize_count 1\n"
                     "# HELP took_seconds How long.\n# TYPE took_seconds histogram\n"
                     "took_seconds_bucket{route=\"/a\",le=\"0.005\"} 1\n"
                     "took_seconds_bucket{route=\"/a\",le=\"0.1\"} 2\n"
                     "took_seconds_bucket{route=\"/a\",le=\"2.5\"} 2\n"
                     "took_seconds_bucket{route=\"/a\",le=\"+Inf\"} 3\n"
                     "took_seconds_sum{route=\"/a\"} 2.510002\n"
                     "took_seconds_count{route=\"/a\"} 3\n");
    metrics_free(metrics);
    metrics_free(NULL);
}
END_TEST

enum { THREADS = 8, TIMES = 20000 };

static void *count(void *context)
{
    Metrics *metrics = context;
    Histogram *took = metrics_histogram(metrics, "h", NULL, "H.", METRICS_LATENCY_US,
                                        METRICS_LATENCY_COUNT, true);
    for (int i = 0; i < TIMES; i++) {
        counter_add(metrics_counter(metrics, "c_total", i % 2 ? "a=\"1\"" : "a=\"2\"", "C."), 1);
        histogram_observe(took, i * 1000);
        if (i % 5000 == 0) {
            OWNED_BUF Buf out = {0};
            metrics_render(metrics, &out);
            ck_assert_uint_gt(out.n, 0);
        }
    }
    return NULL;
}

START_TEST(threads)
{
    Metrics *metrics = metrics_new();
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, count, metrics), 0);
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    OWNED_BUF Buf out = {0};
    metrics_render(metrics, &out);
    ck_assert_ptr_nonnull(strstr(out.p, "c_total{a=\"1\"} 80000\n"));
    ck_assert_ptr_nonnull(strstr(out.p, "c_total{a=\"2\"} 80000\n"));
    ck_assert_ptr_nonnull(strstr(out.p, "h_bucket{le=\"0.001\"} 16\n")); // 0 and 1 ms, each
    ck_assert_ptr_nonnull(strstr(out.p, "h_count 160000\n"));
    metrics_free(metrics);
}
END_TEST

START_TEST(other_kind) // aborts: our own bug
{
    Metrics *metrics = metrics_new();
    (void)metrics_counter(metrics, "x", NULL, "X.");
    (void)metrics_gauge(metrics, "x", NULL, "X.");
}
END_TEST

START_TEST(too_many) // aborts: a label per customer
{
    Metrics *metrics = metrics_new();
    for (int i = 0; i <= METRICS_SERIES_MAX; i++) {
        OWNED_BUF Buf labels = {0};
        buf_addf(&labels, "account=\"%06d\"", METRICS_SERIES_MAX - i);
        (void)metrics_counter(metrics, "x_total", labels.p, "X.");
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("metrics");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, text);
    tcase_add_test(tests, threads);
    tcase_add_test_raise_signal(tests, other_kind, 6);
    tcase_add_test_raise_signal(tests, too_many, 6);
    Suite *suite = suite_create("metrics");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
