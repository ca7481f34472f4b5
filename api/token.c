// SPDX-License-Identifier: Apache-2.0
// Tokens: made, listed, revoked, and read from a header. "tally_", an id of 16 hexadecimal digits,
// "_", and 64 hexadecimal digits of a secret of 32 random bytes, whose hash alone is stored. The
// secret is random to the last bit, so a hash without salt and stretching is enough.
#include "api/access.h"
#include "api/api_sql.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

enum {
    ID_BYTES = 8,
    SECRET_BYTES = 32,
    ID_DIGITS = 2 * ID_BYTES,
    SECRET_DIGITS = 2 * SECRET_BYTES
};
#define PREFIX "tally_"
static const char BEARER[] = "Bearer";

// ---- roles ----
static const struct {
    Role role;
    const char *name;
} ROLES[] = {{ROLE_ORCHESTRATOR, "orchestrator"},
             {ROLE_FINANCE, "finance"},
             {ROLE_CUSTOMER, "customer"},
             {ROLE_ADMIN, "admin"}};
enum { ROLES_COUNT = sizeof ROLES / sizeof *ROLES };

const char *role_name(Role role)
{
    for (int i = 0; i < ROLES_COUNT; i++)
        if (ROLES[i].role == role) return ROLES[i].name;
    return "anyone";
}

bool role_parse(Str name, Role *out)
{
    for (int i = 0; i < ROLES_COUNT; i++) {
        if (!str_is(name, ROLES[i].name)) continue;
        *out = ROLES[i].role;
        return true;
    }
    return false;
}

// ---- texts ----
// Exactly `bytes` bytes from twice as many lower-case hexadecimal digits.
static bool hex_parse(const char *text, size_t bytes, uint8_t *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 2 * bytes; i++) {
        const char *at = text[i] ? strchr(digits, text[i]) : NULL;
        if (!at) return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | (at - digits));
    }
    return true;
}

static char *hex_format(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        int written = snprintf(out + 2 * i, 3, "%02x", bytes[i]);
        ASSERT(written == 2);
    }
    return out;
}

static bool id_parse(const char *text, uint64_t *id)
{
    uint8_t bytes[ID_BYTES] = {0};
    if (!hex_parse(text, ID_BYTES, bytes)) return false;
    *id = 0;
    for (int i = 0; i < ID_BYTES; i++) *id = *id << 8 | bytes[i];
    return true;
}

void token_id_format(uint64_t id, char out[static TOKEN_ID_TEXT])
{
    int n = snprintf(out, TOKEN_ID_TEXT, "%016" PRIx64, id);
    ASSERT(n == ID_DIGITS);
}

Str token_id(Str text)
{
    size_t prefix = strlen(PREFIX);
    uint64_t id;
    if (text.n == ID_DIGITS && id_parse(text.p, &id)) return text;
    if (text.n < prefix + ID_DIGITS || memcmp(text.p, PREFIX, prefix) != 0 ||
        !id_parse(text.p + prefix, &id))
        return (Str){0};
    return (Str){text.p + prefix, ID_DIGITS};
}

bool token_parse(Str text, uint64_t *id, Sha256 *hash)
{
    size_t prefix = strlen(PREFIX);
    uint8_t secret[SECRET_BYTES] = {0};
    if (text.n != prefix + ID_DIGITS + 1 + SECRET_DIGITS) return false;
    if (memcmp(text.p, PREFIX, prefix) != 0 || text.p[prefix + ID_DIGITS] != '_') return false;
    if (!id_parse(text.p + prefix, id)) return false;
    if (!hex_parse(text.p + prefix + ID_DIGITS + 1, SECRET_BYTES, secret)) return false;
    *hash = sha256((Str){(const char *)secret, sizeof secret});
    return true;
}

