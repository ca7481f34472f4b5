// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <getopt.h>
#include <stdio.h>

// getopt's value of the first option: above all characters, which are short options.
enum { OPTIONS_MAX = 48, COLUMN = 30, FIRST_VALUE = 1000 };

static const char *database;
static bool help;
// What every command has, after its own.
static const Option COMMON[] = {
    {"database", OPTION_TEXT, &database, .argument = "URL", .environment = "TALLY_DATABASE_URL",
     .help = "PostgreSQL: postgresql://... or key=value pairs; else libpq's own variables"},
    {"help", OPTION_FLAG, &help, .help = "shows this"},
    {0},
};

const char *options_database(void) { return database; }

typedef struct Table {
    const Option *option[OPTIONS_MAX];
    struct option getopt[OPTIONS_MAX + 1];
    bool given[OPTIONS_MAX];
    int count;
} Table;

static void table_add(Table *table, const Option *options)
{
    for (; options->name; options++) {
        ASSERT(table->count < OPTIONS_MAX);
        bool flag = options->kind == OPTION_FLAG;
        table->getopt[table->count] = (struct option){options->name,
                                                      flag ? no_argument : required_argument, NULL,
                                                      FIRST_VALUE + table->count};
        table->option[table->count++] = options;
    }
}

// ---- help ----
static void print_usage(const Usage *usage)
{
    bool any = usage->arguments && *usage->arguments;
    printf("usage: %s%s%s [OPTIONS]\n\n%s\n\noptions:\n", usage->command, any ? " " : "",
           any ? usage->arguments : "", usage->summary);
}

static void print_option(const Option *option)
{
    char left[128];
    const char *argument = option->argument  ? option->argument
                           : option->choices ? option->choices
                                             : "";
    int n = snprintf(left, sizeof left, "  --%s%s%s", option->name, *argument ? " " : "", argument);
    printf("%-*s%s%s", COLUMN, left, n >= COLUMN ? "  " : "", option->help ? option->help : "");
    if (option->required) printf(" (required)");
    if (option->environment) printf(" [$%s]", option->environment);
    printf("\n");
}

static _Noreturn void print_help(const Usage *usage, const Table *table)
{
    print_usage(usage);
    for (int i = 0; i < table->count; i++) print_option(table->option[i]);
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    exit(written ? 0 : 1);
}

// ---- values ----
static bool read_choice(const char *choices, const char *text, int *out)
{
    size_t n = strlen(text);
    for (int i = 0; *choices; i++) {
        size_t length = strcspn(choices, "|");
        if (length == n && strncmp(choices, text, n) == 0) {
            *out = i;
            return true;
        }
        choices += length + (choices[length] == '|');
    }
    return false;
}

static bool read_count(Str text, int64_t *out)
{
    int64_t value;
    if (!text.p || !str_to_int(text, &value) || value < 0 || text.p[0] == '-') return false;
    *out = value;
    return true;
}

// Writes the target; false where the text is not of the option's kind. `text` is NULL for a flag.
static bool read_value(const Option *option, const char *text)
{
    switch (option->kind) {
    case OPTION_FLAG: *(bool *)option->target = true; return true;
    case OPTION_TEXT: *(const char **)option->target = text; return true;
    case OPTION_INT: return read_count(str(text), option->target);
    case OPTION_DAY: return day_parse(str(text), option->target);
    case OPTION_PERIOD: return period_parse(str(text), option->target);
    case OPTION_INSTANT: return instant_or_day_parse(str(text), option->target);
    case OPTION_CHOICE: return read_choice(option->choices, text, option->target);
    case OPTION_REPEAT: break;
    }
    OptionList *list = option->target;
    if (list->count == OPTION_REPEAT_MAX) return false;
    list->text[list->count++] = text;
    return true;
}

