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
};

// Turns a failed result (NULL: the connection's last error) into a Status and an Error.
Status db_failure(Db *db, const PGresult *result, const char *what, Error *error);
