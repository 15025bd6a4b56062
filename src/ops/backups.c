/* backups.c -- a node writes its database to a directory at intervals, and
 * keeps the newest files.
 *
 * A backup is written as a draft, a slice per turn of the event loop, and gets
 * its name when all of it is durable. */
#include "ops/ops.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "host.h"
#include "sys/fs.h"

enum {
    SLICE_BYTES = 256 << 10,
    SYNC_BYTES = 4 << 20, /* Between two syncs, so that none takes long. */
    CHECKPOINT_MS = 60000,
    NOT_MEMBER_MS = 1000, /* Pause of a node that is no member yet. */
    NAME_BYTES = OPS_EXEC_NAME_BYTES,
    TROUBLE_BYTES = 96,
    EXEC_MS = 600000, /* Upper bound on the time of the command, or less if
                         backups follow each other faster. */
    EXEC_LOOK_MS = 50,
};

struct ops_backups {
    struct ops_backups_options options;
    struct fs *fs; /* The directory. */
    struct timer timer;
    struct node_request checkpoint;
    char prefix[NAME_BYTES];       /* By set_prefixes(). */
    char draft_prefix[NAME_BYTES]; /* Likewise. */
    /* The backup that is being written. */
    struct store_image *image; /* NULL: none is. */
    char draft[NAME_BYTES];    /* Its name until it is whole. */
    int file;
    uint64_t index; /* Applied index of the image. */
    uint64_t bytes; /* Size of the image, ... */
    uint64_t at;    /* ... and how much of it is written. */
    uint64_t began_ms;
    /* The newest complete one of this process. */
    uint64_t saved_index;
    uint64_t saved_bytes;
    uint64_t saved_s; /* Unix time; 0: none yet. */
    uint64_t failures;
    char trouble[TROUBLE_BYTES];
    /* The command of --backup-exec. */
    bool exec_runs;
    struct timer exec_timer; /* Armed while it runs. */
    uint64_t exec_ms;        /* Start time of the last run. */
    uint64_t exec_s;
    uint64_t exec_failures;
    char exec_trouble[TROUBLE_BYTES];
    uint8_t slice[SLICE_BYTES];
};

static uint64_t now_ms(const struct ops_backups *backups)
{
    return reactor_now_ms(backups->options.reactor);
}

static void on_time(void *arg);

static void run_in(struct ops_backups *backups, uint64_t in_ms)
{
    timer_arm(backups->options.reactor, &backups->timer,
              now_ms(backups) + in_ms, on_time, backups);
}

/* Names of this cluster's backups begin with "craftd-6f1c09aa-", those of this
 * node's drafts with "craftd-backup-91d0c2f35b7a4e18-": several nodes may write
 * to one directory, each drafts of its own. Only of a member. */
static void set_prefixes(struct ops_backups *backups)
{
    struct node_status status;
    struct buf hex = {0};
    node_get_status(backups->options.node, &status);
    must(status.member);
    text_add_hex(&hex, status.cluster, 4);
    snprintf(backups->prefix, NAME_BYTES, "craftd-%.*s-", (int)hex.size,
             (const char *)hex.data);
    hex.size = 0;
    text_add_hex(&hex, status.uuid, 8);
    snprintf(backups->draft_prefix, NAME_BYTES, "craftd-backup-%.*s-",
             (int)hex.size, (const char *)hex.data);
    buf_free(&hex);
}

static void remove_leftover(const char *name, void *arg)
{
    const struct ops_backups *backups = arg;
    size_t prefix = strlen(backups->draft_prefix);
    if (strncmp(name, backups->draft_prefix, prefix) == 0 &&
        strspn(name + prefix, "0123456789abcdef") == 16 &&
        strcmp(name + prefix + 16, ".tmp") == 0) {
        enum err gone = backups->fs->unlink(backups->fs->self, name);
        (void)gone; /* The next backup looks for it again. */
    }
}

/* Remove drafts that an earlier process of this node has left. */
static enum err remove_leftovers(struct ops_backups *backups)
{
    const struct fs *fs = backups->fs;
    return fs->list(fs->self, ".", remove_leftover, backups);
}

/* The backups of this cluster in the directory. */
struct found {
    const char *prefix;
    char oldest[NAME_BYTES];
    uint64_t count;
};

static void count_backup(const char *name, void *arg)
{
    struct found *found = arg;
    size_t prefix = strlen(found->prefix);
    size_t size = strlen(name);
    if (strncmp(name, found->prefix, prefix) != 0 ||
        strspn(name + prefix, "0123456789") != 20 || size != prefix + 23 ||
        strcmp(name + size - 3, ".db") != 0) {
        return;
    }
    if (found->count == 0 || strcmp(name, found->oldest) < 0) {
        snprintf(found->oldest, sizeof(found->oldest), "%s", name);
    }
    found->count++;
}

