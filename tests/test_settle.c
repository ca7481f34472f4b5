// SPDX-License-Identifier: Apache-2.0
// Proves that what invoices charge for each closed period, by own lines and by adjustments, is what
// it comes to with all that is known, and that grants have given what closed periods draw, whatever
// changes between: usage, terms, grants, and invoices that are voided and issued anew. The
// restatement that it is compared with rates all periods from scratch. TALLY_SEED=N makes the first
// history that of seed N.
#include "billing/inputs.h"
#include "billing/settle.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>

extern const char DEFAULT_CATALOG[];

enum {
    PERIODS = 5,
    SIZES = 3,
    GRANTS = 4,
    STEPS = 60,
    DOCUMENTS_MAX = STEPS,
    HISTORIES_PER_PART = 40,
    PARTS = 5,
};
static const Period FIRST = {2026 * 12 + 8}; // 2026-09
static const char *const SIZE_NAMES[SIZES] = {"micro", "nano", "xlarge"};
static const char *const GRANT_IDS[GRANTS] = {"commit", "early", "late", "usd"};

typedef struct Document {
    bool standing;
    int period; // from FIRST
    Cents own, subtotal;
    Cents adjusted[PERIODS];
    int64_t drawn[GRANTS];
} Document;

typedef struct History {
    Arena *arena;
    const Catalog *catalog;
    Account account;
    bool has[GRANTS];
    int64_t amount[GRANTS]; // credits, or dollars
    int64_t minutes[PERIODS][RATE_DAYS_MAX][SIZES];
    Document document[DOCUMENTS_MAX];
    int documents, billed; // periods that were billed, or had nothing to bill
    bool clean;            // nothing changed since an invoice was issued, and nothing is open again
    uint64_t seed;
} History;

static uint64_t first_seed, state;

static int64_t below(int64_t n)
{
    state += UINT64_C(0x9E3779B97F4A7C15); // splitmix64
    uint64_t z = state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (int64_t)((z ^ (z >> 31)) % (uint64_t)n);
}

static int64_t pick(const int64_t *from, int64_t n) { return from[below(n)]; }

// ---- what is known ----
static void read_account(History *h, const char *plan)
{
    static const char *const rest[GRANTS] = {
        "\"unit\":\"credit\",\"from\":\"2026-09-01\"",
        "\"unit\":\"credit\",\"priority\":1,\"from\":\"2026-09-01\",\"expires\":\"2026-10-11\"",
        "\"unit\":\"credit\",\"priority\":2,\"from\":\"2026-10-05\",\"expires\":\"2027-01-02\"",
        "\"unit\":\"usd\",\"from\":\"2026-10-01\""};
    OWNED_BUF Buf json = {0};
    Account *accounts = NULL;
    size_t count = 0;
    Error error;
    buf_addf(&json,
             "{\"accounts\":[{\"id\":\"acme\",\"name\":\"Acme\",\"tax_rate_bps\":1900,"
             "\"subscriptions\":[{\"plan\":\"%s\",\"from\":\"2026-09-05\"},"
             "{\"plan\":null,\"from\":\"2026-12-20\"}],\"grants\":[",
             plan);
    for (int g = 0, any = 0; g < GRANTS; g++)
        if (h->has[g])
            buf_addf(&json, "%s{\"id\":\"%s\",\"amount\":\"%" PRId64 "\",%s}", any++ ? "," : "",
                     GRANT_IDS[g], h->amount[g], rest[g]);
    buf_add_text(&json, "]}]}");
    Status status = accounts_parse(buf_str(&json), h->catalog, h->arena, &accounts, &count, &error);
    ck_assert_msg(status == ST_OK && count == 1, "%s", error.text);
    h->account = accounts[0];
    h->account.content = (Str){0};
}

static void change_account(History *h)
{
    static const char *const plans[] = {"build", "pro", "scale"};
    static const int64_t amounts[] = {1, 50, 700, 3000};
    for (int g = 0; g < GRANTS; g++) {
        h->has[g] = below(4) > 0;
        h->amount[g] = pick(amounts, 4);
    }
    read_account(h, plans[below(3)]);
}

static void change_usage(History *h, int through)
{
    static const int64_t minutes[] = {0, 0, 1, 61, 600, 1440};
    int period = (int)below(through + 1);
    h->minutes[period][below(28)][below(SIZES)] = pick(minutes, 6);
}

static DayUsage *cells_of(const History *h, int period, size_t *count)
{
    DayUsage *cells = arena_alloc(h->arena, RATE_DAYS_MAX * SIZES * sizeof *cells);
    Day first = period_first((Period){FIRST.months + period});
    *count = 0;
    for (int day = 0; day < RATE_DAYS_MAX; day++)
        for (int s = 0; s < SIZES; s++)
            if (h->minutes[period][day][s] > 0)
                cells[(*count)++] = (DayUsage){h->account.id, day_add(first, day),
                                               catalog_size(h->catalog, str(SIZE_NAMES[s])),
                                               h->minutes[period][day][s]};
    return cells;
}

