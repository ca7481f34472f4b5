// SPDX-License-Identifier: Apache-2.0
// The topics once more. All records below the positions that Kafka still has are read, decoded and
// put into a temporary table, so that memory does not grow with them; then each must have become an
// event with the same content, here or at another place, or a dead letter; each stored event that
// says it came from there must stand there; and VMs whose whole history is still there are rebuilt
// from it alone. Offsets without a record (of transactions, or compacted away) are nothing.
#include "audit/audit_sql.h"
#include "audit/differ.h"
#include "audit/recount.h"

#include <inttypes.h>

enum { READ_TIMEOUT_MS = 30000, PROGRESS_RECORDS = 8192 };

// The columns that a record and an event share are those of the table event.
static const char TABLES[] =
    "CREATE TEMPORARY TABLE topic_range (topic text, partition integer, origin integer, first bigint);"
    "CREATE TEMPORARY TABLE topic_record (LIKE event);"
    "ALTER TABLE topic_record ALTER account DROP NOT NULL, ALTER vm DROP NOT NULL, ALTER source DROP "
    "NOT NULL, ALTER id DROP NOT NULL, ALTER at DROP NOT NULL, ALTER type DROP NOT NULL";

typedef struct Topics {
    Audit *audit;
    Db *db; // has the temporary tables
    KafkaStretch *stretch;
    int32_t *origin; // by stretch
    int count;
    Arena *of_record;
    Header *header;
    int header_room;
} Topics;

// ---- what is to be read ----
// Partitions that Kafka does not have any more, or where it has nothing below the position, count
// as kept from the position on.
static Status plan(Topics *t, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    OWNED_KAFKA_WATERMARKS KafkaWatermarks now = {0};
    Audit *audit = t->audit;
    Copy copy;
    TRY(audit_watermarks(audit, &now, error)); // retention may have gone on
    TRY(db_query(t->db, &SQL_AUDIT_TOPIC_RANGES, 0, NULL, &rows, error));
    t->count = rows_count(rows);
    t->stretch = mem_alloc(((size_t)t->count + 1) * sizeof *t->stretch);
    t->origin = mem_alloc(((size_t)t->count + 1) * sizeof *t->origin);
    TRY(copy_begin(&copy, t->db, "topic_range (topic, partition, origin, first)", error));
    for (int i = 0; i < t->count; i++) {
        Str topic = rows_str(rows, i, 0);
        int64_t next = rows_int(rows, i, 3);
        const KafkaWatermark *mark = audit_mark(audit, &now, topic, rows_int(rows, i, 1));
        KafkaStretch *stretch = &t->stretch[i];
        *stretch = (KafkaStretch){
            .partition = (int32_t)rows_int(rows, i, 1), .from = next, .to = next};
        if (mark) stretch->topic_index = mark->topic_index;
        if (mark && mark->low < next) stretch->from = mark->low;
        t->origin[i] = (int32_t)rows_int(rows, i, 2);
        copy_row(&copy, 4);
        copy_str(&copy, topic);
        copy_int4(&copy, stretch->partition);
        copy_int4(&copy, t->origin[i]);
        copy_int8(&copy, stretch->from);
    }
    return copy_end(&copy, error);
}

// ---- reading ----
static int32_t origin_of(const Topics *t, const KafkaRecord *record)
{
    for (int i = 0; i < t->count; i++)
        if (t->stretch[i].partition == record->partition &&
            t->stretch[i].topic_index == record->topic_index)
            return t->origin[i];
    ASSERT(!"records come from the stretches that were asked for");
    return 0;
}

static DeadReason decode(Topics *t, const KafkaRecord *record, Event *event)
{
    int headers = record->headers_count;
    Str detail;
    if (headers > t->header_room) {
        t->header_room = headers;
        t->header = mem_resize(t->header, (size_t)headers * sizeof *t->header);
    }
    for (int h = 0; h < headers; h++)
        t->header[h] = (Header){record->headers[h].name, record->headers[h].value};
    Message message = {record->key, record->value, headers, t->header};
    arena_reset(t->of_record);
    return event_decode(&message, t->of_record, event, &detail);
}

static void copy_positive(Copy *copy, int64_t value)
{
    if (value) copy_int8(copy, value);
    else copy_null(copy);
}

