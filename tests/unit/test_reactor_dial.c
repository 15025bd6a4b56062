/* test_reactor_dial.c -- addresses, dialling, listeners, the resolver's child
 * processes. Loopback only: this program brings its own getaddrinfo(), which
 * the resolver's child meets instead of the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
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

struct end {
    struct stream *stream;
    struct buf got;
    int opens, closes;
    char why[32];
};

/* slow.test    no answer, ever
 * crash.test   the library kills the process
 * two.test     an address where nobody listens, then the good one
 * many.test    more addresses than we take
 * other names  do not resolve */
int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **result)
{
    static struct sockaddr_in addresses[ADDRESSES_MAX * 2];
    static struct addrinfo infos[ADDRESSES_MAX * 2];
    must(!service && hints->ai_socktype == SOCK_STREAM);
    size_t count = 0;
    if (strcmp(name, "slow.test") == 0) {
        for (;;) {
            pause();
        }
    } else if (strcmp(name, "crash.test") == 0) {
        raise(SIGKILL);
    } else if (strcmp(name, "two.test") == 0) {
        count = 2;
    } else if (strcmp(name, "many.test") == 0) {
        count = ADDRESSES_MAX * 2;
    }
    for (size_t i = 0; i < count; i++) {
        /* 127.0.0.2, 127.0.0.1, 127.0.0.0, ... */
        addresses[i] = (struct sockaddr_in){
            .sin_family = AF_INET,
            .sin_addr = {htonl(INADDR_LOOPBACK + 1 - (uint32_t)i)}};
        infos[i] =
            (struct addrinfo){.ai_family = AF_INET,
                              .ai_addr = (struct sockaddr *)&addresses[i],
                              .ai_addrlen = sizeof(addresses[i])};
        infos[i].ai_next = i + 1 < count ? &infos[i + 1] : NULL;
    }
    *result = infos;
    return count > 0 ? 0 : EAI_NONAME;
}

static struct reactor *reactor;
static struct end served; /* The last accepted connection; echoes. */
static struct end dialled;

static size_t on_echo(struct stream *stream, uint8_t *data, size_t size,
                      void *arg)
{
    (void)arg;
    stream_write(stream, data, size);
    return size;
}

static size_t on_collect(struct stream *stream, uint8_t *data, size_t size,
                         void *arg)
{
    struct end *end = arg;
    assert_ptr_equal(stream, end->stream);
    buf_add(&end->got, data, size);
    return size;
}

static void on_open(struct stream *stream, void *arg)
{
    struct end *end = arg;
    assert_ptr_equal(stream, end->stream); /* Not from inside stream_dial(). */
    end->opens++;
}

static void on_close(struct stream *stream, const char *why, void *arg)
{
    struct end *end = arg;
    assert_ptr_equal(stream, end->stream);
    end->stream = NULL;
    end->closes++;
    snprintf(end->why, sizeof(end->why), "%s", why);
}

static const struct stream_handler echo = {.on_read = on_echo,
                                           .on_close = on_close};
static const struct stream_handler collector = {
    .on_read = on_collect, .on_open = on_open, .on_close = on_close};

static void on_accept(struct stream *stream, void *arg)
{
    (void)arg;
    served.stream = stream;
    served.opens++;
    stream_set_handler(stream, &echo, &served);
}

static void on_accept_refuse(struct stream *stream, void *arg)
{
    (void)arg;
    served.opens++;
    stream_close(stream);
}

static int setup(void **state)
{
    (void)state;
    served = (struct end){0};
    dialled = (struct end){0};
    reactor = reactor_new();
    return 0;
}

static bool prepared_well(void *arg)
{
    return *(const bool *)arg;
}

