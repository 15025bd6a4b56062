/* test_kqueue.c -- the emulation of kqueue(2) behaves as FreeBSD's manual page
 * says, where src/reactor/kqueue.c depends on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

enum { LONG_MS = 20000 };

static int kq;
static int ends[2]; /* A connected pair of sockets; ends[0] is watched. */
static int tags[2]; /* Addresses for udata. */

static int connected_pair(int pair[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&at, size) != 0 ||
        listen(listening, 1) != 0 ||
        getsockname(listening, (struct sockaddr *)&at, &size) != 0 ||
        connect(pair[1], (struct sockaddr *)&at, size) != 0) {
        return -1;
    }
    pair[0] = accept(listening, NULL, NULL);
    close(listening);
    return pair[0] < 0 ? -1 : 0;
}

static int setup(void **state)
{
    (void)state;
    kq = kqueue();
    return kq >= 0 ? connected_pair(ends) : -1;
}

static int teardown(void **state)
{
    (void)state;
    close(ends[0]);
    close(ends[1]);
    close(kq);
    return 0;
}

static int wait_for_events(struct kevent *events, int events_max, int wait_ms)
{
    struct timespec wait = {.tv_sec = wait_ms / 1000,
                            .tv_nsec = (long)(wait_ms % 1000) * 1000000};
    return kevent(kq, NULL, 0, events, events_max, &wait);
}

static struct kevent a_change(int fd, int filter, int flags, void *udata)
{
    struct kevent change;
    EV_SET(&change, (uintptr_t)fd, (short)filter, (unsigned short)flags, 0, 0,
           udata);
    return change;
}

static void change(int fd, int filter, int flags, void *udata)
{
    struct kevent one = a_change(fd, filter, flags, udata);
    assert_int_equal(kevent(kq, &one, 1, NULL, 0, NULL), 0);
}

static struct kevent next_event(void)
{
    struct kevent event;
    assert_int_equal(wait_for_events(&event, 1, LONG_MS), 1);
    assert_false(event.flags & EV_ERROR);
    return event;
}

static void expect_nothing(void)
{
    struct kevent event;
    assert_int_equal(wait_for_events(&event, 1, 30), 0);
}

static void say(const char *text)
{
    assert_int_equal(send(ends[1], text, strlen(text), 0), strlen(text));
}

static void drain(void)
{
    char drop[64];
    while (recv(ends[0], drop, sizeof(drop), MSG_DONTWAIT) > 0) {
    }
}

static void reset_connection(void)
{
    struct linger at_once = {.l_onoff = 1};
    assert_int_equal(
        setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
        0);
    close(ends[1]);
    ends[1] = -1;
}

static void test_reported_until_it_is_read(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD, &tags[0]);
    expect_nothing();
    say("abc");
    for (int i = 0; i < 3; i++) {
        struct kevent event = next_event();
        assert_int_equal(event.ident, ends[0]);
        assert_int_equal(event.filter, EVFILT_READ);
        assert_int_equal(event.data, 3);
        assert_ptr_equal(event.udata, &tags[0]);
        assert_false(event.flags & EV_EOF);
    }
    drain();
    expect_nothing();
}

static void test_clear_reports_each_arrival_once(void **state)
{
    (void)state;
    say("there before");
    change(ends[0], EVFILT_READ, EV_ADD | EV_CLEAR, &tags[0]);
    (void)next_event();
    expect_nothing();
    say("more, and nothing was read");
    (void)next_event();
    expect_nothing();
}

static void test_adding_again(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD | EV_CLEAR, &tags[0]);
    say("abc");
    (void)next_event();
    expect_nothing();
    /* The condition is looked at again, and EV_CLEAR is as it was. */
    change(ends[0], EVFILT_READ, EV_ADD, &tags[1]);
    assert_ptr_equal(next_event().udata, &tags[1]);
    expect_nothing();
    /* Deleted first, it is a new filter. */
    change(ends[0], EVFILT_READ, EV_DELETE, NULL);
    change(ends[0], EVFILT_READ, EV_ADD, &tags[0]);
    (void)next_event();
    (void)next_event();
}

