// SPDX-License-Identifier: Apache-2.0
// api/desk: where quota's requests queue. One thread takes all that wait, decides them in one
// transaction (quota/quota.h) and answers each; meanwhile their connections are suspended. Another
// reckons the credits of accounts whose answer depends on them, and those ask again. A third
// answers what has waited past its deadline, so that a slow database makes no queue.
#pragma once

#include "api/api.h"

enum { DESK_QUEUE_MAX = 10000 }; // asks that wait, or are being decided; beyond: 503 busy

typedef struct Desk Desk;

typedef struct DeskConfig {
    const Db *db; // for its URL; must outlive the desk
    QuotaConfig quota;
    int64_t deadline_ms; // 0: 5000
    Metrics *metrics;
} DeskConfig;

// Starts with the database away, too: then asks wait for it, until their deadline.
Status desk_start(const DeskConfig *config, Desk **out, Error *error) MUST_USE;
void desk_stop(Desk *desk); // after the server has stopped

// Takes the call over. `ask` is copied, with its texts. `answer` turns what came of it into the
// call's answer (a problem where nothing came of it is the desk's), and is called at most once, in
// a thread of the desk's. With `credits`, the account's credits are reckoned whatever its plan (GET
// quota).
typedef void (*AskFn)(Call *call, const Ask *ask);
void desk_ask(Desk *desk, Call *call, const Ask *ask, bool credits, AskFn answer);

// The service's desk; api/api.c.
Desk *api_desk(Api *api);
