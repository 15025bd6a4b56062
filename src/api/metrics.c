/* metrics.c -- /metrics, and counting requests for it.
 *
 * The text format of Prometheus, version 0.0.4: for every family HELP, TYPE
 * and its samples, in base units. Label values that clients or members produce
 * are bounded: there are at most SERIES_MAX lines of samples. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/member_internal.h"
#include "api/metrics_internal.h"
#include "api/routes_internal.h"
#include "base/histogram.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"

#define U(x) ((unsigned long long)(x))

#if defined(__x86_64__)
#define ARCH "x86_64"
#elif defined(__aarch64__)
#define ARCH "aarch64"
#elif defined(__arm__)
#define ARCH "arm"
#elif defined(__riscv)
#define ARCH "riscv"
#else
#define ARCH "other"
#endif

/* Coarser than for the disk, since there is one for each group of routes. */
static const uint64_t duration_us[] = {500,    2000,    10000,  50000,
                                       250000, 1000000, 5000000};

enum {
    SERIES_MAX = 200,
    PLAIN_MAX = 50,      /* Samples without a bound of their own below. */
    HISTOGRAM_EXTRA = 3, /* +Inf, _sum, _count */
};
_Static_assert(PLAIN_MAX + REQUEST_COUNTS_MAX + STATUS_CLASSES +
                       2 * (RAFT_MEMBERS_MAX - 1) +
                       2 * (HISTOGRAM_BOUNDS_MAX + HISTOGRAM_EXTRA) +
                       ROUTE_TIMED_COUNT *
                           (int)(ARRAY_COUNT(duration_us) + HISTOGRAM_EXTRA) <=
                   SERIES_MAX,
               "the series are bounded");

static const char *const group_names[ROUTE_GROUP_COUNT] = {
    [ROUTE_KEY] = "key",     [ROUTE_CLUSTER] = "cluster",
    [ROUTE_PROBE] = "probe", [ROUTE_BACKUP] = "backup",
    [ROUTE_WATCH] = "watch", [ROUTE_OTHER] = "other",
};

const char *api_verb_name(enum http_verb verb)
{
    switch (verb) {
    case HTTP_VERB_GET:
        return "GET";
    case HTTP_VERB_HEAD:
        return "HEAD";
    case HTTP_VERB_POST:
        return "POST";
    case HTTP_VERB_PUT:
        return "PUT";
    case HTTP_VERB_DELETE:
        return "DELETE";
    case HTTP_VERB_OPTIONS:
        return "OPTIONS";
    case HTTP_VERB_OTHER:
        break;
    }
    return "other";
}

/* ---- counting ---- */

void api_metrics_init(struct api_metrics *metrics)
{
    *metrics = (struct api_metrics){0};
    for (int i = 0; i < ROUTE_TIMED_COUNT; i++) {
        histogram_init(&metrics->duration_us[i], duration_us,
                       ARRAY_COUNT(duration_us));
    }
}

static uint64_t *count_of(struct api_metrics *metrics, const struct conn *conn)
{
    /* Never 0: there is no status 0. */
    uint32_t what = (uint32_t)conn->request.group << 24 |
                    (uint32_t)conn->request.verb << 16 |
                    (uint32_t)conn->answer.status;
    for (size_t i = 0; i < REQUEST_COUNTS_MAX; i++) {
        struct request_count *count = &metrics->requests[i];
        if (count->what == 0) {
            count->what = what;
        }
        if (count->what == what) {
            return &count->count;
        }
    }
    int class = conn->answer.status / 100 - 1;
    must(class >= 0 && class < STATUS_CLASSES);
    return &metrics->requests_beyond[class];
}

void api_metrics_count(struct conn *conn)
{
    struct api *api = conn->api;
    (*count_of(&api->metrics, conn))++;
    if (conn->request.start_us > 0 && conn->request.group < ROUTE_TIMED_COUNT) {
        uint64_t now_us = api->options.now_us(api->options.arg);
        histogram_add(&api->metrics.duration_us[conn->request.group],
                      now_us - conn->request.start_us);
    }
    conn->request.start_us = 0;
    conn->request.verb = HTTP_VERB_OTHER;
    conn->request.group = ROUTE_OTHER;
}

/* ---- writing ---- */

