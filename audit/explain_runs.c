// SPDX-License-Identifier: Apache-2.0
// The runs of the days that are shown, made again from events. VMs come page by page, their events
// stream by in order of time, instant by instant; each is applied by itself, and what it did is
// seen from how the timeline stood before and stands after it. Memory holds one instant's events.
#include "audit/audit_sql.h"
#include "audit/explain_parts.h"

#include "meter/history.h"

enum { VMS_PAGE = 500, ID_MAX = 64 };
enum { // the columns of explain_events, behind an event's own
    AT_TOPIC = 18,
    AT_PARTITION,
    AT_FILE,
    AT_BY_SOURCE,
    AT_BY_ID,
    AT_BY_AT,
    AT_BY_POSITION,
    AT_BY_TOPIC,
    AT_BY_PARTITION,
    AT_BY_FILE,
};

#define CONFLICT STR("it conflicts with the event of its identity that was metered first")

typedef struct Fold {
    Explained *x;
    const Teller *teller;
    char vm[ID_MAX + 1]; // "": none yet
    Arena *arena;        // the timeline's
    Timeline timeline;
    Run ended; // by the event that is being applied
    bool has_ended;
    Arena *told_arena; // the instant's events
    Told **told;
    const Event **acting;
    size_t count, room;
    Instant at;
    bool open; // an entry is
    Entry entry;
    bool certain; // its run has lived on a day that is shown
    bool doubted; // the one before is a run of other days, shown only if events of no run follow
    RunCell *cell;
    size_t cells_room;
} Fold;

const char *did_name(Did did)
{
    static const char *const names[] = {
        [DID_OPEN] = "opened",     [DID_REOPEN] = "reopened",   [DID_END] = "ended",
        [DID_RESIZE] = "resized",  [DID_PROVE] = "proved life", [DID_FORGET] = "ended the wait",
        [DID_NOTHING] = "nothing",
    };
    return names[did];
}

// ---- entries ----
static void settle_doubt(Fold *f, bool shown)
{
    if (f->doubted && !shown) f->teller->drop(f->teller->context);
    f->doubted = false;
}

static void begin_entry(Fold *f, bool is_run)
{
    settle_doubt(f, !is_run);
    f->entry = (Entry){.vm = str(f->vm), .is_run = is_run};
    if (is_run) f->entry.start = f->timeline.start;
    if (is_run) f->entry.name = f->timeline.name;
    f->open = true;
    f->certain = !is_run;
    f->teller->begin(f->teller->context, &f->entry);
}

static void end_entry(Fold *f)
{
    f->teller->end(f->teller->context, &f->entry);
    f->open = false;
}

static void tell(Fold *f, Told *told, Did did, Str why)
{
    bool asked = explain_scope(f->x, instant_day(told->event.at)) != NULL;
    told->did = did;
    told->why = why;
    if (!f->open && !asked) return;
    if (!f->open) begin_entry(f, false);
    if (asked) f->certain = true; // also what lies behind a run that turns out to be lost
    bool beat = told->event.type == EVENT_HEARTBEAT && did != DID_REOPEN;
    if (asked || (f->entry.is_run && !beat)) f->teller->event(f->teller->context, told);
    else if (f->entry.is_run) f->entry.heartbeats_elsewhere++;
}

// ---- minutes ----
// In order of day and size; minutes come in order of time, so it is never far from the end.
static void add_cell(Fold *f, Day day, SizeNo size, int64_t minutes)
{
    size_t at = f->entry.cells;
    for (; at > 0; at--) {
        const RunCell *before = &f->cell[at - 1];
        if (before->day.days < day.days) break;
        if (before->size <= size) break;
    }
    if (at == 0 || f->cell[at - 1].day.days != day.days || f->cell[at - 1].size != size) {
        if (f->entry.cells == f->cells_room) {
            f->cells_room = f->cells_room ? 2 * f->cells_room : 32;
            f->cell = mem_resize(f->cell, f->cells_room * sizeof *f->cell);
        }
        memmove(&f->cell[at + 1], &f->cell[at], (f->entry.cells - at) * sizeof *f->cell);
        f->cell[at++] = (RunCell){.day = day, .size = size};
        f->entry.cells++;
    }
    RunCell *cell = &f->cell[at - 1];
    cell->minutes += minutes;
    cell->cm = cm_add(cell->cm, minutes_cost(f->x->catalog, day, size, minutes));
}

static void take_minutes(void *context, Instant first, int64_t count, SizeNo size)
{
    Fold *f = context;
    Day day = instant_day(first);
    Scope *scope = explain_scope(f->x, day);
    if (!scope) return;
    (*scope->made)[day.days - period_first(scope->period).days][size] += count;
    add_cell(f, day, size, count);
}

