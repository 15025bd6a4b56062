/* test_raft_chaos.c -- engines alone, in one process, on a virtual clock:
 * messages are lost, doubled, delayed and reordered, links cut, disks late,
 * nodes killed and started again from what their disks held. After every step:
 *   - at most one leader a term (thesis figure 3.2, election safety);
 *   - what one node has committed, every node that committed it agrees on
 *     (state machine safety), and the entry is on the disks of a majority;
 *   - a read index is not below what was committed anywhere when it was asked
 *     for (linearizable reads).
 * At the end all faults stop, and a leader must commit something new on all
 * nodes. Everything follows from the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "raft/raft.h"
#include "support/engine.h"

enum {
    NODES_MAX = 5,
    LOG_MAX = 4096,
    MESSAGES_MAX = 512,
    ENTRIES_MAX = 16, /* In one append here. */
    TERMS_MAX = 4096,
    SEEDS = 500,
};

struct disk {
    uint64_t term;
    raft_id vote;
    uint64_t last;
    struct raft_entry log[LOG_MAX];
};

struct node {
    struct raft *raft; /* NULL: dead. */
    struct disk disk;
    uint64_t last; /* End of the engine's log, durable or not. */
    struct raft_entry log[LOG_MAX];
    struct raft_persist queue[64]; /* Outstanding operations. */
    uint32_t queue_count;
    uint64_t paused_ms;  /* Does not run until then. */
    uint64_t stalled_ms; /* Its disk finishes nothing until then. */
    uint64_t cookie;
    uint64_t asked_at; /* Highest commit anywhere when it was asked. */
    uint64_t asked_cookie;
};

struct packet {
    struct raft_message message;
    struct raft_entry entries[ENTRIES_MAX];
    uint64_t due_ms;
};

static struct node nodes[NODES_MAX];
static uint32_t node_count;
static struct packet network[MESSAGES_MAX];
static uint32_t packet_count;
static raft_id leader_of[TERMS_MAX];
static uint64_t committed_term[LOG_MAX]; /* 0: not committed anywhere yet. */
static uint64_t committed_max;
static struct rng rng;
static uint64_t now_ms;
static bool chaos;
static bool cut[NODES_MAX][NODES_MAX];
static struct raft_conf conf;
static struct raft_update update;
static uint64_t proposals;

static bool chance(uint64_t per_mille)
{
    return chaos && rng_below(&rng, 1000) < per_mille;
}

/* ---- running one node ---- */

static void start(uint32_t i)
{
    struct node *node = &nodes[i];
    static struct raft_run runs[LOG_MAX];
    struct raft_conf_entry first = {.index = 1, .conf = conf};
    uint32_t run_count = 0;
    for (uint64_t k = 1; k <= node->disk.last; k++) {
        run_count = engine_add_run(runs, run_count, k, node->disk.log[k].term);
        node->log[k] = node->disk.log[k];
    }
    struct raft_options options = engine_options(i + 1, rng_next(&rng));
    struct raft_boot boot = {.term = node->disk.term,
                             .vote = node->disk.vote,
                             .last = node->disk.last,
                             .runs = runs,
                             .run_count = run_count,
                             .confs = &first,
                             .conf_count = 1};
    node->last = node->disk.last;
    node->queue_count = 0;
    node->asked_cookie = 0;
    node->raft = raft_new(&options, &boot, now_ms);
}

static void stop(uint32_t i)
{
    raft_free(nodes[i].raft);
    nodes[i].raft = NULL;
}

static void post(const struct raft_message *m, const struct raft_entry *entries)
{
    if (cut[m->from - 1][m->to - 1] || chance(50)) {
        return;
    }
    for (int copies = chance(50) ? 2 : 1; copies > 0; copies--) {
        if (packet_count == MESSAGES_MAX) {
            return;
        }
        struct packet *packet = &network[packet_count++];
        packet->message = *m;
        packet->due_ms = now_ms + 1 + (chaos ? rng_below(&rng, 60) : 0);
        must(m->entry_count <= ENTRIES_MAX);
        for (uint32_t k = 0; k < m->entry_count; k++) {
            packet->entries[k] = entries[k];
        }
    }
}

