// SPDX-License-Identifier: Apache-2.0
// kafka: records in, records out, and how far a topic reaches. May touch librdkafka, whose header
// no other room includes; must never know what a record means.
//
// Four handles. A KafkaConsumer reads in a group, from offsets that its owner keeps elsewhere. A
// KafkaWatch asks, in a thread of its own, how far each partition reaches. A KafkaReader reads what
// stands there once more, without a group. A KafkaProducer writes.
// Each is used by one thread, the one that made it, except where it says otherwise.
#pragma once

#include "base/text.h"

enum {
    KAFKA_OPTIONS_MAX = 64,
    KAFKA_TOPICS_MAX = 64,
    KAFKA_SESSION_TIMEOUT_MS = 10000,
    KAFKA_WATCH_TIMEOUT_MS = 5000,    // for a watch's question, however many topics
    KAFKA_PRODUCE_TIMEOUT_MS = 30000, // how long kafka_produce waits while the queue is full
};

// Read while a handle is made; nothing of it is kept.
typedef struct KafkaConfig {
    const char *brokers;       // "host:port,host:port"
    const char *const *topics; // names, no patterns
    int topics_count;
    const char *group; // consumers, and watches that look at a group; else NULL
    // librdkafka's own, each "name=value": TLS, SASL, tuning. They win over our defaults; what
    // correctness rests on is refused (ST_BAD_INPUT).
    const char *const *options;
    int options_count;
    int session_timeout_ms; // 0: KAFKA_SESSION_TIMEOUT_MS
} KafkaConfig;

// ---- consumer ----
#define KAFKA_OFFSET_BEGINNING INT64_C(-2) // the oldest record that the broker has

typedef struct KafkaPartition {
    const char *topic; // lives as long as the handle it came from
    int topic_index;   // its place in the config's topics
    int32_t partition;
    int64_t offset; // of the next record
} KafkaPartition;

// What the owner of a consumer is told; every call comes from inside kafka_poll or
// kafka_consumer_close.
typedef struct KafkaOwner {
    void *context;
    // These partitions are ours from now on. Sets the offset of each to the one to read first (as
    // given, it is KAFKA_OFFSET_BEGINNING). Where it fails, nothing is read: kafka_poll returns the
    // failure; after ST_RETRY the next kafka_poll asks again, with the same partitions.
    Status (*assigned)(void *context, KafkaPartition *partitions, int count, Error *error);
    // These are taken away after this call returns: the last moment to write what they still owe.
    // All that were assigned, always (the assignor is an eager one).
    void (*revoked)(void *context, const KafkaPartition *partitions, int count);
    // These have been somebody else's for a while: nothing may be written for them.
    void (*lost)(void *context, const KafkaPartition *partitions, int count);
} KafkaOwner;

typedef enum KafkaKind {
    KAFKA_NOTHING, // the time was up
    KAFKA_RECORD,
    KAFKA_END, // everything below `offset` of this partition has been handed out; once per offset,
               // again after a resume
} KafkaKind;

typedef struct KafkaHeader {
    Str name;
    Str value; // absent where it is null
} KafkaHeader;

typedef struct KafkaRecord {
    KafkaKind kind;
    const char *topic; // lives as long as the consumer; the same pointer for the same topic
    int topic_index;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;       // since 1970-01-01; -1: none
    Str key, value;             // absent where they are null
    const KafkaHeader *headers; // in order
    int headers_count;
    void *message; // the room's own
} KafkaRecord;

typedef struct KafkaConsumer KafkaConsumer;

// Subscribes; partitions come later, through kafka_poll. ST_BAD_INPUT: an option or a topic's name
// is wrong.
Status kafka_consumer_new(const KafkaConfig *config, const KafkaOwner *owner, KafkaConsumer **out,
                          Error *error) MUST_USE;
// The next record or partition's end, waiting up to timeout_ms; calls the owner on a rebalance.
// Offsets of a partition only ever grow; where the log was compacted or holds transactions, by more
// than one.
// ST_RETRY: something is wrong that may pass (broker away, topic not there, the owner could not
// answer): report it and go on polling.
// Else: reading on would skip records (ST_FATAL: position out of range, a batch that cannot be
// read) or is not allowed, or the owner refused for good: close; every later call returns the same.
// Must be called at least every max.poll.interval.ms (5 minutes), paused or not.
Status kafka_poll(KafkaConsumer *consumer, int timeout_ms, KafkaRecord *out, Error *error) MUST_USE;
// Gives a record's memory back: key, value and headers are gone. From any thread, in any order,
// before the consumer is closed. Does nothing where kind is not KAFKA_RECORD, and a second time.
void kafka_record_done(KafkaRecord *record);
// Stops handing out records of all partitions, those assigned later too, until kafka_resume;
// polling goes on and keeps the membership alive. What had been fetched is dropped and fetched
// again. Both are idempotent.
Status kafka_pause(KafkaConsumer *consumer, Error *error) MUST_USE;
Status kafka_resume(KafkaConsumer *consumer, Error *error) MUST_USE;
// The partitions that are assigned now, with the offset of the record that kafka_poll hands out
// next (at least); borrowed until the next kafka_poll. Returns how many.
int kafka_assigned(const KafkaConsumer *consumer, const KafkaPartition **out);
// Writes offsets to the group, for lag tools and kafka_watch's `noted`; nothing of ours starts from
// them. Does not wait; failures are only counted.
void kafka_note_offsets(KafkaConsumer *consumer, const KafkaPartition *partitions, int count);
int64_t kafka_notes_failed(const KafkaConsumer *consumer);
// Leaves the group (revoked or lost is called for what is still assigned) and frees the consumer,
// within about timeout_ms whatever the broker does. Takes NULL.
void kafka_consumer_close(KafkaConsumer *consumer, int timeout_ms);
enum { KAFKA_CLOSE_TIMEOUT_MS = 5000 };
static inline void kafka_consumer_close_pointer(KafkaConsumer **consumer)
{
    kafka_consumer_close(*consumer, KAFKA_CLOSE_TIMEOUT_MS);
}
#define OWNED_KAFKA_CONSUMER __attribute__((cleanup(kafka_consumer_close_pointer)))

