// SPDX-License-Identifier: Apache-2.0
// All closed periods of an account in order, with what is known now: what each comes to, against
// what standing invoices charge for it; and what credit grants gave by that, against what was
// drawn. A difference is settled by the next closing where something says so: a mark on the
// account, or a horizon of the last closing by which time alone may still have changed the period.
#include "audit/books.h"

#include <inttypes.h>

typedef struct Sequence {
    Ledger *ledger;
    const Account *account;
    const Recounted *used;
    Period last;          // that is closed
    const Day *unsettled; // from when on something may have changed; NULL: nothing has
    GrantList left;       // credit grants, drawn in order
    int64_t *drawn;       // from each of them, by periods that are closed
    Arena *scratch;       // for one period
    Error *error;
} Sequence;

// ---- what may differ ----
static Instant known_at_closing(const Sequence *s)
{
    const Books *books = &s->ledger->audit->books;
    bool under_way = !books->last_closed && books_closed(books, books->last, s->ledger->account);
    return under_way ? books->horizon_under_way : books->horizon;
}

// Whether less time is looked at now than the closing knew of, so that there is nothing to compare.
static bool is_beyond(const Sequence *s, Period period)
{
    const Audit *audit = s->ledger->audit;
    Instant now = audit->now.horizon;
    return instant_compare(now, usage_final(audit->catalog, period)) < 0 &&
           instant_compare(now, known_at_closing(s)) < 0;
}

static bool is_pending(const Sequence *s, Period period)
{
    Instant final = usage_final(s->ledger->audit->catalog, period);
    return (s->unsettled && s->unsettled->days < period_end(period).days) ||
           instant_compare(known_at_closing(s), final) < 0;
}

// ---- a period ----
// The mark of who voids is as of when the books began, and stays until no period is open again.
static Status check_open(const Sequence *s, Period period, const PeriodSum *sum)
{
    if (!sum->open || s->ledger->whole) return ST_OK;
    char text[PERIOD_TEXT];
    Matter matter = {.audit = s->ledger->audit,
                     .check = "periods",
                     .account = s->ledger->account,
                     .subject = str(period_format(period, text))};
    return matter_find(&matter, s->error,
                       "it is open again, and nothing says that closings look at it");
}

static Status compare_period(const Sequence *s, Period period, const PeriodSum *sum, Cents due)
{
    if (sum->charged.cents == due.cents || sum->open || is_beyond(s, period)) return ST_OK;
    char text[PERIOD_TEXT], charged[AMOUNT_TEXT], right[AMOUNT_TEXT];
    Matter matter = {.audit = s->ledger->audit,
                     .check = "periods",
                     .account = s->ledger->account,
                     .subject = str(period_format(period, text)),
                     .in_money = true,
                     .overcharged = cents_sub(sum->charged, due),
                     .pending = is_pending(s, period)};
    cents_format(sum->charged, charged);
    cents_format(due, right);
    return matter_find(&matter, s->error, "%s was charged, and it comes to %s%s", charged, right,
                       matter.pending ? "" : "; nothing says that a closing will adjust it");
}

static void draw(const Sequence *s, const RateInput *in, const Rating *rating, bool counts)
{
    for (size_t i = 0; i < in->grants; i++)
        for (size_t g = 0; rating->drawn[i] != 0 && g < s->left.count; g++)
            if (counts && str_equal(s->left.grant[g].grant.id, in->grant[i].grant.id))
                s->drawn[g] += rating->drawn[i];
    rate_draw(in, rating, s->left.grant, s->left.count);
}

static Status go_through(const Sequence *s)
{
    const Audit *audit = s->ledger->audit;
    const DayUsage *cells = s->used->cells;
    size_t at = 0, count = s->used->count;
    for (Period period = audit->books.first; period.months <= s->last.months;
         period = period_next(period)) {
        Day first = period_first(period), end = period_end(period);
        while (at < count && cells[at].day.days < first.days) at++;
        size_t from = at;
        while (at < count && cells[at].day.days < end.days) at++;
        RateInput in;
        Rating rating;
        arena_reset(s->scratch);
        rate_input(s->account, audit->catalog, period, cells + from, at - from, s->left.grant,
                   s->left.count, s->scratch, &in);
        rate(&in, s->scratch, &rating);
        const PeriodSum *sum = ledger_period(s->ledger, period);
        draw(s, &in, &rating, !sum->open);
        TRY(check_open(s, period, sum));
        TRY(compare_period(s, period, sum, rating.own));
    }
    return ST_OK;
}

