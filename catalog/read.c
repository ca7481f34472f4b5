// SPDX-License-Identifier: Apache-2.0
#include "catalog/read.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    SHOWN_MAX = 80, // bytes of a wrong value in a message
    TAX_BPS_MAX = 1000000,
    LIMIT_MAX = 1000000000,
    RATE_MAX = 1000000,
    RESOURCE_MAX = 1000000, // vCPUs, GiB
    TIMEOUT_SECONDS_MAX = 366 * 86400,
    CREDIT_PRICE_MAX = 10000, // USD: CREDITS_MAX at this price still fits an amount
};

// ---- paths and messages ----
static void add_path(const Node *node, Buf *path)
{
    if (!node->above) return;
    add_path(node->above, path);
    if (json_is_array(node->above->json)) buf_addf(path, "[%zu]", node->place);
    else buf_addf(path, "%s%.100s", path->n ? "." : "", json_name(node->json));
}

Status node_bad(const Node *node, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ASSERT(n >= 0);
    OWNED_BUF Buf path = {0};
    add_path(node, &path);
    return error_set(node->error, ST_BAD_INPUT, "%s%s%s", path.n ? path.p : "", path.n ? ": " : "",
                     text);
}

Status node_is_not(const Node *node, const char *expected)
{
    OWNED_BUF Buf value = {0};
    json_print(node->json, &value);
    bool cut = value.n > SHOWN_MAX;
    size_t n = cut ? SHOWN_MAX : value.n;
    while (cut && ((unsigned char)value.p[n] & 0xC0) == 0x80) n--; // not inside a character
    return node_bad(node, "%.*s%s is not %s", (int)n, value.p, cut ? "..." : "", expected);
}

// ---- objects and arrays ----
static Node node_at(const Node *above, const Json *json, size_t place)
{
    return (Node){json, above, place, above->arena, above->error};
}

Node node_first(const Node *container)
{
    return node_at(container, json_first(container->json), 0);
}

Node node_next(const Node *element)
{
    return node_at(element->above, json_next(element->json), element->place + 1);
}

static Status unknown_member(const Node *node, const Member *members, size_t count)
{
    OWNED_BUF Buf known = {0};
    for (size_t i = 0; i < count; i++) buf_addf(&known, "%s%s", i ? ", " : "", members[i].name);
    return node_bad(node, "no member has this name here; there are %s", known.p);
}

Status node_members(const Node *object, const Member *members, size_t count)
{
    if (!json_is_object(object->json)) return node_is_not(object, KIND_OBJECT.expected);
    uint64_t found = 0;
    ASSERT(count <= 64);
    for (Node member = node_first(object); member.json; member = node_next(&member)) {
        size_t i = 0;
        while (i < count && strcmp(members[i].name, json_name(member.json)) != 0) i++;
        if (i == count) return unknown_member(&member, members, count);
        if (!members[i].kind->read(&member, members[i].target))
            return node_is_not(&member, members[i].kind->expected);
        found |= UINT64_C(1) << i;
    }
    for (size_t i = 0; i < count; i++) {
        bool given = found & (UINT64_C(1) << i);
        if (members[i].given) *members[i].given = given;
        if (members[i].required && !given)
            return node_bad(object, "\"%s\" is missing; expected %s", members[i].name,
                            members[i].kind->expected);
    }
    return ST_OK;
}

// ---- kinds ----
static bool keep(const Node *node, void *target)
{
    *(Node *)target = *node;
    return true;
}

static bool read_object(const Node *node, void *target)
{
    return json_is_object(node->json) && keep(node, target);
}

static bool read_array(const Node *node, void *target)
{
    return json_is_array(node->json) && keep(node, target);
}

static bool read_text(const Node *node, void *target)
{
    Str text;
    return json_text(node->json, &text) && keep(node, target);
}

static bool read_day(const Node *node, void *target)
{
    Str text;
    return json_text(node->json, &text) && day_parse(text, target);
}

