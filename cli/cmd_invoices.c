// SPDX-License-Identifier: Apache-2.0
// tally invoices preview | close | void | list | show
#include "billing/close.h"
#include "billing/preview.h"
#include "billing/register.h"
#include "billing/restored.h"
#include "billing/void.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum {
    GRACE_MINUTES = 60,
    GRACE_MINUTES_MAX = 525600,
    OUT_PIECE_BYTES = 64 * 1024,
    READING_QUIET_MS = 1000, // until reading takes long enough to be shown
    READING_SHOWN_MS = 200,
};
typedef enum Format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV } Format; // text is a table for lists

static Status write_invoice(const Invoice *invoice, int format, Error *error)
{
    OWNED_BUF Buf out = {0};
    JsonWriter w = {.out = &out, .pretty = true};
    if (format == FORMAT_JSON) {
        invoice_write_json(invoice, &w, NULL);
        buf_add_char(&out, '\n');
    } else {
        invoice_write_text(invoice, &out);
    }
    return cli_write(buf_str(&out), error);
}

// ---- before anything is issued ----
typedef struct KafkaOptions {
    const char *brokers, *notices_topic;
    OptionList options;
} KafkaOptions;

#define KAFKA_OPTIONS(o)                                                                           \
    OPTION_BROKERS(&(o)->brokers,                                                                  \
                   "Kafka, to see whether this database is as new as what was issued"),            \
        OPTION_KAFKA(&(o)->options), OPTION_NOTICES_TOPIC(&(o)->notices_topic)

// Only where it takes long enough to wonder.
static void show_reading(int64_t read, int64_t all)
{
    static int64_t shown_ms;
    int64_t now = clock_monotonic_ms();
    if (shown_ms == 0) shown_ms = now + READING_QUIET_MS - READING_SHOWN_MS;
    if (now - shown_ms < READING_SHOWN_MS) return;
    shown_ms = now;
    fprintf(stderr, "\rlooking for the newest notice of an invoice: %" PRId64 " of %" PRId64 " ",
            read, all);
    fflush(stderr);
}

// Where Kafka is known of.
static Status check_restored(Db *db, const KafkaOptions *o, Error *error)
{
    if (!o->brokers) return ST_OK;
    const RestoredConfig config = {.kafka = {.brokers = o->brokers,
                                             .options = o->options.text,
                                             .options_count = o->options.count},
                                   .topic = o->notices_topic,
                                   .progress = isatty(STDERR_FILENO) ? show_reading : NULL};
    Status status = restored_check(db, &config, error);
    if (config.progress) fprintf(stderr, "\r\033[K");
    return status;
}

// ---- preview ----
// Beside the data, not in it: what the preview takes for granted.
static void tell_assumptions(const Invoice *invoice)
{
    char at[INSTANT_TEXT];
    fprintf(stderr,
            "note: as it would be billed with what was used up to %s, and nothing after that;\n"
            "      by the catalogue and the account's terms of now, earlier months closed first\n",
            instant_format(invoice->horizon, at));
}

Status cmd_invoices_preview(int argc, char **argv, Error *error)
{
    Period period = {0};
    Instant as_of = {0};
    bool as_of_given = false;
    int format = FORMAT_TEXT, count = 0;
    char **arguments = NULL;
    const Usage usage = {
        "tally invoices preview", "ACCOUNT",
        "Prints the account's invoice of a period as it would be now; nothing is stored.", 1, 1};
    const Option options[] = {
        {"period", OPTION_PERIOD, &period, .argument = "YYYY-MM", .help = "the month",
         .required = true},
        {"format", OPTION_CHOICE, &format, .argument = "text|json", .help = "default text",
         .choices = "text|json"},
        {"as-of", OPTION_INSTANT, &as_of, &as_of_given, "TIME", "stands in for now"},
        {0},
    };
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_ARENA Arena *arena = arena_new();
    Invoice invoice;
    TRY(billing_preview(db, str(arguments[0]), period, as_of_given ? &as_of : NULL, arena, &invoice,
                        error));
    TRY(write_invoice(&invoice, format, error));
    if (format == FORMAT_TEXT) tell_assumptions(&invoice);
    return ST_OK;
}