static const char *expected(const Option *option)
{
    switch (option->kind) {
    case OPTION_INT: return "a whole number, 0 or more";
    case OPTION_DAY: return "a date (YYYY-MM-DD)";
    case OPTION_PERIOD: return "a month (YYYY-MM)";
    case OPTION_INSTANT: return "a time (2026-10-03T12:34:56Z) or a date (YYYY-MM-DD)";
    case OPTION_CHOICE: return option->choices;
    case OPTION_REPEAT: return "fewer of these";
    default: return "text";
    }
}

static Status bad_usage(const Usage *usage, Error *error)
{
    error_hint(error, "see %s --help", usage->command);
    return ST_BAD_INPUT;
}

static Status take(const Usage *usage, Table *table, int i, const char *text, const char *from,
                   Error *error)
{
    const Option *option = table->option[i];
    if (!read_value(option, text)) {
        error_set(error, ST_BAD_INPUT, "%s: \"%.200s\" is not right; expected %s", from, text,
                  expected(option));
        return bad_usage(usage, error);
    }
    table->given[i] = true;
    return ST_OK;
}

// ---- parsing ----
// A flag's variable counts where it holds anything but "", "0" and "false".
static Status take_environment(const Usage *usage, Table *table, Error *error)
{
    for (int i = 0; i < table->count; i++) {
        const Option *option = table->option[i];
        const char *text = option->environment && !table->given[i] ? getenv(option->environment)
                                                                   : NULL;
        if (!text || !*text) continue;
        bool flag = option->kind == OPTION_FLAG;
        if (flag && (strcmp(text, "0") == 0 || strcmp(text, "false") == 0)) continue;
        TRY(take(usage, table, i, flag ? NULL : text, option->environment, error));
    }
    return ST_OK;
}

static Status take_flags(const Usage *usage, Table *table, int argc, char **argv, Error *error)
{
    opterr = 0;
    optind = 0; // begins anew, permutation and all
    for (;;) {
        int got = getopt_long(argc, argv, ":h", table->getopt, NULL);
        if (got == -1) return ST_OK;
        if (got == 'h') {
            help = true;
            continue;
        }
        if (got == '?' || got == ':') {
            const char letter[] = {'-', (char)optopt, '\0'};
            const char *typed = optopt > 0 && optopt < FIRST_VALUE ? letter : argv[optind - 1];
            const char *what = got == ':' ? "needs a value" : "is not an option of this command";
            error_set(error, ST_BAD_INPUT, "%.200s %s", typed, what);
            return bad_usage(usage, error);
        }
        int i = got - FIRST_VALUE;
        char from[80];
        snprintf(from, sizeof from, "--%s", table->option[i]->name);
        TRY(take(usage, table, i, optarg, from, error));
    }
}

static Status check_given(const Usage *usage, const Table *table, int count, char **arguments,
                          Error *error)
{
    for (int i = 0; i < table->count; i++) {
        if (table->option[i]->given) *table->option[i]->given = table->given[i];
        if (!table->option[i]->required || table->given[i]) continue;
        error_set(error, ST_BAD_INPUT, "--%s is missing", table->option[i]->name);
        return bad_usage(usage, error);
    }
    if (count < usage->arguments_min)
        error_set(error, ST_BAD_INPUT, "%s is missing", usage->arguments);
    else if (count > usage->arguments_max)
        error_set(error, ST_BAD_INPUT, "\"%.200s\" is one argument too many",
                  arguments[usage->arguments_max]);
    else return ST_OK;
    return bad_usage(usage, error);
}

Status options_parse(const Usage *usage, const Option *options, int argc, char **argv,
                     char ***arguments, int *count, Error *error)
{
    Table table = {0};
    database = NULL;
    help = false;
    table_add(&table, options);
    table_add(&table, COMMON);
    TRY(take_flags(usage, &table, argc, argv, error));
    if (help) print_help(usage, &table);
    TRY(take_environment(usage, &table, error));
    *arguments = argv + optind;
    *count = argc - optind;
    return check_given(usage, &table, *count, *arguments, error);
}
