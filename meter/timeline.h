// SPDX-License-Identifier: Apache-2.0
// meter/timeline: what the events of one VM mean. Pure: a fold over events in order of time,
// instant by instant, that hands out each run as it ends. Section 2 of docs/rules.md is this file.
// Knows no I/O and no clock.
#pragma once

#include "catalog/catalog.h"
#include "meter/event.h"

// A size held from an instant on, until the next span or the run's end.
typedef struct SizeSpan {
    Instant from;
    SizeNo size;
} SizeSpan;

typedef enum EndedBy {
    ENDED_HIBERNATED = 0,
    ENDED_STOPPED = 1,
    ENDED_SUPERSEDED = 2,
    ENDED_HEARTBEAT_LOST = 3,
    ENDED_NOT = 4, // open, as far as the horizon
} EndedBy;
const char *ended_by_name(EndedBy by);

// [start, end), with 1 or more spans: the first begins at start, instants rise, neighbours differ.
typedef struct Run {
    Instant start, end;
    int32_t nth; // among the VM's runs with that start, from 0
    EndedBy by;
    Str name; // `run` of the event that opened it, or absent
    int spans;
    const SizeSpan *span;
} Run;

typedef enum Phase { PHASE_IDLE = 0, PHASE_RUNNING = 1, PHASE_LOST = 2 } Phase;

// Where a VM stands after some of its events. Zero but for `arena` is a VM without any. Texts and
// spans live in `arena`, and so do those of the runs that were handed out.
typedef struct Timeline {
    Arena *arena;
    Phase phase;
    bool started; // whether there was ever a run: then start and nth hold the latest one's
    Instant start;
    int32_t nth;
    Str name;      // of the open run, or of the lost one
    bool watched;  // the open run has had a heartbeat, or was reopened
    Instant proof; // last proof of life, where watched
    int spans, span_room;
    SizeSpan *span; // of the open run; while lost, the last size held
} Timeline;

typedef void (*RunFn)(void *context, const Run *run);

// Applies all events of one instant, which must be later than all before: not retracted ones, each
// identity once, no retractions among them. Sorts `events` in place. `ended` is called for each run
// that ends.
void timeline_apply(Timeline *timeline, const Catalog *catalog, const Event **events, size_t n,
                    RunFn ended, void *context);
// Sorts the events of one instant as they act, so that they may be applied one by one, too.
void timeline_order(const Timeline *timeline, const Catalog *catalog, const Event **events,
                    size_t n);
// The earliest instant from which on an event at `at`, later than all before, may change the
// minutes of the VM, and so may another event there, or none. A run under watch may go on behind
// its last proof of life, or end there after all; and a minute that is changed began up to 60 s
// before.
Instant timeline_reach(const Timeline *timeline, Instant at);
// What is open at `horizon`, as a run that ends there (ENDED_NOT) or at its last proof of life
// (ENDED_HEARTBEAT_LOST). False where nothing is.
bool timeline_open_run(const Timeline *timeline, const Catalog *catalog, Instant horizon, Run *out);

// Spans as text, "nano" or "nano 2026-10-03T10:00:30Z large", and back. Parsing is of our own text:
// it aborts on any other.
void spans_format(const Catalog *catalog, const SizeSpan *span, int spans, Buf *out);
SizeSpan *spans_parse(const Catalog *catalog, Str text, Instant start, Arena *arena, int *spans);
