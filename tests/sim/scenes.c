/* scenes.c -- scripted runs. Faults that random runs once found are reproduced
 * here, so that they stay covered when the random choices change. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

static const struct swarm quiet = {
    .clients = 8, .delay_us = 500, .sync_us = 100};

static void part(struct host *a, struct host *b, uint64_t us)
{
    struct sim_world *world = a->world;
    world->cut[a->number][b->number] = true;
    world->cut[b->number][a->number] = true;
    world->cut_until_us[a->number][b->number] = world->now_us + us;
    world->cut_until_us[b->number][a->number] = world->now_us + us;
}

static struct host *leader(struct sim_world *world)
{
    for (int tries = 0; tries < 100 && !host_leader(world); tries++) {
        chaos_pass(world, 100 * MS_US);
    }
    must(host_leader(world));
    return host_leader(world);
}

static uint64_t last_of(const struct host *host)
{
    struct node_status status;
    node_get_status(host->node, &status);
    return status.raft.last;
}

static struct host *other_than(struct sim_world *world, const struct host *a,
                               const struct host *b)
{
    struct host *other = world->hosts;
    while (other == a || other == b) {
        other++;
    }
    return other;
}

/* A leader that reaches only a newcomer adds it. The entry is lost when another
 * leads, and the newcomer must still be able to join: a node must not learn its
 * id before the entry that assigns it is committed. */
static void scene_newcomer_of_a_lost_entry(struct sim_world *world)
{
    struct host *old = leader(world);
    struct host *victim = other_than(world, old, NULL);
    chaos_remove(victim, old);
    while (host_is_up(victim)) {
        chaos_pass(world, 10 * MS_US);
    }
    /* It was removed and has a new disk; it starts only now. */
    victim->down_us = world->now_us + 1;
    victim->join_us = UINT64_MAX;
    chaos_pass(world, 50 * MS_US);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *voter = &world->hosts[i];
        if (voter != old && voter != victim) {
            part(old, voter, 10 * SEC_US);
        }
    }
    chaos_join(victim, old);
    chaos_pass(world, 10 * SEC_US);
    victim->join_us = world->now_us;
}

/* A removal is in the log of a leader that reaches nobody, and is truncated
 * when another leads. Later that node restarts: its configuration is the one
 * before the removal, though the log on disk has both. */
static void scene_restart_after_a_lost_removal(struct sim_world *world)
{
    struct host *old = leader(world);
    struct host *victim = other_than(world, old, NULL);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        if (&world->hosts[i] != old) {
            part(old, &world->hosts[i], 8 * SEC_US);
        }
    }
    chaos_remove(victim, old);
    chaos_pass(world, 12 * SEC_US);
    must(host_is_up(victim));
    host_crash(old, false, 0);
    old->down_us = world->now_us + 1;
    chaos_pass(world, 2 * SEC_US);
}

/* One of five hosts is paused while another is replaced, so that it does not
 * know the new id. Then two more stop, and the only majority left is the
 * newcomer, the paused host, and one that cannot reach it: the newcomer must
 * lead. */
static void scene_leader_unknown_to_a_paused_host(struct sim_world *world)
{
    struct host *old = leader(world);
    struct host *rest[4];
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        if (&world->hosts[i] != old) {
            must(count < ARRAY_COUNT(rest));
            rest[count++] = &world->hosts[i];
        }
    }
    struct host *sleeper = rest[0];
    struct host *newcomer = rest[1];
    sleeper->paused_us = UINT64_MAX;
    chaos_pass(world, 5 * SEC_US);
    host_crash(newcomer, false, 0);
    host_wipe(newcomer);
    newcomer->down_us = world->now_us + 1;
    for (int i = 0; i < 400 && !host_is_voter(newcomer); i++) {
        chaos_pass(world, 50 * MS_US);
    }
    must(host_is_voter(newcomer));
    old->paused_us = UINT64_MAX;
    rest[2]->paused_us = UINT64_MAX;
    part(rest[3], sleeper, UINT64_MAX / 2);
    sleeper->paused_us = 0;
    chaos_pass(world, 20 * SEC_US);
    if (!node_is_leader(newcomer->node)) {
        sim_fail(world, EXIT_LIVENESS, "%s does not lead", newcomer->name);
    }
}

/* Disks fill up under load, one at a time and all at once. */
static void scene_full_disks(struct sim_world *world)
{
    for (int round = 0; round < 40; round++) {
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            if (round % 4 == 3 || i == (uint32_t)round % 3) {
                world->hosts[i].full_us = world->now_us + SEC_US;
            }
        }
        chaos_pass(world, 1200 * MS_US);
    }
}

/* All hosts lose power again and again while they write. */
static void scene_power_losses_of_all(struct sim_world *world)
{
    for (int round = 0; round < 12; round++) {
        chaos_pass(world, 2 * SEC_US);
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            if (host_is_up(&world->hosts[i])) {
                host_crash(&world->hosts[i], true, 0);
                world->hosts[i].down_us = world->now_us + SEC_US;
            }
        }
    }
}

/* Every corrupted byte closes a link, and none leaves a link that is dead but
 * looks alive. */
static void scene_corrupted_bytes(struct sim_world *world)
{
    for (int round = 0; round < 2000; round++) {
        chaos_pass(world, 5 * MS_US);
        net_garble_one(world);
    }
}

/* A follower that is needed for a majority forwards writes, and is killed
 * before it has them in its own log. It restarts and forwards others: the
 * answers to the forwards of its former incarnation must not complete these. */
