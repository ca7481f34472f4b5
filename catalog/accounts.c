// SPDX-License-Identifier: Apache-2.0
// Reading accounts: an accounts file, or one stored account again. The same checks hold for both,
// so what is stored can always be read.
#include "catalog/read.h"

enum { PRIORITY_DEFAULT = 100 };

// ---- subscriptions ----
static Status read_subscription(const Node *node, Subscription *subscription)
{
    Node overrides = {0};
    const Member members[] = {
        {"plan", &KIND_PLAN, &subscription->plan, .required = true},
        {"from", &KIND_DAY, &subscription->from, .required = true},
        {"overrides", &KIND_OBJECT, &overrides},
    };
    TRY(node_members(node, members, sizeof members / sizeof *members));
    subscription->overrides.terms = terms_default();
    if (!overrides.json) return ST_OK;
    if (str_absent(subscription->plan))
        return node_bad(&overrides, "the end of a subscription has no terms");
    Member terms[TERMS_MEMBERS];
    terms_members(&subscription->overrides.terms, &subscription->overrides, terms);
    return node_members(&overrides, terms, TERMS_MEMBERS);
}

static int compare_subscriptions(const void *a, const void *b)
{
    int32_t x = ((const Subscription *)a)->from.days, y = ((const Subscription *)b)->from.days;
    return (x > y) - (x < y);
}

static Status read_subscriptions(const Node *node, Account *account)
{
    size_t count = json_count(node->json);
    if (count < 1 || count > SUBSCRIPTIONS_MAX)
        return node_bad(node, "%zu subscriptions; expected 1 to %d", count, SUBSCRIPTIONS_MAX);
    Subscription *all = arena_alloc(node->arena, count * sizeof *all);
    for (Node e = node_first(node); e.json; e = node_next(&e))
        TRY(read_subscription(&e, &all[e.place]));
    qsort(all, count, sizeof *all, compare_subscriptions);
    char day[DAY_TEXT];
    if (str_absent(all[0].plan))
        return node_bad(node, "the first, from %s, names no plan", day_format(all[0].from, day));
    for (size_t i = 1; i < count; i++) {
        if (all[i - 1].from.days == all[i].from.days)
            return node_bad(node, "two are from %s", day_format(all[i].from, day));
        if (str_absent(all[i - 1].plan) && str_absent(all[i].plan))
            return node_bad(node, "the end from %s follows an end", day_format(all[i].from, day));
    }
    account->subscriptions = (int)count;
    account->subscription = all;
    return ST_OK;
}

// ---- grants ----
static Status read_amount(const Node *node, Grant *grant)
{
    Str text;
    ASSERT(json_text(node->json, &text));
    if (grant->unit == GRANT_USD) {
        Cents cents;
        if (!cents_parse(text, &cents) || cents.cents < 0)
            return node_is_not(node, KIND_CENTS.expected);
        grant->amount = cents.cents;
        return ST_OK;
    }
    CreditMinutes credits;
    if (!credits_parse(text, &credits) || credits.cm < 0)
        return node_is_not(
            node, "an amount of credits (text, 0 or more, in whole 1/60 of a credit: \"12.25\")");
    grant->amount = credits.cm;
    return ST_OK;
}

static Status read_grant(const Node *node, Grant *grant)
{
    Node amount;
    grant->priority = PRIORITY_DEFAULT;
    grant->expires = DAY_END;
    const Member members[] = {
        {"id", &KIND_ID, &grant->id, .required = true},
        {"unit", &KIND_UNIT, &grant->unit, .required = true},
        {"amount", &KIND_TEXT, &amount, .required = true},
        {"priority", &KIND_PRIORITY, &grant->priority},
        {"from", &KIND_DAY, &grant->from, .required = true},
        {"expires", &KIND_DAY, &grant->expires},
    };
    TRY(node_members(node, members, sizeof members / sizeof *members));
    if (str_is(grant->id, "signup") || strncmp(grant->id.p, "carry:", 6) == 0)
        return node_bad(node, "the id \"%s\" is reserved", grant->id.p);
    char from[DAY_TEXT], expires[DAY_TEXT];
    if (grant->from.days >= grant->expires.days)
        return node_bad(node, "from %s is not before expires %s", day_format(grant->from, from),
                        day_format(grant->expires, expires));
    return read_amount(&amount, grant);
}

static int compare_texts(const void *a, const void *b)
{
    return str_compare(*(const Str *)a, *(const Str *)b);
}

// Refuses an id that stands twice among `count` ids, each `stride` bytes after the one before.
static Status check_unique(const Node *node, const Str *first, size_t stride, size_t count)
{
    Str *ids = mem_alloc(count * sizeof *ids);
    for (size_t i = 0; i < count; i++) ids[i] = *(const Str *)((const char *)first + i * stride);
    qsort(ids, count, sizeof *ids, compare_texts);
    Str twice = {0};
    for (size_t i = 1; i < count; i++)
        if (str_equal(ids[i - 1], ids[i])) twice = ids[i];
    free(ids);
    if (str_absent(twice)) return ST_OK;
    return node_bad(node, "two have the id \"%.*s\"", (int)twice.n, twice.p);
}

