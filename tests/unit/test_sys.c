/* test_sys.c -- files, clock, entropy. Each test of files runs on the kernel's
 * file system and on the one in memory: they must not be told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/fs.h"
#include "sys/memory.h"
#include "sys/sys.h"
#include "sys/uring.h"

struct fixture {
    struct fs *fs;
    char root[64]; /* "" in memory. */
};

static int setup_posix(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    snprintf(f->root, sizeof(f->root), "/tmp/test_sys.XXXXXX");
    assert_non_null(mkdtemp(f->root));
    assert_int_equal(fs_posix_new(f->root, &f->fs), ERR_OK);
    *state = f;
    return 0;
}

static int setup_memory(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    f->fs = fs_memory_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->root[0]) {
        fs_posix_free(f->fs);
        char command[96];
        snprintf(command, sizeof(command), "rm -rf %s", f->root);
        assert_int_equal(system(command), 0);
    } else {
        fs_memory_free(f->fs);
    }
    mem_free(f);
    return 0;
}

static int open_ok(const struct fs *fs, const char *path,
                   enum fs_open_mode mode)
{
    int handle = -1;
    assert_int_equal(fs->open(fs->self, path, mode, &handle), ERR_OK);
    assert_true(handle >= 0);
    return handle;
}

static void put(const struct fs *fs, const char *path, const char *text)
{
    int handle = open_ok(fs, path, FS_CREATE);
    assert_int_equal(fs->write(fs->self, handle, 0, text, strlen(text)),
                     ERR_OK);
    fs->close(fs->self, handle);
}

static void expect_content(const struct fs *fs, const char *path,
                           const char *text)
{
    uint8_t *data;
    size_t size;
    assert_int_equal(fs_read_all(fs, path, 4096, &data, &size), ERR_OK);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
    mem_free(data);
}

static void test_open_modes(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    int handle = -7;
    assert_int_equal(fs->open(fs->self, "a", FS_READ, &handle), ERR_NOT_FOUND);
    assert_int_equal(fs->open(fs->self, "a", FS_WRITE, &handle), ERR_NOT_FOUND);
    assert_int_equal(fs->open(fs->self, "no/a", FS_CREATE, &handle),
                     ERR_NOT_FOUND);
    assert_int_equal(handle, -7);
    put(fs, "a", "x");
    assert_int_equal(fs->open(fs->self, "a", FS_CREATE_NEW, &handle),
                     ERR_EXISTS);
    handle = open_ok(fs, "a", FS_CREATE); /* Keeps what is there. */
    fs->close(fs->self, handle);
    expect_content(fs, "a", "x");
    handle = open_ok(fs, "a", FS_READ);
    assert_int_equal(fs->write(fs->self, handle, 0, "y", 1), ERR_IO);
    fs->close(fs->self, handle);
    handle = open_ok(fs, "b", FS_CREATE_NEW);
    fs->close(fs->self, handle);
    expect_content(fs, "b", "");
}

