// SPDX-License-Identifier: Apache-2.0
// audit: proves what was metered and billed, and explains it. Everything is computed anew from the
// events, the accounts and the catalogue, or from what invoices keep, and compared with what is
// stored; the only code shared with those that wrote it is what is pure: timeline, minutes, rating,
// and the bytes that are hashed. Reads only, in one snapshot; must never write.
#pragma once

#include "billing/ledger.h"
#include "db/db.h"
#include "kafka/kafka.h"
#include "meter/usage.h"

// One thing that is not as it should be. Texts are the caller's.
typedef struct Finding {
    const char *check; // which: "events", "runs", "minutes", "vms", "quota", "positions", "topics",
                       // "chain", "numbers", "rating", "terms", "grants", "periods", "accounts",
                       // "closings"
    Str account;       // absent: nobody's
    Str subject;       // invoice number, VM, partition, grant, period
    Str what;          // a sentence: what is stored, and what should be
    bool in_money;
    Cents overcharged; // in_money: above 0 the customer was charged too much, below 0 too little
    bool pending;      // came after the closing, and is noted: the next one adjusts it
} Finding;
typedef Status (*FindingFn)(void *context, const Finding *finding, Error *error);

typedef struct AuditProgress {
    const char *step;
    int64_t done, all; // of the step, in its own units; all is 0 where it is not known
} AuditProgress;

typedef struct AuditOrder {
    const Instant *as_of; // NULL: now
    Str head;             // 64 hex digits that the chain must have had once; absent: none was kept
    const KafkaConfig *kafka; // brokers and options; NULL: only the database is looked at
    bool from_kafka;          // read the topics again, as far as they reach back
    FindingFn found;
    void (*progress)(void *context, const AuditProgress *progress); // may be NULL
    void *context;
} AuditOrder;

typedef struct AuditResult {
    int64_t events, runs, accounts, invoices, credit_notes;
    // from_kafka: records that were read, VMs rebuilt from them alone, and stored events that came
    // from Kafka: those that it still has, and those that it does not keep any more.
    int64_t records, topic_vms, topic_events, topic_gone;
    int64_t findings, pending; // pending ones are among the findings
    int64_t place;             // the chain's head
    char hash[65];
} AuditResult;

// ST_OK also where something was found. Memory does not grow with what is audited.
Status audit_run(Db *db, const AuditOrder *order, AuditResult *out, Error *error) MUST_USE;