static Status read_grants(const Node *node, Account *account)
{
    size_t count = json_count(node->json);
    if (count > GRANTS_MAX)
        return node_bad(node, "%zu grants; expected at most %d", count, GRANTS_MAX);
    account->grants = (int)count;
    account->grant = arena_alloc(node->arena, count * sizeof *account->grant);
    for (Node e = node_first(node); e.json; e = node_next(&e))
        TRY(read_grant(&e, &account->grant[e.place]));
    return check_unique(node, &account->grant->id, sizeof *account->grant, count);
}

// ---- accounts ----
static Status read_account(const Node *node, Account *account)
{
    Node subscriptions, grants = {0};
    const Member members[] = {
        {"id", &KIND_ID, &account->id, .required = true},
        {"name", &KIND_NAME, &account->name, .required = true},
        {"tax_rate_bps", &KIND_TAX_BPS, &account->tax_rate_bps},
        {"subscriptions", &KIND_ARRAY, &subscriptions, .required = true},
        {"grants", &KIND_ARRAY, &grants},
        {"spend_limit", &KIND_CENTS, &account->spend_limit, .given = &account->has_spend_limit},
        {"suspended", &KIND_BOOL, &account->suspended},
    };
    TRY(node_members(node, members, sizeof members / sizeof *members));
    TRY(read_subscriptions(&subscriptions, account));
    if (grants.json) TRY(read_grants(&grants, account));
    OWNED_BUF Buf content = {0};
    json_print(node->json, &content);
    account->content = arena_copy(node->arena, buf_str(&content));
    return ST_OK;
}

// The first of the versions in force in [from, end) that lacks the plan; -1 where none does.
static int version_lacking(const Catalog *catalog, Str name, Day from, Day end)
{
    int plan = catalog_plan(catalog, name);
    int last = catalog_version_index(catalog, day_add(end, -1));
    for (int v = catalog_version_index(catalog, from); v <= last; v++)
        if (plan < 0 || !catalog->version[v].plans[plan].present) return v;
    return -1;
}

Status account_check_plans(const Account *account, const Catalog *catalog, Error *error)
{
    for (int i = 0; i < account->subscriptions; i++) {
        const Subscription *subscription = &account->subscription[i];
        if (str_absent(subscription->plan)) continue;
        // What runs on after an end is rated on the terms of the plan before it.
        int next = i + 1;
        if (next < account->subscriptions && str_absent(account->subscription[next].plan)) next++;
        Day end = next < account->subscriptions ? account->subscription[next].from : DAY_END;
        int v = version_lacking(catalog, subscription->plan, subscription->from, end);
        if (v < 0) continue;
        char from[DAY_TEXT], since[DAY_TEXT];
        return error_set(
            error, ST_BAD_INPUT,
            "account \"%s\": the plan \"%s\", subscribed from %s, is not in the catalogue's "
            "version from %s",
            account->id.p, subscription->plan.p, day_format(subscription->from, from),
            day_format(catalog->version[v].from, since));
    }
    return ST_OK;
}

static int compare_accounts(const void *a, const void *b)
{
    return str_compare(((const Account *)a)->id, ((const Account *)b)->id);
}

Status accounts_parse(Str json, const Catalog *catalog, Arena *arena, Account **out, size_t *count,
                      Error *error)
{
    OWNED_JSON Json *tree = NULL;
    TRY(json_parse(json, JSON_FILE_BYTES_MAX, &tree, error));
    const Node top = {.json = tree, .arena = arena, .error = error};
    Node list;
    const Member members[] = {{"accounts", &KIND_ARRAY, &list, .required = true}};
    TRY(node_members(&top, members, 1));
    *count = json_count(list.json);
    Account *accounts = arena_alloc(arena, *count * sizeof *accounts);
    for (Node e = node_first(&list); e.json; e = node_next(&e)) {
        TRY(read_account(&e, &accounts[e.place]));
        TRY(account_check_plans(&accounts[e.place], catalog, error));
    }
    TRY(check_unique(&list, &accounts->id, sizeof *accounts, *count));
    qsort(accounts, *count, sizeof *accounts, compare_accounts);
    *out = accounts;
    return ST_OK;
}

Status account_parse(Str json, Arena *arena, Account *out, Error *error)
{
    OWNED_JSON Json *tree = NULL;
    TRY(json_parse(json, JSON_FILE_BYTES_MAX, &tree, error));
    const Node top = {.json = tree, .arena = arena, .error = error};
    *out = (Account){0};
    return read_account(&top, out);
}
