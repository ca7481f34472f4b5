// SPDX-License-Identifier: Apache-2.0
// Cursors: check (8 bytes), then each member as length (2 bytes) and bytes, in base64url. The check
// is no secret: a cursor gives nobody more than its parameters would. It tells apart what we made,
// for this path, from what was cut, changed or made for another.
#include "api/router.h"

enum { CHECK_BYTES = 8, LENGTH_BYTES = 2, MEMBER_MAX = 0xFFFF };

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64url_add(Buf *out, Str bytes)
{
    for (size_t i = 0; i < bytes.n; i += 3) {
        size_t n = bytes.n - i < 3 ? bytes.n - i : 3;
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < n ? (unsigned char)bytes.p[i + k] : 0);
        for (size_t k = 0; k <= n; k++) buf_add_char(out, DIGITS[group >> (18 - 6 * k) & 63]);
    }
}

// Without padding, and with nothing in the bits that are left over: one text for the same bytes.
static bool base64url_decode(Str text, Buf *out)
{
    uint32_t bits = 0;
    int held = 0;
    if (text.n % 4 == 1) return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = text.p[i] ? strchr(DIGITS, text.p[i]) : NULL;
        if (!at) return false;
        bits = bits << 6 | (uint32_t)(at - DIGITS);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        buf_add_char(out, (char)(bits >> held & 0xFF));
        bits &= (UINT32_C(1) << held) - 1;
    }
    return bits == 0;
}

static Sha256 check_of(const Sha256 *scope, Str members)
{
    OWNED_BUF Buf whole = {0};
    buf_add(&whole, scope->bytes, sizeof scope->bytes);
    buf_add_str(&whole, members);
    return sha256(buf_str(&whole));
}

void cursor_encode(const Sha256 *scope, const Str *members, int n, Buf *out)
{
    OWNED_BUF Buf body = {0}, whole = {0};
    for (int i = 0; i < n; i++) {
        ASSERT(members[i].n <= MEMBER_MAX);
        buf_add_char(&body, (char)(members[i].n >> 8));
        buf_add_char(&body, (char)(members[i].n & 0xFF));
        buf_add_str(&body, members[i]);
    }
    Sha256 check = check_of(scope, buf_str(&body));
    buf_add(&whole, check.bytes, CHECK_BYTES);
    buf_add_str(&whole, buf_str(&body));
    base64url_add(out, buf_str(&whole));
}

bool cursor_decode(const Sha256 *scope, Str cursor, Arena *arena, Str *members, int n)
{
    OWNED_BUF Buf whole = {0};
    if (cursor.n > CURSOR_TEXT_MAX || !base64url_decode(cursor, &whole) || whole.n < CHECK_BYTES)
        return false;
    Str rest = {whole.p + CHECK_BYTES, whole.n - CHECK_BYTES};
    Sha256 check = check_of(scope, rest);
    if (memcmp(check.bytes, whole.p, CHECK_BYTES) != 0) return false;
    for (int i = 0; i < n; i++) {
        if (rest.n < LENGTH_BYTES) return false;
        size_t length = (size_t)(unsigned char)rest.p[0] << 8 | (unsigned char)rest.p[1];
        if (rest.n - LENGTH_BYTES < length) return false;
        members[i] = arena_copy(arena, (Str){rest.p + LENGTH_BYTES, length});
        rest.p += LENGTH_BYTES + length;
        rest.n -= LENGTH_BYTES + length;
    }
    return rest.n == 0;
}

// ---- of a call ----
static Sha256 scope_of(const Call *call)
{
    OWNED_BUF Buf scope = {0};
    buf_add_text(&scope, "tally cursor 1\n");
    buf_add_text(&scope, call->route->pattern);
    for (int i = 0; i < PATH_VARIABLES_MAX; i++) {
        buf_add_char(&scope, '\n');
        if (!str_absent(call->variable[i])) buf_add_str(&scope, call->variable[i]);
    }
    return sha256(buf_str(&scope));
}

void cursor_write(const Call *call, const Str *members, int n, Buf *out)
{
    Sha256 scope = scope_of(call);
    cursor_encode(&scope, members, n, out);
}

bool cursor_read(Call *call, Str cursor, Str *members, int n)
{
    Sha256 scope = scope_of(call);
    return cursor_decode(&scope, cursor, call->arena, members, n);
}
