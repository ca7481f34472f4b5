// SPDX-License-Identifier: Apache-2.0
#include "api/api.h"
#include "base/log.h"
#include "cli/attend.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

static const char METRICS_LISTEN[] = "127.0.0.1:8481";

enum {
    STOP_MS = 10000, // how long a stop waits for what was taken
    THREADS_MAX = 64,
    READERS_AT_MOST = 64,
    DEADLINE_MS_MAX = 60000,
};

typedef struct ServeOptions {
    const char *listen, *metrics_listen, *tls_cert, *tls_key, *brokers, *notices_topic;
    OptionList kafka;
    bool insecure, log_requests;
    int64_t threads, readers, deadline_ms;
    int64_t reservation_s, event_delay_s, skew_s;
    Address at, metrics_at;
} ServeOptions;

// ---- options ----
// Tokens must not cross a network in clear because somebody forgot something.
static Status check_open(const ServeOptions *o, Error *error)
{
    bool loopback = strncmp(o->at.host, "127.", 4) == 0 || strcmp(o->at.host, "::1") == 0;
    if (!o->tls_cert != !o->tls_key)
        return error_set(error, ST_BAD_INPUT, "--tls-cert and --tls-key belong together");
    if (loopback || o->tls_cert || o->insecure) return ST_OK;
    error_set(error, ST_BAD_INPUT,
              "--listen: %s can be reached from elsewhere, and tokens would cross the network "
              "unencrypted",
              o->at.host);
    error_hint(error,
               "give --tls-cert and --tls-key, or --insecure where something in front "
               "of it does TLS");
    return ST_BAD_INPUT;
}

static Status check_range(const char *name, int64_t value, int64_t least, int64_t most,
                          Error *error)
{
    if (value >= least && value <= most) return ST_OK;
    return error_set(error, ST_BAD_INPUT, "--%s: %lld is not between %lld and %lld", name,
                     (long long)value, (long long)least, (long long)most);
}

static Status check_options(ServeOptions *o, Error *error)
{
    TRY(cli_address("--listen", o->listen, &o->at, error));
    const char *metrics = o->metrics_listen ? o->metrics_listen : METRICS_LISTEN;
    TRY(cli_address("--metrics-listen", metrics, &o->metrics_at, error));
    TRY(check_open(o, error));
    TRY(check_range("threads", o->threads, 1, THREADS_MAX, error));
    TRY(check_range("readers", o->readers, 1, READERS_AT_MOST, error));
    TRY(check_range("deadline-ms", o->deadline_ms, 1, DEADLINE_MS_MAX, error));
    TRY(check_range("reservation-seconds", o->reservation_s, 1, QUOTA_SECONDS_MAX, error));
    TRY(check_range("event-delay-seconds", o->event_delay_s, 1, QUOTA_SECONDS_MAX, error));
    return check_range("clock-skew-seconds", o->skew_s, 0, QUOTA_SECONDS_MAX, error);
}

static Status read_options(int argc, char **argv, ServeOptions *o, Error *error)
{
    static const Usage usage = {
        "tally serve", "",
        "Serves quota, usage, credits and invoices over HTTP, until SIGINT or SIGTERM. Any number "
        "may run.",
        0, 0};
    const Option options[] = {
        {"listen", OPTION_TEXT, &o->listen, .argument = "HOST:PORT",
         .help = "default 127.0.0.1:8480; port 0 is any", .environment = "TALLY_LISTEN"},
        {"metrics-listen", OPTION_TEXT, &o->metrics_listen, .argument = "HOST:PORT",
         .help = "for Prometheus (default 127.0.0.1:8481)", .environment = "TALLY_METRICS_LISTEN"},
        {"tls-cert", OPTION_TEXT, &o->tls_cert, .argument = "FILE",
         .help = "certificates, PEM: serve HTTPS", .environment = "TALLY_TLS_CERT"},
        {"tls-key", OPTION_TEXT, &o->tls_key, .argument = "FILE", .help = "its key, PEM",
         .environment = "TALLY_TLS_KEY"},
        {"insecure", OPTION_FLAG, &o->insecure,
         .help = "let others than this machine come without TLS", .environment = "TALLY_INSECURE"},
        {"threads", OPTION_INT, &o->threads, .argument = "N",
         .help = "for connections (default 2)"},
        {"readers", OPTION_INT, &o->readers, .argument = "N",
         .help = "connections for all but quota, and as many for streams (default 4)"},
        {"deadline-ms", OPTION_INT, &o->deadline_ms, .argument = "MS",
         .help = "then an answer that waits for the database is 503 (default 3000)"},
        {"reservation-seconds", OPTION_INT, &o->reservation_s, .argument = "S",
         .help = "how long a reservation lives for starting (default 60)",
         .environment = "TALLY_RESERVATION_SECONDS"},
        {"event-delay-seconds", OPTION_INT, &o->event_delay_s, .argument = "S",
         .help = "within which starts reach Kafka (default 60)",
         .environment = "TALLY_EVENT_DELAY_SECONDS"},
        {"clock-skew-seconds", OPTION_INT, &o->skew_s, .argument = "S",
         .help = "between hosts' clocks, at most (default 5)",
         .environment = "TALLY_CLOCK_SKEW_SECONDS"},
        OPTION_BROKERS(&o->brokers, "Kafka, to publish notices"),
        OPTION_KAFKA(&o->kafka),
        OPTION_NOTICES_TOPIC(&o->notices_topic),
        {"log-requests", OPTION_FLAG, &o->log_requests,
         .help = "log every request, not only failed and slow ones"},
        {0},
    };
    char **arguments;
    int count;
    TRY(options_parse(&usage, options, argc, argv, &arguments, &count, error));
    return check_options(o, error);
}

