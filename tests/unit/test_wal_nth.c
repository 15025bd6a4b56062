/* test_wal_nth.c -- the log when the n-th call to the disk fails, for every n
 * and every kind of call (SQLite's method), once or from then on, with nothing,
 * part or all of the work done. D08, D09.
 *
 * A process runs a workload. After the failure it goes on, gives up with an
 * error, or ends itself; then it is started again, until the workload is
 * through. Meanwhile the disk loses power in copies. Nothing acknowledged is
 * ever lost, and a process that lives leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log.h"
#include "support/dying.h"
#include "support/failfs.h"
#include "support/nth.h"
#include "support/simdisk.h"
#include "wal/wal.h"

enum {
    ENTRIES_MAX = 100,
    SEGMENT = 12 << 10,
    STEPS = 12,
    LOOKS = 2, /* Copies of the disk after a failure. */
    TRIES = 3, /* Before a failure that lasts is repaired. */
};

struct state {
    uint64_t term;
    uint64_t vote;
    uint64_t first; /* As found. */
    uint64_t limit; /* From here on all is kept. */
    size_t count;
    struct {
        uint64_t term;
        size_t size;
    } entries[ENTRIES_MAX]; /* [index - 1] */
};

struct machine {
    struct simdisk *disk;
    struct failfs fail;
    struct failfs_fault fault; /* As it was asked for. */
    struct wal *wal;
    struct state acked; /* wal_sync() has returned for it. */
    struct state tried; /* It has refused this for lack of space. */
    struct state next;  /* Gathered. */
    struct buf read;
    bool made;
    bool done;
    uint64_t step;
    uint64_t starts;
    uint64_t deaths;
    uint64_t looks;
};

/* ---- what should be there ---- */

static void options_for(const struct fs *fs, struct wal_options *options)
{
    *options = (struct wal_options){
        .fs = fs, .segment_bytes = SEGMENT, .salt_seed = 99};
    memset(options->cluster, 1, 16);
    memset(options->uuid, 2, 16);
}

static uint8_t byte_of(uint64_t index, uint64_t term, size_t at)
{
    return (uint8_t)(index * 31 + term * 7 + at + 1);
}

static void check_payload(const struct wal_entry *entry)
{
    bool same = true;
    for (size_t i = 0; i < entry->payload.size; i++) {
        same = same &&
               entry->payload.data[i] == byte_of(entry->index, entry->term, i);
    }
    assert_true(same);
}

static void on_entry(const struct wal_entry *entry, void *arg)
{
    struct state *state = arg;
    assert_in_range(entry->index, 1, ENTRIES_MAX);
    if (entry->type == WAL_ENTRY_BASE) {
        state->first = entry->index + 1;
        state->count = entry->index;
        return;
    }
    if (state->first == 0) {
        state->first = entry->index; /* Earlier entries were compacted. */
    } else {
        assert_true(entry->index <= state->count + 1);
    }
    check_payload(entry);
    state->count = entry->index;
    state->entries[entry->index - 1].term = entry->term;
    state->entries[entry->index - 1].size = entry->payload.size;
}

static enum err open_into(const struct fs *fs, struct state *found,
                          struct wal **wal)
{
    struct wal_options options;
    options_for(fs, &options);
    memset(found, 0, sizeof(*found));
    enum err err = wal_open(&options, on_entry, found, wal);
    if (!err) {
        found->count = (size_t)wal_last(*wal);
        found->first = wal_first(*wal);
        found->limit = found->first;
        found->term = wal_term(*wal);
        found->vote = wal_vote(*wal);
    }
    return err;
}

/* All that is to be kept is there. */
static bool same_log(const struct state *found, const struct state *should)
{
    if (found->count != should->count || found->first > should->limit) {
        return false;
    }
    for (size_t i = (size_t)should->limit - 1; i < should->count; i++) {
        if (found->entries[i].term != should->entries[i].term ||
            found->entries[i].size != should->entries[i].size) {
            return false;
        }
    }
    return true;
}

static bool same_vote(const struct state *a, const struct state *b)
{
    return a->term == b->term && a->vote == b->vote;
}

