/* chaos.c -- the faults of a run, and the run itself.
 *
 * Each run draws its own mix: every class of faults is off in half of the
 * runs, since faults hide each other. First a cluster is formed as an operator
 * would: one node founds it, the others join. Then the weather, under clients'
 * load. Then all is healed, and within two virtual minutes every host must be
 * a voter again, take a write, and hold what the others hold.
 *
 * Data is lost on one host at a time, and on no second one before the first
 * votes again: more than that no protocol survives. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "command/result.h"
#include "sim.h"

enum { LEADERS_MAX = 1 << 14 };

static const uint64_t weather_us = 100 * MS_US;
static const uint64_t patience_us = 120 * SEC_US;

struct world world;

static int leaders[LEADERS_MAX]; /* [term]: host number + 1. */
static struct node_request operator_request;
static int operator_at; /* Host that was asked; -1. */
static int removing;    /* Host to be removed; -1. */
static bool formed_once;

/* ---- small things ---- */

void sim_fail(int exit_code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *commit = getenv("CRAFTD_COMMIT");
    fprintf(stderr, "seed %llu commit %s at %llu.%06llu s: ",
            (unsigned long long)world.seed, commit ? commit : "-",
            (unsigned long long)(world.now_us / SEC_US),
            (unsigned long long)(world.now_us % SEC_US));
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(exit_code);
}

void sim_trace(const char *format, ...)
{
    if (!world.trace) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%4llu.%06llu ", (unsigned long long)(world.now_us / SEC_US),
           (unsigned long long)(world.now_us % SEC_US));
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void sim_note(uint64_t a, uint64_t b)
{
    world.hash = mix_u64(world.hash ^ mix_u64(world.now_us) ^ mix_u64(a) ^ b);
}

uint64_t sim_below(uint64_t bound)
{
    return rng_below(&world.rng, bound);
}

/* -mean * ln(u), without floats: the number of leading zeros of a random
 * number is geometric, and what follows them makes it smooth. */
uint64_t sim_spread(uint64_t mean)
{
    uint64_t random = rng_next(&world.rng) | 1;
    uint64_t zeros = (uint64_t)__builtin_clzll(random);
    uint64_t rest = random << zeros << 1 >> 54; /* 10 bits */
    /* log2(1/u) in 1024ths, about; ln 2 is 710/1024. */
    uint64_t log2 = zeros * 1024 + (1024 - rest);
    return 1 + mean * log2 / 1024 * 710 / 1024;
}

static bool now_and_then(uint32_t per_mille_a_second)
{
    if (per_mille_a_second == 0) {
        return false;
    }
    /* Asked ten times a second. */
    return sim_below(10000) < per_mille_a_second;
}

/* ---- the mix ---- */

static uint32_t maybe(uint32_t most)
{
    uint32_t rate = 1 + (uint32_t)sim_below(most);
    return sim_below(2) == 0 ? rate : 0;
}

static void draw_swarm(struct swarm *swarm)
{
    static const uint32_t sizes[] = {1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7};
    *swarm = (struct swarm){
        .hosts = sizes[sim_below(ARRAY_COUNT(sizes))],
        .clients = 1 + (uint32_t)sim_below(CLIENTS_MAX),
        .keys = 1 + (uint32_t)sim_below(KEYS_MAX),
        .pace_us = 200 * MS_US,
        .chaos_us = (10 + sim_below(40)) * SEC_US,
        .delay_us = 100 + sim_below(sim_below(2) ? 2000 : 40000),
        .sync_us = 20 + sim_below(sim_below(2) ? 1000 : 30000),
        .cut = maybe(200),
        .cut_one_way = maybe(200),
        .reset = maybe(500),
        .garble = maybe(200),
        .kill = maybe(100),
        .power = maybe(100),
        .power_all = maybe(30),
        .inside = (uint32_t)sim_below(1001),
        .pause = maybe(150),
        .stall = maybe(100),
        .eio = maybe(50),
        .full = maybe(50),
        .flip = maybe(300),
        .wipe = maybe(40),
        .remove = maybe(40),
        .transfer = maybe(200),
        .clocks = sim_below(2) == 0,
        .hold = hold_draw(),
    };
}

