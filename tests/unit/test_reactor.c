/* test_reactor.c -- the turn, timers, signals, and accepted streams with
 * plain sockets on the other side, so that each test sees both ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "reactor/reactor.h"
#include "reactor/reactor_internal.h"
#include "sys/sys.h"

enum { SIDES_MAX = 8 };

/* Our end of one connection, and what was seen of it. */
struct side {
    struct stream *stream; /* NULL after on_close or stream_close(). */
    struct buf got;
    size_t consume_max; /* on_read consumes no more than this at a time. */
    int reads, eofs, drains, closes;
    char why[32];
    struct fixture *fixture;
    void (*act)(struct side *side); /* Called in on_read. */
};

struct fixture {
    struct reactor *reactor;
    struct listener *listener;
    struct side sides[SIDES_MAX];
    int side_count;
    const struct stream_handler *handler;
    size_t consume_max;
    int hook_calls;
    uint64_t hook_at_ms;
    void (*hook_act)(struct fixture *f);
    int wake_fd;
};

static struct fixture f;

static size_t on_read(struct stream *stream, uint8_t *data, size_t size,
                      void *arg)
{
    struct side *side = arg;
    assert_ptr_equal(stream, side->stream);
    assert_true(size > 0);
    side->reads++;
    size_t consumed = min_size(size, side->consume_max);
    buf_add(&side->got, data, consumed);
    memset(data, '#', consumed); /* The bytes are ours to spoil. */
    if (side->act) {
        side->act(side);
    }
    return consumed;
}

static void on_eof(struct stream *stream, void *arg)
{
    (void)stream;
    ((struct side *)arg)->eofs++;
}

static void on_drain(struct stream *stream, void *arg)
{
    assert_int_equal(stream_output_bytes(stream), 0);
    ((struct side *)arg)->drains++;
}

static void on_close(struct stream *stream, const char *why, void *arg)
{
    struct side *side = arg;
    assert_ptr_equal(stream, side->stream);
    side->stream = NULL;
    side->closes++;
    snprintf(side->why, sizeof(side->why), "%s", why);
}

static const struct stream_handler handler = {
    .on_read = on_read,
    .on_eof = on_eof,
    .on_drain = on_drain,
    .on_close = on_close,
};

static const struct stream_handler handler_without_eof = {
    .on_read = on_read,
    .on_close = on_close,
};

static void on_accept(struct stream *stream, void *arg)
{
    (void)arg;
    must(f.side_count < SIDES_MAX);
    struct side *side = &f.sides[f.side_count++];
    *side = (struct side){
        .stream = stream, .fixture = &f, .consume_max = f.consume_max};
    stream_set_handler(stream, f.handler, side);
}

