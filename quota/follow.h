// SPDX-License-Identifier: Apache-2.0
// quota/follow: slots follow what was metered, as the last step of the collector's transaction.
// Reservations that a start uses up end, runs that began or ended are counted, vouches and losses
// that events overtook are forgotten. The accounts' rows in quota are locked here, after everything
// else is written, in order of account.
#pragma once

#include "catalog/catalog.h"
#include "db/db.h"

// A start that was metered.
typedef struct StartSeen {
    Str reservation; // absent: it names none
    Instant at;
} StartSeen;

// What a transaction did to a VM.
typedef struct VmChange {
    Str account, vm;
    bool ran, runs;     // it had, and has, an open run
    bool touched;       // by more than a heartbeat of a run that had had one before
    bool under_watch;   // the open run is: then `lost_after` is set
    Instant lost_after; // the horizon after which it is lost without another proof of life
    size_t starts;
    const StartSeen *start;
    bool was_lost; // out: it was known to be lost (uncounted) before
} VmChange;

typedef struct Follower Follower; // what is kept from batch to batch: accounts' terms
Follower *follower_new(void);
void follower_free(Follower *follower);
static inline void follower_free_pointer(Follower **follower) { follower_free(*follower); }
#define OWNED_FOLLOWER __attribute__((cleanup(follower_free_pointer)))

// After a change of heartbeat timeouts: when runs may be lost is to be found out anew.
Status quota_look_again(Db *db, Error *error) MUST_USE;
// `changes` are in order of account, then VM, each VM once; the transaction has written the VMs'
// rows. Writes tally.quota.exceeded where an account's slots now exceed its limit and did not
// before.
Status quota_follow(Db *db, Follower *follower, const Catalog *catalog, VmChange *changes, size_t n,
                    Error *error) MUST_USE;
