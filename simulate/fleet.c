// SPDX-License-Identifier: Apache-2.0
// Two heaps. `awake` holds every VM by the time of its next event; `post` holds the deliveries that
// are under way by the time they arrive. A delivery never arrives before its event, so whatever
// arrives no later than the next event of any VM can be handed out: that is the order that the
// fleet is played in.
#include "simulate/fleet.h"

#include <inttypes.h>
#include <stdio.h>

enum { REPEATS_MAX = 4, REPEAT_WITHIN_S = 60, RESIZES_PERCENT = 3, BY_RESOURCES_EVERY = 10 };
enum { EXAMPLE_SIZE = 1, EXAMPLE_HOUR = 9, US_PER_MS = 1000 };
#define NEVER INT64_MAX

static const struct {
    const char *name;
    int millicpu, memory_gib, share; // of a hundred VMs
} SIZES[] = {
    {"pico", 2000, 1, 20},     {"nano", 2000, 4, 40},    {"micro", 4000, 8, 20},
    {"small", 8000, 16, 12},   {"medium", 16000, 32, 5}, {"large", 32000, 64, 2},
    {"xlarge", 64000, 128, 1},
};
enum { SIZES_COUNT = sizeof SIZES / sizeof *SIZES };
static const char *const REGIONS[] = {"eu-1", "us-1", "us-2", "ap-1"};

typedef struct Vm {
    uint64_t random;
    int64_t next_us;      // its next event; NEVER: none
    int64_t end_us;       // of the run
    int64_t heartbeat_us; // NEVER: no more
    int64_t resize_us;    // NEVER: none to come
    uint32_t run, sequence;
    uint8_t size;
    bool running, hibernated;
} Vm;

// A binary heap of keys; what a key belongs to is in the upper structure.
typedef struct HeapEntry {
    int64_t at_us;
    uint64_t tie; // awake: the VM; post: a running number
} HeapEntry;

typedef struct Delivery {
    HeapEntry entry; // first: a heap of deliveries is a heap of entries
    FleetEvent event;
} Delivery;

typedef struct Heap {
    char *items;
    size_t size, count, room; // of an item, in bytes; items
} Heap;

struct Fleet {
    FleetConfig config;
    Vm *vms;
    int vms_count;        // the worked example's too
    char stamp[DAY_TEXT]; // of the first day: two months of one seed share VMs and no event
    int64_t cycle_us;     // a run and the rest after it, on average
    uint64_t random;      // of deliveries
    uint64_t posted;
    Heap awake, post;
};

// ---- heap ----
static HeapEntry *heap_at(const Heap *heap, size_t i)
{
    return (HeapEntry *)(void *)(heap->items + i * heap->size);
}

static bool sooner(const HeapEntry *a, const HeapEntry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->tie < b->tie;
}

static void heap_swap(Heap *heap, size_t i, size_t k)
{
    char spare[sizeof(Delivery)];
    memcpy(spare, heap_at(heap, i), heap->size);
    memcpy(heap_at(heap, i), heap_at(heap, k), heap->size);
    memcpy(heap_at(heap, k), spare, heap->size);
}

static void heap_push(Heap *heap, const void *item)
{
    if (heap->count == heap->room) {
        heap->room = heap->room ? heap->room * 2 : 64;
        heap->items = mem_resize(heap->items, heap->room * heap->size);
    }
    size_t i = heap->count++;
    memcpy(heap_at(heap, i), item, heap->size);
    for (; i > 0 && sooner(heap_at(heap, i), heap_at(heap, (i - 1) / 2)); i = (i - 1) / 2)
        heap_swap(heap, i, (i - 1) / 2);
}

// Restores the order after the first item was changed.
static void heap_sink(Heap *heap)
{
    for (size_t i = 0, first; (first = 2 * i + 1) < heap->count; i = first) {
        if (first + 1 < heap->count && sooner(heap_at(heap, first + 1), heap_at(heap, first)))
            first++;
        if (!sooner(heap_at(heap, first), heap_at(heap, i))) return;
        heap_swap(heap, i, first);
    }
}

static void heap_pop(Heap *heap)
{
    memcpy(heap_at(heap, 0), heap_at(heap, heap->count - 1), heap->size);
    heap->count--;
    heap_sink(heap);
}

// ---- chance ----
static uint64_t roll(uint64_t *state) // splitmix64
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int64_t below(uint64_t *state, int64_t n)
{
    return n > 0 ? (int64_t)(roll(state) % (uint64_t)n) : 0;
}

