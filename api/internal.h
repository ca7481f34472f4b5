// SPDX-License-Identifier: Apache-2.0
// api/internal: what the service's own files share: calls as they are kept, the readers, and what
// is known of the database's health. Routes need none of it.
#pragma once

#include "api/access.h"
#include "api/api.h"

// A call, and what only the service knows of it. It lives until its request is done.
typedef struct Pending {
    Call call;            // first: a Call is a Pending
    struct Pending *next; // waiting for a reader
    int64_t late_ms;      // monotonic: after this the answer is late
    bool bad_path;        // its path could not be decoded
    const char *why;      // what the log says besides; in the arena, or NULL
} Pending;

// ---- problems ----
void problem_json(const ProblemKind *kind, Str detail, const char *request_id, const char *members,
                  Buf *out);
// As call_problem, with one more header.
void call_problem_with(Call *call, Problem problem, const char *header, const char *value,
                       const char *detail);

// ---- readers: threads with a connection of their own, which the first call opens ----
enum { READERS_QUEUE_MAX = 1000, READERS_MAX = 64 };
typedef struct Readers Readers;
// `streams`: theirs are answers that stream. Then of each customer's account one is read at a time,
// and `threads`, at least 2, less one for all customers together.
Status readers_start(const Db *db, int threads, bool streams, Readers **out, Error *error) MUST_USE;
// Runs the call's route when a reader is free; where too many wait, or the call's time has come, it
// is answered 503.
void readers_take(Readers *readers, Pending *pending);
void readers_stop(Readers *readers); // answers what still waits 503

// ---- health ----
enum { HEALTH_EVERY_MS = 1000, HEALTH_STALE_MS = 4000, HEALTH_PARTITIONS_MAX = 1000 };
typedef struct Health Health;
// Looks once before it returns, then every second, in a thread and with a connection of its own: so
// /readyz costs nobody a query, and is answered however stuck the database is.
Status health_start(const Db *db, Health **out, Error *error) MUST_USE;
void health_stop(Health *health);
Health *api_health(const Api *api);
Access *api_access(const Api *api);
