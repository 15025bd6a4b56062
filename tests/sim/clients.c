/* clients.c -- writes and reads at random hosts, and the history of their
 * results.
 *
 * Some writes are plain, some compare and set, some are named (idempotent):
 * named writes are retried at other hosts until there is an answer, and must
 * take effect once (C04).
 *
 * Now and then a client restores: all keys are set or deleted by the last of
 * several entries, each of them sent to any host. For a key this is one write.
 *
 * Every value that is written is unique. A value whose write was answered with
 * "not done" must never be read. A write without an answer may have happened or
 * not (C07). */
#include <stdio.h>

#include "command/command.h"
#include "command/result.h"
#include "linear.h"
#include "sim.h"

enum {
    OPS_MAX = 4096,
    OPS_A_KEY = 650,
    ATTEMPTS_MAX = 8
}; /* On average; LINEAR_OPS_MAX is never reached. */
_Static_assert(OPS_A_KEY *KEYS_MAX + 64 < OPS_MAX, "room for the probes");

enum outcome { PENDING, DONE, NOT_DONE, UNKNOWN };

struct op {
    uint32_t key;
    bool write;
    bool named;        /* It is retried until there is an answer. */
    bool cas;          /* It writes only if the key has the value ... */
    uint64_t expected; /* ... of this field. */
    uint64_t value;    /* 0: absent. */
    uint64_t begin_us;
    uint64_t end_us;
    enum outcome outcome;
};

/* A restore under way: it has an op for every key, from client->op on. */
struct restoring {
    enum command_step step; /* The current step; 0: no restore. */
    uint64_t id;
    uint64_t rows;  /* Rows that must be stored before COMMIT. */
    uint64_t hash;  /* Hash of the rows. */
    bool uncertain; /* The step may have been applied already. */
};

struct client {
    struct sim_world *world;
    struct node_request request;
    struct restoring restoring;
    int number;
    struct host *host; /* The host that has its request; NULL: none. */
    size_t op;
    uint32_t attempts; /* Attempts of the current write or step. */
    uint64_t next_us;
};

struct clients {
    struct client all[CLIENTS_MAX + 1]; /* The last one probes. */
    uint64_t indexes[OPS_MAX]; /* Log index of each value; 0: unknown. */
    struct op ops[OPS_MAX];
    size_t op_count;
    uint64_t values;
    uint64_t seen[KEYS_MAX]; /* Last known value of each key. */
    uint64_t repeated;
    uint64_t abandoned; /* Named writes, before their deadline. */
    uint64_t restores;  /* Restores begun, ... */
    uint64_t restored;  /* ... and acknowledged as complete. */
    uint64_t commits;   /* Last steps of restores: begun, and ended. */
    uint64_t unknown;   /* Restores that may take effect at any time. */
    bool stopped;
    bool probe_ok;
    struct buf command; /* Scratch space for the next command. */
};

static void key_name(uint32_t key, char name[16])
{
    snprintf(name, 16, "key-%u", key);
}

/* Each value is written by one entry. A client that gets or reads the value
 * with a different index got the answer to somebody else's request. */
static void check_index(struct sim_world *world, uint64_t value, uint64_t index)
{
    struct clients *clients = world->clients;
    must(value < OPS_MAX);
    if (value == 0 || index == 0) {
        return;
    }
    if (clients->indexes[value] != 0 && clients->indexes[value] != index) {
        sim_fail(world, EXIT_CORRECTNESS,
                 "value %llu belongs to entry %llu and to %llu",
                 (unsigned long long)value,
                 (unsigned long long)clients->indexes[value],
                 (unsigned long long)index);
    }
    clients->indexes[value] = index;
}

static uint64_t read_value(struct host *host, uint32_t key)
{
    struct sim_world *world = host->world;
    char name[16];
    struct store_row row;
    key_name(key, name);
    if (node_get(host->node, bytes_of_string(name), &row) != ERR_OK) {
        return 0;
    }
    if (row.value.size != 8) {
        sim_fail(world, EXIT_CORRECTNESS, "a value of %zu bytes",
                 row.value.size);
    }
    uint64_t value = load_u64(row.value.data);
    check_index(world, value, row.modify_index);
    return value;
}

