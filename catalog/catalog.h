// SPDX-License-Identifier: Apache-2.0
// catalog: sizes, plans and prices by date, and accounts with their subscriptions and grants.
// Reading and checking the two files is pure; storing them is SQL. May touch base/ and db/; must
// never know events, minutes or invoices.
#pragma once

#include "base/json.h"
#include "base/money.h"
#include "base/time.h"

enum {
    CATALOG_VERSIONS_MAX = 1000,
    CATALOG_SIZES_MAX = 250, // a SizeNo fits a byte
    CATALOG_PLANS_MAX = 250,
    SIZE_NAME_MAX = 32, // [a-z0-9._-]
    PLAN_NAME_MAX = 64, // as ids
};

// A size's place among all sizes of a catalogue, sorted by name: comparing SizeNo compares names.
typedef uint8_t SizeNo;
#define SIZE_NONE ((SizeNo)255)

typedef struct Size {
    bool present;             // whether this version has it
    int32_t credits_per_hour; // >= 0; also cm per minute
    int64_t millicpu, memory_bytes;
} Size;

#define TERM_NONE INT64_C(-1) // no limit

// What a plan, or a subscription's overrides, sets.
typedef struct Terms {
    Cents base_fee;
    CreditMinutes included; // included_credits * 60, per whole period
    Cents signup_credit;
    int64_t concurrency_limit;   // TERM_NONE: none
    int64_t max_session_minutes; // TERM_NONE: none
    bool overage_deny;
    int64_t credit_discount_bps; // 0-10000
    Cents monthly_minimum;
} Terms;

typedef struct CatalogVersion {
    Day from;
    Price credit_price;
    int64_t heartbeat_timeout_us;
    Size sizes[CATALOG_SIZES_MAX]; // by SizeNo
    struct CatalogPlan {
        bool present;
        Terms terms;
    } * plans; // by plan number, as Catalog.plan_names
} CatalogVersion;

typedef struct Catalog {
    int64_t revision; // 0 where it was not read from the database
    int sizes, plans, versions;
    char size_names[CATALOG_SIZES_MAX][SIZE_NAME_MAX + 1]; // sorted
    char plan_names[CATALOG_PLANS_MAX][PLAN_NAME_MAX + 1]; // sorted
    CatalogVersion *version; // by date; version[0] also covers all time before
} Catalog;

// Reads and checks a catalogue file's JSON. ST_BAD_INPUT names the member, its value and what was
// expected; unknown members are refused. A version needs `from`, `credit_price`, `sizes` and
// `plans`; its `heartbeat_timeout_seconds` is 600 where not given. A plan needs
// `concurrency_limit`, and is otherwise without fee, allowance, signup credit, session limit,
// discount and minimum, and bills overage. Text as written is kept for `catalog show` by the store,
// not here. Owned by the caller.
Status catalog_parse(Str json, Catalog **out, Error *error) MUST_USE;
void catalog_free(Catalog *catalog);
static inline void catalog_free_pointer(Catalog **catalog) { catalog_free(*catalog); }
#define OWNED_CATALOG __attribute__((cleanup(catalog_free_pointer)))

// Whether every size that `before` has at some time is there at that time in `after` too, so that
// what was metered keeps its meaning; else ST_BAD_INPUT names one that is not.
Status catalog_keeps_sizes(const Catalog *before, const Catalog *after, Error *error) MUST_USE;

// The version in force on a day; never NULL.
const CatalogVersion *catalog_on(const Catalog *catalog, Day day);
int catalog_version_index(const Catalog *catalog, Day day);
// By name in any case; SIZE_NONE where no version has it.
SizeNo catalog_size(const Catalog *catalog, Str name);
// The cheapest size of `version` that holds both, of equally cheap ones the first by name;
// SIZE_NONE where none does.
SizeNo catalog_size_for(const Catalog *catalog, const CatalogVersion *version, int64_t millicpu,
                        int64_t memory_bytes);
// -1 where there is none of that name.
int catalog_plan(const Catalog *catalog, Str name);

// ---- accounts ----
enum {
    ACCOUNT_NAME_MAX = 1024,  // bytes
    SUBSCRIPTIONS_MAX = 1000, // per account
    GRANTS_MAX = 10000,       // per account
};

typedef enum GrantUnit { GRANT_CREDIT = 0, GRANT_USD = 1 } GrantUnit;

typedef struct Grant {
    Str id;
    GrantUnit unit;
    int64_t amount;   // cm for GRANT_CREDIT, cents for GRANT_USD
    int64_t priority; // lower first; 100 where not given
    Day from;
    Day expires;  // DAY_END where never
    bool carried; // carry:<number>: after all others
} Grant;

// Which of Terms' members a subscription's overrides set.
typedef struct Overrides {
    bool base_fee, included, signup_credit, concurrency_limit, max_session_minutes, overage,
        credit_discount_bps, monthly_minimum;
    Terms terms;
} Overrides;

typedef struct Subscription {
    Day from;
    Str plan; // absent: the end
    Overrides overrides;
} Subscription;

typedef struct Account {
    Str id, name;
    int64_t revision; // 0 where it was not read from the database
    int64_t tax_rate_bps;
    bool has_spend_limit;
    Cents spend_limit;
    bool suspended;
    int subscriptions, grants;
    Subscription *subscription; // by date
    Grant *grant;               // as written, without `signup` and carried ones
    Str content;                // the account's object as it was written, compact JSON
} Account;

// Reads and checks an accounts file. All of `*out` lives in `arena`. Every account is checked
// against the catalogue too: its plans must exist in every version in force while they are
// subscribed.
Status accounts_parse(Str json, const Catalog *catalog, Arena *arena, Account **out, size_t *count,
                      Error *error) MUST_USE;
// That check alone, as after a change of the catalogue: ST_BAD_INPUT names the account, the plan
// and the version.
Status account_check_plans(const Account *account, const Catalog *catalog, Error *error) MUST_USE;
// One stored account's object back into values; the same checks without the catalogue.
Status account_parse(Str json, Arena *arena, Account *out, Error *error) MUST_USE;

// Where a day falls among the subscriptions: index into subscription[] whose terms hold, and
// whether base, allowance, minimum and starts do too (not before the first, nor after an end).
typedef struct Standing {
    int subscription; // index of the plan whose terms hold
    int mark; // a number that differs for every stretch of days with one subscription (or before,
              // or ended)
    bool active;
} Standing;
Standing account_standing(const Account *account, Day day);
// The plan's terms in the version in force on `day`, with the subscription's overrides. Before the
// first subscription a version may lack its plan: then those of the next version that has it.
Terms account_terms(const Account *account, const Catalog *catalog, int subscription, Day day);
// The `signup` grant, if the account has one: *out is filled and true returned.
bool account_signup(const Account *account, const Catalog *catalog, Grant *out);
// Order in which grants are drawn: (carried last, priority, expires with never last, from, id).
int grant_compare(const Grant *a, const Grant *b);
