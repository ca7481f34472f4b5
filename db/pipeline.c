// SPDX-License-Identifier: Apache-2.0
// Several statements in one round trip, by libpq's pipeline mode. The server runs them one by one;
// behind the first that fails it skips the rest.
#include "db/internal.h"

static const char BEGIN_TEXT[] = "BEGIN ISOLATION LEVEL READ COMMITTED";

static bool send_call(Db *db, const DbCall *call)
{
    Terminated t;
    db_terminate(&t, call->n, call->params);
    int sent = PQsendQueryPrepared(db->connection, call->statement->name, call->n, t.values,
                                   t.lengths, NULL, 0);
    arena_free(t.arena);
    return sent;
}

static bool send_text(Db *db, const char *sql)
{
    return PQsendQueryParams(db->connection, sql, 0, NULL, NULL, NULL, NULL, 0);
}

// Takes one command's result; the first failure of a pipeline is the one that is told.
static Status take(Db *db, DbCall *call, const char *what, Status so_far, Error *error)
{
    PGresult *result = db_result(db);
    ExecStatusType got = PQresultStatus(result);
    Status status = so_far;
    bool fine = got == PGRES_TUPLES_OK || got == PGRES_COMMAND_OK;
    if (so_far == ST_OK && !fine) status = db_failure(db, result, what, error);
    if (fine && call) {
        if (!str_to_int(str(PQcmdTuples(result)), &call->affected)) call->affected = 0;
        call->rows = (Rows *)result;
        result = NULL;
    }
    PQclear(result);
    if (db->broken) return status;
    PGresult *end = db_result(db); // a NULL ends each command
    PQclear(end);
    return status;
}

static Status take_all(Db *db, bool begin, DbCall *calls, int count, bool commit, Error *error)
{
    Status status = ST_OK;
    if (begin) status = take(db, NULL, "BEGIN", status, error);
    if (begin && db->acting && !db->broken) status = take(db, NULL, db->acting, status, error);
    for (int i = 0; i < count && !db->broken; i++)
        status = take(db, &calls[i], calls[i].statement->name, status, error);
    if (commit && !db->broken) status = take(db, NULL, "COMMIT", status, error);
    if (db->broken) return status;
    PGresult *sync = db_result(db);
    if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC && status == ST_OK)
        status = db_failure(db, sync, "pipeline", error);
    PQclear(sync);
    return status;
}

Status db_pipeline(Db *db, bool begin, DbCall *calls, int count, bool commit, Error *error)
{
    ASSERT(count <= DB_PIPELINE_MAX);
    ASSERT(begin || !db->acting || db->in_transaction);
    Status status = ST_OK;
    for (int i = 0; i < count; i++) {
        calls[i].rows = NULL;
        calls[i].affected = 0;
    }
    for (int i = 0; i < count && status == ST_OK; i++)
        status = db_prepare(db, calls[i].statement, error);
    if (status == ST_OK && !PQenterPipelineMode(db->connection))
        status = db_failure(db, NULL, "pipeline", error);
    if (status != ST_OK) {
        db_rollback(db);
        return status;
    }
    bool sent = !begin || (send_text(db, BEGIN_TEXT) && (!db->acting || send_text(db, db->acting)));
    for (int i = 0; i < count && sent; i++) sent = send_call(db, &calls[i]);
    if (sent && commit) sent = send_text(db, "COMMIT");
    if (begin) db->in_transaction = true;
    if (!sent || !PQpipelineSync(db->connection)) {
        db->broken = true; // what of it went out is not known
        status = db_failure(db, NULL, "pipeline", error);
    } else {
        status = take_all(db, begin, calls, count, commit, error);
    }
    if (!db->broken && !PQexitPipelineMode(db->connection) && status == ST_OK)
        status = db_failure(db, NULL, "pipeline", error);
    if (status == ST_OK) {
        if (commit) db->in_transaction = false;
        return ST_OK;
    }
    for (int i = 0; i < count; i++) {
        rows_free(calls[i].rows);
        calls[i].rows = NULL;
    }
    db_rollback(db);
    return status;
}

void db_rollback(Db *db)
{
    Error ignored;
    bool open = db->in_transaction;
    db->in_transaction = false;
    if (!open || db_lost(db)) return;
    if (db_script(db, "ROLLBACK", &ignored) != ST_OK) db->broken = true;
}
