// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>

enum { READ_BYTES = 64 * 1024 };

Status cli_db(Db **db, Error *error)
{
    OWNED_DB Db *opened = NULL;
    TRY(db_open(options_database(), "tally", &opened, error));
    TRY(db_schema_check(opened, error));
    *db = opened;
    opened = NULL;
    return ST_OK;
}

static void close_file(FILE **file)
{
    if (*file && *file != stdin) (void)fclose(*file); // it was only read
}

Status cli_read_file(const char *path, size_t bytes_max, Buf *out, Error *error)
{
    bool standard = strcmp(path, "-") == 0;
    __attribute__((cleanup(close_file))) FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) return error_set(error, ST_BAD_INPUT, "%s: %s", path, strerror(errno));
    char bytes[READ_BYTES];
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;) {
        if (n > bytes_max - out->n)
            return error_set(error, ST_BAD_INPUT, "%s: more than %zu bytes", path, bytes_max);
        buf_add(out, bytes, n);
    }
    if (ferror(file)) return error_set(error, ST_BAD_INPUT, "%s: %s", path, strerror(errno));
    return ST_OK;
}

Status cli_write(Str text, Error *error)
{
    if (text.n > 0 && fwrite(text.p, 1, text.n, stdout) != text.n)
        return error_set(error, ST_FATAL, "standard output: %s", strerror(errno));
    if (fflush(stdout) != 0)
        return error_set(error, ST_FATAL, "standard output: %s", strerror(errno));
    return ST_OK;
}

Status cli_address(const char *option, const char *text, Address *out, Error *error)
{
    const char *colon = strrchr(text, ':');
    int64_t port = -1;
    Str host = {text, colon ? (size_t)(colon - text) : 0};
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (Str){host.p + 1, host.n - 2};
    else if (host.n && memchr(host.p, ':', host.n)) host.n = 0;
    if (!colon || host.n == 0 || host.n >= sizeof out->host || !str_to_int(str(colon + 1), &port) ||
        port < 0 || port > 65535) {
        error_set(error, ST_BAD_INPUT, "%s: \"%.200s\" is not right; expected HOST:PORT", option,
                  text);
        error_hint(error, "an IPv6 address stands in brackets, and port 0 is any that is free");
        return ST_BAD_INPUT;
    }
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = '\0';
    if (strcmp(out->host, "localhost") == 0) memcpy(out->host, "127.0.0.1", sizeof "127.0.0.1");
    out->port = (int)port;
    return ST_OK;
}
