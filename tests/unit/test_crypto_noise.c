/* test_crypto_noise.c -- the published vector of the handshake, and what an
 * attacker between the two sides may try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "crypto/noise.h"

enum { PAYLOAD_BYTES_MAX = 64, MESSAGE_BYTES_MAX = 128 };

struct side {
    struct noise_handshake handshake;
    struct noise_cipher send;
    struct noise_cipher receive;
    uint8_t random[X25519_BYTES];
    uint8_t hash[SHA256_BYTES];
};

static struct bytes decode(const char *hex, uint8_t *out, size_t room)
{
    size_t size = strlen(hex) / 2;
    assert_true(size <= room);
    assert_true(text_hex(bytes_of_string(hex), out, size));
    return bytes_of(out, size);
}

static void assert_bytes(struct bytes a, struct bytes b)
{
    assert_true(bytes_equal(a, b));
}

/* The vector of cacophony (https://github.com/haskell-cryptography/cacophony,
 * vectors/cacophony.txt) for this protocol. */
static void test_vector(void **state)
{
    (void)state;
    static const char psk[] =
        "54686973206973206d7920417573747269616e20706572737065637469766521";
    static const char hash[] =
        "f4d03dc34495c95729ea6de9e1b59004b59733102488b3e24bc441e0be208eaf";
    static const char *const random[2] = {
        "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
        "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
    };
    static const char *const messages[6][2] = {
        {"4c756477696720766f6e204d69736573",
         "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
         "79b962b8aff8485742ac32f905ba45369e2465fb59e138a93d67a0d1266b6a54"},
        {"4d757272617920526f746862617264",
         "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
         "d6062704d5a9c422a8e834423f8c1feada7e8d0d910a1a2cd030fb584221e3"},
        {"462e20412e20486179656b",
         "e632c3763d7669067383433197a3baddf146e9e70ad4b4e9e59e0f"},
        {"4361726c204d656e676572",
         "64c6bee32ea91c8474bb4c21d7a700109ad45af77b29764ba5eb1e"},
        {"4a65616e2d426170746973746520536179",
         "e2fa0bed0603b62d3ccac2ecabbf3fe33f3e86514909b323361626266cb2471c"
         "c8"},
        {"457567656e2042f6686d20766f6e2042617765726b",
         "0c01dc9cec1fe4ddd692e8dd32188aa351088dc91183639a53b57aa4692b5ebd"
         "ef8b8ca111"},
    };
    struct side side[2];
    uint8_t key[NOISE_KEY_BYTES];
    uint8_t text[PAYLOAD_BYTES_MAX];
    uint8_t wanted[MESSAGE_BYTES_MAX];
    uint8_t out[MESSAGE_BYTES_MAX];
    uint8_t opened[PAYLOAD_BYTES_MAX];
    (void)decode(psk, key, sizeof(key));
    for (int i = 0; i < 2; i++) {
        (void)decode(random[i], side[i].random, sizeof(side[i].random));
        noise_init(&side[i].handshake, key, bytes_of_string("John Galt"));
    }
    for (int i = 0; i < 6; i++) {
        struct side *from = &side[i % 2];
        struct side *to = &side[1 - i % 2];
        struct bytes payload = decode(messages[i][0], text, sizeof(text));
        struct bytes sealed = decode(messages[i][1], wanted, sizeof(wanted));
        if (i == 0) {
            noise_write_first(&from->handshake, from->random, payload, out);
            assert_true(noise_read_first(&to->handshake, sealed, opened));
        } else if (i == 1) {
            assert_true(noise_write_second(&from->handshake, from->random,
                                           payload, out));
            assert_true(noise_read_second(&to->handshake, sealed, opened));
            for (int k = 0; k < 2; k++) {
                uint8_t name[SHA256_BYTES];
                noise_split(&side[k].handshake, k == 0, &side[k].send,
                            &side[k].receive, side[k].hash);
                assert_bytes(bytes_of(side[k].hash, SHA256_BYTES),
                             decode(hash, name, sizeof(name)));
            }
        } else {
            noise_seal(&from->send, bytes_of(NULL, 0), payload, out);
            assert_true(
                noise_open(&to->receive, bytes_of(NULL, 0), sealed, opened));
        }
        assert_bytes(bytes_of(out, sealed.size), sealed);
        assert_bytes(bytes_of(opened, payload.size), payload);
    }
}

/* ---- attackers ---- */

/* A first message of ours in `first`, of 5 bytes of payload, and the answer
 * in `second`. False where a side refuses. */
