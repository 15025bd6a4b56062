/* hold.c -- a leader whose links hold what they carry across an election.
 *
 * Followers have answered its heartbeats, and the links hold the answers; the
 * leadership goes to another; clients write there, and read at the one that
 * does not know yet; then all that was held is delivered to it. Whoever takes
 * old answers for an answer to a newer question gives an old value.
 *
 * By chance alone that is rare: links are cut at any time, the deposed one
 * notices by itself soon, and clients are somewhere else. So it is a fault of
 * its own, with its own dice: runs without it are what they were. */
#include "sim.h"

enum phase { IDLE, HELD, HANDED_OVER, WRITTEN, READ };

static const uint64_t held_us_max = 2 * SEC_US;

static struct rng dice;
static enum phase phase;
static struct host *deposed;
static uint64_t until_us;

void hold_init(uint64_t seed)
{
    rng_init(&dice, seed ^ UINT64_C(0x686f6c64));
    phase = IDLE;
    deposed = NULL;
}

uint32_t hold_draw(void)
{
    uint32_t rate = 1 + (uint32_t)rng_below(&dice, 500);
    return rng_below(&dice, 2) == 0 ? rate : 0;
}

static void cut(bool on)
{
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        if ((int)i != deposed->number) {
            world.cut[i][deposed->number] = on;
            world.cut_until_us[i][deposed->number] = until_us;
        }
    }
}

static void start(void)
{
    /* Asked ten times a second. */
    if (world.swarm.hosts < 3 || rng_below(&dice, 10000) >= world.swarm.hold) {
        return;
    }
    deposed = host_leader();
    if (!deposed || world.now_us < deposed->paused_us) {
        return;
    }
    until_us = world.now_us + held_us_max;
    cut(true);
    world.faults++;
    sim_trace("the links to %s hold what they carry", deposed->name);
    clients_burst(deposed, 1, false);
    phase = HELD;
}

/* Who leads in a later term than the deposed one knows of; NULL. */
static struct host *successor(void)
{
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        struct host *host = &world.hosts[i];
        if (host_is_up(host) && host != deposed && node_is_leader(host->node) &&
            node_term(host->node) > node_term(deposed->node)) {
            return host;
        }
    }
    return NULL;
}

static void finish(void)
{
    cut(false);
    phase = IDLE;
    sim_trace("the links to %s deliver it", deposed->name);
}

void hold_step(void)
{
    if (phase == IDLE) {
        start();
        return;
    }
    struct host *next = NULL;
    if (world.now_us >= until_us || !host_is_up(deposed) ||
        !node_is_leader(deposed->node)) {
        finish();
        return;
    }
    switch (phase) {
    case HELD:
        chaos_transfer(deposed);
        phase = HANDED_OVER;
        break;
    case HANDED_OVER:
        next = successor();
        if (next) {
            clients_burst(next, 2, true);
            phase = WRITTEN;
        }
        break;
    case WRITTEN:
        clients_burst(deposed, 2, false);
        phase = READ;
        break;
    case READ:
        finish();
        break;
    case IDLE:
        break;
    }
}
