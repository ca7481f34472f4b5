// SPDX-License-Identifier: Apache-2.0
// The first half of a transaction: the accounts' rows are locked, then all is read that decisions
// depend on. Each statement behind the lock sees what was committed before it was granted.
#include "catalog/store.h"
#include "quota/internal.h"
#include "quota/quota_sql.h"

#include <stdio.h>

AccountState *turn_account(Turn *turn, Str account)
{
    size_t low = 0, high = turn->accounts;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = str_compare(turn->account[middle].account, account);
        if (order == 0) return &turn->account[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

static int compare_vm(const VmState *vm, Str account, Str id)
{
    int by_account = str_compare(vm->account, account);
    return by_account ? by_account : str_compare(vm->vm, id);
}

VmState *turn_vm(Turn *turn, Str account, Str id)
{
    size_t low = 0, high = turn->vms;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare_vm(&turn->vm[middle], account, id);
        if (order == 0) return &turn->vm[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

void slot_move(AccountState *account, SlotState before, SlotState after)
{
    account->running += slot_running(after) - slot_running(before);
    account->reserved += slot_reserved(after) - slot_reserved(before);
    account->changed = true;
}

// ---- rows into states ----
void counts_take(Turn *turn, const Rows *rows)
{
    for (int row = 0; row < rows_count(rows); row++) {
        AccountState *a = turn_account(turn, rows_str(rows, row, 0));
        ASSERT(a);
        a->exists = true;
        a->running = rows_int(rows, row, 1);
        a->reserved = rows_int(rows, row, 2);
        a->version = rows_int(rows, row, 3);
        a->looks = !rows_null(rows, row, 4);
        if (a->looks) a->look_at = rows_instant(rows, row, 4);
        a->exceeded = rows_bool(rows, row, 5);
        a->lapses = !rows_null(rows, row, 6);
        if (a->lapses) a->lapse_at = rows_instant(rows, row, 6);
    }
}

static Status take_now(Turn *turn, const Rows *rows, int64_t *catalog_revision, Error *error)
{
    if (rows_count(rows) != 1)
        return error_set(error, ST_FATAL, "the table state does not have its one row");
    turn->clock = rows_instant(rows, 0, 0);
    turn->progress = (Progress){.known = !rows_null(rows, 0, 1)};
    if (turn->progress.known) turn->progress.at = rows_instant(rows, 0, 1);
    turn->horizon = turn->progress.known ? instant_min(turn->clock, turn->progress.at)
                                         : INSTANT_MIN;
    turn->latest = rows_instant(rows, 0, 2);
    *catalog_revision = rows_int(rows, 0, 3);
    if (rows_null(rows, 0, 4)) return ST_OK;
    const QuotaConfig *config = &turn->quota->config;
    Instant caught_up = instant_add_us(rows_instant(rows, 0, 4),
                                       config->reservation_us + config->event_delay_us);
    turn->gated = !progress_passed(turn->progress, caught_up);
    return ST_OK;
}

static void copy_text(char *out, size_t room, Str text)
{
    ASSERT(text.n < room);
    memcpy(out, text.p, text.n);
    out[text.n] = '\0';
}

// "nano", or "nano 2026-10-03T10:00:30Z large": the last is the size held now.
static Str last_size(Str sizes)
{
    size_t n = sizes.n;
    while (n > 0 && sizes.p[n - 1] != ' ') n--;
    return (Str){sizes.p + n, sizes.n - n};
}

static void take_facts(Turn *turn, const Rows *rows)
{
    for (int row = 0; row < rows_count(rows); row++) {
        VmState *vm = &turn->vm[rows_int(rows, row, 0) - 1];
        vm->doubt = rows_bool(rows, row, 8);
        vm->doubted = rows_bool(rows, row, 9);
        vm->slot.runs = rows_bool(rows, row, 1);
        vm->slot.uncounted = !rows_null(rows, row, 3);
        if (vm->slot.uncounted) vm->why = (Why)rows_int(rows, row, 3);
        vm->slot.reserved = !rows_null(rows, row, 4);
        if (vm->slot.runs && !rows_null(rows, row, 2))
            copy_text(vm->size, sizeof vm->size, last_size(rows_str(rows, row, 2)));
        if (!vm->slot.reserved) continue;
        copy_text(vm->id, sizeof vm->id, rows_str(rows, row, 4));
        copy_text(vm->size, sizeof vm->size, rows_str(rows, row, 5));
        vm->reserved_at = rows_instant(rows, row, 6);
        vm->expires_at = rows_instant(rows, row, 7);
    }
}

static Status take_terms(Turn *turn, const Rows *rows, Error *error)
{
    Str *ids = arena_alloc(turn->arena, (turn->accounts + 1) * sizeof *ids);
    int64_t *revisions = arena_alloc(turn->arena, (turn->accounts + 1) * sizeof *revisions);
    size_t n = 0;
    for (int row = 0; row < rows_count(rows); row++) {
        AccountState *a = turn_account(turn, rows_str(rows, row, 0));
        ASSERT(a);
        if (!a->exists) continue; // created since the lock: next time
        a->revision = rows_int(rows, row, 1);
        ids[n] = a->account;
        revisions[n++] = a->revision;
    }
    const Quota *quota = turn->quota;
    TRY(terms_refresh(turn->db, quota->terms, quota->catalog, instant_day(turn->clock), ids,
                      revisions, n, error));
    for (size_t i = 0; i < turn->accounts; i++) {
        AccountState *a = &turn->account[i];
        const TermsNow *terms = a->exists ? terms_of(quota->terms, a->account) : NULL;
        a->exists = terms != NULL;
        if (terms) a->terms = *terms;
    }
    return ST_OK;
}

static Status refresh_catalog(Turn *turn, int64_t revision, Error *error)
{
    Quota *quota = turn->quota;
    if (quota->catalog && quota->catalog->revision == revision) return ST_OK;
    catalog_free(quota->catalog);
    quota->catalog = NULL;
    return catalog_load(turn->db, &quota->catalog, error);
}

Status turn_read(Turn *turn, Error *error)
{
    enum { LOCK, NOW, REVISIONS, FACTS, CALLS };
    OWNED_BUF Buf accounts = {0}, vm_accounts = {0}, vms = {0};
    array_begin(&accounts);
    array_begin(&vm_accounts);
    array_begin(&vms);
    for (size_t i = 0; i < turn->accounts; i++) array_add(&accounts, turn->account[i].account);
    for (size_t i = 0; i < turn->vms; i++) {
        turn->vm[i].of = turn_account(turn, turn->vm[i].account);
        array_add(&vm_accounts, turn->vm[i].account);
        array_add(&vms, turn->vm[i].vm);
    }
    array_end(&accounts);
    array_end(&vm_accounts);
    array_end(&vms);
    Str of_accounts[] = {buf_str(&accounts)};
    Str of_vms[] = {buf_str(&vm_accounts), buf_str(&vms)};
    DbCall call[CALLS] = {
        [LOCK] = {.statement = &SQL_QUOTA_LOCK, .n = 1, .params = of_accounts},
        [NOW] = {.statement = &SQL_QUOTA_NOW},
        [REVISIONS] = {.statement = &SQL_QUOTA_REVISIONS, .n = 1, .params = of_accounts},
        [FACTS] = {.statement = &SQL_QUOTA_FACTS, .n = 2, .params = of_vms},
    };
    int64_t catalog_revision = 0;
    TRY(db_pipeline(turn->db, true, call, CALLS, false, error));
    counts_take(turn, call[LOCK].rows);
    Status status = take_now(turn, call[NOW].rows, &catalog_revision, error);
    if (status == ST_OK) status = refresh_catalog(turn, catalog_revision, error);
    if (status == ST_OK) status = take_terms(turn, call[REVISIONS].rows, error);
    if (status == ST_OK) take_facts(turn, call[FACTS].rows);
    if (status == ST_OK) status = turn_lapse(turn, error);
    for (int i = 0; i < CALLS; i++) rows_free(call[i].rows);
    return status;
}
