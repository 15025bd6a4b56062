/* fuzz_http_proxy.c -- the input is what a proxy sends before its client, and
 * the value of an X-Forwarded-For. Property: a header is the same however it
 * arrives, nothing behind it is looked at, and it is decided in bounded bytes.
 */
#include "http/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory of its own, so that a read behind it is seen. */
static enum proxy_progress read_copy(const uint8_t *data, size_t size,
                                     struct proxy_source *source,
                                     size_t *consumed)
{
    uint8_t *copy = mem_alloc(size > 0 ? size : 1);
    memcpy(copy, data, size);
    enum proxy_progress progress =
        proxy_read(bytes_of(copy, size), source, consumed);
    mem_free(copy);
    return progress;
}

static void check_header(const uint8_t *data, size_t size)
{
    struct proxy_source source = {.ip_bytes = 0};
    size_t consumed = 0;
    enum proxy_progress whole = read_copy(data, size, &source, &consumed);
    must(whole != PROXY_MORE || size < PROXY_BYTES_MAX);
    if (whole == PROXY_DONE) {
        must(consumed > 0 && consumed <= size && consumed <= PROXY_BYTES_MAX);
        must(source.ip_bytes == 0 || source.ip_bytes == 4 ||
             source.ip_bytes == 16);
    }
    for (size_t part = 0; part <= size && part <= PROXY_BYTES_MAX; part++) {
        struct proxy_source early = {.ip_bytes = 0};
        size_t used = 0;
        enum proxy_progress progress = read_copy(data, part, &early, &used);
        if (whole == PROXY_DONE) {
            must(progress == (part < consumed ? PROXY_MORE : PROXY_DONE));
        } else if (whole == PROXY_MORE) {
            must(progress == PROXY_MORE);
        }
        must(progress != PROXY_DONE ||
             (used == consumed && early.port == source.port &&
              early.ip_bytes == source.ip_bytes &&
              memcmp(early.ip, source.ip, sizeof(early.ip)) == 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_source source;
    check_header(data, min_size(size, PROXY_BYTES_MAX + 64));
    if (proxy_forwarded_for(bytes_of(data, size), &source)) {
        must(source.ip_bytes == 4 || source.ip_bytes == 16);
    }
    struct bytes list = bytes_of(data, size);
    struct proxy_trust trust;
    for (size_t left = size; proxy_trust_next(&list, &trust);
         left = list.size) {
        must(list.size < left);
        must(trust.ip_bytes == 4 || trust.ip_bytes == 16);
    }
    return 0;
}
