/* join_token.c -- tokens that add one node each to the cluster.
 *
 * A token is kept as its hash, in memory only. The first node that it is used
 * for is kept as a hash too: the node may repeat its request, since it does so
 * until a member has reached it. */
#include "auth/auth_internal.h"
#include "base/text.h"

/* Permissions of the sender of a token. */
static const struct auth_user joining = {.kind = AUTH_USER_TOKEN,
                                         .perms = UINT32_C(1) << AUTH_JOIN};

static bool is_valid(const struct join_token *token, uint64_t now_ms)
{
    return token->serial > 0 && now_ms < token->expires_ms;
}

/* Nobody can foresee it: the state of `keyed` includes a random key. No header
 * has the same digest, since none holds a zero. */
static void make_text(const struct sha256 *keyed, uint64_t serial,
                      struct buf *text)
{
    static const char purpose[] = "\0join token";
    struct sha256 hash = *keyed;
    uint8_t digest[SHA256_BYTES];
    uint8_t number[8];
    store_u64(number, serial);
    sha256_add(&hash, bytes_of(purpose, sizeof(purpose)));
    sha256_add(&hash, bytes_of(number, sizeof(number)));
    sha256_finish(&hash, digest);
    text_add_hex(text, digest, sizeof(digest));
}

enum err auth_join_token_new(struct auth *auth, uint64_t now_ms,
                             struct buf *text)
{
    struct join_tokens *tokens = auth_join_tokens(auth);
    struct join_token *place = NULL;
    text->size = 0;
    for (size_t i = 0; i < ARRAY_COUNT(tokens->list); i++) {
        if (!is_valid(&tokens->list[i], now_ms)) {
            place = &tokens->list[i];
        }
    }
    if (!place) {
        return ERR_BUSY;
    }
    *place = (struct join_token){.serial = ++tokens->serial,
                                 .expires_ms = now_ms + AUTH_JOIN_TOKEN_MS};
    make_text(auth_keyed(auth), place->serial, text);
    sha256(buf_bytes(text), place->hash);
    return ERR_OK;
}

struct auth_match join_token_find(const struct join_tokens *tokens,
                                  const uint8_t hash[SHA256_BYTES],
                                  uint64_t now_ms)
{
    struct auth_match match = {0};
    for (size_t i = 0; i < ARRAY_COUNT(tokens->list); i++) {
        const struct join_token *token = &tokens->list[i];
        bool equal = crypto_equal(token->hash, hash, SHA256_BYTES);
        if (equal && is_valid(token, now_ms)) {
            match = (struct auth_match){.user = &joining,
                                        .join_token = token->serial};
        }
    }
    return match;
}

bool auth_may_join(struct auth *auth, const struct auth_identity *identity,
                   struct bytes node, uint64_t now_ms)
{
    uint8_t hash[SHA256_BYTES];
    if (identity->join_token == 0) {
        return auth_may(identity, AUTH_JOIN, (struct bytes){0});
    }
    struct join_tokens *tokens = auth_join_tokens(auth);
    sha256(node, hash);
    for (size_t i = 0; i < ARRAY_COUNT(tokens->list); i++) {
        struct join_token *token = &tokens->list[i];
        if (token->serial != identity->join_token || !is_valid(token, now_ms)) {
            continue;
        }
        if (!token->used) {
            token->used = true;
            memcpy(token->node, hash, sizeof(hash));
        }
        return crypto_equal(token->node, hash, sizeof(hash));
    }
    return false;
}
