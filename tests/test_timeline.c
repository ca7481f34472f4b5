// SPDX-License-Identifier: Apache-2.0
// Proves that meter/timeline does with the events of one VM what section 2 of the contract says:
// each row of its table, order at equal times, names of runs, heartbeats to the microsecond, lost
// VMs and what reopens them; that spans survive being text; and which size an event names.
#include "tests/history_rows.h"

typedef struct Case {
    const char *label, *events;
    const char *expected; // runs, what is open at the horizon, and "lost" where the VM is lost
    const char *horizon;  // NULL: 12:00
} Case;

static const Case EFFECTS[] = {
    // not running
    {"started CLEAN opens a run", "10:00 started nano CLEAN; 11:00 stopped",
     "10:00-11:00 nano stopped"},
    {"started FORK opens a run", "10:00 started nano FORK; 11:00 hibernated",
     "10:00-11:00 nano hibernated"},
    {"started RESUME opens a run", "10:00 started nano RESUME", "10:00-12:00 nano open"},
    {"started RUNNING opens a run", "10:00 started nano RUNNING", "10:00-12:00 nano open"},
    {"before any start, nothing else does anything",
     "10:00 resized nano; 10:01 heartbeat; 10:02 hibernated; 10:03 stopped", ""},
    {"after a stop, nothing else does anything",
     "09:00 started nano; 10:00 stopped; 10:01 resized large; 10:02 heartbeat; 10:03 hibernated;"
     " 10:04 stopped",
     "09:00-10:00 nano stopped"},
    {"a stop and a start", "10:00 started nano; 10:30 stopped; 10:40 started large; 11:00 stopped",
     "10:00-10:30 nano stopped; 10:40-11:00 large stopped"},
    // running
    {"started RUNNING takes its size",
     "10:00 started nano; 10:30 started large RUNNING; 11:00 stopped",
     "10:00-11:00 nano 10:30 large stopped"},
    {"started RUNNING of the same size changes nothing",
     "10:00 started nano; 10:30 started nano RUNNING; 11:00 stopped", "10:00-11:00 nano stopped"},
    {"started CLEAN: the stop was lost", "10:00 started nano; 10:30 started nano; 11:00 stopped",
     "10:00-10:30 nano superseded; 10:30-11:00 nano stopped"},
    {"started FORK: the stop was lost", "10:00 started nano; 10:30 started large FORK",
     "10:00-10:30 nano superseded; 10:30-12:00 large open"},
    {"started RESUME: the stop was lost", "10:00 started nano; 10:30 started pico RESUME",
     "10:00-10:30 nano superseded; 10:30-12:00 pico open"},
    {"resized takes the new size",
     "10:00 started nano; 10:10 resized large; 10:20 resized large; 10:30 resized pico;"
     " 11:00 stopped",
     "10:00-11:00 nano 10:10 large 10:30 pico stopped"},
    {"a size held for no time is none",
     "10:00 started nano; 10:00 resized large; 10:30 resized nano",
     "10:00-12:00 large 10:30 nano open"},
    {"a heartbeat proves life", "10:00 started nano; 10:05 heartbeat; 10:10 stopped",
     "10:00-10:10 nano stopped"},
    {"hibernated ends the run", "10:00 started nano; 11:00 hibernated; 11:30 stopped",
     "10:00-11:00 nano hibernated"},
    {"resources are the cheapest size that holds them",
     "10:00 started 2000/3; 10:30 resized 2000/2", "10:00-12:00 nano 10:30 alpha open"},
    {"resources are looked up in the version of the event's time",
     "09T23:59:59.999999 started 2000/2; 10T00:00 resized 2000/2; 10T00:30 started 2000/3",
     "09T23:59:59.999999-10T00:30 alpha superseded; 10T00:30-10T12:00 large open", "10T12:00"},
};

