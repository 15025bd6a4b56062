/* wire.h -- messages between nodes <-> bytes. Pure; transport.h has the border
 * between a node and the links that carry them.
 *
 * Frame, little-endian:
 *     u32 size_bytes of all that follows this header
 *     u32 crc32c of size_bytes
 *     u32 crc32c of all that follows
 *     u8 type | u8 version | u16 flags (0) | payload
 * The size has a checksum of its own: with a wrong size the receiver would wait
 * for bytes that never come, on a link that only looks alive. A frame over
 * WIRE_FRAME_BYTES_MAX is refused before memory is taken for it. Unknown types
 * of a known version are skipped by the receiver, unknown versions end the
 * connection.
 *
 * Nodes of different builds: HELLO and WELCOME advertise the oldest and the
 * newest version that their sender speaks, and the link has the newest one that
 * both know; without one it is refused, and both log the reason. A frame
 * carries the version that introduced its layout, and may be sent on links of
 * that version or a newer one. A build speaks the version before its own too,
 * so that nodes can be upgraded and downgraded one after the other.
 *
 * HELLO and WELCOME also advertise the newest version of commands (command.h)
 * that their sender can apply; earlier builds do not, and apply version 3. A
 * leader proposes a newer one only when it has seen that every member applies
 * it, or when the log has one already.
 *
 * With a cluster key the frames are the text of sealed records
 * (peer/channel.h), otherwise unchanged. Builds without keys take the first
 * message of such a link for garbage and close it: nodes with and without a key
 * agree by --cluster-key-optional alone, not by versions.
 *
 * Decoding checks every length and enum, and that names and addresses are
 * words (base/text.h; earlier builds let --id have control bytes, and frames
 * with such a name are refused now). It returns ERR_CORRUPT for anything else
 * than what encoding gives, ERR_VERSION for a version that is not spoken here.
 * Views point into the input. */
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
    WIRE_VERSION = CRAFTD_WIRE_VERSION, /* The newest spoken here, ... */
    WIRE_VERSION_MIN = CRAFTD_WIRE_VERSION_MIN, /* ... and the oldest. */
    WIRE_FRAME_HEADER_BYTES = 12,
    WIRE_FRAME_BYTES_MAX = 32 << 20,
    WIRE_TEXT_BYTES = 256, /* The text of a refusal, with its final 0. */
};

enum wire_type {
    WIRE_HELLO = 1,   /* First frame of the dialling side. */
    WIRE_WELCOME = 2, /* ... of the other side: accepted. */
    WIRE_REFUSE = 3,  /* ... or not, with the reason. */
    WIRE_PING = 4,
    WIRE_PONG = 5,
    WIRE_RAFT = 6,         /* One struct raft_message. */
    WIRE_FORWARD = 7,      /* A client's request, forwarded to another node. */
    WIRE_FORWARD_RESP = 8, /* ... and its outcome. */
    WIRE_SNAPSHOT = 9,     /* A piece of the database, ... */
    WIRE_SNAPSHOT_RESP = 10, /* ... and its acknowledgement. */
    WIRE_REMOVED = 11, /* The receiver is no member any more. (Builds that do
                          not know it skip it.) */
    WIRE_VITALS = 12,  /* Figures of the sender, for operators. (Likewise.) */
};

/* HELLO and WELCOME carry the same: the identities of sender and receiver. They
 * and REFUSE stay readable for all versions, so that two nodes without a common
 * version can report it: they are version 1 for ever, and fields that later
 * versions append are skipped by earlier ones. */
struct wire_hello {
    uint8_t version_min;
    uint8_t version_max;
    uint8_t cluster[16];
    uint64_t from_id;
    uint8_t from_uuid[RAFT_UUID_BYTES];
    uint64_t from_incarnation; /* Number of starts in its directory. */
    uint64_t from_nonce;       /* Random per start. */
    char from_name[RAFT_NAME_BYTES];
    uint64_t to_id;
    uint8_t to_uuid[RAFT_UUID_BYTES]; /* In its member entry; 0: not known. */
    char to_name[RAFT_NAME_BYTES];
    /* Advertised addresses of `from`, host:port; they may differ from those in
     * its member entry. "": none. */
    char from_addr[RAFT_ADDR_BYTES];
    char from_http[RAFT_ADDR_BYTES];
    uint8_t from_commands; /* The newest version of commands that it applies. */
};
/* That of builds that do not advertise it. */
enum { WIRE_HELLO_COMMANDS = 3 };

