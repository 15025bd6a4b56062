/* turn.c -- one turn: the engine's decisions become effects, in this order.
 *
 *     1 due timers; requests that waited; members that moved; reads ask for an
 *       index
 *     2 as long as something becomes durable: collect; send (appends leave
 *       before our own write: the disks of all nodes work in parallel);
 *       persist, with ONE fdatasync; tell the engine
 *     3 apply what is committed and durable here; commit SQLite now and then
 *     4 answer
 *
 * Where the log's files can (wal.h), the fdatasync goes on beside the turn, and
 * a later one, which its end wakes, tells the engine; what is to be persisted
 * meanwhile gathers. So do the syncs of a checkpoint (store.h), during which
 * nothing is applied. A disk that does not answer holds nobody but its node.
 *
 * node_step() is the only way into the engine, and keeps the payloads of what
 * the engine took into its log. */
#include "base/log.h"
#include "command/command.h"
#include "node/node_internal.h"

enum { COLLECTS_PER_TURN = 8 };

/* ---- into the engine ---- */

static void keep(struct node *node, uint64_t index, enum raft_entry_type type,
                 struct bytes payload)
{
    if (index <= node->entries.last) {
        requests_cut(node, index);
    }
    if (node->durable >= index) {
        node->durable = index - 1;
    }
    entries_put(&node->entries, index, raft_term_at(node->raft, index), type,
                payload);
}

/* An entry the engine made by itself. */
static void keep_own(struct node *node, uint64_t index)
{
    const struct raft_conf *conf = raft_conf_at(node->raft, index);
    if (!conf) {
        keep(node, index, RAFT_ENTRY_NOOP, (struct bytes){0});
        return;
    }
    node->conf_scratch.size = 0;
    wire_encode_conf(&node->conf_scratch, conf);
    keep(node, index, RAFT_ENTRY_CONF, buf_bytes(&node->conf_scratch));
}

/* Entries of a received append: their payloads are in node->wire_entries. */
static void keep_received(struct node *node, uint64_t index,
                          const struct raft_message *message)
{
    must(index > message->log_index);
    uint64_t place = index - message->log_index - 1;
    must(place < message->entry_count);
    const struct wire_entry *entry = &node->wire_entries[place];
    keep(node, index, entry->type, entry->payload);
}

enum err node_step(struct node *node, const struct raft_event *event,
                   struct bytes payload)
{
    enum err err = raft_step(node->raft, event);
    if (err) {
        return err;
    }
    uint64_t first;
    uint64_t last;
    raft_appended(node->raft, &first, &last);
    for (uint64_t i = first; i <= last; i++) {
        if (event->type == RAFT_PROPOSE) {
            keep(node, i, RAFT_ENTRY_NORMAL, payload);
        } else if (event->type == RAFT_MESSAGE &&
                   event->message->type == RAFT_MSG_APPEND) {
            keep_received(node, i, event->message);
        } else {
            keep_own(node, i);
        }
    }
    return ERR_OK;
}

enum err node_propose(struct node *node, struct bytes payload)
{
    struct raft_event event = {.type = RAFT_PROPOSE, .now_ms = node->now_ms};
    return node_step(node, &event, payload);
}

void node_tell(struct node *node, struct raft_event event)
{
    event.now_ms = node->now_ms;
    enum err err = node_step(node, &event, (struct bytes){0});
    must(err == ERR_OK);
}

/* ---- send ---- */

/* Entry `index` from memory, else from the log; an error when it is not to be
 * had now. `from_log` payloads lie in node->log_scratch until the next. */
static enum err fetch(struct node *node, uint64_t index, struct entry *entry)
{
    if (entries_get(&node->entries, index, entry)) {
        return ERR_OK;
    }
    struct wal_entry read;
    enum err err = wal_read(node->wal, index, &node->log_scratch, &read);
    if (err) {
        if (err == ERR_CORRUPT) {
            die("the log entry %llu can no longer be read",
                (unsigned long long)index);
        }
        return err;
    }
    *entry = (struct entry){.term = read.term,
                            .type = (enum raft_entry_type)read.type,
                            .payload = read.payload};
    return ERR_OK;
}