static void test_read_write(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    int handle = open_ok(fs, "f", FS_CREATE);
    uint64_t size = 99;
    assert_int_equal(fs->size(fs->self, handle, &size), ERR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(fs->write(fs->self, handle, 10000, "end", 3), ERR_OK);
    assert_int_equal(fs->write(fs->self, handle, 0, "start", 5), ERR_OK);
    assert_int_equal(fs->write(fs->self, handle, 2, NULL, 0), ERR_OK);
    assert_int_equal(fs->fdatasync(fs->self, handle), ERR_OK);
    assert_int_equal(fs->size(fs->self, handle, &size), ERR_OK);
    assert_int_equal(size, 10003);
    fs->uncache(fs->self, handle); /* Nothing is lost by it. */

    char out[16];
    size_t got = 99;
    assert_int_equal(fs->read(fs->self, handle, 0, out, 8, &got), ERR_OK);
    assert_int_equal(got, 8);
    assert_memory_equal(out, "start\0\0\0", 8); /* The gap is zeros. */
    assert_int_equal(fs->read(fs->self, handle, 9999, out, 16, &got), ERR_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(out, "\0end", 4);
    assert_int_equal(fs->read(fs->self, handle, 10003, out, 16, &got), ERR_OK);
    assert_int_equal(got, 0);
    assert_int_equal(fs->read(fs->self, handle, 99999, out, 16, &got), ERR_OK);
    assert_int_equal(got, 0);
    fs->close(fs->self, handle);
}

static void test_rename_and_unlink(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    put(fs, "old", "old content");
    put(fs, "new", "new");
    int handle = open_ok(fs, "old", FS_READ);
    assert_int_equal(fs->rename(fs->self, "new", "old"), ERR_OK);
    expect_content(fs, "old", "new");
    assert_int_equal(fs->rename(fs->self, "new", "x"), ERR_NOT_FOUND);
    assert_int_equal(fs->rename(fs->self, "old", "no/x"), ERR_NOT_FOUND);
    assert_int_equal(fs->rename(fs->self, "old", "old"), ERR_OK);

    /* The replaced file lives on behind its handle. */
    char out[16];
    size_t got;
    assert_int_equal(fs->read(fs->self, handle, 4, out, 16, &got), ERR_OK);
    assert_int_equal(got, 7);
    assert_memory_equal(out, "content", 7);
    fs->close(fs->self, handle);

    handle = open_ok(fs, "old", FS_WRITE);
    assert_int_equal(fs->unlink(fs->self, "old"), ERR_OK);
    assert_int_equal(fs->unlink(fs->self, "old"), ERR_NOT_FOUND);
    assert_int_equal(fs->write(fs->self, handle, 3, "er", 2), ERR_OK);
    put(fs, "old", "other"); /* The name is free; the files are two. */
    assert_int_equal(fs->read(fs->self, handle, 0, out, 16, &got), ERR_OK);
    assert_int_equal(got, 5);
    assert_memory_equal(out, "newer", 5);
    fs->close(fs->self, handle);
    expect_content(fs, "old", "other");
}

static void collect(const char *name, void *arg)
{
    char *names = arg;
    strcat(names, name);
    strcat(names, " ");
}

static void test_directories(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    assert_int_equal(fs->mkdir(fs->self, "d"), ERR_OK);
    assert_int_equal(fs->mkdir(fs->self, "d"), ERR_OK);
    assert_int_equal(fs->mkdir(fs->self, "no/d"), ERR_NOT_FOUND);
    put(fs, "f", "");
    assert_int_equal(fs->mkdir(fs->self, "f"), ERR_EXISTS);
    put(fs, "d/one", "1");
    put(fs, "d/two", "2");
    assert_int_equal(fs->mkdir(fs->self, "d/sub"), ERR_OK);
    put(fs, "d/sub/deep", "3");
    assert_int_equal(fs->sync_dir(fs->self, "d"), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "."), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, ""), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "none"), ERR_NOT_FOUND);

    char names[64] = "";
    assert_int_equal(fs->list(fs->self, "d", collect, names), ERR_OK);
    assert_int_equal(strlen(names), strlen("one two sub "));
    assert_non_null(strstr(names, "one "));
    assert_non_null(strstr(names, "two "));
    assert_non_null(strstr(names, "sub "));
    assert_int_equal(fs->list(fs->self, "none", collect, names), ERR_NOT_FOUND);
    names[0] = '\0';
    assert_int_equal(fs->list(fs->self, ".", collect, names), ERR_OK);
    assert_int_equal(strlen(names), strlen("d f "));

    assert_int_equal(fs->unlink(fs->self, "d"), ERR_EXISTS);
    assert_int_equal(fs->rename(fs->self, "d", "e"), ERR_OK);
    expect_content(fs, "e/sub/deep", "3");
    assert_int_equal(fs->mkdir(fs->self, "d"), ERR_OK);
    assert_int_equal(fs->rename(fs->self, "d", "e"), ERR_EXISTS);
    assert_int_equal(fs->unlink(fs->self, "d"), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "d"), ERR_NOT_FOUND);
}

