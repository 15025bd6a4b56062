/* test_sys_async.c -- asynchronous operations on the kernel's files, by
 * io_uring and by processes: each test runs with both, as callers see no
 * difference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "sys/fs.h"
#include "sys/fs_posix_internal.h"

static char root[64];
static bool by_processes;
static bool prepared_well;

static int setup_root(void)
{
    (void)alarm(60); /* A wait without end is a failure. */
    snprintf(root, sizeof(root), "/tmp/craftd-async-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int setup_uring(void **state)
{
    (void)state;
    by_processes = false;
    return setup_root();
}

static int setup_processes(void **state)
{
    (void)state;
    by_processes = true;
    return setup_root();
}

static int teardown(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

/* In the process: descriptors that are not its own are closed by now. */
static void prepare(void *arg)
{
    if (!*(bool *)arg || close(4) == 0) {
        _exit(1);
    }
}

static struct fs *async_at(const char *path)
{
    struct fs *fs;
    char why[64];
    int fds[FS_OPS_MAX];
    assert_int_equal(fs_posix_new(path, &fs), ERR_OK);
    assert_int_equal(fs_posix_event_fds(fs, fds), 0);
    if (by_processes) {
        prepared_well = true;
        assert_true(fs_posix_use_processes(fs, prepare, &prepared_well, why,
                                           sizeof(why)));
        const struct posix_fs *self = fs->self;
        assert_int_equal(self->sync_process_count, FS_OPS_MAX);
        assert_int_equal(fs_posix_event_fds(fs, fds), FS_OPS_MAX);
    } else if (!fs_posix_use_uring(fs, why, sizeof(why))) {
        assert_memory_equal(why, "io_uring: ", 10);
        fs_posix_free(fs);
        skip();
    } else {
        assert_int_equal(fs_posix_event_fds(fs, fds), 1);
    }
    return fs;
}

/* Whether an event is there before `wait_ms` are over. */
static bool await_event(struct fs *fs, int wait_ms)
{
    int fds[FS_OPS_MAX];
    struct pollfd events[FS_OPS_MAX];
    size_t count = fs_posix_event_fds(fs, fds);
    for (size_t i = 0; i < count; i++) {
        events[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    return poll(events, count, wait_ms) > 0;
}

static void submit_and_wait(struct fs *fs, int handle, const void *data,
                            size_t size, enum err wanted)
{
    struct fs_op op = {.handle = handle, .data = data, .size = size};
    fs->submit(fs->self, &op);
    fs->wait(fs->self, &op);
    assert_true(op.completed);
    assert_int_equal(op.err, wanted);
}

/* The descriptor tells, and not before there is something to tell. */
static void test_async_write(void **state)
{
    enum { SIZE = 300000, ROUNDS = 40 };
    (void)state;
    struct fs *fs = async_at(root);
    uint8_t *data = mem_alloc(SIZE);
    uint8_t *found = mem_alloc(SIZE);
    int handle;
    assert_int_equal(fs->open(fs->self, "beside", FS_CREATE, &handle), ERR_OK);
    for (int i = 0; i < ROUNDS; i++) {
        size_t size = i % 4 == 0 ? SIZE : 4096;
        uint64_t offset = (uint64_t)i * SIZE;
        struct fs_op op = {
            .handle = handle, .offset = offset, .data = data, .size = size};
        memset(data, i + 1, size);
        assert_false(await_event(fs, 0));
        fs->submit(fs->self, &op);
        if (i % 3 == 0) {
            fs->wait(fs->self, &op);
            assert_true(op.completed);
        }
        while (!op.completed) {
            assert_true(await_event(fs, 20000));
            (void)fs->poll(fs->self, &op);
        }
        assert_int_equal(op.err, ERR_OK);
        assert_true(fs->poll(fs->self, &op)); /* It stays complete. */
        size_t got;
        assert_int_equal(fs->read(fs->self, handle, offset, found, size, &got),
                         ERR_OK);
        assert_int_equal(got, size);
        assert_memory_equal(found, data, size);
    }
    fs->close(fs->self, handle);
    mem_free(data);
    mem_free(found);
    fs_posix_free(fs);
}

/* A sync cannot vouch for a write that failed; one that fails is final. */
static void test_async_write_fails(void **state)
{
    (void)state;
    int handle;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    struct fs *fs = async_at("/dev");
    assert_int_equal(fs->open(fs->self, "full", FS_WRITE, &handle), ERR_OK);
    for (int i = 0; i < 3; i++) {
        submit_and_wait(fs, handle, "x", 1, ERR_NOSPACE);
    }
    fs->close(fs->self, handle);
    /* It takes what is written, and cannot be synced. */
    assert_int_equal(fs->open(fs->self, "null", FS_WRITE, &handle), ERR_OK);
    submit_and_wait(fs, handle, "x", 1, ERR_IO);
    fs->close(fs->self, handle);
    fs_posix_free(fs);
}

/* A sync alone, with a write of another file in flight or not, whichever is
 * waited for first. Reaping one may complete the other, and then the descriptor
 * is silent: `completed` is the only sign. */
static void test_async_sync(void **state)
{
    enum { ROUNDS = 40 };
    static uint8_t data[100000];
    (void)state;
    struct fs *fs = async_at(root);
    int log;
    int synced;
    assert_int_equal(fs->open(fs->self, "log", FS_CREATE, &log), ERR_OK);
    assert_int_equal(fs->open(fs->self, "synced", FS_CREATE, &synced), ERR_OK);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t offset = (uint64_t)i * sizeof(data);
        struct fs_op write = {.handle = log,
                              .offset = offset,
                              .data = data,
                              .size = sizeof(data),
                              .completed = true};
        struct fs_op sync = {.handle = synced};
        bool writes = i % 4 != 0;
        assert_int_equal(
            fs->write(fs->self, synced, offset, data, sizeof(data)), ERR_OK);
        assert_false(await_event(fs, 0));
        if (writes) {
            fs->submit(fs->self, &write);
        }
        fs->submit(fs->self, &sync);
        if (i % 3 == 0 && writes) {
            (void)usleep(i % 2 ? 20000 : 0);
            fs->wait(fs->self, &write);
            assert_true(write.completed);
            assert_true(sync.completed || await_event(fs, 20000));
        }
        if (i % 5 == 0) {
            fs->wait(fs->self, &sync);
        }
        while (!fs->poll(fs->self, &sync)) {
            assert_true(await_event(fs, 20000));
        }
        assert_true(sync.completed);
        assert_int_equal(sync.err, ERR_OK);
        assert_true(write.completed || await_event(fs, 20000));
        fs->wait(fs->self, &write);
        assert_int_equal(write.err, ERR_OK);
    }
    fs->close(fs->self, log);
    fs->close(fs->self, synced);
    fs_posix_free(fs);
}

static void test_async_sync_fails(void **state)
{
    (void)state;
    struct fs *fs = async_at("/dev");
    int handle;
    assert_int_equal(fs->open(fs->self, "null", FS_WRITE, &handle), ERR_OK);
    for (int i = 0; i < 3; i++) {
        submit_and_wait(fs, handle, NULL, 0, ERR_IO); /* It cannot be synced. */
    }
    fs->close(fs->self, handle);
    fs_posix_free(fs);
}

/* A short write is no success: the rest is tried, and tells why. */
static void test_async_write_is_short(void **state)
{
    static uint8_t data[3 * 4096];
    (void)state;
    struct fs *fs = async_at(root);
    int handle;
    assert_int_equal(fs->open(fs->self, "short", FS_CREATE, &handle), ERR_OK);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit limit = {.rlim_cur = 5000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    submit_and_wait(fs, handle, data, sizeof(data), ERR_NOSPACE); /* EFBIG */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    uint64_t size;
    assert_int_equal(fs->size(fs->self, handle, &size), ERR_OK);
    assert_int_equal(size, 5000);
    submit_and_wait(fs, handle, data, sizeof(data), ERR_OK);
    assert_int_equal(fs->size(fs->self, handle, &size), ERR_OK);
    assert_int_equal(size, sizeof(data));
    fs->close(fs->self, handle);
    fs_posix_free(fs);
}

/* ---- the processes ---- */

/* Runs `act` in a child, and expects that it ends by die() with that sentence.
 */
static void expect_death(void (*act)(struct fs *fs, struct posix_fs *self),
                         const char *sentence)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(30);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        struct fs *fs;
        char why[64];
        struct rlimit no_core = {0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        if (fs_posix_new(root, &fs) ||
            !fs_posix_use_processes(fs, NULL, NULL, why, sizeof(why))) {
            _exit(1);
        }
        act(fs, fs->self);
        _exit(0);
    }
    close(ends[1]);
    char text[512] = "";
    size_t size = 0;
    ssize_t got;
    while ((got = read(ends[0], text + size, sizeof(text) - 1 - size)) > 0) {
        size += (size_t)got;
    }
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, sentence));
}

/* A process that is missing has no number, and 0 is the group of this test with
 * all that has started it. */
static bool signal_process(const struct sync_process *process, int signal)
{
    return process->pid > 0 && kill(process->pid, signal) == 0;
}

static void kill_process(const struct sync_process *process)
{
    (void)signal_process(process, SIGKILL);
    (void)waitpid(process->pid, NULL, 0);
}

static void killed_with_a_sync_in_flight(struct fs *fs, struct posix_fs *self)
{
    int handle;
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        (void)signal_process(&self->sync_processes[i], SIGSTOP);
    }
    if (fs->open(fs->self, "f", FS_CREATE, &handle) == ERR_OK) {
        struct fs_op op = {.handle = handle, .data = "x", .size = 1};
        fs->submit(fs->self, &op);
        /* None may stay, stopped, with the descriptors of the others. */
        for (size_t i = 0; i < FS_OPS_MAX; i++) {
            kill_process(&self->sync_processes[i]);
        }
        fs->wait(fs->self, &op);
    }
}

