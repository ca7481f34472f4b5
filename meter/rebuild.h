// SPDX-License-Identifier: Apache-2.0
// meter/rebuild: another catalogue, other usage. Recounts every VM whose runs or minutes the new
// catalogue changes, from its events alone.
#pragma once

#include "catalog/catalog.h"
#include "db/db.h"

// Told of an account and a day on which it used other minutes than before, of some thousand VMs at
// a time in order of both. What is not ST_OK ends the rebuild.
typedef Status (*RebuildFn)(void *context, Str account, Day day, Error *error);

// Call in the transaction that stores `after` and holds the state row FOR UPDATE, so that no
// collector writes meanwhile. Does nothing where sizes and timeouts are the same on every day.
// ST_BAD_INPUT where an event's size is not in `after` any more: names it. Whose usage changes, and
// from which day on, is noted for billing; `changed` may be NULL.
Status meter_rebuild(Db *db, const Catalog *before, const Catalog *after, RebuildFn changed,
                     void *context, Error *error) MUST_USE;
