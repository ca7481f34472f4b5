// SPDX-License-Identifier: Apache-2.0
#include "billing/estimate.h"
#include "catalog/store.h"
#include "cli/cli.h"

#include <stdio.h>

static void add_line(Buf *out, const char *label, const char *sign, const char *amount)
{
    char grouped[AMOUNT_TEXT], signed_amount[AMOUNT_TEXT + 2];
    snprintf(signed_amount, sizeof signed_amount, "%s%s", sign, amount_group(amount, grouped));
    buf_addf(out, "%-20s %24s\n", label, signed_amount);
}

static void add_table(const Estimate *e, Buf *out)
{
    char text[AMOUNT_TEXT];
    add_line(out, "credits", "", credits_format(e->credits, text));
    add_line(out, "  included", "", credits_format(e->included, text));
    add_line(out, "  purchased", "", credits_format(e->purchased, text));
    add_line(out, "base fee", "$", cents_format(e->base, text));
    add_line(out, "usage", "$", cents_format(e->usage, text));
    if (e->minimum.cents) add_line(out, "monthly minimum", "$", cents_format(e->minimum, text));
    add_line(out, "total per month", "$", cents_format(e->total, text));
}

// Beside the data, not in it: what the estimate takes for granted.
static void tell_assumptions(Day on)
{
    char day[DAY_TEXT];
    fprintf(stderr,
            "note: for a whole month on the plan, at the prices in force on %s, without grants and "
            "tax;\n      hours are counted exactly, an invoice counts each begun minute\n",
            day_format(on, day));
}

Status cmd_estimate(int argc, char **argv, Error *error)
{
    static const Usage usage = {"tally estimate", "",
                                "Prints what a fleet would cost in one month, before grants and "
                                "tax.",
                                0, 0};
    const char *plan = NULL, *size = NULL, *hours = NULL;
    EstimateItem item = {.days = 30};
    Day on = instant_day(clock_now());
    int format = 0;
    const Option options[] = {
        {"plan", OPTION_TEXT, &plan, .argument = "PLAN", .help = "the plan, as in the catalogue",
         .required = true},
        {"size", OPTION_TEXT, &size, .argument = "SIZE", .help = "the VMs' size", .required = true},
        {"vms", OPTION_INT, &item.vms, .argument = "N", .help = "how many run", .required = true},
        {"hours", OPTION_TEXT, &hours, .argument = "H",
         .help = "hours a day that each runs, such as 3 or 2.5", .required = true},
        {"days", OPTION_INT, &item.days, .argument = "N",
         .help = "days of the month that they run (30)"},
        {"on", OPTION_DAY, &on, .argument = "DATE", .help = "by the prices in force then (today)"},
        {"format", OPTION_CHOICE, &format, .choices = "table|json",
         .help = "table (default) or JSON"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_DB Db *db = NULL;
    OWNED_CATALOG Catalog *catalog = NULL;
    TRY(cli_db(&db, error));
    TRY(catalog_load(db, &catalog, error));
    Estimate result;
    item.size = str(size);
    item.hours_per_day = str(hours);
    TRY(estimate(catalog, on, str(plan), &item, 1, &result, error));
    OWNED_BUF Buf out = {0};
    if (format == 0) add_table(&result, &out);
    else estimate_json(&result, &out), buf_add_char(&out, '\n');
    TRY(cli_write(buf_str(&out), error));
    if (format == 0) tell_assumptions(on);
    return ST_OK;
}
