/* bench.c -- craftd bench: how many writes and reads a cluster carries out, and
 * how fast.
 *
 * Each connection has one request in progress. The keys are under a prefix of
 * their own, which is deleted at the end, whatever that is; there are few of
 * them, so that the database does not grow by more than KEYS_BYTES_MAX. An
 * answer other than success, such as 429, 503 or 507, ends the measurement:
 * the cluster has more to do than it can, and is not to be pushed further. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "client/bench_internal.h"
#include "client/client_internal.h"
#include "client/progress_internal.h"
#include "sys/sys.h"

enum {
    CONNS_MAX = 256,
    KEYS_MAX = 1000,
    KEYS_BYTES_MAX = 16 << 20,
    WRITTEN_BYTES_MAX = 512 << 20, /* Upper bound on all values written. */
    SIZE_MAX_BYTES = 1 << 20,
    TIME_MAX_MS = 60000,
    READ_BYTES = 64 << 10,
    TEXT_BYTES = 40,
};

struct line { /* A connection. */
    int fd;
    struct buf out; /* The request. */
    size_t sent;
    uint64_t start_us;
    bool is_waiting; /* A request is in progress. */
    struct http_answer answer;
};

struct bench {
    const struct options *options;
    char addr[SERVER_BYTES];
    char prefix[TEXT_BYTES];
    struct line lines[CONNS_MAX];
    struct pollfd polls[CONNS_MAX];
    size_t count;
    struct buf value;
    struct buf credentials; /* Header lines. */
    uint64_t keys;          /* Number of keys in turn. */
    bool reads;             /* The phase: reads, else writes. */
    uint64_t begun;         /* Requests of this phase. */
    uint64_t written_bytes;
    struct bench_times times;
    struct progress progress;
    char trouble[REQUEST_WHY_BYTES + 64]; /* Why it ended; "": it did not. */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static uint64_t now_us(void)
{
    return sys_now_ns() / 1000;
}

/* ---- one request ---- */

static void begin_request(struct bench *bench, struct line *line)
{
    struct buf *out = &line->out;
    uint64_t key = bench->begun++ % bench->keys;
    out->size = 0;
    buf_printf(out,
               "%s /key/%s%llu%s HTTP/1.1\r\nHost: localhost\r\n"
               "User-Agent: craftd/%s\r\n",
               bench->reads ? "GET" : "PUT", bench->prefix,
               (unsigned long long)key, bench->reads ? "?raw" : "",
               bench->options->version);
    buf_add_bytes(out, buf_bytes(&bench->credentials));
    if (!bench->reads) {
        buf_printf(out, "Content-Length: %zu\r\n", bench->value.size);
        bench->written_bytes += bench->value.size;
    }
    buf_add_string(out, "\r\n");
    if (!bench->reads) {
        buf_add_bytes(out, buf_bytes(&bench->value));
    }
    line->sent = 0;
    line->start_us = now_us();
    line->is_waiting = true;
    http_answer_free(&line->answer);
    http_answer_init(&line->answer);
}

/* The first trouble is what ends the phase. */
static void stop(struct bench *bench, const char *what, const char *why)
{
    if (!bench->trouble[0]) {
        (void)snprintf(bench->trouble, sizeof(bench->trouble), "%s%s", what,
                       why);
    }
}

static void send_more(struct bench *bench, struct line *line)
{
    ssize_t rc = send(line->fd, line->out.data + line->sent,
                      line->out.size - line->sent, MSG_NOSIGNAL);
    if (rc >= 0) {
        line->sent += (size_t)rc;
    } else if (errno != EAGAIN && errno != EINTR) {
        stop(bench, "sending: ", strerror(errno));
    }
}

static void end_request(struct bench *bench, struct line *line)
{
    const struct http_answer *answer = &line->answer;
    line->is_waiting = false;
    if (answer->status < 200 || answer->status > 299) {
        char text[TEXT_BYTES];
        (void)snprintf(text, sizeof(text), "%d %.30s", answer->status,
                       http_reason(answer->status));
        stop(bench, "the cluster answers ", text);
        return;
    }
    bench_add_time(&bench->times, now_us() - line->start_us);
}

static void receive(struct bench *bench, struct line *line)
{
    static uint8_t data[READ_BYTES];
    ssize_t got = recv(line->fd, data, sizeof(data), 0);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            stop(bench, "receiving: ", strerror(errno));
        }
        return;
    }
    if (!line->is_waiting) {
        stop(bench, "the server has closed a connection", "");
        return;
    }
    enum http_progress progress =
        http_answer_read(&line->answer, data, (size_t)got);
    if (progress == HTTP_READ_DONE) {
        end_request(bench, line);
    } else if (progress == HTTP_READ_ERROR) {
        stop(bench, "", line->answer.error_text);
    }
}

