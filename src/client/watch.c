/* watch.c -- craftd watch: shows changes as they come, from one server after
 * the other.
 *
 * The events of an entry are held back until the one that has the id, so that
 * nothing is shown twice when the connection is cut between them and the next
 * server repeats the entry. The id that came last is where it goes on. The
 * initial set has no ids, and is shown as it comes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "client/client_internal.h"

enum {
    SILENCE_MS = 40000, /* A server sends something every 15 s. */
    PAUSE_MS = 100,     /* Before the next server is asked, twice as long ... */
    PAUSE_MAX_MS = 2000, /* ... each time, up to this. */
    LINE_BYTES_MAX = DOWNLOAD_BYTES_MAX,
};

/* One line of the stream. Views are of the line. */
struct event {
    struct bytes type;
    struct bytes key;
    struct bytes value;
    bool is_base64; /* `value` is not decoded. */
    uint64_t index;
    bool has_id;
    uint64_t id;
};

struct watch {
    const struct options *options;
    bool has_since;
    uint64_t since;  /* Everything up to this index has been shown. */
    bool in_set;     /* The initial set is being received. */
    struct buf line; /* The part of a line that has come. */
    struct buf held; /* Lines of an entry that is not complete. */
    struct buf copy; /* Scratch: a line, decoded in place. */
    bool any;        /* This server has sent something. */
    int code;        /* Exit code; -1: go on. */
};

/* ---- one event ---- */

/* Decode a line, in place. False: it is no event. */
static bool read_event(struct buf *line, struct event *event)
{
    struct json_reader reader;
    *event = (struct event){0};
    json_init(&reader, line->data, line->size);
    if (json_next(&reader) != JSON_OBJECT_BEGIN) {
        return false;
    }
    enum json_token token;
    while ((token = json_next(&reader)) == JSON_NAME) {
        struct bytes name = reader.text;
        token = json_next(&reader);
        struct bytes text = reader.text;
        if (token != JSON_STRING && token != JSON_NUMBER) {
            return false;
        }
        if (bytes_equal_string(name, "event")) {
            event->type = text;
        } else if (bytes_equal_string(name, "key")) {
            event->key = text;
        } else if (bytes_equal_string(name, "value")) {
            event->value = text;
        } else if (bytes_equal_string(name, "value_base64")) {
            event->value = text;
            event->is_base64 = true;
        } else if (bytes_equal_string(name, "index")) {
            (void)json_u64(text, &event->index);
        } else if (bytes_equal_string(name, "id")) {
            event->has_id = json_u64(text, &event->id);
        }
    }
    return token == JSON_OBJECT_END && event->type.size > 0;
}

static struct bytes decode_value(const struct event *event, struct buf *room)
{
    size_t size = 0;
    if (!event->is_base64) {
        return event->value;
    }
    room->size = 0;
    uint8_t *out = buf_reserve(room, event->value.size);
    return text_base64(event->value, out, &size) ? bytes_of(out, size)
                                                 : (struct bytes){0};
}

/* A line as that of craftd ls: bytes that would break the format are %XX. */
static void add_escaped(struct buf *out, struct bytes text)
{
    text_add_escaped(out, text, json_is_utf8(text));
}

static int print_event(const struct watch *watch, const struct event *event)
{
    struct buf line = {0};
    struct buf room = {0};
    buf_add_bytes(&line, event->type);
    buf_printf(&line, "\t%llu\t", (unsigned long long)event->index);
    add_escaped(&line, event->key);
    if (bytes_equal_string(event->type, "put")) {
        buf_add_u8(&line, '\t');
        add_escaped(&line, decode_value(event, &room));
    }
    buf_add_u8(&line, '\n');
    int code = client_print_bytes(watch->options, buf_bytes(&line));
    buf_free(&line);
    buf_free(&room);
    return code;
}

/* ---- --exec ---- */

static void set_variable(const char *name, struct bytes value)
{
    struct buf text = {0};
    buf_add_bytes(&text, value);
    buf_add_u8(&text, '\0');
    (void)setenv(name, (const char *)text.data, 1);
    buf_free(&text);
}

