/* timeouts.c -- a script: keys that end, while leaders with clocks of different
 * rates die, sleep and hand over.
 *
 * No key may end before its time is over by the fastest clock, besides
 * CLUSTER_CLOCK_STEP_MS for each jump of a clock; and every one ends, although
 * it is longer than the reign of any leader. */
#include <stdio.h>

#include "node/cluster_clock.h"
#include "sim.h"

enum {
    ROUNDS = 24,
    FASTEST = 2000, /* Rates, in thousandths. */
    SLOWEST = 500,
    REIGN_US = 1500000,
    LATEST_US = 60000000, /* Besides the time itself, by the slowest clock. */
};

struct timed {
    struct sim_world *world;
    struct node_request request;
    struct buf command;
    char key[16];
    bool done;
    uint64_t index; /* 0: it was not written. */
    uint64_t start_us;
    uint64_t ttl_ms;
    uint64_t jumps;
    uint64_t stamp_ms; /* The leader's stamp is this one; 0: it is true. */
};

static void written(struct node_request *request,
                    const struct node_result *result)
{
    struct timed *timed = container_of(request, struct timed, request);
    timed->done = true;
    timed->index = result->outcome == NODE_OK ? result->index : 0;
}

static void encode(struct timed *timed)
{
    struct command_name unnamed = {{0}, 0};
    struct command_txn txn;
    struct command_writer list;
    timed->command.size = 0;
    command_txn(&txn, &timed->command, &unnamed, false);
    command_txn_timed(&txn);
    command_list(&list, &timed->command);
    command_end(&list);
    command_list(&list, &timed->command);
    command_add(&list, &(struct command_op){.type = COMMAND_PUT_TIMED,
                                            .key = bytes_of_string(timed->key),
                                            .ttl_ms = timed->ttl_ms});
    command_end(&list);
    if (timed->stamp_ms > 0) {
        struct buf plain = timed->command;
        timed->command = (struct buf){0};
        command_stamp(&timed->command, timed->stamp_ms, buf_bytes(&plain));
        buf_free(&plain);
    }
}

/* Write the key at the leader; it must succeed in the end. */
static void write_key(struct timed *timed)
{
    struct sim_world *world = timed->world;
    for (int tries = 0; timed->index == 0; tries++) {
        struct host *host = host_leader(world);
        if (tries == 200) {
            sim_fail(world, EXIT_LIVENESS, "%s cannot be written", timed->key);
        }
        if (!host) {
            chaos_pass(world, 100 * MS_US);
            continue;
        }
        encode(timed);
        timed->done = false;
        timed->start_us = world->now_us;
        timed->request = (struct node_request){
            .cb = written, .deadline_ms = net_clock_ms(host) + 2000};
        node_write(host->node, &timed->request, buf_bytes(&timed->command));
        host->hook_due_ms = 0;
        while (!timed->done) {
            chaos_pass(world, 20 * MS_US);
        }
        node_request_free(&timed->request);
    }
}

/* Is the key gone at every host that has its entry? Anywhere too early is a
 * failure. */
static bool is_gone(struct timed *timed)
{
    struct sim_world *world = timed->world;
    uint64_t extra_ms = timed->jumps * CLUSTER_CLOCK_STEP_MS;
    uint64_t least_us = timed->ttl_ms > extra_ms ? (timed->ttl_ms - extra_ms) *
                                                       MS_US * 1000 / FASTEST
                                                 : 0;
    bool all = true;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *host = &world->hosts[i];
        struct store_row row;
        if (!host_is_up(host) || !host->node ||
            node_applied(host->node) < timed->index) {
            all = false;
            continue;
        }
        bool here =
            node_get(host->node, bytes_of_string(timed->key), &row) == ERR_OK;
        if (!here && world->now_us < timed->start_us + least_us) {
            sim_fail(world, EXIT_CORRECTNESS, "%s ends at %s %llu ms early",
                     timed->key, host->name,
                     (unsigned long long)((timed->start_us + least_us -
                                           world->now_us) /
                                          MS_US));
        }
        all = all && !here;
    }
    return all;
}

