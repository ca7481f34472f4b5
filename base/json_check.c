// SPDX-License-Identifier: Apache-2.0
// The strict half of reading JSON: RFC 8259's grammar and what base/json.h adds to it, in one pass
// without recursion, before cJSON sees a byte. cJSON by itself accepts much that is not JSON
// (control characters, "01", trailing bytes) and cuts strings at an escaped NUL.
#include "base/json_check.h"

typedef struct Scan {
    const unsigned char *p, *begin, *end;
    JsonNumbers *numbers;
    Error *error;
} Scan;

static Status bad(Scan *s, const char *what)
{
    return error_set(s->error, ST_BAD_INPUT, "%s at byte %zu", what, (size_t)(s->p - s->begin));
}

static void skip_space(Scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take_hex4(Scan *s, unsigned *out)
{
    if (s->end - s->p < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; i++, s->p++) {
        unsigned char c = *s->p;
        unsigned digit = c >= '0' && c <= '9'   ? c - '0' + 0u
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16;
        if (digit > 15) return false;
        *out = *out * 16 + digit;
    }
    return true;
}

static Status check_unicode_escape(Scan *s)
{
    unsigned unit, low;
    if (!take_hex4(s, &unit)) return bad(s, "a \\u without four hexadecimal digits");
    if (unit == 0) return bad(s, "an escaped NUL");
    if (unit >= 0xDC00 && unit <= 0xDFFF) return bad(s, "a lone surrogate");
    if (unit < 0xD800 || unit > 0xDBFF) return ST_OK;
    if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u') return bad(s, "a lone surrogate");
    s->p += 2;
    if (!take_hex4(s, &low) || low < 0xDC00 || low > 0xDFFF) return bad(s, "a lone surrogate");
    return ST_OK;
}

static Status check_string(Scan *s) // at the opening quote
{
    for (s->p++; s->p < s->end;) {
        unsigned char c = *s->p++;
        if (c == '"') return ST_OK;
        if (c < 0x20) {
            s->p--;
            return bad(s, "a control character in a string");
        }
        if (c != '\\') continue;
        if (s->p == s->end) break;
        c = *s->p++;
        if (c == 'u') TRY(check_unicode_escape(s));
        else if (!strchr("\"\\/bfnrt", c) || !c) return bad(s, "an unknown escape");
    }
    return bad(s, "a string without an end");
}

static bool take_digit_run(Scan *s)
{
    const unsigned char *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') s->p++;
    return s->p > from;
}

static Status check_number(Scan *s)
{
    bool whole = true;
    const unsigned char *begin = s->p;
    if (*s->p == '-') s->p++;
    const unsigned char *from = s->p;
    if (!take_digit_run(s)) return bad(s, "a number without digits");
    if (*from == '0' && s->p - from > 1) return bad(s, "a number with a leading zero");
    if (s->p < s->end && *s->p == '.') {
        whole = false;
        s->p++;
        if (!take_digit_run(s)) return bad(s, "a number without digits after its point");
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
        whole = false;
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) s->p++;
        if (!take_digit_run(s)) return bad(s, "a number without digits in its exponent");
    }
    size_t length = (size_t)(s->p - begin);
    if (length > s->numbers->longest) s->numbers->longest = length;
    s->numbers->count++;
    if (!whole) s->numbers->fractional++;
    return ST_OK;
}

static Status check_word(Scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return ST_OK;
        }
    }
    return bad(s, "not JSON");
}

static Status check_member_name(Scan *s)
{
    skip_space(s);
    if (s->p == s->end || *s->p != '"') return bad(s, "no member name");
    TRY(check_string(s));
    skip_space(s);
    if (s->p == s->end || *s->p != ':') return bad(s, "no ':' after a member name");
    s->p++;
    return ST_OK;
}

// After a value: closes what ends here and steps over a ','. Sets *done at the end of the top
// value.
static Status after_value(Scan *s, const char *open, int *depth, bool *done)
{
    for (;;) {
        skip_space(s);
        if (*depth == 0) {
            *done = true;
            return s->p == s->end ? ST_OK : bad(s, "something after the end");
        }
        if (s->p == s->end) return bad(s, "an unexpected end");
        unsigned char closing = open[*depth - 1] == '{' ? '}' : ']';
        if (*s->p == closing) {
            s->p++;
            (*depth)--;
            continue;
        }
        if (*s->p != ',') return bad(s, "neither ',' nor an end");
        s->p++;
        return open[*depth - 1] == '{' ? check_member_name(s) : ST_OK;
    }
}

Status json_check(Str text, JsonNumbers *numbers, Error *error)
{
    *numbers = (JsonNumbers){0};
    if (!text.p) text = STR("");
    Scan scan = {(const unsigned char *)text.p, (const unsigned char *)text.p,
                 (const unsigned char *)text.p + text.n, numbers, error};
    Scan *s = &scan;
    if (text.n >= 3 && memcmp(text.p, "\xEF\xBB\xBF", 3) == 0) return bad(s, "a byte order mark");
    if (memchr(text.p, 0, text.n)) return error_set(error, ST_BAD_INPUT, "a NUL byte");
    if (!str_is_utf8(text)) return error_set(error, ST_BAD_INPUT, "not UTF-8");
    skip_space(s);
    if (s->p == s->end || *s->p != '{') return bad(s, "not a JSON object");

    char open[JSON_DEPTH_MAX];
    int depth = 0;
    for (bool done = false; !done;) {
        skip_space(s);
        if (s->p == s->end) return bad(s, "an unexpected end");
        unsigned char c = *s->p;
        if (c == '{' || c == '[') {
            if (depth == JSON_DEPTH_MAX) return bad(s, "nested deeper than 32");
            open[depth++] = (char)c;
            s->p++;
            skip_space(s);
            bool empty = s->p < s->end && *s->p == (c == '{' ? '}' : ']');
            if (!empty && c == '{') TRY(check_member_name(s));
            if (!empty) continue;
        } else if (c == '"') {
            TRY(check_string(s));
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            TRY(check_number(s));
        } else {
            TRY(check_word(s));
        }
        TRY(after_value(s, open, &depth, &done));
    }
    return ST_OK;
}
