/* format.c -- encodes and decodes slots, headers, batches and records. Pure. */
#include "base/crc32c.h"
#include "wal/wal_internal.h"

static const char meta_magic[8] = {'C', 'R', 'F', 'T', 'M', 'E', 'T', 'A'};
static const char segment_magic[8] = {'C', 'R', 'F', 'T', 'W', 'A', 'L', '1'};

/* Completes a meta slot or a segment header: magic, checksum and format. */
static void block_seal(uint8_t *block, const char magic[8])
{
    memcpy(block, magic, 8);
    store_u32(block + 12, WAL_FORMAT);
    store_u32(block + 8, crc32c(0, block + 12, BLOCK_BYTES - 12));
}

static enum err block_check(const uint8_t *block, const char magic[8])
{
    if (memcmp(block, magic, 8) != 0 ||
        load_u32(block + 8) != crc32c(0, block + 12, BLOCK_BYTES - 12)) {
        return ERR_CORRUPT;
    }
    return load_u32(block + 12) == WAL_FORMAT ? ERR_OK : ERR_VERSION;
}

void wal_meta_encode(const struct meta *meta, uint8_t block[BLOCK_BYTES])
{
    memset(block, 0, BLOCK_BYTES);
    store_u64(block + 16, meta->version);
    store_u64(block + 24, meta->term);
    store_u64(block + 32, meta->vote);
    store_u64(block + 40, meta->incarnation);
    memcpy(block + 48, meta->uuid, sizeof(meta->uuid));
    block_seal(block, meta_magic);
}

enum err wal_meta_decode(const uint8_t block[BLOCK_BYTES], struct meta *meta)
{
    enum err err = block_check(block, meta_magic);
    if (err) {
        return err;
    }
    *meta = (struct meta){
        .version = load_u64(block + 16),
        .term = load_u64(block + 24),
        .vote = load_u64(block + 32),
        .incarnation = load_u64(block + 40),
    };
    memcpy(meta->uuid, block + 48, sizeof(meta->uuid));
    return ERR_OK;
}

void wal_segment_encode(const struct segment_header *header,
                        uint8_t block[BLOCK_BYTES])
{
    memset(block, 0, BLOCK_BYTES);
    store_u64(block + 24, header->seq);
    store_u64(block + 32, header->batch_seq);
    store_u64(block + 40, header->next_index);
    store_u64(block + 48, header->salt);
    store_u32(block + 56, header->chain);
    memcpy(block + 64, header->cluster, sizeof(header->cluster));
    memcpy(block + 80, header->uuid, sizeof(header->uuid));
    block_seal(block, segment_magic);
}

enum err wal_segment_decode(const uint8_t block[BLOCK_BYTES],
                            struct segment_header *header)
{
    enum err err = block_check(block, segment_magic);
    if (err) {
        return err;
    }
    if (load_u64(block + 16) != 0) {
        return ERR_VERSION; /* A feature of a newer program. */
    }
    *header = (struct segment_header){
        .seq = load_u64(block + 24),
        .batch_seq = load_u64(block + 32),
        .next_index = load_u64(block + 40),
        .salt = load_u64(block + 48),
        .chain = load_u32(block + 56),
    };
    memcpy(header->cluster, block + 64, sizeof(header->cluster));
    memcpy(header->uuid, block + 80, sizeof(header->uuid));
    return ERR_OK;
}

uint32_t wal_chain_next(uint32_t chain, uint64_t batch_seq,
                        uint32_t payload_crc)
{
    uint8_t data[12];
    store_u64(data, batch_seq);
    store_u32(data + 8, payload_crc);
    return crc32c(chain, data, sizeof(data));
}

uint32_t wal_salted_crc(uint64_t salt, const void *data, size_t size)
{
    uint8_t bytes[8];
    store_u64(bytes, salt);
    return crc32c(crc32c(0, bytes, sizeof(bytes)), data, size);
}

