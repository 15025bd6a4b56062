/* request.c -- a request to the first server that answers. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "client/client_internal.h"
#include "client/progress_internal.h"
#include "reactor/addr.h"
#include "sys/sys.h"

enum {
    /* Time by which the client waits longer than the server, which gets
     * --timeout: its message about a time-out says more than ours. */
    GRACE_MS = 1000,
    PIECE_BYTES = 64 << 10,
    ROUND_PAUSE_MS = 250, /* Pause before all servers are asked again. */
};

void client_say(const struct options *options, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    text_mask_controls(line);
    progress_end();
    (void)fprintf(stderr, "craftd: %s: %s\n", options->command->name, line);
}

/* ---- the request ---- */

void request_init(struct request *request, const char *method, const char *path)
{
    *request = (struct request){.method = method, .in = -1, .out = -1};
    buf_add_string(&request->target, path);
}

void request_free(struct request *request)
{
    buf_free(&request->target);
    buf_free(&request->headers);
    buf_free(&request->answer_body);
    buf_free(&request->reasons);
    http_answer_free(&request->answer);
}

void request_add_name(struct request *request)
{
    uint8_t random[16];
    struct buf hex = {0};
    sys_entropy(random, sizeof(random));
    text_add_hex(&hex, random, sizeof(random));
    must(hex.size == sizeof(request->name) - 1);
    memcpy(request->name, hex.data, hex.size);
    buf_free(&hex);
}

void request_add_query(struct request *request, const char *name,
                       struct bytes value)
{
    struct buf *target = &request->target;
    bool first = !memchr(target->data, '?', target->size);
    buf_add_u8(target, first ? '?' : '&');
    buf_add_string(target, name);
    if (value.size > 0) {
        buf_add_u8(target, '=');
        http_percent_encode(target, value, true);
    }
}

void request_add_level(struct request *request, const struct options *options)
{
    const char *level = options->stale ? "none" : options->level;
    if (level) {
        request_add_query(request, "level", bytes_of_string(level));
    }
}

/* False: `why` says what is wrong with our credentials. */
static bool add_request(struct buf *out, const struct request *request,
                        const struct options *options, const char *addr,
                        struct bytes target, char why[REQUEST_WHY_BYTES])
{
    char host[REACTOR_ADDR_BYTES];
    buf_printf(out, "%s ", request->method);
    buf_add_bytes(out, target);
    buf_printf(out,
               " HTTP/1.1\r\nHost: %s\r\nUser-Agent: craftd/%s\r\n"
               "Accept: */*\r\nConnection: close\r\n",
               /* A path is no name for a Host. */
               addr_full(addr, host) ? host : "localhost", options->version);
    if (!client_add_credentials(out, options, addr, why, REQUEST_WHY_BYTES)) {
        return false;
    }
    buf_add_bytes(out, buf_bytes(&request->headers));
    if (request->name[0]) {
        buf_printf(out, "Idempotency-Key: %s\r\n", request->name);
    }
    if (request->has_body) {
        buf_printf(out, "Content-Length: %zu\r\n", request->body.size);
    } else if (request->in >= 0) {
        buf_printf(out, "Content-Length: %llu\r\n",
                   (unsigned long long)request->in_bytes);
    }
    buf_add_string(out, "\r\n");
    buf_add_bytes(out, request->body);
    return true;
}

/* ---- one server ---- */

enum attempt {
    ATTEMPT_ANSWERED,
    ATTEMPT_NOT_SENT, /* It cannot have been executed. */
    ATTEMPT_LOST,     /* It was sent, and not answered. */
    ATTEMPT_BROKEN,   /* The answer, or what becomes of it here, is no good;
                         another try would not mend it. */
};

bool client_write_out(int fd, const void *data, size_t size, const char **why)
{
    const char *at = data;
    while (size > 0) {
        ssize_t rc = write(fd, at, size);
        if (rc < 0 && errno != EINTR) {
            *why = strerror(errno);
            return false;
        }
        if (rc > 0) {
            at += rc;
            size -= (size_t)rc;
        }
    }
    return true;
}

