/* test_store_time.c -- what the state machine knows of time comes from the
 * stamps of entries alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/rng.h"
#include "command/command.h"
#include "command/result.h"
#include "store/store.h"
#include "support/script.h"
#include "support/storedir.h"

static struct store *store;
static struct buf command;
static struct result_reader reader;

static int setup(void **state)
{
    (void)state;
    return storedir_begin(&store);
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&command);
    return storedir_end(&store);
}

/* ---- saying it shortly ---- */

#define PUT_TTL(k, v, ms)                                                      \
    OP(PUT_TIMED, .key = KEY(k), .value = KEY(v), .ttl_ms = (ms))
#define PUT_LEASE(k, v, id)                                                    \
    OP(PUT_TIMED, .key = KEY(k), .value = KEY(v), .lease = (id))
#define TOUCH(k, ms) OP(TOUCH, .key = KEY(k), .ttl_ms = (ms))

static struct bytes encode(const struct script *script)
{
    return script_encode(&command, script);
}

static enum result_status apply_to(struct store *to, struct bytes bytes)
{
    return script_apply(to, bytes, &reader);
}

#define APPLY(...) apply_to(store, encode(&(struct script){__VA_ARGS__}))

static void reopen(void)
{
    store_close(store);
    store = storedir_open(storedir_fs);
}

/* ---- stamps ---- */

static void test_stamps_are_kept_and_never_go_back(void **state)
{
    (void)state;
    assert_int_equal(store_time_ms(store), 0);
    assert_int_equal(APPLY(.thens = {PUT("a", "1")}), RESULT_THEN);
    assert_int_equal(store_time_ms(store), 0);
    assert_int_equal(APPLY(.time_ms = 70, .thens = {PUT("a", "2")}),
                     RESULT_THEN);
    assert_int_equal(store_time_ms(store), 70);
    APPLY(.time_ms = 69);
    assert_int_equal(store_time_ms(store), 70);
    APPLY(.thens = {PUT("a", "3")});
    assert_int_equal(store_time_ms(store), 70);
    reopen();
    assert_int_equal(store_time_ms(store), 70);
    assert_int_equal(store_applied(store), 4);
    APPLY(.time_ms = COMMAND_TIME_SOUND_MS);
    reopen();
    assert_true(store_time_ms(store) == COMMAND_TIME_SOUND_MS);
    assert_int_equal(APPLY(.thens = {GET("a")}), RESULT_THEN);
}

/* One that no honest leader can reach. Time goes on behind it, in small steps
 * only. */
static void test_no_stamp_uses_up_the_time(void **state)
{
    (void)state;
    uint64_t now = COMMAND_TIME_SOUND_MS;
    APPLY(.time_ms = COMMAND_TIME_MS_MAX, .thens = {PUT_TTL("a", "1", 1000)});
    assert_true(store_time_ms(store) == now);
    APPLY(.time_ms = now + 999, .thens = {OP(EXPIRE, .limit = 9)});
    assert_int_equal(APPLY(.thens = {GET("a")}), RESULT_THEN);
    assert_int_equal(store_key_count(store), 1);
    APPLY(.time_ms = now + 1000, .thens = {OP(EXPIRE, .limit = 9)});
    assert_int_equal(store_key_count(store), 0);
    APPLY(.time_ms = COMMAND_TIME_MS_MAX);
    assert_true(store_time_ms(store) == now + 1000 + COMMAND_TIME_STEP_MS);
    APPLY(.time_ms = COMMAND_TIME_MS_MAX);
    assert_true(store_time_ms(store) == now + 1000 + 2 * COMMAND_TIME_STEP_MS);
}

/* The stamp is part of what an entry does. */
static void test_the_hash_covers_the_stamp(void **state)
{
    (void)state;
    struct fs *memory = fs_memory_new();
    struct store *other = storedir_open(memory);
    APPLY(.time_ms = 70);
    apply_to(other, encode(&(struct script){.time_ms = 71}));
    assert_true(store_hash(store) != store_hash(other));
    store_close(other);
    fs_memory_free(memory);
}

/* Newest version of the schema in a file. */
static int schema_of(const struct buf *file)
{
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *select = NULL;
    snprintf(path, sizeof(path), "%s/copy.db", storedir_root);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file->data, 1, file->size, out), file->size);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT max(version) FROM migrations",
                                        -1, &select, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(select), SQLITE_ROW);
    int version = sqlite3_column_int(select, 0);
    sqlite3_finalize(select);
    sqlite3_close(db);
    return version;
}

