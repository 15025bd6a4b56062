/* test_store_txn.c -- conditions, results and repeats in the state machine:
 * all or nothing, exactly once (C04), the same on every node and for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/log.h"
#include "base/rng.h"
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

#define DELETE(k) OP(DELETE, .key = KEY(k))
#define DELETE_PREFIX(k) OP(DELETE_PREFIX, .key = KEY(k))
#define INCR(k, n) OP(INCR, .key = KEY(k), .by = (n))
#define IF(what, k, n)                                                         \
    (struct command_condition)                                                 \
    {                                                                          \
        .field = COMMAND_IF_##what, .key = KEY(k), .number = (n)               \
    }

static struct bytes encode(const struct script *script)
{
    return script_encode(&command, script);
}

static enum result_status apply_to(struct store *to, struct bytes bytes)
{
    return script_apply(to, bytes, &reader);
}

static enum result_status apply(const struct script *script)
{
    return apply_to(store, encode(script));
}

#define APPLY(...) apply(&(struct script){__VA_ARGS__})

static struct result_op next(void)
{
    struct result_op op = {0};
    assert_int_equal(result_next(&reader, &op), ERR_OK);
    return op;
}

/* In place of a version 1 command: a log of an older build. */
static void apply_plain(struct store *to, const char *key, const char *value)
{
    struct command_writer writer;
    struct store_result result;
    command.size = 0;
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of_string(value));
    command_end(&writer);
    assert_int_equal(
        store_apply(to, store_applied(to) + 1, 1, buf_bytes(&command), &result),
        ERR_OK);
    assert_int_equal(result.data.size, 0);
}

static void assert_value(const char *key, const char *value)
{
    struct store_row row;
    enum err err = store_get(store, bytes_of_string(key), &row);
    assert_int_equal(err, value ? ERR_OK : ERR_NOT_FOUND);
    if (value) {
        assert_true(bytes_equal_string(row.value, value));
    }
}

static uint64_t version_of(struct store *of, const char *key)
{
    struct store_row row;
    assert_int_equal(store_get(of, bytes_of_string(key), &row), ERR_OK);
    return row.version;
}

/* ---- operations and conditions ---- */

static void test_every_operation_tells_what_it_did(void **state)
{
    (void)state;
    APPLY(.thens = {PUT("tmp/a", "1"), PUT("tmp/b", "2"), PUT("tmq", "3")});
    assert_true(next().created);
    assert_int_equal(APPLY(.thens = {PUT("tmq", "4"), DELETE("tmq"),
                                     DELETE("tmq"), DELETE_PREFIX("tmp/"),
                                     INCR("n", 8), GET("n"), GET("z")}),
                     RESULT_THEN);
    assert_int_equal(reader.head.index, 2);
    assert_false(next().created);
    assert_int_equal(next().deleted, 1);
    assert_int_equal(next().deleted, 0);
    assert_int_equal(next().deleted, 2);
    assert_int_equal(next().number, 8);
    struct result_op got = next();
    assert_true(got.found && bytes_equal_string(got.value, "8"));
    assert_true(bytes_equal_string(got.key, "n"));
    assert_int_equal(got.modify_index, 2);
    assert_false(next().found);
    assert_int_equal(store_key_count(store), 1);
}

static void test_each_comparison(void **state)
{
    (void)state;
    static const struct {
        struct command_condition condition;
        bool holds;
    } cases[] = {
        {{COMMAND_IF_INDEX, KEY("k"), 2, {0}}, true},
        {{COMMAND_IF_INDEX, KEY("k"), 1, {0}}, false},
        {{COMMAND_IF_INDEX, KEY("none"), 0, {0}}, true},
        {{COMMAND_IF_INDEX, KEY("none"), UINT64_MAX, {0}}, false},
        {{COMMAND_IF_NOT_INDEX, KEY("k"), 2, {0}}, false},
        {{COMMAND_IF_NOT_INDEX, KEY("k"), 1, {0}}, true},
        {{COMMAND_IF_NOT_INDEX, KEY("none"), 2, {0}}, true},
        {{COMMAND_IF_CREATED, KEY("k"), 1, {0}}, true},
        {{COMMAND_IF_CREATED, KEY("k"), 2, {0}}, false},
        {{COMMAND_IF_EXISTS, KEY("k"), 1, {0}}, true},
        {{COMMAND_IF_EXISTS, KEY("k"), 0, {0}}, false},
        {{COMMAND_IF_EXISTS, KEY("none"), 1, {0}}, false},
        {{COMMAND_IF_EXISTS, KEY("none"), 0, {0}}, true},
        {{COMMAND_IF_VALUE, KEY("k"), 0, KEY("two")}, true},
        {{COMMAND_IF_VALUE, KEY("k"), 0, KEY("twp")}, false},
        {{COMMAND_IF_VALUE, KEY("k"), 0, KEY("tw")}, false},
        {{COMMAND_IF_VALUE, KEY("none"), 0, KEY("")}, false},
    };
    APPLY(.thens = {PUT("k", "one")});
    APPLY(.thens = {PUT("k", "two")});
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct script script = {.ifs = {cases[i].condition}};
        assert_int_equal(apply(&script),
                         cases[i].holds ? RESULT_THEN : RESULT_REFUSED);
    }
}