/* The same, with a process that starts the children. */
static int setup_process(void **state)
{
    bool well = true;
    setup(state);
    return reactor_start_resolver(reactor, prepared_well, &well) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    reactor_free(reactor);
    buf_free(&dialled.got);
    /* No child is left, neither running nor unreaped. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

#define TURN_UNTIL(condition)                                                  \
    do {                                                                       \
        uint64_t end_ms = sys_now_ms() + 10000;                                \
        while (!(condition) && sys_now_ms() < end_ms) {                        \
            reactor_turn(reactor, 5);                                          \
        }                                                                      \
        assert_true(condition);                                                \
    } while (0)

static struct listener *listen_at(const char *host, uint16_t port)
{
    struct listener *listener = NULL;
    char why[64] = "";
    enum err err = listener_open(reactor, host, port, on_accept, NULL,
                                 &listener, why, sizeof(why));
    if (err) {
        print_message("listen %s: %s\n", host, why);
        return NULL;
    }
    return listener;
}

static void dial(const char *host, uint16_t port, uint32_t timeout_ms)
{
    dialled.opens = dialled.closes = 0;
    dialled.stream =
        stream_dial(reactor, host, port, timeout_ms, &collector, &dialled);
    assert_non_null(dialled.stream);
    assert_int_equal(dialled.opens + dialled.closes, 0);
}

static void expect_echo(void)
{
    stream_write(dialled.stream, "ping", 4);
    size_t before = dialled.got.size;
    TURN_UNTIL(dialled.got.size == before + 4);
    assert_memory_equal(dialled.got.data + before, "ping", 4);
}

static uint16_t unused_port(void)
{
    struct listener *listener = listen_at("127.0.0.1", 0);
    assert_non_null(listener);
    uint16_t port = listener_port(listener);
    listener_close(listener);
    return port;
}

/* ---- addresses ---- */

static void test_addr_split(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {
        {"localhost:11000", "localhost", 11000},
        {":11000", "localhost", 11000},
        {"11000", "localhost", 11000},
        {"10.0.0.1:1", "10.0.0.1", 1},
        {"[::1]:65535", "::1", 65535},
        {"[fe80::1%eth0]:80", "fe80::1%eth0", 80},
        {"a.example:0", "a.example", 0},
        {"a:00080", "a", 80},
    };
    static const char *const bad[] = {
        "",           ":",           "host",
        "host:",      "host:65536",  "host:-1",
        "h:+1",       "h: 1",        "h:1 ",
        "h:000080",   "::1",         "::1:80",
        "[::1]",      "[::1]80",     "[::1]:",
        "[]:80",      "[a]:80",      "[::1:80",
        "a b:80",     "a\n:80",      "http://a:80",
        "[[::1]]:80", "99999999999", "h:0x50",
    };
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        assert_true(addr_split(good[i].text, host, &port));
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        if (addr_split(bad[i], host, &port)) {
            fail_msg("accepted: \"%s\"", bad[i]);
        }
    }
    char text[REACTOR_HOST_BYTES + 8];
    memset(text, 'a', sizeof(text));
    memcpy(text + REACTOR_HOST_BYTES - 1, ":80", 4);
    assert_true(addr_split(text, host, &port)); /* The longest that fits. */
    assert_int_equal(strlen(host), REACTOR_HOST_BYTES - 1);
    memcpy(text + REACTOR_HOST_BYTES - 1, "a:80", 5);
    assert_false(addr_split(text, host, &port));
}

/* Known without asking anybody; `text` is the first, for 0 there is none. */
static void expect_known(const char *host, uint16_t port, size_t count,
                         const char *text)
{
    struct address out[ADDRESSES_MAX];
    char first[REACTOR_ADDR_TEXT_BYTES];
    print_message("\"%s\"\n", host);
    assert_int_equal(addr_known(host, port, out), count);
    if (count > 0) {
        addr_text(&out[0], first, sizeof(first));
        assert_string_equal(first, text);
    }
}

static void test_known_addresses(void **state)
{
    (void)state;
    expect_known("192.0.2.7", 80, 1, "192.0.2.7:80");
    expect_known("2001:db8::1", 80, 1, "[2001:db8::1]:80");
    expect_known("::ffff:192.0.2.7", 80, 1, "192.0.2.7:80");
    expect_known("localhost", 1, 2, "127.0.0.1:1");
    expect_known("Db.LocalHost", 1, 2, "127.0.0.1:1");
    expect_known(".localhost", 1, 0, NULL);
    expect_known("notlocalhost", 1, 0, NULL);
    expect_known("localhost.example", 1, 0, NULL);
    expect_known("", 1, 0, NULL);
    /* inet_aton(3)'s spellings, as getaddrinfo() has them. */
    expect_known("0x7f.1", 80, 1, "127.0.0.1:80");
    expect_known("0", 80, 1, "0.0.0.0:80");
    expect_known("127.0.0.1.", 80, 0, NULL);
}

