// SPDX-License-Identifier: Apache-2.0
// The numbers are taken as the last thing before the rows are written, since the series' row stays
// locked from then on; a transaction that fails gives its numbers back, so the series has no gap.
#include "billing/issue.h"

#include "billing/billing_sql.h"
#include "billing/chain.h"
#include "billing/inputs.h"
#include "billing/ledger.h"
#include "notices/notices.h"

#include <inttypes.h>
#include <stdio.h>

enum { NUMBER_TEXT = 32 };

// ---- rating ----
typedef struct Rater {
    const Catalog *catalog;
    const IssueOrder *order;
    Arena *arena;
    size_t n;
    Str *id;
    GrantList *grants;
    Issue *item;
} Rater;

static void take_draws(Issue *item, Arena *arena)
{
    const RateInput *in = &item->in;
    item->draw = arena_alloc(arena, (in->grants + 1) * sizeof *item->draw);
    for (size_t i = 0; i < in->grants; i++)
        if (item->rating.drawn[i] != 0)
            item->draw[item->draws++] = (GrantDraw){in->grant[i].grant.id, in->grant[i].grant.unit,
                                                    item->rating.drawn[i]};
}

// Accounts of which nothing has changed are rated for the period alone, on what standing invoices
// have left of the grants. Their usage may have been read ahead, by an older snapshot; then the
// marks that it saw are settled, not those that came since.
static Status rate_alone(Rater *r, Db *db, Marks marks, Error *error)
{
    const IssueOrder *order = r->order;
    Str *id = arena_alloc(r->arena, (r->n + 1) * sizeof *id);
    size_t alone = 0, count = 0, at = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->item[i].settled) id[alone++] = r->id[i];
    if (alone == 0) return ST_OK;
    DayUsage *cells = NULL;
    if (!ahead_take(order->ahead, r->catalog->revision, r->id, r->n, &cells, &count, &marks))
        TRY(usage_days(db, r->catalog, order->now, id, alone, period_first(order->period),
                       period_end(order->period), r->arena, &cells, &count, error));
    for (size_t i = 0; i < r->n; i++) {
        Issue *item = &r->item[i];
        size_t first = at;
        while (at < count && str_equal(cells[at].account, r->id[i])) at++;
        if (item->settled) continue;
        rate_input(item->account, r->catalog, order->period, cells + first, at - first,
                   r->grants[i].grant, r->grants[i].count, r->arena, &item->in);
        item->in.horizon = order->now->horizon;
        rate(&item->in, r->arena, &item->rating);
        take_draws(item, r->arena);
        const Mark *mark = marks_of(&marks, r->id[i]);
        if (mark) item->marks = arena_copy(r->arena, mark->ids); // what was read ahead goes sooner
    }
    ASSERT(at == count); // usage comes in the accounts' order, and of no others
    return ST_OK;
}

// Marks stay where a closing later on must look again: while a period is open again, where draws
// have changed and no invoice says so, and where time alone will still change what was closed.
static bool keeps_marks(const Rater *r, const Issue *item, bool others_open)
{
    const IssueOrder *order = r->order;
    if (others_open || (!item->rating.to_issue && item->draws > 0)) return true;
    if (!order->again) return false; // the next closing sees how early this one was
    Period last = {books_next_of(order->books, item->account->id).months - 1};
    return instant_compare(order->now->horizon, usage_final(r->catalog, last)) < 0;
}

static Status settle_some(Rater *r, Db *db, const Marks *marks, Issue *const *items,
                          Settling *settlings, size_t n, Arena *scratch, Error *error)
{
    const IssueOrder *order = r->order;
    TRY(settlings_read(db, r->catalog, order->books, order->period, order->now, settlings, n,
                       scratch, error));
    for (size_t i = 0; i < n; i++) {
        Issue *item = items[i];
        Settled settled;
        settle(&settlings[i], order->period, r->arena, &settled);
        item->in = settled.in;
        item->rating = settled.rating;
        item->draws = settled.draws;
        item->draw = settled.draw;
        const Mark *mark = marks_of(marks, item->account->id);
        if (mark && !keeps_marks(r, item, settled.others_open)) item->marks = mark->ids;
    }
    return ST_OK;
}

