// SPDX-License-Identifier: Apache-2.0
// How far the books have come, and whether accounts and catalogues are what their histories say.
#include "audit/books.h"
#include "billing/close.h"

#include "audit/audit_sql.h"

#include <inttypes.h>
#include <stdio.h>

// A period whose closing has begun, and what its invoices know of it.
typedef struct Closing {
    Period period;
    bool closed, dated;
    Instant horizon;
    Str after;  // the last account that was dealt with
    bool known; // that account is there
    bool whole; // one batch closed it: there are no more accounts
    size_t invoices, undated;
    Instant earliest; // horizon of the invoices
} Closing;

typedef struct Closings {
    Audit *audit;
    Arena *arena, *scratch; // for all, and for one row
    Closing *closing;
    size_t count;
} Closings;

static Matter about(const Closings *c, const Closing *closing, char text[static PERIOD_TEXT])
{
    return (Matter){.audit = c->audit,
                    .check = "closings",
                    .subject = str(period_format(closing->period, text))};
}

// ---- closings ----
static Status list_closings(Closings *c, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Str batch = param_int(c->arena, CLOSE_BATCH_ACCOUNTS);
    TRY(db_query(c->audit->db, &SQL_AUDIT_CLOSINGS_LIST, 1, &batch, &rows, error));
    c->closing = arena_alloc(c->arena, ((size_t)rows_count(rows) + 1) * sizeof *c->closing);
    for (int row = 0; row < rows_count(rows); row++) {
        Closing *closing = &c->closing[c->count];
        Day day;
        if (!day_parse(rows_str(rows, row, 0), &day)) {
            Matter matter = {
                .audit = c->audit, .check = "closings", .subject = rows_str(rows, row, 0)};
            TRY(matter_find(&matter, error, "no period that can be billed begins then"));
            continue;
        }
        c->count++;
        *closing = (Closing){.period = day_period(day),
                             .closed = rows_bool(rows, row, 1),
                             .after = arena_copy(c->arena, rows_str(rows, row, 2)),
                             .known = rows_bool(rows, row, 4),
                             .whole = rows_bool(rows, row, 5)};
        closing->dated = instant_parse(rows_str(rows, row, 3), &closing->horizon);
    }
    return ST_OK;
}

static Status check_order(const Closings *c, Error *error)
{
    char text[PERIOD_TEXT];
    for (size_t i = 0; i < c->count; i++) {
        const Closing *closing = &c->closing[i], *before = i > 0 ? closing - 1 : NULL;
        Matter matter = about(c, closing, text);
        if (before && closing->period.months != before->period.months + 1)
            TRY(matter_find(&matter, error, "the closing of the period before it is missing"));
        if (!closing->closed && i + 1 < c->count)
            TRY(matter_find(&matter, error, "it is not closed, and a later period is"));
        if (closing->closed && !str_absent(closing->after))
            TRY(matter_find(&matter, error, "it is closed, and yet its closing stopped behind %.*s",
                            (int)closing->after.n, closing->after.p));
        if (!str_absent(closing->after) && !closing->known)
            TRY(matter_find(&matter, error,
                            "its closing stopped behind the account %.*s, which is not there",
                            (int)closing->after.n, closing->after.p));
    }
    return ST_OK;
}

static Status take_horizon(void *context, const Rows *rows, int row, Error *error)
{
    Closings *c = context;
    (void)error;
    Day day;
    Instant horizon;
    Closing *closing = NULL;
    if (!day_parse(rows_str(rows, row, 0), &day)) return ST_OK; // found with the chain
    for (size_t i = 0; i < c->count; i++)
        if (c->closing[i].period.months == day_period(day).months) closing = &c->closing[i];
    if (!closing) return ST_OK; // found with the invoice
    closing->invoices++;
    if (!instant_parse(rows_str(rows, row, 1), &horizon)) closing->undated++;
    else if (closing->earliest.us == 0 || horizon.us < closing->earliest.us)
        closing->earliest = horizon;
    return ST_OK;
}

// A closing knows the earliest horizon of its batches, and each invoice that of its own. Of several
// batches the one with the earliest may have issued nothing.
static Status check_horizons(Closings *c, Error *error)
{
    char text[PERIOD_TEXT], a[INSTANT_TEXT], b[INSTANT_TEXT];
    TRY(db_stream(c->audit->db, &SQL_AUDIT_CLOSINGS_HORIZONS, 0, NULL, take_horizon, c, error));
    for (size_t i = 0; i < c->count; i++) {
        const Closing *closing = &c->closing[i];
        if (closing->invoices == closing->undated) continue; // from before horizons were kept
        Matter matter = about(c, closing, text);
        instant_format(closing->earliest, b);
        if (!closing->dated) {
            TRY(matter_find(&matter, error,
                            "its horizon is not noted; its invoices know usage up to %s", b));
            continue;
        }
        int order = instant_compare(closing->horizon, closing->earliest);
        if (order > 0 || (order < 0 && closing->whole && closing->undated == 0))
            TRY(matter_find(&matter, error, "its horizon is %s; its invoices know usage up to %s",
                            instant_format(closing->horizon, a), b));
    }
    return ST_OK;
}

