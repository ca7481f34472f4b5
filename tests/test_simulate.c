// SPDX-License-Identifier: Apache-2.0
// Proves that a fleet depends on its seed alone, comes in order, and that repeats and disorder
// change how events are delivered and never which there are; and that the worked example has its
// exact minutes.
#include "simulate/fleet.h"

#include <check.h>

typedef struct Played {
    uint64_t *hashes; // of each delivery's text
    size_t count, room;
    uint64_t all; // of all texts in order
    int by_type[5];
    int64_t late_us; // the most that a delivery came after a later event's
} Played;

static FleetConfig config_of(uint64_t seed)
{
    FleetConfig config = {
        .seed = seed, .accounts = 3, .vms = 20, .runs_per_day = 6, .heartbeat_s = 600};
    ck_assert(instant_or_day_parse(STR("2026-09-01"), &config.from));
    ck_assert(instant_or_day_parse(STR("2026-09-08"), &config.to));
    return config;
}

static int compare_hashes(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static Played play(FleetConfig config)
{
    Played played = {.all = HASH_SEED};
    OWNED_FLEET Fleet *fleet = NULL;
    OWNED_BUF Buf text = {0};
    Error error = {0};
    FleetEvent event;
    int64_t last_us = 0;
    ck_assert_msg(fleet_new(&config, &fleet, &error) == ST_OK, "%s", error.text);
    while (fleet_next(fleet, &event)) {
        ck_assert(event.time.us >= config.from.us && event.time.us < config.to.us);
        if (last_us - event.time.us > played.late_us) played.late_us = last_us - event.time.us;
        if (event.time.us > last_us) last_us = event.time.us;
        buf_clear(&text);
        fleet_json(fleet, &event, &text);
        if (played.count == played.room) {
            played.room = played.room * 2 + 1024;
            played.hashes = mem_resize(played.hashes, played.room * sizeof *played.hashes);
        }
        played.hashes[played.count++] = str_hash(HASH_SEED, buf_str(&text));
        played.all = str_hash(played.all, buf_str(&text));
        played.by_type[event.type]++;
    }
    return played;
}

// Sorts, and drops what came more than once.
static void make_set(Played *played)
{
    size_t kept = 0;
    qsort(played->hashes, played->count, sizeof *played->hashes, compare_hashes);
    for (size_t i = 0; i < played->count; i++)
        if (i == 0 || played->hashes[i] != played->hashes[i - 1])
            played->hashes[kept++] = played->hashes[i];
    played->count = kept;
}

START_TEST(depends_on_its_seed)
{
    Played first = play(config_of(7)), again = play(config_of(7)), other = play(config_of(8));
    ck_assert_uint_eq(first.all, again.all);
    ck_assert_uint_ne(first.all, other.all);
    ck_assert_int_eq(first.late_us, 0);
    size_t count = first.count;
    make_set(&first);
    ck_assert_uint_eq(first.count, count); // no event twice
    // 20 VMs, 7 days, about 6 runs a day; each ends, but for those that are open at the end
    ck_assert(first.by_type[FLEET_STARTED] > 500 && first.by_type[FLEET_STARTED] < 1200);
    int ends = first.by_type[FLEET_HIBERNATED] + first.by_type[FLEET_STOPPED];
    ck_assert(ends <= first.by_type[FLEET_STARTED] && ends >= first.by_type[FLEET_STARTED] - 20);
    ck_assert(first.by_type[FLEET_HEARTBEAT] > 1000 && first.by_type[FLEET_RESIZED] > 0);
    free(first.hashes);
    free(again.hashes);
    free(other.hashes);
}
END_TEST

START_TEST(delivery_changes_no_event)
{
    FleetConfig disturbed = config_of(7);
    disturbed.repeats_permille = 300;
    disturbed.disorder_s = 3600;
    Played calm = play(config_of(7)), wild = play(disturbed);
    ck_assert_uint_gt(wild.count, calm.count + calm.count / 4);
    ck_assert(wild.late_us > 0 && wild.late_us <= 3600 * US_PER_SECOND);
    make_set(&calm);
    make_set(&wild);
    ck_assert_uint_eq(calm.count, wild.count);
    ck_assert_mem_eq(calm.hashes, wild.hashes, calm.count * sizeof *calm.hashes);
    free(calm.hashes);
    free(wild.hashes);
}
END_TEST

START_TEST(loses_stops)
{
    FleetConfig config = config_of(7);
    config.lost_stops_permille = 1000;
    config.heartbeat_s = 0;
    Played played = play(config);
    ck_assert_int_eq(played.by_type[FLEET_HIBERNATED] + played.by_type[FLEET_STOPPED], 0);
    ck_assert_int_eq(played.by_type[FLEET_HEARTBEAT], 0);
    ck_assert_int_gt(played.by_type[FLEET_STARTED], 500);
    free(played.hashes);
}
END_TEST

START_TEST(has_the_worked_example)
{
    FleetConfig config = config_of(1);
    int64_t started_us[FLEET_EXAMPLE_VMS] = {0}, minutes = 0;
    OWNED_FLEET Fleet *fleet = NULL;
    Error error = {0};
    FleetEvent event;
    config.vms = 0;
    config.example = "acme";
    ck_assert(instant_or_day_parse(STR("2026-11-01"), &config.to));
    ck_assert_msg(fleet_new(&config, &fleet, &error) == ST_OK, "%s", error.text);
    while (fleet_next(fleet, &event)) {
        if (event.type == FLEET_STARTED) started_us[event.vm] = event.time.us;
        else minutes += (event.time.us - started_us[event.vm]) / US_PER_MINUTE;
    }
    ck_assert_int_eq(minutes, 80 * 3 * 60 * 30);
}
END_TEST

START_TEST(writes_cloud_events)
{
    static const char *const named[] = {"globex"};
    FleetConfig config = config_of(3);
    config.named = named;
    config.named_count = 1;
    OWNED_FLEET Fleet *fleet = NULL;
    OWNED_BUF Buf text = {0};
    Error error = {0};
    char id[FLEET_ID_TEXT];
    ck_assert_msg(fleet_new(&config, &fleet, &error) == ST_OK, "%s", error.text);
    FleetEvent event = {FLEET_STARTED, config.from, 4, 1, "FORK", 2, 17};
    ck_assert_str_eq(fleet_vm_id(fleet, 4, id), "vm3-000004");
    fleet_json(fleet, &event, &text);
    ck_assert_str_eq(
        text.p,
        "{\"specversion\":\"1.0\",\"id\":\"2026-09-01-vm3-000004-17\","
        "\"source\":\"/orchestrator/eu-1\","
        "\"type\":\"vm.started\",\"subject\":\"vm3-000004\",\"time\":\"2026-09-01T00:00:00Z\","
        "\"sequence\":\"0000000017\",\"data\":{\"account\":\"globex\",\"size\":\"nano\","
        "\"bootup\":\"FORK\",\"run\":\"2026-09-01-2\"}}");
    buf_clear(&text);
    event.vm = 9; // every tenth says its resources
    fleet_json(fleet, &event, &text);
    ck_assert_ptr_nonnull(strstr(text.p, "\"millicpu\":2000,\"memory_bytes\":4294967296,"));
}
END_TEST

START_TEST(refuses_nonsense)
{
    static const char *const named[] = {"acme", "a b"};
    FleetConfig rows[6];
    for (int i = 0; i < 6; i++) rows[i] = config_of(1);
    rows[0].vms = -1;
    rows[1].repeats_permille = 1001;
    rows[2].to = rows[2].from;
    rows[3].named = named, rows[3].named_count = 2;
    rows[4].example = "";
    rows[5].named = named, rows[5].named_count = 1, rows[5].example = "acme";
    for (int i = 0; i < 6; i++) {
        Fleet *fleet;
        Error error = {0};
        ck_assert_msg(fleet_new(&rows[i], &fleet, &error) == ST_BAD_INPUT, "row %d", i);
        ck_assert(fleet == NULL && error.text[0]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate");
    TCase *cases = tcase_create("fleet");
    tcase_add_test(cases, depends_on_its_seed);
    tcase_add_test(cases, delivery_changes_no_event);
    tcase_add_test(cases, loses_stops);
    tcase_add_test(cases, has_the_worked_example);
    tcase_add_test(cases, writes_cloud_events);
    tcase_add_test(cases, refuses_nonsense);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
