// SPDX-License-Identifier: Apache-2.0
// Gathering a batch, and writing it until it is written. See meter/meter.h.
#include "meter/meter.h"

#include "catalog/store.h"
#include "meter/batch.h"
#include "meter/meter_sql.h"

// The planner would now and then read a whole table for a small batch, when its statistics are
// young; all our look-ups are by key.
static const char SESSION[] =
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    "SET statement_timeout = '120s';"
    "CREATE TEMPORARY TABLE IF NOT EXISTS vm_stage (LIKE vm INCLUDING DEFAULTS) ON COMMIT DELETE ROWS";

static const int64_t SWEEP_IDLE_US = 60 * US_PER_MINUTE;

Status meter_new(Db *db, const Instant *as_of, int64_t batch_events_max, Meter **out, Error *error)
{
    TRY(db_script(db, SESSION, error));
    Meter *meter = mem_alloc(sizeof *meter);
    meter->db = db;
    meter->has_as_of = as_of != NULL;
    if (as_of) meter->as_of = *as_of;
    bool given = batch_events_max > 0 && batch_events_max < BATCH_EVENTS_MAX;
    meter->events_max = given ? (size_t)batch_events_max : BATCH_EVENTS_MAX;
    meter->arena = arena_new();
    meter->known = known_new();
    meter->cache = vm_cache_new();
    *out = meter;
    return ST_OK;
}

void meter_free(Meter *meter)
{
    if (!meter) return;
    catalog_free(meter->catalog);
    arena_free(meter->arena);
    known_free(meter->known);
    vm_cache_free(meter->cache);
    free(meter->item);
    free(meter);
}

