/* chaos.c -- the faults of a run, and the run itself.
 *
 * Each run draws its own mix: every class of faults is off in half of the
 * runs, since faults hide each other. First a cluster is formed as an operator
 * would: one node bootstraps it, the others join. Then faults are injected
 * under client load. Then all faults end, and within two virtual minutes every
 * host must be a voter again, take a write, and have the same state as the
 * others.
 *
 * Only one host at a time loses its data, and no second one before the first
 * votes again: no protocol survives more than that. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "command/result.h"
#include "sim.h"

static const uint64_t weather_us = 100 * MS_US;
static const uint64_t patience_us = 120 * SEC_US;

static struct sim_world *current;

struct sim_world *sim_current(void)
{
    return current;
}

/* ---- helpers ---- */

void sim_fail(const struct sim_world *world, int exit_code, const char *format,
              ...)
{
    va_list args;
    va_start(args, format);
    const char *commit = getenv("CRAFTD_COMMIT");
    fprintf(stderr, "seed %llu commit %s at %llu.%06llu s: ",
            (unsigned long long)world->seed, commit ? commit : "-",
            (unsigned long long)(world->now_us / SEC_US),
            (unsigned long long)(world->now_us % SEC_US));
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(exit_code);
}

void sim_trace(const struct sim_world *world, const char *format, ...)
{
    if (!world->trace) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%4llu.%06llu ", (unsigned long long)(world->now_us / SEC_US),
           (unsigned long long)(world->now_us % SEC_US));
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void sim_note(struct sim_world *world, uint64_t a, uint64_t b)
{
    world->hash =
        mix_u64(world->hash ^ mix_u64(world->now_us) ^ mix_u64(a) ^ b);
}

uint64_t sim_below(struct sim_world *world, uint64_t bound)
{
    return rng_below(&world->rng, bound);
}

/* -mean * ln(u), without floats: the number of leading zeros of a random
 * number is geometric, and the bits after them interpolate. */
uint64_t sim_spread(struct sim_world *world, uint64_t mean)
{
    uint64_t random = rng_next(&world->rng) | 1;
    uint64_t zeros = (uint64_t)__builtin_clzll(random);
    uint64_t rest = random << zeros << 1 >> 54; /* 10 bits */
    /* log2(1/u) in 1024ths, about; ln 2 is 710/1024. */
    uint64_t log2 = zeros * 1024 + (1024 - rest);
    return 1 + mean * log2 / 1024 * 710 / 1024;
}

static bool now_and_then(struct sim_world *world, uint32_t per_mille_a_second)
{
    if (per_mille_a_second == 0) {
        return false;
    }
    /* Called ten times a second. */
    return sim_below(world, 10000) < per_mille_a_second;
}

/* ---- the mix ---- */

static uint32_t maybe(struct sim_world *world, uint32_t most)
{
    uint32_t rate = 1 + (uint32_t)sim_below(world, most);
    return sim_below(world, 2) == 0 ? rate : 0;
}

static void draw_swarm(struct sim_world *world)
{
    static const uint32_t sizes[] = {1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7};
    world->swarm = (struct swarm){
        .hosts = sizes[sim_below(world, ARRAY_COUNT(sizes))],
        .clients = 1 + (uint32_t)sim_below(world, CLIENTS_MAX),
        .keys = 1 + (uint32_t)sim_below(world, KEYS_MAX),
        .pace_us = 200 * MS_US,
        .chaos_us = (10 + sim_below(world, 40)) * SEC_US,
        .delay_us = 100 + sim_below(world, sim_below(world, 2) ? 2000 : 40000),
        .sync_us = 20 + sim_below(world, sim_below(world, 2) ? 1000 : 30000),
        .cut = maybe(world, 200),
        .cut_one_way = maybe(world, 200),
        .reset = maybe(world, 500),
        .garble = maybe(world, 200),
        .kill = maybe(world, 100),
        .power = maybe(world, 100),
        .power_all = maybe(world, 30),
        .inside = (uint32_t)sim_below(world, 1001),
        .pause = maybe(world, 150),
        .stall = maybe(world, 100),
        .eio = maybe(world, 50),
        .full = maybe(world, 50),
        .flip = maybe(world, 300),
        .wipe = maybe(world, 40),
        .remove = maybe(world, 40),
        .transfer = maybe(world, 200),
        .clocks = sim_below(world, 2) == 0,
        .hold = hold_draw(world),
    };
}

