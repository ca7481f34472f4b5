// SPDX-License-Identifier: Apache-2.0
#include "billing/chain.h"

#include "billing/billing_sql.h"

void chain_content(const Sha256 *previous, const Invoice *invoice, const Kept *kept, Buf *out)
{
    char text[SHA256_TEXT];
    JsonWriter w = {.out = out};
    buf_add_text(out, sha256_format(previous, text));
    buf_add_char(out, '\n');
    invoice_write_content(invoice, &w);
    buf_add_char(out, '\n');
    w = (JsonWriter){.out = out};
    jw_begin_object(&w, NULL);
    jw_int(&w, "catalog_revision", kept->catalog_revision);
    jw_int(&w, "account_revision", kept->account_revision);
    jw_raw(&w, "inputs", kept->inputs);
    jw_end_object(&w);
    buf_add_char(out, '\n');
}

Status chain_lock(Db *db, Head *out, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_CHAIN_LOCK, 0, NULL, &rows, error));
    if (rows_count(rows) != 1 || !sha256_parse(rows_str(rows, 0, 1), &out->hash))
        return error_set(error, ST_FATAL, "the table chain does not have its one row");
    out->place = rows_int(rows, 0, 0);
    return ST_OK;
}

Status chain_move(Db *db, const Head *head, Arena *arena, Error *error)
{
    char text[SHA256_TEXT];
    Str params[] = {param_int(arena, head->place), str(sha256_format(&head->hash, text))};
    return db_run(db, &SQL_BILLING_CHAIN_MOVE, 2, params, NULL, error);
}
