/* test_base_output.c -- log lines go to a stderr that nobody reads, or that is
 * full: no call waits, what was lost is counted, and the flags of the open file
 * are left alone. alarm(2) ends a test that waits. */
#define _XOPEN_SOURCE 600 /* posix_openpt() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/log.h"
#include "base/output.h"

enum { LINES = 2000, ALARM_S = 20 };

static int stderr_before = -1;
static char got[4 << 20];
static size_t got_size;

/* stderr becomes `fd`, which is closed. */
static void redirect(int fd)
{
    stderr_before = dup(STDERR_FILENO);
    assert_true(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
    close(fd);
    log_open();
    got_size = 0;
    (void)alarm(ALARM_S);
}

static int give_back(void **state)
{
    (void)state;
    (void)alarm(0);
    if (stderr_before >= 0) {
        dup2(stderr_before, STDERR_FILENO);
        close(stderr_before);
        stderr_before = -1;
        log_open();
    }
    return 0;
}

static bool is_blocking(void)
{
    return (fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK) == 0;
}

/* Everything that can be read at `from` now. */
static void drain(int from)
{
    int flags = fcntl(from, F_GETFL);
    assert_int_equal(fcntl(from, F_SETFL, flags | O_NONBLOCK), 0);
    for (;;) {
        ssize_t rc = read(from, got + got_size, sizeof(got) - 1 - got_size);
        if (rc <= 0) {
            break;
        }
        got_size += (size_t)rc;
    }
    got[got_size] = '\0';
}

/* Lines `line n=0`, `n=1`, ... in order and whole, then the number of those
 * that are missing, then perhaps more. */
static void check_drained(void)
{
    unsigned seen = 0;
    unsigned lost = 0;
    for (char *at = strtok(got, "\r\n"); at; at = strtok(NULL, "\r\n")) {
        char *n = strstr(at, "line n=");
        char *dropped = strstr(at, "log-dropped lines=");
        assert_true(n || dropped);
        if (dropped) {
            assert_int_equal(lost, 0);
            lost = (unsigned)strtoul(dropped + 18, NULL, 10);
            assert_true(lost > 0);
        } else {
            assert_int_equal(strtoul(n + 7, NULL, 10), seen + lost);
            seen++;
        }
    }
    assert_true(lost > 0 && seen > 0);
    assert_int_equal(seen + lost, LINES);
}

/* More lines than stderr has room for, then a reader that wakes up. */
static void overflow_and_drain(int reader)
{
    char filler[200];
    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    for (unsigned i = 0; i < LINES; i++) {
        log_info("line", "n=%u %s", i, filler);
        assert_true(is_blocking());
    }
    assert_true(log_is_pending());
    for (int i = 0; log_is_pending(); i++) {
        assert_true(i < 1000);
        drain(reader);
        log_flush();
    }
    drain(reader);
    check_drained();
}

static void test_a_pipe_that_nobody_reads(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    redirect(ends[1]);
    overflow_and_drain(ends[0]);
    close(ends[0]);
}

/* When it cannot be opened a second time. */
static void test_a_pipe_without_a_second_descriptor(void **state)
{
    (void)state;
    int ends[2];
    struct rlimit before;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    stderr_before = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    log_open();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    got_size = 0;
    (void)alarm(ALARM_S);
    overflow_and_drain(ends[0]);
    close(ends[0]);
}

static void test_a_socket_that_nobody_reads(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    redirect(ends[1]);
    overflow_and_drain(ends[0]);
    close(ends[0]);
}

/* Ctrl-S, then Ctrl-Q. */
static void test_a_terminal_that_is_stopped(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        skip();
    }
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    assert_int_equal(tcflow(terminal, TCOOFF), 0);
    redirect(terminal);
    log_info("line", "n=0");
    assert_true(log_is_pending() && is_blocking());
    drain(master);
    assert_int_equal(got_size, 0);
    assert_int_equal(tcflow(STDERR_FILENO, TCOON), 0);
    log_flush();
    assert_false(log_is_pending());
    drain(master);
    assert_non_null(strstr(got, "line n=0"));
    got_size = 0;
    overflow_and_drain(master);
    close(master);
}

static void test_a_reader_that_has_gone(void **state)
{
    (void)state;
    int ends[2];
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(ends), 0);
    redirect(ends[1]);
    close(ends[0]);
    for (int i = 0; i < LINES; i++) {
        log_info("line", "n=%d", i);
    }
    assert_false(log_is_pending()); /* Nobody is left to be told. */
}

static void test_a_disk_that_is_full(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY);
    if (full < 0) {
        skip();
    }
    redirect(full);
    log_info("line", "n=0");
    log_info("line", "n=1");
    assert_true(log_is_pending());
    /* Room again: another file in its place. */
    char path[] = "/tmp/test_base_output.XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(dup2(file, STDERR_FILENO), STDERR_FILENO);
    log_info("line", "n=2");
    assert_false(log_is_pending());
    got_size = (size_t)pread(file, got, sizeof(got) - 1, 0);
    got[got_size] = '\0';
    assert_non_null(strstr(got, "log-dropped lines=2"));
    assert_non_null(strstr(got, "n=2"));
    close(file);
    unlink(path);
}

/* The last line before the end reaches a reader who is a little late, and the
 * end does not wait for one who sleeps. */
static void test_the_end_waits_a_moment(void **state)
{
    (void)state;
    int ends[2];
    char filler[900];
    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    assert_int_equal(pipe(ends), 0);
    redirect(ends[1]);
    while (!log_is_pending()) {
        log_info("line", "%s", filler);
    }
    log_finish();
    assert_true(log_is_pending());
    drain(ends[0]);
    log_info("line", "last");
    log_finish();
    assert_false(log_is_pending());
    drain(ends[0]);
    assert_non_null(strstr(got, "last\n"));
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_pipe_that_nobody_reads, give_back),
        cmocka_unit_test_teardown(test_a_pipe_without_a_second_descriptor,
                                  give_back),
        cmocka_unit_test_teardown(test_a_socket_that_nobody_reads, give_back),
        cmocka_unit_test_teardown(test_a_terminal_that_is_stopped, give_back),
        cmocka_unit_test_teardown(test_a_reader_that_has_gone, give_back),
        cmocka_unit_test_teardown(test_a_disk_that_is_full, give_back),
        cmocka_unit_test_teardown(test_the_end_waits_a_moment, give_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