/* In the child. */
NORETURN static void become_command(const char *command,
                                    const struct event *event, int in)
{
    char index[24];
    int size = snprintf(index, sizeof(index), "%llu",
                        (unsigned long long)event->index);
    set_variable("CRAFTD_EVENT", event->type);
    set_variable("CRAFTD_KEY", event->key);
    set_variable("CRAFTD_INDEX", bytes_of(index, (size_t)size));
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(in, STDIN_FILENO) >= 0) {
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    }
    _exit(127);
}

static bool wait_for_child(pid_t child, int *status)
{
    while (waitpid(child, status, 0) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Run the command, with the value as its input, and wait for its end. */
static int execute(const struct watch *watch, const struct event *event)
{
    struct buf room = {0};
    const char *why;
    int ends[2];
    int status = 0;
    struct bytes value = decode_value(event, &room);
    if (pipe(ends) < 0) {
        client_say(watch->options, "--exec: %s", strerror(errno));
        return EXIT_FAILED;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        become_command(watch->options->exec, event, ends[0]);
    }
    close(ends[0]);
    if (child > 0) {
        /* A command need not read it: EPIPE. */
        (void)client_write_out(ends[1], value.data, value.size, &why);
    }
    close(ends[1]);
    bool ended = child > 0 && wait_for_child(child, &status);
    buf_free(&room);
    if (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return EXIT_DONE;
    }
    client_say(watch->options,
               "--exec failed at index %llu (status %d): to go on from here, "
               "use --since %llu",
               (unsigned long long)event->index,
               ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1,
               (unsigned long long)watch->since);
    return EXIT_FAILED;
}

/* ---- the stream ---- */

/* Show a line, which is decoded in place unless it is printed as it is. */
static int show(const struct watch *watch, struct buf *line)
{
    struct event event;
    if (watch->options->json && !watch->options->exec) {
        buf_add_u8(line, '\n');
        return client_print_bytes(watch->options, buf_bytes(line));
    }
    if (!read_event(line, &event) || event.key.size == 0) {
        return EXIT_DONE; /* A kind that is no change, such as `sync`. */
    }
    return watch->options->exec ? execute(watch, &event)
                                : print_event(watch, &event);
}

static int show_held(struct watch *watch)
{
    struct buf line = {0};
    int code = EXIT_DONE;
    for (size_t at = 0; at < watch->held.size && !code;) {
        const uint8_t *start = watch->held.data + at;
        const uint8_t *end = memchr(start, '\n', watch->held.size - at);
        must(end);
        line.size = 0;
        buf_add(&line, start, (size_t)(end - start));
        code = show(watch, &line);
        at += (size_t)(end - start) + 1;
    }
    watch->held.size = 0;
    buf_free(&line);
    return code;
}

/* Take a whole line. False: the stream is of no use any more. */
static bool take_line(struct watch *watch)
{
    struct event event;
    watch->copy.size = 0;
    buf_add_bytes(&watch->copy, buf_bytes(&watch->line));
    if (!read_event(&watch->copy, &event)) {
        return false;
    }
    if (bytes_equal_string(event.type, "lost")) {
        return false; /* The next answer says whether it can go on. */
    }
    bool sync = bytes_equal_string(event.type, "sync");
    if (bytes_equal_string(event.type, "reset")) {
        watch->in_set = true;
        watch->has_since = false;
    }
    if (!bytes_equal_string(event.type, "progress")) {
        buf_add_bytes(&watch->held, buf_bytes(&watch->line));
        buf_add_u8(&watch->held, '\n');
    }
    if (event.has_id || watch->in_set) {
        int code = show_held(watch);
        if (code) {
            watch->code = code;
            return false;
        }
    }
    if (event.has_id) {
        watch->has_since = true;
        watch->since = event.id;
        watch->in_set = watch->in_set && !sync;
    }
    return watch->held.size <= LINE_BYTES_MAX;
}

static bool take_piece(struct request *request, struct bytes piece)
{
    struct watch *watch = request->take_arg;
    watch->any = true;
    while (piece.size > 0) {
        const uint8_t *end = memchr(piece.data, '\n', piece.size);
        size_t size = end ? (size_t)(end - piece.data) : piece.size;
        buf_add(&watch->line, piece.data, size);
        if (watch->line.size > LINE_BYTES_MAX) {
            return false;
        }
        if (!end) {
            return true;
        }
        if (!take_line(watch)) {
            return false;
        }
        watch->line.size = 0;
        piece = bytes_of(end + 1, piece.size - size - 1);
    }
    return true;
}

static void init_watch_request(struct request *request, struct watch *watch)
{
    const struct options *options = watch->options;
    char since[24];
    request_init(request, "GET", "/watch");
    request_add_query(request, "format", bytes_of_string("ndjson"));
    if (options->key) {
        request_add_query(request, "key", bytes_of_string(options->key));
    } else if (options->word_count > 0 && options->words[0][0]) {
        request_add_query(request, "prefix",
                          bytes_of_string(options->words[0]));
    }
    if (options->initial) {
        request_add_query(request, "initial", (struct bytes){0});
    }
    if (watch->has_since) {
        int size = snprintf(since, sizeof(since), "%llu",
                            (unsigned long long)watch->since);
        request_add_query(request, "since", bytes_of(since, (size_t)size));
    }
    request->answer_ms = SILENCE_MS;
    request->take = take_piece;
    request->take_arg = watch;
    request->out_type = "application/x-ndjson";
}

/* Watch at one server until its stream ends. Returns the status of its answer,
 * 0 if there was none. */
static int watch_at(struct watch *watch, char addr[SERVER_BYTES],
                    char why[REQUEST_WHY_BYTES])
{
    struct request request;
    watch->any = false;
    watch->line.size = 0;
    watch->held.size = 0;
    watch->in_set = watch->options->initial && !watch->has_since;
    init_watch_request(&request, watch);
    (void)request_ask(&request, watch->options, addr, why);
    int status = request.answer.head_done ? request.answer.status : 0;
    request_free(&request);
    return status;
}

static void pause_for(uint64_t ms)
{
    const struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
                                   .tv_nsec = (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&pause, NULL);
}

/* Ask all servers in turn, for ever. */
static int watch_all(struct watch *watch)
{
    const struct options *options = watch->options;
    char addr[SERVER_BYTES];
    char why[REQUEST_WHY_BYTES] = "";
    bool ever = false;
    bool said = false;
    uint64_t pause_ms = PAUSE_MS;
    for (;;) {
        const char *list = options->addr;
        unsigned asked = 0;
        unsigned gone = 0;
        bool any = false;
        while (watch->code < 0 && client_next_server(&list, addr)) {
            int status = watch_at(watch, addr, why);
            asked++;
            any = any || watch->any;
            gone += status == 410;
            if (status >= 400 && status < 500 && status != 410 &&
                status != 429 && status != 408) {
                client_say(options, "%s: %s", addr, why);
                return EXIT_FAILED;
            }
            if (watch->any) {
                pause_for(PAUSE_MS);
            }
        }
        if (watch->code >= 0) {
            return watch->code;
        }
        if (gone == asked) {
            client_say(options, "%s", why);
            return EXIT_NO;
        }
        if (!any && !ever) {
            client_say(options, "%s: %s", addr, why);
            return EXIT_AWAY;
        }
        if (!any && !said) {
            client_say(options, "%s: %s; trying again", addr, why);
        }
        said = !any;
        ever = true;
        pause_ms = any ? PAUSE_MS : min_u64(2 * pause_ms, PAUSE_MAX_MS);
        pause_for(pause_ms);
    }
}

int client_run_watch(const struct options *options)
{
    struct watch watch = {.options = options,
                          .has_since = options->has_since,
                          .since = options->since,
                          .code = -1};
    if (options->exec) {
        (void)signal(SIGPIPE, SIG_IGN);
    }
    int code = watch_all(&watch);
    buf_free(&watch.line);
    buf_free(&watch.held);
    buf_free(&watch.copy);
    return code;
}
