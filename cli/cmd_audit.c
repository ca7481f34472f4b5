// SPDX-License-Identifier: Apache-2.0
#include "audit/audit.h"
#include "base/sha256.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

typedef struct AuditOptions {
    const char *head, *brokers;
    OptionList kafka;
    bool from_kafka, pending_ok, has_as_of, json;
    Instant as_of;
} AuditOptions;

typedef struct Printing {
    bool json, shown; // shown: progress stands on the terminal
    int64_t shown_ms;
    Buf out;
} Printing;

// ---- progress ----
static void clear_progress(Printing *p)
{
    if (p->shown) fprintf(stderr, "\r\033[K");
    p->shown = false;
}

static void show_progress(void *context, const AuditProgress *progress)
{
    Printing *p = context;
    int64_t now = clock_monotonic_ms();
    if (p->shown && now - p->shown_ms < 200) return;
    p->shown = true;
    p->shown_ms = now;
    fprintf(stderr, "\rauditing %s", progress->step);
    if (progress->done > 0) fprintf(stderr, ": %" PRId64, progress->done);
    if (progress->all > 0) fprintf(stderr, " of %" PRId64, progress->all);
    fprintf(stderr, "\033[K");
}

// ---- findings ----
static void finding_json(const Finding *finding, Buf *out)
{
    JsonWriter w = {.out = out};
    char amount[AMOUNT_TEXT];
    jw_begin_object(&w, NULL);
    jw_text(&w, "check", finding->check);
    jw_str(&w, "account", finding->account);
    jw_str(&w, "subject", finding->subject);
    jw_str(&w, "what", finding->what);
    jw_text(&w, "overcharged",
            finding->in_money ? cents_format(finding->overcharged, amount) : NULL);
    jw_bool(&w, "pending", finding->pending);
    jw_end_object(&w);
}

static void finding_text(const Finding *finding, Buf *out)
{
    char amount[AMOUNT_TEXT];
    buf_addf(out, "%-10s", finding->check);
    if (finding->account.n > 0) {
        buf_add_char(out, ' ');
        buf_add_clean(out, finding->account);
    }
    if (finding->subject.n > 0) {
        buf_add_char(out, ' ');
        buf_add_clean(out, finding->subject);
    }
    buf_add_text(out, finding->account.n + finding->subject.n > 0 ? ": " : " ");
    buf_add_clean(out, finding->what);
    int64_t cents = finding->overcharged.cents;
    if (finding->in_money && cents != 0)
        buf_addf(out, "; the customer was charged %s too %s",
                 cents_format((Cents){cents < 0 ? -cents : cents}, amount),
                 cents < 0 ? "little" : "much");
    if (finding->pending) buf_add_text(out, "; pending: the next invoice adjusts it");
}

static Status print_finding(void *context, const Finding *finding, Error *error)
{
    Printing *p = context;
    clear_progress(p);
    buf_clear(&p->out);
    if (p->json) finding_json(finding, &p->out);
    else finding_text(finding, &p->out);
    buf_add_char(&p->out, '\n');
    return cli_write(buf_str(&p->out), error);
}

// ---- the summary ----
typedef struct Count {
    const char *name, *words;
    int64_t count;
    bool always;
} Count;

