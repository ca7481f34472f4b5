// SPDX-License-Identifier: Apache-2.0
// GET /v1/accounts/{account}/usage: as JSON, put together in memory and so with a limit on its
// rows, or as CSV, streamed slice by slice out of one snapshot.
#include "api/api.h"

#include "meter/slices.h"

#include <inttypes.h>

enum { USAGE_JSON_ROWS_MAX = 100000 };

typedef struct UsageCall {
    Call *call;
    Str account;
    Instant from, to;
    bool has_from, has_to, csv;
    int window, group;
    // the answer
    Catalog *catalog;
    Now now;
    Buf out;
    JsonWriter writer;
    int64_t rows, minutes;
    CreditMinutes cm;
    Outflow csv_out;
    bool empty_span, too_many;
} UsageCall;

static const char WINDOWS[] = "hour|day|month|total", GROUPS[] = "none|size|vm";
static const char *const WINDOW_NAMES[] = {"hour", "day", "month", "total"};

// ---- JSON ----
static void json_begin(UsageCall *u)
{
    char at[INSTANT_TEXT];
    u->writer = (JsonWriter){.out = &u->out};
    JsonWriter *w = &u->writer;
    jw_begin_object(w, NULL);
    jw_str(w, "account", u->account);
    jw_text(w, "from", instant_format(u->from, at));
    jw_text(w, "to", instant_format(u->to, at));
    jw_text(w, "window", WINDOW_NAMES[u->window]);
    jw_text(w, "data_through", instant_format(u->now.horizon, at));
    jw_begin_array(w, "rows");
}

static void json_row(UsageCall *u, const UsageRow *row)
{
    char text[AMOUNT_TEXT], at[INSTANT_TEXT];
    JsonWriter *w = &u->writer;
    jw_begin_object(w, NULL);
    jw_text(w, "start", instant_format(row->start, at));
    jw_text(w, "end", instant_format(row->end, at));
    if (row->size != SIZE_NONE) jw_text(w, "size", u->catalog->size_names[row->size]);
    if (!str_absent(row->vm)) jw_str(w, "vm", row->vm);
    jw_int(w, "minutes", row->minutes);
    jw_int(w, "credit_minutes", row->cm.cm);
    jw_text(w, "credits", credits_format(row->cm, text));
    jw_end_object(w);
}

static void json_end(UsageCall *u)
{
    char text[AMOUNT_TEXT];
    JsonWriter *w = &u->writer;
    jw_end_array(w);
    jw_begin_object(w, "total");
    jw_int(w, "minutes", u->minutes);
    jw_int(w, "credit_minutes", u->cm.cm);
    jw_text(w, "credits", credits_format(u->cm, text));
    jw_end_object(w);
    jw_end_object(w);
}

// ---- CSV ----
static Status csv_write(UsageCall *u, Error *error)
{
    Status status = outflow_write(&u->csv_out, buf_str(&u->out), error);
    buf_clear(&u->out);
    return status;
}

static Status csv_begin(UsageCall *u, Error *error)
{
    TRY(outflow_begin(&u->csv_out, "text/csv; charset=utf-8", error));
    buf_add_text(&u->out, "start,end,");
    if (u->group != GROUP_NONE) buf_add_text(&u->out, u->group == GROUP_SIZE ? "size," : "vm,");
    buf_add_text(&u->out, "minutes,credit_minutes,credits\r\n");
    return ST_OK;
}

// Sizes and VM ids hold no comma, quote or line end; one that begins with '-' would be a formula to
// a spreadsheet.
static void csv_name(Buf *out, Str name)
{
    if (name.n > 0 && name.p[0] == '-') buf_add_char(out, '\'');
    buf_add_str(out, name);
    buf_add_char(out, ',');
}

static void csv_row(UsageCall *u, const UsageRow *row)
{
    char text[AMOUNT_TEXT], start[INSTANT_TEXT], end[INSTANT_TEXT];
    buf_addf(&u->out, "%s,%s,", instant_format(row->start, start), instant_format(row->end, end));
    if (row->size != SIZE_NONE) csv_name(&u->out, str(u->catalog->size_names[row->size]));
    if (!str_absent(row->vm)) csv_name(&u->out, row->vm);
    buf_addf(&u->out, "%" PRId64 ",%" PRId64 ",%s\r\n", row->minutes, row->cm.cm,
             credits_format(row->cm, text));
}