static uint8_t roll_size(uint64_t *state)
{
    int64_t left = below(state, 100);
    for (int size = 0; size < SIZES_COUNT; size++)
        if ((left -= SIZES[size].share) < 0) return (uint8_t)size;
    return 0;
}

// Half of the runs are short, a few last longer than the cycle; 35 % of it on average.
static int64_t roll_length(const Fleet *fleet, uint64_t *state)
{
    int64_t percent = fleet->cycle_us / 100, kind = below(state, 100);
    int64_t least = kind < 50   ? 1
                    : kind < 85 ? 20
                                : 60,
            most = kind < 50   ? 20
                   : kind < 85 ? 60
                               : 150;
    int64_t length = (least * percent + below(state, (most - least) * percent)) / US_PER_MS *
                     US_PER_MS;
    return length > 0 ? length : US_PER_MS;
}

static int64_t roll_rest(const Fleet *fleet, uint64_t *state)
{
    int64_t rest = below(state, fleet->cycle_us / 100 * 130) / US_PER_MS * US_PER_MS;
    return rest > 0 ? rest : US_PER_MS;
}

// ---- a VM's life ----
static bool is_example(const Fleet *fleet, int vm) { return vm >= fleet->config.vms; }

static void note(Vm *vm, int index, FleetType type, FleetEvent *out)
{
    *out = (FleetEvent){.type = type,
                        .time = {vm->next_us},
                        .vm = index,
                        .size = vm->size,
                        .run = vm->run,
                        .sequence = ++vm->sequence};
}

static void next_in_run(Vm *vm)
{
    vm->next_us = vm->end_us;
    if (vm->heartbeat_us < vm->next_us) vm->next_us = vm->heartbeat_us;
    if (vm->resize_us < vm->next_us) vm->next_us = vm->resize_us;
}

static void start(const Fleet *fleet, Vm *vm, int index, FleetEvent *out)
{
    bool resumed = vm->hibernated;
    vm->run++;
    vm->running = true;
    vm->heartbeat_us = vm->resize_us = NEVER;
    note(vm, index, FLEET_STARTED, out);
    if (is_example(fleet, index)) {
        out->bootup = "FORK";
        vm->end_us = vm->next_us + FLEET_EXAMPLE_HOURS * 60 * US_PER_MINUTE;
    } else {
        out->bootup = resumed ? "RESUME" : below(&vm->random, 10) < 7 ? "FORK" : "CLEAN";
        int64_t length = roll_length(fleet, &vm->random);
        vm->end_us = vm->next_us + length;
        if (fleet->config.heartbeat_s > 0)
            vm->heartbeat_us = vm->next_us + fleet->config.heartbeat_s * US_PER_SECOND;
        if (below(&vm->random, 100) < RESIZES_PERCENT) vm->resize_us = vm->next_us + length / 2;
    }
    next_in_run(vm);
}

// False where the end is lost: the VM lies still all the same.
static bool end(const Fleet *fleet, Vm *vm, int index, FleetEvent *out)
{
    vm->running = false;
    if (is_example(fleet, index)) {
        note(vm, index, FLEET_HIBERNATED, out);
        vm->next_us += US_PER_DAY - FLEET_EXAMPLE_HOURS * 60 * US_PER_MINUTE;
        if (vm->run == FLEET_EXAMPLE_DAYS) vm->next_us = NEVER;
        return true;
    }
    vm->hibernated = below(&vm->random, 10) < 6;
    bool told = below(&vm->random, 1000) >= fleet->config.lost_stops_permille;
    note(vm, index, vm->hibernated ? FLEET_HIBERNATED : FLEET_STOPPED, out);
    vm->next_us += roll_rest(fleet, &vm->random);
    return told;
}

static bool step(const Fleet *fleet, Vm *vm, int index, FleetEvent *out)
{
    if (!vm->running) {
        start(fleet, vm, index, out);
        return true;
    }
    if (vm->next_us == vm->end_us) return end(fleet, vm, index, out);
    if (vm->next_us == vm->resize_us) {
        vm->size = (uint8_t)((vm->size + 1) % SIZES_COUNT);
        vm->resize_us = NEVER;
        note(vm, index, FLEET_RESIZED, out);
    } else {
        note(vm, index, FLEET_HEARTBEAT, out);
        vm->heartbeat_us += fleet->config.heartbeat_s * US_PER_SECOND;
    }
    next_in_run(vm);
    return true;
}

