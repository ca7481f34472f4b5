// SPDX-License-Identifier: Apache-2.0
// A request's way, and who may touch it:
//
//   READING    libmicrohttpd's thread reads head and body. Nobody else knows the request.
//   HANDLING   `handle` was called with it, once. From here on whoever handles it has a reference;
//              its head and body no longer change, and nothing in them is libmicrohttpd's, so that
//              they outlive the connection.
//   WAITING    `handle` returned without an answer: the connection is suspended, and nobody but
//              request_answer, request_stream or the server's end resumes it.
//   SENDING    the answer is libmicrohttpd's.
//   GONE       sent, or the connection broke, or the server ended. An answer that comes now is
//              thrown away.
//
// Suspending and resuming happen under the request's lock, together with the look at whether there
// is an answer: so an answer that comes before `handle` has returned is not missed, and one that
// comes later resumes a connection that is suspended. Memory goes with the last reference: the
// connection's, the handler's, the stream's reader's.
//
// Locks, in the order in which they may be held: the server's, a request's, libmicrohttpd's own.
// (It holds its response's lock while it calls on_stream: so no call about a response is made under
// a lock of ours.)
//
// libmicrohttpd can be given an early answer only before it has read any of the body. A body that
// turns out too large is read on for a while, so that its sender sees the refusal, and then cut.
#include "api/server_internal.h"
#include "api/server_parts.h"
#include "base/time.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    THREADS = 2,
    CONNECTION_BYTES = 24 * 1024, // of a connection: its head, and what is being read or sent
    DRAIN_MAX = 1024 * 1024,      // of a body that is too large
    CHUNK_BYTES = 16 * 1024,
    CROWD_SHARE = 8, // 1/8 of all connections are kept free
    OPTIONS_MAX = 16,
};
#define US_PER_MS INT64_C(1000)

struct Server {
    ServerConfig config;
    struct MHD_Daemon *daemon;
    int listener, port;
    Buf cert, key;
    char complaint[ERROR_TEXT_MAX / 2]; // libmicrohttpd's first one, while it starts
    atomic_bool started, stopping;

    pthread_mutex_t lock; // guards:
    pthread_cond_t all_done;
    Request *taken;
    bool closed; // nothing is handed over any more
    Peer *idle_first, *idle_last;
    int peers, crowded; // from so many on, who is idle longest has to go
};

// ---- connections ----
static void idle_remove(Server *server, Peer *peer)
{
    if (!peer->idle) return;
    *(peer->before ? &peer->before->next : &server->idle_first) = peer->next;
    *(peer->next ? &peer->next->before : &server->idle_last) = peer->before;
    peer->idle = false;
}

static void idle_add(Server *server, Peer *peer)
{
    peer->before = server->idle_last;
    peer->next = NULL;
    *(server->idle_last ? &server->idle_last->next : &server->idle_first) = peer;
    server->idle_last = peer;
    peer->idle = true;
    peer->idle_ms = clock_monotonic_ms();
}

// Ends the connection that has had no whole request for longest, where there are many, or where it
// keeps itself alive drop by drop. To libmicrohttpd it looks as if the client had closed it.
static void idle_cut(Server *server)
{
    Peer *first = server->idle_first;
    if (!first) return;
    bool slow = clock_monotonic_ms() - first->idle_ms > SERVER_REQUEST_S * INT64_C(1000);
    if (!slow && server->peers < server->crowded) return;
    idle_remove(server, first);
    (void)shutdown(first->fd, SHUT_RDWR); // it may have gone by itself
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    Server *server = context;
    Peer *peer = *socket_context;
    bool began = what == MHD_CONNECTION_NOTIFY_STARTED;
    if (began) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
            connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        ASSERT(info);
        peer = *socket_context = mem_alloc(sizeof *peer);
        peer->fd = info->connect_fd;
    }
    lock(&server->lock);
    if (began) idle_add(server, peer);
    else idle_remove(server, peer);
    server->peers += began ? 1 : -1;
    if (began) idle_cut(server);
    unlock(&server->lock);
    if (!began) free(peer);
}

// ---- answers ----
static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    // It refuses a name or a value that would break the head: then the answer goes without.
    (void)MHD_add_response_header(response, name, value);
}

