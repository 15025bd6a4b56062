/* test_store_image.c -- the database as a snapshot, out of one store and into
 * another, on disk and in memory, with power losses (S06) and without
 * space (S14) on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "command/command.h"
#include "store/store.h"
#include "support/simvfs.h"

enum { KEYS = 300, TERM = 3, CHUNK = 10000, SEEDS = 5 };

static struct buf command;

static void apply(struct store *store, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++) {
        uint64_t index = store_applied(store) + 1;
        struct command_writer writer;
        struct store_result result;
        char key[32];
        char value[512] = {0};
        snprintf(key, sizeof(key), "key-%llu",
                 (unsigned long long)(index * 7 % KEYS));
        snprintf(value, sizeof(value), "value-%llu", (unsigned long long)index);
        command.size = 0;
        command_begin(&writer, &command);
        command_put(&writer, bytes_of_string(key),
                    bytes_of(value, sizeof(value)));
        command_end(&writer);
        assert_int_equal(
            store_apply(store, index, TERM, buf_bytes(&command), &result),
            ERR_OK);
    }
    assert_int_equal(store_flush(store), ERR_OK);
}

static struct store *open_on(int number, struct simdisk *disk)
{
    struct store *store;
    struct store_options options = {.vfs = simvfs_name};
    simvfs_mount(number, disk);
    options.fs = simdisk_fs(disk);
    assert_int_equal(store_open(&options, &store), ERR_OK);
    return store;
}

static struct store *open_memory(const struct fs *fs)
{
    struct store *store;
    struct store_options options = {.fs = fs};
    assert_int_equal(store_open(&options, &store), ERR_OK);
    return store;
}

static bool any_conf(struct bytes conf)
{
    (void)conf;
    return true;
}

static bool no_conf(struct bytes conf)
{
    (void)conf;
    return false;
}

/* Copy `bytes` of the image; `meanwhile` takes writes. */
static enum err copy(struct store_image *image, uint64_t bytes,
                     struct store_incoming *incoming, struct store *meanwhile)
{
    static uint8_t chunk[CHUNK];
    for (uint64_t at = 0; at < bytes;) {
        size_t size = (size_t)min_u64(CHUNK, bytes - at);
        assert_int_equal(store_image_read(image, chunk, size), ERR_OK);
        enum err err = store_incoming_add(incoming, bytes_of(chunk, size));
        if (err) {
            return err;
        }
        at += size;
        if (meanwhile) {
            apply(meanwhile, 20);
            assert_int_equal(store_checkpoint(meanwhile), ERR_OK);
        }
    }
    return ERR_OK;
}

/* From one to the other, while the first goes on; what arrives is what was. */
static void transfer(struct store *from, struct store **to)
{
    struct store_image *image;
    struct store_incoming *incoming;
    uint64_t term;
    uint64_t hash = store_content_hash(from);
    uint64_t index = store_applied(from);
    uint64_t rolling = store_hash(from);
    assert_int_equal(store_image_open(from, &image), ERR_OK);
    assert_int_equal(image->index, index);
    assert_int_equal(image->term, TERM);
    assert_int_equal(store_incoming_new(*to, &incoming), ERR_OK);
    assert_int_equal(copy(image, image->bytes, incoming, from), ERR_OK);
    store_image_close(image);
    struct store *installed;
    assert_int_equal(
        store_incoming_finish(incoming, index, TERM, any_conf, &installed),
        ERR_OK);
    store_close(*to);
    store_tidy(installed);
    *to = installed;
    assert_int_equal(store_applied(installed), index);
    assert_int_equal(store_durable(installed), index);
    assert_int_equal(store_hash(installed), rolling);
    assert_int_equal(store_content_hash(installed), hash);
    assert_int_equal(store_installed(installed, &term), index);
    assert_int_equal(term, TERM);
    /* It goes on from there as the first one did. */
    apply(installed, store_applied(from) - index);
    assert_int_equal(store_content_hash(installed), store_content_hash(from));
    assert_int_equal(store_hash(installed), store_hash(from));
}