static const Case TIES[] = {
    {"not running: started, stopped", "10:00 stopped; 10:00 started nano",
     "10:00-10:00 nano stopped"},
    {"not running: hibernated before stopped",
     "10:00 stopped; 10:00 hibernated; 10:00 started nano", "10:00-10:00 nano hibernated"},
    {"not running: resized after started and heartbeat",
     "10:00 resized large; 10:00 heartbeat; 10:00 started nano",
     "10:00-10:00 large heartbeat_lost"},
    {"running: stopped, started", "09:00 started nano; 10:00 started large; 10:00 stopped",
     "09:00-10:00 nano stopped; 10:00-12:00 large open"},
    {"running: hibernated before stopped", "09:00 started nano; 10:00 stopped; 10:00 hibernated",
     "09:00-10:00 nano hibernated"},
    {"running: heartbeat and resized act on what was started",
     "09:00 started nano; 10:00 resized large; 10:00 heartbeat; 10:00 started pico",
     "09:00-10:00 nano superseded; 10:00-10:00 large heartbeat_lost"},
    {"a run that is lost before the instant is not running",
     "09:00 started nano; 09:30 heartbeat; 10:00 stopped; 10:00 started large",
     "09:00-09:30 nano heartbeat_lost; 10:00-10:00 large stopped"},
    {"lost: heartbeat before resized",
     "09:00 started nano; 09:30 heartbeat; 10:00 resized large;"
     " 10:00 heartbeat; 10:05 stopped",
     "09:00-09:30 nano heartbeat_lost; 10:00-10:05 large stopped"},
    {"lost: what reopens it names it",
     "09:00 started nano; 09:30 heartbeat; 10:00 resized large run:b; 10:00 heartbeat run:c;"
     " 10:05 stopped",
     "09:00-09:30 nano heartbeat_lost; 10:00-10:05 nano stopped run:c"},
    {"a size held for no time between two of another",
     "10:00 started nano; 10:30 resized large id:a; 10:30 resized nano id:b; 11:00 stopped",
     "10:00-11:00 nano stopped"},
    {"sequence goes before type", "10:00 stopped seq:1; 10:00 started nano seq:2",
     "10:00-12:00 nano open"},
    {"sequence while running", "09:00 started nano; 10:00 started large seq:1; 10:00 stopped seq:2",
     "09:00-10:00 nano superseded; 10:00-10:00 large stopped"},
    {"sequence byte by byte", "10:00 started nano seq:10; 10:00 started large seq:9",
     "10:00-10:00 nano superseded; 10:00-12:00 large open #1"},
    {"a longer sequence behind its beginning",
     "10:00 started nano seq:10; 10:00 started large seq:1",
     "10:00-10:00 large superseded; 10:00-12:00 nano open #1"},
    {"equal sequences: by type", "10:00 stopped seq:7; 10:00 started nano seq:7",
     "10:00-10:00 nano stopped"},
    {"some equal sequences",
     "10:00 stopped seq:7; 10:00 started nano seq:7; 10:00 started large seq:6",
     "10:00-10:00 large superseded; 10:00-10:00 nano stopped #1"},
    {"one without a sequence: all by type",
     "10:00 stopped seq:1; 10:00 started nano seq:2; 10:00 resized large",
     "10:00-10:00 large stopped"},
    {"the sequence of another instant does not count",
     "09:59 heartbeat; 10:00 stopped seq:1; 10:00 started nano seq:2; 10:01 resized large",
     "10:00-12:00 nano 10:01 large open"},
    {"one type: by source",
     "10:00 started nano; 10:30 resized pico src:a id:z;"
     " 10:30 resized large src:b id:a",
     "10:00-12:00 nano 10:30 large open"},
    {"one type and source: by id",
     "10:00 started nano; 10:30 resized large id:10;"
     " 10:30 resized pico id:9",
     "10:00-12:00 nano 10:30 pico open"},
    {"sequence goes before source",
     "10:00 started nano seq:2 src:a; 10:00 started large seq:1 src:b",
     "10:00-10:00 large superseded; 10:00-12:00 nano open #1"},
};

