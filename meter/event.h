// SPDX-License-Identifier: Apache-2.0
// meter/event: bytes become events. Decoding is pure: a message in, an event or the reason why not
// out. Knows CloudEvents in structured and binary mode, and the vm.* types; never Kafka or the
// database.
#pragma once

#include "base/json.h"
#include "base/time.h"
#include "catalog/catalog.h"

typedef enum EventType {
    EVENT_STARTED = 0,
    EVENT_RESIZED = 1,
    EVENT_HEARTBEAT = 2,
    EVENT_HIBERNATED = 3,
    EVENT_STOPPED = 4,
    EVENT_RETRACTED = 5,
    EVENT_NOT_METERED, // created, deleted, forked, snapshotted: counted, nothing else
    EVENT_UNKNOWN,
} EventType;

// "vm.started"; NULL for what is not metered.
const char *event_type_name(EventType type);

typedef enum Bootup {
    BOOTUP_CLEAN = 0,
    BOOTUP_FORK = 1,
    BOOTUP_RESUME = 2,
    BOOTUP_RUNNING = 3
} Bootup;
const char *bootup_name(Bootup bootup); // "FORK"; "?": there is no such

// Why a message cannot be metered; of several reasons the first in this order counts.
typedef enum DeadReason {
    DEAD_NOT = 0,
    DEAD_MALFORMED,
    DEAD_INVALID,
    DEAD_UNKNOWN_TYPE,
    DEAD_UNKNOWN_ACCOUNT,
    DEAD_UNKNOWN_SIZE,
    DEAD_FUTURE,
    DEAD_CONFLICT,
    DEAD_REJECTED,
} DeadReason;
enum { DEAD_REASONS = DEAD_REJECTED + 1 };
const char *dead_reason_name(DeadReason reason);

typedef struct Header {
    Str name, value; // value absent: null
} Header;

// What came in: the record of a partition, or a line of a file (value only).
typedef struct Message {
    Str key, value; // absent: null
    int headers;
    const Header *header;
} Message;

// One event. Texts are borrowed from the arena it was decoded into; absent ones have p == NULL.
typedef struct Event {
    Str account, vm, source, id; // identity: (source, id) within (account, vm)
    EventType type;
    Bootup bootup;
    Instant at;
    Str sequence;
    Str size;                       // lower case
    int64_t millicpu, memory_bytes; // 0: absent
    Str run, reservation, reason;
    Str target_source, target_id; // retracted
    int32_t origin;               // where it stands
    int64_t position;
} Event;

// Decodes and checks what can be checked without catalogue, accounts and clock: malformed, invalid,
// unknown_type. DEAD_NOT: *out is an event (perhaps EVENT_NOT_METERED). Else *detail says which
// field, and what was expected; as much of *out as was understood is filled. Everything lives in
// `arena`.
DeadReason event_decode(const Message *message, Arena *arena, Event *out, Str *detail);

// The size that a started or resized event names, in the catalogue version in force at its time;
// SIZE_NONE where there is none.
SizeNo event_size(const Event *event, const Catalog *catalog);
// Whether two events of one identity say the same.
bool event_same_content(const Event *a, const Event *b);
