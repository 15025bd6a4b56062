/* store.c -- log and database in one directory: A01, D01, D14, D15.
 *
 * What a node does with them: append and sync, apply what is committed, flush
 * at times, checkpoint. Recovered as a node does it: the database first, then
 * the log, then what is committed is applied again. Nothing acknowledged is
 * missing, the database is never ahead of the log, and both agree. */
#include "store/store.h"
#include "command/command.h"
#include "crash.h"
#include "support/simvfs.h"
#include "wal/wal.h"

enum {
    ENTRIES_MAX = 80,
    SEGMENT = 16 << 10,
    STEPS = 24,
    KEYS = 9,
    CHECKPOINT_BYTES = 16 * 4096,
};

/* The content of a log. */
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

static struct {
    struct files files;
    struct log acked;
    struct log next;
    uint64_t commit;   /* Acknowledged to clients. */
    uint64_t safe;     /* Applied index at the last checkpoint. */
    uint64_t changing; /* It changes the schema, and is being applied; or 0. */
    bool flushes[ENTRIES_MAX + 1];
    uint64_t hashes[ENTRIES_MAX + 1];   /* Rolling hash, by applied index. */
    uint64_t contents[ENTRIES_MAX + 1]; /* Hash of the rows. */
    struct rng rng;
} run;

static struct buf command;

/* One restore after another: BEGIN, ROWS, another entry, ROWS, COMMIT. */
static void add_rows(uint64_t id, uint64_t number)
{
    static const uint8_t value[700];
    struct command_writer writer;
    command.size = 0;
    command_restore(&writer, &command,
                    &(struct command_restore){.step = COMMAND_RESTORE_ROWS,
                                              .id = id,
                                              .keys = number * 3});
    for (uint64_t i = 0; i < 3; i++) {
        uint8_t key = (uint8_t)('a' + (number * 3 + i) % KEYS);
        command_restore_row(&writer, bytes_of(&key, 1),
                            bytes_of(value, (id * 97 + i * 31) % 700));
    }
    command_end(&writer);
}

static bool is_step(uint64_t index)
{
    uint64_t part = index % 12;
    uint64_t id = 1 + index / 12;
    struct command_restore step = {.id = id, .keys = 6};
    command.size = 0;
    switch (part) {
    case 3:
        step.step = COMMAND_RESTORE_BEGIN;
        break;
    case 5:
    case 7:
        add_rows(id, part == 7);
        return true;
    case 8:
        for (uint64_t number = 0; number < 2; number++) {
            add_rows(id, number);
            step.hash = command_restore_hash(step.hash, buf_bytes(&command));
        }
        command.size = 0;
        step.step = COMMAND_RESTORE_COMMIT;
        break;
    default:
        return false;
    }
    command_restore(NULL, &command, &step);
    return true;
}

static struct bytes command_of(uint64_t index, uint64_t term)
{
    static uint8_t value[2048];
    struct command_writer writer;
    uint8_t key = (uint8_t)('a' + (index * 5 + term) % KEYS);
    if (is_step(index)) {
        return buf_bytes(&command);
    }
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
    CHECK(entry->index >= 1 && entry->index <= log->last + 1);
    CHECK(entry->index <= ENTRIES_MAX);
    CHECK(bytes_equal(entry->payload, command_of(entry->index, entry->term)));
    log->last = entry->index;
    log->terms[entry->index] = entry->term;
}

/* As a node does: first the database, then the log. */
static void open_files(struct files *files, struct log *found)
{
    struct store_options store_options = {.fs = simdisk_fs(files->disk),
                                          .vfs = simvfs_name};
    struct wal_options wal_options = {.fs = simdisk_fs(files->disk),
                                      .segment_bytes = SEGMENT,
                                      .salt_seed = 99};
    CHECK(store_open(&store_options, &files->store) == ERR_OK);
    memset(found, 0, sizeof(*found));
    CHECK(wal_open(&wal_options, on_entry, found, &files->wal) == ERR_OK);
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
    /* Not shared: an entry that changes the schema writes to the disk, and
     * another recovery may run within that write. */
    struct buf payload = {0};
    CHECK(wal_read(files->wal, index, &payload, &entry) == ERR_OK);
    CHECK(store_apply(files->store, index, entry.term, entry.payload,
                      &result) == ERR_OK);
    buf_free(&payload);
}

/* ---- after a power loss ---- */

static void check_files(const struct files *files, const struct log *found)
{
    bool log_acked = same_log(found, &run.acked);
    CHECK(log_acked || same_log(found, &run.next));
    CHECK(same_vote(found, &run.acked) || same_vote(found, &run.next));
    CHECK(log_acked || same_vote(found, &run.next));
    CHECK(found->last >= run.commit);

    uint64_t applied = store_applied(files->store);
    CHECK(applied >= run.safe);
    CHECK(store_applied_term(files->store) == found->terms[applied]);
    if (run.changing != 0 && applied == run.changing) {
        return; /* Its hashes are not known yet. */
    }
    CHECK(applied <= run.commit);
    CHECK(run.flushes[applied]);
    CHECK(store_hash(files->store) == run.hashes[applied]);
    CHECK(store_content_hash(files->store) == run.contents[applied]);
    if (applied < run.commit) {
        crash_reached(REACHED_BEHIND);
    }
}