void wal_batch_seal(uint8_t *data, const struct segment_header *segment,
                    struct batch *batch, uint32_t chain_before)
{
    must(batch->offset % BLOCK_BYTES == 0);
    must(batch->durable_seq < batch->batch_seq);
    must(batch->payload.data == data + BATCH_HEADER_BYTES);
    batch->payload_crc =
        wal_salted_crc(segment->salt, batch->payload.data, batch->payload.size);
    batch->chain =
        wal_chain_next(chain_before, batch->batch_seq, batch->payload_crc);
    memset(data, 0, BATCH_HEADER_BYTES);
    store_u32(data, BATCH_MAGIC);
    store_u64(data + 8, batch->batch_seq);
    store_u64(data + 16, batch->durable_seq);
    store_u64(data + 24, batch->offset);
    store_u32(data + 32, batch->record_count);
    store_u32(data + 36, (uint32_t)batch->payload.size);
    store_u32(data + 40, batch->payload_crc);
    store_u32(data + 44, batch->chain);
    store_u64(data + 48, batch->incarnation);
    store_u32(data + 4, wal_salted_crc(segment->salt, data + 8, 56));
}

enum err wal_batch_decode(const struct segment_header *segment,
                          struct bytes file, uint64_t offset,
                          struct batch *batch)
{
    if (offset + BATCH_HEADER_BYTES > file.size) {
        return ERR_CORRUPT;
    }
    const uint8_t *data = file.data + offset;
    if (load_u32(data) != BATCH_MAGIC ||
        load_u32(data + 4) != wal_salted_crc(segment->salt, data + 8, 56)) {
        return ERR_CORRUPT;
    }
    *batch = (struct batch){
        .batch_seq = load_u64(data + 8),
        .durable_seq = load_u64(data + 16),
        .offset = load_u64(data + 24),
        .record_count = load_u32(data + 32),
        .payload_crc = load_u32(data + 40),
        .chain = load_u32(data + 44),
        .incarnation = load_u64(data + 48),
    };
    uint32_t size = load_u32(data + 36);
    if (batch->offset != offset ||
        size > file.size - offset - BATCH_HEADER_BYTES) {
        return ERR_CORRUPT;
    }
    batch->payload = bytes_of(data + BATCH_HEADER_BYTES, size);
    batch->end = align_up(offset + BATCH_HEADER_BYTES + size, BLOCK_BYTES);
    return batch->payload_crc == wal_salted_crc(segment->salt,
                                                batch->payload.data,
                                                batch->payload.size)
               ? ERR_OK
               : ERR_CORRUPT;
}

void wal_record_add(struct buf *out, const struct record *record)
{
    must(record->body.size <= UINT32_MAX - 8 && out->size % 8 == 0);
    size_t padded = align_up(record->body.size, 8);
    uint8_t *at = buf_reserve(out, RECORD_HEADER_BYTES + padded);
    memset(at, 0, RECORD_HEADER_BYTES);
    store_u32(at, (uint32_t)record->body.size);
    at[4] = (uint8_t)record->kind;
    at[5] = record->entry_type;
    store_u64(at + 8, record->index);
    store_u64(at + 16, record->term);
    store_u32(at + 24, crc32c(0, record->body.data, record->body.size));
    if (record->body.size > 0) {
        memcpy(at + RECORD_HEADER_BYTES, record->body.data, record->body.size);
    }
    memset(at + RECORD_HEADER_BYTES + record->body.size, 0,
           padded - record->body.size);
    out->size += RECORD_HEADER_BYTES + padded;
}

enum err wal_record_next(struct cursor *payload, struct record *record)
{
    if (cursor_left(payload) == 0) {
        return ERR_NOT_FOUND;
    }
    struct bytes head = cursor_bytes(payload, RECORD_HEADER_BYTES);
    if (head.size == 0) {
        return ERR_CORRUPT;
    }
    uint32_t size = load_u32(head.data);
    uint8_t kind = head.data[4];
    *record = (struct record){
        .entry_type = head.data[5],
        .index = load_u64(head.data + 8),
        .term = load_u64(head.data + 16),
        .body = cursor_bytes(payload, size),
    };
    (void)cursor_bytes(payload, align_up(size, 8) - size);
    if (payload->failed || kind < RECORD_ENTRY || kind > RECORD_BASE ||
        load_u32(head.data + 24) !=
            crc32c(0, record->body.data, record->body.size)) {
        return ERR_CORRUPT;
    }
    record->kind = (enum record_kind)kind;
    return ERR_OK;
}
