/* test_store_full.c -- the state machine on a full disk (A02): it flushes into
 * its reserve, and without one keeps what was applied in memory, takes nothing
 * back, and goes on when there is room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "command/command.h"
#include "store/store.h"
#include "support/simvfs.h"

enum { ENTRIES = 48, VALUE_BYTES = 1 << 20 };

struct machine {
    struct simdisk *disk;
    struct store *store;
};

static struct buf command;

/* Large values, so that SQLite's cache spills within one transaction. */
static enum err apply(struct machine *m, uint64_t index)
{
    static uint8_t value[VALUE_BYTES];
    struct command_writer writer;
    struct store_result result;
    char key[16] = "key-0";
    key[4] = (char)('0' + index % 40);
    memset(value, (int)index, sizeof(value));
    command.size = 0;
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of(value, sizeof(value)));
    command_end(&writer);
    return store_apply(m->store, index, 1, buf_bytes(&command), &result);
}

static void start(struct machine *m, int number)
{
    struct store_options options = {.vfs = simvfs_name};
    m->disk = m->disk ? m->disk : simdisk_new();
    simvfs_mount(number, m->disk);
    options.fs = simdisk_fs(m->disk);
    assert_int_equal(store_open(&options, &m->store), ERR_OK);
}

static void stop(struct machine *m)
{
    store_close(m->store);
    simdisk_free(m->disk);
    *m = (struct machine){0};
}

/* Hash of a store without faults after all entries. */
static uint64_t expected_hash(void)
{
    struct machine m = {0};
    start(&m, 1);
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        assert_int_equal(apply(&m, i), ERR_OK);
    }
    assert_int_equal(store_flush(m.store), ERR_OK);
    uint64_t hash = store_content_hash(m.store);
    stop(&m);
    return hash;
}

static void test_full_while_applying(void **state)
{
    (void)state;
    struct machine m = {0};
    uint64_t hash = expected_hash();
    start(&m, 0);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(apply(&m, i), ERR_OK);
    }
    assert_int_equal(store_flush(m.store), ERR_OK);
    simdisk_set_full(m.disk, true);
    /* Applying needs no disk, and a flush that fails takes nothing back. */
    while (store_applied(m.store) < ENTRIES) {
        assert_int_equal(apply(&m, store_applied(m.store) + 1), ERR_OK);
    }
    for (int tries = 0; tries < 3; tries++) {
        assert_int_equal(store_flush(m.store), ERR_NOSPACE);
        assert_int_equal(store_applied(m.store), ENTRIES);
        assert_int_equal(store_flushed(m.store), 5);
        assert_int_equal(store_content_hash(m.store), hash);
    }
    simdisk_set_full(m.disk, false);
    assert_int_equal(store_flush(m.store), ERR_OK);
    assert_int_equal(store_flushed(m.store), ENTRIES);
    assert_int_equal(store_content_hash(m.store), hash);
    stop(&m);
}

static void test_full_while_committing(void **state)
{
    (void)state;
    struct machine m = {0};
    struct store_row row;
    start(&m, 0);
    assert_int_equal(apply(&m, 1), ERR_OK);
    assert_int_equal(store_flush(m.store), ERR_OK);
    simdisk_set_full(m.disk, true);
    assert_int_equal(apply(&m, 2), ERR_OK);
    uint64_t hash = store_hash(m.store);
    assert_int_equal(store_applied(m.store), 2);
    assert_int_equal(store_flush(m.store), ERR_NOSPACE);
    /* As it was, and readable. */
    assert_int_equal(store_applied(m.store), 2);
    assert_int_equal(store_flushed(m.store), 1);
    assert_int_equal(store_hash(m.store), hash);
    assert_int_equal(store_key_count(m.store), 2);
    assert_int_equal(store_get(m.store, bytes_of_string("key-1"), &row),
                     ERR_OK);
    assert_int_equal(store_get(m.store, bytes_of_string("key-2"), &row),
                     ERR_OK);
    simdisk_set_full(m.disk, false);
    assert_int_equal(store_flush(m.store), ERR_OK);

    /* After a restart everything is there, once. */
    store_close(m.store);
    struct simdisk *after = simdisk_crash(m.disk, SIMDISK_ALL, 0);
    simdisk_free(m.disk);
    m = (struct machine){.disk = after};
    start(&m, 0);
    assert_int_equal(store_applied(m.store), 2);
    assert_int_equal(store_key_count(m.store), 2);
    stop(&m);
}

