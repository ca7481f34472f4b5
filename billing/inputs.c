// SPDX-License-Identifier: Apache-2.0
#include "billing/inputs.h"

// ---- writing ----
static void write_int(Buf *out,
                      int64_t value) // not below 0; printf is too slow for a month of minutes
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_add(out, digits + at, sizeof digits - at);
}

static void write_day(JsonWriter *w, const char *name, Day day)
{
    char text[DAY_TEXT];
    jw_text(w, name, day_format(day, text));
}

static void write_period(JsonWriter *w, Period period)
{
    char text[PERIOD_TEXT];
    jw_text(w, "period", period_format(period, text));
}

static void write_segment(JsonWriter *w, const RateSegment *segment)
{
    char price[AMOUNT_TEXT];
    jw_begin_object(w, NULL);
    write_day(w, "from", segment->from);
    write_day(w, "to", segment->to);
    write_day(w, "version", segment->version);
    jw_str(w, "plan", segment->plan);
    jw_bool(w, "active", segment->active);
    jw_text(w, "credit_price", price_format(segment->price, price));
    jw_int(w, "base_fee_cents", segment->base_fee.cents);
    jw_int(w, "included_cm", segment->included.cm);
    jw_int(w, "discount_bps", segment->discount_bps);
    jw_int(w, "minimum_cents", segment->minimum.cents);
    jw_end_object(w);
}

static void write_usage(JsonWriter *w, const RateUsage *usage)
{
    size_t days = RATE_DAYS_MAX;
    while (days > 0 && usage->minutes[days - 1] == 0) days--;
    jw_begin_object(w, NULL);
    jw_str(w, "size", usage->size);
    jw_int(w, "credits_per_hour", usage->credits_per_hour);
    jw_begin_array(w, "minutes");
    for (size_t i = 0; i < days; i++) {
        if (i > 0) buf_add_char(w->out, ',');
        write_int(w->out, usage->minutes[i]);
    }
    jw_end_array(w);
    jw_end_object(w);
}

static void write_grant(JsonWriter *w, const RateGrant *from)
{
    const Grant *grant = &from->grant;
    jw_begin_object(w, NULL);
    jw_str(w, "id", grant->id);
    jw_text(w, "unit", grant->unit == GRANT_USD ? "usd" : "credit");
    jw_int(w, "amount", grant->amount);
    jw_int(w, "balance", from->balance);
    jw_int(w, "priority", grant->priority);
    write_day(w, "from", grant->from);
    if (grant->expires.days < DAY_END.days) write_day(w, "expires", grant->expires);
    if (grant->carried) jw_bool(w, "carried", true);
    jw_end_object(w);
}

