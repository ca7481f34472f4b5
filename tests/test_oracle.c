// SPDX-License-Identifier: Apache-2.0
// Proves on random histories that timeline and minutes tell the same as an oracle that was written
// from the contract's words, minute by minute. TALLY_SEED=N makes the first history that of seed N.
#include "tests/history_rows.h"
#include "tests/oracle.h"

#include <inttypes.h>

enum { PARTS = 4, HISTORIES_PER_PART = 20000, EVENTS_MAX = 18 };

static uint64_t first_seed;

// ---- chance ----
static uint64_t chance; // splitmix64

static uint64_t draw(void)
{
    uint64_t z = chance += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int64_t below(int64_t n) { return (int64_t)(draw() % (uint64_t)n); }
static bool one_in(int64_t n) { return below(n) == 0; }
#define ONE_OF(list) (list)[below(sizeof(list) / sizeof *(list))]

// From one event to the next: none, tiny, about a minute, about the timeouts, long.
static int64_t gap_us(void)
{
    static const int64_t exact[] = {0, 0, 1, 30, 30, 60, 120, 599, 600};
    switch (below(8)) {
    case 0:
    case 1: return 0;
    case 2: return ONE_OF(exact) * US_PER_SECOND;
    case 3: return ONE_OF(exact) * US_PER_SECOND + 1;
    case 4: return below(2 * US_PER_MINUTE);
    case 5: return below(12) * US_PER_MINUTE;
    case 6: return below(700 * US_PER_SECOND);
    default: return below(one_in(12) ? 3 * US_PER_DAY : 100 * US_PER_MINUTE);
    }
}

static Instant any_begin(void)
{
    static const char *const begins[] = {"2026-10-03T10:00:00Z", "2026-10-09T23:40:00Z",
                                         "2026-09-30T23:55:30Z", "2028-02-28T23:50:00.000001Z",
                                         "2026-12-31T23:59:59.999999Z"};
    return time_parse(str(ONE_OF(begins)));
}

static Event any_event(Instant at, int nth, bool named, bool sequenced, Arena *arena)
{
    static const EventType types[] = {EVENT_STARTED,    EVENT_STARTED,   EVENT_RESIZED,
                                      EVENT_HEARTBEAT,  EVENT_HEARTBEAT, EVENT_HEARTBEAT,
                                      EVENT_HIBERNATED, EVENT_STOPPED};
    static const char *const sizes[] = {"pico", "alpha", "nano", "large"};
    static const char *const names[] = {"a", "a", "a", "b"};
    static const char *const sequences[] = {"1", "2", "10", "02"};
    char id[8];
    snprintf(id, sizeof id, "%c%d", (char)('a' + below(26)), nth);
    Event event = {.at = at,
                   .type = ONE_OF(types),
                   .source = one_in(2) ? STR("s") : STR("t"),
                   .id = arena_copy(arena, str(id))};
    if (event.type == EVENT_STARTED || event.type == EVENT_RESIZED) {
        event.size = str(ONE_OF(sizes));
        if (one_in(6)) {
            event.size = (Str){0};
            event.millicpu = 250 * (1 + below(10));
            event.memory_bytes = (1 + below(5)) << 30;
        }
    }
    if (event.type == EVENT_STARTED) event.bootup = (Bootup)below(4);
    if (named && !one_in(3)) event.run = str(ONE_OF(names));
    if (sequenced && !one_in(10)) event.sequence = str(ONE_OF(sequences));
    return event;
}

// ---- what the product says ----
typedef struct Told {
    const Catalog *catalog;
    Arena *arena;
    Buf runs;
    OracleCell cell[ORACLE_CELLS_MAX];
    int cells;
} Told;

static void told_minutes(void *context, Instant first, int64_t count, SizeNo size)
{
    Told *told = context;
    Day day = instant_day(first);
    int i = 0;
    while (i < told->cells && (told->cell[i].day != day.days || told->cell[i].size != size)) i++;
    ck_assert_int_lt(i, ORACLE_CELLS_MAX);
    if (i == told->cells) told->cell[told->cells++] = (OracleCell){day.days, size, 0, 0};
    told->cell[i].minutes += count;
    told->cell[i].cm += minutes_cost(told->catalog, day, size, count).cm;
}

static void told_run(void *context, const Run *run)
{
    Told *told = context;
    run_print(told->catalog, run, &told->runs);
    run_minutes(told->catalog, run, told_minutes, told);
}

// What is left of a timeline when it has been a row of table vm.
static Timeline from_its_row(const Timeline *t, const Catalog *catalog)
{
    bool kept = t->phase != PHASE_IDLE;
    Timeline back = {.arena = t->arena,
                     .phase = t->phase,
                     .started = t->started,
                     .start = t->start,
                     .nth = t->nth};
    if (kept) {
        OWNED_BUF Buf sizes = {0};
        spans_format(catalog, t->span, t->spans, &sizes);
        back.name = t->name;
        back.span = spans_parse(catalog, buf_str(&sizes), t->start, t->arena, &back.spans);
        back.span_room = back.spans;
    }
    back.watched = t->phase == PHASE_RUNNING && t->watched;
    if (back.watched) back.proof = t->proof;
    return back;
}

static int compare_times(const void *pa, const void *pb)
{
    const Event *a = *(const Event *const *)pa, *b = *(const Event *const *)pb;
    return instant_compare(a->at, b->at);
}

static void tell(Told *told, const Event *event, int count, Instant horizon)
{
    const Event *list[EVENTS_MAX];
    for (int i = 0; i < count; i++) list[i] = &event[i];
    qsort(list, (size_t)count, sizeof *list, compare_times);
    Timeline timeline = {.arena = told->arena};
    for (int i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && list[i + n]->at.us == list[i]->at.us;) n++;
        timeline_apply(&timeline, told->catalog, list + i, (size_t)n, told_run, told);
        if (one_in(4)) timeline = from_its_row(&timeline, told->catalog);
    }
    Run open;
    if (timeline_open_run(&timeline, told->catalog, horizon, &open)) told_run(told, &open);
}

