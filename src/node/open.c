/* open.c -- from a directory to a running node.
 *
 * Order of a new directory: log (hard state and first entry) durable, then
 * IDENT by rename. Without IDENT nothing was promised, and what is there is
 * cleared; a directory with a database but no IDENT is not ours to clear. */
#include <stdio.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "node/node_internal.h"

enum {
    STORAGE_STALL_FACTOR = 1, /* In election timeouts. */
    INFLIGHT_APPENDS = 64,
};

/* ---- reading the log at start ---- */

struct boot {
    uint64_t applied;
    /* The log begins behind this entry, which a snapshot holds: from elsewhere
     * (a BASE record), or by compaction: then it is the first that is left. */
    uint64_t base;
    uint64_t base_term;
    bool any; /* Something was read. */
    uint64_t last;
    uint64_t last_term;
    uint64_t applied_term; /* Term of entry `applied` in the log; 0 = none. */
    struct raft_run *runs;
    uint32_t run_count;
    uint32_t run_capacity;
    struct raft_conf_entry *confs;
    uint32_t conf_count;
    uint32_t conf_capacity;
    bool bad;
};

static void boot_cut(struct boot *boot, uint64_t from)
{
    while (boot->run_count > 0 &&
           boot->runs[boot->run_count - 1].first >= from) {
        boot->run_count--;
    }
    while (boot->conf_count > 0 &&
           boot->confs[boot->conf_count - 1].index >= from) {
        boot->conf_count--;
    }
    boot->last_term = boot->run_count > 0 ? boot->runs[boot->run_count - 1].term
                                          : boot->base_term;
}

static void boot_base(struct boot *boot, const struct wal_entry *entry)
{
    boot->run_count = 0;
    boot->base = entry->index;
    boot->base_term = entry->term;
    boot->last_term = entry->term;
    boot->last = entry->index;
    boot->any = true;
}

static void boot_conf(struct boot *boot, const struct wal_entry *entry)
{
    struct raft_conf conf;
    if (wire_decode_conf(entry->payload, &conf) != ERR_OK ||
        !raft_conf_is_sound(&conf)) {
        log_error("log", "index=%llu why=\"membership does not decode\"",
                  (unsigned long long)entry->index);
        boot->bad = true;
        return;
    }
    /* All are kept until the log has been read: what looks newest and applied
     * may be cut by a later truncation, and then the one before it counts. */
    if (boot->conf_count == boot->conf_capacity) {
        boot->conf_capacity = boot->conf_capacity ? boot->conf_capacity * 2 : 2;
        boot->confs = mem_realloc(boot->confs,
                                  boot->conf_capacity * sizeof(boot->confs[0]));
    }
    boot->confs[boot->conf_count++] =
        (struct raft_conf_entry){.index = entry->index, .conf = conf};
}

static void boot_entry(const struct wal_entry *entry, void *arg)
{
    struct boot *boot = arg;
    if (entry->index == boot->applied) {
        boot->applied_term = entry->term;
    }
    if (entry->type == WAL_ENTRY_BASE) {
        boot->conf_count = 0;
        boot_base(boot, entry);
        return;
    }
    if (boot->any && entry->index <= boot->last) {
        boot_cut(boot, entry->index);
    }
    if (boot->any ? entry->index <= boot->base : entry->index > 1) {
        boot_base(boot, entry);
        if (entry->type == RAFT_ENTRY_CONF) {
            boot_conf(boot, entry);
        }
        return;
    }
    boot->any = true;
    if (boot->run_count == 0 || boot->last_term != entry->term) {
        if (boot->run_count == boot->run_capacity) {
            boot->run_capacity =
                boot->run_capacity ? boot->run_capacity * 2 : 16;
            boot->runs = mem_realloc(boot->runs, boot->run_capacity *
                                                     sizeof(boot->runs[0]));
        }
        boot->runs[boot->run_count++] =
            (struct raft_run){.first = entry->index, .term = entry->term};
        boot->last_term = entry->term;
    }
    boot->last = entry->index;
    if (entry->type == RAFT_ENTRY_CONF) {
        boot_conf(boot, entry);
    }
}

/* A snapshot was put in place, but the log does not know it yet: now. */
static enum err boot_finish_install(struct node *node, struct boot *boot)
{
    uint64_t term;
    uint64_t index = store_installed(node->store, &term);
    if (index == 0 || index != boot->applied ||
        (boot->last >= index && boot->applied_term == term)) {
        return ERR_OK;
    }
    log_info("open", "why=\"a snapshot is taken over\" index=%llu last=%llu",
             (unsigned long long)index, (unsigned long long)boot->last);
    enum err err = wal_reset(node->wal, index, term);
    if (!err) {
        boot->conf_count = 0;
        boot->applied_term = term;
        boot_base(boot, &(struct wal_entry){.index = index, .term = term});
    }
    return err;
}