static const Case NAMES[] = {
    {"a stop of another run does nothing", "10:00 started nano run:a; 10:30 stopped run:b",
     "10:00-12:00 nano open run:a"},
    {"nor do others",
     "10:00 started nano run:a; 10:10 hibernated run:b; 10:20 resized large run:b;"
     " 10:30 heartbeat run:b",
     "10:00-12:00 nano open run:a"},
    {"its own name", "10:00 started nano run:a; 10:10 resized large run:a; 10:30 hibernated run:a",
     "10:00-10:30 nano 10:10 large hibernated run:a"},
    {"a run without a name is anybody's",
     "10:00 started nano; 10:10 resized large run:a; 10:30 stopped run:b",
     "10:00-10:30 nano 10:10 large stopped"},
    {"an event without a name is for any run", "10:00 started nano run:a; 10:30 stopped",
     "10:00-10:30 nano stopped run:a"},
    {"names are compared to the letter", "10:00 started nano run:a; 10:30 stopped run:A",
     "10:00-12:00 nano open run:a"},
    {"RUNNING of the same name", "10:00 started nano run:a; 10:30 started large RUNNING run:a",
     "10:00-12:00 nano 10:30 large open run:a"},
    {"RUNNING of another name supersedes",
     "10:00 started nano run:a; 10:30 started large RUNNING run:b",
     "10:00-10:30 nano superseded run:a; 10:30-12:00 large open run:b"},
    {"RUNNING without a name does not", "10:00 started nano run:a; 10:30 started large RUNNING",
     "10:00-12:00 nano 10:30 large open run:a"},
    {"RUNNING of a run without a name does not name it",
     "10:00 started nano; 10:30 started large RUNNING run:b; 11:00 stopped run:c",
     "10:00-11:00 nano 10:30 large stopped"},
    {"others supersede their own name too", "10:00 started nano run:a; 10:30 started nano run:a",
     "10:00-10:30 nano superseded run:a; 10:30-12:00 nano open run:a"},
    {"a late stop of a superseded run",
     "10:00 started nano run:a; 10:30 started nano run:b; 10:31 stopped run:a",
     "10:00-10:30 nano superseded run:a; 10:30-12:00 nano open run:b"},
};

