/* uring.c -- see uring.h. A write is IORING_OP_WRITE linked to IORING_OP_FSYNC.
 * A write that fails or is short breaks the link, and the kernel cancels the
 * sync, so that a sync never succeeds for data that was not written.
 *
 * Both rings are shared with the kernel. It reads entries only in
 * io_uring_enter(), so entries that it did not accept can be withdrawn. The
 * ring of completions is twice as large as the ring of entries, enough for all
 * operations that may be in flight. */
#include "sys/uring.h"

#ifdef __linux__

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ENTRIES = 2, /* Per operation. */
    COMPLETIONS_MAX = URING_OPS_MAX * ENTRIES,
    OPS_PROBED = IORING_OP_WRITE + 1,
    NOT_TAKEN = -EAGAIN,
};
_Static_assert(COMPLETIONS_MAX <= 2 * ENTRIES, "the ring holds them all");

/* Lowest bit of a completion's user data, which is the operation's address. */
enum { TAG_SYNC = 0, TAG_WRITE = 1 };

struct uring {
    int fd;
    uint8_t *rings; /* Both, in one mapping (IORING_FEAT_SINGLE_MMAP). */
    size_t rings_bytes;
    struct io_uring_sqe *entries;
    size_t entries_bytes;
    _Atomic uint32_t *submit_tail;
    uint32_t submit_mask;
    uint32_t *submit_array;
    _Atomic uint32_t *done_head;
    _Atomic uint32_t *done_tail;
    uint32_t done_mask;
    const struct io_uring_cqe *done;
    uint32_t pending; /* Completions still to come, of all operations. */
};

/* Restrictions of a ring came with Linux 5.10; headers may be older. */
enum {
    SETUP_DISABLED = 1 << 6,
    REGISTER_RESTRICTIONS = 11,
    REGISTER_ENABLE = 12,
    ALLOW_OPERATION = 1,
    ALLOW_ENTRY_FLAGS = 2,
};
struct restriction {
    uint16_t kind;
    uint8_t value;
    uint8_t reserved[13];
};

/* Where restrictions exist, the ring is disabled until it has them. */
static int setup(struct io_uring_params *params)
{
    *params = (struct io_uring_params){.flags = SETUP_DISABLED};
    int fd = (int)syscall(__NR_io_uring_setup, ENTRIES, params);
    if (fd < 0 && errno == EINVAL) {
        *params = (struct io_uring_params){0};
        fd = (int)syscall(__NR_io_uring_setup, ENTRIES, params);
    }
    return fd;
}

/* No filter of system calls sees what a ring does (sandbox.h): let it do what
 * this file asks for, and nothing else. */
static bool restrict_and_enable(int fd)
{
    const struct restriction restrictions[] = {
        {.kind = ALLOW_OPERATION, .value = IORING_OP_WRITE},
        {.kind = ALLOW_OPERATION, .value = IORING_OP_FSYNC},
        {.kind = ALLOW_ENTRY_FLAGS, .value = IOSQE_IO_LINK},
    };
    return syscall(__NR_io_uring_register, fd, REGISTER_RESTRICTIONS,
                   restrictions, ARRAY_COUNT(restrictions)) == 0 &&
           syscall(__NR_io_uring_register, fd, REGISTER_ENABLE, NULL, 0) == 0;
}