// ---- close ----
static Status print_check(const Check *check, Period period, Error *error)
{
    OWNED_BUF Buf out = {0};
    char text[INSTANT_TEXT];
    buf_addf(&out, "%s\n", period_format(period, text));
    buf_addf(&out, "  %-24s%12" PRId64 "\n", "dead letters", check->dead_letters);
    for (size_t i = 0; i < check->reasons; i++)
        buf_addf(&out, "    %-22.*s%12" PRId64 "\n", (int)check->letters[i].reason.n,
                 check->letters[i].reason.p, check->letters[i].count);
    buf_addf(&out, "  %-24s%12" PRId64 "\n", "lost VMs", check->lost);
    buf_addf(&out, "  %-24s%12" PRId64 "\n", "unproven VMs", check->unproven);
    for (size_t i = 0; i < check->named; i++) {
        const CheckVm *vm = &check->vm[i];
        buf_addf(&out, "    %-9s %.*s %.*s, started %s\n", vm->lost ? "lost" : "unproven",
                 (int)vm->account.n, vm->account.p, (int)vm->vm.n, vm->vm.p,
                 instant_format(vm->started_at, text));
    }
    if ((int64_t)check->named < check->lost + check->unproven)
        buf_addf(&out, "    and %" PRId64 " more\n",
                 check->lost + check->unproven - (int64_t)check->named);
    return cli_write(buf_str(&out), error);
}

static void warn_check(const Check *check)
{
    if (check->dead_letters > 0) {
        fprintf(stderr, "note: %" PRId64 " dead letter%s dated in the period (",
                check->dead_letters, check->dead_letters == 1 ? " is" : "s are");
        for (size_t i = 0; i < check->reasons; i++)
            fprintf(stderr, "%s%" PRId64 " %.*s", i ? ", " : "", check->letters[i].count,
                    (int)check->letters[i].reason.n, check->letters[i].reason.p);
        fprintf(stderr, "): see tally dead-letters list\n");
    }
    if (check->lost > 0)
        fprintf(stderr, "note: %" PRId64 " VM%s lost: no heartbeat comes any more\n", check->lost,
                check->lost == 1 ? " is" : "s are");
    if (check->unproven > 0)
        fprintf(stderr, "note: %" PRId64 " VM%s for all we know, without a heartbeat ever\n",
                check->unproven, check->unproven == 1 ? " still runs" : "s still run");
    if (check->lost + check->unproven > 0)
        fprintf(stderr, "      tally invoices close --check names them\n");
}

static void show_progress(void *context, const CloseProgress *so_far)
{
    (void)context;
    fprintf(stderr, "\r%" PRId64 " accounts, %" PRId64 " invoices ", so_far->accounts,
            so_far->invoices);
    fflush(stderr);
}

static void print_result(const CloseOrder *order, Str account, const CloseResult *result)
{
    char period[PERIOD_TEXT], total[AMOUNT_TEXT], grouped[AMOUNT_TEXT];
    period_format(order->period, period);
    if (order->progress && !result->was_closed) fputc('\n', stderr);
    if (result->was_closed) {
        fprintf(stderr, "%s is closed already%s%s; nothing was changed\n", period,
                str_absent(account) ? "" : " for ", str_absent(account) ? "" : account.p);
        return;
    }
    int64_t invoices = result->done.invoices;
    fprintf(stderr, "%s is closed; %" PRId64 " invoice%s issued", period, invoices,
            invoices == 1 ? "" : "s");
    if (invoices > 0) fprintf(stderr, ", %s", result->first);
    if (invoices > 1) fprintf(stderr, " to %s", result->last);
    amount_group(cents_format(result->done.total, total), grouped);
    if (invoices > 0) fprintf(stderr, ", %s USD", grouped);
    fputc('\n', stderr);
    int64_t settled = result->done.settled;
    if (settled > 0)
        fprintf(stderr, "closed periods of %" PRId64 " account%s were rated anew\n", settled,
                settled == 1 ? "" : "s");
}

typedef struct CloseOptions {
    Period period;
    const char *account;
    bool force, check, as_of_given;
    int64_t grace_minutes;
    Instant as_of;
    KafkaOptions kafka;
} CloseOptions;

