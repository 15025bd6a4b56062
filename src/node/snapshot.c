/* snapshot.c -- sends the database to a follower whose next entries are no
 * longer in the log.
 *
 * The leader's side: one transfer at a time. The image is that of the last
 * checkpoint, and the log keeps all entries after it. A window of pieces is in
 * flight, so heartbeats and appends to the same peer wait for a megabyte at
 * most. After a failure the engine is notified, and asks again after a while.
 *
 * The follower's side: pieces go into the files of the next generation. The
 * last one makes the snapshot whole. It is put in place at the end of a turn
 * in which no disk operation is outstanding:
 *     1 the new database is opened and compared with the promised index
 *     2 db/CURRENT names it, with index and term: from here on it is valid
 *     3 the log is reset to start behind it, unless it holds that very entry
 *     4 the engine is notified; the old files are deleted
 * A crash between 2 and 3 is finished at the next start (recovery.c). */
#include "base/crc32c.h"
#include "base/log.h"
#include "node/node_internal.h"
#include "node/phases_internal.h"
#include "node/request_internal.h"
#include "node/snapshot_internal.h"
#include "node/space_internal.h"

enum {
    PIECE_BYTES = 256 << 10,
    WINDOW_PIECES = 4,
    STALL_MS = 10000,
    LOG_BYTES_MAX = 256 << 20, /* Or twice the image. */
    PIN_MS = 60000,
    RETRY_MS = 1000,
    RETRY_MS_MAX = 60000,
};
/* Entries that a snapshot beyond RAFT_NUMBER_SOUND may be ahead of the log:
 * more than a cluster writes while a node is away. */
#define INDEX_STEP_MAX ((uint64_t)1 << 40)

static uint64_t piece_bytes(const struct node *node)
{
    return node->options.snapshot_piece_bytes
               ? node->options.snapshot_piece_bytes
               : PIECE_BYTES;
}

/* Bytes of the log that are kept for a transfer, and until its receiver has
 * caught up. */
static uint64_t log_bytes_max(uint64_t image_bytes)
{
    return max_u64(LOG_BYTES_MAX, 2 * image_bytes);
}

/* ---- the leader ---- */

/* End the transfer. `why`: a failure; NULL: the snapshot is in place there. */
static void finish_sending(struct node *node, const char *why)
{
    struct outgoing out = node->snapshot.outgoing;
    must(out.peer != 0 && out.image != NULL);
    must(out.acked <= out.image->at && out.image->at <= out.image->bytes);
    uint64_t index = out.image->index;
    uint64_t bytes = out.image->bytes;
    uint64_t sent = out.image->at;
    store_image_close(out.image);
    node->snapshot.outgoing = (struct outgoing){0};
    struct raft_event over = {
        .type = RAFT_SNAPSHOT_SENT, .peer = out.peer, .index = index};
    if (why) {
        log_warn("snapshot", "to=%llu index=%llu sent=%llu of=%llu why=\"%s\"",
                 (unsigned long long)out.peer, (unsigned long long)index,
                 (unsigned long long)sent, (unsigned long long)bytes, why);
        uint64_t wait = max_u64(2 * node->snapshot.wait_ms, RETRY_MS);
        node->snapshot.wait_ms = min_u64(wait, RETRY_MS_MAX);
        node->snapshot.at_ms = node->now_ms + node->snapshot.wait_ms;
        over.type = RAFT_SNAPSHOT_FAILED;
        node->metrics.snapshots_unsent++;
    } else {
        node->metrics.snapshots_sent++;
        log_info("snapshot-sent", "to=%llu index=%llu bytes=%llu",
                 (unsigned long long)out.peer, (unsigned long long)index,
                 (unsigned long long)bytes);
        node->snapshot.wait_ms = 0;
        node->compact.pin = (struct pin){.peer = out.peer,
                                         .index = index,
                                         .until_ms = node->now_ms + PIN_MS,
                                         .log_bytes_max = log_bytes_max(bytes)};
    }
    node_notify_engine(node, over);
}

