// SPDX-License-Identifier: Apache-2.0
#include "billing/invoice.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    PAGE_COLUMNS = 80,
    AMOUNT_COLUMNS = 16,
    DAYS_COLUMNS = 25,
    SIZE_COLUMNS = 32,
    NUMBERS_COLUMNS = 24
};
enum {
    NUMBER_COLUMNS = 17,
    ACCOUNT_COLUMNS = 18,
    NAME_COLUMNS = 22,
    TOTAL_COLUMNS = 13
}; // the register's

Invoice invoice_of(const Account *account, const RateInput *in, const Rating *rating)
{
    return (Invoice){
        .account = account->id,
        .name = account->name,
        .period = in->period,
        .horizon = in->horizon,
        .status = STR("preview"),
        .usages = rating->usages,
        .usage = rating->usage,
        .lines = rating->lines,
        .line = rating->line,
        .included = rating->included,
        .granted = rating->granted,
        .purchased = rating->purchased,
        .subtotal = rating->subtotal,
        .total = rating->total,
    };
}

// ---- JSON ----
static void write_cents(JsonWriter *w, const char *name, Cents amount)
{
    char text[AMOUNT_TEXT];
    jw_text(w, name, cents_format(amount, text));
}

static void write_period(JsonWriter *w, Period period)
{
    char text[PERIOD_TEXT];
    jw_text(w, "period", period_format(period, text));
}

static void write_usage(JsonWriter *w, const SizeUsage *usage)
{
    char text[AMOUNT_TEXT];
    jw_begin_object(w, NULL);
    jw_str(w, "size", usage->size);
    jw_int(w, "minutes", usage->minutes);
    jw_int(w, "credit_minutes", usage->cm.cm);
    jw_text(w, "credits", credits_format(usage->cm, text));
    jw_end_object(w);
}

static void write_line(JsonWriter *w, const Line *line)
{
    char text[AMOUNT_TEXT], day[DAY_TEXT];
    jw_begin_object(w, NULL);
    jw_text(w, "kind", line_kind_name(line->kind));
    jw_str(w, "description", line->description);
    if (line->kind == LINE_ADJUSTMENT) write_period(w, line->adjusted);
    if (line->kind == LINE_GRANT) jw_str(w, "grant", line->grant);
    jw_text(w, "from", day_format(line->from, day));
    jw_text(w, "to", day_format(line->to, day));
    if (line->priced) jw_text(w, "quantity", credits_format(line->quantity, text));
    if (line->priced) jw_text(w, "unit_price", price_format(line->price, text));
    write_cents(w, "amount", line->amount);
    jw_end_object(w);
}

static void write_invoice(const Invoice *invoice, JsonWriter *w, const char *name, bool derived)
{
    char issued_at[INSTANT_TEXT];
    jw_begin_object(w, name);
    jw_str(w, "number", invoice->number);
    jw_str(w, "account", invoice->account);
    jw_str(w, "name", invoice->name);
    write_period(w, invoice->period);
    jw_text(w, "issued_at", invoice->issued ? instant_format(invoice->issued_at, issued_at) : NULL);
    jw_text(w, "currency", "USD");
    if (derived) jw_str(w, "status", invoice->status);
    if (!str_absent(invoice->credits)) jw_str(w, "credits", invoice->credits);
    if (!str_absent(invoice->reason)) jw_str(w, "reason", invoice->reason);
    jw_begin_array(w, "usage");
    for (size_t i = 0; i < invoice->usages; i++) write_usage(w, &invoice->usage[i]);
    jw_end_array(w);
    jw_int(w, "included_credit_minutes", invoice->included.cm);
    jw_int(w, "granted_credit_minutes", invoice->granted.cm);
    jw_int(w, "purchased_credit_minutes", invoice->purchased.cm);
    jw_begin_array(w, "lines");
    for (size_t i = 0; i < invoice->lines; i++) write_line(w, &invoice->line[i]);
    jw_end_array(w);
    write_cents(w, "subtotal", invoice->subtotal);
    write_cents(w, "total", invoice->total);
    if (derived) jw_str(w, "hash", invoice->hash);
    if (derived) jw_str(w, "previous_hash", invoice->previous_hash);
    jw_end_object(w);
}

void invoice_write_json(const Invoice *invoice, JsonWriter *w, const char *name)
{
    write_invoice(invoice, w, name, true);
}

void invoice_write_content(const Invoice *invoice, JsonWriter *w)
{
    write_invoice(invoice, w, NULL, false);
}

// ---- text ----
static void add_spaces(Buf *out, size_t n)
{
    while (n-- > 0) buf_add_char(out, ' ');
}

static void add_left(Buf *out, Str text, size_t columns)
{
    size_t used = buf_add_clean_part(out, text, columns);
    add_spaces(out, columns - used);
}

