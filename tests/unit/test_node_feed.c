/* test_node_feed.c -- the change feed: a watcher receives every event that
 * concerns it, once and in order, or is told that it has lost some. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/rng.h"
#include "node/feed.h"

enum { EVENTS = 8, BYTES = 256, GOT = 64 };

static struct feed *feed;
static uint64_t last_index;

/* A watcher, and what it has received. */
struct watcher {
    struct feed_watch watch;
    uint64_t indexes[GOT];
    uint32_t count;
    uint32_t lost;
    bool busy; /* It takes nothing: it falls behind. */
};

static void on_event(struct feed_watch *watch, const struct feed_event *event)
{
    struct watcher *watcher = container_of(watch, struct watcher, watch);
    if (!event) {
        watcher->lost++;
    } else if (watcher->busy) {
        feed_fall_behind(feed, watch);
    } else {
        assert_true(watcher->count < GOT);
        watcher->indexes[watcher->count++] = event->index;
    }
}

static void open_after(struct watcher *watcher, const char *key, bool is_prefix,
                       uint64_t since)
{
    *watcher = (struct watcher){.watch = {.cb = on_event,
                                          .key = bytes_of_string(key),
                                          .is_prefix = is_prefix,
                                          .types = FEED_ALL}};
    assert_int_equal(feed_open(feed, &watcher->watch, since), ERR_OK);
}

/* Read what there is, and follow. False: it is lost. */
static bool catch_up(struct watcher *watcher)
{
    struct feed_event event;
    uint32_t budget = UINT32_MAX;
    enum err err;
    while (!(
        err = feed_next(feed, &watcher->watch, UINT64_MAX, &budget, &event))) {
        assert_true(watcher->count < GOT);
        watcher->indexes[watcher->count++] = event.index;
    }
    if (err == ERR_CLOSED) {
        return false;
    }
    feed_follow(feed, &watcher->watch);
    return true;
}

static void add(uint64_t index, enum feed_type type, const char *key,
                const char *value)
{
    feed_add(feed, &(struct feed_event){.type = type,
                                        .index = index,
                                        .create_index = 1,
                                        .prev_index = index - 1,
                                        .key = bytes_of_string(key),
                                        .value = bytes_of_string(value)});
}

static void put(const char *key)
{
    last_index++;
    add(last_index, FEED_PUT, key, "v");
    feed_commit(feed, last_index);
}

static void deliver(void)
{
    while (feed_deliver(feed)) {
    }
}

static int begin(void **state)
{
    (void)state;
    feed = feed_new(EVENTS, BYTES, 7);
    last_index = 10;
    feed_reset(feed, last_index);
    deliver();
    return 0;
}

static int end(void **state)
{
    (void)state;
    feed_free(feed);
    return 0;
}

static void check_got(const struct watcher *watcher, uint32_t count, ...)
{
    va_list list;
    assert_int_equal(watcher->count, count);
    va_start(list, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(watcher->indexes[i], (uint64_t)va_arg(list, int));
    }
    va_end(list);
}

/* ---- following ---- */

static void test_followers_get_what_concerns_them(void **state)
{
    struct watcher key, prefix, all, other;
    (void)state;
    open_after(&key, "a/b", false, 10);
    open_after(&prefix, "a/", true, 10);
    open_after(&all, "", true, 10);
    open_after(&other, "a/bc", true, 10);
    assert_true(catch_up(&key) && catch_up(&prefix) && catch_up(&all) &&
                catch_up(&other));
    put("a/b");                     /* 11 */
    put("a/c");                     /* 12 */
    put("a");                       /* 13 */
    put("a/bc");                    /* 14 */
    assert_int_equal(all.count, 0); /* Callbacks run in feed_deliver() only. */
    deliver();
    check_got(&key, 1, 11);
    check_got(&prefix, 3, 11, 12, 14);
    check_got(&all, 4, 11, 12, 13, 14);
    check_got(&other, 1, 14);
    feed_close(feed, &prefix.watch);
    put("a/b"); /* 15 */
    deliver();
    check_got(&key, 2, 11, 15);
    assert_int_equal(prefix.count, 3);
    feed_close(feed, &key.watch);
    feed_close(feed, &all.watch);
    feed_close(feed, &other.watch);
}

