// SPDX-License-Identifier: Apache-2.0
// A statement's rows, pulled one by one, as binary values: see db/db.h.
#include "db/internal.h"

struct Stream {
    Db *db;
    const char *name;
    PGresult *row; // handed out last
    bool ended;
};

Status stream_open(Db *db, const Statement *statement, int n, const Str *params, Stream **out,
                   Error *error)
{
    ASSERT(!db->acting || db->in_transaction);
    *out = NULL;
    TRY(db_prepare(db, statement, error));
    Terminated t;
    db_terminate(&t, n, params);
    int sent = PQsendQueryPrepared(db->connection, statement->name, n, t.values, t.lengths, NULL,
                                   1);
    arena_free(t.arena);
    if (!sent || !PQsetSingleRowMode(db->connection))
        return db_failure(db, NULL, statement->name, error);
    *out = mem_alloc(sizeof **out);
    **out = (Stream){.db = db, .name = statement->name};
    return ST_OK;
}

Status stream_next(Stream *stream, const Rows **row, Error *error)
{
    PQclear(stream->row);
    stream->row = NULL;
    *row = NULL;
    if (stream->ended) return ST_OK;
    PGresult *result = PQgetResult(stream->db->connection);
    if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
        stream->row = result;
        *row = (const Rows *)result;
        return ST_OK;
    }
    Status status = PQresultStatus(result) == PGRES_TUPLES_OK
                        ? ST_OK
                        : db_failure(stream->db, result, stream->name, error);
    PQclear(result);
    stream->ended = true;
    PGresult *end = PQgetResult(stream->db->connection); // NULL: the statement is over
    PQclear(end);
    return status;
}

void stream_close(Stream *stream)
{
    if (!stream) return;
    PQclear(stream->row);
    if (!stream->ended && !db_lost(stream->db)) {
        db_cancel(stream->db);
        for (PGresult *rest; (rest = PQgetResult(stream->db->connection));) PQclear(rest);
    }
    free(stream);
}
