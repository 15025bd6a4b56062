/* config.c -- parses and checks the command line and the environment. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/text.h"
#include "http/http.h"
#include "http/proxy.h"
#include "reactor/addr.h"
#include "reactor/reactor.h"

enum { REAP_ELECTIONS = 10 };

enum kind {
    TEXT,
    ADDRESS,
    LISTEN,
    FLAG,
    SIZE,
    LIMIT,
    COUNT,
    DURATION,
    LEVEL,
    IO,
    SANDBOX,
    ORIGINS,
    HOSTS,
    PROXIES,
};

struct flag {
    const char *names; /* Separated by blanks; the first one is ours. */
    enum kind kind;
    size_t at; /* Offset in struct config. */
};

#define AT(field) offsetof(struct config, field)

static const struct flag flags[] = {
    {"id i node-id", TEXT, AT(id)},
    {"http haddr h http-addr", LISTEN, AT(http)},
    {"raft raddr r raft-addr", ADDRESS, AT(raft)},
    {"http-adv http-adv-addr", ADDRESS, AT(http_adv)},
    {"raft-adv raft-adv-addr", ADDRESS, AT(raft_adv)},
    {"join j", TEXT, AT(join)},
    {"join-timeout", DURATION, AT(join_timeout_ms)},
    {"bootstrap-anyway", FLAG, AT(bootstrap_anyway)},
    {"auth", TEXT, AT(auth)},
    {"join-token-file", TEXT, AT(join_token_file)},
    {"cluster-key", TEXT, AT(cluster_key)},
    {"cluster-key-optional", FLAG, AT(cluster_key_optional)},
    {"dir d", TEXT, AT(dir)},
    {"inmem", FLAG, AT(inmem)},
    {"non-voter raft-non-voter", FLAG, AT(observer)},
    {"leave-on-exit raft-cluster-remove-shutdown", FLAG, AT(leave_on_exit)},
    {"reap raft-reap-node-timeout", DURATION, AT(reap_ms)},
    {"replace-after", DURATION, AT(replace_after_ms)},
    {"backup-dir", TEXT, AT(backup_dir)},
    {"backup-every", DURATION, AT(backup_every_ms)},
    {"backup-keep", COUNT, AT(backup_keep)},
    {"backup-exec", TEXT, AT(backup_exec)},
    {"max-value", SIZE, AT(max_value)},
    {"max-body", SIZE, AT(max_body)},
    {"max-conns", COUNT, AT(max_conns)},
    {"history", COUNT, AT(history)},
    {"max-db", LIMIT, AT(max_db)},
    {"cache", SIZE, AT(cache)},
    {"write-buffer", SIZE, AT(write_buffer)},
    {"heartbeat", DURATION, AT(heartbeat_ms)},
    {"election", DURATION, AT(election_ms)},
    {"allow-origin", ORIGINS, AT(allow_origins)},
    {"allow-host", HOSTS, AT(allow_hosts)},
    {"no-ui", FLAG, AT(no_ui)},
    {"trust-proxy", PROXIES, AT(trust_proxy)},
    {"io", IO, AT(io)},
    {"user", TEXT, AT(user)},
    {"sandbox", SANDBOX, AT(sandbox)},
    {"log-level", LEVEL, AT(log_level)},
    {"log-json", FLAG, AT(log_json)},
};

static const struct flag *find_flag(const char *name, size_t size)
{
    for (size_t i = 0; size > 0 && i < ARRAY_COUNT(flags); i++) {
        if (text_lists_word(flags[i].names, bytes_of(name, size))) {
            return &flags[i];
        }
    }
    return NULL;
}

static bool io_parse(const char *text, enum config_io *io)
{
    static const char *const names[] = {[CONFIG_IO_AUTO] = "auto",
                                        [CONFIG_IO_SYNC] = "sync",
                                        [CONFIG_IO_URING] = "uring",
                                        [CONFIG_IO_PROCESS] = "process"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *io = (enum config_io)i;
            return true;
        }
    }
    return false;
}

/* Checks a comma-separated list. ORIGINS: each item is an origin, "null" (the
 * origin of a page that has none) or "*". HOSTS: each item is a host name
 * without a port, or "*". */
static bool is_list_of(enum kind kind, const char *list)
{
    struct bytes rest = bytes_of_string(list);
    struct bytes one;
    struct http_authority authority;
    uint16_t port;
    bool good = false;
    while (http_list_next(&rest, &one)) {
        bool any = bytes_equal_string(one, "*");
        good = any || (kind == ORIGINS ? bytes_equal_string(one, "null") ||
                                             http_origin(one, &authority, &port)
                                       : http_authority(one, &authority) &&
                                             authority.host.size == one.size);
        if (!good) {
            return false;
        }
    }
    return good;
}