void snapshot_wanted(struct node *node, raft_id peer)
{
    struct store_image *image;
    must(peer != 0 && peer != node->ident.id);
    /* One transfer at a time, and a pause after a failure. */
    enum err err =
        node->snapshot.outgoing.peer != 0 || node->now_ms < node->snapshot.at_ms
            ? ERR_BUSY
            : store_image_open(node->store, &image);
    if (err) {
        if (err == ERR_BUSY && node->snapshot.outgoing.peer == 0) {
            node->snapshot.refused_ms = node->now_ms;
        }
        node_notify_engine(
            node,
            (struct raft_event){.type = RAFT_SNAPSHOT_FAILED, .peer = peer});
        return;
    }
    node->snapshot.outgoing = (struct outgoing){
        .peer = peer, .image = image, .progress_ms = node->now_ms};
    log_info("snapshot", "to=%llu index=%llu bytes=%llu",
             (unsigned long long)peer, (unsigned long long)image->index,
             (unsigned long long)image->bytes);
}

static void drop_arriving(struct node *node)
{
    store_incoming_free(node->snapshot.arriving.files);
    node->snapshot.arriving = (struct arriving){0};
}

void snapshot_peer_down(struct node *node, raft_id peer)
{
    /* A link without a known peer (0) has no transfer. */
    if (peer != 0 && node->snapshot.outgoing.peer == peer) {
        finish_sending(node, "the link is down");
    }
    if (node->snapshot.arriving.files && node->snapshot.arriving.from == peer &&
        node->snapshot.arriving.have < node->snapshot.arriving.total) {
        drop_arriving(node);
    }
}

bool snapshot_on_resp(struct node *node, raft_id from,
                      const struct wire_snapshot_resp *resp)
{
    struct outgoing *out = &node->snapshot.outgoing;
    if (out->peer != from || resp->index != out->image->index) {
        return true; /* It answers an earlier transfer. */
    }
    switch (resp->state) {
    case WIRE_SNAPSHOT_DONE:
        finish_sending(node, NULL);
        return true;
    case WIRE_SNAPSHOT_FAILED:
        finish_sending(node, "the receiver has aborted it");
        return true;
    case WIRE_SNAPSHOT_GO_ON:
        break;
    }
    if (resp->have > out->acked && resp->have <= out->image->at) {
        out->acked = resp->have;
        out->progress_ms = node->now_ms;
    }
    return true;
}

/* False when the peer's queue is full. */
static bool send_piece(struct node *node)
{
    struct outgoing *out = &node->snapshot.outgoing;
    struct buf *queue = transport_output(&node->env.transport, out->peer);
    if (!queue) {
        return false;
    }
    uint64_t offset = out->image->at;
    must(out->acked <= offset && offset < out->image->bytes);
    size_t size =
        (size_t)min_u64(piece_bytes(node), out->image->bytes - offset);
    node->scratch.pieces.size = 0;
    uint8_t *data = buf_reserve(&node->scratch.pieces, size);
    if (store_image_read(out->image, data, size)) {
        finish_sending(node, "the database cannot be read");
        return false;
    }
    out->crc = crc32c(out->crc, data, size);
    wire_add_snapshot(queue, &(struct wire_snapshot){
                                 .term = raft_term(node->raft),
                                 .index = out->image->index,
                                 .index_term = out->image->term,
                                 .total = out->image->bytes,
                                 .offset = offset,
                                 .crc = out->crc,
                                 .data = bytes_of(data, size),
                             });
    return true;
}

void snapshot_send(struct node *node)
{
    struct outgoing *out = &node->snapshot.outgoing;
    if (out->peer == 0) {
        return;
    }
    if (!raft_is_leader(node->raft)) {
        finish_sending(node, "not the leader any more");
        return;
    }
    if (node->now_ms >= out->progress_ms + STALL_MS) {
        finish_sending(node, "no answer");
        return;
    }
    struct wal_stats log;
    wal_get_stats(node->wal, &log);
    if (log.log_bytes > log_bytes_max(out->image->bytes)) {
        finish_sending(node, "writes outran it");
        return;
    }
    bool any = false;
    while (out->peer != 0 && out->image->at < out->image->bytes &&
           out->image->at - out->acked < WINDOW_PIECES * piece_bytes(node) &&
           send_piece(node)) {
        any = true;
    }
    if (any) {
        transport_flush(&node->env.transport);
    }
}

