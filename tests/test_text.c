// SPDX-License-Identifier: Apache-2.0
// Proves the bytes beneath everything: comparison, ids, UTF-8, integers, arenas and buffers at
// their edges.
#include "base/text.h"

#include <check.h>
#include <inttypes.h>

typedef struct OrderRow {
    const char *label;
    Str a, b;
    int order;
} OrderRow;
static const OrderRow ORDERS[] = {
    {"equal", {"abc", 3}, {"abc", 3}, 0},
    {"byte by byte", {"abc", 3}, {"abd", 3}, -1},
    {"upper case first", {"Z", 1}, {"a", 1}, -1},
    {"shorter first", {"ab", 2}, {"abc", 3}, -1},
    {"bytes are unsigned", {"\xC3", 1}, {"a", 1}, 1},
    {"digits are not numbers", {"10", 2}, {"9", 1}, -1},
    {"within a longer text", {"abX", 2}, {"abY", 2}, 0},
    {"empty is not absent", {"", 0}, {NULL, 0}, 1},
    {"both absent", {NULL, 0}, {NULL, 0}, 0},
    {"empty before all", {"", 0}, {"\x01", 1}, -1},
};

static int sign(int n) { return (n > 0) - (n < 0); }

START_TEST(order)
{
    const OrderRow *row = &ORDERS[_i];
    ck_assert_msg(sign(str_compare(row->a, row->b)) == row->order, "%s", row->label);
    ck_assert_msg(sign(str_compare(row->b, row->a)) == -row->order, "%s, turned", row->label);
    ck_assert_msg(str_equal(row->a, row->b) == (row->order == 0), "%s, equality", row->label);
}
END_TEST

START_TEST(sameness)
{
    ck_assert(str_is(STR("abc"), "abc") && !str_is(STR("abc"), "ab") && !str_is(STR("ab"), "abc"));
    ck_assert(!str_is((Str){0}, "") && str_is(STR(""), ""));
    ck_assert(str_absent(str(NULL)) && !str_absent(str("")));
    ck_assert_uint_eq(str_hash(HASH_SEED, STR("")), UINT64_C(0xcbf29ce484222325));
    ck_assert_uint_eq(str_hash(HASH_SEED, STR("a")),
                      UINT64_C(0xaf63dc4c8601ec8c)); // FNV's own example
    ck_assert_uint_eq(str_hash(str_hash(HASH_SEED, STR("foo")), STR("bar")),
                      str_hash(HASH_SEED, STR("foobar")));
}
END_TEST

typedef struct YesNo {
    Str text;
    bool yes;
} YesNo;
#define SIXTY_FOUR "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const YesNo IDS[] = {
    {{"a", 1}, true},         {{"A-Z_0.9:x", 9}, true},
    {{SIXTY_FOUR, 64}, true}, {{SIXTY_FOUR "0", 65}, false},
    {{"", 0}, false},         {{NULL, 0}, false},
    {{"a b", 3}, false},      {{"a/b", 3}, false},
    {{"a\0b", 3}, false},     {{"\xC3\xA9", 2}, false},
    {{"a\n", 2}, false},      {{"@[`{", 4}, false},
};

START_TEST(ids) { ck_assert_msg(str_is_id(IDS[_i].text) == IDS[_i].yes, "id %d", _i); }
END_TEST

#define UTF8(text, yes)                                                                            \
    {                                                                                              \
        {text, sizeof(text) - 1}, yes                                                              \
    }
static const YesNo UTF8S[] = {
    UTF8("", true),
    UTF8("ascii \x7F", true),
    UTF8("\xC2\x80", true),          // U+0080
    UTF8("\xDF\xBF", true),          // U+07FF
    UTF8("\xE0\xA0\x80", true),      // U+0800
    UTF8("\xED\x9F\xBF", true),      // U+D7FF
    UTF8("\xEE\x80\x80", true),      // U+E000
    UTF8("\xEF\xBF\xBF", true),      // U+FFFF
    UTF8("\xF0\x90\x80\x80", true),  // U+10000
    UTF8("\xF4\x8F\xBF\xBF", true),  // U+10FFFF
    UTF8("\x80", false),             // a continuation alone
    UTF8("\xC0\x80", false),         // overlong NUL
    UTF8("\xC1\xBF", false),         // overlong
    UTF8("\xE0\x9F\xBF", false),     // overlong
    UTF8("\xF0\x8F\xBF\xBF", false), // overlong
    UTF8("\xED\xA0\x80", false),     // U+D800
    UTF8("\xED\xBF\xBF", false),     // U+DFFF
    UTF8("\xF4\x90\x80\x80", false), // U+110000
    UTF8("\xF5\x80\x80\x80", false),
    UTF8("\xFF", false),
    UTF8("\xC3", false), // cut
    UTF8("\xE2\x82", false),
    UTF8("\xF0\x9F\x98", false),
    UTF8("\xC3"
         "a",
         false),
    UTF8("\xE2\x82"
         "a",
         false),
    UTF8("\xC3\xA9\xA9", false),
};