// ---- what was billed ----
static bool is_open_again(const History *h, int period)
{
    bool voided = false;
    for (int d = 0; d < h->documents; d++) {
        if (h->document[d].period != period) continue;
        if (h->document[d].standing) return false;
        voided = true;
    }
    return voided;
}

static Cents charged(const History *h, int period)
{
    Cents sum = {0};
    for (int d = 0; d < h->documents; d++) {
        const Document *document = &h->document[d];
        if (!document->standing) continue;
        if (document->period == period) sum = cents_add(sum, document->own);
        sum = cents_add(sum, document->adjusted[period]);
    }
    return sum;
}

static int64_t drawn(const History *h, int grant)
{
    int64_t sum = 0;
    for (int d = 0; d < h->documents; d++)
        if (h->document[d].standing) sum += h->document[d].drawn[grant];
    return sum;
}

static Settling settling_of(const History *h, int target)
{
    Settling s = {.account = &h->account, .catalog = h->catalog, .first = FIRST};
    s.periods = (size_t)(target >= h->billed ? target + 1 : h->billed);
    s.period = arena_alloc(h->arena, s.periods * sizeof *s.period);
    for (int p = 0; p < (int)s.periods; p++) {
        s.period[p].cell = cells_of(h, p, &s.period[p].cells);
        s.period[p].closed = p < h->billed && !is_open_again(h, p);
        s.period[p].charged = charged(h, p);
    }
    s.grants = grants_of(&h->account, h->catalog, 0, h->arena);
    s.grants.draw = arena_alloc(h->arena, GRANTS * sizeof *s.grants.draw);
    for (int g = 0; g < GRANTS; g++) {
        GrantUnit unit = g == GRANTS - 1 ? GRANT_USD : GRANT_CREDIT;
        s.grants.draw[s.grants.draws++] = (GrantDraw){str(GRANT_IDS[g]), unit, drawn(h, g)};
        for (size_t i = 0; i < s.grants.count; i++) {
            RateGrant *grant = &s.grants.grant[i];
            if (!str_is(grant->grant.id, GRANT_IDS[g])) continue;
            grant->balance = grant->balance > drawn(h, g) ? grant->balance - drawn(h, g) : 0;
        }
    }
    return s;
}

// ---- the restatement ----
typedef struct Restated {
    Cents own[PERIODS];
    int64_t drawn[PERIODS][GRANTS];
} Restated;

static Restated restate(const History *h, int periods)
{
    Restated out = {0};
    GrantList left = grants_of(&h->account, h->catalog, 0, h->arena);
    for (int p = 0; p < periods; p++) {
        RateInput in;
        Rating rating;
        size_t count;
        DayUsage *cells = cells_of(h, p, &count);
        rate_input(&h->account, h->catalog, (Period){FIRST.months + p}, cells, count, left.grant,
                   left.count, h->arena, &in);
        for (size_t i = 0; i < in.grants; i++) // those in usd have no part in it
            if (in.grant[i].grant.unit == GRANT_USD) in.grant[i].balance = 0;
        rate(&in, h->arena, &rating);
        rate_draw(&in, &rating, left.grant, left.count);
        out.own[p] = rating.own;
        for (size_t i = 0; i < in.grants; i++)
            for (int g = 0; g < GRANTS; g++)
                if (str_is(in.grant[i].grant.id, GRANT_IDS[g])) out.drawn[p][g] = rating.drawn[i];
    }
    return out;
}

// ---- what must hold ----
#define HOLDS(h, condition, ...)                                                                   \
    do {                                                                                           \
        char what[128];                                                                            \
        snprintf(what, sizeof what, __VA_ARGS__);                                                  \
        ck_assert_msg(condition, "TALLY_SEED=%" PRIu64 ": %s", (h)->seed, what);                   \
    } while (0)

static void check_charges(const History *h, bool issued)
{
    Restated now = restate(h, h->billed);
    Cents sum = {0}, expected = {0};
    for (int d = 0; d < h->documents; d++)
        if (h->document[d].standing) sum = cents_add(sum, h->document[d].subtotal);
    for (int p = 0; p < h->billed; p++) {
        bool again = is_open_again(h, p);
        expected = cents_add(expected, again ? charged(h, p) : now.own[p]);
        if (again) continue;
        HOLDS(h, charged(h, p).cents == now.own[p].cents,
              "period %d: charged %" PRId64 ", comes to %" PRId64, p, charged(h, p).cents,
              now.own[p].cents);
    }
    HOLDS(h, sum.cents == expected.cents, "subtotals %" PRId64 ", restated %" PRId64, sum.cents,
          expected.cents);
    for (int g = 0; issued && g < GRANTS - 1; g++) {
        int64_t due = 0;
        for (int p = 0; p < h->billed; p++)
            if (!is_open_again(h, p)) due += now.drawn[p][g];
        HOLDS(h, drawn(h, g) == due, "grant %s: drawn %" PRId64 ", restated %" PRId64, GRANT_IDS[g],
              drawn(h, g), due);
    }
}

