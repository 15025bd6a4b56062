/* files.c -- the small files of a node's directory. */
#include "node/files.h"

#include "base/bytes.h"
#include "base/crc32c.h"

enum {
    AT_CRC = FILE_MAGIC_BYTES,
    AT_FORMAT = AT_CRC + 4, /* The checksum covers everything from here on. */
};

void file_seal(uint8_t *data, size_t size, const char magic[FILE_MAGIC_BYTES],
               uint32_t format)
{
    must(size >= FILE_HEADER_BYTES);
    memcpy(data, magic, FILE_MAGIC_BYTES);
    store_u32(data + AT_FORMAT, format);
    store_u32(data + AT_CRC, crc32c(0, data + AT_FORMAT, size - AT_FORMAT));
    must(file_check(data, size, magic, format) == ERR_OK);
}

enum err file_check(const uint8_t *data, size_t size,
                    const char magic[FILE_MAGIC_BYTES], uint32_t format)
{
    if (size < FILE_HEADER_BYTES ||
        memcmp(data, magic, FILE_MAGIC_BYTES) != 0) {
        return ERR_MISMATCH;
    }
    if (load_u32(data + AT_CRC) !=
        crc32c(0, data + AT_FORMAT, size - AT_FORMAT)) {
        return ERR_CORRUPT;
    }
    return load_u32(data + AT_FORMAT) == format ? ERR_OK : ERR_VERSION;
}

enum err file_exists(const struct fs *fs, const char *path, bool *there)
{
    int handle;
    enum err err = fs->open(fs->self, path, FS_READ, &handle);
    if (err && err != ERR_NOT_FOUND) {
        return err;
    }
    *there = !err;
    if (!err) {
        fs->close(fs->self, handle);
    }
    return ERR_OK;
}

enum err file_remove(const struct fs *fs, const char *path)
{
    enum err err = fs->unlink(fs->self, path);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    return err ? err : fs->sync_dir(fs->self, ".");
}
