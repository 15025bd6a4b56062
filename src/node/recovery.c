/* recovery.c -- from the files of a member to a running engine.
 *
 * The database opens first: it holds an applied index. Then the whole log is
 * read once, for the terms of its entries and the memberships in it. The two
 * are compared, and the engine starts with what the database holds as
 * committed; later entries are applied when a leader commits them. */
#include "base/log.h"
#include "node/member_internal.h"
#include "node/node_internal.h"
#include "node/open_internal.h"
#include "node/phases_internal.h"
#include "node/space_internal.h"

enum {
    STORAGE_STALL_FACTOR = 1, /* In election time-outs. */
    INFLIGHT_APPENDS = 64,
};

/* ---- reading the log ---- */

struct boot {
    uint64_t applied; /* By the database. */
    /* The engine's log starts behind this entry, which the database holds: that
     * of a BASE record (a snapshot from a leader), or after compaction the
     * first entry that is left. */
    uint64_t base;
    uint64_t base_term;
    bool any; /* At least one record was read. */
    uint64_t last;
    uint64_t last_term;
    uint64_t applied_term; /* Term of entry `applied` in the log; 0: none. */
    struct raft_run *runs;
    uint32_t run_count;
    uint32_t run_capacity;
    struct raft_conf_entry *confs;
    uint32_t conf_count;
    uint32_t conf_capacity;
    bool bad; /* A membership does not decode; logged. */
};

/* Drop entries from `from` on. */

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
    /* All are kept until the log has been read: the newest one may be cut off
     * by a later truncation, and then the one before it is in force. */
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

/* Reset the log behind a snapshot that was put in place just before a crash:
 * the step that follows in snapshot.c. */
static enum err boot_finish_install(struct node *node, struct boot *boot)
{
    uint64_t term;
    uint64_t index = store_installed(node->store, &term);
    if (index == 0 || index != boot->applied ||
        (boot->last >= index && boot->applied_term == term)) {
        return ERR_OK;
    }
    log_info("open",
             "why=\"completing an interrupted snapshot: the log starts behind "
             "it\" index=%llu last=%llu",
             (unsigned long long)index, (unsigned long long)boot->last);
    enum err err = wal_reset(node->wal, index, term);
    if (!err) {
        boot->conf_count = 0;
        boot->applied_term = term;
        boot_base(boot, &(struct wal_entry){.index = index, .term = term});
    }
    return err;
}

/* Put the membership that the database holds in place of those up to its index.
 */
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

/* The database may be behind the log, whose entries are then applied, never
 * ahead of it, and both must have the same entry at the applied index. */
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

/* ---- starting ---- */

struct wal_options node_log_options(const struct node_env *env,
                                    const struct node_options *node_options,
                                    const struct ident *ident)
{
    char path[2 * FS_PATH_BYTES]; /* A file system in memory has no path. */
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
    must(boot->base <= boot->applied && boot->applied <= boot->last);
    node->now_ms = node->env.now_ms(node->env.self);
    node->raft = raft_new(&options, &raft_boot, node->now_ms);
    entries_init(&node->entries, boot->last + 1);
    if (node->options.entries_bytes > 0) {
        node->entries.bytes_kept = node->options.entries_bytes;
    }
    if (node->options.entries_bytes > 0) {
        node->entries.bytes_kept = node->options.entries_bytes;
    }
    node->persist.durable = boot->last;
    node->apply.to = boot->applied;
    node->turn_ms = node->now_ms;
    checkpoint_init(node);
    flush_init(node);
}

enum err node_open_member(struct node *node)
{
    must(!node->member && !node->store && !node->wal && !node->raft);
    must(node->ident.id > 0);
    struct store_options store_options = {
        .fs = node->env.fs,
        .vfs = node->env.sqlite_vfs,
        .reserve_bytes = node->options.reserve_bytes,
        .cache_bytes = node->options.cache_bytes,
        .row_cache_bytes = node->options.row_cache_bytes,
        .wal_bytes_kept = node->fit.wal_kept};
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
        /* Cookies are unique across starts: an answer to a request of an
         * earlier start must not match one of this start. */
        node->forward.cookie = node->incarnation << 40;
        start_engine(node, &boot);
        node->member = true;
        apply_observe(node);
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
