// SPDX-License-Identifier: Apache-2.0
// The connection, statements, rows and transactions. See db/db.h.
#include "db/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

enum { PAUSE_FIRST_MS = 5, PAUSE_MAX_MS = 1000 };

// Results travel as text, so their form must not depend on the server's or the user's settings.
// Whoever holds a transaction open without working (a stopped process) is cut off, or its locks
// would stay.
static const char SESSION[] =
    "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';"
    "SET client_encoding = 'UTF8'; SET bytea_output = 'hex';"
    "SET standard_conforming_strings = on; SET client_min_messages = warning;"
    "SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s';"
    "SET jit = off";

// ---- errors ----
static bool state_is(const char *code, const char *prefix)
{
    return strncmp(code, prefix, strlen(prefix)) == 0;
}

// SQLSTATEs by what the caller can do: the classes are listed in PostgreSQL's appendix A.
static Status classify(const char *code)
{
    static const char *const retry[] = {"08", "40", "53", "57", "58", "55P03", "25006", "XX", NULL};
    static const char *const content[] = {"22", "23", "54", NULL};
    if (state_is(code, "23505")) return ST_CONFLICT;
    for (int i = 0; retry[i]; i++)
        if (state_is(code, retry[i])) return ST_RETRY;
    for (int i = 0; content[i]; i++)
        if (state_is(code, content[i])) return ST_BAD_INPUT;
    return ST_FATAL;
}

// A statement that was prepared before the schema changed, or on another connection behind a pool:
// a new connection prepares it anew.
static bool is_stale(const PGresult *result, const char *code)
{
    const char *where = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    if (!code) return false;
    return strcmp(code, "26000") == 0 ||
           (strcmp(code, "0A000") == 0 && where && strcmp(where, "RevalidateCachedQuery") == 0);
}

Status db_failure(Db *db, const PGresult *result, const char *what, Error *error)
{
    const char *code = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result ? PQresultErrorMessage(result) : PQerrorMessage(db->connection);
    if (!text || !*text) text = PQerrorMessage(db->connection);
    if (db->late) text = "gave no answer in time";
    int n = (int)strcspn(text, "\n");
    if (result && is_stale(result, code)) db->broken = true;
    Status status = db_lost(db) ? ST_RETRY : code ? classify(code) : ST_RETRY;
    error_set(error, status, "%s: PostgreSQL: %.*s", what, n, text);
    if (error && code) snprintf(error->code, sizeof error->code, "%s", code);
    const char *detail = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
    if (detail) error_hint(error, "%s", detail);
    else if (code && state_is(code, "42501"))
        error_hint(error, "this needs another login: docs/operations.md says what each may do");
    return status;
}

// ---- connection ----
static Status connect_now(Db *db, Error *error)
{
    // What the URL says wins over what stands before it. A server that vanished without a word is
    // noticed within a minute.
    const char *const keys[] = {"keepalives_idle",
                                "keepalives_interval",
                                "tcp_user_timeout",
                                "connect_timeout",
                                "fallback_application_name",
                                "dbname",
                                NULL};
    const char *const values[] = {
        "20", "10", "30000", "10", db->application, db->url && *db->url ? db->url : NULL, NULL};
    PQfinish(db->connection);
    db->prepared_count = 0;
    db->in_transaction = false;
    db->broken = db->late = false;
    db->connection = PQconnectdbParams(keys, values, 1);
    if (!db->connection) return error_set(error, ST_FATAL, "out of memory");
    if (PQstatus(db->connection) != CONNECTION_OK) {
        const char *text = PQerrorMessage(db->connection);
        error_set(error, ST_RETRY, "cannot connect to PostgreSQL: %.*s", (int)strcspn(text, "\n"),
                  text);
        error_hint(
            error,
            "check --database, TALLY_DATABASE_URL or libpq's PG* variables, and that the server runs");
        return ST_RETRY;
    }
    return db_script(db, SESSION, error);
}

Status db_unopened(const char *url, const char *application, Db **out, Error *error)
{
    if (!url) url = getenv("TALLY_DATABASE_URL");
    if (url && strchr(url, '=') == NULL && strstr(url, "://") == NULL && strchr(url, ' ') == NULL)
        return error_set(error, ST_BAD_INPUT,
                         "database: \"%s\" is not postgresql://... nor key=value pairs", url);
    Db *db = mem_alloc(sizeof *db);
    db->url = url ? mem_strdup(url) : NULL;
    db->application = mem_strdup(application);
    *out = db;
    return ST_OK;
}

Status db_open(const char *url, const char *application, Db **out, Error *error)
{
    Db *db = NULL;
    TRY(db_unopened(url, application, &db, error));
    Status status = connect_now(db, error);
    if (status != ST_OK) {
        db_close(db);
        return status;
    }
    *out = db;
    return ST_OK;
}

