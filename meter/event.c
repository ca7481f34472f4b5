// SPDX-License-Identifier: Apache-2.0
#include "meter/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

const char *dead_reason_name(DeadReason reason)
{
    static const char *const names[DEAD_REASONS] = {
        "none",         "malformed", "invalid",  "unknown_type", "unknown_account",
        "unknown_size", "future",    "conflict", "rejected"};
    return names[reason];
}

// By EventType; behind those that are metered, those that are only counted.
static const char *const TYPES[] = {"vm.started", "vm.resized",    "vm.heartbeat", "vm.hibernated",
                                    "vm.stopped", "vm.retracted",  "vm.created",   "vm.deleted",
                                    "vm.forked",  "vm.snapshotted"};

const char *event_type_name(EventType type)
{
    return type < EVENT_NOT_METERED ? TYPES[type] : NULL;
}

const char *bootup_name(Bootup bootup)
{
    static const char *const names[] = {"CLEAN", "FORK", "RESUME", "RUNNING"};
    return bootup <= BOOTUP_RUNNING ? names[bootup] : "?";
}

// ---- decoding ----
typedef struct Decoder {
    Arena *arena;
    Event *event;
    Str *detail;
} Decoder;

static DeadReason PRINTF(3, 4) dead(Decoder *d, DeadReason reason, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *d->detail = arena_copy(d->arena, (Str){text, n < 0 ? 0 : strnlen(text, sizeof text)});
    // A long value may have been cut inside a character.
    while (d->detail->n > 0 && !str_is_utf8(*d->detail)) d->detail->n--;
    return reason;
}

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        DeadReason check_reason_ = (expression);                                                   \
        if (check_reason_ != DEAD_NOT) return check_reason_;                                       \
    } while (0)

static DeadReason wrong(Decoder *d, const char *where, const Json *json, const char *expected)
{
    if (!json) return dead(d, DEAD_INVALID, "%s is missing: expected %s", where, expected);
    OWNED_BUF Buf value = {0};
    json_print(json, &value);
    return dead(d, DEAD_INVALID, "%s is %.200s: expected %s", where, value.p, expected);
}

// Optional non-empty text (or any text, where `empty` may be).
static DeadReason take_text(Decoder *d, const Json *object, const char *name, bool empty,
                            bool required, Str *out)
{
    const Json *json = json_get(object, name);
    Str text;
    if (!json && !required) return DEAD_NOT;
    if (!json_text(json, &text) || (!empty && text.n == 0))
        return wrong(d, name, json, empty ? "text" : "text that is not empty");
    *out = arena_copy(d->arena, text);
    return DEAD_NOT;
}

static DeadReason take_positive(Decoder *d, const Json *data, const char *name, int64_t multiple,
                                int64_t *out)
{
    const Json *json = json_get(data, name);
    if (!json) return DEAD_NOT;
    if (!json_integer(json, out) || *out <= 0 || *out % multiple != 0)
        return wrong(d, name, json,
                     multiple > 1 ? "a positive multiple of 250" : "a positive integer");
    return DEAD_NOT;
}

static DeadReason take_size(Decoder *d, const Json *data)
{
    Event *event = d->event;
    CHECK(take_text(d, data, "size", true, false, &event->size));
    CHECK(take_positive(d, data, "millicpu", 250, &event->millicpu));
    CHECK(take_positive(d, data, "memory_bytes", 1, &event->memory_bytes));
    if (str_absent(event->size) && (!event->millicpu || !event->memory_bytes))
        return dead(d, DEAD_INVALID,
                    "size is missing: expected size, or millicpu and memory_bytes");
    for (size_t i = 0; i < event->size.n; i++) { // the arena's copy is ours to change
        char *c = (char *)event->size.p + i;
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    }
    return DEAD_NOT;
}

static DeadReason take_bootup(Decoder *d, const Json *data)
{
    const Json *json = json_get(data, "bootup");
    if (!json) return DEAD_NOT;
    Str text;
    if (json_text(json, &text))
        for (Bootup bootup = BOOTUP_CLEAN; bootup <= BOOTUP_RUNNING; bootup++)
            if (str_is(text, bootup_name(bootup))) {
                d->event->bootup = bootup;
                return DEAD_NOT;
            }
    return wrong(d, "bootup", json, "FORK, CLEAN, RESUME or RUNNING");
}

