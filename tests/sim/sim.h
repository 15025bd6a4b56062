/* sim.h -- a whole cluster in one process, on one seed.
 *
 * The hosts run the daemon's own rooms, unchanged: peer/ (handshake, frames,
 * keep-alive), node/ (the executor), raft/, wal/, store/ with real SQLite.
 * What is simulated is what lies under them:
 *
 *     net.c      reactor.h over a virtual network: delays, cuts, resets
 *     host.c     a machine: its clock, its disk (support/simdisk.h, with
 *                SQLite on it: support/simvfs.h), its daemon; starts, crashes
 *     clients.c  writes and reads, and the history of their answers
 *     watchers.c clients that watch changes, and what they must receive
 *     lockers.c  clients that hold a lock, one at a time
 *     timeouts.c keys that end, whatever happens to leaders
 *     linear.c   checks whether that history is linearizable
 *     chaos.c    the faults of a run, and the run itself
 *     hold.c     one fault: delayed answers reach a deposed leader
 *     scenes.c   scripted runs
 *     main.c     seeds, in parallel; exit 127 crash, 128 liveness,
 *                129 correctness
 *
 * Time is virtual: microseconds since the start of the run. Every random choice
 * is drawn from the seed, and every event enters a hash, so that the same seed
 * gives the same run with every compiler. */
#ifndef CRAFTD_TESTS_SIM_H
#define CRAFTD_TESTS_SIM_H

#include <setjmp.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/rng.h"
#include "command/command.h"
#include "node/node.h"
#include "peer/peer.h"
#include "reactor/reactor.h"
#include "support/simdisk.h"
#include "support/simvfs.h"

enum {
    HOSTS_MAX = 7,
    CLIENTS_MAX = 8,
    KEYS_MAX = 6,
    LEADERS_MAX = 1 << 14, /* Terms of a run. */
    HOST_LOG_KEEP_BYTES = 128 << 10,
    EXIT_CRASH = 127,
    EXIT_LIVENESS = 128,
    EXIT_CORRECTNESS = 129,
};

#define SEC_US UINT64_C(1000000)
#define MS_US UINT64_C(1000)

/* ---- parameters of a run ---- */

/* Drawn from the seed at the start. Chances are per host (or link, or client)
 * and second, in thousandths; 0 turns a class of faults off. */
struct swarm {
    uint32_t hosts;
    uint32_t clients;
    uint32_t keys;
    uint64_t disk_bytes; /* Size of each disk; 0: large. */
    uint64_t pace_us;    /* Mean pause of a client between two requests. */
    uint64_t chaos_us;
    uint64_t delay_us; /* Mean latency of a segment. */
    uint64_t sync_us;  /* Mean duration of an fdatasync. */
    uint32_t cut;
    uint32_t cut_one_way;
    uint32_t reset;
    uint32_t garble; /* A bit of a segment in flight is flipped. */
    uint32_t kill;
    uint32_t power;
    uint32_t power_all;
    uint32_t inside; /* Share of crashes inside a disk operation. */
    uint32_t pause;
    uint32_t stall; /* A disk operation takes seconds. */
    uint32_t eio;
    uint32_t full;
    uint32_t flip;
    uint32_t wipe;
    uint32_t remove;
    uint32_t transfer;
    uint32_t hold;  /* hold.c */
    bool clocks;    /* Clock rates differ, from half to double. */
    bool all_async; /* Every host has asynchronous I/O; else see host.c. */
};

/* ---- hosts ---- */

struct sim_world;

struct host {
    struct sim_world *world; /* Borrowed: this host is one of its hosts. */
    int number;              /* 0.. */
    char name[16];
    char addr[24];
    uint16_t port; /* Other addresses of the same machine are other ports. */
    struct simdisk *disk;
    struct reactor *reactor; /* NULL: down. */
    struct peers *peers;
    struct node *node;
    struct rng rng;
    uint64_t starts;
    uint64_t turns;
    uint64_t shown; /* Applied index at its last readable moment. */

    uint64_t clock_rate; /* Thousandths. */
    uint64_t clock_offset_us;

    bool bootstraps;            /* It bootstraps the cluster, ... */
    uint32_t bootstrap_wait_ms; /* ... after listening for so long. */
    bool second; /* It may bootstrap another cluster, with terms of its own. */
    struct node_request join;
    uint64_t join_us; /* Time of the next attempt to join. */
    int join_at;      /* Number of the host that was asked; -1: none. */

    bool async_io;         /* Its log and syncs are asynchronous. */
    uint64_t write_due_us; /* Completion of the log write in flight. */
    uint64_t sync_due_us;  /* ... and of the sync; UINT64_MAX: none. */
    uint64_t busy_us;   /* A synchronous disk operation blocks it until then. */
    uint64_t paused_us; /* It does not run until then. */
    uint64_t stall_us;  /* Its disk is slow until then. */
    uint64_t log_stall_us; /* Its log writes are, ... */
    uint64_t db_stall_us;  /* ... or its asynchronous syncs. */
    uint64_t full_us;      /* It has no space until then. */
    uint64_t down_us;      /* When to start it again; 0: it is up. */
    bool broken;           /* Its data is damaged: it must be wiped. */
    bool wiped;            /* It has an empty disk and is no voter yet. */
    bool off;              /* It lost power: its peers get no reset. */
    uint64_t removed_us;   /* To be replaced then, unless a member again. */

