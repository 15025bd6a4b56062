/* test_store_restore.c -- a restore in the state machine: all of it or
 * nothing, each step once, the same on every node however often it restarts;
 * and the files that are, or are not, backups. */
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
#include "support/storedir.h"

static struct store *store;
static struct buf command;
static struct result came; /* Result of the last command. */

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

static uint64_t apply_to(struct store *to)
{
    struct store_result result;
    struct result_reader reader;
    uint64_t index = store_applied(to) + 1;
    assert_int_equal(store_apply(to, index, 1, buf_bytes(&command), &result),
                     ERR_OK);
    came = (struct result){0};
    if (result.data.size > 0) {
        assert_int_equal(result_check(result.data), ERR_OK);
        assert_true(result_fits(result.data, buf_bytes(&command)));
        assert_int_equal(result_open(&reader, result.data), ERR_OK);
        came = reader.head;
    }
    return index;
}

static void say_put(const char *key, const char *value)
{
    struct command_writer writer;
    command.size = 0;
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of_string(value));
    command_end(&writer);
}

static uint64_t put(const char *key, const char *value)
{
    say_put(key, value);
    return apply_to(store);
}

static void say_step(enum command_step step, uint64_t id, uint64_t keys,
                     uint64_t hash)
{
    struct command_writer writer;
    command.size = 0;
    command_restore(&writer, &command,
                    &(struct command_restore){
                        .step = step, .id = id, .keys = keys, .hash = hash});
}

static enum result_status step(enum command_step step, uint64_t id,
                               uint64_t keys, uint64_t hash)
{
    say_step(step, id, keys, hash);
    (void)apply_to(store);
    return came.status;
}

/* `count` rows, key-<at>.. */
static void say_rows(uint64_t id, uint64_t at, uint64_t count,
                     const char *value)
{
    struct command_writer writer;
    command.size = 0;
    command_restore(&writer, &command,
                    &(struct command_restore){
                        .step = COMMAND_RESTORE_ROWS, .id = id, .keys = at});
    for (uint64_t i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%05llu", (unsigned long long)(at + i));
        command_restore_row(&writer, bytes_of_string(key),
                            bytes_of_string(value));
    }
    command_end(&writer);
}

static enum result_status rows(uint64_t id, uint64_t at, uint64_t count,
                               uint64_t *hash)
{
    say_rows(id, at, count, "restored");
    *hash = command_restore_hash(*hash, buf_bytes(&command));
    (void)apply_to(store);
    return came.status;
}

static bool has(const char *key, const char *value)
{
    struct store_row row;
    enum err err = store_get(store, bytes_of_string(key), &row);
    if (err) {
        assert_int_equal(err, ERR_NOT_FOUND);
        return false;
    }
    return bytes_equal_string(row.value, value);
}

static void sweep_one(void)
{
    enum err err = store_sweep(store);
    assert_true(!err || err == ERR_NOT_FOUND);
}

static void sweep_all(void)
{
    enum err err;
    do {
        err = store_sweep(store);
    } while (!err);
    assert_int_equal(err, ERR_NOT_FOUND);
}

/* ---- the steps ---- */

static void test_a_restore_replaces_all(void **state)
{
    (void)state;
    uint64_t hash = 0;
    struct store_row row;
    (void)put("key-00000", "before");
    (void)put("other", "before");
    assert_int_equal(step(COMMAND_RESTORE_BEGIN, 7, 0, 0), RESULT_RESTORE);
    assert_int_equal(rows(7, 0, 3, &hash), RESULT_RESTORE);
    uint64_t staged_at = store_applied(store);
    /* Nobody sees anything of it, and others go on. */
    assert_true(has("key-00000", "before"));
    assert_false(has("key-00001", "restored"));
    uint64_t meanwhile = put("key-00001", "meanwhile");
    assert_int_equal(store_key_count(store), 3);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 7, 3, hash), RESULT_RESTORE);
    assert_int_equal(came.keys, 3);
    assert_int_equal(came.index, store_applied(store));
    assert_int_equal(store_key_count(store), 3);
    assert_false(has("other", "before"));
    assert_true(has("key-00000", "restored"));
    /* Its indexes are new: no entry wrote this key and had that one. */
    assert_int_equal(store_get(store, bytes_of_string("key-00001"), &row),
                     ERR_OK);
    assert_int_equal(row.modify_index, staged_at);
    assert_int_equal(row.create_index, staged_at);
    assert_int_equal(row.version, 1);
    assert_int_not_equal(row.modify_index, meanwhile);
    /* All statements work on the new table. */
    (void)put("other", "after");
    assert_true(has("other", "after"));
    assert_int_equal(store_key_count(store), 4);
    struct store_range range = {.keys_only = true};
    struct store_pair pair;
    int count = 0;
    store_range_open(store, &range);
    while (store_range_next(store, &pair) == ERR_OK) {
        count++;
    }
    store_range_close(store);
    assert_int_equal(count, 4);
}

