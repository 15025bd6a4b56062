/* test_node_crash.c -- log and database in one directory after a power loss at
 * any moment: A01, D01, D14, D15.
 *
 * One run of what a node does with them: append and sync, apply what is
 * committed, flush at times, checkpoint. At every call that changes the disk
 * a copy loses power and is recovered as a node does it: the database first,
 * then the log, then what is committed is applied again. Nothing acknowledged
 * is missing, the database is never ahead of the log, and both agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/log.h"
#include "command/command.h"
#include "store/store.h"
#include "support/simvfs.h"
#include "wal/wal.h"

enum {
    ENTRIES_MAX = 80,
    SEGMENT = 16 << 10,
    STEPS = 24,
    IMAGES = 2, /* A call. */
    KEYS = 9,
    CHECKPOINT_BYTES = 16 * 4096,
    NESTED_EVERY = 32, /* A second loss in so few of the states. */
    DISK = 0,
    IMAGE = 1,
    SECOND_IMAGE = 2,
};

/* What a log says. */
struct log {
    uint64_t term;
    uint64_t vote;
    uint64_t last;
    uint64_t terms[ENTRIES_MAX + 1]; /* [index] */
};

struct files {
    struct simdisk *disk;
    struct wal *wal;
    struct store *store;
};

struct run {
    struct files files;
    struct log acked;
    struct log next;
    uint64_t commit; /* Clients have been told. */
    uint64_t safe;   /* Applied at the last checkpoint. */
    bool flushes[ENTRIES_MAX + 1];
    uint64_t hashes[ENTRIES_MAX + 1];   /* Of effects, by applied index. */
    uint64_t contents[ENTRIES_MAX + 1]; /* Of the rows. */
    bool catching_up;                   /* A recovery flushes at `commit`. */
    uint64_t states;
    uint64_t changes_within; /* Of files, by recoveries. */
    uint64_t second_states;
    uint64_t checkpoints;
    uint64_t behind; /* States in which the database had to catch up. */
};

static struct buf command;
static struct buf payload;

static struct bytes command_of(uint64_t index, uint64_t term)
{
    static uint8_t value[2048];
    struct command_writer writer;
    uint8_t key = (uint8_t)('a' + (index * 5 + term) % KEYS);
    size_t size = (index * 397 + term * 31) % sizeof(value);
    memset(value, (int)(index * 3 + term), size);
    command.size = 0;
    command_begin(&writer, &command);
    if (index % 6 == 5) {
        command_delete(&writer, bytes_of(&key, 1));
    } else {
        command_put(&writer, bytes_of(&key, 1), bytes_of(value, size));
    }
    command_end(&writer);
    return buf_bytes(&command);
}

static void on_entry(const struct wal_entry *entry, void *arg)
{
    struct log *log = arg;
    assert_in_range(entry->index, 1, log->last + 1);
    assert_in_range(entry->index, 1, ENTRIES_MAX);
    assert_true(
        bytes_equal(entry->payload, command_of(entry->index, entry->term)));
    log->last = entry->index;
    log->terms[entry->index] = entry->term;
}

/* As a node does: the database, the log. */
static void open_files(struct files *files, struct log *found)
{
    struct store_options store_options = {.fs = simdisk_fs(files->disk),
                                          .vfs = simvfs_name};
    struct wal_options wal_options = {.fs = simdisk_fs(files->disk),
                                      .segment_bytes = SEGMENT,
                                      .salt_seed = 99};
    assert_int_equal(store_open(&store_options, &files->store), ERR_OK);
    memset(found, 0, sizeof(*found));
    assert_int_equal(wal_open(&wal_options, on_entry, found, &files->wal),
                     ERR_OK);
    found->last = wal_last(files->wal);
    found->term = wal_term(files->wal);
    found->vote = wal_vote(files->wal);
}

static void close_files(struct files *files)
{
    wal_close(files->wal);
    store_close(files->store);
    files->wal = NULL;
    files->store = NULL;
}

