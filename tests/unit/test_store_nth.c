/* test_store_nth.c -- the state machine when the n-th call to the disk fails,
 * or SQLite's n-th allocation, once or from then on (SQLite's method).
 * A02, A03, D08, D09, D18.
 *
 * A process applies a fixed log; after the failure it goes on, gives up with
 * an error, or ends itself, and is started again, until all is applied.
 * Whatever is found is exactly the state after some flush, nothing in between:
 * after the end of a process the last that was acknowledged or the one under
 * way, after a power loss not older than the last checkpoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/log.h"
#include "command/command.h"
#include "store/store.h"
#include "support/dying.h"
#include "support/failfs.h"
#include "support/nth.h"
#include "support/simvfs.h"

enum {
    ENTRIES = 32,
    KEYS = 10,
    FLUSH_EVERY = 4,
    REOPEN_AT = 14,
    CHECKPOINT_BYTES = 32 * 4096,
    RESERVE_BYTES = 4 * 4096,
    LOOKS = 24,
    TRIES = 3, /* Before a failure that lasts is repaired. */
    DISK = 0,
    IMAGE = 1, /* Mount of the copies of the disk. */
};

/* ---- SQLite's memory ---- */

/* An allocation of SQLite, linked so that allocations can fail, and so that the
 * leaks of a dead process can be freed. */
struct block {
    struct block *next;
    struct block **link; /* To this one. */
    size_t size;
    bool of_process;
};

static struct {
    struct block *blocks;
    uint64_t n; /* As in struct failfs_fault. */
    bool for_ever;
    uint64_t hits;
    bool in_process;
} memory;

static bool refuse_memory(void)
{
    if (memory.n == 0 || !memory.in_process) {
        return false;
    }
    if (memory.n > 1) {
        memory.n--;
        return false;
    }
    if (!memory.for_ever) {
        memory.n = 0;
    }
    memory.hits++;
    return true;
}

static struct block *block_of(void *data)
{
    return (struct block *)data - 1;
}

static void chain_in(struct block *block)
{
    block->next = memory.blocks;
    block->link = &memory.blocks;
    if (block->next) {
        block->next->link = &block->next;
    }
    memory.blocks = block;
}

static void chain_out(struct block *block)
{
    *block->link = block->next;
    if (block->next) {
        block->next->link = block->link;
    }
}

static void *memory_get(int size)
{
    if (refuse_memory()) {
        return NULL;
    }
    struct block *block = mem_alloc(sizeof(*block) + (size_t)size);
    block->size = (size_t)size;
    block->of_process = memory.in_process;
    chain_in(block);
    return block + 1;
}

static void memory_put(void *data)
{
    if (data) {
        chain_out(block_of(data));
        mem_free(block_of(data));
    }
}

static void *memory_resize(void *data, int size)
{
    if (refuse_memory()) {
        return NULL;
    }
    struct block *block = block_of(data);
    chain_out(block);
    block = mem_realloc(block, sizeof(*block) + (size_t)size);
    block->size = (size_t)size;
    chain_in(block);
    return block + 1;
}

static int memory_size(void *data)
{
    return data ? (int)block_of(data)->size : 0;
}

static int memory_round(int size)
{
    return (size + 7) & ~7;
}

static int memory_begin(void *arg)
{
    (void)arg;
    return SQLITE_OK;
}

static void memory_end(void *arg)
{
    (void)arg;
}

/* The process is gone, and its memory with it. How many blocks it held. */
static size_t memory_drop(void)
{
    size_t count = 0;
    struct block *next;
    for (struct block *block = memory.blocks; block; block = next) {
        next = block->next;
        if (block->of_process) {
            chain_out(block);
            mem_free(block);
            count++;
        }
    }
    return count;
}

