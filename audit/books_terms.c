// SPDX-License-Identifier: Apache-2.0
// What an invoice keeps against what it was made from: the account and the catalogue of the
// revisions that it names, and what had been charged and drawn before it. Only its minutes are
// taken as they are; those are compared with the events, with all that is known now.
#include "audit/books.h"

#include <inttypes.h>
#include <stdio.h>

enum { VALUE_TEXT = 80 };

// The first thing in which what is kept differs.
typedef struct Difference {
    const char *member; // NULL: nothing
    char kept[VALUE_TEXT], right[VALUE_TEXT];
} Difference;

static void differ(Difference *d, const char *member, const char *kept, const char *right)
{
    if (d->member) return;
    d->member = member;
    snprintf(d->kept, sizeof d->kept, "%s", kept);
    snprintf(d->right, sizeof d->right, "%s", right);
}

static void compare_text(Difference *d, const char *member, Str kept, Str right)
{
    char a[VALUE_TEXT], b[VALUE_TEXT];
    if (str_equal(kept, right)) return;
    snprintf(a, sizeof a, "%.*s", (int)kept.n, kept.p ? kept.p : "");
    snprintf(b, sizeof b, "%.*s", (int)right.n, right.p ? right.p : "");
    differ(d, member, a, b);
}

static void compare_int(Difference *d, const char *member, int64_t kept, int64_t right)
{
    char a[VALUE_TEXT], b[VALUE_TEXT];
    if (kept == right) return;
    snprintf(a, sizeof a, "%" PRId64, kept);
    snprintf(b, sizeof b, "%" PRId64, right);
    differ(d, member, a, b);
}

static void compare_cents(Difference *d, const char *member, Cents kept, Cents right)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    if (kept.cents != right.cents) differ(d, member, cents_format(kept, a), cents_format(right, b));
}

static void compare_day(Difference *d, const char *member, Day kept, Day right)
{
    char a[DAY_TEXT], b[DAY_TEXT];
    if (kept.days != right.days) differ(d, member, day_format(kept, a), day_format(right, b));
}

static void compare_segment(Difference *d, const RateSegment *kept, const RateSegment *right)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    compare_day(d, "first day of a segment", kept->from, right->from);
    compare_day(d, "end of a segment", kept->to, right->to);
    compare_day(d, "version of the catalogue", kept->version, right->version);
    compare_text(d, "plan", kept->plan, right->plan);
    compare_int(d, "plan's being in force", kept->active, right->active);
    if (kept->price.e12 != right->price.e12)
        differ(d, "credit price", price_format(kept->price, a), price_format(right->price, b));
    compare_cents(d, "base fee", kept->base_fee, right->base_fee);
    compare_cents(d, "monthly minimum", kept->minimum, right->minimum);
    compare_int(d, "included credit-minutes", kept->included.cm, right->included.cm);
    compare_int(d, "discount in basis points", kept->discount_bps, right->discount_bps);
}

static void compare_usage(Difference *d, const RateUsage *kept, const RateUsage *right)
{
    compare_text(d, "used size", kept->size, right->size);
    compare_int(d, "credits per hour of a size", kept->credits_per_hour, right->credits_per_hour);
    for (size_t day = 0; day < RATE_DAYS_MAX; day++)
        compare_int(d, "minutes of a day", kept->minutes[day], right->minutes[day]);
}

static void compare_grant(Difference *d, const RateGrant *kept, const RateGrant *right)
{
    const Grant *a = &kept->grant, *b = &right->grant;
    compare_text(d, "grant", a->id, b->id);
    compare_int(d, "grant's unit (0 credit, 1 usd)", a->unit, b->unit);
    compare_int(d, "grant's amount", a->amount, b->amount);
    compare_int(d, "grant's priority", a->priority, b->priority);
    compare_day(d, "grant's first day", a->from, b->from);
    compare_day(d, "grant's expiry", a->expires, b->expires);
    compare_int(d, "grant's being carried forward", a->carried, b->carried);
    compare_int(d, "grant's balance", kept->balance, right->balance);
}

static void compare_inputs(Difference *d, const RateInput *kept, const RateInput *right)
{
    compare_int(d, "tax rate in basis points", kept->tax_rate_bps, right->tax_rate_bps);
    for (size_t i = 0; i < kept->segments && i < right->segments; i++)
        compare_segment(d, &kept->segment[i], &right->segment[i]);
    compare_int(d, "number of segments", (int64_t)kept->segments, (int64_t)right->segments);
    for (size_t i = 0; i < kept->usages && i < right->usages; i++)
        compare_usage(d, &kept->usage[i], &right->usage[i]);
    compare_int(d, "number of used sizes", (int64_t)kept->usages, (int64_t)right->usages);
    for (size_t i = 0; i < kept->grants && i < right->grants; i++)
        compare_grant(d, &kept->grant[i], &right->grant[i]);
    compare_int(d, "number of grants", (int64_t)kept->grants, (int64_t)right->grants);
}

