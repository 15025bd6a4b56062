/* space.c -- what is done ahead of a full disk, and what goes on during one.
 *
 * Three places are kept on the disk: the next segment of the log, a reserve of
 * the log (wal.h), and one of the database (store.h). When one of them cannot
 * be made, or had to be used, nothing is accepted that makes the data larger;
 * what was accepted before is finished in them. When space gets scarce, long
 * before that, the -wal and the log are kept short: a full disk then has little
 * that is still to be brought into the database.
 *
 * Deletes go on. They need a few blocks of the log, and of SQLite's -wal what
 * they change there until a checkpoint lets it begin anew: they are admitted as
 * far as both have room, the others wait for the next checkpoint. What they
 * free within the database has room for new data, although no file of it gets
 * any smaller: so once there is twice as much of that as what is under way,
 * data may grow again even if the disk has no space to make the log's reserve
 * anew. Old segments of the log are dropped as soon as they can be, and the
 * next one is made in their space. */
#include "base/log.h"
#include "command/command.h"
#include "node/node_internal.h"

enum {
    CHECK_MS = 1000,
    /* Of one deletion: leaves of the table and of its index, their neighbours
     * when these become too empty, the list of free pages. */
    PAGES_PER_KEY = 10,
    PAGES_PER_COMMAND = 16,
    PAGE_BYTES = 4096 + 24,
    BLOCK_BYTES = 4096, /* Least that a command takes in the log. */
    GROWTH_BYTES =
        256 << 10, /* What small changes may need beside their own. */
};

void node_check_quota(struct node *node)
{
    struct store_stats stats;
    store_get_stats(node->store, &stats);
    node->unused_bytes = stats.unused_bytes;
    bool over = node->options.db_bytes_max > 0 &&
                stats.used_bytes >= node->options.db_bytes_max;
    if (over && !node->over_quota) {
        log_error("no-space",
                  "what=quota used=%llu max=%llu why=\"only deletes "
                  "are accepted\"",
                  (unsigned long long)stats.used_bytes,
                  (unsigned long long)node->options.db_bytes_max);
    } else if (!over && node->over_quota) {
        log_info("space-again", "what=quota used=%llu",
                 (unsigned long long)stats.used_bytes);
    }
    node->over_quota = over;
}

void space_log_database(struct node *node)
{
    if (node->db_full_told && !node->db_full && !node->checkpoint_short &&
        store_applied(node->store) >= node->apply.shown &&
        !store_shortage(node->store)) {
        log_info("space-again", "what=database");
        node->db_full_told = false;
    }
}

/* ---- how much there is ----------------------------------------------------
 */

static enum err worse(enum err a, enum err b)
{
    /* A full disk does not end by itself: of two it is the one to know. */
    return a == ERR_NOSPACE || !b ? a : b;
}

/* Nothing that was accepted can be finished now. */
static enum err standstill(const struct node *node)
{
    enum err err = worse(node->log_full, node->db_full);
    bool behind = store_applied(node->store) < node->apply.shown;
    return worse(err, behind ? ERR_NOSPACE : ERR_OK);
}

/* ---- what is kept ---------------------------------------------------------
 */

/* Prepare the next segment of the log, a slice at a time. Without space for
 * it writes are refused, before one of them can fail half-way. */
bool space_prepare_log(struct node *node)
{
    /* Space that the database was given for what is open is not for the log. */
    bool committing =
        store_shortage(node->store) && store_pending(node->store) > 0;
    if (committing ||
        (node->log_tight && node->now_ms < node->space_retry_ms)) {
        return false;
    }
    bool more = wal_prepare(node->wal);
    enum err tight = wal_shortage(node->wal);
    if (tight) {
        node->space_retry_ms = node->now_ms + NODE_SPACE_RETRY_MS;
    }
    if (tight && !node->log_tight) {
        log_error("no-space",
                  "what=log why=\"the next segment cannot be made, "
                  "%s: writes are refused\"",
                  err_name(tight));
    } else if (node->log_tight && !tight) {
        log_info("space-again", "what=log");
    }
    node->log_tight = tight;
    return more;
}

/* The same for the database: its reserve, which is what commits are left with
 * on a full disk. */
static bool prepare_store(struct node *node)
{
    if (node->store_tight && node->now_ms < node->store_retry_ms) {
        return false;
    }
    /* Just given up: its space is for what is still to be committed. */
    bool given_up = !node->store_tight && store_shortage(node->store);
    bool more = !given_up && store_prepare(node->store);
    enum err tight = store_shortage(node->store);
    if (tight && !more) {
        node->store_retry_ms = node->now_ms + NODE_SPACE_RETRY_MS;
    }
    if (tight && !node->store_tight && !node->db_full_told) {
        log_error("no-space", "what=database why=\"no room but its reserve: "
                              "writes are refused\"");
    } else if (node->store_tight && !tight && !node->db_full_told) {
        log_info("space-again", "what=database");
    }
    node->store_tight = tight;
    space_log_database(node);
    return more;
}

/* And the log's own reserve: last, since what is short for the others is not
 * to be taken by it. */
