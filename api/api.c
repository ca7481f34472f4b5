// SPDX-License-Identifier: Apache-2.0
// The service: starts and stops its parts, and leads each request from its path to its route.
//
//   handle → access (at once, or in its thread) → admitted → route: at once, desk, or reader
//
// Order of refusals: 404 of the path, 405, 401, 403, then what is wrong with the request itself:
// who may not ask learns nothing of it.
#include "api/desk.h"
#include "api/exporter.h"
#include "api/internal.h"
#include "api/observe.h"
#include "api/router.h"
#include "api/server_parts.h"
#include "base/log.h"

#include <strings.h>

enum { THREADS = 2, READERS = 4, STREAMS_LEAST = 2, DEADLINE_MS = 5000 };

struct Api {
    int64_t deadline_ms;
    Metrics *metrics;
    Observer *observer;
    Health *health;
    Access *access;
    Readers *readers, *streams;
    Desk *desk;
    Exporter *exporter;
    Server *server;
};

Desk *api_desk(Api *api) { return api->desk; }
Health *api_health(const Api *api) { return api->health; }
Access *api_access(const Api *api) { return api->access; }
Metrics *api_metrics(Api *api) { return api->metrics; }
int api_port(const Api *api) { return server_port(api->server); }
int api_metrics_port(const Api *api) { return api->exporter ? exporter_port(api->exporter) : -1; }

// ---- a request's way ----
// Where a body is taken it must be JSON; where none is taken it is not looked at: some clients
// always send one. False: answered.
static bool body_is_right(Call *call)
{
    Str encoding = request_header(call->request, "Content-Encoding");
    bool any = request_body(call->request).n > 0;
    if (!call->route->body) return true;
    if (any && !media_is_json(request_header(call->request, "Content-Type"))) {
        call_problem(call, PROBLEM_MEDIA_TYPE, NULL, 0, "Content-Type: expected application/json");
        return false;
    }
    if (str_absent(encoding) || encoding.n == 0 ||
        (encoding.n == strlen("identity") && strncasecmp(encoding.p, "identity", encoding.n) == 0))
        return true;
    call_problem(call, PROBLEM_MEDIA_TYPE, NULL, 0,
                 "Content-Encoding: a body must be sent as it is");
    return false;
}

static Readers *readers_of(const Call *call) // NULL: none
{
    switch (call->route->where) {
    case STREAMED: return call->api->streams;
    case STREAMED_CSV:
        return call_prefers(call, "text/csv") ? call->api->streams : call->api->readers;
    case WITH_READER: return call->api->readers;
    default: return NULL;
    }
}

static void admitted(Pending *pending)
{
    Call *call = &pending->call;
    if (pending->bad_path) {
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                     "path: is not percent-encoded UTF-8 without NUL");
        return;
    }
    if (!body_is_right(call)) return;
    Readers *readers = readers_of(call);
    if (readers) readers_take(readers, pending);
    else call->route->run(call);
}

static void unauthenticated(Call *call)
{
    bool sent = !str_absent(request_header(call->request, "Authorization"));
    call_problem_with(call, PROBLEM_UNAUTHENTICATED, "WWW-Authenticate", "Bearer realm=\"tally\"",
                      sent ? "The credential is not known, has expired or was revoked."
                           : "A credential is missing: send Authorization: Bearer and a token.");
}

static void on_access(void *context, AccessResult result, const Caller *caller)
{
    Pending *pending = context;
    Call *call = &pending->call;
    const Route *route = call->route;
    if (result == ACCESS_REFUSED) {
        unauthenticated(call);
        return;
    }
    if (result == ACCESS_UNKNOWN) {
        pending->why = "nothing is known of the token: the database is away";
        call_problem(call, PROBLEM_UNAVAILABLE, NULL, 1,
                     "The database cannot be reached, or does not answer in time.");
        return;
    }
    call->caller = *caller;
    if (caller->role != ROLE_ADMIN && !(route->roles & caller->role)) {
        call_problem(call, PROBLEM_FORBIDDEN, NULL, 0, "The role %s may not do this.",
                     role_name(caller->role));
        return;
    }
    // Another's account and none at all look the same.
    if (route->account_variable >= 0 && !pending->bad_path &&
        !caller_sees(caller, call->variable[route->account_variable])) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, 0, "There is no such account.");
        return;
    }
    admitted(pending);
}

