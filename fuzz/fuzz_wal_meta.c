/* fuzz_wal_meta.c -- the small files of the log: term, vote and incarnation in
 * meta.0 and meta.1, and wal/HINT.
 *
 * Input: a byte of flags, then what each file holds, as one part after the
 * other; the flags make checksums and the directory's uuid right. The log
 * itself is sound.
 * Properties: opening ends; when it succeeds the term and the vote are those of
 * the newer slot of those that hold, every entry is there, and the next open
 * finds the same in both slots. With no slot that holds it fails. */
#include <stddef.h>
#include <stdint.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "support/simdisk.h"
#include "wal/wal_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FLAG_MEND_0 = 1,
    FLAG_MEND_1 = 2,
    FLAG_MEND_HINT = 4,
    FLAG_SLOT_0 = 8, /* It is replaced; else as the log made it. */
    FLAG_SLOT_1 = 16,
    FLAG_HINT = 32,
    FLAG_SHORT = 64, /* Files of the input's size; else padded with zeros. */
    SEGMENT = 16 << 10,
    ENTRIES = 3,
    HINT_SLOT_BYTES = 512,
    SUM_AT = 8,
    META_UUID_AT = 48,
    HINT_UUID_AT = 24,
};

static const uint8_t uuid[16] = {5, 5, 5};

static struct wal_options make_log(struct simdisk *disk)
{
    struct wal_options options = {.fs = simdisk_fs(disk),
                                  .segment_bytes = SEGMENT};
    memcpy(options.uuid, uuid, sizeof(uuid));
    struct wal *wal = NULL;
    must(wal_create(&options) == ERR_OK);
    must(wal_open(&options, NULL, NULL, &wal) == ERR_OK);
    wal_set_hard_state(wal, 7, 2);
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        wal_append(wal, &(struct wal_entry){.index = i, .term = 7});
        must(wal_sync(wal) == ERR_OK);
    }
    wal_hint(wal);
    wal_close(wal);
    return options;
}

static void mend(uint8_t *block, size_t size, size_t uuid_at)
{
    memcpy(block + uuid_at, uuid, sizeof(uuid));
    store_u32(block + SUM_AT, crc32c(0, block + SUM_AT + 4, size - SUM_AT - 4));
}

static void replace(const struct wal_options *options, const char *path,
                    const void *data, size_t size)
{
    const struct fs *fs = options->fs;
    const char *dir = path[0] == 'w' ? "wal" : ".";
    must(fs_replace(fs, dir, path, data, size) == ERR_OK);
}

static void replace_all(const struct wal_options *options, uint8_t flags,
                        const uint8_t *data, size_t size)
{
    static const char *const paths[3] = {"meta.0", "meta.1", "wal/HINT"};
    size_t part = size / 3;
    for (int i = 0; i < 3; i++) {
        uint8_t file[BLOCK_BYTES] = {0};
        size_t whole = i < 2 ? BLOCK_BYTES : 2 * HINT_SLOT_BYTES;
        size_t given = min_size(part, whole);
        memcpy(file, data + (size_t)i * part, given);
        bool mends = flags & FLAG_MEND_0 << i;
        if (mends && i < 2) {
            mend(file, BLOCK_BYTES, META_UUID_AT);
        } else if (mends) {
            mend(file, HINT_SLOT_BYTES, HINT_UUID_AT);
            mend(file + HINT_SLOT_BYTES, HINT_SLOT_BYTES, HINT_UUID_AT);
        }
        if (flags & FLAG_SLOT_0 << i) {
            replace(options, paths[i], file,
                    flags & FLAG_SHORT && !mends ? given : whole);
        }
    }
}

/* The content of a slot, if it is valid. */
static bool slot(struct simdisk *disk, const char *path, struct meta *meta)
{
    size_t size = 0;
    const uint8_t *bytes = simdisk_bytes(disk, path, &size);
    return bytes && size >= BLOCK_BYTES &&
           wal_meta_decode(bytes, meta) == ERR_OK;
}

static void check_slots(const struct wal *wal, const struct meta *a,
                        const struct meta *b, bool has_a, bool has_b)
{
    must(has_a || has_b);
    const struct meta *newer =
        !has_a || (has_b && b->version > a->version) ? b : a;
    must(wal_term(wal) == newer->term && wal_vote(wal) == newer->vote);
    must(memcmp(newer->uuid, uuid, sizeof(uuid)) == 0);
    must(wal_incarnation(wal) == newer->incarnation + 1);
}

static void use(struct simdisk *disk, const struct wal_options *options)
{
    struct meta a = {0};
    struct meta b = {0};
    bool has_a = slot(disk, "meta.0", &a);
    bool has_b = slot(disk, "meta.1", &b);
    struct wal *wal = NULL;
    struct buf out = {0};
    if (wal_open(options, NULL, NULL, &wal) != ERR_OK) {
        return;
    }
    check_slots(wal, &a, &b, has_a, has_b);
    must(wal_last(wal) == ENTRIES);
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        struct wal_entry entry;
        must(wal_read(wal, i, &out, &entry) == ERR_OK && entry.term == 7);
    }
    buf_free(&out);
    uint64_t term = wal_term(wal);
    uint64_t vote = wal_vote(wal);
    wal_close(wal);
    must(slot(disk, "meta.0", &a) && slot(disk, "meta.1", &b));
    must(a.term == term && b.term == term && a.vote == vote && b.vote == vote);
    must(wal_open(options, NULL, NULL, &wal) == ERR_OK);
    must(wal_term(wal) == term && wal_vote(wal) == vote);
    wal_close(wal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    log_set_level(LOG_OFF);
    struct simdisk *disk = simdisk_new();
    struct wal_options options = make_log(disk);
    replace_all(&options, data[0], data + 1, size - 1);
    use(disk, &options);
    simdisk_free(disk);
    return 0;
}
