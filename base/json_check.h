// SPDX-License-Identifier: Apache-2.0
// base/json_check: the strict scan behind json_parse; see base/json.h for what it refuses.
#pragma once

#include "base/json.h"

typedef struct JsonNumbers {
    size_t count;      // numbers in the text
    size_t fractional; // of those, written with a fraction or an exponent
    size_t longest;    // bytes of the longest
} JsonNumbers;

Status json_check(Str text, JsonNumbers *numbers, Error *error) MUST_USE;
