/* test_peer_channel.c -- the sealed channel of a link, without a network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "peer/channel.h"
#include "wire/wire.h"

static const uint8_t random_a[X25519_BYTES] = {1, 2, 3};
static const uint8_t random_b[X25519_BYTES] = {4, 5, 6};
static const struct peer_keys keys = {.count = 2, .key = {{7}, {8}}};
static struct channel a, b;
static struct buf wire;

static int setup(void **state)
{
    (void)state;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    channel_forget(&a);
    channel_forget(&b);
    buf_free(&wire);
    return 0;
}

/* a dials b with that key of the list. */
static void open_channels(int key)
{
    wire.size = 0;
    channel_dial(&a, keys.key[key], random_a, &wire);
    assert_int_equal(wire.size, CHANNEL_FIRST_BYTES);
    assert_true(channel_open_first(&b, &keys, buf_bytes(&wire)));
    wire.size = 0;
    assert_true(channel_answer(&b, random_b, &wire));
    assert_int_equal(wire.size, CHANNEL_SECOND_BYTES);
    assert_true(channel_open_second(&a, buf_bytes(&wire)));
    wire.size = 0;
}

static void seal(struct channel *from, const char *text)
{
    channel_seal(from, bytes_of_string(text), &wire);
}

/* The first record on the wire opens as `text`, and is taken off. */
static void opens(struct channel *to, const char *text)
{
    struct bytes got;
    size_t used;
    assert_int_equal(channel_open(to, wire.data, wire.size, &got, &used),
                     ERR_OK);
    assert_true(bytes_equal_string(got, text));
    buf_consume(&wire, used);
}

static enum err error_of(struct channel *to, const uint8_t *data, size_t size)
{
    struct bytes got;
    size_t used;
    uint8_t copy[256];
    must(size <= sizeof(copy));
    memcpy(copy, data, size);
    enum err err = channel_open(to, copy, size, &got, &used);
    assert_memory_equal(copy, data, size);
    return err;
}

/* ---- tests ---- */

static void test_both_directions_with_either_key(void **state)
{
    (void)state;
    for (int key = 0; key < 2; key++) {
        open_channels(key);
        assert_memory_equal(a.key, keys.key[key], NOISE_KEY_BYTES);
        assert_memory_equal(b.key, keys.key[key], NOISE_KEY_BYTES);
        for (int i = 0; i < 3; i++) {
            seal(&a, "to b");
            seal(&a, "to b again");
            opens(&b, "to b");
            opens(&b, "to b again");
            seal(&b, "to a");
            opens(&a, "to a");
        }
    }
}

static void test_a_text_of_any_size_is_one_stream(void **state)
{
    (void)state;
    enum { SIZE = 3 * CHANNEL_TEXT_BYTES_MAX + 5 };
    struct buf text = {0};
    struct buf got = {0};
    open_channels(0);
    for (uint32_t i = 0; text.size < SIZE; i++) {
        buf_add_u32(&text, i * 2654435761u);
    }
    channel_seal(&a, buf_bytes(&text), &wire);
    channel_seal(&a, bytes_of(NULL, 0), &wire);
    for (size_t at = 0; at < wire.size;) {
        struct bytes piece;
        size_t used;
        assert_int_equal(
            channel_open(&b, wire.data + at, wire.size - at, &piece, &used),
            ERR_OK);
        assert_true(used <= CHANNEL_RECORD_BYTES_MAX);
        buf_add_bytes(&got, piece);
        at += used;
    }
    assert_true(bytes_equal(buf_bytes(&text), buf_bytes(&got)));
    buf_free(&text);
    buf_free(&got);
}

static void test_a_record_opens_when_it_is_whole(void **state)
{
    (void)state;
    open_channels(0);
    seal(&a, "in pieces");
    for (size_t size = 0; size < wire.size; size++) {
        assert_int_equal(error_of(&b, wire.data, size), ERR_NOT_FOUND);
    }
    opens(&b, "in pieces");
}

