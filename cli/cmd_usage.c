// SPDX-License-Identifier: Apache-2.0
#include "catalog/store.h"
#include "cli/cli.h"
#include "meter/usage.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct UsageQuery {
    Str account;
    Instant from, to, as_of;
    bool has_from, has_to, has_as_of;
    int window, group, format;
    // the answer
    Arena *arena;
    Catalog *catalog;
    Now now;
    UsageRow *rows;
    size_t count;
} UsageQuery;

enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV };
static const char WINDOWS[] = "hour|day|month|total", GROUPS[] = "none|size|vm",
                  FORMATS[] = "table|json|csv";

static Status read_usage(Db *db, void *context, Error *error)
{
    UsageQuery *q = context;
    Account account;
    catalog_free(q->catalog);
    q->catalog = NULL;
    TRY(catalog_load(db, &q->catalog, error));
    TRY(account_load(db, q->account, q->arena, &account, error));
    TRY(now_read(db, q->has_as_of ? &q->as_of : NULL, &q->now, error));
    Period period = day_period(instant_day(q->now.clock));
    if (!q->has_from) q->from = day_start(period_first(period));
    if (!q->has_to) q->to = day_start(period_end(period));
    if (q->from.us >= q->to.us) return error_set(error, ST_BAD_INPUT, "--from must be before --to");
    return usage_rows(db, q->catalog, &q->now, q->account, q->from, q->to, (UsageWindow)q->window,
                      (UsageGroup)q->group, q->arena, &q->rows, &q->count, error);
}

static void row_to_json(const UsageQuery *q, const UsageRow *row, JsonWriter *w)
{
    char text[AMOUNT_TEXT], at[INSTANT_TEXT];
    jw_begin_object(w, NULL);
    jw_text(w, "start", instant_format(row->start, at));
    jw_text(w, "end", instant_format(row->end, at));
    if (row->size != SIZE_NONE) jw_text(w, "size", q->catalog->size_names[row->size]);
    if (!str_absent(row->vm)) jw_str(w, "vm", row->vm);
    jw_int(w, "minutes", row->minutes);
    jw_int(w, "credit_minutes", row->cm.cm);
    jw_text(w, "credits", credits_format(row->cm, text));
    jw_end_object(w);
}

static void to_json(const UsageQuery *q, Buf *out)
{
    static const char *const windows[] = {"hour", "day", "month", "total"};
    char text[AMOUNT_TEXT], at[INSTANT_TEXT];
    JsonWriter w = {.out = out, .pretty = true};
    int64_t minutes = 0;
    CreditMinutes cm = {0};
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", q->account);
    jw_text(&w, "from", instant_format(q->from, at));
    jw_text(&w, "to", instant_format(q->to, at));
    jw_text(&w, "window", windows[q->window]);
    jw_text(&w, "data_through", instant_format(q->now.horizon, at));
    jw_begin_array(&w, "rows");
    for (size_t i = 0; i < q->count; i++) {
        row_to_json(q, &q->rows[i], &w);
        minutes += q->rows[i].minutes;
        cm = cm_add(cm, q->rows[i].cm);
    }
    jw_end_array(&w);
    jw_begin_object(&w, "total");
    jw_int(&w, "minutes", minutes);
    jw_int(&w, "credit_minutes", cm.cm);
    jw_text(&w, "credits", credits_format(cm, text));
    jw_end_object(&w);
    jw_end_object(&w);
    buf_add_char(out, '\n');
}

// Sizes and VM ids hold no comma, quote or line end; an id that begins with '-' would be a formula
// to a spreadsheet.
static void to_csv(const UsageQuery *q, Buf *out)
{
    char text[AMOUNT_TEXT], start[INSTANT_TEXT], end[INSTANT_TEXT];
    const char *key = q->group == GROUP_SIZE ? "size," : q->group == GROUP_VM ? "vm," : "";
    buf_addf(out, "start,end,%sminutes,credit_minutes,credits\r\n", key);
    for (size_t i = 0; i < q->count; i++) {
        const UsageRow *row = &q->rows[i];
        buf_addf(out, "%s,%s,", instant_format(row->start, start), instant_format(row->end, end));
        if (row->size != SIZE_NONE) buf_addf(out, "%s,", q->catalog->size_names[row->size]);
        if (!str_absent(row->vm)) buf_addf(out, "%s%s,", row->vm.p[0] == '-' ? "'" : "", row->vm.p);
        buf_addf(out, "%" PRId64 ",%" PRId64 ",%s\r\n", row->minutes, row->cm.cm,
                 credits_format(row->cm, text));
    }
}

static void to_table(const UsageQuery *q, Buf *out)
{
    char text[AMOUNT_TEXT], grouped[AMOUNT_TEXT], start[INSTANT_TEXT];
    int64_t minutes = 0;
    CreditMinutes cm = {0};
    const char *key = q->group == GROUP_SIZE ? "size" : q->group == GROUP_VM ? "vm" : "";
    buf_addf(out, "%-20s  %-20s  %12s  %16s\n", "start", key, "minutes", "credits");
    for (size_t i = 0; i < q->count; i++) {
        const UsageRow *row = &q->rows[i];
        const char *name = row->size != SIZE_NONE ? q->catalog->size_names[row->size]
                           : str_absent(row->vm)  ? ""
                                                  : row->vm.p;
        amount_group(credits_format(row->cm, text), grouped);
        buf_addf(out, "%-20s  %-20s  %12" PRId64 "  %16s\n", instant_format(row->start, start),
                 name, row->minutes, grouped);
        minutes += row->minutes;
        cm = cm_add(cm, row->cm);
    }
    amount_group(credits_format(cm, text), grouped);
    buf_addf(out, "%-20s  %-20s  %12" PRId64 "  %16s\n", "total", "", minutes, grouped);
    buf_addf(out, "open runs are counted up to %s\n", instant_format(q->now.horizon, start));
}

Status cmd_usage(int argc, char **argv, Error *error)
{
    static const Usage usage = {
        "tally usage", "ACCOUNT",
        "Shows an account's minutes and credits; a minute counts where it begins.", 1, 1};
    OWNED_ARENA Arena *arena = arena_new();
    UsageQuery q = {
        .arena = arena, .window = WINDOW_DAY, .group = GROUP_SIZE, .format = FORMAT_TABLE};
    const Option options[] = {
        {"from", OPTION_INSTANT, &q.from, &q.has_from, "TIME",
         "first instant, or date (default: the current period)"},
        {"to", OPTION_INSTANT, &q.to, &q.has_to, "TIME", "instant after the last, or date"},
        {"window", OPTION_CHOICE, &q.window, .help = "how time is cut up (default day)",
         .choices = WINDOWS},
        {"group-by", OPTION_CHOICE, &q.group, .help = "what else is told apart (default size)",
         .choices = GROUPS},
        {"format", OPTION_CHOICE, &q.format, .help = "default table", .choices = FORMATS},
        {"as-of", OPTION_INSTANT, &q.as_of, &q.has_as_of, "TIME",
         "stands in for the clock and the horizon"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    q.account = str(arguments[0]);
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_BUF Buf out = {0};
    Status status = db_snapshot(db, read_usage, &q, error);
    if (status == ST_OK) {
        if (q.format == FORMAT_JSON) to_json(&q, &out);
        else if (q.format == FORMAT_CSV) to_csv(&q, &out);
        else to_table(&q, &out);
        status = cli_write(buf_str(&out), error);
    }
    catalog_free(q.catalog);
    return status;
}