int client_print_bytes(const struct options *options, struct bytes bytes)
{
    const char *why;
    if (!client_write_out(STDOUT_FILENO, bytes.data, bytes.size, &why)) {
        client_say(options, "stdout: %s", why);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static bool is_success(const struct request *request)
{
    return request->answer.status >= 200 && request->answer.status < 300;
}

static struct bytes header(const struct request *request, const char *name)
{
    return http_header_named(request->answer.headers,
                             request->answer.header_count, name);
}

/* Another program may answer at that address; and a body that ends with the
 * connection may have been cut. */
static bool is_wanted(const struct request *request)
{
    return bytes_equal_string(header(request, "content-type"),
                              request->out_type) &&
           (header(request, "content-length").data ||
            header(request, "transfer-encoding").data);
}

/* Store or write the part of the body that the last call found. */
static bool keep_body(struct request *request, char why[REQUEST_WHY_BYTES])
{
    struct bytes piece = request->answer.body;
    const char *reason = NULL;
    if (request->take && is_success(request)) {
        if (!is_wanted(request) || !request->take(request, piece)) {
            (void)snprintf(why, REQUEST_WHY_BYTES,
                           "the server does not send %s, or ended it",
                           request->out_type);
            return false;
        }
    } else if (request->out >= 0 && is_success(request)) {
        if (!is_wanted(request)) {
            (void)snprintf(why, REQUEST_WHY_BYTES,
                           "the server does not send %s", request->out_type);
            return false;
        }
        if (!client_write_out(request->out, piece.data, piece.size, &reason)) {
            (void)snprintf(why, REQUEST_WHY_BYTES, "writing: %s", reason);
            return false;
        }
    } else if (piece.size > DOWNLOAD_BYTES_MAX - request->answer_body.size) {
        (void)snprintf(why, REQUEST_WHY_BYTES, "the answer is over %d bytes",
                       DOWNLOAD_BYTES_MAX);
        return false;
    } else {
        buf_add_bytes(&request->answer_body, piece);
    }
    return true;
}

/* `received` bytes of the body have been written to `out`. */
static void show_received(const struct request *request, uint64_t received)
{
    struct progress *progress = request->progress;
    if (progress && request->out >= 0 && is_success(request)) {
        (void)json_u64(header(request, "content-length"), &progress->total);
        progress_update(progress, received);
    }
}

static enum attempt receive_answer(struct request *request, int fd,
                                   uint64_t patience_ms,
                                   char why[REQUEST_WHY_BYTES])
{
    static uint8_t piece[PIECE_BYTES];
    struct http_answer *answer = &request->answer;
    uint64_t deadline_ms = sys_now_ms() + patience_ms;
    uint64_t received = 0;
    bool streamed = false;
    for (;;) {
        size_t got = 0;
        enum attempt lost = streamed ? ATTEMPT_BROKEN : ATTEMPT_LOST;
        if (!client_receive_some(fd, piece, sizeof(piece), &got, deadline_ms,
                                 why, REQUEST_WHY_BYTES)) {
            return lost;
        }
        enum http_progress progress = http_answer_read(answer, piece, got);
        if (answer->head_done && !keep_body(request, why)) {
            return ATTEMPT_BROKEN;
        }
        if (progress == HTTP_READ_DONE) {
            return ATTEMPT_ANSWERED;
        }
        if (progress == HTTP_READ_ERROR) {
            (void)snprintf(why, REQUEST_WHY_BYTES, "%s", answer->error_text);
            return lost;
        }
        if (answer->head_done) {
            streamed = request->out >= 0 || request->take;
            received += answer->body.size;
            show_received(request, received);
            if (!request->is_urgent) {
                deadline_ms = sys_now_ms() + patience_ms;
            }
        }
    }
}

/* Send the file; `patience_ms` is for each wait without progress. */
static enum moved send_file(const struct request *request, int fd,
                            uint64_t patience_ms, char why[REQUEST_WHY_BYTES])
{
    static uint8_t piece[PIECE_BYTES];
    for (uint64_t at = 0; at < request->in_bytes;) {
        size_t want = (size_t)min_u64(PIECE_BYTES, request->in_bytes - at);
        ssize_t got = pread(request->in, piece, want, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            (void)snprintf(why, REQUEST_WHY_BYTES, "reading: %s",
                           got < 0 ? strerror(errno) : "the file has shrunk");
            return MOVED_FAILED;
        }
        enum moved moved =
            client_send_all(fd, bytes_of(piece, (size_t)got),
                            sys_now_ms() + patience_ms, why, REQUEST_WHY_BYTES);
        if (moved != MOVED_ALL) {
            return moved;
        }
        at += (uint64_t)got;
        if (request->progress) {
            progress_update(request->progress, at);
        }
    }
    if (request->progress) {
        progress_say(request->progress, "sent, waiting for the cluster");
    }
    return MOVED_ALL;
}

static enum attempt attempt(struct request *request,
                            const struct options *options, const char *addr,
                            struct bytes target, char why[REQUEST_WHY_BYTES])
{
    uint64_t patience_ms = options->timeout_ms + GRACE_MS;
    struct buf bytes = {0};
    if (!add_request(&bytes, request, options, addr, target, why)) {
        buf_free(&bytes);
        return ATTEMPT_BROKEN;
    }
    int fd = client_dial(addr, options->timeout_ms, why, REQUEST_WHY_BYTES);
    if (fd < 0) {
        buf_free(&bytes);
        return ATTEMPT_NOT_SENT;
    }
    http_answer_free(&request->answer);
    http_answer_init(&request->answer);
    request->answer_body.size = 0;
    enum attempt result = ATTEMPT_NOT_SENT;
    enum moved moved =
        client_send_all(fd, buf_bytes(&bytes), sys_now_ms() + patience_ms, why,
                        REQUEST_WHY_BYTES);
    if (moved == MOVED_ALL && request->in >= 0) {
        moved = send_file(request, fd, patience_ms, why);
    }
    if (moved != MOVED_FAILED) {
        uint64_t answer_ms =
            request->answer_ms ? request->answer_ms : patience_ms;
        result = receive_answer(request, fd, answer_ms, why);
    }
    if (moved == MOVED_EARLY && result == ATTEMPT_LOST) {
        result = ATTEMPT_NOT_SENT; /* A server ignores half a request. */
    }
    buf_free(&bytes);
    close(fd);
    return result;
}

/* ---- the meaning of the answer ---- */

enum {
    PROBLEM_MESSAGE,
    PROBLEM_OUTCOME,
    PROBLEM_OFFSET,    /* Bytes of the body before an error in it. */
    PROBLEM_CLAUSE,    /* Number of a condition that did not hold, ... */
    PROBLEM_OPERATION, /* ... of an operation that failed. */
    PROBLEM_FIELDS
};

/* Explain with the server's message, if the body is a problem (RFC 9457). */
static void read_problem(const struct request *request,
                         struct field fields[PROBLEM_FIELDS])
{
    struct json_reader reader;
    struct buf copy = {0};
    fields[PROBLEM_MESSAGE] = (struct field){.name = "message"};
    fields[PROBLEM_OUTCOME] = (struct field){.name = "outcome"};
    fields[PROBLEM_OFFSET] = (struct field){.name = "offset"};
    fields[PROBLEM_CLAUSE] = (struct field){.name = "clause"};
    fields[PROBLEM_OPERATION] = (struct field){.name = "operation"};
    buf_add_bytes(&copy, buf_bytes(&request->answer_body));
    json_init(&reader, copy.data, copy.size);
    if (copy.size > 0 && json_next(&reader) == JSON_OBJECT_BEGIN) {
        /* The valid part of a body that is cut or damaged is shown. */
        (void)client_read_fields(&reader, fields, PROBLEM_FIELDS);
    }
    buf_free(&copy);
}

static int code_of(const struct request *request,
                   const struct field problem[PROBLEM_FIELDS])
{
    int status = request->answer.status;
    if (is_success(request)) {
        return EXIT_DONE;
    }
    if (request->changes &&
        (status == 504 ||
         strcmp(problem[PROBLEM_OUTCOME].text, "unknown") == 0)) {
        return EXIT_UNKNOWN;
    }
    if (status == 412 || (status == 404 && request->absent_is_no)) {
        return EXIT_NO;
    }
    return status == 429 || status == 503 || status == 504 ? EXIT_AWAY
                                                           : EXIT_FAILED;
}

/* The line of the body that the problem is about; 0: it does not say. */
static unsigned line_of(const struct request *request,
                        const struct field problem[PROBLEM_FIELDS])
{
    uint64_t at;
    uint64_t offset;
    if (json_u64(bytes_of_string(problem[PROBLEM_OFFSET].text), &offset) &&
        offset <= request->body.size) {
        return client_line_of(request->body, offset);
    }
    if (json_u64(bytes_of_string(problem[PROBLEM_CLAUSE].text), &at) &&
        client_find_item(request->body, "if", at, &offset)) {
        return client_line_of(request->body, offset);
    }
    /* With an "else", the operation may be one of that list. */
    if (json_u64(bytes_of_string(problem[PROBLEM_OPERATION].text), &at) &&
        !client_find_item(request->body, "else", 0, &offset) &&
        client_find_item(request->body, "then", at, &offset)) {
        return client_line_of(request->body, offset);
    }
    return 0;
}

/* A line says more than the "at byte 123: " before the message. */
static const char *without_byte(const char *message)
{
    static const char at_byte[] = "at byte ";
    const char *colon = strstr(message, ": ");
    return colon && strncmp(message, at_byte, sizeof(at_byte) - 1) == 0
               ? colon + 2
               : message;
}

static void explain_answer(const struct request *request,
                           const struct field problem[PROBLEM_FIELDS],
                           char why[REQUEST_WHY_BYTES])
{
    int status = request->answer.status;
    const char *message = problem[PROBLEM_MESSAGE].text;
    unsigned line = request->file && message[0] ? line_of(request, problem) : 0;
    if (line > 0) {
        (void)snprintf(why, REQUEST_WHY_BYTES, "%.60s, line %u: %.160s",
                       request->file, line, without_byte(message));
    } else if (message[0]) {
        (void)snprintf(why, REQUEST_WHY_BYTES, "%.240s", message);
    } else if (status == 404 && request->absent_is_no) {
        (void)snprintf(why, REQUEST_WHY_BYTES, "no such key");
    } else {
        (void)snprintf(why, REQUEST_WHY_BYTES, "HTTP %d %s", status,
                       http_reason(status));
    }
}

/* Split "http://host:port/target". */
static bool read_location(struct bytes location, char addr[SERVER_BYTES],
                          struct bytes *target)
{
    static const char scheme[] = "http://";
    const size_t skip = sizeof(scheme) - 1;
    if (location.size <= skip || memcmp(location.data, scheme, skip) != 0) {
        return false;
    }
    const uint8_t *at = location.data + skip;
    const uint8_t *slash = memchr(at, '/', location.size - skip);
    if (!slash || slash == at || (size_t)(slash - at) >= SERVER_BYTES) {
        return false;
    }
    memcpy(addr, at, (size_t)(slash - at));
    addr[slash - at] = '\0';
    *target = bytes_of(slash, location.size - (size_t)(slash - location.data));
    return true;
}

/* Ask one server, and the one that it redirects to. `addr` is set to the one
 * that answered. */
static enum attempt ask(struct request *request, const struct options *options,
                        char addr[SERVER_BYTES], char why[REQUEST_WHY_BYTES])
{
    struct bytes target;
    enum attempt result =
        attempt(request, options, addr, buf_bytes(&request->target), why);
    if (result != ATTEMPT_ANSWERED || request->answer.status != 307) {
        return result;
    }
    struct bytes location = http_header_named(
        request->answer.headers, request->answer.header_count, "location");
    if (!read_location(location, addr, &target)) {
        return result;
    }
    /* `target` is a view of the answer, which the next attempt replaces. */
    struct buf copy = {0};
    buf_add_bytes(&copy, target);
    result = attempt(request, options, addr, buf_bytes(&copy), why);
    buf_free(&copy);
    return result;
}

int request_ask(struct request *request, const struct options *options,
                char addr[SERVER_BYTES], char why[REQUEST_WHY_BYTES])
{
    struct field problem[PROBLEM_FIELDS];
    switch (ask(request, options, addr, why)) {
    case ATTEMPT_NOT_SENT:
        return EXIT_AWAY;
    case ATTEMPT_LOST:
        return request->changes ? EXIT_UNKNOWN : EXIT_AWAY;
    case ATTEMPT_BROKEN:
        return EXIT_FAILED;
    case ATTEMPT_ANSWERED:
        break;
    }
    read_problem(request, problem);
    int code = code_of(request, problem);
    if (code) {
        explain_answer(request, problem, why);
    }
    return code;
}

/* Returns whether this answer comes through the log, as the lost one did: then
 * it decides about both. */
static bool is_settled(const struct request *request, int code)
{
    return code == EXIT_DONE ||
           (code != EXIT_AWAY && code != EXIT_UNKNOWN &&
            (request->answer.status == 409 || request->answer.status == 412));
}

/* Pause before another round. False: there is no time for one. */
static bool may_ask_again(const struct options *options, uint64_t start_ms)
{
    const struct timespec pause = {.tv_nsec = ROUND_PAUSE_MS * 1000000L};
    if (sys_now_ms() + ROUND_PAUSE_MS >= start_ms + options->timeout_ms) {
        return false;
    }
    (void)nanosleep(&pause, NULL);
    return true;
}

/* Ask each server once, as long as it may be asked and can help. `code` is the
 * result of the servers before. */
static int ask_all(struct request *request, const struct options *options,
                   int code, struct buf *reasons)
{
    char addr[SERVER_BYTES];
    char why[REQUEST_WHY_BYTES] = "";
    const char *list = options->addr;
    while ((code == EXIT_AWAY || (code == EXIT_UNKNOWN && request->name[0])) &&
           client_next_server(&list, addr)) {
        bool open = code == EXIT_UNKNOWN;
        code = request_ask(request, options, addr, why);
        int status = request->answer.status;
        if (code == EXIT_FAILED && !open && request->may_be_plain &&
            request->name[0] && (status == 413 || status == 507)) {
            request->name[0] = '\0';
            code = request_ask(request, options, addr, why);
        }
        if (code) {
            buf_printf(reasons, "%s%s: %s", reasons->size > 0 ? "; " : "", addr,
                       why);
        }
        if (open && !is_settled(request, code)) {
            code = EXIT_UNKNOWN;
        }
    }
    return code;
}

/* Print a line such as "lock exists already, index 19". The ETag of a 412 is
 * that of the current value. */
static void explain_no(const struct request *request,
                       const struct options *options)
{
    struct field problem[PROBLEM_FIELDS];
    char why[REQUEST_WHY_BYTES];
    struct bytes etag = header(request, "etag");
    bool has_index = etag.size > 2 && etag.data[0] == '"';
    int index_size = has_index ? (int)min_size(etag.size - 2, 20) : 0;
    const char *index = has_index ? (const char *)etag.data + 1 : "";
    read_problem(request, problem);
    explain_answer(request, problem, why);
    if (!request->key) {
        client_say(options, "%s", why);
    } else if (request->answer.status == 404) {
        client_say(options, "there is no key %s", request->key);
    } else if (has_index && options->create) {
        client_say(options, "%s exists already, index %.*s", request->key,
                   index_size, index);
    } else if (has_index && options->has_if_index) {
        client_say(options, "%s is at index %.*s, not %llu", request->key,
                   index_size, index, (unsigned long long)options->if_index);
    } else {
        client_say(options, "%s: %s", request->key, why);
    }
}

void request_explain(const struct request *request,
                     const struct options *options, int code)
{
    const char *reasons = (const char *)request->reasons.data;
    if (code == EXIT_NO) {
        explain_no(request, options); /* Every server would say so. */
    } else if (code == EXIT_UNKNOWN) {
        client_say(options,
                   "%s (the change may have been made, or may be made yet)",
                   reasons);
    } else if (code) {
        client_say(options, "%s", reasons);
    }
}

int request_run_silently(struct request *request, const struct options *options)
{
    char timeout[32];
    struct buf reasons = {0};
    struct buf later = {0}; /* Dropped: the first round explains best. */
    uint64_t start_ms = sys_now_ms();
    (void)snprintf(timeout, sizeof(timeout), "%llums",
                   (unsigned long long)options->timeout_ms);
    request_add_query(request, "timeout", bytes_of_string(timeout));
    int code = ask_all(request, options, EXIT_AWAY, &reasons);
    while (code == EXIT_UNKNOWN && request->name[0] &&
           may_ask_again(options, start_ms)) {
        later.size = 0;
        code = ask_all(request, options, code, &later);
    }
    request->reasons.size = 0;
    buf_add_bytes(
        &request->reasons,
        buf_bytes(code == EXIT_UNKNOWN || later.size == 0 ? &reasons : &later));
    buf_add_u8(&request->reasons, '\0');
    buf_free(&reasons);
    buf_free(&later);
    return code;
}

int request_run(struct request *request, const struct options *options)
{
    int code = request_run_silently(request, options);
    request_explain(request, options, code);
    return code;
}
