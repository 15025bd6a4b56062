/* test_store_tiers.c -- the state machine in two tiers, against itself without
 * tiers: the same random log is applied to a store that is flushed after every
 * entry, and to one on a simulated disk that is frozen, flushed a few rows at a
 * time, checkpointed, starved of space, crashed and opened again at any moment.
 * After every step both show the same rows, results and hashes; keys and values
 * also those of a plain map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "command/command.h"
#include "command/result.h"
#include "store/store.h"
#include "support/simvfs.h"

enum {
    ENTRIES = 400,
    KEYS = 40,
    NAMES = 12,
    VALUE_BYTES_MAX = 9000, /* Some have overflow pages. */
    SEEDS = 6,
    DISK = 1,
};

static struct rng rng;
static struct buf command;
static uint8_t noise[VALUE_BYTES_MAX];

/* ---- a plain map ---- */

struct pair {
    bool there;
    uint64_t create;
    uint64_t modify;
    uint64_t version;
    size_t size;
    size_t from; /* Its value is noise[from..]. */
};

/* What was written, and what the reference has become, by index. */
static struct {
    struct buf command;
    struct buf result;
    uint64_t hash;
    uint64_t content;
    uint64_t keys;
    struct pair pairs[KEYS];
} entries[ENTRIES + 1];
static struct pair pairs[KEYS];
static bool counts;

static struct bytes key_of(uint64_t i)
{
    static char keys[4][16];
    static unsigned next;
    char *key = keys[next++ % 4];
    /* Three prefixes, and a key that is a prefix of another one. */
    int size = snprintf(key, sizeof(keys[0]), "%c/%llu",
                        (char)('a' + (int)(i % 3)), (unsigned long long)i);
    return bytes_of(key, (size_t)size);
}

static struct bytes value_of(const struct pair *pair)
{
    return bytes_of(noise + pair->from, pair->size);
}

static struct pair any_value(void)
{
    struct pair pair = {.there = true};
    pair.from = rng_below(&rng, VALUE_BYTES_MAX / 2);
    pair.size = rng_below(
        &rng, rng_below(&rng, 8) == 0 ? VALUE_BYTES_MAX - pair.from : 60);
    return pair;
}

static void model_put(uint64_t i, const struct pair *value, uint64_t index)
{
    struct pair old = pairs[i];
    pairs[i] = *value;
    pairs[i].create = old.there ? old.create : index;
    pairs[i].modify = index;
    pairs[i].version = old.there ? old.version + counts : 1;
}

/* ---- a random log ---- */

static void plain(uint64_t index)
{
    struct command_writer writer;
    command_begin(&writer, &command);
    for (uint64_t n = 1 + rng_below(&rng, 5); n > 0; n--) {
        uint64_t i = rng_below(&rng, KEYS);
        if (rng_below(&rng, 3) == 0) {
            command_delete(&writer, key_of(i));
            pairs[i].there = false;
        } else {
            struct pair value = any_value();
            command_put(&writer, key_of(i), value_of(&value));
            model_put(i, &value, index);
        }
    }
    command_end(&writer);
}

static bool is_number(uint64_t i)
{
    return pairs[i].there && pairs[i].from == VALUE_BYTES_MAX - 1;
}

/* A transaction, perhaps with a name; it may fail after some of its operations,
 * which leaves no trace. The map follows only what is simple. */