/* ---- the operator ---- */

/* Everybody but `lost` (which may be NULL) is up, votes, and follows one leader
 * that counts all of them: then the data of one may be lost. */
static bool well_without(const struct host *lost)
{
    const struct host *leader = host_leader();
    if (!leader || (lost && !host_is_member(lost, leader))) {
        return false;
    }
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        const struct host *host = &world.hosts[i];
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

static bool all_well(void)
{
    return well_without(NULL);
}

static struct host *any_up(void)
{
    struct host *host = &world.hosts[sim_below(world.swarm.hosts)];
    return host_is_up(host) && world.now_us >= host->paused_us ? host : NULL;
}

static void join_done(struct node_request *request,
                      const struct node_result *result)
{
    struct host *host = container_of(request, struct host, join);
    sim_trace("join of %s: %s", host->name, node_outcome_name(result->outcome));
    host->join_at = -1;
    host->join_us =
        world.now_us + (result->outcome == NODE_OK ? 3000 : 500) * MS_US;
}

/* As api/join.c does it: ask somebody, again and again, to be let in. */
static void join_step(struct host *host)
{
    struct node_status status;
    if (host->join_at >= 0 || world.now_us < host->join_us ||
        host->bootstraps || !host_is_up(host)) {
        return;
    }
    node_get_status(host->node, &status);
    if (status.member) {
        return;
    }
    host->join_us = world.now_us + 200 * MS_US;
    chaos_join(host, any_up());
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

static void operator_done(struct node_request *request,
                          const struct node_result *result)
{
    (void)request;
    operator_at = -1;
    sim_trace("operator: %s", node_outcome_name(result->outcome));
    if (result->outcome != NODE_OK) {
        removing = -1;
    }
}

static bool ask_operator(struct host *at)
{
    if (operator_at >= 0 || !at) {
        return false;
    }
    operator_at = at->number;
    operator_request.cb = operator_done;
    operator_request.deadline_ms = net_clock_ms(at) + 5000;
    at->hook_due_ms = 0;
    return true;
}

static void remove_somebody(void)
{
    struct host *victim = &world.hosts[sim_below(world.swarm.hosts)];
    struct host *leader = host_leader();
    struct host *at = any_up();
    if (world.swarm.hosts >= 3 && removing < 0 && leader && all_well() &&
        victim != leader && at != victim) {
        chaos_remove(victim, at);
    }
}

void chaos_remove(struct host *victim, struct host *at)
{
    if (!ask_operator(at)) {
        return;
    }
    struct node_status status;
    node_get_status(victim->node, &status);
    removing = victim->number;
    sim_trace("operator: remove %s", victim->name);
    node_remove(at->node, &operator_request, status.raft.self);
}

void chaos_vote(struct host *member, struct host *at, bool voter)
{
    struct node_status status;
    node_get_status(member->node, &status);
    if (ask_operator(at)) {
        sim_trace("operator: %s %s", member->name,
                  voter ? "votes" : "observes");
        node_set_voter(at->node, &operator_request, status.raft.self, voter);
    }
}

void chaos_checkpoint(struct host *host)
{
    if (ask_operator(host)) {
        sim_trace("operator: checkpoint at %s", host->name);
        node_snapshot(host->node, &operator_request);
    }
}

static bool step_done;

static void step_answered(struct node_request *request,
                          const struct node_result *result)
{
    struct result_reader reader;
    operator_done(request, result);
    step_done = result->outcome == NODE_OK &&
                result_open(&reader, result->data) == ERR_OK &&
                (reader.head.status == RESULT_RESTORE || reader.head.keys > 0);
}

bool chaos_restore(struct host *at, enum command_step step, uint64_t id)
{
    static struct buf command;
    struct command_writer writer;
    must(chaos_idle() && ask_operator(at));
    step_done = false;
    operator_request.cb = step_answered;
    command.size = 0;
    command_restore(&writer, &command,
                    &(struct command_restore){.step = step, .id = id});
    if (step == COMMAND_RESTORE_ROWS) {
        command_restore_row(&writer, bytes_of_string("row"),
                            bytes_of_string("value"));
        command_end(&writer);
    }
    node_write(at->node, &operator_request, buf_bytes(&command));
    while (!chaos_idle()) {
        chaos_pass(100 * MS_US);
    }
    buf_free(&command);
    return step_done;
}

/* What the barrier is for: read there what was written here. */
static struct host *awaited;
static uint64_t awaited_index;

static void barrier_done(struct node_request *request,
                         const struct node_result *result)
{
    operator_done(request, result);
    if (result->outcome == NODE_OK && host_is_up(awaited) &&
        node_applied(awaited->node) < awaited_index) {
        sim_fail(EXIT_CORRECTNESS, "%s has applied %llu, not %llu",
                 awaited->name, (unsigned long long)node_applied(awaited->node),
                 (unsigned long long)awaited_index);
    }
}

void chaos_barrier(struct host *peer, struct host *at)
{
    struct node_status status;
    node_get_status(peer->node, &status);
    if (ask_operator(at)) {
        awaited = peer;
        awaited_index = node_applied(at->node);
        operator_request.cb = barrier_done;
        sim_trace("operator: %s is to reach %llu", peer->name,
                  (unsigned long long)awaited_index);
        node_wait_applied(at->node, &operator_request, status.raft.self,
                          awaited_index);
    }
}

bool chaos_idle(void)
{
    return operator_at < 0;
}

void chaos_transfer(struct host *at)
{
    if (ask_operator(at)) {
        sim_trace("operator: transfer");
        node_transfer(at->node, &operator_request, 0);
    }
}

/* A host that the leader does not know, or whose data is damaged, gets a new
 * disk and joins again. */
static void replace_the_lost(void)
{
    if (removing >= 0 && operator_at < 0) {
        struct host *gone = &world.hosts[removing];
        removing = -1;
        if (host_is_up(gone)) {
            host_crash(gone, false, 0);
        }
        host_wipe(gone);
        gone->down_us = world.now_us + SEC_US;
    }
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        struct host *host = &world.hosts[i];
        if (host->broken && !host_is_up(host)) {
            host_wipe(host);
            host->down_us = world.now_us + SEC_US;
        }
        if ((host->wiped || host->flipped) && host_is_voter(host)) {
            struct node_status status;
            node_get_status(host->node, &status);
            host->wiped = host->wiped && !status.ready;
            host->flipped = host->flipped && !status.ready;
        }
    }
}

/* Removed, though the operator never heard that it worked. Only asked in calm
 * weather: then what the leader says is committed soon. */
static void replace_the_removed(void)
{
    const struct host *leader = host_leader();
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        struct host *host = &world.hosts[i];
        bool removed = leader && host_is_up(host) && !host->wiped &&
                       !host_is_member(host, leader);
        if (!removed || !world.calm) {
            host->removed_us = 0;
        } else if (host->removed_us == 0) {
            host->removed_us = world.now_us + 5 * SEC_US;
        } else if (world.now_us >= host->removed_us) {
            host_crash(host, false, 0);
            host_wipe(host);
            host->down_us = world.now_us + SEC_US;
        }
    }
}

