// SPDX-License-Identifier: Apache-2.0
// Proves that only a token's own text gets in, and, against a database, that a new token works at
// once, that a revoked or expired one ends in time, and that a database that is away makes nobody
// wait.
#include "api/access.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define ID "0123456789abcdef"
#define SECRET "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define TOKEN "tally_" ID "_" SECRET

// ---- texts ----
static const struct {
    const char *header;
    bool right;
} HEADERS[] = {
    {"Bearer " TOKEN, true},
    {"bearer " TOKEN, true},
    {"BEARER   " TOKEN, true},
    {NULL, false},
    {"", false},
    {"Bearer", false},
    {"Bearer ", false},
    {TOKEN, false},
    {"Bearer" TOKEN, false},
    {"Basic " TOKEN, false},
    {"Bearer " TOKEN " ", true}, // space around a header's value is not part of it (RFC 9110)
    {"Bearer " TOKEN "0", false},
    {"Bearer tally_" ID "_", false},
    {"Bearer tally_" ID SECRET "_", false},
    {"Bearer Tally_" ID "_" SECRET, false},
    {"Bearer tally_0123456789ABCDEF_" SECRET, false},
    {"Bearer tally_0123456789abcdeg_" SECRET, false},
};

START_TEST(headers)
{
    uint64_t id = 0;
    Sha256 hash;
    char text[SHA256_TEXT], digits[TOKEN_ID_TEXT];
    const char *header = HEADERS[_i].header;
    ck_assert_msg(bearer_parse(str(header), &id, &hash) == HEADERS[_i].right, "%s",
                  header ? header : "absent");
    if (!HEADERS[_i].right) return;
    token_id_format(id, digits);
    ck_assert_str_eq(digits, ID);
    // of the secret's 32 bytes, by sha256sum
    ck_assert_str_eq(sha256_format(&hash, text),
                     "4773d12e2371bb935b9a0f5439b4a1c3ad3f2414b86980f8418d1cfabdfadfef");
}
END_TEST

START_TEST(ids)
{
    ck_assert(str_is(token_id(STR(TOKEN)), ID));
    ck_assert(str_is(token_id(STR(ID)), ID));
    ck_assert(str_is(token_id(STR("tally_" ID)), ID));
    ck_assert(str_absent(token_id(STR("ally_" ID "x"))));
    ck_assert(str_absent(token_id(STR(""))));
    ck_assert(str_absent(token_id(STR("tally_x"))));
}
END_TEST

START_TEST(hashes)
{
    Sha256 a = sha256(STR("a")), b = a;
    ck_assert(hash_equal(&a, &b));
    for (int i = 0; i < SHA256_BYTES; i++) {
        b = a;
        b.bytes[i] ^= (uint8_t)(1 << (i % 8));
        ck_assert(!hash_equal(&a, &b));
    }
}
END_TEST

START_TEST(roles)
{
    static const char *const names[] = {"orchestrator", "finance", "customer", "admin"};
    Role role;
    for (int i = 0; i < 4; i++) {
        ck_assert(role_parse(str(names[i]), &role));
        ck_assert_str_eq(role_name(role), names[i]);
    }
    ck_assert(!role_parse(STR("anyone"), &role) && !role_parse(STR(""), &role));
}
END_TEST

// ---- against a database ----
static const char *server; // TALLY_TEST_DATABASE_URL
static char schema[32];
static Buf url;
static Db *db;
static Error error;

static void script(const char *sql)
{
    ck_assert_msg(db_script(db, sql, &error) == ST_OK, "%s: %s", sql, error.text);
}

static void setup(void)
{
    OWNED_BUF Buf create = {0};
    int applied;
    snprintf(schema, sizeof schema, "access_%d", (int)getpid());
    buf_addf(&url, "%s%coptions=-csearch_path%%3D%s", server, strchr(server, '?') ? '&' : '?',
             schema);
    buf_addf(&create, "CREATE SCHEMA %s", schema);
    ck_assert_msg(db_open(url.p, "test_access", &db, &error) == ST_OK, "%s", error.text);
    script(create.p);
    ck_assert_msg(db_migrate(db, &applied, &error) == ST_OK, "%s", error.text);
    script(
        "INSERT INTO account (account, revision, content)"
        " SELECT 'acme', 1, '{\"id\":\"acme\",\"name\":\"Acme\",\"subscriptions\":[]}'");
}

