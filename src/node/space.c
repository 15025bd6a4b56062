/* space.c -- what a node prepares for a full disk, and what it accepts on one.
 *
 * Three files are kept preallocated: the next segment of the log, a reserve of
 * the log (wal.h), and one of the database (store.h). When one of them cannot
 * be made, or had to be used, the node refuses commands that make the data
 * larger, and finishes accepted ones in that space. When space gets scarce,
 * long before that, the -wal and the log are kept short, so that on a full disk
 * little is left to be copied into the database.
 *
 * Deletes are still accepted. Each needs a few blocks of the log, and space in
 * SQLite's -wal for the pages that it changes until a checkpoint lets the -wal
 * start over. They are admitted while both have room; the others wait for the
 * next checkpoint. The pages that they free within the database have room for
 * new data, although no file gets smaller: once there is twice the space that
 * pending commands may take, data may grow again, even if the disk has no space
 * for the log's reserve. Old segments of the log are dropped as early as
 * possible, and the next one is made in their space.
 *
 * A leader refuses data before it needs these files: growth.c. */
#include "base/log.h"
#include "command/command.h"
#include "node/node_internal.h"
#include "node/space_internal.h"

enum {
    CHECK_MS = 1000,
    RETRY_MS = 500,
    SCARCE_BYTES = 64 << 20, /* Free space below which it is scarce. */
    /* Pages that one deletion changes: leaves of the table and of its index,
     * their neighbours when these become too empty, the list of free pages. */
    PAGES_PER_KEY = 10,
    PAGES_PER_COMMAND = 16,
    PAGE_BYTES = 4096 + 24,
    BLOCK_BYTES = 4096, /* Least that a command takes in the log. */
};
_Static_assert((PAGES_PER_COMMAND + PAGES_PER_KEY) * PAGE_BYTES <
                   STORE_WAL_BYTES_LEAST,
               "A delete fits into the smallest -wal.");

/* ---- shortages ---- */

static bool is_of_database(enum space_place place)
{
    return place == SPACE_ENTRY || place == SPACE_FLUSH ||
           place == SPACE_CHECKPOINT || place == SPACE_STORE_RESERVE;
}

static void log_quota(const struct node *node, bool over)
{
    struct store_stats stats;
    store_get_stats(node->store, &stats);
    if (over) {
        log_error("no-space",
                  "what=quota used=%llu max=%llu why=\"only deletes "
                  "are accepted\"",
                  (unsigned long long)stats.used_bytes,
                  (unsigned long long)node->options.db_bytes_max);
    } else {
        log_info("space-again", "what=quota used=%llu",
                 (unsigned long long)stats.used_bytes);
    }
}

static void log_shortage(const struct node *node, enum space_place place,
                         enum err err)
{
    switch (place) {
    case SPACE_LOG_BATCH:
        log_error("no-space",
                  "what=log why=\"%s: writes are refused until that is over\"",
                  err_name(err));
        break;
    case SPACE_LOG_SEGMENT:
        log_error("no-space",
                  "what=log why=\"the next segment cannot be made, "
                  "%s: writes are refused\"",
                  err_name(err));
        break;
    case SPACE_LOG_RESERVE:
        log_error("no-space",
                  "what=reserve why=\"%s: deletes are accepted, and "
                  "what fits into space that they have freed\"",
                  err_name(err));
        break;
    case SPACE_ENTRY:
    case SPACE_FLUSH:
        log_error("no-space", "what=database index=%llu why=\"%s\"",
                  (unsigned long long)store_flushed(node->store) + 1,
                  err_name(err));
        break;
    case SPACE_CHECKPOINT:
        log_error("no-space", "what=database why=\"it cannot grow: writes "
                              "are refused\"");
        break;
    case SPACE_STORE_RESERVE:
        log_error("no-space", "what=database why=\"no room but its reserve: "
                              "writes are refused\"");
        break;
    case SPACE_DATA:
        log_error("no-space",
                  "what=disk free=%llu wanted=%llu why=\"there is no room for "
                  "more data: deletes are accepted\"",
                  (unsigned long long)node->space.free_bytes,
                  (unsigned long long)node->space.refused_bytes);
        break;
    case SPACE_QUOTA:
        log_quota(node, true);
        break;
    case SPACE_PLACES:
        break;
    }
}

