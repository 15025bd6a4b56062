/* test_base_inflate.c -- texts that zlib compressed, and what is no gzip.
 *
 * The vectors are from zlib 1.2.13 (Python: compressobj(level, DEFLATED, -15,
 * 9, strategy) between a header and a trailer), of the texts that the tests
 * make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/inflate.h"

/* clang-format off */
static const uint8_t gzip_nothing[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0};
static const uint8_t gzip_stored[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 1, 15, 0, 240, 255, 115, 116, 111, 114,
    101, 100, 32, 97, 115, 32, 105, 116, 32, 105, 115, 101, 120, 209, 90,
    15, 0, 0, 0};
static const uint8_t gzip_fixed[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 75, 76, 74, 28, 5, 68, 131, 36, 0, 89,
    205, 112, 14, 47, 1, 0, 0};
static const uint8_t gzip_literals[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 5, 193, 129, 1, 0, 48, 4, 3, 176, 85,
    41, 234, 255, 127, 151, 132, 150, 236, 184, 17, 238, 77, 117, 93, 133,
    117, 164, 8, 103, 194, 238, 246, 214, 203, 89, 118, 84, 91, 155, 217,
    225, 96, 109, 119, 135, 57, 85, 150, 253, 172, 7, 196, 197, 190, 71,
    238, 212, 160, 30, 225, 155, 21, 85, 113, 1, 155, 3, 173, 211, 175, 210,
    177, 21, 108, 237, 218, 51, 149, 201, 4, 81, 226, 3, 235, 154, 192, 195,
    2, 119, 43, 181, 53, 169, 192, 17, 147, 125, 49, 179, 215, 200, 211,
    225, 45, 88, 194, 99, 184, 56, 55, 64, 248, 34, 199, 100, 186, 148, 195,
    185, 219, 81, 251, 205, 234, 246, 250, 189, 225, 61, 169, 167, 23, 82,
    92, 238, 149, 141, 236, 221, 11, 149, 59, 95, 25, 87, 204, 64, 159, 252,
    0, 152, 173, 253, 184, 81, 87, 2, 44, 1, 0, 0};
static const uint8_t gzip_dynamic[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 37, 146, 1, 18, 195, 64, 8, 2, 65, 229,
    255, 95, 206, 114, 233, 180, 205, 153, 8, 174, 154, 209, 238, 122, 50,
    114, 52, 113, 146, 57, 101, 87, 235, 187, 227, 103, 223, 70, 55, 47,
    205, 167, 229, 214, 16, 102, 109, 14, 59, 201, 233, 248, 74, 174, 209,
    170, 150, 28, 48, 196, 163, 55, 86, 105, 124, 36, 187, 122, 10, 92, 29,
    102, 9, 137, 103, 136, 247, 188, 149, 200, 155, 112, 180, 250, 151, 224,
    71, 85, 160, 48, 4, 225, 156, 25, 180, 96, 69, 65, 79, 186, 184, 204,
    229, 21, 37, 131, 14, 224, 194, 247, 97, 195, 183, 243, 44, 192, 64, 39,
    14, 17, 166, 131, 63, 65, 104, 47, 237, 212, 11, 17, 100, 46, 94, 11,
    31, 110, 88, 208, 22, 35, 40, 56, 237, 224, 232, 180, 15, 204, 168, 229,
    154, 113, 131, 226, 240, 224, 203, 252, 14, 87, 158, 254, 100, 60, 105,
    101, 84, 67, 3, 176, 88, 111, 108, 157, 6, 2, 21, 24, 8, 120, 181, 248,
    234, 170, 239, 167, 101, 104, 69, 221, 197, 219, 2, 189, 119, 85, 112,
    33, 115, 39, 195, 54, 168, 207, 240, 166, 139, 1, 9, 84, 108, 70, 77,
    245, 214, 19, 222, 82, 209, 44, 37, 209, 49, 15, 132, 126, 59, 1, 179,
    102, 63, 60, 121, 215, 23, 0, 231, 106, 70, 29, 30, 151, 55, 168, 206,
    251, 21, 241, 191, 166, 188, 165, 163, 194, 108, 113, 124, 124, 233,
    200, 245, 94, 14, 40, 62, 242, 79, 35, 82, 88, 2, 0, 0};