/* Flushes most rows of what was applied, and does not commit them: SQLite's
 * cache is full of pages that it has to write before it can read others. */
static void flush_without_commit(struct machine *m)
{
    assert_true(store_freeze(m->store));
    for (int i = 0; i < 31; i++) {
        assert_int_equal(store_flush_step(m->store, 1), ERR_OK);
    }
    assert_true(store_is_flushing(m->store));
}

/* Reading makes room in SQLite's cache, and what is not committed must go to
 * the full disk: the flush starts again, and the read finds everything. */
static void test_full_while_reading(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    for (uint64_t i = 0; i < 40; i++) {
        assert_int_equal(apply(&m, i + 1), ERR_OK);
    }
    assert_int_equal(store_flush(m.store), ERR_OK);
    while (store_pending(m.store) < 32) {
        assert_int_equal(apply(&m, store_applied(m.store) + 1), ERR_OK);
    }
    uint64_t hash = store_content_hash(m.store);
    flush_without_commit(&m);
    simdisk_set_full(m.disk, true);
    for (int i = 0; i < 40; i++) {
        struct store_row row;
        char key[16] = "key-0";
        key[4] = (char)('0' + i);
        assert_int_equal(store_get(m.store, bytes_of_string(key), &row),
                         ERR_OK);
        assert_int_equal(row.value.size, VALUE_BYTES);
    }
    assert_false(store_is_flushing(m.store));
    assert_int_equal(store_applied(m.store), 72);
    assert_int_equal(store_content_hash(m.store), hash);
    simdisk_set_full(m.disk, false);
    assert_int_equal(store_flush(m.store), ERR_OK);
    assert_int_equal(store_content_hash(m.store), hash);
    stop(&m);
}

/* ... and within an entry: it is applied, whatever it wants to know. */
static enum err apply_asking(struct machine *m, uint64_t index, int what)
{
    static uint8_t value[VALUE_BYTES];
    struct command_name nobody = {{0}, 0};
    struct command_txn txn;
    struct command_writer list;
    struct store_result result;
    struct bytes key = bytes_of_string("key-0");
    command.size = 0;
    command_txn(&txn, &command, &nobody, false);
    command_list(&list, &command);
    if (what == 0) {
        command_if(&list, &(struct command_condition){
                              .field = COMMAND_IF_VALUE,
                              .key = key,
                              .value = bytes_of(value, sizeof(value))});
    }
    command_end(&list);
    command_list(&list, &command);
    command_add(&list, &(struct command_op){.type = COMMAND_GET, .key = key});
    command_put(&list, bytes_of_string("done"), key);
    command_end(&list);
    return store_apply(m->store, index, 1, buf_bytes(&command), &result);
}

static void test_full_while_an_entry_reads(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        uint64_t hash[2];
        for (int full = 0; full < 2; full++) {
            struct machine m = {0};
            start(&m, 0);
            for (uint64_t i = 1; i <= 40; i++) {
                assert_int_equal(apply(&m, i), ERR_OK);
            }
            assert_int_equal(store_flush(m.store), ERR_OK);
            for (uint64_t i = 41; i <= 73; i++) {
                assert_int_equal(apply(&m, i), ERR_OK);
            }
            flush_without_commit(&m);
            simdisk_set_full(m.disk, full == 1);
            assert_int_equal(apply_asking(&m, 74, what), ERR_OK);
            assert_true(store_is_flushing(m.store) == !full);
            hash[full] = store_hash(m.store);
            stop(&m);
        }
        assert_true(hash[0] == hash[1]);
    }
}

/* An error of the disk means doing without; a full disk later is still one
 * that has space again. */
