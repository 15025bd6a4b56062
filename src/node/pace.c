/* pace.c -- how much of the event loop's time flushes and checkpoints take.
 *
 * While clients write, a slice of this work delays each answer that becomes
 * due meanwhile. So slices are short, about as long as the log's fdatasync that
 * runs beside them, and pauses in proportion to their length follow. The fuller
 * the active tier is, the longer the slices and the shorter the pauses: entries
 * wait once it is full. Without load there are no pauses. */
#include "node/node_internal.h"
#include "node/phases_internal.h"

enum {
    SLICE_US = 250,
    SLICE_FULL_US = 4000, /* Added for a full active tier, from a half full one
                             on. */
    LOAD_MS = 3,          /* Without load nothing was applied for this long. */
    /* Share of the time, in 1/1000, with an empty and with a full active
     * tier. */
    SHARE_MIN = 300,
    SHARE_MAX = 1000,
};

/* In 1/1000. */
static uint64_t fullness(const struct node *node)
{
    uint64_t full =
        store_buffered(node->store) * 1000 / flush_buffer_bytes(node);
    return min_u64(full, 1000);
}

uint64_t pace_slice_us(const struct node *node)
{
    uint64_t full = fullness(node);
    return SLICE_US + (full > 500 ? (full - 500) * SLICE_FULL_US / 500 : 0);
}

bool pace_is_due(const struct node *node)
{
    return node->pace.resume_us == 0 || node->flush.wanted ||
           node->now_ms >= node->apply.last_ms + LOAD_MS ||
           node->env.now_us(node->env.self) >= node->pace.resume_us;
}

void pace_worked(struct node *node, uint64_t start_us, uint64_t end_us)
{
    uint64_t share =
        SHARE_MIN + (SHARE_MAX - SHARE_MIN) * fullness(node) / 1000;
    node->pace.resume_us =
        end_us + (end_us - start_us) * (SHARE_MAX - share) / share;
}
