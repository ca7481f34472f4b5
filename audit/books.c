// SPDX-License-Identifier: Apache-2.0
// Accounts come in batches. Their terms, old and new, and the catalogues that their invoices name
// are read at once; what was issued to them is streamed, one account after the other, and gone
// through in the order of issue.
#include "audit/books.h"

#include "audit/audit_sql.h"

#include <stdarg.h>
#include <stdio.h>

enum { SENTENCE_MAX = 2048 };

Status matter_find(const Matter *matter, Error *error, const char *format, ...)
{
    char text[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ASSERT(n >= 0);
    Finding finding = {.check = matter->check,
                       .account = matter->account,
                       .subject = matter->subject,
                       .what = str(text),
                       .in_money = matter->in_money,
                       .overcharged = matter->overcharged,
                       .pending = matter->pending};
    return audit_find(matter->audit, &finding, error);
}

// An account in one revision.
typedef struct Revision {
    Str account;
    bool now;
    int64_t number;
    bool readable;
    Account value;
} Revision;

typedef struct Batch {
    Audit *audit;
    const Recounted *accounts;
    size_t n, at;       // the account that is gathered
    Arena *arena;       // for the batch
    Revision *revision; // by account, old ones before the one of now, by number
    size_t revisions, next_revision;
    Catalog **catalog; // by revision; NULL where it cannot be read
    int64_t *catalog_revision;
    size_t catalogs;
    Rows *unsettled; // by account
    int next_unsettled;
    Arena *own; // for the account
    Ledger ledger;
    const Revision *first, *end; // the account's
} Batch;

// ---- loading ----
static Status load_revisions(Batch *b, const Str *ids, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(b->audit->side, &SQL_AUDIT_BOOKS_ACCOUNTS, 1, ids, &rows, error));
    b->revisions = (size_t)rows_count(rows);
    b->revision = arena_alloc(b->arena, (b->revisions + 1) * sizeof *b->revision);
    for (int row = 0; row < rows_count(rows); row++) {
        Revision *revision = &b->revision[row];
        *revision = (Revision){.account = arena_copy(b->arena, rows_str(rows, row, 0)),
                               .number = rows_int(rows, row, 1),
                               .now = rows_bool(rows, row, 2)};
        revision->readable = account_parse(rows_str(rows, row, 3), b->arena, &revision->value,
                                           NULL) == ST_OK;
        revision->value.revision = revision->number;
    }
    return ST_OK;
}

static Status load_catalogs(Batch *b, const Str *ids, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(b->audit->side, &SQL_AUDIT_BOOKS_CATALOGS, 1, ids, &rows, error));
    size_t n = (size_t)rows_count(rows);
    b->catalog = arena_alloc(b->arena, (n + 1) * sizeof *b->catalog);
    b->catalog_revision = arena_alloc(b->arena, (n + 1) * sizeof *b->catalog_revision);
    for (; b->catalogs < n; b->catalogs++) {
        int row = (int)b->catalogs;
        Catalog *catalog = NULL;
        b->catalog_revision[row] = rows_int(rows, row, 0);
        if (catalog_parse(rows_str(rows, row, 1), &catalog, NULL) != ST_OK) continue;
        catalog->revision = b->catalog_revision[row];
        b->catalog[row] = catalog;
    }
    return ST_OK;
}

static Revisions revisions_of(const Batch *b, const Kept *kept)
{
    Revisions out = {0};
    for (const Revision *r = b->first; r < b->end; r++)
        if (!r->now && r->number == kept->account_revision && r->readable) out.account = &r->value;
    for (size_t i = 0; i < b->catalogs; i++)
        if (b->catalog_revision[i] == kept->catalog_revision) out.catalog = b->catalog[i];
    return out;
}

