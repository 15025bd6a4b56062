/* test_store.c -- the state machine: exactly once through crashes, equal for
 * equal logs, and counted right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/log.h"
#include "command/command.h"
#include "store/store.h"
#include "support/storedir.h"

static struct buf command;

static int setup(void **state)
{
    (void)state;
    return storedir_make();
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&command);
    return storedir_remove();
}

static struct bytes put(const char *key, const char *value)
{
    struct command_writer writer;
    command.size = 0;
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of_string(value));
    command_end(&writer);
    return buf_bytes(&command);
}

static struct bytes del(const char *key)
{
    struct command_writer writer;
    command.size = 0;
    command_begin(&writer, &command);
    command_delete(&writer, bytes_of_string(key));
    command_end(&writer);
    return buf_bytes(&command);
}

static uint64_t apply(struct store *store, struct bytes bytes)
{
    struct store_result result;
    assert_int_equal(
        store_apply(store, store_applied(store) + 1, 1, bytes, &result),
        ERR_OK);
    return result.deleted;
}

static void assert_value(struct store *store, const char *key,
                         const char *value)
{
    struct store_row row;
    enum err err = store_get(store, bytes_of_string(key), &row);
    assert_int_equal(err, value ? ERR_OK : ERR_NOT_FOUND);
    if (value) {
        assert_true(bytes_equal_string(row.value, value));
    }
}

static void test_apply_get_delete_and_count(void **state)
{
    (void)state;
    struct store *store = storedir_open(storedir_fs);
    struct store_row row;
    apply(store, put("a", "1"));
    apply(store, put("a", "2"));
    apply(store, put("b", ""));
    assert_value(store, "a", "2");
    assert_value(store, "b", "");
    assert_int_equal(store_key_count(store), 2);
    assert_int_equal(store_get(store, bytes_of_string("a"), &row), ERR_OK);
    assert_int_equal(row.create_index, 1);
    assert_int_equal(row.modify_index, 2);
    assert_int_equal(apply(store, del("a")), 1);
    assert_int_equal(apply(store, del("a")), 0);
    assert_value(store, "a", NULL);
    assert_int_equal(store_key_count(store), 1);
    store_close(store);
}

static void test_a_crash_goes_back_to_the_last_commit(void **state)
{
    (void)state;
    struct store *store = storedir_open(storedir_fs);
    apply(store, put("a", "1"));
    store_close(store);
    pid_t child = fork();
    if (child == 0) {
        store = storedir_open(storedir_fs);
        apply(store, put("a", "lost"));
        apply(store, put("b", "lost"));
        _exit(store_pending(store) == 2 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store = storedir_open(storedir_fs);
    assert_int_equal(store_applied(store), 1);
    assert_int_equal(store_key_count(store), 1);
    assert_value(store, "a", "1");
    assert_value(store, "b", NULL);
    /* Replay from the log gives what was there. */
    apply(store, put("a", "lost"));
    apply(store, put("b", "lost"));
    assert_value(store, "b", "lost");
    assert_int_equal(store_key_count(store), 2);
    store_close(store);
}

static void test_flush_survives_and_conf_comes_back(void **state)
{
    (void)state;
    uint64_t index;
    struct store *store = storedir_open(storedir_fs);
    store_apply_conf(store, 1, 1, bytes_of_string("members"));
    store_apply_noop(store, 2, 1);
    assert_int_equal(store_flush(store), ERR_OK);
    assert_int_equal(store_flushed(store), 2);
    apply(store, put("k", "v"));
    store_close(store); /* Commits. */
    store = storedir_open(storedir_fs);
    assert_int_equal(store_applied(store), 3);
    assert_true(bytes_equal_string(store_conf(store, &index), "members"));
    assert_int_equal(index, 1);
    store_close(store);
}