// As an event, or with nothing but its place where it is none.
static void copy_record(Copy *copy, const Event *e, bool is_event, int32_t origin, int64_t offset)
{
    static const Event none;
    if (!is_event) e = &none;
    copy_row(copy, 18);
    copy_str(copy, e->account);
    copy_str(copy, e->vm);
    copy_str(copy, e->source);
    copy_str(copy, e->id);
    if (is_event) copy_instant(copy, e->at);
    else copy_null(copy);
    if (is_event) copy_int2(copy, (int16_t)e->type);
    else copy_null(copy);
    if (is_event && e->type == EVENT_STARTED) copy_int2(copy, (int16_t)e->bootup);
    else copy_null(copy);
    copy_str(copy, e->sequence);
    copy_str(copy, e->size);
    copy_positive(copy, e->millicpu);
    copy_positive(copy, e->memory_bytes);
    copy_str(copy, e->run);
    copy_str(copy, e->reservation);
    copy_str(copy, e->reason);
    copy_str(copy, e->target_source);
    copy_str(copy, e->target_id);
    copy_int4(copy, origin);
    copy_int8(copy, offset);
}

static Status copy_all(Topics *t, KafkaReader *reader, Copy *copy, int64_t all, Error *error)
{
    int64_t *records = &t->audit->result->records;
    for (;;) {
        KafkaRecord record;
        Event event;
        TRY(kafka_read(reader, READ_TIMEOUT_MS, &record, error));
        if (record.kind == KAFKA_END) return ST_OK;
        DeadReason dead = decode(t, &record, &event);
        if (dead != DEAD_NOT || event.type != EVENT_NOT_METERED)
            copy_record(copy, &event, dead == DEAD_NOT, origin_of(t, &record), record.offset);
        kafka_record_done(&record);
        TRY(copy_flush(copy, error));
        if (++*records % PROGRESS_RECORDS == 0)
            audit_progress(t->audit, "records of Kafka", *records, all);
    }
}

static Status read_topics(Topics *t, Error *error)
{
    OWNED_KAFKA_READER KafkaReader *reader = NULL;
    int64_t all = 0;
    Copy copy;
    for (int i = 0; i < t->count; i++) all += t->stretch[i].to - t->stretch[i].from;
    TRY(kafka_reader_new(&t->audit->kafka, t->stretch, t->count, &reader, error));
    TRY(copy_begin(
        &copy, t->db,
        "topic_record (account, vm, source, id, at, type, bootup, sequence, size, millicpu, memory_bytes,"
        " run, reservation, reason, target_source, target_id, origin, position)",
        error));
    Status status = copy_all(t, reader, &copy, all, error);
    Error ignored;
    Status ended = copy_end(&copy, status == ST_OK ? error : &ignored);
    if (status == ST_OK) status = ended;
    return status == ST_OK ? db_script(t->db, "ANALYZE topic_record; ANALYZE topic_range", error)
                           : status;
}

// ---- comparing ----
// Columns of topic_records.sql and topic_events.sql.
enum { TOPIC, PARTITION, OFFSET, ACCOUNT, VM, SOURCE, ID, TIME, TYPE, STORED };

static void name_event(Buf *what, const Rows *rows, int row)
{
    char at[INSTANT_TEXT];
    const char *type = event_type_name((EventType)rows_int(rows, row, TYPE));
    buf_addf(what, "%s of %s (", type ? type : "an event",
             differ_time(rows_instant(rows, row, TIME), at));
    buf_add_str(what, rows_str(rows, row, SOURCE));
    buf_add_text(what, ", ");
    buf_add_str(what, rows_str(rows, row, ID));
    buf_add_char(what, ')');
}

static void name_place(Buf *what, const Rows *rows, int row)
{
    buf_add_str(what, rows_str(rows, row, TOPIC));
    buf_addf(what, " [%" PRId64 "] at offset %" PRId64, rows_int(rows, row, PARTITION),
             rows_int(rows, row, OFFSET));
}

static Status tell(Topics *t, const Rows *rows, int row, Str what, Error *error)
{
    Finding finding = {.check = "topics",
                       .account = rows_str(rows, row, ACCOUNT),
                       .subject = rows_str(rows, row, VM),
                       .what = what};
    return audit_find(t->audit, &finding, error);
}

