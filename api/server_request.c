// SPDX-License-Identifier: Apache-2.0
// What a request holds. All its texts are copies in one buffer, so that they outlive the
// connection.
#include "api/server_internal.h"
#include "api/server_parts.h"
#include "base/time.h"

#include <stdio.h>

enum { TEXT_BYTES = 1024, HEADERS_USUAL = 16 };

Request *request_new(Server *server)
{
    Request *request = mem_alloc(sizeof *request);
    request->server = server;
    atomic_init(&request->references, 1);
    request->began_us = clock_monotonic_us();
    ASSERT(pthread_mutex_init(&request->lock, NULL) == 0);
    request->text = (Buf){.p = mem_alloc(TEXT_BYTES), .room = TEXT_BYTES};
    (void)request_keep(request, STR("")); // what an empty Span is of
    return request;
}

void request_release(Request *request)
{
    if (atomic_fetch_sub(&request->references, 1) > 1) return;
    if (request->drop) request->drop(request->attached);
    if (request->streams) ASSERT(pthread_cond_destroy(&request->outgoing.moved) == 0);
    ASSERT(pthread_mutex_destroy(&request->lock) == 0);
    free(request->outgoing.ring);
    buf_free(&request->head);
    buf_free(&request->out);
    buf_free(&request->text);
    buf_free(&request->body);
    free(request->headers);
    free(request->params);
    free(request);
}

// ---- reading ----
Span request_keep(Request *request, Str text)
{
    Span span = {(uint32_t)request->text.n, (uint32_t)text.n};
    buf_add(&request->text, text.p, text.n);
    buf_add_char(&request->text, '\0');
    return span;
}

Str request_span(const Request *request, Span span)
{
    return (Str){request->text.p + span.at, span.n};
}

static void header_add(Request *request, Str name, Str value)
{
    if (request->header_count == request->header_room) {
        request->header_room = request->header_room ? 2 * request->header_room : HEADERS_USUAL;
        request->headers = mem_resize(request->headers,
                                      (size_t)request->header_room * sizeof *request->headers);
    }
    Pair *header = &request->headers[request->header_count++];
    header->name = request_keep(request, name);
    header->value = request_keep(request, value);
}

// ---- what may be wrong with it ----
void head_check_add(HeadCheck *check, Str name, Str value)
{
    if (header_is(name, "host")) check->hosts++;
    else if (header_is(name, "authorization")) check->credentials++;
    else if (header_is(name, "content-type")) check->types++;
    else if (header_is(name, "content-length")) {
        check->lengths++;
        check->length = value;
    } else if (header_is(name, "transfer-encoding")) {
        check->encodings++;
        check->chunked = header_is(value, "chunked");
    }
    check->insane |= !header_is_sane(name, value);
    header_add(check->request, name, value);
}

// What is wrong with the head, or NULL: everything that another server between the client and us
// might understand in another way. (What libmicrohttpd refuses by itself never gets here.)
const char *head_fault(const HeadCheck *check, const char *version, int *status)
{
    int64_t length = 0;
    bool old = strcmp(version, "HTTP/1.0") == 0;
    *status = 431;
    if (check->request->header_count > SERVER_HEADERS_MAX) return "there are too many headers";
    *status = 400;
    if (check->insane) return "a header's name or value has a character that may not be in it";
    if (check->encodings > 0 && check->lengths > 0)
        return "there are both Transfer-Encoding and Content-Length";
    if (check->encodings > 1 || (check->encodings == 1 && !check->chunked))
        return "Transfer-Encoding may only be chunked";
    if (check->encodings > 0 && old) return "Transfer-Encoding needs HTTP/1.1";
    if (check->lengths > 1) return "there are two Content-Length headers";
    if (check->hosts > 1) return "there are two Host headers";
    if (check->hosts == 0 && !old) return "there is no Host header";
    if (check->credentials > 1) return "there are two Authorization headers";
    if (check->types > 1) return "there are two Content-Type headers";
    if (check->lengths == 1 && !str_to_int(check->length, &length))
        return "Content-Length is no number";
    *status = 413;
    return length > SERVER_BODY_MAX ? "the body is larger than 65536 bytes" : NULL;
}

static const char *read_query(Request *request, Str sent, Span *bad, bool *is_bad)
{
    OWNED_BUF Buf query = {0}; // the buffer that holds what was sent grows meanwhile
    buf_add_str(&query, sent);
    Str rest = buf_str(&query), name, value;
    while (query_next(&rest, &name, &value)) {
        if (request->param_count == SERVER_QUERY_MAX) return "the query has too many parameters";
        if (!request->params)
            request->params = mem_alloc(SERVER_QUERY_MAX * sizeof *request->params);
        OWNED_BUF Buf decoded_name = {0}, decoded_value = {0};
        bool named = percent_decode(name, true, &decoded_name);
        if (!named || !percent_decode(value, true, &decoded_value)) {
            if (!*is_bad) *bad = request_keep(request, named ? buf_str(&decoded_name) : name);
            *is_bad = true;
            continue;
        }
        Pair *param = &request->params[request->param_count++];
        param->name = request_keep(request, buf_str(&decoded_name));
        param->value = request_keep(request, buf_str(&decoded_value));
    }
    return NULL;
}

