/* connect.c -- connections on which every wait has a deadline.
 *
 * Known limit: names are resolved by getaddrinfo(), whose time limit is that of
 * resolv.conf. */
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client_internal.h"
#include "reactor/addr.h"
#include "reactor/reactor.h"
#include "sys/sys.h"

static int left_ms(uint64_t deadline_ms)
{
    uint64_t now_ms = sys_now_ms();
    return deadline_ms > now_ms ? (int)min_u64(deadline_ms - now_ms, INT_MAX)
                                : 0;
}

static bool explain(int error, char *why, size_t why_size)
{
    (void)snprintf(why, why_size, "%s", strerror(error));
    return false;
}

static int interrupt_fd = -1;

void client_interrupt_by(int fd)
{
    interrupt_fd = fd;
}

bool client_is_interrupted(void)
{
    struct pollfd poll_fd = {.fd = interrupt_fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) > 0;
}

/* Wait for events. Returns those that are ready, 0 after the deadline or when
 * it is interrupted. */
static short await(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events},
                            {.fd = interrupt_fd, .events = POLLIN}};
    int rc;
    do {
        rc = poll(fds, 2, left_ms(deadline_ms));
    } while (rc < 0 && errno == EINTR);
    return rc > 0 ? fds[0].revents : 0;
}

/* Returns 0, or an errno. */
static int finish_connect(int fd, const struct address *address,
                          uint64_t deadline_ms)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (connect(fd, &address->any, address->size) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS && errno != EINTR) {
        return errno;
    }
    if (!await(fd, POLLOUT, deadline_ms)) {
        return ETIMEDOUT;
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
}

static int dial_one(const struct address *address, uint64_t deadline_ms,
                    char *why, size_t why_size)
{
    int fd = reactor_socket_new(address->any.sa_family);
    if (fd < 0) {
        explain(errno, why, why_size);
        return -1;
    }
    int error = finish_connect(fd, address, deadline_ms);
    if (error) {
        explain(error, why, why_size);
        close(fd);
        return -1;
    }
    return fd;
}

/* Resolve into out[ADDRESSES_MAX]. Returns the number of addresses; 0: `why`
 * has the reason. Numeric hosts and localhost need no resolver, as in the
 * daemon: a container built from scratch has no /etc/hosts. */
static size_t resolve(const char *host, uint16_t port, struct address *out,
                      char *why, size_t why_size)
{
    size_t count = addr_known(host, port, out);
    if (count > 0) {
        return count;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc) {
        (void)snprintf(why, why_size, "%s", gai_strerror(rc));
        return 0;
    }
    for (const struct addrinfo *at = found; at && count < ADDRESSES_MAX;
         at = at->ai_next) {
        if ((at->ai_family == AF_INET || at->ai_family == AF_INET6) &&
            at->ai_addrlen <= sizeof(out->v6)) {
            struct address *address = &out[count++];
            *address = (struct address){.size = at->ai_addrlen};
            memcpy(&address->v6, at->ai_addr, at->ai_addrlen);
            addr_set_port(address, port);
        }
    }
    freeaddrinfo(found);
    (void)snprintf(why, why_size, "the name has no address");
    return count;
}

int client_dial(const char *addr, uint64_t timeout_ms, char *why,
                size_t why_size)
{
    struct address addresses[ADDRESSES_MAX];
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    if (strncmp(addr, UNIX_SCHEME, strlen(UNIX_SCHEME)) == 0) {
        int socket = addr_connect_unix(addr + strlen(UNIX_SCHEME));
        if (socket < 0) {
            explain(errno, why, why_size);
        }
        return socket;
    }
    if (!addr_split(addr, host, &port)) { /* It may be from a Location. */
        (void)snprintf(why, why_size, "is not host:port");
        return -1;
    }
    size_t count = resolve(host, port, addresses, why, why_size);
    int fd = -1;
    uint64_t deadline_ms = sys_now_ms() + timeout_ms;
    for (size_t i = 0; i < count && fd < 0; i++) {
        /* Each gets a share of the time, so that an address that drops packets
         * does not prevent attempts at the others. */
        uint64_t now_ms = sys_now_ms();
        uint64_t left = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
        fd =
            dial_one(&addresses[i], now_ms + left / (count - i), why, why_size);
    }
    return fd;
}

enum moved client_send_all(int fd, struct bytes bytes, uint64_t deadline_ms,
                           char *why, size_t why_size)
{
    size_t sent = 0;
    while (sent < bytes.size) {
        short events = await(fd, POLLIN | POLLOUT, deadline_ms);
        if (!events) {
            explain(ETIMEDOUT, why, why_size);
            return MOVED_FAILED;
        }
        if (events & POLLIN) {
            return MOVED_EARLY;
        }
        ssize_t rc =
            send(fd, bytes.data + sent, bytes.size - sent, MSG_NOSIGNAL);
        if (rc >= 0) {
            sent += (size_t)rc;
        } else if (errno != EINTR && errno != EAGAIN) {
            explain(errno, why, why_size);
            return MOVED_FAILED;
        }
    }
    return MOVED_ALL;
}

bool client_receive_some(int fd, uint8_t *data, size_t room, size_t *got,
                         uint64_t deadline_ms, char *why, size_t why_size)
{
    for (;;) {
        if (!await(fd, POLLIN, deadline_ms)) {
            (void)snprintf(why, why_size, "no answer in time");
            return false;
        }
        ssize_t rc = recv(fd, data, room, 0);
        if (rc >= 0) {
            *got = (size_t)rc;
            return true;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return explain(errno, why, why_size);
        }
    }
}
