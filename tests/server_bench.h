// SPDX-License-Identifier: Apache-2.0
// A service to try the server with, and a client that sends bytes as they are given.
#pragma once

#include "api/server.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { QUEUE_MAX = 4096, ANSWERERS = 4, READ_TIMEOUT_S = 20 };

// ---- the service ----
// /now answers at once; /later in another thread, in any order, after `ms`; /never is kept;
// /stream is written by a thread of its own, `bytes` of them, and ends well unless `cut`.
static struct Service {
    Server *server;
    atomic_int handled, dropped, done, refused, told; // told: streams whose writer was refused
    _Atomic(Request *) kept;
    pthread_mutex_t lock;
    pthread_cond_t more;
    Request *queue[QUEUE_MAX];
    int queued;
    bool ending;
    unsigned seed;
    pthread_t answerer[ANSWERERS];
} service = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .seed = 1};

static int64_t parameter(const Request *request, const char *wanted)
{
    Str name, value;
    int64_t number = 0;
    for (int i = 0; request_query(request, i, &name, &value); i++)
        if (str_is(name, wanted)) ck_assert(str_to_int(value, &number));
    return number;
}

static void dropped(void *what)
{
    ck_assert_ptr_eq(what, &service);
    atomic_fetch_add(&service.dropped, 1);
}

// What was understood of a request, a line each.
static void echo(Request *request)
{
    Answer answer = {.status = 200, .content_type = "text/plain"};
    answer.header[answer.headers].name = "X-Echo";
    answer.header[answer.headers++].value = (Str){"yes no", 3};
    Buf *out = &answer.body;
    Str path = request_path(request), body = request_body(request), name, value;
    buf_addf(out, "%s %.*s\n", request_method(request), (int)path.n, path.p);
    for (int i = 0; request_query(request, i, &name, &value); i++)
        buf_addf(out, "?%.*s=%.*s\n", (int)name.n, name.p, (int)value.n, value.p);
    Str bad = request_bad_query(request), trace = request_trace(request);
    if (!str_absent(bad)) buf_addf(out, "bad %.*s\n", (int)bad.n, bad.p);
    if (!str_absent(trace)) buf_addf(out, "trace %.*s\n", (int)trace.n, trace.p);
    Str cookie = request_header(request, "X-thing");
    if (!str_absent(cookie)) buf_addf(out, "thing %.*s\n", (int)cookie.n, cookie.p);
    buf_addf(out, "body %zu %.*s\n", body.n, body.n < 100 ? (int)body.n : 0, body.p);
    request_answer(request, &answer);
}

static void *stream_writer(void *context)
{
    Request *request = context;
    int64_t bytes = parameter(request, "bytes"), cut = parameter(request, "cut");
    int64_t pause_ms = parameter(request, "pause");
    Answer head = {.status = 200, .content_type = "text/csv"};
    Outgoing *outgoing = request_stream(request, &head);
    char piece[5000];
    for (size_t i = 0; i < sizeof piece; i++) piece[i] = (char)('a' + i % 25);
    Status status = ST_OK;
    for (int64_t sent = 0; sent < bytes && status == ST_OK; sent += (int64_t)sizeof piece) {
        size_t n = bytes - sent < 5000 ? (size_t)(bytes - sent) : sizeof piece;
        status = outgoing_write(outgoing, (Str){piece, n});
        if (pause_ms) clock_sleep_ms(pause_ms);
    }
    if (status == ST_RETRY) atomic_fetch_add(&service.told, 1);
    outgoing_end(outgoing, status == ST_OK && !cut);
    return NULL;
}

static void handle(void *context, Request *request)
{
    ck_assert_ptr_eq(context, &service);
    atomic_fetch_add(&service.handled, 1);
    request_attach(request, &service, dropped);
    Str path = request_path(request);
    if (str_is(path, "/never")) {
        atomic_store(&service.kept, request);
    } else if (str_is(path, "/stream")) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, stream_writer, request), 0);
        ck_assert_int_eq(pthread_detach(thread), 0);
    } else if (str_is(path, "/later")) {
        pthread_mutex_lock(&service.lock);
        ck_assert_int_lt(service.queued, QUEUE_MAX);
        service.queue[service.queued++] = request;
        pthread_cond_signal(&service.more);
        pthread_mutex_unlock(&service.lock);
    } else echo(request);
}

static void refuse(void *context, const Request *request, int status, const char *detail, Buf *body)
{
    (void)request;
    ck_assert_ptr_eq(context, &service);
    atomic_fetch_add(&service.refused, 1);
    buf_addf(body, "{\"status\":%d,\"detail\":\"%s\"}", status, detail);
}

static void done(void *context, const Request *request, int status, int64_t us)
{
    ck_assert_ptr_eq(context, &service);
    ck_assert(status >= 200 && us >= 0 && request_id(request) && request_method(request));
    atomic_fetch_add(&service.done, 1);
}

static void *answerer(void *context)
{
    (void)context;
    for (;;) {
        pthread_mutex_lock(&service.lock);
        while (!service.queued && !service.ending) pthread_cond_wait(&service.more, &service.lock);
        if (!service.queued) break;
        int any = (int)(rand_r(&service.seed) % (unsigned)service.queued);
        Request *request = service.queue[any];
        service.queue[any] = service.queue[--service.queued];
        pthread_mutex_unlock(&service.lock);
        int64_t ms = parameter(request, "ms");
        if (ms) clock_sleep_ms(ms);
        echo(request);
    }
    pthread_mutex_unlock(&service.lock);
    return NULL;
}

