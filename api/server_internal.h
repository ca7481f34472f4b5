// SPDX-License-Identifier: Apache-2.0
// api/server_internal: what a request is, for the server's own files. server.c tells its story.
#pragma once

#include "api/server.h"

#include <pthread.h>
#include <stdatomic.h>

typedef enum Phase { READING, HANDLING, WAITING, SENDING, GONE } Phase;

typedef struct Span { // of Request.text; what is there ends with a NUL that n does not count
    uint32_t at, n;
} Span;
typedef struct Pair {
    Span name, value;
} Pair;

// A connection. Those that have no request in hand are in a list, idle longest first. Guarded by
// the server's lock.
typedef struct Peer Peer;
struct Peer {
    Peer *before, *next;
    bool idle;
    int fd;
    int64_t idle_ms; // since
};

struct Outgoing {
    Request *request;
    pthread_cond_t moved;
    char *ring;
    size_t at, n;      // what is in it
    int64_t taken;     // bytes, in all
    int64_t waited_us; // in all
    bool ended, complete;
    bool paused; // the connection is suspended until something is written
};

struct Request {
    atomic_int references;
    Server *server; // these three are not to be touched once GONE
    struct MHD_Connection *connection;
    Peer *peer;
    Request *before, *next; // among those handed over; guarded by the server's lock
    bool listed;

    pthread_mutex_t lock; // from HANDLING on guards:
    Phase phase;
    bool answered, streams, cut; // cut: the server ends it without an answer
    int status;
    Buf head; // the answer's headers: name NUL value NUL ...
    Buf out;  // the answer's body
    Outgoing outgoing;

    bool seen, head_only, long_target, too_large; // from here on: written while READING only
    int64_t began_us;
    size_t drained;
    Buf text, body;
    Span target, method, path, id;
    Str bad_query, trace; // absent, or into text, which has its last place when they are set
    Pair *headers, *params;
    int header_count, header_room, param_count;
    void *attached;
    void (*drop)(void *what);
};

static inline void lock(pthread_mutex_t *mutex) { ASSERT(pthread_mutex_lock(mutex) == 0); }
static inline void unlock(pthread_mutex_t *mutex) { ASSERT(pthread_mutex_unlock(mutex) == 0); }

Request *request_new(Server *server);
void request_release(Request *request); // frees it with the last reference
Span request_keep(Request *request, Str text);
Str request_span(const Request *request, Span span);
// Splits the target, decodes the query, settles the ids, once the headers are there. Returns what
// is wrong with it, or NULL.
const char *request_read_head(Request *request);

// Headers as they come, for what may be wrong with all of them together.
typedef struct HeadCheck {
    Request *request;
    int hosts, lengths, encodings, credentials, types;
    bool chunked, insane;
    Str length;
} HeadCheck;
void head_check_add(HeadCheck *check, Str name, Str value); // keeps the header, too
const char *head_fault(const HeadCheck *check, const char *version, int *status);

// What the answer's headers are; the lock is held.
void request_keep_head(Request *request, const Answer *answer);
void header_line(Buf *head, const char *name, Str value);

// ---- streams; the request's lock is held ----
void outgoing_begin(Request *request);
size_t outgoing_take(Outgoing *outgoing, char *to, size_t most);

// ---- beginning to listen ----
Status listen_on(const char *host, int port, int *fd, int *bound, Error *error) MUST_USE;
// How many connections the process's limit on files leaves room for, at most `wanted`; raises it.
int connections_that_fit(int wanted);
Status read_pem(const char *path, Buf *out, Error *error) MUST_USE;
