/* probe.c -- the first program of a virtual machine (rdinit=/probe): starts a
 * child that tests from inside what the node does as process 1 of the machine,
 * and becomes the node. See test_initramfs.py.
 *
 *     /probe ACTION CRAFTD WORDS...
 *
 * ACTION is what the child does in the end: "term" and "int" send that signal
 * to process 1, "killed" ends every other process, "wait" does nothing. It
 * writes what it has seen to the console. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 26000, TRIES = 600, PAUSE_US = 100000 };

static void say(const char *what)
{
    char line[128];
    int size = snprintf(line, sizeof(line), "probe: %s\n", what);
    ssize_t rc = write(STDERR_FILENO, line, (size_t)size);
    (void)rc;
}

/* Sends the request on a connection of its own. True: the response has
 * `expected` in it. */
static int answers(const char *request, const char *expected)
{
    struct sockaddr_in node = {.sin_family = AF_INET,
                               .sin_port = htons(PORT),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char response[4096];
    size_t used = 0;
    ssize_t got = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&node, sizeof(node)) != 0 ||
        write(fd, request, strlen(request)) != (ssize_t)strlen(request)) {
        got = 0;
    }
    while (got > 0 && used < sizeof(response) - 1) {
        got = read(fd, response + used, sizeof(response) - 1 - used);
        used += got > 0 ? (size_t)got : 0;
    }
    response[used] = '\0';
    (void)close(fd);
    return strstr(response, expected) != NULL;
}

static int eventually_answers(const char *request, const char *expected)
{
    for (int i = 0; i < TRIES; i++) {
        if (answers(request, expected)) {
            return 1;
        }
        (void)usleep(PAUSE_US);
    }
    return 0;
}

/* An orphan ends; its pid is free once process 1 has reaped it. */
static int orphan_is_reaped(void)
{
    int ends[2];
    pid_t orphan = 0;
    if (pipe(ends) != 0) {
        return 0;
    }
    pid_t parent = fork();
    if (parent == 0) {
        orphan = fork();
        if (orphan == 0) {
            while (getppid() != 1) {
                (void)usleep(PAUSE_US);
            }
            _exit(0);
        }
        ssize_t rc = write(ends[1], &orphan, sizeof(orphan));
        _exit(rc < 0);
    }
    if (read(ends[0], &orphan, sizeof(orphan)) != (ssize_t)sizeof(orphan) ||
        orphan <= 0) {
        return 0;
    }
    (void)waitpid(parent, NULL, 0);
    for (int i = 0; i < TRIES; i++) {
        if (kill(orphan, 0) != 0 && errno == ESRCH) {
            return 1;
        }
        (void)usleep(PAUSE_US);
    }
    return 0;
}

/* A mounted file system has a device of its own. */
static int nothing_is_mounted(void)
{
    static const char *const paths[] = {"/data", "/dev", "/proc", "/sys"};
    struct stat root;
    struct stat other;
    if (stat("/", &root) != 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (stat(paths[i], &other) == 0 && other.st_dev != root.st_dev) {
            return 0;
        }
    }
    return 1;
}

static int set_clock(time_t seconds)
{
    struct timeval now = {.tv_sec = seconds};
    return settimeofday(&now, NULL) == 0;
}

/* To 2100, to 1970 and to 2027. */
static int clock_may_jump(void)
{
    static const time_t jumps[] = {4102444800, 60, 1800000000};
    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        if (!set_clock(jumps[i]) ||
            !answers("POST /key HTTP/1.1\r\nHost: localhost\r\n"
                     "Content-Length: 9\r\nConnection: close\r\n\r\n"
                     "{\"j\":\"v\"}",
                     " 200 ") ||
            !answers("GET /key/j HTTP/1.1\r\nHost: localhost\r\n"
                     "Connection: close\r\n\r\n",
                     "{\"j\":\"v\"}")) {
            return 0;
        }
        (void)sleep(2); /* An election would be over. */
    }
    return 1;
}

static void test(const char *action)
{
    if (eventually_answers("POST /key HTTP/1.1\r\nHost: localhost\r\n"
                           "Content-Length: 9\r\nConnection: close\r\n\r\n"
                           "{\"k\":\"v\"}",
                           " 200 ")) {
        say("written");
    }
    if (answers("GET /key/k HTTP/1.1\r\nHost: localhost\r\n"
                "Connection: close\r\n\r\n",
                "{\"k\":\"v\"}")) {
        say("read");
    }
    if (orphan_is_reaped()) {
        say("reaped");
    }
    if (nothing_is_mounted()) {
        say("nothing mounted");
    }
    if (clock_may_jump()) {
        say("clock jumped");
    }
    say("done");
    if (strcmp(action, "term") == 0) {
        (void)kill(1, SIGTERM);
    } else if (strcmp(action, "int") == 0) {
        (void)kill(1, SIGINT);
    } else if (strcmp(action, "killed") == 0) {
        (void)kill(-1, SIGKILL); /* All but process 1. */
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        say("usage: /probe ACTION CRAFTD WORDS...");
        return 2;
    }
    if (fork() == 0) {
        test(argv[1]);
        for (;;) {
            (void)pause();
        }
    }
    (void)execv(argv[2], argv + 2);
    say(strerror(errno));
    return 1;
}