static bool prepare_reserve(struct node *node)
{
    if (node->log_tight || node->store_tight ||
        (node->reserve_tight && node->now_ms < node->reserve_retry_ms)) {
        return false;
    }
    bool more = wal_prepare_reserve(node->wal);
    enum err tight = wal_reserve_shortage(node->wal);
    if (tight && !more) {
        node->reserve_retry_ms = node->now_ms + NODE_SPACE_RETRY_MS;
    }
    if (tight && !node->reserve_tight) {
        log_error("no-space",
                  "what=reserve why=\"%s: deletes are accepted, and "
                  "what fits into space that they have freed\"",
                  err_name(tight));
    } else if (node->reserve_tight && !tight) {
        log_info("space-again", "what=reserve");
    }
    node->reserve_tight = tight;
    return more;
}

/* Deletes have freed pages of the database: new data that goes there needs the
 * next segment and the database's reserve, and the log's reserve is the space
 * that there is for them. */
static void trade_reserve(struct node *node)
{
    bool short_of_others =
        node->log_tight == ERR_NOSPACE || node->store_tight == ERR_NOSPACE;
    if (short_of_others && !standstill(node) && !node->checkpoint_short &&
        node->unused_bytes / 2 >= (uint64_t)2 * GROWTH_BYTES &&
        wal_release_reserve(node->wal)) {
        node->space_retry_ms = node->now_ms;
        node->store_retry_ms = node->now_ms;
    }
}

bool space_prepare(struct node *node)
{
    trade_reserve(node);
    return prepare_store(node) || prepare_reserve(node);
}

uint64_t space_deadline_ms(const struct node *node)
{
    uint64_t at = UINT64_MAX;
    bool log_full = node->log_full && node->persist.inflight_seq == 0;
    if (log_full || node->log_tight || node->db_full) {
        at = min_u64(at, node->space_retry_ms);
    }
    if (node->store_tight) {
        at = min_u64(at, node->store_retry_ms);
    }
    if (node->reserve_tight && !node->log_tight && !node->store_tight) {
        at = min_u64(at, node->reserve_retry_ms);
    }
    if (node->checkpoint_short) {
        at = min_u64(at, node->checkpoint_retry_ms);
    }
    return at;
}

/* ---- what is accepted -----------------------------------------------------
 */

/* Why `size` more bytes of data are not accepted. */
static enum err growth_shortage(const struct node *node, uint64_t size)
{
    enum err err = worse(standstill(node), node->log_tight);
    err = worse(err, node->checkpoint_short ? ERR_NOSPACE : ERR_OK);
    err = worse(err, store_shortage(node->store));
    enum err reserve = wal_reserve_shortage(node->wal);
    if (!reserve || err == ERR_NOSPACE) {
        return worse(err, reserve);
    }
    uint64_t under_way =
        node->requests.pending_bytes + node->flush.bytes + size + GROWTH_BYTES;
    bool fits = under_way <= node->unused_bytes / 2 &&
                under_way <= store_room(node->store) / 2;
    return worse(err, fits ? ERR_OK : reserve);
}

enum err node_shortage(const struct node *node)
{
    return growth_shortage(node, 0);
}

bool space_is_full(const struct node *node)
{
    return node_shortage(node) == ERR_NOSPACE;
}

/* Nothing that was accepted has still to be written to the -wal. */
static bool is_quiet(const struct node *node)
{
    return node->requests.pending_count == 0 &&
           store_pending(node->store) == 0 &&
           store_applied(node->store) >= node->apply.to;
}

/* On a full disk: is there room for it, now, later, or never? */
static enum space_answer admit_deletion(struct node *node, uint64_t keys,
                                        uint64_t size)
{
    bool quiet = is_quiet(node);
    bool checkpointed = store_checkpoint_bytes(node->store) == 0;
    if (standstill(node) || keys > UINT32_MAX) {
        return SPACE_NO;
    }
    if (quiet) {
        node->deletes_room = store_room(node->store);
    }
    uint64_t need = (PAGES_PER_COMMAND + keys * PAGES_PER_KEY) * PAGE_BYTES;
    uint64_t log_need =
        node->requests.pending_bytes + size +
        (uint64_t)2 * BLOCK_BYTES * (node->requests.pending_count + 1);
    bool fits = need <= node->deletes_room;
    if (wal_room(node->wal) < log_need || (!fits && quiet && checkpointed)) {
        return SPACE_NO;
    }
    if (!fits) {
        node->checkpoint.wanted = true;
        return SPACE_LATER;
    }
    node->deletes_room -= need;
    return SPACE_YES;
}

enum space_answer space_admit(struct node *node, struct bytes command)
{
    enum err shortage = growth_shortage(node, command.size);
    uint64_t keys;
    if (!shortage && !node->over_quota) {
        return SPACE_YES;
    }
    if (shortage == ERR_RESOURCES) {
        return SPACE_BUSY;
    }
    if (!command_only_deletes(command, &keys)) {
        return SPACE_NO;
    }
    return shortage ? admit_deletion(node, keys, command.size) : SPACE_YES;
}

/* ---- the turn -------------------------------------------------------------
 */

void space_check(struct node *node)
{
    const struct fs *fs = node->env.fs;
    uint64_t bytes = 0;
    if (fs->free_bytes && node->now_ms >= node->space_check_ms) {
        node->space_check_ms = node->now_ms + CHECK_MS;
        node->scarce =
            fs->free_bytes(fs->self, &bytes) && bytes < NODE_SCARCE_BYTES;
    }
    bool full = space_is_full(node);
    if (full && node->now_ms >= node->checkpoint_retry_ms &&
        (store_pending(node->store) > 0 ||
         store_checkpoint_bytes(node->store) > 0)) {
        /* Then old segments of the log can go, and the -wal begins anew. */
        node->checkpoint.wanted = true;
    }
}
