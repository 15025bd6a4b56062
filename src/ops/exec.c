/* exec.c -- a process that runs the command of --backup-exec.
 *
 * The sandbox of the node cannot start programs. So this process is forked
 * before the node enters it, and stays outside. It has the command from its
 * start, and is sent only the name of a file in the backup directory, so what
 * it runs does not depend on the node's memory. It serves one job after the
 * other, and ends when the node's end of their socket is closed; a command that
 * runs then may end, in its time. */
#include "ops/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/sys.h"

enum { SOCKET_FD = 3 };

struct job {
    uint64_t index;
    uint64_t bytes;
    uint64_t timeout_ms;
    char name[OPS_EXEC_NAME_BYTES];
};

struct ops_exec {
    int socket; /* -1: the process has ended. */
    pid_t pid;
    bool is_running;
};

/* ---- in the process ---- */

/* Receives one job. False: the node has ended. The socket is a stream, as that
 * of the resolver (reactor/resolver_process.c). */
static bool receive(struct job *job)
{
    size_t got = 0;
    while (got < sizeof(*job)) {
        ssize_t size =
            recv(SOCKET_FD, (char *)job + got, sizeof(*job) - got, 0);
        if (size == 0 || (size < 0 && errno != EINTR)) {
            return false;
        }
        got += size > 0 ? (size_t)size : 0;
    }
    return true;
}

static bool is_file_name(const char name[OPS_EXEC_NAME_BYTES])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";
    size_t size = strnlen(name, OPS_EXEC_NAME_BYTES);
    return size > 0 && size < OPS_EXEC_NAME_BYTES && name[0] != '.' &&
           strspn(name, allowed) == size;
}

static void set_number(const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    must(setenv(name, text, 1) == 0);
}

/* In the child. Its output goes where the log goes. It ignores no signal, as
 * the node does: a program that writes to a pipe which nobody reads has to
 * end. Its environment is the node's, where the operator may have put what it
 * needs; but for the variables by which a service manager addresses the node
 * alone (sd_notify(3)). */
NORETURN static void become_command(const char *command, const char *dir,
                                    const struct job *job)
{
    static const char *const manager[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC",
                                          "WATCHDOG_PID"};
    char path[PATH_MAX];
    for (int number = 1; number < NSIG; number++) {
        (void)signal(number, SIG_DFL);
    }
    for (size_t i = 0; i < ARRAY_COUNT(manager); i++) {
        (void)unsetenv(manager[i]);
    }
    (void)setpgid(0, 0);
    (void)close(SOCKET_FD);
    int size = snprintf(path, sizeof(path), "%s/%s", dir, job->name);
    if (size < 0 || (size_t)size >= sizeof(path) ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
        setenv("CRAFTD_PATH", path, 1) != 0) {
        _exit(126);
    }
    set_number("CRAFTD_INDEX", job->index);
    set_number("CRAFTD_BYTES", job->bytes);
    (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* Run the command to its end, or until its time is over, and kill it then with
 * the processes that it has started. */
static struct ops_exec_result run(const char *command, const char *dir,
                                  const struct job *job)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    struct ops_exec_result result = {.exit_code = -1};
    uint64_t end_ms = sys_now_ms() + job->timeout_ms;
    int status = 0;
    pid_t pid = is_file_name(job->name) ? fork() : -1;
    if (pid == 0) {
        become_command(command, dir, job);
    }
    if (pid < 0) {
        return result;
    }
    (void)setpgid(pid, pid); /* Whichever process comes first. */
    pid_t ended;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 ||
           (ended < 0 && errno == EINTR)) {
        if (!result.timed_out && sys_now_ms() >= end_ms) {
            result.timed_out = true;
            (void)kill(-pid, SIGKILL);
        }
        (void)nanosleep(&pause, NULL);
    }
    if (ended == pid && WIFEXITED(status)) {
        result.exit_code = WEXITSTATUS(status);
    } else if (ended == pid && WIFSIGNALED(status)) {
        result.signal_number = WTERMSIG(status);
    }
    return result;
}

NORETURN static void serve(const char *command, const char *dir)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    struct job job;
    /* A signal for the whole group (Ctrl-C) is for the node. */
    for (size_t i = 0; i < ARRAY_COUNT(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
    while (receive(&job)) {
        struct ops_exec_result result = run(command, dir, &job);
        if (send(SOCKET_FD, &result, sizeof(result), MSG_NOSIGNAL) !=
            (ssize_t)sizeof(result)) {
            break;
        }
    }
    _exit(0);
}

/* ---- in the node ---- */

struct ops_exec *ops_exec_start(const char *command, const char *dir,
                                reactor_prepare_cb *cb, void *arg)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        return NULL;
    }
    pid_t pid = fork();
    if (pid == 0) {
        if (!sys_keep_only(ends[1], SOCKET_FD) || !cb(arg)) {
            _exit(1);
        }
        serve(command, dir);
    }
    int error = errno;
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        errno = error;
        return NULL;
    }
    must(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 &&
         fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0);
    struct ops_exec *exec = mem_zalloc(sizeof(*exec));
    *exec = (struct ops_exec){.socket = ends[0], .pid = pid};
    return exec;
}

bool ops_exec_run(struct ops_exec *exec, const char *name, uint64_t index,
                  uint64_t bytes, uint64_t timeout_ms)
{
    struct job job = {.index = index, .bytes = bytes, .timeout_ms = timeout_ms};
    must(!exec->is_running && strlen(name) < sizeof(job.name));
    memcpy(job.name, name, strlen(name));
    exec->is_running = exec->socket >= 0 &&
                       send(exec->socket, &job, sizeof(job), MSG_NOSIGNAL) ==
                           (ssize_t)sizeof(job);
    return exec->is_running;
}

bool ops_exec_ended(struct ops_exec *exec, struct ops_exec_result *result)
{
    must(exec->is_running);
    ssize_t size = recv(exec->socket, result, sizeof(*result), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    exec->is_running = false;
    if (size != (ssize_t)sizeof(*result)) {
        *result = (struct ops_exec_result){.exit_code = -1};
        (void)close(exec->socket);
        exec->socket = -1;
    }
    return true;
}

void ops_exec_free(struct ops_exec *exec)
{
    if (!exec) {
        return;
    }
    if (exec->socket >= 0) {
        (void)close(exec->socket);
    }
    /* Not while a command runs, which may take long. */
    (void)waitpid(exec->pid, NULL, exec->is_running ? WNOHANG : 0);
    mem_free(exec);
}
