/* test_store_time.c -- what the state machine knows of time comes from the
 * stamps of entries alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "command/command.h"
#include "command/result.h"
#include "store/store.h"
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

#define KEY(text)                                                              \
    {                                                                          \
        (const uint8_t *)(text), sizeof(text) - 1                              \
    }
#define PUT(k, v)                                                              \
    (struct command_op)                                                        \
    {                                                                          \
        .type = COMMAND_PUT, .key = KEY(k), .value = KEY(v)                    \
    }
#define GET(k)                                                                 \
    (struct command_op)                                                        \
    {                                                                          \
        .type = COMMAND_GET, .key = KEY(k)                                     \
    }

/* A command, stamped if `time_ms` is not 0; its operations end with type 0. */
struct script {
    uint64_t time_ms;
    const char *name;
    struct command_op ops[8];
};

static struct bytes encode(const struct script *script)
{
    struct command_txn txn;
    struct command_writer writer;
    struct command_name name = {{0}, 0};
    struct buf plain = {0};
    if (script->name) {
        name.key = bytes_of_string(script->name);
    }
    command_txn(&txn, &plain, &name, false);
    command_list(&writer, &plain);
    command_end(&writer);
    command_list(&writer, &plain);
    for (const struct command_op *op = script->ops; op->type; op++) {
        command_add(&writer, op);
    }
    command_end(&writer);
    command_sign(&txn, 1);
    command.size = 0;
    if (script->time_ms > 0) {
        command_stamp(&command, script->time_ms, buf_bytes(&plain));
    } else {
        buf_add_bytes(&command, buf_bytes(&plain));
    }
    buf_free(&plain);
    return buf_bytes(&command);
}

static enum result_status apply_to(struct store *to, struct bytes bytes)
{
    struct store_result result;
    assert_int_equal(store_apply(to, store_applied(to) + 1, 1, bytes, &result),
                     ERR_OK);
    assert_int_equal(result_check(result.data), ERR_OK);
    assert_int_equal(result_open(&reader, result.data), ERR_OK);
    return reader.head.status;
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
    assert_int_equal(APPLY(.ops = {PUT("a", "1")}), RESULT_THEN);
    assert_int_equal(store_time_ms(store), 0);
    assert_int_equal(APPLY(.time_ms = 70, .ops = {PUT("a", "2")}), RESULT_THEN);
    assert_int_equal(store_time_ms(store), 70);
    APPLY(.time_ms = 69);
    assert_int_equal(store_time_ms(store), 70);
    APPLY(.ops = {PUT("a", "3")});
    assert_int_equal(store_time_ms(store), 70);
    reopen();
    assert_int_equal(store_time_ms(store), 70);
    assert_int_equal(store_applied(store), 4);
    APPLY(.time_ms = COMMAND_TIME_MS_MAX);
    reopen();
    assert_true(store_time_ms(store) == COMMAND_TIME_MS_MAX);
    assert_int_equal(APPLY(.ops = {GET("a")}), RESULT_THEN);
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
    APPLY(.name = "n", .ops = {PUT("b", "2")});
    storedir_backup(store, &file);
    assert_int_equal(schema_of(&file), 3);
    struct bytes stamped = encode(&(struct script){.time_ms = 5});
    assert_true(store_changes_schema(store, stamped));
    apply_to(store, stamped);
    assert_false(store_changes_schema(store, stamped));
    storedir_backup(store, &file);
    assert_int_equal(schema_of(&file), 4);
    APPLY(.time_ms = 6, .ops = {PUT("a", "3")});
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_get(store, bytes_of_string("a"), &row), ERR_OK);
        assert_true(bytes_equal_string(row.value, "3"));
        assert_int_equal(row.version, 2);
        assert_int_equal(store_get(store, bytes_of_string("b"), &row), ERR_OK);
        assert_true(bytes_equal_string(row.value, "2"));
        APPLY(.name = "n", .ops = {PUT("b", "2")});
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
    APPLY(.time_ms = 5, .ops = {PUT("b", "2")});
    assert_int_equal(store_flushed(store), 1);
    store_discard(store);
    store = storedir_open(storedir_fs);
    assert_int_equal(store_applied(store), 1);
    assert_int_equal(store_time_ms(store), 0);
    APPLY(.time_ms = 5, .ops = {PUT("b", "2")});
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

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_stamps_are_kept_and_never_go_back),
        T(test_the_hash_covers_the_stamp),
        T(test_the_schema_changes_with_the_first_stamp),
        T(test_a_crash_after_the_migration),
        T(test_another_version_4_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