static void add_rule(Buf *out)
{
    for (int i = 0; i < PAGE_COLUMNS; i++) buf_add_char(out, '-');
    buf_add_char(out, '\n');
}

static void add_amount(Buf *out, Cents amount, int columns)
{
    char plain[AMOUNT_TEXT], grouped[AMOUNT_TEXT];
    buf_addf(out, "%*s", columns, amount_group(cents_format(amount, plain), grouped));
}

static void add_int(Buf *out, int64_t value, int columns)
{
    char plain[AMOUNT_TEXT], grouped[AMOUNT_TEXT];
    snprintf(plain, sizeof plain, "%" PRId64, value);
    buf_addf(out, "%*s", columns, amount_group(plain, grouped));
}

static void add_credits(Buf *out, CreditMinutes amount, int columns)
{
    char plain[AMOUNT_TEXT], grouped[AMOUNT_TEXT];
    buf_addf(out, "%*s", columns, amount_group(credits_format(amount, plain), grouped));
}

static void add_labelled(Buf *out, const char *label, Str value)
{
    buf_addf(out, "%-10s", label);
    buf_add_clean(out, value);
    buf_add_char(out, '\n');
}

static void text_head(const Invoice *invoice, Buf *out)
{
    char period[PERIOD_TEXT], from[DAY_TEXT], to[DAY_TEXT], at[INSTANT_TEXT];
    if (str_absent(invoice->number)) buf_add_text(out, "Preview");
    else buf_add_text(out, str_absent(invoice->credits) ? "Invoice " : "Credit note ");
    buf_add_str(out, invoice->number);
    if (!str_absent(invoice->credits)) buf_add_text(out, " takes back ");
    buf_add_str(out, invoice->credits);
    if (str_is(invoice->status, "voided")) buf_add_text(out, "  (voided)");
    buf_add_text(out, "\n\n");
    add_labelled(out, "Account", invoice->account);
    add_labelled(out, "Name", invoice->name);
    buf_addf(out, "%-10s%s (%s to %s)\n", "Period", period_format(invoice->period, period),
             day_format(period_first(invoice->period), from),
             day_format(day_add(period_end(invoice->period), -1), to));
    if (invoice->issued)
        buf_addf(out, "%-10s%s\n", "Issued", instant_format(invoice->issued_at, at));
    if (!str_absent(invoice->reason)) add_labelled(out, "Reason", invoice->reason);
    buf_add_char(out, '\n');
}

static void text_usage(const Invoice *invoice, Buf *out)
{
    if (invoice->usages > 0) {
        buf_addf(out, "%-*s%*s%*s\n", SIZE_COLUMNS, "Size", NUMBERS_COLUMNS, "Minutes",
                 NUMBERS_COLUMNS, "Credits");
        add_rule(out);
    }
    CreditMinutes sum = {0};
    for (size_t i = 0; i < invoice->usages; i++) {
        add_left(out, invoice->usage[i].size, SIZE_COLUMNS);
        add_int(out, invoice->usage[i].minutes, NUMBERS_COLUMNS);
        add_credits(out, invoice->usage[i].cm, NUMBERS_COLUMNS);
        buf_add_char(out, '\n');
        sum = cm_add(sum, invoice->usage[i].cm);
    }
    const struct {
        const char *label;
        CreditMinutes amount;
    } rows[] = {
        {"Credits used", sum},
        {"Included in the plan", invoice->included},
        {"From credit grants", invoice->granted},
        {"Bought", invoice->purchased},
    };
    if (invoice->usages > 0) add_rule(out);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_addf(out, "%-*s", PAGE_COLUMNS - NUMBERS_COLUMNS, rows[i].label);
        add_credits(out, rows[i].amount, NUMBERS_COLUMNS);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
}

static void text_sum(Buf *out, const char *label, Cents amount)
{
    buf_addf(out, "%-*s", PAGE_COLUMNS - AMOUNT_COLUMNS, label);
    add_amount(out, amount, AMOUNT_COLUMNS);
    buf_add_char(out, '\n');
}

static void text_line(Buf *out, const Line *line)
{
    char from[DAY_TEXT], to[DAY_TEXT];
    buf_addf(out, "%s..%s   ", day_format(line->from, from), day_format(day_add(line->to, -1), to));
    add_left(out, line->description, PAGE_COLUMNS - DAYS_COLUMNS - AMOUNT_COLUMNS - 1);
    buf_add_char(out, ' ');
    add_amount(out, line->amount, AMOUNT_COLUMNS);
    buf_add_char(out, '\n');
}

