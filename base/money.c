// SPDX-License-Identifier: Apache-2.0
#include "base/money.h"

#include <inttypes.h>
#include <stdio.h>

int64_t round_div(Wide numerator, Wide denominator)
{
    ASSERT(denominator > 0);
    bool negative = numerator < 0;
    Wide size = negative ? -numerator : numerator;
    Wide quotient = size / denominator, rest = size % denominator;
    if (rest >= denominator - rest) quotient++;
    ASSERT(quotient <= INT64_MAX);
    return negative ? -(int64_t)quotient : (int64_t)quotient;
}

static int64_t checked_add(int64_t a, int64_t b)
{
    int64_t sum;
    ASSERT(!__builtin_add_overflow(a, b, &sum));
    return sum;
}

static int64_t checked_sub(int64_t a, int64_t b)
{
    int64_t difference;
    ASSERT(!__builtin_sub_overflow(a, b, &difference));
    return difference;
}

Cents cents_add(Cents a, Cents b) { return (Cents){checked_add(a.cents, b.cents)}; }
Cents cents_sub(Cents a, Cents b) { return (Cents){checked_sub(a.cents, b.cents)}; }
CreditMinutes cm_add(CreditMinutes a, CreditMinutes b)
{
    return (CreditMinutes){checked_add(a.cm, b.cm)};
}
CreditMinutes cm_sub(CreditMinutes a, CreditMinutes b)
{
    return (CreditMinutes){checked_sub(a.cm, b.cm)};
}

Cents cents_share(Cents amount, int64_t part, int64_t whole)
{
    return (Cents){round_div((Wide)amount.cents * part, whole)};
}

// Dollars are cm/60 * e12/10^12; cents are a hundred times that.
Cents price_of(CreditMinutes amount, Price price)
{
    return (Cents){round_div((Wide)amount.cm * price.e12, (Wide)60 * (PRICE_E12 / 100))};
}

Cents price_share_of(CreditMinutes amount, Price price, int64_t bps)
{
    return (Cents){
        round_div((Wide)amount.cm * price.e12 * bps, (Wide)60 * (PRICE_E12 / 100) * 10000)};
}

// ---- decimals ----
// A decimal as an integer of units of 10^-places; false on any other form, or beyond `max`.
static bool decimal_parse(Str text, int places, int64_t max, int64_t *out)
{
    if (!text.p || text.n == 0 || text.n > 40) return false;
    size_t i = text.p[0] == '-' ? 1 : 0;
    bool negative = i == 1;
    int digits = 0, decimals = -1;
    Wide value = 0;
    for (; i < text.n; i++) {
        char c = text.p[i];
        if (c == '.' && decimals < 0 && digits > 0) {
            decimals = 0;
            continue;
        }
        if (c < '0' || c > '9') return false;
        if (decimals >= 0 && ++decimals > places) return false;
        digits++;
        value = value * 10 + (c - '0');
        if (value > max) return false;
    }
    if (digits == 0 || decimals == 0) return false;
    for (int d = decimals < 0 ? 0 : decimals; d < places; d++) value *= 10;
    if (value > max) return false;
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static char *decimal_format(int64_t value, int places, char out[static AMOUNT_TEXT])
{
    int64_t scale = 1;
    for (int i = 0; i < places; i++) scale *= 10;
    uint64_t size = value < 0 ? -(uint64_t)value : (uint64_t)value;
    snprintf(out, AMOUNT_TEXT, "%s%" PRIu64 ".%0*" PRIu64, value < 0 ? "-" : "",
             size / (uint64_t)scale, places, size % (uint64_t)scale);
    return out;
}

bool cents_parse(Str text, Cents *out) { return decimal_parse(text, 2, CENTS_MAX, &out->cents); }
char *cents_format(Cents amount, char out[static AMOUNT_TEXT])
{
    return decimal_format(amount.cents, 2, out);
}

char *credits_format(CreditMinutes amount, char out[static AMOUNT_TEXT])
{
    return decimal_format(round_div((Wide)amount.cm * 10000, 60), 4, out);
}

bool credits_parse(Str text, CreditMinutes *out)
{
    int64_t e6;
    if (!decimal_parse(text, 6, CREDITS_MAX * 1000000, &e6)) return false;
    Wide cm = (Wide)e6 * 60;
    if (cm % 1000000 != 0) return false;
    out->cm = (int64_t)(cm / 1000000);
    return true;
}

bool price_parse(Str text, Price *out) { return decimal_parse(text, 12, PRICE_MAX_E12, &out->e12); }

char *price_format(Price price, char out[static AMOUNT_TEXT])
{
    decimal_format(price.e12, 12, out);
    size_t n = strlen(out);
    while (n > 0 && out[n - 1] == '0') n--;
    if (n > 0 && out[n - 1] == '.') n--;
    out[n] = '\0';
    return out;
}

char *amount_group(const char *amount, char out[static AMOUNT_TEXT])
{
    size_t whole = strcspn(amount, "."), n = 0;
    for (size_t i = 0; amount[i] && n + 2 < AMOUNT_TEXT; i++) {
        bool inside = i > 0 && i < whole && amount[i - 1] != '-';
        if (inside && (whole - i) % 3 == 0) out[n++] = ',';
        out[n++] = amount[i];
    }
    out[n] = '\0';
    return out;
}
