/* auth_internal.h -- what the files of this room share.
 *
 *     rules.c       the file, and permissions
 *     auth.c        credentials: remembered, checked, delayed
 *     join_token.c  tokens for one join */
#ifndef CRAFTD_AUTH_AUTH_INTERNAL_H
#define CRAFTD_AUTH_AUTH_INTERNAL_H

#include "auth/auth.h"
#include "crypto/crypto.h"

enum auth_kind {
    AUTH_USER_PASSWORD,
    AUTH_USER_TOKEN,
    AUTH_USER_UID,
    AUTH_USER_EVERYBODY,
};

/* READ or WRITE below a prefix. */
struct auth_prefix {
    enum auth_perm perm;
    struct bytes text; /* Never empty. */
};

struct auth_user {
    enum auth_kind kind;
    struct bytes name;          /* Of a token: empty. */
    uint8_t hash[SHA256_BYTES]; /* Of the password or the token. */
    uint32_t rounds;
    uint32_t salt_size;
    uint8_t salt[AUTH_SALT_BYTES_MAX];
    uint32_t perms;        /* Bits of enum auth_perm: without a prefix. */
    uint32_t prefix_first; /* In rules->prefixes, ... */
    uint32_t prefix_count; /* ... and how many of them are the user's. */
};

/* Names and prefixes are views into `text`. */
struct auth_rules {
    uint32_t references;
    uint32_t user_count;
    uint32_t prefix_count;
    struct auth_user *users;
    struct auth_prefix *prefixes;
    const struct auth_user *everybody; /* NULL: the file has no "*". */
    uint8_t digest[SHA256_BYTES];      /* The file has it. */
    uint32_t perms_of_all;             /* What everybody has besides. */
    uint8_t *text;
};

/* ---- tokens for one join ---- */

struct join_token {
    uint64_t serial;            /* 0: none; never used again. */
    uint64_t expires_ms;        /* It is invalid from then on. */
    uint8_t hash[SHA256_BYTES]; /* Of the token. */
    bool used;                  /* `node` is set. */
    uint8_t node[SHA256_BYTES]; /* Hash of the node that it has been used for.
                                 */
};

/* All zero: there are none. */
struct join_tokens {
    uint64_t serial; /* Of the last one. */
    struct join_token list[AUTH_JOIN_TOKENS_MAX];
};

/* The sender of credentials. */
struct auth_match {
    const struct auth_user *user; /* NULL: the credentials are wrong. */
    uint64_t join_token;          /* Serial of one; 0: they are of a user. */
};

/* The valid token with that hash; all are compared, in constant time. */
struct auth_match join_token_find(const struct join_tokens *tokens,
                                  const uint8_t hash[SHA256_BYTES],
                                  uint64_t now_ms);
struct join_tokens *auth_join_tokens(struct auth *auth);
/* The state of a hash behind the random key. */
const struct sha256 *auth_keyed(const struct auth *auth);

/* ---- rules ---- */

/* Rules of a file, with one reference. See auth_set_rules(). */
MUST_CHECK enum err auth_rules_read(struct bytes file, struct auth_rules **out,
                                    char why[AUTH_WHY_BYTES]);
void auth_rules_release(struct auth_rules *rules);
/* The user of that name and kind. NULL: there is none. */
const struct auth_user *auth_rules_find(const struct auth_rules *rules,
                                        enum auth_kind kind, struct bytes name);
/* The token with that hash; every token is compared, in constant time. */
const struct auth_user *auth_rules_find_token(const struct auth_rules *rules,
                                              const uint8_t hash[SHA256_BYTES]);

#endif
