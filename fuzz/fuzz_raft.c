/* fuzz_raft.c -- the input decides what happens next to three engines.
 *
 * Each byte is a choice: whose turn it is, what it meets (a message, a lost or
 * doubled one, its deadline, a finished write, a client, a crash, another
 * beginning). Coverage leads the fuzzer into states that a dice does not find.
 * The oracle: the engine's own checks after every step; one leader a term; no
 * two nodes commit different entries; what is committed is on the disks of a
 * majority; a read index is not below what was committed when it was asked. */
#include "raft/raft.h"
#include "support/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NODES = 3, LOG_MAX = 64, PACKETS_MAX = 48, QUEUE_MAX = 8, ENTRIES = 4 };

struct node {
    struct raft *raft; /* NULL: dead. */
    uint64_t disk_term;
    raft_id disk_vote;
    uint64_t disk_last;
    uint64_t disk[LOG_MAX]; /* Terms. */
    uint64_t last;
    uint64_t log[LOG_MAX];
    struct raft_persist queue[QUEUE_MAX];
    uint32_t queue_count;
    uint64_t cookie;
    uint64_t asked_cookie; /* The oldest that waits; 0: none. */
    uint64_t asked_at;
};

struct packet {
    struct raft_message message;
    struct raft_entry entries[ENTRIES];
};

static struct node nodes[NODES];
static struct packet network[PACKETS_MAX];
static uint32_t packet_count;
static raft_id leader_of[256];
static uint64_t committed[LOG_MAX];
static uint64_t committed_max;
static uint64_t now_ms;
static struct raft_conf conf;
static struct raft_update update;

static void start(struct node *node)
{
    struct raft_run runs[LOG_MAX];
    uint32_t count = 0;
    struct raft_conf_entry first = {.index = 1, .conf = conf};
    for (uint64_t i = 1; i <= node->disk_last; i++) {
        count = engine_add_run(runs, count, i, node->disk[i]);
        node->log[i] = node->disk[i];
    }
    raft_id self = (raft_id)(node - nodes) + 1;
    struct raft_options options = engine_options(self, self + now_ms);
    options.uncommitted_max = 8;
    options.inflight_max = 2;
    struct raft_boot boot = {.term = node->disk_term,
                             .vote = node->disk_vote,
                             .last = node->disk_last,
                             .runs = runs,
                             .run_count = count,
                             .confs = &first,
                             .conf_count = 1};
    node->last = node->disk_last;
    node->queue_count = 0;
    node->asked_cookie = 0;
    node->raft = raft_new(&options, &boot, now_ms);
}

static void stop(struct node *node)
{
    raft_free(node->raft);
    node->raft = NULL;
}

static void post(const struct raft_message *m, const uint64_t *terms)
{
    if (packet_count == PACKETS_MAX) {
        return;
    }
    struct packet *packet = &network[packet_count++];
    packet->message = *m;
    for (uint32_t i = 0; i < m->entry_count; i++) {
        packet->entries[i] =
            (struct raft_entry){.term = terms[i], .type = RAFT_ENTRY_NORMAL};
        if (m->log_index + 1 + i == 1) {
            packet->entries[i].type = RAFT_ENTRY_CONF;
            packet->entries[i].conf = &conf;
        }
    }
}

static void check(const struct node *node)
{
    uint64_t term = raft_term(node->raft);
    raft_id self = (raft_id)(node - nodes) + 1;
    must(term < ARRAY_COUNT(leader_of));
    if (raft_is_leader(node->raft)) {
        must(leader_of[term] == 0 || leader_of[term] == self);
        leader_of[term] = self;
    }
    for (uint64_t i = update.apply_lo; i <= update.apply_hi; i++) {
        uint64_t of = raft_term_at(node->raft, i);
        uint32_t holders = 0;
        for (int k = 0; k < NODES; k++) {
            holders += nodes[k].disk_last >= i && nodes[k].disk[i] == of;
        }
        must(committed[i] == of || (committed[i] == 0 && holders > NODES / 2));
        committed[i] = of;
        committed_max = max_u64(committed_max, i);
    }
    if (node->asked_cookie > 0 && update.read_cookie >= node->asked_cookie) {
        must(update.read_index >= node->asked_at);
    }
}

static enum err step(struct node *node, struct raft_event event)
{
    uint64_t first;
    uint64_t last;
    event.now_ms = now_ms;
    enum err err = raft_step(node->raft, &event);
    if (err) {
        return err;
    }
    raft_appended(node->raft, &first, &last);
    for (uint64_t i = first; i <= last; i++) {
        must(i < LOG_MAX);
        node->log[i] = raft_term_at(node->raft, i);
        node->last = i;
    }
    return ERR_OK;
}

