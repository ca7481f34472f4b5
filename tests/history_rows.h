// SPDX-License-Identifier: Apache-2.0
// What the tests of timeline, minutes and oracle share: a catalogue in which rates, ties and the
// heartbeat timeout change by date, and events, runs and times as short text.
//
//   event:  "TIME TYPE [SIZE | MILLICPU/GIB] [BOOTUP] [run:R] [seq:S] [src:S] [id:I]", joined by ";
//   " run:    "START-END SIZE [TIME SIZE]... ENDED_BY [run:R] [#NTH]", joined by "; " time:
//   "10:00[:30[.5]]" of 2026-10-03, "04T10:00" of another day of October, or RFC 3339
#pragma once

#include "meter/minutes.h"
#include "tests/catalog_rows.h"

#include <stdio.h>

// pico 5, alpha and nano 10, large 160; from 2026-10-10 nano is the dearest, alpha ties with large,
// and the timeout is a minute.
#define RATED(name, vcpus, gib, rate)                                                              \
    "'" name "':{'vcpus':" #vcpus ",'memory_gib':" #gib ",'credits_per_hour':" #rate "}"
#define RATES(pico, alpha, nano, large)                                                            \
    RATED("pico", 2, 1, pico)                                                                      \
    "," RATED("alpha", 2, 2, alpha) "," RATED("nano", 2, 4, nano) "," RATED("large", 32, 64, large)
#define DATED(from, timeout, rates)                                                                \
    "{'from':'" from "','credit_price':'0.018','heartbeat_timeout_seconds':" timeout               \
    ",'sizes':{" rates "},'plans':{" FREE "}}"
static const char RATES_CHANGE[] = CATALOG(
    DATED("2026-01-01", "600", RATES(5, 10, 10, 160)) "," DATED("2026-10-10", "60",
                                                                RATES(5, 160, 200, 160)));

// ---- times ----
static inline Instant time_parse(Str text)
{
    char full[64];
    bool seconds = memchr(text.p, ':', text.n) != memrchr(text.p, ':', text.n);
    const char *day = text.n > 2 && text.p[2] == 'T' ? "2026-10-" : "2026-10-03T";
    snprintf(full, sizeof full, "%s%.*s%s", day, (int)text.n, text.p, seconds ? "Z" : ":00Z");
    Instant at;
    if (instant_parse(text, &at)) return at;
    ck_assert_msg(instant_parse(str(full), &at), "no time: %.*s", (int)text.n, text.p);
    return at;
}

static inline void time_print(Instant at, Buf *out)
{
    char text[INSTANT_TEXT];
    Str s = str(instant_format(at, text));
    if (memcmp(s.p, "2026-10-", 8) != 0) {
        buf_add_str(out, s);
        return;
    }
    size_t cut = memcmp(s.p + 8, "03T", 3) == 0 ? 11 : 8;
    s = (Str){s.p + cut, s.n - cut - 1};
    if (memcmp(s.p + s.n - 3, ":00", 3) == 0) s.n -= 3;
    buf_add_str(out, s);
}

// ---- events ----
static inline Str split(Str *text, const char *separator)
{
    size_t n = strlen(separator);
    const char *found = memmem(text->p, text->n, separator, n);
    Str part = {text->p, found ? (size_t)(found - text->p) : text->n};
    size_t step = found ? part.n + n : part.n;
    *text = (Str){text->p + step, text->n - step};
    return part;
}

static inline void event_word(Event *event, Str word)
{
    static const char *const types[] = {"started", "resized", "heartbeat", "hibernated", "stopped"};
    static const char *const bootups[] = {"CLEAN", "FORK", "RESUME", "RUNNING"};
    for (int i = 0; i < 5; i++)
        if (str_is(word, types[i])) {
            event->type = (EventType)i;
            return;
        }
    for (int i = 0; i < 4; i++)
        if (str_is(word, bootups[i])) {
            event->bootup = (Bootup)i;
            return;
        }
    struct {
        const char *prefix;
        Str *out;
    } named[] = {{"run:", &event->run},
                 {"seq:", &event->sequence},
                 {"src:", &event->source},
                 {"id:", &event->id}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        size_t n = strlen(named[i].prefix);
        if (word.n <= n || memcmp(word.p, named[i].prefix, n) != 0) continue;
        *named[i].out = (Str){word.p + n, word.n - n};
        return;
    }
    int millicpu, gib;
    if (sscanf(word.p, "%d/%d", &millicpu, &gib) == 2) {
        event->millicpu = millicpu;
        event->memory_bytes = (int64_t)gib << 30;
    } else {
        event->size = word;
    }
}

static inline Event *events_parse(const char *text, Arena *arena, size_t *n)
{
    Event *event = arena_alloc(arena, (strlen(text) / 8 + 1) * sizeof *event);
    *n = 0;
    for (Str rest = str(text); rest.n > 0;) {
        Str one = split(&rest, "; ");
        Event *e = &event[(*n)++];
        e->source = STR("s");
        e->id = STR("i");
        e->at = time_parse(split(&one, " "));
        while (one.n > 0) event_word(e, split(&one, " "));
    }
    return event;
}

static inline void event_print(const Event *event, Buf *out)
{
    static const char *const types[] = {"started", "resized",   "heartbeat",  "hibernated",
                                        "stopped", "retracted", "not metered"};
    static const char *const bootups[] = {"", " FORK", " RESUME", " RUNNING"};
    if (out->n) buf_add_text(out, "; ");
    time_print(event->at, out);
    buf_addf(out, " %s", types[event->type]);
    if (event->size.n) buf_addf(out, " %.*s", (int)event->size.n, event->size.p);
    else if (event->millicpu)
        buf_addf(out, " %d/%d", (int)event->millicpu, (int)(event->memory_bytes >> 30));
    buf_add_text(out, bootups[event->bootup]);
    const struct {
        const char *prefix;
        Str value;
    } named[] = {{"run:", event->run},
                 {"seq:", event->sequence},
                 {"src:", event->source},
                 {"id:", event->id}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (!str_absent(named[i].value))
            buf_addf(out, " %s%.*s", named[i].prefix, (int)named[i].value.n, named[i].value.p);
}

// ---- runs ----
static inline void run_print(const Catalog *catalog, const Run *run, Buf *out)
{
    if (out->n) buf_add_text(out, "; ");
    time_print(run->start, out);
    buf_add_char(out, '-');
    time_print(run->end, out);
    for (int i = 0; i < run->spans; i++) {
        buf_add_char(out, ' ');
        if (i > 0) {
            time_print(run->span[i].from, out);
            buf_add_char(out, ' ');
        }
        buf_add_text(out, catalog->size_names[run->span[i].size]);
    }
    buf_addf(out, " %s", ended_by_name(run->by));
    if (!str_absent(run->name)) buf_addf(out, " run:%.*s", (int)run->name.n, run->name.p);
    if (run->nth) buf_addf(out, " #%d", run->nth);
}
