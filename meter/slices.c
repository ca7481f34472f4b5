// SPDX-License-Identifier: Apache-2.0
// Minutes count where they begin, so the rows of two spans that follow each other add up to those
// of both. Slices end at midnight; a window that goes on in the next slice waits for it.
#include "meter/slices.h"

#include "meter/meter_sql.h"

enum { DAYS_A_SLICE = 366 }; // of day totals: at most so many rows for each size

typedef struct Slices {
    Db *db;
    const Catalog *catalog;
    const Now *now;
    Str account;
    Instant from, to;
    UsageWindow window;
    UsageGroup group;
    UsageRowsFn each;
    void *context;
    // Rows of windows that may go on, in order; their VMs' names live in `names`.
    UsageRow *open;
    size_t count;
    Arena *names;
} Slices;

// ---- windows that go on ----
static int compare_rows(const UsageRow *a, const UsageRow *b)
{
    int order = instant_compare(a->start, b->start);
    if (!order) order = (a->size > b->size) - (a->size < b->size);
    return order ? order : str_compare(a->vm, b->vm);
}

static Period period_at(Instant at) { return day_period(instant_day(at)); }

// Rows of a slice are cut to it; in the answer they are cut to the whole span.
static void widen(const Slices *s, UsageRow *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        UsageRow *row = &rows[i];
        if (s->window == WINDOW_TOTAL) {
            row->start = s->from;
            row->end = s->to;
        } else if (s->window == WINDOW_MONTH) {
            Period period = period_at(row->start);
            row->start = instant_max(day_start(period_first(period)), s->from);
            row->end = instant_min(day_start(period_end(period)), s->to);
        }
    }
}

static void add_rows(Slices *s, const UsageRow *rows, size_t count)
{
    UsageRow *merged = mem_alloc((s->count + count) * sizeof *merged);
    size_t n = 0, a = 0, b = 0;
    while (a < s->count || b < count) {
        int order = a == s->count ? 1 : b == count ? -1 : compare_rows(&s->open[a], &rows[b]);
        if (order <= 0) merged[n] = s->open[a++];
        else merged[n] = rows[b];
        if (order == 0) {
            merged[n].minutes += rows[b].minutes;
            merged[n].cm = cm_add(merged[n].cm, rows[b].cm);
        } else if (order > 0) merged[n].vm = arena_copy(s->names, rows[b].vm);
        if (order >= 0) b++;
        n++;
    }
    free(s->open);
    s->open = merged;
    s->count = n;
}

// Hands out what begins before `end`, and keeps the rest.
static Status hand_out(Slices *s, Instant end, Error *error)
{
    size_t n = 0;
    while (n < s->count && s->open[n].start.us < end.us) n++;
    if (n > 0) TRY(s->each(s->context, s->open, n, error));
    s->count -= n;
    if (s->count > 0) memmove(s->open, s->open + n, s->count * sizeof *s->open);
    else arena_reset(s->names);
    return ST_OK;
}

static Status do_slice(Slices *s, Instant from, Instant to, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    UsageRow *rows = NULL;
    size_t count = 0;
    TRY(usage_rows(s->db, s->catalog, s->now, s->account, from, to, s->window, s->group, arena,
                   &rows, &count, error));
    if (s->window == WINDOW_HOUR || s->window == WINDOW_DAY)
        return count > 0 ? s->each(s->context, rows, count, error) : ST_OK;
    widen(s, rows, count);
    add_rows(s, rows, count);
    if (s->window == WINDOW_TOTAL) return ST_OK;
    return hand_out(s, day_start(period_first(period_at(to))), error); // the month that goes on
}

// ---- how the span is cut ----
static Instant next_midnight(Instant at)
{
    Instant midnight = day_start(instant_day(at));
    return midnight.us == at.us ? at : day_start(day_add(instant_day(at), 1));
}

