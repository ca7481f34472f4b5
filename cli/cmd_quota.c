// SPDX-License-Identifier: Apache-2.0
#include "billing/credits.h"
#include "cli/cli.h"
#include "quota/reconcile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static Status check_id(const char *text, const char *what, Error *error)
{
    if (str_is_id(str(text))) return ST_OK;
    return error_set(error, ST_BAD_INPUT,
                     "\"%s\" is not %s id: 1 to 64 characters of A-Z a-z 0-9 . _ : -", text, what);
}

static void free_quota(Quota **quota) { quota_free(*quota); }
#define OWNED_QUOTA __attribute__((cleanup(free_quota)))

static Status decide(Db *db, const QuotaConfig *config, Ask *ask, Error *error)
{
    OWNED_QUOTA Quota *quota = quota_new(config);
    TRY(quota_decide(quota, db, ask, 1, error));
    if (ask->result != ASKED_NO_ACCOUNT) return ST_OK;
    return error_set(error, ST_MISSING, "there is no account \"%s\"", ask->account.p);
}

// ---- show ----
Status cmd_quota_show(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally quota show", "ACCOUNT",
                                "Prints an account's slots and credits, as JSON.", 1, 1};
    const Option options[] = {{0}};
    char **arguments;
    int count;
    OWNED_DB Db *db = NULL;
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf out = {0};
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    TRY(check_id(arguments[0], "an account's", error));
    TRY(cli_db(&db, error));
    Ask ask = {.kind = ASK_QUOTA, .account = str(arguments[0])};
    CreditsView view;
    TRY(credits_read(db, ask.account, NULL, arena, &view, error));
    ask.has_credits = ask.credits_fresh = true;
    ask.credits = view.credits;
    TRY(decide(db, &(QuotaConfig){.clock_skew_us = -1}, &ask, error));
    quota_json(&ask, &view.credits, &out);
    buf_add_char(&out, '\n');
    return cli_write(buf_str(&out), error);
}

// ---- release ----
Status cmd_quota_release(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally quota release", "ACCOUNT VM",
        "Frees a VM's slot at once, by hand: you vouch that it does not run. Usage still follows the "
        "events; the VM counts again when no end of its run is metered within the event delay.",
        2, 2};
    const char *reason = NULL;
    int64_t delay_s = 0;
    const Option options[] = {
        {"reason", OPTION_TEXT, &reason, .argument = "TEXT", .help = "why: it is put on record",
         .required = true},
        {"event-delay-seconds", OPTION_INT, &delay_s, .argument = "S",
         .help = "within which an end reaches Kafka (default 60)",
         .environment = "TALLY_EVENT_DELAY_SECONDS"},
        {0},
    };
    char **arguments;
    int count;
    OWNED_DB Db *db = NULL;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    TRY(check_id(arguments[0], "an account's", error));
    TRY(check_id(arguments[1], "a VM's", error));
    if (!*reason) return error_set(error, ST_BAD_INPUT, "--reason is empty");
    TRY(cli_db(&db, error));
    QuotaConfig config = {.event_delay_us = delay_s * US_PER_SECOND, .clock_skew_us = -1};
    Ask ask = {.kind = ASK_RELEASE,
               .account = str(arguments[0]),
               .vm = str(arguments[1]),
               .stopped = true,
               .reason = str(reason)};
    TRY(decide(db, &config, &ask, error));
    if (ask.result == ASKED_NO_SLOT)
        return error_set(error, ST_MISSING, "VM \"%s\" of account \"%s\" holds no slot",
                         arguments[1], arguments[0]);
    fprintf(stderr, "the slot of %s of account %s is free; %" PRId64 " in use\n", arguments[1],
            arguments[0], ask.running + ask.reserved);
    return ST_OK;
}

// ---- recount ----
Status cmd_quota_recount(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally quota recount", "",
        "Counts all accounts' slots anew, from the VMs and reservations there "
        "are. Safe while others meter and reserve.",
        0, 0};
    const Option options[] = {{0}};
    char **arguments;
    int count;
    int64_t mended = 0;
    OWNED_DB Db *db = NULL;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    TRY(cli_db(&db, error));
    TRY(quota_recount(db, &mended, error));
    fprintf(stderr, "%" PRId64 " account%s miscounted%s\n", mended, mended == 1 ? " was" : "s were",
            mended ? ", and mended" : "");
    return ST_OK;
}

