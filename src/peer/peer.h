/* peer.h -- links to the other nodes: listen, dial, handshake, frames.
 *
 * One TCP connection a pair, used in both directions. The node with the lower
 * id dials (ids grow, so members dial newcomers, and a newcomer, which has no
 * id yet, is told who it is by the first HELLO that reaches it). The other one
 * dials too when nothing comes for 2 s: a member that fell behind may not know
 * yet that the leader it needs exists.
 *
 * HELLO and WELCOME say where their sender can be reached. What a member says
 * itself is dialled by turns with what the membership says, as long as they
 * differ: so a member that moved is found again by whomever it has reached,
 * even when there is no majority to change the membership. Redial with back-off
 * 50 ms .. 1 s and jitter. A newer connection from the same member replaces the
 * older. A link is up once HELLO and WELCOME have crossed; frames before that,
 * from strangers or from another cluster never reach the owner, and are refused
 * with one line in the log of both sides (repeated refusals of the same kind by
 * one peer are logged once a minute).
 *
 * Anybody can connect: connections without a HELLO, links to nodes that are no
 * members, and the bytes of their unfinished frames are few, and the oldest
 * goes when there are more (admission.c).
 *
 * Keep-alive: PING after 300 ms without having sent; a link is dropped after
 * 3 s without a byte received. Output per link is bounded: peer_send() says
 * no when PEER_OUTPUT_BYTES_MAX are queued; nobody waits for a slow peer. */
#ifndef CRAFTD_PEER_PEER_H
#define CRAFTD_PEER_PEER_H

#include "base/base.h"
#include "base/bytes.h"
#include "raft/raft.h"
#include "reactor/reactor.h"
#include "wire/transport.h"

enum { PEER_OUTPUT_BYTES_MAX = 8 << 20 };

struct peers;

struct peers_options {
    struct reactor *reactor;
    const char *host; /* Listen address. */
    uint16_t port;
    const char *addr; /* What others reach us by; NULL is not told. */
    const char *http;
    uint64_t nonce;
    uint64_t seed; /* Jitter. */
};

MUST_CHECK enum err peers_open(const struct peers_options *options,
                               struct peers **peers, char *why,
                               size_t why_size);
/* Whom the links report to; to be set before the loop turns. `handler` is
 * borrowed until peers_close(). */
void peers_set_handler(struct peers *peers,
                       const struct transport_handler *handler, void *arg);
/* The links as a node uses them: the functions below; valid until
 * peers_close(). */
struct transport peers_transport(struct peers *peers);
/* The addresses that are bound: "127.0.0.1:12000,[::1]:12000". */
const char *peers_listening(const struct peers *peers);
void peers_close(struct peers *peers);

/* Who we are. id 0: not known yet, only on_adopt() is possible. */
void peers_set_self(struct peers *peers, const uint8_t cluster[16], raft_id id,
                    const uint8_t uuid[RAFT_UUID_BYTES], uint64_t incarnation,
                    const char *name);

/* The members now. Links to those who left stay until the other side closes
 * them, new members are dialled; a changed address is used at the next dial. */
void peers_set_members(struct peers *peers, const struct raft_conf *conf);

/* Somebody says that member `id` is at `addr` now: dialled by turns with the
 * address that is known, and soon. The handshake shows who lives there. */
void peers_hint(struct peers *peers, raft_id id, const char *addr);

/* The output buffer of the link to `id`, to add one frame to; NULL when the
 * link is down or its queue is full. It leaves at the end of the turn. */
struct buf *peer_output(struct peers *peers, raft_id id);

/* Send what is queued on all links now, instead of at the end of the turn. */
void peers_flush(struct peers *peers);

bool peer_is_up(const struct peers *peers, raft_id id);
/* The last answer of the link's address was that another cluster lives there.
 */
bool peer_is_foreign(const struct peers *peers, raft_id id);
/* A few words about the last failure, "" when none. A constant. */
const char *peer_last_error(const struct peers *peers, raft_id id);

#endif
