/* open.c -- opens a directory for a node, and closes it: the lock, who the
 * directory belongs to, the name.
 *
 * A directory with IDENT is a member's: recovery.c starts it. One without is
 * on its first start: first_start.c. */
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/open_internal.h"
#include "node/request_internal.h"
#include "node/snapshot_internal.h"

static enum err set_name(struct node *node, bool known)
{
    const char *wanted = node->options.name;
    if (known) {
        if (wanted && strcmp(wanted, node->ident.name) != 0) {
            log_error("open",
                      "why=\"this directory belongs to node %s, not to %s\"",
                      node->ident.name, wanted);
            return ERR_MISMATCH;
        }
        wanted = node->ident.name;
    } else if (!wanted) {
        wanted = node->raft_addr;
    }
    if (wanted[0] == '\0' || strlen(wanted) >= sizeof(node->name)) {
        log_error("open", "id=%s why=\"a name has 1 to %d bytes\"", wanted,
                  RAFT_NAME_BYTES - 1);
        return ERR_INVALID;
    }
    if (!text_is_word(bytes_of_string(wanted))) {
        log_error("open", "why=\"a name has no blanks, control bytes or "
                          "quotes\"");
        return ERR_INVALID;
    }
    memcpy(node->name, wanted, strlen(wanted) + 1);
    log_set_node(node->name);
    return ERR_OK;
}

enum err node_fit(const struct fs *fs, struct node_options *options,
                  struct fit *fit)
{
    struct fs_space space = {.total_bytes = UINT64_MAX};
    if (fs->space && fs->space(fs->self, &space) &&
        space.total_bytes < FIT_DISK_BYTES_MIN) {
        log_error("open",
                  "disk_bytes=%llu needed=%d why=\"the disk is too small for a "
                  "node\" help=\"use one of at least 8 MB\"",
                  (unsigned long long)space.total_bytes, FIT_DISK_BYTES_MIN);
        return ERR_NOSPACE;
    }
    *fit = fit_to_disk(space.total_bytes, options->db_bytes_max);
    uint64_t *const sizes[] = {&options->segment_bytes, &options->reserve_bytes,
                               &options->log_keep_bytes};
    const uint64_t fitting[] = {fit->segment, fit->store_reserve,
                                fit->log_keep};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        *sizes[i] = *sizes[i] > 0 ? *sizes[i] : fitting[i];
    }
    return ERR_OK;
}

/* The files of a node that is no member yet are still to be made. */
static enum err check_room(const struct node *node)
{
    const struct fs *fs = node->env.fs;
    struct fs_space space;
    uint64_t needed = fit_start_bytes(&node->fit);
    if (!fs->space || !fs->space(fs->self, &space) ||
        space.free_bytes >= needed) {
        return ERR_OK;
    }
    log_error("open",
              "free_bytes=%llu needed=%llu why=\"the disk has no room for the "
              "files of a new node\" help=\"free some space\"",
              (unsigned long long)space.free_bytes, (unsigned long long)needed);
    return ERR_NOSPACE;
}

static enum err open_directory(struct node *node)
{
    const struct fs *fs = node->env.fs;
    enum err err = fs->lock(fs->self, "LOCK", &node->lock);
    if (err) {
        node->lock = -1;
        if (err == ERR_LOCKED) {
            log_error("open", "why=\"the directory is in use by a running "
                              "node\"");
        }
        return err;
    }
    if (node_is_half_recovered(fs)) {
        log_error("open", "why=\"a recovery or a restore was interrupted: run "
                          "that command again\"");
        return ERR_INVALID;
    }
    err = ident_read(fs, &node->ident);
    bool known = err == ERR_OK;
    if (err && err != ERR_NOT_FOUND) {
        return err;
    }
    err = set_name(node, known);
    if (!err) {
        err = left_read(node, &known);
    }
    if (err) {
        return err;
    }
    err = foreign_read(node);
    if (!err && !known) {
        err = check_room(node);
    }
    if (!err) {
        err = known ? node_open_member(node) : node_first_start(node);
    }
    if (!err) {
        foreign_report(node);
    }
    return err;
}

enum err node_open(const struct node_options *options,
                   const struct node_env *env, struct node **out)
{
    must(options->heartbeat_ms > 0);
    must(options->election_min_ms > options->heartbeat_ms);
    must(options->election_max_ms > options->election_min_ms);
    struct node *node = mem_zalloc(sizeof(*node));
    node->options = *options;
    node->env = *env;
    node->lock = -1;
    snprintf(node->raft_addr, sizeof(node->raft_addr), "%s",
             options->raft_addr);
    snprintf(node->http_addr, sizeof(node->http_addr), "%s",
             options->http_addr ? options->http_addr : "");
    requests_init(node);
    uint64_t seed;
    env->entropy(env->self, &seed, sizeof(seed));
    node->feed = feed_new(
        options->feed_events_max ? options->feed_events_max : FEED_EVENTS_MAX,
        options->feed_bytes_max ? options->feed_bytes_max : FEED_BYTES_MAX,
        seed);
    node->now_ms = env->now_ms(env->self);
    node->turn_ms = node->now_ms;
    node->apply.hashes = mem_zalloc(NODE_HASHES_MAX * sizeof(uint64_t));
    enum err err = node_fit(env->fs, &node->options, &node->fit);
    if (!err) {
        err = open_directory(node);
    }
    if (err) {
        node_close(node);
        return err;
    }
    *out = node;
    return ERR_OK;
}

void node_close(struct node *node)
{
    if (!node) {
        return;
    }
    requests_free(node);
    snapshot_free(node);
    store_close(node->store);
    wal_close(node->wal);
    raft_free(node->raft);
    feed_free(node->feed);
    mem_free(node->apply.hashes);
    entries_free(&node->entries);
    if (node->lock >= 0) {
        node->env.fs->close(node->env.fs->self, node->lock);
    }
    buf_free(&node->scratch.pieces);
    buf_free(&node->scratch.log);
    buf_free(&node->scratch.encoded);
    buf_free(&node->scratch.stamped);
    mem_free(node);
}