/* Gather entries lo.. for one append: as many as are worth one frame. What
 * comes from the log is copied aside, since only one entry at a time is
 * readable there. */
static uint32_t gather(struct node *node, uint64_t lo, uint64_t hi)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    node->scratch.size = 0;
    bool from_log = lo < node->entries.first;
    for (uint64_t i = lo; i <= hi && count < RAFT_APPEND_ENTRIES_MAX; i++) {
        struct entry entry;
        if ((i < node->entries.first) != from_log || fetch(node, i, &entry)) {
            break;
        }
        if (count > 0 && bytes + entry.payload.size > NODE_APPEND_BYTES) {
            break;
        }
        bytes += entry.payload.size;
        must(entry.term == raft_term_at(node->raft, i));
        if (from_log) {
            buf_add_bytes(&node->scratch, entry.payload);
        }
        node->wire_entries[count++] = (struct wire_entry){
            .term = entry.term, .type = entry.type, .payload = entry.payload};
    }
    if (from_log) {
        const uint8_t *at = node->scratch.data;
        for (uint32_t k = 0; k < count; k++) {
            node->wire_entries[k].payload.data = at;
            at += node->wire_entries[k].payload.size;
        }
    }
    return count;
}

static void send_appends(struct node *node,
                         const struct raft_append_offer *offer)
{
    uint64_t next = offer->next;
    for (int frame = 0; frame < NODE_CATCH_UP_FRAMES; frame++) {
        struct buf *out = node->env.output(node->env.self, offer->peer);
        if (!out) {
            return;
        }
        uint32_t count = gather(node, next, offer->last);
        if (count == 0 && next <= offer->last) {
            return;
        }
        struct raft_message message;
        if (!raft_make_append(node->raft, offer->peer, next, next + count - 1,
                              node->now_ms, &message)) {
            return;
        }
        must(message.entry_count == count);
        wire_add_raft(out, &message, node->wire_entries);
        next += count;
        if (next > offer->last) {
            return;
        }
    }
}

static void send_all(struct node *node)
{
    const struct raft_update *update = &node->update;
    for (uint32_t i = 0; i < update->message_count; i++) {
        const struct raft_message *message = &update->messages[i];
        struct buf *out = node->env.output(node->env.self, message->to);
        if (out) {
            wire_add_raft(out, message, NULL);
        }
    }
    for (uint32_t i = 0; i < update->offer_count; i++) {
        send_appends(node, &update->offers[i]);
    }
    if (update->message_count > 0 || update->offer_count > 0) {
        node->env.flush(node->env.self);
    }
}

/* ---- persist ---- */

static void write_batch(struct node *node, const struct raft_persist *persist)
{
    if (persist->hard) {
        wal_set_hard_state(node->wal, persist->term, persist->vote);
    }
    if (persist->truncate_from > 0 &&
        persist->truncate_from <= wal_last(node->wal)) {
        wal_truncate(node->wal, persist->truncate_from);
    }
    for (uint64_t i = persist->lo; i <= persist->hi; i++) {
        struct entry entry;
        bool there = entries_get(&node->entries, i, &entry);
        must(there);
        must(entry.term == raft_term_at(node->raft, i));
        struct wal_entry out = {.index = i,
                                .term = entry.term,
                                .type = (uint8_t)entry.type,
                                .payload = entry.payload};
        wal_append(node->wal, &out);
    }
}

static void log_is_full(struct node *node, enum err err)
{
    must(err_is_shortage(err));
    if (node->log_full != err) {
        log_error("no-space",
                  "what=log why=\"%s: writes are refused until "
                  "that is over\"",
                  err_name(err));
    }
    node->log_full = err;
    node->space_retry_ms = node->now_ms + NODE_SPACE_RETRY_MS;
}

