// SPDX-License-Identifier: Apache-2.0
// Proves that json_parse takes what RFC 8259 calls JSON and nothing that two readers could read
// differently, that integers are told from what only looks like them, and that what is written
// reads back.
#include "base/json.h"

#include <check.h>
#include <stdio.h>

typedef struct Row {
    const char *label;
    Str text;
    const char *refused; // part of the message; NULL: accepted
} Row;
#define ROW(label, text, refused)                                                                  \
    {                                                                                              \
        label, STR(text), refused                                                                  \
    }

static const Row ROWS[] = {
    ROW("an empty object", "{}", NULL),
    ROW("space everywhere", " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", NULL),
    ROW("all kinds", "{\"a\":[null,true,false,-0,1.5e-3,\"\"],\"b\":{}}", NULL),
    ROW("all escapes", "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"}", NULL),
    ROW("a surrogate pair", "{\"a\":\"\\ud83d\\uDE00\"}", NULL),
    ROW("utf-8 of every length", "{\"a\":\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"}", NULL),
    ROW("the same key in two objects", "{\"a\":{\"a\":1},\"b\":{\"a\":1}}", NULL),
    ROW("keys that differ in case", "{\"a\":1,\"A\":2}", NULL),
    ROW("an empty key", "{\"\":1}", NULL),
    ROW("nothing", "", "not a JSON object"),
    ROW("space only", "  ", "not a JSON object"),
    ROW("an array at the top", "[]", "not a JSON object"),
    ROW("a number at the top", "1", "not a JSON object"),
    ROW("a byte order mark", "\xEF\xBB\xBF{}", "byte order mark"),
    ROW("a raw NUL", "{\"a\":\"\0\"}", "NUL"),
    ROW("a NUL after the end", "{}\0", "NUL"),
    ROW("an escaped NUL", "{\"a\":\"\\u0000\"}", "NUL"),
    ROW("an escaped NUL in a key", "{\"\\u0000\":1}", "NUL"),
    ROW("something after the end", "{} {}", "after the end"),
    ROW("a comma after the end", "{},", "after the end"),
    ROW("an open object", "{\"a\":1", "unexpected end"),
    ROW("an open array", "{\"a\":[1", "unexpected end"),
    ROW("an open string", "{\"a\":\"x", "without an end"),
    ROW("a closing bracket of the other kind", "{\"a\":[1}}", "neither"),
    ROW("a comma before the end of an array", "{\"a\":[1,]}", "not JSON"),
    ROW("a comma before the end of an object", "{\"a\":1,}", "member name"),
    ROW("no comma", "{\"a\":1 \"b\":2}", "neither"),
    ROW("no colon", "{\"a\" 1}", "':'"),
    ROW("no value", "{\"a\":}", "not JSON"),
    ROW("a bare key", "{a:1}", "member name"),
    ROW("single quotes", "{'a':1}", "member name"),
    ROW("a comment", "{/**/}", "member name"),
    ROW("a control character", "{\"a\":\"\x01\"}", "control"),
    ROW("a raw line break in a string", "{\"a\":\"\n\"}", "control"),
    ROW("an unknown escape", "{\"a\":\"\\x\"}", "unknown escape"),
    ROW("an escaped line break", "{\"a\":\"\\\n\"}", "unknown escape"),
    ROW("three hexadecimal digits", "{\"a\":\"\\u12g4\"}", "hexadecimal"),
    ROW("the end within an escape", "{\"a\":\"\\u12", "hexadecimal"),
    ROW("a lone high surrogate", "{\"a\":\"\\ud83d\"}", "surrogate"),
    ROW("a lone low surrogate", "{\"a\":\"\\ude00\"}", "surrogate"),
    ROW("two high surrogates", "{\"a\":\"\\ud83d\\ud83d\"}", "surrogate"),
    ROW("a high surrogate and a letter", "{\"a\":\"\\ud83d\\u0041\"}", "surrogate"),
    ROW("a surrogate in utf-8", "{\"a\":\"\xED\xA0\x80\"}", "UTF-8"),
    ROW("an overlong form", "{\"a\":\"\xC0\xAF\"}", "UTF-8"),
    ROW("a cut character", "{\"a\":\"\xE2\x82\"}", "UTF-8"),
    ROW("latin-1", "{\"a\":\"\xE9\"}", "UTF-8"),
    ROW("a leading zero", "{\"a\":01}", "leading zero"),
    ROW("a negative leading zero", "{\"a\":-01}", "leading zero"),
    ROW("a plus sign", "{\"a\":+1}", "not JSON"),
    ROW("no digit before the point", "{\"a\":.5}", "not JSON"),
    ROW("no digit after the point", "{\"a\":1.}", "after its point"),
    ROW("an empty exponent", "{\"a\":1e}", "exponent"),
    ROW("a minus alone", "{\"a\":-}", "without digits"),
    ROW("hexadecimal", "{\"a\":0x10}", "neither"),
    ROW("not a number", "{\"a\":NaN}", "not JSON"),
    ROW("infinity", "{\"a\":-Infinity}", "without digits"),
    ROW("True", "{\"a\":True}", "not JSON"),
    ROW("nulls", "{\"a\":nulls}", "neither"),
    ROW("a key twice", "{\"a\":1,\"a\":1}", "\"a\" stands twice"),
    ROW("a key twice, once escaped", "{\"a\":1,\"\\u0061\":1}", "\"a\" stands twice"),
    ROW("a key twice, deep in an array", "{\"a\":[{\"b\":[{\"c\":1,\"c\":2}]}]}",
        "\"c\" stands twice"),
    ROW("a key twice among many",
        "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,"
        "\"l\":1,\"m\":1,\"c\":1}",
        "\"c\" stands twice"),
};

