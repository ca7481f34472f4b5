// SPDX-License-Identifier: Apache-2.0
// An invoice by itself: what it shows is what its kept inputs come to. And a credit note: what it
// takes back is what was issued.
#include "audit/books.h"

#include <inttypes.h>

static Matter about(const Ledger *ledger, const Stored *stored)
{
    return (Matter){.audit = ledger->audit,
                    .check = "rating",
                    .account = stored->invoice.account,
                    .subject = stored->invoice.number};
}

// ---- sums ----
// `source` says by what it should be something else.
static Status compare_cents(const Matter *matter, const char *what, Cents stored, Cents right,
                            const char *source, Error *error)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    if (stored.cents == right.cents) return ST_OK;
    return matter_find(matter, error, "its %s is %s; %s it is %s", what, cents_format(stored, a),
                       source, cents_format(right, b));
}

static Status compare_cm(const Matter *matter, const char *what, CreditMinutes stored,
                         CreditMinutes right, const char *source, Error *error)
{
    if (stored.cm == right.cm) return ST_OK;
    return matter_find(matter, error, "its %s are %" PRId64 " credit-minutes; %s they are %" PRId64,
                       what, stored.cm, source, right.cm);
}

static Status compare_sums(const Matter *matter, const Invoice *invoice, const Rating *rated,
                           const char *source, Error *error)
{
    Matter total = *matter;
    total.in_money = true;
    total.overcharged = cents_sub(invoice->total, rated->total);
    TRY(compare_cm(matter, "included credits", invoice->included, rated->included, source, error));
    TRY(compare_cm(matter, "granted credits", invoice->granted, rated->granted, source, error));
    TRY(compare_cm(matter, "purchased credits", invoice->purchased, rated->purchased, source,
                   error));
    TRY(compare_cents(matter, "subtotal", invoice->subtotal, rated->subtotal, source, error));
    return compare_cents(&total, "total", invoice->total, rated->total, source, error);
}

static Status compare_usage(const Matter *matter, const Invoice *invoice, const Rating *rated,
                            Error *error)
{
    bool same = invoice->usages == rated->usages;
    for (size_t i = 0; same && i < rated->usages; i++) {
        const SizeUsage *a = &invoice->usage[i], *b = &rated->usage[i];
        same = str_equal(a->size, b->size) && a->minutes == b->minutes && a->cm.cm == b->cm.cm;
        if (same) continue;
        return matter_find(matter, error,
                           "its usage has %" PRId64 " minutes of %.*s (%" PRId64
                           " credit-minutes); what it keeps has %" PRId64 " of %.*s (%" PRId64 ")",
                           a->minutes, (int)a->size.n, a->size.p, a->cm.cm, b->minutes,
                           (int)b->size.n, b->size.p, b->cm.cm);
    }
    if (same) return ST_OK;
    return matter_find(matter, error, "its usage has %zu sizes; what it keeps has %zu",
                       invoice->usages, rated->usages);
}

// ---- lines ----
static bool same_text(Str a, Str b)
{
    return str_absent(a) == str_absent(b) && (str_absent(a) || str_equal(a, b));
}

// The first member in which two lines differ; NULL where they are the same.
static const char *line_difference(const Line *a, const Line *b)
{
    if (a->kind != b->kind) return "kind";
    if (!same_text(a->description, b->description)) return "description";
    if (a->from.days != b->from.days) return "first day";
    if (a->to.days != b->to.days) return "end";
    if (a->priced != b->priced || a->quantity.cm != b->quantity.cm) return "quantity";
    if (a->price.e12 != b->price.e12) return "price";
    if (a->adjusted.months != b->adjusted.months) return "adjusted period";
    if (!same_text(a->grant, b->grant)) return "grant";
    return a->amount.cents == b->amount.cents ? NULL : "amount";
}

static void describe_line(const Line *line, Buf *out)
{
    char from[DAY_TEXT], to[DAY_TEXT], amount[AMOUNT_TEXT];
    buf_addf(out, "%s \"%.*s\" %s..%s", line_kind_name(line->kind), (int)line->description.n,
             line->description.p ? line->description.p : "", day_format(line->from, from),
             day_format(line->to, to));
    if (line->priced) buf_addf(out, " %" PRId64 " credit-minutes", line->quantity.cm);
    if (line->priced) buf_addf(out, " at %s", price_format(line->price, amount));
    buf_addf(out, " %s", cents_format(line->amount, amount));
}

