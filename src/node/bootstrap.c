/* bootstrap.c -- a new cluster of one on existing data: the directory of a node
 * whose cluster has lost its majority, or a backup. Offline.
 *
 * A new log starts behind the database, with an entry that makes this node the
 * only member, under a number and a cluster id that were never used, so that no
 * node of the old cluster is taken for one of the new. The file RECOVER exists
 * from before the first change until after the last: such a directory is not
 * started (its database may hold entries that its cluster has never committed),
 * and the same command continues where the other one was interrupted. IDENT is
 * written last: with it the new cluster exists. */
#include <stdio.h>

#include "base/log.h"
#include "node/files.h"
#include "node/node_internal.h"
#include "node/open_internal.h"
#include "node/phases_internal.h"

static const char marker[] = "RECOVER";

struct bootstrap {
    const struct node_env *env;
    struct node_options options; /* Sizes that were 0 fit to the disk. */
    struct fit fit;
    bool without_log;      /* Recover with the database alone. */
    const struct fs *from; /* Restore: file `path` of it. NULL: recover. */
    const char *path;
    struct ident ident; /* IDENT of the new cluster. */
    struct store *store;
};

/* ---- the stage that an interrupted command has reached ---- */

enum stage { NOT_STARTED, REPLAYING, FOUNDING };

/* A marker that cannot be read counts as REPLAYING. */
static enum stage stage_of(const struct fs *fs)
{
    uint8_t *data = NULL;
    size_t size = 0;
    enum err err = fs_read_all(fs, marker, 64, &data, &size);
    enum stage stage = err == ERR_NOT_FOUND         ? NOT_STARTED
                       : size > 0 && data[0] == 'f' ? FOUNDING
                                                    : REPLAYING;
    mem_free(data);
    return stage;
}

bool node_is_half_recovered(const struct fs *fs)
{
    return stage_of(fs) != NOT_STARTED;
}

static enum err mark(const struct fs *fs, enum stage stage)
{
    const char *text = stage == FOUNDING ? "founding: run it again\n"
                                         : "replaying: run it again\n";
    return fs_replace(fs, ".", marker, text, strlen(text));
}

static enum err unmark(const struct fs *fs)
{
    return file_remove(fs, marker);
}

/* ---- the new cluster ---- */

static enum err bootstrap(struct bootstrap *job, const char *name)
{
    const struct node_env *env = job->env;
    env->entropy(env->self, job->ident.cluster, sizeof(job->ident.cluster));
    env->entropy(env->self, job->ident.uuid, sizeof(job->ident.uuid));
    job->ident.id = store_applied(job->store) + 1;
    job->ident.restored = job->from != NULL;
    snprintf(job->ident.name, sizeof(job->ident.name), "%s", name);
    must(store_durable(job->store) == store_applied(job->store));
    enum err err = node_found_log(env, &job->options, &job->ident,
                                  store_applied(job->store),
                                  store_applied_term(job->store));
    if (!err) {
        err = ident_write(env->fs, &job->ident);
    }
    return err ? err : unmark(env->fs);
}

/* ---- the log and database of the old cluster ---- */

/* Check that log and database have the same entry at the applied index.
 * *is_void: the log is of no use, since a snapshot was put in place just before
 * the node stopped. */
static enum err compare_with_log(struct bootstrap *job, struct wal *wal,
                                 bool *is_void)
{
    uint64_t applied = store_applied(job->store);
    uint64_t term;
    struct buf payload = {0};
    struct wal_entry entry;
    *is_void = false;
    if (applied + 1 < wal_first(wal)) {
        log_error("recover", "why=\"the log begins after what the database "
                             "holds\"");
        return ERR_CORRUPT;
    }
    enum err err = wal_read(wal, applied, &payload, &entry);
    buf_free(&payload);
    if (err == ERR_NOT_FOUND) {
        return ERR_OK; /* Behind its last entry, or just before its first. */
    }
    if (!err && entry.term != store_applied_term(job->store)) {
        *is_void = store_installed(job->store, &term) == applied;
        err = *is_void ? ERR_OK : ERR_CORRUPT;
    }
    return err;
}

/* Apply all of the log: it has every acknowledged write that reached this node,
 * and perhaps a few that were not acknowledged. */