// ---- reconcile ----
typedef struct Lines {
    FILE *file;
    const char *path;
    int64_t number;
    char line[RECONCILE_LINE_MAX];
} Lines;

static void close_lines(Lines *lines)
{
    if (lines->file && lines->file != stdin) (void)fclose(lines->file); // it was only read
}

static Status next_line(void *context, Str *line, bool *got, Error *error)
{
    Lines *l = context;
    size_t n = 0;
    int c;
    l->number++;
    while ((c = getc(l->file)) != EOF && c != '\n') {
        if (n == sizeof l->line)
            return error_set(error, ST_BAD_INPUT, "line %" PRId64 ": more than %d bytes", l->number,
                             RECONCILE_LINE_MAX);
        l->line[n++] = (char)c;
    }
    if (ferror(l->file)) return error_set(error, ST_BAD_INPUT, "%s", strerror(errno));
    *got = n > 0 || c != EOF;
    if (n > 0 && l->line[n - 1] == '\r') n--;
    *line = (Str){l->line, n};
    return ST_OK;
}

static void ghost_json(const Ghost *ghost, Buf *out)
{
    JsonWriter w = {.out = out};
    char at[INSTANT_TEXT];
    jw_begin_object(&w, NULL);
    jw_text(&w, "difference", difference_name(ghost->difference));
    jw_str(&w, "account", ghost->account);
    jw_str(&w, "vm", ghost->vm);
    jw_str(&w, "books_size", ghost->books_size);
    jw_str(&w, "list_size", ghost->list_size);
    jw_text(&w, "started_at", ghost->has_start ? instant_format(ghost->started_at, at) : NULL);
    jw_end_object(&w);
}

static void ghost_text(const Ghost *ghost, Buf *out)
{
    char at[INSTANT_TEXT];
    const char *since = ghost->has_start ? instant_format(ghost->started_at, at) : "";
    const char *account = ghost->account.p, *vm = ghost->vm.p;
    switch (ghost->difference) {
    case ONLY_IN_BOOKS:
        buf_addf(out, "only in the books  %s  %s  %s, since %s", account, vm, ghost->books_size.p,
                 since);
        break;
    case ONLY_IN_LIST:
        buf_addf(out, "only in the list   %s  %s  %s", account, vm, ghost->list_size.p);
        break;
    case OTHER_SIZE:
        buf_addf(out, "other size         %s  %s  %s in the books, %s in the list", account, vm,
                 ghost->books_size.p, ghost->list_size.p);
        break;
    }
}

typedef struct Printing {
    bool json;
    Buf out;
} Printing;

static Status print_ghost(void *context, const Ghost *ghost, Error *error)
{
    Printing *p = context;
    buf_clear(&p->out);
    if (p->json) ghost_json(ghost, &p->out);
    else ghost_text(ghost, &p->out);
    buf_add_char(&p->out, '\n');
    return cli_write(buf_str(&p->out), error);
}

Status cmd_reconcile(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally reconcile", "FILE",
        "Compares what runs by the books with the orchestrator's own list, {\"account\",\"vm\",\"size\"} a "
        "line (- is standard input). Ends with 1 where they differ.",
        1, 1};
    int format = 0;
    const Option options[] = {
        {"format", OPTION_CHOICE, &format, .argument = "F",
         .help = "text (default) or json, a line each", .choices = "text|json"},
        {0},
    };
    char **arguments;
    int argument_count;
    OWNED_DB Db *db = NULL;
    OWNED_QUOTA Quota *quota = NULL;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &argument_count, error));
    const char *path = arguments[0];
    __attribute__((cleanup(close_lines))) Lines lines = {.path = path};
    lines.file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!lines.file) return error_set(error, ST_BAD_INPUT, "%s: %s", path, strerror(errno));
    TRY(cli_db(&db, error));
    quota = quota_new(&(QuotaConfig){.clock_skew_us = -1});
    Printing printing = {.json = format == 1};
    ReconcileCount count;
    Status status = quota_reconcile(quota, db, next_line, &lines, print_ghost, &printing, &count,
                                    error);
    buf_free(&printing.out);
    if (status == ST_BAD_INPUT) return error_prefix(error, "%s", path);
    TRY(status);
    fprintf(stderr,
            "%" PRId64 " VMs in the list, %" PRId64 " run by the books, %" PRId64 " difference%s\n",
            count.listed, count.running, count.differences, count.differences == 1 ? "" : "s");
    if (count.differences == 0) return ST_OK;
    return error_set(error, ST_FATAL, "the books and the list differ");
}