static void carry_out(struct node *node)
{
    raft_collect(node->raft, &update);
    for (uint32_t i = 0; i < update.message_count; i++) {
        post(&update.messages[i], NULL);
    }
    for (uint32_t i = 0; i < update.offer_count; i++) {
        const struct raft_append_offer *offer = &update.offers[i];
        struct raft_message m;
        uint64_t hi = min_u64(offer->last, offer->next + ENTRIES - 1);
        if (raft_make_append(node->raft, offer->peer, offer->next, hi, now_ms,
                             &m)) {
            post(&m, &node->log[offer->next]);
        }
    }
    if (update.persist.seq > 0) {
        must(node->queue_count < QUEUE_MAX);
        node->queue[node->queue_count++] = update.persist;
    }
    check(node);
    if (max_u64(update.read_cookie, update.read_failed) >= node->asked_cookie) {
        node->asked_cookie = 0;
    }
    if (update.apply_hi >= update.apply_lo) {
        must(step(node, (struct raft_event){.type = RAFT_APPLIED,
                                            .index = update.apply_hi}) ==
             ERR_OK);
    }
}

static void write_one(struct node *node)
{
    if (node->queue_count == 0) {
        return;
    }
    struct raft_persist op = node->queue[0];
    if (op.hard) {
        node->disk_term = op.term;
        node->disk_vote = op.vote;
    }
    if (op.truncate_from > 0) {
        node->disk_last = min_u64(node->disk_last, op.truncate_from - 1);
    }
    for (uint64_t i = op.lo; i <= op.hi; i++) {
        node->disk[i] = node->log[i];
        node->disk_last = i;
    }
    node->queue_count--;
    memmove(node->queue, node->queue + 1,
            node->queue_count * sizeof(node->queue[0]));
    must(step(node, (struct raft_event){.type = RAFT_PERSISTED,
                                        .seq = op.seq}) == ERR_OK);
}

/* `which` from the front; another order is a network's right. */
static void deliver(uint32_t which, bool keep)
{
    if (packet_count == 0) {
        return;
    }
    which %= packet_count;
    struct packet packet = network[which];
    if (!keep) {
        packet_count--;
        memmove(&network[which], &network[which + 1],
                (packet_count - which) * sizeof(network[0]));
    }
    struct node *to = &nodes[packet.message.to - 1];
    if (to->raft && to->last < LOG_MAX - 8) {
        packet.message.entries = packet.entries;
        must(step(to, (struct raft_event){.type = RAFT_MESSAGE,
                                          .message = &packet.message}) ==
             ERR_OK);
    }
}

static void read(struct node *node)
{
    node->cookie++;
    if (node->asked_cookie == 0) {
        node->asked_cookie = node->cookie;
        node->asked_at = committed_max;
    }
    must(step(node, (struct raft_event){.type = RAFT_READ,
                                        .cookie = node->cookie}) == ERR_OK);
}

static void tick(struct node *node)
{
    now_ms = max_u64(now_ms, raft_deadline_ms(node->raft));
    must(step(node, (struct raft_event){.type = RAFT_TICK}) == ERR_OK);
}

static void choose(struct node *node, uint8_t what, uint8_t more)
{
    enum err err = ERR_OK;
    switch (what) {
    case 0:
        tick(node);
        break;
    case 1:
        write_one(node);
        break;
    case 2:
        if (node->last < LOG_MAX - 8) {
            err = step(node, (struct raft_event){.type = RAFT_PROPOSE});
        }
        break;
    case 3:
        read(node);
        break;
    case 4:
        stop(node);
        return;
    case 5:
        err = step(node, (struct raft_event){.type = RAFT_TRANSFER,
                                             .peer = more % (NODES + 1)});
        break;
    case 6:
        now_ms += more;
        break;
    default:
        err = step(node, (struct raft_event){.type = more & 1 ? RAFT_PEER_UP
                                                              : RAFT_PEER_DOWN,
                                             .peer = more % NODES + 1});
    }
    must(err == ERR_OK || err == ERR_CLOSED || err == ERR_BUSY ||
         err == ERR_NOT_FOUND);
    /* Several things may come together before anything leaves. */
    if (node->queue_count < QUEUE_MAX && (more & 0x80) == 0) {
        carry_out(node);
    }
}

static void begin(void)
{
    memset(nodes, 0, sizeof(nodes));
    memset(leader_of, 0, sizeof(leader_of));
    memset(committed, 0, sizeof(committed));
    engine_conf(&conf, NODES, 0, 0);
    packet_count = 0;
    committed_max = 0;
    now_ms = 1000;
    for (int i = 0; i < NODES; i++) {
        nodes[i].disk_term = 1;
        nodes[i].disk_last = 1;
        nodes[i].disk[1] = 1;
        start(&nodes[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    begin();
    for (size_t i = 0; i + 1 < size && i < 2000; i += 2) {
        struct node *node = &nodes[data[i] % NODES];
        uint8_t what = (uint8_t)(data[i] / NODES % 16);
        if (what >= 8 && what < 14) {
            uint8_t to = data[i + 1];
            raft_id id =
                packet_count > 0 ? network[to % packet_count].message.to : 0;
            deliver(to, what == 13);
            if (id > 0 && nodes[id - 1].raft && what != 12 &&
                nodes[id - 1].queue_count < QUEUE_MAX) {
                carry_out(&nodes[id - 1]);
            }
        } else if (what >= 14) {
            packet_count = packet_count > 0 ? packet_count - 1 : 0;
        } else if (!node->raft) {
            start(node);
        } else if (raft_term(node->raft) < ARRAY_COUNT(leader_of) - 2) {
            choose(node, what, data[i + 1]);
        }
    }
    for (int i = 0; i < NODES; i++) {
        stop(&nodes[i]);
    }
    return 0;
}
