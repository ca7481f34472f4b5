// SPDX-License-Identifier: Apache-2.0
// Names are those of FIPS 180-4, section 6.2.
#include "base/sha256.h"

#include <endian.h>

enum { BLOCK = 64, ROUNDS = 64 };

static const uint32_t K[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

// One round, with the eight variables in their order; the next round gets them turned by one, so
// that none is ever moved.
#define ROUND(a, b, c, d, e, f, g, h, t)                                                           \
    do {                                                                                           \
        uint32_t T1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g));         \
        T1 += K[t] + W[t];                                                                         \
        d += T1;                                                                                   \
        h = T1 + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));         \
    } while (0)

static void add_block(uint32_t H[static 8], const uint8_t *block)
{
    uint32_t W[ROUNDS];
    memcpy(W, block, BLOCK);
    for (int t = 0; t < 16; t++) W[t] = be32toh(W[t]);
    for (int t = 16; t < ROUNDS; t++) {
        uint32_t s0 = rotr(W[t - 15], 7) ^ rotr(W[t - 15], 18) ^ W[t - 15] >> 3;
        uint32_t s1 = rotr(W[t - 2], 17) ^ rotr(W[t - 2], 19) ^ W[t - 2] >> 10;
        W[t] = s1 + W[t - 7] + s0 + W[t - 16];
    }
    uint32_t a = H[0], b = H[1], c = H[2], d = H[3], e = H[4], f = H[5], g = H[6], h = H[7];
    for (int t = 0; t < ROUNDS; t += 8) {
        ROUND(a, b, c, d, e, f, g, h, t);
        ROUND(h, a, b, c, d, e, f, g, t + 1);
        ROUND(g, h, a, b, c, d, e, f, t + 2);
        ROUND(f, g, h, a, b, c, d, e, t + 3);
        ROUND(e, f, g, h, a, b, c, d, t + 4);
        ROUND(d, e, f, g, h, a, b, c, t + 5);
        ROUND(c, d, e, f, g, h, a, b, t + 6);
        ROUND(b, c, d, e, f, g, h, a, t + 7);
    }
    const uint32_t sum[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) H[i] += sum[i];
}

Sha256 sha256(Str message)
{
    uint32_t H[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t whole = message.n - message.n % BLOCK, rest = message.n - whole;
    for (size_t at = 0; at < whole; at += BLOCK) add_block(H, (const uint8_t *)message.p + at);
    uint8_t last[2 * BLOCK] = {0}; // the rest, a one bit, zeros, the length in bits
    if (rest) memcpy(last, message.p + whole, rest);
    last[rest] = 0x80;
    size_t padded = rest + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    uint64_t bits = htobe64((uint64_t)message.n * 8);
    memcpy(last + padded - sizeof bits, &bits, sizeof bits);
    for (size_t at = 0; at < padded; at += BLOCK) add_block(H, last + at);
    Sha256 hash;
    for (int i = 0; i < 8; i++) H[i] = htobe32(H[i]);
    memcpy(hash.bytes, H, sizeof hash.bytes);
    return hash;
}

char *sha256_format(const Sha256 *hash, char out[static SHA256_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        out[2 * i] = digits[hash->bytes[i] >> 4];
        out[2 * i + 1] = digits[hash->bytes[i] & 15];
    }
    out[SHA256_TEXT - 1] = '\0';
    return out;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool sha256_parse(Str text, Sha256 *out)
{
    if (text.n != SHA256_TEXT - 1) return false;
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        int high = digit_of(text.p[2 * i]), low = digit_of(text.p[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