enum wire_refusal {
    WIRE_REFUSE_CLUSTER = 1,  /* Another cluster. */
    WIRE_REFUSE_NOT_ME = 2,   /* The dialled node is not `to`. */
    WIRE_REFUSE_UUID = 3,     /* `to` has another directory now. */
    WIRE_REFUSE_STRANGER = 4, /* `from` has no id or no directory, or the
                                 member of that id has another. */
    WIRE_REFUSE_VERSION = 5,
    WIRE_REFUSE_CLONE = 6, /* A newer start of the same directory is known. */
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
     * answer the latter with NODE_NOT_FOUND, and do nothing. */
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
    /* Number of keys deleted; for a refused request enum node_refusal in the
     * low byte, and above it the ms to wait. Earlier builds send 0 and ignore
     * it. */
    uint64_t detail;
    /* Result of a version 2 command (command/result.h), to the end of the
     * frame; empty for others. Nodes of builds that do not know results forward
     * no version 2 commands, so they never receive one. */
    struct bytes result;
};

/* Pieces are sent in order; one at offset 0 starts the transfer again. */
struct wire_snapshot {
    uint64_t term;       /* The sender's. */
    uint64_t index;      /* Last log entry that the snapshot holds, ... */
    uint64_t index_term; /* ... and its term. */
    uint64_t total;      /* Bytes of the whole snapshot. */
    uint64_t offset;     /* Where this piece starts, in bytes. */
    uint32_t crc;        /* CRC-32C of all bytes up to the end of this piece. */
    struct bytes data;
};

enum wire_snapshot_state {
    WIRE_SNAPSHOT_GO_ON = 1,
    WIRE_SNAPSHOT_DONE = 2,   /* Installed, or not needed any more. */
    WIRE_SNAPSHOT_FAILED = 3, /* Start again, later. */
};

struct wire_snapshot_resp {
    uint64_t index;
    uint64_t have; /* Bytes received so far. */
    enum wire_snapshot_state state;
};

/* The version and resources of the sender, for the operators of the others:
 * nothing is decided by them. Later versions may append fields, which this one
 * skips. */
enum { WIRE_BUILD_BYTES = 32 };
struct wire_vitals_peer {
    uint64_t id;
    uint64_t lag; /* Entries of the leader's log that it does not hold. */
    uint64_t rtt_ms;
};
struct wire_vitals {
    char build[WIRE_BUILD_BYTES]; /* Version of the program; a word. */
    uint64_t applied;             /* Index. */
    uint64_t db_bytes;
    uint64_t log_bytes;
    uint64_t memory_bytes; /* Resident; 0: unknown. */
    /* 99th percentile of the commits of the last interval, in us, as
     * histogram_quantile() has it; 0: there were none. */
    uint64_t commit_p99_us;
    /* Absent, hence 0, in frames of builds that report the above only: */
    uint64_t disk_free_bytes; /* 0: unknown. */
    uint32_t peer_count;      /* A leader reports its peers, others 0. */
    struct wire_vitals_peer peers[RAFT_MEMBERS_MAX];
};

/* One entry of an append. */
struct wire_entry {
    uint64_t term;
    enum raft_entry_type type;
    struct bytes payload;
};

/* ---- encoding: whole frames, header included, appended to `out` ---- */

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

/* `index`: log index of the newest committed membership at the sender. */
void wire_add_removed(struct buf *out, uint64_t index);

void wire_add_vitals(struct buf *out, const struct wire_vitals *vitals);

/* ---- decoding ---------------------------------------------------------- */

struct wire_frame {
    enum wire_type type;
    uint8_t version;
    struct bytes payload;
    size_t size_bytes; /* Bytes to consume: the whole frame. */
};

/* The first frame in `in`. ERR_NOT_FOUND: not complete yet. ERR_TOO_BIG,
 * ERR_CORRUPT (checksum), ERR_VERSION: close the connection. An unknown type is
 * returned as it is; the caller skips it. */
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

MUST_CHECK enum err wire_vitals(struct bytes payload,
                                struct wire_vitals *vitals);

/* ---- membership, which is stored as well: payload of RAFT_ENTRY_CONF ---- */

void wire_encode_conf(struct buf *out, const struct raft_conf *conf);
MUST_CHECK enum err wire_decode_conf(struct bytes in, struct raft_conf *conf);
void wire_encode_member(struct buf *out, const struct raft_member *member);
MUST_CHECK enum err wire_decode_member(struct bytes in,
                                       struct raft_member *member);

#endif