static void log_recovery(const struct node *node, enum space_place place)
{
    switch (place) {
    case SPACE_LOG_BATCH:
    case SPACE_LOG_SEGMENT:
        log_info("space-again", "what=log");
        break;
    case SPACE_LOG_RESERVE:
        log_info("space-again", "what=reserve");
        break;
    case SPACE_ENTRY:
    case SPACE_FLUSH:
    case SPACE_CHECKPOINT:
    case SPACE_STORE_RESERVE:
        log_info("space-again", "what=database");
        break;
    case SPACE_DATA:
        log_info("space-again", "what=disk free=%llu",
                 (unsigned long long)node->space.free_bytes);
        break;
    case SPACE_QUOTA:
        log_quota(node, false);
        break;
    case SPACE_PLACES:
        break;
    }
}

/* Set the time of the next attempt. A batch, the next segment and a flush all
 * need free space of the disk: a shortage of one puts off all three. */
static void put_off(struct node *node, enum space_place place)
{
    uint64_t *retry_ms = node->space.retry_ms;
    must(node->space.shortage[place] != ERR_OK);
    uint64_t at_ms = node->now_ms + RETRY_MS;
    retry_ms[place] = at_ms;
    if (place == SPACE_LOG_BATCH || place == SPACE_LOG_SEGMENT ||
        place == SPACE_FLUSH) {
        retry_ms[SPACE_LOG_BATCH] = at_ms;
        retry_ms[SPACE_LOG_SEGMENT] = at_ms;
        retry_ms[SPACE_FLUSH] = at_ms;
    }
}

void space_set(struct node *node, enum space_place place, enum err err)
{
    struct space *space = &node->space;
    must(place < SPACE_PLACES);
    enum err was = space->shortage[place];
    must(err == ERR_OK || err_is_shortage(err));
    space->shortage[place] = err;
    if (err) {
        put_off(node, place);
    }
    /* The database logs one shortage until it has recovered from all. The log's
     * reserve is used for it repeatedly meanwhile, and not logged either. */
    bool logged = space->database_short &&
                  (is_of_database(place) || place == SPACE_LOG_RESERVE);
    bool begins = err && (place == SPACE_LOG_BATCH ? err != was : !was);
    if (begins && !logged) {
        log_shortage(node, place, err);
    } else if (was && !err && !logged) {
        log_recovery(node, place);
    }
    if (err && (place == SPACE_ENTRY || place == SPACE_FLUSH ||
                place == SPACE_CHECKPOINT)) {
        space->database_short = true;
    }
}

bool space_is_put_off(const struct node *node, enum space_place place)
{
    return node->space.shortage[place] &&
           node->now_ms < node->space.retry_ms[place];
}

void space_check_database(struct node *node)
{
    struct space *space = &node->space;
    if (space->database_short && !space->shortage[SPACE_ENTRY] &&
        !space->shortage[SPACE_FLUSH] && !space->shortage[SPACE_CHECKPOINT] &&
        !store_shortage(node->store)) {
        log_recovery(node, SPACE_ENTRY);
        space->database_short = false;
    }
}

bool space_is_tight(const struct node *node)
{
    return node->space.database_short || store_shortage(node->store) ||
           wal_reserve_shortage(node->wal);
}

void node_check_quota(struct node *node)
{
    struct store_stats stats;
    store_get_stats(node->store, &stats);
    node->space.unused_bytes = stats.unused_bytes;
    node->space.used_bytes = stats.used_bytes;
    node->space.unchecked_bytes = node->flush.bytes;
    bool over = node->options.db_bytes_max > 0 &&
                stats.used_bytes >= node->options.db_bytes_max;
    space_set(node, SPACE_QUOTA, over ? ERR_NOSPACE : ERR_OK);
}

static enum err worse_of(enum err a, enum err b)
{
    /* A full disk needs an operator: it is the more important of two. */
    return a == ERR_NOSPACE || !b ? a : b;
}

/* The shortage for which accepted commands cannot be finished now; ERR_OK:
 * they can. */
static enum err blocking_shortage(const struct node *node)
{
    enum err err = worse_of(node->space.shortage[SPACE_LOG_BATCH],
                            node->space.shortage[SPACE_ENTRY]);
    return worse_of(err, node->space.shortage[SPACE_FLUSH]);
}

/* ---- preparation ---- */

/* Prepare the next segment of the log, a slice at a time. Without space for it
 * writes are refused, before one of them can run out of space. */
