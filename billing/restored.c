// SPDX-License-Identifier: Apache-2.0
// The newest notice is looked for from the topic's end backward. Kafka reads forward only, so it
// goes in rounds: each reads a block of every partition that still matters, in front of the block
// before it, and larger. What is read is not kept.
//
// The newest need not be the last of its partition: notices may come again, older ones behind newer
// ones. But whatever has a higher place was written later, and published after that. So what stands
// before a block does not matter once all of the block was published well before the newest that
// was found was written: CLOCKS_MS allows for the clocks of PostgreSQL's and the relays' hosts.
//
// The topic is read before the chain: what stands in it was committed before, so a chain that lacks
// it has lost it. The chain may be ahead of the topic: notices wait in the outbox.
#include "billing/restored.h"

#include "base/sha256.h"
#include "billing/billing_sql.h"
#include "notices/notices.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    NUMBER_TEXT = 32,
    CLOCKS_MS = 24 * 60 * 60 * 1000,
    BLOCK_FIRST = 1000, // offsets of a partition
    BLOCK_GROWTH = 4,   // each block is so many times the one before
    BLOCK_MAX = 1000000,
    PATIENCE_MS = 10000, // nothing has come for so long: the broker is away
    AGAIN_MS = 200,
};

typedef struct Newest {
    int64_t place; // 0: none was found
    Instant at;    // when it was written
    char number[NUMBER_TEXT], hash[SHA256_TEXT];
} Newest;

// A partition that still matters below `until`, where the blocks that were read begin.
typedef struct Part {
    int32_t partition;
    int64_t low, from, until;
    int64_t published_ms; // the latest record of the block [from, until); INT64_MIN: it has none
} Part;

typedef struct Search {
    const RestoredConfig *config;
    KafkaConfig kafka;
    Part *part;
    KafkaStretch *block;
    int parts;
    int64_t read, all; // records
    Newest newest;
} Search;

// ---- a notice ----
static void consider(Newest *newest, const Json *event)
{
    const Json *data = json_get(event, "data");
    Str type, time, number, hash;
    int64_t place;
    Instant at;
    Sha256 ignored;
    if (!json_text(json_get(event, "type"), &type) ||
        !(str_is(type, "tally.invoice.issued") || str_is(type, "tally.invoice.voided")))
        return;
    if (!json_text(json_get(event, "time"), &time) || !instant_parse(time, &at) ||
        !json_integer(json_get(data, "place"), &place) ||
        !json_text(json_get(data, "number"), &number) || number.n >= NUMBER_TEXT ||
        !json_text(json_get(data, "hash"), &hash) || !sha256_parse(hash, &ignored))
        return;
    bool later = place == newest->place && instant_compare(at, newest->at) > 0;
    if (place <= newest->place && !later) return;
    newest->place = place;
    newest->at = at;
    snprintf(newest->number, sizeof newest->number, "%.*s", (int)number.n, number.p);
    snprintf(newest->hash, sizeof newest->hash, "%.*s", (int)hash.n, hash.p);
}

static Part *part_of(const Search *s, int32_t partition)
{
    for (int i = 0; i < s->parts; i++)
        if (s->part[i].partition == partition) return &s->part[i];
    ASSERT(false); // only what was asked for is read
}

// Most notices tell of other things: they are not parsed.
static void take(Search *s, const KafkaRecord *record)
{
    static const char of_invoices[] = "\"tally.invoice.";
    Part *part = part_of(s, record->partition);
    int64_t published_ms = record->timestamp_ms < 0 ? INT64_MAX : record->timestamp_ms;
    if (published_ms > part->published_ms) part->published_ms = published_ms;
    s->read++;
    if (s->config->progress) s->config->progress(s->read, s->all);
    Str value = record->value;
    if (value.n == 0 || !memmem(value.p, value.n, of_invoices, sizeof of_invoices - 1)) return;
    OWNED_JSON Json *event = NULL;
    Error ignored; // what is no JSON is none of ours
    if (json_parse(value, JSON_EVENT_BYTES_MAX, &event, &ignored) == ST_OK)
        consider(&s->newest, event);
}

// ---- the topic ----
// Tries again for a while: a partition may be without a leader for an instant.
static Status ask_watermarks(KafkaWatch *watch, KafkaWatermarks *out, Error *error)
{
    int64_t until = clock_monotonic_ms() + PATIENCE_MS;
    for (;;) {
        Status status = kafka_watch_now(watch, out, error);
        if (status != ST_RETRY || clock_monotonic_ms() >= until) return status;
        clock_sleep_ms(AGAIN_MS);
    }
}

