// SPDX-License-Identifier: Apache-2.0
// Reads an invoice, rates it again, and finds what its adjustments changed and which runs are to be
// shown for it.
#include "audit/audit_sql.h"
#include "audit/explain_parts.h"
#include "billing/inputs.h"

#include <inttypes.h>
#include <stdio.h>

Str explain_account(const Explained *x) { return x->invoice.account; }

// ---- reading ----
static Status read_kept(Db *db, Explained *x, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_AUDIT_EXPLAIN_INVOICE, 1, &x->invoice.number, &rows, error));
    TRY(inputs_parse(rows_str(rows, 0, 0), x->arena, &x->in, error));
    x->place = rows_int(rows, 0, 1);
    x->catalog_revision = rows_int(rows, 0, 2);
    x->account_revision = rows_int(rows, 0, 4);
    if (!rows_null(rows, 0, 3)) x->catalog_applied = rows_instant(rows, 0, 3);
    if (!rows_null(rows, 0, 5)) x->account_applied = rows_instant(rows, 0, 5);
    return ST_OK;
}

// Invoices of before horizons were kept were closed when all was metered.
static Status choose_horizon(Db *db, Explained *x, Error *error)
{
    Now now;
    x->horizon = x->in.horizon;
    if (x->horizon.us) return ST_OK;
    TRY(now_read(db, NULL, &now, error));
    x->horizon = now.horizon;
    return ST_OK;
}

static bool same_line(const Line *stored, const Line *rated, bool negated)
{
    int64_t cents = negated ? -rated->amount.cents : rated->amount.cents;
    return stored->kind == rated->kind && stored->amount.cents == cents &&
           stored->from.days == rated->from.days && stored->to.days == rated->to.days;
}

// What is explained must be what was billed.
static Status rate_again(Explained *x, Error *error)
{
    const Invoice *invoice = &x->invoice;
    rate(&x->in, x->arena, &x->rating);
    bool same = invoice->lines == x->rating.lines;
    for (size_t i = 0; same && i < invoice->lines; i++)
        same = same_line(&invoice->line[i], &x->rating.line[i], !str_absent(invoice->credits));
    if (same) return ST_OK;
    error_set(error, ST_FATAL, "%.*s does not follow from what it keeps, so it cannot be explained",
              (int)invoice->number.n, invoice->number.p);
    error_hint(error, "tally audit shows what differs");
    return ST_FATAL;
}

static Status parse_basis(Str inputs, const Explained *x, Basis *basis, Error *error)
{
    Status status = inputs_parse(inputs, x->arena, &basis->in, error);
    if (status == ST_OK) return ST_OK;
    error_prefix(error, "%.*s cannot be explained without %.*s", (int)x->invoice.number.n,
                 x->invoice.number.p, (int)basis->number.n, basis->number.p);
    error_hint(error, "tally audit shows what differs");
    return status;
}

static Status read_bases(Db *db, Explained *x, Error *error)
{
    OWNED_BUF Buf periods = {0};
    char day[DAY_TEXT];
    array_begin(&periods);
    array_add(&periods, str(day_format(period_first(x->in.period), day)));
    for (size_t i = 0; i < x->in.adjustments; i++)
        array_add(&periods, str(day_format(period_first(x->in.adjustment[i].period), day)));
    array_end(&periods);
    Str params[] = {x->invoice.account, buf_str(&periods)};
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_AUDIT_EXPLAIN_BASES, 2, params, &rows, error));
    x->bases = (size_t)rows_count(rows);
    x->basis = arena_alloc(x->arena, (x->bases + 1) * sizeof *x->basis);
    for (int row = 0; row < rows_count(rows); row++) {
        Basis *basis = &x->basis[row];
        basis->period = day_period(rows_day(rows, row, 0));
        basis->place = rows_int(rows, row, 1);
        basis->number = arena_copy(x->arena, rows_str(rows, row, 2));
        basis->voided_place = rows_null(rows, row, 3) ? 0 : rows_int(rows, row, 3);
        TRY(parse_basis(rows_str(rows, row, 4), x, basis, error));
        basis->own = rows_bool(rows, row, 5);
    }
    return ST_OK;
}

