// SPDX-License-Identifier: Apache-2.0
// The quota protocol of docs/quota.md as a machine of states and steps, small enough to be searched
// through. One function is one step: it tells whether the step can be taken, and takes it.
//
// The clock ticks. All times are ticks from now on: 0 is now, 1 the next tick, what is below 0 is
// past; a tick moves every time one down, so nothing bounds how long a history is. Any number of
// steps happens within one tick.
//
// An id is only ever compared with that of the VM's living reservation. So one bit stands for it:
// it is that one, or it is none that lives.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { VMS_MAX = 3, UNREAD_MAX = 4, COLLECTORS_MAX = 2 };

// The four conditions of CONTRACT section 5, as far as they are dropped.
typedef enum Condition {
    COND_A = 1 << 0, // reserves before every start and resume
    COND_B = 1 << 1, // starts nothing after expires_at
    COND_C = 1 << 2, // the start is acknowledged by Kafka by expires_at + event delay
    COND_D = 1 << 3, // deletes only where the VM did not start and cannot any more
} Condition;

// Rules of the protocol, as far as they are weakened.
typedef enum Weakness {
    SAME_ID = 1 << 0,           // a renewal keeps the reservation's id
    CLOCK_EXPIRY = 1 << 1,      // lapses by the clock, not by progress
    NO_EVENT_DELAY = 1 << 2,    // lapses when progress has passed expires_at
    LAPSE_AT = 1 << 3,          // lapses when progress has reached, not passed, lapses_at
    END_ENDS = 1 << 4,          // the end of a run ends the reservation
    VOUCH_STAYS = 1 << 5,       // a vouch lasts for its time, whatever is metered
    VOUCH_TO_END = 1 << 6,      // a vouch ends with the end of its run, but not with another start
    FALSE_VOUCH = 1 << 7,       // vouches for a machine that runs
    NO_LOCK = 1 << 8,           // the limit is looked at first, the reservation written later
    ANSWER_FIRST = 1 << 9,      // the answer is given before the commit
    WATERMARK_FIRST = 1 << 10,  // the watermark is asked before the time is noted
    GOAL_UNREAD = 1 << 11,      // progress is published before all below the watermark is metered
    POSITION_FIRST = 1 << 12,   // the collector's position moves before what it read is metered
    KAFKA_LOSES = 1 << 13,      // an acknowledged event is lost
    ARRIVAL_ORDER = 1 << 14,    // events apply in order of arrival, not of time
    DELETE_LATE = 1 << 15,      // a DELETE may be carried out long after it was sent
    DELETE_BY_ID = 1 << 16,     // with DELETE_LATE: it names its reservation
    PROGRESS_IF_BUSY = 1 << 17, // an idle partition has no progress
    NEVER_LAPSES = 1 << 18,     // reservations and vouches never lapse
    UNCOUNTED_KEPT = 1 << 19,   // an open run is renewed though it is uncounted
    RENEW_RUNNING = 1 << 20,    // a VM whose run counts is renewed, however it came to count
    RENEW_WITHIN = 1 << 21,     // simpler, not weaker: see room()
} Weakness;

// What is searched.
typedef struct World {
    int limit, vms;
    int lifetime, delay; // of a reservation; of events: ticks
    int unread;          // events of a VM that are not metered, at most
    int unread_all;      // the same of all VMs together
    bool nameless;       // starts name no reservation; else they do
    int skew;            // nameless: ticks that a start may be older than the reservation
    bool any_order;      // wrong keys: a VM's events are acknowledged and read in any order
    int collectors;      // 1; or 2: each VM has a partition and a collector of its own
    unsigned dropped;    // Condition
    unsigned weak;       // Weakness
} World;

// Where an event is.
enum {
    SENT,
    LOGGED,
    BELOW
}; // not acknowledged yet; in Kafka; there, and below the watermark asked

typedef struct Event {
    int8_t start; // a start; else the end of a run
    int8_t place;
    int8_t uses; // a start: metered now, it would use up the reservation that lives
    int8_t late; // a later event of the VM has been metered
    int8_t due;  // a start that is SENT: acknowledged by then (c)
    int8_t at;   // a start, where skew matters: its time
} Event;

