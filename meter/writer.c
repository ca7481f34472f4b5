// SPDX-License-Identifier: Apache-2.0
// Writing batches until they are written. While one is being written by the thread here, the next
// is gathered and decoded by the owner, who hands it over with meter_submit. Only one of the two
// touches the database, the places and the tally at any time: the owner waits for the thread
// (writer_wait) before it does. A batch that could not be written stays in `writing`, in front of
// the one that is being gathered, so order is kept.
#include "catalog/store.h"
#include "meter/batch.h"
#include "meter/meter_sql.h"
#include "quota/quota.h"

enum { FLUSH_MESSAGES_MIN = 1000 };

// The planner would now and then read a whole table for a small batch, when its statistics are
// young; all our look-ups are by key. A collector that hangs in its transaction holds what its heir
// needs, so it is cut off long before others would be; and who waits for a lock looks up soon
// whether it is one of those that only its heir can cut off (hanging_end.sql).
const char METER_SESSION[] =
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    "SET statement_timeout = '120s';"
    "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10s';"
    "CREATE TEMPORARY TABLE IF NOT EXISTS vm_stage (LIKE vm INCLUDING DEFAULTS) ON COMMIT DELETE ROWS";

void writer_flush(Meter *meter, size_t messages)
{
    Error ignored;
    if (messages < FLUSH_MESSAGES_MIN) return;
    if (meter->flusher && db_lost(meter->flusher)) {
        db_close(meter->flusher);
        meter->flusher = NULL;
    }
    if (!meter->flusher && db_another(meter->db, &meter->flusher, &ignored) != ST_OK) return;
    Status flushed = db_run(meter->flusher, &SQL_METER_FLUSH_LOG, 0, NULL, NULL, &ignored);
    (void)flushed; // the commit will do it
}

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
    Batch *batch = meter->writing;
    OWNED_ARENA Arena *arena = arena_new();
    Item *item = batch->item ? batch->item + first : NULL; // progress alone has no items
    Attempt a = {.meter = meter,
                 .arena = arena,
                 .item = item,
                 .count = count,
                 .last = batch->progress && first + count == batch->items};
    Status status = ST_CONFLICT;
    int64_t began = clock_monotonic_us();
    for (int tries = 0; tries < BATCH_TRIES_MAX && status == ST_CONFLICT; tries++) {
        a.careful = tries > 0;
        if (tries > 1) clock_sleep_ms(tries * 10);
        meter->tally.again += tries > 0;
        status = db_transaction(meter->db, attempt_work, &a, error);
    }
    if (status == ST_OK) {
        for (size_t g = 0; g < a.groups; g++)
            if (a.group[g].added_count) vm_cache_put(meter->cache, &a.group[g]);
        if (meter->wrote) meter->wrote(meter->wrote_context, count, clock_monotonic_us() - began);
        count_up(&a);
        move_places(meter, a.item, count);
        return ST_OK;
    }
    // Too many collectors at the same VMs is a matter of time, not of fault.
    if (status == ST_CONFLICT) return error->status = ST_RETRY;
    if (status != ST_BAD_INPUT) return status;
    if (count == 0)
        return error->status = ST_FATAL; // progress alone: nothing of it came from outside
    ASSERT(item);
    if (count == 1) {
        if (item->rejected) return error->status = ST_FATAL; // even its dead letter is refused
        item->rejected = true;
        item->detail = arena_copy(batch->arena, str(error->text));
        return write_items(meter, first, 1, error);
    }
    TRY(write_items(meter, first, count / 2, error));
    return write_items(meter, first + count / 2, count - count / 2, error);
}

static void empty(Batch *batch)
{
    batch->items = 0;
    batch->progress = false;
    arena_reset(batch->arena);
}

// Writes what is in `writing`. After ST_RETRY it is still there: the connection may have broken
// after the commit, or after half a batch. After any other status it is empty.
static Status write_batch(Meter *meter, Error *error)
{
    Batch *batch = meter->writing;
    if (batch->items == 0 && !batch->progress) return ST_OK;
    Status status = write_items(meter, 0, batch->items, error);
    meter->unknown = status == ST_RETRY;
    if (status != ST_RETRY) {
        for (int p = 0; p < meter->places && batch->progress; p++)
            meter->place[p].has_progress = false;
        empty(batch);
    }
    return status;
}

// ---- the thread ----
static void *write_on(void *context)
{
    Meter *meter = context;
    pthread_mutex_lock(&meter->lock);
    while (meter->state != WRITER_ENDING) {
        if (meter->state != WRITER_BUSY) {
            pthread_cond_wait(&meter->changed, &meter->lock);
            continue;
        }
        pthread_mutex_unlock(&meter->lock);
        Status status = write_batch(meter, &meter->error);
        pthread_mutex_lock(&meter->lock);
        meter->result = status;
        meter->state = WRITER_IDLE;
        pthread_cond_broadcast(&meter->changed);
    }
    pthread_mutex_unlock(&meter->lock);
    return NULL;
}