// ---- the fleet ----
static void post(Fleet *fleet, const FleetEvent *event, int64_t within_s)
{
    int64_t delay_us = below(&fleet->random, within_s * US_PER_SECOND + 1);
    Delivery delivery = {{event->time.us + delay_us, fleet->posted++}, *event};
    heap_push(&fleet->post, &delivery);
}

// Lets the VM whose turn it is live on by one event, and posts that.
static void live(Fleet *fleet)
{
    const FleetConfig *config = &fleet->config;
    HeapEntry *first = heap_at(&fleet->awake, 0);
    int index = (int)first->tie;
    Vm *vm = &fleet->vms[index];
    FleetEvent event;
    bool told = step(fleet, vm, index, &event);
    if (vm->next_us < config->to.us) {
        first->at_us = vm->next_us;
        heap_sink(&fleet->awake);
    } else {
        heap_pop(&fleet->awake);
    }
    if (!told) return;
    post(fleet, &event, config->disorder_s);
    int64_t within_s = config->disorder_s > REPEAT_WITHIN_S ? config->disorder_s : REPEAT_WITHIN_S;
    for (int i = 0; i < REPEATS_MAX && below(&fleet->random, 1000) < config->repeats_permille; i++)
        post(fleet, &event, within_s);
}

bool fleet_next(Fleet *fleet, FleetEvent *out)
{
    while (fleet->awake.count > 0 &&
           (fleet->post.count == 0 ||
            heap_at(&fleet->post, 0)->at_us > heap_at(&fleet->awake, 0)->at_us))
        live(fleet);
    if (fleet->post.count == 0) return false;
    *out = ((Delivery *)(void *)heap_at(&fleet->post, 0))->event;
    heap_pop(&fleet->post);
    return true;
}

