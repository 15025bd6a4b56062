/* first_start.c -- a directory that is no member's yet: it founds a cluster, or
 * waits to be adopted by one.
 *
 * Order of a new directory: log (hard state and first entry) durable, then
 * IDENT by rename. Without IDENT nothing was promised, and what is there is
 * cleared; a directory with a database but no IDENT is refused. */
#include <stdio.h>

#include "base/log.h"
#include "node/files.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/open_internal.h"

/* Remove the files of a first start that was interrupted. */
static enum err clear_leftovers(struct node *node)
{
    const struct fs *fs = node->env.fs;
    bool has_database;
    enum err err = file_exists(fs, "db/CURRENT", &has_database);
    if (err) {
        return err;
    }
    if (has_database) {
        log_error("open", "why=\"a database, but no IDENT: refusing to "
                          "start a new cluster over it\"");
        return ERR_CORRUPT;
    }
    return wal_remove(fs);
}

/* Write the first entry of a cluster's log: a membership of one. */
static enum err write_membership(struct wal *wal,
                                 const struct node_options *options,
                                 const struct ident *ident, uint64_t index,
                                 uint64_t term)
{
    must(ident->id == index + 1); /* An id is the index of its entry. */
    struct raft_member self = {.id = ident->id, .suffrage = RAFT_VOTER};
    memcpy(self.uuid, ident->uuid, sizeof(self.uuid));
    memcpy(self.name, ident->name, sizeof(self.name));
    snprintf(self.addr, sizeof(self.addr), "%s", options->raft_addr);
    snprintf(self.http, sizeof(self.http), "%s",
             options->http_addr ? options->http_addr : "");
    struct raft_conf conf = {.count = 1, .members = {self}};
    struct buf payload = {0};
    wire_encode_conf(&payload, &conf);
    struct wal_entry entry = {.index = index + 1,
                              .term = term + 1,
                              .type = RAFT_ENTRY_CONF,
                              .payload = buf_bytes(&payload)};
    enum err err = ERR_OK;
    wal_set_hard_state(wal, term + 1, 0);
    if (index > 0) {
        err = wal_sync(wal);
        if (!err) {
            err = wal_reset(wal, index, term);
        }
    }
    if (!err) {
        wal_append(wal, &entry);
        err = wal_sync(wal);
    }
    buf_free(&payload);
    return err;
}

enum err node_found_log(const struct node_env *env,
                        const struct node_options *options,
                        const struct ident *ident, uint64_t index,
                        uint64_t term)
{
    struct wal_options log = node_log_options(env, options, ident);
    struct wal *wal = NULL;
    enum err err = wal_create(&log);
    if (!err) {
        log = node_log_options(env, options, ident); /* With a new salt. */
        err = wal_open(&log, NULL, NULL, &wal);
    }
    if (!err) {
        err = write_membership(wal, options, ident, index, term);
    }
    wal_close(wal);
    return err;
}

static enum err bootstrap(struct node *node)
{
    must(!node->member);
    node->ident = (struct ident){.id = 1};
    node->env.entropy(node->env.self, node->ident.cluster, 16);
    node->env.entropy(node->env.self, node->ident.uuid, 16);
    memcpy(node->ident.name, node->name, sizeof(node->ident.name));
    enum err err = clear_leftovers(node);
    if (!err) {
        err = node_found_log(&node->env, &node->options, &node->ident, 0, 0);
    }
    if (!err) {
        err = ident_write(node->env.fs, &node->ident);
    }
    if (!err) {
        log_info("bootstrap", "id=%s raft=%s", node->name, node->raft_addr);
    }
    return err;
}

static const char *why_not_adopted(const struct node *node,
                                   const struct wire_hello *hello)
{
    if (strcmp(hello->to_name, node->name) != 0 || hello->to_id == 0) {
        return "our name is another";
    }
    if (memcmp(hello->to_uuid, node->ident.uuid, RAFT_UUID_BYTES) != 0) {
        return raft_uuid_is_known(hello->to_uuid)
                   ? "the cluster knows another directory by our name; joining "
                     "again"
                   : "the cluster knows no directory by our name; joining "
                     "again";
    }
    if (node->joining.cluster_known &&
        memcmp(hello->cluster, node->joining.cluster, 16) != 0) {
        return "another cluster has answered --join";
    }
    return NULL;
}

/* Make the directory that of the member node->ident. */
static enum err become_member(struct node *node)
{
    struct wal_options options =
        node_log_options(&node->env, &node->options, &node->ident);
    enum err err = left_clear(node);
    if (!err) {
        err = clear_leftovers(node);
    }
    if (!err) {
        err = wal_create(&options);
    }
    if (!err) {
        err = ident_write(node->env.fs, &node->ident);
    }
    if (!err) {
        err = foreign_remove(node);
    }
    if (!err) {
        err = node_open_member(node);
    }
    return err ? err : left_finish(node);
}