static void log_has_room(struct node *node)
{
    if (node->log_full) {
        log_info("space-again", "what=log");
        node->log_full = ERR_OK;
    }
}

/* Since when the disk owes an answer; UINT64_MAX: it does not. */
static uint64_t owed_since_ms(const struct node *node)
{
    uint64_t log = node->persist_flying > 0 ? node->flying_ms : UINT64_MAX;
    uint64_t database =
        store_is_syncing(node->store) ? node->syncing_ms : UINT64_MAX;
    return min_u64(log, database);
}

/* True when what else would go to it had better wait: behind the many pages of
 * a checkpoint it would hold the loop, and a disk that is slow might not come
 * back at all. */
static bool disk_is_busy(const struct node *node)
{
    return store_is_syncing(node->store) ||
           (node->persist_flying > 0 &&
            node->now_ms >= node->flying_ms + NODE_DISK_SLOW_MS);
}

/* What cannot be applied is not to be written to the log either: for the engine
 * the disk is stuck, and who leads is another. */
static bool database_sticks(const struct node *node)
{
    return store_is_syncing(node->store) &&
           node->now_ms >= node->syncing_ms + node->options.election_min_ms;
}

static void tell_disk(struct node *node)
{
    uint64_t since_ms = owed_since_ms(node);
    bool stuck = since_ms != UINT64_MAX &&
                 node->now_ms >= since_ms + node->options.election_min_ms;
    if (stuck && !node->disk_stuck) {
        log_error("disk-stuck",
                  "what=%s ms=%llu why=\"the disk does not answer: nothing "
                  "is written, and this node does not lead\"",
                  database_sticks(node) ? "database" : "log",
                  (unsigned long long)(node->now_ms - since_ms));
        node->stuck_ms = since_ms;
    } else if (node->disk_stuck && !stuck) {
        log_info("disk-again", "ms=%llu",
                 (unsigned long long)(node->now_ms - node->stuck_ms));
    }
    node->disk_stuck = stuck;
}

/* True when what was started has become durable. When there was no space for
 * it the engine goes on without us and we try again: nothing of it has been
 * promised. */
static bool finish_sync(struct node *node)
{
    enum err err;
    if (node->persist_flying == 0 || !wal_finished(node->wal, false, &err)) {
        return false;
    }
    uint64_t seq = node->persist_flying;
    node->persist_flying = 0;
    if (err) {
        node->persist_due = max_u64(node->persist_due, seq);
        log_is_full(node, err);
        return false;
    }
    log_has_room(node);
    node_tell(node, (struct raft_event){.type = RAFT_PERSISTED, .seq = seq});
    /* The engine knows what has been replaced meanwhile, told or not. */
    node->durable = raft_durable(node->raft);
    must(node->durable <= wal_durable(node->wal));
    return true;
}

/* One batch at a time: what comes meanwhile is the next one. */
static bool start_sync(struct node *node)
{
    if (node->persist_due == 0 || node->persist_flying > 0 ||
        database_sticks(node) ||
        (node->log_full && node->now_ms < node->space_retry_ms)) {
        return false;
    }
    enum err err = wal_start(node->wal);
    if (err) {
        log_is_full(node, err);
        return false;
    }
    node->persist_flying = node->persist_due;
    node->persist_due = 0;
    node->flying_ms = node->now_ms;
    return true;
}

/* True when something became durable. */
static bool persist_all(struct node *node)
{
    const struct raft_persist *persist = &node->update.persist;
    if (persist->seq > 0) {
        write_batch(node, persist);
        node->persist_due = persist->seq;
    }
    bool finished = finish_sync(node);
    if (start_sync(node)) {
        /* It may have blocked, and be done. */
        finished = finish_sync(node) || finished;
    }
    return finished;
}

bool node_is_persisted(const struct node *node)
{
    return node->persist_due == 0 && node->persist_flying == 0;
}

/* ---- what else an update tells ------------------------------------------- */