static Status look(Search *s, Error *error)
{
    OWNED_KAFKA_WATCH KafkaWatch *watch = NULL;
    OWNED_KAFKA_WATERMARKS KafkaWatermarks marks = {0};
    TRY(kafka_watch_new(&s->kafka, false, &watch, error));
    TRY(ask_watermarks(watch, &marks, error));
    s->part = mem_alloc(((size_t)marks.count + 1) * sizeof *s->part);
    s->block = mem_alloc(((size_t)marks.count + 1) * sizeof *s->block);
    for (int i = 0; i < marks.count; i++) {
        const KafkaWatermark *mark = &marks.marks[i];
        s->part[s->parts++] = (Part){mark->partition, mark->low, mark->high, mark->high};
        s->all += mark->high - mark->low;
    }
    return ST_OK;
}

// The next block of each partition that still matters; how many.
static int next_blocks(Search *s, int64_t offsets)
{
    int blocks = 0;
    for (int i = 0; i < s->parts; i++) {
        Part *part = &s->part[i];
        if (part->low == part->until) continue;
        part->from = part->until - part->low > offsets ? part->until - offsets : part->low;
        part->published_ms = INT64_MIN;
        s->block[blocks++] = (KafkaStretch){0, part->partition, part->from, part->until};
    }
    return blocks;
}

static Status read_blocks(Search *s, int blocks, Error *error)
{
    OWNED_KAFKA_READER KafkaReader *reader = NULL;
    KafkaRecord record;
    TRY(kafka_reader_new(&s->kafka, s->block, blocks, &reader, error));
    for (;;) {
        TRY(kafka_read(reader, PATIENCE_MS, &record, error));
        if (record.kind == KAFKA_END) return ST_OK;
        take(s, &record);
        kafka_record_done(&record);
    }
}

static Status read_back(Search *s, Error *error)
{
    int blocks;
    for (int64_t offsets = BLOCK_FIRST; (blocks = next_blocks(s, offsets)) > 0;) {
        TRY(read_blocks(s, blocks, error));
        int64_t since_ms = s->newest.place > 0 ? s->newest.at.us / 1000 - CLOCKS_MS : INT64_MIN;
        for (int i = 0; i < s->parts; i++) {
            Part *part = &s->part[i];
            bool earlier = part->published_ms != INT64_MIN && part->published_ms < since_ms;
            part->until = earlier ? part->low : part->from;
        }
        offsets = offsets * BLOCK_GROWTH < BLOCK_MAX ? offsets * BLOCK_GROWTH : BLOCK_MAX;
    }
    return ST_OK;
}

static const char *topic_of(const RestoredConfig *config)
{
    return config->topic ? config->topic : NOTICES_TOPIC;
}

static Status find_newest(const RestoredConfig *config, Newest *out, Error *error)
{
    const char *topic = topic_of(config);
    Search s = {.config = config, .kafka = config->kafka};
    s.kafka.topics = &topic;
    s.kafka.topics_count = 1;
    s.kafka.group = NULL;
    Status status = look(&s, error);
    if (status == ST_OK) status = read_back(&s, error);
    *out = s.newest;
    free(s.part);
    free(s.block);
    if (status == ST_MISSING) return ST_OK; // nothing was ever told
    if (status == ST_OK || status == ST_BAD_INPUT) return status;
    error_prefix(error, "cannot tell whether this database is as new as what was issued");
    error_hint(error, "try again when the broker is there; who is sure may go on without brokers");
    return status;
}

// ---- the chain ----
Status restored_check(Db *db, const RestoredConfig *config, Error *error)
{
    OWNED_ARENA Arena *arena = arena_new();
    OWNED_ROWS Rows *rows = NULL;
    Newest newest;
    TRY(find_newest(config, &newest, error));
    if (newest.place == 0) return ST_OK;
    Str place = param_int(arena, newest.place);
    TRY(db_query(db, &SQL_BILLING_RESTORED, 1, &place, &rows, error));
    if (rows_count(rows) != 1)
        return error_set(error, ST_FATAL, "the table chain does not have its one row");
    int64_t head = rows_int(rows, 0, 0);
    bool gone = rows_null(rows, 0, 1);
    Str number = gone ? STR("nothing") : rows_str(rows, 0, 1);
    Str hash = gone ? STR("none") : rows_str(rows, 0, 2);
    if (head >= newest.place && str_is(hash, newest.hash)) return ST_OK;
    if (head < newest.place) {
        error_set(error, ST_REFUSED,
                  "this database is older than what was issued: its chain ends at place %" PRId64
                  ", and %s on Kafka tells of %s at place %" PRId64,
                  head, topic_of(config), newest.number, newest.place);
        error_hint(error, "restore a newer backup; docs/operations.md says what else can be done");
        return ST_REFUSED;
    }
    error_set(error, ST_REFUSED,
              "this database is not the one whose invoices were issued: at place %" PRId64
              " of its chain stands %.*s, hash %.*s, and %s on Kafka tells of %s, hash %s",
              newest.place, (int)number.n, number.p, (int)hash.n, hash.p, topic_of(config),
              newest.number, newest.hash);
    error_hint(error,
               "restore a backup of that database, or name this one's own topic of notices: "
               "--notices-topic");
    return ST_REFUSED;
}
