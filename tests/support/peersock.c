/* peersock.c -- see peersock.h. */
#include "support/peersock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int socket_at(const char *ip)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(inet_pton(AF_INET, ip, &at.sin_addr) == 1);
    must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    return fd;
}

int peersock_listen(const char *ip, uint16_t *port)
{
    struct sockaddr_in at;
    socklen_t size = sizeof(at);
    int fd = socket_at(ip);
    must(listen(fd, 8) == 0);
    must(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    *port = ntohs(at.sin_port);
    return fd;
}

uint16_t peersock_unused_port(void)
{
    uint16_t port;
    close(peersock_listen("127.0.0.1", &port));
    return port;
}

int peersock_dial(const char *ip, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket_at(ip);
    must(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

void peersock_send(int fd, const uint8_t *data, size_t size,
                   struct reactor *reactor)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, data + sent, size - sent, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN || errno == EINTR) {
            reactor_turn(reactor, 1);
        } else {
            return;
        }
    }
}

bool peersock_is_closed(int fd)
{
    uint8_t data[4096];
    ssize_t got;
    do {
        got = recv(fd, data, sizeof(data), 0);
    } while (got > 0);
    return got == 0 || (errno != EAGAIN && errno != EINTR);
}

struct wire_hello peersock_hello(const uint8_t cluster[16])
{
    struct wire_hello hello = {.version_min = WIRE_VERSION,
                               .version_max = WIRE_VERSION,
                               .from_id = 2,
                               .from_uuid = {2},
                               .from_incarnation = 5,
                               .from_nonce = 77,
                               .from_name = "n2",
                               .to_id = 1,
                               .to_uuid = {1},
                               .to_name = "n1"};
    memcpy(hello.cluster, cluster, sizeof(hello.cluster));
    return hello;
}
