// SPDX-License-Identifier: Apache-2.0
// Binary COPY: rows are encoded here and handed over in pieces, so that the server works while we
// do.
#include "db/internal.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>

enum { COPY_PIECE_BYTES = 64 * 1024 };
#define EPOCH_2000_US (INT64_C(946684800) * US_PER_SECOND) // PostgreSQL counts from 2000-01-01

static void put16(Buf *buf, int16_t value)
{
    uint16_t wire = htons((uint16_t)value);
    buf_add(buf, &wire, sizeof wire);
}

static void put32(Buf *buf, int32_t value)
{
    uint32_t wire = htonl((uint32_t)value);
    buf_add(buf, &wire, sizeof wire);
}

static void put64(Buf *buf, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    buf_add(buf, &wire, sizeof wire);
}

Status copy_begin(Copy *copy, Db *db, const char *table_and_columns, Error *error)
{
    static const char header[19] =
        "PGCOPY\n\377\r\n\0"; // then flags and extension length, all zero
    char sql[1024];
    int n = snprintf(sql, sizeof sql, "COPY %s FROM STDIN (FORMAT binary)", table_and_columns);
    ASSERT(n > 0 && (size_t)n < sizeof sql);
    *copy = (Copy){.db = db};
    PGresult *result = PQexec(db->connection, sql);
    Status status = PQresultStatus(result) == PGRES_COPY_IN
                        ? ST_OK
                        : db_failure(db, result, table_and_columns, error);
    PQclear(result);
    if (status == ST_OK) buf_add(&copy->buf, header, sizeof header);
    return status;
}

void copy_row(Copy *copy, int columns)
{
    copy->rows++;
    put16(&copy->buf, (int16_t)columns);
}

void copy_null(Copy *copy) { put32(&copy->buf, -1); }

void copy_str(Copy *copy, Str value)
{
    if (str_absent(value)) {
        copy_null(copy);
        return;
    }
    put32(&copy->buf, (int32_t)value.n);
    buf_add(&copy->buf, value.p, value.n);
}

void copy_bool(Copy *copy, bool value)
{
    put32(&copy->buf, 1);
    buf_add_char(&copy->buf, value ? 1 : 0);
}

void copy_int2(Copy *copy, int16_t value)
{
    put32(&copy->buf, sizeof value);
    put16(&copy->buf, value);
}

void copy_int4(Copy *copy, int32_t value)
{
    put32(&copy->buf, sizeof value);
    put32(&copy->buf, value);
}

void copy_int8(Copy *copy, int64_t value)
{
    put32(&copy->buf, sizeof value);
    put64(&copy->buf, value);
}

void copy_instant(Copy *copy, Instant value) { copy_int8(copy, value.us - EPOCH_2000_US); }
void copy_day(Copy *copy, Day value) { copy_int4(copy, value.days - DAY_MIN.days); }

void copy_jsonb(Copy *copy, Str json)
{
    put32(&copy->buf, (int32_t)json.n + 1);
    buf_add_char(&copy->buf, 1); // the format's version
    buf_add(&copy->buf, json.p, json.n);
}

static Status hand_over(Copy *copy, Error *error)
{
    if (copy->buf.n == 0) return ST_OK;
    ASSERT(copy->buf.n <= INT32_MAX);
    int sent = PQputCopyData(copy->db->connection, copy->buf.p, (int)copy->buf.n);
    buf_clear(&copy->buf);
    return sent == 1 ? ST_OK : db_failure(copy->db, NULL, "copy", error);
}

Status copy_flush(Copy *copy, Error *error)
{
    return copy->buf.n < COPY_PIECE_BYTES ? ST_OK : hand_over(copy, error);
}

Status copy_end(Copy *copy, Error *error)
{
    put16(&copy->buf, -1);
    Status status = hand_over(copy, error);
    buf_free(&copy->buf);
    if (status != ST_OK) return status;
    if (PQputCopyEnd(copy->db->connection, NULL) != 1)
        return db_failure(copy->db, NULL, "copy", error);
    for (PGresult *result; (result = PQgetResult(copy->db->connection)); PQclear(result))
        if (PQresultStatus(result) != PGRES_COMMAND_OK && status == ST_OK)
            status = db_failure(copy->db, result, "copy", error);
    return status;
}
