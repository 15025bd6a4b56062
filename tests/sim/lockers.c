/* lockers.c -- clients that hold a lock, by the recipe of
 * client/lock_internal.h: a lease, a ticket that goes with it, and the ticket
 * with the lowest create_index holds the lock.
 *
 * A locker believes that it holds the lock from when it has read that its
 * ticket is the first until its lease is over by its own clock, counted from
 * when the request was sent that renewed it. Its clock is as fast as the
 * fastest of a host, since clocks of hosts may differ by more than a lease
 * allows for.
 *
 *   - At most one locker believes that it holds the lock, whatever happens to
 *     the hosts. A restore deletes tickets: it is an exception.
 *   - Each holder's ticket is greater than those of all before: that is both
 * the order of arrival and the fencing token.
 *   - A write that has the ticket as its condition is fenced: in the order of
 *     the log, the tokens of such writes never decrease, with restores too. */
#include <stdio.h>

#include "command/result.h"
#include "sim.h"

enum {
    KEY_BYTES = 24,
    LOCKERS = 4,
    RATE_MAX = 2000, /* Thousandths; see chaos.c for those of hosts. */
    FENCED_MAX = 4096,
};

enum stage {
    STAGE_GRANT,  /* It wants a lease. */
    STAGE_TICKET, /* It wants its ticket. */
    STAGE_WAIT,   /* It reads who is the first. */
    STAGE_HOLD,   /* Its ticket was the first. */
};

enum asked {
    ASKED_GRANT,
    ASKED_TICKET,
    ASKED_READ,
    ASKED_KEEP,
    ASKED_WRITE,
    ASKED_REVOKE
};

struct locker {
    struct sim_world *world;
    struct node_request request;
    int number;
    struct host *host; /* The host that has its request; NULL: none. */
    enum stage stage;
    enum asked asked;
    uint64_t sent_us; /* Time of that request. */
    uint64_t next_us; /* Time of its next step. */
    uint64_t lease;   /* Index of its entry. */
    uint64_t ttl_ms;
    uint64_t until_us;   /* Its lease is over then, by its own clock. */
    uint64_t ticket;     /* create_index of its ticket; 0: not known. */
    uint64_t commits;    /* Restores that might have deleted the ticket, before
                            it was asked for. */
    uint64_t release_us; /* It lets the lock go then. */
};

struct fenced {
    uint64_t index; /* Log index of the write. */
    uint64_t token;
};

struct lockers {
    struct rng rng;
    struct locker all[LOCKERS];
    uint64_t token; /* The greatest of a holder so far. */
    uint64_t held;
    uint64_t lost; /* Leases that were gone when they were used. */
    struct fenced fenced[FENCED_MAX];
    size_t fenced_count;
    bool stopped;
    struct buf command; /* Scratch space for the next command. */
};

static const char guard[] = "lock-guard";

static void ticket_key(int number, char key[KEY_BYTES])
{
    snprintf(key, KEY_BYTES, "lock-%d", number);
}

static uint64_t below(const struct locker *locker, uint64_t bound)
{
    return rng_below(&locker->world->lockers->rng, bound);
}

static bool believes(const struct locker *locker)
{
    return locker->stage == STAGE_HOLD &&
           locker->world->now_us < locker->until_us;
}

static void begin_anew(struct locker *locker)
{
    locker->stage = STAGE_GRANT;
    locker->lease = 0;
    locker->ticket = 0;
}

/* ---- what must hold ---- */

/* It may have lost its ticket to a restore. */
static bool is_excused(const struct locker *locker)
{
    return clients_commits(locker->world) != locker->commits ||
           clients_commit_is_open(locker->world);
}