static void teardown(void)
{
    OWNED_BUF Buf drop = {0};
    buf_addf(&drop, "DROP SCHEMA %s CASCADE", schema);
    script(drop.p);
    db_close(db);
    buf_free(&url);
}

typedef struct Answered {
    pthread_mutex_t lock;
    int count;
    AccessResult result;
    Caller caller;
} Answered;

static void on_found(void *context, AccessResult result, const Caller *caller)
{
    Answered *answered = context;
    ck_assert(pthread_mutex_lock(&answered->lock) == 0);
    answered->count++;
    answered->result = result;
    answered->caller = *caller;
    ck_assert(pthread_mutex_unlock(&answered->lock) == 0);
}

enum { PATIENCE_MS = 10000 };

static AccessResult check(Access *access, const char *token, Caller *caller)
{
    OWNED_BUF Buf header = {0};
    Answered answered = {.lock = PTHREAD_MUTEX_INITIALIZER};
    buf_addf(&header, "Bearer %s", token);
    access_check(access, buf_str(&header), on_found, &answered);
    for (int64_t end = clock_monotonic_ms() + PATIENCE_MS;;) {
        ck_assert(pthread_mutex_lock(&answered.lock) == 0);
        int count = answered.count;
        ck_assert(pthread_mutex_unlock(&answered.lock) == 0);
        ck_assert_int_le(count, 1);
        if (count) break;
        ck_assert_msg(clock_monotonic_ms() < end, "no answer");
        clock_sleep_ms(1);
    }
    if (caller) *caller = answered.caller;
    return answered.result;
}

static void create(Role role, const char *account, const Instant *expires,
                   char text[static TOKEN_TEXT])
{
    ck_assert_msg(token_create(db, role, str(account), expires, STR("a note"), text, &error) ==
                      ST_OK,
                  "%s", error.text);
}

START_TEST(life)
{
    char text[TOKEN_TEXT], customers[TOKEN_TEXT];
    Caller caller;
    Access *access = NULL;
    ck_assert_int_eq(access_start(db, &access, &error), ST_OK);
    ck_assert_int_eq(check(access, TOKEN, NULL), ACCESS_REFUSED);
    create(ROLE_FINANCE, NULL, NULL, text);
    create(ROLE_CUSTOMER, "acme", NULL, customers);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(check(access, text, &caller), ACCESS_GRANTED);
        ck_assert(caller.role == ROLE_FINANCE && caller.account[0] == '\0');
        ck_assert(str_equal(str(caller.token), token_id(str(text))));
    }
    ck_assert_int_eq(check(access, customers, &caller), ACCESS_GRANTED);
    ck_assert_str_eq(caller.account, "acme");
    text[strlen(text) - 1] ^= 1; // another digit, or none
    ck_assert_int_eq(check(access, text, NULL), ACCESS_REFUSED);
    text[strlen(text) - 1] ^= 1;
    ck_assert_int_eq(token_revoke(db, token_id(str(text)), &error), ST_OK);
    int64_t began_ms = clock_monotonic_ms();
    while (check(access, text, NULL) == ACCESS_GRANTED)
        ck_assert_int_lt(clock_monotonic_ms() - began_ms, ACCESS_FRESH_MS);
    ck_assert_int_eq(check(access, customers, NULL), ACCESS_GRANTED);
    access_stop(access);
}
END_TEST

START_TEST(refusals)
{
    char text[TOKEN_TEXT];
    OWNED_ARENA Arena *arena = arena_new();
    Token *token;
    size_t count;
    ck_assert_int_eq(token_create(db, ROLE_CUSTOMER, (Str){0}, NULL, (Str){0}, text, &error),
                     ST_BAD_INPUT);
    ck_assert_int_eq(token_create(db, ROLE_ADMIN, STR("acme"), NULL, (Str){0}, text, &error),
                     ST_BAD_INPUT);
    ck_assert_int_eq(token_create(db, ROLE_CUSTOMER, STR("none"), NULL, (Str){0}, text, &error),
                     ST_MISSING);
    ck_assert_int_eq(token_revoke(db, STR(ID), &error), ST_MISSING);
    ck_assert_int_eq(tokens_list(db, arena, &token, &count, &error), ST_OK);
    ck_assert_uint_eq(count, 0);
    Instant past = instant_add_us(clock_now(), -US_PER_SECOND);
    create(ROLE_ADMIN, NULL, &past, text);
    ck_assert_int_eq(tokens_list(db, arena, &token, &count, &error), ST_OK);
    ck_assert_uint_eq(count, 1);
    ck_assert(token->expires && !token->revoked && str_is(token->note, "a note"));
    Access *access = NULL;
    ck_assert_int_eq(access_start(db, &access, &error), ST_OK);
    ck_assert_int_eq(check(access, text, NULL), ACCESS_REFUSED);
    access_stop(access);
}
END_TEST

