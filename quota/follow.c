// SPDX-License-Identifier: Apache-2.0
// See quota/follow.h. The accounts' locks are taken here and held until the commit, so all that can
// be found out before is: which VMs matter at all.
#include "quota/follow.h"

#include "quota/internal.h"
#include "quota/quota_sql.h"

struct Follower {
    TermsKept *terms;
};

Follower *follower_new(void)
{
    Follower *follower = mem_alloc(sizeof *follower);
    follower->terms = terms_new();
    return follower;
}

void follower_free(Follower *follower)
{
    if (!follower) return;
    terms_free(follower->terms);
    free(follower);
}

// What is known of a VM, besides the change.
typedef struct Seat {
    VmChange *change;
    AccountState *account;
    bool has_reservation;
    Str id;
    Instant reserved_at, starts_from;
    bool uncounted;
    Why why;
    Instant since, vouch_from;
    bool doubt;
} Seat;

typedef struct Work {
    Turn turn; // accounts only
    Seat *seat;
    size_t seats;
    Columns end, count, doubt, clear;
} Work;

// ---- which VMs matter ----
static Status find_uncounted(Db *db, VmChange *changes, size_t n, Error *error)
{
    OWNED_BUF Buf accounts = {0};
    OWNED_ROWS Rows *rows = NULL;
    array_begin(&accounts);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !str_equal(changes[i].account, changes[i - 1].account))
            array_add(&accounts, changes[i].account);
    array_end(&accounts);
    TRY(db_query(db, &SQL_QUOTA_FOLLOW_UNCOUNTED, 1, (Str[]){buf_str(&accounts)}, &rows, error));
    size_t at = 0; // both are in order
    for (int row = 0; row < rows_count(rows); row++) {
        Str account = rows_str(rows, row, 0), vm = rows_str(rows, row, 1);
        for (; at < n; at++) {
            int order = str_compare(changes[at].account, account);
            if (order == 0) order = str_compare(changes[at].vm, vm);
            if (order > 0) break;
            if (order == 0) changes[at].touched = true;
        }
    }
    return ST_OK;
}

static void take_seats(Work *w, VmChange *changes, size_t n)
{
    Turn *turn = &w->turn;
    turn->account = arena_alloc(turn->arena, (n + 1) * sizeof *turn->account);
    w->seat = arena_alloc(turn->arena, (n + 1) * sizeof *w->seat);
    for (size_t i = 0; i < n; i++) {
        if (!changes[i].touched) continue;
        AccountState *last = turn->accounts ? &turn->account[turn->accounts - 1] : NULL;
        if (!last || !str_equal(last->account, changes[i].account)) {
            last = &turn->account[turn->accounts++];
            last->account = changes[i].account;
        }
        w->seat[w->seats++] = (Seat){.change = &changes[i], .account = last};
    }
}

// ---- locks and facts ----
static Status lock_accounts(Work *w, Str accounts, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Turn *turn = &w->turn;
    TRY(db_query(turn->db, &SQL_QUOTA_LOCK, 1, &accounts, &rows, error));
    counts_take(turn, rows);
    for (size_t i = 0; i < turn->accounts; i++)
        if (!turn->account[i].exists)
            return error_set(error, ST_FATAL, "account %s has no row in the table quota",
                             turn->account[i].account.p);
    return ST_OK;
}