static Status parse_close(int argc, char **argv, CloseOptions *o, Error *error)
{
    char **arguments = NULL;
    int count = 0;
    const Usage usage = {
        "tally invoices close", "",
        "Closes a period and issues its invoices. It may be stopped anywhere and run again.", 0, 0};
    const Option options[] = {
        {"period", OPTION_PERIOD, &o->period, .argument = "YYYY-MM", .help = "the month to close",
         .required = true},
        {"account", OPTION_TEXT, &o->account, .argument = "ACCOUNT",
         .help = "only this account, whose invoice of a closed period was voided"},
        {"force", OPTION_FLAG, &o->force,
         .help = "do not wait until the period has ended and was metered"},
        {"check", OPTION_FLAG, &o->check,
         .help = "print what may be amiss with the period; change nothing"},
        {"grace-minutes", OPTION_INT, &o->grace_minutes, .argument = "N",
         .help = "wait for so long after the period's end (default 60)",
         .environment = "TALLY_CLOSE_GRACE_MINUTES"},
        KAFKA_OPTIONS(&o->kafka),
        {"as-of", OPTION_INSTANT, &o->as_of, &o->as_of_given, "TIME", "stands in for now"},
        {0},
    };
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    if (o->grace_minutes > GRACE_MINUTES_MAX)
        return error_set(error, ST_BAD_INPUT, "--grace-minutes: %" PRId64 " is more than %d",
                         o->grace_minutes, GRACE_MINUTES_MAX);
    if (o->account && !str_is_id(str(o->account)))
        return error_set(error, ST_BAD_INPUT, "--account: \"%.200s\" is not an account's id",
                         o->account);
    return ST_OK;
}

