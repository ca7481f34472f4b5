// SPDX-License-Identifier: Apache-2.0
// base/random: bytes that nobody can guess, from the system. Any thread.
#pragma once

#include <stddef.h>

// Fills `bytes`; ends the process where the system has none to give, which Linux never does once it
// is up (getrandom(2)).
void random_bytes(void *bytes, size_t n);
