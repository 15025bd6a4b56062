/* host.c -- a machine and the daemon on it; stands in for src/main.c.
 *
 * For a crash inside a disk operation the disk is copied at that moment, as the
 * next start would find it. The turn still runs to its end, but its messages
 * and answers are dropped. Then the host is torn down, and it later starts from
 * the copy.
 *
 * Some hosts have asynchronous I/O. A log write in flight may be on the disk in
 * part, and a crash leaves any subset of its pages. */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "sim.h"

NORETURN void __wrap_die(const char *format, ...) PRINTF(1, 2);

/* The daemon may call die() only after an I/O error, or when a new member has
 * no space for its files. */
NORETURN void __wrap_die(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct sim_world *world = sim_current();
    struct host *host = world->running;
    bool may = host && (host->eio || host->crash_image ||
                        (world->now_us < host->full_us &&
                         strstr(text, "cannot set up") != NULL));
    if (!may) {
        sim_fail(world, EXIT_CORRECTNESS, "%s called die(): %s",
                 host ? host->name : "?", text);
    }
    sim_trace(world, "%s dies: %s", host->name, text);
    longjmp(world->died, 1);
}

/* ---- the node's world ---- */

static uint64_t env_now_ms(void *self)
{
    return net_clock_ms(self);
}

static uint64_t env_now_us(void *self)
{
    const struct host *host = self;
    return host->turn_us + host->turn_sync_us;
}

static void env_entropy(void *self, void *out, size_t size)
{
    struct host *host = self;
    uint8_t *bytes = out;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)rng_next(&host->rng);
    }
}

/* ---- its disk ---- */

static uint64_t sync_time(const struct host *host)
{
    struct sim_world *world = host->world;
    uint64_t us = sim_spread(world, world->swarm.sync_us);
    uint64_t now_us = world->now_us + host->turn_sync_us;
    if (now_us < host->stall_us) {
        us += host->stall_us - now_us;
    }
    return us;
}

/* Completion time of an operation: a disk that stalls delays it. */
static uint64_t completes_us(const struct host *host, uint64_t at_us,
                             uint64_t stall_us)
{
    return at_us == UINT64_MAX
               ? UINT64_MAX
               : max_u64(at_us, max_u64(host->stall_us, stall_us));
}

static uint64_t write_completes_us(const struct host *host)
{
    return completes_us(host, host->write_due_us, host->log_stall_us);
}

static uint64_t sync_completes_us(const struct host *host)
{
    return completes_us(host, host->sync_due_us, host->db_stall_us);
}

uint64_t host_io_due_us(const struct host *host)
{
    return min_u64(write_completes_us(host), sync_completes_us(host));
}

static void on_change(struct simdisk *disk, void *arg)
{
    struct host *host = arg;
    struct sim_world *world = host->world;
    struct simdisk_counts counts;
    simdisk_get_counts(disk, &counts);
    if (counts.fdatasyncs != host->syncs_seen) {
        host->syncs_seen = counts.fdatasyncs;
        host->turn_sync_us += sync_time(host);
    }
    if (host->crash_in > 0 && --host->crash_in == 0 && !host->crash_image) {
        host->crash_image =
            simdisk_crash(disk, host->crash_keep, rng_next(&world->rng));
    }
}

static size_t submit_write(void *arg, size_t size)
{
    struct host *host = arg;
    struct sim_world *world = host->world;
    uint64_t us = env_now_us(host) + sim_spread(world, world->swarm.sync_us);
    host->write_due_us = us;
    /* Nothing is written yet, or all of it, or whole pages. */
    uint64_t luck = rng_below(&host->rng, 3);
    uint64_t pages = rng_below(&host->rng, size / 4096 + 1);
    return luck == 0 ? 0 : luck == 1 ? size : (size_t)pages * 4096;
}

static bool is_done(struct host *host, uint64_t at_us, bool wait)
{
    if (wait && at_us > env_now_us(host)) {
        host->turn_sync_us += at_us - env_now_us(host);
    }
    return at_us <= env_now_us(host);
}