static void scene_answers_to_a_former_incarnation(struct sim_world *world)
{
    world->swarm.pace_us = 100 * SEC_US; /* Clients act only when asked. */
    chaos_pass(world, 5 * SEC_US);
    for (int round = 0; round < 10; round++) {
        struct host *old = leader(world);
        struct host *follower = other_than(world, old, NULL);
        struct host *third = other_than(world, old, follower);
        third->paused_us = world->now_us + SEC_US;
        for (int life = 0; life < 2; life++) {
            host_crash(follower, false, 0);
            follower->down_us = world->now_us + 1;
            chaos_pass(world, 2);
            clients_burst(follower, 3, true);
            uint64_t last = last_of(old);
            for (int i = 0; i < 5000 && last_of(old) == last; i++) {
                chaos_pass(world, 100);
            }
        }
        /* Every acknowledged write must be on the other two. */
        follower->stall_us = world->now_us + 100 * MS_US;
        uint64_t acked = world->acked;
        for (int i = 0; i < 5000 && world->acked == acked; i++) {
            chaos_pass(world, 100);
        }
        old->paused_us = world->now_us + 8 * SEC_US;
        third->paused_us = 0;
        host_crash(follower, true, 0);
        follower->down_us = world->now_us + 1;
        for (int i = 0; i < 6; i++) {
            chaos_pass(world, SEC_US);
            clients_burst(third, 3, false);
        }
        chaos_pass(world, 8 * SEC_US);
    }
}

static void power_off(struct host *host, uint64_t for_us)
{
    struct sim_world *world = host->world;
    host_crash(host, true, 0);
    host->down_us = world->now_us + for_us;
}

/* S06: an empty node receives a snapshot and loses power at each change of its
 * disk in turn. */
static void scene_power_loss_during_install(struct sim_world *world)
{
    chaos_pass(world,
               20 * SEC_US); /* By then the log no longer starts at index 1. */
    struct host *victim = other_than(world, leader(world), NULL);
    for (uint64_t changes = 20 + world->seed % 5; changes < 300; changes += 5) {
        power_off(victim, 1);
        host_wipe(victim);
        victim->down_us = world->now_us + 1;
        while (!host_is_up(victim)) {
            chaos_pass(world, MS_US);
        }
        host_crash(victim, true, changes);
        chaos_pass(world, 2 * SEC_US);
        victim->crash_in = 0;
        for (int i = 0; i < 400 && !host_is_voter(victim); i++) {
            if (!host_is_up(victim)) {
                victim->down_us = world->now_us + 1;
            }
            chaos_pass(world, 50 * MS_US);
        }
        must(host_is_voter(victim));
        if (leader(world) == victim) {
            victim = other_than(world, victim, NULL);
        }
    }
}

/* Leadership changes again and again under load. */
static void scene_leaders_are_cut_off(struct sim_world *world)
{
    for (int round = 0; round < 10; round++) {
        struct host *old = leader(world);
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            if (&world->hosts[i] != old) {
                part(old, &world->hosts[i], 3 * SEC_US);
            }
        }
        chaos_pass(world, 4 * SEC_US);
    }
}

/* ---- named scenarios ---- */

/* Some write must be acknowledged in each of `pieces` intervals. */
static void must_go_on(struct sim_world *world, uint64_t piece_us, int pieces)
{
    for (int i = 0; i < pieces; i++) {
        uint64_t before = world->acked;
        chaos_pass(world, piece_us);
        if (world->acked == before) {
            sim_fail(world, EXIT_LIVENESS, "no write in %llu ms",
                     (unsigned long long)(piece_us / MS_US));
        }
    }
}

/* E15: one clock runs at half, one at double speed. No time-out may depose the
 * leader, whichever host leads. */
static void scene_clock_rates(struct sim_world *world)
{
    static const uint64_t rates[] = {500, 1000, 2000};
    for (uint32_t turn = 0; turn < 3; turn++) {
        for (uint32_t i = 0; i < 3; i++) {
            world->hosts[i].clock_rate = rates[(i + turn) % 3];
        }
        chaos_pass(world, 5 * SEC_US);
        uint64_t term = node_term(leader(world)->node);
        must_go_on(world, SEC_US, 10);
        if (node_term(leader(world)->node) != term) {
            sim_fail(world, EXIT_LIVENESS, "a clock's rate deposed the leader");
        }
    }
}

/* E16: all hosts lose power and restart in every order, seconds apart. */
static void scene_power_loss_and_every_order(struct sim_world *world)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < ARRAY_COUNT(orders); o++) {
        uint64_t before = world->acked;
        for (uint32_t i = 0; i < 3; i++) {
            power_off(&world->hosts[orders[o][i]], (1 + 3 * i) * SEC_US);
        }
        /* Two of three are a majority; nothing waits for the third. */
        chaos_pass(world, 3500 * MS_US);
        must(world->acked == before);
        chaos_pass(world, 3 * SEC_US);
        must_go_on(world, 6 * SEC_US, 2);
    }
}

/* R12, R13: a follower is paused during many writes, then catches up. */
static void scene_paused_follower(struct sim_world *world)
{
    struct host *sleeper = other_than(world, leader(world), NULL);
    sleeper->paused_us = UINT64_MAX;
    must_go_on(world, 6 * SEC_US, 5);
    sleeper->paused_us = 0;
    must_go_on(world, 6 * SEC_US, 1);
}

/* M07: a node with a wiped directory rejoins under a new id; the old id, with
 * the votes that were given under it, is gone. */
static void scene_wiped_directory(struct sim_world *world)
{
    for (int round = 0; round < 3; round++) {
        struct host *victim = other_than(world, leader(world), NULL);
        struct node_status status;
        node_get_status(victim->node, &status);
        raft_id old = status.raft.self;
        host_crash(victim, true, 0);
        host_wipe(victim);
        victim->down_us = world->now_us + 1;
        for (int i = 0; i < 400 && !host_is_voter(victim); i++) {
            chaos_pass(world, 50 * MS_US);
        }
        must(host_is_voter(victim));
        node_get_status(victim->node, &status);
        must(status.raft.self > old);
        node_get_status(leader(world)->node, &status);
        must(!raft_conf_find(status.conf, old));
    }
}