static void test_all_addresses_in_every_spelling(void **state)
{
    (void)state;
    static const char *const any[] = {"*",
                                      "0.0.0.0",
                                      "0",
                                      "0x0",
                                      "000.0.0.0",
                                      "0.0",
                                      "::",
                                      "::0",
                                      "0::0",
                                      "0:0:0:0:0:0:0:0",
                                      "::0.0.0.0",
                                      "::%lo",
                                      "::ffff:0.0.0.0",
                                      "::ffff:0:0",
                                      "::FFFF:0.0.0.0"};
    static const char *const others[] = {"",          "localhost",
                                         "127.0.0.1", "1",
                                         "0.0.0.1",   "::1",
                                         "::ffff:1",  "::ffff:127.0.0.1",
                                         "**",        "0.0.0.0.example",
                                         "name",      "0x0g",
                                         "0%lo",      "0.0.0.0%a.localhost"};
    for (size_t i = 0; i < ARRAY_COUNT(any); i++) {
        assert_true(addr_is_any(any[i]));
    }
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        assert_false(addr_is_any(others[i]));
    }
    /* Only a name can be below localhost: this is an address with a zone. */
    assert_false(addr_is_loopback("::%a.localhost"));
    assert_true(addr_is_loopback("a.localhost"));
}

/* The network of a host, which limits count as one address. */
static uint64_t network_of(const char *host)
{
    struct address address[ADDRESSES_KNOWN_MAX];
    assert_true(addr_known(host, 80, address) > 0);
    return addr_network(&address[0]);
}

static void test_networks(void **state)
{
    (void)state;
    static const char *const loopback[] = {"127.0.0.1", "127.8.9.1", "::1",
                                           "::ffff:127.0.0.1"};
    for (size_t i = 0; i < ARRAY_COUNT(loopback); i++) {
        assert_true(network_of(loopback[i]) == 0);
    }
    assert_true(network_of("10.0.0.1") != 0);
    assert_true(network_of("10.0.0.1") != network_of("10.0.0.2"));
    assert_true(network_of("10.0.0.1") == network_of("::ffff:10.0.0.1"));
    assert_true(network_of("2001:db8::1") == network_of("2001:db8::2:3"));
    assert_true(network_of("2001:db8::1") != network_of("2001:db8:0:1::1"));
    assert_true(network_of("2001:db8::1") != 0);
}

/* ---- dialling ---- */

static void test_echo(void **state)
{
    (void)state;
    const struct listener *listener = listen_at("localhost", 0);
    assert_non_null(listener);
    dial("127.0.0.1", listener_port(listener), 5000);
    stream_write(dialled.stream, "early ", 6); /* Before it is connected. */
    buf_add_string(stream_output(dialled.stream), "bird");
    TURN_UNTIL(dialled.got.size == 10);
    assert_memory_equal(dialled.got.data, "early bird", 10);
    assert_int_equal(dialled.opens, 1);
    expect_echo();
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u",
             (unsigned)listener_port(listener));
    assert_string_equal(stream_peer_text(dialled.stream), text);
    stream_set_user_timeout(dialled.stream, 1000);
    expect_echo();
    stream_close_after_flush(dialled.stream);
    TURN_UNTIL(served.closes == 1 && dialled.closes == 1);
    assert_string_equal(served.why, "closed by peer");
    assert_string_equal(dialled.why, "closed");
}

static void test_dial_localhost(void **state)
{
    (void)state;
    const struct listener *listener = listen_at("localhost", 0);
    assert_non_null(listener);
    dial("LOCALHOST", listener_port(listener), 5000);
    assert_int_equal(reactor->resolver_count, 0); /* Nobody was asked. */
    TURN_UNTIL(dialled.opens == 1);
    expect_echo();
}

