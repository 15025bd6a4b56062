/* fuzz_config.c -- the input is a command line and an environment: words end
 * with a line feed; those that begin with '$' are variables. Property: a
 * refusal has a sentence, and a configuration that is accepted keeps what
 * config.h promises, with addresses that others can reach. */
#include "base/text.h"
#include "config.h"
#include "reactor/addr.h"
#include "reactor/reactor.h"

enum { WORDS_MAX = 16 };

extern char **environ;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_advertised(const char *addr)
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port = 0;
    must(addr && addr_split(addr, host, &port));
    must(port != 0 && !addr_is_any(host));
}

static void check(const struct config *config)
{
    char host[REACTOR_HOST_BYTES];
    uint16_t port;
    must(addr_split(config->http, host, &port));
    must(addr_split(config->raft, host, &port));
    check_advertised(config->http_adv);
    check_advertised(config->raft_adv);
    must(config->inmem || config->dir);
    must(!config->dir || config->dir[0] != '\0');
    must(!config->join || config->join[0] != '\0');
    if (config->id) {
        struct bytes id = bytes_of_string(config->id);
        must(id.size >= 1 && id.size <= 63 && text_is_printable(id));
    }
    must(config->max_value >= 1 && config->max_value <= config->max_body);
    must(config->max_body <= 16 << 20);
    must(config->max_conns >= 1 && config->max_conns <= 100000);
    must(config->heartbeat_ms >= 10 && config->heartbeat_ms <= 60000);
    must(config->election_ms >= 3 * config->heartbeat_ms);
    must(config->election_ms <= 600000);
    must(config->backup_every_ms >= 1000 && config->backup_keep >= 1);
    must(config->log_level <= LOG_OFF && config->io <= CONFIG_IO_PROCESS);
}

static void run(char **argv, int argc)
{
    struct config config;
    char why[256] = "";
    enum config_verdict verdict =
        config_parse(argc, argv, &config, why, sizeof(why));
    if (verdict == CONFIG_RUN) {
        check(&config);
    }
    must((verdict == CONFIG_WRONG) == (why[0] != '\0'));
    must(memchr(why, '\0', sizeof(why)));
    for (char **at = environ; *at; at++) {
        char hint[256] = "";
        bool known = config_knows_variable(*at, hint, sizeof(hint));
        must(known == (hint[0] == '\0'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char program[] = "craftd";
    char *argv[WORDS_MAX + 2] = {program};
    char *variables[WORDS_MAX + 1] = {NULL};
    int argc = 1;
    int variable_count = 0;
    char *text = mem_alloc(size + 1);
    char **before = environ;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = text; at < text + size;) {
        char *end = at + strcspn(at, "\n");
        bool last = end >= text + size;
        *end = '\0';
        if (at[0] == '$' && variable_count < WORDS_MAX) {
            variables[variable_count++] = at + 1;
        } else if (at[0] != '$' && argc <= WORDS_MAX) {
            argv[argc++] = at;
        }
        at = last ? text + size : end + 1;
    }
    environ = variables;
    run(argv, argc);
    environ = before;
    mem_free(text);
    return 0;
}