static int setup(void **state)
{
    (void)state;
    char why[64] = "";
    f = (struct fixture){
        .reactor = reactor_new(), .handler = &handler, .consume_max = SIZE_MAX};
    assert_int_equal(listener_open(f.reactor, "127.0.0.1", 0, on_accept, NULL,
                                   &f.listener, why, sizeof(why)),
                     ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    reactor_free(f.reactor);
    for (int i = 0; i < f.side_count; i++) {
        buf_free(&f.sides[i].got);
    }
    return 0;
}

/* Turn until the condition holds; 10 s is for ever. */
#define TURN_UNTIL(condition)                                                  \
    do {                                                                       \
        uint64_t end_ms = sys_now_ms() + 10000;                                \
        while (!(condition) && sys_now_ms() < end_ms) {                        \
            reactor_turn(f.reactor, 5);                                        \
        }                                                                      \
        assert_true(condition);                                                \
    } while (0)

static void turns(int count)
{
    for (int i = 0; i < count; i++) {
        reactor_turn(f.reactor, 1);
    }
}

/* A connected plain socket (blocking), and its side. */
static int client(struct side **side)
{
    int before = f.side_count;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(listener_port(f.listener)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    if (side) {
        TURN_UNTIL(f.side_count > before);
        *side = &f.sides[before];
    }
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void expect_got(const struct side *side, const char *text)
{
    assert_int_equal(side->got.size, strlen(text));
    assert_memory_equal(side->got.data, text, strlen(text));
}

static void expect_hears(int fd, const char *text)
{
    char got[64];
    ssize_t size = recv(fd, got, sizeof(got), MSG_DONTWAIT);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

/* ---- timers, hook, signals ---- */

struct tick {
    struct timer timer;
    int id;
    uint64_t at_ms;
    int calls;
};
static int order[16];
static int order_count;

static void on_tick(void *arg)
{
    struct tick *tick = arg;
    assert_true(reactor_now_ms(f.reactor) >= tick->at_ms);
    tick->calls++;
    order[order_count++ % 16] = tick->id;
}

static void arm(struct tick *tick, int id, uint64_t after_ms)
{
    tick->id = id;
    tick->at_ms = sys_now_ms() + after_ms;
    timer_arm(f.reactor, &tick->timer, tick->at_ms, on_tick, tick);
}

static void test_timers(void **state)
{
    (void)state;
    struct tick a = {0}, b = {0}, c = {0}, d = {0}, idle = {0};
    order_count = 0;
    arm(&c, 3, 30);
    arm(&a, 1, 10);
    arm(&d, 4, 15);
    arm(&b, 2, 1);
    arm(&b, 2, 20); /* Re-armed: the first time does not count. */
    timer_cancel(f.reactor, &d.timer);
    timer_cancel(f.reactor, &idle.timer); /* Never armed: nothing happens. */
    TURN_UNTIL(order_count == 3);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 3);
    turns(3);
    assert_int_equal(order_count, 3);
}

static void on_again(void *arg)
{
    struct tick *tick = arg;
    tick->calls++;
    timer_arm(f.reactor, &tick->timer, 0, on_again, tick);
}

static void test_timer_for_now_does_not_hold_the_turn(void **state)
{
    (void)state;
    struct tick tick = {0};
    timer_arm(f.reactor, &tick.timer, 0, on_again, &tick);
    uint64_t start_ms = sys_now_ms();
    for (int i = 0; i < 5; i++) {
        reactor_turn(f.reactor, 10000);
    }
    assert_int_equal(tick.calls, 5);
    assert_true(sys_now_ms() - start_ms < 5000); /* Due: no sleep. */
    timer_cancel(f.reactor, &tick.timer);
}

static void on_cancel_other(void *arg)
{
    timer_cancel(f.reactor, &((struct tick *)arg)->timer);
}

static void test_timer_cancelled_by_another_of_the_same_turn(void **state)
{
    (void)state;
    struct tick victim = {0};
    struct timer killer = {0};
    timer_arm(f.reactor, &killer, 1, on_cancel_other, &victim);
    timer_arm(f.reactor, &victim.timer, 2, on_tick, &victim);
    turns(3);
    assert_int_equal(victim.calls, 0);
}

static uint64_t on_hook(void *arg)
{
    assert_ptr_equal(arg, &f);
    f.hook_calls++;
    if (f.hook_act) {
        f.hook_act(&f);
    }
    return f.hook_at_ms;
}

static void test_hook_deadline(void **state)
{
    (void)state;
    reactor_set_hook(f.reactor, on_hook, &f);
    f.hook_at_ms = UINT64_MAX;
    reactor_turn(f.reactor, 10000); /* Called soon after it is set. */
    assert_int_equal(f.hook_calls, 1);

    f.hook_at_ms = sys_now_ms() + 30;
    reactor_turn(f.reactor, 1); /* Tells its deadline. */
    uint64_t until_ms = f.hook_at_ms;
    f.hook_at_ms = 0;
    reactor_turn(f.reactor, 10000);
    assert_int_equal(f.hook_calls, 3);
    uint64_t now_ms = sys_now_ms();
    assert_true(now_ms >= until_ms && now_ms < until_ms + 5000);
    reactor_turn(f.reactor, 10000); /* 0: at once. */
    assert_int_equal(f.hook_calls, 4);
    assert_true(sys_now_ms() < now_ms + 5000);
}

static void hook_drains(struct fixture *fixture)
{
    char byte;
    assert_int_equal(read(fixture->wake_fd, &byte, 1), 1);
    fixture->hook_act = NULL;
}

/* It ends the sleep, and again until it is drained. */
static void test_wakes_on_a_descriptor(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    reactor_wake_on(f.reactor, ends[0], NULL, NULL);
    reactor_set_hook(f.reactor, on_hook, &f);
    f.hook_at_ms = UINT64_MAX;
    reactor_turn(f.reactor, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    uint64_t start_ms = sys_now_ms();
    reactor_turn(f.reactor, 20000);
    f.hook_act = hook_drains;
    f.wake_fd = ends[0];
    reactor_turn(f.reactor, 20000);
    assert_true(sys_now_ms() - start_ms < 10000);
    assert_int_equal(f.hook_calls, 3);
    start_ms = sys_now_ms();
    reactor_turn(f.reactor, 30);
    assert_true(sys_now_ms() - start_ms >= 29);
    reactor_free(f.reactor); /* Before it is closed. */
    f.reactor = reactor_new();
    close(ends[0]);
    close(ends[1]);
}

static void on_wake(void *arg)
{
    char byte;
    int *fds = arg;
    assert_int_equal(read(fds[0], &byte, 1), 1);
    fds[1]++;
}

/* Each has a callback of its own, which may drain it. */
static void test_wakes_on_two_descriptors(void **state)
{
    (void)state;
    int ends[REACTOR_WAKES_MAX][2];
    int calls[REACTOR_WAKES_MAX][2];
    for (int i = 0; i < REACTOR_WAKES_MAX; i++) {
        assert_int_equal(pipe(ends[i]), 0);
        calls[i][0] = ends[i][0];
        calls[i][1] = 0;
        reactor_wake_on(f.reactor, ends[i][0], on_wake, calls[i]);
    }
    for (int i = 0; i < REACTOR_WAKES_MAX; i++) {
        assert_int_equal(write(ends[i][1], "x", 1), 1);
        TURN_UNTIL(calls[i][1] == 1);
        turns(2);
        assert_int_equal(calls[i][1], 1);
        assert_int_equal(calls[1][1], i);
    }
    reactor_free(f.reactor); /* Before they are closed. */
    f.reactor = reactor_new();
    for (int i = 0; i < REACTOR_WAKES_MAX; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}

static void hook_writes(struct fixture *fixture)
{
    if (fixture->side_count > 0 && fixture->sides[0].reads == 1) {
        fixture->sides[0].reads++;
        stream_write(fixture->sides[0].stream, "answer", 6);
        buf_add_string(stream_output(fixture->sides[0].stream), "!");
    }
}

/* Read, hook and flush are one turn: the answer does not wait for another. */
static void test_written_in_hook_leaves_in_the_same_turn(void **state)
{
    (void)state;
    struct side *side;
    int fd = client(&side);
    f.hook_at_ms = UINT64_MAX;
    f.hook_act = hook_writes;
    reactor_set_hook(f.reactor, on_hook, &f);
    turns(1);
    say(fd, "question");
    reactor_turn(f.reactor, 1000);
    expect_got(side, "question");
    expect_hears(fd, "answer!");
    assert_int_equal(side->drains, 0);
    close(fd);
}

static void test_turn_time_is_without_sleep(void **state)
{
    (void)state;
    reactor_turn(f.reactor, 80);
    assert_true(reactor_turn_max_us(f.reactor) < 60000);
}

static void hook_is_slow(struct fixture *fixture)
{
    (void)fixture;
    usleep(30000);
}

static void test_turn_time_is_measured(void **state)
{
    (void)state;
    f.hook_at_ms = UINT64_MAX;
    f.hook_act = hook_is_slow;
    reactor_set_hook(f.reactor, on_hook, &f);
    reactor_turn(f.reactor, 0);
    const struct histogram *times = reactor_turn_times(f.reactor);
    assert_true(reactor_turn_max_us(f.reactor) >= 29000);
    assert_true(times->sum >= 29000 && times->sum < 60000);
    assert_int_equal(histogram_count(times), 1);
}

static int signal_seen[3];

static void on_signal(int number, void *arg)
{
    assert_ptr_equal(arg, &f);
    signal_seen[number == SIGUSR1 ? 0 : 1]++;
    if (number == SIGUSR2) {
        reactor_stop(f.reactor);
    }
}

static void test_signals(void **state)
{
    (void)state;
    memset(signal_seen, 0, sizeof(signal_seen));
    reactor_on_signal(f.reactor, SIGUSR1, on_signal, &f);
    reactor_on_signal(f.reactor, SIGUSR2, on_signal, &f);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(signal_seen[0], 0); /* From the turn only. */
    reactor_turn(f.reactor, 1000);
    assert_int_equal(signal_seen[0], 1);
    assert_int_equal(signal_seen[1], 0);
    turns(2);
    assert_int_equal(signal_seen[0], 1);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(raise(SIGUSR2), 0);
    reactor_run(f.reactor); /* Ends by the second. */
    assert_int_equal(signal_seen[0], 2);
    assert_int_equal(signal_seen[1], 1);
}

/* A signal in the midst of the sleep ends it. */
static void test_signal_wakes_the_poll(void **state)
{
    (void)state;
    memset(signal_seen, 0, sizeof(signal_seen));
    reactor_on_signal(f.reactor, SIGUSR1, on_signal, &f);
    pid_t me = getpid();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        usleep(50000);
        kill(me, SIGUSR1);
        _exit(0);
    }
    uint64_t start_ms = sys_now_ms();
    while (!signal_seen[0] && sys_now_ms() < start_ms + 9000) {
        reactor_turn(f.reactor, 10000);
    }
    assert_int_equal(signal_seen[0], 1);
    assert_true(sys_now_ms() < start_ms + 5000);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* ---- reading ---- */

static void test_peer_text(void **state)
{
    (void)state;
    struct side *side;
    int fd = client(&side);
    struct sockaddr_in mine;
    socklen_t size = sizeof(mine);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&mine, &size), 0);
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u",
             (unsigned)ntohs(mine.sin_port));
    assert_string_equal(stream_peer_text(side->stream), text);
    close(fd);
}

static void test_partial_consumption(void **state)
{
    (void)state;
    f.consume_max = 3;
    struct side *side;
    int fd = client(&side);
    say(fd, "abcdefgh");
    TURN_UNTIL(side->reads == 1);
    expect_got(side, "abc");
    assert_int_equal(stream_input_bytes(side->stream), 5);
    turns(3);
    assert_int_equal(side->reads, 1); /* Not without a kick or new bytes. */

    uint64_t start_ms = sys_now_ms();
    stream_kick(side->stream);
    stream_kick(side->stream); /* Twice is once. */
    reactor_turn(f.reactor, 10000);
    assert_true(sys_now_ms() - start_ms < 5000); /* A kick does not sleep. */
    assert_int_equal(side->reads, 2);
    expect_got(side, "abcdef");

    say(fd, "ij"); /* New bytes come behind the old ones. */
    TURN_UNTIL(side->reads == 3);
    expect_got(side, "abcdefghi");
    stream_kick(side->stream);
    turns(1);
    expect_got(side, "abcdefghij");
    assert_int_equal(stream_input_bytes(side->stream), 0);
    assert_int_equal(side->stream->input.capacity, 0);
    stream_kick(side->stream); /* Nothing pending: no call. */
    turns(2);
    assert_int_equal(side->reads, 4);
    close(fd);
}

static void act_kick(struct side *side)
{
    stream_kick(side->stream);
}

static void test_kick_inside_on_read(void **state)
{
    (void)state;
    f.consume_max = 1;
    struct side *side;
    int fd = client(&side);
    side->act = act_kick;
    say(fd, "abcd");
    TURN_UNTIL(side->got.size == 4);
    expect_got(side, "abcd");
    assert_int_equal(side->reads, 4);
    close(fd);
}

/* Pending output can be sent after the end of the other side's stream. */
static void test_half_close(void **state)
{
    (void)state;
    f.consume_max = 4;
    struct side *side;
    int fd = client(&side);
    say(fd, "question");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    TURN_UNTIL(side->eofs == 1);
    turns(3);
    assert_int_equal(side->eofs, 1);
    assert_int_equal(side->closes, 0);
    stream_kick(side->stream);
    turns(1);
    expect_got(side, "question");
    stream_write(side->stream, "answer", 6);
    turns(1);
    expect_hears(fd, "answer");
    stream_close_after_flush(side->stream);
    TURN_UNTIL(side->closes == 1);
    assert_string_equal(side->why, "closed");
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

/* Having seen the end must not make the loop spin. */
static void test_no_spin_after_eof(void **state)
{
    (void)state;
    struct side *side;
    int fd = client(&side);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    TURN_UNTIL(side->eofs == 1);
    turns(1);
    uint64_t start_ms = sys_now_ms();
    reactor_turn(f.reactor, 50);
    assert_true(sys_now_ms() - start_ms >= 45);
    close(fd);
}

static void test_eof_without_handler_closes(void **state)
{
    (void)state;
    f.handler = &handler_without_eof;
    struct side *side;
    int fd = client(&side);
    say(fd, "x");
    close(fd);
    TURN_UNTIL(side->closes == 1);
    expect_got(side, "x");
    assert_string_equal(side->why, "closed by peer");
    turns(2);
    assert_int_equal(side->closes, 1);
}

static void reset_by(int fd)
{
    struct linger now = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)),
                     0);
    close(fd);
}