static void pending_free(void *what)
{
    Pending *pending = what;
    arena_free(pending->call.arena);
    free(pending);
}

static void handle(void *context, Request *request)
{
    Api *api = context;
    Match match;
    Pending *pending = mem_alloc(sizeof *pending);
    Call *call = &pending->call;
    *call = (Call){.api = api, .request = request, .arena = arena_new()};
    pending->late_ms = request_began_ms(request) + api->deadline_ms;
    request_attach(request, pending, pending_free);
    route_match(ROUTES, request_method(request), request_path(request), &match);
    if (!match.route && match.allow[0]) {
        call_problem_with(call, PROBLEM_METHOD, "Allow", match.allow,
                          "This path has other methods: see Allow.");
        return;
    }
    if (!match.route) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, 0, "There is nothing at this path.");
        return;
    }
    call->route = match.route;
    pending->bad_path = !match_decode(&match, call->arena);
    memcpy(call->variable, match.variable, sizeof call->variable);
    if (match.route->roles & ROLE_ANYONE) admitted(pending);
    else access_check(api->access, request_header(request, "Authorization"), on_access, pending);
}

// What never becomes a call: bad framing, and what is over a limit.
static void refuse(void *context, const Request *request, int status, const char *detail, Buf *body)
{
    (void)context;
    ProblemKind kind = *problem_kind(PROBLEM_BAD_REQUEST);
    for (int problem = 0; problem < PROBLEM_NONE; problem++) {
        if (problem_kind((Problem)problem)->status != status) continue;
        kind = *problem_kind((Problem)problem);
        break;
    }
    kind.status = status;
    problem_json(&kind, str(detail), request_id(request), NULL, body);
}

static void done(void *context, const Request *request, int status, int64_t us)
{
    const Api *api = context;
    observe(api->observer, request, status, us);
}

// ---- start and stop ----
static Status start_parts(Api *api, const Db *db, const ApiConfig *config, Error *error)
{
    TRY(health_start(db, &api->health, error));
    TRY(access_start(db, &api->access, error));
    int readers = config->readers ? config->readers : READERS;
    int streams = readers < STREAMS_LEAST ? STREAMS_LEAST : readers;
    TRY(readers_start(db, readers, false, &api->readers, error));
    TRY(readers_start(db, streams, true, &api->streams, error));
    const DeskConfig desk = {
        .db = db, .quota = config->quota, .deadline_ms = api->deadline_ms, .metrics = api->metrics};
    TRY(desk_start(&desk, &api->desk, error));
    Status shown = exporter_start(api->metrics, config->metrics_host, config->metrics_port,
                                  &api->exporter, error);
    if (shown != ST_OK && !config->metrics_may_fail) return shown;
    const LogField why[] = {{"reason", str(error->text), 0}};
    if (shown != ST_OK)
        log_line(LOG_WARN, "no metrics: the default port is taken (--metrics-listen HOST:PORT)",
                 why, 1);
    const ServerConfig server = {.host = config->host,
                                 .port = config->port,
                                 .tls_cert = config->tls_cert,
                                 .tls_key = config->tls_key,
                                 .threads = config->threads ? config->threads : THREADS,
                                 .handle = handle,
                                 .refuse = refuse,
                                 .done = done,
                                 .context = api};
    return server_start(&server, &api->server, error);
}

Status api_start(Db *db, const ApiConfig *config, Api **out, Error *error)
{
    if (config->readers < 0 || config->readers > READERS_MAX)
        return error_set(error, ST_BAD_INPUT, "readers: expected 1 to %d", READERS_MAX);
    Api *api = mem_alloc(sizeof *api);
    api->deadline_ms = config->deadline_ms ? config->deadline_ms : DEADLINE_MS;
    api->metrics = metrics_new();
    api->observer = observer_new(api->metrics, config->log_requests);
    Status status = start_parts(api, db, config, error);
    if (status != ST_OK) {
        api_stop(api, 0);
        return status;
    }
    *out = api;
    return ST_OK;
}

void api_stop(Api *api, int timeout_ms)
{
    if (!api) return;
    if (api->server) server_stop(api->server, timeout_ms);
    if (api->exporter) exporter_stop(api->exporter);
    readers_stop(api->streams);
    readers_stop(api->readers);
    if (api->access) access_stop(api->access);
    if (api->desk) desk_stop(api->desk);
    if (api->health) health_stop(api->health);
    observer_free(api->observer);
    metrics_free(api->metrics);
    free(api);
}