static bool write_done(void *arg, bool wait)
{
    struct host *host = arg;
    bool done = is_done(host, write_completes_us(host), wait);
    if (done) {
        host->write_due_us = UINT64_MAX;
    }
    return done;
}

static void submit_sync(void *arg)
{
    struct host *host = arg;
    struct sim_world *world = host->world;
    host->sync_due_us =
        env_now_us(host) + sim_spread(world, world->swarm.sync_us);
}

static bool sync_done(void *arg, bool wait)
{
    struct host *host = arg;
    bool done = is_done(host, sync_completes_us(host), wait);
    if (done) {
        host->sync_due_us = UINT64_MAX;
    }
    return done;
}

static void use_disk(struct host *host, struct simdisk *disk)
{
    host->disk = disk;
    host->syncs_seen = 0;
    host->write_due_us = UINT64_MAX;
    host->sync_due_us = UINT64_MAX;
    if (host->async_io) {
        simdisk_set_async(disk,
                          &(struct simdisk_async){.submit_write = submit_write,
                                                  .write_done = write_done,
                                                  .submit_sync = submit_sync,
                                                  .sync_done = sync_done,
                                                  .arg = host});
    }
    simdisk_set_capacity(disk, host->world->swarm.disk_bytes);
    simvfs_mount(host->number, disk);
    simdisk_set_hook(disk, on_change, host);
}

/* ---- starting ---- */

void host_move(struct host *host, uint16_t port)
{
    must(!host->reactor);
    host->port = port;
    snprintf(host->addr, sizeof(host->addr), "%s:%u", host->name, port);
}

/* Asynchronous I/O: in half of the runs no host has it, in the others half of
 * the hosts do. It follows from the seed without a draw from the run's
 * generator, so that runs without it stay the same. */
static bool is_async(const struct host *host)
{
    struct sim_world *world = host->world;
    uint64_t luck = mix_u64(world->seed * 31);
    if (world->swarm.all_async) {
        return true;
    }
    return luck % 2 == 1 && (luck >> (1 + host->number)) % 2 == 1;
}

void host_init(struct host *host, struct sim_world *world, int number)
{
    *host = (struct host){.world = world,
                          .number = number,
                          .clock_rate = 1000,
                          .hook_due_ms = UINT64_MAX,
                          .join_at = -1};
    snprintf(host->name, sizeof(host->name), "n%d", number + 1);
    host_move(host, 7);
    rng_init(&host->rng, rng_next(&world->rng));
    host->clock_offset_us = sim_below(world, 1000 * SEC_US);
    if (world->swarm.clocks) {
        host->clock_rate = 500 + sim_below(world, 1501);
    }
    host->async_io = is_async(host);
    use_disk(host, simdisk_new());
}

bool host_keeps_little(const struct sim_world *world)
{
    return world->seed % 4 != 2;
}

static bool open_node(struct host *host)
{
    struct sim_world *world = host->world;
    struct node_env env = {
        .self = host,
        .now_ms = env_now_ms,
        .now_us = env_now_us,
        .entropy = env_entropy,
        .fs = simdisk_fs(host->disk),
        .sqlite_vfs = simvfs_name,
        .transport = peers_transport(host->peers),
    };
    struct node_options options = {
        .name = host->name,
        .raft_addr = host->addr,
        .joining = !host->bootstraps,
        .bootstrap_wait_ms = host->bootstrap_wait_ms,
        .heartbeat_ms = 100,
        .election_min_ms = 1000,
        .election_max_ms = 2000,
        .proposals_max = 256,
        .proposals_bytes_max = 1 << 20,
        .replace_after_ms = 30000,
        /* Too small for a client that is away for a moment, or enough. */
        .feed_events_max = world->seed % 3 == 1   ? 8
                           : world->seed % 3 == 2 ? 64
                                                  : 0,
        .segment_bytes = 64 << 10,
        /* Enough, or too small for even one page of the -wal. */
        .reserve_bytes = world->seed % 3 == 0 ? 4096 : 32 << 10,
        /* In most runs every few entries are frozen and flushed. */
        .buffer_bytes = world->seed % 5 == 0 ? 0 : 1,
    };
    if (world->swarm.disk_bytes > 0) {
        options.segment_bytes = 0; /* They fit to the disk. */
        options.reserve_bytes = 0;
    } else if (host_keeps_little(world)) {
        options.log_keep_bytes = HOST_LOG_KEEP_BYTES;
        options.checkpoint_bytes = world->seed % 4 == 3 ? 0 : 8 * 4096;
        options.snapshot_piece_bytes = 4096;
    }
    enum err err = node_open(&options, &env, &host->node);
    if (err) {
        sim_trace(world, "%s does not start: %s", host->name, err_name(err));
        host->node = NULL;
        if (err == ERR_CORRUPT && !host->crash_image) {
            if (!host->flipped) {
                sim_fail(world, EXIT_CORRECTNESS,
                         "%s finds damage that was not injected", host->name);
            }
            host->broken = true;
        }
        return false;
    }
    peers_set_handler(host->peers, &node_transport_handler, host->node);
    return true;
}