// Where the credit note stands by which the period was opened again, and since which it was closed
// again when this invoice was issued; 0: none. What had adjusted it before is settled by that.
static int64_t opened_again(const Explained *x, Period period)
{
    int64_t place = 0;
    for (size_t i = 0; period.months != x->in.period.months && i < x->bases; i++) {
        const Basis *basis = &x->basis[i];
        if (basis->own && basis->period.months == period.months && basis->voided_place < x->place &&
            basis->voided_place > place)
            place = basis->voided_place;
    }
    return place;
}

// What the period had been rated from when this invoice was issued: of what stood then, the last.
// NULL also where it had been closed again with nothing to bill.
static const Basis *basis_before(const Explained *x, Period period)
{
    const Basis *last = NULL;
    int64_t from = opened_again(x, period);
    for (size_t i = 0; i < x->bases; i++) {
        const Basis *basis = &x->basis[i];
        bool stood = !basis->voided_place || basis->voided_place > x->place;
        if (basis->period.months == period.months && basis->place > from &&
            basis->place < x->place && stood)
            last = basis;
    }
    return last;
}

// ---- what adjustments changed ----
typedef struct DayUse {
    int64_t minutes;
    CreditMinutes cm;
} DayUse;

static DayUse use_on(const RateInput *in, Str size, int32_t day)
{
    DayUse use = {0};
    for (size_t i = 0; in && i < in->usages; i++) {
        const RateUsage *row = &in->usage[i];
        if (!str_equal(row->size, size)) continue;
        CreditMinutes cm = {round_div((Wide)row->minutes[day] * row->credits_per_hour, 1)};
        use.minutes += row->minutes[day];
        use.cm = cm_add(use.cm, cm);
    }
    return use;
}

static int compare_names(const void *a, const void *b)
{
    return str_compare(*(const Str *)a, *(const Str *)b);
}

// The sizes that either holds, by name.
static size_t sizes_of(const RateInput *a, const RateInput *b, Arena *arena, Str **out)
{
    size_t all = 0, kept = 0, room = a->usages + (b ? b->usages : 0) + 1;
    Str *name = arena_alloc(arena, room * sizeof *name);
    for (size_t i = 0; i < a->usages; i++) name[all++] = a->usage[i].size;
    for (size_t i = 0; b && i < b->usages; i++) name[all++] = b->usage[i].size;
    if (all > 1) qsort(name, all, sizeof *name, compare_names);
    for (size_t i = 0; i < all; i++)
        if (i == 0 || !str_equal(name[i], name[kept - 1])) name[kept++] = name[i];
    *out = name;
    return kept;
}

static void find_changes(Explained *x, Adjusted *adjusted)
{
    const RateInput *now = adjusted->of->rated;
    const RateInput *before = adjusted->before ? &adjusted->before->in : NULL;
    Str *size = NULL;
    size_t sizes = sizes_of(now, before, x->arena, &size);
    Day first = period_first(now->period);
    int32_t days = (int32_t)period_days(now->period);
    adjusted->change = arena_alloc(x->arena, (sizes * (size_t)days + 1) * sizeof *adjusted->change);
    for (int32_t day = 0; day < days; day++)
        for (size_t i = 0; i < sizes; i++) {
            DayUse is = use_on(now, size[i], day), was = use_on(before, size[i], day);
            if (is.minutes == was.minutes && is.cm.cm == was.cm.cm) continue;
            adjusted->change[adjusted->changes++] = (Change){
                day_add(first, day), size[i], is.minutes, was.minutes, is.cm, was.cm};
        }
}

static void read_adjustments(Explained *x)
{
    x->adjustments = x->in.adjustments;
    x->adjusted = arena_alloc(x->arena, (x->adjustments + 1) * sizeof *x->adjusted);
    for (size_t i = 0; i < x->adjustments; i++) {
        Adjusted *adjusted = &x->adjusted[i];
        adjusted->of = &x->in.adjustment[i];
        adjusted->before = basis_before(x, adjusted->of->period);
        rate(adjusted->of->rated, x->arena, &adjusted->rating);
        if (adjusted->before) rate(&adjusted->before->in, x->arena, &adjusted->before_rating);
        find_changes(x, adjusted);
    }
}

