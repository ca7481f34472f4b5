// SPDX-License-Identifier: Apache-2.0
#include "meter/history.h"

#include "meter/meter_sql.h"

// A retraction's target. `stored`: the retraction is stored, so both sides know it; else only the
// wanted one.
typedef struct Target {
    Str account, vm, source, id;
    bool stored, found;
} Target;

// The events of one instant, for one side.
typedef struct Group {
    const Event **event;
    size_t count, room;
} Group;

typedef struct Reader {
    const HistoryView *view;
    const HistoryAsk *asks;
    size_t n, at; // at: the ask that is being read
    HistoryFn each;
    void *context;
    Target *target; // sorted
    size_t targets;
    Arena *vm_arena, *group_arena;
    History history;
    bool begun;
    size_t added_at; // of the ask's added events, the next to be fed
    Instant group_at;
    Group stored, wanted;
} Reader;

static int compare_vm(Str account_a, Str vm_a, Str account_b, Str vm_b)
{
    int by_account = str_compare(account_a, account_b);
    return by_account ? by_account : str_compare(vm_a, vm_b);
}

static int compare_targets(const void *pa, const void *pb)
{
    const Target *a = pa, *b = pb;
    int by_vm = compare_vm(a->account, a->vm, b->account, b->vm);
    if (by_vm) return by_vm;
    int by_source = str_compare(a->source, b->source);
    return by_source ? by_source : str_compare(a->id, b->id);
}

Event event_from_row(const Rows *rows, int row, Arena *arena)
{
    return (Event){
        .account = arena_copy(arena, rows_str(rows, row, 0)),
        .vm = arena_copy(arena, rows_str(rows, row, 1)),
        .source = arena_copy(arena, rows_str(rows, row, 2)),
        .id = arena_copy(arena, rows_str(rows, row, 3)),
        .at = rows_instant(rows, row, 4),
        .type = (EventType)rows_int(rows, row, 5),
        .bootup = rows_null(rows, row, 6) ? BOOTUP_CLEAN : (Bootup)rows_int(rows, row, 6),
        .sequence = arena_copy(arena, rows_str(rows, row, 7)),
        .size = arena_copy(arena, rows_str(rows, row, 8)),
        .millicpu = rows_null(rows, row, 9) ? 0 : rows_int(rows, row, 9),
        .memory_bytes = rows_null(rows, row, 10) ? 0 : rows_int(rows, row, 10),
        .run = arena_copy(arena, rows_str(rows, row, 11)),
        .reservation = arena_copy(arena, rows_str(rows, row, 12)),
        .reason = arena_copy(arena, rows_str(rows, row, 13)),
        .target_source = arena_copy(arena, rows_str(rows, row, 14)),
        .target_id = arena_copy(arena, rows_str(rows, row, 15)),
        .origin = (int32_t)rows_int(rows, row, 16),
        .position = rows_int(rows, row, 17),
    };
}

// ---- runs of a side ----
static void keep_run(void *context, const Run *run)
{
    HistorySide *side = context;
    if (side->runs == side->room) {
        size_t room = side->room ? side->room * 2 : 8;
        Run *more = arena_alloc(side->timeline.arena, room * sizeof *more);
        if (side->runs) memcpy(more, side->run, side->runs * sizeof *more);
        side->run = more;
        side->room = room;
    }
    side->run[side->runs++] = *run;
}

// ---- groups ----
static void group_add(Group *group, const Event *event)
{
    if (group->count == group->room) {
        group->room = group->room ? group->room * 2 : 16;
        group->event = mem_resize(group->event, group->room * sizeof *group->event);
    }
    group->event[group->count++] = event;
}

static void flush_group(Reader *r)
{
    History *h = &r->history;
    timeline_apply(&h->stored.timeline, r->view->stored, r->stored.event, r->stored.count, keep_run,
                   &h->stored);
    timeline_apply(&h->wanted.timeline, r->view->wanted, r->wanted.event, r->wanted.count, keep_run,
                   &h->wanted);
    r->stored.count = r->wanted.count = 0;
    arena_reset(r->group_arena);
}

// Whether the event is retracted for the stored side and for the wanted one.
static void look_up_retraction(Reader *r, const Event *event, bool *stored, bool *wanted)
{
    *stored = *wanted = false;
    Target key = {event->account, event->vm, event->source, event->id, false, false};
    Target *found = r->targets ? bsearch(&key, r->target, r->targets, sizeof key, compare_targets)
                               : NULL;
    if (!found) return;
    while (found > r->target && compare_targets(found - 1, &key) == 0) found--;
    for (; found < r->target + r->targets && compare_targets(found, &key) == 0; found++) {
        found->found = *wanted = true;
        *stored |= found->stored;
    }
}

