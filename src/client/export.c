/* export.c -- GET /export into a file or to stdout, line by line.
 *
 * Only whole lines are written. When the connection breaks, the export goes on
 * behind the last one, at the same index (?index= and ?after=). If no server
 * has the state of that index any more (410), a file is begun again, and an
 * export to stdout ends with an error, since what was written cannot be taken
 * back. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "client/client_internal.h"
#include "client/dump_internal.h"
#include "client/progress_internal.h"
#include "sys/sys.h"

enum { RESTARTS_MAX = 10, PAUSE_MS = 250 };

struct export
{
    const struct options *options;
    int fd;
    uint64_t index;    /* Index of the state; 0: not known yet. */
    struct buf part;   /* A line that is not complete. */
    struct buf last;   /* The last complete line. */
    uint64_t lines;    /* Written. */
    const char *error; /* Writing has failed. */
    bool is_wrong;     /* The server sends something else. */
    struct progress progress;
};

static uint64_t count_lines(struct bytes text)
{
    uint64_t count = 0;
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.size;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        count++;
        at++;
    }
    return count;
}

/* Offset behind the last line feed; 0: there is none. */
static size_t lines_end(struct bytes text)
{
    size_t size = text.size;
    while (size > 0 && text.data[size - 1] != '\n') {
        size--;
    }
    return size;
}

/* Write the complete lines of `part`. */
static bool write_lines(struct export *export)
{
    struct buf *part = &export->part;
    size_t size = lines_end(buf_bytes(part));
    if (size == 0) {
        return true;
    }
    if (!client_write_out(export->fd, part->data, size, &export->error)) {
        return false;
    }
    size_t start = lines_end(bytes_of(part->data, size - 1));
    export->last.size = 0;
    buf_add(&export->last, part->data + start, size - start);
    export->lines += count_lines(bytes_of(part->data, size));
    memmove(part->data, part->data + size, part->size - size);
    part->size -= size;
    progress_update(&export->progress, export->lines);
    return true;
}

static bool take_piece(struct request *request, struct bytes piece)
{
    struct export *export = request->take_arg;
    uint64_t index = 0;
    (void)json_u64(http_header_named(request->answer.headers,
                                     request->answer.header_count,
                                     "craftd-index"),
                   &index);
    (void)json_u64(http_header_named(request->answer.headers,
                                     request->answer.header_count,
                                     "craftd-keys"),
                   &export->progress.total);
    export->is_wrong = index == 0 ||
                       (export->index != 0 && index != export->index) ||
                       piece.size > DUMP_ITEM_BYTES_MAX - export->part.size;
    if (export->is_wrong) {
        return false;
    }
    export->index = index;
    buf_add_bytes(&export->part, piece);
    return write_lines(export);
}

/* Add where to continue. False: the server has sent no export. */
static bool add_place(struct request *request, struct export *export)
{
    char text[24];
    struct dump dump;
    struct dump_pair pair;
    if (export->index == 0) {
        return true;
    }
    (void)snprintf(text, sizeof(text), "%llu",
                   (unsigned long long)export->index);
    request_add_query(request, "index", bytes_of_string(text));
    if (export->last.size == 0) {
        return true;
    }
    dump_init(&dump, DUMP_CRAFTD, -1);
    struct buf copy = {0};
    buf_add_bytes(&copy, buf_bytes(&export->last));
    bool ok = dump_read_line(&dump, copy.data, copy.size, &pair) == DUMP_PAIR;
    if (ok) {
        request_add_query(request, "after", pair.key);
    }
    buf_free(&copy);
    dump_free(&dump);
    return ok;
}

static bool is_complete(const struct export *export)
{
    struct dump dump;
    struct dump_pair pair;
    struct buf copy = {0};
    dump_init(&dump, DUMP_CRAFTD, -1);
    buf_add_bytes(&copy, buf_bytes(&export->last));
    bool ok = export->part.size == 0 && copy.size > 0 &&
              dump_read_line(&dump, copy.data, copy.size, &pair) == DUMP_END;
    buf_free(&copy);
    dump_free(&dump);
    return ok;
}

enum outcome {
    EXPORT_DONE,
    EXPORT_AGAIN, /* It broke off, or no server could answer. */
    EXPORT_GONE,  /* No server has the state any more. */
    EXPORT_FAILED,
};