/* The result of a transaction: it was applied, or its condition failed; then
 * the op is a read of the value that it found. */
static void take_result(struct sim_world *world, struct op *op,
                        const struct node_result *result)
{
    struct result_reader reader;
    struct result_op row = {0};
    if (result_open(&reader, result->data) != ERR_OK) {
        sim_fail(world, EXIT_CORRECTNESS, "a malformed result");
    }
    world->clients->repeated += reader.head.replayed;
    if (reader.head.status == RESULT_THEN) {
        check_index(world, op->value, reader.head.index);
        return;
    }
    if (reader.head.status != RESULT_ELSE ||
        result_next(&reader, &row) != ERR_OK || row.type != COMMAND_GET) {
        sim_fail(world, EXIT_CORRECTNESS, "key-%u: status %d", op->key,
                 (int)reader.head.status);
    }
    uint64_t value = row.found ? load_u64(row.value.data) : 0;
    if (value == op->expected) {
        sim_fail(world, EXIT_CORRECTNESS, "key-%u: refused, though it was %llu",
                 op->key, (unsigned long long)value);
    }
    check_index(world, value, row.modify_index);
    op->write = false;
    op->cas = false;
    op->value = value;
}

static void done(struct sim_world *world, struct op *op,
                 const struct node_result *result, uint64_t value)
{
    op->outcome = DONE;
    if (op->write && result->data.size > 0) {
        take_result(world, op, result);
    } else if (op->write) {
        check_index(world, op->value, result->index);
    } else {
        op->value = value;
    }
    world->clients->seen[op->key] = op->value;
    if (op->write) {
        world->acked++;
    } else {
        world->reads++;
    }
}

/* The outcome is unknown. A named write is retried; others stay unknown. */
static void not_known(struct client *client, struct op *op)
{
    struct sim_world *world = client->world;
    op->end_us = UINT64_MAX;
    if (op->named && !world->clients->stopped &&
        client->attempts < ATTEMPTS_MAX) {
        client->attempts++;
        return;
    }
    client->attempts = 0;
    op->outcome = UNKNOWN;
}

/* ---- restores ---- */

static void end_restore(struct client *client, enum outcome outcome,
                        uint64_t end_us)
{
    struct sim_world *world = client->world;
    struct clients *clients = world->clients;
    for (uint32_t key = 0; key < world->swarm.keys; key++) {
        struct op *op = &clients->ops[client->op + key];
        op->outcome = outcome;
        op->end_us = outcome == DONE ? end_us : UINT64_MAX;
        if (outcome == DONE) {
            clients->seen[key] = op->value;
        }
    }
    world->acked += outcome == DONE;
    clients->restored += outcome == DONE;
    clients->unknown += outcome == UNKNOWN;
    clients->commits += client->restoring.step == COMMAND_RESTORE_COMMIT;
    client->restoring = (struct restoring){0};
    client->attempts = 0;
}

/* The outcome of the step is unknown: retry it a bounded number of times. Only
 * the last step has a visible effect. */
static void step_not_known(struct client *client)
{
    struct sim_world *world = client->world;
    struct restoring *restoring = &client->restoring;
    restoring->uncertain = true;
    if (!world->clients->stopped && client->attempts < ATTEMPTS_MAX) {
        client->attempts++;
        return;
    }
    end_restore(client,
                restoring->step == COMMAND_RESTORE_COMMIT ? UNKNOWN : NOT_DONE,
                0);
}

static void step_done(struct client *client, const struct result *result,
                      uint64_t end_us)
{
    struct sim_world *world = client->world;
    struct restoring *restoring = &client->restoring;
    bool done = result->status == RESULT_RESTORE ||
                (restoring->step == COMMAND_RESTORE_ROWS &&
                 restoring->uncertain && result->keys == restoring->rows);
    bool last = restoring->step == COMMAND_RESTORE_COMMIT;
    if (!done) {
        /* It may have been applied, and superseded by another restore since. */
        end_restore(client, last && restoring->uncertain ? UNKNOWN : NOT_DONE,
                    0);
    } else if (last) {
        end_restore(client, DONE, end_us);
    } else {
        restoring->step =
            restoring->step == COMMAND_RESTORE_BEGIN && restoring->rows > 0
                ? COMMAND_RESTORE_ROWS
                : COMMAND_RESTORE_COMMIT;
        restoring->uncertain = false;
        client->attempts = 0;
        client->next_us = world->now_us; /* The next step follows at once. */
    }
}