static void operator_host_gone(const struct host *host)
{
    if (operator_at == host->number && !host_is_up(host)) {
        operator_at = -1;
        operator_request.state = 0;
        list_init(&operator_request.link);
        removing = -1;
    }
}

/* ---- the weather ---- */

static void cut(bool one_way)
{
    int a = (int)sim_below(world.swarm.hosts);
    uint64_t until = world.now_us + sim_spread(3 * SEC_US);
    int b = sim_below(2) ? (int)sim_below(world.swarm.hosts) : -1;
    for (int i = 0; i < (int)world.swarm.hosts; i++) {
        if (i == a || (b >= 0 && i != b)) {
            continue; /* One link, or all of one host. */
        }
        world.cut[a][i] = true;
        world.cut_until_us[a][i] = until;
        if (!one_way) {
            world.cut[i][a] = true;
            world.cut_until_us[i][a] = until;
        }
    }
    sim_trace("cut n%d from %s%s", a + 1, b < 0 ? "all" : world.hosts[b].name,
              one_way ? ", one way" : "");
    world.faults++;
}

static void heal_cuts(bool all)
{
    for (int i = 0; i < HOSTS_MAX; i++) {
        for (int k = 0; k < HOSTS_MAX; k++) {
            if (all || world.now_us >= world.cut_until_us[i][k]) {
                world.cut[i][k] = false;
            }
        }
    }
}

