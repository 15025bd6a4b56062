/* join.c -- the joining client: POST /join to each target in turn, until a
 * leader has made this node a member and its HELLO has arrived.
 *
 * A member asks as well while it knows no leader, in case all members have
 * moved and cannot reach each other: its request has its new address. The
 * request names its cluster, so that no other cluster adds it as a new node. */
#include "ops/ops.h"

#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "http/http.h"
#include "reactor/addr.h"
#include "json/json.h"

enum {
    ASK_MS = 12000, /* The target waits 10 s for a leader. */
    DIAL_MS = 3000,
    WAIT_MIN_MS = 500,
    WAIT_MAX_MS = 5000,
    ADDED_WAIT_MS = 2000,
    MEMBER_WAIT_MS = 1000, /* Mostly a member finds the others by itself. */
    LOG_AGAIN_MS = 30000,
    ANSWER_BYTES_MAX = 64 << 10, /* Bound on the body of an answer. */
};

struct ops_join {
    struct ops_join_options options;
    struct timer timer;
    struct stream *stream;
    struct http_answer answer; /* To the request in flight, ... */
    struct buf body;           /* ... and its body as far as received. */
    struct rng rng;
    char targets[1024];
    const char *next; /* Into targets. */
    char target[RAFT_ADDR_BYTES];
    bool was_member;                /* At the start of this process. */
    char redirect[RAFT_ADDR_BYTES]; /* From a 307; asked next. */
    uint64_t started_ms;
    uint64_t refused_ms; /* Time of the first such refusal in a row; 0: none. */
    uint64_t wait_ms;
    uint32_t asked;           /* Targets since the last pause. */
    uint32_t waiting_targets; /* Targets in a row that wait to join as well. */
    char trouble[RAFT_ADDR_BYTES + 256]; /* "": none is known. */
    uint64_t trouble_logged_ms;          /* 0: not yet. */
    uint64_t accepted_logged_ms;         /* Likewise. */
};

static void ask(void *arg);

static uint64_t now_ms(const struct ops_join *join)
{
    return reactor_now_ms(join->options.reactor);
}

static bool is_done(const struct ops_join *join, struct node_status *status)
{
    node_get_status(join->options.node, status);
    return status->member &&
           (!join->was_member || node_leader(join->options.node));
}

const char *ops_join_trouble(const struct ops_join *join)
{
    return node_is_member(join->options.node) ? "" : join->trouble;
}

/* Keep `text`, and log it when it is new or was logged some time ago; "" is
 * never logged. */
static void set_trouble(struct ops_join *join, const char *text)
{
    bool same = strcmp(join->trouble, text) == 0;
    snprintf(join->trouble, sizeof(join->trouble), "%s", text);
    if (text[0] == '\0' ||
        (same && now_ms(join) < join->trouble_logged_ms + LOG_AGAIN_MS)) {
        return;
    }
    join->trouble_logged_ms = now_ms(join);
    log_warn("join", "why=\"%s\"", text);
}

static void close_stream(struct ops_join *join)
{
    stream_close(join->stream);
    join->stream = NULL;
    http_answer_free(&join->answer);
}

static void ask_later(struct ops_join *join, uint64_t wait_ms)
{
    close_stream(join);
    timer_arm(join->options.reactor, &join->timer, now_ms(join) + wait_ms, ask,
              join);
}

static uint32_t other_targets(const struct ops_join *join);

/* Ask the next target at once; after the last one of the list, pause. */
static void on_failure(struct ops_join *join, const char *why)
{
    log_warn("join-retry", "target=%s why=\"%s\"", join->target, why);
    join->asked++;
    if (join->asked < other_targets(join)) {
        ask_later(join, 0);
        return;
    }
    join->asked = 0;
    uint64_t wait = join->wait_ms + rng_below(&join->rng, WAIT_MIN_MS);
    join->wait_ms = min_u64(join->wait_ms * 2, WAIT_MAX_MS);
    ask_later(join, wait);
}

/* The target has not answered: forget what earlier answers have shown. */
static void on_no_answer(struct ops_join *join, const char *why)
{
    join->waiting_targets = 0;
    set_trouble(join, "");
    on_failure(join, why);
}