static void transaction(uint64_t index)
{
    struct command_txn txn;
    struct command_writer list;
    char name[16] = "";
    struct pair before[KEYS];
    memcpy(before, pairs, sizeof(pairs));
    counts = true;
    if (rng_below(&rng, 3) == 0) {
        /* Its own index: a repeat would not be applied. */
        snprintf(name, sizeof(name), "n-%llu", (unsigned long long)index);
    }
    struct command_name named = {bytes_of_string(name), 0};
    command_txn(&txn, &command, &named, false);
    command_list(&list, &command);
    uint64_t asked = rng_below(&rng, KEYS);
    bool holds = true;
    if (rng_below(&rng, 2) == 0) {
        uint64_t guess = rng_below(&rng, 4) == 0 ? 0 : pairs[asked].modify;
        command_if(&list, &(struct command_condition){.field = COMMAND_IF_INDEX,
                                                      .key = key_of(asked),
                                                      .number = guess});
        holds = guess == (pairs[asked].there ? pairs[asked].modify : 0);
    }
    command_end(&list);
    command_list(&list, &command);
    for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--) {
        uint64_t i = rng_below(&rng, KEYS);
        struct pair value = any_value();
        struct command_op op = {.type = COMMAND_PUT, .key = key_of(i)};
        switch (rng_below(&rng, 5)) {
        case 0:
            op.type = COMMAND_DELETE;
            pairs[i].there = false;
            break;
        case 1:
            op.type = COMMAND_DELETE_PREFIX;
            op.key.size = 2; /* "a/" */
            for (uint64_t k = i % 3; k < KEYS; k += 3) {
                pairs[k].there = false;
            }
            break;
        case 2:
            op.type = COMMAND_GET;
            if (pairs[i].there && pairs[i].size > 60) {
                op.type = COMMAND_DELETE; /* The result could be too large. */
                pairs[i].there = false;
            }
            break;
        case 3:
            if (!is_number(i) && rng_below(&rng, 4) == 0) {
                /* It fails if the key is there: noise is no number. */
                op.type = COMMAND_INCR;
                op.by = 1;
                holds = holds && !pairs[i].there;
                value.size = 1;
                value.from = VALUE_BYTES_MAX - 1; /* "1" */
                model_put(i, &value, index);
                break;
            }
            /* fall through */
        default:
            op.value = value_of(&value);
            model_put(i, &value, index);
            break;
        }
        command_add(&list, &op);
    }
    command_end(&list);
    command_sign(&txn, 1);
    if (!holds) {
        memcpy(pairs, before, sizeof(pairs));
    }
}

/* Steps of restores, many of which do not fit. */
static struct {
    uint64_t id;
    uint64_t keys;
    uint64_t hash;
    bool staged[KEYS];
    struct pair pairs[KEYS];
} staging;

static void restore(uint64_t index)
{
    struct command_writer writer;
    struct command_restore step = {.id = index};
    counts = true;
    if (staging.id == 0 || rng_below(&rng, 6) == 0) {
        step.step = COMMAND_RESTORE_BEGIN;
        if (staging.id != 0 && rng_below(&rng, 3) == 0) {
            step.id = staging.id; /* Once more. */
        }
        if (staging.id != step.id) {
            memset(&staging, 0, sizeof(staging));
            staging.id = step.id;
        }
    } else {
        step.id = staging.id;
        step.step = rng_below(&rng, 4) > 0    ? COMMAND_RESTORE_ROWS
                    : rng_below(&rng, 4) == 0 ? COMMAND_RESTORE_ABORT
                                              : COMMAND_RESTORE_COMMIT;
        step.keys = staging.keys;
        step.hash = staging.hash;
    }
    command_restore(&writer, &command, &step);
    switch (step.step) {
    case COMMAND_RESTORE_BEGIN:
        break;
    case COMMAND_RESTORE_ROWS:
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--) {
            uint64_t i = rng_below(&rng, KEYS);
            struct pair value = any_value();
            command_restore_row(&writer, key_of(i), value_of(&value));
            if (!staging.staged[i]) {
                value.create = index;
                value.modify = index;
                value.version = 1;
                staging.pairs[i] = value;
                staging.staged[i] = true;
                staging.keys++;
            }
        }
        command_end(&writer);
        staging.hash = command_restore_hash(staging.hash, buf_bytes(&command));
        break;
    case COMMAND_RESTORE_COMMIT:
        memcpy(pairs, staging.pairs, sizeof(pairs));
        memset(&staging, 0, sizeof(staging));
        break;
    case COMMAND_RESTORE_ABORT:
        memset(&staging, 0, sizeof(staging));
        break;
    }
}