static void tell_role(struct node *node)
{
    struct raft_status status;
    raft_get_status(node->raft, &status);
    const struct raft_member *leader = node_leader(node);
    log_info("role", "role=%s term=%llu leader=%s commit=%llu last=%llu",
             raft_role_name(status.role), (unsigned long long)status.term,
             leader ? leader->name : "-", (unsigned long long)status.commit,
             (unsigned long long)status.last);
}

static void tell_members(struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        log_info("member", "id=%s number=%llu addr=%s role=%s", member->name,
                 (unsigned long long)member->id, member->addr,
                 member->suffrage == RAFT_VOTER     ? "voter"
                 : member->suffrage == RAFT_LEARNER ? "learner"
                                                    : "observer");
    }
}

/* Who is to be dialled: all members, except a newcomer that may yet not have
 * been added at all. The first HELLO tells it its id for good, so the entry
 * that adds it must be committed before; it has no vote, and can wait. */
void node_set_members(struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    uint64_t commit = raft_commit(node->raft);
    struct raft_conf *known = &node->members;
    *known = (struct raft_conf){0};
    node->newcomer = 0;
    for (uint32_t i = 0; i < conf->count; i++) {
        const struct raft_member *member = &conf->members[i];
        if (member->suffrage == RAFT_VOTER || member->id <= commit) {
            known->members[known->count++] = *member;
        } else {
            node->newcomer = member->id; /* One change at a time. */
        }
    }
    node->env.set_members(node->env.self, known);
    starts_members_changed(node);
    if (!raft_conf_find(conf, node->outgoing.peer)) {
        snapshot_peer_down(node, node->outgoing.peer);
    }
}

/* A leader in a new term is a new one, even if it is the same node. */
static void count_leader(struct node *node)
{
    raft_id leader = raft_leader(node->raft);
    uint64_t term = raft_term(node->raft);
    if (leader != 0 &&
        (leader != node->leader_seen || term != node->leader_seen_term)) {
        node->metrics.leader_changes++;
        if (leader == node->ident.id) {
            node->leading_ms = node->now_ms;
        }
        node->leader_seen = leader;
        node->leader_seen_term = term;
    }
}

static void end_transfer(struct node *node, bool ok)
{
    struct node_request *request = node->transfer;
    node->transfer = NULL;
    node->transfer_asked = false;
    log_info("transfer", "outcome=%s", ok ? "done" : "failed");
    if (request) {
        request_finish(node, request,
                       ok ? NODE_OK : request_transfer_failed(node),
                       raft_commit(node->raft));
    }
}

static void note(struct node *node)
{
    const struct raft_update *update = &node->update;
    if (update->apply_hi >= update->apply_lo) {
        must(update->apply_lo == node->apply_to + 1);
        node->apply_to = update->apply_hi;
    }
    if (update->read_cookie > 0) {
        requests_reads_indexed(node, update->read_cookie, update->read_index);
    }
    if (update->read_failed > 0) {
        requests_reads_failed(node);
    }
    if (update->role_changed) {
        tell_role(node);
        node->said_news = true;
        count_leader(node);
        requests_leader_changed(node);
    }
    if (update->conf_changed) {
        node->said_news = true;
        tell_members(node);
    }
    if (update->conf_changed ||
        (node->newcomer != 0 && raft_commit(node->raft) >= node->newcomer)) {
        node_set_members(node);
    }
    if (update->snapshot_peer != 0) {
        snapshot_wanted(node, update->snapshot_peer);
    }
    if (update->transfer_done) {
        end_transfer(node, update->transfer_ok);
    }
}

/* True when there may be more to do than one turn should. */
static bool carry_out(struct node *node)
{
    for (int i = 0; i < COLLECTS_PER_TURN; i++) {
        raft_collect(node->raft, &node->update);
        send_all(node);
        bool persisted = persist_all(node);
        note(node);
        if (!persisted) {
            return false;
        }
    }
    return true;
}