struct sweep {
    const struct fs *fs;
    int count;
};

static void remove_name(const char *name, void *arg)
{
    struct sweep *sweep = arg;
    assert_int_equal(sweep->fs->unlink(sweep->fs->self, name), ERR_OK);
    sweep->count++;
}

static void test_list_and_remove(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        put(fs, name, "x");
    }
    struct sweep sweep = {.fs = fs};
    assert_int_equal(fs->list(fs->self, "", remove_name, &sweep), ERR_OK);
    assert_int_equal(sweep.count, 40);
    assert_int_equal(fs->list(fs->self, "", remove_name, &sweep), ERR_OK);
    assert_int_equal(sweep.count, 40);
}

static void remove_directory(const char *name, void *arg)
{
    struct sweep *sweep = arg;
    assert_int_equal(fs_empty(sweep->fs, name), ERR_OK);
    remove_name(name, arg);
}

/* A name goes, and with it all that is below. */
static void test_list_and_remove_trees(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof(name), "d%d", i);
        assert_int_equal(fs->mkdir(fs->self, name), ERR_OK);
        for (int k = 0; k < 3; k++) {
            snprintf(name, sizeof(name), "d%d/f%d", i, k);
            put(fs, name, "x");
        }
    }
    struct sweep sweep = {.fs = fs};
    assert_int_equal(fs->list(fs->self, ".", remove_directory, &sweep), ERR_OK);
    assert_int_equal(sweep.count, 5);
    assert_int_equal(fs->list(fs->self, ".", remove_directory, &sweep), ERR_OK);
    assert_int_equal(sweep.count, 5);
}

static void test_lock(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    int first, second = -7;
    assert_int_equal(fs->lock(fs->self, "LOCK", &first), ERR_OK);
    assert_int_equal(fs->lock(fs->self, "LOCK", &second), ERR_LOCKED);
    assert_int_equal(second, -7);
    /* Looking at the file does not lose the lock. */
    expect_content(fs, "LOCK", "");
    assert_int_equal(fs->lock(fs->self, "LOCK", &second), ERR_LOCKED);
    fs->close(fs->self, first);
    assert_int_equal(fs->lock(fs->self, "LOCK", &second), ERR_OK);
    fs->close(fs->self, second);
}

static void test_replace(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    assert_int_equal(fs->mkdir(fs->self, "d"), ERR_OK);
    /* A longer draft that a crash left must not shine through. */
    put(fs, "d/x.tmp", "a draft of long ago");
    assert_int_equal(fs_replace(fs, "d", "d/x", "first", 5), ERR_OK);
    expect_content(fs, "d/x", "first");
    assert_int_equal(fs_replace(fs, "d", "d/x", "2nd", 3), ERR_OK);
    expect_content(fs, "d/x", "2nd");
    int handle;
    assert_int_equal(fs->open(fs->self, "d/x.tmp", FS_READ, &handle),
                     ERR_NOT_FOUND);
    assert_int_equal(fs_replace(fs, "no", "no/x", "", 0), ERR_NOT_FOUND);
}

/* A file system that fails one call in turn, over the one in memory. */
struct faulty {
    struct fs fs;
    const struct fs *below;
    int calls;
    int fail_at;
};

static bool fault(struct faulty *f)
{
    return f->calls++ == f->fail_at;
}
static enum err faulty_open(void *self, const char *path,
                            enum fs_open_mode mode, int *handle)
{
    struct faulty *f = self;
    return fault(f) ? ERR_IO
                    : f->below->open(f->below->self, path, mode, handle);
}
static void faulty_close(void *self, int handle)
{
    struct faulty *f = self;
    f->below->close(f->below->self, handle);
}
static enum err faulty_write(void *self, int handle, uint64_t offset,
                             const void *data, size_t size)
{
    struct faulty *f = self;
    if (fault(f)) {
        (void)f->below->write(f->below->self, handle, offset, data, size / 2);
        return ERR_NOSPACE;
    }
    return f->below->write(f->below->self, handle, offset, data, size);
}
static enum err faulty_fdatasync(void *self, int handle)
{
    struct faulty *f = self;
    return fault(f) ? ERR_IO : f->below->fdatasync(f->below->self, handle);
}
static enum err faulty_rename(void *self, const char *from, const char *to)
{
    struct faulty *f = self;
    return fault(f) ? ERR_IO : f->below->rename(f->below->self, from, to);
}
static enum err faulty_unlink(void *self, const char *path)
{
    struct faulty *f = self;
    return fault(f) ? ERR_IO : f->below->unlink(f->below->self, path);
}
static enum err faulty_sync_dir(void *self, const char *path)
{
    struct faulty *f = self;
    return fault(f) ? ERR_IO : f->below->sync_dir(f->below->self, path);
}

