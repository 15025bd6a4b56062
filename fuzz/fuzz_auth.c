/* fuzz_auth.c -- the input is a file of users, a zero byte, and the value of an
 * Authorization header. Properties: a file is taken whole or not at all, and
 * what is wrong is said with its place; only credentials of the file are
 * accepted; a permission for a key is one for all keys below it. */
#include <stdio.h>

#include "auth/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A password may have ten million rounds. */
enum { SLICES_MAX = 4, SLICE = 1000 };

static const char known[] =
    "[{\"token\":\"sha256:2bb80d537b1da3e38bd30361aa855686"
    "bde0eacd7162fef6a25fe97bf527a25b\",\"perms\":[\"read:a\"]}]"; /* secret */

static void on_done(void *arg)
{
    *(bool *)arg = true;
}

static enum auth_verdict log_in(struct auth *auth, struct bytes header,
                                struct auth_identity *identity)
{
    struct auth_check *check = NULL;
    bool done = false;
    enum auth_verdict verdict =
        auth_identify(auth, header, 1, 0, identity, &check, on_done, &done);
    must(verdict != AUTH_CROWDED);
    if (verdict != AUTH_PENDING) {
        return verdict;
    }
    for (int i = 0; i < SLICES_MAX && !done; i++) {
        must(auth_run(auth, 0, SLICE) == (done ? UINT64_MAX : 0));
    }
    verdict = auth_check_end(check, identity);
    must((verdict == AUTH_PENDING) == !done);
    return verdict;
}

static void check_identity(const struct auth_identity *identity,
                           struct bytes key)
{
    for (enum auth_perm perm = AUTH_PERM_NONE; perm < AUTH_PERM_COUNT; perm++) {
        bool all = auth_may(identity, perm, (struct bytes){0});
        bool allowed = auth_may(identity, perm, key);
        bool below = auth_may_below(identity, perm, key);
        must(!all || allowed);
        must(!allowed || below);
        must(perm != AUTH_PERM_NONE || !below);
        for (size_t size = 0; size < key.size && size < 64; size++) {
            struct bytes shorter = bytes_of(key.data, size);
            must(!auth_may(identity, perm, shorter) || allowed);
        }
    }
}

static void check_known(struct auth *auth)
{
    struct auth_identity identity = {0};
    must(auth_user_count(auth) == 1);
    must(log_in(auth, bytes_of_string("Bearer secret"), &identity) ==
         AUTH_ACCEPTED);
    must(auth_may(&identity, AUTH_READ, bytes_of_string("ab")));
    must(!auth_may(&identity, AUTH_READ, bytes_of_string("b")));
    auth_release(&identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[AUTH_KEY_BYTES] = {1};
    char why[AUTH_WHY_BYTES] = "";
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t file_size = zero ? (size_t)(zero - data) : size;
    struct bytes header =
        zero ? bytes_of(zero + 1, size - file_size - 1) : (struct bytes){0};
    struct auth_identity identity = {0};
    struct auth *auth = auth_new(key, 8);
    must(auth_set_rules(auth, bytes_of_string(known), why) == ERR_OK);
    check_known(auth);
    if (auth_set_rules(auth, bytes_of(data, file_size), why) != ERR_OK) {
        must(strncmp(why, "line ", 5) == 0 || file_size > AUTH_FILE_BYTES_MAX);
        check_known(auth);
    }
    must(auth_user_count(auth) <= AUTH_USERS_MAX);
    uint64_t failures = auth_failures(auth);
    enum auth_verdict verdict = log_in(auth, header, &identity);
    must((auth_failures(auth) > failures) == (verdict == AUTH_REJECTED));
    if (verdict == AUTH_ACCEPTED) {
        check_identity(&identity, header);
        must(header.size == 0 || auth_is_known(&identity));
        must(header.size == 0 || auth_user_count(auth) > 0);
    } else {
        must(!auth_is_known(&identity));
    }
    auth_release(&identity);
    auth_free(auth);
    return 0;
}