static void check_map(struct store *store, const struct pair *map)
{
    for (uint64_t i = 0; i < KEYS; i++) {
        struct store_row row;
        enum err err = store_get(store, key_of(i), &row);
        assert_int_equal(err, map[i].there ? ERR_OK : ERR_NOT_FOUND);
        if (map[i].there) {
            assert_true(bytes_equal(row.value, value_of(&map[i])));
            assert_int_equal(row.create_index, map[i].create);
            assert_int_equal(row.modify_index, map[i].modify);
            assert_int_equal(row.version, map[i].version);
        }
    }
}

/* Writes the log, and records what each entry does to a store without tiers. */
static void record_log(uint64_t seed)
{
    struct fs *fs = fs_memory_new();
    struct store_options options = {.fs = fs};
    struct store *store;
    rng_init(&rng, seed);
    memset(pairs, 0, sizeof(pairs));
    memset(&staging, 0, sizeof(staging));
    counts = false;
    assert_int_equal(store_open(&options, &store), ERR_OK);
    for (uint64_t index = 1; index <= ENTRIES; index++) {
        struct store_result result;
        uint64_t kind = rng_below(&rng, 10);
        command.size = 0;
        if (kind < 5 || index < 20) {
            plain(index);
        } else if (kind < 8) {
            transaction(index);
        } else {
            restore(index);
        }
        assert_int_equal(
            store_apply(store, index, 1, buf_bytes(&command), &result), ERR_OK);
        entries[index].command.size = 0;
        buf_add_bytes(&entries[index].command, buf_bytes(&command));
        entries[index].result.size = 0;
        buf_add_bytes(&entries[index].result, result.data);
        assert_int_equal(store_flush(store), ERR_OK);
        check_map(store, pairs);
        memcpy(entries[index].pairs, pairs, sizeof(pairs));
        entries[index].hash = store_hash(store);
        entries[index].content = store_content_hash(store);
        entries[index].keys = store_key_count(store);
    }
    entries[0].content = 0;
    store_close(store);
    fs_memory_free(fs);
}

/* ---- the store with tiers ---- */

struct machine {
    struct simdisk *disk;
    struct store *store;
    bool full;
    uint64_t steps;   /* Of flushes, */
    uint64_t crashes; /* and how often it was ... */
    uint64_t refusals;
    uint64_t split; /* Checks in the middle of a flush. */
};

static void open_machine(struct machine *m)
{
    struct store_options options = {.vfs = simvfs_name, .checkpoint_pages = 3};
    simvfs_mount(DISK, m->disk);
    options.fs = simdisk_fs(m->disk);
    assert_int_equal(store_open(&options, &m->store), ERR_OK);
}

static void check_ranges(struct machine *m, const struct pair *map)
{
    for (int n = 0; n < 4; n++) {
        struct bytes from = key_of(rng_below(&rng, KEYS));
        struct bytes to = key_of(rng_below(&rng, KEYS));
        struct store_range range = {.from = from,
                                    .to = n == 0 ? (struct bytes){0} : to,
                                    .reverse = n % 2 == 1,
                                    .keys_only = n == 3};
        struct store_pair pair;
        struct store_pair last = {0};
        uint8_t last_key[16];
        uint64_t found = 0;
        store_range_open(m->store, &range);
        enum err err;
        while ((err = store_range_next(m->store, &pair)) == ERR_OK) {
            struct bytes before = bytes_of(last_key, last.key.size);
            size_t common = min_size(before.size, pair.key.size);
            int order = memcmp(pair.key.data, last_key, common);
            order = order ? order
                          : (pair.key.size > before.size) -
                                (pair.key.size < before.size);
            assert_true(found == 0 || (range.reverse ? order < 0 : order > 0));
            uint64_t i = strtoull((const char *)pair.key.data + 2, NULL, 10);
            char digits[16] = {0};
            memcpy(digits, pair.key.data + 2, pair.key.size - 2);
            i = strtoull(digits, NULL, 10);
            assert_true(i < KEYS && map[i].there);
            if (!range.keys_only) {
                assert_true(bytes_equal(pair.value, value_of(&map[i])));
                assert_int_equal(pair.create_index, map[i].create);
                assert_int_equal(pair.modify_index, map[i].modify);
            }
            memcpy(last_key, pair.key.data, pair.key.size);
            last.key.size = pair.key.size;
            found++;
        }
        store_range_close(m->store);
        assert_int_equal(err, ERR_NOT_FOUND);
    }
}

