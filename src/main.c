/* main.c -- starts the daemon: opens the rooms, connects them, runs the event
 * loop, and closes them in order. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "api/api.h"
#include "auth/auth.h"
#include "base/log.h"
#include "budget.h"
#include "client/help.h"
#include "config.h"
#include "crypto/crypto.h"
#include "dispatch.h"
#include "host.h"
#include "node/feed.h"
#include "notify.h"
#include "ops/ops.h"
#include "peer/peer.h"
#include "privileges.h"
#include "process.h"
#include "reactor/reactor.h"
#include "report.h"
#include "secrets.h"
#include "sys/fs.h"
#include "sys/init.h"
#include "sys/memory.h"
#include "sys/sys.h"

enum {
    STOPPED = -1, /* Not an exit code: a signal arrived during the start. */
    EXIT_RUNTIME = 1,
    EXIT_USAGE = 2,
    EXIT_JOIN = 3,
    EXIT_DATA = 4,
    DRAIN_MS = 5000,
    DIRECTORY_CHECK_MS = 3000,
    /* How long a removed node keeps running, so that /status can say why. */
    REMOVED_MS = 5000,
    REFUSED_MS = 8000, /* Minimum time before a refused --join ends the node. */
    /* Descriptors that are kept from client connections: for files, links to
     * peers in both directions, dials in progress, strangers on the Raft port,
     * lookups, listeners. If the limit is too low, half of it without the
     * connections beyond --max-conns; a cluster of seven needs the minimum. */
    FDS_RESERVED = 160,
    FDS_RESERVED_MIN = 40,
    CONNS_MIN = 8,
    /* Memory for one change of --history beyond the default. */
    HISTORY_EVENT_BYTES = 800,
};

/* Bounds on connections of clients, as the descriptors allow: --max-conns,
 * those accepted beyond it, and those of proxies without a header. */
struct connections {
    uint32_t max;
    uint32_t beyond;
    uint32_t proxied;
};

struct daemon {
    struct config config;
    struct budget budget;
    struct privileges privileges;
    struct reactor *reactor;
    struct fs *fs;
    struct peers *peers;
    struct api *api;
    struct node *node;
    /* Value of Authorization for it; "": none. */
    char join_credentials[SECRETS_CREDENTIALS_BYTES];
    struct ops_join *join; /* NULL: this node does not ask to join. */
    /* NULL unless their flags are set. */
    struct ops_leave *leave;
    struct ops_reap *reap;
    struct ops_backups *backups;
    struct ops_exec *exec;
    struct report report;
    /* Stopping has two phases: leaving the cluster (--leave-on-exit), then
     * draining, which refuses new requests and finishes the accepted ones. */
    bool stopping;
    bool draining;
    /* Deadlines in milliseconds of reactor_now_ms(). */
    uint64_t stop_by_ms;    /* End of the current phase. */
    uint64_t removed_by_ms; /* Stop of a removed node; 0: it is a member. */
    uint64_t log_retry_ms;  /* Next write of log lines that are pending. */
    struct connections connections;
    int exit_code;
    /* Absolute path and identity of the lock file, as of the start. */
    char lock_path[2 * FS_PATH_BYTES];
    struct host_file lock_file;
    struct timer directory_timer;
};

/* ---- turns of the event loop, and stopping ---- */

static void drain(struct daemon *daemon)
{
    daemon->draining = true;
    daemon->stop_by_ms = reactor_now_ms(daemon->reactor) + DRAIN_MS;
    node_stop(daemon->node);
    api_stop(daemon->api);
}

static void start_stopping(struct daemon *daemon)
{
    daemon->stopping = true;
    notify_stopping();
    daemon->stop_by_ms = reactor_now_ms(daemon->reactor) + DRAIN_MS;
    ops_join_free(daemon->join);
    daemon->join = NULL;
}

/* Stops a node that was removed from its cluster and was started with --join:
 * it cannot become a member again. Without --join it runs on. Returns the time
 * of the next call, UINT64_MAX when none is needed. */