// ---- which days' runs are shown ----
static Status add_scope(Explained *x, const RateInput *in, uint32_t days, Error *error)
{
    Scope *scope = &x->scope[x->scopes++];
    *scope = (Scope){.period = in->period, .days = days};
    scope->kept = arena_alloc(x->arena, sizeof *scope->kept);
    scope->made = arena_alloc(x->arena, sizeof *scope->made);
    for (size_t i = 0; i < in->usages; i++) {
        const RateUsage *row = &in->usage[i];
        SizeNo size = catalog_size(x->catalog, row->size);
        if (size == SIZE_NONE)
            return error_set(error, ST_FATAL, "the catalogue does not have the size \"%.*s\"",
                             (int)row->size.n, row->size.p);
        for (int32_t day = 0; day < RATE_DAYS_MAX; day++)
            (*scope->kept)[day][size] += row->minutes[day];
    }
    return ST_OK;
}

static int compare_scopes(const void *a, const void *b)
{
    return ((const Scope *)a)->period.months - ((const Scope *)b)->period.months;
}

static Status choose_scopes(Explained *x, Error *error)
{
    x->scope = arena_alloc(x->arena, (x->adjustments + 1) * sizeof *x->scope);
    uint32_t all = (uint32_t)((UINT64_C(1) << period_days(x->in.period)) - 1);
    TRY(add_scope(x, &x->in, all, error));
    for (size_t i = 0; i < x->adjustments; i++) {
        const Adjusted *adjusted = &x->adjusted[i];
        Period period = adjusted->of->period;
        uint32_t days = 0;
        for (size_t c = 0; c < adjusted->changes; c++)
            days |= UINT32_C(1) << (adjusted->change[c].day.days - period_first(period).days);
        if (!days || period.months == x->in.period.months) continue;
        TRY(add_scope(x, adjusted->of->rated, days, error));
    }
    qsort(x->scope, x->scopes, sizeof *x->scope, compare_scopes);
    return ST_OK;
}

Scope *explain_scope(const Explained *x, Day day)
{
    Period period = day_period(day);
    for (size_t i = 0; i < x->scopes; i++) {
        Scope *scope = &x->scope[i];
        if (scope->period.months != period.months) continue;
        return scope->days >> (day.days - period_first(period).days) & 1 ? scope : NULL;
    }
    return NULL;
}

// ---- what differs ----
// The invoice that came after this one and since which the day's minutes are what they are now.
static Str settled_by(const Explained *x, Period period, Str size, int32_t day, int64_t minutes)
{
    Str number = {0};
    for (size_t i = 0; i < x->bases; i++) {
        const Basis *basis = &x->basis[i];
        if (basis->period.months != period.months || basis->place <= x->place) continue;
        if (basis->voided_place) continue;
        if (use_on(&basis->in, size, day).minutes != minutes) number = (Str){0};
        else if (str_absent(number)) number = basis->number;
    }
    return number;
}

size_t explain_differences(const Explained *x, DifferenceFn each, void *context)
{
    size_t count = 0;
    for (size_t i = 0; i < x->scopes; i++) {
        const Scope *scope = &x->scope[i];
        for (int32_t day = 0; day < RATE_DAYS_MAX; day++)
            for (int size = 0; size < x->catalog->sizes; size++) {
                int64_t kept = (*scope->kept)[day][size], made = (*scope->made)[day][size];
                if (kept == made || !(scope->days >> day & 1)) continue;
                count++;
                if (!each) continue;
                Str name = str(x->catalog->size_names[size]);
                each(context, &(Difference){
                                  .day = day_add(period_first(scope->period), day),
                                  .size = name,
                                  .kept = kept,
                                  .made = made,
                                  .settled_by = settled_by(x, scope->period, name, day, made),
                              });
            }
    }
    return count;
}