Status writer_start(Meter *meter, Error *error)
{
    if (pthread_mutex_init(&meter->lock, NULL) != 0 ||
        pthread_cond_init(&meter->changed, NULL) != 0)
        return error_set(error, ST_FATAL, "cannot make a lock");
    if (pthread_create(&meter->thread, NULL, write_on, meter) != 0)
        return error_set(error, ST_FATAL, "cannot start a thread");
    meter->threaded = true;
    return ST_OK;
}

void writer_wait(Meter *meter)
{
    pthread_mutex_lock(&meter->lock);
    while (meter->state == WRITER_BUSY) pthread_cond_wait(&meter->changed, &meter->lock);
    pthread_mutex_unlock(&meter->lock);
    meter->shown = meter->tally;
    meter->shown.first_ms = meter->first_ms;
}

static void set_state(Meter *meter, WriterState state)
{
    pthread_mutex_lock(&meter->lock);
    meter->state = state;
    pthread_cond_broadcast(&meter->changed);
    pthread_mutex_unlock(&meter->lock);
}

void writer_stop(Meter *meter)
{
    if (!meter->threaded) return;
    writer_wait(meter);
    set_state(meter, WRITER_ENDING);
    ASSERT(pthread_join(meter->thread, NULL) == 0);
    pthread_cond_destroy(&meter->changed);
    pthread_mutex_destroy(&meter->lock);
}

// What came of the batch that the thread wrote; told once.
static Status take_result(Meter *meter, Error *error)
{
    writer_wait(meter);
    Status status = meter->result;
    meter->result = ST_OK;
    if (status != ST_OK) *error = meter->error;
    return status;
}

static void swap_batches(Meter *meter)
{
    Batch *gathered = meter->gather;
    meter->gather = meter->writing;
    meter->writing = gathered;
}

// ---- for the owner ----
static Status fenced(Meter *meter, Status status)
{
    if (status != ST_OK && status != ST_RETRY) meter_drop(meter);
    return status;
}

Status meter_submit(Meter *meter, Error *error)
{
    Status status = take_result(meter, error);
    if (status != ST_OK) return fenced(meter, status);
    ASSERT(meter->writing->items == 0);
    swap_batches(meter);
    set_state(meter, WRITER_BUSY);
    return ST_OK;
}

Status meter_flush(Meter *meter, Error *error)
{
    Status status = take_result(meter, error);
    if (status == ST_OK) status = write_batch(meter, error); // left from a try that failed
    if (status == ST_OK) {
        for (int p = 0; p < meter->places; p++)
            if (meter->place[p].has_progress) meter->gather->progress = true;
        swap_batches(meter);
        status = write_batch(meter, error);
    }
    writer_wait(meter);
    return fenced(meter, status);
}

void meter_drop(Meter *meter)
{
    writer_wait(meter);
    empty(meter->gather);
    empty(meter->writing);
    meter->unknown = false;
    meter->result = ST_OK;
    for (int p = 0; p < meter->places; p++) meter->place[p].has_progress = false;
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
        if (rows_int(rows, row, 1) != place->epoch) continue;
        int64_t next = rows_int(rows, row, 2);
        if (next < place->next_offset) {
            TRY(quota_restored(meter->db, error)); // before anybody is granted anything
            return error_set(error, ST_REFUSED,
                             "topic %s, partition %d: the database knows less than was committed "
                             "(%lld, not %lld): it was restored, or its successor lags; reading "
                             "begins again where it stands",
                             place->topic, (int)place->partition, (long long)next,
                             (long long)place->next_offset);
        }
        place->next_offset = next;
    }
    size_t kept = 0;
    Batch *batch = meter->writing;
    for (size_t i = 0; i < batch->items; i++) {
        const Item *item = &batch->item[i];
        bool written = item->at.place >= 0 &&
                       item->at.position < meter->place[item->at.place].next_offset;
        if (!written) batch->item[kept++] = *item;
    }
    batch->items = kept;
    return ST_OK;
}

Status meter_recover(Meter *meter, Error *error)
{
    writer_wait(meter);
    bool reopened = db_lost(meter->db);
    if (reopened) {
        TRY(db_reopen(meter->db, error));
        TRY(db_script(meter->db, METER_SESSION, error));
        // It may be another database than before, with the same versions of other things.
        vm_cache_clear(meter->cache);
        known_clear(meter->known);
        catalog_free(meter->catalog);
        meter->catalog = NULL;
    }
    TRY(db_run(meter->db, &SQL_METER_HANGING_END, 0, NULL, NULL, error));
    if (meter->places > 0 && (meter->unknown || reopened)) TRY(drop_written(meter, error));
    meter->unknown = false;
    return ST_OK;
}