// ---- grants ----
static Matter about(const Sequence *s, const GrantSum *sum)
{
    return (Matter){.audit = s->ledger->audit,
                    .check = "grants",
                    .account = s->ledger->account,
                    .subject = sum->id,
                    .pending = is_pending(s, s->last)};
}

static Status check_credit(const Sequence *s, const GrantSum *sum)
{
    int64_t right = 0;
    for (size_t g = 0; g < s->left.count; g++)
        if (str_equal(s->left.grant[g].grant.id, sum->id)) right = s->drawn[g];
    if (sum->drawn == right || is_beyond(s, s->last)) return ST_OK;
    Matter matter = about(s, sum);
    return matter_find(&matter, s->error,
                       "invoices have drawn %" PRId64
                       " credit-minutes; the periods that are closed take %" PRId64,
                       sum->drawn, right);
}

// The grant's amount now; -1 where there is none.
static int64_t amount_now(const Sequence *s, const GrantList *grants, const GrantSum *sum)
{
    const Ledger *ledger = s->ledger;
    for (size_t i = 0; i < grants->count; i++)
        if (grants->grant[i].grant.unit == GRANT_USD &&
            str_equal(grants->grant[i].grant.id, sum->id))
            return grants->grant[i].grant.amount;
    for (size_t i = 0; i < ledger->carries; i++) {
        const CarrySum *carry = &ledger->carry[i];
        RateGrant grant = grant_carried(carry->number, carry->from, carry->amount, ledger->arena);
        if (carry->standing && str_equal(grant.grant.id, sum->id)) return carry->amount.cents;
    }
    return -1;
}

// More than there is now may have been drawn where the grant was larger when it was drawn from.
static Status check_usd(const Sequence *s, const GrantList *grants, const GrantSum *sum)
{
    int64_t amount = amount_now(s, grants, sum);
    bool smaller = sum->amount > amount; // by a change of the account
    if (sum->drawn >= 0 && (sum->drawn <= amount || sum->drawn == 0 || smaller)) return ST_OK;
    char drawn[AMOUNT_TEXT], all[AMOUNT_TEXT];
    Matter matter = about(s, sum);
    matter.pending = false;
    return matter_find(&matter, s->error, "invoices have drawn %s, and the grant is of %s",
                       cents_format((Cents){sum->drawn}, drawn),
                       cents_format((Cents){amount > 0 ? amount : 0}, all));
}

static Status check_grants(const Sequence *s)
{
    Ledger *ledger = s->ledger;
    GrantList now = grants_of(s->account, ledger->audit->catalog, 0, ledger->arena);
    for (size_t g = 0; g < s->left.count; g++)
        ledger_grant(ledger, s->left.grant[g].grant.id,
                     GRANT_CREDIT); // also where nothing was drawn
    for (size_t i = 0; i < ledger->grants; i++) {
        const GrantSum *sum = &ledger->grant[i];
        TRY(sum->unit == GRANT_CREDIT ? check_credit(s, sum) : check_usd(s, &now, sum));
    }
    return ST_OK;
}

Status books_periods(Ledger *ledger, const Account *account, const Recounted *used,
                     const Day *unsettled, Error *error)
{
    const Books *books = &ledger->audit->books;
    if (!books->begun) return ST_OK;
    Period last = {books_next_of(books, ledger->account).months - 1};
    if (last.months < books->first.months) return ST_OK;
    OWNED_ARENA Arena *scratch = arena_new();
    Sequence s = {.ledger = ledger,
                  .account = account,
                  .used = used,
                  .last = last,
                  .unsettled = unsettled,
                  .left = grants_of(account, ledger->audit->catalog, 0, ledger->arena),
                  .scratch = scratch,
                  .error = error};
    size_t credit = 0;
    for (size_t i = 0; i < s.left.count; i++)
        if (s.left.grant[i].grant.unit == GRANT_CREDIT) s.left.grant[credit++] = s.left.grant[i];
    s.left.count = credit;
    s.drawn = arena_alloc(ledger->arena, (credit + 1) * sizeof *s.drawn);
    TRY(go_through(&s));
    return check_grants(&s);
}