/* Watchers whose hashes meet in the table are still visited once. */
static void test_many_prefixes_of_one_key(void **state)
{
    enum { MANY = 60 };
    static struct watcher many[MANY];
    char key[MANY + 1];
    char prefixes[MANY][MANY + 1];
    (void)state;
    memset(key, 'k', MANY);
    key[MANY] = 0;
    for (int i = 0; i < MANY; i++) {
        snprintf(prefixes[i], sizeof(prefixes[i]), "%.*s", i, key);
        open_after(&many[i], prefixes[i], true, 10);
        assert_true(catch_up(&many[i]));
    }
    put(key);
    deliver();
    for (int i = 0; i < MANY; i++) {
        check_got(&many[i], 1, 11);
        feed_close(feed, &many[i].watch);
    }
}

static void test_types_are_selected(void **state)
{
    struct watcher deletes;
    (void)state;
    open_after(&deletes, "", true, 10);
    deletes.watch.types = FEED_DELETE;
    put("a");
    last_index++;
    add(last_index, FEED_DELETE, "a", "");
    feed_commit(feed, last_index);
    assert_true(catch_up(&deletes));
    put("a");
    deliver();
    check_got(&deletes, 1, 12);
    feed_close(feed, &deletes.watch);
}

static void test_an_event_has_all_its_fields(void **state)
{
    struct watcher watcher;
    struct feed_event event;
    uint32_t budget = EVENTS;
    (void)state;
    open_after(&watcher, "k", false, 10);
    feed_add(feed, &(struct feed_event){.type = FEED_PUT,
                                        .index = 11,
                                        .create_index = 3,
                                        .prev_index = 9,
                                        .key = bytes_of_string("k"),
                                        .value = bytes_of_string("value")});
    /* Not before the entry is complete. */
    assert_int_equal(
        feed_next(feed, &watcher.watch, UINT64_MAX, &budget, &event),
        ERR_NOT_FOUND);
    feed_commit(feed, 11);
    assert_int_equal(feed_next(feed, &watcher.watch, 10, &budget, &event),
                     ERR_NOT_FOUND);
    assert_int_equal(feed_next(feed, &watcher.watch, 11, &budget, &event),
                     ERR_OK);
    assert_int_equal(event.type, FEED_PUT);
    assert_int_equal(event.index, 11);
    assert_int_equal(event.create_index, 3);
    assert_int_equal(event.prev_index, 9);
    assert_true(bytes_equal_string(event.key, "k"));
    assert_true(bytes_equal_string(event.value, "value"));
    feed_close(feed, &watcher.watch);
}

/* ---- resuming ---- */

static void test_a_watcher_resumes_after_an_index(void **state)
{
    struct watcher watcher;
    (void)state;
    put("a"); /* 11 */
    put("b"); /* 12 */
    put("a"); /* 13 */
    open_after(&watcher, "a", false, 11);
    assert_true(catch_up(&watcher));
    check_got(&watcher, 1, 13);
    feed_close(feed, &watcher.watch);
    /* The floor itself will do, nothing below it. */
    open_after(&watcher, "a", false, 10);
    assert_true(catch_up(&watcher));
    check_got(&watcher, 2, 11, 13);
    feed_close(feed, &watcher.watch);
    assert_int_equal(feed_open(feed, &watcher.watch, 9), ERR_NOT_FOUND);
    assert_int_equal(watcher.watch.state, FEED_CLOSED);
    /* A later index than any: what comes up to it was seen elsewhere. */
    open_after(&watcher, "a", false, 14);
    assert_true(catch_up(&watcher));
    put("a"); /* 14 */
    put("a"); /* 15 */
    deliver();
    check_got(&watcher, 1, 15);
    feed_close(feed, &watcher.watch);
}

static void test_the_floor_rises_with_the_ring(void **state)
{
    struct watcher watcher;
    (void)state;
    for (int i = 0; i < EVENTS + 3; i++) {
        put("a"); /* 11 .. 21 */
    }
    assert_int_equal(feed_floor(feed), 13);
    watcher = (struct watcher){.watch = {.cb = on_event}};
    assert_int_equal(feed_open(feed, &watcher.watch, 12), ERR_NOT_FOUND);
    open_after(&watcher, "a", false, 13);
    assert_true(catch_up(&watcher));
    assert_int_equal(watcher.count, EVENTS);
    assert_int_equal(watcher.indexes[0], 14);
    feed_close(feed, &watcher.watch);
}

static void test_bytes_are_bounded_too(void **state)
{
    char value[101];
    struct feed_stats stats;
    (void)state;
    memset(value, 'v', 100);
    value[100] = 0;
    for (uint64_t index = 11; index < 40; index++) {
        add(index, FEED_PUT, "k", value);
        feed_commit(feed, index);
        feed_get_stats(feed, &stats);
        assert_true(stats.bytes <= BYTES);
    }
    assert_int_equal(stats.events, 2);
    assert_int_equal(feed_floor(feed), 37);
}

