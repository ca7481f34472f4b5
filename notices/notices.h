// SPDX-License-Identifier: Apache-2.0
// notices: what others must hear. A notice is written in the transaction that causes it (the outbox
// pattern), and published to Kafka afterwards, at least once, in order per account, by one relay at
// a time. May touch db/ and kafka/; must never know why a notice is written. docs/notices.md lists
// them.
#pragma once

#include "base/json.h"
#include "db/db.h"
#include "kafka/kafka.h"

#include <stdatomic.h>

#define NOTICES_TOPIC "tally.notices"

enum {
    NOTICES_BATCH_MAX = 500,    // published before any is marked
    NOTICES_KEPT_DAYS = 7,      // after they were published
    NOTICES_SAID_DAYS = 400,    // what is said once only is remembered: longer than a year's runs
    NOTICES_PRUNED_MAX = 10000, // rows a statement
    NOTICES_PRUNE_EVERY_MS = 60 * 1000,
};

// One notice. `data` is a JSON object; the relay adds nothing to it.
typedef struct Notice {
    Str account;
    const char *type; // "tally.run.lost"
    Str subject;      // the account, the VM or the invoice's number
    Str data;
    // Of what is said once only: the step ("2026-10/80"); absent: said each time.
    Str once;
} Notice;

// Writes notices within the caller's transaction, in their order. Those with `once` that were said
// already are left out; *written (may be NULL) counts the others. Two that follow each other within
// one account must be written under a lock that both take (the account's row in quota, say): then
// the order of ids is the order in which they are committed.
Status notices_add(Db *db, const Notice *notices, size_t n, int64_t *written, Error *error)
    MUST_USE;

typedef struct RelayConfig {
    KafkaConfig kafka;                // brokers and options; topics and group are not looked at
    const char *topic;                // NOTICES_TOPIC where NULL
    const char *source;               // the CloudEvents' source: "/tally" where NULL
    const atomic_bool *stop;          // set by another thread; may be NULL
    void (*notice)(const char *text); // told of trouble and its end, once per change; may be NULL
} RelayConfig;

// Publishes until stopped, while this process is the one that holds the relay's advisory lock; the
// others wait their turn. Waits and tries again where database or broker are away. Run it in a
// thread of its own, with a connection of its own. Fails on what waiting does not mend (an option,
// the schema).
Status relay_run(Db *db, const RelayConfig *config, Error *error) MUST_USE;
// One pass, for tests and for ends: publishes what stands there now; *published counts. The
// producer is one of relay_producer. ST_CONFLICT: another process is the relay.
Status relay_once(Db *db, KafkaProducer *producer, const RelayConfig *config, int64_t *published,
                  Error *error) MUST_USE;
// A producer as the relay needs it: one that keeps order whatever fails.
Status relay_producer(const RelayConfig *config, KafkaProducer **out, Error *error) MUST_USE;
// Deletes what is kept no longer, a bounded number of rows; *pruned counts.
Status notices_prune(Db *db, int64_t *pruned, Error *error) MUST_USE;
