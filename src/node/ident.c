/* ident.c -- the identity file of a directory, and those of one that waits. */
#include "node/ident.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "node/files.h"

enum {
    IDENT_BYTES = 128,
    IDENT_FORMAT = 1,
    AT_CLUSTER = FILE_HEADER_BYTES,
    AT_UUID = 32,
    AT_ID = 48,
    AT_NAME = 56,
    UUID_FILE_BYTES = RAFT_UUID_BYTES + 4,
    AT_RESTORED = 120,
};
_Static_assert(AT_NAME + RAFT_NAME_BYTES == AT_RESTORED, "the name fits");

static const char magic[8] = {'C', 'R', 'A', 'F', 'T', 'D', 'I', 'D'};

static enum err decode(const uint8_t *data, size_t size, struct ident *ident)
{
    enum err err = size == IDENT_BYTES
                       ? file_check(data, size, magic, IDENT_FORMAT)
                       : ERR_MISMATCH;
    if (!err && load_u64(data + AT_ID) == 0) {
        err = ERR_CORRUPT;
    }
    if (err) {
        log_error("ident", "file=IDENT known_format=%d why=\"%s\"",
                  IDENT_FORMAT,
                  err == ERR_MISMATCH  ? "not an identity file"
                  : err == ERR_CORRUPT ? "damaged"
                                       : "its format is another");
        return err == ERR_VERSION ? err : ERR_CORRUPT;
    }
    *ident = (struct ident){.id = load_u64(data + AT_ID),
                            .restored = data[AT_RESTORED] == 1};
    memcpy(ident->cluster, data + AT_CLUSTER, sizeof(ident->cluster));
    memcpy(ident->uuid, data + AT_UUID, sizeof(ident->uuid));
    memcpy(ident->name, data + AT_NAME, RAFT_NAME_BYTES - 1);
    return ERR_OK;
}

enum err ident_read(const struct fs *fs, struct ident *ident)
{
    uint8_t *data = NULL;
    size_t size = 0;
    enum err err = fs_read_all(fs, "IDENT", 4096, &data, &size);
    if (!err || err == ERR_TOO_BIG) {
        err = decode(data, size, ident); /* Size 0 when it is too big. */
        mem_free(data);
    } else if (err != ERR_NOT_FOUND) {
        log_error("ident", "file=IDENT why=\"%s\"", err_name(err));
    }
    return err;
}

enum err ident_write(const struct fs *fs, const struct ident *ident)
{
    uint8_t data[IDENT_BYTES] = {0};
    must(ident->id > 0);

    memcpy(data + AT_CLUSTER, ident->cluster, sizeof(ident->cluster));
    memcpy(data + AT_UUID, ident->uuid, sizeof(ident->uuid));
    store_u64(data + AT_ID, ident->id);
    memcpy(data + AT_NAME, ident->name, strnlen(ident->name, RAFT_NAME_BYTES));
    data[AT_RESTORED] = ident->restored;
    file_seal(data, sizeof(data), magic, IDENT_FORMAT);
    return fs_replace(fs, ".", "IDENT", data, sizeof(data));
}

/* Reads UUID or LEFT: uuid[16] | u32 crc32c. ERR_NOT_FOUND also for a damaged
 * file, which stands for nothing. */
static enum err read_uuid(const struct fs *fs, const char *path,
                          uint8_t uuid[RAFT_UUID_BYTES])
{
    uint8_t *data = NULL;
    size_t size = 0;
    enum err err = fs_read_all(fs, path, UUID_FILE_BYTES, &data, &size);
    bool there =
        !err && size == UUID_FILE_BYTES &&
        load_u32(data + RAFT_UUID_BYTES) == crc32c(0, data, RAFT_UUID_BYTES);
    if (there) {
        memcpy(uuid, data, RAFT_UUID_BYTES);
    }
    mem_free(data);
    if (there) {
        return ERR_OK;
    }
    return !err || err == ERR_TOO_BIG ? ERR_NOT_FOUND : err;
}

static enum err write_uuid(const struct fs *fs, const char *path,
                           const uint8_t uuid[RAFT_UUID_BYTES])
{
    uint8_t file[UUID_FILE_BYTES];
    memcpy(file, uuid, RAFT_UUID_BYTES);
    store_u32(file + RAFT_UUID_BYTES, crc32c(0, uuid, RAFT_UUID_BYTES));
    return fs_replace(fs, ".", path, file, sizeof(file));
}

enum err ident_waiting(const struct fs *fs, uint8_t uuid[RAFT_UUID_BYTES])
{
    enum err err = read_uuid(fs, "UUID", uuid);
    /* A file that cannot be read now may hold a uuid that is in use. */
    return err == ERR_NOT_FOUND ? write_uuid(fs, "UUID", uuid) : err;
}

enum err ident_mark_left(const struct fs *fs,
                         const uint8_t uuid[RAFT_UUID_BYTES])
{
    enum err err = file_remove(fs, "UUID"); /* The next member is another. */
    return err ? err : write_uuid(fs, "LEFT", uuid);
}

enum err ident_read_left(const struct fs *fs, uint8_t uuid[RAFT_UUID_BYTES])
{
    return read_uuid(fs, "LEFT", uuid);
}

enum err ident_remove(const struct fs *fs)
{
    return file_remove(fs, "IDENT");
}

enum err ident_remove_left(const struct fs *fs)
{
    return file_remove(fs, "LEFT");
}

enum err ident_is_waiting(const struct fs *fs, bool *waiting)
{
    return file_exists(fs, "UUID", waiting);
}

enum err ident_read_join(const struct fs *fs, char join[IDENT_JOIN_BYTES])
{
    uint8_t *data = NULL;
    size_t size = 0;
    enum err err =
        fs_read_all(fs, "JOIN", 4 + IDENT_JOIN_BYTES - 1, &data, &size);
    if (!err && (size <= 4 || load_u32(data) != crc32c(0, data + 4, size - 4) ||
                 memchr(data + 4, 0, size - 4))) {
        err = ERR_NOT_FOUND;
    }
    if (!err) {
        memcpy(join, data + 4, size - 4);
        join[size - 4] = '\0';
    }
    mem_free(data);
    return err == ERR_TOO_BIG ? ERR_NOT_FOUND : err;
}

enum err ident_write_join(const struct fs *fs, const char *join)
{
    uint8_t file[4 + IDENT_JOIN_BYTES];
    size_t size = strlen(join);
    char known[IDENT_JOIN_BYTES];
    if (size >= IDENT_JOIN_BYTES) {
        return ERR_TOO_BIG;
    }
    if (ident_read_join(fs, known) == ERR_OK && strcmp(known, join) == 0) {
        return ERR_OK;
    }
    memcpy(file + 4, join, size);
    store_u32(file, crc32c(0, file + 4, size));
    return fs_replace(fs, ".", "JOIN", file, 4 + size);
}