struct problem {
    char code[32];
    char message[208];
    uint64_t membership_index; /* 0: not there. */
};

/* Read the JSON of a refusal; members that are missing stay empty. `body` is
 * decoded in place, so it can be read only once. */
static void read_problem(struct buf *body, struct problem *problem)
{
    struct json_reader reader;
    *problem = (struct problem){0};
    json_init(&reader, body->data, body->size);
    if (json_next(&reader) != JSON_OBJECT_BEGIN) {
        return;
    }
    while (json_next(&reader) == JSON_NAME) {
        bool is_code = bytes_equal_string(reader.text, "code");
        bool is_index = bytes_equal_string(reader.text, "membership_index");
        bool wanted =
            is_code || is_index || bytes_equal_string(reader.text, "message");
        enum json_token token =
            wanted ? json_next(&reader) : json_skip(&reader);
        if (token == JSON_ERROR) {
            return;
        }
        if (is_index && !json_u64(reader.text, &problem->membership_index)) {
            return;
        }
        if (wanted && token == JSON_STRING) {
            char *out = is_code ? problem->code : problem->message;
            size_t room =
                is_code ? sizeof(problem->code) : sizeof(problem->message);
            snprintf(out, room, "%.*s", (int)min_size(reader.text.size, 200),
                     (const char *)reader.text.data);
        }
    }
}

/* True when a live member has had our name or address for refused_ms: another
 * attempt could only succeed while that member is down. */
static bool is_refused(struct ops_join *join, int status, const char *code)
{
    if (status != 409 || strcmp(code, "exists") != 0) {
        join->refused_ms = 0;
    } else if (join->refused_ms == 0) {
        join->refused_ms = now_ms(join);
    }
    return join->refused_ms > 0 &&
           now_ms(join) >= join->refused_ms + join->options.refused_ms;
}

static bool is_own(const struct ops_join *join, const char *target);

static uint32_t other_targets(const struct ops_join *join)
{
    uint32_t count = 0;
    char target[RAFT_ADDR_BYTES];
    for (const char *at = join->targets; *at;) {
        size_t size = strcspn(at, ",");
        snprintf(target, sizeof(target), "%.*s", (int)size, at);
        count += !is_own(join, target);
        at += size;
        at += *at == ',';
    }
    return count;
}

/* The target waits to join as well. When all of them do, no node bootstraps the
 * cluster. */
static void on_waiting_target(struct ops_join *join)
{
    join->waiting_targets++;
    if (join->waiting_targets >= other_targets(join)) {
        set_trouble(join, "all of these nodes wait to join a cluster: start "
                          "one node without --join, with an empty directory");
    }
}

static struct bytes header(const struct ops_join *join, const char *name)
{
    return http_header_named(join->answer.headers, join->answer.header_count,
                             name);
}

/* A newcomer that no leader reaches asks every two seconds, so this is logged
 * once in LOG_AGAIN_MS. */
static void log_accepted(struct ops_join *join)
{
    if (join->accepted_logged_ms > 0 &&
        now_ms(join) < join->accepted_logged_ms + LOG_AGAIN_MS) {
        return;
    }
    join->accepted_logged_ms = now_ms(join);
    log_info("join", "target=%s outcome=accepted", join->target);
}

/* The cluster has added this node; now a member has to reach it. */
static void on_accepted(struct ops_join *join)
{
    uint8_t cluster[16];
    char text[sizeof(join->trouble)];
    struct bytes unreached = header(join, "Craftd-Unreached");
    if (text_hex(header(join, "Craftd-Cluster"), cluster, sizeof(cluster))) {
        node_join_answered(join->options.node, cluster);
    }
    if (unreached.size > 0) {
        snprintf(text, sizeof(text),
                 "%s has accepted this node, but cannot reach it at %.*s "
                 "(--raft-adv, else --raft)",
                 join->target, (int)min_size(unreached.size, 255),
                 (const char *)unreached.data);
        set_trouble(join, text);
    } else {
        set_trouble(join, "");
        log_accepted(join);
    }
    join->wait_ms = WAIT_MIN_MS;
    ask_later(join, ADDED_WAIT_MS); /* Ask again unless HELLO comes first. */
}

