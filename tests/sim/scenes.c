/* scenes.c -- runs after a script. What the simulator found by dice is here
 * without them, so that it stays found when the dice fall otherwise. */
#include <stdio.h>

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

/* A leader that reaches nobody but a newcomer adds it. The entry is lost with
 * the leader's place, and the newcomer must still get in: the id must not have
 * been told before it was sure. */
static void scene_newcomer_of_a_lost_entry(struct sim_world *world)
{
    struct host *old = leader(world);
    struct host *victim = other_than(world, old, NULL);
    chaos_remove(victim, old);
    while (host_is_up(victim)) {
        chaos_pass(world, 10 * MS_US);
    }
    /* It is out, and has a new disk; it starts only now. */
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

/* A removal is in the log of a leader that reaches nobody, and is cut from it
 * when the next one leads. Later that node starts again: its members are those
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

/* Of five, one sleeps while another is replaced: it has never heard of the new
 * number. Then two more stop, and the only majority left is the newcomer, the
 * sleeper, and one that does not reach the sleeper: the newcomer must lead. */
static void scene_leader_that_a_sleeper_does_not_know(struct sim_world *world)
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

/* Disks fill up under load, one after the other and all at once. */
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

/* All lose power again and again, while they write. */
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

/* Every byte that is flipped on the way ends a link, and none leaves one that
 * only looks alive. */
static void scene_wrong_bytes(struct sim_world *world)
{
    for (int round = 0; round < 2000; round++) {
        chaos_pass(world, 5 * MS_US);
        net_garble_one(world);
    }
}

/* A follower without which nothing is committed passes writes on, and is killed
 * before it has them in its own log. It starts again and passes on others:
 * the answers to those of its earlier life are not for these. */
static void scene_answers_to_an_earlier_life(struct sim_world *world)
{
    world->swarm.pace_us = 100 * SEC_US; /* They do what they are told here. */
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
        /* Whatever was acknowledged, the other two must have. */
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

/* S06: an empty node gets a snapshot, and loses power at one change of its disk
 * after the other. */
static void scene_power_lost_while_it_is_installed(struct sim_world *world)
{
    chaos_pass(world,
               20 * SEC_US); /* The log does not begin with 1 any more. */
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

/* Leadership goes round and round under load. */
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

/* Writes go on in every piece of so long. */
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

/* E15: one clock at half, one at double speed. Nobody's time-outs may unseat
 * the leader, whichever of them leads. */
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
            sim_fail(world, EXIT_LIVENESS,
                     "a clock's rate unseated the leader");
        }
    }
}

/* E16: all lose power and come back in every order, seconds apart. */
static void scene_power_loss_and_every_order(struct sim_world *world)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < ARRAY_COUNT(orders); o++) {
        uint64_t before = world->acked;
        for (uint32_t i = 0; i < 3; i++) {
            power_off(&world->hosts[orders[o][i]], (1 + 3 * i) * SEC_US);
        }
        /* Two of three are enough, the third is not waited for. */
        chaos_pass(world, 3500 * MS_US);
        must(world->acked == before);
        chaos_pass(world, 3 * SEC_US);
        must_go_on(world, 6 * SEC_US, 2);
    }
}

/* R12, R13: a follower sleeps through many writes, then has them all. */
static void scene_follower_sleeps(struct sim_world *world)
{
    struct host *sleeper = other_than(world, leader(world), NULL);
    sleeper->paused_us = UINT64_MAX;
    must_go_on(world, 6 * SEC_US, 5);
    sleeper->paused_us = 0;
    must_go_on(world, 6 * SEC_US, 1);
}

/* M07: a wiped directory comes back under a new number; the old one, with
 * the promises that were made under it, is gone. */
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

/* Whose leader dies, the next one is asked: with a name that is safe. */
static void named_are_not_abandoned(struct sim_world *world)
{
    if (clients_abandoned(world) > 0) {
        sim_fail(world, EXIT_LIVENESS, "%llu named writes were not repeated",
                 (unsigned long long)clients_abandoned(world));
    }
}

