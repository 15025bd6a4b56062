/* import.c -- writes the keys and values of a dump, in transactions.
 *
 * To write a key again is no harm: an import that was interrupted is run again
 * from its start, and one that is run twice leaves the same keys and values. So
 * a batch whose outcome is unknown is sent again, without an Idempotency-Key,
 * which would push out the results that others keep under theirs. Keys that the
 * dump does not have stay as they are. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "client/client_internal.h"
#include "client/dump_internal.h"
#include "client/progress_internal.h"
#include "sys/sys.h"

enum {
    BATCH_KEYS = 512,          /* Upper bound on operations of a transaction. */
    BATCH_BYTES_MAX = 1 << 20, /* Upper bound on `batch_bytes`. */
    BODY_BYTES_MAX = 4 << 20,
    KEY_BYTES_MAX = 1024,      /* Limits of servers; that of values ... */
    VALUE_BYTES_MAX = 1 << 20, /* ... unless the server says another. */
    PAUSE_MS = 250,
};

struct import {
    const struct options *options;
    struct dump dump;
    uint64_t value_bytes_max;
    uint64_t batch_bytes; /* A batch with these is sent; a value of more than
                             half of them has a request of its own. */
    struct buf body;      /* The transaction: {"then":[ and its operations. */
    uint64_t batch_keys;
    uint64_t keys; /* Written, or with --dry-run read. */
    uint64_t bytes;
    struct progress progress;
};

static const char then[] = "{\"then\":[";

/* ---- sending ---- */

/* Ask the servers in turn, once. `key` NULL: send the body as a transaction;
 * otherwise as the value of this key. */
static int ask_all(const struct import *import, const struct bytes *key,
                   struct bytes body, struct buf *reasons)
{
    char addr[SERVER_BYTES];
    char why[REQUEST_WHY_BYTES] = "";
    const char *list = import->options->addr;
    int code = EXIT_AWAY;
    reasons->size = 0;
    while ((code == EXIT_AWAY || code == EXIT_UNKNOWN) &&
           client_next_server(&list, addr)) {
        struct request request;
        request_init(&request, key ? "PUT" : "POST", key ? "/key/" : "/txn");
        if (key) {
            http_percent_encode(&request.target, *key, true);
        } else {
            buf_add_string(&request.headers,
                           "Content-Type: application/json\r\n");
        }
        request.changes = true;
        request.has_body = true;
        request.body = body;
        code = request_ask(&request, import->options, addr, why);
        request_free(&request);
        if (code) {
            buf_printf(reasons, "%s%s: %s", reasons->size > 0 ? "; " : "", addr,
                       why);
        }
    }
    return code;
}

/* Send `keys` keys until they are written. */
static int send_keys(struct import *import, const struct bytes *key,
                     struct bytes body, uint64_t keys)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    struct buf reasons = {0};
    uint64_t end_ms = sys_now_ms() + import->options->timeout_ms;
    int code = ask_all(import, key, body, &reasons);
    while ((code == EXIT_AWAY || code == EXIT_UNKNOWN) &&
           sys_now_ms() + PAUSE_MS < end_ms) {
        (void)nanosleep(&pause, NULL);
        code = ask_all(import, key, body, &reasons);
    }
    if (code) {
        buf_add_u8(&reasons, '\0');
        client_say(import->options,
                   "%s (%llu keys were imported before; run it again to go on)",
                   (const char *)reasons.data,
                   (unsigned long long)import->keys);
    } else {
        import->keys += keys;
    }
    buf_free(&reasons);
    return code;
}

static int send_batch(struct import *import)
{
    if (import->batch_keys == 0) {
        return EXIT_DONE;
    }
    buf_add_string(&import->body, "]}");
    int code =
        send_keys(import, NULL, buf_bytes(&import->body), import->batch_keys);
    import->batch_keys = 0;
    import->body.size = 0;
    return code;
}

/* ---- the dump ---- */

/* Returns whether a value is text that JSON does not make longer than base64
 * would. */
static bool is_plain(struct bytes value)
{
    size_t escaped = 0;
    for (size_t i = 0; i < value.size; i++) {
        escaped += value.data[i] < ' ' ? 5 : 0;
    }
    return escaped <= value.size / 3 && json_is_utf8(value);
}

static void add_operation(struct import *import, const struct dump_pair *pair)
{
    struct buf *body = &import->body;
    buf_add_string(body, import->batch_keys == 0 ? then : ",");
    buf_add_string(body, "{\"put\":");
    json_add_string(body, pair->key);
    if (is_plain(pair->value)) {
        buf_add_string(body, ",\"value\":");
        json_add_string(body, pair->value);
    } else {
        buf_add_string(body, ",\"value_base64\":\"");
        text_add_base64(body, pair->value);
        buf_add_u8(body, '"');
    }
    buf_add_u8(body, '}');
    import->batch_keys++;
}

/* Returns NULL, or why the server would not take it. */
static const char *refusal_of(const struct import *import,
                              const struct dump_pair *pair)
{
    if (pair->key.size == 0 || pair->key.size > KEY_BYTES_MAX) {
        return "a key has 1 to 1024 bytes";
    }
    if (!json_is_utf8(pair->key) ||
        memchr(pair->key.data, '\0', pair->key.size)) {
        return "a key is UTF-8 without NUL";
    }
    return pair->value.size > import->value_bytes_max
               ? "the value is over the server's limit (--max-value)"
               : NULL;
}

