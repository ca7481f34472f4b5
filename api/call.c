// SPDX-License-Identifier: Apache-2.0
// A call's answers, and its query's parameters.
#include "api/internal.h"
#include "api/router.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { DETAIL_MAX = 1024, RETRY_AFTER_S = 1, PARAMS_MAX = 16, NAMES_MAX = 256 };

// ---- answers ----
void call_answer(Call *call, Answer *answer) { request_answer(call->request, answer); }

void call_json(Call *call, int status, Buf *body)
{
    Answer answer = {.status = status, .content_type = "application/json", .body = *body};
    *body = (Buf){0};
    call_answer(call, &answer);
}

Outgoing *call_stream(Call *call, const char *content_type)
{
    return request_stream(call->request, &(Answer){.status = 200, .content_type = content_type});
}

void call_streamed(Call *call, Outgoing *outgoing, bool complete)
{
    (void)call;
    outgoing_end(outgoing, complete);
}

// ---- problems ----
// What was cut within a character must not make the answer bad UTF-8.
static void scrub(char *text)
{
    if (str_is_utf8(str(text))) return;
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80) *text = '?';
}

static void answer_problem(Call *call, Problem problem, const char *members, const char *header,
                           const char *value, const char *detail)
{
    const ProblemKind *kind = problem_kind(problem);
    Answer answer = {.status = kind->status, .content_type = "application/problem+json"};
    problem_json(kind, str(detail), request_id(call->request), members, &answer.body);
    if (header) {
        answer.header[answer.headers].name = header;
        answer.header[answer.headers++].value = str(value);
    }
    call_answer(call, &answer);
}

void call_problem_with(Call *call, Problem problem, const char *header, const char *value,
                       const char *detail)
{
    answer_problem(call, problem, NULL, header, value, detail);
}

void call_problem(Call *call, Problem problem, const char *members, int retry_after_s,
                  const char *format, ...)
{
    char detail[DETAIL_MAX], seconds[16];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    ASSERT(n >= 0);
    scrub(detail);
    n = snprintf(seconds, sizeof seconds, "%d", retry_after_s);
    ASSERT(n > 0 && n < (int)sizeof seconds);
    answer_problem(call, problem, members, retry_after_s ? "Retry-After" : NULL, seconds, detail);
}

// The one table from a Status to HTTP. Where `told` is NULL, the caller reads what the error says.
typedef struct Failure {
    Problem problem;
    int retry_after_s;
    const char *told;
} Failure;
static const char AWAY[] = "The database cannot be reached, or does not answer in time.";
static const char OURS[] = "Something went wrong on our side; it has been logged with this id.";
static const Failure FAILURES[] = {
    [ST_OK] = {PROBLEM_INTERNAL, 0, OURS}, // no failure: our bug
    [ST_RETRY] = {PROBLEM_UNAVAILABLE, RETRY_AFTER_S, AWAY},
    [ST_CONFLICT] = {PROBLEM_UNAVAILABLE, RETRY_AFTER_S,
                     "Somebody else changed the same just now. Ask again."},
    [ST_REFUSED] = {PROBLEM_CONFLICT, 0, NULL},
    [ST_MISSING] = {PROBLEM_NOT_FOUND, 0, NULL},
    [ST_BAD_INPUT] = {PROBLEM_BAD_REQUEST, 0, NULL},
    [ST_FATAL] = {PROBLEM_INTERNAL, 0, OURS},
};

void call_failed(Call *call, Status status, const Error *error)
{
    const char *text = error && error->text[0] ? error->text : status_name(status);
    // What the database refuses is ours: requests were checked before.
    if (status == ST_BAD_INPUT && error && error->code[0]) status = ST_FATAL;
    const Failure *failure = &FAILURES[status];
    if (problem_kind(failure->problem)->status >= 500)
        ((Pending *)call)->why = arena_copy(call->arena, str(text)).p;
    call_problem(call, failure->problem, NULL, failure->retry_after_s, "%s",
                 failure->told ? failure->told : text);
}

// ---- parameters ----
static const Param *find(const Param *params, size_t n, Str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(name, params[i].name)) return &params[i];
    return NULL;
}

static bool bad_query(Call *call, Str name, const char *what)
{
    call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "%.*s: %s", (int)name.n, name.p, what);
    return false;
}

static bool unknown(Call *call, const Param *params, size_t n, Str name)
{
    char names[NAMES_MAX] = "";
    size_t at = 0;
    for (size_t i = 0; i < n && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "",
                               params[i].name);
    call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                 "%.*s is not a parameter of this route, which takes %s", (int)name.n, name.p,
                 n ? names : "none");
    return false;
}

bool call_params(Call *call, const Param *params, size_t n)
{
    bool seen[PARAMS_MAX] = {0};
    char why[WHY_TEXT];
    Str name, value;
    ASSERT(n <= PARAMS_MAX);
    for (size_t i = 0; i < n; i++)
        if (params[i].given) *params[i].given = false;
    name = request_bad_query(call->request);
    if (!str_absent(name))
        return bad_query(call, name.n ? name : STR("query"),
                         "is not percent-encoded UTF-8 without NUL");
    for (int i = 0; request_query(call->request, i, &name, &value); i++) {
        const Param *param = find(params, n, name);
        if (!param) return unknown(call, params, n, name);
        if (seen[param - params]) return bad_query(call, name, "is given twice");
        seen[param - params] = true;
        if (!param_read(param, value, call->arena, why)) return bad_query(call, name, why);
        if (param->given) *param->given = true;
    }
    return true;
}

bool call_prefers(const Call *call, const char *media_type)
{
    return accept_prefers(request_header(call->request, "Accept"), media_type);
}

bool caller_sees(const Caller *caller, Str account)
{
    return caller->role != ROLE_CUSTOMER || str_is(account, caller->account);
}