// ---- accounts ----
static Status take_account(void *context, const Rows *rows, int row, Error *error)
{
    const Closings *c = context;
    Str what = rows_str(rows, row, 1);
    Matter matter = {.audit = c->audit, .check = "accounts", .account = rows_str(rows, row, 0)};
    return matter_find(&matter, error, "%.*s", (int)what.n, what.p);
}

static Status take_revision(void *context, const Rows *rows, int row, Error *error)
{
    Closings *c = context;
    Str id = rows_str(rows, row, 0);
    int64_t revision = rows_int(rows, row, 1);
    Matter matter = {.audit = c->audit, .check = "accounts", .account = id};
    Account account;
    arena_reset(c->scratch);
    if (account_parse(rows_str(rows, row, 2), c->scratch, &account, NULL) != ST_OK)
        TRY(matter_find(&matter, error,
                        "revision %" PRId64 " is not an account that was ever applied", revision));
    else if (!str_equal(account.id, id))
        TRY(matter_find(&matter, error, "revision %" PRId64 " is of the account %.*s", revision,
                        (int)account.id.n, account.id.p));
    if (rows_bool(rows, row, 3)) return ST_OK;
    return matter_find(
        &matter, error,
        "revision %" PRId64 " was applied before the one before it, or is yet to come", revision);
}

// ---- catalogues ----
static Status check_catalog(const Closings *c, const Rows *rows, int row, Catalog **before,
                            Error *error)
{
    int64_t revision = rows_int(rows, row, 0);
    char subject[32];
    snprintf(subject, sizeof subject, "revision %" PRId64, revision);
    Matter matter = {.audit = c->audit, .check = "accounts", .subject = str(subject)};
    if (revision != row + 1)
        TRY(matter_find(&matter, error, "%d was to be the next revision of the catalogue",
                        row + 1));
    if (!rows_bool(rows, row, 2))
        TRY(matter_find(&matter, error,
                        "the catalogue was applied before the one before it, or is yet to come"));
    Catalog *catalog = NULL;
    if (catalog_parse(rows_str(rows, row, 1), &catalog, NULL) != ST_OK)
        return matter_find(&matter, error, "it is not a catalogue that was ever applied");
    bool keeps = !*before || catalog_keeps_sizes(*before, catalog, NULL) == ST_OK;
    catalog_free(*before);
    *before = catalog;
    if (keeps) return ST_OK;
    return matter_find(&matter, error, "the catalogue lacks a size that the one before it has");
}

static Status check_catalogs(const Closings *c, Error *error)
{
    OWNED_ROWS Rows *rows = NULL, *state = NULL;
    OWNED_CATALOG Catalog *before = NULL;
    TRY(db_query(c->audit->db, &SQL_AUDIT_CLOSINGS_CATALOGS, 0, NULL, &rows, error));
    TRY(db_query(c->audit->db, &SQL_AUDIT_CLOSINGS_STATE, 0, NULL, &state, error));
    int n = rows_count(rows);
    for (int row = 0; row < n; row++) TRY(check_catalog(c, rows, row, &before, error));
    Matter matter = {.audit = c->audit, .check = "accounts"};
    if (rows_count(state) != 1)
        return matter_find(&matter, error, "the table state does not have its one row");
    int64_t noted = rows_int(state, 0, 0), last = n > 0 ? rows_int(rows, n - 1, 0) : 0;
    if (noted == last) return ST_OK;
    return matter_find(&matter, error,
                       "revision %" PRId64
                       " of the catalogue is noted to be in force; the newest is %" PRId64,
                       noted, last);
}

// ---- all ----
Status audit_closings(Audit *audit, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ARENA Arena *scratch = arena_new();
    Closings closings = {.audit = audit, .arena = arena, .scratch = scratch}, *c = &closings;
    TRY(list_closings(c, error));
    TRY(check_order(c, error));
    TRY(check_horizons(c, error));
    TRY(db_stream(audit->db, &SQL_AUDIT_CLOSINGS_ACCOUNTS, 0, NULL, take_account, c, error));
    TRY(db_stream(audit->db, &SQL_AUDIT_CLOSINGS_REVISIONS, 0, NULL, take_revision, c, error));
    return check_catalogs(c, error);
}
