// SPDX-License-Identifier: Apache-2.0
// tally explain: an invoice down to its runs, their events, and where each of them stands.
#include "audit/explain.h"
#include "catalog/store.h"
#include "cli/cli.h"

#include <unistd.h>

enum { FORMAT_TEXT, FORMAT_JSON };
enum { RUNS_ON_TERMINAL = 20 }; // a screenful; a file takes all

typedef struct ExplainCall {
    Str number;
    int format;
    int64_t runs_max;
    bool begun;
} ExplainCall;

static Status print_piece(void *context, Str piece, Error *error)
{
    ((ExplainCall *)context)->begun = true;
    return cli_write(piece, error);
}

static Status explain(Db *db, void *context, Error *error)
{
    ExplainCall *call = context;
    if (call->begun) return error_set(error, ST_FATAL, "what is printed cannot be printed again");
    OWNED_CATALOG Catalog *catalog = NULL;
    OWNED_ARENA Arena *arena = arena_new();
    Explained *explained = NULL;
    TRY(catalog_load(db, &catalog, error));
    TRY(explain_load(db, catalog, call->number, arena, &explained, error));
    if (call->format == FORMAT_JSON) return explain_json(db, explained, print_piece, call, error);
    return explain_text(db, explained, call->runs_max, print_piece, call, error);
}

Status cmd_explain(int argc, char **argv, Error *error)
{
    ExplainCall call = {.runs_max = isatty(STDOUT_FILENO) ? RUNS_ON_TERMINAL : INT64_MAX};
    char **arguments = NULL;
    int count = 0;
    Instant as_of = {0};
    const Usage usage = {
        "tally explain", "NUMBER",
        "Explains an invoice or a credit note: each line down to the events that it came from.", 1,
        1};
    const Option options[] = {
        {"format", OPTION_CHOICE, &call.format, .argument = "text|json", .help = "default text",
         .choices = "text|json"},
        {"runs", OPTION_INT, &call.runs_max, .argument = "N",
         .help = "print at most N runs as text (default 20 on a terminal, else all)"},
        {"as-of", OPTION_INSTANT, &as_of, .argument = "TIME",
         .help = "has no effect: what was issued does not change, and what is known is everything"},
        {0},
    };
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    call.number = str(arguments[0]);
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    return db_snapshot(db, explain, &call, error);
}
