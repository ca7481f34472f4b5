// SPDX-License-Identifier: Apache-2.0
// base/log: what a service says while it runs, on standard error: one JSON object a line, or text
// where that is a terminal. Lines of several threads do not mix. For loops and mains; rooms return
// an Error instead.
#pragma once

#include "base/text.h"

typedef enum LogLevel { LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;

typedef struct LogField {
    const char *name;
    Str text;       // absent: `number` is the value
    int64_t number;
} LogField;

enum { LOG_FIELDS_MAX = 24, LOG_VALUE_MAX = 1024 }; // longer values are cut

// {"time","level","message",...fields}; a field whose name is NULL is left out.
void log_line(LogLevel level, const char *message, const LogField *fields, size_t n);
// Instead of standard error, for tests; NULL puts it back.
void log_to(Buf *out);
