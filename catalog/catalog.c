// SPDX-License-Identifier: Apache-2.0
// Look-ups in a catalogue; what is asked for every event and every day is a binary search at most.
#include "catalog/catalog.h"

void catalog_free(Catalog *catalog)
{
    if (!catalog) return;
    for (int v = 0; v < catalog->versions; v++) free(catalog->version[v].plans);
    free(catalog->version);
    free(catalog);
}

int catalog_version_index(const Catalog *catalog, Day day)
{
    int low = 0,
        high = catalog->versions; // the last that begins on or before the day lies in [low, high)
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (catalog->version[middle].from.days <= day.days) low = middle;
        else high = middle;
    }
    return low;
}

const CatalogVersion *catalog_on(const Catalog *catalog, Day day)
{
    return &catalog->version[catalog_version_index(catalog, day)];
}

static int find_name(const void *names, size_t stride, int count, Str name)
{
    int low = 0, high = count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = str_compare(str((const char *)names + (size_t)middle * stride), name);
        if (order == 0) return middle;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return -1;
}

SizeNo catalog_size(const Catalog *catalog, Str name)
{
    char lower[SIZE_NAME_MAX];
    if (str_absent(name) || name.n > sizeof lower) return SIZE_NONE;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    int found = find_name(catalog->size_names, sizeof catalog->size_names[0], catalog->sizes,
                          (Str){lower, name.n});
    return found < 0 ? SIZE_NONE : (SizeNo)found;
}

SizeNo catalog_size_for(const Catalog *catalog, const CatalogVersion *version, int64_t millicpu,
                        int64_t memory_bytes)
{
    SizeNo best = SIZE_NONE;
    for (int s = 0; s < catalog->sizes; s++) {
        const Size *size = &version->sizes[s];
        if (!size->present || size->millicpu < millicpu || size->memory_bytes < memory_bytes)
            continue;
        if (best == SIZE_NONE || size->credits_per_hour < version->sizes[best].credits_per_hour)
            best = (SizeNo)s;
    }
    return best;
}

int catalog_plan(const Catalog *catalog, Str name)
{
    if (str_absent(name)) return -1;
    return find_name(catalog->plan_names, sizeof catalog->plan_names[0], catalog->plans, name);
}