Status db_another(const Db *db, Db **out, Error *error)
{
    return db_open(db->url, db->application, out, error);
}

void db_close(Db *db)
{
    if (!db) return;
    PQfinish(db->connection);
    free(db->url);
    free(db->application);
    free(db->acting);
    free(db);
}

bool db_lost(const Db *db) { return db->broken || PQstatus(db->connection) != CONNECTION_OK; }
bool db_gone(Db *db)
{
    if (db_lost(db)) return true;
    // An idle connection has nothing to say but that it ends, or that a setting has changed.
    struct pollfd look = {.fd = PQsocket(db->connection), .events = POLLIN};
    // Why it ends is said first, and read by itself.
    while (!db_lost(db) && poll(&look, 1, 0) > 0)
        if (!PQconsumeInput(db->connection)) db->broken = true;
    return db_lost(db);
}
void db_deadline(Db *db, int64_t ms) { db->deadline_ms = ms; }
Status db_reopen(Db *db, Error *error) { return connect_now(db, error); }

void db_act_as(Db *db, const char *function, Str who)
{
    ASSERT(!db->in_transaction);
    free(db->acting);
    db->acting = NULL;
    if (!function) return;
    OWNED_BUF Buf sql = {0};
    buf_addf(&sql, "SELECT %s('", function);
    for (size_t i = 0; i < who.n; i++) {
        if (who.p[i] == '\'') buf_add_char(&sql, '\'');
        buf_add_char(&sql, who.p[i]);
    }
    buf_add_text(&sql, "')");
    db->acting = mem_strdup(sql.p);
}

// ---- waiting ----
PGresult *db_result(Db *db)
{
    if (db->deadline_ms <= 0) return PQgetResult(db->connection);
    int64_t until = clock_monotonic_ms() + db->deadline_ms;
    while (PQisBusy(db->connection)) {
        int flushed = PQflush(db->connection);
        int64_t left = until - clock_monotonic_ms();
        struct pollfd wait = {.fd = PQsocket(db->connection),
                              .events = (short)(POLLIN | (flushed > 0 ? POLLOUT : 0))};
        int ready = left > 0 ? poll(&wait, 1, (int)left) : 0;
        if (ready == 0) {
            db->broken = db->late = true;
            return NULL;
        }
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0 || flushed < 0 || !PQconsumeInput(db->connection)) {
            db->broken = true;
            return NULL;
        }
    }
    return PQgetResult(db->connection);
}

// Of all results of what was sent, the first failure, else the last; NULL where none came in time.
static PGresult *finish_one(Db *db)
{
    PGresult *kept = NULL;
    for (PGresult *result; (result = db_result(db));) {
        if (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
            PQclear(result);
            continue;
        }
        PQclear(kept);
        kept = result;
    }
    if (!db->broken) return kept;
    PQclear(kept);
    return NULL;
}

// ---- statements ----
Status db_prepare(Db *db, const Statement *statement, Error *error)
{
    for (int i = 0; i < db->prepared_count; i++)
        if (db->prepared[i] == statement) return ST_OK;
    if (!PQsendPrepare(db->connection, statement->name, statement->text, 0, NULL))
        return db_failure(db, NULL, statement->name, error);
    PGresult *result = finish_one(db);
    Status status = PQresultStatus(result) == PGRES_COMMAND_OK
                        ? ST_OK
                        : db_failure(db, result, statement->name, error);
    PQclear(result);
    if (status != ST_OK) return status;
    ASSERT(db->prepared_count < STATEMENTS_MAX);
    db->prepared[db->prepared_count++] = statement;
    return ST_OK;
}

void db_terminate(Terminated *t, int n, const Str *params)
{
    ASSERT(n <= PARAMS_MAX);
    t->arena = arena_new();
    for (int i = 0; i < n; i++) {
        Str copy = arena_copy(t->arena, params[i]);
        t->values[i] = copy.p;
        t->lengths[i] = (int)copy.n;
    }
}

Status db_query(Db *db, const Statement *statement, int n, const Str *params, Rows **rows,
                Error *error)
{
    if (db->acting && !db->in_transaction) {
        DbCall call = {.statement = statement, .n = n, .params = params};
        TRY(db_pipeline(db, true, &call, 1, true, error));
        if (rows) *rows = call.rows;
        else rows_free(call.rows);
        return ST_OK;
    }
    TRY(db_prepare(db, statement, error));
    Terminated t;
    db_terminate(&t, n, params);
    int sent = PQsendQueryPrepared(db->connection, statement->name, n, t.values, t.lengths, NULL,
                                   0);
    arena_free(t.arena);
    if (!sent) return db_failure(db, NULL, statement->name, error);
    PGresult *result = finish_one(db);
    ExecStatusType got = PQresultStatus(result);
    if (got != PGRES_TUPLES_OK && got != PGRES_COMMAND_OK) {
        Status status = db_failure(db, result, statement->name, error);
        PQclear(result);
        return status;
    }
    if (rows) *rows = (Rows *)result;
    else PQclear(result);
    return ST_OK;
}