static const uint8_t gzip_single[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 49, 1, 0, 0, 0, 194, 160,
    218, 139, 111, 13, 15, 160, 0, 0, 128, 119, 3, 231, 23, 238, 152, 184,
    11, 0, 0};
static const uint8_t gzip_far[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 221, 77, 43, 195, 1, 0, 192, 225,
    77, 89, 237, 176, 150, 86, 20, 230, 229, 224, 224, 180, 102, 53, 97, 72,
    202, 75, 226, 48, 51, 22, 33, 97, 74, 171, 77, 75, 100, 173, 28, 216,
    46, 246, 39, 169, 173, 200, 75, 89, 107, 164, 166, 156, 196, 68, 219,
    74, 92, 72, 49, 11, 51, 57, 236, 224, 34, 59, 216, 129, 239, 224, 168,
    223, 243, 69, 158, 168, 115, 126, 178, 35, 251, 154, 53, 100, 78, 158,
    29, 197, 73, 151, 56, 172, 126, 50, 78, 201, 91, 205, 227, 46, 83, 208,
    173, 51, 165, 141, 138, 185, 155, 133, 237, 123, 157, 161, 71, 85, 125,
    48, 214, 31, 207, 153, 245, 94, 165, 10, 167, 61, 67, 15, 62, 161, 180,
    81, 251, 209, 60, 211, 41, 251, 62, 245, 199, 223, 22, 61, 137, 74, 75,
    215, 143, 49, 105, 45, 203, 10, 161, 190, 220, 229, 136, 52, 209, 125,
    29, 172, 107, 243, 233, 111, 245, 27, 146, 205, 244, 209, 185, 68, 225,
    109, 63, 20, 151, 236, 87, 185, 213, 235, 250, 150, 53, 155, 86, 232,
    205, 212, 40, 243, 191, 221, 246, 47, 175, 163, 96, 160, 233, 216, 98,
    243, 200, 173, 166, 152, 184, 72, 165, 169, 95, 57, 83, 238, 202, 100,
    123, 154, 37, 231, 160, 208, 240, 62, 97, 247, 215, 134, 46, 86, 243, 2,
    163, 177, 199, 203, 151, 225, 228, 103, 88, 42, 50, 239, 164, 42, 182,
    202, 213, 174, 187, 145, 72, 64, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 248, 163, 232, 63, 153, 239, 127, 1, 43,
    234, 68, 106, 194, 127, 0, 0};
static const uint8_t gzip_blocks[] = {
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 202, 207, 75, 85, 200, 167, 34, 6, 0,
    0, 0, 255, 255, 28, 142, 137, 13, 0, 48, 8, 2, 5, 246, 223, 89, 142,
    216, 166, 84, 121, 180, 149, 196, 185, 190, 119, 74, 203, 246, 90, 114,
    27, 96, 75, 199, 172, 32, 118, 113, 160, 104, 194, 42, 133, 194, 215,
    83, 148, 205, 163, 107, 233, 234, 209, 57, 205, 221, 125, 106, 91, 102,
    233, 176, 241, 54, 57, 21, 145, 62, 126, 112, 22, 6, 100, 32, 131, 98,
    54, 157, 185, 183, 76, 221, 77, 14, 27, 235, 30, 0, 0, 255, 255, 42, 41,
    207, 87, 40, 129, 98, 0, 0, 0, 0, 255, 255, 3, 0, 160, 195, 243, 173,
    36, 1, 0, 0};
/* clang-format on */

enum { TEXT_BYTES_MAX = 33000 };

static void add_noise(struct buf *text, size_t count, unsigned values)
{
    uint32_t x = 1;
    for (; count > 0; count--) {
        x = x * 1103515245 + 12345;
        buf_add_u8(text, (uint8_t)((x >> 16) % values));
    }
}

