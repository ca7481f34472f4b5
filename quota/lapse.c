// SPDX-License-Identifier: Apache-2.0
// What lapses as time passes: reservations and vouches whose time progress has passed, and runs
// under watch without a proof of life. Here the states are brought up to date; turn_write writes
// it.
//
// A run that is lost is found by looking at the account's open runs, and not before it can be: the
// collector keeps quota.look_at at or before the first moment when one may be lost; in the same way
// quota.lapse_at spares a look at reservations and vouches. Rows that are being written just now
// are passed over (the collector locks VMs before accounts, and nobody waits the other way round),
// so the next look is never more than LOOK_AGAIN_US away.
#include "notices/notices.h"
#include "quota/internal.h"
#include "quota/quota_sql.h"

enum { LOST_PAGE = 500, LAPSED_MAX = 1000 };
#define LOOK_AGAIN_US (60 * US_PER_SECOND)
#define LOOK_LEAST_US US_PER_SECOND

// ---- reservations and vouches ----
static void add_pair(Columns *columns, Str account, Str vm)
{
    array_add(&columns->array[0], account);
    array_add(&columns->array[1], vm);
    columns->rows++;
}

static bool was_dropped(const Turn *turn, Str account, Str vm)
{
    for (size_t i = 0; i < turn->drops; i++)
        if (str_equal(turn->dropped[i].vm, vm) && str_equal(turn->dropped[i].account, account))
            return true;
    return false;
}

static void lapse_reservation(Turn *turn, AccountState *account, Str vm, SlotState before)
{
    VmState *asked = turn_vm(turn, account->account, vm);
    SlotState after = asked ? asked->slot : before;
    SlotState was = after;
    after.reserved = false;
    slot_move(account, was, after);
    add_pair(&turn->gone, account->account, vm);
    turn->dropped[turn->drops++] = (struct Dropped){account->account, vm};
    if (asked) asked->slot = after;
}

static void lapse_vouch(Turn *turn, AccountState *account, Str vm, SlotState before)
{
    VmState *asked = turn_vm(turn, account->account, vm);
    SlotState after = asked ? asked->slot : before;
    SlotState was = after;
    after.uncounted = false;
    slot_move(account, was, after);
    add_pair(&turn->back, account->account, vm);
    if (asked) asked->slot = after;
    if (!after.runs) return;
    account->recounted = true;
    account->version++;
    if (slot_held(was)) return; // by a reservation, all the time
    array_add(&turn->doubt.array[0], account->account);
    array_add(&turn->doubt.array[1], vm);
    columns_add_instant(&turn->doubt, 2, NULL);
    turn->doubt.rows++;
    if (asked) asked->doubt = asked->doubted = true;
}

// ---- runs that are lost ----
static int64_t timeout_least(const Catalog *catalog)
{
    int64_t least = catalog->version[0].heartbeat_timeout_us;
    for (int v = 1; v < catalog->versions; v++)
        if (catalog->version[v].heartbeat_timeout_us < least)
            least = catalog->version[v].heartbeat_timeout_us;
    return least;
}

static Str lost_data(Turn *turn, Str account, const Rows *rows, int row, Instant proof)
{
    Buf data = {0};
    JsonWriter w = {.out = &data};
    char at[INSTANT_TEXT];
    Str sizes = rows_str(rows, row, 5);
    size_t n = sizes.n;
    while (n > 0 && sizes.p[n - 1] != ' ') n--;
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", account);
    jw_str(&w, "vm", rows_str(rows, row, 1));
    jw_str(&w, "run", rows_str(rows, row, 4));
    jw_text(&w, "started_at", instant_format(rows_instant(rows, row, 3), at));
    jw_text(&w, "ended_at", instant_format(proof, at));
    jw_str(&w, "size", (Str){sizes.p + n, sizes.n - n});
    jw_end_object(&w);
    Str kept = arena_copy(turn->arena, buf_str(&data));
    buf_free(&data);
    return kept;
}