static const Case HEARTBEATS[] = {
    {"without heartbeats nothing is lost", "10:00 started nano; 11:00 stopped",
     "10:00-11:00 nano stopped"},
    {"stopped exactly at the timeout", "10:00 started nano; 10:05 heartbeat; 10:15 stopped",
     "10:00-10:15 nano stopped"},
    {"stopped a microsecond later", "10:00 started nano; 10:05 heartbeat; 10:15:00.000001 stopped",
     "10:00-10:05 nano heartbeat_lost"},
    {"proven exactly at the timeout",
     "10:00 started nano; 10:05 heartbeat; 10:15 heartbeat; 10:25 stopped",
     "10:00-10:25 nano stopped"},
    {"proven a microsecond later",
     "10:00 started nano; 10:05 heartbeat; 10:15:00.000001 heartbeat; 10:16 stopped",
     "10:00-10:05 nano heartbeat_lost; 10:15:00.000001-10:16 nano stopped"},
    {"the time before the first heartbeat is not watched",
     "10:00 started nano; 11:00 heartbeat; 11:05 stopped", "10:00-11:05 nano stopped"},
    {"resized proves life",
     "10:00 started nano; 10:05 heartbeat; 10:14 resized large; 10:24 stopped",
     "10:00-10:24 nano 10:14 large stopped"},
    {"resized to the same size proves life",
     "10:00 started nano; 10:05 heartbeat; 10:14 resized nano; 10:24 stopped",
     "10:00-10:24 nano stopped"},
    {"started RUNNING proves life",
     "10:00 started nano; 10:05 heartbeat; 10:14 started nano RUNNING; 10:24 stopped",
     "10:00-10:24 nano stopped"},
    {"resized and RUNNING alone watch nothing",
     "10:00 started nano; 10:05 resized large; 10:06 started nano RUNNING; 11:00 stopped",
     "10:00-11:00 nano 10:05 large 10:06 nano stopped"},
    {"what does not act proves nothing, and the time counts all the same",
     "10:00 started nano run:a; 10:05 heartbeat run:a; 10:14 heartbeat run:b;"
     " 10:16 resized large run:b;"
     " 10:17 stopped run:a",
     "10:00-10:05 nano heartbeat_lost run:a"},
    {"a run superseded in time", "10:00 started nano; 10:05 heartbeat; 10:15 started large",
     "10:00-10:15 nano superseded; 10:15-12:00 large open"},
    {"a run superseded too late was lost",
     "10:00 started nano; 10:05 heartbeat; 10:16 started large",
     "10:00-10:05 nano heartbeat_lost; 10:16-12:00 large open"},
    {"RUNNING too late opens a run of its own, not under watch",
     "10:00 started nano run:a; 10:05 heartbeat; 10:16 started large RUNNING",
     "10:00-10:05 nano heartbeat_lost run:a; 10:16-12:00 large open"},
    {"the next run starts without a watch",
     "10:00 started nano; 10:05 heartbeat; 10:10 stopped; 10:20 started nano",
     "10:00-10:10 nano stopped; 10:20-12:00 nano open"},
    {"a size taken at the last proof was held for no time",
     "10:00 started nano; 10:05 heartbeat; 10:06 resized large; 10:30 heartbeat; 10:31 stopped",
     "10:00-10:06 nano heartbeat_lost; 10:30-10:31 large stopped"},
    {"a heartbeat at the start", "10:00 started nano; 10:00 heartbeat; 10:30 stopped",
     "10:00-10:00 nano heartbeat_lost"},
    // lost
    {"reopened, and open at the horizon", "10:00 started nano; 10:05 heartbeat; 10:30 heartbeat",
     "10:00-10:05 nano heartbeat_lost; 10:30-10:35 nano open", "10:35"},
    {"reopened by a heartbeat at its last size",
     "10:00 started nano; 10:04 resized large; 10:05 heartbeat; 10:30 heartbeat; 10:35 stopped",
     "10:00-10:05 nano 10:04 large heartbeat_lost; 10:30-10:35 large stopped"},
    {"reopened by resized at its size",
     "10:00 started nano; 10:05 heartbeat; 10:30 resized large; 10:35 stopped",
     "10:00-10:05 nano heartbeat_lost; 10:30-10:35 large stopped"},
    {"reopened, it is under watch from its start: by a heartbeat",
     "10:00 started nano; 10:05 heartbeat; 10:30 heartbeat; 10:45 stopped",
     "10:00-10:05 nano heartbeat_lost; 10:30-10:30 nano heartbeat_lost"},
    {"reopened, it is under watch from its start: by resized",
     "10:00 started nano; 10:05 heartbeat; 10:30 resized large; 10:40:00.000001 stopped",
     "10:00-10:05 nano heartbeat_lost; 10:30-10:30 large heartbeat_lost"},
    {"lost and reopened twice",
     "10:00 started nano; 10:05 heartbeat; 10:30 resized large; 10:50 heartbeat; 10:51 stopped",
     "10:00-10:05 nano heartbeat_lost; 10:30-10:30 large heartbeat_lost;"
     " 10:50-10:51 large stopped"},
    {"stopped while lost: nothing reopens it",
     "10:00 started nano; 10:05 heartbeat; 10:30 stopped; 10:40 heartbeat; 10:50 resized large",
     "10:00-10:05 nano heartbeat_lost"},
    {"hibernated while lost",
     "10:00 started nano; 10:05 heartbeat; 10:30 hibernated; 10:40 heartbeat",
     "10:00-10:05 nano heartbeat_lost"},
    {"started while lost", "10:00 started nano; 10:05 heartbeat; 10:30 started pico RESUME",
     "10:00-10:05 nano heartbeat_lost; 10:30-12:00 pico open"},
    {"a stop of another run leaves it lost",
     "10:00 started nano run:a; 10:05 heartbeat; 10:30 stopped run:b; 10:40 heartbeat;"
     " 10:45 stopped",
     "10:00-10:05 nano heartbeat_lost run:a; 10:40-10:45 nano stopped run:a"},
    {"another run's heartbeat and resized leave it lost",
     "10:00 started nano run:a; 10:05 heartbeat; 10:30 heartbeat run:b; 10:40 resized large run:b;"
     " 10:50 hibernated run:b",
     "10:00-10:05 nano heartbeat_lost run:a; lost"},
    {"reopened by its own name",
     "10:00 started nano run:a; 10:05 heartbeat; 10:40 resized large run:a; 10:45 stopped",
     "10:00-10:05 nano heartbeat_lost run:a; 10:40-10:45 large stopped run:a"},
    {"a lost run without a name takes that of what reopens it",
     "10:00 started nano; 10:05 heartbeat; 10:40 heartbeat run:b; 10:45 stopped run:c;"
     " 10:46 stopped",
     "10:00-10:05 nano heartbeat_lost; 10:40-10:46 nano stopped run:b"},
    // the version of the day of the last proof: a minute from the 10th on
    {"the timeout of the day of the last proof, before",
     "09T23:00 started nano; 09T23:59:59.999999 heartbeat; 10T00:09 stopped",
     "09T23:00-10T00:09 nano stopped", "10T01:00"},
    {"the timeout of the day of the last proof, after",
     "09T23:00 started nano; 10T00:00 heartbeat; 10T00:01:00.000001 stopped",
     "09T23:00-10T00:00 nano heartbeat_lost", "10T01:00"},
    {"exactly the new timeout", "09T23:00 started nano; 10T00:00 heartbeat; 10T00:01 stopped",
     "09T23:00-10T00:01 nano stopped", "10T01:00"},
};

