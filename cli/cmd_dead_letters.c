// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"
#include "meter/dead_letters.h"

#include <inttypes.h>
#include <stdio.h>

// ---- which ones ----
static const char STATES[] = "open|metered|discarded|all";
static const char REASONS[] =
    "malformed|invalid|unknown_type|unknown_account|unknown_size|future|conflict|rejected";
enum { IDS_MAX = 10000 };

// What the options say; a reason below 0 is any.
typedef struct Asked {
    int state, reason;
    const char *account, *vm, *topic, *file;
    LetterFilter filter;
} Asked;

// The rows of every command here.
#define FILTERS(asked)                                                                             \
    {"reason", OPTION_CHOICE, &(asked).reason, .help = "only those", .choices = REASONS},          \
        {"account", OPTION_TEXT, &(asked).account, .argument = "ACCOUNT",                          \
         .help = "only those of this account, where it could be read"},                            \
        {"vm", OPTION_TEXT, &(asked).vm, .argument = "VM", .help = "only those of this VM"},       \
        {"topic", OPTION_TEXT, &(asked).topic, .argument = "NAME",                                 \
         .help = "only those of this Kafka topic"},                                                \
        {"file", OPTION_TEXT, &(asked).file, .argument = "FILE",                                   \
         .help = "only those of this file, named as it was to tally meter"},                       \
        {"since",                                                                                  \
         OPTION_INSTANT,                                                                           \
         &(asked).filter.since,                                                                    \
         .given = &(asked).filter.has_since,                                                       \
         .argument = "TIME",                                                                       \
         .help = "only those that arrived then or later"},                                         \
    {                                                                                              \
        "until", OPTION_INSTANT, &(asked).filter.until, .given = &(asked).filter.has_until,        \
                                                        .argument = "TIME",                        \
                                                        .help = "only those that arrived before"   \
    }
#define LIMIT(asked)                                                                               \
    {                                                                                              \
        "limit", OPTION_INT, &(asked).filter.limit, &(asked).filter.has_limit, "N",                \
            "the first so many, in order of arrival"                                               \
    }

static Str given(const char *text) { return text ? str(text) : (Str){0}; }

static Status take_asked(Asked *asked, char **ids, int count, Arena *arena, Error *error)
{
    LetterFilter *filter = &asked->filter;
    filter->account = given(asked->account);
    filter->vm = given(asked->vm);
    filter->topic = given(asked->topic);
    filter->file = given(asked->file);
    if (asked->reason >= 0) filter->reason = str(dead_reason_name((DeadReason)asked->reason + 1));
    int64_t *number = arena_alloc(arena, ((size_t)count + 1) * sizeof *number);
    for (int i = 0; i < count; i++)
        if (!str_to_int(str(ids[i]), &number[i]) || number[i] <= 0)
            return error_set(error, ST_BAD_INPUT,
                             "\"%s\" is not the id of a dead letter (a positive number)", ids[i]);
    filter->ids = number;
    filter->ids_count = (size_t)count;
    return ST_OK;
}

static void take_state(Asked *asked)
{
    static const char *const states[] = {"open", "metered", "discarded"};
    if (asked->state < 3) asked->filter.state = str(states[asked->state]);
}

// Whether anything says which ones; a limit alone does not.
static bool is_narrow(const LetterFilter *f)
{
    return f->ids_count || !str_absent(f->reason) || !str_absent(f->account) ||
           !str_absent(f->vm) || !str_absent(f->topic) || !str_absent(f->file) || f->has_since ||
           f->has_until;
}

// ---- list ----
enum { LIST_PIECE_BYTES = 256 * 1024 };

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
    buf_add_clean(out, d->detail);
    buf_add_char(out, '\n');
}

typedef struct Listing {
    Buf *out;
    JsonWriter *json; // NULL: as a table
} Listing;

static Status list_letter(void *context, const DeadLetter *letter, Error *error)
{
    Listing *l = context;
    if (l->json) letter_to_json(letter, l->json);
    else letter_to_text(letter, l->out);
    if (l->out->n < LIST_PIECE_BYTES) return ST_OK;
    TRY(cli_write(buf_str(l->out), error));
    buf_clear(l->out);
    return ST_OK;
}

Status cmd_dead_letters_list(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally dead-letters list", "[ID...]",
                                "Lists what could not be metered, oldest first.", 0, IDS_MAX};
    Asked asked = {.reason = -1};
    int format = 0;
    bool has_state = false;
    const Option options[] = {
        {"state", OPTION_CHOICE, &asked.state, &has_state,
         .help = "default open; all where ids are given", .choices = STATES},
        FILTERS(asked),
        LIMIT(asked),
        {"format", OPTION_CHOICE, &format, .help = "default table", .choices = "table|json"},
        {0},
    };
    char **ids;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &ids, &count, error));
    OWNED_ARENA Arena *arena = arena_new();
    TRY(take_asked(&asked, ids, count, arena, error));
    if (has_state || count == 0) take_state(&asked);
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_BUF Buf out = {0};
    JsonWriter w = {.out = &out, .pretty = true};
    bool json = format == 1;
    Listing listing = {&out, json ? &w : NULL};
    if (json) jw_begin_array(&w, NULL);
    else buf_addf(&out, "%-8s %-9s %-16s where  why\n", "id", "state", "reason");
    TRY(dead_letters_list(db, &asked.filter, list_letter, &listing, error));
    if (json) jw_end_array(&w);
    if (json) buf_add_char(&out, '\n');
    return cli_write(buf_str(&out), error);
}

