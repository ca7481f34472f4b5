// SPDX-License-Identifier: Apache-2.0
// A period is compared by itself: rated from the minutes and the draws of before it that its
// invoice keeps, or the last one that adjusted it, the new terms must give what the ones before the
// change give. Where no period differs, none has passed other balances on to the next, so that
// nothing needs to be rated in sequence.
#include "billing/guard.h"

#include "billing/billing_sql.h"
#include "billing/inputs.h"
#include "billing/unsettled.h"

#include <inttypes.h>
#include <stdio.h>

enum { GUARD_BATCH_ACCOUNTS = 200 };

typedef struct Guard {
    Db *db;
    const Catalog *catalog, *replaced; // as it is now, and before the change
    Books books;
    Arena *arena; // reset for each batch
} Guard;

// What a closed period was rated from last.
typedef struct KeptPeriod {
    bool adjusted; // by an adjustment, which leaves grants in usd out
    bool again;    // its invoice was voided: the period is open again
    RateInput input;
} KeptPeriod;

// ---- one period ----
// The kept minutes at the sizes' rates of now. ST_REFUSED where the catalogue lacks one of them.
static Status cells_of(const Guard *g, const Catalog *catalog, const RateInput *kept,
                       DayUsage **cells, size_t *count, Error *error)
{
    Day first = period_first(kept->period);
    *cells = arena_alloc(g->arena, (kept->usages * RATE_DAYS_MAX + 1) * sizeof **cells);
    *count = 0;
    for (int32_t day = 0; day < RATE_DAYS_MAX; day++) {
        for (size_t i = 0; i < kept->usages; i++) {
            const RateUsage *usage = &kept->usage[i];
            if (usage->minutes[day] == 0) continue;
            SizeNo size = catalog_size(catalog, usage->size);
            if (size == SIZE_NONE)
                return error_set(error, ST_REFUSED,
                                 "the catalogue lacks the size %.*s, which was billed",
                                 (int)usage->size.n, usage->size.p);
            (*cells)[(*count)++] = (DayUsage){
                .day = day_add(first, day), .size = size, .minutes = usage->minutes[day]};
        }
    }
    return ST_OK;
}

// The account's grants, less what had been drawn from each before the period.
static GrantList grants_before(const Guard *g, const Account *account, const Catalog *catalog,
                               const KeptPeriod *period)
{
    const RateInput *kept = &period->input;
    GrantList list = grants_of(account, catalog, kept->grants, g->arena);
    size_t all = list.count;
    list.count = 0;
    for (size_t i = 0; i < all; i++)
        if (!period->adjusted || list.grant[i].grant.unit == GRANT_CREDIT)
            list.grant[list.count++] = list.grant[i];
    for (size_t k = 0; k < kept->grants; k++) {
        const RateGrant *old = &kept->grant[k];
        if (old->grant.carried) {
            list.grant[list.count++] = *old;
            continue;
        }
        for (size_t i = 0; i < list.count; i++) {
            RateGrant *grant = &list.grant[i];
            if (grant->grant.unit != old->grant.unit) continue;
            if (!str_equal(grant->grant.id, old->grant.id)) continue;
            int64_t drawn = old->grant.amount - old->balance;
            grant->balance = grant->balance > drawn ? grant->balance - drawn : 0;
        }
    }
    return list;
}

// ---- comparing ----
static void compare_cm(Buf *out, const char *name, CreditMinutes before, CreditMinutes after)
{
    if (before.cm == after.cm) return;
    buf_addf(out, "%s%s %" PRId64 " would be %" PRId64, out->n ? ", " : "", name, before.cm,
             after.cm);
}

static void compare_cents(Buf *out, const char *name, Cents before, Cents after)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    if (before.cents == after.cents) return;
    buf_addf(out, "%s%s %s would be %s", out->n ? ", " : "", name, cents_format(before, a),
             cents_format(after, b));
}