// Whether any moment from start to end is on a day that is shown. `end` too: it may be why a day
// that begins there has no use any more.
static bool lies_on_shown(const Explained *x, Instant start, Instant end)
{
    for (size_t i = 0; i < x->scopes; i++) {
        const Scope *scope = &x->scope[i];
        for (int32_t day = 0; day < RATE_DAYS_MAX; day++) {
            if (!(scope->days >> day & 1)) continue;
            Day first = day_add(period_first(scope->period), day);
            Instant from = day_start(first), to = day_start(day_add(first, 1));
            if (start.us < to.us && end.us >= from.us) return true;
        }
    }
    return false;
}

static void end_run(Fold *f, const Run *run)
{
    run_minutes(f->x->catalog, run, take_minutes, f);
    f->entry.run = run;
    f->entry.cell = f->cell;
    end_entry(f);
    f->doubted = !f->certain && !lies_on_shown(f->x, run->start, run->end);
}

// Whether what the open entry said may be written.
static bool is_certain(Fold *f)
{
    if (!f->open) return !f->doubted;
    Instant lived = f->timeline.watched ? f->timeline.proof : f->at;
    if (!f->certain) f->certain = lies_on_shown(f->x, f->entry.start, lived);
    return f->certain;
}

// ---- one event ----
static void note_ended(void *context, const Run *run)
{
    Fold *f = context;
    f->ended = *run;
    f->has_ended = true;
}

static SizeNo last_size(const Timeline *t)
{
    return t->spans > 0 ? t->span[t->spans - 1].size : SIZE_NONE;
}

static void apply(Fold *f, Told *told)
{
    Timeline *t = &f->timeline;
    const Event *event = &told->event;
    Phase was = t->phase;
    Str name = t->name;
    SizeNo size = last_size(t);
    bool differs = !str_absent(name) && !str_absent(event->run) && !str_equal(name, event->run);
    f->has_ended = false;
    timeline_apply(t, f->x->catalog, &event, 1, note_ended, f);
    if (f->has_ended && f->ended.by == ENDED_HEARTBEAT_LOST) { // before this event
        end_run(f, &f->ended);
        was = PHASE_LOST;
        f->has_ended = false;
    }
    if (f->has_ended) {
        tell(f, told, DID_END, (Str){0});
        end_run(f, &f->ended);
    }
    bool opened = t->phase == PHASE_RUNNING && (was != PHASE_RUNNING || f->has_ended);
    if (opened) {
        if (f->open) end_entry(f); // events of no run
        begin_entry(f, true);
        bool found = was == PHASE_LOST && event->type != EVENT_STARTED;
        tell(f, told, found ? DID_REOPEN : DID_OPEN, (Str){0});
    } else if (f->has_ended) {
        return;
    } else if (was == PHASE_IDLE) {
        tell(f, told, DID_NOTHING, STR("the VM did not run"));
    } else if (t->phase == PHASE_IDLE) {
        tell(f, told, DID_FORGET, (Str){0});
    } else if (differs) {
        tell(f, told, DID_NOTHING, STR("it names another run"));
    } else if (last_size(t) != size) {
        tell(f, told, DID_RESIZE, (Str){0});
    } else if (t->watched) {
        tell(f, told, DID_PROVE, (Str){0});
    } else {
        tell(f, told, DID_NOTHING, STR("the VM had that size already"));
    }
}

// ---- one instant, one VM ----
static void finish_instant(Fold *f)
{
    size_t acting = 0;
    for (size_t i = 0; i < f->count; i++) {
        const Told *told = f->told[i];
        if (!told->retracted && told->event.type != EVENT_UNKNOWN)
            f->acting[acting++] = &told->event;
    }
    timeline_order(&f->timeline, f->x->catalog, f->acting, acting);
    for (size_t i = 0; i < acting; i++) apply(f, (Told *)f->acting[i]); // its first member
    for (size_t i = 0; i < f->count; i++) {
        Told *told = f->told[i];
        if (told->retracted) tell(f, told, DID_NOTHING, STR("it was retracted"));
        else if (told->event.type == EVENT_UNKNOWN) tell(f, told, DID_NOTHING, CONFLICT);
    }
    f->count = 0;
    arena_reset(f->told_arena);
    if (f->timeline.phase != PHASE_IDLE) return;
    arena_reset(f->arena); // nothing of the run that ended is needed any more
    f->timeline.name = (Str){0};
    f->timeline.span = NULL;
    f->timeline.spans = f->timeline.span_room = 0;
}

