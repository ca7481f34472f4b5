// SPDX-License-Identifier: Apache-2.0
#include "meter/usage.h"

#include "meter/history.h"
#include "meter/meter_sql.h"
#include "meter/minutes.h"

// ---- now ----
Status now_read(Db *db, const Instant *as_of, Now *out, Error *error)
{
    if (as_of) {
        *out = (Now){*as_of, *as_of, true};
        return ST_OK;
    }
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_METER_CLOCK, 0, NULL, &rows, error));
    out->as_of = false;
    out->clock = out->horizon = rows_instant(rows, 0, 0);
    int64_t partitions = rows_int(rows, 0, 1), with_progress = rows_int(rows, 0, 2);
    if (with_progress < partitions) out->horizon = INSTANT_MIN;
    else if (partitions > 0) out->horizon = instant_min(out->clock, rows_instant(rows, 0, 3));
    return ST_OK;
}

// ---- minutes gathered ----
// One key for every shape of usage: by account and day, or by window and VM; unused parts are
// absent.
typedef struct Cell {
    Str account, vm;
    int64_t start; // day number, or the window's start in us
    SizeNo size;
    int64_t minutes;
    CreditMinutes cm;
} Cell;

typedef struct Gather {
    const Catalog *catalog;
    Arena *arena;
    Cell *cell;
    size_t count, room;
    // The run that is being counted.
    Str account, vm;
    int sign;
    // What counts, and how it is cut up.
    Instant from, to;
    bool by_day; // cells of (account, day, size); else of (window, size or VM)
    UsageWindow window;
    UsageGroup group;
} Gather;

static int compare_cells(const void *pa, const void *pb)
{
    const Cell *a = pa, *b = pb;
    int by_account = str_compare(a->account, b->account);
    if (by_account) return by_account;
    if (a->start != b->start) return a->start < b->start ? -1 : 1;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return str_compare(a->vm, b->vm);
}

// Sorts, and adds up cells of one key; drops those that come to nothing.
static void merge(Gather *g)
{
    if (g->count == 0) return;
    bool in_order = true; // as stored day totals come
    for (size_t i = 1; i < g->count && in_order; i++)
        in_order = compare_cells(&g->cell[i - 1], &g->cell[i]) <= 0;
    if (!in_order) qsort(g->cell, g->count, sizeof *g->cell, compare_cells);
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (n > 0 && compare_cells(&g->cell[n - 1], &g->cell[i]) == 0) {
            g->cell[n - 1].minutes += g->cell[i].minutes;
            g->cell[n - 1].cm = cm_add(g->cell[n - 1].cm, g->cell[i].cm);
        } else {
            if (n > 0 && g->cell[n - 1].minutes == 0) n--;
            g->cell[n++] = g->cell[i];
        }
    }
    if (g->cell[n - 1].minutes == 0) n--;
    g->count = n;
}

static void push(Gather *g, Cell cell)
{
    if (g->count == g->room) merge(g); // often there are far fewer keys than runs
    if (g->count * 4 >= g->room * 3) {
        size_t room = g->room ? g->room * 2 : 1024;
        Cell *more = arena_alloc(g->arena, room * sizeof *more);
        if (g->count) memcpy(more, g->cell, g->count * sizeof *more);
        g->cell = more;
        g->room = room;
    }
    g->cell[g->count++] = cell;
}

static Instant window_start(const Gather *g, Instant at)
{
    switch (g->window) {
    case WINDOW_HOUR: return (Instant){at.us - (at.us % (3600 * US_PER_SECOND))};
    case WINDOW_DAY: return day_start(instant_day(at));
    case WINDOW_MONTH: return day_start(period_first(day_period(instant_day(at))));
    case WINDOW_TOTAL: break;
    }
    return g->from;
}

static Instant window_end(const Gather *g, Instant start)
{
    switch (g->window) {
    case WINDOW_HOUR: return instant_add_us(start, 3600 * US_PER_SECOND);
    case WINDOW_DAY: return day_start(day_add(instant_day(start), 1));
    case WINDOW_MONTH: return day_start(period_end(day_period(instant_day(start))));
    case WINDOW_TOTAL: break;
    }
    return g->to;
}

static int64_t minutes_before(Instant first,
                              Instant end) // of those beginning at first, first + 60 s, ...
{
    return end.us <= first.us ? 0 : (end.us - first.us + US_PER_MINUTE - 1) / US_PER_MINUTE;
}

