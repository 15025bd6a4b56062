/* fuzz_node_ident.c -- the input is a file that tells who a directory is: IDENT
 * or LEFT. The first byte chooses which, and whether its checksum is made
 * right. Properties: reading it ends with an answer; what an IDENT that is
 * taken says is the same when it was written and read again; a LEFT that is
 * taken holds its uuid and nothing else. */
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "node/ident.h"
#include "sys/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    IS_LEFT = 1,
    MEND = 2,
    PAD = 4, /* To the size of an IDENT. */
    IDENT_BYTES = 128,
    IDENT_SUM_AT = 8,
    BYTES_MAX = 4096,
};

static void check_ident(const struct fs *fs)
{
    struct ident ident = {0};
    struct ident again = {0};
    if (ident_read(fs, &ident) != ERR_OK) {
        return;
    }
    must(ident.id > 0);
    must(strnlen(ident.name, sizeof(ident.name)) < sizeof(ident.name));
    must(ident_write(fs, &ident) == ERR_OK);
    must(ident_read(fs, &again) == ERR_OK);
    must(again.id == ident.id && strcmp(again.name, ident.name) == 0);
    must(memcmp(again.cluster, ident.cluster, sizeof(again.cluster)) == 0);
    must(memcmp(again.uuid, ident.uuid, sizeof(again.uuid)) == 0);
}

static void check_left(const struct fs *fs, const uint8_t *file, size_t size)
{
    uint8_t uuid[RAFT_UUID_BYTES];
    if (ident_read_left(fs, uuid) == ERR_OK) {
        must(size == sizeof(uuid) + 4);
        must(memcmp(uuid, file, sizeof(uuid)) == 0);
        must(load_u32(file + sizeof(uuid)) == crc32c(0, file, sizeof(uuid)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > BYTES_MAX) {
        return 0;
    }
    uint8_t file[BYTES_MAX] = {0};
    uint8_t flags = data[0];
    memcpy(file, data + 1, --size);
    if (flags & IS_LEFT) {
        if (flags & MEND && size == RAFT_UUID_BYTES + 4) {
            store_u32(file + RAFT_UUID_BYTES, crc32c(0, file, RAFT_UUID_BYTES));
        }
    } else {
        size = flags & PAD ? IDENT_BYTES : size;
        if (flags & MEND && size == IDENT_BYTES) {
            memcpy(file, "CRAFTDID", 8);
            store_u32(file + IDENT_SUM_AT,
                      crc32c(0, file + IDENT_SUM_AT + 4,
                             IDENT_BYTES - IDENT_SUM_AT - 4));
        }
    }
    log_set_level(LOG_OFF);
    struct fs *fs = fs_memory_new();
    const char *path = flags & IS_LEFT ? "LEFT" : "IDENT";
    must(fs_replace(fs, ".", path, file, size) == ERR_OK);
    if (flags & IS_LEFT) {
        check_left(fs, file, size);
    } else {
        check_ident(fs);
    }
    fs_memory_free(fs);
    return 0;
}