static void test_then_else_and_the_condition_that_failed(void **state)
{
    (void)state;
    APPLY(.thens = {PUT("a", "1")});
    assert_int_equal(APPLY(.ifs = {IF(EXISTS, "a", 1), IF(INDEX, "a", 9),
                                   IF(EXISTS, "b", 1)},
                           .thens = {PUT("a", "2")}),
                     RESULT_REFUSED);
    assert_int_equal(reader.head.at, 1);
    assert_int_equal(reader.head.current, 1);
    assert_value("a", "1");
    assert_int_equal(APPLY(.ifs = {IF(INDEX, "a", 9)}, .thens = {PUT("a", "2")},
                           .has_else = true, .elses = {GET("a")}),
                     RESULT_ELSE);
    assert_true(bytes_equal_string(next().value, "1"));
    assert_int_equal(APPLY(.ifs = {IF(INDEX, "a", 1)}, .thens = {PUT("a", "2")},
                           .has_else = true, .elses = {PUT("a", "no")}),
                     RESULT_THEN);
    assert_value("a", "2");
}

static void test_what_fails_half_way_leaves_nothing(void **state)
{
    (void)state;
    APPLY(.thens = {PUT("word", "one"), PUT("max", "9223372036854775807"),
                    PUT("min", "-9223372036854775808"), PUT("zero", "007")});
    uint64_t keys = store_key_count(store);
    static const struct {
        struct command_op op;
        enum result_status status;
    } cases[] = {
        {{.type = COMMAND_INCR, .key = KEY("word"), .by = 1},
         RESULT_NOT_A_NUMBER},
        {{.type = COMMAND_INCR, .key = KEY("zero"), .by = 1},
         RESULT_NOT_A_NUMBER},
        {{.type = COMMAND_INCR, .key = KEY("max"), .by = 1}, RESULT_OVERFLOW},
        {{.type = COMMAND_INCR, .key = KEY("min"), .by = -1}, RESULT_OVERFLOW},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct script script = {
            .thens = {PUT("new", "x"), DELETE("word"), cases[i].op}};
        script.thens[1] = DELETE("other");
        assert_int_equal(apply(&script), cases[i].status);
        assert_int_equal(reader.head.at, 2);
        assert_value("new", NULL);
        assert_int_equal(store_key_count(store), keys);
    }
    /* The entry counts all the same, and what comes next works. */
    assert_int_equal(store_applied(store), 5);
    assert_int_equal(APPLY(.thens = {INCR("max", -1)}), RESULT_THEN);
    assert_value("max", "9223372036854775806");
    assert_int_equal(store_flush(store), ERR_OK);
}

static void put_many(const char *prefix, int count)
{
    struct command_writer writer;
    struct store_result result;
    command.size = 0;
    command_begin(&writer, &command);
    for (int i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "%s%d", prefix, i);
        command_put(&writer, bytes_of_string(key), bytes_of_string("v"));
    }
    command_end(&writer);
    assert_int_equal(store_apply(store, store_applied(store) + 1, 1,
                                 buf_bytes(&command), &result),
                     ERR_OK);
}

static void test_a_prefix_has_a_limit_and_an_end(void **state)
{
    (void)state;
    put_many("p/", RESULT_PREFIX_KEYS_MAX + 1);
    APPLY(.thens = {PUT("o\xff", "x"), PUT("p0", "x"), PUT("\xff\xff", "x")});
    assert_int_equal(APPLY(.thens = {DELETE_PREFIX("p/")}), RESULT_TOO_MANY);
    assert_int_equal(store_key_count(store), RESULT_PREFIX_KEYS_MAX + 4);
    APPLY(.thens = {DELETE("p/0")});
    /* The limit is that of the command, not of each operation. */
    assert_int_equal(APPLY(.thens = {DELETE_PREFIX("p/"), DELETE_PREFIX("p")}),
                     RESULT_TOO_MANY);
    assert_int_equal(APPLY(.thens = {DELETE_PREFIX("p/")}), RESULT_THEN);
    assert_int_equal(next().deleted, RESULT_PREFIX_KEYS_MAX);
    assert_value("p0", "x");
    assert_int_equal(APPLY(.thens = {DELETE_PREFIX("\xff")}), RESULT_THEN);
    assert_int_equal(next().deleted, 1);
    assert_int_equal(APPLY(.thens = {DELETE_PREFIX("o\xff")}), RESULT_THEN);
    assert_int_equal(next().deleted, 1);
    assert_int_equal(store_key_count(store), 1);
}