Status db_run(Db *db, const Statement *statement, int n, const Str *params, int64_t *affected,
              Error *error)
{
    Rows *rows = NULL;
    TRY(db_query(db, statement, n, params, &rows, error));
    if (affected && !str_to_int(str(PQcmdTuples((PGresult *)rows)), affected)) *affected = 0;
    rows_free(rows);
    return ST_OK;
}

Status db_script(Db *db, const char *sql, Error *error)
{
    if (!PQsendQuery(db->connection, sql)) return db_failure(db, NULL, "script", error);
    PGresult *result = finish_one(db);
    ExecStatusType got = PQresultStatus(result);
    Status status = got == PGRES_COMMAND_OK || got == PGRES_TUPLES_OK || got == PGRES_EMPTY_QUERY
                        ? ST_OK
                        : db_failure(db, result, "script", error);
    PQclear(result);
    return status;
}

// Reads what is left of a statement's results; the first failure among them is kept.
static Status drain(Db *db, const char *name, Status status, Error *error)
{
    for (PGresult *result; (result = PQgetResult(db->connection));) {
        ExecStatusType got = PQresultStatus(result);
        if (status == ST_OK && got != PGRES_TUPLES_OK && got != PGRES_COMMAND_OK &&
            got != PGRES_SINGLE_TUPLE)
            status = db_failure(db, result, name, error);
        PQclear(result);
    }
    return status;
}

void db_cancel(Db *db)
{
    char why[256];
    PGcancel *handle = PQgetCancel(db->connection);
    if (handle && !PQcancel(handle, why, sizeof why)) why[0] = '\0'; // then it just runs to its end
    PQfreeCancel(handle);
}

Status db_stream(Db *db, const Statement *statement, int n, const Str *params, RowFn row,
                 void *context, Error *error)
{
    ASSERT(!db->acting || db->in_transaction);
    TRY(db_prepare(db, statement, error));
    Terminated t;
    db_terminate(&t, n, params);
    int sent = PQsendQueryPrepared(db->connection, statement->name, n, t.values, t.lengths, NULL,
                                   0);
    arena_free(t.arena);
    if (!sent || !PQsetSingleRowMode(db->connection))
        return db_failure(db, NULL, statement->name, error);
    Status status = ST_OK;
    for (PGresult *result; status == ST_OK && (result = PQgetResult(db->connection));) {
        ExecStatusType got = PQresultStatus(result);
        if (got == PGRES_SINGLE_TUPLE) status = row(context, (Rows *)result, 0, error);
        else if (got != PGRES_TUPLES_OK) status = db_failure(db, result, statement->name, error);
        PQclear(result);
    }
    if (status != ST_OK && !db_lost(db)) db_cancel(db);
    return drain(db, statement->name, status, error);
}

// ---- rows ----
static const PGresult *of(const Rows *rows) { return (const PGresult *)rows; }
int rows_count(const Rows *rows) { return PQntuples(of(rows)); }
bool rows_null(const Rows *rows, int row, int column) { return PQgetisnull(of(rows), row, column); }
void rows_free(Rows *rows) { PQclear((PGresult *)rows); }

Str rows_str(const Rows *rows, int row, int column)
{
    if (rows_null(rows, row, column)) return (Str){0};
    return (Str){PQgetvalue(of(rows), row, column), (size_t)PQgetlength(of(rows), row, column)};
}

// Of a stream, whose values are binary: an integer of 1 to 8 bytes, big-endian.
static bool is_binary(const Rows *rows, int column) { return PQfformat(of(rows), column) == 1; }

static int64_t binary_int(const Rows *rows, int row, int column)
{
    Str s = rows_str(rows, row, column);
    ASSERT(s.n >= 1 && s.n <= sizeof(int64_t));
    uint64_t value = s.p[0] < 0 ? UINT64_MAX : 0;
    for (size_t i = 0; i < s.n; i++) value = value << 8 | (unsigned char)s.p[i];
    return (int64_t)value;
}

int64_t rows_int(const Rows *rows, int row, int column)
{
    int64_t value;
    if (is_binary(rows, column)) return binary_int(rows, row, column);
    ASSERT(str_to_int(rows_str(rows, row, column), &value));
    return value;
}

bool rows_bool(const Rows *rows, int row, int column)
{
    if (is_binary(rows, column)) return binary_int(rows, row, column) == 1;
    return str_is(rows_str(rows, row, column), "t");
}

