// SPDX-License-Identifier: Apache-2.0
#include "billing/register.h"

#include "billing/billing_sql.h"

enum { // the columns of invoice_show, invoice_list and invoice_page
    AT_NUMBER,
    AT_ACCOUNT,
    AT_NAME,
    AT_PERIOD,
    AT_ISSUED_AT,
    AT_CREDITS,
    AT_REASON,
    AT_VOIDED,
    AT_INCLUDED,
    AT_GRANTED,
    AT_PURCHASED,
    AT_SUBTOTAL,
    AT_TOTAL,
    AT_HASH,
    AT_PREVIOUS_HASH,
    AT_BODY,
    AT_PLACE, // invoice_page only
};

static Str text_of(const Json *json, Arena *arena)
{
    Str text = {0};
    return json_text(json, &text) ? arena_copy(arena, text) : (Str){0};
}

static bool parse_usage(const Json *json, Arena *arena, SizeUsage *out)
{
    out->size = text_of(json_get(json, "size"), arena);
    return !str_absent(out->size) && json_integer(json_get(json, "minutes"), &out->minutes) &&
           json_integer(json_get(json, "credit_minutes"), &out->cm.cm);
}

// [kind, description, from, to, quantity_cm, price_e12, adjusted period, grant, cents]
static bool parse_line(const Json *json, Arena *arena, Line *out)
{
    const Json *member[9];
    size_t n = 0;
    for (const Json *e = json_first(json); e && n < 9; e = json_next(e)) member[n++] = e;
    Str kind, from, to, quantity, price, period;
    if (n < 9 || !json_text(member[0], &kind) || !line_kind_parse(kind, &out->kind)) return false;
    out->description = text_of(member[1], arena);
    if (!json_text(member[2], &from) || !day_parse(from, &out->from)) return false;
    if (!json_text(member[3], &to) || !day_parse(to, &out->to)) return false;
    out->priced = json_text(member[4], &quantity) && json_text(member[5], &price);
    if (out->priced &&
        !(str_to_int(quantity, &out->quantity.cm) && str_to_int(price, &out->price.e12)))
        return false;
    if (json_text(member[6], &period) && !period_parse(period, &out->adjusted)) return false;
    out->grant = text_of(member[7], arena);
    return json_integer(member[8], &out->amount.cents);
}

static Status parse_body(Str body, Arena *arena, Invoice *out, Error *error)
{
    OWNED_JSON Json *json = NULL;
    TRY(json_parse(body, JSON_FILE_BYTES_MAX, &json, error));
    const Json *usage = json_get(json, "usage"), *lines = json_get(json, "lines");
    out->usage = arena_alloc(arena, (json_count(usage) + 1) * sizeof *out->usage);
    out->line = arena_alloc(arena, (json_count(lines) + 1) * sizeof *out->line);
    bool right = true;
    for (const Json *e = json_first(usage); e; e = json_next(e))
        right = parse_usage(e, arena, &out->usage[out->usages++]) && right;
    for (const Json *e = json_first(lines); e; e = json_next(e))
        right = parse_line(e, arena, &out->line[out->lines++]) && right;
    return right ? ST_OK : error_set(error, ST_FATAL, "usage or lines are not what they should be");
}

static Status read_row(const Rows *rows, int row, Arena *arena, Invoice *out, Error *error)
{
    bool voided = rows_bool(rows, row, AT_VOIDED);
    *out = (Invoice){
        .number = arena_copy(arena, rows_str(rows, row, AT_NUMBER)),
        .account = arena_copy(arena, rows_str(rows, row, AT_ACCOUNT)),
        .name = arena_copy(arena, rows_str(rows, row, AT_NAME)),
        .period = day_period(rows_day(rows, row, AT_PERIOD)),
        .issued = true,
        .issued_at = rows_instant(rows, row, AT_ISSUED_AT),
        .status = voided ? STR("voided") : STR("issued"),
        .credits = arena_copy(arena, rows_str(rows, row, AT_CREDITS)),
        .reason = arena_copy(arena, rows_str(rows, row, AT_REASON)),
        .included = {rows_int(rows, row, AT_INCLUDED)},
        .granted = {rows_int(rows, row, AT_GRANTED)},
        .purchased = {rows_int(rows, row, AT_PURCHASED)},
        .subtotal = {rows_int(rows, row, AT_SUBTOTAL)},
        .total = {rows_int(rows, row, AT_TOTAL)},
        .hash = arena_copy(arena, rows_str(rows, row, AT_HASH)),
        .previous_hash = arena_copy(arena, rows_str(rows, row, AT_PREVIOUS_HASH)),
    };
    Status status = parse_body(rows_str(rows, row, AT_BODY), arena, out, error);
    if (status == ST_OK) return ST_OK;
    error_set(error, ST_FATAL,
              "stored invoice %.*s cannot be read: its usage or lines were altered",
              (int)out->number.n, out->number.p);
    return ST_FATAL;
}

Status invoice_load(Db *db, Str number, Arena *arena, Invoice *out, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_INVOICE_SHOW, 1, &number, &rows, error));
    if (rows_count(rows) == 0)
        return error_set(error, ST_MISSING, "there is no invoice %.*s", (int)number.n, number.p);
    return read_row(rows, 0, arena, out, error);
}

typedef struct Listing {
    Arena *arena;
    InvoiceFn each;
    void *context;
} Listing;

static Status list_row(void *context, const Rows *rows, int row, Error *error)
{
    Listing *listing = context;
    Invoice invoice;
    arena_reset(listing->arena);
    TRY(read_row(rows, row, listing->arena, &invoice, error));
    return listing->each(listing->context, &invoice, error);
}

Status invoices_stream(Db *db, Period period, InvoiceFn each, void *context, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ARENA Arena *parameters = arena_new();
    Listing listing = {.arena = arena, .each = each, .context = context};
    Str params[] = {param_day(parameters, period_first(period))};
    return db_stream(db, &SQL_BILLING_INVOICE_LIST, 1, params, list_row, &listing, error);
}

Status invoices_page(Db *db, Str account, int64_t before, int limit, Arena *arena, Invoice **out,
                     int64_t **place, size_t *count, Error *error)
{
    ASSERT(limit >= 1 && limit <= INVOICES_PAGE_MAX + 1);
    Str params[] = {account, param_int(arena, before), param_int(arena, limit)};
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_INVOICE_PAGE, 3, params, &rows, error));
    *count = (size_t)rows_count(rows);
    *out = arena_alloc(arena, (*count + 1) * sizeof **out);
    *place = arena_alloc(arena, (*count + 1) * sizeof **place);
    for (size_t i = 0; i < *count; i++) {
        TRY(read_row(rows, (int)i, arena, &(*out)[i], error));
        (*place)[i] = rows_int(rows, (int)i, AT_PLACE);
    }
    return ST_OK;
}

Status invoice_of_period(Db *db, Str account, Period period, Arena *arena, Str *number, bool *open,
                         Error *error)
{
    Str params[] = {account, param_day(arena, period_first(period))};
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_STANDING, 2, params, &rows, error));
    *number = arena_copy(arena, rows_str(rows, 0, 0));
    *open = rows_bool(rows, 0, 1);
    return ST_OK;
}
