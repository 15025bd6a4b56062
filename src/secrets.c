#include "secrets.h"

#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "host.h"

enum {
    KEY_FILE_BYTES_MAX = 4096,
    WHY_BYTES = 160,
};

static void erase(struct buf *text)
{
    crypto_zero(text->data, text->capacity);
    buf_free(text);
}

bool secrets_load_cluster_key(const struct config *config, struct peers *peers)
{
    const char *path = config->cluster_key;
    char why[WHY_BYTES];
    struct buf text = {0};
    struct peer_keys keys;
    must(path);
    bool good =
        host_read_secret(path, KEY_FILE_BYTES_MAX, &text, why, sizeof(why)) &&
        peer_keys_parse(buf_bytes(&text), &keys, why, sizeof(why));
    if (good) {
        peers_set_keys(peers, &keys, config->cluster_key_optional);
        log_info("cluster-key", "file=\"%s\" keys=%d optional=%s", path,
                 keys.count, config->cluster_key_optional ? "yes" : "no");
    } else {
        log_error("cluster-key", "file=\"%s\" why=\"%s\"", path, why);
    }
    crypto_zero(&keys, sizeof(keys));
    erase(&text);
    return good;
}

bool secrets_load_rules(const struct config *config, struct api *api)
{
    const char *path = config->auth;
    char why[AUTH_WHY_BYTES];
    struct buf text = {0};
    must(path);
    bool good =
        host_read_secret(path, AUTH_FILE_BYTES_MAX, &text, why, sizeof(why)) &&
        api_set_rules(api, buf_bytes(&text), why, sizeof(why)) == ERR_OK;
    if (good) {
        log_info("auth", "file=\"%s\" users=%u", path, api_rules_count(api));
    } else {
        log_error("auth", "file=\"%s\" why=\"%s\"", path, why);
    }
    erase(&text);
    return good;
}

bool secrets_read_join_token(const struct config *config,
                             char out[SECRETS_CREDENTIALS_BYTES])
{
    const char *path = config->join_token_file;
    char why[WHY_BYTES] = "not one token of at most 512 bytes";
    struct buf text = {0};
    if (!path) {
        return true;
    }
    bool good =
        host_read_secret(path, AUTH_SECRET_BYTES_MAX, &text, why, sizeof(why));
    while (good && text.size > 0 && text.data[text.size - 1] == '\n') {
        text.size--;
    }
    if (good) {
        good = text.size > 0 && text_is_word(buf_bytes(&text));
    }
    if (good) {
        (void)snprintf(out, SECRETS_CREDENTIALS_BYTES, "Bearer %.*s",
                       (int)text.size, (const char *)text.data);
    } else {
        log_error("start", "--join-token-file=%s why=\"%s\"", path, why);
    }
    erase(&text);
    return good;
}
