/* scenes.c -- runs after a script. What the simulator found by dice is here
 * without them, so that it stays found when the dice fall otherwise. */
#include <stdio.h>

#include "sim.h"

static const struct swarm quiet = {
    .hosts = 3, .clients = 8, .keys = 3, .delay_us = 500, .sync_us = 100};

static void part(struct host *a, struct host *b, uint64_t us)
{
    world.cut[a->number][b->number] = true;
    world.cut[b->number][a->number] = true;
    world.cut_until_us[a->number][b->number] = world.now_us + us;
    world.cut_until_us[b->number][a->number] = world.now_us + us;
}

static struct host *leader(void)
{
    for (int tries = 0; tries < 100 && !host_leader(); tries++) {
        chaos_pass(100 * MS_US);
    }
    must(host_leader());
    return host_leader();
}

static struct host *other_than(const struct host *a, const struct host *b)
{
    struct host *other = world.hosts;
    while (other == a || other == b) {
        other++;
    }
    return other;
}

/* A leader that reaches nobody but a newcomer adds it. The entry is lost with
 * the leader's place, and the newcomer must still get in: the id must not have
 * been told before it was sure. */
static void scene_newcomer_of_a_lost_entry(void)
{
    struct host *old = leader();
    struct host *victim = other_than(old, NULL);
    chaos_remove(victim, old);
    while (host_is_up(victim)) {
        chaos_pass(10 * MS_US);
    }
    /* It is out, and has a new disk; it starts only now. */
    victim->down_us = world.now_us + 1;
    victim->join_us = UINT64_MAX;
    chaos_pass(50 * MS_US);
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        struct host *voter = &world.hosts[i];
        if (voter != old && voter != victim) {
            part(old, voter, 10 * SEC_US);
        }
    }
    chaos_join(victim, old);
    chaos_pass(10 * SEC_US);
    victim->join_us = world.now_us;
}

/* A removal is in the log of a leader that reaches nobody, and is cut from it
 * when the next one leads. Later that node starts again: its members are those
 * before the removal, though the log on disk has both. */
static void scene_restart_after_a_lost_removal(void)
{
    struct host *old = leader();
    struct host *victim = other_than(old, NULL);
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        if (&world.hosts[i] != old) {
            part(old, &world.hosts[i], 8 * SEC_US);
        }
    }
    chaos_remove(victim, old);
    chaos_pass(12 * SEC_US);
    must(host_is_up(victim));
    host_crash(old, false, 0);
    old->down_us = world.now_us + 1;
    chaos_pass(2 * SEC_US);
}

/* Of five, one sleeps while another is replaced: it has never heard of the new
 * number. Then two more stop, and the only majority left is the newcomer, the
 * sleeper, and one that does not reach the sleeper: the newcomer must lead. */
static void scene_leader_that_a_sleeper_does_not_know(void)
{
    struct host *old = leader();
    struct host *rest[4];
    uint32_t count = 0;
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        if (&world.hosts[i] != old) {
            must(count < ARRAY_COUNT(rest));
            rest[count++] = &world.hosts[i];
        }
    }
    struct host *sleeper = rest[0];
    struct host *newcomer = rest[1];
    sleeper->paused_us = UINT64_MAX;
    chaos_pass(5 * SEC_US);
    host_crash(newcomer, false, 0);
    host_wipe(newcomer);
    newcomer->down_us = world.now_us + 1;
    for (int i = 0; i < 400 && !host_is_voter(newcomer); i++) {
        chaos_pass(50 * MS_US);
    }
    must(host_is_voter(newcomer));
    old->paused_us = UINT64_MAX;
    rest[2]->paused_us = UINT64_MAX;
    part(rest[3], sleeper, UINT64_MAX / 2);
    sleeper->paused_us = 0;
    chaos_pass(20 * SEC_US);
    if (!node_is_leader(newcomer->node)) {
        sim_fail(EXIT_LIVENESS, "%s does not lead", newcomer->name);
    }
}

/* Disks fill up under load, one after the other and all at once. */
static void scene_full_disks(void)
{
    for (int round = 0; round < 40; round++) {
        for (uint32_t i = 0; i < world.swarm.hosts; i++) {
            if (round % 4 == 3 || i == (uint32_t)round % 3) {
                world.hosts[i].full_us = world.now_us + SEC_US;
            }
        }
        chaos_pass(1200 * MS_US);
    }
}

/* All lose power again and again, while they write. */
static void scene_power_losses_of_all(void)
{
    for (int round = 0; round < 12; round++) {
        chaos_pass(2 * SEC_US);
        for (uint32_t i = 0; i < world.swarm.hosts; i++) {
            if (host_is_up(&world.hosts[i])) {
                host_crash(&world.hosts[i], true, 0);
                world.hosts[i].down_us = world.now_us + SEC_US;
            }
        }
    }
}

/* Every byte that is flipped on the way ends a link, and none leaves one that
 * only looks alive. */
static void scene_wrong_bytes(void)
{
    for (int round = 0; round < 2000; round++) {
        chaos_pass(5 * MS_US);
        net_garble_one();
    }
}

/* Leadership goes round and round under load. */
static void scene_leaders_are_cut_off(void)
{
    for (int round = 0; round < 10; round++) {
        struct host *old = leader();
        for (uint32_t i = 0; i < world.swarm.hosts; i++) {
            if (&world.hosts[i] != old) {
                part(old, &world.hosts[i], 3 * SEC_US);
            }
        }
        chaos_pass(4 * SEC_US);
    }
}

void scenes_run(bool trace)
{
    static const struct {
        const char *name;
        uint32_t hosts;
        void (*play)(void);
    } scenes[] = {
        {"newcomer of a lost entry", 5, scene_newcomer_of_a_lost_entry},
        {"a leader that a sleeper does not know", 5,
         scene_leader_that_a_sleeper_does_not_know},
        {"restart after a lost removal", 3, scene_restart_after_a_lost_removal},
        {"full disks", 3, scene_full_disks},
        {"a full disk, alone", 1, scene_full_disks},
        {"power losses of all", 3, scene_power_losses_of_all},
        {"wrong bytes", 3, scene_wrong_bytes},
        {"leaders are cut off", 3, scene_leaders_are_cut_off},
    };
    for (size_t i = 0; i < ARRAY_COUNT(scenes); i++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            if (trace) {
                printf("scene: %s\n", scenes[i].name);
            }
            struct swarm swarm = quiet;
            swarm.hosts = scenes[i].hosts;
            chaos_begin(seed, trace, &swarm);
            scenes[i].play();
            chaos_end();
        }
        printf("ok     scene: %s\n", scenes[i].name);
    }
}
