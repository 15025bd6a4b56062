/* credentials.c -- what the commands send so that the server knows them: the
 * Authorization header, from ~/.netrc, a file with a token, or a variable. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"
#include "client/client_internal.h"
#include "crypto/crypto.h"
#include "reactor/addr.h"
#include "reactor/reactor.h"
#include "sys/sandbox.h"

enum { FILE_BYTES_MAX = 64 << 10, NETRC_PATH_BYTES = 4096 };

static void forget(struct buf *secret)
{
    if (secret->data) {
        crypto_zero(secret->data, secret->capacity);
    }
    buf_free(secret);
}

/* All of a small file. False: `why` has the reason. */
static bool read_file(const char *path, struct buf *out, char *why,
                      size_t why_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t rc = fd < 0 ? -1 : 1;
    while (rc > 0 && out->size <= FILE_BYTES_MAX) {
        rc = read(fd, buf_reserve(out, FILE_BYTES_MAX), FILE_BYTES_MAX);
        out->size += rc > 0 ? (size_t)rc : 0;
    }
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (rc != 0) {
        (void)snprintf(why, why_size, "%s: %s", path,
                       rc < 0 ? strerror(error) : "over 64 KiB");
    }
    return rc == 0;
}

/* ---- ~/.netrc ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next word. A line that begins with '#' is a comment. */
static bool next_word(struct bytes *rest, struct bytes *word)
{
    const uint8_t *at = rest->data;
    const uint8_t *end = at + rest->size;
    bool fresh = true; /* At the start of a line, or of what is left of it. */
    while (at < end && (is_blank(*at) || (fresh && *at == '#'))) {
        if (*at == '#') {
            while (at < end && *at != '\n') {
                at++;
            }
        } else {
            fresh = *at == '\n';
            at++;
        }
    }
    const uint8_t *start = at;
    while (at < end && !is_blank(*at)) {
        at++;
    }
    *word = bytes_of(start, (size_t)(at - start));
    *rest = bytes_of(at, (size_t)(end - at));
    return word->size > 0;
}

/* A macro ends with an empty line. */
static void skip_macro(struct bytes *rest)
{
    const uint8_t *at = rest->data;
    const uint8_t *end = at + rest->size;
    while (at + 1 < end && !(at[0] == '\n' && at[1] == '\n')) {
        at++;
    }
    at = at + 1 < end ? at : end;
    *rest = bytes_of(at, (size_t)(end - at));
}

/* Login and password of the first entry for `host`, or of "default". False:
 * there is none. */
static bool find_entry(struct bytes text, const char *host, struct bytes *login,
                       struct bytes *password)
{
    struct bytes word;
    struct bytes value;
    bool ours = false;
    *login = (struct bytes){0};
    *password = (struct bytes){0};
    while (next_word(&text, &word)) {
        bool is_default = bytes_equal_string(word, "default");
        if (is_default || bytes_equal_string(word, "machine")) {
            if (ours) {
                return true;
            }
            value = (struct bytes){0};
            ours = is_default ||
                   (next_word(&text, &value) && http_equal_fold(value, host));
        } else if (bytes_equal_string(word, "macdef")) {
            skip_macro(&text);
        } else if (!next_word(&text, &value)) {
            break;
        } else if (ours && bytes_equal_string(word, "login")) {
            *login = value;
        } else if (ours && bytes_equal_string(word, "password")) {
            *password = value;
        }
    }
    return ours;
}

/* Its path; `room` is used if HOME has it. */
static const char *netrc_path(char room[NETRC_PATH_BYTES])
{
    const char *file = getenv("NETRC");
    const char *home = getenv("HOME");
    if (file && file[0]) {
        return file;
    }
    int size = snprintf(room, NETRC_PATH_BYTES, "%s/.netrc", home ? home : "");
    return size < NETRC_PATH_BYTES ? room : "";
}

static bool read_netrc(struct buf *text, char *why, size_t why_size)
{
    char room[NETRC_PATH_BYTES];
    return read_file(netrc_path(room), text, why, why_size);
}

/* ---- the header ---- */

static void add_basic(struct buf *out, struct bytes user_password)
{
    buf_add_string(out, "Authorization: Basic ");
    text_add_base64(out, user_password);
    buf_add_string(out, "\r\n");
}

static bool add_netrc(struct buf *out, const char *addr, char *why,
                      size_t why_size)
{
    char host[REACTOR_HOST_BYTES] = "";
    uint16_t port;
    struct buf text = {0};
    struct bytes login;
    struct bytes password;
    bool good = read_netrc(&text, why, why_size);
    if (good && addr_split(addr, host, &port) &&
        find_entry(buf_bytes(&text), host, &login, &password)) {
        struct buf pair = {0};
        buf_add_bytes(&pair, login);
        buf_add_u8(&pair, ':');
        buf_add_bytes(&pair, password);
        add_basic(out, buf_bytes(&pair));
        forget(&pair);
    }
    forget(&text);
    return good;
}

/* The file is read once: it may be a pipe, as of <(...) in a shell, and there
 * may be another server to ask. */
static bool add_token(struct buf *out, const char *path, char *why,
                      size_t why_size)
{
    static struct buf text;
    bool good = text.size > 0 || read_file(path, &text, why, why_size);
    struct bytes token = buf_bytes(&text);
    while (token.size > 0 && is_blank(token.data[token.size - 1])) {
        token.size--;
    }
    if (good && (token.size == 0 || !text_is_word(token))) {
        (void)snprintf(why, why_size, "%s is not one token", path);
        good = false;
    }
    if (good) {
        buf_add_string(out, "Authorization: Bearer ");
        buf_add_bytes(out, token);
        buf_add_string(out, "\r\n");
    } else {
        forget(&text);
    }
    return good;
}

/* A server that the user has named. Another one is known from a redirect only,
 * and may be anybody. */
static bool is_named(const struct options *options, const char *addr)
{
    const char *list = options->addr;
    char named[SERVER_BYTES];
    char full[REACTOR_ADDR_BYTES];
    char wanted[REACTOR_ADDR_BYTES];
    while (client_next_server(&list, named)) {
        if (strcmp(named, addr) == 0 ||
            (addr_full(named, full) && addr_full(addr, wanted) &&
             http_equal_fold(bytes_of_string(full), wanted))) {
            return true;
        }
    }
    return false;
}

bool client_add_credentials(struct buf *out, const struct options *options,
                            const char *addr, char *why, size_t why_size)
{
    const char *path = getenv("CRAFTD_TOKEN_FILE");
    const char *user = getenv("CRAFTD_USER");
    if (options->netrc) {
        return add_netrc(out, addr, why, why_size);
    }
    if (!is_named(options, addr)) {
        return true;
    }
    if (path && path[0]) {
        return add_token(out, path, why, why_size);
    }
    if (user && user[0] && !strchr(user, ':')) {
        (void)snprintf(why, why_size, "CRAFTD_USER is not user:password");
        return false;
    }
    if (user && user[0]) {
        add_basic(out, bytes_of_string(user));
    }
    return true;
}

void client_confine(const struct options *options)
{
    struct sandbox_status status;
    char room[NETRC_PATH_BYTES];
    const char *mode = getenv("CRAFTD_SANDBOX"); /* As for a node. */
    if (mode && strcmp(mode, "off") == 0) {
        return;
    }
    const char *const files[] = {
        getenv("CRAFTD_TOKEN_FILE"),
        options->netrc ? netrc_path(room) : NULL,
    };
    sandbox_enter_resolver(files, ARRAY_COUNT(files), &status);
}