/* ---- apply ---- */

enum err node_apply(struct store *store, uint64_t index,
                    const struct entry *entry, struct store_result *result)
{
    switch (entry->type) {
    case RAFT_ENTRY_NORMAL:
        return store_apply(store, index, entry->term, entry->payload, result);
    case RAFT_ENTRY_NOOP:
        return store_apply_noop(store, index, entry->term);
    case RAFT_ENTRY_CONF:
        return store_apply_conf(store, index, entry->term, entry->payload);
    }
    return ERR_VERSION;
}

static void refuse_to_apply(struct node *node, uint64_t index, enum err err)
{
    if (err_is_shortage(err)) {
        if (!node->db_full_told) {
            log_error("no-space", "what=database index=%llu why=\"%s\"",
                      (unsigned long long)index, err_name(err));
        }
        node->db_full = err;
        node->db_full_told = true;
        /* What is committed moves into the database: then its -wal begins anew
         * in the space that it has. */
        node->checkpoint_wanted = true;
        node->space_retry_ms = node->now_ms + NODE_SPACE_RETRY_MS;
        return;
    }
    /* Skipping it would make this node differ from the others for ever. */
    die("entry %llu cannot be applied: %s", (unsigned long long)index,
        err_name(err));
}

/* True when there is more to apply than one turn may do. */
static bool apply_some(struct node *node)
{
    uint64_t applied = store_applied(node->store);
    uint64_t start = applied;
    uint64_t bytes = 0;
    uint64_t until_us = node->env.now_us(node->env.self) + NODE_APPLY_US;
    if (node->db_full && node->now_ms < node->space_retry_ms) {
        return false;
    }
    node->db_full = ERR_OK;
    while (applied < node->apply_to && applied - start < NODE_APPLY_ENTRIES &&
           bytes < NODE_APPLY_BYTES) {
        struct entry entry;
        struct store_result result = {0};
        enum err err = fetch(node, applied + 1, &entry);
        if (err && !err_is_shortage(err)) {
            die("committed entry %llu cannot be read from the log: %s",
                (unsigned long long)applied + 1, err_name(err));
        }
        if (!err) {
            err = node_apply(node->store, applied + 1, &entry, &result);
        }
        if (err) {
            refuse_to_apply(node, applied + 1, err);
            break;
        }
        applied++;
        node->writes += entry.type == RAFT_ENTRY_NORMAL;
        bytes += entry.payload.size + result.data.size;
        requests_applied(node, applied, entry.term, &result);
        /* Each time: one entry may have thousands of operations. On a full
         * disk each is committed by itself, in as little of the -wal as
         * possible. */
        if (node->env.now_us(node->env.self) >= until_us ||
            node->db_full_told) {
            break;
        }
    }
    if (applied > start) {
        node->applied_ms = node->now_ms;
        node->shown = max_u64(node->shown, applied);
        node->unflushed_bytes += bytes;
        if (node->unflushed_ms == 0) {
            node->unflushed_ms = node->now_ms;
        }
        node_tell(node,
                  (struct raft_event){.type = RAFT_APPLIED, .index = applied});
    }
    return applied < node->apply_to && !node->db_full;
}

/* What one turn did took so long: how much the next one may do. Depends on how
 * large the database is, and how fast its disk. */
static uint64_t adapt(uint64_t took_us, uint64_t amount, uint64_t least,
                      uint64_t most)
{
    if (took_us > NODE_HEAVY_US) {
        amount /= 2;
    } else if (took_us < NODE_LIGHT_US) {
        amount += amount / 4;
    }
    return min_u64(max_u64(amount, least), most);
}

static bool checkpoint_due(const struct node *node)
{
    uint64_t bytes = store_checkpoint_bytes(node->store);
    return store_pending(node->store) == 0 && bytes > 0 &&
           node->now_ms >= node->checkpoint_retry_ms &&
           (bytes >= node->checkpoint_bytes || node->checkpoint_wanted ||
            (node->scarce && bytes >= NODE_CHECKPOINT_BYTES_MIN));
}