/* ---- a phase ---- */

/* Wait for the connections, and serve those that are ready. */
static void turn(struct bench *bench, int wait_ms)
{
    for (size_t i = 0; i < bench->count; i++) {
        const struct line *line = &bench->lines[i];
        bool unsent = line->is_waiting && line->sent < line->out.size;
        bench->polls[i] = (struct pollfd){
            .fd = line->fd, .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
    }
    if (poll(bench->polls, (nfds_t)bench->count, wait_ms) <= 0) {
        return;
    }
    for (size_t i = 0; i < bench->count && !bench->trouble[0]; i++) {
        if (bench->polls[i].revents & POLLOUT) {
            send_more(bench, &bench->lines[i]);
        }
        if (bench->polls[i].revents & (POLLIN | POLLHUP | POLLERR)) {
            receive(bench, &bench->lines[i]);
        }
    }
}

static bool is_over(const struct bench *bench, uint64_t end_us)
{
    return bench->trouble[0] || interrupted || now_us() >= end_us ||
           (!bench->reads && bench->written_bytes >= WRITTEN_BYTES_MAX);
}

/* Number of requests in progress; one that takes too long ends the phase. */
static size_t count_waiting(struct bench *bench)
{
    uint64_t limit_us = (bench->options->timeout_ms + 1000) * 1000;
    size_t count = 0;
    for (size_t i = 0; i < bench->count; i++) {
        if (bench->lines[i].is_waiting) {
            count++;
            if (now_us() > bench->lines[i].start_us + limit_us) {
                stop(bench, "no answer in time", "");
            }
        }
    }
    return count;
}

static void run_phase(struct bench *bench, uint64_t time_ms)
{
    enum { WAIT_MS = 50 };
    uint64_t end_us = now_us() + time_ms * 1000;
    bench->begun = 0;
    bench->times = (struct bench_times){0};
    do {
        for (size_t i = 0; i < bench->count && !is_over(bench, end_us); i++) {
            if (!bench->lines[i].is_waiting) {
                begin_request(bench, &bench->lines[i]);
                send_more(bench, &bench->lines[i]);
            }
        }
        turn(bench, WAIT_MS);
        progress_update(&bench->progress, bench->times.count);
    } while ((count_waiting(bench) > 0 || !is_over(bench, end_us)) &&
             !bench->trouble[0]);
}

/* ---- figures ---- */

static void read_use(struct bench *bench, struct bench_use *use)
{
    char addr[SERVER_BYTES];
    char why[REQUEST_WHY_BYTES];
    struct request request;
    struct rusage own;
    *use = (struct bench_use){.wall_us = now_us()};
    memcpy(addr, bench->addr, sizeof(addr));
    request_init(&request, "GET", "/metrics");
    if (request_ask(&request, bench->options, addr, why) == EXIT_DONE) {
        (void)bench_read_metrics(buf_bytes(&request.answer_body), use);
    }
    request_free(&request);
    if (getrusage(RUSAGE_SELF, &own) == 0) {
        use->client_us =
            (uint64_t)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1000000 +
            (uint64_t)(own.ru_utime.tv_usec + own.ru_stime.tv_usec);
    }
}

static void subtract(struct bench_use *use, const struct bench_use *before)
{
    use->has_node = use->has_node && before->has_node &&
                    use->node_us >= before->node_us &&
                    use->syncs_us >= before->syncs_us;
    use->wall_us -= before->wall_us;
    use->client_us -= before->client_us;
    if (use->has_node) {
        use->node_us -= before->node_us;
        use->syncs_us -= before->syncs_us;
    }
}

static double ms(uint64_t us)
{
    return (double)us / 1000;
}

static int report(struct bench *bench, uint64_t took_us,
                  const struct bench_use *use)
{
    const struct bench_times *times = &bench->times;
    struct buf out = {0};
    buf_printf(&out,
               "%s: %llu in %.1f s, %.0f a second; %zu connections, %zu-byte "
               "values\n",
               bench->reads ? "reads" : "writes",
               (unsigned long long)times->count, (double)took_us / 1e6,
               (double)times->count * 1e6 / (double)max_u64(took_us, 1),
               bench->count, bench->value.size);
    if (times->count > 0) {
        buf_printf(&out,
                   "  latency ms   p50 %.2f   p99 %.2f   p99.9 %.2f   max "
                   "%.2f\n",
                   ms(bench_quantile_us(times, 500)),
                   ms(bench_quantile_us(times, 990)),
                   ms(bench_quantile_us(times, 999)), ms(times->max_us));
        bench_explain(&out, use);
    }
    int code = client_print_bytes(bench->options, buf_bytes(&out));
    buf_free(&out);
    return code;
}

static int measure(struct bench *bench, bool reads)
{
    struct bench_use before;
    struct bench_use use;
    if (reads) { /* Those that were written. */
        bench->keys = min_u64(bench->keys, bench->begun);
    }
    bench->reads = reads;
    read_use(bench, &before);
    uint64_t start_us = now_us();
    run_phase(bench, bench->options->time_ms / 2);
    uint64_t took_us = now_us() - start_us;
    read_use(bench, &use);
    subtract(&use, &before);
    progress_end();
    return report(bench, took_us, &use);
}

/* ---- start and end ---- */

static bool connect_all(struct bench *bench)
{
    char why[REQUEST_WHY_BYTES] = "";
    const char *list = bench->options->word_count > 0 ? bench->options->words[0]
                                                      : bench->options->addr;
    int fd = -1;
    while (fd < 0 && client_next_server(&list, bench->addr)) {
        fd = client_dial(bench->addr, bench->options->timeout_ms, why,
                         sizeof(why));
    }
    size_t wanted = (size_t)bench->options->conns;
    while (fd >= 0) {
        bench->lines[bench->count++] = (struct line){.fd = fd};
        if (bench->count == wanted) {
            return true;
        }
        fd = client_dial(bench->addr, bench->options->timeout_ms, why,
                         sizeof(why));
    }
    client_say(bench->options, "%s: %s",
               bench->addr[0] ? bench->addr : "no server to ask", why);
    return false;
}

/* Delete what was written. */
static int clean_up(struct bench *bench)
{
    struct options options = *bench->options;
    struct request request;
    options.addr = bench->addr;
    request_init(&request, "DELETE", "/keys");
    request_add_query(&request, "prefix", bytes_of_string(bench->prefix));
    request.changes = true;
    int code = request_run(&request, &options);
    request_free(&request);
    if (code) {
        client_say(bench->options, "its keys are left: craftd del --prefix %s",
                   bench->prefix);
    }
    return code;
}

static int run(struct bench *bench)
{
    char why[REQUEST_WHY_BYTES];
    if (!connect_all(bench)) {
        return EXIT_AWAY;
    }
    if (!client_add_credentials(&bench->credentials, bench->options,
                                bench->addr, why, sizeof(why))) {
        client_say(bench->options, "%s", why);
        return EXIT_FAILED;
    }
    int code = EXIT_DONE;
    for (int reads = 0;
         reads < 2 && !code && !bench->trouble[0] && !interrupted; reads++) {
        code = measure(bench, reads == 1);
    }
    if (bench->trouble[0]) {
        client_say(bench->options, "stopped: %s", bench->trouble);
        code = code ? code : EXIT_FAILED;
    }
    int cleaned = clean_up(bench);
    return code ? code : interrupted ? EXIT_FAILED : cleaned;
}

int client_run_bench(const struct options *options)
{
    struct options own = *options;
    uint64_t random;
    if (options->word_count > 0) {
        own.addr = options->words[0]; /* Credentials are for it as well. */
    }
    if (!options->has_conns) {
        own.conns = 16;
    }
    if (!options->has_size) {
        own.size = 100;
    }
    if (own.conns < 1 || own.conns > CONNS_MAX || own.size > SIZE_MAX_BYTES ||
        own.time_ms > TIME_MAX_MS) {
        client_say(options,
                   "--conns is 1 to %d, --size at most %d, --time at "
                   "most %d s",
                   CONNS_MAX, SIZE_MAX_BYTES, TIME_MAX_MS / 1000);
        return EXIT_USAGE;
    }
    struct bench *bench = mem_zalloc(sizeof(*bench));
    bench->options = &own;
    bench->keys = min_u64(KEYS_MAX, KEYS_BYTES_MAX / max_u64(own.size, 1));
    sys_entropy(&random, sizeof(random));
    (void)snprintf(bench->prefix, sizeof(bench->prefix), "craftd-bench/%08llx/",
                   (unsigned long long)(random & 0xffffffff));
    memset(buf_reserve(&bench->value, (size_t)own.size + 1), 'v',
           (size_t)own.size);
    bench->value.size = (size_t)own.size;
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    progress_start(&bench->progress, &own, "requests", 0);
    int code = run(bench);
    for (size_t i = 0; i < bench->count; i++) {
        close(bench->lines[i].fd);
        buf_free(&bench->lines[i].out);
        http_answer_free(&bench->lines[i].answer);
    }
    buf_free(&bench->value);
    buf_free(&bench->credentials);
    mem_free(bench);
    return code;
}
