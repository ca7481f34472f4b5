// SPDX-License-Identifier: Apache-2.0
#include "catalog/store.h"

#include "catalog/catalog_sql.h"

enum { BATCH_ACCOUNTS_MAX = 1000, BATCH_BYTES_MAX = 8 * 1024 * 1024 };

// ---- catalogue ----
static Status none_applied(Error *error)
{
    error_set(error, ST_MISSING, "there is no catalogue yet");
    error_hint(error,
               "tally migrate puts the default one in place; tally catalog apply FILE another");
    return ST_MISSING;
}

static Status load(Db *db, const Statement *statement, Catalog **out, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, statement, 0, NULL, &rows, error));
    if (rows_count(rows) == 0) return none_applied(error);
    Status status = catalog_parse(rows_str(rows, 0, 1), out, error);
    if (status != ST_OK) return error_prefix(error, "the stored catalogue");
    (*out)->revision = rows_int(rows, 0, 0);
    return ST_OK;
}

Status catalog_load(Db *db, Catalog **out, Error *error)
{
    return load(db, &SQL_CATALOG_LOAD_CATALOG, out, error);
}

Status catalog_load_replaced(Db *db, Catalog **out, Error *error)
{
    return load(db, &SQL_CATALOG_LOAD_REPLACED_CATALOG, out, error);
}

// One statement whose one row is a revision.
static Status query_revision(Db *db, const Statement *statement, int n, const Str *params,
                             int64_t *revision, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, statement, n, params, &rows, error));
    if (rows_count(rows) != 1)
        return error_set(error, ST_FATAL, "the table state does not have its one row");
    *revision = rows_int(rows, 0, 0);
    return ST_OK;
}

Status catalog_save(Db *db, Str json, int64_t *revision, Error *error)
{
    return query_revision(db, &SQL_CATALOG_SAVE_CATALOG, 1, &json, revision, error);
}

Status catalog_lock_shared(Db *db, int64_t *revision, Error *error)
{
    return query_revision(db, &SQL_CATALOG_LOCK_STATE_SHARED, 0, NULL, revision, error);
}

Status catalog_lock_exclusive(Db *db, int64_t *revision, Error *error)
{
    return query_revision(db, &SQL_CATALOG_LOCK_STATE, 0, NULL, revision, error);
}

static Status query_text(Db *db, const Statement *statement, int n, const Str *params, Buf *out,
                         Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, statement, n, params, &rows, error));
    if (rows_count(rows) == 0) return none_applied(error);
    buf_add_str(out, rows_str(rows, 0, 0));
    return ST_OK;
}

Status catalog_text(Db *db, Buf *out, Error *error)
{
    return query_text(db, &SQL_CATALOG_CATALOG_TEXT, 0, NULL, out, error);
}

Status catalog_version_text(Db *db, Day day, Buf *out, Error *error)
{
    char text[DAY_TEXT];
    return query_text(db, &SQL_CATALOG_VERSION_TEXT, 1, &(Str){day_format(day, text), 10}, out,
                      error);
}

// ---- accounts ----
// The next accounts as two array parameters, as many as one statement should carry; returns how
// many.
static size_t fill_batch(const Account *accounts, size_t count, Buf *ids, Buf *contents)
{
    size_t n = 0;
    buf_clear(ids);
    buf_clear(contents);
    array_begin(ids);
    array_begin(contents);
    for (; n < count && n < BATCH_ACCOUNTS_MAX && contents->n < BATCH_BYTES_MAX; n++) {
        array_add(ids, accounts[n].id);
        array_add(contents, accounts[n].content);
    }
    array_end(ids);
    array_end(contents);
    return n;
}