static void checkpointed(struct node *node)
{
    node->checkpointing = false;
    node->checkpoint_short = store_checkpoint_bytes(node->store) > 0;
    node->checkpoint_wanted = node->checkpoint_short;
    if (node->checkpoint_short) {
        node->checkpoint_retry_ms = node->now_ms + NODE_SPACE_RETRY_MS;
        if (!node->db_full_told) {
            log_error("no-space", "what=database why=\"it cannot grow: writes "
                                  "are refused\"");
            node->db_full_told = true;
        }
        if (wal_release_reserve(node->wal)) {
            node->checkpoint_retry_ms = node->now_ms; /* Into its space. */
        }
    }
    if (node->checkpoint_us > 2 * NODE_HEAVY_US) {
        /* It cannot be less than one transaction wrote. */
        node->flush_entries =
            max_u64(node->flush_entries / 2, NODE_FLUSH_ENTRIES_MIN);
    }
    if (node->options.checkpoint_bytes == 0) {
        node->checkpoint_bytes =
            adapt(node->checkpoint_us, node->checkpoint_bytes,
                  NODE_CHECKPOINT_BYTES_MIN, NODE_CHECKPOINT_BYTES_MAX);
    }
    node->checkpoint_us = 0;
}

/* Bring SQLite's -wal into its database, a step each turn. What it costs is the
 * turns' time, and part of that of the syncs beside them. True while it goes
 * on: then nothing is applied. */
static bool checkpoint_some(struct node *node)
{
    if (!node->checkpointing && !checkpoint_due(node)) {
        if (store_pending(node->store) == 0 &&
            store_checkpoint_bytes(node->store) == 0) {
            node->checkpoint_wanted = false; /* There is nothing to bring. */
        }
        return false;
    }
    bool was_syncing = store_is_syncing(node->store);
    uint64_t start_us = node->env.now_us(node->env.self);
    node->checkpointing = store_checkpoint_step(node->store);
    uint64_t end_us = node->env.now_us(node->env.self);
    node->checkpoint_us = max_u64(node->checkpoint_us, end_us - start_us);
    if (!was_syncing) {
        node->syncing_us = end_us; /* If it has begun one. */
        node->syncing_ms = node->now_ms;
    } else if (!store_is_syncing(node->store)) {
        node->checkpoint_us =
            max_u64(node->checkpoint_us,
                    (end_us - node->syncing_us) / NODE_SYNC_PATIENCE);
    }
    if (!node->checkpointing) {
        checkpointed(node);
    }
    return node->checkpointing;
}

/* Commit SQLite's transaction when it is long, old, in a checkpoint's way, or
 * nothing happens. */
static void flush_some(struct node *node)
{
    uint64_t pending = store_pending(node->store);
    if (pending == 0) {
        node->unflushed_ms = 0;
        node->unflushed_bytes = 0;
        return;
    }
    if (pending < node->flush_entries && !node->checkpoint_wanted &&
        node->unflushed_bytes <
            (node->scarce ? NODE_SCARCE_FLUSH_BYTES : NODE_FLUSH_BYTES) &&
        node->now_ms < node->applied_ms + NODE_FLUSH_QUIET_MS &&
        node->now_ms < node->unflushed_ms + NODE_FLUSH_AFTER_MS) {
        return;
    }
    uint64_t start_us = node->env.now_us(node->env.self);
    enum err err = store_flush(node->store);
    uint64_t took_us = node->env.now_us(node->env.self) - start_us;
    if (pending >= node->flush_entries || took_us > NODE_HEAVY_US) {
        node->flush_entries =
            adapt(took_us, min_u64(pending, node->flush_entries),
                  NODE_FLUSH_ENTRIES_MIN, NODE_FLUSH_ENTRIES_MAX);
    }
    if (err) {
        refuse_to_apply(node, store_applied(node->store) + 1, err);
    }
    space_log_database(node);
    node->unflushed_ms = 0;
    node->unflushed_bytes = 0;
    node_check_quota(node);
    wal_hint(node->wal);
}

