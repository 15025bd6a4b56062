/* test_store_view.c -- the view of keys and values as text that a backup has,
 * and that no node works with. */
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
#include "command/command.h"
#include "store/store_internal.h"
#include "support/storedir.h"

enum { PAGE = 4096, PIECE = 1000 };

static struct store *store;
static struct buf file;
static sqlite3 *db; /* The file, opened as people do. */

static int setup(void **state)
{
    (void)state;
    return storedir_begin(&store);
}

static int teardown(void **state)
{
    (void)state;
    buf_free(&file);
    return storedir_end(&store);
}

static void apply(struct store *to, struct buf *command)
{
    struct store_result result;
    assert_int_equal(
        store_apply(to, store_applied(to) + 1, 1, buf_bytes(command), &result),
        ERR_OK);
    buf_free(command);
}

static void put(struct store *to, const char *key, const char *value)
{
    struct buf command = {0};
    struct command_writer writer;
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of_string(value));
    command_end(&writer);
    apply(to, &command);
}

/* Restores of one row, whose remains stay. */
static void restore(struct store *to, uint64_t id)
{
    struct command_writer writer;
    struct buf command = {0};
    command_restore(
        &writer, &command,
        &(struct command_restore){.step = COMMAND_RESTORE_BEGIN, .id = id});
    apply(to, &command);
    command_restore(
        &writer, &command,
        &(struct command_restore){.step = COMMAND_RESTORE_ROWS, .id = id});
    command_restore_row(&writer, bytes_of_string("a"), bytes_of_string("x"));
    command_end(&writer);
    uint64_t hash = command_restore_hash(0, buf_bytes(&command));
    apply(to, &command);
    command_restore(
        &writer, &command,
        &(struct command_restore){
            .step = COMMAND_RESTORE_COMMIT, .id = id, .keys = 1, .hash = hash});
    apply(to, &command);
}

static void take(struct store *from, bool backup)
{
    struct store_image *image = NULL;
    if (from->in_memory) {
        assert_int_equal(store_flush(from), ERR_OK);
    } else {
        assert_int_equal(store_checkpoint(from), ERR_OK);
    }
    assert_int_equal(store_image_open(from, &image), ERR_OK);
    if (backup) {
        store_image_add_view(image);
    }
    file.size = 0;
    while (image->at < image->bytes) {
        size_t size = (size_t)min_u64(PIECE, image->bytes - image->at);
        assert_int_equal(
            store_image_read(image, buf_reserve(&file, size), size), ERR_OK);
        file.size += size;
    }
    store_image_close(image);
}

static void open_file(void)
{
    unsigned char *copy = sqlite3_malloc64(file.size);
    assert_non_null(copy);
    memcpy(copy, file.data, file.size);
    copy[18] = copy[19] = 1; /* No -wal beside it. */
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_deserialize(db, "main", copy,
                                         (sqlite3_int64)file.size,
                                         (sqlite3_int64)file.size,
                                         SQLITE_DESERIALIZE_FREEONCLOSE),
                     SQLITE_OK);
}

/* The first row's only column; "none". */
static const char *ask(const char *sql)
{
    static char text[256];
    sqlite3_stmt *select = NULL;
    snprintf(text, sizeof(text), "none");
    if (sqlite3_prepare_v2(db, sql, -1, &select, NULL) != SQLITE_OK) {
        snprintf(text, sizeof(text), "%s", sqlite3_errmsg(db));
    } else if (sqlite3_step(select) == SQLITE_ROW) {
        snprintf(text, sizeof(text), "%s",
                 (const char *)sqlite3_column_text(select, 0));
    }
    sqlite3_finalize(select);
    return text;
}

static void check_backup(struct store *from)
{
    take(from, true);
    open_file();
    assert_string_equal(ask("PRAGMA integrity_check"), "ok");
    assert_string_equal(ask("SELECT value FROM kv WHERE key = 'a'"), "x");
    assert_string_equal(ask("SELECT key FROM kv WHERE value = 'x'"), "a");
    assert_string_equal(ask("SELECT typeof(key) || typeof(value) FROM kv"),
                        "texttext");
    assert_string_equal(ask("SELECT value FROM pairs WHERE key = 'a'"), "none");
    sqlite3_close(db);
}