static void check(struct machine *m)
{
    uint64_t index = store_applied(m->store);
    m->split += store_is_flushing(m->store);
    if (index == 0) {
        return;
    }
    assert_int_equal(store_hash(m->store), entries[index].hash);
    assert_int_equal(store_key_count(m->store), entries[index].keys);
    assert_true(store_content_hash(m->store) == entries[index].content);
    if (rng_below(&rng, 4) == 0) {
        check_map(m->store, entries[index].pairs);
        check_ranges(m, entries[index].pairs);
    }
}

static void finish_sync(struct machine *m)
{
    while (store_is_syncing(m->store)) {
        (void)store_checkpoint_step(m->store);
    }
}

static void apply_next(struct machine *m)
{
    uint64_t index = store_applied(m->store) + 1;
    struct store_result result;
    if (index > ENTRIES) {
        return;
    }
    struct bytes entry = buf_bytes(&entries[index].command);
    if (store_changes_schema(m->store, entry)) {
        finish_sync(m);
    }
    enum err err = store_apply(m->store, index, 1, entry, &result);
    if (err) {
        assert_true(m->full && store_changes_schema(m->store, entry));
        m->refusals++;
        return;
    }
    assert_true(bytes_equal(result.data, buf_bytes(&entries[index].result)));
}

static void flush_some(struct machine *m)
{
    if (store_is_syncing(m->store) || !store_is_frozen(m->store)) {
        return;
    }
    enum err err = store_flush_step(m->store, 1 + rng_below(&rng, 6));
    m->steps++;
    if (err) {
        assert_true(m->full && err == ERR_NOSPACE);
        assert_true(!store_is_flushing(m->store));
        assert_true(store_is_frozen(m->store));
        m->refusals++;
    }
}

/* Power is lost. What was durable is there; whatever is there is the state
 * after some entry, whole. */
static void crash(struct machine *m)
{
    uint64_t durable = store_durable(m->store);
    uint64_t applied = store_applied(m->store);
    struct simdisk *after =
        simdisk_crash(m->disk, rng_below(&rng, 2) ? SIMDISK_SOME : SIMDISK_ALL,
                      rng_next(&rng));
    store_discard(m->store);
    simdisk_free(m->disk);
    m->disk = after;
    m->full = false;
    open_machine(m);
    assert_in_range(store_applied(m->store), durable, applied);
    m->crashes++;
}

static void do_something(struct machine *m)
{
    switch (rng_below(&rng, 16)) {
    case 0:
        (void)store_freeze(m->store);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        flush_some(m);
        break;
    case 5:
    case 6:
        if (!store_is_flushing(m->store)) {
            (void)store_checkpoint_step(m->store);
        }
        break;
    case 7:
        if (rng_below(&rng, 4) == 0) {
            m->full = !m->full;
            simdisk_set_full(m->disk, m->full);
        }
        break;
    case 8:
        if (rng_below(&rng, 10) == 0) {
            crash(m);
        }
        break;
    case 9:
        if (!store_is_flushing(m->store) && !store_is_syncing(m->store)) {
            enum err err = store_sweep(m->store);
            assert_true(!err || err == ERR_NOT_FOUND ||
                        (m->full && err == ERR_NOSPACE));
        }
        break;
    default:
        apply_next(m);
        break;
    }
}

static void test_tiers_are_one_state(void **state)
{
    struct machine total = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct machine m = {.disk = simdisk_new()};
        record_log(seed);
        rng_init(&rng, seed + 1000);
        open_machine(&m);
        while (store_applied(m.store) < ENTRIES) {
            do_something(&m);
            check(&m);
        }
        m.full = false;
        simdisk_set_full(m.disk, false);
        finish_sync(&m);
        assert_int_equal(store_flush(m.store), ERR_OK);
        check(&m);
        store_close(m.store);
        open_machine(&m);
        assert_int_equal(store_applied(m.store), ENTRIES);
        check(&m);
        store_close(m.store);
        simdisk_free(m.disk);
        total.steps += m.steps;
        total.crashes += m.crashes;
        total.refusals += m.refusals;
        total.split += m.split;
    }
    assert_true(total.steps > 500 && total.crashes > 10);
    assert_true(total.refusals > 10 && total.split > 500);
}