enum { HELLO_BYTES = 5, HELLO_MESSAGE_BYTES = HELLO_BYTES + 48 };

struct exchange {
    struct side side[2];
    uint8_t first[HELLO_MESSAGE_BYTES];
    uint8_t second[HELLO_MESSAGE_BYTES];
};

static void begin(struct exchange *x, uint8_t key_byte, const char *prologue)
{
    uint8_t key[NOISE_KEY_BYTES];
    memset(key, key_byte, sizeof(key));
    *x = (struct exchange){0};
    for (int i = 0; i < 2; i++) {
        memset(x->side[i].random, 0x11 * (i + 1), X25519_BYTES);
        noise_init(&x->side[i].handshake, key, bytes_of_string(prologue));
    }
    noise_write_first(&x->side[0].handshake, x->side[0].random,
                      bytes_of_string("hello"), x->first);
}

static bool respond(struct exchange *x)
{
    uint8_t out[HELLO_BYTES];
    return noise_read_first(&x->side[1].handshake,
                            bytes_of(x->first, sizeof(x->first)), out) &&
           noise_write_second(&x->side[1].handshake, x->side[1].random,
                              bytes_of_string("there"), x->second);
}

static bool complete(struct exchange *x)
{
    uint8_t out[HELLO_BYTES];
    if (!noise_read_second(&x->side[0].handshake,
                           bytes_of(x->second, sizeof(x->second)), out)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        noise_split(&x->side[i].handshake, i == 0, &x->side[i].send,
                    &x->side[i].receive, NULL);
    }
    return true;
}

