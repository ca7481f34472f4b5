// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"
#include "meter/dead_letters.h"

#include <inttypes.h>
#include <stdio.h>

// ---- list ----
static const char STATES[] = "open|metered|discarded|all";
static const char REASONS[] =
    "malformed|invalid|unknown_type|unknown_account|unknown_size|future|conflict|rejected";
enum { PREVIEW_BYTES = 200 };

// Bytes that are not text are shown as hexadecimal; nothing is cut in JSON.
static void add_bytes(JsonWriter *w, const char *name, const char *name_hex, Str bytes)
{
    if (str_absent(bytes) || (str_is_utf8(bytes) && !memchr(bytes.p, 0, bytes.n))) {
        jw_str(w, name, bytes);
        return;
    }
    OWNED_BUF Buf hex = {0};
    for (size_t i = 0; i < bytes.n; i++) buf_addf(&hex, "%02x", (unsigned char)bytes.p[i]);
    jw_str(w, name_hex, buf_str(&hex));
}

static void letter_to_json(const DeadLetter *d, JsonWriter *w)
{
    char at[INSTANT_TEXT];
    jw_begin_object(w, NULL);
    jw_int(w, "id", d->id);
    jw_str(w, "reason", d->reason);
    jw_str(w, "detail", d->detail);
    jw_str(w, "state", d->state);
    jw_str(w, "account", d->account);
    jw_str(w, "vm", d->vm);
    if (d->has_at) jw_text(w, "time", instant_format(d->at, at));
    if (d->has_partition) {
        jw_str(w, "topic", d->topic);
        jw_int(w, "partition", d->partition);
        jw_int(w, "offset", d->position);
    } else {
        jw_str(w, "file", d->file);
        jw_int(w, "line", d->position);
    }
    jw_text(w, "arrived_at", instant_format(d->arrived_at, at));
    add_bytes(w, "key", "key_hex", d->message.key);
    add_bytes(w, "value", "value_hex", d->message.value);
    jw_begin_array(w, "headers");
    for (int h = 0; h < d->message.headers; h++) {
        jw_begin_object(w, NULL);
        add_bytes(w, "name", "name_hex", d->message.header[h].name);
        add_bytes(w, "value", "value_hex", d->message.header[h].value);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_end_object(w);
}

static void letter_to_text(const DeadLetter *d, Buf *out)
{
    buf_addf(out, "%-8" PRId64 " %-9s %-16s ", d->id, d->state.p, d->reason.p);
    if (d->has_partition)
        buf_addf(out, "%s/%" PRId64 "@%" PRId64 "  ", d->topic.p, d->partition, d->position);
    else buf_addf(out, "%s:%" PRId64 "  ", d->file.p, d->position);
    for (size_t i = 0; i < d->detail.n; i++) // what came from outside must not drive a terminal
        buf_add_char(out, (unsigned char)d->detail.p[i] < 0x20 || d->detail.p[i] == 0x7F
                              ? '?'
                              : d->detail.p[i]);
    buf_add_char(out, '\n');
}

Status cmd_dead_letters_list(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally dead-letters list", "",
                                "Lists what could not be metered, oldest first.", 0, 0};
    static const char *const states[] = {"open", "metered", "discarded", NULL};
    static const char *const reasons[] = {"malformed",       "invalid",      "unknown_type",
                                          "unknown_account", "unknown_size", "future",
                                          "conflict",        "rejected"};
    int state = 0, reason = -1, format = 0;
    const Option options[] = {
        {"state", OPTION_CHOICE, &state, .help = "default open", .choices = STATES},
        {"reason", OPTION_CHOICE, &reason, .help = "only those", .choices = REASONS},
        {"format", OPTION_CHOICE, &format, .help = "default table", .choices = "table|json"},
        {0},
    };
    char **arguments;
    int none;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &none, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_BUF Buf out = {0};
    JsonWriter w = {.out = &out, .pretty = true};
    bool json = format == 1;
    if (json) jw_begin_array(&w, NULL);
    else buf_addf(&out, "%-8s %-9s %-16s where  why\n", "id", "state", "reason");
    int64_t after = 0;
    for (size_t count = LETTERS_PAGE; count == LETTERS_PAGE;) {
        OWNED_ARENA Arena *arena = arena_new();
        DeadLetter *letters;
        TRY(dead_letters_list(db, str(states[state]), reason < 0 ? (Str){0} : str(reasons[reason]),
                              after, LETTERS_PAGE, arena, &letters, &count, error));
        for (size_t i = 0; i < count; i++) {
            if (json) letter_to_json(&letters[i], &w);
            else letter_to_text(&letters[i], &out);
            after = letters[i].id;
        }
        TRY(cli_write(buf_str(&out), error));
        buf_clear(&out);
    }
    if (json) jw_end_array(&w);
    if (json) buf_add_char(&out, '\n');
    return cli_write(buf_str(&out), error);
}

// ---- retry and discard ----
typedef struct Chosen {
    int64_t *ids;
    size_t count;
} Chosen;

static Status read_ids(char **arguments, int count, bool all, Arena *arena, Chosen *out,
                       Error *error)
{
    if (count == 0 && !all) {
        error_set(error, ST_BAD_INPUT, "which ones? give ids, or --all");
        error_hint(error, "tally dead-letters list shows them");
        return ST_BAD_INPUT;
    }
    if (count > 0 && all) return error_set(error, ST_BAD_INPUT, "give ids or --all, not both");
    out->ids = arena_alloc(arena, ((size_t)count + 1) * sizeof *out->ids);
    out->count = (size_t)count;
    for (int i = 0; i < count; i++)
        if (!str_to_int(str(arguments[i]), &out->ids[i]) || out->ids[i] <= 0)
            return error_set(error, ST_BAD_INPUT,
                             "\"%s\" is not the id of a dead letter (a positive number)",
                             arguments[i]);
    return ST_OK;
}

Status cmd_dead_letters_retry(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally dead-letters retry", "[ID...]",
        "Meters open dead letters again, by the same rules as everything else. "
        "Without ids: all.",
        0, 10000};
    bool all = false, has_as_of = false;
    Instant as_of;
    const Option options[] = {
        {"all", OPTION_FLAG, &all, .help = "all that are open (the default without ids)"},
        {"as-of", OPTION_INSTANT, &as_of, &has_as_of, "TIME", "stands in for the clock"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_ARENA Arena *arena = arena_new();
    Chosen chosen = {0};
    TRY(read_ids(arguments, count, all || count == 0, arena, &chosen, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    int64_t metered = 0;
    TRY(dead_letters_retry(db, has_as_of ? &as_of : NULL, chosen.ids, chosen.count, &metered,
                           error));
    fprintf(stderr, "%" PRId64 " dead letters are metered now\n", metered);
    return ST_OK;
}

Status cmd_dead_letters_discard(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally dead-letters discard", "[ID...]",
        "Puts open dead letters away, for good; they stay on record. Needs ids, or --all.", 0,
        10000};
    bool all = false;
    const Option options[] = {{"all", OPTION_FLAG, &all, .help = "all that are open"}, {0}};
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_ARENA Arena *arena = arena_new();
    Chosen chosen = {0};
    TRY(read_ids(arguments, count, all, arena, &chosen, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    int64_t discarded = 0;
    TRY(dead_letters_discard(db, chosen.ids, chosen.count, &discarded, error));
    fprintf(stderr, "%" PRId64 " dead letters are discarded\n", discarded);
    return ST_OK;
}
