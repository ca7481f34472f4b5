// SPDX-License-Identifier: Apache-2.0
// A page is put together from those that ended and those that are open, each read in order from
// behind the key on, one more than is shown.
#include "meter/runs.h"

#include "meter/history.h"
#include "meter/meter_sql.h"
#include "meter/minutes.h"

typedef struct Page {
    Db *db;
    const Catalog *catalog;
    const Now *now;
    const RunsAsk *ask;
    Arena *arena;
    int want; // one more than the page holds
    RunView *view;
    size_t count, room;
} Page;

static void push(Page *p, RunView view)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 256;
        RunView *more = arena_alloc(p->arena, room * sizeof *more);
        if (p->count) memcpy(more, p->view, p->count * sizeof *more);
        p->view = more;
        p->room = room;
    }
    p->view[p->count++] = view;
}

static int newest_first(const void *pa, const void *pb)
{
    const RunView *a = pa, *b = pb;
    int order = instant_compare(b->start, a->start);
    if (!order) order = str_compare(b->vm, a->vm);
    return order ? order : (b->nth > a->nth) - (b->nth < a->nth);
}

// ---- ended ----
enum { ENDED_PARAMS = 6 };

// What the next statement begins behind, as parameters. Without a cursor, or where that is not
// below `to`, the least key at `to`: no run has it, and those behind it are the ones before `to`.
typedef struct Behind {
    Str start, vm, nth;
} Behind;

static Behind first_key(const Page *p)
{
    const RunsAsk *ask = p->ask;
    if (ask->has_after && (!ask->has_to || ask->after.start.us < ask->to.us))
        return (Behind){param_instant(p->arena, ask->after.start), ask->after.vm,
                        param_int(p->arena, ask->after.nth)};
    Str start = ask->has_to ? param_instant(p->arena, ask->to) : STR("infinity");
    return (Behind){start, STR(""), STR("0")};
}

static Status read_ended(Page *p, const Statement *statement, const Str params[ENDED_PARAMS],
                         Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    OWNED_ARENA Arena *spans = arena_new();
    TRY(db_query(p->db, statement, ENDED_PARAMS, params, &rows, error));
    for (int row = 0; row < rows_count(rows); row++) {
        RunView view = {.vm = arena_copy(p->arena, rows_str(rows, row, 0)),
                        .start = rows_instant(rows, row, 1),
                        .nth = (int32_t)rows_int(rows, row, 2),
                        .end = rows_instant(rows, row, 3),
                        .by = (EndedBy)rows_int(rows, row, 4),
                        .minutes = rows_int(rows, row, 6),
                        .cm = {rows_int(rows, row, 7)}};
        arena_reset(spans);
        int n;
        SizeSpan *span = spans_parse(p->catalog, rows_str(rows, row, 5), view.start, spans, &n);
        view.size = span[n - 1].size;
        push(p, view);
    }
    return ST_OK;
}

static Status ended_runs(Page *p, Error *error)
{
    const RunsAsk *ask = p->ask;
    Behind key = first_key(p);
    Str from = ask->has_from ? param_instant(p->arena, ask->from) : STR("-infinity");
    Str params[ENDED_PARAMS] = {ask->account, from,    key.start,
                                key.vm,       key.nth, param_int(p->arena, p->want)};
    if (!str_absent(ask->vm)) {
        // Of one VM, a key of another VM with the same start is before or behind all of its runs.
        int order = str_compare(ask->vm, key.vm);
        if (order < 0) params[4] = param_int(p->arena, INT32_MAX);
        if (order > 0) params[4] = STR("0");
        params[3] = ask->vm;
        return read_ended(p, &SQL_METER_RUNS_OF_VM, params, error);
    }
    TRY(read_ended(p, &SQL_METER_RUNS_ENDED, params, error));
    return ask->has_from ? read_ended(p, &SQL_METER_RUNS_LONG, params, error) : ST_OK;
}

// ---- open ----
typedef struct Sum {
    const Catalog *catalog;
    RunView *view;
} Sum;

static void add_minutes(void *context, Instant first, int64_t count, SizeNo size)
{
    Sum *sum = context;
    sum->view->minutes += count;
    sum->view->cm = cm_add(sum->view->cm,
                           minutes_cost(sum->catalog, instant_day(first), size, count));
}

// The timeline of a VM that runs, from columns of its row; spans live in `arena`.
static Timeline open_timeline(const Catalog *catalog, Instant start, const Rows *rows, int row,
                              int sizes, int proof, Arena *arena)
{
    Timeline t = {.arena = arena,
                  .phase = PHASE_RUNNING,
                  .started = true,
                  .start = start,
                  .watched = !rows_null(rows, row, proof)};
    if (t.watched) t.proof = rows_instant(rows, row, proof);
    t.span = spans_parse(catalog, rows_str(rows, row, sizes), start, arena, &t.spans);
    return t;
}

