// SPDX-License-Identifier: Apache-2.0
#include "billing/watch.h"

#include "billing/billing_sql.h"
#include "catalog/store.h"

#include <inttypes.h>
#include <stdio.h>

enum { ONCE_TEXT = 24 };
#define US_PER_HOUR (60 * US_PER_MINUTE)
#define AHEAD_MAX_US (3660 * US_PER_DAY) // further away is as good as never

const int WATCH_PERCENT[WATCH_STEPS] = {50, 80, 100};

struct Watch {
    Quota *quota;
    Arena *arena;     // of a page
    Catalog *catalog; // the newest that was needed
    char after[65];   // the account that the last pass came to; "": it came to the end
};

Watch *watch_new(const QuotaConfig *config)
{
    Watch *watch = mem_alloc(sizeof *watch);
    watch->quota = quota_new(config);
    watch->arena = arena_new();
    return watch;
}

void watch_free(Watch *watch)
{
    if (!watch) return;
    quota_free(watch->quota);
    arena_free(watch->arena);
    catalog_free(watch->catalog);
    free(watch);
}

// ---- deciding ----
static int credit_steps(const WatchFacts *f)
{
    int steps = 0;
    if (f->used_e4 <= 0) return 0;
    Wide all = (Wide)f->used_e4 + f->remaining_e4;
    while (steps < WATCH_STEPS && (Wide)f->used_e4 * 100 >= all * WATCH_PERCENT[steps]) steps++;
    return steps;
}

static int spend_steps(const WatchFacts *f)
{
    int steps = 0;
    if (!f->has_spend_limit) return 0;
    while (steps < WATCH_STEPS &&
           (Wide)f->spent.cents * 100 >= (Wide)f->spend_limit.cents * WATCH_PERCENT[steps])
        steps++;
    return steps;
}

static Instant after_us(Instant from, Wide us)
{
    return instant_add_us(from, us < AHEAD_MAX_US ? (int64_t)us : AHEAD_MAX_US);
}

// When the next step of credits is reached at the present rate.
static bool next_credits(const WatchFacts *f, int steps, Instant *out)
{
    if (steps == WATCH_STEPS || f->remaining_e4 <= 0 || f->per_hour <= 0) return false;
    Wide all = (Wide)f->used_e4 + f->remaining_e4;
    Wide more_e6 = all * WATCH_PERCENT[steps] - (Wide)f->used_e4 * 100; // credits, times 10^6
    *out = after_us(f->horizon, more_e6 * US_PER_HOUR / ((Wide)f->per_hour * 1000000));
    return true;
}

// The same of spending, at most: as if nothing came out of pool, grants or discount any more.
static bool next_spending(const WatchFacts *f, int steps, Instant *out)
{
    if (!f->has_spend_limit || steps == WATCH_STEPS || f->per_hour <= 0) return false;
    Wide cents_e6 = (Wide)f->per_hour * f->price.e12 / 10000 * (10000 + f->tax_rate_bps) / 10000;
    Wide more_e6 =
        ((Wide)f->spend_limit.cents * WATCH_PERCENT[steps] - (Wide)f->spent.cents * 100) * 10000;
    *out = after_us(f->horizon, more_e6 * US_PER_HOUR / (cents_e6 + 1));
    return true;
}

static void sooner(WatchVerdict *v, Instant at)
{
    if (!v->due || at.us < v->due_at.us) v->due_at = at;
    v->due = true;
}

// Half-way to where a step would be reached: rates change, and minutes count when they begin.
static void half_way(WatchVerdict *v, const WatchFacts *f, Instant at)
{
    int64_t half = (at.us - f->horizon.us) / 2;
    Instant soonest = instant_add_us(f->clock, US_PER_MINUTE / 2); // with the next pass
    sooner(v, instant_max(soonest, instant_add_us(f->horizon, half)));
}