static void finish_vm(Fold *f)
{
    Run run;
    finish_instant(f);
    if (timeline_open_run(&f->timeline, f->x->catalog, f->x->horizon, &run)) end_run(f, &run);
    else if (f->open) end_entry(f);
    settle_doubt(f, false);
    arena_reset(f->arena);
    f->timeline = (Timeline){.arena = f->arena};
    f->vm[0] = '\0';
}

// ---- reading ----
static Place read_place(const Rows *rows, int row, int topic, int partition, int file, int position,
                        Arena *arena)
{
    return (Place){
        .topic = arena_copy(arena, rows_str(rows, row, topic)),
        .file = arena_copy(arena, rows_str(rows, row, file)),
        .partition = rows_null(rows, row, partition) ? 0 : rows_int(rows, row, partition),
        .position = rows_int(rows, row, position),
    };
}

static Told *read_told(Fold *f, const Rows *rows, int row)
{
    Arena *arena = f->told_arena;
    Told *told = arena_alloc(arena, sizeof *told);
    *told = (Told){.event = event_from_row(rows, row, arena)};
    told->place = read_place(rows, row, AT_TOPIC, AT_PARTITION, AT_FILE, AT_TOPIC - 1, arena);
    told->retracted = !rows_null(rows, row, AT_BY_ID);
    if (!told->retracted) return told;
    told->by_source = arena_copy(arena, rows_str(rows, row, AT_BY_SOURCE));
    told->by_id = arena_copy(arena, rows_str(rows, row, AT_BY_ID));
    told->by_at = rows_instant(rows, row, AT_BY_AT);
    told->by_place = read_place(rows, row, AT_BY_TOPIC, AT_BY_PARTITION, AT_BY_FILE, AT_BY_POSITION,
                                arena);
    return told;
}

static Status take_row(void *context, const Rows *rows, int row, Error *error)
{
    Fold *f = context;
    Str vm = rows_str(rows, row, 1);
    Instant at = rows_instant(rows, row, 4);
    bool same = str_is(vm, f->vm);
    if (!same && f->vm[0]) finish_vm(f);
    if (same && at.us != f->at.us) finish_instant(f);
    if (!same) {
        ASSERT(vm.n <= ID_MAX);
        memcpy(f->vm, vm.p, vm.n);
        f->vm[vm.n] = '\0';
    }
    f->at = at;
    if (f->count == f->room) {
        f->room = f->room ? 2 * f->room : 16;
        f->told = mem_resize(f->told, f->room * sizeof *f->told);
        f->acting = mem_resize(f->acting, f->room * sizeof *f->acting);
    }
    f->told[f->count++] = read_told(f, rows, row);
    return f->teller->pause(f->teller->context, is_certain(f), error);
}

static Instant first_shown(const Explained *x)
{
    const Scope *scope = &x->scope[0];
    int32_t day = __builtin_ctz(scope->days);
    return day_start(day_add(period_first(scope->period), day));
}

static Status read_pages(Db *db, Fold *f, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    char after[ID_MAX + 1] = "";
    for (int n = VMS_PAGE; n == VMS_PAGE;) {
        arena_reset(arena);
        OWNED_ROWS Rows *page = NULL;
        OWNED_BUF Buf vms = {0};
        Str account = f->x->invoice.account;
        Str which[] = {account, str(after), param_instant(arena, first_shown(f->x)),
                       param_int(arena, VMS_PAGE)};
        TRY(db_query(db, &SQL_AUDIT_EXPLAIN_VMS, 4, which, &page, error));
        n = rows_count(page);
        if (n == 0) break;
        array_begin(&vms);
        for (int i = 0; i < n; i++) array_add(&vms, rows_str(page, i, 0));
        array_end(&vms);
        Str last = rows_str(page, n - 1, 0);
        ASSERT(last.n <= ID_MAX);
        memcpy(after, last.p, last.n);
        after[last.n] = '\0';
        Str params[] = {account, buf_str(&vms), param_instant(arena, f->x->horizon)};
        TRY(db_stream(db, &SQL_AUDIT_EXPLAIN_EVENTS, 3, params, take_row, f, error));
        if (f->vm[0]) finish_vm(f);
        TRY(f->teller->pause(f->teller->context, true, error));
    }
    return ST_OK;
}

Status explain_runs(Db *db, Explained *x, const Teller *teller, Error *error)
{
    Fold f = {.x = x, .teller = teller, .arena = arena_new(), .told_arena = arena_new()};
    f.timeline.arena = f.arena;
    Status status = read_pages(db, &f, error);
    arena_free(f.arena);
    arena_free(f.told_arena);
    free(f.told);
    free(f.acting);
    free(f.cell);
    return status;
}
