// SPDX-License-Identifier: Apache-2.0
// api: the HTTP service. Routes stand in one table; each says who may, and where it runs: at once,
// at the desk (quota: asks of many requests share a transaction), or with a reader (a thread with a
// connection of its own; answers that stream have other ones). May touch every room below; decides
// nothing.
//
//   request → route → credentials → role and account → call → answer, or a problem
#pragma once

#include "api/server.h"
#include "base/json.h"
#include "base/metrics.h"
#include "catalog/store.h"
#include "db/db.h"
#include "quota/quota.h"

typedef enum Role {
    ROLE_ORCHESTRATOR = 1 << 0,
    ROLE_FINANCE = 1 << 1,
    ROLE_CUSTOMER = 1 << 2,
    ROLE_ADMIN = 1 << 3,  // may all
    ROLE_ANYONE = 1 << 4, // no credential is asked for
} Role;

// Who asks.
typedef struct Caller {
    Role role;
    char account[65]; // ROLE_CUSTOMER's; else ""
    char token[40];   // the token's id, for the log
} Caller;

// ---- problems ----
// RFC 9457; every problem there is stands in one table, which /openapi.json lists too.
typedef enum Problem {
    PROBLEM_BAD_REQUEST,       // 400: the detail names the field and the reason
    PROBLEM_TOO_MANY_ROWS,     // 400
    PROBLEM_UNAUTHENTICATED,   // 401
    PROBLEM_CREDITS_EXHAUSTED, // 402
    PROBLEM_SPEND_LIMIT,       // 402
    PROBLEM_FORBIDDEN,         // 403: the role may not
    PROBLEM_SUSPENDED,         // 403
    PROBLEM_NO_PLAN,           // 403
    PROBLEM_NOT_FOUND,         // 404
    PROBLEM_METHOD,            // 405
    PROBLEM_CONFLICT,          // 409
    PROBLEM_TOO_LARGE,         // 413
    PROBLEM_TARGET,            // 414
    PROBLEM_MEDIA_TYPE,        // 415
    PROBLEM_CONCURRENCY_LIMIT, // 429
    PROBLEM_HEADERS,           // 431
    PROBLEM_INTERNAL,          // 500
    PROBLEM_UNAVAILABLE,       // 503: the database cannot be reached
    PROBLEM_CATCHING_UP,       // 503: the database was restored
    PROBLEM_BUSY,              // 503: a queue is full
    PROBLEM_NONE,              // their number
} Problem;
typedef struct ProblemKind {
    const char *name; // "concurrency-limit", behind urn:tally:problem:
    int status;
    const char *title;
} ProblemKind;
const ProblemKind *problem_kind(Problem problem);

// ---- a call ----
enum { PATH_VARIABLES_MAX = 3 };

typedef struct Route Route;
typedef struct Api Api;

typedef struct Call {
    Api *api;
    Request *request;
    const Route *route;
    Caller caller;
    Str variable[PATH_VARIABLES_MAX]; // decoded, in the order of the path
    Arena *arena;                     // until it is answered
    Db *db;                           // a reader's connection; NULL at once and at the desk
} Call;

// Exactly one of these ends a call; from any thread. The call is gone afterwards.
void call_json(Call *call, int status, Buf *body); // takes the body over
void call_answer(Call *call, Answer *answer);      // anything else
// `members`: more members of the problem, as `,"limit":250`, or NULL; `retry_after_s` 0: none.
void call_problem(Call *call, Problem problem, const char *members, int retry_after_s,
                  const char *format, ...) PRINTF(5, 6);
// The answer for an invoice that is not there, and for another's, to a customer.
void call_no_invoice(Call *call, Str number);
// What a Status is over HTTP: one table. Logs what is our fault, and tells the caller less.
void call_failed(Call *call, Status status, const Error *error);
Outgoing *call_stream(Call *call, const char *content_type); // then call_streamed
void call_streamed(Call *call, Outgoing *outgoing, bool complete);

