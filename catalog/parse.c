// SPDX-License-Identifier: Apache-2.0
// Reading a catalogue: first each version's own members, then the names of all sizes and plans,
// which number them, then what each version says of them.
#include "catalog/read.h"

enum { HEARTBEAT_TIMEOUT_SECONDS = 600 };

typedef struct Draft {
    Node node, sizes, plans;
    CatalogVersion version;
} Draft;

typedef struct Drafts {
    size_t count;
    Draft *draft;   // as written; nodes point at each other in here
    Draft **sorted; // by date
} Drafts;

static void drafts_done(Drafts *drafts)
{
    free(drafts->draft);
    free(drafts->sorted);
}

// ---- versions ----
static Status read_draft(Draft *draft)
{
    draft->version.heartbeat_timeout_us = HEARTBEAT_TIMEOUT_SECONDS * US_PER_SECOND;
    const Member members[] = {
        {"from", &KIND_DAY, &draft->version.from, .required = true},
        {"credit_price", &KIND_PRICE, &draft->version.credit_price, .required = true},
        {"heartbeat_timeout_seconds", &KIND_TIMEOUT, &draft->version.heartbeat_timeout_us},
        {"sizes", &KIND_OBJECT, &draft->sizes, .required = true},
        {"plans", &KIND_OBJECT, &draft->plans, .required = true},
    };
    TRY(node_members(&draft->node, members, sizeof members / sizeof *members));
    if (!json_first(draft->sizes.json))
        return node_bad(&draft->sizes, "there must be at least one size");
    if (!json_first(draft->plans.json))
        return node_bad(&draft->plans, "there must be at least one plan");
    return ST_OK;
}

static int compare_drafts(const void *a, const void *b)
{
    int32_t x = (*(Draft *const *)a)->version.from.days,
            y = (*(Draft *const *)b)->version.from.days;
    return (x > y) - (x < y);
}

static Status read_drafts(const Node *versions, Drafts *drafts)
{
    size_t count = json_count(versions->json);
    if (count < 1 || count > CATALOG_VERSIONS_MAX)
        return node_bad(versions, "%zu versions; expected 1 to %d", count, CATALOG_VERSIONS_MAX);
    drafts->count = count;
    drafts->draft = mem_alloc(count * sizeof *drafts->draft);
    drafts->sorted = mem_alloc(count * sizeof *drafts->sorted);
    for (Node version = node_first(versions); version.json; version = node_next(&version)) {
        Draft *draft = &drafts->draft[version.place];
        drafts->sorted[version.place] = draft;
        draft->node = version;
        TRY(read_draft(draft));
    }
    qsort(drafts->sorted, count, sizeof *drafts->sorted, compare_drafts);
    for (size_t i = 1; i < count; i++) {
        if (compare_drafts(&drafts->sorted[i - 1], &drafts->sorted[i]) != 0) continue;
        char day[DAY_TEXT];
        return node_bad(versions, "two are from %s",
                        day_format(drafts->sorted[i]->version.from, day));
    }
    return ST_OK;
}

// ---- names ----
static bool size_name(const char *name, char lower[static SIZE_NAME_MAX + 1])
{
    size_t n = strlen(name);
    if (n < 1 || n > SIZE_NAME_MAX) return false;
    for (size_t i = 0; i <= n; i++) {
        char c = name[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("._-", c));
        if (!fine && i < n) return false;
        lower[i] = c;
    }
    return true;
}

// Puts a name at its place among `count` sorted ones of `stride` bytes each, unless it is there.
static bool add_name(void *names, size_t stride, int *count, int max, const char *name)
{
    char *at = names, *end = at + (size_t)*count * stride;
    while (at < end && strcmp(at, name) < 0) at += stride;
    if (at < end && strcmp(at, name) == 0) return true;
    if (*count == max) return false;
    memmove(at + stride, at, (size_t)(end - at));
    memcpy(at, name, strlen(name) + 1);
    (*count)++;
    return true;
}

static Status collect_names(const Draft *draft, Catalog *catalog)
{
    for (Node size = node_first(&draft->sizes); size.json; size = node_next(&size)) {
        char name[SIZE_NAME_MAX + 1];
        if (!size_name(json_name(size.json), name))
            return node_bad(&size, "a size's name is 1 to %d of a-z 0-9 . _ -", SIZE_NAME_MAX);
        if (!add_name(catalog->size_names, sizeof catalog->size_names[0], &catalog->sizes,
                      CATALOG_SIZES_MAX, name))
            return node_bad(&size, "more than %d sizes", CATALOG_SIZES_MAX);
    }
    for (Node plan = node_first(&draft->plans); plan.json; plan = node_next(&plan)) {
        const char *name = json_name(plan.json);
        if (!str_is_id(str(name))) return node_bad(&plan, "a plan's name is %s", KIND_ID.expected);
        if (!add_name(catalog->plan_names, sizeof catalog->plan_names[0], &catalog->plans,
                      CATALOG_PLANS_MAX, name))
            return node_bad(&plan, "more than %d plans", CATALOG_PLANS_MAX);
    }
    return ST_OK;
}

