/* fuzz_store_entries.c -- the input is a log: transactions with leases,
 * time-outs and stamps in any order, and steps of restores, as a leader with a
 * fault or one that lies could write them; between them tiers are frozen and
 * flushed, and the store is opened again.
 *
 * Properties: every well-formed entry is applied without a fault; time never
 * goes back, and no entry uses it up; a store that has applied the same entries
 * without any flush has the same hash, rows and deadlines. */
#include "command/command.h"
#include "store/store.h"
#include "support/simvfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KEYS = 6, ENTRIES_MAX = 300, OPS_MAX = 6, REOPENS_MAX = 4 };

static struct {
    struct cursor input;
    struct simdisk *disk;
    struct store *store; /* With flushes, on that disk. */
    struct store *plain; /* In memory, without. */
    struct fs *memory;
    uint64_t index;
    uint64_t stamp_ms;
    uint64_t rows; /* Rows of the restore. */
    uint64_t rows_hash;
    int reopens;
} machine;

static uint8_t next(void)
{
    return cursor_left(&machine.input) > 0 ? cursor_u8(&machine.input) : 0;
}

static void open_machine(void)
{
    struct store_options options = {.vfs = simvfs_name, .checkpoint_pages = 2};
    simvfs_mount(0, machine.disk);
    options.fs = simdisk_fs(machine.disk);
    must(store_open(&options, &machine.store) == ERR_OK);
}

/* ---- one entry ---- */

static struct bytes some_key(void)
{
    static const char keys[KEYS][4] = {"a", "ab", "abc", "b", "bc", "z"};
    return bytes_of_string(keys[next() % KEYS]);
}

static uint64_t some_ttl_ms(void)
{
    static const uint64_t ttls[] = {1, 100, 5000, COMMAND_TTL_MS_MAX};
    return ttls[next() % ARRAY_COUNT(ttls)];
}

/* Most entries grant none. */
static uint64_t some_lease(void)
{
    uint8_t which = next();
    return which == 0 ? COMMAND_LEASE_MAX : 1 + which % (machine.index + 1);
}

static struct command_op some_op(void)
{
    struct command_op op = {.type = 1 + next() % COMMAND_EXPIRE};
    switch (op.type) {
    case COMMAND_PUT:
        op.key = some_key();
        op.value = bytes_of_string("8");
        break;
    case COMMAND_DELETE:
    case COMMAND_DELETE_PREFIX:
    case COMMAND_GET:
        op.key = some_key();
        break;
    case COMMAND_INCR:
        op.key = some_key();
        op.by = next() % 4 == 0 ? INT64_MAX : 1;
        break;
    case COMMAND_PUT_TIMED:
        op.key = some_key();
        op.value = bytes_of_string("timed");
        if (next() % 2 == 0) {
            op.ttl_ms = some_ttl_ms();
        } else {
            op.lease = some_lease();
        }
        break;
    case COMMAND_TOUCH:
        op.key = some_key();
        op.ttl_ms = next() % 3 == 0 ? 0 : some_ttl_ms();
        break;
    case COMMAND_LEASE_GRANT:
        op.ttl_ms = some_ttl_ms();
        break;
    case COMMAND_LEASE_KEEP:
    case COMMAND_LEASE_REVOKE:
        op.lease = some_lease();
        break;
    case COMMAND_EXPIRE:
        op.limit = 1 + next() % 4;
        break;
    }
    return op;
}

static void add_ops(struct buf *out)
{
    struct command_writer list;
    command_list(&list, out);
    for (int left = next() % OPS_MAX; left > 0; left--) {
        struct command_op op = some_op();
        command_add(&list, &op);
    }
    command_end(&list);
}

static uint64_t some_stamp(void)
{
    uint8_t which = next();
    switch (which % 8) {
    case 0:
        return 1;
    case 1:
        return COMMAND_TIME_MS_MAX;
    case 2:
        return COMMAND_TIME_SOUND_MS - 1;
    default:
        return min_u64(machine.stamp_ms + which * which, COMMAND_TIME_MS_MAX);
    }
}

