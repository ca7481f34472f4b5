// SPDX-License-Identifier: Apache-2.0
// cli: one file per command. A command reads its options, builds what it needs, runs it and tears
// it down; it decides nothing. Data goes to standard output, messages to standard error; the exit
// status comes from the Status.
#pragma once

#include "base/status.h"
#include "cli/options.h"
#include "db/db.h"

typedef struct Command {
    const char *group; // "invoices", or NULL
    const char *name;  // "close"
    Status (*run)(int argc, char **argv, Error *error);
    const char *summary; // one line for --help
} Command;

// Opens the database that the options name and checks that the schema is this binary's.
Status cli_db(Db **db, Error *error) MUST_USE;
// Where to listen, from "HOST:PORT": an IPv6 address stands in brackets, port 0 is any that is
// free. ST_BAD_INPUT names the option.
enum { HOST_MAX = 256 };
typedef struct Address {
    char host[HOST_MAX];
    int port;
} Address;
Status cli_address(const char *option, const char *text, Address *out, Error *error) MUST_USE;
// A whole file, "-" for standard input; ST_BAD_INPUT where it cannot be read or is over the limit.
Status cli_read_file(const char *path, size_t bytes_max, Buf *out, Error *error) MUST_USE;
// Writes to standard output; a closed pipe is ST_FATAL.
Status cli_write(Str text, Error *error) MUST_USE;

Status cmd_migrate(int argc, char **argv, Error *error);
Status cmd_catalog_apply(int argc, char **argv, Error *error);
Status cmd_catalog_show(int argc, char **argv, Error *error);
Status cmd_accounts_apply(int argc, char **argv, Error *error);
Status cmd_accounts_list(int argc, char **argv, Error *error);
Status cmd_meter(int argc, char **argv, Error *error);
Status cmd_usage(int argc, char **argv, Error *error);
Status cmd_invoices_preview(int argc, char **argv, Error *error);
Status cmd_invoices_close(int argc, char **argv, Error *error);
Status cmd_invoices_void(int argc, char **argv, Error *error);
Status cmd_invoices_list(int argc, char **argv, Error *error);
Status cmd_invoices_show(int argc, char **argv, Error *error);
Status cmd_explain(int argc, char **argv, Error *error);
Status cmd_dead_letters_list(int argc, char **argv, Error *error);
Status cmd_dead_letters_count(int argc, char **argv, Error *error);
Status cmd_dead_letters_retry(int argc, char **argv, Error *error);
Status cmd_dead_letters_discard(int argc, char **argv, Error *error);
Status cmd_estimate(int argc, char **argv, Error *error);
Status cmd_simulate(int argc, char **argv, Error *error);
Status cmd_serve(int argc, char **argv, Error *error);
Status cmd_tokens_create(int argc, char **argv, Error *error);
Status cmd_tokens_list(int argc, char **argv, Error *error);
Status cmd_tokens_revoke(int argc, char **argv, Error *error);
Status cmd_quota_show(int argc, char **argv, Error *error);
Status cmd_quota_recount(int argc, char **argv, Error *error);
Status cmd_quota_release(int argc, char **argv, Error *error);
Status cmd_audit(int argc, char **argv, Error *error);
Status cmd_reconcile(int argc, char **argv, Error *error);
