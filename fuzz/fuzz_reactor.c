/* fuzz_reactor.c -- the first byte says what the rest is:
 *
 *     even  an address as text, from a flag or a peer. Property: what
 *           addr_split() takes has one full form, which is taken as the same
 *           host and port; a host that is known has the family it says
 *     odd   what a resolver's child wrote into its pipe. Property: addresses
 *           that the kernel takes and that read like one, ADDRESSES_MAX at most
 */
#include <stdlib.h>

#include "reactor/reactor_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(const struct address *address, uint16_t port)
{
    char text[REACTOR_ADDR_TEXT_BYTES];
    char host[REACTOR_HOST_BYTES];
    uint16_t read_port;
    bool v4 = address->any.sa_family == AF_INET;
    must(v4 || address->any.sa_family == AF_INET6);
    must(address->size == (v4 ? sizeof(address->v4) : sizeof(address->v6)));
    addr_text(address, text, sizeof(text));
    must(addr_split(text, host, &read_port) && read_port == port);
}

static void try_text(const uint8_t *data, size_t size)
{
    char *text = mem_alloc(size + 1);
    char host[REACTOR_HOST_BYTES] = "untouched";
    uint16_t port = 4711;
    memcpy(text, data, size);
    text[size] = '\0';
    if (addr_split(text, host, &port)) {
        char full[REACTOR_ADDR_BYTES];
        char again[REACTOR_ADDR_BYTES];
        char same[REACTOR_HOST_BYTES];
        uint16_t same_port;
        must(addr_full(text, full) && addr_full(full, again));
        must(strcmp(full, again) == 0);
        must(addr_split(full, same, &same_port));
        must(strcmp(host, same) == 0 && port == same_port);
        struct address known[ADDRESSES_MAX];
        size_t count = addr_known(host, port, known);
        must(count <= ADDRESSES_KNOWN_MAX);
        for (size_t i = 0; i < count; i++) {
            check_address(&known[i], port);
        }
        must(!addr_is_any(host) || !addr_is_loopback(host));
    } else {
        must(strcmp(host, "untouched") == 0 && port == 4711);
    }
    mem_free(text);
}

static void try_answer(const uint8_t *data, size_t size)
{
    struct address found[ADDRESSES_MAX];
    size_t count = resolver_decode(data, size, 80, found);
    must(count <= ADDRESSES_MAX && count <= size);
    for (size_t i = 0; i < count; i++) {
        check_address(&found[i], 80);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    /* In memory of its own, so that a read behind it is seen. */
    uint8_t *copy = mem_alloc(size);
    memcpy(copy, data + 1, size - 1);
    (data[0] % 2 == 0 ? try_text : try_answer)(copy, size - 1);
    mem_free(copy);
    return 0;
}