void invoice_write_text(const Invoice *invoice, Buf *out)
{
    text_head(invoice, out);
    text_usage(invoice, out);
    if (invoice->lines > 0) {
        buf_addf(out, "%-*s%-*s%*s\n", DAYS_COLUMNS, "Days",
                 PAGE_COLUMNS - DAYS_COLUMNS - AMOUNT_COLUMNS, "What", AMOUNT_COLUMNS, "USD");
        add_rule(out);
    }
    size_t i = 0;
    for (; i < invoice->lines && invoice->line[i].kind < LINE_GRANT; i++)
        text_line(out, &invoice->line[i]);
    if (i > 0) add_rule(out);
    text_sum(out, "Subtotal", invoice->subtotal);
    bool more = i < invoice->lines;
    for (; i < invoice->lines; i++) text_line(out, &invoice->line[i]);
    if (more) add_rule(out);
    text_sum(out, "Total", invoice->total);
}

// ---- register ----
void register_table_head(Buf *out)
{
    buf_addf(out, "%-*s %-*s %-*s %*s\n", NUMBER_COLUMNS, "NUMBER", ACCOUNT_COLUMNS, "ACCOUNT",
             NAME_COLUMNS, "NAME", TOTAL_COLUMNS, "TOTAL USD");
}

void register_table_row(const Invoice *invoice, Register *sums, Buf *out)
{
    add_left(out, invoice->number, NUMBER_COLUMNS);
    buf_add_char(out, ' ');
    add_left(out, invoice->account, ACCOUNT_COLUMNS);
    buf_add_char(out, ' ');
    add_left(out, invoice->name, NAME_COLUMNS);
    buf_add_char(out, ' ');
    add_amount(out, invoice->total, TOTAL_COLUMNS);
    if (str_is(invoice->status, "voided")) buf_add_text(out, "  voided");
    if (!str_absent(invoice->credits)) buf_add_text(out, "  takes back ");
    buf_add_str(out, invoice->credits);
    buf_add_char(out, '\n');
    if (str_absent(invoice->credits)) sums->invoices++;
    else sums->credit_notes++;
    sums->subtotal = cents_add(sums->subtotal, invoice->subtotal);
    sums->total = cents_add(sums->total, invoice->total);
}

void register_table_foot(const Register *sums, Buf *out)
{
    char label[64];
    int n = snprintf(label, sizeof label, "%" PRId64 " invoice%s", sums->invoices,
                     sums->invoices == 1 ? "" : "s");
    if (sums->credit_notes > 0)
        snprintf(label + n, sizeof label - (size_t)n, ", %" PRId64 " credit note%s",
                 sums->credit_notes, sums->credit_notes == 1 ? "" : "s");
    buf_addf(out, "%-*s ", NUMBER_COLUMNS + 1 + ACCOUNT_COLUMNS + 1 + NAME_COLUMNS, label);
    add_amount(out, sums->total, TOTAL_COLUMNS);
    buf_add_char(out, '\n');
}

// RFC 4180; a cell that a spreadsheet would take for a formula gets a leading apostrophe.
static void csv_cell(Buf *out, Str text)
{
    bool formula = text.n > 0 && memchr("=+-@\t\r\n", text.p[0], 7);
    bool quoted = false;
    for (size_t i = 0; i < text.n && !quoted; i++) quoted = memchr(",\"\r\n", text.p[i], 4) != NULL;
    if (quoted) buf_add_char(out, '"');
    if (formula) buf_add_char(out, '\'');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"') buf_add_char(out, '"');
        buf_add_char(out, text.p[i]);
    }
    if (quoted) buf_add_char(out, '"');
}

void register_csv_head(Buf *out)
{
    buf_add_text(
        out,
        "number,account,name,period,issued_at,currency,status,included_credit_minutes,"
        "granted_credit_minutes,purchased_credit_minutes,subtotal,total,credits,reason\r\n");
}

void register_csv_row(const Invoice *invoice, Buf *out)
{
    char period[PERIOD_TEXT], at[INSTANT_TEXT], subtotal[AMOUNT_TEXT], total[AMOUNT_TEXT];
    csv_cell(out, invoice->number);
    buf_add_char(out, ',');
    csv_cell(out, invoice->account);
    buf_add_char(out, ',');
    csv_cell(out, invoice->name);
    buf_addf(out, ",%s,%s,USD,", period_format(invoice->period, period),
             invoice->issued ? instant_format(invoice->issued_at, at) : "");
    csv_cell(out, invoice->status);
    buf_addf(out, ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%s,%s,", invoice->included.cm,
             invoice->granted.cm, invoice->purchased.cm, cents_format(invoice->subtotal, subtotal),
             cents_format(invoice->total, total));
    csv_cell(out, invoice->credits);
    buf_add_char(out, ',');
    csv_cell(out, invoice->reason);
    buf_add_text(out, "\r\n");
}