static void test_each_step_is_done_once(void **state)
{
    (void)state;
    uint64_t hash = 0;
    uint64_t other = 0;
    (void)put("k", "v");
    assert_int_equal(step(COMMAND_RESTORE_BEGIN, 7, 0, 0), RESULT_RESTORE);
    assert_int_equal(rows(7, 0, 2, &hash), RESULT_RESTORE);
    /* Said again, or late. */
    assert_int_equal(rows(7, 0, 2, &other), RESULT_SUPERSEDED);
    assert_int_equal(came.keys, 2);
    assert_int_equal(step(COMMAND_RESTORE_BEGIN, 7, 0, 0), RESULT_RESTORE);
    assert_int_equal(came.keys, 2);
    /* A part that is missing, another's, another content. */
    assert_int_equal(rows(7, 3, 1, &other), RESULT_SUPERSEDED);
    assert_int_equal(rows(8, 2, 1, &other), RESULT_SUPERSEDED);
    assert_int_equal(came.keys, 0);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 7, 2, hash + 1),
                     RESULT_SUPERSEDED);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 7, 1, hash),
                     RESULT_SUPERSEDED);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 8, 2, hash),
                     RESULT_SUPERSEDED);
    assert_true(has("k", "v"));
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 7, 2, hash), RESULT_RESTORE);
    uint64_t at = came.index;
    (void)put("later", "v");
    /* It was done: said again, and not done again. */
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 7, 2, hash), RESULT_RESTORE);
    assert_int_equal(came.index, at);
    assert_int_equal(came.keys, 2);
    assert_int_equal(step(COMMAND_RESTORE_ABORT, 7, 0, 0), RESULT_SUPERSEDED);
    assert_true(has("later", "v"));
    assert_true(has("key-00001", "restored"));
    assert_int_equal(store_key_count(store), 3);
}

static void test_a_newer_one_and_an_end_drop_it(void **state)
{
    (void)state;
    uint64_t hash = 0;
    uint64_t late = 0;
    uint64_t staged;
    (void)put("k", "v");
    (void)step(COMMAND_RESTORE_BEGIN, 7, 0, 0);
    (void)rows(7, 0, 5, &late);
    assert_int_equal(step(COMMAND_RESTORE_BEGIN, 8, 0, 0), RESULT_RESTORE);
    assert_int_equal(came.keys, 0);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 7, 5, late),
                     RESULT_SUPERSEDED);
    assert_int_equal(rows(8, 0, 1, &hash), RESULT_RESTORE);
    assert_int_equal(store_restoring(store, &staged), 8);
    assert_int_equal(staged, 1);
    assert_int_equal(step(COMMAND_RESTORE_ABORT, 8, 0, 0), RESULT_RESTORE);
    assert_int_equal(store_restoring(store, &staged), 0);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 8, 1, hash),
                     RESULT_SUPERSEDED);
    assert_true(has("k", "v"));
    assert_int_equal(store_key_count(store), 1);
    /* One of no keys is one. */
    assert_int_equal(step(COMMAND_RESTORE_BEGIN, 9, 0, 0), RESULT_RESTORE);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 9, 0, 0), RESULT_RESTORE);
    assert_int_equal(store_key_count(store), 0);
    assert_false(has("k", "v"));
}

static void test_a_key_that_comes_twice_is_missed(void **state)
{
    (void)state;
    struct command_writer writer;
    (void)put("k", "v");
    (void)step(COMMAND_RESTORE_BEGIN, 7, 0, 0);
    command.size = 0;
    command_restore(
        &writer, &command,
        &(struct command_restore){.step = COMMAND_RESTORE_ROWS, .id = 7});
    for (int i = 0; i < 2; i++) {
        command_restore_row(&writer, bytes_of_string("same"),
                            bytes_of_string("v"));
    }
    command_end(&writer);
    uint64_t hash = command_restore_hash(0, buf_bytes(&command));
    (void)apply_to(store);
    assert_int_equal(came.keys, 1);
    assert_int_equal(step(COMMAND_RESTORE_COMMIT, 7, 2, hash),
                     RESULT_SUPERSEDED);
    assert_true(has("k", "v"));
}

/* ---- the same on every node ---- */

enum { SCRIPT = 120, BATCH = 40 };