static Status read_facts(Work *w, Error *error)
{
    OWNED_BUF Buf accounts = {0}, vms = {0};
    OWNED_ROWS Rows *rows = NULL;
    array_begin(&accounts);
    array_begin(&vms);
    for (size_t i = 0; i < w->seats; i++) {
        array_add(&accounts, w->seat[i].change->account);
        array_add(&vms, w->seat[i].change->vm);
    }
    array_end(&accounts);
    array_end(&vms);
    TRY(db_query(w->turn.db, &SQL_QUOTA_FOLLOW_FACTS, 2, (Str[]){buf_str(&accounts), buf_str(&vms)},
                 &rows, error));
    for (int row = 0; row < rows_count(rows); row++) {
        Seat *seat = &w->seat[rows_int(rows, row, 0) - 1];
        seat->has_reservation = !rows_null(rows, row, 1);
        if (seat->has_reservation) {
            seat->id = arena_copy(w->turn.arena, rows_str(rows, row, 1));
            seat->reserved_at = rows_instant(rows, row, 2);
            seat->starts_from = rows_instant(rows, row, 3);
        }
        seat->doubt = rows_bool(rows, row, 7);
        seat->uncounted = !rows_null(rows, row, 4);
        if (!seat->uncounted) continue;
        seat->why = (Why)rows_int(rows, row, 4);
        seat->since = rows_instant(rows, row, 5);
        if (seat->why == WHY_VOUCHED) seat->vouch_from = rows_instant(rows, row, 6);
    }
    return ST_OK;
}

// ---- what becomes of a VM's slot ----
// Whether one of the starts uses the reservation up.
static bool is_used(const Seat *seat)
{
    for (size_t i = 0; i < seat->change->starts; i++) {
        const StartSeen *start = &seat->change->start[i];
        if (str_absent(start->reservation) ? start->at.us >= seat->starts_from.us
                                           : str_equal(start->reservation, seat->id))
            return true;
    }
    return false;
}

static bool vouch_holds(const Seat *seat, bool used)
{
    const VmChange *change = seat->change;
    if (change->ran && !change->runs) return false;
    if (used && seat->reserved_at.us >= seat->since.us) return false;
    for (size_t i = 0; i < change->starts; i++)
        if (change->start[i].at.us >= seat->vouch_from.us) return false;
    return true;
}

// Still lost, where the events that came are older than the moment at which it was found to be.
static bool loss_holds(const Seat *seat)
{
    const VmChange *change = seat->change;
    return change->runs && change->under_watch && change->lost_after.us < seat->since.us;
}

static void add_pair(Columns *columns, const VmChange *change)
{
    array_add(&columns->array[0], change->account);
    array_add(&columns->array[1], change->vm);
    columns->rows++;
}

static void settle(Work *w, Seat *seat)
{
    VmChange *change = seat->change;
    AccountState *account = seat->account;
    SlotState before = {
        .runs = change->ran, .uncounted = seat->uncounted, .reserved = seat->has_reservation};
    SlotState after = {
        .runs = change->runs, .uncounted = seat->uncounted, .reserved = seat->has_reservation};
    if (seat->has_reservation && is_used(seat)) {
        after.reserved = false;
        add_pair(&w->end, change);
    }
    if (seat->uncounted) {
        bool used = before.reserved && !after.reserved;
        after.uncounted = seat->why == WHY_VOUCHED ? vouch_holds(seat, used) : loss_holds(seat);
        if (!after.uncounted) add_pair(&w->count, change);
        change->was_lost = seat->why == WHY_LOST && !after.uncounted;
    }
    // It gave its slot back, and now counts all the same: see is_one_too_many in decide.c.
    if (seat->doubt && !change->runs && change->ran) add_pair(&w->clear, change);
    if (seat->doubt && !slot_held(before) && slot_running(after)) {
        add_pair(&w->doubt, change);
        columns_add_instant(&w->doubt, 2, NULL);
    }
    int64_t in_use = account->running + account->reserved;
    slot_move(account, before, after);
    if (account->running + account->reserved > in_use) account->recounted = true;
    if (!change->runs || !change->under_watch) return;
    if (!account->looks || change->lost_after.us < account->look_at.us)
        account->look_at = change->lost_after;
    account->looks = true;
}