/* ---- the operator ---- */

/* Every host but `lost` (which may be NULL) is up, is a voter, and follows one
 * leader whose configuration has them all: only then may one lose its data. */
static bool well_without(struct sim_world *world, const struct host *lost)
{
    const struct host *leader = host_leader(world);
    if (!leader || (lost && !host_is_member(lost, leader))) {
        return false;
    }
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        const struct host *host = &world->hosts[i];
        if (host == lost) {
            continue;
        }
        if (!host_is_up(host) || host->wiped || host->flipped ||
            !host_is_voter(host)) {
            return false;
        }
        const struct raft_member *followed = node_leader(host->node);
        if (!followed || strcmp(followed->name, leader->name) != 0) {
            return false;
        }
    }
    return true;
}

static bool all_well(struct sim_world *world)
{
    return well_without(world, NULL);
}

static struct host *any_up(struct sim_world *world)
{
    struct host *host = &world->hosts[sim_below(world, world->swarm.hosts)];
    return host_is_up(host) && world->now_us >= host->paused_us ? host : NULL;
}

static void join_done(struct node_request *request,
                      const struct node_result *result)
{
    struct host *host = container_of(request, struct host, join);
    struct sim_world *world = host->world;
    sim_trace(world, "join of %s: %s", host->name,
              node_outcome_name(result->outcome));
    host->join_at = -1;
    host->join_us =
        world->now_us + (result->outcome == NODE_OK ? 3000 : 500) * MS_US;
}

/* Like ops/join.c: ask a host, again and again, to be added. */
static void join_step(struct host *host)
{
    struct sim_world *world = host->world;
    struct node_status status;
    if (host->join_at >= 0 || world->now_us < host->join_us ||
        host->bootstraps || !host_is_up(host)) {
        return;
    }
    node_get_status(host->node, &status);
    if (status.member) {
        return;
    }
    host->join_us = world->now_us + 200 * MS_US;
    chaos_join(host, any_up(world));
}

void chaos_join(struct host *host, struct host *at)
{
    if (!at || at == host) {
        return;
    }
    struct node_status status;
    node_get_status(host->node, &status);
    struct raft_member member = {.suffrage = RAFT_LEARNER};
    memcpy(member.uuid, status.uuid, sizeof(member.uuid));
    snprintf(member.name, sizeof(member.name), "%s", host->name);
    snprintf(member.addr, sizeof(member.addr), "%s", host->addr);
    host->join.cb = join_done;
    host->join.deadline_ms = net_clock_ms(at) + 3000;
    host->join_at = at->number;
    node_join(at->node, &host->join, &member);
    at->hook_due_ms = 0;
}

static struct sim_world *world_asked(struct node_request *request)
{
    return container_of(request, struct sim_world, admin.request);
}

static void operator_done(struct node_request *request,
                          const struct node_result *result)
{
    struct sim_world *world = world_asked(request);
    world->admin.at = -1;
    sim_trace(world, "operator: %s", node_outcome_name(result->outcome));
    if (result->outcome != NODE_OK) {
        world->admin.removing = -1;
    }
}

static bool ask_operator(struct host *at)
{
    if (!at || !chaos_idle(at->world)) {
        return false;
    }
    struct admin *admin = &at->world->admin;
    admin->at = at->number;
    admin->request.cb = operator_done;
    admin->request.deadline_ms = net_clock_ms(at) + 5000;
    at->hook_due_ms = 0;
    return true;
}

