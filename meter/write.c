// SPDX-License-Identifier: Apache-2.0
// Writing what a batch changes. The order matters: events first (a repeat that nobody looked for
// shows there, before anything else is done), then runs, then the VMs' rows (whose versions decide
// between two collectors), then the day totals, which many VMs share, what billing must look at
// again, the positions, and last of all the accounts' counts, which the quota service wants too:
// shared rows are locked for an instant only.
#include "meter/batch.h"

#include "meter/meter_sql.h"

#include <stdio.h>

// ---- events ----
static Status write_events(const Attempt *a, Error *error)
{
    Copy copy;
    bool any = false;
    for (size_t g = 0; g < a->groups && !any; g++) any = a->group[g].added_count > 0;
    if (!any) return ST_OK;
    TRY(copy_begin(
        &copy, a->meter->db,
        "event (account, vm, source, id, at, type, bootup, sequence, size, millicpu, memory_bytes, run,"
        " reservation, reason, target_source, target_id, origin, position)",
        error));
    Status status = ST_OK;
    for (size_t g = 0; g < a->groups && status == ST_OK; g++) {
        for (size_t i = 0; i < a->group[g].added_count && status == ST_OK; i++) {
            const Event *e = a->group[g].added[i];
            copy_row(&copy, 18);
            copy_str(&copy, e->account);
            copy_str(&copy, e->vm);
            copy_str(&copy, e->source);
            copy_str(&copy, e->id);
            copy_instant(&copy, e->at);
            copy_int2(&copy, (int16_t)e->type);
            if (e->type == EVENT_STARTED) copy_int2(&copy, (int16_t)e->bootup);
            else copy_null(&copy);
            copy_str(&copy, e->sequence);
            copy_str(&copy, e->size);
            if (e->millicpu) copy_int8(&copy, e->millicpu);
            else copy_null(&copy);
            if (e->memory_bytes) copy_int8(&copy, e->memory_bytes);
            else copy_null(&copy);
            copy_str(&copy, e->run);
            copy_str(&copy, e->reservation);
            copy_str(&copy, e->reason);
            copy_str(&copy, e->target_source);
            copy_str(&copy, e->target_id);
            copy_int4(&copy, e->origin);
            copy_int8(&copy, e->position);
            status = copy_flush(&copy, error);
        }
    }
    Error ignored;
    Status ended = copy_end(&copy, status == ST_OK ? error : &ignored);
    return status == ST_OK ? ended : status;
}

// ---- runs ----
int run_rows_compare(const void *pa, const void *pb)
{
    const RunRow *a = pa, *b = pb;
    int by_account = str_compare(a->account, b->account);
    if (by_account) return by_account;
    int by_start = instant_compare(a->run.start, b->run.start);
    if (by_start) return by_start;
    int by_vm = str_compare(a->vm, b->vm);
    return by_vm ? by_vm : (a->run.nth > b->run.nth) - (a->run.nth < b->run.nth);
}

static Status delete_runs(Db *db, const RunRows *gone, Error *error)
{
    if (gone->count == 0) return ST_OK;
    OWNED_BUF Buf accounts = {0}, starts = {0}, vms = {0}, nths = {0};
    Buf *arrays[] = {&accounts, &starts, &vms, &nths};
    char at[INSTANT_TEXT];
    for (int i = 0; i < 4; i++) array_begin(arrays[i]);
    for (size_t i = 0; i < gone->count; i++) {
        const RunRow *row = &gone->row[i];
        array_add(&accounts, row->account);
        array_add(&starts, str(instant_format(row->run.start, at)));
        array_add(&vms, row->vm);
        array_add_int(&nths, row->run.nth);
    }
    Str params[4];
    for (int i = 0; i < 4; i++) {
        array_end(arrays[i]);
        params[i] = buf_str(arrays[i]);
    }
    int64_t deleted = 0;
    TRY(db_run(db, &SQL_METER_RUN_DELETE, 4, params, &deleted, error));
    // The old side was folded from events that another collector may just have added to: start
    // over.
    if (deleted != (int64_t)gone->count)
        return error_set(error, ST_CONFLICT, "%lld of %zu runs to be replaced are stored",
                         (long long)deleted, gone->count);
    return ST_OK;
}