static void test_every_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct exchange x;
    for (size_t bit = 0; bit < (size_t)8 * HELLO_MESSAGE_BYTES; bit++) {
        begin(&x, 7, "craftd");
        x.first[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(respond(&x));
        begin(&x, 7, "craftd");
        assert_true(respond(&x));
        x.second[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(complete(&x));
    }
}

static void test_wrong_key_or_prologue_is_refused(void **state)
{
    (void)state;
    struct exchange x;
    struct exchange other;
    begin(&x, 7, "craftd");
    begin(&other, 8, "craftd");
    memcpy(x.first, other.first, sizeof(x.first));
    assert_false(respond(&x));
    begin(&x, 7, "craftd");
    begin(&other, 7, "other");
    memcpy(x.first, other.first, sizeof(x.first));
    assert_false(respond(&x));
    for (size_t size = 0; size < sizeof(x.first); size++) {
        uint8_t out[HELLO_BYTES];
        uint8_t *copy = mem_alloc(size + 1);
        begin(&x, 7, "craftd");
        memcpy(copy, x.first, size);
        assert_false(
            noise_read_first(&x.side[1].handshake, bytes_of(copy, size), out));
        mem_free(copy);
    }
}

/* The initiator's own message sent back to it, and the answer of another
 * exchange: neither ends a handshake. */
static void test_reflected_and_recorded_answers_are_refused(void **state)
{
    (void)state;
    struct exchange x;
    struct exchange recorded;
    begin(&x, 7, "craftd");
    memcpy(x.second, x.first, sizeof(x.second));
    assert_false(complete(&x));

    begin(&recorded, 7, "craftd");
    assert_true(respond(&recorded));
    begin(&x, 7, "craftd");
    memset(x.side[0].random, 0x33, X25519_BYTES);
    uint8_t key[NOISE_KEY_BYTES];
    memset(key, 7, sizeof(key));
    noise_init(&x.side[0].handshake, key, bytes_of_string("craftd"));
    noise_write_first(&x.side[0].handshake, x.side[0].random,
                      bytes_of_string("hello"), x.first);
    memcpy(x.second, recorded.second, sizeof(x.second));
    assert_false(complete(&x));
}

/* A recorded first message is answered, but who replays it cannot speak: the
 * channel's keys depend on the new answer. */
static void test_replayed_first_message_opens_no_channel(void **state)
{
    (void)state;
    struct exchange recorded;
    struct exchange x;
    uint8_t frame[4 + AEAD_TAG_BYTES];
    uint8_t out[4];
    begin(&recorded, 7, "craftd");
    assert_true(respond(&recorded));
    assert_true(complete(&recorded));
    noise_seal(&recorded.side[0].send, bytes_of(NULL, 0),
               bytes_of_string("ping"), frame);

    begin(&x, 7, "craftd");
    memcpy(x.first, recorded.first, sizeof(x.first));
    memset(x.side[1].random, 0x44, X25519_BYTES);
    assert_true(respond(&x));
    noise_split(&x.side[1].handshake, false, &x.side[1].send,
                &x.side[1].receive, NULL);
    assert_false(noise_open(&x.side[1].receive, bytes_of(NULL, 0),
                            bytes_of(frame, sizeof(frame)), out));
    assert_true(noise_open(&recorded.side[1].receive, bytes_of(NULL, 0),
                           bytes_of(frame, sizeof(frame)), out));
}

/* A public key of small order gives no secret. */
static void test_small_order_is_refused(void **state)
{
    (void)state;
    struct exchange x;
    uint8_t zeros[X25519_BYTES] = {0};
    begin(&x, 7, "craftd");
    assert_true(respond(&x));
    memcpy(x.side[1].handshake.public, zeros, sizeof(zeros));
    assert_false(noise_write_second(&x.side[1].handshake, x.side[1].random,
                                    bytes_of_string("there"), x.second));
}

/* Frames replayed, left out, reordered, cut, of the other direction, with
 * another ad. */
static void test_frames_open_in_order_and_once(void **state)
{
    (void)state;
    struct exchange x;
    enum { TEXT = 4, FRAME = TEXT + AEAD_TAG_BYTES };
    uint8_t frames[3][FRAME];
    uint8_t out[FRAME];
    struct bytes ad = bytes_of_string("ad");
    begin(&x, 7, "craftd");
    assert_true(respond(&x));
    assert_true(complete(&x));
    struct noise_cipher *to = &x.side[1].receive;
    for (int i = 0; i < 3; i++) {
        noise_seal(&x.side[0].send, ad, bytes_of_string("text"), frames[i]);
    }
    assert_memory_not_equal(frames[0], frames[1], FRAME);
    assert_false(noise_open(to, ad, bytes_of(frames[1], FRAME), out));
    assert_false(
        noise_open(to, bytes_of(NULL, 0), bytes_of(frames[0], FRAME), out));
    assert_false(
        noise_open(&x.side[0].receive, ad, bytes_of(frames[0], FRAME), out));
    for (size_t size = 0; size < FRAME; size++) {
        assert_false(noise_open(to, ad, bytes_of(frames[0], size), out));
    }
    assert_true(noise_open(to, ad, bytes_of(frames[0], FRAME), out));
    assert_false(noise_open(to, ad, bytes_of(frames[0], FRAME), out));
    assert_false(noise_open(to, ad, bytes_of(frames[2], FRAME), out));
    assert_true(noise_open(to, ad, bytes_of(frames[1], FRAME), out));
    assert_true(noise_open(to, ad, bytes_of(frames[2], FRAME), frames[2]));
    assert_memory_equal(frames[2], "text", TEXT);
}

/* Both sides change the key behind the same frame, by bytes or by frames, and
 * the old key opens nothing any more. */
static void test_keys_change_by_volume(void **state)
{
    (void)state;
    struct exchange x;
    uint8_t frame[4 + AEAD_TAG_BYTES];
    uint8_t out[4];
    for (int by_frames = 0; by_frames < 2; by_frames++) {
        begin(&x, 7, "craftd");
        assert_true(respond(&x));
        assert_true(complete(&x));
        struct noise_cipher *ends[2] = {&x.side[0].send, &x.side[1].receive};
        for (int i = 0; i < 2; i++) {
            ends[i]->bytes = by_frames ? 0 : NOISE_REKEY_BYTES - 6;
            ends[i]->frames = by_frames ? NOISE_REKEY_FRAMES - 2 : 0;
        }
        struct noise_cipher before = *ends[0];
        for (int i = 0; i < 4; i++) {
            noise_seal(ends[0], bytes_of(NULL, 0), bytes_of_string("text"),
                       frame);
            assert_true(noise_open(ends[1], bytes_of(NULL, 0),
                                   bytes_of(frame, sizeof(frame)), out));
            assert_int_equal(memcmp(before.key, ends[0]->key, 32) == 0, i < 1);
        }
        assert_int_equal(ends[0]->nonce, 4); /* It goes on. */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_every_flipped_bit_is_refused),
        cmocka_unit_test(test_wrong_key_or_prologue_is_refused),
        cmocka_unit_test(test_reflected_and_recorded_answers_are_refused),
        cmocka_unit_test(test_replayed_first_message_opens_no_channel),
        cmocka_unit_test(test_small_order_is_refused),
        cmocka_unit_test(test_frames_open_in_order_and_once),
        cmocka_unit_test(test_keys_change_by_volume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
