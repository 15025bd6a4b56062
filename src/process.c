/* process.c -- standard files, signals, environment. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "config.h"

extern char **environ;

/* A file or socket that is opened while a standard descriptor is closed gets
 * its number, and log lines would be written into it. The substitutes are
 * opened in the opposite direction, so that using them fails. */
void process_hold_standard_files(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

/* SQLite creates its files with 0644, and a umask of the parent might take even
 * the owner's permissions. */
void process_keep_files_private(void)
{
    (void)umask(077);
}

/* The parent's dispositions and mask are inherited: a blocked SIGTERM would
 * never arrive, and with SIGCHLD ignored the kernel would reap the resolver's
 * processes. SIGTTOU stops a background process that writes to its terminal
 * after "stty tostop". */
void process_prepare_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGUSR1, SIGUSR2, SIGTTOU};
    for (size_t i = 0; i < ARRAY_COUNT(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
    (void)signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    must(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
}

/* An unknown variable is likely mistyped. It is no reason to stop: Kubernetes
 * sets some for a service "craftd". */
void process_check_environment(void)
{
    char why[256];
    for (char **at = environ; *at; at++) {
        if (!config_knows_variable(*at, why, sizeof(why))) {
            log_warn("environment", "why=\"%s\"", why);
        }
    }
}
