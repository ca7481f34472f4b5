// SPDX-License-Identifier: Apache-2.0
// audit/cells: minutes of one account by day and size, twice: all, and those of runs as they were
// at a moment. Pure.
#pragma once

#include "catalog/catalog.h"

typedef struct DayCell {
    Day day;
    SizeNo size;
    int64_t all;  // minutes of runs that have ended
    int64_t used; // minutes that count as of the audit's now
} DayCell;

typedef struct DayCells {
    DayCell *cell; // a hash table, open addressing; `size` is SIZE_NONE where there is none
    size_t count, room;
    size_t last; // where the last one was found: minutes come in rows of one day and size
} DayCells;

void cells_done(DayCells *cells);
void cells_clear(DayCells *cells);
// The cell of that day and size, made where there was none; until the next call.
DayCell *cells_at(DayCells *cells, Day day, SizeNo size);
// In order of day and size, from the front of `cell`; afterwards only to be read, then cleared.
void cells_sort(DayCells *cells);