// ---- sizes and plans ----
static Status read_size(const Node *node, Size *size)
{
    const Member members[] = {
        {"vcpus", &KIND_VCPUS, &size->millicpu, .required = true},
        {"memory_gib", &KIND_MEMORY_GIB, &size->memory_bytes, .required = true},
        {"credits_per_hour", &KIND_RATE, &size->credits_per_hour, .required = true},
    };
    if (size->present) return node_bad(node, "this size stands twice, in different case");
    size->present = true;
    return node_members(node, members, sizeof members / sizeof *members);
}

static Status read_plan(const Node *node, struct CatalogPlan *plan)
{
    Member members[TERMS_MEMBERS];
    plan->present = true;
    plan->terms = terms_default();
    terms_members(&plan->terms, NULL, members);
    return node_members(node, members, TERMS_MEMBERS);
}

static Status fill_version(const Draft *draft, const Catalog *catalog, CatalogVersion *version)
{
    *version = draft->version;
    version->plans = mem_alloc((size_t)catalog->plans * sizeof *version->plans);
    for (Node size = node_first(&draft->sizes); size.json; size = node_next(&size))
        TRY(read_size(&size, &version->sizes[catalog_size(catalog, str(json_name(size.json)))]));
    for (Node plan = node_first(&draft->plans); plan.json; plan = node_next(&plan))
        TRY(read_plan(&plan, &version->plans[catalog_plan(catalog, str(json_name(plan.json)))]));
    return ST_OK;
}

// A size that is in `earlier` but not in `later`, or SIZE_NONE.
static SizeNo size_lost(const Catalog *catalog, const CatalogVersion *earlier,
                        const CatalogVersion *later)
{
    for (int s = 0; s < catalog->sizes; s++)
        if (earlier->sizes[s].present && !later->sizes[s].present) return (SizeNo)s;
    return SIZE_NONE;
}

static Status build(const Drafts *drafts, Catalog *catalog)
{
    for (size_t v = 0; v < drafts->count; v++) TRY(collect_names(&drafts->draft[v], catalog));
    catalog->version = mem_alloc(drafts->count * sizeof *catalog->version);
    catalog->versions = (int)drafts->count;
    for (size_t v = 0; v < drafts->count; v++) {
        CatalogVersion *version = &catalog->version[v];
        TRY(fill_version(drafts->sorted[v], catalog, version));
        SizeNo lost = v ? size_lost(catalog, version - 1, version) : SIZE_NONE;
        if (lost == SIZE_NONE) continue;
        char day[DAY_TEXT];
        return node_bad(&drafts->sorted[v]->sizes,
                        "\"%s\" is missing, which the version from %s has",
                        catalog->size_names[lost], day_format(version[-1].from, day));
    }
    return ST_OK;
}

Status catalog_parse(Str json, Catalog **out, Error *error)
{
    OWNED_JSON Json *tree = NULL;
    TRY(json_parse(json, JSON_FILE_BYTES_MAX, &tree, error));
    const Node top = {.json = tree, .error = error};
    Node versions;
    const Member members[] = {{"versions", &KIND_ARRAY, &versions, .required = true}};
    TRY(node_members(&top, members, 1));
    __attribute__((cleanup(drafts_done))) Drafts drafts = {0};
    TRY(read_drafts(&versions, &drafts));
    OWNED_CATALOG Catalog *catalog = mem_alloc(sizeof *catalog);
    TRY(build(&drafts, catalog));
    *out = catalog;
    catalog = NULL;
    return ST_OK;
}

Status catalog_keeps_sizes(const Catalog *before, const Catalog *after, Error *error)
{
    for (int v = 0; v < before->versions; v++) {
        const CatalogVersion *old = &before->version[v];
        // The first version covers all time before as well; sizes only ever join, so its own day
        // speaks for the rest of its time.
        const CatalogVersion *new = v ? catalog_on(after, old->from) : &after->version[0];
        for (int s = 0; s < before->sizes; s++) {
            if (!old->sizes[s].present) continue;
            SizeNo size = catalog_size(after, str(before->size_names[s]));
            if (size != SIZE_NONE && new->sizes[size].present) continue;
            char day[DAY_TEXT], old_day[DAY_TEXT];
            return error_set(
                error, ST_BAD_INPUT,
                "the version from %s lacks the size \"%s\", which the catalogue in force has in its "
                "version from %s",
                day_format(new->from, day), before->size_names[s], day_format(old->from, old_day));
        }
    }
    return ST_OK;
}