static void test_reset(void **state)
{
    (void)state;
    struct side *reading, *ended, *full;
    int a = client(&reading);
    int b = client(&ended);
    int c = client(&full);
    assert_int_equal(shutdown(b, SHUT_WR), 0);
    TURN_UNTIL(ended->eofs == 1);
    full->consume_max = 0;
    stream_set_input_limit(full->stream, 1);
    say(c, "xy");
    TURN_UNTIL(full->reads == 1);
    turns(1);
    reset_by(a);
    reset_by(b); /* Noticed though nothing is being read from it, */
    reset_by(c); /* be it at its end or full. */
    TURN_UNTIL(reading->closes == 1 && ended->closes == 1 && full->closes == 1);
    assert_string_equal(reading->why, "reset");
    /* Ignored on the dead; the pointer is gone for a reason, too. */
    turns(3);
    assert_int_equal(reading->closes + ended->closes + full->closes, 3);
}

static void test_input_limit(void **state)
{
    (void)state;
    enum { LIMIT = 1000, TOTAL = 12 << 20 };
    f.consume_max = 0;
    struct side *side;
    int fd = client(&side);
    stream_set_input_limit(side->stream, LIMIT);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    static char block[65536];
    size_t sent = 0;
    int idle_rounds = 0;
    while (idle_rounds < 5 && sent < TOTAL) {
        ssize_t n = send(fd, block, sizeof(block), 0);
        idle_rounds = n > 0 ? 0 : idle_rounds + 1;
        sent += n > 0 ? (size_t)n : 0;
        turns(1);
    }
    assert_true(sent < TOTAL); /* The other side was held up, */
    assert_true(stream_input_bytes(side->stream) >= LIMIT);
    assert_true(stream_input_bytes(side->stream) <
                LIMIT + REACTOR_READ_BYTES); /* and memory was bounded. */
    int reads = side->reads;
    uint64_t start_ms = sys_now_ms();
    reactor_turn(f.reactor, 50); /* No spinning on what stays outside. */
    assert_true(sys_now_ms() - start_ms >= 45);
    assert_int_equal(side->reads, reads);

    side->consume_max = SIZE_MAX;
    stream_kick(side->stream);
    TURN_UNTIL(side->got.size == sent);
    close(fd);
}

