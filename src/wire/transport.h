/* transport.h -- the border between a node and its links to other nodes. The
 * node calls struct transport; the links call struct transport_handler. peer/
 * implements the former over TCP (peers_transport()) and node/ the latter
 * (node_transport_handler), so that neither room knows the other, and a test
 * can put itself between them.
 *
 * Both sides run in one thread. A function of the handler may call the
 * transport: it may append frames to outputs and give hints, and on_adopt()
 * calls set_self(). Within the functions of the transport one report can come:
 * on_down() from set_members(), of a link to a non-member that made room. */
#ifndef CRAFTD_WIRE_TRANSPORT_H
#define CRAFTD_WIRE_TRANSPORT_H

#include "base/base.h"
#include "base/bytes.h"
#include "raft/raft.h"
#include "wire/wire.h"

/* The links, as the node uses them. `self` is passed to every function. */
struct transport {
    void *self;
    /* The output buffer of the link to `peer`, to append one whole frame to at
     * once; it is invalid after the next call. NULL: the link is down, or too
     * much is queued on it already. What is appended is sent at the end of the
     * turn of the loop at the latest. */
    struct buf *(*output)(void *self, raft_id peer);
    /* The identity of this node has become known: at the start, or by adoption
     * (id 0: not adopted yet). Everything is copied. */
    void (*set_self)(void *self, const uint8_t cluster[16], raft_id id,
                     const uint8_t uuid[RAFT_UUID_BYTES], uint64_t incarnation,
                     const char *name);
    /* The members to keep a link to; this node itself may be among them.
     * Copied. */
    void (*set_members)(void *self, const struct raft_conf *conf);
    /* Member `id` may be reachable at `addr` (host:port, copied; untrusted):
     * dial there soon. */
    void (*hint)(void *self, raft_id id, const char *addr);
    /* Send what is in the output buffers now: called before the log is
     * written, so that the disks of all nodes work in parallel. */
    void (*flush)(void *self);
};

static inline struct buf *transport_output(const struct transport *transport,
                                           raft_id peer)
{
    return transport->output(transport->self, peer);
}

static inline void transport_flush(const struct transport *transport)
{
    transport->flush(transport->self);
}

/* Reports of the links to a node. Arguments are valid during the call only;
 * `arg` is the owner's. on_start, on_adopt and on_foreign may be NULL. */
struct transport_handler {
    /* A frame that is not for the link itself (RAFT, FORWARD, FORWARD_RESP,
     * SNAPSHOT, SNAPSHOT_RESP, REMOVED, VITALS) from the node `from`, whose
     * link is up. False: it is malformed, and the link is dropped. */
    bool (*on_frame)(raft_id from, const struct wire_frame *frame, void *arg);
    /* A HELLO or WELCOME that the links themselves would accept. NULL: accept
     * it. Otherwise refuse this incarnation of the sender's directory; the
     * result is the reason, a constant. */
    const char *(*on_start)(const struct wire_hello *hello, void *arg);
    /* A link is up; `hello` is what the other side sent. */
    void (*on_up)(raft_id peer, const struct wire_hello *hello, void *arg);
    void (*on_down)(raft_id peer, void *arg);
    /* HELLO of the member `hello->from_*` of the cluster `hello->cluster` while
     * this node has no id: hello->to_id is ours. True: adopted and durable, and
     * set_self() was called. */
    bool (*on_adopt)(const struct wire_hello *hello, void *arg);
    /* A member of another cluster, `hello->from_*`, dialled this address as
     * that of its member `hello->to_*`; or this node has no id, and on_adopt()
     * returned false. The connection is refused. Nothing in `hello` is
     * authenticated: see node_on_foreign(). */
    void (*on_foreign)(const struct wire_hello *hello, void *arg);
};

#endif