// One row of runs_open as a run; false where it was lost before `from`.
static bool open_view(const Page *p, const Rows *rows, int row, Arena *spans, RunView *out)
{
    arena_reset(spans);
    *out = (RunView){.vm = arena_copy(p->arena, rows_str(rows, row, 0)),
                     .start = rows_instant(rows, row, 1),
                     .nth = (int32_t)rows_int(rows, row, 2),
                     .open = true};
    Timeline t = open_timeline(p->catalog, out->start, rows, row, 3, 4, spans);
    out->size = t.span[t.spans - 1].size;
    Run run;
    // One that begins behind the horizon is open, and has used nothing yet.
    if (!timeline_open_run(&t, p->catalog, p->now->horizon, &run)) return true;
    run_minutes(p->catalog, &run, add_minutes, &(Sum){p->catalog, out});
    if (run.by == ENDED_NOT) return true;
    out->open = false;
    out->size = run.span[run.spans - 1].size; // one taken with the last proof was not held
    out->end = run.end;
    out->by = run.by;
    const RunsAsk *ask = p->ask;
    return !ask->has_from || run.end.us > ask->from.us || run.start.us >= ask->from.us;
}

static Status open_runs(Page *p, Error *error)
{
    const RunsAsk *ask = p->ask;
    OWNED_ARENA Arena *spans = arena_new();
    Behind key = first_key(p);
    for (int found = 0, read = p->want; found < p->want && read == p->want;) {
        OWNED_ROWS Rows *rows = NULL;
        Str params[] = {ask->account, ask->vm, key.start,
                        key.vm,       key.nth, param_int(p->arena, p->want)};
        TRY(db_query(p->db, &SQL_METER_RUNS_OPEN, 6, params, &rows, error));
        read = rows_count(rows);
        for (int row = 0; row < read; row++) {
            RunView view;
            if (open_view(p, rows, row, spans, &view)) {
                push(p, view);
                found++;
            }
            key = (Behind){param_instant(p->arena, view.start), view.vm,
                           param_int(p->arena, view.nth)};
        }
    }
    return ST_OK;
}

Status runs_page(Db *db, const Catalog *catalog, const Now *now, const RunsAsk *ask, Arena *arena,
                 RunView **out, size_t *count, bool *more, Error *error)
{
    ASSERT(ask->limit >= 1 && ask->limit <= RUNS_PAGE_MAX && !now->as_of);
    Page p = {.db = db,
              .catalog = catalog,
              .now = now,
              .ask = ask,
              .arena = arena,
              .want = ask->limit + 1};
    TRY(ended_runs(&p, error));
    TRY(open_runs(&p, error));
    if (p.count) qsort(p.view, p.count, sizeof *p.view, newest_first);
    *more = p.count > (size_t)ask->limit;
    *count = *more ? (size_t)ask->limit : p.count;
    *out = p.view;
    return ST_OK;
}

// ---- what runs burns ----
typedef struct Burn {
    const Catalog *catalog;
    const Now *now;
    int64_t per_hour;
} Burn;

static void burn_open(Burn *burn, const Timeline *timeline)
{
    Run run;
    if (!timeline_open_run(timeline, burn->catalog, burn->now->horizon, &run)) return;
    if (run.by != ENDED_NOT) return;
    const CatalogVersion *today = catalog_on(burn->catalog, instant_day(burn->now->clock));
    burn->per_hour += today->sizes[run.span[run.spans - 1].size].credits_per_hour;
}

static Status burn_as_of(void *context, const History *history, Error *error)
{
    (void)error;
    burn_open(context, &history->wanted.timeline);
    return ST_OK;
}

// VMs that went on after --as-of, from their events.
static Status burn_gone_on(Burn *burn, Db *db, Str accounts, Arena *arena, Error *error)
{
    if (!burn->now->as_of) return ST_OK;
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {accounts, param_instant(arena, burn->now->horizon)};
    TRY(db_query(db, &SQL_METER_VM_AFTER, 2, params, &rows, error));
    size_t n = (size_t)rows_count(rows);
    HistoryAsk *asks = arena_alloc(arena, (n + 1) * sizeof *asks);
    for (size_t i = 0; i < n; i++)
        asks[i] = (HistoryAsk){.account = rows_str(rows, (int)i, 0),
                               .vm = rows_str(rows, (int)i, 1)};
    HistoryView view = {burn->catalog, burn->catalog, &burn->now->horizon};
    return history_read(db, &view, asks, n, burn_as_of, burn, error);
}

Status runs_per_hour(Db *db, const Catalog *catalog, const Now *now, Str account, int64_t *per_hour,
                     Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ARENA Arena *spans = arena_new();
    OWNED_BUF Buf list = {0};
    array_begin(&list);
    array_add(&list, account);
    array_end(&list);
    OWNED_ROWS Rows *rows = NULL;
    Burn burn = {catalog, now, 0};
    Str params[] = {buf_str(&list), param_instant(arena, instant_add_us(now->horizon, 1)),
                    now->as_of ? param_instant(arena, now->horizon) : (Str){0}};
    TRY(db_query(db, &SQL_METER_VM_OPEN, 3, params, &rows, error));
    for (int row = 0; row < rows_count(rows); row++) {
        arena_reset(spans);
        Timeline t = open_timeline(catalog, rows_instant(rows, row, 3), rows, row, 6, 7, spans);
        burn_open(&burn, &t);
    }
    TRY(burn_gone_on(&burn, db, buf_str(&list), arena, error));
    *per_hour = burn.per_hour;
    return ST_OK;
}