typedef struct Vm {
    // What really is, and what the orchestrator knows.
    int8_t runs;         // the machine runs
    int8_t holds;        // an answered reservation that has not been started with
    int8_t holds_living; // it is the one that lives in the database
    int8_t holds_until;  // its expires_at
    int8_t events;       // on their way: produced and not metered yet, oldest first
    Event event[UNREAD_MAX];
    // What the database knows.
    int8_t reserved;  // a reservation lives
    int8_t lapses_at; // of it
    int8_t given;     // a reservation was given back since one was granted
    int8_t doubted;   // counts without holding a slot that was granted
    int8_t open;      // a run is open, by what was metered
    int8_t vouched;   // which is uncounted, since it was vouched for
    int8_t vouched_until;
    // Weakened rules only.
    int8_t checked;  // NO_LOCK: there was room when it was looked at
    int8_t deleting; // DELETE_LATE: 1 a DELETE is on its way; 2 which names the living reservation
} Vm;

typedef struct Collector {
    int8_t stage;    // 0 idle, 1 the first and 2 the second of: time noted, watermark asked
    int8_t noted;    // the time noted
    int8_t progress; // of its partition; kept only where there are two
} Collector;

typedef struct State {
    Vm vm[VMS_MAX];
    Collector collector[COLLECTORS_MAX];
} State;

// ---- slots ----
static inline bool weak(const World *w, unsigned rule) { return (w->weak & rule) != 0; }
static inline bool demands(const World *w, unsigned cond) { return (w->dropped & cond) == 0; }

static inline bool slot(const Vm *vm) { return (vm->open && !vm->vouched) || vm->reserved; }

static inline int slots(const World *w, const State *s)
{
    int n = 0;
    for (int v = 0; v < w->vms; v++) n += slot(&s->vm[v]);
    return n;
}

static inline int machines(const World *w, const State *s)
{
    int n = 0;
    for (int v = 0; v < w->vms; v++) n += s->vm[v].runs;
    return n;
}

static inline void reservation_end(Vm *vm)
{
    vm->reserved = vm->lapses_at = vm->holds_living = 0;
    if (vm->deleting == 2) vm->deleting = 1;
    for (int i = 0; i < vm->events; i++) vm->event[i].uses = 0;
}

static inline bool passed(const World *w, int progress, int time)
{
    return weak(w, LAPSE_AT) ? progress >= time : progress > time;
}

// Who decides lets lapse first; so what progress has passed is as good as gone at once.
static inline void lapse(const World *w, State *s, int progress)
{
    if (weak(w, NEVER_LAPSES)) return;
    for (int v = 0; v < w->vms; v++) {
        Vm *vm = &s->vm[v];
        if (vm->reserved && passed(w, progress, vm->lapses_at)) reservation_end(vm);
        if (!vm->vouched || !passed(w, progress, vm->vouched_until)) continue;
        vm->vouched = 0;
        vm->doubted = vm->open && !vm->reserved;
    }
}

// ---- the server: transactions that hold the account's lock ----
// A new id takes the place of any the VM had: what named that one, names none that lives. A start
// without a name uses the new one up only if it is not older, less the skew.
static inline bool reserve(const World *w, Vm *vm)
{
    bool renewal = vm->reserved && weak(w, SAME_ID);
    if (!renewal) reservation_end(vm);
    for (int i = 0; i < vm->events && w->nameless && w->skew > 0; i++) {
        vm->event[i].uses = vm->event[i].start && vm->event[i].at >= -w->skew;
    }
    vm->reserved = 1;
    vm->given = vm->doubted = 0;
    vm->lapses_at = (int8_t)(w->lifetime + (weak(w, NO_EVENT_DELAY) ? 0 : w->delay));
    vm->checked = 0;
    return true;
}

// A slot is free, or the VM holds one. One that counts though its slot was given away (its start
// was metered after its reservation had been given back; or its vouch is over) may be one too many.
static inline bool room(const World *w, const State *s, int v)
{
    const Vm *vm = &s->vm[v];
    if (weak(w, UNCOUNTED_KEPT) && vm->open) return true;
    if (slots(w, s) - slot(vm) < w->limit) return true;
    if (weak(w, RENEW_RUNNING)) return slot(vm);
    return vm->reserved || (slot(vm) && !vm->doubted && !weak(w, RENEW_WITHIN));
}

static inline bool step_reserve_unheard(const World *w, State *s, int v, int i)
{
    (void)i;
    if (weak(w, NO_LOCK) ? !s->vm[v].checked : !room(w, s, v)) return false;
    return reserve(w, &s->vm[v]);
}

static inline bool step_reserve(const World *w, State *s, int v, int i)
{
    if (!step_reserve_unheard(w, s, v, i)) return false;
    s->vm[v].holds = s->vm[v].holds_living = 1;
    s->vm[v].holds_until = (int8_t)w->lifetime;
    return true;
}

