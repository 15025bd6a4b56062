/* test_wal_crash.c -- the log after a full disk, an error of the disk, or
 * damage. What a power loss leaves of it at any moment is tests/crash/log.c's.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "support/simdisk.h"
#include "support/walmodel.h"

enum { SEEDS = 6 };

struct run {
    struct simdisk *disk;
    struct wal *wal;
    struct walmodel acked;
    struct walmodel next;
    uint64_t states;
    uint64_t incarnation;
};

static void expect_state(const struct run *run, const struct walmodel *found)
{
    assert_true(walmodel_same_log(found, &run->acked) ||
                walmodel_same_log(found, &run->next));
    assert_true(walmodel_same_vote(found, &run->acked) ||
                walmodel_same_vote(found, &run->next));
    /* The vote goes first. */
    assert_true(walmodel_same_log(found, &run->acked) ||
                walmodel_same_vote(found, &run->next));
}

/* Recover; nothing acknowledged is missing; a second recovery finds the same;
 * the log takes another entry. */
static void recover(struct run *run, struct simdisk *disk)
{
    static struct walmodel found;
    static struct walmodel again;
    struct wal *wal;
    assert_int_equal(walmodel_open(simdisk_fs(disk), &found, &wal), ERR_OK);
    found.limit = max_u64(run->acked.limit, run->next.limit);
    expect_state(run, &found);
    assert_true(wal_incarnation(wal) > run->incarnation);
    wal_close(wal);
    assert_int_equal(walmodel_open(simdisk_fs(disk), &again, &wal), ERR_OK);
    again.limit = found.limit;
    assert_true(walmodel_same_log(&found, &again) &&
                walmodel_same_vote(&found, &again));
    struct wal_entry entry = {.index = wal_last(wal) + 1,
                              .term = 1000,
                              .payload =
                                  walmodel_body(wal_last(wal) + 1, 1000, 1)};
    wal_append(wal, &entry);
    assert_int_equal(wal_sync(wal), ERR_OK);
    wal_close(wal);
    assert_int_equal(walmodel_open(simdisk_fs(disk), &again, &wal), ERR_OK);
    assert_int_equal(again.last, found.last + 1);
    again.limit = found.limit;
    again.last--;
    assert_true(walmodel_same_log(&found, &again));
    wal_close(wal);
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    assert_int_equal(counts.handles, 0);
}

static void on_call(struct simdisk *disk, void *arg)
{
    struct run *run = arg;
    for (uint64_t seed = 0; seed < SEEDS + 2; seed++) {
        enum simdisk_keep keep =
            seed < 2 ? (enum simdisk_keep)seed : SIMDISK_SOME;
        struct simdisk *after =
            simdisk_crash(disk, keep, seed + run->states * 13);
        recover(run, after);
        simdisk_free(after);
        run->states++;
    }
}

static void append(struct run *run, uint64_t term, size_t size)
{
    walmodel_append(&run->next, run->wal, term, size);
}

static void sync_all(struct run *run)
{
    assert_int_equal(wal_sync(run->wal), ERR_OK);
    run->acked = run->next;
}

static void begin(struct run *run)
{
    memset(run, 0, sizeof(*run));
    run->disk = simdisk_new();
    struct wal_options options = walmodel_options(simdisk_fs(run->disk));
    assert_int_equal(wal_create(&options), ERR_OK);
    assert_int_equal(wal_open(&options, NULL, NULL, &run->wal), ERR_OK);
    run->incarnation = wal_incarnation(run->wal);
}

static void finish(struct run *run)
{
    simdisk_set_hook(run->disk, NULL, NULL);
    wal_close(run->wal);
    simdisk_free(run->disk);
}

static void cut(struct run *run, uint64_t from)
{
    wal_truncate(run->wal, from);
    run->next.last = from - 1;
}