WatchVerdict watch_judge(const WatchFacts *f)
{
    WatchVerdict v = {.credit_steps = credit_steps(f), .spend_steps = spend_steps(f)};
    v.exhausted = f->remaining_e4 <= 0 && (f->used_e4 > 0 || (f->overage_deny && f->per_hour > 0));
    Instant at;
    if (next_credits(f, v.credit_steps, &at)) half_way(&v, f, at);
    if (next_spending(f, v.spend_steps, &at)) half_way(&v, f, at);
    // Prices and terms change at midnight; a new period begins with its base fee.
    if (f->per_hour > 0) sooner(&v, day_start(day_add(instant_day(f->clock), 1)));
    if (f->has_spend_limit) sooner(&v, day_start(period_end(f->period)));
    if (f->expires) sooner(&v, f->expires_at);
    // What has just started burns from the horizon on, which is a little behind; and without any
    // event more nothing else would tell.
    if (f->running && f->per_hour == 0) sooner(&v, instant_add_us(f->clock, US_PER_MINUTE / 2));
    // While collectors are behind, usage may come that is older than the clock, without any event.
    if (f->per_hour > 0 && f->clock.us - f->horizon.us > US_PER_MINUTE)
        sooner(&v, instant_add_us(f->clock, US_PER_MINUTE / 2));
    return v;
}

// ---- a page of accounts ----
typedef struct Seen {
    Str account;
    int64_t version, account_revision, catalog_revision;
    bool running;
    WatchVerdict verdict;
} Seen;

typedef struct Page {
    Arena *arena;
    size_t count, notices;
    Seen *seen;
    Notice *notice;
    int64_t written;
} Page;

static Str printed(Arena *arena, Buf *buf)
{
    Str text = arena_copy(arena, buf_str(buf));
    buf_free(buf);
    return text;
}

static Str once_text(Arena *arena, Period period, int percent)
{
    char text[PERIOD_TEXT + ONCE_TEXT];
    period_format(period, text);
    if (percent > 0) snprintf(text + strlen(text), ONCE_TEXT, "/%d", percent);
    return arena_copy(arena, str(text));
}

// The members that all of them begin with.
static void begin_data(JsonWriter *w, Str account, Period period)
{
    char text[PERIOD_TEXT];
    jw_begin_object(w, NULL);
    jw_str(w, "account", account);
    jw_text(w, "period", period_format(period, text));
}

static void write_credits(JsonWriter *w, const WatchFacts *f, const Credits *credits)
{
    char amount[AMOUNT_TEXT], at[INSTANT_TEXT];
    credits_e4_format(f->used_e4, amount);
    jw_text(w, "used", amount);
    credits_e4_format(f->remaining_e4, amount);
    jw_text(w, "remaining", amount);
    jw_text(w, "overage", f->overage_deny ? "deny" : "bill");
    if (credits->runs_out) jw_text(w, "run_out_at", instant_format(credits->run_out_at, at));
    else jw_null(w, "run_out_at");
}

static void tell(Page *page, Str account, const WatchFacts *f, const char *type, int percent,
                 Buf *data)
{
    page->notice[page->notices++] = (Notice){.account = account,
                                             .type = type,
                                             .subject = account,
                                             .data = printed(page->arena, data),
                                             .once = once_text(page->arena, f->period, percent)};
}

static void tell_credits(Page *page, Str account, const WatchFacts *f, const Credits *credits,
                         const WatchVerdict *v)
{
    for (int step = 0; step < v->credit_steps; step++) {
        Buf data = {0};
        JsonWriter w = {.out = &data};
        begin_data(&w, account, f->period);
        jw_int(&w, "percent", WATCH_PERCENT[step]);
        write_credits(&w, f, credits);
        jw_end_object(&w);
        tell(page, account, f, "tally.credits.threshold", WATCH_PERCENT[step], &data);
    }
    if (!v->exhausted) return;
    Buf data = {0};
    JsonWriter w = {.out = &data};
    begin_data(&w, account, f->period);
    write_credits(&w, f, credits);
    jw_end_object(&w);
    tell(page, account, f, "tally.credits.exhausted", 0, &data);
}

static void tell_spending(Page *page, Str account, const WatchFacts *f, const WatchVerdict *v)
{
    char amount[AMOUNT_TEXT];
    for (int step = 0; step < v->spend_steps; step++) {
        Buf data = {0};
        JsonWriter w = {.out = &data};
        begin_data(&w, account, f->period);
        jw_int(&w, "percent", WATCH_PERCENT[step]);
        jw_text(&w, "spent", cents_format(f->spent, amount));
        jw_text(&w, "spend_limit", cents_format(f->spend_limit, amount));
        jw_text(&w, "currency", "USD");
        jw_end_object(&w);
        tell(page, account, f, "tally.spend.threshold", WATCH_PERCENT[step], &data);
    }
}

