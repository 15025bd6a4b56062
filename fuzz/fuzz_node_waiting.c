/* fuzz_node_waiting.c -- the input is a file of a directory that is no member's
 * yet: FOREIGN, or JOIN beside UUID. The first byte chooses which, and whether
 * its checksum is made right.
 * Property: whatever it holds, such a directory founds no cluster; what a JOIN
 * that is taken says is the text in it. */
#include <stddef.h>
#include <stdint.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "node/ident.h"
#include "node/node.h"
#include "sys/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IS_JOIN = 1, MEND = 2, FOREIGN_SUM_AT = 8, BYTES_MAX = 4096 };

static uint64_t now(void *self)
{
    (void)self;
    return 1;
}

static void entropy(void *self, void *out, size_t size)
{
    (void)self;
    memset(out, 7, size);
}

static void set_self(void *self, const uint8_t cluster[16], raft_id id,
                     const uint8_t uuid[16], uint64_t incarnation,
                     const char *name)
{
    (void)self;
    (void)cluster;
    (void)uuid;
    (void)incarnation;
    (void)name;
    must(id == 0);
}

static void write_file(const struct fs *fs, const char *path, const void *data,
                       size_t size)
{
    enum err err = fs_replace(fs, ".", path, data, size);
    must(err == ERR_OK);
}

static void check_join(struct node *node, const uint8_t *file, size_t size)
{
    const char *join = node_remembered_join(node);
    must(join && strlen(join) == size - 4 &&
         memcmp(join, file + 4, size - 4) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > BYTES_MAX) {
        return 0;
    }
    uint8_t file[BYTES_MAX];
    uint8_t uuid[16];
    uint8_t choice = data[0];
    size_t sum_at = choice & IS_JOIN ? 0 : FOREIGN_SUM_AT;
    memcpy(file, data + 1, --size);
    if (choice & MEND && size > sum_at + 4) {
        store_u32(file + sum_at,
                  crc32c(0, file + sum_at + 4, size - sum_at - 4));
    }
    log_set_level(LOG_OFF);
    struct fs *fs = fs_memory_new();
    write_file(fs, choice & IS_JOIN ? "JOIN" : "FOREIGN", file, size);
    if (choice & IS_JOIN) {
        entropy(NULL, uuid, sizeof(uuid));
        enum err err = ident_waiting(fs, uuid);
        must(err == ERR_OK);
    }
    struct node_env env = {.now_ms = now,
                           .now_us = now,
                           .entropy = entropy,
                           .fs = fs,
                           .transport = {.set_self = set_self}};
    struct node_options options = {.raft_addr = "n",
                                   .heartbeat_ms = 100,
                                   .election_min_ms = 1000,
                                   .election_max_ms = 2000};
    struct node *node = NULL;
    if (node_open(&options, &env, &node) == ERR_OK) {
        must(!node_is_member(node) && node_bootstrap_in_ms(node) == 0);
        if (choice & IS_JOIN) {
            check_join(node, file, size);
        } else {
            must(node_foreign(node));
        }
        node_close(node);
    } else {
        must(choice & IS_JOIN); /* It needs --join. */
    }
    fs_memory_free(fs);
    return 0;
}
