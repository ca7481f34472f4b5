// SPDX-License-Identifier: Apache-2.0
// What is explained, for people: at most 100 columns (but for names and places that are wider).
#include "audit/explain_parts.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct Beats { // heartbeats that proved life, one after the other
    int64_t count;
    Instant first, last;
    Buf first_place, last_place;
} Beats;

typedef struct Speaking {
    Explained *x;
    ExplainFn write;
    void *context;
    int64_t runs_max, runs;
    Buf out;
    size_t mark; // where the entry that ended last begins
    Buf said;    // of the open entry
    Beats beats;
    char vm[65]; // whose runs are being printed
    bool named;  // by the entry that ended last
    int64_t made;
} Speaking;

// ---- values ----
static const char *cents_words(Cents amount, char out[static AMOUNT_TEXT])
{
    char plain[AMOUNT_TEXT];
    return amount_group(cents_format(amount, plain), out);
}

static const char *credits_words(CreditMinutes amount, char out[static AMOUNT_TEXT])
{
    char plain[AMOUNT_TEXT];
    return amount_group(credits_format(amount, plain), out);
}

static const char *count_words(int64_t count, char out[static AMOUNT_TEXT])
{
    char plain[AMOUNT_TEXT];
    snprintf(plain, sizeof plain, "%" PRId64, count);
    return amount_group(plain, out);
}

static void add_span(Buf *out, Day from, Day to)
{
    char first[DAY_TEXT], last[DAY_TEXT];
    buf_addf(out, "%s..%s", day_format(from, first), day_format(day_add(to, -1), last));
}

static void add_place(Buf *out, const Place *place)
{
    if (str_absent(place->topic)) {
        buf_add_clean(out, place->file);
        buf_addf(out, " line %" PRId64, place->position);
    } else {
        buf_add_clean(out, place->topic);
        buf_addf(out, "/%" PRId64 " offset %" PRId64, place->partition, place->position);
    }
}

// ---- head, terms, days, grants ----
static void add_revision(Buf *out, const char *label, int64_t revision, Instant applied)
{
    char at[INSTANT_TEXT];
    buf_addf(out, "%-11srevision %" PRId64, label, revision);
    if (applied.us) buf_addf(out, ", applied %s", instant_format(applied, at));
    buf_add_char(out, '\n');
}

static void add_head(Speaking *s)
{
    const Explained *x = s->x;
    const Invoice *invoice = &x->invoice;
    char text[INSTANT_TEXT];
    Buf *out = &s->out;
    bool credit_note = !str_absent(invoice->credits);
    buf_addf(out, "%s ", credit_note ? "Credit note" : "Invoice");
    buf_add_str(out, invoice->number);
    buf_add_text(out, str_is(invoice->status, "voided") ? "  (voided)\n\n" : "\n\n");
    buf_add_text(out, "Account    ");
    buf_add_str(out, invoice->account);
    buf_add_text(out, ", ");
    buf_add_clean(out, invoice->name);
    buf_addf(out, "\nPeriod     %s\n", period_format(invoice->period, text));
    buf_addf(out, "Issued     %s\n", instant_format(invoice->issued_at, text));
    if (credit_note) {
        buf_add_text(out, "Credits    ");
        buf_add_str(out, invoice->credits);
        buf_add_text(out, ": every amount of it, negated; it is explained below\n");
    }
    buf_addf(out, "Horizon    %s: what is open is counted up to here\n",
             instant_format(x->horizon, text));
    add_revision(out, "Catalogue", x->catalog_revision, x->catalog_applied);
    add_revision(out, "Terms", x->account_revision, x->account_applied);
}

static void add_terms(Buf *out, const RateInput *in, const char *indent)
{
    char text[AMOUNT_TEXT], day[DAY_TEXT];
    for (size_t i = 0; i < in->segments; i++) {
        const RateSegment *segment = &in->segment[i];
        buf_add_text(out, indent);
        add_span(out, segment->from, segment->to);
        buf_addf(out, "  %.*s, $%s a credit (catalogue version of %s)", (int)segment->plan.n,
                 segment->plan.p, price_format(segment->price, text),
                 day_format(segment->version, day));
        if (segment->discount_bps)
            buf_addf(out, ", discount %s%%", cents_format((Cents){segment->discount_bps}, text));
        if (!segment->active) buf_add_text(out, ", not in force: usage alone");
        buf_add_char(out, '\n');
        if (!segment->active) continue;
        buf_addf(out, "%s%24sa month: base $%s", indent, "", cents_words(segment->base_fee, text));
        buf_addf(out, ", %s credits included", credits_words(segment->included, text));
        if (segment->minimum.cents)
            buf_addf(out, ", minimum $%s", cents_words(segment->minimum, text));
        buf_add_char(out, '\n');
    }
}

