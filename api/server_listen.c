// SPDX-License-Identifier: Apache-2.0
// What must be there before a server can begin: a socket and, for TLS, two files. Made here rather
// than by libmicrohttpd, so that what is wrong with them can be told.
#include "api/server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FILES_SPARE = 256,
    CONNECTIONS_LEAST = 16,
    BACKLOG = 1024,
    PEM_BYTES_MAX = 1024 * 1024,
    READ_BYTES = 4096
};

static int listen_at(const struct addrinfo *at)
{
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    if (fd < 0) return -1;
    int yes = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    (void)close(fd);
    errno = why;
    return -1;
}

static int bound_port(int fd)
{
    struct sockaddr_storage name;
    socklen_t n = sizeof name;
    char port[NI_MAXSERV];
    ASSERT(getsockname(fd, (struct sockaddr *)&name, &n) == 0);
    int failed = getnameinfo((struct sockaddr *)&name, n, NULL, 0, port, sizeof port,
                             NI_NUMERICSERV);
    int64_t value = 0;
    ASSERT(!failed && str_to_int(str(port), &value));
    return (int)value;
}

Status listen_on(const char *host, int port, int *fd, int *bound, Error *error)
{
    if (port < 0 || port > 65535)
        return error_set(error, ST_BAD_INPUT, "%d is no port: 0 to 65535", port);
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port);
    struct addrinfo *found = NULL,
                    wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int failed = getaddrinfo(host, service, &wanted, &found);
    if (failed)
        return error_set(error, ST_BAD_INPUT, "\"%s\" is no address to listen on: %s", host,
                         gai_strerror(failed));
    *fd = -1;
    for (const struct addrinfo *at = found; at && *fd < 0; at = at->ai_next) *fd = listen_at(at);
    int why = errno;
    freeaddrinfo(found);
    if (*fd >= 0) {
        *bound = bound_port(*fd);
        return ST_OK;
    }
    Status status = why == EADDRINUSE || why == EACCES ? ST_FATAL : ST_BAD_INPUT;
    return error_set(error, status, "cannot listen on %s port %d: %s", host, port, strerror(why));
}

Status read_pem(const char *path, Buf *out, Error *error)
{
    FILE *file = fopen(path, "re");
    if (!file) return error_set(error, ST_BAD_INPUT, "cannot read %s: %s", path, strerror(errno));
    char piece[READ_BYTES];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, file)) > 0 && out->n <= PEM_BYTES_MAX)
        buf_add(out, piece, n);
    bool failed = ferror(file);
    if (fclose(file) != 0 || failed) return error_set(error, ST_BAD_INPUT, "cannot read %s", path);
    if (out->n == 0 || out->n > PEM_BYTES_MAX || memchr(out->p, '\0', out->n) ||
        !strstr(out->p, "-----BEGIN "))
        return error_set(error, ST_BAD_INPUT, "%s is no PEM file", path);
    return ST_OK;
}

int connections_that_fit(int wanted)
{
    // Without a file for it, a connection cannot be taken, nor one to the database be made: so the
    // process's limit is raised where that is allowed, and where it is not, fewer are taken.
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
    rlim_t needed = (rlim_t)wanted + FILES_SPARE;
    if (files.rlim_cur >= needed) return wanted;
    struct rlimit raised = {.rlim_cur = files.rlim_max < needed ? files.rlim_max : needed,
                            .rlim_max = files.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) files.rlim_cur = raised.rlim_cur;
    if (files.rlim_cur >= needed) return wanted;
    int fit = (int)files.rlim_cur - FILES_SPARE;
    int least = wanted < CONNECTIONS_LEAST ? wanted : CONNECTIONS_LEAST;
    return fit > least ? fit : least;
}
