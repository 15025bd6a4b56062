/* entropy.c -- random bytes of the kernel (random(4), getrandom(2)). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__) || defined(__APPLE__)
#include <sys/random.h>
#endif

#include "base/log.h"
#include "sys/sys.h"

NORETURN static void fail(int call_error, int file_error)
{
    log_error("entropy",
              "why=\"this system has no random numbers: getrandom: %s, "
              "/dev/urandom: %s\" help=\"it needs one of the two: Linux 3.17, "
              "or the device in the root directory of the process\"",
              strerror(call_error), strerror(file_error));
    log_finish();
    exit(EXIT_FAILURE);
}

/* ---- the device ---- */

static int device = -1; /* Stays open: a sandbox may hide it later. */

static void log_wait(void)
{
    log_warn("entropy", "why=\"waiting for the kernel, which has started "
                        "moments ago, to collect random numbers\"");
}

/* /dev/urandom answers before it is seeded; /dev/random is readable once it
 * is. */
static void await_seed(void)
{
    struct pollfd seeded = {.fd = open("/dev/random", O_RDONLY | O_CLOEXEC),
                            .events = POLLIN};
    if (seeded.fd < 0) {
        return;
    }
    if (poll(&seeded, 1, 0) == 0) {
        log_wait();
        while (poll(&seeded, 1, -1) < 0 && errno == EINTR) {
        }
    }
    (void)close(seeded.fd);
}

static bool open_device(void)
{
    struct stat file;
    if (device >= 0) {
        return true;
    }
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &file) != 0 || !S_ISCHR(file.st_mode)) {
        (void)close(fd);
        errno = ENODEV;
        return false;
    }
    await_seed();
    device = fd;
    return true;
}

static void read_device(uint8_t *out, size_t size, int call_error)
{
    if (!open_device()) {
        fail(call_error, errno);
    }
    while (size > 0) {
        ssize_t got = read(device, out, size);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            fail(call_error, got == 0 ? EIO : errno);
        }
        out += got > 0 ? got : 0;
        size -= got > 0 ? (size_t)got : 0;
    }
}

/* ---- the system call ---- */

enum { PIECE_BYTES = 256 }; /* Is never interrupted, nor short. */

#ifdef __linux__

/* Before the kernel has collected enough, which may take minutes, a line is
 * logged. */
static bool get_piece(void *out, size_t size)
{
    enum { PAUSE_MS = 100 };
    static bool is_logged;
    ssize_t got;
    while ((got = getrandom(out, size, GRND_NONBLOCK)) < 0 &&
           (errno == EAGAIN || errno == EINTR)) {
        if (errno == EAGAIN && !is_logged) {
            is_logged = true;
            log_wait();
        }
        (void)poll(NULL, 0, PAUSE_MS);
    }
    return got == (ssize_t)size;
}

#else

static bool get_piece(void *out, size_t size)
{
    return getentropy(out, size) == 0;
}

#endif

void sys_entropy(void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        size_t piece = min_size(size, PIECE_BYTES);
        if (!get_piece(at, piece)) { /* Too old, or forbidden. */
            read_device(at, piece, errno);
        }
        at += piece;
        size -= piece;
    }
}
