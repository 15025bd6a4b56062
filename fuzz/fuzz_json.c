/* fuzz_json.c -- the input is a JSON text. Property: it is read to an end,
 * and every string that was accepted comes back byte for byte when written
 * and read again. */
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
    mem_free(copy);
    return 0;
}