static void put_large(const char *key, size_t size)
{
    static uint8_t value[(1 << 20) + 1];
    struct command_writer writer;
    struct store_result result;
    command.size = 0;
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of(value, size));
    command_end(&writer);
    assert_int_equal(store_apply(store, store_applied(store) + 1, 1,
                                 buf_bytes(&command), &result),
                     ERR_OK);
}

static void test_results_have_a_limit(void **state)
{
    (void)state;
    put_large("k", (1 << 20) - 64);
    assert_int_equal(APPLY(.thens = {GET("k"), GET("k"), GET("k"), GET("k")}),
                     RESULT_THEN);
    assert_int_equal(APPLY(.thens = {PUT("x", "1"), GET("k"), GET("k"),
                                     GET("k"), GET("k"), GET("k")}),
                     RESULT_TOO_LARGE);
    assert_int_equal(reader.head.at, 5);
    assert_value("x", NULL);
    /* Results that are stored for retries have a much lower limit. */
    assert_int_equal(APPLY(.name = "n", .thens = {PUT("x", "1"), GET("k")}),
                     RESULT_TOO_LARGE);
    assert_value("x", NULL);
    for (int i = 0; i < 17; i++) {
        char key[16];
        snprintf(key, sizeof(key), "big/%d", i);
        put_large(key, 1 << 20);
    }
    assert_int_equal(APPLY(.thens = {DELETE_PREFIX("big/")}), RESULT_TOO_MANY);
}

/* ---- repeats ---- */

static void test_a_repeat_gets_the_first_answer(void **state)
{
    (void)state;
    const struct script once = {.name = "once", .thens = {INCR("n", 1)}};
    assert_int_equal(apply(&once), RESULT_THEN);
    assert_false(reader.head.replayed);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(apply(&once), RESULT_THEN);
        assert_true(reader.head.replayed);
        assert_int_equal(reader.head.index, 1);
        assert_int_equal(next().number, 1);
        /* Also after a restart. */
        store_close(store);
        store = storedir_open(storedir_fs);
    }
    assert_value("n", "1");
    assert_int_equal(store_answers(store), 1);
    /* The same name, and something else. */
    assert_int_equal(APPLY(.name = "once", .thens = {INCR("n", 2)}),
                     RESULT_REUSED);
    assert_value("n", "1");
    /* Failures are kept too: a repeat must not succeed where the client was
     * told that nothing happened. */
    const struct script refused = {
        .name = "no", .ifs = {IF(EXISTS, "m", 1)}, .thens = {PUT("m", "x")}};
    assert_int_equal(apply(&refused), RESULT_REFUSED);
    APPLY(.thens = {PUT("m", "1")});
    assert_int_equal(apply(&refused), RESULT_REFUSED);
    assert_true(reader.head.replayed);
    assert_value("m", "1");
    const struct script failed = {.name = "nan",
                                  .thens = {PUT("q", "x"), INCR("q", 1)}};
    assert_int_equal(apply(&failed), RESULT_NOT_A_NUMBER);
    assert_int_equal(apply(&failed), RESULT_NOT_A_NUMBER);
    assert_true(reader.head.replayed);
    assert_value("q", NULL);
}

/* Names n0 and so on, in `name`, the script's. */
static void apply_as_many_as_are_kept(struct script *script, char name[16])
{
    for (int i = 0; i < STORE_ANSWERS_MAX; i++) {
        snprintf(name, 16, "n%d", i);
        apply(script);
    }
}

/* C05: answers end by their number, at the same entry everywhere. */
static void test_the_oldest_answer_leaves(void **state)
{
    (void)state;
    char name[16] = "";
    struct script script = {.name = name, .thens = {INCR("n", 1)}};
    apply_as_many_as_are_kept(&script, name);
    snprintf(name, sizeof(name), "n0");
    apply(&script);
    assert_true(reader.head.replayed);
    snprintf(name, sizeof(name), "one more");
    apply(&script);
    assert_false(reader.head.replayed);
    assert_int_equal(store_answers(store), STORE_ANSWERS_MAX);
    snprintf(name, sizeof(name), "n1");
    apply(&script);
    assert_true(reader.head.replayed);
    snprintf(name, sizeof(name), "n0");
    apply(&script);
    assert_false(reader.head.replayed);
    assert_int_equal(store_answers(store), STORE_ANSWERS_MAX);
}