/* Bytes that arrive in pieces over the limit reach on_read complete. */
static void test_at_least_the_limit_can_be_pending(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    f.consume_max = 0;
    struct side *side;
    int fd = client(&side);
    stream_set_input_limit(side->stream, SIZE);
    static char block[SIZE];
    for (size_t i = 0; i < SIZE; i++) {
        block[i] = (char)(i % 251);
    }
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    size_t sent = 0;
    while (stream_input_bytes(side->stream) < SIZE) {
        ssize_t n = send(fd, block + sent, SIZE - sent, 0);
        sent += n > 0 ? (size_t)n : 0;
        reactor_turn(f.reactor, 5);
    }
    side->consume_max = SIZE_MAX;
    stream_kick(side->stream);
    turns(1);
    assert_int_equal(side->got.size, SIZE);
    assert_memory_equal(side->got.data, block, SIZE);
    close(fd);
}

/* ---- writing ---- */

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i ^ (i >> 8) ^ (i >> 16));
}

static void write_pattern(struct stream *stream, size_t size)
{
    uint8_t *data = mem_alloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = pattern(i);
    }
    stream_write(stream, data, size);
    mem_free(data);
}

/* Read everything the turns bring, until `size` bytes or the end. */
static size_t read_pattern(int fd, size_t size, bool *clean_end)
{
    static uint8_t block[200000];
    size_t got = 0;
    uint64_t end_ms = sys_now_ms() + 10000;
    *clean_end = false;
    while (sys_now_ms() < end_ms) {
        ssize_t n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            reactor_turn(f.reactor, 1);
            continue;
        }
        if (n == 0) {
            *clean_end = true;
            break;
        }
        for (ssize_t i = 0; i < n; i++) {
            assert_int_equal(block[i], pattern(got + (size_t)i));
        }
        got += (size_t)n;
        if (got == size) {
            break;
        }
    }
    return got;
}

