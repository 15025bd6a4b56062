/* log.c -- the log alone: D01, D02, D10, D14.
 *
 * The recovered log must be exactly the log at the last acknowledgement, or
 * exactly the log that was being synced. */
#include "crash.h"
#include "support/walmodel.h"

enum { STEPS = 22 };

static struct {
    struct simdisk *disk;
    struct wal *wal;
    struct walmodel acked;
    struct walmodel next;
    uint64_t incarnation;
    bool made;
    struct rng rng;
} run;

/* The former content of entries that were cut does not count. */
static uint64_t digest_of(const struct walmodel *found)
{
    uint64_t hash = mix_u64(found->term * 31 + found->vote);
    hash = mix_u64(hash ^ found->base) + found->base_term;
    hash = mix_u64(hash ^ found->first) + found->last;
    for (uint64_t i = max_u64(found->first, 1);
         found->first > 0 && i <= found->last; i++) {
        hash = mix_u64(hash ^ found->entries[i].term) + found->entries[i].size;
    }
    return hash;
}

static uint64_t recover(struct simdisk *disk, int mount)
{
    static struct walmodel places[DISKS];
    struct walmodel *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    struct wal *wal;
    CHECK(walmodel_open(simdisk_fs(disk), found, &wal) == ERR_OK);
    CHECK(walmodel_same_log(found, &run.acked) ||
          walmodel_same_log(found, &run.next));
    CHECK(walmodel_same_vote(found, &run.acked) ||
          walmodel_same_vote(found, &run.next));
    /* The vote is made durable first. */
    CHECK(walmodel_same_log(found, &run.acked) ||
          walmodel_same_vote(found, &run.next));
    CHECK(wal_incarnation(wal) > run.incarnation);
    wal_close(wal);
    return digest_of(found);
}

/* It takes another entry, which is there at the next start. */
static void go_on(struct simdisk *disk, int mount)
{
    (void)mount;
    static struct walmodel before;
    static struct walmodel after;
    struct wal *wal;
    CHECK(walmodel_open(simdisk_fs(disk), &before, &wal) == ERR_OK);
    struct wal_entry entry = {.index = before.last + 1,
                              .term = 1000,
                              .payload =
                                  walmodel_body(before.last + 1, 1000, 1)};
    wal_append(wal, &entry);
    CHECK(wal_sync(wal) == ERR_OK);
    wal_close(wal);
    CHECK(walmodel_open(simdisk_fs(disk), &after, &wal) == ERR_OK);
    wal_close(wal);
    CHECK(after.last == before.last + 1 && after.entries[after.last].size == 1);
    after.last = before.last;
    CHECK(before.first == 0 || digest_of(&before) == digest_of(&after));
}

/* ---- steps ---- */

static void append(uint64_t term, size_t size)
{
    walmodel_append(&run.next, run.wal, term, size);
}

static void cut(uint64_t from)
{
    wal_truncate(run.wal, from);
    run.next.last = from - 1;
}

static void sync_all(void)
{
    crash_promised();
    CHECK(wal_sync(run.wal) == ERR_OK);
    run.acked = run.next;
    crash_promised();
}

/* Drop entries that a snapshot covers; now and then a received snapshot
 * replaces the whole log. */
static void compact(uint64_t i)
{
    uint64_t limit = run.next.last > 6 ? run.next.last - 6 : 0;
    run.next.limit = max_u64(run.next.limit, limit);
    run.acked.limit = run.next.limit;
    crash_promised();
    while (wal_compact(run.wal, limit)) {
        crash_reached(REACHED_COMPACTION);
    }
    if (i % 9 == 8) {
        CHECK(wal_roll(run.wal) == ERR_OK);
        run.next.base = run.next.last + rng_below(&run.rng, 3);
        run.next.base_term = run.next.term;
        run.next.last = run.next.base;
        crash_promised();
        CHECK(wal_reset(run.wal, run.next.base, run.next.base_term) == ERR_OK);
        run.acked = run.next;
        crash_promised();
        crash_reached(REACHED_RESET);
    }
}