static void test_replace_survives_any_one_fault(void **state)
{
    const struct fs *below = ((struct fixture *)*state)->fs;
    for (int fail_at = 0;; fail_at++) {
        assert_true(fail_at < 20);
        put(below, "x", "old");
        struct faulty f = {.below = below, .fail_at = fail_at};
        f.fs = (struct fs){.self = &f,
                           .open = faulty_open,
                           .close = faulty_close,
                           .write = faulty_write,
                           .fdatasync = faulty_fdatasync,
                           .rename = faulty_rename,
                           .unlink = faulty_unlink,
                           .sync_dir = faulty_sync_dir};
        enum err err = fs_replace(&f.fs, "", "x", "new", 3);
        if (f.calls <= fail_at) {
            assert_int_equal(err, ERR_OK);
            expect_content(below, "x", "new");
            assert_true(fail_at >= 6); /* All six kinds of call were tried. */
            return;
        }
        assert_int_not_equal(err, ERR_OK);
        bool only_sync_dir_failed = fail_at == 5;
        expect_content(below, "x", only_sync_dir_failed ? "new" : "old");
        (void)below->unlink(below->self, "x.tmp");
    }
}

static void test_read_all(void **state)
{
    const struct fs *fs = ((struct fixture *)*state)->fs;
    uint8_t *data = NULL;
    size_t size = 7;
    assert_int_equal(fs_read_all(fs, "x", 3, &data, &size), ERR_NOT_FOUND);
    put(fs, "x", "abc");
    assert_int_equal(fs_read_all(fs, "x", 2, &data, &size), ERR_TOO_BIG);
    assert_null(data);
    assert_int_equal(size, 7);
    assert_int_equal(fs_read_all(fs, "x", 3, &data, &size), ERR_OK);
    assert_int_equal(size, 3);
    mem_free(data);
}

/* Tests of the kernel's file system only. */

static void test_real_path(void **state)
{
    const struct fixture *f = *state;
    char path[FS_PATH_BYTES];
    put(f->fs, "db", "x");
    assert_true(f->fs->real_path(f->fs->self, "db", path, sizeof(path)));
    assert_int_equal(access(path, R_OK), 0);
    assert_false(f->fs->real_path(f->fs->self, "db", path, 5));

    struct fs *memory = fs_memory_new();
    assert_false(memory->real_path(memory->self, "db", path, sizeof(path)));
    fs_memory_free(memory);
}

