// SPDX-License-Identifier: Apache-2.0
// VMs as they stood after our last write, so that most need not be read again. Only a shortcut: a
// VM that somebody else has written since has another version, the write is refused, and the batch
// is done again without the cache. Four entries a set, the oldest of a set makes room, so memory
// does not grow with the VMs ever seen.
#include "meter/batch.h"

enum { CACHE_SETS = 1 << 16, CACHE_WAYS = 4 };

typedef struct Entry {
    uint64_t hash;
    int64_t version;
    Instant last_at, start, proof;
    int32_t nth, spans, account_n, vm_n, name_n; // name_n -1: absent
    uint8_t phase;
    bool has_last, started, watched, pending;
    char bytes[]; // spans, then account, VM and name
} Entry;

struct VmCache {
    Entry *entry[CACHE_SETS][CACHE_WAYS];
    uint8_t next[CACHE_SETS];
};

VmCache *vm_cache_new(void) { return mem_alloc(sizeof(VmCache)); }

void vm_cache_clear(VmCache *cache)
{
    for (size_t set = 0; set < CACHE_SETS; set++)
        for (int way = 0; way < CACHE_WAYS; way++) {
            free(cache->entry[set][way]);
            cache->entry[set][way] = NULL;
        }
}

void vm_cache_free(VmCache *cache)
{
    if (!cache) return;
    vm_cache_clear(cache);
    free(cache);
}

static uint64_t hash_of(Str account, Str vm)
{
    return str_hash(str_hash(HASH_SEED, account) * 31, vm);
}

static char *texts_of(Entry *entry)
{
    return entry->bytes + (size_t)entry->spans * sizeof(SizeSpan);
}

static Entry **find(VmCache *cache, Str account, Str vm, uint64_t hash)
{
    Entry **set = cache->entry[hash % CACHE_SETS];
    for (int way = 0; way < CACHE_WAYS; way++) {
        Entry *e = set[way];
        if (!e || e->hash != hash) continue;
        Str account_of = {texts_of(e), (size_t)e->account_n},
            vm_of = {account_of.p + account_of.n, (size_t)e->vm_n};
        if (str_equal(account_of, account) && str_equal(vm_of, vm)) return &set[way];
    }
    return NULL;
}

bool vm_cache_get(VmCache *cache, VmGroup *group, Arena *arena)
{
    Entry **found = find(cache, group->account, group->vm, hash_of(group->account, group->vm));
    if (!found) return false;
    Entry *e = *found;
    Timeline *t = &group->timeline;
    group->version = e->version;
    group->has_last = e->has_last;
    group->last_at = e->last_at;
    group->pending = e->pending;
    *t = (Timeline){.arena = arena,
                    .phase = (Phase)e->phase,
                    .started = e->started,
                    .start = e->start,
                    .nth = e->nth,
                    .watched = e->watched,
                    .proof = e->proof,
                    .spans = e->spans,
                    .span_room = e->spans};
    if (e->name_n >= 0)
        t->name = arena_copy(arena, (Str){texts_of(e) + e->account_n + e->vm_n, (size_t)e->name_n});
    t->span = arena_alloc(arena, (size_t)e->spans * sizeof *t->span);
    memcpy(t->span, e->bytes, (size_t)e->spans * sizeof *t->span);
    return true;
}

void vm_cache_drop(VmCache *cache, Str account, Str vm)
{
    Entry **found = find(cache, account, vm, hash_of(account, vm));
    if (!found) return;
    free(*found);
    *found = NULL;
}

void vm_cache_put(VmCache *cache, const VmGroup *group)
{
    const Timeline *t = &group->timeline;
    bool kept = t->phase != PHASE_IDLE; // of a VM that does not run, spans and name are history
    Str name = kept ? t->name : (Str){0};
    int spans = kept ? t->spans : 0;
    uint64_t hash = hash_of(group->account, group->vm);
    size_t bytes = (size_t)spans * sizeof(SizeSpan) + group->account.n + group->vm.n + name.n;
    Entry *e = mem_alloc(sizeof *e + bytes);
    *e = (Entry){.hash = hash,
                 .version = group->version + 1,
                 .last_at = group->last_at,
                 .start = t->start,
                 .proof = t->proof,
                 .nth = t->nth,
                 .spans = spans,
                 .account_n = (int32_t)group->account.n,
                 .vm_n = (int32_t)group->vm.n,
                 .name_n = str_absent(name) ? -1 : (int32_t)name.n,
                 .phase = (uint8_t)t->phase,
                 .has_last = group->has_last,
                 .started = t->started,
                 .watched = kept && t->watched,
                 .pending = group->pending};
    if (spans) memcpy(e->bytes, t->span, (size_t)spans * sizeof(SizeSpan));
    char *p = texts_of(e);
    memcpy(p, group->account.p, group->account.n);
    memcpy(p + group->account.n, group->vm.p, group->vm.n);
    if (name.n) memcpy(p + group->account.n + group->vm.n, name.p, name.n);
    Entry **slot = find(cache, group->account, group->vm, hash);
    size_t set = hash % CACHE_SETS;
    for (int way = 0; way < CACHE_WAYS && !slot; way++)
        if (!cache->entry[set][way]) slot = &cache->entry[set][way];
    if (!slot) slot = &cache->entry[set][cache->next[set]++ % CACHE_WAYS];
    free(*slot);
    *slot = e;
}