static inline bool step_check(const World *w, State *s, int v, int i)
{
    (void)i;
    if (!weak(w, NO_LOCK) || s->vm[v].checked || !room(w, s, v)) return false;
    s->vm[v].checked = 1;
    return true;
}

static inline bool step_answer_uncommitted(const World *w, State *s, int v, int i)
{
    (void)i;
    if (!weak(w, ANSWER_FIRST) || !room(w, s, v)) return false;
    s->vm[v].holds = 1;
    s->vm[v].holds_living = 0;
    s->vm[v].holds_until = (int8_t)w->lifetime;
    return true;
}

// The orchestrator gives back what it will not start with any more (d). 409 where a run is open.
static inline bool step_delete(const World *w, State *s, int v, int i)
{
    (void)i;
    Vm *vm = &s->vm[v];
    if (demands(w, COND_D) && vm->runs) return false;
    if (!vm->reserved || vm->open || weak(w, DELETE_LATE)) return false;
    if (demands(w, COND_D)) vm->holds = 0;
    reservation_end(vm);
    vm->given = 1;
    return true;
}

static inline bool step_delete_send(const World *w, State *s, int v, int i)
{
    (void)i;
    Vm *vm = &s->vm[v];
    if (!weak(w, DELETE_LATE) || vm->runs || !vm->holds || vm->deleting) return false;
    vm->deleting = weak(w, DELETE_BY_ID) && vm->holds_living ? 2 : 1;
    vm->holds = 0;
    return true;
}

static inline bool step_delete_arrive(const World *w, State *s, int v, int i)
{
    (void)i;
    Vm *vm = &s->vm[v];
    if (!vm->deleting) return false;
    bool deletes = !vm->open && (vm->deleting == 2 || !weak(w, DELETE_BY_ID));
    vm->deleting = 0;
    if (deletes && vm->reserved) vm->given = 1;
    if (deletes) reservation_end(vm);
    return true;
}

// DELETE ?stopped=true: an open run is uncounted until the call + event delay.
static inline bool step_vouch(const World *w, State *s, int v, int i)
{
    (void)i;
    Vm *vm = &s->vm[v];
    if (!slot(vm) || (vm->runs && !weak(w, FALSE_VOUCH))) return false;
    vm->holds = 0;
    if (vm->reserved) vm->given = 1;
    reservation_end(vm);
    vm->vouched = vm->open;
    vm->vouched_until = (int8_t)w->delay;
    return true;
}

// ---- the machine, and its events on their way to Kafka ----
static inline Event *produce(const World *w, State *s, int v)
{
    int all = 0;
    for (int u = 0; u < w->vms; u++) all += s->vm[u].events;
    if (s->vm[v].events >= w->unread || all >= w->unread_all) return NULL;
    Event *event = &s->vm[v].event[s->vm[v].events++];
    *event = (Event){0};
    return event;
}

static inline bool start(const World *w, State *s, int v, int due)
{
    Vm *vm = &s->vm[v];
    Event *event = produce(w, s, v);
    if (!event) return false;
    event->start = 1;
    event->uses = w->nameless ? vm->reserved : vm->holds && vm->holds_living;
    event->due = (int8_t)due;
    vm->runs = 1;
    vm->holds = 0; // one start for one reservation
    return true;
}

// (b); with it, what is held and has expired is forgotten (settle)
static inline bool step_start(const World *w, State *s, int v, int i)
{
    (void)i;
    Vm *vm = &s->vm[v];
    if (vm->runs || !vm->holds) return false;
    return start(w, s, v, (vm->holds_until > 0 ? vm->holds_until : 0) + w->delay);
}

static inline bool step_start_unasked(const World *w, State *s, int v, int i)
{
    (void)i;
    if (demands(w, COND_A) || s->vm[v].runs || s->vm[v].holds) return false;
    return start(w, s, v, w->delay);
}

static inline bool step_stop(const World *w, State *s, int v, int i)
{
    (void)i;
    if (!s->vm[v].runs || !produce(w, s, v)) return false;
    s->vm[v].runs = 0;
    return true;
}

static inline bool step_acknowledge(const World *w, State *s, int v, int i)
{
    Vm *vm = &s->vm[v];
    if (vm->event[i].place != SENT) return false;
    if (!w->any_order && i > 0 && vm->event[i - 1].place == SENT) return false;
    vm->event[i].place = LOGGED;
    return true;
}

static inline void event_remove(Vm *vm, int i)
{
    for (int k = i + 1; k < vm->events; k++) vm->event[k - 1] = vm->event[k];
    vm->event[--vm->events] = (Event){0};
}