// ---- count ----
Status cmd_dead_letters_count(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally dead-letters count", "",
                                "Counts what could not be metered, by reason and by what became "
                                "of it.",
                                0, 0};
    Asked asked = {.reason = -1, .state = 3};
    int format = 0;
    const Option options[] = {
        {"state", OPTION_CHOICE, &asked.state, .help = "default all", .choices = STATES},
        FILTERS(asked),
        {"format", OPTION_CHOICE, &format, .help = "default table", .choices = "table|json"},
        {0},
    };
    char **none;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &none, &count, error));
    OWNED_ARENA Arena *arena = arena_new();
    TRY(take_asked(&asked, NULL, 0, arena, error));
    take_state(&asked);
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    LetterCount *counts;
    size_t n;
    TRY(dead_letters_count(db, &asked.filter, arena, &counts, &n, error));
    OWNED_BUF Buf out = {0};
    JsonWriter w = {.out = &out, .pretty = true};
    bool json = format == 1;
    if (json) jw_begin_array(&w, NULL);
    else buf_addf(&out, "%-16s %-9s  count\n", "reason", "state");
    for (size_t i = 0; i < n; i++) {
        if (!json) {
            buf_addf(&out, "%-16s %-9s  %" PRId64 "\n", counts[i].reason.p, counts[i].state.p,
                     counts[i].letters);
            continue;
        }
        jw_begin_object(&w, NULL);
        jw_str(&w, "reason", counts[i].reason);
        jw_str(&w, "state", counts[i].state);
        jw_int(&w, "count", counts[i].letters);
        jw_end_object(&w);
    }
    if (json) jw_end_array(&w);
    if (json) buf_add_char(&out, '\n');
    return cli_write(buf_str(&out), error);
}

// ---- retry and discard ----
static Status not_both(const Asked *asked, bool all, Error *error)
{
    if (!all || !is_narrow(&asked->filter)) return ST_OK;
    return error_set(error, ST_BAD_INPUT, "say which ones, or --all, not both");
}

Status cmd_dead_letters_retry(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally dead-letters retry", "[ID...]",
        "Meters open dead letters again, by the same rules as everything else. "
        "Where nothing says which ones: all.",
        0, IDS_MAX};
    Asked asked = {.reason = -1};
    bool all = false, has_as_of = false;
    Instant as_of;
    const Option options[] = {
        FILTERS(asked),
        LIMIT(asked),
        {"all", OPTION_FLAG, &all, .help = "all that are open (the default)"},
        {"as-of", OPTION_INSTANT, &as_of, &has_as_of, "TIME", "stands in for the clock"},
        {0},
    };
    char **ids;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &ids, &count, error));
    OWNED_ARENA Arena *arena = arena_new();
    TRY(take_asked(&asked, ids, count, arena, error));
    TRY(not_both(&asked, all, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    int64_t metered = 0;
    TRY(dead_letters_retry(db, has_as_of ? &as_of : NULL, &asked.filter, &metered, error));
    fprintf(stderr, "%" PRId64 " dead letters are metered now\n", metered);
    return ST_OK;
}

Status cmd_dead_letters_discard(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally dead-letters discard", "[ID...]",
        "Puts open dead letters away, for good; they stay on record. Needs to be told which ones, "
        "or --all.",
        0, IDS_MAX};
    Asked asked = {.reason = -1};
    bool all = false;
    const Option options[] = {
        FILTERS(asked),
        LIMIT(asked),
        {"all", OPTION_FLAG, &all, .help = "all that are open"},
        {0},
    };
    char **ids;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &ids, &count, error));
    OWNED_ARENA Arena *arena = arena_new();
    TRY(take_asked(&asked, ids, count, arena, error));
    TRY(not_both(&asked, all, error));
    if (!all && !is_narrow(&asked.filter)) {
        error_set(error, ST_BAD_INPUT, "which ones? give ids, a filter (--reason ...), or --all");
        error_hint(error, "tally dead-letters list shows them");
        return ST_BAD_INPUT;
    }
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    int64_t discarded = 0;
    TRY(dead_letters_discard(db, &asked.filter, &discarded, error));
    fprintf(stderr, "%" PRId64 " dead letters are discarded\n", discarded);
    return ST_OK;
}
