// SPDX-License-Identifier: Apache-2.0
#include "quota/quota.h"

#include "quota/internal.h"
#include "quota/quota_sql.h"

static const int64_t RESERVATION_US = 60 * US_PER_SECOND;
static const int64_t EVENT_DELAY_US = 60 * US_PER_SECOND;
static const int64_t CLOCK_SKEW_US = 5 * US_PER_SECOND;
enum { SWEEP_ACCOUNTS = 200 };

Quota *quota_new(const QuotaConfig *config)
{
    Quota *quota = mem_alloc(sizeof *quota);
    quota->config = *config;
    if (config->reservation_us <= 0) quota->config.reservation_us = RESERVATION_US;
    if (config->event_delay_us <= 0) quota->config.event_delay_us = EVENT_DELAY_US;
    if (config->clock_skew_us < 0) quota->config.clock_skew_us = CLOCK_SKEW_US;
    quota->terms = terms_new();
    return quota;
}

void quota_free(Quota *quota)
{
    if (!quota) return;
    catalog_free(quota->catalog);
    terms_free(quota->terms);
    free(quota);
}

// ---- one transaction ----
static int compare_accounts(const void *a, const void *b)
{
    return str_compare(((const AccountState *)a)->account, ((const AccountState *)b)->account);
}

static int compare_vms(const void *pa, const void *pb)
{
    const VmState *a = pa, *b = pb;
    int by_account = str_compare(a->account, b->account);
    return by_account ? by_account : str_compare(a->vm, b->vm);
}

// Each account and each VM that is asked about, once and in order.
static void gather(Turn *turn, const Ask *asks, size_t n)
{
    turn->account = arena_alloc(turn->arena, (n + 1) * sizeof *turn->account);
    turn->vm = arena_alloc(turn->arena, (n + 1) * sizeof *turn->vm);
    for (size_t i = 0; i < n; i++) {
        turn->account[turn->accounts++].account = asks[i].account;
        if (asks[i].kind == ASK_QUOTA) continue;
        turn->vm[turn->vms].account = asks[i].account;
        turn->vm[turn->vms++].vm = asks[i].vm;
    }
    qsort(turn->account, turn->accounts, sizeof *turn->account, compare_accounts);
    qsort(turn->vm, turn->vms, sizeof *turn->vm, compare_vms);
    size_t kept = 0;
    for (size_t i = 0; i < turn->accounts; i++)
        if (kept == 0 || compare_accounts(&turn->account[kept - 1], &turn->account[i]) != 0)
            turn->account[kept++] = turn->account[i];
    turn->accounts = kept;
    kept = 0;
    for (size_t i = 0; i < turn->vms; i++)
        if (kept == 0 || compare_vms(&turn->vm[kept - 1], &turn->vm[i]) != 0)
            turn->vm[kept++] = turn->vm[i];
    turn->vms = kept;
}

static void turn_done(Turn *turn)
{
    columns_free(&turn->gone);
    columns_free(&turn->back);
    columns_free(&turn->lost);
    columns_free(&turn->doubt);
    arena_free(turn->arena);
}

static Status take_turn(Quota *quota, Db *db, Ask *asks, size_t n, int64_t *lapsed, Error *error)
{
    Turn turn = {.quota = quota, .db = db, .arena = arena_new()};
    gather(&turn, asks, n);
    Status status = turn_read(&turn, error);
    if (status == ST_OK) {
        for (size_t i = 0; i < n; i++) turn_decide(&turn, &asks[i]);
        status = turn_write(&turn, error);
    }
    if (status != ST_OK) db_rollback(db);
    if (lapsed) *lapsed += turn.lapsed;
    turn_done(&turn);
    return status;
}

Status quota_decide(Quota *quota, Db *db, Ask *asks, size_t n, Error *error)
{
    ASSERT(n > 0 && n <= QUOTA_ASKS_MAX);
    Status status = ST_RETRY;
    for (int tries = 0; tries < DB_TRIES_MAX; tries++) {
        status = take_turn(quota, db, asks, n, NULL, error);
        // Two of ours never wait for each other in a circle, but who knows what else is going on.
        bool again = status == ST_RETRY && !db_lost(db) && error &&
                     (strcmp(error->code, "40P01") == 0 || strcmp(error->code, "40001") == 0);
        if (!again) break;
    }
    return status;
}

Status quota_sweep(Quota *quota, Db *db, int64_t *lapsed, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Str after = STR("");
    *lapsed = 0;
    TRY(db_run(db, &SQL_QUOTA_DOUBT_LAPSE, 0, NULL, NULL, error));
    for (int n = SWEEP_ACCOUNTS; n == SWEEP_ACCOUNTS;) {
        OWNED_ROWS Rows *rows = NULL;
        Str params[] = {after, param_int(arena, SWEEP_ACCOUNTS)};
        TRY(db_query(db, &SQL_QUOTA_DUE, 2, params, &rows, error));
        n = rows_count(rows);
        if (n == 0) break;
        Ask asks[SWEEP_ACCOUNTS] = {0};
        for (int i = 0; i < n; i++)
            asks[i] = (Ask){.kind = ASK_QUOTA, .account = rows_str(rows, i, 0)};
        TRY(take_turn(quota, db, asks, (size_t)n, lapsed, error));
        after = arena_copy(arena, asks[n - 1].account);
    }
    return ST_OK;
}

// ---- counting anew ----
typedef struct Recount {
    Arena *arena;
    Str after;
    int n;
    int64_t mended;
} Recount;

static Status recount(Db *db, void *context, Error *error)
{
    Recount *r = context;
    OWNED_ROWS Rows *rows = NULL;
    OWNED_BUF Buf accounts = {0};
    int64_t mended = 0;
    Str params[] = {r->after, param_int(r->arena, SWEEP_ACCOUNTS)};
    TRY(db_query(db, &SQL_QUOTA_RECOUNT_PAGE, 2, params, &rows, error));
    array_begin(&accounts);
    for (int row = 0; row < rows_count(rows); row++) array_add(&accounts, rows_str(rows, row, 0));
    array_end(&accounts);
    TRY(db_run(db, &SQL_QUOTA_RECOUNT, 1, (Str[]){buf_str(&accounts)}, &mended, error));
    r->n = rows_count(rows);
    if (r->n > 0) r->after = arena_copy(r->arena, rows_str(rows, r->n - 1, 0));
    r->mended += mended;
    return ST_OK;
}

Status quota_recount(Db *db, int64_t *mended, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Recount r = {.arena = arena, .after = STR(""), .n = SWEEP_ACCOUNTS};
    while (r.n == SWEEP_ACCOUNTS) TRY(db_transaction(db, recount, &r, error));
    *mended = r.mended;
    return ST_OK;
}

// ---- which database this is ----
Status quota_attend(Db *db, Error *error)
{
    // All look-ups are by key; what the planner thinks of tables that were small when it looked
    // must not matter later.
    TRY(db_script(db,
                  "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
                  "SET plan_cache_mode = force_generic_plan;"
                  // An account that somebody holds must not keep the others waiting.
                  "SET lock_timeout = '250ms'",
                  error));
    return db_run(db, &SQL_QUOTA_ATTEND, 0, NULL, NULL, error);
}

Status quota_restored(Db *db, Error *error)
{
    return db_run(db, &SQL_QUOTA_RESTORED, 0, NULL, NULL, error);
}
