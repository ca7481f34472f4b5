// SPDX-License-Identifier: Apache-2.0
// db: PostgreSQL. One connection per thread; statements are files of SQL built into the binary;
// transactions are begun, committed and retried in one place; bulk rows go by binary COPY.
// May touch libpq (db/db.c and db/copy.c alone include it); must never know what the tables mean.
#pragma once

#include "base/text.h"
#include "base/time.h"

// One statement, from a file ROOM/sql/NAME.sql; the build makes an array of each room's. The text
// may use $1..$n; parameters are text, cast in the SQL ($1::date).
typedef struct Statement {
    const char *name; // "meter/load_tips"
    const char *text;
} Statement;

typedef struct Db Db;
typedef struct Rows Rows;

// Opens a connection. `url` may be NULL: then TALLY_DATABASE_URL, else libpq's own variables
// decide. `application` shows in pg_stat_activity. Time zone UTC, collation-independent text,
// statement and lock timeouts set. ST_RETRY where the server cannot be reached (yet); ST_BAD_INPUT
// for a bad URL.
Status db_open(const char *url, const char *application, Db **out, Error *error) MUST_USE;
// The same without connecting: it is lost (db_lost) until db_reopen has succeeded. For those that
// start before the database does.
Status db_unopened(const char *url, const char *application, Db **out, Error *error) MUST_USE;
// A second connection to the same database.
Status db_another(const Db *db, Db **out, Error *error) MUST_USE;
void db_close(Db *db);
static inline void db_close_pointer(Db **db) { db_close(*db); }
#define OWNED_DB __attribute__((cleanup(db_close_pointer)))
// After ST_RETRY: whether the connection is gone; then db_reopen until it comes back.
bool db_lost(const Db *db);
Status db_reopen(Db *db, Error *error) MUST_USE;
// The same after a look at the connection, which may have been closed while it was idle. Outside of
// transactions only.
bool db_gone(Db *db);
// From now on no call waits longer than this for an answer: then the connection counts as lost
// (ST_RETRY), and what was asked may or may not have been done. 0: as long as it takes. It holds
// for db_query, db_run, db_pipeline and db_transaction, not for streams and COPY.
void db_deadline(Db *db, int64_t ms);

// From now on every transaction that db_transaction, db_snapshot or db_pipeline begins runs
// `SELECT function('who')` first, which decides as whom and on what the rest of it works; and what
// db_query and db_run are asked outside of one runs in one of its own. It outlives db_reopen.
// `function` NULL: no more of that. Never within a transaction, and db_stream only within one.
void db_act_as(Db *db, const char *function, Str who);

// ---- statements ----
// Runs one prepared statement. `params[i].p == NULL` is NULL. Rows (may be NULL where none matter)
// are owned by the caller. Failures are classified: ST_RETRY (connection, shutdown, serialization
// failure, deadlock, lock or statement timeout, read-only, disk full: nothing was decided),
// ST_CONFLICT (unique violation), ST_BAD_INPUT (the server refuses the content: SQLSTATE classes
// 22, 23, 54), ST_FATAL (rest).
Status db_query(Db *db, const Statement *statement, int n, const Str *params, Rows **rows,
                Error *error) MUST_USE;
// The same without rows; *affected (may be NULL) is the number of rows that the statement changed.
Status db_run(Db *db, const Statement *statement, int n, const Str *params, int64_t *affected,
              Error *error) MUST_USE;
// Several commands at once, not prepared: migrations and BEGIN/COMMIT.
Status db_script(Db *db, const char *sql, Error *error) MUST_USE;
// Several statements in one round trip, within one transaction: BEGIN before them, COMMIT behind
// them, each only where it is wanted (a transaction may go on from one pipeline to the next). On OK
// every call has its rows (owned by the caller) and its count. On failure nothing is left open and
// no rows are handed out; where the connection breaks while COMMIT is under way, ST_RETRY: the
// outcome is unknown.
typedef struct DbCall {
    const Statement *statement;
    int n;
    const Str *params;
    Rows *rows;       // out
    int64_t affected; // out
} DbCall;
enum { DB_PIPELINE_MAX = 16 };
Status db_pipeline(Db *db, bool begin, DbCall *calls, int count, bool commit, Error *error)
    MUST_USE;
// Ends a transaction that a pipeline began, without committing; takes one that is not open.
void db_rollback(Db *db);
// Streams a statement's rows, calling `row` for each in turn; memory does not grow with the result.
// The first status that is not ST_OK ends it and is returned. No other statement may run on `db`
// meanwhile.
typedef Status (*RowFn)(void *context, const Rows *rows, int row, Error *error);
Status db_stream(Db *db, const Statement *statement, int n, const Str *params, RowFn row,
                 void *context, Error *error) MUST_USE;

