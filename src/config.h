/* config.h -- argv and environment -> checked, constant configuration.
 *
 * One or two dashes, '=' or a blank, the ancestors' spellings; a flag wins
 * over its variable CRAFTD_<NAME>, and an empty variable is unset. Nothing here
 * touches files or sockets. */
#ifndef CRAFTD_CONFIG_H
#define CRAFTD_CONFIG_H

#include "base/base.h"
#include "base/log.h"

#define CRAFTD_VERSION "0.1.0"

/* How the log is written. */
enum config_io {
    CONFIG_IO_AUTO, /* By io_uring where there is one. */
    CONFIG_IO_SYNC,
    CONFIG_IO_URING,
};

/* Size of the list --join, with its final 0. */
enum { CONFIG_JOIN_BYTES = 1024 };

struct config {
    const char *id;   /* NULL: as stored, else the raft address. */
    const char *http; /* Listen addresses, host:port. */
    const char *raft;
    const char *http_adv; /* Advertised address; never NULL. */
    const char *raft_adv;
    const char *join; /* host:port, ...; NULL: none. */
    bool bootstrap_anyway;
    const char *dir; /* NULL with inmem only. */
    bool inmem;
    bool observer;
    uint64_t max_value;
    uint64_t max_body;
    uint64_t max_conns;
    uint64_t max_db; /* 0: no limit. */
    uint64_t heartbeat_ms;
    uint64_t election_ms; /* Least; the most is twice that. */
    uint64_t join_timeout_ms;
    uint64_t reap_ms; /* 0: never. */
    uint64_t replace_after_ms;
    bool leave_on_exit;
    const char *backup_dir; /* NULL: none are made. */
    uint64_t backup_every_ms;
    uint64_t backup_keep;
    /* Lists with commas, well-formed; NULL: none. See api.h. */
    const char *allow_origins;
    const char *allow_hosts;
    enum config_io io;
    enum log_level log_level;
    bool log_json;
};

enum config_verdict { CONFIG_RUN, CONFIG_HELP, CONFIG_VERSION, CONFIG_WRONG };

/* Strings point into argv, the environment, or static memory. `why` gets a
 * sentence with CONFIG_WRONG. */
enum config_verdict config_parse(int argc, char **argv, struct config *config,
                                 char *why, size_t why_size);
/* True when "NAME=value" of the environment is a variable of this program, or
 * none that begins with CRAFTD_. Otherwise `why` gets a sentence, with the
 * nearest name: a mistyped one, or those that Kubernetes sets for a service
 * "craftd". */
bool config_knows_variable(const char *variable, char *why, size_t why_size);
extern const char config_help[];

#endif