static void service_start(ServerConfig config)
{
    Error error = {0};
    config.host = "127.0.0.1";
    config.handle = handle;
    config.refuse = refuse;
    config.done = done;
    config.context = &service;
    ck_assert_msg(server_start(&config, &service.server, &error) == ST_OK, "%s", error.text);
    for (int i = 0; i < ANSWERERS; i++)
        ck_assert_int_eq(pthread_create(&service.answerer[i], NULL, answerer, NULL), 0);
}

// Ends everything, and says whether every request that was handled is gone.
static void service_stop(void)
{
    pthread_mutex_lock(&service.lock);
    service.ending = true;
    pthread_cond_broadcast(&service.more);
    pthread_mutex_unlock(&service.lock);
    for (int i = 0; i < ANSWERERS; i++)
        ck_assert_int_eq(pthread_join(service.answerer[i], NULL), 0);
    if (service.server) server_stop(service.server, 5000);
    service.server = NULL;
    for (int i = 0; i < 500 && atomic_load(&service.dropped) < atomic_load(&service.handled); i++)
        clock_sleep_ms(10);
    ck_assert_int_eq(service.dropped, service.handled);
}

// ---- the client ----
typedef struct Client {
    int fd;
    Buf in; // read and not yet used
} Client;

static Client client_to(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct timeval wait = {.tv_sec = READ_TIMEOUT_S};
    ck_assert_int_eq(setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    ck_assert_int_eq(connect(client.fd, (struct sockaddr *)&to, sizeof to), 0);
    return client;
}

static Client client_new(void) { return client_to(server_port(service.server)); }

static void client_free(Client *client)
{
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    buf_free(&client->in);
}

static bool client_send(Client *client, Str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = send(client->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n <= 0) return false;
        bytes.p += n;
        bytes.n -= (size_t)n;
    }
    return true;
}

static bool client_more(Client *client) // false: the server closed it
{
    char piece[16384];
    ssize_t n = recv(client->fd, piece, sizeof piece, 0);
    if (n > 0) buf_add(&client->in, piece, (size_t)n);
    return n > 0;
}

static bool client_line(Client *client, Buf *line)
{
    char *end;
    while (!client->in.n || !(end = memmem(client->in.p, client->in.n, "\r\n", 2)))
        if (!client_more(client)) return false;
    size_t n = (size_t)(end - client->in.p) + 2;
    buf_clear(line);
    buf_add(line, client->in.p, n - 2);
    memmove(client->in.p, client->in.p + n, client->in.n - n);
    client->in.n -= n;
    return true;
}

static bool client_bytes(Client *client, size_t n, Buf *out)
{
    while (client->in.n < n)
        if (!client_more(client)) return false;
    buf_add(out, client->in.p, n);
    memmove(client->in.p, client->in.p + n, client->in.n - n);
    client->in.n -= n;
    return true;
}

typedef struct Reply {
    int status; // 0: none came
    bool whole; // as it says how long it is
    bool close;
    Buf head, body;
} Reply;

static void reply_free(Reply *reply)
{
    buf_free(&reply->head);
    buf_free(&reply->body);
}
#define OWNED_REPLY __attribute__((cleanup(reply_free)))
#define OWNED_CLIENT __attribute__((cleanup(client_free)))

static bool read_chunks(Client *client, Buf *body)
{
    OWNED_BUF Buf line = {0};
    for (;;) {
        if (!client_line(client, &line)) return false;
        size_t n = strtoul(line.p, NULL, 16);
        if (n && !client_bytes(client, n, body)) return false;
        if (!client_line(client, &line)) return false; // behind the chunk, or the end
        if (!n) return true;
    }
}

static Reply client_reply(Client *client, bool head)
{
    Reply reply = {0};
    OWNED_BUF Buf line = {0};
    size_t length = 0;
    bool chunked = false, has_length = false;
    if (!client_line(client, &line)) return reply;
    ck_assert_msg(strncmp(line.p, "HTTP/1.", 7) == 0, "%s", line.p);
    reply.status = atoi(line.p + 9);
    while (client_line(client, &line) && line.n > 0) {
        buf_addf(&reply.head, "%s\n", line.p);
        has_length |= sscanf(line.p, "Content-Length: %zu", &length) == 1;
        chunked |= strcmp(line.p, "Transfer-Encoding: chunked") == 0;
        reply.close |= strcasecmp(line.p, "Connection: close") == 0;
    }
    if (head || reply.status == 204 || reply.status < 200) reply.whole = true;
    else if (chunked) reply.whole = read_chunks(client, &reply.body);
    else if (has_length) reply.whole = client_bytes(client, length, &reply.body);
    if (!reply.body.p) buf_add_text(&reply.body, "");
    return reply;
}

static Reply client_ask(Client *client, const char *request)
{
    ck_assert(client_send(client, str(request)));
    return client_reply(client, strncmp(request, "HEAD", 4) == 0);
}
