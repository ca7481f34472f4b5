// SPDX-License-Identifier: Apache-2.0
// db/internal: what db/*.c share and nobody else sees.
#pragma once

#include "db/db.h"

#include <libpq-fe.h>

enum { STATEMENTS_MAX = 256 };

struct Db {
    PGconn *connection;
    char *url, *application;
    const Statement *prepared[STATEMENTS_MAX];
    int prepared_count;
    bool in_transaction;
    char *acting;        // SQL that every transaction begins with; NULL: none
    bool broken;         // the connection is of no more use
    bool late;           // because an answer did not come in time
    int64_t deadline_ms; // 0: none
};

// Turns a failed result (NULL: the connection's last error) into a Status and an Error.
// The next result, waiting no longer than the deadline allows; NULL behind the last, and where the
// time is up (then the connection is broken).
PGresult *db_result(Db *db);
Status db_prepare(Db *db, const Statement *statement, Error *error) MUST_USE;
enum { PARAMS_MAX = 64 };
// Parameters are text and so end with a NUL; a slice that does not is copied for the call.
typedef struct Terminated {
    Arena *arena;
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX];
} Terminated;
void db_terminate(Terminated *t, int n, const Str *params);
// Asks the server to end the statement that is under way.
void db_cancel(Db *db);
Status db_failure(Db *db, const PGresult *result, const char *what, Error *error);