/* Remove the oldest backup if there are more than are kept. False: there are
 * not, or it cannot be removed. */
static bool prune_one(struct ops_backups *backups)
{
    const struct fs *fs = backups->fs;
    struct found found = {.prefix = backups->prefix};
    return fs->list(fs->self, ".", count_backup, &found) == ERR_OK &&
           found.count > backups->options.keep &&
           fs->unlink(fs->self, found.oldest) == ERR_OK;
}

/* Make the draft durable, and check that it has its whole length. */
static enum err finish_draft(struct ops_backups *backups)
{
    const struct fs *fs = backups->fs;
    uint64_t size = 0;
    enum err err = fs->fdatasync(fs->self, backups->file);
    if (!err) {
        err = fs->size(fs->self, backups->file, &size);
    }
    return !err && size != backups->bytes ? ERR_CORRUPT : err;
}

/* ---- the command ---- */

static uint64_t exec_timeout_ms(const struct ops_backups *backups)
{
    return min_u64(EXEC_MS, backups->options.every_ms);
}

static void end_exec(struct ops_backups *backups,
                     const struct ops_exec_result *result)
{
    char *why = backups->exec_trouble;
    if (result->timed_out) {
        snprintf(why, TROUBLE_BYTES, "it was killed after %llu s",
                 (unsigned long long)exec_timeout_ms(backups) / 1000);
    } else if (result->signal_number > 0) {
        snprintf(why, TROUBLE_BYTES, "signal %d ended it",
                 result->signal_number);
    } else if (result->exit_code < 0) {
        snprintf(why, TROUBLE_BYTES, "it could not be started");
    } else if (result->exit_code > 0) {
        snprintf(why, TROUBLE_BYTES, "its exit code was %d", result->exit_code);
    } else {
        why[0] = '\0';
        backups->exec_s = (uint64_t)time(NULL);
        log_info("backup-exec", "index=%llu ms=%llu",
                 (unsigned long long)backups->saved_index,
                 (unsigned long long)(now_ms(backups) - backups->exec_ms));
        return;
    }
    backups->exec_failures++;
    log_error("backup-exec", "index=%llu why=\"%s\"",
              (unsigned long long)backups->saved_index, why);
}

static void on_exec_time(void *arg)
{
    struct ops_backups *backups = arg;
    struct ops_exec_result result;
    if (ops_exec_ended(backups->options.exec, &result)) {
        backups->exec_runs = false;
        end_exec(backups, &result);
        return;
    }
    timer_arm(backups->options.reactor, &backups->exec_timer,
              now_ms(backups) + EXEC_LOOK_MS, on_exec_time, backups);
}

/* The command of the last backup may still run: its time is over at about the
 * time when this one is written. Then this backup gets none. */
static void start_exec(struct ops_backups *backups, const char *name)
{
    static const struct ops_exec_result not_started = {.exit_code = -1};
    if (!backups->options.exec) {
        return;
    }
    backups->exec_ms = now_ms(backups);
    if (backups->exec_runs ||
        !ops_exec_run(backups->options.exec, name, backups->index,
                      backups->bytes, exec_timeout_ms(backups))) {
        end_exec(backups, &not_started);
        return;
    }
    backups->exec_runs = true;
    timer_arm(backups->options.reactor, &backups->exec_timer,
              now_ms(backups) + EXEC_LOOK_MS, on_exec_time, backups);
}

/* ---- backups ---- */

static void fail_backup(struct ops_backups *backups, const char *why)
{
    backups->failures++;
    snprintf(backups->trouble, TROUBLE_BYTES, "%s", why);
}

static void complete_backup(struct ops_backups *backups, enum err err)
{
    const struct fs *fs = backups->fs;
    char name[NAME_BYTES];
    node_image_close(backups->image);
    backups->image = NULL;
    if (!err) {
        err = finish_draft(backups);
    }
    fs->close(fs->self, backups->file);
    snprintf(name, sizeof(name), "%.32s%020llu.db", backups->prefix,
             (unsigned long long)backups->index);
    if (!err) {
        err = fs->rename(fs->self, backups->draft, name);
    }
    if (!err) {
        err = fs->sync_dir(fs->self, ".");
    }
    if (err) {
        log_error("backup", "why=\"cannot be written: %s\"", err_name(err));
        fail_backup(backups, err_name(err));
        enum err gone = fs->unlink(fs->self, backups->draft);
        (void)gone; /* The next one starts by removing leftovers. */
    } else {
        backups->saved_index = backups->index;
        backups->saved_bytes = backups->bytes;
        backups->saved_s = (uint64_t)time(NULL);
        backups->trouble[0] = '\0';
        log_info("backup", "file=%s bytes=%llu ms=%llu", name,
                 (unsigned long long)backups->bytes,
                 (unsigned long long)(now_ms(backups) - backups->began_ms));
        while (prune_one(backups)) {
        }
        start_exec(backups, name);
    }
    run_in(backups, backups->options.every_ms);
}