static void test_lock_of_another_process(void **state)
{
    const struct fixture *f = *state;
    int mine, ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct fs *fs;
        int handle;
        bool ok = fs_posix_new(f->root, &fs) == ERR_OK &&
                  fs->lock(fs->self, "LOCK", &handle) == ERR_OK;
        (void)!write(ready[1], ok ? "y" : "n", 1);
        pause();
        _exit(0);
    }
    char answer = 0;
    assert_int_equal(read(ready[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    assert_int_equal(f->fs->lock(f->fs->self, "LOCK", &mine), ERR_LOCKED);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    /* A kill leaves no stale lock behind. */
    assert_int_equal(f->fs->lock(f->fs->self, "LOCK", &mine), ERR_OK);
    f->fs->close(f->fs->self, mine);
    close(ready[0]);
    close(ready[1]);
}

static void test_no_space(void **state)
{
    (void)state;
    struct fs *fs;
    int handle;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    assert_int_equal(fs_posix_new("/dev", &fs), ERR_OK);
    assert_int_equal(fs->open(fs->self, "full", FS_WRITE, &handle), ERR_OK);
    assert_int_equal(fs->write(fs->self, handle, 0, "x", 1), ERR_NOSPACE);
    fs->close(fs->self, handle);
    fs_posix_free(fs);
}

#ifdef __linux__
/* It is the kernel that knows: the sync is not even tried. */
static void test_the_sync_is_linked_to_its_write(void **state)
{
    const struct fixture *f = *state;
    char why[64];
    struct uring *ring = uring_new(why, sizeof(why));
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (!ring || full < 0) {
        skip();
    }
    struct uring_op op = {0};
    uring_reap(ring, false); /* Nothing is in flight. */
    assert_true(uring_write_sync(ring, &op, full, 0, "x", 1));
    while (op.pending > 0) {
        uring_reap(ring, true);
    }
    assert_int_equal(op.wrote, -ENOSPC);
    assert_int_equal(op.synced, -ECANCELED);
    close(full);
    int handle = open_ok(f->fs, "linked", FS_CREATE);
    assert_true(uring_write_sync(ring, &op, handle, 0, "x", 1));
    while (op.pending > 0) {
        uring_reap(ring, true);
    }
    assert_int_equal(op.wrote, 1);
    assert_int_equal(op.synced, 0);
    f->fs->close(f->fs->self, handle);
    uring_free(ring);
}

/* A ring that is restricted takes nothing more to register, and only the
 * operations that it was made for. */
static void test_the_ring_is_restricted(void **state)
{
    (void)state;
    char why[64];
    struct uring *ring = uring_new(why, sizeof(why));
    if (!ring) {
        skip();
    }
    int fd = uring_fd(ring);
    enum { REGISTER_EVENTFD = 4 };
    assert_int_equal(
        syscall(SYS_io_uring_register, fd, REGISTER_EVENTFD, &fd, 1), -1);
    assert_int_equal(errno, EACCES);
    uring_free(ring);
}

/* A lack of descriptors is no failure of the disk, and what was synced once
 * needs none to be synced again. */
static void test_descriptors_run_out(void **state)
{
    const struct fixture *f = *state;
    struct fs *fs = f->fs;
    int handle;
    assert_int_equal(fs->mkdir(fs->self, "kept"), ERR_OK);
    assert_int_equal(fs->mkdir(fs->self, "other"), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "kept"), ERR_OK);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum err opened = fs->open(fs->self, "file", FS_CREATE, &handle);
    enum err kept = fs->sync_dir(fs->self, "kept");
    enum err root = fs->sync_dir(fs->self, ".");
    enum err other = fs->sync_dir(fs->self, "other");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(opened, ERR_RESOURCES);
    assert_int_equal(kept, ERR_OK);
    assert_int_equal(root, ERR_OK);
    assert_int_equal(other, ERR_RESOURCES);
    assert_true(err_is_shortage(ERR_RESOURCES));
    assert_false(err_is_shortage(ERR_IO));
    assert_int_equal(fs->sync_dir(fs->self, "other"), ERR_OK);

    /* The name of another directory now. */
    assert_int_equal(fs->rename(fs->self, "kept", "gone"), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "kept"), ERR_NOT_FOUND);
    assert_int_equal(fs->unlink(fs->self, "other"), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "other"), ERR_NOT_FOUND);
}

/* As on CIFS: there is nothing to sync, which is a warning and no failure. */
static void test_directories_that_cannot_be_synced(void **state)
{
    (void)state;
    struct fs *fs = NULL;
    struct stat status;
    if (stat("/proc/self/task", &status) != 0) {
        skip();
    }
    assert_int_equal(fs_posix_new("/proc/self/task", &fs), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "."), ERR_OK);
    assert_int_equal(fs->sync_dir(fs->self, "nothing"), ERR_NOT_FOUND);
    fs_posix_free(fs);
}

