/* fs_process.c -- asynchronous operations on the kernel's files, by processes
 * that share the open files and sync them: for systems and containers without
 * io_uring.
 *
 * There is one process for each operation that may be in flight, so that the
 * log does not wait for a checkpoint. An operation's write is done here, into
 * the page cache; then its descriptor is sent over a socket (SCM_RIGHTS), which
 * names the same open file: the process syncs it, closes it, and answers with
 * an errno. It keeps nothing, and needs no right to open a file.
 *
 * Nobody knows what was durable when such a process has ended: die().
 *
 * Limit: a write that blocks (a frozen file system, too many dirty pages)
 * blocks the event loop; with io_uring it does not. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/descriptor.h"
#include "sys/fs_posix_internal.h"
#include "sys/sys.h"

enum { SOCKET_FD = 3 };

/* ---- in the process ---- */

/* Returns the descriptor to sync; -1 when the node has ended. */
static int receive(void)
{
    char byte;
    int fd;
    ssize_t size;
    do {
        size = descriptor_receive(SOCKET_FD, &byte, 1, &fd);
    } while (size < 0 && errno == EINTR);
    return fd;
}

/* It ends when the node's end of the socket is closed, however that ended. */
NORETURN static void run(void)
{
    int fd;
    while ((fd = receive()) >= 0) {
        int32_t error = fs_posix_sync(fd, true) < 0 ? errno : 0;
        (void)close(fd);
        if (send(SOCKET_FD, &error, sizeof(error), MSG_NOSIGNAL) !=
            (ssize_t)sizeof(error)) {
            break;
        }
    }
    _exit(0);
}

/* A signal for the whole group (Ctrl-C) is for the node, which hands over
 * before it ends. The node's handlers must not run here. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < ARRAY_COUNT(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
}

/* ---- in the node ---- */

NORETURN static void is_gone(const struct sync_process *process)
{
    die("process %ld, which syncs files, has ended: whether the last writes "
        "are "
        "on the disk is unknown",
        (long)process->pid);
}

static void complete(struct posix_fs *self, size_t place, int error)
{
    struct fs_op *op = self->pending[place].op;
    op->err = ERR_OK;
    if (error != 0) {
        errno = error;
        op->err = fs_posix_sync_failed(self, fs_posix_path(self, op->handle));
    }
    op->completed = true;
    self->pending[place].op = NULL;
}

/* Takes the answers that have arrived. */
static void reap(struct posix_fs *self)
{
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        const struct sync_process *process = &self->sync_processes[i];
        int32_t error;
        ssize_t size;
        do {
            size = recv(process->socket, &error, sizeof(error), MSG_DONTWAIT);
        } while (size < 0 && errno == EINTR);
        if (size < 0 && errno == EAGAIN) {
            continue;
        }
        if (size != (ssize_t)sizeof(error)) {
            is_gone(process);
        }
        must(self->pending[i].op);
        complete(self, i, error);
    }
}

/* Returns 0, or an errno. */
static int request_sync(const struct sync_process *process, int fd)
{
    char byte = 0;
    return descriptor_send(process->socket, &byte, 1, fd) == 1 ? 0 : errno;
}

static void process_submit(void *arg, struct fs_op *op)
{
    struct posix_fs *self = arg;
    size_t place = FS_OPS_MAX;
    must(fs_posix_path(self, op->handle));
    for (size_t i = 0; i < FS_OPS_MAX; i++) {
        must(self->pending[i].op != op);
        place = self->pending[i].op ? place : i;
    }
    must(place < FS_OPS_MAX);
    op->completed = false;
    if (op->size > 0) {
        op->err =
            fs_posix_write(self, op->handle, op->offset, op->data, op->size);
        op->completed = op->err != ERR_OK;
        if (op->completed) {
            return;
        }
    }
    self->pending[place] = (struct pending){.op = op};
    int error = request_sync(&self->sync_processes[place], op->handle);
    if (error == EPIPE || error == ECONNRESET) {
        is_gone(&self->sync_processes[place]);
    }
    if (error != 0) { /* A shortage, of descriptors in flight or memory. */
        int rc = fs_posix_sync(op->handle, true);
        complete(self, place, rc < 0 ? errno : 0);
    }
}

static bool process_poll(void *arg, struct fs_op *op)
{
    if (!op->completed) {
        reap(arg);
    }
    return op->completed;
}

static void process_wait(void *arg, struct fs_op *op)
{
    struct posix_fs *self = arg;
    while (!op->completed) {
        struct pollfd answers[FS_OPS_MAX];
        for (size_t i = 0; i < FS_OPS_MAX; i++) {
            answers[i] = (struct pollfd){.fd = self->sync_processes[i].socket,
                                         .events = POLLIN};
        }
        int rc = poll(answers, FS_OPS_MAX, -1);
        must(rc >= 0 || errno == EINTR);
        reap(self);
    }
}

static void stop(struct sync_process *process)
{
    (void)close(process->socket);
    pid_t rc;
    do {
        rc = waitpid(process->pid, NULL, 0);
    } while (rc < 0 && errno == EINTR);
}

/* No signal may run the node's handlers in the child. */
static pid_t start(int end, fs_process_prepare_cb *cb, void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    must(sigprocmask(SIG_SETMASK, &all, &before) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        ignore_signals();
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
        if (!sys_keep_only(end, SOCKET_FD)) {
            _exit(1);
        }
        if (cb) {
            cb(arg);
        }
        run();
    }
    int error = errno;
    must(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    errno = error;
    return pid;
}

bool fs_posix_use_processes(struct fs *fs, fs_process_prepare_cb *cb, void *arg,
                            char *why, size_t why_size)
{
    struct posix_fs *self = fs->self;
    must(!self->ring && self->sync_process_count == 0);
    while (self->sync_process_count < FS_OPS_MAX) {
        int ends[2];
        pid_t pid = -1;
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0) {
            pid = start(ends[1], cb, arg);
            int error = errno;
            (void)close(ends[1]);
            if (pid < 0) {
                (void)close(ends[0]);
            }
            errno = error;
        }
        if (pid < 0) {
            (void)snprintf(why, why_size, "a process that syncs: %s",
                           strerror(errno));
            fs_posix_stop_processes(self);
            return false;
        }
        must(fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0);
        self->sync_processes[self->sync_process_count++] =
            (struct sync_process){.socket = ends[0], .pid = pid};
    }
    fs->submit = process_submit;
    fs->poll = process_poll;
    fs->wait = process_wait;
    return true;
}

void fs_posix_stop_processes(struct posix_fs *self)
{
    while (self->sync_process_count > 0) {
        stop(&self->sync_processes[--self->sync_process_count]);
    }
}

void fs_posix_on_event(struct fs *fs)
{
    struct posix_fs *self = fs->self;
    if (self->sync_process_count > 0) {
        reap(self);
    }
}
