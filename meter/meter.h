// SPDX-License-Identifier: Apache-2.0
// meter: events to minutes. The Meter takes messages, gathers them in a batch and writes what they
// mean in one transaction: events, VMs, runs, day totals, dead letters and, for Kafka, the
// position. May touch db/, catalog/, quota/, notices/ and (meter/collector.c alone) kafka/; must
// never know prices' use, invoices or HTTP.
//
// A batch, in order:
//   1. decode each message as it is added (pure, meter/event)
//   2. BEGIN; the catalogue is held FOR SHARE, so that it cannot change underneath
//   3. sort by VM; drop repeats within the batch; load the VMs' rows
//   4. a VM whose events are all later than its last takes the short way: its timeline goes on. Any
//   other: stored
//      identities are looked up, and where something new is left, its history is read back and
//      folded twice
//   5. COPY events and runs; write the VMs' rows, each guarded by its version; add to the day
//   totals; note whose past months billing must look at again (meter/unsettled.c)
//   6. move the positions, guarded by our epochs
//   7. lock the accounts' counts: slots and reservations follow (quota/follow); notices; COMMIT
// Two collectors that touch one VM meet in step 5: the version of the slower one no longer fits,
// nothing of its batch is written, and it starts over from what is stored now. An identity that is
// stored already shows as a unique violation of step 5's COPY where step 4 had no reason to look:
// then the batch is done again with care, all identities looked up. What PostgreSQL refuses by
// content is found by halving the batch, and is a dead letter.
#pragma once

#include "db/db.h"
#include "meter/event.h"
#include "meter/timeline.h"

enum {
    BATCH_EVENTS_MAX = 50000,
    BATCH_BYTES_MAX = 48 * 1024 * 1024, // of messages, decoded and raw
    BATCH_TRIES_MAX = 20,
    PLACES_MAX = 4096,           // partitions of one collector
    KNOWN_ACCOUNTS_MAX = 200000, // ids kept; accounts never go away
    SWEEP_MAX = 20000,           // VMs per statement
};

// An event of more than this ahead of the clock is a dead letter until its time comes.
#define FUTURE_US (5 * US_PER_MINUTE)

// A partition that this process meters, and how far it has come.
typedef struct Place {
    const char *topic;
    int32_t partition;
    int32_t origin;
    int64_t epoch;
    int64_t next_offset; // as committed in PostgreSQL
    bool has_progress;   // a progress to write with the next move
    Instant progress;
} Place;

typedef struct Tally {
    int64_t metered[EVENT_NOT_METERED]; // by type
    int64_t not_metered, repeated;
    int64_t dead[DEAD_REASONS];
    int64_t batches, late_vms, again;
    int64_t first_ms, last_ms; // monotonic: first message taken, last batch committed
} Tally;

typedef struct Meter Meter;

// `as_of` may be NULL. `batch_events_max` 0: BATCH_EVENTS_MAX.
Status meter_new(Db *db, const Instant *as_of, int64_t batch_events_max, Meter **out, Error *error)
    MUST_USE;
void meter_free(Meter *meter);
static inline void meter_free_pointer(Meter **meter) { meter_free(*meter); }
#define OWNED_METER __attribute__((cleanup(meter_free_pointer)))

// Where messages of a file stand.
Status meter_origin_file(Meter *meter, const char *file, int32_t *origin, Error *error) MUST_USE;
Status meter_origin_partition(Meter *meter, const char *topic, int32_t partition, int32_t *origin,
                              Error *error) MUST_USE;
// The partitions that records come from; replaces those before. The batch must be empty. Borrowed
// until replaced.
void meter_places(Meter *meter, Place *places, int count);

typedef struct Standpoint {
    int32_t origin;
    int64_t position;
    int place;            // index into the places, or -1: a file, or a retry
    uint64_t record_hash; // of a record: kept with the position
    int64_t timestamp_ms; // of a record; -1: none
    int64_t letter;       // the dead letter that this is a retry of, or 0
} Standpoint;

// Decodes a copy of the message into the batch. The caller flushes when meter_full.
void meter_add(Meter *meter, const Message *message, const Standpoint *at);
bool meter_full(const Meter *meter);
// Messages of the batch that is being gathered.
size_t meter_pending(const Meter *meter);
// Hands the batch to a thread that writes it, once the one before is written; the caller goes on
// gathering. Fails as meter_flush does, for the batch before: then this one is still being gathered
// (ST_RETRY), or dropped with it.
Status meter_submit(Meter *meter, Error *error) MUST_USE;
// Writes all that was gathered, and the places' progress; afterwards nothing is pending. ST_RETRY:
// the database is not there or not willing; what was gathered is kept: call meter_recover until it
// is, then flush again. ST_REFUSED: a place is somebody else's by now: nothing was written, and
// what was gathered is dropped. ST_FATAL: our bug, or a changed schema.
Status meter_flush(Meter *meter, Error *error) MUST_USE;
// After ST_RETRY: reconnects where the connection is gone, ends the sessions of collectors that
// hang in a COPY, and looks whether the batch was committed after all.
Status meter_recover(Meter *meter, Error *error) MUST_USE;
// Takes VMs that stopped a while ago off the list of those that may run. Call now and then, with an
// empty batch.
Status meter_sweep(Meter *meter, Error *error) MUST_USE;
// Drops the batch without writing it.
void meter_drop(Meter *meter);
// Told of each batch that was committed: messages, and how long its transaction took. Called
// in whichever thread writes.
typedef void (*MeterWrote)(void *context, size_t messages, int64_t us);
void meter_observe(Meter *meter, MeterWrote wrote, void *context);
// As of the last batch that the owner waited for.
const Tally *meter_tally(const Meter *meter);
// The connection, once no batch is being written on it.
Db *meter_db(Meter *meter);
// The clock that decides what is `future`: the database's, or --as-of.
Status meter_clock(Meter *meter, Instant *out, Error *error) MUST_USE;