static void test_a_reserve_that_could_not_be_made(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    assert_int_equal(apply(&m, 1), ERR_OK);
    assert_int_equal(store_flush(m.store), ERR_OK);
    log_set_level(LOG_ERROR);
    simdisk_fail(m.disk, 2, ERR_IO); /* After the size of the -wal. */
    assert_false(store_prepare(m.store));
    assert_true(simdisk_failed(m.disk));
    assert_int_equal(store_shortage(m.store), ERR_OK);
    assert_int_equal(apply(&m, 2), ERR_OK);
    simdisk_set_full(m.disk, true);
    assert_int_equal(store_flush(m.store), ERR_NOSPACE);
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);
    simdisk_set_full(m.disk, false);
    while (store_prepare(m.store)) {
    }
    assert_int_equal(store_shortage(m.store), ERR_OK);
    log_set_level(LOG_INFO);
    stop(&m);
}

/* The process ends while the disk is full: what was committed is there. */
static void test_a_crash_on_a_full_disk(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    assert_int_equal(apply(&m, 1), ERR_OK);
    assert_int_equal(store_flush(m.store), ERR_OK);
    simdisk_set_full(m.disk, true);
    assert_int_equal(apply(&m, 2), ERR_OK);
    assert_int_equal(store_flush(m.store), ERR_NOSPACE);
    struct machine found = {.disk = simdisk_crash(m.disk, SIMDISK_ALL, 0)};
    stop(&m);
    start(&found, 0);
    assert_int_equal(store_applied(found.store), 1);
    assert_int_equal(apply(&found, 2), ERR_OK);
    stop(&found);
}

/* To delete a large value writes a few pages, not all those that it frees:
 * otherwise a full disk would have no room for the delete. */
static void test_a_delete_writes_few_pages(void **state)
{
    (void)state;
    struct machine m = {0};
    struct command_writer writer;
    struct store_result result;
    start(&m, 0);
    for (uint64_t i = 1; i <= 8; i++) {
        assert_int_equal(apply(&m, i), ERR_OK);
    }
    assert_int_equal(store_checkpoint(m.store), ERR_OK);
    assert_int_equal(store_wal_bytes(m.store), 0);
    command.size = 0;
    command_begin(&writer, &command);
    command_delete(&writer, bytes_of_string("key-3"));
    command_end(&writer);
    assert_int_equal(store_apply(m.store, 9, 1, buf_bytes(&command), &result),
                     ERR_OK);
    assert_int_equal(result.deleted, 1);
    assert_int_equal(store_flush(m.store), ERR_OK);
    assert_in_range(store_wal_bytes(m.store), 1, 10 * 4096);
    stop(&m);
}

/* ---- a restore ---- */

static uint64_t replaced_at;
static int replaced_count;

static void on_change(void *arg, const struct store_change *change)
{
    (void)arg;
    (void)change;
}

static void on_replace(void *arg)
{
    replaced_at = store_applied(*(struct store **)arg);
    replaced_count++;
}

static enum err restore(struct machine *m, enum command_step step,
                        uint64_t keys, uint64_t hash)
{
    struct command_writer writer;
    struct store_result result;
    command.size = 0;
    command_restore(&writer, &command,
                    &(struct command_restore){
                        .step = step, .id = 9, .keys = keys, .hash = hash});
    if (step == COMMAND_RESTORE_ROWS) {
        command_restore_row(&writer, bytes_of_string("r"),
                            bytes_of_string("v"));
        command_end(&writer);
    }
    return store_apply(m->store, store_applied(m->store) + 1, 1,
                       buf_bytes(&command), &result);
}

/* There is no space for the last step. Watchers are not notified before it is
 * done: those that came again meanwhile would have its index, and miss it. */
static void test_a_restore_that_fails_replaces_nothing(void **state)
{
    (void)state;
    struct machine m = {0};
    struct store_row row;
    start(&m, 0);
    struct store_observer observer = {
        .changed = on_change, .replaced = on_replace, .arg = &m.store};
    replaced_count = 0;
    store_observe(m.store, &observer);
    assert_int_equal(apply(&m, 1), ERR_OK);
    assert_int_equal(restore(&m, COMMAND_RESTORE_BEGIN, 0, 0), ERR_OK);
    assert_int_equal(restore(&m, COMMAND_RESTORE_ROWS, 0, 0), ERR_OK);
    uint64_t hash = command_restore_hash(0, buf_bytes(&command));
    assert_int_equal(store_flush(m.store), ERR_OK);
    simdisk_set_full(m.disk, true);
    for (int tries = 0; tries < 3; tries++) {
        assert_int_equal(restore(&m, COMMAND_RESTORE_COMMIT, 1, hash),
                         ERR_NOSPACE);
        assert_int_equal(replaced_count, 0);
        assert_int_equal(store_applied(m.store), 3);
        assert_int_equal(store_get(m.store, bytes_of_string("key-1"), &row),
                         ERR_OK);
    }
    simdisk_set_full(m.disk, false);
    assert_int_equal(restore(&m, COMMAND_RESTORE_COMMIT, 1, hash), ERR_OK);
    assert_int_equal(replaced_count, 1);
    assert_int_equal(replaced_at, 4);
    assert_int_equal(store_get(m.store, bytes_of_string("key-1"), &row),
                     ERR_NOT_FOUND);
    stop(&m);
}