static void check_alone(struct locker *locker)
{
    struct lockers *lockers = locker->world->lockers;
    for (int i = 0; i < LOCKERS; i++) {
        struct locker *other = &lockers->all[i];
        if (other != locker && believes(other) && !is_excused(other)) {
            sim_fail(
                locker->world, EXIT_CORRECTNESS,
                "locker %d holds the lock by ticket %llu, and locker %d by "
                "ticket %llu for another %llu us",
                locker->number, (unsigned long long)locker->ticket,
                other->number, (unsigned long long)other->ticket,
                (unsigned long long)(other->until_us - locker->world->now_us));
        }
    }
}

/* It may use the lock from here on. */
static void check_holder(struct locker *locker)
{
    struct lockers *lockers = locker->world->lockers;
    if (!believes(locker) || is_excused(locker)) {
        return;
    }
    if (locker->ticket < lockers->token) {
        sim_fail(locker->world, EXIT_CORRECTNESS,
                 "locker %d holds the lock by ticket %llu, after one with %llu",
                 locker->number, (unsigned long long)locker->ticket,
                 (unsigned long long)lockers->token);
    }
    lockers->held += locker->ticket > lockers->token;
    lockers->token = locker->ticket;
    check_alone(locker);
    sim_note(locker->world, 0x6c6f636b, locker->ticket);
}

static void become_holder(struct locker *locker)
{
    locker->stage = STAGE_HOLD;
    locker->release_us = locker->world->now_us + below(locker, 3 * SEC_US);
    check_holder(locker);
}

static void add_fenced(struct locker *locker, uint64_t index)
{
    struct lockers *lockers = locker->world->lockers;
    for (size_t i = 0; i < lockers->fenced_count; i++) {
        const struct fenced *other = &lockers->fenced[i];
        if ((other->index < index && other->token > locker->ticket) ||
            (other->index > index && other->token < locker->ticket)) {
            sim_fail(locker->world, EXIT_CORRECTNESS,
                     "entry %llu was written with token %llu, and entry %llu "
                     "with %llu",
                     (unsigned long long)index,
                     (unsigned long long)locker->ticket,
                     (unsigned long long)other->index,
                     (unsigned long long)other->token);
        }
    }
    if (lockers->fenced_count < FENCED_MAX) {
        lockers->fenced[lockers->fenced_count++] =
            (struct fenced){.index = index, .token = locker->ticket};
    }
}

/* ---- requests ---- */

static void write_txn(struct locker *locker,
                      const struct command_condition *condition,
                      const struct command_op *op)
{
    struct buf *command = &locker->world->lockers->command;
    struct command_txn txn;
    struct command_writer list;
    const struct command_name no_name = {0};
    command->size = 0;
    command_txn(&txn, command, &no_name, false);
    if (op->type != COMMAND_PUT) {
        command_txn_timed(&txn);
    }
    command_list(&list, command);
    if (condition) {
        command_if(&list, condition);
    }
    command_end(&list);
    command_list(&list, command);
    command_add(&list, op);
    command_end(&list);
    command_sign(&txn, 1);
    node_write(locker->host->node, &locker->request, buf_bytes(command));
}

static void send_request(struct locker *locker)
{
    char key[KEY_BYTES];
    uint8_t room[8];
    ticket_key(locker->number, key);
    struct bytes name = bytes_of_string(key);
    switch (locker->asked) {
    case ASKED_GRANT:
        locker->ttl_ms = 300 + below(locker, 6000);
        write_txn(locker, NULL,
                  &(struct command_op){.type = COMMAND_LEASE_GRANT,
                                       .ttl_ms = locker->ttl_ms});
        break;
    case ASKED_TICKET:
        store_u64(room, locker->lease);
        locker->commits = clients_commits(locker->world);
        write_txn(locker,
                  &(struct command_condition){.field = COMMAND_IF_EXISTS,
                                              .key = name},
                  &(struct command_op){.type = COMMAND_PUT_TIMED,
                                       .key = name,
                                       .value = bytes_of(room, 8),
                                       .lease = locker->lease});
        break;
    case ASKED_READ:
        node_read(locker->host->node, &locker->request);
        break;
    case ASKED_KEEP:
        write_txn(locker, NULL,
                  &(struct command_op){.type = COMMAND_LEASE_KEEP,
                                       .lease = locker->lease});
        break;
    case ASKED_WRITE:
        store_u64(room, locker->ticket);
        write_txn(locker,
                  &(struct command_condition){.field = COMMAND_IF_CREATED,
                                              .key = name,
                                              .number = locker->ticket},
                  &(struct command_op){.type = COMMAND_PUT,
                                       .key = bytes_of_string(guard),
                                       .value = bytes_of(room, 8)});
        break;
    case ASKED_REVOKE:
        write_txn(locker, NULL,
                  &(struct command_op){.type = COMMAND_LEASE_REVOKE,
                                       .lease = locker->lease});
        break;
    }
}