static void remove_somebody(struct sim_world *world)
{
    struct host *victim = &world->hosts[sim_below(world, world->swarm.hosts)];
    struct host *leader = host_leader(world);
    struct host *at = any_up(world);
    if (world->swarm.hosts >= 3 && world->admin.removing < 0 && leader &&
        all_well(world) && victim != leader && at != victim) {
        chaos_remove(victim, at);
    }
}

void chaos_remove(struct host *victim, struct host *at)
{
    struct sim_world *world = victim->world;
    if (!ask_operator(at)) {
        return;
    }
    struct node_status status;
    node_get_status(victim->node, &status);
    world->admin.removing = victim->number;
    sim_trace(world, "operator: remove %s", victim->name);
    node_remove(at->node, &world->admin.request, status.raft.self);
}

void chaos_vote(struct host *member, struct host *at, bool voter)
{
    struct sim_world *world = at->world;
    struct node_status status;
    node_get_status(member->node, &status);
    if (ask_operator(at)) {
        sim_trace(world, "operator: %s %s", member->name,
                  voter ? "votes" : "observes");
        node_set_voter(at->node, &world->admin.request, status.raft.self,
                       voter);
    }
}

void chaos_checkpoint(struct host *host)
{
    struct sim_world *world = host->world;
    if (ask_operator(host)) {
        sim_trace(world, "operator: checkpoint at %s", host->name);
        node_snapshot(host->node, &world->admin.request);
    }
}

static void step_answered(struct node_request *request,
                          const struct node_result *result)
{
    struct sim_world *world = world_asked(request);
    struct result_reader reader;
    operator_done(request, result);
    world->admin.step_done =
        result->outcome == NODE_OK &&
        result_open(&reader, result->data) == ERR_OK &&
        (reader.head.status == RESULT_RESTORE || reader.head.keys > 0);
}

bool chaos_restore(struct host *at, enum command_step step, uint64_t id)
{
    struct sim_world *world = at->world;
    static struct buf command;
    struct command_writer writer;
    must(chaos_idle(world) && ask_operator(at));
    world->admin.step_done = false;
    world->admin.request.cb = step_answered;
    command.size = 0;
    command_restore(&writer, &command,
                    &(struct command_restore){.step = step, .id = id});
    if (step == COMMAND_RESTORE_ROWS) {
        command_restore_row(&writer, bytes_of_string("row"),
                            bytes_of_string("value"));
        command_end(&writer);
    }
    node_write(at->node, &world->admin.request, buf_bytes(&command));
    while (!chaos_idle(world)) {
        chaos_pass(world, 100 * MS_US);
    }
    buf_free(&command);
    return world->admin.step_done;
}

/* A barrier promises that one can read there what was written here. */
static void barrier_done(struct node_request *request,
                         const struct node_result *result)
{
    struct sim_world *world = world_asked(request);
    const struct host *awaited = world->admin.peer;
    uint64_t awaited_index = world->admin.peer_index;
    operator_done(request, result);
    if (result->outcome == NODE_OK && host_is_up(awaited) &&
        node_applied(awaited->node) < awaited_index) {
        sim_fail(world, EXIT_CORRECTNESS, "%s has applied %llu, not %llu",
                 awaited->name, (unsigned long long)node_applied(awaited->node),
                 (unsigned long long)awaited_index);
    }
}

void chaos_barrier(struct host *peer, struct host *at)
{
    struct sim_world *world = peer->world;
    struct node_status status;
    node_get_status(peer->node, &status);
    if (ask_operator(at)) {
        world->admin.peer = peer;
        world->admin.peer_index = node_applied(at->node);
        world->admin.request.cb = barrier_done;
        sim_trace(world, "operator: %s is to reach %llu", peer->name,
                  (unsigned long long)world->admin.peer_index);
        node_wait_applied(at->node, &world->admin.request, status.raft.self,
                          world->admin.peer_index);
    }
}

