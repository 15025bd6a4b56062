/* fuzz_base_inflate.c -- the input is the deflated part of a gzip member, and
 * its last two bytes the size in the trailer. Properties: it is read to an end
 * within its memory, a text that is accepted is that of the trailer, and a
 * stored block of the same input gives the input back. */
#include "base/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t header[10] = {0x1f, 0x8b, 8};

static uint32_t crc_of(struct bytes text)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < text.size; i++) {
        crc ^= text.data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0xedb88320 & (0 - (crc & 1)));
        }
    }
    return ~crc;
}

static void round_trip(struct bytes text)
{
    struct buf gzip = {0};
    struct buf out = {0};
    buf_add(&gzip, header, sizeof(header));
    buf_add_u8(&gzip, 1);
    buf_add_u16(&gzip, (uint16_t)text.size);
    buf_add_u16(&gzip, (uint16_t)~text.size);
    buf_add_bytes(&gzip, text);
    buf_add_u32(&gzip, crc_of(text));
    buf_add_u32(&gzip, (uint32_t)text.size);
    must(gunzip(buf_bytes(&gzip), text.size, &out) == ERR_OK);
    must(bytes_equal(buf_bytes(&out), text));
    gzip.data[gzip.size - 8] ^= 1;
    must(gunzip(buf_bytes(&gzip), text.size, &out) == ERR_CORRUPT);
    must(bytes_equal(buf_bytes(&out), text));
    buf_free(&gzip);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = {0};
    if (size < 2 || size > UINT16_MAX) {
        return 0;
    }
    /* The checksum is that of the text, whatever it is: zeros first, and then
     * what was found in that memory, which is the text if its size was right.
     */
    uint8_t *gzip = mem_alloc(sizeof(header) + size + 6);
    size_t text_size = load_u16(data + size - 2);
    size_t trailer = sizeof(header) + size - 2;
    memcpy(gzip, header, sizeof(header));
    memcpy(gzip + sizeof(header), data, size - 2);
    store_u32(gzip + trailer, 0);
    store_u32(gzip + trailer + 4, (uint32_t)text_size);
    memset(buf_reserve(&out, text_size + 1), 0, text_size);
    enum err err = gunzip(bytes_of(gzip, trailer + 8), text_size, &out);
    if (err) {
        must(out.size == 0);
        store_u32(gzip + trailer, crc_of(bytes_of(out.data, text_size)));
        err = gunzip(bytes_of(gzip, trailer + 8), text_size, &out);
    }
    must(err == ERR_OK || err == ERR_CORRUPT);
    must(out.size == (err ? 0 : text_size));
    buf_free(&out);
    mem_free(gzip);
    round_trip(bytes_of(data, size));
    return 0;
}
