// SPDX-License-Identifier: Apache-2.0
// Credits, accounts, invoices and estimates.
#include "api/api.h"

#include "billing/credits.h"
#include "billing/estimate.h"
#include "billing/register.h"
#include "catalog/read.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, QUERY_BYTES_MAX = 256, CURSOR_BYTES_MAX = 1024 };
_Static_assert((int)LIMIT_MAX <= (int)INVOICES_PAGE_MAX, "pages are no larger");

// ---- pages ----
typedef struct Page {
    int64_t limit;
    Str cursor; // absent: the first page
    Str key;    // the cursor's one member
} Page;

#define PAGE_PARAMS(page)                                                                          \
    {"limit", PARAM_INT, &(page)->limit, .least = 1, .most = LIMIT_MAX},                           \
    {                                                                                              \
        "cursor", PARAM_TEXT, &(page)->cursor, .least = 1, .most = CURSOR_BYTES_MAX                \
    }

static bool page_key(Call *call, Page *page)
{
    if (str_absent(page->cursor) || cursor_read(call, page->cursor, &page->key, 1)) return true;
    call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "cursor is not one that this route gave out");
    return false;
}

static void write_next(JsonWriter *w, const Call *call, bool more, Str key)
{
    OWNED_BUF Buf cursor = {0};
    if (more) cursor_write(call, &key, 1, &cursor);
    jw_str(w, "next_cursor", more ? buf_str(&cursor) : (Str){0});
}

static void finish(Call *call, Status status, Buf *out, const Error *error)
{
    if (status == ST_OK) call_json(call, 200, out);
    else call_failed(call, status, error);
}

// ---- credits ----
void route_credits(Call *call)
{
    if (!call_params(call, NULL, 0)) return;
    OWNED_BUF Buf out = {0};
    Error error = {0};
    CreditsView view;
    Status status = credits_read_shown(call->db, call->variable[0], NULL, call->arena, &view,
                                       &error);
    if (status == ST_OK) credits_json(&view, call->variable[0], &out);
    finish(call, status, &out, &error);
}

// ---- accounts ----
typedef struct AccountsCall {
    Call *call;
    Page page;
    Str query;
    Buf out;
} AccountsCall;

static void write_account(JsonWriter *w, const Account *account, Day today)
{
    char text[AMOUNT_TEXT];
    Standing standing = account_standing(account, today);
    Str plan = standing.active ? account->subscription[standing.subscription].plan : (Str){0};
    jw_begin_object(w, NULL);
    jw_str(w, "id", account->id);
    jw_str(w, "name", account->name);
    jw_str(w, "plan", plan);
    jw_bool(w, "suspended", account->suspended);
    jw_text(w, "spend_limit",
            account->has_spend_limit ? cents_format(account->spend_limit, text) : NULL);
    jw_end_object(w);
}

static Status read_accounts(Db *db, void *context, Error *error)
{
    AccountsCall *a = context;
    Now now;
    Account *found = NULL;
    size_t count = 0;
    buf_clear(&a->out);
    TRY(now_read(db, NULL, &now, error));
    TRY(accounts_search(db, a->query, a->page.key, (int)a->page.limit + 1, a->call->arena, &found,
                        &count, error));
    bool more = count > (size_t)a->page.limit;
    if (more) count--;
    JsonWriter writer = {.out = &a->out}, *w = &writer;
    jw_begin_object(w, NULL);
    jw_begin_array(w, "accounts");
    for (size_t i = 0; i < count; i++) write_account(w, &found[i], instant_day(now.clock));
    jw_end_array(w);
    write_next(w, a->call, more, more ? found[count - 1].id : (Str){0});
    jw_end_object(w);
    return ST_OK;
}

void route_accounts(Call *call)
{
    AccountsCall a = {.call = call, .page = {.limit = LIMIT_DEFAULT}, .query = STR("")};
    const Param params[] = {{"query", PARAM_TEXT, &a.query, .most = QUERY_BYTES_MAX},
                            PAGE_PARAMS(&a.page)};
    if (!call_params(call, params, sizeof params / sizeof *params)) return;
    if (!page_key(call, &a.page)) return;
    Error error = {0};
    Status status = db_snapshot(call->db, read_accounts, &a, &error);
    finish(call, status, &a.out, &error);
    buf_free(&a.out);
}

// ---- invoices ----
typedef struct InvoicesCall {
    Call *call;
    Str account;
    Page page;
    int64_t before; // a place in the chain
    Buf out;
} InvoicesCall;

static Status read_invoices(Db *db, void *context, Error *error)
{
    InvoicesCall *c = context;
    Arena *arena = c->call->arena;
    Account account;
    Invoice *invoice = NULL;
    int64_t *place = NULL;
    size_t count = 0;
    buf_clear(&c->out);
    TRY(account_load(db, c->account, arena, &account, error));
    TRY(invoices_page(db, c->account, c->before, (int)c->page.limit + 1, arena, &invoice, &place,
                      &count, error));
    bool more = count > (size_t)c->page.limit;
    if (more) count--;
    JsonWriter writer = {.out = &c->out}, *w = &writer;
    jw_begin_object(w, NULL);
    jw_begin_array(w, "invoices");
    for (size_t i = 0; i < count; i++) invoice_write_json(&invoice[i], w, NULL);
    jw_end_array(w);
    write_next(w, c->call, more, more ? param_int(arena, place[count - 1]) : (Str){0});
    jw_end_object(w);
    return ST_OK;
}