static const Case SHAPES[] = {
    {"no events", "", ""},
    {"runs of no length are counted at their start",
     "10:00 started nano seq:1; 10:00 stopped seq:2; 10:00 started nano seq:3;"
     " 10:00 started large seq:4",
     "10:00-10:00 nano stopped; 10:00-10:00 nano superseded #1; 10:00-12:00 large open #2"},
    {"and anew at the next",
     "10:00 started nano seq:1; 10:00 started nano seq:2; 10:01 started nano",
     "10:00-10:00 nano superseded; 10:00-10:01 nano superseded #1; 10:01-12:00 nano open"},
    {"stopped and started at one instant",
     "10:00 started nano; 10:30 stopped; 10:30 started nano; 10:30 hibernated",
     "10:00-10:30 nano hibernated; 10:30-12:00 nano open"},
    {"a microsecond", "10:00 started nano; 10:00:00.000001 stopped",
     "10:00-10:00:00.000001 nano stopped"},
};

static const Case OPEN[] = {
    {"nothing is open before the start", "10:00 started nano", "", "09:59:59.999999"},
    {"of no length at the start", "10:00 started nano", "10:00-10:00 nano open", "10:00"},
    {"up to the horizon", "10:00 started nano; 10:01 resized large",
     "10:00-10:02 nano 10:01 large open", "10:02"},
    {"a size from the horizon on does not count", "10:00 started nano; 10:01 resized large",
     "10:00-10:01 nano open", "10:01"},
    {"proven exactly the timeout ago", "10:00 started nano; 10:05 heartbeat",
     "10:00-10:15 nano open", "10:15"},
    {"a microsecond more", "10:00 started nano; 10:05 heartbeat", "10:00-10:05 nano heartbeat_lost",
     "10:15:00.000001"},
    {"sizes beyond the last proof do not count",
     "10:00 started nano; 10:05 heartbeat; 10:06 resized large", "10:00-10:06 nano heartbeat_lost",
     "11:00"},
    {"nothing is open while the VM is lost",
     "10:00 started nano run:a; 10:05 heartbeat; 10:30 stopped run:b",
     "10:00-10:05 nano heartbeat_lost run:a; lost", "11:00"},
    {"nor after a stop", "10:00 started nano; 10:05 heartbeat; 10:30 stopped; 10:40 heartbeat",
     "10:00-10:05 nano heartbeat_lost", "11:00"},
    {"not watched, for years", "2001-01-01T00:00:00Z started nano",
     "2001-01-01T00:00:00Z-2199-12-31T00:00:00Z nano open", "2199-12-31T00:00:00Z"},
};

