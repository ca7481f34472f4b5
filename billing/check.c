// SPDX-License-Identifier: Apache-2.0
// What may be amiss with a period, before or while it is closed.
#include "billing/billing_sql.h"
#include "billing/close.h"
#include "catalog/store.h"

typedef struct Looking {
    Period period;
    const Now *now;
    Arena *arena;
    Check *out;
} Looking;

static Status read_letters(Db *db, const Looking *l, Error *error)
{
    Check *out = l->out;
    Str params[] = {param_day(l->arena, period_first(l->period)),
                    param_day(l->arena, period_end(l->period))};
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_CHECK_LETTERS, 2, params, &rows, error));
    out->reasons = (size_t)rows_count(rows);
    out->letters = arena_alloc(l->arena, (out->reasons + 1) * sizeof *out->letters);
    for (int i = 0; i < rows_count(rows); i++) {
        out->letters[i] = (CheckLetters){arena_copy(l->arena, rows_str(rows, i, 0)),
                                         rows_int(rows, i, 1)};
        out->dead_letters += out->letters[i].count;
    }
    return ST_OK;
}

static Status read_vms(Db *db, const Looking *l, int64_t timeout_us, Error *error)
{
    Check *out = l->out;
    Str params[] = {param_day(l->arena, period_first(l->period)),
                    param_day(l->arena, period_end(l->period)),
                    param_instant(l->arena, l->now->horizon), param_int(l->arena, timeout_us),
                    param_int(l->arena, CHECK_NAMED_MAX)};
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_CHECK_VMS, 5, params, &rows, error));
    out->named = (size_t)rows_count(rows);
    out->vm = arena_alloc(l->arena, (out->named + 1) * sizeof *out->vm);
    for (int i = 0; i < rows_count(rows); i++) {
        bool lost = str_is(rows_str(rows, i, 0), "lost");
        *(lost ? &out->lost : &out->unproven) = rows_int(rows, i, 1);
        out->vm[i] = (CheckVm){
            .lost = lost,
            .account = arena_copy(l->arena, rows_str(rows, i, 2)),
            .vm = arena_copy(l->arena, rows_str(rows, i, 3)),
            .started_at = rows_instant(rows, i, 4),
        };
    }
    return ST_OK;
}

static Status look(Db *db, void *context, Error *error)
{
    const Looking *l = context;
    *l->out = (Check){0};
    OWNED_CATALOG Catalog *catalog = NULL;
    TRY(catalog_load(db, &catalog, error));
    TRY(read_letters(db, l, error));
    Day today = instant_day(l->now->horizon);
    return read_vms(db, l, catalog_on(catalog, today)->heartbeat_timeout_us, error);
}

Status billing_check(Db *db, Period period, const Now *now, Arena *arena, Check *out, Error *error)
{
    Looking looking = {.period = period, .now = now, .arena = arena, .out = out};
    return db_snapshot(db, look, &looking, error);
}