/* Ask one server. */
static enum outcome ask(struct export *export, char addr[SERVER_BYTES],
                        int *code, char why[REQUEST_WHY_BYTES])
{
    struct request request;
    export->part.size = 0; /* An answer that broke off has left it. */
    request_init(&request, "GET", "/export");
    if (!add_place(&request, export)) {
        (void)snprintf(why, REQUEST_WHY_BYTES,
                       "the server sends no lines of an export");
        request_free(&request);
        *code = EXIT_FAILED;
        return EXPORT_FAILED;
    }
    if (export->index == 0) {
        request_add_level(&request, export->options);
    }
    request.take = take_piece;
    request.take_arg = export;
    request.out_type = "application/x-ndjson";
    *code = request_ask(&request, export->options, addr, why);
    int status = request.answer.head_done ? request.answer.status : 0;
    bool broke =
        status == 200 && !export->is_wrong &&
        bytes_equal_string(http_header_named(request.answer.headers,
                                             request.answer.header_count,
                                             "content-type"),
                           request.out_type);
    request_free(&request);
    if (export->error) {
        (void)snprintf(why, REQUEST_WHY_BYTES, "writing: %s", export->error);
        return EXPORT_FAILED;
    }
    if (!*code && is_complete(export)) {
        return EXPORT_DONE;
    }
    if (!*code) {
        *code = EXIT_FAILED;
        (void)snprintf(why, REQUEST_WHY_BYTES,
                       "the server ended the export before its last line");
        return EXPORT_FAILED;
    }
    if (status == 410 && export->index != 0) {
        return EXPORT_GONE;
    }
    return *code == EXIT_AWAY || broke ? EXPORT_AGAIN : EXPORT_FAILED;
}

/* Ask the servers in turn, until one has sent all. */
static enum outcome ask_all(struct export *export, int *code,
                            struct buf *reasons)
{
    char addr[SERVER_BYTES];
    char why[REQUEST_WHY_BYTES] = "";
    const char *list = export->options->addr;
    enum outcome outcome = EXPORT_AGAIN;
    bool gone = false;
    reasons->size = 0;
    while (client_next_server(&list, addr)) {
        uint64_t before = export->lines;
        outcome = ask(export, addr, code, why);
        buf_printf(reasons, "%s%s: %s", reasons->size > 0 ? "; " : "", addr,
                   why);
        if (outcome == EXPORT_DONE || outcome == EXPORT_FAILED ||
            export->lines > before) {
            return outcome;
        }
        gone = gone || outcome == EXPORT_GONE;
    }
    return gone ? EXPORT_GONE : EXPORT_AGAIN;
}

/* The state is gone. Returns whether the export can begin again. */
static bool begin_again(struct export *export, int *restarts)
{
    if (export->fd == STDOUT_FILENO || ++*restarts > RESTARTS_MAX ||
        ftruncate(export->fd, 0) != 0 || lseek(export->fd, 0, SEEK_SET) != 0) {
        return false;
    }
    client_say(export->options,
               "no server has the state of index %llu any more: begun again",
               (unsigned long long)export->index);
    export->index = 0;
    export->last.size = 0;
    export->lines = 0;
    return true;
}

static int run(struct export *export)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    struct buf reasons = {0};
    uint64_t moved_ms = sys_now_ms();
    uint64_t lines = 0;
    int restarts = 0;
    int code = EXIT_DONE;
    for (;;) {
        enum outcome outcome = ask_all(export, &code, &reasons);
        if (outcome == EXPORT_DONE || outcome == EXPORT_FAILED) {
            break;
        }
        if (outcome == EXPORT_GONE) {
            code = EXIT_FAILED;
            if (!begin_again(export, &restarts)) {
                break;
            }
        }
        if (export->lines > lines || outcome == EXPORT_GONE) {
            moved_ms = sys_now_ms();
        }
        lines = export->lines;
        if (sys_now_ms() + PAUSE_MS >= moved_ms + export->options->timeout_ms) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
    if (code) {
        buf_add_u8(&reasons, '\0');
        client_say(export->options, "%s", (const char *)reasons.data);
    }
    buf_free(&reasons);
    return code;
}

static int fill(const struct options *options, int fd)
{
    struct export export = {.options = options, .fd = fd};
    progress_start(&export.progress, options, "keys", 0);
    int code = run(&export);
    progress_end();
    buf_free(&export.part);
    buf_free(&export.last);
    return code;
}

int client_run_export(const struct options *options)
{
    return client_write_whole_file(options, options->words[0], fill);
}
