// SPDX-License-Identifier: Apache-2.0
// billing/estimate: the price before the bill, of a fleet that runs so many hours a day for one
// whole period. Pure; the same roundings as an invoice's, so that the two agree. Hours are taken
// exactly, where an invoice counts each begun minute.
#pragma once

#include "catalog/catalog.h"

enum {
    ESTIMATE_ITEMS_MAX = 1000,
    ESTIMATE_VMS_MAX = 1000000,
    ESTIMATE_DAYS_MAX = 31,
};

typedef struct EstimateItem {
    Str size;          // a size's name, in any case
    int64_t vms;       // 0 to ESTIMATE_VMS_MAX
    Str hours_per_day; // decimal text, "0" to "24", at most two decimals
    int64_t days;      // 0 to ESTIMATE_DAYS_MAX
} EstimateItem;

typedef struct Estimate {
    CreditMinutes credits, included,
        purchased;     // used; the period's pool; what the pool does not cover
    Cents base, usage; // usage: the credits bought, less the plan's discount
    Cents minimum;     // what the plan's minimum adds
    Cents total;       // base + usage + minimum, before grants and tax
} Estimate;

// By the catalogue version in force on `on`. ST_BAD_INPUT names what is not known, or out of range.
Status estimate(const Catalog *catalog, Day on, Str plan, const EstimateItem *items, size_t count,
                Estimate *out, Error *error) MUST_USE;
// Appends {"credits","included","purchased","base","usage","total"}, decimal strings.
void estimate_json(const Estimate *estimate, Buf *out);