static void family(struct buf *out, const char *name, const char *type,
                   const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct buf *out, const char *name, const char *type,
                const char *help, uint64_t value)
{
    family(out, name, type, help);
    buf_printf(out, "%s %llu\n", name, U(value));
}

static void gauge(struct buf *out, const char *name, const char *help,
                  uint64_t value)
{
    one(out, name, "gauge", help, value);
}

static void counter(struct buf *out, const char *name, const char *help,
                    uint64_t value)
{
    one(out, name, "counter", help, value);
}

/* No zeros at the end: scrapers compare "le" as text. */
static void add_seconds(struct buf *out, uint64_t us)
{
    buf_printf(out, "%llu", U(us / 1000000));
    if (us % 1000000 > 0) {
        buf_printf(out, ".%06llu", U(us % 1000000));
        while (out->data[out->size - 1] == '0') {
            out->size--;
        }
    }
}

/* `name`{`label`="`text`"} , without the value. */
static void labelled(struct buf *out, const char *name, const char *label,
                     const char *text)
{
    buf_printf(out, "%s{%s=\"", name, label);
    for (; *text; text++) {
        if (*text == '\\' || *text == '"') {
            buf_add_u8(out, '\\');
        }
        if (*text == '\n') {
            buf_add_string(out, "\\n");
        } else {
            buf_add_u8(out, (uint8_t)*text);
        }
    }
    buf_add_string(out, "\"} ");
}

/* `label` is "" or `name="value"`. */
static void add_histogram(struct buf *out, const char *name, const char *label,
                          const struct histogram *histogram)
{
    const char *comma = label[0] ? "," : "";
    uint64_t count = 0;
    for (uint32_t i = 0; i < histogram->bound_count; i++) {
        count += histogram->counts[i];
        buf_printf(out, "%s_bucket{%s%sle=\"", name, label, comma);
        add_seconds(out, histogram->bounds[i]);
        buf_printf(out, "\"} %llu\n", U(count));
    }
    count += histogram->counts[histogram->bound_count];
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, label, comma,
               U(count));
    const char *open = label[0] ? "{" : "";
    const char *close = label[0] ? "}" : "";
    buf_printf(out, "%s_sum%s%s%s ", name, open, label, close);
    add_seconds(out, histogram->sum);
    buf_printf(out, "\n%s_count%s%s%s %llu\n", name, open, label, close,
               U(count));
}

/* ---- the families ---- */

static void add_process(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    struct api_process process;
    family(out, "craftd_build_info", "gauge", "What runs here; always 1.");
    buf_printf(
        out, "craftd_build_info{version=\"%s\",sqlite=\"%s\",arch=\"%s\"} 1\n",
        api->options.version, status->sqlite_version, ARCH);
    gauge(out, "craftd_start_time_seconds", "Unix time of the start.",
          api->options.start_s);
    /* The name that client libraries use. */
    gauge(out, "process_start_time_seconds", "Unix time of the start.",
          api->options.start_s);
    bool seccomp;
    bool landlock;
    api->options.sandbox(api->options.arg, &seccomp, &landlock);
    family(out, "craftd_sandbox", "gauge",
           "1: this layer restricts the process.");
    buf_printf(out, "craftd_sandbox{layer=\"seccomp\"} %d\n", seccomp);
    buf_printf(out, "craftd_sandbox{layer=\"landlock\"} %d\n", landlock);
    api->options.process(api->options.arg, &process);
    if (process.has_memory) {
        gauge(out, "process_resident_memory_bytes", "Memory in use.",
              process.resident_bytes);
        gauge(out, "process_virtual_memory_bytes", "Address space in use.",
              process.virtual_bytes);
    }
    gauge(out, "process_open_fds", "Open descriptors.", process.open_fds);
    gauge(out, "process_max_fds", "Descriptors that may be open.",
          process.max_fds);
    family(out, "process_cpu_seconds_total", "counter",
           "User and system time used.");
    buf_add_string(out, "process_cpu_seconds_total ");
    add_seconds(out, process.cpu_us);
    buf_add_u8(out, '\n');
}

static void add_members(struct buf *out, const struct node_status *status)
{
    static const enum raft_suffrage roles[] = {RAFT_VOTER, RAFT_LEARNER,
                                               RAFT_OBSERVER};
    uint64_t counts[RAFT_OBSERVER + 1] = {0};
    for (uint32_t i = 0; i < status->conf->count; i++) {
        counts[status->conf->members[i].suffrage]++;
    }
    family(out, "craftd_raft_peers", "gauge",
           "Members by role, this node included.");
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++) {
        labelled(out, "craftd_raft_peers", "role", api_suffrage_name(roles[i]));
        buf_printf(out, "%llu\n", U(counts[roles[i]]));
    }
}