/* Checks a comma-separated list of addresses and networks of proxies. */
static bool is_list_of_proxies(const char *list)
{
    struct bytes rest = bytes_of_string(list);
    struct proxy_trust trust;
    size_t count = 0;
    while (count <= PROXY_TRUST_MAX && proxy_trust_next(&rest, &trust)) {
        count++;
    }
    return count > 0 && count <= PROXY_TRUST_MAX && rest.size == 0;
}

/* Parses "unix:PATH", with "?mode=0660" or without. */
static bool unix_parse(const char *item, struct config *config)
{
    static char path[REACTOR_UNIX_PATH_BYTES];
    static const char scheme[] = "unix:";
    static const char mode[] = "?mode=";
    if (strncmp(item, scheme, strlen(scheme)) != 0) {
        return false;
    }
    item += strlen(scheme);
    size_t size = strcspn(item, "?");
    const char *query = item + size;
    unsigned bits = 0600;
    if (size == 0 || size >= sizeof(path)) {
        return false;
    }
    if (*query) {
        const char *digits = query + strlen(mode);
        if (strncmp(query, mode, strlen(mode)) != 0 || strlen(digits) > 4 ||
            digits[0] == '\0' || strspn(digits, "01234567") != strlen(digits)) {
            return false;
        }
        bits = (unsigned)strtoul(digits, NULL, 8);
    }
    memcpy(path, item, size);
    path[size] = '\0';
    config->http_unix = path;
    config->http_unix_mode = bits;
    return bits <= 0777;
}

/* Parses a comma-separated list of at most one TCP address and one Unix
 * socket. */
static bool listen_parse(const char *list, struct config *config)
{
    static char tcp[REACTOR_ADDR_BYTES];
    char item[REACTOR_ADDR_BYTES];
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    config->http = NULL;
    config->http_unix = NULL;
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        size_t size = strcspn(at, ",");
        if (size >= sizeof(item)) {
            return false;
        }
        memcpy(item, at, size);
        item[size] = '\0';
        if (!config->http && addr_split(item, host, &port)) {
            memcpy(tcp, item, size + 1);
            config->http = tcp;
        } else if (config->http_unix || !unix_parse(item, config)) {
            return false;
        }
    }
    return true;
}

/* Parses `value` into the field of `flag`. False: *wanted says what is
 * wrong. */
static bool parse_value(const struct flag *flag, const char *value,
                        struct config *config, const char **wanted)
{
    void *field = (char *)config + flag->at;
    struct bytes text = bytes_of_string(value);
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    switch (flag->kind) {
    case TEXT:
        *wanted = "must not be empty";
        *(const char **)field = value;
        return value[0] != '\0';
    case ADDRESS:
        *wanted = "is not host:port";
        *(const char **)field = value;
        return addr_split(value, host, &port);
    case LISTEN:
        *wanted = "is not host:port, unix:PATH[?mode=0660], or both with a "
                  "comma";
        return listen_parse(value, config);
    case FLAG:
        *wanted = "is true or false";
        *(bool *)field = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
        return *(bool *)field || strcmp(value, "false") == 0 ||
               strcmp(value, "0") == 0;
    case SIZE:
    case LIMIT: /* 0 means no limit. */
    case COUNT:
        *wanted = flag->kind == COUNT ? "is not a number"
                                      : "is not a size such as 1M or 65536";
        return text_size_bytes(text, field) &&
               (*(uint64_t *)field > 0 || flag->kind == LIMIT);
    case DURATION:
        *wanted = "is not a duration such as 250ms or 5s";
        return text_duration_ms(text, field);
    case LEVEL:
        *wanted = "is not one of debug, info, warn, error, off";
        return log_level_parse(value, field);
    case ORIGINS:
        *wanted = "is not a list of origins such as https://ui.example.com";
        *(const char **)field = value;
        return is_list_of(ORIGINS, value);
    case HOSTS:
        *wanted = "is not a list of host names without a port such as "
                  "kv.example.com";
        *(const char **)field = value;
        return is_list_of(HOSTS, value);
    case PROXIES:
        *wanted = "is no list of at most 16 addresses such as 192.0.2.1 or "
                  "header:192.0.2.1";
        *(const char **)field = value;
        return is_list_of_proxies(value);
    case IO:
        *wanted = "is not one of auto, sync, uring";
        return io_parse(value, field);
    case SANDBOX:
        *wanted = "is none of auto, off";
        *(bool *)field = strcmp(value, "auto") == 0;
        return *(bool *)field || strcmp(value, "off") == 0;
    }
    return false;
}