static void say_batch(uint64_t id, uint64_t number)
{
    say_rows(id, number * BATCH, BATCH, "restored, and takes some room");
}

/* Entry `index` of a script in which one restore follows the other. */
static void say(uint64_t index)
{
    uint64_t id = 1 + index / 12;
    uint64_t part = index % 12;
    uint64_t hash = 0;
    char key[32];
    if (part == 2) {
        say_step(COMMAND_RESTORE_BEGIN, id, 0, 0);
    } else if (part == 4 || part == 5 || part == 7) {
        say_batch(id, part == 7 ? 2 : part - 4);
    } else if (part == 9 && id % 4 != 0) {
        for (uint64_t i = 0; i < 3; i++) {
            say_batch(id, i);
            hash = command_restore_hash(hash, buf_bytes(&command));
        }
        say_step(COMMAND_RESTORE_COMMIT, id, 3 * BATCH, hash);
    } else if (part == 10 && id % 8 == 0) {
        say_step(COMMAND_RESTORE_ABORT, id, 0, 0);
    } else {
        snprintf(key, sizeof(key), "key-%05llu",
                 (unsigned long long)(index * 7 % 200));
        say_put(key, "written");
    }
}

static struct store *crash(struct store *of)
{
    /* As a process that is killed: what is not committed is gone. */
    char line[512];
    snprintf(line, sizeof(line),
             "rm -rf %s-crash && cp -r %s %s-crash 2>/dev/null", storedir_root,
             storedir_root, storedir_root);
    (void)system(line);
    store_close(of);
    snprintf(line, sizeof(line),
             "rm -rf %s/db && mv %s-crash/db %s/db && "
             "rm -rf %s-crash",
             storedir_root, storedir_root, storedir_root, storedir_root);
    assert_int_equal(system(line), 0);
    return storedir_open(storedir_fs);
}

static bool any_conf(struct bytes conf)
{
    (void)conf;
    return true;
}

static struct store *through_a_snapshot(struct store *of)
{
    struct store_image *image = NULL;
    struct store_incoming *incoming = NULL;
    struct store *out = NULL;
    uint8_t piece[4096];
    assert_int_equal(store_checkpoint(of), ERR_OK);
    assert_int_equal(store_image_open(of, &image), ERR_OK);
    assert_int_equal(store_incoming_new(of, &incoming), ERR_OK);
    uint64_t index = image->index;
    while (image->at < image->bytes) {
        size_t size = (size_t)min_u64(sizeof(piece), image->bytes - image->at);
        assert_int_equal(store_image_read(image, piece, size), ERR_OK);
        assert_int_equal(store_incoming_add(incoming, bytes_of(piece, size)),
                         ERR_OK);
    }
    store_image_close(image);
    assert_int_equal(store_incoming_finish(incoming, index, 1, any_conf, &out),
                     ERR_OK);
    store_close(of);
    store_tidy(out);
    return out;
}

static void test_the_same_after_crashes_snapshots_and_sweeps(void **state)
{
    (void)state;
    static uint64_t hashes[SCRIPT + 1];
    static uint64_t contents[SCRIPT + 1];
    static uint64_t counts[SCRIPT + 1];
    struct rng rng;
    struct fs *memory = fs_memory_new();
    struct store *plain = storedir_open(memory);
    for (uint64_t i = 1; i <= SCRIPT; i++) {
        say(i);
        (void)apply_to(plain);
        hashes[i] = store_hash(plain);
        contents[i] = store_content_hash(plain);
        counts[i] = store_key_count(plain);
    }
    store_close(plain);
    fs_memory_free(memory);
    rng_init(&rng, 11);
    int crashes = 0;
    while (store_applied(store) < SCRIPT) {
        say(store_applied(store) + 1);
        uint64_t i = apply_to(store);
        assert_int_equal(store_hash(store), hashes[i]);
        assert_int_equal(store_content_hash(store), contents[i]);
        assert_int_equal(store_key_count(store), counts[i]);
        switch (rng_below(&rng, 8)) {
        case 0:
            store = crash(store);
            crashes += store_applied(store) < i;
            break;
        case 1:
            assert_int_equal(store_flush(store), ERR_OK);
            break;
        case 2:
            store = through_a_snapshot(store);
            break;
        case 3:
            sweep_one();
            break;
        case 4:
            assert_int_equal(store_flush(store), ERR_OK);
            sweep_one();
            store = crash(store);
            assert_int_equal(store_applied(store), i);
            break;
        default:
            break;
        }
        uint64_t applied = store_applied(store);
        assert_int_equal(store_content_hash(store), contents[applied]);
    }
    assert_true(crashes > 3);
    uint64_t content = store_content_hash(store);
    sweep_all();
    assert_int_equal(store_content_hash(store), content);
}

