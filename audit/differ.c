// SPDX-License-Identifier: Apache-2.0
#include "audit/differ.h"

#include <inttypes.h>

static void begin(Buf *what, const char *column)
{
    buf_addf(what, "%s%s is ", what->n > 0 ? "; " : "", column);
}

void differ_int(Buf *what, const char *column, int64_t stored, int64_t right)
{
    if (stored == right) return;
    begin(what, column);
    buf_addf(what, "%" PRId64 ", should be %" PRId64, stored, right);
}

static void add_quoted(Buf *what, Str text)
{
    if (str_absent(text)) {
        buf_add_text(what, "NULL");
        return;
    }
    buf_add_char(what, '"');
    buf_add_str(what, text);
    buf_add_char(what, '"');
}

void differ_str(Buf *what, const char *column, Str stored, Str right)
{
    if (str_equal(stored, right)) return;
    begin(what, column);
    add_quoted(what, stored);
    buf_add_text(what, ", should be ");
    add_quoted(what, right);
}

char *differ_time(Instant instant, char out[static INSTANT_TEXT])
{
    if (instant.us >= INSTANT_MIN.us && instant.us <= INSTANT_END.us)
        return instant_format(instant, out);
    memcpy(out, "out of range", sizeof "out of range");
    return out;
}

void differ_instant(Buf *what, const char *column, const Instant *stored, const Instant *right)
{
    char text[INSTANT_TEXT];
    if (stored && right ? stored->us == right->us : !stored && !right) return;
    begin(what, column);
    buf_add_text(what, stored ? differ_time(*stored, text) : "NULL");
    buf_addf(what, ", should be %s", right ? differ_time(*right, text) : "NULL");
}

void differ_bool(Buf *what, const char *column, bool stored, bool right)
{
    if (stored == right) return;
    begin(what, column);
    buf_addf(what, "%s, should be %s", stored ? "true" : "false", right ? "true" : "false");
}

void differ_usage(Buf *what, CreditMinutes stored, CreditMinutes right)
{
    char credits[AMOUNT_TEXT];
    if (stored.cm == right.cm) return;
    Wide by = (Wide)stored.cm - right.cm; // what is stored may be anything
    if (by < 0) by = -by;
    if (by > CREDITS_MAX * 60) by = CREDITS_MAX * 60;
    CreditMinutes amount = {(int64_t)by};
    buf_addf(what, "; %s credits too %s are counted", credits_format(amount, credits),
             stored.cm > right.cm ? "many" : "few");
}
