// SPDX-License-Identifier: Apache-2.0
// base/time: instants, days and periods, all UTC and all half-open. Everything is integers; every
// kind is a type of its own. Knows the proleptic Gregorian calendar and nothing of the domain.
#pragma once

#include "base/text.h"

typedef struct Instant {
    int64_t us; // microseconds since 1970-01-01T00:00:00Z
} Instant;

typedef struct Day {
    int32_t days; // days since 1970-01-01
} Day;

typedef struct Period {
    int32_t months; // months since 0000-01; year * 12 + month - 1
} Period;

#define US_PER_SECOND INT64_C(1000000)
#define US_PER_MINUTE (60 * US_PER_SECOND)
#define US_PER_DAY (86400 * US_PER_SECOND)

#define INSTANT_MIN ((Instant){INT64_C(946684800) * US_PER_SECOND})  // 2000-01-01T00:00:00Z
#define INSTANT_END ((Instant){INT64_C(7258118400) * US_PER_SECOND}) // 2200-01-01T00:00:00Z
#define DAY_MIN ((Day){10957})                                       // 2000-01-01
#define DAY_END ((Day){84006})                                       // 2200-01-01

static inline int instant_compare(Instant a, Instant b) { return (a.us > b.us) - (a.us < b.us); }
static inline Instant instant_min(Instant a, Instant b) { return a.us < b.us ? a : b; }
static inline Instant instant_max(Instant a, Instant b) { return a.us > b.us ? a : b; }
static inline Instant instant_add_us(Instant a, int64_t us) { return (Instant){a.us + us}; }
Day instant_day(Instant instant); // the UTC day that holds it
Instant day_start(Day day);
static inline Day day_add(Day day, int32_t days) { return (Day){day.days + days}; }

typedef struct Date {
    int32_t year, month, day; // 1-12, 1-31
} Date;
Date day_date(Day day);
bool day_from_date(Date date,
                   Day *out); // false where no such day exists, or years outside 2000-2199

Period day_period(Day day);
Day period_first(Period period);
Day period_end(Period period); // the first day after it
static inline Period period_next(Period period) { return (Period){period.months + 1}; }

enum { INSTANT_TEXT = 32, DAY_TEXT = 16, PERIOD_TEXT = 12 };
// RFC 3339 with seconds and zone, "T" or "t", "Z" or "z" or an offset up to 23:59. Digits beyond
// microseconds are cut, ":60" is the next second, years outside 2000-2199 (in UTC) are invalid.
bool instant_parse(Str text, Instant *out);
// As above, or a bare date, which is its midnight.
bool instant_or_day_parse(Str text, Instant *out);
bool day_parse(Str text, Day *out);       // YYYY-MM-DD
bool period_parse(Str text, Period *out); // YYYY-MM
// "2026-10-03T12:34:56Z", with as many digits of a fraction (up to 6) as it needs; returns `out`.
char *instant_format(Instant instant, char out[static INSTANT_TEXT]);
char *day_format(Day day, char out[static DAY_TEXT]);
char *period_format(Period period, char out[static PERIOD_TEXT]);

Instant clock_now(void);          // the wall clock
int64_t clock_monotonic_ms(void); // for waiting, never for meaning
int64_t clock_monotonic_us(void); // the same, for measuring
void clock_sleep_ms(int64_t ms);