// ---- reading ----
static Status take_rows(void *context, const UsageRow *rows, size_t count, Error *error)
{
    UsageCall *u = context;
    for (size_t i = 0; i < count; i++) {
        if (u->csv) csv_row(u, &rows[i]);
        else json_row(u, &rows[i]);
        u->minutes += rows[i].minutes;
        u->cm = cm_add(u->cm, rows[i].cm);
        if (!u->csv && ++u->rows > USAGE_JSON_ROWS_MAX) {
            u->too_many = true;
            return error_set(error, ST_REFUSED, "more than %d rows", USAGE_JSON_ROWS_MAX);
        }
        if (u->csv && u->out.n >= OUTFLOW_PIECE_BYTES) TRY(csv_write(u, error));
    }
    return ST_OK;
}

// What was not given: the current period's.
static bool choose_span(UsageCall *u)
{
    Period period = day_period(instant_day(u->now.clock));
    if (!u->has_from) u->from = day_start(period_first(period));
    if (!u->has_to) u->to = day_start(period_end(period));
    u->empty_span = u->from.us >= u->to.us;
    return !u->empty_span;
}

static Status read_usage(Db *db, void *context, Error *error)
{
    UsageCall *u = context;
    if (u->csv_out.outgoing) return error_set(error, ST_FATAL, "what is sent cannot be sent again");
    buf_clear(&u->out);
    u->rows = u->minutes = u->cm.cm = 0;
    catalog_free(u->catalog);
    u->catalog = NULL;
    Account account;
    TRY(catalog_load(db, &u->catalog, error));
    TRY(account_load(db, u->account, u->call->arena, &account, error));
    TRY(now_read(db, NULL, &u->now, error));
    if (!choose_span(u)) return ST_OK;
    if (u->csv) TRY(csv_begin(u, error));
    else json_begin(u);
    TRY(usage_slices(db, u->catalog, &u->now, u->account, u->from, u->to, (UsageWindow)u->window,
                     (UsageGroup)u->group, take_rows, u, error));
    if (u->csv) return csv_write(u, error);
    json_end(u);
    return ST_OK;
}

static void answer(UsageCall *u, Status status, const Error *error)
{
    Call *call = u->call;
    char from[INSTANT_TEXT], to[INSTANT_TEXT];
    if (u->csv_out.outgoing) outflow_end(&u->csv_out, status, "usage", error);
    else if (u->too_many)
        call_problem(call, PROBLEM_TOO_MANY_ROWS, NULL, 0,
                     "more than %d rows: ask for a shorter span or larger windows, or for CSV "
                     "(Accept: text/csv)",
                     USAGE_JSON_ROWS_MAX);
    else if (status != ST_OK) call_failed(call, status, error);
    else if (u->empty_span)
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "from (%s) must be before to (%s)",
                     instant_format(u->from, from), instant_format(u->to, to));
    else call_json(call, 200, &u->out);
}

void route_usage(Call *call)
{
    UsageCall u = {.call = call,
                   .account = call->variable[0],
                   .window = WINDOW_DAY,
                   .group = GROUP_SIZE,
                   .csv = call_prefers(call, "text/csv"),
                   .csv_out = {.call = call}};
    const Param params[] = {
        {"from", PARAM_INSTANT, &u.from, &u.has_from},
        {"to", PARAM_INSTANT, &u.to, &u.has_to},
        {"window", PARAM_CHOICE, &u.window, .choices = WINDOWS},
        {"group_by", PARAM_CHOICE, &u.group, .choices = GROUPS},
    };
    if (!call_params(call, params, sizeof params / sizeof *params)) return;
    Error error = {0};
    Status status = db_snapshot(call->db, read_usage, &u, &error);
    answer(&u, status, &error);
    buf_free(&u.out);
    catalog_free(u.catalog);
}