// ---- long answers ----
// Written as they are read, out of one snapshot. Whoever takes them slowly holds a thread and the
// snapshot, and so may not take longer than OUTFLOW_MS_MAX.
enum { OUTFLOW_MS_MAX = 15 * 60 * 1000, OUTFLOW_PIECE_BYTES = 32 * 1024 };
typedef struct Outflow {
    Call *call;
    Outgoing *outgoing; // NULL: nothing was sent yet, and the call can still be answered otherwise
    int64_t began_ms;
    bool gone; // whoever asked went away, or is too slow
} Outflow;
// Sends the head, within the transaction that reads.
Status outflow_begin(Outflow *out, const char *content_type, Error *error) MUST_USE;
Status outflow_write(Outflow *out, Str bytes, Error *error) MUST_USE;
// Ends what has begun, and the call; `what` was sent, for the log: "usage".
void outflow_end(Outflow *out, Status status, const char *what, const Error *error);

// ---- query parameters ----
// All of a call's parameters are read by a table: unknown, repeated and malformed ones are a
// problem that names them (false: it has been answered).
typedef enum ParamKind { PARAM_INSTANT, PARAM_CHOICE, PARAM_INT, PARAM_TEXT, PARAM_ID } ParamKind;
typedef struct Param {
    const char *name;
    ParamKind kind;
    void *target;        // Instant, int (index of the choice), int64_t, Str, Str
    bool *given;         // may be NULL
    const char *choices; // "hour|day|month|total"
    int64_t least, most; // PARAM_INT; PARAM_TEXT: bytes
} Param;
bool call_params(Call *call, const Param *params, size_t n) MUST_USE;
// Whether the caller would rather have this media type than JSON, by Accept (quality values).
bool call_prefers(const Call *call, const char *media_type);

// Cursors: opaque text over a key's members, with a check so that a changed one is refused, and
// bound to the account and the route they were made for.
void cursor_write(const Call *call, const Str *members, int n, Buf *out);
bool cursor_read(Call *call, Str cursor, Str *members,
                 int n); // false: malformed; lives in the arena

// ---- routes ----
typedef enum Where {
    AT_ONCE,
    AT_DESK,
    WITH_READER,
    STREAMED,     // with a reader for streams
    STREAMED_CSV, // so where CSV is asked for, else with any reader
} Where;
typedef void (*CallFn)(Call *call);

struct Route {
    const char *method;  // "GET"
    const char *pattern; // "/v1/accounts/{account}/usage"
    unsigned roles;      // of Role, without ROLE_ADMIN, which may all
    Where where;
    CallFn run;
    // Which path variable is the account that a customer must own; -1: none, the route itself looks
    // (an invoice's).
    int account_variable;
    bool body; // takes a JSON body
};
extern const Route ROUTES[]; // ends with a NULL method; api/routes.c

// Whether the caller may see what belongs to this account; customers only see their own, and
// another's looks like a missing one (answer 404 where false).
bool caller_sees(const Caller *caller, Str account);

// The routes' functions, in api/route_*.c.
void route_reserve(Call *call);     // desk
void route_reservation(Call *call); // desk
void route_release(Call *call);     // desk
void route_quota(Call *call);       // desk
void route_usage(Call *call);       // reader, from here on
void route_runs(Call *call);
void route_credits(Call *call);
void route_accounts(Call *call);
void route_invoices(Call *call);
void route_upcoming(Call *call);
void route_invoice(Call *call);
void route_explain(Call *call);
void route_estimate(Call *call);
void route_healthz(Call *call);
void route_readyz(Call *call);
void route_openapi(Call *call);

// ---- the service ----
typedef struct ApiConfig {
    const char *host, *metrics_host;
    int port, metrics_port; // 0: any
    bool metrics_may_fail;  // goes on without its metrics where their port is taken, and says so
    const char *tls_cert, *tls_key;
    int threads, readers; // 0: 2, 4; there are as many readers more for streams, at least 2
    int64_t deadline_ms;  // for an answer that needs the database; 0: 3000
    bool log_requests;    // each; else only those that failed on our side, or were slow
    QuotaConfig quota;
} ApiConfig;

// Serves until api_stop. `db` is opened for its URL only. The schema may be older or newer than the
// binary's, and the database away: /readyz says so, and what needs it is answered 503.
Status api_start(Db *db, const ApiConfig *config, Api **out, Error *error) MUST_USE;
int api_port(const Api *api);
int api_metrics_port(const Api *api);    // -1: there are none
void api_stop(Api *api, int timeout_ms); // answers what it took
Metrics *api_metrics(Api *api);
