/* ident.h -- the member to which a directory belongs: file IDENT, written once,
 * at bootstrap or adoption; and the small files of a directory without one.
 *
 * IDENT, 128 bytes, little-endian:
 *     magic "CRAFTDID" | u32 crc32c of what follows | u32 format = 1 |
 *     cluster[16] | uuid[16] | u64 id | name[64] | u8 restored | zeros
 * It is put in place by a rename after everything else of a new directory is
 * durable: a directory without it has acknowledged nothing. */
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
    bool restored; /* Founded on a backup, when there was no cluster. Older
                      builds wrote 0. */
};

/* ERR_NOT_FOUND: a new directory. ERR_CORRUPT, ERR_VERSION: logged. */
MUST_CHECK enum err ident_read(const struct fs *fs, struct ident *ident);
/* Durable when it returns ERR_OK. */
MUST_CHECK enum err ident_write(const struct fs *fs, const struct ident *ident);

/* The uuid of a directory that waits to be adopted: `uuid` is set to the one
 * that an earlier start wrote down (file UUID: uuid[16] | u32 crc32c), or else
 * is written down. So a machine that restarts before it is a member keeps the
 * uuid by which members may have added it meanwhile. */
MUST_CHECK enum err ident_waiting(const struct fs *fs,
                                  uint8_t uuid[RAFT_UUID_BYTES]);

/* Sets *waiting if this directory was started with --join: it has the file
 * UUID. Without IDENT it waits to be adopted, and must not found a cluster. */
MUST_CHECK enum err ident_is_waiting(const struct fs *fs, bool *waiting);

/* The addresses that a waiting directory asks to join, from the last --join.
 * File JOIN: u32 crc32c of what follows | text. ERR_NOT_FOUND: there is none,
 * as in directories of older builds, or it is damaged. `join` is terminated. */
enum { IDENT_JOIN_BYTES = 1024 };
MUST_CHECK enum err ident_read_join(const struct fs *fs,
                                    char join[IDENT_JOIN_BYTES]);
/* ERR_TOO_BIG: IDENT_JOIN_BYTES or more, with the terminator. */
MUST_CHECK enum err ident_write_join(const struct fs *fs, const char *join);

/* Write that the member `uuid` has left its cluster by its own will (file LEFT:
 * uuid[16] | u32 crc32c). In a directory whose IDENT has another uuid the file
 * means nothing. The file UUID is removed: a directory that joins again gets a
 * new one. */
MUST_CHECK enum err ident_mark_left(const struct fs *fs,
                                    const uint8_t uuid[RAFT_UUID_BYTES]);
/* ERR_NOT_FOUND: there is none, or it is damaged. */
MUST_CHECK enum err ident_read_left(const struct fs *fs,
                                    uint8_t uuid[RAFT_UUID_BYTES]);
/* Removes IDENT, or LEFT, durably. ERR_OK also when it is not there. */
MUST_CHECK enum err ident_remove(const struct fs *fs);
MUST_CHECK enum err ident_remove_left(const struct fs *fs);

#endif