static uint64_t stop_removed(struct daemon *daemon)
{
    if (!daemon->config.join || daemon->stopping ||
        node_removed_index(daemon->node) == 0) {
        return UINT64_MAX;
    }
    uint64_t now_ms = reactor_now_ms(daemon->reactor);
    if (daemon->removed_by_ms == 0) {
        daemon->removed_by_ms = now_ms + REMOVED_MS;
    }
    if (now_ms < daemon->removed_by_ms) {
        return daemon->removed_by_ms;
    }
    log_error("stop",
              "why=\"removed from its cluster at index %llu: empty "
              "the directory to join anew\"",
              (unsigned long long)node_removed_index(daemon->node));
    daemon->exit_code = EXIT_JOIN;
    start_stopping(daemon);
    drain(daemon);
    return now_ms;
}

/* Writes pending log lines. Returns the time of the next call, UINT64_MAX when
 * none is needed. */
static uint64_t flush_log(struct daemon *daemon)
{
    if (!log_is_pending()) {
        return UINT64_MAX;
    }
    uint64_t now_ms = reactor_now_ms(daemon->reactor);
    if (now_ms >= daemon->log_retry_ms) {
        log_flush();
        daemon->log_retry_ms = now_ms + LOG_RETRY_MS;
    }
    return daemon->log_retry_ms;
}

static uint64_t on_turn(void *arg)
{
    struct daemon *daemon = arg;
    if (daemon->draining) {
        node_stop(daemon->node);
    } else if (daemon->stopping &&
               !ops_leave_run(daemon->leave, daemon->stop_by_ms)) {
        drain(daemon);
    }
    uint64_t at = node_turn(daemon->node);
    at = min_u64(at, flush_log(daemon));
    at = min_u64(at, stop_removed(daemon));
    at = min_u64(at, notify_run(daemon->node, reactor_now_ms(daemon->reactor)));
    if (!daemon->stopping) {
        return at;
    }
    uint64_t now_ms = reactor_now_ms(daemon->reactor);
    if (daemon->draining &&
        ((node_stopped(daemon->node) && api_stopped(daemon->api)) ||
         now_ms >= daemon->stop_by_ms)) {
        reactor_stop(daemon->reactor);
    }
    return min_u64(at, now_ms + 10);
}

static void arm_directory_check(struct daemon *daemon);

/* A process with open files does not notice that their directory was removed
 * or replaced: writes succeed, and are lost when it exits. The lock file is
 * therefore looked up by its path at intervals, and the node stops when it is
 * missing or another file. */
static void on_directory_check(void *arg)
{
    struct daemon *daemon = arg;
    const struct host_file *lock = &daemon->lock_file;
    struct host_file found;
    enum err err = host_file_at(daemon->lock_path, &found);
    bool gone =
        err == ERR_NOT_FOUND ||
        (!err && (found.device != lock->device || found.inode != lock->inode));
    if (daemon->stopping || !gone) {
        arm_directory_check(daemon);
        return;
    }
    log_error("directory-gone",
              "file=\"%s\" why=\"%s: what this node has stored is not "
              "where the next start would look for it; stopping\"",
              daemon->lock_path,
              err ? "the data directory was removed or renamed"
                  : "another directory is in the place of ours");
    daemon->exit_code = EXIT_RUNTIME;
    start_stopping(daemon);
}

static void arm_directory_check(struct daemon *daemon)
{
    timer_arm(daemon->reactor, &daemon->directory_timer,
              reactor_now_ms(daemon->reactor) + DIRECTORY_CHECK_MS,
              on_directory_check, daemon);
}

/* Call it while the node is open, since that holds the lock. */
static void watch_directory(struct daemon *daemon)
{
    const struct fs *fs = daemon->fs;
    if (fs->real_path(fs->self, "LOCK", daemon->lock_path,
                      sizeof(daemon->lock_path)) &&
        host_file_at(daemon->lock_path, &daemon->lock_file) == ERR_OK) {
        arm_directory_check(daemon);
    }
}