/* The database has the oldest results when they are dropped, more of them than
 * one slice deletes. After a restart they are not known again, or this node
 * would answer a name that the others carry out. */
static void test_a_dropped_answer_does_not_come_back(void **state)
{
    (void)state;
    enum { MORE = 600 };
    char name[16] = "";
    struct script script = {.name = name, .thens = {INCR("n", 1)}};
    apply_as_many_as_are_kept(&script, name);
    assert_int_equal(store_flush(store), ERR_OK);
    for (int i = 0; i < MORE; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        apply(&script);
    }
    uint64_t hash = store_content_hash(store);
    store_close(store);
    store = storedir_open(storedir_fs);
    assert_true(store_content_hash(store) == hash);
    assert_int_equal(store_answers(store), STORE_ANSWERS_MAX);
    snprintf(name, sizeof(name), "n%d", MORE);
    apply(&script);
    assert_true(reader.head.replayed);
    for (int i = 0; i < MORE; i += MORE - 1) {
        snprintf(name, sizeof(name), "n%d", i);
        apply(&script);
        assert_false(reader.head.replayed);
    }
    assert_int_equal(store_answers(store), STORE_ANSWERS_MAX);
}

/* ---- the same everywhere ---- */

static void random_script(struct rng *rng, struct script *script, char *name)
{
    static const struct bytes keys[] = {KEY("a"), KEY("ab"), KEY("b"),
                                        KEY("n")};
    static const struct bytes values[] = {KEY("1"), KEY("word"), KEY("-7")};
    *script = (struct script){.has_else = rng_below(rng, 2) == 0};
    if (rng_below(rng, 3) == 0) {
        sprintf(name, "n%d", (int)rng_below(rng, 40));
        script->name = name;
    }
    for (uint64_t i = rng_below(rng, 3); i > 0; i--) {
        script->ifs[i - 1] = (struct command_condition){
            .field = (enum command_field)(1 + rng_below(rng, 5)),
            .key = keys[rng_below(rng, 4)],
            .number = rng_below(rng, 2)};
        if (script->ifs[i - 1].field == COMMAND_IF_VALUE) {
            script->ifs[i - 1].number = 0;
            script->ifs[i - 1].value = values[rng_below(rng, 3)];
        }
    }
    for (uint64_t i = rng_below(rng, 6); i > 0; i--) {
        struct command_op *op = &script->thens[i - 1];
        *op = (struct command_op){
            .type = (enum command_op_type)(1 + rng_below(rng, 5)),
            .key = keys[rng_below(rng, 4)]};
        if (op->type == COMMAND_PUT) {
            op->value = values[rng_below(rng, 3)];
        }
        op->by = op->type == COMMAND_INCR ? 1 : 0;
    }
    script->elses[0] = DELETE("a");
}

/* Committed often or never, closed and opened or not: the same rows, the same
 * answers, the same hash after every entry. */
static void test_equal_logs_give_equal_states(void **state)
{
    (void)state;
    struct fs *memory = fs_memory_new();
    struct store *other = storedir_open(memory);
    struct rng rng;
    struct script script;
    char name[16];
    rng_init(&rng, 7);
    for (int i = 0; i < 3000; i++) {
        random_script(&rng, &script, name);
        struct bytes bytes = encode(&script);
        enum result_status one = apply_to(store, bytes);
        assert_int_equal(apply_to(other, bytes), one);
        assert_true(store_hash(store) == store_hash(other));
        assert_int_equal(store_key_count(store), store_key_count(other));
        if (rng_below(&rng, 50) == 0) {
            store_close(store);
            store = storedir_open(storedir_fs);
        }
    }
    assert_true(store_answers(store) > 20);
    assert_true(store_content_hash(store) == store_content_hash(other));
    store_close(other);
    fs_memory_free(memory);
}

/* The hash is of the results too: a node whose data differs shows it at the
 * first look, though it does as it is told. */
