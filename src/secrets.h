/* secrets.h -- the files that hold the daemon's secrets: --cluster-key, --auth
 * and --join-token-file.
 *
 * Each must be a regular file with mode 0600 or stricter, and is read whole.
 * The first two are read at the start and again on SIGHUP: a file that cannot
 * be used leaves the keys or rules in use as they are. The memory that a file
 * was read into is overwritten with zeros. */
#ifndef CRAFTD_SECRETS_H
#define CRAFTD_SECRETS_H

#include "api/api.h"
#include "auth/auth.h"
#include "config.h"
#include "peer/peer.h"

enum {
    /* "Bearer TOKEN" and a final 0. */
    SECRETS_CREDENTIALS_BYTES = AUTH_SECRET_BYTES_MAX + 8,
};

/* Each returns false when the file cannot be used; the reason is logged as an
 * error. */

/* Give the keys of --cluster-key, which must be set, to `peers`. */
MUST_CHECK bool secrets_load_cluster_key(const struct config *config,
                                         struct peers *peers);
/* Give the users and tokens of --auth, which must be set, to `api`. */
MUST_CHECK bool secrets_load_rules(const struct config *config,
                                   struct api *api);
/* Write the value of an Authorization header with the token of
 * --join-token-file, terminated. Without that flag `out` is left as it is. */
MUST_CHECK bool secrets_read_join_token(const struct config *config,
                                        char out[SECRETS_CREDENTIALS_BYTES]);

#endif