/* "localhost" is two addresses, and the second is tried as well. */
static void test_dial_second_address(void **state)
{
    (void)state;
    const struct listener *listener = listen_at("::1", 0);
    if (!listener) {
        skip(); /* No IPv6 here. */
    }
    dial("localhost", listener_port(listener), 5000);
    TURN_UNTIL(dialled.opens == 1);
    assert_int_equal(strncmp(stream_peer_text(dialled.stream), "[::1]:", 6), 0);
    expect_echo();
}

static void test_dial_refused(void **state)
{
    (void)state;
    dial("127.0.0.1", unused_port(), 5000);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "connection refused");
    assert_int_equal(dialled.opens, 0);
    dial("localhost", unused_port(), 5000);
    TURN_UNTIL(dialled.closes == 1);
    assert_int_equal(dialled.opens, 0);
}

/* A dial that fails before the first packet tells so in the turn, too. */
static void test_dial_without_descriptors(void **state)
{
    (void)state;
    struct rlimit before, tight;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int free_fd = dup(0);
    close(free_fd);
    tight = before;
    tight.rlim_cur = (rlim_t)free_fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    dial("127.0.0.1", 1, 5000);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "out of descriptors");
    dial("name.invalid", 1, 5000);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "no resolver");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* A listener whose queue is full drops what comes: nothing answers. */
static void test_dial_timeout(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    int fillers[4];
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(fcntl(fillers[i], F_SETFL, O_NONBLOCK), 0);
        (void)!connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
    }
    usleep(10000);
    uint64_t start_ms = sys_now_ms();
    dial("127.0.0.1", ntohs(at.sin_port), 200);
    TURN_UNTIL(dialled.closes == 1 || dialled.opens == 1);
    uint64_t took_ms = sys_now_ms() - start_ms;
    bool opened = dialled.opens > 0;
    for (int i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(fd);
    if (opened) {
        skip(); /* This kernel's queue has no end. */
    }
    assert_string_equal(dialled.why, "timeout");
    assert_true(took_ms >= 195 && took_ms < 3000);
}

static void on_tick(void *arg)
{
    struct timer *timer = arg;
    timer_arm(reactor, timer, reactor_now_ms(reactor) + 2, on_tick, timer);
}

static void test_dial_name_that_does_not_resolve(void **state)
{
    (void)state;
    dial("no-such-host.invalid", 80, 3000);
    assert_int_equal(reactor->resolver_count, 1);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "name does not resolve");
    assert_int_equal(dialled.opens, 0);
    TURN_UNTIL(reactor->resolver_count == 0);

    dial("crash.test", 80, 3000);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "name does not resolve");
}

static void test_slow_resolver(void **state)
{
    (void)state;
    struct timer tick = {0};
    timer_arm(reactor, &tick, 0, on_tick, &tick);
    uint64_t start_ms = sys_now_ms();
    dial("slow.test", 80, 150);
    TURN_UNTIL(dialled.closes == 1);
    uint64_t took_ms = sys_now_ms() - start_ms;
    assert_string_equal(dialled.why, "timeout");
    assert_true(took_ms >= 150 && took_ms < 3000);
    assert_true(reactor_turn_max_us(reactor) < 100000); /* It did not block. */
    TURN_UNTIL(reactor->resolver_count == 0);
    timer_cancel(reactor, &tick);
}

static void test_dial_name_that_resolves(void **state)
{
    (void)state;
    const struct listener *listener = listen_at("127.0.0.1", 0);
    assert_non_null(listener);
    dial("two.test", listener_port(listener), 5000);
    TURN_UNTIL(dialled.opens == 1); /* At the second address. */
    assert_int_equal(
        strncmp(stream_peer_text(dialled.stream), "127.0.0.1:", 10), 0);
    expect_echo();
    stream_close(dialled.stream);

    dial("many.test", unused_port(), 5000);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_not_equal(dialled.why, "name does not resolve");
}

