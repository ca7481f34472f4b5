// SPDX-License-Identifier: Apache-2.0
// The second half of a transaction: what was decided, and what has lapsed, is written and
// committed in one round trip.
#include "notices/notices.h"
#include "quota/internal.h"
#include "quota/quota_sql.h"

typedef struct Writes {
    Columns save, end, uncount, counts, record, doubt, clear;
} Writes;

// Where the clock was set back, progress is ahead of it: the later of the two counts.
Instant lapses_at(const Turn *turn, int64_t lifetime_us)
{
    return instant_add_us(turn->latest, lifetime_us + turn->quota->config.event_delay_us);
}

static void add_reservation(const VmState *vm, Columns *c)
{
    array_add(&c->array[0], vm->account);
    array_add(&c->array[1], vm->vm);
    array_add(&c->array[2], str(vm->id));
    array_add(&c->array[3], str(vm->size));
    c->rows++;
}

static void add_vouch(const Turn *turn, const VmState *vm, Columns *c)
{
    const QuotaConfig *config = &turn->quota->config;
    Instant starts_from = instant_add_us(turn->clock, -config->clock_skew_us);
    Instant until = lapses_at(turn, 0);
    array_add(&c->array[0], vm->account);
    array_add(&c->array[1], vm->vm);
    array_add_int(&c->array[2], WHY_VOUCHED);
    columns_add_instant(c, 3, &turn->clock);
    columns_add_instant(c, 4, &starts_from);
    columns_add_instant(c, 5, &until);
    c->rows++;
}

// A start with what was given back, or one before it, may lie unread.
static void add_doubt(const Turn *turn, const VmState *vm, Columns *c)
{
    Instant until = lapses_at(turn, turn->quota->config.reservation_us);
    array_add(&c->array[0], vm->account);
    array_add(&c->array[1], vm->vm);
    columns_add_instant(c, 2, &until);
    c->rows++;
}

static void add_vms(const Turn *turn, Writes *w)
{
    for (size_t i = 0; i < turn->vms; i++) {
        const VmState *vm = &turn->vm[i];
        if (vm->reserve) add_reservation(vm, &w->save);
        if (vm->unreserve) {
            array_add(&w->end.array[0], vm->account);
            array_add(&w->end.array[1], vm->vm);
            w->end.rows++;
        }
        if (vm->uncount) add_vouch(turn, vm, &w->uncount);
        if (vm->give_back) add_doubt(turn, vm, &w->doubt);
        if (vm->clear) {
            array_add(&w->clear.array[0], vm->account);
            array_add(&w->clear.array[1], vm->vm);
            w->clear.rows++;
        }
        if (!vm->released) continue;
        array_add(&w->record.array[0], vm->account);
        array_add(&w->record.array[1], vm->vm);
        array_add(&w->record.array[2], vm->reason);
        array_add(&w->record.array[3], vm->released_id[0] ? str(vm->released_id) : (Str){0});
        array_add(&w->record.array[4], param_bool(vm->ran));
        w->record.rows++;
    }
}

Status exceeded_notice(Db *db, Str account, int64_t limit, int64_t in_use, Error *error)
{
    OWNED_BUF Buf data = {0};
    JsonWriter w = {.out = &data};
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", account);
    jw_int(&w, "limit", limit);
    jw_int(&w, "in_use", in_use);
    jw_end_object(&w);
    Notice notice = {.account = account,
                     .type = "tally.quota.exceeded",
                     .subject = account,
                     .data = buf_str(&data)};
    return notices_add(db, &notice, 1, NULL, error);
}

// Runs that count again may exceed the limit; reservations never do.
static Status tell_exceeded(Turn *turn, AccountState *a, Error *error)
{
    int64_t in_use = a->running + a->reserved;
    bool over = a->terms.limit >= 0 && in_use > a->terms.limit;
    if (over && a->recounted && !a->exceeded)
        TRY(exceeded_notice(turn->db, a->account, a->terms.limit, in_use, error));
    a->exceeded = over && (a->exceeded || a->recounted);
    return ST_OK;
}

