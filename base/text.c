// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

// ---- memory ----
static _Noreturn void out_of_memory(size_t bytes)
{
    fprintf(stderr, "tally: out of memory (asked for %zu bytes); nothing was half-written\n",
            bytes);
    exit(1);
}

void *mem_alloc(size_t bytes)
{
    void *got = calloc(1, bytes ? bytes : 1);
    if (!got) out_of_memory(bytes);
    return got;
}

void *mem_resize(void *old, size_t bytes)
{
    void *got = realloc(old, bytes ? bytes : 1);
    if (!got) out_of_memory(bytes);
    return got;
}

char *mem_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(mem_alloc(n), text, n);
}

// ---- slices ----
int str_compare(Str a, Str b)
{
    if (!a.p || !b.p) return (a.p != NULL) - (b.p != NULL);
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

bool str_equal(Str a, Str b)
{
    if (!a.p || !b.p) return a.p == b.p;
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_is(Str a, const char *text) { return str_equal(a, str(text)); }

uint64_t str_hash(uint64_t seed, Str s)
{
    for (size_t i = 0; i < s.n; i++)
        seed = (seed ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return seed;
}

bool str_is_id(Str s)
{
    if (!s.p || s.n < 1 || s.n > 64) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == ':' || c == '-';
        if (!fine) return false;
    }
    return true;
}

// Well-formed UTF-8 by table 3-7 of the Unicode standard: no overlong forms, surrogates or >
// U+10FFFF.
size_t str_character(Str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    if (s.n == 0) return 0;
    unsigned char c = p[0];
    if (c < 0x80) return 1;
    size_t length = c >= 0xC2 && c <= 0xDF   ? 2
                    : c >= 0xE0 && c <= 0xEF ? 3
                    : c >= 0xF0 && c <= 0xF4 ? 4
                                             : 0;
    if (length == 0 || s.n < length) return 0;
    unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if (p[i] < 0x80 || p[i] > 0xBF) return 0;
    return length;
}

static Str str_from(Str s, size_t at) { return (Str){s.p + at, s.n - at}; }

bool str_is_utf8(Str s)
{
    for (size_t at = 0, length; at < s.n; at += length)
        if ((length = str_character(str_from(s, at))) == 0) return false;
    return true;
}

// U+0080 to U+009F are C2 80 to C2 9F.
static bool is_control(Str character)
{
    const unsigned char *p = (const unsigned char *)character.p;
    return p[0] < 0x20 || p[0] == 0x7F || (p[0] == 0xC2 && p[1] < 0xA0);
}

bool str_has_control(Str s)
{
    for (size_t at = 0, length; at < s.n; at += length ? length : 1) {
        length = str_character(str_from(s, at));
        if (length && is_control((Str){s.p + at, length})) return true;
    }
    return false;
}

bool str_to_int(Str s, int64_t *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i >= s.n) return false;
    int64_t value = 0;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, s.p[i] - '0', &value))
            return false;
    }
    if (!negative && value == INT64_MIN) return false;
    *out = negative ? value : -value;
    return true;
}

// ---- arena ----
enum { ARENA_BLOCK_BYTES = 64 * 1024 };

typedef struct ArenaBlock {
    struct ArenaBlock *next;
    size_t used, room;
    _Alignas(16) char bytes[];
} ArenaBlock;

struct Arena {
    ArenaBlock *head;
    size_t bytes;
};

static ArenaBlock *block_new(size_t room)
{
    ArenaBlock *block = mem_resize(NULL, sizeof *block + room);
    block->next = NULL;
    block->used = 0;
    block->room = room;
    return block;
}

Arena *arena_new(void) { return mem_alloc(sizeof(Arena)); }

void arena_free(Arena *arena)
{
    if (!arena) return;
    while (arena->head) {
        ArenaBlock *next = arena->head->next;
        free(arena->head);
        arena->head = next;
    }
    free(arena);
}

void arena_reset(Arena *arena)
{
    while (arena->head && arena->head->next) {
        ArenaBlock *next = arena->head->next;
        free(arena->head);
        arena->head = next;
    }
    if (arena->head) arena->head->used = 0;
    arena->bytes = 0;
}

void *arena_alloc(Arena *arena, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (!arena->head || arena->head->room - arena->head->used < bytes) {
        ArenaBlock *block = block_new(bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES);
        block->next = arena->head;
        arena->head = block;
    }
    void *got = arena->head->bytes + arena->head->used;
    arena->head->used += bytes;
    arena->bytes += bytes;
    return memset(got, 0, bytes);
}

Str arena_copy(Arena *arena, Str s)
{
    if (!s.p) return s;
    char *copy = arena_alloc(arena, s.n + 1);
    if (s.n) memcpy(copy, s.p, s.n);
    return (Str){copy, s.n};
}

size_t arena_bytes(const Arena *arena) { return arena->bytes; }

// ---- buffer ----
void buf_free(Buf *buf)
{
    free(buf->p);
    *buf = (Buf){0};
}

void buf_clear(Buf *buf)
{
    buf->n = 0;
    if (buf->p) buf->p[0] = '\0';
}

static void buf_reserve(Buf *buf, size_t more)
{
    if (buf->room - buf->n > more) return;
    size_t room = buf->room ? buf->room : 256;
    while (room - buf->n <= more) room *= 2;
    buf->p = mem_resize(buf->p, room);
    buf->room = room;
}

void buf_add(Buf *buf, const void *bytes, size_t n)
{
    buf_reserve(buf, n);
    if (n) memcpy(buf->p + buf->n, bytes, n);
    buf->n += n;
    buf->p[buf->n] = '\0';
}

void buf_add_str(Buf *buf, Str s) { buf_add(buf, s.p, s.n); }
void buf_add_text(Buf *buf, const char *text) { buf_add(buf, text, strlen(text)); }
void buf_add_char(Buf *buf, char c) { buf_add(buf, &c, 1); }
void buf_add_clean(Buf *buf, Str s) { (void)buf_add_clean_part(buf, s, SIZE_MAX); }

size_t buf_add_clean_part(Buf *buf, Str s, size_t max)
{
    size_t count = 0;
    for (size_t at = 0, length; at < s.n && count < max; at += length ? length : 1, count++) {
        length = str_character(str_from(s, at));
        Str character = {s.p + at, length};
        if (length && !is_control(character)) buf_add_str(buf, character);
        else buf_add_char(buf, '?');
    }
    return count;
}

void buf_addf(Buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(n >= 0);
    buf_reserve(buf, (size_t)n);
    va_start(args, format);
    vsnprintf(buf->p + buf->n, (size_t)n + 1, format, args);
    va_end(args);
    buf->n += (size_t)n;
}
