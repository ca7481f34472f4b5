// SPDX-License-Identifier: Apache-2.0
// The chain in its order: every hash is made anew from the rows, every link looked at, every number
// counted. What was changed and hashed anew from there on is a chain as right as the one before;
// only a head that was kept elsewhere tells them apart.
#include "audit/books.h"

#include "audit/audit_sql.h"

#include <inttypes.h>
#include <stdio.h>

enum { SERIES_TEXT = 16, NUMBER_TEXT = 48, PROGRESS_EVERY = 1000 };

// A series of numbers, as counted.
typedef struct Series {
    char name[SERIES_TEXT]; // "INV-2026"
    int64_t last;
    bool noted; // the table has it
} Series;

typedef struct Chain {
    Audit *audit;
    Arena *arena; // for one invoice
    int64_t place;
    bool linked; // the place before has a hash
    Sha256 before;
    int64_t catalog_revision; // of the invoice before
    bool keeps, has_kept;     // a head was kept; the chain had it
    Sha256 kept;
    Series *series; // few: two a year
    size_t count, room;
    Buf content;
    int64_t noted_place; // of the head
} Chain;

static Matter about(const Chain *c, const char *check, const Stored *stored)
{
    return (Matter){.audit = c->audit,
                    .check = check,
                    .account = stored->invoice.account,
                    .subject = stored->invoice.number};
}

// ---- numbers ----
static Series *series_named(Chain *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->series[i].name, name) == 0) return &c->series[i];
    if (c->count == c->room) {
        c->room = c->room ? 2 * c->room : 16;
        c->series = mem_resize(c->series, c->room * sizeof *c->series);
    }
    Series *series = &c->series[c->count++];
    *series = (Series){0};
    snprintf(series->name, sizeof series->name, "%s", name);
    return series;
}

// Splits "INV-2026-000123"; false where it is not a number as they are written.
static bool split_number(Str text, char name[static SERIES_TEXT], int32_t *year, int64_t *number)
{
    const char *kinds[] = {"INV", "CN"};
    for (size_t i = 0; i < 2; i++) {
        size_t at = strlen(kinds[i]) + 1; // of the year
        int64_t years = 0;
        if (text.n < at + 6 || !str_to_int((Str){text.p + at, 4}, &years) || years < 0) continue;
        char again[NUMBER_TEXT];
        if (!str_to_int((Str){text.p + at + 5, text.n - at - 5}, number)) continue;
        if (*number < 1 || *number > STORED_MAX) continue;
        snprintf(again, sizeof again, "%s-%04" PRId64 "-%06" PRId64, kinds[i], years, *number);
        if (!str_is(text, again)) continue;
        snprintf(name, SERIES_TEXT, "%s-%04" PRId64, kinds[i], years);
        *year = (int32_t)years;
        return true;
    }
    return false;
}

static Status check_number(Chain *c, const Stored *stored, Error *error)
{
    Matter matter = about(c, "numbers", stored);
    char name[SERIES_TEXT];
    int32_t year;
    int64_t number;
    if (!split_number(stored->invoice.number, name, &year, &number))
        return matter_find(&matter, error,
                           "this is not how invoices and credit notes are numbered");
    Series *series = series_named(c, name);
    if (number != series->last + 1)
        TRY(matter_find(&matter, error, "%s-%06" PRId64 " was to come next in the series", name,
                        series->last + 1));
    series->last = number;
    if (stored->wrong) return ST_OK;
    if ((name[0] == 'C') != stored->credit_note)
        TRY(matter_find(&matter, error, "%s has the number of %s",
                        stored->credit_note ? "a credit note" : "an invoice",
                        stored->credit_note ? "an invoice" : "a credit note"));
    int32_t issued = day_date(instant_day(stored->invoice.issued_at)).year;
    if (issued == year) return ST_OK;
    return matter_find(&matter, error, "it was issued in %" PRId32, issued);
}

