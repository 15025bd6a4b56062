/* keys.c -- the file of the cluster's keys. */
#include <stdio.h>

#include "base/text.h"
#include "crypto/crypto.h"
#include "peer/peer.h"

static struct bytes trim(struct bytes line)
{
    while (line.size > 0 && strchr(" \t\r", line.data[line.size - 1])) {
        line.size--;
    }
    while (line.size > 0 && strchr(" \t", line.data[0])) {
        line.data++;
        line.size--;
    }
    return line;
}

static bool take_line(struct bytes line, int number, struct peer_keys *keys,
                      char *why, size_t why_size)
{
    if (line.size == 0 || line.data[0] == '#') {
        return true;
    }
    if (keys->count == PEER_KEYS_MAX) {
        snprintf(why, why_size, "line %d: more than %d keys", number,
                 PEER_KEYS_MAX);
        return false;
    }
    if (!text_hex(line, keys->key[keys->count], PEER_KEY_BYTES)) {
        snprintf(why, why_size,
                 "line %d: a key is %d hexadecimal digits (craftd keygen)",
                 number, 2 * PEER_KEY_BYTES);
        return false;
    }
    keys->count++;
    return true;
}

bool peer_keys_parse(struct bytes text, struct peer_keys *keys, char *why,
                     size_t why_size)
{
    struct peer_keys found = {0};
    bool good = true;
    for (int number = 1; text.size > 0 && good; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end ? (size_t)(end - text.data) : text.size;
        good = take_line(trim(bytes_of(text.data, size)), number, &found, why,
                         why_size);
        size = min_size(size + 1, text.size);
        text = bytes_of(text.data + size, text.size - size);
    }
    if (good && found.count == 0) {
        snprintf(why, why_size, "there is no key in it (craftd keygen)");
        good = false;
    }
    if (good) {
        *keys = found;
    }
    crypto_zero(&found, sizeof(found));
    return good;
}
