/* snapshot_internal.h -- snapshots between a leader and a follower that the
 * log has left behind, inside the room (snapshot.c). */
#ifndef CRAFTD_NODE_SNAPSHOT_INTERNAL_H
#define CRAFTD_NODE_SNAPSHOT_INTERNAL_H

#include "node/node.h"

struct store_image;
struct store_incoming;

/* A snapshot that is being sent to a follower. */
struct outgoing {
    raft_id peer; /* 0: none. */
    struct store_image *image;
    uint64_t acked;       /* Bytes that the follower has acknowledged. */
    uint32_t crc;         /* Checksum of the bytes sent. */
    uint64_t progress_ms; /* Time of the last acknowledgement. */
};

/* A snapshot that is being received from a leader. */
struct arriving {
    struct store_incoming *files; /* NULL: none. */
    raft_id from;
    uint64_t index;
    uint64_t term;
    uint64_t total; /* Size in bytes, ... */
    uint64_t have;  /* ... and how much of it is here. */
    uint32_t crc;   /* Checksum of the bytes received. */
};

/* The engine wants `peer` to get a snapshot. */
void snapshot_wanted(struct node *node, raft_id peer);
void snapshot_peer_down(struct node *node, raft_id peer);
/* Frames of other nodes. False: malformed. */
bool snapshot_on_piece(struct node *node, raft_id from,
                       const struct wire_snapshot *piece);
bool snapshot_on_resp(struct node *node, raft_id from,
                      const struct wire_snapshot_resp *resp);
/* Send pieces until the window or the peer's queue is full. */
void snapshot_send(struct node *node);
/* Put a whole snapshot in place. Nothing may wait for the disk. */
void snapshot_install(struct node *node);
void snapshot_free(struct node *node);
uint64_t snapshot_deadline_ms(const struct node *node);

#endif
