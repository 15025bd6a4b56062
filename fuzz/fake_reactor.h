/* fake_reactor.h -- what targets that take the reactor's place have in common:
 * its clock, the listener, and the owner of a stream.
 *
 * The target's own `struct stream` begins with a struct fake_stream, and its
 * link gives FAKE_REACTOR (Makefile) to --wrap, so that the calls of the rooms
 * come here. */
#ifndef CRAFTD_FUZZ_FAKE_REACTOR_H
#define CRAFTD_FUZZ_FAKE_REACTOR_H

#include "reactor/reactor.h"

struct fake_stream {
    const struct stream_handler *handler;
    void *arg;
    size_t input_bytes_max;
};

/* The target sets the clock, and calls accept() for a new connection. */
struct fake_reactor {
    uint64_t now_ms;
    listener_cb *accept; /* Callback of the listener that was opened last. */
    void *accept_arg;
};
extern struct fake_reactor fake_reactor;

#endif
