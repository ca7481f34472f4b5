// SPDX-License-Identifier: Apache-2.0
// Proves that accounts files are read to the letter, and what follows from an account on every day:
// where it stands, its terms, its signup credit and the order of its grants.
#include "tests/catalog_rows.h"

#define ACCOUNTS(accounts) "{'accounts':[" accounts "]}"
#define ACCOUNT(members) ACCOUNTS("{'id':'acme','name':'Acme'," members "}")
#define PLAN(plan, from) "{'plan':'" plan "','from':'" from "'}"
#define END(from) "{'plan':null,'from':'" from "'}"
#define SUBSCRIBED "'subscriptions':[" PLAN("scale", "2026-01-01") "]"
#define NAMED(id) "{'id':'" id "','name':'x'," SUBSCRIBED "}"
#define SUBSCRIPTIONS(list) ACCOUNT("'subscriptions':[" list "]")
#define OVERRIDES(members)                                                                         \
    SUBSCRIPTIONS("{'plan':'scale','from':'2026-01-01','overrides':{" members "}}")
#define GRANTS(list) ACCOUNT(SUBSCRIBED ",'grants':[" list "]")
#define GRANT(members) GRANTS("{'id':'g','from':'2026-01-01'," members "}")

static const Row ACCOUNT_ROWS[] = {
    {"none", ACCOUNTS(""), NULL},
    {"the least there can be", ACCOUNT(SUBSCRIBED), NULL},
    {"the contract's",
     ACCOUNTS("{'id':'acme','name':'Acme GmbH','tax_rate_bps':1900,"
              "'subscriptions':[{'plan':'scale','from':'2026-09-15'},"
              "{'plan':'enterprise','from':'2026-10-10',"
              "'overrides':{'concurrency_limit':1000,'credit_discount_bps':1500,"
              "'included_credits':5000,'monthly_minimum':'5000.00'}},"
              "{'plan':null,'from':'2027-01-01'}],"
              "'grants':[{'id':'promo','unit':'credit','amount':'500','priority':1,"
              "'from':'2026-10-01','expires':'2026-11-01'},"
              "{'id':'goodwill','unit':'usd','amount':'25.00','from':'2026-10-01'}],"
              "'spend_limit':'2000.00','suspended':false}"),
     NULL},
    {"subscriptions in any order", SUBSCRIPTIONS(END("2026-02-01") "," PLAN("scale", "2026-01-01")),
     NULL},
    {"a plan again after an end",
     SUBSCRIPTIONS(PLAN("scale", "2026-01-01") "," END("2026-02-01") "," PLAN(
         "pro", "2026-03-01") "," END("2026-04-01")),
     NULL},
    {"both terms that may be null",
     OVERRIDES("'concurrency_limit':null,'max_session_minutes':null"), NULL},
    {"all overrides",
     OVERRIDES("'base_fee':'0','included_credits':0,'signup_credit':'0.00','concurrency_limit':0,"
               "'max_session_minutes':1,'overage':'deny','credit_discount_bps':0,"
               "'monthly_minimum':'0'"),
     NULL},
    {"a grant of parts of credits", GRANT("'unit':'credit','amount':'12.25'"), NULL},
    {"a grant of nothing", GRANT("'unit':'usd','amount':'0'"), NULL},
    {"a grant for a day", GRANT("'unit':'usd','amount':'1','expires':'2026-01-02'"), NULL},
    {"ids that only begin like reserved ones",
     GRANTS("{'id':'signups','unit':'usd','amount':'1','from':'2026-01-01'},"
            "{'id':'carry','unit':'usd','amount':'1','from':'2026-01-01'}"),
     NULL},
    {"the longest id",
     ACCOUNTS("{'id':'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef','name':'x'"
              "," SUBSCRIBED "}"),
     NULL},
    {"a future plan, later than now", SUBSCRIPTIONS(PLAN("scale", "2199-12-31")), NULL},
    {"not an object", "[]", "not a JSON object"},
    {"no accounts", "{}", "\"accounts\" is missing; expected an array"},
    {"null accounts", "{'accounts':null}", "accounts: null is not an array"},
    {"an account of another kind", ACCOUNTS("'acme'"), "accounts[0]: \"acme\" is not an object"},
    {"no id", ACCOUNTS("{'name':'x'," SUBSCRIBED "}"), "accounts[0]: \"id\" is missing"},
    {"an id with a space", ACCOUNTS("{'id':'a b','name':'x'," SUBSCRIBED "}"),
     "accounts[0].id: \"a b\" is not an id"},
    {"an empty id", ACCOUNTS("{'id':'','name':'x'," SUBSCRIBED "}"),
     "accounts[0].id: \"\" is not an id"},
    {"an id that is too long",
     ACCOUNTS("{'id':'0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0','name':'x'"
              "," SUBSCRIBED "}"),
     "is not an id"},
    {"no name", ACCOUNTS("{'id':'a'," SUBSCRIBED "}"), "accounts[0]: \"name\" is missing"},
    {"an empty name", ACCOUNTS("{'id':'a','name':''," SUBSCRIBED "}"),
     "accounts[0].name: \"\" is not a name"},
    {"two of one id", ACCOUNTS(NAMED("a") ",{'id':'b','name':'x'," SUBSCRIBED "}," NAMED("a")),
     "accounts: two have the id \"a\""},
    {"a typo", ACCOUNT(SUBSCRIBED ",'suspend':true"),
     "accounts[0].suspend: no member has this name here; there are id, name, tax_rate_bps,"},
    {"a member in another case", ACCOUNT(SUBSCRIBED ",'Grants':[]"),
     "accounts[0].Grants: no member"},
    {"a negative tax", ACCOUNT(SUBSCRIBED ",'tax_rate_bps':-1"),
     "accounts[0].tax_rate_bps: -1 is not"},
    {"a tax with a fraction", ACCOUNT(SUBSCRIBED ",'tax_rate_bps':19.5"),
     "accounts[0].tax_rate_bps: 19.5 is not"},
    {"a null tax", ACCOUNT(SUBSCRIBED ",'tax_rate_bps':null"),
     "accounts[0].tax_rate_bps: null is not"},
    {"a null spend limit", ACCOUNT(SUBSCRIBED ",'spend_limit':null"),
     "accounts[0].spend_limit: null is not an amount"},
    {"a spend limit that is a number", ACCOUNT(SUBSCRIBED ",'spend_limit':2000"),
     "accounts[0].spend_limit: 2000 is not an amount"},
    {"suspended of another kind", ACCOUNT(SUBSCRIBED ",'suspended':'no'"),
     "accounts[0].suspended: \"no\" is not true or false"},
    {"null grants", ACCOUNT(SUBSCRIBED ",'grants':null"),
     "accounts[0].grants: null is not an array"},
    {"no subscriptions", ACCOUNT("'tax_rate_bps':0"), "accounts[0]: \"subscriptions\" is missing"},
    {"empty subscriptions", SUBSCRIPTIONS(""),
     "accounts[0].subscriptions: 0 subscriptions; expected 1 to 1000"},
    {"the first names no plan", SUBSCRIPTIONS(PLAN("scale", "2026-02-01") "," END("2026-01-01")),
     "accounts[0].subscriptions: the first, from 2026-01-01, names no plan"},
    {"two of one date", SUBSCRIPTIONS(PLAN("scale", "2026-02-01") "," PLAN("pro", "2026-02-01")),
     "accounts[0].subscriptions: two are from 2026-02-01"},
    {"two ends",
     SUBSCRIPTIONS(PLAN("scale", "2026-01-01") "," END("2026-03-01") "," END("2026-02-01")),
     "accounts[0].subscriptions: the end from 2026-03-01 follows an end"},
    {"no plan member", SUBSCRIPTIONS("{'from':'2026-01-01'}"),
     "accounts[0].subscriptions[0]: \"plan\" is missing"},
    {"no date", SUBSCRIPTIONS("{'plan':'scale'}"),
     "accounts[0].subscriptions[0]: \"from\" is missing"},
    {"no such date", SUBSCRIPTIONS(PLAN("scale", "2026-01-01") "," PLAN("scale", "2026-13-01")),
     "accounts[0].subscriptions[1].from: \"2026-13-01\" is not a date (YYYY-MM-DD)"},
    {"an unknown plan", SUBSCRIPTIONS(PLAN("gold", "2026-01-01")),
     "account \"acme\": the plan \"gold\", subscribed from 2026-01-01, is not in the catalogue's "
     "version from 2025-05-20"},
    {"overrides of an end",
     SUBSCRIPTIONS(PLAN("scale", "2026-01-01") ",{'plan':null,'from':'2026-02-01','overrides':{}}"),
     "accounts[0].subscriptions[1].overrides: the end of a subscription has no terms"},
    {"null overrides", SUBSCRIPTIONS("{'plan':'scale','from':'2026-01-01','overrides':null}"),
     "overrides: null is not an object"},
    {"a typo in overrides", OVERRIDES("'monthly_min':'1'"),
     "accounts[0].subscriptions[0].overrides.monthly_min: no member has this name here; there are "
     "base_fee,"},
    {"a null fee", OVERRIDES("'base_fee':null"), "overrides.base_fee: null is not"},
    {"a null allowance", OVERRIDES("'included_credits':null"),
     "overrides.included_credits: null is not"},
    {"a null overage", OVERRIDES("'overage':null"), "overrides.overage: null is not"},
    {"a discount beyond all", OVERRIDES("'credit_discount_bps':10001"),
     "overrides.credit_discount_bps: 10001 is not a whole number of basis points from 0 to 10000"},
    {"a minimum of three decimals", OVERRIDES("'monthly_minimum':'0.001'"),
     "overrides.monthly_minimum: \"0.001\" is not"},
    {"a limit that is text", OVERRIDES("'concurrency_limit':'10'"),
     "overrides.concurrency_limit: \"10\" is not"},
    {"a grant without a unit", GRANT("'amount':'1'"),
     "accounts[0].grants[0]: \"unit\" is missing; expected \"credit\" or \"usd\""},
    {"another unit", GRANT("'unit':'eur','amount':'1'"),
     "accounts[0].grants[0].unit: \"eur\" is not"},
    {"a grant without an amount", GRANT("'unit':'usd'"),
     "accounts[0].grants[0]: \"amount\" is missing"},
    {"an amount that is a number", GRANT("'unit':'credit','amount':500"),
     "accounts[0].grants[0].amount: 500 is not text"},
    {"dollars of three decimals", GRANT("'unit':'usd','amount':'1.005'"),
     "accounts[0].grants[0].amount: \"1.005\" is not an amount of money"},
    {"negative dollars", GRANT("'unit':'usd','amount':'-1'"),
     "amount: \"-1\" is not an amount of money"},
    {"credits that are not whole cm", GRANT("'unit':'credit','amount':'0.001'"),
     "accounts[0].grants[0].amount: \"0.001\" is not an amount of credits"},
    {"negative credits", GRANT("'unit':'credit','amount':'-1'"),
     "amount: \"-1\" is not an amount of credits"},
    {"credits beyond their bound", GRANT("'unit':'credit','amount':'1000000000001'"),
     "is not an amount of credits"},
    {"a priority with a fraction", GRANT("'unit':'usd','amount':'1','priority':1.5"),
     "accounts[0].grants[0].priority: 1.5 is not"},
    {"a null expiry", GRANT("'unit':'usd','amount':'1','expires':null"),
     "accounts[0].grants[0].expires: null is not a date"},
    {"expires when it begins", GRANT("'unit':'usd','amount':'1','expires':'2026-01-01'"),
     "accounts[0].grants[0]: from 2026-01-01 is not before expires 2026-01-01"},
    {"a reserved id", GRANTS("{'id':'signup','unit':'usd','amount':'1','from':'2026-01-01'}"),
     "accounts[0].grants[0]: the id \"signup\" is reserved"},
    {"another reserved id",
     GRANTS("{'id':'carry:x','unit':'usd','amount':'1','from':'2026-01-01'}"),
     "the id \"carry:x\" is reserved"},
    {"two grants of one id",
     GRANTS("{'id':'a','unit':'usd','amount':'1','from':'2026-01-01'},"
            "{'id':'a','unit':'credit','amount':'1','from':'2026-02-01'}"),
     "accounts[0].grants: two have the id \"a\""},
};