/* C06, C07: the leader loses power while the others pass requests on to it.
 * "Not applied" must be true, and what nobody knows may be either; the
 * history says so at the end. */
static void scene_leader_dies_with_forwarded_requests(struct sim_world *world)
{
    for (int round = 0; round < 20; round++) {
        power_off(leader(world), 500 * MS_US);
        chaos_pass(world, 4 * SEC_US);
    }
    named_are_not_abandoned(world);
}

/* C04: the leader dies again and again, with writes under way that will be
 * asked for once more elsewhere. Each happens once, and the answer is the
 * first one: the history says so at the end. */
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

/* Restores go on across leaders that die, in whichever step it is, and each
 * replaces all or nothing, once: the history says so at the end. */
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

/* A restore that nobody goes on with is given up two minutes after its last
 * step, by whoever leads then. */
static void scene_abandoned_restore(struct sim_world *world)
{
    enum { ID = 1 << 20 };
    world->swarm.clients = 0; /* They restore as well. */
    chaos_pass(world, 20 * SEC_US);
    must(chaos_restore(leader(world), COMMAND_RESTORE_BEGIN, ID));
    chaos_pass(world, 100 * SEC_US);
    must(chaos_restore(leader(world), COMMAND_RESTORE_ROWS, ID));
    chaos_pass(world, 100 * SEC_US);
    must(
        chaos_restore(leader(world), COMMAND_RESTORE_ROWS, ID)); /* A repeat. */
    power_off(leader(world), SEC_US);
    chaos_pass(world, 140 * SEC_US);
    must(!chaos_restore(leader(world), COMMAND_RESTORE_ROWS, ID));
    world->swarm.clients = quiet.clients;
    must_go_on(world, 6 * SEC_US, 1);
}

/* O05: one peer swallows all and answers nothing; the others do not wait. */
static void scene_black_hole(struct sim_world *world)
{
    struct host *old = leader(world);
    struct host *hole = other_than(world, old, NULL);
    world->cut[hole->number][old->number] = true;
    world->cut_until_us[hole->number][old->number] = UINT64_MAX;
    must_go_on(world, 6 * SEC_US, 4);
    if (leader(world) != old) {
        sim_fail(world, EXIT_LIVENESS, "a black hole unseated the leader");
    }
}

/* E08: a bridge: a and b do not see each other, c sees both. Whoever led,
 * one leads and stays. */
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
                     "leadership went round over the bridge");
        }
        chaos_pass(world, 3 * SEC_US);
    }
}

/* E14: the leader sleeps for ten seconds, wakes up, and answers no read from
 * what it held; the history says so at the end. */
static void scene_leader_sleeps(struct sim_world *world)
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

/* D13: the leader's disk takes a second, ten, and does not come back. While
 * it waits it is silent, so that the others choose another one. */
