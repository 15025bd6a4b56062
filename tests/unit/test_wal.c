/* test_wal.c -- the log on a disk that behaves, and a vote that does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rng.h"
#include "support/simdisk.h"
#include "wal/wal.h"

enum { SEGMENT = 64 << 10, ENTRIES_MAX = 4000 };

/* Batches in flight complete when they are waited for, or when a test sets so.
 */
struct async_log {
    bool on; /* The back-end: both are tried. */
    bool completes;
    uint64_t writes;
};

static struct async_log async_log;

static size_t submit_write(void *arg, size_t size)
{
    (void)arg;
    /* Nothing, a part, or all of it is there at once. */
    return size * (async_log.writes++ % 3) / 2;
}

static bool write_done(void *arg, bool wait)
{
    (void)arg;
    return wait || async_log.completes;
}

static void use_async_log(struct simdisk *disk)
{
    if (async_log.on) {
        simdisk_set_async(disk, &(struct simdisk_async){
                                    .submit_write = submit_write,
                                    .write_done = write_done,
                                });
    }
}

static int setup_async(void **state)
{
    (void)state;
    async_log = (struct async_log){.on = true};
    return 0;
}

static int setup_sync(void **state)
{
    (void)state;
    async_log = (struct async_log){.on = false};
    return 0;
}

struct fixture {
    struct simdisk *disk;
    struct wal_options options;
    struct wal *wal;
    size_t count;
    struct {
        uint64_t term;
        size_t size;
    } entries[ENTRIES_MAX]; /* [index - 1] */
};

static struct fixture f;

static uint8_t byte_of(uint64_t index, uint64_t term, size_t at)
{
    return (uint8_t)(index * 31 + term * 7 + at + 1);
}

static void check(const struct wal_entry *entry)
{
    uint64_t term = f.entries[entry->index - 1].term;
    assert_int_equal(entry->term, term);
    assert_int_equal(entry->type, term % 3);
    assert_int_equal(entry->payload.size, f.entries[entry->index - 1].size);
    for (size_t i = 0; i < entry->payload.size; i++) {
        if (entry->payload.data[i] != byte_of(entry->index, term, i)) {
            fail_msg("entry %llu", (unsigned long long)entry->index);
        }
    }
}

static void begin(void)
{
    memset(&f, 0, sizeof(f));
    f.disk = simdisk_new();
    use_async_log(f.disk);
    f.options = (struct wal_options){.fs = simdisk_fs(f.disk),
                                     .segment_bytes = SEGMENT};
    assert_int_equal(wal_create(&f.options), ERR_OK);
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
}

static void finish(void)
{
    struct simdisk_counts counts;
    wal_close(f.wal);
    simdisk_get_counts(f.disk, &counts);
    assert_int_equal(counts.handles, 0);
    simdisk_free(f.disk);
}

static void append(uint64_t term, size_t size)
{
    uint8_t *data = mem_alloc(size);
    uint64_t index = ++f.count;
    for (size_t i = 0; i < size; i++) {
        data[i] = byte_of(index, term, i);
    }
    f.entries[index - 1].term = term;
    f.entries[index - 1].size = size;
    struct wal_entry entry = {.index = index,
                              .term = term,
                              .type = (uint8_t)(term % 3),
                              .payload = bytes_of(data, size)};
    wal_append(f.wal, &entry);
    mem_free(data);
}

static void cut(uint64_t from)
{
    wal_truncate(f.wal, from);
    f.count = (size_t)from - 1;
}

static void sync_all(void)
{
    assert_int_equal(wal_sync(f.wal), ERR_OK);
}

static void read_one(uint64_t index)
{
    struct buf out = {0};
    struct wal_entry entry;
    assert_int_equal(wal_read(f.wal, index, &out, &entry), ERR_OK);
    assert_int_equal(entry.index, index);
    check(&entry);
    buf_free(&out);
}

