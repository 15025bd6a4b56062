/* notify.c -- see notify.h. */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"

enum {
    RETRY_MS = 1000, /* Pause after a datagram that could not be sent. */
    SENTENCE_BYTES = RAFT_NAME_BYTES + 64,
};

enum state { STARTING, RUNNING, STOPPING };

/* The sentence of STATUS depends on these. */
struct role {
    bool known; /* False: none was reported yet. */
    bool member;
    bool removed;
    bool voter;
    bool leads;
    raft_id leader; /* 0: none is known. */
};

static struct {
    int fd; /* -1: there is no manager. */
    enum state state;
    bool state_pending;  /* It is still to be sent, ... */
    bool status_pending; /* ... and so is the sentence. */
    bool failed; /* The last datagram was not sent, and that is logged. */
    uint64_t retry_ms;
    uint64_t watchdog_ms; /* Interval; 0: the manager has no watchdog. */
    uint64_t watchdog_at_ms;
    struct role role;
    char sentence[SENTENCE_BYTES];
} notify = {.fd = -1};

/* ---- the connection ---- */

/* False: the text is neither a path nor an abstract name, or too long. */
static bool address_of(const char *text, struct sockaddr_un *address,
                       socklen_t *size)
{
    size_t length = strlen(text);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((text[0] != '/' && text[0] != '@') || length < 2 ||
        length >= sizeof(address->sun_path)) {
        return false;
    }
    memcpy(address->sun_path, text, length);
    if (text[0] == '@') {
        /* An abstract name ends with the address (unix(7)). */
        address->sun_path[0] = '\0';
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    } else {
        *size = (socklen_t)sizeof(*address);
    }
    return true;
}

/* Half of the time of the manager's watchdog, as sd_watchdog_enabled(3)
 * recommends; 0: it has none for this process. */
static uint64_t watchdog_interval_ms(void)
{
    const char *time_us = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");
    int64_t us;
    int64_t number;
    if (!time_us || !text_i64(bytes_of_string(time_us), &us) || us <= 0) {
        return 0;
    }
    if (pid && (!text_i64(bytes_of_string(pid), &number) ||
                number != (int64_t)getpid())) {
        return 0;
    }
    return max_u64((uint64_t)us / 2000, 1);
}

void notify_open(void)
{
    const char *text = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t size;
    if (!text || text[0] == '\0') {
        return;
    }
    if (!address_of(text, &address, &size)) {
        log_warn("notify",
                 "socket=\"%s\" why=\"NOTIFY_SOCKET must be a path of at most "
                 "%zu bytes that begins with / or @\"",
                 text, sizeof(address.sun_path) - 1);
        return;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        connect(fd, (const struct sockaddr *)&address, size) != 0) {
        log_warn("notify", "socket=\"%s\" why=\"%s\"", text, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return;
    }
    notify.fd = fd;
    notify.watchdog_ms = watchdog_interval_ms();
}

void notify_close(void)
{
    if (notify.fd >= 0) {
        (void)close(notify.fd);
        notify.fd = -1;
    }
}

int notify_descriptor(void)
{
    return notify.fd;
}

/* By write(), since the sandbox refuses any call that could name another
 * address than the manager's. False: it was not sent. */
static bool send_text(const char *text)
{
    ssize_t sent = write(notify.fd, text, strlen(text));
    if (sent < 0 && !notify.failed) {
        log_warn("notify", "why=\"the service manager does not read: %s\"",
                 strerror(errno));
    }
    notify.failed = sent < 0;
    return sent >= 0;
}

/* Sends everything that is pending, and WATCHDOG if `alive`. */
static bool send_pending(bool alive)
{
    char text[SENTENCE_BYTES + 64];
    const char *state = notify.state == STOPPING  ? "STOPPING=1\n"
                        : notify.state == RUNNING ? "READY=1\n"
                                                  : "";
    (void)snprintf(
        text, sizeof(text), "%s%s%s%s%s", notify.state_pending ? state : "",
        alive ? "WATCHDOG=1\n" : "", notify.status_pending ? "STATUS=" : "",
        notify.status_pending ? notify.sentence : "",
        notify.status_pending ? "\n" : "");
    if (!send_text(text)) {
        return false;
    }
    notify.state_pending = false;
    notify.status_pending = false;
    return true;
}

/* ---- states ---- */

static void enter(enum state state)
{
    notify.state = state;
    if (notify.fd >= 0) {
        notify.state_pending = true;
        (void)send_pending(false);
    }
}

void notify_ready(void)
{
    must(notify.state == STARTING);
    enter(RUNNING);
}

/* The manager compares the time with that of its own request: this must be
 * later (systemd.service(5), Type=notify-reload). */
void notify_reloading(void)
{
    char text[64];
    struct timespec now;
    if (notify.fd < 0 || notify.state != RUNNING ||
        clock_gettime(CLOCK_MONOTONIC, &now) != 0) {
        return;
    }
    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld\n",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    (void)send_text(text);
}

void notify_reloaded(void)
{
    if (notify.state == RUNNING) {
        enter(RUNNING);
    }
}

void notify_stopping(void)
{
    enter(STOPPING);
}

static struct role role_of(const struct node *node)
{
    const struct raft_member *leader = node_leader(node);
    return (struct role){.known = true,
                         .member = node_is_member(node),
                         .removed = node_removed_index(node) > 0,
                         .voter = node_is_voter(node),
                         .leads = node_is_leader(node),
                         .leader = leader ? leader->id : 0};
}

static bool is_same(const struct role *a, const struct role *b)
{
    return a->known == b->known && a->member == b->member &&
           a->removed == b->removed && a->voter == b->voter &&
           a->leads == b->leads && a->leader == b->leader;
}

/* Names are printable and have no line breaks (config.c, the API). */
static void describe(const struct node *node, const struct role *role)
{
    const struct raft_member *leader = node_leader(node);
    if (role->removed) {
        (void)snprintf(notify.sentence, SENTENCE_BYTES,
                       "%s was removed from its cluster", node_name(node));
    } else if (!role->member) {
        (void)snprintf(notify.sentence, SENTENCE_BYTES,
                       "not a member of a cluster yet");
    } else if (role->leads) {
        (void)snprintf(notify.sentence, SENTENCE_BYTES, "leader");
    } else if (leader) {
        (void)snprintf(notify.sentence, SENTENCE_BYTES, "%s; the leader is %s",
                       role->voter ? "follower" : "follower without a vote",
                       leader->name);
    } else {
        (void)snprintf(notify.sentence, SENTENCE_BYTES,
                       "no leader is known: no writes, and no linearizable "
                       "reads");
    }
}

uint64_t notify_run(const struct node *node, uint64_t now_ms)
{
    if (notify.fd < 0) {
        return UINT64_MAX;
    }
    struct role role = role_of(node);
    if (!is_same(&role, &notify.role)) {
        notify.role = role;
        notify.status_pending = true;
        describe(node, &role);
    }
    bool alive = notify.watchdog_ms > 0 && now_ms >= notify.watchdog_at_ms;
    bool pending = alive || notify.state_pending || notify.status_pending;
    if (pending && now_ms >= notify.retry_ms) {
        bool sent = send_pending(alive);
        notify.retry_ms = sent ? 0 : now_ms + RETRY_MS;
        notify.watchdog_at_ms =
            sent && alive ? now_ms + notify.watchdog_ms : notify.watchdog_at_ms;
    }
    return notify.retry_ms > 0      ? notify.retry_ms
           : notify.watchdog_ms > 0 ? notify.watchdog_at_ms
                                    : UINT64_MAX;
}