// Minutes in a row of one size and one day: those that begin in [from, to), window by window.
static void count_minutes(void *context, Instant first, int64_t count, SizeNo size)
{
    Gather *g = context;
    int64_t skip = minutes_before(first, g->from);
    int64_t last = minutes_before(first, g->to);
    if (last > count) last = count;
    Day day = instant_day(first);
    for (int64_t k = skip; k < last;) {
        Instant at = instant_add_us(first, k * US_PER_MINUTE);
        Instant start = g->by_day ? day_start(day) : window_start(g, at);
        int64_t until = g->by_day ? last : minutes_before(first, window_end(g, start));
        if (until > last) until = last;
        int64_t n = (until - k) * g->sign;
        Cell cell = {.start = g->by_day ? day.days : instant_max(start, g->from).us,
                     .minutes = n,
                     .cm = minutes_cost(g->catalog, day, size, n),
                     .size = SIZE_NONE};
        if (g->by_day) cell.account = g->account;
        if (g->by_day || g->group == GROUP_SIZE) cell.size = size;
        if (!g->by_day && g->group == GROUP_VM) cell.vm = g->vm;
        push(g, cell);
        k = until;
    }
}

// ---- sources of runs ----
static void count_run(Gather *g, Str account, Str vm, const Run *run, int sign)
{
    if (run->end.us <= g->from.us && run->end.us != run->start.us) return;
    if (run->start.us >= g->to.us) return;
    g->account = account;
    g->vm = vm;
    g->sign = sign;
    run_minutes(g->catalog, run, count_minutes, g);
}

static Str account_list(const Str *accounts, size_t n, Buf *out)
{
    array_begin(out);
    for (size_t i = 0; i < n; i++) array_add(out, accounts[i]);
    array_end(out);
    return buf_str(out);
}

static Str as_of_param(Arena *arena, const Now *now)
{
    return now->as_of ? param_instant(arena, now->horizon) : (Str){0};
}

static Status count_open(Gather *g, Db *db, const Now *now, Str accounts, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {accounts, param_instant(g->arena, instant_min(g->to, now->horizon)),
                    as_of_param(g->arena, now)};
    TRY(db_query(db, &SQL_METER_VM_OPEN, 3, params, &rows, error));
    OWNED_ARENA Arena *spans = arena_new();
    for (int row = 0; row < rows_count(rows); row++) {
        arena_reset(spans);
        Timeline t = {.arena = spans,
                      .phase = PHASE_RUNNING,
                      .started = true,
                      .start = rows_instant(rows, row, 3),
                      .nth = (int32_t)rows_int(rows, row, 4),
                      .watched = !rows_null(rows, row, 7)};
        if (t.watched) t.proof = rows_instant(rows, row, 7);
        t.span = spans_parse(g->catalog, rows_str(rows, row, 6), t.start, spans, &t.spans);
        Run run;
        if (!timeline_open_run(&t, g->catalog, now->horizon, &run)) continue;
        count_run(g, arena_copy(g->arena, rows_str(rows, row, 0)),
                  arena_copy(g->arena, rows_str(rows, row, 1)), &run, 1);
    }
    return ST_OK;
}

typedef struct AsOf {
    Gather *gather;
    const Now *now;
    bool replace; // take the stored side's runs off: they are among what was read
} AsOf;

static Status count_as_of(void *context, const History *history, Error *error)
{
    (void)error;
    AsOf *c = context;
    Str account = arena_copy(c->gather->arena, history->ask->account);
    Str vm = arena_copy(c->gather->arena, history->ask->vm);
    for (size_t i = 0; c->replace && i < history->stored.runs; i++)
        count_run(c->gather, account, vm, &history->stored.run[i], -1);
    for (size_t i = 0; i < history->wanted.runs; i++)
        count_run(c->gather, account, vm, &history->wanted.run[i], 1);
    Run open;
    if (timeline_open_run(&history->wanted.timeline, c->gather->catalog, c->now->horizon, &open))
        count_run(c->gather, account, vm, &open, 1);
    return ST_OK;
}

// VMs that went on after --as-of, recounted from their events.
static Status count_gone_on(Gather *g, Db *db, const Now *now, Str accounts, bool replace,
                            Error *error)
{
    if (!now->as_of) return ST_OK;
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_METER_VM_AFTER, 2, (Str[]){accounts, param_instant(arena, now->horizon)},
                 &rows, error));
    size_t n = (size_t)rows_count(rows);
    HistoryAsk *asks = arena_alloc(arena, (n + 1) * sizeof *asks);
    for (size_t i = 0; i < n; i++)
        asks[i] = (HistoryAsk){.account = rows_str(rows, (int)i, 0),
                               .vm = rows_str(rows, (int)i, 1)};
    HistoryView view = {g->catalog, g->catalog, &now->horizon};
    AsOf context = {g, now, replace};
    return history_read(db, &view, asks, n, count_as_of, &context, error);
}

