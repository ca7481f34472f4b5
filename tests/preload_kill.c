// SPDX-License-Identifier: Apache-2.0
// Loaded before libpq (LD_PRELOAD), it kills the process with SIGKILL at the n-th time that it
// sends anything to PostgreSQL: n is TALLY_KILL_AT, and TALLY_KILL_AFTER says to let it be sent
// first. So a test can cut a command off at every statement, one after the other.
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct pg_conn PGconn;
typedef unsigned int Oid;

static bool is_the_one(void)
{
    static atomic_long count;
    const char *at = getenv("TALLY_KILL_AT");
    return at && atomic_fetch_add(&count, 1) + 1 == atol(at);
}

static void *real_one(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

#define SENDS(name, parameters, arguments)                                                         \
    int name parameters;                                                                           \
    int name parameters                                                                            \
    {                                                                                              \
        int(*real) parameters;                                                                     \
        void *found = real_one(#name);                                                             \
        memcpy(&real, &found, sizeof found);                                                       \
        bool now = is_the_one();                                                                   \
        if (now && !getenv("TALLY_KILL_AFTER")) raise(SIGKILL);                                    \
        int sent = real arguments;                                                                 \
        if (now) raise(SIGKILL);                                                                   \
        return sent;                                                                               \
    }

SENDS(PQsendQuery, (PGconn * connection, const char *sql), (connection, sql))
SENDS(PQsendPrepare,
      (PGconn * connection, const char *name, const char *sql, int n, const Oid *types),
      (connection, name, sql, n, types))
SENDS(PQsendQueryPrepared,
      (PGconn * connection, const char *name, int n, const char *const *values, const int *lengths,
       const int *formats, int format),
      (connection, name, n, values, lengths, formats, format))
SENDS(PQsendQueryParams,
      (PGconn * connection, const char *sql, int n, const Oid *types, const char *const *values,
       const int *lengths, const int *formats, int format),
      (connection, sql, n, types, values, lengths, formats, format))
SENDS(PQputCopyData, (PGconn * connection, const char *data, int n), (connection, data, n))
SENDS(PQputCopyEnd, (PGconn * connection, const char *error), (connection, error))
SENDS(PQpipelineSync, (PGconn * connection), (connection))
