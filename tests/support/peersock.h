/* peersock.h -- plain sockets on loopback for tests of src/peer: the other side
 * of a link, driven by hand. A descriptor belongs to the caller, who closes it;
 * none of them blocks. A call that fails fails the test. */
#ifndef CRAFTD_TESTS_PEERSOCK_H
#define CRAFTD_TESTS_PEERSOCK_H

#include "reactor/reactor.h"
#include "wire/wire.h"

/* Listen on an unused port of `ip`, which is stored in *port. */
int peersock_listen(const char *ip, uint16_t *port);
/* A port of 127.0.0.1 that was unused just now. */
uint16_t peersock_unused_port(void);
/* Connect from `ip` to `port` of 127.0.0.1. */
int peersock_dial(const char *ip, uint16_t port);
/* Send all, with turns of `reactor` while the kernel's buffers are full. Stops
 * when the other side has closed the connection, as the caller will see. */
void peersock_send(int fd, const uint8_t *data, size_t size,
                   struct reactor *reactor);
/* True when the other side has closed it. Discards received data. */
bool peersock_is_closed(int fd);

/* A valid HELLO of member 2 to node 1. */
struct wire_hello peersock_hello(const uint8_t cluster[16]);

#endif