static void on_signal(int signal_number, void *arg)
{
    struct daemon *daemon = arg;
    if (daemon->stopping) {
        log_warn("stop", "why=\"second signal\"");
        log_finish();
        exit(EXIT_RUNTIME);
    }
    log_info("stop", "signal=%d", signal_number);
    start_stopping(daemon);
}

/* ---- signals and refusals ---- */

/* A sentence, or NULL. */
static const char *raft_port_risk(const struct config *config)
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    if (addr_split(config->raft, host, &port) && addr_is_loopback(host)) {
        return NULL;
    }
    if (!config->cluster_key) {
        return "the Raft port is not on loopback and has no --cluster-key: "
               "whoever reaches it can read and change everything";
    }
    if (config->cluster_key_optional) {
        return "--cluster-key-optional still trusts nodes without the key: "
               "remove it when all nodes have a --cluster-key";
    }
    return NULL;
}

/* A file that is not usable changes nothing. */
static void reload_files(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    if (config->cluster_key && daemon->peers &&
        !secrets_load_cluster_key(config, daemon->peers)) {
        log_warn("cluster-key", "why=\"the keys in use stay as they are\"");
    }
    if (config->auth && daemon->api &&
        !secrets_load_rules(config, daemon->api)) {
        log_warn("auth", "why=\"the rules in use stay as they are\"");
    }
}

/* SIGHUP asks a daemon to read its configuration files again. Without any, the
 * handler only keeps the signal from ending the process. */
static void on_hangup(int signal_number, void *arg)
{
    struct daemon *daemon = arg;
    bool has_files = daemon->config.cluster_key || daemon->config.auth;
    if (has_files) {
        log_info("hangup", "signal=%d", signal_number);
    } else {
        log_info("hangup", "signal=%d why=\"no configuration file to reload\"",
                 signal_number);
    }
    notify_reloading();
    reload_files(daemon);
    notify_reloaded();
}

static void on_join_refused(void *arg)
{
    struct daemon *daemon = arg;
    daemon->exit_code = EXIT_JOIN;
    notify_stopping();
    reactor_stop(daemon->reactor);
}

/* ---- start ---- */

static int fail(const char *flag, const char *addr, const char *why)
{
    log_error("start", "%s=%s why=\"%s\"", flag, addr, why);
    return EXIT_RUNTIME;
}

/* Waits until the host of `addr` resolves, at most PATIENCE_MS: the name of a
 * container may get its address shortly after its process has started. The
 * event loop runs meanwhile, for signals alone: nothing else is open yet. */
static void await_name(struct daemon *daemon, const char *flag,
                       const char *addr)
{
    enum { PATIENCE_MS = 30000, PAUSE_MS = 1000 };
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    bool ok = addr_split(addr, host, &port);
    must(ok);
    uint64_t until_ms = sys_now_ms() + PATIENCE_MS;
    while (!daemon->stopping && !listener_can_resolve(daemon->reactor, host)) {
        uint64_t now_ms = sys_now_ms();
        if (now_ms >= until_ms) {
            return; /* Opening the listener fails, and reports why. */
        }
        log_warn("resolve", "%s=%s why=\"%s does not resolve\" left_s=%llu",
                 flag, addr, host,
                 (unsigned long long)((until_ms - now_ms + 999) / 1000));
        uint64_t next_ms = now_ms + PAUSE_MS;
        while (!daemon->stopping && now_ms < next_ms) {
            reactor_turn(daemon->reactor, next_ms - now_ms);
            now_ms = sys_now_ms();
        }
    }
}