/* An entry of several events is read as a whole or not at all. */
static void test_an_entry_that_was_cut_is_gone(void **state)
{
    struct watcher watcher;
    (void)state;
    for (int i = 0; i < EVENTS - 1; i++) {
        add(11, FEED_PUT, "a", "");
    }
    feed_commit(feed, 11);
    last_index = 11;
    put("a");
    put("a"); /* The first event of entry 11 is dropped. */
    assert_int_equal(feed_floor(feed), 11);
    watcher = (struct watcher){.watch = {.cb = on_event}};
    assert_int_equal(feed_open(feed, &watcher.watch, 10), ERR_NOT_FOUND);
    open_after(&watcher, "a", false, 11);
    assert_true(catch_up(&watcher));
    check_got(&watcher, 2, 12, 13);
    feed_close(feed, &watcher.watch);
}

/* However long the ring is, a reader examines what its budget allows, and goes
 * on there. */
static void test_a_reader_examines_what_it_may(void **state)
{
    struct watcher watcher;
    struct feed_event event;
    uint32_t budget = 3;
    (void)state;
    for (int i = 0; i < 5; i++) {
        put("other"); /* 11 .. 15 */
    }
    put("a"); /* 16 */
    open_after(&watcher, "a", false, 10);
    assert_int_equal(
        feed_next(feed, &watcher.watch, UINT64_MAX, &budget, &event), ERR_BUSY);
    assert_int_equal(budget, 0);
    assert_int_equal(feed_index_read(feed, &watcher.watch), 13);
    budget = 3;
    assert_int_equal(
        feed_next(feed, &watcher.watch, UINT64_MAX, &budget, &event), ERR_OK);
    assert_int_equal(event.index, 16);
    assert_int_equal(budget, 0);
    /* That there is nothing more costs nothing. */
    assert_int_equal(
        feed_next(feed, &watcher.watch, UINT64_MAX, &budget, &event),
        ERR_NOT_FOUND);
    feed_close(feed, &watcher.watch);
}

/* ---- losing ---- */

static void test_only_those_concerned_are_lost(void **state)
{
    struct watcher busy, idle, reader;
    struct feed_event event;
    uint32_t budget = EVENTS;
    (void)state;
    open_after(&busy, "a", false, 10);
    open_after(&idle, "z", false, 10);
    open_after(&reader, "a", false, 10);
    assert_true(catch_up(&busy) && catch_up(&idle));
    for (int i = 0; i < EVENTS + 1; i++) {
        put("a"); /* No turn of the event loop between them. */
    }
    deliver();
    assert_int_equal(busy.lost, 1);
    assert_int_equal(busy.count, 0);
    assert_int_equal(idle.lost, 0);
    assert_int_equal(
        feed_next(feed, &reader.watch, UINT64_MAX, &budget, &event),
        ERR_CLOSED);
    put("z");
    deliver();
    check_got(&idle, 1, 20);
    assert_int_equal(busy.lost, 1); /* Notified once. */
    feed_close(feed, &busy.watch);
    feed_close(feed, &idle.watch);
    feed_close(feed, &reader.watch);
}

static void test_a_slow_watcher_falls_behind_and_catches_up(void **state)
{
    struct watcher watcher;
    uint32_t budget = EVENTS;
    (void)state;
    open_after(&watcher, "a", false, 10);
    assert_true(catch_up(&watcher));
    put("a"); /* 11 */
    deliver();
    watcher.busy = true;
    put("a"); /* 12 */
    put("a"); /* 13 */
    deliver();
    assert_int_equal(watcher.watch.state, FEED_BEHIND);
    put("a"); /* 14 */
    deliver();
    assert_int_equal(feed_index_read(feed, &watcher.watch), 11);
    watcher.busy = false;
    assert_int_equal(feed_next(feed, &watcher.watch, UINT64_MAX, &budget,
                               &(struct feed_event){0}),
                     ERR_OK);
    assert_int_equal(feed_index_read(feed, &watcher.watch), 12);
    watcher.indexes[watcher.count++] = 12;
    assert_true(catch_up(&watcher));
    put("b"); /* 15: it concerns others, and is none the watcher waits for. */
    deliver();
    assert_int_equal(feed_index_read(feed, &watcher.watch), 15);
    put("a"); /* 16 */
    deliver();
    check_got(&watcher, 5, 11, 12, 13, 14, 16);
    feed_close(feed, &watcher.watch);
}

