// SPDX-License-Identifier: Apache-2.0
// Proves that meter/event reads CloudEvents of both modes to the letter: what is right means what
// it says, what is wrong is dead for the right reason, and two events of one identity are compared
// by what was read and nothing else.
#include "tests/history_rows.h"

#define TIMED(time, type, data)                                                                    \
    "{'specversion':'1.0','id':'e1','source':'/s','type':'" type                                   \
    "','subject':'vm-1','time':'" time "','data':{'account':'acme'" data "}}"
#define EVENT(type, data) TIMED("2026-10-03T10:00:00Z", type, data)
#define STARTED(data) EVENT("vm.started", data)
#define TOP(members) "{" members ",'data':{'account':'acme'}}"
#define SPEC "'specversion':'1.0'"
#define ID "'id':'e1'"
#define SOURCE "'source':'/s'"
#define TYPE "'type':'vm.stopped'"
#define SUBJECT "'subject':'vm-1'"
#define TIME "'time':'2026-10-03T10:00:00Z'"
#define ALL SPEC "," ID "," SOURCE "," TYPE "," SUBJECT "," TIME

// ---- decoding and describing ----
static Str detail;

static DeadReason decode(const char *text, const Header *header, int headers, Arena *arena,
                         Event *event)
{
    OWNED_BUF Buf json = {0};
    Str value = text ? arena_copy(arena, quoted(text, &json)) : (Str){0};
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == '~') ((char *)value.p)[i] = '\0'; // the arena's copy is ours to change
    return event_decode(&(Message){.value = value, .headers = headers, .header = header}, arena,
                        event, &detail);
}

