// SPDX-License-Identifier: Apache-2.0
// quota/admit: whether an account may have one more VM. Pure: facts in, an answer out.
#pragma once

#include "base/money.h"
#include "base/time.h"

// What is left of an account's credits, as billing reckons it up to the horizon.
typedef struct Credits {
    int64_t version;      // Ask.version that it was reckoned from
    int64_t remaining_e4; // credits, times 10^4, cut; 0: used up
    int64_t per_hour;     // credits per hour that what runs now burns
    bool runs_out;        // run_out_at is set
    Instant run_out_at;   // when `remaining` is gone at that rate
    bool spend_reached;   // the period's invoice, as it would be now, has reached the spend limit
    bool spend_rising;    // there is a spend limit
} Credits;

// Why a start is not allowed; as bits, since several may hold at once.
typedef enum Denial {
    DENY_SUSPENDED = 1 << 0,
    DENY_NO_PLAN = 1 << 1,
    DENY_CREDITS = 1 << 2,
    DENY_SPEND = 1 << 3,
    DENY_CONCURRENCY = 1 << 4,
} Denial;
enum { DENIALS = 5 };
// "suspended", "no-plan", "credits-exhausted", "spend-limit", "concurrency-limit"; one bit.
const char *denial_name(Denial denial);

typedef struct AdmitFacts {
    bool suspended;
    bool active;       // a plan is in force today
    bool overage_deny; // no start once credits are used up
    bool has_credits;  // `credits` is set; needed where admit_needs_credits
    Credits credits;
    int64_t limit;  // slots; below 0: none
    int64_t in_use; // slots
    bool has_slot;  // this VM holds one of them
} AdmitFacts;

typedef struct Admission {
    unsigned reasons; // all that speak against it, as bits of Denial
    Denial denied;    // the one that is answered; 0: it is allowed
    bool fresh;       // allowed, and a slot is taken that was free
} Admission;

// Whether the answer depends on credits.
bool admit_needs_credits(bool overage_deny, bool has_spend_limit);
// Suspension and a missing plan come first, then credits and spend limit: these also stop a VM that
// holds a slot from starting again. The limit counts for a VM without a slot only.
Admission admit(const AdmitFacts *facts);

// ---- slots ----
// What a VM is, as far as slots are concerned.
typedef struct SlotState {
    bool runs;      // it has an open run
    bool uncounted; // which holds no slot for now
    bool reserved;  // a reservation lives
} SlotState;
// Whether it adds to `running`, and else whether to `reserved`.
static inline bool slot_running(SlotState s) { return s.runs && !s.uncounted; }
static inline bool slot_reserved(SlotState s) { return s.reserved && !slot_running(s); }
static inline bool slot_held(SlotState s) { return slot_running(s) || s.reserved; }

// Progress, as far as reservations are concerned (CONTRACT section 5): nothing lapses while a
// partition has none.
typedef struct Progress {
    bool known;
    Instant at;
} Progress;
static inline bool progress_passed(Progress progress, Instant at)
{
    return progress.known && progress.at.us > at.us;
}