/* ---- the turn ---- */

static void ask_whether_ready(struct node *node)
{
    if (!node->ready && node->ready_probe.state == STATE_IDLE &&
        raft_leader(node->raft) != 0) {
        node->ready_probe.deadline_ms = node->now_ms + 10000;
        node_read(node, &node->ready_probe);
    }
}

/* Row versions are counted from the first version 2 command on (store.h). A
 * cluster of one has nobody of an older build to wait for, and begins at once;
 * a larger one that was upgraded begins with the first such write. */
static void begin_to_count(struct node *node)
{
    if (store_counts(node->store) || !raft_is_leader(node->raft) ||
        node->counting_term == raft_term(node->raft) ||
        raft_conf_active(node->raft)->count != 1 || node_shortage(node)) {
        return;
    }
    struct command_name nobody = {{0}, 0};
    struct command_txn txn;
    struct command_writer list;
    node->conf_scratch.size = 0;
    command_txn(&txn, &node->conf_scratch, &nobody, false);
    for (int i = 0; i < 2; i++) { /* No conditions, no operations. */
        command_list(&list, &node->conf_scratch);
        command_end(&list);
    }
    if (node_propose(node, buf_bytes(&node->conf_scratch)) == ERR_OK) {
        node->counting_term = raft_term(node->raft);
    }
}

/* What a restore has replaced, a slice now and then: checkpoints of what it
 * changes would take all of the disk. */
static void sweep_some(struct node *node)
{
    if (node->now_ms < node->waste_ms || node->checkpointing || node->db_full) {
        return;
    }
    enum err err = store_sweep(node->store);
    node->waste_ms = err == ERR_NOT_FOUND ? 0 : node->now_ms + NODE_WASTE_MS;
    if (err_is_shortage(err)) {
        refuse_to_apply(node, store_applied(node->store) + 1, err);
    } else if (!err && store_pending(node->store) > 0) {
        node->unflushed_bytes += NODE_WASTE_BYTES;
    } else if (err == ERR_NOT_FOUND && node->over_quota) {
        node_check_quota(node);
    }
}

static void due(struct node *node)
{
    if (node->now_ms > node->turn_ms + node->options.election_min_ms &&
        node->now_ms >
            raft_deadline_ms(node->raft) + node->options.election_min_ms) {
        log_warn("gap", "ms=%llu why=\"the process did not run\"",
                 (unsigned long long)(node->now_ms - node->turn_ms));
        node_tell(node, (struct raft_event){.type = RAFT_GAP});
    }
    node->turn_ms = node->now_ms;
    if (node->now_ms >= raft_deadline_ms(node->raft)) {
        node_tell(node, (struct raft_event){.type = RAFT_TICK});
    }
}

static uint64_t next_deadline(const struct node *node, bool more)
{
    /* What waits for the disk goes on when that is back. */
    bool busy = node->member && disk_is_busy(node);
    bool wanted = node->checkpoint_wanted && !busy && !node->db_full &&
                  node->now_ms >= node->checkpoint_retry_ms;
    if (more || wanted || !list_empty(&node->requests[STATE_DONE]) ||
        (node->env.fs->has_ended &&
         node->env.fs->has_ended(node->env.fs->self))) {
        return 0;
    }
    uint64_t at = node->member ? raft_deadline_ms(node->raft) : UINT64_MAX;
    if (node->bootstrap_at_ms > 0) {
        at = min_u64(at, node->bootstrap_at_ms);
    }
    if (requests_any(node)) {
        at = min_u64(at, node->sweep_ms);
    }
    if (node->ask_again_ms > 0) {
        at = min_u64(at, node->ask_again_ms);
    }
    at = min_u64(at, snapshot_deadline_ms(node));
    uint64_t owed_ms = node->member ? owed_since_ms(node) : UINT64_MAX;
    if (owed_ms != UINT64_MAX && !node->disk_stuck) {
        at = min_u64(at, owed_ms + node->options.election_min_ms);
    }
    if (busy) {
        return at;
    }
    if (node->member) {
        at = min_u64(at, space_deadline_ms(node));
        at = min_u64(at, restore_deadline_ms(node));
    }
    if (node->waste_ms > 0 && !node->db_full) {
        at = min_u64(at, node->waste_ms);
    }
    if (node->member && store_pending(node->store) > 0) {
        at = min_u64(at, node->applied_ms + NODE_FLUSH_QUIET_MS);
    }
    return at;
}

