/* fuzz_store_tiers.c -- the input is a list of things that happen to a state
 * machine: entries are applied, the active tier is frozen, a slice is flushed,
 * a checkpoint takes a step, the disk is full, power is lost.
 *
 * Property: at every moment the rows are those of a plain map; after a power
 * loss they are those of an entry that was applied, not before the last
 * complete checkpoint, and the log's rest leads to the map again. */
#include "command/command.h"
#include "store/store.h"
#include "support/simvfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    KEYS = 32,
    ENTRIES_MAX = 400,
    CRASHES_MAX = 4,
    VALUE_BYTES_MAX = 16 << 10,
};

/* The operation of one entry, and what it has made of the key. */
struct entry {
    uint8_t key;
    bool deletes;
    uint32_t value_bytes;
};
struct pair {
    bool there;
    uint64_t create_index;
    uint64_t modify_index;
};

static struct {
    struct simdisk *disk;
    struct store *store;
    struct entry entries[ENTRIES_MAX + 1];
    uint64_t last;
    struct pair pairs[KEYS];
    bool full;
    int crashes;
} machine;

static struct bytes key_of(const uint8_t *key)
{
    return bytes_of(key, 1);
}

/* The value that entry `index` writes. */
static struct bytes value_of(uint64_t index)
{
    static uint8_t value[VALUE_BYTES_MAX];
    memset(value, (int)(index & 0xff), sizeof(value));
    return bytes_of(value, machine.entries[index].value_bytes);
}

static void open_machine(void)
{
    struct store_options options = {.vfs = simvfs_name, .checkpoint_pages = 2};
    simvfs_mount(0, machine.disk);
    options.fs = simdisk_fs(machine.disk);
    must(store_open(&options, &machine.store) == ERR_OK);
}

static void apply(uint64_t index)
{
    const struct entry *entry = &machine.entries[index];
    struct buf command = {0};
    struct command_writer writer;
    struct store_result result;
    command_begin(&writer, &command);
    if (entry->deletes) {
        command_delete(&writer, key_of(&entry->key));
    } else {
        command_put(&writer, key_of(&entry->key), value_of(index));
    }
    command_end(&writer);
    must(store_apply(machine.store, index, 1, buf_bytes(&command), &result) ==
         ERR_OK);
    buf_free(&command);
}

static void new_entry(uint8_t what, uint8_t argument)
{
    if (machine.last == ENTRIES_MAX) {
        return;
    }
    uint64_t index = ++machine.last;
    struct entry *entry = &machine.entries[index];
    *entry = (struct entry){.key = (uint8_t)('a' + what % KEYS),
                            .deletes = argument == 0,
                            .value_bytes = (uint32_t)argument * argument / 4};
    struct pair *pair = &machine.pairs[what % KEYS];
    uint64_t create = pair->there ? pair->create_index : index;
    *pair = (struct pair){!entry->deletes, create, index};
    apply(index);
}

static void check(uint8_t i)
{
    struct store_row row;
    uint8_t key = (uint8_t)('a' + i);
    const struct pair *pair = &machine.pairs[i];
    enum err err = store_get(machine.store, key_of(&key), &row);
    must(err == (pair->there ? ERR_OK : ERR_NOT_FOUND));
    if (pair->there) {
        must(bytes_equal(row.value, value_of(pair->modify_index)));
        must(row.create_index == pair->create_index);
        must(row.modify_index == pair->modify_index);
    }
}

static void check_all(bool reverse)
{
    struct store_range range = {.reverse = reverse};
    struct store_pair found;
    int left = 0;
    int at = reverse ? KEYS : -1;
    for (uint8_t i = 0; i < KEYS; i++) {
        check(i);
        left += machine.pairs[i].there;
    }
    must(store_key_count(machine.store) == (uint64_t)left);
    store_range_open(machine.store, &range);
    for (; store_range_next(machine.store, &found) == ERR_OK; left--) {
        int i = found.key.data[0] - 'a';
        must(found.key.size == 1 && (reverse ? i < at : i > at));
        must(machine.pairs[i].there);
        must(found.modify_index == machine.pairs[i].modify_index);
        at = i;
    }
    store_range_close(machine.store);
    must(left == 0);
}

static void flush_some(uint8_t argument)
{
    enum err err = store_flush_step(machine.store, 1 + argument % 8);
    must(!err || (machine.full && err == ERR_NOSPACE));
}

static void lose_power(uint8_t argument)
{
    if (machine.crashes == CRASHES_MAX) {
        return;
    }
    machine.crashes++;
    uint64_t durable = store_durable(machine.store);
    struct simdisk *after = simdisk_crash(
        machine.disk, argument % 4 == 0 ? SIMDISK_ALL : SIMDISK_SOME, argument);
    store_discard(machine.store);
    simdisk_free(machine.disk);
    machine.disk = after;
    machine.full = false;
    open_machine();
    must(store_applied(machine.store) >= durable);
    must(store_applied(machine.store) <= machine.last);
    for (uint64_t i = store_applied(machine.store) + 1; i <= machine.last;
         i++) {
        apply(i);
    }
}

static void happen(uint8_t what, uint8_t argument)
{
    switch (what >> 5) {
    case 0:
        (void)store_freeze(machine.store);
        break;
    case 1:
        flush_some(argument);
        break;
    case 2:
        if (!store_is_flushing(machine.store)) {
            (void)store_checkpoint_step(machine.store);
        }
        break;
    case 3:
        if (what % 4 == 0) {
            lose_power(argument);
        } else if (what % 4 == 1) {
            machine.full = argument % 2;
            simdisk_set_full(machine.disk, machine.full);
        } else {
            check_all(argument % 2);
        }
        break;
    default:
        new_entry(what, argument);
        break;
    }
    check(argument % KEYS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    simvfs_install();
    memset(&machine, 0, sizeof(machine));
    machine.disk = simdisk_new();
    open_machine();
    for (size_t i = 0; i + 1 < size; i += 2) {
        happen(data[i], data[i + 1]);
    }
    simdisk_set_full(machine.disk, false);
    check_all(false);
    store_close(machine.store);
    simdisk_free(machine.disk);
    return 0;
}
