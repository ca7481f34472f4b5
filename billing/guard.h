// SPDX-License-Identifier: Apache-2.0
// billing/guard: what is closed stays as it was rated, or is adjusted. Whoever saves accounts or a
// catalogue asks here, in the same transaction and after saving, whether the change reaches into
// closed periods.
#pragma once

#include "billing/rate.h"

// Rates every closed period of these accounts, which were just changed (in order of id; NULL: of
// all, the catalogue was), from the minutes and balances that its invoice keeps, on the terms
// before the change and on those that are stored now. ST_REFUSED, naming account, period and
// values, where anything comes out differently, or where the change takes a grant below what was
// drawn from it; unless `retroactive`. What is let through is marked, so that the next closing
// rates closed periods of these accounts anew; of a catalogue only where it says anything else of
// closed days. Waits for a batch of a running closing, which waits for the caller in turn.
Status billing_guard(Db *db, const Str *accounts, size_t n, bool retroactive, Error *error)
    MUST_USE;