static Status compare_series(const Matter *matter, const Series *series, int64_t noted,
                             Error *error)
{
    if (noted == series->last) return ST_OK;
    return matter_find(matter, error,
                       "the table series has come to %" PRId64
                       "; the last number issued is %" PRId64,
                       noted, series->last);
}

static Status check_series(Chain *c, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(c->audit->db, &SQL_AUDIT_CHAIN_SERIES, 0, NULL, &rows, error));
    for (int row = 0; row < rows_count(rows); row++) {
        Str name = rows_str(rows, row, 0);
        Matter matter = {.audit = c->audit, .check = "numbers", .subject = name};
        Series *series = NULL;
        for (size_t i = 0; i < c->count; i++)
            if (str_is(name, c->series[i].name)) series = &c->series[i];
        if (!series) {
            TRY(matter_find(&matter, error,
                            "the table series has it, but no such number was issued"));
            continue;
        }
        series->noted = true;
        TRY(compare_series(&matter, series, rows_int(rows, row, 1), error));
    }
    for (size_t i = 0; i < c->count; i++) {
        const Series *series = &c->series[i];
        Matter matter = {.audit = c->audit, .check = "numbers", .subject = str(series->name)};
        if (!series->noted) TRY(compare_series(&matter, series, 0, error));
    }
    return ST_OK;
}

// ---- links ----
static Status check_place(Chain *c, const Stored *stored, Error *error)
{
    Matter matter = about(c, "chain", stored);
    int64_t right = c->place + 1;
    if (stored->place > c->place) c->place = stored->place;
    if (stored->place == right) return ST_OK;
    if (stored->place == 0) return matter_find(&matter, error, "it has no place in the chain");
    return matter_find(&matter, error,
                       "it stands at place %" PRId64 " of the chain, and %" PRId64
                       " was to come next",
                       stored->place, right);
}

static Status check_link(Chain *c, const Stored *stored, Error *error)
{
    Matter matter = about(c, "chain", stored);
    char a[SHA256_TEXT], b[SHA256_TEXT];
    if (!stored->hashed) return matter_find(&matter, error, "it has no hash");
    if (c->linked && memcmp(stored->previous.bytes, c->before.bytes, SHA256_BYTES) != 0)
        TRY(matter_find(&matter, error, "it follows the hash %s; the one before it has %s",
                        sha256_format(&stored->previous, a), sha256_format(&c->before, b)));
    if (stored->wrong)
        return matter_find(&matter, error, "what is in its column %s was never issued so",
                           stored->wrong);
    buf_clear(&c->content);
    chain_content(&stored->previous, &stored->invoice, &stored->kept, &c->content);
    Sha256 right = sha256(buf_str(&c->content));
    if (memcmp(right.bytes, stored->hash.bytes, SHA256_BYTES) != 0)
        return matter_find(&matter, error, "its hash is %s; that of its content is %s",
                           sha256_format(&stored->hash, a), sha256_format(&right, b));
    if (c->keeps && memcmp(right.bytes, c->kept.bytes, SHA256_BYTES) == 0) c->has_kept = true;
    return ST_OK;
}

static Status check_one(void *context, const Rows *rows, int row, Error *error)
{
    Chain *c = context;
    arena_reset(c->arena);
    Stored stored;
    stored_read(rows, row, false, c->arena, &stored);
    TRY(check_place(c, &stored, error));
    TRY(check_number(c, &stored, error));
    TRY(check_link(c, &stored, error));
    c->linked = stored.hashed;
    c->before = stored.hash;
    Matter terms = about(c, "terms", &stored);
    if (!stored.wrong && !stored.credit_note) {
        if (stored.kept.catalog_revision < c->catalog_revision)
            TRY(matter_find(&terms, error,
                            "what was issued before it was rated by a later catalogue"));
        c->catalog_revision = stored.kept.catalog_revision;
    }
    AuditResult *result = c->audit->result;
    if (stored.credit_note) result->credit_notes++;
    else result->invoices++;
    int64_t done = result->invoices + result->credit_notes;
    if (done % PROGRESS_EVERY == 0) audit_progress(c->audit, "chain", done, c->noted_place);
    return ST_OK;
}

