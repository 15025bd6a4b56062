/* snapshot.c -- pieces of a database, and what became of them.
 *
 *     SNAPSHOT:      u64 term, index, index_term, total, offset | u32 crc |
 *                    the rest: data
 *     SNAPSHOT_RESP: u64 index, have | u8 state */
#include "wire/wire_internal.h"

void wire_add_snapshot(struct buf *out, const struct wire_snapshot *snapshot)
{
    const struct wire_snapshot *s = snapshot;
    size_t start = wire_begin(out, WIRE_SNAPSHOT);
    const uint64_t numbers[] = {s->term, s->index, s->index_term, s->total,
                                s->offset};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        buf_add_u64(out, numbers[i]);
    }
    buf_add_u32(out, s->crc);
    buf_add_bytes(out, s->data);
    wire_end(out, start);
}

enum err wire_snapshot(struct bytes payload, struct wire_snapshot *snapshot)
{
    struct cursor in = cursor_of(payload);
    struct wire_snapshot s = {.term = cursor_u64(&in)};
    s.index = cursor_u64(&in);
    s.index_term = cursor_u64(&in);
    s.total = cursor_u64(&in);
    s.offset = cursor_u64(&in);
    s.crc = cursor_u32(&in);
    s.data = cursor_bytes(&in, cursor_left(&in));
    enum err err = wire_done(&in);
    if (!err && (s.index == 0 || s.index_term == 0 || s.data.size == 0 ||
                 s.offset >= s.total || s.data.size > s.total - s.offset)) {
        err = ERR_CORRUPT;
    }
    if (!err) {
        *snapshot = s;
    }
    return err;
}

void wire_add_snapshot_resp(struct buf *out,
                            const struct wire_snapshot_resp *resp)
{
    size_t start = wire_begin(out, WIRE_SNAPSHOT_RESP);
    buf_add_u64(out, resp->index);
    buf_add_u64(out, resp->have);
    buf_add_u8(out, (uint8_t)resp->state);
    wire_end(out, start);
}

enum err wire_snapshot_resp(struct bytes payload,
                            struct wire_snapshot_resp *resp)
{
    struct cursor in = cursor_of(payload);
    struct wire_snapshot_resp r = {.index = cursor_u64(&in)};
    r.have = cursor_u64(&in);
    uint8_t state = cursor_u8(&in);
    enum err err = wire_done(&in);
    if (!err && (state < WIRE_SNAPSHOT_GO_ON || state > WIRE_SNAPSHOT_FAILED)) {
        err = ERR_CORRUPT;
    }
    if (!err) {
        r.state = (enum wire_snapshot_state)state;
        *resp = r;
    }
    return err;
}