static void add_reachable(struct api *api, const struct node_status *status)
{
    uint64_t reachable = 0;
    for (uint32_t i = 0; i < status->conf->count; i++) {
        raft_id id = status->conf->members[i].id;
        reachable += id != status->raft.self &&
                     api->options.peer_up(api->options.arg, id);
    }
    gauge(&api->body, "craftd_raft_peers_reachable",
          "Other members that this node has a connection with.", reachable);
}

/* Only the leader has these. */
static void add_progress(struct buf *out, const struct node_status *status)
{
    const struct raft_status *raft = &status->raft;
    if (raft->peer_count == 0) {
        return;
    }
    family(out, "craftd_raft_peer_rtt_seconds", "gauge",
           "Round trip of the last heartbeat, to the millisecond.");
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_member *member =
            raft_conf_find(status->conf, raft->peers[i].id);
        if (member) {
            labelled(out, "craftd_raft_peer_rtt_seconds", "peer", member->name);
            add_seconds(out, raft->peers[i].rtt_ms * 1000);
            buf_add_u8(out, '\n');
        }
    }
    family(out, "craftd_raft_peer_lag_entries", "gauge",
           "Entries that the peer is not known to have on its disk.");
    for (uint32_t i = 0; i < raft->peer_count; i++) {
        const struct raft_member *member =
            raft_conf_find(status->conf, raft->peers[i].id);
        if (member) {
            labelled(out, "craftd_raft_peer_lag_entries", "peer", member->name);
            buf_printf(out, "%llu\n", U(raft->last - raft->peers[i].match));
        }
    }
}

static void add_proposals(struct buf *out, const struct node_status *status,
                          const struct node_metrics *metrics)
{
    static const char name[] = "craftd_raft_proposals_total";
    gauge(out, "craftd_raft_proposals_pending",
          "Requests in the log that are not applied yet.",
          status->proposals_pending);
    family(out, name, "counter",
           "Requests that this node was to append as leader, by result.");
    labelled(out, name, "result", "committed");
    buf_printf(out, "%llu\n", U(metrics->committed));
    labelled(out, name, "result", "failed");
    buf_printf(out, "%llu\n", U(metrics->failed));
    labelled(out, name, "result", "timeout");
    buf_printf(out, "%llu\n", U(metrics->timed_out));
    family(out, "craftd_raft_commit_duration_seconds", "histogram",
           "From appending an entry to having applied it, on the leader.");
    add_histogram(out, "craftd_raft_commit_duration_seconds", "",
                  &metrics->commit_us);
}

static void add_snapshots(struct buf *out, const struct node_status *status,
                          const struct node_metrics *metrics)
{
    const struct {
        const char *labels;
        uint64_t value;
    } rows[] = {
        {"kind=\"taken\",result=\"ok\"", status->checkpoints},
        {"kind=\"sent\",result=\"ok\"", metrics->snapshots_sent},
        {"kind=\"sent\",result=\"failed\"", metrics->snapshots_unsent},
        {"kind=\"installed\",result=\"ok\"", metrics->snapshots_installed},
        {"kind=\"installed\",result=\"failed\"", metrics->snapshots_refused},
    };
    family(out, "craftd_raft_snapshots_total", "counter",
           "Checkpoints taken, and copies sent and installed.");
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        buf_printf(out, "craftd_raft_snapshots_total{%s} %llu\n",
                   rows[i].labels, U(rows[i].value));
    }
}

