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

/* When one of the standard three is closed, the next file or socket takes its
 * place, and what is said goes into that. Theirs are taken by what can be
 * neither read nor written, as the case may be. */
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

/* Signals as this program wants them, whatever the parent left behind: a
 * blocked SIGTERM would be lost on us, and an ignored SIGCHLD would let the
 * kernel reap the resolvers. SIGTTOU stops a background process that writes to
 * its terminal after "stty tostop". */
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

/* A mistyped variable would go unnoticed. Kubernetes sets some for a service of
 * this name, so they are no reason to stop. */
void process_check_environment(void)
{
    char why[256];
    for (char **at = environ; *at; at++) {
        if (!config_knows_variable(*at, why, sizeof(why))) {
            log_warn("environment", "why=\"%s\"", why);
        }
    }
}
