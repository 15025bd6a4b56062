/* status.c -- GET /status: what this node knows of itself and of the others.
 * GET /hash: that of its content at an index. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/member_internal.h"
#include "api/params_internal.h"
#include "api/routes_internal.h"
#include "api/write_internal.h"
#include "base/histogram.h"
#include "base/text.h"
#include "http/http.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

#define U(x) ((unsigned long long)(x))

static void add_identity(struct buf *out, const char *id, const char *address)
{
    buf_add_u8(out, '{');
    api_add_text(out, "id", id);
    buf_add_u8(out, ',');
    api_add_text(out, "address", address);
    buf_add_u8(out, '}');
}

static void add_peers(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    const char *comma = "";
    buf_add_string(out, "\"peers\":[");
    for (uint32_t i = 0; i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        if (member->id == status->raft.self) {
            continue;
        }
        buf_printf(out, "%s{", comma);
        comma = ",";
        api_add_text(out, "id", member->name);
        buf_add_u8(out, ',');
        api_add_text(out, "address", member->addr);
        buf_printf(out, ",\"role\":\"%s\"",
                   api_suffrage_name(member->suffrage));
        api_add_progress(out, status, member->id);
        buf_printf(out, ",\"reachable\":%s,",
                   api_member_is_reachable(api, status, member->id) ? "true"
                                                                    : "false");
        api_add_text(out, "last_error",
                     api_member_trouble(api, status, member));
        buf_add_u8(out, '}');
    }
    buf_add_string(out, "]");
}

/* As in hraftd: every member but the leader, whatever its role. */
static void add_followers(struct buf *out, const struct node_status *status,
                          const struct raft_member *leader)
{
    const char *comma = "";
    buf_add_string(out, "\"followers\":[");
    for (uint32_t i = 0; i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        if (leader && member->id == leader->id) {
            continue;
        }
        buf_add_string(out, comma);
        add_identity(out, member->name, member->addr);
        comma = ",";
    }
    buf_add_string(out, "]");
}

static void add_engine(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    buf_printf(out,
               "\"role\":\"%s\",\"term\":%llu,\"commit\":%llu,"
               "\"applied\":%llu,\"last_log\":%llu,\"cluster\":\"",
               raft_role_name(status->raft.role), U(status->raft.term),
               U(status->raft.commit), U(status->applied),
               U(status->raft.last));
    text_add_hex(out, status->cluster, sizeof(status->cluster));
    buf_printf(out,
               "\",\"version\":\"%s\",\"sqlite\":\"%s\",\"api_version\":1,",
               api->options.version, status->sqlite_version);
    buf_printf(out, "\"hash\":\"%016llx\",\"keys\":%llu,\"ready\":%s,",
               U(status->hash), U(status->keys),
               status->ready ? "true" : "false");
}

/* Absent without --backup-dir. */
static void add_backups(struct api *api)
{
    struct buf *out = &api->body;
    struct api_backups backups;
    if (!api->options.backups(api->options.arg, &backups)) {
        return;
    }
    buf_printf(out,
               ",\"backups\":{\"time\":%llu,\"index\":%llu,\"bytes\":%llu,"
               "\"failures\":%llu",
               U(backups.time_s), U(backups.index), U(backups.bytes),
               U(backups.failures));
    if (backups.has_exec) {
        buf_printf(out, ",\"exec_time\":%llu,\"exec_failures\":%llu",
                   U(backups.exec_time_s), U(backups.exec_failures));
    }
    buf_add_u8(out, '}');
}

/* Only while the node is behind. */
static void add_catch_up(struct api *api)
{
    const struct catch_up *at = node_catch_up(api->node);
    if (!at) {
        return;
    }
    buf_printf(&api->body,
               ",\"catch_up\":{\"what\":\"%s\",\"done\":%llu,\"total\":%llu,"
               "\"per_second\":%llu",
               at->kind == CATCH_UP_SNAPSHOT ? "snapshot" : "entries",
               U(at->done), U(at->total), U(at->per_second));
    if (catch_up_left_s(at) < UINT64_MAX) {
        buf_printf(&api->body, ",\"seconds_left\":%llu",
                   U(catch_up_left_s(at)));
    }
    buf_add_u8(&api->body, '}');
}

/* Watches are named to those who may read what they show. */
static void add_watches(struct conn *conn)
{
    struct api *api = conn->api;
    struct buf *out = &api->body;
    struct feed_stats feed;
    struct watches_lag lag;
    const char *comma = "";
    feed_get_stats(node_feed(api->node), &feed);
    api_watches_get_lag(api, &conn->gate.identity, &lag);
    buf_printf(
        out,
        ",\"watch\":{\"watchers\":%u,\"watchers_max\":%u,\"events\":%llu,"
        "\"dropped\":%llu,\"behind\":%u,\"lag_max\":%llu,\"lag_ms_max\":%llu,"
        "\"buffered_bytes\":%llu,\"history_events\":%u,"
        "\"history_bytes\":%llu,\"oldest_index\":%llu,\"slowest\":[",
        api->watches.count, api_watches_max(api), U(api->watches.events),
        U(api->watches.dropped), lag.behind, U(lag.entries_max), U(lag.ms_max),
        U(lag.bytes), feed.events, U(feed.bytes),
        U(feed_floor(node_feed(api->node))));
    for (uint32_t i = 0; i < lag.row_count; i++) {
        const struct watch_lag_row *row = &lag.rows[i];
        const struct feed_watch *watch = &row->conn->watch.feed;
        buf_printf(out, "%s{", comma);
        comma = ",";
        api_add_text_member(out, watch->is_prefix ? "prefix" : "key",
                            watch->key);
        buf_add_u8(out, ',');
        api_add_text(out, "address", stream_peer_text(row->conn->stream));
        buf_printf(out,
                   ",\"lag\":%llu,\"lag_ms\":%llu,\"buffered_bytes\":%llu}",
                   U(row->entries), U(row->ms), U(row->bytes));
    }
    buf_add_string(out, "]}");
}