static void write_to_disk(struct node *node)
{
    const struct raft_persist *op = &node->queue[0];
    struct raft_event event = {
        .type = RAFT_PERSISTED, .now_ms = now_ms, .seq = op->seq};
    if (op->hard) {
        node->disk.term = op->term;
        node->disk.vote = op->vote;
    }
    if (op->truncate_from > 0 && op->truncate_from <= node->disk.last) {
        node->disk.last = op->truncate_from - 1;
    }
    for (uint64_t k = op->lo; k <= op->hi; k++) {
        /* Entries that were overwritten since belong to a later operation. */
        node->disk.log[k] = node->log[k];
        node->disk.last = k;
    }
    node->queue_count--;
    memmove(node->queue, node->queue + 1,
            node->queue_count * sizeof(node->queue[0]));
    must(raft_step(node->raft, &event) == ERR_OK);
}

static void note_commit(struct node *node)
{
    for (uint64_t k = update.apply_lo; k <= update.apply_hi; k++) {
        uint64_t term = raft_term_at(node->raft, k);
        if (committed_term[k] == 0) {
            uint32_t holders = 0;
            committed_term[k] = term;
            committed_max = max_u64(committed_max, k);
            for (uint32_t i = 0; i < node_count; i++) {
                holders += nodes[i].disk.last >= k &&
                           nodes[i].disk.log[k].term == term;
            }
            assert_true(holders * 2 > node_count);
        }
        assert_int_equal(committed_term[k], term);
    }
    if (update.apply_hi >= update.apply_lo) {
        struct raft_event event = {
            .type = RAFT_APPLIED, .now_ms = now_ms, .index = update.apply_hi};
        must(raft_step(node->raft, &event) == ERR_OK);
    }
}

static void note_leader(const struct node *node)
{
    if (raft_is_leader(node->raft)) {
        uint64_t term = raft_term(node->raft);
        raft_id self = (raft_id)(node - nodes) + 1;
        must(term < TERMS_MAX);
        assert_true(leader_of[term] == 0 || leader_of[term] == self);
        leader_of[term] = self;
    }
}

static void carry_out(struct node *node)
{
    raft_collect(node->raft, &update);
    for (uint32_t k = 0; k < update.message_count; k++) {
        post(&update.messages[k], NULL);
    }
    for (uint32_t k = 0; k < update.offer_count; k++) {
        const struct raft_append_offer *offer = &update.offers[k];
        struct raft_message message;
        uint64_t hi = min_u64(offer->last, offer->next + ENTRIES_MAX - 1);
        if (raft_make_append(node->raft, offer->peer, offer->next, hi, now_ms,
                             &message)) {
            post(&message, &node->log[offer->next]);
        }
    }
    if (update.persist.seq > 0) {
        must(node->queue_count < ARRAY_COUNT(node->queue));
        node->queue[node->queue_count++] = update.persist;
    }
    if (update.read_cookie >= node->asked_cookie && node->asked_cookie > 0) {
        assert_true(update.read_index >= node->asked_at);
    }
    if (update.read_cookie > 0 || update.read_failed > 0) {
        node->asked_cookie = 0;
    }
    note_commit(node);
    note_leader(node);
}

/* The entries that the step added, with their terms. */
static void keep(struct node *node)
{
    uint64_t first;
    uint64_t last;
    raft_appended(node->raft, &first, &last);
    must(last < LOG_MAX);
    for (uint64_t k = first; k <= last; k++) {
        node->log[k] = (struct raft_entry){.term = raft_term_at(node->raft, k),
                                           .type = RAFT_ENTRY_NORMAL};
        if (k == 1) {
            node->log[k].type = RAFT_ENTRY_CONF;
            node->log[k].conf = &conf;
        }
        node->last = k;
    }
}

static void step(struct node *node, struct raft_event event)
{
    event.now_ms = now_ms;
    if (raft_step(node->raft, &event) == ERR_OK) {
        keep(node);
    }
}

/* ---- the world ---- */