// ---- comparing ----
// The oracle's runs in the same words: its holds of no time left out, neighbours of one size
// joined.
static void print_oracle(const Oracle *o, Arena *arena, Buf *out)
{
    for (int r = 0, nth = 0; r < o->runs; r++) {
        const OracleRun *from = &o->run[r];
        static const char *const reasons[] = {"hibernated", "stopped", "superseded",
                                              "heartbeat_lost", "open"};
        nth = r > 0 && o->run[r - 1].start == from->start ? nth + 1 : 0;
        SizeSpan *span = arena_alloc(arena, (size_t)from->holds * sizeof *span);
        Run run = {{from->start}, {from->end}, nth, ENDED_HIBERNATED, from->name, 0, span};
        while (strcmp(reasons[run.by], from->ended_by) != 0) run.by++;
        for (int i = 0; i < from->holds; i++) {
            const OracleHold *hold = &from->hold[i];
            if (hold->from >= hold->to && from->start < from->end) continue;
            if (run.spans > 0 && span[run.spans - 1].size == hold->size) continue;
            if (from->start == from->end) run.spans = 0; // of no length: the last size held
            span[run.spans++] = (SizeSpan){{hold->from}, hold->size};
        }
        run_print(o->catalog, &run, out);
    }
}

static bool same_cells(const Told *told, const Oracle *o)
{
    int64_t matched = 0;
    for (int i = 0; i < told->cells; i++)
        for (int j = 0; j < o->cells; j++)
            if (told->cell[i].day == o->cell[j].day && told->cell[i].size == o->cell[j].size)
                matched += told->cell[i].minutes == o->cell[j].minutes &&
                           told->cell[i].cm == o->cell[j].cm;
    return matched == told->cells && matched == o->cells;
}

static void check_history(const Catalog *catalog, uint64_t seed, Arena *arena)
{
    static Oracle oracle;
    Event event[EVENTS_MAX];
    int count = 1 + (int)below(EVENTS_MAX);
    bool named = one_in(2), sequenced = one_in(2);
    Instant at = any_begin();
    for (int i = 0; i < count; i++) {
        event[i] = any_event(at, i, named, sequenced, arena);
        at = instant_add_us(at, gap_us());
    }
    for (int i = count - 1; i > 0; i--) {
        int j = (int)below(i + 1);
        Event swapped = event[i];
        event[i] = event[j];
        event[j] = swapped;
    }
    OWNED_BUF Buf expected = {0};
    Told told = {.catalog = catalog, .arena = arena};
    tell(&told, event, count, at);
    oracle_tell(&oracle, catalog, event, count, at.us);
    print_oracle(&oracle, arena, &expected);
    bool same = str_equal(buf_str(&told.runs), buf_str(&expected)) && same_cells(&told, &oracle);
    if (!same) {
        OWNED_BUF Buf events = {0};
        for (int i = 0; i < count; i++) event_print(&event[i], &events);
        ck_abort_msg("TALLY_SEED=%" PRIu64 ":\n  %s\n  %s\n  expected %s\n  %s", seed, events.p,
                     told.runs.p, expected.p,
                     same_cells(&told, &oracle) ? "" : "and minutes differ");
    }
    buf_free(&told.runs);
}

START_TEST(histories)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    OWNED_ARENA Arena *arena = arena_new();
    uint64_t seed = first_seed + (uint64_t)_i * HISTORIES_PER_PART;
    for (int i = 0; i < HISTORIES_PER_PART; i++) {
        chance = seed + (uint64_t)i;
        arena_reset(arena);
        check_history(catalog, seed + (uint64_t)i, arena);
    }
}
END_TEST

int main(void)
{
    const char *given = getenv("TALLY_SEED");
    first_seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_now().us;
    printf("TALLY_SEED=%" PRIu64 ", %d histories\n", first_seed, PARTS * HISTORIES_PER_PART);
    fflush(stdout);
    TCase *tests = tcase_create("oracle");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, histories, 0, PARTS);
    Suite *suite = suite_create("oracle");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