static void add_times(struct buf *text, size_t count, const char *piece)
{
    for (; count > 0; count--) {
        buf_add_string(text, piece);
    }
}

/* The texts of the vectors, in their order. */
static void make_text(size_t which, struct buf *text)
{
    text->size = 0;
    switch (which) {
    case 0:
        break;
    case 1:
        buf_add_string(text, "stored as it is");
        break;
    case 2:
        buf_add_string(text, "ab");
        add_times(text, 300, "a");
        buf_add_u8(text, 'b');
        break;
    case 3:
        add_noise(text, 300, 12);
        break;
    case 4:
        add_noise(text, 600, 6);
        break;
    case 5:
        add_times(text, 3000, "x");
        break;
    case 6:
        add_noise(text, 200, 256);
        for (size_t i = 200; i < 32506; i++) {
            buf_add_u8(text, 0);
        }
        add_noise(text, 200, 256);
        break;
    default:
        add_times(text, 20, "one ");
        add_noise(text, 200, 4);
        add_times(text, 3, "two ");
        break;
    }
}

#define VECTOR_OF(name)                                                        \
    {                                                                          \
        gzip_##name, sizeof(gzip_##name)                                       \
    }
static const struct bytes vectors[] = {
    VECTOR_OF(nothing),  VECTOR_OF(stored),  VECTOR_OF(fixed),
    VECTOR_OF(literals), VECTOR_OF(dynamic), VECTOR_OF(single),
    VECTOR_OF(far),      VECTOR_OF(blocks),
};

static void test_what_zlib_compressed_comes_back(void **state)
{
    (void)state;
    struct buf text = {0};
    struct buf out = {0};
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        make_text(i, &text);
        out.size = 0;
        buf_add_string(&out, "before");
        assert_int_equal(gunzip_size(vectors[i]), text.size);
        assert_int_equal(gunzip(vectors[i], text.size, &out), ERR_OK);
        assert_int_equal(out.size, 6 + text.size);
        assert_memory_equal(out.data, "before", 6);
        assert_true(bytes_equal(bytes_of(out.data + 6, out.size - 6),
                                buf_bytes(&text)));
    }
    buf_free(&text);
    buf_free(&out);
}

/* A size that is too large is refused before memory is taken. */
static void test_a_text_over_the_limit_is_too_big(void **state)
{
    (void)state;
    struct buf text = {0};
    struct buf out = {0};
    for (size_t i = 1; i < ARRAY_COUNT(vectors); i++) {
        make_text(i, &text);
        assert_int_equal(gunzip(vectors[i], text.size - 1, &out), ERR_TOO_BIG);
        assert_null(out.data);
    }
    buf_free(&text);
}

/* The end of the memory that is read is the end of the input, so that a
 * sanitizer sees what is read behind it. */
static enum err gunzip_exactly(struct bytes gzip)
{
    struct buf out = {0};
    uint8_t *copy = mem_alloc(gzip.size + 1);
    memcpy(copy + 1, gzip.data, gzip.size);
    buf_add_string(&out, "before");
    enum err err = gunzip(bytes_of(copy + 1, gzip.size), TEXT_BYTES_MAX, &out);
    if (err) {
        assert_true(bytes_equal_string(buf_bytes(&out), "before"));
    }
    buf_free(&out);
    mem_free(copy);
    return err;
}

static void test_a_cut_text_is_refused_at_every_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        for (size_t size = 0; size < vectors[i].size; size++) {
            assert_true(gunzip_exactly(bytes_of(vectors[i].data, size)));
        }
    }
}

/* Of the header's time and system, and where a block ends within a byte, bits
 * have no meaning. */