static int open_listeners(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    char host[REACTOR_HOST_BYTES];
    char why[128] = "";
    uint16_t port = 0;
    bool ok = addr_split(config->raft, host, &port);
    must(ok);
    struct peers_options peers_options = {.reactor = daemon->reactor,
                                          .host = host,
                                          .port = port,
                                          .addr = config->raft_adv,
                                          .http = config->http_adv,
                                          .commands = node_commands()};
    sys_entropy(&peers_options.nonce, sizeof(peers_options.nonce));
    sys_entropy(&peers_options.seed, sizeof(peers_options.seed));
    if (peers_open(&peers_options, &daemon->peers, why, sizeof(why))) {
        return fail("--raft", config->raft, why);
    }
    if (config->cluster_key &&
        !secrets_load_cluster_key(config, daemon->peers)) {
        return EXIT_RUNTIME;
    }
    ok = !config->http || addr_split(config->http, host, &port);
    must(ok);
    uint8_t secret[AUTH_KEY_BYTES];
    sys_entropy(secret, sizeof(secret));
    daemon->report = (struct report){.config = config,
                                     .privileges = &daemon->privileges,
                                     .peers = daemon->peers,
                                     .join = &daemon->join,
                                     .backups = &daemon->backups};
    struct api_options api_options = {
        .reactor = daemon->reactor,
        .host = config->http ? host : NULL,
        .port = port,
        .unix_path = config->http_unix,
        .unix_mode = config->http_unix_mode,
        .trust_proxy = config->trust_proxy,
        .value_bytes_max = config->max_value,
        .body_bytes_max = config->max_body,
        .db_bytes_max = config->max_db,
        .cache_bytes = daemon->budget.cache,
        .budget_bytes = daemon->budget.requests,
        .conns_max = daemon->connections.max,
        .conns_beyond = daemon->connections.beyond,
        .proxied_max = daemon->connections.proxied,
        .conns_wanted = (uint32_t)config->max_conns,
        .http_adv = config->http_adv,
        .host_name = host_name(),
        .allow_hosts = config->allow_hosts,
        .allow_origins = config->allow_origins,
        .raft_port_risk = raft_port_risk(config),
        .has_ui = !config->no_ui,
        .version = CRAFTD_VERSION,
        .secret = secret,
        .start_s = (uint64_t)time(NULL),
    };
    report_to_api(&daemon->report, &api_options);
    if (api_open(&api_options, &daemon->api, why, sizeof(why))) {
        return fail("--http", config->http ? config->http : config->http_unix,
                    why);
    }
    if (config->auth && !secrets_load_rules(config, daemon->api)) {
        return EXIT_RUNTIME;
    }
    return secrets_read_join_token(config, daemon->join_credentials)
               ? 0
               : EXIT_RUNTIME;
}

/* How long a new node listens for members of another cluster before it
 * bootstraps one of its own: two maximum election time-outs, since those
 * members dial an address that was unreachable every three to four seconds. On
 * a loopback address only the operator of this machine can have had a member,
 * so there is no wait. */
static uint32_t bootstrap_wait_ms(const struct config *config)
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    bool near =
        addr_split(config->raft_adv, host, &port) && addr_is_loopback(host);
    return near ? 0 : (uint32_t)(2 * 2 * config->election_ms);
}

/* --history beyond the default is a wish for more memory. */
static uint64_t feed_bytes(const struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    uint64_t wanted = config->history > FEED_EVENTS_MAX
                          ? config->history * HISTORY_EVENT_BYTES
                          : 0;
    return max_u64(wanted, max_u64(daemon->budget.feed, config->max_body));
}

static int open_node(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    struct node_env env = host_env(daemon->fs);
    env.transport = peers_transport(daemon->peers);
    env.vitals = report_vitals;
    env.vitals_arg = &daemon->config;
    struct node_options options = {
        .name = config->id,
        .raft_addr = config->raft_adv,
        .http_addr = config->http_adv,
        .joining = config->join != NULL,
        .join = config->join,
        .bootstrap_wait_ms = bootstrap_wait_ms(config),
        .bootstrap_anyway = config->bootstrap_anyway,
        .heartbeat_ms = (uint32_t)config->heartbeat_ms,
        .election_min_ms = (uint32_t)config->election_ms,
        .election_max_ms = (uint32_t)(2 * config->election_ms),
        .replace_after_ms = config->replace_after_ms,
        .feed_events_max = (uint32_t)config->history,
        .feed_bytes_max = feed_bytes(daemon),
        .proposals_max = NODE_PROPOSALS_MAX,
        .db_bytes_max = config->max_db,
        .proposals_bytes_max = daemon->budget.proposals,
        .cache_bytes = daemon->budget.cache,
        .row_cache_bytes = daemon->budget.rows,
        .buffer_bytes = daemon->budget.buffer,
        .entries_bytes = daemon->budget.entries,
    };
    enum err err = node_open(&options, &env, &daemon->node);
    if (err) {
        log_error("start", "dir=%s why=\"%s\"",
                  config->dir ? config->dir : "(memory)", err_name(err));
        return err == ERR_CORRUPT ? EXIT_DATA : EXIT_RUNTIME;
    }
    peers_set_handler(daemon->peers, &node_transport_handler, daemon->node);
    return 0;
}