static void step_answered(struct client *client,
                          const struct node_result *result, uint64_t end_us)
{
    struct sim_world *world = client->world;
    struct result_reader reader;
    if (result->outcome != NODE_OK) {
        client->restoring.uncertain |= result->outcome == NODE_UNKNOWN;
        bool was = client->restoring.uncertain;
        step_not_known(client); /* "Not done" is retried as well. */
        client->restoring.uncertain = client->restoring.step != 0 && was;
        return;
    }
    if (result_open(&reader, result->data) != ERR_OK ||
        (reader.head.status != RESULT_RESTORE &&
         reader.head.status != RESULT_SUPERSEDED)) {
        sim_fail(world, EXIT_CORRECTNESS,
                 "a step of a restore has an unexpected result");
    }
    step_done(client, &reader.head, end_us);
}

static struct bytes value_bytes(uint64_t value, uint8_t room[8]);

/* Append the rows as a command. Returns their number. */
static uint64_t add_rows(const struct client *client, struct buf *command)
{
    struct sim_world *world = client->world;
    struct command_writer writer;
    uint8_t room[8];
    char name[16];
    command_restore(&writer, command,
                    &(struct command_restore){.step = COMMAND_RESTORE_ROWS,
                                              .id = client->restoring.id});
    for (uint32_t key = 0; key < world->swarm.keys; key++) {
        uint64_t value = world->clients->ops[client->op + key].value;
        if (value != 0) {
            key_name(key, name);
            command_restore_row(&writer, bytes_of_string(name),
                                value_bytes(value, room));
        }
    }
    command_end(&writer);
    return writer.count;
}

static void write_restore(struct client *client, struct host *host)
{
    struct sim_world *world = client->world;
    struct clients *clients = world->clients;
    struct buf *command = &clients->command;
    struct restoring *restoring = &client->restoring;
    command->size = 0;
    if (restoring->step == COMMAND_RESTORE_ROWS) {
        (void)add_rows(client, command);
    } else {
        command_restore(NULL, command,
                        &(struct command_restore){.step = restoring->step,
                                                  .id = restoring->id,
                                                  .keys = restoring->rows,
                                                  .hash = restoring->hash});
    }
    bool first =
        restoring->step == COMMAND_RESTORE_COMMIT && client->attempts == 0;
    clients->commits += first;
    for (uint32_t key = 0; key < world->swarm.keys && first; key++) {
        clients->ops[client->op + key].begin_us = world->now_us;
    }
    node_write(host->node, &client->request, buf_bytes(command));
}

static void begin_restore(struct client *client)
{
    struct sim_world *world = client->world;
    struct clients *clients = world->clients;
    struct buf *command = &clients->command;
    client->op = clients->op_count;
    for (uint32_t key = 0; key < world->swarm.keys; key++) {
        must(clients->op_count < OPS_MAX);
        clients->ops[clients->op_count++] = (struct op){
            .key = key,
            .write = true,
            .value = sim_below(world, 4) == 0 ? 0 : ++clients->values,
            .begin_us = world->now_us,
            .end_us = UINT64_MAX};
    }
    client->restoring = (struct restoring){.step = COMMAND_RESTORE_BEGIN,
                                           .id = ++clients->restores};
    command->size = 0;
    client->restoring.rows = add_rows(client, command);
    if (client->restoring.rows > 0) {
        client->restoring.hash = command_restore_hash(0, buf_bytes(command));
    }
}

/* ---- answers ---- */