// ---- where things stand ----
static Status find_origin(Meter *meter, const Str params[3], int32_t *origin, Error *error)
{
    for (int tries = 0; tries < 2; tries++) {
        OWNED_ROWS Rows *rows = NULL;
        TRY(db_query(meter->db, &SQL_METER_ORIGIN_FIND, 3, params, &rows, error));
        if (rows_count(rows) > 0) {
            *origin = (int32_t)rows_int(rows, 0, 0);
            return ST_OK;
        }
        TRY(db_run(meter->db, &SQL_METER_ORIGIN_ADD, 3, params, NULL, error));
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
    ASSERT(meter->items == 0 && count <= PLACES_MAX);
    meter->place = places;
    meter->places = count;
}

Status meter_clock(Meter *meter, Instant *out, Error *error)
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

const Tally *meter_tally(const Meter *meter) { return &meter->tally; }
Db *meter_db(Meter *meter) { return meter->db; }

// ---- gathering ----
void meter_add(Meter *meter, const Message *message, const Standpoint *at)
{
    if (meter->items == meter->room) {
        meter->room = meter->room ? meter->room * 2 : 1024;
        meter->item = mem_resize(meter->item, meter->room * sizeof *meter->item);
    }
    if (!meter->tally.first_ms) meter->tally.first_ms = clock_monotonic_ms();
    Item *item = &meter->item[meter->items++];
    *item = (Item){.at = *at};
    Header *headers = arena_alloc(meter->arena, (size_t)message->headers * sizeof *headers);
    for (int h = 0; h < message->headers; h++)
        headers[h] = (Header){arena_copy(meter->arena, message->header[h].name),
                              arena_copy(meter->arena, message->header[h].value)};
    item->message = (Message){arena_copy(meter->arena, message->key),
                              arena_copy(meter->arena, message->value), message->headers, headers};
    item->decoded = event_decode(&item->message, meter->arena, &item->event, &item->decoded_detail);
    item->event.origin = at->origin;
    item->event.position = at->position;
}

bool meter_full(const Meter *meter)
{
    return meter->items >= meter->events_max || arena_bytes(meter->arena) >= BATCH_BYTES_MAX;
}

size_t meter_pending(const Meter *meter) { return meter->items; }

void meter_drop(Meter *meter)
{
    meter->items = 0;
    meter->unknown = false;
    arena_reset(meter->arena);
    for (int p = 0; p < meter->places; p++) meter->place[p].has_progress = false;
}

Status meter_sweep(Meter *meter, Error *error)
{
    ASSERT(meter->items == 0);
    OWNED_ARENA Arena *arena = arena_new();
    Instant clock;
    TRY(meter_clock(meter, &clock, error));
    Str params[] = {param_instant(arena, instant_add_us(clock, -SWEEP_IDLE_US)),
                    param_int(arena, SWEEP_MAX)};
    int64_t swept = SWEEP_MAX;
    while (swept == SWEEP_MAX)
        TRY(db_run(meter->db, &SQL_METER_VM_UNLIST, 2, params, &swept, error));
    return ST_OK;
}

// ---- writing ----
static Status attempt_work(Db *db, void *context, Error *error)
{
    Attempt *a = context;
    Meter *meter = a->meter;
    int64_t revision = 0;
    TRY(catalog_lock_shared(db, &revision, error));
    if (!meter->catalog || meter->catalog->revision != revision) {
        catalog_free(meter->catalog);
        meter->catalog = NULL;
        vm_cache_clear(meter->cache); // sizes are numbered anew
        TRY(catalog_load(db, &meter->catalog, error));
    }
    arena_reset(a->arena);
    *a = (Attempt){.meter = meter,
                   .catalog = meter->catalog,
                   .arena = a->arena,
                   .item = a->item,
                   .count = a->count,
                   .careful = a->careful,
                   .last = a->last};
    TRY(attempt_decide(a, error));
    return attempt_write(a, error);
}

static void count_up(const Attempt *a)
{
    Tally *tally = &a->meter->tally;
    for (size_t i = 0; i < a->count; i++) {
        const Item *item = &a->item[i];
        if (item->dead != DEAD_NOT) tally->dead[item->dead]++;
        else if (item->repeated) tally->repeated++;
        else if (item->event.type == EVENT_NOT_METERED) tally->not_metered++;
        else tally->metered[item->event.type]++;
    }
    tally->batches++;
    tally->last_ms = clock_monotonic_ms();
}

static void move_places(Meter *meter, const Item *item, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (item[i].at.place >= 0)
            meter->place[item[i].at.place].next_offset = item[i].at.position + 1;
}

// Writes items [first, first + count), halving where PostgreSQL refuses the content of one.
static Status write_items(Meter *meter, size_t first, size_t count, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Item *item = meter->item ? meter->item + first : NULL; // progress alone has no items
    Attempt a = {.meter = meter,
                 .arena = arena,
                 .item = item,
                 .count = count,
                 .last = first + count == meter->items};
    Status status = ST_CONFLICT;
    for (int tries = 0; tries < BATCH_TRIES_MAX && status == ST_CONFLICT; tries++) {
        a.careful = tries > 0;
        if (tries > 1) clock_sleep_ms(tries * 10);
        meter->tally.again += tries > 0;
        status = db_transaction(meter->db, attempt_work, &a, error);
    }
    if (status == ST_OK) {
        for (size_t g = 0; g < a.groups; g++)
            if (a.group[g].added_count) vm_cache_put(meter->cache, &a.group[g]);
        count_up(&a);
        move_places(meter, a.item, count);
        return ST_OK;
    }
    // Too many collectors at the same VMs is a matter of time, not of fault.
    if (status == ST_CONFLICT) return error->status = ST_RETRY;
    if (status != ST_BAD_INPUT) return status;
    if (count == 0)
        return error->status = ST_FATAL; // progress alone: nothing of it came from outside
    if (count == 1) {
        if (item->rejected) return error->status = ST_FATAL; // even its dead letter is refused
        item->rejected = true;
        item->detail = arena_copy(meter->arena, str(error->text));
        return write_items(meter, first, 1, error);
    }
    TRY(write_items(meter, first, count / 2, error));
    return write_items(meter, first + count / 2, count - count / 2, error);
}

static bool has_progress(const Meter *meter)
{
    for (int p = 0; p < meter->places; p++)
        if (meter->place[p].has_progress) return true;
    return false;
}

Status meter_flush(Meter *meter, Error *error)
{
    if (meter->items == 0 && !has_progress(meter)) return ST_OK;
    Status status = write_items(meter, 0, meter->items, error);
    if (status == ST_RETRY) {
        meter->unknown =
            true; // the connection may have broken after the commit, or after half a batch
        return status;
    }
    meter_drop(meter);
    return status;
}

// What was written moved its positions with it, so these tell:
// items that lie below their partition's stored position are written. Files need no such care:
// doing their items again finds them repeated.
static Status drop_written(Meter *meter, Error *error)
{
    OWNED_BUF Buf topics = {0}, partitions = {0};
    array_begin(&topics);
    array_begin(&partitions);
    for (int p = 0; p < meter->places; p++) {
        array_add(&topics, str(meter->place[p].topic));
        array_add_int(&partitions, meter->place[p].partition);
    }
    array_end(&topics);
    array_end(&partitions);
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(meter->db, &SQL_METER_POSITION_READ, 2,
                 (Str[]){buf_str(&topics), buf_str(&partitions)}, &rows, error));
    for (int row = 0; row < rows_count(rows); row++) {
        Place *place = &meter->place[rows_int(rows, row, 0) - 1];
        if (rows_int(rows, row, 1) == place->epoch) place->next_offset = rows_int(rows, row, 2);
    }
    size_t kept = 0;
    for (size_t i = 0; i < meter->items; i++) {
        const Item *item = &meter->item[i];
        bool written = item->at.place >= 0 &&
                       item->at.position < meter->place[item->at.place].next_offset;
        if (!written) meter->item[kept++] = *item;
    }
    meter->items = kept;
    return ST_OK;
}

Status meter_recover(Meter *meter, Error *error)
{
    if (db_lost(meter->db)) {
        TRY(db_reopen(meter->db, error));
        TRY(db_script(meter->db, SESSION, error));
    }
    if (meter->unknown && meter->places > 0) TRY(drop_written(meter, error));
    meter->unknown = false;
    return ST_OK;
}
