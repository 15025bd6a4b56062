/* net.c -- reactor.h over a virtual network: what peer/ is built on.
 *
 * A connection is a wire with a queue of segments towards each end. Segments
 * arrive in order, each after a random delay. A cut does not lose them: like
 * TCP, it delays them until it heals or a side times out. Data is lost only
 * when a connection breaks, with all that was in flight on it. Only the
 * functions that peer/ uses are here. */
#include <stdio.h>

#include "base/crc32c.h"
#include "base/heap.h"
#include "sim.h"

enum segment_kind { SYN, SYN_ACK, DATA, FIN, RST };

struct segment {
    struct list link;
    uint64_t at_us;
    enum segment_kind kind;
    const char *why; /* RST */
    struct buf data;
};

/* A connection. Side 0 dialled. */
struct wire {
    struct list link;
    struct host *host[2];
    uint16_t port; /* The port that was dialled. */
    struct stream *end[2];
    struct list queue[2]; /* Segments towards that end. */
    uint64_t last_us[2];  /* Arrival of the last segment in the queue. */
    uint64_t held_us[2];  /* Start of the delay by a cut; 0: no delay. */
};

struct stream {
    struct list link;
    struct reactor *reactor;
    struct wire *wire;
    int side;
    const struct stream_handler *handler;
    void *arg;
    struct buf in;
    struct buf out;
    bool open;
    bool closed;            /* No more events are delivered. */
    bool closing;           /* To be closed after the flush. */
    uint64_t connect_by_us; /* Deadline of the dial. */
    uint64_t user_timeout_us;
    char text[REACTOR_ADDR_TEXT_BYTES];
};

struct listener {
    struct reactor *reactor;
    listener_cb *cb;
    void *arg;
};

struct reactor {
    struct host *host;
    struct heap timers;
    struct list streams;
    struct list dead; /* Freed at the end of the turn. */
    struct listener *listener;
    uint64_t now_ms;
};

/* ---- wires ---- */

static struct sim_world *world_of(const struct wire *wire)
{
    return wire->host[0]->world;
}

static uint64_t local_now_us(const struct host *host)
{
    struct sim_world *world = host->world;
    /* Within a turn the time of its disk operations has already passed; after
     * it the host is busy for that time, and its clock does not go back. */
    return host == world->running
               ? max_u64(world->now_us, host->turn_us + host->turn_sync_us)
               : world->now_us;
}

static void post(struct wire *wire, int to, enum segment_kind kind,
                 const char *why, struct bytes data)
{
    struct sim_world *world = world_of(wire);
    const struct host *from = wire->host[1 - to];
    if (from->crash_image) {
        return; /* It has crashed already; the turn only runs to its end. */
    }
    struct segment *segment = mem_zalloc(sizeof(*segment));
    uint64_t at = local_now_us(from) + sim_spread(world, world->swarm.delay_us);
    segment->at_us = max_u64(at, wire->last_us[to]);
    segment->kind = kind;
    segment->why = why;
    buf_add_bytes(&segment->data, data);
    wire->last_us[to] = segment->at_us;
    list_add(&wire->queue[to], &segment->link);
}

/* A reset by the own kernel: no cut delays it. */
static void post_local(struct wire *wire, int to, const char *why)
{
    struct sim_world *world = world_of(wire);
    struct segment *segment = mem_zalloc(sizeof(*segment));
    segment->at_us = world->now_us;
    segment->kind = RST;
    segment->why = why;
    segment->link.prev = segment->link.next = &segment->link;
    /* Ahead of all others. */
    segment->link.next = wire->queue[to].next;
    segment->link.prev = &wire->queue[to];
    segment->link.next->prev = &segment->link;
    wire->queue[to].next = &segment->link;
    wire->held_us[to] = 0;
}

static void segment_free(struct segment *segment)
{
    list_remove(&segment->link);
    buf_free(&segment->data);
    mem_free(segment);
}

static void queue_clear(struct list *queue)
{
    while (!list_empty(queue)) {
        segment_free(container_of(queue->next, struct segment, link));
    }
}

static void wire_free(struct wire *wire)
{
    list_remove(&wire->link);
    queue_clear(&wire->queue[0]);
    queue_clear(&wire->queue[1]);
    mem_free(wire);
}