/* The acknowledged state, or the state in flight; the vote is written first. */
static void expect_state(const struct machine *m, const struct state *found)
{
    bool log_acked = same_log(found, &m->acked);
    bool vote_new = same_vote(found, &m->tried) || same_vote(found, &m->next);
    assert_true(log_acked || same_log(found, &m->tried) ||
                same_log(found, &m->next));
    assert_true(same_vote(found, &m->acked) || vote_new);
    assert_true(log_acked || vote_new);
}

/* A power loss now. */
static void look(struct machine *m, enum simdisk_keep keep, uint64_t seed)
{
    static struct state found;
    struct wal *wal = NULL;
    if (!m->made) {
        return;
    }
    struct simdisk *after = simdisk_crash(m->disk, keep, seed);
    assert_int_equal(open_into(simdisk_fs(after), &found, &wal), ERR_OK);
    expect_state(m, &found);
    wal_close(wal);
    simdisk_free(after);
    nth_total.images++;
}

static void on_change(struct simdisk *disk, void *arg)
{
    struct machine *m = arg;
    (void)disk;
    if (m->fail.hits > 0 && m->looks < LOOKS) {
        m->looks++;
        look(m, m->looks % 3 == 0 ? SIMDISK_NOTHING : SIMDISK_SOME,
             m->fault.n * 31 + m->looks);
    }
}

/* ---- a process ---- */

static void expect_failure(const struct machine *m, enum err err)
{
    assert_true(m->fail.hits > 0);
    assert_int_equal(err, m->fault.err);
}

/* False: it gives up, with the error that the disk gave. */
static bool start(struct machine *m)
{
    static struct state found;
    struct wal_options options;
    options_for(&m->fail.fs, &options);
    enum err err = m->made ? ERR_OK : wal_create(&options);
    if (!err) {
        m->made = true;
        err = open_into(&m->fail.fs, &found, &m->wal);
    }
    if (err) {
        expect_failure(m, err);
        nth_total.errors++;
        return false;
    }
    expect_state(m, &found);
    found.limit = max_u64(found.first, m->acked.limit);
    m->acked = found;
    m->tried = found;
    m->next = found;
    if (m->fail.hits > 0) {
        look(m, SIMDISK_NOTHING, 0); /* Recovered entries are durable. */
    }
    return true;
}

static void stop(struct machine *m)
{
    wal_close(m->wal);
    m->wal = NULL;
}

static void append(struct machine *m, uint64_t term, size_t size)
{
    static uint8_t data[10000];
    struct state *next = &m->next;
    uint64_t index = next->count + 1;
    for (size_t i = 0; i < size; i++) {
        data[i] = byte_of(index, term, i);
    }
    struct wal_entry entry = {
        .index = index, .term = term, .payload = bytes_of(data, size)};
    wal_append(m->wal, &entry);
    next->entries[next->count].term = term;
    next->entries[next->count].size = size;
    next->count++;
}

static void cut(struct machine *m, uint64_t from)
{
    wal_truncate(m->wal, from);
    m->next.count = (size_t)from - 1;
}

static void vote(struct machine *m, uint64_t term, uint64_t whom)
{
    wal_set_hard_state(m->wal, term, whom);
    m->next.term = term;
    m->next.vote = whom;
}

/* True: try again, there may be room now. */
static bool refused(struct machine *m, enum err err, uint64_t tries)
{
    if (!err) {
        return false;
    }
    assert_true(err_is_shortage(err));
    expect_failure(m, err);
    assert_true(m->fault.for_ever || tries == 1);
    nth_total.refusals++;
    if (tries == TRIES) {
        failfs_heal(&m->fail);
    }
    return true;
}

/* Without space the batch stays, and may grow; once there is room again the
 * next try succeeds. */
static void sync_all(struct machine *m, uint64_t term, uint64_t base)
{
    enum err err = base ? wal_reset(m->wal, base, term) : wal_sync(m->wal);
    for (uint64_t tries = 1; refused(m, err, tries); tries++) {
        if (tries == 1) {
            m->tried = m->next;
        }
        look(m, SIMDISK_SOME, m->fault.n);
        if (tries == 1) {
            append(m, term, 4000);
            vote(m, term + 1, 7); /* One vote per term. */
        }
        err = wal_sync(m->wal);
    }
    m->acked = m->next;
    m->tried = m->next;
}