// What is kept rates to the same again, and so does each period that was adjusted.
static void check_kept(const History *h, const Settled *settled)
{
    OWNED_BUF Buf kept = {0};
    RateInput in;
    Rating again;
    Error error;
    inputs_write(&settled->in, &kept);
    ck_assert_msg(inputs_parse(buf_str(&kept), h->arena, &in, &error) == ST_OK, "%s", error.text);
    rate(&in, h->arena, &again);
    HOLDS(h,
          again.total.cents == settled->rating.total.cents &&
              again.subtotal.cents == settled->rating.subtotal.cents,
          "kept inputs are rated otherwise");
    for (size_t i = 0; i < in.adjustments; i++) {
        const RateAdjustment *adjustment = &in.adjustment[i];
        rate(adjustment->rated, h->arena, &again);
        HOLDS(h, again.own.cents == adjustment->due.cents, "kept inputs of an adjusted period");
        HOLDS(h, adjustment->amount.cents == adjustment->due.cents - adjustment->charged.cents,
              "an adjustment is not due less charged");
    }
}

// Where nothing has changed, the period alone, on what is left of the grants, is all there is to
// it.
static void check_alone(const History *h, const Settling *s, const Settled *settled)
{
    if (!h->clean) return;
    HOLDS(h, settled->in.adjustments == 0, "nothing changed, and something is adjusted");
    for (size_t i = 0; i < settled->in.grants; i++) {
        const RateGrant *grant = &settled->in.grant[i];
        for (size_t d = 0; grant->grant.unit == GRANT_CREDIT && d < s->grants.draws; d++)
            if (str_equal(s->grants.draw[d].id, grant->grant.id))
                HOLDS(h, grant->balance == grant->grant.amount - s->grants.draw[d].amount,
                      "a balance is not what is left");
    }
}

// ---- steps ----
static void bill(History *h, int period)
{
    Settling s = settling_of(h, period);
    Settled settled;
    settle(&s, (Period){FIRST.months + period}, h->arena, &settled);
    check_alone(h, &s, &settled);
    check_kept(h, &settled);
    if (period >= h->billed) h->billed = period + 1;
    bool others = false;
    for (int p = 0; p < h->billed; p++) others = others || (p != period && is_open_again(h, p));
    HOLDS(h, settled.others_open == others, "whether others are open again");
    if (settled.rating.to_issue) {
        Document *document = &h->document[h->documents++];
        *document = (Document){.standing = true,
                               .period = period,
                               .own = settled.rating.own,
                               .subtotal = settled.rating.subtotal};
        for (size_t i = 0; i < settled.rating.lines; i++) {
            const Line *line = &settled.rating.line[i];
            if (line->kind == LINE_ADJUSTMENT)
                document->adjusted[line->adjusted.months - FIRST.months] = line->amount;
        }
        for (size_t i = 0; i < settled.draws; i++)
            for (int g = 0; g < GRANTS; g++)
                if (str_is(settled.draw[i].id, GRANT_IDS[g]))
                    document->drawn[g] = settled.draw[i].amount;
    }
    if (settled.rating.to_issue) h->clean = !others;
    check_charges(h, settled.rating.to_issue);
}

static void void_one(History *h)
{
    if (h->documents == 0) return;
    Document *document = &h->document[below(h->documents)];
    if (!document->standing) return;
    document->standing = h->clean = false;
}

static void bill_again(History *h)
{
    int from = (int)below(PERIODS);
    for (int i = 0; i < PERIODS; i++) {
        int period = (from + i) % PERIODS;
        if (!is_open_again(h, period)) continue;
        bill(h, period);
        return;
    }
}

static void run_history(uint64_t seed, const Catalog *catalog, Arena *arena)
{
    History h = {.arena = arena, .catalog = catalog, .seed = seed};
    state = seed;
    change_account(&h);
    for (int step = 0; step < STEPS; step++) {
        int64_t what = below(20);
        if (what < 9) {
            change_usage(&h, h.billed < PERIODS ? h.billed : PERIODS - 1);
            h.clean = false;
        } else if (what == 9) {
            change_account(&h);
            h.clean = false;
        } else if (what < 14 && h.billed < PERIODS) {
            bill(&h, h.billed);
        } else if (what < 16) {
            void_one(&h);
        } else {
            bill_again(&h);
        }
    }
}

START_TEST(histories)
{
    OWNED_CATALOG Catalog *catalog = NULL;
    OWNED_ARENA Arena *arena = arena_new();
    Error error;
    ck_assert(catalog_parse(str(DEFAULT_CATALOG), &catalog, &error) == ST_OK);
    for (uint64_t i = 0; i < HISTORIES_PER_PART; i++) {
        arena_reset(arena);
        run_history(first_seed + (uint64_t)_i * HISTORIES_PER_PART + i, catalog, arena);
    }
}
END_TEST

int main(void)
{
    const char *given = getenv("TALLY_SEED");
    first_seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_now().us;
    printf("TALLY_SEED=%" PRIu64 ", %d histories\n", first_seed, PARTS * HISTORIES_PER_PART);
    Suite *suite = suite_create("settle");
    TCase *tcase = tcase_create("histories");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, histories, 0, PARTS);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