static void test_a_backup_has_the_view(void **state)
{
    (void)state;
    put(store, "a", "x");
    put(store, "b", "y");
    take(store, false);
    struct buf plain = file;
    file = (struct buf){0};
    check_backup(store);
    /* One page differs, and nothing else. */
    assert_int_equal(file.size, plain.size);
    size_t pages = 0;
    for (size_t at = 0; at < file.size; at += PAGE) {
        pages += memcmp(file.data + at, plain.data + at, PAGE) != 0;
    }
    assert_int_equal(pages, 1);
    /* Snapshots for nodes, and the node's own database, have none. */
    buf_free(&file);
    file = plain;
    open_file();
    assert_string_equal(ask("SELECT name FROM sqlite_schema WHERE "
                            "type = 'view'"),
                        "none");
    sqlite3_close(db);
    struct fs *memory = fs_memory_new();
    struct store *other = storedir_open(memory);
    put(other, "a", "x");
    check_backup(other);
    store_close(other);
    fs_memory_free(memory);
}

/* The schema takes one page, then some, whatever is left in them. */
static void test_with_the_remains_of_restores(void **state)
{
    (void)state;
    enum { RESTORES = 40 };
    int with = 0;
    for (uint64_t id = 1; id <= RESTORES; id++) {
        restore(store, id);
        take(store, true);
        open_file();
        assert_string_equal(ask("PRAGMA integrity_check"), "ok");
        assert_string_equal(ask("SELECT count(*) FROM pairs"), "1");
        with += strcmp(ask("SELECT value FROM kv WHERE key = 'a'"), "x") == 0;
        sqlite3_close(db);
    }
    assert_true(with >= RESTORES * 8 / 10);
    while (store_sweep(store) == ERR_OK) {
    }
    check_backup(store);
}

static bool any_conf(struct bytes conf)
{
    (void)conf;
    return true;
}

/* A restore without a cluster makes a database of it: without the view, which
 * would be in the way of the next restores. */
static void test_a_node_drops_it(void **state)
{
    (void)state;
    struct store *next = NULL;
    struct store_incoming *incoming = NULL;
    put(store, "a", "x");
    take(store, true);
    assert_int_equal(store_incoming_new(store, &incoming), ERR_OK);
    assert_int_equal(store_incoming_add(incoming, buf_bytes(&file)), ERR_OK);
    assert_int_equal(store_incoming_finish(incoming, 0, 0, any_conf, &next),
                     ERR_OK);
    store_close(store);
    store = next;
    for (uint64_t id = 1; id <= 3; id++) {
        restore(store, id);
        while (store_sweep(store) == ERR_OK) {
        }
    }
    take(store, false);
    open_file();
    assert_string_equal(ask("SELECT name FROM sqlite_schema WHERE "
                            "type = 'view'"),
                        "none");
    sqlite3_close(db);
    check_backup(store);
}

/* Pages that are no leaf of a schema stay as they are. */
static void test_any_page(void **state)
{
    (void)state;
    struct rng rng;
    uint8_t page[PAGE];
    uint8_t before[PAGE];
    rng_init(&rng, 3);
    int changed = 0;
    for (int i = 0; i < 20000; i++) {
        for (size_t at = 0; at < PAGE; at++) {
            page[at] = (uint8_t)rng_below(&rng, at > 200 ? 256 : 4);
        }
        size_t start = rng_below(&rng, 2) * 100;
        page[start] = rng_below(&rng, 4) > 0 ? 13 : (uint8_t)i;
        page[start + 3] = 0;
        page[start + 4] = (uint8_t)rng_below(&rng, 3);
        page[start + 8] = (uint8_t)rng_below(&rng, 17);
        memcpy(before, page, PAGE);
        bool added = store_view_add(page, start);
        changed += added;
        assert_true(added || memcmp(before, page, PAGE) == 0);
        assert_int_equal(memcmp(before, page, start), 0);
    }
    assert_true(changed > 100 && changed < 19900);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_a_backup_has_the_view),
        T(test_with_the_remains_of_restores),
        T(test_a_node_drops_it),
        T(test_any_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