static Status check(const FleetConfig *config, Error *error)
{
    const struct {
        const char *name;
        int64_t value, least, most;
    } rows[] = {
        {"accounts", config->accounts, 1, FLEET_ACCOUNTS_MAX},
        {"vms", config->vms, 0, FLEET_VMS_MAX},
        {"runs a day", config->runs_per_day, 1, FLEET_RUNS_MAX},
        {"heartbeat seconds", config->heartbeat_s, 0, 86400},
        {"repeats", config->repeats_permille, 0, 1000},
        {"disorder seconds", config->disorder_s, 0, 30 * 86400},
        {"lost stops", config->lost_stops_permille, 0, 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value < rows[i].least || rows[i].value > rows[i].most)
            return error_set(error, ST_BAD_INPUT,
                             "%s: %" PRId64 ": expected %" PRId64 " to %" PRId64, rows[i].name,
                             rows[i].value, rows[i].least, rows[i].most);
    for (int i = 0; i <= config->named_count; i++) {
        const char *id = i < config->named_count ? config->named[i] : config->example;
        if (id && !str_is_id(str(id)))
            return error_set(error, ST_BAD_INPUT,
                             "account '%s': expected 1 to 64 characters of A-Z a-z 0-9 . _ : -",
                             id);
        if (i < config->named_count && config->example && strcmp(id, config->example) == 0)
            return error_set(error, ST_BAD_INPUT,
                             "account '%s': has the worked example and can have no other VMs", id);
    }
    if (instant_compare(config->from, config->to) >= 0)
        return error_set(error, ST_BAD_INPUT, "the time to begin is not before the time to end");
    return ST_OK;
}

static void add_vm(Fleet *fleet, int index)
{
    Vm *vm = &fleet->vms[index];
    uint64_t seed = fleet->config.seed * UINT64_C(0xd1342543de82ef95) + (uint64_t)index;
    *vm = (Vm){.random = roll(&seed)};
    if (is_example(fleet, index)) {
        int number = index - (int)fleet->config.vms;
        vm->size = EXAMPLE_SIZE;
        vm->next_us = day_start(instant_day(fleet->config.from)).us +
                      (EXAMPLE_HOUR * 60 + number) * US_PER_MINUTE;
    } else {
        vm->size = roll_size(&vm->random);
        vm->next_us = fleet->config.from.us +
                      below(&vm->random, fleet->cycle_us) / US_PER_MS * US_PER_MS;
    }
    HeapEntry entry = {vm->next_us, (uint64_t)index};
    if (vm->next_us < fleet->config.to.us) heap_push(&fleet->awake, &entry);
}

Status fleet_new(const FleetConfig *config, Fleet **out, Error *error)
{
    *out = NULL;
    TRY(check(config, error));
    Fleet *fleet = mem_alloc(sizeof *fleet);
    *fleet = (Fleet){.config = *config,
                     .vms_count = (int)config->vms + (config->example ? FLEET_EXAMPLE_VMS : 0),
                     .cycle_us = US_PER_DAY / config->runs_per_day,
                     .random = config->seed,
                     .awake = {.size = sizeof(HeapEntry)},
                     .post = {.size = sizeof(Delivery)}};
    day_format(instant_day(config->from), fleet->stamp);
    fleet->vms = mem_alloc(((size_t)fleet->vms_count + 1) * sizeof *fleet->vms);
    for (int i = 0; i < fleet->vms_count; i++) add_vm(fleet, i);
    *out = fleet;
    return ST_OK;
}

void fleet_free(Fleet *fleet)
{
    if (!fleet) return;
    free(fleet->awake.items);
    free(fleet->post.items);
    free(fleet->vms);
    free(fleet);
}

// ---- in words ----
char *fleet_vm_id(const Fleet *fleet, int vm, char out[static FLEET_ID_TEXT])
{
    if (is_example(fleet, vm))
        ASSERT(snprintf(out, FLEET_ID_TEXT, "example-%02d", vm - (int)fleet->config.vms) > 0);
    else ASSERT(snprintf(out, FLEET_ID_TEXT, "vm%" PRIu64 "-%06d", fleet->config.seed, vm) > 0);
    return out;
}

static void add_account(const Fleet *fleet, int vm, Buf *out)
{
    const FleetConfig *config = &fleet->config;
    if (is_example(fleet, vm)) buf_add_text(out, config->example);
    else if (config->named_count > 0) buf_add_text(out, config->named[vm % config->named_count]);
    else buf_addf(out, "acct-%03d", vm % (int)config->accounts + 1);
}

static const char *region_of(const Fleet *fleet, int vm)
{
    int64_t accounts = fleet->config.named_count > 0 ? fleet->config.named_count
                                                     : fleet->config.accounts;
    return REGIONS[is_example(fleet, vm) ? 0 : vm % accounts % 4];
}

static void add_size(const Fleet *fleet, const FleetEvent *event, Buf *out)
{
    if (!is_example(fleet, event->vm) && event->vm % BY_RESOURCES_EVERY == BY_RESOURCES_EVERY - 1)
        buf_addf(out, ",\"millicpu\":%d,\"memory_bytes\":%" PRId64, SIZES[event->size].millicpu,
                 (int64_t)SIZES[event->size].memory_gib << 30);
    else buf_addf(out, ",\"size\":\"%s\"", SIZES[event->size].name);
}

void fleet_json(const Fleet *fleet, const FleetEvent *event, Buf *out)
{
    static const char *const types[] = {"started", "resized", "heartbeat", "hibernated", "stopped"};
    char id[FLEET_ID_TEXT], time[INSTANT_TEXT];
    fleet_vm_id(fleet, event->vm, id);
    buf_addf(out,
             "{\"specversion\":\"1.0\",\"id\":\"%s-%s-%" PRIu32
             "\",\"source\":\"/orchestrator/%s\","
             "\"type\":\"vm.%s\",\"subject\":\"%s\",\"time\":\"%s\",\"sequence\":\"%010" PRIu32
             "\",\"data\":{\"account\":\"",
             fleet->stamp, id, event->sequence, region_of(fleet, event->vm), types[event->type], id,
             instant_format(event->time, time), event->sequence);
    add_account(fleet, event->vm, out);
    buf_add_char(out, '"');
    if (event->type == FLEET_STARTED || event->type == FLEET_RESIZED) add_size(fleet, event, out);
    if (event->type == FLEET_STARTED) buf_addf(out, ",\"bootup\":\"%s\"", event->bootup);
    if (event->type == FLEET_HIBERNATED) buf_add_text(out, ",\"reason\":\"idle\"");
    if (event->type == FLEET_STOPPED) buf_add_text(out, ",\"reason\":\"requested\"");
    buf_addf(out, ",\"run\":\"%s-%" PRIu32 "\"}}", fleet->stamp, event->run);
}
