// SPDX-License-Identifier: Apache-2.0
// simulate: a made-up fleet of sandbox VMs, event by event, for trying things and for tests. Pure
// and seeded: the same configuration gives the same events on every machine. May touch base/ alone;
// must never know what its events are worth. Memory grows with the number of VMs (about 64 bytes
// each), never with the time.
//
// Each VM lives by a random number generator of its own: it starts (forked, clean, or resumed where
// it was hibernated), may send heartbeats and be resized, is hibernated or stopped, and rests.
// Where stops get lost, a run ends without a word: heartbeats just cease, or the next start
// supersedes it. Delivery is a second step: repeats and disorder delay copies of an event, and
// never change it.
#pragma once

#include "base/text.h"
#include "base/time.h"

enum {
    FLEET_ACCOUNTS_MAX = 100000,
    FLEET_VMS_MAX = 10000000,
    FLEET_RUNS_MAX = 10000,  // of a VM a day
    FLEET_EXAMPLE_VMS = 80,  // the worked example of the price list: nano VMs,
    FLEET_EXAMPLE_DAYS = 30, // on each of the first 30 days,
    FLEET_EXAMPLE_HOURS = 3, // for 3 hours
    FLEET_ID_TEXT = 80,
};

typedef struct FleetConfig {
    uint64_t seed;
    Instant from, to;         // of the events' times; runs may still be open at the end
    int64_t accounts;         // acct-001 ...
    const char *const *named; // or these, if named_count > 0; lives as long as the fleet
    int named_count;
    int64_t vms;                 // in all; VM i is of account i modulo their number
    int64_t runs_per_day;        // of a VM, on average
    int64_t heartbeat_s;         // between heartbeats; 0: none
    int64_t repeats_permille;    // chance of one more delivery, each time; at most 4
    int64_t disorder_s;          // a delivery comes up to this much after its event's time
    int64_t lost_stops_permille; // of runs: nobody is told of their end
    const char *example; // account that gets the worked example's VMs and no others; may be NULL
} FleetConfig;

typedef enum FleetType {
    FLEET_STARTED,
    FLEET_RESIZED,
    FLEET_HEARTBEAT,
    FLEET_HIBERNATED,
    FLEET_STOPPED
} FleetType;

typedef struct FleetEvent {
    FleetType type;
    Instant time;
    int vm;                 // 0 ... vms - 1, then those of the worked example
    int size;               // started, resized
    const char *bootup;     // started
    uint32_t run, sequence; // of the VM, from 1
} FleetEvent;

typedef struct Fleet Fleet;

// ST_BAD_INPUT: a number out of range, an account that is no id, or `from` not before `to`.
Status fleet_new(const FleetConfig *config, Fleet **out, Error *error) MUST_USE;
// The next delivery; without disorder and repeats, in order of time. False at the end.
bool fleet_next(Fleet *fleet, FleetEvent *out);
// Appends the event as a structured CloudEvent, without a newline.
void fleet_json(const Fleet *fleet, const FleetEvent *event, Buf *out);
// The VM's id, to be a record's key; returns `out`.
char *fleet_vm_id(const Fleet *fleet, int vm, char out[static FLEET_ID_TEXT]);
void fleet_free(Fleet *fleet); // takes NULL
static inline void fleet_free_pointer(Fleet **fleet) { fleet_free(*fleet); }
#define OWNED_FLEET __attribute__((cleanup(fleet_free_pointer)))