/* ---- results of named commands ---- */

static void apply_named(struct store *store, uint64_t number)
{
    struct command_txn txn;
    struct command_writer list;
    struct store_result result;
    char text[24];
    snprintf(text, sizeof(text), "name-%llu", (unsigned long long)number);
    struct command_name name = {bytes_of_string(text), 0};
    command.size = 0;
    command_txn(&txn, &command, &name, false);
    command_list(&list, &command);
    command_end(&list);
    command_list(&list, &command);
    command_put(&list, bytes_of_string("key"), bytes_of_string(text));
    command_end(&list);
    command_sign(&txn, 1);
    assert_int_equal(store_apply(store, store_applied(store) + 1, 1,
                                 buf_bytes(&command), &result),
                     ERR_OK);
}

/* The oldest result is dropped wherever it is: in the database, in the frozen
 * tier half-way through its flush, in the active one. A name that was dropped
 * may come again. */
static void test_old_results_are_dropped_in_every_tier(void **state)
{
    struct fs *fs[2];
    struct store *store[2]; /* Without tiers, and with them. */
    (void)state;
    for (int i = 0; i < 2; i++) {
        fs[i] = fs_memory_new();
        struct store_options options = {.fs = fs[i]};
        assert_int_equal(store_open(&options, &store[i]), ERR_OK);
    }
    enum { MORE = 60, AGAIN = 20 };
    uint64_t total = 2 * STORE_ANSWERS_MAX + 3 * MORE;
    rng_init(&rng, 5);
    for (uint64_t n = 0; n < total; n++) {
        /* Some names come again once they were dropped. */
        uint64_t number = n >= STORE_ANSWERS_MAX + AGAIN && n % AGAIN == 0
                              ? n - STORE_ANSWERS_MAX - AGAIN
                              : n + 1000000;
        for (int i = 0; i < 2; i++) {
            apply_named(store[i], number);
        }
        if (n % 512 == 0) {
            assert_int_equal(store_flush(store[0]), ERR_OK);
        }
        /* Once in a while, and at last nothing for a long time: the active tier
         * then has more than are kept. */
        if (n < STORE_ANSWERS_MAX + MORE && rng_below(&rng, 40) == 0) {
            (void)store_freeze(store[1]);
        }
        if (n < STORE_ANSWERS_MAX + 2 * MORE && rng_below(&rng, 4) == 0) {
            assert_int_equal(store_flush_step(store[1], 7), ERR_OK);
        }
        if (n % 97 == 0 || (n >= STORE_ANSWERS_MAX - 10 && n % 13 == 0)) {
            assert_true(store_hash(store[0]) == store_hash(store[1]));
            assert_int_equal(store_answers(store[0]), store_answers(store[1]));
        }
        if (n % 1021 == 0) {
            assert_true(store_content_hash(store[0]) ==
                        store_content_hash(store[1]));
        }
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_answers(store[i]), STORE_ANSWERS_MAX);
    }
    uint64_t content = store_content_hash(store[1]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_flush(store[i]), ERR_OK);
        assert_true(store_content_hash(store[i]) == content);
        store_close(store[i]);
        fs_memory_free(fs[i]);
    }
}

int main(void)
{
    log_set_level(LOG_OFF);
    simvfs_install();
    rng_init(&rng, 3);
    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = (uint8_t)('a' + rng_below(&rng, 26));
    }
    noise[sizeof(noise) - 1] = '1';
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiers_are_one_state),
        cmocka_unit_test(test_old_results_are_dropped_in_every_tier),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i <= ENTRIES; i++) {
        buf_free(&entries[i].command);
        buf_free(&entries[i].result);
    }
    buf_free(&command);
    return failed;
}
