// SPDX-License-Identifier: Apache-2.0
// Asks, one after the other, on the states that a transaction has read. Nothing here touches the
// database: what is to be written is noted in the states.
#include "base/random.h"
#include "quota/internal.h"

#include <stdio.h>

// 128 random bits, as 8-4-4-4-12 hexadecimal digits (RFC 9562, version 4).
static void new_id(char out[static QUOTA_ID_TEXT])
{
    unsigned char b[16];
    random_bytes(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, QUOTA_ID_TEXT,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

// See Ask.version.
static int64_t version_of(const Turn *turn, const AccountState *account)
{
    return account->version + account->revision + turn->quota->catalog->revision;
}

static AdmitFacts facts_of(const AccountState *account, const Ask *ask, bool has_slot)
{
    return (AdmitFacts){.suspended = account->terms.suspended,
                        .active = account->terms.active,
                        .overage_deny = account->terms.overage_deny,
                        .has_credits = ask->has_credits,
                        .credits = ask->credits,
                        .limit = account->terms.limit,
                        .in_use = account->running + account->reserved,
                        .has_slot = has_slot};
}

// ---- answers ----
static void answer_account(const Turn *turn, const AccountState *account, Ask *ask)
{
    const TermsNow *terms = &account->terms;
    ask->suspended = terms->suspended;
    ask->overage_deny = terms->overage_deny;
    ask->has_spend_limit = terms->has_spend_limit;
    snprintf(ask->plan, sizeof ask->plan, "%s", terms->plan);
    ask->limit = terms->limit;
    ask->max_session_minutes = terms->max_session_minutes;
    ask->running = account->running;
    ask->reserved = account->reserved;
    ask->catching_up = turn->gated;
    ask->version = version_of(turn, account);
    ask->clock = turn->clock;
    ask->horizon = turn->horizon;
}

static void answer_vm(const VmState *vm, Ask *ask)
{
    ask->runs = slot_running(vm->slot);
    ask->has_reservation = vm->slot.reserved;
    snprintf(ask->size_name, sizeof ask->size_name, "%s", vm->size);
    snprintf(ask->id, sizeof ask->id, "%s", vm->slot.reserved ? vm->id : "");
    ask->reserved_at = vm->reserved_at;
    ask->expires_at = vm->expires_at;
}

// ---- reserve ----
static SizeNo asked_size(const Turn *turn, const Ask *ask)
{
    const Catalog *catalog = turn->quota->catalog;
    const CatalogVersion *version = catalog_on(catalog, instant_day(turn->clock));
    if (str_absent(ask->size))
        return catalog_size_for(catalog, version, ask->millicpu, ask->memory_bytes);
    SizeNo size = catalog_size(catalog, ask->size);
    return size != SIZE_NONE && version->sizes[size].present ? size : SIZE_NONE;
}

// A VM whose slot was given away, and that counts all the same (its start was metered late, or its
// vouch ran out before its end was), is one more than there are machines, where the limit is
// exceeded: another start of it would be one machine too many.
static bool is_one_too_many(const AccountState *account, const VmState *vm)
{
    int64_t in_use = account->running + account->reserved;
    return vm->doubted && !vm->slot.reserved && account->terms.limit >= 0 &&
           in_use > account->terms.limit;
}

// Something of the account lapses when progress has passed a time.
static void lapse_by(AccountState *account, Instant at)
{
    account->lapse_at = account->lapses ? instant_min(account->lapse_at, at) : at;
    account->lapses = true;
}

static AskResult reserve(Turn *turn, AccountState *account, VmState *vm, Ask *ask)
{
    SizeNo size = asked_size(turn, ask);
    if (size == SIZE_NONE) return ASKED_NO_SIZE;
    if (turn->gated) return ASKED_CATCHING_UP;
    bool wants = admit_needs_credits(account->terms.overage_deny, account->terms.has_spend_limit);
    bool good = ask->has_credits &&
                (ask->credits_fresh || ask->credits.version == version_of(turn, account));
    if (wants && !good) return ASKED_NEEDS_CREDITS;
    bool holds = slot_held(vm->slot) && !is_one_too_many(account, vm);
    AdmitFacts facts = facts_of(account, ask, holds);
    facts.has_credits = wants; // what was kept of an account may speak of another plan
    Admission admission = admit(&facts);
    ask->denied = admission.denied;
    ask->reasons = admission.reasons;
    if (admission.denied) return ASKED_DENIED;
    const QuotaConfig *config = &turn->quota->config;
    SlotState after = vm->slot;
    after.reserved = true;
    slot_move(account, vm->slot, after);
    vm->slot = after;
    vm->reserve = true;
    vm->unreserve = false;
    vm->clear = vm->doubt;
    vm->give_back = vm->doubted = false;
    new_id(vm->id);
    snprintf(vm->size, sizeof vm->size, "%s", turn->quota->catalog->size_names[size]);
    vm->reserved_at = turn->clock;
    vm->expires_at = instant_add_us(turn->clock, config->reservation_us);
    lapse_by(account, lapses_at(turn, config->reservation_us));
    return admission.fresh ? ASKED_GRANTED : ASKED_RENEWED;
}

// ---- release ----
static AskResult release(const Turn *turn, AccountState *account, VmState *vm, const Ask *ask)
{
    SlotState after = vm->slot;
    if (!str_absent(ask->reservation) && vm->slot.reserved && !str_is(ask->reservation, vm->id))
        return ASKED_OTHER;
    if (!ask->stopped) {
        if (slot_running(vm->slot)) return ASKED_RUNS;
        if (!vm->slot.reserved) return ask->again ? ASKED_RELEASED : ASKED_NO_SLOT;
    } else if (!vm->slot.runs && !vm->slot.reserved) {
        return ask->again || vm->slot.uncounted ? ASKED_RELEASED : ASKED_NO_SLOT;
    }
    if (!str_absent(ask->reason) && !vm->released) {
        vm->released = true;
        vm->ran = slot_running(vm->slot);
        vm->reason = ask->reason;
        snprintf(vm->released_id, sizeof vm->released_id, "%s", vm->slot.reserved ? vm->id : "");
    }
    if (vm->slot.reserved) {
        vm->unreserve = true;
        vm->reserve = false;
        after.reserved = false;
        vm->give_back = !vm->doubted;
        vm->clear = false;
    }
    // The vouch also stands for a start that has not been metered yet. One that is lost holds no
    // slot as it is.
    if (ask->stopped && !(vm->slot.uncounted && vm->why == WHY_LOST)) {
        vm->uncount = true;
        vm->why = WHY_VOUCHED;
        after.uncounted = true;
        lapse_by(account, lapses_at(turn, 0));
    }
    slot_move(account, vm->slot, after);
    vm->slot = after;
    return ASKED_RELEASED;
}

void turn_decide(Turn *turn, Ask *ask)
{
    AccountState *account = turn_account(turn, ask->account);
    ASSERT(account);
    if (!account->exists) {
        ask->result = ASKED_NO_ACCOUNT;
        return;
    }
    VmState *vm = ask->kind == ASK_QUOTA ? NULL : turn_vm(turn, ask->account, ask->vm);
    switch (ask->kind) {
    case ASK_RESERVE: ask->result = reserve(turn, account, vm, ask); break;
    case ASK_RELEASE: ask->result = release(turn, account, vm, ask); break;
    case ASK_SHOW: ask->result = slot_held(vm->slot) ? ASKED_RENEWED : ASKED_NO_SLOT; break;
    case ASK_QUOTA: {
        AdmitFacts facts = facts_of(account, ask, false);
        ask->reasons = admit(&facts).reasons;
        ask->result = ASKED_RENEWED;
        break;
    }
    }
    answer_account(turn, account, ask);
    if (vm) answer_vm(vm, ask);
}
