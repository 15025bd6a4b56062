/* reserve.c -- writes and removes a file of zeros. See reserve.h. */
#include "sys/reserve.h"

#include "base/log.h"

void reserve_init(struct reserve *reserve, const struct fs *fs,
                  const char *path, uint64_t size_bytes)
{
    *reserve = (struct reserve){
        .fs = fs, .path = path, .size_bytes = size_bytes, .handle = -1};
}

void reserve_close(struct reserve *reserve)
{
    if (reserve->handle >= 0) {
        reserve->fs->close(reserve->fs->self, reserve->handle);
        reserve->handle = -1;
    }
}

/* The handle is closed first: the kernel frees the blocks of an unlinked file
 * when it is no longer open. */
bool reserve_release(struct reserve *reserve)
{
    if (reserve->size_bytes == 0) {
        return false;
    }
    reserve_close(reserve);
    reserve->filled = 0;
    reserve->held = false;
    reserve->broken = false; /* It is created again when there is space. */
    reserve->shortage = ERR_NOSPACE;
    return reserve->fs->unlink(reserve->fs->self, reserve->path) == ERR_OK;
}

/* Writes one slice. */
static enum err fill(struct reserve *reserve)
{
    const struct fs *fs = reserve->fs;
    enum err err = ERR_OK;
    if (reserve->handle < 0) {
        int handle = -1;
        err = fs->open(fs->self, reserve->path, FS_CREATE, &handle);
        if (err) {
            return err;
        }
        reserve->handle = handle;
        reserve->filled = 0;
    }
    uint64_t size =
        min_u64(FS_ZEROS_BYTES, reserve->size_bytes - reserve->filled);
    err = fs_write_zeros(fs, reserve->handle, reserve->filled, size);
    if (!err) {
        reserve->filled += size;
    }
    return err;
}

bool reserve_prepare(struct reserve *reserve)
{
    if (reserve->size_bytes == 0 || reserve->held || reserve->broken) {
        return false;
    }
    enum err err = fill(reserve);
    if (err_is_shortage(err)) {
        reserve->shortage = err;
        return false;
    }
    if (err) {
        log_warn(
            "reserve",
            "file=%s why=\"cannot be written: there will be no reserve when "
            "the disk is full\"",
            reserve->path);
        reserve_close(reserve);
        reserve->broken = true;
        reserve->shortage = ERR_OK;
        return false;
    }
    if (reserve->filled < reserve->size_bytes) {
        return true;
    }
    reserve_close(reserve);
    reserve->held = true;
    reserve->shortage = ERR_OK;
    return false;
}
