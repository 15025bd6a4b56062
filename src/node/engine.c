/* engine.c -- events into the engine, and the payloads of its log.
 *
 * The engine handles indexes and terms, never payload bytes. node_step() is the
 * only way into it, and retains the payloads of the entries that a step has
 * appended until they are durable and applied; node_fetch_entry() finds them
 * again, in memory or in the log. */
#include "base/log.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"

static void retain_payload(struct node *node, uint64_t index,
                           enum raft_entry_type type, struct bytes payload)
{
    if (index <= node->entries.last) {
        requests_cut(node, index);
    }
    if (node->persist.durable >= index) {
        node->persist.durable = index - 1;
    }
    entries_put(&node->entries, index, raft_term_at(node->raft, index), type,
                payload);
}

/* Retain an entry that the engine made by itself. */
static void retain_own_entry(struct node *node, uint64_t index)
{
    const struct raft_conf *conf = raft_conf_at(node->raft, index);
    if (!conf) {
        retain_payload(node, index, RAFT_ENTRY_NOOP, (struct bytes){0});
        return;
    }
    node->scratch.encoded.size = 0;
    wire_encode_conf(&node->scratch.encoded, conf);
    retain_payload(node, index, RAFT_ENTRY_CONF,
                   buf_bytes(&node->scratch.encoded));
}

/* Position of entry `index` among those that came with the event. */
static uint64_t place_of(const struct raft_event *event, uint64_t index,
                         uint64_t first)
{
    if (event->type == RAFT_PROPOSE) {
        must(index == first);
        return 0;
    }
    const struct raft_message *message = event->message;
    must(event->type == RAFT_MESSAGE && message->type == RAFT_MSG_APPEND);
    must(index > message->log_index);
    uint64_t place = index - message->log_index - 1;
    must(place < message->entry_count);
    return place;
}

enum err node_step(struct node *node, const struct raft_event *event,
                   const struct wire_entry *entries)
{
    must(event->type != RAFT_PROPOSE || entries);
    enum err err = raft_step(node->raft, event);
    if (err) {
        return err;
    }
    uint64_t first;
    uint64_t last;
    raft_appended(node->raft, &first, &last);
    for (uint64_t i = first; i <= last; i++) {
        if (entries) {
            const struct wire_entry *entry =
                &entries[place_of(event, i, first)];
            retain_payload(node, i, entry->type, entry->payload);
        } else {
            retain_own_entry(node, i);
        }
    }
    must(node->entries.last == raft_last(node->raft));
    return ERR_OK;
}

enum err node_propose(struct node *node, struct bytes payload)
{
    struct raft_event event = {.type = RAFT_PROPOSE, .now_ms = node->now_ms};
    struct wire_entry entry = {.type = RAFT_ENTRY_NORMAL, .payload = payload};
    return node_step(node, &event, &entry);
}

void node_notify_engine(struct node *node, struct raft_event event)
{
    event.now_ms = node->now_ms;
    enum err err = node_step(node, &event, NULL);
    must(err == ERR_OK);
}

enum err node_fetch_entry(struct node *node, uint64_t index,
                          struct entry *entry)
{
    must(index > 0 && index <= raft_last(node->raft));
    if (entries_get(&node->entries, index, entry)) {
        return ERR_OK;
    }
    struct wal_entry read;
    enum err err = wal_read(node->wal, index, &node->scratch.log, &read);
    if (err) {
        if (err == ERR_CORRUPT) {
            die("the log entry %llu can no longer be read",
                (unsigned long long)index);
        }
        return err;
    }
    *entry = (struct entry){.term = read.term,
                            .type = (enum raft_entry_type)read.type,
                            .payload = read.payload};
    return ERR_OK;
}