    /* The turn that runs now. */
    uint64_t turn_us;      /* Start. */
    uint64_t turn_sync_us; /* Time that its fdatasyncs took so far. */
    uint64_t hook_due_ms;

    /* A crash is due after this many changes of the disk; 0: none. */
    uint64_t crash_in;
    enum simdisk_keep crash_keep;
    bool crash_power;
    struct simdisk *crash_image; /* Crashed: later effects are discarded. */
    bool eio;                    /* I/O errors are injected: it may exit. */
    bool fails_to_start;         /* Or exited by itself. */
    bool flipped;                /* Bits of its files were changed. */
    uint64_t syncs_seen;
};

/* ---- the world ---- */

/* The operator's request; there is one at a time. */
struct admin {
    struct node_request request;
    int at;              /* Number of the host that was asked; -1: none. */
    int removing;        /* Number of the host to be removed; -1: none. */
    bool step_done;      /* The step of a restore that was asked for last. */
    struct host *peer;   /* The host that a barrier waits for, ... */
    uint64_t peer_index; /* ... and the index that it must apply. */
};

enum hold_phase { HOLD_IDLE, HELD, HANDED_OVER, WRITTEN, READ };

/* hold.c */
struct hold {
    struct rng rng;
    enum hold_phase phase;
    struct host *deposed;
    uint64_t until_us;
};

/* Everything that one run has: chaos_begin() fills the caller's memory, and
 * chaos_end() releases what it points to. Statistics and hash stay readable. */
struct sim_world {
    uint64_t seed;
    struct rng rng;
    struct swarm swarm;
    uint64_t now_us;
    uint64_t hash;
    bool calm; /* No new faults. */
    bool trace;
    struct host hosts[HOSTS_MAX];
    bool cut[HOSTS_MAX][HOSTS_MAX];
    uint64_t cut_until_us[HOSTS_MAX][HOSTS_MAX];
    struct host *running;      /* The host whose code runs now; or NULL. */
    jmp_buf died;              /* die() returns here. */
    struct list wires;         /* net.c: connections. */
    struct clients *clients;   /* clients.c; owned. */
    struct watchers *watchers; /* watchers.c; owned. */
    struct lockers *lockers;   /* lockers.c; owned. */
    struct admin admin;
    struct hold hold;
    bool formed_once;
    uint64_t next_weather_us;
    struct host *probed;      /* At the end: the host that must take a write. */
    int leaders[LEADERS_MAX]; /* By term: number of the host + 1; 0: none. */
    uint64_t turns;
    uint64_t acked;
    uint64_t reads;
    uint64_t faults;
};

/* The world that was begun last; NULL before the first. Only for what has no
 * argument: die() and signal handlers. */
struct sim_world *sim_current(void);

/* A failure: prints the seed and ends the process. */
NORETURN void sim_fail(const struct sim_world *world, int exit_code,
                       const char *format, ...) PRINTF(3, 4);
/* With --trace: prints a line. */
void sim_trace(const struct sim_world *world, const char *format, ...)
    PRINTF(2, 3);
/* Makes an event part of the run's hash. */
void sim_note(struct sim_world *world, uint64_t a, uint64_t b);
/* A number below `bound`, drawn from the run's generator. */
uint64_t sim_below(struct sim_world *world, uint64_t bound);
/* Exponentially distributed, at least 1. */
uint64_t sim_spread(struct sim_world *world, uint64_t mean);

/* net.c */
struct reactor *net_reactor(struct host *host);
/* Time of the next arrival, timer or completion; UINT64_MAX when none. */
uint64_t net_next_us(const struct host *host);
/* One turn of its loop. */
void net_turn(struct host *host);
/* Segments that reach a host that is down are refused, or ignored when it has
 * no power. */
void net_arrive_down(struct host *host);
/* Drop all its connections; `quietly`: the peers get no reset. */
void net_drop(struct host *host, bool quietly);
/* Break one connection; flip one bit of a segment in flight. */
void net_reset_one(struct sim_world *world);
void net_garble_one(struct sim_world *world);
void net_free(struct sim_world *world);
uint64_t net_clock_ms(const struct host *host);

/* host.c */
void host_init(struct host *host, struct sim_world *world, int number);
void host_start(struct host *host);
/* Crash now (0), or after `changes` more changes of its disk. */
void host_crash(struct host *host, bool power, uint64_t changes);
void host_turn(struct host *host);
void host_wipe(struct host *host);
/* Set the port on which it listens from its next start on. */
void host_move(struct host *host, uint16_t port);
void host_free(struct host *host);
/* Next completion of asynchronous I/O; UINT64_MAX when none is in flight. */
uint64_t host_io_due_us(const struct host *host);
bool host_is_up(const struct host *host);
/* By its own configuration, and by the leader's where there is one. */
bool host_is_voter(const struct host *host);
/* By the configuration of `seen_by`. */
bool host_is_member(const struct host *host, const struct host *seen_by);
/* In three runs of four the log is compacted early, so that compaction and
 * snapshots are frequent (R14, S06). */
