// SPDX-License-Identifier: Apache-2.0
// base/status: what a call came to. A Status is named for what the caller must do next; an Error
// carries the rest, in words for a person. This file knows no domain and touches nothing.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef enum Status {
    ST_OK = 0,    // done
    ST_RETRY,     // nothing happened, or it is unknown whether it did: look, and try again
    ST_CONFLICT,  // somebody else was first: start over from what is stored now
    ST_REFUSED,   // a rule forbids it (exit 3)
    ST_MISSING,   // what was asked for is not there
    ST_BAD_INPUT, // the input is wrong; the message names file, line or field, value, expectation
                  // (exit 2)
    ST_FATAL,     // cannot go on (exit 1)
} Status;

enum { ERROR_TEXT_MAX = 2048, ERROR_CODE_MAX = 32, ERROR_HINT_MAX = 512 };

// An error in words. `code` is a SQLSTATE or a Kafka error's name where one is behind it, else "".
typedef struct Error {
    Status status;
    char text[ERROR_TEXT_MAX];
    char code[ERROR_CODE_MAX];
    char hint[ERROR_HINT_MAX]; // what to do now, or ""
} Error;

// Fills `error` (which may be NULL) and returns `status`, so that a caller can `return
// error_set(...)`.
Status error_set(Error *error, Status status, const char *format, ...) PRINTF(3, 4);
// Puts "context: " in front of the text; returns the error's status.
Status error_prefix(Error *error, const char *format, ...) PRINTF(2, 3);
void error_hint(Error *error, const char *format, ...) PRINTF(2, 3);
const char *status_name(Status status);
// The process's exit status for a Status: 0 done, 1 failed, 2 bad input, 3 refused by a rule.
int status_exit_code(Status status);

#define TRY(expression)                                                                            \
    do {                                                                                           \
        Status try_status_ = (expression);                                                         \
        if (try_status_ != ST_OK) return try_status_;                                              \
    } while (0)

// An assertion for our own bugs: stays on in release, says where, and aborts.
#define ASSERT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) assert_failed(#condition, __FILE__, __LINE__);                           \
    } while (0)
_Noreturn void assert_failed(const char *condition, const char *file, int line);
