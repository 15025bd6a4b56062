/* test_crypto.c -- published vectors, and every way to cut a message.
 *
 * tests/unit/crypto/ holds vectors of the Wycheproof project, one file a
 * function; the vectors here are those of the standards themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"
#include "crypto/crypto.h"

/* ---- vectors in files ---- */

enum { FIELDS_MAX = 8, LINE_BYTES_MAX = 1 << 16 };

struct vector {
    const char *field[FIELDS_MAX];
    size_t count;
    struct buf decoded[FIELDS_MAX];
};

static struct bytes hex_field(struct vector *vector, size_t i)
{
    const char *text = vector->field[i];
    struct buf *out = &vector->decoded[i];
    assert_true(i < vector->count);
    out->size = 0;
    buf_reserve(out, 1);
    if (strcmp(text, "-") != 0) {
        size_t size = strlen(text) / 2;
        buf_reserve(out, size);
        assert_true(text_hex(bytes_of_string(text), out->data, size));
        out->size = size;
    }
    return buf_bytes(out);
}

static bool is_valid(const struct vector *vector)
{
    return strcmp(vector->field[1], "invalid") != 0;
}

/* Call `check` for every vector of the file; at least `least` must be there. */
static void each_vector(const char *name, size_t least,
                        void (*check)(struct vector *vector))
{
    static char line[LINE_BYTES_MAX];
    char path[64];
    struct vector vector = {0};
    size_t count = 0;
    snprintf(path, sizeof(path), "tests/unit/crypto/%s.txt", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        if (line[0] == '#') {
            continue;
        }
        assert_non_null(strchr(line, '\n'));
        char *rest = NULL;
        vector.count = 0;
        for (char *word = strtok_r(line, " \n", &rest); word;
             word = strtok_r(NULL, " \n", &rest)) {
            assert_true(vector.count < FIELDS_MAX);
            vector.field[vector.count++] = word;
        }
        check(&vector);
        count++;
    }
    assert_true(count >= least);
    for (size_t i = 0; i < FIELDS_MAX; i++) {
        buf_free(&vector.decoded[i]);
    }
    fclose(file);
}

static void assert_hex(const uint8_t *data, size_t size, const char *hex)
{
    struct buf text = {0};
    text_add_hex(&text, data, size);
    buf_add_u8(&text, 0);
    assert_string_equal((const char *)text.data, hex);
    buf_free(&text);
}

/* ---- SHA-256, HMAC, HKDF, PBKDF2 ---- */