static void sweep_wires(struct sim_world *world)
{
    for (struct list *at = world->wires.next; at != &world->wires;) {
        struct wire *wire = container_of(at, struct wire, link);
        at = at->next;
        bool idle = list_empty(&wire->queue[0]) && list_empty(&wire->queue[1]);
        if (!wire->end[0] && !wire->end[1] && idle) {
            wire_free(wire);
        }
    }
}

/* ---- streams ---- */

static struct stream *stream_make(struct reactor *reactor, struct wire *wire,
                                  int side)
{
    struct stream *stream = mem_zalloc(sizeof(*stream));
    stream->reactor = reactor;
    stream->wire = wire;
    stream->side = side;
    stream->user_timeout_us = 20 * SEC_US;
    wire->end[side] = stream;
    list_add(&reactor->streams, &stream->link);
    snprintf(stream->text, sizeof(stream->text), "%s",
             wire->host[1 - side]->addr);
    return stream;
}

static void stream_end(struct stream *stream)
{
    if (stream->wire) {
        stream->wire->end[stream->side] = NULL;
        queue_clear(&stream->wire->queue[stream->side]);
        stream->wire = NULL;
    }
    stream->closed = true;
    list_remove(&stream->link);
    list_add(&stream->reactor->dead, &stream->link);
}

static void stream_fail(struct stream *stream, const char *why)
{
    const struct stream_handler *handler = stream->handler;
    void *arg = stream->arg;
    stream_end(stream);
    if (handler) {
        handler->on_close(stream, why, arg);
    }
}

struct stream *stream_dial(struct reactor *reactor, const char *host,
                           uint16_t port, uint32_t timeout_ms,
                           const struct stream_handler *handler, void *arg)
{
    struct sim_world *world = reactor->host->world;
    struct host *to = host_of_addr(world, host);
    must(to);
    struct wire *wire = mem_zalloc(sizeof(*wire));
    wire->host[0] = reactor->host;
    wire->host[1] = to;
    wire->port = port;
    list_init(&wire->queue[0]);
    list_init(&wire->queue[1]);
    list_init(&wire->link);
    list_add(&world->wires, &wire->link);
    struct stream *stream = stream_make(reactor, wire, 0);
    stream->handler = handler;
    stream->arg = arg;
    stream->connect_by_us = world->now_us + timeout_ms * MS_US;
    post(wire, 1, SYN, NULL, (struct bytes){0});
    return stream;
}

void stream_set_handler(struct stream *stream,
                        const struct stream_handler *handler, void *arg)
{
    stream->handler = handler;
    stream->arg = arg;
}

struct buf *stream_output(struct stream *stream)
{
    return &stream->out;
}

size_t stream_output_bytes(const struct stream *stream)
{
    size_t bytes = stream->out.size;
    if (stream->wire) {
        /* Segments that a cut delays fill the sender's buffers. */
        struct list *queue = &stream->wire->queue[1 - stream->side];
        for (struct list *at = queue->next; at != queue; at = at->next) {
            bytes += container_of(at, struct segment, link)->data.size;
        }
    }
    return bytes;
}

/* Links have no cluster key here, so nobody waits for a first message. */
void stream_kick(struct stream *stream)
{
    (void)stream;
    must(false);
}

void stream_flush(struct stream *stream)
{
    if (stream->open && stream->wire && stream->out.size > 0) {
        post(stream->wire, 1 - stream->side, DATA, NULL,
             buf_bytes(&stream->out));
        stream->out.size = 0;
    }
}

void stream_set_input_limit(struct stream *stream, size_t limit_bytes)
{
    (void)stream;
    (void)limit_bytes;
}

void stream_set_user_timeout(struct stream *stream, uint32_t timeout_ms)
{
    stream->user_timeout_us = timeout_ms * MS_US;
}

const char *stream_peer_text(const struct stream *stream)
{
    return stream->text;
}

void stream_close(struct stream *stream)
{
    if (!stream || stream->closed) {
        return;
    }
    post(stream->wire, 1 - stream->side, RST, "reset", (struct bytes){0});
    stream_end(stream);
}

