// SPDX-License-Identifier: Apache-2.0
// catalog/read: members of a JSON file into values, by tables. Whatever is missing, unknown or of
// another form is named by its path, with its value and what was expected. In these files null is a
// value like any other, right where a kind says so: a typo in a file about money must not pass for
// "not given".
#pragma once

#include "base/json.h"
#include "catalog/catalog.h"

// A value in the file and where it stands.
typedef struct Node {
    const Json *json;
    const struct Node *above; // NULL at the top; outlives this one
    size_t place;             // from 0, where `above` is an array
    Arena *arena;             // for what is kept of the file; NULL where nothing is
    Error *error;
} Node;

// How one kind of value is read: false where the value is of another form.
typedef struct Kind {
    bool (*read)(const Node *node, void *target);
    const char *expected; // completes "... is not "
} Kind;

typedef struct Member {
    const char *name;
    const Kind *kind;
    void *target; // of the type that the kind names below
    bool required;
    bool *given; // may be NULL
} Member;

// Reads an object's members; targets of those that are not there stay as they are.
Status node_members(const Node *object, const Member *members, size_t count) MUST_USE;
// The same where all of an object's members are of one kind and their names free: one at a time.
// for (Node e = node_first(x); e.json; e = node_next(&e))
Node node_first(const Node *container);
Node node_next(const Node *element);
// "versions[1].from: " and the message; ST_BAD_INPUT.
Status node_bad(const Node *node, const char *format, ...) PRINTF(2, 3) MUST_USE;
// "versions[1].from: "2026-13-01" is not <expected>"
Status node_is_not(const Node *node, const char *expected) MUST_USE;

extern const Kind KIND_OBJECT;       // Node
extern const Kind KIND_ARRAY;        // Node
extern const Kind KIND_TEXT;         // Node
extern const Kind KIND_DAY;          // Day
extern const Kind KIND_CENTS;        // Cents, 0 or more
extern const Kind KIND_ALLOWANCE;    // CreditMinutes, from whole credits
extern const Kind KIND_CONCURRENCY;  // int64_t; null is TERM_NONE
extern const Kind KIND_SESSION;      // int64_t, minutes; null is TERM_NONE
extern const Kind KIND_OVERAGE;      // bool: deny
extern const Kind KIND_DISCOUNT_BPS; // int64_t
extern const Kind KIND_TAX_BPS;      // int64_t
extern const Kind KIND_PRIORITY;     // int64_t
extern const Kind KIND_BOOL;         // bool
extern const Kind KIND_ID;           // Str
extern const Kind KIND_PLAN;         // Str; null is absent
extern const Kind KIND_NAME;         // Str
extern const Kind KIND_UNIT;         // GrantUnit
extern const Kind KIND_PRICE;        // Price
extern const Kind KIND_TIMEOUT;      // int64_t, microseconds, from seconds
extern const Kind KIND_RATE;         // int32_t
extern const Kind KIND_VCPUS;        // int64_t, millicpu
extern const Kind KIND_MEMORY_GIB;   // int64_t, bytes

// The members that a plan and a subscription's overrides share; `given` is NULL for a plan, which
// must say its concurrency limit (a forgotten one would be no limit).
enum { TERMS_MEMBERS = 8 };
void terms_members(Terms *terms, Overrides *given, Member members[static TERMS_MEMBERS]);
// What a plan that says nothing has.
Terms terms_default(void);
