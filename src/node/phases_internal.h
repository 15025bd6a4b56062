/* phases_internal.h -- the steps of a turn inside the room; turn.c has their
 * order. */
#ifndef CRAFTD_NODE_PHASES_INTERNAL_H
#define CRAFTD_NODE_PHASES_INTERNAL_H

#include "node/node.h"

struct entry;
struct store;
struct store_result;

/* ---- engine.c: events into the engine ---- */

/* Give the engine one event, which happens now. `entries` are those that come
 * with it, and their payloads are copied: one with RAFT_PROPOSE, those of the
 * message with an append, NULL with every other event (the engine may append
 * an entry of its own then). After an error nothing was appended. */
MUST_CHECK enum err node_step(struct node *node, const struct raft_event *event,
                              const struct wire_entry *entries);
MUST_CHECK enum err node_propose(struct node *node, struct bytes payload);
/* For events that the engine cannot refuse. */
void node_notify_engine(struct node *node, struct raft_event event);
/* Entry `index` from memory, else from the log. A payload from the log lies in
 * node->scratch.log, until the next call. ERR_NOT_FOUND, or a shortage. */
MUST_CHECK enum err node_fetch_entry(struct node *node, uint64_t index,
                                     struct entry *entry);

/* ---- send.c ---- */

/* Send the messages and appends of node->update. */
void send_update(struct node *node);

/* ---- persist.c ---- */

/* Write node->update.persist to the log. True when something became durable,
 * and the engine was notified. */
bool persist_update(struct node *node);
/* True when the engine waits for nothing to become durable. */
bool node_is_persisted(const struct node *node);

/* ---- disk.c ---- */

/* Start time of the oldest outstanding operation of the disk, in ms;
 * UINT64_MAX when there is none. */
uint64_t disk_pending_since_ms(const struct node *node);
bool disk_is_busy(const struct node *node);
bool node_database_sync_stalled(const struct node *node);
void disk_report_stall(struct node *node);

/* ---- update.c ---- */

void node_handle_update(struct node *node);
/* Members to dial, to the transport. */
void node_set_members(struct node *node);

/* ---- catch_up.c ---- */

/* Look how far this node is, and log it from time to time. */
void catch_up_check(struct node *node);

/* ---- apply.c ---- */

/* ERR_VERSION: a kind of entry that this version does not know. */
MUST_CHECK enum err node_apply(struct store *store, uint64_t index,
                               const struct entry *entry,
                               struct store_result *result);
/* True when there is more to apply than one turn may do. */
bool apply_committed(struct node *node);
/* The state machine was opened or replaced: its changes go to the feed from now
 * on. Watchers are lost. */
void apply_observe(struct node *node);
/* Call the callbacks of watchers, in bounded time. */
void apply_notify_watchers(struct node *node);
/* The database could not take entry `index`. A shortage is logged, and the
 * entry tried again later; every other error ends the process. */
void apply_failed(struct node *node, uint64_t index, enum err err);

/* ---- checkpoint.c ---- */

void checkpoint_init(struct node *node);
/* Ask for a checkpoint of what is applied now, whatever the -wal's size. */
void checkpoint_want(struct node *node);
/* Take the next step of a checkpoint that is due or running. Nothing may be
 * flushed while node->checkpoint.running. */
void checkpoint_step(struct node *node);
/* Finish the requests that wait for a checkpoint, or ask for one. */
void checkpoint_answer_requests(struct node *node);

/* ---- flush.c ---- */

void flush_init(struct node *node);
/* True while no entry may be applied, since memory is full. */
bool flush_blocks_apply(const struct node *node);
/* Freeze what was applied, if that is due. True: entries that waited for it can
 * be applied now. */
bool flush_freeze(struct node *node);
/* Flush one slice of what is frozen. True: there is more. */
bool flush_step(struct node *node);
/* Time to freeze for lack of anything else to do, in ms; UINT64_MAX: there is
 * nothing, or something is frozen. */
uint64_t flush_deadline_ms(const struct node *node);
void flush_sweep_replaced(struct node *node);

/* ---- compact.c ---- */

/* Log suffix pinned for a peer that just received a snapshot. */
struct pin {
    raft_id peer; /* 0: none. */
    uint64_t index;
    uint64_t until_ms;
    uint64_t log_bytes_max;
};
/* True when there may be more to drop. */
bool compact_log(struct node *node);

/* ---- duties.c ---- */

/* Do what a leader does by itself, as far as it is due. */
void duties_run(struct node *node);

/* ---- restore.c ---- */

/* Record the progress of a restore, if one is under way. */
void restore_observe(struct node *node);
/* A duty: abort a restore that has made no progress for a while. */
bool restore_is_abandoned(const struct node *node);
void restore_abort(struct node *node);
uint64_t restore_deadline_ms(const struct node *node);

#endif