void stream_close_after_flush(struct stream *stream)
{
    if (!stream->closed) {
        stream->closing = true;
    }
}

/* ---- listeners, timers ---- */

const char *listener_text(const struct listener *listener)
{
    (void)listener;
    return "simulated";
}

enum err listener_open(struct reactor *reactor, const char *host, uint16_t port,
                       listener_cb *cb, void *arg, struct listener **listener,
                       char *why, size_t why_size)
{
    (void)host;
    (void)port;
    (void)why;
    (void)why_size;
    struct listener *made = mem_zalloc(sizeof(*made));
    *made = (struct listener){.reactor = reactor, .cb = cb, .arg = arg};
    reactor->listener = made;
    *listener = made;
    return ERR_OK;
}

void listener_close(struct listener *listener)
{
    if (listener) {
        listener->reactor->listener = NULL;
        mem_free(listener);
    }
}

void timer_arm(struct reactor *reactor, struct timer *timer, uint64_t at_ms,
               timer_cb *cb, void *arg)
{
    heap_remove(&reactor->timers, &timer->node);
    timer->cb = cb;
    timer->arg = arg;
    heap_insert(&reactor->timers, &timer->node, at_ms);
}

void timer_cancel(struct reactor *reactor, struct timer *timer)
{
    heap_remove(&reactor->timers, &timer->node);
}

uint64_t reactor_now_ms(const struct reactor *reactor)
{
    return reactor->now_ms;
}

struct reactor *net_reactor(struct host *host)
{
    struct reactor *reactor = mem_zalloc(sizeof(*reactor));
    reactor->host = host;
    list_init(&reactor->streams);
    list_init(&reactor->dead);
    reactor->now_ms = net_clock_ms(host);
    return reactor;
}

/* ---- time ---- */

uint64_t net_clock_ms(const struct host *host)
{
    uint64_t us = local_now_us(host);
    return (host->clock_offset_us + us / 1000 * host->clock_rate +
            us % 1000 * host->clock_rate / 1000) /
           MS_US;
}

/* The time at which the host's clock reads `ms`. */
static uint64_t when(const struct host *host, uint64_t ms)
{
    struct sim_world *world = host->world;
    uint64_t now_ms = net_clock_ms(host);
    if (ms <= now_ms) {
        return world->now_us;
    }
    if (ms - now_ms > 1000000) {
        return UINT64_MAX;
    }
    return world->now_us + (ms - now_ms) * MS_US * 1000 / host->clock_rate + 1;
}

uint64_t net_next_us(const struct host *host)
{
    struct sim_world *world = host->world;
    uint64_t next = host_io_due_us(host);
    if (host->hook_due_ms != UINT64_MAX) {
        next = min_u64(next, when(host, host->hook_due_ms));
    }
    const struct heap_node *timer = heap_min(&host->reactor->timers);
    if (timer) {
        next = min_u64(next, when(host, timer->key));
    }
    for (struct list *at = world->wires.next; at != &world->wires;
         at = at->next) {
        struct wire *wire = container_of(at, struct wire, link);
        for (int side = 0; side < 2; side++) {
            if (wire->host[side] != host) {
                continue;
            }
            if (!list_empty(&wire->queue[side])) {
                next = min_u64(next, container_of(wire->queue[side].next,
                                                  struct segment, link)
                                         ->at_us);
            }
            const struct stream *end = wire->end[side];
            if (end && !end->open && side == 0) {
                next = min_u64(next, end->connect_by_us);
            }
        }
    }
    return next;
}

/* ---- arrivals ---- */

static void read_input(struct stream *stream)
{
    if (stream->in.size == 0 || !stream->handler) {
        return;
    }
    size_t used = stream->handler->on_read(stream, stream->in.data,
                                           stream->in.size, stream->arg);
    if (!stream->closed) {
        must(used <= stream->in.size);
        buf_consume(&stream->in, used);
    }
}

static void on_syn(struct wire *wire)
{
    struct host *host = wire->host[1];
    struct listener *listener = host->reactor ? host->reactor->listener : NULL;
    if (!listener || !wire->end[0] || wire->port != host->port) {
        post(wire, 0, RST, "connection refused", (struct bytes){0});
        return;
    }
    struct stream *stream = stream_make(host->reactor, wire, 1);
    stream->open = true;
    post(wire, 0, SYN_ACK, NULL, (struct bytes){0});
    listener->cb(stream, listener->arg);
}

