/* transport.c -- the node as the handler of its links (wire/transport.h). */
#include "node/node.h"

static bool on_frame(raft_id from, const struct wire_frame *frame, void *arg)
{
    return node_on_frame(arg, from, frame);
}

static const char *on_start(const struct wire_hello *hello, void *arg)
{
    return node_on_start(arg, hello);
}

static void on_up(raft_id peer, const struct wire_hello *hello, void *arg)
{
    node_peer_up(arg, peer, hello);
}

static void on_down(raft_id peer, void *arg)
{
    node_peer_down(arg, peer);
}

static bool on_adopt(const struct wire_hello *hello, void *arg)
{
    return node_adopt(arg, hello);
}

static void on_foreign(const struct wire_hello *hello, void *arg)
{
    node_on_foreign(arg, hello);
}

const struct transport_handler node_transport_handler = {
    .on_frame = on_frame,
    .on_start = on_start,
    .on_up = on_up,
    .on_down = on_down,
    .on_adopt = on_adopt,
    .on_foreign = on_foreign,
};
