// SPDX-License-Identifier: Apache-2.0
#include "catalog/store.h"
#include "cli/cli.h"

#include <stdio.h>

extern const char DEFAULT_CATALOG[];

// Under the lock of the state row, so that of two at once one finds the other's.
static Status put_default_catalog(Db *db, void *context, Error *error)
{
    bool *put = context;
    int64_t revision;
    TRY(catalog_lock_exclusive(db, &revision, error));
    *put = revision == 0;
    return *put ? catalog_save(db, str(DEFAULT_CATALOG), &revision, error) : ST_OK;
}

Status cmd_migrate(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally migrate", "",
                                "Brings the schema up to date and puts the default catalogue in "
                                "place where there is none. Safe to run twice, or twice at once.",
                                0, 0};
    static const Option options[] = {{0}};
    char **arguments;
    int count, applied;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_DB Db *db = NULL; // not cli_db: the schema is what is to be made
    TRY(db_open(options_database(), "tally migrate", &db, error));
    TRY(db_migrate(db, &applied, error));
    bool put;
    TRY(db_transaction(db, put_default_catalog, &put, error));
    if (applied)
        fprintf(stderr, "schema: %d migration%s applied\n", applied, applied == 1 ? "" : "s");
    else fprintf(stderr, "schema: up to date\n");
    if (put) fprintf(stderr, "catalogue: the default is in place\n");
    return ST_OK;
}