static enum MHD_Result send_response(Request *request, struct MHD_Response *response)
{
    ASSERT(response);
    for (const char *p = request->head.p; p && p < request->head.p + request->head.n;) {
        const char *value = p + strlen(p) + 1;
        add_header(response, p, value);
        p = value + strlen(value) + 1;
    }
    add_header(response, "X-Content-Type-Options", "nosniff");
    add_header(response, "X-Request-Id", request_id(request));
    if (atomic_load_explicit(&request->server->stopping, memory_order_relaxed))
        add_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(request->connection, (unsigned)request->status,
                                                response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_body(Request *request)
{
    Buf *out = &request->out;
    if (out->n == 0) {
        static char nothing[1];
        return send_response(request,
                             MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT));
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(out->n, out->p,
                                                                    MHD_RESPMEM_MUST_FREE);
    *out = (Buf){0};
    return send_response(request, response);
}

static ssize_t on_stream(void *context, uint64_t at, char *to, size_t most)
{
    (void)at;
    Outgoing *outgoing = context;
    Request *request = outgoing->request;
    lock(&request->lock);
    ssize_t taken = (ssize_t)outgoing_take(outgoing, to, most);
    if (taken == 0 && (request->cut || (outgoing->ended && !outgoing->complete)))
        taken = MHD_CONTENT_READER_END_WITH_ERROR;
    else if (taken == 0 && outgoing->ended) taken = MHD_CONTENT_READER_END_OF_STREAM;
    else if (taken == 0) {
        outgoing->paused = true;
        MHD_suspend_connection(request->connection);
    }
    unlock(&request->lock);
    return taken;
}

static void on_stream_done(void *context) { request_release(((Outgoing *)context)->request); }

static enum MHD_Result send_stream(Request *request)
{
    atomic_fetch_add(&request->references, 1);
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, CHUNK_BYTES, on_stream, &request->outgoing, on_stream_done);
    // For HEAD it would send the chunk that ends a body, which the client would take for the
    // beginning of the next answer: without chunks, the connection's end is the body's.
    if (request->head_only && response)
        ASSERT(MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END) ==
               MHD_YES);
    return send_response(request, response);
}

// In libmicrohttpd's thread, after `handle` and after each resumption: sends the answer, or waits
// for it.
static enum MHD_Result settle(Request *request)
{
    lock(&request->lock);
    bool cut = request->cut, answered = request->answered;
    if (!cut) request->phase = answered ? SENDING : WAITING;
    if (!cut && !answered) MHD_suspend_connection(request->connection);
    unlock(&request->lock);
    if (cut) return MHD_NO;
    if (!answered) return MHD_YES;
    return request->streams ? send_stream(request) : send_body(request);
}

void request_answer(Request *request, Answer *answer)
{
    lock(&request->lock);
    ASSERT(!request->answered && request->phase != READING);
    request->answered = true;
    if (request->phase != GONE) {
        request_keep_head(request, answer);
        request->out = answer->body;
        answer->body = (Buf){0};
        if (request->phase == WAITING && !request->cut) MHD_resume_connection(request->connection);
    }
    unlock(&request->lock);
    buf_free(&answer->body);
    request_release(request);
}

Outgoing *request_stream(Request *request, const Answer *head)
{
    lock(&request->lock);
    ASSERT(!request->answered && request->phase != READING);
    request->answered = true;
    outgoing_begin(request);
    if (request->phase != GONE) {
        request_keep_head(request, head);
        if (request->phase == WAITING && !request->cut) MHD_resume_connection(request->connection);
    }
    unlock(&request->lock);
    return &request->outgoing;
}

static void outgoing_resume(Outgoing *outgoing)
{
    if (!outgoing->paused) return;
    outgoing->paused = false;
    MHD_resume_connection(outgoing->request->connection);
}

// Waits until the reader took something; false where it has kept us waiting for too long.
static bool outgoing_wait(Outgoing *outgoing)
{
    Request *request = outgoing->request;
    int64_t patience_us = request->server->config.stream_s * US_PER_SECOND +
                          outgoing->taken * US_PER_SECOND / SERVER_STREAM_RATE;
    int64_t from_us = clock_monotonic_us(), until_us = from_us + patience_us - outgoing->waited_us;
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    int failed = pthread_cond_timedwait(&outgoing->moved, &request->lock, &until);
    ASSERT(failed == 0 || failed == ETIMEDOUT);
    outgoing->waited_us += clock_monotonic_us() - from_us;
    return outgoing->waited_us < patience_us;
}

