/* message.c -- one raft message.
 *
 *     u8 type | u8 flags (1 granted, 2 transfer) | u64 from, to, term,
 *     log_index, log_term, round, commit, match, sent_ms
 *     APPEND: u32 count | count entries: u64 term | u8 type | u32 size, bytes
 *
 * Fixed places for all: 74 bytes a message cost nothing beside a system
 * call, and there is one way to write each message. */
#include "wire/wire_internal.h"

enum { FLAG_GRANTED = 1, FLAG_TRANSFER = 2 };

void wire_add_raft(struct buf *out, const struct raft_message *message,
                   const struct wire_entry *entries)
{
    const struct raft_message *m = message;
    size_t start = wire_begin(out, WIRE_RAFT);
    buf_add_u8(out, (uint8_t)m->type);
    buf_add_u8(out, (uint8_t)((m->granted ? FLAG_GRANTED : 0) |
                              (m->transfer ? FLAG_TRANSFER : 0)));
    const uint64_t numbers[] = {m->from,      m->to,       m->term,
                                m->log_index, m->log_term, m->round,
                                m->commit,    m->match,    m->sent_ms};
    uint8_t *at = buf_reserve(out, sizeof(numbers));
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        store_u64(at + 8 * i, numbers[i]);
    }
    out->size += sizeof(numbers);
    if (m->type == RAFT_MSG_APPEND) {
        buf_add_u32(out, m->entry_count);
        for (uint32_t i = 0; i < m->entry_count; i++) {
            buf_add_u64(out, entries[i].term);
            buf_add_u8(out, (uint8_t)entries[i].type);
            buf_add_u32(out, (uint32_t)entries[i].payload.size);
            buf_add_bytes(out, entries[i].payload);
        }
    }
    wire_end(out, start);
}

static void get_entries(struct cursor *in, struct raft_message *m,
                        struct wire_entry *entries)
{
    m->entry_count = cursor_u32(in);
    if (m->entry_count > RAFT_APPEND_ENTRIES_MAX) {
        in->failed = true;
        m->entry_count = 0;
    }
    for (uint32_t i = 0; i < m->entry_count && !in->failed; i++) {
        entries[i].term = cursor_u64(in);
        uint8_t type = cursor_u8(in);
        in->failed =
            in->failed || type < RAFT_ENTRY_NORMAL || type > RAFT_ENTRY_CONF;
        entries[i].type = (enum raft_entry_type)type;
        uint32_t size = cursor_u32(in);
        entries[i].payload = cursor_bytes(in, size);
    }
}

enum err wire_raft(struct bytes payload, struct raft_message *message,
                   struct wire_entry *entries)
{
    struct cursor in = cursor_of(payload);
    struct raft_message m = {0};
    uint8_t type = cursor_u8(&in);
    uint8_t flags = cursor_u8(&in);
    m.from = cursor_u64(&in);
    m.to = cursor_u64(&in);
    m.term = cursor_u64(&in);
    m.log_index = cursor_u64(&in);
    m.log_term = cursor_u64(&in);
    m.round = cursor_u64(&in);
    m.commit = cursor_u64(&in);
    m.match = cursor_u64(&in);
    m.sent_ms = cursor_u64(&in);
    if (type < RAFT_MSG_PREVOTE || type > RAFT_MSG_READ_RESP ||
        flags > (FLAG_GRANTED | FLAG_TRANSFER)) {
        return ERR_CORRUPT;
    }
    m.type = (enum raft_message_type)type;
    m.granted = flags & FLAG_GRANTED;
    m.transfer = flags & FLAG_TRANSFER;
    if (m.type == RAFT_MSG_APPEND) {
        get_entries(&in, &m, entries);
    }
    enum err err = wire_done(&in);
    if (!err) {
        *message = m;
    }
    return err;
}
