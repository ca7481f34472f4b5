// SPDX-License-Identifier: Apache-2.0
// Deciding what a batch's items are, and what they change. See meter/meter.h for the order of
// steps.
#include "meter/batch.h"

#include "meter/meter_sql.h"
#include "meter/minutes.h"

#include <stdarg.h>
#include <stdio.h>

// ---- dead or alive ----
static void PRINTF(4, 5) condemn(Attempt *a, Item *item, DeadReason reason, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    item->dead = reason;
    item->detail = arena_copy(a->arena, (Str){text, n < 0 ? 0 : strnlen(text, sizeof text)});
    while (item->detail.n > 0 && !str_is_utf8(item->detail)) item->detail.n--;
}

// Whether the item is an event that may yet be metered.
static bool is_candidate(const Item *item)
{
    return item->dead == DEAD_NOT && !item->repeated && item->event.type != EVENT_NOT_METERED;
}

static Status look_up_accounts(Attempt *a, Error *error)
{
    Known *known = a->meter->known;
    known_reserve(known, a->count);
    OWNED_BUF Buf ids = {0};
    array_begin(&ids);
    Str before = {0}; // events come in stretches of one account
    for (size_t i = 0; i < a->count; i++) {
        const Item *item = &a->item[i];
        if (!is_candidate(item) || str_equal(item->event.account, before)) continue;
        before = item->event.account;
        if (!known_has(known, before)) array_add(&ids, before);
    }
    if (ids.n == 1) return ST_OK;
    array_end(&ids);
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(a->meter->db, &SQL_METER_ACCOUNTS_KNOWN, 1, (Str[]){buf_str(&ids)}, &rows, error));
    for (int row = 0; row < rows_count(rows); row++) known_add(known, rows_str(rows, row, 0));
    return ST_OK;
}

static void check_against_now(Attempt *a)
{
    char at[INSTANT_TEXT], now[INSTANT_TEXT];
    for (size_t i = 0; i < a->count; i++) {
        Item *item = &a->item[i];
        const Event *event = &item->event;
        if (!is_candidate(item)) continue;
        bool sized = event->type == EVENT_STARTED || event->type == EVENT_RESIZED;
        if (!known_has(a->meter->known, event->account))
            condemn(a, item, DEAD_UNKNOWN_ACCOUNT, "there is no account \"%s\"", event->account.p);
        else if (sized && event_size(event, a->catalog) == SIZE_NONE && !str_absent(event->size))
            condemn(a, item, DEAD_UNKNOWN_SIZE, "there is no size \"%.100s\" on the event's day",
                    event->size.p);
        else if (sized && event_size(event, a->catalog) == SIZE_NONE)
            condemn(a, item, DEAD_UNKNOWN_SIZE,
                    "no size holds %lld millicpu and %lld bytes of memory",
                    (long long)event->millicpu, (long long)event->memory_bytes);
        else if (event->at.us > a->clock.us + FUTURE_US)
            condemn(a, item, DEAD_FUTURE, "time %s is more than 5 minutes ahead of the clock, %s",
                    instant_format(event->at, at), instant_format(a->clock, now));
    }
}

// ---- grouping by VM ----
static int compare_items(const void *pa, const void *pb)
{
    const Item *a = *(Item *const *)pa, *b = *(Item *const *)pb;
    int by_account = str_compare(a->event.account, b->event.account);
    if (by_account) return by_account;
    int by_vm = str_compare(a->event.vm, b->event.vm);
    return by_vm ? by_vm : (a > b) - (a < b);
}

static int compare_identities(const void *pa, const void *pb)
{
    const Item *a = *(Item *const *)pa, *b = *(Item *const *)pb;
    int by_id = str_compare(a->event.id, b->event.id);
    if (by_id) return by_id;
    int by_source = str_compare(a->event.source, b->event.source);
    return by_source ? by_source : (a > b) - (a < b);
}

// What an item is beside the event that was first to have its identity.
static void compare_with_first(Attempt *a, Item *item, const Event *first)
{
    if (event_same_content(&item->event, first)) item->repeated = true;
    else
        condemn(a, item, DEAD_CONFLICT,
                "the event with this source and id that was metered first says otherwise");
}

