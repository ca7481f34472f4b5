// SPDX-License-Identifier: Apache-2.0
#include "meter/minutes.h"

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; } // a >= 0
static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t run_minute_count(const Run *run)
{
    return ceil_div(run->end.us - run->start.us, US_PER_MINUTE);
}

// The dearest of the sizes held in [from, to): spans `first` and those after it that begin before
// `to`. Of equally dear ones the first by name, which is the lower number.
static SizeNo dearest(const Catalog *catalog, const Run *run, int first, Instant from, Instant to)
{
    const CatalogVersion *version = catalog_on(catalog, instant_day(from));
    SizeNo best = run->span[first].size;
    for (int i = first + 1; i < run->spans && run->span[i].from.us < to.us; i++) {
        SizeNo size = run->span[i].size;
        int32_t rate = version->sizes[size].credits_per_hour,
                best_rate = version->sizes[best].credits_per_hour;
        if (rate > best_rate || (rate == best_rate && size < best)) best = size;
    }
    return best;
}

void run_minutes(const Catalog *catalog, const Run *run, MinutesFn minutes, void *context)
{
    int64_t count = run_minute_count(run);
    int span = 0;
    for (int64_t k = 0; k < count;) {
        Instant begin = instant_add_us(run->start, k * US_PER_MINUTE);
        while (span + 1 < run->spans && run->span[span + 1].from.us <= begin.us) span++;
        // Minutes up to `whole` lie in this span alone; those up to `of_day` begin on this day.
        int64_t whole = count;
        if (span + 1 < run->spans)
            whole = (run->span[span + 1].from.us - run->start.us) / US_PER_MINUTE;
        int64_t of_day = ceil_div(day_start(day_add(instant_day(begin), 1)).us - run->start.us,
                                  US_PER_MINUTE);
        int64_t until = at_most(at_most(whole, of_day), count);
        SizeNo size = run->span[span].size;
        if (until <= k) { // the minute holds a change of size
            until = k + 1;
            size = dearest(catalog, run, span, begin, instant_add_us(begin, US_PER_MINUTE));
        }
        minutes(context, begin, until - k, size);
        k = until;
    }
}

CreditMinutes minutes_cost(const Catalog *catalog, Day day, SizeNo size, int64_t count)
{
    Wide cm = (Wide)count * catalog_on(catalog, day)->sizes[size].credits_per_hour;
    ASSERT(cm <= INT64_MAX && cm >= INT64_MIN);
    return (CreditMinutes){(int64_t)cm};
}
