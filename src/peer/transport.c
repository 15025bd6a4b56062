/* transport.c -- the links as a node uses them (wire/transport.h). */
#include "peer/peer.h"

static struct buf *output(void *self, raft_id peer)
{
    return peer_output(self, peer);
}

static void set_self(void *self, const uint8_t cluster[16], raft_id id,
                     const uint8_t uuid[RAFT_UUID_BYTES], uint64_t incarnation,
                     const char *name)
{
    peers_set_self(self, cluster, id, uuid, incarnation, name);
}

static void set_members(void *self, const struct raft_conf *conf)
{
    peers_set_members(self, conf);
}

static void hint(void *self, raft_id id, const char *addr)
{
    peers_hint(self, id, addr);
}

static void flush(void *self)
{
    peers_flush(self);
}

struct transport peers_transport(struct peers *peers)
{
    return (struct transport){.self = peers,
                              .output = output,
                              .set_self = set_self,
                              .set_members = set_members,
                              .hint = hint,
                              .flush = flush};
}