bool host_keeps_little(const struct sim_world *world);
/* After its turn: carry out a crash that happened inside. */
void host_finish_crash(struct host *host);
struct host *host_of_addr(struct sim_world *world, const char *name);
struct host *host_leader(struct sim_world *world);

/* clients.c */
void clients_init(struct sim_world *world);
uint64_t clients_next_us(const struct sim_world *world);
void clients_step(struct sim_world *world);
/* The host is gone: its outstanding requests will not be answered. */
void clients_host_gone(const struct host *host);
/* Up to `count` idle clients send a request to `host` now. */
void clients_burst(struct host *host, int count, bool write);
/* No new requests. */
void clients_stop(struct sim_world *world);
bool clients_idle(struct sim_world *world);
void clients_check(const struct sim_world *world);
/* Answers that were replayed from an earlier attempt. */
uint64_t clients_repeated(const struct sim_world *world);
/* Named writes that lost their link to the leader and were not retried before
 * their deadline. */
uint64_t clients_abandoned(const struct sim_world *world);
/* Restores whose completion was acknowledged. */
uint64_t clients_restored(const struct sim_world *world);
/* How often the last step of a restore, which replaces all keys, has begun or
 * ended; and whether one may take effect now. */
uint64_t clients_commits(const struct sim_world *world);
bool clients_commit_is_open(const struct sim_world *world);
void clients_free(struct sim_world *world);
/* One write at `host`, at the end of a run. */
void clients_probe(struct host *host);
bool clients_probe_done(const struct sim_world *world);

/* watchers.c */
void watchers_init(struct sim_world *world);
void watchers_step(struct sim_world *world);
/* The host is gone, with its feed. */
void watchers_host_gone(const struct host *host);
/* At the end, when all hosts hold the same. */
void watchers_check(struct sim_world *world);
/* Events received, and watches resumed after the last one. */
uint64_t watchers_events(const struct sim_world *world);
uint64_t watchers_resumed(const struct sim_world *world);
void watchers_free(struct sim_world *world);

/* lockers.c */
void lockers_init(struct sim_world *world);
void lockers_step(struct sim_world *world);
/* The host is gone: its outstanding requests will not be answered. */
void lockers_host_gone(const struct host *host);
/* No new requests. */
void lockers_stop(struct sim_world *world);
bool lockers_idle(struct sim_world *world);
/* How often the lock changed hands, while that was checked. */
uint64_t lockers_held(const struct sim_world *world);
void lockers_free(struct sim_world *world);

/* chaos.c */
void chaos_run(struct sim_world *world, uint64_t seed, bool trace);
/* Its parts, for a script: form a cluster of `swarm` (NULL: drawn); let time
 * pass; heal and check. */
void chaos_begin(struct sim_world *world, uint64_t seed, bool trace,
                 const struct swarm *swarm);
void chaos_pass(struct sim_world *world, uint64_t us);
void chaos_end(struct sim_world *world);
/* Ask `at` to let `host` in, or to remove `victim` (which then gets a new disk
 * and joins again). */
void chaos_join(struct host *host, struct host *at);
void chaos_remove(struct host *victim, struct host *at);
/* Ask `at` to make `member` a voter, or a learner. */
void chaos_vote(struct host *member, struct host *at, bool voter);
/* Ask `at` to transfer the leadership. */
void chaos_transfer(struct host *at);
/* Ask `host` for a checkpoint. */
void chaos_checkpoint(struct host *host);
/* Ask `at` for a step of a restore: BEGIN, or ROWS with the first row. True
 * when it has been applied, now or before, and the restore still exists. */
bool chaos_restore(struct host *at, enum command_step step, uint64_t id);
/* Ask `at` to wait until `peer` has applied everything that `at` has, and check
 * that it has. */
void chaos_barrier(struct host *peer, struct host *at);
/* The operator has no outstanding request. */
bool chaos_idle(const struct sim_world *world);

/* hold.c: the links to a leader delay their traffic across an election. */
void hold_init(struct sim_world *world);
uint32_t hold_draw(struct sim_world *world); /* For swarm.hold. */
/* Called ten times a second while faults are on. */
void hold_step(struct sim_world *world);

/* timeouts.c: scripts, for a cluster without clients. */
void timeouts_play(struct sim_world *world);
void timeouts_false_stamp(struct sim_world *world);

/* scenes.c: scripted runs of faults that random runs once found, those with
 * `only` in their name, each on the seeds `first` to `last`. */
void scenes_run(const char *only, uint64_t first, uint64_t last, bool trace);

#endif