/* A named write can safely be retried: when its leader dies, the node must send
 * it to the next one. */
static void named_are_not_abandoned(struct sim_world *world)
{
    if (clients_abandoned(world) > 0) {
        sim_fail(world, EXIT_LIVENESS, "%llu named writes were not repeated",
                 (unsigned long long)clients_abandoned(world));
    }
}

/* C06, C07: the leader loses power while the others forward requests to it.
 * "Not applied" must be true, and an unknown outcome may be either; the check
 * of the history at the end proves it. */
static void scene_leader_dies_with_forwarded_requests(struct sim_world *world)
{
    for (int round = 0; round < 20; round++) {
        power_off(leader(world), 500 * MS_US);
        chaos_pass(world, 4 * SEC_US);
    }
    named_are_not_abandoned(world);
}

/* C04: the leader dies again and again, with outstanding writes that are
 * retried elsewhere. Each takes effect once, and its answer is that of the
 * first attempt: the check of the history at the end proves it. */
static void scene_repeats_across_leader_kills(struct sim_world *world)
{
    uint64_t before = world->acked;
    for (int round = 0; round < 20; round++) {
        struct host *old = leader(world);
        clients_burst(old, 4, true);
        clients_burst(other_than(world, old, NULL), 4, true);
        chaos_pass(world, sim_below(world, 4 * MS_US));
        if (host_is_up(old)) {
            host_crash(old, round % 2 == 0, 0);
            old->down_us = world->now_us + 500 * MS_US;
        }
        chaos_pass(world, 4 * SEC_US);
    }
    must(world->acked > before + 100);
    named_are_not_abandoned(world);
    if (clients_repeated(world) < 3) {
        sim_fail(world, EXIT_LIVENESS, "only %llu repeats",
                 (unsigned long long)clients_repeated(world));
    }
}

/* Restores continue when leaders die, in whichever step, and each replaces all
 * or nothing, once: the check of the history at the end proves it. */
static void scene_restores_across_leader_kills(struct sim_world *world)
{
    for (int round = 0; round < 25 || clients_restored(world) < 3; round++) {
        if (round == 100) {
            sim_fail(world, EXIT_LIVENESS, "only %llu restores",
                     (unsigned long long)clients_restored(world));
        }
        struct host *old = leader(world);
        chaos_pass(world, 2 * SEC_US + sim_below(world, SEC_US));
        if (host_is_up(old)) {
            host_crash(old, round % 2 == 0, 0);
            old->down_us = world->now_us + 300 * MS_US;
        }
        chaos_pass(world, 3 * SEC_US);
    }
}

/* A restore without further steps is aborted by the leader two minutes after
 * its last step. */
static void scene_abandoned_restore(struct sim_world *world)
{
    enum { ID = 1 << 20 };
    world->swarm.clients = 0; /* Clients restore as well. */
    chaos_pass(world, 20 * SEC_US);
    must(chaos_restore(leader(world), COMMAND_RESTORE_BEGIN, ID));
    chaos_pass(world, 100 * SEC_US);
    must(chaos_restore(leader(world), COMMAND_RESTORE_ROWS, ID));
    chaos_pass(world, 100 * SEC_US);
    must(chaos_restore(leader(world), COMMAND_RESTORE_ROWS, ID)); /* A retry. */
    power_off(leader(world), SEC_US);
    chaos_pass(world, 140 * SEC_US);
    must(!chaos_restore(leader(world), COMMAND_RESTORE_ROWS, ID));
    world->swarm.clients = quiet.clients;
    must_go_on(world, 6 * SEC_US, 1);
}

/* O05: one peer receives everything and answers nothing; nobody waits for it.
 */
static void scene_black_hole(struct sim_world *world)
{
    struct host *old = leader(world);
    struct host *hole = other_than(world, old, NULL);
    world->cut[hole->number][old->number] = true;
    world->cut_until_us[hole->number][old->number] = UINT64_MAX;
    must_go_on(world, 6 * SEC_US, 4);
    if (leader(world) != old) {
        sim_fail(world, EXIT_LIVENESS, "a black hole deposed the leader");
    }
}

/* E08: a and b cannot reach each other, c reaches both. Whichever led before,
 * one leads and stays leader. */
static void scene_bridge(struct sim_world *world)
{
    for (uint32_t bridge = 0; bridge < 3; bridge++) {
        part(&world->hosts[(bridge + 1) % 3], &world->hosts[(bridge + 2) % 3],
             30 * SEC_US);
        chaos_pass(world, 10 * SEC_US);
        uint64_t term = node_term(leader(world)->node);
        /* A client waits up to 5 s at a host that knows no leader. */
        must_go_on(world, 6 * SEC_US, 3);
        if (node_term(leader(world)->node) != term) {
            sim_fail(world, EXIT_LIVENESS,
                     "the leadership moved though the bridge was stable");
        }
        chaos_pass(world, 3 * SEC_US);
    }
}

/* E14: the leader is paused for ten seconds, resumes, and serves no read from
 * its stale state; the check of the history at the end proves it. */
static void scene_paused_leader(struct sim_world *world)
{
    for (int round = 0; round < 5; round++) {
        struct host *old = leader(world);
        uint64_t term = node_term(old->node);
        old->paused_us = world->now_us + 10 * SEC_US;
        chaos_pass(world, 10 * SEC_US);
        must_go_on(world, 6 * SEC_US, 1);
        must(node_term(leader(world)->node) > term);
    }
}

