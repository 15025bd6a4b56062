/* watchers.c -- clients that watch changes at random hosts, and resume at
 * others.
 *
 * An event names the index of the key's change before it. So a watcher that
 * knows a key checks each of its events against what it knows: one that was
 * missed, doubled, or came out of order breaks the chain. A watcher that is
 * lost knows nothing any more. At the end, when all hosts hold the same, what
 * it knows must be what they hold.
 *
 * It resumes after the last entry of which it has received everything; what it
 * has received of the next one comes again. */
#include <stdio.h>

#include "node/feed.h"
#include "sim.h"

enum { WATCHERS = 4, UNKNOWN = 0 };

/* What is known of a key: index + 1 of its last change, 1 if it is gone. */
struct known {
    uint64_t key[KEYS_MAX];
};

struct watcher {
    struct sim_world *world;
    struct host *host; /* NULL: it is connected to none. */
    struct feed_watch feed;
    char name[16];
    struct known now;
    struct known complete; /* As of `since`. */
    uint64_t since;        /* It has received everything up to this. */
    uint64_t pending;      /* Entry whose end it has not seen; 0: none. */
    uint64_t next_us;      /* Time of its next step. */
};

struct watchers {
    struct rng rng;
    struct watcher all[WATCHERS];
    uint64_t events;
    uint64_t lost;
    uint64_t resumed;
};

static struct feed *feed_of(const struct watcher *watcher)
{
    return node_feed(watcher->host->node);
}

static void complete(struct watcher *watcher)
{
    if (watcher->pending > 0) {
        watcher->since = watcher->pending;
        watcher->complete = watcher->now;
        watcher->pending = 0;
    }
}

static void receive(struct watcher *watcher, const struct feed_event *event)
{
    struct sim_world *world = watcher->world;
    uint64_t key =
        event->key.size == 5 ? (uint64_t)event->key.data[4] - '0' : KEYS_MAX;
    if (key >= KEYS_MAX || memcmp(event->key.data, "key-", 4) != 0) {
        return;
    }
    if (watcher->pending != event->index) {
        complete(watcher);
    }
    if (event->index <= watcher->since) {
        sim_fail(world, EXIT_CORRECTNESS,
                 "a watcher at %s receives entry %llu, and had all up to %llu",
                 watcher->host->name, (unsigned long long)event->index,
                 (unsigned long long)watcher->since);
    }
    uint64_t *known = &watcher->now.key[key];
    if (*known != UNKNOWN && event->prev_index + 1 != *known) {
        sim_fail(world, EXIT_CORRECTNESS,
                 "a watcher at %s: key-%llu changes from %llu to %llu, and was "
                 "at %llu",
                 watcher->host->name, (unsigned long long)key,
                 (unsigned long long)event->prev_index,
                 (unsigned long long)event->index,
                 (unsigned long long)(*known - 1));
    }
    *known = event->type == FEED_PUT ? event->index + 1 : 1;
    watcher->pending = event->index;
    world->watchers->events++;
    sim_note(world, 0x77617463, event->index);
}

static void lose(struct watcher *watcher)
{
    watcher->world->watchers->lost++;
    watcher->now = (struct known){0};
    watcher->complete = watcher->now;
    watcher->pending = 0;
    watcher->host = NULL;
    watcher->since = UINT64_MAX; /* It begins with what comes. */
}

static void on_event(struct feed_watch *feed, const struct feed_event *event)
{
    struct watcher *watcher = container_of(feed, struct watcher, feed);
    if (watcher->host->crash_image) {
        return; /* It is not sent any more. watchers_host_gone() follows. */
    }
    if (!event) {
        feed_close(feed_of(watcher), feed);
        lose(watcher);
    } else if (rng_below(&watcher->world->watchers->rng, 8) == 0) {
        feed_fall_behind(feed_of(watcher), feed);
    } else {
        receive(watcher, event);
    }
}

/* Read some of what the watcher has not read, and perhaps follow. */
static void read_some(struct watcher *watcher)
{
    struct rng *rng = &watcher->world->watchers->rng;
    struct feed_event event;
    uint32_t budget = UINT32_MAX;
    enum err err = ERR_OK;
    while (!err && rng_below(rng, 10) > 0) {
        err = feed_next(feed_of(watcher), &watcher->feed, UINT64_MAX, &budget,
                        &event);
        if (!err) {
            receive(watcher, &event);
        }
    }
    if (err == ERR_NOT_FOUND) {
        complete(watcher);
        feed_follow(feed_of(watcher), &watcher->feed);
    } else if (err == ERR_CLOSED) {
        feed_close(feed_of(watcher), &watcher->feed);
        lose(watcher);
    }
}

static void disconnect(struct watcher *watcher)
{
    if (watcher->host) {
        /* Outside of a turn, a follower has whole entries. */
        if (watcher->feed.state == FEED_FOLLOWING) {
            complete(watcher);
        }
        feed_close(feed_of(watcher), &watcher->feed);
        watcher->host = NULL;
    }
    watcher->now = watcher->complete;
    watcher->pending = 0;
}