static void tear_down(struct host *host, bool quietly)
{
    /* An error that is still due must not hit the shutdown. */
    simdisk_fail(host->disk, 0, ERR_OK);
    clients_host_gone(host);
    watchers_host_gone(host);
    lockers_host_gone(host);
    if (host->node) {
        node_close(host->node);
        host->node = NULL;
    }
    if (host->peers) {
        peers_close(host->peers);
        host->peers = NULL;
    }
    if (host->reactor) {
        net_drop(host, quietly);
    }
}

void host_start(struct host *host)
{
    struct sim_world *world = host->world;
    must(!host->reactor);
    host->down_us = 0;
    host->off = false;
    host->eio = false;
    host->starts++;
    host->turn_us = world->now_us;
    host->turn_sync_us = 0;
    host->busy_us = world->now_us;
    host->paused_us = 0;
    host->hook_due_ms = 0;
    host->shown = 0;
    host->reactor = net_reactor(host);
    world->running = host;
    if (setjmp(world->died) == 0) {
        struct peers_options options = {.reactor = host->reactor,
                                        .host = host->name,
                                        .addr = host->addr,
                                        .commands = node_commands()};
        env_entropy(host, &options.nonce, sizeof(options.nonce));
        env_entropy(host, &options.seed, sizeof(options.seed));
        char why[64];
        enum err err = peers_open(&options, &host->peers, why, sizeof(why));
        must(err == ERR_OK);
        if (!open_node(host)) {
            host->fails_to_start = true;
        }
    } else {
        host->node = NULL; /* Its memory is lost, as when a process dies. */
        host->fails_to_start = true;
    }
    sim_trace(world, "%s starts%s", host->name,
              host->fails_to_start ? ", and fails" : "");
    host_finish_crash(host);
    world->running = NULL;
}

/* ---- running ---- */

static void crash_now(struct host *host)
{
    struct sim_world *world = host->world;
    struct simdisk *found = host->crash_image;
    bool power = host->crash_power;
    if (!found) {
        found =
            simdisk_crash(host->disk, host->crash_keep, rng_next(&world->rng));
    }
    /* Shutdown still writes, but to a disk that is discarded. */
    host->crash_image = found;
    host->crash_in = 0;
    struct simdisk *old = host->disk;
    simdisk_set_hook(old, NULL, NULL);
    simdisk_set_full(old, false);
    simdisk_fail(old, 0, ERR_OK);
    tear_down(host, power);
    host->crash_image = NULL;
    simdisk_free(old);
    use_disk(host, found);
    host->off = power;
    host->full_us = 0;
    if (host->down_us == 0) {
        host->down_us = world->now_us + sim_spread(world, 5 * SEC_US);
    }
    world->faults++;
    sim_trace(world, "%s is down", host->name);
}

void host_finish_crash(struct host *host)
{
    if (!host->crash_image && !host->fails_to_start) {
        return;
    }
    if (!host->crash_image) {
        /* The process exited; its writes are in the page cache. After a failed
         * sync any of them may be lost. */
        host->crash_keep = host->eio ? SIMDISK_SOME : SIMDISK_ALL;
        host->crash_power = false;
    }
    host->fails_to_start = false;
    crash_now(host);
}