static Status rate_settling(Rater *r, Db *db, const Marks *marks, Error *error)
{
    OWNED_ARENA Arena *scratch = arena_new();
    Issue *items[SETTLE_ACCOUNTS];
    Settling settlings[SETTLE_ACCOUNTS];
    for (size_t at = 0; at < r->n;) {
        size_t some = 0;
        for (; at < r->n && some < SETTLE_ACCOUNTS; at++) {
            if (!r->item[at].settled) continue;
            items[some] = &r->item[at];
            settlings[some++] = (Settling){.account = r->item[at].account, .grants = r->grants[at]};
        }
        arena_reset(scratch);
        if (some > 0) TRY(settle_some(r, db, marks, items, settlings, some, scratch, error));
    }
    return ST_OK;
}

Status issues_rate(Db *db, const Catalog *catalog, const Account *accounts, size_t n,
                   const IssueOrder *order, Arena *arena, Issue **out, Error *error)
{
    Rater r = {.catalog = catalog, .order = order, .arena = arena, .n = n};
    r.id = arena_alloc(arena, (n + 1) * sizeof *r.id);
    r.item = arena_alloc(arena, (n + 1) * sizeof *r.item);
    for (size_t i = 0; i < n; i++) r.id[i] = accounts[i].id;
    Marks marks;
    TRY(marks_read(db, r.id, n, arena, &marks, error));
    for (size_t i = 0; i < n; i++) {
        const Mark *mark = marks_of(&marks, r.id[i]);
        r.item[i].account = &accounts[i];
        r.item[i].settled = order->again ||
                            must_settle(order->books, catalog, r.id[i], mark, order->period);
    }
    TRY(grants_read(db, catalog, accounts, n, arena, &r.grants, error));
    TRY(rate_alone(&r, db, marks, error));
    TRY(rate_settling(&r, db, &marks, error));
    *out = r.item;
    return ST_OK;
}

// ---- numbers ----
Status numbers_take(Db *db, const char *kind, Instant issued_at, size_t count, Arena *arena,
                    int64_t *first, Error *error)
{
    char series[NUMBER_TEXT];
    snprintf(series, sizeof series, "%s-%04" PRId32, kind, day_date(instant_day(issued_at)).year);
    Str params[] = {str(series), param_int(arena, (int64_t)count)};
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_SERIES_TAKE, 2, params, &rows, error));
    *first = rows_int(rows, 0, 0) - (int64_t)count + 1;
    return ST_OK;
}

Str number_text(const char *kind, Instant issued_at, int64_t number, Arena *arena)
{
    char text[NUMBER_TEXT];
    snprintf(text, sizeof text, "%s-%04" PRId32 "-%06" PRId64, kind,
             day_date(instant_day(issued_at)).year, number);
    return arena_copy(arena, str(text));
}

// ---- rows ----
typedef struct Rower { // what all rows of a batch share
    Copy copy;
    Instant issued_at;
    int64_t catalog_revision;
    Head head; // of the chain, moved by each invoice
    Buf usage, inputs, content;
    Arena *arena;
    Notice *notice; // tally.invoice.issued, one for each invoice
    size_t notices;
} Rower;

typedef void (*PutFn)(Rower *r, const Issue *item);

static void write_usage(const Rating *rating, Buf *out)
{
    JsonWriter w = {.out = out};
    jw_begin_array(&w, NULL);
    for (size_t i = 0; i < rating->usages; i++) {
        jw_begin_object(&w, NULL);
        jw_str(&w, "size", rating->usage[i].size);
        jw_int(&w, "minutes", rating->usage[i].minutes);
        jw_int(&w, "credit_minutes", rating->usage[i].cm.cm);
        jw_end_object(&w);
    }
    jw_end_array(&w);
}

// Adds the invoice to the chain; its `previous` and the head's hash are then what its row holds.
static Sha256 link_invoice(Rower *r, const Issue *item)
{
    Invoice invoice = invoice_of(item->account, &item->in, &item->rating);
    invoice.number = item->number;
    invoice.issued = true;
    invoice.issued_at = r->issued_at;
    Kept kept = {.inputs = buf_str(&r->inputs),
                 .catalog_revision = r->catalog_revision,
                 .account_revision = item->account->revision};
    Sha256 previous = r->head.hash;
    buf_clear(&r->content);
    chain_content(&previous, &invoice, &kept, &r->content);
    r->head.place++;
    r->head.hash = sha256(buf_str(&r->content));
    return previous;
}

