// SPDX-License-Identifier: Apache-2.0
// The recount: five streams in one snapshot, each in order of account (and VM), merged: accounts,
// events, runs, VMs, day totals. Whatever has the least key is next, so that what only one of them
// has shows, whichever it is. Memory holds one account's day totals, one VM, and the batch of
// accounts that is handed to the books.
#include "audit/recount.h"
#include "audit/audit_sql.h"
#include "audit/differ.h"

#include "meter/minutes.h"

#include <inttypes.h>

enum { BATCH_ACCOUNTS = 200, BATCH_CELLS = 50000, PROGRESS_EVENTS = 8192 };
enum { ACCOUNT_KNOWN = 1 };                     // of recount_accounts.sql
enum { DAYS_DAY = 1, DAYS_SIZE, DAYS_MINUTES }; // of recount_days.sql

#define SANE_MINUTES INT64_C(1000000000000) // of a day; others are not priced

typedef struct Recount {
    Audit *audit;
    Source accounts, events, runs, vms, days;
    VmCheck vm;
    DayCells cells;
    Slots slots;
    Instant clock, latest; // as of Slots
    Arena *keys;           // the account at hand
    Str account;
    Arena *batch_arena;
    Recounted batch[BATCH_ACCOUNTS];
    size_t batched, batched_cells;
} Recount;

// ---- sources ----
Status source_open(Audit *audit, const Statement *statement, Source *out, Error *error)
{
    TRY(audit_connect(audit, NULL, &out->db, error));
    TRY(stream_open(out->db, statement, 0, NULL, &out->stream, error));
    return source_next(out, error);
}

Status source_next(Source *source, Error *error)
{
    return stream_next(source->stream, &source->row, error);
}

void source_close(Source *source)
{
    stream_close(source->stream);
    db_close(source->db);
}

bool source_of_account(const Source *source, Str account)
{
    return source->row && str_equal(rows_str(source->row, 0, 0), account);
}

bool source_of_vm(const Source *source, Str account, Str vm)
{
    return source->row && str_equal(rows_str(source->row, 0, 1), vm) &&
           str_equal(rows_str(source->row, 0, 0), account);
}

// The least of the column among the rows at hand (of one account, where it is not absent).
static Str least(const Source *const *sources, int count, Str account, int column)
{
    Str found = {0};
    for (int i = 0; i < count; i++) {
        const Source *s = sources[i];
        if (!s->row || (!str_absent(account) && !source_of_account(s, account))) continue;
        Str value = rows_str(s->row, 0, column);
        if (str_absent(found) || str_compare(value, found) < 0) found = value;
    }
    return found;
}

// ---- one account ----
static Status check_vms(Recount *r, Error *error)
{
    const Source *const sources[] = {&r->events, &r->runs, &r->vms};
    int64_t *events = &r->audit->result->events;
    for (Str vm; !str_absent(vm = least(sources, 3, r->account, 1));) {
        int64_t before = *events;
        TRY(vm_check(&r->vm, r->account, vm, error));
        const Rows *row = source_of_vm(&r->vms, r->account, r->vm.vm) ? r->vms.row : NULL;
        TRY(slots_add(&r->slots, r->audit, &r->vm.refold.timeline, row, error));
        if (row) TRY(source_next(&r->vms, error));
        if (before / PROGRESS_EVENTS != *events / PROGRESS_EVENTS)
            audit_progress(r->audit, "events", *events, 0);
    }
    return ST_OK;
}

static Status bad_day(Recount *r, Day day, Str size, int64_t stored, int64_t right, Error *error)
{
    OWNED_BUF Buf what = {0};
    char date[DAY_TEXT];
    const Catalog *catalog = r->audit->catalog;
    SizeNo known = catalog_size(catalog, size);
    buf_addf(&what, "usage_day of %s, size ", day_format(day, date));
    buf_add_str(&what, size);
    buf_addf(&what, ": %" PRId64 " minutes are stored, should be %" PRId64, stored, right);
    if (known != SIZE_NONE && stored > -SANE_MINUTES && stored < SANE_MINUTES)
        differ_usage(&what, minutes_cost(catalog, day, known, stored),
                     minutes_cost(catalog, day, known, right));
    Finding finding = {.check = "minutes", .account = r->account, .what = buf_str(&what)};
    return audit_find(r->audit, &finding, error);
}

static int compare_day(const Rows *row, const DayCell *cell, const Catalog *catalog)
{
    Day day = rows_day(row, 0, DAYS_DAY);
    if (day.days != cell->day.days) return day.days < cell->day.days ? -1 : 1;
    return str_compare(rows_str(row, 0, DAYS_SIZE), str(catalog->size_names[cell->size]));
}