static void start_join(struct daemon *daemon)
{
    const char *targets = node_remembered_join(daemon->node);
    if (!targets) {
        targets = daemon->config.join;
    }
    if (!targets) {
        return;
    }
    struct ops_join_options options = {
        .reactor = daemon->reactor,
        .node = daemon->node,
        .targets = targets,
        .raft_addr = daemon->config.raft_adv,
        .http_addr = daemon->config.http_adv,
        .http_listen = daemon->config.http,
        .credentials = daemon->join_credentials,
        .observer = daemon->config.observer,
        .timeout_ms = daemon->config.join_timeout_ms,
        .refused_ms = max_u64(REFUSED_MS, 3 * daemon->config.election_ms),
        .on_refused = on_join_refused,
        .arg = daemon,
    };
    sys_entropy(&options.seed, sizeof(options.seed));
    daemon->join = ops_join_start(&options);
}

static int start_ops(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    if (config->leave_on_exit) {
        daemon->leave = ops_leave_new(daemon->reactor, daemon->node);
    }
    if (config->reap_ms > 0) {
        daemon->reap =
            ops_reap_start(daemon->reactor, daemon->node, config->reap_ms);
    }
    if (config->backup_dir) {
        struct ops_backups_options options = {
            .reactor = daemon->reactor,
            .node = daemon->node,
            .dir = config->backup_dir,
            .every_ms = config->backup_every_ms,
            .keep = config->backup_keep,
            .exec = daemon->exec,
        };
        daemon->backups = ops_backups_start(&options);
        if (!daemon->backups) {
            return EXIT_RUNTIME;
        }
    }
    return 0;
}

/* Raises the limit of descriptors to `wanted`, as far as the hard limit allows.
 * Returns the limit, UINT64_MAX if it is unknown. */
static uint64_t raise_descriptors(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return UINT64_MAX;
    }
    uint64_t before = limit.rlim_cur;
    if (before < wanted) {
        limit.rlim_cur = min_u64(wanted, limit.rlim_max);
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            return before;
        }
    }
    return limit.rlim_cur;
}

/* Lowers the number of connections below --max-conns if the limit of
 * descriptors requires it, so that clients never take those of files and
 * peers. False: there are too few for those, which is logged. */
static bool fit_connections(struct daemon *daemon)
{
    struct connections *conns = &daemon->connections;
    uint64_t wanted = daemon->config.max_conns;
    uint64_t proxied = daemon->config.trust_proxy ? API_PROXIED_MAX : 0;
    uint64_t others = FDS_RESERVED + API_CONNS_BEYOND + proxied;
    uint64_t limit = raise_descriptors(wanted + others);
    *conns = (struct connections){.max = (uint32_t)wanted,
                                  .beyond = API_CONNS_BEYOND,
                                  .proxied = (uint32_t)proxied};
    if (limit >= wanted + others) {
        return true;
    }
    if (limit < FDS_RESERVED_MIN + CONNS_MIN) {
        log_error("start",
                  "why=\"the limit of descriptors is %llu, and a node needs "
                  "%d\" help=\"raise the limit (ulimit -n, LimitNOFILE=)\"",
                  (unsigned long long)limit, FDS_RESERVED_MIN + CONNS_MIN);
        return false;
    }
    uint64_t reserved = limit / 2 - min_u64(limit / 2, API_CONNS_BEYOND);
    reserved = max_u64(min_u64(reserved, FDS_RESERVED), FDS_RESERVED_MIN);
    uint64_t left = limit - reserved;
    conns->proxied = (uint32_t)min_u64(proxied, left / 4);
    conns->beyond = (uint32_t)min_u64(API_CONNS_BEYOND, left / 4);
    left -= conns->proxied + conns->beyond;
    conns->max = (uint32_t)min_u64(left, wanted);
    log_warn("descriptors",
             "limit=%llu --max-conns=%llu used=%u why=\"the limit of "
             "descriptors is too low for --max-conns connections and %llu "
             "descriptors for files and peers\" help=\"raise the limit "
             "(ulimit -n, LimitNOFILE=), or lower --max-conns\"",
             (unsigned long long)limit, (unsigned long long)wanted, conns->max,
             (unsigned long long)others);
    return true;
}