static void read_all(void)
{
    struct rng rng;
    rng_init(&rng, f.count);
    assert_int_equal(wal_last(f.wal), f.count);
    for (uint64_t i = 1; i <= f.count; i++) {
        read_one(i);
    }
    for (int i = 0; i < 100 && f.count > 0; i++) {
        uint64_t at = 1 + rng_below(&rng, f.count);
        for (uint64_t n = 0; n < 3 && at + n <= f.count; n++) {
            read_one(at + n);
        }
    }
    struct buf out = {0};
    struct wal_entry entry;
    assert_int_equal(wal_read(f.wal, 0, &out, &entry), ERR_NOT_FOUND);
    assert_int_equal(wal_read(f.wal, f.count + 1, &out, &entry), ERR_NOT_FOUND);
    buf_free(&out);
}

static void reopen(void)
{
    uint64_t incarnation = wal_incarnation(f.wal);
    wal_close(f.wal);
    f.wal = NULL;
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    assert_int_equal(wal_incarnation(f.wal), incarnation + 1);
}

static void test_round_trip(void **state)
{
    (void)state;
    begin();
    assert_int_equal(wal_last(f.wal), 0);
    assert_int_equal(wal_first(f.wal), 1);
    append(1, 0);
    append(1, 1);
    append(2, 5000);
    wal_set_hard_state(f.wal, 2, 3);
    sync_all();
    for (int i = 0; i < 2; i++) {
        read_all();
        assert_int_equal(wal_term(f.wal), 2);
        assert_int_equal(wal_vote(f.wal), 3);
        reopen();
    }
    finish();
    f.disk = simdisk_new();
    f.options.fs = simdisk_fs(f.disk);
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_NOT_FOUND);
    simdisk_free(f.disk);
}

static void test_many_segments_and_large_entries(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    begin();
    for (uint64_t i = 0; i < 300; i++) {
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
            append(i / 10, rng_below(&rng, 4000));
        }
        if (i % 100 == 50) {
            append(i / 10, 3 * SEGMENT);
        }
        if (i % 3) {
            while (wal_prepare(f.wal)) {
            }
        }
        sync_all();
    }
    read_all();
    reopen();
    read_all();
    size_t size;
    assert_non_null(simdisk_bytes(f.disk, "wal/000000000000000a.wal", &size));
    finish();
}

/* A read that goes on behind the one before must not meet what a later record
 * truncated, be it in an older batch or in the same. */
static void test_truncated_entries_never_come_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    begin();
    for (int i = 0; i < 8; i++) {
        append(1, 10);
    }
    sync_all();
    cut(5);
    sync_all();
    read_one(4);
    append(2, 20);
    append(2, 20);
    append(2, 20);
    cut(7);
    append(3, 30);
    sync_all();
    read_all();
    reopen();
    read_all();
    for (uint64_t term = 4; term < 400; term++) {
        for (uint64_t n = rng_below(&rng, 6); n > 0; n--) {
            append(term, rng_below(&rng, 3000));
            if (rng_below(&rng, 4) == 0 && f.count > 5) {
                cut(f.count - rng_below(&rng, 5));
            }
        }
        sync_all();
        if (term % 40 == 0) {
            read_all();
            reopen();
            read_all();
        }
    }
    finish();
}

static void test_one_sync_a_batch_and_none_for_nothing(void **state)
{
    (void)state;
    struct simdisk_counts before;
    struct simdisk_counts after;
    begin();
    simdisk_get_counts(f.disk, &before);
    sync_all();
    wal_set_hard_state(f.wal, wal_term(f.wal), wal_vote(f.wal));
    sync_all();
    simdisk_get_counts(f.disk, &after);
    assert_int_equal(after.calls, before.calls);
    for (int i = 0; i < 5; i++) {
        append(1, 100);
        append(1, 5000);
        simdisk_get_counts(f.disk, &after);
        assert_int_equal(after.calls, before.calls);
        sync_all();
        simdisk_get_counts(f.disk, &after);
        assert_int_equal(after.fdatasyncs, before.fdatasyncs + !async_log.on);
        assert_int_equal(after.writes, before.writes + !async_log.on);
        assert_int_equal(after.async_writes,
                         before.async_writes + async_log.on);
        before = after;
    }
    /* Term and vote: once a slot. */
    wal_set_hard_state(f.wal, 9, 1);
    sync_all();
    simdisk_get_counts(f.disk, &after);
    assert_int_equal(after.fdatasyncs, before.fdatasyncs + 2);
    finish();
}