static void test_a_changed_bit_is_found_or_means_nothing(void **state)
{
    (void)state;
    struct buf text = {0};
    struct buf out = {0};
    uint8_t copy[512];
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        size_t size = vectors[i].size;
        unsigned meaningless = 0;
        assert_true(size <= sizeof(copy));
        memcpy(copy, vectors[i].data, size);
        make_text(i, &text);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
            out.size = 0;
            if (gunzip(bytes_of(copy, size), TEXT_BYTES_MAX, &out) == ERR_OK) {
                assert_true(bytes_equal(buf_bytes(&out), buf_bytes(&text)));
                meaningless++;
            }
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_in_range(meaningless, 48, 48 + 3 * 7);
    }
    buf_free(&text);
    buf_free(&out);
}

static void test_bytes_behind_the_last_block_are_refused(void **state)
{
    (void)state;
    struct buf gzip = {0};
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        size_t body = vectors[i].size - 8;
        gzip.size = 0;
        buf_add(&gzip, vectors[i].data, body);
        buf_add_u8(&gzip, 0);
        buf_add(&gzip, vectors[i].data + body, 8);
        assert_int_equal(gunzip_exactly(buf_bytes(&gzip)), ERR_CORRUPT);
    }
    buf_free(&gzip);
}

/* ---- blocks that no compressor writes ---- */

struct bits {
    struct buf gzip;
    unsigned count; /* Bits in the last byte. */
};

static void start_bits(struct bits *bits)
{
    static const uint8_t header[10] = {0x1f, 0x8b, 8};
    bits->gzip.size = 0;
    bits->count = 8;
    buf_add(&bits->gzip, header, sizeof(header));
}

/* The lowest bit first, as all but codes are written. */
static void add_bits(struct bits *bits, unsigned value, unsigned count)
{
    for (; count > 0; count--, value >>= 1) {
        if (bits->count == 8) {
            buf_add_u8(&bits->gzip, 0);
            bits->count = 0;
        }
        uint8_t *last = &bits->gzip.data[bits->gzip.size - 1];
        *last = (uint8_t)(*last | (value & 1) << bits->count++);
    }
}

/* The highest bit first, as codes are written. */
static void add_code(struct bits *bits, unsigned code, unsigned count)
{
    while (count > 0) {
        add_bits(bits, code >> --count & 1, 1);
    }
}

/* `crc` and `size` are those of the text. */
static enum err finish_bits(struct bits *bits, uint32_t crc, uint32_t size)
{
    buf_add_u32(&bits->gzip, crc);
    buf_add_u32(&bits->gzip, size);
    return gunzip_exactly(buf_bytes(&bits->gzip));
}

enum { CRC_OF_ZERO = (int)0xd202ef8d, CRC_OF_FOUR_ZEROS = 0x2144df1c };

/* A fixed block of one 0, a length, a distance code, and the end. */
static enum err repeat_once(struct bits *bits, unsigned length_code,
                            unsigned length_bits, unsigned distance_code)
{
    start_bits(bits);
    add_bits(bits, 1, 1);
    add_bits(bits, 1, 2);
    add_code(bits, 0x30, 8);
    add_code(bits, length_code, length_bits);
    add_code(bits, distance_code, 5);
    add_code(bits, 0, 7);
    return finish_bits(bits, (uint32_t)CRC_OF_FOUR_ZEROS, 4);
}

static void test_lengths_and_distances_that_do_not_exist(void **state)
{
    (void)state;
    struct bits bits = {0};
    /* 257: three bytes, from one byte ago. */
    assert_int_equal(repeat_once(&bits, 1, 7, 0), ERR_OK);
    /* From two bytes ago, when there is one. */
    assert_int_equal(repeat_once(&bits, 1, 7, 1), ERR_CORRUPT);
    assert_int_equal(repeat_once(&bits, 1, 7, 29), ERR_CORRUPT);
    assert_int_equal(repeat_once(&bits, 1, 7, 30), ERR_CORRUPT);
    assert_int_equal(repeat_once(&bits, 1, 7, 31), ERR_CORRUPT);
    /* 286 and 287. */
    assert_int_equal(repeat_once(&bits, 0xc6, 8, 0), ERR_CORRUPT);
    assert_int_equal(repeat_once(&bits, 0xc7, 8, 0), ERR_CORRUPT);
    /* 258: one byte more than the trailer says. */
    assert_int_equal(repeat_once(&bits, 2, 7, 0), ERR_CORRUPT);
    buf_free(&bits.gzip);
}