static void step(struct run *run, struct rng *rng, uint64_t i)
{
    uint64_t term = i / 5 + 1;
    if (i % 5 == 0) {
        wal_set_hard_state(run->wal, term, i % 3);
        run->next.term = term;
        run->next.vote = i % 3;
    }
    if (i % 7 == 6 && run->next.last > max_u64(run->next.base, 3) + 3) {
        cut(run, run->next.last - rng_below(rng, 3));
    }
    for (uint64_t n = rng_below(rng, 3); n > 0; n--) {
        append(run, term, rng_below(rng, 3000));
    }
    if (i % 11 == 10) {
        append(run, term, 9000);
        append(run, term, 10);
        cut(run, run->next.last);
        append(run, term, 20);
    }
    if (i == 20) {
        append(run, term, 30000); /* Larger than a segment. */
    }
    if (i % 2) {
        (void)wal_prepare(run->wal);
    }
    sync_all(run);
    if (i % 3 == 1) {
        wal_hint(run->wal);
    }
}

/* ---- a full disk ---- */

static void test_no_space_keeps_the_batch_and_a_retry_succeeds(void **state)
{
    (void)state;
    static struct run run;
    static struct walmodel found;
    unsigned failures = 0;
    for (uint64_t n = 1;; n++) {
        struct rng rng;
        rng_init(&rng, 3);
        begin(&run);
        for (uint64_t i = 0; i < 12; i++) {
            step(&run, &rng, i);
        }
        wal_set_hard_state(run.wal, 50, 2);
        run.next.term = 50;
        run.next.vote = 2;
        append(&run, 50, 30000); /* Takes a new segment. */
        simdisk_fail(run.disk, n, ERR_NOSPACE);
        enum err err = wal_sync(run.wal);
        if (!simdisk_failed(run.disk)) {
            assert_int_equal(err, ERR_OK);
            finish(&run);
            break;
        }
        assert_int_equal(err, ERR_NOSPACE);
        failures++;
        on_call(run.disk, &run);
        append(&run, 50, 100); /* The batch may grow. */
        sync_all(&run);
        struct simdisk *after = simdisk_crash(run.disk, SIMDISK_NOTHING, 0);
        struct wal *wal;
        assert_int_equal(walmodel_open(simdisk_fs(after), &found, &wal),
                         ERR_OK);
        assert_true(walmodel_same_log(&found, &run.acked) &&
                    walmodel_same_vote(&found, &run.acked));
        wal_close(wal);
        simdisk_free(after);
        finish(&run);
    }
    printf("no space: %u places\n", failures);
    assert_true(failures > 5);
}

/* ---- errors of the disk ---- */