// Whole days from the day totals, a year at a time, and what is before and behind them by itself.
static Status slices_of_days(Slices *s, Error *error)
{
    Instant first = instant_min(next_midnight(s->from), s->to);
    Instant last = instant_max(day_start(instant_day(s->to)), first);
    if (s->from.us < first.us) TRY(do_slice(s, s->from, first, error));
    for (Instant at = first; at.us < last.us;) {
        Instant end = instant_min(instant_add_us(at, DAYS_A_SLICE * US_PER_DAY), last);
        TRY(do_slice(s, at, end, error));
        at = end;
    }
    return last.us < s->to.us ? do_slice(s, last, s->to, error) : ST_OK;
}

// A day with usage, and about how much.
typedef struct Busy {
    Day day;
    int64_t minutes;
} Busy;

// Days that a VM that runs may have used, together with those of the runs that have ended.
static Status read_busy(const Slices *s, Arena *arena, Busy **out, size_t *count, Error *error)
{
    Day first = instant_day(s->from);
    Day end = day_add(instant_day(instant_add_us(s->to, -1)), 1);
    OWNED_ROWS Rows *days = NULL;
    OWNED_ROWS Rows *running = NULL;
    Str params[] = {s->account, param_day(arena, first), param_day(arena, end)};
    TRY(db_query(s->db, &SQL_METER_USAGE_BUSY, 3, params, &days, error));
    TRY(db_query(s->db, &SQL_METER_VM_RUNNING, 1, &s->account, &running, error));
    int64_t vms = rows_int(running, 0, 0);
    Day since = end, until = end;
    if (vms > 0) {
        since = instant_day(instant_max(rows_instant(running, 0, 1), s->from));
        until = instant_day(instant_min(s->now->horizon, instant_add_us(s->to, -1)));
        until = day_add(until, 1);
    }
    int64_t each = vms * (s->window == WINDOW_HOUR ? 24 : 1);
    int32_t open_days = until.days > since.days ? until.days - since.days : 0;
    *out = arena_alloc(arena, ((size_t)rows_count(days) + (size_t)open_days + 1) * sizeof **out);
    *count = 0;
    int row = 0;
    Day at = since;
    while (row < rows_count(days) || (open_days > 0 && at.days < until.days)) {
        bool open = open_days > 0 && at.days < until.days;
        Day ended = row < rows_count(days) ? rows_day(days, row, 0) : DAY_END;
        Day day = open && at.days <= ended.days ? at : ended;
        Busy *busy = &(*out)[(*count)++];
        *busy = (Busy){.day = day};
        if (day.days == ended.days) busy->minutes += rows_int(days, row++, 1);
        if (open && day.days == at.days) {
            busy->minutes += each;
            at = day_add(at, 1);
        }
    }
    return ST_OK;
}

// Stretches of days with usage, of about so many minutes each: a run has a minute at least, and a
// row too.
static Status slices_of_runs(Slices *s, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Busy *busy = NULL;
    size_t count = 0;
    TRY(read_busy(s, arena, &busy, &count, error));
    for (size_t i = 0; i < count;) {
        Instant from = instant_max(day_start(busy[i].day), s->from);
        int64_t minutes = 0;
        Day last;
        do {
            minutes += busy[i].minutes;
            last = busy[i++].day;
        } while (i < count && minutes + busy[i].minutes <= SLICE_MINUTES_MAX);
        Instant to = instant_min(day_start(day_add(last, 1)), s->to);
        if (from.us < to.us) TRY(do_slice(s, from, to, error));
    }
    return ST_OK;
}

Status usage_slices(Db *db, const Catalog *catalog, const Now *now, Str account, Instant from,
                    Instant to, UsageWindow window, UsageGroup group, UsageRowsFn each,
                    void *context, Error *error)
{
    ASSERT(from.us < to.us);
    Slices s = {.db = db,
                .catalog = catalog,
                .now = now,
                .account = account,
                .from = from,
                .to = to,
                .window = window,
                .group = group,
                .each = each,
                .context = context,
                .names = arena_new()};
    Status status;
    if (now->as_of) status = do_slice(&s, from, to, error); // days may differ from those stored
    else if (window != WINDOW_HOUR && group != GROUP_VM) status = slices_of_days(&s, error);
    else status = slices_of_runs(&s, error);
    if (status == ST_OK) status = hand_out(&s, to, error);
    free(s.open);
    arena_free(s.names);
    return status;
}
