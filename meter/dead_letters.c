// SPDX-License-Identifier: Apache-2.0
#include "meter/dead_letters.h"

#include "meter/meter_sql.h"

// ---- bytes back from the database ----
static int nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static Str unhex(Str text, Arena *arena) // "\x0a1b"
{
    if (str_absent(text)) return text;
    ASSERT(text.n >= 2 && text.n % 2 == 0);
    size_t n = text.n / 2 - 1;
    char *bytes = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(nibble(text.p[2 + 2 * i]) << 4 | nibble(text.p[3 + 2 * i]));
    return (Str){bytes, n};
}

static int32_t take_length(Str *packed)
{
    ASSERT(packed->n >= 4);
    const unsigned char *p = (const unsigned char *)packed->p;
    uint32_t n = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    *packed = (Str){packed->p + 4, packed->n - 4};
    return (int32_t)n;
}

static Str take_bytes(Str *packed)
{
    int32_t n = take_length(packed);
    if (n < 0) return (Str){0};
    ASSERT(packed->n >= (size_t)n);
    Str taken = {packed->p, (size_t)n};
    *packed = (Str){packed->p + n, packed->n - (size_t)n};
    return taken;
}

static void unpack_headers(Str packed, Arena *arena, Message *message)
{
    Header *headers = arena_alloc(arena, sizeof *headers * (packed.n / 8 + 1));
    message->header = headers;
    while (packed.n > 0) {
        Header *header = &headers[message->headers++];
        header->name = take_bytes(&packed);
        header->value = take_bytes(&packed);
    }
}

static Message message_from(const Rows *rows, int row, int first, Arena *arena)
{
    Message message = {.key = unhex(rows_str(rows, row, first), arena),
                       .value = unhex(rows_str(rows, row, first + 1), arena)};
    if (!rows_null(rows, row, first + 2))
        unpack_headers(unhex(rows_str(rows, row, first + 2), arena), arena, &message);
    return message;
}

// ---- trying again ----
static int64_t dead_so_far(const Meter *meter)
{
    int64_t sum = 0;
    for (int i = 0; i < DEAD_REASONS; i++) sum += meter_tally(meter)->dead[i];
    return sum;
}

// Takes pages of (id, origin, position, key, value, headers) in order of id through the meter's
// door. `params[1]` is the id to go on behind.
static Status retry_pages(Meter *meter, const Statement *statement, Str params[3], int64_t *metered,
                          Error *error)
{
    ASSERT(meter_pending(meter) == 0);
    int64_t after = 0, dead_before = dead_so_far(meter), tried = 0;
    for (int n = LETTERS_PAGE; n == LETTERS_PAGE;) {
        OWNED_ARENA Arena *arena = arena_new();
        OWNED_ROWS Rows *rows = NULL;
        params[1] = param_int(arena, after);
        params[2] = param_int(arena, LETTERS_PAGE);
        TRY(db_query(meter_db(meter), statement, 3, params, &rows, error));
        n = rows_count(rows);
        for (int row = 0; row < n; row++) {
            after = rows_int(rows, row, 0);
            Message message = message_from(rows, row, 3, arena);
            meter_add(meter, &message,
                      &(Standpoint){.origin = (int32_t)rows_int(rows, row, 1),
                                    .position = rows_int(rows, row, 2),
                                    .place = -1,
                                    .letter = after});
            tried++;
            if (meter_full(meter)) TRY(meter_flush(meter, error));
        }
        TRY(meter_flush(meter, error));
    }
    *metered = tried - (dead_so_far(meter) - dead_before);
    return ST_OK;
}

Status meter_retry_due(Meter *meter, int64_t *metered, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Instant clock;
    TRY(meter_clock(meter, &clock, error));
    Str params[3] = {param_instant(arena, instant_add_us(clock, FUTURE_US))};
    return retry_pages(meter, &SQL_METER_DEAD_LETTER_DUE, params, metered, error);
}

Status meter_retry_dead_letters(Db *db, const Instant *as_of, int64_t *metered, Error *error)
{
    OWNED_METER Meter *meter = NULL;
    TRY(meter_new(db, as_of, 0, &meter, error));
    return meter_retry_due(meter, metered, error);
}

// ---- by hand ----
static Str id_list(const int64_t *ids, size_t n, Buf *out)
{
    if (n == 0) return (Str){0};
    array_begin(out);
    for (size_t i = 0; i < n; i++) array_add_int(out, ids[i]);
    array_end(out);
    return buf_str(out);
}

static Status check_ids(Db *db, Str list, Error *error)
{
    if (str_absent(list)) return ST_OK;
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_METER_DEAD_LETTER_MISSING, 1, &list, &rows, error));
    if (rows_count(rows) == 0) return ST_OK;
    error_set(error, ST_MISSING, "%s is not the id of an open dead letter; nothing was changed",
              rows_str(rows, 0, 0).p);
    error_hint(error, "tally dead-letters list shows them");
    return ST_MISSING;
}

Status dead_letters_retry(Db *db, const Instant *as_of, const int64_t *ids, size_t n,
                          int64_t *metered, Error *error)
{
    OWNED_BUF Buf list = {0};
    Str params[3] = {id_list(ids, n, &list)};
    TRY(check_ids(db, params[0], error));
    OWNED_METER Meter *meter = NULL;
    TRY(meter_new(db, as_of, 0, &meter, error));
    return retry_pages(meter, &SQL_METER_DEAD_LETTER_PICK, params, metered, error);
}

Status dead_letters_discard(Db *db, const int64_t *ids, size_t n, int64_t *discarded, Error *error)
{
    OWNED_BUF Buf list = {0};
    Str param = id_list(ids, n, &list);
    TRY(check_ids(db, param, error));
    return db_run(db, &SQL_METER_DEAD_LETTER_DISCARD, 1, &param, discarded, error);
}

Status dead_letters_list(Db *db, Str state, Str reason, int64_t after, int limit, Arena *arena,
                         DeadLetter **out, size_t *count, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {state, reason, param_int(arena, after), param_int(arena, limit)};
    TRY(db_query(db, &SQL_METER_DEAD_LETTER_LIST, 4, params, &rows, error));
    *count = (size_t)rows_count(rows);
    *out = arena_alloc(arena, (*count + 1) * sizeof **out);
    for (int row = 0; row < rows_count(rows); row++) {
        DeadLetter *d = &(*out)[row];
        d->id = rows_int(rows, row, 0);
        Str *const texts[] = {&d->reason, &d->detail, &d->account, &d->vm};
        for (int i = 0; i < 4; i++) *texts[i] = arena_copy(arena, rows_str(rows, row, 1 + i));
        d->has_at = !rows_null(rows, row, 5);
        if (d->has_at) d->at = rows_instant(rows, row, 5);
        d->topic = arena_copy(arena, rows_str(rows, row, 6));
        d->has_partition = !rows_null(rows, row, 7);
        if (d->has_partition) d->partition = rows_int(rows, row, 7);
        d->file = arena_copy(arena, rows_str(rows, row, 8));
        d->position = rows_int(rows, row, 9);
        d->message = message_from(rows, row, 10, arena);
        d->arrived_at = rows_instant(rows, row, 13);
        d->state = arena_copy(arena, rows_str(rows, row, 14));
    }
    return ST_OK;
}
