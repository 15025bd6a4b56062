/* fs_uring.c -- asynchronous operations on the kernel's files, by io_uring.
 *
 * An operation is an fdatasync, with a write before it or without. The kernel
 * reports one completion for each of the two. Those that did not finish their
 * work (a short write, an interruption) are continued here, so that the caller
 * sees one result. An operation that the kernel does not accept is done at
 * once, with blocking calls. */
#include <errno.h>

#include "sys/fs_posix_internal.h"

static void complete(struct pending *pending, enum err err)
{
    pending->op->err = err;
    pending->op->completed = true;
    pending->op = NULL;
}

/* Submits what is left of an operation. */
static void start(struct posix_fs *self, struct pending *pending)
{
    int handle = pending->op->handle;
    bool writes = pending->size > 0;
    bool accepted =
        writes ? uring_write_sync(self->ring, &pending->io, handle,
                                  pending->offset, pending->data, pending->size)
               : uring_sync(self->ring, &pending->io, handle);
    if (accepted) {
        return;
    }
    enum err err = writes ? fs_posix_write(self, handle, pending->offset,
                                           pending->data, pending->size)
                          : ERR_OK;
    complete(pending, err ? err : fs_posix_fdatasync(self, handle));
}

static bool is_transient(int64_t result)
{
    return result == -EINTR || result == -EAGAIN;
}

/* Continues a short write with the rest. If the reason was a lack of space,
 * that one fails with the error. */
static void on_incomplete_write(struct posix_fs *self, struct pending *pending)
{
    int64_t wrote = pending->io.wrote;
    must(wrote < (int64_t)pending->size);
    if (wrote > 0) {
        pending->data += wrote;
        pending->offset += (uint64_t)wrote;
        pending->size -= (size_t)wrote;
        start(self, pending);
    } else if (is_transient(wrote)) {
        start(self, pending);
    } else {
        /* No progress is a failure. */
        errno = wrote == 0 ? EIO : (int)-wrote;
        complete(pending,
                 fs_posix_failed(self, "write",
                                 fs_posix_path(self, pending->op->handle)));
    }
}

static void on_completion(struct posix_fs *self, struct pending *pending)
{
    const struct uring_op *io = &pending->io;
    if (io->wrote != (int64_t)pending->size) {
        on_incomplete_write(self, pending);
    } else if (io->synced == 0) {
        complete(pending, ERR_OK);
    } else if (is_transient(io->synced)) {
        start(self, pending);
    } else {
        errno = -io->synced;
        complete(pending, fs_posix_sync_failed(
                              self, fs_posix_path(self, pending->op->handle)));
    }
}

static void reap(struct posix_fs *self, bool wait)
{
    uring_reap(self->ring, wait);
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        struct pending *pending = &self->pending[i];
        if (pending->op && pending->io.pending == 0) {
            on_completion(self, pending);
        }
    }
}

static void posix_submit(void *arg, struct fs_op *op)
{
    struct posix_fs *self = arg;
    struct pending *place = NULL;
    must(fs_posix_path(self, op->handle));
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        must(self->pending[i].op != op);
        place = self->pending[i].op ? place : &self->pending[i];
    }
    must(place);
    op->completed = false;
    *place = (struct pending){
        .op = op, .offset = op->offset, .data = op->data, .size = op->size};
    start(self, place);
}

static bool posix_poll(void *arg, struct fs_op *op)
{
    if (!op->completed) {
        reap(arg, false);
    }
    return op->completed;
}

static void posix_wait(void *arg, struct fs_op *op)
{
    while (!op->completed) {
        reap(arg, true);
    }
}

bool fs_posix_use_uring(struct fs *fs, char *why, size_t why_size)
{
    struct posix_fs *self = fs->self;
    must(!self->ring);
    self->ring = uring_new(why, why_size);
    if (!self->ring) {
        return false;
    }
    fs->submit = posix_submit;
    fs->poll = posix_poll;
    fs->wait = posix_wait;
    return true;
}