static void group_items(Attempt *a)
{
    Item **sorted = arena_alloc(a->arena, (a->count + 1) * sizeof *sorted);
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++)
        if (is_candidate(&a->item[i])) sorted[n++] = &a->item[i];
    qsort(sorted, n, sizeof *sorted, compare_items);
    a->group = arena_alloc(a->arena, (n + 1) * sizeof *a->group);
    ASSERT(a->group);
    for (size_t i = 0; i < n; i++) {
        const Event *event = &sorted[i]->event;
        const VmGroup *before = a->groups ? &a->group[a->groups - 1] : NULL;
        bool same = before && str_equal(before->vm, event->vm) &&
                    str_equal(before->account, event->account);
        if (!same)
            a->group[a->groups++] = (VmGroup){
                .account = event->account, .vm = event->vm, .item = &sorted[i]};
        a->group[a->groups - 1].items++;
    }
}

// Among those that are not stored. What stands stored decides about all of its identity, so it was
// asked before.
static void find_repeats_within(Attempt *a, VmGroup *group)
{
    if (group->items < 2) return;
    Item **sorted = mem_alloc(group->items * sizeof *sorted);
    size_t n = 0;
    for (size_t i = 0; i < group->items; i++)
        if (is_candidate(group->item[i])) sorted[n++] = group->item[i];
    qsort(sorted, n, sizeof *sorted, compare_identities);
    const Event *first = n ? &sorted[0]->event : NULL;
    for (size_t i = 1; i < n; i++) {
        const Event *event = &sorted[i]->event;
        if (str_equal(event->id, first->id) && str_equal(event->source, first->source))
            compare_with_first(a, sorted[i], first);
        else first = event;
    }
    free(sorted);
}

static int compare_times(const void *pa, const void *pb)
{
    const Event *a = *(const Event *const *)pa, *b = *(const Event *const *)pb;
    return instant_compare(a->at, b->at);
}

static void gather_added(Attempt *a, VmGroup *group)
{
    group->added = arena_alloc(a->arena, (group->items + 1) * sizeof *group->added);
    group->added_count = 0;
    bool in_order = true;
    for (size_t i = 0; i < group->items; i++) {
        if (!is_candidate(group->item[i])) continue;
        const Event *event = &group->item[i]->event;
        if (group->added_count && event->at.us < group->added[group->added_count - 1]->at.us)
            in_order = false;
        group->added[group->added_count++] = event;
    }
    if (!in_order) qsort(group->added, group->added_count, sizeof *group->added, compare_times);
}

// Whether the events go on behind the VM's last one, so that its timeline just continues.
static bool looks_back(const VmGroup *group)
{
    if (group->pending) return true;
    for (size_t i = 0; i < group->added_count; i++)
        if (group->added[i]->type == EVENT_RETRACTED) return true;
    return group->has_last && group->added_count && group->added[0]->at.us <= group->last_at.us;
}

// ---- identities that are stored already ----
static Status find_stored(Attempt *a, Error *error)
{
    OWNED_BUF Buf accounts = {0}, vms = {0}, sources = {0}, ids = {0};
    Buf *arrays[] = {&accounts, &vms, &sources, &ids};
    Item **asked = arena_alloc(a->arena, (a->count + 1) * sizeof *asked);
    size_t n = 0;
    for (int i = 0; i < 4; i++) array_begin(arrays[i]);
    for (size_t g = 0; g < a->groups; g++) {
        const VmGroup *group = &a->group[g];
        if (!group->late && !a->careful) continue;
        for (size_t i = 0; i < group->items; i++) {
            const Event *event = &group->item[i]->event;
            if (!is_candidate(group->item[i])) continue;
            asked[n++] = group->item[i];
            array_add(&accounts, event->account);
            array_add(&vms, event->vm);
            array_add(&sources, event->source);
            array_add(&ids, event->id);
        }
    }
    if (n == 0) return ST_OK;
    Str params[4];
    for (int i = 0; i < 4; i++) {
        array_end(arrays[i]);
        params[i] = buf_str(arrays[i]);
    }
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(a->meter->db, &SQL_METER_EVENT_FIND, 4, params, &rows, error));
    for (int row = 0; row < rows_count(rows); row++) {
        Item *item = asked[rows_int(rows, row, 18) - 1];
        Event stored = event_from_row(rows, row, a->arena);
        compare_with_first(a, item, &stored);
    }
    return ST_OK;
}

