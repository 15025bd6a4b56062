/* child.c -- runs a command as a shell does: in a process group of its own, so
 * that all of it can be signalled, and in the foreground of the terminal if
 * this process is there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/lock_internal.h"
#include "sys/sys.h"

/* The controlling terminal, if this process is in its foreground; else -1. */
static int open_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && tcgetpgrp(fd) != getpgrp()) {
        close(fd);
        return -1;
    }
    return fd;
}

/* In the child. */
NORETURN static void become(const struct options *options, char *const *argv,
                            int terminal)
{
    /* Both processes do this, since either may run first. */
    (void)setpgid(0, 0);
    if (terminal >= 0) {
        (void)tcsetpgrp(terminal, getpid());
    }
    (void)signal(SIGTTOU, SIG_DFL);
    (void)execvp(argv[0], argv);
    int error = errno;
    client_say(options, "%s: %s", argv[0], strerror(error));
    _exit(error == ENOENT ? 127 : 126); /* As shells and env(1). */
}

bool child_start(struct child *child, const struct options *options,
                 char *const *argv)
{
    pid_t parent = getpid();
    *child = (struct child){.terminal = open_terminal()};
    /* A process in the background may write to the terminal, and give it to
     * another, only if it ignores this. */
    (void)signal(SIGTTOU, SIG_IGN);
    child->pid = fork();
    if (child->pid == 0) {
        if (!sys_end_with(parent)) {
            _exit(126);
        }
        become(options, argv, child->terminal);
    }
    if (child->pid < 0) {
        client_say(options, "fork: %s", strerror(errno));
        child_close(child);
        return false;
    }
    (void)setpgid(child->pid, child->pid);
    if (child->terminal >= 0) {
        (void)tcsetpgrp(child->terminal, child->pid);
    }
    return true;
}

void child_signal(const struct child *child, int number)
{
    (void)kill(-child->pid, number);
}

/* It was stopped at the terminal, by Ctrl-Z: so is this process, and the shell
 * that started it goes on. */
static void stop_as_well(struct child *child)
{
    if (child->terminal >= 0) {
        (void)tcsetpgrp(child->terminal, getpgrp());
        (void)raise(SIGSTOP);
    }
}

/* This process was continued, in the foreground or, by the shell's bg, not. */
static void continue_as_well(const struct child *child)
{
    if (child->terminal >= 0 && tcgetpgrp(child->terminal) == getpgrp()) {
        (void)tcsetpgrp(child->terminal, child->pid);
    }
    child_signal(child, SIGCONT);
}

static void reap(struct child *child)
{
    int status;
    while (!child->ended &&
           waitpid(child->pid, &status, WNOHANG | WUNTRACED) == child->pid) {
        if (WIFSTOPPED(status)) {
            stop_as_well(child);
        } else {
            child->ended = true;
            child->code = WIFEXITED(status) ? WEXITSTATUS(status)
                                            : 128 + WTERMSIG(status);
        }
    }
}

void child_take_signals(struct child *child)
{
    int number;
    while ((number = signals_take()) != 0 && !child->ended) {
        if (number == SIGCHLD) {
            reap(child);
        } else if (number == SIGCONT) {
            continue_as_well(child);
        } else {
            (void)kill(child->pid, number);
        }
    }
}

void child_close(struct child *child)
{
    if (child->terminal >= 0) {
        (void)tcsetpgrp(child->terminal, getpgrp());
        close(child->terminal);
        child->terminal = -1;
    }
}