/* A bit of a sealed segment, or of one slot of the vote. */
static void flip(struct host *host)
{
    char path[64];
    size_t size = 0;
    if (world.swarm.hosts < 3 || host_is_up(host) || host->broken ||
        host->wiped || host->flipped || operator_at >= 0 || removing >= 0 ||
        !well_without(host)) {
        return;
    }
    uint64_t last = 0;
    do {
        last++;
        snprintf(path, sizeof(path), "wal/%016llx.wal",
                 (unsigned long long)last + 1);
    } while (simdisk_bytes(host->disk, path, &size));
    if (last >= 2 && sim_below(2)) {
        snprintf(path, sizeof(path), "wal/%016llx.wal",
                 (unsigned long long)(1 + sim_below(last - 1)));
    } else {
        snprintf(path, sizeof(path), "meta.%d", (int)sim_below(2));
    }
    uint8_t *bytes = simdisk_bytes(host->disk, path, &size);
    if (!bytes || size == 0) {
        return;
    }
    bytes[sim_below(size)] ^= (uint8_t)(1 << sim_below(8));
    host->flipped = true;
    world.faults++;
    sim_trace("%s: a bit of %s is flipped", host->name, path);
}

static void wipe(struct host *host)
{
    if (world.swarm.hosts < 3 || removing >= 0 || !all_well()) {
        return;
    }
    host_crash(host, false, 0);
    host_wipe(host);
    host->down_us = world.now_us + sim_spread(SEC_US);
}

static void crash(struct host *host, bool power)
{
    bool inside = sim_below(1000) < world.swarm.inside;
    host_crash(host, power, inside ? 1 + sim_below(20) : 0);
}

static void weather_of(struct host *host)
{
    const struct swarm *swarm = &world.swarm;
    if (!host_is_up(host)) {
        if (now_and_then(swarm->flip)) {
            flip(host);
        }
        return;
    }
    if (now_and_then(swarm->pause)) {
        host->paused_us = world.now_us + sim_spread(2 * SEC_US);
        if (sim_below(4) == 0) {
            /* Asleep: the clock goes on, and nothing else does. */
            host->clock_offset_us += sim_spread(20 * SEC_US);
        }
        sim_trace("%s pauses", host->name);
    }
    if (now_and_then(swarm->stall)) {
        host->stall_us = world.now_us + sim_spread(2 * SEC_US);
        sim_trace("%s: slow disk", host->name);
    }
    if (now_and_then(swarm->full)) {
        host->full_us = world.now_us + sim_spread(3 * SEC_US);
        sim_trace("%s: disk full", host->name);
    }
    if (now_and_then(swarm->eio)) {
        host->eio = true;
        simdisk_fail(host->disk, 1 + sim_below(30), ERR_IO);
        sim_trace("%s: an I/O error is near", host->name);
    }
    if (now_and_then(swarm->wipe)) {
        wipe(host);
    } else if (now_and_then(swarm->kill)) {
        crash(host, false);
    } else if (now_and_then(swarm->power)) {
        crash(host, true);
    }
}

