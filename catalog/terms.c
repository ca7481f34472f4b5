// SPDX-License-Identifier: Apache-2.0
// What holds for an account on a day.
#include "catalog/catalog.h"

Standing account_standing(const Account *account, Day day)
{
    int last = -1; // the last subscription that has begun
    while (last + 1 < account->subscriptions &&
           account->subscription[last + 1].from.days <= day.days)
        last++;
    if (last < 0) return (Standing){.subscription = 0, .mark = last, .active = false};
    bool ended = str_absent(account->subscription[last].plan);
    return (Standing){.subscription = ended ? last - 1 : last, .mark = last, .active = !ended};
}

Terms account_terms(const Account *account, const Catalog *catalog, int subscription, Day day)
{
    const Subscription *subscribed = &account->subscription[subscription];
    int plan = catalog_plan(catalog, subscribed->plan);
    int v = catalog_version_index(catalog, day);
    ASSERT(plan >= 0);
    while (v + 1 < catalog->versions && !catalog->version[v].plans[plan].present) v++;
    ASSERT(catalog->version[v].plans[plan].present);
    Terms terms = catalog->version[v].plans[plan].terms;
    const Overrides *over = &subscribed->overrides;
    if (over->base_fee) terms.base_fee = over->terms.base_fee;
    if (over->included) terms.included = over->terms.included;
    if (over->signup_credit) terms.signup_credit = over->terms.signup_credit;
    if (over->concurrency_limit) terms.concurrency_limit = over->terms.concurrency_limit;
    if (over->max_session_minutes) terms.max_session_minutes = over->terms.max_session_minutes;
    if (over->overage) terms.overage_deny = over->terms.overage_deny;
    if (over->credit_discount_bps) terms.credit_discount_bps = over->terms.credit_discount_bps;
    if (over->monthly_minimum) terms.monthly_minimum = over->terms.monthly_minimum;
    return terms;
}

bool account_signup(const Account *account, const Catalog *catalog, Grant *out)
{
    for (int i = 0; i < account->subscriptions; i++) {
        const Subscription *subscription = &account->subscription[i];
        if (str_absent(subscription->plan)) continue;
        Cents credit = account_terms(account, catalog, i, subscription->from).signup_credit;
        if (credit.cents <= 0) continue;
        *out = (Grant){.id = STR("signup"),
                       .unit = GRANT_USD,
                       .amount = credit.cents,
                       .priority = 100,
                       .from = subscription->from,
                       .expires = DAY_END};
        return true;
    }
    return false;
}

static int compare(int64_t a, int64_t b) { return (a > b) - (a < b); }

int grant_compare(const Grant *a, const Grant *b)
{
    int order = compare(a->carried, b->carried);
    if (!order) order = compare(a->priority, b->priority);
    if (!order) order = compare(a->expires.days, b->expires.days);
    if (!order) order = compare(a->from.days, b->from.days);
    return order ? order : str_compare(a->id, b->id);
}
