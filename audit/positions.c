// SPDX-License-Identifier: Apache-2.0
// Positions: nothing was metered from where a collector has not been, and nothing twice from one
// place; and Kafka still has what comes next. Kafka is asked for its oldest records before the
// snapshot and for its newest behind it: what is metered or expires meanwhile is no difference.
#include "audit/audit_sql.h"
#include "audit/differ.h"
#include "audit/internal.h"

#include <inttypes.h>

// Columns of position_list.sql.
enum { TOPIC, PARTITION, FILE_NAME, ORIGIN, NEXT, LAST, EVENTS, LAST_EVENT, LAST_LETTER, READ };

Status audit_watermarks(const Audit *audit, KafkaWatermarks *out, Error *error)
{
    OWNED_KAFKA_WATCH KafkaWatch *watch = NULL;
    TRY(kafka_watch_new(&audit->kafka, false, &watch, error));
    Status status = kafka_watch_now(watch, out, error);
    if (status == ST_MISSING)
        error_hint(error, "a topic that is retired has no rows in the table position any more");
    return status;
}

const KafkaWatermark *audit_mark(const Audit *audit, const KafkaWatermarks *marks, Str topic,
                                 int64_t partition)
{
    for (int i = 0; i < marks->count; i++)
        if (marks->marks[i].partition == partition &&
            str_is(topic, audit->kafka.topics[marks->marks[i].topic_index]))
            return &marks->marks[i];
    return NULL;
}

typedef struct Check {
    Audit *audit;
    const Rows *rows;
    int row;
    Buf subject, what;
} Check;

static void name(Check *c, Str topic, int64_t partition)
{
    buf_clear(&c->subject);
    buf_add_str(&c->subject, topic);
    buf_addf(&c->subject, " [%" PRId64 "]", partition);
}

static Status tell(Check *c, Error *error)
{
    if (c->what.n == 0) return ST_OK;
    Finding finding = {
        .check = "positions", .subject = buf_str(&c->subject), .what = buf_str(&c->what)};
    Status status = audit_find(c->audit, &finding, error);
    buf_clear(&c->what);
    return status;
}

static bool has(const Check *c, int column) { return !rows_null(c->rows, c->row, column); }
static int64_t value(const Check *c, int column) { return rows_int(c->rows, c->row, column); }

// ---- against what was metered ----
// Every offset below the position, and none at or behind it, has been dealt with.
static Status check_reach(Check *c, Error *error)
{
    bool last = has(c, LAST);
    int64_t next = value(c, NEXT);
    if (last && value(c, LAST) != next - 1)
        differ_int(&c->what, "last_offset", value(c, LAST), next - 1);
    TRY(tell(c, error));
    const struct {
        int column;
        const char *what;
    } reached[] = {{LAST_EVENT, "an event"}, {LAST_LETTER, "a dead letter"}};
    for (int i = 0; i < 2; i++) {
        if (!has(c, reached[i].column) || value(c, reached[i].column) < next) continue;
        buf_addf(&c->what,
                 "next_offset is %" PRId64 ", but %s was metered from offset %" PRId64
                 ": a collector would read it again",
                 next, reached[i].what, value(c, reached[i].column));
        TRY(tell(c, error));
    }
    return ST_OK;
}

static Status check_kafka(Check *c, const KafkaWatermarks *newest, Error *error)
{
    const Audit *audit = c->audit;
    Str topic = rows_str(c->rows, c->row, TOPIC);
    int64_t next = value(c, NEXT), partition = value(c, PARTITION);
    const KafkaWatermark *old = audit_mark(audit, &audit->oldest, topic, partition);
    const KafkaWatermark *new = audit_mark(audit, newest, topic, partition);
    if (!old || !new) {
        buf_add_text(&c->what, "Kafka does not have this partition");
    } else if (old->low > next) {
        buf_addf(&c->what,
                 "next_offset is %" PRId64 ", but Kafka's oldest record is at %" PRId64
                 ": what stood between was never metered",
                 next, old->low);
    } else if (new->high < next) {
        buf_addf(&c->what,
                 "next_offset is %" PRId64 ", but the partition ends at %" PRId64
                 ": the topic was made anew",
                 next, new->high);
    }
    return tell(c, error);
}

static Status check_origin(Check *c, const KafkaWatermarks *newest, Error *error)
{
    if (has(c, TOPIC)) {
        name(c, rows_str(c->rows, c->row, TOPIC), value(c, PARTITION));
        if (has(c, NEXT)) {
            TRY(check_reach(c, error));
            return c->audit->has_topics ? check_kafka(c, newest, error) : ST_OK;
        }
        if (!rows_bool(c->rows, c->row, READ)) return ST_OK;
        buf_add_text(&c->what, "has no position, though other partitions of the topic have");
        return tell(c, error);
    }
    if (has(c, FILE_NAME)) return ST_OK;
    buf_clear(&c->subject);
    buf_addf(&c->subject, "origin %" PRId64, value(c, ORIGIN));
    buf_addf(&c->what,
             "%" PRId64
             " events, or dead letters, came from there, but the table origin does not have it",
             value(c, EVENTS));
    return tell(c, error);
}

// ---- two events of one record ----
static Status tell_twice(void *context, const Rows *rows, int row, Error *error)
{
    Check *c = context;
    name(c, rows_str(rows, row, 0), rows_int(rows, row, 1));
    buf_addf(&c->what, "%" PRId64 " events came from offset %" PRId64 ", which holds one record",
             rows_int(rows, row, 3), rows_int(rows, row, 2));
    return tell(c, error);
}

static Status check_all(Check *c, Error *error)
{
    OWNED_KAFKA_WATERMARKS KafkaWatermarks newest = {0};
    OWNED_ROWS Rows *rows = NULL;
    Audit *audit = c->audit;
    audit_progress(audit, "positions", 0, 0);
    if (audit->has_topics) TRY(audit_watermarks(audit, &newest, error));
    TRY(db_query(audit->db, &SQL_AUDIT_POSITION_LIST, 0, NULL, &rows, error));
    c->rows = rows;
    for (c->row = 0; c->row < rows_count(rows); c->row++) TRY(check_origin(c, &newest, error));
    return db_stream(audit->db, &SQL_AUDIT_POSITION_TWICE, 0, NULL, tell_twice, c, error);
}

Status audit_positions(Audit *audit, Error *error)
{
    Check check = {.audit = audit};
    Status status = check_all(&check, error);
    buf_free(&check.subject);
    buf_free(&check.what);
    return status;
}