static Status compare_lines(const Matter *matter, const Line *stored, size_t n, const Line *right,
                            size_t right_n, const char *source, Error *error)
{
    if (n != right_n)
        return matter_find(matter, error, "it has %zu lines; %s they are %zu", n, source, right_n);
    for (size_t i = 0; i < n; i++) {
        const char *member = line_difference(&stored[i], &right[i]);
        if (!member) continue;
        OWNED_BUF Buf a = {0}, b = {0};
        describe_line(&stored[i], &a);
        describe_line(&right[i], &b);
        return matter_find(matter, error, "line %zu has another %s: it is %s; %s it is %s", i + 1,
                           member, a.p, source, b.p);
    }
    return ST_OK;
}

// ---- draws and what is carried forward ----
static bool draws_usd(const Stored *stored, Str grant)
{
    for (size_t i = 0; i < stored->draws; i++)
        if (stored->draw[i].unit == GRANT_USD && str_equal(stored->draw[i].grant, grant))
            return true;
    return false;
}

static int64_t usd_drawn(const RateInput *in, const Rating *rated, Str grant)
{
    for (size_t i = 0; i < in->grants; i++)
        if (in->grant[i].grant.unit == GRANT_USD && str_equal(in->grant[i].grant.id, grant))
            return rated->drawn[i];
    return 0;
}

// What was drawn from grants in usd is its grant lines; of credit grants it also has what adjusting
// drew anew, and is looked at with all invoices of the account.
static Status compare_draws(const Matter *matter, const Stored *stored, const Rating *rated,
                            Error *error)
{
    const RateInput *in = &stored->in;
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    for (size_t i = 0; i < stored->draws; i++) {
        const StoredDraw *draw = &stored->draw[i];
        if (draw->amount == 0)
            TRY(matter_find(matter, error, "it draws nothing from the grant %.*s, and says so",
                            (int)draw->grant.n, draw->grant.p));
        if (draw->unit != GRANT_CREDIT && draw->unit != GRANT_USD)
            TRY(matter_find(matter, error, "it draws from the grant %.*s in the unit %" PRId64,
                            (int)draw->grant.n, draw->grant.p, draw->unit));
        Cents right = {draw->unit == GRANT_USD ? usd_drawn(in, rated, draw->grant) : draw->amount};
        if (draw->amount != right.cents)
            TRY(matter_find(matter, error,
                            "it draws %s from the grant %.*s; rated again it draws %s",
                            cents_format((Cents){draw->amount}, a), (int)draw->grant.n,
                            draw->grant.p, cents_format(right, b)));
    }
    for (size_t i = 0; i < in->grants; i++) {
        Str id = in->grant[i].grant.id;
        if (in->grant[i].grant.unit != GRANT_USD || rated->drawn[i] == 0) continue;
        if (draws_usd(stored, id)) continue;
        TRY(matter_find(matter, error, "its draw of %s from the grant %.*s is missing",
                        cents_format((Cents){rated->drawn[i]}, a), (int)id.n, id.p));
    }
    return ST_OK;
}

static Status compare_carried(const Matter *matter, const Stored *stored, const Rating *rated,
                              Error *error)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT], day[DAY_TEXT], right[DAY_TEXT];
    Cents carried = stored->carries ? stored->carried : (Cents){0};
    if (carried.cents != rated->carried.cents)
        return matter_find(matter, error, "it carries %s forward; rated again it carries %s",
                           cents_format(carried, a), cents_format(rated->carried, b));
    if (!stored->carries) return ST_OK;
    if (carried.cents == 0)
        return matter_find(matter, error, "it carries 0.00 forward, and says so");
    Day from = period_end(stored->in.period);
    if (stored->carried_from.days == from.days) return ST_OK;
    return matter_find(matter, error, "what it carries forward may be used from %s on, not from %s",
                       day_format(stored->carried_from, day), day_format(from, right));
}

// ---- adjustments ----
static Status compare_adjustments(const Ledger *ledger, const Matter *matter, const RateInput *in,
                                  Error *error)
{
    char period[PERIOD_TEXT], a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    for (size_t i = 0; i < in->adjustments; i++) {
        const RateAdjustment *adjustment = &in->adjustment[i];
        period_format(adjustment->period, period);
        Rating rated;
        rate(adjustment->rated, ledger->arena, &rated);
        if (adjustment->rated->period.months != adjustment->period.months)
            TRY(matter_find(matter, error, "its adjustment of %s was rated from another period",
                            period));
        if (adjustment->rated->horizon.us != in->horizon.us)
            TRY(matter_find(matter, error,
                            "its adjustment of %s knows usage up to another time than itself",
                            period));
        if (i > 0 && adjustment->period.months <= in->adjustment[i - 1].period.months)
            TRY(matter_find(matter, error, "its adjustment of %s is out of order", period));
        Cents right = cents_sub(adjustment->due, adjustment->charged);
        if (adjustment->amount.cents != right.cents)
            TRY(matter_find(matter, error, "its adjustment of %s is %s, and should be %s", period,
                            cents_format(adjustment->amount, a), cents_format(right, b)));
        if (adjustment->due.cents != rated.own.cents)
            TRY(matter_find(matter, error,
                            "its adjustment holds that %s comes to %s; rated again it is %s",
                            period, cents_format(adjustment->due, a), cents_format(rated.own, b)));
    }
    return ST_OK;
}