static void add_raft(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    const struct node_metrics *metrics = node_get_metrics(api->node);
    gauge(out, "craftd_raft_is_leader", "1 on the leader.",
          node_is_leader(api->node));
    gauge(out, "craftd_raft_has_leader", "1 when a leader is known.",
          node_leader(api->node) != NULL);
    gauge(out, "craftd_raft_term", "The current term.", status->raft.term);
    counter(out, "craftd_raft_leader_changes_total",
            "Leaders that this node has seen come.", metrics->leader_changes);
    counter(out, "craftd_raft_elections_total",
            "Elections that this node has started.", status->raft.elections);
    const struct catch_up *at = node_catch_up(api->node);
    uint64_t left = at && at->total > at->done ? at->total - at->done : 0;
    bool snapshot = at && at->kind == CATCH_UP_SNAPSHOT;
    gauge(out, "craftd_raft_catch_up_bytes",
          "Bytes of a snapshot that are still to arrive here.",
          snapshot ? left : 0);
    gauge(out, "craftd_raft_catch_up_entries",
          "Entries that this node lacks of what the leader has reported, for "
          "more than a second.",
          snapshot ? 0 : left);
    gauge(out, "craftd_raft_commit_index", "Last entry known to be committed.",
          status->raft.commit);
    gauge(out, "craftd_raft_applied_index", "Last entry applied here.",
          status->applied);
    gauge(out, "craftd_raft_last_log_index", "Last entry in the log.",
          status->raft.last);
    add_members(out, status);
    add_reachable(api, status);
    add_progress(out, status);
    add_proposals(out, status, metrics);
    add_snapshots(out, status, metrics);
}

static void add_storage(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    const struct histogram *syncs = node_sync_times(api->node);
    if (syncs) {
        family(out, "craftd_storage_fsync_duration_seconds", "histogram",
               "fdatasync of the log.");
        add_histogram(out, "craftd_storage_fsync_duration_seconds", "", syncs);
    }
    family(out, "craftd_storage_written_bytes_total", "counter",
           "Bytes written to the log, and to the database in use.");
    labelled(out, "craftd_storage_written_bytes_total", "file", "log");
    buf_printf(out, "%llu\n", U(status->written_bytes));
    labelled(out, "craftd_storage_written_bytes_total", "file", "db");
    buf_printf(out, "%llu\n", U(status->db_written_bytes));
    gauge(out, "craftd_storage_db_size_bytes",
          "Size of the database, with what is not yet in its file.",
          status->db_bytes);
    gauge(out, "craftd_storage_log_size_bytes", "Size of the log.",
          status->log_bytes);
    gauge(out, "craftd_storage_quota_bytes", "--max-db; 0: no limit.",
          api->options.db_bytes_max);
    gauge(out, "craftd_storage_cache_bytes",
          "Upper bound on the database's page cache (--cache).",
          api->options.cache_bytes);
    gauge(out, "craftd_storage_buffered_bytes",
          "Memory of writes that are not in the database yet (--write-buffer).",
          status->buffered_bytes);
    gauge(out, "craftd_storage_no_space",
          "1 while writes are refused for lack of space.",
          status->no_space || status->over_quota);
    gauge(out, "craftd_keys", "Keys in the database.", status->keys);
    gauge(out, "craftd_ttl_keys", "Keys with a time-out or a lease.",
          status->timed_keys);
    gauge(out, "craftd_leases", "Leases that are in force.", status->leases);
    family(out, "craftd_next_expiry_seconds", "gauge",
           "Time until the next key or lease may end, at least; -1: none "
           "will.");
    buf_add_string(out, "craftd_next_expiry_seconds ");
    if (status->next_end_ms == UINT64_MAX) {
        buf_add_string(out, "-1\n");
    } else {
        add_seconds(out, status->next_end_ms * 1000);
    }
}

static void add_backups(struct api *api)
{
    struct buf *out = &api->body;
    struct api_backups backups;
    if (!api->options.backups(api->options.arg, &backups)) {
        return;
    }
    gauge(out, "craftd_backup_last_success_time_seconds",
          "Unix time when --backup-dir last had a backup of everything; "
          "0: not since the start.",
          backups.time_s);
    gauge(out, "craftd_backup_last_success_size_bytes",
          "Size of that backup; 0: none was written since the start.",
          backups.bytes);
    counter(out, "craftd_backup_failures_total",
            "Scheduled backups that failed.", backups.failures);
    if (backups.has_exec) {
        gauge(out, "craftd_backup_exec_last_success_time_seconds",
              "Unix time when --backup-exec last succeeded; 0: not since the "
              "start.",
              backups.exec_time_s);
        counter(out, "craftd_backup_exec_failures_total",
                "Runs of --backup-exec that failed.", backups.exec_failures);
    }
}