// The head of the chain goes out with every notice: whoever keeps them can tell a changed one.
static void note_issued(Rower *r, const Issue *item)
{
    char period[PERIOD_TEXT], total[AMOUNT_TEXT], hash[SHA256_TEXT];
    Buf data = {0};
    JsonWriter w = {.out = &data};
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", item->account->id);
    jw_str(&w, "number", item->number);
    jw_text(&w, "period", period_format(item->in.period, period));
    jw_text(&w, "total", cents_format(item->rating.total, total));
    jw_text(&w, "currency", "USD");
    jw_text(&w, "hash", sha256_format(&r->head.hash, hash));
    jw_int(&w, "place", r->head.place);
    jw_end_object(&w);
    r->notice[r->notices++] = (Notice){.account = item->account->id,
                                       .type = "tally.invoice.issued",
                                       .subject = item->number,
                                       .data = arena_copy(r->arena, buf_str(&data))};
    buf_free(&data);
}

#define INVOICE_COLUMNS                                                                            \
    "invoice (account, period, number, name, issued_at, included_credit_minutes, "                 \
    "granted_credit_minutes, purchased_credit_minutes, subtotal_cents, total_cents, "              \
    "catalog_revision, account_revision, usage, inputs, place, hash, previous_hash)"
static void put_invoice(Rower *r, const Issue *item)
{
    Copy *copy = &r->copy;
    buf_clear(&r->usage);
    write_usage(&item->rating, &r->usage);
    buf_clear(&r->inputs);
    inputs_write(&item->in, &r->inputs);
    Sha256 previous = link_invoice(r, item);
    copy_row(copy, 17);
    copy_str(copy, item->account->id);
    copy_day(copy, period_first(item->in.period));
    copy_str(copy, item->number);
    copy_str(copy, item->account->name);
    copy_instant(copy, r->issued_at);
    copy_int8(copy, item->rating.included.cm);
    copy_int8(copy, item->rating.granted.cm);
    copy_int8(copy, item->rating.purchased.cm);
    copy_int8(copy, item->rating.subtotal.cents);
    copy_int8(copy, item->rating.total.cents);
    copy_int8(copy, r->catalog_revision);
    copy_int8(copy, item->account->revision);
    copy_jsonb(copy, buf_str(&r->usage));
    copy_jsonb(copy, buf_str(&r->inputs));
    copy_int8(copy, r->head.place);
    copy_str(copy, (Str){(const char *)r->head.hash.bytes, SHA256_BYTES});
    copy_str(copy, (Str){(const char *)previous.bytes, SHA256_BYTES});
    note_issued(r, item);
}

#define LINE_COLUMNS                                                                               \
    "invoice_line (account, number, line, kind, description, from_day, to_day, quantity_cm, "      \
    "price_e12, ref_period, ref_grant, cents)"
static void put_lines(Rower *r, const Issue *item)
{
    Copy *copy = &r->copy;
    for (size_t i = 0; i < item->rating.lines; i++) {
        const Line *line = &item->rating.line[i];
        copy_row(copy, 12);
        copy_str(copy, item->account->id);
        copy_str(copy, item->number);
        copy_int4(copy, (int32_t)i + 1);
        copy_str(copy, str(line_kind_name(line->kind)));
        copy_str(copy, line->description);
        copy_day(copy, line->from);
        copy_day(copy, line->to);
        if (line->priced) copy_int8(copy, line->quantity.cm);
        else copy_null(copy);
        if (line->priced) copy_int8(copy, line->price.e12);
        else copy_null(copy);
        if (line->kind == LINE_ADJUSTMENT) copy_day(copy, period_first(line->adjusted));
        else copy_null(copy);
        copy_str(copy, line->grant); // absent is NULL
        copy_int8(copy, line->amount.cents);
    }
}