// ---- an invoice ----
Status books_rating(const Ledger *ledger, const Stored *stored, const Rating *rated, Error *error)
{
    const Invoice *invoice = &stored->invoice;
    Matter matter = about(ledger, stored);
    char a[PERIOD_TEXT], b[PERIOD_TEXT];
    if (stored->foreign)
        TRY(matter_find(
            &matter, error,
            "usage or inputs hold something that is not written when an invoice is issued"));
    if (!str_is(stored->currency, "USD"))
        TRY(matter_find(&matter, error, "its currency is %.*s, and should be USD",
                        (int)stored->currency.n, stored->currency.p));
    if (invoice->period.months != stored->in.period.months)
        TRY(matter_find(&matter, error, "it is of %s, but was rated for %s",
                        period_format(invoice->period, a), period_format(stored->in.period, b)));
    TRY(compare_usage(&matter, invoice, rated, error));
    TRY(compare_lines(&matter, invoice->line, invoice->lines, rated->line, rated->lines,
                      "rated again", error));
    TRY(compare_sums(&matter, invoice, rated, "rated again", error));
    TRY(compare_draws(&matter, stored, rated, error));
    TRY(compare_carried(&matter, stored, rated, error));
    return compare_adjustments(ledger, &matter, &stored->in, error);
}

// ---- a credit note ----
static bool same_usage(const Invoice *a, const Invoice *b)
{
    if (a->usages != b->usages) return false;
    for (size_t i = 0; i < a->usages; i++)
        if (!str_equal(a->usage[i].size, b->usage[i].size) ||
            a->usage[i].minutes != b->usage[i].minutes || a->usage[i].cm.cm != b->usage[i].cm.cm)
            return false;
    return true;
}

static const char *note_difference(const Stored *note, const Stored *credited)
{
    const Invoice *a = &note->invoice, *b = &credited->invoice;
    if (note->foreign) return "usage or inputs";
    if (!str_equal(note->currency, credited->currency)) return "currency";
    if (!str_equal(a->name, b->name)) return "name";
    if (a->period.months != b->period.months) return "period";
    if (!same_usage(a, b)) return "usage";
    if (a->included.cm != b->included.cm) return "included credit-minutes";
    if (a->granted.cm != b->granted.cm) return "granted credit-minutes";
    if (a->purchased.cm != b->purchased.cm) return "purchased credit-minutes";
    if (!str_equal(note->kept.inputs, credited->kept.inputs)) return "inputs";
    if (note->kept.catalog_revision != credited->kept.catalog_revision) return "catalogue revision";
    if (note->kept.account_revision != credited->kept.account_revision) return "account revision";
    return NULL;
}

#define SOURCE "by the invoice that it takes back"
Status books_credit_note(const Ledger *ledger, const Stored *note, const Issued *credited,
                         Error *error)
{
    Matter matter = about(ledger, note);
    const Stored *stored = &credited->stored;
    const Invoice *invoice = &stored->invoice;
    Str number = invoice->number;
    if (!str_absent(credited->credited_by))
        TRY(matter_find(&matter, error, "it takes back %.*s, which %.*s has taken back already",
                        (int)number.n, number.p, (int)credited->credited_by.n,
                        credited->credited_by.p));
    if (note->invoice.reason.n == 0) TRY(matter_find(&matter, error, "it gives no reason"));
    if (note->draws > 0 || note->carries)
        TRY(matter_find(&matter, error,
                        "a credit note draws nothing, and carries nothing forward"));
    const char *member = note_difference(note, stored);
    if (member)
        TRY(matter_find(&matter, error, "its %s is not that of %.*s, which it takes back", member,
                        (int)number.n, number.p));
    Line *negated = arena_alloc(ledger->arena, (invoice->lines + 1) * sizeof *negated);
    for (size_t i = 0; i < invoice->lines; i++) {
        negated[i] = invoice->line[i];
        negated[i].amount = cents_negate(negated[i].amount);
    }
    TRY(compare_lines(&matter, note->invoice.line, note->invoice.lines, negated, invoice->lines,
                      SOURCE, error));
    const Rating right = {.included = note->invoice.included,
                          .granted = note->invoice.granted,
                          .purchased = note->invoice.purchased,
                          .subtotal = cents_negate(invoice->subtotal),
                          .total = cents_negate(invoice->total)};
    return compare_sums(&matter, &note->invoice, &right, SOURCE, error);
}