Status cmd_invoices_close(int argc, char **argv, Error *error)
{
    CloseOptions o = {.grace_minutes = GRACE_MINUTES};
    TRY(parse_close(argc, argv, &o, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_ARENA Arena *arena = arena_new();
    CloseOrder order = {.period = o.period,
                        .force = o.force,
                        .grace_us = o.grace_minutes * US_PER_MINUTE,
                        .progress = isatty(STDERR_FILENO) ? show_progress : NULL};
    TRY(now_read(db, o.as_of_given ? &o.as_of : NULL, &order.now, error));
    Check check;
    if (o.check) {
        TRY(billing_check(db, o.period, &order.now, arena, &check, error));
        return print_check(&check, o.period, error);
    }
    TRY(check_restored(db, &o.kafka, error));
    CloseResult result;
    if (o.account) TRY(billing_close_account(db, &order, str(o.account), &result, error));
    else TRY(billing_close(db, &order, &result, error));
    print_result(&order, str(o.account), &result);
    if (result.was_closed) return ST_OK;
    TRY(billing_check(db, o.period, &order.now, arena, &check, error));
    warn_check(&check);
    return ST_OK;
}

// ---- void ----
typedef struct VoidOptions {
    const char *number, *reason;
    bool as_of_given;
    Instant as_of;
    KafkaOptions kafka;
} VoidOptions;

static Status parse_void(int argc, char **argv, VoidOptions *o, Error *error)
{
    char **arguments = NULL;
    int count = 0;
    const Usage usage = {"tally invoices void", "NUMBER",
                         "Takes an invoice back: issues a credit note, and opens the period again "
                         "for the account.",
                         1, 1};
    const Option options[] = {
        {"reason", OPTION_TEXT, &o->reason, .argument = "TEXT",
         .help = "why: it stands on the credit note", .required = true},
        KAFKA_OPTIONS(&o->kafka),
        {"as-of", OPTION_INSTANT, &o->as_of, &o->as_of_given, "TIME", "stands in for now"},
        {0},
    };
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    o->number = arguments[0];
    if (void_reason_check(str(o->reason), error) == ST_OK) return ST_OK;
    return error_prefix(error, "--reason");
}

Status cmd_invoices_void(int argc, char **argv, Error *error)
{
    VoidOptions o = {0};
    TRY(parse_void(argc, argv, &o, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_ARENA Arena *arena = arena_new();
    Now now;
    TRY(now_read(db, o.as_of_given ? &o.as_of : NULL, &now, error));
    TRY(check_restored(db, &o.kafka, error));
    const VoidOrder order = {str(o.number), str(o.reason), now.clock};
    Voided voided;
    TRY(billing_void(db, &order, arena, &voided, error));
    char period[PERIOD_TEXT], total[AMOUNT_TEXT], grouped[AMOUNT_TEXT];
    period_format(voided.period, period);
    amount_group(cents_format(voided.total, total), grouped);
    fprintf(stderr,
            "%s is taken back by %s, %s USD; %s is open again for %s\n"
            "      tally invoices close --period %s --account %s issues a new invoice\n",
            o.number, voided.number.p, grouped, period, voided.account.p, period, voided.account.p);
    OWNED_BUF Buf out = {0};
    buf_addf(&out, "%s\n", voided.number.p);
    return cli_write(buf_str(&out), error);
}

// ---- list ----
typedef struct Listing {
    int format;
    Buf out;
    Register sums;
} Listing;

static Status list_one(void *context, const Invoice *invoice, Error *error)
{
    Listing *listing = context;
    JsonWriter w = {.out = &listing->out};
    if (listing->format == FORMAT_CSV) {
        register_csv_row(invoice, &listing->out);
    } else if (listing->format == FORMAT_TEXT) {
        register_table_row(invoice, &listing->sums, &listing->out);
    } else {
        buf_add_text(&listing->out, listing->sums.invoices++ > 0 ? ",\n" : "\n");
        invoice_write_json(invoice, &w, NULL);
    }
    if (listing->out.n < OUT_PIECE_BYTES) return ST_OK;
    TRY(cli_write(buf_str(&listing->out), error));
    buf_clear(&listing->out);
    return ST_OK;
}

static Status list(Db *db, Period period, Listing *listing, Error *error)
{
    Buf *out = &listing->out;
    if (listing->format == FORMAT_JSON) buf_add_char(out, '[');
    else if (listing->format == FORMAT_CSV) register_csv_head(out);
    else register_table_head(out);
    TRY(invoices_stream(db, period, list_one, listing, error));
    if (listing->format == FORMAT_JSON)
        buf_add_text(out, listing->sums.invoices > 0 ? "\n]\n" : "]\n");
    if (listing->format == FORMAT_TEXT) register_table_foot(&listing->sums, out);
    return cli_write(buf_str(out), error);
}

Status cmd_invoices_list(int argc, char **argv, Error *error)
{
    Period period = {0};
    Instant as_of = {0};
    Listing listing = {.format = FORMAT_TEXT};
    char **arguments = NULL;
    int count = 0;
    const Usage usage = {
        "tally invoices list", "",
        "Prints the invoices of a period in order of number, for people or for programs.", 0, 0};
    const Option options[] = {
        {"period", OPTION_PERIOD, &period, .argument = "YYYY-MM", .help = "the month",
         .required = true},
        {"format", OPTION_CHOICE, &listing.format, .argument = "table|json|csv",
         .help = "default table", .choices = "table|json|csv"},
        {"as-of", OPTION_INSTANT, &as_of, .argument = "TIME",
         .help = "has no effect: what was issued does not change"},
        {0},
    };
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    Status status = list(db, period, &listing, error);
    buf_free(&listing.out);
    return status;
}

// ---- show ----
Status cmd_invoices_show(int argc, char **argv, Error *error)
{
    int format = FORMAT_TEXT, count = 0;
    char **arguments = NULL;
    Instant as_of = {0};
    const Usage usage = {"tally invoices show", "NUMBER", "Prints one invoice or credit note.", 1,
                         1};
    const Option options[] = {
        {"format", OPTION_CHOICE, &format, .argument = "text|json", .help = "default text",
         .choices = "text|json"},
        {"as-of", OPTION_INSTANT, &as_of, .argument = "TIME",
         .help = "has no effect: what was issued does not change"},
        {0},
    };
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    OWNED_ARENA Arena *arena = arena_new();
    Invoice invoice;
    TRY(invoice_load(db, str(arguments[0]), arena, &invoice, error));
    return write_invoice(&invoice, format, error);
}