void inputs_write(const RateInput *in, Buf *out)
{
    JsonWriter writer = {.out = out}, *w = &writer;
    jw_begin_object(w, NULL);
    write_period(w, in->period);
    if (in->horizon.us) {
        char text[INSTANT_TEXT];
        jw_text(w, "horizon", instant_format(in->horizon, text));
    }
    jw_int(w, "tax_rate_bps", in->tax_rate_bps);
    jw_begin_array(w, "segments");
    for (size_t i = 0; i < in->segments; i++) write_segment(w, &in->segment[i]);
    jw_end_array(w);
    jw_begin_array(w, "usage");
    for (size_t i = 0; i < in->usages; i++) write_usage(w, &in->usage[i]);
    jw_end_array(w);
    jw_begin_array(w, "grants");
    for (size_t i = 0; i < in->grants; i++) write_grant(w, &in->grant[i]);
    jw_end_array(w);
    jw_begin_array(w, "adjustments");
    for (size_t i = 0; i < in->adjustments; i++) {
        const RateAdjustment *adjustment = &in->adjustment[i];
        jw_begin_object(w, NULL);
        write_period(w, adjustment->period);
        jw_int(w, "cents", adjustment->amount.cents);
        jw_int(w, "charged_cents", adjustment->charged.cents);
        jw_int(w, "due_cents", adjustment->due.cents);
        OWNED_BUF Buf rated = {0};
        inputs_write(adjustment->rated, &rated);
        jw_raw(w, "rated", buf_str(&rated));
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_end_object(w);
}

// ---- reading ----
// Members are read one after the other; the first that is not as it should be is remembered.
typedef struct Reader {
    Arena *arena;
    const char *wrong;
} Reader;

static int64_t read_int(Reader *r, const Json *object, const char *name)
{
    int64_t value = 0;
    if (!json_integer(json_get(object, name), &value)) r->wrong = name;
    return value;
}

static Str read_text(Reader *r, const Json *object, const char *name)
{
    Str value = STR("");
    if (!json_text(json_get(object, name), &value)) r->wrong = name;
    return arena_copy(r->arena, value);
}

static Day read_day(Reader *r, const Json *object, const char *name)
{
    Str text;
    Day day = DAY_MIN;
    if (!json_text(json_get(object, name), &text) || !day_parse(text, &day)) r->wrong = name;
    return day;
}

static Instant read_instant(Reader *r, const Json *object, const char *name)
{
    Str text;
    Instant at = {0};
    if (!json_text(json_get(object, name), &text) || !instant_parse(text, &at)) r->wrong = name;
    return at;
}

static Period read_period(Reader *r, const Json *object)
{
    Str text;
    Period period = day_period(DAY_MIN);
    if (!json_text(json_get(object, "period"), &text) || !period_parse(text, &period))
        r->wrong = "period";
    return period;
}

static bool read_bool(Reader *r, const Json *object, const char *name, bool required)
{
    bool value = false;
    const Json *member = json_get(object, name);
    if ((member || required) && !json_bool(member, &value)) r->wrong = name;
    return value;
}

static RateSegment read_segment(Reader *r, const Json *json)
{
    RateSegment segment = {
        .from = read_day(r, json, "from"),
        .to = read_day(r, json, "to"),
        .version = read_day(r, json, "version"),
        .plan = read_text(r, json, "plan"),
        .active = read_bool(r, json, "active", true),
        .base_fee = {read_int(r, json, "base_fee_cents")},
        .included = {read_int(r, json, "included_cm")},
        .discount_bps = read_int(r, json, "discount_bps"),
        .minimum = {read_int(r, json, "minimum_cents")},
    };
    if (!price_parse(read_text(r, json, "credit_price"), &segment.price)) r->wrong = "credit_price";
    return segment;
}

static RateUsage read_usage(Reader *r, const Json *json)
{
    RateUsage usage = {
        .size = read_text(r, json, "size"),
        .credits_per_hour = (int32_t)read_int(r, json, "credits_per_hour"),
    };
    size_t day = 0;
    for (const Json *e = json_first(json_get(json, "minutes")); e; e = json_next(e), day++)
        if (day >= RATE_DAYS_MAX || !json_integer(e, &usage.minutes[day])) {
            r->wrong = "minutes";
            break;
        }
    return usage;
}

static RateGrant read_grant(Reader *r, const Json *json)
{
    Str unit = read_text(r, json, "unit");
    bool usd = str_is(unit, "usd");
    if (!usd && !str_is(unit, "credit")) r->wrong = "unit";
    return (RateGrant){
        .grant =
            {
                .id = read_text(r, json, "id"),
                .unit = usd ? GRANT_USD : GRANT_CREDIT,
                .amount = read_int(r, json, "amount"),
                .priority = read_int(r, json, "priority"),
                .from = read_day(r, json, "from"),
                .expires = json_get(json, "expires") ? read_day(r, json, "expires") : DAY_END,
                .carried = read_bool(r, json, "carried", false),
            },
        .balance = read_int(r, json, "balance"),
    };
}

static void *room_for(Reader *r, const Json *array, const char *name, size_t each)
{
    if (!json_is_array(array)) r->wrong = name;
    return arena_alloc(r->arena, (json_count(array) + 1) * each);
}

// rate() walks the segments by day: they must cover the period without a gap.
static bool covers(const RateInput *in)
{
    Day at = period_first(in->period);
    for (size_t i = 0; i < in->segments; i++) {
        const RateSegment *segment = &in->segment[i];
        if (segment->from.days != at.days || segment->to.days <= at.days) return false;
        at = segment->to;
    }
    return at.days == period_end(in->period).days;
}

static void read_all(Reader *r, const Json *json, RateInput *out);

// What an adjusted period was rated from has no adjustments of its own.
static RateAdjustment read_adjustment(Reader *r, const Json *json)
{
    RateInput *rated = arena_alloc(r->arena, sizeof *rated);
    *rated = (RateInput){0};
    RateAdjustment adjustment = {.period = read_period(r, json),
                                 .amount = {read_int(r, json, "cents")},
                                 .charged = {read_int(r, json, "charged_cents")},
                                 .due = {read_int(r, json, "due_cents")},
                                 .rated = rated};
    const Json *inner = json_get(json, "rated");
    if (!inner || json_count(json_get(inner, "adjustments")) > 0) r->wrong = "rated";
    else read_all(r, inner, rated);
    if (!r->wrong && !covers(rated)) r->wrong = "rated";
    return adjustment;
}

static void read_all(Reader *r, const Json *json, RateInput *out)
{
    out->period = read_period(r, json);
    if (json_get(json, "horizon")) out->horizon = read_instant(r, json, "horizon");
    out->tax_rate_bps = read_int(r, json, "tax_rate_bps");
    const Json *array = json_get(json, "segments");
    out->segment = room_for(r, array, "segments", sizeof *out->segment);
    for (const Json *e = json_first(array); e; e = json_next(e))
        out->segment[out->segments++] = read_segment(r, e);
    array = json_get(json, "usage");
    out->usage = room_for(r, array, "usage", sizeof *out->usage);
    for (const Json *e = json_first(array); e; e = json_next(e))
        out->usage[out->usages++] = read_usage(r, e);
    array = json_get(json, "grants");
    out->grant = room_for(r, array, "grants", sizeof *out->grant);
    for (const Json *e = json_first(array); e; e = json_next(e))
        out->grant[out->grants++] = read_grant(r, e);
    array = json_get(json, "adjustments");
    out->adjustment = room_for(r, array, "adjustments", sizeof *out->adjustment);
    for (const Json *e = json_first(array); e; e = json_next(e))
        out->adjustment[out->adjustments++] = read_adjustment(r, e);
}

Status inputs_parse(Str json, Arena *arena, RateInput *out, Error *error)
{
    OWNED_JSON Json *tree = NULL;
    Status status = json_parse(json, JSON_FILE_BYTES_MAX, &tree, error);
    if (status != ST_OK) return error_set(error, ST_FATAL, "kept inputs are not JSON");
    *out = (RateInput){0};
    Reader reader = {.arena = arena};
    read_all(&reader, tree, out);
    if (!reader.wrong && !covers(out)) reader.wrong = "segments";
    if (reader.wrong)
        return error_set(error, ST_FATAL, "kept inputs: \"%s\" is not what it should be",
                         reader.wrong);
    return ST_OK;
}
