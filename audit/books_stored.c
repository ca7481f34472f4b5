// SPDX-License-Identifier: Apache-2.0
#include "audit/books.h"
#include "billing/inputs.h"

enum { // the columns of chain_invoices and books_invoices
    AT_ACCOUNT,
    AT_NUMBER,
    AT_PLACE,
    AT_KIND,
    AT_CREDITS,
    AT_REASON,
    AT_NAME,
    AT_ISSUED_AT,
    AT_CURRENCY,
    AT_PERIOD,
    AT_INCLUDED,
    AT_GRANTED,
    AT_PURCHASED,
    AT_SUBTOTAL,
    AT_TOTAL,
    AT_CATALOG_REVISION,
    AT_ACCOUNT_REVISION,
    AT_HASH,
    AT_PREVIOUS,
    AT_INPUTS,
    AT_BODY,
};

enum { TAX_BPS_MAX = 1000000, DISCOUNT_BPS_MAX = 10000, RATE_MAX = 1000000 };

typedef struct Reader {
    const Rows *rows;
    int row;
    Arena *arena;
    const char *wrong; // the first column
} Reader;

static void is_wrong(Reader *r, const char *column)
{
    if (!r->wrong) r->wrong = column;
}

// ---- columns ----
static Str read_text(const Reader *r, int column)
{
    return arena_copy(r->arena, rows_str(r->rows, r->row, column));
}

static int64_t amount_of(Reader *r, Str text, const char *column)
{
    int64_t value = 0;
    if (str_to_int(text, &value) && value >= -STORED_MAX && value <= STORED_MAX) return value;
    is_wrong(r, column);
    return 0;
}

static int64_t read_amount(Reader *r, int column, const char *name)
{
    return amount_of(r, rows_str(r->rows, r->row, column), name);
}

static Day day_of(Reader *r, Str text, const char *column)
{
    Day day = DAY_MIN;
    if (!day_parse(text, &day)) is_wrong(r, column);
    return day;
}

static Period month_of(Reader *r, Str text, const char *column)
{
    Day day = day_of(r, text, column);
    if (day_date(day).day != 1) is_wrong(r, column);
    return day_period(day);
}

// ---- the body ----
enum { ELEMENTS_MAX = 10 };
typedef struct Elements {
    Str text[ELEMENTS_MAX]; // absent: null
} Elements;

static Elements elements_of(const Reader *r, const Json *array)
{
    Elements out = {0};
    size_t n = 0;
    for (const Json *e = json_first(array); e && n < ELEMENTS_MAX; e = json_next(e), n++) {
        Str text;
        if (json_text(e, &text)) out.text[n] = arena_copy(r->arena, text);
    }
    return out;
}

static Line line_of(Reader *r, const Elements *e, size_t nth)
{
    Line line = {.description = e->text[2],
                 .from = day_of(r, e->text[3], "invoice_line.from_day"),
                 .to = day_of(r, e->text[4], "invoice_line.to_day"),
                 .grant = e->text[8],
                 .amount = {amount_of(r, e->text[9], "invoice_line.cents")}};
    if (amount_of(r, e->text[0], "invoice_line.line") != (int64_t)nth + 1)
        is_wrong(r, "invoice_line.line");
    if (!line_kind_parse(e->text[1], &line.kind)) is_wrong(r, "invoice_line.kind");
    bool quantity = !str_absent(e->text[5]), price = !str_absent(e->text[6]);
    line.priced = quantity && price;
    if (quantity != price)
        is_wrong(r, quantity ? "invoice_line.price_e12" : "invoice_line.quantity_cm");
    if (line.priced) line.quantity.cm = amount_of(r, e->text[5], "invoice_line.quantity_cm");
    if (line.priced) line.price.e12 = amount_of(r, e->text[6], "invoice_line.price_e12");
    bool adjusts = !str_absent(e->text[7]);
    if (adjusts != (line.kind == LINE_ADJUSTMENT)) is_wrong(r, "invoice_line.ref_period");
    if (adjusts) line.adjusted = month_of(r, e->text[7], "invoice_line.ref_period");
    if (!str_absent(line.grant) != (line.kind == LINE_GRANT)) is_wrong(r, "invoice_line.ref_grant");
    return line;
}