/* ---- with a reserve ---- */

static void prepare(struct machine *m)
{
    while (store_prepare(m->store)) {
    }
}

/* Applied up to `index`, committed, readable. */
static void check_committed(struct machine *m, uint64_t index)
{
    struct store_row row;
    char key[16] = "key-0";
    key[4] = (char)('0' + index % 40);
    assert_int_equal(store_flush(m->store), ERR_OK);
    assert_int_equal(store_flushed(m->store), index);
    assert_int_equal(store_get(m->store, bytes_of_string(key), &row), ERR_OK);
    assert_int_equal(row.value.size, VALUE_BYTES);
}

static void test_a_commit_into_the_reserve(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_OK);
    assert_int_equal(apply(&m, 1), ERR_OK);
    assert_int_equal(store_flush(m.store), ERR_OK);
    simdisk_set_full(m.disk, true);
    assert_int_equal(apply(&m, 2), ERR_OK);
    assert_int_equal(store_shortage(m.store), ERR_OK);
    check_committed(&m, 2);
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);

    /* The space is not enough for another entry. The shortage lasts, and
     * applied entries stay. */
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);
    assert_int_equal(store_flushed(m.store), 2);
    simdisk_set_full(m.disk, false);
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_OK);

    /* Once more. */
    simdisk_set_full(m.disk, true);
    assert_int_equal(apply(&m, 3), ERR_OK);
    check_committed(&m, 3);
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);
    stop(&m);
}

static void test_more_than_the_reserve_has_room_for(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    prepare(&m);
    assert_int_equal(apply(&m, 1), ERR_OK);
    assert_int_equal(store_flush(m.store), ERR_OK);
    simdisk_set_full(m.disk, true);
    for (uint64_t i = 2; i <= 4; i++) {
        assert_int_equal(apply(&m, i), ERR_OK);
    }
    assert_int_equal(store_flush(m.store), ERR_NOSPACE);
    assert_int_equal(store_applied(m.store), 4);
    assert_int_equal(store_flushed(m.store), 1);
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);
    simdisk_set_full(m.disk, false);
    check_committed(&m, 4);
    assert_int_equal(store_shortage(m.store),
                     ERR_NOSPACE); /* Until it has one again. */
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_OK);
    stop(&m);
}

/* An incomplete reserve can be used too. */
static void test_a_reserve_that_is_being_made(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    for (int slice = 0; slice < 5; slice++) {
        assert_true(store_prepare(m.store));
    }
    simdisk_set_full(m.disk, true);
    assert_int_equal(apply(&m, 1), ERR_OK);
    check_committed(&m, 1);
    stop(&m);
}

/* The reserve of an earlier process is used when there is no space for a new
 * one. Without a reserve the store opens, and reports the shortage. */
static void test_opening_on_a_full_disk(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    store_close(m.store);
    simdisk_set_full(m.disk, true);
    start(&m, 0);
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);
    simdisk_set_full(m.disk, false);
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_OK);

    store_close(m.store);
    simdisk_set_full(m.disk, true);
    start(&m, 0);
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_OK);
    store_close(m.store);
    start(&m, 0);
    assert_int_equal(apply(&m, 1), ERR_OK);
    check_committed(&m, 1);
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);
    stop(&m);
}

/* Frames of the -wal that one delete may take: its own reserve in space.c. */
enum { DELETE_BYTES = 26 * 4120 };

