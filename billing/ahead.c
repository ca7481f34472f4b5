// SPDX-License-Identifier: Apache-2.0
#include "billing/ahead.h"

#include "billing/billing_sql.h"
#include "catalog/store.h"

#include <pthread.h>

struct Ahead {
    Db *db;
    Now now;
    Day from, to;
    pthread_t thread;
    bool running, answered; // a question is under way; it was answered
    // The question, and its answer.
    Arena *arena;
    Str after;
    int limit;
    int64_t revision;
    Str *account;
    size_t accounts;
    DayUsage *cells;
    size_t count;
    Marks marks;
};

static Status read_usage(Db *db, void *context, Error *error)
{
    Ahead *a = context;
    OWNED_CATALOG Catalog *catalog = NULL;
    TRY(catalog_load(db, &catalog, error));
    a->revision = catalog->revision;
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {a->after, param_int(a->arena, a->limit)};
    TRY(db_query(db, &SQL_BILLING_ACCOUNTS_AFTER, 2, params, &rows, error));
    a->accounts = (size_t)rows_count(rows);
    a->account = arena_alloc(a->arena, (a->accounts + 1) * sizeof *a->account);
    for (size_t i = 0; i < a->accounts; i++)
        a->account[i] = arena_copy(a->arena, rows_str(rows, (int)i, 0));
    TRY(marks_read(db, a->account, a->accounts, a->arena, &a->marks, error));
    return usage_days(db, catalog, &a->now, a->account, a->accounts, a->from, a->to, a->arena,
                      &a->cells, &a->count, error);
}

static void *answer(void *context)
{
    Ahead *a = context;
    Error ignored; // the owner reads for itself then, and meets the same
    a->answered = db_snapshot(a->db, read_usage, a, &ignored) == ST_OK;
    return NULL;
}

static void wait_for_answer(Ahead *a)
{
    if (a->running) ASSERT(pthread_join(a->thread, NULL) == 0);
    a->running = false;
}

Ahead *ahead_new(const Db *db, const Now *now, Day from, Day to)
{
    Error ignored; // without a second connection it only takes longer
    Db *second = NULL;
    if (db_another(db, &second, &ignored) != ST_OK) return NULL;
    Ahead *a = mem_alloc(sizeof *a);
    a->db = second;
    a->now = *now;
    a->from = from;
    a->to = to;
    a->arena = arena_new();
    return a;
}

void ahead_free(Ahead *ahead)
{
    if (!ahead) return;
    wait_for_answer(ahead);
    db_close(ahead->db);
    arena_free(ahead->arena);
    free(ahead);
}

void ahead_ask(Ahead *ahead, Str after, int limit)
{
    if (!ahead) return;
    wait_for_answer(ahead);
    arena_reset(ahead->arena);
    ahead->answered = false;
    ahead->after = arena_copy(ahead->arena, after);
    ahead->limit = limit;
    ahead->running = pthread_create(&ahead->thread, NULL, answer, ahead) == 0;
}

bool ahead_take(Ahead *ahead, int64_t catalog_revision, const Str *accounts, size_t n,
                DayUsage **cells, size_t *count, Marks *marks)
{
    if (!ahead) return false;
    wait_for_answer(ahead);
    if (!ahead->answered || ahead->revision != catalog_revision || ahead->accounts != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!str_equal(ahead->account[i], accounts[i])) return false;
    *cells = ahead->cells;
    *count = ahead->count;
    *marks = ahead->marks;
    return true;
}
