// SPDX-License-Identifier: Apache-2.0
// Proves, by searching every order of steps of the quota protocol (tests/model.h) within small
// bounds, that no more machines really run than the limit allows and that no slot leaks for ever;
// and that the search sees what goes wrong, and shows the shortest way there, where one of the four
// conditions or a rule of the protocol is taken away.
#include "tests/model.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOW 1
#endif
#ifndef SLOW
#define SLOW 0
#endif

enum {
    STATES_MAX = 1 << 23, // a search that needs more fails
    WORDS = VMS_MAX + 1,
    NO_PARENT = UINT32_MAX,
};

// ---- a state in few bits ----
typedef struct Packed {
    uint64_t word[WORDS]; // the VMs, then the collectors
} Packed;

typedef struct Bits {
    uint64_t word;
    int at;
    bool reading;
} Bits;

// `low` is the least value that is kept.
static inline void bits(Bits *b, int8_t *value, int width, int low)
{
    uint64_t mask = (UINT64_C(1) << width) - 1;
    if (b->reading) {
        *value = (int8_t)((int)(b->word >> b->at & mask) + low);
    } else {
        uint64_t v = (uint64_t)(*value - low);
        if (v > mask) abort(); // a bound that this file does not know of
        b->word |= v << b->at;
    }
    b->at += width;
}

enum { PAST = -10 };

static inline void vm_bits(Bits *b, Vm *vm)
{
    bits(b, &vm->events, 3, 0);
    bits(b, &vm->runs, 1, 0);
    bits(b, &vm->holds, 1, 0);
    bits(b, &vm->holds_living, 1, 0);
    bits(b, &vm->holds_until, 3, -1);
    bits(b, &vm->reserved, 1, 0);
    bits(b, &vm->lapses_at, 4, PAST);
    bits(b, &vm->given, 1, 0);
    bits(b, &vm->doubted, 1, 0);
    bits(b, &vm->open, 1, 0);
    bits(b, &vm->vouched, 1, 0);
    bits(b, &vm->vouched_until, 4, PAST);
    bits(b, &vm->checked, 1, 0);
    bits(b, &vm->deleting, 2, 0);
    for (int i = 0; i < vm->events; i++) {
        Event *event = &vm->event[i];
        bits(b, &event->start, 1, 0);
        bits(b, &event->place, 2, 0);
        bits(b, &event->uses, 1, 0);
        bits(b, &event->late, 1, 0);
        bits(b, &event->due, 2, 0);
        bits(b, &event->at, 2, -3);
    }
}

static inline void collector_bits(Bits *b, Collector *collector)
{
    bits(b, &collector->stage, 2, 0);
    bits(b, &collector->noted, 4, PAST);
    bits(b, &collector->progress, 4, PAST);
}

// Times that are past matter only by their order, and only against what collectors noted: of those
// times the latest becomes -2, the next -4; what lies between gets the number between.
static void rank(const World *w, State *s)
{
    int mark[2 * COLLECTORS_MAX], marks = 0;
    for (int c = 0; c < w->collectors; c++) {
        mark[marks++] = s->collector[c].noted;
        mark[marks++] = s->collector[c].progress;
    }
    for (int i = 1; i < marks; i++) {
        for (int k = i; k > 0 && mark[k] > mark[k - 1]; k--) {
            int swap = mark[k];
            mark[k] = mark[k - 1], mark[k - 1] = swap;
        }
    }
    int8_t *times[2 * VMS_MAX + 2 * COLLECTORS_MAX], n = 0;
    for (int v = 0; v < w->vms; v++) {
        times[n++] = &s->vm[v].lapses_at;
        times[n++] = &s->vm[v].vouched_until;
    }
    for (int c = 0; c < w->collectors; c++) {
        times[n++] = &s->collector[c].noted;
        times[n++] = &s->collector[c].progress;
    }
    for (int i = 0; i < n; i++) {
        if (*times[i] >= 0) continue;
        int place = -1;
        for (int k = 0; k < marks && *times[i] <= mark[k]; k++) {
            if (mark[k] >= 0 || (k > 0 && mark[k] == mark[k - 1])) continue;
            place -= *times[i] == mark[k] ? 1 : 2;
        }
        *times[i] = (int8_t)place;
    }
}

// VMs are alike: states that differ only by their names are one.
static Packed pack(const World *w, const State *state)
{
    State s = *state;
    rank(w, &s);
    Packed packed = {0};
    uint64_t reader[VMS_MAX] = {0};
    for (int v = 0; v < w->vms; v++) {
        Bits b = {0}, c = {0};
        vm_bits(&b, &s.vm[v]);
        if (w->collectors > 1) collector_bits(&c, &s.collector[v]);
        int k = v;
        for (; k > 0; k--) {
            uint64_t before = packed.word[k - 1];
            if (before < b.word || (before == b.word && reader[k - 1] <= c.word)) break;
            packed.word[k] = before;
            reader[k] = reader[k - 1];
        }
        packed.word[k] = b.word;
        reader[k] = c.word;
    }
    Bits b = {0};
    if (w->collectors == 1) collector_bits(&b, &s.collector[0]);
    packed.word[WORDS - 1] = w->collectors == 1 ? b.word : reader[0] | reader[1] << 10;
    return packed;
}