static void describe_line(Buf *out, const Line *line)
{
    char from[DAY_TEXT], to[DAY_TEXT], amount[AMOUNT_TEXT];
    buf_addf(out, "%s %s..%s %s", line_kind_name(line->kind), day_format(line->from, from),
             day_format(day_add(line->to, -1), to), cents_format(line->amount, amount));
}

static bool same_line(const Line *a, const Line *b)
{
    return a->kind == b->kind && a->from.days == b->from.days && a->to.days == b->to.days &&
           a->quantity.cm == b->quantity.cm && a->price.e12 == b->price.e12 &&
           a->amount.cents == b->amount.cents &&
           (str_equal(a->grant, b->grant) || (str_absent(a->grant) && str_absent(b->grant)));
}

// The first line that is not the same; the sums say the rest.
static void compare_lines(Buf *out, const Rating *before, const Rating *after)
{
    for (size_t i = 0; i < before->lines || i < after->lines; i++) {
        const Line *a = i < before->lines ? &before->line[i] : NULL;
        const Line *b = i < after->lines ? &after->line[i] : NULL;
        if (a && b && same_line(a, b)) continue;
        buf_addf(out, "%sline %zu ", out->n ? ", " : "", i + 1);
        if (a) describe_line(out, a);
        else buf_add_text(out, "(none)");
        buf_add_text(out, " would be ");
        if (b) describe_line(out, b);
        else buf_add_text(out, "(none)");
        return;
    }
}

static Status compare(const Account *account, Period period, const Rating *before,
                      const Rating *after, Error *error)
{
    OWNED_BUF Buf what = {0};
    compare_cents(&what, "subtotal", before->subtotal, after->subtotal);
    compare_cents(&what, "total", before->total, after->total);
    compare_cm(&what, "included_credit_minutes", before->included, after->included);
    compare_cm(&what, "granted_credit_minutes", before->granted, after->granted);
    compare_cm(&what, "purchased_credit_minutes", before->purchased, after->purchased);
    compare_lines(&what, before, after);
    if (what.n == 0) return ST_OK;
    char text[PERIOD_TEXT];
    error_set(error, ST_REFUSED,
              "account %.*s: the closed period %s would be rated differently: %.*s",
              (int)account->id.n, account->id.p, period_format(period, text), (int)what.n, what.p);
    error_hint(error, "let the change begin after the closed periods, or use --retroactive");
    return ST_REFUSED;
}

static Status rate_kept(const Guard *g, const Account *account, const Catalog *catalog,
                        const KeptPeriod *period, Rating *out, Error *error)
{
    const RateInput *kept = &period->input;
    DayUsage *cells = NULL;
    size_t count = 0;
    TRY(cells_of(g, catalog, kept, &cells, &count, error));
    GrantList grants = grants_before(g, account, catalog, period);
    RateInput in;
    rate_input(account, catalog, kept->period, cells, count, grants.grant, grants.count, g->arena,
               &in);
    in.adjustments = kept->adjustments;
    in.adjustment = kept->adjustment;
    rate(&in, g->arena, out);
    return ST_OK;
}

// `replaced` is what the account was; NULL where it is new.
static Status guard_period(const Guard *g, const Account *account, const Account *replaced,
                           const KeptPeriod *period, Error *error)
{
    Rating before = {0}, after;
    if (replaced) TRY(rate_kept(g, replaced, g->replaced, period, &before, error));
    TRY(rate_kept(g, account, g->catalog, period, &after, error));
    if (!before.to_issue && !after.to_issue) return ST_OK; // no invoice then, none now
    return compare(account, period->input.period, &before, &after, error);
}

// ---- one account ----
// Takes an invoice's inputs, and those of the periods that it adjusted, for what they were rated
// from last: invoices come in the order in which they were issued.
static Status keep(const Guard *g, const Rows *rows, int row, KeptPeriod *kept, Error *error)
{
    int32_t first = g->books.first.months;
    KeptPeriod *own = &kept[day_period(rows_day(rows, row, 1)).months - first];
    own->again = rows_bool(rows, row, 4);
    if (rows_bool(rows, row, 2)) return ST_OK;
    RateInput in;
    TRY(inputs_parse(rows_str(rows, row, 3), g->arena, &in, error));
    *own = (KeptPeriod){.input = in};
    for (size_t i = 0; i < in.adjustments; i++) {
        KeptPeriod *other = &kept[in.adjustment[i].period.months - first];
        if (other == own) continue;
        other->adjusted = true;
        other->input = *in.adjustment[i].rated;
    }
    return ST_OK;
}

