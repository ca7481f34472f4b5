// SPDX-License-Identifier: Apache-2.0
// billing/rate: what one account's period costs. Pure: values in, values out; no clock, no
// database, no catalogue. A RateInput holds everything that decides an amount, so an invoice that
// keeps its input can be rated again by itself; rate_input() makes one from the account, the
// catalogue and what was used.
#pragma once

#include "meter/usage.h"

enum { RATE_DAYS_MAX = 31, RATE_TEXT_MAX = 256 };

// A run of days with one subscription and one catalogue version, and the terms that price it.
typedef struct RateSegment {
    Day from, to;
    Day version; // the catalogue version's first day
    Str plan;    // whose terms these are
    bool active; // whether base fee, allowance and minimum hold
    Price price; // of a credit
    Cents base_fee, minimum;
    CreditMinutes included; // per whole period
    int64_t discount_bps;
} RateSegment;

// Minutes of one size by day of the period, from 0, at one rate.
typedef struct RateUsage {
    Str size;
    int32_t credits_per_hour;
    int64_t minutes[RATE_DAYS_MAX];
} RateUsage;

typedef struct RateGrant {
    Grant grant;
    int64_t balance; // before the period, in the grant's unit; 0 or more
} RateGrant;

// What a closed period comes to with all that is known now, less what standing invoices charge.
typedef struct RateAdjustment {
    Period period;
    Cents amount;  // due - charged
    Cents charged; // for the period, by standing invoices' own lines and by their adjustments
    Cents due;     // its subtotal without adjustments
    const struct RateInput *rated; // what `due` was rated from; usd grants are left out
} RateAdjustment;

typedef struct RateInput {
    Period period;
    Instant horizon; // of the usage; 0: not known
    int64_t tax_rate_bps;
    size_t segments, usages, grants, adjustments;
    RateSegment *segment;       // by date, without gaps
    RateUsage *usage;           // by size name, then date
    RateGrant *grant;           // those in force in the period, in the order of drawing
    RateAdjustment *adjustment; // by period
} RateInput;

typedef enum LineKind {
    LINE_BASE_FEE,
    LINE_CREDITS,
    LINE_DISCOUNT,
    LINE_MINIMUM,
    LINE_ADJUSTMENT,
    LINE_GRANT,
    LINE_CARRY_FORWARD,
    LINE_TAX,
} LineKind;

typedef struct Line {
    LineKind kind;
    Str description;
    Day from, to;
    bool priced; // quantity and price are set
    CreditMinutes quantity;
    Price price;
    Period adjusted; // LINE_ADJUSTMENT
    Str grant;       // LINE_GRANT
    Cents amount;
} Line;

typedef struct SizeUsage {
    Str size;
    int64_t minutes;
    CreditMinutes cm;
} SizeUsage;

// How a day's credit-minutes burned down.
typedef struct RateDay {
    size_t segment;
    CreditMinutes used, pooled, granted, bought;
} RateDay;

typedef struct Rating {
    size_t usages, lines, days;
    SizeUsage *usage; // by size name
    Line *line;       // in the order of printing
    RateDay day[RATE_DAYS_MAX];
    CreditMinutes included, granted, purchased;
    int64_t *drawn; // from each of the input's grants
    Cents own;      // steps 1 to 5: the subtotal without adjustments
    Cents subtotal; // with them
    Cents carried;  // 0 or more: what becomes the grant carry:<number>
    Cents total;    // what is to be paid
    bool to_issue;  // something was used, or a line has an amount
} Rating;

// Makes the input of a period. `cells` are the account's, by day and size; `grants` have any order,
// and those not in force in the period are left out. Everything lives in `arena` or is borrowed
// from `account`.
void rate_input(const Account *account, const Catalog *catalog, Period period,
                const DayUsage *cells, size_t cell_count, const RateGrant *grants,
                size_t grant_count, Arena *arena, RateInput *out);

// Rates it, section 3 step by step. The rating lives in `arena` and borrows from `in`.
void rate(const RateInput *in, Arena *arena, Rating *out);

// Takes what a rating drew off the balances in `grants`, matching ids.
void rate_draw(const RateInput *in, const Rating *rating, RateGrant *grants, size_t grant_count);

const char *line_kind_name(LineKind kind); // "base_fee"
bool line_kind_parse(Str name, LineKind *out);