static void write_slice(struct ops_backups *backups)
{
    const struct fs *fs = backups->fs;
    must(backups->image && backups->at < backups->bytes);
    size_t size = (size_t)min_u64(SLICE_BYTES, backups->bytes - backups->at);
    enum err err = node_image_read(backups->image, backups->slice, size);
    if (!err) {
        err = fs->write(fs->self, backups->file, backups->at, backups->slice,
                        size);
    }
    backups->at += size;
    if (!err && backups->at % SYNC_BYTES == 0) {
        err = fs->fdatasync(fs->self, backups->file);
    }
    if (err || backups->at == backups->bytes) {
        complete_backup(backups, err);
    } else {
        run_in(backups, 1);
    }
}

static enum err open_backup(struct ops_backups *backups)
{
    const struct fs *fs = backups->fs;
    must(!backups->image); /* One backup at a time. */
    set_prefixes(backups);
    enum err err = remove_leftovers(backups);
    if (err) {
        return err;
    }
    err = node_image_open(backups->options.node, &backups->image,
                          &backups->index, &backups->bytes);
    if (err) {
        backups->image = NULL;
        return err;
    }
    /* Every attempt has a name of its own, which no other opens, removes or
     * renames. */
    snprintf(backups->draft, NAME_BYTES, "%.40s%016llx.tmp",
             backups->draft_prefix,
             (unsigned long long)node_random(backups->options.node));
    err = fs->open(fs->self, backups->draft, FS_CREATE_NEW, &backups->file);
    if (err) {
        node_image_close(backups->image);
        backups->image = NULL;
    }
    return err;
}

static void on_checkpoint(struct node_request *request,
                          const struct node_result *result)
{
    struct ops_backups *backups =
        container_of(request, struct ops_backups, checkpoint);
    const char *why = node_outcome_name(result->outcome);
    enum err err = ERR_OK;
    if (result->outcome == NODE_OK && result->index == backups->saved_index) {
        backups->saved_s = (uint64_t)time(NULL);
        backups->trouble[0] = '\0';
        run_in(backups, backups->options.every_ms);
        return;
    }
    if (result->outcome == NODE_OK) {
        err = open_backup(backups);
        why = err_name(err);
    }
    if (result->outcome != NODE_OK || err) {
        log_error("backup", "why=\"%s\"", why);
        fail_backup(backups, why);
        run_in(backups, backups->options.every_ms);
        return;
    }
    backups->at = 0;
    run_in(backups, 0);
}

static void on_time(void *arg)
{
    struct ops_backups *backups = arg;
    if (backups->image) {
        write_slice(backups);
    } else if (!node_is_member(backups->options.node)) {
        run_in(backups, NOT_MEMBER_MS);
    } else {
        backups->began_ms = now_ms(backups);
        backups->checkpoint.cb = on_checkpoint;
        backups->checkpoint.deadline_ms = backups->began_ms + CHECKPOINT_MS;
        node_checkpoint(backups->options.node, &backups->checkpoint);
    }
}

struct ops_backups *ops_backups_start(const struct ops_backups_options *options)
{
    struct ops_backups *backups = mem_zalloc(sizeof(*backups));
    backups->options = *options;
    enum err err = host_make_dir(options->dir, NULL)
                       ? fs_posix_new(options->dir, &backups->fs)
                       : ERR_IO;
    if (err) {
        log_error("start", "--backup-dir=%s why=\"%s\"", options->dir,
                  err_name(err));
        ops_backups_free(backups);
        return NULL;
    }
    run_in(backups, options->every_ms);
    return backups;
}

void ops_backups_get_status(const struct ops_backups *backups,
                            struct ops_backups_status *status)
{
    *status = (struct ops_backups_status){
        .time_s = backups->saved_s,
        .index = backups->saved_index,
        .bytes = backups->saved_bytes,
        .failures = backups->failures,
        .trouble = backups->trouble,
        .has_exec = backups->options.exec != NULL,
        .exec_time_s = backups->exec_s,
        .exec_failures = backups->exec_failures,
        .exec_trouble = backups->exec_trouble,
    };
}

void ops_backups_free(struct ops_backups *backups)
{
    if (!backups) {
        return;
    }
    node_cancel(backups->options.node, &backups->checkpoint);
    node_request_free(&backups->checkpoint);
    timer_cancel(backups->options.reactor, &backups->timer);
    timer_cancel(backups->options.reactor, &backups->exec_timer);
    if (backups->image) {
        const struct fs *fs = backups->fs;
        node_image_close(backups->image);
        fs->close(fs->self, backups->file);
        enum err gone = fs->unlink(fs->self, backups->draft);
        (void)gone; /* The next start removes it. */
    }
    if (backups->fs) {
        fs_posix_free(backups->fs);
    }
    mem_free(backups);
}