Status write_runs(Db *db, const Catalog *catalog, RunRows *ended, RunRows *gone, Error *error)
{
    TRY(delete_runs(db, gone, error));
    if (ended->count == 0) return ST_OK;
    qsort(ended->row, ended->count, sizeof *ended->row, run_rows_compare);
    Copy copy;
    TRY(copy_begin(
        &copy, db,
        "run (account, started_at, vm, nth, ended_at, ended_by, run, sizes, minutes, credit_minutes)",
        error));
    OWNED_BUF Buf sizes = {0};
    Status status = ST_OK;
    for (size_t i = 0; i < ended->count && status == ST_OK; i++) {
        const RunRow *row = &ended->row[i];
        buf_clear(&sizes);
        spans_format(catalog, row->run.span, row->run.spans, &sizes);
        copy_row(&copy, 10);
        copy_str(&copy, row->account);
        copy_instant(&copy, row->run.start);
        copy_str(&copy, row->vm);
        copy_int4(&copy, row->run.nth);
        copy_instant(&copy, row->run.end);
        copy_int2(&copy, (int16_t)row->run.by);
        copy_str(&copy, row->run.name);
        copy_str(&copy, buf_str(&sizes));
        copy_int8(&copy, row->minutes);
        copy_int8(&copy, row->cm.cm);
        status = copy_flush(&copy, error);
    }
    Error ignored;
    Status ended_copy = copy_end(&copy, status == ST_OK ? error : &ignored);
    return status == ST_OK ? ended_copy : status;
}

