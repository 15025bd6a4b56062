/* row_cache.c -- a ring of rows, and a hash table of places in it.
 *
 * A row is written behind the newest one. Once the ring is full this overwrites
 * the oldest ones, whose places in the table are then too old to be valid; so
 * eviction touches nothing. The table has buckets of WAYS slots. */
#include "store/row_cache.h"

#include "base/rng.h"

enum {
    WAYS = 8,
    ALIGN = 8,
    ROW_BYTES = 64, /* A row with a short key: decides how many slots. */
    HASH_BITS = 16, /* Kept in a slot: few rows are compared in vain. */
    HASH_MASK = (1 << HASH_BITS) - 1,
};

struct ring_row {
    struct cached_row row;
    uint32_t key_bytes;
    uint8_t key[];
};

/* The offset of a row counts on for ever; its place is the offset modulo the
 * ring's size. A slot is the offset divided by ALIGN plus one, shifted left by
 * HASH_BITS, and bits of the key's hash. 0: empty. */
struct row_cache {
    uint8_t *ring;
    size_t ring_bytes;
    uint64_t end; /* Offset behind the newest row. */
    uint64_t *slots;
    size_t buckets; /* A power of two. */
};

struct row_cache *row_cache_new(size_t bytes)
{
    struct row_cache *cache = mem_zalloc(sizeof(*cache));
    size_t wanted = bytes > ROW_CACHE_BYTES_MIN ? bytes : ROW_CACHE_BYTES_MIN;
    cache->buckets = 1;
    while (cache->buckets * WAYS * (ROW_BYTES + sizeof(uint64_t)) < wanted) {
        cache->buckets *= 2;
    }
    size_t slots_bytes = cache->buckets * WAYS * sizeof(uint64_t);
    cache->ring_bytes = (wanted - slots_bytes) / ALIGN * ALIGN;
    cache->ring = mem_alloc(cache->ring_bytes);
    cache->slots = mem_zalloc(slots_bytes);
    return cache;
}

void row_cache_free(struct row_cache *cache)
{
    if (cache) {
        mem_free(cache->ring);
        mem_free(cache->slots);
        mem_free(cache);
    }
}

void row_cache_clear(struct row_cache *cache)
{
    memset(cache->slots, 0, cache->buckets * WAYS * sizeof(cache->slots[0]));
}

static uint64_t hash_of(struct bytes key)
{
    uint64_t hash = key.size;
    size_t at = 0;
    for (; key.size - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, key.data + at, sizeof(word));
        hash = mix_u64(hash ^ word);
    }
    for (; at < key.size; at++) {
        hash = (hash ^ key.data[at]) * 0x100000001b3u; /* FNV-1a */
    }
    return mix_u64(hash);
}

static uint64_t offset_of(uint64_t slot)
{
    return ((slot >> HASH_BITS) - 1) * ALIGN;
}

static bool is_valid(const struct row_cache *cache, uint64_t slot)
{
    return slot != 0 && cache->end - offset_of(slot) <= cache->ring_bytes;
}

static struct ring_row *row_at(const struct row_cache *cache, uint64_t offset)
{
    return (struct ring_row *)(void *)(cache->ring +
                                       offset % cache->ring_bytes);
}

static uint64_t *bucket_of(const struct row_cache *cache, uint64_t hash)
{
    return cache->slots + (hash >> HASH_BITS & (cache->buckets - 1)) * WAYS;
}

/* The slot of `key` in its bucket; NULL: there is none. */
static uint64_t *find(const struct row_cache *cache, struct bytes key,
                      uint64_t hash)
{
    uint64_t *bucket = bucket_of(cache, hash);
    for (int way = 0; way < WAYS; way++) {
        uint64_t slot = bucket[way];
        if ((slot & HASH_MASK) != (hash & HASH_MASK) ||
            !is_valid(cache, slot)) {
            continue;
        }
        const struct ring_row *row = row_at(cache, offset_of(slot));
        if (row->key_bytes == key.size &&
            memcmp(row->key, key.data, key.size) == 0) {
            return &bucket[way];
        }
    }
    return NULL;
}

bool row_cache_find(const struct row_cache *cache, struct bytes key,
                    struct cached_row *row)
{
    const uint64_t *slot = find(cache, key, hash_of(key));
    if (slot) {
        *row = row_at(cache, offset_of(*slot))->row;
    }
    return slot != NULL;
}

/* Offset of a free place for a row, which lies in one piece. */
static uint64_t take_place(struct row_cache *cache, size_t bytes)
{
    size_t left = cache->ring_bytes - (size_t)(cache->end % cache->ring_bytes);
    must(bytes <= cache->ring_bytes / 2);
    if (left < bytes) {
        cache->end += left; /* The row would not fit before the end. */
    }
    uint64_t offset = cache->end;
    cache->end += bytes;
    return offset;
}

void row_cache_put(struct row_cache *cache, struct bytes key,
                   const struct cached_row *row)
{
    if (key.size == 0 || key.size > ROW_CACHE_KEY_BYTES_MAX) {
        return;
    }
    uint64_t hash = hash_of(key);
    uint64_t *slot = find(cache, key, hash);
    if (slot) {
        row_at(cache, offset_of(*slot))->row = *row;
        return;
    }
    size_t bytes =
        (offsetof(struct ring_row, key) + key.size + ALIGN - 1) / ALIGN * ALIGN;
    uint64_t offset = take_place(cache, bytes);
    struct ring_row *place = row_at(cache, offset);
    place->row = *row;
    place->key_bytes = (uint32_t)key.size;
    memcpy(place->key, key.data, key.size);
    /* The oldest one of the bucket makes room; an empty slot is older. */
    slot = bucket_of(cache, hash);
    for (int way = 1; way < WAYS; way++) {
        uint64_t *other = bucket_of(cache, hash) + way;
        if (*other >> HASH_BITS < *slot >> HASH_BITS) {
            slot = other;
        }
    }
    *slot = (offset / ALIGN + 1) << HASH_BITS | (hash & HASH_MASK);
}

void row_cache_remove(struct row_cache *cache, struct bytes key)
{
    uint64_t *slot = key.size > 0 ? find(cache, key, hash_of(key)) : NULL;
    if (slot) {
        *slot = 0;
    }
}
