/* fuzz_crypto.c -- the input is keys and data. Property: every function of the
 * room gives what OpenSSL gives for the same input, and what was sealed opens
 * again. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>

#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_hashes(const uint8_t key[SHA256_BYTES], struct bytes text,
                         size_t cut)
{
    uint8_t ours[SHA256_BYTES];
    uint8_t theirs[SHA256_BYTES];
    struct sha256 hash;
    sha256_init(&hash);
    sha256_add(&hash, bytes_of(text.data, cut));
    sha256_add(&hash, bytes_of(text.data + cut, text.size - cut));
    sha256_finish(&hash, ours);
    must(EVP_Digest(text.data, text.size, theirs, NULL, EVP_sha256(), NULL));
    must(memcmp(ours, theirs, sizeof(ours)) == 0);

    /* The key is the part before the cut: empty, short or longer than a
     * block. */
    hmac_sha256(bytes_of(text.data, cut), bytes_of(key, SHA256_BYTES), ours);
    must(HMAC(EVP_sha256(), text.data, (int)cut, key, SHA256_BYTES, theirs,
              NULL));
    must(memcmp(ours, theirs, sizeof(ours)) == 0);

    struct pbkdf2 pbkdf2;
    int rounds = 1 + key[0] % 9;
    pbkdf2_init(&pbkdf2, text, bytes_of(key, SHA256_BYTES), (uint32_t)rounds);
    while (!pbkdf2_step(&pbkdf2, 3)) {
    }
    pbkdf2_finish(&pbkdf2, ours);
    must(PKCS5_PBKDF2_HMAC((const char *)text.data, (int)text.size, key,
                           SHA256_BYTES, rounds, EVP_sha256(), SHA256_BYTES,
                           theirs));
    must(memcmp(ours, theirs, sizeof(ours)) == 0);
}

static void check_hkdf(const uint8_t key[SHA256_BYTES], struct bytes text,
                       size_t cut)
{
    uint8_t prk[SHA256_BYTES];
    uint8_t ours[300];
    uint8_t theirs[300];
    size_t size = 1 + key[1];
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    hkdf_extract(bytes_of(text.data, cut), bytes_of(key, SHA256_BYTES), prk);
    /* OpenSSL keeps 1024 bytes of info at most. */
    struct bytes info =
        bytes_of(text.data + cut, min_size(text.size - cut, 1000));
    hkdf_expand(prk, info, ours, size);
    must(context && EVP_PKEY_derive_init(context) > 0 &&
         EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0 &&
         EVP_PKEY_CTX_set1_hkdf_salt(context, text.data, (int)cut) > 0 &&
         EVP_PKEY_CTX_set1_hkdf_key(context, key, SHA256_BYTES) > 0 &&
         EVP_PKEY_CTX_add1_hkdf_info(context, info.data, (int)info.size) > 0 &&
         EVP_PKEY_derive(context, theirs, &size) > 0);
    must(memcmp(ours, theirs, size) == 0);
    EVP_PKEY_CTX_free(context);
}

static void check_aead(const uint8_t key[AEAD_KEY_BYTES],
                       const uint8_t nonce[AEAD_NONCE_BYTES], struct bytes text,
                       size_t cut)
{
    struct bytes ad = bytes_of(text.data, cut);
    struct bytes plain = bytes_of(text.data + cut, text.size - cut);
    uint8_t *ours = mem_alloc(plain.size + 1);
    uint8_t *theirs = mem_alloc(plain.size + 1);
    uint8_t tag[AEAD_TAG_BYTES];
    uint8_t their_tag[AEAD_TAG_BYTES];
    int size = 0;
    aead_seal(key, nonce, ad, plain, ours, tag);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    must(context && EVP_EncryptInit_ex(context, EVP_chacha20_poly1305(), NULL,
                                       key, nonce));
    must(EVP_EncryptUpdate(context, NULL, &size, ad.data, (int)ad.size));
    must(
        EVP_EncryptUpdate(context, theirs, &size, plain.data, (int)plain.size));
    must(EVP_EncryptFinal_ex(context, theirs + size, &size));
    must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES,
                             their_tag));
    EVP_CIPHER_CTX_free(context);
    must(plain.size == 0 || memcmp(ours, theirs, plain.size) == 0);
    must(memcmp(tag, their_tag, sizeof(tag)) == 0);

    bool opened =
        aead_open(key, nonce, ad, bytes_of(ours, plain.size), tag, theirs);
    must(opened);
    must(plain.size == 0 || memcmp(theirs, plain.data, plain.size) == 0);
    tag[nonce[0] % sizeof(tag)] ^= (uint8_t)(1 << nonce[1] % 8);
    opened = aead_open(key, nonce, ad, bytes_of(ours, plain.size), tag, theirs);
    must(!opened);
    mem_free(ours);
    mem_free(theirs);
}

static void check_x25519(const uint8_t secret[X25519_BYTES],
                         const uint8_t peer[X25519_BYTES])
{
    uint8_t ours[X25519_BYTES];
    uint8_t theirs[X25519_BYTES];
    size_t size = sizeof(theirs);
    EVP_PKEY *own =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, 32);
    EVP_PKEY *other =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer, 32);
    must(own && other);
    x25519_public(ours, secret);
    must(EVP_PKEY_get_raw_public_key(own, theirs, &size));
    must(memcmp(ours, theirs, sizeof(ours)) == 0);

    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);
    size = sizeof(theirs);
    must(context && EVP_PKEY_derive_init(context) > 0 &&
         EVP_PKEY_derive_set_peer(context, other) > 0);
    bool agreed = EVP_PKEY_derive(context, theirs, &size) > 0;
    must(x25519(ours, secret, peer) == agreed);
    must(!agreed || memcmp(ours, theirs, sizeof(ours)) == 0);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(own);
    EVP_PKEY_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEAD_BYTES = 32 + 32 + AEAD_NONCE_BYTES + 2 };
    if (size < HEAD_BYTES || size > 1 << 16) {
        return 0;
    }
    const uint8_t *nonce = data + 64;
    struct bytes text = bytes_of(data + HEAD_BYTES, size - HEAD_BYTES);
    size_t cut =
        load_u16(data + 64 + AEAD_NONCE_BYTES) % (uint32_t)(text.size + 1);
    check_hashes(data, text, cut);
    check_hkdf(data, text, cut);
    check_aead(data, nonce, text, cut);
    check_x25519(data, data + 32);
    return 0;
}