static void test_close_while_dialling(void **state)
{
    (void)state;
    const struct listener *listener = listen_at("127.0.0.1", 0);
    dial("slow.test", 80, 3000);
    uint64_t start_ms = sys_now_ms();
    stream_close(dialled.stream); /* Kills the child; teardown looks. */
    TURN_UNTIL(reactor->resolver_count == 0);
    assert_true(sys_now_ms() - start_ms < 2000);
    dial("slow.test", 80, 3000);
    stream_close_after_flush(dialled.stream);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "closed");
    dial("127.0.0.1", listener_port(listener), 3000);
    stream_close(dialled.stream);
    for (int i = 0; i < 5; i++) {
        reactor_turn(reactor, 5);
    }
    assert_int_equal(dialled.opens + dialled.closes, 0);
    dial("slow.test", 80, 3000); /* Left to reactor_free(). */
}

static void test_resolvers_are_bounded(void **state)
{
    (void)state;
    struct end many[RESOLVERS_MAX + 3];
    memset(many, 0, sizeof(many));
    for (size_t i = 0; i < ARRAY_COUNT(many); i++) {
        many[i].stream =
            stream_dial(reactor, "slow.test", 80, 3000, &collector, &many[i]);
        assert_true(reactor->resolver_count <= RESOLVERS_MAX);
    }
    assert_int_equal(reactor->resolver_count, RESOLVERS_MAX);
    reactor_turn(reactor, 0);
    for (size_t i = RESOLVERS_MAX; i < ARRAY_COUNT(many); i++) {
        assert_string_equal(many[i].why, "no resolver");
    }
    for (size_t i = 0; i < RESOLVERS_MAX; i++) {
        stream_close(many[i].stream);
    }
    TURN_UNTIL(reactor->resolver_count == 0);
}

/* The child must hold none of our descriptors: a copy of a connection would
 * keep it open after we closed it. */
static void test_child_holds_nothing(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct resolver resolver;
    assert_true(resolver_start(reactor, &resolver, "slow.test", 3000, NULL));
    close(pair[1]);
    char byte;
    struct timeval limit = {.tv_sec = 2};
    assert_int_equal(
        setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(recv(pair[0], &byte, 1, 0), 0);
    if (resolver.pid > 0) {
        assert_int_equal(kill(resolver.pid, 0), 0); /* It is alive. */
    }
    resolver_stop(reactor, &resolver);
    close(pair[0]);
}

/* More lookups are abandoned than children may be at work: none of them takes
 * the place of one that is wanted for longer than its own time. */
static void test_process_recovers_from_abandoned_lookups(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct resolver abandoned[RESOLVERS_MAX];
        for (size_t i = 0; i < RESOLVERS_MAX; i++) {
            assert_true(
                resolver_start(reactor, &abandoned[i], "slow.test", 10, NULL));
        }
        for (size_t i = 0; i < RESOLVERS_MAX; i++) {
            resolver_stop(reactor, &abandoned[i]);
        }
    }
    const struct listener *listener = listen_at("127.0.0.1", 0);
    uint64_t until_ms = sys_now_ms() + 20000;
    do { /* Each ends a second beyond its time. */
        dialled = (struct end){0};
        dial("two.test", listener_port(listener), 5000);
        TURN_UNTIL(dialled.opens == 1 || dialled.closes == 1);
    } while (dialled.closes == 1 && sys_now_ms() < until_ms);
    assert_int_equal(dialled.opens, 1);
}

