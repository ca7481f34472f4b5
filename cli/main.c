// SPDX-License-Identifier: Apache-2.0
// The one binary: finds the command, runs it, says what went wrong, once, and exits as the Status
// asks.
#include "cli/cli.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>

static const Command COMMANDS[] = {
    {NULL, "migrate", cmd_migrate,
     "brings the schema up to date; safe to run twice, or twice at once"},
    {"catalog", "apply", cmd_catalog_apply, "replaces sizes, prices and plans by a file's"},
    {"catalog", "show", cmd_catalog_show, "prints the catalogue"},
    {"accounts", "apply", cmd_accounts_apply, "creates and replaces accounts from a file"},
    {"accounts", "list", cmd_accounts_list, "prints the accounts"},
    {NULL, "meter", cmd_meter, "meters events from Kafka, or from a file"},
    {NULL, "usage", cmd_usage, "prints what an account used"},
    {"invoices", "preview", cmd_invoices_preview, "prints a period as it would be billed now"},
    {"invoices", "close", cmd_invoices_close, "closes a period and issues its invoices"},
    {"invoices", "void", cmd_invoices_void, "takes an invoice back by a credit note"},
    {"invoices", "list", cmd_invoices_list, "prints a period's invoices"},
    {"invoices", "show", cmd_invoices_show, "prints one invoice"},
    {NULL, "explain", cmd_explain, "explains an invoice down to the events it came from"},
    {NULL, "audit", cmd_audit, "proves what was metered and billed"},
    {"dead-letters", "list", cmd_dead_letters_list, "prints what could not be metered"},
    {"dead-letters", "count", cmd_dead_letters_count, "counts what could not be metered"},
    {"dead-letters", "retry", cmd_dead_letters_retry, "meters again what could not be metered"},
    {"dead-letters", "discard", cmd_dead_letters_discard, "gives up what cannot be metered"},
    {NULL, "serve", cmd_serve, "serves quota, usage and invoices over HTTP"},
    {"quota", "show", cmd_quota_show, "prints an account's slots and who holds them"},
    {"quota", "recount", cmd_quota_recount, "counts all slots anew"},
    {"quota", "release", cmd_quota_release, "gives a VM's slot back by hand, on record"},
    {NULL, "reconcile", cmd_reconcile, "compares what runs with the orchestrator's own list"},
    {"tokens", "create", cmd_tokens_create, "makes a token for the HTTP service"},
    {"tokens", "list", cmd_tokens_list, "prints the tokens, never what they are"},
    {"tokens", "revoke", cmd_tokens_revoke, "ends a token"},
    {NULL, "estimate", cmd_estimate, "prints the price before the bill"},
    {NULL, "simulate", cmd_simulate, "writes a made-up fleet's events"},
};
enum { COMMANDS_COUNT = sizeof COMMANDS / sizeof *COMMANDS, WORD_MAX = 32, COLUMN = 24 };

static bool in_group(const Command *command, const char *group)
{
    return command->group && strcmp(command->group, group) == 0;
}

// ---- help ----
static void print_commands(const char *group)
{
    for (int i = 0; i < COMMANDS_COUNT; i++) {
        const Command *c = &COMMANDS[i];
        char words[2 * WORD_MAX];
        if (group && !in_group(c, group)) continue;
        snprintf(words, sizeof words, "%s%s%s", c->group ? c->group : "", c->group ? " " : "",
                 c->name);
        printf("  %-*s%s\n", COLUMN, words, c->summary);
    }
}

static int print_help(const char *group)
{
    printf("usage: tally %s%sCOMMAND [ARGUMENTS] [OPTIONS]\n\n", group ? group : "",
           group ? " " : "");
    if (!group) printf("Meters cloud sandbox VMs, guards their quotas and bills them.\n\n");
    printf("commands:\n");
    print_commands(group);
    printf(
        "\ntally COMMAND --help shows a command's options; tally --version the version.\n"
        "Exit status: 0 done, 1 failed, 2 bad usage or bad input, 3 refused by a rule.\n");
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

// ---- finding the command ----
// Edits (a letter more, less or other) from one word to the other.
static int distance(const char *from, const char *to)
{
    size_t n = strlen(to);
    int row[WORD_MAX + 1];
    if (n > WORD_MAX || strlen(from) > WORD_MAX) return WORD_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = (int)j;
    for (size_t i = 1; *from; i++, from++) {
        int corner = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int best = corner + (*from != to[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

// The word nearest to what was typed, among those that may stand there; NULL where none is near.
static const char *nearest(const char *group, const char *typed)
{
    const char *best = NULL;
    int least = (int)strlen(typed) / 2 + 1;
    for (int i = 0; i < COMMANDS_COUNT; i++) {
        const Command *c = &COMMANDS[i];
        if (group && !in_group(c, group)) continue;
        const char *word = !group && c->group ? c->group : c->name;
        int edits = distance(typed, word);
        if (edits >= least) continue;
        least = edits;
        best = word;
    }
    return best;
}

static Status unknown(const char *group, const char *typed, Error *error)
{
    const char *space = group ? " " : "", *before = group ? group : "";
    if (!typed) {
        error_set(error, ST_BAD_INPUT, "which of the commands of tally %s?", before);
        error_hint(error, "see tally %s --help", before);
        return ST_BAD_INPUT;
    }
    const char *near = nearest(group, typed);
    error_set(error, ST_BAD_INPUT, "\"%s%s%.200s\" is not a command", before, space, typed);
    if (near) error_hint(error, "did you mean tally %s%s%s?", before, space, near);
    else error_hint(error, "see tally %s%s--help", before, space);
    return ST_BAD_INPUT;
}

static const Command *find(const char *group, const char *name)
{
    for (int i = 0; i < COMMANDS_COUNT; i++) {
        const Command *c = &COMMANDS[i];
        bool here = group ? in_group(c, group) : !c->group;
        if (here && strcmp(c->name, name) == 0) return c;
    }
    return NULL;
}

static bool is_group(const char *word)
{
    for (int i = 0; i < COMMANDS_COUNT; i++)
        if (in_group(&COMMANDS[i], word)) return true;
    return false;
}

// ---- the program ----
static int finish(Status status, const Error *error)
{
    if (status == ST_OK) return 0;
    fprintf(stderr, "tally: %s\n", error->text[0] ? error->text : status_name(status));
    if (error->hint[0]) fprintf(stderr, "  %s\n", error->hint);
    return status_exit_code(status);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

enum { KEPT_BYTES = 32 * 1024 * 1024 };

int main(int argc, char **argv)
{
    Error error = {0};
    // A reader that went away is an error of the write, not the end of the process.
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) return 1;
    // Batches come and go at the same size: memory given back to the system would be asked for
    // again at once, page by page.
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES); // only a hint: not every allocator takes it
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    if (argc < 2) {
        error_set(&error, ST_BAD_INPUT, "which command?");
        error_hint(&error, "see tally --help");
        return finish(ST_BAD_INPUT, &error);
    }
    if (is_help(argv[1])) return print_help(NULL);
    if (strcmp(argv[1], "--version") == 0) {
        printf("tally %s\n", TALLY_VERSION);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    const char *group = is_group(argv[1]) ? argv[1] : NULL;
    int word = group ? 2 : 1;
    if (group && argc > word && is_help(argv[word])) return print_help(group);
    const Command *command = argc > word ? find(group, argv[word]) : NULL;
    if (!command) return finish(unknown(group, argc > word ? argv[word] : NULL, &error), &error);
    return finish(command->run(argc - word, argv + word, &error), &error);
}
