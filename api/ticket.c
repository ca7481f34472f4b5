// SPDX-License-Identifier: Apache-2.0
#include "api/ticket.h"

// ---- lists ----
void list_remove(List *list, Ticket *ticket)
{
    Link *link = &ticket->link[list->kind];
    if (link->before) link->before->link[list->kind].after = link->after;
    else list->first = link->after;
    if (link->after) link->after->link[list->kind].before = link->before;
    else list->last = link->before;
    *link = (Link){0};
    list->count--;
}

void list_add(List *list, Ticket *before, Ticket *ticket)
{
    ListKind kind = list->kind;
    Ticket *after = before ? before->link[kind].after : list->first;
    ticket->link[kind] = (Link){.before = before, .after = after};
    *(before ? &before->link[kind].after : &list->first) = ticket;
    *(after ? &after->link[kind].before : &list->last) = ticket;
    list->count++;
}

// ---- tickets ----
Ticket *ticket_new(Call *call, const Ask *ask, bool credits, AskFn answer)
{
    const Str *given[] = {&ask->account, &ask->vm, &ask->size, &ask->reservation, &ask->reason};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) bytes += given[i]->n;
    Ticket *ticket = mem_alloc(sizeof *ticket + bytes);
    ticket->call = call;
    ticket->credits = credits;
    ticket->answer = answer;
    ticket->ask = *ask;
    Str *own[] = {&ticket->ask.account, &ticket->ask.vm, &ticket->ask.size,
                  &ticket->ask.reservation, &ticket->ask.reason};
    char *place = ticket->texts;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (str_absent(*own[i])) continue;
        memcpy(place, own[i]->p, own[i]->n);
        own[i]->p = place;
        place += own[i]->n;
    }
    return ticket;
}

void ticket_place(Ticket *ticket, List *place)
{
    ticket->place = place;
    ticket->reckoning = false;
    list_add(place, place->last, ticket);
}

void ticket_take(Ticket *ticket)
{
    list_remove(ticket->place, ticket);
    ticket->place = NULL;
}