START_TEST(accounts)
{
    const Row *row = &ACCOUNT_ROWS[_i];
    OWNED_CATALOG Catalog *catalog = parse(DEFAULT_CATALOG);
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf text = {0};
    Error error = {0};
    Account *list = NULL;
    size_t count = 0;
    Status status = accounts_parse(quoted(row->text, &text), catalog, arena, &list, &count, &error);
    check_row(row, status, &error);
    // What is stored is read by the same rules: its content gives the same account again.
    for (size_t i = 0; status == ST_OK && i < count; i++) {
        Account again;
        ck_assert_msg(account_parse(list[i].content, arena, &again, &error) == ST_OK, "%s: %s",
                      row->label, error.text);
        ck_assert(str_equal(again.content, list[i].content) && again.grants == list[i].grants);
    }
}
END_TEST

static Account account(const char *json, Arena *arena)
{
    OWNED_BUF Buf text = {0};
    Account account;
    Error error = {0};
    ck_assert_msg(account_parse(quoted(json, &text), arena, &account, &error) == ST_OK, "%s",
                  error.text);
    return account;
}

START_TEST(account_values)
{
    OWNED_ARENA Arena *arena = arena_new();
    Account a = account(
        "{'id':'a','name':'N\\u00e9','subscriptions':[" PLAN("pro", "2026-01-01") "],'grants':["
        "{'id':'x','unit':'credit','amount':'12.25','priority':-3,'from':'2026-02-01','expires':'2026-03-01'},"
        "{'id':'y','unit':'usd','amount':'12.5','from':'2026-02-01'}],"
        "'spend_limit':'0','suspended':true,'tax_rate_bps':700}",
        arena);
    ck_assert(str_is(a.id, "a") && str_is(a.name, "N\xC3\xA9"));
    ck_assert(a.has_spend_limit && a.spend_limit.cents == 0 && a.suspended &&
              a.tax_rate_bps == 700);
    ck_assert_int_eq(a.grants, 2);
    ck_assert(a.grant[0].unit == GRANT_CREDIT && a.grant[0].amount == 735 &&
              a.grant[0].priority == -3);
    ck_assert_int_eq(a.grant[0].expires.days, day("2026-03-01").days);
    ck_assert(a.grant[1].unit == GRANT_USD && a.grant[1].amount == 1250 &&
              a.grant[1].priority == 100);
    ck_assert_int_eq(a.grant[1].expires.days, DAY_END.days);
    Account b = account("{'id':'b','name':'B','subscriptions':[" PLAN("pro", "2026-01-01") "]}",
                        arena);
    ck_assert(!b.has_spend_limit && !b.suspended && b.tax_rate_bps == 0 && b.grants == 0);
    ck_assert(!b.subscription[0].overrides.concurrency_limit);
}
END_TEST