/* Its socket is a stream: a lookup may arrive in pieces. */
static void test_process_takes_a_lookup_in_pieces(void **state)
{
    (void)state;
    struct {
        uint32_t timeout_ms;
        char host[REACTOR_HOST_BYTES];
    } lookup = {.timeout_ms = 3000, .host = "two.test"};
    enum { FIRST_BYTES = 7 };
    for (int i = 0; i < 2; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        union {
            struct cmsghdr header;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_level = SOL_SOCKET,
                                .cmsg_type = SCM_RIGHTS,
                                .cmsg_len = CMSG_LEN(sizeof(int))}};
        struct iovec part = {.iov_base = &lookup, .iov_len = FIRST_BYTES};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control.bytes)};
        memcpy(CMSG_DATA(&control.header), &ends[1], sizeof(ends[1]));
        assert_int_equal(sendmsg(reactor->resolver_socket, &message, 0),
                         FIRST_BYTES);
        close(ends[1]);
        usleep(20000);
        size_t rest = sizeof(lookup) - FIRST_BYTES;
        assert_int_equal(send(reactor->resolver_socket,
                              (const char *)&lookup + FIRST_BYTES, rest, 0),
                         rest);
        struct resolver resolver = {.watch = {.fd = ends[0]}};
        struct address found[ADDRESSES_MAX];
        assert_int_equal(resolver_read(&resolver, 80, found), 2);
        close(ends[0]);
    }
}

static void expect_no_resolver(void)
{
    int status;
    waitpid(reactor->resolver_process, &status, 0);
    dial("two.test", 80, 3000);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "no resolver");
    dialled = (struct end){0};
    dial("127.0.0.1", unused_port(), 3000); /* Others are not concerned. */
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "connection refused");
}

/* The process that serves is a child of the one that the reactor started. */
static pid_t serving_process(pid_t other_than)
{
    char path[64];
    int parent = (int)reactor->resolver_process;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", parent, parent);
    for (int i = 0; i < 1000; i++) {
        int child = 0;
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        int found = fscanf(file, "%d", &child);
        fclose(file);
        if (found == 1 && child != (int)other_than) {
            return (pid_t)child;
        }
        usleep(10000);
    }
    fail();
    return -1;
}

/* A lookup that was lost with its process ends as if there were no such name.
 */
static void dial_until(const char *why)
{
    for (int i = 0; i < 100; i++) {
        dialled = (struct end){0};
        dial("two.test", unused_port(), 3000);
        TURN_UNTIL(dialled.closes == 1);
        if (strcmp(dialled.why, why) == 0) {
            return;
        }
        usleep(10000);
    }
    assert_string_equal(dialled.why, why);
}

static void test_process_is_replaced(void **state)
{
    (void)state;
    pid_t before = 0;
    for (int i = 0; i < 3; i++) {
        pid_t serves = serving_process(before);
        assert_int_equal(kill(serves, SIGTERM), 0); /* Ignored. */
        dial_until("connection refused");
        assert_int_equal(kill(serves, SIGKILL), 0);
        before = serves;
        dial_until("connection refused");
    }
    assert_int_equal(waitpid(reactor->resolver_process, NULL, WNOHANG), 0);
}

static void test_process_is_gone(void **state)
{
    (void)state;
    pid_t serves = serving_process(0);
    assert_int_equal(kill(reactor->resolver_process, SIGTERM), 0); /* Ignored */
    assert_int_equal(waitpid(reactor->resolver_process, NULL, WNOHANG), 0);
    assert_int_equal(kill(reactor->resolver_process, SIGKILL), 0);
    assert_int_equal(waitpid(reactor->resolver_process, NULL, 0),
                     reactor->resolver_process);
    dial_until("connection refused"); /* The other one goes on. */
    assert_int_equal(kill(serves, SIGKILL), 0);
    dial_until("no resolver");
    dialled = (struct end){0};
    expect_no_resolver();
}

/* A process that could not give up its rights is not used. */
static void test_process_that_is_not_prepared(void **state)
{
    (void)state;
    bool well = false;
    assert_true(reactor_start_resolver(reactor, prepared_well, &well));
    expect_no_resolver();
}

/* ---- listeners ---- */

static void test_listen_conflict_and_reuse(void **state)
{
    (void)state;
    struct listener *first = listen_at("127.0.0.1", 0);
    struct listener *second = NULL;
    uint16_t port = listener_port(first);
    assert_int_not_equal(port, 0);
    char why[64] = "";
    assert_int_equal(listener_open(reactor, "127.0.0.1", port, on_accept, NULL,
                                   &second, why, sizeof(why)),
                     ERR_BUSY);
    assert_string_equal(why, "address in use");
    assert_null(second);
    listener_close(first);
    second = listen_at("127.0.0.1", port); /* Free at once. */
    assert_non_null(second);
    listener_close(NULL);
}