static void test_disk_to_disk(void **state)
{
    (void)state;
    struct simdisk *disks[] = {simdisk_new(), simdisk_new()};
    struct store *from = open_on(0, disks[0]);
    struct store *to = open_on(1, disks[1]);
    struct store_image *image;
    assert_int_equal(store_image_open(from, &image), ERR_NOT_FOUND);
    apply(from, 500);
    assert_int_equal(store_durable(from), 0);
    assert_int_equal(store_checkpoint(from), ERR_OK);
    assert_int_equal(store_durable(from), 500);
    apply(to, 17);
    for (int i = 0; i < 3; i++) {
        transfer(from, &to);
        /* No checkpoint has waited for it. */
        assert_int_equal(store_durable(from), store_applied(from));
    }
    uint64_t hash = store_content_hash(to);
    uint64_t applied = store_applied(to);
    store_close(to);
    to = open_on(1, disks[1]);
    assert_int_equal(store_content_hash(to), hash);
    assert_int_equal(store_applied(to), applied);
    store_close(to);
    store_close(from);
    for (int i = 0; i < 2; i++) {
        struct simdisk_counts counts;
        simdisk_get_counts(disks[i], &counts);
        assert_int_equal(counts.handles, 0);
        simdisk_free(disks[i]);
    }
}

static void test_memory_and_disk(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct fs *fs[] = {fs_memory_new(), fs_memory_new()};
    struct store *on_disk = open_on(0, disk);
    struct store *in_memory = open_memory(fs[0]);
    struct store *another = open_memory(fs[1]);
    apply(on_disk, 400);
    assert_int_equal(store_checkpoint(on_disk), ERR_OK);
    transfer(on_disk, &in_memory);
    transfer(in_memory, &another);
    apply(another, 10);
    transfer(another, &on_disk);
    store_close(on_disk);
    store_close(in_memory);
    store_close(another);
    simdisk_free(disk);
    fs_memory_free(fs[0]);
    fs_memory_free(fs[1]);
}

/* Cut short, another one than was promised, or without a membership that can be
 * used: nothing changes. */
static void test_what_is_not_whole_is_not_taken(void **state)
{
    (void)state;
    struct simdisk *disks[] = {simdisk_new(), simdisk_new()};
    struct store *from = open_on(0, disks[0]);
    struct store *to = open_on(1, disks[1]);
    struct store_image *image;
    struct store *installed = NULL;
    apply(from, 500);
    apply(to, 17);
    uint64_t hash = store_content_hash(to);
    assert_int_equal(store_checkpoint(from), ERR_OK);
    log_set_level(LOG_OFF);
    for (int how = 0; how < 6; how++) {
        struct store_incoming *incoming;
        assert_int_equal(store_image_open(from, &image), ERR_OK);
        uint64_t sent = how == 0 ? 0 : how == 1 ? 5000 : image->bytes;
        assert_int_equal(store_incoming_new(to, &incoming), ERR_OK);
        assert_int_equal(copy(image, sent, incoming, NULL), ERR_OK);
        if (how == 5) {
            store_incoming_free(incoming);
        } else {
            enum err err = store_incoming_finish(
                incoming, image->index + (how == 2), image->term + (how == 3),
                how == 4 ? no_conf : any_conf, &installed);
            assert_true(err != ERR_OK);
        }
        store_image_close(image);
        assert_int_equal(store_content_hash(to), hash);
    }
    log_set_level(LOG_INFO);
    store_close(to);
    to = open_on(1, disks[1]);
    assert_int_equal(store_content_hash(to), hash);
    transfer(from, &to);
    store_close(from);
    store_close(to);
    simdisk_free(disks[0]);
    simdisk_free(disks[1]);
}

/* ---- power losses ---- */

struct losses {
    uint64_t before; /* Hash of the content. */
    uint64_t after;  /* ... once the snapshot is in place. */
    bool done;       /* It was said to be in place. */
    uint64_t states;
    uint64_t found[2];
};