static void test_hard_state_survives_one_damaged_slot_only(void **state)
{
    (void)state;
    static const char *const slots[] = {"meta.0", "meta.1"};
    size_t size;
    begin();
    wal_set_hard_state(f.wal, 7, 2);
    sync_all();
    for (size_t i = 0; i < 4; i++) {
        simdisk_bytes(f.disk, slots[i % 2], &size)[i < 2 ? 24 : 4000] ^= 1;
        reopen();
        assert_int_equal(wal_term(f.wal), 7);
        assert_int_equal(wal_vote(f.wal), 2);
    }
    simdisk_remove(f.disk, slots[1]);
    reopen();
    assert_int_equal(wal_vote(f.wal), 2);
    wal_close(f.wal);
    f.wal = NULL;
    simdisk_bytes(f.disk, slots[0], &size)[30] ^= 1;
    simdisk_bytes(f.disk, slots[1], &size)[30] ^= 1;
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_CORRUPT);
    finish();
}

static void test_files_of_another_are_refused(void **state)
{
    (void)state;
    begin();
    wal_close(f.wal);
    f.wal = NULL;
    struct wal_options other = f.options;
    other.uuid[3] = 1;
    assert_int_equal(wal_open(&other, NULL, NULL, &f.wal), ERR_MISMATCH);
    other = f.options;
    other.cluster[3] = 1;
    assert_int_equal(wal_open(&other, NULL, NULL, &f.wal), ERR_MISMATCH);
    finish();
}

/* A read that failed once leaves nothing wrong behind. */
static void test_a_failed_read_can_be_tried_again(void **state)
{
    (void)state;
    struct buf out = {0};
    struct wal_entry entry;
    begin();
    for (int i = 0; i < 60; i++) {
        append(1, 4000);
        sync_all();
    }
    for (uint64_t n = 1; n <= 5; n++) {
        read_one(1);
        simdisk_fail(f.disk, n, ERR_IO);
        enum err err = wal_read(f.wal, 60, &out, &entry);
        assert_int_equal(err, simdisk_failed(f.disk) ? ERR_IO : ERR_OK);
        simdisk_fail(f.disk, 0, ERR_OK);
        read_one(60);
    }
    buf_free(&out);
    finish();
}

/* No room for the next segment: it says so before the last one is full, and
 * takes it back when there is room. */
static void test_a_full_disk_is_told_before_it_matters(void **state)
{
    (void)state;
    begin();
    simdisk_set_full(f.disk, true);
    int batches = 0;
    while (!wal_shortage(f.wal)) {
        append(1, 2000);
        sync_all();
        while (wal_prepare(f.wal)) {
        }
        batches++;
        assert_true(batches < 100);
    }
    assert_true(batches > 1);
    append(1, 2000); /* There is a reserve. */
    sync_all();
    simdisk_set_full(f.disk, false);
    while (wal_prepare(f.wal)) {
    }
    assert_int_equal(wal_shortage(f.wal), ERR_OK);
    finish();
}

/* One call a turn is enough: once half of a segment is in use the next one is
 * there, however large the batches are. */
static void test_the_next_segment_is_there_in_time(void **state)
{
    (void)state;
    enum { LARGE_SEGMENT = 2 << 20 };
    begin();
    wal_close(f.wal);
    f.options.segment_bytes = LARGE_SEGMENT;
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    for (int i = 0; i < 30; i++) {
        append(1, 300000);
        sync_all();
        (void)wal_prepare(f.wal);
        /* The first segment is a small one. */
        assert_true(i == 0 || wal_room(f.wal) >= LARGE_SEGMENT / 2 - 2 * 4096);
    }
    finish();
}

static uint64_t written(void)
{
    struct wal_stats stats;
    wal_get_stats(f.wal, &stats);
    return stats.written_bytes;
}

/* The disk gets the zeros of the next segment while the log grows, not all of
 * them at once. */