static void test_io_error_in_sync_ends_the_process(void **state)
{
    (void)state;
    static struct run run;
    /* Two slots and the batch, each written and synced. */
    for (uint64_t n = 1; n <= 6; n++) {
        begin(&run);
        wal_set_hard_state(run.wal, 3, 1);
        append(&run, 3, 500);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            const struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            signal(SIGABRT, SIG_DFL);
            simdisk_fail(run.disk, n, ERR_IO);
            enum err err = wal_sync(run.wal);
            _exit(err ? 1 : 0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        finish(&run);
    }
}

/* A call that fails while the log is opened: an error, or the end of the
 * process, never a log that lacks something. */
static void test_io_error_in_recovery(void **state)
{
    (void)state;
    static struct run run;
    static struct walmodel found;
    begin(&run);
    for (int i = 0; i < 10; i++) {
        append(&run, 1, 3000);
        sync_all(&run);
    }
    unsigned done = 0;
    for (uint64_t n = 1; n < 200 && !done; n++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            const struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            signal(SIGABRT, SIG_DFL);
            struct simdisk *after = simdisk_crash(run.disk, SIMDISK_ALL, 0);
            struct wal *wal = NULL;
            simdisk_fail(after, n, ERR_IO);
            enum err err = walmodel_open(simdisk_fs(after), &found, &wal);
            if (err) {
                _exit(err == ERR_IO && simdisk_failed(after) ? 1 : 9);
            }
            _exit(simdisk_failed(after) || found.last != 10 ? 9 : 0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFSIGNALED(status)) {
            assert_int_equal(WTERMSIG(status), SIGABRT);
        } else {
            assert_true(WEXITSTATUS(status) <= 1);
            done = WEXITSTATUS(status) == 0;
        }
    }
    assert_true(done);
    finish(&run);
}

/* ---- damage ---- */

static enum err open_damaged(struct simdisk *disk, size_t *count)
{
    static struct walmodel found;
    struct wal *wal = NULL;
    enum err err = walmodel_open(simdisk_fs(disk), &found, &wal);
    *count = found.last;
    wal_close(wal);
    return err;
}

/* The end of a disk whose damage is seen. */
static void expect_corrupt(struct simdisk *disk, const char *what)
{
    size_t count;
    print_message("%s\n", what);
    assert_int_equal(open_damaged(disk, &count), ERR_CORRUPT);
    simdisk_free(disk);
}

/* The end of one that holds so many entries. */
static void expect_entries(struct simdisk *disk, size_t expected,
                           const char *what)
{
    size_t count;
    print_message("%s\n", what);
    assert_int_equal(open_damaged(disk, &count), ERR_OK);
    assert_int_equal(count, expected);
    simdisk_free(disk);
}

static void test_damage(void **state)
{
    (void)state;
    static struct run run;
    size_t size;
    size_t count;
    begin(&run);
    for (int i = 0; i < 6; i++) {
        append(&run, 1, 3000); /* One block each; two, then a seal. */
        sync_all(&run);
    }
    static const char segment_1[] = "wal/0000000000000001.wal";
    static const char segment_2[] = "wal/0000000000000002.wal";
    static const char segment_3[] = "wal/0000000000000003.wal";
    assert_non_null(simdisk_bytes(run.disk, segment_3, &size));

    /* A middle batch, its header and its payload, in every segment. */
    const struct {
        const char *path;
        size_t at;
        enum err err;
        size_t count;
    } flips[] = {
        {segment_1, 0, ERR_CORRUPT, 0},
        {segment_1, 4096 + 5, ERR_CORRUPT, 0},
        {segment_1, 4096 + 2000, ERR_CORRUPT, 0},
        {segment_1, 2 * 4096 + 9, ERR_CORRUPT, 1},
        {segment_1, 3 * 4096 + 20, ERR_CORRUPT, 2}, /* The seal. */
        {segment_2, 4096 + 100, ERR_CORRUPT, 2},
        {segment_3, 100, ERR_CORRUPT, 4},
        {segment_3, 4096 + 100, ERR_CORRUPT, 4},
        /* Known limit: the last batch passes for one that was torn. */
        {segment_3, 2 * 4096 + 100, ERR_OK, 5},
    };
    for (size_t i = 0; i < ARRAY_COUNT(flips); i++) {
        struct simdisk *after = simdisk_crash(run.disk, SIMDISK_NOTHING, 0);
        simdisk_bytes(after, flips[i].path, &size)[flips[i].at] ^= 0x10;
        assert_int_equal(open_damaged(after, &count), flips[i].err);
        assert_int_equal(count, flips[i].count);
        if (!flips[i].err) {
            assert_non_null(
                simdisk_bytes(after, "wal/torn-0000000000000003.bin", &size));
            const uint8_t *cut = simdisk_bytes(after, flips[i].path, &size);
            for (size_t at = 2 * 4096; at < size; at++) {
                assert_int_equal(cut[at], 0);
            }
            assert_int_equal(open_damaged(after, &count), ERR_OK);
            assert_int_equal(count, flips[i].count);
        }
        simdisk_free(after);
    }

    struct simdisk *after = simdisk_crash(run.disk, SIMDISK_NOTHING, 0);
    simdisk_remove(after, segment_2);
    expect_corrupt(after, "a segment is gone");

    after = simdisk_crash(run.disk, SIMDISK_NOTHING, 0);
    uint8_t *data = simdisk_bytes(after, segment_1, &size);
    memcpy(data + 4096, data + 2 * 4096, 4096);
    expect_corrupt(after, "a good block at a wrong place");

    /* An old version of a segment: the successor does not follow on. */
    after = simdisk_crash(run.disk, SIMDISK_NOTHING, 0);
    data = simdisk_bytes(after, segment_1, &size);
    memset(data + 2 * 4096, 0, size - 2 * 4096);
    expect_corrupt(after, "an old version of a segment");
    finish(&run);
}

/* A block comes back as an earlier life of the same place had it: number,
 * offset and salt are right, only what follows does not follow from it. */
static void test_a_batch_of_an_earlier_life_breaks_the_chain(void **state)
{
    (void)state;
    static struct run run;
    static const char segment[] = "wal/0000000000000001.wal";
    size_t size;
    begin(&run);
    struct simdisk *first = simdisk_crash(run.disk, SIMDISK_ALL, 0);
    append(&run, 1, 100);
    sync_all(&run);
    uint8_t before[4096];
    memcpy(before, simdisk_bytes(run.disk, segment, &size) + 4096, 4096);

    struct wal_options options = walmodel_options(simdisk_fs(first));
    struct wal *wal;
    assert_int_equal(wal_open(&options, NULL, NULL, &wal), ERR_OK);
    const uint8_t other[100] = {42};
    for (uint64_t i = 1; i <= 2; i++) {
        struct wal_entry entry = {
            .index = i, .term = 1, .payload = bytes_of(other, sizeof(other))};
        wal_append(wal, &entry);
        assert_int_equal(wal_sync(wal), ERR_OK);
    }
    wal_close(wal);
    memcpy(simdisk_bytes(first, segment, &size) + 4096, before, 4096);
    struct simdisk *after = simdisk_crash(first, SIMDISK_ALL, 0);
    options = walmodel_options(simdisk_fs(after));
    assert_int_equal(wal_open(&options, NULL, NULL, &wal), ERR_CORRUPT);
    simdisk_free(after);
    simdisk_free(first);
    finish(&run);
}

/* With the hint on the disk, the last batch is as safe as the others. */
static void test_damage_in_the_last_batch_is_seen_with_the_hint(void **state)
{
    (void)state;
    static struct run run;
    static const char last[] = "wal/0000000000000002.wal";
    size_t size;
    begin(&run);
    for (int i = 0; i < 4; i++) {
        append(&run, 1, 3000);
        sync_all(&run);
    }
    wal_hint(run.wal);

    struct simdisk *after = simdisk_crash(run.disk, SIMDISK_ALL, 0);
    expect_entries(after, 4, "no damage");

    after = simdisk_crash(run.disk, SIMDISK_ALL, 0);
    simdisk_bytes(after, last, &size)[2 * 4096 + 100] ^= 1;
    expect_corrupt(after, "a flipped bit");

    /* A lost write: zeros, as if it had never been. */
    after = simdisk_crash(run.disk, SIMDISK_ALL, 0);
    uint8_t *data = simdisk_bytes(after, last, &size);
    memset(data + (size_t)2 * 4096, 0, 4096);
    expect_corrupt(after, "a lost write");

    after = simdisk_crash(run.disk, SIMDISK_ALL, 0);
    simdisk_remove(after, last);
    expect_corrupt(after, "the last segment is gone");

    /* A damaged hint proves nothing, and nothing is lost by that. */
    after = simdisk_crash(run.disk, SIMDISK_ALL, 0);
    data = simdisk_bytes(after, "wal/HINT", &size);
    assert_int_equal(size, 512);
    data[17] ^= 1;
    expect_entries(after, 4, "a damaged hint");

    /* Batches after the hint may be torn as before. */
    append(&run, 1, 3000);
    sync_all(&run);
    after = simdisk_crash(run.disk, SIMDISK_ALL, 0);
    simdisk_bytes(after, "wal/0000000000000003.wal", &size)[4096 + 50] ^= 1;
    expect_entries(after, 4, "torn after the hint");
    finish(&run);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_space_keeps_the_batch_and_a_retry_succeeds),
        cmocka_unit_test(test_io_error_in_sync_ends_the_process),
        cmocka_unit_test(test_io_error_in_recovery),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_a_batch_of_an_earlier_life_breaks_the_chain),
        cmocka_unit_test(test_damage_in_the_last_batch_is_seen_with_the_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