static void explain_unknown(const char *word, const char *name, size_t size,
                            char *why, size_t why_size)
{
    struct text_nearest nearest = text_nearest_to(bytes_of(name, size));
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        const char *names = flags[i].names;
        text_nearest_offer(&nearest, bytes_of(names, strcspn(names, " ")));
    }
    if (nearest.best.size > 0) {
        snprintf(why, why_size, "unknown flag %s; did you mean --%.*s?", word,
                 (int)nearest.best.size, (const char *)nearest.best.data);
    } else {
        snprintf(why, why_size, "unknown flag %s; see craftd --help", word);
    }
}

static bool set_flag(const struct flag *flag, const char *name,
                     const char *value, struct config *config, char *why,
                     size_t why_size)
{
    const char *wanted = "";
    if (parse_value(flag, value, config, &wanted)) {
        return true;
    }
    snprintf(why, why_size, "%s: \"%s\" %s", name, value, wanted);
    return false;
}

static const char prefix[] = "CRAFTD_";

enum { PREFIX_SIZE = sizeof(prefix) - 1, VARIABLE_BYTES = 64 };

/* The variable of --max-conns is CRAFTD_MAX_CONNS. */
static void variable_of(const struct flag *flag, char name[VARIABLE_BYTES])
{
    size_t size = strcspn(flag->names, " ");
    must(PREFIX_SIZE + size < VARIABLE_BYTES);
    memcpy(name, prefix, PREFIX_SIZE);
    for (size_t i = 0; i < size; i++) {
        char c = flag->names[i];
        name[PREFIX_SIZE + i] = (char)(c == '-' ? '_' : c - 'a' + 'A');
    }
    name[PREFIX_SIZE + size] = '\0';
}

/* Variables of the client commands. The daemon ignores them, also where it has
 * a flag of that name. */
static bool is_for_commands(struct bytes name)
{
    return bytes_equal_string(name, "ADDR") ||
           bytes_equal_string(name, "USER") ||
           bytes_equal_string(name, "TOKEN_FILE");
}

/* An empty variable is unset, such as "CRAFTD_JOIN=" in an environment file. */
static bool read_environment(struct config *config, char *why, size_t why_size)
{
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        char name[VARIABLE_BYTES];
        variable_of(&flags[i], name);
        const char *value = getenv(name);
        if (value && value[0] != '\0' &&
            !is_for_commands(bytes_of_string(name + PREFIX_SIZE)) &&
            !set_flag(&flags[i], name, value, config, why, why_size)) {
            return false;
        }
    }
    return true;
}

bool config_knows_variable(const char *variable, char *why, size_t why_size)
{
    char names[ARRAY_COUNT(flags)][VARIABLE_BYTES];
    if (strncmp(variable, prefix, PREFIX_SIZE) != 0) {
        return true;
    }
    const char *name = variable + PREFIX_SIZE;
    struct bytes word = bytes_of(name, strcspn(name, "="));
    struct text_nearest nearest = text_nearest_to(word);
    if (is_for_commands(word)) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        variable_of(&flags[i], names[i]);
        struct bytes known = bytes_of_string(names[i] + PREFIX_SIZE);
        if (bytes_equal(word, known)) {
            return true;
        }
        text_nearest_offer(&nearest, known);
    }
    int used = snprintf(why, why_size, "%s%.*s is not a flag", prefix,
                        (int)min_size(word.size, VARIABLE_BYTES), name);
    must(used >= 0 && (size_t)used < why_size);
    why += used;
    why_size -= (size_t)used;
    if (nearest.best.size > 0) {
        snprintf(why, why_size, "; did you mean %s%.*s?", prefix,
                 (int)nearest.best.size, (const char *)nearest.best.data);
    } else {
        snprintf(why, why_size, "; see craftd --help");
    }
    return false;
}

/* Reads the flag argv[*at], which begins with '-'. When its value is the next
 * word, *at is advanced to that. */