typedef struct Printer {
    const Catalog *catalog;
    Buf *out;
} Printer;

static void print_ended(void *context, const Run *run)
{
    Printer *printer = context;
    run_print(printer->catalog, run, printer->out);
}

// The runs of a row's events; those of one instant are handed over in either order.
static void fold(const Catalog *catalog, const Case *row, bool backwards, Arena *arena, Buf *out)
{
    size_t count;
    Event *event = events_parse(row->events, arena, &count);
    const Event **list = arena_alloc(arena, (count + 1) * sizeof *list);
    Timeline timeline = {.arena = arena};
    Printer printer = {catalog, out};
    for (size_t i = 0, n; i < count; i += n) {
        for (n = 1; i + n < count && event[i + n].at.us == event[i].at.us;) n++;
        for (size_t j = 0; j < n; j++) list[j] = &event[backwards ? i + n - 1 - j : i + j];
        timeline_apply(&timeline, catalog, list, n, print_ended, &printer);
    }
    Run open;
    Instant horizon = time_parse(str(row->horizon ? row->horizon : "12:00"));
    if (timeline_open_run(&timeline, catalog, horizon, &open)) run_print(catalog, &open, out);
    if (timeline.phase == PHASE_LOST) buf_add_text(out, out->n ? "; lost" : "lost");
}

static void check_case(const Case *row)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    for (int backwards = 0; backwards < 2; backwards++) {
        OWNED_ARENA Arena *arena = arena_new();
        OWNED_BUF Buf got = {0};
        fold(catalog, row, backwards, arena, &got);
        ck_assert_msg(str_is(buf_str(&got), row->expected), "%s%s:\n  %s\n  %s\n  expected %s",
                      row->label, backwards ? " (backwards)" : "", row->events, buf_str(&got).p,
                      row->expected);
    }
}

START_TEST(effects) { check_case(&EFFECTS[_i]); }
END_TEST
START_TEST(ties) { check_case(&TIES[_i]); }
END_TEST
START_TEST(names) { check_case(&NAMES[_i]); }
END_TEST
START_TEST(heartbeats) { check_case(&HEARTBEATS[_i]); }
END_TEST
START_TEST(shapes) { check_case(&SHAPES[_i]); }
END_TEST
START_TEST(open_runs) { check_case(&OPEN[_i]); }
END_TEST

static const struct {
    const char *label, *text;
    int spans;
} SPANS[] = {
    {"one size", "nano", 1},
    {"a change", "nano 2026-10-03T10:00:30Z large", 2},
    {"a microsecond apart",
     "nano 2026-10-03T10:00:00.000001Z large 2026-10-03T10:00:00.000002Z pico", 3},
    {"tenths", "alpha 2026-10-03T10:00:00.1Z nano 2026-10-03T23:59:59.999999Z alpha", 3},
    {"far apart", "nano 2199-12-31T23:59:59.999999Z large", 2},
};

START_TEST(spans)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf text = {0};
    int count = 0;
    Instant start = time_parse(STR("10:00"));
    SizeSpan *span = spans_parse(catalog, str(SPANS[_i].text), start, arena, &count);
    ck_assert_msg(count == SPANS[_i].spans, "%s: %d", SPANS[_i].label, count);
    ck_assert_int_eq(span[0].from.us, start.us);
    spans_format(catalog, span, count, &text);
    ck_assert_msg(str_is(buf_str(&text), SPANS[_i].text), "%s: %s", SPANS[_i].label, text.p);
}
END_TEST