static void on_change(struct simdisk *disk, void *arg)
{
    struct losses *losses = arg;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *found = simdisk_crash(
            disk, seed < 2 ? (enum simdisk_keep)seed : SIMDISK_SOME,
            seed + losses->states * 31);
        struct store *store = open_on(2, found);
        uint64_t hash = store_content_hash(store);
        assert_true(hash == losses->after ||
                    (hash == losses->before && !losses->done));
        losses->found[hash == losses->after]++;
        store_close(store);
        store = open_on(2, found);
        assert_int_equal(store_content_hash(store), hash);
        store_close(store);
        simdisk_free(found);
        losses->states++;
    }
}

static void test_power_lost_at_every_change(void **state)
{
    (void)state;
    static struct losses losses;
    struct simdisk *disks[] = {simdisk_new(), simdisk_new()};
    struct store *from = open_on(0, disks[0]);
    struct store *to = open_on(1, disks[1]);
    struct store_image *image;
    struct store_incoming *incoming;
    struct store *installed;
    apply(from, 200);
    apply(to, 17);
    assert_int_equal(store_checkpoint(from), ERR_OK);
    assert_int_equal(store_checkpoint(to), ERR_OK);
    losses.before = store_content_hash(to);
    losses.after = store_content_hash(from);
    simdisk_set_hook(disks[1], on_change, &losses);
    assert_int_equal(store_image_open(from, &image), ERR_OK);
    assert_int_equal(store_incoming_new(to, &incoming), ERR_OK);
    assert_int_equal(copy(image, image->bytes, incoming, NULL), ERR_OK);
    assert_int_equal(store_incoming_finish(incoming, image->index, image->term,
                                           any_conf, &installed),
                     ERR_OK);
    store_image_close(image);
    losses.done = true;
    store_close(to);
    store_tidy(installed);
    simdisk_set_hook(disks[1], NULL, NULL);
    printf("%llu crash states, %llu with the snapshot\n",
           (unsigned long long)losses.states,
           (unsigned long long)losses.found[1]);
    assert_true(losses.found[0] > 0 && losses.found[1] > 0);
    store_close(installed);
    store_close(from);
    simdisk_free(disks[0]);
    simdisk_free(disks[1]);
}

/* Every call of the receiver's disk fails once: then there is no snapshot,
 * nothing is in the way of the next, and that one succeeds. */
static void test_every_call_fails_once(void **state)
{
    (void)state;
    struct simdisk *disks[] = {simdisk_new(), simdisk_new()};
    struct store *from = open_on(0, disks[0]);
    apply(from, 100);
    assert_int_equal(store_checkpoint(from), ERR_OK);
    uint64_t hash = store_content_hash(from);
    log_set_level(LOG_OFF);
    unsigned failures = 0;
    for (uint64_t n = 1;; n++) {
        struct store_image *image;
        struct store_incoming *incoming = NULL;
        struct store *installed = NULL;
        struct store *to = open_on(1, disks[1]);
        assert_int_equal(store_image_open(from, &image), ERR_OK);
        simdisk_fail(disks[1], n, ERR_NOSPACE);
        enum err err = store_incoming_new(to, &incoming);
        if (!err) {
            err = copy(image, image->bytes, incoming, NULL);
            if (err) {
                store_incoming_free(incoming);
            }
        }
        if (!err) {
            err = store_incoming_finish(incoming, image->index, image->term,
                                        any_conf, &installed);
        }
        store_image_close(image);
        bool failed = simdisk_failed(disks[1]);
        simdisk_fail(disks[1], 0, ERR_OK);
        store_close(to);
        if (!err) {
            assert_int_equal(store_content_hash(installed), hash);
            store_close(installed);
        }
        if (err) {
            assert_int_equal(err, ERR_NOSPACE);
            failures++;
        }
        /* Whichever it was, the directory opens. */
        to = open_on(1, disks[1]);
        store_close(to);
        simdisk_free(disks[1]);
        disks[1] = simdisk_new();
        if (!failed) {
            break;
        }
    }
    log_set_level(LOG_INFO);
    assert_true(failures > 5);
    store_close(from);
    simdisk_free(disks[0]);
    simdisk_free(disks[1]);
}

/* ---- images while the database changes ---- */