static bool read_cents(const Node *node, void *target)
{
    Str text;
    Cents amount;
    if (!json_text(node->json, &text) || !cents_parse(text, &amount) || amount.cents < 0)
        return false;
    *(Cents *)target = amount;
    return true;
}

static bool read_price(const Node *node, void *target)
{
    Str text;
    Price price;
    if (!json_text(node->json, &text) || !price_parse(text, &price)) return false;
    if (price.e12 < 0 || price.e12 > CREDIT_PRICE_MAX * PRICE_E12) return false;
    *(Price *)target = price;
    return true;
}

static bool read_integer(const Node *node, int64_t min, int64_t max, int64_t *out)
{
    int64_t value;
    if (!json_integer(node->json, &value) || value < min || value > max) return false;
    *out = value;
    return true;
}

static bool read_allowance(const Node *node, void *target)
{
    int64_t credits;
    if (!read_integer(node, 0, CREDITS_MAX, &credits)) return false;
    ((CreditMinutes *)target)->cm = credits * 60;
    return true;
}

static bool read_limit(const Node *node, int64_t min, int64_t *target)
{
    if (!json_is_null(node->json)) return read_integer(node, min, LIMIT_MAX, target);
    *target = TERM_NONE;
    return true;
}

static bool read_concurrency(const Node *node, void *target) { return read_limit(node, 0, target); }
static bool read_session(const Node *node, void *target) { return read_limit(node, 1, target); }

static bool read_word(const Node *node, const char *no, const char *yes, bool *out)
{
    Str text;
    if (!json_text(node->json, &text) || (!str_is(text, no) && !str_is(text, yes))) return false;
    *out = str_is(text, yes);
    return true;
}

static bool read_overage(const Node *node, void *target)
{
    return read_word(node, "bill", "deny", target);
}

static bool read_unit(const Node *node, void *target)
{
    bool usd;
    if (!read_word(node, "credit", "usd", &usd)) return false;
    *(GrantUnit *)target = usd ? GRANT_USD : GRANT_CREDIT;
    return true;
}

static bool read_discount_bps(const Node *node, void *target)
{
    return read_integer(node, 0, 10000, target);
}
static bool read_tax_bps(const Node *node, void *target)
{
    return read_integer(node, 0, TAX_BPS_MAX, target);
}
static bool read_priority(const Node *node, void *target)
{
    return read_integer(node, -(int64_t)LIMIT_MAX, LIMIT_MAX, target);
}

static bool read_bool(const Node *node, void *target) { return json_bool(node->json, target); }

static bool read_id(const Node *node, void *target)
{
    Str text;
    if (!json_text(node->json, &text) || !str_is_id(text)) return false;
    *(Str *)target = arena_copy(node->arena, text);
    return true;
}

static bool read_plan(const Node *node, void *target)
{
    if (!json_is_null(node->json)) return read_id(node, target);
    *(Str *)target = (Str){0};
    return true;
}

static bool read_name(const Node *node, void *target)
{
    Str text;
    if (!json_text(node->json, &text) || text.n < 1 || text.n > ACCOUNT_NAME_MAX) return false;
    *(Str *)target = arena_copy(node->arena, text);
    return true;
}

static bool read_timeout(const Node *node, void *target)
{
    int64_t seconds;
    if (!read_integer(node, 1, TIMEOUT_SECONDS_MAX, &seconds)) return false;
    *(int64_t *)target = seconds * US_PER_SECOND;
    return true;
}

static bool read_rate(const Node *node, void *target)
{
    int64_t credits_per_hour;
    if (!read_integer(node, 0, RATE_MAX, &credits_per_hour)) return false;
    *(int32_t *)target = (int32_t)credits_per_hour;
    return true;
}

static bool read_resource(const Node *node, int64_t unit, int64_t *target)
{
    int64_t count;
    if (!read_integer(node, 1, RESOURCE_MAX, &count)) return false;
    *target = count * unit;
    return true;
}

