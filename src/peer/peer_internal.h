/* peer_internal.h -- what the files of this room share.
 *
 *     peer.c       links: dial, keep alive, frames
 *     handshake.c  verifies the identity that a HELLO or WELCOME claims
 *     admission.c  bounds for unauthenticated peers
 *     channel.c    the sealed channel of one link, pure
 *     secure.c     which connections are sealed, and when they are proven
 *     keys.c       the file of the cluster's keys
 *     transport.c  the links as a node uses them (wire/transport.h) */
#ifndef CRAFTD_PEER_PEER_INTERNAL_H
#define CRAFTD_PEER_PEER_INTERNAL_H

#include "base/log.h"
#include "base/rng.h"
#include "peer/channel.h"
#include "peer/peer.h"

enum {
    LINKS_MAX = 2 * RAFT_MEMBERS_MAX, /* Members and strangers. */
    STRANGERS_MAX = RAFT_MEMBERS_MAX, /* Links to non-members: members to be,
                                         and former ones. */
    /* Accepted connections without a HELLO: from any address, from one of
     * those addresses, and from addresses of members. */
    GUESTS_STRANGE_MAX = 32,
    GUESTS_ADDRESS_MAX = 8,
    GUESTS_KNOWN_MAX = 16,
    GUESTS_MAX = GUESTS_STRANGE_MAX + GUESTS_KNOWN_MAX,
    GUESTS_CALM = 8, /* Beyond this, HELLO is due in HANDSHAKE_CROWDED_MS. */
    HANDSHAKE_MS = 2000,
    HANDSHAKE_CROWDED_MS = 200,
    HANDSHAKE_BYTES_MAX = 16 << 10,   /* Input buffered for a guest. */
    SEALED_FLUSH_BYTES_MAX = 1 << 20, /* Sealed at a time: 2 ms on a PC. */
    INPUT_SEALED_BYTES_MAX = 2 * CHANNEL_TEXT_BYTES_MAX, /* Before it opens. */
    /* First messages answered between two ticks: of addresses of members, of
     * all others, and of one address. Each costs two X25519. */
    ANSWERS_KNOWN_MAX = 4,
    ANSWERS_STRANGE_MAX = 3,
    ANSWERS_ADDRESS_MAX = 2,
    ANSWERS_MAX = ANSWERS_KNOWN_MAX + ANSWERS_STRANGE_MAX,
    FIRSTS_KEPT = 1024, /* First messages that are known again. */
    /* Bytes of unfinished frames on all links, and on those to non-members,
     * which share the space of one frame. */
    UNFINISHED_BYTES_MAX = 4 * WIRE_FRAME_BYTES_MAX,
    UNFINISHED_STRANGE_BYTES_MAX = WIRE_FRAME_BYTES_MAX,
    PING_MS = 300,
    SILENCE_MS = 3000,
    REDIAL_MIN_MS = 50,
    REDIAL_MAX_MS = 1000,
    COURTESY_MS = 2000,
    REFUSED_MIN_MS = 1000,
    REFUSED_MAX_MS = 5000,
    LOG_AGAIN_MS = 60000,   /* Failures of a link to a member. */
    LOG_STRANGER_MS = 1000, /* Events that non-members provoke. */
};

/* How the bytes of a connection are read. */
enum security {
    SECURITY_NONE,    /* Frames, in clear. */
    SECURITY_FIRST,   /* Waits for the first message of a handshake. */
    SECURITY_BUDGET,  /* Has a good one, and waits for its answer's turn. */
    SECURITY_SECOND,  /* Dialled: waits for the answer. */
    SECURITY_RECORDS, /* Records, with frames in them. */
};

/* One connection. Dialled: its link is known. Accepted: a guest until HELLO. */
struct conn {
    struct peers *peers;
    struct link *link; /* NULL for a guest. */
    struct stream *stream;
    bool dialled;
    bool up;
    bool known;   /* A guest from an address of a member. */
    bool open;    /* The dial has succeeded. */
    bool refused; /* Logged; closes when its answer has left. */
    enum security security;
    struct channel channel;  /* Zeros without a handshake. */
    struct buf plain;        /* Frames to be sealed before the next send, ... */
    size_t plain_at;         /* ... from here on. */
    struct buf opened;       /* Received part of an unfinished frame, opened. */
    size_t unfinished_bytes; /* Received part of an unfinished frame. */
    uint64_t unfinished_ms;  /* When that frame began. */
    uint64_t opened_ms;
    uint64_t heard_ms; /* When bytes were received last. */
    uint64_t sent_ms;  /* When a frame was queued last. */
};

/* One other node. */
struct link {
    raft_id id; /* 0: the slot is free. */
    bool member;
    struct raft_member info; /* Its entry in the membership, if member. */
    struct conn *conn;       /* NULL when there is none. */
    /* The address that it advertised, or that a hint gave; "": none. */
    char advertised[RAFT_ADDR_BYTES];
    bool dial_advertised; /* Dial that one next. */
    bool dial_clear;      /* Keys are optional, and a sealed dial was refused:
                             the next one is in clear. */
    uint64_t dial_ms;     /* When to dial next. */
    uint64_t wait_ms;     /* Back-off. */
    uint64_t logged_ms;   /* When its failure was logged last; 0: not since
                             it was up. */
    const char *error;    /* See peer_last_error(). */
    char ip[REACTOR_ADDR_TEXT_BYTES]; /* Of its last connection. */
    bool foreign;                     /* See peer_is_foreign(). */
    /* The newest incarnation of its directory that was seen here. */
    uint8_t uuid[RAFT_UUID_BYTES];
    uint64_t incarnation;
    uint64_t nonce;
};