static void test_the_next_segment_is_prepared_piece_by_piece(void **state)
{
    (void)state;
    enum { LARGE_SEGMENT = 4 << 20, BATCH = 64 << 10 };
    begin();
    wal_close(f.wal);
    f.options.segment_bytes = LARGE_SEGMENT;
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    append(1, 2 * SEGMENT); /* The first segment is a small one. */
    sync_all();
    uint64_t zeros = 0;
    for (unsigned i = 0; i < LARGE_SEGMENT / BATCH / 2; i++) {
        append(1, BATCH);
        sync_all();
        uint64_t before = written();
        while (wal_prepare_is_due(f.wal) && wal_prepare(f.wal)) {
        }
        assert_in_range(written() - before, 0, 2 * FS_ZEROS_BYTES);
        zeros += written() - before;
    }
    assert_int_equal(zeros, LARGE_SEGMENT);
    assert_int_equal(wal_shortage(f.wal), ERR_OK);
    finish();
}

/* A log may have been begun on a disk of another size: the size of a segment is
 * that of its file. */
static void test_segments_of_different_sizes(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {256 << 10, SEGMENT, 1 << 20, 64 << 10};
    begin();
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct wal_stats before;
        struct wal_stats after;
        f.options.segment_bytes = sizes[i];
        reopen();
        append(1, 20000);
        sync_all();
        wal_get_stats(f.wal, &before);
        assert_int_equal(wal_roll(f.wal), ERR_OK);
        wal_get_stats(f.wal, &after);
        assert_int_equal(after.log_bytes - before.log_bytes, sizes[i]);
        append(1, 300000); /* More than most of them have room for. */
        sync_all();
    }
    reopen();
    assert_int_equal(wal_last(f.wal), 2 * ARRAY_COUNT(sizes));
    for (uint64_t index = 1; index <= wal_last(f.wal); index++) {
        read_one(index);
    }
    finish();
}

static void begin_with_reserve(void)
{
    begin();
    wal_close(f.wal);
    f.options.keeps_reserve = true;
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    while (wal_prepare_reserve(f.wal)) {
    }
    assert_int_equal(wal_reserve_shortage(f.wal), ERR_OK);
}

/* Accepted entries are finished in the reserve: a whole segment more than the
 * rest of this one, though the next segment cannot be created. */
static void test_the_log_goes_on_in_its_reserve(void **state)
{
    (void)state;
    begin_with_reserve();
    append(1, 100);
    sync_all();
    simdisk_set_full(f.disk, true);
    uint64_t room = wal_room(f.wal);
    assert_true(room > SEGMENT);
    for (uint64_t written = 0; written + 4096 <= room; written += 4096) {
        append(1, 1000);
        sync_all();
        (void)wal_prepare(f.wal);
    }
    assert_int_equal(wal_shortage(f.wal), ERR_NOSPACE);
    assert_int_equal(wal_reserve_shortage(f.wal), ERR_NOSPACE);
    assert_true(wal_room(f.wal) < 4096);
    simdisk_set_full(f.disk, false);
    while (wal_prepare(f.wal) || wal_prepare_reserve(f.wal)) {
    }
    assert_int_equal(wal_shortage(f.wal), ERR_OK);
    assert_int_equal(wal_reserve_shortage(f.wal), ERR_OK);
    read_all();
    finish();
}

/* Preparing ahead takes nothing from it. */
static void test_the_reserve_is_for_what_was_accepted(void **state)
{
    (void)state;
    begin_with_reserve();
    simdisk_set_full(f.disk, true);
    while (!wal_shortage(f.wal)) {
        append(1, 2000);
        sync_all();
        (void)wal_prepare(f.wal);
    }
    for (int i = 0; i < 5; i++) {
        assert_false(wal_prepare(f.wal));
    }
    assert_int_equal(wal_reserve_shortage(f.wal), ERR_OK);
    assert_true(wal_release_reserve(f.wal));
    assert_false(wal_release_reserve(f.wal));
    while (wal_prepare(f.wal)) {
    }
    assert_int_equal(wal_shortage(f.wal), ERR_OK);
    finish();
}

/* The last segment is complete, and there is no room for another: it can be
 * opened and read all the same, and goes on when there is room. */