#define DRAW_COLUMNS "grant_draw (account, grant_id, number, unit, amount)"
static void put_draws(Rower *r, const Issue *item)
{
    for (size_t i = 0; i < item->draws; i++) {
        copy_row(&r->copy, 5);
        copy_str(&r->copy, item->account->id);
        copy_str(&r->copy, item->draw[i].id);
        copy_str(&r->copy, item->number);
        copy_int2(&r->copy, (int16_t)item->draw[i].unit);
        copy_int8(&r->copy, item->draw[i].amount);
    }
}

#define CARRIED_COLUMNS "carried_grant (account, number, from_day, cents)"
static void put_carried(Rower *r, const Issue *item)
{
    if (item->rating.carried.cents == 0) return;
    copy_row(&r->copy, 4);
    copy_str(&r->copy, item->account->id);
    copy_str(&r->copy, item->number);
    copy_day(&r->copy, period_end(item->in.period));
    copy_int8(&r->copy, item->rating.carried.cents);
}

static Status put_all(Rower *r, Db *db, const char *columns, PutFn put, const Issue *items,
                      size_t n, Error *error)
{
    TRY(copy_begin(&r->copy, db, columns, error));
    Status status = ST_OK;
    for (size_t i = 0; i < n && status == ST_OK; i++) {
        if (str_absent(items[i].number)) continue;
        put(r, &items[i]);
        status = copy_flush(&r->copy, error);
    }
    Error later; // of two errors the first says more
    Status ended = copy_end(&r->copy, status == ST_OK ? error : &later);
    return status == ST_OK ? ended : status;
}

static Status write_invoices(Db *db, Issue *items, size_t n, Instant issued_at,
                             int64_t catalog_revision, Arena *arena, size_t *issued, Error *error)
{
    *issued = 0;
    bool drawn = false, carried = false;
    for (size_t i = 0; i < n; i++) {
        const Issue *item = &items[i];
        if (!item->rating.to_issue) continue;
        (*issued)++;
        drawn = drawn || item->draws > 0;
        carried = carried || item->rating.carried.cents != 0;
    }
    if (*issued == 0) return ST_OK;
    int64_t number = 0;
    TRY(numbers_take(db, "INV", issued_at, *issued, arena, &number, error));
    for (size_t i = 0; i < n; i++)
        if (items[i].rating.to_issue)
            items[i].number = number_text("INV", issued_at, number++, arena);
    Rower r = {.issued_at = issued_at,
               .catalog_revision = catalog_revision,
               .arena = arena,
               .notice = arena_alloc(arena, *issued * sizeof *r.notice)};
    TRY(chain_lock(db, &r.head, error));
    Status status = put_all(&r, db, INVOICE_COLUMNS, put_invoice, items, n, error);
    if (status == ST_OK) status = put_all(&r, db, LINE_COLUMNS, put_lines, items, n, error);
    if (status == ST_OK && drawn)
        status = put_all(&r, db, DRAW_COLUMNS, put_draws, items, n, error);
    if (status == ST_OK && carried)
        status = put_all(&r, db, CARRIED_COLUMNS, put_carried, items, n, error);
    if (status == ST_OK) status = notices_add(db, r.notice, r.notices, NULL, error);
    if (status == ST_OK) status = chain_move(db, &r.head, arena, error);
    buf_free(&r.usage);
    buf_free(&r.inputs);
    buf_free(&r.content);
    return status;
}

static Status delete_marks(Db *db, const Issue *items, size_t n, Error *error)
{
    OWNED_BUF Buf ids = {0};
    for (size_t i = 0; i < n; i++) {
        if (str_absent(items[i].marks)) continue;
        if (ids.n > 0) buf_add_char(&ids, ',');
        buf_add_str(&ids, items[i].marks);
    }
    return ids.n > 0 ? marks_delete(db, buf_str(&ids), error) : ST_OK;
}

Status issues_write(Db *db, Issue *items, size_t n, Instant issued_at, int64_t catalog_revision,
                    Arena *arena, size_t *issued, Error *error)
{
    TRY(write_invoices(db, items, n, issued_at, catalog_revision, arena, issued, error));
    return delete_marks(db, items, n, error);
}
