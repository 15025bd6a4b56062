/* log.c -- the log as the engine sees it: no payloads, only which term each
 * index has (as runs: a leader's reign is one run) and which configuration
 * entries there are. The configuration in force is a function of the log
 * (thesis 4.1: "a server always uses the latest configuration in its log"),
 * so truncating the log is all it takes to fall back. */
#include "raft/raft_internal.h"

static void set_active(struct raft *raft)
{
    raft_peers_sync(raft);
    raft->out.conf_changed = true;
}

static void push_conf(struct raft *raft, uint64_t index,
                      const struct raft_conf *conf)
{
    if (raft->log.conf_count == raft->log.conf_capacity) {
        raft->log.conf_capacity =
            raft->log.conf_capacity ? raft->log.conf_capacity * 2 : 4;
        raft->log.confs =
            mem_realloc(raft->log.confs,
                        raft->log.conf_capacity * sizeof(raft->log.confs[0]));
    }
    struct raft_conf_entry *entry = &raft->log.confs[raft->log.conf_count];
    memset(entry, 0, sizeof(*entry));
    entry->index = index;
    if (conf) {
        entry->conf = *conf;
    }
    raft->log.conf_count++;
}

static void push_run(struct raft *raft, uint64_t first, uint64_t term)
{
    if (raft->log.run_count == raft->log.run_capacity) {
        raft->log.run_capacity =
            raft->log.run_capacity ? raft->log.run_capacity * 2 : 16;
        raft->log.runs = mem_realloc(
            raft->log.runs, raft->log.run_capacity * sizeof(raft->log.runs[0]));
    }
    raft->log.runs[raft->log.run_count] = (struct raft_run){first, term};
    raft->log.run_count++;
}

void raft_log_open(struct raft *raft, const struct raft_boot *boot)
{
    must(boot->base <= boot->applied && boot->applied <= boot->last);
    raft->log.base = boot->base;
    raft->log.base_term = boot->base_term;
    raft->log.last = boot->last;
    raft->disk.durable = boot->last;
    raft->disk.handed = boot->last;
    raft->commit = boot->applied;
    raft->applied = boot->applied;
    raft->apply_given = boot->applied;

    must((boot->run_count == 0) == (boot->base == boot->last));
    uint64_t term = boot->base_term;
    uint64_t first = boot->base + 1;
    for (uint32_t i = 0; i < boot->run_count; i++) {
        const struct raft_run *run = &boot->runs[i];
        must(i == 0 ? run->first == first : run->first > first);
        must(run->first <= boot->last);
        must(run->term >= term && run->term > 0);
        push_run(raft, run->first, run->term);
        first = run->first;
        term = run->term;
    }
    must(boot->term >= term);

    /* Before any configuration there is the empty one: such a node waits for
     * its first append. */
    push_conf(raft, 0, NULL);
    for (uint32_t i = 0; i < boot->conf_count; i++) {
        const struct raft_conf_entry *entry = &boot->confs[i];
        must(entry->index <= boot->last);
        must(entry->index > raft_log_conf_index(raft));
        must(raft_conf_is_sound(&entry->conf));
        push_conf(raft, entry->index, &entry->conf);
    }
    raft_log_prune_confs(raft);
    set_active(raft);
}

