// SPDX-License-Identifier: Apache-2.0
// billing/inputs: a RateInput as the compact JSON that each invoice keeps, and back. What is
// written here is all that is needed to rate the invoice again; docs/invoices.md describes the
// members.
#pragma once

#include "billing/rate.h"

// Appends the object.
void inputs_write(const RateInput *in, Buf *out);
// Reads one back; all of it lives in `arena`. ST_FATAL where it is not what inputs_write wrote.
Status inputs_parse(Str json, Arena *arena, RateInput *out, Error *error) MUST_USE;