const char *request_read_head(Request *request)
{
    Str sent = request_header(request, "x-request-id"), path, query;
    char made[REQUEST_ID_TEXT];
    if (!request_id_is_sane(sent)) {
        request_id_make(made);
        sent = str(made);
    }
    OWNED_BUF Buf id = {0};
    buf_add_str(&id, sent);
    request->id = request_keep(request, buf_str(&id));
    if (!target_split(request_span(request, request->target), &path, &query))
        return "the target is no path";
    // Its place among the texts: it is a part of the target, and so has no NUL of its own.
    request->path = (Span){(uint32_t)(path.p - request->text.p), (uint32_t)path.n};
    if (path.p < request->text.p || path.p >= request->text.p + request->text.n) {
        OWNED_BUF Buf copy = {0};
        buf_add_str(&copy, path);
        request->path = request_keep(request, buf_str(&copy));
    }
    Span bad = {0};
    bool is_bad = false;
    const char *wrong = str_absent(query) ? NULL : read_query(request, query, &bad, &is_bad);
    if (is_bad) request->bad_query = request_span(request, bad);
    request->trace = trace_id(request_header(request, "traceparent"));
    return wrong;
}

// ---- what whoever handles it asks ----
const char *request_method(const Request *request) { return request->text.p + request->method.at; }
Str request_path(const Request *request) { return request_span(request, request->path); }
Str request_body(const Request *request) { return buf_str(&request->body); }
const char *request_id(const Request *request) { return request->text.p + request->id.at; }
int64_t request_began_ms(const Request *request) { return request->began_us / 1000; }
void *request_attached(const Request *request) { return request->attached; }
Str request_bad_query(const Request *request) { return request->bad_query; }
Str request_trace(const Request *request) { return request->trace; }

Str request_header(const Request *request, const char *name)
{
    for (int i = 0; i < request->header_count; i++)
        if (header_is(request_span(request, request->headers[i].name), name))
            return request_span(request, request->headers[i].value);
    return (Str){0};
}

bool request_query(const Request *request, int n, Str *name, Str *value)
{
    if (n < 0 || n >= request->param_count) return false;
    *name = request_span(request, request->params[n].name);
    *value = request_span(request, request->params[n].value);
    return true;
}

void request_attach(Request *request, void *what, void (*drop)(void *what))
{
    request->attached = what;
    request->drop = drop;
}

// ---- the answer's head ----
void header_line(Buf *head, const char *name, Str value)
{
    buf_add(head, name, strlen(name) + 1);
    buf_add_str(head, value);
    buf_add_char(head, '\0');
}

void request_keep_head(Request *request, const Answer *answer)
{
    ASSERT(answer->headers >= 0 && answer->headers <= SERVER_HEADERS_OUT);
    request->status = answer->status;
    if (answer->content_type)
        header_line(&request->head, "Content-Type", str(answer->content_type));
    bool caching = false;
    for (int i = 0; i < answer->headers; i++) {
        header_line(&request->head, answer->header[i].name, answer->header[i].value);
        caching |= header_is(str(answer->header[i].name), "cache-control");
    }
    if (!caching) header_line(&request->head, "Cache-Control", STR("no-store"));
}

// ---- streams ----
void outgoing_begin(Request *request)
{
    Outgoing *outgoing = &request->outgoing;
    pthread_condattr_t attributes;
    ASSERT(pthread_condattr_init(&attributes) == 0);
    ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(&outgoing->moved, &attributes) == 0);
    ASSERT(pthread_condattr_destroy(&attributes) == 0);
    outgoing->request = request;
    outgoing->ring = mem_alloc(SERVER_STREAM_BYTES);
    request->streams = true;
}

size_t outgoing_take(Outgoing *outgoing, char *to, size_t most)
{
    size_t done = 0;
    while (done < most && outgoing->n > 0) {
        size_t piece = SERVER_STREAM_BYTES - outgoing->at;
        if (piece > outgoing->n) piece = outgoing->n;
        if (piece > most - done) piece = most - done;
        memcpy(to + done, outgoing->ring + outgoing->at, piece);
        outgoing->at = (outgoing->at + piece) % SERVER_STREAM_BYTES;
        outgoing->n -= piece;
        done += piece;
    }
    outgoing->taken += (int64_t)done;
    if (done > 0) ASSERT(pthread_cond_signal(&outgoing->moved) == 0);
    return done;
}