/* D13: the leader's disk stalls for one second, ten seconds, and without end.
 * Meanwhile the leader is silent, so that the others elect another. */
static void scene_leaders_disk_stalls(struct sim_world *world)
{
    static const uint64_t stalls[] = {1, 10, 30};
    for (size_t i = 0; i < ARRAY_COUNT(stalls); i++) {
        struct host *old = leader(world);
        old->stall_us = world->now_us + stalls[i] * SEC_US;
        must_go_on(world, 9 * SEC_US,
                   1); /* Many clients wait at the old leader. */
        must(stalls[i] == 1 || leader(world) != old);
        if (stalls[i] == 30) {
            power_off(old, SEC_US);
            old->stall_us = 0;
        }
        chaos_pass(world, 3 * SEC_US);
        must_go_on(world, 6 * SEC_US, 1);
    }
}

static struct node_status status_of(const struct host *host)
{
    struct node_status status;
    node_get_status(host->node, &status);
    return status;
}

/* Stall the disk without end, with a log write in flight. The log must be the
 * first to need the disk: right after a checkpoint the next COMMIT writes the
 * first frame of the -wal, which SQLite syncs inside the call. */
static void stall_disk(struct host *host)
{
    struct sim_world *world = host->world;
    chaos_checkpoint(host);
    while (!chaos_idle(world)) {
        chaos_pass(world, 10 * MS_US);
    }
    uint64_t applied = node_applied(host->node);
    for (int i = 0; i < 5000 && node_applied(host->node) == applied; i++) {
        chaos_pass(world, MS_US);
    }
    host->log_stall_us = UINT64_MAX / 2;
    for (int i = 0; i < 20 && host->write_due_us == UINT64_MAX; i++) {
        clients_burst(leader(world), 1, true);
        chaos_pass(world, MS_US);
    }
    must(host->write_due_us != UINT64_MAX);
    chaos_pass(world, 30 * MS_US);
    host->stall_us = UINT64_MAX / 2;
}

static void resume_disk(struct host *host)
{
    host->stall_us = 0;
    host->log_stall_us = 0;
}

/* The same with an asynchronous log: the node runs on without its disk. It
 * steps down and does not campaign, it follows the next leader and its commit
 * index, and when the disk resumes it catches up. A stalled follower affects
 * nobody. */
static void scene_stalled_disk(struct sim_world *world)
{
    for (int round = 0; round < 4; round++) {
        bool leads = round % 2 == 0;
        struct host *stalled =
            leads ? leader(world) : other_than(world, leader(world), NULL);
        uint64_t term = node_term(leader(world)->node);
        stall_disk(stalled);
        must_go_on(world, 9 * SEC_US, 1);
        struct host *next = leader(world);
        must(next != stalled && (leads || node_term(next->node) == term));
        uint64_t turns = stalled->turns;
        chaos_pass(world, 2 * SEC_US);
        struct node_status status = status_of(stalled);
        must(status.disk_stalled && status.raft.role == RAFT_FOLLOWER);
        must(status.raft.leader == status_of(next).raft.self);
        /* Its loop runs, and does not poll the disk in a busy loop. */
        must(stalled->turns > turns + 10 && stalled->turns < turns + 5000);
        uint64_t durable = status.raft.durable;
        must(status_of(next).raft.commit > durable);
        must(node_applied(stalled->node) <= durable);
        if (round == 3) {
            power_off(stalled, SEC_US);
        }
        resume_disk(stalled);
        chaos_pass(world, 3 * SEC_US);
        status = status_of(stalled);
        must(!status.disk_stalled && status.raft.durable > durable);
        must_go_on(world, 6 * SEC_US, 1);
    }
}

/* The sync of its database stalls without end; its log would not. */
static void stall_database(struct host *host)
{
    struct sim_world *world = host->world;
    host->db_stall_us = UINT64_MAX / 2;
    for (int i = 0; i < 1000 && host->sync_due_us == UINT64_MAX; i++) {
        chaos_checkpoint(host);
        chaos_pass(world, 10 * MS_US);
    }
    must(host->sync_due_us != UINT64_MAX);
}

/* Nothing is applied meanwhile, and a node that cannot apply must not lead: it
 * takes part in nothing until the sync completes, and then catches up. */
static void scene_stalled_database_sync(struct sim_world *world)
{
    for (int round = 0; round < 4; round++) {
        bool leads = round % 2 == 0;
        struct host *stalled =
            leads ? leader(world) : other_than(world, leader(world), NULL);
        uint64_t term = node_term(leader(world)->node);
        stall_database(stalled);
        must_go_on(world, 9 * SEC_US, 1);
        struct host *next = leader(world);
        must(next != stalled && (leads || node_term(next->node) == term));
        uint64_t turns = stalled->turns;
        uint64_t applied = node_applied(stalled->node);
        chaos_pass(world, 2 * SEC_US);
        struct node_status status = status_of(stalled);
        must(status.disk_stalled && status.raft.role == RAFT_FOLLOWER);
        must(stalled->turns > turns + 10 && stalled->turns < turns + 5000);
        must(node_applied(stalled->node) == applied);
        if (round == 3) {
            power_off(stalled, SEC_US);
        }
        stalled->db_stall_us = 0;
        chaos_pass(world, 3 * SEC_US);
        status = status_of(stalled);
        must(!status.disk_stalled && node_applied(stalled->node) > applied);
        must_go_on(world, 6 * SEC_US, 1);
    }
}

static uint64_t installed(const struct host *host)
{
    return node_get_metrics(host->node)->snapshots_installed;
}

/* A follower's log stalls for so long that the others compact theirs. The
 * snapshot that it needs then must wait for the log write in flight. */
