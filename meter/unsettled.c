// SPDX-License-Identifier: Apache-2.0
// Telling billing whose closed periods may have changed. With each batch goes a row for each
// account of which it may change the usage of a month that is over, with the earliest such day.
// What an event at t0 changes, a retraction at the time of its target, begins at t0; at the last
// proof of life before it where the run was under watch, since that run may now go on behind it;
// and up to 60 s before, where a minute began (timeline_reach). A retraction whose target is not
// there changes nothing, and neither does the target when it comes. Every batch writes rows of its
// own, whatever rows there are: a closing deletes those that it has seen, and may not have seen
// this batch.
#include "meter/batch.h"
#include "meter/meter_sql.h"

// A batch is committed after its clock was read, and a month may end between.
#define COMMIT_US_MAX (60 * US_PER_MINUTE)

Status unsettled_add(Db *db, const Unsettled *row, size_t n, Error *error)
{
    if (n == 0) return ST_OK;
    OWNED_BUF Buf accounts = {0}, days = {0};
    char day[DAY_TEXT];
    array_begin(&accounts);
    array_begin(&days);
    for (size_t i = 0; i < n; i++) {
        array_add(&accounts, row[i].account);
        array_add(&days, str(day_format(row[i].since, day)));
    }
    array_end(&accounts);
    array_end(&days);
    Str params[] = {buf_str(&accounts), buf_str(&days)};
    return db_run(db, &SQL_METER_UNSETTLED_ADD, 2, params, NULL, error);
}

// With --as-of, a later batch may have an earlier clock: then no month is sure to go on.
static bool is_open(const Attempt *a, Day since)
{
    Day then = instant_day(instant_add_us(a->clock, COMMIT_US_MAX));
    return !a->meter->has_as_of && day_period(since).months >= day_period(then).months;
}

Status write_unsettled(const Attempt *a, Error *error)
{
    Unsettled *row = NULL;
    size_t n = 0;
    for (size_t g = 0; g < a->groups; g++) { // in order of account
        const VmGroup *group = &a->group[g];
        if (!group->changes) continue;
        Day since = instant_day(instant_max(group->reach, INSTANT_MIN));
        if (is_open(a, since)) continue;
        if (!row) row = arena_alloc(a->arena, a->groups * sizeof *row);
        if (n == 0 || !str_equal(row[n - 1].account, group->account))
            row[n++] = (Unsettled){group->account, since};
        else if (since.days < row[n - 1].since.days) row[n - 1].since = since;
    }
    return unsettled_add(a->meter->db, row, n, error);
}
