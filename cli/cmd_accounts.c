// SPDX-License-Identifier: Apache-2.0
#include "billing/guard.h"
#include "catalog/store.h"
#include "cli/cli.h"
#include "meter/dead_letters.h"

#include <inttypes.h>
#include <stdio.h>

enum { PAGE_ACCOUNTS = 1000 };

// ---- apply ----
typedef struct Apply {
    const char *path;
    Str text;
    bool retroactive;
    size_t count, changed;
} Apply;

// Holds the catalogue still: the plans that the accounts name must be there when they are stored.
static Status apply(Db *db, void *context, Error *error)
{
    Apply *a = context;
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_CATALOG Catalog *catalog = NULL;
    int64_t revision;
    Account *accounts, *changed;
    TRY(catalog_lock_exclusive(db, &revision, error));
    TRY(catalog_load(db, &catalog, error));
    if (accounts_parse(a->text, catalog, arena, &accounts, &a->count, error) != ST_OK)
        return error_prefix(error, "%s", a->path);
    TRY(accounts_changed(db, accounts, a->count, arena, &changed, &a->changed, error));
    TRY(accounts_save(db, changed, a->changed, &a->changed, error));
    if (a->changed == 0) return ST_OK;
    Str *ids = arena_alloc(arena, a->changed * sizeof *ids);
    for (size_t i = 0; i < a->changed; i++) ids[i] = changed[i].id;
    return billing_guard(db, ids, a->changed, a->retroactive, error);
}

Status cmd_accounts_apply(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally accounts apply", "FILE",
                                "Creates and replaces accounts from a JSON file (- is "
                                "standard input), whole file or nothing; others stay as they are.",
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
    a.path = arguments[0];
    TRY(cli_read_file(a.path, JSON_FILE_BYTES_MAX, &file, error));
    a.text = buf_str(&file);
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    TRY(db_transaction(db, apply, &a, error));
    fprintf(stderr, "accounts: %zu in the file, %zu of them new or changed\n", a.count, a.changed);
    int64_t metered = 0;
    if (meter_retry_dead_letters(db, NULL, &metered, error) != ST_OK)
        return error_prefix(
            error, "the accounts are stored, but events that waited for them were not metered");
    if (metered) fprintf(stderr, "dead letters: %" PRId64 " metered\n", metered);
    return ST_OK;
}

// ---- list ----
static void add_row(Buf *out, const Account *account, Day today)
{
    Standing standing = account_standing(account, today);
    const Subscription *s = &account->subscription[standing.subscription];
    char day[DAY_TEXT];
    const char *state = account->suspended ? "suspended" : standing.active ? "active" : "no plan";
    buf_addf(out, "%-24s  %-16s  %-10s  %-9s  ", account->id.p, s->plan.p, day_format(s->from, day),
             state);
    buf_add_clean(out, account->name);
    buf_add_char(out, '\n');
}

static void add_page(Buf *out, JsonWriter *w, const Account *accounts, size_t count)
{
    Day today = instant_day(clock_now());
    for (size_t i = 0; i < count; i++) {
        if (w) jw_raw(w, NULL, accounts[i].content);
        else add_row(out, &accounts[i], today);
    }
}

// Written a page at a time, so that it does not matter how many there are.
static Status list(Db *db, bool json, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf out = {0};
    JsonWriter w = {.out = &out, .pretty = true};
    if (json) {
        jw_begin_object(&w, NULL);
        jw_begin_array(&w, "accounts");
    } else {
        buf_addf(&out, "%-24s  %-16s  %-10s  %-9s  %s\n", "ID", "PLAN", "FROM", "STATE", "NAME");
    }
    OWNED_BUF Buf last = {0};
    for (size_t count = PAGE_ACCOUNTS; count == PAGE_ACCOUNTS;) {
        Account *accounts;
        arena_reset(arena);
        TRY(accounts_load(db, buf_str(&last), PAGE_ACCOUNTS, arena, &accounts, &count, error));
        add_page(&out, json ? &w : NULL, accounts, count);
        TRY(cli_write(buf_str(&out), error));
        buf_clear(&out);
        buf_clear(&last);
        if (count > 0) buf_add_str(&last, accounts[count - 1].id);
    }
    if (!json) return ST_OK;
    jw_end_array(&w);
    jw_end_object(&w);
    buf_add_char(&out, '\n');
    return cli_write(buf_str(&out), error);
}

Status cmd_accounts_list(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally accounts list", "", "Prints the accounts in order of id.", 0,
                                0};
    int format = 0;
    const Option options[] = {
        {"format", OPTION_CHOICE, &format, .choices = "table|json",
         .help = "table (default), or JSON that accounts apply reads"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    return list(db, format == 1, error);
}