static void killed_while_idle(struct fs *fs, struct posix_fs *self)
{
    kill_process(&self->sync_processes[1]);
    if (await_event(fs, 20000)) {
        fs_posix_on_event(fs);
    }
}

static void killed_before_a_sync(struct fs *fs, struct posix_fs *self)
{
    int handle;
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        kill_process(&self->sync_processes[i]);
    }
    if (fs->open(fs->self, "f", FS_CREATE, &handle) == ERR_OK) {
        struct fs_op op = {.handle = handle};
        fs->submit(fs->self, &op);
        fs->wait(fs->self, &op);
    }
}

static void test_a_process_that_ends(void **state)
{
    (void)state;
    const char *sentence = "which syncs files, has ended: whether the last "
                           "writes are on the disk is unknown";
    expect_death(killed_with_a_sync_in_flight, sentence);
    expect_death(killed_while_idle, sentence);
    expect_death(killed_before_a_sync, sentence);
}

/* The log does not wait for a checkpoint: each has a process. */
static void test_one_does_not_wait_for_the_other(void **state)
{
    (void)state;
    struct fs *fs = async_at(root);
    struct posix_fs *self = fs->self;
    int first;
    int second;
    assert_int_equal(fs->open(fs->self, "first", FS_CREATE, &first), ERR_OK);
    assert_int_equal(fs->open(fs->self, "second", FS_CREATE, &second), ERR_OK);
    for (size_t stopped = 0; stopped < FS_OPS_MAX; stopped++) {
        pid_t pid = self->sync_processes[stopped].pid;
        assert_true(signal_process(&self->sync_processes[stopped], SIGSTOP));
        int status;
        assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
        struct fs_op a = {.handle = first};
        struct fs_op b = {.handle = second, .data = "x", .size = 1};
        fs->submit(fs->self, &a);
        fs->submit(fs->self, &b);
        while (!fs->poll(fs->self, &a) && !fs->poll(fs->self, &b)) {
            assert_true(await_event(fs, 20000));
        }
        assert_true(a.completed != b.completed);
        assert_int_equal(kill(pid, SIGCONT), 0);
        fs->wait(fs->self, &a);
        fs->wait(fs->self, &b);
        assert_int_equal(a.err, ERR_OK);
        assert_int_equal(b.err, ERR_OK);
    }
    fs->close(fs->self, first);
    fs->close(fs->self, second);
    fs_posix_free(fs);
}

