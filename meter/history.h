// SPDX-License-Identifier: Apache-2.0
// meter/history: whole histories, read back from the events and folded twice in one pass: as they
// are stored, and as they are wanted (with events added, up to an instant, or under another
// catalogue). The difference is what a late event, --as-of or a new catalogue changes. Events
// stream by in order of time, so memory holds one VM's runs and one instant's events, never a
// history.
#pragma once

#include "db/db.h"
#include "meter/timeline.h"

typedef struct HistoryAsk {
    Str account, vm;
    const Event *const
        *added; // events of this VM that are not stored yet, retractions too; may be NULL
    size_t added_count;
} HistoryAsk;

typedef struct HistoryView {
    const Catalog *stored; // the catalogue of the stored side
    const Catalog *wanted; // and of the wanted one; mostly the same
    const Instant *until;  // the wanted side ends here (inclusive); NULL: it does not
} HistoryView;

typedef struct HistorySide {
    Timeline timeline;
    Run *run; // those that have ended, in order
    size_t runs, room;
} HistorySide;

// One VM's two sides; lives until the callback returns.
typedef struct History {
    const HistoryAsk *ask;
    HistorySide stored, wanted;
    bool has_last;   // whether any event but retractions is there
    Instant last_at; // the latest, added ones included
    bool pending;    // a retraction waits for its event
    bool differs;    // whether the sides have other events: then minutes may differ from `reach` on
    Instant reach;
} History;

typedef Status (*HistoryFn)(void *context, const History *history, Error *error);

// Calls `each` for every ask, in order. `asks` are in order of (account, vm), each VM once.
// `each` runs while rows stream in: it must not use `db`.
Status history_read(Db *db, const HistoryView *view, const HistoryAsk *asks, size_t n,
                    HistoryFn each, void *context, Error *error) MUST_USE;

// An event from a row of history_events.sql, its texts copied into `arena`.
Event event_from_row(const Rows *rows, int row, Arena *arena);