static void test_deleted(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD, NULL);
    say("abc");
    (void)next_event();
    change(ends[0], EVFILT_READ, EV_DELETE, NULL);
    expect_nothing();
}

static void test_errors_of_changes(void **state)
{
    (void)state;
    change(ends[0], EVFILT_WRITE, EV_ADD, NULL); /* Ready at once. */
    struct kevent list[3] = {
        a_change(ends[0], EVFILT_READ, EV_DELETE, &tags[0]),
        a_change(-1, EVFILT_READ, EV_ADD, &tags[1]),
        a_change(ends[0], EVFILT_READ, EV_ADD, NULL)};
    struct kevent events[8];
    /* They come alone, and without a wait. */
    assert_int_equal(kevent(kq, list, 3, events, 8, NULL), 2);
    assert_true(events[0].flags & EV_ERROR);
    assert_int_equal(events[0].data, ENOENT);
    assert_int_equal(events[0].filter, EVFILT_READ);
    assert_ptr_equal(events[0].udata, &tags[0]);
    assert_int_equal(events[1].data, EBADF);
    assert_ptr_equal(events[1].udata, &tags[1]);
    change(ends[0], EVFILT_READ, EV_DELETE, NULL); /* The third was made. */

    /* Without space for an error, it ends the call. */
    assert_int_equal(kevent(kq, list, 3, NULL, 0, NULL), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(kevent(kq, list, 1, NULL, 0, NULL), -1);
    assert_int_equal(kevent(kq, &list[1], 1, NULL, 0, NULL), -1);
    assert_int_equal(errno, EBADF);
}

static void test_two_filters_have_two_events(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD, &tags[0]);
    change(ends[0], EVFILT_WRITE, EV_ADD, &tags[1]);
    say("abc");
    struct kevent events[8];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wait_for_events(events, 8, LONG_MS), 2);
        bool read_first = events[0].filter == EVFILT_READ;
        const struct kevent *read = &events[read_first ? 0 : 1];
        const struct kevent *write = &events[read_first ? 1 : 0];
        assert_int_equal(read->filter, EVFILT_READ);
        assert_ptr_equal(read->udata, &tags[0]);
        assert_int_equal(write->filter, EVFILT_WRITE);
        assert_ptr_equal(write->udata, &tags[1]);
    }
    /* Where one event fits, each has its turn. */
    int reads = 0;
    for (int i = 0; i < 6; i++) {
        reads += next_event().filter == EVFILT_READ;
    }
    assert_in_range(reads, 1, 5);
}

static void test_end_of_the_other_direction(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD, NULL);
    say("abc");
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    struct kevent event;
    do { /* The bytes may arrive before the end. */
        event = next_event();
    } while (!(event.flags & EV_EOF));
    assert_int_equal(event.data, 3);
    assert_int_equal(event.fflags, 0);
    drain();
    event = next_event(); /* It stays. */
    assert_true(event.flags & EV_EOF);
    assert_int_equal(event.data, 0);
    assert_int_equal(event.fflags, 0);
    /* Our own direction is open. */
    change(ends[0], EVFILT_READ, EV_DELETE, NULL);
    change(ends[0], EVFILT_WRITE, EV_ADD, NULL);
    assert_false(next_event().flags & EV_EOF);
}

static void test_reset(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD | EV_CLEAR, NULL);
    change(ends[0], EVFILT_WRITE, EV_ADD, NULL);
    assert_int_equal(next_event().filter, EVFILT_WRITE);
    reset_connection();
    bool seen[2] = {false, false};
    for (int i = 0; i < 20 && !(seen[0] && seen[1]); i++) {
        struct kevent event = next_event();
        if (event.flags & EV_EOF) {
            assert_int_not_equal(event.fflags, 0);
            seen[event.filter == EVFILT_READ] = true;
        }
    }
    assert_true(seen[0] && seen[1]);
}

