// SPDX-License-Identifier: Apache-2.0
// A closing goes through the accounts in order of id, a batch at a time; each batch is one
// transaction:
//
//   1. lock the table `closing`. Two closings at once so take turns, batch by batch, and whoever
//      changes accounts or the catalogue (billing/guard) waits for the batch and is seen by the
//      next. The lock comes before anything is read: the snapshot of the transaction is taken after
//      it and so sees all that the one before has committed.
//   2. read how far the books are: another closing may have moved them since the last batch.
//   3. read accounts, usage, marks and balances of one snapshot; rate, and where a mark says so all
//      closed periods as well (billing/unsettled). Usage may have been read ahead, with its marks.
//   4. take the numbers from the series, whose row stays locked from here to the commit.
//   5. write the invoices; delete the marks that are settled; move `after` behind the batch's last
//      account; with the last batch, set closed.
//
// Whatever happens, what is committed is whole batches: numbers without a gap, every account before
// `after` dealt with and none behind it. Running the command again goes on there.
#include "billing/close.h"

#include "billing/billing_sql.h"
#include "billing/issue.h"
#include "billing/ledger.h"
#include "billing/register.h"
#include "billing/unsettled.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct Batch {
    const CloseOrder *order;
    Ahead *ahead; // reads the next batch's usage; NULL where there is none
    Arena *arena;
    Str account; // that alone; absent: the next ones
    bool was_closed, last;
    int64_t accounts, settled;
    size_t issued;
    Cents total;
    char first[32], final[32]; // numbers
} Batch;

// ---- may it be closed? ----
static Status too_early(const CloseOrder *order, Error *error)
{
    if (order->force) return ST_OK;
    char period[PERIOD_TEXT], due_text[INSTANT_TEXT], at[INSTANT_TEXT];
    Instant due = instant_add_us(day_start(period_end(order->period)), order->grace_us);
    period_format(order->period, period);
    instant_format(due, due_text);
    if (instant_compare(order->now.clock, due) < 0) {
        error_set(error, ST_REFUSED, "%s may be closed from %s on; it is %s", period, due_text,
                  instant_format(order->now.clock, at));
        error_hint(error, "--force closes it all the same; what comes later is then adjusted");
        return ST_REFUSED;
    }
    if (instant_compare(order->now.horizon, due) < 0) {
        error_set(error, ST_REFUSED,
                  "%s may be closed once metering has passed %s; it has come to %s", period,
                  due_text, instant_format(order->now.horizon, at));
        error_hint(
            error,
            "run a collector until it has caught up (tally meter --until-caught-up), or --force");
        return ST_REFUSED;
    }
    return ST_OK;
}

// Periods are closed in order, none skipped; the first closing begins the books.
static Status in_order(const Books *books, Period period, bool *closed, Error *error)
{
    char asked[PERIOD_TEXT], other[PERIOD_TEXT];
    *closed = false;
    if (!books->begun) return ST_OK;
    if (period.months < books->first.months)
        return error_set(
            error, ST_REFUSED,
            "%s is before the books begin, with %s: what was used then is never billed",
            period_format(period, asked), period_format(books->first, other));
    Period next = books_next(books);
    if (period.months > next.months)
        return error_set(error, ST_REFUSED, "%s cannot be closed yet: %s must be closed first",
                         period_format(period, asked), period_format(next, other));
    *closed = period.months < next.months;
    return ST_OK;
}

// ---- a batch ----
// Collectors mark what changes months that are over by the database's clock. Where a closed one is
// not (--as-of is ahead of that clock, or --force), the next closing looks at these accounts
// anyway.
static Status mark_ahead(Db *db, Period period, const Books *books, const Account *accounts,
                         size_t n, Arena *arena, Error *error)
{
    Now real;
    TRY(now_read(db, NULL, &real, error));
    Period month = day_period(instant_day(real.clock));
    int32_t last = books->begun && books->last.months > period.months ? books->last.months
                                                                      : period.months;
    if (month.months > last) return ST_OK;
    Str *ids = arena_alloc(arena, n * sizeof *ids);
    for (size_t i = 0; i < n; i++) ids[i] = accounts[i].id;
    return marks_add(db, ids, n, period_first(month), error);
}

static Status rate_and_write(Db *db, Batch *b, const Books *books, const Account *accounts,
                             size_t n, Error *error)
{
    OWNED_CATALOG Catalog *catalog = NULL;
    TRY(catalog_load(db, &catalog, error));
    const CloseOrder *order = b->order;
    const IssueOrder issue = {.period = order->period,
                              .again = !str_absent(b->account),
                              .now = &order->now,
                              .books = books,
                              .ahead = b->ahead};
    Issue *items = NULL;
    TRY(issues_rate(db, catalog, accounts, n, &issue, b->arena, &items, error));
    for (size_t i = 0; i < n; i++) b->settled += items[i].settled;
    // Its cells are used up; the next batch's can be read while this one is written. Where closed
    // periods of all are rated anew, that needs more than is read ahead.
    if (b->settled < (int64_t)n) ahead_ask(b->ahead, accounts[n - 1].id, CLOSE_BATCH_ACCOUNTS);
    TRY(issues_write(db, items, n, order->now.clock, catalog->revision, b->arena, &b->issued,
                     error));
    TRY(mark_ahead(db, order->period, books, accounts, n, b->arena, error));
    b->accounts = (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        Str number = items[i].number;
        if (str_absent(number)) continue;
        b->total = cents_add(b->total, items[i].rating.total);
        if (!b->first[0]) snprintf(b->first, sizeof b->first, "%.*s", (int)number.n, number.p);
        snprintf(b->final, sizeof b->final, "%.*s", (int)number.n, number.p);
    }
    return ST_OK;
}