// A plan that comes and goes: which subscriptions each catalogue can carry.
START_TEST(plans_in_force)
{
    OWNED_CATALOG Catalog *c = parse(CATALOG(VERSION("2026-01-01", NANO, FREE) "," VERSION(
        "2026-02-01", NANO, FREE ",'b':{'concurrency_limit':1}") "," VERSION("2026-03-01", NANO,
                                                                             FREE)));
    static const Row rows[] = {
        {"always there", PLAN("free", "2025-01-01"), NULL},
        {"while it is there", PLAN("b", "2026-02-01") "," PLAN("free", "2026-03-01"), NULL},
        {"a day too early", PLAN("b", "2026-01-31") "," PLAN("free", "2026-03-01"),
         "version from 2026-01-01"},
        {"a day too long", PLAN("b", "2026-02-01") "," PLAN("free", "2026-03-02"),
         "version from 2026-03-01"},
        {"the last before an end", PLAN("b", "2026-02-01") "," END("2026-02-10"),
         "version from 2026-03-01"},
        {"an end between",
         PLAN("b", "2026-02-01") "," END("2026-02-10") "," PLAN("free", "2026-03-01"), NULL},
        {"an end between that lasts",
         PLAN("b", "2026-02-01") "," END("2026-02-10") "," PLAN("free", "2026-03-02"),
         "version from 2026-03-01"},
    };
    OWNED_ARENA Arena *arena = arena_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        OWNED_BUF Buf text = {0};
        buf_addf(&text, "{'id':'a','name':'A','subscriptions':[%s]}", rows[i].text);
        Account a = account(text.p, arena);
        Error error = {0};
        check_row(&rows[i], account_check_plans(&a, c, &error), &error);
    }
}
END_TEST

