// SPDX-License-Identifier: Apache-2.0
// Proves that sha256 gives the values of FIPS 180-4 at every padding, and that what an invoice's
// hash covers is, byte for byte, what docs/invoices.md says.
#include "billing/chain.h"

#include <check.h>

static const struct {
    const char *message, *hash;
} VECTORS[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
     "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
     "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
};

START_TEST(vectors)
{
    char text[SHA256_TEXT];
    Sha256 hash = sha256(str(VECTORS[_i].message)), parsed;
    ck_assert_str_eq(sha256_format(&hash, text), VECTORS[_i].hash);
    ck_assert(sha256_parse(str(text), &parsed));
    ck_assert_mem_eq(parsed.bytes, hash.bytes, SHA256_BYTES);
}
END_TEST

START_TEST(a_million_letters)
{
    char text[SHA256_TEXT];
    OWNED_TEXT char *letters = mem_alloc(1000000);
    memset(letters, 'a', 1000000);
    Sha256 hash = sha256((Str){letters, 1000000});
    ck_assert_str_eq(sha256_format(&hash, text),
                     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

START_TEST(not_a_hash)
{
    Sha256 hash;
    ck_assert(!sha256_parse(STR(""), &hash));
    ck_assert(!sha256_parse(STR("E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
                            &hash));
    ck_assert(!sha256_parse(STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85"),
                            &hash));
}
END_TEST

static const char CONTENT[] =
    "0000000000000000000000000000000000000000000000000000000000000000\n"
    "{\"number\":\"INV-2026-000001\",\"account\":\"acme\","
    "\"name\":\"\\\"A\\\" \\u007f\xc3\xb6\\n\","
    "\"period\":\"2026-09\",\"issued_at\":\"2026-10-01T01:00:00.5Z\",\"currency\":\"USD\","
    "\"usage\":[{\"size\":\"nano\",\"minutes\":3,\"credit_minutes\":30,\"credits\":\"0.5000\"}],"
    "\"included_credit_minutes\":1,\"granted_credit_minutes\":2,\"purchased_credit_minutes\":27,"
    "\"lines\":[{\"kind\":\"adjustment\",\"description\":\"Adjustment of 2026-08\","
    "\"period\":\"2026-08\",\"from\":\"2026-09-01\",\"to\":\"2026-10-01\",\"amount\":\"-0.01\"},"
    "{\"kind\":\"grant\",\"description\":\"Grant g\",\"grant\":\"g\",\"from\":\"2026-09-01\","
    "\"to\":\"2026-10-01\",\"amount\":\"-1.00\"}],\"subtotal\":\"-0.01\",\"total\":\"0.00\"}\n"
    "{\"catalog_revision\":4,\"account_revision\":7,\"inputs\":{}}\n";

START_TEST(content_byte_by_byte)
{
    const Period period = {2026 * 12 + 8};
    const Day from = period_first(period), to = period_end(period);
    SizeUsage usage = {.size = STR("nano"), .minutes = 3, .cm = {30}};
    Line lines[] = {
        {.kind = LINE_ADJUSTMENT,
         .description = STR("Adjustment of 2026-08"),
         .from = from,
         .to = to,
         .adjusted = {2026 * 12 + 7},
         .amount = {-1}},
        {.kind = LINE_GRANT,
         .description = STR("Grant g"),
         .from = from,
         .to = to,
         .grant = STR("g"),
         .amount = {-100}},
    };
    Invoice invoice = {
        .number = STR("INV-2026-000001"),
        .account = STR("acme"),
        .name = STR("\"A\" \x7f\xc3\xb6\n"),
        .period = period,
        .issued = true,
        .status = STR("voided"),
        .usages = 1,
        .usage = &usage,
        .lines = 2,
        .line = lines,
        .included = {1},
        .granted = {2},
        .purchased = {27},
        .subtotal = {-1},
        .total = {0},
        .hash = STR("not hashed"),
    };
    ck_assert(instant_parse(STR("2026-10-01T01:00:00.5Z"), &invoice.issued_at));
    const Kept kept = {.inputs = STR("{}"), .catalog_revision = 4, .account_revision = 7};
    const Sha256 zeros = {{0}};
    OWNED_BUF Buf content = {0};
    chain_content(&zeros, &invoice, &kept, &content);
    ck_assert_str_eq(content.p, CONTENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chain");
    TCase *chain = tcase_create("chain");
    tcase_add_loop_test(chain, vectors, 0, sizeof VECTORS / sizeof *VECTORS);
    tcase_add_test(chain, a_million_letters);
    tcase_add_test(chain, not_a_hash);
    tcase_add_test(chain, content_byte_by_byte);
    suite_add_tcase(suite, chain);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
