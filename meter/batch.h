// SPDX-License-Identifier: Apache-2.0
// meter/batch: the inside of a Meter, shared by meter/meter.c (gathering, trying again),
// meter/batch.c (deciding) and meter/write.c (writing). Nothing outside the room includes it.
#pragma once

#include "meter/history.h"
#include "meter/meter.h"
#include "quota/follow.h"

#include <pthread.h>

typedef struct Item {
    Message message;
    Event event;
    Standpoint at;
    DeadReason decoded; // found while decoding, with its detail
    Str decoded_detail;
    DeadReason dead; // found in this try, or the above
    Str detail;
    bool repeated;
    bool rejected; // PostgreSQL refused it alone: sticks
} Item;

// A VM of the batch, and what becomes of it.
typedef struct VmGroup {
    Str account, vm;
    Item **item; // its items, in order of arrival
    size_t items;
    const Event **added; // what is new, in order of time
    size_t added_count;
    int64_t version; // as loaded; 0: there is no row
    bool has_last;
    Instant last_at;
    bool pending;
    bool late;    // needs to look back
    bool known;   // taken from the cache
    bool changes; // what is new may change its minutes, from `reach` on
    Instant reach;
    Timeline timeline;
    bool ran, was_watched, was_lost; // its phase, as loaded
} VmGroup;

typedef struct RunRow {
    Str account, vm;
    Run run;
    int64_t minutes;
    CreditMinutes cm;
} RunRow;

typedef struct UsageCell {
    Str account;
    Day day;
    SizeNo size;
    int64_t minutes; // a difference
} UsageCell;

// Growing lists in an arena.
typedef struct RunRows {
    RunRow *row;
    size_t count, room;
} RunRows;
typedef struct UsageCells {
    UsageCell *cell;
    size_t count, room;
} UsageCells;

// One try of a batch's items [first, first + count), all in an arena of its own.
typedef struct Attempt {
    Meter *meter;
    const Catalog *catalog;
    Arena *arena;
    Item *item;
    size_t count;
    bool careful; // look up every identity
    bool last;    // the batch ends with these items: progress may be written
    Instant clock;
    VmGroup *group;
    size_t groups;
    RunRows ended, gone;
    UsageCells cells;
    int64_t letters_done;
} Attempt;

// Messages of one transaction, with their events.
typedef struct Batch {
    Arena *arena;
    Item *item;
    size_t items, room;
    bool progress; // written with it: all that the places' progress speaks of is in it, or was
                   // before it
} Batch;

typedef enum WriterState { WRITER_IDLE, WRITER_BUSY, WRITER_ENDING } WriterState;

struct Meter {
    Db *db;
    Follower *follower;
    MeterWrote wrote;
    void *wrote_context;
    Db *flusher; // a second connection; NULL until it is needed
    bool has_as_of;
    Instant as_of;
    size_t events_max;
    Catalog *catalog;
    Batch batch[2], *gather, *writing;
    Place *place;
    int places;
    bool unknown; // whether what is in `writing` was committed must be looked up
    struct Known *known;
    struct VmCache *cache;
    Tally tally, shown; // shown: as the owner saw it last
    int64_t first_ms;
    // meter/writer.c: state and result are guarded by the lock.
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    WriterState state;
    Status result;
    Error error;
};

// meter/writer.c
extern const char METER_SESSION[]; // settings and the stage that every connection of a meter needs
Status writer_start(Meter *meter, Error *error) MUST_USE;
void writer_wait(Meter *meter); // until the thread writes nothing
void writer_stop(Meter *meter);
// Has what the transaction has written so far brought to disk, so that the commit, which holds the
// accounts' locks, is short; where that cannot be done, it is just longer.
void writer_flush(Meter *meter, size_t messages);
Status clock_read(Meter *meter, Instant *out, Error *error) MUST_USE; // meter_clock for the writer

// meter/batch.c: fills the attempt's dead reasons, groups, runs and cells. Reads the database,
// writes nothing.
Status attempt_decide(Attempt *attempt, Error *error) MUST_USE;
// meter/write.c: writes them.
Status attempt_write(Attempt *attempt, Error *error) MUST_USE;
// meter/tell.c: quota follows, and others are told.
Status attempt_follow(Attempt *attempt, Error *error) MUST_USE;
// What became of a VM, as quota sees it.
VmChange group_change(const VmGroup *group, const Catalog *catalog, Arena *arena);

// Adds a run that ended (sign 1) or that is not so any more (sign -1).
void attempt_run(RunRows *rows, UsageCells *cells, Arena *arena, const Catalog *catalog,
                 Str account, Str vm, const Run *run, int sign);
// The difference between a history's two sides, as rows to add and to remove; their minutes go to
// `more` in the sizes of the wanted catalogue, and to `less` in those of the stored one (the same
// list where it is the same catalogue).
void attempt_difference(const History *history, const HistoryView *view, RunRows *ended,
                        RunRows *gone, UsageCells *more, UsageCells *less, Arena *arena);
// What a history's wanted side makes of a VM, copied into `arena`.
void group_take(VmGroup *group, const History *history, Arena *arena);
// Writes runs, day totals and VM rows; used by metering and by a rebuild alike.
int run_rows_compare(const void *a, const void *b);    // of two RunRow, by the run's key
int usage_cells_compare(const void *a, const void *b); // of two UsageCell, by account, day, size
Status write_runs(Db *db, const Catalog *catalog, RunRows *ended, RunRows *gone, Error *error)
    MUST_USE;
Status write_cells(Db *db, const Catalog *catalog, UsageCells *cells, Error *error) MUST_USE;
Status write_vms(Db *db, const Catalog *catalog, const VmGroup *group, size_t groups, Error *error)
    MUST_USE;
// Loads the rows of those that are not `known`; afterwards `ran` and its like are set in all.
Status load_vms(Db *db, const Catalog *catalog, VmGroup *group, size_t groups, Arena *arena,
                Error *error) MUST_USE;

// meter/unsettled.c: tells billing whose usage may have changed since when.
typedef struct Unsettled {
    Str account;
    Day since;
} Unsettled;
Status unsettled_add(Db *db, const Unsettled *row, size_t n, Error *error) MUST_USE;
Status write_unsettled(const Attempt *attempt, Error *error) MUST_USE;

// meter/cache.c: VMs as they stood after our last write.
typedef struct VmCache VmCache;
VmCache *vm_cache_new(void);
void vm_cache_free(VmCache *cache);
void vm_cache_clear(VmCache *cache);
// Fills the group as load_vms does; false where it is not there.
bool vm_cache_get(VmCache *cache, VmGroup *group, Arena *arena);
// Keeps a copy of a group that was just committed.
void vm_cache_put(VmCache *cache, const VmGroup *group);
void vm_cache_drop(VmCache *cache, Str account, Str vm);

// meter/known.c: a bounded set of account ids that exist.
typedef struct Known Known;
Known *known_new(void);
void known_free(Known *known);
void known_clear(Known *known);
bool known_has(const Known *known, Str account);
// Makes room for `more`: where they would not fit, all are forgotten. Call before known_has decides
// whom to ask for.
void known_reserve(Known *known, size_t more);
void known_add(Known *known, Str account);