// ---- signals ----
// Blocked in all threads, and waited for by this one.
static void signals_block(sigset_t *set)
{
    ASSERT(sigemptyset(set) == 0);
    ASSERT(sigaddset(set, SIGINT) == 0 && sigaddset(set, SIGTERM) == 0);
    ASSERT(pthread_sigmask(SIG_BLOCK, set, NULL) == 0);
}

// Waits for one. From then on the next one ends the process.
static void signal_wait(const sigset_t *set)
{
    while (sigwaitinfo(set, NULL) < 0) continue; // interrupted
    ASSERT(pthread_sigmask(SIG_UNBLOCK, set, NULL) == 0);
}

// ---- the command ----
// The database may come later than its servers do: then they listen already, and say what is wrong.
static Status open_or_wait(Db **db, Error *error)
{
    Status status = db_open(options_database(), "tally serve", db, error);
    if (status != ST_RETRY) return status;
    const LogField fields[] = {{"error", str(error->text), 0}};
    log_line(LOG_WARN, "the database is away: not ready until it is there", fields, 1);
    return db_unopened(options_database(), "tally serve", db, error);
}

static void url_add(Buf *out, const char *scheme, const char *host, int port)
{
    bool six = strchr(host, ':') != NULL;
    buf_addf(out, "%s://%s%s%s:%d", scheme, six ? "[" : "", host, six ? "]" : "", port);
}

static void log_start(const ServeOptions *o, const Api *api)
{
    OWNED_BUF Buf url = {0}, metrics = {0}, line = {0};
    url_add(&url, o->tls_cert ? "https" : "http", o->at.host, api_port(api));
    buf_addf(&line, "serving on %s", url.p);
    bool shown = api_metrics_port(api) >= 0; // a second server here finds the default port taken
    if (shown) url_add(&metrics, "http", o->metrics_at.host, api_metrics_port(api));
    if (shown) buf_addf(&line, ", metrics on %s/metrics", metrics.p);
    const LogField fields[] = {{"url", buf_str(&url), 0},
                               {shown ? "metrics_url" : NULL, buf_str(&metrics), 0}};
    log_line(LOG_INFO, line.p, fields, sizeof fields / sizeof *fields);
}

static Status serve(Db *db, const ServeOptions *o, const sigset_t *set, Error *error)
{
    const ApiConfig config = {.host = o->at.host,
                              .port = o->at.port,
                              .metrics_host = o->metrics_at.host,
                              .metrics_port = o->metrics_at.port,
                              .metrics_may_fail = o->metrics_listen == NULL,
                              .tls_cert = o->tls_cert,
                              .tls_key = o->tls_key,
                              .threads = (int)o->threads,
                              .readers = (int)o->readers,
                              .deadline_ms = o->deadline_ms,
                              .log_requests = o->log_requests,
                              .quota = {.reservation_us = o->reservation_s * US_PER_SECOND,
                                        .event_delay_us = o->event_delay_s * US_PER_SECOND,
                                        .clock_skew_us = o->skew_s * US_PER_SECOND}};
    const KafkaConfig kafka = {
        .brokers = o->brokers, .options = o->kafka.text, .options_count = o->kafka.count};
    Api *api = NULL;
    OWNED_ATTEND Attend *attend = NULL;
    TRY(api_start(db, &config, &api, error));
    Status status = attend_start(db, o->brokers ? &kafka : NULL, o->notices_topic, &config.quota,
                                 &attend, error);
    if (status == ST_OK) {
        log_start(o, api);
        signal_wait(set);
        log_line(LOG_INFO, "stopping: what was taken is answered", NULL, 0);
    }
    api_stop(api, STOP_MS);
    if (status == ST_OK) log_line(LOG_INFO, "stopped", NULL, 0);
    return status;
}

Status cmd_serve(int argc, char **argv, Error *error)
{
    ServeOptions o = {.listen = "127.0.0.1:8480",
                      .threads = 2,
                      .readers = 4,
                      .deadline_ms = 3000,
                      .reservation_s = 60,
                      .event_delay_s = 60,
                      .skew_s = 5};
    sigset_t set;
    TRY(read_options(argc, argv, &o, error));
    signals_block(&set);
    OWNED_DB Db *db = NULL;
    TRY(open_or_wait(&db, error));
    return serve(db, &o, &set, error);
}
