/* fuzz_http_answer.c -- the first byte chooses where to cut, the rest is what
 * a server sent before it closed. Property: whole or in two pieces, the same
 * answer comes out, or none; and a body is never longer than the input. */
#include "base/crc32c.h"
#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    bool done;
    int status;
    uint32_t sum;
    size_t body_bytes;
};

static uint32_t add(uint32_t sum, struct bytes view)
{
    return crc32c(sum, view.data, view.size);
}

/* One piece, in memory of its own, so that a read behind it is seen. */
static enum http_progress feed(struct http_answer *answer, const uint8_t *data,
                               size_t size, struct buf *body)
{
    uint8_t *copy = mem_alloc(size > 0 ? size : 1);
    memcpy(copy, data, size);
    enum http_progress progress = http_answer_read(answer, copy, size);
    must(answer->body.size == 0 || answer->body.data == copy);
    must(answer->body.size <= size);
    must(answer->body.size == 0 || answer->head_done);
    buf_add_bytes(body, answer->body);
    mem_free(copy);
    return progress;
}

static struct outcome read_all(const uint8_t *data, size_t size, size_t split)
{
    struct http_answer answer;
    struct buf body = {0};
    struct outcome outcome = {0};
    enum http_progress progress = HTTP_READ_MORE;
    http_answer_init(&answer);
    if (split > 0) {
        progress = feed(&answer, data, split, &body);
    }
    if (progress == HTTP_READ_MORE && size > split) {
        progress = feed(&answer, data + split, size - split, &body);
    }
    if (progress == HTTP_READ_MORE) {
        progress = feed(&answer, data, 0, &body);
        must(progress != HTTP_READ_MORE);
    }
    must((progress == HTTP_READ_ERROR) == (answer.error_text != NULL));
    if (progress == HTTP_READ_DONE) {
        must(answer.status >= 200);
        outcome = (struct outcome){.done = true,
                                   .status = answer.status,
                                   .sum = add(0, buf_bytes(&body)),
                                   .body_bytes = body.size};
        for (uint32_t i = 0; i < answer.header_count; i++) {
            outcome.sum = add(outcome.sum, answer.headers[i].name);
            outcome.sum = add(outcome.sum, answer.headers[i].value);
        }
    }
    buf_free(&body);
    http_answer_free(&answer);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t split = (size_t)data[0] * (size - 1) / 255;
    data++;
    size--;
    struct outcome whole = read_all(data, size, size);
    struct outcome pieces = read_all(data, size, split);
    must(whole.done == pieces.done && whole.status == pieces.status);
    must(whole.sum == pieces.sum && whole.body_bytes == pieces.body_bytes);
    return 0;
}
