// SPDX-License-Identifier: Apache-2.0
// cli/options: a command's options as a table, read with getopt_long; --help is printed from the
// same table. A flag wins over its environment variable. Bad usage ends in exit status 2 with a
// message that names the option, its value and what was expected.
#pragma once

#include "base/text.h"
#include "base/time.h"

typedef enum OptionKind {
    OPTION_FLAG,    // bool
    OPTION_TEXT,    // const char *
    OPTION_INT,     // int64_t, 0 or more
    OPTION_DAY,     // Day
    OPTION_PERIOD,  // Period
    OPTION_INSTANT, // Instant: RFC 3339, or a date, which is its midnight
    OPTION_CHOICE,  // int: the index in `choices`, a list separated by '|'
    OPTION_REPEAT,  // OptionList: may be given several times
} OptionKind;

enum { OPTION_REPEAT_MAX = 64 };
typedef struct OptionList {
    int count;
    const char *text[OPTION_REPEAT_MAX];
} OptionList;

typedef struct Option {
    const char *name; // "period": given as --period
    OptionKind kind;
    void *target; // written where the option is given; what stands there before is the default
    bool *given;  // may be NULL
    const char *argument; // "YYYY-MM", shown by --help
    const char *help;
    const char *environment; // variable that stands in, or NULL
    const char *choices;     // "json|csv|table"
    bool required;
} Option;

// The rows of every command that writes or reads notices on Kafka.
#define OPTION_BROKERS(target_, help_)                                                             \
    {                                                                                              \
        "brokers", OPTION_TEXT, target_, .argument = "HOST:PORT,...", .help = help_,               \
                                         .environment = "TALLY_KAFKA_BROKERS"                      \
    }
#define OPTION_KAFKA(target_)                                                                      \
    {                                                                                              \
        "kafka-option", OPTION_REPEAT, target_,                                                    \
            .argument = "NAME=VALUE",                                                              \
            .help = "librdkafka's own option (TLS, SASL, ...), may be given several times"         \
    }
#define OPTION_NOTICES_TOPIC(target_)                                                              \
    {                                                                                              \
        "notices-topic", OPTION_TEXT, target_,                                                     \
            .argument = "NAME", .help = "topic of the notices (default tally.notices)",            \
            .environment = "TALLY_NOTICES_TOPIC"                                                   \
    }

typedef struct Usage {
    const char *command;   // "tally invoices close"
    const char *arguments; // "ACCOUNT", or ""
    const char *summary;   // a sentence
    int arguments_min, arguments_max;
} Usage;

// Parses argv (argv[0] is the command's last word). Options end with a NULL name; those every
// command has (--database) are added. On OK, positional arguments are *arguments, *count of them.
// --help prints to stdout and exits 0.
Status options_parse(const Usage *usage, const Option *options, int argc, char **argv,
                     char ***arguments, int *count, Error *error) MUST_USE;
// --database, else TALLY_DATABASE_URL, else NULL (libpq's own variables).
const char *options_database(void);