START_TEST(strictness)
{
    const Row *row = &ROWS[_i];
    // A copy that ends where the text does, so that a sanitizer sees a step too far.
    char *exact = memcpy(mem_alloc(row->text.n), row->text.p, row->text.n);
    OWNED_JSON Json *json = NULL;
    Error error = {0};
    Status status = json_parse((Str){exact, row->text.n}, 1024, &json, &error);
    free(exact);
    if (!row->refused) {
        ck_assert_msg(status == ST_OK, "%s: %s", row->label, error.text);
        return;
    }
    ck_assert_msg(status == ST_BAD_INPUT, "%s: accepted", row->label);
    ck_assert_msg(strstr(error.text, row->refused) != NULL, "%s: %s", row->label, error.text);
}
END_TEST

static Status parse_depth(int depth, char open, char close)
{
    OWNED_BUF Buf text = {0};
    OWNED_JSON Json *json = NULL;
    buf_add_text(&text, "{\"a\":");
    for (int i = 1; i < depth; i++) buf_add_text(&text, open == '[' ? "[" : "{\"a\":");
    if (open == '{') buf_add_text(&text, "1");
    for (int i = 1; i < depth; i++) buf_add_char(&text, close);
    if (depth == 1 && open == '[') buf_add_text(&text, "1");
    buf_add_char(&text, '}');
    return json_parse(buf_str(&text), 1024, &json, NULL);
}

START_TEST(depth)
{
    ck_assert_int_eq(parse_depth(1, '[', ']'), ST_OK);
    ck_assert_int_eq(parse_depth(32, '[', ']'), ST_OK);
    ck_assert_int_eq(parse_depth(33, '[', ']'), ST_BAD_INPUT);
    ck_assert_int_eq(parse_depth(32, '{', '}'), ST_OK);
    ck_assert_int_eq(parse_depth(33, '{', '}'), ST_BAD_INPUT);
    OWNED_BUF Buf deep = {0};
    OWNED_JSON Json *json = NULL;
    for (int i = 0; i < 100000; i++) buf_add_text(&deep, "{\"a\":");
    ck_assert_int_eq(json_parse(buf_str(&deep), deep.n, &json, NULL), ST_BAD_INPUT);
}
END_TEST

START_TEST(size_limit)
{
    OWNED_JSON Json *json = NULL;
    Error error;
    ck_assert_int_eq(json_parse(STR("{\"a\":1}"), 7, &json, &error), ST_OK);
    OWNED_JSON Json *none = NULL;
    ck_assert_int_eq(json_parse(STR("{\"a\":1}"), 6, &none, &error), ST_BAD_INPUT);
    ck_assert_str_eq(error.text, "7 bytes, more than 6");
}
END_TEST

#define DIGITS_70 "1234567890123456789012345678901234567890123456789012345678901234567890"