Status outgoing_write(Outgoing *outgoing, Str bytes)
{
    Request *request = outgoing->request;
    lock(&request->lock);
    ASSERT(!outgoing->ended);
    while (bytes.n > 0 && !request->cut && request->phase != GONE) {
        size_t end = (outgoing->at + outgoing->n) % SERVER_STREAM_BYTES;
        size_t piece = SERVER_STREAM_BYTES - outgoing->n;
        if (piece > SERVER_STREAM_BYTES - end) piece = SERVER_STREAM_BYTES - end;
        if (piece > bytes.n) piece = bytes.n;
        if (piece == 0) {
            request->cut = !outgoing_wait(outgoing);
            continue;
        }
        memcpy(outgoing->ring + end, bytes.p, piece);
        outgoing->n += piece;
        bytes.p += piece;
        bytes.n -= piece;
        outgoing_resume(outgoing);
    }
    bool fine = bytes.n == 0 && !request->cut && request->phase != GONE;
    unlock(&request->lock);
    return fine ? ST_OK : ST_RETRY;
}

void outgoing_end(Outgoing *outgoing, bool complete)
{
    Request *request = outgoing->request;
    lock(&request->lock);
    ASSERT(!outgoing->ended);
    outgoing->ended = true;
    outgoing->complete = complete && !request->cut;
    if (request->phase != GONE) outgoing_resume(outgoing);
    unlock(&request->lock);
    request_release(request);
}

// ---- reading ----
static enum MHD_Result refuse(Request *request, int status, const char *detail)
{
    const ServerConfig *config = &request->server->config;
    Answer answer = {.status = status, .content_type = "application/problem+json"};
    if (!atomic_load_explicit(&request->server->stopping, memory_order_relaxed)) {
        answer.header[0].name = "Connection";
        answer.header[0].value = STR("close");
        answer.headers = 1;
    }
    request_keep_head(request, &answer);
    config->refuse(config->context, request, status, detail, &request->out);
    return send_body(request);
}

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind, const char *key,
                                 size_t key_bytes, const char *text, size_t text_bytes)
{
    (void)kind;
    head_check_add(context, (Str){key, key_bytes}, text ? (Str){text, text_bytes} : STR(""));
    return MHD_YES;
}

static enum MHD_Result read_head(Request *request, const char *method, const char *version)
{
    struct MHD_Connection *connection = request->connection;
    request->seen = true;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    request->peer = info ? info->socket_context : NULL;
    request->head_only = strcmp(method, "HEAD") == 0;
    request->method = request_keep(request, str(request->head_only ? "GET" : method));
    HeadCheck check = {.request = request};
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &check);
    int status = 0;
    const char *target_fault = request_read_head(request);
    const char *fault = head_fault(&check, version, &status);
    if (fault) return refuse(request, status, fault);
    if (request->long_target) return refuse(request, 414, "the target is longer than 8192 bytes");
    return target_fault ? refuse(request, 400, target_fault) : MHD_YES;
}

static enum MHD_Result read_body(Request *request, const char *data, size_t *bytes)
{
    if (request->body.n + *bytes > SERVER_BODY_MAX) request->too_large = true;
    if (request->too_large) {
        buf_free(&request->body);
        request->drained += *bytes;
        if (request->drained > DRAIN_MAX) return MHD_NO;
    } else buf_add(&request->body, data, *bytes);
    *bytes = 0;
    return MHD_YES;
}

static enum MHD_Result hand_over(Request *request)
{
    Server *server = request->server;
    if (request->too_large) return refuse(request, 413, "the body is larger than 65536 bytes");
    lock(&server->lock);
    bool closed = server->closed;
    if (!closed) {
        request->next = server->taken;
        if (server->taken) server->taken->before = request;
        server->taken = request;
        request->listed = true;
        if (request->peer) idle_remove(server, request->peer);
        idle_cut(server);
    }
    unlock(&server->lock);
    if (closed) return MHD_NO;
    lock(&request->lock);
    request->phase = HANDLING;
    unlock(&request->lock);
    atomic_fetch_add(&request->references, 1);
    server->config.handle(server->config.context, request);
    return settle(request);
}

