// SPDX-License-Identifier: Apache-2.0
// tool_load: asks a server on 127.0.0.1 over and over, on keep-alive connections, and tells how
// fast it answered. One thread, as little work as possible: what is measured is the server.
//
// usage: tool_load --port P [--connections N] [--seconds S] [--warmup S] [--rate R]
//                  [--method M] --path PATH [--token TOKEN] [--body JSON] [--first N]
//
// In PATH and JSON, {n} is the number of the request (from --first on), {c} that of its connection,
// and {n%M} the number's remainder and 1, in as many digits as M has. Without --rate each
// connection asks again as soon as it has its answer. With it, R requests a second are due at even
// times, whoever is free takes the next one, and what an answer took counts from when its request
// was due.
//
// Prints one line of JSON, without what was answered in the warm-up: requests, us (how long it
// measured), rate (a second), p50_us, p99_us, max_us, cpu_us (its own), next (the first number that
// was not asked) and statuses.
#include "base/text.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096,
    READ_BYTES = 64 * 1024,
    STATUSES = 600,
    LAST_ANSWERS_MS = 10000,
};

typedef struct Connection {
    int fd, number;
    bool busy;
    int64_t due_us; // when its request was due
    Buf in;
} Connection;

typedef struct Load {
    int port, connections;
    int64_t seconds, warmup, rate, number;
    const char *method, *path, *token, *body;
    int epoll;
    Connection *connection;
    Connection **idle; // with --rate: those that wait for work
    int idle_count;
    int64_t begun_us, measured_us, end_us, sent;
    uint32_t *took;
    int64_t took_count, took_room;
    int64_t status[STATUSES];
    Buf out, text;
} Load;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "tool_load: %s: %s\n", what, why);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

// ---- requests ----
static void fill(const Load *load, const Connection *connection, const char *template, Buf *out)
{
    for (const char *p = template; *p;) {
        char *end = NULL;
        if (strncmp(p, "{n}", 3) == 0) {
            buf_addf(out, "%" PRId64, load->number);
            p += 3;
        } else if (strncmp(p, "{c}", 3) == 0) {
            buf_addf(out, "%d", connection->number);
            p += 3;
        } else if (strncmp(p, "{n%", 3) == 0) {
            int64_t modulus = strtol(p + 3, &end, 10);
            if (modulus < 1 || *end != '}') die(template, "expected {n%M} with M above 0");
            int digits = (int)(end - (p + 3));
            buf_addf(out, "%0*" PRId64, digits, load->number % modulus + 1);
            p = end + 1;
        } else {
            size_t n = 1 + strcspn(p + 1, "{");
            buf_add(out, p, n);
            p += n;
        }
    }
}

static void ask(Load *load, Connection *connection, int64_t due_us)
{
    Buf *out = &load->out;
    buf_clear(out);
    buf_addf(out, "%s ", load->method);
    fill(load, connection, load->path, out);
    buf_add_text(out, " HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    if (load->token) buf_addf(out, "Authorization: Bearer %s\r\n", load->token);
    if (load->body) {
        buf_clear(&load->text);
        fill(load, connection, load->body, &load->text);
        buf_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 load->text.n);
        buf_add_str(out, buf_str(&load->text));
    } else {
        buf_add_text(out, "\r\n");
    }
    load->number++;
    load->sent++;
    connection->due_us = due_us;
    connection->busy = true;
    // Small against the socket's buffer, which is empty: it goes at once or not at all.
    ssize_t n = send(connection->fd, out->p, out->n, MSG_NOSIGNAL);
    if (n != (ssize_t)out->n) die("send", n < 0 ? strerror(errno) : "only a part was taken");
}

// ---- answers ----
// The whole answer's length, or 0 while its head is not there; *status is set with it.
static size_t answer_length(const Buf *in, int *status)
{
    const char *end = in->n ? memmem(in->p, in->n, "\r\n\r\n", 4) : NULL;
    if (!end) return 0;
    if (in->n < 12 || strncmp(in->p, "HTTP/1.1 ", 9) != 0) die("answer", "not HTTP/1.1");
    *status = atoi(in->p + 9);
    if (*status < 100 || *status >= STATUSES) die("answer", "bad status");
    size_t head = (size_t)(end + 4 - in->p), body = 0;
    bool counted = *status == 204 || *status == 304;
    for (const char *line = in->p; line < end; line = (const char *)memchr(line, '\n', head) + 1) {
        head = (size_t)(end + 4 - line);
        if (strncasecmp(line, "content-length:", 15) != 0) continue;
        body = strtoul(line + 15, NULL, 10);
        counted = true;
    }
    if (!counted) die("answer", "it has no Content-Length");
    return (size_t)(end + 4 - in->p) + body;
}

static void note(Load *load, const Connection *connection, int status, int64_t now)
{
    if (now < load->measured_us) return;
    load->status[status]++;
    if (load->took_count == load->took_room) {
        load->took_room = load->took_room ? load->took_room * 2 : 1 << 16;
        load->took = mem_resize(load->took, (size_t)load->took_room * sizeof *load->took);
    }
    int64_t took = now - connection->due_us;
    load->took[load->took_count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static void take(Load *load, Connection *connection)
{
    static char bytes[READ_BYTES];
    ssize_t n = recv(connection->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) die("connection", n < 0 ? strerror(errno) : "the server closed it");
    buf_add(&connection->in, bytes, (size_t)n);
    int status = 0;
    size_t length = answer_length(&connection->in, &status);
    if (length == 0 || connection->in.n < length) return;
    if (connection->in.n > length || !connection->busy) die("answer", "more than was asked for");
    int64_t now = now_us();
    note(load, connection, status, now);
    buf_clear(&connection->in);
    connection->busy = false;
    if (load->rate) load->idle[load->idle_count++] = connection;
    else if (now < load->end_us) ask(load, connection, now);
}

// ---- the run ----
static void open_all(Load *load)
{
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load->epoll < 0) die("epoll", strerror(errno));
    load->connection = mem_alloc((size_t)load->connections * sizeof *load->connection);
    load->idle = mem_alloc((size_t)load->connections * sizeof *load->idle);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < load->connections; i++) {
        Connection *connection = &load->connection[i];
        int one = 1;
        connection->number = i;
        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connection->fd < 0 || connect(connection->fd, (void *)&to, sizeof to) < 0)
            die("connect", strerror(errno));
        if (setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
            die("TCP_NODELAY", strerror(errno));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0)
            die("epoll", strerror(errno));
        load->idle[load->idle_count++] = connection;
    }
}

