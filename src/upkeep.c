/* upkeep.c -- leave, reap, back up. */
#include "upkeep.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "base/text.h"
#include "host.h"
#include "sys/fs.h"

enum {
    SLICE_BYTES = 256 << 10,
    SYNC_BYTES = 4 << 20, /* So that the last sync is not a long one. */
    CHECKPOINT_MS = 60000,
    REMOVE_MS = 10000,
    CHECKS_PER_REAP = 10,
    NAME_BYTES = 64,
};

/* A member, as the leader that we are sees it. */
struct seen {
    raft_id id;
    uint64_t contact_ms;
    uint64_t at_ms; /* When that changed. */
};

enum leaving { LEAVING_NOT, LEAVING_ASKED, LEAVING_DONE };

struct upkeep {
    const struct config *config;
    struct reactor *reactor;
    struct node *node;

    struct node_request leave;
    enum leaving leaving;

    struct timer reap_timer;
    struct node_request reap;
    bool reaping;
    uint64_t checked_ms;
    struct seen seen[RAFT_MEMBERS_MAX];

    struct timer backup_timer;
    struct node_request checkpoint;
    struct fs *backups;
    struct store_image *image; /* NULL: none is being written. */
    char draft[NAME_BYTES];    /* Its name until it is whole. */
    int file;
    uint64_t index;
    uint64_t bytes;
    uint64_t at;
    uint64_t began_ms;
    uint64_t saved_index; /* Of the newest one of this process. */
    uint64_t saved_s;     /* Unix time; 0: none yet. */
    uint8_t slice[SLICE_BYTES];
};

static uint64_t now_ms(const struct upkeep *upkeep)
{
    return reactor_now_ms(upkeep->reactor);
}

/* ---- leave -------------------------------------------------------------- */

static void left(struct node_request *request, const struct node_result *result)
{
    struct upkeep *upkeep = container_of(request, struct upkeep, leave);
    upkeep->leaving = LEAVING_DONE;
    if (result->outcome == NODE_OK) {
        node_mark_left(upkeep->node);
        log_info("left", "index=%llu", (unsigned long long)result->index);
    } else if (result->outcome == NODE_UNKNOWN) {
        /* As a rule: who is no member any more is not answered. */
        log_info("left", "why=\"no answer came any more\"");
    } else {
        log_warn("leave", "why=\"%s\"", node_outcome_name(result->outcome));
    }
}

bool upkeep_leave(struct upkeep *upkeep, uint64_t by_ms)
{
    if (!upkeep->config->leave_on_exit || !node_is_member(upkeep->node) ||
        upkeep->leaving == LEAVING_DONE || now_ms(upkeep) >= by_ms) {
        return false;
    }
    if (upkeep->leaving == LEAVING_NOT) {
        struct node_status status;
        node_get_status(upkeep->node, &status);
        upkeep->leaving = LEAVING_ASKED;
        upkeep->leave.cb = left;
        upkeep->leave.deadline_ms = by_ms;
        node_remove(upkeep->node, &upkeep->leave, status.raft.self);
    }
    return true;
}

/* ---- reap --------------------------------------------------------------- */

static struct seen *seen_of(struct upkeep *upkeep, raft_id id)
{
    struct seen *free = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(upkeep->seen); i++) {
        if (upkeep->seen[i].id == id) {
            return &upkeep->seen[i];
        }
        if (upkeep->seen[i].id == 0) {
            free = &upkeep->seen[i];
        }
    }
    must(free); /* Those that are no members any more are dropped before. */
    *free = (struct seen){.id = id, .at_ms = now_ms(upkeep)};
    return free;
}

static void drop_strangers(struct upkeep *upkeep, const struct raft_conf *conf)
{
    for (size_t i = 0; i < ARRAY_COUNT(upkeep->seen); i++) {
        if (!raft_conf_find(conf, upkeep->seen[i].id)) {
            upkeep->seen[i].id = 0;
        }
    }
}

static void reaped(struct node_request *request,
                   const struct node_result *result)
{
    struct upkeep *upkeep = container_of(request, struct upkeep, reap);
    upkeep->reaping = false;
    if (result->outcome != NODE_OK) {
        log_warn("reap", "why=\"%s\"", node_outcome_name(result->outcome));
    }
}

