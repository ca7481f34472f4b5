// SPDX-License-Identifier: Apache-2.0
// See router.h.
#include "api/router.h"

#include "api/server_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

// ---- paths ----
// The next segment of what is left of a path or a pattern, behind its "/"; false: there is none.
static bool next_segment(Str *rest, Str *segment)
{
    if (rest->n == 0 || rest->p[0] != '/') return false;
    const char *from = rest->p + 1, *end = rest->p + rest->n;
    const char *slash = memchr(from, '/', (size_t)(end - from));
    *segment = (Str){from, (size_t)((slash ? slash : end) - from)};
    *rest = (Str){segment->p + segment->n, (size_t)(end - segment->p - segment->n)};
    return true;
}

// "{name}" fits any segment but an empty one, "{name}.json" one with that suffix.
static bool fits(Str pattern, Str segment, Str *variable)
{
    const char *close = pattern.n > 0 && pattern.p[0] == '{' ? memchr(pattern.p, '}', pattern.n)
                                                             : NULL;
    if (!close) return str_equal(pattern, segment);
    Str suffix = {close + 1, (size_t)(pattern.p + pattern.n - close - 1)};
    if (segment.n <= suffix.n) return false;
    *variable = (Str){segment.p, segment.n - suffix.n};
    return suffix.n == 0 || memcmp(segment.p + variable->n, suffix.p, suffix.n) == 0;
}

static bool path_fits(const char *pattern, Str path, Str variable[static PATH_VARIABLES_MAX])
{
    Str left = str(pattern), want, got;
    int variables = 0;
    while (next_segment(&left, &want)) {
        if (!next_segment(&path, &got)) return false;
        Str found = {0};
        if (!fits(want, got, &found)) return false;
        if (str_absent(found)) continue;
        ASSERT(variables < PATH_VARIABLES_MAX);
        variable[variables++] = found;
    }
    return path.n == 0;
}

static void allow_add(Match *match, const char *method)
{
    char all[ALLOW_TEXT];
    size_t n = strlen(method);
    for (const char *at = match->allow; (at = strstr(at, method)); at += n)
        if (at[n] == '\0' || at[n] == ',') return; // "GET, HEAD": no method ends with another
    const char *head = strcmp(method, "GET") == 0 ? ", HEAD" : "";
    int written = snprintf(all, sizeof all, "%s%s%s%s", match->allow, match->allow[0] ? ", " : "",
                           method, head);
    ASSERT(written > 0 && written < ALLOW_TEXT);
    memcpy(match->allow, all, sizeof all);
}

void route_match(const Route *routes, const char *method, Str path, Match *out)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *out = (Match){0};
    for (const Route *route = routes; route->method; route++) {
        Str variable[PATH_VARIABLES_MAX] = {{0}};
        if (!path_fits(route->pattern, path, variable)) continue;
        allow_add(out, route->method);
        if (strcmp(route->method, wanted) != 0) continue;
        out->route = route;
        memcpy(out->variable, variable, sizeof variable);
        return;
    }
}

bool match_decode(Match *match, Arena *arena)
{
    OWNED_BUF Buf decoded = {0};
    for (int i = 0; i < PATH_VARIABLES_MAX; i++) {
        if (str_absent(match->variable[i])) continue;
        buf_clear(&decoded);
        if (!percent_decode(match->variable[i], false, &decoded)) return false;
        match->variable[i] = arena_copy(arena, buf_str(&decoded));
    }
    return true;
}

// ---- parameters ----
static bool choice_read(const char *choices, Str value, int *out)
{
    for (int i = 0; *choices; i++) {
        size_t n = strcspn(choices, "|");
        if (n == value.n && memcmp(choices, value.p, n) == 0) {
            *out = i;
            return true;
        }
        choices += n + (choices[n] == '|');
    }
    return false;
}

