// SPDX-License-Identifier: Apache-2.0
#include "meter/rebuild.h"

#include "meter/batch.h"
#include "meter/meter_sql.h"

enum { REBUILD_PAGE = 2000 };

// ---- whether anything changes ----
static bool same_on(const Catalog *a, const Catalog *b, Day day)
{
    const CatalogVersion *va = catalog_on(a, day), *vb = catalog_on(b, day);
    if (va->heartbeat_timeout_us != vb->heartbeat_timeout_us || a->sizes != b->sizes) return false;
    for (int s = 0; s < a->sizes; s++) {
        const Size *sa = &va->sizes[s], *sb = &vb->sizes[s];
        if (strcmp(a->size_names[s], b->size_names[s]) != 0 || sa->present != sb->present ||
            sa->credits_per_hour != sb->credits_per_hour || sa->millicpu != sb->millicpu ||
            sa->memory_bytes != sb->memory_bytes)
            return false;
    }
    return true;
}

// Versions are constant between their dates, so those dates, and all time before, tell all.
static bool same_everywhere(const Catalog *a, const Catalog *b)
{
    if (!same_on(a, b, DAY_MIN)) return false;
    for (int i = 0; i < a->versions; i++)
        if (!same_on(a, b, a->version[i].from)) return false;
    for (int i = 0; i < b->versions; i++)
        if (!same_on(a, b, b->version[i].from)) return false;
    return true;
}

// Every event must find its size in the new catalogue. A version never lacks a size that an earlier
// one has, so a name that is there at the first event is there for all; resources are looked up at
// each version's dates between.
static Status check_sizes(Db *db, const Catalog *after, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_METER_EVENT_SIZES, 0, NULL, &rows, error));
    for (int row = 0; row < rows_count(rows); row++) {
        Event event = {.size = rows_str(rows, row, 0), .at = rows_instant(rows, row, 3)};
        if (!rows_null(rows, row, 1)) event.millicpu = rows_int(rows, row, 1);
        if (!rows_null(rows, row, 2)) event.memory_bytes = rows_int(rows, row, 2);
        Instant last = rows_instant(rows, row, 4);
        for (int v = -1; v < after->versions; v++) {
            Instant at = v < 0 ? event.at : day_start(after->version[v].from);
            if (v >= 0 && (at.us <= event.at.us || at.us > last.us)) continue;
            Event then = event;
            then.at = at;
            if (event_size(&then, after) != SIZE_NONE) continue;
            char text[INSTANT_TEXT];
            return error_set(error, ST_BAD_INPUT,
                             "an event of %s has size \"%s\" (millicpu %lld, memory_bytes %lld), "
                             "which the new catalogue does not have then",
                             instant_format(at, text), str_absent(event.size) ? "" : event.size.p,
                             (long long)event.millicpu, (long long)event.memory_bytes);
        }
    }
    return ST_OK;
}

// ---- recounting ----
typedef struct Recount {
    const HistoryView *view;
    VmGroup *group;
    size_t at;
    RunRows ended, gone, open;
    UsageCells more, less;
    UsageCells open_more, open_less; // of runs that are open, which are nowhere stored
    Arena *arena;
} Recount;

static int64_t longest_timeout_us(const Catalog *catalog)
{
    int64_t longest = 0;
    for (int v = 0; v < catalog->versions; v++)
        if (catalog->version[v].heartbeat_timeout_us > longest)
            longest = catalog->version[v].heartbeat_timeout_us;
    return longest;
}

// Open runs are compared as they will be a while after the last event: what is lost by then stays
// lost, and what is not goes on alike on both sides, unless they differ before that.
static void count_open(Recount *r, const History *history)
{
    const HistoryView *view = r->view;
    if (!history->has_last) return;
    int64_t wait_us = longest_timeout_us(view->stored) + longest_timeout_us(view->wanted);
    Instant end = instant_add_us(history->last_at, wait_us + US_PER_MINUTE);
    Str account = history->ask->account, vm = history->ask->vm;
    Run run;
    if (timeline_open_run(&history->stored.timeline, view->stored, end, &run))
        attempt_run(&r->open, &r->open_less, r->arena, view->stored, account, vm, &run, -1);
    if (timeline_open_run(&history->wanted.timeline, view->wanted, end, &run))
        attempt_run(&r->open, &r->open_more, r->arena, view->wanted, account, vm, &run, 1);
}

static Status recount_vm(void *context, const History *history, Error *error)
{
    (void)error;
    Recount *r = context;
    VmGroup *group = &r->group[r->at++];
    attempt_difference(history, r->view, &r->ended, &r->gone, &r->more, &r->less, r->arena);
    count_open(r, history);
    group_take(group, history, r->arena);
    group->added_count = 1; // so that its row is written
    return ST_OK;
}

// VMs that run now and did not before, or the other way round. Quota follows them when all else is
// written, so that nobody who asks for a slot waits for the rebuild.
typedef struct Moved {
    Arena *arena;
    VmChange *change;
    size_t count, room;
} Moved;

static void note_change(Moved *moved, const VmGroup *group, const Catalog *catalog)
{
    VmGroup unmoved = *group;
    unmoved.added_count = 0; // no event came
    VmChange change = group_change(&unmoved, catalog, moved->arena);
    if (change.ran == change.runs) return;
    if (moved->count == moved->room) {
        moved->room = moved->room ? moved->room * 2 : 64;
        VmChange *more = arena_alloc(moved->arena, moved->room * sizeof *more);
        if (moved->count) memcpy(more, moved->change, moved->count * sizeof *more);
        moved->change = more;
    }
    change.account = arena_copy(moved->arena, change.account);
    change.vm = arena_copy(moved->arena, change.vm);
    change.touched = true;
    moved->change[moved->count++] = change;
}