// ---- an account ----
static void begin_account(Batch *b)
{
    arena_reset(b->own);
    Str id = b->accounts[b->at].account;
    ledger_begin(&b->ledger, b->audit, id, b->own);
    while (b->next_revision < b->revisions &&
           str_compare(b->revision[b->next_revision].account, id) < 0)
        b->next_revision++;
    b->first = &b->revision[b->next_revision];
    while (b->next_revision < b->revisions && str_equal(b->revision[b->next_revision].account, id))
        b->next_revision++;
    b->end = &b->revision[b->next_revision];
}

// From when on something may have changed, and whether a row says so of all; false where nothing
// has.
static bool unsettled_since(Batch *b, Day *since, bool *whole)
{
    Str id = b->accounts[b->at].account;
    int n = rows_count(b->unsettled), *row = &b->next_unsettled;
    while (*row < n && str_compare(rows_str(b->unsettled, *row, 0), id) < 0) (*row)++;
    bool found = *row < n && str_equal(rows_str(b->unsettled, *row, 0), id);
    *whole = found && !rows_null(b->unsettled, *row, 2) && rows_bool(b->unsettled, *row, 2);
    return found && day_parse(rows_str(b->unsettled, *row, 1), since);
}

static Status end_account(Batch *b, Error *error)
{
    Day since;
    const Recounted *used = &b->accounts[b->at];
    const Day *unsettled = unsettled_since(b, &since, &b->ledger.whole) ? &since : NULL;
    Matter matter = {.audit = b->audit, .check = "accounts", .account = used->account};
    const Account *now = NULL;
    for (const Revision *r = b->first; r < b->end; r++)
        if (r->now && r->readable) now = &r->value;
    if (!now) return matter_find(&matter, error, "the account is not there, or cannot be read");
    if (account_check_plans(now, b->audit->catalog, NULL) != ST_OK)
        return matter_find(&matter, error, "the account has a plan that the catalogue lacks");
    return books_periods(&b->ledger, now, used, unsettled, error);
}

static Status next_account(Batch *b, Error *error)
{
    TRY(end_account(b, error));
    b->at++;
    if (b->at < b->n) begin_account(b);
    return ST_OK;
}

// ---- what was issued ----
static Status take_issued(void *context, const Rows *rows, int row, Error *error)
{
    Batch *b = context;
    while (!str_equal(b->accounts[b->at].account, rows_str(rows, row, 0)))
        TRY(next_account(b, error));
    Stored stored;
    stored_read(rows, row, true, b->own, &stored);
    if (stored.wrong) return ST_OK; // found with the chain
    if (!stored.credit_note) {
        Rating rated;
        rate(&stored.in, b->own, &rated);
        TRY(books_rating(&b->ledger, &stored, &rated, error));
        TRY(books_terms(&b->ledger, &stored, &rated, revisions_of(b, &stored.kept), error));
    }
    return ledger_enter(&b->ledger, &stored, error);
}

static Status go_through(Batch *b, const Str *ids, Error *error)
{
    TRY(load_revisions(b, ids, error));
    TRY(load_catalogs(b, ids, error));
    TRY(db_query(b->audit->side, &SQL_AUDIT_BOOKS_UNSETTLED, 1, ids, &b->unsettled, error));
    begin_account(b);
    TRY(db_stream(b->audit->side, &SQL_AUDIT_BOOKS_INVOICES, 1, ids, take_issued, b, error));
    while (b->at < b->n) TRY(next_account(b, error));
    return ST_OK;
}

Status audit_books(Audit *audit, const Recounted *accounts, size_t n, Error *error)
{
    if (n == 0) return ST_OK;
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ARENA Arena *own = arena_new();
    OWNED_BUF Buf ids = {0};
    array_begin(&ids);
    for (size_t i = 0; i < n; i++) array_add(&ids, accounts[i].account);
    array_end(&ids);
    Batch batch = {.audit = audit, .accounts = accounts, .n = n, .arena = arena, .own = own};
    Status status = go_through(&batch, &(Str){ids.p, ids.n}, error);
    for (size_t i = 0; i < batch.catalogs; i++) catalog_free(batch.catalog[i]);
    rows_free(batch.unsettled);
    return status;
}