static void test_a_block_of_no_type_is_refused(void **state)
{
    (void)state;
    struct bits bits = {0};
    start_bits(&bits);
    add_bits(&bits, 1, 1);
    add_bits(&bits, 3, 2);
    add_bits(&bits, 0, 21);
    assert_int_equal(finish_bits(&bits, 0, 0), ERR_CORRUPT);
    buf_free(&bits.gzip);
}

/* A dynamic block whose code of lengths is `of`: 18 lengths of 3 bits, in the
 * order of the format, and then `rest`, 16 bits of codes. */
static enum err dynamic_block(struct bits *bits, unsigned literals,
                              unsigned distances, const char *of, unsigned rest)
{
    start_bits(bits);
    add_bits(bits, 1, 1);
    add_bits(bits, 2, 2);
    add_bits(bits, literals - 257, 5);
    add_bits(bits, distances - 1, 5);
    add_bits(bits, 18 - 4, 4);
    for (size_t i = 0; i < 18; i++) {
        add_bits(bits, (unsigned)(of[i] - '0'), 3);
    }
    add_bits(bits, rest, 16);
    add_bits(bits, 0, 16);
    return finish_bits(bits, (uint32_t)CRC_OF_ZERO, 1);
}

static void test_codes_that_contradict_themselves(void **state)
{
    (void)state;
    struct bits bits = {0};
    /* Length 1 is the code 0, and 18 the code 1: literal 0, zeros for 1 to 138
     * and 139 to 255, then 256, and no distance. The block is 0, 256. */
    start_bits(&bits);
    add_bits(&bits, 1, 1);
    add_bits(&bits, 2, 2);
    add_bits(&bits, 0, 5);
    add_bits(&bits, 0, 5);
    add_bits(&bits, 18 - 4, 4);
    for (size_t i = 0; i < 18; i++) {
        add_bits(&bits, i == 2 || i == 17, 3);
    }
    add_code(&bits, 0, 1);
    add_code(&bits, 1, 1);
    add_bits(&bits, 138 - 11, 7);
    add_code(&bits, 1, 1);
    add_bits(&bits, 117 - 11, 7);
    add_code(&bits, 0, 1);
    add_code(&bits, 0, 1);
    add_code(&bits, 0, 1);
    add_code(&bits, 1, 1);
    assert_int_equal(finish_bits(&bits, (uint32_t)CRC_OF_ZERO, 1), ERR_OK);

    /* Three codes of one bit. */
    assert_int_equal(dynamic_block(&bits, 257, 1, "001100000000000001", 0xffff),
                     ERR_CORRUPT);
    /* A repetition before there is a length. */
    assert_int_equal(dynamic_block(&bits, 257, 1, "100000000000000001", 0x0000),
                     ERR_CORRUPT);
    /* More zeros than there are symbols: 138 three times. */
    assert_int_equal(dynamic_block(&bits, 257, 1, "001000000000000001", 0xffff),
                     ERR_CORRUPT);
    /* More symbols than the format has. */
    assert_int_equal(dynamic_block(&bits, 287, 1, "001000000000000001", 0xffff),
                     ERR_CORRUPT);
    assert_int_equal(
        dynamic_block(&bits, 257, 31, "001000000000000001", 0xffff),
        ERR_CORRUPT);
    buf_free(&bits.gzip);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_zlib_compressed_comes_back),
        cmocka_unit_test(test_a_text_over_the_limit_is_too_big),
        cmocka_unit_test(test_a_cut_text_is_refused_at_every_byte),
        cmocka_unit_test(test_a_changed_bit_is_found_or_means_nothing),
        cmocka_unit_test(test_bytes_behind_the_last_block_are_refused),
        cmocka_unit_test(test_lengths_and_distances_that_do_not_exist),
        cmocka_unit_test(test_a_block_of_no_type_is_refused),
        cmocka_unit_test(test_codes_that_contradict_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