static void test_a_changed_bit_is_found(void **state)
{
    (void)state;
    open_channels(0);
    seal(&a, "a record");
    for (size_t bit = 16; bit < 8 * wire.size; bit++) {
        wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(error_of(&b, wire.data, wire.size), ERR_CORRUPT);
        wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    opens(&b, "a record");
}

static void test_the_handshake_is_of_this_key_and_format(void **state)
{
    (void)state;
    static const struct peer_keys others = {.count = 2, .key = {{9}, {10}}};
    static const struct peer_keys first_only = {.count = 1, .key = {{7}, {8}}};
    channel_dial(&a, keys.key[1], random_a, &wire);
    assert_false(channel_open_first(&b, &others, buf_bytes(&wire)));
    assert_false(channel_open_first(&b, &first_only, buf_bytes(&wire)));
    for (size_t bit = 8 * CHANNEL_MAGIC_BYTES; bit < 8 * wire.size; bit++) {
        wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(channel_open_first(&b, &keys, buf_bytes(&wire)));
        wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(channel_open_first(&b, &keys, buf_bytes(&wire)));
    wire.size = 0;
    assert_true(channel_answer(&b, random_b, &wire));
    struct channel before = a;
    for (size_t bit = 0; bit < 8 * wire.size; bit += 5) {
        a = before;
        wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(channel_open_second(&a, buf_bytes(&wire)));
        wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    a = before;
    assert_true(channel_open_second(&a, buf_bytes(&wire)));
}

/* The version of the format is part of the proof. */
static void test_the_first_bytes(void **state)
{
    (void)state;
    struct wire_frame frame;
    channel_dial(&a, keys.key[0], random_a, &wire);
    for (size_t size = 0; size <= wire.size; size++) {
        assert_true(channel_may_be_first(bytes_of(wire.data, size)));
    }
    for (size_t i = 0; i < CHANNEL_MAGIC_BYTES; i++) {
        wire.data[i] ^= 1;
        assert_false(channel_may_be_first(bytes_of(wire.data, i + 1)));
        assert_true(channel_may_be_first(bytes_of(wire.data, i)));
        wire.data[i] ^= 1;
    }
    /* No node takes them for the beginning of a frame. */
    enum err err = wire_frame(buf_bytes(&wire), &frame);
    assert_true(err != ERR_OK && err != ERR_NOT_FOUND);
}

static void test_an_order_of_its_own(void **state)
{
    (void)state;
    open_channels(0);
    seal(&a, "one");
    size_t first = wire.size;
    seal(&a, "two");
    /* Skipped, then repeated. */
    assert_int_equal(error_of(&b, wire.data + first, wire.size - first),
                     ERR_CORRUPT);
    uint8_t one[64];
    memcpy(one, wire.data, first);
    opens(&b, "one");
    assert_int_equal(error_of(&b, one, first), ERR_CORRUPT);
    opens(&b, "two");
    assert_int_equal(error_of(&b, one, first), ERR_CORRUPT);
}

static void test_what_is_sent_back_does_not_open(void **state)
{
    (void)state;
    channel_dial(&a, keys.key[0], random_a, &wire);
    struct channel copy = a;
    /* The first message as its own answer. */
    assert_false(
        channel_open_second(&copy, bytes_of(wire.data + CHANNEL_MAGIC_BYTES,
                                            CHANNEL_SECOND_BYTES)));
    open_channels(0);
    seal(&a, "mine");
    assert_int_equal(error_of(&a, wire.data, wire.size), ERR_CORRUPT);
}

static void test_a_recording_opens_nowhere_else(void **state)
{
    (void)state;
    static const uint8_t random_c[X25519_BYTES] = {9, 9};
    struct buf first = {0};
    struct channel c = {0};
    channel_dial(&a, keys.key[0], random_a, &first);
    open_channels(0);
    seal(&a, "recorded");
    assert_true(channel_open_first(&c, &keys, buf_bytes(&first)));
    struct buf answer = {0};
    assert_true(channel_answer(&c, random_c, &answer));
    assert_int_equal(error_of(&c, wire.data, wire.size), ERR_CORRUPT);
    buf_free(&first);
    buf_free(&answer);
}

/* Two links between the same nodes, with the same key: what is of one does not
 * open in the other, in either direction, nor does half of its handshake. */
static void test_two_links_are_not_spliced(void **state)
{
    (void)state;
    static const uint8_t random_c[X25519_BYTES] = {9, 9};
    static const uint8_t random_d[X25519_BYTES] = {8, 8};
    struct channel c = {0};
    struct channel d = {0};
    struct buf first = {0};
    struct buf second = {0};
    channel_dial(&c, keys.key[0], random_c, &first);
    assert_true(channel_open_first(&d, &keys, buf_bytes(&first)));
    assert_true(channel_answer(&d, random_d, &second));
    /* The answer of one link is none for the other. */
    channel_dial(&a, keys.key[0], random_a, &wire);
    struct channel copy = a;
    assert_false(channel_open_second(&copy, buf_bytes(&second)));
    open_channels(0);
    assert_true(channel_open_second(&c, buf_bytes(&second)));
    struct channel *const links[2][2] = {{&a, &b}, {&c, &d}};
    for (int i = 0; i < 8; i++) {
        int link = i & 1;
        int from = i >> 1 & 1;
        wire.size = 0;
        seal(links[link][from], "same");
        assert_int_equal(error_of(links[!link][!from], wire.data, wire.size),
                         ERR_CORRUPT);
        assert_int_equal(error_of(links[!link][from], wire.data, wire.size),
                         ERR_CORRUPT);
        opens(links[link][!from], "same");
    }
    channel_forget(&c);
    channel_forget(&d);
    buf_free(&first);
    buf_free(&second);
}

static void test_a_public_key_of_small_order_is_refused(void **state)
{
    (void)state;
    /* The first message of somebody who has the key and no public key. */
    static const uint8_t none[X25519_BYTES];
    channel_dial(&a, keys.key[0], random_a, &wire);
    assert_true(channel_open_first(&b, &keys, buf_bytes(&wire)));
    memcpy(b.handshake.public, none, sizeof(none));
    wire.size = 0;
    assert_false(channel_answer(&b, random_b, &wire));
    assert_int_equal(wire.size, 0);
}

static void test_sizes_that_no_record_has(void **state)
{
    (void)state;
    uint8_t record[64] = {0};
    open_channels(0);
    for (uint16_t size = 0; size <= AEAD_TAG_BYTES; size++) {
        store_u16(record, size);
        assert_int_equal(error_of(&b, record, 2), ERR_CORRUPT);
    }
    store_u16(record, CHANNEL_TEXT_BYTES_MAX + AEAD_TAG_BYTES + 1);
    assert_int_equal(error_of(&b, record, 2), ERR_TOO_BIG);
    store_u16(record, CHANNEL_TEXT_BYTES_MAX + AEAD_TAG_BYTES);
    assert_int_equal(error_of(&b, record, 2), ERR_NOT_FOUND);
}

static void test_nothing_is_left_of_a_channel(void **state)
{
    (void)state;
    static const struct channel zeros;
    open_channels(0);
    channel_forget(&a);
    assert_memory_equal(&a, &zeros, sizeof(a));
}

/* ---- the file of keys ---- */

#define KEY_1 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define KEY_2 "FEDCBA9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static void test_files_of_keys(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int count; /* 0: refused. */
        const char *why;
    } files[] = {
        {KEY_1 "\n", 1, NULL},
        {KEY_1, 1, NULL},
        {KEY_1 "\n" KEY_2 "\n", 2, NULL},
        {"# old\r\n \t" KEY_1 " \r\n\r\n# new\r\n" KEY_2, 2, NULL},
        {"", 0, "there is no key in it (craftd keygen)"},
        {"# " KEY_1 "\n", 0, "there is no key in it (craftd keygen)"},
        {KEY_1 "\n" KEY_2 "\n" KEY_1, 0, "line 3: more than 2 keys"},
        {"\n" KEY_1 "0\n", 0,
         "line 2: a key is 64 hexadecimal digits (craftd keygen)"},
        {KEY_1 KEY_2, 0,
         "line 1: a key is 64 hexadecimal digits (craftd keygen)"},
        {"x123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 0,
         "line 1: a key is 64 hexadecimal digits (craftd keygen)"},
        {KEY_1 "\nnone", 0,
         "line 2: a key is 64 hexadecimal digits (craftd keygen)"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        struct peer_keys got = {.count = -1};
        char why[128] = "";
        bool good = peer_keys_parse(bytes_of_string(files[i].text), &got, why,
                                    sizeof(why));
        assert_int_equal(good, files[i].count > 0);
        assert_int_equal(got.count, good ? files[i].count : -1);
        if (!good) {
            assert_string_equal(why, files[i].why);
            continue;
        }
        assert_int_equal(got.key[0][0], 0x01);
        assert_int_equal(got.key[0][31], 0xef);
        assert_int_equal(got.key[1][0], got.count == 2 ? 0xfe : 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_both_directions_with_either_key),
        TEST(test_a_text_of_any_size_is_one_stream),
        TEST(test_a_record_opens_when_it_is_whole),
        TEST(test_a_changed_bit_is_found),
        TEST(test_the_handshake_is_of_this_key_and_format),
        TEST(test_the_first_bytes),
        TEST(test_an_order_of_its_own),
        TEST(test_what_is_sent_back_does_not_open),
        TEST(test_a_recording_opens_nowhere_else),
        TEST(test_two_links_are_not_spliced),
        TEST(test_a_public_key_of_small_order_is_refused),
        TEST(test_sizes_that_no_record_has),
        TEST(test_nothing_is_left_of_a_channel),
        TEST(test_files_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