// ---- what the events change ----
typedef struct CellSink {
    UsageCells *cells;
    Arena *arena;
    Str account;
    int sign;
    const Catalog *catalog;
    int64_t minutes;
    CreditMinutes cm;
} CellSink;

static void add_cell(void *context, Instant first, int64_t count, SizeNo size)
{
    CellSink *sink = context;
    Day day = instant_day(first);
    sink->minutes += count;
    sink->cm = cm_add(sink->cm, minutes_cost(sink->catalog, day, size, count));
    UsageCells *cells = sink->cells;
    if (cells->count == cells->room) {
        cells->room = cells->room ? cells->room * 2 : 256;
        UsageCell *more = arena_alloc(sink->arena, cells->room * sizeof *more);
        if (cells->count) memcpy(more, cells->cell, cells->count * sizeof *more);
        cells->cell = more;
    }
    cells->cell[cells->count++] = (UsageCell){sink->account, day, size, count * sink->sign};
}

void attempt_run(RunRows *rows, UsageCells *cells, Arena *arena, const Catalog *catalog,
                 Str account, Str vm, const Run *run, int sign)
{
    CellSink sink = {cells, arena, account, sign, catalog, 0, {0}};
    run_minutes(catalog, run, add_cell, &sink);
    if (rows->count == rows->room) {
        rows->room = rows->room ? rows->room * 2 : 256;
        RunRow *more = arena_alloc(arena, rows->room * sizeof *more);
        if (rows->count) memcpy(more, rows->row, rows->count * sizeof *more);
        rows->row = more;
    }
    Run kept = *run;
    SizeSpan *span = arena_alloc(arena, (size_t)run->spans * sizeof *span);
    memcpy(span, run->span, (size_t)run->spans * sizeof *span);
    kept.span = span;
    kept.name = arena_copy(arena, run->name);
    rows->row[rows->count++] = (RunRow){account, vm, kept, sink.minutes, sink.cm};
}

static bool same_run(const Run *a, const Run *b)
{
    if (a->start.us != b->start.us || a->end.us != b->end.us || a->nth != b->nth ||
        a->by != b->by || a->spans != b->spans || !str_equal(a->name, b->name))
        return false;
    for (int i = 0; i < a->spans; i++)
        if (a->span[i].from.us != b->span[i].from.us || a->span[i].size != b->span[i].size)
            return false;
    return true;
}

static int compare_runs(const Run *a, const Run *b)
{
    int by_start = instant_compare(a->start, b->start);
    return by_start ? by_start : (a->nth > b->nth) - (a->nth < b->nth);
}

// Both sides are in order of (start, nth), so one walk finds what differs.
void attempt_difference(const History *history, const HistoryView *view, RunRows *ended,
                        RunRows *gone, UsageCells *more, UsageCells *less, Arena *arena)
{
    const HistorySide *old = &history->stored, *new = &history->wanted;
    Str account = history->ask->account, vm = history->ask->vm;
    bool same_catalog = view->stored == view->wanted;
    for (size_t i = 0, j = 0; i < old->runs || j < new->runs;) {
        int order = i == old->runs   ? 1
                    : j == new->runs ? -1
                                     : compare_runs(&old->run[i], &new->run[j]);
        if (order == 0 && same_catalog && same_run(&old->run[i], &new->run[j])) {
            i++, j++;
            continue;
        }
        if (order <= 0)
            attempt_run(gone, less, arena, view->stored, account, vm, &old->run[i++], -1);
        if (order >= 0)
            attempt_run(ended, more, arena, view->wanted, account, vm, &new->run[j++], 1);
    }
}

typedef struct Short {
    Attempt *attempt;
    const VmGroup *group;
} Short;

