/* member.c -- what is known of the members, and changes of one. */
#include <stdio.h>

#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/member_internal.h"
#include "http/http.h"
#include "node/node.h"
#include "json/json.h"

const char *api_suffrage_name(enum raft_suffrage suffrage)
{
    return suffrage == RAFT_VOTER     ? "voter"
           : suffrage == RAFT_LEARNER ? "learner"
                                      : "non-voter";
}

bool api_member_is_reachable(const struct api *api,
                             const struct node_status *status, raft_id id)
{
    return id == status->raft.self ||
           api->options.peer_up(api->options.arg, id);
}

const struct raft_peer_status *
api_member_progress(const struct node_status *status, raft_id id)
{
    for (uint32_t i = 0; i < status->raft.peer_count; i++) {
        if (status->raft.peers[i].id == id) {
            return &status->raft.peers[i];
        }
    }
    return NULL;
}

void api_add_progress(struct buf *out, const struct node_status *status,
                      raft_id id)
{
    const struct raft_peer_status *peer = api_member_progress(status, id);
    if (peer) {
        buf_printf(out, ",\"match\":%llu,\"lag\":%llu,\"rtt_ms\":%llu",
                   (unsigned long long)peer->match,
                   (unsigned long long)(status->raft.last - peer->match),
                   (unsigned long long)peer->rtt_ms);
    }
}

void api_add_reported_progress(struct buf *out, const struct api *api,
                               const struct node_status *status, raft_id id)
{
    uint64_t age_ms;
    const struct raft_member *leader = node_leader(api->node);
    if (api_member_progress(status, id) || !leader) {
        api_add_progress(out, status, id);
        return;
    }
    const struct wire_vitals *report =
        node_get_vitals(api->node, leader->id, &age_ms);
    for (uint32_t i = 0; report && i < report->peer_count; i++) {
        const struct wire_vitals_peer *peer = &report->peers[i];
        if (peer->id == id) {
            buf_printf(out, ",\"lag\":%llu,\"rtt_ms\":%llu",
                       (unsigned long long)peer->lag,
                       (unsigned long long)peer->rtt_ms);
        }
    }
}

void api_add_vitals(struct buf *out, struct api *api,
                    const struct node_status *status, raft_id id)
{
    uint64_t age_ms = 0;
    struct wire_vitals own;
    const struct wire_vitals *vitals = node_get_vitals(api->node, id, &age_ms);
    if (id == status->raft.self) {
        node_get_own_vitals(api->node, status, &own);
        vitals = &own;
    }
    if (!vitals) {
        return;
    }
    buf_add_u8(out, ',');
    api_add_text(out, "version", vitals->build);
    buf_printf(out, ",\"applied\":%llu,\"db_bytes\":%llu,\"log_bytes\":%llu",
               (unsigned long long)vitals->applied,
               (unsigned long long)vitals->db_bytes,
               (unsigned long long)vitals->log_bytes);
    if (vitals->memory_bytes > 0) {
        buf_printf(out, ",\"memory_bytes\":%llu",
                   (unsigned long long)vitals->memory_bytes);
    }
    if (vitals->disk_free_bytes > 0) {
        buf_printf(out, ",\"disk_free_bytes\":%llu",
                   (unsigned long long)vitals->disk_free_bytes);
    }
    if (vitals->commit_p99_us > 0 && vitals->commit_p99_us < UINT64_MAX) {
        buf_printf(out, ",\"commit_p99_us\":%llu",
                   (unsigned long long)vitals->commit_p99_us);
    }
    buf_printf(out, ",\"report_age_ms\":%llu", (unsigned long long)age_ms);
}

/* A client may name any address in POST /join, and would learn from the reason
 * whether a process listens there. So the reason is withheld for members that
 * have not proven yet to be ours, by having a vote or a part of the log. The
 * log lines of this node have it. */
const char *api_member_trouble(const struct api *api,
                               const struct node_status *status,
                               const struct raft_member *member)
{
    const char *why = api->options.peer_error(api->options.arg, member->id);
    const struct raft_peer_status *peer =
        api_member_progress(status, member->id);
    bool proven = member->suffrage == RAFT_VOTER || (peer && peer->match > 0);
    return proven || !why[0] ? why : "not reached yet";
}

void api_add_text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "\"%s\":", name);
    json_add_string(out, bytes_of_string(value));
}

const struct raft_member *api_member_named(const struct api *api,
                                           struct bytes name)
{
    struct node_status status;
    node_get_status(api->node, &status);
    for (uint32_t i = 0; i < status.conf->count; i++) {
        if (bytes_equal_string(name, status.conf->members[i].name)) {
            return &status.conf->members[i];
        }
    }
    return NULL;
}