static enum config_verdict read_flag(int argc, char **argv, int *at,
                                     struct config *config, char *why,
                                     size_t why_size)
{
    const char *word = argv[*at];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "=");
    bool last = *at + 1 == argc;
    if (strcmp(name, "help") == 0 ||
        (strcmp(word, "-h") == 0 && (last || argv[*at + 1][0] == '-'))) {
        return CONFIG_HELP; /* "-h ADDR" is brokerd's HTTP address. */
    }
    if (strcmp(name, "version") == 0 || strcmp(word, "-v") == 0 ||
        strcmp(word, "-V") == 0) {
        return CONFIG_VERSION;
    }
    const struct flag *flag = find_flag(name, size);
    const char *value = name[size] == '=' ? name + size + 1 : NULL;
    if (!flag) {
        explain_unknown(word, name, size, why, why_size);
        return CONFIG_WRONG;
    }
    if (!value && flag->kind == FLAG) {
        value = "true";
    } else if (!value && last) {
        snprintf(why, why_size, "%s needs a value", word);
        return CONFIG_WRONG;
    } else if (!value) {
        value = argv[++*at];
    }
    return set_flag(flag, word, value, config, why, why_size) ? CONFIG_RUN
                                                              : CONFIG_WRONG;
}

static bool is_unspecified(const char *addr)
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    return addr_split(addr, host, &port) && addr_is_any(host);
}

static bool has_port_0(const char *addr)
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port = 0;
    return addr && addr_split(addr, host, &port) && port == 0;
}

/* ":12001" is advertised as "localhost:12001". */
static const char *full_address(const char *addr, char out[REACTOR_ADDR_BYTES])
{
    return addr_full(addr, out) ? out : addr;
}

/* The address to advertise for --http. "0.0.0.0:11000" is advertised with the
 * host of the Raft address. */
static const char *http_address(const struct config *config,
                                char out[REACTOR_ADDR_BYTES])
{
    char any[REACTOR_HOST_BYTES];
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    uint16_t raft_port;
    if (!config->http) {
        return ""; /* A Unix socket is no address for other machines. */
    }
    if (!is_unspecified(config->http) ||
        !addr_split(config->http, any, &port) ||
        !addr_split(config->raft_adv, host, &raft_port)) {
        return full_address(config->http, out);
    }
    addr_join(host, port, out);
    return out;
}

/* Checks the addresses of --join, and strips the scheme of those that are URLs.
 * False: `why` names the address that is malformed. */
static bool read_join(struct config *config, char *why, size_t why_size)
{
    static const char scheme[] = "http://";
    static char join[CONFIG_JOIN_BYTES];
    size_t used = 0;
    char item[REACTOR_HOST_BYTES + 16];
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    for (const char *at = config->join; at; at = strchr(at, ',')) {
        at += *at == ',';
        size_t size = strcspn(at, ",");
        const char *from = at;
        if (strncasecmp(at, scheme, strlen(scheme)) == 0) {
            from += strlen(scheme);
            size -= strlen(scheme);
            size -= size > 0 && from[size - 1] == '/';
        }
        snprintf(item, sizeof(item), "%.*s", (int)size, from);
        if (!addr_split(item, host, &port)) {
            snprintf(why, why_size, "--join: \"%.*s\" is not host:port%s",
                     (int)strcspn(at, ","), at,
                     strncasecmp(at, "https:", 6) == 0
                         ? " (there is no TLS: the members speak plain HTTP)"
                         : "");
            return false;
        }
        if (used + strlen(item) + 2 > sizeof(join)) {
            snprintf(why, why_size, "--join must be at most %d bytes",
                     CONFIG_JOIN_BYTES - 1);
            return false;
        }
        used += (size_t)snprintf(join + used, sizeof(join) - used, "%s%s",
                                 used > 0 ? "," : "", item);
    }
    config->join = config->join ? join : NULL;
    return true;
}

/* Checks the values against one another, and fills in the advertised addresses.
 * False: `why` says which value is wrong. */
