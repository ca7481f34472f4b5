// SPDX-License-Identifier: Apache-2.0
#include "billing/credits.h"

#include "billing/billing_sql.h"
#include "billing/register.h"
#include "meter/runs.h"

#include <inttypes.h>
#include <stdio.h>

// ---- pure ----
int64_t credits_remaining_e4(CreditMinutes pool_left, CreditMinutes credit_grants_left,
                             Cents usd_left, Price price, int64_t discount_bps)
{
    ASSERT(pool_left.cm >= 0 && credit_grants_left.cm >= 0 && usd_left.cents >= 0);
    ASSERT(price.e12 >= 0 && price.e12 <= PRICE_MAX_E12);
    ASSERT(discount_bps >= 0 && discount_bps <= 10000);
    // cm/60 credits are cm * 10^4 / 60 = cm * 500 / 3 of their ten-thousandths.
    Wide cm_e4 = ((Wide)pool_left.cm + credit_grants_left.cm) * 500;
    Wide whole = cm_e4 / 3, rest = cm_e4 % 3;
    // cents/100 dollars at e12/10^12 * (10000 - bps)/10^4 dollars a credit.
    Wide net = (Wide)price.e12 * (10000 - discount_bps);
    if (net > 0) {
        Wide usd = (Wide)usd_left.cents * PRICE_E12 * 1000000;
        whole += usd / net;
        if (rest * net + usd % net * 3 >= 3 * net) whole++; // the two rests make up one more
    }
    return whole > INT64_MAX ? INT64_MAX : (int64_t)whole;
}

bool credits_run_out(int64_t remaining_e4, int64_t per_hour, Instant now, Instant *out)
{
    if (remaining_e4 <= 0) {
        *out = now;
        return true;
    }
    if (per_hour <= 0) return false;
    Wide us = (Wide)remaining_e4 * (3600 * US_PER_SECOND / 10000) / per_hour;
    if (us >= INSTANT_END.us - now.us) return false;
    *out = instant_add_us(now, (int64_t)us);
    return true;
}

// ---- grants ----
static bool grant_in_force(const Grant *grant, Day today, Period period)
{
    if (grant->unit == GRANT_CREDIT)
        return grant->from.days <= today.days && today.days < grant->expires.days;
    return grant->from.days < period_end(period).days &&
           grant->expires.days > period_first(period).days;
}

static int compare_stands(const void *a, const void *b)
{
    return grant_compare(&((const GrantStand *)a)->grant.grant,
                         &((const GrantStand *)b)->grant.grant);
}

// What the open periods drew from a grant.
static int64_t drawn_from(const OpenPeriods *open, const Grant *grant)
{
    int64_t drawn = 0;
    for (size_t p = 0; p < open->count; p++) {
        const RateInput *in = &open->input[p];
        for (size_t i = 0; i < in->grants; i++)
            if (in->grant[i].grant.unit == grant->unit &&
                str_equal(in->grant[i].grant.id, grant->id))
                drawn += open->rating[p].drawn[i];
    }
    return drawn;
}

static void stand_grants(const OpenPeriods *open, const GrantList *left, Day today, Arena *arena,
                         CreditsView *out)
{
    out->grant = arena_alloc(arena, (left->count + 1) * sizeof *out->grant);
    for (size_t i = 0; i < left->count; i++) {
        const RateGrant *from = &left->grant[i];
        GrantStand stand = {.grant = *from,
                            .left = from->balance,
                            .in_force = grant_in_force(&from->grant, today, out->period)};
        stand.grant.balance += drawn_from(open, &from->grant);
        if (from->grant.carried && stand.left == 0) continue;
        out->grant[out->grants++] = stand;
    }
    qsort(out->grant, out->grants, sizeof *out->grant, compare_stands);
}

// ---- what is left, and until when ----
static void reckon(const Account *account, const Catalog *catalog, Day today, int64_t per_hour,
                   CreditsView *out)
{
    Standing standing = account_standing(account, today);
    Terms terms = account_terms(account, catalog, standing.subscription, today);
    CreditMinutes granted = {0};
    Cents usd = {0};
    for (size_t i = 0; i < out->grants; i++) {
        const GrantStand *stand = &out->grant[i];
        if (!stand->in_force) continue;
        if (stand->grant.grant.unit == GRANT_USD) usd = cents_add(usd, (Cents){stand->left});
        else granted = cm_add(granted, (CreditMinutes){stand->left});
    }
    Credits *credits = &out->credits;
    credits->remaining_e4 = credits_remaining_e4(cm_sub(out->pool, out->pooled), granted, usd,
                                                 catalog_on(catalog, today)->credit_price,
                                                 terms.credit_discount_bps);
    credits->per_hour = per_hour;
    credits->runs_out = credits_run_out(credits->remaining_e4, per_hour, out->now.horizon,
                                        &credits->run_out_at);
    out->has_spend_limit = credits->spend_rising = account->has_spend_limit;
    out->spend_limit = account->spend_limit;
    credits->spend_reached = account->has_spend_limit &&
                             out->spent.cents >= account->spend_limit.cents;
}

