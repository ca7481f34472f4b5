// SPDX-License-Identifier: Apache-2.0
// kafka/internal: what the room's files share. Every handle's settings come from one place, so that
// no option of a user's can undo what correctness rests on.
#pragma once

#include "kafka/kafka.h"

#include <librdkafka/rdkafka.h>

typedef struct Setting {
    const char *name, *value;
    bool fixed; // a user's option of this name is refused
} Setting;

// A configuration from our settings (the last has a NULL name), config's brokers and its options.
Status handle_conf(const KafkaConfig *config, const Setting *settings, rd_kafka_conf_t **out,
                   Error *error) MUST_USE;
// Makes the handle; `conf` is used up either way.
Status handle_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, Error *error)
    MUST_USE;
// Destroys the handle within timeout_ms. Where librdkafka hangs the handle is left to the process's
// end.
void handle_destroy(rd_kafka_t *rk, int flags, int timeout_ms);

// The topics of a config, copied. ST_BAD_INPUT: none, too many, one twice, or a pattern.
typedef struct Topics {
    char **names;
    int count;
} Topics;
Status topics_init(Topics *topics, const KafkaConfig *config, Error *error) MUST_USE;
void topics_done(Topics *topics);
int topics_index(const Topics *topics, const char *name); // -1: not among them

// Fills what a record says: kind, time, key, value and headers; they borrow from the message.
void record_read(KafkaRecord *out, const rd_kafka_message_t *message);

// What a caller must do about an error of librdkafka's. Errors of one partition that are not known
// to pass by themselves are fatal: after some of them (a broken batch) librdkafka would read on
// behind it.
Status kafka_classify(rd_kafka_resp_err_t err, bool of_partition);
// "what: the error's words"
Status kafka_error(Error *error, rd_kafka_resp_err_t err, bool of_partition, const char *format,
                   ...) PRINTF(4, 5);
