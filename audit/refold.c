// SPDX-License-Identifier: Apache-2.0
#include "audit/refold.h"

enum { ARENA_FULL_BYTES = 1024 * 1024 };

typedef struct RefoldIds Ids;
typedef struct RefoldId {
    Str source, id;
    bool found;
} Id;

void refold_init(Refold *r, const Catalog *catalog, Instant until)
{
    *r = (Refold){.catalog = catalog, .until = until};
    r->arena = arena_new();
    r->spare = arena_new();
    r->of_vm = arena_new();
    r->of_instant = arena_new();
}

void refold_done(Refold *r)
{
    arena_free(r->arena);
    arena_free(r->spare);
    arena_free(r->of_vm);
    arena_free(r->of_instant);
    free(r->targets.id);
    free(r->retractions.id);
    free(r->event);
}

void refold_begin(Refold *r)
{
    arena_reset(r->arena);
    arena_reset(r->of_vm);
    arena_reset(r->of_instant);
    r->timeline = (Timeline){.arena = r->arena};
    r->has_last = r->pending = r->beyond = r->sorted = false;
    r->targets.count = r->retractions.count = r->events = 0;
}

// ---- retractions ----
static int compare_ids(const void *pa, const void *pb)
{
    const Id *a = pa, *b = pb;
    int by_source = str_compare(a->source, b->source);
    return by_source ? by_source : str_compare(a->id, b->id);
}

static void add_id(Ids *ids, Str source, Str id, Arena *arena)
{
    if (ids->count == ids->room) {
        ids->room = ids->room ? ids->room * 2 : 16;
        ids->id = mem_resize(ids->id, ids->room * sizeof *ids->id);
    }
    ids->id[ids->count++] = (Id){arena_copy(arena, source), arena_copy(arena, id), false};
}

static const char *add_retraction(Refold *r, const Rows *rows)
{
    if (rows_null(rows, 0, AT_TARGET_SOURCE) || rows_null(rows, 0, AT_TARGET_ID))
        return "does not say what it retracts";
    add_id(&r->targets, rows_str(rows, 0, AT_TARGET_SOURCE), rows_str(rows, 0, AT_TARGET_ID),
           r->of_vm);
    add_id(&r->retractions, rows_str(rows, 0, AT_SOURCE), rows_str(rows, 0, AT_ID), r->of_vm);
    return NULL;
}

// Notes that the event is there; true where it is retracted. All retractions have come before.
static bool find_target(Refold *r, Str source, Str id)
{
    Ids *targets = &r->targets;
    if (targets->count == 0) return false;
    if (!r->sorted) qsort(targets->id, targets->count, sizeof *targets->id, compare_ids);
    r->sorted = true;
    Id key = {source, id, false};
    Id *found = bsearch(&key, targets->id, targets->count, sizeof key, compare_ids);
    if (!found) return false;
    while (found > targets->id && compare_ids(found - 1, &key) == 0) found--;
    for (; found < targets->id + targets->count && compare_ids(found, &key) == 0; found++)
        found->found = true;
    return true;
}

// ---- one instant after the other ----
// Runs that were handed out leave their texts and sizes behind: the open one moves out.
static void move_house(Refold *r)
{
    Timeline *t = &r->timeline;
    Arena *full = r->arena;
    arena_reset(r->spare);
    t->arena = r->arena = r->spare;
    r->spare = full;
    t->name = arena_copy(r->arena, t->name);
    SizeSpan *span = arena_alloc(r->arena, ((size_t)t->spans + 1) * sizeof *span);
    if (t->spans) memcpy(span, t->span, (size_t)t->spans * sizeof *span);
    t->span = span;
    t->span_room = t->spans + 1;
}

static void pass(Refold *r)
{
    r->beyond = true;
    r->passed(r->context);
}

static void flush(Refold *r)
{
    if (r->events == 0) return;
    if (!r->beyond && r->event[0]->at.us > r->until.us) pass(r);
    timeline_apply(&r->timeline, r->catalog, r->event, r->events, r->ended, r->context);
    r->events = 0;
    arena_reset(r->of_instant);
    size_t of_open = (size_t)r->timeline.span_room * sizeof *r->timeline.span;
    if (arena_bytes(r->arena) > ARENA_FULL_BYTES + 4 * of_open) move_house(r);
}

static int64_t int_or_0(const Rows *rows, int column)
{
    return rows_null(rows, 0, column) ? 0 : rows_int(rows, 0, column);
}

// The event's own texts, without what only says which VM it is of.
static Event *read_event(Refold *r, const Rows *rows)
{
    Arena *arena = r->of_instant;
    Event *event = arena_alloc(arena, sizeof *event);
    event->source = arena_copy(arena, rows_str(rows, 0, AT_SOURCE));
    event->id = arena_copy(arena, rows_str(rows, 0, AT_ID));
    event->at = rows_instant(rows, 0, AT_TIME);
    event->type = (EventType)rows_int(rows, 0, AT_TYPE);
    event->bootup = (Bootup)int_or_0(rows, AT_BOOTUP);
    event->sequence = arena_copy(arena, rows_str(rows, 0, AT_SEQUENCE));
    event->size = arena_copy(arena, rows_str(rows, 0, AT_SIZE));
    event->millicpu = int_or_0(rows, AT_MILLICPU);
    event->memory_bytes = int_or_0(rows, AT_MEMORY);
    event->run = arena_copy(arena, rows_str(rows, 0, AT_RUN));
    return event;
}

static const char *fault(const Refold *r, const Event *event)
{
    if (event->type > EVENT_STOPPED) return "is of no type that is metered";
    if (event->bootup > BOOTUP_RUNNING) return "has no bootup that there is";
    bool sized = event->type == EVENT_STARTED || event->type == EVENT_RESIZED;
    if (sized && event_size(event, r->catalog) == SIZE_NONE)
        return "has a size that the catalogue of its day does not have";
    return NULL;
}

static void keep(Refold *r, const Event *event)
{
    if (r->events == r->event_room) {
        r->event_room = r->event_room ? r->event_room * 2 : 16;
        r->event = mem_resize(r->event, r->event_room * sizeof *r->event);
    }
    r->event[r->events++] = event;
}

const char *refold_add(Refold *r, const Rows *rows)
{
    if (rows_int(rows, 0, AT_TYPE) == EVENT_RETRACTED) return add_retraction(r, rows);
    Instant at = rows_instant(rows, 0, AT_TIME);
    if (at.us < INSTANT_MIN.us || at.us >= INSTANT_END.us)
        return "has a time that no event can have";
    if (r->events > 0 && r->event[0]->at.us != at.us) flush(r);
    r->has_last = true;
    r->last_at = at;
    if (find_target(r, rows_str(rows, 0, AT_SOURCE), rows_str(rows, 0, AT_ID))) return NULL;
    const Event *event = read_event(r, rows);
    const char *why = fault(r, event);
    if (!why) keep(r, event);
    return why;
}

void refold_end(Refold *r)
{
    flush(r);
    if (!r->beyond) pass(r);
    for (size_t i = 0; i < r->retractions.count; i++) // of no effect on each other, but there
        (void)find_target(r, r->retractions.id[i].source, r->retractions.id[i].id);
    for (size_t i = 0; i < r->targets.count; i++) r->pending |= !r->targets.id[i].found;
}