static bool read_vcpus(const Node *node, void *target) { return read_resource(node, 1000, target); }
static bool read_memory_gib(const Node *node, void *target)
{
    return read_resource(node, 1 << 30, target);
}

const Kind KIND_OBJECT = {read_object, "an object"};
const Kind KIND_ARRAY = {read_array, "an array"};
const Kind KIND_TEXT = {read_text, "text"};
const Kind KIND_DAY = {read_day, "a date (YYYY-MM-DD)"};
const Kind KIND_CENTS = {
    read_cents, "an amount of money (text, 0 or more, with at most two decimals: \"25.00\")"};
const Kind KIND_ALLOWANCE = {read_allowance, "a whole number of credits, 0 or more"};
const Kind KIND_CONCURRENCY = {read_concurrency,
                               "a whole number from 0 to 1000000000, or null for no limit"};
const Kind KIND_SESSION = {read_session,
                           "a whole number of minutes from 1 to 1000000000, or null for no limit"};
const Kind KIND_OVERAGE = {read_overage, "\"bill\" or \"deny\""};
const Kind KIND_DISCOUNT_BPS = {read_discount_bps,
                                "a whole number of basis points from 0 to 10000"};
const Kind KIND_TAX_BPS = {read_tax_bps, "a whole number of basis points from 0 to 1000000"};
const Kind KIND_PRIORITY = {read_priority, "a whole number from -1000000000 to 1000000000"};
const Kind KIND_BOOL = {read_bool, "true or false"};
const Kind KIND_ID = {read_id, "an id (1 to 64 of A-Z a-z 0-9 . _ : -)"};
const Kind KIND_PLAN = {read_plan, "a plan's name, or null for the end"};
const Kind KIND_NAME = {read_name, "a name (text of 1 to 1024 bytes)"};
const Kind KIND_UNIT = {read_unit, "\"credit\" or \"usd\""};
const Kind KIND_PRICE = {read_price,
                         "a price (text, 0 to 10000 USD, with at most 12 decimals: \"0.01486\")"};
const Kind KIND_TIMEOUT = {read_timeout, "a whole number of seconds from 1 to 31622400"};
const Kind KIND_RATE = {read_rate, "a whole number from 0 to 1000000"};
const Kind KIND_VCPUS = {read_vcpus, "a whole number from 1 to 1000000"};
const Kind KIND_MEMORY_GIB = {read_memory_gib, "a whole number from 1 to 1000000"};

// ---- terms ----
#define GIVEN(member) .given = given ? &given->member : NULL

void terms_members(Terms *terms, Overrides *given, Member members[static TERMS_MEMBERS])
{
    const Member all[TERMS_MEMBERS] = {
        {"base_fee", &KIND_CENTS, &terms->base_fee, GIVEN(base_fee)},
        {"included_credits", &KIND_ALLOWANCE, &terms->included, GIVEN(included)},
        {"signup_credit", &KIND_CENTS, &terms->signup_credit, GIVEN(signup_credit)},
        {"concurrency_limit", &KIND_CONCURRENCY, &terms->concurrency_limit,
         GIVEN(concurrency_limit), .required = !given},
        {"max_session_minutes", &KIND_SESSION, &terms->max_session_minutes,
         GIVEN(max_session_minutes)},
        {"overage", &KIND_OVERAGE, &terms->overage_deny, GIVEN(overage)},
        {"credit_discount_bps", &KIND_DISCOUNT_BPS, &terms->credit_discount_bps,
         GIVEN(credit_discount_bps)},
        {"monthly_minimum", &KIND_CENTS, &terms->monthly_minimum, GIVEN(monthly_minimum)},
    };
    memcpy(members, all, sizeof all);
}

Terms terms_default(void)
{
    return (Terms){.concurrency_limit = TERM_NONE, .max_session_minutes = TERM_NONE};
}
