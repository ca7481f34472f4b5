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

// Pages begin behind an id, and end after so many rows or with `left`: the last two parameters.
static Status next_page(Db *db, const Statement *statement, int n, Str *params, int64_t after,
                        int64_t left, Arena *arena, Rows **rows, Error *error)
{
    params[n - 2] = param_int(arena, after);
    params[n - 1] = param_int(arena, left < LETTERS_PAGE ? left : LETTERS_PAGE);
    return db_query(db, statement, n, params, rows, error);
}

// Takes pages of (id, origin, position, key, value, headers) in order of id through the meter's
// door, `left` rows at most.
static Status retry_pages(Meter *meter, const Statement *statement, int n, Str *params,
                          int64_t left, int64_t *metered, Error *error)
{
    ASSERT(meter_pending(meter) == 0);
    int64_t after = 0, dead_before = dead_so_far(meter), tried = 0;
    for (bool more = true; more;) {
        OWNED_ARENA Arena *arena = arena_new();
        OWNED_ROWS Rows *rows = NULL;
        TRY(next_page(meter_db(meter), statement, n, params, after, left, arena, &rows, error));
        for (int row = 0; row < rows_count(rows); row++) {
            after = rows_int(rows, row, 0);
            Message message = message_from(rows, row, 3, arena);
            meter_add(meter, &message,
                      &(Standpoint){.origin = (int32_t)rows_int(rows, row, 1),
                                    .position = rows_int(rows, row, 2),
                                    .place = -1,
                                    .letter = after});
            if (meter_full(meter)) TRY(meter_flush(meter, error));
        }
        TRY(meter_flush(meter, error));
        tried += rows_count(rows);
        left -= rows_count(rows);
        more = rows_count(rows) == LETTERS_PAGE;
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
    return retry_pages(meter, &SQL_METER_DEAD_LETTER_DUE, 3, params, INT64_MAX, metered, error);
}

Status meter_retry_dead_letters(Db *db, const Instant *as_of, int64_t *metered, Error *error)
{
    OWNED_METER Meter *meter = NULL;
    TRY(meter_new(db, as_of, 0, &meter, error));
    return meter_retry_due(meter, metered, error);
}

// ---- by hand ----
enum { FILTER_PARAMS = 9 };

static Str id_list(const LetterFilter *filter, Arena *arena)
{
    if (filter->ids_count == 0) return (Str){0};
    OWNED_BUF Buf list = {0};
    array_begin(&list);
    for (size_t i = 0; i < filter->ids_count; i++) array_add_int(&list, filter->ids[i]);
    array_end(&list);
    return arena_copy(arena, buf_str(&list));
}

static void fill_params(const LetterFilter *filter, Str state, Arena *arena,
                        Str params[static FILTER_PARAMS])
{
    const Str values[FILTER_PARAMS] = {
        id_list(filter, arena),
        state,
        filter->reason,
        filter->account,
        filter->vm,
        filter->topic,
        filter->file,
        filter->has_since ? param_instant(arena, filter->since) : (Str){0},
        filter->has_until ? param_instant(arena, filter->until) : (Str){0}};
    memcpy(params, values, sizeof values);
}

static int64_t limit_of(const LetterFilter *filter)
{
    return filter->has_limit ? filter->limit : INT64_MAX;
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

Status dead_letters_retry(Db *db, const Instant *as_of, const LetterFilter *filter,
                          int64_t *metered, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Str params[FILTER_PARAMS + 2];
    fill_params(filter, STR("open"), arena, params);
    TRY(check_ids(db, params[0], error));
    OWNED_METER Meter *meter = NULL;
    TRY(meter_new(db, as_of, 0, &meter, error));
    return retry_pages(meter, &SQL_METER_DEAD_LETTER_LIST, FILTER_PARAMS + 2, params,
                       limit_of(filter), metered, error);
}

Status dead_letters_discard(Db *db, const LetterFilter *filter, int64_t *discarded, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    Str params[FILTER_PARAMS + 1];
    fill_params(filter, STR("open"), arena, params);
    TRY(check_ids(db, params[0], error));
    params[FILTER_PARAMS] = filter->has_limit ? param_int(arena, filter->limit) : (Str){0};
    return db_run(db, &SQL_METER_DEAD_LETTER_DISCARD, FILTER_PARAMS + 1, params, discarded, error);
}

static DeadLetter letter_from(const Rows *rows, int row, Arena *arena)
{
    DeadLetter d = {.id = rows_int(rows, row, 0),
                    .position = rows_int(rows, row, 2),
                    .message = message_from(rows, row, 3, arena),
                    .reason = rows_str(rows, row, 6),
                    .detail = rows_str(rows, row, 7),
                    .account = rows_str(rows, row, 8),
                    .vm = rows_str(rows, row, 9),
                    .has_at = !rows_null(rows, row, 10),
                    .topic = rows_str(rows, row, 11),
                    .has_partition = !rows_null(rows, row, 12),
                    .file = rows_str(rows, row, 13),
                    .arrived_at = rows_instant(rows, row, 14),
                    .state = rows_str(rows, row, 15)};
    if (d.has_at) d.at = rows_instant(rows, row, 10);
    if (d.has_partition) d.partition = rows_int(rows, row, 12);
    return d;
}

Status dead_letters_list(Db *db, const LetterFilter *filter, LetterFn each, void *context,
                         Error *error)
{
    OWNED_ARENA Arena *kept = arena_new();
    Str params[FILTER_PARAMS + 2];
    fill_params(filter, filter->state, kept, params);
    int64_t after = 0, left = limit_of(filter);
    for (bool more = true; more;) {
        OWNED_ARENA Arena *arena = arena_new();
        OWNED_ROWS Rows *rows = NULL;
        TRY(next_page(db, &SQL_METER_DEAD_LETTER_LIST, FILTER_PARAMS + 2, params, after, left,
                      arena, &rows, error));
        for (int row = 0; row < rows_count(rows); row++) {
            DeadLetter letter = letter_from(rows, row, arena);
            TRY(each(context, &letter, error));
            after = letter.id;
        }
        left -= rows_count(rows);
        more = rows_count(rows) == LETTERS_PAGE;
    }
    return ST_OK;
}

Status dead_letters_count(Db *db, const LetterFilter *filter, Arena *arena, LetterCount **out,
                          size_t *count, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Str params[FILTER_PARAMS];
    fill_params(filter, filter->state, arena, params);
    TRY(db_query(db, &SQL_METER_DEAD_LETTER_COUNT, FILTER_PARAMS, params, &rows, error));
    *count = (size_t)rows_count(rows);
    *out = arena_alloc(arena, (*count + 1) * sizeof **out);
    for (int row = 0; row < rows_count(rows); row++)
        (*out)[row] = (LetterCount){arena_copy(arena, rows_str(rows, row, 0)),
                                    arena_copy(arena, rows_str(rows, row, 1)),
                                    rows_int(rows, row, 2)};
    return ST_OK;
}