struct peers {
    struct peers_options options;
    const struct transport_handler *handler;
    void *handler_arg;
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
    struct peer_keys keys; /* count 0: nothing is sealed. */
    bool keys_optional;
    /* The answers of this tick: who got one. */
    struct {
        bool known;
        char ip[REACTOR_ADDR_TEXT_BYTES];
    } answers[ANSWERS_MAX];
    int answer_count;
    /* Ends of the tags of the latest good first messages, in a ring. */
    uint64_t firsts[FIRSTS_KEPT];
    uint32_t firsts_next;
    /* Lines that strangers can provoke. */
    struct log_limit refused_log;
    struct log_limit garbage_log;
    struct log_limit stranger_log;
};

struct link *peer_link_find(struct peers *peers, raft_id id);
/* Finds the link or takes a slot for it, if need be that of a stranger. */
struct link *peer_link_make(struct peers *peers, raft_id id);

/* Close and free it; `why` is a constant. */
void peer_conn_close(struct conn *conn, const char *why);
/* The same for one that refused, or was refused: it is dialled later. */
void peer_conn_refuse(struct conn *conn, const char *why);
/* Log that the link to a member failed: the first time, then once a minute. */
void peer_log_failure(struct peers *peers, struct link *link, const char *event,
                      const char *why);
void peer_send_hello(struct conn *conn, const struct link *link,
                     enum wire_type type);
/* Handle the whole frames at the beginning of `in`; *used is their size. False:
 * the connection is closed or about to be, and must not be used. */
bool peer_frames_read(struct conn *conn, struct bytes in, size_t *used);
/* An HTTP request on the Raft port gets a constant answer. False: it is none.
 * True: the connection closes once the answer has left. */
bool peer_http_is_answered(struct conn *conn, struct bytes in);
/* True while these bytes are the beginning of a request's method only. */
bool peer_http_may_begin(struct bytes in);

/* ---- secure.c ----------------------------------------------------------- */

/* A connection is there: dialled, whose first bytes are sent, or accepted. */
void secure_start(struct conn *conn);
/* Bytes have come. Returns how many are consumed. */
size_t secure_read(struct conn *conn, uint8_t *data, size_t size);
/* Where frames to the other side are appended; see peer_output(). */
struct buf *secure_output(struct conn *conn);
/* Bytes that wait to be sealed. */
size_t secure_output_bytes(const struct conn *conn);
/* Seal them, into the output of the stream. True: some are left, since they
 * were many, and are for the next call. */
bool secure_flush(struct conn *conn, struct buf *output);
/* The reason for the log when a dialled connection closed before it was up,
 * which may be that the keys differ; `why` is what the stream says. */
const char *secure_explain_close(struct conn *conn, const char *why);
/* A tick has passed: more first messages may be answered. */
void secure_tick(struct peers *peers);
void secure_forget(struct conn *conn);

/* ---- admission.c -------------------------------------------------------- */

/* The address without the port, of text like "[::1]:4711". */
void peer_ip_of(const char *text, char ip[REACTOR_ADDR_TEXT_BYTES]);
/* Make a place for a new guest: the oldest one of its kind goes. */
void peer_guest_admit(struct peers *peers, struct conn *guest);
void peer_guest_forget(struct conn *guest);
/* Close guests that did not send HELLO in time. */
void peer_guests_tick(struct peers *peers);
/* Close the link to the stranger that has had its place the longest; false:
 * there are fewer than `at_least`. */
bool peer_stranger_leaves(struct peers *peers, int at_least);
/* Log lines about nodes that are no members: one a second of each kind, which
 * says how many it stands for. `hello` may be NULL. */
void peer_log_refused(struct conn *conn, const struct wire_hello *hello,
                      const char *why);
void peer_log_garbage(struct conn *conn, const char *why);
void peer_log_stranger(struct conn *conn, const char *event, const char *why);
/* Log the events that were counted and not followed by another. */
void peer_strangers_log_rest(struct peers *peers);
/* `bytes` of a frame have come and not the rest; `is_new`: it is not the frame
 * that was unfinished before. Over the bounds somebody is closed, false: this
 * connection. */
bool peer_unfinished_set(struct conn *conn, size_t bytes, bool is_new);

void peer_hello_fill(const struct peers *peers, const struct link *link,
                     struct wire_hello *hello);
/* The sender is of another cluster than this node. */
bool peer_hello_is_foreign(const struct peers *peers,
                           const struct wire_hello *hello);
/* Verify a HELLO or WELCOME. False: refuse it, for the reason in `refuse`. */
bool peer_hello_check(struct peers *peers, const struct wire_hello *hello,
                      struct wire_refuse *refuse);
/* Store the directory, incarnation and address of a verified HELLO. */
void peer_hello_apply(struct link *link, const struct wire_hello *hello);

#endif