bool chaos_idle(const struct sim_world *world)
{
    return world->admin.at < 0;
}

void chaos_transfer(struct host *at)
{
    if (ask_operator(at)) {
        sim_trace(at->world, "operator: transfer");
        node_transfer(at->node, &at->world->admin.request, 0);
    }
}

/* A host that was removed, or whose data is damaged, gets a new disk and joins
 * again. */
static void replace_the_lost(struct sim_world *world)
{
    if (world->admin.removing >= 0 && world->admin.at < 0) {
        struct host *gone = &world->hosts[world->admin.removing];
        world->admin.removing = -1;
        if (host_is_up(gone)) {
            host_crash(gone, false, 0);
        }
        host_wipe(gone);
        gone->down_us = world->now_us + SEC_US;
    }
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *host = &world->hosts[i];
        if (host->broken && !host_is_up(host)) {
            host_wipe(host);
            host->down_us = world->now_us + SEC_US;
        }
        if ((host->wiped || host->flipped) && host_is_voter(host)) {
            struct node_status status;
            node_get_status(host->node, &status);
            host->wiped = host->wiped && !status.ready;
            host->flipped = host->flipped && !status.ready;
        }
    }
}

/* Hosts that were removed although the operator's request had no answer. Only
 * after the faults have ended: then the leader's configuration is committed
 * soon. */
static void replace_the_removed(struct sim_world *world)
{
    const struct host *leader = host_leader(world);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *host = &world->hosts[i];
        bool removed = leader && host_is_up(host) && !host->wiped &&
                       !host_is_member(host, leader);
        if (!removed || !world->calm) {
            host->removed_us = 0;
        } else if (host->removed_us == 0) {
            host->removed_us = world->now_us + 5 * SEC_US;
        } else if (world->now_us >= host->removed_us) {
            host_crash(host, false, 0);
            host_wipe(host);
            host->down_us = world->now_us + SEC_US;
        }
    }
}

static void operator_host_gone(const struct host *host)
{
    struct sim_world *world = host->world;
    if (world->admin.at == host->number && !host_is_up(host)) {
        world->admin.at = -1;
        world->admin.request.state = 0;
        list_init(&world->admin.request.link);
        world->admin.removing = -1;
    }
}

/* ---- faults ---- */

static void cut(struct sim_world *world, bool one_way)
{
    int a = (int)sim_below(world, world->swarm.hosts);
    uint64_t until = world->now_us + sim_spread(world, 3 * SEC_US);
    int b =
        sim_below(world, 2) ? (int)sim_below(world, world->swarm.hosts) : -1;
    for (int i = 0; i < (int)world->swarm.hosts; i++) {
        if (i == a || (b >= 0 && i != b)) {
            continue; /* Cut one link, or all links of one host. */
        }
        world->cut[a][i] = true;
        world->cut_until_us[a][i] = until;
        if (!one_way) {
            world->cut[i][a] = true;
            world->cut_until_us[i][a] = until;
        }
    }
    sim_trace(world, "cut n%d from %s%s", a + 1,
              b < 0 ? "all" : world->hosts[b].name, one_way ? ", one way" : "");
    world->faults++;
}

static void heal_cuts(struct sim_world *world, bool all)
{
    for (int i = 0; i < HOSTS_MAX; i++) {
        for (int k = 0; k < HOSTS_MAX; k++) {
            if (all || world->now_us >= world->cut_until_us[i][k]) {
                world->cut[i][k] = false;
            }
        }
    }
}

