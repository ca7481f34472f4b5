// SPDX-License-Identifier: Apache-2.0
// base/sha256: the hash of FIPS 180-4, for the chain of invoices, and for tokens.
#pragma once

#include "base/text.h"

enum { SHA256_BYTES = 32, SHA256_TEXT = 65 };

typedef struct Sha256 {
    uint8_t bytes[SHA256_BYTES];
} Sha256;

Sha256 sha256(Str message);
// 64 lower-case hexadecimal digits; returns `out`.
char *sha256_format(const Sha256 *hash, char out[static SHA256_TEXT]);
// False where the text is not that.
bool sha256_parse(Str text, Sha256 *out);
