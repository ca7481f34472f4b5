// SPDX-License-Identifier: Apache-2.0
// api/server: HTTP/1.1 on libmicrohttpd, which no other file includes: connections, framing,
// limits, TLS, a graceful stop. Knows requests and answers, never what they mean.
//
// A request is handed over whole (its body is read, within the limit). It is answered exactly once,
// from any thread, at any time: until then its connection is suspended, and costs no thread.
#pragma once

#include "base/text.h"

enum {
    SERVER_BODY_MAX = 64 * 1024,
    SERVER_TARGET_MAX = 8 * 1024, // path and query
    SERVER_HEADERS_MAX = 100,
    SERVER_QUERY_MAX = 64, // parameters
    SERVER_CONNECTIONS = 4096,
    SERVER_IDLE_S = 30,               // a connection that sends and takes nothing
    SERVER_REQUEST_S = 60,            // one that has sent no whole request may be cut then
    SERVER_STREAM_BYTES = 256 * 1024, // of a stream, written and not yet sent
    SERVER_STREAM_S = 30,             // how long its reader may keep the writer waiting in all, and
    SERVER_STREAM_RATE = 16 * 1024,   // a second more for so many bytes that it took
    SERVER_HEADERS_OUT = 8,
};

typedef struct Server Server;
typedef struct Request Request;

typedef struct ServerConfig {
    const char *host;               // an address to listen on
    int port;                       // 0: any that is free
    const char *tls_cert, *tls_key; // PEM files; NULL: plain
    int threads;                    // 0: 2
    int connections;      // 0: SERVER_CONNECTIONS; where most are taken, who is idle longest is cut
    int idle_s, stream_s; // 0: SERVER_IDLE_S, SERVER_STREAM_S
    // Called with each request, in a thread of the server's: must not wait. Answers now, or keeps
    // the request and answers later.
    void (*handle)(void *context, Request *request);
    // What is wrong with a request that never gets there (framing, limits) is answered by the
    // server through this: it makes the body, a problem, for the status and the sentence.
    void (*refuse)(void *context, const Request *request, int status, const char *detail,
                   Buf *body);
    // Told of every answer, after its last byte was taken or the connection broke; may be NULL.
    // (libmicrohttpd's own refusals have a path, an id and a method that are empty.)
    void (*done)(void *context, const Request *request, int status, int64_t us);
    void *context;
} ServerConfig;

// ST_BAD_INPUT: the address, port or certificate is no good, and why.
Status server_start(const ServerConfig *config, Server **out, Error *error) MUST_USE;
int server_port(const Server *server);
// Takes no new connections, waits until what was taken is answered (at most timeout_ms), and ends.
void server_stop(Server *server, int timeout_ms);

// ---- a request ----
const char *request_method(const Request *request); // "GET" for HEAD, whose body is left out
Str request_path(const Request *request);           // as sent: not decoded, without the query
Str request_body(const Request *request);           // empty where there is none
Str request_header(const Request *request, const char *name); // absent where there is none
// The n-th query parameter, decoded; false behind the last. One without "=" has an empty value.
bool request_query(const Request *request, int n, Str *name, Str *value);
// A parameter that could not be decoded (bad percent-encoding, NUL, bad UTF-8): its name, else
// absent.
Str request_bad_query(const Request *request);
const char *
request_id(const Request *request);        // X-Request-Id where it came with a sane one, else ours
Str request_trace(const Request *request); // a well-formed traceparent's trace id, or absent
int64_t request_began_ms(const Request *request); // monotonic, when it was read
// A place for whoever handles it; `drop` is called with it when the request is done.
void request_attach(Request *request, void *what, void (*drop)(void *what));
void *request_attached(const Request *request);

// ---- an answer ----
typedef struct Answer {
    int status;
    const char *content_type; // NULL: no body
    struct {
        const char *name;
        Str value;
    } header[SERVER_HEADERS_OUT]; // besides those that every answer has; copied
    int headers;
    Buf body; // taken over
} Answer;
void request_answer(Request *request, Answer *answer);

// Instead: an answer whose length is not known. Written by one thread, which waits while the reader
// is slow; ST_RETRY where the reader went away or took too long: stop writing. Always ended.
// `complete` false cuts the connection, so that the reader sees that it did not get all.
typedef struct Outgoing Outgoing;
Outgoing *request_stream(Request *request, const Answer *head);
Status outgoing_write(Outgoing *outgoing, Str bytes) MUST_USE;
void outgoing_end(Outgoing *outgoing, bool complete);
