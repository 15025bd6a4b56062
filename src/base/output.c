/* output.c -- writes to stderr, in the way that its type of file requires. */
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind {
    WAITING,  /* output_open() was not called: a command, not the daemon. */
    DIRECT,   /* A regular file, /dev/null. */
    REOPENED, /* `fd` is an open file of this process, which does not block. */
    SOCKET,
    POLLED,
};

enum {
    /* A pipe that poll() reports as writable accepts this many bytes. */
    PIPE_PIECE_BYTES = _POSIX_PIPE_BUF,
    /* For a terminal nothing is specified; this is a cautious value. */
    TERMINAL_PIECE_BYTES = 256,
    FINISH_STEP_MS = 10,
};

static enum kind kind = WAITING;
static int fd = STDERR_FILENO;
static size_t piece_bytes = OUTPUT_QUEUE_BYTES;

/* Bytes [queue_at, queue_end) are queued. */
static char queue[OUTPUT_QUEUE_BYTES];
static size_t queue_at;
static size_t queue_end;

/* Opens the file of stderr a second time. -1: it is impossible, since there is
 * no /proc, the file belongs to another user, or there is no descriptor. */
static int open_again(const struct stat *expected)
{
#ifdef __linux__
    struct stat found;
    int again =
        open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (again >= 0 && fstat(again, &found) == 0 &&
        found.st_dev == expected->st_dev && found.st_ino == expected->st_ino) {
        return again;
    }
    if (again >= 0) {
        (void)close(again);
    }
#else
    (void)expected; /* /dev/fd/2 shares the open file there. */
#endif
    return -1;
}

void output_open(void)
{
    struct stat file;
    if (kind == REOPENED) {
        (void)close(fd);
    }
    kind = DIRECT;
    fd = STDERR_FILENO;
    queue_at = 0;
    queue_end = 0;
    /* A pipe that was opened for reading could be opened again for writing, and
     * would be filled with lines that nobody reads. */
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY ||
        fstat(STDERR_FILENO, &file) != 0) {
        return;
    }
    bool is_terminal = S_ISCHR(file.st_mode) && isatty(STDERR_FILENO);
    if (S_ISSOCK(file.st_mode)) {
        kind = SOCKET;
    } else if (S_ISFIFO(file.st_mode) || is_terminal) {
        int again = open_again(&file);
        kind = again >= 0 ? REOPENED : POLLED;
        fd = again >= 0 ? again : STDERR_FILENO;
        piece_bytes = is_terminal ? TERMINAL_PIECE_BYTES : PIPE_PIECE_BYTES;
    }
}

static bool has_room(void)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    return poll(&poll_fd, 1, 0) == 1;
}

/* Writes some bytes with one system call. Returns as write(2) does. */
static ssize_t write_some(const char *text, size_t size)
{
    switch (kind) {
    case SOCKET:
        return send(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    case POLLED:
        if (!has_room()) {
            errno = EAGAIN;
            return -1;
        }
        return write(fd, text, min_size(size, piece_bytes));
    case WAITING:
    case DIRECT:
    case REOPENED:
        break;
    }
    return write(fd, text, size);
}

/* Is `error`, the errno of a failed write, a condition that may pass? */
static bool is_shortage(int error)
{
    return error == EAGAIN || error == ENOSPC || error == EDQUOT ||
           error == ENOBUFS || error == ENOMEM || error == EFBIG;
}

/* Returns the number of bytes written; `size` if there is no reader. */
static size_t write_out(const char *text, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t rc = write_some(text + done, size - done);
        if (rc >= 0) {
            done += (size_t)rc;
        } else if (is_shortage(errno)) {
            break;
        } else if (errno != EINTR) {
            return size;
        }
    }
    return done;
}

bool output_is_empty(void)
{
    return queue_at == queue_end;
}

bool output_flush(void)
{
    if (!output_is_empty()) {
        queue_at += write_out(queue + queue_at, queue_end - queue_at);
    }
    if (output_is_empty()) {
        queue_at = 0;
        queue_end = 0;
    }
    return output_is_empty();
}

bool output_write(const char *text, size_t size)
{
    must(size <= sizeof(queue));
    size_t done = 0;
    if (output_flush()) {
        done = write_out(text, size);
        if (done == 0 && kind == DIRECT) {
            /* The disk is full, perhaps for days: drop the line. */
            return size == 0;
        }
    }
    if (size - done > sizeof(queue) - (queue_end - queue_at)) {
        return false;
    }
    if (size - done > sizeof(queue) - queue_end) {
        memmove(queue, queue + queue_at, queue_end - queue_at);
        queue_end -= queue_at;
        queue_at = 0;
    }
    memcpy(queue + queue_end, text + done, size - done);
    queue_end += size - done;
    return true;
}

void output_finish(int wait_ms)
{
    for (int left = wait_ms; !output_flush() && left > 0;
         left -= FINISH_STEP_MS) {
        (void)poll(NULL, 0, FINISH_STEP_MS);
    }
}