/* Flip a bit of a sealed log segment, or of one slot of term and vote. */
static void flip(struct host *host)
{
    struct sim_world *world = host->world;
    char path[64];
    size_t size = 0;
    if (world->swarm.hosts < 3 || host_is_up(host) || host->broken ||
        host->wiped || host->flipped || world->admin.at >= 0 ||
        world->admin.removing >= 0 || !well_without(world, host)) {
        return;
    }
    uint64_t last = 0;
    do {
        last++;
        snprintf(path, sizeof(path), "wal/%016llx.wal",
                 (unsigned long long)last + 1);
    } while (simdisk_bytes(host->disk, path, &size));
    if (last >= 2 && sim_below(world, 2)) {
        snprintf(path, sizeof(path), "wal/%016llx.wal",
                 (unsigned long long)(1 + sim_below(world, last - 1)));
    } else {
        snprintf(path, sizeof(path), "meta.%d", (int)sim_below(world, 2));
    }
    uint8_t *bytes = simdisk_bytes(host->disk, path, &size);
    if (!bytes || size == 0) {
        return;
    }
    bytes[sim_below(world, size)] ^= (uint8_t)(1 << sim_below(world, 8));
    host->flipped = true;
    world->faults++;
    sim_trace(world, "%s: a bit of %s is flipped", host->name, path);
}

static void wipe(struct host *host)
{
    struct sim_world *world = host->world;
    if (world->swarm.hosts < 3 || world->admin.removing >= 0 ||
        !all_well(world)) {
        return;
    }
    host_crash(host, false, 0);
    host_wipe(host);
    host->down_us = world->now_us + sim_spread(world, SEC_US);
}

static void crash(struct host *host, bool power)
{
    struct sim_world *world = host->world;
    bool inside = sim_below(world, 1000) < world->swarm.inside;
    host_crash(host, power, inside ? 1 + sim_below(world, 20) : 0);
}

static void weather_of(struct host *host)
{
    struct sim_world *world = host->world;
    const struct swarm *swarm = &world->swarm;
    if (!host_is_up(host)) {
        if (now_and_then(world, swarm->flip)) {
            flip(host);
        }
        return;
    }
    if (now_and_then(world, swarm->pause)) {
        host->paused_us = world->now_us + sim_spread(world, 2 * SEC_US);
        if (sim_below(world, 4) == 0) {
            /* The machine sleeps: only its clock goes on. */
            host->clock_offset_us += sim_spread(world, 20 * SEC_US);
        }
        sim_trace(world, "%s pauses", host->name);
    }
    if (now_and_then(world, swarm->stall)) {
        host->stall_us = world->now_us + sim_spread(world, 2 * SEC_US);
        sim_trace(world, "%s: slow disk", host->name);
    }
    if (now_and_then(world, swarm->full)) {
        host->full_us = world->now_us + sim_spread(world, 3 * SEC_US);
        sim_trace(world, "%s: disk full", host->name);
    }
    if (now_and_then(world, swarm->eio)) {
        host->eio = true;
        simdisk_fail(host->disk, 1 + sim_below(world, 30), ERR_IO);
        sim_trace(world, "%s: an I/O error is due", host->name);
    }
    if (now_and_then(world, swarm->wipe)) {
        wipe(host);
    } else if (now_and_then(world, swarm->kill)) {
        crash(host, false);
    } else if (now_and_then(world, swarm->power)) {
        crash(host, true);
    }
}

static void weather(struct sim_world *world)
{
    const struct swarm *swarm = &world->swarm;
    for (uint32_t i = 0; i < swarm->hosts; i++) {
        weather_of(&world->hosts[i]);
    }
    if (now_and_then(world, swarm->power_all)) {
        sim_trace(world, "power loss of all");
        for (uint32_t i = 0; i < swarm->hosts; i++) {
            if (host_is_up(&world->hosts[i])) {
                host_crash(&world->hosts[i], true, 0);
            }
        }
    }
    if (now_and_then(world, swarm->cut)) {
        cut(world, false);
    }
    if (now_and_then(world, swarm->cut_one_way)) {
        cut(world, true);
    }
    if (now_and_then(world, swarm->reset * swarm->hosts)) {
        net_reset_one(world);
    }
    if (now_and_then(world, swarm->garble * swarm->hosts)) {
        net_garble_one(world);
    }
    if (now_and_then(world, swarm->remove)) {
        remove_somebody(world);
    }
    if (now_and_then(world, swarm->transfer)) {
        chaos_transfer(any_up(world));
    }
    hold_step(world);
}

