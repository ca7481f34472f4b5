// SPDX-License-Identifier: Apache-2.0
#include "billing/unsettled.h"

#include "billing/billing_sql.h"

// ---- marks ----
static Str id_array(const Str *ids, size_t n, Buf *out)
{
    array_begin(out);
    for (size_t i = 0; i < n; i++) array_add(out, ids[i]);
    array_end(out);
    return buf_str(out);
}

Status marks_read(Db *db, const Str *accounts, size_t n, Arena *arena, Marks *out, Error *error)
{
    OWNED_BUF Buf ids = {0};
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {id_array(accounts, n, &ids)};
    TRY(db_query(db, &SQL_BILLING_UNSETTLED, 1, params, &rows, error));
    out->count = (size_t)rows_count(rows);
    out->mark = arena_alloc(arena, (out->count + 1) * sizeof *out->mark);
    for (int row = 0; row < rows_count(rows); row++)
        out->mark[row] = (Mark){.account = arena_copy(arena, rows_str(rows, row, 0)),
                                .since = rows_day(rows, row, 1),
                                .ids = arena_copy(arena, rows_str(rows, row, 2))};
    return ST_OK;
}

static int compare_mark(const void *key, const void *mark)
{
    return str_compare(*(const Str *)key, ((const Mark *)mark)->account);
}

const Mark *marks_of(const Marks *marks, Str account)
{
    return bsearch(&account, marks->mark, marks->count, sizeof *marks->mark, compare_mark);
}

Status marks_add(Db *db, const Str *accounts, size_t n, Day since, Error *error)
{
    OWNED_BUF Buf ids = {0};
    char day[DAY_TEXT];
    Str params[] = {accounts ? id_array(accounts, n, &ids) : (Str){0}, str(day_format(since, day))};
    return db_run(db, &SQL_BILLING_UNSETTLED_ADD, 2, params, NULL, error);
}

Status marks_delete(Db *db, Str ids, Error *error)
{
    OWNED_BUF Buf array = {0};
    buf_addf(&array, "{%.*s}", (int)ids.n, ids.p);
    Str params[] = {buf_str(&array)};
    return db_run(db, &SQL_BILLING_UNSETTLED_DELETE, 1, params, NULL, error);
}

bool must_settle(const Books *books, const Catalog *catalog, Str account, const Mark *mark,
                 Period period)
{
    if (!books->begun) return false;
    Period next = books_next_of(books, account);
    if (next.months == books->first.months) return false; // nothing is closed for it
    Day open = period_first(next.months < period.months ? next : period);
    return (mark && mark->since.days < open.days) || books_early(books, catalog, account);
}

// ---- what is to be settled ----
static void cut_periods(const Books *books, Period through, const DayUsage *cells, size_t count,
                        size_t *at, Arena *arena, Settling *out)
{
    Period next = books->begun ? books_next_of(books, out->account->id) : through;
    Period last = next.months > through.months + 1 ? (Period){next.months - 1} : through;
    out->first = books->begun ? books->first : through;
    out->periods = (size_t)(last.months - out->first.months) + 1;
    out->period = arena_alloc(arena, out->periods * sizeof *out->period);
    for (size_t i = 0; i < out->periods; i++) {
        Period period = {out->first.months + (int32_t)i};
        int32_t end = period_end(period).days;
        SettlePeriod *p = &out->period[i];
        p->closed = books_closed(books, period, out->account->id);
        p->cell = cells + *at;
        while (*at < count && cells[*at].day.days < end &&
               str_equal(cells[*at].account, out->account->id))
            (*at)++;
        p->cells = (size_t)(cells + *at - p->cell);
    }
    // Usage is read alike for all; of this account's, what comes behind its last period is not
    // asked.
    while (*at < count && str_equal(cells[*at].account, out->account->id)) (*at)++;
}

// `rows` are charges in order of account and period; *row stands at this account's first.
static void put_charges(const Rows *rows, int *row, Settling *out)
{
    for (; *row < rows_count(rows) && str_equal(rows_str(rows, *row, 0), out->account->id);
         (*row)++) {
        int32_t index = day_period(rows_day(rows, *row, 1)).months - out->first.months;
        ASSERT(index >= 0 && (size_t)index < out->periods);
        SettlePeriod *p = &out->period[index];
        p->charged = (Cents){rows_int(rows, *row, 2)};
        if (rows_bool(rows, *row, 3)) p->closed = false;
    }
}

Status settlings_read(Db *db, const Catalog *catalog, const Books *books, Period through,
                      const Now *now, Settling *settlings, size_t n, Arena *arena, Error *error)
{
    Str *ids = arena_alloc(arena, (n + 1) * sizeof *ids);
    Period last = books->begun && books->last.months > through.months ? books->last : through;
    for (size_t i = 0; i < n; i++) ids[i] = settlings[i].account->id;
    DayUsage *cells = NULL;
    size_t count = 0, at = 0;
    TRY(usage_days(db, catalog, now, ids, n, period_first(books->begun ? books->first : through),
                   period_end(last), arena, &cells, &count, error));
    OWNED_BUF Buf list = {0};
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {id_array(ids, n, &list)};
    TRY(db_query(db, &SQL_BILLING_CHARGED, 1, params, &rows, error));
    int row = 0;
    for (size_t i = 0; i < n; i++) {
        settlings[i].catalog = catalog;
        settlings[i].horizon = now->horizon;
        cut_periods(books, through, cells, count, &at, arena, &settlings[i]);
        put_charges(rows, &row, &settlings[i]);
    }
    ASSERT(at == count && row == rows_count(rows)); // both of these accounts and no others
    return ST_OK;
}
