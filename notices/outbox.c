// SPDX-License-Identifier: Apache-2.0
// The outbox: writing notices, and forgetting them.
//
// Ids are handed out when a notice is written, and seen when its transaction commits; so where two
// transactions overlap, the one with the higher ids may be seen, and published, first. That is
// fine:
//   - none is left out, since the relay looks for what is not published, not for what is above an
//   id;
//   - order matters where one notice follows from another (a run that is lost, then recovered), and
//     then the second transaction has seen the first one's work, so it took the account's lock
//     after the first one's commit: its ids are higher, and whoever sees them sees the first one's
//     too;
//   - what two overlapping transactions say of one account has no order: neither knew of the other.
// A transaction's own notices have rising ids, and are seen together.
#include "notices/notices.h"

#include "notices/notices_sql.h"

enum { COPY_MIN = 100 }; // below, its further round trip costs more

typedef struct Columns {
    Buf account, type, subject, data, once;
} Columns;

static void columns_done(Columns *c)
{
    buf_free(&c->account);
    buf_free(&c->type);
    buf_free(&c->subject);
    buf_free(&c->data);
    buf_free(&c->once);
}

static void columns_fill(Columns *c, const Notice *notices, size_t n)
{
    Buf *const all[] = {&c->account, &c->type, &c->subject, &c->data, &c->once};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_begin(all[i]);
    for (size_t i = 0; i < n; i++) {
        array_add(&c->account, notices[i].account);
        array_add(&c->type, str(notices[i].type));
        array_add(&c->subject, notices[i].subject);
        array_add(&c->data, notices[i].data);
        array_add(&c->once, notices[i].once);
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_end(all[i]);
}

// Many at once, none of them said once only: a billing run's. COPY costs a quarter of the
// statement.
static Status copy_all(Db *db, const Notice *notices, size_t n, Error *error)
{
    Copy copy;
    TRY(copy_begin(&copy, db, "notice (account, type, subject, data)", error));
    Status status = ST_OK;
    for (size_t i = 0; i < n && status == ST_OK; i++) {
        copy_row(&copy, 4);
        copy_str(&copy, notices[i].account);
        copy_str(&copy, str(notices[i].type));
        copy_str(&copy, notices[i].subject);
        copy_jsonb(&copy, notices[i].data);
        status = copy_flush(&copy, error);
    }
    Error later; // of two errors the first says more
    Status ended = copy_end(&copy, status == ST_OK ? error : &later);
    return status == ST_OK ? ended : status;
}

static bool any_once(const Notice *notices, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!str_absent(notices[i].once)) return true;
    return false;
}

Status notices_add(Db *db, const Notice *notices, size_t n, int64_t *written, Error *error)
{
    if (written) *written = 0;
    if (n == 0) return ST_OK;
    if (n >= COPY_MIN && !any_once(notices, n)) {
        if (written) *written = (int64_t)n;
        return copy_all(db, notices, n, error);
    }
    __attribute__((cleanup(columns_done))) Columns c = {0};
    columns_fill(&c, notices, n);
    const Str params[] = {buf_str(&c.account), buf_str(&c.type), buf_str(&c.subject),
                          buf_str(&c.data), buf_str(&c.once)};
    return db_run(db, &SQL_NOTICES_ADD, 5, params, written, error);
}

Status notices_prune(Db *db, int64_t *pruned, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    int64_t said = 0;
    Str params[] = {param_int(arena, NOTICES_KEPT_DAYS), param_int(arena, NOTICES_PRUNED_MAX)};
    TRY(db_run(db, &SQL_NOTICES_PRUNE, 2, params, pruned, error));
    params[0] = param_int(arena, NOTICES_SAID_DAYS);
    TRY(db_run(db, &SQL_NOTICES_PRUNE_SAID, 2, params, &said, error));
    *pruned += said;
    return ST_OK;
}