// ---- whose usage changes, and when ----
typedef struct Changes {
    RebuildFn changed;
    void *context;
} Changes;

static void add_net(UsageCells *net, const UsageCells *cells, const SizeNo *number)
{
    for (size_t i = 0; i < cells->count; i++) {
        UsageCell *cell = &net->cell[net->count++];
        *cell = cells->cell[i];
        if (number) cell->size = number[cell->size];
    }
}

// Both sides' minutes taken together, in the sizes of the wanted catalogue.
static UsageCells net_of(const Recount *r)
{
    const Catalog *stored = r->view->stored;
    SizeNo number[CATALOG_SIZES_MAX];
    for (int s = 0; s < stored->sizes; s++)
        number[s] = catalog_size(r->view->wanted, str(stored->size_names[s]));
    size_t n = r->more.count + r->less.count + r->open_more.count + r->open_less.count;
    UsageCells net = {.cell = arena_alloc(r->arena, (n + 1) * sizeof *net.cell)};
    add_net(&net, &r->more, NULL);
    add_net(&net, &r->open_more, NULL);
    add_net(&net, &r->less, number);
    add_net(&net, &r->open_less, number);
    qsort(net.cell, net.count, sizeof *net.cell, usage_cells_compare);
    return net;
}

static Status note_changes(Db *db, const Changes *changes, const Recount *r, Error *error)
{
    UsageCells net = net_of(r);
    Unsettled *row = arena_alloc(r->arena, (net.count + 1) * sizeof *row);
    size_t n = 0;
    int64_t sum = 0;
    const UsageCell *last = NULL; // of the last day that was told of
    for (size_t i = 0; i < net.count; i++) {
        const UsageCell *cell = &net.cell[i];
        sum += cell->minutes;
        if (i + 1 < net.count && usage_cells_compare(cell, cell + 1) == 0) continue;
        bool changed = sum != 0;
        sum = 0;
        bool same_account = last && str_equal(last->account, cell->account);
        if (!changed || (same_account && last->day.days == cell->day.days)) continue;
        if (!same_account) row[n++] = (Unsettled){cell->account, cell->day};
        if (changes->changed)
            TRY(changes->changed(changes->context, cell->account, cell->day, error));
        last = cell;
    }
    return unsettled_add(db, row, n, error);
}

static Status recount_page(Db *db, const Changes *changes, Moved *moved, const HistoryView *view,
                           const Rows *page, Arena *arena, Error *error)
{
    size_t n = (size_t)rows_count(page);
    HistoryAsk *asks = arena_alloc(arena, n * sizeof *asks);
    Recount r = {.view = view, .group = arena_alloc(arena, n * sizeof *r.group), .arena = arena};
    for (size_t i = 0; i < n; i++) {
        r.group[i].account = arena_copy(arena, rows_str(page, (int)i, 0));
        r.group[i].vm = arena_copy(arena, rows_str(page, (int)i, 1));
        asks[i] = (HistoryAsk){.account = r.group[i].account, .vm = r.group[i].vm};
    }
    TRY(load_vms(db, view->stored, r.group, n, arena, error));
    TRY(history_read(db, view, asks, n, recount_vm, &r, error));
    TRY(note_changes(db, changes, &r, error));
    TRY(write_runs(db, view->wanted, &r.ended, &r.gone, error));
    TRY(write_vms(db, view->wanted, r.group, n, error));
    TRY(write_cells(db, view->stored, &r.less, error));
    TRY(write_cells(db, view->wanted, &r.more, error));
    for (size_t i = 0; i < n; i++) note_change(moved, &r.group[i], view->wanted);
    return ST_OK;
}

Status meter_rebuild(Db *db, const Catalog *before, const Catalog *after, RebuildFn changed,
                     void *context, Error *error)
{
    Changes changes = {changed, context};
    if (!before || same_everywhere(before, after)) return ST_OK;
    TRY(check_sizes(db, after, error));
    TRY(db_script(
        db,
        "CREATE TEMPORARY TABLE IF NOT EXISTS vm_stage (LIKE vm INCLUDING DEFAULTS) ON COMMIT DELETE ROWS",
        error));
    HistoryView view = {before, after, NULL};
    OWNED_FOLLOWER Follower *follower = follower_new();
    OWNED_ARENA Arena *kept = arena_new();
    Moved moved = {.arena = kept};
    OWNED_ARENA Arena *keys = arena_new();
    Str account = STR(""), vm = STR("");
    for (int n = REBUILD_PAGE; n == REBUILD_PAGE;) {
        OWNED_ARENA Arena *arena = arena_new();
        OWNED_ROWS Rows *page = NULL;
        Str params[] = {account, vm, param_int(arena, REBUILD_PAGE)};
        TRY(db_query(db, &SQL_METER_VM_PAGE, 3, params, &page, error));
        n = rows_count(page);
        if (n == 0) break;
        TRY(recount_page(db, &changes, &moved, &view, page, arena, error));
        arena_reset(keys);
        account = arena_copy(keys, rows_str(page, n - 1, 0));
        vm = arena_copy(keys, rows_str(page, n - 1, 1));
    }
    TRY(quota_follow(db, follower, after, moved.change, moved.count, error));
    return quota_look_again(db, error);
}