// ---- watch ----
typedef struct KafkaWatermark {
    const char *topic; // lives as long as the watch
    int topic_index;
    int32_t partition;
    int64_t low;   // offset of the oldest record that is there
    int64_t high;  // offset after the newest, of unfinished transactions too
    int64_t noted; // what the group noted; -1: nothing, not known, or not asked for
} KafkaWatermark;

typedef struct KafkaWatermarks {
    int64_t token; // of the question that this answers
    int count;     // every partition of every topic
    KafkaWatermark *marks;
} KafkaWatermarks;
void kafka_watermarks_free(KafkaWatermarks *watermarks);
#define OWNED_KAFKA_WATERMARKS __attribute__((cleanup(kafka_watermarks_free)))

typedef struct KafkaWatch KafkaWatch;

// Starts the thread. With `noted`, the offsets that config->group noted are asked for too.
Status kafka_watch_new(const KafkaConfig *config, bool noted, KafkaWatch **out, Error *error)
    MUST_USE;
// Asks for partitions and watermarks; the broker is asked after this call, nothing is cached. Never
// waits. False: the one before is still being answered, or its answer has not been fetched.
bool kafka_watch_ask(KafkaWatch *watch, int64_t token);
// *ready tells whether an answer has come; never waits. ST_OK: *out is owned by the caller. Else
// the question (out->token) failed. ST_MISSING: a topic does not exist, the text says which.
// ST_RETRY: broker away or slow. ST_FATAL: not allowed.
Status kafka_watch_answer(KafkaWatch *watch, bool *ready, KafkaWatermarks *out, Error *error)
    MUST_USE;
// The two in one, waiting.
Status kafka_watch_now(KafkaWatch *watch, KafkaWatermarks *out, Error *error) MUST_USE;
// Ends the thread, within about a question's timeout. Takes NULL.
void kafka_watch_free(KafkaWatch *watch);
static inline void kafka_watch_free_pointer(KafkaWatch **watch) { kafka_watch_free(*watch); }
#define OWNED_KAFKA_WATCH __attribute__((cleanup(kafka_watch_free_pointer)))

// ---- reader ----
// Offsets [from, to) of a partition.
typedef struct KafkaStretch {
    int topic_index; // of the config's topics
    int32_t partition;
    int64_t from, to;
} KafkaStretch;

typedef struct KafkaReader KafkaReader;

// Reads stretches of partitions once, without a group: config's group is not looked at.
Status kafka_reader_new(const KafkaConfig *config, const KafkaStretch *stretches, int count,
                        KafkaReader **out, Error *error) MUST_USE;
// The next record, of any of the stretches, in order within each; KAFKA_END when all have been read
// (again at every further call). Give it back by kafka_record_done before the reader is freed.
// ST_RETRY: nothing came for so long. ST_FATAL: a stretch does not begin within what the broker
// has, or cannot be read.
Status kafka_read(KafkaReader *reader, int timeout_ms, KafkaRecord *out, Error *error) MUST_USE;
void kafka_reader_free(KafkaReader *reader); // takes NULL
static inline void kafka_reader_free_pointer(KafkaReader **reader) { kafka_reader_free(*reader); }
#define OWNED_KAFKA_READER __attribute__((cleanup(kafka_reader_free_pointer)))

// ---- producer ----
typedef struct KafkaMessage {
    const char *topic;
    int32_t partition; // -1: by key, as Java clients do it; without a key, any
    Str key, value;    // absent is null
    const KafkaHeader *headers;
    int headers_count;
} KafkaMessage;

typedef struct KafkaProducer KafkaProducer;

// Idempotent, acknowledged by all replicas. config's topics and group are not looked at.
Status kafka_producer_new(const KafkaConfig *config, KafkaProducer **out, Error *error) MUST_USE;
// Queues a copy. While the queue is full, waits up to KAFKA_PRODUCE_TIMEOUT_MS, then ST_RETRY: it
// was not queued. ST_FATAL: an earlier message could not be delivered, or this one never can be.
Status kafka_produce(KafkaProducer *producer, const KafkaMessage *message, Error *error) MUST_USE;
// Waits until all that was queued is acknowledged. ST_RETRY: the time was up, they stay queued.
Status kafka_producer_flush(KafkaProducer *producer, int timeout_ms, Error *error) MUST_USE;
int64_t kafka_producer_delivered(const KafkaProducer *producer); // messages acknowledged
// Drops what has not been delivered. Takes NULL.
void kafka_producer_free(KafkaProducer *producer);
static inline void kafka_producer_free_pointer(KafkaProducer **producer)
{
    kafka_producer_free(*producer);
}
#define OWNED_KAFKA_PRODUCER __attribute__((cleanup(kafka_producer_free_pointer)))