static void answered(struct node_request *request,
                     const struct node_result *result)
{
    struct client *client = container_of(request, struct client, request);
    struct sim_world *world = client->world;
    struct clients *clients = world->clients;
    struct host *host = client->host;
    struct op *op = &clients->ops[client->op];
    must(host && host == world->running);
    if (host->crash_image) {
        return; /* The answer is lost. clients_host_gone() follows. */
    }
    uint64_t value = 0;
    if (result->outcome == NODE_OK && !op->write && !client->restoring.step) {
        value = read_value(host, op->key); /* It may call die(). */
    }
    client->host = NULL;
    client->next_us = world->now_us + sim_spread(world, world->swarm.pace_us);
    clients->abandoned += result->outcome == NODE_UNKNOWN && op->write &&
                          op->named && !client->restoring.step &&
                          result->link_down &&
                          net_clock_ms(host) < client->request.deadline_ms;
    op->end_us = world->now_us + host->turn_sync_us;
    sim_note(world, (uint64_t)client->number, (uint64_t)result->outcome);
    if (client->restoring.step) {
        step_answered(client, result, op->end_us);
        return;
    }
    if (result->outcome == NODE_OK) {
        client->attempts = 0;
        done(world, op, result, value);
    } else if (op->write &&
               (result->outcome == NODE_UNKNOWN || client->attempts > 0)) {
        not_known(client, op); /* An earlier attempt may have succeeded. */
    } else {
        op->outcome = NOT_DONE;
    }
    if (client->number == CLIENTS_MAX) {
        sim_trace(world, "probe at %s: %s", host->name,
                  node_outcome_name(result->outcome));
        clients->probe_ok = result->outcome == NODE_OK;
    }
}

static struct bytes value_bytes(uint64_t value, uint8_t room[8])
{
    store_u64(room, value);
    return bytes_of(room, 8);
}

static void add_put(struct command_writer *writer, struct bytes key,
                    uint64_t value)
{
    uint8_t room[8];
    if (value == 0) {
        command_delete(writer, key);
    } else {
        command_put(writer, key, value_bytes(value, room));
    }
}

static void add_txn(struct buf *command, const struct op *op, struct bytes key,
                    struct bytes name)
{
    struct command_txn txn;
    struct command_writer list;
    struct command_name called = {.key = name};
    uint8_t room[8];
    command_txn(&txn, command, &called, op->cas);
    command_list(&list, command);
    if (op->cas && op->expected == 0) {
        command_if(&list, &(struct command_condition){
                              .field = COMMAND_IF_EXISTS, .key = key});
    } else if (op->cas) {
        command_if(&list, &(struct command_condition){
                              .field = COMMAND_IF_VALUE,
                              .key = key,
                              .value = value_bytes(op->expected, room)});
    }
    command_end(&list);
    command_list(&list, command);
    add_put(&list, key, op->value);
    command_end(&list);
    if (op->cas) {
        command_list(&list, command);
        command_add(&list,
                    &(struct command_op){.type = COMMAND_GET, .key = key});
        command_end(&list);
    }
    command_sign(&txn, 1);
}

static void write_op(struct client *client, struct host *host, struct op *op)
{
    struct clients *clients = client->world->clients;
    struct buf *command = &clients->command;
    char key[16];
    char name[24] = "";
    struct command_writer writer;
    key_name(op->key, key);
    command->size = 0;
    if (op->named) {
        snprintf(name, sizeof(name), "op-%zu", (size_t)(op - clients->ops));
    }
    if (op->named || op->cas) {
        add_txn(command, op, bytes_of_string(key), bytes_of_string(name));
    } else {
        command_begin(&writer, command);
        add_put(&writer, bytes_of_string(key), op->value);
        command_end(&writer);
    }
    node_write(host->node, &client->request, buf_bytes(command));
}

/* Call the node as api/ would; the loop runs a turn soon after. */
static void send(struct client *client, struct host *host)
{
    struct sim_world *world = client->world;
    struct op *op = &world->clients->ops[client->op];
    client->host = host;
    client->request.cb = answered;
    client->request.deadline_ms =
        net_clock_ms(host) + 1000 + sim_below(world, 4000);
    if (op->write) {
        world->running = host;
        if (setjmp(world->died) == 0) {
            if (client->restoring.step) {
                write_restore(client, host);
            } else {
                write_op(client, host, op);
            }
        } else {
            must(false); /* A proposal touches no disk. */
        }
        world->running = NULL;
    } else {
        node_read(host->node, &client->request);
    }
    host->hook_due_ms = 0;
}