// ---- by day ----
static Status usage_days_within(Gather *g, Db *db, const Now *now, const Str *accounts, size_t n,
                                Day from, Day to, Error *error)
{
    OWNED_BUF Buf list = {0};
    Str ids = account_list(accounts, n, &list);
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {ids, param_day(g->arena, from), param_day(g->arena, to)};
    TRY(db_query(db, &SQL_METER_USAGE_CELLS, 3, params, &rows, error));
    Str account = {0};
    for (int row = 0; row < rows_count(rows); row++) {
        Day day = rows_day(rows, row, 1);
        SizeNo size = catalog_size(g->catalog, rows_str(rows, row, 2));
        ASSERT(size != SIZE_NONE);
        int64_t minutes = rows_int(rows, row, 3);
        if (!str_equal(account, rows_str(rows, row, 0))) // rows come in stretches of one account
            account = arena_copy(g->arena, rows_str(rows, row, 0));
        push(g, (Cell){.account = account,
                       .start = day.days,
                       .size = size,
                       .minutes = minutes,
                       .cm = minutes_cost(g->catalog, day, size, minutes)});
    }
    TRY(count_open(g, db, now, ids, error));
    TRY(count_gone_on(g, db, now, ids, true, error));
    merge(g);
    return ST_OK;
}

Status usage_days(Db *db, const Catalog *catalog, const Now *now, const Str *accounts, size_t n,
                  Day from, Day to, Arena *arena, DayUsage **cells, size_t *count, Error *error)
{
    Gather g = {.catalog = catalog,
                .arena = arena,
                .from = day_start(from),
                .to = day_start(to),
                .by_day = true};
    TRY(usage_days_within(&g, db, now, accounts, n, from, to, error));
    *cells = arena_alloc(arena, (g.count + 1) * sizeof **cells);
    *count = g.count;
    for (size_t i = 0; i < g.count; i++)
        (*cells)[i] = (DayUsage){
            g.cell[i].account, {(int32_t)g.cell[i].start}, g.cell[i].size, g.cell[i].minutes};
    return ST_OK;
}

// ---- by window ----
static bool is_midnight(Instant at) { return day_start(instant_day(at)).us == at.us; }

// Whole days need no look at single runs: the day totals are cut up by window.
static Status rows_from_days(Gather *g, Db *db, const Now *now, Str account, Error *error)
{
    Gather days = *g;
    days.by_day = true;
    TRY(usage_days_within(&days, db, now, &account, 1, instant_day(g->from), instant_day(g->to),
                          error));
    for (size_t i = 0; i < days.count; i++) {
        const Cell *cell = &days.cell[i];
        Instant start = window_start(g, day_start((Day){(int32_t)cell->start}));
        push(g, (Cell){.start = instant_max(start, g->from).us,
                       .minutes = cell->minutes,
                       .cm = cell->cm,
                       .size = g->group == GROUP_SIZE ? cell->size : SIZE_NONE});
    }
    return ST_OK;
}

static Status count_ended(Gather *g, Db *db, const Now *now, Str account, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {account, param_instant(g->arena, g->from), param_instant(g->arena, g->to),
                    as_of_param(g->arena, now)};
    TRY(db_query(db, &SQL_METER_RUN_BETWEEN, 4, params, &rows, error));
    OWNED_ARENA Arena *spans = arena_new();
    for (int row = 0; row < rows_count(rows); row++) {
        arena_reset(spans);
        Run run = {.start = rows_instant(rows, row, 1), .end = rows_instant(rows, row, 2)};
        run.span = spans_parse(g->catalog, rows_str(rows, row, 6), run.start, spans, &run.spans);
        count_run(g, account, arena_copy(g->arena, rows_str(rows, row, 0)), &run, 1);
    }
    return ST_OK;
}

static Status rows_from_runs(Gather *g, Db *db, const Now *now, Str account, Error *error)
{
    OWNED_BUF Buf list = {0};
    Str ids = account_list(&account, 1, &list);
    TRY(count_ended(g, db, now, account, error));
    TRY(count_open(g, db, now, ids, error));
    return count_gone_on(g, db, now, ids, false, error);
}

Status usage_rows(Db *db, const Catalog *catalog, const Now *now, Str account, Instant from,
                  Instant to, UsageWindow window, UsageGroup group, Arena *arena, UsageRow **rows,
                  size_t *count, Error *error)
{
    Gather g = {.catalog = catalog,
                .arena = arena,
                .from = from,
                .to = to,
                .window = window,
                .group = group};
    bool whole_days = is_midnight(from) && is_midnight(to) && window != WINDOW_HOUR &&
                      group != GROUP_VM;
    if (whole_days) TRY(rows_from_days(&g, db, now, account, error));
    else TRY(rows_from_runs(&g, db, now, account, error));
    merge(&g);
    *rows = arena_alloc(arena, (g.count + 1) * sizeof **rows);
    *count = g.count;
    for (size_t i = 0; i < g.count; i++) {
        const Cell *cell = &g.cell[i];
        Instant start = {cell->start};
        Instant end = instant_min(window_end(&g, window_start(&g, start)), to);
        (*rows)[i] = (UsageRow){start, end, cell->vm, cell->size, cell->minutes, cell->cm};
    }
    return ST_OK;
}