#endif

static void test_bad_root(void **state)
{
    (void)state;
    struct fs *fs = NULL;
    assert_int_equal(fs_posix_new("/tmp/no-such-parent/x", &fs), ERR_IO);
    assert_int_equal(fs_posix_new("/dev/null", &fs), ERR_IO);
    assert_null(fs);
}

static void test_clock(void **state)
{
    (void)state;
    uint64_t before = sys_now_ns();
    uint64_t before_ms = sys_now_ms();
    usleep(20000);
    uint64_t after = sys_now_ns();
    assert_true(after - before >= 20000000u);
    assert_true(after - before < 20000000000u);
    assert_true(sys_now_ms() - before_ms >= 20);
    assert_true(before_ms - before / 1000000u < 1000);
}

static void test_entropy(void **state)
{
    (void)state;
    uint8_t a[700] = {0},
            b[700] = {0}; /* More than the kernel gives at once. */
    sys_entropy(a, 699);
    sys_entropy(b, 699);
    assert_memory_not_equal(a, b, 200);
    assert_memory_not_equal(a + 500, b + 500, 199);
    assert_int_equal(a[699], 0);
}

#define BOTH(test)                                                             \
    cmocka_unit_test_setup_teardown(test, setup_posix, teardown),              \
        cmocka_unit_test_setup_teardown(test, setup_memory, teardown)

#ifdef __linux__
static void test_process(void **state)
{
    (void)state;
    struct sys_process before;
    struct sys_process after;
    sys_process(&before);
    assert_true(before.has_memory);
    assert_true(before.resident_bytes > 0);
    assert_true(before.virtual_bytes >= before.resident_bytes);
    assert_true(before.open_fds >= 1 && before.open_fds < before.max_fds);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    uint64_t until = sys_now_ms() + 20;
    while (sys_now_ms() < until) {
    }
    sys_process(&after);
    assert_int_equal(after.open_fds, before.open_fds + 2);
    assert_true(after.cpu_us > before.cpu_us);
    close(fds[0]);
    close(fds[1]);
}

static uint64_t count_with_limit(rlim_t max_fds)
{
    struct rlimit before;
    struct sys_process process;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = max_fds, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    sys_process(&process);
    assert_int_equal(process.max_fds, max_fds);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    return process.open_fds;
}

/* Many, with gaps, and a limit that was lowered below what is open. */
static void test_process_counts_descriptors(void **state)
{
    (void)state;
    enum { MANY = 40, LOW = 8 };
    int fds[MANY];
    uint64_t before = count_with_limit(LOW);
    for (int i = 0; i < MANY; i++) {
        fds[i] = dup(STDERR_FILENO);
        assert_true(fds[i] >= 0);
    }
    for (int i = 0; i < MANY; i += 4) {
        close(fds[i]);
    }
    assert_int_equal(count_with_limit(LOW), before + MANY * 3 / 4);
    for (int i = 0; i < MANY; i++) {
        if (i % 4 != 0) {
            close(fds[i]);
        }
    }
}
#endif

/* ---- memory ---- */

/* Writes a file of `root`, and the directories above it. */
static void write_below(const char *root, const char *path, const char *text)
{
    char command[512];
    snprintf(command, sizeof(command),
             "mkdir -p \"$(dirname '%s%s')\" && printf '%s' >'%s%s'", root,
             path, text, root, path);
    assert_int_equal(system(command), 0);
}