// ---- reading ----
typedef struct Ask {
    Str account;
    const Instant *as_of;
    bool draws;
    Arena *arena;
    CreditsView *out;
} Ask;

static Status read_version(Db *db, Str account, int64_t *version, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_QUOTA_VERSION, 1, &account, &rows, error));
    *version = rows_count(rows) > 0 ? rows_int(rows, 0, 0) : 0;
    return ST_OK;
}

static Status rate_open(Db *db, const Catalog *catalog, const Account *account, const Books *books,
                        Day today, const Ask *ask, Error *error)
{
    CreditsView *out = ask->out;
    OpenPeriods open;
    const OpenOrder order = {catalog, account, books, out->period, &out->now};
    TRY(open_periods(db, &order, ask->arena, &open, error));
    const Rating *rating = &open.rating[open.count - 1];
    out->pool = rating->included;
    for (size_t day = 0; day < rating->days; day++)
        out->pooled = cm_add(out->pooled, rating->day[day].pooled);
    out->spent = rating->total;
    out->upcoming = invoice_of(account, &open.input[open.count - 1], rating);
    for (size_t i = 0; i < out->upcoming.usages; i++) // the catalogue does not outlive this
        out->upcoming.usage[i].size = arena_copy(ask->arena, out->upcoming.usage[i].size);
    stand_grants(&open, &open.left, today, ask->arena, out);
    return ST_OK;
}

// The period was closed before its end: what is used now will be an adjustment of a later invoice.
// `number` is its own, absent where there is none.
static Status read_closed(Db *db, const Catalog *catalog, const Account *account, Str number,
                          Day today, const Ask *ask, Error *error)
{
    CreditsView *out = ask->out;
    out->books_closed = true;
    GrantList *list = NULL;
    TRY(grants_read(db, catalog, account, 1, ask->arena, &list, error));
    stand_grants(&(OpenPeriods){0}, list, today, ask->arena, out);
    if (str_absent(number)) return ST_OK;
    TRY(invoice_load(db, number, ask->arena, &out->upcoming, error));
    out->spent = out->upcoming.total;
    return ST_OK;
}

static Status read_draws(Db *db, const Ask *ask, Error *error)
{
    CreditsView *view = ask->out;
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_GRANT_DRAWS, 1, &ask->account, &rows, error));
    for (size_t i = 0; i < view->grants; i++) {
        GrantStand *stand = &view->grant[i];
        for (int pass = 0; pass < 2; pass++) { // count, then fill
            if (pass == 1)
                stand->draw = arena_alloc(ask->arena, stand->draws * sizeof *stand->draw);
            stand->draws = 0;
            for (int row = 0; row < rows_count(rows); row++) {
                if (rows_int(rows, row, 1) != (int64_t)stand->grant.grant.unit ||
                    !str_equal(rows_str(rows, row, 0), stand->grant.grant.id))
                    continue;
                if (pass == 1)
                    stand->draw[stand->draws] = (CreditDraw){
                        arena_copy(ask->arena, rows_str(rows, row, 2)),
                        day_period(rows_day(rows, row, 3)), rows_int(rows, row, 4)};
                stand->draws++;
            }
        }
    }
    return ST_OK;
}

static Status read_all(Db *db, void *context, Error *error)
{
    const Ask *ask = context;
    CreditsView *out = ask->out;
    *out = (CreditsView){0};
    TRY(now_read(db, ask->as_of, &out->now, error));
    // While a partition has no progress the horizon is unknown; for all that is known, what runs
    // has run until now. To take nothing for used would let those start whose credits are used up.
    if (out->now.horizon.us <= INSTANT_MIN.us) out->now.horizon = out->now.clock;
    Day today = instant_day(out->now.clock);
    out->period = day_period(today);
    OWNED_CATALOG Catalog *catalog = NULL;
    TRY(catalog_load(db, &catalog, error));
    Account *account = arena_alloc(ask->arena, sizeof *account);
    TRY(account_load(db, ask->account, ask->arena, account, error));
    Books books;
    TRY(books_read(db, ask->arena, &books, error));
    bool closed = books.begun && out->period.months < books.first.months; // ahead of time
    bool open = false;                                                    // again
    Str number = {0};
    if (books_closed(&books, out->period, account->id)) {
        TRY(invoice_of_period(db, account->id, out->period, ask->arena, &number, &open, error));
        closed = !open;
    }
    if (closed) TRY(read_closed(db, catalog, account, number, today, ask, error));
    else TRY(rate_open(db, catalog, account, &books, today, ask, error));
    int64_t per_hour = 0;
    TRY(runs_per_hour(db, catalog, &out->now, account->id, &per_hour, error));
    reckon(account, catalog, today, per_hour, out);
    if (ask->draws) TRY(read_draws(db, ask, error));
    return read_version(db, account->id, &out->credits.version, error);
}

