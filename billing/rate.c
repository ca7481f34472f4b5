// SPDX-License-Identifier: Apache-2.0
// The steps stand in their order, one function each; `Work` is what they hand on.
#include "billing/rate.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct Work {
    const RateInput *in;
    Arena *arena;
    Rating *out;
    CreditMinutes bought[RATE_DAYS_MAX]; // per segment
    Day first, end;                      // of the period
    int64_t days;
    Cents due; // the lines so far
} Work;

static const char *const KIND_NAMES[] = {
    [LINE_BASE_FEE] = "base_fee",           [LINE_CREDITS] = "credits",
    [LINE_DISCOUNT] = "discount",           [LINE_MINIMUM] = "minimum",
    [LINE_ADJUSTMENT] = "adjustment",       [LINE_GRANT] = "grant",
    [LINE_CARRY_FORWARD] = "carry_forward", [LINE_TAX] = "tax",
};

const char *line_kind_name(LineKind kind) { return KIND_NAMES[kind]; }

bool line_kind_parse(Str name, LineKind *out)
{
    for (size_t i = 0; i < sizeof KIND_NAMES / sizeof *KIND_NAMES; i++) {
        if (!str_is(name, KIND_NAMES[i])) continue;
        *out = (LineKind)i;
        return true;
    }
    return false;
}

// ---- the input ----
static RateSegment segment_of(const Account *account, const Catalog *catalog, Standing standing,
                              Day day)
{
    const CatalogVersion *version = catalog_on(catalog, day);
    Terms terms = account_terms(account, catalog, standing.subscription, day);
    return (RateSegment){
        .from = day,
        .to = day_add(day, 1),
        .version = version->from,
        .plan = account->subscription[standing.subscription].plan,
        .active = standing.active,
        .price = version->credit_price,
        .base_fee = terms.base_fee,
        .minimum = terms.monthly_minimum,
        .included = terms.included,
        .discount_bps = terms.credit_discount_bps,
    };
}

static void cut_segments(const Account *account, const Catalog *catalog, Arena *arena,
                         RateInput *out)
{
    RateSegment cut[RATE_DAYS_MAX];
    Day end = period_end(out->period);
    int mark = 0, version = 0;
    for (Day day = period_first(out->period); day.days < end.days; day = day_add(day, 1)) {
        Standing standing = account_standing(account, day);
        int on = catalog_version_index(catalog, day);
        if (out->segments > 0 && standing.mark == mark && on == version) {
            cut[out->segments - 1].to = day_add(day, 1);
            continue;
        }
        cut[out->segments++] = segment_of(account, catalog, standing, day);
        mark = standing.mark;
        version = on;
    }
    out->segment = arena_alloc(arena, out->segments * sizeof *out->segment);
    memcpy(out->segment, cut, out->segments * sizeof *cut);
}

// Cells come by day and size; a size whose rate changes within the period takes a row for each
// rate.
static void gather_usage(const Catalog *catalog, const DayUsage *cells, size_t count, Arena *arena,
                         RateInput *out)
{
    size_t row_of[CATALOG_SIZES_MAX] = {0}; // plus one
    size_t room = 0;
    SizeNo *sizes = NULL;
    int32_t first = period_first(out->period).days;
    for (size_t i = 0; i < count; i++) {
        const DayUsage *cell = &cells[i];
        int32_t day = cell->day.days - first;
        ASSERT(day >= 0 && day < RATE_DAYS_MAX);
        int32_t rate = catalog_on(catalog, cell->day)->sizes[cell->size].credits_per_hour;
        size_t row = row_of[cell->size];
        if (row == 0 || out->usage[row - 1].credits_per_hour != rate) {
            if (out->usages == room) {
                size_t larger = room ? 2 * room : 2;
                RateUsage *usage = arena_alloc(arena, larger * sizeof *usage);
                SizeNo *numbers = arena_alloc(arena, larger * sizeof *numbers);
                if (room) memcpy(usage, out->usage, room * sizeof *usage);
                if (room) memcpy(numbers, sizes, room * sizeof *numbers);
                out->usage = usage;
                sizes = numbers;
                room = larger;
            }
            ASSERT(sizes);
            sizes[out->usages] = cell->size;
            out->usage[out->usages++] = (RateUsage){.size = str(catalog->size_names[cell->size]),
                                                    .credits_per_hour = rate};
            row = row_of[cell->size] = out->usages;
        }
        out->usage[row - 1].minutes[day] += cell->minutes;
    }
    for (size_t i = 1; sizes && i < out->usages; i++) { // few rows; stable: dates stay in order
        for (size_t j = i; j > 0 && sizes[j - 1] > sizes[j]; j--) {
            RateUsage usage = out->usage[j];
            SizeNo size = sizes[j];
            out->usage[j] = out->usage[j - 1];
            sizes[j] = sizes[j - 1];
            out->usage[j - 1] = usage;
            sizes[j - 1] = size;
        }
    }
}

