/* keys.c -- get, put, del of one key, txn: one request each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "client/client_internal.h"

static void init_key_request(struct request *request, const char *method,
                             const char *key)
{
    request_init(request, method, "/key/");
    request->key = key;
    http_percent_encode(&request->target, bytes_of_string(key), true);
}

static struct bytes header(const struct request *request, const char *name)
{
    return http_header_named(request->answer.headers,
                             request->answer.header_count, name);
}

static int finish(struct request *request, int code)
{
    request_free(request);
    return code;
}

/* ---- get ---- */

/* Print a value byte for byte. On a terminal, a line break follows, so that the
 * prompt starts on its own line. */
static int print_value(const struct options *options, struct bytes value)
{
    int code = client_print_bytes(options, value);
    bool ends = value.size > 0 && value.data[value.size - 1] == '\n';
    if (code || ends || !isatty(STDOUT_FILENO)) {
        return code;
    }
    return client_print_bytes(options, bytes_of_string("\n"));
}

int client_run_get(const struct options *options)
{
    struct request request;
    init_key_request(&request, "GET", options->words[0]);
    request.absent_is_no = true;
    request_add_query(&request, options->meta ? "meta" : "raw",
                      (struct bytes){0});
    request_add_level(&request, options);
    int code = request_run(&request, options);
    if (code) {
        return finish(&request, code);
    }
    struct bytes value = buf_bytes(&request.answer_body);
    if (options->meta) {
        return finish(&request, client_print_bytes(options, value));
    }
    /* A server without ?raw sends JSON, which is not the value. */
    if (!bytes_equal_string(header(&request, "content-type"),
                            "application/octet-stream")) {
        client_say(options, "the server does not send raw values");
        return finish(&request, EXIT_FAILED);
    }
    return finish(&request, print_value(options, value));
}

/* ---- input ---- */

/* Read a descriptor to its end, up to UPLOAD_BYTES_MAX. */
static bool read_all(int fd, struct buf *out, const char **why)
{
    enum { PIECE_BYTES = 64 << 10 };
    for (;;) {
        ssize_t rc = read(fd, buf_reserve(out, PIECE_BYTES), PIECE_BYTES);
        if (rc == 0) {
            return true;
        }
        if (rc < 0 && errno != EINTR) {
            *why = strerror(errno);
            return false;
        }
        out->size += rc > 0 ? (size_t)rc : 0;
        if (out->size > UPLOAD_BYTES_MAX) {
            *why = "over 16 MiB, which no server takes";
            return false;
        }
    }
}

/* Read the file `path`; NULL and "-": stdin. All of it is read before anything
 * is sent, so that it can be sent to another server too, and input that breaks
 * off is not stored in part. */
static bool read_input(const struct options *options, const char *path,
                       struct buf *out)
{
    const char *why = NULL;
    bool is_stdin = !path || strcmp(path, "-") == 0;
    if (is_stdin && isatty(STDIN_FILENO)) {
        client_say(options,
                   "reading stdin, up to Ctrl-D at the start of a line");
    }
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read_all(fd, out, &why);
    if (!ok) {
        client_say(options, "%s: %s", is_stdin ? "stdin" : path,
                   why ? why : strerror(errno));
    }
    if (fd >= 0 && !is_stdin) {
        close(fd);
    }
    return ok;
}

/* ---- put, del ---- */

static void add_conditions(struct request *request,
                           const struct options *options)
{
    if (options->create) {
        buf_add_string(&request->headers, "If-None-Match: *\r\n");
    }
    if (options->has_if_index) {
        buf_printf(&request->headers, "If-Match: \"%llu\"\r\n",
                   (unsigned long long)options->if_index);
    }
}

/* Print the new index of the key: its ETag without the quotes. */
static int print_index(const struct options *options,
                       const struct request *request)
{
    struct bytes etag = header(request, "etag");
    struct buf line = {0};
    if (etag.size < 3 || etag.data[0] != '"') {
        client_say(options, "stored, but the server did not send the index");
        return EXIT_FAILED;
    }
    buf_add(&line, etag.data + 1, etag.size - 2);
    buf_add_u8(&line, '\n');
    int code = client_print_bytes(options, buf_bytes(&line));
    buf_free(&line);
    return code;
}

int client_run_put(const struct options *options)
{
    struct request request;
    struct buf input = {0};
    const char *value = options->word_count > 1 ? options->words[1] : NULL;
    bool is_input = !value || strcmp(value, "-") == 0;
    if (is_input && !read_input(options, NULL, &input)) {
        buf_free(&input);
        return EXIT_FAILED;
    }
    init_key_request(&request, "PUT", options->words[0]);
    request.changes = true;
    request_add_name(&request);
    request.has_body = true;
    request.body = is_input ? buf_bytes(&input) : bytes_of_string(value);
    add_conditions(&request, options);
    int code = request_run(&request, options);
    if (!code && options->print_index) {
        code = print_index(options, &request);
    }
    buf_free(&input);
    return finish(&request, code);
}

int client_run_del(const struct options *options)
{
    struct request request;
    if (options->prefix) {
        return client_erase(options);
    }
    init_key_request(&request, "DELETE", options->words[0]);
    request.changes = true;
    request_add_name(&request);
    add_conditions(&request, options);
    return finish(&request, request_run(&request, options));
}

/* ---- txn ---- */

/* Returns whether the answer is {"ok":false,...}: the conditions did not hold.
 */
static bool held(struct bytes answer)
{
    struct json_reader reader;
    struct buf copy = {0};
    struct field ok = {.name = "ok"};
    buf_add_bytes(&copy, answer);
    json_init(&reader, copy.data, copy.size);
    bool read = copy.size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN &&
                client_read_fields(&reader, &ok, 1);
    buf_free(&copy);
    return !read || strcmp(ok.text, "false") != 0;
}

int client_run_txn(const struct options *options)
{
    struct request request;
    struct buf input = {0};
    const char *path = options->word_count > 0 ? options->words[0] : NULL;
    if (!read_input(options, path, &input)) {
        buf_free(&input);
        return EXIT_FAILED;
    }
    request_init(&request, "POST", "/txn");
    request.changes = true;
    request.may_be_plain = true;
    request_add_name(&request);
    request.has_body = true;
    request.body = buf_bytes(&input);
    request.file = path && strcmp(path, "-") != 0 ? path : "stdin";
    buf_add_string(&request.headers, "Content-Type: application/json\r\n");
    int code = request_run(&request, options);
    if (!code) {
        struct bytes answer = buf_bytes(&request.answer_body);
        code = client_print_bytes(options, answer);
        code = !code && !held(answer) ? EXIT_NO : code;
    }
    buf_free(&input);
    return finish(&request, code);
}
