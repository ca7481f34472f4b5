// SPDX-License-Identifier: Apache-2.0
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Status error_set(Error *error, Status status, const char *format, ...)
{
    if (!error) return status;
    error->status = status;
    error->code[0] = error->hint[0] = '\0';
    va_list args;
    va_start(args, format);
    if (vsnprintf(error->text, sizeof error->text, format, args) < 0) error->text[0] = '\0';
    va_end(args);
    return status;
}

Status error_prefix(Error *error, const char *format, ...)
{
    if (!error) return ST_FATAL;
    char prefix[ERROR_TEXT_MAX / 2];
    va_list args;
    va_start(args, format);
    if (vsnprintf(prefix, sizeof prefix, format, args) < 0) prefix[0] = '\0';
    va_end(args);
    char rest[ERROR_TEXT_MAX];
    memcpy(rest, error->text, sizeof rest);
    if (snprintf(error->text, sizeof error->text, "%s: %.*s", prefix,
                 (int)(sizeof error->text - strlen(prefix) - 3), rest) < 0)
        error->text[0] = '\0';
    return error->status;
}

void error_hint(Error *error, const char *format, ...)
{
    if (!error) return;
    va_list args;
    va_start(args, format);
    if (vsnprintf(error->hint, sizeof error->hint, format, args) < 0) error->hint[0] = '\0';
    va_end(args);
}

const char *status_name(Status status)
{
    static const char *const names[] = {"ok",      "retry",     "conflict", "refused",
                                        "missing", "bad input", "fatal"};
    return (size_t)status < sizeof names / sizeof *names ? names[status] : "?";
}

int status_exit_code(Status status)
{
    static const int codes[] = {
        [ST_OK] = 0,      [ST_RETRY] = 1,     [ST_CONFLICT] = 1, [ST_REFUSED] = 3,
        [ST_MISSING] = 2, [ST_BAD_INPUT] = 2, [ST_FATAL] = 1};
    return (size_t)status < sizeof codes / sizeof *codes ? codes[status] : 1;
}

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "tally: internal error: %s does not hold (%s:%d); please report this\n",
            condition, file, line);
    abort();
}