/* The build before can take a snapshot until there is an entry that it cannot
 * apply; data of before that entry stays. */
static void test_the_schema_changes_with_the_first_stamp(void **state)
{
    (void)state;
    struct buf file = {0};
    struct store_row row;
    storedir_put(store, "a", "1");
    APPLY(.name = "n", .thens = {PUT("b", "2")});
    storedir_backup(store, &file);
    assert_int_equal(schema_of(&file), 3);
    struct bytes stamped = encode(&(struct script){.time_ms = 5});
    assert_true(store_changes_schema(store, stamped));
    apply_to(store, stamped);
    assert_false(store_changes_schema(store, stamped));
    storedir_backup(store, &file);
    assert_int_equal(schema_of(&file), 4);
    APPLY(.time_ms = 6, .thens = {PUT("a", "3")});
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_get(store, bytes_of_string("a"), &row), ERR_OK);
        assert_true(bytes_equal_string(row.value, "3"));
        assert_int_equal(row.version, 2);
        assert_int_equal(store_get(store, bytes_of_string("b"), &row), ERR_OK);
        assert_true(bytes_equal_string(row.value, "2"));
        APPLY(.name = "n", .thens = {PUT("b", "2")});
        assert_true(reader.head.replayed);
        reopen();
    }
    buf_free(&file);
}

/* The entry is applied once, wherever it is interrupted: after the migration it
 * is replayed on the new schema. */
static void test_a_crash_after_the_migration(void **state)
{
    (void)state;
    storedir_put(store, "a", "1");
    APPLY(.time_ms = 5, .thens = {PUT("b", "2")});
    assert_int_equal(store_flushed(store), 1);
    store_discard(store);
    store = storedir_open(storedir_fs);
    assert_int_equal(store_applied(store), 1);
    assert_int_equal(store_time_ms(store), 0);
    APPLY(.time_ms = 5, .thens = {PUT("b", "2")});
    assert_int_equal(store_time_ms(store), 5);
    reopen();
    assert_int_equal(store_applied(store), 2);
}

/* A later program may have gone on from version 3 in another way. */
static void test_another_version_4_is_refused(void **state)
{
    (void)state;
    char path[128];
    sqlite3 *db;
    store_close(store);
    snprintf(path, sizeof(path), "%s/db/gen-0000001/state.db", storedir_root);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO migrations VALUES(4, 'later')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    struct store_options options = {.fs = storedir_fs};
    assert_int_equal(store_open(&options, &store), ERR_VERSION);
    store = NULL;
}

/* ---- deadlines ---- */

static struct store_row get(const char *key)
{
    struct store_row row = {0};
    enum err err = store_get(store, bytes_of_string(key), &row);
    assert_true(err == ERR_OK || err == ERR_NOT_FOUND);
    return row; /* Version 0: it is missing. */
}

static struct result_op next(void)
{
    struct result_op op;
    assert_int_equal(result_next(&reader, &op), ERR_OK);
    return op;
}

static uint64_t expire(uint64_t time_ms, uint64_t limit)
{
    assert_int_equal(
        APPLY(.time_ms = time_ms, .thens = {OP(EXPIRE, .limit = limit)}),
        RESULT_THEN);
    return next().deleted;
}

static uint64_t due(void)
{
    assert_int_equal(store_find_due(store), ERR_OK);
    return store_due_ms(store);
}

static void test_a_key_ends_at_its_deadline(void **state)
{
    (void)state;
    APPLY(.time_ms = 1000, .thens = {PUT_TTL("a", "1", 500), PUT("b", "2")});
    assert_int_equal(get("a").deadline_ms, 1500);
    assert_int_equal(get("b").deadline_ms, 0);
    assert_int_equal(store_timed_keys(store), 1);
    assert_int_equal(due(), 1500);
    for (int i = 0; i < 3; i++) { /* In the tier, frozen, in the database. */
        assert_int_equal(expire(1499, 10), 0);
        assert_int_equal(get("a").deadline_ms, 1500);
        if (i == 0) {
            store_freeze(store);
        } else if (i == 1) {
            reopen();
        }
    }
    assert_int_equal(due(), 1500);
    assert_int_equal(expire(1500, 10), 1);
    assert_int_equal(get("a").version, 0);
    assert_int_equal(get("b").version, 1);
    assert_int_equal(store_key_count(store), 1);
    assert_int_equal(store_timed_keys(store), 0);
    assert_true(store_due_ms(store) == UINT64_MAX);
    assert_true(due() == UINT64_MAX);
    reopen();
    assert_int_equal(get("a").version, 0);
    assert_true(due() == UINT64_MAX);
}

