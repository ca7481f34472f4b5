// SPDX-License-Identifier: Apache-2.0
// api/exporter: GET /metrics on a listener of its own, in Prometheus's text format, and nothing
// else. Asks nobody who they are: listen where only those come who may know.
#pragma once

#include "base/metrics.h"

typedef struct Exporter Exporter;

// `metrics` must live until exporter_stop. ST_BAD_INPUT: the address or the port is no good, and
// why.
Status exporter_start(Metrics *metrics, const char *host, int port, Exporter **out, Error *error)
    MUST_USE;
int exporter_port(const Exporter *exporter); // where 0 was asked for: the one it got
void exporter_stop(Exporter *exporter);      // NULL: nothing