Status counts_add(const AccountState *a, Columns *c, Error *error)
{
    if (a->running < 0 || a->reserved < 0) {
        error_set(error, ST_FATAL, "account %s: the table quota has lost count of its slots",
                  a->account.p);
        error_hint(error, "tally quota recount counts them anew");
        return ST_FATAL;
    }
    array_add(&c->array[0], a->account);
    array_add_int(&c->array[1], a->running);
    array_add_int(&c->array[2], a->reserved);
    array_add_int(&c->array[3], a->version);
    columns_add_instant(c, 4, a->looks ? &a->look_at : NULL);
    array_add(&c->array[5], param_bool(a->exceeded));
    columns_add_instant(c, 6, a->lapses ? &a->lapse_at : NULL);
    c->rows++;
    return ST_OK;
}

static void add_call(DbCall *calls, int *count, const Statement *statement, Columns *columns)
{
    columns_end(columns);
    if (columns->rows == 0) return;
    calls[(*count)++] = (DbCall){
        .statement = statement, .n = columns->count, .params = columns->param};
}

// All that were made in this transaction were made at its time.
static void add_reservations(const Turn *turn, Columns *c, Str params[static 8], DbCall *calls,
                             int *count)
{
    const QuotaConfig *config = &turn->quota->config;
    const Instant times[] = {turn->clock, instant_add_us(turn->clock, config->reservation_us),
                             instant_add_us(turn->clock, -config->clock_skew_us),
                             lapses_at(turn, config->reservation_us)};
    columns_end(c);
    if (c->rows == 0) return;
    for (int i = 0; i < 4; i++) {
        params[i] = c->param[i];
        params[4 + i] = param_instant(turn->arena, times[i]);
    }
    calls[(*count)++] = (DbCall){
        .statement = &SQL_QUOTA_RESERVATION_SAVE, .n = 8, .params = params};
}

static Status write_all(Turn *turn, Writes *w, Error *error)
{
    add_vms(turn, w);
    for (size_t i = 0; i < turn->accounts; i++) {
        AccountState *a = &turn->account[i];
        if (!a->exists || !a->changed) continue;
        TRY(tell_exceeded(turn, a, error));
        TRY(counts_add(a, &w->counts, error));
    }
    DbCall calls[DB_PIPELINE_MAX];
    int n = 0;
    // What has lapsed goes first: a reservation or a vouch may have been made anew since.
    add_call(calls, &n, &SQL_QUOTA_RESERVATION_END, &turn->gone);
    add_call(calls, &n, &SQL_QUOTA_UNCOUNTED_END, &turn->back);
    add_call(calls, &n, &SQL_QUOTA_UNCOUNTED_SAVE, &turn->lost);
    add_call(calls, &n, &SQL_QUOTA_DOUBT_SAVE, &turn->doubt);
    Str save[8];
    add_reservations(turn, &w->save, save, calls, &n);
    add_call(calls, &n, &SQL_QUOTA_RESERVATION_END, &w->end);
    add_call(calls, &n, &SQL_QUOTA_UNCOUNTED_SAVE, &w->uncount);
    add_call(calls, &n, &SQL_QUOTA_COUNTS_SAVE, &w->counts);
    add_call(calls, &n, &SQL_QUOTA_DOUBT_SAVE, &w->doubt);
    add_call(calls, &n, &SQL_QUOTA_DOUBT_END, &w->clear);
    add_call(calls, &n, &SQL_QUOTA_RELEASE_RECORD, &w->record);
    TRY(db_pipeline(turn->db, false, calls, n, true, error));
    for (int i = 0; i < n; i++) rows_free(calls[i].rows);
    return ST_OK;
}

Status turn_write(Turn *turn, Error *error)
{
    Writes w;
    columns_begin(&w.save, 4);
    columns_begin(&w.end, 2);
    columns_begin(&w.uncount, 6);
    columns_begin(&w.counts, COUNTS_COLUMNS);
    columns_begin(&w.record, 5);
    columns_begin(&w.doubt, 3);
    columns_begin(&w.clear, 2);
    Status status = write_all(turn, &w, error);
    Columns *all[] = {&w.save, &w.end, &w.uncount, &w.counts, &w.record, &w.doubt, &w.clear};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) columns_free(all[i]);
    return status;
}