struct seen {
    struct store_image *image;
    uint8_t *whole; /* The file as it was when the image was opened. */
    uint64_t index;
};

static struct seen see(struct store *store, struct simdisk *disk)
{
    struct seen seen = {0};
    size_t size = 0;
    assert_int_equal(store_image_open(store, &seen.image), ERR_OK);
    const uint8_t *bytes =
        simdisk_bytes(disk, "db/gen-0000001/state.db", &size);
    assert_int_equal(size, seen.image->bytes);
    assert_int_equal(seen.image->index, store_durable(store));
    seen.whole = mem_alloc(size);
    memcpy(seen.whole, bytes, size);
    seen.index = seen.image->index;
    return seen;
}

static void forget(struct seen *seen)
{
    store_image_close(seen->image);
    mem_free(seen->whole);
    *seen = (struct seen){0};
}

/* True at its end. */
static bool read_on(struct seen *seen, size_t most)
{
    static uint8_t chunk[CHUNK];
    uint64_t at = seen->image->at;
    size_t size = (size_t)min_u64(most, seen->image->bytes - at);
    assert_int_equal(store_image_read(seen->image, chunk, size), ERR_OK);
    assert_memory_equal(chunk, seen->whole + at, size);
    return seen->image->at == seen->image->bytes;
}

static bool has_file(const struct fs *fs, const char *path)
{
    int handle;
    enum err err = fs->open(fs->self, path, FS_READ, &handle);
    if (!err) {
        fs->close(fs->self, handle);
    }
    return err == ERR_OK;
}

/* The maximum number of images, each begun at a different moment and read at a
 * different pace in pieces that are no pages, while every page is overwritten
 * again and again: the content of each does not change. */
static void test_each_image_stays_what_it_was(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct store *store = open_on(0, disk);
    struct seen seen[STORE_IMAGES_MAX] = {0};
    unsigned read = 0;
    apply(store, 400);
    assert_int_equal(store_checkpoint(store), ERR_OK);
    for (unsigned round = 0; read < 12; round++) {
        for (size_t i = 0; i < ARRAY_COUNT(seen); i++) {
            if (!seen[i].image) {
                seen[i] = see(store, disk);
            } else if (read_on(&seen[i], 1000 + 2777 * i)) {
                assert_true(seen[i].index < store_durable(store));
                forget(&seen[i]);
                read++;
            }
        }
        struct store_image *more;
        if (round == 0) {
            assert_int_equal(store_image_open(store, &more), ERR_BUSY);
        }
        apply(store, 30);
        assert_int_equal(store_checkpoint(store), ERR_OK);
        assert_int_equal(store_durable(store), store_applied(store));
    }
    for (size_t i = 0; i < ARRAY_COUNT(seen); i++) {
        if (seen[i].image) {
            forget(&seen[i]);
        }
    }
    assert_false(store_is_held(store));
    assert_false(has_file(simdisk_fs(disk), "db/image-0.tmp"));
    store_close(store);
    simdisk_free(disk);
}

/* A checkpoint writes old pages aside, and many new ones in place at once.
 * Without room for one the image is lost, and nothing else; without room for
 * the other the checkpoint is not whole, and the image is. */
static void test_no_space_during_an_image(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    unsigned lost = 0;
    unsigned torn = 0;
    log_set_level(LOG_OFF);
    for (uint64_t n = 1;; n++) {
        struct store *store = open_on(0, disk);
        apply(store, 400);
        assert_int_equal(store_checkpoint(store), ERR_OK);
        struct seen seen = see(store, disk);
        uint64_t durable = store_durable(store);
        apply(store, 400);
        simdisk_fail(disk, n, ERR_NOSPACE);
        assert_int_equal(store_checkpoint(store), ERR_OK);
        bool failed = simdisk_failed(disk);
        bool whole = store_durable(store) > durable;
        simdisk_fail(disk, 0, ERR_OK);
        uint8_t byte;
        if (failed && whole) {
            assert_int_equal(store_image_read(seen.image, &byte, 1),
                             ERR_NOSPACE);
            lost++;
        } else {
            assert_true(whole || failed);
            torn += !whole;
            while (!read_on(&seen, CHUNK)) {
            }
        }
        forget(&seen);
        assert_int_equal(store_checkpoint(store), ERR_OK);
        seen = see(store, disk);
        apply(store, 400);
        assert_int_equal(store_checkpoint(store), ERR_OK);
        while (!read_on(&seen, CHUNK)) {
        }
        forget(&seen);
        store_close(store);
        if (!failed) {
            break;
        }
    }
    log_set_level(LOG_INFO);
    assert_true(lost > 10 && torn > 2);
    simdisk_free(disk);
}