typedef struct IntegerRow {
    const char *text;
    bool integer;
    int64_t value;
} IntegerRow;
static const IntegerRow INTEGERS[] = {
    {"0", true, 0},
    {"-0", true, 0},
    {"7", true, 7},
    {"-17", true, -17},
    {"9007199254740991", true, INT64_C(9007199254740991)},
    {"-9007199254740991", true, INT64_C(-9007199254740991)},
    {"9007199254740992", false, 0},
    {"9007199254740993", false, 0}, // reads as ...992
    {"1.0", false, 0},
    {"1e2", false, 0},
    {"1E0", false, 0},
    {"0.0", false, 0},
    {"1e999", false, 0},
    {DIGITS_70, false, 0},
    {"-" DIGITS_70, false, 0},
    {"0." DIGITS_70, false, 0},
    {"\"1\"", false, 0},
    {"true", false, 0},
    {"null", false, 0},
    {"[1]", false, 0},
};

// Neighbours with digits, points and quotes in their names and texts must not confuse which number
// is which.
START_TEST(integers)
{
    const IntegerRow *row = &INTEGERS[_i];
    OWNED_BUF Buf text = {0};
    buf_addf(&text,
             "{\"1.5\":\"-2.5\\\\\\\"3.5\",\"a\":[2.5,{\"b\":3,\"4e4\":\"\"}],\"x\":%s,\"y\":5,"
             "\"z\":0.5}",
             row->text);
    OWNED_JSON Json *json = NULL;
    Error error = {0};
    ck_assert_msg(json_parse(buf_str(&text), 1024, &json, &error) == ST_OK, "%s: %s", row->text,
                  error.text);
    int64_t value = 0;
    bool integer = json_integer(json_get(json, "x"), &value);
    ck_assert_msg(integer == row->integer && value == row->value, "%s", row->text);
    ck_assert(json_integer(json_get(json, "y"), &value) && value == 5);
    ck_assert(!json_integer(json_get(json, "z"), &value));
    const Json *first = json_first(json_get(json, "a"));
    ck_assert(!json_integer(first, &value));
    ck_assert(json_integer(json_get(json_next(first), "b"), &value) && value == 3);
}
END_TEST

START_TEST(access)
{
    OWNED_JSON Json *json = NULL;
    ck_assert_int_eq(
        json_parse(STR("{\"t\":\"x\\u00e9\",\"n\":null,\"b\":true,\"A\":1,\"l\":[1,2,3]}"), 100,
                   &json, NULL),
        ST_OK);
    Str text;
    bool yes = false;
    ck_assert(json_text(json_get(json, "t"), &text) && str_is(text, "x\xC3\xA9"));
    ck_assert(json_bool(json_get(json, "b"), &yes) && yes);
    ck_assert_ptr_null(json_get(json, "n"));
    ck_assert_ptr_null(json_get(json, "a"));
    ck_assert_ptr_null(json_get(NULL, "a"));
    ck_assert(!json_text(NULL, &text) && !json_bool(NULL, &yes) && !json_is_object(NULL));
    ck_assert(!json_text(json_get(json, "A"), &text) && !json_bool(json_get(json, "A"), &yes));
    ck_assert_uint_eq(json_count(json), 5);
    ck_assert_uint_eq(json_count(json_get(json, "l")), 3);
    ck_assert(json_is_array(json_get(json, "l")) && json_is_object(json));
    ck_assert_str_eq(json_name(json_next(json_first(json))), "n");
    ck_assert(json_is_null(json_next(json_first(json))));
    OWNED_BUF Buf out = {0};
    json_print(json, &out);
    ck_assert_str_eq(out.p, "{\"t\":\"x\xC3\xA9\",\"n\":null,\"b\":true,\"A\":1,\"l\":[1,2,3]}");
}
END_TEST

static void write_all(JsonWriter *w)
{
    jw_begin_object(w, NULL);
    jw_text(w, "text", "a\"b");
    jw_str(w, "absent", (Str){0});
    jw_int(w, "least", INT64_MIN);
    jw_bool(w, "yes", true);
    jw_begin_array(w, "list");
    jw_int(w, NULL, 1);
    jw_begin_object(w, NULL);
    jw_end_object(w);
    jw_begin_array(w, NULL);
    jw_end_array(w);
    jw_end_array(w);
    jw_raw(w, "raw", STR("[0.5]"));
    jw_end_object(w);
}