uint64_t snapshot_deadline_ms(const struct node *node)
{
    uint64_t at = node->snapshot.outgoing.peer
                      ? node->snapshot.outgoing.progress_ms + STALL_MS
                      : UINT64_MAX;
    /* A whole snapshot is waiting to be put in place. */
    return node->snapshot.arriving.files &&
                   node->snapshot.arriving.have == node->snapshot.arriving.total
               ? min_u64(at, node->now_ms + 50)
               : at;
}

/* ---- the follower ---- */

static void send_answer(struct node *node, raft_id to, uint64_t index,
                        uint64_t have, enum wire_snapshot_state state)
{
    struct buf *queue = transport_output(&node->env.transport, to);
    if (!queue) {
        return; /* The sender has a time-out. */
    }
    wire_add_snapshot_resp(queue, &(struct wire_snapshot_resp){.index = index,
                                                               .have = have,
                                                               .state = state});
    transport_flush(&node->env.transport);
}

static bool start_arriving(struct node *node, raft_id from,
                           const struct wire_snapshot *piece)
{
    drop_arriving(node);
    struct store_incoming *files;
    enum err err = store_incoming_new(node->store, &files);
    if (err) {
        log_warn("snapshot", "from=%llu why=\"%s\"", (unsigned long long)from,
                 err_name(err));
        return false;
    }
    node->snapshot.arriving = (struct arriving){.files = files,
                                                .from = from,
                                                .index = piece->index,
                                                .term = piece->index_term,
                                                .total = piece->total};
    log_info("snapshot", "from=%llu index=%llu bytes=%llu",
             (unsigned long long)from, (unsigned long long)piece->index,
             (unsigned long long)piece->total);
    return true;
}

/* An index far beyond that of any leader would leave none for what follows it.
 * A node without a log accepts it: in its cluster it is true, and there is
 * nothing to lose. */
static bool index_is_near(const struct node *node, uint64_t index)
{
    uint64_t last = raft_last(node->raft);
    return last == 0 ||
           index <= max_u64(RAFT_NUMBER_SOUND, last + INDEX_STEP_MAX);
}

/* True for a piece of this term's leader. A leader sends snapshots only after
 * an answer of this node in its term, so an older or newer term is not its.
 * When heartbeats were late this node knows no leader; the sender may still be
 * it. */
static bool is_timely(const struct node *node, raft_id from,
                      const struct wire_snapshot *piece)
{
    uint64_t term = raft_term(node->raft);
    raft_id leader = raft_leader(node->raft);
    return piece->term == term && piece->index_term <= term &&
           piece->index < RAFT_NUMBER_MAX &&
           index_is_near(node, piece->index) && (leader == 0 || leader == from);
}

static bool add_piece(struct node *node, raft_id from,
                      const struct wire_snapshot *piece)
{
    struct arriving *in = &node->snapshot.arriving;
    if (piece->offset == 0 && !start_arriving(node, from, piece)) {
        return false;
    }
    if (!in->files || in->from != from || in->index != piece->index ||
        in->term != piece->index_term || in->total != piece->total ||
        in->have != piece->offset) {
        return false;
    }
    uint32_t crc = crc32c(in->crc, piece->data.data, piece->data.size);
    enum err err = crc == piece->crc
                       ? store_incoming_add(in->files, piece->data)
                       : ERR_CORRUPT;
    if (err) {
        log_warn("snapshot", "from=%llu offset=%llu why=\"%s\"",
                 (unsigned long long)from, (unsigned long long)piece->offset,
                 err_name(err));
        drop_arriving(node);
        return false;
    }
    in->crc = crc;
    in->have += piece->data.size;
    return true;
}

bool snapshot_on_piece(struct node *node, raft_id from,
                       const struct wire_snapshot *piece)
{
    if (piece->index <= store_applied(node->store)) {
        send_answer(node, from, piece->index, 0, WIRE_SNAPSHOT_DONE);
    } else if (!is_timely(node, from, piece) || !add_piece(node, from, piece)) {
        send_answer(node, from, piece->index, 0, WIRE_SNAPSHOT_FAILED);
    } else if (node->snapshot.arriving.have < node->snapshot.arriving.total) {
        send_answer(node, from, piece->index, node->snapshot.arriving.have,
                    WIRE_SNAPSHOT_GO_ON);
    } /* A whole snapshot is acknowledged once it is in place. */
    return true;
}