/* Something happens to the leader. */
static void disturb(struct timed *timed)
{
    struct sim_world *world = timed->world;
    struct host *host = host_leader(world);
    if (!host) {
        return;
    }
    switch (sim_below(world, 4)) {
    case 0:
        host_crash(host, sim_below(world, 2) == 0, 0);
        host->down_us = world->now_us + sim_below(world, SEC_US) + 1;
        break;
    case 1: /* The machine sleeps: only its clock goes on. */
        host->paused_us = world->now_us + 200 * MS_US;
        host->clock_offset_us += 20 * SEC_US;
        timed->jumps++;
        break;
    case 2:
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            host_crash(&world->hosts[i], true, 0);
            world->hosts[i].down_us =
                world->now_us + sim_below(world, SEC_US) + 1;
        }
        break;
    default:
        break;
    }
}

void timeouts_play(struct sim_world *world)
{
    static const uint64_t rates[] = {SLOWEST, 1000, FASTEST};
    struct timed timed = {.world = world};
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < world->swarm.hosts; i++) {
            struct host *host = &world->hosts[i];
            uint64_t rate = rates[(i + round) % 3];
            /* The clock goes on from where it is. */
            host->clock_offset_us += world->now_us / 1000 * host->clock_rate;
            host->clock_offset_us -= world->now_us / 1000 * rate;
            host->clock_rate = rate;
        }
        snprintf(timed.key, sizeof(timed.key), "ttl-%u", round);
        timed.index = 0;
        timed.jumps = 0;
        timed.ttl_ms = round % 2 == 0 ? 100 + sim_below(world, 1000)
                                      : 4000 + sim_below(world, 8000);
        write_key(&timed);
        uint64_t disturb_us = world->now_us + sim_below(world, REIGN_US);
        uint64_t until_us =
            timed.start_us + LATEST_US + timed.ttl_ms * MS_US * 1000 / SLOWEST;
        while (!is_gone(&timed)) {
            if (world->now_us >= until_us) {
                sim_fail(world, EXIT_LIVENESS, "%s does not end", timed.key);
            }
            /* Leaders change more often than the time takes, but not for
             * ever. */
            if (world->now_us >= disturb_us &&
                world->now_us < until_us - LATEST_US / 2) {
                disturb(&timed);
                disturb_us = world->now_us + REIGN_US / 2 +
                             sim_below(world, 2 * REIGN_US);
            }
            chaos_pass(world, 20 * MS_US);
        }
    }
    buf_free(&timed.command);
}

static void wait_until_gone(struct timed *timed)
{
    struct sim_world *world = timed->world;
    while (!is_gone(timed)) {
        if (world->now_us >=
            timed->start_us + LATEST_US + timed->ttl_ms * MS_US) {
            sim_fail(world, EXIT_LIVENESS, "%s does not end", timed->key);
        }
        chaos_pass(world, 20 * MS_US);
    }
}

/* A leader lies about the time. Afterwards nothing is to end for longer than a
 * stamp moves the time there: what is written then must not end early. */
void timeouts_false_stamp(struct sim_world *world)
{
    struct timed timed = {.world = world,
                          .key = "false",
                          .ttl_ms = 1000,
                          .stamp_ms = COMMAND_TIME_MS_MAX};
    lockers_stop(world); /* Their leases would keep the time in the log. */
    write_key(&timed);
    struct host *liar = host_leader(world);
    if (liar) {
        host_crash(liar, true, 0);
        liar->down_us = world->now_us + SEC_US;
    }
    wait_until_gone(&timed);
    chaos_pass(world, 5 * COMMAND_TIME_STEP_MS * MS_US);
    timed = (struct timed){.world = world,
                           .command = timed.command,
                           .key = "true",
                           .ttl_ms = COMMAND_TIME_STEP_MS};
    write_key(&timed);
    wait_until_gone(&timed);
    buf_free(&timed.command);
}
