/* test_reactor_accept.c -- listeners of a kernel that accepts no connection,
 * for a while or for good: the linker gives accept4() to this program. */
#define _GNU_SOURCE /* accept4() */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "reactor/reactor.h"
#include "sys/sys.h"

static int calls;
static int error_now; /* 0: it accepts. */
static int accepted;

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *size, int flags);
int __real_accept4(int fd, struct sockaddr *from, socklen_t *size, int flags);

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *size, int flags)
{
    calls++;
    if (error_now) {
        errno = error_now;
        return -1;
    }
    return __real_accept4(fd, from, size, flags);
}

static void on_accept(struct stream *stream, void *arg)
{
    (void)arg;
    accepted++;
    stream_close(stream);
}

/* Returns the number of turns within that time. */
static int run(struct reactor *reactor, uint64_t ms)
{
    int turns = 0;
    for (uint64_t start = sys_now_ms(); sys_now_ms() - start < ms;) {
        reactor_turn(reactor, 50);
        turns++;
    }
    return turns;
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static int connect_to_file(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    (void)snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Errors of the listener and of one connection after another; then the kernel
 * accepts again. */
static void check(bool is_unix, int error)
{
    char path[64] = "";
    char why[128];
    struct reactor *reactor = reactor_new();
    struct listener *listener = NULL;
    calls = 0;
    accepted = 0;
    error_now = error;
    if (is_unix) {
        snprintf(path, sizeof(path), "/tmp/craftd-accept-%d", (int)getpid());
        assert_int_equal(listener_open_unix(reactor, path, 0600, on_accept,
                                            NULL, &listener, why, sizeof(why)),
                         ERR_OK);
    } else {
        assert_int_equal(listener_open(reactor, "127.0.0.1", 0, on_accept, NULL,
                                       &listener, why, sizeof(why)),
                         ERR_OK);
    }
    int fd =
        is_unix ? connect_to_file(path) : connect_to(listener_port(listener));
    int turns = run(reactor, 600);
    /* Pauses of 100, 200 and 400 ms, or of 100 ms; before the first one as many
     * attempts as a turn has. */
    assert_true(calls >= 2 && calls < REACTOR_ACCEPTS_PER_TURN + 16);
    assert_true(turns < 60);
    error_now = 0;
    uint64_t start = sys_now_ms();
    while (accepted == 0 && sys_now_ms() - start < 5000) {
        reactor_turn(reactor, 50);
    }
    assert_int_equal(accepted, 1);
    close(fd);

    /* The next failure pauses for a short time again. */
    error_now = error;
    fd = is_unix ? connect_to_file(path) : connect_to(listener_port(listener));
    (void)run(reactor, 50);
    error_now = 0;
    start = sys_now_ms();
    while (accepted == 1 && sys_now_ms() - start < 5000) {
        reactor_turn(reactor, 50);
    }
    assert_int_equal(accepted, 2);
    assert_true(sys_now_ms() - start < 1000);
    close(fd);
    listener_close(listener);
    reactor_free(reactor);
}

static void test_accepting_is_forbidden(void **state)
{
    (void)state;
    check(false, EACCES);
    check(false, EPERM);
    check(true, EACCES);
}

static void test_accepting_is_not_implemented(void **state)
{
    (void)state;
    check(false, ENOSYS);
    check(true, ENOSYS);
}

static void test_every_connection_fails(void **state)
{
    (void)state;
    check(false, ECONNABORTED);
}

static void test_descriptors_are_short(void **state)
{
    (void)state;
    check(false, EMFILE);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepting_is_forbidden),
        cmocka_unit_test(test_accepting_is_not_implemented),
        cmocka_unit_test(test_every_connection_fails),
        cmocka_unit_test(test_descriptors_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
