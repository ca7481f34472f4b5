// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { YEAR_MIN = 2000, YEAR_END = 2200, DAYS_PER_ERA = 146097, DAYS_0000_TO_1970 = 719468 };

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// Days from civil and back: an era of 400 years that begins on March 1st, so that the leap day is
// last.
static int32_t civil_days(Date d)
{
    int32_t year = d.month <= 2 ? d.year - 1 : d.year;
    int32_t era = year / 400, of_era = year % 400;
    int32_t month = d.month > 2 ? d.month - 3 : d.month + 9;
    int32_t of_year = (153 * month + 2) / 5 + d.day - 1;
    int32_t day = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * DAYS_PER_ERA + day - DAYS_0000_TO_1970;
}

Date day_date(Day day)
{
    int32_t z = day.days + DAYS_0000_TO_1970;
    int32_t era = z / DAYS_PER_ERA, of_era = z % DAYS_PER_ERA;
    int32_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int32_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int32_t month = (5 * of_year + 2) / 153;
    Date d = {.year = era * 400 + year,
              .month = month < 10 ? month + 3 : month - 9,
              .day = of_year - (153 * month + 2) / 5 + 1};
    if (d.month <= 2) d.year++;
    return d;
}

bool day_from_date(Date date, Day *out)
{
    if (date.year < YEAR_MIN || date.year >= YEAR_END || date.month < 1 || date.month > 12 ||
        date.day < 1)
        return false;
    Day day = {civil_days(date)};
    Date back = day_date(day);
    if (back.month != date.month || back.day != date.day) return false;
    *out = day;
    return true;
}

Day instant_day(Instant instant) { return (Day){(int32_t)floor_div(instant.us, US_PER_DAY)}; }
Instant day_start(Day day) { return (Instant){day.days * US_PER_DAY}; }

Period day_period(Day day)
{
    Date date = day_date(day);
    return (Period){date.year * 12 + date.month - 1};
}

Day period_first(Period period)
{
    return (Day){civil_days((Date){period.months / 12, period.months % 12 + 1, 1})};
}

Day period_end(Period period) { return period_first(period_next(period)); }

// ---- parsing ----
typedef struct Cursor {
    const char *p, *end;
} Cursor;

static bool take_digits(Cursor *c, int n, int32_t *out)
{
    int32_t value = 0;
    for (int i = 0; i < n; i++) {
        if (c->p == c->end || *c->p < '0' || *c->p > '9') return false;
        value = value * 10 + (*c->p++ - '0');
    }
    *out = value;
    return true;
}

static bool take(Cursor *c, const char *any_of)
{
    if (c->p == c->end || !strchr(any_of, *c->p) || !*c->p) return false;
    c->p++;
    return true;
}

static bool take_date(Cursor *c, Date *date)
{
    return take_digits(c, 4, &date->year) && take(c, "-") && take_digits(c, 2, &date->month) &&
           take(c, "-") && take_digits(c, 2, &date->day);
}

static bool take_fraction(Cursor *c, int32_t *us)
{
    *us = 0;
    if (!take(c, ".")) return true;
    int digits = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++, digits++)
        if (digits < 6) *us = *us * 10 + (*c->p - '0');
    for (int i = digits; i < 6; i++) *us *= 10;
    return digits > 0;
}