static void weather(void)
{
    const struct swarm *swarm = &world.swarm;
    for (uint32_t i = 0; i < swarm->hosts; i++) {
        weather_of(&world.hosts[i]);
    }
    if (now_and_then(swarm->power_all)) {
        sim_trace("power loss of all");
        for (uint32_t i = 0; i < swarm->hosts; i++) {
            if (host_is_up(&world.hosts[i])) {
                host_crash(&world.hosts[i], true, 0);
            }
        }
    }
    if (now_and_then(swarm->cut)) {
        cut(false);
    }
    if (now_and_then(swarm->cut_one_way)) {
        cut(true);
    }
    if (now_and_then(swarm->reset * swarm->hosts)) {
        net_reset_one();
    }
    if (now_and_then(swarm->garble * swarm->hosts)) {
        net_garble_one();
    }
    if (now_and_then(swarm->remove)) {
        remove_somebody();
    }
    if (now_and_then(swarm->transfer)) {
        chaos_transfer(any_up());
    }
    hold_step();
}

static void housekeeping(void)
{
    heal_cuts(false);
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        struct host *host = &world.hosts[i];
        if (!host_is_up(host)) {
            net_arrive_down(host);
            operator_host_gone(host);
        }
        join_step(host);
    }
    replace_the_lost();
    if (formed_once) {
        replace_the_removed();
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
    if (!node_is_leader(host->node) || host->second) {
        return;
    }
    uint64_t term = node_term(host->node);
    must(term < LEADERS_MAX);
    if (leaders[term] != 0 && leaders[term] != host->number + 1) {
        sim_fail(EXIT_CORRECTNESS, "two leaders in term %llu: n%d and %s",
                 (unsigned long long)term, leaders[term], host->name);
    }
    if (leaders[term] == 0) {
        sim_trace("%s leads term %llu", host->name, (unsigned long long)term);
    }
    leaders[term] = host->number + 1;
}

static void step_host(struct host *host)
{
    if (due_us(host) > world.now_us) {
        return;
    }
    sim_note((uint64_t)host->number, host->starts);
    if (!host_is_up(host)) {
        host_start(host);
        return;
    }
    host_turn(host);
    if (host_is_up(host)) {
        check_leader(host);
    }
}

static uint64_t next_weather_us;

static void step(void)
{
    uint64_t next = min_u64(next_weather_us, clients_next_us());
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        next = min_u64(next, due_us(&world.hosts[i]));
    }
    world.now_us = max_u64(world.now_us, next);
    if (world.now_us >= next_weather_us) {
        next_weather_us = world.now_us + weather_us;
        if (!world.calm) {
            weather();
        }
        housekeeping();
    }
    clients_step();
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        step_host(&world.hosts[i]);
    }
}

static void run_until(uint64_t until_us)
{
    while (world.now_us < until_us) {
        step();
    }
}

void chaos_pass(uint64_t us)
{
    run_until(world.now_us + us);
}

/* Until `done`, or the run has failed. */
static void wait_for(bool (*done)(void), const char *what)
{
    uint64_t until_us = world.now_us + patience_us;
    while (!done()) {
        if (world.now_us >= until_us) {
            sim_fail(EXIT_LIVENESS, "not in time: %s", what);
        }
        uint64_t again_us = world.now_us + 50 * MS_US;
        run_until(again_us);
    }
}

static bool formed(void)
{
    return host_leader() != NULL && all_well();
}

static struct host *probed;

/* What was begun under chaos may end it still: a removal, say. */
static bool probed_is_up(void)
{
    return host_is_up(probed);
}