static Status print_summary(Printing *p, const AuditResult *r, bool from_kafka, Error *error)
{
    const Count counts[] = {
        {"accounts", "accounts", r->accounts, true},
        {"events", "events", r->events, true},
        {"runs", "runs that have ended", r->runs, true},
        {"invoices", "invoices", r->invoices, true},
        {"credit_notes", "credit notes", r->credit_notes, true},
        {"records", "records that Kafka still has", r->records, from_kafka},
        {"topic_vms", "VMs rebuilt from these alone", r->topic_vms, from_kafka},
        {"topic_events", "stored events that stand in Kafka", r->topic_events, from_kafka},
        {"topic_gone", "that Kafka does not keep any more", r->topic_gone, from_kafka},
        {"differences", "differences", r->findings, true},
        {"pending", "of them pending", r->pending, r->pending > 0},
    };
    JsonWriter w = {.out = &p->out};
    clear_progress(p);
    buf_clear(&p->out);
    if (p->json) jw_begin_object(&w, NULL);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (p->json) jw_int(&w, counts[i].name, counts[i].count);
        else if (counts[i].always)
            buf_addf(&p->out, "%12" PRId64 " %s\n", counts[i].count, counts[i].words);
    }
    if (p->json) {
        jw_int(&w, "head_place", r->place);
        jw_text(&w, "head", r->hash);
        jw_end_object(&w);
        buf_add_char(&p->out, '\n');
    } else {
        buf_addf(&p->out, "head %" PRId64 " %s\n", r->place, r->hash);
    }
    return cli_write(buf_str(&p->out), error);
}

// ---- the command ----
static Status read_options(int argc, char **argv, AuditOptions *o, Error *error)
{
    static const Usage usage = {
        "tally audit", "",
        "Proves what was metered and billed: rebuilds usage from the events, rates every invoice "
        "again, and checks hashes, numbers, grants, quota counts and positions. Prints every "
        "difference and the chain's head; ends with 1 where there is any.",
        0, 0};
    int format = 0, count;
    char **arguments;
    Sha256 head;
    const Option options[] = {
        {"head", OPTION_TEXT, &o->head, .argument = "HASH",
         .help = "a head that an earlier audit printed: the chain must have it"},
        {"from-kafka", OPTION_FLAG, &o->from_kafka,
         .help = "also read the topics again, as far as Kafka keeps them"},
        OPTION_BROKERS(&o->brokers, "Kafka's bootstrap servers: also look at what Kafka has"),
        OPTION_KAFKA(&o->kafka),
        {"as-of", OPTION_INSTANT, &o->as_of, &o->has_as_of, .argument = "TIME",
         .help = "stands in for now"},
        {"pending-ok", OPTION_FLAG, &o->pending_ok,
         .help = "what the next invoice will adjust is printed, but does not count"},
        {"format", OPTION_CHOICE, &format, .argument = "F",
         .help = "text (default) or json, a line each", .choices = "text|json"},
        {0},
    };
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    o->json = format == 1;
    if (o->head && !sha256_parse(str(o->head), &head))
        return error_set(error, ST_BAD_INPUT,
                         "--head: \"%.80s\" is not a hash: 64 digits, 0-9 and a-f", o->head);
    if (o->from_kafka && !o->brokers)
        return error_set(error, ST_BAD_INPUT,
                         "--from-kafka needs --brokers (or TALLY_KAFKA_BROKERS)");
    return ST_OK;
}

Status cmd_audit(int argc, char **argv, Error *error)
{
    AuditOptions o = {0};
    TRY(read_options(argc, argv, &o, error));
    OWNED_DB Db *db = NULL;
    TRY(cli_db(&db, error));
    KafkaConfig kafka = {
        .brokers = o.brokers, .options = o.kafka.text, .options_count = o.kafka.count};
    Printing printing = {.json = o.json};
    AuditOrder order = {.as_of = o.has_as_of ? &o.as_of : NULL,
                        .head = str(o.head),
                        .kafka = o.brokers ? &kafka : NULL,
                        .from_kafka = o.from_kafka,
                        .found = print_finding,
                        .progress = isatty(STDERR_FILENO) ? show_progress : NULL,
                        .context = &printing};
    AuditResult result;
    Status status = audit_run(db, &order, &result, error);
    if (status == ST_OK) status = print_summary(&printing, &result, o.from_kafka, error);
    clear_progress(&printing);
    buf_free(&printing.out);
    TRY(status);
    int64_t count = result.findings - (o.pending_ok ? result.pending : 0);
    if (count == 0) return ST_OK;
    return error_set(error, ST_FATAL, "%" PRId64 " difference%s found", count,
                     count == 1 ? " was" : "s were");
}