void route_invoices(Call *call)
{
    InvoicesCall c = {.call = call,
                      .account = call->variable[0],
                      .page = {.limit = LIMIT_DEFAULT},
                      .before = INT64_MAX};
    const Param params[] = {PAGE_PARAMS(&c.page)};
    if (!call_params(call, params, sizeof params / sizeof *params)) return;
    if (!page_key(call, &c.page)) return;
    if (!str_absent(c.page.key) && !str_to_int(c.page.key, &c.before)) {
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "cursor is not one of this route");
        return;
    }
    Error error = {0};
    Status status = db_snapshot(call->db, read_invoices, &c, &error);
    finish(call, status, &c.out, &error);
    buf_free(&c.out);
}

static void write_invoice(const Invoice *invoice, Buf *out)
{
    JsonWriter w = {.out = out};
    invoice_write_json(invoice, &w, NULL);
}

void route_upcoming(Call *call)
{
    if (!call_params(call, NULL, 0)) return;
    OWNED_BUF Buf out = {0};
    Error error = {0};
    Now now;
    Invoice invoice;
    Status status = now_read(call->db, NULL, &now, &error);
    if (status == ST_OK)
        status = billing_preview(call->db, call->variable[0], day_period(instant_day(now.clock)),
                                 NULL, call->arena, &invoice, &error);
    if (status == ST_OK) write_invoice(&invoice, &out);
    finish(call, status, &out, &error);
}

void call_no_invoice(Call *call, Str number)
{
    call_problem(call, PROBLEM_NOT_FOUND, NULL, 0, "there is no invoice \"%.*s\"",
                 number.n < 64 ? (int)number.n : 64, number.p);
}

void route_invoice(Call *call)
{
    if (!call_params(call, NULL, 0)) return;
    Str number = call->variable[0];
    OWNED_BUF Buf out = {0};
    Error error = {0};
    Invoice invoice;
    Status status = invoice_load(call->db, number, call->arena, &invoice, &error);
    if (status == ST_MISSING || (status == ST_OK && !caller_sees(&call->caller, invoice.account))) {
        call_no_invoice(call, number);
        return;
    }
    if (status == ST_OK) write_invoice(&invoice, &out);
    finish(call, status, &out, &error);
}

// ---- estimate ----
static bool take_text(const Node *node, void *target) { return json_text(node->json, target); }
static bool take_count(const Node *node, void *target) { return json_integer(node->json, target); }

static const Kind ESTIMATE_TEXT = {take_text, "text"};
static const Kind ESTIMATE_COUNT = {take_count, "a whole number"};
static const Kind ESTIMATE_HOURS = {take_text, "hours as text, \"0\" to \"24\""};

typedef struct EstimateAsk {
    Str plan;
    EstimateItem *item;
    size_t items;
} EstimateAsk;

// Texts are borrowed from the tree.
static Status parse_estimate(const Json *tree, Arena *arena, EstimateAsk *out, Error *error)
{
    Node top = {.json = tree, .arena = arena, .error = error}, list;
    const Member members[] = {{"plan", &ESTIMATE_TEXT, &out->plan, .required = true},
                              {"items", &KIND_ARRAY, &list, .required = true}};
    TRY(node_members(&top, members, sizeof members / sizeof *members));
    size_t count = json_count(list.json);
    if (count > ESTIMATE_ITEMS_MAX)
        return node_bad(&list, "%zu items; expected at most %d", count, ESTIMATE_ITEMS_MAX);
    out->item = arena_alloc(arena, (count + 1) * sizeof *out->item);
    for (Node node = node_first(&list); node.json; node = node_next(&node)) {
        EstimateItem *item = &out->item[out->items++];
        const Member of_item[] = {
            {"size", &ESTIMATE_TEXT, &item->size, .required = true},
            {"vms", &ESTIMATE_COUNT, &item->vms, .required = true},
            {"hours_per_day", &ESTIMATE_HOURS, &item->hours_per_day, .required = true},
            {"days", &ESTIMATE_COUNT, &item->days, .required = true},
        };
        TRY(node_members(&node, of_item, sizeof of_item / sizeof *of_item));
    }
    return ST_OK;
}

static Status answer_estimate(Call *call, Buf *out, Error *error)
{
    OWNED_JSON Json *tree = NULL;
    OWNED_CATALOG Catalog *catalog = NULL;
    EstimateAsk ask = {0};
    Estimate result;
    TRY(json_parse(request_body(call->request), SERVER_BODY_MAX, &tree, error));
    TRY(parse_estimate(tree, call->arena, &ask, error));
    TRY(catalog_load(call->db, &catalog, error));
    TRY(estimate(catalog, instant_day(clock_now()), ask.plan, ask.item, ask.items, &result, error));
    estimate_json(&result, out);
    return ST_OK;
}

void route_estimate(Call *call)
{
    if (!call_params(call, NULL, 0)) return;
    OWNED_BUF Buf out = {0};
    Error error = {0};
    Status status = answer_estimate(call, &out, &error);
    finish(call, status, &out, &error);
}