/* Power is lost at any change while an image is open. */
static void on_change_during_image(struct simdisk *disk, void *arg)
{
    uint64_t *durable = arg;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *found = simdisk_crash(
            disk, seed < 2 ? (enum simdisk_keep)seed : SIMDISK_SOME, seed);
        struct store *store = open_on(2, found);
        assert_true(store_applied(store) >= *durable);
        for (unsigned slot = 0; slot < STORE_IMAGES_MAX; slot++) {
            char path[FS_PATH_BYTES];
            snprintf(path, sizeof(path), "db/image-%u.tmp", slot);
            assert_false(has_file(simdisk_fs(found), path));
        }
        store_close(store);
        simdisk_free(found);
    }
}

static void test_power_loss_during_an_image(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct store *store = open_on(0, disk);
    uint64_t durable;
    apply(store, 60);
    assert_int_equal(store_checkpoint(store), ERR_OK);
    struct seen seen = see(store, disk);
    durable = store_durable(store);
    simdisk_set_hook(disk, on_change_during_image, &durable);
    do {
        apply(store, 10);
        assert_int_equal(store_checkpoint(store), ERR_OK);
        durable = store_durable(store);
    } while (!read_on(&seen, CHUNK));
    forget(&seen);
    simdisk_set_hook(disk, NULL, NULL);
    store_close(store);
    simdisk_free(disk);
}

/* ---- a checkpoint in steps ---- */

struct steps {
    uint64_t hash[2000]; /* Content hash by applied index; 0: unknown. */
    uint64_t durable;
    uint64_t states;
};

static void on_change_in_steps(struct simdisk *disk, void *arg)
{
    struct steps *steps = arg;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct simdisk *found = simdisk_crash(
            disk, seed < 2 ? (enum simdisk_keep)seed : SIMDISK_SOME,
            seed + steps->states);
        struct store *store = open_on(2, found);
        uint64_t applied = store_applied(store);
        assert_true(applied >= steps->durable);
        assert_true(store_content_hash(store) == steps->hash[applied]);
        store_close(store);
        simdisk_free(found);
        steps->states++;
    }
}

static void commit_some(struct store *store, struct steps *steps,
                        struct simdisk *disk)
{
    simdisk_set_hook(disk, NULL, NULL);
    struct simdisk *model = simdisk_crash(disk, SIMDISK_ALL, 0);
    struct store *ahead = open_on(3, model);
    apply(ahead, 7);
    steps->hash[store_applied(ahead)] = store_content_hash(ahead);
    store_close(ahead);
    simdisk_free(model);
    simdisk_set_hook(disk, on_change_in_steps, steps);
    apply(store, 7);
}

static uint64_t handles_of(const struct simdisk *disk)
{
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    return counts.handles;
}

/* Asynchronous syncs complete at the second poll. */
struct patience {
    unsigned asked;
    bool breaks; /* The disk, meanwhile. */
    struct simdisk *disk;
};

static void sync_begins(void *arg)
{
    struct patience *patience = arg;
    patience->asked = 0;
    if (patience->breaks) {
        simdisk_fail(patience->disk, 1, ERR_IO);
    }
}

static bool sync_ended(void *arg, bool wait)
{
    struct patience *patience = arg;
    return wait || ++patience->asked == 2;
}

static void use_async_sync(struct simdisk *disk, struct patience *patience)
{
    patience->disk = disk;
    simdisk_set_async(disk, &(struct simdisk_async){.submit_sync = sync_begins,
                                                    .sync_done = sync_ended,
                                                    .arg = patience});
}