static void scene_leaders_disk_stalls(struct sim_world *world)
{
    static const uint64_t stalls[] = {1, 10, 30};
    for (size_t i = 0; i < ARRAY_COUNT(stalls); i++) {
        struct host *old = leader(world);
        old->stall_us = world->now_us + stalls[i] * SEC_US;
        must_go_on(world, 9 * SEC_US, 1); /* Many clients wait at its door. */
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

/* Its disk does not come back. The log meets that first, by what was asked for
 * just when something had been applied: to commit that would be the first
 * write to the -wal after a checkpoint, which SQLite syncs there and then. */
static void disk_sticks(struct host *host)
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
    for (int i = 0; i < 20 && host->flight_us == UINT64_MAX; i++) {
        clients_burst(leader(world), 1, true);
        chaos_pass(world, MS_US);
    }
    must(host->flight_us != UINT64_MAX);
    chaos_pass(world, 30 * MS_US);
    host->stall_us = UINT64_MAX / 2;
}

static void disk_is_back(struct host *host)
{
    host->stall_us = 0;
    host->log_stall_us = 0;
}

/* The same where the log is written beside the loop: the node goes on without
 * its disk. It steps down and does not campaign, it hears of the next leader
 * and of what that commits, and when the disk is back it has it all. A
 * follower's disk hurts nobody. */
static void scene_stuck_disk_beside_the_loop(struct sim_world *world)
{
    for (int round = 0; round < 4; round++) {
        bool leads = round % 2 == 0;
        struct host *stuck =
            leads ? leader(world) : other_than(world, leader(world), NULL);
        uint64_t term = node_term(leader(world)->node);
        disk_sticks(stuck);
        must_go_on(world, 9 * SEC_US, 1);
        struct host *next = leader(world);
        must(next != stuck && (leads || node_term(next->node) == term));
        uint64_t turns = stuck->turns;
        chaos_pass(world, 2 * SEC_US);
        struct node_status status = status_of(stuck);
        must(status.disk_stuck && status.raft.role == RAFT_FOLLOWER);
        must(status.raft.leader == status_of(next).raft.self);
        /* It lives, and does not ask its disk again and again. */
        must(stuck->turns > turns + 10 && stuck->turns < turns + 5000);
        uint64_t durable = status.raft.durable;
        must(status_of(next).raft.commit > durable);
        must(node_applied(stuck->node) <= durable);
        if (round == 3) {
            power_off(stuck, SEC_US);
        }
        disk_is_back(stuck);
        chaos_pass(world, 3 * SEC_US);
        status = status_of(stuck);
        must(!status.disk_stuck && status.raft.durable > durable);
        must_go_on(world, 6 * SEC_US, 1);
    }
}

/* Its database's sync does not come back, though its log's would. */
static void database_sticks(struct host *host)
{
    struct sim_world *world = host->world;
    host->db_stall_us = UINT64_MAX / 2;
    for (int i = 0; i < 1000 && host->sync_us == UINT64_MAX; i++) {
        chaos_checkpoint(host);
        chaos_pass(world, 10 * MS_US);
    }
    must(host->sync_us != UINT64_MAX);
}

/* Nothing is applied meanwhile, so who does not apply does not lead: it takes
 * part in nothing until the disk is back, and then has it all. */
static void scene_stuck_database_beside_the_loop(struct sim_world *world)
{
    for (int round = 0; round < 4; round++) {
        bool leads = round % 2 == 0;
        struct host *stuck =
            leads ? leader(world) : other_than(world, leader(world), NULL);
        uint64_t term = node_term(leader(world)->node);
        database_sticks(stuck);
        must_go_on(world, 9 * SEC_US, 1);
        struct host *next = leader(world);
        must(next != stuck && (leads || node_term(next->node) == term));
        uint64_t turns = stuck->turns;
        uint64_t applied = node_applied(stuck->node);
        chaos_pass(world, 2 * SEC_US);
        struct node_status status = status_of(stuck);
        must(status.disk_stuck && status.raft.role == RAFT_FOLLOWER);
        must(stuck->turns > turns + 10 && stuck->turns < turns + 5000);
        must(node_applied(stuck->node) == applied);
        if (round == 3) {
            power_off(stuck, SEC_US);
        }
        stuck->db_stall_us = 0;
        chaos_pass(world, 3 * SEC_US);
        status = status_of(stuck);
        must(!status.disk_stuck && node_applied(stuck->node) > applied);
        must_go_on(world, 6 * SEC_US, 1);
    }
}

static uint64_t installed(const struct host *host)
{
    return node_get_metrics(host->node)->snapshots_installed;
}

/* A follower's log is stuck for so long that the others do not keep theirs for
 * it. The snapshot that comes instead must wait for what is in flight. */
static void scene_snapshot_beside_a_flight(struct sim_world *world)
{
    for (int round = 0; round < 2; round++) {
        struct host *stuck = other_than(world, leader(world), NULL);
        world->swarm.pace_us = 40 * MS_US;
        disk_sticks(stuck);
        stuck->stall_us = 0; /* It is the log alone. */
        uint64_t before = installed(stuck);
        chaos_pass(world, 12 * SEC_US);
        world->swarm.pace_us = 400 * MS_US;
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            if (&world->hosts[i] != stuck) {
                part(stuck, &world->hosts[i], 5 * SEC_US);
            }
        }
        chaos_pass(world, 12 * SEC_US);
        must(stuck->flight_us != UINT64_MAX && installed(stuck) == before);
        uint64_t commit = status_of(leader(world)).raft.commit;
        disk_is_back(stuck);
        chaos_pass(world, 6 * SEC_US); /* By it, or by what was gathered. */
        must(node_applied(stuck->node) >= commit);
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
                 "the membership does not follow who moved");
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

/* What --join does for a member that finds no leader. */
static void tell_where(struct host *host, struct host *at)
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

/* M13: the leader moves, then all at once, and nobody finds anybody until
 * each is told where one other is. */
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
                tell_where(host, &world->hosts[i == 0]);
            }
        }
    }
    must_be_listed(world);
}