/* ---- answers ---- */

/* Read the tickets, in the state that this read may show. */
static void take_read(struct locker *locker)
{
    uint64_t first = 0;
    uint64_t own = 0;
    for (int i = 0; i < LOCKERS; i++) {
        char key[KEY_BYTES];
        struct store_row row;
        ticket_key(i, key);
        if (node_get(locker->host->node, bytes_of_string(key), &row)) {
            continue;
        }
        if (i == locker->number && row.value.size == 8 &&
            load_u64(row.value.data) == locker->lease) {
            own = row.create_index;
        }
        if (first == 0 || row.create_index < first) {
            first = row.create_index;
        }
    }
    if (own == 0) {
        locker->world->lockers->lost += locker->ticket > 0;
        begin_anew(locker);
        return;
    }
    locker->ticket = own;
    if (own == first && locker->stage == STAGE_WAIT) {
        become_holder(locker);
    }
}

/* The lease lives longer. */
static void take_renewal(struct locker *locker)
{
    locker->until_us =
        locker->sent_us + locker->ttl_ms * MS_US * 1000 / RATE_MAX;
    check_holder(locker); /* It had perhaps stopped to believe it. */
}

static void take_result(struct locker *locker, const struct node_result *result)
{
    struct result_reader reader;
    struct result_op op = {0};
    if (result_open(&reader, result->data) != ERR_OK) {
        sim_fail(locker->world, EXIT_CORRECTNESS, "a malformed result");
    }
    bool done = reader.head.status == RESULT_THEN &&
                result_next(&reader, &op) == ERR_OK;
    if (reader.head.status == RESULT_NO_LEASE) {
        locker->world->lockers->lost++;
        begin_anew(locker);
        return;
    }
    switch (locker->asked) {
    case ASKED_GRANT:
        if (done) {
            locker->lease = reader.head.index;
            locker->stage = STAGE_TICKET;
            take_renewal(locker);
        }
        break;
    case ASKED_TICKET:
        /* Refused: it is there already, from this lease or one before. */
        locker->stage = STAGE_WAIT;
        break;
    case ASKED_KEEP:
        if (done && op.found) {
            take_renewal(locker);
        } else if (done) {
            begin_anew(locker);
        }
        break;
    case ASKED_WRITE:
        if (done) {
            add_fenced(locker, reader.head.index);
        }
        break;
    case ASKED_REVOKE:
    case ASKED_READ:
        break;
    }
}

static void answered(struct node_request *request,
                     const struct node_result *result)
{
    struct locker *locker = container_of(request, struct locker, request);
    struct host *host = locker->host;
    must(host && host == locker->world->running);
    if (host->crash_image) {
        return; /* The answer is lost. lockers_host_gone() follows. */
    }
    if (result->outcome == NODE_OK && locker->asked == ASKED_READ) {
        take_read(locker); /* It may call die(). */
    } else if (result->outcome == NODE_OK) {
        take_result(locker, result);
    } else if (locker->asked == ASKED_TICKET &&
               result->outcome == NODE_UNKNOWN) {
        locker->stage = STAGE_WAIT; /* It may be there. */
    }
    locker->host = NULL;
    locker->next_us = locker->world->now_us + 1 + below(locker, 300 * MS_US);
}