static void
scene_snapshot_while_a_log_write_is_in_flight(struct sim_world *world)
{
    for (int round = 0; round < 2; round++) {
        struct host *stalled = other_than(world, leader(world), NULL);
        world->swarm.pace_us = 40 * MS_US;
        stall_disk(stalled);
        stalled->stall_us = 0; /* Only the log stalls. */
        uint64_t before = installed(stalled);
        chaos_pass(world, 12 * SEC_US);
        world->swarm.pace_us = 400 * MS_US;
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            if (&world->hosts[i] != stalled) {
                part(stalled, &world->hosts[i], 5 * SEC_US);
            }
        }
        chaos_pass(world, 12 * SEC_US);
        must(stalled->write_due_us != UINT64_MAX &&
             installed(stalled) == before);
        uint64_t commit = status_of(leader(world)).raft.commit;
        resume_disk(stalled);
        chaos_pass(
            world,
            6 * SEC_US); /* By snapshot, or by entries that had arrived. */
        must(node_applied(stalled->node) >= commit);
    }
}

static bool all_listed(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct node_status status;
        if (!host_is_up(&world->hosts[i])) {
            return false;
        }
        node_get_status(world->hosts[i].node, &status);
        for (uint32_t k = 0; k < world->swarm.hosts; k++) {
            bool found = false;
            for (uint32_t m = 0; m < status.conf->count; m++) {
                found = found || strcmp(status.conf->members[m].addr,
                                        world->hosts[k].addr) == 0;
            }
            if (!found) {
                return false;
            }
        }
    }
    return true;
}

static void must_be_listed(struct sim_world *world)
{
    for (int i = 0; i < 200 && !all_listed(world); i++) {
        chaos_pass(world, 100 * MS_US);
    }
    if (!all_listed(world)) {
        sim_fail(world, EXIT_LIVENESS,
                 "the configuration lacks the new address of a member");
    }
    must_go_on(world, 6 * SEC_US, 1);
}

/* A request of a scene, which waits for its completion. */
struct asked {
    struct node_request request;
    const struct sim_world *world;
    bool done;
    bool ok;
};

static void asked_done(struct node_request *request,
                       const struct node_result *result)
{
    struct asked *asked = container_of(request, struct asked, request);
    asked->done = true;
    asked->ok = result->outcome == NODE_OK;
    sim_trace(asked->world, "scene: %s", node_outcome_name(result->outcome));
}

static struct asked asked_of(const struct host *at, uint64_t timeout_ms)
{
    return (struct asked){
        .world = at->world,
        .request = {.cb = asked_done,
                    .deadline_ms = net_clock_ms(at) + timeout_ms}};
}

/* Report the host's address to `at`, as --join does for a member that finds no
 * leader. */
static void report_address(struct host *host, struct host *at)
{
    struct sim_world *world = host->world;
    struct node_status status;
    node_get_status(host->node, &status);
    struct raft_member member = {.id = status.raft.self,
                                 .suffrage = RAFT_LEARNER};
    memcpy(member.uuid, status.uuid, sizeof(member.uuid));
    snprintf(member.name, sizeof(member.name), "%s", host->name);
    snprintf(member.addr, sizeof(member.addr), "%s", host->addr);
    struct asked asked = asked_of(at, 1000);
    node_moved(at->node, &asked.request, &member);
    at->hook_due_ms = 0;
    chaos_pass(world, 2 * SEC_US);
    must(asked.done);
    node_request_free(&asked.request);
}

/* M13: the leader moves, then all hosts at once, and none finds another until
 * each has learned one address. */
static void scene_members_move(struct sim_world *world)
{
    struct host *old = leader(world);
    host_crash(old, false, 0);
    host_move(old, 8);
    old->down_us = world->now_us + 1;
    must_be_listed(world);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        host_crash(&world->hosts[i], false, 0);
        host_move(&world->hosts[i], 9);
        world->hosts[i].down_us = world->now_us + 1;
    }
    chaos_pass(world, 10 * SEC_US);
    must(!host_leader(world));
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            struct host *host = &world->hosts[i];
            if (host_is_up(host) && !node_leader(host->node)) {
                report_address(host, &world->hosts[i == 0]);
            }
        }
    }
    must_be_listed(world);
}

/* Restart with an empty disk and the command line of a first start. */
static void start_as_founder(struct host *host, uint32_t wait_ms)
{
    struct sim_world *world = host->world;
    power_off(host, 1);
    host_wipe(host);
    host->bootstraps = true;
    host->second = true;
    host->bootstrap_wait_ms = wait_ms;
    host->down_us = world->now_us + 1;
}

static void part_from_all(struct host *host, uint64_t us)
{
    struct sim_world *world = host->world;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        if (&world->hosts[i] != host) {
            part(host, &world->hosts[i], us);
        }
    }
}

static void must_know_the_other_cluster(const struct host *host, bool founded)
{
    struct sim_world *world = host->world;
    must(host_is_up(host));
    if (!node_foreign(host->node) || node_is_member(host->node) != founded) {
        sim_fail(world, EXIT_CORRECTNESS,
                 "%s %s, and does not know the other cluster", host->name,
                 founded ? "founded a cluster" : "was to listen");
    }
}

/* The disk of the node that bootstrapped is lost, and it starts as it did the
 * first time. Nothing is ever written to a second cluster while clients use all
 * three hosts: the check of the history at the end proves it. */
