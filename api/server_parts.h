// SPDX-License-Identifier: Apache-2.0
// api/server_parts: what a request's head is made of, taken apart. Pure: texts in, texts out.
#pragma once

#include "base/text.h"

enum { REQUEST_ID_TEXT = 33, TRACE_ID_BYTES = 32 };

// The path and the query (absent where there is no "?") of a request's target, as sent; false where
// it is none: neither a path, nor an absolute http(s) URL, nor "*", or with bytes no target has.
bool target_split(Str target, Str *path, Str *query);
// Appends `in` decoded; `plus`: "+" stands for a space. False, with `out` as it was, for bad
// percent-encoding, NUL and bad UTF-8.
bool percent_decode(Str in, bool plus, Buf *out);
// The next of a query's parameters, as sent; `query` moves behind it. False behind the last.
bool query_next(Str *query, Str *name, Str *value);

// Names of headers: any case.
bool header_is(Str name, const char *lower_case);
bool header_is_sane(Str name, Str value); // a token; no control characters but TAB

// The trace id of a traceparent by W3C Trace Context, version 00; absent where it is malformed.
Str trace_id(Str traceparent);
bool request_id_is_sane(Str id); // 1-64 of [A-Za-z0-9._-]
void request_id_make(char out[static REQUEST_ID_TEXT]);
