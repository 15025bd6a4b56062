/* checkpoint.c -- copies the -wal into the database, in steps.
 *
 * A checkpoint syncs the -wal, copies its pages into the database, syncs that,
 * and is complete then. That would take too long for one turn of the event
 * loop, so it is split into steps, one per turn:
 *     1 The -wal is synced.
 *     2 SQLite's checkpoint runs; its sync of the -wal is skipped and its sync
 *       of the database refused. The pages are copied, but for SQLite the
 *       checkpoint has failed (SQLITE_INTERRUPT). If there are many, a write is
 *       refused before, and this step is repeated once the pages are synced:
 *       SQLite copies pages in their order, and those that were copied before
 *       are skipped.
 *     3 The database is synced.
 *     4 SQLite's checkpoint runs again. The pages and the sync are there
 *       already, so that its writes and its sync are skipped.
 * So SQLite itself decides that a checkpoint is complete, and never before the
 * database has been synced. A write to the -wal between the steps invalidates
 * them: the next step is the first one again. vfs_shim.c skips and refuses.
 *
 * The syncs take long. With a file system that has asynchronous operations
 * (fs.h) they run off the event loop, through handles of our own. Hence:
 *   - The first sync of a -wal is left to SQLite, which syncs the file's
 *     name as well. It happens when the database is opened.
 *   - Our handles are closed after SQLite's: closing any descriptor of a file
 *     releases the process's locks on it (POSIX record locks).
 *   - The first write to the -wal after a checkpoint restarts it, and SQLite
 *     syncs its header in a blocking call.
 * Without asynchronous operations step 3 is omitted, and the sync in step 4 is
 * done. */
#include "base/log.h"
#include "store/store_internal.h"

/* ---- asynchronous syncs ---- */

/* Starts to sync a file. False: there are no asynchronous operations. */
static bool submit_sync(struct store *store, const struct shim_file *shim)
{
    const struct fs *fs = store->options.fs;
    must(!store->syncing && shim->buffer.size == 0);
    if (!fs->submit) {
        return false;
    }
    must(shim->handle >= 0);
    store->syncing = shim;
    store->sync = (struct fs_op){.handle = shim->handle};
    fs->submit(fs->self, &store->sync);
    return true;
}

bool store_checkpoint_sync_completed(struct store *store, bool wait)
{
    const struct fs *fs = store->options.fs;
    const struct shim_file *shim = store->syncing;
    if (!shim) {
        return true;
    }
    if (wait) {
        fs->wait(fs->self, &store->sync);
    } else if (!fs->poll(fs->self, &store->sync)) {
        return false;
    }
    must(store->sync.completed);
    store->syncing = NULL;
    if (store->sync.err) {
        die("%s%s: the sync failed, so the data is in doubt", store->path,
            shim == &store->wal_file ? "-wal" : "");
    }
    return true;
}

/* ---- steps ---- */

/* Abandons the checkpoint after a shortage, since the -wal holds everything;
 * any other error die()s. SQLite's code suffices: write_base() in vfs_shim.c
 * has translated the errno. */
static void must_be_short(struct store *store, int code)
{
    enum err shortage = store_code_shortage(code, 0);
    if (!shortage) {
        die("%s: checkpoint failed: %s", store->path, sqlite3_errstr(code));
    }
    log_debug("store", "doing=\"checkpoint\" why=\"%s\"", err_name(shortage));
    store->step = STEP_NONE;
}

/* Runs SQLite's checkpoint of the whole -wal, which has no other reader. */
static int pass(struct store *store, enum pass pass)
{
    int frames = 0;
    int copied = 0;
    must(store->pass == PASS_NONE && !store->syncing && !store->range.open);
    sqlite3_reset(store->select);
    store->pass = pass;
    store->copy.reads = 0;
    int rc = sqlite3_wal_checkpoint_v2(
        store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
    store->pass = PASS_NONE;
    store_shim_discard(store);
    must(rc != SQLITE_OK || frames == copied);
    return rc;
}

static void finish(struct store *store)
{
    must(!store->syncing && !store->open);
    must(store->durable.applied <= store->flushed.applied);
    store->step = STEP_NONE;
    store->torn = false;
    store->wal_pages = 0;
    store->durable = store->flushed;
}

static int sync_wal(struct store *store, bool async)
{
    store->checkpoints++;
    store->step = STEP_WAL_SYNCED;
    store->copy.end = 0;
    store->copy.pages = 0;
    store->copy.complete = false;
    return async && submit_sync(store, &store->wal_file)
               ? SQLITE_OK
               : store_shim_sync_wal(store);
}

static int copy(struct store *store, bool async)
{
    /* From now on the database may have pages of two states. */
    store->torn = true;
    store->copy.left = store->options.checkpoint_pages;
    int rc = pass(store, PASS_COPY);
    if (rc == SQLITE_OK) {
        finish(store); /* There was nothing to copy. */
    } else if (rc == SQLITE_INTERRUPT && !store->copy.complete) {
        /* There is more. The disk gets it piece by piece: one sync of all of it
         * would hold up the log's fdatasync. */
        if (async) {
            (void)submit_sync(store, &store->db_file);
        }
        return SQLITE_OK;
    } else if (rc == SQLITE_INTERRUPT) {
        store->step = async && submit_sync(store, &store->db_file)
                          ? STEP_SYNCED
                          : STEP_COPIED;
        return SQLITE_OK;
    }
    return rc;
}

static int conclude(struct store *store, enum pass last)
{
    int rc = pass(store, last);
    if (rc == SQLITE_OK) {
        finish(store);
    }
    return rc;
}

/* Runs the next step. The sync of the step before has completed. */
static void step(struct store *store, bool async)
{
    int rc = SQLITE_OK;
    must(!store->syncing && !store->open);
    switch (store->step) {
    case STEP_NONE:
        rc = sync_wal(store, async);
        break;
    case STEP_WAL_SYNCED:
        rc = copy(store, async);
        break;
    case STEP_COPIED:
        rc = conclude(store, PASS_SYNC);
        break;
    case STEP_SYNCED:
        rc = conclude(store, PASS_END);
        break;
    }
    if (rc != SQLITE_OK) {
        must_be_short(store, rc);
    }
}

void store_checkpoint_run(struct store *store)
{
    if (store->in_memory) {
        return;
    }
    do {
        bool completed = store_checkpoint_sync_completed(store, true);
        must(completed);
        step(store, false);
    } while (store->step != STEP_NONE);
}

enum err store_checkpoint(struct store *store)
{
    enum err err = store_flush(store);
    if (!err) {
        store_checkpoint_run(store);
    }
    return err;
}

bool store_checkpoint_step(struct store *store)
{
    must(!store->open && !store->in_memory);
    if (!store->syncing) {
        step(store, true);
    } else {
        (void)store_checkpoint_sync_completed(store, false);
    }
    return store->step != STEP_NONE;
}

bool store_is_syncing(const struct store *store)
{
    return store->syncing;
}

bool store_has_completion(const struct store *store)
{
    return store->syncing && store->sync.completed;
}