/* Memberships up to the one that the database holds are its own. */
static enum err boot_stored_conf(struct node *node, struct boot *boot)
{
    uint64_t index;
    struct raft_conf conf;
    struct bytes stored = store_conf(node->store, &index);
    if (index == 0) {
        return ERR_OK;
    }
    if (wire_decode_conf(stored, &conf) != ERR_OK ||
        !raft_conf_is_sound(&conf)) {
        log_error("open", "why=\"the stored membership does not decode\"");
        return ERR_CORRUPT;
    }
    uint32_t old = 0;
    while (old < boot->conf_count && boot->confs[old].index <= index) {
        old++;
    }
    struct raft_conf_entry *confs =
        mem_alloc((boot->conf_count - old + 1) * sizeof(*confs));
    confs[0] = (struct raft_conf_entry){.index = index, .conf = conf};
    if (boot->conf_count > old) {
        memcpy(confs + 1, boot->confs + old,
               (boot->conf_count - old) * sizeof(*confs));
    }
    boot->conf_count -= old;
    boot->conf_count++;
    mem_free(boot->confs);
    boot->confs = confs;
    return ERR_OK;
}

/* The database may be behind the log (it replays), never ahead of it, and
 * both must mean the same entry by the same index. */
static enum err boot_check(const struct node *node, const struct boot *boot)
{
    if (boot->bad) {
        return ERR_CORRUPT;
    }
    if (boot->applied < boot->base) {
        log_error("open",
                  "why=\"the log begins after what the database holds: files "
                  "are missing\" applied=%llu base=%llu",
                  (unsigned long long)boot->applied,
                  (unsigned long long)boot->base);
        return ERR_CORRUPT;
    }
    if (boot->applied > boot->last) {
        log_error("open",
                  "why=\"the database is ahead of the log: files of two "
                  "directories were mixed, or the log was damaged\" "
                  "applied=%llu last=%llu",
                  (unsigned long long)boot->applied,
                  (unsigned long long)boot->last);
        return ERR_CORRUPT;
    }
    if (boot->applied > 0 &&
        boot->applied_term != store_applied_term(node->store)) {
        log_error("open",
                  "why=\"the database applied another entry than the log "
                  "holds\" index=%llu term_db=%llu term_log=%llu",
                  (unsigned long long)boot->applied,
                  (unsigned long long)store_applied_term(node->store),
                  (unsigned long long)boot->applied_term);
        return ERR_CORRUPT;
    }
    if (wal_term(node->wal) < boot->last_term) {
        log_error("open",
                  "why=\"the log holds a term above the stored one\" "
                  "log=%llu stored=%llu",
                  (unsigned long long)boot->last_term,
                  (unsigned long long)wal_term(node->wal));
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* ---- opening ---- */

struct wal_options node_log_options(const struct node_env *env,
                                    const struct node_options *node_options,
                                    const struct ident *ident)
{
    char path[2 * FS_PATH_BYTES]; /* In memory there is none, nor a disk. */
    struct wal_options options = {
        .fs = env->fs,
        .segment_bytes = node_options->segment_bytes,
        .keeps_reserve =
            env->fs->real_path(env->fs->self, "wal", path, sizeof(path)),
        .now_us = env->now_us,
        .now_us_arg = env->self,
    };
    memcpy(options.cluster, ident->cluster, sizeof(options.cluster));
    memcpy(options.uuid, ident->uuid, sizeof(options.uuid));
    env->entropy(env->self, &options.salt_seed, sizeof(options.salt_seed));
    return options;
}

static void start_engine(struct node *node, const struct boot *boot)
{
    uint64_t seed;
    node->env.entropy(node->env.self, &seed, sizeof(seed));
    struct raft_options options = {
        .self = node->ident.id,
        .seed = seed,
        .heartbeat_ms = node->options.heartbeat_ms,
        .election_min_ms = node->options.election_min_ms,
        .election_max_ms = node->options.election_max_ms,
        .storage_stall_ms =
            node->options.election_min_ms * STORAGE_STALL_FACTOR,
        .uncommitted_max = node->options.proposals_max,
        .inflight_max = INFLIGHT_APPENDS,
    };
    struct raft_boot raft_boot = {
        .term = wal_term(node->wal),
        .vote = wal_vote(node->wal),
        .base = boot->base,
        .base_term = boot->base_term,
        .last = boot->last,
        .runs = boot->runs,
        .run_count = boot->run_count,
        .confs = boot->confs,
        .conf_count = boot->conf_count,
        .applied = boot->applied,
    };
    node->now_ms = node->env.now_ms(node->env.self);
    node->raft = raft_new(&options, &raft_boot, node->now_ms);
    entries_init(&node->entries, boot->last + 1);
    node->persist.durable = boot->last;
    node->apply.to = boot->applied;
    node->turn_ms = node->now_ms;
    node->flush.entries_max = 16 * NODE_FLUSH_ENTRIES_MIN;
    node->checkpoint.bytes_max = node->options.checkpoint_bytes
                                     ? node->options.checkpoint_bytes
                                     : NODE_CHECKPOINT_BYTES_MAX;
}

static enum err open_member(struct node *node)
{
    struct store_options store_options = {.fs = node->env.fs,
                                          .vfs = node->env.sqlite_vfs,
                                          .reserve_bytes =
                                              node->options.reserve_bytes};
    enum err err = store_open(&store_options, &node->store);
    if (err) {
        return err;
    }
    struct boot boot = {.applied = store_applied(node->store)};
    struct wal_options wal_options =
        node_log_options(&node->env, &node->options, &node->ident);
    err = wal_open(&wal_options, boot_entry, &boot, &node->wal);
    if (!err) {
        err = boot_finish_install(node, &boot);
    }
    if (!err) {
        err = boot_check(node, &boot);
    }
    if (!err) {
        err = boot_stored_conf(node, &boot);
    }
    if (!err) {
        err = incarnation_read(node);
    }
    if (!err) {
        node->incarnation = wal_incarnation(node->wal);
        /* What others still answer to an earlier life of ours is not taken for
         * an answer to this one. */
        node->forward.cookie = node->incarnation << 40;
        start_engine(node, &boot);
        node->member = true;
        node_check_quota(node);
        node->env.transport.set_self(
            node->env.transport.self, node->ident.cluster, node->ident.id,
            node->ident.uuid, node->incarnation, node->name);
        node_set_members(node);
    } else if (err == ERR_NOT_FOUND) {
        log_error("open", "why=\"IDENT is there, but the log is not\"");
        err = ERR_CORRUPT;
    }
    mem_free(boot.runs);
    mem_free(boot.confs);
    return err;
}

/* ---- a new directory ---- */

/* Remove the files of a first start that was interrupted. */
static enum err clear_leftovers(struct node *node)
{
    const struct fs *fs = node->env.fs;
    int handle;
    enum err err = fs->open(fs->self, "db/CURRENT", FS_READ, &handle);
    if (err != ERR_NOT_FOUND) {
        if (!err) {
            fs->close(fs->self, handle);
            log_error("open", "why=\"a database, but no IDENT: refusing to "
                              "start a new cluster over it\"");
            err = ERR_CORRUPT;
        }
        return err;
    }
    return wal_remove(fs);
}

/* Every cluster's log begins with an entry for a membership of one. */
static enum err write_membership(struct wal *wal,
                                 const struct node_options *options,
                                 const struct ident *ident, uint64_t index,
                                 uint64_t term)
{
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
        log = node_log_options(env, options, ident); /* Salts anew. */
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
        err = foreign_forget(node);
    }
    if (!err) {
        err = open_member(node);
    }
    if (!err) {
        err = left_done(node);
    }
    if (err) {
        /* Half a member must not go on; the next start tries again. */
        die("cannot set up the directory for cluster of %s: %s",
            hello->from_name, err_name(err));
    }
    log_info("adopted", "by=%s number=%llu", hello->from_name,
             (unsigned long long)node->ident.id);
    return true;
}

void node_join_answered(struct node *node, const uint8_t cluster[16])
{
    node->joining.cluster_known = true;
    memcpy(node->joining.cluster, cluster, sizeof(node->joining.cluster));
}

/* What is asked for while we wait: once more what was asked for before, when
 * --join is not given any more. */
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
    /* Who we are comes with the first HELLO: node_adopt(). */
    node->env.entropy(node->env.self, node->ident.uuid, 16);
    enum err err = ident_waiting(node->env.fs, node->ident.uuid);
    if (!err) {
        node->env.transport.set_self(node->env.transport.self,
                                     node->ident.cluster, 0, node->ident.uuid,
                                     0, node->name);
    }
    return err;
}

