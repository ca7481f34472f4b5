// SPDX-License-Identifier: Apache-2.0
// Gathering a batch. See meter/meter.h.
#include "meter/meter.h"

#include "catalog/store.h"
#include "meter/batch.h"
#include "meter/meter_sql.h"

static const int64_t SWEEP_IDLE_US = 60 * US_PER_MINUTE;

Status meter_new(Db *db, const Instant *as_of, int64_t batch_events_max, Meter **out, Error *error)
{
    TRY(db_script(db, METER_SESSION, error));
    Meter *meter = mem_alloc(sizeof *meter);
    meter->db = db;
    meter->has_as_of = as_of != NULL;
    if (as_of) meter->as_of = *as_of;
    bool given = batch_events_max > 0 && batch_events_max < BATCH_EVENTS_MAX;
    meter->events_max = given ? (size_t)batch_events_max : BATCH_EVENTS_MAX;
    for (int i = 0; i < 2; i++) meter->batch[i].arena = arena_new();
    meter->gather = &meter->batch[0];
    meter->writing = &meter->batch[1];
    meter->known = known_new();
    meter->follower = follower_new();
    meter->cache = vm_cache_new();
    Status status = writer_start(meter, error);
    if (status == ST_OK) *out = meter;
    else meter_free(meter);
    return status;
}

void meter_free(Meter *meter)
{
    if (!meter) return;
    writer_stop(meter);
    catalog_free(meter->catalog);
    for (int i = 0; i < 2; i++) {
        arena_free(meter->batch[i].arena);
        free(meter->batch[i].item);
    }
    known_free(meter->known);
    follower_free(meter->follower);
    db_close(meter->flusher);
    vm_cache_free(meter->cache);
    free(meter);
}

// ---- where things stand ----
static Status find_origin(Meter *meter, const Str params[3], int32_t *origin, Error *error)
{
    for (int tries = 0; tries < 2; tries++) {
        OWNED_ROWS Rows *rows = NULL;
        TRY(db_query(meter_db(meter), &SQL_METER_ORIGIN_FIND, 3, params, &rows, error));
        if (rows_count(rows) > 0) {
            *origin = (int32_t)rows_int(rows, 0, 0);
            return ST_OK;
        }
        TRY(db_run(meter_db(meter), &SQL_METER_ORIGIN_ADD, 3, params, NULL, error));
    }
    return error_set(error, ST_FATAL, "an origin that was just added is not there");
}

Status meter_origin_file(Meter *meter, const char *file, int32_t *origin, Error *error)
{
    return find_origin(meter, (Str[]){{0}, {0}, str(file)}, origin, error);
}

Status meter_origin_partition(Meter *meter, const char *topic, int32_t partition, int32_t *origin,
                              Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    return find_origin(meter, (Str[]){str(topic), param_int(arena, partition), {0}}, origin, error);
}

void meter_places(Meter *meter, Place *places, int count)
{
    writer_wait(meter);
    ASSERT(meter->gather->items == 0 && meter->writing->items == 0 && count <= PLACES_MAX);
    meter->place = places;
    meter->places = count;
}

Status clock_read(Meter *meter, Instant *out, Error *error)
{
    if (meter->has_as_of) {
        *out = meter->as_of;
        return ST_OK;
    }
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(meter->db, &SQL_METER_CLOCK, 0, NULL, &rows, error));
    *out = rows_instant(rows, 0, 0);
    return ST_OK;
}

Status meter_clock(Meter *meter, Instant *out, Error *error)
{
    writer_wait(meter);
    return clock_read(meter, out, error);
}

void meter_observe(Meter *meter, MeterWrote wrote, void *context)
{
    writer_wait(meter);
    meter->wrote = wrote;
    meter->wrote_context = context;
}

const Tally *meter_tally(const Meter *meter) { return &meter->shown; }

Db *meter_db(Meter *meter)
{
    writer_wait(meter);
    return meter->db;
}

// ---- gathering ----
void meter_add(Meter *meter, const Message *message, const Standpoint *at)
{
    Batch *batch = meter->gather;
    if (batch->items == batch->room) {
        batch->room = batch->room ? batch->room * 2 : 1024;
        batch->item = mem_resize(batch->item, batch->room * sizeof *batch->item);
    }
    if (!meter->first_ms) meter->first_ms = clock_monotonic_ms();
    Arena *arena = batch->arena;
    Item *item = &batch->item[batch->items++];
    *item = (Item){.at = *at};
    Header *headers = arena_alloc(arena, (size_t)message->headers * sizeof *headers);
    for (int h = 0; h < message->headers; h++)
        headers[h] = (Header){arena_copy(arena, message->header[h].name),
                              arena_copy(arena, message->header[h].value)};
    item->message = (Message){arena_copy(arena, message->key), arena_copy(arena, message->value),
                              message->headers, headers};
    item->decoded = event_decode(&item->message, arena, &item->event, &item->decoded_detail);
    item->event.origin = at->origin;
    item->event.position = at->position;
}

bool meter_full(const Meter *meter)
{
    const Batch *batch = meter->gather;
    return batch->items >= meter->events_max || arena_bytes(batch->arena) >= BATCH_BYTES_MAX;
}

size_t meter_pending(const Meter *meter) { return meter->gather->items; }

Status meter_sweep(Meter *meter, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Instant clock;
    TRY(meter_clock(meter, &clock, error));
    Str params[] = {param_instant(arena, instant_add_us(clock, -SWEEP_IDLE_US)),
                    param_int(arena, SWEEP_MAX)};
    int64_t swept = SWEEP_MAX;
    while (swept == SWEEP_MAX)
        TRY(db_run(meter_db(meter), &SQL_METER_VM_UNLIST, 2, params, &swept, error));
    return ST_OK;
}
