// SPDX-License-Identifier: Apache-2.0
#include "billing/guard.h"
#include "billing/ledger.h"
#include "catalog/store.h"
#include "cli/cli.h"
#include "meter/rebuild.h"

#include <inttypes.h>
#include <stdio.h>

enum { PAGE_ACCOUNTS = 1000 };

// ---- apply ----
typedef struct Apply {
    Str text;
    Catalog *catalog;
    bool retroactive, changed;
} Apply;

static Status check_accounts(Db *db, const Catalog *catalog, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf last = {0};
    for (size_t count = PAGE_ACCOUNTS; count == PAGE_ACCOUNTS;) {
        Account *accounts;
        arena_reset(arena);
        TRY(accounts_load(db, buf_str(&last), PAGE_ACCOUNTS, arena, &accounts, &count, error));
        for (size_t i = 0; i < count; i++) TRY(account_check_plans(&accounts[i], catalog, error));
        buf_clear(&last);
        if (count > 0) buf_add_str(&last, accounts[count - 1].id);
    }
    return ST_OK;
}

// `context` is the Books.
static Status stays_as_billed(void *context, Str account, Day day, Error *error)
{
    Period period = day_period(day);
    if (!books_closed(context, period, account)) return ST_OK;
    char of[PERIOD_TEXT], on[DAY_TEXT];
    error_set(error, ST_REFUSED,
              "account %.*s: what it used on %s, in the closed period %s, would change",
              (int)account.n, account.p, day_format(day, on), period_format(period, of));
    error_hint(error, "let the change begin after the closed periods, or use --retroactive");
    return ST_REFUSED;
}

static Status count_again(Db *db, const Apply *a, const Catalog *before, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Books books;
    if (a->retroactive) return meter_rebuild(db, before, a->catalog, NULL, NULL, error);
    TRY(db_script(db, "LOCK TABLE closing IN SHARE MODE", error)); // see billing/close.c
    TRY(books_read(db, arena, &books, error));
    return meter_rebuild(db, before, a->catalog, stays_as_billed, &books, error);
}

// What was metered and what was billed are looked at last, with the new catalogue in place: usage
// is counted again where it changed, and closed periods are rated again.
static Status apply(Db *db, void *context, Error *error)
{
    Apply *a = context;
    OWNED_CATALOG Catalog *before = NULL;
    int64_t revision;
    TRY(catalog_lock_exclusive(db, &revision, error));
    Status status = catalog_load(db, &before, error);
    if (status != ST_OK && status != ST_MISSING) return status;
    if (before) TRY(catalog_keeps_sizes(before, a->catalog, error));
    TRY(check_accounts(db, a->catalog, error));
    TRY(catalog_save(db, a->text, &a->catalog->revision, error));
    a->changed = a->catalog->revision != revision;
    if (!a->changed || !before) return ST_OK;
    TRY(count_again(db, a, before, error));
    return billing_guard(db, NULL, 0, a->retroactive, error);
}

Status cmd_catalog_apply(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally catalog apply", "FILE",
                                "Replaces sizes, prices and plans by those of a JSON "
                                "file (- is standard input).",
                                1, 1};
    Apply a = {0};
    const Option options[] = {
        {"retroactive", OPTION_FLAG, &a.retroactive,
         .help = "also where closed periods are rated otherwise: adjustments follow"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_BUF Buf file = {0};
    TRY(cli_read_file(arguments[0], JSON_FILE_BYTES_MAX, &file, error));
    a.text = buf_str(&file);
    OWNED_CATALOG Catalog *catalog = NULL;
    if (catalog_parse(a.text, &catalog, error) != ST_OK)
        return error_prefix(error, "%s", arguments[0]);
    a.catalog = catalog;
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    TRY(db_transaction(db, apply, &a, error));
    fprintf(stderr, "catalogue: revision %" PRId64 "%s\n", catalog->revision,
            a.changed ? "" : ", as it was");
    return ST_OK;
}

// ---- show ----
Status cmd_catalog_show(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally catalog show", "",
                                "Prints the catalogue, or the version in force on a date, as "
                                "JSON.",
                                0, 0};
    Day on;
    bool by_date = false;
    const Option options[] = {
        {"on", OPTION_DAY, &on, .given = &by_date, .argument = "DATE",
         .help = "only the version in force then"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_BUF Buf text = {0};
    if (by_date) TRY(catalog_version_text(db, on, &text, error));
    else TRY(catalog_text(db, &text, error));
    buf_add_char(&text, '\n');
    return cli_write(buf_str(&text), error);
}
