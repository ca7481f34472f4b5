// SPDX-License-Identifier: Apache-2.0
#include "billing/preview.h"

#include "billing/register.h"

static Period first_open(const Books *books, Str account, Period through)
{
    if (!books->begun) return through;
    Period period = books_next(books);
    return books_closed(books, period, account) ? period_next(period) : period;
}

Status open_periods(Db *db, const Catalog *catalog, const Account *account, const Books *books,
                    Period through, const Now *now, Arena *arena, OpenPeriods *out, Error *error)
{
    Period period = first_open(books, account->id, through);
    ASSERT(period.months <= through.months);
    size_t room = (size_t)(through.months - period.months) + 1;
    *out = (OpenPeriods){0};
    out->input = arena_alloc(arena, room * sizeof *out->input);
    out->rating = arena_alloc(arena, room * sizeof *out->rating);
    DayUsage *cells = NULL;
    size_t count = 0, at = 0;
    TRY(usage_days(db, catalog, now, &account->id, 1, period_first(period), period_end(through),
                   arena, &cells, &count, error));
    GrantList *list = NULL;
    TRY(grants_read(db, catalog, account, 1, arena, &list, error));
    GrantList left = {.grant = arena_alloc(arena, (list->count + room) * sizeof *left.grant)};
    for (; left.count < list->count; left.count++) left.grant[left.count] = list->grant[left.count];
    for (; period.months <= through.months; period = period_next(period)) {
        size_t from = at;
        while (at < count && cells[at].day.days < period_end(period).days) at++;
        RateInput *in = &out->input[out->count];
        Rating *rating = &out->rating[out->count++];
        rate_input(account, catalog, period, cells + from, at - from, left.grant, left.count, arena,
                   in);
        rate(in, arena, rating);
        rate_draw(in, rating, left.grant, left.count);
        if (rating->carried.cents == 0) continue;
        char name[PERIOD_TEXT]; // it has no number yet
        left.grant[left.count++] = grant_carried(str(period_format(period, name)),
                                                 period_end(period), rating->carried, arena);
    }
    out->left = left;
    return ST_OK;
}

// ---- preview ----
typedef struct Preview {
    Str account;
    Period period;
    const Instant *as_of;
    Arena *arena;
    Invoice *out;
} Preview;

static Status refuse_closed(Db *db, const Preview *p, Error *error)
{
    char period[PERIOD_TEXT];
    Str number;
    bool voided;
    period_format(p->period, period);
    TRY(invoice_of_period(db, p->account, p->period, p->arena, &number, &voided, error));
    if (str_absent(number))
        return error_set(error, ST_REFUSED, "%s is closed, and there was nothing to bill to %.*s",
                         period, (int)p->account.n, p->account.p);
    error_set(error, ST_REFUSED, "%s is closed: %.*s is its invoice%s", period, (int)number.n,
              number.p, voided ? ", which was voided" : "");
    error_hint(error, "tally invoices show %.*s", (int)number.n, number.p);
    return ST_REFUSED;
}

// Names are copied out of the catalogue, which does not outlive the transaction.
static Status preview(Db *db, void *context, Error *error)
{
    const Preview *p = context;
    Now now;
    TRY(now_read(db, p->as_of, &now, error));
    OWNED_CATALOG Catalog *catalog = NULL;
    TRY(catalog_load(db, &catalog, error));
    Account *account = arena_alloc(p->arena, sizeof *account);
    TRY(account_load(db, p->account, p->arena, account, error));
    Books books;
    TRY(books_read(db, p->arena, &books, error));
    if (books_closed(&books, p->period, p->account)) return refuse_closed(db, p, error);
    if (books.begun && p->period.months < books.first.months) {
        char asked[PERIOD_TEXT], first[PERIOD_TEXT];
        return error_set(
            error, ST_REFUSED,
            "%s is before the books begin, with %s: what was used then is never billed",
            period_format(p->period, asked), period_format(books.first, first));
    }
    OpenPeriods open;
    TRY(open_periods(db, catalog, account, &books, p->period, &now, p->arena, &open, error));
    Rating *rating = &open.rating[open.count - 1];
    *p->out = invoice_of(account, &open.input[open.count - 1], rating);
    for (size_t i = 0; i < p->out->usages; i++)
        p->out->usage[i].size = arena_copy(p->arena, p->out->usage[i].size);
    return ST_OK;
}

Status billing_preview(Db *db, Str account, Period period, const Instant *as_of, Arena *arena,
                       Invoice *out, Error *error)
{
    Preview p = {.account = account, .period = period, .as_of = as_of, .arena = arena, .out = out};
    return db_snapshot(db, preview, &p, error);
}