static void some_txn(struct buf *out)
{
    static const struct command_name names[] = {{{0}, 0},
                                                {{(const uint8_t *)"n", 1}, 0},
                                                {{(const uint8_t *)"m", 1}, 0}};
    struct buf plain = {0};
    struct command_txn txn;
    struct command_writer conditions;
    bool has_else = next() % 2;
    command_txn(&txn, &plain, &names[next() % ARRAY_COUNT(names)], has_else);
    command_txn_timed(&txn);
    command_list(&conditions, &plain);
    if (has_else) {
        command_if(&conditions,
                   &(struct command_condition){.field = COMMAND_IF_EXISTS,
                                               .key = some_key(),
                                               .number = next() % 2});
    }
    command_end(&conditions);
    add_ops(&plain);
    if (has_else) {
        add_ops(&plain);
    }
    command_sign(&txn, 1);
    machine.stamp_ms = some_stamp();
    command_stamp(out, machine.stamp_ms, buf_bytes(&plain));
    buf_free(&plain);
}

static void some_step(struct buf *out)
{
    struct command_restore step = {.step = 1 + next() % COMMAND_RESTORE_ABORT,
                                   .id = 1 + next() % 2};
    struct command_writer rows;
    bool wrong = next() % 8 == 0;
    step.keys = machine.rows + wrong;
    step.hash = machine.rows_hash;
    command_restore(&rows, out, &step);
    if (step.step != COMMAND_RESTORE_ROWS) {
        machine.rows = 0;
        machine.rows_hash = 0;
        return;
    }
    size_t start = out->size;
    int count = 1 + next() % 3;
    for (int i = 0; i < count; i++) {
        uint8_t key[] = {(uint8_t)('a' + i), (uint8_t)('a' + machine.rows % 8)};
        command_restore_row(&rows, bytes_of(key, sizeof(key)),
                            bytes_of_string("restored"));
    }
    command_end(&rows);
    machine.rows += (uint64_t)count;
    machine.rows_hash = command_restore_hash(
        machine.rows_hash, bytes_of(out->data + start, out->size - start));
}

static void apply_one(void)
{
    struct buf command = {0};
    struct store_result result;
    if (machine.index == ENTRIES_MAX) {
        return;
    }
    if (next() % 8 == 0) {
        some_step(&command);
    } else {
        some_txn(&command);
    }
    must(command_check(buf_bytes(&command)) == ERR_OK);
    uint64_t before_ms = store_time_ms(machine.store);
    machine.index++;
    must(store_apply(machine.plain, machine.index, 1, buf_bytes(&command),
                     &result) == ERR_OK);
    must(store_apply(machine.store, machine.index, 1, buf_bytes(&command),
                     &result) == ERR_OK);
    buf_free(&command);
    uint64_t after_ms = store_time_ms(machine.store);
    must(after_ms >= before_ms);
    must(after_ms <=
         COMMAND_TIME_SOUND_MS + ENTRIES_MAX * COMMAND_TIME_STEP_MS);
    must(store_hash(machine.store) == store_hash(machine.plain));
    must(store_timed_keys(machine.store) == store_timed_keys(machine.plain));
    must(store_leases(machine.store) == store_leases(machine.plain));
}

/* ---- and what happens between them ---- */

static void open_again(void)
{
    if (machine.reopens++ == REOPENS_MAX) {
        return;
    }
    must(store_flush(machine.store) == ERR_OK);
    store_close(machine.store);
    open_machine();
    must(store_applied(machine.store) == machine.index);
}

static void compare(void)
{
    must(store_key_count(machine.store) == store_key_count(machine.plain));
    must(store_content_hash(machine.store) ==
         store_content_hash(machine.plain));
}

static void happen(uint8_t what)
{
    switch (what % 16) {
    case 0:
        (void)store_freeze(machine.store);
        break;
    case 1:
        must(store_flush_step(machine.store, 1 + next() % 8) == ERR_OK);
        break;
    case 2:
        if (!store_is_flushing(machine.store)) {
            (void)store_checkpoint_step(machine.store);
        }
        break;
    case 3:
        open_again();
        break;
    case 4:
        compare();
        break;
    default:
        apply_one();
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simvfs_install();
    memset(&machine, 0, sizeof(machine));
    machine.input = cursor_of(bytes_of(data, size));
    machine.disk = simdisk_new();
    machine.memory = fs_memory_new();
    open_machine();
    struct store_options options = {.fs = machine.memory};
    must(store_open(&options, &machine.plain) == ERR_OK);
    while (cursor_left(&machine.input) > 0) {
        happen(next());
    }
    compare();
    open_again();
    compare();
    store_discard(machine.plain);
    store_discard(machine.store);
    simdisk_free(machine.disk);
    fs_memory_free(machine.memory);
    return 0;
}