static void test_the_hash_covers_what_was_seen(void **state)
{
    (void)state;
    char path[128];
    struct fs *memory = fs_memory_new();
    struct store *other = storedir_open(memory);
    struct script put = {.thens = {PUT("a", "1")}};
    struct script get = {.thens = {GET("a")}};
    apply(&put);
    apply_to(other, encode(&put));
    store_close(store);
    snprintf(path, sizeof(path), "%s/db/gen-0000001/state.db", storedir_root);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "UPDATE pairs SET value=x'32'", NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
    store = storedir_open(storedir_fs);
    assert_true(store_hash(store) == store_hash(other));
    apply(&get);
    apply_to(other, encode(&get));
    assert_true(store_hash(store) != store_hash(other));
    store_close(other);
    fs_memory_free(memory);
}

/* ---- older builds ---- */

/* As the first version of the schema left it. */
static void make_old_database(void)
{
    char path[128];
    sqlite3 *db;
    store_close(store);
    snprintf(path, sizeof(path), "rm -f %s/db/gen-0000001/*", storedir_root);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof(path), "%s/db/gen-0000001/state.db", storedir_root);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(
            db,
            "PRAGMA journal_mode=WAL;"
            "CREATE TABLE migrations(version INTEGER PRIMARY KEY, "
            "name TEXT NOT NULL);"
            "CREATE TABLE pairs(key BLOB PRIMARY KEY NOT NULL, "
            "value BLOB NOT NULL, create_index INTEGER NOT NULL, "
            "modify_index INTEGER NOT NULL);"
            "CREATE TABLE raft(one INTEGER PRIMARY KEY CHECK(one = 1), "
            "applied INTEGER NOT NULL, term INTEGER NOT NULL, "
            "hash INTEGER NOT NULL, keys INTEGER NOT NULL, "
            "conf_index INTEGER NOT NULL, conf BLOB NOT NULL);"
            "INSERT INTO migrations VALUES(1, 'pairs and the raft row');"
            "INSERT INTO raft VALUES(1, 9, 1, 77, 1, 3, x'6d');"
            "INSERT INTO pairs VALUES(x'6b', x'76', 4, 9);",
            NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
}

static void test_a_database_of_the_schema_before(void **state)
{
    (void)state;
    uint64_t index;
    struct store_row row;
    make_old_database();
    for (int i = 0; i < 2; i++) { /* Migrated, and migrated already. */
        store = storedir_open(storedir_fs);
        assert_int_equal(store_applied(store), 9);
        assert_int_equal(store_hash(store), 77);
        assert_true(bytes_equal_string(store_conf(store, &index), "m"));
        assert_int_equal(index, 3);
        assert_int_equal(store_get(store, bytes_of_string("k"), &row), ERR_OK);
        assert_true(bytes_equal_string(row.value, "v"));
        assert_int_equal(row.create_index, 4);
        assert_int_equal(row.modify_index, 9);
        assert_int_equal(row.version, 1);
        assert_false(store_counts(store));
        if (i == 0) {
            store_close(store);
        }
    }
    assert_int_equal(APPLY(.name = "n", .thens = {INCR("n", 1)}), RESULT_THEN);
}

/* An old build does not count versions; a new one must not either, before an
 * entry that the old one could not have applied. */
static void test_versions_count_from_the_same_entry_everywhere(void **state)
{
    (void)state;
    make_old_database(); /* Upgraded late: all these were applied before, ... */
    store = storedir_open(storedir_fs);
    struct fs *memory = fs_memory_new();
    struct store *early = storedir_open(memory);
    for (int i = 0; i < 8; i++) {
        apply_plain(early, i == 3 ? "k" : "other", "v");
    }
    apply_plain(early, "k", "v"); /* ... here by a new build. */
    assert_int_equal(version_of(early, "k"), 1);
    struct script put = {.thens = {PUT("k", "w")}};
    apply(&put);
    apply_to(early, encode(&put));
    apply_plain(store, "k", "x");
    apply_plain(early, "k", "x");
    assert_int_equal(version_of(store, "k"), 3);
    assert_int_equal(version_of(early, "k"), 3);
    store_close(early);
    fs_memory_free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_every_operation_tells_what_it_did),
        T(test_each_comparison),
        T(test_then_else_and_the_condition_that_failed),
        T(test_what_fails_half_way_leaves_nothing),
        T(test_a_prefix_has_a_limit_and_an_end),
        T(test_results_have_a_limit),
        T(test_a_repeat_gets_the_first_answer),
        T(test_the_oldest_answer_leaves),
        T(test_a_dropped_answer_does_not_come_back),
        T(test_equal_logs_give_equal_states),
        T(test_the_hash_covers_what_was_seen),
        T(test_a_database_of_the_schema_before),
        T(test_versions_count_from_the_same_entry_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