/* As the daemon has it: one thread, no bookkeeping. */
static void memory_install(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = memory_get,
        .xFree = memory_put,
        .xRealloc = memory_resize,
        .xSize = memory_size,
        .xRoundup = memory_round,
        .xInit = memory_begin,
        .xShutdown = memory_end,
    };
    must(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK);
    must(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
    must(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
}

/* ---- the log, and what it makes ---- */

struct pair {
    bool there;
    uint64_t create;
    uint64_t modify;
    uint64_t seed;
    size_t size;
};

struct model {
    struct pair pairs[KEYS];
    uint64_t key_count;
    uint64_t conf;
    uint64_t hash; /* As a store without trouble has it. */
};

static struct model models[ENTRIES + 1]; /* [applied] */

static bool is_noop(uint64_t index)
{
    return index % 12 == 5;
}

static bool is_conf(uint64_t index)
{
    return index % 12 == 9;
}

static struct bytes key_of(uint64_t key)
{
    static uint8_t text[8] = "key-00";
    text[4] = (uint8_t)('0' + key / 10);
    text[5] = (uint8_t)('0' + key % 10);
    return bytes_of(text, 6);
}

static struct bytes value_of(uint64_t seed, size_t size)
{
    static uint8_t value[8192];
    must(size <= sizeof(value));
    for (size_t i = 0; i < size; i++) {
        value[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
    }
    return bytes_of(value, size);
}

static struct bytes conf_of(uint64_t index)
{
    static char text[32];
    snprintf(text, sizeof(text), "members-%llu", (unsigned long long)index);
    return bytes_of_string(text);
}

/* Write the command of an entry, or do it to a model; either may be NULL. */
static void each_op(uint64_t index, struct command_writer *writer,
                    struct model *model)
{
    for (uint64_t j = 0; j < 1 + index % 3; j++) {
        uint64_t key = (index * 7 + j * 3) % KEYS;
        uint64_t seed = index * 4 + j;
        size_t size = (index * 397 + j * 1100) % 6000;
        bool removes = (index + j) % 5 == 0;
        if (writer && removes) {
            command_delete(writer, key_of(key));
        } else if (writer) {
            command_put(writer, key_of(key), value_of(seed, size));
        }
        if (!model) {
            continue;
        }
        struct pair *pair = &model->pairs[key];
        model->key_count -= pair->there;
        uint64_t create = pair->there ? pair->create : index;
        *pair = (struct pair){.there = !removes,
                              .create = create,
                              .modify = index,
                              .seed = seed,
                              .size = size};
        model->key_count += pair->there;
    }
}

static struct buf command;

static enum err apply(struct store *store, uint64_t index)
{
    uint64_t term = index / 10 + 1;
    if (is_noop(index)) {
        store_apply_noop(store, index, term);
        return ERR_OK;
    }
    if (is_conf(index)) {
        store_apply_conf(store, index, term, conf_of(index));
        return ERR_OK;
    }
    struct command_writer writer;
    struct store_result result;
    command.size = 0;
    command_begin(&writer, &command);
    each_op(index, &writer, NULL);
    command_end(&writer);
    return store_apply(store, index, term, buf_bytes(&command), &result);
}

static void check_content(struct store *store)
{
    uint64_t applied = store_applied(store);
    assert_true(applied <= ENTRIES);
    const struct model *model = &models[applied];
    assert_int_equal(store_hash(store), model->hash);
    assert_int_equal(store_key_count(store), model->key_count);
    assert_int_equal(store_applied_term(store), applied ? applied / 10 + 1 : 0);
    uint64_t index;
    struct bytes conf = store_conf(store, &index);
    assert_int_equal(index, model->conf);
    assert_true(bytes_equal(conf, index ? conf_of(index) : bytes_of("", 0)));
    for (uint64_t key = 0; key < KEYS; key++) {
        const struct pair *pair = &model->pairs[key];
        struct store_row row;
        enum err err = store_get(store, key_of(key), &row);
        assert_int_equal(err, pair->there ? ERR_OK : ERR_NOT_FOUND);
        if (pair->there) {
            assert_true(
                bytes_equal(row.value, value_of(pair->seed, pair->size)));
            assert_int_equal(row.create_index, pair->create);
            assert_int_equal(row.modify_index, pair->modify);
        }
    }
}

/* ---- a process ---- */

struct machine {
    struct simdisk *disk;
    struct failfs fail;
    struct failfs_fault fault; /* As it was asked for; or `nomem`. */
    bool nomem;
    struct store *store;
    uint64_t acked;       /* store_flush() has returned for it. */
    uint64_t next;        /* It was called for this. */
    uint64_t safe;        /* The last checkpoint that came to its end. */
    uint64_t began;       /* Applied when the process was started. */
    uint64_t checkpoints; /* Since then. */
    uint64_t refusals;
    uint64_t starts;
    uint64_t deaths;
    uint64_t looks;
    bool reopened;
    bool done;
};

static uint64_t hits(const struct machine *m)
{
    return m->fail.hits + memory.hits;
}

static void heal(struct machine *m)
{
    failfs_heal(&m->fail);
    memory.n = 0;
}

static enum err open_on(const struct fs *fs, struct store **store)
{
    struct store_options options = {
        .fs = fs, .vfs = simvfs_name, .reserve_bytes = RESERVE_BYTES};
    return store_open(&options, store);
}

static bool is_flush_point(uint64_t applied)
{
    return applied % FLUSH_EVERY == 0 || applied == REOPEN_AT;
}

/* Power is lost now, and there is no more trouble after it. */
static void look(struct machine *m, enum simdisk_keep keep, uint64_t seed)
{
    struct simdisk *after = simdisk_crash(m->disk, keep, seed);
    struct store *store = NULL;
    bool in_process = memory.in_process;
    jmp_buf *to = dying_to;
    memory.in_process = false;
    dying_to = NULL;
    simvfs_mount(IMAGE, after);
    assert_int_equal(open_on(simdisk_fs(after), &store), ERR_OK);
    uint64_t applied = store_applied(store);
    assert_true(is_flush_point(applied));
    bool from_disk = keep != SIMDISK_ALL || m->fault.done == FAILFS_DROPPED;
    assert_in_range(applied, from_disk ? m->safe : m->acked, m->next);
    check_content(store);
    store_close(store);
    simdisk_free(after);
    memory.in_process = in_process;
    dying_to = to;
    nth_total.images++;
}

/* A process goes on with what another has left in memory. */
static void on_change(struct simdisk *disk, void *arg)
{
    struct machine *m = arg;
    (void)disk;
    if (m->deaths > 0 && m->looks < LOOKS) {
        m->looks++;
        look(m, SIMDISK_SOME, m->fault.n * 31 + m->looks);
    }
}

static enum err expected_err(const struct machine *m)
{
    return m->nomem ? ERR_RESOURCES : m->fault.err;
}

/* False: it gives up. */
static bool start(struct machine *m)
{
    enum err err = open_on(&m->fail.fs, &m->store);
    if (err) {
        assert_true(hits(m) > 0);
        /* SQLite does not tell why a file could not be opened. */
        if (err != ERR_IO || m->fault.call != FAILFS_OPEN) {
            assert_int_equal(err, expected_err(m));
        }
        nth_total.errors++;
        return false;
    }
    uint64_t applied = store_applied(m->store);
    if (m->fault.done == FAILFS_DROPPED) {
        assert_true(is_flush_point(applied));
        assert_in_range(applied, m->safe, m->next);
        check_content(m->store);
    } else {
        assert_true(applied == m->acked || applied == m->next);
    }
    m->acked = applied;
    m->next = applied;
    m->began = applied;
    m->checkpoints = 0;
    return true;
}

static void stop(struct machine *m)
{
    struct store *store = m->store;
    m->store = NULL;
    store_close(store);
}

/* No space: everything that was applied is still there, whole and readable, and
 * nothing more is flushed. */
static void on_refusal(struct machine *m, enum err err)
{
    assert_true(err_is_shortage(err));
    assert_int_equal(err, expected_err(m));
    assert_true(hits(m) > 0);
    assert_true(m->fault.for_ever || m->refusals == 0);
    assert_int_equal(store_flushed(m->store), m->acked);
    assert_false(store_is_flushing(m->store));
    /* What was read from the database before is not in memory any more. */
    uint64_t n = memory.n;
    memory.n = 0;
    check_content(m->store);
    memory.n = n;
    look(m, SIMDISK_ALL, 0);
    nth_total.refusals++;
    if (++m->refusals == TRIES) {
        heal(m);
    }
}

static void flush(struct machine *m)
{
    struct store_stats before;
    struct store_stats after;
    store_get_stats(m->store, &before);
    m->next = store_applied(m->store);
    enum err err = store_flush(m->store);
    if (err) {
        on_refusal(m, err);
        return;
    }
    m->acked = m->next;
    if (store_checkpoint_bytes(m->store) >= CHECKPOINT_BYTES) {
        while (store_checkpoint_step(m->store)) {
            continue; /* Asynchronous syncs complete when polled. */
        }
    }
    store_get_stats(m->store, &after);
    if (after.checkpoints > before.checkpoints) {
        nth_total.checkpoints++;
        m->checkpoints++;
        if (hits(m) == 0) {
            m->safe = m->acked;
        }
    }
}

/* It may fail to be made: then one does without, or tries again. */
static void prepare(struct machine *m)
{
    while (store_prepare(m->store)) {
    }
    assert_true(!store_shortage(m->store) ||
                (hits(m) > 0 && err_is_shortage(expected_err(m))));
}

static void live(struct machine *m)
{
    if (!start(m)) {
        return;
    }
    prepare(m);
    while (m->acked < ENTRIES) {
        uint64_t index = store_applied(m->store);
        if (index % FLUSH_EVERY == 0 && index > m->acked) {
            flush(m);
            prepare(m);
            continue;
        }
        enum err err = apply(m->store, ++index);
        if (err) {
            on_refusal(m, err);
            continue;
        }
        assert_int_equal(store_hash(m->store), models[index].hash);
        if (index == REOPEN_AT && !m->reopened) {
            m->reopened = true;
            m->next = index;
            stop(m);
            if (!start(m)) {
                return;
            }
        }
    }
    m->done = true;
}

/* ---- and its machine ---- */

static void use_disk(struct machine *m, struct simdisk *disk)
{
    if (m->disk) {
        simdisk_free(m->disk);
    }
    m->disk = disk;
    m->fail.under = simdisk_fs(disk);
    simvfs_mount(DISK, disk);
    simvfs_set_failfs(DISK, &m->fail);
}

/* It may end itself after an error of the disk or without memory, never for
 * lack of space, which can be waited for. */
static void bury(struct machine *m)
{
    assert_true(hits(m) > 0);
    assert_true(m->nomem || expected_err(m) == ERR_IO);
    assert_true(strlen(dying_words) > 20); /* A sentence. */
    nth_total.deaths++;
    m->deaths++;
    m->store = NULL;
    memory_drop();
    look(m, m->fault.n % 2 ? SIMDISK_NOTHING : SIMDISK_SOME, m->fault.n);
    if (m->fault.done != FAILFS_DROPPED) {
        use_disk(m, simdisk_crash(m->disk, SIMDISK_ALL, 0));
    }
}

/* A process that does this and ends, by itself or before. */
static void run_process(struct machine *m, void (*work)(struct machine *m))
{
    jmp_buf here;
    dying_to = &here;
    memory.in_process = true;
    if (setjmp(here) == 0) {
        work(m);
        stop(m);
        memory.in_process = false;
        dying_to = NULL;
        assert_int_equal(memory_drop(), 0);
    } else {
        memory.in_process = false;
        bury(m);
    }
}

static void live_and_check(struct machine *m)
{
    live(m);
    if (m->done) {
        heal(m);
        prepare(m);
        assert_int_equal(store_shortage(m->store), ERR_OK);
        check_content(m->store);
        assert_true(m->checkpoints > 0 || m->began > REOPEN_AT);
    }
}

static void run_machine(struct machine *m)
{
    while (!m->done) {
        assert_true(++m->starts < 3 + TRIES);
        if (m->starts == TRIES) {
            heal(m);
        }
        run_process(m, live_and_check);
    }
}

/* True when the failure came. */
static bool try_one(const struct failfs_fault *fault, bool nomem)
{
    static struct machine machine;
    struct machine *m = &machine;
    size_t heap = dying_heap();
    *m = (struct machine){.fault = *fault, .nomem = nomem};
    failfs_init(&m->fail, NULL);
    /* Outside SQLite a sync that fails for lack of space is in doubt, as it is
     * in SQLite's own VFS; ours takes it for a refusal. */
    bool doubt = fault->call == FAILFS_FDATASYNC && fault->err == ERR_NOSPACE;
    if (fault->n % 2 == 0 && !doubt) {
        failfs_set_async(&m->fail);
    }
    memory.hits = 0;
    if (nomem) {
        memory.n = fault->n;
        memory.for_ever = fault->for_ever;
    } else {
        failfs_fail(&m->fail, fault);
    }
    use_disk(m, simdisk_new());
    if (fault->done == FAILFS_DROPPED) {
        simdisk_set_hook(m->disk, on_change, m);
    }
    run_machine(m);
    bool hit = hits(m) > 0;
    simdisk_set_hook(m->disk, NULL, NULL);
    assert_int_equal(m->acked, ENTRIES);
    look(m, SIMDISK_SOME, fault->n);
    struct simdisk_counts counts;
    simdisk_get_counts(m->disk, &counts);
    if (m->deaths == 0 || fault->done != FAILFS_DROPPED) {
        assert_int_equal(counts.handles, 0);
    }
    simdisk_free(m->disk);
    if (m->deaths == 0) {
        assert_int_equal(dying_heap(), heap);
    }
    return hit;
}

static bool try_fault(const struct failfs_fault *fault)
{
    return try_one(fault, false);
}

/* Only `n` and `for_ever` of the fault count. */
static bool try_nomem(const struct failfs_fault *fault)
{
    return try_one(fault, true);
}

/* All of the first, while the database is made, then some. */
static void every_n(struct failfs_fault fault)
{
    nth_every(fault, fault.done == FAILFS_NOTHING ? 40 : 8, 7, try_fault);
    fault.for_ever = true;
    nth_every(fault, 0, 13, try_fault);
}

static void test_io_error_at_the_nth_call(void **state)
{
    (void)state;
    nth_every_call(ERR_IO, FAILFS_LIST, every_n);
    assert_true(nth_total.deaths > 0 && nth_total.errors > 0 &&
                nth_total.refusals == 0);
}

static void test_no_space_at_the_nth_call(void **state)
{
    (void)state;
    nth_every_call(ERR_NOSPACE, FAILFS_LIST, every_n);
    assert_true(nth_total.deaths == 0 && nth_total.errors > 0 &&
                nth_total.refusals > 0);
}

static void test_no_resources_at_the_nth_call(void **state)
{
    (void)state;
    nth_every_call(ERR_RESOURCES, FAILFS_LIST, every_n);
    assert_true(nth_total.deaths == 0 && nth_total.errors > 0);
}

static void test_a_failed_sync_is_not_trusted_after_a_restart(void **state)
{
    (void)state;
    nth_dropped_syncs(try_fault);
}

static void test_no_memory_at_the_nth_allocation(void **state)
{
    (void)state;
    struct failfs_fault fault = {.for_ever = false};
    nth_begin();
    nth_every(fault, 0, 29, try_nomem);
    fault.for_ever = true;
    nth_every(fault, 0, 101, try_nomem);
    nth_print("no memory");
    assert_true(nth_total.refusals > 0 && nth_total.errors > 0);
}

static void start_only(struct machine *m)
{
    (void)start(m);
}

/* The next start finds files that were created before the failure, and
 * completes them. Returns true when the failure happened. */
static bool open_without_memory(uint64_t n)
{
    static struct machine machine;
    struct machine *m = &machine;
    *m = (struct machine){.nomem = true};
    failfs_init(&m->fail, NULL);
    use_disk(m, simdisk_new());
    memory.hits = 0;
    memory.n = n;
    memory.for_ever = false;
    run_process(m, start_only);
    assert_true(start(m));
    assert_int_equal(store_applied(m->store), 0);
    check_content(m->store);
    stop(m);
    simdisk_free(m->disk);
    return memory.hits > 0;
}

/* There are thousands of allocations, most of which SQLite makes while it
 * prepares statements: one in seven is enough to get to each of those. */
static void test_no_memory_while_opening(void **state)
{
    (void)state;
    nth_begin();
    for (uint64_t n = 1; open_without_memory(n); n += 7) {
        nth_total.points++;
    }
    nth_print("no memory while opening");
    assert_true(nth_total.errors > 0);
}

/* Check the model against a store without faults. */
static int setup(void **state)
{
    (void)state;
    struct simdisk *disk = simdisk_new();
    struct store *store = NULL;
    simvfs_mount(DISK, disk);
    if (open_on(simdisk_fs(disk), &store) != ERR_OK) {
        return -1;
    }
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        models[i] = models[i - 1];
        if (is_conf(i)) {
            models[i].conf = i;
        } else if (!is_noop(i)) {
            each_op(i, NULL, &models[i]);
        }
        if (apply(store, i) != ERR_OK) {
            return -1;
        }
        models[i].hash = store_hash(store);
    }
    store_close(store);
    simdisk_free(disk);
    return 0;
}

int main(void)
{
    log_set_level(LOG_OFF);
    dying_leaks();
    memory_install();
    simvfs_install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_io_error_at_the_nth_call),
        cmocka_unit_test(test_no_space_at_the_nth_call),
        cmocka_unit_test(test_no_resources_at_the_nth_call),
        cmocka_unit_test(test_a_failed_sync_is_not_trusted_after_a_restart),
        cmocka_unit_test(test_no_memory_at_the_nth_allocation),
        cmocka_unit_test(test_no_memory_while_opening),
    };
    int failed = cmocka_run_group_tests(tests, setup, NULL);
    buf_free(&command);
    return failed;
}