static uint64_t tables_of_waste(void)
{
    char sql[128];
    sqlite3 *db = NULL;
    sqlite3_stmt *count = NULL;
    assert_int_equal(store_checkpoint(store), ERR_OK);
    store_close(store);
    snprintf(sql, sizeof(sql), "%s/db/gen-0000001/state.db", storedir_root);
    assert_int_equal(sqlite3_open(sql, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT count(*) FROM sqlite_schema WHERE name "
                           "GLOB 'waste_*'",
                           -1, &count, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(count), SQLITE_ROW);
    uint64_t tables = (uint64_t)sqlite3_column_int64(count, 0);
    sqlite3_finalize(count);
    sqlite3_close(db);
    store = storedir_open(storedir_fs);
    return tables;
}

static void test_what_was_replaced_goes_in_slices(void **state)
{
    (void)state;
    uint64_t hash = 0;
    uint64_t unused = 0;
    struct store_stats before;
    struct store_stats after;
    (void)step(COMMAND_RESTORE_BEGIN, 1, 0, 0);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(rows(1, i * 300, 300, &hash), RESULT_RESTORE);
    }
    (void)step(COMMAND_RESTORE_COMMIT, 1, 3000, hash);
    (void)step(COMMAND_RESTORE_BEGIN, 2, 0, 0);
    (void)rows(2, 0, 500, &unused);
    (void)step(COMMAND_RESTORE_BEGIN, 3, 0, 0); /* Drops those. */
    (void)step(COMMAND_RESTORE_COMMIT, 3, 0, 0);
    assert_int_equal(store_key_count(store), 0);
    assert_int_equal(tables_of_waste(), 3); /* The first one was empty. */
    store_get_stats(store, &before);
    int slices = 0;
    while (store_sweep(store) == ERR_OK) {
        slices++;
        if (slices == 9) {
            store = crash(store);
        }
    }
    assert_true(slices > 20 && slices < 60);
    store_get_stats(store, &after);
    assert_true(after.used_bytes < before.used_bytes / 2);
    assert_int_equal(store_sweep(store), ERR_NOT_FOUND);
    assert_int_equal(tables_of_waste(), 0);
}

/* ---- files that come ---- */

enum { VALUE_MAX = 1 << 20 };

static struct buf file;

/* Open, and read all of it, as a restore does. */
static enum err upload(uint64_t *count)
{
    struct store_upload *in = NULL;
    struct bytes key;
    struct bytes value;
    const char *why = "";
    *count = 0;
    assert_int_equal(store_upload_new(store, &in), ERR_OK);
    for (size_t at = 0; at < file.size; at += 1000) {
        size_t size = (size_t)min_u64(1000, file.size - at);
        assert_int_equal(store_upload_add(in, bytes_of(file.data + at, size)),
                         ERR_OK);
    }
    enum err err = store_upload_open(in, VALUE_MAX, &why);
    for (int by_key = 0; by_key < 2 && !err; by_key++) {
        *count = 0;
        err = store_upload_begin(in, by_key);
        while (!err && (err = store_upload_next(in, &key, &value)) == ERR_OK) {
            (*count)++;
        }
        if (err == ERR_NOT_FOUND) {
            /* Once more is the end as well. */
            assert_int_equal(store_upload_next(in, &key, &value),
                             ERR_NOT_FOUND);
            err = ERR_OK;
        }
    }
    store_upload_free(in);
    return err;
}

static void change_backup(const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/changed.db", storedir_root);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.data, 1, file.size, out), file.size);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(
        fs_read_all(storedir_fs, "changed.db", 1 << 24, &data, &size), ERR_OK);
    file.size = 0;
    buf_add(&file, data, size);
    mem_free(data);
}

