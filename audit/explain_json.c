// SPDX-License-Identifier: Apache-2.0
// What is explained as one JSON object, written as it comes. docs/http.md says what its members
// are.
#include "audit/explain_parts.h"

typedef struct Telling {
    Explained *x;
    ExplainFn write;
    void *context;
    Buf out;
    JsonWriter w;
    size_t mark; // where the open entry begins, and the writer then
    JsonWriter marked;
    int64_t told; // events of the open entry
    int64_t runs, events, minutes;
    CreditMinutes cm;
} Telling;

// ---- values ----
static void write_cents(JsonWriter *w, const char *name, Cents amount)
{
    char text[AMOUNT_TEXT];
    jw_text(w, name, cents_format(amount, text));
}

static void write_day(JsonWriter *w, const char *name, Day day)
{
    char text[DAY_TEXT];
    jw_text(w, name, day_format(day, text));
}

static void write_period(JsonWriter *w, Period period)
{
    char text[PERIOD_TEXT];
    jw_text(w, "period", period_format(period, text));
}

static void write_instant(JsonWriter *w, const char *name, Instant at)
{
    char text[INSTANT_TEXT];
    jw_text(w, name, instant_format(at, text));
}

static void write_amount(JsonWriter *w, const char *name, GrantUnit unit, int64_t amount)
{
    char text[AMOUNT_TEXT];
    jw_text(w, name,
            unit == GRANT_USD ? cents_format((Cents){amount}, text)
                              : credits_format((CreditMinutes){amount}, text));
}

static void write_burned(JsonWriter *w, const RateDay *day)
{
    jw_int(w, "used_credit_minutes", day->used.cm);
    jw_int(w, "pool_credit_minutes", day->pooled.cm);
    jw_int(w, "granted_credit_minutes", day->granted.cm);
    jw_int(w, "purchased_credit_minutes", day->bought.cm);
}

// ---- terms, days, grants ----
static void write_term(JsonWriter *w, const RateSegment *segment)
{
    char text[AMOUNT_TEXT];
    jw_begin_object(w, NULL);
    write_day(w, "from", segment->from);
    write_day(w, "to", segment->to);
    write_day(w, "version", segment->version);
    jw_str(w, "plan", segment->plan);
    jw_bool(w, "active", segment->active);
    jw_text(w, "credit_price", price_format(segment->price, text));
    write_cents(w, "base_fee", segment->base_fee);
    jw_text(w, "included_credits", credits_format(segment->included, text));
    jw_int(w, "credit_discount_bps", segment->discount_bps);
    write_cents(w, "monthly_minimum", segment->minimum);
    jw_end_object(w);
}

