/* fuzz_json.c -- the input is a JSON text. Properties: it is read to an end,
 * every string that was accepted comes back byte for byte when written and
 * read again, and what was accepted says the same when it has been indented,
 * twice as well as once. */
#include "base/crc32c.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct bytes text)
{
    struct buf out = {0};
    struct json_reader reader;
    must(json_is_utf8(text));
    json_add_string(&out, text);
    json_init(&reader, out.data, out.size);
    must(json_next(&reader) == JSON_STRING);
    must(bytes_equal(reader.text, text));
    must(json_next(&reader) == JSON_END);
    buf_free(&out);
}

/* A sum over all values; the text is overwritten. */
static uint32_t sum_of(struct buf *text)
{
    struct json_reader reader;
    enum json_token token;
    uint32_t sum = 0;
    json_init(&reader, text->data, text->size);
    do {
        token = json_next(&reader);
        must(token != JSON_ERROR);
        sum = crc32c(sum + (uint32_t)token, reader.text.data, reader.text.size);
        reader.text = (struct bytes){0};
    } while (token != JSON_END);
    return sum;
}

static void indent(struct bytes text)
{
    struct buf plain = {0};
    struct buf once = {0};
    struct buf twice = {0};
    buf_add_bytes(&plain, text);
    json_add_indented(&once, text);
    json_add_indented(&twice, buf_bytes(&once));
    must(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    must(sum_of(&plain) == sum_of(&once));
    buf_free(&plain);
    buf_free(&once);
    buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_reader reader;
    enum json_token token;
    uint8_t *copy = mem_alloc(size);
    size_t tokens = 0;
    if (size > 0) {
        memcpy(copy, data, size);
    }
    json_init(&reader, copy, size);
    do {
        token = json_next(&reader);
        if (token == JSON_STRING || token == JSON_NAME) {
            must(reader.text.data >= copy &&
                 reader.text.data + reader.text.size <= copy + size);
            round_trip(reader.text);
        }
        must(++tokens <= 2 * size + 2);
    } while (token != JSON_ERROR && token != JSON_END);
    if (token == JSON_END) {
        indent(bytes_of(data, size));
    }
    mem_free(copy);
    return 0;
}
