// SPDX-License-Identifier: Apache-2.0
#include "meter/timeline.h"

const char *ended_by_name(EndedBy by)
{
    static const char *const names[] = {"hibernated", "stopped", "superseded", "heartbeat_lost",
                                        "open"};
    return names[by];
}

// ---- order within one instant ----
typedef struct Order {
    bool running;   // just before the instant
    bool sequenced; // every event of the instant has a sequence
} Order;

static int type_rank(EventType type, bool running)
{
    static const int ranks[2][5] = {
        // started, resized, heartbeat, hibernated, stopped
        {0, 2, 1, 3, 4}, // not running
        {2, 4, 3, 0, 1}, // running
    };
    return ranks[running][type];
}

static int compare_events(const void *pa, const void *pb, void *context)
{
    const Event *a = *(const Event *const *)pa, *b = *(const Event *const *)pb;
    const Order *order = context;
    int by_sequence = order->sequenced ? str_compare(a->sequence, b->sequence) : 0;
    if (by_sequence) return by_sequence;
    int by_type = type_rank(a->type, order->running) - type_rank(b->type, order->running);
    if (by_type) return by_type;
    int by_source = str_compare(a->source, b->source);
    return by_source ? by_source : str_compare(a->id, b->id);
}

// ---- runs ----
static void push_span(Timeline *t, SizeSpan span)
{
    if (t->spans > 0 && t->span[t->spans - 1].size == span.size) return;
    if (t->spans > 0 && t->span[t->spans - 1].from.us == span.from.us) { // held for no time at all
        t->span[t->spans - 1] = span;
        if (t->spans > 1 && t->span[t->spans - 2].size == span.size) t->spans--;
        return;
    }
    if (t->spans == t->span_room) {
        int room = t->span_room ? t->span_room * 2 : 1;
        SizeSpan *more = arena_alloc(t->arena, (size_t)room * sizeof *more);
        if (t->spans) memcpy(more, t->span, (size_t)t->spans * sizeof *more);
        t->span = more;
        t->span_room = room;
    }
    t->span[t->spans++] = span;
}

static void open_run(Timeline *t, Instant at, SizeNo size, Str name)
{
    t->nth = t->started && t->start.us == at.us ? t->nth + 1 : 0;
    t->started = true;
    t->phase = PHASE_RUNNING;
    t->start = at;
    t->name = arena_copy(t->arena, name);
    t->watched = false;
    t->span = NULL; // the run before keeps its own
    t->spans = t->span_room = 0;
    push_span(t, (SizeSpan){at, size});
}

static Run run_until(const Timeline *t, Instant end, EndedBy by)
{
    int spans = t->spans;
    while (spans > 1 && t->span[spans - 1].from.us >= end.us) spans--;
    return (Run){t->start, end, t->nth, by, t->name, spans, t->span};
}

static SizeNo last_size(const Timeline *t) { return t->span[t->spans - 1].size; }

static void end_run(Timeline *t, Instant end, EndedBy by, RunFn ended, void *context)
{
    Run run = run_until(t, end, by);
    ended(context, &run);
    t->phase = PHASE_IDLE;
    t->watched = false;
}

// Whether a run under watch had no proof of life for more than the timeout of its last proof's day,
// at `at`.
static bool is_lost(const Timeline *t, const Catalog *catalog, Instant at)
{
    if (t->phase != PHASE_RUNNING || !t->watched) return false;
    int64_t timeout_us = catalog_on(catalog, instant_day(t->proof))->heartbeat_timeout_us;
    return t->proof.us < at.us - timeout_us;
}

static void expire(Timeline *t, const Catalog *catalog, Instant at, RunFn ended, void *context)
{
    if (!is_lost(t, catalog, at)) return;
    SizeNo size = last_size(t);
    Str name = t->name;
    end_run(t, t->proof, ENDED_HEARTBEAT_LOST, ended, context);
    t->phase = PHASE_LOST;
    t->name = name;
    t->span = NULL;
    t->spans = t->span_room = 0;
    push_span(t, (SizeSpan){t->proof, size});
}

// ---- one event ----
static bool names_differ(const Timeline *t, const Event *event)
{
    return !str_absent(t->name) && !str_absent(event->run) && !str_equal(t->name, event->run);
}

static void prove(Timeline *t, Instant at)
{
    if (t->watched) t->proof = at;
}

static void reopen(Timeline *t, const Event *event, SizeNo size)
{
    open_run(t, event->at, size, str_absent(event->run) ? t->name : event->run);
    t->watched = true;
    t->proof = event->at;
}

static void apply_started(Timeline *t, const Event *event, SizeNo size, RunFn ended, void *context)
{
    bool running = t->phase == PHASE_RUNNING;
    if (running && event->bootup == BOOTUP_RUNNING && !names_differ(t, event)) {
        push_span(t, (SizeSpan){event->at, size});
        prove(t, event->at);
        return;
    }
    if (running) end_run(t, event->at, ENDED_SUPERSEDED, ended, context);
    open_run(t, event->at, size, event->run);
}