/* Whatever is committed between which steps, and wherever power is lost. */
static void checkpoint_in_steps(struct patience *patience)
{
    static struct steps steps;
    struct simdisk *disk = simdisk_new();
    if (patience) {
        use_async_sync(disk, patience);
    }
    struct store *store = open_on(0, disk);
    unsigned whole = 0;
    steps = (struct steps){.hash = {store_content_hash(store)}};
    for (unsigned round = 0; round < 90;) {
        uint64_t applied = store_applied(store);
        bool more = store_checkpoint_step(store);
        if (store_durable(store) > steps.durable) {
            assert_int_equal(store_durable(store), applied);
            assert_false(more);
            whole++;
        }
        steps.durable = store_durable(store);
        if (store_is_syncing(store)) {
            assert_true(more && patience);
            continue;
        }
        round++;
        if (round % 7 != 2 && round % 5 != 3 && round % 3 != 1) {
            commit_some(store, &steps, disk);
        }
    }
    simdisk_set_hook(disk, NULL, NULL);
    printf("%u checkpoints, %llu crash states\n", whole,
           (unsigned long long)steps.states);
    assert_true(whole > 2 && steps.states > 1000);
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    assert_true(patience ? counts.async_syncs > 2 * whole
                         : counts.async_syncs == 0);
    store_close(store);
    assert_int_equal(handles_of(disk), 0);
    simdisk_free(disk);
}

static void test_a_checkpoint_in_steps(void **state)
{
    (void)state;
    struct patience patience = {0};
    checkpoint_in_steps(NULL);
    checkpoint_in_steps(&patience);
}

static uint64_t async_syncs_of(const struct simdisk *disk)
{
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    return counts.async_syncs;
}

/* A large -wal is copied a few pages per step, and with asynchronous syncs the
 * disk has them before the next step. Wherever power is lost between them, and
 * whatever was copied already, the state is the last one. */
static void copy_in_slices(struct patience *patience)
{
    enum { PAGES = 2 };
    static struct steps steps;
    struct simdisk *disk = simdisk_new();
    if (patience) {
        use_async_sync(disk, patience);
    }
    struct store *store;
    struct store_options options = {.vfs = simvfs_name,
                                    .checkpoint_pages = PAGES};
    simvfs_mount(0, disk);
    options.fs = simdisk_fs(disk);
    assert_int_equal(store_open(&options, &store), ERR_OK);
    steps = (struct steps){.hash = {store_content_hash(store)}};
    apply(store, 40);
    uint64_t applied = store_applied(store);
    uint64_t pages = store_wal_bytes(store) / 4096;
    steps.hash[applied] = store_content_hash(store);
    assert_true(store_checkpoint_step(store)); /* The -wal is synced. */
    while (store_is_syncing(store)) {
        assert_true(store_checkpoint_step(store));
    }
    steps.durable = applied;
    simdisk_set_hook(disk, on_change_in_steps, &steps);
    uint64_t count = 0;
    uint64_t copied = 0;
    for (bool more = true; more;) {
        struct store_stats before;
        struct store_stats after;
        assert_true(store_durable(store) < applied);
        store_get_stats(store, &before);
        more = store_checkpoint_step(store);
        store_get_stats(store, &after);
        uint64_t bytes = after.written_bytes - before.written_bytes;
        assert_true(bytes <= PAGES * 4096);
        assert_true(!patience || bytes == 0 || store_is_syncing(store));
        copied += bytes / 4096;
        count += bytes > 0;
        assert_true(store_content_hash(store) == steps.hash[applied]);
    }
    simdisk_set_hook(disk, NULL, NULL);
    /* Each page once, however many frames it has. */
    assert_in_range(copied, 4 * PAGES, pages);
    assert_in_range(count, copied / PAGES, copied / PAGES + 1);
    assert_int_equal(store_durable(store), applied);
    assert_int_equal(store_wal_bytes(store), 0);
    assert_true(steps.states > 20);
    assert_true(async_syncs_of(disk) >= (patience ? copied / PAGES : 0));
    store_close(store);
    simdisk_free(disk);
}