START_TEST(writing)
{
    OWNED_BUF Buf compact = {0}, pretty = {0};
    write_all(&(JsonWriter){.out = &compact});
    ck_assert_str_eq(
        compact.p,
        "{\"text\":\"a\\\"b\",\"absent\":null,\"least\":-9223372036854775808,\"yes\":true,"
        "\"list\":[1,{},[]],\"raw\":[0.5]}");
    write_all(&(JsonWriter){.out = &pretty, .pretty = true});
    ck_assert_str_eq(
        pretty.p,
        "{\n  \"text\": \"a\\\"b\",\n  \"absent\": null,\n  \"least\": -9223372036854775808,\n"
        "  \"yes\": true,\n  \"list\": [\n    1,\n    {},\n    []\n  ],\n  \"raw\": [0.5]\n}");
}
END_TEST

// Every character that JSON can hold goes out and comes back.
START_TEST(quoting)
{
    OWNED_BUF Buf text = {0}, out = {0};
    for (int c = 1; c < 0x80; c++) buf_add_char(&text, (char)c);
    buf_add_text(&text, "\xC3\xA9\xF0\x9F\x98\x80");
    jw_begin_object(&(JsonWriter){.out = &out}, NULL);
    buf_add_text(&out, "\"a\":");
    json_quote(&out, buf_str(&text));
    buf_add_char(&out, '}');
    ck_assert_ptr_null(memchr(out.p, 0x7F, out.n));
    OWNED_JSON Json *json = NULL;
    Error error = {0};
    ck_assert_msg(json_parse(buf_str(&out), 4096, &json, &error) == ST_OK, "%s", error.text);
    Str back;
    ck_assert(json_text(json_get(json, "a"), &back) && str_equal(back, buf_str(&text)));
    buf_clear(&out);
    json_quote(&out, STR("\b\f\n\r\t\"\\/\x1f"));
    ck_assert_str_eq(out.p, "\"\\b\\f\\n\\r\\t\\\"\\\\/\\u001f\"");
}
END_TEST

static const struct {
    const char *label;
    Str a, b;
    bool same;
} PAIRS[] = {
    {"members in another order", STR("{\"a\":1,\"b\":[true,\"x\"]}"),
     STR("{ \"b\": [true, \"x\"], \"a\": 1 }"), true},
    {"nothing", STR("{}"), STR("{}"), true},
    {"another number", STR("{\"a\":1}"), STR("{\"a\":2}"), false},
    {"a fraction", STR("{\"a\":1}"), STR("{\"a\":1.0}"), false},
    {"two fractions", STR("{\"a\":1.5}"), STR("{\"a\":1.5}"), false},
    {"text and number", STR("{\"a\":1}"), STR("{\"a\":\"1\"}"), false},
    {"another text", STR("{\"a\":\"x\"}"), STR("{\"a\":\"X\"}"), false},
    {"another name", STR("{\"a\":1}"), STR("{\"A\":1}"), false},
    {"true and false", STR("{\"a\":true}"), STR("{\"a\":false}"), false},
    {"a member more", STR("{\"a\":1}"), STR("{\"a\":1,\"b\":null}"), false},
    {"null and nothing", STR("{\"a\":null}"), STR("{\"b\":null}"), false},
    {"elements in another order", STR("{\"a\":[1,2]}"), STR("{\"a\":[2,1]}"), false},
    {"an element more", STR("{\"a\":[1]}"), STR("{\"a\":[1,1]}"), false},
    {"array and object", STR("{\"a\":[]}"), STR("{\"a\":{}}"), false},
};

START_TEST(equality)
{
    OWNED_JSON Json *a = NULL, *b = NULL;
    ck_assert(json_parse(PAIRS[_i].a, 4096, &a, NULL) == ST_OK);
    ck_assert(json_parse(PAIRS[_i].b, 4096, &b, NULL) == ST_OK);
    ck_assert_msg(json_equal(a, b) == PAIRS[_i].same, "%s", PAIRS[_i].label);
    ck_assert_msg(json_equal(b, a) == PAIRS[_i].same, "%s, the other way", PAIRS[_i].label);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("json");
    tcase_add_loop_test(tests, strictness, 0, sizeof ROWS / sizeof *ROWS);
    tcase_add_test(tests, depth);
    tcase_add_test(tests, size_limit);
    tcase_add_loop_test(tests, integers, 0, sizeof INTEGERS / sizeof *INTEGERS);
    tcase_add_test(tests, access);
    tcase_add_test(tests, writing);
    tcase_add_test(tests, quoting);
    tcase_add_loop_test(tests, equality, 0, sizeof PAIRS / sizeof *PAIRS);
    Suite *suite = suite_create("json");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
