/* config.h -- argv and environment -> checked, constant configuration.
 *
 * A flag has one dash or two, and '=' or a blank before its value; the flags of
 * hraftd and brokerd are accepted too. A flag takes precedence over its
 * variable CRAFTD_<NAME>, and an empty variable is unset. Nothing here touches
 * files or sockets. */
#ifndef CRAFTD_CONFIG_H
#define CRAFTD_CONFIG_H

#include "base/base.h"
#include "base/log.h"

#define CRAFTD_VERSION "0.1.0"

/* How the log is written and checkpoints are synced. */
enum config_io {
    CONFIG_IO_AUTO,    /* The first of URING, PROCESS and SYNC that works. */
    CONFIG_IO_SYNC,    /* By system calls that block the event loop. */
    CONFIG_IO_URING,   /* Asynchronously, by io_uring. */
    CONFIG_IO_PROCESS, /* Asynchronously, by other processes. */
};

/* Upper bound on the bytes of --join, with the terminating 0. */
enum { CONFIG_JOIN_BYTES = 1024 };

struct config {
    const char *id;   /* NULL: the stored name, else raft_adv. */
    const char *http; /* Listen address, host:port; NULL: a Unix socket only. */
    const char *http_unix; /* Path of a Unix socket; NULL: none. */
    unsigned http_unix_mode;
    const char *raft; /* Listen address, host:port. */
    /* Advertised addresses; never NULL. The first is "" when there is none. */
    const char *http_adv;
    const char *raft_adv;
    const char *join; /* HTTP addresses, host:port[,host:port]; or NULL. */
    bool bootstrap_anyway;
    const char *auth;            /* File of users; NULL: no permissions. */
    const char *join_token_file; /* NULL: none. */
    const char *cluster_key;     /* File; NULL: links are not sealed. */
    bool cluster_key_optional;   /* With cluster_key only. */
    const char *dir;             /* NULL with inmem only. */
    bool inmem;
    bool observer;      /* --non-voter. */
    uint64_t max_value; /* Bytes, as the next one. */
    uint64_t max_body;
    uint64_t max_conns;
    uint64_t history;      /* Changes kept for watches; over 0. */
    uint64_t cache;        /* Bytes of SQLite's page cache; 0: by the memory. */
    uint64_t write_buffer; /* Bytes of applied entries that wait for a flush; 0:
                              by the memory. */
    uint64_t max_db;       /* Bytes; 0: no limit. */
    uint64_t heartbeat_ms;
    uint64_t election_ms;     /* Minimum; the maximum is twice that. */
    uint64_t join_timeout_ms; /* 0: none. */
    uint64_t reap_ms;         /* 0: never. */
    uint64_t replace_after_ms;
    bool leave_on_exit;
    const char *backup_dir;  /* NULL: no scheduled backups. */
    const char *backup_exec; /* Command for each of them; NULL: none. */
    uint64_t backup_every_ms;
    uint64_t backup_keep;
    /* Well-formed comma-separated lists; NULL: empty. See api.h. */
    const char *allow_origins;
    const char *allow_hosts;
    bool no_ui;
    const char *trust_proxy; /* See http/proxy.h; NULL: none. */
    enum config_io io;
    const char *user; /* NAME[:GROUP]; NULL: as it was started. */
    bool sandbox;     /* Where the system has one. */
    enum log_level log_level;
    bool log_json;
};

enum config_verdict { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION, CONFIG_WRONG };

/* Parse the environment and argv[1..argc-1] into `config`, whose strings point
 * into argv, the environment, or static memory that the next call overwrites.
 * CONFIG_RUN: `config` is complete and checked. CONFIG_HELP, CONFIG_VERSION: a
 * flag asks for that; `config` is undefined, as it is with CONFIG_WRONG, which
 * leaves a sentence in `why`, cut to `why_size` bytes. */
enum config_verdict config_parse(int argc, char **argv, struct config *config,
                                 char *why, size_t why_size);
/* True when "NAME=value", of the environment, is a variable of this program, or
 * does not begin with CRAFTD_. False: the name is mistyped, or Kubernetes set
 * it for a service "craftd"; `why` (96 bytes or more) gets a sentence with the
 * nearest name that is known. */
bool config_knows_variable(const char *variable, char *why, size_t why_size);

#endif
