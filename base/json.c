// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include "base/json_check.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>

#define INTEGER_MAX INT64_C(9007199254740991) // 2^53 - 1: 2^53 is also what 2^53 + 1 reads as

enum {
    NUMBER_IS_FRACTIONAL = 1 << 12, // a bit of cJSON's `type` that it leaves alone
    NUMBER_BYTES_MAX = 63,          // cJSON cuts what is longer, and then fails
    SMALL_OBJECT = 12,
};

// ---- duplicate keys ----
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *duplicate_in(const cJSON *object)
{
    size_t count = json_count(object);
    if (count <= SMALL_OBJECT) {
        for (const cJSON *a = object->child; a; a = a->next)
            for (const cJSON *b = a->next; b; b = b->next)
                if (strcmp(a->string, b->string) == 0) return a->string;
        return NULL;
    }
    const char **names = mem_alloc(count * sizeof *names);
    size_t i = 0;
    for (const cJSON *a = object->child; a; a = a->next) names[i++] = a->string;
    qsort(names, count, sizeof *names, compare_names);
    const char *found = NULL;
    for (i = 1; i < count && !found; i++)
        if (strcmp(names[i - 1], names[i]) == 0) found = names[i];
    free(names);
    return found;
}

static const char *duplicate_below(const cJSON *json) // depth is bounded by the check
{
    const char *found = cJSON_IsObject(json) ? duplicate_in(json) : NULL;
    for (const cJSON *e = json->child; e && !found; e = e->next)
        if (e->child) found = duplicate_below(e);
    return found;
}

// ---- numbers ----
// The next number at or after *p in a text that was checked, outside of strings; *p moves behind
// it.
static char *next_number(char **p, const char *end)
{
    bool in_string = false;
    for (; *p < end; (*p)++) {
        if (in_string && **p == '\\') (*p)++;
        else if (**p == '"') in_string = !in_string;
        else if (!in_string && (**p == '-' || (**p >= '0' && **p <= '9'))) break;
    }
    char *number = *p;
    while (*p < end && strchr("+-.0123456789eE", **p)) (*p)++;
    return number;
}

// What is too long for cJSON is out of json_integer's range or not written as an integer: any
// fraction stands in for it.
static void shorten_numbers(char *text, const char *end)
{
    for (char *p = text; p < end;) {
        char *number = next_number(&p, end);
        if (p - number <= NUMBER_BYTES_MAX) continue;
        memset(number, ' ', (size_t)(p - number));
        memcpy(number, "0.5", 3);
    }
}

// Marks the numbers written with a fraction or exponent: the n-th number of the tree is the n-th of
// the text.
static void mark_fractional(cJSON *json, char **p, const char *end)
{
    for (cJSON *e = json->child; e; e = e->next) {
        if (e->child) mark_fractional(e, p, end);
        if (!cJSON_IsNumber(e)) continue;
        for (const char *c = next_number(p, end); c < *p; c++)
            if (strchr(".eE", *c)) e->type |= NUMBER_IS_FRACTIONAL;
    }
}

static Status parse_checked(char *text, size_t n, const JsonNumbers *numbers, cJSON **out,
                            Error *error)
{
    bool shorten = numbers->longest > NUMBER_BYTES_MAX;
    if (shorten) shorten_numbers(text, text + n);
    const char *end = NULL;
    cJSON *tree = cJSON_ParseWithLengthOpts(text, n, &end, false);
    if (!tree) return error_set(error, ST_BAD_INPUT, "not JSON");
    const char *duplicate = duplicate_below(tree);
    if (duplicate) {
        Status status = error_set(error, ST_BAD_INPUT,
                                  "the key \"%.200s\" stands twice in one object", duplicate);
        cJSON_Delete(tree);
        return status;
    }
    if (shorten || numbers->fractional) mark_fractional(tree, &text, text + n);
    *out = tree;
    return ST_OK;
}

Status json_parse(Str text, size_t bytes_max, Json **out, Error *error)
{
    if (text.n > bytes_max)
        return error_set(error, ST_BAD_INPUT, "%zu bytes, more than %zu", text.n, bytes_max);
    JsonNumbers numbers;
    TRY(json_check(text, &numbers, error));
    // Only where a number must be shortened is the text written to, and then it is a copy.
    if (numbers.longest <= NUMBER_BYTES_MAX)
        return parse_checked((char *)text.p, text.n, &numbers, out, error);
    OWNED_BUF Buf copy = {0};
    buf_add_str(&copy, text);
    return parse_checked(copy.p, copy.n, &numbers, out, error);
}

void json_free(Json *json) { cJSON_Delete(json); }

const Json *json_get(const Json *object, const char *name)
{
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(member) ? NULL : member;
}

bool json_is_object(const Json *json) { return cJSON_IsObject(json); }
bool json_is_array(const Json *json) { return cJSON_IsArray(json); }
bool json_is_null(const Json *json) { return cJSON_IsNull(json); }

