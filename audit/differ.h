// SPDX-License-Identifier: Apache-2.0
// audit/differ: a stored row beside what it should be, column by column, in words. Pure.
#pragma once

#include "base/money.h"
#include "base/time.h"

// Each adds "; column is STORED, should be RIGHT" to `what` where the two differ, and nothing where
// they are the same. Absent texts, and instants whose pointer is NULL, are NULLs of the database.
void differ_int(Buf *what, const char *column, int64_t stored, int64_t right);
void differ_str(Buf *what, const char *column, Str stored, Str right);
void differ_instant(Buf *what, const char *column, const Instant *stored, const Instant *right);
void differ_bool(Buf *what, const char *column, bool stored, bool right);
// Adds in whose favour it is that `stored` is counted where it should be `right`.
void differ_usage(Buf *what, CreditMinutes stored, CreditMinutes right);
// As instant_format, but for what no event can have: "out of range".
char *differ_time(Instant instant, char out[static INSTANT_TEXT]);