static inline bool step_lose(const World *w, State *s, int v, int i)
{
    if (!weak(w, KAFKA_LOSES) || s->vm[v].event[i].place != LOGGED) return false;
    event_remove(&s->vm[v], i);
    return true;
}

// ---- the collector ----
static inline bool is_read_by(const World *w, int v, int c) { return w->collectors == 1 || v == c; }

// The run is open if the latest of the metered events is a start: a late one changes nothing.
static inline bool step_meter(const World *w, State *s, int v, int i)
{
    Vm *vm = &s->vm[v];
    Event event = vm->event[i];
    if (event.place == SENT || (!w->any_order && i > 0)) return false;
    bool held = slot(vm);
    if (event.start ? event.uses : weak(w, END_ENDS)) reservation_end(vm);
    if (!event.late || weak(w, ARRIVAL_ORDER)) {
        vm->open = event.start;
        if (!weak(w, VOUCH_STAYS | (event.start ? VOUCH_TO_END : 0))) vm->vouched = 0;
    }
    if (!held && slot(vm) && vm->given) vm->doubted = 1;
    for (int k = 0; k < i; k++) vm->event[k].late = 1;
    event_remove(vm, i);
    return true;
}

static inline bool step_note(const World *w, State *s, int c, int i)
{
    (void)i;
    Collector *collector = &s->collector[c];
    if (collector->stage != (weak(w, WATERMARK_FIRST) ? 1 : 0)) return false;
    collector->stage++;
    collector->noted = 0;
    return true;
}

static inline bool step_watermark(const World *w, State *s, int c, int i)
{
    (void)i;
    Collector *collector = &s->collector[c];
    if (collector->stage != (weak(w, WATERMARK_FIRST) ? 0 : 1)) return false;
    int n = 0;
    for (int v = 0; v < w->vms; v++) {
        for (int k = 0; k < s->vm[v].events && is_read_by(w, v, c); k++) {
            Event *event = &s->vm[v].event[k];
            if (event->place == LOGGED) n++, event->place = BELOW;
        }
    }
    collector->stage++;
    return n > 0 || !weak(w, PROGRESS_IF_BUSY);
}

static inline bool step_publish(const World *w, State *s, int c, int i)
{
    (void)i;
    Collector *collector = &s->collector[c];
    if (collector->stage != 2) return false;
    for (int v = 0; v < w->vms; v++) {
        for (int k = 0; k < s->vm[v].events && is_read_by(w, v, c); k++) {
            if (s->vm[v].event[k].place != BELOW) continue;
            if (!weak(w, GOAL_UNREAD)) return false;
            s->vm[v].event[k].place = LOGGED;
        }
    }
    collector->progress = collector->noted;
    collector->stage = collector->noted = 0;
    int least = collector->progress;
    for (int k = 0; k < w->collectors; k++) {
        if (s->collector[k].progress < least) least = s->collector[k].progress;
    }
    lapse(w, s, least);
    return true;
}

// What was noted and asked is forgotten; position and progress are in the database.
static inline bool step_crash(const World *w, State *s, int c, int i)
{
    (void)i;
    if (s->collector[c].stage == 0) return false;
    s->collector[c].stage = s->collector[c].noted = 0;
    for (int v = 0; v < w->vms; v++) {
        for (int k = 0; k < s->vm[v].events && is_read_by(w, v, c); k++) {
            if (s->vm[v].event[k].place == BELOW) s->vm[v].event[k].place = LOGGED;
        }
    }
    return true;
}

static inline bool step_crash_ahead(const World *w, State *s, int v, int i)
{
    int c = w->collectors == 1 ? 0 : v;
    if (!weak(w, POSITION_FIRST) || s->vm[v].event[i].place == SENT) return false;
    (void)step_crash(w, s, c, 0);
    event_remove(&s->vm[v], i);
    return true;
}

// ---- time ----
// (c): the clock waits for what must have been acknowledged by now.
static inline bool step_tick(const World *w, State *s, int v, int i)
{
    (void)v, (void)i;
    for (int u = 0; u < w->vms; u++) {
        Vm *vm = &s->vm[u];
        for (int k = 0; k < vm->events; k++) {
            Event *event = &vm->event[k];
            bool due = event->start && event->place == SENT && event->due <= 0;
            if (due && demands(w, COND_C)) return false;
            event->due--;
            event->at--;
        }
        vm->holds_until--;
        vm->lapses_at--;
        vm->vouched_until--;
    }
    for (int c = 0; c < w->collectors; c++) s->collector[c].noted--, s->collector[c].progress--;
    if (weak(w, CLOCK_EXPIRY)) lapse(w, s, 0);
    return true;
}