bool node_adopt(struct node *node, const struct wire_hello *hello)
{
    if (node->member || !node->options.joining || node->stop.asked) {
        return false;
    }
    const char *why = why_not_adopted(node, hello);
    if (why) {
        uint64_t count;
        uint64_t now_ms = node->env.now_ms(node->env.self);
        if (log_limit(&node->adopt_log, now_ms, NODE_LIMITED_LOG_MS, &count)) {
            log_warn("adopt", "from=%s to=%s why=\"%s\" count=%llu",
                     hello->from_name, hello->to_name, why,
                     (unsigned long long)count);
        }
        return false;
    }
    node->ident.id = hello->to_id;
    node->ident.restored = false;
    memcpy(node->ident.cluster, hello->cluster, sizeof(node->ident.cluster));
    memcpy(node->ident.name, node->name, sizeof(node->ident.name));
    enum err err = become_member(node);
    if (err) {
        /* A directory that is half a member's must not be used; the next start
         * tries again. */
        die("cannot set up the directory for cluster of %s: %s",
            hello->from_name, err_name(err));
    }
    must(node->member);
    log_info("adopted", "by=%s number=%llu", hello->from_name,
             (unsigned long long)node->ident.id);
    return true;
}

void node_join_answered(struct node *node, const uint8_t cluster[16])
{
    node->joining.cluster_known = true;
    memcpy(node->joining.cluster, cluster, sizeof(node->joining.cluster));
}

/* Remember the addresses of --join for later starts; without --join, a
 * directory that waits to join asks those of an earlier start. */
static enum err recall_join(struct node *node)
{
    const struct fs *fs = node->env.fs;
    bool waiting = false;
    if (node->options.joining) {
        return node->options.join ? ident_write_join(fs, node->options.join)
                                  : ERR_OK;
    }
    enum err err = ident_is_waiting(fs, &waiting);
    if (err || !waiting) {
        return err;
    }
    node->options.joining = true;
    err = ident_read_join(fs, node->joining.addr);
    if (err == ERR_NOT_FOUND) {
        log_error("open", "why=\"this directory was started with --join and is "
                          "no member yet: start it with --join, or with an "
                          "empty directory\"");
        return ERR_INVALID;
    }
    if (!err) {
        log_warn("open",
                 "join=%s why=\"no --join, but this directory waits to "
                 "join: the same members are asked\"",
                 node->joining.addr);
    }
    return err;
}

const char *node_remembered_join(const struct node *node)
{
    return !node->member && node->joining.addr[0] != '\0' ? node->joining.addr
                                                          : NULL;
}

static enum err wait_for_adoption(struct node *node)
{
    /* The first HELLO brings the id and the cluster: node_adopt(). */
    node->env.entropy(node->env.self, node->ident.uuid, 16);
    enum err err = ident_waiting(node->env.fs, node->ident.uuid);
    if (!err) {
        node->env.transport.set_self(node->env.transport.self,
                                     node->ident.cluster, 0, node->ident.uuid,
                                     0, node->name);
    }
    return err;
}

/* Found a cluster, at once or after listening for a while whether another one
 * counts this node as its member; not at all if a HELLO has shown that. */
static enum err found_or_listen(struct node *node)
{
    uint32_t wait_ms =
        node->options.bootstrap_anyway ? 0 : node->options.bootstrap_wait_ms;
    if (node->foreign.known || wait_ms > 0) {
        node->env.transport.set_self(node->env.transport.self,
                                     node->ident.cluster, 0, node->ident.uuid,
                                     0, node->name);
    }
    if (node->foreign.known) {
        return ERR_OK;
    }
    if (wait_ms > 0) {
        node->bootstrap_at_ms = node->now_ms + wait_ms;
        log_info("bootstrap",
                 "in_ms=%u why=\"a new directory listens first whether "
                 "another cluster counts this node as its member\"",
                 wait_ms);
        return ERR_OK;
    }
    enum err err = bootstrap(node);
    return err ? err : node_open_member(node);
}

uint64_t node_bootstrap_in_ms(const struct node *node)
{
    uint64_t now_ms = node->env.now_ms(node->env.self);
    return node->bootstrap_at_ms > now_ms ? node->bootstrap_at_ms - now_ms : 0;
}

void node_bootstrap_when_due(struct node *node)
{
    if (node->bootstrap_at_ms == 0 || node->now_ms < node->bootstrap_at_ms ||
        node->stop.asked) {
        return;
    }
    node->bootstrap_at_ms = 0;
    enum err err = bootstrap(node);
    if (!err) {
        err = node_open_member(node);
    }
    if (err) {
        /* As in node_adopt(). */
        die("cannot set up the directory for a new cluster: %s", err_name(err));
    }
}

enum err node_first_start(struct node *node)
{
    must(!node->member);
    enum err err = recall_join(node);
    if (err) {
        return err;
    }
    return node->options.joining ? wait_for_adoption(node)
                                 : found_or_listen(node);
}
