// SPDX-License-Identifier: Apache-2.0
// The last step of a batch: quota follows what runs now (quota/follow.h), and what others must hear
// of runs is written to the outbox: lost, recovered, superseded where the start was not CLEAN.
#include "meter/batch.h"
#include "meter/meter_sql.h"
#include "notices/notices.h"

// ---- slots ----
static bool is_touched(const VmGroup *group)
{
    const Timeline *t = &group->timeline;
    bool runs = t->phase == PHASE_RUNNING;
    if (group->late || runs != group->ran || (runs && t->watched != group->was_watched))
        return true;
    for (size_t i = 0; i < group->added_count; i++)
        if (group->added[i]->type != EVENT_HEARTBEAT) return true;
    return false;
}

VmChange group_change(const VmGroup *group, const Catalog *catalog, Arena *arena)
{
    const Timeline *t = &group->timeline;
    VmChange change = {.account = group->account,
                       .vm = group->vm,
                       .ran = group->ran,
                       .runs = t->phase == PHASE_RUNNING,
                       .touched = is_touched(group)};
    change.under_watch = change.runs && t->watched;
    if (change.under_watch) {
        const CatalogVersion *version = catalog_on(catalog, instant_day(t->proof));
        change.lost_after = instant_add_us(t->proof, version->heartbeat_timeout_us);
    }
    StartSeen *start = NULL;
    for (size_t i = 0; i < group->added_count; i++) {
        const Event *event = group->added[i];
        if (event->type != EVENT_STARTED) continue;
        if (!start) change.start = start = arena_alloc(arena, group->added_count * sizeof *start);
        start[change.starts++] = (StartSeen){event->reservation, event->at};
    }
    return change;
}

// ---- notices ----
typedef struct Telling {
    Attempt *attempt;
    Notice *notice;
    size_t notices, room;
} Telling;

static Str size_name(const Catalog *catalog, SizeNo size)
{
    return size == SIZE_NONE ? (Str){0} : str(catalog->size_names[size]);
}

static void tell(Telling *t, const char *type, Str account, Str vm, const Run *run)
{
    Arena *arena = t->attempt->arena;
    const Catalog *catalog = t->attempt->catalog;
    OWNED_BUF Buf data = {0};
    JsonWriter w = {.out = &data};
    char at[INSTANT_TEXT];
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", account);
    jw_str(&w, "vm", vm);
    jw_str(&w, "run", run->name);
    jw_text(&w, "started_at", instant_format(run->start, at));
    if (run->by == ENDED_NOT) jw_null(&w, "ended_at");
    else jw_text(&w, "ended_at", instant_format(run->end, at));
    jw_str(&w, "size", size_name(catalog, run->spans ? run->span[run->spans - 1].size : SIZE_NONE));
    jw_end_object(&w);
    if (t->notices == t->room) {
        size_t room = t->room ? t->room * 2 : 64;
        Notice *more = arena_alloc(arena, room * sizeof *more);
        if (t->notices) memcpy(more, t->notice, t->notices * sizeof *more);
        t->notice = more;
        t->room = room;
    }
    t->notice[t->notices++] = (Notice){
        .account = account, .type = type, .subject = vm, .data = arena_copy(arena, buf_str(&data))};
}

static int compare_change(const void *pa, const void *pb)
{
    const VmChange *a = pa, *b = pb;
    int by_account = str_compare(a->account, b->account);
    return by_account ? by_account : str_compare(a->vm, b->vm);
}

static const VmChange *change_of(const VmChange *changes, size_t n, Str account, Str vm)
{
    VmChange key = {.account = account, .vm = vm};
    return n ? bsearch(&key, changes, n, sizeof key, compare_change) : NULL;
}

// Whether the same run had ended so before: it was only written anew. `gone` is in order.
static bool had_ended_so(const RunRows *gone, const RunRow *row)
{
    if (gone->count == 0) return false;
    const RunRow *old = bsearch(row, gone->row, gone->count, sizeof *row, run_rows_compare);
    return old && old->run.by == row->run.by;
}