static enum MHD_Result on_access(void *context, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *bytes, void **slot)
{
    (void)context;
    (void)connection;
    (void)url;
    Request *request = *slot;
    if (!request) return MHD_NO;
    if (!request->seen) return read_head(request, method, version);
    if (*bytes > 0) return read_body(request, data, bytes);
    // Only this thread changes the phase from READING on to WAITING, so it may look without a lock.
    return request->phase == READING ? hand_over(request) : settle(request);
}

static void *on_target(void *context, const char *uri, struct MHD_Connection *connection)
{
    Request *request = request_new(context);
    request->connection = connection;
    Str target = str(uri ? uri : "");
    request->long_target = target.n > SERVER_TARGET_MAX;
    if (request->long_target) target.n = SERVER_TARGET_MAX;
    request->target = request_keep(request, target);
    return request;
}

// Paths and parameters stay as they were sent.
static size_t on_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

static void on_done(void *context, struct MHD_Connection *connection, void **slot,
                    enum MHD_RequestTerminationCode how)
{
    (void)how;
    Server *server = context;
    Request *request = *slot;
    if (!request) return;
    *slot = NULL;
    lock(&request->lock);
    request->phase = GONE;
    int status = request->status;
    if (request->streams) ASSERT(pthread_cond_signal(&request->outgoing.moved) == 0);
    unlock(&request->lock);
    const union MHD_ConnectionInfo *info =
        status ? NULL : MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);
    if (info) status = (int)info->http_status; // its own refusal
    if (status && server->config.done)
        server->config.done(server->config.context, request, status,
                            clock_monotonic_us() - request->began_us);
    lock(&server->lock);
    if (request->listed) {
        *(request->before ? &request->before->next : &server->taken) = request->next;
        if (request->next) request->next->before = request->before;
        if (request->peer) idle_add(server, request->peer);
        if (!server->taken) ASSERT(pthread_cond_signal(&server->all_done) == 0);
    }
    unlock(&server->lock);
    request_release(request);
}

// ---- the server ----
static void on_complaint(void *context, const char *format, va_list args)
{
    Server *server = context;
    if (atomic_load(&server->started) || server->complaint[0]) return;
    if (vsnprintf(server->complaint, sizeof server->complaint, format, args) < 0)
        server->complaint[0] = '\0';
    server->complaint[strcspn(server->complaint, "\r\n")] = '\0';
}

// While it stops, who connects is sent away at once. (MHD_quiesce_daemon would close the door
// itself, but its workers may do that a second time, and then libmicrohttpd aborts the process.)
static enum MHD_Result may_connect(void *context, const struct sockaddr *address, socklen_t n)
{
    (void)address, (void)n;
    Server *server = context;
    return atomic_load(&server->stopping) ? MHD_NO : MHD_YES;
}