static enum err replay(struct bootstrap *job, const struct ident *old)
{
    struct wal_options options = node_log_options(job->env, &job->options, old);
    struct wal *wal = NULL;
    struct buf payload = {0};
    bool is_void = false;
    enum err err = wal_open(&options, NULL, NULL, &wal);
    if (!err) {
        err = compare_with_log(job, wal, &is_void);
    }
    while (!err && !is_void && store_applied(job->store) < wal_last(wal)) {
        struct wal_entry entry;
        struct store_result result;
        err = wal_read(wal, store_applied(job->store) + 1, &payload, &entry);
        if (!err) {
            err = node_apply(job->store, entry.index,
                             &(struct entry){.term = entry.term,
                                             .type = entry.type,
                                             .payload = entry.payload},
                             &result);
        }
    }
    buf_free(&payload);
    wal_close(wal);
    return err;
}

static enum err remove_log(const struct fs *fs)
{
    enum err err = wal_remove(fs);
    return err ? err : fs->sync_dir(fs->self, ".");
}

/* ---- the two commands ---- */

static enum err open_store(struct bootstrap *job)
{
    struct store_options options = {.fs = job->env->fs,
                                    .vfs = job->env->sqlite_vfs,
                                    .reserve_bytes = job->options.reserve_bytes,
                                    .wal_bytes_kept = job->fit.wal_kept};
    return store_open(&options, &job->store);
}

static enum err bring_up_to_date(struct bootstrap *job, const struct ident *old)
{
    const struct fs *fs = job->env->fs;
    uint64_t before = store_applied(job->store);
    enum err err = mark(fs, REPLAYING);
    if (!err && !job->without_log) {
        err = replay(job, old);
        if (err && store_applied(job->store) == before) {
            /* Nothing was applied: the directory is as it was before. */
            return unmark(fs) ? ERR_IO : err;
        }
    }
    if (!err) {
        err = store_checkpoint(job->store);
    }
    if (!err && store_durable(job->store) != store_applied(job->store)) {
        err = ERR_NOSPACE;
    }
    return err ? err : mark(fs, FOUNDING);
}

static enum err recover(struct bootstrap *job)
{
    const struct fs *fs = job->env->fs;
    struct ident old;
    enum stage stage = stage_of(fs);
    enum err err = ident_read(fs, &old);
    if (err == ERR_NOT_FOUND) {
        log_error("recover", "why=\"the directory of no member: there is "
                             "nothing to recover\"");
    }
    if (!err && job->options.name && strcmp(job->options.name, old.name) != 0) {
        log_error("recover", "why=\"this directory belongs to node %s\"",
                  old.name);
        err = ERR_MISMATCH;
    }
    if (!err) {
        err = open_store(job);
    }
    if (!err && stage != FOUNDING) {
        err = bring_up_to_date(job, &old);
    }
    /* From here on the database alone has the data. */
    if (!err) {
        err = remove_log(fs);
    }
    return err ? err : bootstrap(job, old.name);
}

/* A file that cannot be examined counts as one. */
static bool has_database(const struct fs *fs)
{
    bool there;
    return file_exists(fs, "db/CURRENT", &there) != ERR_OK || there;
}

static enum err copy_backup(const struct bootstrap *job,
                            struct store_incoming *incoming)
{
    enum { SLICE_BYTES = 1 << 20 };
    const struct fs *from = job->from;
    int handle;
    enum err err = from->open(from->self, job->path, FS_READ, &handle);
    if (err) {
        return err;
    }
    uint8_t *slice = mem_alloc(SLICE_BYTES);
    for (uint64_t at = 0;;) {
        size_t got = 0;
        err = from->read(from->self, handle, at, slice, SLICE_BYTES, &got);
        if (err || got == 0) {
            break;
        }
        err = store_incoming_add(incoming, bytes_of(slice, got));
        if (err) {
            break;
        }
        at += got;
    }
    mem_free(slice);
    from->close(from->self, handle);
    return err;
}

/* Put the backup in place of the empty database. */
static enum err install_backup(struct bootstrap *job)
{
    struct store_incoming *incoming;
    enum err err = store_incoming_new(job->store, &incoming);
    if (err) {
        return err;
    }
    err = copy_backup(job, incoming);
    if (err) {
        store_incoming_free(incoming);
        return err;
    }
    struct store *empty = job->store;
    job->store = NULL;
    err = store_incoming_finish(incoming, 0, 0, node_check_conf, &job->store);
    store_close(empty);
    if (!err) {
        store_tidy(job->store);
    }
    return err;
}