static void test_a_start_on_a_full_disk(void **state)
{
    (void)state;
    begin();
    simdisk_set_full(f.disk, true);
    enum err err = ERR_OK;
    while (!err) {
        append(1, 3000);
        err = wal_sync(f.wal);
    }
    assert_int_equal(err, ERR_NOSPACE);
    f.count--; /* Gathered, and not written. */
    wal_close(f.wal);
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    read_all();
    append(1, 3000);
    assert_int_equal(wal_sync(f.wal), ERR_NOSPACE);
    simdisk_set_full(f.disk, false);
    sync_all();
    read_all();
    reopen();
    read_all();
    finish();
}

/* ---- compaction ---- */

static uint64_t compact_to(uint64_t limit)
{
    struct wal_stats before;
    struct wal_stats after;
    wal_get_stats(f.wal, &before);
    while (wal_compact(f.wal, limit)) {
    }
    wal_get_stats(f.wal, &after);
    assert_true(wal_first(f.wal) <= limit + 1);
    assert_true(after.log_bytes <= before.log_bytes);
    return before.log_bytes - after.log_bytes;
}

static void test_compaction_drops_whole_segments(void **state)
{
    (void)state;
    begin();
    assert_int_equal(compact_to(1), 0);
    for (int i = 0; i < 600; i++) {
        append(1 + (uint64_t)i / 100, 1000);
        sync_all();
    }
    assert_int_equal(compact_to(1), 0);
    for (uint64_t limit = 50; limit < 600; limit += 50) {
        read_one(wal_first(f.wal)); /* It is open when its file goes. */
        (void)compact_to(limit);
        uint64_t first = wal_first(f.wal);
        assert_true(first > limit - 20);
        struct buf out = {0};
        struct wal_entry entry;
        assert_int_equal(wal_read(f.wal, first - 1, &out, &entry),
                         ERR_NOT_FOUND);
        buf_free(&out);
        for (uint64_t i = first; i <= f.count; i++) {
            read_one(i);
        }
    }
    uint64_t first = wal_first(f.wal);
    wal_close(f.wal);
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    assert_int_equal(wal_first(f.wal), first);
    assert_int_equal(wal_last(f.wal), f.count);
    for (uint64_t i = first; i <= f.count; i++) {
        read_one(i);
    }
    /* The last one stays, whatever it holds. */
    (void)compact_to(f.count);
    append(9, 10);
    sync_all();
    read_one(f.count);
    finish();
}

/* A log of 100 entries that is reset after a snapshot that ends at `index`. */
static void begin_reset(uint64_t index)
{
    begin();
    for (int i = 0; i < 100; i++) {
        append(2, 1000);
    }
    wal_set_hard_state(f.wal, 7, 0);
    sync_all();
    assert_int_equal(wal_roll(f.wal), ERR_OK);
    assert_int_equal(wal_reset(f.wal, index, 6), ERR_OK);
    f.count = index;
    assert_int_equal(wal_first(f.wal), index + 1);
    assert_int_equal(wal_last(f.wal), index);
}

static void reopen_reset(uint64_t index)
{
    wal_close(f.wal);
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    assert_int_equal(wal_first(f.wal), index + 1);
    assert_int_equal(wal_last(f.wal), f.count);
}

static void test_reset_begins_behind_a_snapshot(void **state)
{
    (void)state;
    begin_reset(500);
    for (int round = 0; round < 2; round++) {
        append(7, 100);
        append(7, 100);
        sync_all();
        for (uint64_t i = 501; i <= f.count; i++) {
            read_one(i);
        }
        assert_true(compact_to(500) > 0 || round > 0);
        reopen_reset(500);
    }
    finish();
}

/* The log ends after the snapshot, with entries that no majority has. */
static void test_reset_begins_before_what_is_synced(void **state)
{
    (void)state;
    begin_reset(60);
    for (int round = 0; round < 2; round++) {
        append(7, 100);
        sync_all();
        read_one(f.count);
        reopen_reset(60);
    }
    finish();
}

/* ---- in flight ---- */

static void start(void)
{
    assert_int_equal(wal_start(f.wal), ERR_OK);
}

static bool write_completed(bool wait)
{
    enum err err;
    bool finished = wal_finished(f.wal, wait, &err);
    assert_int_equal(err, ERR_OK);
    return finished;
}

