// SPDX-License-Identifier: Apache-2.0
// One VM: its events fold into runs, each of which is compared with the stored one as it ends, and
// into a state, which is compared with the VM's row. Minutes are counted on the way.
#include "audit/differ.h"
#include "audit/recount.h"
#include "meter/minutes.h"

#include <inttypes.h>

// Columns of recount_runs.sql and recount_vms.sql.
enum { RUN_START = 2, RUN_NTH, RUN_END, RUN_BY, RUN_NAME, RUN_SIZES, RUN_MINUTES, RUN_CM };
enum {
    VM_VERSION = 2,
    VM_LAST,
    VM_PHASE,
    VM_START,
    VM_NTH,
    VM_RUN,
    VM_SIZES,
    VM_PROOF,
    VM_PENDING,
    VM_LISTED
};

static void keep_status(VmCheck *c, Status status)
{
    if (c->status == ST_OK) c->status = status;
}

static Error *error_of(VmCheck *c) { return c->status == ST_OK ? &c->error : NULL; }

static void find(VmCheck *c, const char *check, Str account, Str vm)
{
    Finding finding = {
        .check = check, .account = account, .subject = vm, .what = buf_str(&c->what)};
    keep_status(c, audit_find(c->audit, &finding, error_of(c)));
}

// ---- minutes ----
static void count_run(void *context, Instant first, int64_t count, SizeNo size)
{
    VmCheck *c = context;
    Day day = instant_day(first);
    c->minutes += count;
    c->cm = cm_add(c->cm, minutes_cost(c->audit->catalog, day, size, count));
    if (!c->counts) return;
    DayCell *cell = cells_at(c->cells, day, size);
    cell->all += count;
    if (!c->refold.beyond && day.days >= c->first.days) cell->used += count;
}

static void count_open(void *context, Instant first, int64_t count, SizeNo size)
{
    VmCheck *c = context;
    Day day = instant_day(first);
    if (day.days >= c->first.days) cells_at(c->cells, day, size)->used += count;
}

// What is open at the audit's now counts up to it; what ends later has not ended yet.
static void passed_now(void *context)
{
    VmCheck *c = context;
    Run run;
    if (!c->counts ||
        !timeline_open_run(&c->refold.timeline, c->audit->catalog, c->audit->now.horizon, &run))
        return;
    run_minutes(c->audit->catalog, &run, count_open, c);
}

// ---- runs ----
static void name_run(VmCheck *c, const char *before, Instant start, int64_t nth, const char *behind)
{
    char at[INSTANT_TEXT];
    buf_clear(&c->what);
    buf_addf(&c->what, "%s%sthe run from %s", c->by, before, differ_time(start, at));
    if (nth > 0) buf_addf(&c->what, " (number %" PRId64 " of that instant)", nth + 1);
    buf_add_text(&c->what, behind);
}

static int compare_run(const Rows *row, const Run *run)
{
    int by_start = instant_compare(rows_instant(row, 0, RUN_START), run->start);
    int64_t nth = rows_int(row, 0, RUN_NTH);
    return by_start ? by_start : (nth > run->nth) - (nth < run->nth);
}

static void next_run(VmCheck *c)
{
    if (c->status == ST_OK) keep_status(c, source_next(c->runs, &c->error));
}

// Stored runs of this VM that come before `run` (NULL: all) follow from no event.
static void drop_runs_before(VmCheck *c, const Run *run)
{
    while (c->status == ST_OK && source_of_vm(c->runs, c->account, c->vm)) {
        const Rows *row = c->runs->row;
        if (run && compare_run(row, run) >= 0) return;
        name_run(c, "", rows_instant(row, 0, RUN_START), rows_int(row, 0, RUN_NTH),
                 " is stored, but follows from no event");
        differ_usage(&c->what, (CreditMinutes){rows_int(row, 0, RUN_CM)}, (CreditMinutes){0});
        find(c, "runs", c->account, c->vm);
        next_run(c);
    }
}

static void compare_columns(VmCheck *c, const Rows *row, const Run *run)
{
    OWNED_BUF Buf differences = {0};
    Instant end = rows_instant(row, 0, RUN_END);
    CreditMinutes cm = {rows_int(row, 0, RUN_CM)};
    differ_instant(&differences, "ended_at", &end, &run->end);
    differ_int(&differences, "ended_by", rows_int(row, 0, RUN_BY), run->by);
    differ_str(&differences, "run", rows_str(row, 0, RUN_NAME), run->name);
    differ_str(&differences, "sizes", rows_str(row, 0, RUN_SIZES), buf_str(&c->sizes));
    differ_int(&differences, "minutes", rows_int(row, 0, RUN_MINUTES), c->minutes);
    differ_int(&differences, "credit_minutes", cm.cm, c->cm.cm);
    if (differences.n == 0) return;
    differ_usage(&differences, cm, c->cm);
    name_run(c, "", run->start, run->nth, ": ");
    buf_add_str(&c->what, buf_str(&differences));
    find(c, "runs", c->account, c->vm);
}