static void add_requests(struct api *api)
{
    static const char name[] = "craftd_http_requests_total";
    const struct api_metrics *metrics = &api->metrics;
    struct buf *out = &api->body;
    family(out, name, "counter", "Requests answered.");
    for (size_t i = 0; i < REQUEST_COUNTS_MAX; i++) {
        const struct request_count *row = &metrics->requests[i];
        if (row->what == 0) {
            break;
        }
        buf_printf(out, "%s{route=\"%s\",method=\"%s\",code=\"%u\"} %llu\n",
                   name, group_names[row->what >> 24],
                   api_verb_name((enum http_verb)(row->what >> 16 & 0xff)),
                   row->what & 0xffff, U(row->count));
    }
    /* "any" is no route, method or code: it cannot meet one of the above. */
    for (int i = 1; i < STATUS_CLASSES; i++) { /* 1xx is no answer. */
        buf_printf(out, "%s{route=\"any\",method=\"any\",code=\"%dxx\"} %llu\n",
                   name, i + 1, U(metrics->requests_beyond[i]));
    }
}

/* Adds the lag of the slowest watch, without its name: there is no bound on the
 * names of all watches. /status has those of the slowest few. */
static void add_watch_lag(struct api *api)
{
    struct buf *out = &api->body;
    struct watches_lag lag;
    api_watches_get_lag(api, NULL, &lag);
    gauge(out, "craftd_watchers_behind",
          "Watches whose client has not been sent everything.", lag.behind);
    gauge(out, "craftd_watch_lag_entries_max",
          "Entries applied here since the state that the slowest client of a "
          "watch has been sent.",
          lag.entries_max);
    family(out, "craftd_watch_lag_seconds_max", "gauge",
           "Age of the oldest state that a client of a watch has been sent.");
    buf_add_string(out, "craftd_watch_lag_seconds_max ");
    add_seconds(out, lag.ms_max * 1000);
    buf_add_u8(out, '\n');
    gauge(out, "craftd_watch_buffered_bytes",
          "Bytes that wait until clients of watches take them.", lag.bytes);
}

static void add_http(struct api *api)
{
    static const char name[] = "craftd_http_request_duration_seconds";
    struct buf *out = &api->body;
    add_requests(api);
    family(out, name, "histogram",
           "From having read a request to having its answer.");
    for (int i = 0; i < ROUTE_TIMED_COUNT; i++) {
        char label[32];
        snprintf(label, sizeof(label), "route=\"%s\"", group_names[i]);
        add_histogram(out, name, label, &api->metrics.duration_us[i]);
    }
    gauge(out, "craftd_http_connections", "Connections of clients.",
          api->conns.count);
    gauge(out, "craftd_watchers", "Watches that are open.", api->watches.count);
    counter(out, "craftd_watch_events_total", "Events sent to watches.",
            api->watches.events);
    counter(
        out, "craftd_watch_dropped_total",
        "Watches that ended since their client did not keep up, or the data "
        "was replaced.",
        api->watches.dropped);
    add_watch_lag(api);
    counter(out, "craftd_auth_failures_total",
            "Requests with wrong credentials.",
            api->gate.auth ? auth_failures(api->gate.auth) : 0);
    counter(out, "craftd_http_forwarded_total",
            "Requests passed on to another node.",
            node_get_metrics(api->node)->forwarded);
    counter(out, "craftd_expired_total",
            "Keys that were deleted since their time was over.",
            node_get_metrics(api->node)->expired);
    counter(out, "craftd_idempotency_replays_total",
            "First answers given again for an Idempotency-Key.",
            api->metrics.replays);
    family(out, "craftd_reactor_stall_seconds_max", "gauge",
           "The longest turn of the event loop.");
    buf_add_string(out, "craftd_reactor_stall_seconds_max ");
    add_seconds(out, reactor_turn_max_us(api->options.reactor));
    buf_add_u8(out, '\n');
    family(out, "craftd_reactor_turn_seconds", "histogram",
           "Turns of the event loop, without their sleep.");
    add_histogram(out, "craftd_reactor_turn_seconds", "",
                  reactor_turn_times(api->options.reactor));
}

void api_on_metrics(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct node_status status;
    (void)request;
    node_get_status(api->node, &status);
    add_process(api, &status);
    add_raft(api, &status);
    add_storage(api, &status);
    add_backups(api);
    add_http(api);
    api_answer(conn, 200, "text/plain; version=0.0.4; charset=utf-8",
               buf_bytes(&api->body));
}
