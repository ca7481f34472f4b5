// SPDX-License-Identifier: Apache-2.0
// What an account was charged, what it drew and what it may still draw, added up from what was
// issued, in the order of issue.
#include "audit/books.h"

void ledger_begin(Ledger *ledger, Audit *audit, Str account, Arena *arena)
{
    const Books *books = &audit->books;
    *ledger = (Ledger){.audit = audit, .account = account, .arena = arena};
    if (!books->begun) return;
    ledger->periods = (size_t)(books->last.months - books->first.months) + 1;
    ledger->period = arena_alloc(arena, ledger->periods * sizeof *ledger->period);
}

PeriodSum *ledger_period(const Ledger *ledger, Period period)
{
    int32_t nth = period.months - ledger->audit->books.first.months;
    return nth >= 0 && (size_t)nth < ledger->periods ? &ledger->period[nth] : NULL;
}

// Room for one more; an arena's memory cannot grow, so it doubles.
static void *one_more(Arena *arena, void *all, size_t n, size_t *room, size_t each)
{
    if (n < *room) return all;
    size_t larger = *room ? 2 * *room : 8;
    void *more = arena_alloc(arena, larger * each);
    if (n > 0) memcpy(more, all, n * each);
    *room = larger;
    return more;
}

GrantSum *ledger_grant(Ledger *ledger, Str id, GrantUnit unit)
{
    for (size_t i = 0; i < ledger->grants; i++)
        if (ledger->grant[i].unit == unit && str_equal(ledger->grant[i].id, id))
            return &ledger->grant[i];
    ledger->grant = one_more(ledger->arena, ledger->grant, ledger->grants, &ledger->grants_room,
                             sizeof *ledger->grant);
    ledger->grant[ledger->grants] = (GrantSum){.id = id, .unit = unit, .amount = -1};
    return &ledger->grant[ledger->grants++];
}

// ---- adding up ----
static void charge(const Ledger *ledger, Period period, Cents amount, bool back)
{
    PeriodSum *sum = ledger_period(ledger, period);
    if (sum)
        sum->charged = back ? cents_sub(sum->charged, amount) : cents_add(sum->charged, amount);
}

// `back`: takes an invoice's charges and draws back.
static void add_up(Ledger *ledger, const Issued *issued, bool back)
{
    const Stored *stored = &issued->stored;
    const Invoice *invoice = &stored->invoice;
    charge(ledger, invoice->period, issued->own, back);
    for (size_t i = 0; i < invoice->lines; i++)
        if (invoice->line[i].kind == LINE_ADJUSTMENT)
            charge(ledger, invoice->line[i].adjusted, invoice->line[i].amount, back);
    for (size_t i = 0; i < stored->draws; i++) {
        const StoredDraw *draw = &stored->draw[i];
        GrantUnit unit = draw->unit == GRANT_USD ? GRANT_USD : GRANT_CREDIT;
        GrantSum *sum = ledger_grant(ledger, draw->grant, unit);
        sum->drawn += back ? -draw->amount : draw->amount;
    }
}

static void carry(Ledger *ledger, const Stored *stored)
{
    if (!stored->carries) return;
    ledger->carry = one_more(ledger->arena, ledger->carry, ledger->carries, &ledger->carries_room,
                             sizeof *ledger->carry);
    ledger->carry[ledger->carries++] = (CarrySum){.number = stored->invoice.number,
                                                  .from = stored->carried_from,
                                                  .amount = stored->carried,
                                                  .standing = true};
}

// ---- entering ----
static Matter about(const Ledger *ledger, const Stored *stored, const char *check)
{
    return (Matter){.audit = ledger->audit,
                    .check = check,
                    .account = ledger->account,
                    .subject = stored->invoice.number};
}

