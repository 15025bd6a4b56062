/* fuzz_client.c -- the first byte chooses a command, the second where the first
 * of two answers ends; the rest is what a server sends, connection by
 * connection, before it closes. Property: every command ends with an exit code
 * of its own, whatever it is told: status lines, headers, JSON, pages that go
 * on for ever, redirects. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_dial(const char *addr, uint64_t timeout_ms, char *why,
                size_t why_size);

enum { ANSWERS = 2, WORDS = 6 };

static struct bytes answers[ANSWERS];
static int answered;

/* In place of connect.c's: the next answer is there already. */
int __wrap_dial(const char *addr, uint64_t timeout_ms, char *why,
                size_t why_size)
{
    int ends[2];
    (void)addr;
    (void)timeout_ms;
    if (answered == ANSWERS || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
        (void)snprintf(why, why_size, "no more connections");
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        must(fcntl(ends[i], F_SETFL, O_NONBLOCK) == 0);
    }
    struct bytes answer = answers[answered++];
    /* The rest that does not fit is lost, as when a server dies. */
    ssize_t sent = send(ends[1], answer.data, answer.size, MSG_NOSIGNAL);
    (void)sent;
    (void)shutdown(ends[1], SHUT_WR);
    (void)close(ends[1]);
    return ends[0];
}

/* Run a command with /dev/null as input and output, but not the fuzzer itself.
 */
static int run_quietly(int argc, char **argv)
{
    static int null = -1;
    static FILE *sink;
    if (null < 0) {
        null = open("/dev/null", O_RDWR);
        sink = fopen("/dev/null", "w");
        must(null >= 0 && sink);
        must(dup2(null, STDIN_FILENO) == STDIN_FILENO);
    }
    (void)fflush(stdout);
    FILE *messages = stderr;
    int out = dup(STDOUT_FILENO);
    must(out >= 0 && dup2(null, STDOUT_FILENO) == STDOUT_FILENO);
    stderr = sink;
    int code = client_main(argc, argv, "0.0.0");
    stderr = messages;
    must(dup2(out, STDOUT_FILENO) == STDOUT_FILENO);
    (void)close(out);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char lines[][WORDS][16] = {
        {"get", "k"},
        {"get", "--meta", "k"},
        {"put", "k", "v"},
        {"put", "--print-index", "--create", "k", "v"},
        {"del", "k"},
        {"ls"},
        {"ls", "--keys", "p"},
        {"ls", "--limit", "3"},
        {"txn", "-"},
        {"status"},
        {"status", "--json"},
        {"nodes"},
        {"nodes", "--json"},
        {"leader"},
        {"leader", "n2"},
        {"backup", "-"},
        {"del", "--if-index", "7", "k"},
        {"ls", "--json"},
        {"del", "--prefix", "--yes", "k"},
        {"nodes", "promote", "n2"},
        {"sync", "--all"},
        {"snapshot"},
        {"export", "-"},
        {"status", "--all"},
        {"status", "--all", "--json"},
        {"check"},
    };
    static char program[] = "craftd";
    static char flag[] = "--timeout=20ms";
    char *argv[WORDS + 2] = {program};
    int argc = 1;
    if (size < 2) {
        return 0;
    }
    char(*line)[16] = lines[data[0] % ARRAY_COUNT(lines)];
    size_t first = (size_t)data[1] * (size - 2) / 255;
    answers[0] = bytes_of(data + 2, first);
    answers[1] = bytes_of(data + 2 + first, size - 2 - first);
    answered = 0;
    for (int i = 0; i < WORDS && line[i][0] != '\0'; i++) {
        argv[argc++] = line[i];
        if (i == 0) {
            argv[argc++] = flag;
        }
    }
    int code = run_quietly(argc, argv);
    bool is_check = strcmp(line[0], "check") == 0;
    must(code == EXIT_DONE || (is_check && code <= CHECK_UNKNOWN) ||
         code == EXIT_FAILED || code == EXIT_NO || code == EXIT_AWAY ||
         code == EXIT_UNKNOWN);
    return 0;
}