static void delete_key(struct machine *m, uint64_t index)
{
    struct command_writer writer;
    struct store_result result;
    command.size = 0;
    command_begin(&writer, &command);
    command_delete(&writer, bytes_of_string("key-1"));
    command_end(&writer);
    assert_int_equal(
        store_apply(m->store, index, 1, buf_bytes(&command), &result), ERR_OK);
    assert_int_equal(store_flush(m->store), ERR_OK);
}

/* Others take the space of the reserve once it is released. The -wal of a new
 * database, in which little was written, has room for a delete all the same;
 * and so it has after a restart, in which it is found with zeros. */
static void test_deletes_without_a_reserve(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    prepare(&m);
    assert_in_range(store_room(m.store), STORE_RESERVE_BYTES + DELETE_BYTES,
                    STORE_RESERVE_BYTES + 2 * DELETE_BYTES);
    store_close(m.store);
    const struct fs *fs = simdisk_fs(m.disk);
    assert_int_equal(fs->unlink(fs->self, "db/reserve.tmp"), ERR_OK);
    simdisk_set_full(m.disk, true);
    start(&m, 0);
    for (uint64_t index = 1; index <= 40; index++) {
        if (index == 20) {
            store_close(m.store);
            start(&m, 0);
            assert_int_equal(store_applied(m.store), index - 1);
        }
        assert_int_equal(store_checkpoint(m.store), ERR_OK);
        assert_in_range(store_room(m.store), DELETE_BYTES, 2 * DELETE_BYTES);
        delete_key(&m, index);
        assert_int_equal(store_shortage(m.store), ERR_OK);
    }
    stop(&m);
}

/* There is no space for the -wal either, and then there is. */
static void test_a_wal_that_grows_later(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    simdisk_set_full(m.disk, true);
    assert_false(store_prepare(m.store));
    assert_int_equal(store_shortage(m.store), ERR_NOSPACE);
    simdisk_set_full(m.disk, false);
    prepare(&m);
    assert_int_equal(store_shortage(m.store), ERR_OK);
    assert_in_range(store_room(m.store), STORE_RESERVE_BYTES + DELETE_BYTES,
                    STORE_RESERVE_BYTES + 2 * DELETE_BYTES);
    stop(&m);
}

/* The -wal has frames that no checkpoint has copied, and its size cannot be
 * read: nothing is written there. */
static void test_a_wal_of_unknown_size_is_left_alone(void **state)
{
    (void)state;
    struct machine m = {0};
    start(&m, 0);
    assert_int_equal(apply(&m, 1), ERR_OK);
    assert_int_equal(store_flush(m.store), ERR_OK);
    assert_in_range(store_wal_bytes(m.store), VALUE_BYTES, 2 * VALUE_BYTES);
    simdisk_fail(m.disk, 1, ERR_IO);
    assert_true(store_prepare(m.store));
    assert_true(simdisk_failed(m.disk));
    prepare(&m);
    struct machine found = {.disk = simdisk_crash(m.disk, SIMDISK_ALL, 0)};
    stop(&m);
    start(&found, 0);
    assert_int_equal(store_applied(found.store), 1);
    check_committed(&found, 1);
    stop(&found);
}

int main(void)
{
    log_set_level(LOG_OFF);
    simvfs_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_while_applying),
        cmocka_unit_test(test_a_restore_that_fails_replaces_nothing),
        cmocka_unit_test(test_deletes_without_a_reserve),
        cmocka_unit_test(test_a_wal_that_grows_later),
        cmocka_unit_test(test_a_wal_of_unknown_size_is_left_alone),
        cmocka_unit_test(test_full_while_committing),
        cmocka_unit_test(test_a_reserve_that_could_not_be_made),
        cmocka_unit_test(test_full_while_reading),
        cmocka_unit_test(test_full_while_an_entry_reads),
        cmocka_unit_test(test_a_crash_on_a_full_disk),
        cmocka_unit_test(test_a_delete_writes_few_pages),
        cmocka_unit_test(test_a_commit_into_the_reserve),
        cmocka_unit_test(test_more_than_the_reserve_has_room_for),
        cmocka_unit_test(test_a_reserve_that_is_being_made),
        cmocka_unit_test(test_opening_on_a_full_disk),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&command);
    return failed;
}