static Instant binary_instant(const Rows *rows, int row, int column)
{
    int64_t us = binary_int(rows, row, column);
    bool finite = us > INT64_MIN && us < INT64_MAX - INSTANT_MIN.us;
    return (Instant){finite ? us + INSTANT_MIN.us : us}; // PostgreSQL counts from 2000-01-01
}

Instant rows_instant(const Rows *rows, int row, int column) // "2026-10-03 12:34:56.789+00"
{
    if (is_binary(rows, column)) return binary_instant(rows, row, column);
    Str s = rows_str(rows, row, column);
    char text[INSTANT_TEXT + 8];
    Instant instant;
    ASSERT(s.n > 13 && s.n < sizeof text);
    memcpy(text, s.p, s.n);
    text[10] = 'T';
    text[s.n - 3] = 'Z';
    ASSERT(instant_parse((Str){text, s.n - 2}, &instant));
    return instant;
}

Day rows_day(const Rows *rows, int row, int column)
{
    if (is_binary(rows, column)) // counted from 2000-01-01, too
        return (Day){(int32_t)(binary_int(rows, row, column) + DAY_MIN.days)};
    Str s = rows_str(rows, row, column);
    Day day;
    if (str_is(s, "2200-01-01")) return DAY_END;
    ASSERT(day_parse(s, &day));
    return day;
}

// ---- parameters ----
Str param_int(Arena *arena, int64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRId64, value);
    return arena_copy(arena, (Str){text, (size_t)n});
}

Str param_instant(Arena *arena, Instant instant)
{
    char text[INSTANT_TEXT];
    return arena_copy(arena, str(instant_format(instant, text)));
}

Str param_day(Arena *arena, Day day)
{
    char text[DAY_TEXT];
    return arena_copy(arena, str(day_format(day, text)));
}

Str param_bool(bool value) { return value ? STR("t") : STR("f"); }

void array_begin(Buf *array)
{
    buf_clear(array);
    buf_add_char(array, '{');
}

static void array_next(Buf *array)
{
    if (array->n > 1) buf_add_char(array, ',');
}

void array_add(Buf *array, Str element)
{
    array_next(array);
    if (str_absent(element)) {
        buf_add_text(array, "NULL");
        return;
    }
    buf_add_char(array, '"');
    for (size_t i = 0; i < element.n; i++) {
        if (element.p[i] == '"' || element.p[i] == '\\') buf_add_char(array, '\\');
        buf_add_char(array, element.p[i]);
    }
    buf_add_char(array, '"');
}

void array_add_int(Buf *array, int64_t element)
{
    array_next(array);
    buf_addf(array, "%" PRId64, element);
}

void array_end(Buf *array) { buf_add_char(array, '}'); }

// ---- transactions ----
static Status begin_now(Db *db, const char *begin, Error *error)
{
    OWNED_BUF Buf sql = {0};
    buf_add_text(&sql, begin);
    if (db->acting) buf_addf(&sql, "; %s", db->acting);
    return db_script(db, sql.p, error);
}

static Status run_once(Db *db, const char *begin, DbWork work, void *context, Error *error)
{
    ASSERT(!db->in_transaction);
    Status status = begin_now(db, begin, error);
    db->in_transaction = true;
    if (status == ST_OK) status = work(db, context, error);
    db->in_transaction = false;
    if (status == ST_OK) {
        // A COMMIT of a transaction that failed within answers ROLLBACK without an error.
        PGresult *result = PQsendQuery(db->connection, "COMMIT") ? finish_one(db) : NULL;
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            status = db_failure(db, result, "commit", error);
        else if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
            status = error_set(error, ST_FATAL, "the transaction was rolled back by the server");
        PQclear(result);
        return status;
    }
    if (!db_lost(db)) {
        Error ignored; // the first error says more
        Status rolled_back = db_script(db, "ROLLBACK", &ignored);
        if (rolled_back != ST_OK) db->broken = true;
    }
    return status;
}

static bool again(const Db *db, Status status, const Error *error)
{
    return status == ST_RETRY && !db_lost(db) && error &&
           (strcmp(error->code, "40001") == 0 || strcmp(error->code, "40P01") == 0);
}

static Status run_tries(Db *db, const char *begin, DbWork work, void *context, Error *error)
{
    Error own;
    if (!error) error = &own;
    int64_t pause_ms = PAUSE_FIRST_MS;
    for (int tries = 1;; tries++) {
        Status status = run_once(db, begin, work, context, error);
        if (!again(db, status, error) || tries == DB_TRIES_MAX) return status;
        clock_sleep_ms(pause_ms);
        pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
    }
}

Status db_transaction(Db *db, DbWork work, void *context, Error *error)
{
    return run_tries(db, "BEGIN ISOLATION LEVEL READ COMMITTED", work, context, error);
}

Status db_snapshot(Db *db, DbWork work, void *context, Error *error)
{
    return run_tries(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", work, context, error);
}
