// SPDX-License-Identifier: Apache-2.0
// See desk_metrics.h.
#include "api/desk_metrics.h"

static const char *const OUTCOME_NAMES[OUTCOME_DENIED] = {
    "granted",           "renewed",      "released",    "no-account", "no-slot",     "runs",
    "other-reservation", "unknown-size", "catching-up", "busy",       "unavailable", "failed",
};

void desk_metrics_init(DeskMetrics *m, Metrics *metrics)
{
    static const int64_t asks[] = {1, 2, 4, 8, 16, 32, 64, 128, QUOTA_ASKS_MAX};
    for (int i = 0; i < OUTCOMES; i++) {
        OWNED_BUF Buf labels = {0};
        const char *name = i < OUTCOME_DENIED ? OUTCOME_NAMES[i]
                                              : denial_name((Denial)(1U << (i - OUTCOME_DENIED)));
        label_add(&labels, "outcome", str(name));
        m->outcome[i] = metrics_counter(metrics, "tally_reservations_total", labels.p,
                                        "Reservations that were asked for or given back");
    }
    m->batch_asks = metrics_histogram(metrics, "tally_quota_batch_asks", NULL,
                                      "Requests that shared one transaction", asks,
                                      sizeof asks / sizeof *asks, false);
    m->commit_us = metrics_histogram(metrics, "tally_quota_commit_seconds", NULL,
                                     "How long it took to decide and commit them",
                                     METRICS_LATENCY_US, METRICS_LATENCY_COUNT, true);
    m->waiting = metrics_gauge(metrics, "tally_quota_queue", NULL,
                               "Requests that wait to be decided");
}

Outcome outcome_of(const Ask *ask)
{
    switch (ask->result) {
    case ASKED_GRANTED: return OUTCOME_GRANTED;
    case ASKED_RENEWED: return OUTCOME_RENEWED;
    case ASKED_RELEASED: return OUTCOME_RELEASED;
    case ASKED_NO_ACCOUNT: return OUTCOME_NO_ACCOUNT;
    case ASKED_NO_SLOT: return OUTCOME_NO_SLOT;
    case ASKED_RUNS: return OUTCOME_RUNS;
    case ASKED_OTHER: return OUTCOME_OTHER;
    case ASKED_NO_SIZE: return OUTCOME_NO_SIZE;
    case ASKED_CATCHING_UP: return OUTCOME_CATCHING_UP;
    case ASKED_DENIED: return (Outcome)(OUTCOME_DENIED + __builtin_ctz(ask->denied));
    case ASKED_NEEDS_CREDITS: break;
    }
    return OUTCOME_FAILED;
}

void outcome_count(const DeskMetrics *m, const Ask *ask, Outcome outcome)
{
    if (ask->kind == ASK_RESERVE || ask->kind == ASK_RELEASE) counter_add(m->outcome[outcome], 1);
}
