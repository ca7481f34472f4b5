// SPDX-License-Identifier: Apache-2.0
// Migrations: numbered, forward only, each in a transaction of its own with the row that records
// it. A session lock keeps two runs apart; the checksum catches a migration that was edited after
// it was applied.
#include "db/db.h"

static const char SETUP[] =
    "CREATE TABLE IF NOT EXISTS schema_migration"
    "(version integer PRIMARY KEY, name text NOT NULL,"
    " sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp());"
    "COMMENT ON TABLE schema_migration IS"
    " 'Migrations that have been applied, with the checksum of their text.'";
static const char LOCK[] = "SELECT pg_advisory_lock(8480848084)";
static const char UNLOCK[] = "SELECT pg_advisory_unlock(8480848084)";

static const Statement EXISTS = {"db/schema_exists",
                                 "SELECT to_regclass('schema_migration') IS NOT NULL"};
static const Statement APPLIED = {
    "db/schema_applied",
    "SELECT version, name, sha256 = sha256(convert_to($2, 'UTF8')) FROM schema_migration"
    " WHERE version = $1::integer"};
static const Statement NEWEST = {"db/schema_newest",
                                 "SELECT coalesce(max(version), 0) FROM schema_migration"};
static const Statement RECORD = {"db/schema_record",
                                 "INSERT INTO schema_migration (version, name, sha256)"
                                 " VALUES ($1::integer, $2, sha256(convert_to($3, 'UTF8')))"};

// What a migration makes is to belong to the owner of what is there, whoever migrates.
static const Statement AS_OWNER = {
    "db/schema_owner",
    "SELECT set_config('role', 'tally_owner', true) FROM pg_class"
    " WHERE oid = to_regclass('schema_migration') AND pg_get_userbyid(relowner) = 'tally_owner'"};

static int newest_built_in(void)
{
    int newest = 0;
    for (const Migration *m = MIGRATIONS; m->version; m++) newest = m->version;
    return newest;
}

static Status newest_applied(Db *db, int64_t *newest, Error *error)
{
    OWNED_ROWS Rows *exists = NULL, *rows = NULL;
    TRY(db_query(db, &EXISTS, 0, NULL, &exists, error));
    *newest = 0;
    if (!rows_bool(exists, 0, 0)) return ST_OK;
    TRY(db_query(db, &NEWEST, 0, NULL, &rows, error));
    *newest = rows_int(rows, 0, 0);
    return ST_OK;
}

static Status is_applied(Db *db, const Migration *m, bool *applied, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {param_int(arena, m->version), str(m->text)};
    TRY(db_query(db, &APPLIED, 2, params, &rows, error));
    *applied = rows_count(rows) > 0;
    if (*applied && !rows_bool(rows, 0, 2)) {
        error_set(error, ST_FATAL, "migration %s was applied with another text than this binary's",
                  m->name);
        error_hint(
            error,
            "migrations never change once they are released: use the binary that belongs to this database");
        return ST_FATAL;
    }
    return ST_OK;
}

static Status apply(Db *db, void *context, Error *error)
{
    const Migration *m = context;
    OWNED_ARENA Arena *arena = arena_new();
    TRY(db_query(db, &AS_OWNER, 0, NULL, NULL, error));
    if (db_script(db, m->text, error) != ST_OK) return error_prefix(error, "migration %s", m->name);
    Str params[] = {param_int(arena, m->version), str(m->name), str(m->text)};
    return db_run(db, &RECORD, 3, params, NULL, error);
}

static Status migrate_locked(Db *db, int *applied, Error *error)
{
    TRY(db_script(db, SETUP, error));
    int64_t newest = 0;
    TRY(newest_applied(db, &newest, error));
    if (newest > newest_built_in())
        return error_set(
            error, ST_FATAL,
            "the schema is at version %d, newer than this binary's %d: use a newer tally",
            (int)newest, newest_built_in());
    for (const Migration *m = MIGRATIONS; m->version; m++) {
        bool done = false;
        TRY(is_applied(db, m, &done, error));
        if (done) continue;
        TRY(db_transaction(db, apply, (void *)m, error));
        ++*applied;
    }
    return ST_OK;
}

Status db_migrate(Db *db, int *applied, Error *error)
{
    *applied = 0;
    TRY(db_script(db, LOCK, error));
    Status status = migrate_locked(db, applied, error);
    if (db_lost(db)) return status;
    Error unlock;
    Status unlocked = db_script(db, UNLOCK, status == ST_OK ? error : &unlock);
    return status == ST_OK ? unlocked : status;
}

Status db_schema_check(Db *db, Error *error)
{
    int64_t newest = 0;
    TRY(newest_applied(db, &newest, error));
    if (newest == newest_built_in()) return ST_OK;
    if (newest > newest_built_in())
        error_set(error, ST_REFUSED, "the schema is at version %d, newer than this binary's %d",
                  (int)newest, newest_built_in());
    else
        error_set(error, ST_REFUSED, "the schema is at version %d, this binary needs %d",
                  (int)newest, newest_built_in());
    error_hint(error, newest > newest_built_in() ? "use a newer tally" : "run: tally migrate");
    return ST_REFUSED;
}