Status credits_read(Db *db, Str account, const Instant *as_of, Arena *arena, CreditsView *out,
                    Error *error)
{
    Ask ask = {.account = account, .as_of = as_of, .arena = arena, .out = out};
    return db_snapshot(db, read_all, &ask, error);
}

Status credits_read_shown(Db *db, Str account, const Instant *as_of, Arena *arena, CreditsView *out,
                          Error *error)
{
    Ask ask = {.account = account, .as_of = as_of, .draws = true, .arena = arena, .out = out};
    return db_snapshot(db, read_all, &ask, error);
}

// ---- JSON ----
static void write_instant(JsonWriter *w, const char *name, bool known, Instant at)
{
    char text[INSTANT_TEXT];
    jw_text(w, name, known ? instant_format(at, text) : NULL);
}

static void write_amount(JsonWriter *w, const char *name, GrantUnit unit, int64_t amount)
{
    char text[AMOUNT_TEXT];
    jw_text(w, name,
            unit == GRANT_USD ? cents_format((Cents){amount}, text)
                              : credits_format((CreditMinutes){amount}, text));
}

static void write_grant(JsonWriter *w, const GrantStand *stand)
{
    const Grant *grant = &stand->grant.grant;
    char day[DAY_TEXT], period[PERIOD_TEXT];
    jw_begin_object(w, NULL);
    jw_str(w, "id", grant->id);
    jw_text(w, "unit", grant->unit == GRANT_USD ? "usd" : "credit");
    jw_int(w, "priority", grant->priority);
    jw_text(w, "from", day_format(grant->from, day));
    jw_text(w, "expires",
            grant->expires.days < DAY_END.days ? day_format(grant->expires, day) : NULL);
    write_amount(w, "amount", grant->unit, grant->amount);
    write_amount(w, "balance", grant->unit, stand->grant.balance);
    write_amount(w, "left", grant->unit, stand->left);
    jw_bool(w, "in_force", stand->in_force);
    jw_begin_array(w, "draws");
    for (size_t i = 0; i < stand->draws; i++) {
        const CreditDraw *draw = &stand->draw[i];
        jw_begin_object(w, NULL);
        jw_str(w, "number", draw->number);
        jw_text(w, "period", period_format(draw->period, period));
        write_amount(w, "amount", grant->unit, draw->amount);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_end_object(w);
}

// Ten-thousandths of a credit; sixtieths cannot hold them.
static void write_e4(JsonWriter *w, const char *name, int64_t e4)
{
    char text[AMOUNT_TEXT];
    snprintf(text, sizeof text, "%" PRId64 ".%04" PRId64, e4 / 10000, e4 % 10000);
    jw_text(w, name, text);
}

void credits_json(const CreditsView *view, Str account, Buf *out)
{
    JsonWriter writer = {.out = out}, *w = &writer;
    char text[AMOUNT_TEXT], period[PERIOD_TEXT];
    const Credits *credits = &view->credits;
    jw_begin_object(w, NULL);
    jw_str(w, "account", account);
    jw_text(w, "period", period_format(view->period, period));
    write_instant(w, "data_through", true, view->now.horizon);
    jw_begin_object(w, "pool");
    jw_text(w, "included", credits_format(view->pool, text));
    jw_text(w, "used", credits_format(view->pooled, text));
    jw_text(w, "remaining", credits_format(cm_sub(view->pool, view->pooled), text));
    jw_end_object(w);
    jw_begin_array(w, "grants");
    for (size_t i = 0; i < view->grants; i++) write_grant(w, &view->grant[i]);
    jw_end_array(w);
    write_e4(w, "remaining", credits->remaining_e4);
    write_e4(w, "per_hour_now", credits->per_hour * 10000);
    write_instant(w, "run_out_at", credits->runs_out, credits->run_out_at);
    jw_text(w, "spend_limit", view->has_spend_limit ? cents_format(view->spend_limit, text) : NULL);
    jw_text(w, "spent", cents_format(view->spent, text));
    jw_end_object(w);
}