/* Divides the memory. A database in memory that grew beyond it would end the
 * process; beyond --max-db, writes are refused. */
static void fit_to_memory(struct daemon *daemon)
{
    struct config *config = &daemon->config;
    uint64_t memory = sys_memory();
    daemon->budget = budget_of(memory, config->cache, config->write_buffer,
                               config->max_body);
    if (config->inmem &&
        (config->max_db == 0 || config->max_db > daemon->budget.in_memory)) {
        config->max_db = daemon->budget.in_memory;
        log_info(
            "memory",
            "bytes=%llu --max-db=%llu why=\"--inmem: the database may take "
            "a quarter of the memory\"",
            (unsigned long long)memory, (unsigned long long)config->max_db);
    }
}

static void on_completion(void *arg)
{
    struct daemon *daemon = arg;
    fs_posix_on_event(daemon->fs);
}

/* Enables asynchronous file operations if --io allows them: by the kernel, or
 * by processes. Returns an exit code. */
static int choose_io(struct daemon *daemon)
{
    char why[128];
    if (daemon->config.io == CONFIG_IO_SYNC || daemon->config.inmem) {
        return 0;
    }
    enum config_io io = daemon->config.io;
    bool chosen = io != CONFIG_IO_PROCESS &&
                  fs_posix_use_uring(daemon->fs, why, sizeof(why));
    if (!chosen && io == CONFIG_IO_URING) {
        return fail("--io", "uring", why);
    }
    if (!chosen && io == CONFIG_IO_AUTO) {
        log_info("io", "log=process why=\"%s\"", why);
    }
    chosen =
        chosen || fs_posix_use_processes(daemon->fs, privileges_confine_sync,
                                         &daemon->privileges, why, sizeof(why));
    if (!chosen && io == CONFIG_IO_PROCESS) {
        return fail("--io", "process", why);
    }
    if (!chosen) {
        log_info("io", "log=sync why=\"%s\"", why);
    }
    int fds[FS_OPS_MAX];
    size_t count = fs_posix_event_fds(daemon->fs, fds);
    for (size_t i = 0; i < count; i++) {
        reactor_wake_on(daemon->reactor, fds[i], on_completion, daemon);
    }
    return 0;
}

