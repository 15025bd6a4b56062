/* log.c -- the log as the engine sees it: no payloads, only which term each
 * index has (as runs: a leader's reign is one run) and which configuration
 * entries there are. The configuration in force is a function of the log
 * (thesis 4.1: "a server always uses the latest configuration in its log"),
 * so truncating the log is all it takes to fall back. */
#include "raft/raft_internal.h"

static void set_active(struct raft *raft)
{
    raft_peers_sync(raft);
    raft->out_conf_changed = true;
}

static void push_conf(struct raft *raft, uint64_t index,
                      const struct raft_conf *conf)
{
    if (raft->conf_count == raft->conf_capacity) {
        raft->conf_capacity = raft->conf_capacity ? raft->conf_capacity * 2 : 4;
        raft->confs = mem_realloc(raft->confs,
                                  raft->conf_capacity * sizeof(raft->confs[0]));
    }
    struct raft_conf_entry *entry = &raft->confs[raft->conf_count];
    memset(entry, 0, sizeof(*entry));
    entry->index = index;
    if (conf) {
        entry->conf = *conf;
    }
    raft->conf_count++;
}

static void push_run(struct raft *raft, uint64_t first, uint64_t term)
{
    if (raft->run_count == raft->run_capacity) {
        raft->run_capacity = raft->run_capacity ? raft->run_capacity * 2 : 16;
        raft->runs =
            mem_realloc(raft->runs, raft->run_capacity * sizeof(raft->runs[0]));
    }
    raft->runs[raft->run_count] = (struct raft_run){first, term};
    raft->run_count++;
}

