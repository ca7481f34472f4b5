// SPDX-License-Identifier: Apache-2.0
// See quota/follow.h. The accounts' locks are taken here and held until the commit, and the quota
// service waits for them: so all that can be found out before is, which VMs matter, their
// reservations, the accounts' limits. What was read so is still true under the lock unless somebody
// reserved or released meanwhile, who has then written another version of the account's row: of
// such accounts it is read again.
#include "quota/follow.h"

#include "quota/internal.h"
#include "quota/quota_sql.h"

enum { TERMS_PIECE = QUOTA_ACCOUNTS_KEPT / 2 };

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

// ---- facts, and locks ----
static Str list_accounts(const Turn *turn, Buf *out)
{
    array_begin(out);
    for (size_t i = 0; i < turn->accounts; i++) array_add(out, turn->account[i].account);
    array_end(out);
    return buf_str(out);
}

static Status read_stamps(Work *w, Str accounts, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(w->turn.db, &SQL_QUOTA_FOLLOW_STAMPS, 1, &accounts, &rows, error));
    for (int row = 0; row < rows_count(rows); row++)
        turn_account(&w->turn, rows_str(rows, row, 0))->stamp = rows_int(rows, row, 1);
    return ST_OK;
}

static void take_facts(Seat *seat, const Rows *rows, int row, Arena *arena)
{
    seat->has_reservation = !rows_null(rows, row, 1);
    if (seat->has_reservation) {
        seat->id = arena_copy(arena, rows_str(rows, row, 1));
        seat->reserved_at = rows_instant(rows, row, 2);
        seat->starts_from = rows_instant(rows, row, 3);
    }
    seat->doubt = rows_bool(rows, row, 7);
    seat->uncounted = !rows_null(rows, row, 4);
    if (!seat->uncounted) return;
    seat->why = (Why)rows_int(rows, row, 4);
    seat->since = rows_instant(rows, row, 5);
    if (seat->why == WHY_VOUCHED) seat->vouch_from = rows_instant(rows, row, 6);
}

// Of all VMs; or of those only whose account was changed since.
static Status read_facts(Work *w, bool changed_only, Error *error)
{
    OWNED_BUF Buf accounts = {0}, vms = {0};
    OWNED_ROWS Rows *rows = NULL;
    Seat **asked = arena_alloc(w->turn.arena, (w->seats + 1) * sizeof *asked);
    size_t n = 0;
    array_begin(&accounts);
    array_begin(&vms);
    for (size_t i = 0; i < w->seats; i++) {
        Seat *seat = &w->seat[i];
        if (changed_only && !seat->account->changed) continue;
        *seat = (Seat){.change = seat->change, .account = seat->account};
        asked[n++] = seat;
        array_add(&accounts, seat->change->account);
        array_add(&vms, seat->change->vm);
    }
    if (n == 0) return ST_OK;
    array_end(&accounts);
    array_end(&vms);
    TRY(db_query(w->turn.db, &SQL_QUOTA_FOLLOW_FACTS, 2, (Str[]){buf_str(&accounts), buf_str(&vms)},
                 &rows, error));
    for (int row = 0; row < rows_count(rows); row++)
        take_facts(asked[rows_int(rows, row, 0) - 1], rows, row, w->turn.arena);
    return ST_OK;
}

static Status read_terms(Work *w, Follower *follower, const Catalog *catalog, Str accounts,
                         Error *error)
{
    OWNED_ROWS Rows *rows = NULL, *clock = NULL;
    Turn *turn = &w->turn;
    TRY(db_query(turn->db, &SQL_QUOTA_REVISIONS, 1, &accounts, &rows, error));
    TRY(db_query(turn->db, &SQL_QUOTA_NOW, 0, NULL, &clock, error));
    size_t n = (size_t)rows_count(rows);
    Str *ids = arena_alloc(turn->arena, (n + 1) * sizeof *ids);
    int64_t *revisions = arena_alloc(turn->arena, (n + 1) * sizeof *revisions);
    for (size_t i = 0; i < n; i++) {
        ids[i] = rows_str(rows, (int)i, 0);
        revisions[i] = rows_int(rows, (int)i, 1);
    }
    Day today = instant_day(rows_instant(clock, 0, 0));
    // In pieces that fit what is kept: a batch may touch more accounts than that.
    for (size_t at = 0; at < n; at += TERMS_PIECE) {
        size_t piece = n - at < TERMS_PIECE ? n - at : TERMS_PIECE;
        TRY(terms_refresh(turn->db, follower->terms, catalog, today, ids + at, revisions + at,
                          piece, error));
        for (size_t i = at; i < at + piece; i++) {
            const TermsNow *terms = terms_of(follower->terms, ids[i]);
            if (terms) turn_account(turn, ids[i])->terms.limit = terms->limit;
        }
    }
    return ST_OK;
}

static Status lock_accounts(Work *w, Str accounts, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Turn *turn = &w->turn;
    TRY(db_query(turn->db, &SQL_QUOTA_FOLLOW_LOCK, 1, &accounts, &rows, error));
    counts_take(turn, rows);
    for (int row = 0; row < rows_count(rows); row++) {
        AccountState *a = turn_account(turn, rows_str(rows, row, 0));
        a->changed = a->stamp != rows_int(rows, row, 7);
    }
    for (size_t i = 0; i < turn->accounts; i++)
        if (!turn->account[i].exists)
            return error_set(error, ST_FATAL, "account %s has no row in the table quota",
                             turn->account[i].account.p);
    return read_facts(w, true, error);
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
static Status tell_exceeded(Work *w, Error *error)
{
    for (size_t i = 0; i < w->turn.accounts; i++) {
        AccountState *a = &w->turn.account[i];
        if (!a->recounted && !a->exceeded) continue;
        int64_t in_use = a->running + a->reserved;
        bool over = a->terms.limit >= 0 && in_use > a->terms.limit;
        if (over && !a->exceeded)
            TRY(exceeded_notice(w->turn.db, a->account, a->terms.limit, in_use, error));
        a->exceeded = over;
    }
    return ST_OK;
}

// ---- writing ----
static Status save(Work *w, Error *error)
{
    Turn *turn = &w->turn;
    Columns counts;
    Status status = ST_OK;
    columns_begin(&counts, COUNTS_COLUMNS);
    for (size_t i = 0; i < turn->accounts; i++) {
        AccountState *a = &turn->account[i];
        a->version++;
        if (status == ST_OK) status = counts_add(a, &counts, error);
    }
    Columns *all[] = {&w->end, &w->count, &w->clear, &w->doubt, &counts};
    const Statement *statement[] = {&SQL_QUOTA_RESERVATION_END, &SQL_QUOTA_UNCOUNTED_END,
                                    &SQL_QUOTA_DOUBT_END, &SQL_QUOTA_DOUBT_SAVE,
                                    &SQL_QUOTA_COUNTS_SAVE};
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
    OWNED_BUF Buf list = {0};
    Str accounts = list_accounts(&w->turn, &list);
    TRY(read_stamps(w, accounts, error));
    TRY(read_facts(w, false, error));
    TRY(read_terms(w, follower, catalog, accounts, error));
    TRY(lock_accounts(w, accounts, error)); // from here on the quota service waits
    for (size_t i = 0; i < w->seats; i++) settle(w, &w->seat[i]);
    TRY(tell_exceeded(w, error));
    return save(w, error);
}

Status quota_look_again(Db *db, Error *error)
{
    return db_run(db, &SQL_QUOTA_LOOK_AGAIN, 0, NULL, NULL, error);
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