// ---- one invoice ----
typedef struct TermsCheck {
    Ledger *ledger;
    const Stored *stored;
    Revisions at;
    Matter matter;
    Error *error;
} TermsCheck;

// The kept minutes by day and size; false where the catalogue lacks a size.
static bool cells_of(const TermsCheck *c, const RateInput *kept, DayUsage **cells, size_t *count)
{
    Day first = period_first(kept->period);
    *cells = arena_alloc(c->ledger->arena, (kept->usages * RATE_DAYS_MAX + 1) * sizeof **cells);
    *count = 0;
    for (int32_t day = 0; day < RATE_DAYS_MAX; day++) {
        for (size_t i = 0; i < kept->usages; i++) {
            SizeNo size = catalog_size(c->at.catalog, kept->usage[i].size);
            if (size == SIZE_NONE) return false;
            if (kept->usage[i].minutes[day] == 0) continue;
            (*cells)[(*count)++] = (DayUsage){
                .day = day_add(first, day), .size = size, .minutes = kept->usage[i].minutes[day]};
        }
    }
    return true;
}

// What is left of a grant before this invoice. What credit grants had given is drawn anew where a
// closing adjusts, so that only what is kept says it; check_credit looks at that.
static int64_t balance_of(const TermsCheck *c, const RateInput *kept, const Grant *grant)
{
    if (grant->unit == GRANT_USD) {
        int64_t left = grant->amount - ledger_grant(c->ledger, grant->id, GRANT_USD)->drawn;
        return left > 0 ? left : 0;
    }
    for (size_t i = 0; i < kept->grants; i++)
        if (str_equal(kept->grant[i].grant.id, grant->id) &&
            kept->grant[i].balance <= grant->amount)
            return kept->grant[i].balance;
    return grant->amount;
}

static GrantList grants_at(const TermsCheck *c, const RateInput *kept, bool usd)
{
    const Ledger *ledger = c->ledger;
    GrantList all = grants_of(c->at.account, c->at.catalog, ledger->carries, ledger->arena);
    for (size_t i = 0; i < ledger->carries; i++) {
        const CarrySum *carry = &ledger->carry[i];
        if (carry->standing)
            all.grant[all.count++] = grant_carried(carry->number, carry->from, carry->amount,
                                                   ledger->arena);
    }
    GrantList list = {.grant = all.grant};
    for (size_t i = 0; i < all.count; i++) {
        RateGrant *grant = &all.grant[i];
        if (grant->grant.unit == GRANT_USD && !usd) continue;
        grant->balance = balance_of(c, kept, &grant->grant);
        list.grant[list.count++] = *grant;
    }
    return list;
}

static Status check_inputs(const TermsCheck *c, const RateInput *kept, bool usd, const char *whose)
{
    DayUsage *cells = NULL;
    size_t count = 0;
    int64_t account = c->at.account->revision, catalog = c->at.catalog->revision;
    if (!cells_of(c, kept, &cells, &count))
        return matter_find(&c->matter, c->error,
                           "%sit has usage of a size that revision %" PRId64
                           " of the catalogue, by which it was rated, lacks",
                           whose, catalog);
    GrantList grants = grants_at(c, kept, usd);
    RateInput right;
    rate_input(c->at.account, c->at.catalog, kept->period, cells, count, grants.grant, grants.count,
               c->ledger->arena, &right);
    Difference d = {0};
    compare_inputs(&d, kept, &right);
    if (!d.member) return ST_OK;
    return matter_find(&c->matter, c->error,
                       "%sit was rated with %s %s; by revision %" PRId64
                       " of the account, revision %" PRId64
                       " of the catalogue and what was issued before, it is %s",
                       whose, d.member, d.kept, account, catalog, d.right);
}

// ---- credit grants ----
static int64_t drawn_with(const TermsCheck *c, Str grant)
{
    int64_t drawn = ledger_grant(c->ledger, grant, GRANT_CREDIT)->drawn;
    for (size_t i = 0; i < c->stored->draws; i++) {
        const StoredDraw *draw = &c->stored->draw[i];
        if (draw->unit == GRANT_CREDIT && str_equal(draw->grant, grant)) drawn += draw->amount;
    }
    return drawn;
}

// Whether the invoice is of the account's last closed period, and no other is open again.
static bool is_in_order(const TermsCheck *c)
{
    const Ledger *ledger = c->ledger;
    for (size_t i = 0; i < ledger->periods; i++)
        if (ledger->period[i].open) return false;
    for (size_t i = 0; i < ledger->issues; i++) // closed for the second time
        if (ledger->issue[i].stored.invoice.period.months == c->stored->in.period.months)
            return false;
    return true;
}