static void housekeeping(struct sim_world *world)
{
    heal_cuts(world, false);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *host = &world->hosts[i];
        if (!host_is_up(host)) {
            net_arrive_down(host);
            operator_host_gone(host);
        }
        join_step(host);
    }
    replace_the_lost(world);
    if (world->formed_once) {
        replace_the_removed(world);
    }
}

/* ---- the loop ---- */

static uint64_t due_us(const struct host *host)
{
    if (!host_is_up(host)) {
        return host->down_us;
    }
    return max_u64(net_next_us(host), max_u64(host->busy_us, host->paused_us));
}

static void check_leader(const struct host *host)
{
    struct sim_world *world = host->world;
    if (!node_is_leader(host->node) || host->second) {
        return;
    }
    uint64_t term = node_term(host->node);
    must(term < LEADERS_MAX);
    if (world->leaders[term] != 0 && world->leaders[term] != host->number + 1) {
        sim_fail(world, EXIT_CORRECTNESS,
                 "two leaders in term %llu: n%d and %s",
                 (unsigned long long)term, world->leaders[term], host->name);
    }
    if (world->leaders[term] == 0) {
        sim_trace(world, "%s leads term %llu", host->name,
                  (unsigned long long)term);
    }
    world->leaders[term] = host->number + 1;
}

static void step_host(struct host *host)
{
    struct sim_world *world = host->world;
    if (due_us(host) > world->now_us) {
        return;
    }
    sim_note(world, (uint64_t)host->number, host->starts);
    if (!host_is_up(host)) {
        host_start(host);
        return;
    }
    host_turn(host);
    if (host_is_up(host)) {
        check_leader(host);
    }
}

static void step(struct sim_world *world)
{
    uint64_t next = min_u64(world->next_weather_us, clients_next_us(world));
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        next = min_u64(next, due_us(&world->hosts[i]));
    }
    world->now_us = max_u64(world->now_us, next);
    if (world->now_us >= world->next_weather_us) {
        world->next_weather_us = world->now_us + weather_us;
        if (!world->calm) {
            weather(world);
        }
        housekeeping(world);
    }
    clients_step(world);
    watchers_step(world);
    lockers_step(world);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        step_host(&world->hosts[i]);
    }
}

static void run_until(struct sim_world *world, uint64_t until_us)
{
    while (world->now_us < until_us) {
        step(world);
    }
}

void chaos_pass(struct sim_world *world, uint64_t us)
{
    run_until(world, world->now_us + us);
}

/* Run until `done`; the run has failed when that takes too long. */
static void wait_for(struct sim_world *world, bool (*done)(struct sim_world *),
                     const char *what)
{
    uint64_t until_us = world->now_us + patience_us;
    while (!done(world)) {
        if (world->now_us >= until_us) {
            sim_fail(world, EXIT_LIVENESS, "not in time: %s", what);
        }
        uint64_t again_us = world->now_us + 50 * MS_US;
        run_until(world, again_us);
    }
}

static bool formed(struct sim_world *world)
{
    return host_leader(world) != NULL && all_well(world);
}

/* A change that was requested under faults, say a removal, may still stop it.
 */
static bool probed_is_up(struct sim_world *world)
{
    return host_is_up(world->probed);
}

static bool probe_answered(struct sim_world *world)
{
    if (!clients_idle(world)) {
        return false;
    }
    if (!clients_probe_done(world) && host_is_up(world->probed)) {
        clients_probe(world->probed);
        return false;
    }
    return clients_probe_done(world);
}

