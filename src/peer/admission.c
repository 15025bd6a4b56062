/* admission.c -- bounds for unauthenticated peers: connections, links, memory
 * and log lines.
 *
 * Anybody can connect. A guest is a connection without a HELLO; a stranger is
 * a link to a node that is not in our membership, which may be a leader or a
 * candidate whose entry has not reached us yet. Both have a bounded number of
 * slots. A new one replaces the oldest of its kind: a correct node sends HELLO
 * at once, and redials when it was closed, so the oldest is the least likely
 * to be one. Guests from addresses of members have slots of their own, so that
 * a crowd from elsewhere cannot keep a member out. */
#include <stdio.h>

#include "peer/peer_internal.h"

static uint64_t now(const struct peers *peers)
{
    return reactor_now_ms(peers->reactor);
}

/* ---- guests ------------------------------------------------------------- */

void peer_ip_of(const char *text, char ip[REACTOR_ADDR_TEXT_BYTES])
{
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : strlen(text);
    snprintf(ip, REACTOR_ADDR_TEXT_BYTES, "%.*s",
             (int)min_size(size, REACTOR_ADDR_TEXT_BYTES - 1), text);
}

static bool is_at(const char *addr, const char *ip)
{
    char own[REACTOR_ADDR_TEXT_BYTES];
    peer_ip_of(addr, own);
    return strcmp(own, ip) == 0;
}

/* A member entry may hold a DNS name; the address of its last connection counts
 * then. */
static bool is_members_ip(const struct peers *peers, const char *ip)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        const struct link *link = &peers->links[i];
        if (link->id != 0 && link->member &&
            (strcmp(link->ip, ip) == 0 || is_at(link->info.addr, ip) ||
             is_at(link->advertised, ip))) {
            return true;
        }
    }
    return false;
}

struct crowd {
    int count;
    struct conn *oldest;
};

/* The guests of one kind; with `ip`, only those from that address. */
static struct crowd crowd_of(const struct peers *peers, bool known,
                             const char *ip)
{
    struct crowd crowd = {0};
    for (int i = 0; i < GUESTS_MAX; i++) {
        struct conn *guest = peers->guests[i];
        if (!guest || guest->known != known ||
            (ip && !is_at(stream_peer_text(guest->stream), ip))) {
            continue;
        }
        crowd.count++;
        if (!crowd.oldest || guest->opened_ms < crowd.oldest->opened_ms) {
            crowd.oldest = guest;
        }
    }
    return crowd;
}

static void close_guest(struct conn *guest, const char *why)
{
    if (!guest->refused) {
        peer_log_refused(guest, NULL, why);
    }
    peer_conn_close(guest, why);
}

static bool close_oldest(struct crowd crowd, int max)
{
    if (crowd.count < max) {
        return false;
    }
    close_guest(crowd.oldest, "no HELLO, and others are waiting");
    return true;
}

void peer_guest_admit(struct peers *peers, struct conn *guest)
{
    char ip[REACTOR_ADDR_TEXT_BYTES];
    peer_ip_of(stream_peer_text(guest->stream), ip);
    guest->known = is_members_ip(peers, ip);
    if (guest->known) {
        (void)close_oldest(crowd_of(peers, true, NULL), GUESTS_KNOWN_MAX);
    } else if (!close_oldest(crowd_of(peers, false, ip), GUESTS_ADDRESS_MAX)) {
        (void)close_oldest(crowd_of(peers, false, NULL), GUESTS_STRANGE_MAX);
    }
    for (int i = 0; i < GUESTS_MAX; i++) {
        if (!peers->guests[i]) {
            peers->guests[i] = guest;
            return;
        }
    }
    must(false); /* A place has been made. */
}

void peer_guest_forget(struct conn *guest)
{
    for (int i = 0; i < GUESTS_MAX; i++) {
        if (guest->peers->guests[i] == guest) {
            guest->peers->guests[i] = NULL;
        }
    }
}

void peer_guests_tick(struct peers *peers)
{
    bool crowded = crowd_of(peers, false, NULL).count > GUESTS_CALM;
    for (int i = 0; i < GUESTS_MAX; i++) {
        struct conn *guest = peers->guests[i];
        if (!guest) {
            continue;
        }
        /* One that waits for our answer is not late. */
        bool hurried =
            crowded && !guest->known && guest->security != SECURITY_BUDGET;
        uint64_t limit = hurried ? HANDSHAKE_CROWDED_MS : HANDSHAKE_MS;
        if (now(peers) > guest->opened_ms + limit) {
            close_guest(guest, "no HELLO");
        }
    }
}

/* ---- strangers ---------------------------------------------------------- */

