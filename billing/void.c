// SPDX-License-Identifier: Apache-2.0
// Voiding is one transaction, which takes its locks in the order in which a closing takes them: the
// table `closing` before anything is read, so that closings and other voids are seen whole or not
// at all; then the series; then the head of the chain.
#include "billing/void.h"

#include "billing/billing_sql.h"
#include "billing/chain.h"
#include "billing/inputs.h"
#include "billing/issue.h"
#include "billing/ledger.h"
#include "billing/register.h"
#include "billing/unsettled.h"
#include "notices/notices.h"

typedef struct Voiding {
    const VoidOrder *order;
    Arena *arena;
    Invoice invoice; // the one that is voided
    Invoice note;    // its credit note
    Kept kept;       // by both
    Head head;       // of the chain, with the credit note in it
    Sha256 previous; // the hash before it
} Voiding;

// ---- the reason ----
Status void_reason_check(Str reason, Error *error)
{
    size_t blanks = 0;
    while (blanks < reason.n && reason.p[blanks] == ' ') blanks++;
    const char *wrong = NULL;
    if (blanks == reason.n) wrong = "it is empty";
    else if (reason.n > VOID_REASON_BYTES_MAX) wrong = "it is too long";
    else if (!str_is_utf8(reason)) wrong = "it is not UTF-8";
    else if (str_has_control(reason)) wrong = "it has a control character in it";
    if (!wrong) return ST_OK;
    return error_set(error, ST_BAD_INPUT,
                     "the reason is not right: %s; expected 1 to %d bytes of UTF-8 without control "
                     "characters",
                     wrong, VOID_REASON_BYTES_MAX);
}

// ---- may it be voided? ----
static Status refuse_voided(Str number, Str note, Error *error)
{
    return error_set(error, ST_REFUSED, "%.*s was voided already, by %.*s", (int)number.n, number.p,
                     (int)note.n, note.p);
}

static Status refuse_drawn(Str number, const Rows *rows, Error *error)
{
    char amount[AMOUNT_TEXT];
    Str by = rows_str(rows, 0, 4);
    error_set(error, ST_REFUSED,
              "%.*s cannot be voided: of what it carried forward, %.*s has drawn %s USD",
              (int)number.n, number.p, (int)by.n, by.p,
              cents_format((Cents){rows_int(rows, 0, 5)}, amount));
    error_hint(error, "void %.*s first", (int)by.n, by.p);
    return ST_REFUSED;
}

// Loads the invoice and what it keeps.
static Status load(Db *db, Voiding *v, Error *error)
{
    Str number = v->order->number;
    TRY(invoice_load(db, number, v->arena, &v->invoice, error));
    if (!str_absent(v->invoice.credits))
        return error_set(error, ST_REFUSED,
                         "%.*s is a credit note: what it took back is billed anew by a closing",
                         (int)number.n, number.p);
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_VOID_STATE, 1, &number, &rows, error));
    if (!rows_null(rows, 0, 3)) return refuse_voided(number, rows_str(rows, 0, 3), error);
    if (!rows_null(rows, 0, 4)) return refuse_drawn(number, rows, error);
    // PostgreSQL keeps the inputs' members in an order of its own; what is hashed has ours.
    RateInput in;
    TRY(inputs_parse(rows_str(rows, 0, 2), v->arena, &in, error));
    OWNED_BUF Buf inputs = {0};
    inputs_write(&in, &inputs);
    v->kept = (Kept){.inputs = arena_copy(v->arena, buf_str(&inputs)),
                     .catalog_revision = rows_int(rows, 0, 0),
                     .account_revision = rows_int(rows, 0, 1)};
    return ST_OK;
}

// ---- the credit note ----
static void make_note(Voiding *v, int64_t number)
{
    Invoice *note = &v->note;
    *note = v->invoice;
    note->number = number_text("CN", v->order->issued_at, number, v->arena);
    note->issued_at = v->order->issued_at;
    note->credits = v->invoice.number;
    note->reason = v->order->reason;
    note->subtotal = cents_negate(note->subtotal);
    note->total = cents_negate(note->total);
    note->line = arena_alloc(v->arena, (note->lines + 1) * sizeof *note->line);
    for (size_t i = 0; i < note->lines; i++) {
        note->line[i] = v->invoice.line[i];
        note->line[i].amount = cents_negate(note->line[i].amount);
    }
}

static void link_note(Voiding *v)
{
    OWNED_BUF Buf content = {0};
    v->previous = v->head.hash;
    chain_content(&v->previous, &v->note, &v->kept, &content);
    v->head.place++;
    v->head.hash = sha256(buf_str(&content));
}

static Status write_note(Db *db, const Voiding *v, Error *error)
{
    const Invoice *note = &v->note;
    char hash[SHA256_TEXT], previous[SHA256_TEXT];
    Str whole[] = {note->credits,
                   note->number,
                   note->reason,
                   param_instant(v->arena, note->issued_at),
                   param_int(v->arena, v->head.place),
                   str(sha256_format(&v->head.hash, hash)),
                   str(sha256_format(&v->previous, previous))};
    TRY(db_run(db, &SQL_BILLING_CREDIT_NOTE, 7, whole, NULL, error));
    Str lines[] = {note->account, note->credits, note->number};
    return db_run(db, &SQL_BILLING_CREDIT_NOTE_LINES, 3, lines, NULL, error);
}

// What the account is charged has changed: for the invoice's own period, and for every earlier one
// that it adjusted.
static Status mark_account(Db *db, const Voiding *v, Error *error)
{
    Books books;
    TRY(books_read(db, v->arena, &books, error));
    return marks_add(db, &v->note.account, 1, period_first(books.first), error);
}

static Status note_voided(Db *db, const Voiding *v, Error *error)
{
    char period[PERIOD_TEXT], total[AMOUNT_TEXT], hash[SHA256_TEXT];
    OWNED_BUF Buf data = {0};
    JsonWriter w = {.out = &data};
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", v->note.account);
    jw_str(&w, "number", v->note.number);
    jw_str(&w, "credits", v->note.credits);
    jw_str(&w, "reason", v->note.reason);
    jw_text(&w, "period", period_format(v->note.period, period));
    jw_text(&w, "total", cents_format(v->note.total, total));
    jw_text(&w, "currency", "USD");
    jw_text(&w, "hash", sha256_format(&v->head.hash, hash));
    jw_int(&w, "place", v->head.place);
    jw_end_object(&w);
    const Notice notice = {.account = v->note.account,
                           .type = "tally.invoice.voided",
                           .subject = v->note.credits,
                           .data = buf_str(&data)};
    return notices_add(db, &notice, 1, NULL, error);
}

// ---- the transaction ----
static Status void_once(Db *db, void *context, Error *error)
{
    Voiding *v = context;
    int64_t number = 0;
    TRY(books_lock(db, error));
    TRY(load(db, v, error));
    TRY(numbers_take(db, "CN", v->order->issued_at, 1, v->arena, &number, error));
    make_note(v, number);
    TRY(chain_lock(db, &v->head, error));
    link_note(v);
    TRY(write_note(db, v, error));
    TRY(mark_account(db, v, error));
    TRY(note_voided(db, v, error));
    return chain_move(db, &v->head, v->arena, error);
}

Status billing_void(Db *db, const VoidOrder *order, Arena *arena, Voided *out, Error *error)
{
    Voiding v = {.order = order, .arena = arena};
    TRY(void_reason_check(order->reason, error));
    TRY(db_transaction(db, void_once, &v, error));
    *out = (Voided){v.note.number, v.note.account, v.note.period, v.note.total};
    return ST_OK;
}