static State unpack(const World *w, const Packed *packed)
{
    State s;
    memset(&s, 0, sizeof s);
    for (int v = 0; v < w->vms; v++) {
        Bits b = {.word = packed->word[v], .reading = true};
        vm_bits(&b, &s.vm[v]);
    }
    Bits b = {.word = packed->word[WORDS - 1], .reading = true};
    for (int c = 0; c < w->collectors; c++) collector_bits(&b, &s.collector[c]);
    return s;
}

static bool same(const Packed *a, const Packed *b) { return memcmp(a, b, sizeof *a) == 0; }

// ---- the states that were seen ----
typedef struct Seen {
    Packed *state; // in the order in which they were reached: nearest first
    uint32_t *parent;
    uint32_t n, max;
    uint32_t *table; // index + 1 by hash
    uint32_t mask;
} Seen;

static void seen_grow(Seen *seen)
{
    ck_assert_msg(seen->max < STATES_MAX, "more than %d states", STATES_MAX);
    seen->max = seen->max ? 2 * seen->max : 1 << 16;
    seen->state = realloc(seen->state, seen->max * sizeof *seen->state);
    seen->parent = realloc(seen->parent, seen->max * sizeof *seen->parent);
    free(seen->table);
    seen->table = calloc(2 * (size_t)seen->max, sizeof *seen->table);
    ck_assert(seen->state && seen->parent && seen->table);
    seen->mask = 2 * seen->max - 1;
}