static void test_listen_on_a_name_that_does_not_resolve(void **state)
{
    (void)state;
    struct listener *listener = NULL;
    char why[64] = "";
    assert_int_equal(listener_open(reactor, "no-such-host.invalid", 0,
                                   on_accept, NULL, &listener, why,
                                   sizeof(why)),
                     ERR_NOT_FOUND);
    assert_string_equal(why, "name does not resolve");
    assert_null(listener);
}

static void test_listen_on_all_addresses(void **state)
{
    (void)state;
    const struct listener *listener = listen_at("", 0);
    assert_non_null(listener);
    dial("127.0.0.1", listener_port(listener), 5000);
    TURN_UNTIL(dialled.opens == 1 && served.opens == 1);
    assert_int_equal(strncmp(stream_peer_text(served.stream), "127.0.0.1:", 10),
                     0);
    expect_echo();
}

static bool is_reached(const char *host, uint16_t port)
{
    dial(host, port, 5000);
    TURN_UNTIL(dialled.opens + dialled.closes == 1);
    if (dialled.opens == 0) {
        return false;
    }
    expect_echo();
    stream_close(dialled.stream);
    TURN_UNTIL(served.closes == 1);
    served.closes = 0;
    return true;
}

static bool has_ipv6(void)
{
    struct listener *listener = listen_at("::1", 0);
    listener_close(listener);
    return listener != NULL;
}

/* Both families, with one port, also when the system chooses it. */
static void test_listen_on_both_families(void **state)
{
    (void)state;
    static const char *const both[] = {"", "*", "::", "::0", "localhost"};
    if (!has_ipv6()) {
        skip();
    }
    for (size_t i = 0; i < ARRAY_COUNT(both); i++) {
        struct listener *listener = listen_at(both[i], 0);
        assert_non_null(listener);
        uint16_t port = listener_port(listener);
        assert_true(is_reached("127.0.0.1", port));
        assert_true(is_reached("::1", port));
        char text[2 * REACTOR_ADDR_TEXT_BYTES];
        bool near = strcmp(both[i], "localhost") == 0;
        snprintf(text, sizeof(text),
                 near ? "127.0.0.1:%u,[::1]:%u" : "[::]:%u,0.0.0.0:%u", port,
                 port);
        assert_string_equal(listener_text(listener), text);
        listener_close(listener);
        listener = listen_at(both[i], port); /* Both are free at once. */
        assert_non_null(listener);
        listener_close(listener);
    }
    static const char *const one[] = {"0.0.0.0", "0", "::ffff:0.0.0.0"};
    for (size_t i = 0; i < ARRAY_COUNT(one); i++) {
        struct listener *listener = listen_at(one[i], 0);
        assert_non_null(listener);
        assert_true(is_reached("127.0.0.1", listener_port(listener)));
        assert_false(is_reached("::1", listener_port(listener)));
        listener_close(listener);
    }
}

/* Half of it would lead clients to whoever has the other half. */
static void test_listen_where_one_family_is_taken(void **state)
{
    (void)state;
    if (!has_ipv6()) {
        skip();
    }
    static const char *const halves[] = {"127.0.0.1", "::1"};
    for (size_t i = 0; i < ARRAY_COUNT(halves); i++) {
        struct listener *taken = listen_at(halves[i], 0);
        struct listener *listener = NULL;
        char why[64] = "";
        uint16_t port = listener_port(taken);
        assert_int_equal(listener_open(reactor, "localhost", port, on_accept,
                                       NULL, &listener, why, sizeof(why)),
                         ERR_BUSY);
        assert_null(listener);
        listener_close(taken);
        listener = listen_at("localhost", port); /* Nothing was left open. */
        assert_non_null(listener);
        listener_close(listener);
    }
}

