// SPDX-License-Identifier: Apache-2.0
#include "billing/settle.h"

typedef struct Work {
    const Settling *s;
    size_t target;  // the period to be billed
    GrantList left; // credit grants, as the periods before have left them
    int64_t *drawn; // from each of them, by closed periods and the target
    Arena *arena;   // for what is kept
    Arena *scratch; // for one period
    RateAdjustment *adjustment;
    size_t adjustments;
    Settled *out;
} Work;

// ---- grants ----
// The credit grants with their full amounts.
static GrantList credit_grants(const GrantList *grants, Arena *arena)
{
    GrantList list = {.grant = arena_alloc(arena, (grants->count + 1) * sizeof *list.grant)};
    for (size_t i = 0; i < grants->count; i++) {
        const Grant *grant = &grants->grant[i].grant;
        if (grant->unit != GRANT_CREDIT) continue;
        list.grant[list.count++] = (RateGrant){.grant = *grant, .balance = grant->amount};
    }
    return list;
}

// What is left of them, and of the usd grants.
static GrantList with_usd(const Work *w)
{
    const GrantList *grants = &w->s->grants;
    GrantList list = {.grant = arena_alloc(w->arena, (grants->count + 1) * sizeof *list.grant)};
    for (; list.count < w->left.count; list.count++)
        list.grant[list.count] = w->left.grant[list.count];
    for (size_t i = 0; i < grants->count; i++)
        if (grants->grant[i].grant.unit == GRANT_USD) list.grant[list.count++] = grants->grant[i];
    return list;
}

static void draw_credit(Work *w, const RateInput *in, const Rating *rating, bool counts)
{
    for (size_t i = 0; i < in->grants; i++) {
        if (rating->drawn[i] == 0) continue;
        size_t g = 0;
        while (!str_equal(w->left.grant[g].grant.id, in->grant[i].grant.id)) g++;
        w->left.grant[g].balance -= rating->drawn[i];
        if (counts) w->drawn[g] += rating->drawn[i];
    }
}

// ---- one period ----
static void input_of(const Work *w, size_t index, const GrantList *grants, Arena *arena,
                     RateInput *out)
{
    const SettlePeriod *p = &w->s->period[index];
    Period period = {w->s->first.months + (int32_t)index};
    rate_input(w->s->account, w->s->catalog, period, p->cell, p->cells, grants->grant,
               grants->count, arena, out);
    out->horizon = w->s->horizon;
}

// `due` is what the period comes to; the target's own lines are charged by the invoice itself.
static void adjust(Work *w, size_t index, Cents due)
{
    Cents charged = w->s->period[index].charged;
    if (index == w->target) charged = cents_add(charged, due);
    Cents amount = cents_sub(due, charged);
    if (amount.cents == 0) return;
    RateInput *rated = arena_alloc(w->arena, sizeof *rated);
    input_of(w, index, &w->left, w->arena, rated);
    w->adjustment[w->adjustments++] = (RateAdjustment){
        .period = rated->period, .amount = amount, .charged = charged, .due = due, .rated = rated};
}

static void rate_one(Work *w, size_t index)
{
    RateInput in;
    Rating rating;
    arena_reset(w->scratch);
    input_of(w, index, &w->left, w->scratch, &in);
    rate(&in, w->scratch, &rating);
    bool counts = index == w->target || w->s->period[index].closed;
    if (counts) adjust(w, index, rating.own);
    if (index == w->target) {
        GrantList all = with_usd(w);
        input_of(w, index, &all, w->arena, &w->out->in);
    }
    draw_credit(w, &in, &rating, counts);
}

// ---- what the invoice draws ----
static void add_draw(Settled *out, Str id, GrantUnit unit, int64_t amount)
{
    if (amount != 0) out->draw[out->draws++] = (GrantDraw){id, unit, amount};
}

static int64_t drawn_before(const GrantList *grants, Str id)
{
    for (size_t i = 0; i < grants->draws; i++)
        if (grants->draw[i].unit == GRANT_CREDIT && str_equal(grants->draw[i].id, id))
            return grants->draw[i].amount;
    return 0;
}

static bool has_grant(const GrantList *list, Str id)
{
    for (size_t i = 0; i < list->count; i++)
        if (str_equal(list->grant[i].grant.id, id)) return true;
    return false;
}