static void mark_lost(Turn *turn, AccountState *account, Str vm, bool reserved)
{
    VmState *asked = turn_vm(turn, account->account, vm);
    // A reservation that has just lapsed is still there in the row that was read.
    reserved = reserved && !was_dropped(turn, account->account, vm);
    SlotState before = asked ? asked->slot : (SlotState){.runs = true, .reserved = reserved};
    SlotState after = before;
    after.uncounted = true;
    slot_move(account, before, after);
    if (asked) {
        asked->slot = after;
        asked->why = WHY_LOST;
    }
    account->version++;
    array_add(&turn->lost.array[0], account->account);
    array_add(&turn->lost.array[1], vm);
    array_add_int(&turn->lost.array[2], WHY_LOST);
    columns_add_instant(&turn->lost, 3, &turn->horizon);
    columns_add_instant(&turn->lost, 4, NULL);
    columns_add_instant(&turn->lost, 5, NULL);
    turn->lost.rows++;
}

static Str list_due(const Turn *turn, const bool *due, Buf *out)
{
    array_begin(out);
    for (size_t i = 0; i < turn->accounts; i++)
        if (due[i]) array_add(out, turn->account[i].account);
    array_end(out);
    return buf_str(out);
}

// Marks those that are lost, and tells; in their accounts, `due` stays set only where nothing was
// found. *all tells whether these were all.
static Status find_lost(Turn *turn, bool *due, int64_t least_us, bool *all, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    OWNED_BUF Buf list = {0};
    const Catalog *catalog = turn->quota->catalog;
    Str params[] = {list_due(turn, due, &list),
                    param_instant(turn->arena, instant_add_us(turn->horizon, -least_us)),
                    param_int(turn->arena, LOST_PAGE)};
    TRY(db_query(turn->db, &SQL_QUOTA_LOST_FIND, 3, params, &rows, error));
    int n = rows_count(rows);
    Notice *notices = arena_alloc(turn->arena, ((size_t)n + 1) * sizeof *notices);
    size_t told = 0;
    for (int row = 0; row < n; row++) {
        Instant proof = rows_instant(rows, row, 2);
        int64_t timeout_us = catalog_on(catalog, instant_day(proof))->heartbeat_timeout_us;
        if (proof.us >= turn->horizon.us - timeout_us) continue;
        AccountState *account = turn_account(turn, rows_str(rows, row, 0));
        Str vm = arena_copy(turn->arena, rows_str(rows, row, 1));
        mark_lost(turn, account, vm, rows_bool(rows, row, 6));
        due[account - turn->account] = false;
        notices[told++] = (Notice){.account = account->account,
                                   .type = "tally.run.lost",
                                   .subject = vm,
                                   .data = lost_data(turn, account->account, rows, row, proof)};
    }
    turn->lapsed += (int64_t)told;
    *all = n < LOST_PAGE;
    return notices_add(turn->db, notices, told, NULL, error);
}

// When to look next where nothing was found: not before the earliest proof of life is too old.
static Status look_next(Turn *turn, const bool *due, int64_t least_us, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    OWNED_BUF Buf list = {0};
    Str accounts = list_due(turn, due, &list);
    if (list.n == STR("{}").n) return ST_OK;
    TRY(db_query(turn->db, &SQL_QUOTA_LOST_NEXT, 1, &accounts, &rows, error));
    for (size_t i = 0; i < turn->accounts; i++)
        if (due[i]) turn->account[i].looks = false;
    for (int row = 0; row < rows_count(rows); row++) {
        AccountState *account = turn_account(turn, rows_str(rows, row, 0));
        Instant next = instant_add_us(rows_instant(rows, row, 1), least_us);
        account->looks = true;
        // Where the catalogue knows several timeouts, the least one may have passed already.
        next = instant_max(next, instant_add_us(turn->horizon, LOOK_LEAST_US));
        account->look_at = instant_min(next, instant_add_us(turn->horizon, LOOK_AGAIN_US));
    }
    return ST_OK;
}