static void write_days(JsonWriter *w, const RateInput *in, const Rating *rating)
{
    jw_begin_array(w, "days");
    for (size_t i = 0; i < rating->days; i++) {
        jw_begin_object(w, NULL);
        write_day(w, "date", day_add(period_first(in->period), (int32_t)i));
        jw_int(w, "term", (int64_t)rating->day[i].segment);
        write_burned(w, &rating->day[i]);
        jw_begin_array(w, "sizes");
        for (size_t u = 0; u < in->usages; u++) {
            const RateUsage *usage = &in->usage[u];
            if (usage->minutes[i] == 0) continue;
            jw_begin_object(w, NULL);
            jw_str(w, "size", usage->size);
            jw_int(w, "minutes", usage->minutes[i]);
            jw_int(w, "credits_per_hour", usage->credits_per_hour);
            jw_end_object(w);
        }
        jw_end_array(w);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void write_grant(JsonWriter *w, const RateGrant *from, int64_t drawn)
{
    const Grant *grant = &from->grant;
    jw_begin_object(w, NULL);
    jw_str(w, "id", grant->id);
    jw_text(w, "unit", grant->unit == GRANT_USD ? "usd" : "credit");
    jw_int(w, "priority", grant->priority);
    write_day(w, "from", grant->from);
    if (grant->expires.days < DAY_END.days) write_day(w, "expires", grant->expires);
    else jw_null(w, "expires");
    write_amount(w, "amount", grant->unit, grant->amount);
    write_amount(w, "before", grant->unit, from->balance);
    write_amount(w, "drawn", grant->unit, drawn);
    write_amount(w, "left", grant->unit, from->balance - drawn);
    jw_end_object(w);
}

// ---- lines ----
static void write_rated(Telling *t, const RateInput *in, const Rating *rating, bool own);

static void write_minimum(JsonWriter *w, const RateInput *in, const Rating *rating,
                          const Line *line)
{
    write_cents(w, "lines_before", lines_before(rating, line));
    write_cents(w, "minimum", minimum_of(in));
}

static void write_adjustment(Telling *t, const Line *line)
{
    JsonWriter *w = &t->w;
    size_t i = 0;
    while (t->x->adjusted[i].of->period.months != line->adjusted.months) i++;
    const Adjusted *adjusted = &t->x->adjusted[i];
    write_cents(w, "charged", adjusted->of->charged);
    write_cents(w, "due", adjusted->of->due);
    jw_str(w, "previous", adjusted->before ? adjusted->before->number : (Str){0});
    jw_begin_array(w, "changes");
    for (size_t c = 0; c < adjusted->changes; c++) {
        const Change *change = &adjusted->change[c];
        jw_begin_object(w, NULL);
        write_day(w, "date", change->day);
        jw_str(w, "size", change->size);
        jw_int(w, "minutes_before", change->minutes_before);
        jw_int(w, "minutes", change->minutes);
        jw_int(w, "credit_minutes_before", change->cm_before.cm);
        jw_int(w, "credit_minutes", change->cm.cm);
        jw_end_object(w);
    }
    jw_end_array(w);
    if (adjusted->before) {
        jw_begin_object(w, "was");
        write_rated(t, &adjusted->before->in, &adjusted->before_rating, true);
        jw_end_object(w);
    } else {
        jw_null(w, "was");
    }
    jw_begin_object(w, "now");
    write_rated(t, adjusted->of->rated, &adjusted->rating, true);
    jw_end_object(w);
}

static void write_explained(Telling *t, const RateInput *in, const Rating *rating, const Line *line)
{
    JsonWriter *w = &t->w;
    const RateSegment *segment = line_segment(in, line);
    RateDay sums = segment_sums(in, rating, segment);
    char text[EXACT_TEXT];
    Wide numerator, denominator;
    jw_begin_object(w, "explained");
    if (line_product(in, rating, line, &numerator, &denominator))
        jw_text(w, "unrounded", exact_format(numerator, denominator, text, NULL));
    switch (line->kind) {
    case LINE_BASE_FEE:
        jw_int(w, "days", segment_days(segment));
        jw_int(w, "of_days", period_days(in->period));
        write_cents(w, "base_fee", segment->base_fee);
        break;
    case LINE_CREDITS:
    case LINE_DISCOUNT:
        write_burned(w, &sums);
        jw_text(w, "credit_price", price_format(segment->price, text));
        jw_int(w, "credit_discount_bps", segment->discount_bps);
        break;
    case LINE_MINIMUM: write_minimum(w, in, rating, line); break;
    case LINE_ADJUSTMENT: write_adjustment(t, line); break;
    case LINE_GRANT:
        for (size_t i = 0; i < in->grants; i++) {
            if (!str_equal(in->grant[i].grant.id, line->grant)) continue;
            write_cents(w, "before", (Cents){in->grant[i].balance});
            write_cents(w, "left", (Cents){in->grant[i].balance - rating->drawn[i]});
        }
        break;
    case LINE_CARRY_FORWARD: write_cents(w, "due", lines_before(rating, line)); break;
    case LINE_TAX:
        write_cents(w, "of", lines_before(rating, line));
        jw_int(w, "tax_rate_bps", in->tax_rate_bps);
        break;
    }
    if (line->kind <= LINE_DISCOUNT) jw_int(w, "term", (int64_t)sums.segment);
    if (line->kind <= LINE_DISCOUNT) write_day(w, "version", segment->version);
    jw_end_object(w);
}

static void write_line(Telling *t, const RateInput *in, const Rating *rating, const Line *line,
                       Cents amount)
{
    JsonWriter *w = &t->w;
    char text[AMOUNT_TEXT];
    jw_begin_object(w, NULL);
    jw_text(w, "kind", line_kind_name(line->kind));
    jw_str(w, "description", line->description);
    if (line->kind == LINE_ADJUSTMENT) write_period(w, line->adjusted);
    if (line->kind == LINE_GRANT) jw_str(w, "grant", line->grant);
    write_day(w, "from", line->from);
    write_day(w, "to", line->to);
    if (line->priced) jw_text(w, "quantity", credits_format(line->quantity, text));
    if (line->priced) jw_text(w, "unit_price", price_format(line->price, text));
    write_cents(w, "amount", amount);
    write_explained(t, in, rating, line);
    jw_end_object(w);
}

// `own`: only what makes up the subtotal without adjustments.
static void write_rated(Telling *t, const RateInput *in, const Rating *rating, bool own)
{
    JsonWriter *w = &t->w;
    bool negated = !own && !str_absent(t->x->invoice.credits);
    jw_begin_array(w, "terms");
    for (size_t i = 0; i < in->segments; i++) write_term(w, &in->segment[i]);
    jw_end_array(w);
    jw_int(w, "included_credit_minutes", rating->included.cm);
    write_days(w, in, rating);
    jw_begin_array(w, "grants");
    for (size_t i = 0; i < in->grants; i++)
        if (!own || in->grant[i].grant.unit == GRANT_CREDIT)
            write_grant(w, &in->grant[i], rating->drawn[i]);
    jw_end_array(w);
    jw_begin_array(w, "lines");
    for (size_t i = 0; i < rating->lines; i++) {
        const Line *line = &rating->line[i];
        if (own && line->kind > LINE_MINIMUM) break;
        write_line(t, in, rating, line, negated ? cents_negate(line->amount) : line->amount);
    }
    jw_end_array(w);
}

// ---- runs ----
static void begin_entry(void *context, const Entry *entry)
{
    Telling *t = context;
    JsonWriter *w = &t->w;
    t->mark = t->out.n;
    t->marked = *w;
    t->told = 0;
    jw_begin_object(w, NULL);
    jw_str(w, "vm", entry->vm);
    if (entry->is_run) write_instant(w, "start", entry->start);
    else jw_null(w, "start");
    jw_str(w, "run", entry->name);
    jw_begin_array(w, "events");
}

static void write_place(JsonWriter *w, const Place *place)
{
    if (str_absent(place->topic)) {
        jw_str(w, "file", place->file);
        jw_int(w, "line", place->position);
    } else {
        jw_str(w, "topic", place->topic);
        jw_int(w, "partition", place->partition);
        jw_int(w, "offset", place->position);
    }
}

static void write_event(void *context, const Told *told)
{
    Telling *t = context;
    JsonWriter *w = &t->w;
    const Event *event = &told->event;
    bool starts = event->type == EVENT_STARTED;
    jw_begin_object(w, NULL);
    jw_str(w, "source", event->source);
    jw_str(w, "id", event->id);
    jw_text(w, "type", event_type_name(event->type));
    write_instant(w, "time", event->at);
    if (starts || event->type == EVENT_RESIZED)
        jw_text(w, "size", t->x->catalog->size_names[event_size(event, t->x->catalog)]);
    if (starts) jw_text(w, "bootup", bootup_name(event->bootup));
    if (!str_absent(event->run)) jw_str(w, "run", event->run);
    if (!str_absent(event->reason)) jw_str(w, "reason", event->reason);
    write_place(w, &told->place);
    jw_text(w, "did", did_name(told->did));
    if (told->did == DID_NOTHING) jw_str(w, "why", told->why);
    if (told->retracted) {
        jw_begin_object(w, "retracted_by");
        jw_str(w, "source", told->by_source);
        jw_str(w, "id", told->by_id);
        write_instant(w, "time", told->by_at);
        write_place(w, &told->by_place);
        jw_end_object(w);
    }
    jw_end_object(w);
    t->told++;
}

static void write_run(Telling *t, const Entry *entry)
{
    JsonWriter *w = &t->w;
    const Run *run = entry->run;
    bool ended = run && run->by != ENDED_NOT;
    int64_t minutes = 0;
    CreditMinutes cm = {0};
    if (ended) write_instant(w, "end", run->end);
    else jw_null(w, "end");
    jw_text(w, "ended_by", ended ? ended_by_name(run->by) : NULL);
    jw_begin_array(w, "sizes");
    for (int i = 0; run && i < run->spans; i++) {
        jw_begin_object(w, NULL);
        write_instant(w, "from", run->span[i].from);
        jw_text(w, "size", t->x->catalog->size_names[run->span[i].size]);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_begin_array(w, "days");
    for (size_t i = 0; i < entry->cells; i++) {
        const RunCell *cell = &entry->cell[i];
        jw_begin_object(w, NULL);
        write_day(w, "date", cell->day);
        jw_text(w, "size", t->x->catalog->size_names[cell->size]);
        jw_int(w, "minutes", cell->minutes);
        jw_int(w, "credit_minutes", cell->cm.cm);
        jw_end_object(w);
        minutes += cell->minutes;
        cm = cm_add(cm, cell->cm);
    }
    jw_end_array(w);
    jw_int(w, "minutes", minutes);
    jw_int(w, "credit_minutes", cm.cm);
    jw_int(w, "heartbeats_elsewhere", entry->heartbeats_elsewhere);
    t->runs += run != NULL;
    t->events += t->told;
    t->minutes += minutes;
    t->cm = cm_add(t->cm, cm);
}

static void end_entry(void *context, const Entry *entry)
{
    Telling *t = context;
    jw_end_array(&t->w);
    write_run(t, entry);
    jw_end_object(&t->w);
}

static void drop_entry(void *context)
{
    Telling *t = context;
    t->out.n = t->mark;
    t->w = t->marked;
    t->runs--;
    t->events -= t->told;
}

static Status pause(void *context, bool certain, Error *error)
{
    Telling *t = context;
    if (!certain || t->out.n < EXPLAIN_PIECE_BYTES) return ST_OK;
    TRY(t->write(t->context, buf_str(&t->out), error));
    buf_clear(&t->out);
    t->mark = 0;
    return ST_OK;
}

// ---- all of it ----
static void write_revision(JsonWriter *w, const char *name, int64_t revision, Instant applied)
{
    jw_begin_object(w, name);
    jw_int(w, "revision", revision);
    if (applied.us) write_instant(w, "applied_at", applied);
    else jw_null(w, "applied_at");
    jw_end_object(w);
}

static void write_head(Telling *t)
{
    const Explained *x = t->x;
    const Invoice *invoice = &x->invoice;
    JsonWriter *w = &t->w;
    bool credit_note = !str_absent(invoice->credits);
    jw_begin_object(w, NULL);
    jw_str(w, "number", invoice->number);
    jw_text(w, "kind", credit_note ? "credit_note" : "invoice");
    jw_str(w, "account", invoice->account);
    jw_str(w, "name", invoice->name);
    write_period(w, invoice->period);
    write_instant(w, "issued_at", invoice->issued_at);
    jw_str(w, "status", invoice->status);
    if (credit_note) jw_str(w, "credits", invoice->credits);
    write_instant(w, "horizon", x->horizon);
    write_revision(w, "catalog", x->catalog_revision, x->catalog_applied);
    write_revision(w, "account_terms", x->account_revision, x->account_applied);
    write_rated(t, &x->in, &x->rating, false);
    write_cents(w, "subtotal", invoice->subtotal);
    write_cents(w, "total", invoice->total);
}

static void write_difference(void *context, const Difference *difference)
{
    JsonWriter *w = &((Telling *)context)->w;
    jw_begin_object(w, NULL);
    write_day(w, "date", difference->day);
    jw_str(w, "size", difference->size);
    jw_int(w, "rated_minutes", difference->kept);
    jw_int(w, "run_minutes", difference->made);
    jw_str(w, "settled_by", difference->settled_by);
    jw_end_object(w);
}

static Status tell_all(Db *db, Telling *t, Error *error)
{
    JsonWriter *w = &t->w;
    const Teller teller = {begin_entry, write_event, end_entry, drop_entry, pause, t};
    write_head(t);
    jw_begin_array(w, "runs");
    TRY(explain_runs(db, t->x, &teller, error));
    jw_end_array(w);
    jw_begin_array(w, "differences");
    size_t differences = explain_differences(t->x, write_difference, t);
    jw_end_array(w);
    jw_begin_object(w, "totals");
    jw_int(w, "runs", t->runs);
    jw_int(w, "events", t->events);
    jw_int(w, "minutes", t->minutes);
    jw_int(w, "credit_minutes", t->cm.cm);
    jw_bool(w, "complete", differences == 0);
    jw_end_object(w);
    jw_end_object(w);
    buf_add_char(&t->out, '\n');
    return t->write(t->context, buf_str(&t->out), error);
}

Status explain_json(Db *db, Explained *x, ExplainFn write, void *context, Error *error)
{
    Telling t = {.x = x, .write = write, .context = context};
    t.w = (JsonWriter){.out = &t.out};
    Status status = tell_all(db, &t, error);
    buf_free(&t.out);
    return status;
}