void host_crash(struct host *host, bool power, uint64_t changes)
{
    struct sim_world *world = host->world;
    host->crash_power = power;
    host->crash_keep = !power                     ? SIMDISK_ALL
                       : sim_below(world, 4) == 0 ? SIMDISK_NOTHING
                                                  : SIMDISK_SOME;
    sim_trace(world, "%s: %s %s", host->name, power ? "power loss" : "kill -9",
              changes ? "inside a disk operation" : "");
    if (changes > 0) {
        host->crash_in = changes;
    } else {
        crash_now(host);
    }
}

/* A local read may be stale, but within one process not older than an earlier
 * one. */
static void check_local_reads(struct host *host)
{
    struct sim_world *world = host->world;
    if (!host->node) {
        return;
    }
    uint64_t applied = node_applied(host->node);
    if (applied < host->shown) {
        sim_fail(world, EXIT_CORRECTNESS, "%s goes back from %llu to %llu",
                 host->name, (unsigned long long)host->shown,
                 (unsigned long long)applied);
    }
    host->shown = applied;
}

void host_turn(struct host *host)
{
    struct sim_world *world = host->world;
    world->running = host;
    log_set_node(host->name);
    host->turn_us = world->now_us;
    host->turn_sync_us = 0;
    simdisk_set_full(host->disk, world->now_us < host->full_us);
    if (setjmp(world->died) == 0) {
        net_turn(host);
        check_local_reads(host);
    } else {
        host->node = NULL;
        host->fails_to_start = true;
    }
    world->turns++;
    host->turns++;
    host->busy_us = world->now_us + host->turn_sync_us + 20;
    host_finish_crash(host);
    world->running = NULL;
}

void host_wipe(struct host *host)
{
    struct sim_world *world = host->world;
    must(!host->reactor);
    sim_trace(world, "%s: a new disk", host->name);
    simdisk_free(host->disk);
    use_disk(host, simdisk_new());
    host->broken = false;
    host->flipped = false;
    host->wiped = true;
    host->bootstraps = false;
    host->second = false;
    host->join_us = world->now_us;
    world->faults++;
}

void host_free(struct host *host)
{
    if (host->reactor) {
        simdisk_set_hook(host->disk, NULL, NULL);
        simdisk_set_full(host->disk, false);
        tear_down(host, true);
    }
    if (host->disk) {
        simdisk_free(host->disk);
        host->disk = NULL;
    }
}

/* ---- queries ---- */

bool host_is_up(const struct host *host)
{
    return host->reactor != NULL;
}

static enum raft_suffrage suffrage_of(const struct host *host,
                                      const struct host *seen_by)
{
    struct node_status status;
    node_get_status(seen_by->node, &status);
    for (uint32_t i = 0; status.member && i < status.conf->count; i++) {
        const struct raft_member *member = &status.conf->members[i];
        if (strcmp(member->name, host->name) == 0) {
            return member->suffrage;
        }
    }
    return 0;
}

struct host *host_leader(struct sim_world *world)
{
    struct host *leader = NULL;
    uint64_t term = 0;
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *host = &world->hosts[i];
        if (host_is_up(host) && !host->second && node_is_leader(host->node) &&
            node_term(host->node) > term) {
            leader = host;
            term = node_term(host->node);
        }
    }
    return leader;
}

bool host_is_member(const struct host *host, const struct host *seen_by)
{
    return suffrage_of(host, seen_by) != 0;
}

bool host_is_voter(const struct host *host)
{
    struct sim_world *world = host->world;
    if (!host_is_up(host)) {
        return false;
    }
    const struct host *leader = host_leader(world);
    return suffrage_of(host, host) == RAFT_VOTER &&
           (!leader || suffrage_of(host, leader) == RAFT_VOTER);
}

struct host *host_of_addr(struct sim_world *world, const char *name)
{
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        if (strcmp(world->hosts[i].name, name) == 0) {
            return &world->hosts[i];
        }
    }
    return NULL;
}