// ---- limits ----
static Status tell_exceeded(Work *w, Follower *follower, const Catalog *catalog, Error *error)
{
    Turn *turn = &w->turn;
    OWNED_BUF Buf accounts = {0};
    OWNED_ROWS Rows *rows = NULL, *clock = NULL;
    bool any = false;
    array_begin(&accounts);
    for (size_t i = 0; i < turn->accounts; i++) {
        const AccountState *a = &turn->account[i];
        if (!a->recounted && !a->exceeded) continue;
        array_add(&accounts, a->account);
        any = true;
    }
    if (!any) return ST_OK;
    array_end(&accounts);
    TRY(db_query(turn->db, &SQL_QUOTA_REVISIONS, 1, (Str[]){buf_str(&accounts)}, &rows, error));
    TRY(db_query(turn->db, &SQL_QUOTA_NOW, 0, NULL, &clock, error));
    size_t n = (size_t)rows_count(rows);
    Str *ids = arena_alloc(turn->arena, (n + 1) * sizeof *ids);
    int64_t *revisions = arena_alloc(turn->arena, (n + 1) * sizeof *revisions);
    for (size_t i = 0; i < n; i++) {
        ids[i] = rows_str(rows, (int)i, 0);
        revisions[i] = rows_int(rows, (int)i, 1);
    }
    Day today = instant_day(rows_instant(clock, 0, 0));
    TRY(terms_refresh(turn->db, follower->terms, catalog, today, ids, revisions, n, error));
    for (size_t i = 0; i < n; i++) {
        AccountState *a = turn_account(turn, ids[i]);
        const TermsNow *terms = terms_of(follower->terms, ids[i]);
        int64_t in_use = a->running + a->reserved;
        bool over = terms && terms->limit >= 0 && in_use > terms->limit;
        if (over && !a->exceeded)
            TRY(exceeded_notice(turn->db, a->account, terms->limit, in_use, error));
        a->exceeded = over;
    }
    return ST_OK;
}

// ---- writing ----
static Status save(Work *w, Error *error)
{
    Turn *turn = &w->turn;
    Columns counts;
    columns_begin(&counts, COUNTS_COLUMNS);
    for (size_t i = 0; i < turn->accounts; i++) {
        AccountState *a = &turn->account[i];
        a->version++;
        counts_add(a, &counts);
    }
    Columns *all[] = {&w->end, &w->count, &w->clear, &w->doubt, &counts};
    const Statement *statement[] = {&SQL_QUOTA_RESERVATION_END, &SQL_QUOTA_UNCOUNTED_END,
                                    &SQL_QUOTA_DOUBT_END, &SQL_QUOTA_DOUBT_SAVE,
                                    &SQL_QUOTA_COUNTS_SAVE};
    Status status = ST_OK;
    for (int i = 0; i < 5; i++) {
        columns_end(all[i]);
        if (status == ST_OK && all[i]->rows > 0)
            status = db_run(turn->db, statement[i], all[i]->count, all[i]->param, NULL, error);
    }
    columns_free(&counts);
    return status;
}

static Status follow(Work *w, Follower *follower, const Catalog *catalog, Error *error)
{
    Turn *turn = &w->turn;
    OWNED_BUF Buf accounts = {0};
    array_begin(&accounts);
    for (size_t i = 0; i < turn->accounts; i++) array_add(&accounts, turn->account[i].account);
    array_end(&accounts);
    TRY(lock_accounts(w, buf_str(&accounts), error));
    TRY(read_facts(w, error));
    for (size_t i = 0; i < w->seats; i++) settle(w, &w->seat[i]);
    TRY(tell_exceeded(w, follower, catalog, error));
    return save(w, error);
}

Status quota_follow(Db *db, Follower *follower, const Catalog *catalog, VmChange *changes, size_t n,
                    Error *error)
{
    if (n == 0) return ST_OK;
    TRY(find_uncounted(db, changes, n, error));
    Work w = {.turn = {.db = db, .arena = arena_new()}};
    take_seats(&w, changes, n);
    columns_begin(&w.end, 2);
    columns_begin(&w.count, 2);
    columns_begin(&w.doubt, 3);
    columns_begin(&w.clear, 2);
    Status status = w.seats > 0 ? follow(&w, follower, catalog, error) : ST_OK;
    columns_free(&w.end);
    columns_free(&w.count);
    columns_free(&w.doubt);
    columns_free(&w.clear);
    arena_free(w.turn.arena);
    return status;
}
