// SPDX-License-Identifier: Apache-2.0
// base/text: bytes that are text. Slices (`Str`) borrow, buffers (`Buf`) own and grow, arenas own
// many small things that die together. Running out of memory ends the process with a clean message
// (exit 1): whatever was half-written is in a transaction that was not committed.
#pragma once

#include "base/status.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// ---- memory ----
void *mem_alloc(size_t bytes);             // never NULL; zeroed
void *mem_resize(void *old, size_t bytes); // never NULL; the new part is not zeroed
char *mem_strdup(const char *text);
static inline void mem_free_pointer(void *pointer) { free(*(void **)pointer); }
#define OWNED_TEXT __attribute__((cleanup(mem_free_pointer)))

// ---- slices ----
// A borrowed stretch of bytes, not terminated. p == NULL means absent; n == 0 with p set, empty.
typedef struct Str {
    const char *p;
    size_t n;
} Str;

#define STR(literal) ((Str){(literal), sizeof(literal) - 1})
static inline Str str(const char *text) { return (Str){text, text ? strlen(text) : 0}; }
static inline bool str_absent(Str s) { return s.p == NULL; }
// Byte by byte; shorter first; absent equals absent only and sorts before everything.
int str_compare(Str a, Str b);
bool str_equal(Str a, Str b);
bool str_is(Str a, const char *text);
// 64-bit FNV-1a, continuing from `seed` (HASH_SEED to begin with). Not for hostile collisions.
#define HASH_SEED UINT64_C(0xcbf29ce484222325)
uint64_t str_hash(uint64_t seed, Str s);
// Account and VM ids: 1-64 bytes of [A-Za-z0-9._:-].
bool str_is_id(Str s);
bool str_is_utf8(Str s);
// How many bytes the well-formed UTF-8 character has that `s` begins with; 0: none.
size_t str_character(Str s);
// Whether a control character is in it: below U+0020, U+007F, U+0080 to U+009F.
bool str_has_control(Str s);
// A decimal integer, optional '-', no other characters, within int64.
bool str_to_int(Str s, int64_t *out);

// ---- arena ----
typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *arena);
void arena_reset(Arena *arena);                // forgets all it gave out; keeps one block
void *arena_alloc(Arena *arena, size_t bytes); // zeroed, aligned to 16
Str arena_copy(Arena *arena,
               Str s); // terminated with a NUL that n does not count; absent stays absent
size_t arena_bytes(const Arena *arena);
static inline void arena_free_pointer(Arena **arena) { arena_free(*arena); }
#define OWNED_ARENA __attribute__((cleanup(arena_free_pointer)))

// ---- buffer ----
typedef struct Buf {
    char *p; // NUL-terminated once anything was added
    size_t n, room;
} Buf;
void buf_free(Buf *buf);
void buf_clear(Buf *buf); // n = 0; keeps the memory
void buf_add(Buf *buf, const void *bytes, size_t n);
void buf_add_str(Buf *buf, Str s);
void buf_add_text(Buf *buf, const char *text);
void buf_add_char(Buf *buf, char c);
// Text that must not drive a terminal: control characters, and bytes that are not UTF-8, become
// '?'.
void buf_add_clean(Buf *buf, Str s);
// The same of its first `max` characters; returns how many they are.
size_t buf_add_clean_part(Buf *buf, Str s, size_t max);
void buf_addf(Buf *buf, const char *format, ...) PRINTF(2, 3);
static inline Str buf_str(const Buf *buf) { return (Str){buf->p ? buf->p : "", buf->n}; }
#define OWNED_BUF __attribute__((cleanup(buf_free)))