static void test_what_is_a_backup_and_what_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        enum err err;
    } cases[] = {
        {"SELECT 1", ERR_OK},
        {"DELETE FROM pairs", ERR_OK},
        {"CREATE TABLE more(x); CREATE VIEW v AS SELECT * FROM pairs", ERR_OK},
        {"DROP TABLE pairs", ERR_CORRUPT},
        {"DROP TABLE raft", ERR_CORRUPT},
        {"DROP TABLE migrations", ERR_CORRUPT},
        {"INSERT INTO migrations VALUES(99, 'later')", ERR_VERSION},
        {"UPDATE raft SET applied = 0", ERR_CORRUPT},
        {"ALTER TABLE pairs RENAME TO p; CREATE TABLE pairs(key BLOB PRIMARY "
         "KEY NOT NULL, content BLOB NOT NULL, create_index INTEGER NOT NULL, "
         "modify_index INTEGER NOT NULL, version INTEGER NOT NULL DEFAULT 1); "
         "INSERT INTO pairs SELECT key, value, create_index, modify_index, "
         "version FROM p; DROP TABLE p",
         ERR_CORRUPT},
        {"UPDATE pairs SET value = 'text' WHERE key = x'6b31'", ERR_CORRUPT},
        {"UPDATE pairs SET key = x'' WHERE key = x'6b31'", ERR_CORRUPT},
        {"UPDATE pairs SET key = zeroblob(1025) WHERE key = x'6b31'",
         ERR_CORRUPT},
        {"ALTER TABLE pairs RENAME TO p; CREATE VIEW pairs AS SELECT * FROM p",
         ERR_CORRUPT},
        {"ALTER TABLE pairs RENAME TO p; CREATE TABLE pairs AS SELECT * FROM p",
         ERR_CORRUPT}, /* No index. */
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t count;
        if (i == 0) {
            for (int k = 0; k < 500; k++) {
                char key[16];
                snprintf(key, sizeof(key), "k%d", k);
                (void)put(key, "value");
            }
        }
        storedir_backup(store, &file);
        change_backup(cases[i].sql);
        if (upload(&count) != cases[i].err) {
            fail_msg("%s", cases[i].sql);
        }
        assert_int_equal(count == 500, i == 0 || i == 2);
    }
    buf_free(&file);
}

static void test_files_that_are_damaged(void **state)
{
    (void)state;
    uint64_t count;
    file.size = 0;
    assert_int_equal(upload(&count), ERR_CORRUPT);
    buf_add_string(&file, "not a database, but longer than the header of one "
                          "would be, which is a hundred bytes, as is known");
    assert_int_equal(upload(&count), ERR_CORRUPT);
    for (int k = 0; k < 3000; k++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", k);
        (void)put(key, "a value that takes some bytes");
    }
    storedir_backup(store, &file);
    size_t whole = file.size;
    assert_int_equal(upload(&count), ERR_OK);
    assert_int_equal(count, 3000);
    for (size_t size = 4096; size < whole; size += 16 * 4096) {
        storedir_backup(store, &file);
        file.size = size;
        assert_int_equal(upload(&count), ERR_CORRUPT);
    }
    /* Any page that is gone, in the table or in its index. What only free
     * pages or other tables have is nobody's loss. */
    int found = 0;
    size_t pages = whole / 4096;
    for (size_t page = 0; page < pages; page++) {
        storedir_backup(store, &file);
        memset(file.data + page * 4096, 0, 4096);
        enum err err = upload(&count);
        assert_true(err == ERR_CORRUPT || (err == ERR_OK && count == 3000));
        found += err == ERR_CORRUPT;
    }
    assert_true((size_t)found + 12 > pages);
    buf_free(&file);
}

/* An index that has lost a row: reading by it would restore less. */
static void test_an_index_that_has_lost_a_row(void **state)
{
    (void)state;
    uint64_t count;
    for (int k = 0; k < 50; k++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", k);
        (void)put(key, "value");
    }
    storedir_backup(store, &file);
    /* A second index over fewer rows, under the name of the first. */
    change_backup("CREATE INDEX some ON pairs(key) WHERE create_index < 40;"
                  "PRAGMA writable_schema=ON;"
                  "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM "
                  "sqlite_schema WHERE name = 'some') WHERE name = "
                  "'sqlite_autoindex_pairs_1';"
                  "DELETE FROM sqlite_schema WHERE name = 'some'");
    assert_int_equal(upload(&count), ERR_CORRUPT);
    assert_true(count > 30 && count < 50);
    buf_free(&file);
}

static void test_an_upload_in_memory(void **state)
{
    (void)state;
    uint64_t count;
    struct fs *memory = fs_memory_new();
    for (int k = 0; k < 50; k++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", k);
        (void)put(key, "value");
    }
    storedir_backup(store, &file);
    store_close(store);
    store = storedir_open(memory);
    assert_int_equal(upload(&count), ERR_OK);
    assert_int_equal(count, 50);
    file.size = file.size / 2;
    assert_int_equal(upload(&count), ERR_CORRUPT);
    store_close(store);
    store = NULL;
    fs_memory_free(memory);
    buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_restore_replaces_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_each_step_is_done_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_newer_one_and_an_end_drop_it,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_that_comes_twice_is_missed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_the_same_after_crashes_snapshots_and_sweeps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_replaced_goes_in_slices,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_a_backup_and_what_is_not,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_that_are_damaged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_an_index_that_has_lost_a_row,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_upload_in_memory, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