// `rows` are kept inputs in order of account; *row stands at this account's first.
static Status guard_periods(const Guard *g, const Account *account, const Account *replaced,
                            const Rows *rows, int *row, Error *error)
{
    int32_t first = g->books.first.months, last = g->books.last.months;
    KeptPeriod *kept = arena_alloc(g->arena, (size_t)(last - first + 1) * sizeof *kept);
    for (int32_t m = first; m <= last; m++) kept[m - first].input.period = (Period){m};
    for (; *row < rows_count(rows) && str_equal(rows_str(rows, *row, 0), account->id); (*row)++)
        TRY(keep(g, rows, *row, kept, error));
    for (int32_t m = first; books_closed(&g->books, (Period){m}, account->id); m++)
        if (!kept[m - first].again)
            TRY(guard_period(g, account, replaced, &kept[m - first], error));
    return ST_OK;
}

static const char *amount_words(GrantUnit unit, int64_t amount, char out[static AMOUNT_TEXT])
{
    if (unit == GRANT_USD) return cents_format((Cents){amount}, out);
    return credits_format((CreditMinutes){amount}, out);
}

// 0: there is none.
static int64_t amount_in(const GrantList *list, Str id, GrantUnit unit)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->grant[i].grant.unit == unit && str_equal(list->grant[i].grant.id, id))
            return list->grant[i].grant.amount;
    return 0;
}

// `rows` are draws in order of account; *row stands at this account's first.
static Status guard_draws(const Guard *g, const Account *account, const Account *replaced,
                          const Rows *rows, int *row, Error *error)
{
    GrantList list = grants_of(account, g->catalog, 0, g->arena), old = {0};
    if (replaced) old = grants_of(replaced, g->replaced, 0, g->arena);
    Str carry = STR("carry:");
    for (; *row < rows_count(rows) && str_equal(rows_str(rows, *row, 0), account->id); (*row)++) {
        Str id = rows_str(rows, *row, 1);
        GrantUnit unit = (GrantUnit)rows_int(rows, *row, 2);
        int64_t drawn = rows_int(rows, *row, 3), amount = amount_in(&list, id, unit);
        if (id.n > carry.n && memcmp(id.p, carry.p, carry.n) == 0) continue;
        if (amount >= drawn || amount >= amount_in(&old, id, unit)) continue;
        char have[AMOUNT_TEXT], taken[AMOUNT_TEXT];
        error_set(error, ST_REFUSED,
                  "account %.*s: grant %.*s would be %s %s, of which invoices have drawn %s",
                  (int)account->id.n, account->id.p, (int)id.n, id.p,
                  amount_words(unit, amount, have), unit == GRANT_USD ? "usd" : "credits",
                  amount_words(unit, drawn, taken));
        error_hint(error, "leave the grant at what was drawn, or use --retroactive");
        return ST_REFUSED;
    }
    return ST_OK;
}

// A plan that the new catalogue lacks cannot be rated at all.
static Status check_plans(const Guard *g, const Account *account, Error *error)
{
    for (int i = 0; i < account->subscriptions; i++) {
        Str plan = account->subscription[i].plan;
        if (str_absent(plan) || catalog_plan(g->catalog, plan) >= 0) continue;
        return error_set(error, ST_BAD_INPUT,
                         "account %.*s has the plan %.*s, which the catalogue lacks",
                         (int)account->id.n, account->id.p, (int)plan.n, plan.p);
    }
    return ST_OK;
}

