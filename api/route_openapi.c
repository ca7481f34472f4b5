// SPDX-License-Identifier: Apache-2.0
// GET /openapi.json: the description in api/openapi.json, built in. It never changes while the
// program runs, so whoever has it already is told so.
#include "api/api.h"

#include "base/sha256.h"

#include <pthread.h>
#include <stdio.h>

extern const char OPENAPI[];

enum { ETAG_DIGITS = 32, ETAG_TEXT = ETAG_DIGITS + 3 };

static char etag[ETAG_TEXT]; // a quoted part of the text's hash

static void etag_make(void)
{
    char hash[SHA256_TEXT];
    Sha256 whole = sha256(str(OPENAPI));
    int n = snprintf(etag, sizeof etag, "\"%.*s\"", ETAG_DIGITS, sha256_format(&whole, hash));
    ASSERT(n == ETAG_TEXT - 1);
}

// Whether If-None-Match names it: "*", or one of a list (RFC 9110, 13.1.2; W/ makes no difference).
static bool has_it(Str sent)
{
    if (str_absent(sent)) return false;
    return str_is(sent, "*") || memmem(sent.p, sent.n, etag, strlen(etag)) != NULL;
}

void route_openapi(Call *call)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (!call_params(call, NULL, 0)) return;
    int failed = pthread_once(&once, etag_make);
    ASSERT(failed == 0);
    Answer answer = {.status = 304};
    answer.header[answer.headers].name = "ETag";
    answer.header[answer.headers++].value = str(etag);
    if (!has_it(request_header(call->request, "If-None-Match"))) {
        answer.status = 200;
        answer.content_type = "application/json";
        buf_add_text(&answer.body, OPENAPI);
    }
    call_answer(call, &answer);
}
