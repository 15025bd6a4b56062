/* files.h -- the small files of a node's directory.
 *
 * IDENT, FOREIGN and STARTS begin with the same header, little-endian:
 *     magic[8] | u32 crc32c of what follows | u32 format
 * They are written whole, by fs_replace(). */
#ifndef CRAFTD_NODE_FILES_H
#define CRAFTD_NODE_FILES_H

#include "base/base.h"
#include "sys/fs.h"

enum {
    FILE_MAGIC_BYTES = 8,
    FILE_HEADER_BYTES = FILE_MAGIC_BYTES + 4 + 4, /* The content follows. */
};

/* Write the header of the file `data`, whose content is in place. `size`, in
 * bytes, includes the header. */
void file_seal(uint8_t *data, size_t size, const char magic[FILE_MAGIC_BYTES],
               uint32_t format);
/* Check the header of a file that was read.
 *   ERR_MISMATCH  another kind of file, or too short for a header
 *   ERR_CORRUPT   the checksum is wrong
 *   ERR_VERSION   another format */
MUST_CHECK enum err file_check(const uint8_t *data, size_t size,
                               const char magic[FILE_MAGIC_BYTES],
                               uint32_t format);

/* Sets *there, on success only. */
MUST_CHECK enum err file_exists(const struct fs *fs, const char *path,
                                bool *there);
/* Remove a file of the directory itself, durably. ERR_OK also when it is not
 * there. */
MUST_CHECK enum err file_remove(const struct fs *fs, const char *path);

#endif