uint64_t node_turn(struct node *node)
{
    node->now_ms = node->env.now_ms(node->env.self);
    bool more = false;
    node_bootstrap_when_due(node);
    if (node->member) {
        due(node);
        ask_whether_ready(node);
        begin_to_count(node);
        restore_watch(node);
        requests_submit(node);
        address_follow(node);
        requests_ask_reads(node);
        if (store_is_syncing(node->store)) {
            (void)checkpoint_some(node); /* It may have ended. */
        }
        more = carry_out(node);
        removed_look(node);
        quarantine_look(node);
        bool checkpointing =
            disk_is_busy(node) ? node->checkpointing : checkpoint_some(node);
        bool busy = disk_is_busy(node);
        if (!checkpointing && !busy) {
            requests_checkpointed(node);
        }
        snapshot_send(node);
        space_check(node);
        if (!more && !busy && node_is_persisted(node)) {
            snapshot_install(node);
        }
        bool applying = !checkpointing && apply_some(node);
        more = (checkpointing && !busy) || applying || more;
        if (!more && !busy) {
            more = compact_log(node);
        }
        /* Before reads are released: on a full disk SQLite goes back to its
         * last commit, and must not be read before it has come forward. */
        if (!busy) {
            flush_some(node);
        }
        requests_release_reads(node);
        entries_trim(&node->entries, node->durable);
        if (!busy && space_prepare_log(node)) {
            more = true; /* It is needed soonest when there is most to do. */
        }
        if (!more && !busy) {
            more = space_prepare(node);
        }
        sweep_some(node);
        tell_disk(node);
    }
    requests_expire(node);
    requests_call_back(node);
    return next_deadline(node, more);
}

/* ---- stopping -------------------------------------------------------------
 */

static bool another_voter(const struct node *node)
{
    const struct raft_conf *conf = raft_conf_active(node->raft);
    const struct raft_member *self = raft_conf_find(conf, node->ident.id);
    uint32_t others = raft_conf_voters(conf);
    if (self && self->suffrage == RAFT_VOTER) {
        others--;
    }
    return others > 0;
}

void node_stop(struct node *node)
{
    bool first = !node->stopping;
    node->stopping = true;
    node->stopping_ms =
        first ? node->env.now_ms(node->env.self) : node->stopping_ms;
    if (!node->member || !raft_is_leader(node->raft) || !another_voter(node) ||
        node->transfer_asked) {
        return;
    }
    node->now_ms = node->env.now_ms(node->env.self);
    struct raft_event event = {.type = RAFT_TRANSFER, .now_ms = node->now_ms};
    enum err err = node_step(node, &event, (struct bytes){0});
    if (err) {
        if (first) {
            log_warn("transfer", "why=\"%s\"", err_name(err));
        }
        return;
    }
    node->transfer_asked = true;
}

bool node_stopped(const struct node *node)
{
    must(node->stopping);
    if (!node->member) {
        return true;
    }
    if (raft_is_leader(node->raft) && another_voter(node)) {
        return false;
    }
    return list_empty(&node->requests[STATE_PROPOSED]) &&
           list_empty(&node->requests[STATE_FORWARDED]) &&
           list_empty(&node->requests[STATE_DONE]);
}