/* The end was reported already: the error is one more change of the state. */
static void test_reset_after_the_end(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD | EV_CLEAR, NULL);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    struct kevent event = next_event();
    assert_true(event.flags & EV_EOF);
    assert_int_equal(event.fflags, 0);
    expect_nothing();
    reset_connection();
    event = next_event();
    assert_true(event.flags & EV_EOF);
    assert_int_not_equal(event.fflags, 0);
}

static void test_refused_connection(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int taken = socket(AF_INET, SOCK_STREAM, 0); /* It does not listen. */
    assert_int_equal(bind(taken, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&at, &size), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, size), -1);
    if (errno == EINPROGRESS) {
        change(fd, EVFILT_WRITE, EV_ADD, NULL);
        struct kevent event = next_event();
        assert_true(event.flags & EV_EOF);
        assert_int_not_equal(event.fflags, 0);
    }
    close(fd);
    close(taken);
}

static void test_listening_socket(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(listening, 8), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&at, &size), 0);
    change(listening, EVFILT_READ, EV_ADD, NULL);
    expect_nothing();
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, size), 0);
    assert_true(next_event().data > 0);
    int accepted = accept(listening, NULL, NULL);
    expect_nothing();
    close(accepted);
    close(client);
    close(listening);
}

static void test_pipe(void **state)
{
    (void)state;
    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    change(pipe_ends[0], EVFILT_READ, EV_ADD, NULL);
    assert_int_equal(write(pipe_ends[1], "abcd", 4), 4);
    assert_int_equal(next_event().data, 4);
    close(pipe_ends[1]);
    struct kevent event = next_event();
    assert_true(event.flags & EV_EOF);
    assert_int_equal(event.fflags, 0);
    assert_int_equal(event.data, 4);
    close(pipe_ends[0]);
}

/* Though a copy keeps the socket open, as a child may have one. */
static void test_close_removes_the_filters(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD, NULL);
    change(ends[0], EVFILT_WRITE, EV_ADD, NULL);
    say("abc");
    int number = ends[0];
    int copy = dup(number);
    close(number);
    expect_nothing();
    assert_int_equal(dup2(copy, number), number);
    expect_nothing();
    struct kevent gone = a_change(number, EVFILT_READ, EV_DELETE, NULL);
    assert_int_equal(kevent(kq, &gone, 1, NULL, 0, NULL), -1);
    assert_int_equal(errno, ENOENT);
    close(copy);
}

static void test_child_does_not_inherit(void **state)
{
    (void)state;
    change(ends[0], EVFILT_READ, EV_ADD, NULL);
    pid_t child = fork();
    if (child == 0) {
        struct kevent event;
        close(ends[0]);
        struct timespec none = {0};
        int rc = kevent(kq, NULL, 0, &event, 1, &none);
        _exit(rc == -1 && errno == EBADF ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    say("abc"); /* What the child closed is open here. */
    (void)next_event();
}

static void on_alarm(int number)
{
    (void)number;
}

/* The changes of a call that a signal ends have been made. */
static void test_signal_ends_the_wait(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_alarm};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    /* Again and again: one that comes before the wait is no use. */
    struct itimerval often = {{0, 20000}, {0, 20000}};
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    struct kevent add = a_change(ends[0], EVFILT_READ, EV_ADD, NULL);
    struct kevent event;
    assert_int_equal(kevent(kq, &add, 1, &event, 1, NULL), -1);
    assert_int_equal(errno, EINTR);
    often = (struct itimerval){{0, 0}, {0, 0}};
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    say("abc");
    (void)next_event();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reported_until_it_is_read),
        TEST(test_clear_reports_each_arrival_once),
        TEST(test_adding_again),
        TEST(test_deleted),
        TEST(test_errors_of_changes),
        TEST(test_two_filters_have_two_events),
        TEST(test_end_of_the_other_direction),
        TEST(test_reset),
        TEST(test_reset_after_the_end),
        TEST(test_refused_connection),
        TEST(test_listening_socket),
        TEST(test_pipe),
        TEST(test_close_removes_the_filters),
        TEST(test_child_does_not_inherit),
        TEST(test_signal_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