static void test_sha256(void **state)
{
    (void)state;
    uint8_t digest[SHA256_BYTES];
    sha256(bytes_of(NULL, 0), digest);
    assert_hex(
        digest, sizeof(digest),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha256(bytes_of_string("abc"), digest);
    assert_hex(
        digest, sizeof(digest),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct sha256 hash;
    sha256_init(&hash);
    for (int i = 0; i < 1000000 / 50; i++) {
        sha256_add(&hash, bytes_of_string("aaaaaaaaaaaaaaaaaaaaaaaaa"
                                          "aaaaaaaaaaaaaaaaaaaaaaaaa"));
    }
    sha256_finish(&hash, digest);
    assert_hex(
        digest, sizeof(digest),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* The padding has a boundary at 55 and 56 bytes of a block. */
static void test_sha256_in_pieces(void **state)
{
    (void)state;
    uint8_t data[3 * SHA256_BLOCK_BYTES];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    for (size_t size = 0; size <= sizeof(data); size++) {
        uint8_t whole[SHA256_BYTES];
        sha256(bytes_of(data, size), whole);
        for (size_t cut = 0; cut <= size; cut++) {
            uint8_t pieces[SHA256_BYTES];
            struct sha256 hash;
            sha256_init(&hash);
            sha256_add(&hash, bytes_of(data, cut));
            sha256_add(&hash, bytes_of(data + cut, size - cut));
            sha256_finish(&hash, pieces);
            assert_memory_equal(pieces, whole, sizeof(whole));
        }
    }
}

static void check_hmac(struct vector *vector)
{
    uint8_t tag[SHA256_BYTES];
    struct bytes wanted = hex_field(vector, 4);
    hmac_sha256(hex_field(vector, 2), hex_field(vector, 3), tag);
    assert_true(wanted.size <= sizeof(tag));
    assert_int_equal(crypto_equal(tag, wanted.data, wanted.size),
                     is_valid(vector));
}

static void test_hmac(void **state)
{
    (void)state;
    each_vector("hmac", 170, check_hmac);
}

static void check_hkdf(struct vector *vector)
{
    uint8_t prk[SHA256_BYTES];
    static uint8_t key[HKDF_BYTES_MAX];
    size_t size = strtoul(vector->field[5], NULL, 10);
    struct bytes wanted = hex_field(vector, 6);
    if (!is_valid(vector)) {
        assert_true(size > HKDF_BYTES_MAX);
        return;
    }
    hkdf_extract(hex_field(vector, 3), hex_field(vector, 2), prk);
    hkdf_expand(prk, hex_field(vector, 4), key, size);
    assert_int_equal(wanted.size, size);
    assert_memory_equal(key, wanted.data, size);
}

static void test_hkdf(void **state)
{
    (void)state;
    each_vector("hkdf", 80, check_hkdf);
}

static void check_pbkdf2(struct vector *vector)
{
    uint8_t key[SHA256_BYTES];
    struct pbkdf2 pbkdf2;
    struct bytes wanted = hex_field(vector, 5);
    uint32_t rounds = (uint32_t)strtoul(vector->field[4], NULL, 10);
    pbkdf2_init(&pbkdf2, hex_field(vector, 2), hex_field(vector, 3), rounds);
    while (!pbkdf2_step(&pbkdf2, 100)) {
    }
    pbkdf2_finish(&pbkdf2, key);
    size_t size = min_size(wanted.size, sizeof(key));
    assert_int_equal(memcmp(key, wanted.data, size) == 0, is_valid(vector));
}

/* RFC 7914 section 11. */
static void test_pbkdf2(void **state)
{
    (void)state;
    each_vector("pbkdf2", 50, check_pbkdf2);
    static const struct {
        const char *password, *salt, *key;
        uint32_t rounds;
    } vectors[] = {
        {"passwd", "salt",
         "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc", 1},
        {"Password", "NaCl",
         "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56",
         80000},
    };
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        uint8_t key[SHA256_BYTES];
        struct pbkdf2 pbkdf2;
        pbkdf2_init(&pbkdf2, bytes_of_string(vectors[i].password),
                    bytes_of_string(vectors[i].salt), vectors[i].rounds);
        uint32_t slices = 0;
        while (!pbkdf2_step(&pbkdf2, 1000)) {
            slices++;
        }
        assert_int_equal(slices, (vectors[i].rounds - 1) / 1000);
        pbkdf2_finish(&pbkdf2, key);
        assert_hex(key, sizeof(key), vectors[i].key);
    }
}

/* ---- ChaCha20-Poly1305 ---- */

static void check_aead(struct vector *vector)
{
    uint8_t tag[AEAD_TAG_BYTES];
    struct bytes key = hex_field(vector, 2);
    struct bytes nonce = hex_field(vector, 3);
    struct bytes ad = hex_field(vector, 4);
    struct bytes text = hex_field(vector, 5);
    struct bytes sealed = hex_field(vector, 6);
    struct bytes wanted = hex_field(vector, 7);
    uint8_t *out = mem_alloc(text.size + 1);
    assert_int_equal(sealed.size, text.size);
    assert_int_equal(wanted.size, sizeof(tag));

    memset(out, 0xee, text.size + 1);
    bool opened = aead_open(key.data, nonce.data, ad, sealed, wanted.data, out);
    assert_int_equal(opened, is_valid(vector));
    if (opened) {
        assert_memory_equal(out, text.data, text.size);
    } else {
        for (size_t i = 0; i < text.size; i++) {
            assert_int_equal(out[i], 0xee); /* Nothing was written. */
        }
    }
    /* In place. */
    if (text.size > 0) {
        memcpy(out, text.data, text.size);
    }
    aead_seal(key.data, nonce.data, ad, bytes_of(out, text.size), out, tag);
    if (is_valid(vector)) {
        assert_memory_equal(out, sealed.data, sealed.size);
        assert_memory_equal(tag, wanted.data, sizeof(tag));
    }
    assert_int_equal(out[text.size], 0xee);
    mem_free(out);
}

static void test_aead(void **state)
{
    (void)state;
    each_vector("aead", 300, check_aead);
}

/* One bit of anything that went in, changed: it does not open. */
/* Blocks are encrypted four at a time, and the rest one by one. */
static void test_aead_is_the_same_in_all_sizes(void **state)
{
    (void)state;
    enum { BYTES = 1100 };
    static const uint8_t key[AEAD_KEY_BYTES] = {1};
    static const uint8_t nonce[AEAD_NONCE_BYTES] = {2};
    static const uint8_t zeros[BYTES];
    static uint8_t whole[BYTES], out[BYTES + 1];
    uint8_t tag[AEAD_TAG_BYTES];
    struct bytes ad = bytes_of(NULL, 0);
    aead_seal(key, nonce, ad, bytes_of(zeros, BYTES), whole, tag);
    for (size_t size = 0; size < BYTES; size++) {
        memset(out, 7, sizeof(out));
        aead_seal(key, nonce, ad, bytes_of(zeros, size), out, tag);
        assert_memory_equal(out, whole, size);
        assert_int_equal(out[size], 7);
        assert_true(aead_open(key, nonce, ad, bytes_of(out, size), tag, out));
        assert_memory_equal(out, zeros, size);
    }
    for (size_t at = 0; at < BYTES - 64; at += 64) {
        assert_memory_not_equal(whole + at, whole + at + 64,
                                min_size(64, BYTES - at - 64));
    }
}

static void test_aead_refuses_every_change(void **state)
{
    (void)state;
    enum { TEXT_BYTES = 70, AD_BYTES = 20 };
    uint8_t all[AEAD_KEY_BYTES + AEAD_NONCE_BYTES + AD_BYTES + TEXT_BYTES +
                AEAD_TAG_BYTES];
    uint8_t out[TEXT_BYTES];
    uint8_t *key = all;
    uint8_t *nonce = key + AEAD_KEY_BYTES;
    uint8_t *ad = nonce + AEAD_NONCE_BYTES;
    uint8_t *text = ad + AD_BYTES;
    uint8_t *tag = text + TEXT_BYTES;
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (uint8_t)(i * 31);
    }
    aead_seal(key, nonce, bytes_of(ad, AD_BYTES), bytes_of(text, TEXT_BYTES),
              text, tag);
    for (size_t bit = 0; bit < 8 * sizeof(all); bit++) {
        all[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(aead_open(key, nonce, bytes_of(ad, AD_BYTES),
                               bytes_of(text, TEXT_BYTES), tag, out));
        all[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(aead_open(key, nonce, bytes_of(ad, AD_BYTES),
                          bytes_of(text, TEXT_BYTES), tag, out));
    /* A shorter text or ad, or a byte moved from the one to the other. */
    assert_false(aead_open(key, nonce, bytes_of(ad, AD_BYTES),
                           bytes_of(text, TEXT_BYTES - 1), tag, out));
    assert_false(aead_open(key, nonce, bytes_of(ad, AD_BYTES - 1),
                           bytes_of(text, TEXT_BYTES), tag, out));
    assert_false(aead_open(key, nonce, bytes_of(ad, AD_BYTES + 1),
                           bytes_of(text + 1, TEXT_BYTES - 1), tag, out));
}

/* ---- X25519 ---- */

static void check_x25519(struct vector *vector)
{
    uint8_t shared[X25519_BYTES];
    static const uint8_t zeros[X25519_BYTES];
    struct bytes wanted = hex_field(vector, 4);
    bool is_secret =
        x25519(shared, hex_field(vector, 2).data, hex_field(vector, 3).data);
    assert_memory_equal(shared, wanted.data, sizeof(shared));
    assert_int_equal(is_secret, memcmp(shared, zeros, sizeof(zeros)) != 0);
}

static void test_x25519(void **state)
{
    (void)state;
    each_vector("x25519", 500, check_x25519);
}

/* RFC 7748 section 5.2: k and u change places a thousand times. */
static void test_x25519_iterated(void **state)
{
    (void)state;
    uint8_t k[X25519_BYTES] = {9};
    uint8_t u[X25519_BYTES] = {9};
    for (int i = 0; i < 1000; i++) {
        uint8_t out[X25519_BYTES];
        assert_true(x25519(out, k, u));
        memcpy(u, k, sizeof(u));
        memcpy(k, out, sizeof(k));
        if (i == 0) {
            assert_hex(k, sizeof(k),
                       "422c8e7a6227d7bca1350b3e2bb7279f"
                       "7897b87bb6854b783c60e80311ae3079");
        }
    }
    assert_hex(
        k, sizeof(k),
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

static void test_x25519_agrees(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        uint8_t secret[2][X25519_BYTES];
        uint8_t public[2][X25519_BYTES];
        uint8_t shared[2][X25519_BYTES];
        for (int side = 0; side < 2; side++) {
            uint8_t seed[2] = {(uint8_t)round, (uint8_t)side};
            sha256(bytes_of(seed, sizeof(seed)), secret[side]);
            x25519_public(public[side], secret[side]);
        }
        assert_true(x25519(shared[0], secret[0], public[1]));
        assert_true(x25519(shared[1], secret[1], public[0]));
        assert_memory_equal(shared[0], shared[1], X25519_BYTES);
    }
}

/* ---- secrets ---- */

static void test_equal_and_zero(void **state)
{
    (void)state;
    uint8_t a[33];
    uint8_t b[33];
    memset(a, 0x5a, sizeof(a));
    memset(b, 0x5a, sizeof(b));
    assert_true(crypto_equal(a, b, sizeof(a)));
    assert_true(crypto_equal(a, b, 0));
    for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(crypto_equal(a, b, sizeof(a)));
        assert_int_equal(crypto_equal(a, b, bit / 8), true);
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    crypto_zero(a, sizeof(a) - 1);
    for (size_t i = 0; i + 1 < sizeof(a); i++) {
        assert_int_equal(a[i], 0);
    }
    assert_int_equal(a[sizeof(a) - 1], 0x5a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_sha256_in_pieces),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_hkdf),
        cmocka_unit_test(test_pbkdf2),
        cmocka_unit_test(test_aead),
        cmocka_unit_test(test_aead_is_the_same_in_all_sizes),
        cmocka_unit_test(test_aead_refuses_every_change),
        cmocka_unit_test(test_x25519),
        cmocka_unit_test(test_x25519_iterated),
        cmocka_unit_test(test_x25519_agrees),
        cmocka_unit_test(test_equal_and_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