typedef struct StandingRow {
    const char *day;
    int subscription, mark;
    bool active;
} StandingRow;
static const StandingRow STANDINGS[] = {
    {"2026-08-31", 0, -1, false}, {"2026-09-15", 0, 0, true}, {"2026-10-09", 0, 0, true},
    {"2026-10-10", 1, 1, true},   {"2026-12-31", 1, 1, true}, {"2027-01-01", 1, 2, false},
    {"2027-01-31", 1, 2, false},  {"2027-02-01", 3, 3, true}, {"2028-01-01", 3, 3, true},
};

START_TEST(standing)
{
    OWNED_ARENA Arena *arena = arena_new();
    Account a = account(
        "{'id':'a','name':'A','subscriptions':[" PLAN("enterprise", "2026-10-10") "," PLAN(
            "scale", "2026-09-15") "," END("2027-01-01") "," PLAN("enterprise", "2027-02-01") "]}",
        arena);
    const StandingRow *row = &STANDINGS[_i];
    Standing got = account_standing(&a, day(row->day));
    ck_assert_msg(got.subscription == row->subscription && got.mark == row->mark &&
                      got.active == row->active,
                  "%s", row->day);
}
END_TEST

START_TEST(terms)
{
    OWNED_CATALOG Catalog *c = parse(DEFAULT_CATALOG);
    OWNED_ARENA Arena *arena = arena_new();
    Account a = account(
        "{'id':'a','name':'A','subscriptions':[" PLAN("scale", "2025-01-01") ","
        "{'plan':'pro','from':'2026-01-01','overrides':{'base_fee':'1','included_credits':2,'signup_credit':'3',"
        "'concurrency_limit':null,'max_session_minutes':null,'overage':'deny','credit_discount_bps':5,'monthly_minimum':'6'}}]}",
        arena);
    Terms before = account_terms(&a, c, 0, day("2025-05-19")),
          after = account_terms(&a, c, 0, day("2025-05-20"));
    ck_assert_int_eq(before.concurrency_limit, 100);
    ck_assert_int_eq(after.concurrency_limit, 250);
    ck_assert(after.base_fee.cents == 17000 && after.included.cm == 66000 && !after.overage_deny);
    Terms over = account_terms(&a, c, 1, day("2026-05-20"));
    ck_assert(over.base_fee.cents == 100 && over.included.cm == 120 &&
              over.signup_credit.cents == 300);
    ck_assert(over.concurrency_limit == TERM_NONE && over.max_session_minutes == TERM_NONE &&
              over.overage_deny);
    ck_assert(over.credit_discount_bps == 5 && over.monthly_minimum.cents == 600);
}
END_TEST