bool space_prepare_log(struct node *node)
{
    /* Released space is for the database's open transaction, not the log. */
    must(!disk_is_busy(node));
    bool committing =
        store_shortage(node->store) && store_pending(node->store) > 0;
    if (committing || space_is_put_off(node, SPACE_LOG_SEGMENT) ||
        !wal_prepare_is_due(node->wal)) {
        return false;
    }
    bool more = wal_prepare(node->wal);
    space_set(node, SPACE_LOG_SEGMENT, wal_shortage(node->wal));
    return more && wal_prepare_is_due(node->wal);
}

/* Prepare the reserve of the database, in which commits are made on a full
 * disk. */
static bool prepare_store(struct node *node)
{
    struct space *space = &node->space;
    if (space_is_put_off(node, SPACE_STORE_RESERVE)) {
        return false;
    }
    /* A reserve that was just released is for the open transaction. */
    bool released =
        !space->shortage[SPACE_STORE_RESERVE] && store_shortage(node->store);
    bool more = !released && store_prepare(node->store);
    space_set(node, SPACE_STORE_RESERVE, store_shortage(node->store));
    if (more) {
        space->retry_ms[SPACE_STORE_RESERVE] = node->now_ms;
    }
    space_check_database(node);
    return more;
}

/* Prepare the log's own reserve: last, so that it does not take space that the
 * other two are short of. */
static bool prepare_reserve(struct node *node)
{
    struct space *space = &node->space;
    if (space->shortage[SPACE_LOG_SEGMENT] ||
        space->shortage[SPACE_STORE_RESERVE] ||
        space_is_put_off(node, SPACE_LOG_RESERVE)) {
        return false;
    }
    bool more = wal_prepare_reserve(node->wal);
    space_set(node, SPACE_LOG_RESERVE, wal_reserve_shortage(node->wal));
    if (more) {
        space->retry_ms[SPACE_LOG_RESERVE] = node->now_ms;
    }
    return more;
}

/* Release the log's reserve once deletes have freed enough pages of the
 * database: new data in these pages needs the next segment and the database's
 * reserve, which take its space. */
static void release_log_reserve(struct node *node)
{
    struct space *space = &node->space;
    bool short_of_others = space->shortage[SPACE_LOG_SEGMENT] == ERR_NOSPACE ||
                           space->shortage[SPACE_STORE_RESERVE] == ERR_NOSPACE;
    if (short_of_others && !blocking_shortage(node) &&
        !space->shortage[SPACE_CHECKPOINT] &&
        space->unused_bytes / 2 >= 2 * node->fit.growth &&
        wal_release_reserve(node->wal)) {
        space->retry_ms[SPACE_LOG_SEGMENT] = node->now_ms;
        space->retry_ms[SPACE_STORE_RESERVE] = node->now_ms;
    }
}

bool space_prepare(struct node *node)
{
    must(!disk_is_busy(node));
    release_log_reserve(node);
    return prepare_store(node) || prepare_reserve(node);
}

uint64_t space_deadline_ms(const struct node *node)
{
    const struct space *space = &node->space;
    uint64_t at = UINT64_MAX;
    for (int place = 0; place < SPACE_PLACES; place++) {
        /* No timer is needed when a batch in flight is an attempt by itself,
         * when the log's reserve waits for the others, and for the quota, which
         * is checked after each commit. */
        bool waits =
            (place == SPACE_LOG_BATCH && node->persist.inflight_seq > 0) ||
            (place == SPACE_LOG_RESERVE &&
             (space->shortage[SPACE_LOG_SEGMENT] ||
              space->shortage[SPACE_STORE_RESERVE])) ||
            place == SPACE_QUOTA;
        if (space->shortage[place] && !waits) {
            at = min_u64(at, space->retry_ms[place]);
        }
    }
    return at;
}

/* ---- admission ---- */

/* The shortage for which `size` more bytes of data are refused; ERR_OK: they
 * are accepted. Without the log's reserve they have to fit into pages that
 * deletes have freed, and into the -wal: into a half of its room, or with what
 * is known to be written there, `spread` (0: unknown), into all of it. */
