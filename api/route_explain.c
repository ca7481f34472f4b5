// SPDX-License-Identifier: Apache-2.0
// GET /v1/invoices/{number}/explain: streamed, as it is made.
#include "api/api.h"

#include "audit/explain.h"

typedef struct ExplainCall {
    Call *call;
    Outflow out;
    bool hidden; // another's
} ExplainCall;

static Status write_piece(void *context, Str piece, Error *error)
{
    return outflow_write(&((ExplainCall *)context)->out, piece, error);
}

static Status explain(Db *db, void *context, Error *error)
{
    ExplainCall *e = context;
    Call *call = e->call;
    if (e->out.outgoing) return error_set(error, ST_FATAL, "what is sent cannot be sent again");
    OWNED_CATALOG Catalog *catalog = NULL;
    OWNED_ARENA Arena *arena = arena_new();
    Explained *explained = NULL;
    TRY(catalog_load(db, &catalog, error));
    TRY(explain_load(db, catalog, call->variable[0], arena, &explained, error));
    e->hidden = !caller_sees(&call->caller, explain_account(explained));
    if (e->hidden) return ST_OK;
    TRY(outflow_begin(&e->out, "application/json", error));
    return explain_json(db, explained, write_piece, e, error);
}

void route_explain(Call *call)
{
    if (!call_params(call, NULL, 0)) return;
    Str number = call->variable[0];
    ExplainCall e = {.call = call, .out = {.call = call}};
    Error error = {0};
    Status status = db_snapshot(call->db, explain, &e, &error);
    if (e.out.outgoing) outflow_end(&e.out, status, "an explanation", &error);
    else if (status == ST_MISSING || e.hidden) call_no_invoice(call, number);
    else call_failed(call, status, &error);
}