/* Redis' rules: a write clears the deadline, a change in place keeps it. */
static void test_what_changes_a_deadline(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) { /* In the tier, the database, the cache. */
        uint64_t t = store_time_ms(store) + 1000;
        APPLY(.time_ms = t,
              .thens = {PUT_TTL("a", "1", 500), PUT_TTL("b", "2", 500),
                        PUT_TTL("c", "3", 500), PUT_TTL("d", "4", 500),
                        PUT_TTL("e/1", "5", 500), PUT_TTL("f", "6", 500)});
        assert_int_equal(store_timed_keys(store), 6);
        if (i == 1) {
            reopen();
        } else if (i == 2) {
            assert_int_equal(store_flush(store), ERR_OK);
        }
        uint64_t index = get("b").modify_index;
        APPLY(.thens = {PUT("a", "1"), OP(INCR, .key = KEY("c"), .by = 1),
                        OP(DELETE, .key = KEY("d")),
                        OP(DELETE_PREFIX, .key = KEY("e/"))});
        APPLY(.time_ms = t + 100,
              .thens = {TOUCH("b", 5000), TOUCH("f", 0), TOUCH("none", 5)});
        assert_true(next().found);
        assert_true(next().found);
        assert_false(next().found);
        assert_int_equal(get("a").deadline_ms, 0);
        assert_int_equal(get("b").deadline_ms, t + 5100);
        assert_int_equal(get("b").modify_index, index);
        assert_int_equal(get("c").deadline_ms, t + 500);
        assert_int_equal(get("f").deadline_ms, 0);
        assert_true(bytes_equal_string(get("f").value, "6"));
        assert_int_equal(store_timed_keys(store), 2);
        assert_int_equal(due(), t + 500);
        assert_int_equal(expire(t + 5099, 10), 1);
        assert_int_equal(get("c").version, 0);
        assert_int_equal(expire(t + 5100, 10), 1);
        APPLY(.thens = {OP(DELETE, .key = KEY("a")),
                        OP(DELETE, .key = KEY("f"))});
    }
}

/* In the order of their deadlines, so many per entry. */
static void test_many_are_removed_in_parts(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%03d", (i * 7) % KEYS);
        struct command_op put = OP(PUT_TIMED, .ttl_ms = 100 + (uint64_t)i);
        put.key = bytes_of_string(key);
        APPLY(.time_ms = 1000, .thens = {put});
        if (i == KEYS / 2) {
            reopen();
        }
    }
    uint64_t left = KEYS;
    while (left > 0) {
        assert_int_equal(due(), 1100 + (KEYS - left));
        assert_int_equal(expire(5000, 64), left < 64 ? left : 64);
        left -= left < 64 ? left : 64;
        assert_int_equal(store_key_count(store), left);
        if (left == KEYS - 128) {
            assert_int_equal(store_flush(store), ERR_OK);
        }
        snprintf(key, sizeof(key), "k%03d", (int)(KEYS - left) * 7 % KEYS);
        assert_int_equal(get(key).version, left > 0);
    }
    assert_int_equal(expire(6000, 64), 0);
}

/* A transaction that fails in the midst changes no deadline. */
static void test_a_failed_command_is_undone(void **state)
{
    (void)state;
    APPLY(.time_ms = 1000, .thens = {PUT_TTL("a", "x", 500)});
    assert_int_equal(
        APPLY(.time_ms = 2000, .thens = {OP(EXPIRE, .limit = 5), PUT("a", "y"),
                                         OP(INCR, .key = KEY("a"), .by = 1)}),
        RESULT_NOT_A_NUMBER);
    assert_int_equal(get("a").deadline_ms, 1500);
    assert_int_equal(store_timed_keys(store), 1);
    assert_int_equal(due(), 1500);
    assert_int_equal(expire(2000, 5), 1);
}