bool peer_stranger_leaves(struct peers *peers, int at_least)
{
    struct conn *oldest = NULL;
    int count = 0;
    for (int i = 0; i < LINKS_MAX; i++) {
        const struct link *link = &peers->links[i];
        if (link->id == 0 || link->member || !link->conn) {
            continue;
        }
        count++;
        if (!oldest || link->conn->opened_ms < oldest->opened_ms) {
            oldest = link->conn;
        }
    }
    if (!oldest || count < at_least) {
        return false;
    }
    peer_conn_close(oldest, "no member, and others are waiting");
    return true;
}

/* ---- memory ------------------------------------------------------------- */

static bool is_strange(const struct conn *conn)
{
    return !conn->link || !conn->link->member;
}

/* The link whose unfinished frame began first: a correct sender finishes its
 * frame, and its next one begins later. */
static struct conn *longest_unfinished(const struct peers *peers,
                                       bool strangers)
{
    struct conn *longest = NULL;
    for (int i = 0; i < LINKS_MAX; i++) {
        const struct link *link = &peers->links[i];
        struct conn *conn = link->id != 0 ? link->conn : NULL;
        if (conn && conn->unfinished_bytes > 0 &&
            (!strangers || is_strange(conn)) &&
            (!longest || conn->unfinished_ms < longest->unfinished_ms)) {
            longest = conn;
        }
    }
    return longest;
}

static void sum_unfinished(const struct peers *peers, size_t *all,
                           size_t *strange)
{
    *all = 0;
    *strange = 0;
    for (int i = 0; i < LINKS_MAX; i++) {
        const struct link *link = &peers->links[i];
        if (link->id != 0 && link->conn) {
            *all += link->conn->unfinished_bytes;
            *strange +=
                is_strange(link->conn) ? link->conn->unfinished_bytes : 0;
        }
    }
}

bool peer_unfinished_set(struct conn *conn, size_t bytes, bool is_new)
{
    struct peers *peers = conn->peers;
    if (bytes > 0 && (is_new || conn->unfinished_bytes == 0)) {
        conn->unfinished_ms = now(peers);
    }
    conn->unfinished_bytes = bytes;
    bool stays = true;
    while (stays && bytes > HANDSHAKE_BYTES_MAX) {
        size_t all;
        size_t strange;
        sum_unfinished(peers, &all, &strange);
        bool too_strange = strange > UNFINISHED_STRANGE_BYTES_MAX;
        if (!too_strange && all <= UNFINISHED_BYTES_MAX) {
            break;
        }
        struct conn *longest =
            longest_unfinished(peers, too_strange || strange > 0);
        stays = longest != conn;
        peer_conn_close(longest, "too many unfinished frames");
    }
    return stays;
}

/* ---- lines of the log --------------------------------------------------- */

void peer_log_refused(struct conn *conn, const struct wire_hello *hello,
                      const char *why)
{
    struct peers *peers = conn->peers;
    uint64_t count;
    if (!log_limit(&peers->refused_log, now(peers), LOG_STRANGER_MS, &count)) {
        return;
    }
    if (!hello) {
        log_warn("peer-refused", "at=%s why=\"%s\" count=%llu",
                 stream_peer_text(conn->stream), why,
                 (unsigned long long)count);
    } else {
        log_warn("peer-refused", "from=%s at=%s to=%s why=\"%s\" count=%llu",
                 hello->from_name, stream_peer_text(conn->stream),
                 hello->to_name, why, (unsigned long long)count);
    }
}

void peer_log_garbage(struct conn *conn, const char *why)
{
    struct peers *peers = conn->peers;
    uint64_t count;
    if (log_limit(&peers->garbage_log, now(peers), LOG_STRANGER_MS, &count)) {
        log_warn("peer-garbage", "at=%s why=\"%s\" count=%llu",
                 stream_peer_text(conn->stream), why,
                 (unsigned long long)count);
    }
}

void peer_log_stranger(struct conn *conn, const char *event, const char *why)
{
    struct peers *peers = conn->peers;
    uint64_t count;
    if (log_limit(&peers->stranger_log, now(peers), LOG_STRANGER_MS, &count)) {
        log_info(event, "peer=? number=%llu at=%s why=\"%s\" count=%llu",
                 (unsigned long long)conn->link->id,
                 stream_peer_text(conn->stream), why,
                 (unsigned long long)count);
    }
}

void peer_strangers_log_rest(struct peers *peers)
{
    struct {
        const char *event;
        struct log_limit *limit;
    } kinds[] = {{"peer-refused", &peers->refused_log},
                 {"peer-garbage", &peers->garbage_log},
                 {"peer-strangers", &peers->stranger_log}};
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        uint64_t count = kinds[i].limit->count;
        if (log_limit_due(kinds[i].limit, now(peers))) {
            *kinds[i].limit =
                (struct log_limit){.next_ms = now(peers) + LOG_STRANGER_MS};
            log_warn(kinds[i].event, "why=\"more of them\" count=%llu",
                     (unsigned long long)count);
        }
    }
}
