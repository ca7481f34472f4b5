// SPDX-License-Identifier: Apache-2.0
// api/observe: what is counted and logged of every answer: requests by route and status, how long
// they took, and a line for what failed on our side or was slow. Any thread.
#pragma once

#include "api/internal.h"

typedef struct Observer Observer;
Observer *observer_new(Metrics *metrics, bool log_requests); // `metrics` must outlive it
void observer_free(Observer *observer);
void observe(Observer *observer, const Request *request, int status, int64_t us);
