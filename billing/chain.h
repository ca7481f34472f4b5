// SPDX-License-Identifier: Apache-2.0
// billing/chain: every invoice and credit note carries the SHA-256 of its content and of the one
// issued before it. What exactly is hashed is described byte by byte in docs/invoices.md.
#pragma once

#include "base/sha256.h"
#include "billing/invoice.h"

// What else an invoice keeps, and its hash covers.
typedef struct Kept {
    Str inputs; // as inputs_write writes them
    int64_t catalog_revision, account_revision;
} Kept;

// The bytes that are hashed, appended to `out`.
void chain_content(const Sha256 *previous, const Invoice *invoice, const Kept *kept, Buf *out);

// The newest link: how many there are, and the hash of the last (zeros where there is none).
typedef struct Head {
    int64_t place;
    Sha256 hash;
} Head;
// Reads the head and keeps its row locked until the transaction ends; moving it is the last word.
Status chain_lock(Db *db, Head *out, Error *error) MUST_USE;
Status chain_move(Db *db, const Head *head, Arena *arena, Error *error) MUST_USE;
