/* send.c -- messages and appends of an update, to the queues of the peers.
 *
 * Appends leave before this node's own write, so that the disks of all nodes
 * work in parallel. A full queue drops a message, as the network may. */
#include "node/node_internal.h"
#include "node/phases_internal.h"

enum {
    APPEND_BYTES = 256 << 10, /* Payload of one append, about. */
    CATCH_UP_FRAMES = 4,      /* Appends to one peer per turn. */
};

/* Gather entries from `lo` on for one append, until it has APPEND_BYTES.
 * Payloads from the log are copied, since scratch.log holds one entry at a
 * time. */
static uint32_t gather_entries(struct node *node, uint64_t lo, uint64_t hi)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    node->scratch.pieces.size = 0;
    bool from_log = lo < node->entries.first;
    for (uint64_t i = lo; i <= hi && count < RAFT_APPEND_ENTRIES_MAX; i++) {
        struct entry entry;
        if ((i < node->entries.first) != from_log ||
            node_fetch_entry(node, i, &entry)) {
            break;
        }
        if (count > 0 && bytes + entry.payload.size > APPEND_BYTES) {
            break;
        }
        bytes += entry.payload.size;
        must(entry.term == raft_term_at(node->raft, i));
        if (from_log) {
            buf_add_bytes(&node->scratch.pieces, entry.payload);
        }
        node->scratch.wire_entries[count++] = (struct wire_entry){
            .term = entry.term, .type = entry.type, .payload = entry.payload};
    }
    if (from_log) {
        const uint8_t *at = node->scratch.pieces.data;
        for (uint32_t k = 0; k < count; k++) {
            node->scratch.wire_entries[k].payload.data = at;
            at += node->scratch.wire_entries[k].payload.size;
        }
    }
    return count;
}

static void send_appends(struct node *node,
                         const struct raft_append_offer *offer)
{
    uint64_t next = offer->next;
    must(offer->peer != node->ident.id);
    for (int frame = 0; frame < CATCH_UP_FRAMES; frame++) {
        struct buf *out = transport_output(&node->env.transport, offer->peer);
        if (!out) {
            return;
        }
        uint32_t count = gather_entries(node, next, offer->last);
        if (count == 0 && next <= offer->last) {
            return;
        }
        struct raft_message message;
        if (!raft_make_append(node->raft, offer->peer, next, next + count - 1,
                              node->now_ms, &message)) {
            return;
        }
        must(message.entry_count == count);
        must(count <= RAFT_APPEND_ENTRIES_MAX);
        wire_add_raft(out, &message, node->scratch.wire_entries);
        next += count;
        if (next > offer->last) {
            return;
        }
    }
}

void send_update(struct node *node)
{
    const struct raft_update *update = &node->update;
    for (uint32_t i = 0; i < update->message_count; i++) {
        const struct raft_message *message = &update->messages[i];
        struct buf *out = transport_output(&node->env.transport, message->to);
        if (out) {
            wire_add_raft(out, message, NULL);
        }
    }
    for (uint32_t i = 0; i < update->offer_count; i++) {
        send_appends(node, &update->offers[i]);
    }
    if (update->message_count > 0 || update->offer_count > 0) {
        transport_flush(&node->env.transport);
    }
}