static void test_equal_logs_give_equal_hashes(void **state)
{
    (void)state;
    struct fs *memory = fs_memory_new();
    struct store_options options = {.fs = memory};
    struct store *a = storedir_open(storedir_fs);
    struct store *b = NULL;
    assert_int_equal(store_open(&options, &b), ERR_OK);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i * 7 % 31);
        apply(a, i % 5 ? put(key, "value") : del(key));
        apply(b, i % 5 ? put(key, "value") : del(key));
        if (i % 10 == 0) {
            assert_int_equal(store_flush(a), ERR_OK);
        }
        assert_int_equal(store_hash(a), store_hash(b));
    }
    assert_int_equal(store_content_hash(a), store_content_hash(b));
    apply(a, put("x", "1"));
    apply(b, put("x", "2"));
    assert_int_not_equal(store_hash(a), store_hash(b));
    assert_int_not_equal(store_content_hash(a), store_content_hash(b));
    store_close(a);
    store_close(b);
    fs_memory_free(memory);
}

static void test_a_bad_command_changes_nothing(void **state)
{
    (void)state;
    struct store *store = storedir_open(storedir_fs);
    struct store_result result;
    struct bytes bytes = put("a", "1");
    bytes.size--;
    assert_int_equal(store_apply(store, 1, 1, bytes, &result), ERR_CORRUPT);
    command.data[0] = 9;
    bytes.size++;
    assert_int_equal(store_apply(store, 1, 1, bytes, &result), ERR_VERSION);
    assert_int_equal(store_applied(store), 0);
    assert_int_equal(store_key_count(store), 0);
    store_close(store);
}

/* SQLite writes of it what its cache cannot hold, and reads that again. */
static void test_a_transaction_larger_than_the_cache(void **state)
{
    (void)state;
    enum { VALUES = 48, VALUE_BYTES = 1 << 20 };
    struct store *store = storedir_open(storedir_fs);
    char *value = mem_alloc(VALUE_BYTES + 1);
    char key[16];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < VALUES; i++) {
            memset(value, 'a' + (i + round) % 26, VALUE_BYTES);
            value[VALUE_BYTES] = '\0';
            snprintf(key, sizeof(key), "key%d", i);
            apply(store, put(key, value));
        }
        for (int i = 0; i < VALUES; i++) {
            memset(value, 'a' + (i + round) % 26, VALUE_BYTES);
            snprintf(key, sizeof(key), "key%d", i);
            assert_value(store, key, value);
        }
    }
    assert_int_equal(store_flushed(store), 0);
    assert_int_equal(store_checkpoint(store), ERR_OK);
    assert_value(store, "key47", value);
    mem_free(value);
    store_close(store);
}

static void test_a_newer_schema_is_refused(void **state)
{
    (void)state;
    char path[128];
    sqlite3 *db;
    struct store *store = storedir_open(storedir_fs);
    store_close(store);
    snprintf(path, sizeof(path), "%s/db/gen-0000001/state.db", storedir_root);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO migrations VALUES(999, 'x')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    struct store_options options = {.fs = storedir_fs};
    assert_int_equal(store_open(&options, &store), ERR_VERSION);
}

static void test_a_damaged_current_is_refused(void **state)
{
    (void)state;
    struct store *store = storedir_open(storedir_fs);
    store_close(store);
    assert_int_equal(fs_replace(storedir_fs, "db", "db/CURRENT",
                                "craftd-db 1 0000002 00000000\n", 29),
                     ERR_OK);
    struct store_options options = {.fs = storedir_fs};
    assert_int_equal(store_open(&options, &store), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_apply_get_delete_and_count),
        T(test_a_crash_goes_back_to_the_last_commit),
        T(test_flush_survives_and_conf_comes_back),
        T(test_equal_logs_give_equal_hashes),
        T(test_a_bad_command_changes_nothing),
        T(test_a_transaction_larger_than_the_cache),
        T(test_a_newer_schema_is_refused),
        T(test_a_damaged_current_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