// The same, pulled: the owner asks for one row after the other while the server works ahead, so
// that several streams, on connections of their own, can be merged. Values travel as binary: the
// columns may be text, boolean, integer, date or timestamptz, whose infinities are INT64_MIN and
// INT64_MAX.
typedef struct Stream Stream;
Status stream_open(Db *db, const Statement *statement, int n, const Str *params, Stream **out,
                   Error *error) MUST_USE;
// *row is the next one, at row number 0, until the next call; NULL behind the last.
Status stream_next(Stream *stream, const Rows **row, Error *error) MUST_USE;
void stream_close(Stream *stream); // takes NULL; ends the statement where rows are left
static inline void stream_close_pointer(Stream **stream) { stream_close(*stream); }
#define OWNED_STREAM __attribute__((cleanup(stream_close_pointer)))

int rows_count(const Rows *rows);
bool rows_null(const Rows *rows, int row, int column);
Str rows_str(const Rows *rows, int row, int column); // absent where NULL; borrowed from rows
int64_t rows_int(const Rows *rows, int row,
                 int column); // aborts where it is not an integer: our SQL, our bug
bool rows_bool(const Rows *rows, int row, int column);
Instant rows_instant(const Rows *rows, int row, int column); // timestamptz
Day rows_day(const Rows *rows, int row, int column);         // date
void rows_free(Rows *rows);
static inline void rows_free_pointer(Rows **rows) { rows_free(*rows); }
#define OWNED_ROWS __attribute__((cleanup(rows_free_pointer)))

// ---- parameters ----
// Texts for parameters, kept in an arena.
Str param_int(Arena *arena, int64_t value);
Str param_instant(Arena *arena, Instant instant); // for $n::timestamptz
Str param_day(Arena *arena, Day day);             // for $n::date
Str param_bool(bool value);
// An array literal, element by element, for $n::text[] and any other type whose text needs no more.
void array_begin(Buf *array);
void array_add(Buf *array, Str element); // absent is NULL
void array_add_int(Buf *array, int64_t element);
void array_end(Buf *array);

// ---- transactions ----
enum { DB_TRIES_MAX = 10 };
typedef Status (*DbWork)(Db *db, void *context, Error *error);
// BEGIN (read committed), work, COMMIT; ROLLBACK where work fails. 40001 and 40P01 are tried again,
// up to DB_TRIES_MAX times with a growing pause, so `work` must be repeatable. Where the connection
// breaks during COMMIT the outcome is unknown: ST_RETRY, and the caller looks.
Status db_transaction(Db *db, DbWork work, void *context, Error *error) MUST_USE;
// The same at REPEATABLE READ, read only: one snapshot for several reads.
Status db_snapshot(Db *db, DbWork work, void *context, Error *error) MUST_USE;

// ---- COPY ----
// Rows into a table by binary COPY: begin, then for each row copy_row and one copy_* per column,
// end. Errors surface at copy_end (or earlier, and again there).
typedef struct Copy {
    Db *db;
    Buf buf;
    int64_t rows;
} Copy;
Status copy_begin(Copy *copy, Db *db, const char *table_and_columns, Error *error) MUST_USE;
void copy_row(Copy *copy, int columns);
void copy_null(Copy *copy);
void copy_str(Copy *copy, Str value); // text, or bytea; absent is NULL
void copy_bool(Copy *copy, bool value);
void copy_int2(Copy *copy, int16_t value);
void copy_int4(Copy *copy, int32_t value);
void copy_int8(Copy *copy, int64_t value);
void copy_instant(Copy *copy, Instant value); // timestamptz
void copy_day(Copy *copy, Day value);         // date
void copy_jsonb(Copy *copy, Str json);
// Hands what has gathered to the server where it is enough; call after each row.
Status copy_flush(Copy *copy, Error *error) MUST_USE;
Status copy_end(Copy *copy, Error *error) MUST_USE;

// ---- schema ----
typedef struct Migration {
    int version;
    const char *name; // "0001_ledger"
    const char *text;
} Migration;
// All migrations, from migrations/*.sql, in order; ends with version 0.
extern const Migration MIGRATIONS[];
// Brings the schema up to date under an advisory lock, one transaction per migration; *applied
// counts them. ST_FATAL where an applied migration's checksum is not the one built in, or the
// schema is newer.
Status db_migrate(Db *db, int *applied, Error *error) MUST_USE;
// ST_OK where the schema is exactly this binary's; else ST_REFUSED with a message that says what to
// do.
Status db_schema_check(Db *db, Error *error) MUST_USE;