START_TEST(terms_before_the_plan)
{
    OWNED_CATALOG Catalog *c = parse(CATALOG(VERSION("2026-01-01", NANO, FREE) "," VERSION(
        "2026-02-01", NANO, FREE ",'b':{'concurrency_limit':7}")));
    OWNED_ARENA Arena *arena = arena_new();
    Account a = account("{'id':'a','name':'A','subscriptions':[" PLAN("b", "2026-03-01") "]}",
                        arena);
    ck_assert_int_eq(account_terms(&a, c, 0, day("2026-01-10")).concurrency_limit, 7);
}
END_TEST

typedef struct SignupRow {
    const char *label, *subscriptions, *from; // NULL: no grant
    int64_t cents;
} SignupRow;
static const SignupRow SIGNUPS[] = {
    {"a plan with one", PLAN("build", "2026-01-01"), "2026-01-01", 10000},
    {"a plan without", PLAN("scale", "2026-01-01"), NULL, 0},
    {"the first that has one",
     PLAN("scale", "2026-01-01") "," END("2026-02-01") "," PLAN("build", "2026-03-01") "," PLAN(
         "build", "2026-04-01"),
     "2026-03-01", 10000},
    {"overridden to nothing",
     "{'plan':'build','from':'2026-01-01','overrides':{'signup_credit':'0.00'}}", NULL, 0},
    {"overridden to something",
     "{'plan':'scale','from':'2026-01-01','overrides':{'signup_credit':'7.5'}}", "2026-01-01", 750},
};