static void reap(struct upkeep *upkeep, const struct raft_member *member,
                 uint64_t silent_ms)
{
    log_warn("reap", "id=%s silent_s=%llu", member->name,
             (unsigned long long)(silent_ms / 1000));
    upkeep->reaping = true;
    upkeep->reap.cb = reaped;
    upkeep->reap.deadline_ms = now_ms(upkeep) + REMOVE_MS;
    node_remove(upkeep->node, &upkeep->reap, member->id);
}

static void look_at(struct upkeep *upkeep, const struct node_status *status)
{
    drop_strangers(upkeep, status->conf);
    for (uint32_t i = 0; i < status->raft.peer_count; i++) {
        const struct raft_peer_status *peer = &status->raft.peers[i];
        const struct raft_member *member =
            raft_conf_find(status->conf, peer->id);
        if (!member || peer->id == status->raft.self) {
            continue;
        }
        struct seen *seen = seen_of(upkeep, peer->id);
        if (seen->contact_ms != peer->contact_ms) {
            seen->contact_ms = peer->contact_ms;
            seen->at_ms = now_ms(upkeep);
        }
        uint64_t silent_ms = now_ms(upkeep) - seen->at_ms;
        if (silent_ms >= upkeep->config->reap_ms && !upkeep->reaping) {
            reap(upkeep, member, silent_ms);
        }
    }
}

/* Who did not watch, because it slept or did not lead, has seen nothing. */
static void on_reap_time(void *arg)
{
    struct upkeep *upkeep = arg;
    uint64_t every_ms = upkeep->config->reap_ms / CHECKS_PER_REAP;
    struct node_status status;
    node_get_status(upkeep->node, &status);
    bool watches = status.member && node_is_leader(upkeep->node);
    if (!watches || now_ms(upkeep) > upkeep->checked_ms + 2 * every_ms) {
        memset(upkeep->seen, 0, sizeof(upkeep->seen));
    }
    upkeep->checked_ms = now_ms(upkeep);
    if (watches) {
        look_at(upkeep, &status);
    }
    timer_arm(upkeep->reactor, &upkeep->reap_timer, now_ms(upkeep) + every_ms,
              on_reap_time, upkeep);
}

/* ---- back up ------------------------------------------------------------ */

static void on_backup_time(void *arg);

static void back_up_in(struct upkeep *upkeep, uint64_t in_ms)
{
    timer_arm(upkeep->reactor, &upkeep->backup_timer, now_ms(upkeep) + in_ms,
              on_backup_time, upkeep);
}

/* "craftd-6f1c09aa-": the backups of this cluster. */
static void backup_prefix(struct upkeep *upkeep, char out[NAME_BYTES])
{
    struct node_status status;
    struct buf name = {0};
    node_get_status(upkeep->node, &status);
    text_add_hex(&name, status.cluster, 4);
    snprintf(out, NAME_BYTES, "craftd-%.*s-", (int)name.size,
             (const char *)name.data);
    buf_free(&name);
}

static void backup_name(struct upkeep *upkeep, char out[NAME_BYTES])
{
    char prefix[NAME_BYTES];
    backup_prefix(upkeep, prefix);
    snprintf(out, NAME_BYTES, "%.32s%020llu.db", prefix,
             (unsigned long long)upkeep->index);
}

/* "craftd-backup-91d0c2f35b7a4e18-": the drafts of this node's directory.
 * Several nodes may write to one place, each under names of its own. */
static void draft_prefix(struct upkeep *upkeep, char out[NAME_BYTES])
{
    struct node_status status;
    struct buf name = {0};
    node_get_status(upkeep->node, &status);
    text_add_hex(&name, status.uuid, 8);
    snprintf(out, NAME_BYTES, "craftd-backup-%.*s-", (int)name.size,
             (const char *)name.data);
    buf_free(&name);
}

/* Every attempt has its own: nobody else opens, removes or renames it. */
static void draft_name(struct upkeep *upkeep, char out[NAME_BYTES])
{
    char prefix[NAME_BYTES];
    draft_prefix(upkeep, prefix);
    snprintf(out, NAME_BYTES, "%.40s%016llx.tmp", prefix,
             (unsigned long long)node_random(upkeep->node));
}

