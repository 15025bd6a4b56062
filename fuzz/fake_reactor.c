#include "fake_reactor.h"

struct fake_reactor fake_reactor;

/* Names that the linker gives. */
uint64_t __wrap_reactor_now_ms(const struct reactor *reactor);
enum err __wrap_listener_open(struct reactor *reactor, const char *host,
                              uint16_t port, listener_cb *cb, void *arg,
                              struct listener **listener, char *why,
                              size_t why_size);
void __wrap_stream_set_handler(struct stream *stream,
                               const struct stream_handler *handler, void *arg);
void __wrap_stream_set_input_limit(struct stream *stream, size_t limit_bytes);

uint64_t __wrap_reactor_now_ms(const struct reactor *reactor)
{
    (void)reactor;
    return fake_reactor.now_ms;
}

enum err __wrap_listener_open(struct reactor *reactor, const char *host,
                              uint16_t port, listener_cb *cb, void *arg,
                              struct listener **listener, char *why,
                              size_t why_size)
{
    (void)reactor;
    (void)host;
    (void)port;
    (void)why;
    (void)why_size;
    fake_reactor.accept = cb;
    fake_reactor.accept_arg = arg;
    *listener = NULL;
    return ERR_OK;
}

static struct fake_stream *fake_of(struct stream *stream)
{
    return (void *)stream; /* Its first member. */
}

void __wrap_stream_set_handler(struct stream *stream,
                               const struct stream_handler *handler, void *arg)
{
    fake_of(stream)->handler = handler;
    fake_of(stream)->arg = arg;
}

void __wrap_stream_set_input_limit(struct stream *stream, size_t limit_bytes)
{
    fake_of(stream)->input_bytes_max = limit_bytes;
}
