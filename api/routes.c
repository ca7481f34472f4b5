// SPDX-License-Identifier: Apache-2.0
// What there is to ask for. Of patterns that fit the same path the first counts.
#include "api/api.h"

enum {
    WHO_ASKS_FOR_SLOTS = ROLE_ORCHESTRATOR,
    WHO_SEES_MONEY = ROLE_FINANCE | ROLE_CUSTOMER,
    WHO_SEES_SLOTS = WHO_ASKS_FOR_SLOTS | WHO_SEES_MONEY,
};

#define SLOT "/v1/quota/reservations/{account}/{vm}"
#define ACCOUNT "/v1/accounts/{account}"

const Route ROUTES[] = {
    {"POST", "/v1/quota/reservations", WHO_ASKS_FOR_SLOTS, AT_DESK, route_reserve, -1, true},
    {"GET", SLOT, WHO_ASKS_FOR_SLOTS, AT_DESK, route_reservation, 0, false},
    {"DELETE", SLOT, WHO_ASKS_FOR_SLOTS, AT_DESK, route_release, 0, false},
    {"GET", "/v1/accounts", ROLE_FINANCE, WITH_READER, route_accounts, -1, false},
    {"GET", ACCOUNT "/quota", WHO_SEES_SLOTS, AT_DESK, route_quota, 0, false},
    {"GET", ACCOUNT "/usage", WHO_SEES_MONEY, STREAMED_CSV, route_usage, 0, false},
    {"GET", ACCOUNT "/runs", WHO_SEES_MONEY, WITH_READER, route_runs, 0, false},
    {"GET", ACCOUNT "/credits", WHO_SEES_MONEY, WITH_READER, route_credits, 0, false},
    {"GET", ACCOUNT "/invoices", WHO_SEES_MONEY, WITH_READER, route_invoices, 0, false},
    {"GET", ACCOUNT "/invoices/upcoming", WHO_SEES_MONEY, WITH_READER, route_upcoming, 0, false},
    {"GET", "/v1/invoices/{number}.json", WHO_SEES_MONEY, WITH_READER, route_invoice, -1, false},
    {"GET", "/v1/invoices/{number}/explain", WHO_SEES_MONEY, STREAMED, route_explain, -1, false},
    {"GET", "/v1/invoices/{number}", WHO_SEES_MONEY, WITH_READER, route_invoice, -1, false},
    {"POST", "/v1/estimate", ROLE_ANYONE, WITH_READER, route_estimate, -1, true},
    {"GET", "/healthz", ROLE_ANYONE, AT_ONCE, route_healthz, -1, false},
    {"GET", "/readyz", ROLE_ANYONE, AT_ONCE, route_readyz, -1, false},
    {"GET", "/openapi.json", ROLE_ANYONE, AT_ONCE, route_openapi, -1, false},
    {0},
};