static int compare_grants(const void *a, const void *b)
{
    return grant_compare(&((const RateGrant *)a)->grant, &((const RateGrant *)b)->grant);
}

void rate_input(const Account *account, const Catalog *catalog, Period period,
                const DayUsage *cells, size_t cell_count, const RateGrant *grants,
                size_t grant_count, Arena *arena, RateInput *out)
{
    *out = (RateInput){.period = period, .tax_rate_bps = account->tax_rate_bps};
    cut_segments(account, catalog, arena, out);
    gather_usage(catalog, cells, cell_count, arena, out);
    int32_t first = period_first(period).days, end = period_end(period).days;
    out->grant = arena_alloc(arena, (grant_count + 1) * sizeof *out->grant);
    for (size_t i = 0; i < grant_count; i++) {
        const Grant *grant = &grants[i].grant;
        if (grant->from.days < end && grant->expires.days > first)
            out->grant[out->grants++] = grants[i];
    }
    if (out->grants > 1) qsort(out->grant, out->grants, sizeof *out->grant, compare_grants);
}

// ---- lines ----
static PRINTF(2, 3) Str describe(Arena *arena, const char *format, ...)
{
    char text[RATE_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ASSERT(n >= 0);
    size_t length = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if ((size_t)n >= sizeof text) // cut before the byte that begins a character
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
    return arena_copy(arena, (Str){text, length});
}

// A line over the whole period; NULL where the amount is 0 and its kind is then left out.
static Line *add_line(Work *w, LineKind kind, Cents amount)
{
    if (amount.cents == 0 && kind != LINE_CREDITS && kind != LINE_DISCOUNT) return NULL;
    Line *line = &w->out->line[w->out->lines++];
    *line = (Line){.kind = kind, .amount = amount, .from = w->first, .to = w->end};
    w->due = cents_add(w->due, amount);
    return line;
}

static Line *add_segment_line(Work *w, LineKind kind, Cents amount, const RateSegment *segment)
{
    Line *line = add_line(w, kind, amount);
    if (line) line->from = segment->from;
    if (line) line->to = segment->to;
    return line;
}

static const char *trimmed(char *decimal)
{
    char *end = decimal + strlen(decimal);
    if (!strchr(decimal, '.')) return decimal;
    while (end[-1] == '0') *--end = '\0';
    if (end[-1] == '.') end[-1] = '\0';
    return decimal;
}

// "70,900": credits without the zeros that end the fraction.
static const char *credits_words(CreditMinutes amount, char out[static AMOUNT_TEXT])
{
    char plain[AMOUNT_TEXT];
    credits_format(amount, plain);
    trimmed(plain);
    return amount_group(plain, out);
}

// "12.5": hundredths of a percent.
static const char *percent_words(int64_t bps, char out[static AMOUNT_TEXT])
{
    cents_format((Cents){bps}, out);
    return trimmed(out);
}

static int64_t days_in(const RateSegment *segment) { return segment->to.days - segment->from.days; }

// ---- step 1 ----
static void base_fee(Work *w)
{
    for (size_t i = 0; i < w->in->segments; i++) {
        const RateSegment *segment = &w->in->segment[i];
        if (!segment->active) continue;
        int64_t n = days_in(segment);
        Line *line = add_segment_line(w, LINE_BASE_FEE, cents_share(segment->base_fee, n, w->days),
                                      segment);
        if (!line) continue;
        char first = segment->plan.n ? segment->plan.p[0] : '?';
        if (first >= 'a' && first <= 'z') first = (char)(first - 'a' + 'A');
        int rest = segment->plan.n ? (int)segment->plan.n - 1 : 0;
        line->description = describe(w->arena, "%c%.*s plan, %d of %d days", first, rest,
                                     segment->plan.n ? segment->plan.p + 1 : "", (int)n,
                                     (int)w->days);
    }
}

// ---- step 2 ----
static void allowance(Work *w)
{
    CreditMinutes pool = {0};
    for (size_t i = 0; i < w->in->segments; i++) {
        const RateSegment *segment = &w->in->segment[i];
        if (!segment->active) continue;
        Wide share = (Wide)segment->included.cm * days_in(segment);
        pool = cm_add(pool, (CreditMinutes){round_div(share, w->days)});
    }
    w->out->included = pool;
}

// ---- step 3 ----
static CreditMinutes used_on(const RateInput *in, int64_t day)
{
    Wide sum = 0;
    for (size_t i = 0; i < in->usages; i++)
        sum += (Wide)in->usage[i].minutes[day] * in->usage[i].credits_per_hour;
    return (CreditMinutes){round_div(sum, 1)};
}

static CreditMinutes take_grants(Work *w, Day day, CreditMinutes due)
{
    for (size_t i = 0; i < w->in->grants && due.cm > 0; i++) {
        const RateGrant *from = &w->in->grant[i];
        if (from->grant.unit != GRANT_CREDIT) continue;
        if (day.days < from->grant.from.days || day.days >= from->grant.expires.days) continue;
        CreditMinutes taken = cm_min(due, (CreditMinutes){from->balance - w->out->drawn[i]});
        w->out->drawn[i] += taken.cm;
        due = cm_sub(due, taken);
    }
    return due;
}

static void burn_down(Work *w)
{
    Rating *out = w->out;
    CreditMinutes pool = out->included;
    size_t segment = 0;
    for (int32_t i = 0; i < w->days; i++) {
        Day today = day_add(w->first, i);
        while (today.days >= w->in->segment[segment].to.days) segment++;
        RateDay *day = &out->day[i];
        day->segment = segment;
        day->used = used_on(w->in, i);
        day->pooled = cm_min(day->used, pool);
        pool = cm_sub(pool, day->pooled);
        CreditMinutes due = cm_sub(day->used, day->pooled);
        day->bought = take_grants(w, today, due);
        day->granted = cm_sub(due, day->bought);
        out->granted = cm_add(out->granted, day->granted);
        out->purchased = cm_add(out->purchased, day->bought);
        w->bought[segment] = cm_add(w->bought[segment], day->bought);
    }
}

// ---- step 4 ----
static void credits(Work *w)
{
    for (size_t i = 0; i < w->in->segments; i++) {
        const RateSegment *segment = &w->in->segment[i];
        CreditMinutes bought = w->bought[i];
        if (bought.cm == 0) continue;
        char amount[AMOUNT_TEXT], price[AMOUNT_TEXT];
        const char *words = credits_words(bought, amount);
        Line *line = add_segment_line(w, LINE_CREDITS, price_of(bought, segment->price), segment);
        line->priced = true;
        line->quantity = bought;
        line->price = segment->price;
        line->description = describe(w->arena, "%s credits at $%s", words,
                                     price_format(segment->price, price));
        if (segment->discount_bps == 0) continue;
        Cents less = price_share_of(bought, segment->price, segment->discount_bps);
        line = add_segment_line(w, LINE_DISCOUNT, cents_negate(less), segment);
        line->description = describe(w->arena, "Discount of %s%% on %s credits",
                                     percent_words(segment->discount_bps, price), words);
    }
}

// ---- step 5 ----
static void minimum(Work *w)
{
    Cents least = {0};
    for (size_t i = 0; i < w->in->segments; i++) {
        const RateSegment *segment = &w->in->segment[i];
        if (segment->active)
            least = cents_add(least, cents_share(segment->minimum, days_in(segment), w->days));
    }
    if (least.cents <= 0 || w->due.cents >= least.cents) return;
    char plain[AMOUNT_TEXT], grouped[AMOUNT_TEXT];
    Line *line = add_line(w, LINE_MINIMUM, cents_sub(least, w->due));
    line->description = describe(w->arena, "Up to the minimum of $%s",
                                 amount_group(cents_format(least, plain), grouped));
}

// ---- step 6 ----
static void adjustments(Work *w)
{
    for (size_t i = 0; i < w->in->adjustments; i++) {
        const RateAdjustment *adjustment = &w->in->adjustment[i];
        Line *line = add_line(w, LINE_ADJUSTMENT, adjustment->amount);
        if (!line) continue;
        char text[PERIOD_TEXT];
        line->adjusted = adjustment->period;
        line->description = describe(w->arena, "Adjustment of %s",
                                     period_format(adjustment->period, text));
    }
}

// ---- step 7 ----
static Str grant_words(Arena *arena, Str id)
{
    if (str_is(id, "signup")) return STR("Sign-up credit");
    Str carry = STR("carry:");
    if (id.n > carry.n && memcmp(id.p, carry.p, carry.n) == 0)
        return describe(arena, "Carried forward from %.*s", (int)(id.n - carry.n), id.p + carry.n);
    return describe(arena, "Grant %.*s", (int)id.n, id.p);
}

static void usd_grants(Work *w)
{
    for (size_t i = 0; i < w->in->grants && w->due.cents > 0; i++) {
        const RateGrant *from = &w->in->grant[i];
        if (from->grant.unit != GRANT_USD || from->balance <= 0) continue;
        int64_t taken = from->balance < w->due.cents ? from->balance : w->due.cents;
        Line *line = add_line(w, LINE_GRANT, (Cents){-taken});
        line->grant = from->grant.id;
        line->description = grant_words(w->arena, from->grant.id);
        w->out->drawn[i] = taken;
    }
}

// ---- step 8 ----
static void carry_forward(Work *w)
{
    if (w->due.cents >= 0) return;
    w->out->carried = cents_negate(w->due);
    Line *line = add_line(w, LINE_CARRY_FORWARD, w->out->carried);
    line->description = STR("Carried forward to the next invoice");
}

// ---- step 9 ----
static void tax(Work *w)
{
    int64_t bps = w->in->tax_rate_bps;
    char percent[AMOUNT_TEXT];
    Line *line = add_line(w, LINE_TAX, cents_share(w->due, bps, 10000));
    if (line) line->description = describe(w->arena, "Tax of %s%%", percent_words(bps, percent));
}

// ---- what was used ----
static void sum_usage(Work *w)
{
    const RateInput *in = w->in;
    Rating *out = w->out;
    out->usage = arena_alloc(w->arena, (in->usages + 1) * sizeof *out->usage);
    for (size_t i = 0; i < in->usages; i++) {
        const RateUsage *row = &in->usage[i];
        int64_t minutes = 0;
        for (int64_t day = 0; day < w->days; day++)
            ASSERT(!__builtin_add_overflow(minutes, row->minutes[day], &minutes));
        if (out->usages == 0 || !str_equal(out->usage[out->usages - 1].size, row->size))
            out->usage[out->usages++] = (SizeUsage){.size = row->size};
        SizeUsage *size = &out->usage[out->usages - 1];
        size->minutes += minutes;
        CreditMinutes cm = {round_div((Wide)minutes * row->credits_per_hour, 1)};
        size->cm = cm_add(size->cm, cm);
    }
}

void rate(const RateInput *in, Arena *arena, Rating *out)
{
    *out = (Rating){0};
    Work w = {.in = in, .arena = arena, .out = out};
    w.first = period_first(in->period);
    w.end = period_end(in->period);
    w.days = w.end.days - w.first.days;
    ASSERT(in->segments > 0 && in->segments <= RATE_DAYS_MAX && w.days <= RATE_DAYS_MAX);
    out->days = (size_t)w.days;
    size_t lines_max = 3 * in->segments + in->adjustments + in->grants + 3;
    out->line = arena_alloc(arena, lines_max * sizeof *out->line);
    out->drawn = arena_alloc(arena, (in->grants + 1) * sizeof *out->drawn);
    sum_usage(&w);
    base_fee(&w);
    allowance(&w);
    burn_down(&w);
    credits(&w);
    minimum(&w);
    out->own = w.due;
    adjustments(&w);
    out->subtotal = w.due;
    usd_grants(&w);
    carry_forward(&w);
    tax(&w);
    out->total = w.due;
    out->to_issue = out->usages > 0 || out->lines > 0;
}

void rate_draw(const RateInput *in, const Rating *rating, RateGrant *grants, size_t grant_count)
{
    for (size_t i = 0; i < in->grants; i++) {
        if (rating->drawn[i] == 0) continue;
        for (size_t g = 0; g < grant_count; g++)
            if (str_equal(grants[g].grant.id, in->grant[i].grant.id))
                grants[g].balance -= rating->drawn[i];
    }
}