static void deliver(void)
{
    for (uint32_t k = 0; k < packet_count;) {
        if (network[k].due_ms > now_ms) {
            k++;
            continue;
        }
        struct packet packet = network[k];
        network[k] = network[--packet_count];
        struct node *to = &nodes[packet.message.to - 1];
        if (!to->raft) {
            continue;
        }
        if (now_ms < to->paused_ms) {
            packet.due_ms = to->paused_ms + rng_below(&rng, 50);
            network[packet_count++] = packet;
            continue;
        }
        packet.message.entries = packet.entries;
        step(to, (struct raft_event){.type = RAFT_MESSAGE,
                                     .message = &packet.message});
        /* A turn may take in several before anything leaves. */
        if (rng_below(&rng, 2) == 0) {
            carry_out(to);
        }
    }
}

static void misbehave(void)
{
    uint32_t i = (uint32_t)rng_below(&rng, node_count);
    if (chance(4)) {
        uint32_t k = (uint32_t)rng_below(&rng, node_count);
        cut[i][k] = !cut[i][k];
    }
    if (chance(3)) {
        memset(cut, 0, sizeof(cut));
    }
    if (chance(3)) {
        nodes[i].paused_ms = now_ms + rng_below(&rng, 6000);
    }
    if (chance(10)) {
        nodes[i].stalled_ms = now_ms + rng_below(&rng, 400);
    }
    if (nodes[i].raft && chance(3)) {
        stop(i);
    } else if (!nodes[i].raft && (!chaos || chance(20))) {
        start(i);
    }
}

static void ask(struct node *node)
{
    node->cookie++;
    if (node->asked_cookie == 0) {
        node->asked_cookie = node->cookie;
        node->asked_at = committed_max;
    }
    step(node, (struct raft_event){.type = RAFT_READ, .cookie = node->cookie});
}

static void turn(void)
{
    now_ms += 1 + rng_below(&rng, 10);
    misbehave();
    deliver();
    for (uint32_t i = 0; i < node_count; i++) {
        struct node *node = &nodes[i];
        if (!node->raft || now_ms < node->paused_ms) {
            continue;
        }
        if (rng_below(&rng, 2) == 0) {
            ask(node); /* Before the tick, which may find it deposed. */
            carry_out(node);
        }
        while (node->queue_count > 0 && now_ms >= node->stalled_ms &&
               !chance(300)) {
            write_to_disk(node);
        }
        step(node, (struct raft_event){.type = RAFT_TICK});
        if (raft_is_leader(node->raft) && node->last < LOG_MAX - 64 &&
            rng_below(&rng, 4) == 0) {
            step(node, (struct raft_event){.type = RAFT_PROPOSE});
            proposals++;
        }
        if (chance(2) && raft_is_leader(node->raft)) {
            step(node, (struct raft_event){.type = RAFT_TRANSFER});
        }
        carry_out(node);
    }
}

static void boot(uint64_t seed)
{
    rng_init(&rng, seed);
    memset(nodes, 0, sizeof(nodes));
    memset(leader_of, 0, sizeof(leader_of));
    memset(committed_term, 0, sizeof(committed_term));
    memset(cut, 0, sizeof(cut));
    committed_max = 0;
    packet_count = 0;
    now_ms = 1000;
    node_count = seed % 3 == 0 ? 5 : 3;
    engine_conf(&conf, node_count, 0, 0);
    for (uint32_t i = 0; i < node_count; i++) {
        nodes[i].disk.term = 1;
        nodes[i].disk.last = 1;
        nodes[i].disk.log[1] = (struct raft_entry){
            .term = 1, .type = RAFT_ENTRY_CONF, .conf = &conf};
        start(i);
    }
}

static void run(uint64_t seed)
{
    boot(seed);
    chaos = true;
    for (int k = 0; k < 2500; k++) {
        turn();
    }
    chaos = false;
    memset(cut, 0, sizeof(cut));
    for (uint32_t i = 0; i < node_count; i++) {
        nodes[i].paused_ms = 0;
        nodes[i].stalled_ms = 0;
        if (!nodes[i].raft) {
            start(i);
        }
    }
    uint64_t before = committed_max;
    uint64_t by_ms = now_ms + 20 * 2000;
    uint64_t least = 0;
    while (now_ms < by_ms && least <= before) {
        turn();
        least = UINT64_MAX;
        for (uint32_t i = 0; i < node_count; i++) {
            least = min_u64(least, raft_commit(nodes[i].raft));
        }
    }
    assert_true(least > before);
    for (uint32_t i = 0; i < node_count; i++) {
        stop(i);
    }
}

