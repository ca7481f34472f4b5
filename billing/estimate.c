// SPDX-License-Identifier: Apache-2.0
#include "billing/estimate.h"

#include <inttypes.h>

// Hundredths of an hour are what decimal text with two decimals can say: 100 of them are 60
// minutes.
enum { HOURS_E2_PER_HOUR = 100, HOURS_E2_PER_DAY = 24 * HOURS_E2_PER_HOUR, MINUTES_PER_HOUR = 60 };

// A piece of input as messages show it.
#define SHOWN(s) (int)((s).n < 80 ? (s).n : 80), (s).p ? (s).p : ""

static Status unknown_size(const Catalog *catalog, const CatalogVersion *version, Str name,
                           Error *error)
{
    OWNED_BUF Buf known = {0};
    for (int s = 0; s < catalog->sizes; s++)
        if (version->sizes[s].present) buf_addf(&known, " %s", catalog->size_names[s]);
    return error_set(error, ST_BAD_INPUT, "there is no size \"%.*s\"; expected one of%s",
                     SHOWN(name), known.p);
}

static Status unknown_plan(const Catalog *catalog, const CatalogVersion *version, Str name,
                           Error *error)
{
    OWNED_BUF Buf known = {0};
    for (int p = 0; p < catalog->plans; p++)
        if (version->plans[p].present) buf_addf(&known, " %s", catalog->plan_names[p]);
    return error_set(error, ST_BAD_INPUT, "there is no plan \"%.*s\"; expected one of%s",
                     SHOWN(name), known.p);
}

// Adds what one item uses, in hundredths of an hour times credits per hour.
static Status item_use(const Catalog *catalog, const CatalogVersion *version,
                       const EstimateItem *item, Wide *use, Error *error)
{
    SizeNo size = catalog_size(catalog, item->size);
    if (size == SIZE_NONE || !version->sizes[size].present)
        return unknown_size(catalog, version, item->size, error);
    if (item->vms < 0 || item->vms > ESTIMATE_VMS_MAX)
        return error_set(error, ST_BAD_INPUT, "%" PRId64 " VMs; expected 0 to %d", item->vms,
                         ESTIMATE_VMS_MAX);
    if (item->days < 0 || item->days > ESTIMATE_DAYS_MAX)
        return error_set(error, ST_BAD_INPUT,
                         "%" PRId64 " days; expected 0 to %d, those of one period", item->days,
                         ESTIMATE_DAYS_MAX);
    Cents hours; // the same text as an amount of money's, and hundredths as well
    if (!cents_parse(item->hours_per_day, &hours) || hours.cents < 0 ||
        hours.cents > HOURS_E2_PER_DAY)
        return error_set(error, ST_BAD_INPUT,
                         "\"%.*s\" hours a day; expected 0 to 24, with at most two decimals",
                         SHOWN(item->hours_per_day));
    *use += (Wide)version->sizes[size].credits_per_hour * item->vms * hours.cents * item->days;
    return ST_OK;
}

static void price(const Terms *terms, Price credit_price, Estimate *e)
{
    CreditMinutes free = cm_min(e->credits, terms->included);
    e->included = terms->included;
    e->purchased = cm_sub(e->credits, free);
    e->base = terms->base_fee;
    e->usage = cents_sub(price_of(e->purchased, credit_price),
                         price_share_of(e->purchased, credit_price, terms->credit_discount_bps));
    Cents sum = cents_add(e->base, e->usage);
    bool below = sum.cents < terms->monthly_minimum.cents;
    e->minimum = below ? cents_sub(terms->monthly_minimum, sum) : (Cents){0};
    e->total = cents_add(sum, e->minimum);
}

Status estimate(const Catalog *catalog, Day on, Str plan, const EstimateItem *items, size_t count,
                Estimate *out, Error *error)
{
    const CatalogVersion *version = catalog_on(catalog, on);
    int found = catalog_plan(catalog, plan);
    if (found < 0 || !version->plans[found].present)
        return unknown_plan(catalog, version, plan, error);
    if (count > ESTIMATE_ITEMS_MAX)
        return error_set(error, ST_BAD_INPUT, "%zu items; expected at most %d", count,
                         ESTIMATE_ITEMS_MAX);
    Wide use = 0;
    for (size_t i = 0; i < count; i++) TRY(item_use(catalog, version, &items[i], &use, error));
    if (use > (Wide)CREDITS_MAX * HOURS_E2_PER_HOUR)
        return error_set(error, ST_BAD_INPUT, "more than %" PRId64 " credits", CREDITS_MAX);
    *out = (Estimate){.credits = {round_div(use * MINUTES_PER_HOUR, HOURS_E2_PER_HOUR)}};
    price(&version->plans[found].terms, version->credit_price, out);
    return ST_OK;
}

void estimate_json(const Estimate *estimate, Buf *out)
{
    char text[AMOUNT_TEXT];
    JsonWriter w = {.out = out};
    jw_begin_object(&w, NULL);
    jw_text(&w, "credits", credits_format(estimate->credits, text));
    jw_text(&w, "included", credits_format(estimate->included, text));
    jw_text(&w, "purchased", credits_format(estimate->purchased, text));
    jw_text(&w, "base", cents_format(estimate->base, text));
    jw_text(&w, "usage", cents_format(estimate->usage, text));
    jw_text(&w, "total", cents_format(estimate->total, text));
    jw_end_object(&w);
}