static void test_big_output(void **state)
{
    (void)state;
    enum { SIZE = 16 << 20 };
    struct side *side;
    int fd = client(&side);
    write_pattern(side->stream, SIZE);
    assert_int_equal(stream_output_bytes(side->stream), SIZE);
    turns(2);
    size_t left = stream_output_bytes(side->stream);
    assert_true(left > 0 && left < SIZE);
    turns(10); /* The kernel is full, and nobody reads. */
    assert_int_equal(side->drains, 0);

    bool clean_end;
    assert_int_equal(read_pattern(fd, SIZE, &clean_end), SIZE);
    TURN_UNTIL(side->drains == 1);
    assert_int_equal(stream_output_bytes(side->stream), 0);
    assert_int_equal(side->stream->output.capacity, 0); /* Large: given back. */
    assert_int_equal(side->stream->watch.interest, WATCH_READ);

    stream_write(side->stream, "small", 5);
    turns(2);
    expect_hears(fd, "small");
    assert_int_equal(side->drains, 1); /* Nothing was left behind this time. */
    assert_true(side->stream->output.capacity > 0);
    close(fd);
}

static void test_close_after_flush(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    struct side *side;
    int fd = client(&side);
    write_pattern(side->stream, SIZE);
    stream_close_after_flush(side->stream);
    stream_write(side->stream, "more", 4); /* Too late: ignored. */
    say(fd, "unread"); /* Would cause a reset if we just closed. */
    int reads = side->reads;
    bool clean_end;
    assert_int_equal(read_pattern(fd, SIZE + 1, &clean_end), SIZE);
    assert_true(clean_end);
    say(fd, "still unread"); /* Our last words met no reset, and now: */
    assert_int_equal(side->closes, 0);
    close(fd);
    TURN_UNTIL(side->closes == 1);
    assert_string_equal(side->why, "closed");
    assert_int_equal(side->reads, reads);
    assert_int_equal(side->drains, 0);
}

