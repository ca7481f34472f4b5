// SPDX-License-Identifier: Apache-2.0
// What the events of one VM mean, a second time: written from the contract's words alone, to be
// obviously right and slow. Minutes are counted one by one, sizes and versions found by looking at
// all of them. Shares with the product only the types Event and Catalog, none of its functions but
// those of Str and of memory.
#pragma once

#include "catalog/catalog.h"
#include "meter/event.h"

enum { ORACLE_RUNS_MAX = 64, ORACLE_HOLDS_MAX = 64, ORACLE_CELLS_MAX = 64 };

// A size, from an instant up to another: perhaps for no time at all.
typedef struct OracleHold {
    int64_t from, to;
    SizeNo size;
} OracleHold;

typedef struct OracleRun {
    int64_t start, end;
    const char *ended_by;
    Str name;
    int holds;
    OracleHold hold[ORACLE_HOLDS_MAX];
} OracleRun;

typedef struct OracleCell {
    int64_t day;
    SizeNo size;
    int64_t minutes, cm;
} OracleCell;

typedef enum OracleState { OFF, ON, LOST } OracleState;

typedef struct Oracle {
    const Catalog *catalog;
    OracleState state;
    bool watched;
    int64_t proof;
    SizeNo last_size;
    int runs; // while ON, the last one is open
    OracleRun run[ORACLE_RUNS_MAX];
    int cells;
    OracleCell cell[ORACLE_CELLS_MAX];
} Oracle;

// ---- the catalogue ----
static int64_t oracle_day(int64_t at)
{
    int64_t day = at / 86400000000;
    return at < day * 86400000000 ? day - 1 : day;
}

static const CatalogVersion *oracle_version(const Oracle *o, int64_t at)
{
    const CatalogVersion *found = &o->catalog->version[0]; // also covers all time before
    for (int i = 0; i < o->catalog->versions; i++)
        if (o->catalog->version[i].from.days <= oracle_day(at)) found = &o->catalog->version[i];
    return found;
}

// Whether one size is preferred over another where both cost the same.
static bool oracle_first_by_name(const Oracle *o, SizeNo a, SizeNo b)
{
    return strcmp(o->catalog->size_names[a], o->catalog->size_names[b]) < 0;
}

static SizeNo oracle_size(const Oracle *o, const Event *event)
{
    const CatalogVersion *version = oracle_version(o, event->at.us);
    SizeNo best = SIZE_NONE;
    for (int i = 0; i < o->catalog->sizes; i++) {
        const Size *size = &version->sizes[i];
        if (!str_absent(event->size)) {
            if (str_is(event->size, o->catalog->size_names[i])) return (SizeNo)i;
            continue;
        }
        if (size->millicpu < event->millicpu || size->memory_bytes < event->memory_bytes) continue;
        int32_t rate = size->credits_per_hour;
        int32_t least = best == SIZE_NONE ? 0 : version->sizes[best].credits_per_hour;
        if (best == SIZE_NONE || rate < least ||
            (rate == least && oracle_first_by_name(o, (SizeNo)i, best)))
            best = (SizeNo)i;
    }
    return best;
}

// ---- runs ----
static OracleRun *oracle_open(Oracle *o) { return &o->run[o->runs - 1]; }

static void oracle_hold(Oracle *o, int64_t at, SizeNo size)
{
    OracleRun *run = oracle_open(o);
    ASSERT(run->holds < ORACLE_HOLDS_MAX);
    if (run->holds > 0) run->hold[run->holds - 1].to = at;
    run->hold[run->holds++] = (OracleHold){at, INT64_MAX, size};
    o->last_size = size;
}

static void oracle_begin(Oracle *o, int64_t at, SizeNo size, Str name, bool watched)
{
    ASSERT(o->runs < ORACLE_RUNS_MAX);
    o->run[o->runs++] = (OracleRun){.start = at, .name = name};
    oracle_hold(o, at, size);
    o->state = ON;
    o->watched = watched;
    o->proof = at;
}

static void oracle_end(Oracle *o, int64_t at, const char *by, OracleState then)
{
    OracleRun *run = oracle_open(o);
    run->end = at;
    run->ended_by = by;
    for (int i = 0; i < run->holds; i++)
        if (run->hold[i].to > at) run->hold[i].to = at;
    o->state = then;
}

// A run under watch whose last proof of life is earlier than t - timeout ends at that proof.
static void oracle_watch(Oracle *o, int64_t t)
{
    if (o->state != ON || !o->watched) return;
    if (o->proof < t - oracle_version(o, o->proof)->heartbeat_timeout_us)
        oracle_end(o, o->proof, "heartbeat_lost", LOST);
}

// ---- the table ----
static void oracle_while_off(Oracle *o, const Event *e)
{
    if (e->type == EVENT_STARTED) oracle_begin(o, e->at.us, oracle_size(o, e), e->run, false);
}

static void oracle_while_on(Oracle *o, const Event *e)
{
    Str name = oracle_open(o)->name;
    bool another = !str_absent(name) && !str_absent(e->run) && !str_equal(name, e->run);
    bool goes_on = e->type == EVENT_STARTED && e->bootup == BOOTUP_RUNNING && !another;
    if (e->type == EVENT_STARTED && !goes_on) {
        oracle_end(o, e->at.us, "superseded", OFF);
        oracle_begin(o, e->at.us, oracle_size(o, e), e->run, false);
        return;
    }
    if (another) return;
    if (e->type == EVENT_HIBERNATED) oracle_end(o, e->at.us, "hibernated", OFF);
    if (e->type == EVENT_STOPPED) oracle_end(o, e->at.us, "stopped", OFF);
    if (e->type == EVENT_HEARTBEAT) o->watched = true;
    if (goes_on || e->type == EVENT_RESIZED) oracle_hold(o, e->at.us, oracle_size(o, e));
    o->proof = e->at.us; // counts only under watch
}