static void ask(struct client *client, struct host *host, bool write)
{
    struct sim_world *world = client->world;
    struct clients *clients = world->clients;
    must(clients->op_count < OPS_MAX);
    struct op *op = &clients->ops[clients->op_count];
    *op = (struct op){.key = (uint32_t)sim_below(world, world->swarm.keys),
                      .write = write,
                      .begin_us = world->now_us,
                      .end_us = UINT64_MAX};
    client->op = clients->op_count++;
    if (write) {
        op->value = sim_below(world, 8) == 0 ? 0 : ++clients->values;
    }
    if (write && client->number != CLIENTS_MAX) {
        op->named = sim_below(world, 2) == 0;
        op->cas = sim_below(world, 3) == 0;
        op->expected = op->cas ? clients->seen[op->key] : 0;
    }
    send(client, host);
}

void clients_init(struct sim_world *world)
{
    world->clients = mem_zalloc(sizeof(*world->clients));
    for (int i = 0; i <= CLIENTS_MAX; i++) {
        world->clients->all[i] =
            (struct client){.world = world,
                            .number = i,
                            .next_us = sim_below(world, 2 * SEC_US)};
    }
}

uint64_t clients_next_us(const struct sim_world *world)
{
    const struct clients *clients = world->clients;
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < world->swarm.clients && !clients->stopped; i++) {
        if (!clients->all[i].host) {
            next = min_u64(next, clients->all[i].next_us);
        }
    }
    return next;
}

static struct host *any_host(struct sim_world *world)
{
    struct host *host = &world->hosts[sim_below(world, world->swarm.hosts)];
    /* A client that meets a hung host tries another one. */
    bool hangs = world->now_us < host->paused_us ||
                 world->now_us + SEC_US < host->busy_us;
    return host_is_up(host) && !hangs ? host : NULL;
}

void clients_step(struct sim_world *world)
{
    struct clients *clients = world->clients;
    for (uint32_t i = 0; i < world->swarm.clients && !clients->stopped; i++) {
        struct client *client = &clients->all[i];
        if (client->host || client->next_us > world->now_us) {
            continue;
        }
        struct host *host = any_host(world);
        bool room = clients->op_count < world->swarm.keys * OPS_A_KEY;
        if (host && (client->attempts > 0 || client->restoring.step)) {
            send(client, host);
        } else if (host && room && sim_below(world, 60) == 0) {
            begin_restore(client);
            send(client, host);
        } else if (host && room) {
            ask(client, host, sim_below(world, 2) == 0);
        } else {
            client->next_us =
                world->now_us + sim_spread(world, world->swarm.pace_us);
        }
    }
}

/* The node is gone, with the lists that linked the request. */
static void forget(struct node_request *request)
{
    request->state = 0;
    list_init(&request->link);
}

void clients_host_gone(const struct host *host)
{
    struct sim_world *world = host->world;
    struct clients *clients = world->clients;
    for (int i = 0; i <= CLIENTS_MAX; i++) {
        struct client *client = &clients->all[i];
        if (client->host != host) {
            continue;
        }
        if (host->node) {
            node_cancel(host->node, &client->request);
        }
        forget(&client->request);
        client->host = NULL;
        if (client->restoring.step) {
            step_not_known(client);
        } else if (clients->ops[client->op].write) {
            not_known(client, &clients->ops[client->op]);
        } else {
            clients->ops[client->op].outcome = NOT_DONE;
        }
        client->next_us = world->now_us + sim_spread(world, 500 * MS_US);
    }
    for (uint32_t i = 0; i < world->swarm.hosts; i++) {
        struct host *other = &world->hosts[i];
        if (other->join_at == host->number) {
            if (host->node) {
                node_cancel(host->node, &other->join);
            }
            forget(&other->join);
            other->join_at = -1;
            other->join_us = world->now_us + 500 * MS_US;
        }
    }
}

void clients_burst(struct host *host, int count, bool write)
{
    struct clients *clients = host->world->clients;
    for (uint32_t i = 0; i < host->world->swarm.clients && count > 0; i++) {
        if (!clients->all[i].host && clients->all[i].attempts == 0 &&
            !clients->all[i].restoring.step && host_is_up(host)) {
            ask(&clients->all[i], host, write);
            count--;
        }
    }
}

void clients_stop(struct sim_world *world)
{
    struct clients *clients = world->clients;
    clients->stopped = true;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (!clients->all[i].host && clients->all[i].restoring.step) {
            step_not_known(&clients->all[i]);
        } else if (!clients->all[i].host && clients->all[i].attempts > 0) {
            not_known(&clients->all[i], &clients->ops[clients->all[i].op]);
        }
    }
}