static void on_answer(struct ops_join *join)
{
    int status = join->answer.status;
    if (status == 200) {
        join->waiting_targets = 0;
        on_accepted(join);
        return;
    }
    static const char scheme[] = "http://";
    const size_t skip = sizeof(scheme) - 1;
    struct bytes location = header(join, "Location");
    if (status == 307 && location.size > skip &&
        memcmp(location.data, scheme, skip) == 0) {
        const char *host = (const char *)location.data + skip;
        size_t size = 0;
        while (size < location.size - skip && host[size] != '/') {
            size++;
        }
        snprintf(join->redirect, sizeof(join->redirect), "%.*s", (int)size,
                 host);
    }
    char why[256];
    struct problem problem;
    read_problem(&join->body, &problem);
    snprintf(why, sizeof(why), "%d %s", status, problem.message);
    if (join->was_member && status == 404) {
        node_on_removed(join->options.node, problem.membership_index);
    }
    if (is_refused(join, status, problem.code)) {
        log_error("join", "target=%s why=\"%s\"", join->target, why);
        close_stream(join);
        timer_cancel(join->options.reactor, &join->timer);
        join->options.on_refused(join->options.arg);
        return;
    }
    if (strcmp(problem.code, "starting") == 0) {
        on_waiting_target(join);
    } else {
        join->waiting_targets = 0;
        set_trouble(join, "");
    }
    on_failure(join, why);
}

/* `size` 0: the target has closed the connection. */
static void read_answer(struct ops_join *join, uint8_t *data, size_t size)
{
    struct http_answer *answer = &join->answer;
    enum http_progress progress = http_answer_read(answer, data, size);
    if (progress == HTTP_READ_ERROR) {
        on_no_answer(join, answer->error_text);
        return;
    }
    if (answer->body.size > ANSWER_BYTES_MAX - join->body.size) {
        on_no_answer(join, "an answer that is too long");
        return;
    }
    buf_add_bytes(&join->body, answer->body);
    if (progress == HTTP_READ_DONE) {
        on_answer(join);
    }
}

static size_t on_read(struct stream *stream, uint8_t *data, size_t size,
                      void *arg)
{
    (void)stream;
    read_answer(arg, data, size);
    return size;
}

static void on_eof(struct stream *stream, void *arg)
{
    (void)stream;
    read_answer(arg, NULL, 0);
}

static void on_close(struct stream *stream, const char *why, void *arg)
{
    (void)stream;
    struct ops_join *join = arg;
    join->stream = NULL;
    on_no_answer(join, why);
}

static void on_timeout(void *arg)
{
    on_no_answer(arg, "no answer");
}

/* Credentials are for the targets, not for an address that came with an answer.
 */
static bool is_listed(const struct ops_join *join, const char *addr)
{
    size_t size = strlen(addr);
    for (const char *at = join->targets; *at;) {
        size_t length = strcspn(at, ",");
        if (length == size && strncasecmp(at, addr, size) == 0) {
            return true;
        }
        at += length;
        at += *at == ',';
    }
    return false;
}

static void send_request(struct ops_join *join)
{
    const struct ops_join_options *options = &join->options;
    struct node_status status;
    struct buf body = {0};
    node_get_status(options->node, &status);
    buf_add_string(&body, "{\"id\":");
    json_add_string(&body, bytes_of_string(status.name));
    buf_add_string(&body, ",\"addr\":");
    json_add_string(&body, bytes_of_string(options->raft_addr));
    if (options->http_addr[0] != '\0') {
        buf_add_string(&body, ",\"http\":");
        json_add_string(&body, bytes_of_string(options->http_addr));
    }
    buf_add_string(&body, ",\"uuid\":\"");
    text_add_hex(&body, status.uuid, sizeof(status.uuid));
    buf_printf(&body, "\",\"voter\":%s", options->observer ? "false" : "true");
    if (join->was_member) {
        buf_add_string(&body, ",\"cluster\":\"");
        text_add_hex(&body, status.cluster, sizeof(status.cluster));
        buf_add_u8(&body, '"');
    }
    buf_add_u8(&body, '}');
    struct buf *out = stream_output(join->stream);
    char host[REACTOR_ADDR_BYTES]; /* ":11000" is no Host (RFC 9110 7.2). */
    bool ok = addr_full(join->target, host);
    must(ok);
    buf_printf(out,
               "POST /join HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n",
               host, body.size);
    if (options->credentials[0] != '\0' && is_listed(join, join->target)) {
        http_add_header(out, "Authorization",
                        bytes_of_string(options->credentials));
    }
    buf_add_string(out, "\r\n");
    buf_add_bytes(out, buf_bytes(&body));
    buf_free(&body);
}