static void feed(Reader *r, const Event *event, bool added)
{
    History *h = &r->history;
    bool retracted_stored, retracted_wanted;
    look_up_retraction(r, event, &retracted_stored, &retracted_wanted);
    if (event->type == EVENT_RETRACTED) return; // it acts through the targets, whatever its time
    if (!h->has_last || event->at.us > h->last_at.us) h->last_at = event->at;
    h->has_last = true;
    if (event->at.us != r->group_at.us) flush_group(r);
    r->group_at = event->at;
    bool happened = !r->view->until || event->at.us <= r->view->until->us;
    bool is_stored = !added && !retracted_stored, is_wanted = happened && !retracted_wanted;
    if (is_stored != is_wanted && !h->differs) {
        h->differs = true;
        h->reach = timeline_reach(&h->stored.timeline, event->at);
    }
    const Event *kept = event;
    if (!added) { // a row's texts go with the group
        Event *copy = arena_alloc(r->group_arena, sizeof *copy);
        *copy = *event;
        kept = copy;
    }
    if (is_stored) group_add(&r->stored, kept);
    if (is_wanted) group_add(&r->wanted, kept);
}

// Feeds the added events before `until` (NULL: all that are left).
static void feed_added(Reader *r, const Instant *until)
{
    const HistoryAsk *ask = &r->asks[r->at];
    for (; r->added_at < ask->added_count; r->added_at++) {
        const Event *event = ask->added[r->added_at];
        if (until && event->at.us >= until->us) return;
        feed(r, event, true);
    }
}

// ---- one VM after the other ----
static void begin_vm(Reader *r)
{
    if (r->begun) return;
    arena_reset(r->vm_arena);
    r->history = (History){.ask = &r->asks[r->at]};
    r->history.stored.timeline.arena = r->history.wanted.timeline.arena = r->vm_arena;
    r->added_at = 0;
    r->group_at = (Instant){INT64_MIN};
    r->begun = true;
}

static Status finish_vm(Reader *r, Error *error)
{
    begin_vm(r);
    feed_added(r, NULL);
    flush_group(r);
    const HistoryAsk *ask = &r->asks[r->at];
    for (size_t i = 0; i < r->targets; i++) {
        const Target *t = &r->target[i];
        if (!t->found && str_equal(t->vm, ask->vm) && str_equal(t->account, ask->account))
            r->history.pending = true;
    }
    Status status = r->each(r->context, &r->history, error);
    r->begun = false;
    r->at++;
    return status;
}

static Status read_row(void *context, const Rows *rows, int row, Error *error)
{
    Reader *r = context;
    Str account = rows_str(rows, row, 0), vm = rows_str(rows, row, 1);
    while (r->at < r->n && compare_vm(r->asks[r->at].account, r->asks[r->at].vm, account, vm) < 0)
        TRY(finish_vm(r, error));
    ASSERT(r->at < r->n);
    begin_vm(r);
    Instant at = rows_instant(rows, row, 4);
    feed_added(r, &at);
    if (at.us != r->group_at.us) flush_group(r); // before the arena takes this row's texts
    r->group_at = at;
    Event event = event_from_row(rows, row, r->group_arena);
    feed(r, &event, false);
    return ST_OK;
}

// ---- targets ----
static Status load_targets(Reader *r, Db *db, const Str params[2], Arena *arena, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_METER_HISTORY_RETRACTIONS, 2, params, &rows, error));
    size_t room = (size_t)rows_count(rows);
    for (size_t i = 0; i < r->n; i++) room += r->asks[i].added_count;
    r->target = arena_alloc(arena, room * sizeof *r->target);
    for (int row = 0; row < rows_count(rows); row++)
        r->target[r->targets++] = (Target){arena_copy(arena, rows_str(rows, row, 0)),
                                           arena_copy(arena, rows_str(rows, row, 1)),
                                           arena_copy(arena, rows_str(rows, row, 2)),
                                           arena_copy(arena, rows_str(rows, row, 3)),
                                           true,
                                           false};
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = 0; j < r->asks[i].added_count; j++) {
            const Event *event = r->asks[i].added[j];
            if (event->type == EVENT_RETRACTED)
                r->target[r->targets++] = (Target){
                    event->account,   event->vm, event->target_source,
                    event->target_id, false,     false};
        }
    if (r->targets) qsort(r->target, r->targets, sizeof *r->target, compare_targets);
    return ST_OK;
}

Status history_read(Db *db, const HistoryView *view, const HistoryAsk *asks, size_t n,
                    HistoryFn each, void *context, Error *error)
{
    if (n == 0) return ST_OK;
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf accounts = {0}, vms = {0};
    array_begin(&accounts);
    array_begin(&vms);
    for (size_t i = 0; i < n; i++) {
        array_add(&accounts, asks[i].account);
        array_add(&vms, asks[i].vm);
    }
    array_end(&accounts);
    array_end(&vms);
    Str params[2] = {buf_str(&accounts), buf_str(&vms)};
    Reader reader = {.view = view, .asks = asks, .n = n, .each = each, .context = context};
    TRY(load_targets(&reader, db, params, arena, error));
    reader.vm_arena = arena_new();
    reader.group_arena = arena_new();
    Status status = db_stream(db, &SQL_METER_HISTORY_EVENTS, 2, params, read_row, &reader, error);
    while (status == ST_OK && reader.at < n) status = finish_vm(&reader, error);
    free(reader.stored.event);
    free(reader.wanted.event);
    arena_free(reader.vm_arena);
    arena_free(reader.group_arena);
    return status;
}
