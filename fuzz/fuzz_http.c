/* fuzz_http.c -- the first byte chooses where to cut, the rest is what a
 * client sent. Property: whole or in two pieces, the same requests come out,
 * with the same end; and their parts lie inside the input. */
#include "base/crc32c.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 4096 };

static uint32_t add_view(uint32_t sum, struct bytes view, const uint8_t *data,
                         size_t size)
{
    must(view.size == 0 ||
         (view.data >= data && view.data + view.size <= data + size));
    return crc32c(sum + 1, view.data, view.size);
}

static uint32_t add_request(uint32_t sum, const struct http_request *request,
                            const uint8_t *data, size_t size)
{
    sum = add_view(sum, request->target, data, size);
    sum = add_view(sum, request->path, data, size);
    sum = add_view(sum, request->query, data, size);
    sum = add_view(sum, request->body, data, size);
    for (uint32_t i = 0; i < request->header_count; i++) {
        sum = add_view(sum, request->headers[i].name, data, size);
        sum = add_view(sum, request->headers[i].value, data, size);
    }
    return sum + (uint32_t)request->verb + request->keep_alive * 64u;
}

static bool streams(const struct http_request *request)
{
    return bytes_equal_string(request->path, "/restore");
}

/* The pieces are what the whole would have been. */
static enum http_progress read_body(struct http_reader *reader, uint8_t *data,
                                    size_t size, uint32_t *sum)
{
    enum http_progress progress = http_read_body(reader, data, size);
    struct bytes body = reader->request.body;
    must(reader->consumed <= size);
    must(body.size <= reader->consumed);
    must(body.size == 0 || body.data == data);
    *sum = crc32c(*sum, body.data, body.size);
    return progress;
}

/* All requests of the input; `split` bytes are there at first. */
static uint32_t read_all(const uint8_t *input, size_t size, size_t split)
{
    struct http_reader reader;
    uint8_t *data = mem_alloc(size);
    size_t at = 0;
    size_t have = split;
    uint32_t sum = 0;
    if (size > 0) {
        memcpy(data, input, size);
    }
    http_reader_init(&reader, BODY_MAX);
    reader.streams = streams;
    bool in_body = false;
    for (;;) {
        bool was_in_body = in_body;
        enum http_progress progress =
            in_body ? read_body(&reader, data + at, have - at, &sum)
                    : http_read(&reader, data + at, have - at);
        if (was_in_body) {
            at += reader.consumed;
            in_body = progress == HTTP_READ_MORE;
        } else if (progress == HTTP_READ_HEAD && reader.request.streamed) {
            at += reader.consumed;
            in_body = true;
            continue;
        }
        if (progress == HTTP_READ_DONE && was_in_body) {
            continue;
        }
        if (progress == HTTP_READ_DONE) {
            must(reader.consumed > 0 && reader.consumed <= have - at);
            sum = add_request(sum, &reader.request, data, size);
            at += reader.consumed;
        } else if (progress == HTTP_READ_ERROR) {
            sum += (uint32_t)reader.error_status;
            break;
        } else if (progress == HTTP_READ_MORE) {
            if (have == size) {
                break;
            }
            have = size;
        }
    }
    http_reader_free(&reader);
    mem_free(data);
    return sum + (uint32_t)at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t split = (size_t)data[0] * (size - 1) / 255;
    data++;
    size--;
    must(read_all(data, size, size) == read_all(data, size, split));
    return 0;
}