static Status tell_record(void *context, const Rows *rows, int row, Error *error)
{
    OWNED_BUF Buf what = {0};
    name_place(&what, rows, row);
    if (rows_null(rows, row, TYPE)) {
        buf_add_text(&what, ": this is no event, but not a dead letter either");
        return tell(context, rows, row, buf_str(&what), error);
    }
    buf_add_text(&what, ": ");
    name_event(&what, rows, row);
    buf_add_text(&what, rows_null(rows, row, STORED)
                            ? " was lost: it is neither stored nor a dead letter"
                            : " is stored with another content than it has there");
    return tell(context, rows, row, buf_str(&what), error);
}

static Status tell_event(void *context, const Rows *rows, int row, Error *error)
{
    OWNED_BUF Buf what = {0};
    name_event(&what, rows, row);
    buf_add_text(&what, " is stored as from ");
    name_place(&what, rows, row);
    buf_add_text(&what, ", where Kafka has no such record");
    return tell(context, rows, row, buf_str(&what), error);
}

static Status compare(Topics *t, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    audit_progress(t->audit, "records against events", 0, 0);
    TRY(db_query(t->db, &SQL_AUDIT_TOPIC_COUNTS, 0, NULL, &rows, error));
    t->audit->result->topic_events = rows_int(rows, 0, 0);
    t->audit->result->topic_gone = rows_int(rows, 0, 1);
    TRY(db_stream(t->db, &SQL_AUDIT_TOPIC_RECORDS, 0, NULL, tell_record, t, error));
    return db_stream(t->db, &SQL_AUDIT_TOPIC_EVENTS, 0, NULL, tell_event, t, error);
}

// ---- rebuilding ----
static Status skip_to(Source *source, Str account, Str vm, Error *error)
{
    while (source->row) {
        int by_account = str_compare(rows_str(source->row, 0, 0), account);
        if (by_account > 0 ||
            (by_account == 0 && str_compare(rows_str(source->row, 0, 1), vm) >= 0))
            return ST_OK;
        TRY(source_next(source, error));
    }
    return ST_OK;
}

static Status rebuild_all(Topics *t, VmCheck *check, Error *error)
{
    TRY(source_open(t->audit, &SQL_AUDIT_RECOUNT_RUNS, check->runs, error));
    TRY(source_open(t->audit, &SQL_AUDIT_RECOUNT_VMS, check->vms, error));
    TRY(stream_open(t->db, &SQL_AUDIT_TOPIC_REBUILD, 0, NULL, &check->events->stream, error));
    TRY(source_next(check->events, error));
    OWNED_ARENA Arena *keys = arena_new();
    while (check->events->row) {
        arena_reset(keys);
        Str account = arena_copy(keys, rows_str(check->events->row, 0, 0));
        Str vm = arena_copy(keys, rows_str(check->events->row, 0, 1));
        TRY(skip_to(check->runs, account, vm, error));
        TRY(skip_to(check->vms, account, vm, error));
        TRY(vm_check(check, account, vm, error));
        t->audit->result->topic_vms++;
    }
    return ST_OK;
}

static Status rebuild(Topics *t, Error *error)
{
    Source events = {0}, runs = {0}, vms = {0};
    VmCheck check;
    audit_progress(t->audit, "VMs from Kafka alone", 0, 0);
    vm_check_init(&check, t->audit);
    check.by = "by Kafka's records alone: ";
    check.events = &events;
    check.runs = &runs;
    check.vms = &vms;
    Status status = rebuild_all(t, &check, error);
    vm_check_done(&check);
    source_close(&events);
    source_close(&runs);
    source_close(&vms);
    return status;
}

Status audit_topics(Audit *audit, Error *error)
{
    OWNED_DB Db *db = NULL;
    TRY(audit_connect(audit, TABLES, &db, error));
    Topics t = {.audit = audit, .db = db, .of_record = arena_new()};
    Status status = plan(&t, error);
    if (status == ST_OK) status = read_topics(&t, error);
    if (status == ST_OK) status = compare(&t, error);
    if (status == ST_OK) status = rebuild(&t, error);
    arena_free(t.of_record);
    free(t.header);
    free(t.stretch);
    free(t.origin);
    return status;
}