void raft_log_open(struct raft *raft, const struct raft_boot *boot)
{
    must(boot->base <= boot->applied && boot->applied <= boot->last);
    raft->base = boot->base;
    raft->base_term = boot->base_term;
    raft->last = boot->last;
    raft->durable = boot->last;
    raft->handed = boot->last;
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

    /* Before any configuration there is the empty one: such a node waits to
     * be told. */
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
    must(index >= raft->base && index <= raft->last);
    if (index == raft->base) {
        return raft->base_term;
    }
    uint32_t lo = 0;
    uint32_t hi = raft->run_count; /* runs[lo].first <= index < runs[hi] */
    while (hi - lo > 1) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (raft->runs[middle].first <= index) {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    must(raft->runs[lo].first <= index);
    return raft->runs[lo].term;
}

uint64_t raft_log_find(const struct raft *raft, uint64_t index, uint64_t term)
{
    index = min_u64(index, raft->last);
    if (index <= raft->base) {
        return raft->base;
    }
    for (uint32_t i = raft->run_count; i > 0; i--) {
        const struct raft_run *run = &raft->runs[i - 1];
        if (run->first > index) {
            continue;
        }
        if (run->term <= term) {
            return index;
        }
        index = run->first - 1;
    }
    return raft->base;
}

void raft_log_append(struct raft *raft, uint64_t term,
                     enum raft_entry_type type, const struct raft_conf *conf)
{
    uint64_t last_term = raft_term_at(raft, raft->last);
    must(term >= last_term && term <= raft->term);
    must((type == RAFT_ENTRY_CONF) == (conf != NULL));

    uint64_t index = raft->last + 1;
    if (raft->run_count == 0 || term != last_term) {
        push_run(raft, index, term);
    }
    raft->last = index;
    if (raft->dirty_lo == 0) {
        raft->dirty_lo = index;
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

/* What is said to be durable, or on its way to be, must not speak of entries
 * that have been replaced since: the same index may come back with the same
 * term, and an old completion must not vouch for the new copy. */
static void forget_durable(struct raft *raft, uint64_t from)
{
    raft->durable = min_u64(raft->durable, from - 1);
    for (uint32_t i = 0; i < raft->op_count; i++) {
        struct raft_op *op = &raft->ops[(raft->op_head + i) % RAFT_OPS_MAX];
        op->hi = min_u64(op->hi, from - 1);
    }
}

void raft_log_truncate(struct raft *raft, uint64_t from)
{
    must(raft->role != RAFT_LEADER);
    must(from > raft->commit && from > raft->apply_given);
    must(from > raft->base && from <= raft->last);

    raft->last = from - 1;
    while (raft->run_count > 0 &&
           raft->runs[raft->run_count - 1].first >= from) {
        raft->run_count--;
    }
    if (raft->dirty_lo == 0 || from < raft->dirty_lo) {
        raft->dirty_lo = from;
    }
    forget_durable(raft, from);
    raft->verified = min_u64(raft->verified, raft->last);

    bool conf_dropped = false;
    while (raft_log_conf_index(raft) >= from) {
        must(raft->conf_count > 1);
        raft->conf_count--;
        conf_dropped = true;
    }
    if (conf_dropped) {
        set_active(raft);
    }
}

void raft_log_compact(struct raft *raft, uint64_t index)
{
    if (index <= raft->base) {
        return;
    }
    must(index <= raft->applied && index <= raft->durable);
    raft->base_term = raft_term_at(raft, index);
    raft->base = index;
    uint32_t drop = 0;
    while (drop + 1 < raft->run_count &&
           raft->runs[drop + 1].first <= index + 1) {
        drop++;
    }
    if (index == raft->last) {
        drop = raft->run_count;
    }
    raft->run_count -= drop;
    memmove(raft->runs, raft->runs + drop,
            raft->run_count * sizeof(raft->runs[0]));
    if (raft->run_count > 0 && raft->runs[0].first <= index) {
        raft->runs[0].first = index + 1;
    }
}

void raft_log_install(struct raft *raft, uint64_t index, uint64_t term,
                      const struct raft_conf *conf)
{
    must(index > raft->applied);
    /* Configurations behind the snapshot survive only with the suffix. */
    struct raft_conf_entry *kept = NULL;
    uint32_t kept_count = 0;
    bool matches = index <= raft->last && raft_term_at(raft, index) == term;
    if (matches) {
        uint32_t first = 0;
        while (first < raft->conf_count && raft->confs[first].index <= index) {
            first++;
        }
        kept_count = raft->conf_count - first;
        kept = mem_alloc(kept_count * sizeof(*kept));
        memcpy(kept, raft->confs + first, kept_count * sizeof(*kept));
        /* The snapshot vouches for everything up to its index. */
        raft->durable = max_u64(raft->durable, index);
        raft->handed = max_u64(raft->handed, index);
        if (raft->dirty_lo != 0 && raft->dirty_lo <= index) {
            raft->dirty_lo = index < raft->last ? index + 1 : 0;
        }
        raft->commit = max_u64(raft->commit, index);
        raft->applied = index;
        raft->apply_given = max_u64(raft->apply_given, index);
        raft_log_compact(raft, index);
    } else {
        must(index > raft->commit);
        forget_durable(raft, raft->commit + 1);
        raft->run_count = 0;
        raft->base = index;
        raft->base_term = term;
        raft->last = index;
        raft->durable = index;
        raft->handed = index;
        raft->dirty_lo = 0;
        raft->verified = 0;
        raft->ack_due = false; /* It would speak of entries that are gone. */
        raft->commit = index;
        raft->applied = index;
        raft->apply_given = index;
    }
    raft->conf_count = 0;
    push_conf(raft, index, conf);
    for (uint32_t i = 0; i < kept_count; i++) {
        push_conf(raft, kept[i].index, &kept[i].conf);
    }
    mem_free(kept);
    set_active(raft);
}

void raft_log_prune_confs(struct raft *raft)
{
    uint64_t settled = min_u64(raft->applied, raft->commit);
    uint32_t drop = 0;
    while (drop + 1 < raft->conf_count &&
           raft->confs[drop + 1].index <= settled) {
        drop++;
    }
    if (drop > 0) {
        raft->conf_count -= drop;
        memmove(raft->confs, raft->confs + drop,
                raft->conf_count * sizeof(raft->confs[0]));
    }
}

uint64_t raft_log_conf_index(const struct raft *raft)
{
    return raft->confs[raft->conf_count - 1].index;
}

const struct raft_conf *raft_conf_active(const struct raft *raft)
{
    return &raft->confs[raft->conf_count - 1].conf;
}

const struct raft_conf *raft_conf_committed(const struct raft *raft,
                                            uint64_t *index)
{
    uint32_t i = raft->conf_count - 1;
    while (raft->confs[i].index > raft->commit) {
        must(i > 0); /* The first one is committed: raft_log_prune_confs(). */
        i--;
    }
    *index = raft->confs[i].index;
    return &raft->confs[i].conf;
}

const struct raft_conf *raft_conf_at(const struct raft *raft, uint64_t index)
{
    for (uint32_t i = raft->conf_count; i > 0; i--) {
        if (raft->confs[i - 1].index == index && index > 0) {
            return &raft->confs[i - 1].conf;
        }
    }
    return NULL;
}