static void connect_to(struct watcher *watcher, struct host *host)
{
    struct feed *feed = node_feed(host->node);
    bool first = watcher->since == UINT64_MAX;
    watcher->host = host;
    if (first) {
        watcher->since = feed_index(feed);
    }
    if (feed_open(feed, &watcher->feed, watcher->since)) {
        lose(watcher);
        return;
    }
    watcher->world->watchers->resumed += !first;
    read_some(watcher);
}

static bool may_connect(const struct host *host)
{
    return host_is_up(host) && host->node && !host->second &&
           node_is_member(host->node) && !node_contradiction(host->node);
}

void watchers_step(struct sim_world *world)
{
    struct watchers *watchers = world->watchers;
    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *watcher = &watchers->all[i];
        struct host *host =
            &world->hosts[rng_below(&watchers->rng, world->swarm.hosts)];
        if (world->now_us < watcher->next_us) {
            continue;
        }
        watcher->next_us =
            world->now_us + 1 + rng_below(&watchers->rng, 400 * MS_US);
        if (watcher->host && rng_below(&watchers->rng, 4) > 0) {
            if (watcher->feed.state == FEED_BEHIND) {
                read_some(watcher);
            }
        } else if (may_connect(host)) {
            disconnect(watcher);
            connect_to(watcher, host);
        }
    }
}

void watchers_host_gone(const struct host *host)
{
    struct watchers *watchers = host->world->watchers;
    for (int i = 0; watchers && i < WATCHERS; i++) {
        struct watcher *watcher = &watchers->all[i];
        if (watcher->host != host) {
            continue;
        }
        if (host->node) {
            disconnect(watcher);
        } else {
            /* Its memory is lost, as when a process dies in a turn. */
            memset(&watcher->feed, 0, sizeof(watcher->feed));
            watcher->feed.cb = on_event;
            watcher->feed.key = bytes_of_string(watcher->name);
            watcher->feed.is_prefix = i < 2;
            watcher->feed.types = FEED_ALL;
            watcher->host = NULL;
            disconnect(watcher);
        }
    }
}

void watchers_check(struct sim_world *world)
{
    struct watchers *watchers = world->watchers;
    struct host *host = &world->hosts[0];
    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *watcher = &watchers->all[i];
        struct feed_event event;
        uint32_t budget = UINT32_MAX;
        enum err err = ERR_OK;
        disconnect(watcher);
        connect_to(watcher, host);
        while (watcher->host && watcher->feed.state == FEED_BEHIND && !err) {
            err = feed_next(feed_of(watcher), &watcher->feed, UINT64_MAX,
                            &budget, &event);
            if (!err) {
                receive(watcher, &event);
            }
        }
        for (uint32_t key = 0; key < KEYS_MAX && err != ERR_CLOSED; key++) {
            char name[16];
            struct store_row row;
            snprintf(name, sizeof(name), "key-%u", key);
            uint64_t index =
                node_get(host->node, bytes_of_string(name), &row) == ERR_OK
                    ? row.modify_index
                    : 0;
            if (watcher->now.key[key] != UNKNOWN &&
                watcher->now.key[key] != index + 1) {
                sim_fail(world, EXIT_CORRECTNESS,
                         "a watcher knows %s at %llu, and it is at %llu", name,
                         (unsigned long long)(watcher->now.key[key] - 1),
                         (unsigned long long)index);
            }
        }
    }
}

void watchers_init(struct sim_world *world)
{
    static const char *const names[WATCHERS] = {"", "key-", "key-0", "key-1"};
    struct watchers *watchers = mem_zalloc(sizeof(*watchers));
    world->watchers = watchers;
    rng_init(&watchers->rng, world->seed ^ 0x7761746368);
    for (int i = 0; i < WATCHERS; i++) {
        struct watcher *watcher = &watchers->all[i];
        watcher->world = world;
        watcher->since = UINT64_MAX;
        snprintf(watcher->name, sizeof(watcher->name), "%s", names[i]);
        watcher->feed = (struct feed_watch){
            .cb = on_event,
            .key = bytes_of_string(watcher->name),
            .is_prefix = i < 2,
            .types = FEED_ALL,
        };
    }
}

uint64_t watchers_events(const struct sim_world *world)
{
    return world->watchers->events;
}

uint64_t watchers_resumed(const struct sim_world *world)
{
    return world->watchers->resumed;
}

void watchers_free(struct sim_world *world)
{
    sim_trace(world, "watchers: %llu events, %llu lost, %llu resumed",
              (unsigned long long)world->watchers->events,
              (unsigned long long)world->watchers->lost,
              (unsigned long long)world->watchers->resumed);
    mem_free(world->watchers);
    world->watchers = NULL;
}