static void test_a_timed_command_needs_a_stamp(void **state)
{
    (void)state;
    struct store_result result;
    struct bytes stamped = encode(
        &(struct script){.time_ms = 5, .thens = {PUT_TTL("a", "1", 500)}});
    struct bytes bare = bytes_of(stamped.data + 9, stamped.size - 9);
    assert_true(command_needs_stamp(bare));
    assert_int_equal(store_apply(store, 1, 1, bare, &result), ERR_CORRUPT);
    assert_int_equal(store_applied(store), 0);
}

/* ---- leases ---- */

static uint64_t grant(uint64_t time_ms, uint64_t ttl_ms)
{
    assert_int_equal(
        APPLY(.time_ms = time_ms, .thens = {OP(LEASE_GRANT, .ttl_ms = ttl_ms)}),
        RESULT_THEN);
    return reader.head.index;
}

static void test_a_lease_ends_with_its_keys(void **state)
{
    (void)state;
    struct store_lease lease;
    struct cursor keys;
    uint64_t id = grant(1000, 500);
    uint64_t other = grant(1000, 5000);
    assert_int_equal(store_leases(store), 2);
    APPLY(.time_ms = 1100,
          .thens = {PUT_LEASE("a", "1", id), PUT_LEASE("b", "2", id),
                    PUT_LEASE("c", "3", id), PUT_LEASE("d", "4", other)});
    assert_int_equal(get("a").lease, id);
    assert_int_equal(get("a").deadline_ms, 0);
    reopen();
    /* A key leaves it by any write. */
    APPLY(.time_ms = 1200,
          .thens = {PUT("b", "2"), PUT_LEASE("c", "3", other)});
    assert_int_equal(store_lease_get(store, id, &lease), ERR_OK);
    assert_int_equal(lease.keys, 1);
    assert_int_equal(lease.deadline_ms, 1500);
    assert_int_equal(store_lease_next(store, 0, &lease), ERR_OK);
    assert_int_equal(lease.id, id);
    assert_int_equal(store_lease_next(store, id, &lease), ERR_OK);
    assert_int_equal(lease.id, other);
    assert_int_equal(lease.keys, 2);
    assert_int_equal(store_lease_next(store, other, &lease), ERR_NOT_FOUND);
    assert_int_equal(store_lease_keys(store, other, &keys), ERR_OK);
    assert_int_equal(cursor_left(&keys), 2 * 3);
    APPLY(.time_ms = 1400, .thens = {OP(LEASE_KEEP, .lease = id)});
    struct result_op op = next();
    assert_true(op.found);
    assert_int_equal(op.ttl_ms, 500);
    assert_int_equal(due(), 1900);
    assert_int_equal(expire(1899, 10), 0);
    assert_int_equal(expire(1900, 10), 1);
    assert_int_equal(get("a").version, 0);
    assert_int_equal(get("b").version, 2);
    assert_int_equal(store_lease_get(store, id, &lease), ERR_NOT_FOUND);
    APPLY(.time_ms = 2000, .thens = {OP(LEASE_KEEP, .lease = id)});
    assert_false(next().found);
    assert_int_equal(APPLY(.time_ms = 2000,
                           .thens = {PUT("x", "1"), PUT_LEASE("y", "1", id)}),
                     RESULT_NO_LEASE);
    assert_int_equal(get("x").version, 0);
    APPLY(.time_ms = 2000, .thens = {OP(LEASE_REVOKE, .lease = other)});
    op = next();
    assert_true(op.found);
    assert_int_equal(op.deleted, 2);
    assert_int_equal(store_leases(store), 0);
    assert_int_equal(store_timed_keys(store), 0);
    assert_int_equal(store_key_count(store), 1);
    assert_true(due() == UINT64_MAX);
}

