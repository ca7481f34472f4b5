// SPDX-License-Identifier: Apache-2.0
// What accounts may today, so that a decision reads a number instead of a document. When too many
// are kept, or the day or the catalogue is another, all are forgotten: those that matter come back
// with the next asks.
#include "catalog/store.h"
#include "quota/internal.h"

#include <stdio.h>

enum { SLOTS = 1 << 15, ID_BYTES = 64 }; // a power of two, well above QUOTA_ACCOUNTS_KEPT

typedef struct Entry {
    char id[ID_BYTES]; // not terminated
    size_t n;          // 0: free
    int64_t revision;
    TermsNow terms;
} Entry;

struct TermsKept {
    int64_t catalog_revision;
    Day day;
    size_t used;
    Entry entry[SLOTS];
};

TermsKept *terms_new(void) { return mem_alloc(sizeof(TermsKept)); }
void terms_free(TermsKept *kept) { free(kept); }

static void forget_all(TermsKept *kept)
{
    if (kept->used > 0) memset(kept->entry, 0, sizeof kept->entry);
    kept->used = 0;
}

// Where the account's entry stands, or would stand.
static size_t place_of(const TermsKept *kept, Str id)
{
    size_t at = str_hash(HASH_SEED, id) % SLOTS;
    while (kept->entry[at].n > 0 && !str_equal((Str){kept->entry[at].id, kept->entry[at].n}, id))
        at = (at + 1) % SLOTS;
    return at;
}

const TermsNow *terms_of(const TermsKept *kept, Str id)
{
    const Entry *entry = &kept->entry[place_of(kept, id)];
    return entry->n > 0 ? &entry->terms : NULL;
}

static TermsNow terms_on(const Account *account, const Catalog *catalog, Day day)
{
    Standing standing = account_standing(account, day);
    Terms terms = account_terms(account, catalog, standing.subscription, day);
    TermsNow now = {.suspended = account->suspended,
                    .active = standing.active,
                    .overage_deny = terms.overage_deny,
                    .has_spend_limit = account->has_spend_limit,
                    .limit = terms.concurrency_limit,
                    .max_session_minutes = terms.max_session_minutes};
    if (standing.active)
        snprintf(now.plan, sizeof now.plan, "%s",
                 account->subscription[standing.subscription].plan.p);
    return now;
}

Status terms_refresh(Db *db, TermsKept *kept, const Catalog *catalog, Day day, const Str *ids,
                     const int64_t *revisions, size_t n, Error *error)
{
    bool other = kept->catalog_revision != catalog->revision || kept->day.days != day.days;
    if (other || kept->used + n > QUOTA_ACCOUNTS_KEPT) forget_all(kept);
    kept->catalog_revision = catalog->revision;
    kept->day = day;
    OWNED_ARENA Arena *arena = arena_new();
    Str *stale = arena_alloc(arena, (n + 1) * sizeof *stale);
    size_t count = 0, found = 0;
    for (size_t i = 0; i < n; i++) {
        const Entry *entry = &kept->entry[place_of(kept, ids[i])];
        if (entry->n == 0 || entry->revision != revisions[i]) stale[count++] = ids[i];
    }
    if (count == 0) return ST_OK;
    Account *accounts = NULL;
    TRY(accounts_load_some(db, stale, count, arena, &accounts, &found, error));
    for (size_t i = 0; i < found; i++) {
        Str id = accounts[i].id;
        Entry *entry = &kept->entry[place_of(kept, id)];
        ASSERT(id.n > 0 && id.n <= ID_BYTES);
        kept->used += entry->n == 0;
        memcpy(entry->id, id.p, id.n);
        entry->n = id.n;
        entry->revision = accounts[i].revision;
        entry->terms = terms_on(&accounts[i], catalog, day);
    }
    return ST_OK;
}

// ---- columns ----
void columns_begin(Columns *columns, int count)
{
    ASSERT(count <= COLUMNS_MAX);
    *columns = (Columns){.count = count};
    for (int c = 0; c < count; c++) array_begin(&columns->array[c]);
}

void columns_end(Columns *columns)
{
    for (int c = 0; c < columns->count; c++) {
        array_end(&columns->array[c]);
        columns->param[c] = buf_str(&columns->array[c]);
    }
}

void columns_free(Columns *columns)
{
    for (int c = 0; c < columns->count; c++) buf_free(&columns->array[c]);
    columns->count = 0;
}

void columns_add_instant(Columns *columns, int column, const Instant *at)
{
    char text[INSTANT_TEXT];
    array_add(&columns->array[column], at ? str(instant_format(*at, text)) : (Str){0});
}
