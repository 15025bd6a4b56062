/* uring.c -- see uring.h. Two entries are enough: IORING_OP_WRITE linked to
 * IORING_OP_FSYNC, or one of the latter alone. A write that fails or is short
 * breaks the link, and the kernel cancels the sync: it can never vouch for what
 * was not written.
 *
 * Both rings are shared with the kernel. It reads our entries only inside of
 * io_uring_enter(), so what it did not take can be taken back. The one for
 * completions is twice as large as ours: it has room for all three. */
#include "sys/uring.h"

#ifdef __linux__

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENTRIES = 2, OPS_PROBED = IORING_OP_WRITE + 1, NONE = -EAGAIN };

/* What a completion is of. */
enum { OF_WRITE = 1, OF_SYNC = 2, OF_SYNC_ALONE = 3 };

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
    uint32_t under_way; /* Completions of the first kind, still to come. */
    struct uring_result result;
    bool syncing; /* The second kind. */
    int synced;
};

static int setup(struct io_uring_params *params)
{
    return (int)syscall(__NR_io_uring_setup, ENTRIES, params);
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

/* Both operations came with Linux 5.6, as did the question. */
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
    /* A child that resolves a name has no business here. */
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
    ring->rings_bytes = max_u64(submit_bytes, done_bytes);
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
    struct io_uring_params params = {0};
    int fd = setup(&params);
    if (fd < 0) {
        snprintf(why, why_size, "io_uring: %s", strerror(errno));
        return NULL;
    }
    struct uring *ring = mem_alloc(sizeof(*ring));
    *ring = (struct uring){.fd = fd};
    if (!(params.features & IORING_FEAT_SINGLE_MMAP) || !knows_both(fd)) {
        snprintf(why, why_size, "io_uring: this kernel is too old");
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
    must(ring->under_way == 0 && !ring->syncing);
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

/* How many of those at `tail` the kernel took. */
static uint32_t submit(struct uring *ring, uint32_t tail, uint32_t entries)
{
    atomic_store_explicit(ring->submit_tail, tail + entries,
                          memory_order_release);
    int taken = enter(ring, entries, 0);
    uint32_t count = taken < 0 ? 0 : (uint32_t)taken;
    if (count < entries) {
        /* A sync that came later would not wait for the write. */
        atomic_store_explicit(ring->submit_tail, tail + count,
                              memory_order_release);
    }
    return count;
}

bool uring_start(struct uring *ring, int fd, uint64_t offset, const void *data,
                 size_t size)
{
    must(ring->under_way == 0 && size > 0 && size <= UINT32_MAX);
    uint32_t tail =
        atomic_load_explicit(ring->submit_tail, memory_order_relaxed);
    put(ring, tail,
        &(struct io_uring_sqe){.opcode = IORING_OP_WRITE,
                               .flags = IOSQE_IO_LINK,
                               .fd = fd,
                               .off = offset,
                               .addr = (uint64_t)(uintptr_t)data,
                               .len = (uint32_t)size,
                               .user_data = OF_WRITE});
    put(ring, tail + 1,
        &(struct io_uring_sqe){.opcode = IORING_OP_FSYNC,
                               .fd = fd,
                               .fsync_flags = IORING_FSYNC_DATASYNC,
                               .user_data = OF_SYNC});
    ring->under_way = submit(ring, tail, ENTRIES);
    ring->result = (struct uring_result){.wrote = NONE, .synced = NONE};
    return ring->under_way > 0;
}

bool uring_start_sync(struct uring *ring, int fd)
{
    must(!ring->syncing);
    uint32_t tail =
        atomic_load_explicit(ring->submit_tail, memory_order_relaxed);
    put(ring, tail,
        &(struct io_uring_sqe){.opcode = IORING_OP_FSYNC,
                               .fd = fd,
                               .fsync_flags = IORING_FSYNC_DATASYNC,
                               .user_data = OF_SYNC_ALONE});
    ring->syncing = submit(ring, tail, 1) > 0;
    return ring->syncing;
}

static void take(struct uring *ring, const struct io_uring_cqe *done)
{
    if (done->user_data == OF_SYNC_ALONE) {
        must(ring->syncing);
        ring->syncing = false;
        ring->synced = done->res;
        return;
    }
    must(ring->under_way > 0);
    ring->under_way--;
    if (done->user_data == OF_WRITE) {
        ring->result.wrote = done->res;
    } else {
        must(done->user_data == OF_SYNC);
        ring->result.synced = done->res;
    }
}

static void take_all(struct uring *ring)
{
    uint32_t head = atomic_load_explicit(ring->done_head, memory_order_relaxed);
    while (head !=
           atomic_load_explicit(ring->done_tail, memory_order_acquire)) {
        take(ring, &ring->done[head & ring->done_mask]);
        atomic_store_explicit(ring->done_head, ++head, memory_order_release);
    }
}

static void wait_for_one(struct uring *ring)
{
    int rc = enter(ring, 0, 1);
    must(rc >= 0 || errno == EAGAIN || errno == EBUSY);
    take_all(ring);
}

bool uring_finished(struct uring *ring, bool wait, struct uring_result *result)
{
    take_all(ring);
    while (wait && ring->under_way > 0) {
        wait_for_one(ring);
    }
    if (ring->under_way > 0) {
        return false;
    }
    *result = ring->result;
    return true;
}

bool uring_sync_finished(struct uring *ring, bool wait, int *result)
{
    take_all(ring);
    while (wait && ring->syncing) {
        wait_for_one(ring);
    }
    if (ring->syncing) {
        return false;
    }
    *result = ring->synced;
    return true;
}

bool uring_is_writing(const struct uring *ring)
{
    return ring->under_way > 0;
}

bool uring_is_syncing(const struct uring *ring)
{
    return ring->syncing;
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

bool uring_start(struct uring *ring, int fd, uint64_t offset, const void *data,
                 size_t size)
{
    must(ring && fd >= 0 && offset < UINT64_MAX && data && size > 0);
    return false;
}

bool uring_finished(struct uring *ring, bool wait, struct uring_result *result)
{
    must(ring && wait && result);
    return false;
}

bool uring_start_sync(struct uring *ring, int fd)
{
    must(ring && fd >= 0);
    return false;
}

bool uring_sync_finished(struct uring *ring, bool wait, int *result)
{
    must(ring && wait && result);
    return false;
}

bool uring_is_writing(const struct uring *ring)
{
    must(ring);
    return false;
}

bool uring_is_syncing(const struct uring *ring)
{
    must(ring);
    return false;
}

#endif