/* A snapshot has come that holds more than the log. */
static void reset(struct machine *m, uint64_t term)
{
    enum err err = wal_roll(m->wal);
    for (uint64_t tries = 1; err_is_shortage(err) && refused(m, err, tries);
         tries++) {
        err = wal_roll(m->wal);
    }
    if (err) {
        expect_failure(m, err); /* The log goes on without. */
        return;
    }
    uint64_t base = m->next.count + 5;
    m->next.count = (size_t)base;
    m->next.limit = base + 1;
    sync_all(m, term, base);
}

/* A snapshot has been made. */
static void compact(struct machine *m)
{
    uint64_t limit = max_u64(m->acked.count - 2, m->acked.limit);
    m->acked.limit = limit;
    m->tried.limit = limit;
    m->next.limit = limit;
    while (wal_compact(m->wal, limit)) {
    }
    assert_true(wal_first(m->wal) <= limit);
}

static void read_back(struct machine *m)
{
    for (uint64_t i = wal_first(m->wal); i <= m->acked.count; i++) {
        struct wal_entry entry;
        enum err err = wal_read(m->wal, i, &m->read, &entry);
        if (err) {
            expect_failure(m, err);
            continue;
        }
        assert_int_equal(entry.term, m->acked.entries[i - 1].term);
        assert_int_equal(entry.payload.size, m->acked.entries[i - 1].size);
        check_payload(&entry);
    }
}

static void prepare(struct machine *m)
{
    uint64_t hits = m->fail.hits;
    while (wal_prepare(m->wal)) {
    }
    if (err_is_shortage(m->fault.err)) {
        assert_int_equal(wal_shortage(m->wal) != ERR_OK, m->fail.hits > hits);
    }
}

static void gather(struct machine *m, uint64_t i, uint64_t term)
{
    if (i % 4 == 0) {
        vote(m, term, i % 3);
    }
    if (i % 4 == 3 && m->next.count > m->next.limit) {
        cut(m, m->next.count - 1);
    }
    append(m, term, i * 160 % 900);
    if (i == 7) {
        append(m, term, 8500); /* Larger than a segment. */
    }
    if (i % 5 == 4) {
        append(m, term, 10);
        cut(m, m->next.count);
        append(m, term, 20);
    }
}

static void live(struct machine *m)
{
    if (!start(m)) {
        return;
    }
    while (m->step < STEPS) {
        uint64_t i = m->step++;
        uint64_t term = 2 * (i / 4) + 1;
        gather(m, i, term);
        sync_all(m, term, 0);
        if (i % 3 == 1) {
            wal_hint(m->wal);
        }
        if (i % 2 == 1) {
            prepare(m);
        }
        if (i == 6) {
            compact(m);
            read_back(m);
        }
        if (i == 8) {
            reset(m, term);
        }
        if (i == 9) {
            compact(m);
        }
        if (i == 5 || i == 10) {
            stop(m);
            if (!start(m)) {
                return;
            }
        }
    }
    m->done = true;
}

/* ---- and its machine ---- */

/* It may end itself after an error of the disk; for lack of space only when a
 * sync says so. */
static void bury(struct machine *m)
{
    assert_true(m->fail.hits > 0);
    assert_true(m->fault.err == ERR_IO || m->fault.call == FAILFS_FDATASYNC);
    nth_total.deaths++;
    m->deaths++;
    look(m, m->fault.n % 3 ? SIMDISK_NOTHING : SIMDISK_ALL, 0);
    look(m, SIMDISK_SOME, m->fault.n + 1);
    stop(m);
    if (m->fault.n % 4 < 2 || m->fault.done == FAILFS_DROPPED) {
        return; /* Only the process: the files are as it left them. */
    }
    struct simdisk *after = simdisk_crash(m->disk, SIMDISK_SOME, m->fault.n);
    simdisk_set_hook(after, on_change, m);
    simdisk_free(m->disk);
    m->disk = after;
    m->fail.under = simdisk_fs(after);
}

