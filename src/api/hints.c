/* hints.c -- the hints of /status: a sentence about everything that needs an
 * operator's attention. The figures are elsewhere in the answer; a hint says
 * what they mean. */
#include <stdarg.h>
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/member_internal.h"
#include "api/routes_internal.h"
#include "base/histogram.h"
#include "node/node.h"
#include "reactor/reactor.h"
#include "json/json.h"

#define U(x) ((unsigned long long)(x))

enum {
    SILENT_MS = 10000,  /* A member that is silent for longer gets a hint. */
    LAG_ENTRIES = 8192, /* More than a busy moment explains. */
    SLOW_SYNC_US = 100000,
    DROPPED_MS = 60000,
};

static void add(struct buf *out, const char *format, ...) PRINTF(2, 3);

static void add(struct buf *out, const char *format, ...)
{
    char text[RAFT_NAME_BYTES + 2 * RAFT_ADDR_BYTES + 256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_add_string(out, out->data[out->size - 1] == '[' ? "" : ",");
    json_add_string(out, bytes_of_string(text));
}

static void add_backups(struct api *api)
{
    struct buf *out = &api->body;
    struct api_backups backups;
    if (!api->options.backups(api->options.arg, &backups)) {
        return;
    }
    if (backups.trouble[0]) {
        add(out, "the last scheduled backup failed: %s (--backup-dir)",
            backups.trouble);
    }
    if (backups.has_exec && backups.exec_trouble[0]) {
        add(out, "--backup-exec failed for the backup of index %llu: %s",
            U(backups.index), backups.exec_trouble);
    }
}

static void add_space(struct api *api, const struct node_status *status)
{
    struct buf *out = &api->body;
    if (status->over_quota) {
        add(out, "--max-db is reached: only deletes are accepted");
    }
    if (status->no_space) {
        add(out, "the disk is full: only deletes are accepted");
    }
    if (status->no_resources) {
        add(out, "the process is out of descriptors or memory: writes are "
                 "refused (ulimit -n, --max-conns)");
    }
}

static void add_catch_up(struct api *api)
{
    const struct catch_up *at = node_catch_up(api->node);
    if (!at) {
        return;
    }
    bool snapshot = at->kind == CATCH_UP_SNAPSHOT;
    uint64_t left_s = catch_up_left_s(at);
    char left[48] = "and it makes no progress";
    if (left_s < UINT64_MAX) {
        snprintf(left, sizeof(left), "%llu s left", U(left_s));
    }
    add(&api->body, "this node is catching up: %s %llu of %llu, %s",
        snapshot ? "bytes of a snapshot" : "entry", U(at->done), U(at->total),
        left);
}

static void add_limits(struct api *api)
{
    struct buf *out = &api->body;
    const struct histogram *syncs = node_sync_times(api->node);
    if (api->options.conns_max < api->options.conns_wanted) {
        add(out,
            "the limit of descriptors leaves room for %u connections, and "
            "--max-conns is %u: raise it (ulimit -n, LimitNOFILE=)",
            api->options.conns_max, api->options.conns_wanted);
    }
    if (api->watches.dropped_ms > 0 &&
        reactor_now_ms(api->options.reactor) <
            api->watches.dropped_ms + DROPPED_MS) {
        add(out,
            "a watch was ended in the last minute, since its client did not "
            "keep up or the data was replaced (%llu since the start; "
            "--history)",
            U(api->watches.dropped));
    }
    if (syncs && histogram_quantile(syncs, 990) > SLOW_SYNC_US) {
        add(out, "the disk is slow: one fdatasync in a hundred takes more "
                 "than 100 ms");
    }
}

/* The leader knows since when a member is silent; the others know only whether
 * the link to it is up. */
static void add_member(struct api *api, const struct node_status *status,
                       const struct raft_member *member,
                       const struct raft_peer_status *peer)
{
    struct buf *out = &api->body;
    void *arg = api->options.arg;
    const char *why = api_member_trouble(api, status, member);
    if (api->options.peer_foreign(arg, member->id)) {
        add(out,
            "the node at %s, which is %s here, belongs to another cluster: "
            "empty its directory and start it with --join",
            member->addr, member->name);
        return;
    }
    uint64_t now_ms = reactor_now_ms(api->options.reactor);
    if (!why[0]) {
        why = "no answer";
    }
    if (peer && peer->contact_ms > 0) {
        if (now_ms > peer->contact_ms + SILENT_MS) {
            add(out, "%s has been silent for %llu s: %s", member->name,
                U((now_ms - peer->contact_ms) / 1000), why);
            return;
        }
    } else if (!api->options.peer_up(arg, member->id)) {
        add(out, "%s cannot be reached: %s", member->name, why);
        return;
    }
    if (peer && status->raft.last - peer->match > LAG_ENTRIES) {
        add(out, "%s is %llu entries behind", member->name,
            U(status->raft.last - peer->match));
    }
}

/* A member that is there, and of an earlier build. */
static void add_outdated(struct api *api, const struct node_status *status)
{
    const char *name = node_outdated(api->node);
    for (uint32_t i = 0; name && i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        if (strcmp(member->name, name) == 0 &&
            api->options.peer_up(api->options.arg, member->id)) {
            add(&api->body,
                "%s is of a build that does not know time-outs and leases: "
                "upgrade it",
                name);
        }
    }
}

static void add_members(struct api *api, const struct node_status *status)
{
    const struct raft_status *raft = &status->raft;
    for (uint32_t i = 0; i < status->conf->count; i++) {
        const struct raft_member *member = &status->conf->members[i];
        const struct raft_peer_status *peer =
            api_member_progress(status, member->id);
        if (member->id != raft->self) {
            add_member(api, status, member, peer);
        }
    }
    add_outdated(api, status);
    uint32_t voters = raft_conf_voters(status->conf);
    if (voters > 0 && voters % 2 == 0) {
        add(&api->body,
            "%u voters tolerate no more failures than %u: make it an odd "
            "number",
            voters, voters - 1);
    }
}

/* A hint about a second node that has a member's name, or its address. */
static void add_intruder(struct api *api)
{
    const struct node_intruder *it = node_intruder(api->node);
    if (!it) {
        return;
    }
    if (it->refusal == NODE_REFUSED_ADDR) {
        add(&api->body, "%s wants to join as %s: that is the address of %s",
            it->addr, it->name, it->member);
    } else if (strcmp(it->name, it->member) != 0) {
        add(&api->body,
            "%s wants to join as %s: that is the address of %s, which is alive",
            it->addr, it->name, it->member);
    } else if (it->refusal == NODE_REFUSED_LIVE) {
        add(&api->body, "%s wants to join as %s, which is alive", it->addr,
            it->name);
    } else {
        add(&api->body,
            "%s wants to join as %s, which is silent: it may after "
            "--replace-after, or once %s is removed",
            it->addr, it->name, it->name);
    }
}

static void add_waiting(struct api *api)
{
    uint64_t in_ms = node_bootstrap_in_ms(api->node);
    if (in_ms > 0) {
        add(&api->body,
            "this node bootstraps a cluster in %llu ms, unless a member of "
            "another cluster dials it that counts it as its own",
            U(in_ms));
    } else if (!node_foreign(api->node)) {
        add(&api->body, "no member of a cluster yet: it waits to be added");
    }
    const char *trouble = api->options.join_trouble(api->options.arg);
    if (trouble[0]) {
        add(&api->body, "--join: %s", trouble);
    }
}

/* Adds the hints about this node's own membership. */
static void add_own(struct api *api, const struct node_status *status)
{
    if (node_contradiction(api->node)) {
        api->message.size = 0;
        api_explain_contradiction(node_contradiction(api->node), &api->message);
        buf_add_u8(&api->message, 0);
        add(&api->body, "%s", (const char *)api->message.data);
    }
    if (node_foreign(api->node)) {
        api->message.size = 0;
        api_explain_second_cluster(node_foreign(api->node), &api->message);
        buf_add_u8(&api->message, 0);
        add(&api->body, "%s", (const char *)api->message.data);
    }
    if (!status->member) {
        add_waiting(api);
    } else if (status->removed_index) {
        add(&api->body, "%s", api_removed_text(api, status));
    } else if (!node_leader(api->node)) {
        add(&api->body, "no leader: is a majority of the voters running and "
                        "reachable?");
    }
}

/* The most urgent one first: programs may show only that. */
void api_add_hints(struct api *api, const struct node_status *status)
{
    add_own(api, status);
    add_space(api, status);
    add_catch_up(api);
    add_backups(api);
    if (status->member && !status->removed_index) {
        add_members(api, status);
        add_intruder(api);
    }
    add_limits(api);
    if (api->options.raft_port_risk) {
        add(&api->body, "%s", api->options.raft_port_risk);
    }
}
