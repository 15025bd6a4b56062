/* wire.h -- what nodes say to each other <-> bytes. Pure.
 *
 * Frame, little-endian:
 *     u32 size_bytes of all that follows this header
 *     u32 crc32c of size_bytes
 *     u32 crc32c of all that follows
 *     u8 type | u8 version | u16 flags (0) | payload
 * The size has a checksum of its own: believing a wrong one would mean to wait
 * for bytes that never come, and a link that only looks alive. A frame over
 * WIRE_FRAME_BYTES_MAX is refused before memory is taken for it. Unknown types
 * of a known version are skipped by the receiver, unknown versions end the
 * connection.
 *
 * Two nodes that differ: HELLO and WELCOME say which versions their sender
 * speaks, from the oldest to the newest, and the link is of the newest that
 * both know; without one it is refused, and both say why. A frame carries the
 * version that its layout came with, and may be sent on links of that version
 * or a newer one. A version speaks its predecessor's too, so that nodes can be
 * upgraded, and taken back, one after the other.
 *
 * Decoding checks every length and enum, and that names and addresses are
 * words (base/text.h; earlier builds let --id have control bytes, and such a
 * node is not understood any more): ERR_CORRUPT when anything is odd,
 * ERR_VERSION for a version we do not speak. Views point into the input. */
#ifndef CRAFTD_WIRE_WIRE_H
#define CRAFTD_WIRE_WIRE_H

#include "base/base.h"
#include "base/bytes.h"
#include "raft/raft.h"

/* Other values are for tests of mixed versions, which build a later one. */
#ifndef CRAFTD_WIRE_VERSION
#define CRAFTD_WIRE_VERSION 1
#endif
#ifndef CRAFTD_WIRE_VERSION_MIN
#define CRAFTD_WIRE_VERSION_MIN 1
#endif

enum {
    WIRE_VERSION = CRAFTD_WIRE_VERSION,         /* The newest we speak, ... */
    WIRE_VERSION_MIN = CRAFTD_WIRE_VERSION_MIN, /* ... and the oldest. */
    WIRE_FRAME_HEADER_BYTES = 12,
    WIRE_FRAME_BYTES_MAX = 32 << 20,
    WIRE_TEXT_BYTES = 256,
};

enum wire_type {
    WIRE_HELLO = 1,   /* First frame of the dialling side. */
    WIRE_WELCOME = 2, /* ... of the other side: accepted. */
    WIRE_REFUSE = 3,  /* ... or not, with the reason. */
    WIRE_PING = 4,
    WIRE_PONG = 5,
    WIRE_RAFT = 6,         /* One struct raft_message. */
    WIRE_FORWARD = 7,      /* A follower passes a client's request on. */
    WIRE_FORWARD_RESP = 8, /* ... and gets its outcome. */
    WIRE_SNAPSHOT = 9,     /* A piece of the database. */
    WIRE_SNAPSHOT_RESP = 10,
    WIRE_REMOVED = 11, /* The receiver is no member any more. (Builds that do
                          not know it skip it.) */
};

/* HELLO and WELCOME carry the same: who speaks to whom. They and REFUSE stay
 * readable for all versions, so that two that cannot talk can say so: version
 * 1 for ever, and what later ones add goes behind, where earlier ones skip
 * it. */
struct wire_hello {
    uint8_t version_min;
    uint8_t version_max;
    uint8_t cluster[16];
    uint64_t from_id;
    uint8_t from_uuid[RAFT_UUID_BYTES];
    uint64_t from_incarnation; /* Counts the starts of its directory. */
    uint64_t from_nonce;       /* Random per start. */
    char from_name[RAFT_NAME_BYTES];
    uint64_t to_id;
    uint8_t to_uuid[RAFT_UUID_BYTES]; /* As its member entry says; or 0. */
    char to_name[RAFT_NAME_BYTES];
    /* Where `from` says that it can be reached, which may be news. */
    char from_addr[RAFT_ADDR_BYTES];
    char from_http[RAFT_ADDR_BYTES];
};

enum wire_refusal {
    WIRE_REFUSE_CLUSTER = 1,  /* Another cluster. */
    WIRE_REFUSE_NOT_ME = 2,   /* The dialled node is not `to`. */
    WIRE_REFUSE_UUID = 3,     /* `to` has another directory now. */
    WIRE_REFUSE_STRANGER = 4, /* `from` is no member. */
    WIRE_REFUSE_VERSION = 5,
    WIRE_REFUSE_CLONE = 6, /* Two live directories with one identity. */
    WIRE_REFUSE_NOT_READY = 7,
};

struct wire_refuse {
    enum wire_refusal reason;
    char text[WIRE_TEXT_BYTES];
};

enum wire_forward_kind {
    WIRE_FORWARD_COMMAND = 1, /* body: an encoded command */
    /* body: wire_encode_member(); id 0, a member's own (it has moved), or
     * UINT64_MAX: a member at that address may be replaced. Earlier builds
     * answer to the latter that there is no such member, and do nothing. */
    WIRE_FORWARD_JOIN = 2,
    WIRE_FORWARD_REMOVE = 3,   /* body: u64 id */
    WIRE_FORWARD_TRANSFER = 4, /* body: u64 id, 0 = any */
    WIRE_FORWARD_SUFFRAGE = 5, /* body: u64 id, u8 1 = voter, 0 = not */
    WIRE_FORWARD_APPLIED = 6,  /* body: u64 index, to be applied; any node */
};