static DeadReason take_data(Decoder *d, const Json *data)
{
    Event *event = d->event;
    switch (event->type) {
    case EVENT_STARTED:
        CHECK(take_size(d, data));
        CHECK(take_bootup(d, data));
        CHECK(take_text(d, data, "reservation", false, false, &event->reservation));
        return take_text(d, data, "run", false, false, &event->run);
    case EVENT_RESIZED:
        CHECK(take_size(d, data));
        return take_text(d, data, "run", false, false, &event->run);
    case EVENT_HEARTBEAT: return take_text(d, data, "run", false, false, &event->run);
    case EVENT_HIBERNATED:
    case EVENT_STOPPED:
        CHECK(take_text(d, data, "reason", true, false, &event->reason));
        return take_text(d, data, "run", false, false, &event->run);
    case EVENT_RETRACTED:
        CHECK(take_text(d, data, "source", false, true, &event->target_source));
        return take_text(d, data, "id", false, true, &event->target_id);
    case EVENT_NOT_METERED:
    case EVENT_UNKNOWN: break;
    }
    return DEAD_NOT;
}

// The type's name without a prefix that ends with '.' and a version ".v" + digits.
static EventType type_of(Str type)
{
    size_t digits = 0;
    while (digits < type.n && type.p[type.n - 1 - digits] >= '0' &&
           type.p[type.n - 1 - digits] <= '9')
        digits++;
    if (digits > 0 && type.n >= digits + 2 && memcmp(type.p + type.n - digits - 2, ".v", 2) == 0)
        type.n -= digits + 2;
    for (int i = 0; i < (int)(sizeof TYPES / sizeof *TYPES); i++) {
        size_t n = strlen(TYPES[i]);
        if (type.n < n || memcmp(type.p + type.n - n, TYPES[i], n) != 0) continue;
        if (type.n != n && type.p[type.n - n - 1] != '.') continue;
        return i < EVENT_NOT_METERED ? (EventType)i : EVENT_NOT_METERED;
    }
    return EVENT_UNKNOWN;
}

// The envelope's members by name, wherever they stand: the JSON's top object, or ce_* headers.
typedef struct Envelope {
    Str specversion, id, source, type, subject, time, sequence;
} Envelope;

static DeadReason take_envelope(Decoder *d, const Envelope *envelope)
{
    Event *event = d->event;
    if (str_is_id(envelope->subject)) event->vm = envelope->subject; // whatever else may be wrong
    const struct {
        const char *name;
        Str value;
    } required[] = {{"specversion", envelope->specversion}, {"id", envelope->id},
                    {"source", envelope->source},           {"type", envelope->type},
                    {"subject", envelope->subject},         {"time", envelope->time}};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (required[i].value.n == 0)
            return dead(d, DEAD_INVALID, "%s is missing or empty", required[i].name);
    if (!str_is(envelope->specversion, "1.0"))
        return dead(d, DEAD_INVALID, "specversion is \"%.20s\": expected \"1.0\"",
                    envelope->specversion.p);
    if (!str_is_id(envelope->subject))
        return dead(d, DEAD_INVALID, "subject is \"%.80s\": expected 1-64 of A-Z a-z 0-9 . _ : -",
                    envelope->subject.p);
    if (!instant_parse(envelope->time, &event->at))
        return dead(d, DEAD_INVALID,
                    "time is \"%.80s\": expected RFC 3339 with seconds and zone, years 2000-2199",
                    envelope->time.p);
    if (!str_absent(envelope->sequence) && envelope->sequence.n == 0)
        return dead(d, DEAD_INVALID, "sequence is empty");
    event->id = envelope->id;
    event->source = envelope->source;
    event->vm = envelope->subject;
    event->sequence = envelope->sequence;
    event->type = type_of(envelope->type);
    return DEAD_NOT;
}

static DeadReason take_event(Decoder *d, const Envelope *envelope, const Json *data)
{
    const Json *account = json_is_object(data) ? json_get(data, "account") : NULL;
    Str id;
    bool named = json_text(account, &id) && str_is_id(id);
    if (named) d->event->account = arena_copy(d->arena, id);
    CHECK(take_envelope(d, envelope));
    if (!json_is_object(data)) return wrong(d, "data", data, "an object");
    if (!named) return wrong(d, "data.account", account, "1-64 of A-Z a-z 0-9 . _ : -");
    CHECK(take_data(d, data));
    if (d->event->type == EVENT_UNKNOWN)
        return dead(d, DEAD_UNKNOWN_TYPE,
                    "type \"%.200s\" is not one of vm.started, vm.resized, vm.heartbeat, "
                    "vm.hibernated, vm.stopped, vm.retracted, vm.created, ...",
                    envelope->type.p);
    return DEAD_NOT;
}