static enum err growth_shortage(const struct node *node, uint64_t size,
                                uint64_t spread)
{
    enum err err = worse_of(blocking_shortage(node),
                            node->space.shortage[SPACE_LOG_SEGMENT]);
    err = worse_of(err, node->space.shortage[SPACE_CHECKPOINT]);
    err = worse_of(err, store_shortage(node->store));
    enum err reserve = wal_reserve_shortage(node->wal);
    if (!reserve || err == ERR_NOSPACE) {
        return worse_of(err, reserve);
    }
    uint64_t under_way = node->requests.pending_bytes + node->flush.bytes +
                         size + node->fit.growth;
    uint64_t written = node->requests.pending_spread + node->flush.spread +
                       spread + node->fit.growth;
    uint64_t room = store_room(node->store);
    bool fits = under_way <= node->space.unused_bytes / 2 &&
                (under_way <= room / 2 || (spread > 0 && written <= room));
    return worse_of(err, fits ? ERR_OK : reserve);
}

enum err node_shortage(const struct node *node)
{
    return worse_of(growth_shortage(node, 0, 0),
                    node->space.shortage[SPACE_DATA]);
}

bool space_is_full(const struct node *node)
{
    return node_shortage(node) == ERR_NOSPACE;
}

/* True when every accepted command has been written to the -wal. */
static bool nothing_is_pending(const struct node *node)
{
    return node->requests.pending_count == 0 &&
           store_pending(node->store) == 0 &&
           store_applied(node->store) >= node->apply.to;
}

/* Says whether a full disk has room for a deletion of `keys` keys by a command
 * of `size` bytes: now, after a checkpoint, or not. */
static enum space_answer admit_deletion(struct node *node, uint64_t keys,
                                        uint64_t size)
{
    bool quiet = nothing_is_pending(node);
    bool checkpointed = store_checkpoint_bytes(node->store) == 0;
    if (blocking_shortage(node) || keys > UINT32_MAX) {
        return SPACE_NO;
    }
    if (quiet) {
        node->space.deletes_room = store_room(node->store);
    }
    uint64_t need = (PAGES_PER_COMMAND + keys * PAGES_PER_KEY) * PAGE_BYTES;
    uint64_t log_need =
        node->requests.pending_bytes + size +
        (uint64_t)2 * BLOCK_BYTES * (node->requests.pending_count + 1);
    bool fits = need <= node->space.deletes_room;
    if (wal_room(node->wal) < log_need || (!fits && quiet && checkpointed)) {
        return SPACE_NO;
    }
    if (!fits) {
        checkpoint_want(node);
        return SPACE_LATER;
    }
    must(node->space.deletes_room >= need);
    node->space.deletes_room -= need;
    return SPACE_YES;
}

enum space_answer space_admit(struct node *node, struct bytes command,
                              uint64_t *spread)
{
    enum space_answer quota = growth_in_quota(node, command);
    enum space_answer disk = SPACE_YES;
    uint64_t keys;
    *spread = 0;
    if (node->space.scarce) {
        *spread = growth_spread(node, command);
        disk = growth_on_disk(node, command.size, *spread);
    }
    enum err shortage = growth_shortage(node, command.size, *spread);
    if (!shortage && quota == SPACE_YES && disk == SPACE_YES) {
        return SPACE_YES;
    }
    if (shortage == ERR_RESOURCES) {
        return SPACE_BUSY;
    }
    if (command_only_deletes(command, &keys)) {
        return shortage || disk != SPACE_YES
                   ? admit_deletion(node, keys, command.size)
                   : SPACE_YES;
    }
    if (!shortage && disk == SPACE_NO) {
        growth_refuse(node, command.size, *spread);
    }
    if (shortage || disk == SPACE_NO || quota == SPACE_NO) {
        return SPACE_NO;
    }
    if (disk == SPACE_LATER) {
        node->checkpoint.wanted = true;
        node->space.awaited = true;
    }
    return SPACE_LATER;
}

/* ---- the turn ---- */

void space_check(struct node *node)
{
    const struct fs *fs = node->env.fs;
    struct fs_space space;
    if (fs->space &&
        (node->space.scarce || node->now_ms >= node->space.check_ms)) {
        node->space.check_ms = node->now_ms + CHECK_MS;
        bool known = fs->space(fs->self, &space);
        node->space.free_bytes = known ? space.free_bytes : UINT64_MAX;
        node->space.scarce = node->space.free_bytes < SCARCE_BYTES;
    }
    growth_check(node);
    bool full = space_is_full(node);
    if (full && node->now_ms >= node->space.retry_ms[SPACE_CHECKPOINT] &&
        (store_pending(node->store) > 0 ||
         store_checkpoint_bytes(node->store) > 0)) {
        /* A checkpoint lets old segments of the log go, and the -wal start
         * over. */
        checkpoint_want(node);
    }
}