static void add_burned(Buf *out, const char *label, const RateDay *day)
{
    char text[AMOUNT_TEXT];
    const CreditMinutes amounts[] = {day->used, day->pooled, day->granted, day->bought};
    buf_addf(out, "%-12s", label);
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++)
        buf_addf(out, "%17s", credits_words(amounts[i], text));
    buf_add_char(out, '\n');
}

static void add_days(Buf *out, const RateInput *in, const Rating *rating)
{
    RateDay sum = {0};
    char day[DAY_TEXT], text[AMOUNT_TEXT];
    buf_addf(out, "  The period's pool: %s credits\n", credits_words(rating->included, text));
    buf_addf(out, "\n%-12s%17s%17s%17s%17s\n", "Credits", "used", "from the pool", "from grants",
             "bought");
    for (size_t i = 0; i < rating->days; i++) {
        const RateDay *row = &rating->day[i];
        if (row->used.cm == 0) continue;
        add_burned(out, day_format(day_add(period_first(in->period), (int32_t)i), day), row);
        sum.used = cm_add(sum.used, row->used);
        sum.pooled = cm_add(sum.pooled, row->pooled);
        sum.granted = cm_add(sum.granted, row->granted);
        sum.bought = cm_add(sum.bought, row->bought);
    }
    add_burned(out, "in all", &sum);
}

static const char *grant_words(GrantUnit unit, int64_t amount, char out[static AMOUNT_TEXT])
{
    return unit == GRANT_USD ? cents_words((Cents){amount}, out)
                             : credits_words((CreditMinutes){amount}, out);
}

static void add_grants(Buf *out, const RateInput *in, const Rating *rating)
{
    if (in->grants == 0) return;
    char text[AMOUNT_TEXT];
    buf_addf(out, "\n%-34s%-8s%16s%16s%16s\n", "Grants, in order of drawing", "unit", "before",
             "drawn", "left");
    for (size_t i = 0; i < in->grants; i++) {
        const Grant *grant = &in->grant[i].grant;
        int64_t before = in->grant[i].balance, drawn = rating->drawn[i];
        buf_addf(out, "%-34.*s%-8s", (int)grant->id.n, grant->id.p,
                 grant->unit == GRANT_USD ? "usd" : "credit");
        buf_addf(out, "%16s", grant_words(grant->unit, before, text));
        buf_addf(out, "%16s", grant_words(grant->unit, drawn, text));
        buf_addf(out, "%16s\n", grant_words(grant->unit, before - drawn, text));
    }
}

// ---- lines ----
static void add_own_line(Buf *out, const Line *line)
{
    char text[AMOUNT_TEXT];
    buf_addf(out, "        %-60.*s%16s\n", (int)line->description.n, line->description.p,
             cents_words(line->amount, text));
}

// How a period came to its subtotal without adjustments.
static void add_side(Buf *out, const RateInput *in, const Rating *rating)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    CreditMinutes used = {0};
    for (size_t i = 0; i < rating->days; i++) used = cm_add(used, rating->day[i].used);
    CreditMinutes given = cm_add(rating->granted, rating->purchased);
    add_terms(out, in, "        ");
    buf_addf(out, "        %s credits used: %s from the pool,", credits_words(used, a),
             credits_words(cm_sub(used, given), b));
    buf_addf(out, " %s from grants, %s bought\n", credits_words(rating->granted, a),
             credits_words(rating->purchased, b));
    for (size_t i = 0; i < rating->lines && rating->line[i].kind <= LINE_MINIMUM; i++)
        add_own_line(out, &rating->line[i]);
}

static void add_changes(Buf *out, const Adjusted *adjusted)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT], day[DAY_TEXT];
    if (adjusted->changes == 0) {
        buf_add_text(out, "    its own use is the same: terms or credit grants are not\n");
        return;
    }
    buf_addf(out, "    %-12s%-20s%16s%16s%16s%16s\n", "day", "size", "minutes before",
             "minutes then", "credits before", "credits then");
    for (size_t i = 0; i < adjusted->changes; i++) {
        const Change *change = &adjusted->change[i];
        buf_addf(out, "    %-12s%-20.*s%16s%16s", day_format(change->day, day), (int)change->size.n,
                 change->size.p, count_words(change->minutes_before, a),
                 count_words(change->minutes, b));
        buf_addf(out, "%16s%16s\n", credits_words(change->cm_before, a),
                 credits_words(change->cm, b));
    }
}