static void read_none(uint64_t index)
{
    struct buf out = {0};
    struct wal_entry entry;
    assert_int_equal(wal_read(f.wal, index, &out, &entry), ERR_NOT_FOUND);
    buf_free(&out);
}

/* Last index of the log after a power loss now. */
static uint64_t last_after_a_crash(enum simdisk_keep keep, uint64_t seed)
{
    struct simdisk *after = simdisk_crash(f.disk, keep, seed);
    struct wal_options options = f.options;
    struct wal *wal;
    options.fs = simdisk_fs(after);
    assert_int_equal(wal_open(&options, NULL, NULL, &wal), ERR_OK);
    uint64_t last = wal_last(wal);
    wal_close(wal);
    simdisk_free(after);
    return last;
}

static void test_a_batch_in_flight_is_not_durable(void **state)
{
    (void)state;
    begin();
    append(1, 5000);
    sync_all();
    for (uint64_t round = 2; round < 60; round++) {
        uint64_t before = f.count;
        append(round, 10000);
        append(round, 10);
        start();
        assert_false(write_completed(false));
        uint64_t inflight_last = f.count;
        append(round + 1,
               7000); /* The next batch; the one in flight keeps its own. */
        assert_int_equal(wal_durable(f.wal), before);
        assert_int_equal(wal_last(f.wal), f.count);
        read_one(before);
        read_none(inflight_last);
        assert_false(write_completed(false));
        wal_hint(f.wal); /* It speaks of what is durable alone. */
        assert_int_equal(last_after_a_crash(SIMDISK_NOTHING, 0), before);
        for (uint64_t seed = 0; seed < 4; seed++) {
            uint64_t last = last_after_a_crash(SIMDISK_SOME, 4 * round + seed);
            assert_true(last == before || last == inflight_last);
        }
        assert_true(write_completed(true));
        assert_int_equal(wal_durable(f.wal), inflight_last);
        read_one(inflight_last);
        read_none(inflight_last + 1);
        assert_int_equal(last_after_a_crash(SIMDISK_NOTHING, 0), inflight_last);
        sync_all();
    }
    read_all();
    reopen();
    read_all();
    finish();
}

/* R07, R15: entries are cut while they are in flight, and others, of the same
 * index and even the same term, are gathered in their place. */
static void test_truncated_in_flight(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 3);
    begin();
    for (int i = 0; i < 4; i++) {
        append(1, 10);
    }
    sync_all();
    for (uint64_t term = 2; term < 600; term++) {
        uint64_t before = wal_durable(f.wal);
        for (uint64_t n = 1 + rng_below(&rng, 5); n > 0; n--) {
            append(term, rng_below(&rng, 3000));
        }
        start();
        uint64_t from = f.count + 1 - rng_below(&rng, f.count - before + 2);
        if (from <= f.count) {
            cut(from);
        }
        uint64_t should = f.count;
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
            append(term, rng_below(&rng, 3000));
        }
        assert_int_equal(wal_durable(f.wal), min_u64(before, should));
        assert_true(write_completed(true));
        assert_int_equal(wal_durable(f.wal), should);
        for (uint64_t i = should; i > 0 && i + 8 > should; i--) {
            read_one(i);
        }
        read_none(should + 1);
        if (term % 3 == 0) {
            sync_all();
        }
        if (term % 50 == 0) {
            sync_all();
            read_all();
            reopen();
            read_all();
        }
    }
    finish();
}

/* Nothing of it counts, and all of it is gathered still, together with what
 * came meanwhile. */