/* Events that were read before they were delivered come once. */
static void test_nothing_is_delivered_twice(void **state)
{
    struct watcher first, second;
    (void)state;
    open_after(&first, "", true, 10);
    assert_true(catch_up(&first));
    put("a"); /* 11: not delivered yet */
    open_after(&second, "", true, 10);
    assert_true(catch_up(&second));
    deliver();
    check_got(&first, 1, 11);
    check_got(&second, 1, 11);
    feed_close(feed, &first.watch);
    feed_close(feed, &second.watch);
}

static void test_a_reset_loses_everybody(void **state)
{
    struct watcher follower, reader;
    struct feed_event event;
    uint32_t budget = EVENTS;
    (void)state;
    open_after(&follower, "a", false, 10);
    assert_true(catch_up(&follower));
    open_after(&reader, "a", false, 10);
    feed_reset(feed, 20);
    deliver();
    assert_int_equal(follower.lost, 1);
    assert_int_equal(
        feed_next(feed, &reader.watch, UINT64_MAX, &budget, &event),
        ERR_CLOSED);
    assert_int_equal(feed_floor(feed), 20);
    assert_int_equal(feed_delivered(feed), 20);
    feed_close(feed, &follower.watch);
    feed_close(feed, &reader.watch);
}

/* ---- entries that are undone, or applied again ---- */

static void test_undone_events_do_not_exist(void **state)
{
    struct watcher watcher;
    (void)state;
    open_after(&watcher, "", true, 10);
    assert_true(catch_up(&watcher));
    put("a"); /* 11 */
    add(12, FEED_PUT, "b", "x");
    add(12, FEED_PUT, "c", "x");
    feed_undo(feed);
    feed_commit(feed, 12);
    last_index = 12;
    put("d"); /* 13 */
    deliver();
    check_got(&watcher, 2, 11, 13);
    /* One that has filled the ring by itself. */
    for (int i = 0; i < EVENTS + 2; i++) {
        add(14, FEED_PUT, "e", "x");
    }
    feed_undo(feed);
    feed_commit(feed, 14);
    feed_close(feed, &watcher.watch);
    open_after(&watcher, "", true, 14);
    assert_true(catch_up(&watcher));
    last_index = 14;
    put("f"); /* 15 */
    deliver();
    check_got(&watcher, 1, 15);
    feed_close(feed, &watcher.watch);
}

static void test_entries_applied_again_are_ignored(void **state)
{
    struct watcher watcher;
    (void)state;
    open_after(&watcher, "", true, 10);
    assert_true(catch_up(&watcher));
    put("a"); /* 11 */
    put("b"); /* 12 */
    deliver();
    last_index = 10; /* The database was rolled back. */
    put("a");
    assert_int_equal(feed_delivered(feed), 12);
    put("b");
    put("c"); /* 13 */
    deliver();
    check_got(&watcher, 3, 11, 12, 13);
    feed_close(feed, &watcher.watch);
}

/* ---- a model ---- */

enum { WATCHERS = 40, STEPS = 20000, LOG = 4096 };

static const char *const words[] = {"",   "a",   "a/",  "a/b", "a/bc", "b",
                                    "b/", "b/x", "b/y", "c",   "a/b/c"};

struct model_event {
    uint64_t index;
    const char *key;
};
static struct model_event history[LOG];
static uint32_t history_count;

static bool is_for(const struct watcher *watcher, const char *key)
{
    struct bytes wanted = watcher->watch.key;
    return watcher->watch.is_prefix
               ? strncmp(key, (const char *)wanted.data, wanted.size) == 0
               : bytes_equal_string(wanted, key);
}

/* Each watcher has received exactly what concerns it, from where it began up to
 * where it is. */
struct model {
    struct watcher watcher;
    uint32_t at; /* Number of events of the history before its own. */
    bool open;
};

static void expect_next(struct model *model, const struct feed_event *event)
{
    while (model->at < history_count &&
           !is_for(&model->watcher, history[model->at].key)) {
        model->at++;
    }
    assert_true(model->at < history_count);
    assert_int_equal(history[model->at].index, event->index);
    assert_true(bytes_equal_string(event->key, history[model->at].key));
    model->at++;
}

static void expect_none(struct model *model)
{
    while (model->at < history_count) {
        assert_false(is_for(&model->watcher, history[model->at].key));
        model->at++;
    }
}

