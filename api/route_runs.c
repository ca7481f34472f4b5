// SPDX-License-Identifier: Apache-2.0
// GET /v1/accounts/{account}/runs: newest first, page by page.
#include "api/api.h"

#include "meter/runs.h"

enum { LIMIT_DEFAULT = 100, CURSOR_MEMBERS = 3 };

typedef struct RunsCall {
    Call *call;
    RunsAsk ask;
    Now now;
    Buf out;
} RunsCall;

static void write_run(JsonWriter *w, const Catalog *catalog, const RunView *run)
{
    char start[INSTANT_TEXT], end[INSTANT_TEXT];
    jw_begin_object(w, NULL);
    jw_str(w, "vm", run->vm);
    jw_text(w, "start", instant_format(run->start, start));
    jw_text(w, "end", run->open ? NULL : instant_format(run->end, end));
    jw_text(w, "size", catalog->size_names[run->size]);
    jw_int(w, "minutes", run->minutes);
    jw_int(w, "credit_minutes", run->cm.cm);
    jw_text(w, "ended_by", run->open ? NULL : ended_by_name(run->by));
    jw_end_object(w);
}

static void write_cursor(JsonWriter *w, const Call *call, const RunView *last)
{
    const Str key[CURSOR_MEMBERS] = {param_int(call->arena, last->start.us), last->vm,
                                     param_int(call->arena, last->nth)};
    OWNED_BUF Buf cursor = {0};
    cursor_write(call, key, CURSOR_MEMBERS, &cursor);
    jw_str(w, "next_cursor", buf_str(&cursor));
}

static Status read_runs(Db *db, void *context, Error *error)
{
    RunsCall *r = context;
    char at[INSTANT_TEXT];
    OWNED_CATALOG Catalog *catalog = NULL;
    Account account;
    RunView *run = NULL;
    size_t count = 0;
    bool more = false;
    buf_clear(&r->out);
    TRY(catalog_load(db, &catalog, error));
    TRY(account_load(db, r->ask.account, r->call->arena, &account, error));
    TRY(now_read(db, NULL, &r->now, error));
    TRY(runs_page(db, catalog, &r->now, &r->ask, r->call->arena, &run, &count, &more, error));
    JsonWriter writer = {.out = &r->out}, *w = &writer;
    jw_begin_object(w, NULL);
    jw_str(w, "account", r->ask.account);
    jw_text(w, "data_through", instant_format(r->now.horizon, at));
    jw_begin_array(w, "runs");
    for (size_t i = 0; i < count; i++) write_run(w, catalog, &run[i]);
    jw_end_array(w);
    if (more) write_cursor(w, r->call, &run[count - 1]);
    else jw_null(w, "next_cursor");
    jw_end_object(w);
    return ST_OK;
}

static bool take_cursor(Call *call, Str cursor, RunsAsk *ask)
{
    Str key[CURSOR_MEMBERS];
    int64_t nth;
    if (!cursor_read(call, cursor, key, CURSOR_MEMBERS) ||
        !str_to_int(key[0], &ask->after.start.us) || !str_to_int(key[2], &nth) ||
        ask->after.start.us < INSTANT_MIN.us || ask->after.start.us >= INSTANT_END.us || nth < 0 ||
        nth > INT32_MAX)
        return false;
    ask->after.vm = key[1];
    ask->after.nth = (int32_t)nth;
    ask->has_after = true;
    return true;
}

void route_runs(Call *call)
{
    RunsCall r = {.call = call, .ask = {.account = call->variable[0]}};
    RunsAsk *ask = &r.ask;
    int64_t limit = LIMIT_DEFAULT;
    Str cursor = {0};
    const Param params[] = {
        {"from", PARAM_INSTANT, &ask->from, &ask->has_from},
        {"to", PARAM_INSTANT, &ask->to, &ask->has_to},
        {"vm", PARAM_ID, &ask->vm},
        {"limit", PARAM_INT, &limit, .least = 1, .most = RUNS_PAGE_MAX},
        {"cursor", PARAM_TEXT, &cursor, .least = 1, .most = 1024},
    };
    if (!call_params(call, params, sizeof params / sizeof *params)) return;
    ask->limit = (int)limit;
    if (!str_absent(cursor) && !take_cursor(call, cursor, ask)) {
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                     "cursor is not one that this route gave out for this account");
        return;
    }
    if (ask->has_from && ask->has_to && ask->from.us >= ask->to.us) {
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "from must be before to");
        return;
    }
    Error error = {0};
    Status status = db_snapshot(call->db, read_runs, &r, &error);
    if (status == ST_OK) call_json(call, 200, &r.out);
    else call_failed(call, status, &error);
    buf_free(&r.out);
}