static DeadReason decode_structured(Decoder *d, const Json *top)
{
    Envelope envelope = {0};
    const struct {
        const char *name;
        Str *out;
    } members[] = {{"specversion", &envelope.specversion}, {"id", &envelope.id},
                   {"source", &envelope.source},           {"type", &envelope.type},
                   {"subject", &envelope.subject},         {"time", &envelope.time},
                   {"sequence", &envelope.sequence}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        bool optional = i == sizeof members / sizeof *members - 1;
        CHECK(take_text(d, top, members[i].name, optional, !optional, members[i].out));
    }
    return take_event(d, &envelope, json_get(top, "data"));
}

static DeadReason decode_binary(Decoder *d, const Message *message, const Json *data)
{
    Envelope envelope = {0};
    const struct {
        const char *name;
        Str *out;
    } members[] = {{"ce_specversion", &envelope.specversion}, {"ce_id", &envelope.id},
                   {"ce_source", &envelope.source},           {"ce_type", &envelope.type},
                   {"ce_subject", &envelope.subject},         {"ce_time", &envelope.time},
                   {"ce_sequence", &envelope.sequence}};
    for (int h = 0; h < message->headers; h++) {
        Header header = message->header[h];
        for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
            if (!str_is(header.name, members[i].name) || str_absent(header.value)) continue;
            if (!str_absent(*members[i].out))
                return dead(d, DEAD_MALFORMED, "the header %s stands twice", members[i].name);
            if (!str_is_utf8(header.value) || memchr(header.value.p, 0, header.value.n))
                return dead(d, DEAD_MALFORMED, "the header %s is not UTF-8, or has a NUL",
                            members[i].name);
            *members[i].out = arena_copy(d->arena, header.value);
        }
    }
    return take_event(d, &envelope, data);
}

// The Kafka binding's rule: a content-type that begins with application/cloudevents is structured
// mode, any other is binary; without the header, structured.
static bool is_binary(const Message *message)
{
    static const char structured[] = "application/cloudevents";
    for (int h = 0; h < message->headers; h++) {
        Header header = message->header[h];
        if (header.name.n != 12 || strncasecmp(header.name.p, "content-type", 12) != 0) continue;
        if (str_absent(header.value)) return false;
        size_t n = sizeof structured - 1;
        return header.value.n < n || strncasecmp(header.value.p, structured, n) != 0;
    }
    return false;
}

DeadReason event_decode(const Message *message, Arena *arena, Event *out, Str *detail)
{
    *out = (Event){0};
    *detail = (Str){0};
    Decoder d = {arena, out, detail};
    Error error;
    OWNED_JSON Json *json = NULL;
    Str value = str_absent(message->value) ? STR("") : message->value;
    if (json_parse(value, JSON_EVENT_BYTES_MAX, &json, &error) != ST_OK)
        return dead(&d, DEAD_MALFORMED, "%s", error.text);
    return is_binary(message) ? decode_binary(&d, message, json) : decode_structured(&d, json);
}

SizeNo event_size(const Event *event, const Catalog *catalog)
{
    const CatalogVersion *version = catalog_on(catalog, instant_day(event->at));
    if (str_absent(event->size))
        return catalog_size_for(catalog, version, event->millicpu, event->memory_bytes);
    SizeNo size = catalog_size(catalog, event->size);
    return size != SIZE_NONE && version->sizes[size].present ? size : SIZE_NONE;
}

bool event_same_content(const Event *a, const Event *b)
{
    return a->type == b->type && a->bootup == b->bootup && a->at.us == b->at.us &&
           str_equal(a->sequence, b->sequence) && str_equal(a->size, b->size) &&
           a->millicpu == b->millicpu && a->memory_bytes == b->memory_bytes &&
           str_equal(a->run, b->run) && str_equal(a->reservation, b->reservation) &&
           str_equal(a->reason, b->reason) && str_equal(a->target_source, b->target_source) &&
           str_equal(a->target_id, b->target_id);
}