void api_no_member(struct conn *conn)
{
    api_answer_no_such(conn, "member", OUTCOME_NOT_APPLIED);
}

/* ---- a change of one ---- */

/* This node knows all that the leader knew: look the name up again. */
static void finish_lookup(struct conn *conn, const struct node_result *result)
{
    conn->api->body.size = 0;
    conn->api->headers.size = 0;
    const struct raft_member *member =
        api_member_named(conn->api, buf_bytes(&conn->request.key));
    if (result->outcome != NODE_OK) {
        api_answer_outcome(conn, result);
    } else if (!member) {
        api_no_member(conn);
    } else {
        conn->state.member.change(conn, member);
    }
}

void api_member_change(struct conn *conn, member_change *change)
{
    const struct raft_member *member =
        api_member_named(conn->api, buf_bytes(&conn->request.key));
    if (member) {
        change(conn, member);
        return;
    }
    conn->state.member.change = change;
    conn->request.finish = finish_lookup;
    conn->busy = true;
    node_read(conn->api->node, &conn->request.call);
}

/* ---- a change that was refused ---- */

/* The member of that name, else the one at that address; NULL: this node does
 * not know it. */
static const struct raft_member *
in_the_way(const struct raft_conf *conf, struct bytes name, struct bytes addr)
{
    const struct raft_member *found = NULL;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (bytes_equal_string(name, member->name)) {
            return member;
        }
        if (bytes_equal_string(addr, member->addr)) {
            found = member;
        }
    }
    return found;
}

static const char *refusal_code(enum node_refusal refusal)
{
    static const char *const codes[NODE_REFUSAL_COUNT] = {
        [NODE_REFUSED_LIVE] = "exists",
        [NODE_REFUSED_NOT_YET] = "member-silent",
        [NODE_REFUSED_ADDR] = "address-taken",
        [NODE_REFUSED_UNREACHED] = "unreached-members",
        [NODE_REFUSED_NO_VOTE] = "no-vote",
    };
    must(codes[refusal]);
    return codes[refusal];
}

static void answer_refusal(struct conn *conn, const struct node_result *result,
                           const char *addr_asked)
{
    struct node_status status;
    struct buf *message = &conn->api->message;
    uint64_t wait_s = result->wait_ms / 1000 + 1;
    node_get_status(conn->api->node, &status);
    const struct raft_member *member =
        in_the_way(status.conf, buf_bytes(&conn->request.key),
                   bytes_of_string(addr_asked));
    const char *name = member ? member->name : "another one";
    const char *addr = member ? member->addr : "?";
    message->size = 0;
    switch (result->refusal) {
    case NODE_REFUSED_LIVE:
        buf_printf(message,
                   "%s at %s is a live member: give the new node another --id "
                   "and address, or remove that one first",
                   name, addr);
        break;
    case NODE_REFUSED_NOT_YET:
        buf_printf(message,
                   "%s at %s may only be rebooting: a node at another address "
                   "takes its name in %llu s (--replace-after), or at once "
                   "when it is removed (DELETE /nodes/%s)",
                   name, addr, (unsigned long long)wait_s, name);
        buf_printf(&conn->api->headers, "Retry-After: %llu\r\n",
                   (unsigned long long)wait_s);
        break;
    case NODE_REFUSED_ADDR:
        buf_printf(message,
                   "%s at %s is a member, and down: join under its id, or add "
                   "\"replace\":true to replace it",
                   name, addr);
        break;
    case NODE_REFUSED_UNREACHED:
        buf_printf(message,
                   "%d members have never been reached: start them, or remove "
                   "them (GET /nodes) before others are added",
                   NODE_UNREACHED_MAX);
        break;
    case NODE_REFUSED_NO_VOTE:
        buf_printf(message,
                   "%s has no vote, and cannot lead: give it one first "
                   "(PUT /nodes/%s {\"voter\":true})",
                   name, name);
        break;
    case NODE_REFUSED_OTHERWISE:
    case NODE_REFUSAL_COUNT:
        must(false);
    }
    buf_add_u8(message, 0);
    api_answer_problem(conn, 409, refusal_code(result->refusal),
                       (const char *)message->data, OUTCOME_NOT_APPLIED);
}

void api_member_finish(struct conn *conn, const struct node_result *result,
                       const char *addr)
{
    conn->api->headers.size = 0;
    if (result->refusal != NODE_REFUSED_OTHERWISE) {
        answer_refusal(conn, result, addr);
    } else {
        api_finish_plain(conn, result);
    }
}