/* ---- steps ---- */

static enum asked next_request(struct locker *locker)
{
    switch (locker->stage) {
    case STAGE_GRANT:
        return ASKED_GRANT;
    case STAGE_TICKET:
        return ASKED_TICKET;
    case STAGE_WAIT:
        return below(locker, 3) == 0 ? ASKED_KEEP : ASKED_READ;
    case STAGE_HOLD:
        break;
    }
    if (locker->world->now_us >= locker->release_us) {
        return ASKED_REVOKE;
    }
    return below(locker, 3) == 0 ? ASKED_WRITE : ASKED_KEEP;
}

static void step(struct locker *locker, struct host *host)
{
    struct sim_world *world = locker->world;
    locker->asked = next_request(locker);
    locker->host = host;
    locker->sent_us = world->now_us;
    locker->request.cb = answered;
    locker->request.deadline_ms =
        net_clock_ms(host) + 500 + below(locker, 3000);
    world->running = host;
    if (setjmp(world->died) == 0) {
        send_request(locker);
    } else {
        must(false); /* A proposal touches no disk. */
    }
    world->running = NULL;
    host->hook_due_ms = 0;
    if (locker->asked == ASKED_REVOKE) {
        /* It is released from here on; what comes of it does not matter. */
        locker->stage = STAGE_GRANT;
    }
}

void lockers_step(struct sim_world *world)
{
    struct lockers *lockers = world->lockers;
    for (int i = 0; i < LOCKERS && !lockers->stopped; i++) {
        struct locker *locker = &lockers->all[i];
        struct host *host =
            &world->hosts[rng_below(&lockers->rng, world->swarm.hosts)];
        if (locker->host || world->now_us < locker->next_us) {
            continue;
        }
        locker->next_us =
            world->now_us + 1 + rng_below(&lockers->rng, 200 * MS_US);
        if (host_is_up(host) && !host->second &&
            world->now_us >= host->paused_us) {
            step(locker, host);
        }
    }
}

void lockers_host_gone(const struct host *host)
{
    struct lockers *lockers = host->world->lockers;
    for (int i = 0; lockers && i < LOCKERS; i++) {
        struct locker *locker = &lockers->all[i];
        if (locker->host != host) {
            continue;
        }
        if (host->node) {
            node_cancel(host->node, &locker->request);
        }
        /* The node is gone, with the lists that linked the request. */
        locker->request.state = 0;
        list_init(&locker->request.link);
        locker->host = NULL;
        if (locker->asked == ASKED_TICKET) {
            locker->stage = STAGE_WAIT;
        }
        locker->next_us = host->world->now_us + 1 + below(locker, 500 * MS_US);
    }
}

void lockers_stop(struct sim_world *world)
{
    world->lockers->stopped = true;
}

bool lockers_idle(struct sim_world *world)
{
    for (int i = 0; i < LOCKERS; i++) {
        if (world->lockers->all[i].host) {
            return false;
        }
    }
    return true;
}

void lockers_init(struct sim_world *world)
{
    struct lockers *lockers = mem_zalloc(sizeof(*lockers));
    world->lockers = lockers;
    rng_init(&lockers->rng, world->seed ^ 0x6c6f636b657273);
    for (int i = 0; i < LOCKERS; i++) {
        lockers->all[i] =
            (struct locker){.world = world,
                            .number = i,
                            .next_us = rng_below(&lockers->rng, 3 * SEC_US)};
    }
}

uint64_t lockers_held(const struct sim_world *world)
{
    return world->lockers->held;
}

void lockers_free(struct sim_world *world)
{
    struct lockers *lockers = world->lockers;
    sim_trace(world, "lockers: held %llu times, %llu leases lost, %zu fenced",
              (unsigned long long)lockers->held,
              (unsigned long long)lockers->lost, lockers->fenced_count);
    buf_free(&lockers->command);
    mem_free(lockers);
    world->lockers = NULL;
}
