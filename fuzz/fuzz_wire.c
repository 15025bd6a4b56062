/* fuzz_wire.c -- the first byte chooses: 0, the rest is what a peer sent;
 * else, the rest is the payload of a frame of that type (a checksum would
 * stop the fuzzer), or a stored membership. Property: what is accepted
 * encodes to the very same bytes again. HELLO, WELCOME, REFUSE and VITALS are
 * read for ever, and later versions may add fields at their end (wire.h): what
 * this version knows encodes to the first bytes of them. A HELLO or WELCOME of
 * an earlier build lacks the last byte, VITALS free disk and the count of
 * peers; encoding adds these. */
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW = 0, CONF = 100, MEMBER = 101 };

static struct wire_entry entries[RAFT_APPEND_ENTRIES_MAX];
static struct raft_conf conf;

/* True when `out` holds the payload's encoding to be compared. */
static bool encode_again(uint8_t type, struct bytes in, struct buf *out)
{
    struct wire_hello hello;
    struct wire_refuse refuse;
    struct wire_forward forward;
    struct wire_forward_resp resp;
    struct wire_snapshot snapshot;
    struct wire_snapshot_resp snapshot_resp;
    struct raft_message message;
    struct raft_member member;
    struct wire_vitals vitals;
    uint64_t index;
    if ((type == WIRE_HELLO || type == WIRE_WELCOME) &&
        wire_hello(in, &hello) == ERR_OK) {
        wire_add_hello(out, (enum wire_type)type, &hello);
    } else if (type == WIRE_REFUSE && wire_refuse(in, &refuse) == ERR_OK) {
        wire_add_refuse(out, &refuse);
    } else if (type == WIRE_RAFT &&
               wire_raft(in, &message, entries) == ERR_OK) {
        wire_add_raft(out, &message, entries);
    } else if (type == WIRE_FORWARD && wire_forward(in, &forward) == ERR_OK) {
        wire_add_forward(out, &forward);
    } else if (type == WIRE_FORWARD_RESP &&
               wire_forward_resp(in, &resp) == ERR_OK) {
        wire_add_forward_resp(out, &resp);
    } else if (type == WIRE_SNAPSHOT &&
               wire_snapshot(in, &snapshot) == ERR_OK) {
        wire_add_snapshot(out, &snapshot);
    } else if (type == WIRE_SNAPSHOT_RESP &&
               wire_snapshot_resp(in, &snapshot_resp) == ERR_OK) {
        wire_add_snapshot_resp(out, &snapshot_resp);
    } else if (type == WIRE_REMOVED && wire_removed(in, &index) == ERR_OK) {
        wire_add_removed(out, index);
    } else if (type == WIRE_VITALS && wire_vitals(in, &vitals) == ERR_OK) {
        wire_add_vitals(out, &vitals);
    } else if (type == CONF && wire_decode_conf(in, &conf) == ERR_OK) {
        wire_encode_conf(out, &conf);
        must(bytes_equal(buf_bytes(out), in));
        return false;
    } else if (type == MEMBER && wire_decode_member(in, &member) == ERR_OK) {
        wire_encode_member(out, &member);
        must(bytes_equal(buf_bytes(out), in));
        return false;
    } else {
        return false;
    }
    return true;
}

static bool later_versions_may_extend(uint8_t type)
{
    return type == WIRE_HELLO || type == WIRE_WELCOME || type == WIRE_REFUSE ||
           type == WIRE_VITALS;
}

/* `out` is one whole frame, made from what was read out of `payload`. */
static void check_same(uint8_t type, struct bytes payload,
                       const struct buf *out)
{
    struct wire_frame again;
    must(wire_frame(buf_bytes(out), &again) == ERR_OK);
    must(again.size_bytes == out->size && again.type == type);
    size_t added = type == WIRE_HELLO || type == WIRE_WELCOME ? 1
                   : type == WIRE_VITALS                      ? 8 + 1
                                                              : 0;
    must(again.payload.size <= payload.size + added);
    if (later_versions_may_extend(type)) {
        size_t both = min_size(payload.size, again.payload.size);
        payload.size = both;
        again.payload.size = both;
    }
    must(bytes_equal(again.payload, payload));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct bytes in = bytes_of(data + 1, size - 1);
    struct wire_frame frame;
    struct buf out = {0};
    if (data[0] == RAW) {
        if (wire_frame(in, &frame) == ERR_OK) {
            must(frame.size_bytes <= in.size);
            uint8_t type = (uint8_t)frame.type;
            if (encode_again(type, frame.payload, &out)) {
                check_same(type, frame.payload, &out);
            }
        }
    } else if (encode_again(data[0], in, &out)) {
        check_same(data[0], in, &out);
    }
    buf_free(&out);
    return 0;
}
