// SPDX-License-Identifier: Apache-2.0
#include "api/access.h"
#include "cli/cli.h"

#include <stdio.h>

static const char ROLES[] = "orchestrator|finance|customer|admin";
static const Role ROLE_OF[] = {ROLE_ORCHESTRATOR, ROLE_FINANCE, ROLE_CUSTOMER, ROLE_ADMIN};
enum { NOTE_MAX = 200 }; // bytes

// ---- create ----
typedef struct Wish {
    int role;
    const char *account, *note;
    bool expires;
    Instant expires_at;
} Wish;

static Status read_wish(int argc, char **argv, Wish *wish, Error *error)
{
    static const Usage usage = {
        "tally tokens create", "",
        "Makes a token for the HTTP service and prints it: it cannot be shown again.", 0, 0};
    const Option options[] = {
        {"role", OPTION_CHOICE, &wish->role, .argument = "ROLE",
         .help = "orchestrator, finance, customer or admin", .choices = ROLES, .required = true},
        {"account", OPTION_TEXT, &wish->account, .argument = "ACCOUNT",
         .help = "the customer's account; for role customer alone"},
        {"expires", OPTION_INSTANT, &wish->expires_at, &wish->expires, "DATE",
         "from when on it counts no more, a date or a time; never without it"},
        {"note", OPTION_TEXT, &wish->note, .argument = "TEXT",
         .help = "who has it, and what for; shown by tokens list"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    if (wish->account && !str_is_id(str(wish->account)))
        return error_set(error, ST_BAD_INPUT, "--account: \"%.200s\" is not an account's id",
                         wish->account);
    if (wish->expires && instant_compare(wish->expires_at, clock_now()) <= 0)
        return error_set(error, ST_BAD_INPUT, "--expires: that time has passed already");
    Str note = str(wish->note);
    if (!str_absent(note) && (note.n > NOTE_MAX || !str_is_utf8(note)))
        return error_set(error, ST_BAD_INPUT, "--note: expected UTF-8 text of up to %d bytes",
                         NOTE_MAX);
    return ST_OK;
}

Status cmd_tokens_create(int argc, char **argv, Error *error)
{
    Wish wish = {0};
    char text[TOKEN_TEXT], at[INSTANT_TEXT];
    TRY(read_wish(argc, argv, &wish, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    Role role = ROLE_OF[wish.role];
    TRY(token_create(db, role, str(wish.account), wish.expires ? &wish.expires_at : NULL,
                     str(wish.note), text, error));
    Str id = token_id(str(text));
    fprintf(stderr, "token %.*s, role %s", (int)id.n, id.p, role_name(role));
    if (wish.account) fprintf(stderr, ", account %s", wish.account);
    if (wish.expires) fprintf(stderr, ", until %s", instant_format(wish.expires_at, at));
    fprintf(stderr, "; keep it now: only its hash is stored\n");
    OWNED_BUF Buf out = {0};
    buf_addf(&out, "%s\n", text);
    return cli_write(buf_str(&out), error);
}

// ---- list ----
static const char *state_of(const Token *token, Instant now)
{
    if (token->revoked) return "revoked";
    return token->expires && instant_compare(token->expires_at, now) <= 0 ? "expired" : "valid";
}

static void token_to_json(const Token *token, Instant now, JsonWriter *w)
{
    char at[INSTANT_TEXT];
    jw_begin_object(w, NULL);
    jw_str(w, "id", token->id);
    jw_text(w, "role", role_name(token->role));
    jw_str(w, "account", token->account);
    jw_text(w, "created_at", instant_format(token->created_at, at));
    jw_text(w, "expires_at", token->expires ? instant_format(token->expires_at, at) : NULL);
    jw_text(w, "revoked_at", token->revoked ? instant_format(token->revoked_at, at) : NULL);
    jw_text(w, "state", state_of(token, now));
    jw_str(w, "note", token->note);
    jw_end_object(w);
}

// To the second: a table is for people.
static char *short_format(Instant at, char out[static INSTANT_TEXT])
{
    return instant_format((Instant){at.us - at.us % US_PER_SECOND}, out);
}

static void token_to_text(const Token *token, Instant now, Buf *out)
{
    char created[INSTANT_TEXT], expires[INSTANT_TEXT] = "never";
    if (token->expires) short_format(token->expires_at, expires);
    buf_addf(out, "%-16s  %-12s  %-8s  %-20s  %-20s  %-20s  ", token->id.p, role_name(token->role),
             state_of(token, now), str_absent(token->account) ? "-" : token->account.p,
             short_format(token->created_at, created), expires);
    buf_add_clean(out, token->note);
    while (out->n > 0 && out->p[out->n - 1] == ' ') out->n--;
    buf_add_char(out, '\n');
}

Status cmd_tokens_list(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally tokens list", "",
                                "Prints the tokens, oldest first; never what they are.", 0, 0};
    enum { FORMAT_TABLE, FORMAT_JSON };
    int format = FORMAT_TABLE, none;
    const Option options[] = {
        {"format", OPTION_CHOICE, &format, .help = "default table", .choices = "table|json"},
        {0},
    };
    char **arguments;
    Token *token;
    size_t count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &none, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_ARENA Arena *arena = arena_new();
    TRY(tokens_list(db, arena, &token, &count, error));
    OWNED_BUF Buf out = {0};
    JsonWriter w = {.out = &out, .pretty = true};
    Instant now = clock_now();
    if (format == FORMAT_JSON) {
        jw_begin_array(&w, NULL);
        for (size_t i = 0; i < count; i++) token_to_json(&token[i], now, &w);
        jw_end_array(&w);
        buf_add_char(&out, '\n');
        return cli_write(buf_str(&out), error);
    }
    buf_addf(&out, "%-16s  %-12s  %-8s  %-20s  %-20s  %-20s  %s\n", "id", "role", "state",
             "account", "created", "expires", "note");
    for (size_t i = 0; i < count; i++) token_to_text(&token[i], now, &out);
    return cli_write(buf_str(&out), error);
}

// ---- revoke ----
Status cmd_tokens_revoke(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally tokens revoke", "ID",
        "Revokes a token, by its id or by itself: servers refuse it within seconds.", 1, 1};
    const Option options[] = {{0}};
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    Str id = token_id(str(arguments[0]));
    if (str_absent(id)) {
        error_set(error, ST_BAD_INPUT, "that is no token's id: expected 16 hexadecimal digits");
        error_hint(error, "tally tokens list shows them");
        return ST_BAD_INPUT;
    }
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    TRY(token_revoke(db, id, error));
    fprintf(stderr, "token %.*s is revoked; servers refuse it within seconds\n", (int)id.n, id.p);
    return ST_OK;
}