// ---- the head ----
static Status read_head(Chain *c, Sha256 *head, bool *there, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(c->audit->db, &SQL_AUDIT_CHAIN_HEAD, 0, NULL, &rows, error));
    *there = rows_count(rows) == 1 && sha256_parse(rows_str(rows, 0, 1), head);
    if (!*there) return ST_OK;
    c->noted_place = rows_int(rows, 0, 0);
    return ST_OK;
}

static Status check_head(Chain *c, const Sha256 *head, bool there, Error *error)
{
    Matter matter = {.audit = c->audit, .check = "chain"};
    char a[SHA256_TEXT], b[SHA256_TEXT];
    if (!there) return matter_find(&matter, error, "the table chain does not have its one row");
    if (c->noted_place != c->place)
        TRY(matter_find(&matter, error,
                        "the table chain has come to place %" PRId64
                        "; the last that was issued is %" PRId64,
                        c->noted_place, c->place));
    if (!c->linked || memcmp(head->bytes, c->before.bytes, SHA256_BYTES) == 0) return ST_OK;
    return matter_find(&matter, error, "the table chain ends with the hash %s; the last has %s",
                       sha256_format(head, a), sha256_format(&c->before, b));
}

static Status check_kept(const Chain *c, Error *error)
{
    Matter matter = {.audit = c->audit, .check = "chain"};
    if (!c->keeps || c->has_kept) return ST_OK;
    return matter_find(&matter, error,
                       "the chain does not contain the head that was kept: it was computed anew");
}

static Status stray(void *context, const Rows *rows, int row, Error *error)
{
    const Chain *c = context;
    Str kind = rows_str(rows, row, 0);
    Matter matter = {.audit = c->audit,
                     .check = "rating",
                     .account = rows_str(rows, row, 1),
                     .subject = rows_str(rows, row, 2)};
    if (str_is(kind, "invoice"))
        return matter_find(&matter, error, "it was issued to an account that is not there");
    if (str_is(kind, "closed_again"))
        return matter_find(
            &matter, error,
            "its period cannot have been closed again with nothing to bill: it is not "
            "the last invoice of its period, or was not voided");
    return matter_find(&matter, error, "a row of %.*s belongs to no invoice", (int)kind.n, kind.p);
}

// ---- all ----
static Status check_all(Chain *c, Error *error)
{
    Db *db = c->audit->db;
    Sha256 head = {0};
    bool there;
    c->linked = true; // the first follows zeros, which is also the head of an empty chain
    c->keeps = !str_absent(c->audit->order->head);
    if (c->keeps && !sha256_parse(c->audit->order->head, &c->kept))
        return error_set(
            error, ST_BAD_INPUT,
            "the head to be looked for is not a hash: 64 hexadecimal digits in lower case");
    c->has_kept = c->keeps && memcmp(c->kept.bytes, c->before.bytes, SHA256_BYTES) == 0;
    TRY(read_head(c, &head, &there, error));
    TRY(db_stream(db, &SQL_AUDIT_CHAIN_INVOICES, 0, NULL, check_one, c, error));
    TRY(check_head(c, &head, there, error));
    TRY(check_kept(c, error));
    TRY(check_series(c, error));
    TRY(db_stream(db, &SQL_AUDIT_CHAIN_STRAYS, 0, NULL, stray, c, error));
    c->audit->result->place = c->noted_place;
    sha256_format(&head, c->audit->result->hash);
    return ST_OK;
}

Status audit_chain(Audit *audit, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Chain chain = {.audit = audit, .arena = arena};
    Status status = check_all(&chain, error);
    free(chain.series);
    buf_free(&chain.content);
    return status;
}