static void test_memory_of_control_groups(void **state)
{
    const struct fixture *f = *state;
    const char *root = f->root;
    assert_true(sys_memory_of_groups("/nowhere") == UINT64_MAX);
    write_below(root, "/proc/self/cgroup", "");
    assert_true(sys_memory_of_groups(root) == UINT64_MAX);

    /* Version 2: the limits of the group and of those above it. */
    write_below(root, "/proc/self/cgroup", "0::/a/b\\n");
    assert_true(sys_memory_of_groups(root) == UINT64_MAX);
    write_below(root, "/sys/fs/cgroup/a/b/memory.max", "max\\n");
    assert_true(sys_memory_of_groups(root) == UINT64_MAX);
    write_below(root, "/sys/fs/cgroup/a/b/memory.max", "33554432\\n");
    assert_int_equal(sys_memory_of_groups(root), 32 << 20);
    write_below(root, "/sys/fs/cgroup/a/memory.max", "16777216\\n");
    assert_int_equal(sys_memory_of_groups(root), 16 << 20);
    /* In a container: the group's own directory is the root. */
    write_below(root, "/sys/fs/cgroup/memory.max", "8388608\\n");
    assert_int_equal(sys_memory_of_groups(root), 8 << 20);
    write_below(root, "/proc/self/cgroup", "0::/../x\\n0::/");
    assert_int_equal(sys_memory_of_groups(root), 8 << 20);

    /* Version 1, and both at once. */
    write_below(root, "/proc/self/cgroup",
                "5:cpu,memory2:/c\\n4:cpu,memory:/c\\n0::/none\\n");
    assert_int_equal(sys_memory_of_groups(root), 8 << 20);
    write_below(root, "/sys/fs/cgroup/memory/c/memory.limit_in_bytes",
                "4194304\\n");
    assert_int_equal(sys_memory_of_groups(root), 4 << 20);

    /* What is no such file is ignored. */
    write_below(root, "/proc/self/cgroup", "::\\n:\\nmemory\\n4:memory:\\n");
    assert_true(sys_memory_of_groups(root) == UINT64_MAX);
}

static void test_memory_of_this_process(void **state)
{
    (void)state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_DATA, &old), 0);
    uint64_t before = sys_memory();
    assert_true(before > 64 << 20);
    struct rlimit lower = {.rlim_cur = 48 << 20, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, &lower), 0);
    uint64_t limited = sys_memory();
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_DATA, &now), 0);
    assert_int_equal(setrlimit(RLIMIT_DATA, &old), 0);
    if (now.rlim_cur != lower.rlim_cur) {
        skip(); /* qemu-user passes this limit over. */
    }
    assert_int_equal(limited, 48 << 20);
}

/* The place is beyond what memory can have. */
static void test_a_file_without_memory(void **state)
{
    const struct fixture *f = *state;
    int handle;
    assert_int_equal(f->fs->open(f->fs->self, "file", FS_CREATE, &handle),
                     ERR_OK);
    assert_int_equal(f->fs->write(f->fs->self, handle, UINT64_MAX / 2, "x", 1),
                     ERR_NOSPACE);
    assert_int_equal(f->fs->write(f->fs->self, handle, 0, "x", 1), ERR_OK);
    f->fs->close(f->fs->self, handle);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        BOTH(test_open_modes),
        BOTH(test_read_write),
        BOTH(test_rename_and_unlink),
        BOTH(test_directories),
        BOTH(test_list_and_remove),
        BOTH(test_list_and_remove_trees),
        BOTH(test_lock),
        BOTH(test_replace),
        BOTH(test_replace_survives_any_one_fault),
        BOTH(test_read_all),
        cmocka_unit_test_setup_teardown(test_real_path, setup_posix, teardown),
        cmocka_unit_test_setup_teardown(test_memory_of_control_groups,
                                        setup_posix, teardown),
        cmocka_unit_test(test_memory_of_this_process),
        cmocka_unit_test_setup_teardown(test_a_file_without_memory,
                                        setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_lock_of_another_process,
                                        setup_posix, teardown),
        cmocka_unit_test(test_no_space),
        cmocka_unit_test(test_bad_root),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_entropy),
#ifdef __linux__
        cmocka_unit_test(test_the_ring_is_restricted),
        cmocka_unit_test_setup_teardown(test_the_sync_is_linked_to_its_write,
                                        setup_posix, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors_run_out, setup_posix,
                                        teardown),
        cmocka_unit_test(test_directories_that_cannot_be_synced),
        cmocka_unit_test(test_process),
        cmocka_unit_test(test_process_counts_descriptors),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