START_TEST(signup)
{
    const SignupRow *row = &SIGNUPS[_i];
    OWNED_CATALOG Catalog *c = parse(DEFAULT_CATALOG);
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_BUF Buf text = {0};
    buf_addf(&text, "{'id':'a','name':'A','subscriptions':[%s]}", row->subscriptions);
    Account a = account(text.p, arena);
    Grant grant;
    bool has = account_signup(&a, c, &grant);
    ck_assert_msg(has == (row->from != NULL), "%s", row->label);
    if (!has) return;
    ck_assert_msg(grant.amount == row->cents && grant.from.days == day(row->from).days, "%s",
                  row->label);
    ck_assert(str_is(grant.id, "signup") && grant.unit == GRANT_USD && grant.priority == 100 &&
              !grant.carried);
    ck_assert_int_eq(grant.expires.days, DAY_END.days);
}
END_TEST

START_TEST(order_of_grants)
{
    // In the order of drawing: each is before all that follow.
    const Grant sorted[] = {
        {.id = STR("z"), .priority = -1, .from = {50}, .expires = DAY_END},
        {.id = STR("z"), .priority = 100, .from = {50}, .expires = {60}},
        {.id = STR("z"), .priority = 100, .from = {40}, .expires = {61}},
        {.id = STR("z"), .priority = 100, .from = {40}, .expires = DAY_END},
        {.id = STR("B"), .priority = 100, .from = {50}, .expires = DAY_END},
        {.id = STR("a"), .priority = 100, .from = {50}, .expires = DAY_END},
        {.id = STR("a"), .priority = 101, .from = {10}, .expires = {20}},
        {.id = STR("carry:INV-2026-000001"),
         .priority = 100,
         .from = {10},
         .expires = DAY_END,
         .carried = true},
        {.id = STR("carry:INV-2026-000000"),
         .priority = 100,
         .from = {20},
         .expires = DAY_END,
         .carried = true},
    };
    size_t count = sizeof sorted / sizeof *sorted;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            int order = grant_compare(&sorted[i], &sorted[j]);
            ck_assert_msg(i < j ? order < 0 : i > j ? order > 0 : order == 0, "%zu and %zu", i, j);
        }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("accounts");
    tcase_add_loop_test(tests, accounts, 0, sizeof ACCOUNT_ROWS / sizeof *ACCOUNT_ROWS);
    tcase_add_test(tests, account_values);
    tcase_add_test(tests, plans_in_force);
    tcase_add_loop_test(tests, standing, 0, sizeof STANDINGS / sizeof *STANDINGS);
    tcase_add_test(tests, terms);
    tcase_add_test(tests, terms_before_the_plan);
    tcase_add_loop_test(tests, signup, 0, sizeof SIGNUPS / sizeof *SIGNUPS);
    tcase_add_test(tests, order_of_grants);
    Suite *suite = suite_create("accounts");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
