/* auth.h -- identifies clients, and decides what they may do: the rules of
 * --auth FILE.
 *
 * The file is a JSON array with an object for each user or token:
 *
 *     [{"username": "bob", "password": "pbkdf2-sha256:100000:SALT:HASH",
 *       "perms": ["read:svc/", "write:svc/", "status"]},
 *      {"token": "sha256:HASH", "perms": ["all"]},
 *      {"username": "*", "perms": ["ready"]}]
 *
 * SALT and HASH are hexadecimal: HASH is PBKDF2-HMAC-SHA-256 (RFC 8018) of the
 * password, or SHA-256 of the token. No password and no token is in the file.
 * The user "*" is everybody, with and without credentials; "uid:1000" is a
 * process of that user at the other end of a Unix socket. Neither has a
 * password.
 *
 * A permission is one of AUTH_PERM_LIST, or "all". With "read:PREFIX" and
 * "write:PREFIX" it is for the keys that begin with PREFIX, byte for byte, and
 * for lists and deletions below it. "watch" and "query" are read, "execute" is
 * write. While no object of the file names "ready", everybody has it.
 *
 * Checking a password is slow by design, so it is done in slices
 * (auth_run()), one password at a time, the addresses in turn. Correct
 * credentials are remembered, as a hash with a random key of this process,
 * until the rules change: then a request costs one short hash. Wrong ones make
 * the next unknown credentials from the same address wait: 100 ms, and twice as
 * long for each further one, up to AUTH_DELAY_MAX_MS. Remembered credentials
 * are never delayed. An address is forgiven one failure every AUTH_FORGIVE_MS.
 *
 * Known limits: clients behind one proxy have one address. There a flood of
 * wrong passwords delays credentials that are not remembered yet. While a flood
 * comes from AUTH_ADDRESSES addresses, passwords that are not remembered end in
 * AUTH_CROWDED, but tokens do not.
 *
 * A check that has begun is finished even if its client goes away, so that
 * going away saves nobody the delay, and a client that comes back finds the
 * result.
 *
 * The room is pure: files, time and entropy are the caller's. */
#ifndef CRAFTD_AUTH_AUTH_H
#define CRAFTD_AUTH_AUTH_H

#include "base/bytes.h"

enum {
    AUTH_FILE_BYTES_MAX = 256 << 10,
    AUTH_USERS_MAX = 1024,
    AUTH_PERMS_MAX = 64, /* Permissions of one user. */
    AUTH_NAME_BYTES_MAX = 64,
    AUTH_PREFIX_BYTES_MAX = 1024, /* As COMMAND_KEY_BYTES_MAX. */
    AUTH_SALT_BYTES_MIN = 8,
    AUTH_SALT_BYTES_MAX = 32,
    AUTH_ROUNDS_MIN = 1000,
    AUTH_ROUNDS_MAX = 10000000,
    /* Upper bound of "user:password", and of a token. */
    AUTH_SECRET_BYTES_MAX = 512,
    AUTH_KEY_BYTES = 32,
    /* Upper bound on addresses that are delayed or have waiting checks. */
    AUTH_ADDRESSES = 256,
    AUTH_DELAY_MIN_MS = 100,
    AUTH_DELAY_MAX_MS = 5000,
    AUTH_FORGIVE_MS = 10000,
    AUTH_WAIT_MAX_MS = 10000, /* Then a check ends as AUTH_CROWDED. */
    /* Upper bound on tokens for one join that are valid at a time, and the time
     * for which each of them is. */
    AUTH_JOIN_TOKENS_MAX = 16,
    AUTH_JOIN_TOKEN_MS = 600000,
    /* Upper bound of the sentence about a broken file, with its final 0. */
    AUTH_WHY_BYTES = 256,
};

/* ---- permissions ---- */

#define AUTH_PERM_LIST(X)                                                      \
    X(READ, "read")                                                            \
    X(WRITE, "write")                                                          \
    X(LEASE, "lease")                                                          \
    X(STATUS, "status")                                                        \
    X(READY, "ready")                                                          \
    X(JOIN, "join")                                                            \
    X(REMOVE, "remove")                                                        \
    X(BACKUP, "backup")                                                        \
    X(LOAD, "load")                                                            \
    X(SNAPSHOT, "snapshot")                                                    \
    X(LEADER_OPS, "leader-ops")

enum auth_perm {
    AUTH_PERM_NONE, /* No permission: nobody has it. */
#define X(name, text) AUTH_##name,
    AUTH_PERM_LIST(X)
#undef X
        AUTH_PERM_COUNT,
};

const char *auth_perm_name(enum auth_perm perm);

/* The identity of a requester. Zero: a stranger, who may do nothing at all. */
struct auth_identity {
    bool unrestricted;            /* There are no rules. */
    struct auth_rules *rules;     /* PRIVATE: held until auth_release(). */
    const struct auth_user *user; /* PRIVATE; NULL: nobody in particular. */
    /* A token for one join, with which only auth_may_join() decides; 0: none.
     */
    uint64_t join_token;
};

/* True if the identity has the permission `perm`. READ and WRITE are asked for
 * `key` and for every key that begins with it, so that an empty key stands for
 * all keys. Other permissions ignore `key`. */
MUST_CHECK bool auth_may(const struct auth_identity *identity,
                         enum auth_perm perm, struct bytes key);
/* True if the identity has `perm` for `key`, or for some key that begins with
 * it. */
MUST_CHECK bool auth_may_below(const struct auth_identity *identity,
                               enum auth_perm perm, struct bytes key);
/* For a scan of keys in byte order that has reached `key`, for which the
 * identity does not have `perm`: the prefix of the next keys for which it has,
 * after `key` or, with `reverse`, before it. The view is valid while the
 * identity is held. False: there are none. */
