/* hmac.c -- HMAC (RFC 2104), HKDF (RFC 5869) and PBKDF2 (RFC 8018) over
 * SHA-256. */
#include "crypto/crypto.h"

/* ---- HMAC ---- */

void hmac_init(struct hmac *hmac, struct bytes key)
{
    uint8_t pad[SHA256_BLOCK_BYTES] = {0};
    if (key.size > sizeof(pad)) {
        sha256(key, pad);
    } else if (key.size > 0) {
        memcpy(pad, key.data, key.size);
    }
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36;
    }
    sha256_init(&hmac->inner);
    sha256_add(&hmac->inner, bytes_of(pad, sizeof(pad)));
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    sha256_init(&hmac->outer);
    sha256_add(&hmac->outer, bytes_of(pad, sizeof(pad)));
    crypto_zero(pad, sizeof(pad));
}

void hmac_add(struct hmac *hmac, struct bytes data)
{
    sha256_add(&hmac->inner, data);
}

void hmac_finish(struct hmac *hmac, uint8_t tag[SHA256_BYTES])
{
    uint8_t digest[SHA256_BYTES];
    sha256_finish(&hmac->inner, digest);
    sha256_add(&hmac->outer, bytes_of(digest, sizeof(digest)));
    sha256_finish(&hmac->outer, tag);
    crypto_zero(digest, sizeof(digest));
}

void hmac_sha256(struct bytes key, struct bytes data, uint8_t tag[SHA256_BYTES])
{
    struct hmac hmac;
    hmac_init(&hmac, key);
    hmac_add(&hmac, data);
    hmac_finish(&hmac, tag);
}

/* ---- HKDF ---- */

void hkdf_extract(struct bytes salt, struct bytes secret,
                  uint8_t prk[SHA256_BYTES])
{
    /* HMAC pads a short key with zeros, so an empty salt is 32 zeros. */
    hmac_sha256(salt, secret, prk);
}

void hkdf_expand(const uint8_t prk[SHA256_BYTES], struct bytes info,
                 uint8_t *out, size_t size)
{
    must(size <= HKDF_BYTES_MAX);
    uint8_t block[SHA256_BYTES];
    for (size_t done = 0; done < size; done += SHA256_BYTES) {
        struct hmac hmac;
        uint8_t number = (uint8_t)(done / SHA256_BYTES + 1);
        hmac_init(&hmac, bytes_of(prk, SHA256_BYTES));
        if (done > 0) {
            hmac_add(&hmac, bytes_of(block, sizeof(block)));
        }
        hmac_add(&hmac, info);
        hmac_add(&hmac, bytes_of(&number, 1));
        hmac_finish(&hmac, block);
        memcpy(out + done, block, min_size(sizeof(block), size - done));
    }
    crypto_zero(block, sizeof(block));
}

/* ---- PBKDF2 ---- */

/* U of the next round: HMAC(password, U of this one). */
static void next_u(struct pbkdf2 *pbkdf2, struct hmac *hmac)
{
    hmac_finish(hmac, pbkdf2->u);
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        pbkdf2->key[i] ^= pbkdf2->u[i];
    }
    pbkdf2->rounds_left--;
}

void pbkdf2_init(struct pbkdf2 *pbkdf2, struct bytes password,
                 struct bytes salt, uint32_t rounds)
{
    static const uint8_t first_block[4] = {0, 0, 0, 1};
    must(rounds > 0);
    *pbkdf2 = (struct pbkdf2){.rounds_left = rounds};
    hmac_init(&pbkdf2->keyed, password);
    struct hmac hmac = pbkdf2->keyed;
    hmac_add(&hmac, salt);
    hmac_add(&hmac, bytes_of(first_block, sizeof(first_block)));
    next_u(pbkdf2, &hmac);
}

bool pbkdf2_step(struct pbkdf2 *pbkdf2, uint32_t rounds)
{
    for (; rounds > 0 && pbkdf2->rounds_left > 0; rounds--) {
        struct hmac hmac = pbkdf2->keyed;
        hmac_add(&hmac, bytes_of(pbkdf2->u, sizeof(pbkdf2->u)));
        next_u(pbkdf2, &hmac);
    }
    return pbkdf2->rounds_left == 0;
}

void pbkdf2_finish(struct pbkdf2 *pbkdf2, uint8_t key[SHA256_BYTES])
{
    must(pbkdf2->rounds_left == 0);
    memcpy(key, pbkdf2->key, SHA256_BYTES);
    crypto_zero(pbkdf2, sizeof(*pbkdf2));
}
