/* flood.c -- connection attempts of strangers, at a steady rate.
 *
 *     flood RAFT_PORT HTTP_PORT PER_SECOND SECONDS
 *
 * PER_SECOND attempts go to each of two ports of 127.0.0.1. An attempt on the
 * Raft port sends 64 random bytes, one on the HTTP port a request without
 * credentials. It ends with the first answer, when the other side closes, or
 * after HOLD_US. The last line is JSON: attempts, connected, answered, late
 * (microseconds that the schedule was missed by, at worst). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HOLD_US = 100000,
    SLOTS = 4096, /* Attempts in progress. */
    RATE_MAX = 100000,
    SECONDS_MAX = 60,
};

struct attempt {
    int fd; /* -1: free. */
    bool sent;
    bool raft;
    uint64_t began_us;
};

struct flood {
    struct attempt attempts[SLOTS]; /* A ring: the oldest is at `first`. */
    uint32_t first, count;
    int epoll;
    uint16_t port[2];
    uint64_t attempted, connected, answered, late_us;
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void end(struct attempt *attempt)
{
    if (attempt->fd >= 0) {
        close(attempt->fd);
        attempt->fd = -1;
    }
}

static void begin(struct flood *flood, bool raft, uint64_t now)
{
    /* Reset instead of TIME_WAIT: the ports of this machine would run out. */
    static const struct linger reset = {.l_onoff = 1};
    if (flood->count == SLOTS) {
        end(&flood->attempts[flood->first]);
        flood->first = (flood->first + 1) % SLOTS;
        flood->count--;
    }
    uint32_t slot = (flood->first + flood->count++) % SLOTS;
    struct attempt *attempt = &flood->attempts[slot];
    *attempt = (struct attempt){.raft = raft, .began_us = now};
    flood->attempted++;
    attempt->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (attempt->fd < 0) {
        return;
    }
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(flood->port[!raft]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(attempt->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
                                .data.u32 = slot};
    if ((connect(attempt->fd, (struct sockaddr *)&to, sizeof(to)) != 0 &&
         errno != EINPROGRESS) ||
        epoll_ctl(flood->epoll, EPOLL_CTL_ADD, attempt->fd, &event) != 0) {
        end(attempt);
    }
}

static void on_event(struct flood *flood, const struct epoll_event *event)
{
    static const char request[] =
        "GET /key/k HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct attempt *attempt = &flood->attempts[event->data.u32];
    uint8_t bytes[1024];
    if (attempt->fd < 0) {
        return;
    }
    if (!attempt->sent && (event->events & EPOLLOUT)) {
        attempt->sent = true;
        ssize_t sent = -1;
        if (!attempt->raft) {
            sent =
                send(attempt->fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
        } else if (getrandom(bytes, 64, 0) == 64) {
            sent = send(attempt->fd, bytes, 64, MSG_NOSIGNAL);
        }
        flood->connected += sent > 0;
    }
    if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        flood->answered += read(attempt->fd, bytes, sizeof(bytes)) > 0;
        end(attempt);
    }
}

static void run(struct flood *flood, uint64_t rate, uint64_t seconds)
{
    uint64_t start = now_us();
    uint64_t total = 2 * rate * seconds;
    while (flood->attempted < total) {
        struct epoll_event events[256];
        uint64_t now = now_us();
        uint64_t due = (now - start) * 2 * rate / 1000000;
        if (due > flood->attempted) {
            uint64_t late = (due - flood->attempted) * 1000000 / (2 * rate);
            flood->late_us = late > flood->late_us ? late : flood->late_us;
        }
        for (int i = 0; i < 64 && flood->attempted < due; i++) {
            begin(flood, flood->attempted % 2 == 0, now);
        }
        int wait_ms = flood->attempted < due ? 0 : 1;
        int count = epoll_wait(flood->epoll, events, 256, wait_ms);
        for (int i = 0; i < count; i++) {
            on_event(flood, &events[i]);
        }
        while (flood->count > 0 &&
               (flood->attempts[flood->first].fd < 0 ||
                flood->attempts[flood->first].began_us + HOLD_US < now)) {
            end(&flood->attempts[flood->first]);
            flood->first = (flood->first + 1) % SLOTS;
            flood->count--;
        }
    }
}

static uint64_t number(const char *text, uint64_t max)
{
    char *rest;
    unsigned long long value = strtoull(text, &rest, 10);
    if (*rest || value == 0 || value > max) {
        fprintf(stderr, "flood: %s is not a number from 1 to %llu\n", text,
                (unsigned long long)max);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static struct flood flood;
    if (argc != 5) {
        fprintf(stderr,
                "usage: flood RAFT_PORT HTTP_PORT PER_SECOND SECONDS\n");
        return 2;
    }
    flood.port[0] = (uint16_t)number(argv[1], UINT16_MAX);
    flood.port[1] = (uint16_t)number(argv[2], UINT16_MAX);
    uint64_t rate = number(argv[3], RATE_MAX);
    uint64_t seconds = number(argv[4], SECONDS_MAX);
    struct rlimit files = {.rlim_cur = SLOTS + 64, .rlim_max = SLOTS + 64};
    flood.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (flood.epoll < 0 || setrlimit(RLIMIT_NOFILE, &files) != 0) {
        perror("flood");
        return 1;
    }
    run(&flood, rate, seconds);
    printf("{\"attempts\": %llu, \"connected\": %llu, \"answered\": %llu, "
           "\"late_us\": %llu}\n",
           (unsigned long long)flood.attempted,
           (unsigned long long)flood.connected,
           (unsigned long long)flood.answered,
           (unsigned long long)flood.late_us);
    return 0;
}
