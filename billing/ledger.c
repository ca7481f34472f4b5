// SPDX-License-Identifier: Apache-2.0
#include "billing/ledger.h"

#include "billing/billing_sql.h"

// ---- books ----
Status books_lock(Db *db, Error *error)
{
    return db_script(db,
                     "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
                     "LOCK TABLE closing IN SHARE ROW EXCLUSIVE MODE",
                     error);
}

static Instant horizon_of(const Rows *rows, int row)
{
    bool noted = row >= 0 && row < rows_count(rows) && !rows_null(rows, row, 3);
    return noted ? rows_instant(rows, row, 3) : INSTANT_END;
}

Status books_read(Db *db, Arena *arena, Books *out, Error *error)
{
    *out = (Books){0};
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_BOOKS, 0, NULL, &rows, error));
    int n = rows_count(rows);
    if (n == 0) return ST_OK;
    out->begun = true;
    out->first = day_period(rows_day(rows, 0, 0));
    out->last = day_period(rows_day(rows, n - 1, 0));
    out->last_closed = rows_bool(rows, n - 1, 1);
    out->after = arena_copy(arena, rows_str(rows, n - 1, 2));
    int through = out->last_closed ? n - 1 : n - 2;
    out->horizon = horizon_of(rows, through);
    out->horizon_under_way = horizon_of(rows, through + 1);
    return ST_OK;
}

bool books_closed(const Books *books, Period period, Str account)
{
    if (!books->begun || period.months < books->first.months) return false;
    if (period.months != books->last.months) return period.months < books->last.months;
    return books->last_closed ||
           (!str_absent(books->after) && str_compare(account, books->after) <= 0);
}

Period books_next(const Books *books)
{
    ASSERT(books->begun);
    return books->last_closed ? period_next(books->last) : books->last;
}

Period books_next_of(const Books *books, Str account)
{
    Period next = books_next(books);
    return books_closed(books, next, account) ? period_next(next) : next;
}

Instant usage_final(const Catalog *catalog, Period period)
{
    int64_t longest_us = 0;
    for (int v = 0; v < catalog->versions; v++)
        if (catalog->version[v].heartbeat_timeout_us > longest_us)
            longest_us = catalog->version[v].heartbeat_timeout_us;
    return instant_add_us(day_start(period_end(period)), longest_us);
}

bool books_early(const Books *books, const Catalog *catalog, Str account)
{
    if (!books->begun) return false;
    Period next = books_next_of(books, account);
    if (next.months == books->first.months) return false; // nothing is closed
    bool under_way = next.months > books_next(books).months;
    Instant horizon = under_way ? books->horizon_under_way : books->horizon;
    Period last = {next.months - 1};
    return instant_compare(horizon, usage_final(catalog, last)) < 0;
}

// ---- grants ----
GrantList grants_of(const Account *account, const Catalog *catalog, size_t more, Arena *arena)
{
    GrantList list = {0};
    size_t room = (size_t)account->grants + 1 + more;
    list.grant = arena_alloc(arena, room * sizeof *list.grant);
    for (int i = 0; i < account->grants; i++)
        list.grant[list.count++] = (RateGrant){.grant = account->grant[i],
                                               .balance = account->grant[i].amount};
    Grant signup;
    if (account_signup(account, catalog, &signup))
        list.grant[list.count++] = (RateGrant){.grant = signup, .balance = signup.amount};
    return list;
}

RateGrant grant_carried(Str number, Day from, Cents amount, Arena *arena)
{
    Str prefix = STR("carry:");
    char *id = arena_alloc(arena, prefix.n + number.n + 1);
    memcpy(id, prefix.p, prefix.n);
    if (number.n) memcpy(id + prefix.n, number.p, number.n);
    return (RateGrant){
        .grant =
            {
                .id = {id, prefix.n + number.n},
                .unit = GRANT_USD,
                .amount = amount.cents,
                .priority = 100,
                .from = from,
                .expires = DAY_END,
                .carried = true,
            },
        .balance = amount.cents,
    };
}

void accounts_array(const Account *accounts, size_t n, Buf *out)
{
    array_begin(out);
    for (size_t i = 0; i < n; i++) array_add(out, accounts[i].id);
    array_end(out);
}

// Takes what was drawn off the grant of that id and unit; a grant that the account no longer has is
// nobody's.
static void take_off(GrantList *list, const GrantDraw *draw)
{
    for (size_t i = 0; i < list->count; i++) {
        RateGrant *grant = &list->grant[i];
        if (grant->grant.unit != draw->unit || !str_equal(grant->grant.id, draw->id)) continue;
        grant->balance = draw->amount < grant->balance ? grant->balance - draw->amount : 0;
        return;
    }
}

// The rows of one account, which begin at *row; rows come in the accounts' order.
static int rows_of(const Rows *rows, int *row, Str account)
{
    int first = *row;
    while (*row < rows_count(rows) && str_equal(rows_str(rows, *row, 0), account)) (*row)++;
    return first;
}

Status grants_read(Db *db, const Catalog *catalog, const Account *accounts, size_t n, Arena *arena,
                   GrantList **lists, Error *error)
{
    *lists = arena_alloc(arena, (n + 1) * sizeof **lists);
    OWNED_BUF Buf ids = {0};
    accounts_array(accounts, n, &ids);
    Str params[] = {buf_str(&ids)};
    OWNED_ROWS Rows *carried = NULL;
    TRY(db_query(db, &SQL_BILLING_CARRIED, 1, params, &carried, error));
    OWNED_ROWS Rows *draws = NULL;
    TRY(db_query(db, &SQL_BILLING_DRAWS, 1, params, &draws, error));
    int at_carried = 0, at_draw = 0;
    for (size_t i = 0; i < n; i++) {
        int row = rows_of(carried, &at_carried, accounts[i].id);
        GrantList *list = &(*lists)[i];
        *list = grants_of(&accounts[i], catalog, (size_t)(at_carried - row), arena);
        for (; row < at_carried; row++)
            list->grant[list->count++] = grant_carried(rows_str(carried, row, 1),
                                                       rows_day(carried, row, 2),
                                                       (Cents){rows_int(carried, row, 3)}, arena);
        row = rows_of(draws, &at_draw, accounts[i].id);
        list->draw = arena_alloc(arena, (size_t)(at_draw - row + 1) * sizeof *list->draw);
        for (; row < at_draw; row++) {
            GrantDraw *draw = &list->draw[list->draws++];
            *draw = (GrantDraw){.id = arena_copy(arena, rows_str(draws, row, 1)),
                                .unit = (GrantUnit)rows_int(draws, row, 2),
                                .amount = rows_int(draws, row, 3)};
            take_off(list, draw);
        }
    }
    return ST_OK;
}