static void add_adjustment(Speaking *s, const Line *line)
{
    Buf *out = &s->out;
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    size_t i = 0;
    while (s->x->adjusted[i].of->period.months != line->adjusted.months) i++;
    const Adjusted *adjusted = &s->x->adjusted[i];
    buf_addf(out, "    due %s with what was known then, less %s that standing invoices charge\n",
             cents_words(adjusted->of->due, a), cents_words(adjusted->of->charged, b));
    if (adjusted->before) {
        buf_add_text(out, "    before, by ");
        buf_add_str(out, adjusted->before->number);
        buf_add_text(out, ":\n");
        add_side(out, &adjusted->before->in, &adjusted->before_rating);
    } else {
        buf_add_text(out, "    nothing was charged for it before\n");
    }
    buf_add_text(out, "    then:\n");
    add_side(out, adjusted->of->rated, &adjusted->rating);
    add_changes(out, adjusted);
}

// " = 1,053.574, rounded"
static void add_product(Buf *out, const RateInput *in, const Rating *rating, const Line *line)
{
    char exact[EXACT_TEXT], grouped[AMOUNT_TEXT];
    Wide numerator, denominator;
    bool cut = false;
    ASSERT(line_product(in, rating, line, &numerator, &denominator));
    exact_format(numerator, denominator, exact, &cut);
    const char *point = strchr(exact, '.');
    bool rounded = point && strlen(point) > 3; // more than cents
    buf_addf(out, " = %s%s%s\n", amount_group(exact, grouped), cut ? "..." : "",
             rounded ? ", rounded" : "");
}

static void add_why(Speaking *s, const Line *line)
{
    const RateInput *in = &s->x->in;
    const Rating *rating = &s->x->rating;
    const RateSegment *segment = line_segment(in, line);
    RateDay sums = segment_sums(in, rating, segment);
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT], version[DAY_TEXT];
    Buf *out = &s->out;
    day_format(segment->version, version);
    switch (line->kind) {
    case LINE_BASE_FEE:
        buf_addf(out, "    %s x %" PRId64 "/%" PRId64 " days (catalogue version of %s)",
                 cents_words(segment->base_fee, a), segment_days(segment), period_days(in->period),
                 version);
        add_product(out, in, rating, line);
        break;
    case LINE_CREDITS:
        buf_addf(out, "    %s used - %s from the pool", credits_words(sums.used, a),
                 credits_words(sums.pooled, b));
        buf_addf(out, " - %s from grants\n", credits_words(sums.granted, a));
        buf_addf(out, "    = %s x %s (catalogue version of %s)", credits_words(sums.bought, a),
                 price_format(segment->price, b), version);
        add_product(out, in, rating, line);
        break;
    case LINE_DISCOUNT:
        buf_addf(out, "    %s x %s", credits_words(sums.bought, a),
                 price_format(segment->price, b));
        buf_addf(out, " x -%s%%", cents_format((Cents){segment->discount_bps}, a));
        add_product(out, in, rating, line);
        break;
    case LINE_MINIMUM:
        buf_addf(out, "    from %s, the lines so far, to %s\n",
                 cents_words(lines_before(rating, line), a), cents_words(minimum_of(in), b));
        break;
    case LINE_ADJUSTMENT: add_adjustment(s, line); break;
    case LINE_GRANT:
        for (size_t i = 0; i < in->grants; i++)
            if (str_equal(in->grant[i].grant.id, line->grant))
                buf_addf(out, "    %s before, %s left\n",
                         cents_words((Cents){in->grant[i].balance}, a),
                         cents_words((Cents){in->grant[i].balance - rating->drawn[i]}, b));
        break;
    case LINE_CARRY_FORWARD:
        buf_addf(out, "    the lines so far come to %s\n",
                 cents_words(lines_before(rating, line), a));
        break;
    case LINE_TAX:
        buf_addf(out, "    of %s", cents_words(lines_before(rating, line), a));
        add_product(out, in, rating, line);
        break;
    }
}

static void add_lines(Speaking *s)
{
    const Invoice *invoice = &s->x->invoice;
    char text[AMOUNT_TEXT];
    Buf *out = &s->out;
    buf_addf(out, "\n%-64s%16s\n", "Lines", "USD");
    for (size_t i = 0; i < invoice->lines; i++) {
        const Line *line = &invoice->line[i];
        add_span(out, line->from, line->to);
        buf_addf(out, "  %-40.*s%16s\n", (int)line->description.n, line->description.p,
                 cents_words(line->amount, text));
        add_why(s, &s->x->rating.line[i]);
    }
    buf_addf(out, "%-64s%16s\n", "Subtotal", cents_words(invoice->subtotal, text));
    buf_addf(out, "%-64s%16s\n", "Total", cents_words(invoice->total, text));
}