MUST_CHECK bool auth_next_prefix(const struct auth_identity *identity,
                                 enum auth_perm perm, struct bytes key,
                                 bool reverse, struct bytes *prefix);
/* True if the identity is a user or a token of the file, or if the file has an
 * object for "*", which is everybody. */
MUST_CHECK bool auth_is_known(const struct auth_identity *identity);
/* True if the identity may do more than ask the probes: it has a permission
 * besides "ready". */
MUST_CHECK bool auth_is_trusted(const struct auth_identity *identity);
/* The name of the identity, a view that is valid while the identity is held.
 * Its data is NULL for a token and for an identity without a name. */
struct bytes auth_name(const struct auth_identity *identity);
/* Add the permissions of the identity, as the file has them ("status",
 * "read:svc/"): JSON strings with commas between them, behind the "[" that
 * `out` ends with. */
void auth_add_perms(const struct auth_identity *identity, struct buf *out);
/* The digest of what the identity sends, bound to the user: from the digest of
 * a request, another one for each user or token, the same on every node. Nobody
 * can find a request whose bound digest is that of another's. Without rules it
 * is `digest`. */
uint64_t auth_bind(const struct auth_identity *identity, uint64_t digest);
/* Release the identity; it is zero then. Safe on a zero one. */
void auth_release(struct auth_identity *identity);

/* ---- rules ---- */

struct auth;

/* `key` is random, and copied. `waiting_max`: upper bound on waiting checks, of
 * which one address may have half; lowered to AUTH_ADDRESSES. When it is
 * reached, a new check replaces the newest one of the address with the most, if
 * that has more than the new one's address. There are no rules at first:
 * everybody is a stranger. */
struct auth *auth_new(const uint8_t key[AUTH_KEY_BYTES], uint32_t waiting_max);
/* Every check must have been ended. NULL is fine. */
void auth_free(struct auth *auth);

/* Take the rules of a file, all or none. Remembered credentials are forgotten,
 * and what is being checked is checked by the new rules.
 *
 * ERR_INVALID  the file is broken, the old rules stay; `why` says where
 * ERR_TOO_BIG  it is over AUTH_FILE_BYTES_MAX; likewise */
MUST_CHECK enum err auth_set_rules(struct auth *auth, struct bytes file,
                                   char why[AUTH_WHY_BYTES]);
/* True if the identity is one by the rules in force. */
MUST_CHECK bool auth_is_current(const struct auth *auth,
                                const struct auth_identity *identity);
/* Number of users and tokens of the rules. */
uint32_t auth_user_count(const struct auth *auth);

/* ---- tokens for one join ----
 *
 * Such a token is sent as others are ("Bearer"), and is known to this process
 * alone. It has the permission "join", for the first node that it is used for
 * and for AUTH_JOIN_TOKEN_MS. auth_set_rules() revokes all. */

/* Make a token; `text` becomes the token, hexadecimal.
 *
 * ERR_BUSY  AUTH_JOIN_TOKENS_MAX are valid; `text` is empty */
MUST_CHECK enum err auth_join_token_new(struct auth *auth, uint64_t now_ms,
                                        struct buf *text);
/* True if the identity may add the node that the bytes describe: it has the
 * permission, and if it has it by a token, that token has not been used for
 * another node. The token is used then. */
MUST_CHECK bool auth_may_join(struct auth *auth,
                              const struct auth_identity *identity,
                              struct bytes node, uint64_t now_ms);

/* ---- credentials ---- */

enum auth_verdict {
    AUTH_ACCEPTED, /* The identity is set; the caller releases it. */
    AUTH_REJECTED, /* The credentials are wrong, or malformed. */
    AUTH_PENDING,  /* They are being checked: see auth_check. */
    AUTH_CROWDED,  /* Too many are being checked: try again. */
};

/* Credentials that are being checked. Owned by the auth; the caller ends it. */
struct auth_check;
/* The check is done: auth_check_end() returns the verdict. Called by
 * auth_run(), and by an auth_identify() whose check replaces it; it must not
 * call back into the auth. */
typedef void auth_cb(void *arg);

/* Identify the sender of `authorization`, the value of the header (Basic, RFC
 * 7617; Bearer, RFC 6750); empty: nobody in particular, who is accepted.
 * `network` is the address that is delayed for wrong ones. *identity is zero or
 * one to be released; it is replaced with AUTH_ACCEPTED only. With AUTH_PENDING
 * *check is set, and `cb` will be called; `cb` NULL: AUTH_CROWDED instead. */
MUST_CHECK enum auth_verdict
auth_identify(struct auth *auth, struct bytes authorization, uint64_t network,
              uint64_t now_ms, struct auth_identity *identity,
              struct auth_check **check, auth_cb *cb, void *arg);
/* Identify the process of user `uid` at the other end of a Unix socket; one
 * without an object is nobody in particular. *identity as above. */
void auth_identify_uid(struct auth *auth, uint32_t uid,
                       struct auth_identity *identity);

/* End a check, whether it is done or not; the caller must not use it
 * afterwards. Returns its verdict. AUTH_PENDING means that it was not done, and
 * that its callback will not be called. *identity, zero or one to be released,
 * is replaced: by zero unless the verdict is AUTH_ACCEPTED. */
enum auth_verdict auth_check_end(struct auth_check *check,
                                 struct auth_identity *identity);

/* Do at most `rounds` of PBKDF2 for the check that is next; at most one check
 * is decided, with those of the same credentials. Returns the time of the next
 * call: `now_ms` when there is more to do now, UINT64_MAX when nothing waits.
 */
uint64_t auth_run(struct auth *auth, uint64_t now_ms, uint32_t rounds);

/* Number of wrong credentials since the start, including malformed ones. */
uint64_t auth_failures(const struct auth *auth);

#endif