// A timeline that goes on from stored spans does not write into the room behind them.
START_TEST(goes_on_from_text)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf got = {0};
    Printer printer = {catalog, &got};
    Timeline timeline = {.arena = arena,
                         .phase = PHASE_RUNNING,
                         .started = true,
                         .nth = 3,
                         .start = time_parse(STR("10:00"))};
    timeline.span = spans_parse(catalog, STR("nano 2026-10-03T10:10:00Z large"), timeline.start,
                                arena, &timeline.spans);
    timeline.span_room = timeline.spans;
    size_t n;
    Event *event = events_parse("10:20 resized pico; 10:30 resized nano; 10:40 started large",
                                arena, &n);
    for (size_t i = 0; i < n; i++)
        timeline_apply(&timeline, catalog, &(const Event *){&event[i]}, 1, print_ended, &printer);
    ck_assert_str_eq(got.p, "10:00-10:40 nano 10:10 large 10:20 pico 10:30 nano superseded #3");
    ck_assert(timeline.phase == PHASE_RUNNING && timeline.nth == 0 && !timeline.watched);
}
END_TEST

// ---- sizes in the catalogue ----
static const struct {
    const char *label, *event, *size; // NULL: none
} SIZES[] = {
    {"by name", "10:00 started nano", "nano"},
    {"of no such name", "10:00 started huge", NULL},
    {"by name, though resources say otherwise", "10:00 started nano 32000/64", "nano"},
    {"exactly what it holds", "10:00 started 2000/1", "pico"},
    {"more memory", "10:00 started 250/3", "nano"},
    {"more processors", "10:00 started 2250/1", "large"},
    {"of equally cheap ones the first by name", "10:00 started 2000/2", "alpha"},
    {"more than any holds", "10:00 started 250/65", NULL},
    {"by the rates of its time", "10T00:00 started 2000/4", "large"},
    {"a name before the first version", "2000-01-01T00:00:00Z started nano", "nano"},
};

START_TEST(sizes)
{
    OWNED_CATALOG Catalog *catalog = parse(RATES_CHANGE);
    OWNED_ARENA Arena *arena = arena_new();
    size_t n;
    Event *event = events_parse(SIZES[_i].event, arena, &n);
    SizeNo size = event_size(event, catalog), expected = SIZE_NONE;
    if (SIZES[_i].size) expected = catalog_size(catalog, str(SIZES[_i].size));
    ck_assert_msg(size == expected, "%s: %d", SIZES[_i].label, size);
}
END_TEST

// A size that a later version brings is not there before.
START_TEST(later_size)
{
    OWNED_CATALOG Catalog *catalog = parse(
        CATALOG(DATED("2026-01-01", "600", RATED("nano", 2, 4, 10)) "," DATED(
            "2026-10-03", "600", RATED("nano", 2, 4, 10) "," RATED("pico", 2, 1, 5))));
    OWNED_ARENA Arena *arena = arena_new();
    size_t n;
    Event *event = events_parse(
        "02T23:59:59.999999 started pico; 00:00 started pico;"
        " 02T23:59 started 2000/1; 00:00 started 2000/1",
        arena, &n);
    static const char *const expected[] = {NULL, "pico", "nano", "pico"};
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(event_size(&event[i], catalog),
                          expected[i] ? catalog_size(catalog, str(expected[i])) : SIZE_NONE);
}
END_TEST

START_TEST(reasons)
{
    static const char *const expected[] = {"hibernated", "stopped", "superseded", "heartbeat_lost",
                                           "open"};
    for (int i = ENDED_HIBERNATED; i <= ENDED_NOT; i++)
        ck_assert_str_eq(ended_by_name((EndedBy)i), expected[i]);
}
END_TEST

#define EACH(test, rows) tcase_add_loop_test(tests, test, 0, (int)(sizeof(rows) / sizeof *(rows)))

int main(void)
{
    TCase *tests = tcase_create("timeline");
    EACH(effects, EFFECTS);
    EACH(ties, TIES);
    EACH(names, NAMES);
    EACH(heartbeats, HEARTBEATS);
    EACH(shapes, SHAPES);
    EACH(open_runs, OPEN);
    EACH(spans, SPANS);
    tcase_add_test(tests, goes_on_from_text);
    EACH(sizes, SIZES);
    tcase_add_test(tests, later_size);
    tcase_add_test(tests, reasons);
    Suite *suite = suite_create("timeline");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
