/* budget.c -- shares of a small memory. See budget.h. */
#include "budget.h"

enum {
    CACHE_MAX = 4 << 20, /* More makes the COMMIT of a flush longer. */
    REQUESTS_MIN = 2 << 20,
    REQUESTS_MAX = 128 << 20,
    ROWS_MIN = 256 << 10,
    ROWS_MAX = 8 << 20,
    BUFFER_MIN = 256 << 10,
    BUFFER_MAX = 4 << 20,
    ENTRIES_MIN = 256 << 10,
    ENTRIES_MAX = 2 << 20,
    PROPOSALS_MAX = 16 << 20,
    FEED_MIN = 256 << 10,
    FEED_MAX = 8 << 20,
};

static uint64_t share(uint64_t memory_bytes, uint64_t divisor, uint64_t least,
                      uint64_t most)
{
    must(least <= most);
    return min_u64(max_u64(memory_bytes / divisor, least), most);
}

struct budget budget_of(uint64_t memory_bytes, uint64_t cache_bytes,
                        uint64_t buffer_bytes, uint64_t body_bytes_max)
{
    uint64_t memory = memory_bytes;
    uint64_t cache = cache_bytes
                         ? cache_bytes
                         : share(memory, 8, 2 * BUDGET_CACHE_MIN, CACHE_MAX);
    return (struct budget){
        .cache = cache,
        /* A small --cache means that little memory is to be used. */
        .rows = min_u64(share(memory, 64, ROWS_MIN, ROWS_MAX), 2 * cache),
        .requests = share(memory, 8, REQUESTS_MIN, REQUESTS_MAX),
        .buffer = buffer_bytes ? buffer_bytes
                               : share(memory, 32, BUFFER_MIN, BUFFER_MAX),
        .entries = share(memory, 32, ENTRIES_MIN, ENTRIES_MAX),
        .proposals =
            max_u64(share(memory, 16, 0, PROPOSALS_MAX), body_bytes_max),
        .feed = share(memory, 32, FEED_MIN, FEED_MAX),
        .in_memory = memory / 4,
    };
}