static bool check_config(struct config *config, char *why, size_t why_size)
{
    static char http_adv[REACTOR_ADDR_BYTES];
    static char raft_adv[REACTOR_ADDR_BYTES];
    if (!read_join(config, why, why_size)) {
        return false;
    }
    const char *wrong = NULL;
    if (!config->dir && !config->inmem) {
        wrong = "a data directory is needed: craftd [flags] DIR (or --inmem); "
                "craftd help lists the commands, craftd --help the flags";
    } else if (config->cluster_key_optional && !config->cluster_key) {
        wrong = "--cluster-key-optional is for nodes that have a --cluster-key";
    } else if (config->dir && config->dir[0] == '\0') {
        wrong = "the data directory must not be an empty string";
    } else if (!config->raft_adv && is_unspecified(config->raft)) {
        wrong = "--raft listens on all addresses: set --raft-adv to the one "
                "that other nodes connect to";
    } else if ((config->raft_adv && is_unspecified(config->raft_adv)) ||
               (config->http_adv && is_unspecified(config->http_adv))) {
        wrong = "--raft-adv and --http-adv are for others to connect to: they "
                "cannot stand for all addresses";
    } else if (config->heartbeat_ms < 10 ||
               config->election_ms < 3 * config->heartbeat_ms) {
        wrong = "--heartbeat must be at least 10ms, --election at least three "
                "times --heartbeat";
    } else if (config->heartbeat_ms > 60000 || config->election_ms > 600000) {
        wrong = "--heartbeat must be at most 1m, --election at most 10m";
    } else if (config->reap_ms > 0 &&
               config->reap_ms < REAP_ELECTIONS * config->election_ms) {
        wrong = "--reap must be at least ten times --election";
    } else if (config->backup_every_ms < 1000) {
        wrong = "--backup-every must be at least 1s";
    } else if (config->backup_exec && !config->backup_dir) {
        wrong = "--backup-exec needs --backup-dir";
    } else if (config->max_conns > 100000) {
        wrong = "--max-conns must be at most 100000";
    } else if (config->cache > 0 &&
               (config->cache < (256 << 10) || config->cache > (1 << 30))) {
        wrong = "--cache must be 256k to 1G";
    } else if (config->write_buffer > 0 &&
               (config->write_buffer < (64 << 10) ||
                config->write_buffer > (64 << 20))) {
        wrong = "--write-buffer must be 64k to 64M";
    } else if (config->history > 10000000) {
        wrong = "--history must be at most 10000000";
    } else if (config->max_body > (16 << 20) ||
               config->max_value > config->max_body) {
        wrong = "--max-body must be at most 16M, --max-value at most "
                "--max-body";
    } else if (config->id &&
               (strlen(config->id) > 63 || strpbrk(config->id, " \"") ||
                !text_is_printable(bytes_of_string(config->id)))) {
        wrong =
            "--id must be 1 to 63 bytes of UTF-8 without blanks, quotes and "
            "control characters";
    }
    if (!wrong && config->raft_adv && has_port_0(config->raft_adv)) {
        wrong = "--raft-adv: nobody can connect to port 0";
    } else if (!wrong && config->http_adv && has_port_0(config->http_adv)) {
        wrong = "--http-adv: nobody can connect to port 0";
    } else if (!wrong && !config->raft_adv && has_port_0(config->raft)) {
        wrong = "--raft with port 0 takes any free port: set --raft-adv to the "
                "address that other nodes connect to";
    } else if (!wrong && !config->http_adv && has_port_0(config->http)) {
        wrong = "--http with port 0 takes any free port: set --http-adv to the "
                "address that clients connect to";
    }
    if (wrong) {
        snprintf(why, why_size, "%s", wrong);
        return false;
    }
    config->raft_adv = full_address(
        config->raft_adv ? config->raft_adv : config->raft, raft_adv);
    config->http_adv = config->http_adv
                           ? full_address(config->http_adv, http_adv)
                           : http_address(config, http_adv);
    return true;
}

enum config_verdict config_parse(int argc, char **argv, struct config *config,
                                 char *why, size_t why_size)
{
    *config = (struct config){
        .http = "localhost:11000",
        .raft = "localhost:12000",
        .max_value = 1 << 20,
        .max_body = 4 << 20,
        .max_conns = 1024,
        .history = 10000,
        .max_db = 1 << 30,
        .heartbeat_ms = 100,
        .election_ms = 1000,
        .replace_after_ms = 30 * 1000,
        .backup_every_ms = 3600 * 1000,
        .backup_keep = 24,
        .log_level = LOG_INFO,
        .sandbox = true,
    };
    if (!read_environment(config, why, why_size)) {
        return CONFIG_WRONG;
    }
    bool words_only = false;
    int word_at = 0; /* Place of the last word that is not a flag. */
    for (int at = 1; at < argc; at++) {
        if (words_only || argv[at][0] != '-' || argv[at][1] == '\0') {
            /* A command line of hraftd's README has a directory before its
             * flags and another one after them, and means the last one. Two
             * words side by side are a mistake. */
            if (at > 1 && at - 1 == word_at) {
                snprintf(why, why_size, "two directories: %s and %s",
                         argv[at - 1], argv[at]);
                return CONFIG_WRONG;
            }
            word_at = at;
            config->dir = argv[at];
        } else if (strcmp(argv[at], "--") == 0) {
            words_only = true;
        } else {
            enum config_verdict verdict =
                read_flag(argc, argv, &at, config, why, why_size);
            if (verdict != CONFIG_RUN) {
                return verdict;
            }
        }
    }
    return check_config(config, why, why_size) ? CONFIG_RUN : CONFIG_WRONG;
}