START_TEST(utf8) { ck_assert_msg(str_is_utf8(UTF8S[_i].text) == UTF8S[_i].yes, "text %d", _i); }
END_TEST

typedef struct CleanRow {
    Str text;
    const char *clean;
    size_t characters;
    bool control;
} CleanRow;
#define CLEAN(text, clean, characters, control)                                                    \
    {                                                                                              \
        {text, sizeof(text) - 1}, clean, characters, control                                       \
    }
static const CleanRow CLEANS[] = {
    {{NULL, 0}, "", 0, false},
    CLEAN("", "", 0, false),
    CLEAN("plain ~ text", "plain ~ text", 12, false),
    CLEAN("v\r\x1B[2K", "v??[2K", 6, true),
    CLEAN("a\0b\tc\nd\x1F", "a?b?c?d?", 8, true),
    CLEAN("\x7F", "?", 1, true),
    CLEAN("\xC2\x80|\xC2\x9B|\xC2\x9F", "?|?|?", 5, true), // U+0080, U+009B, U+009F
    CLEAN("\xC2\xA0\xC3\xA9", "\xC2\xA0\xC3\xA9", 2, false),
    CLEAN("\xE2\x82\xAC\xF0\x9F\x98\x80", "\xE2\x82\xAC\xF0\x9F\x98\x80", 2, false),
    CLEAN("\xE2\x82\x9B", "\xE2\x82\x9B", 1, false), // 9B within a character
    CLEAN("\x9B"
          "2K",
          "?2K", 3, false), // not UTF-8
    CLEAN("a\xC2", "a?", 2, false),
    CLEAN("\xC2\x1B", "??", 2, true),
    CLEAN("\xC3\xA9\xFF\xC3\xA9", "\xC3\xA9?\xC3\xA9", 3, false),
    CLEAN("\xE2\x82|", "??|", 3, false),
};

START_TEST(cleaned)
{
    const CleanRow *row = &CLEANS[_i];
    OWNED_BUF Buf buf = {0};
    buf_add_clean(&buf, row->text);
    ck_assert_msg(str_is(buf_str(&buf), row->clean), "text %d: \"%s\"", _i, buf.p);
    ck_assert_msg(str_has_control(row->text) == row->control, "control in text %d", _i);
    buf_clear(&buf);
    ck_assert_uint_eq(buf_add_clean_part(&buf, row->text, SIZE_MAX), row->characters);
    ck_assert(str_is(buf_str(&buf), row->clean));
}
END_TEST

START_TEST(cleaned_parts)
{
    static const char *const parts[] = {"",           "\xC3\xA9",    "\xC3\xA9?",
                                        "\xC3\xA9??", "\xC3\xA9??x", "\xC3\xA9??x"};
    for (size_t max = 0; max < sizeof parts / sizeof *parts; max++) {
        OWNED_BUF Buf buf = {0};
        size_t count = buf_add_clean_part(&buf, STR("\xC3\xA9\x1B\xFFx"), max);
        ck_assert_uint_eq(count, max < 4 ? max : 4);
        ck_assert_msg(str_is(buf_str(&buf), parts[max]), "%zu: \"%s\"", max, buf.p);
    }
}
END_TEST

typedef struct IntegerRow {
    const char *text;
    bool valid;
    int64_t value;
} IntegerRow;
static const IntegerRow INTEGERS[] = {
    {"0", true, 0},
    {"-0", true, 0},
    {"007", true, 7},
    {"-12", true, -12},
    {"9223372036854775807", true, INT64_MAX},
    {"-9223372036854775808", true, INT64_MIN},
    {"9223372036854775808", false, 0},
    {"-9223372036854775809", false, 0},
    {"99999999999999999999", false, 0},
    {"", false, 0},
    {"-", false, 0},
    {"+1", false, 0},
    {"--1", false, 0},
    {" 1", false, 0},
    {"1 ", false, 0},
    {"1.0", false, 0},
    {"0x1", false, 0},
};

START_TEST(integers)
{
    const IntegerRow *row = &INTEGERS[_i];
    int64_t value = 0;
    ck_assert_msg(str_to_int(str(row->text), &value) == row->valid && value == row->value, "\"%s\"",
                  row->text);
}
END_TEST

