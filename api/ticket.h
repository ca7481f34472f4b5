// SPDX-License-Identifier: Apache-2.0
// api/ticket: one ask at the desk, and the lists that it stands in. No locks: they are the desk's.
#pragma once

#include "api/desk.h"

typedef struct Ticket Ticket;
typedef struct Lane Lane;
typedef struct Link {
    Ticket *before, *after;
} Link;
typedef enum ListKind { BY_AGE, BY_PLACE, LIST_KINDS } ListKind;
typedef struct List {
    ListKind kind;
    Ticket *first, *last;
    int64_t count;
} List;

struct Ticket {
    Link link[LIST_KINDS];
    Lane *lane;     // its account's
    List *place;    // queue or credits; NULL: taken
    bool aged;      // in ages: not answered yet
    bool reckoning; // its account's credits are being reckoned, since after it came
    bool credits;   // as told to desk_ask
    int64_t late_ms;
    Call *call;
    AskFn answer;
    Ask ask;
    char texts[]; // the ask's
};

void list_remove(List *list, Ticket *ticket);
// Behind `before`, or first where that is NULL.
void list_add(List *list, Ticket *before, Ticket *ticket);

// Owned by the caller (free); the ask's texts are copied.
Ticket *ticket_new(Call *call, const Ask *ask, bool credits, AskFn answer);
void ticket_place(Ticket *ticket, List *place); // last
void ticket_take(Ticket *ticket);
