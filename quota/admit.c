// SPDX-License-Identifier: Apache-2.0
// See admit.h.
#include "quota/admit.h"

const char *denial_name(Denial denial)
{
    switch (denial) {
    case DENY_SUSPENDED: return "suspended";
    case DENY_NO_PLAN: return "no-plan";
    case DENY_CREDITS: return "credits-exhausted";
    case DENY_SPEND: return "spend-limit";
    case DENY_CONCURRENCY: return "concurrency-limit";
    }
    ASSERT(!"one denial");
    return "";
}

bool admit_needs_credits(bool overage_deny, bool has_spend_limit)
{
    return overage_deny || has_spend_limit;
}

Admission admit(const AdmitFacts *facts)
{
    unsigned reasons = 0;
    if (facts->suspended) reasons |= DENY_SUSPENDED;
    if (!facts->active) reasons |= DENY_NO_PLAN;
    if (facts->has_credits) {
        // Where overage is billed, what is left of the credits only informs.
        if (facts->overage_deny && facts->credits.remaining_e4 <= 0) reasons |= DENY_CREDITS;
        if (facts->credits.spend_reached) reasons |= DENY_SPEND;
    }
    // Slots in use may exceed the limit: it was lowered, or VMs started without asking.
    if (!facts->has_slot && facts->limit >= 0 && facts->in_use >= facts->limit)
        reasons |= DENY_CONCURRENCY;
    // The bits are in the order in which they are answered: the lowest is the one.
    return (Admission){
        .reasons = reasons,
        .denied = (Denial)(reasons & -reasons),
        .fresh = reasons == 0 && !facts->has_slot,
    };
}
