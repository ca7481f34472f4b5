// SPDX-License-Identifier: Apache-2.0
// api/router: the pure parts of a request's way: which route a path is, what a parameter's text is,
// what Accept asks for, what a cursor is made of. Texts in, values out; no I/O.
#pragma once

#include "api/api.h"
#include "base/sha256.h"

enum { ALLOW_TEXT = 64, WHY_TEXT = 160, CURSOR_TEXT_MAX = 1024, CURSOR_MEMBERS_MAX = 8 };

typedef struct Match {
    const Route *route;               // NULL: no route has this path and method
    char allow[ALLOW_TEXT];           // the methods that the path knows; "": it is unknown
    Str variable[PATH_VARIABLES_MAX]; // as sent
} Match;
// Matches whole segments of the path as it was sent; "{name}.json" wants the suffix, and something
// before it. HEAD counts as GET. `routes` end with a NULL method.
void route_match(const Route *routes, const char *method, Str path, Match *out);
// Decodes what was matched, in place; false where it has bad percent-encoding, a NUL or bad UTF-8.
bool match_decode(Match *match, Arena *arena);

// Reads one parameter's value into its target; else false, and `why` says what was expected.
bool param_read(const Param *param, Str value, Arena *arena, char why[static WHY_TEXT]);
// Whether Accept (absent: anything) puts `media_type` above application/json. Where both have the
// same quality, the one that is named wins over the one that only a range covers; else JSON.
bool accept_prefers(Str accept, const char *media_type);
// application/json or application/*+json, any case, parameters allowed.
bool media_is_json(Str content_type);

// A cursor over members, bound to `scope`.
void cursor_encode(const Sha256 *scope, const Str *members, int n, Buf *out);
bool cursor_decode(const Sha256 *scope, Str cursor, Arena *arena, Str *members, int n);