// ---- runs ----
static void begin_entry(void *context, const Entry *entry)
{
    Speaking *s = context;
    (void)entry;
    buf_clear(&s->said);
}

static void add_beats(Speaking *s)
{
    Beats *beats = &s->beats;
    char first[INSTANT_TEXT], last[INSTANT_TEXT];
    if (beats->count == 0) return;
    if (beats->count == 1) {
        buf_addf(&s->said, "      %s  vm.heartbeat proved life\n%10s%.*s\n",
                 instant_format(beats->first, first), "", (int)beats->first_place.n,
                 beats->first_place.p);
    } else {
        buf_addf(&s->said, "      %" PRId64 " heartbeats from %s to %s\n", beats->count,
                 instant_format(beats->first, first), instant_format(beats->last, last));
        buf_addf(&s->said, "%10s%.*s to\n%10s%.*s\n", "", (int)beats->first_place.n,
                 beats->first_place.p, "", (int)beats->last_place.n, beats->last_place.p);
    }
    beats->count = 0;
}

static void count_beat(Beats *beats, const Told *told)
{
    if (beats->count++ == 0) {
        beats->first = told->event.at;
        buf_clear(&beats->first_place);
        add_place(&beats->first_place, &told->place);
    }
    beats->last = told->event.at;
    buf_clear(&beats->last_place);
    add_place(&beats->last_place, &told->place);
}

static void add_event(void *context, const Told *told)
{
    Speaking *s = context;
    const Event *event = &told->event;
    char at[INSTANT_TEXT];
    Buf *out = &s->said;
    if (event->type == EVENT_HEARTBEAT && told->did == DID_PROVE) {
        count_beat(&s->beats, told);
        return;
    }
    add_beats(s);
    const char *type = event_type_name(event->type);
    buf_addf(out, "      %s %s%s", instant_format(event->at, at), type ? " " : "",
             type ? type : "");
    if (event->type == EVENT_STARTED) buf_addf(out, " %s", bootup_name(event->bootup));
    if (event->type == EVENT_STARTED || event->type == EVENT_RESIZED)
        buf_addf(out, " %s", s->x->catalog->size_names[event_size(event, s->x->catalog)]);
    if (told->did == DID_NOTHING)
        buf_addf(out, " did nothing: %.*s", (int)told->why.n, told->why.p);
    else buf_addf(out, " %s", did_name(told->did));
    buf_addf(out, "\n%10s", "");
    add_place(out, &told->place);
    if (type) {
        buf_add_text(out, ", ");
        buf_add_clean(out, event->source);
        buf_add_char(out, ' ');
        buf_add_clean(out, event->id);
    }
    if (told->retracted) {
        buf_addf(out, "\n%10sretracted by ", "");
        buf_add_clean(out, told->by_source);
        buf_add_char(out, ' ');
        buf_add_clean(out, told->by_id);
        buf_add_text(out, " at ");
        add_place(out, &told->by_place);
    }
    buf_add_char(out, '\n');
}

static void add_run(Speaking *s, const Entry *entry)
{
    const Run *run = entry->run;
    char start[INSTANT_TEXT], end[INSTANT_TEXT], text[AMOUNT_TEXT], day[DAY_TEXT];
    Buf *out = &s->out;
    if (!run) {
        buf_add_text(out, "    events of no run\n");
        return;
    }
    buf_addf(out, "    run %s to %s, %s", instant_format(run->start, start),
             run->by == ENDED_NOT ? "the horizon" : instant_format(run->end, end),
             ended_by_name(run->by));
    if (!str_absent(run->name)) buf_add_text(out, ", named ");
    buf_add_clean(out, run->name);
    buf_add_char(out, '\n');
    for (size_t i = 0; i < entry->cells; i++) {
        const RunCell *cell = &entry->cell[i];
        buf_addf(out, "      %-12s%-20s%10s minutes", day_format(cell->day, day),
                 s->x->catalog->size_names[cell->size], count_words(cell->minutes, text));
        buf_addf(out, "%16s credits\n", credits_words(cell->cm, text));
    }
}