// ---- day totals ----
int usage_cells_compare(const void *pa, const void *pb)
{
    const UsageCell *a = pa, *b = pb;
    int by_account = str_compare(a->account, b->account);
    if (by_account) return by_account;
    if (a->day.days != b->day.days) return a->day.days < b->day.days ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

Status write_cells(Db *db, const Catalog *catalog, UsageCells *cells, Error *error)
{
    if (cells->count == 0) return ST_OK;
    qsort(cells->cell, cells->count, sizeof *cells->cell, usage_cells_compare);
    OWNED_BUF Buf accounts = {0}, days = {0}, sizes = {0}, minutes = {0};
    Buf *arrays[] = {&accounts, &days, &sizes, &minutes};
    char day[DAY_TEXT];
    int64_t sum = 0;
    bool any = false;
    for (int i = 0; i < 4; i++) array_begin(arrays[i]);
    for (size_t i = 0; i < cells->count; i++) {
        const UsageCell *cell = &cells->cell[i];
        sum += cell->minutes;
        if (i + 1 < cells->count && usage_cells_compare(cell, cell + 1) == 0) continue;
        if (sum != 0) {
            any = true;
            array_add(&accounts, cell->account);
            array_add(&days, str(day_format(cell->day, day)));
            array_add(&sizes, str(catalog->size_names[cell->size]));
            array_add_int(&minutes, sum);
        }
        sum = 0;
    }
    if (!any) return ST_OK;
    Str params[4];
    for (int i = 0; i < 4; i++) {
        array_end(arrays[i]);
        params[i] = buf_str(arrays[i]);
    }
    return db_run(db, &SQL_METER_USAGE_ADD, 4, params, NULL, error);
}

// ---- VMs ----
static void copy_vm(Copy *copy, const Catalog *catalog, const VmGroup *vm, Buf *sizes)
{
    const Timeline *t = &vm->timeline;
    bool kept = t->phase != PHASE_IDLE;
    copy_row(copy, 12);
    copy_str(copy, vm->account);
    copy_str(copy, vm->vm);
    copy_int8(copy, vm->version + 1);
    if (vm->has_last) copy_instant(copy, vm->last_at);
    else copy_null(copy);
    copy_int2(copy, (int16_t)t->phase);
    if (t->started) copy_instant(copy, t->start);
    else copy_null(copy);
    copy_int4(copy, t->nth);
    copy_str(copy, kept ? t->name : (Str){0});
    buf_clear(sizes);
    if (kept) spans_format(catalog, t->span, t->spans, sizes);
    copy_str(copy, kept ? buf_str(sizes) : (Str){0});
    if (t->phase == PHASE_RUNNING && t->watched) copy_instant(copy, t->proof);
    else copy_null(copy);
    copy_bool(copy, vm->pending);
    copy_bool(copy, kept); // listed
}

// Those that have no row yet, into vm; or those that have one, into vm_stage.
static Status copy_vms(Db *db, const Catalog *catalog, const VmGroup *group, size_t groups,
                       bool fresh, int64_t *copied, Error *error)
{
    *copied = 0;
    for (size_t g = 0; g < groups; g++)
        *copied += group[g].added_count > 0 && (group[g].version == 0) == fresh;
    if (*copied == 0) return ST_OK;
    char target[256];
    snprintf(target, sizeof target,
             "%s (account, vm, version, last_at, phase, started_at, nth, run, sizes, proof_at,"
             " pending, listed)",
             fresh ? "vm" : "vm_stage");
    Copy copy;
    TRY(copy_begin(&copy, db, target, error));
    OWNED_BUF Buf sizes = {0};
    Status status = ST_OK;
    for (size_t g = 0; g < groups && status == ST_OK; g++) {
        if (group[g].added_count == 0 || (group[g].version == 0) != fresh) continue;
        copy_vm(&copy, catalog, &group[g], &sizes);
        status = copy_flush(&copy, error);
    }
    Error ignored;
    Status ended = copy_end(&copy, status == ST_OK ? error : &ignored);
    return status == ST_OK ? ended : status;
}

Status write_vms(Db *db, const Catalog *catalog, const VmGroup *group, size_t groups, Error *error)
{
    int64_t fresh, staged, written = 0;
    TRY(copy_vms(db, catalog, group, groups, true, &fresh, error));
    TRY(copy_vms(db, catalog, group, groups, false, &staged, error));
    if (staged == 0) return ST_OK;
    TRY(db_run(db, &SQL_METER_VM_SAVE, 0, NULL, &written, error));
    TRY(db_script(db, "TRUNCATE vm_stage", error)); // a rebuild writes it several times
    if (written != staged)
        return error_set(error, ST_CONFLICT, "somebody else wrote %lld of %lld VMs meanwhile",
                         (long long)(staged - written), (long long)staged);
    return ST_OK;
}

static Status note_phases(VmGroup *group, size_t groups)
{
    for (size_t g = 0; g < groups; g++) {
        const Timeline *t = &group[g].timeline;
        group[g].ran = t->phase == PHASE_RUNNING;
        group[g].was_lost = t->phase == PHASE_LOST;
        group[g].was_watched = group[g].ran && t->watched;
    }
    return ST_OK;
}

Status load_vms(Db *db, const Catalog *catalog, VmGroup *group, size_t groups, Arena *arena,
                Error *error)
{
    OWNED_BUF Buf accounts = {0}, vms = {0};
    VmGroup **asked = arena_alloc(arena, (groups + 1) * sizeof *asked);
    size_t n = 0;
    array_begin(&accounts);
    array_begin(&vms);
    for (size_t g = 0; g < groups; g++) {
        if (group[g].known) continue;
        asked[n++] = &group[g];
        group[g].timeline.arena = arena;
        array_add(&accounts, group[g].account);
        array_add(&vms, group[g].vm);
    }
    array_end(&accounts);
    array_end(&vms);
    OWNED_ROWS Rows *rows = NULL;
    if (n == 0) return note_phases(group, groups);
    TRY(db_query(db, &SQL_METER_VM_LOAD, 2, (Str[]){buf_str(&accounts), buf_str(&vms)}, &rows,
                 error));
    for (int row = 0; row < rows_count(rows); row++) {
        VmGroup *vm = asked[rows_int(rows, row, 0) - 1];
        Timeline *t = &vm->timeline;
        vm->version = rows_int(rows, row, 1);
        vm->has_last = !rows_null(rows, row, 2);
        if (vm->has_last) vm->last_at = rows_instant(rows, row, 2);
        t->phase = (Phase)rows_int(rows, row, 3);
        t->started = !rows_null(rows, row, 4);
        if (t->started) t->start = rows_instant(rows, row, 4);
        t->nth = (int32_t)rows_int(rows, row, 5);
        t->name = arena_copy(arena, rows_str(rows, row, 6));
        if (!rows_null(rows, row, 7)) {
            t->span = spans_parse(catalog, rows_str(rows, row, 7), t->start, arena, &t->spans);
            t->span_room = t->spans;
        }
        t->watched = !rows_null(rows, row, 8);
        if (t->watched) t->proof = rows_instant(rows, row, 8);
        vm->pending = rows_bool(rows, row, 9);
    }
    return note_phases(group, groups);
}

// ---- dead letters ----
static void hex(Buf *out, Str bytes)
{
    static const char digits[] = "0123456789abcdef";
    buf_clear(out);
    buf_add_text(out, "\\x");
    for (size_t i = 0; i < bytes.n; i++) {
        unsigned char c = (unsigned char)bytes.p[i];
        buf_add_char(out, digits[c >> 4]);
        buf_add_char(out, digits[c & 15]);
    }
}

static void put_length(Buf *out, int64_t n)
{
    unsigned char wire[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16),
                             (unsigned char)(n >> 8), (unsigned char)n};
    buf_add(out, wire, sizeof wire);
}

static void pack_headers(const Message *message, Buf *out)
{
    for (int h = 0; h < message->headers; h++) {
        Header header = message->header[h];
        put_length(out, (int64_t)header.name.n);
        buf_add_str(out, header.name);
        put_length(out, str_absent(header.value) ? -1 : (int64_t)header.value.n);
        buf_add_str(out, header.value);
    }
}