static SizeUsage usage_of(Reader *r, const Json *json)
{
    SizeUsage usage = {0};
    if (!json_text(json_get(json, "size"), &usage.size) ||
        !json_integer(json_get(json, "minutes"), &usage.minutes) ||
        !json_integer(json_get(json, "credit_minutes"), &usage.cm.cm))
        is_wrong(r, "usage");
    usage.size = arena_copy(r->arena, usage.size);
    return usage;
}

static bool usage_is_foreign(const Json *array)
{
    if (!json_is_array(array)) return true;
    for (const Json *e = json_first(array); e; e = json_next(e))
        if (json_count(e) != 3) return true;
    return false;
}

static void read_draws(Reader *r, const Json *draws, Stored *out)
{
    out->draw = arena_alloc(r->arena, (json_count(draws) + 1) * sizeof *out->draw);
    for (const Json *e = json_first(draws); e; e = json_next(e)) {
        Elements draw = elements_of(r, e);
        out->draw[out->draws++] = (StoredDraw){
            .grant = draw.text[0],
            .unit = amount_of(r, draw.text[1], "grant_draw.unit"),
            .amount = amount_of(r, draw.text[2], "grant_draw.amount")};
    }
}

static void read_body(Reader *r, Stored *out)
{
    OWNED_JSON Json *json = NULL;
    if (json_parse(rows_str(r->rows, r->row, AT_BODY), JSON_FILE_BYTES_MAX, &json, NULL) != ST_OK) {
        is_wrong(r, "usage or invoice_line");
        return;
    }
    Invoice *invoice = &out->invoice;
    const Json *usage = json_get(json, "usage"), *lines = json_get(json, "lines");
    out->foreign = usage_is_foreign(usage);
    invoice->usage = arena_alloc(r->arena, (json_count(usage) + 1) * sizeof *invoice->usage);
    invoice->line = arena_alloc(r->arena, (json_count(lines) + 1) * sizeof *invoice->line);
    for (const Json *e = json_first(usage); e; e = json_next(e))
        invoice->usage[invoice->usages++] = usage_of(r, e);
    for (const Json *e = json_first(lines); e; e = json_next(e), invoice->lines++) {
        Elements line = elements_of(r, e);
        invoice->line[invoice->lines] = line_of(r, &line, invoice->lines);
    }
    out->again = json_bool(json_get(json, "again"), &out->again) && out->again;
    read_draws(r, json_get(json, "draws"), out);
    const Json *carried = json_first(json_get(json, "carried"));
    out->carries = carried != NULL;
    if (!carried) return;
    Elements grant = elements_of(r, carried);
    out->carried_from = day_of(r, grant.text[0], "carried_grant.from_day");
    out->carried.cents = amount_of(r, grant.text[1], "carried_grant.cents");
}

// ---- kept inputs ----
static bool within(int64_t value, int64_t max) { return value >= 0 && value <= max; }

static bool grants_within(const RateInput *in)
{
    for (size_t i = 0; i < in->grants; i++)
        if (!within(in->grant[i].balance, STORED_MAX) ||
            !within(in->grant[i].grant.amount, STORED_MAX))
            return false;
    return true;
}

// Whether rate() can take it: its arithmetic ends the process where an amount leaves int64.
static bool is_ratable(const RateInput *in)
{
    Wide used = 0, price = 0, due = 0;
    for (size_t i = 0; i < in->usages; i++) {
        const RateUsage *usage = &in->usage[i];
        if (!within(usage->credits_per_hour, RATE_MAX)) return false;
        for (size_t day = 0; day < RATE_DAYS_MAX; day++) {
            if (!within(usage->minutes[day], STORED_MAX)) return false;
            used += (Wide)usage->minutes[day] * usage->credits_per_hour;
            if (used > STORED_MAX) return false;
        }
    }
    for (size_t i = 0; i < in->segments; i++) {
        const RateSegment *segment = &in->segment[i];
        if (!within(segment->base_fee.cents, STORED_MAX) ||
            !within(segment->minimum.cents, STORED_MAX) ||
            !within(segment->included.cm, STORED_MAX) ||
            !within(segment->price.e12, PRICE_MAX_E12) ||
            !within(segment->discount_bps, DISCOUNT_BPS_MAX))
            return false;
        due += segment->base_fee.cents + segment->minimum.cents;
        price = price > segment->price.e12 ? price : segment->price.e12;
    }
    for (size_t i = 0; i < in->adjustments; i++) {
        const RateAdjustment *adjustment = &in->adjustment[i];
        int64_t size = llabs(adjustment->amount.cents);
        if (!within(size, STORED_MAX) || !within(llabs(adjustment->charged.cents), STORED_MAX) ||
            !within(llabs(adjustment->due.cents), STORED_MAX) || !is_ratable(adjustment->rated))
            return false;
        due += size;
    }
    if (!within(in->tax_rate_bps, TAX_BPS_MAX) || !grants_within(in)) return false;
    due += used * price / (60 * (PRICE_E12 / 100)) + 1;
    return due * (10000 + in->tax_rate_bps) / 10000 < 8 * (Wide)STORED_MAX;
}

