// SPDX-License-Identifier: Apache-2.0
// meter/file: NDJSON to the Meter, one structured CloudEvent a line, by the same rules as Kafka.
// Where an event stands is the file's name and the line, from 1. Metering a file again finds its
// events repeated, and changes nothing.
#pragma once

#include "meter/meter.h"

#include <signal.h>

enum { LINE_BYTES_MAX = 64 * 1024 * 1024 }; // a longer line ends the command: it is no NDJSON

typedef struct FileConfig {
    const char *path; // "-": standard input
    const volatile sig_atomic_t *stop;
    void (*notice)(const char *text);
    void (*tick)(const Meter *meter, int64_t bytes_done,
                 int64_t bytes_all); // all is 0 where it is not known
} FileConfig;

// ST_BAD_INPUT where the file cannot be read. Lines with nothing but white space are passed over.
Status meter_file(Meter *meter, const FileConfig *config, Error *error) MUST_USE;
