// SPDX-License-Identifier: Apache-2.0
// See kept.h.
#include "api/kept.h"

enum { ACCOUNT_BYTES = 64, BUCKETS = KEPT_CREDITS_MAX / KEPT_WAYS };

typedef struct Entry {
    size_t n; // bytes of the account's id; 0: none is here
    char account[ACCOUNT_BYTES];
    Credits credits;
    int64_t mono_ms;
    Instant wall;
} Entry;

// A bucket holds few: ids made to collide only drive each other out.
struct Kept {
    Entry entry[BUCKETS][KEPT_WAYS];
};

Kept *kept_new(void) { return mem_alloc(sizeof(Kept)); }
void kept_free(Kept *kept) { free(kept); }

static bool holds(const Entry *entry, Str account)
{
    return str_equal((Str){entry->account, entry->n}, account);
}

void kept_put(Kept *kept, Str account, const Credits *credits, int64_t mono_ms, Instant wall)
{
    ASSERT(account.n > 0 && account.n <= ACCOUNT_BYTES);
    Entry *bucket = kept->entry[str_hash(HASH_SEED, account) % BUCKETS];
    Entry *place = bucket;
    for (int i = 0; i < KEPT_WAYS; i++) {
        if (holds(&bucket[i], account)) {
            place = &bucket[i];
            break;
        }
        if (bucket[i].n == 0 || (place->n && bucket[i].mono_ms < place->mono_ms))
            place = &bucket[i];
    }
    *place = (Entry){.n = account.n, .credits = *credits, .mono_ms = mono_ms, .wall = wall};
    memcpy(place->account, account.p, account.n);
}

// Whether time alone may have changed what follows from them.
static bool holds_still(const Entry *entry, int64_t mono_ms, Instant wall)
{
    const Credits *c = &entry->credits;
    bool brief = c->remaining_e4 <= 0 || c->spend_reached || (c->spend_rising && c->per_hour > 0);
    if (mono_ms - entry->mono_ms > (brief ? KEPT_BRIEF_MS : KEPT_MS)) return false;
    // At midnight (UTC) periods begin, grants begin and end, plans and prices change.
    if (instant_day(wall).days != instant_day(entry->wall).days) return false;
    return brief || !c->runs_out || wall.us < c->run_out_at.us - KEPT_END_US;
}

const Credits *kept_get(const Kept *kept, Str account, int64_t mono_ms, Instant wall)
{
    const Entry *bucket = kept->entry[str_hash(HASH_SEED, account) % BUCKETS];
    for (int i = 0; i < KEPT_WAYS; i++)
        if (bucket[i].n && holds(&bucket[i], account))
            return holds_still(&bucket[i], mono_ms, wall) ? &bucket[i].credits : NULL;
    return NULL;
}