START_TEST(arena)
{
    OWNED_ARENA Arena *arena = arena_new();
    unsigned char *first = arena_alloc(arena, 1);
    *first = 0xFF;
    for (size_t bytes = 0; bytes < 200; bytes++) {
        unsigned char *got = arena_alloc(arena, bytes);
        ck_assert_uint_eq((uintptr_t)got % 16, 0);
        for (size_t i = 0; i < bytes; i++) ck_assert_uint_eq(got[i], 0);
        memset(got, 0xFF, bytes);
    }
    unsigned char *large = arena_alloc(arena, 1000000); // more than a block
    for (size_t i = 0; i < 1000000; i += 999) ck_assert_uint_eq(large[i], 0);
    memset(large, 0xFF, 1000000);
    ck_assert_uint_eq(*first, 0xFF);
    ck_assert_uint_ge(arena_bytes(arena), 1000000);
    arena_reset(arena);
    ck_assert_uint_eq(arena_bytes(arena), 0);
    unsigned char *again = arena_alloc(arena, 5000); // memory that was used before comes zeroed
    for (size_t i = 0; i < 5000; i++) ck_assert_uint_eq(again[i], 0);
}
END_TEST

START_TEST(arena_texts)
{
    OWNED_ARENA Arena *arena = arena_new();
    Str copy = arena_copy(arena, (Str){"abcdef", 3});
    ck_assert_uint_eq(copy.n, 3);
    ck_assert_str_eq(copy.p, "abc");
    ck_assert(str_absent(arena_copy(arena, (Str){0})));
    Str empty = arena_copy(arena, STR(""));
    ck_assert(!str_absent(empty) && empty.n == 0 && empty.p[0] == '\0');
    arena_free(NULL);
    arena_reset(arena);
    arena_reset(arena);
}
END_TEST

START_TEST(buffer)
{
    OWNED_BUF Buf buf = {0};
    ck_assert_uint_eq(buf_str(&buf).n, 0);
    ck_assert_ptr_nonnull(buf_str(&buf).p);
    buf_add(&buf, NULL, 0);
    ck_assert_str_eq(buf.p, "");
    for (int i = 0; i < 10000; i++) {
        buf_add_char(&buf, 'x');
        ck_assert_int_eq(buf.p[buf.n], '\0');
    }
    ck_assert_uint_eq(buf.n, 10000);
    buf_clear(&buf);
    ck_assert_str_eq(buf.p, "");
    buf_addf(&buf, "%s-%d", "a", 7);
    buf_add_str(&buf, (Str){"bcd", 2});
    buf_add_text(&buf, "!");
    ck_assert_str_eq(buf.p, "a-7bc!");
    for (int width = 240; width < 270; width++) { // across the first growth
        OWNED_BUF Buf other = {0};
        buf_addf(&other, "%*d", width, 1);
        ck_assert_uint_eq(other.n, (size_t)width);
        ck_assert_int_eq(other.p[width - 1], '1');
    }
}
END_TEST

START_TEST(errors)
{
    Error error;
    ck_assert_int_eq(error_set(&error, ST_REFUSED, "%s", "why"), ST_REFUSED);
    error_hint(&error, "do %d", 1);
    ck_assert_int_eq(error_prefix(&error, "%s", "file"), ST_REFUSED);
    ck_assert_str_eq(error.text, "file: why");
    ck_assert_str_eq(error.hint, "do 1");
    ck_assert_int_eq(error_set(&error, ST_FATAL, "%*s", 2 * ERROR_TEXT_MAX, "x"), ST_FATAL);
    ck_assert_uint_eq(strlen(error.text), ERROR_TEXT_MAX - 1);
    ck_assert_str_eq(error.hint, "");
    ck_assert_int_eq(error_prefix(&error, "%*s", ERROR_TEXT_MAX, "y"), ST_FATAL);
    ck_assert_uint_lt(strlen(error.text), ERROR_TEXT_MAX);
    ck_assert_int_eq(error_set(NULL, ST_MISSING, "x"), ST_MISSING);
    static const int codes[] = {0, 1, 1, 3, 2, 2, 1};
    for (int s = ST_OK; s <= ST_FATAL; s++) ck_assert_int_eq(status_exit_code((Status)s), codes[s]);
    ck_assert_str_eq(status_name(ST_BAD_INPUT), "bad input");
    ck_assert_str_eq(status_name((Status)99), "?");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("text");
    tcase_add_loop_test(tests, order, 0, sizeof ORDERS / sizeof *ORDERS);
    tcase_add_test(tests, sameness);
    tcase_add_loop_test(tests, ids, 0, sizeof IDS / sizeof *IDS);
    tcase_add_loop_test(tests, utf8, 0, sizeof UTF8S / sizeof *UTF8S);
    tcase_add_loop_test(tests, cleaned, 0, sizeof CLEANS / sizeof *CLEANS);
    tcase_add_test(tests, cleaned_parts);
    tcase_add_loop_test(tests, integers, 0, sizeof INTEGERS / sizeof *INTEGERS);
    tcase_add_test(tests, arena);
    tcase_add_test(tests, arena_texts);
    tcase_add_test(tests, buffer);
    tcase_add_test(tests, errors);
    Suite *suite = suite_create("text");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
