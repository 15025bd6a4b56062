/* growth.c -- whether there is room for more data: on the disk, and within
 * options.db_bytes_max.
 *
 * What a leader accepts it must be able to finish, so the space of everything
 * that is under way is counted before a command is proposed. An entry takes
 * space three times: in the log; in SQLite's -wal, where a change of one row
 * writes whole pages; and, once a checkpoint has copied it, in the database.
 * The reserves (space.c) are not counted. They are for a disk that others fill,
 * and for deletes.
 *
 * The log is cut and the -wal starts over after a checkpoint. So a command that
 * has no room beside others waits for them and for a checkpoint, and is refused
 * only if it would have none alone.
 *
 * Limit: pages that deletes free stay in the database's file, and the log
 * cannot use them. On a disk of 8 MB that its own data has filled, a value of
 * 300 KB may be refused after deletes, when smaller ones are accepted. */
#include "command/command.h"
#include "node/node_internal.h"
#include "node/space_internal.h"

enum {
    PAGE_BYTES = 4096 + 24,
    /* Pages that a change of one row writes: a leaf of the table, one of its
     * index, and a part of a new one. */
    PAGES_PER_CHANGE = 3,
    /* Overhead of a row in the database, with the unused rest of its pages. */
    ROW_BYTES = 64,
    OVERSHOOT_DIVISOR = 32, /* Of db_bytes_max, by which the data may be over
                               it. */
};

static uint64_t excess(uint64_t need, uint64_t have)
{
    return need > have ? need - have : 0;
}

uint64_t growth_spread(const struct node *node, struct bytes command)
{
    uint64_t pages = command_changes(command) * PAGES_PER_CHANGE;
    /* No more than all pages of the database, and new ones for all bytes. */
    uint64_t all = node->space.used_bytes + (uint64_t)16 * PAGE_BYTES;
    return command.size + command.size / 8 + min_u64(pages * PAGE_BYTES, all);
}

/* ---- the disk ---- */

/* Work that takes space. In bytes. */
struct work {
    uint64_t logged;  /* To be written to the log. */
    uint64_t stored;  /* To be added to the database. */
    uint64_t spread;  /* To be written to the -wal. */
    uint64_t copying; /* In the -wal, to be copied into the database. */
};

/* Space that the log needs besides the current segment and the prepared part of
 * the next one: a batch that has no room in the current one goes into the next
 * as a whole. The one after that is made in the space of old ones. */
static uint64_t log_need(const struct node *node, uint64_t bytes)
{
    uint64_t here = wal_segment_room(node->wal);
    uint64_t reserve =
        wal_reserve_shortage(node->wal) ? 0 : node->options.segment_bytes;
    uint64_t next = excess(wal_room(node->wal) - here, reserve);
    return bytes <= here ? 0 : excess(bytes, next);
}

/* Returns whether the disk has room for the work, when `rest` bytes of the
 * -wal's file are unused, and `old` bytes of the log will be dropped. Pages
 * that deletes have freed are counted by half. What fits into files as they are
 * needs nothing; else some space must be left for small changes. */
static bool has_room(const struct node *node, const struct work *work,
                     uint64_t rest, uint64_t old)
{
    uint64_t need =
        log_need(node, work->logged) + excess(work->spread, rest) +
        excess(work->stored + work->copying, node->space.unused_bytes / 2);
    return need == 0 || need + node->fit.growth <= node->space.free_bytes + old;
}

/* Unused bytes of the -wal's file. */
static uint64_t wal_rest(const struct node *node)
{
    return excess(store_room(node->store), node->options.reserve_bytes);
}

/* Bytes of the log that can be dropped after a checkpoint, if no follower needs
 * them: all but the current segment. */
static uint64_t old_log(const struct node *node)
{
    struct wal_stats stats;
    wal_get_stats(node->wal, &stats);
    return wal_can_compact(node->wal, store_applied(node->store))
               ? excess(stats.log_bytes, node->options.segment_bytes)
               : 0;
}

/* Returns whether there would be room if nothing else was under way, after a
 * checkpoint, which lets the -wal start over. */
static bool fits_alone(const struct node *node, uint64_t bytes, uint64_t spread)
{
    struct work work = {.logged = bytes, .stored = bytes, .spread = spread};
    return has_room(node, &work,
                    wal_rest(node) + store_checkpoint_bytes(node->store),
                    old_log(node));
}

enum space_answer growth_on_disk(const struct node *node, uint64_t bytes,
                                 uint64_t spread)
{
    uint64_t pending = node->requests.pending_bytes;
    uint64_t copying = store_checkpoint_bytes(node->store);
    struct work work = {
        .logged = pending + bytes,
        .stored = pending + node->flush.bytes + bytes,
        .spread = node->requests.pending_spread + node->flush.spread + spread,
        .copying = copying,
    };
    if (!node->space.scarce || has_room(node, &work, wal_rest(node), 0)) {
        return SPACE_YES;
    }
    bool alone = work.stored == bytes && copying == 0 && old_log(node) == 0;
    return !alone && fits_alone(node, bytes, spread) ? SPACE_LATER : SPACE_NO;
}

void growth_refuse(struct node *node, uint64_t bytes, uint64_t spread)
{
    node->space.refused_bytes = bytes;
    node->space.refused_spread = spread;
    space_set(node, SPACE_DATA, ERR_NOSPACE);
}

void growth_check(struct node *node)
{
    if (!node->space.shortage[SPACE_DATA] ||
        space_is_put_off(node, SPACE_DATA)) {
        return;
    }
    bool fits =
        !node->space.scarce ||
        fits_alone(node, node->space.refused_bytes, node->space.refused_spread);
    space_set(node, SPACE_DATA, fits ? ERR_OK : ERR_NOSPACE);
}

/* ---- the quota ---- */

enum space_answer growth_in_quota(const struct node *node, struct bytes command)
{
    uint64_t max = node->options.db_bytes_max;
    uint64_t used = node->space.used_bytes;
    uint64_t size = command.size;
    uint64_t under_way =
        node->requests.pending_bytes + node->space.unchecked_bytes;
    if (max == 0 || used + 4 * (size + under_way) <= max) {
        return SPACE_YES;
    }
    if (node->space.shortage[SPACE_QUOTA]) {
        return SPACE_NO;
    }
    uint64_t most = max + max / OVERSHOOT_DIVISOR;
    size += command_changes(command) * ROW_BYTES;
    return used + size > most               ? SPACE_NO
           : used + under_way + size > most ? SPACE_LATER
                                            : SPACE_YES;
}

bool growth_is_near_quota(const struct node *node)
{
    return node->options.db_bytes_max > 0 &&
           node->space.used_bytes + 4 * node->space.unchecked_bytes >
               node->options.db_bytes_max;
}