// What was drawn from credit grants up to this invoice is what was gone from them before its
// period, and what the period took; so it is where the periods were closed in their order. Else a
// grant has at least no more drawn from it than it gives.
static Status check_drawn(const TermsCheck *c, const Rating *rated, const Grant *grant,
                          bool in_order)
{
    const RateInput *in = &c->stored->in;
    Matter matter = c->matter;
    matter.check = "grants";
    int64_t drawn = drawn_with(c, grant->id), right = drawn;
    if (in_order && grant->from.days >= period_end(in->period).days) right = 0;
    for (size_t i = 0; in_order && i < in->grants; i++)
        if (in->grant[i].grant.unit == GRANT_CREDIT && str_equal(in->grant[i].grant.id, grant->id))
            right = grant->amount - in->grant[i].balance + rated->drawn[i];
    if (right < 0) right = 0;
    if (right > grant->amount) right = grant->amount;
    if (drawn == right) return ST_OK;
    return matter_find(&matter, c->error,
                       "up to it %" PRId64
                       " credit-minutes of the grant %.*s were drawn; by what it "
                       "keeps it should be %" PRId64,
                       drawn, (int)grant->id.n, grant->id.p, right);
}

static Status check_credit(const TermsCheck *c, const Rating *rated)
{
    GrantList list = grants_of(c->at.account, c->at.catalog, 0, c->ledger->arena);
    bool in_order = is_in_order(c);
    for (size_t i = 0; i < list.count; i++)
        if (list.grant[i].grant.unit == GRANT_CREDIT)
            TRY(check_drawn(c, rated, &list.grant[i].grant, in_order));
    for (size_t k = 0; k < c->stored->draws; k++) {
        const StoredDraw *draw = &c->stored->draw[k];
        bool known = draw->unit != GRANT_CREDIT;
        for (size_t i = 0; i < list.count && !known; i++)
            known = list.grant[i].grant.unit == GRANT_CREDIT &&
                    str_equal(list.grant[i].grant.id, draw->grant);
        const Grant none = {.id = draw->grant};
        if (!known) TRY(check_drawn(c, rated, &none, false));
    }
    return ST_OK;
}

static Status check_adjustments(const TermsCheck *c, const Rating *rated)
{
    const RateInput *in = &c->stored->in;
    char period[PERIOD_TEXT], whose[64], a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    for (size_t i = 0; i < in->adjustments; i++) {
        const RateAdjustment *adjustment = &in->adjustment[i];
        const PeriodSum *sum = ledger_period(c->ledger, adjustment->period);
        bool own = adjustment->period.months == in->period.months;
        period_format(adjustment->period, period);
        if (!sum || (sum->open && !own)) {
            TRY(matter_find(&c->matter, c->error, "it adjusts %s, which was not closed then",
                            period));
            continue;
        }
        Cents charged = own ? cents_add(sum->charged, rated->own) : sum->charged;
        if (adjustment->charged.cents != charged.cents)
            TRY(matter_find(
                &c->matter, c->error,
                "it adjusts %s as if %s had been charged; what was issued before comes to %s",
                period, cents_format(adjustment->charged, a), cents_format(charged, b)));
        snprintf(whose, sizeof whose, "in its adjustment of %s ", period);
        TRY(check_inputs(c, adjustment->rated, false, whose));
    }
    return ST_OK;
}

static Status check_revisions(const TermsCheck *c, bool *there)
{
    const Kept *kept = &c->stored->kept;
    *there = false;
    if (!c->at.account)
        return matter_find(&c->matter, c->error,
                           "it was rated by revision %" PRId64
                           " of the account, which is not there or cannot be read",
                           kept->account_revision);
    if (!c->at.catalog)
        return matter_find(&c->matter, c->error,
                           "it was rated by revision %" PRId64
                           " of the catalogue, which is not there or cannot be read",
                           kept->catalog_revision);
    if (account_check_plans(c->at.account, c->at.catalog, NULL) != ST_OK)
        return matter_find(&c->matter, c->error,
                           "it was rated by revision %" PRId64
                           " of the account, which has a plan that revision %" PRId64
                           " of the catalogue lacks",
                           kept->account_revision, kept->catalog_revision);
    *there = true;
    return ST_OK;
}

Status books_terms(Ledger *ledger, const Stored *stored, const Rating *rated, Revisions at,
                   Error *error)
{
    TermsCheck check = {.ledger = ledger,
                        .stored = stored,
                        .at = at,
                        .matter = {.audit = ledger->audit,
                                   .check = "terms",
                                   .account = ledger->account,
                                   .subject = stored->invoice.number},
                        .error = error};
    bool there;
    TRY(check_revisions(&check, &there));
    if (!there) return ST_OK;
    Str name = stored->invoice.name, right = at.account->name;
    if (!str_equal(name, right))
        TRY(matter_find(&check.matter, error,
                        "it is to %.*s; revision %" PRId64 " of the account is %.*s", (int)name.n,
                        name.p, at.account->revision, (int)right.n, right.p));
    TRY(check_inputs(&check, &stored->in, true, ""));
    TRY(check_credit(&check, rated));
    return check_adjustments(&check, rated);
}