static int start(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    process_check_environment();
    host_await_entropy();
    if (raft_port_risk(config)) {
        log_warn("raft-port", "addr=%s why=\"%s\"", config->raft,
                 raft_port_risk(config));
    }
    if (!fit_connections(daemon)) {
        return EXIT_RUNTIME;
    }
    fit_to_memory(daemon);
    notify_open();
    if (!privileges_init(&daemon->privileges, config)) {
        return EXIT_RUNTIME;
    }
    daemon->reactor = reactor_new();
    if (!privileges_start_resolver(&daemon->privileges, daemon->reactor)) {
        return EXIT_RUNTIME;
    }
    if (config->backup_exec) {
        daemon->exec =
            ops_exec_start(config->backup_exec, config->backup_dir,
                           privileges_prepare_exec, &daemon->privileges);
        if (!daemon->exec) {
            return fail("--backup-exec", config->backup_exec, strerror(errno));
        }
    }
    reactor_on_signal(daemon->reactor, SIGTERM, on_signal, daemon);
    reactor_on_signal(daemon->reactor, SIGINT, on_signal, daemon);
    reactor_on_signal(daemon->reactor, SIGHUP, on_hangup, daemon);
    if (!privileges_make_directories(&daemon->privileges)) {
        return EXIT_RUNTIME;
    }
    if (config->inmem) {
        daemon->fs = fs_memory_new();
    } else if (fs_posix_new(config->dir, &daemon->fs)) {
        return fail("--dir", config->dir, "cannot be created or used");
    }
    await_name(daemon, "--raft", config->raft);
    if (config->http) {
        await_name(daemon, "--http", config->http);
    }
    int code = daemon->stopping ? STOPPED : open_listeners(daemon);
    if (!code && !privileges_drop_user(&daemon->privileges)) {
        code = EXIT_RUNTIME;
    }
    if (!code) {
        code = choose_io(daemon);
    }
    if (!code) {
        privileges_enter_sandbox(&daemon->privileges, notify_descriptor());
        code = open_node(daemon);
    }
    if (code) {
        return code;
    }
    code = start_ops(daemon);
    if (code) {
        return code;
    }
    watch_directory(daemon);
    api_set_node(daemon->api, daemon->node);
    reactor_set_hook(daemon->reactor, on_turn, daemon);
    start_join(daemon);
    log_info("start",
             "version=%s http=%s raft=%s http_adv=%s raft_adv=%s dir=%s "
             "cache=%llu write_buffer=%llu",
             CRAFTD_VERSION, api_listening(daemon->api),
             peers_listening(daemon->peers), config->http_adv, config->raft_adv,
             config->inmem ? "(memory)" : config->dir,
             (unsigned long long)daemon->budget.cache,
             (unsigned long long)daemon->budget.buffer);
    notify_ready();
    return 0;
}

static void stop(struct daemon *daemon)
{
    ops_join_free(daemon->join);
    api_close(daemon->api);
    ops_leave_free(daemon->leave);
    ops_reap_free(daemon->reap);
    ops_backups_free(daemon->backups);
    ops_exec_free(daemon->exec);
    node_close(daemon->node);
    peers_close(daemon->peers);
    if (daemon->reactor) {
        reactor_free(daemon->reactor);
    }
    if (daemon->fs && daemon->config.inmem) {
        fs_memory_free(daemon->fs);
    } else if (daemon->fs) {
        fs_posix_free(daemon->fs);
    }
    notify_close();
}

static void print_help(void)
{
    struct buf pages = {0};
    puts("craftd " CRAFTD_VERSION ": a distributed key-value store");
    for (int page = help_daemon; page < help_overview; page++) {
        fputs(client_page(page, &pages), stdout);
    }
    buf_free(&pages);
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    char why[256];
    if (!process_hold_standard_files()) {
        perror("craftd: standard descriptors");
        return EXIT_RUNTIME;
    }
    init_enter();
    process_keep_files_private();
    process_return_memory();
    /* With SIGXFSZ ignored, a write over the limit of file sizes (ulimit -f)
     * fails with EFBIG instead of ending the process, in every command. */
    (void)signal(SIGXFSZ, SIG_IGN);
    int other = dispatch_command(argc, argv);
    if (other >= 0) {
        return other;
    }
    switch (config_parse(argc, argv, &daemon.config, why, sizeof(why))) {
    case CONFIG_HELP:
        print_help();
        return 0;
    case CONFIG_VERSION:
        puts("craftd " CRAFTD_VERSION);
        return 0;
    case CONFIG_WRONG:
        fprintf(stderr, "craftd: %s\n", why);
        return EXIT_USAGE;
    case CONFIG_RUN:
        break;
    }
    process_prepare_signals();
    log_open();
    log_set_level(daemon.config.log_level);
    log_set_json(daemon.config.log_json);
    int code = start(&daemon);
    if (!code) {
        reactor_run(daemon.reactor);
        code = daemon.exit_code;
    } else if (code == STOPPED) {
        code = 0;
    }
    stop(&daemon);
    if (!code) {
        log_info("stopped", "code=0");
    }
    log_finish();
    return code;
}