static void begin_batch(Batch *b)
{
    arena_reset(b->arena);
    *b = (Batch){.order = b->order, .ahead = b->ahead, .arena = b->arena, .account = b->account};
}

static Status close_batch(Db *db, void *context, Error *error)
{
    Batch *b = context;
    begin_batch(b);
    TRY(books_lock(db, error));
    Books books;
    TRY(books_read(db, b->arena, &books, error));
    TRY(in_order(&books, b->order->period, &b->was_closed, error));
    if (b->was_closed) return ST_OK;
    TRY(too_early(b->order, error));
    Str period = param_day(b->arena, period_first(b->order->period));
    bool going_on = books.begun && books.last.months == b->order->period.months;
    if (!going_on) TRY(db_run(db, &SQL_BILLING_CLOSING_BEGIN, 1, &period, NULL, error));
    Str after = going_on ? books.after : (Str){0};
    Account *accounts = NULL;
    size_t n = 0;
    TRY(accounts_load(db, after, CLOSE_BATCH_ACCOUNTS, b->arena, &accounts, &n, error));
    if (n > 0) TRY(rate_and_write(db, b, &books, accounts, n, error));
    b->last = n < CLOSE_BATCH_ACCOUNTS;
    Str params[] = {period, n > 0 ? accounts[n - 1].id : (Str){0}, param_bool(b->last),
                    param_instant(b->arena, b->order->now.horizon)};
    return db_run(db, &SQL_BILLING_CLOSING_MOVE, 4, params, NULL, error);
}

static Status account_batch(Db *db, void *context, Error *error)
{
    Batch *b = context;
    begin_batch(b);
    TRY(books_lock(db, error));
    char period[PERIOD_TEXT];
    Account account;
    TRY(account_load(db, b->account, b->arena, &account, error));
    Books books;
    TRY(books_read(db, b->arena, &books, error));
    if (!books_closed(&books, b->order->period, b->account))
        return error_set(error, ST_REFUSED,
                         "%s is not closed: close it for every account, without --account",
                         period_format(b->order->period, period));
    Str number;
    bool open;
    TRY(invoice_of_period(db, b->account, b->order->period, b->arena, &number, &open, error));
    b->last = true;
    b->was_closed = !open;
    if (b->was_closed) return ST_OK;
    TRY(too_early(b->order, error));
    TRY(rate_and_write(db, b, &books, &account, 1, error));
    if (b->issued > 0) return ST_OK;
    Str params[] = {b->account, param_day(b->arena, period_first(b->order->period))};
    return db_run(db, &SQL_BILLING_CLOSED_AGAIN, 2, params, NULL, error);
}

// ---- closing ----
static void add_up(CloseResult *out, const Batch *b)
{
    CloseProgress *done = &out->done;
    done->accounts += b->accounts;
    done->invoices += (int64_t)b->issued;
    done->settled += b->settled;
    done->total = cents_add(done->total, b->total);
    if (b->issued == 0) return;
    if (!out->first[0]) memcpy(out->first, b->first, sizeof out->first);
    memcpy(out->last, b->final, sizeof out->last);
    done->first = str(out->first);
    done->last = str(out->last);
}

Status billing_close(Db *db, const CloseOrder *order, CloseResult *out, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_AHEAD Ahead *ahead = ahead_new(db, &order->now, period_first(order->period),
                                         period_end(order->period));
    Batch batch = {.order = order, .ahead = ahead, .arena = arena};
    *out = (CloseResult){0};
    for (bool first = true;; first = false) {
        TRY(db_transaction(db, close_batch, &batch, error));
        // Where it is closed after a batch of ours, another closing did the rest.
        if (batch.was_closed && first) out->was_closed = true;
        if (batch.was_closed) return ST_OK;
        add_up(out, &batch);
        if (order->progress) order->progress(order->context, &out->done);
        if (batch.last) return ST_OK;
    }
}

Status billing_close_account(Db *db, const CloseOrder *order, Str account, CloseResult *out,
                             Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Batch batch = {.order = order, .arena = arena, .account = account};
    *out = (CloseResult){0};
    TRY(db_transaction(db, account_batch, &batch, error));
    out->was_closed = batch.was_closed;
    add_up(out, &batch);
    return ST_OK;
}