struct leftovers {
    const struct fs *fs;
    char prefix[NAME_BYTES];
};

static void remove_leftover(const char *name, void *arg)
{
    const struct leftovers *leftovers = arg;
    size_t prefix = strlen(leftovers->prefix);
    if (strncmp(name, leftovers->prefix, prefix) == 0 &&
        strspn(name + prefix, "0123456789abcdef") == 16 &&
        strcmp(name + prefix + 16, ".tmp") == 0) {
        enum err gone = leftovers->fs->unlink(leftovers->fs->self, name);
        (void)gone; /* Looked for again before the next one. */
    }
}

/* Drafts of an earlier process of this node. */
static enum err remove_leftovers(struct upkeep *upkeep)
{
    const struct fs *fs = upkeep->backups;
    struct leftovers leftovers = {.fs = fs};
    draft_prefix(upkeep, leftovers.prefix);
    return fs->list(fs->self, ".", remove_leftover, &leftovers);
}

/* The oldest one, and how many there are. */
struct found {
    char prefix[NAME_BYTES];
    char oldest[NAME_BYTES];
    uint64_t count;
};

static void on_name(const char *name, void *arg)
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

/* One a time: there is one too many after a backup, as a rule. */
static bool prune_one(struct upkeep *upkeep)
{
    const struct fs *fs = upkeep->backups;
    struct found found = {.count = 0};
    backup_prefix(upkeep, found.prefix);
    return fs->list(fs->self, ".", on_name, &found) == ERR_OK &&
           found.count > upkeep->config->backup_keep &&
           fs->unlink(fs->self, found.oldest) == ERR_OK;
}

/* All of it is on the disk: nobody has made it shorter meanwhile. */
static enum err finish_draft(struct upkeep *upkeep)
{
    const struct fs *fs = upkeep->backups;
    uint64_t size = 0;
    enum err err = fs->fdatasync(fs->self, upkeep->file);
    if (!err) {
        err = fs->size(fs->self, upkeep->file, &size);
    }
    return !err && size != upkeep->bytes ? ERR_CORRUPT : err;
}

static void end_backup(struct upkeep *upkeep, enum err err)
{
    const struct fs *fs = upkeep->backups;
    char name[NAME_BYTES];
    node_image_close(upkeep->image);
    upkeep->image = NULL;
    if (!err) {
        err = finish_draft(upkeep);
    }
    fs->close(fs->self, upkeep->file);
    backup_name(upkeep, name);
    if (!err) {
        err = fs->rename(fs->self, upkeep->draft, name);
    }
    if (!err) {
        err = fs->sync_dir(fs->self, ".");
    }
    if (err) {
        log_error("backup", "why=\"cannot be written: %s\"", err_name(err));
        enum err gone = fs->unlink(fs->self, upkeep->draft);
        (void)gone; /* The next one begins with its leftovers. */
    } else {
        upkeep->saved_index = upkeep->index;
        upkeep->saved_s = (uint64_t)time(NULL);
        log_info("backup", "file=%s bytes=%llu ms=%llu", name,
                 (unsigned long long)upkeep->bytes,
                 (unsigned long long)(now_ms(upkeep) - upkeep->began_ms));
        while (prune_one(upkeep)) {
        }
    }
    back_up_in(upkeep, upkeep->config->backup_every_ms);
}

static void write_slice(struct upkeep *upkeep)
{
    const struct fs *fs = upkeep->backups;
    size_t size = (size_t)min_u64(SLICE_BYTES, upkeep->bytes - upkeep->at);
    enum err err = node_image_read(upkeep->image, upkeep->slice, size);
    if (!err) {
        err =
            fs->write(fs->self, upkeep->file, upkeep->at, upkeep->slice, size);
    }
    upkeep->at += size;
    if (!err && upkeep->at % SYNC_BYTES == 0) {
        err = fs->fdatasync(fs->self, upkeep->file);
    }
    if (err || upkeep->at == upkeep->bytes) {
        end_backup(upkeep, err);
    } else {
        back_up_in(upkeep, 1);
    }
}