static void short_run_ended(void *context, const Run *run)
{
    Short *s = context;
    attempt_run(&s->attempt->ended, &s->attempt->cells, s->attempt->arena, s->attempt->catalog,
                s->group->account, s->group->vm, run, 1);
}

static void take_short_way(Attempt *a, VmGroup *group)
{
    Short context = {a, group};
    group->changes = group->added_count > 0;
    if (group->changes) group->reach = timeline_reach(&group->timeline, group->added[0]->at);
    for (size_t i = 0, n; i < group->added_count; i += n) {
        for (n = 1;
             i + n < group->added_count && group->added[i + n]->at.us == group->added[i]->at.us;)
            n++;
        group->last_at = group->added[i]->at;
        group->has_last = true;
        timeline_apply(&group->timeline, a->catalog, group->added + i, n, short_run_ended,
                       &context);
    }
}

void group_take(VmGroup *group, const History *history, Arena *arena)
{
    const Timeline *wanted = &history->wanted.timeline;
    Timeline *t = &group->timeline;
    group->has_last = history->has_last;
    group->last_at = history->last_at;
    group->pending = history->pending;
    *t = *wanted;
    t->arena = arena;
    t->name = arena_copy(arena, wanted->name);
    t->span_room = wanted->spans + 1;
    t->span = arena_alloc(arena, (size_t)t->span_room * sizeof *t->span);
    if (wanted->spans) memcpy(t->span, wanted->span, (size_t)wanted->spans * sizeof *t->span);
}

typedef struct LongWay {
    Attempt *attempt;
    const HistoryView *view;
    VmGroup **group;
    size_t at;
} LongWay;

static Status long_way_done(void *context, const History *history, Error *error)
{
    (void)error;
    LongWay *l = context;
    Attempt *a = l->attempt;
    VmGroup *group = l->group[l->at++];
    attempt_difference(history, l->view, &a->ended, &a->gone, &a->cells, &a->cells, a->arena);
    group_take(group, history, a->arena);
    group->changes = history->differs;
    group->reach = history->reach;
    a->meter->tally.late_vms++;
    return ST_OK;
}

static Status take_long_way(Attempt *a, Error *error)
{
    HistoryView view = {a->catalog, a->catalog, NULL};
    HistoryAsk *asks = arena_alloc(a->arena, (a->groups + 1) * sizeof *asks);
    LongWay context = {a, &view, arena_alloc(a->arena, (a->groups + 1) * sizeof *context.group), 0};
    size_t n = 0;
    for (size_t g = 0; g < a->groups; g++) {
        VmGroup *group = &a->group[g];
        if (!group->late || group->added_count == 0) continue;
        context.group[n] = group;
        asks[n++] = (HistoryAsk){group->account, group->vm, group->added, group->added_count};
    }
    return history_read(a->meter->db, &view, asks, n, long_way_done, &context, error);
}

Status attempt_decide(Attempt *a, Error *error)
{
    for (size_t i = 0; i < a->count; i++) {
        Item *item = &a->item[i];
        item->repeated = false;
        item->dead = item->rejected ? DEAD_REJECTED : item->decoded;
        if (!item->rejected) item->detail = item->decoded_detail;
    }
    TRY(clock_read(a->meter, &a->clock, error));
    TRY(look_up_accounts(a, error));
    check_against_now(a);
    group_items(a);
    for (size_t g = 0; g < a->groups; g++) {
        VmGroup *group = &a->group[g];
        if (a->careful) vm_cache_drop(a->meter->cache, group->account, group->vm);
        else group->known = vm_cache_get(a->meter->cache, group, a->arena);
    }
    TRY(load_vms(a->meter->db, a->catalog, a->group, a->groups, a->arena, error));
    for (size_t g = 0; g < a->groups; g++) {
        gather_added(a, &a->group[g]);
        a->group[g].late = looks_back(&a->group[g]);
    }
    TRY(find_stored(a, error));
    for (size_t g = 0; g < a->groups; g++) {
        VmGroup *group = &a->group[g];
        find_repeats_within(a, group);
        if (group->late || a->careful || group->items > 1) gather_added(a, group);
        if (group->late) group->late = looks_back(group);
        if (!group->late) take_short_way(a, group);
    }
    return take_long_way(a, error);
}