/* Found a cluster, now or after a while of listening whether another one counts
 * us as its member; not at all if one was heard. */
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
    return err ? err : open_member(node);
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
        err = open_member(node);
    }
    if (err) {
        /* As in node_adopt(). */
        die("cannot set up the directory for a new cluster: %s", err_name(err));
    }
}

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
        err = left_look(node, &known);
    }
    if (err) {
        return err;
    }
    err = foreign_read(node);
    if (!err && !known) {
        err = recall_join(node);
    }
    if (err) {
        return err;
    }
    if (!known) {
        err = node->options.joining ? wait_for_adoption(node)
                                    : found_or_listen(node);
    } else {
        err = open_member(node);
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
    must(options->election_max_ms >= options->election_min_ms);
    struct node *node = mem_zalloc(sizeof(*node));
    node->options = *options;
    node->env = *env;
    node->lock = -1;
    snprintf(node->raft_addr, sizeof(node->raft_addr), "%s",
             options->raft_addr);
    snprintf(node->http_addr, sizeof(node->http_addr), "%s",
             options->http_addr ? options->http_addr : "");
    requests_init(node);
    node->now_ms = env->now_ms(env->self);
    node->turn_ms = node->now_ms;
    enum err err = open_directory(node);
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
    entries_free(&node->entries);
    if (node->lock >= 0) {
        node->env.fs->close(node->env.fs->self, node->lock);
    }
    buf_free(&node->scratch.pieces);
    buf_free(&node->scratch.log);
    buf_free(&node->scratch.encoded);
    mem_free(node);
}