static void arrive(struct wire *wire, int side, struct segment *segment)
{
    struct sim_world *world = world_of(wire);
    struct stream *stream = wire->end[side];
    sim_note(world,
             (uint64_t)wire->host[side]->number * 8 + (uint64_t)segment->kind,
             crc32c(0, segment->data.data, segment->data.size));
    if (segment->kind == SYN) {
        on_syn(wire);
        return;
    }
    if (!stream || stream->closed) {
        if (segment->kind == DATA && wire->end[1 - side]) {
            post(wire, 1 - side, RST, "reset", (struct bytes){0});
        }
        return;
    }
    switch (segment->kind) {
    case SYN_ACK:
        stream->open = true;
        if (stream->handler->on_open) {
            stream->handler->on_open(stream, stream->arg);
        }
        break;
    case DATA:
        if (!stream->closing) {
            buf_add_bytes(&stream->in, buf_bytes(&segment->data));
            read_input(stream);
        }
        break;
    case FIN:
        stream_fail(stream, "closed by peer");
        break;
    case RST:
        stream_fail(stream, segment->why);
        break;
    case SYN:
        break;
    }
}

/* Deliver the due segments of one queue. A cut delays them; after too long the
 * sender times out. */
static void drain(struct wire *wire, int side)
{
    struct sim_world *world = world_of(wire);
    struct list *queue = &wire->queue[side];
    while (!list_empty(queue)) {
        struct segment *segment =
            container_of(queue->next, struct segment, link);
        if (segment->at_us > world->now_us) {
            return;
        }
        int from = wire->host[1 - side]->number;
        int to = wire->host[side]->number;
        bool local = segment->kind == RST && segment->why &&
                     strcmp(segment->why, "timeout") == 0;
        if (world->cut[from][to] && !local) {
            if (wire->held_us[side] == 0) {
                wire->held_us[side] = world->now_us;
            }
            const struct stream *sender = wire->end[1 - side];
            if (sender &&
                world->now_us - wire->held_us[side] > sender->user_timeout_us) {
                queue_clear(queue);
                post_local(wire, 1 - side, "timeout");
                return;
            }
            segment->at_us = world->now_us + 50 * MS_US;
            return;
        }
        wire->held_us[side] = 0;
        list_remove(&segment->link);
        arrive(wire, side, segment);
        buf_free(&segment->data);
        mem_free(segment);
    }
}

static void deliver(struct host *host)
{
    struct sim_world *world = host->world;
    for (struct list *at = world->wires.next; at != &world->wires;
         at = at->next) {
        struct wire *wire = container_of(at, struct wire, link);
        for (int side = 0; side < 2; side++) {
            if (wire->host[side] == host) {
                drain(wire, side);
            }
        }
        struct stream *dialling = wire->end[0];
        if (dialling && wire->host[0] == host && !dialling->open &&
            world->now_us >= dialling->connect_by_us) {
            stream_fail(dialling, "timeout");
        }
    }
}

static void fire_timers(struct reactor *reactor)
{
    for (int left = 64; left > 0; left--) {
        struct heap_node *node = heap_min(&reactor->timers);
        if (!node || node->key > reactor->now_ms) {
            return;
        }
        heap_remove(&reactor->timers, node);
        struct timer *timer = container_of(node, struct timer, node);
        timer->cb(timer->arg);
    }
}

static void flush(struct reactor *reactor)
{
    for (struct list *at = reactor->streams.next; at != &reactor->streams;) {
        struct stream *stream = container_of(at, struct stream, link);
        at = at->next;
        stream_flush(stream);
        if (stream->closing) {
            post(stream->wire, 1 - stream->side, FIN, NULL, (struct bytes){0});
            stream_fail(stream, "closed");
        }
    }
}

static void free_dead(struct reactor *reactor)
{
    while (!list_empty(&reactor->dead)) {
        struct stream *stream =
            container_of(reactor->dead.next, struct stream, link);
        list_remove(&stream->link);
        buf_free(&stream->in);
        buf_free(&stream->out);
        mem_free(stream);
    }
}