bool clients_idle(struct sim_world *world)
{
    for (int i = 0; i <= CLIENTS_MAX; i++) {
        if (world->clients->all[i].host) {
            return false;
        }
    }
    return true;
}

void clients_probe(struct host *host)
{
    struct clients *clients = host->world->clients;
    clients->probe_ok = false;
    ask(&clients->all[CLIENTS_MAX], host, true);
}

bool clients_probe_done(const struct sim_world *world)
{
    return world->clients->probe_ok;
}

/* ---- the history ---- */

static bool is_read_by_somebody(const struct sim_world *world,
                                const struct op *written)
{
    const struct clients *clients = world->clients;
    for (size_t i = 0; i < clients->op_count; i++) {
        const struct op *op = &clients->ops[i];
        bool saw = !op->write ? op->value == written->value
                              : op->cas && op->expected == written->value;
        if (op->outcome == DONE && op->key == written->key && saw) {
            return true;
        }
    }
    return false;
}

uint64_t clients_repeated(const struct sim_world *world)
{
    return world->clients->repeated;
}

uint64_t clients_abandoned(const struct sim_world *world)
{
    return world->clients->abandoned;
}

uint64_t clients_restored(const struct sim_world *world)
{
    return world->clients->restored;
}

uint64_t clients_commits(const struct sim_world *world)
{
    return world->clients->commits;
}

bool clients_commit_is_open(const struct sim_world *world)
{
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (world->clients->all[i].restoring.step == COMMAND_RESTORE_COMMIT) {
            return true;
        }
    }
    return world->clients->unknown > 0;
}

static void print_history(const struct sim_world *world, uint32_t key)
{
    const struct clients *clients = world->clients;
    for (size_t i = 0; i < clients->op_count; i++) {
        const struct op *op = &clients->ops[i];
        if (op->key == key) {
            sim_trace(world, "  key-%u %s %llu begin %llu end %lld %s", key,
                      op->cas     ? "cas"
                      : op->write ? "write"
                                  : "read",
                      (unsigned long long)op->value,
                      (unsigned long long)op->begin_us, (long long)op->end_us,
                      op->outcome == DONE       ? "done"
                      : op->outcome == NOT_DONE ? "not done"
                                                : "unknown");
        }
    }
}

static void check_key(const struct sim_world *world, uint32_t key)
{
    const struct clients *clients = world->clients;
    struct linear_op history[LINEAR_OPS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < clients->op_count; i++) {
        const struct op *op = &clients->ops[i];
        if (op->key != key || op->outcome == PENDING) {
            continue;
        }
        if (op->write && op->value != 0 && op->outcome == NOT_DONE &&
            is_read_by_somebody(world, op)) {
            print_history(world, key);
            sim_fail(world, EXIT_CORRECTNESS,
                     "key-%u: %llu was refused, but was read", key,
                     (unsigned long long)op->value);
        }
        if (op->outcome == NOT_DONE) {
            continue;
        }
        /* A write of unknown outcome whose value was never read constrains
         * nothing. */
        if (op->write && op->outcome == UNKNOWN && op->value != 0 &&
            !is_read_by_somebody(world, op)) {
            continue;
        }
        must(count < LINEAR_OPS_MAX);
        history[count++] = (struct linear_op){.write = op->write,
                                              .cas = op->cas,
                                              .expected = op->expected,
                                              .value = op->value,
                                              .begin = op->begin_us,
                                              .end = op->end_us};
    }
    if (!linear_check(history, count)) {
        print_history(world, key);
        sim_fail(world, EXIT_CORRECTNESS,
                 "key-%u: not linearizable (%zu operations)", key, count);
    }
}

void clients_check(const struct sim_world *world)
{
    for (uint32_t key = 0; key < world->swarm.keys; key++) {
        check_key(world, key);
    }
}

void clients_free(struct sim_world *world)
{
    for (int i = 0; i <= CLIENTS_MAX; i++) {
        node_request_free(&world->clients->all[i].request);
    }
    buf_free(&world->clients->command);
    mem_free(world->clients);
    world->clients = NULL;
}
