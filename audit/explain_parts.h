// SPDX-License-Identifier: Apache-2.0
// audit/explain_parts: what the files of audit/explain share. Nothing outside the room includes it.
#pragma once

#include "audit/explain.h"
#include "meter/minutes.h"

// ---- what is explained ----

// What a period was rated from, when an invoice charged or adjusted it.
typedef struct Basis {
    Period period;
    int64_t place, voided_place; // in the chain; voided_place 0: it stands
    Str number;
    bool own; // of the period's own invoice
    RateInput in;
} Basis;

// A day and size of which a period's adjustment saw more or less use than what was charged before.
typedef struct Change {
    Day day;
    Str size;
    int64_t minutes, minutes_before;
    CreditMinutes cm, cm_before;
} Change;

typedef struct Adjusted {
    const RateAdjustment *of;
    Rating rating;        // of what was known then
    const Basis *before;  // NULL: nothing was charged for the period until then
    Rating before_rating; // where there is `before`
    Change *change;       // by day and size
    size_t changes;
} Adjusted;

// A period, the days of it whose runs are shown, and their minutes by day and size: as the invoice
// was rated from, and as the runs make up.
typedef int64_t DayCells[RATE_DAYS_MAX][CATALOG_SIZES_MAX];
typedef struct Scope {
    Period period;
    uint32_t days; // a bit for each day from the first
    DayCells *kept, *made;
} Scope;

struct Explained {
    const Catalog *catalog;
    Arena *arena;
    Invoice invoice;
    RateInput in;
    Rating rating;
    int64_t place; // a credit note: of the invoice that it takes back
    Instant horizon;
    int64_t catalog_revision, account_revision;
    Instant catalog_applied, account_applied;
    size_t bases, adjustments, scopes;
    Basis *basis; // by place, standing or not
    Adjusted *adjusted;
    Scope *scope; // by period; the invoice's own is among them
};

// The scope that shows this day, or NULL.
Scope *explain_scope(const Explained *x, Day day);

// Minutes of the invoice and of the runs that differ.
typedef struct Difference {
    Day day;
    Str size;
    int64_t kept, made;
    Str settled_by; // the later invoice that was rated from what the runs make up; absent:
                    // none, as no amount changed, or none yet
} Difference;
typedef void (*DifferenceFn)(void *context, const Difference *difference);
// By day and size; returns their number. `each` may be NULL.
size_t explain_differences(const Explained *x, DifferenceFn each, void *context);

// ---- runs ----
typedef enum Did {
    DID_OPEN,    // opened a run
    DID_REOPEN,  // found a lost VM again
    DID_END,     // ended the run
    DID_RESIZE,  // changed its size
    DID_PROVE,   // proved that it lived
    DID_FORGET,  // ended the wait for a lost VM
    DID_NOTHING, // see `why`
} Did;
const char *did_name(Did did);

typedef struct Place { // where an event stands
    Str topic, file;   // one of them is absent
    int64_t partition, position;
} Place;

typedef struct Told {
    Event event; // EVENT_UNKNOWN: a conflict, of which only time and place are known
    Place place;
    bool retracted;
    Str by_source, by_id; // what retracted it
    Instant by_at;
    Place by_place;
    Did did;
    Str why; // DID_NOTHING: completes "did nothing: "
} Told;

typedef struct RunCell { // minutes of a run on a day that is shown
    Day day;
    SizeNo size;
    int64_t minutes;
    CreditMinutes cm;
} RunCell;

typedef struct Entry {
    Str vm;
    const Run *run; // absent until the run has ended; ENDED_NOT: open at the horizon
    bool is_run;    // else events of no run
    Instant start;
    Str name;
    const RunCell *cell; // by day and size
    size_t cells;
    int64_t heartbeats_elsewhere; // on days that are not shown: only counted
} Entry;

// Who writes. An entry's events come between begin and end, in order of effect. An event that ends
// a run and opens the next comes in both.
typedef struct Teller {
    void (*begin)(void *context, const Entry *entry);
    void (*event)(void *context, const Told *told);
    void (*end)(void *context, const Entry *entry);
    void (*drop)(void *context); // the entry that ended last is not to be shown after all
    // Called now and then. What was said may be written where `certain`.
    Status (*pause)(void *context, bool certain, Error *error);
    void *context;
} Teller;

// Every run that lies on shown days, by VM and start, with its events; the shown days' events that
// belong to no run, and the run before them, which tells why. Fills the scopes' `made`.
Status explain_runs(Db *db, Explained *x, const Teller *teller, Error *error) MUST_USE;

// ---- numbers ----
enum { EXACT_TEXT = 64, EXACT_PLACES = 12 };
// numerator / denominator (above 0) as a decimal without trailing zeros, cut after EXACT_PLACES;
// *cut tells whether it was (may be NULL).
char *exact_format(Wide numerator, Wide denominator, char out[static EXACT_TEXT], bool *cut);
// A line's amount before rounding, in dollars, as numerator / denominator; false where its kind has
// no product.
bool line_product(const RateInput *in, const Rating *rating, const Line *line, Wide *numerator,
                  Wide *denominator);
// The segment whose line this is.
const RateSegment *line_segment(const RateInput *in, const Line *line);
int64_t segment_days(const RateSegment *segment);
int64_t period_days(Period period);
// The sum of a rating's days in one segment.
RateDay segment_sums(const RateInput *in, const Rating *rating, const RateSegment *segment);
// The sum of the lines before `line`.
Cents lines_before(const Rating *rating, const Line *line);
// What the terms' minimum comes to.
Cents minimum_of(const RateInput *in);
