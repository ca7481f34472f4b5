// SPDX-License-Identifier: Apache-2.0
#include "audit/cells.h"

enum { ROOM_FIRST = 256 };

void cells_done(DayCells *cells) { free(cells->cell); }

static void make_room(DayCells *cells, size_t room)
{
    cells->cell = mem_resize(cells->cell, room * sizeof *cells->cell);
    cells->room = room;
    cells->count = cells->last = 0;
    for (size_t i = 0; i < room; i++) cells->cell[i].size = SIZE_NONE;
}

void cells_clear(DayCells *cells) { make_room(cells, ROOM_FIRST); }

static bool is(const DayCell *cell, Day day, SizeNo size)
{
    return cell->day.days == day.days && cell->size == size;
}

static size_t place_of(const DayCells *cells, Day day, SizeNo size)
{
    uint64_t key = (uint64_t)(uint32_t)day.days << 8 | size;
    size_t at = (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (cells->room - 1);
    while (cells->cell[at].size != SIZE_NONE && !is(&cells->cell[at], day, size))
        at = (at + 1) & (cells->room - 1);
    return at;
}

static void grow(DayCells *cells)
{
    DayCell *old = cells->cell;
    size_t room = cells->room;
    cells->cell = NULL;
    make_room(cells, room * 2);
    for (size_t i = 0; i < room; i++) {
        if (old[i].size == SIZE_NONE) continue;
        cells->cell[place_of(cells, old[i].day, old[i].size)] = old[i];
        cells->count++;
    }
    free(old);
}

DayCell *cells_at(DayCells *cells, Day day, SizeNo size)
{
    if (is(&cells->cell[cells->last], day, size)) return &cells->cell[cells->last];
    if (cells->count * 2 >= cells->room) grow(cells);
    size_t at = place_of(cells, day, size);
    if (cells->cell[at].size == SIZE_NONE) {
        cells->cell[at] = (DayCell){.day = day, .size = size};
        cells->count++;
    }
    cells->last = at;
    return &cells->cell[at];
}

static int compare_cells(const void *pa, const void *pb)
{
    const DayCell *a = pa, *b = pb;
    if (a->day.days != b->day.days) return a->day.days < b->day.days ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

void cells_sort(DayCells *cells)
{
    size_t n = 0;
    for (size_t i = 0; i < cells->room; i++)
        if (cells->cell[i].size != SIZE_NONE) cells->cell[n++] = cells->cell[i];
    if (n > 1) qsort(cells->cell, n, sizeof *cells->cell, compare_cells);
}