// `replaced`: what those of them that are not new were, in the same order.
static Status guard_batch(const Guard *g, const Account *accounts, size_t n,
                          const Account *replaced, size_t old, Error *error)
{
    OWNED_BUF Buf ids = {0};
    accounts_array(accounts, n, &ids);
    Str params[] = {buf_str(&ids)};
    OWNED_ROWS Rows *inputs = NULL;
    TRY(db_query(g->db, &SQL_BILLING_KEPT_INPUTS, 1, params, &inputs, error));
    OWNED_ROWS Rows *draws = NULL;
    TRY(db_query(g->db, &SQL_BILLING_DRAWS, 1, params, &draws, error));
    int input = 0, draw = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_new = at == old || !str_equal(replaced[at].id, accounts[i].id);
        const Account *before = is_new ? NULL : &replaced[at++];
        TRY(check_plans(g, &accounts[i], error));
        TRY(guard_draws(g, &accounts[i], before, draws, &draw, error));
        TRY(guard_periods(g, &accounts[i], before, inputs, &input, error));
    }
    return ST_OK;
}

// ---- all ----
static Status guard_some(Guard *g, const Str *ids, size_t n, Error *error)
{
    for (size_t at = 0; at < n; at += GUARD_BATCH_ACCOUNTS) {
        size_t some = n - at < GUARD_BATCH_ACCOUNTS ? n - at : GUARD_BATCH_ACCOUNTS;
        Account *accounts = NULL, *replaced = NULL;
        size_t found = 0, old = 0;
        arena_reset(g->arena);
        TRY(accounts_load_some(g->db, ids + at, some, g->arena, &accounts, &found, error));
        TRY(accounts_load_replaced(g->db, ids + at, some, g->arena, &replaced, &old, error));
        TRY(guard_batch(g, accounts, found, replaced, old, error));
    }
    return ST_OK;
}

static Status guard_every(Guard *g, Error *error)
{
    OWNED_BUF Buf after = {0};
    for (;;) {
        Account *accounts = NULL;
        size_t n = 0;
        arena_reset(g->arena);
        Str last = after.n ? buf_str(&after) : (Str){0};
        TRY(accounts_load(g->db, last, GUARD_BATCH_ACCOUNTS, g->arena, &accounts, &n, error));
        TRY(guard_batch(g, accounts, n, accounts, n, error));
        if (n < GUARD_BATCH_ACCOUNTS) return ST_OK;
        buf_clear(&after);
        buf_add_str(&after, accounts[n - 1].id);
    }
}

static Status guard_changed(Db *db, const Books *books, const Str *accounts, size_t n, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_CATALOG Catalog *catalog = NULL, *replaced = NULL;
    TRY(catalog_load(db, &catalog, error));
    if (!accounts) TRY(catalog_load_replaced(db, &replaced, error));
    Guard guard = {.db = db,
                   .catalog = catalog,
                   .replaced = replaced ? replaced : catalog,
                   .books = *books,
                   .arena = arena};
    return accounts ? guard_some(&guard, accounts, n, error) : guard_every(&guard, error);
}

// Whether the new catalogue says something else than the one before of a day that may be closed.
static Status closed_terms_differ(Db *db, const Books *books, Arena *arena, bool *out, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Str end = param_day(arena, period_end(books->last));
    TRY(db_query(db, &SQL_BILLING_CATALOG_DIFFERS, 1, &end, &rows, error));
    *out = rows_bool(rows, 0, 0);
    return ST_OK;
}

Status billing_guard(Db *db, const Str *accounts, size_t n, bool retroactive, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Books books;
    TRY(db_script(db, "LOCK TABLE closing IN SHARE MODE", error)); // see close.c
    TRY(books_read(db, arena, &books, error));
    if (!books.begun) return ST_OK;
    if (!retroactive) TRY(guard_changed(db, &books, accounts, n, error));
    // Also where nothing that was billed differs: periods that are open again, and usage that came
    // since, are rated on the new terms.
    if (!accounts) {
        bool differs = false;
        TRY(closed_terms_differ(db, &books, arena, &differs, error));
        if (!differs) return ST_OK;
    }
    return marks_add(db, accounts, n, period_first(books.first), error);
}
