// SPDX-License-Identifier: Apache-2.0
#include "api/server_parts.h"

#include "base/random.h"

#include <strings.h>

enum { ID_BYTES = 16, IDS_AHEAD = 256 };

// ---- targets ----
bool target_split(Str target, Str *path, Str *query)
{
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];
        if (c <= ' ' || c >= 0x7F || c == '#') return false;
    }
    bool absolute = false;
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen(schemes[i]);
        if (absolute || target.n <= n || strncasecmp(target.p, schemes[i], n) != 0) continue;
        const char *p = target.p + n, *end = target.p + target.n;
        while (p < end && *p != '/' && *p != '?') p++;
        absolute = true;
        target = p < end ? (Str){p, (size_t)(end - p)} : STR("/");
    }
    const char *mark = target.n ? memchr(target.p, '?', target.n) : NULL;
    *path = (Str){target.p, mark ? (size_t)(mark - target.p) : target.n};
    *query = mark ? (Str){mark + 1, target.n - path->n - 1} : (Str){0};
    if (path->n == 0 && mark && absolute) *path = STR("/");
    return (path->n > 0 && path->p[0] == '/') || str_is(*path, "*");
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool percent_decode(Str in, bool plus, Buf *out)
{
    size_t before = out->n;
    bool fine = true;
    for (size_t i = 0; i < in.n && fine; i++) {
        char c = in.p[i];
        if (c == '%') {
            int high = in.n - i > 2 ? hex_digit(in.p[i + 1]) : -1;
            int low = in.n - i > 2 ? hex_digit(in.p[i + 2]) : -1;
            fine = high >= 0 && low >= 0 && (high | low) != 0;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) c = ' ';
        if (fine) buf_add_char(out, c);
    }
    if (out->n > before) fine = fine && str_is_utf8((Str){out->p + before, out->n - before});
    if (!fine && out->n > before) {
        out->n = before;
        out->p[before] = '\0';
    }
    return fine;
}

bool query_next(Str *query, Str *name, Str *value)
{
    while (query->n > 0) {
        const char *end = memchr(query->p, '&', query->n);
        Str part = {query->p, end ? (size_t)(end - query->p) : query->n};
        size_t used = part.n + (end ? 1 : 0);
        query->p += used;
        query->n -= used;
        if (part.n == 0) continue; // "a=1&&b=2"
        const char *equals = memchr(part.p, '=', part.n);
        *name = (Str){part.p, equals ? (size_t)(equals - part.p) : part.n};
        *value = equals ? (Str){equals + 1, part.n - name->n - 1} : STR("");
        return true;
    }
    return false;
}

// ---- headers ----
bool header_is(Str name, const char *lower_case)
{
    return name.n == strlen(lower_case) && strncasecmp(name.p, lower_case, name.n) == 0;
}

bool header_is_sane(Str name, Str value)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7F) return false;
    }
    return name.n > 0;
}

static bool is_hex(Str s) // of lower case, as the standard wants it
{
    for (size_t i = 0; i < s.n; i++)
        if (hex_digit(s.p[i]) < 0 || (s.p[i] >= 'A' && s.p[i] <= 'F')) return false;
    return true;
}

static bool is_zero(Str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '0') return false;
    return true;
}

Str trace_id(Str traceparent)
{
    static const char shape[] = "00-TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT-SSSSSSSSSSSSSSSS-FF";
    Str t = traceparent;
    if (!t.p || t.n != sizeof shape - 1 || memcmp(t.p, "00-", 3) != 0) return (Str){0};
    Str trace = {t.p + 3, TRACE_ID_BYTES}, span = {t.p + 36, 16}, flags = {t.p + 53, 2};
    if (t.p[35] != '-' || t.p[52] != '-') return (Str){0};
    if (!is_hex(trace) || !is_hex(span) || !is_hex(flags)) return (Str){0};
    return is_zero(trace) || is_zero(span) ? (Str){0} : trace;
}

// ---- request ids ----
bool request_id_is_sane(Str id)
{
    return str_is_id(id) && !memchr(id.p, ':', id.n); // an id but for ':'
}

void request_id_make(char out[static REQUEST_ID_TEXT])
{
    // Many at a time: a call of the system's for each would be a request's dearest step.
    static _Thread_local unsigned char ahead[IDS_AHEAD * ID_BYTES];
    static _Thread_local size_t left;
    if (left == 0) {
        random_bytes(ahead, sizeof ahead);
        left = IDS_AHEAD;
    }
    const unsigned char *id = ahead + --left * ID_BYTES;
    for (size_t i = 0; i < ID_BYTES; i++) {
        out[2 * i] = "0123456789abcdef"[id[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
    }
    out[2 * ID_BYTES] = '\0';
}