uint64_t raft_term_at(const struct raft *raft, uint64_t index)
{
    must(index >= raft->log.base && index <= raft->log.last);
    if (index == raft->log.base) {
        return raft->log.base_term;
    }
    uint32_t lo = 0;
    uint32_t hi = raft->log.run_count; /* runs[lo].first <= index < runs[hi] */
    while (hi - lo > 1) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (raft->log.runs[middle].first <= index) {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    must(raft->log.runs[lo].first <= index);
    must(raft->log.runs[lo].term <= raft->term);
    return raft->log.runs[lo].term;
}

uint64_t raft_log_find(const struct raft *raft, uint64_t index, uint64_t term)
{
    index = min_u64(index, raft->log.last);
    if (index <= raft->log.base) {
        return raft->log.base;
    }
    for (uint32_t i = raft->log.run_count; i > 0; i--) {
        const struct raft_run *run = &raft->log.runs[i - 1];
        if (run->first > index) {
            continue;
        }
        if (run->term <= term) {
            return index;
        }
        index = run->first - 1;
    }
    return raft->log.base;
}

void raft_log_append(struct raft *raft, uint64_t term,
                     enum raft_entry_type type, const struct raft_conf *conf)
{
    uint64_t last_term = raft_term_at(raft, raft->log.last);
    must(term >= last_term && term <= raft->term);
    must((type == RAFT_ENTRY_CONF) == (conf != NULL));

    uint64_t index = raft->log.last + 1;
    if (raft->log.run_count == 0 || term != last_term) {
        push_run(raft, index, term);
    }
    raft->log.last = index;
    if (raft->disk.dirty_lo == 0) {
        raft->disk.dirty_lo = index;
    }
    if (raft->appended_last < raft->appended_first) {
        raft->appended_first = index;
    }
    raft->appended_last = index;
    if (conf) {
        push_conf(raft, index, conf);
        set_active(raft);
    }
}

/* Indexes that are durable, or being persisted, must not cover entries that
 * have been replaced since: the same index may be appended again with the same
 * term, and the completion of the old write must not count for the new one. */
static void forget_durable(struct raft *raft, uint64_t from)
{
    raft->disk.durable = min_u64(raft->disk.durable, from - 1);
    for (uint32_t i = 0; i < raft->disk.op_count; i++) {
        struct raft_op *op =
            &raft->disk.ops[(raft->disk.op_head + i) % RAFT_OPS_MAX];
        op->hi = min_u64(op->hi, from - 1);
    }
}

void raft_log_truncate(struct raft *raft, uint64_t from)
{
    must(raft->role != RAFT_LEADER);
    must(from > raft->commit && from > raft->apply_given);
    must(from > raft->log.base && from <= raft->log.last);

    raft->log.last = from - 1;
    while (raft->log.run_count > 0 &&
           raft->log.runs[raft->log.run_count - 1].first >= from) {
        raft->log.run_count--;
    }
    if (raft->disk.dirty_lo == 0 || from < raft->disk.dirty_lo) {
        raft->disk.dirty_lo = from;
    }
    forget_durable(raft, from);
    raft->verified = min_u64(raft->verified, raft->log.last);

    bool conf_dropped = false;
    while (raft_log_conf_index(raft) >= from) {
        must(raft->log.conf_count > 1);
        raft->log.conf_count--;
        conf_dropped = true;
    }
    if (conf_dropped) {
        set_active(raft);
    }
}

void raft_log_compact(struct raft *raft, uint64_t index)
{
    if (index <= raft->log.base) {
        return;
    }
    must(index <= raft->applied && index <= raft->disk.durable);
    raft->log.base_term = raft_term_at(raft, index);
    raft->log.base = index;
    uint32_t drop = 0;
    while (drop + 1 < raft->log.run_count &&
           raft->log.runs[drop + 1].first <= index + 1) {
        drop++;
    }
    if (index == raft->log.last) {
        drop = raft->log.run_count;
    }
    raft->log.run_count -= drop;
    memmove(raft->log.runs, raft->log.runs + drop,
            raft->log.run_count * sizeof(raft->log.runs[0]));
    if (raft->log.run_count > 0 && raft->log.runs[0].first <= index) {
        raft->log.runs[0].first = index + 1;
    }
}

/* The log holds the snapshot's last entry: what follows it stays. */
static void install_below_suffix(struct raft *raft, uint64_t index)
{
    /* The snapshot has everything up to its index. */
    raft->disk.durable = max_u64(raft->disk.durable, index);
    raft->disk.handed = max_u64(raft->disk.handed, index);
    if (raft->disk.dirty_lo != 0 && raft->disk.dirty_lo <= index) {
        raft->disk.dirty_lo = index < raft->log.last ? index + 1 : 0;
    }
    raft->commit = max_u64(raft->commit, index);
    raft->applied = index;
    raft->apply_given = max_u64(raft->apply_given, index);
    raft_log_compact(raft, index);
}

/* The snapshot replaces the whole log. */
static void install_over_log(struct raft *raft, uint64_t index, uint64_t term)
{
    must(index > raft->commit);
    forget_durable(raft, raft->commit + 1);
    raft->log.run_count = 0;
    raft->log.base = index;
    raft->log.base_term = term;
    raft->log.last = index;
    raft->disk.durable = index;
    raft->disk.handed = index;
    raft->disk.dirty_lo = 0;
    raft->verified = 0;
    raft->outbox.ack_due = false; /* Its entries are gone. */
    raft->commit = index;
    raft->applied = index;
    raft->apply_given = index;
}

void raft_log_install(struct raft *raft, uint64_t index, uint64_t term,
                      const struct raft_conf *conf)
{
    must(index > raft->applied);
    /* Configurations behind the snapshot survive only with the suffix. */
    struct raft_conf_entry *kept = NULL;
    uint32_t kept_count = 0;
    bool matches = index <= raft->log.last && raft_term_at(raft, index) == term;
    if (matches) {
        uint32_t first = 0;
        while (first < raft->log.conf_count &&
               raft->log.confs[first].index <= index) {
            first++;
        }
        kept_count = raft->log.conf_count - first;
        kept = mem_alloc(kept_count * sizeof(*kept));
        memcpy(kept, raft->log.confs + first, kept_count * sizeof(*kept));
        install_below_suffix(raft, index);
    } else {
        install_over_log(raft, index, term);
    }
    must(raft->log.base == index && raft->log.base_term == term);
    must(raft->commit >= index && raft->disk.durable >= index);
    raft->log.conf_count = 0;
    push_conf(raft, index, conf);
    for (uint32_t i = 0; i < kept_count; i++) {
        push_conf(raft, kept[i].index, &kept[i].conf);
    }
    mem_free(kept);
    set_active(raft);
}

void raft_log_prune_confs(struct raft *raft)
{
    uint64_t applied = min_u64(raft->applied, raft->commit);
    uint32_t drop = 0;
    while (drop + 1 < raft->log.conf_count &&
           raft->log.confs[drop + 1].index <= applied) {
        drop++;
    }
    if (drop > 0) {
        raft->log.conf_count -= drop;
        memmove(raft->log.confs, raft->log.confs + drop,
                raft->log.conf_count * sizeof(raft->log.confs[0]));
    }
}

uint64_t raft_log_conf_index(const struct raft *raft)
{
    return raft->log.confs[raft->log.conf_count - 1].index;
}

const struct raft_conf *raft_conf_active(const struct raft *raft)
{
    return &raft->log.confs[raft->log.conf_count - 1].conf;
}

const struct raft_conf *raft_conf_committed(const struct raft *raft,
                                            uint64_t *index)
{
    uint32_t i = raft->log.conf_count - 1;
    while (raft->log.confs[i].index > raft->commit) {
        must(i > 0); /* The first one is committed: raft_log_prune_confs(). */
        i--;
    }
    *index = raft->log.confs[i].index;
    return &raft->log.confs[i].conf;
}

const struct raft_conf *raft_conf_at(const struct raft *raft, uint64_t index)
{
    for (uint32_t i = raft->log.conf_count; i > 0; i--) {
        if (raft->log.confs[i - 1].index == index && index > 0) {
            return &raft->log.confs[i - 1].conf;
        }
    }
    return NULL;
}