static void apply_resized(Timeline *t, const Event *event, SizeNo size)
{
    if (t->phase == PHASE_IDLE || names_differ(t, event)) return;
    if (t->phase == PHASE_LOST) {
        reopen(t, event, size);
        return;
    }
    push_span(t, (SizeSpan){event->at, size});
    prove(t, event->at);
}

static void apply_heartbeat(Timeline *t, const Event *event)
{
    if (t->phase == PHASE_IDLE || names_differ(t, event)) return;
    if (t->phase == PHASE_LOST) {
        reopen(t, event, last_size(t));
        return;
    }
    t->watched = true;
    t->proof = event->at;
}

static void apply_end(Timeline *t, const Event *event, RunFn ended, void *context)
{
    if (t->phase == PHASE_IDLE || names_differ(t, event)) return;
    if (t->phase == PHASE_RUNNING) {
        EndedBy by = event->type == EVENT_STOPPED ? ENDED_STOPPED : ENDED_HIBERNATED;
        end_run(t, event->at, by, ended, context);
    }
    t->phase = PHASE_IDLE;
}

void timeline_order(const Timeline *timeline, const Catalog *catalog, const Event **events,
                    size_t n)
{
    if (n < 2) return;
    bool running = timeline->phase == PHASE_RUNNING && !is_lost(timeline, catalog, events[0]->at);
    Order order = {running, true};
    for (size_t i = 0; i < n; i++)
        if (str_absent(events[i]->sequence)) order.sequenced = false;
    qsort_r(events, n, sizeof *events, compare_events, &order);
}

void timeline_apply(Timeline *timeline, const Catalog *catalog, const Event **events, size_t n,
                    RunFn ended, void *context)
{
    if (n == 0) return;
    expire(timeline, catalog, events[0]->at, ended, context);
    timeline_order(timeline, catalog, events, n);
    for (size_t i = 0; i < n; i++) {
        const Event *event = events[i];
        switch (event->type) {
        case EVENT_STARTED:
            apply_started(timeline, event, event_size(event, catalog), ended, context);
            break;
        case EVENT_RESIZED: apply_resized(timeline, event, event_size(event, catalog)); break;
        case EVENT_HEARTBEAT: apply_heartbeat(timeline, event); break;
        case EVENT_HIBERNATED:
        case EVENT_STOPPED: apply_end(timeline, event, ended, context); break;
        case EVENT_RETRACTED:
        case EVENT_NOT_METERED:
        case EVENT_UNKNOWN: ASSERT(!"only events that act come here");
        }
    }
}

Instant timeline_reach(const Timeline *timeline, Instant at)
{
    bool watched = timeline->phase == PHASE_RUNNING && timeline->watched;
    return instant_add_us(watched ? instant_min(timeline->proof, at) : at, -US_PER_MINUTE);
}

bool timeline_open_run(const Timeline *timeline, const Catalog *catalog, Instant horizon, Run *out)
{
    if (timeline->phase != PHASE_RUNNING || horizon.us < timeline->start.us) return false;
    if (is_lost(timeline, catalog, horizon))
        *out = run_until(timeline, timeline->proof, ENDED_HEARTBEAT_LOST);
    else *out = run_until(timeline, horizon, ENDED_NOT);
    return true;
}

// ---- spans as text ----
void spans_format(const Catalog *catalog, const SizeSpan *span, int spans, Buf *out)
{
    char at[INSTANT_TEXT];
    for (int i = 0; i < spans; i++) {
        if (i > 0) buf_addf(out, " %s ", instant_format(span[i].from, at));
        buf_add_text(out, catalog->size_names[span[i].size]);
    }
}

static Str next_word(Str *text)
{
    const char *space = memchr(text->p, ' ', text->n);
    Str word = {text->p, space ? (size_t)(space - text->p) : text->n};
    size_t step = space ? word.n + 1 : word.n;
    *text = (Str){text->p + step, text->n - step};
    return word;
}

SizeSpan *spans_parse(const Catalog *catalog, Str text, Instant start, Arena *arena, int *spans)
{
    int words = 1;
    for (size_t i = 0; i < text.n; i++) words += text.p[i] == ' ';
    *spans = (words + 1) / 2;
    SizeSpan *span = arena_alloc(arena, (size_t)*spans * sizeof *span);
    for (int i = 0; i < *spans; i++) {
        span[i].from = start;
        if (i > 0) ASSERT(instant_parse(next_word(&text), &span[i].from));
        span[i].size = catalog_size(catalog, next_word(&text));
        ASSERT(span[i].size != SIZE_NONE);
    }
    return span;
}