static void read_inputs(Reader *r, bool closely, Stored *out)
{
    Str text = rows_str(r->rows, r->row, AT_INPUTS);
    if (inputs_parse(text, r->arena, &out->in, NULL) != ST_OK || !is_ratable(&out->in)) {
        is_wrong(r, "inputs");
        return;
    }
    OWNED_BUF Buf again = {0};
    inputs_write(&out->in, &again);
    out->kept.inputs = arena_copy(r->arena, buf_str(&again));
    if (!closely) return;
    OWNED_JSON Json *ours = NULL, *stored = NULL;
    if (json_parse(text, JSON_FILE_BYTES_MAX, &stored, NULL) != ST_OK ||
        json_parse(buf_str(&again), JSON_FILE_BYTES_MAX, &ours, NULL) != ST_OK ||
        !json_equal(stored, ours))
        out->foreign = true;
}

// ---- a row ----
static void read_sums(Reader *r, Stored *out)
{
    Invoice *invoice = &out->invoice;
    invoice->included.cm = read_amount(r, AT_INCLUDED, "included_credit_minutes");
    invoice->granted.cm = read_amount(r, AT_GRANTED, "granted_credit_minutes");
    invoice->purchased.cm = read_amount(r, AT_PURCHASED, "purchased_credit_minutes");
    invoice->subtotal.cents = read_amount(r, AT_SUBTOTAL, "subtotal_cents");
    invoice->total.cents = read_amount(r, AT_TOTAL, "total_cents");
    out->kept.catalog_revision = read_amount(r, AT_CATALOG_REVISION, "catalog_revision");
    out->kept.account_revision = read_amount(r, AT_ACCOUNT_REVISION, "account_revision");
}

void stored_read(const Rows *rows, int row, bool closely, Arena *arena, Stored *out)
{
    Reader reader = {.rows = rows, .row = row, .arena = arena}, *r = &reader;
    *out = (Stored){.currency = read_text(r, AT_CURRENCY)};
    Invoice *invoice = &out->invoice;
    invoice->account = read_text(r, AT_ACCOUNT);
    invoice->number = read_text(r, AT_NUMBER);
    invoice->credits = read_text(r, AT_CREDITS);
    invoice->reason = read_text(r, AT_REASON);
    invoice->name = read_text(r, AT_NAME);
    if (!rows_null(rows, row, AT_PLACE)) out->place = read_amount(r, AT_PLACE, "place");
    int64_t kind = read_amount(r, AT_KIND, "kind");
    if (kind != 0 && kind != 1) is_wrong(r, "kind");
    out->credit_note = kind == 1;
    if (out->credit_note != !str_absent(invoice->credits)) is_wrong(r, "credits_number");
    if (out->credit_note != !str_absent(invoice->reason)) is_wrong(r, "reason");
    invoice->issued = true;
    if (!instant_parse(rows_str(rows, row, AT_ISSUED_AT), &invoice->issued_at))
        is_wrong(r, "issued_at");
    invoice->period = month_of(r, rows_str(rows, row, AT_PERIOD), "period");
    read_sums(r, out);
    out->hashed = sha256_parse(rows_str(rows, row, AT_HASH), &out->hash) &&
                  sha256_parse(rows_str(rows, row, AT_PREVIOUS), &out->previous);
    read_body(r, out);
    read_inputs(r, closely, out);
    out->wrong = r->wrong;
}
