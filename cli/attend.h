// SPDX-License-Identifier: Apache-2.0
// cli/attend: what goes on beside a collector and beside a server: the relay, which publishes
// notices, and the minute watch, which looks for what is caused by time alone. Each is a thread
// with a connection of its own, and works in one process at a time (advisory locks): the others
// stand by.
#pragma once

#include "kafka/kafka.h"
#include "quota/quota.h"

typedef struct Attend Attend;

// Starts the relay where `kafka` is given (its topics and group are not looked at), which publishes
// on `notices_topic` (NULL: NOTICES_TOPIC), and the watch where `quota` is (its values; what is 0
// is the default). Neither is needed by what it runs beside: where the database or the broker is
// away, they say so once, in the log, and try again. `db` gives the URL alone. `db`,
// `notices_topic`, and all that `kafka` points at, must live until attend_stop.
Status attend_start(const Db *db, const KafkaConfig *kafka, const char *notices_topic,
                    const QuotaConfig *quota, Attend **out, Error *error) MUST_USE;
// Ends both threads: within a second or so, and some more where the broker hangs. Takes NULL.
void attend_stop(Attend *attend);
static inline void attend_stop_pointer(Attend **attend) { attend_stop(*attend); }
#define OWNED_ATTEND __attribute__((cleanup(attend_stop_pointer)))
