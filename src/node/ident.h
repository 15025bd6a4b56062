/* ident.h -- who this directory is: written once, at bootstrap or adoption.
 *
 * IDENT, 128 bytes, little-endian:
 *     magic "CRAFTDID" | u32 crc32c of what follows | u32 format = 1 |
 *     cluster[16] | uuid[16] | u64 id | name[64] | u8 restored | zeros
 * It is put in place by a rename after everything else of a new directory is
 * durable: a directory without it has promised nothing to anybody. */
#ifndef CRAFTD_NODE_IDENT_H
#define CRAFTD_NODE_IDENT_H

#include "base/base.h"
#include "raft/raft.h"
#include "sys/fs.h"

struct ident {
    uint8_t cluster[16];
    uint8_t uuid[16];
    uint64_t id;
    char name[RAFT_NAME_BYTES];
    bool restored; /* Founded on a backup, when there was no cluster. Builds
                      before wrote 0. */
};

/* ERR_NOT_FOUND: a new directory. ERR_CORRUPT, ERR_VERSION: logged. */
MUST_CHECK enum err ident_read(const struct fs *fs, struct ident *ident);
MUST_CHECK enum err ident_write(const struct fs *fs, const struct ident *ident);

/* The uuid of a directory that waits to be adopted: `uuid` becomes the one
 * that an earlier start wrote down (file UUID: uuid[16] | u32 crc32c), or is
 * written down as it is. So a machine that starts again before it is a member
 * is the same machine to those who have added it meanwhile. */
MUST_CHECK enum err ident_waiting(const struct fs *fs,
                                  uint8_t uuid[RAFT_UUID_BYTES]);

/* Whether this directory was started with --join: file UUID is there. Without
 * IDENT it waits to be adopted, and must not found a cluster. */
MUST_CHECK enum err ident_is_waiting(const struct fs *fs, bool *waiting);

/* The addresses that a waiting directory asks, as --join gave them last. File
 * JOIN: u32 crc32c of what follows | text. Directories of builds before have
 * none: ERR_NOT_FOUND, as for one that is damaged. `join` has room for
 * IDENT_JOIN_BYTES. */
enum { IDENT_JOIN_BYTES = 1024 };
MUST_CHECK enum err ident_read_join(const struct fs *fs,
                                    char join[IDENT_JOIN_BYTES]);
MUST_CHECK enum err ident_write_join(const struct fs *fs, const char *join);
/* The member that this directory is has left its cluster by its own will (file
 * LEFT: its uuid[16] | u32 crc32c). Of another uuid it says nothing. */
MUST_CHECK enum err ident_mark_left(const struct fs *fs,
                                    const uint8_t uuid[RAFT_UUID_BYTES]);
/* ERR_NOT_FOUND: it has not. */
MUST_CHECK enum err ident_read_left(const struct fs *fs,
                                    uint8_t uuid[RAFT_UUID_BYTES]);
MUST_CHECK enum err ident_remove(const struct fs *fs);
MUST_CHECK enum err ident_remove_left(const struct fs *fs);

#endif