static int enter(const struct uring *ring, uint32_t submit, uint32_t wait_for)
{
    int rc;
    do {
        rc = (int)syscall(__NR_io_uring_enter, ring->fd, submit, wait_for,
                          wait_for > 0 ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

/* Does the kernel have both operations? They came with Linux 5.6, as did the
 * request that asks for them. */
static bool knows_both(int fd)
{
    uint64_t room[(sizeof(struct io_uring_probe) +
                   OPS_PROBED * sizeof(struct io_uring_probe_op)) /
                      sizeof(uint64_t) +
                  1] = {0};
    struct io_uring_probe *probe = (struct io_uring_probe *)room;
    if (syscall(__NR_io_uring_register, fd, IORING_REGISTER_PROBE, probe,
                OPS_PROBED) < 0) {
        return false;
    }
    return probe->last_op >= IORING_OP_WRITE &&
           (probe->ops[IORING_OP_WRITE].flags & IO_URING_OP_SUPPORTED) &&
           (probe->ops[IORING_OP_FSYNC].flags & IO_URING_OP_SUPPORTED);
}

static void *map(int fd, size_t size, uint64_t offset)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);
    if (at == MAP_FAILED) {
        return NULL;
    }
    /* The child processes that resolve names do not inherit it. */
    (void)madvise(at, size, MADV_DONTFORK);
    return at;
}

static void *at_offset(const struct uring *ring, uint32_t offset)
{
    return ring->rings + offset;
}

static bool map_rings(struct uring *ring, const struct io_uring_params *params)
{
    size_t submit_bytes =
        params->sq_off.array + params->sq_entries * sizeof(uint32_t);
    size_t done_bytes =
        params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
    ring->rings_bytes = submit_bytes > done_bytes ? submit_bytes : done_bytes;
    ring->entries_bytes = params->sq_entries * sizeof(struct io_uring_sqe);
    ring->rings = map(ring->fd, ring->rings_bytes, IORING_OFF_SQ_RING);
    ring->entries = map(ring->fd, ring->entries_bytes, IORING_OFF_SQES);
    if (!ring->rings || !ring->entries) {
        return false;
    }
    ring->submit_tail = at_offset(ring, params->sq_off.tail);
    ring->submit_mask =
        *(const uint32_t *)at_offset(ring, params->sq_off.ring_mask);
    ring->submit_array = at_offset(ring, params->sq_off.array);
    ring->done_head = at_offset(ring, params->cq_off.head);
    ring->done_tail = at_offset(ring, params->cq_off.tail);
    ring->done_mask =
        *(const uint32_t *)at_offset(ring, params->cq_off.ring_mask);
    ring->done = at_offset(ring, params->cq_off.cqes);
    return true;
}

struct uring *uring_new(char *why, size_t why_size)
{
    struct io_uring_params params;
    int fd = setup(&params);
    if (fd < 0) {
        snprintf(why, why_size, "io_uring: %s", strerror(errno));
        return NULL;
    }
    struct uring *ring = mem_alloc(sizeof(*ring));
    *ring = (struct uring){.fd = fd};
    if (!(params.features & IORING_FEAT_SINGLE_MMAP) || !knows_both(fd)) {
        snprintf(why, why_size, "io_uring: this kernel is too old");
    } else if ((params.flags & SETUP_DISABLED) && !restrict_and_enable(fd)) {
        snprintf(why, why_size, "io_uring: restrict: %s", strerror(errno));
    } else if (!map_rings(ring, &params)) {
        snprintf(why, why_size, "io_uring: mmap: %s", strerror(errno));
    } else {
        return ring;
    }
    uring_free(ring);
    return NULL;
}

void uring_free(struct uring *ring)
{
    if (!ring) {
        return;
    }
    must(ring->pending == 0);
    if (ring->entries) {
        (void)munmap(ring->entries, ring->entries_bytes);
    }
    if (ring->rings) {
        (void)munmap(ring->rings, ring->rings_bytes);
    }
    (void)close(ring->fd);
    mem_free(ring);
}

int uring_fd(const struct uring *ring)
{
    return ring->fd;
}

static void put(struct uring *ring, uint32_t tail,
                const struct io_uring_sqe *entry)
{
    uint32_t place = tail & ring->submit_mask;
    ring->entries[place] = *entry;
    ring->submit_array[place] = place;
}

/* Submit the entries at `tail`. False: the kernel took none of them. */
static bool submit(struct uring *ring, struct uring_op *op, uint32_t tail,
                   uint32_t entries)
{
    must(ring->pending + entries <= COMPLETIONS_MAX);
    atomic_store_explicit(ring->submit_tail, tail + entries,
                          memory_order_release);
    int taken = enter(ring, entries, 0);
    uint32_t count = taken < 0 ? 0 : (uint32_t)taken;
    if (count < entries) {
        /* Withdraw the rest: a sync that is submitted alone later would not
         * wait for the write. */
        atomic_store_explicit(ring->submit_tail, tail + count,
                              memory_order_release);
    }
    op->pending = count;
    ring->pending += count;
    return count > 0;
}

static uint64_t tagged(const struct uring_op *op, uint64_t tag)
{
    _Static_assert(_Alignof(struct uring_op) > TAG_WRITE, "a bit is free");
    return (uint64_t)(uintptr_t)op | tag;
}

bool uring_write_sync(struct uring *ring, struct uring_op *op, int fd,
                      uint64_t offset, const void *data, size_t size)
{
    must(op->pending == 0 && size > 0 && size <= UINT32_MAX);
    uint32_t tail =
        atomic_load_explicit(ring->submit_tail, memory_order_relaxed);
    put(ring, tail,
        &(struct io_uring_sqe){.opcode = IORING_OP_WRITE,
                               .flags = IOSQE_IO_LINK,
                               .fd = fd,
                               .off = offset,
                               .addr = (uint64_t)(uintptr_t)data,
                               .len = (uint32_t)size,
                               .user_data = tagged(op, TAG_WRITE)});
    put(ring, tail + 1,
        &(struct io_uring_sqe){.opcode = IORING_OP_FSYNC,
                               .fd = fd,
                               .fsync_flags = IORING_FSYNC_DATASYNC,
                               .user_data = tagged(op, TAG_SYNC)});
    *op = (struct uring_op){.wrote = NOT_TAKEN, .synced = NOT_TAKEN};
    return submit(ring, op, tail, ENTRIES);
}

bool uring_sync(struct uring *ring, struct uring_op *op, int fd)
{
    must(op->pending == 0);
    uint32_t tail =
        atomic_load_explicit(ring->submit_tail, memory_order_relaxed);
    put(ring, tail,
        &(struct io_uring_sqe){.opcode = IORING_OP_FSYNC,
                               .fd = fd,
                               .fsync_flags = IORING_FSYNC_DATASYNC,
                               .user_data = tagged(op, TAG_SYNC)});
    *op = (struct uring_op){.synced = NOT_TAKEN};
    return submit(ring, op, tail, 1);
}

static void deliver(struct uring *ring, const struct io_uring_cqe *done)
{
    uint64_t tag = done->user_data & TAG_WRITE;
    struct uring_op *op = (void *)(uintptr_t)(done->user_data - tag);
    must(op->pending > 0 && ring->pending > 0);
    op->pending--;
    ring->pending--;
    if (tag == TAG_WRITE) {
        op->wrote = done->res;
    } else {
        op->synced = done->res;
    }
}

void uring_reap(struct uring *ring, bool wait)
{
    uint32_t head = atomic_load_explicit(ring->done_head, memory_order_relaxed);
    if (wait &&
        head == atomic_load_explicit(ring->done_tail, memory_order_acquire)) {
        must(ring->pending > 0);
        int rc = enter(ring, 0, 1);
        must(rc >= 0 || errno == EAGAIN || errno == EBUSY);
    }
    while (head !=
           atomic_load_explicit(ring->done_tail, memory_order_acquire)) {
        deliver(ring, &ring->done[head & ring->done_mask]);
        atomic_store_explicit(ring->done_head, ++head, memory_order_release);
    }
}

#else

#include <stdio.h>

struct uring *uring_new(char *why, size_t why_size)
{
    snprintf(why, why_size, "io_uring: Linux only");
    return NULL;
}

void uring_free(struct uring *ring)
{
    must(!ring);
}

int uring_fd(const struct uring *ring)
{
    must(ring);
    return -1;
}

bool uring_write_sync(struct uring *ring, struct uring_op *op, int fd,
                      uint64_t offset, const void *data, size_t size)
{
    must(ring && op && fd >= 0 && offset < UINT64_MAX && data && size > 0);
    return false;
}

bool uring_sync(struct uring *ring, struct uring_op *op, int fd)
{
    must(ring && op && fd >= 0);
    return false;
}

void uring_reap(struct uring *ring, bool wait)
{
    must(ring && wait);
}

#endif