static uint64_t recover(struct simdisk *disk, int mount)
{
    static struct log places[DISKS];
    struct log *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    struct files files = {.disk = disk};
    open_files(&files, found);
    check_files(&files, found);
    uint64_t digest = mix_u64(found->term * 31 + found->vote) ^ found->last ^
                      store_applied(files.store) << 32;
    for (uint64_t i = 1; i <= found->last; i++) {
        digest = mix_u64(digest ^ found->terms[i]);
    }
    close_files(&files);
    return digest;
}

/* Committed entries are applied again, and are there at the next start. */
static void catch_up(struct simdisk *disk, int mount)
{
    static struct log places[DISKS];
    struct log *found =
        &places[mount]; /* Reentrant: a recovery runs within another. */
    struct files files = {.disk = disk};
    open_files(&files, found);
    if (run.changing != 0 && store_applied(files.store) == run.changing) {
        close_files(&files);
        return; /* There is nothing to apply again. */
    }
    while (store_applied(files.store) < run.commit) {
        apply_one(&files, store_applied(files.store) + 1);
    }
    CHECK(store_flush(files.store) == ERR_OK);
    close_files(&files);
    open_files(&files, found);
    CHECK(store_applied(files.store) == run.commit);
    CHECK(store_hash(files.store) == run.hashes[run.commit]);
    CHECK(store_content_hash(files.store) == run.contents[run.commit]);
    close_files(&files);
}

/* ---- the run ---- */

static void append(uint64_t term)
{
    uint64_t index = ++run.next.last;
    CHECK(index <= ENTRIES_MAX);
    struct wal_entry entry = {
        .index = index, .term = term, .payload = command_of(index, term)};
    wal_append(run.files.wal, &entry);
    run.next.terms[index] = term;
}

static void sync_log(uint64_t i)
{
    uint64_t term = i / 4 + 1;
    if (i % 4 == 0) {
        run.next.term = term;
        run.next.vote = rng_below(&run.rng, 3);
        wal_set_hard_state(run.files.wal, term, run.next.vote);
    }
    if (i % 4 == 1 && run.next.last > run.commit) {
        wal_truncate(run.files.wal, run.next.last);
        run.next.last--;
    }
    for (uint64_t n = rng_below(&run.rng, 4); n > 0; n--) {
        append(term);
    }
    crash_promised();
    CHECK(wal_sync(run.files.wal) == ERR_OK);
    run.acked = run.next;
    crash_promised();
}

/* An entry whose flush is outstanding may be recovered: its hashes are recorded
 * before it counts as committed. */
static void apply_all(uint64_t commit)
{
    struct store *store = run.files.store;
    while (store_applied(store) < commit) {
        uint64_t index = store_applied(store) + 1;
        if (store_changes_schema(store,
                                 command_of(index, run.acked.terms[index]))) {
            /* All before it is flushed, and it is itself in the database. */
            run.flushes[index - 1] = true;
            run.flushes[index] = true;
            run.changing = index;
            crash_promised();
        }
        apply_one(&run.files, index);
        run.hashes[index] = store_hash(store);
        run.contents[index] = store_content_hash(store);
        run.commit = index;
        run.changing = 0;
        crash_promised();
    }
}

static void flush(void)
{
    struct store_stats before;
    struct store_stats after;
    struct store *store = run.files.store;
    store_get_stats(store, &before);
    run.flushes[store_applied(store)] = true;
    crash_promised();
    CHECK(store_flush(store) == ERR_OK);
    if (store_checkpoint_bytes(store) >= CHECKPOINT_BYTES) {
        while (store_checkpoint_step(store)) {
            continue; /* An asynchronous sync is in flight. */
        }
    }
    store_get_stats(store, &after);
    if (after.checkpoints > before.checkpoints) {
        crash_reached(REACHED_CHECKPOINT);
        run.safe = store_applied(store);
        crash_promised();
    }
    wal_hint(run.files.wal);
}

static void reopen(void)
{
    static struct log found;
    run.flushes[store_applied(run.files.store)] = true;
    crash_promised();
    close_files(&run.files);
    open_files(&run.files, &found);
    CHECK(same_log(&found, &run.acked));
}

static void run_store(uint64_t seed)
{
    memset(&run, 0, sizeof(run));
    rng_init(&run.rng, seed);
    struct wal_options options = {.segment_bytes = SEGMENT, .salt_seed = 99};
    run.files.disk = crash_disk(seed);
    simvfs_mount(DISK_RUN, run.files.disk);
    options.fs = simdisk_fs(run.files.disk);
    CHECK(wal_create(&options) == ERR_OK);
    open_files(&run.files, &run.acked);
    run.next = run.acked;
    run.flushes[0] = true;
    run.contents[0] = store_content_hash(run.files.store);
    crash_watch(run.files.disk);
    for (uint64_t i = 0; i < STEPS; i++) {
        sync_log(i);
        apply_all(max_u64(run.commit,
                          run.acked.last - (i % 4 == 0 && run.acked.last > 0)));
        if (i % 3 == 2) {
            flush();
            enum err err = store_sweep(run.files.store);
            CHECK(!err || err == ERR_NOT_FOUND);
        }
        if (rng_below(&run.rng, 2)) {
            (void)wal_prepare(run.files.wal);
        }
        if (i == 9) {
            reopen();
        }
    }
    simdisk_set_hook(run.files.disk, NULL, NULL);
    close_files(&run.files);
    simdisk_free(run.files.disk);
    buf_free(&command);
}

const struct workload workload_store = {.name = "store",
                                        .run = run_store,
                                        .recover = recover,
                                        .go_on = catch_up,
                                        .bits_max = 6};
