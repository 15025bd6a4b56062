/* peer_internal.h -- what the files of this room share.
 *
 *     peer.c       links: dial, keep alive, frames
 *     handshake.c  who may be believed to be whom */
#ifndef CRAFTD_PEER_PEER_INTERNAL_H
#define CRAFTD_PEER_PEER_INTERNAL_H

#include "base/rng.h"
#include "peer/peer.h"

enum {
    LINKS_MAX = 2 * RAFT_MEMBERS_MAX, /* Members, and some we do not know of
                                         yet, or no longer. */
    GUESTS_MAX = 32, /* Accepted connections that have not said HELLO. */
    HANDSHAKE_MS = 2000,
    HANDSHAKE_BYTES_MAX = 16 << 10, /* Of a stranger, at a time. */
    PING_MS = 300,
    SILENCE_MS = 3000,
    REDIAL_MIN_MS = 50,
    REDIAL_MAX_MS = 1000,
    COURTESY_MS = 2000,
    REFUSED_MIN_MS = 1000,
    REFUSED_MAX_MS = 5000,
    LOG_AGAIN_MS = 60000,
};

/* One connection. Dialled: its link is known. Accepted: a guest until HELLO. */
struct conn {
    struct peers *peers;
    struct link *link; /* NULL for a guest. */
    struct stream *stream;
    bool dialled;
    bool up;
    uint64_t opened_ms;
    uint64_t heard_ms;
    uint64_t sent_ms;
};

/* What we know of one other node. */
struct link {
    raft_id id; /* 0: the slot is free. */
    bool member;
    struct raft_member info;    /* Of a member. */
    struct conn *conn;          /* NULL when there is none. */
    char said[RAFT_ADDR_BYTES]; /* By itself, or a hint; "" = nothing. */
    bool dial_said;             /* Whose turn it is. */
    uint64_t dial_ms;           /* When to dial next. */
    uint64_t wait_ms;           /* Back-off. */
    uint64_t told_ms; /* When its failure was logged last; 0 = never. */
    const char *error;
    /* The newest start of its directory that we have seen. */
    uint8_t uuid[RAFT_UUID_BYTES];
    uint64_t incarnation;
    uint64_t nonce;
};

struct peers {
    struct peers_options options;
    struct reactor *reactor;
    struct listener *listener;
    struct timer timer;
    struct rng rng;
    uint8_t cluster[16];
    raft_id id;
    uint8_t uuid[RAFT_UUID_BYTES];
    uint64_t incarnation;
    char name[RAFT_NAME_BYTES];
    struct link links[LINKS_MAX];
    struct conn *guests[GUESTS_MAX];
    uint64_t refused_told_ms;
};

struct link *link_find(struct peers *peers, raft_id id);
/* With a free slot taken for it; NULL when there is none. */
struct link *link_make(struct peers *peers, raft_id id);

void hello_fill(const struct peers *peers, const struct link *link,
                struct wire_hello *hello);
/* Is the sender of this HELLO (or WELCOME) whom we may talk to? False with
 * the reason filled in. */
bool hello_check(struct peers *peers, const struct wire_hello *hello,
                 struct wire_refuse *refuse);
/* Note its directory, its start and its address. */
void hello_note(struct link *link, const struct wire_hello *hello);

#endif