static void run_ended(void *context, const Run *run)
{
    VmCheck *c = context;
    if (c->status != ST_OK) return;
    c->audit->result->runs += c->counts;
    c->minutes = 0;
    c->cm.cm = 0;
    run_minutes(c->audit->catalog, run, count_run, c);
    drop_runs_before(c, run);
    buf_clear(&c->sizes);
    spans_format(c->audit->catalog, run->span, run->spans, &c->sizes);
    if (source_of_vm(c->runs, c->account, c->vm) && compare_run(c->runs->row, run) == 0) {
        compare_columns(c, c->runs->row, run);
        next_run(c);
        return;
    }
    char at[INSTANT_TEXT];
    name_run(c, "", run->start, run->nth, " is missing: ");
    buf_addf(&c->what, "it ended at %s (%s), with %" PRId64 " minutes of \"%s\"",
             instant_format(run->end, at), ended_by_name(run->by), c->minutes, c->sizes.p);
    differ_usage(&c->what, (CreditMinutes){0}, c->cm);
    find(c, "runs", c->account, c->vm);
}

// ---- the VM's row ----
static const Instant *instant_of(const Rows *row, int column, Instant *out)
{
    if (rows_null(row, 0, column)) return NULL;
    *out = rows_instant(row, 0, column);
    return out;
}

static void compare_vm(VmCheck *c, const Rows *row)
{
    const Refold *r = &c->refold;
    const Timeline *t = &r->timeline;
    bool kept = t->phase != PHASE_IDLE;
    Buf *what = &c->what;
    Instant at;
    buf_clear(&c->sizes);
    if (kept) spans_format(c->audit->catalog, t->span, t->spans, &c->sizes);
    buf_clear(what);
    differ_instant(what, "last_at", instant_of(row, VM_LAST, &at),
                   r->has_last ? &r->last_at : NULL);
    differ_int(what, "phase", rows_int(row, 0, VM_PHASE), t->phase);
    differ_instant(what, "started_at", instant_of(row, VM_START, &at),
                   t->started ? &t->start : NULL);
    differ_int(what, "nth", rows_int(row, 0, VM_NTH), t->nth);
    differ_str(what, "run", rows_str(row, 0, VM_RUN), kept ? t->name : (Str){0});
    differ_str(what, "sizes", rows_str(row, 0, VM_SIZES), kept ? buf_str(&c->sizes) : (Str){0});
    differ_instant(what, "proof_at", instant_of(row, VM_PROOF, &at),
                   t->phase == PHASE_RUNNING && t->watched ? &t->proof : NULL);
    differ_bool(what, "pending", rows_bool(row, 0, VM_PENDING), r->pending);
    if (rows_int(row, 0, VM_VERSION) < 1)
        differ_int(what, "version", rows_int(row, 0, VM_VERSION), 1);
    if (t->phase == PHASE_RUNNING) differ_bool(what, "listed", rows_bool(row, 0, VM_LISTED), true);
}

static void check_row(VmCheck *c, bool has_events)
{
    bool there = source_of_vm(c->vms, c->account, c->vm) && !rows_null(c->vms->row, 0, VM_VERSION);
    buf_clear(&c->what);
    if (there && !has_events) {
        buf_add_text(&c->what, "has a row, but no event");
    } else if (!there && has_events) {
        buf_add_text(&c->what, "has events, but no row");
    } else if (there) {
        compare_vm(c, c->vms->row);
    }
    if (c->what.n == 0) return;
    OWNED_BUF Buf sentence = {0};
    buf_addf(&sentence, "%sthe VM's row: ", c->by);
    buf_add_str(&sentence, buf_str(&c->what));
    buf_clear(&c->what);
    buf_add_str(&c->what, buf_str(&sentence));
    find(c, "vms", c->account, c->vm);
}

// ---- one VM ----
void vm_check_init(VmCheck *c, Audit *audit)
{
    *c = (VmCheck){.audit = audit, .by = "", .first = DAY_END, .keys = arena_new()};
    refold_init(&c->refold, audit->catalog,
                audit->order->as_of ? *audit->order->as_of : INSTANT_END);
    c->refold.ended = run_ended;
    c->refold.passed = passed_now;
    c->refold.context = c;
}

void vm_check_done(VmCheck *c)
{
    refold_done(&c->refold);
    arena_free(c->keys);
    buf_free(&c->what);
    buf_free(&c->sizes);
}

static void bad_event(VmCheck *c, const Rows *row, const char *why)
{
    buf_clear(&c->what);
    buf_addf(&c->what, "%sevent ", c->by);
    buf_add_str(&c->what, rows_str(row, 0, AT_ID));
    buf_add_text(&c->what, " of ");
    buf_add_str(&c->what, rows_str(row, 0, AT_SOURCE));
    buf_addf(&c->what, " %s", why);
    find(c, "events", c->account, c->vm);
}

Status vm_check(VmCheck *c, Str account, Str vm, Error *error)
{
    bool has_events = false;
    arena_reset(c->keys);
    c->account = arena_copy(c->keys, account);
    c->vm = arena_copy(c->keys, vm);
    refold_begin(&c->refold);
    while (c->status == ST_OK && source_of_vm(c->events, c->account, c->vm)) {
        const Rows *row = c->events->row;
        has_events = true;
        c->audit->result->events += c->counts;
        const char *why = refold_add(&c->refold, row);
        if (why) bad_event(c, row, why);
        if (c->status == ST_OK) keep_status(c, source_next(c->events, &c->error));
    }
    if (c->status == ST_OK) refold_end(&c->refold);
    drop_runs_before(c, NULL);
    if (c->status == ST_OK) check_row(c, has_events);
    if (c->status != ST_OK && error) *error = c->error;
    return c->status;
}