static void describe(const Event *event, Buf *out)
{
    OWNED_BUF Buf rest = {0};
    event_print(event, &rest);
    buf_addf(out, "%.*s/%.*s %s", (int)event->account.n, event->account.p, (int)event->vm.n,
             event->vm.p, rest.p);
    const struct {
        const char *prefix;
        Str value;
    } named[] = {{"reservation", event->reservation},
                 {"reason", event->reason},
                 {"of", event->target_source},
                 {"of-id", event->target_id}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (!str_absent(named[i].value))
            buf_addf(out, " %s:%.*s", named[i].prefix, (int)named[i].value.n, named[i].value.p);
}

static void check_decoded(const char *label, DeadReason reason, const Event *event,
                          const char *expected)
{
    OWNED_BUF Buf got = {0};
    ck_assert_msg(reason == DEAD_NOT, "%s: %s: %.*s", label, dead_reason_name(reason),
                  (int)detail.n, detail.p);
    describe(event, &got);
    ck_assert_msg(str_is(buf_str(&got), expected), "%s: %s\n  expected %s", label, got.p, expected);
}

// ---- what is right ----
typedef struct Good {
    const char *label, *text, *expected;
} Good;

#define E1 " src:/s id:e1"
static const Good GOOD[] = {
    {"started with all of its data",
     STARTED(",'size':'nano','bootup':'RESUME','run':'r-81','reservation':'5f0c'"),
     "acme/vm-1 10:00 started nano RESUME run:r-81" E1 " reservation:5f0c"},
    {"bootup is CLEAN where it is not given", STARTED(",'size':'nano'"),
     "acme/vm-1 10:00 started nano" E1},
    {"bootup CLEAN", STARTED(",'size':'nano','bootup':'CLEAN'"), "acme/vm-1 10:00 started nano" E1},
    {"bootup FORK", STARTED(",'size':'nano','bootup':'FORK'"),
     "acme/vm-1 10:00 started nano FORK" E1},
    {"bootup RUNNING", STARTED(",'size':'nano','bootup':'RUNNING'"),
     "acme/vm-1 10:00 started nano RUNNING" E1},
    {"size in any case", STARTED(",'size':'NaNo'"), "acme/vm-1 10:00 started nano" E1},
    {"a size that nobody knows is for the catalogue to say", STARTED(",'size':'huge'"),
     "acme/vm-1 10:00 started huge" E1},
    {"resources", STARTED(",'millicpu':2250,'memory_bytes':1073741824"),
     "acme/vm-1 10:00 started 2250/1" E1},
    {"the least resources", STARTED(",'millicpu':250,'memory_bytes':1"),
     "acme/vm-1 10:00 started 250/0" E1},
    {"size and resources", STARTED(",'size':'nano','millicpu':250,'memory_bytes':1"),
     "acme/vm-1 10:00 started nano" E1},
    {"size and half of the resources", STARTED(",'size':'nano','millicpu':250"),
     "acme/vm-1 10:00 started nano" E1},
    {"resized", EVENT("vm.resized", ",'size':'large','run':'r'"),
     "acme/vm-1 10:00 resized large run:r" E1},
    {"heartbeat", EVENT("vm.heartbeat", ",'run':'r'"), "acme/vm-1 10:00 heartbeat run:r" E1},
    {"hibernated", EVENT("vm.hibernated", ",'reason':'idle'"),
     "acme/vm-1 10:00 hibernated" E1 " reason:idle"},
    {"stopped", EVENT("vm.stopped", ",'reason':'','run':'r'"),
     "acme/vm-1 10:00 stopped run:r" E1 " reason:"},
    {"retracted", EVENT("vm.retracted", ",'source':'/o','id':'e0'"),
     "acme/vm-1 10:00 retracted" E1 " of:/o of-id:e0"},
    {"created, with anything", EVENT("vm.created", ",'size':5,'run':{}"),
     "acme/vm-1 10:00 not metered" E1},
    {"deleted", EVENT("vm.deleted", ""), "acme/vm-1 10:00 not metered" E1},
    {"forked", EVENT("vm.forked", ""), "acme/vm-1 10:00 not metered" E1},
    {"snapshotted", EVENT("vm.snapshotted", ""), "acme/vm-1 10:00 not metered" E1},
    {"members in any order, and white space",
     " \t{ 'data' : { 'account' : 'acme' } ,\r\n " TIME "," SUBJECT "," TYPE "," SOURCE "," ID
     "," SPEC " } ",
     "acme/vm-1 10:00 stopped" E1},
    {"a sequence", TOP(ALL ",'sequence':'0017'"), "acme/vm-1 10:00 stopped seq:0017" E1},
    {"unknown members", TOP(ALL ",'datacontenttype':'application/json','x':[{},1.5e3,true]"),
     "acme/vm-1 10:00 stopped" E1},
    {"unknown members of data, and those of other types",
     EVENT("vm.heartbeat", ",'size':7,'bootup':'X','reason':1,'x':{}"),
     "acme/vm-1 10:00 heartbeat" E1},
    {"null is absent",
     STARTED(",'size':null,'millicpu':250,'memory_bytes':1,'bootup':null,'run':null"
             ",'reservation':null"),
     "acme/vm-1 10:00 started 250/0" E1},
    {"null at the top, and a null reason",
     "{" ALL ",'sequence':null,'data':{'account':'acme','reason':null,'run':null}}",
     "acme/vm-1 10:00 stopped" E1},
    {"escapes are what they stand for",
     "{" SPEC "," ID ",'s\\u006furce':'\\u002f\\u0073'," TYPE "," SUBJECT "," TIME
     ",'data':{'account':'\\u0061cme'}}",
     "acme/vm-1 10:00 stopped" E1},
    {"text of any script",
     EVENT("vm.stopped", ",'run':'\xC3\xA9\xF0\x9F\x98\x80','reason':'\\ud83d\\ude00'"),
     "acme/vm-1 10:00 stopped run:\xC3\xA9\xF0\x9F\x98\x80" E1 " reason:\xF0\x9F\x98\x80"},
    // types
    {"a prefix", EVENT("com.example.vm.stopped", ""), "acme/vm-1 10:00 stopped" E1},
    {"a version", EVENT("vm.stopped.v1", ""), "acme/vm-1 10:00 stopped" E1},
    {"both, of many digits", EVENT("com.example.vm.stopped.v0123456789", ""),
     "acme/vm-1 10:00 stopped" E1},
    {"a prefix that looks like a type", EVENT("vm.started.vm.stopped", ""),
     "acme/vm-1 10:00 stopped" E1},
    {"a prefix that looks like a version", EVENT("a.v1.vm.stopped", ""),
     "acme/vm-1 10:00 stopped" E1},
    {"a version of what is not metered", EVENT("x.vm.created.v2", ""),
     "acme/vm-1 10:00 not metered" E1},
    // times
    {"microseconds, further digits cut", TIMED("2026-10-03T10:00:00.1234567899Z", "vm.stopped", ""),
     "acme/vm-1 10:00:00.123456 stopped" E1},
    {"an offset", TIMED("2026-10-03T12:30:00+02:30", "vm.stopped", ""),
     "acme/vm-1 10:00 stopped" E1},
    {"second 60 is the next", TIMED("2026-10-03T10:00:60Z", "vm.stopped", ""),
     "acme/vm-1 10:01 stopped" E1},
    {"small letters", TIMED("2026-10-03t10:00:00z", "vm.stopped", ""),
     "acme/vm-1 10:00 stopped" E1},
    {"the first year", TIMED("2000-01-01T00:00:00Z", "vm.stopped", ""),
     "acme/vm-1 2000-01-01T00:00:00Z stopped" E1},
    {"the last year", TIMED("2199-12-31T23:59:59.999999Z", "vm.stopped", ""),
     "acme/vm-1 2199-12-31T23:59:59.999999Z stopped" E1},
};

START_TEST(good)
{
    OWNED_ARENA Arena *arena = arena_new();
    Event event;
    DeadReason reason = decode(GOOD[_i].text, NULL, 0, arena, &event);
    check_decoded(GOOD[_i].label, reason, &event, GOOD[_i].expected);
}
END_TEST

// ---- what is wrong ----
typedef struct Bad {
    const char *label, *text;
    DeadReason reason;
    const char *detail; // part of it
} Bad;

static const Bad BAD[] = {
    // malformed; ~ stands for a NUL
    {"no value", NULL, DEAD_MALFORMED, "not a JSON object"},
    {"nothing", "", DEAD_MALFORMED, "not a JSON object"},
    {"not JSON", "hello", DEAD_MALFORMED, "not a JSON object"},
    {"an array", "[" EVENT("vm.stopped", "") "]", DEAD_MALFORMED, "not a JSON object"},
    {"null", "null", DEAD_MALFORMED, "not a JSON object"},
    {"cut off", "{" ALL, DEAD_MALFORMED, "end"},
    {"something behind it", TOP(ALL) "x", DEAD_MALFORMED, "after the end"},
    {"a second object", TOP(ALL) TOP(ALL), DEAD_MALFORMED, "after the end"},
    {"a comma too many", "{" ALL ",}", DEAD_MALFORMED, "member name"},
    {"a control character", EVENT("vm.stopped", ",'run':'a\tb'"), DEAD_MALFORMED,
     "control character"},
    {"a leading zero", EVENT("vm.stopped", ",'x':01"), DEAD_MALFORMED, "leading zero"},
    {"bad UTF-8", EVENT("vm.stopped", ",'run':'\xC3('"), DEAD_MALFORMED, "UTF-8"},
    {"UTF-8 of a surrogate", EVENT("vm.stopped", ",'run':'\xED\xA0\x80'"), DEAD_MALFORMED, "UTF-8"},
    {"overlong UTF-8", EVENT("vm.stopped", ",'run':'\xC0\xAF'"), DEAD_MALFORMED, "UTF-8"},
    {"a byte order mark", "\xEF\xBB\xBF" TOP(ALL), DEAD_MALFORMED, "byte order mark"},
    {"a raw NUL", EVENT("vm.stopped", ",'run':'a~'"), DEAD_MALFORMED, "NUL"},
    {"a raw NUL behind it", TOP(ALL) "~", DEAD_MALFORMED, "NUL"},
    {"an escaped NUL", EVENT("vm.stopped", ",'run':'a\\u0000'"), DEAD_MALFORMED, "NUL"},
    {"an escaped NUL in a name", EVENT("vm.stopped", ",'a\\u0000':1"), DEAD_MALFORMED, "NUL"},
    {"a lone high surrogate", EVENT("vm.stopped", ",'x':'\\ud83d'"), DEAD_MALFORMED,
     "lone surrogate"},
    {"a lone low surrogate", EVENT("vm.stopped", ",'x':'\\ude00\\ud83d'"), DEAD_MALFORMED,
     "lone surrogate"},
    {"a duplicate key", "{" ALL "," ID ",'data':{'account':'acme'}}", DEAD_MALFORMED, "id"},
    {"a duplicate key in data", EVENT("vm.stopped", ",'account':'acme'"), DEAD_MALFORMED,
     "account"},
    {"a duplicate key at any depth", TOP(ALL ",'x':[[{'y':[{'z':1,'z':1}]}]]"), DEAD_MALFORMED,
     "z"},
    {"a duplicate key in other letters", TOP(ALL ",'x':1,'\\u0078':2"), DEAD_MALFORMED, "x"},
    {"a duplicate key that is null", TOP(ALL ",'x':null,'x':null"), DEAD_MALFORMED, "x"},
    {"malformed goes before invalid", "{'x':1,'x':1}", DEAD_MALFORMED, "x"},
    // invalid: the envelope
    {"empty", "{}", DEAD_INVALID, "specversion"},
    {"no specversion", TOP(ID "," SOURCE "," TYPE "," SUBJECT "," TIME), DEAD_INVALID,
     "specversion"},
    {"another specversion", TOP("'specversion':'1.1'," ID "," SOURCE "," TYPE "," SUBJECT "," TIME),
     DEAD_INVALID, "specversion"},
    {"a specversion that is a number",
     TOP("'specversion':1.0," ID "," SOURCE "," TYPE "," SUBJECT "," TIME), DEAD_INVALID,
     "specversion"},
    {"no id", TOP(SPEC "," SOURCE "," TYPE "," SUBJECT "," TIME), DEAD_INVALID, "id"},
    {"an empty id", TOP(SPEC ",'id':''," SOURCE "," TYPE "," SUBJECT "," TIME), DEAD_INVALID, "id"},
    {"a null id", TOP(SPEC ",'id':null," SOURCE "," TYPE "," SUBJECT "," TIME), DEAD_INVALID, "id"},
    {"an id that is a number", TOP(SPEC ",'id':7," SOURCE "," TYPE "," SUBJECT "," TIME),
     DEAD_INVALID, "id"},
    {"a name in another case", TOP(SPEC ",'ID':'e1'," SOURCE "," TYPE "," SUBJECT "," TIME),
     DEAD_INVALID, "id"},
    {"no source", TOP(SPEC "," ID "," TYPE "," SUBJECT "," TIME), DEAD_INVALID, "source"},
    {"an empty source", TOP(SPEC "," ID ",'source':''," TYPE "," SUBJECT "," TIME), DEAD_INVALID,
     "source"},
    {"no type", TOP(SPEC "," ID "," SOURCE "," SUBJECT "," TIME), DEAD_INVALID, "type"},
    {"an empty type", TOP(SPEC "," ID "," SOURCE ",'type':''," SUBJECT "," TIME), DEAD_INVALID,
     "type"},
    {"no subject", TOP(SPEC "," ID "," SOURCE "," TYPE "," TIME), DEAD_INVALID, "subject"},
    {"an empty subject", TOP(SPEC "," ID "," SOURCE "," TYPE ",'subject':''," TIME), DEAD_INVALID,
     "subject"},
    {"a subject that is no id", TOP(SPEC "," ID "," SOURCE "," TYPE ",'subject':'a b'," TIME),
     DEAD_INVALID, "subject"},
    {"a subject of 65 bytes",
     TOP(SPEC "," ID "," SOURCE "," TYPE ",'subject':'"
              "12345678901234567890123456789012345678901234567890123456789012345'," TIME),
     DEAD_INVALID, "subject"},
    {"no time", TOP(SPEC "," ID "," SOURCE "," TYPE "," SUBJECT), DEAD_INVALID, "time"},
    {"an empty sequence", TOP(ALL ",'sequence':''"), DEAD_INVALID, "sequence"},
    {"a sequence that is a number", TOP(ALL ",'sequence':17"), DEAD_INVALID, "sequence"},
    // invalid: times
    {"no zone", TIMED("2026-10-03T10:00:00", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"no seconds", TIMED("2026-10-03T10:00Z", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"a space for the T", TIMED("2026-10-03 10:00:00Z", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"no such day", TIMED("2026-02-29T10:00:00Z", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"hour 24", TIMED("2026-10-03T24:00:00Z", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"second 61", TIMED("2026-10-03T10:00:61Z", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"a point without digits", TIMED("2026-10-03T10:00:00.Z", "vm.stopped", ""), DEAD_INVALID,
     "time"},
    {"1999", TIMED("1999-12-31T23:59:59.999999Z", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"1999 in UTC", TIMED("2000-01-01T00:59:59+01:00", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"2200", TIMED("2200-01-01T00:00:00Z", "vm.stopped", ""), DEAD_INVALID, "time"},
    {"2200 by its leap second", TIMED("2199-12-31T23:59:60Z", "vm.stopped", ""), DEAD_INVALID,
     "time"},
    {"a time that is a number",
     TOP(SPEC "," ID "," SOURCE "," TYPE "," SUBJECT ",'time':1790000000"), DEAD_INVALID, "time"},
    // invalid: data
    {"no data", "{" ALL "}", DEAD_INVALID, "data"},
    {"null data", "{" ALL ",'data':null}", DEAD_INVALID, "data"},
    {"data that is text", "{" ALL ",'data':'{}'}", DEAD_INVALID, "data"},
    {"no account", "{" ALL ",'data':{}}", DEAD_INVALID, "account"},
    {"a null account", "{" ALL ",'data':{'account':null}}", DEAD_INVALID, "account"},
    {"an empty account", "{" ALL ",'data':{'account':''}}", DEAD_INVALID, "account"},
    {"an account that is no id", "{" ALL ",'data':{'account':'a/b'}}", DEAD_INVALID, "account"},
    {"an account that is a number", "{" ALL ",'data':{'account':5}}", DEAD_INVALID, "account"},
    {"an account of what is not metered",
     "{" SPEC "," ID "," SOURCE ",'type':'vm.created'," SUBJECT "," TIME ",'data':{}}",
     DEAD_INVALID, "account"},
    {"no size", STARTED(""), DEAD_INVALID, "size"},
    {"no size of resized", EVENT("vm.resized", ""), DEAD_INVALID, "size"},
    {"a size that is a number", STARTED(",'size':1"), DEAD_INVALID, "size"},
    {"half of the resources", STARTED(",'millicpu':250"), DEAD_INVALID, "size"},
    {"the other half", STARTED(",'memory_bytes':1"), DEAD_INVALID, "size"},
    {"resources of which one is null", STARTED(",'millicpu':250,'memory_bytes':null"), DEAD_INVALID,
     "size"},
    {"millicpu 0", STARTED(",'millicpu':0,'memory_bytes':1"), DEAD_INVALID, "millicpu"},
    {"negative millicpu", STARTED(",'millicpu':-250,'memory_bytes':1"), DEAD_INVALID, "millicpu"},
    {"no multiple of 250", STARTED(",'millicpu':251,'memory_bytes':1"), DEAD_INVALID, "millicpu"},
    {"millicpu as text", STARTED(",'millicpu':'250','memory_bytes':1"), DEAD_INVALID, "millicpu"},
    {"a fraction of memory", STARTED(",'millicpu':250,'memory_bytes':1.5"), DEAD_INVALID,
     "memory_bytes"},
    {"memory with an exponent", STARTED(",'millicpu':250,'memory_bytes':1e9"), DEAD_INVALID,
     "memory_bytes"},
    {"memory 0", STARTED(",'millicpu':250,'memory_bytes':0"), DEAD_INVALID, "memory_bytes"},
    {"wrong resources beside a size", STARTED(",'size':'nano','millicpu':1"), DEAD_INVALID,
     "millicpu"},
    {"a bootup in small letters", STARTED(",'size':'nano','bootup':'fork'"), DEAD_INVALID,
     "bootup"},
    {"an empty bootup", STARTED(",'size':'nano','bootup':''"), DEAD_INVALID, "bootup"},
    {"a bootup that is a number", STARTED(",'size':'nano','bootup':1"), DEAD_INVALID, "bootup"},
    {"an empty run", EVENT("vm.heartbeat", ",'run':''"), DEAD_INVALID, "run"},
    {"a run that is a number", EVENT("vm.stopped", ",'run':7"), DEAD_INVALID, "run"},
    {"an empty reservation", STARTED(",'size':'nano','reservation':''"), DEAD_INVALID,
     "reservation"},
    {"a reason that is a number", EVENT("vm.hibernated", ",'reason':7"), DEAD_INVALID, "reason"},
    {"a retraction of nothing", EVENT("vm.retracted", ""), DEAD_INVALID, "source"},
    {"a retraction without a source", EVENT("vm.retracted", ",'id':'e0'"), DEAD_INVALID, "source"},
    {"a retraction without an id", EVENT("vm.retracted", ",'source':'/s'"), DEAD_INVALID, "id"},
    {"a retraction of an empty id", EVENT("vm.retracted", ",'source':'/s','id':''"), DEAD_INVALID,
     "id"},
    // unknown types
    {"another type", EVENT("vm.paused", ""), DEAD_UNKNOWN_TYPE, "vm.paused"},
    {"in another case", EVENT("VM.Stopped", ""), DEAD_UNKNOWN_TYPE, "VM.Stopped"},
    {"a prefix without a point", EVENT("xvm.stopped", ""), DEAD_UNKNOWN_TYPE, "xvm.stopped"},
    {"a version without digits", EVENT("vm.stopped.v", ""), DEAD_UNKNOWN_TYPE, ""},
    {"a version with more than digits", EVENT("vm.stopped.v1a", ""), DEAD_UNKNOWN_TYPE, ""},
    {"a version without a v", EVENT("vm.stopped.1", ""), DEAD_UNKNOWN_TYPE, ""},
    {"a version of two parts", EVENT("vm.stopped.v1.2", ""), DEAD_UNKNOWN_TYPE, ""},
    {"two versions", EVENT("vm.stopped.v1.v2", ""), DEAD_UNKNOWN_TYPE, ""},
    {"a version without a point", EVENT("vm.stoppedv1", ""), DEAD_UNKNOWN_TYPE, ""},
    {"something behind it", EVENT("vm.stopped.now", ""), DEAD_UNKNOWN_TYPE, ""},
    {"a part of it", EVENT("stopped", ""), DEAD_UNKNOWN_TYPE, ""},
    {"a version alone", EVENT(".v1", ""), DEAD_UNKNOWN_TYPE, ""},
    {"invalid goes before unknown",
     "{" SPEC "," ID "," SOURCE ",'type':'vm.paused'," SUBJECT "," TIME ",'data':{}}", DEAD_INVALID,
     "account"},
};

static void check_dead(const char *label, DeadReason got, DeadReason reason, const char *part)
{
    ck_assert_msg(got == reason, "%s: %s: %.*s", label, dead_reason_name(got), (int)detail.n,
                  detail.p);
    ck_assert_msg(str_is_utf8(detail) && detail.n > 0, "%s: no detail", label);
    ck_assert_msg(memmem(detail.p, detail.n, part, strlen(part)), "%s: %s", label, detail.p);
}

START_TEST(bad)
{
    OWNED_ARENA Arena *arena = arena_new();
    Event event;
    const Bad *row = &BAD[_i];
    check_dead(row->label, decode(row->text, NULL, 0, arena, &event), row->reason, row->detail);
}
END_TEST

// ---- modes ----
typedef struct Mode {
    const char *label;
    const char *headers[10][2]; // name, value; NULL: null
    const char *value;
    DeadReason reason;
    const char *expected; // the event, or a part of the detail
} Mode;

#define BARE "{'account':'acme'}"
#define BINARY_BUT_TIME                                                                            \
    {"content-type", "application/json"}, {"ce_specversion", "1.0"}, {"ce_id", "e1"},              \
        {"ce_source", "/s"}, {"ce_type", "vm.stopped"},                                            \
    {                                                                                              \
        "ce_subject", "vm-1"                                                                       \
    }
#define BINARY                                                                                     \
    BINARY_BUT_TIME, { "ce_time", "2026-10-03T10:00:00Z" }
#define READ "acme/vm-1 10:00 stopped" E1
static const Mode MODES[] = {
    {"binary", {BINARY}, BARE, DEAD_NOT, READ},
    {"binary with a sequence",
     {BINARY, {"ce_sequence", "17"}},
     BARE,
     DEAD_NOT,
     "acme/vm-1 10:00 stopped seq:17" E1},
    {"binary with unknown headers", {BINARY, {"x", "y"}, {"ce_x", NULL}}, BARE, DEAD_NOT, READ},
    {"binary with a null header", {BINARY, {"ce_sequence", NULL}}, BARE, DEAD_NOT, READ},
    {"binary without a header", {BINARY_BUT_TIME}, BARE, DEAD_INVALID, "time"},
    {"binary with a null header that must be",
     {BINARY_BUT_TIME, {"ce_time", NULL}},
     BARE,
     DEAD_INVALID,
     "time"},
    {"binary with an empty header", {BINARY_BUT_TIME, {"ce_time", ""}}, BARE, DEAD_INVALID, "time"},
    {"binary with an empty sequence",
     {BINARY, {"ce_sequence", ""}},
     BARE,
     DEAD_INVALID,
     "sequence"},
    {"binary with a header in another case",
     {BINARY_BUT_TIME, {"CE_time", "2026-10-03T10:00:00Z"}},
     BARE,
     DEAD_INVALID,
     "time"},
    {"binary with a header twice", {BINARY, {"ce_id", "e1"}}, BARE, DEAD_MALFORMED, "ce_id"},
    {"binary with a header that is not UTF-8",
     {BINARY, {"ce_sequence", "\xFF"}},
     BARE,
     DEAD_MALFORMED,
     "ce_sequence"},
    {"binary with another header that is not UTF-8", {BINARY, {"x", "\xFF"}}, BARE, DEAD_NOT, READ},
    {"binary that is not JSON", {BINARY}, "x", DEAD_MALFORMED, "JSON"},
    {"binary without a value", {BINARY}, NULL, DEAD_MALFORMED, "JSON"},
    {"binary of an array", {BINARY}, "[]", DEAD_MALFORMED, "JSON"},
    {"binary with a duplicate key",
     {BINARY},
     "{'account':'acme','account':'acme'}",
     DEAD_MALFORMED,
     "account"},
    {"binary with an envelope in its value", {BINARY}, TOP(ALL), DEAD_INVALID, "account"},
    {"by another content type",
     {{"content-type", "application/avro"}},
     TOP(ALL),
     DEAD_INVALID,
     "specversion"},
    {"structured by its content type",
     {{"content-type", "application/cloudevents+json"}},
     TOP(ALL),
     DEAD_NOT,
     READ},
    {"in any case, with parameters",
     {{"Content-Type", "Application/CloudEvents+JSON; charset=utf-8"}},
     TOP(ALL),
     DEAD_NOT,
     READ},
    {"structured without a content type",
     {{"x", "application/json"}, {"ce_id", "other"}},
     TOP(ALL),
     DEAD_NOT,
     READ},
    {"structured with a null content type", {{"content-type", NULL}}, TOP(ALL), DEAD_NOT, READ},
    {"structured without a content type, though there are ce_ headers",
     {{"ce_specversion", "1.0"}},
     BARE,
     DEAD_INVALID,
     "specversion"},
};

START_TEST(modes)
{
    OWNED_ARENA Arena *arena = arena_new();
    const Mode *row = &MODES[_i];
    Header header[10];
    int n = 0;
    for (; n < 10 && row->headers[n][0]; n++)
        header[n] = (Header){str(row->headers[n][0]), str(row->headers[n][1])};
    Event event;
    DeadReason reason = decode(row->value, header, n, arena, &event);
    if (row->reason == DEAD_NOT) check_decoded(row->label, reason, &event, row->expected);
    else check_dead(row->label, reason, row->reason, row->expected);
}
END_TEST

// ---- bounds ----
static DeadReason decode_sized(size_t bytes, bool binary, Arena *arena, Event *event)
{
    static const Header headers[] = {{STR("content-type"), STR("application/json")},
                                     {STR("ce_specversion"), STR("1.0")},
                                     {STR("ce_id"), STR("e1")},
                                     {STR("ce_source"), STR("/s")},
                                     {STR("ce_type"), STR("vm.stopped")},
                                     {STR("ce_subject"), STR("vm-1")},
                                     {STR("ce_time"), STR("2026-10-03T10:00:00Z")}};
    OWNED_BUF Buf text = {0};
    const char *head = binary ? "{'account':'acme','x':'"
                              : "{" ALL ",'data':{'account':'acme'},'x':'";
    buf_add_text(&text, head);
    while (text.n < bytes - 2) buf_add_char(&text, 'x');
    buf_add_text(&text, "'}");
    return decode(text.p, headers, binary ? 7 : 0, arena, event);
}

START_TEST(bytes)
{
    OWNED_ARENA Arena *arena = arena_new();
    Event event;
    for (int binary = 0; binary < 2; binary++) {
        check_decoded("64 KiB", decode_sized(65536, binary, arena, &event), &event, READ);
        check_dead("64 KiB and one", decode_sized(65537, binary, arena, &event), DEAD_MALFORMED,
                   "");
    }
}
END_TEST

static DeadReason decode_nested(int depth, const char *open, const char *close, Arena *arena,
                                Event *event)
{
    OWNED_BUF Buf text = {0};
    buf_add_text(&text, "{" ALL ",'data':{'account':'acme','x':");
    for (int i = 2; i < depth - 1; i++) buf_add_text(&text, open);
    buf_add_text(&text, *open == '[' ? "[]" : "{}");
    for (int i = 2; i < depth - 1; i++) buf_add_text(&text, close);
    buf_add_text(&text, "}}");
    return decode(text.p, NULL, 0, arena, event);
}

START_TEST(depths)
{
    OWNED_ARENA Arena *arena = arena_new();
    Event event;
    static const char *const kinds[][2] = {{"[", "]"}, {"{'x':", "}"}};
    for (int i = 0; i < 2; i++) {
        const char *open = kinds[i][0], *close = kinds[i][1];
        check_decoded("32", decode_nested(32, open, close, arena, &event), &event, READ);
        check_dead("33", decode_nested(33, open, close, arena, &event), DEAD_MALFORMED, "32");
    }
}
END_TEST

// ---- content ----
static const struct {
    const char *label, *a, *b;
    bool same;
} CONTENTS[] = {
    {"the same", STARTED(",'size':'nano'"), STARTED(",'size':'nano'"), true},
    {"unknown members", STARTED(",'size':'nano'"), STARTED(",'size':'nano','x':1"), true},
    {"null for absent", STARTED(",'size':'nano'"), STARTED(",'size':'nano','run':null"), true},
    {"the default in words", STARTED(",'size':'nano'"), STARTED(",'size':'nano','bootup':'CLEAN'"),
     true},
    {"size in another case", STARTED(",'size':'nano'"), STARTED(",'size':'NANO'"), true},
    {"prefix and version", STARTED(",'size':'nano'"), EVENT("a.vm.started.v2", ",'size':'nano'"),
     true},
    {"the same instant", TIMED("2026-10-03T10:00:00Z", "vm.stopped", ""),
     TIMED("2026-10-03T11:00:00.0000009+01:00", "vm.stopped", ""), true},
    {"members of other types", EVENT("vm.heartbeat", ",'size':'a','reason':'x'"),
     EVENT("vm.heartbeat", ""), true},
    {"a microsecond", TIMED("2026-10-03T10:00:00Z", "vm.stopped", ""),
     TIMED("2026-10-03T10:00:00.000001Z", "vm.stopped", ""), false},
    {"type", EVENT("vm.stopped", ""), EVENT("vm.hibernated", ""), false},
    {"size", STARTED(",'size':'nano'"), STARTED(",'size':'pico'"), false},
    {"a size and its resources", STARTED(",'size':'nano'"),
     STARTED(",'millicpu':2000,'memory_bytes':4294967296"), false},
    {"resources beside the size", STARTED(",'size':'nano'"),
     STARTED(",'size':'nano','millicpu':250,'memory_bytes':1"), false},
    {"millicpu", STARTED(",'millicpu':250,'memory_bytes':1"),
     STARTED(",'millicpu':500,'memory_bytes':1"), false},
    {"memory", STARTED(",'millicpu':250,'memory_bytes':1"),
     STARTED(",'millicpu':250,'memory_bytes':2"), false},
    {"bootup", STARTED(",'size':'nano'"), STARTED(",'size':'nano','bootup':'FORK'"), false},
    {"run", EVENT("vm.stopped", ",'run':'a'"), EVENT("vm.stopped", ",'run':'A'"), false},
    {"a run that is absent", EVENT("vm.stopped", ",'run':'a'"), EVENT("vm.stopped", ""), false},
    {"reservation", STARTED(",'size':'nano','reservation':'a'"),
     STARTED(",'size':'nano','reservation':'b'"), false},
    {"reason", EVENT("vm.stopped", ",'reason':'a'"), EVENT("vm.stopped", ",'reason':'b'"), false},
    {"an empty reason and none", EVENT("vm.stopped", ",'reason':''"), EVENT("vm.stopped", ""),
     false},
    {"sequence", TOP(ALL ",'sequence':'1'"), TOP(ALL ",'sequence':'01'"), false},
    {"a sequence that is absent", TOP(ALL ",'sequence':'1'"), TOP(ALL), false},
    {"what is retracted: source", EVENT("vm.retracted", ",'source':'/a','id':'1'"),
     EVENT("vm.retracted", ",'source':'/b','id':'1'"), false},
    {"what is retracted: id", EVENT("vm.retracted", ",'source':'/a','id':'1'"),
     EVENT("vm.retracted", ",'source':'/a','id':'2'"), false},
};

START_TEST(contents)
{
    OWNED_ARENA Arena *arena = arena_new();
    Event a, b;
    ck_assert_int_eq(decode(CONTENTS[_i].a, NULL, 0, arena, &a), DEAD_NOT);
    ck_assert_int_eq(decode(CONTENTS[_i].b, NULL, 0, arena, &b), DEAD_NOT);
    ck_assert_msg(event_same_content(&a, &b) == CONTENTS[_i].same, "%s", CONTENTS[_i].label);
    ck_assert_msg(event_same_content(&b, &a) == CONTENTS[_i].same, "%s, back", CONTENTS[_i].label);
}
END_TEST

START_TEST(names)
{
    static const char *const expected[] = {"none",         "malformed",       "invalid",
                                           "unknown_type", "unknown_account", "unknown_size",
                                           "future",       "conflict",        "rejected"};
    for (int i = 0; i < DEAD_REASONS; i++)
        ck_assert_str_eq(dead_reason_name((DeadReason)i), expected[i]);
    static const char *const types[] = {"vm.started",    "vm.resized", "vm.heartbeat",
                                        "vm.hibernated", "vm.stopped", "vm.retracted"};
    for (int i = 0; i < EVENT_NOT_METERED; i++)
        ck_assert_str_eq(event_type_name((EventType)i), types[i]);
    ck_assert_ptr_null(event_type_name(EVENT_NOT_METERED));
    ck_assert_ptr_null(event_type_name(EVENT_UNKNOWN));
    static const char *const bootups[] = {"CLEAN", "FORK", "RESUME", "RUNNING", "?"};
    for (int i = 0; i < 5; i++) ck_assert_str_eq(bootup_name((Bootup)i), bootups[i]);
}
END_TEST

#define EACH(test, rows) tcase_add_loop_test(tests, test, 0, (int)(sizeof(rows) / sizeof *(rows)))

int main(void)
{
    TCase *tests = tcase_create("event");
    EACH(good, GOOD);
    EACH(bad, BAD);
    EACH(modes, MODES);
    tcase_add_test(tests, bytes);
    tcase_add_test(tests, depths);
    EACH(contents, CONTENTS);
    tcase_add_test(tests, names);
    Suite *suite = suite_create("event");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