// What was paid by grants in usd this period, as it would be billed now.
static Cents usd_drawn(const Invoice *upcoming)
{
    Cents drawn = {0};
    for (size_t i = 0; i < upcoming->lines; i++)
        if (upcoming->line[i].kind == LINE_GRANT)
            drawn = cents_sub(drawn, upcoming->line[i].amount);
    return drawn;
}

static WatchFacts facts_of(const CreditsView *view, const Account *account, const Catalog *catalog)
{
    Day today = instant_day(view->now.clock);
    Standing standing = account_standing(account, today);
    Terms terms = account_terms(account, catalog, standing.subscription, today);
    Price price = catalog_on(catalog, today)->credit_price;
    WatchFacts f = {.clock = view->now.clock,
                    .horizon = view->now.horizon,
                    .period = view->period,
                    .remaining_e4 = view->credits.remaining_e4,
                    .per_hour = view->credits.per_hour,
                    .overage_deny = terms.overage_deny,
                    .has_spend_limit = account->has_spend_limit && !view->books_closed,
                    .spent = view->spent,
                    .spend_limit = account->spend_limit,
                    .price = price,
                    .tax_rate_bps = account->tax_rate_bps};
    if (!view->books_closed)
        f.used_e4 = credits_remaining_e4(view->pooled, view->upcoming.granted,
                                         usd_drawn(&view->upcoming), price,
                                         terms.credit_discount_bps);
    for (size_t i = 0; i < view->grants; i++) {
        const GrantStand *stand = &view->grant[i];
        if (!stand->in_force || stand->left <= 0) continue;
        Instant at = day_start(stand->grant.grant.expires);
        if (stand->grant.grant.expires.days >= DAY_END.days || at.us <= f.clock.us) continue;
        if (!f.expires || at.us < f.expires_at.us) f.expires_at = at;
        f.expires = true;
    }
    return f;
}

static Status look_at(Watch *watch, Db *db, Page *page, Seen *seen, const Account *account,
                      Error *error)
{
    CreditsView view;
    TRY(credits_read(db, seen->account, NULL, page->arena, &view, error));
    WatchFacts facts = facts_of(&view, account, watch->catalog);
    facts.running = seen->running;
    seen->verdict = watch_judge(&facts);
    tell_credits(page, seen->account, &facts, &view.credits, &seen->verdict);
    tell_spending(page, seen->account, &facts, &seen->verdict);
    return ST_OK;
}

// ---- writing a page ----
typedef struct SeenColumns {
    Buf account, version, account_revision, catalog_revision, due;
} SeenColumns;

static void seen_done(SeenColumns *c)
{
    buf_free(&c->account);
    buf_free(&c->version);
    buf_free(&c->account_revision);
    buf_free(&c->catalog_revision);
    buf_free(&c->due);
}