static void add_storage(struct conn *conn, const struct node_status *status)
{
    struct api *api = conn->api;
    struct buf *out = &api->body;
    const struct histogram *syncs = node_sync_times(api->node);
    uint64_t p99_us = syncs ? histogram_quantile(syncs, 990) : 0;
    p99_us = min_u64(p99_us, status->sync_us_max);
    buf_printf(out,
               ",\"storage\":{\"db_bytes\":%llu,\"log_bytes\":%llu,"
               "\"written_bytes\":%llu,\"syncs\":%llu,\"sync_us_max\":%llu,"
               "\"fsync_p99_ms\":%llu.%llu,"
               "\"writes\":%llu,\"no_space\":%s,\"quota_bytes\":%llu,"
               "\"cache_bytes\":%llu,\"turn_ms_max\":%llu}",
               U(status->db_bytes), U(status->log_bytes),
               U(status->written_bytes), U(status->syncs),
               U(status->sync_us_max), U(p99_us / 1000), U(p99_us / 100 % 10),
               U(status->writes),
               status->no_space || status->over_quota ? "true" : "false",
               U(api->options.db_bytes_max), U(api->options.cache_bytes),
               U(reactor_turn_max_us(api->options.reactor) / 1000));
    add_catch_up(api);
    add_watches(conn);
    buf_printf(out,
               ",\"ttl\":{\"keys\":%llu,\"leases\":%llu,\"expired\":%llu,"
               "\"next_ms\":",
               U(status->timed_keys), U(status->leases),
               U(node_get_metrics(api->node)->expired));
    if (status->next_end_ms == UINT64_MAX) {
        buf_add_string(out, "null}");
    } else {
        buf_printf(out, "%llu}", U(status->next_end_ms));
    }
    add_backups(api);
    buf_printf(out,
               ",\"limits\":{\"key\":1024,\"value\":%llu,\"body\":%llu,"
               "\"txn_ops\":%d,\"connections\":%u},\"hints\":[",
               U(api->options.value_bytes_max), U(api->options.body_bytes_max),
               TXN_OPS_MAX, api->options.conns_max);
    api_add_hints(api, status);
    buf_add_string(out, "]}\n");
}

static const char *own_address(const struct node_status *status)
{
    const struct raft_member *self =
        raft_conf_find(status->conf, status->raft.self);
    return self ? self->addr : "";
}

void api_on_status(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct node_status status;
    (void)request;
    node_get_status(api->node, &status);
    const struct raft_member *leader = node_leader(api->node);
    buf_add_string(&api->body, "{\"me\":");
    add_identity(&api->body, status.name, own_address(&status));
    buf_add_string(&api->body, ",\"leader\":");
    add_identity(&api->body, leader ? leader->name : "",
                 leader ? leader->addr : "");
    buf_add_u8(&api->body, ',');
    add_followers(&api->body, &status, leader);
    buf_add_u8(&api->body, ',');
    add_engine(api, &status);
    add_peers(api, &status);
    add_storage(conn, &status);
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
}

/* ---- /hash ---- */

static void answer_no_hash(struct conn *conn, enum err err, uint64_t index,
                           uint64_t oldest)
{
    char message[128];
    char members[64];
    if (err == ERR_BUSY) {
        (void)snprintf(message, sizeof(message),
                       "entry %llu is not applied here yet: the last one is "
                       "%llu",
                       U(index), U(node_applied(conn->api->node)));
        api_answer_problem(conn, 404, "not-found", message, OUTCOME_NONE);
        return;
    }
    (void)snprintf(message, sizeof(message),
                   "this node has the hashes from entry %llu on, not that of "
                   "%llu",
                   U(oldest), U(index));
    (void)snprintf(members, sizeof(members), ",\"oldest_index\":%llu",
                   U(oldest));
    api_answer_problem_with(conn, 410, "compacted", message, OUTCOME_NONE,
                            members);
}

void api_on_hash(struct conn *conn, const struct http_request *request)
{
    struct api *api = conn->api;
    struct bytes value;
    uint64_t index = node_applied(api->node);
    uint64_t hash;
    uint64_t oldest;
    (void)request;
    if (api_get_param(conn, PARAM_INDEX, &value) && !json_u64(value, &index)) {
        (void)api_bad_param(conn, "index is the index of a log entry");
        return;
    }
    enum err err = node_hash_at(api->node, index, &hash, &oldest);
    if (err) {
        answer_no_hash(conn, err, index, oldest);
        return;
    }
    buf_printf(&api->body, "{\"index\":%llu,\"hash\":\"%016llx\"}\n", U(index),
               U(hash));
    api_answer(conn, 200, "application/json", buf_bytes(&api->body));
}