// Who is known goes on; others are told at once that nothing is known.
START_TEST(away)
{
    char text[TOKEN_TEXT], other[TOKEN_TEXT];
    Access *access = NULL;
    create(ROLE_ORCHESTRATOR, NULL, NULL, text);
    create(ROLE_ORCHESTRATOR, NULL, NULL, other);
    ck_assert_int_eq(access_start(db, &access, &error), ST_OK);
    ck_assert_int_eq(check(access, text, NULL), ACCESS_GRANTED);
    script("ALTER TABLE token RENAME TO hidden");
    script(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'test_access' AND pid <> pg_backend_pid()"
        " AND query LIKE '%token%'");
    int64_t began_ms = clock_monotonic_ms();
    ck_assert_int_eq(check(access, other, NULL), ACCESS_UNKNOWN);
    ck_assert_int_eq(check(access, text, NULL), ACCESS_GRANTED);
    ck_assert_int_lt(clock_monotonic_ms() - began_ms, 1000);
    ck_assert(access_away(access));
    script("ALTER TABLE hidden RENAME TO token");
    while (check(access, other, NULL) != ACCESS_GRANTED) {
        ck_assert_int_lt(clock_monotonic_ms() - began_ms, PATIENCE_MS);
        clock_sleep_ms(20);
    }
    ck_assert(!access_away(access));
    access_stop(access);
}
END_TEST

// Many at once, known and unknown: each is told once, and rightly.
enum { CROWD = 8, ROUNDS = 500 };
typedef struct Crowd {
    Access *access;
    const char *token;
    int wrong;
} Crowd;

static void *ask_on(void *context)
{
    Crowd *crowd = context;
    char made_up[TOKEN_TEXT];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(made_up, sizeof made_up, "tally_%016x_" SECRET, (unsigned)i);
        crowd->wrong += check(crowd->access, crowd->token, NULL) != ACCESS_GRANTED;
        crowd->wrong += check(crowd->access, made_up, NULL) != ACCESS_REFUSED;
    }
    return NULL;
}

START_TEST(crowds)
{
    char text[CROWD][TOKEN_TEXT];
    Crowd crowd[CROWD] = {{0}};
    pthread_t thread[CROWD];
    Access *access = NULL;
    ck_assert_int_eq(access_start(db, &access, &error), ST_OK);
    for (int i = 0; i < CROWD; i++) {
        create(ROLE_FINANCE, NULL, NULL, text[i]);
        crowd[i] = (Crowd){.access = access, .token = text[i]};
        ck_assert(pthread_create(&thread[i], NULL, ask_on, &crowd[i]) == 0);
    }
    for (int i = 0; i < CROWD; i++) {
        ck_assert(pthread_join(thread[i], NULL) == 0);
        ck_assert_int_eq(crowd[i].wrong, 0);
    }
    access_stop(access);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("access");
    TCase *texts = tcase_create("texts"), *stored = tcase_create("stored");
    tcase_add_loop_test(texts, headers, 0, (int)(sizeof HEADERS / sizeof *HEADERS));
    tcase_add_test(texts, ids);
    tcase_add_test(texts, hashes);
    tcase_add_test(texts, roles);
    suite_add_tcase(suite, texts);
    server = getenv("TALLY_TEST_DATABASE_URL");
    if (server) {
        tcase_add_checked_fixture(stored, setup, teardown);
        tcase_set_timeout(stored, 60);
        tcase_add_test(stored, life);
        tcase_add_test(stored, refusals);
        tcase_add_test(stored, away);
        tcase_add_test(stored, crowds);
        suite_add_tcase(suite, stored);
    } else printf("TALLY_TEST_DATABASE_URL names no PostgreSQL: stored tokens are not tested\n");
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (failed) return 1;
    return server ? 0 : 77;
}
