// SPDX-License-Identifier: Apache-2.0
// quota: slots and reservations. Answers whether an account may have one more VM, and holds the
// slot; what runs is told by quota/follow. The truth is PostgreSQL's, so any number of processes
// agree. May touch db/, catalog/ and notices/; reads the VMs' rows that meter/ writes; what is left
// of credits is handed in as values. Must never know HTTP, minutes or prices.
//
// Many asks share one transaction:
//   1. BEGIN; lock the accounts' rows in quota, in order; read what is known of accounts and VMs,
//      in one round trip
//   2. let lapse what progress has passed; decide (pure, quota/admit), per account in order
//   3. write reservations and counts; COMMIT, in one round trip
// docs/quota.md tells why no limit is exceeded.
#pragma once

#include "catalog/catalog.h"
#include "db/db.h"
#include "quota/admit.h"

enum {
    QUOTA_ASKS_MAX = 256,      // of one transaction
    QUOTA_SECONDS_MAX = 86400, // of each member of QuotaConfig
    QUOTA_ID_TEXT = 40,
    QUOTA_ACCOUNTS_KEPT = 20000, // parsed accounts kept by revision
};

typedef struct QuotaConfig {
    int64_t reservation_us; // how long a reservation lives for starting; 0: 60 s
    int64_t event_delay_us; // within which a start is acknowledged by Kafka; 0: 60 s
    int64_t clock_skew_us;  // between hosts, at most; below 0: 5 s
} QuotaConfig;

typedef enum AskKind { ASK_RESERVE, ASK_SHOW, ASK_RELEASE, ASK_QUOTA } AskKind;

// What came of an ask.
typedef enum AskResult {
    ASKED_GRANTED,       // ASK_RESERVE: a slot was free (201)
    ASKED_RENEWED,       // ASK_RESERVE: the VM had one (200); ASK_SHOW, ASK_QUOTA: here it is
    ASKED_RELEASED,      // ASK_RELEASE (204)
    ASKED_DENIED,        // ASK_RESERVE: `denied` says why
    ASKED_NO_ACCOUNT,    // 404
    ASKED_NO_SLOT,       // ASK_SHOW, ASK_RELEASE: 404
    ASKED_RUNS,          // ASK_RELEASE: the VM runs (409)
    ASKED_OTHER,         // ASK_RELEASE: another reservation lives (409)
    ASKED_NO_SIZE,       // ASK_RESERVE: unknown size (400)
    ASKED_CATCHING_UP,   // ASK_RESERVE: the database was restored, and progress is not there yet
                         // (503)
    ASKED_NEEDS_CREDITS, // not decided: ask again with `credits` reckoned now
} AskResult;

typedef struct Ask {
    AskKind kind;
    Str account, vm; // ids, checked (str_is_id)
    // ASK_RESERVE: the size by name in any case, or by resources
    Str size;
    int64_t millicpu, memory_bytes;
    // ASK_RELEASE
    Str reservation; // only this one; absent: any
    bool stopped;    // the caller vouches that the VM no longer runs
    Str reason;      // by hand: put on record; absent: not by hand
    bool again;      // may have been done already, by a try whose outcome is unknown
    // What is left of the account's credits; good where its version is still the account's, or
    // where `credits_fresh`: reckoned after the ask came in.
    bool has_credits, credits_fresh;
    Credits credits;

    // ---- the answer ----
    AskResult result;
    Denial denied;
    unsigned reasons; // ASK_QUOTA
    // Of the VM (not ASK_QUOTA).
    bool runs; // else it is reserved
    bool has_reservation;
    char id[QUOTA_ID_TEXT];
    char size_name[SIZE_NAME_MAX + 1];
    Instant reserved_at, expires_at;
    // Of the account.
    bool suspended, overage_deny, has_spend_limit;
    char plan[PLAN_NAME_MAX + 1];       // "": none is in force
    int64_t limit, max_session_minutes; // below 0: none
    bool catching_up;                   // nothing is granted for now: ASKED_CATCHING_UP
    int64_t running, reserved;
    // Another one whenever the account's usage (otherwise than by time), the account or the
    // catalogue has changed: quota.version and both revisions, added up.
    int64_t version;
    Instant clock, horizon; // at the decision
} Ask;

typedef struct Quota Quota;
Quota *quota_new(const QuotaConfig *config);
void quota_free(Quota *quota);

// Decides up to QUOTA_ASKS_MAX asks in one transaction; on OK it has been committed and every ask
// has its answer. ST_RETRY: the database is away or unwilling, and it may be unknown whether it was
// done: ask again with `again` set. One thread at a time.
Status quota_decide(Quota *quota, Db *db, Ask *asks, size_t n, Error *error) MUST_USE;

// Lets lapse what progress has passed, for all accounts: what nobody asks about shall not stay.
// Marks runs that are lost, and writes tally.run.lost for them. *lapsed counts both.
Status quota_sweep(Quota *quota, Db *db, int64_t *lapsed, Error *error) MUST_USE;

// Counts all accounts' slots anew, from the VMs and reservations that there are; safe while others
// reserve and meter. *mended counts those that were miscounted, which never happens but by hand.
Status quota_recount(Db *db, int64_t *mended, Error *error) MUST_USE;

// Notes whether this is still the database that it was, or a restored one (another system
// identifier, timeline or database); then no reservation is granted until progress has caught up.
// Call after connecting: it also makes this session's plans by key.
Status quota_attend(Db *db, Error *error) MUST_USE;
// The same for a collector that finds positions behind what Kafka's group has noted: the database
// was restored.
Status quota_restored(Db *db, Error *error) MUST_USE;

// ---- as JSON ----
// The reservation; `credits_run_out_at` is null where overage is billed, or nothing burns.
void ask_json(const Ask *ask, Buf *out);
// GET quota's object; `credits` may be NULL.
void quota_json(const Ask *ask, const Credits *credits, Buf *out);
// Credits with four decimals.
void credits_e4_format(int64_t e4, char out[static AMOUNT_TEXT]);
