// SPDX-License-Identifier: Apache-2.0
// Every problem there is. api/openapi.json lists the same, and a test compares them.
#include "api/api.h"

static const ProblemKind KINDS[PROBLEM_NONE] = {
    [PROBLEM_BAD_REQUEST] = {"bad-request", 400, "Bad request"},
    [PROBLEM_TOO_MANY_ROWS] = {"too-many-rows", 400, "Too many rows"},
    [PROBLEM_UNAUTHENTICATED] = {"unauthenticated", 401, "Not authenticated"},
    [PROBLEM_CREDITS_EXHAUSTED] = {"credits-exhausted", 402, "Credits exhausted"},
    [PROBLEM_SPEND_LIMIT] = {"spend-limit", 402, "Spend limit reached"},
    [PROBLEM_FORBIDDEN] = {"forbidden", 403, "Forbidden"},
    [PROBLEM_SUSPENDED] = {"suspended", 403, "Account suspended"},
    [PROBLEM_NO_PLAN] = {"no-plan", 403, "No plan"},
    [PROBLEM_NOT_FOUND] = {"not-found", 404, "Not found"},
    [PROBLEM_METHOD] = {"method-not-allowed", 405, "Method not allowed"},
    [PROBLEM_CONFLICT] = {"conflict", 409, "Conflict"},
    [PROBLEM_TOO_LARGE] = {"too-large", 413, "Body too large"},
    [PROBLEM_TARGET] = {"target-too-long", 414, "Request target too long"},
    [PROBLEM_MEDIA_TYPE] = {"media-type", 415, "Unsupported media type"},
    [PROBLEM_CONCURRENCY_LIMIT] = {"concurrency-limit", 429, "Concurrency limit reached"},
    [PROBLEM_HEADERS] = {"headers-too-large", 431, "Request head too large"},
    [PROBLEM_INTERNAL] = {"internal", 500, "Internal error"},
    [PROBLEM_UNAVAILABLE] = {"unavailable", 503, "Unavailable"},
    [PROBLEM_CATCHING_UP] = {"catching-up", 503, "Catching up"},
    [PROBLEM_BUSY] = {"busy", 503, "Busy"},
};

const ProblemKind *problem_kind(Problem problem)
{
    ASSERT((unsigned)problem < PROBLEM_NONE);
    return &KINDS[problem];
}

void problem_json(const ProblemKind *kind, Str detail, const char *request_id, const char *members,
                  Buf *out)
{
    JsonWriter w = {.out = out};
    buf_addf(out, "{\"type\":\"urn:tally:problem:%s\",\"title\":", kind->name);
    json_quote(out, str(kind->title));
    buf_addf(out, ",\"status\":%d,\"detail\":", kind->status);
    jw_str(&w, NULL, detail);
    buf_addf(out, ",\"instance\":\"urn:tally:request:%s\"%s}", request_id, members ? members : "");
}