static bool same_log(const struct log *a, const struct log *b)
{
    return a->last == b->last &&
           memcmp(a->terms, b->terms,
                  (size_t)(a->last + 1) * sizeof(a->terms[0])) == 0;
}

static bool same_vote(const struct log *a, const struct log *b)
{
    return a->term == b->term && a->vote == b->vote;
}

static void apply_one(struct files *files, uint64_t index)
{
    struct wal_entry entry;
    struct store_result result;
    assert_int_equal(wal_read(files->wal, index, &payload, &entry), ERR_OK);
    assert_int_equal(
        store_apply(files->store, index, entry.term, entry.payload, &result),
        ERR_OK);
}

/* ---- after a power loss -----------------------------------------------------
 */

static void check_files(struct run *run, const struct files *files,
                        const struct log *found)
{
    bool log_acked = same_log(found, &run->acked);
    assert_true(log_acked || same_log(found, &run->next));
    assert_true(same_vote(found, &run->acked) || same_vote(found, &run->next));
    assert_true(log_acked || same_vote(found, &run->next));
    assert_true(found->last >= run->commit);

    uint64_t applied = store_applied(files->store);
    assert_in_range(applied, run->safe, run->commit);
    assert_true(run->flushes[applied] ||
                (run->catching_up && applied == run->commit));
    assert_int_equal(store_applied_term(files->store), found->terms[applied]);
    assert_int_equal(store_hash(files->store), run->hashes[applied]);
    assert_int_equal(store_content_hash(files->store), run->contents[applied]);
    run->behind += applied < run->commit;
}

static void catch_up(const struct run *run, struct files *files)
{
    while (store_applied(files->store) < run->commit) {
        apply_one(files, store_applied(files->store) + 1);
    }
    assert_int_equal(store_flush(files->store), ERR_OK);
    assert_int_equal(store_hash(files->store), run->hashes[run->commit]);
    assert_int_equal(store_content_hash(files->store),
                     run->contents[run->commit]);
}

static void on_recovery_change(struct simdisk *disk, void *arg)
{
    static struct log found;
    struct run *run = arg;
    if (run->changes_within++ % 2 > 0) {
        return;
    }
    run->second_states++;
    struct files files = {
        .disk = simdisk_crash(disk, SIMDISK_SOME, run->second_states * 17)};
    simvfs_mount(SECOND_IMAGE, files.disk);
    open_files(&files, &found);
    check_files(run, &files, &found);
    catch_up(run, &files);
    close_files(&files);
    simdisk_free(files.disk);
}

/* Recover; recover again: the same; go on. */
static void recover(struct run *run, struct simdisk *disk, bool nested)
{
    static struct log found;
    static struct log again;
    struct files files = {.disk = disk};
    simvfs_mount(IMAGE, disk);
    if (nested) {
        simdisk_set_hook(disk, on_recovery_change, run);
    }
    open_files(&files, &found);
    check_files(run, &files, &found);
    run->catching_up = true;
    catch_up(run, &files);
    close_files(&files);
    run->catching_up = false;
    simdisk_set_hook(disk, NULL, NULL);
    if (run->states % 3 > 0) {
        return;
    }
    open_files(&files, &again);
    assert_true(same_log(&found, &again) && same_vote(&found, &again));
    assert_int_equal(store_applied(files.store), run->commit);
    assert_int_equal(store_hash(files.store), run->hashes[run->commit]);
    close_files(&files);
}

static void on_change(struct simdisk *disk, void *arg)
{
    static const enum simdisk_keep keeps[] = {SIMDISK_SOME, SIMDISK_NOTHING,
                                              SIMDISK_SOME, SIMDISK_ALL};
    struct run *run = arg;
    for (int i = 0; i < IMAGES; i++) {
        enum simdisk_keep keep = keeps[run->states % ARRAY_COUNT(keeps)];
        struct simdisk *after = simdisk_crash(disk, keep, run->states * 13);
        recover(run, after, run->states % NESTED_EVERY == 6);
        simdisk_free(after);
        run->states++;
    }
}

