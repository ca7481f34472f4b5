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
    RunRows ended, gone;
    UsageCells more, less;
    Arena *arena;
} Recount;

static Status recount_vm(void *context, const History *history, Error *error)
{
    (void)error;
    Recount *r = context;
    VmGroup *group = &r->group[r->at++];
    attempt_difference(history, r->view, &r->ended, &r->gone, &r->more, &r->less, r->arena);
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

static Status recount_page(Db *db, Moved *moved, const HistoryView *view, const Rows *page,
                           Arena *arena, Error *error)
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
    TRY(write_runs(db, view->wanted, &r.ended, &r.gone, error));
    TRY(write_vms(db, view->wanted, r.group, n, error));
    TRY(write_cells(db, view->stored, &r.less, error));
    TRY(write_cells(db, view->wanted, &r.more, error));
    for (size_t i = 0; i < n; i++) note_change(moved, &r.group[i], view->wanted);
    return ST_OK;
}

Status meter_rebuild(Db *db, const Catalog *before, const Catalog *after, Error *error)
{
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
        TRY(recount_page(db, &moved, &view, page, arena, error));
        arena_reset(keys);
        account = arena_copy(keys, rows_str(page, n - 1, 0));
        vm = arena_copy(keys, rows_str(page, n - 1, 1));
    }
    TRY(quota_follow(db, follower, after, moved.change, moved.count, error));
    return quota_look_again(db, error);
}
