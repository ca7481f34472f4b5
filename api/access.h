// SPDX-License-Identifier: Apache-2.0
// api/access: tokens, and who they are. A token is "tally_" + id + "_" + secret; only the secret's
// SHA-256 is stored, and compared in constant time. The service keeps what it looked up for a
// moment: a revocation takes effect within ACCESS_FRESH_MS.
#pragma once

#include "api/api.h"
#include "base/sha256.h"

enum {
    TOKEN_TEXT = 96,
    TOKEN_ID_TEXT = 17,      // 16 digits
    ACCESS_FRESH_MS = 2000,  // how old a looked-up token may be
    ACCESS_AWAY_MS = 60000,  // the same while the database is away; unused ones are forgotten then
    ACCESS_REFUSED_MS = 250, // how long an id that there is not is remembered
    ACCESS_KEPT_MAX = 100000,
    ACCESS_QUEUE_MAX = 10000, // who waits to be looked up; beyond: ACCESS_UNKNOWN
};

// ---- for tally tokens ----
typedef struct Token {
    Str id, account, note; // account absent: none
    Role role;
    Instant created_at;
    bool expires, revoked;
    Instant expires_at, revoked_at;
} Token;
// The id within a token's text, or the text itself where it is an id; absent: it is neither.
Str token_id(Str text);
// Makes one; `text` is what its owner keeps, and is nowhere else. ST_MISSING: no such account.
// ST_BAD_INPUT: a customer without an account, another role with one.
Status token_create(Db *db, Role role, Str account, const Instant *expires, Str note,
                    char text[static TOKEN_TEXT], Error *error) MUST_USE;
Status tokens_list(Db *db, Arena *arena, Token **out, size_t *count, Error *error) MUST_USE;
Status token_revoke(Db *db, Str id, Error *error) MUST_USE; // ST_MISSING: no such token
const char *role_name(Role role);
bool role_parse(Str name, Role *out);

// What a token's text holds: its id, and what its secret must hash to. False: it is no token.
bool token_parse(Str text, uint64_t *id, Sha256 *hash);
// The same of an Authorization header's value, "Bearer" and a token (RFC 6750).
bool bearer_parse(Str authorization, uint64_t *id, Sha256 *hash);
void token_id_format(uint64_t id, char out[static TOKEN_ID_TEXT]);
// In constant time.
bool hash_equal(const Sha256 *a, const Sha256 *b);

// ---- for the service ----
typedef struct Access Access;
// A thread and a connection of its own; starts with the database away, too.
Status access_start(const Db *db, Access **out, Error *error) MUST_USE;
void access_stop(Access *access);

typedef enum AccessResult {
    ACCESS_GRANTED,
    ACCESS_REFUSED, // no such token, wrong secret, expired, revoked
    ACCESS_UNKNOWN, // the database is away, and nothing fresh enough is kept
} AccessResult;
// Who this is ("Bearer ..." header's value). Calls `found` at once where it is known, else later,
// in the access thread. Never waits for the database.
typedef void (*AccessFn)(void *context, AccessResult result, const Caller *caller);
void access_check(Access *access, Str authorization, AccessFn found, void *context);
bool access_away(Access *access); // the database was not there when it was last asked
