// SPDX-License-Identifier: Apache-2.0
// audit/refold: one VM after the other, rebuilt from its events as they stream by. Shares with
// metering what an instant's events mean (meter/timeline), and nothing of how they are gathered.
// Memory holds a VM's retractions, its open run and one instant's events, however long its history
// is.
#pragma once

#include "db/db.h"
#include "meter/timeline.h"

// The columns of audit/sql/recount_events.sql, in which rows come.
enum {
    AT_ACCOUNT,
    AT_VM,
    AT_SOURCE,
    AT_ID,
    AT_TIME,
    AT_TYPE,
    AT_BOOTUP,
    AT_SEQUENCE,
    AT_SIZE,
    AT_MILLICPU,
    AT_MEMORY,
    AT_RUN,
    AT_TARGET_SOURCE,
    AT_TARGET_ID,
};

typedef struct Refold {
    const Catalog *catalog;
    Instant until;                 // of the state that `passed` is told of
    RunFn ended;                   // each run that ends
    void (*passed)(void *context); // the VM stands as it did at `until`: before the first event
                                   // after it, or at the end
    void *context;
    // What the VM is, once refold_end was called.
    Timeline timeline;
    bool has_last; // whether any event but retractions is there
    Instant last_at;
    bool pending; // a retraction waits for its event
    bool beyond;  // `passed` was called
    // The room's own.
    Arena *arena, *spare, *of_vm, *of_instant;
    struct RefoldIds {
        struct RefoldId *id;
        size_t count, room;
    } targets, retractions; // what they take back, and they themselves
    bool sorted;            // the targets
    const Event **event;    // of the instant at hand
    size_t events, event_room;
} Refold;

void refold_init(Refold *refold, const Catalog *catalog, Instant until);
void refold_done(Refold *refold);
void refold_begin(Refold *refold);
// Takes the VM's next event: retractions first, then the others in order of time. NULL; or why the
// event cannot have been metered, then it is passed over.
const char *refold_add(Refold *refold, const Rows *rows);
void refold_end(Refold *refold);
