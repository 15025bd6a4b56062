/* peer.h -- links to the other nodes: listen, dial, handshake, frames.
 *
 * Two nodes share one TCP connection, used in both directions. The node with
 * the lower id dials: ids grow, so members dial newcomers. A newcomer has no id
 * yet and learns it from the first HELLO that reaches it (on_adopt in
 * wire/transport.h). The node with the higher id dials too when it has had no
 * link for 2 s, since a member that fell behind may not know yet that the
 * leader it needs exists.
 *
 * The dialling side sends HELLO, the other one WELCOME or REFUSE; a link is up
 * once HELLO and WELCOME have crossed. Until then, and from nodes of another
 * cluster, no frame reaches the handler. A newer connection of the same node
 * replaces the older one.
 *
 * HELLO and WELCOME advertise the addresses of their sender. While the address
 * that a member advertised differs from the one in the membership, both are
 * dialled alternately: so a member that moved is found again by every node that
 * it has reached, even when there is no majority to change the membership.
 * Redials back off from 50 ms to 1 s, after a refusal from 1 s to 5 s, with
 * jitter. The failures of a link to a member are logged once a minute.
 *
 * Anybody can connect: the numbers of connections without a HELLO and of links
 * to non-members, and the bytes of their unfinished frames, are bounded, and
 * the oldest is closed when there are more (admission.c). Log lines that they
 * provoke are limited to one a second of each kind, with a count.
 *
 * With a cluster key (peers_set_keys()) each connection starts with a handshake
 * that proves it, and all that follows is sealed (peer/channel.h): HELLO,
 * WELCOME and REFUSE too. A connection that has not proved the key cannot make
 * this node parse a frame, remember anything or send anything about itself; an
 * HTTP request gets a constant error. It may occupy 56 bytes of input, and the
 * answers to first messages, which may be recordings, are bounded in rate. A
 * node with a key and one without refuse each other; with `optional` a node
 * talks to both kinds, and prefers sealed links.
 *
 * Keep-alive: a PING is sent after 300 ms without output; a link is closed
 * after 3 s without a byte received, or without a record that opens. Output is
 * bounded: peer_output() returns NULL while more than PEER_OUTPUT_BYTES_MAX are
 * queued on the link. */
#ifndef CRAFTD_PEER_PEER_H
#define CRAFTD_PEER_PEER_H

#include "base/base.h"
#include "base/bytes.h"
#include "raft/raft.h"
#include "reactor/reactor.h"
#include "wire/transport.h"

enum {
    PEER_OUTPUT_BYTES_MAX = 8 << 20,
    PEER_KEYS_MAX = 2,
    PEER_KEY_BYTES = 32,
};

struct peers;

/* The cluster's keys. The first one seals, all of them open: so they can be
 * changed node by node. The owner overwrites the struct with zeros after use.
 */
struct peer_keys {
    int count; /* 0: links are not sealed. */
    uint8_t key[PEER_KEYS_MAX][PEER_KEY_BYTES];
};

/* Read the text of a key file: a key a line, in hexadecimal; empty lines and
 * those that begin with '#' are skipped. False: *keys is untouched, and `why`
 * gets a sentence that quotes nothing of the text. */
MUST_CHECK bool peer_keys_parse(struct bytes text, struct peer_keys *keys,
                                char *why, size_t why_size);

struct peers_options {
    struct reactor *reactor;
    const char *host; /* Listen address, a name or a number; read by
                         peers_open() only. */
    uint16_t port;
    /* Advertised addresses (host:port), borrowed until peers_close(); NULL:
     * none. */
    const char *addr; /* This port's. */
    const char *http; /* The HTTP API's. */
    uint8_t commands; /* The newest version of commands that is applied here;
                         0: WIRE_HELLO_COMMANDS. */
    uint64_t nonce;   /* Random per process: reveals two with one identity. */
    uint64_t seed;    /* Seed of the jitter. */
};

/* Listen. On failure `why` gets a few words, and nothing is left open; the
 * errors are those of listener_open(). */
MUST_CHECK enum err peers_open(const struct peers_options *options,
                               struct peers **peers, char *why,
                               size_t why_size);
/* Set the receiver of the links' reports, before the first turn of the event
 * loop. `handler` and `arg` are borrowed until peers_close(). */
void peers_set_handler(struct peers *peers,
                       const struct transport_handler *handler, void *arg);
/* The links as a node uses them: the functions below; valid until
 * peers_close(). */
struct transport peers_transport(struct peers *peers);
/* The addresses that are bound: "127.0.0.1:12000,[::1]:12000". Valid until
 * peers_close(). */
const char *peers_listening(const struct peers *peers);
/* Close everything without a report, and free it. NULL is fine. */
void peers_close(struct peers *peers);

/* Seal all links from now on; `keys` is copied. Call it before the first turn
 * of the event loop, and again when the file has changed: connections whose key
 * is not among the new ones are closed, and dialled anew. `optional`: links
 * without a key are accepted as well, and dialled where a sealed one was
 * refused. */
void peers_set_keys(struct peers *peers, const struct peer_keys *keys,
                    bool optional);

/* The identity of this node, copied. With id 0, which means that it is not
 * known yet, every HELLO that on_adopt() does not adopt is refused. */
void peers_set_self(struct peers *peers, const uint8_t cluster[16], raft_id id,
                    const uint8_t uuid[RAFT_UUID_BYTES], uint64_t incarnation,
                    const char *name);

/* The current membership, copied. New members are dialled; a changed address is
 * used at the next dial. A link to a member that left stays up until the other
 * side closes it, since that node has yet to learn of its removal. */
void peers_set_members(struct peers *peers, const struct raft_conf *conf);

/* Member `id` may be at `addr` now (untrusted, copied): dial there soon, and
 * alternately with the address in the membership. The handshake verifies the
 * identity. No effect while the link is up, or for a non-member. */
void peers_hint(struct peers *peers, raft_id id, const char *addr);

/* The output buffer of the link to `id`, to append one frame to; NULL when the
 * link is down or its queue is full. Sent at the end of the turn. */
struct buf *peer_output(struct peers *peers, raft_id id);

/* Send what is queued on all links now, instead of at the end of the turn. */
void peers_flush(struct peers *peers);

bool peer_is_up(const struct peers *peers, raft_id id);
/* True when, at the last attempt, the node at the address of `id` refused
 * because it is of another cluster. */
bool peer_is_foreign(const struct peers *peers, raft_id id);
/* The reason of the link's last failure, a constant; "" when it is up, has not
 * failed, or there is no such link. */
const char *peer_last_error(const struct peers *peers, raft_id id);

#endif