static Status check_place(const Ledger *ledger, const Stored *stored, const PeriodSum *sum,
                          Error *error)
{
    char text[PERIOD_TEXT];
    Period period = stored->invoice.period;
    Matter closings = about(ledger, stored, "closings"), numbers = about(ledger, stored, "numbers"),
           terms = about(ledger, stored, "terms");
    if (!sum || !books_closed(&ledger->audit->books, period, ledger->account))
        TRY(matter_find(&closings, error, "it is of %s, which is not closed for the account",
                        period_format(period, text)));
    if (sum && sum->standing)
        TRY(matter_find(&numbers, error, "another invoice of %s stands already",
                        period_format(period, text)));
    for (size_t i = ledger->issues; i > 0; i--) {
        const Stored *before = &ledger->issue[i - 1].stored;
        if (before->kept.account_revision > stored->kept.account_revision)
            return matter_find(&terms, error,
                               "%.*s, before it, was rated by a later revision of the account",
                               (int)before->invoice.number.n, before->invoice.number.p);
    }
    return ST_OK;
}

static Status enter_invoice(Ledger *ledger, const Stored *stored, Error *error)
{
    PeriodSum *sum = ledger_period(ledger, stored->invoice.period);
    TRY(check_place(ledger, stored, sum, error));
    ledger->issue = one_more(ledger->arena, ledger->issue, ledger->issues, &ledger->issues_room,
                             sizeof *ledger->issue);
    Issued *issued = &ledger->issue[ledger->issues++];
    *issued = (Issued){.stored = *stored};
    for (size_t i = 0; i < stored->invoice.lines; i++)
        if (stored->invoice.line[i].kind < LINE_ADJUSTMENT)
            issued->own = cents_add(issued->own, stored->invoice.line[i].amount);
    add_up(ledger, issued, false);
    carry(ledger, stored);
    for (size_t i = 0; i < stored->in.grants; i++) {
        const Grant *grant = &stored->in.grant[i].grant;
        GrantSum *granted = ledger_grant(ledger, grant->id, grant->unit);
        if (granted->amount < grant->amount) granted->amount = grant->amount;
    }
    if (!sum) return ST_OK;
    sum->standing = true;
    sum->open = false;
    return ST_OK;
}

static Status take_carry_back(Ledger *ledger, const Stored *note, Str number, Error *error)
{
    char text[AMOUNT_TEXT];
    for (size_t i = 0; i < ledger->carries; i++) {
        CarrySum *carried = &ledger->carry[i];
        if (!carried->standing || !str_equal(carried->number, number)) continue;
        carried->standing = false;
        RateGrant grant = grant_carried(number, carried->from, carried->amount, ledger->arena);
        int64_t drawn = ledger_grant(ledger, grant.grant.id, GRANT_USD)->drawn;
        if (drawn == 0) continue;
        Matter matter = about(ledger, note, "grants");
        TRY(matter_find(&matter, error,
                        "it takes back %.*s, of which %s that was carried forward had been drawn",
                        (int)number.n, number.p, cents_format((Cents){drawn}, text)));
    }
    return ST_OK;
}

static Status enter_note(Ledger *ledger, const Stored *note, Error *error)
{
    Str number = note->invoice.credits;
    Issued *credited = NULL;
    for (size_t i = 0; i < ledger->issues; i++)
        if (str_equal(ledger->issue[i].stored.invoice.number, number)) credited = &ledger->issue[i];
    if (!credited) {
        Matter matter = about(ledger, note, "rating");
        return matter_find(&matter, error,
                           "it takes back %.*s, which the account was not issued before it",
                           (int)number.n, number.p);
    }
    TRY(books_credit_note(ledger, note, credited, error));
    if (!str_absent(credited->credited_by)) return ST_OK;
    credited->credited_by = note->invoice.number;
    add_up(ledger, credited, true);
    TRY(take_carry_back(ledger, note, number, error));
    PeriodSum *sum = ledger_period(ledger, credited->stored.invoice.period);
    if (!sum) return ST_OK;
    sum->standing = false;
    sum->open = !credited->stored.again;
    return ST_OK;
}

Status ledger_enter(Ledger *ledger, const Stored *stored, Error *error)
{
    return stored->credit_note ? enter_note(ledger, stored, error)
                               : enter_invoice(ledger, stored, error);
}
