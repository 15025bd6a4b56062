/* entries.c -- the newest entries of the log in memory. */
#include "node/entries.h"

struct entries_chunk {
    uint32_t capacity;
    uint32_t used;
    uint32_t live; /* Entries whose payload lies here. */
    uint8_t data[];
};

static struct entries_slot *slot_at(const struct entries *entries,
                                    uint64_t index)
{
    return &entries->slots[index & (entries->capacity - 1)];
}

void entries_init(struct entries *entries, uint64_t first)
{
    must(first > 0);
    *entries = (struct entries){
        .first = first, .last = first - 1, .bytes_kept = ENTRIES_BYTES_KEPT};
}

static void chunk_release(struct entries *entries, struct entries_chunk *chunk)
{
    must(chunk->live > 0);
    chunk->live--;
    if (chunk->live > 0) {
        return;
    }
    if (chunk == entries->tail) {
        chunk->used = 0;
    } else if (!entries->spare && chunk->capacity == ENTRIES_CHUNK_BYTES) {
        entries->spare = chunk;
    } else {
        mem_free(chunk);
    }
}

static void release(struct entries *entries, uint64_t index)
{
    struct entries_slot *slot = slot_at(entries, index);
    must(index >= entries->first && index <= entries->last);
    must(entries->bytes >= slot->size);
    entries->bytes -= slot->size;
    chunk_release(entries, slot->chunk);
}

static void cut(struct entries *entries, uint64_t from)
{
    while (entries->last >= from && entries->last >= entries->first) {
        release(entries, entries->last);
        entries->last--;
    }
}

void entries_free(struct entries *entries)
{
    if (entries->slots) {
        cut(entries, entries->first);
    }
    mem_free(entries->tail);
    mem_free(entries->spare);
    mem_free(entries->slots);
    *entries = (struct entries){0};
}

/* Chunks other than the tail are reached through their entries only. */
static struct entries_chunk *chunk_for(struct entries *entries, size_t size)
{
    struct entries_chunk *tail = entries->tail;
    if (tail && tail->capacity - tail->used >= size) {
        return tail;
    }
    if (tail && tail->live == 0) {
        mem_free(tail);
    }
    if (entries->spare && size <= ENTRIES_CHUNK_BYTES) {
        tail = entries->spare;
        entries->spare = NULL;
        tail->used = 0;
    } else {
        size_t capacity =
            size > ENTRIES_CHUNK_BYTES ? size : ENTRIES_CHUNK_BYTES;
        must(capacity <= UINT32_MAX);
        tail = mem_alloc(sizeof(*tail) + capacity);
        *tail = (struct entries_chunk){.capacity = (uint32_t)capacity};
    }
    entries->tail = tail;
    return tail;
}

static void grow(struct entries *entries)
{
    uint64_t capacity = entries->capacity ? entries->capacity * 2 : 256;
    struct entries_slot *slots = mem_alloc(capacity * sizeof(slots[0]));
    for (uint64_t i = entries->first; i <= entries->last; i++) {
        slots[i & (capacity - 1)] = *slot_at(entries, i);
    }
    mem_free(entries->slots);
    entries->slots = slots;
    entries->capacity = capacity;
}

void entries_put(struct entries *entries, uint64_t index, uint64_t term,
                 enum raft_entry_type type, struct bytes payload)
{
    must(index <= entries->last + 1);
    must(payload.size <= UINT32_MAX);
    cut(entries, index);
    if (index < entries->first) {
        entries->first = index;
        entries->last = index - 1;
    }
    if (entries->last + 1 - entries->first >= entries->capacity) {
        grow(entries);
    }
    struct entries_chunk *chunk = chunk_for(entries, payload.size);
    struct entries_slot *slot = slot_at(entries, index);
    *slot = (struct entries_slot){
        .term = term,
        .chunk = chunk,
        .offset = chunk->used,
        .size = (uint32_t)payload.size,
        .type = (uint8_t)type,
    };
    if (payload.size > 0) {
        memcpy(chunk->data + chunk->used, payload.data, payload.size);
    }
    chunk->used += (uint32_t)payload.size;
    chunk->live++;
    must(chunk->used <= chunk->capacity);
    must(index - entries->first < entries->capacity);
    entries->last = index;
    entries->bytes += payload.size;
}

bool entries_get(const struct entries *entries, uint64_t index,
                 struct entry *entry)
{
    if (index < entries->first || index > entries->last) {
        return false;
    }
    const struct entries_slot *slot = slot_at(entries, index);
    *entry = (struct entry){
        .term = slot->term,
        .type = (enum raft_entry_type)slot->type,
        .payload = bytes_of(slot->chunk->data + slot->offset, slot->size),
    };
    return true;
}

void entries_trim(struct entries *entries, uint64_t durable)
{
    while (entries->first <= entries->last && entries->first <= durable &&
           (entries->bytes > entries->bytes_kept ||
            entries->last - entries->first >= ENTRIES_COUNT_KEPT)) {
        release(entries, entries->first);
        entries->first++;
    }
}