static void test_refuse_in_accept(void **state)
{
    (void)state;
    struct listener *listener;
    char why[64];
    assert_int_equal(listener_open(reactor, "127.0.0.1", 0, on_accept_refuse,
                                   NULL, &listener, why, sizeof(why)),
                     ERR_OK);
    dial("127.0.0.1", listener_port(listener), 5000);
    TURN_UNTIL(dialled.closes == 1);
    assert_string_equal(dialled.why, "closed by peer");
    assert_int_equal(served.opens, 1);
}

/* ---- Unix sockets ---- */

static char unix_path[64]; /* In a directory that every user can reach. */

static struct listener *listen_at_path(enum err expected)
{
    struct listener *listener = NULL;
    char why[64];
    assert_int_equal(listener_open_unix(reactor, unix_path, 0666, on_accept,
                                        NULL, &listener, why, sizeof(why)),
                     expected);
    return listener;
}

/* The user of the process that connects, when it does. */
static void test_unix_peer(void **state)
{
    (void)state;
    uid_t user = geteuid();
    snprintf(unix_path, sizeof(unix_path), "/tmp/test_reactor_dial.%d",
             (int)getpid());
    uid_t other = user == 0 ? 12345 : user;
    uint32_t uid = 0;
    char text[32];
    struct listener *listener = listen_at_path(ERR_OK);
    assert_int_equal(strncmp(listener_text(listener), "unix:/tmp/test_", 15),
                     0);
    assert_int_equal(seteuid(other), 0);
    int fd = addr_connect_unix(unix_path);
    assert_int_equal(seteuid(user), 0);
    TURN_UNTIL(served.opens == 1);
    assert_true(stream_peer_uid(served.stream, &uid));
    assert_int_equal(uid, other);
    snprintf(text, sizeof(text), "uid:%u", (unsigned)other);
    assert_string_equal(stream_peer_text(served.stream), text);
    assert_int_equal(stream_peer_network(served.stream), 0);
    close(fd);
    listener_close(listener);
    assert_int_equal(access(unix_path, F_OK), -1);
    listener = listen_at_path(ERR_OK);
    assert_null(listen_at_path(ERR_BUSY)); /* Ours, and alive. */
    assert_int_equal(access(unix_path, F_OK), 0);
}

static void test_tcp_peer_has_no_user(void **state)
{
    (void)state;
    uint32_t uid = 0;
    const struct listener *listener = listen_at("127.0.0.1", 0);
    dial("127.0.0.1", listener_port(listener), 3000);
    TURN_UNTIL(served.opens == 1);
    assert_false(stream_peer_uid(served.stream, &uid));
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define T_PROCESS(test)                                                        \
    cmocka_unit_test_setup_teardown(test, setup_process, teardown)

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr_split),
        cmocka_unit_test(test_known_addresses),
        cmocka_unit_test(test_all_addresses_in_every_spelling),
        T(test_networks),
        T(test_echo),
        T(test_dial_localhost),
        T(test_dial_second_address),
        T(test_dial_refused),
        T(test_dial_without_descriptors),
        T(test_dial_timeout),
        T(test_dial_name_that_does_not_resolve),
        T(test_slow_resolver),
        T(test_dial_name_that_resolves),
        T(test_close_while_dialling),
        T(test_resolvers_are_bounded),
        T(test_child_holds_nothing),
        T_PROCESS(test_dial_name_that_does_not_resolve),
        T_PROCESS(test_slow_resolver),
        T_PROCESS(test_dial_name_that_resolves),
        T_PROCESS(test_close_while_dialling),
        T_PROCESS(test_resolvers_are_bounded),
        T_PROCESS(test_child_holds_nothing),
        T_PROCESS(test_process_recovers_from_abandoned_lookups),
        T_PROCESS(test_process_takes_a_lookup_in_pieces),
        T_PROCESS(test_process_is_replaced),
        T_PROCESS(test_process_is_gone),
        T(test_process_that_is_not_prepared),
        T(test_listen_conflict_and_reuse),
        T(test_listen_on_a_name_that_does_not_resolve),
        T(test_listen_on_all_addresses),
        T(test_listen_on_both_families),
        T(test_listen_where_one_family_is_taken),
        T(test_refuse_in_accept),
        T(test_unix_peer),
        T(test_tcp_peer_has_no_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