static Status look(Turn *turn, Error *error)
{
    int64_t least_us = timeout_least(turn->quota->catalog);
    bool *due = arena_alloc(turn->arena, turn->accounts + 1), all = true, any = false;
    for (size_t i = 0; i < turn->accounts; i++) {
        const AccountState *account = &turn->account[i];
        due[i] = account->exists &&
                 ((account->looks && account->look_at.us < turn->horizon.us) || account->recounted);
        any |= due[i];
    }
    if (!any) return ST_OK;
    bool *looked = arena_alloc(turn->arena, turn->accounts + 1);
    memcpy(looked, due, turn->accounts);
    TRY(find_lost(turn, due, least_us, &all, error));
    for (size_t i = 0; i < turn->accounts; i++) {
        AccountState *account = &turn->account[i];
        if (!looked[i]) continue;
        account->changed = true;
        account->looks = true;
        // Those that were found are still among what look_next asks for: their accounts are looked
        // at again. So are those behind a full page, at once, and runs that were vouched for until
        // now, whose mark is still there.
        account->look_at = !all || account->recounted ? INSTANT_MIN : turn->horizon;
        if (account->recounted) due[i] = false;
    }
    return all ? look_next(turn, due, least_us, error) : ST_OK;
}

static Status lapse(Turn *turn, AccountState *account, Error *error)
{
    OWNED_ROWS Rows *rows = NULL, *next = NULL;
    Str params[] = {account->account, param_instant(turn->arena, turn->progress.at),
                    param_int(turn->arena, LAPSED_MAX)};
    TRY(db_query(turn->db, &SQL_QUOTA_LAPSED, 3, params, &rows, error));
    int n = rows_count(rows), reservations = 0;
    // Those of the accounts before stay known: runs are looked at when all has lapsed.
    size_t room = turn->drops + (size_t)n;
    struct Dropped *dropped = arena_alloc(turn->arena, (room + 1) * sizeof *dropped);
    if (turn->drops) memcpy(dropped, turn->dropped, turn->drops * sizeof *dropped);
    turn->dropped = dropped;
    for (int row = 0; row < n; row++) { // reservations first
        Str vm = arena_copy(turn->arena, rows_str(rows, row, 0));
        bool vouch = !rows_null(rows, row, 1);
        SlotState slot = {.runs = rows_bool(rows, row, 2),
                          .uncounted = rows_bool(rows, row, 3),
                          .reserved = rows_bool(rows, row, 4)};
        if (vouch && slot.reserved) slot.reserved = !was_dropped(turn, account->account, vm);
        if (vouch) lapse_vouch(turn, account, vm, slot);
        else lapse_reservation(turn, account, vm, slot);
        reservations += !vouch;
        turn->lapsed++;
    }
    account->changed = true;
    if (reservations == LAPSED_MAX || n - reservations == LAPSED_MAX) return ST_OK; // still due
    TRY(db_query(turn->db, &SQL_QUOTA_LAPSE_NEXT, 2, params, &next, error));
    account->lapses = !rows_null(next, 0, 0);
    if (account->lapses) account->lapse_at = rows_instant(next, 0, 0);
    return ST_OK;
}

Status turn_lapse(Turn *turn, Error *error)
{
    columns_begin(&turn->gone, 2);
    columns_begin(&turn->back, 2);
    columns_begin(&turn->lost, 6);
    columns_begin(&turn->doubt, 3);
    for (size_t i = 0; i < turn->accounts; i++) {
        AccountState *account = &turn->account[i];
        if (account->exists && account->lapses &&
            progress_passed(turn->progress, account->lapse_at))
            TRY(lapse(turn, account, error));
    }
    return look(turn, error);
}
