/* authfile.h -- for tests of src/auth: files of users, headers of clients, and
 * clients that log in. */
#ifndef CRAFTD_TESTS_SUPPORT_AUTHFILE_H
#define CRAFTD_TESTS_SUPPORT_AUTHFILE_H

#include "auth/auth.h"

/* Rounds of every password, and of a slice; places for checks. */
enum { ROUNDS = AUTH_ROUNDS_MIN, SLICE = 100, WAITING_MAX = 8 };

/* Add an object to those in `users`. `perms` is JSON: strings with commas.
 * `password` NULL: it has none. */
void add_user(struct buf *users, const char *name, const char *password,
              const char *perms);
void add_token(struct buf *users, const char *token, const char *perms);
/* The objects in `users`, which is emptied, as a file. */
enum err set_rules(struct auth *auth, struct buf *users, char *why);
/* The same for a new auth, without errors. */
struct auth *open_auth(struct buf *users);

/* Values of the header; valid until the next call. */
struct bytes basic(const char *user, const char *password);
struct bytes bearer(const char *token);

struct client {
    struct auth_check *check;
    struct auth_identity identity;
    unsigned done; /* Calls of the callback. */
};

enum auth_verdict ask(struct auth *auth, struct client *client,
                      struct bytes header, uint64_t network, uint64_t now_ms);
/* End its check. */
enum auth_verdict end(struct client *client);
/* Ask, and run slices until the answer is there. The time stands still, so no
 * delay ends meanwhile. */
enum auth_verdict log_in(struct auth *auth, struct client *client,
                         struct bytes header, uint64_t network,
                         uint64_t now_ms);

bool may(struct client *client, enum auth_perm perm, const char *with);
bool may_below(struct client *client, enum auth_perm perm, const char *with);

#endif