static void scene_wiped_founder(struct sim_world *world)
{
    struct host *founder = &world->hosts[0];
    start_as_founder(founder, 4000);
    chaos_pass(world, 20 * SEC_US);
    must_know_the_other_cluster(founder, false);
    /* Its knowledge survives a restart, though it gets no HELLO then. */
    part_from_all(founder, 10 * SEC_US);
    power_off(founder, 1);
    chaos_pass(world, 8 * SEC_US);
    must_know_the_other_cluster(founder, false);

    /* Cut off, it does bootstrap one. Clients are idle meanwhile. */
    world->swarm.pace_us = 1000000 * SEC_US;
    chaos_pass(world, 10 * SEC_US);
    part_from_all(founder, 8 * SEC_US);
    start_as_founder(founder, 0);
    chaos_pass(world, 6 * SEC_US);
    must(host_is_up(founder) && node_is_leader(founder->node));
    must(!node_foreign(founder->node));
    chaos_pass(world, 12 * SEC_US);
    must_know_the_other_cluster(founder, true);
    clients_burst(founder, 4, true);
    chaos_pass(world, 5 * SEC_US);
    part_from_all(founder, 10 * SEC_US);
    power_off(founder, 1);
    chaos_pass(world, 2 * SEC_US);
    must_know_the_other_cluster(founder, true);
    clients_burst(founder, 4, true);
    clients_burst(founder, 4, false);
    chaos_pass(world, 5 * SEC_US);

    power_off(founder, 1);
    host_wipe(founder);
    founder->down_us = world->now_us + 1;
}

static void wait_for_operator(struct sim_world *world)
{
    for (int i = 0; i < 100 && !chaos_idle(world); i++) {
        chaos_pass(world, 100 * MS_US);
    }
    must(chaos_idle(world));
}

static bool votes(const struct host *host)
{
    struct sim_world *world = host->world;
    struct node_status self;
    struct node_status status;
    node_get_status(host->node, &self);
    node_get_status(leader(world)->node, &status);
    const struct raft_member *member =
        raft_conf_find(status.conf, self.raft.self);
    return member && member->suffrage == RAFT_VOTER;
}

/* Voters are demoted, also the leader, while leaders lose power, checkpoints
 * release the log and barriers wait; then they are promoted again. */
static void scene_demotions_and_promotions(struct sim_world *world)
{
    uint32_t taken = 0;
    for (uint32_t round = 0; round < 9; round++) {
        struct host *at = &world->hosts[round / 3];
        struct host *member = &world->hosts[round % 3];
        chaos_vote(member, at, false);
        wait_for_operator(world);
        taken += !votes(member);
        chaos_checkpoint(member);
        wait_for_operator(world);
        chaos_barrier(other_than(world, at, NULL), at);
        chaos_pass(world, sim_below(world, 10) * 10 * MS_US);
        if (round % 2 == 0) {
            power_off(leader(world), 300 * MS_US);
        }
        chaos_pass(world, 3 * SEC_US);
        wait_for_operator(world);
        for (int tries = 0; tries < 100 && !votes(member); tries++) {
            chaos_vote(member, at, true);
            chaos_pass(world, 100 * MS_US);
            wait_for_operator(world);
        }
        must(votes(member));
        must_go_on(world, 3 * SEC_US, 1);
    }
    must(taken >= 7);
}

static void remove_member(struct host *at, raft_id id)
{
    struct sim_world *world = at->world;
    struct asked removal = asked_of(at, 5000);
    node_remove(at->node, &removal.request, id);
    at->hook_due_ms = 0;
    chaos_pass(world, 2 * SEC_US);
    must(removal.done && removal.ok);
    node_request_free(&removal.request);
}

/* Members, the leader too, are removed through another node, also while they
 * are down: the answer is "done", and the removed member learns of it, at its
 * next start if it was down. */
static void scene_removed_members_know(struct sim_world *world)
{
    for (int round = 0; round < 8; round++) {
        bool is_down = round % 4 >= 2;
        struct host *victim = round % 2 == 0
                                  ? leader(world)
                                  : other_than(world, leader(world), NULL);
        struct host *at = other_than(world, victim, NULL);
        raft_id id = status_of(victim).raft.self;
        if (is_down) {
            host_crash(victim, false, 0);
            victim->down_us = UINT64_MAX;
            chaos_pass(world, 4 * SEC_US);
            (void)leader(world);
        }
        remove_member(at, id);
        if (is_down) {
            victim->down_us = world->now_us + 1;
            chaos_pass(world, 3 * SEC_US);
        }
        must(host_is_up(victim));
        if (node_removed_index(victim->node) <= id) {
            sim_fail(world, EXIT_LIVENESS,
                     "%s does not know that it was removed", victim->name);
        }
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            must(&world->hosts[i] == victim ||
                 node_removed_index(world->hosts[i].node) == 0);
        }
        host_crash(victim, false, 0);
        host_wipe(victim);
        victim->down_us = world->now_us + 1;
        for (int i = 0; i < 400 && !host_is_voter(victim); i++) {
            chaos_pass(world, 50 * MS_US);
        }
        must(host_is_voter(victim));
        must_go_on(world, 3 * SEC_US, 1);
    }
}

/* A leader and the member that it removes are cut off from the third, whose
 * vote the removal needs: until it is committed, nobody counts as removed. */
static void scene_removal_that_may_be_lost(struct sim_world *world)
{
    struct host *old = leader(world);
    struct host *victim = other_than(world, old, NULL);
    struct host *third = other_than(world, old, victim);
    raft_id id = status_of(victim).raft.self;
    part(third, old, 8 * SEC_US);
    part(third, victim, 8 * SEC_US);
    struct asked removal = asked_of(old, 20000);
    node_remove(old->node, &removal.request, id);
    old->hook_due_ms = 0;
    for (int i = 0; i < 70; i++) {
        chaos_pass(world, 100 * MS_US);
        must(!removal.done);
        must(!raft_conf_find(status_of(old).conf, id));
        must(node_removed_index(victim->node) == 0);
    }
    chaos_pass(world, 20 * SEC_US); /* Now it is committed, or lost. */
    must(removal.done);
    bool lost = raft_conf_find(status_of(leader(world)).conf, id) != NULL;
    bool knows = node_removed_index(victim->node) > 0 ||
                 status_of(victim).raft.self != id; /* It was replaced. */
    must(knows == !lost);
    node_request_free(&removal.request);
}