static void say_refused(const struct import *import,
                        const struct dump_pair *pair, const char *why)
{
    struct buf key = {0};
    http_percent_encode(
        &key, bytes_of(pair->key.data, min_size(pair->key.size, 64)), true);
    client_say(import->options,
               "item %llu, key %.*s, %zu bytes of value: %s (%llu keys before "
               "it were %s)",
               (unsigned long long)import->dump.items, (int)key.size,
               key.size > 0 ? (const char *)key.data : "", pair->value.size,
               why, (unsigned long long)import->keys,
               import->options->dry_run ? "read" : "imported");
    buf_free(&key);
}

static int take_pair(struct import *import, const struct dump_pair *pair)
{
    const char *why = refusal_of(import, pair);
    if (why) {
        int code = send_batch(import);
        say_refused(import, pair, why);
        return code ? code : EXIT_FAILED;
    }
    import->bytes += pair->key.size + pair->value.size;
    if (import->options->dry_run) {
        import->keys++;
        return EXIT_DONE;
    }
    if (pair->value.size > import->batch_bytes / 2) {
        int code = send_batch(import);
        return code ? code : send_keys(import, &pair->key, pair->value, 1);
    }
    add_operation(import, pair);
    return import->batch_keys == BATCH_KEYS ||
                   import->body.size >= import->batch_bytes
               ? send_batch(import)
               : EXIT_DONE;
}

/* All has been read: an export says whether that is all there was. */
static int check_end(const struct import *import)
{
    const struct dump *dump = &import->dump;
    const char *done = import->options->dry_run ? "has" : "has were imported";
    if (dump->format != DUMP_CRAFTD ||
        (dump->has_end && dump->keys_total == dump->items)) {
        return EXIT_DONE;
    }
    if (!dump->has_end) {
        client_say(import->options,
                   "the export is not complete: its last line is missing; the "
                   "%llu keys that it %s",
                   (unsigned long long)import->keys, done);
    } else {
        client_say(import->options,
                   "the export is not complete: %llu of its %llu keys are "
                   "there",
                   (unsigned long long)dump->items,
                   (unsigned long long)dump->keys_total);
    }
    return EXIT_FAILED;
}

static int read_all(struct import *import)
{
    struct dump *dump = &import->dump;
    struct dump_pair pair;
    enum dump_result result;
    while ((result = dump_next(dump, &pair)) == DUMP_PAIR) {
        int code = take_pair(import, &pair);
        if (code) {
            return code;
        }
        progress_update(&import->progress, dump_offset(dump));
    }
    int code = send_batch(import);
    if (code) {
        return code;
    }
    if (result == DUMP_ERROR) {
        client_say(import->options,
                   "behind item %llu, at byte %llu: %s (--from names the "
                   "format); %llu keys before it were %s",
                   (unsigned long long)dump->items,
                   (unsigned long long)dump_offset(dump), dump->why,
                   (unsigned long long)import->keys,
                   import->options->dry_run ? "read" : "imported");
        return EXIT_FAILED;
    }
    return check_end(import);
}

/* ---- the command ---- */

static void read_limit(const struct buf *lines, const char *name,
                       uint64_t *limit)
{
    const char *at = strstr((const char *)lines->data, name);
    if (at) {
        at += strlen(name);
        (void)json_u64(bytes_of(at, strcspn(at, "\n")), limit);
    }
}

/* Ask for the limits of values and bodies. Without permission for /status, or
 * when no server answers, they are the usual ones: the server checks them in
 * any case. */
static void read_limits(struct import *import)
{
    char addr[SERVER_BYTES];
    char why[REQUEST_WHY_BYTES];
    const char *list = import->options->addr;
    uint64_t body = BODY_BYTES_MAX;
    int code = EXIT_AWAY;
    import->value_bytes_max = VALUE_BYTES_MAX;
    while (code == EXIT_AWAY && client_next_server(&list, addr)) {
        struct request request;
        struct buf lines = {0};
        request_init(&request, "GET", "/status");
        code = request_ask(&request, import->options, addr, why);
        if (!code && client_flatten(buf_bytes(&request.answer_body), &lines)) {
            buf_add_u8(&lines, '\0');
            read_limit(&lines, "\nlimits.value\t", &import->value_bytes_max);
            read_limit(&lines, "\nlimits.body\t", &body);
        }
        buf_free(&lines);
        request_free(&request);
    }
    import->batch_bytes = min_u64(BATCH_BYTES_MAX, body / 4);
}

static int report(const struct import *import)
{
    struct buf out = {0};
    buf_printf(&out, "keys\t%llu\nbytes\t%llu\n",
               (unsigned long long)import->keys,
               (unsigned long long)import->bytes);
    int code = client_print_bytes(import->options, buf_bytes(&out));
    buf_free(&out);
    return code;
}

static int import_from(const struct options *options, enum dump_format format,
                       int fd)
{
    struct stat file = {0};
    struct import import = {.options = options};
    bool sized = fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
    client_confine(options); /* The dump may come from a stranger. */
    read_limits(&import);
    dump_init(&import.dump, format, fd);
    progress_start(&import.progress, options, NULL,
                   sized ? (uint64_t)file.st_size : 0);
    int code = read_all(&import);
    progress_end();
    if (!code) {
        code = report(&import);
    }
    dump_free(&import.dump);
    buf_free(&import.body);
    return code;
}

int client_run_import(const struct options *options)
{
    const char *path = options->words[0];
    enum dump_format format = DUMP_CRAFTD;
    if (options->from && !dump_format_named(options->from, &format)) {
        client_say(options,
                   "--from is craftd, etcd, consul or redis; see craftd help "
                   "import");
        return EXIT_USAGE;
    }
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        client_say(options, "%s: %s", path, strerror(errno));
        return EXIT_FAILED;
    }
    int code = import_from(options, format, fd);
    if (!is_stdin) {
        close(fd);
    }
    return code;
}
