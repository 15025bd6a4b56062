/* init.c -- see init.h. */
#include "sys/init.h"

#ifdef __linux__

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

static const int passed_on[] = {SIGHUP,  SIGINT,  SIGQUIT,
                                SIGTERM, SIGUSR1, SIGUSR2};

static bool is_passed_on(int signal_number)
{
    for (size_t i = 0; i < ARRAY_COUNT(passed_on); i++) {
        if (passed_on[i] == signal_number) {
            return true;
        }
    }
    return false;
}

/* An interface has flags in both families, and a kernel may lack one. */
static void bring_up_loopback(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    bool up = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &lo) == 0;
    if (up) {
        lo.ifr_flags |= IFF_UP;
        up = ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    }
    if (!up) {
        log_warn("init", "why=\"the loopback interface is down: %s\"",
                 strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

/* Reaps what has ended. True: the child was among it. */
static bool reap(pid_t child, int *status)
{
    bool ended = false;
    int one;
    pid_t pid;
    while ((pid = waitpid(-1, &one, WNOHANG)) > 0) {
        if (pid == child) {
            ended = true;
            *status = one;
        }
    }
    return ended;
}

static int code_of(int status)
{
    if (!WIFSIGNALED(status)) {
        return WEXITSTATUS(status);
    }
    int number = WTERMSIG(status);
    log_error("init", "why=\"ended by signal %d (%s)\"", number,
              strsignal(number));
    return 128 + number;
}

/* Blocked signals are queued, even those that process 1 would not get for lack
 * of a handler. */
NORETURN static void run(pid_t child, const sigset_t *awaited, bool is_machine)
{
    int last_request = 0;
    int status = 0;
    siginfo_t info;
    for (;;) {
        int number = sigwaitinfo(awaited, &info);
        if (number == SIGCHLD && reap(child, &status)) {
            break;
        }
        /* The kernel sends those of a terminal to all of its foreground. */
        if (is_passed_on(number) && (is_machine || info.si_code <= 0)) {
            last_request = number;
            (void)kill(child, number);
        }
    }
    int code = code_of(status);
    log_finish();
    if (is_machine) {
        sync();
        if (last_request == SIGTERM) {
            (void)reboot(RB_POWER_OFF);
        } else if (last_request == SIGINT) {
            (void)reboot(RB_AUTOBOOT);
        }
    }
    _exit(code);
}

void init_enter(void)
{
    if (getpid() != 1) {
        return;
    }
    bool is_machine = reboot(RB_DISABLE_CAD) == 0;
    if (is_machine) {
        bring_up_loopback();
    }
    sigset_t awaited;
    sigset_t before;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    for (size_t i = 0; i < ARRAY_COUNT(passed_on); i++) {
        sigaddset(&awaited, passed_on[i]);
    }
    /* If it was ignored, the kernel would reap the child. */
    (void)signal(SIGCHLD, SIG_DFL);
    must(sigprocmask(SIG_BLOCK, &awaited, &before) == 0);
    pid_t child = fork();
    if (child > 0) {
        run(child, &awaited, is_machine);
    }
    if (child < 0) {
        log_error("init", "why=\"process 1 cannot start another: %s\"",
                  strerror(errno));
        log_finish();
        _exit(EXIT_FAILURE);
    }
    must(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
}

#else

void init_enter(void)
{
}

#endif