static void oracle_while_lost(Oracle *o, const Event *e)
{
    Str name = oracle_open(o)->name;
    if (e->type == EVENT_STARTED) {
        oracle_begin(o, e->at.us, oracle_size(o, e), e->run, false);
        return;
    }
    if (!str_absent(name) && !str_absent(e->run) && !str_equal(name, e->run)) return;
    Str kept = str_absent(e->run) ? name : e->run;
    if (e->type == EVENT_RESIZED) oracle_begin(o, e->at.us, oracle_size(o, e), kept, true);
    if (e->type == EVENT_HEARTBEAT) oracle_begin(o, e->at.us, o->last_size, kept, true);
    if (e->type == EVENT_HIBERNATED || e->type == EVENT_STOPPED) o->state = OFF;
}

// ---- order ----
static int oracle_place(EventType type, bool running)
{
    static const EventType while_running[] = {EVENT_HIBERNATED, EVENT_STOPPED, EVENT_STARTED,
                                              EVENT_HEARTBEAT, EVENT_RESIZED};
    static const EventType while_not[] = {EVENT_STARTED, EVENT_HEARTBEAT, EVENT_RESIZED,
                                          EVENT_HIBERNATED, EVENT_STOPPED};
    const EventType *order = running ? while_running : while_not;
    for (int i = 0; i < 5; i++)
        if (order[i] == type) return i;
    ASSERT(!"a type that is metered");
}

static bool oracle_before(const Event *a, const Event *b, bool by_sequence, bool running)
{
    if (by_sequence && !str_equal(a->sequence, b->sequence))
        return str_compare(a->sequence, b->sequence) < 0;
    if (a->type != b->type) return oracle_place(a->type, running) < oracle_place(b->type, running);
    if (!str_equal(a->source, b->source)) return str_compare(a->source, b->source) < 0;
    return str_compare(a->id, b->id) < 0;
}

// Applies the event of time t that is next among those that are not done; false where none is left.
static bool oracle_next(Oracle *o, const Event *event, bool *done, int n, int64_t t, bool running)
{
    bool by_sequence = true;
    for (int i = 0; i < n; i++)
        if (event[i].at.us == t && str_absent(event[i].sequence)) by_sequence = false;
    int next = -1;
    for (int i = 0; i < n; i++) {
        if (done[i] || event[i].at.us != t) continue;
        if (next < 0 || oracle_before(&event[i], &event[next], by_sequence, running)) next = i;
    }
    if (next < 0) return false;
    done[next] = true;
    oracle_watch(o, t);
    switch (o->state) {
    case OFF: oracle_while_off(o, &event[next]); break;
    case ON: oracle_while_on(o, &event[next]); break;
    case LOST: oracle_while_lost(o, &event[next]); break;
    }
    return true;
}

// ---- minutes ----
static void oracle_count(Oracle *o, int64_t begin, SizeNo size)
{
    int32_t rate = oracle_version(o, begin)->sizes[size].credits_per_hour;
    int i = 0;
    while (i < o->cells && (o->cell[i].day != oracle_day(begin) || o->cell[i].size != size)) i++;
    ASSERT(i < ORACLE_CELLS_MAX);
    if (i == o->cells) o->cell[o->cells++] = (OracleCell){oracle_day(begin), size, 0, 0};
    o->cell[i].minutes++;
    o->cell[i].cm += rate;
}

static void oracle_minutes(Oracle *o, const OracleRun *run)
{
    for (int64_t begin = run->start; begin < run->end; begin += 60000000) {
        const CatalogVersion *version = oracle_version(o, begin);
        int64_t end = begin + 60000000 < run->end ? begin + 60000000 : run->end;
        SizeNo best = SIZE_NONE;
        for (int i = 0; i < run->holds; i++) {
            int64_t from = run->hold[i].from > begin ? run->hold[i].from : begin;
            int64_t to = run->hold[i].to < end ? run->hold[i].to : end;
            SizeNo size = run->hold[i].size;
            if (from >= to) continue; // not held for any time in it
            int32_t rate = version->sizes[size].credits_per_hour;
            int32_t most = best == SIZE_NONE ? 0 : version->sizes[best].credits_per_hour;
            if (best == SIZE_NONE || rate > most ||
                (rate == most && oracle_first_by_name(o, size, best)))
                best = size;
        }
        oracle_count(o, begin, best);
    }
}

// All of it: the events of one VM, in any order, each once and none of them retracted.
static void oracle_tell(Oracle *o, const Catalog *catalog, const Event *event, int n,
                        int64_t horizon)
{
    bool done[ORACLE_RUNS_MAX] = {false};
    ASSERT(n <= ORACLE_RUNS_MAX);
    *o = (Oracle){.catalog = catalog};
    for (;;) {
        int64_t t = INT64_MAX;
        for (int i = 0; i < n; i++)
            if (!done[i] && event[i].at.us < t) t = event[i].at.us;
        if (t == INT64_MAX) break;
        oracle_watch(o, t);
        bool running = o->state == ON;
        while (oracle_next(o, event, done, n, t, running)) continue;
    }
    oracle_watch(o, horizon);
    if (o->state == ON) oracle_end(o, horizon, "open", OFF);
    for (int i = 0; i < o->runs; i++) oracle_minutes(o, &o->run[i]);
}