Status accounts_changed(Db *db, const Account *accounts, size_t count, Arena *arena, Account **out,
                        size_t *changed, Error *error)
{
    OWNED_BUF Buf ids = {0}, contents = {0};
    *out = arena_alloc(arena, count * sizeof **out);
    *changed = 0;
    for (size_t at = 0, n; at < count; at += n) {
        n = fill_batch(accounts + at, count - at, &ids, &contents);
        OWNED_ROWS Rows *rows = NULL;
        const Str params[] = {buf_str(&ids), buf_str(&contents)};
        TRY(db_query(db, &SQL_CATALOG_CHANGED_ACCOUNTS, 2, params, &rows, error));
        for (int row = 0; row < rows_count(rows); row++)
            (*out)[(*changed)++] = accounts[at + (size_t)rows_int(rows, row, 0) - 1];
    }
    return ST_OK;
}

Status accounts_save(Db *db, const Account *accounts, size_t count, size_t *changed, Error *error)
{
    OWNED_BUF Buf ids = {0}, contents = {0};
    *changed = 0;
    for (size_t at = 0, n; at < count; at += n) {
        n = fill_batch(accounts + at, count - at, &ids, &contents);
        int64_t affected;
        const Str params[] = {buf_str(&ids), buf_str(&contents)};
        TRY(db_run(db, &SQL_CATALOG_SAVE_ACCOUNTS, 2, params, &affected, error));
        *changed += (size_t)affected;
    }
    return ST_OK;
}

// Rows of revision and content into accounts.
static Status read_accounts(const Rows *rows, Arena *arena, Account **out, size_t *count,
                            Error *error)
{
    *count = (size_t)rows_count(rows);
    *out = arena_alloc(arena, *count * sizeof **out);
    for (size_t i = 0; i < *count; i++) {
        Account *account = &(*out)[i];
        Status status = account_parse(rows_str(rows, (int)i, 1), arena, account, error);
        if (status != ST_OK) return error_prefix(error, "a stored account");
        account->revision = rows_int(rows, (int)i, 0);
    }
    return ST_OK;
}

static Status query_accounts(Db *db, const Statement *statement, int n, const Str *params,
                             Arena *arena, Account **out, size_t *count, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, statement, n, params, &rows, error));
    return read_accounts(rows, arena, out, count, error);
}

Status account_load(Db *db, Str id, Arena *arena, Account *out, Error *error)
{
    Account *found;
    size_t count;
    TRY(query_accounts(db, &SQL_CATALOG_LOAD_ACCOUNT, 1, &id, arena, &found, &count, error));
    if (count == 0)
        return error_set(error, ST_MISSING, "there is no account \"%.*s\"", (int)id.n, id.p);
    *out = found[0];
    return ST_OK;
}

Status accounts_load(Db *db, Str after, int limit, Arena *arena, Account **out, size_t *count,
                     Error *error)
{
    const Str params[] = {str_absent(after) ? STR("") : after, param_int(arena, limit)};
    return query_accounts(db, &SQL_CATALOG_LOAD_ACCOUNTS, 2, params, arena, out, count, error);
}

Status accounts_search(Db *db, Str query, Str after, int limit, Arena *arena, Account **out,
                       size_t *count, Error *error)
{
    const Str params[] = {str_absent(after) ? STR("") : after, param_int(arena, limit), query};
    return query_accounts(db, &SQL_CATALOG_SEARCH_ACCOUNTS, 3, params, arena, out, count, error);
}

static Status load_named(Db *db, const Statement *statement, const Str *ids, size_t n, Arena *arena,
                         Account **out, size_t *count, Error *error)
{
    OWNED_BUF Buf list = {0};
    array_begin(&list);
    for (size_t i = 0; i < n; i++) array_add(&list, ids[i]);
    array_end(&list);
    return query_accounts(db, statement, 1, &(Str){list.p, list.n}, arena, out, count, error);
}

Status accounts_load_some(Db *db, const Str *ids, size_t n, Arena *arena, Account **out,
                          size_t *count, Error *error)
{
    return load_named(db, &SQL_CATALOG_LOAD_SOME_ACCOUNTS, ids, n, arena, out, count, error);
}

Status accounts_load_replaced(Db *db, const Str *ids, size_t n, Arena *arena, Account **out,
                              size_t *count, Error *error)
{
    return load_named(db, &SQL_CATALOG_LOAD_REPLACED_ACCOUNTS, ids, n, arena, out, count, error);
}