static bool take_zone(Cursor *c, int32_t *offset_s)
{
    *offset_s = 0;
    if (take(c, "Zz")) return true;
    bool west = c->p < c->end && *c->p == '-';
    int32_t hours, minutes;
    if (!take(c, "+-") || !take_digits(c, 2, &hours) || !take(c, ":") ||
        !take_digits(c, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59) return false;
    *offset_s = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
    return true;
}

bool instant_parse(Str text, Instant *out)
{
    if (!text.p) return false;
    Cursor c = {text.p, text.p + text.n};
    Date date;
    int32_t hour, minute, second, us, offset_s;
    if (!take_date(&c, &date) || !take(&c, "Tt") || !take_digits(&c, 2, &hour) || !take(&c, ":") ||
        !take_digits(&c, 2, &minute) || !take(&c, ":") || !take_digits(&c, 2, &second) ||
        !take_fraction(&c, &us) || !take_zone(&c, &offset_s) || c.p != c.end)
        return false;
    if (hour > 23 || minute > 59 || second > 60 || date.month < 1 || date.month > 12 ||
        date.day < 1 || date.year < YEAR_MIN - 1 || date.year > YEAR_END)
        return false;
    // The local date may lie a day outside the years that its instant must be in, so it is checked
    // as such.
    Day day = {civil_days(date)};
    Date back = day_date(day);
    if (back.month != date.month || back.day != date.day) return false;
    int64_t seconds = day.days * INT64_C(86400) + hour * 3600 + minute * 60 + second - offset_s;
    Instant instant = {seconds * US_PER_SECOND + us};
    if (instant.us < INSTANT_MIN.us || instant.us >= INSTANT_END.us) return false;
    *out = instant;
    return true;
}

bool day_parse(Str text, Day *out)
{
    if (!text.p) return false;
    Cursor c = {text.p, text.p + text.n};
    Date date;
    return take_date(&c, &date) && c.p == c.end && day_from_date(date, out);
}

bool instant_or_day_parse(Str text, Instant *out)
{
    Day day;
    if (!day_parse(text, &day)) return instant_parse(text, out);
    *out = day_start(day);
    return true;
}

bool period_parse(Str text, Period *out)
{
    if (!text.p) return false;
    Cursor c = {text.p, text.p + text.n};
    int32_t year, month;
    if (!take_digits(&c, 4, &year) || !take(&c, "-") || !take_digits(&c, 2, &month) || c.p != c.end)
        return false;
    if (year < YEAR_MIN || year >= YEAR_END || month < 1 || month > 12) return false;
    *out = (Period){year * 12 + month - 1};
    return true;
}

// ---- formatting ----
static void put_digits(char **p, int32_t value, int n)
{
    for (int i = n - 1; i >= 0; i--, value /= 10) (*p)[i] = (char)('0' + value % 10);
    *p += n;
}

static void put_date(char **p, Date date)
{
    put_digits(p, date.year, 4);
    *(*p)++ = '-';
    put_digits(p, date.month, 2);
    *(*p)++ = '-';
    put_digits(p, date.day, 2);
}

char *instant_format(Instant instant, char out[static INSTANT_TEXT])
{
    Day day = instant_day(instant);
    int64_t us = instant.us - day_start(day).us;
    int32_t seconds = (int32_t)(us / US_PER_SECOND), fraction = (int32_t)(us % US_PER_SECOND);
    char *p = out;
    put_date(&p, day_date(day));
    *p++ = 'T';
    put_digits(&p, seconds / 3600, 2);
    *p++ = ':';
    put_digits(&p, seconds / 60 % 60, 2);
    *p++ = ':';
    put_digits(&p, seconds % 60, 2);
    if (fraction) {
        *p++ = '.';
        put_digits(&p, fraction, 6);
        while (p[-1] == '0') p--;
    }
    *p++ = 'Z';
    *p = '\0';
    return out;
}

char *day_format(Day day, char out[static DAY_TEXT])
{
    char *p = out;
    put_date(&p, day_date(day));
    *p = '\0';
    return out;
}

char *period_format(Period period, char out[static PERIOD_TEXT])
{
    char *p = out;
    put_digits(&p, period.months / 12, 4);
    *p++ = '-';
    put_digits(&p, period.months % 12 + 1, 2);
    *p = '\0';
    return out;
}

// ---- clocks ----
Instant clock_now(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (Instant){now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000};
}

int64_t clock_monotonic_ms(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_us(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

void clock_sleep_ms(int64_t ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&wait, &wait) != 0 && errno == EINTR) continue;
}