/* ---- the run ----------------------------------------------------------------
 */

static void append(struct run *run, uint64_t term)
{
    struct log *next = &run->next;
    uint64_t index = next->last + 1;
    struct wal_entry entry = {
        .index = index, .term = term, .payload = command_of(index, term)};
    wal_append(run->files.wal, &entry);
    next->terms[index] = term;
    next->last = index;
}

static void sync_log(struct run *run, uint64_t i)
{
    uint64_t term = i / 4 + 1;
    if (i % 4 == 0) {
        wal_set_hard_state(run->files.wal, term, i % 3);
        run->next.term = term;
        run->next.vote = i % 3;
    }
    if (i % 4 == 1 && run->next.last > run->commit) {
        wal_truncate(run->files.wal, run->next.last);
        run->next.last--;
    }
    for (uint64_t n = 0; n <= i % 3; n++) {
        append(run, term);
    }
    assert_int_equal(wal_sync(run->files.wal), ERR_OK);
    run->acked = run->next;
}

/* What is on its way to the disk counts as told: the rows of an entry are
 * known before it is committed. */
static void apply_all(struct run *run, uint64_t commit)
{
    struct store *store = run->files.store;
    while (store_applied(store) < commit) {
        uint64_t index = store_applied(store) + 1;
        apply_one(&run->files, index);
        run->hashes[index] = store_hash(store);
        run->contents[index] = store_content_hash(store);
        run->commit = index;
    }
}

static void flush(struct run *run)
{
    struct store_stats before;
    struct store_stats after;
    struct store *store = run->files.store;
    store_get_stats(store, &before);
    run->flushes[store_applied(store)] = true;
    assert_int_equal(store_flush(store), ERR_OK);
    if (store_checkpoint_bytes(store) >= CHECKPOINT_BYTES) {
        assert_int_equal(store_checkpoint(store), ERR_OK);
    }
    store_get_stats(store, &after);
    if (after.checkpoints > before.checkpoints) {
        run->checkpoints++;
        run->safe = store_applied(store);
    }
    wal_hint(run->files.wal);
}

static void reopen(struct run *run)
{
    static struct log found;
    run->flushes[store_applied(run->files.store)] = true;
    close_files(&run->files);
    open_files(&run->files, &found);
    assert_true(same_log(&found, &run->acked));
}

static void test_crash_at_every_call(void **state)
{
    (void)state;
    static struct run run;
    struct wal_options options = {.segment_bytes = SEGMENT, .salt_seed = 99};
    run.files.disk = simdisk_new();
    simvfs_mount(DISK, run.files.disk);
    options.fs = simdisk_fs(run.files.disk);
    assert_int_equal(wal_create(&options), ERR_OK);
    open_files(&run.files, &run.acked);
    run.next = run.acked;
    run.flushes[0] = true;
    run.contents[0] = store_content_hash(run.files.store);
    simdisk_set_hook(run.files.disk, on_change, &run);
    for (uint64_t i = 0; i < STEPS; i++) {
        sync_log(&run, i);
        apply_all(&run, run.acked.last - (i % 4 == 0));
        if (i % 3 == 2) {
            flush(&run);
        }
        if (i % 2 == 1) {
            (void)wal_prepare(run.files.wal);
        }
        if (i == 9) {
            reopen(&run);
        }
    }
    printf("log and database: %llu states, the database behind in %llu, %llu "
           "more within recovery, %llu checkpoints\n",
           (unsigned long long)run.states, (unsigned long long)run.behind,
           (unsigned long long)run.second_states,
           (unsigned long long)run.checkpoints);
    assert_true(run.behind > 0 && run.checkpoints > 0);
    simdisk_set_hook(run.files.disk, NULL, NULL);
    close_files(&run.files);
    simdisk_free(run.files.disk);
}

int main(void)
{
    log_set_level(LOG_OFF);
    /* A copy is opened while the database is in the middle of a write. */
    must(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
    simvfs_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_at_every_call),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_free(&command);
    buf_free(&payload);
    return failed;
}