static void test_pages_are_copied_in_slices(void **state)
{
    (void)state;
    struct patience patience = {0};
    copy_in_slices(NULL);
    copy_in_slices(&patience);
}

/* A checkpoint, in whichever step of which the disk breaks; true: the process
 * has ended. */
static bool dies_of_a_sync(unsigned breaks_in)
{
    struct patience patience = {.breaks = breaks_in == 0};
    struct simdisk *disk = simdisk_new();
    use_async_sync(disk, &patience);
    struct store *store = open_on(0, disk);
    apply(store, 7);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        log_set_level(LOG_OFF);
        for (unsigned step = 0; store_checkpoint_step(store); step++) {
            patience.breaks = step + 1 == breaks_in;
        }
        _exit(0);
    }
    int status;
    assert_true(waitpid(child, &status, 0) == child);
    store_close(store);
    simdisk_free(disk);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* A failed sync is never reported as durable. */
static void test_an_asynchronous_sync_fails(void **state)
{
    (void)state;
    unsigned died = 0;
    for (unsigned breaks_in = 0; breaks_in < 9; breaks_in++) {
        died += dies_of_a_sync(breaks_in);
    }
    assert_int_equal(died, 2);
}

/* Closing waits for it: it has a handle. */
static void test_closed_while_it_syncs(void **state)
{
    (void)state;
    struct patience patience = {0};
    struct simdisk *disk = simdisk_new();
    use_async_sync(disk, &patience);
    struct store *store = open_on(0, disk);
    apply(store, 7);
    assert_true(store_checkpoint_step(store));
    assert_true(store_is_syncing(store));
    store_close(store);
    assert_int_equal(handles_of(disk), 0);
    store = open_on(0, disk);
    assert_int_equal(store_applied(store), 7);
    /* Without patience, whatever was begun. */
    apply(store, 7);
    assert_true(store_checkpoint_step(store));
    assert_int_equal(store_checkpoint(store), ERR_OK);
    assert_int_equal(store_durable(store), 14);
    store_close(store);
    simdisk_free(disk);
}

static uint64_t writes_of(const struct simdisk *disk)
{
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    return counts.writes;
}

/* Sixteen adjacent pages are written with one call, and nothing is buffered
 * after a commit or a checkpoint. */
static void test_writes_are_gathered(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct store *store = open_on(0, disk);
    uint64_t before = writes_of(disk);
    apply(store, 2000);
    assert_int_equal(store_flush(store), ERR_OK);
    uint64_t pages = store_wal_bytes(store) / 4096;
    assert_true(pages > 30);
    assert_true(writes_of(disk) - before < pages / 4);
    struct simdisk *killed = simdisk_killed(disk);
    struct store *found = open_on(2, killed);
    assert_int_equal(store_applied(found), 2000);
    store_close(found);
    simdisk_free(killed);

    before = writes_of(disk);
    assert_int_equal(store_checkpoint(store), ERR_OK);
    assert_true(writes_of(disk) - before < pages / 4);
    store_close(store);
    simdisk_free(disk);
}

static int install(void **state)
{
    (void)state;
    simvfs_install();
    return 0;
}

static int tidy(void **state)
{
    (void)state;
    buf_free(&command);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk_to_disk),
        cmocka_unit_test(test_memory_and_disk),
        cmocka_unit_test(test_what_is_not_whole_is_not_taken),
        cmocka_unit_test(test_power_lost_at_every_change),
        cmocka_unit_test(test_every_call_fails_once),
        cmocka_unit_test(test_each_image_stays_what_it_was),
        cmocka_unit_test(test_no_space_during_an_image),
        cmocka_unit_test(test_power_loss_during_an_image),
        cmocka_unit_test(test_a_checkpoint_in_steps),
        cmocka_unit_test(test_pages_are_copied_in_slices),
        cmocka_unit_test(test_an_asynchronous_sync_fails),
        cmocka_unit_test(test_closed_while_it_syncs),
        cmocka_unit_test(test_writes_are_gathered),
    };
    return cmocka_run_group_tests(tests, install, tidy);
}