/* True when the log has the snapshot's last entry: what follows it stays. */
static bool log_holds(const struct node *node, uint64_t index, uint64_t term)
{
    return index <= raft_last(node->raft) &&
           raft_term_at(node->raft, index) == term;
}

static void switch_database(struct node *node, struct store *store,
                            uint64_t index, uint64_t term, bool log_kept)
{
    must(store_applied(store) == index);
    must(index > store_applied(node->store));
    store_discard(node->store);
    node->store = store;
    node->flush.since_ms = 0;
    node->flush.bytes = 0;
    node->flush.spread = 0;
    node->flush.wanted = false;
    apply_observe(node);
    if (!log_kept) {
        enum err err = wal_reset(node->wal, index, term);
        if (err) {
            die("the log cannot be reset to start behind a snapshot: %s",
                err_name(err));
        }
        entries_free(&node->entries);
        entries_init(&node->entries, index + 1);
        node->persist.durable = index;
        requests_cut(node, index + 1);
    }
    uint64_t conf_index;
    struct raft_conf conf;
    if (wire_decode_conf(store_conf(store, &conf_index), &conf)) {
        die("the membership in a snapshot does not decode");
    }
    requests_installed(node, index);
    node_notify_engine(node, (struct raft_event){.type = RAFT_INSTALLED,
                                                 .index = index,
                                                 .term = term,
                                                 .conf = &conf});
    node->apply.to = max_u64(node->apply.to, index);
    node->persist.durable = max_u64(node->persist.durable, index);
    space_set(node, SPACE_ENTRY, ERR_OK);
    space_set(node, SPACE_FLUSH, ERR_OK);
    space_set(node, SPACE_CHECKPOINT, ERR_OK);
    node_check_quota(node);
    store_tidy(store);
    log_info("snapshot-installed", "index=%llu term=%llu keys=%llu",
             (unsigned long long)index, (unsigned long long)term,
             (unsigned long long)store_key_count(store));
}

void snapshot_install(struct node *node)
{
    struct arriving in = node->snapshot.arriving;
    must(!disk_is_busy(node) && node_is_persisted(node));
    if (!in.files || in.have < in.total || store_is_held(node->store)) {
        return; /* A backup is being read; it has a time-out. */
    }
    uint64_t index = in.index;
    if (index <= store_applied(node->store)) {
        drop_arriving(node);
        send_answer(node, in.from, index, 0, WIRE_SNAPSHOT_DONE);
        return;
    }
    bool log_kept = log_holds(node, index, in.term);
    bool contradicts = !log_kept && index <= raft_commit(node->raft);
    /* Make the log's next segment first: after the database has changed, a
     * failure could not be undone. */
    enum err err = contradicts || log_kept ? ERR_OK : wal_roll(node->wal);
    struct store *store = NULL;
    if (err || contradicts || raft_is_leader(node->raft)) {
        drop_arriving(node);
        err = err ? err : ERR_INVALID;
    } else {
        node->snapshot.arriving = (struct arriving){0};
        err = store_incoming_finish(in.files, index, in.term, node_check_conf,
                                    &store);
    }
    if (err) {
        node->metrics.snapshots_refused++;
        log_warn("snapshot", "from=%llu index=%llu why=\"%s\"",
                 (unsigned long long)in.from, (unsigned long long)index,
                 err_name(err));
        send_answer(node, in.from, index, 0, WIRE_SNAPSHOT_FAILED);
        return;
    }
    switch_database(node, store, index, in.term, log_kept);
    node->metrics.snapshots_installed++;
    send_answer(node, in.from, index, in.total, WIRE_SNAPSHOT_DONE);
}

void snapshot_free(struct node *node)
{
    if (node->snapshot.outgoing.peer != 0) {
        store_image_close(node->snapshot.outgoing.image);
    }
    if (node->snapshot.arriving.files) {
        drop_arriving(node);
    }
}