/* A new disk, and the command line of its first start. */
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

static void must_know_the_other(const struct host *host, bool founded)
{
    struct sim_world *world = host->world;
    must(host_is_up(host));
    if (!node_foreign(host->node) || node_is_member(host->node) != founded) {
        sim_fail(world, EXIT_CORRECTNESS,
                 "%s %s, and does not know of the others", host->name,
                 founded ? "founded a cluster" : "was to listen");
    }
}

/* The founder's disk is lost, and it starts as it did the first time. Nothing
 * is ever written to a second cluster while clients ask all three: their
 * history says so at the end. */
static void scene_wiped_founder(struct sim_world *world)
{
    struct host *founder = &world->hosts[0];
    start_as_founder(founder, 4000);
    chaos_pass(world, 20 * SEC_US);
    must_know_the_other(founder, false);
    /* What it has heard outlives a restart, though nobody greets it then. */
    part_from_all(founder, 10 * SEC_US);
    power_off(founder, 1);
    chaos_pass(world, 8 * SEC_US);
    must_know_the_other(founder, false);

    /* Cut off, it does found one. Nobody asks meanwhile. */
    world->swarm.pace_us = 1000000 * SEC_US;
    chaos_pass(world, 10 * SEC_US);
    part_from_all(founder, 8 * SEC_US);
    start_as_founder(founder, 0);
    chaos_pass(world, 6 * SEC_US);
    must(host_is_up(founder) && node_is_leader(founder->node));
    must(!node_foreign(founder->node));
    chaos_pass(world, 12 * SEC_US);
    must_know_the_other(founder, true);
    clients_burst(founder, 4, true);
    chaos_pass(world, 5 * SEC_US);
    part_from_all(founder, 10 * SEC_US);
    power_off(founder, 1);
    chaos_pass(world, 2 * SEC_US);
    must_know_the_other(founder, true);
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

/* Votes are taken, also the leader's, while leaders lose power, checkpoints
 * let go of the log and barriers are waited for; and they are given back. */
static void scene_votes_come_and_go(struct sim_world *world)
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

/* Through another node, also when that is the leader who goes; also when it is
 * down and comes back later: the answer is "done", and it learns of it. */
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

/* A leader and the one that it removes are cut off from the one whose vote it
 * takes: as long as that is not committed, nobody is removed. */
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
    chaos_pass(world,
               20 * SEC_US); /* It is committed, or lost: and then known. */
    must(removal.done);
    bool lost = raft_conf_find(status_of(leader(world)).conf, id) != NULL;
    bool knows = node_removed_index(victim->node) > 0 ||
                 status_of(victim).raft.self != id; /* It was replaced. */
    must(knows == !lost);
    node_request_free(&removal.request);
}

static bool delete_some_key(struct host *at)
{
    struct asked asked = asked_of(at, 2000);
    struct buf command = {0};
    struct command_writer writer;
    command_begin(&writer, &command);
    command_delete(&writer, bytes_of_string("nobody's"));
    command_end(&writer);
    node_write(at->node, &asked.request, buf_bytes(&command));
    at->hook_due_ms = 0;
    for (int i = 0; i < 300 && !asked.done; i++) {
        chaos_pass(at->world, 10 * MS_US);
    }
    must(asked.done);
    node_request_free(&asked.request);
    buf_free(&command);
    return asked.ok;
}

