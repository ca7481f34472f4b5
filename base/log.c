// SPDX-License-Identifier: Apache-2.0
// A line is made in a buffer of its own and leaves in one write: that is what keeps the lines of
// several threads, and of several processes on one terminal, apart.
#include "base/log.h"

#include "base/json.h"
#include "base/time.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { TERMINAL_UNKNOWN, TERMINAL_NO, TERMINAL_YES };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Buf *captured; // guarded by `lock`
static atomic_int terminal = TERMINAL_UNKNOWN;

static const char *const LEVELS[] = {"info", "warn", "error"};

static bool to_terminal(void)
{
    int known = atomic_load_explicit(&terminal, memory_order_relaxed);
    if (known == TERMINAL_UNKNOWN) {
        known = isatty(STDERR_FILENO) ? TERMINAL_YES : TERMINAL_NO;
        atomic_store_explicit(&terminal, known, memory_order_relaxed);
    }
    return known == TERMINAL_YES;
}

// At most LOG_VALUE_MAX bytes of a value, whole characters only; what is none is U+FFFD.
static void add_clean(Buf *out, Str value)
{
    size_t used = 0;
    for (size_t i = 0; i < value.n;) {
        size_t length = str_character((Str){value.p + i, value.n - i});
        Str add = length ? (Str){value.p + i, length} : STR("\xEF\xBF\xBD");
        if (used + add.n > LOG_VALUE_MAX) {
            buf_add_text(out, "…");
            return;
        }
        buf_add_str(out, add);
        used += add.n;
        i += length ? length : 1;
    }
}

static bool is_plain(Str value) // needs no quotes on a terminal
{
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] <= ' ' || strchr("\"\\=\x7F", value.p[i])) return false;
    return value.n > 0;
}

static void json_line(Buf *line, LogLevel level, Str message, const LogField *fields, size_t n)
{
    char time[INSTANT_TEXT];
    JsonWriter w = {.out = line};
    jw_begin_object(&w, NULL);
    jw_text(&w, "time", instant_format(clock_now(), time));
    jw_text(&w, "level", LEVELS[level]);
    jw_str(&w, "message", message);
    OWNED_BUF Buf value = {0};
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].name) continue;
        if (str_absent(fields[i].text)) {
            jw_int(&w, fields[i].name, fields[i].number);
            continue;
        }
        buf_clear(&value);
        add_clean(&value, fields[i].text);
        jw_str(&w, fields[i].name, buf_str(&value));
    }
    jw_end_object(&w);
}

static void text_line(Buf *line, LogLevel level, Str message, const LogField *fields, size_t n)
{
    char time[INSTANT_TEXT];
    instant_format(clock_now(), time);
    buf_addf(line, "%.8s %s ", time + sizeof "2026-10-03T" - 1, LEVELS[level]);
    for (size_t i = 0; i < message.n; i++) // escapes could move the cursor
        buf_add_char(line, (unsigned char)message.p[i] < ' ' ? ' ' : message.p[i]);
    OWNED_BUF Buf value = {0};
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].name) continue;
        buf_addf(line, " %s=", fields[i].name);
        if (str_absent(fields[i].text)) {
            buf_addf(line, "%" PRId64, fields[i].number);
            continue;
        }
        buf_clear(&value);
        add_clean(&value, fields[i].text);
        if (is_plain(buf_str(&value))) buf_add_str(line, buf_str(&value));
        else json_quote(line, buf_str(&value));
    }
}

static void write_line(const Buf *line)
{
    // Nobody is left to be told where this fails.
    for (size_t at = 0; at < line->n;) {
        ssize_t wrote = write(STDERR_FILENO, line->p + at, line->n - at);
        if (wrote > 0) at += (size_t)wrote;
        else if (wrote == 0 || errno != EINTR) return;
    }
}

void log_line(LogLevel level, const char *message, const LogField *fields, size_t n)
{
    ASSERT(level >= LOG_INFO && level <= LOG_ERROR);
    if (n > LOG_FIELDS_MAX) n = LOG_FIELDS_MAX;
    OWNED_BUF Buf clean = {0}, line = {0};
    add_clean(&clean, str(message));
    ASSERT(pthread_mutex_lock(&lock) == 0);
    bool capture = captured != NULL;
    ASSERT(pthread_mutex_unlock(&lock) == 0);
    if (!capture && to_terminal()) text_line(&line, level, buf_str(&clean), fields, n);
    else json_line(&line, level, buf_str(&clean), fields, n);
    buf_add_char(&line, '\n');
    ASSERT(pthread_mutex_lock(&lock) == 0);
    if (captured) buf_add_str(captured, buf_str(&line));
    else write_line(&line);
    ASSERT(pthread_mutex_unlock(&lock) == 0);
}

void log_to(Buf *out)
{
    ASSERT(pthread_mutex_lock(&lock) == 0);
    captured = out;
    ASSERT(pthread_mutex_unlock(&lock) == 0);
}