// ---- the table of steps ----
enum { OF_ALL, OF_VM, OF_EVENT, OF_COLLECTOR };

typedef struct StepKind {
    const char *text; // %c: the VM or the collector; %s: start or end
    int of;
    bool (*take)(const World *w, State *s, int v, int i);
} StepKind;

static const StepKind STEPS[] = {
    {"VM %c reserves, and hears the answer", OF_VM, step_reserve},
    {"VM %c reserves, but the answer is lost", OF_VM, step_reserve_unheard},
    {"the server sees room for VM %c, and has not written yet", OF_VM, step_check},
    {"VM %c hears a yes; the server dies before the commit", OF_VM, step_answer_uncommitted},
    {"VM %c starts", OF_VM, step_start},
    {"VM %c starts without having asked", OF_VM, step_start_unasked},
    {"VM %c stops", OF_VM, step_stop},
    {"VM %c's reservation is deleted", OF_VM, step_delete},
    {"VM %c gives up: a DELETE is sent", OF_VM, step_delete_send},
    {"VM %c's DELETE arrives", OF_VM, step_delete_arrive},
    {"VM %c is vouched for: ?stopped=true", OF_VM, step_vouch},
    {"Kafka acknowledges VM %c's %s", OF_EVENT, step_acknowledge},
    {"Kafka loses VM %c's %s", OF_EVENT, step_lose},
    {"VM %c's %s is metered", OF_EVENT, step_meter},
    {"the collector dies, its position past VM %c's %s", OF_EVENT, step_crash_ahead},
    {"collector %c notes the time", OF_COLLECTOR, step_note},
    {"collector %c asks the watermark", OF_COLLECTOR, step_watermark},
    {"collector %c publishes progress", OF_COLLECTOR, step_publish},
    {"collector %c dies and starts again", OF_COLLECTOR, step_crash},
    {"the clock ticks", OF_ALL, step_tick},
};
enum { STEP_KINDS = sizeof STEPS / sizeof *STEPS };

// ---- what is the same ----
enum { LONG_AGO = -100 };

// Whether anything that lives would lapse by this progress. All that is to come is later.
static inline bool matters(const World *w, const State *s, int progress)
{
    for (int v = 0; v < w->vms; v++) {
        const Vm *vm = &s->vm[v];
        if (vm->reserved && passed(w, progress, vm->lapses_at)) return true;
        if (vm->vouched && passed(w, progress, vm->vouched_until)) return true;
    }
    return false;
}

static inline void settle_vm(const World *w, Vm *vm)
{
    if (vm->holds_until < 0) {
        if (demands(w, COND_B)) vm->holds = 0;
        vm->holds_until = -1;
    }
    if (!vm->holds) vm->holds_living = vm->holds_until = 0;
    if (w->nameless) vm->holds_living = 0; // nobody names it
    if (!vm->reserved) vm->lapses_at = 0;
    if (!vm->vouched) vm->vouched_until = 0;
    bool starts = false;
    for (int k = 0; k < vm->events; k++) starts |= vm->event[k].start;
    if (!starts) vm->given = 0; // none from before can come any more
    if (!vm->open) vm->doubted = 0;
    if (weak(w, RENEW_RUNNING | RENEW_WITHIN)) vm->given = vm->doubted = 0;
    for (int k = 0; k < vm->events; k++) {
        Event *event = &vm->event[k];
        if (!event->start || event->place != SENT || !demands(w, COND_C)) event->due = 0;
        if (!event->start || w->skew == 0) event->at = 0;
        if (event->at < -w->skew) event->at = (int8_t)(-w->skew - 1);
    }
}

// After every step: what can have no effect any more is forgotten, so that states that will behave
// alike are equal. Of a time that was noted before anything could lapse by it, the collector might
// as well have died and started again.
static inline void settle(const World *w, State *s)
{
    bool first = !weak(w, WATERMARK_FIRST); // the time is noted first
    for (int v = 0; v < w->vms; v++) settle_vm(w, &s->vm[v]);
    for (int c = 0; c < w->collectors; c++) {
        Collector *collector = &s->collector[c];
        if (first && !matters(w, s, collector->noted)) (void)step_crash(w, s, c, 0);
        if (collector->stage < (first ? 1 : 2)) collector->noted = 0;
        if (!matters(w, s, collector->progress)) collector->progress = LONG_AGO;
        if (w->collectors == 1) collector->progress = 0;
    }
}