static struct rng rng;

static void on_model_event(struct feed_watch *watch,
                           const struct feed_event *event)
{
    struct model *model = container_of(watch, struct model, watcher.watch);
    if (!event) {
        feed_close(feed, watch);
        model->open = false;
    } else if (rng_below(&rng, 4) == 0) {
        feed_fall_behind(feed, watch);
    } else {
        expect_next(model, event);
        if (rng_below(&rng, 16) == 0) {
            feed_close(feed, watch);
            model->open = false;
        }
    }
}

static void read_some(struct model *model)
{
    struct feed_event event;
    uint32_t budget = (uint32_t)rng_below(&rng, 2 * EVENTS);
    enum err err = ERR_OK;
    while (model->open && !err && rng_below(&rng, 5) > 0) {
        err =
            feed_next(feed, &model->watcher.watch, UINT64_MAX, &budget, &event);
        if (!err) {
            expect_next(model, &event);
        }
    }
    if (err == ERR_CLOSED) {
        feed_close(feed, &model->watcher.watch);
        model->open = false;
    } else if (err == ERR_NOT_FOUND) {
        expect_none(model);
        feed_follow(feed, &model->watcher.watch);
    }
}

static void open_random(struct model *model)
{
    uint64_t since =
        last_index - rng_below(&rng, min_u64(last_index - 10, 12) + 1);
    *model = (struct model){
        .watcher.watch = {
            .cb = on_model_event,
            .key = bytes_of_string(words[rng_below(&rng, ARRAY_COUNT(words))]),
            .is_prefix = rng_below(&rng, 2) == 0,
            .types = FEED_ALL}};
    enum err err = feed_open(feed, &model->watcher.watch, since);
    assert_int_equal(err, since < feed_floor(feed) ? ERR_NOT_FOUND : ERR_OK);
    model->open = err == ERR_OK;
    while (model->at < history_count && history[model->at].index <= since) {
        model->at++;
    }
}

static void write_random(void)
{
    uint64_t count = rng_below(&rng, 4);
    bool undo = rng_below(&rng, 8) == 0;
    last_index++;
    for (uint64_t i = 0; i < count; i++) {
        const char *key = words[1 + rng_below(&rng, ARRAY_COUNT(words) - 1)];
        add(last_index, FEED_PUT, key, "some value");
        if (!undo) {
            must(history_count < LOG);
            history[history_count++] =
                (struct model_event){.index = last_index, .key = key};
        }
    }
    if (undo) {
        feed_undo(feed);
    }
    feed_commit(feed, last_index);
}

static void test_against_a_model(void **state)
{
    static struct model models[WATCHERS];
    (void)state;
    rng_init(&rng, 1);
    memset(models, 0, sizeof(models));
    history_count = 0;
    for (int step = 0; step < STEPS && history_count + 4 < LOG; step++) {
        struct model *model = &models[rng_below(&rng, WATCHERS)];
        uint64_t what = rng_below(&rng, 10);
        if (what < 2) {
            write_random();
        } else if (what < 4) {
            (void)feed_deliver(feed);
        } else if (what == 4) {
            deliver();
            for (size_t i = 0; i < WATCHERS; i++) {
                if (models[i].open &&
                    models[i].watcher.watch.state == FEED_FOLLOWING) {
                    expect_none(&models[i]);
                }
            }
        } else if (!model->open) {
            open_random(model);
        } else if (model->watcher.watch.state == FEED_BEHIND) {
            read_some(model);
        }
    }
    assert_true(history_count > LOG / 2);
    for (size_t i = 0; i < WATCHERS; i++) {
        feed_close(feed, &models[i].watcher.watch);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_followers_get_what_concerns_them),
        TEST(test_many_prefixes_of_one_key),
        TEST(test_types_are_selected),
        TEST(test_an_event_has_all_its_fields),
        TEST(test_a_watcher_resumes_after_an_index),
        TEST(test_the_floor_rises_with_the_ring),
        TEST(test_bytes_are_bounded_too),
        TEST(test_an_entry_that_was_cut_is_gone),
        TEST(test_a_reader_examines_what_it_may),
        TEST(test_only_those_concerned_are_lost),
        TEST(test_a_slow_watcher_falls_behind_and_catches_up),
        TEST(test_nothing_is_delivered_twice),
        TEST(test_a_reset_loses_everybody),
        TEST(test_undone_events_do_not_exist),
        TEST(test_entries_applied_again_are_ignored),
        TEST(test_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
