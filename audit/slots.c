// SPDX-License-Identifier: Apache-2.0
// Slots: a VM with an open run that is not uncounted is running; a reservation of any other VM is
// reserved. docs/quota.md tells what the rows mean.
#include "audit/differ.h"
#include "audit/recount.h"
#include "quota/quota.h"

// Columns of recount_vms.sql and recount_accounts.sql.
enum { VM_LAPSES_AT = 12, VM_WHY, VM_UNTIL };
enum { ACCOUNT_RUNNING = 2, ACCOUNT_RESERVED, ACCOUNT_LOOK_AT, ACCOUNT_LAPSE_AT };

// How much later than the first run that may be lost the account may be looked at: the row of a VM
// that is just being written is passed over, until next time.
#define LOOK_SLACK_US US_PER_MINUTE
// No server's settings let a vouch hold for longer, nor a reservation for longer than twice that:
// its own time and the event delay.
#define VOUCH_US_MAX (QUOTA_SECONDS_MAX * US_PER_SECOND)

static void lapse_by(Slots *slots, Instant at)
{
    slots->lapses_at = slots->lapses ? instant_min(slots->lapses_at, at) : at;
    slots->lapses = true;
}

// A time that lies behind what can have been set by now.
static Status not_beyond(Audit *audit, const char *column, const Rows *row, int at, Instant latest,
                         Error *error)
{
    char text[INSTANT_TEXT], most[INSTANT_TEXT];
    OWNED_BUF Buf what = {0};
    if (!row || rows_null(row, 0, at) || rows_instant(row, 0, at).us <= latest.us) return ST_OK;
    buf_addf(&what, "%s is %s, which no server can have set: %s is the latest by now", column,
             differ_time(rows_instant(row, 0, at), text), differ_time(latest, most));
    Finding finding = {.check = "quota",
                       .account = rows_str(row, 0, 0),
                       .subject = rows_str(row, 0, 1),
                       .what = buf_str(&what)};
    return audit_find(audit, &finding, error);
}

Status slots_add(Slots *slots, Audit *audit, const Timeline *t, const Rows *row, Error *error)
{
    Instant vouch = instant_add_us(slots->latest, VOUCH_US_MAX);
    Instant reservation = instant_add_us(vouch, VOUCH_US_MAX);
    TRY(not_beyond(audit, "uncounted.until", row, VM_UNTIL, vouch, error));
    TRY(not_beyond(audit, "reservation.lapses_at", row, VM_LAPSES_AT, reservation, error));
    bool runs = t->phase == PHASE_RUNNING;
    bool reserved = row && !rows_null(row, 0, VM_LAPSES_AT);
    bool counts = runs && !(row && !rows_null(row, 0, VM_WHY));
    slots->running += counts;
    slots->reserved += reserved && !counts;
    if (reserved) lapse_by(slots, rows_instant(row, 0, VM_LAPSES_AT));
    if (row && !rows_null(row, 0, VM_UNTIL)) lapse_by(slots, rows_instant(row, 0, VM_UNTIL));
    if (!counts || !t->watched) return ST_OK;
    int64_t timeout_us = catalog_on(audit->catalog, instant_day(t->proof))->heartbeat_timeout_us;
    Instant lost_after = instant_add_us(t->proof, timeout_us);
    slots->lost_after = slots->looks ? instant_min(slots->lost_after, lost_after) : lost_after;
    slots->looks = true;
    return ST_OK;
}

// The column must say a time, and none later than this.
static void not_later(Buf *what, const char *column, const Rows *row, int at, Instant latest)
{
    if (rows_null(row, 0, at)) {
        differ_instant(what, column, NULL, &latest);
        return;
    }
    Instant stored = rows_instant(row, 0, at);
    if (stored.us > latest.us) differ_instant(what, column, &stored, &latest);
}

Status slots_check(const Slots *slots, Audit *audit, Str account, const Rows *row, Error *error)
{
    OWNED_BUF Buf what = {0};
    if (rows_null(row, 0, ACCOUNT_RUNNING)) {
        buf_add_text(&what, "the account has no row in the table quota");
    } else {
        differ_int(&what, "running", rows_int(row, 0, ACCOUNT_RUNNING), slots->running);
        differ_int(&what, "reserved", rows_int(row, 0, ACCOUNT_RESERVED), slots->reserved);
        Instant soon = instant_add_us(slots->clock, LOOK_SLACK_US);
        if (slots->looks)
            not_later(&what, "look_at", row, ACCOUNT_LOOK_AT, instant_max(slots->lost_after, soon));
        if (slots->lapses) not_later(&what, "lapse_at", row, ACCOUNT_LAPSE_AT, slots->lapses_at);
    }
    if (what.n == 0) return ST_OK;
    Finding finding = {.check = "quota", .account = account, .what = buf_str(&what)};
    return audit_find(audit, &finding, error);
}
