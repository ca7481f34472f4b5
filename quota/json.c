// SPDX-License-Identifier: Apache-2.0
// quota/json: reservations and an account's quota, as the service and the command line show them.
#include "quota/quota.h"

#include <inttypes.h>
#include <stdio.h>

enum { E4 = 10000 };

void credits_e4_format(int64_t e4, char out[static AMOUNT_TEXT])
{
    uint64_t size = e4 < 0 ? 0 - (uint64_t)e4 : (uint64_t)e4;
    int n = snprintf(out, AMOUNT_TEXT, "%s%" PRIu64 ".%04" PRIu64, e4 < 0 ? "-" : "", size / E4,
                     size % E4);
    ASSERT(n > 0 && n < AMOUNT_TEXT);
}

static void instant_or_null(JsonWriter *w, const char *name, bool given, Instant at)
{
    char text[INSTANT_TEXT];
    if (given) jw_text(w, name, instant_format(at, text));
    else jw_null(w, name);
}

static void count_or_null(JsonWriter *w, const char *name, bool given, int64_t count)
{
    if (given) jw_int(w, name, count);
    else jw_null(w, name);
}

// Slots may be in use beyond the limit: then none is available.
static void slots_json(JsonWriter *w, const Ask *ask)
{
    int64_t in_use = ask->running + ask->reserved;
    int64_t available = ask->limit > in_use ? ask->limit - in_use : 0;
    jw_int(w, "in_use", in_use);
    count_or_null(w, "available", ask->limit >= 0, available);
}

void ask_json(const Ask *ask, Buf *out)
{
    JsonWriter w = {.out = out};
    jw_begin_object(&w, NULL);
    jw_str(&w, "id", ask->has_reservation ? str(ask->id) : (Str){NULL, 0});
    jw_str(&w, "account", ask->account);
    jw_str(&w, "vm", ask->vm);
    jw_text(&w, "size", ask->size_name);
    jw_text(&w, "state", ask->runs ? "running" : "reserved");
    instant_or_null(&w, "reserved_at", ask->has_reservation, ask->reserved_at);
    instant_or_null(&w, "expires_at", ask->has_reservation, ask->expires_at);
    count_or_null(&w, "limit", ask->limit >= 0, ask->limit);
    slots_json(&w, ask);
    count_or_null(&w, "max_session_minutes", ask->max_session_minutes >= 0,
                  ask->max_session_minutes);
    bool runs_out = ask->overage_deny && ask->has_credits && ask->credits.runs_out;
    instant_or_null(&w, "credits_run_out_at", runs_out, ask->credits.run_out_at);
    jw_end_object(&w);
}

static void credits_object(JsonWriter *w, const Credits *credits)
{
    char text[AMOUNT_TEXT];
    jw_begin_object(w, "credits");
    credits_e4_format(credits->remaining_e4, text);
    jw_text(w, "remaining", text);
    credits_e4_format(credits->per_hour * E4, text);
    jw_text(w, "per_hour_now", text);
    instant_or_null(w, "run_out_at", credits->runs_out, credits->run_out_at);
    jw_end_object(w);
}

void quota_json(const Ask *ask, const Credits *credits, Buf *out)
{
    JsonWriter w = {.out = out};
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", ask->account);
    jw_str(&w, "plan", ask->plan[0] ? str(ask->plan) : (Str){NULL, 0});
    count_or_null(&w, "limit", ask->limit >= 0, ask->limit);
    jw_int(&w, "running", ask->running);
    jw_int(&w, "reserved", ask->reserved);
    slots_json(&w, ask);
    jw_bool(&w, "can_start", ask->reasons == 0 && !ask->catching_up);
    jw_begin_array(&w, "reasons");
    for (unsigned bit = 0; bit < DENIALS; bit++)
        if (ask->reasons & (1U << bit)) jw_text(&w, NULL, denial_name((Denial)(1U << bit)));
    if (ask->catching_up) jw_text(&w, NULL, "catching-up");
    jw_end_array(&w);
    if (credits) credits_object(&w, credits);
    else jw_null(&w, "credits");
    jw_end_object(&w);
}
