// SPDX-License-Identifier: Apache-2.0
// billing/ahead: reads the next accounts' usage on a thread and a connection of its own, while the
// batch before is being rated and written, and the marks that are settled by it. Only a shortcut:
// who takes an answer says for which accounts and catalogue it must be, and where it is for others,
// or failed, reads for itself. Usage read a moment earlier is a closing a moment earlier: what
// comes between is late either way.
#pragma once

#include "billing/unsettled.h"

typedef struct Ahead Ahead;

// Opens a second connection like `db`; where that cannot be had, *out is NULL and every answer is
// missing.
Ahead *ahead_new(const Db *db, const Now *now, Day from, Day to);
void ahead_free(Ahead *ahead); // waits for a question under way; takes NULL
static inline void ahead_free_pointer(Ahead **ahead) { ahead_free(*ahead); }
#define OWNED_AHEAD __attribute__((cleanup(ahead_free_pointer)))

// Asks for the usage of up to `limit` accounts with ids after `after`. The answer to the question
// before must not be in use any more.
void ahead_ask(Ahead *ahead, Str after, int limit);
// Waits for the answer. True: *cells (as of usage_days) and *marks hold until the next question,
// are of one snapshot, and of exactly these accounts and this catalogue.
bool ahead_take(Ahead *ahead, int64_t catalog_revision, const Str *accounts, size_t n,
                DayUsage **cells, size_t *count, Marks *marks);
