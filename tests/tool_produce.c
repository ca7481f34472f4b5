// SPDX-License-Identifier: Apache-2.0
// tool_produce: puts records on a topic, byte for byte as a test wants them, waits for every
// acknowledgement and prints how many there were.
//
// usage: tool_produce --brokers B --topic T --input FILE|- [--kafka-option name=value ...]
//
// Each line of the input is one record:
//   {"partition":0,"key":"vm-1","value":"text","value_base64":"AAE=","headers":{"a":"b"}}
// All members may be left out: partition -1 (by key), key and value null. value_base64 stands in
// for value, where it is not text. A header that is null has no value.
#include "base/json.h"
#include "kafka/kafka.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { LINE_BYTES_MAX = 64 * 1024 * 1024, HEADERS_MAX = 64, FLUSH_MS = 60000 };

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

static Status base64_read(Str text, Buf *out, Error *error)
{
    unsigned bits = 0, count = 0;
    buf_clear(out);
    for (size_t i = 0; i < text.n && text.p[i] != '='; i++) {
        int digit = base64_digit(text.p[i]);
        if (digit < 0)
            return error_set(error, ST_BAD_INPUT, "value_base64: '%c' is not base64", text.p[i]);
        bits = bits << 6 | (unsigned)digit;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        buf_add_char(out, (char)(bits >> count & 0xff));
    }
    return ST_OK;
}

static Status read_value(const Json *json, Buf *bytes, Str *out, Error *error)
{
    Str text;
    if (json_text(json_get(json, "value_base64"), &text)) {
        TRY(base64_read(text, bytes, error));
        *out = buf_str(bytes);
    } else if (!json_text(json_get(json, "value"), out)) {
        *out = (Str){0};
    }
    return ST_OK;
}

static Status send_line(KafkaProducer *producer, const char *topic, Str line, Buf *bytes,
                        Error *error)
{
    OWNED_JSON Json *json = NULL;
    KafkaHeader headers[HEADERS_MAX];
    KafkaMessage message = {.topic = topic, .partition = -1, .headers = headers};
    int64_t partition;
    TRY(json_parse(line, LINE_BYTES_MAX, &json, error));
    if (json_integer(json_get(json, "partition"), &partition))
        message.partition = (int32_t)partition;
    if (!json_text(json_get(json, "key"), &message.key)) message.key = (Str){0};
    TRY(read_value(json, bytes, &message.value, error));
    const Json *list = json_get(json, "headers");
    for (const Json *e = list ? json_first(list) : NULL; e; e = json_next(e)) {
        if (message.headers_count == HEADERS_MAX)
            return error_set(error, ST_BAD_INPUT, "headers: at most %d are expected", HEADERS_MAX);
        KafkaHeader *header = &headers[message.headers_count++];
        header->name = str(json_name(e));
        if (!json_text(e, &header->value)) header->value = (Str){0};
    }
    return kafka_produce(producer, &message, error);
}

static Status send_all(const KafkaConfig *config, const char *topic, FILE *input, Error *error)
{
    OWNED_KAFKA_PRODUCER KafkaProducer *producer = NULL;
    OWNED_BUF Buf bytes = {0};
    OWNED_TEXT char *line = NULL;
    size_t room = 0;
    ssize_t length;
    TRY(kafka_producer_new(config, &producer, error));
    for (int64_t number = 1; (length = getline(&line, &room, input)) >= 0; number++) {
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) length--;
        if (length == 0) continue;
        if (send_line(producer, topic, (Str){line, (size_t)length}, &bytes, error) != ST_OK)
            return error_prefix(error, "line %" PRId64, number);
    }
    if (ferror(input)) return error_set(error, ST_FATAL, "reading: %s", strerror(errno));
    TRY(kafka_producer_flush(producer, FLUSH_MS, error));
    printf("%" PRId64 "\n", kafka_producer_delivered(producer));
    return fflush(stdout) == 0 ? ST_OK : error_set(error, ST_FATAL, "%s", strerror(errno));
}

int main(int argc, char **argv)
{
    const char *options[KAFKA_OPTIONS_MAX] = {"message.max.bytes=67108864"};
    const char *topic = NULL, *path = "-";
    KafkaConfig config = {.options = options, .options_count = 1};
    Error error = {0};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--brokers") == 0) config.brokers = argv[i + 1];
        else if (strcmp(argv[i], "--topic") == 0) topic = argv[i + 1];
        else if (strcmp(argv[i], "--input") == 0) path = argv[i + 1];
        else if (strcmp(argv[i], "--kafka-option") == 0 && config.options_count < KAFKA_OPTIONS_MAX)
            options[config.options_count++] = argv[i + 1];
        else return fprintf(stderr, "tool_produce: unknown option %s\n", argv[i]), 2;
    }
    if (!config.brokers || !topic)
        return fputs("usage: tool_produce --brokers B --topic T --input FILE|-\n", stderr), 2;
    FILE *input = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!input) return fprintf(stderr, "tool_produce: %s: %s\n", path, strerror(errno)), 2;
    Status status = send_all(&config, topic, input, &error);
    if (status != ST_OK) fprintf(stderr, "tool_produce: %s\n", error.text);
    if (input != stdin && fclose(input) != 0) return 1;
    return status_exit_code(status);
}