/* The process that uses them decides when they end. */
static void test_signals_of_the_group_are_not_for_them(void **state)
{
    (void)state;
    struct fs *fs = async_at(root);
    const struct posix_fs *self = fs->self;
    int handle;
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        pid_t pid = self->sync_processes[i].pid;
        assert_true(pid > 0);
        assert_int_equal(kill(pid, SIGINT), 0);
        assert_int_equal(kill(pid, SIGTERM), 0);
        assert_int_equal(kill(pid, SIGHUP), 0);
    }
    assert_int_equal(fs->open(fs->self, "f", FS_CREATE, &handle), ERR_OK);
    submit_and_wait(fs, handle, "x", 1, ERR_OK);
    pid_t pid = self->sync_processes[0].pid;
    fs->close(fs->self, handle);
    fs_posix_free(fs);
    assert_int_equal(kill(pid, 0), -1); /* They have ended, and are reaped. */
}

#define BOTH(f)                                                                \
    cmocka_unit_test_setup_teardown(f, setup_uring, teardown),                 \
        cmocka_unit_test_setup_teardown(f, setup_processes, teardown)
#define PROCESSES(f)                                                           \
    cmocka_unit_test_setup_teardown(f, setup_processes, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_async_write),
        BOTH(test_async_write_fails),
        BOTH(test_async_write_is_short),
        BOTH(test_async_sync),
        BOTH(test_async_sync_fails),
        PROCESSES(test_a_process_that_ends),
        PROCESSES(test_one_does_not_wait_for_the_other),
        PROCESSES(test_signals_of_the_group_are_not_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
