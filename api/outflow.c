// SPDX-License-Identifier: Apache-2.0
// Long answers: what is read goes out at once, piece by piece.
#include "api/api.h"

#include "base/log.h"

#include <stdio.h>

enum { STATEMENT_MS = 60 * 1000 }; // nobody waits for the first byte any more

// The server ends a transaction that asks for nothing for a minute; a slow reader may take longer
// than that to take a piece, and is watched here.
Status outflow_begin(Outflow *out, const char *content_type, Error *error)
{
    Db *db = out->call->db;
    TRY(db_script(db, "SET LOCAL idle_in_transaction_session_timeout = 0", error));
    db_deadline(db, STATEMENT_MS);
    out->began_ms = clock_monotonic_ms();
    out->outgoing = call_stream(out->call, content_type);
    return ST_OK;
}

Status outflow_write(Outflow *out, Str bytes, Error *error)
{
    Status status = ST_OK;
    for (size_t at = 0; at < bytes.n && status == ST_OK; at += OUTFLOW_PIECE_BYTES) {
        size_t n = bytes.n - at < OUTFLOW_PIECE_BYTES ? bytes.n - at : OUTFLOW_PIECE_BYTES;
        status = outgoing_write(out->outgoing, (Str){bytes.p + at, n});
        if (clock_monotonic_ms() - out->began_ms > OUTFLOW_MS_MAX) status = ST_RETRY;
    }
    if (status == ST_OK) return ST_OK;
    out->gone = true;
    return error_set(error, ST_FATAL, "whoever asked went away, or is too slow");
}

void outflow_end(Outflow *out, Status status, const char *what, const Error *error)
{
    char message[64];
    const LogField fields[] = {{"error", str(error->text), 0}};
    snprintf(message, sizeof message, "%s was cut off", what);
    if (status != ST_OK && !out->gone) log_line(LOG_ERROR, message, fields, 1);
    call_streamed(out->call, out->outgoing, status == ST_OK);
}