bool json_text(const Json *json, Str *out)
{
    if (!cJSON_IsString(json)) return false;
    *out = str(json->valuestring);
    return true;
}

bool json_integer(const Json *json, int64_t *out)
{
    if (!cJSON_IsNumber(json) || (json->type & NUMBER_IS_FRACTIONAL)) return false;
    if (!(fabs(json->valuedouble) <= (double)INTEGER_MAX)) return false;
    *out = (int64_t)json->valuedouble;
    return true;
}

bool json_bool(const Json *json, bool *out)
{
    if (!cJSON_IsBool(json)) return false;
    *out = cJSON_IsTrue(json);
    return true;
}

const Json *json_first(const Json *container) { return container ? container->child : NULL; }
const Json *json_next(const Json *element) { return element->next; }
const char *json_name(const Json *member) { return member->string; }

size_t json_count(const Json *container)
{
    size_t count = 0;
    for (const cJSON *e = container ? container->child : NULL; e; e = e->next) count++;
    return count;
}

bool json_equal(const Json *a, const Json *b) // depth is bounded by the check
{
    int64_t x, y;
    if ((a->type & 0xFF) != (b->type & 0xFF)) return false; // the kind; above are flags
    if (cJSON_IsNumber(a)) return json_integer(a, &x) && json_integer(b, &y) && x == y;
    if (cJSON_IsString(a)) return strcmp(a->valuestring, b->valuestring) == 0;
    if (json_count(a) != json_count(b)) return false;
    bool object = cJSON_IsObject(a);
    const cJSON *other = b->child;
    for (const cJSON *e = a->child; e; e = e->next, other = other->next) {
        const cJSON *same = object ? cJSON_GetObjectItemCaseSensitive(b, e->string) : other;
        if (!same || !json_equal(e, same)) return false;
    }
    return true;
}

void json_print(const Json *json, Buf *out)
{
    char *text = cJSON_PrintUnformatted(json);
    if (!text) {
        buf_add_text(out, "?");
        return;
    }
    buf_add_text(out, text);
    cJSON_free(text);
}

// ---- writing ----
void json_quote(Buf *out, Str s)
{
    static const char hex[] = "0123456789abcdef";
    buf_add_char(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7F) continue;
        buf_add(out, s.p + from, i - from);
        from = i + 1;
        const char *at = strchr("\"\"\\\\\bb\ff\nn\rr\tt", c);
        if (c && at && (c == '"' || c == '\\' || c < 0x20)) {
            buf_add_char(out, '\\');
            buf_add_char(out, at[1]);
        } else {
            char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buf_add(out, escape, sizeof escape);
        }
    }
    buf_add(out, s.p + from, s.n - from);
    buf_add_char(out, '"');
}

static void new_line(JsonWriter *w)
{
    if (!w->pretty) return;
    buf_add_char(w->out, '\n');
    for (int i = 0; i < w->depth; i++) buf_add_text(w->out, "  ");
}

static void before_value(JsonWriter *w, const char *name)
{
    uint64_t bit = UINT64_C(1) << w->depth;
    if (w->depth > 0) {
        if (w->filled & bit) buf_add_char(w->out, ',');
        new_line(w);
    }
    w->filled |= bit;
    if (!name) return;
    json_quote(w->out, str(name));
    buf_add_text(w->out, w->pretty ? ": " : ":");
}

static void begin(JsonWriter *w, const char *name, char bracket)
{
    before_value(w, name);
    buf_add_char(w->out, bracket);
    ASSERT(w->depth < 62);
    w->depth++;
    w->filled &= ~(UINT64_C(1) << w->depth);
}

static void end(JsonWriter *w, char bracket)
{
    bool filled = w->filled & (UINT64_C(1) << w->depth);
    ASSERT(w->depth > 0);
    w->depth--;
    if (filled) new_line(w);
    buf_add_char(w->out, bracket);
}

void jw_begin_object(JsonWriter *w, const char *name) { begin(w, name, '{'); }
void jw_end_object(JsonWriter *w) { end(w, '}'); }
void jw_begin_array(JsonWriter *w, const char *name) { begin(w, name, '['); }
void jw_end_array(JsonWriter *w) { end(w, ']'); }

void jw_str(JsonWriter *w, const char *name, Str value)
{
    if (str_absent(value)) {
        jw_null(w, name);
        return;
    }
    before_value(w, name);
    json_quote(w->out, value);
}

void jw_text(JsonWriter *w, const char *name, const char *value) { jw_str(w, name, str(value)); }

void jw_int(JsonWriter *w, const char *name, int64_t value)
{
    before_value(w, name);
    buf_addf(w->out, "%" PRId64, value);
}

void jw_bool(JsonWriter *w, const char *name, bool value)
{
    jw_raw(w, name, value ? STR("true") : STR("false"));
}
void jw_null(JsonWriter *w, const char *name) { jw_raw(w, name, STR("null")); }

void jw_raw(JsonWriter *w, const char *name, Str json)
{
    before_value(w, name);
    buf_add_str(w->out, json);
}