struct wire_forward {
    uint64_t request; /* Chosen by the sender, echoed. */
    enum wire_forward_kind kind;
    struct bytes body;
};

struct wire_forward_resp {
    uint64_t request;
    uint8_t outcome; /* enum node_outcome; checked by the receiver. */
    uint64_t index;  /* Log index of the write. */
    /* Keys deleted; of what was refused, enum node_refusal in the low byte and
     * above it the ms to wait. Earlier builds send 0, and do not look. */
    uint64_t detail;
    /* What came of a version 2 command (command/result.h), to the end of the
     * frame; else empty, and the frame as it always was: a node of an older
     * build gets what it knows, since it does not ask for more. */
    struct bytes result;
};

/* Pieces come in order; the first, at offset 0, begins anew. */
struct wire_snapshot {
    uint64_t term;       /* The sender's. */
    uint64_t index;      /* The last entry that it holds, ... */
    uint64_t index_term; /* ... and the term of that. */
    uint64_t total;      /* Bytes of all. */
    uint64_t offset;
    uint32_t crc; /* CRC-32C of all bytes up to the end of this piece. */
    struct bytes data;
};

enum wire_snapshot_state {
    WIRE_SNAPSHOT_GO_ON = 1,
    WIRE_SNAPSHOT_DONE = 2,   /* It is in place, or not needed any more. */
    WIRE_SNAPSHOT_FAILED = 3, /* Begin anew, later. */
};

struct wire_snapshot_resp {
    uint64_t index;
    uint64_t have; /* Bytes received. */
    enum wire_snapshot_state state;
};

/* One entry of an append, as it is on the wire. */
struct wire_entry {
    uint64_t term;
    enum raft_entry_type type;
    struct bytes payload;
};

/* ---- encoding: whole frames, header included, added to `out` ----------- */

void wire_add_hello(struct buf *out, enum wire_type type,
                    const struct wire_hello *hello);
void wire_add_refuse(struct buf *out, const struct wire_refuse *refuse);
void wire_add_empty(struct buf *out, enum wire_type type); /* PING, PONG */
/* `entries` [message->entry_count] for APPEND, else NULL. */
void wire_add_raft(struct buf *out, const struct raft_message *message,
                   const struct wire_entry *entries);
void wire_add_forward(struct buf *out, const struct wire_forward *forward);
void wire_add_forward_resp(struct buf *out,
                           const struct wire_forward_resp *resp);

void wire_add_snapshot(struct buf *out, const struct wire_snapshot *snapshot);
void wire_add_snapshot_resp(struct buf *out,
                            const struct wire_snapshot_resp *resp);

/* `index`: the entry of the newest committed membership that the sender has. */
void wire_add_removed(struct buf *out, uint64_t index);

/* ---- decoding ---------------------------------------------------------- */

struct wire_frame {
    enum wire_type type;
    uint8_t version;
    struct bytes payload;
    size_t size_bytes; /* Of the whole frame: consume this many. */
};

/* The first frame in `in`. ERR_NOT_FOUND: not complete yet. ERR_TOO_BIG,
 * ERR_CORRUPT (checksum), ERR_VERSION: give the connection up. An unknown
 * type is returned as it is; the caller skips it. */
MUST_CHECK enum err wire_frame(struct bytes in, struct wire_frame *frame);

MUST_CHECK enum err wire_hello(struct bytes payload, struct wire_hello *hello);
MUST_CHECK enum err wire_refuse(struct bytes payload,
                                struct wire_refuse *refuse);
/* `entries` has room for RAFT_APPEND_ENTRIES_MAX. message->entries stays
 * NULL: the caller decodes configurations and fills it. */
MUST_CHECK enum err wire_raft(struct bytes payload,
                              struct raft_message *message,
                              struct wire_entry *entries);
MUST_CHECK enum err wire_forward(struct bytes payload,
                                 struct wire_forward *forward);
MUST_CHECK enum err wire_forward_resp(struct bytes payload,
                                      struct wire_forward_resp *resp);

MUST_CHECK enum err wire_snapshot(struct bytes payload,
                                  struct wire_snapshot *snapshot);
MUST_CHECK enum err wire_snapshot_resp(struct bytes payload,
                                       struct wire_snapshot_resp *resp);

MUST_CHECK enum err wire_removed(struct bytes payload, uint64_t *index);

/* ---- what is also stored: the payload of RAFT_ENTRY_CONF --------------- */

void wire_encode_conf(struct buf *out, const struct raft_conf *conf);
MUST_CHECK enum err wire_decode_conf(struct bytes in, struct raft_conf *conf);
void wire_encode_member(struct buf *out, const struct raft_member *member);
MUST_CHECK enum err wire_decode_member(struct bytes in,
                                       struct raft_member *member);

#endif