static void test_safety_and_liveness_under_chaos(void **state)
{
    (void)state;
    uint64_t committed = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed);
        committed += committed_max;
    }
    /* A run in which nothing happens proves nothing. */
    assert_true(committed > SEEDS * 50);
    printf("proposed %llu, committed %llu\n", (unsigned long long)proposals,
           (unsigned long long)committed);
}

/* ---- who can lead when not everybody reaches everybody ---- */

static const uint32_t pairs[10][2] = {{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3},
                                      {2, 3}, {0, 4}, {1, 4}, {2, 4}, {3, 4}};

static uint32_t pair_bit(uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        if ((pairs[i][0] == a && pairs[i][1] == b) ||
            (pairs[i][0] == b && pairs[i][1] == a)) {
            return i;
        }
    }
    must(false);
    return 0;
}

/* Graphs that differ only in the names of their nodes are represented by the
 * one with the least number. Returns whether this is the one. */
static bool stands_for_all(uint32_t graph, uint32_t count)
{
    uint32_t names[NODES_MAX] = {0, 1, 2, 3, 4};
    uint32_t turns[NODES_MAX] = {0};
    for (uint32_t i = 0; i < count;) { /* Heap's permutations. */
        if (turns[i] >= i) {
            turns[i++] = 0;
            continue;
        }
        uint32_t k = i % 2 == 0 ? 0 : turns[i];
        uint32_t name = names[k];
        names[k] = names[i];
        names[i] = name;
        turns[i]++;
        i = 0;
        uint32_t renamed = 0;
        for (uint32_t bit = 0; bit < count * (count - 1) / 2; bit++) {
            if (graph >> bit & 1) {
                renamed |=
                    1u << pair_bit(names[pairs[bit][0]], names[pairs[bit][1]]);
            }
        }
        if (renamed < graph) {
            return false;
        }
    }
    return true;
}

static bool somebody_reaches_a_majority(uint32_t graph, uint32_t count)
{
    for (uint32_t a = 0; a < count; a++) {
        uint32_t reached = 1;
        for (uint32_t b = 0; b < count; b++) {
            reached += a != b && (graph >> pair_bit(a, b) & 1);
        }
        if (reached * 2 > count) {
            return true;
        }
    }
    return false;
}

/* E07: with logs that are alike, a leader is elected and kept exactly when
 * some node reaches a majority both ways. */
static void test_every_connectivity_graph(void **state)
{
    (void)state;
    uint32_t graphs = 0;
    for (uint32_t count = 3; count <= 5; count += 2) {
        for (uint32_t graph = 0; graph < 1u << count * (count - 1) / 2;
             graph++) {
            if (!stands_for_all(graph, count)) {
                continue;
            }
            graphs++;
            chaos = false;
            boot(count == 5 ? 3 : 4);
            for (uint32_t a = 0; a < count; a++) {
                for (uint32_t b = 0; b < count; b++) {
                    cut[a][b] = a != b && !(graph >> pair_bit(a, b) & 1);
                }
            }
            uint64_t until_ms = now_ms + 20000;
            uint64_t settled = 0;
            uint64_t terms = 0;
            while (now_ms < until_ms) {
                turn();
                if (settled == 0 && now_ms > until_ms - 5000) {
                    settled = committed_max + 1;
                    for (uint32_t i = 0; i < count; i++) {
                        terms = max_u64(terms, raft_term(nodes[i].raft));
                    }
                }
            }
            bool leads = committed_max >= settled;
            if (leads != somebody_reaches_a_majority(graph, count)) {
                fail_msg("%u nodes, graph %x: %s", count, graph,
                         leads ? "a leader" : "no leader");
            }
            for (uint32_t i = 0; i < count; i++) {
                /* Kept: nobody's term moves any more. */
                assert_true(raft_term(nodes[i].raft) <= terms);
                stop(i);
            }
        }
    }
    assert_int_equal(graphs, 4 + 34);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_connectivity_graph),
        cmocka_unit_test(test_safety_and_liveness_under_chaos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
