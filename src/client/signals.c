/* signals.c -- signals for a loop that also waits for servers: a handler writes
 * the number of each into a pipe, whose other end ends all waits. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "client/lock_internal.h"

static const int caught[] = {SIGCHLD, SIGCONT, SIGHUP,  SIGINT,
                             SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

static int ends[2] = {-1, -1};

/* A full pipe has enough for the loop to see. */
static void on_signal(int number)
{
    int error = errno;
    uint8_t byte = (uint8_t)number;
    ssize_t rc = write(ends[1], &byte, 1);
    (void)rc;
    errno = error;
}

static bool set_flags(int fd)
{
    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
           fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

bool signals_catch(const struct options *options)
{
    if (pipe(ends) != 0 || !set_flags(ends[0]) || !set_flags(ends[1])) {
        client_say(options, "pipe: %s", strerror(errno));
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(caught); i++) {
        struct sigaction action = {.sa_handler = on_signal};
        struct sigaction before;
        sigemptyset(&action.sa_mask);
        action.sa_flags = SA_RESTART;
        /* nohup(1) and shells without job control ignore some for us. */
        if (sigaction(caught[i], NULL, &before) == 0 &&
            (before.sa_handler != SIG_IGN || caught[i] == SIGCHLD)) {
            (void)sigaction(caught[i], &action, NULL);
        }
    }
    client_interrupt_by(ends[0]);
    return true;
}

int signals_take(void)
{
    uint8_t byte;
    return read(ends[0], &byte, 1) == 1 ? byte : 0;
}

void signals_wait(uint64_t ms)
{
    struct pollfd pipe_end = {.fd = ends[0], .events = POLLIN};
    (void)poll(&pipe_end, 1, (int)min_u64(ms, 60000));
}

void signals_die(int number)
{
    sigset_t set;
    (void)signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    (void)raise(number);
    _exit(128 + number);
}
