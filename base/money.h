// SPDX-License-Identifier: Apache-2.0
// base/money: amounts. Money is whole cents, usage whole credit-minutes, prices exact decimals;
// each is a type of its own, all arithmetic is checked, and there is one rounding: half away from
// zero.
#pragma once

#include "base/text.h"

__extension__ typedef __int128 Wide; // intermediate products only

typedef struct Cents {
    int64_t cents;
} Cents;

// 1/60 of a credit: a minute of a size of C credits/hour is C of these.
typedef struct CreditMinutes {
    int64_t cm;
} CreditMinutes;

// USD per credit, times 10^12; at most PRICE_MAX_E12.
typedef struct Price {
    int64_t e12;
} Price;

#define PRICE_E12 INT64_C(1000000000000)
#define PRICE_MAX_E12 (INT64_C(1000000) * PRICE_E12)
// Bounds on what may be written in a catalogue or an accounts file; sums stay far within int64.
#define CENTS_MAX INT64_C(100000000000000) // a trillion dollars
#define CREDITS_MAX INT64_C(1000000000000)

// numerator / denominator, rounded half away from zero; the denominator is above 0.
// Aborts where the result leaves int64: inputs are bounded where they are read.
int64_t round_div(Wide numerator, Wide denominator);

Cents cents_add(Cents a, Cents b);
Cents cents_sub(Cents a, Cents b);
static inline Cents cents_negate(Cents a) { return (Cents){-a.cents}; }
// amount * part / whole, rounded.
Cents cents_share(Cents amount, int64_t part, int64_t whole);
CreditMinutes cm_add(CreditMinutes a, CreditMinutes b);
CreditMinutes cm_sub(CreditMinutes a, CreditMinutes b);
static inline CreditMinutes cm_min(CreditMinutes a, CreditMinutes b) { return a.cm < b.cm ? a : b; }
// cm/60 * price, rounded to cents.
Cents price_of(CreditMinutes amount, Price price);
// cm/60 * price * bps/10000, rounded to cents.
Cents price_share_of(CreditMinutes amount, Price price, int64_t bps);

enum { AMOUNT_TEXT = 48 };
// "1053.57", "-0.05"
char *cents_format(Cents amount, char out[static AMOUNT_TEXT]);
// Text with at most two decimals, digits before the point, optional leading '-': "25", "25.5",
// "25.00".
bool cents_parse(Str text, Cents *out);
// cm/60 with four decimals, rounded: "70900.0000"
char *credits_format(CreditMinutes amount, char out[static AMOUNT_TEXT]);
// Credits as decimal text or digits ("500", "12.25"), exact in whole cm; false where it is not.
bool credits_parse(Str text, CreditMinutes *out);
// At most 12 decimals; formatted without trailing zeros: "0.01486"
bool price_parse(Str text, Price *out);
char *price_format(Price price, char out[static AMOUNT_TEXT]);
// Groups the digits before the point in threes: "70900.5" -> "70,900.5"
char *amount_group(const char *amount, char out[static AMOUNT_TEXT]);
