// SPDX-License-Identifier: Apache-2.0
// base/json: JSON in, strictly, and JSON out, streamed. Reading refuses everything that two readers
// might understand differently: see json_check. The tree is cJSON's; no other file includes it.
#pragma once

#include "base/text.h"

enum {
    JSON_DEPTH_MAX = 32,
    JSON_EVENT_BYTES_MAX = 64 * 1024,
    JSON_FILE_BYTES_MAX = 256 * 1024 * 1024
};

// ---- reading ----
typedef struct cJSON Json;

// Checks RFC 8259 to the letter, and besides: the top value is an object, depth at most 32 with the
// top object as 1, well-formed UTF-8, no BOM, no NUL (raw or escaped), no lone surrogate, no
// duplicate key at any depth. On success `*out` is owned by the caller. ST_BAD_INPUT: says what, at
// which byte.
Status json_parse(Str text, size_t bytes_max, Json **out, Error *error) MUST_USE;
void json_free(Json *json);
static inline void json_free_pointer(Json **json) { json_free(*json); }
#define OWNED_JSON __attribute__((cleanup(json_free_pointer)))

// The member of that exact name, or NULL where there is none or it is null.
const Json *json_get(const Json *object, const char *name);
bool json_is_object(const Json *json);
bool json_is_array(const Json *json);
bool json_is_null(const Json *json);
// The value as text (borrowed from the tree), integer (written without fraction or exponent,
// between -2^53 and 2^53, both excluded) or boolean; false where it is of another kind, or json is
// NULL.
bool json_text(const Json *json, Str *out);
bool json_integer(const Json *json, int64_t *out);
bool json_bool(const Json *json, bool *out);
// Members or elements in order: for (const Json *e = json_first(x); e; e = json_next(e)).
const Json *json_first(const Json *container);
const Json *json_next(const Json *element);
size_t json_count(const Json *container);
const char *json_name(const Json *member); // a member's name
// Whether two values are the same: members in any order, numbers as integers. A number that
// json_integer does not take is like no other.
bool json_equal(const Json *a, const Json *b);
// The value written out again, compact; for messages and kept copies. Appends to `out`.
void json_print(const Json *json, Buf *out);

// ---- writing ----
// A streaming writer that appends to a Buf; the caller may hand over and clear the Buf at any time.
typedef struct JsonWriter {
    Buf *out;
    int depth;
    bool pretty;
    uint64_t filled; // bit per depth: whether something stands there already
} JsonWriter;

void jw_begin_object(JsonWriter *w, const char *name); // name is NULL inside arrays and at the top
void jw_end_object(JsonWriter *w);
void jw_begin_array(JsonWriter *w, const char *name);
void jw_end_array(JsonWriter *w);
void jw_str(JsonWriter *w, const char *name, Str value); // absent is written as null
void jw_text(JsonWriter *w, const char *name, const char *value);
void jw_int(JsonWriter *w, const char *name, int64_t value);
void jw_bool(JsonWriter *w, const char *name, bool value);
void jw_null(JsonWriter *w, const char *name);
// `json` is written as it is: it must be valid JSON.
void jw_raw(JsonWriter *w, const char *name, Str json);
// Appends `s` as a JSON string with its quotes.
void json_quote(Buf *out, Str s);