// Merges the account's stored day totals with those that were counted; both are in order.
static Status check_days(Recount *r, Error *error)
{
    const Catalog *catalog = r->audit->catalog;
    for (size_t i = 0;;) {
        while (i < r->cells.count && r->cells.cell[i].all == 0) i++; // only an open run's
        const DayCell *cell = i < r->cells.count ? &r->cells.cell[i] : NULL;
        const Rows *row = source_of_account(&r->days, r->account) ? r->days.row : NULL;
        if (!cell && !row) return ST_OK;
        int order = !row ? 1 : !cell ? -1 : compare_day(row, cell, catalog);
        int64_t stored = order <= 0 ? rows_int(row, 0, DAYS_MINUTES) : 0;
        int64_t right = order >= 0 ? cell->all : 0;
        Day day = order <= 0 ? rows_day(row, 0, DAYS_DAY) : cell->day;
        Str size = order <= 0 ? rows_str(row, 0, DAYS_SIZE) : str(catalog->size_names[cell->size]);
        if (stored != right) TRY(bad_day(r, day, size, stored, right, error));
        if (order <= 0) TRY(source_next(&r->days, error));
        if (order >= 0) i++;
    }
}

// ---- handing over to the books ----
static Status flush_batch(Recount *r, Error *error)
{
    if (r->batched == 0) return ST_OK;
    TRY(audit_books(r->audit, r->batch, r->batched, error));
    r->batched = r->batched_cells = 0;
    arena_reset(r->batch_arena);
    return ST_OK;
}

static Status hand_over(Recount *r, Error *error)
{
    Recounted *out = &r->batch[r->batched++];
    size_t n = 0;
    *out = (Recounted){.account = arena_copy(r->batch_arena, r->account)};
    out->cells = arena_alloc(r->batch_arena, (r->cells.count + 1) * sizeof *out->cells);
    for (size_t i = 0; i < r->cells.count; i++) {
        const DayCell *cell = &r->cells.cell[i];
        if (cell->used == 0) continue;
        out->cells[n++] = (DayUsage){out->account, cell->day, cell->size, cell->used};
    }
    out->count = n;
    r->batched_cells += n;
    bool full = r->batched == BATCH_ACCOUNTS || r->batched_cells >= BATCH_CELLS;
    return full ? flush_batch(r, error) : ST_OK;
}

static Status unknown_account(Recount *r, Error *error)
{
    static const char what[] =
        "there is no such account, but the tables event, run, vm, usage_day, quota, reservation or "
        "uncounted speak of it";
    Finding finding = {.check = "accounts", .account = r->account, .what = str(what)};
    return audit_find(r->audit, &finding, error);
}

static Status check_account(Recount *r, Error *error)
{
    cells_clear(&r->cells);
    r->slots = (Slots){.clock = r->clock, .latest = r->latest};
    bool listed = source_of_account(&r->accounts, r->account);
    bool known = listed && rows_bool(r->accounts.row, 0, ACCOUNT_KNOWN);
    TRY(check_vms(r, error));
    cells_sort(&r->cells);
    TRY(check_days(r, error));
    if (listed) TRY(slots_check(&r->slots, r->audit, r->account, r->accounts.row, error));
    if (listed) TRY(source_next(&r->accounts, error));
    if (!known) return unknown_account(r, error);
    r->audit->result->accounts++;
    return hand_over(r, error);
}

// ---- all accounts ----
static Status open_all(Recount *r, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(r->audit->db, &SQL_AUDIT_RECOUNT_CLOCK, 0, NULL, &rows, error));
    r->clock = rows_instant(rows, 0, 0);
    r->latest = rows_instant(rows, 0, 1);
    TRY(source_open(r->audit, &SQL_AUDIT_RECOUNT_EVENTS, &r->events, error));
    TRY(source_open(r->audit, &SQL_AUDIT_RECOUNT_RUNS, &r->runs, error));
    TRY(source_open(r->audit, &SQL_AUDIT_RECOUNT_VMS, &r->vms, error));
    TRY(source_open(r->audit, &SQL_AUDIT_RECOUNT_DAYS, &r->days, error));
    return source_open(r->audit, &SQL_AUDIT_RECOUNT_ACCOUNTS, &r->accounts, error);
}

static Status recount_all(Recount *r, Error *error)
{
    TRY(open_all(r, error));
    const Source *const sources[] = {&r->accounts, &r->events, &r->runs, &r->vms, &r->days};
    for (Str account; !str_absent(account = least(sources, 5, (Str){0}, 0));) {
        arena_reset(r->keys);
        r->account = arena_copy(r->keys, account);
        TRY(check_account(r, error));
    }
    return flush_batch(r, error);
}

Status audit_recount(Audit *audit, Error *error)
{
    Recount *r = mem_alloc(sizeof *r);
    r->audit = audit;
    r->keys = arena_new();
    r->batch_arena = arena_new();
    vm_check_init(&r->vm, audit);
    r->vm.events = &r->events;
    r->vm.runs = &r->runs;
    r->vm.vms = &r->vms;
    r->vm.cells = &r->cells;
    r->vm.counts = true;
    if (audit->books.begun) r->vm.first = period_first(audit->books.first);
    Status status = recount_all(r, error);
    vm_check_done(&r->vm);
    cells_done(&r->cells);
    source_close(&r->accounts);
    source_close(&r->events);
    source_close(&r->runs);
    source_close(&r->vms);
    source_close(&r->days);
    arena_free(r->batch_arena);
    arena_free(r->keys);
    free(r);
    return status;
}
