/* vitals.c -- VITALS. */
#include "wire/wire_internal.h"

void wire_add_vitals(struct buf *out, const struct wire_vitals *vitals)
{
    size_t start = wire_begin(out, WIRE_VITALS);
    wire_add_text(out, vitals->build, sizeof(vitals->build));
    buf_add_u64(out, vitals->applied);
    buf_add_u64(out, vitals->db_bytes);
    buf_add_u64(out, vitals->log_bytes);
    buf_add_u64(out, vitals->memory_bytes);
    buf_add_u64(out, vitals->commit_p99_us);
    buf_add_u64(out, vitals->disk_free_bytes);
    must(vitals->peer_count <= RAFT_MEMBERS_MAX);
    buf_add_u8(out, (uint8_t)vitals->peer_count);
    for (uint32_t i = 0; i < vitals->peer_count; i++) {
        buf_add_u64(out, vitals->peers[i].id);
        buf_add_u64(out, vitals->peers[i].lag);
        buf_add_u64(out, vitals->peers[i].rtt_ms);
    }
    wire_end(out, start);
}

enum err wire_vitals(struct bytes payload, struct wire_vitals *vitals)
{
    struct cursor in = cursor_of(payload);
    struct wire_vitals v = {0};
    wire_get_word(&in, v.build, sizeof(v.build));
    v.applied = cursor_u64(&in);
    v.db_bytes = cursor_u64(&in);
    v.log_bytes = cursor_u64(&in);
    v.memory_bytes = cursor_u64(&in);
    v.commit_p99_us = cursor_u64(&in);
    if (cursor_left(&in) > 0) {
        v.disk_free_bytes = cursor_u64(&in);
        v.peer_count = cursor_u8(&in);
    }
    if (v.peer_count > RAFT_MEMBERS_MAX) {
        return ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < v.peer_count; i++) {
        v.peers[i].id = cursor_u64(&in);
        v.peers[i].lag = cursor_u64(&in);
        v.peers[i].rtt_ms = cursor_u64(&in);
    }
    if (in.failed) {
        return ERR_CORRUPT;
    }
    *vitals = v; /* The rest is of a later version. */
    return ERR_OK;
}