static enum err restore(struct bootstrap *job)
{
    const struct fs *fs = job->env->fs;
    const char *name =
        job->options.name ? job->options.name : job->options.raft_addr;
    struct ident old;
    enum stage stage = stage_of(fs);
    enum err err = ident_read(fs, &old);
    if (!err && stage == FOUNDING) {
        job->ident = old; /* Complete but for the removal of the marker. */
        err = open_store(job);
        return err ? err : unmark(fs);
    }
    if (err != ERR_NOT_FOUND) {
        log_error("restore", "why=\"the directory belongs to a node already: "
                             "restore into an empty directory\"");
        return err ? err : ERR_EXISTS;
    }
    if (stage == NOT_STARTED && has_database(fs)) {
        log_error("restore", "why=\"the directory has a database already: "
                             "restore into an empty directory\"");
        return ERR_EXISTS;
    }
    err = mark(fs, FOUNDING);
    if (!err) {
        err = open_store(job);
    }
    if (!err) {
        err = remove_log(fs);
    }
    if (!err) {
        err = install_backup(job);
    }
    return err ? err : bootstrap(job, name);
}

/* ---- entry points ---- */

static enum err lock(const struct fs *fs, int *handle)
{
    enum err err = fs->lock(fs->self, "LOCK", handle);
    if (err == ERR_LOCKED) {
        log_error("recover", "why=\"the directory is in use by a running "
                             "node: stop it first\"");
    }
    return err;
}

static enum err run_locked(struct bootstrap *job,
                           enum err (*work)(struct bootstrap *job),
                           struct node_new_cluster *out)
{
    const struct fs *fs = job->env->fs;
    int handle;
    enum err err = lock(fs, &handle);
    if (err) {
        return err;
    }
    err = node_fit(fs, &job->options, &job->fit);
    if (!err) {
        err = work(job);
    }
    if (!err) {
        out->index = store_applied(job->store);
        out->keys = store_key_count(job->store);
        memcpy(out->cluster, job->ident.cluster, sizeof(out->cluster));
        memcpy(out->name, job->ident.name, sizeof(out->name));
    }
    store_close(job->store);
    fs->close(fs->self, handle);
    return err;
}

enum err node_recover(const struct node_options *options,
                      const struct node_env *env, bool without_log,
                      struct node_new_cluster *out)
{
    struct bootstrap job = {
        .env = env, .options = *options, .without_log = without_log};
    return run_locked(&job, recover, out);
}

enum err node_restore(const struct node_options *options,
                      const struct node_env *env, const struct fs *from,
                      const char *path, struct node_new_cluster *out)
{
    struct bootstrap job = {
        .env = env, .options = *options, .from = from, .path = path};
    return run_locked(&job, restore, out);
}

/* ---- a look at a backup ---- */

/* Read all rows in one order. *count and *bytes are those of the keys. */
static enum err read_rows(struct store_upload *file, bool by_key,
                          uint64_t *count, uint64_t *bytes)
{
    struct bytes key;
    struct bytes value;
    *count = 0;
    *bytes = 0;
    enum err err = store_upload_begin(file, by_key);
    while (!err) {
        err = store_upload_next(file, &key, &value);
        if (!err) {
            ++*count;
            *bytes += key.size + value.size;
        }
    }
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err node_check_backup(const struct fs *from, const char *path,
                           struct node_backup *backup, const char **why)
{
    struct store_upload *file;
    uint64_t count = 0;
    *backup = (struct node_backup){0};
    enum err err = store_upload_open_file(from, path, &file, why);
    if (err) {
        return err;
    }
    *why = "it is damaged: its pages cannot be read";
    err = store_upload_summary(file, &backup->index, &backup->keys);
    if (!err) {
        err = read_rows(file, false, &count, &backup->bytes);
    }
    if (!err) {
        err = read_rows(file, true, &count, &backup->bytes);
    }
    if (!err && count != backup->keys) {
        *why = "it is damaged: keys are missing";
        err = ERR_CORRUPT;
    }
    store_upload_free(file);
    return err;
}