static uint32_t *seen_place(Seen *seen, const Packed *packed)
{
    uint64_t hash = 0;
    for (int i = 0; i < WORDS; i++) {
        hash = (hash ^ packed->word[i]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    uint32_t at = (uint32_t)(hash >> 8) & seen->mask;
    while (seen->table[at] && !same(&seen->state[seen->table[at] - 1], packed)) {
        at = (at + 1) & seen->mask;
    }
    return &seen->table[at];
}

// Whether it is new.
static bool seen_add(Seen *seen, const Packed *packed, uint32_t parent)
{
    if (seen->n == seen->max) {
        seen_grow(seen);
        for (uint32_t i = 0; i < seen->n; i++) *seen_place(seen, &seen->state[i]) = i + 1;
    }
    uint32_t *place = seen_place(seen, packed);
    if (*place) return false;
    seen->state[seen->n] = *packed;
    seen->parent[seen->n++] = parent;
    *place = seen->n;
    return true;
}

static void seen_free(Seen *seen)
{
    free(seen->state);
    free(seen->parent);
    free(seen->table);
}

// ---- the search ----
typedef enum Outcome { HOLDS, EXCEEDS, LEAKS } Outcome;
static const char *const OUTCOMES[] = {"holds", "exceeds", "leaks"};

static int of_count(const World *w, const StepKind *kind)
{
    return kind->of == OF_ALL ? 1 : kind->of == OF_COLLECTOR ? w->collectors : w->vms;
}

// The i-th try of a kind at v: false where there is none.
static bool take(const World *w, const StepKind *kind, State *s, int v, int i)
{
    if (i >= (kind->of == OF_EVENT ? s->vm[v].events : 1)) return false;
    if (!kind->take(w, s, v, i)) return false;
    settle(w, s);
    return true;
}

// Where no machine runs and nobody asks any more, what is on its way arrives, the clock runs and
// the collector comes to the end: is a slot still in use?
static bool leaks(const World *w, const State *state)
{
    if (slots(w, state) == 0 || machines(w, state) > 0) return false;
    State s = *state;
    for (int round = 0; round < 2; round++) {
        for (int v = 0; v < w->vms; v++) {
            for (int i = 0; i < s.vm[v].events; i++) (void)step_acknowledge(w, &s, v, i);
        }
        for (int tick = 0; tick <= w->lifetime + w->delay; tick++) (void)step_tick(w, &s, 0, 0);
        for (int c = 0; c < w->collectors; c++) {
            (void)step_crash(w, &s, c, 0);
            bool first = step_note(w, &s, c, 0);
            bool asked = step_watermark(w, &s, c, 0);
            if (!first) (void)step_note(w, &s, c, 0);
            for (int v = 0; v < w->vms; v++) {
                while (s.vm[v].events > 0 && step_meter(w, &s, v, 0)) {}
            }
            if (asked) (void)step_publish(w, &s, c, 0);
        }
    }
    return slots(w, &s) > 0;
}

static State beginning(const World *w)
{
    State s;
    memset(&s, 0, sizeof s);
    for (int c = 0; c < w->collectors; c++) s.collector[c].progress = -1;
    settle(w, &s);
    return s;
}

// Finds the step that leads to `next`, and takes it.
static const StepKind *step_to(const World *w, State *s, const Packed *next, int *v, int *i)
{
    for (const StepKind *kind = STEPS; kind < STEPS + STEP_KINDS; kind++) {
        for (*v = 0; *v < of_count(w, kind); ++*v) {
            for (*i = 0; *i < UNREAD_MAX; ++*i) {
                State then = *s;
                if (!take(w, kind, &then, *v, *i)) continue;
                Packed packed = pack(w, &then);
                if (!same(&packed, next)) continue;
                *s = then;
                return kind;
            }
        }
    }
    return NULL;
}

// Prints the steps to a state; VMs keep their names all the way.
static void explain(const World *w, const Seen *seen, uint32_t last)
{
    enum { STEPS_SHOWN_MAX = 200 };
    uint32_t path[STEPS_SHOWN_MAX];
    int n = 0, clock = 0;
    for (uint32_t at = last; at != 0; at = seen->parent[at]) {
        ck_assert(n < STEPS_SHOWN_MAX);
        path[n++] = at;
    }
    State s = beginning(w);
    while (n > 0) {
        int v = 0, i = 0;
        State before = s;
        const StepKind *kind = step_to(w, &s, &seen->state[path[--n]], &v, &i);
        ck_assert_msg(kind != NULL, "the way cannot be followed");
        char text[100];
        const char *what = before.vm[v].event[i].start ? "start" : "end";
        if (kind->of == OF_ALL) {
            clock++;
            snprintf(text, sizeof text, "%s", kind->text);
        } else {
            snprintf(text, sizeof text, kind->text, (kind->of == OF_COLLECTOR ? '1' : 'A') + v,
                     what);
        }
        printf("    t=%d  slots %d, machines %d  %s\n", clock, slots(w, &s), machines(w, &s), text);
    }
}

typedef struct Row {
    const char *name;
    World world;
    Outcome expected;
} Row;

static Outcome judge(const Row *row, const State *s)
{
    if (machines(&row->world, s) > row->world.limit) return EXCEEDS;
    if (row->expected != EXCEEDS && leaks(&row->world, s)) return LEAKS;
    return HOLDS;
}

// Adds what can come next; stops at the first state that is not as it should be.
static Outcome expand(const Row *row, Seen *seen, uint32_t at)
{
    const World *w = &row->world;
    State s = unpack(w, &seen->state[at]);
    for (const StepKind *kind = STEPS; kind < STEPS + STEP_KINDS; kind++) {
        for (int v = 0; v < of_count(w, kind); v++) {
            for (int i = 0; i < (kind->of == OF_EVENT ? s.vm[v].events : 1); i++) {
                State then = s;
                if (!take(w, kind, &then, v, i)) continue;
                Packed packed = pack(w, &then);
                if (!seen_add(seen, &packed, at)) continue;
                Outcome outcome = judge(row, &then);
                if (outcome != HOLDS) return outcome;
            }
        }
    }
    return HOLDS;
}

static Outcome search(const Row *row)
{
    Seen seen = {0};
    State s = beginning(&row->world);
    Packed packed = pack(&row->world, &s);
    (void)seen_add(&seen, &packed, NO_PARENT);
    Outcome outcome = HOLDS;
    for (uint32_t at = 0; at < seen.n && outcome == HOLDS; at++) outcome = expand(row, &seen, at);
    printf("%-8s %9u states  %s\n", OUTCOMES[outcome], seen.n, row->name);
    if (outcome != HOLDS) explain(&row->world, &seen, seen.n - 1);
    fflush(stdout);
    seen_free(&seen);
    return outcome;
}

// ---- the rows ----
// Slots, VMs, ticks of a reservation, collectors; unread events at most: of a VM, of all.
#define BOUNDS(slots, machines, ticks, readers, each, all)                                         \
    .limit = slots, .vms = machines, .lifetime = ticks, .delay = 1, .collectors = readers,         \
    .unread = each, .unread_all = all
#define WORLD BOUNDS(1, 2, 1, 1, 4, 5)
#define ANY_ORDER BOUNDS(1, 2, 1, 1, 3, 4), .any_order = true

static const Row HOLD[] = {
    {"one slot, two VMs", {WORLD}, HOLDS},
    {"starts without a name, no skew", {WORLD, .nameless = true}, HOLDS},
    {"wrong keys", {ANY_ORDER}, HOLDS},
    {"wrong keys, starts without a name",
     {BOUNDS(1, 2, 1, 1, 3, 3), .any_order = true, .nameless = true},
     HOLDS},
    {"a partition and a collector for each VM", {BOUNDS(1, 2, 1, 2, 3, 3)}, HOLDS},
    {"two ticks to start", {BOUNDS(1, 2, 2, 1, 4, 5)}, HOLDS},
    {"two slots, three VMs", {BOUNDS(2, 3, 1, 1, 3, 3)}, HOLDS},
    {"renewed by a reservation, or within the limit", {WORLD, .weak = RENEW_WITHIN}, HOLDS},
    {"a late DELETE that names its reservation",
     {WORLD, .weak = DELETE_LATE | DELETE_BY_ID},
     HOLDS},
};

static const Row BREAK[] = {
    {"without (a): starts without asking", {WORLD, .dropped = COND_A}, EXCEEDS},
    {"without (b): starts after expires_at", {WORLD, .dropped = COND_B}, EXCEEDS},
    {"without (c): a start is not acknowledged in time", {WORLD, .dropped = COND_C}, EXCEEDS},
    {"without (d): deletes though the VM starts", {WORLD, .dropped = COND_D}, EXCEEDS},
    {"a vouch for a machine that runs", {WORLD, .weak = FALSE_VOUCH}, EXCEEDS},
    {"a late DELETE that names no reservation", {WORLD, .weak = DELETE_LATE}, EXCEEDS},
    {"a VM that counts is renewed, however it came to count",
     {WORLD, .weak = RENEW_RUNNING},
     EXCEEDS},
    {"the same, two slots and three VMs",
     {BOUNDS(2, 3, 1, 1, 3, 3), .weak = RENEW_RUNNING},
     EXCEEDS},
    {"a renewal keeps its id", {WORLD, .weak = SAME_ID}, EXCEEDS},
    {"expiry by the clock", {WORLD, .weak = CLOCK_EXPIRY}, EXCEEDS},
    {"expiry without the event delay", {WORLD, .weak = NO_EVENT_DELAY}, EXCEEDS},
    {"expiry when progress reaches, not passes", {WORLD, .weak = LAPSE_AT}, EXCEEDS},
    {"the end of a run ends the reservation", {WORLD, .weak = END_ENDS}, EXCEEDS},
    {"a vouch outlives its run", {WORLD, .weak = VOUCH_STAYS}, EXCEEDS},
    {"a vouch outlives the next start", {ANY_ORDER, .weak = VOUCH_TO_END}, EXCEEDS},
    {"a VM that was vouched for needs no room", {WORLD, .weak = UNCOUNTED_KEPT}, EXCEEDS},
    {"the limit is looked at outside of the lock", {WORLD, .weak = NO_LOCK}, EXCEEDS},
    {"the answer is given before the commit", {WORLD, .weak = ANSWER_FIRST}, EXCEEDS},
    {"the watermark is asked before the time is noted", {WORLD, .weak = WATERMARK_FIRST}, EXCEEDS},
    {"progress before all is metered", {WORLD, .weak = GOAL_UNREAD}, EXCEEDS},
    {"the position moves before events are metered", {WORLD, .weak = POSITION_FIRST}, EXCEEDS},
    {"Kafka loses what it acknowledged", {WORLD, .weak = KAFKA_LOSES}, EXCEEDS},
    {"events apply in order of arrival", {ANY_ORDER, .weak = ARRIVAL_ORDER}, EXCEEDS},
    {"events apply in order of arrival: a slot leaks",
     {BOUNDS(2, 2, 1, 1, 3, 4), .any_order = true, .weak = ARRIVAL_ORDER},
     LEAKS},
    {"idle partitions have no progress", {WORLD, .weak = PROGRESS_IF_BUSY}, LEAKS},
    {"reservations never lapse", {WORLD, .weak = NEVER_LAPSES}, LEAKS},
    {"known limit: a tolerant match of nameless starts",
     {WORLD, .nameless = true, .skew = 1},
     EXCEEDS},
};

static void check_row(Row row)
{
    Outcome outcome = search(&row);
    ck_assert_msg(outcome == row.expected, "%s: %s, expected: %s", row.name, OUTCOMES[outcome],
                  OUTCOMES[row.expected]);
}

START_TEST(holds)
{
    Row row = HOLD[_i];
    if (SLOW) row.world.unread = row.world.unread_all = 2;
    check_row(row);
}
END_TEST

START_TEST(breaks) { check_row(BREAK[_i]); }
END_TEST

int main(void)
{
    TCase *tests = tcase_create("model");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, holds, 0, sizeof HOLD / sizeof *HOLD);
    tcase_add_loop_test(tests, breaks, 0, sizeof BREAK / sizeof *BREAK);
    Suite *suite = suite_create("model");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