/* Write a command at a host: the outcome. */
static bool write_at(struct host *at, struct buf *command)
{
    struct asked asked = asked_of(at, 2000);
    node_write(at->node, &asked.request, buf_bytes(command));
    at->hook_due_ms = 0;
    for (int i = 0; i < 300 && !asked.done; i++) {
        chaos_pass(at->world, 10 * MS_US);
    }
    must(asked.done);
    node_request_free(&asked.request);
    buf_free(command);
    return asked.ok;
}

static bool delete_key(struct host *at, const char *key)
{
    struct buf command = {0};
    struct command_writer writer;
    command_begin(&writer, &command);
    command_delete(&writer, bytes_of_string(key));
    command_end(&writer);
    return write_at(at, &command);
}

static bool delete_some_key(struct host *at)
{
    return delete_key(at, "nobody's");
}

static bool put_filling(struct host *at, int number, size_t size)
{
    char key[32];
    struct buf command = {0};
    struct command_writer writer;
    uint8_t *value = mem_zalloc(size);
    snprintf(key, sizeof(key), "fill-%d", number);
    command_begin(&writer, &command);
    command_put(&writer, bytes_of_string(key), bytes_of(value, size));
    command_end(&writer);
    mem_free(value);
    return write_at(at, &command);
}

/* Repeats until the write is carried out, or fails the run. */
static void must_put(struct sim_world *world, int number, size_t size)
{
    for (int tries = 0; tries < 50; tries++) {
        if (put_filling(leader(world), number, size)) {
            return;
        }
    }
    sim_fail(world, EXIT_LIVENESS, "write %d is refused", number);
}

/* Disks of 8 MB are filled by their own data, until nothing more is accepted.
 * No host is worse off than that: all lose power, come back, and after deletes
 * as much can be written again. */
static void scene_small_disks(struct sim_world *world)
{
    enum { COUNT_MAX = 400, REFUSED_MAX = 6 };
    size_t size = world->seed % 2 == 0 ? 300000 : 40000;
    int count = 0;
    int refused = 0;
    while (refused < REFUSED_MAX && count < COUNT_MAX) {
        bool ok = put_filling(leader(world), count, size);
        count += ok;
        refused = ok ? 0 : refused + 1;
    }
    if (refused < REFUSED_MAX || (uint64_t)count * size < 3000000) {
        sim_fail(world, EXIT_CORRECTNESS, "%d writes of %zu bytes", count,
                 size);
    }
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        host_crash(&world->hosts[i], true, 0);
        world->hosts[i].down_us = world->now_us + SEC_US;
    }
    chaos_pass(world, 10 * SEC_US);
    for (int i = 0; i < count / 2; i++) {
        char key[32];
        bool ok = false;
        snprintf(key, sizeof(key), "fill-%d", i);
        for (int tries = 0; tries < 50 && !ok; tries++) {
            ok = delete_key(leader(world), key);
        }
        if (!ok) {
            sim_fail(world, EXIT_LIVENESS, "delete %d is refused", i);
        }
    }
    for (int i = 0; i < count / 4; i++) {
        must_put(world, i, size);
    }
}

/* The log has its configured size, and no space is requested: on full disks its
 * oldest segments must still be released for new ones, or deletes would end
 * when the prepared segments are used up. */
static void scene_deletes_on_full_disks(struct sim_world *world)
{
    for (int i = 0; i < 300; i++) {
        for (uint32_t j = 0; i >= 40 && j < world->swarm.hosts; j++) {
            world->hosts[j].full_us = UINT64_MAX;
        }
        bool ok = false;
        for (int tries = 0; tries < 50 && !ok; tries++) {
            ok = delete_some_key(leader(world));
        }
        if (!ok) {
            sim_fail(world, EXIT_LIVENESS, "delete %d is refused", i);
        }
    }
}

/* A follower receives a snapshot and is removed before it has the entries after
 * it. The leader, which kept its log for the follower, must compact it soon. */
static void scene_removed_behind_a_snapshot(struct sim_world *world)
{
    if (!host_keeps_little(world)) {
        return; /* The history has no room for so many writes. */
    }
    struct host *old = leader(world);
    struct host *victim = other_than(world, old, NULL);
    raft_id id = status_of(victim).raft.self;
    power_off(victim, UINT64_MAX / 2);
    world->swarm.pace_us = 40 * MS_US;
    chaos_pass(world, 12 * SEC_US);
    uint64_t sent = node_get_metrics(old->node)->snapshots_sent;
    victim->down_us = world->now_us + 1;
    for (int i = 0; i < 5000 && leader(world) == old &&
                    node_get_metrics(old->node)->snapshots_sent == sent;
         i++) {
        chaos_pass(world, MS_US);
    }
    must(leader(world) == old);
    must(node_get_metrics(old->node)->snapshots_sent == sent + 1);
    power_off(victim, UINT64_MAX / 2);
    remove_member(old, id);
    uint64_t last = last_of(old);
    for (int i = 0; i < 120; i++) {
        chaos_pass(world, 100 * MS_US);
        uint64_t bytes = status_of(old).log_bytes;
        /* Including the segment in use and entries before the next checkpoint.
         */
        if (bytes > 3 * HOST_LOG_KEEP_BYTES) {
            sim_fail(world, EXIT_CORRECTNESS, "a log of %llu bytes",
                     (unsigned long long)bytes);
        }
    }
    must(leader(world) == old && last_of(old) > last + 500);
    host_wipe(victim);
    victim->down_us = world->now_us + 1;
}