static Status bury(const Attempt *a, const Item *item, Error *error)
{
    Arena *arena = a->arena;
    const Event *e = &item->event;
    if (item->at.letter) {
        Str params[] = {param_int(arena, item->at.letter), str(dead_reason_name(item->dead)),
                        item->detail};
        return db_run(a->meter->db, &SQL_METER_DEAD_LETTER_AGAIN, 3, params, NULL, error);
    }
    OWNED_BUF Buf key = {0}, value = {0}, packed = {0}, headers = {0};
    hex(&key, item->message.key);
    hex(&value, item->message.value);
    pack_headers(&item->message, &packed);
    hex(&headers, buf_str(&packed));
    Str params[] = {str(dead_reason_name(item->dead)),
                    item->detail,
                    e->account,
                    e->vm,
                    e->at.us ? param_instant(arena, e->at) : (Str){0},
                    param_int(arena, item->at.origin),
                    param_int(arena, item->at.position),
                    str_absent(item->message.key) ? (Str){0} : buf_str(&key),
                    str_absent(item->message.value) ? (Str){0} : buf_str(&value),
                    item->message.headers ? buf_str(&headers) : (Str){0}};
    return db_run(a->meter->db, &SQL_METER_DEAD_LETTER_ADD, 10, params, NULL, error);
}

static Status write_letters(Attempt *a, Error *error)
{
    OWNED_BUF Buf done = {0};
    array_begin(&done);
    for (size_t i = 0; i < a->count; i++) {
        const Item *item = &a->item[i];
        if (item->dead != DEAD_NOT) TRY(bury(a, item, error));
        else if (item->at.letter) array_add_int(&done, item->at.letter);
    }
    if (done.n == 1) return ST_OK;
    array_end(&done);
    return db_run(a->meter->db, &SQL_METER_DEAD_LETTER_METERED, 1, (Str[]){buf_str(&done)},
                  &a->letters_done, error);
}

// ---- positions ----
static Status move_positions(const Attempt *a, Error *error)
{
    Meter *meter = a->meter;
    if (meter->places == 0) return ST_OK;
    const Item **last = arena_alloc(a->arena, (size_t)meter->places * sizeof *last);
    for (size_t i = 0; i < a->count; i++)
        if (a->item[i].at.place >= 0) last[a->item[i].at.place] = &a->item[i];
    Buf columns[9] = {0};
    char at[INSTANT_TEXT];
    int64_t moved = 0, affected = 0;
    for (int c = 0; c < 9; c++) array_begin(&columns[c]);
    for (int p = 0; p < meter->places; p++) {
        const Place *place = &meter->place[p];
        bool progress = a->last && place->has_progress;
        if (!last[p] && !progress) continue;
        moved++;
        int64_t next = last[p] ? last[p]->at.position + 1 : place->next_offset;
        array_add(&columns[0], str(place->topic));
        array_add_int(&columns[1], place->partition);
        array_add_int(&columns[2], place->epoch);
        array_add_int(&columns[3], place->next_offset);
        array_add_int(&columns[4], next);
        if (last[p]) {
            array_add_int(&columns[5], last[p]->at.position);
            array_add_int(&columns[6], (int64_t)last[p]->at.record_hash);
        } else {
            array_add(&columns[5], (Str){0});
            array_add(&columns[6], (Str){0});
        }
        bool stamped = last[p] && last[p]->at.timestamp_ms >= 0;
        Instant stamp = {stamped ? last[p]->at.timestamp_ms * 1000 : 0};
        // A producer may write any timestamp.
        stamped = stamped && stamp.us >= INSTANT_MIN.us && stamp.us < INSTANT_END.us;
        array_add(&columns[7], stamped ? str(instant_format(stamp, at)) : (Str){0});
        array_add(&columns[8], progress ? str(instant_format(place->progress, at)) : (Str){0});
    }
    if (moved == 0) return ST_OK;
    Str params[9];
    for (int c = 0; c < 9; c++) {
        array_end(&columns[c]);
        params[c] = buf_str(&columns[c]);
    }
    Status status = db_run(meter->db, &SQL_METER_POSITION_MOVE, 9, params, &affected, error);
    for (int c = 0; c < 9; c++) buf_free(&columns[c]);
    if (status == ST_OK && affected != moved) {
        error_set(error, ST_REFUSED, "%lld of %lld partitions belong to another collector by now",
                  (long long)(moved - affected), (long long)moved);
        return ST_REFUSED;
    }
    return status;
}

Status attempt_write(Attempt *a, Error *error)
{
    Db *db = a->meter->db;
    TRY(write_events(a, error));
    TRY(write_runs(db, a->catalog, &a->ended, &a->gone, error));
    TRY(write_letters(a, error));
    TRY(write_vms(db, a->catalog, a->group, a->groups, error));
    TRY(write_cells(db, a->catalog, &a->cells, error));
    TRY(write_unsettled(a, error));
    TRY(move_positions(a, error));
    return attempt_follow(a, error);
}