static void test_lingering_is_bounded(void **state)
{
    (void)state;
    struct side *quiet, *loud;
    int a = client(&quiet);
    int b = client(&loud);
    stream_close_after_flush(quiet->stream);
    stream_close_after_flush(loud->stream);
    turns(2);
    assert_int_equal(quiet->closes + loud->closes, 0);
    uint64_t start_ms = sys_now_ms();
    static char block[65536];
    for (int i = 0; i < 3; i++) {
        (void)!send(b, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        turns(2);
    }
    TURN_UNTIL(loud->closes == 1); /* By bytes, */
    assert_true(sys_now_ms() - start_ms < 1500);
    assert_int_equal(quiet->closes, 0);
    TURN_UNTIL(quiet->closes == 1); /* and by time. */
    assert_true(sys_now_ms() - start_ms >= 1500);
    assert_true(sys_now_ms() - start_ms < 5000);
    close(a);
    close(b);
}

static struct {
    int calls;
    size_t left;
} added;

/* A megabyte a time. */
static bool add_at_flush(struct buf *output, void *arg)
{
    (void)arg;
    size_t size = min_size(added.left, 1 << 20);
    added.calls++;
    memset(buf_reserve(output, size + 1), 'x', size);
    output->size += size;
    added.left -= size;
    return added.left > 0;
}

static void test_output_is_added_where_it_is_sent(void **state)
{
    (void)state;
    static const struct stream_handler adds = {
        .on_read = on_read, .on_flush = add_at_flush, .on_close = on_close};
    struct side *side;
    int fd = client(&side);
    stream_set_handler(side->stream, &adds, side);
    added.calls = 0;
    added.left = 3;
    stream_write(side->stream, "abc", 3);
    turns(2);
    char got[8];
    assert_int_equal(recv(fd, got, sizeof(got), 0), 6);
    assert_memory_equal(got, "abcxxx", 6);
    assert_int_equal(added.calls, 1); /* Idle turns flush nothing. */
    /* In the call already, when that flushes. */
    added.left = 2;
    stream_output(side->stream);
    stream_flush(side->stream);
    assert_int_equal(recv(fd, got, sizeof(got), 0), 2);
    turns(2);
    /* Once a turn, and not while the kernel has no room. */
    enum { MANY = 64 };
    added.calls = 0;
    added.left = (size_t)MANY << 20;
    stream_output(side->stream);
    turns(1);
    assert_int_equal(added.calls, 1);
    turns(200);
    assert_true(added.left > 0);
    int calls = added.calls;
    for (int i = 0; i < 20; i++) {
        stream_write(side->stream, "x", 1);
        turns(1);
    }
    assert_int_equal(added.calls, calls);
    /* It goes on when there is room again. */
    static char block[1 << 20];
    size_t received = 0;
    uint64_t end_ms = sys_now_ms() + 20000;
    while (received < ((size_t)MANY << 20) + 20 && sys_now_ms() < end_ms) {
        ssize_t n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
        received += n > 0 ? (size_t)n : 0;
        turns(1);
        assert_true(n != 0);
    }
    assert_int_equal(added.calls, MANY);
    assert_int_equal(added.left, 0);
    close(fd);
}

static void test_draining_lets_the_other_side_finish(void **state)
{
    (void)state;
    struct side *calm, *stuffed;
    int a = client(&calm);
    int b = client(&stuffed);
    int reads = calm->reads;
    stream_write(calm->stream, "no", 2);
    stream_close_after_drain(calm->stream);
    /* More output than the kernel takes: input is dropped while it waits. */
    write_pattern(stuffed->stream, 16 << 20);
    stream_close_after_drain(stuffed->stream);
    turns(2);
    const int fds[] = {a, b};
    static char block[65536];
    for (size_t i = 0; i < 2; i++) {
        for (size_t sent = 0; sent < 40 * sizeof(block);) {
            ssize_t some =
                send(fds[i], block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
            assert_true(some > 0 || errno == EAGAIN);
            sent += some > 0 ? (size_t)some : 0;
            turns(1);
        }
    }
    assert_int_equal(calm->closes + stuffed->closes, 0);
    assert_int_equal(calm->reads, reads);
    expect_hears(a, "no");
    close(a);
    TURN_UNTIL(calm->closes == 1);
    assert_string_equal(calm->why, "closed");
    /* Its end does not cut what is still being sent to it. */
    assert_int_equal(shutdown(b, SHUT_WR), 0);
    turns(2);
    size_t got = 0;
    ssize_t some;
    while ((some = recv(b, block, sizeof(block), MSG_DONTWAIT)) != 0) {
        assert_true(some > 0 || errno == EAGAIN);
        got += some > 0 ? (size_t)some : 0;
        turns(1);
    }
    assert_int_equal(got, 16 << 20);
    assert_int_equal(stuffed->eofs, 0);
    TURN_UNTIL(stuffed->closes == 1);
    close(b);
}

/* A gibibyte at once for all streams together; beyond it a stream lingers like
 * any other. What has leaked away may be dropped again. */
static void test_draining_is_bounded_for_all_streams(void **state)
{
    (void)state;
    struct side *side;
    int fd = client(&side);
    stream_close_after_drain(side->stream);
    turns(2);
    f.reactor->drain_ms = f.reactor->now_ms;
    f.reactor->drain_bytes = (1 << 30) - (1 << 20);
    static char block[65536];
    uint64_t dropped = 0;
    uint64_t start_ms = f.reactor->now_ms;
    while (side->closes == 0) {
        ssize_t some =
            send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        dropped += some > 0 ? (uint64_t)some : 0;
        reactor_turn(f.reactor, 0);
        uint64_t passed_ms = f.reactor->now_ms - start_ms;
        /* A mebibyte, what has leaked, and what the kernel holds. */
        assert_true(dropped <
                    (1 << 20) + (passed_ms + 1) * (128 << 10) + (16 << 20));
        assert_true(passed_ms < 10000);
    }
    assert_string_equal(side->why, "closed");
    close(fd);

    f.reactor->drain_ms = f.reactor->now_ms - 1000;
    fd = client(&side);
    stream_close_after_drain(side->stream);
    for (uint64_t sent = 0; sent < 32 << 20;) {
        ssize_t some =
            send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += some > 0 ? (uint64_t)some : 0;
        reactor_turn(f.reactor, 1);
        assert_int_equal(side->closes, 0);
    }
    close(fd);
    TURN_UNTIL(side->closes == 1);
}

static void test_close_while_lingering_or_flushing(void **state)
{
    (void)state;
    struct side *a_side, *b_side;
    int a = client(&a_side);
    int b = client(&b_side);
    stream_close_after_flush(a_side->stream);
    turns(1);
    write_pattern(b_side->stream, 16 << 20);
    stream_close_after_flush(b_side->stream);
    turns(1);
    stream_close(a_side->stream);
    stream_close(b_side->stream);
    turns(2);
    assert_int_equal(a_side->closes + b_side->closes, 0);
    close(a);
    close(b);
}

static void test_write_to_a_reset_stream(void **state)
{
    (void)state;
    struct side *side;
    int fd = client(&side);
    struct stream *stream = side->stream;
    reset_by(fd);
    stream_write(stream, "x", 1);
    TURN_UNTIL(side->closes == 1);
    assert_string_equal(side->why, "reset");
}

/* ---- closing inside callbacks ---- */

static void act_close(struct side *side)
{
    stream_write(side->stream, "lost", 4);
    stream_kick(side->stream);
    stream_close(side->stream);
    side->stream = NULL;
}

static void act_close_after_flush(struct side *side)
{
    stream_write(side->stream, "bye", 3);
    stream_close_after_flush(side->stream);
}

static void test_close_inside_on_read(void **state)
{
    (void)state;
    f.consume_max = 1;
    struct side *side;
    int fd = client(&side);
    side->act = act_close;
    say(fd, "xyz");
    TURN_UNTIL(side->reads == 1);
    turns(3);
    assert_int_equal(side->reads, 1);
    assert_int_equal(side->closes, 0);
    close(fd);

    fd = client(&side);
    side->act = act_close_after_flush;
    say(fd, "xyz");
    TURN_UNTIL(side->reads == 1);
    turns(1);
    expect_hears(fd, "bye");
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    TURN_UNTIL(side->closes == 1);
    assert_int_equal(side->reads, 1);
}

/* Closed from its own buffer (a kick), which must live as long as the call. */
static void test_close_inside_kicked_on_read(void **state)
{
    (void)state;
    f.consume_max = 1;
    struct side *side;
    int fd = client(&side);
    say(fd, "xyz");
    TURN_UNTIL(side->reads == 1);
    side->act = act_close;
    stream_kick(side->stream);
    turns(2);
    assert_int_equal(side->reads, 2);
    expect_got(side, "xy");
    close(fd);
}

static void closing_eof(struct stream *stream, void *arg)
{
    ((struct side *)arg)->eofs++;
    stream_close(stream);
}

static void closing_drain(struct stream *stream, void *arg)
{
    ((struct side *)arg)->drains++;
    stream_write(stream, "lost", 4);
    stream_close(stream);
}

static void closing_close(struct stream *stream, const char *why, void *arg)
{
    (void)why;
    ((struct side *)arg)->closes++;
    stream_write(stream, "lost", 4);
    stream_kick(stream);
    stream_close(stream); /* Not needed, and harmless. */
}

static const struct stream_handler closing_handler = {
    .on_read = on_read,
    .on_eof = closing_eof,
    .on_drain = closing_drain,
    .on_close = closing_close,
};

static void test_close_inside_other_callbacks(void **state)
{
    (void)state;
    f.handler = &closing_handler;
    struct side *eof, *drain, *reset;
    int a = client(&eof);
    int b = client(&drain);
    int c = client(&reset);
    close(a);
    TURN_UNTIL(eof->eofs == 1);
    write_pattern(drain->stream, 8 << 20);
    bool clean_end;
    assert_int_equal(read_pattern(b, (8 << 20) + 1, &clean_end), 8 << 20);
    assert_true(clean_end);
    assert_int_equal(drain->drains, 1);
    reset_by(c);
    TURN_UNTIL(reset->closes == 1);
    turns(2);
    assert_int_equal(eof->closes + drain->closes + reset->closes, 1);
    close(b);
}

static void act_close_the_other(struct side *side)
{
    struct side *other = side == &f.sides[0] ? &f.sides[1] : &f.sides[0];
    if (other->stream) {
        stream_close(other->stream);
        other->stream = NULL;
    }
}

/* Two are ready in one turn and the first closes the second: the event that
 * was collected for it must reach nobody. */
static void test_stale_event(void **state)
{
    (void)state;
    struct side *a_side, *b_side;
    int a = client(&a_side);
    int b = client(&b_side);
    a_side->act = act_close_the_other;
    b_side->act = act_close_the_other;
    say(a, "x");
    say(b, "y");
    usleep(1000);
    turns(3);
    assert_int_equal(a_side->reads + b_side->reads, 1);
    assert_int_equal(a_side->closes + b_side->closes, 0);
    close(a);
    close(b);
}

static size_t left_at_close;

static void act_close_the_writer(struct side *side)
{
    (void)side;
    left_at_close = stream_output_bytes(f.sides[1].stream);
    stream_close(f.sides[1].stream);
    f.sides[1].stream = NULL;
}

/* The same for room to write: nothing leaves after stream_close(). */
static void test_stale_writable_event(void **state)
{
    (void)state;
    enum { SIZE = 16 << 20 };
    struct side *reader, *writer;
    int a = client(&reader);
    int b = client(&writer);
    reader->act = act_close_the_writer;
    write_pattern(writer->stream, SIZE);
    turns(50); /* Until the kernel takes no more. */
    static char block[1 << 20];
    size_t got = 0;
    say(a, "x"); /* Ready first. */
    ssize_t n;
    while ((n = recv(b, block, sizeof(block), MSG_DONTWAIT)) > 0) {
        got += (size_t)n;
    }
    usleep(5000);
    turns(2);
    assert_int_equal(reader->reads, 1);
    while ((n = recv(b, block, sizeof(block), 0)) > 0) {
        got += (size_t)n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(got, SIZE - left_at_close);
    assert_int_equal(writer->drains + writer->closes, 0);
    close(a);
    close(b);
}

static void test_reactor_free_with_everything_open(void **state)
{
    (void)state;
    struct side *side;
    int fd = client(&side);
    f.consume_max = 1;
    say(fd, "abc");
    turns(2);
    write_pattern(side->stream, 4 << 20);
    struct side *failing;
    int b = client(&failing);
    reset_by(b);
    static struct tick tick;
    arm(&tick, 1, 100000);
    close(fd); /* teardown frees; the sanitizer counts. */
}

/* ---- descriptors ---- */

static int lowest_free_descriptor(void)
{
    int fd = dup(0);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void test_descriptors_run_out(void **state)
{
    (void)state;
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = client(NULL); /* They wait in the kernel's queue. */
    }
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)lowest_free_descriptor() + 1; /* Room for one. */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    turns(3);
    int accepted = f.side_count;
    uint64_t start_ms = sys_now_ms();
    int spins = 0;
    while (sys_now_ms() - start_ms < 250) {
        reactor_turn(f.reactor, 250);
        spins++;
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(accepted, 1);
    assert_int_equal(f.side_count, 1);
    assert_true(spins < 15); /* It pauses, it does not spin. */

    TURN_UNTIL(f.side_count == 4);
    say(fds[3], "x");
    TURN_UNTIL(f.sides[3].reads == 1);
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
}

static void test_listener_closed_while_paused(void **state)
{
    (void)state;
    int fd = client(NULL);
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)lowest_free_descriptor();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    turns(2);
    listener_close(f.listener);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    uint64_t start_ms = sys_now_ms();
    while (sys_now_ms() - start_ms < 150) {
        turns(1);
    }
    assert_int_equal(f.side_count, 0);
    close(fd);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        T(test_timers),
        T(test_timer_for_now_does_not_hold_the_turn),
        T(test_timer_cancelled_by_another_of_the_same_turn),
        T(test_hook_deadline),
        T(test_wakes_on_a_descriptor),
        T(test_wakes_on_two_descriptors),
        T(test_written_in_hook_leaves_in_the_same_turn),
        T(test_turn_time_is_without_sleep),
        T(test_turn_time_is_measured),
        T(test_signals),
        T(test_signal_wakes_the_poll),
        T(test_peer_text),
        T(test_partial_consumption),
        T(test_kick_inside_on_read),
        T(test_half_close),
        T(test_no_spin_after_eof),
        T(test_eof_without_handler_closes),
        T(test_reset),
        T(test_input_limit),
        T(test_at_least_the_limit_can_be_pending),
        T(test_big_output),
        T(test_close_after_flush),
        T(test_lingering_is_bounded),
        T(test_output_is_added_where_it_is_sent),
        T(test_draining_lets_the_other_side_finish),
        T(test_draining_is_bounded_for_all_streams),
        T(test_close_while_lingering_or_flushing),
        T(test_write_to_a_reset_stream),
        T(test_close_inside_on_read),
        T(test_close_inside_kicked_on_read),
        T(test_close_inside_other_callbacks),
        T(test_stale_event),
        T(test_stale_writable_event),
        T(test_reactor_free_with_everything_open),
        T(test_descriptors_run_out),
        T(test_listener_closed_while_paused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