static void seen_fill(SeenColumns *c, const Page *page)
{
    Buf *const all[] = {&c->account, &c->version, &c->account_revision, &c->catalog_revision,
                        &c->due};
    char due[INSTANT_TEXT];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_begin(all[i]);
    for (size_t i = 0; i < page->count; i++) {
        const Seen *seen = &page->seen[i];
        array_add(&c->account, seen->account);
        array_add_int(&c->version, seen->version);
        array_add_int(&c->account_revision, seen->account_revision);
        array_add_int(&c->catalog_revision, seen->catalog_revision);
        if (seen->verdict.due) array_add(&c->due, str(instant_format(seen->verdict.due_at, due)));
        else array_add(&c->due, STR("infinity"));
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_end(all[i]);
}

static Status write_page(Db *db, void *context, Error *error)
{
    Page *page = context;
    TRY(notices_add(db, page->notice, page->notices, &page->written, error));
    __attribute__((cleanup(seen_done))) SeenColumns c = {0};
    seen_fill(&c, page);
    const Str params[] = {buf_str(&c.account), buf_str(&c.version), buf_str(&c.account_revision),
                          buf_str(&c.catalog_revision), buf_str(&c.due)};
    return db_run(db, &SQL_BILLING_WATCH_SEEN, 5, params, NULL, error);
}

// The newest catalogue, unless what is at hand is of this revision (0: of none).
static Status catalog_at(Watch *watch, Db *db, int64_t revision, Error *error)
{
    if (watch->catalog && watch->catalog->revision == revision) return ST_OK;
    Catalog *newer = NULL;
    TRY(catalog_load(db, &newer, error));
    catalog_free(watch->catalog);
    watch->catalog = newer;
    return ST_OK;
}

static Status read_page(Watch *watch, Db *db, Page *page, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {str(watch->after), param_int(page->arena, WATCH_PAGE_ACCOUNTS)};
    TRY(db_query(db, &SQL_BILLING_WATCH_ACCOUNTS, 2, params, &rows, error));
    page->count = (size_t)rows_count(rows);
    page->seen = arena_alloc(page->arena, (page->count + 1) * sizeof *page->seen);
    page->notice = arena_alloc(page->arena,
                               (page->count + 1) * (2 * WATCH_STEPS + 1) * sizeof *page->notice);
    for (size_t i = 0; i < page->count; i++)
        page->seen[i] = (Seen){.account = arena_copy(page->arena, rows_str(rows, (int)i, 0)),
                               .version = rows_int(rows, (int)i, 1),
                               .account_revision = rows_int(rows, (int)i, 2),
                               .catalog_revision = rows_int(rows, (int)i, 3),
                               .running = rows_bool(rows, (int)i, 4)};
    return ST_OK;
}

typedef struct Pass {
    Watch *watch;
    const atomic_bool *stop;
    int64_t until_ms;
    WatchDone *done;
} Pass;

static bool cut_short(const Pass *pass)
{
    return (pass->stop && *pass->stop) || clock_monotonic_ms() >= pass->until_ms;
}

// *more: there may be another page behind this one.
static Status credits_page(const Pass *pass, Db *db, bool *more, Error *error)
{
    Watch *watch = pass->watch;
    Page page = {.arena = watch->arena};
    arena_reset(watch->arena);
    TRY(read_page(watch, db, &page, error));
    *more = page.count == WATCH_PAGE_ACCOUNTS;
    if (page.count == 0) return ST_OK;
    TRY(catalog_at(watch, db, page.seen[page.count - 1].catalog_revision, error));
    Str *ids = arena_alloc(page.arena, page.count * sizeof *ids);
    for (size_t i = 0; i < page.count; i++) ids[i] = page.seen[i].account;
    Account *accounts = NULL;
    size_t count = 0;
    TRY(accounts_load_some(db, ids, page.count, page.arena, &accounts, &count, error));
    ASSERT(count == page.count); // accounts never go away
    size_t looked = 0;
    for (; looked < page.count && (looked == 0 || !cut_short(pass)); looked++)
        TRY(look_at(watch, db, &page, &page.seen[looked], &accounts[looked], error));
    *more = *more || looked < page.count;
    page.count = looked;
    TRY(db_transaction(db, write_page, &page, error));
    Str last = page.seen[looked - 1].account;
    snprintf(watch->after, sizeof watch->after, "%.*s", (int)last.n, last.p);
    pass->done->rated += (int64_t)looked;
    pass->done->told += page.written;
    return ST_OK;
}

static Status watch_credits(const Pass *pass, Db *db, Error *error)
{
    bool more = true;
    while (more && !cut_short(pass)) TRY(credits_page(pass, db, &more, error));
    pass->done->unfinished = more;
    if (!more) pass->watch->after[0] = '\0';
    return ST_OK;
}

// ---- runs that last too long ----
typedef struct Sessions {
    const Rows *rows;
    Arena *arena;
    int64_t written;
} Sessions;

static Str session_data(const Rows *rows, int row, Arena *arena)
{
    char at[INSTANT_TEXT];
    Buf data = {0};
    JsonWriter w = {.out = &data};
    jw_begin_object(&w, NULL);
    jw_str(&w, "account", rows_str(rows, row, 0));
    jw_str(&w, "vm", rows_str(rows, row, 1));
    jw_str(&w, "run", rows_str(rows, row, 2));
    jw_text(&w, "started_at", instant_format(rows_instant(rows, row, 3), at));
    jw_null(&w, "ended_at");
    jw_str(&w, "size", rows_str(rows, row, 4));
    jw_int(&w, "max_session_minutes", rows_int(rows, row, 5));
    jw_end_object(&w);
    return printed(arena, &data);
}

static Status write_sessions(Db *db, void *context, Error *error)
{
    Sessions *s = context;
    int n = rows_count(s->rows);
    Notice *notices = arena_alloc(s->arena, ((size_t)n + 1) * sizeof *notices);
    for (int i = 0; i < n; i++)
        notices[i] = (Notice){.account = rows_str(s->rows, i, 0),
                              .type = "tally.session.limit",
                              .subject = rows_str(s->rows, i, 1),
                              .data = session_data(s->rows, i, s->arena),
                              .once = rows_str(s->rows, i, 6)};
    return notices_add(db, notices, (size_t)n, &s->written, error);
}

static Status tell_sessions(const Pass *pass, Db *db, const Account *accounts, size_t n,
                            Instant horizon, Error *error)
{
    OWNED_BUF Buf limited = {0}, minutes = {0};
    Arena *arena = pass->watch->arena;
    Day today = instant_day(horizon);
    bool any = false;
    array_begin(&limited);
    array_begin(&minutes);
    for (size_t i = 0; i < n; i++) {
        Standing standing = account_standing(&accounts[i], today);
        Terms terms = account_terms(&accounts[i], pass->watch->catalog, standing.subscription,
                                    today);
        if (terms.max_session_minutes == TERM_NONE) continue;
        any = true;
        array_add(&limited, accounts[i].id);
        array_add_int(&minutes, terms.max_session_minutes);
    }
    array_end(&limited);
    array_end(&minutes);
    if (!any) return ST_OK;
    OWNED_ROWS Rows *rows = NULL;
    Str params[] = {buf_str(&limited), buf_str(&minutes), param_instant(arena, horizon),
                    param_int(arena, WATCH_SESSIONS_MAX)};
    TRY(db_query(db, &SQL_BILLING_WATCH_SESSIONS, 4, params, &rows, error));
    if (rows_count(rows) == 0) return ST_OK;
    Sessions sessions = {.rows = rows, .arena = arena};
    TRY(db_transaction(db, write_sessions, &sessions, error));
    pass->done->told += sessions.written;
    return ST_OK;
}

static Status watch_sessions(const Pass *pass, Db *db, Error *error)
{
    Watch *watch = pass->watch;
    Now now;
    TRY(now_read(db, NULL, &now, error));
    TRY(catalog_at(watch, db, 0, error)); // the newest
    char after[65] = "";
    while (!cut_short(pass)) {
        OWNED_ROWS Rows *rows = NULL;
        arena_reset(watch->arena);
        Str params[] = {str(after), param_int(watch->arena, WATCH_PAGE_RUNNING)};
        TRY(db_query(db, &SQL_BILLING_WATCH_RUNNING, 2, params, &rows, error));
        int n = rows_count(rows);
        if (n == 0) return ST_OK;
        Str *ids = arena_alloc(watch->arena, (size_t)n * sizeof *ids);
        for (int i = 0; i < n; i++) ids[i] = rows_str(rows, i, 0);
        Account *accounts = NULL;
        size_t count = 0;
        TRY(accounts_load_some(db, ids, (size_t)n, watch->arena, &accounts, &count, error));
        TRY(tell_sessions(pass, db, accounts, count, now.horizon, error));
        snprintf(after, sizeof after, "%.*s", (int)ids[n - 1].n, ids[n - 1].p);
        if (n < WATCH_PAGE_RUNNING) return ST_OK;
    }
    return ST_OK;
}

// ---- a pass ----
Status watch_turn(Db *db, bool *mine, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_WATCH_LOCK, 0, NULL, &rows, error));
    *mine = rows_bool(rows, 0, 0);
    return ST_OK;
}

Status watch_pass(Watch *watch, Db *db, const atomic_bool *stop, WatchDone *done, Error *error)
{
    *done = (WatchDone){0};
    Pass pass = {.watch = watch,
                 .stop = stop,
                 .done = done,
                 .until_ms = clock_monotonic_ms() + WATCH_PASS_MS};
    Error later; // of several errors the first says most
    Status status = quota_sweep(watch->quota, db, &done->lapsed, error);
    if (stop && *stop) return status;
    Status sessions = watch_sessions(&pass, db, status == ST_OK ? error : &later);
    if (status == ST_OK) status = sessions;
    Status credits = watch_credits(&pass, db, status == ST_OK ? error : &later);
    return status == ST_OK ? credits : status;
}

Status watch_gauges(Db *db, WatchGauges *out, Error *error)
{
    OWNED_ROWS Rows *rows = NULL;
    TRY(db_query(db, &SQL_BILLING_WATCH_GAUGES, 0, NULL, &rows, error));
    *out = (WatchGauges){.running = rows_int(rows, 0, 0), .has_behind = !rows_null(rows, 0, 1)};
    if (out->has_behind) out->behind_us = rows_int(rows, 0, 1);
    return ST_OK;
}
