// SPDX-License-Identifier: Apache-2.0
#include "api/exporter.h"

#include "api/server.h"
#include "base/json.h"

enum { EXPORTER_CONNECTIONS = 64, STOP_MS = 1000 };

struct Exporter {
    Server *server;
    Metrics *metrics;
};

static void problem(void *context, const Request *request, int status, const char *detail,
                    Buf *body)
{
    (void)context, (void)request;
    JsonWriter w = {.out = body};
    jw_begin_object(&w, NULL);
    jw_text(&w, "type", "about:blank");
    jw_int(&w, "status", status);
    jw_text(&w, "detail", detail);
    jw_end_object(&w);
}

static void handle(void *context, Request *request)
{
    const Exporter *exporter = context;
    Answer answer = {.status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8"};
    bool found = str_is(request_path(request), "/metrics");
    if (found && strcmp(request_method(request), "GET") == 0) {
        metrics_render(exporter->metrics, &answer.body);
    } else {
        answer.status = found ? 405 : 404;
        answer.content_type = "application/problem+json";
        if (found) {
            answer.header[0].name = "Allow";
            answer.header[0].value = STR("GET, HEAD");
            answer.headers = 1;
        }
        problem(NULL, request, answer.status,
                found ? "only GET is answered" : "only /metrics is here", &answer.body);
    }
    request_answer(request, &answer);
}

Status exporter_start(Metrics *metrics, const char *host, int port, Exporter **out, Error *error)
{
    Exporter *exporter = mem_alloc(sizeof *exporter);
    exporter->metrics = metrics;
    ServerConfig config = {.host = host,
                           .port = port,
                           .threads = 1,
                           .connections = EXPORTER_CONNECTIONS,
                           .handle = handle,
                           .refuse = problem,
                           .context = exporter};
    Status status = server_start(&config, &exporter->server, error);
    if (status == ST_OK) *out = exporter;
    else free(exporter);
    return status;
}

int exporter_port(const Exporter *exporter) { return server_port(exporter->server); }

void exporter_stop(Exporter *exporter)
{
    if (!exporter) return;
    server_stop(exporter->server, STOP_MS);
    free(exporter);
}