/* A seed with which the scene once failed; 0: none. */
static uint64_t seed_that_failed(const char *name)
{
    static const struct {
        const char *name;
        uint64_t seed;
    } list[] = {
        {"deletes on full disks", 24},
        {"deletes on full disks, asynchronous I/O", 9},
        {"small disks", 22},
    };
    for (size_t i = 0; i < ARRAY_COUNT(list); i++) {
        if (strcmp(list[i].name, name) == 0) {
            return list[i].seed;
        }
    }
    return 0;
}

void scenes_run(const char *only, uint64_t first, uint64_t last, bool trace)
{
    static const struct {
        const char *name;
        uint32_t hosts;
        void (*play)(struct sim_world *world);
        bool is_long;   /* The history has room for a few thousand requests. */
        bool all_async; /* Every host has asynchronous I/O. */
    } scenes[] = {
        {"newcomer of a lost entry", 5, scene_newcomer_of_a_lost_entry, false,
         false},
        {"a leader that a paused host does not know", 5,
         scene_leader_unknown_to_a_paused_host, false, false},
        {"restart after a lost removal", 3, scene_restart_after_a_lost_removal,
         false, false},
        {"full disks", 3, scene_full_disks, false, false},
        {"a full disk, alone", 1, scene_full_disks, false, false},
        {"deletes on full disks", 3, scene_deletes_on_full_disks, true, false},
        {"power losses of all", 3, scene_power_losses_of_all, false, false},
        {"demotions and promotions", 3, scene_demotions_and_promotions, true,
         false},
        {"corrupted bytes", 3, scene_corrupted_bytes, false, false},
        {"leaders are cut off", 3, scene_leaders_are_cut_off, false, false},
        {"answers to a former incarnation", 3,
         scene_answers_to_a_former_incarnation, false, false},
        {"S06 power loss during the installation of a snapshot", 3,
         scene_power_loss_during_install, true, false},
        {"E08 a bridge", 3, scene_bridge, true, false},
        {"E14 a paused leader", 3, scene_paused_leader, true, false},
        {"E15 clock rates", 3, scene_clock_rates, true, false},
        {"E16 power loss, every order", 3, scene_power_loss_and_every_order,
         true, false},
        {"R13 a paused follower", 3, scene_paused_follower, true, false},
        {"M07 a wiped directory", 3, scene_wiped_directory, true, false},
        {"removed members know", 3, scene_removed_members_know, true, false},
        {"removed behind a snapshot", 3, scene_removed_behind_a_snapshot, true,
         false},
        {"a removal that may be lost", 3, scene_removal_that_may_be_lost, true,
         false},
        {"M13 members move", 3, scene_members_move, true, false},
        {"a wiped founder", 3, scene_wiped_founder, true, false},
        {"C06 the leader dies with forwarded requests", 3,
         scene_leader_dies_with_forwarded_requests, true, false},
        {"C04 repeats across leader kills", 3,
         scene_repeats_across_leader_kills, true, false},
        {"restores across leader kills", 3, scene_restores_across_leader_kills,
         true, false},
        {"an abandoned restore", 3, scene_abandoned_restore, true, false},
        {"D13 the leader's disk stalls", 3, scene_leaders_disk_stalls, true,
         false},
        {"D13 a stalled disk, asynchronous I/O", 3, scene_stalled_disk, true,
         true},
        {"D13 a stalled database sync, asynchronous I/O", 3,
         scene_stalled_database_sync, true, true},
        {"a snapshot while a log write is in flight", 3,
         scene_snapshot_while_a_log_write_is_in_flight, true, true},
        {"small disks", 3, scene_small_disks, true, false},
        {"a small disk, alone, asynchronous I/O", 1, scene_small_disks, true,
         true},
        {"full disks, asynchronous I/O", 3, scene_full_disks, false, true},
        {"deletes on full disks, asynchronous I/O", 3,
         scene_deletes_on_full_disks, true, true},
        {"power losses of all, asynchronous I/O", 3, scene_power_losses_of_all,
         false, true},
        {"leaders are cut off, asynchronous I/O", 3, scene_leaders_are_cut_off,
         false, true},
        {"O05 a black hole", 3, scene_black_hole, true, false},
        {"time-outs across leaders", 3, timeouts_play, true, false},
        {"time-outs, asynchronous I/O", 3, timeouts_play, true, true},
        {"time-outs after a false stamp", 3, timeouts_false_stamp, true, false},
    };
    struct sim_world *world = mem_zalloc(sizeof(*world));
    for (size_t i = 0; i < ARRAY_COUNT(scenes); i++) {
        if (!strstr(scenes[i].name, only)) {
            continue;
        }
        uint64_t more = first == 1 ? seed_that_failed(scenes[i].name) : 0;
        for (uint64_t at = first; at <= last + (more > last); at++) {
            uint64_t seed = at <= last ? at : more;
            if (trace) {
                printf("scene: %s\n", scenes[i].name);
            }
            struct swarm swarm = quiet;
            swarm.hosts = scenes[i].hosts;
            swarm.all_async = scenes[i].all_async;
            if (scenes[i].play == scene_small_disks) {
                swarm.disk_bytes = 8 << 20;
                swarm.clients = 0; /* They would delete and restore. */
            }
            if (scenes[i].play == timeouts_play ||
                scenes[i].play == timeouts_false_stamp) {
                swarm.clients = 0; /* They would restore. */
            }
            swarm.keys = scenes[i].is_long ? KEYS_MAX : 3;
            swarm.pace_us = (scenes[i].is_long ? 400 : 200) * MS_US;
            chaos_begin(world, seed, trace, &swarm);
            scenes[i].play(world);
            chaos_end(world);
        }
        printf("ok     scene: %s\n", scenes[i].name);
    }
    mem_free(world);
}