static void test_no_space_in_flight(void **state)
{
    (void)state;
    begin();
    append(1, 3000);
    sync_all();
    for (uint64_t round = 0; round < 40; round++) {
        uint64_t before = f.count;
        uint64_t term = 3 * round + 1;
        append(term, 9000);
        append(term, 10);
        simdisk_fail(f.disk, 1, ERR_NOSPACE);
        /* It may be a segment that finds no space. */
        enum err err = wal_start(f.wal);
        if (round % 2) {
            append(term + 1, 6000);
        }
        if (round % 4 == 3) {
            cut(before + 2 + round % 8 / 4);
            append(term + 2, 100);
        }
        if (!err) {
            assert_true(wal_finished(f.wal, true, &err));
        }
        assert_int_equal(err, ERR_NOSPACE);
        assert_int_equal(wal_durable(f.wal), before);
        read_one(before);
        read_none(before + 1);
        assert_int_equal(last_after_a_crash(SIMDISK_ALL, 0), before);
        sync_all();
        assert_int_equal(wal_durable(f.wal), f.count);
        read_one(f.count);
    }
    read_all();
    reopen();
    read_all();
    finish();
}

/* Closing waits: the kernel still needs the file and the bytes. */
static void test_close_in_flight(void **state)
{
    (void)state;
    begin();
    append(1, 10);
    sync_all();
    append(1, 20);
    start();
    reopen();
    read_all();
    finish();
}

/* Term and vote go first, and alone they are done at once. */
static void test_hard_state_while_a_batch_is_in_flight(void **state)
{
    (void)state;
    begin();
    wal_set_hard_state(f.wal, 3, 1);
    start();
    assert_true(write_completed(false));
    append(3, 10);
    start();
    wal_set_hard_state(f.wal, 4, 2);
    append(4, 10);
    assert_false(write_completed(false));
    assert_int_equal(last_after_a_crash(SIMDISK_NOTHING, 0), 0);
    async_log.completes = true;
    assert_true(write_completed(false));
    async_log.completes = false;
    start();
    wal_close(f.wal);
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    assert_int_equal(wal_term(f.wal), 4);
    assert_int_equal(wal_vote(f.wal), 2);
    read_all();
    finish();
}

static uint64_t writebacks;

static void count_writeback(void *self, int handle)
{
    (void)self;
    (void)handle;
    writebacks++;
}

static void test_the_next_segment_goes_to_the_disk_early(void **state)
{
    (void)state;
    begin();
    wal_close(f.wal);
    struct fs counting = *f.options.fs;
    counting.start_writeback = count_writeback;
    f.options.fs = &counting;
    assert_int_equal(wal_open(&f.options, NULL, NULL, &f.wal), ERR_OK);
    writebacks = 0;
    append(1, SEGMENT / 2);
    sync_all();
    assert_int_equal(writebacks, 0);
    while (wal_prepare(f.wal)) {
    }
    assert_int_equal(writebacks, 1); /* It is one piece of zeros. */
    append(1, SEGMENT / 2);
    sync_all();
    assert_int_equal(writebacks, 1);
    read_all();
    finish();
}

#define BOTH(test)                                                             \
    cmocka_unit_test_setup(test, setup_sync),                                  \
        cmocka_unit_test_setup(test, setup_async)
#define ASYNC(test) cmocka_unit_test_setup(test, setup_async)

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        BOTH(test_round_trip),
        BOTH(test_many_segments_and_large_entries),
        BOTH(test_truncated_entries_never_come_back),
        BOTH(test_one_sync_a_batch_and_none_for_nothing),
        BOTH(test_hard_state_survives_one_damaged_slot_only),
        BOTH(test_files_of_another_are_refused),
        BOTH(test_a_full_disk_is_told_before_it_matters),
        BOTH(test_the_next_segment_is_there_in_time),
        BOTH(test_the_next_segment_is_prepared_piece_by_piece),
        BOTH(test_the_next_segment_goes_to_the_disk_early),
        BOTH(test_segments_of_different_sizes),
        BOTH(test_the_log_goes_on_in_its_reserve),
        BOTH(test_the_reserve_is_for_what_was_accepted),
        BOTH(test_a_start_on_a_full_disk),
        BOTH(test_a_failed_read_can_be_tried_again),
        BOTH(test_compaction_drops_whole_segments),
        BOTH(test_reset_begins_behind_a_snapshot),
        BOTH(test_reset_begins_before_what_is_synced),
        ASYNC(test_a_batch_in_flight_is_not_durable),
        ASYNC(test_truncated_in_flight),
        ASYNC(test_no_space_in_flight),
        ASYNC(test_close_in_flight),
        ASYNC(test_hard_state_while_a_batch_is_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
