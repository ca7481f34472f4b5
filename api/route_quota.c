// SPDX-License-Identifier: Apache-2.0
// api/route_quota: reservations and an account's quota. What is asked is read here and handed to
// the desk; what came of it is told here.
#include "api/desk.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    MILLICPU_STEP = 250,       // as in events
    FULL_RETRY_AFTER_S = 1,    // slots come free at any moment
    BEHIND_RETRY_AFTER_S = 10, // progress takes its time
    RESERVATION_ID_MAX = 64,   // bytes, as somebody may send them
    LOCATION_TEXT = 192,
};

// ---- answers ----
static const Problem DENIED_PROBLEM[DENIALS] = {
    PROBLEM_SUSPENDED,   PROBLEM_NO_PLAN,           PROBLEM_CREDITS_EXHAUSTED,
    PROBLEM_SPEND_LIMIT, PROBLEM_CONCURRENCY_LIMIT,
};

static void answer_denied(Call *call, const Ask *ask)
{
    Problem problem = DENIED_PROBLEM[__builtin_ctz(ask->denied)];
    const char *account = ask->account.p;
    int n = (int)ask->account.n;
    char members[64];
    int64_t in_use = ask->running + ask->reserved;
    switch (ask->denied) {
    case DENY_SUSPENDED:
        call_problem(call, problem, NULL, 0, "Account %.*s is suspended: it may start nothing.", n,
                     account);
        return;
    case DENY_NO_PLAN:
        call_problem(call, problem, NULL, 0,
                     "Account %.*s has no plan today: its subscription has ended or not begun.", n,
                     account);
        return;
    case DENY_CREDITS:
        call_problem(call, problem, NULL, 0,
                     "The credits of account %.*s are used up, and its plan allows no more.", n,
                     account);
        return;
    case DENY_SPEND:
        call_problem(call, problem, NULL, 0,
                     "Account %.*s has reached its spend limit for this month.", n, account);
        return;
    case DENY_CONCURRENCY: break;
    }
    int written = snprintf(members, sizeof members, ",\"limit\":%" PRId64 ",\"in_use\":%" PRId64,
                           ask->limit, in_use);
    ASSERT(written > 0 && written < (int)sizeof members);
    call_problem(call, problem, members, FULL_RETRY_AFTER_S,
                 "Account %.*s has %" PRId64 " of %" PRId64
                 " slots in use. Stop a VM or give a reservation back, then ask again.",
                 n, account, in_use, ask->limit);
}

// What is the same whatever was asked; true: it has been answered.
static bool answer_refused(Call *call, const Ask *ask)
{
    switch (ask->result) {
    case ASKED_NO_ACCOUNT:
        call_problem(call, PROBLEM_NOT_FOUND, NULL, 0, "There is no account %.*s.",
                     (int)ask->account.n, ask->account.p);
        return true;
    case ASKED_NO_SLOT:
        call_problem(call, PROBLEM_NOT_FOUND, NULL, 0,
                     "VM %.*s of account %.*s neither runs nor has a reservation.", (int)ask->vm.n,
                     ask->vm.p, (int)ask->account.n, ask->account.p);
        return true;
    case ASKED_CATCHING_UP:
        call_problem(call, PROBLEM_CATCHING_UP, NULL, BEHIND_RETRY_AFTER_S,
                     "The database was restored, and collectors have not caught up with it yet. "
                     "Nothing was reserved; ask again.");
        return true;
    case ASKED_DENIED: answer_denied(call, ask); return true;
    default: return false;
    }
}

static void answer_slot(Call *call, int status, const Ask *ask)
{
    char location[LOCATION_TEXT];
    Answer answer = {.status = status, .content_type = "application/json"};
    if (status == 201) {
        int n = snprintf(location, sizeof location, "/v1/quota/reservations/%.*s/%.*s",
                         (int)ask->account.n, ask->account.p, (int)ask->vm.n, ask->vm.p);
        ASSERT(n > 0 && n < (int)sizeof location);
        answer.header[answer.headers].name = "Location";
        answer.header[answer.headers++].value = str(location);
    }
    ask_json(ask, &answer.body);
    call_answer(call, &answer);
}

static void answer_reserve(Call *call, const Ask *ask)
{
    if (answer_refused(call, ask)) return;
    if (ask->result == ASKED_NO_SIZE && ask->size.p)
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "size: there is none named \"%.*s\" today",
                     (int)ask->size.n, ask->size.p);
    else if (ask->result == ASKED_NO_SIZE)
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                     "millicpu, memory_bytes: no size holds %" PRId64 " and %" PRId64,
                     ask->millicpu, ask->memory_bytes);
    else answer_slot(call, ask->result == ASKED_GRANTED ? 201 : 200, ask);
}

static void answer_show(Call *call, const Ask *ask)
{
    if (!answer_refused(call, ask)) answer_slot(call, 200, ask);
}