static bool probe_answered(void)
{
    if (!clients_idle()) {
        return false;
    }
    if (!clients_probe_done() && host_is_up(probed)) {
        clients_probe(probed);
        return false;
    }
    return clients_probe_done();
}

static bool all_equal(void)
{
    struct node_status first;
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        if (!host_is_up(&world.hosts[i])) {
            return false; /* Removed at the last moment, it comes back. */
        }
    }
    node_get_status(world.hosts[0].node, &first);
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        struct node_status status;
        node_get_status(world.hosts[i].node, &status);
        if (status.applied != first.applied ||
            status.raft.commit != first.raft.commit) {
            return false;
        }
        if (status.hash != first.hash || status.keys != first.keys) {
            sim_fail(EXIT_CORRECTNESS, "n1 and %s differ at index %llu",
                     world.hosts[i].name, (unsigned long long)status.applied);
        }
    }
    return true;
}

/* Four times what is kept, for followers that were behind, and what the
 * segment in use and a forced checkpoint come to. */
static void check_logs(void)
{
    for (uint32_t i = 0; i < world.swarm.hosts && host_keeps_little(); i++) {
        struct node_status status;
        node_get_status(world.hosts[i].node, &status);
        if (status.log_bytes > 6 * HOST_LOG_KEEP_BYTES) {
            sim_fail(EXIT_CORRECTNESS, "%s: a log of %llu bytes",
                     world.hosts[i].name, (unsigned long long)status.log_bytes);
        }
    }
}

static void heal(void)
{
    world.calm = true;
    heal_cuts(true);
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        struct host *host = &world.hosts[i];
        host->paused_us = 0;
        host->stall_us = 0;
        host->log_stall_us = 0;
        host->full_us = 0;
        host->crash_in = 0;
        simdisk_fail(host->disk, 0, ERR_OK);
        if (!host_is_up(host)) {
            host->down_us = world.now_us + sim_below(SEC_US);
        }
    }
    sim_trace("calm");
}

static void form(void)
{
    world.calm = true;
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        host_init(&world.hosts[i], (int)i);
        world.hosts[i].bootstraps = i == 0;
        world.hosts[i].down_us = i == 0 ? 0 : sim_below(SEC_US);
    }
    wait_for(formed, "the cluster is formed");
    sim_trace("formed");
    formed_once = true;
}

void chaos_begin(uint64_t seed, bool trace, const struct swarm *swarm)
{
    world = (struct world){.seed = seed, .trace = trace};
    rng_init(&world.rng, seed);
    memset(leaders, 0, sizeof(leaders));
    operator_request = (struct node_request){0};
    operator_at = -1;
    removing = -1;
    formed_once = false;
    next_weather_us = 0;
    simvfs_install();
    hold_init(seed);
    if (swarm) {
        world.swarm = *swarm;
    } else {
        draw_swarm(&world.swarm);
    }
    clients_init();
    sim_trace("seed %llu: %u hosts, %u clients", (unsigned long long)seed,
              world.swarm.hosts, world.swarm.clients);
    form();
}

void chaos_end(void)
{
    heal();
    wait_for(formed, "every host votes again");
    clients_stop();
    wait_for(clients_idle, "the clients are answered");
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        probed = &world.hosts[i];
        wait_for(probed_is_up, "every host runs");
        clients_probe(probed);
        wait_for(probe_answered, "a write at every host");
    }
    wait_for(all_equal, "all hosts hold the same");
    check_logs();
    clients_check();
    for (uint32_t i = 0; i < world.swarm.hosts; i++) {
        host_free(&world.hosts[i]);
    }
    clients_free();
    buf_free(&operator_request.body);
    net_free();
}

void chaos_run(uint64_t seed, bool trace)
{
    chaos_begin(seed, trace, NULL);
    world.calm = false;
    chaos_pass(world.swarm.chaos_us);
    chaos_end();
}