static Status start_daemon(Server *server, Error *error)
{
    const ServerConfig *config = &server->config;
    struct MHD_OptionItem options[OPTIONS_MAX];
    int n = 0;
#define OPTION(option, number, pointer)                                                            \
    options[n++] = (struct MHD_OptionItem){MHD_OPTION_##option, (intptr_t)(number), pointer}
    OPTION(EXTERNAL_LOGGER, on_complaint, server);
    OPTION(LISTEN_SOCKET, server->listener, NULL);
    OPTION(CONNECTION_LIMIT, config->connections, NULL);
    OPTION(CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, NULL);
    OPTION(CONNECTION_TIMEOUT, config->idle_s, NULL);
    // Not 1: what that adds (a target with spaces, no Host) is refused by us, with a problem, and
    // without the doubled head that 0.9.75 puts before a refusal of its own at that point.
    OPTION(STRICT_FOR_CLIENT, 0, NULL);
    OPTION(NOTIFY_COMPLETED, on_done, server);
    OPTION(NOTIFY_CONNECTION, on_connection, server);
    OPTION(URI_LOG_CALLBACK, on_target, server);
    OPTION(UNESCAPE_CALLBACK, on_unescape, server);
    if (config->threads > 1) OPTION(THREAD_POOL_SIZE, config->threads, NULL);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    if (config->tls_cert) {
        flags |= MHD_USE_TLS;
        OPTION(HTTPS_MEM_CERT, 0, server->cert.p);
        OPTION(HTTPS_MEM_KEY, 0, server->key.p);
        OPTION(HTTPS_PRIORITIES, 0, "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1");
    }
    OPTION(END, 0, NULL);
#undef OPTION
    server->daemon = MHD_start_daemon(flags, 0, may_connect, server, on_access, server,
                                      MHD_OPTION_ARRAY, options, MHD_OPTION_END);
    if (!server->daemon)
        return error_set(error, ST_BAD_INPUT, "the server cannot start: %s",
                         server->complaint[0] ? server->complaint
                                              : "libmicrohttpd does not say why");
    atomic_store(&server->started, true);
    return ST_OK;
}

static void server_free(Server *server)
{
    if (server->listener >= 0) (void)close(server->listener);
    ASSERT(pthread_cond_destroy(&server->all_done) == 0);
    ASSERT(pthread_mutex_destroy(&server->lock) == 0);
    buf_free(&server->cert);
    buf_free(&server->key);
    free(server);
}

static Status prepare(Server *server, Error *error)
{
    const ServerConfig *config = &server->config;
    if (!config->tls_cert != !config->tls_key)
        return error_set(error, ST_BAD_INPUT, "TLS needs both a certificate and its key");
    if (config->tls_cert) {
        if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
            return error_set(error, ST_BAD_INPUT, "this libmicrohttpd was built without TLS");
        TRY(read_pem(config->tls_cert, &server->cert, error));
        TRY(read_pem(config->tls_key, &server->key, error));
    }
    TRY(listen_on(config->host, config->port, &server->listener, &server->port, error));
    return start_daemon(server, error);
}

Status server_start(const ServerConfig *config, Server **out, Error *error)
{
    Server *server = mem_alloc(sizeof *server);
    server->config = *config;
    if (!server->config.threads) server->config.threads = THREADS;
    if (!server->config.connections) server->config.connections = SERVER_CONNECTIONS;
    server->config.connections = connections_that_fit(server->config.connections);
    if (!server->config.idle_s) server->config.idle_s = SERVER_IDLE_S;
    if (!server->config.stream_s) server->config.stream_s = SERVER_STREAM_S;
    server->crowded = server->config.connections - server->config.connections / CROWD_SHARE;
    server->listener = -1;
    pthread_condattr_t attributes;
    ASSERT(pthread_mutex_init(&server->lock, NULL) == 0);
    ASSERT(pthread_condattr_init(&attributes) == 0);
    ASSERT(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(&server->all_done, &attributes) == 0);
    ASSERT(pthread_condattr_destroy(&attributes) == 0);
    Status status = prepare(server, error);
    if (status == ST_OK) *out = server;
    else server_free(server);
    return status;
}

int server_port(const Server *server) { return server->port; }

// Whoever still has no answer will not get one: its connection is resumed, to be ended.
static void cut_taken(Server *server)
{
    for (Request *request = server->taken; request; request = request->next) {
        lock(&request->lock);
        if (request->phase != GONE && !request->cut) {
            request->cut = true;
            if (request->phase == WAITING && !request->answered)
                MHD_resume_connection(request->connection);
            if (request->streams) {
                outgoing_resume(&request->outgoing);
                ASSERT(pthread_cond_signal(&request->outgoing.moved) == 0);
            }
        }
        unlock(&request->lock);
    }
}

void server_stop(Server *server, int timeout_ms)
{
    if (!server) return;
    atomic_store(&server->stopping, true); // connections end with their next answer
    int64_t until_us = clock_monotonic_us() + timeout_ms * US_PER_MS;
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    lock(&server->lock);
    while (server->taken) {
        int failed = pthread_cond_timedwait(&server->all_done, &server->lock, &until);
        if (failed == ETIMEDOUT) break;
        ASSERT(failed == 0);
    }
    server->closed = true;
    cut_taken(server);
    unlock(&server->lock);
    MHD_stop_daemon(server->daemon);
    server_free(server);
}
