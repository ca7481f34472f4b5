// SPDX-License-Identifier: Apache-2.0
// Proves the server: every request that is whole is handed over once and answered once, from any
// thread; what is ambiguous or too much is refused; clients that break, dawdle or crowd harm
// nobody; streams end as they should; and an end of the server answers what was taken.
#include "tests/server_bench.h"

#include "api/exporter.h"

#define GET(target) "GET " target " HTTP/1.1\r\nHost: x\r\n\r\n"
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED
#define TRACE "0af7651916cd43dd8448eb211c80319c"

typedef struct Row {
    const char *label, *request;
    int status;
    const char *holds; // in the reply's head and body
} Row;
static const Row ANSWERED[] = {
    {"get", GET("/now"), 200, "GET /now\nbody 0"},
    {"head", "HEAD /now HTTP/1.1\r\nHost: x\r\n\r\n", 200, "Content-Length: "},
    {"http/1.0", "GET /now HTTP/1.0\r\n\r\n", 200, "GET /now"},
    {"the path is as sent", GET("/a%2Fb+c/d"), 200, "GET /a%2Fb+c/d\n"},
    {"absolute", GET("http://other:1/now?a=1"), 200, "GET /now\n?a=1\n"},
    {"absolute, no path", GET("http://other?a=1"), 200, "GET /\n?a=1\n"},
    {"asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200, "OPTIONS *\n"},
    {"parameters", GET("/now?a=1&b=x%20y+z%2B&&c&=d&e=f=g"), 200,
     "?a=1\n?b=x y z+\n?c=\n?=d\n?e=f=g\n"},
    {"bad percent", GET("/now?a=1&b=%4&c=2"), 200, "?a=1\n?c=2\nbad b\n"},
    {"bad percent, digits", GET("/now?b=%4g"), 200, "bad b\n"},
    {"nul", GET("/now?b=%00"), 200, "bad b\n"},
    {"bad utf-8", GET("/now?b=%C3"), 200, "bad b\n"},
    {"utf-8", GET("/now?b=%C3%A9"), 200, "?b=\xC3\xA9\n"},
    {"body", "POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 200,
     "body 5 hello"},
    {"empty body", "POST /now HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200, "body 0"},
    {"chunks",
     "POST /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
     "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Trailer: z\r\n\r\n",
     200, "body 5 abcde"},
    {"headers in any case", "GET /now HTTP/1.1\r\nhost: x\r\nX-THING:  a b \r\n\r\n", 200,
     "thing a b"},
    {"request id", "GET /now HTTP/1.1\r\nHost: x\r\nX-Request-Id: a.B-9_\r\n\r\n", 200,
     "X-Request-Id: a.B-9_\n"},
    {"trace",
     "GET /now HTTP/1.1\r\nHost: x\r\ntraceparent: 00-" TRACE "-b7ad6b7169203331-01\r\n\r\n", 200,
     "trace " TRACE "\n"},
    {"always", GET("/now"), 200,
     "X-Echo: yes\nCache-Control: no-store\nX-Content-Type-Options: nosniff\n"},
};

static void check_row(const Row *row, bool closes)
{
    OWNED_CLIENT Client client = client_new();
    OWNED_REPLY Reply reply = client_ask(&client, row->request);
    ck_assert_msg(reply.status == row->status, "%s: %d", row->label, reply.status);
    OWNED_BUF Buf all = {0};
    buf_addf(&all, "%s\n%s", reply.head.p, reply.body.p);
    ck_assert_msg(!row->holds || strstr(all.p, row->holds), "%s: %s", row->label, all.p);
    if (closes) ck_assert_msg(reply.close && !client_more(&client), "%s: not closed", row->label);
}

START_TEST(answered)
{
    service_start((ServerConfig){0});
    check_row(&ANSWERED[_i], false);
    service_stop();
    ck_assert_int_eq(service.handled, 1);
    ck_assert_int_eq(service.done, 1);
}
END_TEST

#define H "HTTP/1.1\r\nHost: x\r\n"
#define OURS "\"detail\":\""
static const Row REFUSED[] = {
    {"length and encoding",
     "POST /now " H "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
     OURS "there are both"},
    {"other encoding", "POST /now " H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400,
     OURS},
    {"unknown encoding", "POST /now " H "Transfer-Encoding: x\r\n\r\n0\r\n\r\n", 400, OURS},
    {"two encodings",
     "POST /now " H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     400, OURS},
    {"encoding, http/1.0", "POST /now HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
     OURS},
    {"two lengths", "POST /now " H "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400,
     OURS "there are two Content-Length"},
    {"two hosts", "GET /now " H "Host: y\r\n\r\n", 400, OURS "there are two Host"},
    {"no host", "GET /now HTTP/1.1\r\n\r\n", 400, OURS "there is no Host"},
    {"spaces in the target", GET("/now /b"), 400, OURS},
    {"http/2 in words", "GET /now HTTP/2.0\r\nHost: x\r\n\r\n", 505, NULL},
    {"a header without a colon", "GET /now " H "Content-Length 5\r\n\r\nhello", 400, NULL},
    {"a folded header", "GET /now " H "X: a\r\n Content-Length: 5\r\n\r\n", 400, OURS},
    {"a length that is none", "POST /now " H "Content-Length: 5x\r\n\r\nhello", 400, NULL},
    {"a negative length", "POST /now " H "Content-Length: -5\r\n\r\nhello", 400, NULL},
    {"a length with a sign", "POST /now " H "Content-Length: +5\r\n\r\nhello", 400, NULL},
    {"a list of lengths", "POST /now " H "Content-Length: 5, 5\r\n\r\nhello", 400, NULL},
    {"a space before the colon", "POST /now " H "Content-Length : 5\r\n\r\nhello", 400, OURS},
    {"two credentials", "GET /now " H "Authorization: a\r\nAuthorization: b\r\n\r\n", 400, OURS},
    {"two types", "GET /now " H "Content-Type: a\r\nContent-Type: b\r\n\r\n", 400, OURS},
    {"a control character", "GET /now " H "X: a\x01z\r\n\r\n", 400, OURS},
    {"too large", "POST /now " H "Content-Length: 65537\r\n\r\n", 413, OURS "the body"},
    {"too large, and waits",
     "POST /now " H "Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n", 413, OURS},
    {"too large a number", "POST /now " H "Content-Length: 99999999999999999999999\r\n\r\n", 413,
     NULL},
    {"bad chunk", "POST /now " H "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, NULL},
    {"chunk with a sign", "POST /now " H "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400, NULL},
    {"long target",
     "GET /" THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND THOUSAND " " H
     "\r\n",
     414, OURS "the target"},
    {"target is no path", GET("now"), 400, OURS "the target is no path"},
    {"bytes in the target", GET("/\xC3\xA9"), 400, OURS},
    {"fragment", GET("/now#a"), 400, OURS},
    {"bad method line", "GET\r\nHost: x\r\n\r\n", 0, NULL},
    {"not http", "\x16\x03\x01\x02\r\n\r\n", 0, NULL},
};

START_TEST(refused)
{
    service_start((ServerConfig){0});
    const Row *row = &REFUSED[_i];
    check_row(row, row->status != 0);
    service_stop();
    ck_assert_int_eq(service.handled, 0);
    ck_assert_int_eq(service.refused, row->holds ? 1 : 0);
}
END_TEST

START_TEST(too_many) // headers, parameters, bytes of a head
{
    service_start((ServerConfig){0});
    OWNED_BUF Buf headers = {0}, large = {0};
    buf_add_text(&headers, "GET /now " H);
    for (int i = 1; i < SERVER_HEADERS_MAX; i++) buf_addf(&headers, "X-%d: y\r\n", i);
    for (int more = 0; more < 2; more++) {
        OWNED_BUF Buf request = {0};
        buf_addf(&request, "%s%s\r\n", headers.p, more ? "One: more\r\n" : "");
        check_row(&(Row){"headers", request.p, more ? 431 : 200, NULL}, more);
    }
    for (int more = 0; more < 2; more++) {
        OWNED_BUF Buf request = {0};
        buf_add_text(&request, "GET /now?");
        for (int i = 0; i < SERVER_QUERY_MAX + more; i++) buf_addf(&request, "p%d=%d&", i, i);
        buf_add_text(&request, " " H "\r\n");
        check_row(&(Row){"parameters", request.p, more ? 400 : 200, NULL}, more);
    }
    buf_add_text(&large, "GET /now " H "X: ");
    for (int i = 0; i < 40; i++) buf_add_text(&large, THOUSAND);
    buf_add_text(&large, "\r\n\r\n");
    OWNED_CLIENT Client client = client_new();
    if (client_send(&client, buf_str(&large))) {
        OWNED_REPLY Reply reply = client_reply(&client, false);
        ck_assert(reply.status == 431 || reply.status == 0);
    }
    service_stop();
}
END_TEST

START_TEST(bodies) // at the limit, past it, byte by byte, and after a "100 Continue"
{
    service_start((ServerConfig){0});
    for (int chunked = 0; chunked < 2; chunked++)
        for (int more = 0; more < 2; more++) {
            OWNED_BUF Buf request = {0};
            buf_addf(&request, "POST /later " H "%s\r\n\r\n",
                     chunked ? "Transfer-Encoding: chunked"
                     : more  ? "Content-Length: 65537"
                             : "Content-Length: 65536");
            for (int i = 0; i < 64; i++) {
                if (chunked) buf_add_text(&request, "400\r\n");
                buf_add_text(&request, THOUSAND "0123456789abcdef01234567");
                if (chunked) buf_add_text(&request, "\r\n");
            }
            if (more) buf_add_text(&request, chunked ? "1\r\n!\r\n" : "!");
            if (chunked) buf_add_text(&request, "0\r\n\r\n");
            check_row(&(Row){chunked ? "chunked" : "length", request.p, more ? 413 : 200,
                             more ? OURS : "body 65536"},
                      more);
        }
    OWNED_CLIENT Client client = client_new();
    const char *slow = "POST /later " H "Content-Length: 5\r\n\r\nhello";
    for (const char *p = slow; *p; p++) {
        ck_assert(client_send(&client, (Str){p, 1}));
        clock_sleep_ms(2);
    }
    OWNED_REPLY Reply reply = client_reply(&client, false);
    ck_assert_ptr_nonnull(strstr(reply.body.p, "body 5 hello"));
    ck_assert(client_send(&client,
                          STR("POST /now " H "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")));
    OWNED_REPLY Reply go_on = client_reply(&client, false);
    ck_assert_int_eq(go_on.status, 100);
    OWNED_REPLY Reply last = client_ask(&client, "hi");
    ck_assert_ptr_nonnull(strstr(last.body.p, "body 2 hi"));
    service_stop();
}
END_TEST

START_TEST(endless_body) // without a length: it is cut
{
    service_start((ServerConfig){0});
    OWNED_CLIENT Client client = client_new();
    ck_assert(client_send(&client, STR("POST /now " H "Transfer-Encoding: chunked\r\n\r\n")));
    int sent = 0;
    while (sent < 10000 && client_send(&client, STR("3e8\r\n" THOUSAND "\r\n"))) sent++;
    ck_assert_int_lt(sent, 10000);
    service_stop();
    ck_assert_int_eq(service.handled, 0);
}
END_TEST

START_TEST(pipelined) // 50 at once: answered in their order, though decided in another thread
{
    service_start((ServerConfig){0});
    OWNED_CLIENT Client client = client_new();
    OWNED_BUF Buf all = {0};
    for (int i = 0; i < 50; i++)
        buf_addf(&all, "POST /%s?n=%d " H "Content-Length: 3\r\n\r\nabc", i % 3 ? "later" : "now",
                 i);
    ck_assert(client_send(&client, buf_str(&all)));
    for (int i = 0; i < 50; i++) {
        OWNED_REPLY Reply reply = client_reply(&client, false);
        char wanted[32];
        snprintf(wanted, sizeof wanted, "?n=%d\nbody 3 abc", i);
        ck_assert(reply.status == 200 && strstr(reply.body.p, wanted));
    }
    service_stop();
    ck_assert_int_eq(service.handled, 50);
}
END_TEST

enum { CLIENTS = 24, EACH = 150 };

static void *many_client(void *context)
{
    int me = (int)(intptr_t)context;
    OWNED_CLIENT Client client = client_new();
    for (int i = 0; i < EACH; i++) {
        char request[256], wanted[64];
        snprintf(wanted, sizeof wanted, "%d-%d", me, i);
        snprintf(request, sizeof request,
                 "POST /later?ms=%d " H "X-Request-Id: r%s\r\nContent-Length: %zu\r\n\r\n%s", i % 3,
                 wanted, strlen(wanted), wanted);
        OWNED_REPLY Reply reply = client_ask(&client, request);
        snprintf(request, sizeof request, "X-Request-Id: r%s\n", wanted);
        ck_assert(reply.status == 200 && strstr(reply.head.p, request));
        snprintf(request, sizeof request, "body %zu %s\n", strlen(wanted), wanted);
        ck_assert_ptr_nonnull(strstr(reply.body.p, request));
    }
    return NULL;
}

START_TEST(many)
{
    service_start((ServerConfig){0});
    pthread_t thread[CLIENTS];
    for (intptr_t i = 0; i < CLIENTS; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, many_client, (void *)i), 0);
    for (int i = 0; i < CLIENTS; i++) ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
    service_stop();
    ck_assert_int_eq(service.handled, CLIENTS * EACH); // none twice, none lost
    ck_assert_int_eq(service.done, CLIENTS * EACH);
}
END_TEST

START_TEST(disconnected) // while it waits for its answer, and in the middle of what it sends
{
    service_start((ServerConfig){0});
    static const char *const pieces[] = {GET("/later?ms=5"), "GET /now HTT", "POST /now " H "Conte",
                                         "POST /now " H "Content-Length: 9\r\n\r\nab", GET("/now")};
    for (int i = 0; i < 200; i++) {
        Client client = client_new();
        ck_assert(client_send(&client, str(pieces[i % 5])));
        struct linger hard = {.l_onoff = i % 2};
        ck_assert_int_eq(setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
        if (i % 3 == 0) clock_sleep_ms(1);
        client_free(&client);
    }
    check_row(&(Row){"another", GET("/later"), 200, NULL}, false);
    service_stop();
}
END_TEST

// ---- streams ----
static bool is_pattern(const Buf *body)
{
    for (size_t i = 0; i < body->n; i++)
        if (body->p[i] != (char)('a' + i % 5000 % 25)) return false;
    return true;
}

START_TEST(streams)
{
    static const struct {
        const char *request;
        size_t bytes;
        bool whole;
    } rows[] = {{GET("/stream?bytes=0"), 0, true},
                {GET("/stream?bytes=1"), 1, true},
                {GET("/stream?bytes=3000001"), 3000001, true},
                {GET("/stream?bytes=40000&pause=5"), 40000, true}, // the reader is faster
                {GET("/stream?bytes=700000&cut=1"), 700000, false},
                {GET("/stream?bytes=0&cut=1"), 0, false}};
    service_start((ServerConfig){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        OWNED_CLIENT Client client = client_new();
        OWNED_REPLY Reply reply = client_ask(&client, rows[i].request);
        ck_assert_int_eq(reply.status, 200);
        ck_assert_msg(reply.whole == rows[i].whole, "%s", rows[i].request);
        if (rows[i].whole) ck_assert_uint_eq(reply.body.n, rows[i].bytes);
        ck_assert(is_pattern(&reply.body));
        ck_assert_msg(rows[i].whole || !client_more(&client), "%s: open", rows[i].request);
    }
    OWNED_CLIENT Client slow = client_new(); // and one whose reader is slower
    ck_assert(client_send(&slow, STR(GET("/stream?bytes=9000000"))));
    clock_sleep_ms(500);
    OWNED_REPLY Reply reply = client_reply(&slow, false);
    ck_assert(reply.whole && reply.body.n == 9000000 && is_pattern(&reply.body));
    OWNED_REPLY Reply again = client_ask(&slow, GET("/now"));
    ck_assert_int_eq(again.status, 200);
    ck_assert_int_eq(service.told, 0);
    service_stop();
}
END_TEST

static void wait_told(int wanted)
{
    for (int i = 0; i < 500 && atomic_load(&service.told) < wanted; i++) clock_sleep_ms(10);
    ck_assert_int_eq(service.told, wanted);
}

START_TEST(
    streams_unread) // a reader that goes away, one that takes nothing, one that wants no body
{
    service_start((ServerConfig){.stream_s = 1, .idle_s = 3});
    Client gone = client_new();
    ck_assert(client_send(&gone, STR(GET("/stream?bytes=90000000"))) && client_more(&gone));
    client_free(&gone);
    wait_told(1);
    OWNED_CLIENT Client still = client_new();
    ck_assert(client_send(&still, STR(GET("/stream?bytes=90000000"))));
    wait_told(2);
    OWNED_REPLY Reply reply = client_reply(&still, false);
    ck_assert(reply.status == 200 && !reply.whole && is_pattern(&reply.body));
    OWNED_CLIENT Client head = client_new();
    OWNED_REPLY Reply none = client_ask(&head, "HEAD /stream?bytes=90000000 " H "\r\n");
    ck_assert_int_eq(none.status, 200);
    wait_told(3);
    ck_assert(head.in.n == 0 && !client_more(&head)); // not even the end of a body
    service_stop();
}
END_TEST

// ---- the end ----
static void *stop(void *context)
{
    server_stop(service.server, *(int *)context);
    return NULL;
}

START_TEST(graceful)
{
    service_start((ServerConfig){0});
    Client clients[40];
    for (int i = 0; i < 40; i++) {
        clients[i] = client_new();
        ck_assert(client_send(&clients[i], i % 4 ? STR(GET("/later?ms=20"))
                                                 : STR(GET("/stream?bytes=2000000&pause=1"))));
    }
    while (atomic_load(&service.handled) < 40) clock_sleep_ms(1);
    pthread_t stopping;
    int timeout_ms = 10000;
    ck_assert_int_eq(pthread_create(&stopping, NULL, stop, &timeout_ms), 0);
    for (int i = 0; i < 40; i++) {
        OWNED_REPLY Reply reply = client_reply(&clients[i], false);
        ck_assert(reply.status == 200 && reply.whole);
        ck_assert(!client_more(&clients[i]));
        client_free(&clients[i]);
    }
    ck_assert_int_eq(pthread_join(stopping, NULL), 0);
    service.server = NULL;
    service_stop();
    ck_assert_int_eq(service.done, 40);
}
END_TEST

START_TEST(
    ungraceful) // what is not answered in time is cut, and an answer that comes later is lost
{
    service_start((ServerConfig){0});
    OWNED_CLIENT Client never = client_new(), unread = client_new();
    ck_assert(client_send(&never, STR(GET("/never"))));
    ck_assert(client_send(&unread, STR(GET("/stream?bytes=90000000"))));
    while (atomic_load(&service.handled) < 2) clock_sleep_ms(1);
    clock_sleep_ms(50);
    int timeout_ms = 200;
    stop(&timeout_ms);
    service.server = NULL;
    OWNED_REPLY Reply reply = client_reply(&never, false);
    ck_assert_int_eq(reply.status, 0);
    wait_told(1);
    Request *late = atomic_load(&service.kept);
    ck_assert(str_is(request_path(late), "/never") && str_is(request_header(late, "host"), "x"));
    echo(late);
    service_stop();
}
END_TEST

// ---- crowds, and beginnings that fail ----
START_TEST(crowded) // others are served while many are idle or slow
{
    service_start((ServerConfig){.connections = 64});
    Client idle[400];
    for (int i = 0; i < 400; i++) {
        idle[i] = client_new();
        if (i % 2) (void)client_send(&idle[i], STR("POST /now HTT"));
        if (i % 50 == 0) check_row(&(Row){"in a crowd", GET("/later"), 200, NULL}, false);
    }
    check_row(&(Row){"in a crowd", GET("/later"), 200, NULL}, false);
    ck_assert(!client_more(&idle[0])); // who was idle longest had to go
    for (int i = 0; i < 400; i++) client_free(&idle[i]);
    service_stop();
}
END_TEST

START_TEST(idle) // is closed after a while
{
    service_start((ServerConfig){.idle_s = 1});
    OWNED_CLIENT Client silent = client_new(), slow = client_new();
    ck_assert(client_send(&slow, STR("GET /now HTTP/1.1\r\nHo")));
    ck_assert(!client_more(&silent) && !client_more(&slow));
    service_stop();
}
END_TEST

START_TEST(cannot_start)
{
    service_start((ServerConfig){0});
    int taken = server_port(service.server);
    const struct {
        ServerConfig config;
        const char *says;
    } rows[] = {{{.host = "127.0.0.1", .port = taken}, "cannot listen on 127.0.0.1 port"},
                {{.host = "no.such.host.invalid"}, "\"no.such.host.invalid\" is no address"},
                {{.host = "127.0.0.1", .port = 65536}, "65536 is no port"},
                {{.host = "127.0.0.1", .tls_cert = "/dev/null"}, "both a certificate and its key"},
                {{.host = "127.0.0.1", .tls_cert = "/no/such", .tls_key = "/no/such"},
                 "cannot read /no/such: No such file"},
                {{.host = "127.0.0.1", .tls_cert = "/dev/null", .tls_key = "/dev/null"},
                 "/dev/null is no PEM file"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Server *server = NULL;
        Error error = {0};
        Status expected = i == 0 ? ST_FATAL : ST_BAD_INPUT; // a port in use is not a wrong word
        ck_assert_int_eq(server_start(&rows[i].config, &server, &error), expected);
        ck_assert_msg(strstr(error.text, rows[i].says), "%s", error.text);
    }
    service_stop();
}
END_TEST

START_TEST(tls)
{
    char folder[] = "/tmp/tally-tls.XXXXXX", command[512], cert[64], key[64], line[512];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
             "-subj /CN=localhost -keyout %s -out %s 2>/dev/null",
             key, cert);
    if (system(command) != 0) {
        fprintf(stderr, "tls: skipped: there is no openssl to make a certificate with\n");
        ck_assert_int_eq(rmdir(folder), 0);
        ck_assert_ptr_null(getenv("TALLY_REQUIRE_ALL"));
        return;
    }
    service_start((ServerConfig){.tls_cert = cert, .tls_key = key});
    snprintf(
        command, sizeof command,
        "printf 'GET /later?a=1 HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' "
        "| openssl s_client -quiet -verify_return_error -CAfile %s -connect 127.0.0.1:%d "
        "2>/dev/null",
        cert, server_port(service.server));
    FILE *reply = popen(command, "r");
    bool found = false;
    while (fgets(line, sizeof line, reply)) found |= strcmp(line, "?a=1\n") == 0;
    ck_assert_int_ge(pclose(reply), 0);
    ck_assert(found);
    service_stop();
    ck_assert(unlink(cert) == 0 && unlink(key) == 0 && rmdir(folder) == 0);
}
END_TEST

START_TEST(exporter)
{
    Metrics *metrics = metrics_new();
    Exporter *exporter = NULL;
    Error error = {0};
    counter_add(metrics_counter(metrics, "x_total", NULL, "X."), 3);
    ck_assert_int_eq(exporter_start(metrics, "127.0.0.1", 0, &exporter, &error), ST_OK);
    OWNED_CLIENT Client client = client_to(exporter_port(exporter));
    OWNED_REPLY Reply reply = client_ask(&client, GET("/metrics"));
    ck_assert_int_eq(reply.status, 200);
    ck_assert_str_eq(reply.body.p, "# HELP x_total X.\n# TYPE x_total counter\nx_total 3\n");
    ck_assert_ptr_nonnull(strstr(reply.head.p, "Content-Type: text/plain; version=0.0.4"));
    OWNED_REPLY Reply other = client_ask(&client, GET("/"));
    OWNED_REPLY Reply post = client_ask(&client, "POST /metrics " H "\r\n");
    ck_assert(other.status == 404 && post.status == 405);
    Exporter *second = NULL;
    ck_assert_int_eq(exporter_start(metrics, "127.0.0.1", exporter_port(exporter), &second, &error),
                     ST_FATAL);
    exporter_stop(exporter);
    metrics_free(metrics);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("server");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, answered, 0, sizeof ANSWERED / sizeof *ANSWERED);
    tcase_add_loop_test(tests, refused, 0, sizeof REFUSED / sizeof *REFUSED);
    const TTest *const others[] = {too_many,     bodies,  endless_body,   pipelined, many,
                                   disconnected, streams, streams_unread, graceful,  ungraceful,
                                   crowded,      idle,    cannot_start,   tls,       exporter};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) tcase_add_test(tests, others[i]);
    Suite *suite = suite_create("server");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
