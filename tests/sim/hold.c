/* hold.c -- the links to a leader delay their traffic across an election.
 *
 * Followers have answered its heartbeats, and the links delay the answers; the
 * leadership moves to another node; clients write there, and read at the old
 * leader, which does not know yet; then the delayed answers are delivered to
 * it. A leader that takes them for answers to a newer round of heartbeats
 * serves a stale read.
 *
 * By chance alone this is rare: links are cut at any time, a deposed leader
 * notices soon, and clients are elsewhere. So it is a fault of its own, with
 * its own random generator, which leaves runs without it unchanged. */
#include "sim.h"

static const uint64_t held_us_max = 2 * SEC_US;

void hold_init(struct sim_world *world)
{
    world->hold = (struct hold){.phase = HOLD_IDLE};
    rng_init(&world->hold.rng, world->seed ^ UINT64_C(0x686f6c64));
}

uint32_t hold_draw(struct sim_world *world)
{
    uint32_t rate = 1 + (uint32_t)rng_below(&world->hold.rng, 500);
    return rng_below(&world->hold.rng, 2) == 0 ? rate : 0;
}

static void cut(struct sim_world *world, bool on)
{
    const struct hold *hold = &world->hold;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        if ((int)i != hold->deposed->number) {
            world->cut[i][hold->deposed->number] = on;
            world->cut_until_us[i][hold->deposed->number] = hold->until_us;
        }
    }
}

static void start(struct sim_world *world)
{
    struct hold *hold = &world->hold;
    /* Asked ten times a second. */
    if (world->swarm.hosts < 3 ||
        rng_below(&world->hold.rng, 10000) >= world->swarm.hold) {
        return;
    }
    hold->deposed = host_leader(world);
    if (!hold->deposed || world->now_us < hold->deposed->paused_us) {
        return;
    }
    hold->until_us = world->now_us + held_us_max;
    cut(world, true);
    world->faults++;
    sim_trace(world, "the links to %s delay their traffic",
              hold->deposed->name);
    clients_burst(hold->deposed, 1, false);
    hold->phase = HELD;
}

/* The leader of a later term than the deposed leader knows; NULL when none. */
static struct host *successor(struct sim_world *world)
{
    const struct host *deposed = world->hold.deposed;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *host = &world->hosts[i];
        if (host_is_up(host) && host != deposed && node_is_leader(host->node) &&
            node_term(host->node) > node_term(deposed->node)) {
            return host;
        }
    }
    return NULL;
}

static void finish(struct sim_world *world)
{
    struct hold *hold = &world->hold;
    cut(world, false);
    hold->phase = HOLD_IDLE;
    sim_trace(world, "the links to %s deliver the delayed traffic",
              hold->deposed->name);
}

void hold_step(struct sim_world *world)
{
    struct hold *hold = &world->hold;
    if (hold->phase == HOLD_IDLE) {
        start(world);
        return;
    }
    struct host *next = NULL;
    if (world->now_us >= hold->until_us || !host_is_up(hold->deposed) ||
        !node_is_leader(hold->deposed->node)) {
        finish(world);
        return;
    }
    switch (hold->phase) {
    case HELD:
        chaos_transfer(hold->deposed);
        hold->phase = HANDED_OVER;
        break;
    case HANDED_OVER:
        next = successor(world);
        if (next) {
            clients_burst(next, 2, true);
            hold->phase = WRITTEN;
        }
        break;
    case WRITTEN:
        clients_burst(hold->deposed, 2, false);
        hold->phase = READ;
        break;
    case READ:
        finish(world);
        break;
    case HOLD_IDLE:
        break;
    }
}