/* The log is as short as it is kept, and nobody asks for less: on full disks
 * its oldest segments make room for the next ones all the same, or deletes
 * would end with the segments that are there. */
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

/* A follower gets a snapshot and is removed before it has what followed that.
 * The leader's log was kept for it, and is soon as short as any. */
static void scene_removed_behind_a_snapshot(struct sim_world *world)
{
    if (!host_keeps_little(world)) {
        return; /* The history has no room for as many writes. */
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
        /* And the segment in use, and what a checkpoint has yet to sync. */
        if (bytes > 3 * HOST_LOG_KEEP_BYTES) {
            sim_fail(world, EXIT_CORRECTNESS, "a log of %llu bytes",
                     (unsigned long long)bytes);
        }
    }
    must(leader(world) == old && last_of(old) > last + 500);
    host_wipe(victim);
    victim->down_us = world->now_us + 1;
}

void scenes_run(bool trace)
{
    static const struct {
        const char *name;
        uint32_t hosts;
        void (*play)(struct sim_world *world);
        bool is_long; /* The history has room for a few thousand requests. */
        bool all_fly; /* Every log is written beside the loop. */
    } scenes[] = {
        {"newcomer of a lost entry", 5, scene_newcomer_of_a_lost_entry, false,
         false},
        {"a leader that a sleeper does not know", 5,
         scene_leader_that_a_sleeper_does_not_know, false, false},
        {"restart after a lost removal", 3, scene_restart_after_a_lost_removal,
         false, false},
        {"full disks", 3, scene_full_disks, false, false},
        {"a full disk, alone", 1, scene_full_disks, false, false},
        {"deletes on full disks", 3, scene_deletes_on_full_disks, true, false},
        {"power losses of all", 3, scene_power_losses_of_all, false, false},
        {"votes come and go", 3, scene_votes_come_and_go, true, false},
        {"wrong bytes", 3, scene_wrong_bytes, false, false},
        {"leaders are cut off", 3, scene_leaders_are_cut_off, false, false},
        {"answers to an earlier life", 3, scene_answers_to_an_earlier_life,
         false, false},
        {"S06 power lost while a snapshot is installed", 3,
         scene_power_lost_while_it_is_installed, true, false},
        {"E08 a bridge", 3, scene_bridge, true, false},
        {"E14 the leader sleeps", 3, scene_leader_sleeps, true, false},
        {"E15 clock rates", 3, scene_clock_rates, true, false},
        {"E16 power loss, every order", 3, scene_power_loss_and_every_order,
         true, false},
        {"R13 a follower sleeps", 3, scene_follower_sleeps, true, false},
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
        {"a restore that nobody goes on with", 3, scene_abandoned_restore, true,
         false},
        {"D13 the leader's disk stalls", 3, scene_leaders_disk_stalls, true,
         false},
        {"D13 a disk is stuck beside the loop", 3,
         scene_stuck_disk_beside_the_loop, true, true},
        {"D13 a database is stuck beside the loop", 3,
         scene_stuck_database_beside_the_loop, true, true},
        {"a snapshot beside a flight", 3, scene_snapshot_beside_a_flight, true,
         true},
        {"full disks beside the loop", 3, scene_full_disks, false, true},
        {"deletes on full disks beside the loop", 3,
         scene_deletes_on_full_disks, true, true},
        {"power losses of all, logs in flight", 3, scene_power_losses_of_all,
         false, true},
        {"leaders are cut off, logs in flight", 3, scene_leaders_are_cut_off,
         false, true},
        {"O05 a black hole", 3, scene_black_hole, true, false},
    };
    struct sim_world *world = mem_zalloc(sizeof(*world));
    for (size_t i = 0; i < ARRAY_COUNT(scenes); i++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            if (trace) {
                printf("scene: %s\n", scenes[i].name);
            }
            struct swarm swarm = quiet;
            swarm.hosts = scenes[i].hosts;
            swarm.all_fly = scenes[i].all_fly;
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