static void end_entry(void *context, const Entry *entry)
{
    Speaking *s = context;
    add_beats(s);
    s->mark = s->out.n;
    s->named = false;
    for (size_t i = 0; i < entry->cells; i++) s->made += entry->cell[i].minutes;
    s->runs += entry->run != NULL;
    if (s->runs > s->runs_max || s->runs_max == 0) return;
    if (!str_is(entry->vm, s->vm)) {
        memcpy(s->vm, entry->vm.p, entry->vm.n);
        s->vm[entry->vm.n] = '\0';
        buf_add_text(&s->out, "  VM ");
        buf_add_clean(&s->out, entry->vm);
        buf_add_char(&s->out, '\n');
        s->named = true;
    }
    add_run(s, entry);
    buf_add_str(&s->out, buf_str(&s->said));
    if (entry->heartbeats_elsewhere)
        buf_addf(&s->out, "      and %" PRId64 " heartbeats on days that are not explained here\n",
                 entry->heartbeats_elsewhere);
}

static void drop_entry(void *context)
{
    Speaking *s = context;
    s->out.n = s->mark;
    if (s->named) s->vm[0] = '\0';
    s->runs--;
}

static Status pause(void *context, bool certain, Error *error)
{
    Speaking *s = context;
    if (!certain || s->out.n < EXPLAIN_PIECE_BYTES) return ST_OK;
    TRY(s->write(s->context, buf_str(&s->out), error));
    buf_clear(&s->out);
    s->mark = 0;
    return ST_OK;
}

// ---- the end ----
static void add_difference(void *context, const Difference *difference)
{
    Speaking *s = context;
    char day[DAY_TEXT], a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    buf_addf(&s->out, "  %-12s%-20.*s%16s%16s  ", day_format(difference->day, day),
             (int)difference->size.n, difference->size.p, count_words(difference->kept, a),
             count_words(difference->made, b));
    if (str_absent(difference->settled_by)) buf_add_text(&s->out, "not adjusted (yet)");
    else buf_add_str(&s->out, difference->settled_by);
    buf_add_char(&s->out, '\n');
}

static int64_t minutes_kept(const Explained *x)
{
    int64_t sum = 0;
    for (size_t i = 0; i < x->scopes; i++)
        for (int day = 0; day < RATE_DAYS_MAX; day++)
            for (int size = 0; size < x->catalog->sizes; size++)
                if (x->scope[i].days >> day & 1) sum += (*x->scope[i].kept)[day][size];
    return sum;
}

static void add_end(Speaking *s)
{
    char a[AMOUNT_TEXT], b[AMOUNT_TEXT];
    Buf *out = &s->out;
    const char *what = s->x->scopes > 1 ? "the invoice and of the days that it adjusts"
                                        : "the invoice";
    if (s->runs == 0) buf_add_text(out, "  none\n");
    if (s->runs > s->runs_max)
        buf_addf(out, "  and %s more runs (--runs shows more)\n",
                 count_words(s->runs - s->runs_max, a));
    buf_add_char(out, '\n');
    if (explain_differences(s->x, NULL, NULL) == 0) {
        buf_addf(out, "These runs make up all %s minutes of %s.\n", count_words(s->made, a), what);
        return;
    }
    buf_addf(out, "These runs make up %s minutes, and %s of %s were rated: events came later.\n",
             count_words(s->made, a), count_words(minutes_kept(s->x), b), what);
    buf_addf(out, "  %-12s%-20s%16s%16s  %s\n", "day", "size", "minutes rated", "minutes now",
             "settled");
    (void)explain_differences(s->x, add_difference, s);
}

static Status speak(Db *db, Speaking *s, Error *error)
{
    const Teller teller = {begin_entry, add_event, end_entry, drop_entry, pause, s};
    add_head(s);
    buf_add_text(&s->out, "\nTerms\n");
    add_terms(&s->out, &s->x->in, "  ");
    add_days(&s->out, &s->x->in, &s->x->rating);
    add_grants(&s->out, &s->x->in, &s->x->rating);
    add_lines(s);
    buf_add_text(&s->out, "\nRuns\n");
    TRY(explain_runs(db, s->x, &teller, error));
    add_end(s);
    return s->write(s->context, buf_str(&s->out), error);
}

Status explain_text(Db *db, Explained *x, int64_t runs_max, ExplainFn write, void *context,
                    Error *error)
{
    Speaking s = {.x = x, .write = write, .context = context, .runs_max = runs_max};
    Status status = speak(db, &s, error);
    buf_free(&s.out);
    buf_free(&s.said);
    buf_free(&s.beats.first_place);
    buf_free(&s.beats.last_place);
    return status;
}
