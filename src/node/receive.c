/* receive.c -- frames of other members -> engine and requests. Everything in
 * them is checked; a malformed frame costs the sender its connection. */
#include "base/log.h"
#include "command/command.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/snapshot_internal.h"

enum { REFUSED_LOG_MS = 60000 };

bool node_check_conf(struct bytes conf)
{
    struct raft_conf decoded;
    return wire_decode_conf(conf, &decoded) == ERR_OK &&
           raft_conf_is_sound(&decoded);
}

/* An appended entry has to be applied: one that cannot be would end this
 * process, and each of its starts. Before it is appended it can be refused. */
static enum err check_entry(const struct wire_entry *entry)
{
    enum err err;
    switch (entry->type) {
    case RAFT_ENTRY_NORMAL:
        err = command_check(entry->payload);
        return !err && command_needs_stamp(entry->payload) ? ERR_CORRUPT : err;
    case RAFT_ENTRY_NOOP:
        return entry->payload.size == 0 ? ERR_OK : ERR_CORRUPT;
    case RAFT_ENTRY_CONF:
        return ERR_OK; /* decode_entries() checks it. */
    }
    return ERR_VERSION;
}

bool node_cannot_follow(const struct node *node)
{
    return node->refused.from != 0 &&
           node->refused.from == raft_leader(node->raft);
}

/* Log that an entry is refused, once a minute: the sender keeps trying. */
static void refuse_entry(struct node *node, const struct raft_message *message,
                         uint32_t place, enum err err)
{
    node->refused.from = message->from;
    if (node->refused.logged_ms != 0 &&
        node->now_ms < node->refused.logged_ms + REFUSED_LOG_MS) {
        return;
    }
    node->refused.logged_ms = node->now_ms;
    log_error("entry", "from=%llu index=%llu why=\"%s\"",
              (unsigned long long)message->from,
              (unsigned long long)(message->log_index + 1 + place),
              err == ERR_VERSION ? "written by a later version: upgrade this "
                                   "node, it cannot follow until then"
                                 : "malformed: the sender is at fault");
}

/* Set the message's entries, in the engine's form. After NODE_CONFS_IN_APPEND
 * memberships the rest is cut off: the sender sends it again. */
static bool decode_entries(struct node *node, struct raft_message *message,
                           const struct wire_entry *entries)
{
    uint32_t confs = 0;
    must(message->entry_count <= RAFT_APPEND_ENTRIES_MAX); /* wire_raft() */
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct wire_entry *entry = &entries[i];
        struct raft_entry *out = &node->scratch.raft_entries[i];
        *out = (struct raft_entry){.term = entry->term, .type = entry->type};
        enum err err = check_entry(entry);
        if (err) {
            refuse_entry(node, message, i, err);
            return false;
        }
        if (entry->type == RAFT_ENTRY_CONF) {
            if (confs == NODE_CONFS_IN_APPEND) {
                message->entry_count = i;
                break;
            }
            if (wire_decode_conf(entry->payload, &node->scratch.confs[confs])) {
                return false;
            }
            out->conf = &node->scratch.confs[confs++];
        }
    }
    if (message->entry_count > 0 && message->from == node->refused.from) {
        node->refused.from = 0;
    }
    message->entries = node->scratch.raft_entries;
    return true;
}

static bool on_raft(struct node *node, raft_id from, struct bytes payload)
{
    struct raft_message message;
    struct wire_entry *entries = node->scratch.wire_entries;
    if (wire_raft(payload, &message, entries) != ERR_OK ||
        message.from != from || !decode_entries(node, &message, entries)) {
        return false;
    }
    if (quarantine_ignores(node, &message)) {
        return true;
    }
    struct raft_event event = {
        .type = RAFT_MESSAGE, .now_ms = node->now_ms, .message = &message};
    enum err err = node_step(node, &event,
                             message.type == RAFT_MSG_APPEND ? entries : NULL);
    if (err == ERR_MISMATCH) {
        return quarantine_enter(node, &message);
    }
    /* ERR_BUSY: a bound is reached. ERR_NOT_FOUND: the sender is no member.
     * Both are as if the network had lost the message. */
    return err == ERR_OK || err == ERR_BUSY || err == ERR_NOT_FOUND;
}

bool node_on_frame(struct node *node, raft_id from,
                   const struct wire_frame *frame)
{
    if (!node->member) {
        return true;
    }
    node->now_ms = node->env.now_ms(node->env.self);
    struct wire_forward forward;
    struct wire_forward_resp resp;
    struct wire_snapshot piece;
    struct wire_snapshot_resp snapshot_resp;
    struct wire_vitals vitals;
    uint64_t index;
    switch (frame->type) {
    case WIRE_RAFT:
        return on_raft(node, from, frame->payload);
    case WIRE_FORWARD:
        return wire_forward(frame->payload, &forward) == ERR_OK &&
               forward_on_request(node, from, &forward);
    case WIRE_FORWARD_RESP:
        return wire_forward_resp(frame->payload, &resp) == ERR_OK &&
               forward_on_response(node, from, &resp);
    case WIRE_SNAPSHOT:
        return wire_snapshot(frame->payload, &piece) == ERR_OK &&
               snapshot_on_piece(node, from, &piece);
    case WIRE_SNAPSHOT_RESP:
        return wire_snapshot_resp(frame->payload, &snapshot_resp) == ERR_OK &&
               snapshot_on_resp(node, from, &snapshot_resp);
    case WIRE_VITALS:
        if (wire_vitals(frame->payload, &vitals) != ERR_OK) {
            return false;
        }
        vitals_take(node, from, &vitals);
        return true;
    case WIRE_REMOVED:
        return wire_removed(frame->payload, &index) == ERR_OK &&
               removed_on_notice(node, from, index);
    case WIRE_HELLO:
    case WIRE_WELCOME:
    case WIRE_REFUSE:
    case WIRE_PING:
    case WIRE_PONG:
        break;
    }
    return false;
}

static void link_changed(struct node *node, enum raft_event_type type,
                         raft_id peer)
{
    if (!node->member) {
        return;
    }
    must(peer != 0);
    node->now_ms = node->env.now_ms(node->env.self);
    struct raft_event event = {
        .type = type, .now_ms = node->now_ms, .peer = peer};
    enum err err = node_step(node, &event, NULL);
    if (err) {
        log_debug("link", "peer=%llu why=\"%s\"", (unsigned long long)peer,
                  err_name(err));
    }
}

void node_peer_up(struct node *node, raft_id peer,
                  const struct wire_hello *hello)
{
    address_advertised(node, peer, hello);
    time_peer_up(node, peer, hello);
    removed_link_changed(node, peer, true);
    vitals_expedite(node);
    link_changed(node, RAFT_PEER_UP, peer);
}

void node_peer_down(struct node *node, raft_id peer)
{
    address_remove(node, peer);
    removed_link_changed(node, peer, false);
    link_changed(node, RAFT_PEER_DOWN, peer);
    snapshot_peer_down(node, peer);
    forward_peer_down(node, peer);
}