static void test_a_lease_has_a_limit_of_keys(void **state)
{
    (void)state;
    char key[16];
    struct store_lease lease;
    uint64_t id = grant(1000, 500);
    struct command_op put = OP(PUT_TIMED, .lease = id);
    for (int i = 0; i <= COMMAND_LEASE_KEYS_MAX; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        put.key = bytes_of_string(key);
        assert_int_equal(APPLY(.time_ms = 1000, .thens = {put}),
                         i < COMMAND_LEASE_KEYS_MAX ? RESULT_THEN
                                                    : RESULT_LIMIT);
    }
    put.key = bytes_of_string("k0"); /* One that it has. */
    assert_int_equal(APPLY(.time_ms = 1000, .thens = {put}), RESULT_THEN);
    assert_int_equal(store_lease_get(store, id, &lease), ERR_OK);
    assert_int_equal(lease.keys, COMMAND_LEASE_KEYS_MAX);
    /* One lease an entry: its index is the id. */
    assert_int_equal(
        APPLY(.time_ms = 1000, .thens = {OP(LEASE_GRANT, .ttl_ms = 1),
                                         OP(LEASE_GRANT, .ttl_ms = 1)}),
        RESULT_LIMIT);
    assert_int_equal(store_leases(store), 1);
    assert_int_equal(expire(1500, 1), COMMAND_LEASE_KEYS_MAX);
    assert_int_equal(store_key_count(store), 0);
}

/* ---- ages of results ---- */

static bool is_replayed(uint64_t time_ms, const char *name)
{
    APPLY(.time_ms = time_ms, .name = name, .thens = {GET("a")});
    return reader.head.replayed;
}

static void test_results_are_forgotten_by_age(void **state)
{
    (void)state;
    enum { AGE = STORE_ANSWER_AGE_MS };
    for (int i = 0; i < 3; i++) {
        uint64_t t = store_time_ms(store) + 2 * AGE;
        assert_false(is_replayed(t, "one"));
        assert_false(is_replayed(t + 5, "two"));
        assert_false(is_replayed(t + 5, "three"));
        assert_false(is_replayed(t + 5, "four"));
        if (i == 1) {
            reopen();
        } else if (i == 2) {
            store_freeze(store);
        }
        assert_true(is_replayed(t + AGE - 1, "one"));
        assert_true(is_replayed(t + AGE - 1, "four"));
        assert_false(is_replayed(t + AGE, "one"));
        assert_true(is_replayed(t + AGE, "four"));
        /* All before the last of them go at once, if it is asked for. */
        assert_false(is_replayed(t + AGE + 5, "four"));
        assert_true(is_replayed(t + AGE + 5, "four"));
        assert_int_equal(store_answers(store), 2);
    }
    /* They are gone from the database, too. */
    reopen();
    assert_int_equal(store_answers(store), 2);
    assert_true(is_replayed(store_time_ms(store), "one"));
}

/* ---- all of it, at random ---- */

static void random_script(struct rng *rng, struct script *script,
                          uint64_t *leases, char key[][8])
{
    for (int i = 0; i < 4; i++) {
        struct command_op *op = &script->thens[i];
        snprintf(key[i], 8, "k%d", (int)rng_below(rng, 12));
        struct bytes k = bytes_of_string(key[i]);
        uint64_t lease = leases[rng_below(rng, 4)];
        switch (rng_below(rng, 10)) {
        case 0:
            *op = OP(PUT, .key = k, .value = k);
            break;
        case 1:
        case 2:
            *op = OP(PUT_TIMED, .key = k, .value = k,
                     .ttl_ms = 1 + rng_below(rng, 300));
            break;
        case 3:
        case 4:
            *op = lease ? OP(PUT_TIMED, .key = k, .lease = lease)
                        : OP(DELETE, .key = k);
            break;
        case 5:
            *op = OP(TOUCH, .key = k, .ttl_ms = rng_below(rng, 200));
            break;
        case 6:
            *op = OP(DELETE_PREFIX, .key = KEY("k1"));
            break;
        case 7:
            *op = lease ? OP(LEASE_KEEP, .lease = lease)
                        : OP(LEASE_GRANT, .ttl_ms = 1 + rng_below(rng, 300));
            break;
        case 8:
            *op = OP(LEASE_GRANT, .ttl_ms = 1 + rng_below(rng, 300));
            break;
        default:
            *op = OP(EXPIRE, .limit = 1 + rng_below(rng, 3));
            break;
        }
    }
}

/* Whatever happens between entries, two nodes have the same; and nothing that
 * has an end is forgotten. */