void net_turn(struct host *host)
{
    struct sim_world *world = host->world;
    struct reactor *reactor = host->reactor;
    reactor->now_ms = net_clock_ms(host);
    deliver(host);
    fire_timers(reactor);
    host->hook_due_ms = node_turn(host->node);
    flush(reactor);
    free_dead(reactor);
    sweep_wires(world);
}

/* ---- stopping a host ---- */

void net_drop(struct host *host, bool quietly)
{
    struct sim_world *world = host->world;
    for (struct list *at = world->wires.next; at != &world->wires;) {
        struct wire *wire = container_of(at, struct wire, link);
        at = at->next;
        for (int side = 0; side < 2; side++) {
            if (wire->host[side] != host) {
                continue;
            }
            queue_clear(&wire->queue[side]);
            struct stream *stream = wire->end[side];
            if (!stream) {
                continue;
            }
            wire->end[side] = NULL;
            stream->wire = NULL;
            if (!quietly) {
                struct simdisk *image = host->crash_image;
                host->crash_image = NULL; /* The kernel sends the reset. */
                post(wire, 1 - side, RST, "reset", (struct bytes){0});
                host->crash_image = image;
            }
        }
    }
    struct reactor *reactor = host->reactor;
    list_splice(&reactor->dead, &reactor->streams);
    free_dead(reactor);
    heap_free(&reactor->timers);
    mem_free(reactor);
    host->reactor = NULL;
    sweep_wires(world);
}

void net_arrive_down(struct host *host)
{
    struct sim_world *world = host->world;
    for (struct list *at = world->wires.next; at != &world->wires;) {
        struct wire *wire = container_of(at, struct wire, link);
        at = at->next;
        for (int side = 0; side < 2; side++) {
            struct list *queue = &wire->queue[side];
            while (wire->host[side] == host && !list_empty(queue)) {
                struct segment *segment =
                    container_of(queue->next, struct segment, link);
                if (segment->at_us > world->now_us) {
                    break;
                }
                bool answer = !host->off &&
                              (segment->kind == SYN || segment->kind == DATA);
                segment_free(segment);
                if (answer && wire->end[1 - side]) {
                    post(wire, 1 - side, RST, "connection refused",
                         (struct bytes){0});
                }
            }
        }
    }
    sweep_wires(world);
}

static struct wire *any_wire(struct sim_world *world)
{
    uint64_t count = 0;
    for (struct list *at = world->wires.next; at != &world->wires;
         at = at->next) {
        count++;
    }
    if (count == 0) {
        return NULL;
    }
    struct list *at = world->wires.next;
    for (uint64_t i = sim_below(world, count); i > 0; i--) {
        at = at->next;
    }
    return container_of(at, struct wire, link);
}

void net_reset_one(struct sim_world *world)
{
    struct wire *wire = any_wire(world);
    if (!wire) {
        return;
    }
    for (int side = 0; side < 2; side++) {
        if (!wire->end[side]) {
            continue;
        }
        /* A part of the data in flight still arrives. */
        struct list *queue = &wire->queue[side];
        if (!list_empty(queue)) {
            struct segment *segment =
                container_of(queue->next, struct segment, link);
            if (segment->data.size > 0) {
                segment->data.size = sim_below(world, segment->data.size);
            }
            while (queue->prev != &segment->link) {
                segment_free(container_of(queue->prev, struct segment, link));
            }
        }
        post(wire, side, RST, "reset", (struct bytes){0});
    }
}

void net_garble_one(struct sim_world *world)
{
    struct wire *wire = any_wire(world);
    int side = (int)sim_below(world, 2);
    if (!wire || list_empty(&wire->queue[side])) {
        return;
    }
    struct segment *segment =
        container_of(wire->queue[side].next, struct segment, link);
    if (segment->data.size > 0) {
        segment->data.data[sim_below(world, segment->data.size)] ^=
            (uint8_t)(1 << sim_below(world, 8));
    }
}

void net_free(struct sim_world *world)
{
    while (!list_empty(&world->wires)) {
        wire_free(container_of(world->wires.next, struct wire, link));
    }
}
