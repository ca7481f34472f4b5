// SPDX-License-Identifier: Apache-2.0
// Ids of accounts that exist. They never go away, so what is in the set stays true; when it is
// full, it starts anew.
#include "meter/batch.h"

enum { KNOWN_SLOTS = 1 << 19 }; // open addressing, less than half full

struct Known {
    Arena *arena;
    Str *slot;
    size_t count;
};

Known *known_new(void)
{
    Known *known = mem_alloc(sizeof *known);
    known->arena = arena_new();
    known->slot = mem_alloc(KNOWN_SLOTS * sizeof *known->slot);
    return known;
}

void known_free(Known *known)
{
    if (!known) return;
    arena_free(known->arena);
    free(known->slot);
    free(known);
}

static size_t find(const Known *known, Str account)
{
    size_t at = str_hash(HASH_SEED, account) % KNOWN_SLOTS;
    while (known->slot[at].p && !str_equal(known->slot[at], account)) at = (at + 1) % KNOWN_SLOTS;
    return at;
}

bool known_has(const Known *known, Str account)
{
    return known->slot[find(known, account)].p != NULL;
}

void known_clear(Known *known)
{
    memset(known->slot, 0, KNOWN_SLOTS * sizeof *known->slot);
    arena_reset(known->arena);
    known->count = 0;
}

void known_reserve(Known *known, size_t more)
{
    if (known->count + more > KNOWN_ACCOUNTS_MAX) known_clear(known);
}

void known_add(Known *known, Str account)
{
    ASSERT(known->count < KNOWN_SLOTS / 2);
    size_t at = find(known, account);
    if (known->slot[at].p) return;
    known->slot[at] = arena_copy(known->arena, account);
    known->count++;
}