bool bearer_parse(Str authorization, uint64_t *id, Sha256 *hash)
{
    size_t n = strlen(BEARER);
    if (authorization.n <= n || strncasecmp(authorization.p, BEARER, n) != 0) return false;
    Str token = {authorization.p + n, authorization.n - n};
    if (token.p[0] != ' ') return false;
    while (token.n > 0 && token.p[0] == ' ') token.p++, token.n--;
    while (token.n > 0 && token.p[token.n - 1] == ' ') token.n--;
    return token_parse(token, id, hash);
}

bool hash_equal(const Sha256 *a, const Sha256 *b)
{
    volatile uint8_t differ = 0;
    for (int i = 0; i < SHA256_BYTES; i++) differ = (uint8_t)(differ | (a->bytes[i] ^ b->bytes[i]));
    return differ == 0;
}

// ---- stored ones ----
Status token_create(Db *db, Role role, Str account, const Instant *expires, Str note,
                    char text[static TOKEN_TEXT], Error *error)
{
    bool customer = role == ROLE_CUSTOMER;
    if (customer && str_absent(account))
        return error_set(error, ST_BAD_INPUT, "a customer's token needs its account");
    if (!customer && !str_absent(account))
        return error_set(error, ST_BAD_INPUT, "a token of role %s is for no single account",
                         role_name(role));
    uint8_t id[ID_BYTES], secret[SECRET_BYTES];
    char id_text[ID_DIGITS + 1], secret_text[SECRET_DIGITS + 1], hash_text[SHA256_TEXT];
    random_bytes(id, sizeof id);
    random_bytes(secret, sizeof secret);
    hex_format(id, sizeof id, id_text);
    Sha256 hash = sha256((Str){(const char *)secret, sizeof secret});
    OWNED_ARENA Arena *arena = arena_new();
    const Str params[] = {str(id_text),
                          str(sha256_format(&hash, hash_text)),
                          str(role_name(role)),
                          account,
                          str_absent(note) ? STR("") : note,
                          expires ? param_instant(arena, *expires) : (Str){0}};
    int64_t added = 0;
    TRY(db_run(db, &SQL_API_TOKEN_ADD, 6, params, &added, error));
    if (added == 0)
        return error_set(error, ST_MISSING, "there is no account \"%.*s\"", (int)account.n,
                         account.p);
    int n = snprintf(text, TOKEN_TEXT, PREFIX "%s_%s", id_text,
                     hex_format(secret, sizeof secret, secret_text));
    ASSERT(n > 0 && n < TOKEN_TEXT);
    return ST_OK;
}

Status tokens_list(Db *db, Arena *arena, Token **out, size_t *count, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_API_TOKEN_LIST, 0, NULL, &rows, error));
    *count = (size_t)rows_count(rows);
    *out = arena_alloc(arena, *count * sizeof **out);
    for (int row = 0; row < (int)*count; row++) {
        Token *token = &(*out)[row];
        token->id = arena_copy(arena, rows_str(rows, row, 0));
        ASSERT(role_parse(rows_str(rows, row, 1), &token->role));
        token->account = arena_copy(arena, rows_str(rows, row, 2));
        token->note = arena_copy(arena, rows_str(rows, row, 3));
        token->created_at = rows_instant(rows, row, 4);
        token->expires = !rows_null(rows, row, 5);
        if (token->expires) token->expires_at = rows_instant(rows, row, 5);
        token->revoked = !rows_null(rows, row, 6);
        if (token->revoked) token->revoked_at = rows_instant(rows, row, 6);
    }
    return ST_OK;
}

Status token_revoke(Db *db, Str id, Error *error)
{
    int64_t changed = 0;
    TRY(db_run(db, &SQL_API_TOKEN_REVOKE, 1, &id, &changed, error));
    if (changed > 0) return ST_OK;
    error_set(error, ST_MISSING, "there is no token %.*s", (int)id.n, id.p);
    error_hint(error, "tally tokens list shows them");
    return ST_MISSING;
}
