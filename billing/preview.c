// SPDX-License-Identifier: Apache-2.0
#include "billing/preview.h"

#include "billing/register.h"
#include "billing/unsettled.h"

// ---- nothing closed has changed ----
static Status rate_open(Db *db, const OpenOrder *o, const GrantList *grants, Arena *arena,
                        OpenPeriods *out, Error *error)
{
    Period period = o->books->begun ? books_next_of(o->books, o->account->id) : o->through;
    size_t room = (size_t)(o->through.months - period.months) + 1;
    out->input = arena_alloc(arena, room * sizeof *out->input);
    out->rating = arena_alloc(arena, room * sizeof *out->rating);
    DayUsage *cells = NULL;
    size_t count = 0, at = 0;
    TRY(usage_days(db, o->catalog, o->now, &o->account->id, 1, period_first(period),
                   period_end(o->through), arena, &cells, &count, error));
    GrantList left = {.grant = arena_alloc(arena, (grants->count + room) * sizeof *left.grant)};
    for (; left.count < grants->count; left.count++)
        left.grant[left.count] = grants->grant[left.count];
    for (; period.months <= o->through.months; period = period_next(period)) {
        size_t from = at;
        while (at < count && cells[at].day.days < period_end(period).days) at++;
        RateInput *in = &out->input[out->count];
        Rating *rating = &out->rating[out->count++];
        rate_input(o->account, o->catalog, period, cells + from, at - from, left.grant, left.count,
                   arena, in);
        in->horizon = o->now->horizon;
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

// ---- what is closed is settled by the next invoice ----
static void settle_next(Settling *settling, Period period, Arena *arena, RateInput *in,
                        Rating *rating)
{
    Settled settled;
    settle(settling, period, arena, &settled);
    settle_issue(settling, &settled, arena);
    *in = settled.in;
    *rating = settled.rating;
}

// As closings would bill them by now: one after the other where they are not closed, a period that
// is open again by itself. Other periods that are open again come last, but stand first: what they
// will draw is not left, either.
static Status settle_open(Db *db, const OpenOrder *o, const GrantList *grants, Arena *arena,
                          OpenPeriods *out, Error *error)
{
    Settling settling = {.account = o->account, .grants = *grants};
    TRY(settlings_read(db, o->catalog, o->books, o->through, o->now, &settling, 1, arena, error));
    size_t last = (size_t)(o->through.months - settling.first.months), others = 0;
    size_t first = last; // of those that are billed up to `through`
    bool again = books_closed(o->books, o->through, o->account->id);
    if (!again)
        first = (size_t)(books_next_of(o->books, o->account->id).months - settling.first.months);
    for (size_t i = 0; i < settling.periods; i++)
        others += !settling.period[i].closed && (i < first || i > last);
    out->count = others + last - first + 1;
    out->input = arena_alloc(arena, out->count * sizeof *out->input);
    out->rating = arena_alloc(arena, out->count * sizeof *out->rating);
    for (size_t i = first, at = others; i <= last; i++, at++)
        settle_next(&settling, (Period){settling.first.months + (int32_t)i}, arena, &out->input[at],
                    &out->rating[at]);
    for (size_t i = 0, at = 0; i < settling.periods; i++) {
        if (settling.period[i].closed) continue;
        settle_next(&settling, (Period){settling.first.months + (int32_t)i}, arena, &out->input[at],
                    &out->rating[at]);
        at++;
    }
    out->left = settling.grants;
    return ST_OK;
}

Status open_periods(Db *db, const OpenOrder *order, Arena *arena, OpenPeriods *out, Error *error)
{
    const Str *id = &order->account->id;
    bool again = books_closed(order->books, order->through, *id), must = again;
    *out = (OpenPeriods){0};
    if (order->books->begun && !again) {
        Marks marks;
        TRY(marks_read(db, id, 1, arena, &marks, error));
        must = must_settle(order->books, order->catalog, *id, marks_of(&marks, *id),
                           order->through);
    }
    GrantList *grants = NULL;
    TRY(grants_read(db, order->catalog, order->account, 1, arena, &grants, error));
    if (must) return settle_open(db, order, grants, arena, out, error);
    return rate_open(db, order, grants, arena, out, error);
}

// ---- preview ----
typedef struct Preview {
    Str account;
    Period period;
    const Instant *as_of;
    Arena *arena;
    Invoice *out;
} Preview;

// Unless its invoice was voided: then it is open again.
static Status refuse_closed(Db *db, const Preview *p, Error *error)
{
    char period[PERIOD_TEXT];
    Str number;
    bool open;
    period_format(p->period, period);
    TRY(invoice_of_period(db, p->account, p->period, p->arena, &number, &open, error));
    if (open) return ST_OK;
    if (str_absent(number))
        return error_set(error, ST_REFUSED, "%s is closed, and there was nothing to bill to %.*s",
                         period, (int)p->account.n, p->account.p);
    error_set(error, ST_REFUSED, "%s is closed: %.*s is its invoice", period, (int)number.n,
              number.p);
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
    if (books_closed(&books, p->period, p->account)) TRY(refuse_closed(db, p, error));
    if (books.begun && p->period.months < books.first.months) {
        char asked[PERIOD_TEXT], first[PERIOD_TEXT];
        return error_set(
            error, ST_REFUSED,
            "%s is before the books begin, with %s: what was used then is never billed",
            period_format(p->period, asked), period_format(books.first, first));
    }
    OpenPeriods open;
    const OpenOrder order = {catalog, account, &books, p->period, &now};
    TRY(open_periods(db, &order, p->arena, &open, error));
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