static void test_equal_logs_give_equal_states(void **state)
{
    (void)state;
    struct fs *memory = fs_memory_new();
    struct store *other = storedir_open(memory);
    struct rng rng;
    rng_init(&rng, 20261130);
    uint64_t leases[4] = {0};
    uint64_t time_ms = 1;
    char key[4][8];
    for (int i = 0; i < 3000; i++) {
        time_ms += rng_below(&rng, 40);
        struct script script = {.time_ms = time_ms};
        random_script(&rng, &script, leases, key);
        struct bytes bytes = encode(&script);
        enum result_status status = apply_to(store, bytes);
        assert_int_equal(apply_to(other, bytes), status);
        if (status == RESULT_THEN && rng_below(&rng, 3) == 0) {
            leases[rng_below(&rng, 4)] = reader.head.index;
        }
        assert_true(store_hash(store) == store_hash(other));
        switch (rng_below(&rng, 40)) {
        case 0:
            reopen();
            break;
        case 1:
            store_freeze(store);
            break;
        case 2:
        case 3:
            assert_int_equal(store_flush_step(store, 3), ERR_OK);
            break;
        case 4:
            assert_true(store_content_hash(store) == store_content_hash(other));
            break;
        default:
            break;
        }
    }
    time_ms += 1000;
    while (due() <= time_ms) {
        struct bytes bytes = encode(&(struct script){
            .time_ms = time_ms, .thens = {OP(EXPIRE, .limit = 5)}});
        apply_to(store, bytes);
        apply_to(other, bytes);
    }
    assert_int_equal(store_timed_keys(store), 0);
    assert_int_equal(store_leases(store), 0);
    assert_true(store_content_hash(store) == store_content_hash(other));
    store_close(other);
    fs_memory_free(memory);
}

/* Results get too old, and their names are used again, wherever they are: in a
 * tier, in one half-way through its flush, in the database. */
static void test_results_age_between_the_tiers(void **state)
{
    (void)state;
    enum { COMMANDS = 4000, NAMES = 40, REPLAYED_MIN = COMMANDS / 10 };
    struct fs *memory = fs_memory_new();
    struct store *other = storedir_open(memory);
    struct rng rng;
    rng_init(&rng, 19);
    uint64_t time_ms = 1;
    int replayed = 0;
    int carried_out = 0;
    for (int i = 0; i < COMMANDS; i++) {
        char name[8];
        time_ms += rng_below(&rng, STORE_ANSWER_AGE_MS / 20);
        snprintf(name, sizeof(name), "n%d", (int)rng_below(&rng, NAMES));
        struct bytes bytes = encode(
            &(struct script){.time_ms = time_ms,
                             .name = rng_below(&rng, 4) > 0 ? name : NULL,
                             .thens = {OP(INCR, .key = KEY("n"), .by = 1)}});
        enum result_status status = apply_to(store, bytes);
        uint64_t index = reader.head.index;
        replayed += reader.head.replayed;
        carried_out += !reader.head.replayed;
        assert_int_equal(apply_to(other, bytes), status);
        assert_int_equal(reader.head.index, index);
        assert_true(store_hash(store) == store_hash(other));
        assert_int_equal(store_answers(store), store_answers(other));
        switch (rng_below(&rng, 30)) {
        case 0:
            reopen();
            break;
        case 1:
        case 2:
            (void)store_freeze(store);
            break;
        case 3:
            assert_true(store_content_hash(store) == store_content_hash(other));
            break;
        default:
            assert_int_equal(store_flush_step(store, 1 + rng_below(&rng, 3)),
                             ERR_OK);
            break;
        }
    }
    assert_in_range(replayed, REPLAYED_MIN, COMMANDS);
    assert_in_range(carried_out, REPLAYED_MIN, COMMANDS);
    store_close(other);
    fs_memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_stamps_are_kept_and_never_go_back),
        T(test_no_stamp_uses_up_the_time),
        T(test_the_hash_covers_the_stamp),
        T(test_the_schema_changes_with_the_first_stamp),
        T(test_a_crash_after_the_migration),
        T(test_another_version_4_is_refused),
        T(test_a_key_ends_at_its_deadline),
        T(test_what_changes_a_deadline),
        T(test_many_are_removed_in_parts),
        T(test_a_failed_command_is_undone),
        T(test_a_timed_command_needs_a_stamp),
        T(test_a_lease_ends_with_its_keys),
        T(test_a_lease_has_a_limit_of_keys),
        T(test_results_are_forgotten_by_age),
        T(test_equal_logs_give_equal_states),
        T(test_results_age_between_the_tiers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