bool param_read(const Param *param, Str value, Arena *arena, char why[static WHY_TEXT])
{
    int64_t integer;
    int64_t most = param->most ? param->most : CURSOR_TEXT_MAX;
    int n = 0;
    switch (param->kind) {
    case PARAM_INSTANT:
        if (instant_or_day_parse(value, param->target)) return true;
        n = snprintf(why, WHY_TEXT,
                     "expected a time (2026-10-03T12:34:56Z) or a date (2026-10-03)");
        break;
    case PARAM_CHOICE:
        if (choice_read(param->choices, value, param->target)) return true;
        n = snprintf(why, WHY_TEXT, "expected one of %s", param->choices);
        break;
    case PARAM_INT:
        if (str_to_int(value, &integer) && integer >= param->least && integer <= param->most) {
            *(int64_t *)param->target = integer;
            return true;
        }
        n = snprintf(why, WHY_TEXT, "expected a whole number from %" PRId64 " to %" PRId64,
                     param->least, param->most);
        break;
    case PARAM_TEXT:
        if ((int64_t)value.n >= param->least && (int64_t)value.n <= most) {
            *(Str *)param->target = arena_copy(arena, value);
            return true;
        }
        n = snprintf(why, WHY_TEXT, "expected text of %" PRId64 " to %" PRId64 " bytes",
                     param->least, most);
        break;
    case PARAM_ID:
        if (str_is_id(value)) {
            *(Str *)param->target = arena_copy(arena, value);
            return true;
        }
        n = snprintf(why, WHY_TEXT, "expected 1 to 64 letters, digits and . _ : -");
        break;
    }
    ASSERT(n > 0 && n < WHY_TEXT);
    return false;
}

// ---- Accept ----
static bool same_text(Str a, const char *b)
{
    return a.n == strlen(b) && strncasecmp(a.p, b, a.n) == 0;
}

static Str trimmed(Str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

// What stands before the next `mark`; `rest` moves behind it. False: nothing is left.
static bool next_part(Str *rest, char mark, Str *part)
{
    if (rest->n == 0) return false;
    const char *at = memchr(rest->p, mark, rest->n);
    size_t n = at ? (size_t)(at - rest->p) : rest->n;
    *part = trimmed((Str){rest->p, n});
    *rest = (Str){rest->p + n + (at != NULL), rest->n - n - (at != NULL)};
    return true;
}

// "0.5" in thousandths; what is no quality value counts as 0.
static int quality_parse(Str text)
{
    enum { WHOLE = 1000 };
    if (text.n == 0 || text.n > 5 || text.p[0] < '0' || text.p[0] > '1') return 0;
    if (text.n > 1 && text.p[1] != '.') return 0;
    int value = (text.p[0] - '0') * WHOLE, step = WHOLE / 10;
    for (size_t i = 2; i < text.n; i++, step /= 10) {
        if (text.p[i] < '0' || text.p[i] > '9') return 0;
        value += (text.p[i] - '0') * step;
    }
    return value <= WHOLE ? value : 0;
}

typedef struct Quality {
    int value;     // thousandths; -1: not covered
    int precision; // 2 named, 1 "text/*", 0 "*/*"
} Quality;

// How precisely a media range covers a type; -1: not at all.
static int covers(Str range, const char *type)
{
    size_t head = strcspn(type, "/") + 1;
    if (same_text(range, type)) return 2;
    if (range.n == head + 1 && range.p[head] == '*' && strncasecmp(range.p, type, head) == 0)
        return 1;
    return same_text(range, "*/*") ? 0 : -1;
}

static Quality quality_of(Str accept, const char *type)
{
    Quality best = {-1, -1};
    for (Str item; next_part(&accept, ',', &item);) {
        Str range, parameter;
        if (!next_part(&item, ';', &range)) continue;
        int value = 1000, precision = covers(range, type);
        while (next_part(&item, ';', &parameter))
            if (parameter.n >= 2 && (parameter.p[0] | 0x20) == 'q' && parameter.p[1] == '=')
                value = quality_parse((Str){parameter.p + 2, parameter.n - 2});
        if (precision > best.precision) best = (Quality){value, precision};
    }
    return best;
}

bool accept_prefers(Str accept, const char *media_type)
{
    if (str_absent(accept)) return false;
    Quality other = quality_of(accept, media_type), json = quality_of(accept, "application/json");
    if (other.value <= 0) return false;
    if (other.value != json.value) return other.value > json.value;
    return other.precision > json.precision;
}

bool media_is_json(Str content_type)
{
    Str type, head = STR("application/"), tail = STR("+json");
    if (str_absent(content_type) || !next_part(&content_type, ';', &type)) return false;
    if (same_text(type, "application/json")) return true;
    return type.n > head.n + tail.n && strncasecmp(type.p, head.p, head.n) == 0 &&
           strncasecmp(type.p + type.n - tail.n, tail.p, tail.n) == 0;
}