static const struct stream_handler handler = {
    .on_read = on_read,
    .on_eof = on_eof,
    .on_close = on_close,
};

/* True when `target` is this node's advertised or listening address; no name is
 * resolved for it. A node that asks itself by another name gets an answer at
 * once: the target waits to join. */
static bool is_own(const struct ops_join *join, const char *target)
{
    const char *own[] = {join->options.http_addr, join->options.http_listen};
    char host[REACTOR_HOST_BYTES];
    char own_host[REACTOR_HOST_BYTES];
    uint16_t port;
    uint16_t own_port;
    if (!addr_split(target, host, &port)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(own); i++) {
        if (own[i] && addr_split(own[i], own_host, &own_port) &&
            port == own_port &&
            (strcasecmp(host, own_host) == 0 ||
             (addr_is_loopback(host) && addr_is_loopback(own_host)))) {
            return true;
        }
    }
    return false;
}

static void next_target(struct ops_join *join)
{
    if (*join->next == '\0') {
        join->next = join->targets;
    }
    size_t size = strcspn(join->next, ",");
    snprintf(join->target, sizeof(join->target), "%.*s", (int)size, join->next);
    join->next += size;
    join->next += *join->next == ',';
}

/* False: the list has only this node's own addresses. */
static bool choose_target(struct ops_join *join)
{
    if (join->redirect[0] != '\0') {
        memcpy(join->target, join->redirect, sizeof(join->target));
        join->redirect[0] = '\0';
        return true;
    }
    if (other_targets(join) == 0) {
        return false;
    }
    do {
        next_target(join);
    } while (is_own(join, join->target));
    return true;
}

static void ask(void *arg)
{
    struct ops_join *join = arg;
    struct node_status status;
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    must(!join->stream); /* One request at a time. */
    if (is_done(join, &status)) {
        return;
    }
    if (join->options.timeout_ms > 0 && !join->was_member &&
        now_ms(join) > join->started_ms + join->options.timeout_ms) {
        log_error("join", "why=\"not a member within --join-timeout\"");
        join->options.on_refused(join->options.arg);
        return;
    }
    if (!choose_target(join)) {
        if (!status.member) {
            set_trouble(join, "the list has no address but this node's own");
        }
        ask_later(join, WAIT_MAX_MS);
        return;
    }
    if (!addr_split(join->target, host, &port)) {
        on_failure(join, "not an address");
        return;
    }
    join->stream =
        stream_dial(join->options.reactor, host, port, DIAL_MS, &handler, join);
    http_answer_init(&join->answer);
    join->body.size = 0;
    send_request(join);
    timer_arm(join->options.reactor, &join->timer, now_ms(join) + ASK_MS,
              on_timeout, join);
}

struct ops_join *ops_join_start(const struct ops_join_options *options)
{
    struct ops_join *join = mem_zalloc(sizeof(*join));
    join->options = *options;
    snprintf(join->targets, sizeof(join->targets), "%s", options->targets);
    join->next = join->targets;
    join->started_ms = now_ms(join);
    join->wait_ms = WAIT_MIN_MS;
    rng_init(&join->rng, options->seed);
    struct node_status status;
    node_get_status(options->node, &status);
    join->was_member = status.member;
    timer_arm(options->reactor, &join->timer,
              now_ms(join) + (status.member ? MEMBER_WAIT_MS : 0), ask, join);
    return join;
}

void ops_join_free(struct ops_join *join)
{
    if (join) {
        timer_cancel(join->options.reactor, &join->timer);
        close_stream(join);
        buf_free(&join->body);
        mem_free(join);
    }
}
