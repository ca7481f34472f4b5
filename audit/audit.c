// SPDX-License-Identifier: Apache-2.0
// The audit's order. All that it reads is of one moment: the first connection exports its snapshot,
// and every other one reads in it. What Kafka has is asked for before (its oldest records) and
// after (its newest), so that what moves meanwhile is never taken for a difference.
#include "audit/internal.h"

#include "audit/audit_sql.h"

// Reads take as long as they take, and one waits while another one is merged with it.
#define BEGIN "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
#define SETTINGS                                                                                   \
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"          \
    "SET LOCAL work_mem = '64MB'"

Status audit_find(Audit *audit, const Finding *finding, Error *error)
{
    audit->result->findings++;
    if (finding->pending) audit->result->pending++;
    return audit->order->found(audit->order->context, finding, error);
}

void audit_progress(Audit *audit, const char *step, int64_t done, int64_t all)
{
    AuditProgress progress = {step, done, all};
    if (audit->order->progress) audit->order->progress(audit->order->context, &progress);
}

// ---- one snapshot ----
Status audit_connect(Audit *audit, const char *before, Db **out, Error *error)
{
    OWNED_DB Db *db = NULL;
    OWNED_BUF Buf script = {0};
    // The name is the server's own: digits and dashes.
    buf_addf(&script, BEGIN "SET TRANSACTION SNAPSHOT '%s';" SETTINGS, audit->snapshot.p);
    TRY(db_another(audit->db, &db, error));
    if (before) TRY(db_script(db, before, error));
    TRY(db_script(db, script.p, error));
    *out = db;
    db = NULL;
    return ST_OK;
}

static Status take_snapshot(Audit *audit, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_script(audit->db, BEGIN SETTINGS, error));
    TRY(db_query(audit->db, &SQL_AUDIT_SNAPSHOT_EXPORT, 0, NULL, &rows, error));
    audit->snapshot = arena_copy(audit->arena, rows_str(rows, 0, 0));
    return ST_OK;
}

// ---- Kafka ----
static Status ask_kafka(Audit *audit, Error *error)
{
    if (!audit->order->kafka) return ST_OK;
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(audit->db, &SQL_AUDIT_POSITION_TOPICS, 0, NULL, &rows, error));
    int n = rows_count(rows);
    const char **topics = arena_alloc(audit->arena, ((size_t)n + 1) * sizeof(const char *));
    for (int i = 0; i < n; i++) topics[i] = arena_copy(audit->arena, rows_str(rows, i, 0)).p;
    audit->has_topics = n > 0;
    audit->kafka = *audit->order->kafka;
    audit->kafka.topics = topics;
    audit->kafka.topics_count = n;
    return n > 0 ? audit_watermarks(audit, &audit->oldest, error) : ST_OK;
}

// ---- all of it ----
static Status audit_all(Audit *audit, Error *error)
{
    TRY(audit_chain(audit, error));
    TRY(audit_closings(audit, error));
    TRY(audit_recount(audit, error));
    TRY(audit_positions(audit, error));
    return audit->order->from_kafka && audit->has_topics ? audit_topics(audit, error) : ST_OK;
}

static Status audit_within(Audit *audit, Error *error)
{
    OWNED_CATALOG Catalog *catalog = NULL;
    OWNED_DB Db *side = NULL;
    TRY(ask_kafka(audit, error));
    TRY(take_snapshot(audit, error));
    TRY(audit_connect(audit, NULL, &side, error));
    audit->side = side;
    TRY(now_read(audit->db, audit->order->as_of, &audit->now, error));
    TRY(catalog_load(audit->db, &catalog, error));
    audit->catalog = catalog;
    TRY(books_read(audit->db, audit->arena, &audit->books, error));
    return audit_all(audit, error);
}

Status audit_run(Db *db, const AuditOrder *order, AuditResult *out, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    *out = (AuditResult){0};
    Audit audit = {.order = order, .result = out, .db = db, .arena = arena};
    Status status = audit_within(&audit, error);
    kafka_watermarks_free(&audit.oldest);
    if (status == ST_RETRY && !error->hint[0])
        error_hint(error, "nothing was decided: run the audit again");
    Error ignored; // the audit's own says more
    bool begun = !db_lost(db) && !str_absent(audit.snapshot);
    Status ended = begun ? db_script(db, "ROLLBACK", status == ST_OK ? error : &ignored) : ST_OK;
    return status == ST_OK ? ended : status;
}