static void add_draws(const Work *w)
{
    Settled *out = w->out;
    const GrantList *grants = &w->s->grants;
    size_t room = w->left.count + grants->draws + out->in.grants + 1;
    out->draw = arena_alloc(w->arena, room * sizeof *out->draw);
    for (size_t g = 0; g < w->left.count; g++) {
        Str id = w->left.grant[g].grant.id;
        add_draw(out, id, GRANT_CREDIT, w->drawn[g] - drawn_before(grants, id));
    }
    for (size_t i = 0; i < grants->draws; i++) { // a grant that is gone gets all back
        const GrantDraw *draw = &grants->draw[i];
        if (draw->unit == GRANT_CREDIT && !has_grant(&w->left, draw->id))
            add_draw(out, draw->id, GRANT_CREDIT, -draw->amount);
    }
    for (size_t i = 0; i < out->in.grants; i++)
        if (out->in.grant[i].grant.unit == GRANT_USD)
            add_draw(out, out->in.grant[i].grant.id, GRANT_USD, out->rating.drawn[i]);
}

// ---- all ----
void settle(const Settling *settling, Period period, Arena *arena, Settled *out)
{
    OWNED_ARENA Arena *scratch = arena_new();
    *out = (Settled){0};
    ASSERT(period.months >= settling->first.months);
    Work w = {.s = settling,
              .target = (size_t)(period.months - settling->first.months),
              .left = credit_grants(&settling->grants, arena),
              .arena = arena,
              .scratch = scratch,
              .out = out};
    ASSERT(w.target < settling->periods && !settling->period[w.target].closed);
    w.drawn = arena_alloc(arena, (w.left.count + 1) * sizeof *w.drawn);
    w.adjustment = arena_alloc(arena, settling->periods * sizeof *w.adjustment);
    size_t end = w.target + 1; // what is not closed behind that has no part in it
    for (size_t i = 0; i < settling->periods; i++) {
        bool open = !settling->period[i].closed;
        if (open && i != w.target) out->others_open = true;
        if (!open && i >= end) end = i + 1;
    }
    for (size_t i = 0; i < end; i++) rate_one(&w, i);
    out->in.adjustment = w.adjustment;
    out->in.adjustments = w.adjustments;
    rate(&out->in, arena, &out->rating);
    add_draws(&w);
}

// ---- the next one ----
static void add_drawn(GrantList *list, const GrantDraw *draw)
{
    for (size_t g = 0; draw->unit == GRANT_USD && g < list->count; g++)
        if (str_equal(list->grant[g].grant.id, draw->id)) list->grant[g].balance -= draw->amount;
    for (size_t i = 0; i < list->draws; i++) {
        if (list->draw[i].unit != draw->unit || !str_equal(list->draw[i].id, draw->id)) continue;
        list->draw[i].amount += draw->amount;
        return;
    }
    list->draw[list->draws++] = *draw;
}

void settle_issue(Settling *settling, const Settled *settled, Arena *arena)
{
    const RateInput *in = &settled->in;
    for (size_t i = 0; i < in->adjustments; i++) {
        const RateAdjustment *adjustment = &in->adjustment[i];
        settling->period[adjustment->period.months - settling->first.months].charged =
            adjustment->due;
    }
    SettlePeriod *own = &settling->period[in->period.months - settling->first.months];
    own->charged = settled->rating.own;
    own->closed = true;
    GrantList *old = &settling->grants, list = {.count = old->count, .draws = old->draws};
    list.grant = arena_alloc(arena, (old->count + 1) * sizeof *list.grant);
    if (old->count) memcpy(list.grant, old->grant, old->count * sizeof *list.grant);
    list.draw = arena_alloc(arena, (old->draws + settled->draws + 1) * sizeof *list.draw);
    if (old->draws) memcpy(list.draw, old->draw, old->draws * sizeof *list.draw);
    for (size_t i = 0; i < settled->draws; i++) add_drawn(&list, &settled->draw[i]);
    for (size_t g = 0; g < list.count; g++) {
        RateGrant *grant = &list.grant[g];
        if (grant->grant.unit == GRANT_USD) continue;
        grant->balance = grant->grant.amount - drawn_before(&list, grant->grant.id);
    }
    if (settled->rating.carried.cents > 0) {
        char name[PERIOD_TEXT]; // it has no number yet
        list.grant[list.count++] = grant_carried(str(period_format(in->period, name)),
                                                 period_end(in->period), settled->rating.carried,
                                                 arena);
    }
    *old = list;
}
