// SPDX-License-Identifier: Apache-2.0
// What the tests of catalogue and accounts files share: JSON that can be read here, and rows of it.
#pragma once

#include "catalog/catalog.h"

#include <check.h>

extern const char DEFAULT_CATALOG[];

// JSON with ' for ", to be readable here.
static inline Str quoted(const char *text, Buf *out)
{
    buf_clear(out);
    for (; *text; text++) buf_add_char(out, *text == '\'' ? '"' : *text);
    return buf_str(out);
}

typedef struct Row {
    const char *label, *text, *refused; // the message, or part of it; NULL: accepted
} Row;

static inline void check_row(const Row *row, Status status, const Error *error)
{
    if (!row->refused) {
        ck_assert_msg(status == ST_OK, "%s: %s", row->label, error->text);
        return;
    }
    ck_assert_msg(status == ST_BAD_INPUT, "%s: accepted", row->label);
    ck_assert_msg(strstr(error->text, row->refused) != NULL, "%s: %s", row->label, error->text);
}

static inline Catalog *parse(const char *text)
{
    OWNED_BUF Buf json = {0};
    Catalog *catalog = NULL;
    Error error = {0};
    ck_assert_msg(catalog_parse(quoted(text, &json), &catalog, &error) == ST_OK, "%s", error.text);
    return catalog;
}

static inline Day day(const char *text)
{
    Day day;
    ck_assert(day_parse(str(text), &day));
    return day;
}

#define NANO "'nano':{'vcpus':2,'memory_gib':4,'credits_per_hour':10}"
#define PICO "'pico':{'vcpus':2,'memory_gib':1,'credits_per_hour':5}"
#define FREE "'free':{'concurrency_limit':5}"
#define VERSION(from, sizes, plans)                                                                \
    "{'from':'" from "','credit_price':'0.018','sizes':{" sizes "},'plans':{" plans "}}"
#define CATALOG(versions) "{'versions':[" versions "]}"