// ---- loading ----
Status explain_load(Db *db, const Catalog *catalog, Str number, Arena *arena, Explained **out,
                    Error *error)
{
    Explained *x = arena_alloc(arena, sizeof *x);
    *x = (Explained){.catalog = catalog, .arena = arena};
    TRY(invoice_load(db, number, arena, &x->invoice, error));
    TRY(read_kept(db, x, error));
    TRY(choose_horizon(db, x, error));
    TRY(rate_again(x, error));
    TRY(read_bases(db, x, error));
    read_adjustments(x);
    TRY(choose_scopes(x, error));
    *out = x;
    return ST_OK;
}

// ---- numbers ----
int64_t segment_days(const RateSegment *segment) { return segment->to.days - segment->from.days; }
int64_t period_days(Period period) { return period_end(period).days - period_first(period).days; }

const RateSegment *line_segment(const RateInput *in, const Line *line)
{
    size_t i = 0;
    while (i + 1 < in->segments && in->segment[i].to.days <= line->from.days) i++;
    return &in->segment[i];
}

RateDay segment_sums(const RateInput *in, const Rating *rating, const RateSegment *segment)
{
    RateDay sum = {.segment = (size_t)(segment - in->segment)};
    for (size_t i = 0; i < rating->days; i++) {
        const RateDay *day = &rating->day[i];
        if (day->segment != sum.segment) continue;
        sum.used = cm_add(sum.used, day->used);
        sum.pooled = cm_add(sum.pooled, day->pooled);
        sum.granted = cm_add(sum.granted, day->granted);
        sum.bought = cm_add(sum.bought, day->bought);
    }
    return sum;
}

Cents lines_before(const Rating *rating, const Line *line)
{
    Cents sum = {0};
    for (const Line *at = rating->line; at < line; at++) sum = cents_add(sum, at->amount);
    return sum;
}

Cents minimum_of(const RateInput *in)
{
    Cents sum = {0};
    for (size_t i = 0; i < in->segments; i++) {
        const RateSegment *segment = &in->segment[i];
        if (!segment->active) continue;
        sum = cents_add(
            sum, cents_share(segment->minimum, segment_days(segment), period_days(in->period)));
    }
    return sum;
}

bool line_product(const RateInput *in, const Rating *rating, const Line *line, Wide *numerator,
                  Wide *denominator)
{
    const RateSegment *segment = line_segment(in, line);
    Wide bought = segment_sums(in, rating, segment).bought.cm;
    switch (line->kind) {
    case LINE_BASE_FEE:
        *numerator = (Wide)segment->base_fee.cents * segment_days(segment);
        *denominator = (Wide)100 * period_days(in->period);
        return true;
    case LINE_CREDITS:
        *numerator = bought * segment->price.e12;
        *denominator = (Wide)60 * PRICE_E12;
        return true;
    case LINE_DISCOUNT:
        *numerator = -bought * segment->price.e12 * segment->discount_bps;
        *denominator = (Wide)60 * PRICE_E12 * 10000;
        return true;
    case LINE_TAX:
        *numerator = (Wide)lines_before(rating, line).cents * in->tax_rate_bps;
        *denominator = (Wide)100 * 10000;
        return true;
    case LINE_MINIMUM:
    case LINE_ADJUSTMENT:
    case LINE_GRANT:
    case LINE_CARRY_FORWARD: break;
    }
    return false;
}

char *exact_format(Wide numerator, Wide denominator, char out[static EXACT_TEXT], bool *cut)
{
    bool negative = numerator < 0;
    if (negative) numerator = -numerator;
    Wide rest = numerator % denominator;
    Wide whole = numerator / denominator;
    ASSERT(whole <= INT64_MAX);
    int n = snprintf(out, EXACT_TEXT, "%s%" PRId64, negative ? "-" : "", (int64_t)whole);
    ASSERT(n > 0 && n + 1 + EXACT_PLACES < EXACT_TEXT);
    if (rest) out[n++] = '.';
    for (int place = 0; place < EXACT_PLACES && rest; place++) {
        rest *= 10;
        out[n++] = (char)('0' + (int)(rest / denominator));
        rest %= denominator;
    }
    out[n] = '\0';
    if (cut) *cut = rest != 0;
    return out;
}