static bool all_equal(struct sim_world *world)
{
    struct node_status first;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        if (!host_is_up(&world->hosts[i])) {
            return false; /* It was removed at the last moment and will restart.
                           */
        }
    }
    node_get_status(world->hosts[0].node, &first);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct node_status status;
        node_get_status(world->hosts[i].node, &status);
        if (status.applied != first.applied ||
            status.raft.commit != first.raft.commit) {
            return false;
        }
        if (status.hash != first.hash || status.keys != first.keys) {
            sim_fail(world, EXIT_CORRECTNESS, "n1 and %s differ at index %llu",
                     world->hosts[i].name, (unsigned long long)status.applied);
        }
    }
    return true;
}

/* Upper bound: four times the configured size, for followers that were behind,
 * and the segment in use and a forced checkpoint. */
static void check_logs(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->swarm.hosts && host_keeps_little(world);
         i++) {
        struct node_status status;
        node_get_status(world->hosts[i].node, &status);
        if (status.log_bytes > 6 * HOST_LOG_KEEP_BYTES) {
            sim_fail(world, EXIT_CORRECTNESS, "%s: a log of %llu bytes",
                     world->hosts[i].name,
                     (unsigned long long)status.log_bytes);
        }
    }
}

static void heal(struct sim_world *world)
{
    world->calm = true;
    heal_cuts(world, true);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *host = &world->hosts[i];
        host->paused_us = 0;
        host->stall_us = 0;
        host->log_stall_us = 0;
        host->full_us = 0;
        host->crash_in = 0;
        simdisk_fail(host->disk, 0, ERR_OK);
        if (!host_is_up(host)) {
            host->down_us = world->now_us + sim_below(world, SEC_US);
        }
    }
    sim_trace(world, "calm");
}

static void form(struct sim_world *world)
{
    world->calm = true;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        host_init(&world->hosts[i], world, (int)i);
        world->hosts[i].bootstraps = i == 0;
        world->hosts[i].down_us = i == 0 ? 0 : sim_below(world, SEC_US);
    }
    wait_for(world, formed, "the cluster is formed");
    sim_trace(world, "formed");
    world->formed_once = true;
}

void chaos_begin(struct sim_world *world, uint64_t seed, bool trace,
                 const struct swarm *swarm)
{
    *world = (struct sim_world){
        .seed = seed, .trace = trace, .admin = {.at = -1, .removing = -1}};
    current = world;
    list_init(&world->wires);
    rng_init(&world->rng, seed);
    simvfs_install();
    hold_init(world);
    if (swarm) {
        world->swarm = *swarm;
    } else {
        draw_swarm(world);
    }
    clients_init(world);
    watchers_init(world);
    lockers_init(world);
    sim_trace(world, "seed %llu: %u hosts, %u clients",
              (unsigned long long)seed, world->swarm.hosts,
              world->swarm.clients);
    form(world);
}

void chaos_end(struct sim_world *world)
{
    heal(world);
    wait_for(world, formed, "every host votes again");
    clients_stop(world);
    lockers_stop(world);
    wait_for(world, clients_idle, "the clients are answered");
    wait_for(world, lockers_idle, "the lockers are answered");
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        world->probed = &world->hosts[i];
        wait_for(world, probed_is_up, "every host runs");
        clients_probe(world->probed);
        wait_for(world, probe_answered, "a write at every host");
    }
    wait_for(world, all_equal, "all hosts hold the same");
    check_logs(world);
    clients_check(world);
    watchers_check(world);
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        host_free(&world->hosts[i]);
    }
    watchers_free(world);
    lockers_free(world);
    clients_free(world);
    buf_free(&world->admin.request.body);
    net_free(world);
    current = NULL;
}

void chaos_run(struct sim_world *world, uint64_t seed, bool trace)
{
    chaos_begin(world, seed, trace, NULL);
    world->calm = false;
    chaos_pass(world, world->swarm.chaos_us);
    chaos_end(world);
}