// Those of the runs that ended because a start came, where that start was not CLEAN.
static Status tell_superseded(Telling *t, const RunRow **row, size_t n, Error *error)
{
    if (n == 0) return ST_OK;
    Buf columns[3] = {0};
    Str params[3];
    char at[INSTANT_TEXT];
    for (int c = 0; c < 3; c++) array_begin(&columns[c]);
    for (size_t i = 0; i < n; i++) {
        array_add(&columns[0], row[i]->account);
        array_add(&columns[1], row[i]->vm);
        array_add(&columns[2], str(instant_format(row[i]->run.end, at)));
    }
    for (int c = 0; c < 3; c++) {
        array_end(&columns[c]);
        params[c] = buf_str(&columns[c]);
    }
    OWNED_ROWS Rows *rows = NULL;
    Status status = db_query(t->attempt->meter->db, &SQL_METER_SUPERSEDING, 3, params, &rows,
                             error);
    for (int c = 0; c < 3; c++) buf_free(&columns[c]);
    for (int i = 0; status == ST_OK && i < rows_count(rows); i++) {
        const RunRow *found = row[rows_int(rows, i, 0) - 1];
        tell(t, "tally.run.superseded", found->account, found->vm, &found->run);
    }
    return status;
}

static Status tell_ended(Telling *t, const VmChange *changes, size_t n, Error *error)
{
    Attempt *a = t->attempt;
    const RunRow **superseded = NULL;
    size_t count = 0;
    if (a->gone.count) qsort(a->gone.row, a->gone.count, sizeof *a->gone.row, run_rows_compare);
    for (size_t i = 0; i < a->ended.count; i++) {
        const RunRow *row = &a->ended.row[i];
        if (row->run.by != ENDED_SUPERSEDED && row->run.by != ENDED_HEARTBEAT_LOST) continue;
        if (had_ended_so(&a->gone, row)) continue;
        if (row->run.by == ENDED_SUPERSEDED) {
            if (!superseded)
                superseded = arena_alloc(a->arena, a->ended.count * sizeof(const RunRow *));
            superseded[count++] = row;
            continue;
        }
        const VmChange *change = change_of(changes, n, row->account, row->vm);
        if (change && change->was_lost) continue; // has been told, when time passed
        tell(t, "tally.run.lost", row->account, row->vm, &row->run);
    }
    return tell_superseded(t, superseded, count, error);
}

// A run that was lost goes on, or a proof of life opened the next one: not a start.
static void tell_recovered(Telling *t, const VmGroup *group, const VmChange *change)
{
    const Timeline *line = &group->timeline;
    if (!change->runs || !(change->was_lost || group->was_lost)) return;
    for (size_t i = 0; i < change->starts; i++)
        if (change->start[i].at.us == line->start.us) return;
    Run run = {.start = line->start,
               .nth = line->nth,
               .by = ENDED_NOT,
               .name = line->name,
               .spans = line->spans,
               .span = line->span};
    tell(t, "tally.run.recovered", group->account, group->vm, &run);
}

Status attempt_follow(Attempt *a, Error *error)
{
    VmChange *changes = arena_alloc(a->arena, (a->groups + 1) * sizeof *changes);
    const VmGroup **of = arena_alloc(a->arena, (a->groups + 1) * sizeof(const VmGroup *));
    size_t n = 0;
    for (size_t g = 0; g < a->groups; g++) {
        if (a->group[g].added_count == 0) continue;
        of[n] = &a->group[g];
        changes[n++] = group_change(&a->group[g], a->catalog, a->arena);
    }
    writer_flush(a->meter, a->count);
    TRY(quota_follow(a->meter->db, a->meter->follower, a->catalog, changes, n, error));
    Telling t = {.attempt = a};
    TRY(tell_ended(&t, changes, n, error));
    for (size_t i = 0; i < n; i++) tell_recovered(&t, of[i], &changes[i]);
    return notices_add(a->meter->db, t.notice, t.notices, NULL, error);
}
