/* keepalive.c -- keepalives of leases that share an entry of the log.
 *
 * Renewing a lease is an entry, so that it is in force at every node that may
 * lead next. A thousand clients that each renew one every few seconds would be
 * hundreds of entries a second, and as many syncs of each disk. So keepalives
 * are submitted in batches, one command with an operation for each:
 *
 *   - What arrives while a batch is on its way gathers in the next one.
 *   - A client that renews seldom can wait a little: for at most a part of the
 *     time since its connection renewed last, and of what its lease has left.
 *     One that renews many leases one after the other is not kept waiting, and
 *     neither is one of which nothing is known, on a new connection.
 *   - After GATHER_MS without keepalives the next one does not wait. */
#include "api/answer_internal.h"
#include "api/api_internal.h"
#include "api/conn_internal.h"
#include "api/keepalive_internal.h"
#include "api/ttl_internal.h"
#include "api/write_internal.h"
#include "node/node.h"
#include "reactor/reactor.h"

enum {
    GATHER_MS = 200,
    PATIENCE = 16,   /* One part in so many of its time a client can wait. */
    BATCH_MAX = 256, /* Operations of a command. */
};

struct keepalive_batch {
    struct api *api;
    struct list link;
    struct list members; /* struct conn, by keepalive.link, in the order of the
                            operations. */
    uint32_t count;      /* Members; then operations. */
    uint64_t due_ms;
    struct node_request call;
};

static uint64_t now(const struct api *api)
{
    return reactor_now_ms(api->options.reactor);
}

static struct conn *conn_of(struct list *link)
{
    return container_of(link, struct conn, keepalive.link);
}

static void consider(struct api *api);

static void free_batch(struct keepalive_batch *batch)
{
    must(list_empty(&batch->members));
    list_remove(&batch->link);
    node_request_free(&batch->call);
    mem_free(batch);
}

/* ---- the result ---- */

/* A node_request_cb. Members that have left are missing in the list, and their
 * results are skipped. */
static void on_done(struct node_request *request,
                    const struct node_result *result)
{
    struct keepalive_batch *batch =
        container_of(request, struct keepalive_batch, call);
    struct api *api = batch->api;
    struct result_reader reader;
    struct result_op op = {0};
    uint32_t at = 0;
    bool applied = result->outcome == NODE_OK &&
                   result_open(&reader, result->data) == ERR_OK &&
                   reader.head.status == RESULT_THEN;
    while (!list_empty(&batch->members)) {
        struct conn *conn = conn_of(batch->members.next);
        list_remove(&conn->keepalive.link);
        for (; applied && at <= conn->keepalive.at; at++) {
            enum err err = result_next(&reader, &op);
            must(err == ERR_OK);
        }
        api_finish_keepalive(conn, result, &op);
    }
    free_batch(batch);
    consider(api);
}

/* ---- submitting ---- */

static void add_operations(struct keepalive_batch *batch,
                           struct command_writer *list)
{
    batch->count = 0;
    for (struct list *at = batch->members.next; at != &batch->members;
         at = at->next) {
        struct conn *conn = conn_of(at);
        command_add(list, &(struct command_op){.type = COMMAND_LEASE_KEEP,
                                               .lease = conn->keepalive.lease});
        conn->keepalive.at = batch->count++;
    }
}

static void submit(struct api *api)
{
    struct api_keepalives *all = &api->keepalives;
    struct keepalive_batch *batch = all->open;
    struct buf *command = &api->command;
    struct command_name unnamed = {{0}, 0};
    struct command_txn txn;
    struct command_writer list;
    all->open = NULL;
    if (list_empty(&batch->members)) {
        free_batch(batch); /* All have left. */
        return;
    }
    lease_begin_command(&txn, &list, command, &unnamed);
    add_operations(batch, &list);
    command_end(&list);
    /* That of the oldest: the others came little later. */
    batch->call.deadline_ms =
        conn_of(batch->members.next)->request.call.deadline_ms;
    all->submitted_ms = now(api);
    list_add(&all->submitted, &batch->link);
    node_write(api->node, &batch->call, buf_bytes(command));
}

static void on_time(void *arg)
{
    consider(arg);
}

/* Submit the open batch if it is time to, or see to it that it will be. A batch
 * that is long on its way does not hold up the next one. */
static void consider(struct api *api)
{
    struct api_keepalives *all = &api->keepalives;
    if (!all->open) {
        return;
    }
    uint64_t at_ms = all->open->due_ms;
    if (!list_empty(&all->submitted)) {
        at_ms = max_u64(at_ms, all->submitted_ms + GATHER_MS);
    }
    if (at_ms <= now(api) || all->open->count >= BATCH_MAX) {
        timer_cancel(api->options.reactor, &all->timer);
        submit(api);
    } else {
        timer_arm(api->options.reactor, &all->timer, at_ms, on_time, api);
    }
}

/* ---- gathering ---- */

static uint64_t may_wait_ms(struct conn *conn, uint64_t lease)
{
    struct api *api = conn->api;
    struct store_lease found;
    uint64_t last_ms = conn->keepalive.last_ms;
    conn->keepalive.last_ms = now(api);
    if (last_ms == 0 || now(api) >= api->keepalives.submitted_ms + GATHER_MS ||
        node_lease_get(api->node, lease, &found) != ERR_OK) {
        return 0;
    }
    uint64_t part_ms = min_u64(now(api) - last_ms,
                               node_ttl_ms(api->node, found.deadline_ms, 0));
    return min_u64(part_ms / PATIENCE, GATHER_MS);
}

void api_keepalive_add(struct conn *conn, uint64_t lease)
{
    struct api *api = conn->api;
    struct api_keepalives *all = &api->keepalives;
    must(!conn->busy && list_empty(&conn->keepalive.link));
    uint64_t due_ms = now(api) + may_wait_ms(conn, lease);
    if (!all->open) {
        all->open = mem_zalloc(sizeof(*all->open));
        all->open->api = api;
        all->open->call.cb = on_done;
        all->open->due_ms = due_ms;
        list_init(&all->open->link);
        list_init(&all->open->members);
    }
    conn->busy = true;
    conn->keepalive.lease = lease;
    list_add(&all->open->members, &conn->keepalive.link);
    all->open->count++;
    all->open->due_ms = min_u64(all->open->due_ms, due_ms);
    consider(api);
}

void api_keepalive_close(struct conn *conn)
{
    list_remove(&conn->keepalive.link);
}

/* ---- all of them ---- */

void api_keepalives_init(struct api *api)
{
    list_init(&api->keepalives.submitted);
}

void api_keepalives_free(struct api *api)
{
    struct api_keepalives *all = &api->keepalives;
    timer_cancel(api->options.reactor, &all->timer);
    if (all->open) {
        free_batch(all->open);
    }
    while (!list_empty(&all->submitted)) {
        struct keepalive_batch *batch =
            container_of(all->submitted.next, struct keepalive_batch, link);
        node_cancel(api->node, &batch->call);
        free_batch(batch);
    }
}
