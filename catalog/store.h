// SPDX-License-Identifier: Apache-2.0
// catalog/store: the catalogue and the accounts in PostgreSQL, with the moment of each change.
#pragma once

#include "catalog/catalog.h"
#include "db/db.h"

// The catalogue in force (newest revision). ST_MISSING where none was ever applied.
Status catalog_load(Db *db, Catalog **out, Error *error) MUST_USE;
// The one before it. ST_MISSING where there is none.
Status catalog_load_replaced(Db *db, Catalog **out, Error *error) MUST_USE;
// Stores a new revision, inside the caller's transaction, which holds the state row FOR UPDATE;
// *revision is the new number. The same content again stores nothing and gives the old number.
Status catalog_save(Db *db, Str json, int64_t *revision, Error *error) MUST_USE;
// Locks the state row: FOR SHARE by those who write usage, FOR UPDATE by who replaces the
// catalogue. *revision is the catalogue's.
Status catalog_lock_shared(Db *db, int64_t *revision, Error *error) MUST_USE;
Status catalog_lock_exclusive(Db *db, int64_t *revision, Error *error) MUST_USE;
// The newest catalogue's text as jsonb, pretty.
Status catalog_text(Db *db, Buf *out, Error *error) MUST_USE;
// Of it, the version in force on a day.
Status catalog_version_text(Db *db, Day day, Buf *out, Error *error) MUST_USE;

// Those of `accounts` whose content is not what is stored, in order of id, in *out (shallow copies
// in `arena`).
Status accounts_changed(Db *db, const Account *accounts, size_t count, Arena *arena, Account **out,
                        size_t *changed, Error *error) MUST_USE;
// Stores accounts, inside the caller's transaction: unchanged ones keep their revision. *changed
// counts the others.
Status accounts_save(Db *db, const Account *accounts, size_t count, size_t *changed, Error *error)
    MUST_USE;
// One account; ST_MISSING where there is none of that id. Lives in `arena`.
Status account_load(Db *db, Str id, Arena *arena, Account *out, Error *error) MUST_USE;
// Up to `limit` accounts with ids after `after` (absent: from the first), in order of id.
Status accounts_load(Db *db, Str after, int limit, Arena *arena, Account **out, size_t *count,
                     Error *error) MUST_USE;
// Of those, the ones whose id or name holds `query` in any case; empty: all.
Status accounts_search(Db *db, Str query, Str after, int limit, Arena *arena, Account **out,
                       size_t *count, Error *error) MUST_USE;
// Accounts of these ids that exist, in order of id.
Status accounts_load_some(Db *db, const Str *ids, size_t n, Arena *arena, Account **out,
                          size_t *count, Error *error) MUST_USE;
// What those of them that are not new were before their last change.
Status accounts_load_replaced(Db *db, const Str *ids, size_t n, Arena *arena, Account **out,
                              size_t *count, Error *error) MUST_USE;