static void answer_release(Call *call, const Ask *ask)
{
    if (answer_refused(call, ask)) return;
    if (ask->result == ASKED_RUNS)
        call_problem(call, PROBLEM_CONFLICT, NULL, 0,
                     "VM %.*s runs, by the events so far. Where it has stopped for certain, "
                     "say so with ?stopped=true.",
                     (int)ask->vm.n, ask->vm.p);
    else if (ask->result == ASKED_OTHER)
        call_problem(call, PROBLEM_CONFLICT, NULL, 0,
                     "VM %.*s has another reservation than %.*s: it was renewed meanwhile.",
                     (int)ask->vm.n, ask->vm.p, (int)ask->reservation.n, ask->reservation.p);
    else call_answer(call, &(Answer){.status = 204});
}

static void answer_quota(Call *call, const Ask *ask)
{
    if (answer_refused(call, ask)) return;
    Buf body = {0};
    quota_json(ask, ask->has_credits ? &ask->credits : NULL, &body);
    call_json(call, 200, &body);
}

// ---- what is asked ----
// The member `name` of the body, an id; false: it has been answered.
static bool take_id(Call *call, const Json *body, const char *name, Str *out)
{
    const Json *member = json_get(body, name);
    if (json_text(member, out) && str_is_id(*out)) return true;
    call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                 member ? "%s: expected text of 1 to 64 letters, digits and . _ : -"
                        : "%s is missing: expected text of 1 to 64 letters, digits and . _ : -",
                 name);
    return false;
}

// An integer above 0, a multiple of `step`; absent leaves *out 0.
static bool take_positive(Call *call, const Json *body, const char *name, int64_t step,
                          int64_t *out)
{
    const Json *member = json_get(body, name);
    if (!member) return true;
    if (json_integer(member, out) && *out > 0 && *out % step == 0) return true;
    if (step == 1)
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "%s: expected an integer above 0", name);
    else
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                     "%s: expected an integer above 0, a multiple of %" PRId64, name, step);
    return false;
}

static bool take_size(Call *call, const Json *body, Ask *ask)
{
    const Json *size = json_get(body, "size");
    if (size && (!json_text(size, &ask->size) || ask->size.n == 0 || ask->size.n > SIZE_NAME_MAX)) {
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                     "size: expected a size's name, text of 1 to %d bytes", SIZE_NAME_MAX);
        return false;
    }
    if (!take_positive(call, body, "millicpu", MILLICPU_STEP, &ask->millicpu) ||
        !take_positive(call, body, "memory_bytes", 1, &ask->memory_bytes))
        return false;
    if (size || (ask->millicpu && ask->memory_bytes)) return true;
    call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0,
                 "size is missing: expected size, or millicpu and memory_bytes");
    return false;
}

void route_reserve(Call *call)
{
    if (!call_params(call, NULL, 0)) return;
    OWNED_JSON Json *body = NULL;
    Error error = {0};
    if (json_parse(request_body(call->request), SERVER_BODY_MAX, &body, &error) != ST_OK) {
        call_problem(call, PROBLEM_BAD_REQUEST, NULL, 0, "body: %s", error.text);
        return;
    }
    Ask ask = {.kind = ASK_RESERVE};
    if (take_id(call, body, "account", &ask.account) && take_id(call, body, "vm", &ask.vm) &&
        take_size(call, body, &ask))
        desk_ask(api_desk(call->api), call, &ask, false, answer_reserve);
}

// The VM in the path; false: it has been answered. What is no id is nobody's.
static bool take_path(Call *call, Ask *ask)
{
    ask->account = call->variable[0];
    ask->vm = call->variable[1];
    if (str_is_id(ask->account) && str_is_id(ask->vm)) return true;
    call_problem(call, PROBLEM_NOT_FOUND, NULL, 0,
                 "There is no such VM: ids are 1 to 64 letters, digits and . _ : -");
    return false;
}

void route_reservation(Call *call)
{
    Ask ask = {.kind = ASK_SHOW};
    if (call_params(call, NULL, 0) && take_path(call, &ask))
        desk_ask(api_desk(call->api), call, &ask, false, answer_show);
}

void route_release(Call *call)
{
    Ask ask = {.kind = ASK_RELEASE};
    enum { STOPPED_TRUE, STOPPED_FALSE };
    int stopped = STOPPED_FALSE;
    const Param params[] = {
        {"reservation", PARAM_TEXT, &ask.reservation, NULL, NULL, 1, RESERVATION_ID_MAX},
        {"stopped", PARAM_CHOICE, &stopped, NULL, "true|false", 0, 0},
    };
    if (!call_params(call, params, sizeof params / sizeof *params) || !take_path(call, &ask))
        return;
    ask.stopped = stopped == STOPPED_TRUE;
    desk_ask(api_desk(call->api), call, &ask, false, answer_release);
}

void route_quota(Call *call)
{
    if (!call_params(call, NULL, 0)) return;
    Ask ask = {.kind = ASK_QUOTA, .account = call->variable[0]};
    if (!str_is_id(ask.account)) {
        call_problem(call, PROBLEM_NOT_FOUND, NULL, 0, "There is no such account.");
        return;
    }
    desk_ask(api_desk(call->api), call, &ask, true, answer_quota);
}
