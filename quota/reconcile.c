// SPDX-License-Identifier: Apache-2.0
#include "quota/reconcile.h"

#include "quota/quota_sql.h"

#include <inttypes.h>
#include <stdio.h>

const char *difference_name(Difference difference)
{
    static const char *const names[] = {"only_in_books", "only_in_list", "other_size"};
    return names[difference];
}

// ---- the list ----
typedef struct List {
    LineFn next;
    void *lines;
    int64_t count;
} List;

static Status bad_line(int64_t line, const char *what, Error *error)
{
    return error_set(error, ST_BAD_INPUT, "line %" PRId64 ": %s", line, what);
}

static Status read_line(Str text, int64_t line, Copy *copy, Error *error)
{
    OWNED_JSON Json *json = NULL;
    Str account, vm, size;
    char lower[SIZE_NAME_MAX + 1];
    if (json_parse(text, RECONCILE_LINE_MAX, &json, error) != ST_OK)
        return error_prefix(error, "line %" PRId64, line);
    if (!json_text(json_get(json, "account"), &account) || !str_is_id(account))
        return bad_line(line, "account: not an id (1-64 of A-Z a-z 0-9 . _ : -)", error);
    if (!json_text(json_get(json, "vm"), &vm) || !str_is_id(vm))
        return bad_line(line, "vm: not an id (1-64 of A-Z a-z 0-9 . _ : -)", error);
    if (!json_text(json_get(json, "size"), &size) || size.n == 0 || size.n > SIZE_NAME_MAX)
        return bad_line(line, "size: not a size's name", error);
    for (size_t i = 0; i < size.n; i++) {
        char c = size.p[i];
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    copy_row(copy, 3);
    copy_str(copy, account);
    copy_str(copy, vm);
    copy_str(copy, (Str){lower, size.n});
    return copy_flush(copy, error);
}

static Status load_list(Db *db, List *list, Error *error)
{
    Copy copy;
    TRY(copy_begin(&copy, db, "orchestrator_list (account, vm, size)", error));
    Status status = ST_OK;
    int64_t number = 0;
    for (bool got = true; status == ST_OK;) {
        Str line = {0};
        status = list->next(list->lines, &line, &got, error);
        if (status != ST_OK || !got) break;
        number++;
        if (line.n == 0) continue; // blank lines are passed over
        list->count++;
        status = read_line(line, number, &copy, error);
    }
    Error ignored;
    Status ended = copy_end(&copy, status == ST_OK ? error : &ignored);
    if (status != ST_OK || ended != ST_CONFLICT) return status == ST_OK ? ended : status;
    char which[ERROR_HINT_MAX];
    snprintf(which, sizeof which, "%s", error->hint);
    return error_set(error, ST_BAD_INPUT, "a VM is in the list twice: %s", which);
}

// ---- the comparison ----
typedef struct Telling {
    GhostFn each;
    void *context;
    int64_t differences;
} Telling;

static Status tell(void *context, const Rows *rows, int row, Error *error)
{
    Telling *t = context;
    Ghost ghost = {.difference = (Difference)rows_int(rows, row, 0),
                   .account = rows_str(rows, row, 1),
                   .vm = rows_str(rows, row, 2),
                   .books_size = rows_str(rows, row, 3),
                   .list_size = rows_str(rows, row, 4),
                   .has_start = !rows_null(rows, row, 5)};
    if (ghost.has_start) ghost.started_at = rows_instant(rows, row, 5);
    t->differences++;
    return t->each(t->context, &ghost, error);
}

Status quota_reconcile(Quota *quota, Db *db, LineFn next, void *lines, GhostFn each, void *context,
                       ReconcileCount *count, Error *error)
{
    List list = {.next = next, .lines = lines};
    Telling telling = {.each = each, .context = context};
    OWNED_ROWS Rows *rows = NULL;
    int64_t lapsed = 0;
    TRY(quota_sweep(quota, db, &lapsed, error));
    TRY(db_script(db,
                  "DROP TABLE IF EXISTS pg_temp.orchestrator_list;"
                  "CREATE TEMPORARY TABLE orchestrator_list (account text COLLATE \"C\", vm text "
                  "COLLATE \"C\", size text COLLATE \"C\", PRIMARY KEY (account, vm))",
                  error));
    TRY(load_list(db, &list, error));
    TRY(db_query(db, &SQL_QUOTA_RECONCILE_RUNNING, 0, NULL, &rows, error));
    TRY(db_stream(db, &SQL_QUOTA_RECONCILE, 0, NULL, tell, &telling, error));
    *count = (ReconcileCount){list.count, rows_int(rows, 0, 0), telling.differences};
    return ST_OK;
}