static enum err open_backup(struct upkeep *upkeep)
{
    const struct fs *fs = upkeep->backups;
    enum err err = remove_leftovers(upkeep);
    if (err) {
        return err;
    }
    err = node_image_open(upkeep->node, &upkeep->image, &upkeep->index,
                          &upkeep->bytes);
    if (err) {
        upkeep->image = NULL;
        return err;
    }
    draft_name(upkeep, upkeep->draft);
    err = fs->open(fs->self, upkeep->draft, FS_CREATE_NEW, &upkeep->file);
    if (err) {
        node_image_close(upkeep->image);
        upkeep->image = NULL;
    }
    return err;
}

static void on_checkpoint(struct node_request *request,
                          const struct node_result *result)
{
    struct upkeep *upkeep = container_of(request, struct upkeep, checkpoint);
    const char *why = node_outcome_name(result->outcome);
    enum err err = ERR_OK;
    if (result->outcome == NODE_OK && result->index == upkeep->saved_index) {
        upkeep->saved_s = (uint64_t)time(NULL);
        back_up_in(upkeep, upkeep->config->backup_every_ms);
        return;
    }
    if (result->outcome == NODE_OK) {
        err = open_backup(upkeep);
        why = err_name(err);
    }
    if (result->outcome != NODE_OK || err) {
        log_error("backup", "why=\"%s\"", why);
        back_up_in(upkeep, upkeep->config->backup_every_ms);
        return;
    }
    upkeep->at = 0;
    back_up_in(upkeep, 0);
}

static void on_backup_time(void *arg)
{
    struct upkeep *upkeep = arg;
    if (upkeep->image) {
        write_slice(upkeep);
    } else if (!node_is_member(upkeep->node)) {
        back_up_in(upkeep, 1000);
    } else {
        upkeep->began_ms = now_ms(upkeep);
        upkeep->checkpoint.cb = on_checkpoint;
        upkeep->checkpoint.deadline_ms = upkeep->began_ms + CHECKPOINT_MS;
        node_checkpoint(upkeep->node, &upkeep->checkpoint);
    }
}

/* ---- the end of it ------------------------------------------------------ */

struct upkeep *upkeep_start(const struct config *config,
                            struct reactor *reactor, struct node *node)
{
    struct upkeep *upkeep = mem_zalloc(sizeof(*upkeep));
    upkeep->config = config;
    upkeep->reactor = reactor;
    upkeep->node = node;
    if (config->reap_ms > 0) {
        on_reap_time(upkeep);
    }
    if (config->backup_dir) {
        enum err err = host_make_parents(config->backup_dir)
                           ? fs_posix_new(config->backup_dir, &upkeep->backups)
                           : ERR_IO;
        if (err) {
            log_error("start", "--backup-dir=%s why=\"%s\"", config->backup_dir,
                      err_name(err));
            upkeep_free(upkeep);
            return NULL;
        }
        back_up_in(upkeep, config->backup_every_ms);
    }
    return upkeep;
}

bool upkeep_backup_time(const struct upkeep *upkeep, uint64_t *unix_s)
{
    *unix_s = upkeep->saved_s;
    return upkeep->config->backup_dir != NULL;
}

void upkeep_free(struct upkeep *upkeep)
{
    if (!upkeep) {
        return;
    }
    node_cancel(upkeep->node, &upkeep->leave);
    node_cancel(upkeep->node, &upkeep->reap);
    node_cancel(upkeep->node, &upkeep->checkpoint);
    node_request_free(&upkeep->leave);
    node_request_free(&upkeep->reap);
    node_request_free(&upkeep->checkpoint);
    timer_cancel(upkeep->reactor, &upkeep->reap_timer);
    timer_cancel(upkeep->reactor, &upkeep->backup_timer);
    if (upkeep->image) {
        const struct fs *fs = upkeep->backups;
        node_image_close(upkeep->image);
        fs->close(fs->self, upkeep->file);
        enum err gone = fs->unlink(fs->self, upkeep->draft);
        (void)gone;
    }
    if (upkeep->backups) {
        fs_posix_free(upkeep->backups);
    }
    mem_free(upkeep);
}