static void run_machine(struct machine *m)
{
    jmp_buf here;
    while (!m->done) {
        assert_true(++m->starts < 3 + TRIES);
        if (m->starts == TRIES) {
            failfs_heal(&m->fail);
        }
        dying_to = &here;
        if (setjmp(here) == 0) {
            live(m);
            dying_to = NULL;
            if (m->done) {
                read_back(m);
            }
            stop(m);
        } else {
            bury(m);
        }
    }
}

static bool async;

static int set_async(void **state)
{
    (void)state;
    async = true;
    return 0;
}

static int set_sync(void **state)
{
    (void)state;
    async = false;
    return 0;
}

/* True when the failure came. */
static bool try_fault(const struct failfs_fault *fault)
{
    static struct machine machine;
    struct machine *m = &machine;
    size_t heap = dying_heap();
    *m = (struct machine){.disk = simdisk_new(), .fault = *fault};
    m->acked.limit = 1;
    m->tried.limit = 1;
    m->next.limit = 1;
    failfs_init(&m->fail, simdisk_fs(m->disk));
    if (async) {
        failfs_set_async(&m->fail);
    }
    failfs_fail(&m->fail, fault);
    simdisk_set_hook(m->disk, on_change, m);
    run_machine(m);
    bool hit = m->fail.hits > 0;
    simdisk_set_hook(m->disk, NULL, NULL);
    failfs_heal(&m->fail);
    look(m, SIMDISK_NOTHING, 0);
    assert_true(same_log(&m->acked, &m->next));
    struct simdisk_counts counts;
    simdisk_get_counts(m->disk, &counts);
    if (m->deaths == 0) {
        assert_int_equal(counts.handles, 0);
    }
    simdisk_free(m->disk);
    buf_free(&m->read);
    if (m->deaths == 0) {
        assert_int_equal(dying_heap(), heap);
    }
    return hit;
}

static void every_n(struct failfs_fault fault)
{
    bool all = fault.done == FAILFS_ALL;
    if (all && fault.err == ERR_NOSPACE &&
        (fault.call == FAILFS_RENAME || fault.call == FAILFS_UNLINK)) {
        return; /* A name changes, or there is no space for it. */
    }
    nth_every(fault, 0, all ? 2 : 1, try_fault);
    if (!all) {
        /* They differ little from one call to the next. */
        fault.for_ever = true;
        nth_every(fault, 0, 3, try_fault);
    }
}

static void test_io_error_at_the_nth_call(void **state)
{
    (void)state;
    nth_every_call(ERR_IO, FAILFS_TRUNCATE, every_n);
    assert_true(nth_total.deaths > 0 && nth_total.errors > 0 &&
                nth_total.refusals == 0);
}

static void test_no_space_at_the_nth_call(void **state)
{
    (void)state;
    nth_every_call(ERR_NOSPACE, FAILFS_TRUNCATE, every_n);
    assert_true(nth_total.errors > 0 && nth_total.refusals > 0);
}

/* Descriptors, or the kernel's memory: nothing is in doubt, so nobody ends. */
static void test_no_resources_at_the_nth_call(void **state)
{
    (void)state;
    nth_every_call(ERR_RESOURCES, FAILFS_TRUNCATE, every_n);
    assert_true(nth_total.deaths == 0 && nth_total.errors > 0 &&
                nth_total.refusals > 0);
}

static void test_a_failed_sync_is_not_trusted_after_a_restart(void **state)
{
    (void)state;
    nth_dropped_syncs(try_fault);
}

/* With synchronous and with asynchronous writes. */
#define BOTH(test)                                                             \
    cmocka_unit_test_setup(test, set_sync),                                    \
        cmocka_unit_test_setup(test, set_async)

int main(void)
{
    log_set_level(LOG_OFF);
    dying_leaks();
    const struct CMUnitTest tests[] = {
        BOTH(test_io_error_at_the_nth_call),
        BOTH(test_no_space_at_the_nth_call),
        BOTH(test_no_resources_at_the_nth_call),
        BOTH(test_a_failed_sync_is_not_trusted_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
