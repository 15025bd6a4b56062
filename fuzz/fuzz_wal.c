/* fuzz_wal.c -- recovery over damaged files.
 *
 * Input: count, `count` script bytes, then mutations of six bytes: what,
 * where (u32), value. The script makes a log, so that all checksums hold; the
 * mutations change a segment, a meta slot or the hint, cut
 * it short, or lose power with a part of the pages. Whatever comes of it,
 * wal_open() ends, and a log that it accepts takes one more entry, which is
 * there after the next open, and every entry can be read. */
#include "base/log.h"
#include "support/simdisk.h"
#include "wal/wal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEGMENT = 16 << 10, SCRIPT_MAX = 40, MUTATIONS_MAX = 64 };

static const char *const paths[] = {"wal/0000000000000001.wal",
                                    "wal/0000000000000002.wal",
                                    "wal/0000000000000003.wal",
                                    "meta.0",
                                    "meta.1",
                                    "wal/HINT"};

static void script(struct wal *wal, struct cursor *in)
{
    static const uint8_t payload[9000] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    size_t count = cursor_u8(in) % SCRIPT_MAX;
    uint64_t term = 1;
    for (size_t i = 0; i < count; i++) {
        uint8_t op = cursor_u8(in);
        struct wal_entry entry = {.index = wal_last(wal) + 1, .term = term};
        switch (op % 8) {
        case 0:
            term++;
            wal_set_hard_state(wal, term, op / 8);
            break;
        case 1:
            if (wal_last(wal) >= wal_first(wal)) {
                uint64_t back = min_u64(op / 8, wal_last(wal) - 1);
                wal_truncate(wal, wal_last(wal) - back);
                term++; /* A newer leader writes the rest. */
            }
            break;
        case 2:
            must(wal_sync(wal) == ERR_OK);
            wal_hint(wal);
            break;
        case 3:
            must(wal_sync(wal) == ERR_OK);
            break;
        case 4:
            entry.payload = bytes_of(payload, sizeof(payload));
            wal_append(wal, &entry);
            break;
        default:
            entry.type = op / 64;
            entry.payload = bytes_of(payload, (size_t)op * 16);
            wal_append(wal, &entry);
        }
    }
    must(wal_sync(wal) == ERR_OK);
}

static void mutate(struct simdisk *disk, struct cursor *in)
{
    for (int i = 0; i < MUTATIONS_MAX && cursor_left(in) >= 6; i++) {
        uint8_t what = cursor_u8(in);
        size_t where = cursor_u32(in);
        uint8_t value = cursor_u8(in);
        const char *path = paths[what % ARRAY_COUNT(paths)];
        size_t size = 0;
        uint8_t *bytes = simdisk_bytes(disk, path, &size);
        if (!bytes || size == 0) {
            continue;
        }
        where %= size;
        if (what < 160) {
            bytes[where] ^= value;
        } else if (what < 200) {
            memset(bytes + where, value & 1 ? 0xff : 0,
                   min_size(size - where, (size_t)value * 64));
        } else if (what < 230) {
            simdisk_truncate(disk, path, where);
        } else if (what < 250) {
            size_t from = (size_t)value * 4096 % size;
            where -= where % 4096;
            memmove(bytes + where, bytes + from,
                    min_size(4096, size - (where > from ? where : from)));
        } else {
            simdisk_remove(disk, path);
        }
    }
}

static void use(struct simdisk *disk, const struct wal_options *options)
{
    struct wal *wal;
    struct buf out = {0};
    struct wal_entry entry;
    if (wal_open(options, NULL, NULL, &wal) != ERR_OK) {
        return;
    }
    for (uint64_t i = wal_first(wal); i <= wal_last(wal); i++) {
        must(wal_read(wal, i, &out, &entry) == ERR_OK && entry.index == i);
    }
    uint64_t index = wal_last(wal) + 1;
    entry = (struct wal_entry){.index = index,
                               .term = UINT64_MAX,
                               .type = 3,
                               .payload = bytes_of_string("one more")};
    wal_append(wal, &entry);
    must(wal_sync(wal) == ERR_OK);
    wal_close(wal);
    struct simdisk *after = simdisk_crash(disk, SIMDISK_NOTHING, 0);
    struct wal_options again = *options;
    again.fs = simdisk_fs(after);
    must(wal_open(&again, NULL, NULL, &wal) == ERR_OK);
    must(wal_last(wal) == index);
    must(wal_read(wal, index, &out, &entry) == ERR_OK);
    must(bytes_equal_string(entry.payload, "one more"));
    wal_close(wal);
    simdisk_free(after);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_level(LOG_OFF);
    struct cursor in = cursor_of(bytes_of(data, size));
    struct simdisk *disk = simdisk_new();
    struct wal_options options = {
        .fs = simdisk_fs(disk), .segment_bytes = SEGMENT, .salt_seed = 5};
    struct wal *wal;
    must(wal_create(&options) == ERR_OK);
    must(wal_open(&options, NULL, NULL, &wal) == ERR_OK);
    script(wal, &in);
    wal_close(wal);
    mutate(disk, &in);
    /* Damage is on the platter too, not only in what is cached of it. */
    struct simdisk *damaged = simdisk_crash(disk, SIMDISK_ALL, 0);
    simdisk_free(disk);
    disk = damaged;
    options.fs = simdisk_fs(disk);
    use(disk, &options);
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    must(counts.handles == 0);
    simdisk_free(disk);
    return 0;
}