// Sends what is due, and returns when the next one is.
static int64_t send_due(Load *load)
{
    for (;;) {
        int64_t due = load->begun_us + load->sent * US_PER_SECOND / load->rate;
        if (due >= load->end_us) return load->end_us;
        if (due > now_us()) return due;
        if (load->idle_count == 0) return load->end_us; // then an answer comes first
        ask(load, load->idle[--load->idle_count], due);
    }
}

static int busy_count(const Load *load)
{
    int n = 0;
    for (int i = 0; i < load->connections; i++) n += load->connection[i].busy;
    return n;
}

static void run(Load *load)
{
    struct epoll_event events[256];
    load->begun_us = now_us();
    load->measured_us = load->begun_us + load->warmup * US_PER_SECOND;
    load->end_us = load->measured_us + load->seconds * US_PER_SECOND;
    if (!load->rate)
        for (int i = 0; i < load->connections; i++) ask(load, &load->connection[i], now_us());
    for (;;) {
        int64_t now = now_us(), wake = load->end_us;
        if (now >= load->end_us && busy_count(load) == 0) return;
        if (now >= load->end_us + LAST_ANSWERS_MS * 1000) die("answers", "some never came");
        if (load->rate && now < load->end_us) wake = send_due(load);
        int64_t left = wake - now_us();
        if (left < 0) left = now < load->end_us ? 0 : US_PER_SECOND;
        struct timespec wait = {.tv_sec = left / US_PER_SECOND,
                                .tv_nsec = left % US_PER_SECOND * 1000};
        int n = epoll_pwait2(load->epoll, events, 256, &wait, NULL);
        if (n < 0 && errno != EINTR) die("epoll", strerror(errno));
        for (int i = 0; i < n; i++) take(load, events[i].data.ptr);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t percentile(const Load *load, int64_t percent)
{
    return load->took_count ? load->took[(load->took_count - 1) * percent / 100] : 0;
}

static void report(Load *load)
{
    struct rusage usage;
    ASSERT(getrusage(RUSAGE_SELF, &usage) == 0);
    int64_t us = now_us() - load->measured_us;
    int64_t cpu = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * US_PER_SECOND +
                  usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    if (load->took_count) qsort(load->took, (size_t)load->took_count, sizeof(uint32_t), compare);
    printf("{\"requests\":%" PRId64 ",\"us\":%" PRId64 ",\"rate\":%" PRId64 ",\"p50_us\":%" PRIu32
           ",\"p99_us\":%" PRIu32 ",\"max_us\":%" PRIu32 ",\"cpu_us\":%" PRId64 ",\"next\":%" PRId64
           ",\"statuses\":{",
           load->took_count, us, load->took_count * US_PER_SECOND / us, percentile(load, 50),
           percentile(load, 99), percentile(load, 100), cpu, load->number);
    const char *comma = "";
    for (int i = 0; i < STATUSES; i++) {
        if (!load->status[i]) continue;
        printf("%s\"%d\":%" PRId64, comma, i, load->status[i]);
        comma = ",";
    }
    printf("}}\n");
}

static int64_t number(const char *name, const char *text, int64_t least, int64_t most)
{
    int64_t value;
    if (!str_to_int(str(text), &value) || value < least || value > most) {
        fprintf(stderr, "tool_load: --%s: \"%s\" is not a number from %" PRId64 " to %" PRId64 "\n",
                name, text, least, most);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},    {"connections", 1, NULL, 'c'},
        {"seconds", 1, NULL, 's'}, {"warmup", 1, NULL, 'w'},
        {"rate", 1, NULL, 'r'},    {"method", 1, NULL, 'm'},
        {"path", 1, NULL, 'u'},    {"token", 1, NULL, 't'},
        {"body", 1, NULL, 'b'},    {"first", 1, NULL, 'f'},
        {NULL, 0, NULL, 0},
    };
    Load load = {.connections = 64, .seconds = 5, .warmup = 1, .method = "GET"};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'p': load.port = (int)number("port", optarg, 1, 65535); break;
        case 'c': load.connections = (int)number("connections", optarg, 1, CONNECTIONS_MAX); break;
        case 's': load.seconds = number("seconds", optarg, 1, 3600); break;
        case 'w': load.warmup = number("warmup", optarg, 0, 3600); break;
        case 'r': load.rate = number("rate", optarg, 1, 1000000); break;
        case 'f': load.number = number("first", optarg, 0, INT32_MAX); break;
        case 'm': load.method = optarg; break;
        case 'u': load.path = optarg; break;
        case 't': load.token = optarg; break;
        case 'b': load.body = optarg; break;
        default: return 2;
        }
    }
    if (!load.port || !load.path) {
        fprintf(stderr, "tool_load: needs --port and --path; the head of its source tells more\n");
        return 2;
    }
    open_all(&load);
    run(&load);
    report(&load);
    return 0;
}
