// SPDX-License-Identifier: Apache-2.0
#include "meter/file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

enum { FLUSH_TRIES_MAX = 300, FLUSH_WAIT_MS = 200, TICK_EVERY_LINES = 1000 };

typedef struct Lines {
    FILE *file;
    char *text;
    size_t room, done;
} Lines;

static Status open_lines(const char *path, Lines *lines, int64_t *bytes_all, Error *error)
{
    *bytes_all = 0;
    bool standard = strcmp(path, "-") == 0;
    lines->file = standard ? stdin : fopen(path, "rb");
    struct stat info;
    if (!lines->file)
        return error_set(error, ST_BAD_INPUT, "cannot read %s: %s", path, strerror(errno));
    if (fstat(fileno(lines->file), &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            if (!standard) fclose(lines->file);
            return error_set(error, ST_BAD_INPUT, "cannot read %s: it is a directory", path);
        }
        if (S_ISREG(info.st_mode)) *bytes_all = info.st_size;
    }
    return ST_OK;
}

// The next line without its LF; false at the end. A line's length is bounded as it is read.
static Status next_line(Lines *lines, Str *line, bool *more, Error *error)
{
    size_t n = 0;
    int c;
    flockfile(lines->file);
    while ((c = getc_unlocked(lines->file)) != EOF && c != '\n' && n <= LINE_BYTES_MAX) {
        if (n + 1 >= lines->room) {
            lines->room = lines->room ? lines->room * 2 : 4096;
            lines->text = mem_resize(lines->text, lines->room);
        }
        lines->text[n++] = (char)c;
    }
    funlockfile(lines->file);
    if (ferror(lines->file))
        return error_set(error, ST_BAD_INPUT, "reading failed: %s", strerror(errno));
    if (n > LINE_BYTES_MAX)
        return error_set(error, ST_BAD_INPUT, "a line of more than %d MiB is no event",
                         LINE_BYTES_MAX / 1024 / 1024);
    lines->done += n + (c == '\n');
    *more = c != EOF || n > 0;
    *line = (Str){n ? lines->text : "", n};
    return ST_OK;
}

static bool is_blank(Str line)
{
    for (size_t i = 0; i < line.n; i++)
        if (!strchr(" \t\r", line.p[i]) || !line.p[i]) return false;
    return true;
}

// A file can wait for its database, but not for ever: its reader would never be told.
static Status written(Meter *meter, const FileConfig *config, Status status, Error *error)
{
    if (status == ST_RETRY && config->notice) config->notice(error->text);
    for (int tries = 0;
         status == ST_RETRY && tries < FLUSH_TRIES_MAX && !(config->stop && *config->stop);
         tries++) {
        clock_sleep_ms(FLUSH_WAIT_MS);
        status = meter_recover(meter, error);
        if (status == ST_OK) status = meter_flush(meter, error);
    }
    return status;
}

static Status meter_lines(Meter *meter, const FileConfig *config, Lines *lines, int64_t bytes_all,
                          Error *error)
{
    int32_t origin;
    TRY(meter_origin_file(meter, config->path, &origin, error));
    for (int64_t number = 1; !(config->stop && *config->stop); number++) {
        Str line;
        bool more = false;
        if (next_line(lines, &line, &more, error) != ST_OK)
            return error_prefix(error, "%s, line %lld", config->path, (long long)number);
        if (!more) return written(meter, config, meter_flush(meter, error), error);
        if (!is_blank(line))
            meter_add(meter, &(Message){.value = line},
                      &(Standpoint){
                          .origin = origin, .position = number, .place = -1, .timestamp_ms = -1});
        if (meter_full(meter)) TRY(written(meter, config, meter_submit(meter, error), error));
        if (config->tick && number % TICK_EVERY_LINES == 0)
            config->tick(meter, (int64_t)lines->done, bytes_all);
    }
    TRY(written(meter, config, meter_flush(meter, error), error));
    return error_set(error, ST_FATAL,
                     "stopped before the end of %s; what was metered stays, run it again to go on",
                     config->path);
}

Status meter_file(Meter *meter, const FileConfig *config, Error *error)
{
    Lines lines = {0};
    int64_t bytes_all;
    TRY(open_lines(config->path, &lines, &bytes_all, error));
    Status status = meter_lines(meter, config, &lines, bytes_all, error);
    if (lines.file != stdin) fclose(lines.file);
    free(lines.text);
    return status;
}