static void step(uint64_t i, bool compacts)
{
    uint64_t term = i / 5 + 1;
    if (i % 5 == 0) {
        run.next.term = term;
        run.next.vote = rng_below(&run.rng, 3);
        wal_set_hard_state(run.wal, term, run.next.vote);
    }
    if (i % 7 == 6 && run.next.last > max_u64(run.next.base, 3) + 3) {
        cut(run.next.last - rng_below(&run.rng, 3));
    }
    for (uint64_t n = rng_below(&run.rng, 4); n > 0; n--) {
        append(term, rng_below(&run.rng, 3000));
    }
    if (i % 11 == 10) {
        append(term, 9000);
        append(term, 10);
        cut(run.next.last);
        append(term, 20);
    }
    if (i == 20) {
        append(term, 30000); /* Larger than a segment. */
    }
    if (rng_below(&run.rng, 2)) {
        (void)wal_prepare(run.wal);
    }
    sync_all();
    if (i % 3 == 1) {
        wal_hint(run.wal);
    }
    if (compacts) {
        compact(i);
    }
}

static void begin(uint64_t seed)
{
    memset(&run, 0, sizeof(run));
    rng_init(&run.rng, seed);
    run.disk = crash_disk(seed);
}

static void end(void)
{
    simdisk_set_hook(run.disk, NULL, NULL);
    wal_close(run.wal);
    simdisk_free(run.disk);
}

static void run_steps(uint64_t seed, bool compacts)
{
    begin(seed);
    struct wal_options options = walmodel_options(simdisk_fs(run.disk));
    CHECK(wal_create(&options) == ERR_OK);
    CHECK(wal_open(&options, NULL, NULL, &run.wal) == ERR_OK);
    run.incarnation = wal_incarnation(run.wal);
    crash_watch(run.disk);
    for (uint64_t i = 0; i < STEPS; i++) {
        step(i, compacts);
    }
    end();
}

static void run_log(uint64_t seed)
{
    run_steps(seed, false);
}

static void run_compact(uint64_t seed)
{
    run_steps(seed, true);
}

/* ---- creation ----
 *
 * Nothing is acknowledged before the end: the log may exist and be empty, or be
 * reported as damaged, as it has no identity yet and is cleared. */

static uint64_t recover_created(struct simdisk *disk, int mount)
{
    static struct walmodel places[DISKS];
    struct walmodel *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    struct wal *wal = NULL;
    enum err err = walmodel_open(simdisk_fs(disk), found, &wal);
    CHECK(!err || err == ERR_NOT_FOUND || err == ERR_CORRUPT);
    CHECK(!err || !run.made);
    if (!err) {
        CHECK(found->last == 0 && found->term == 0 && found->vote == 0);
    }
    wal_close(wal);
    return err == ERR_OK;
}

static void make_again(struct simdisk *disk, int mount)
{
    struct wal_options options = walmodel_options(simdisk_fs(disk));
    CHECK(wal_remove(simdisk_fs(disk)) == ERR_OK);
    CHECK(wal_create(&options) == ERR_OK);
    CHECK(recover_created(disk, mount) == 1);
}

static void run_create(uint64_t seed)
{
    begin(seed);
    struct wal_options options = walmodel_options(simdisk_fs(run.disk));
    crash_watch(run.disk);
    CHECK(wal_create(&options) == ERR_OK);
    run.made = true;
    crash_promised();
    CHECK(wal_open(&options, NULL, NULL, &run.wal) == ERR_OK);
    end();
}

const struct workload workload_log = {.name = "log",
                                      .run = run_log,
                                      .recover = recover,
                                      .quick = true,
                                      .go_on = go_on,
                                      .bits_max = 10};
const struct workload workload_compact = {.name = "compact",
                                          .run = run_compact,
                                          .recover = recover,
                                          .quick = true,
                                          .go_on = go_on,
                                          .bits_max = 10};
const struct workload workload_create = {.name = "create",
                                         .run = run_create,
                                         .recover = recover_created,
                                         .go_on = make_again,
                                         .bits_max = 10};
