/* ttl_internal.h -- time-outs of keys, and leases: ttl.c, lease.c. */
#ifndef CRAFTD_API_TTL_INTERNAL_H
#define CRAFTD_API_TTL_INTERNAL_H

#include "api/conn_internal.h"
#include "command/command.h"

/* Read a duration that a time-out may have, or the id of a lease ("l-58").
 * NULL: it is one. Otherwise a sentence that says what it must be. */
const char *ttl_parse(struct bytes text, uint64_t *ttl_ms);
const char *lease_parse(struct bytes text, uint64_t *lease);
/* Returns whether ?ttl= or ?lease= has a wrong value, which is known before the
 * body has come; the route need not take them. True: answered 400. */
bool ttl_refused(struct conn *conn);
/* Make `put` a timed one if ?ttl= or ?lease= is given. False: answered. */
bool ttl_take(struct conn *conn, struct command_op *put);
/* Returns whether the sender may renew the lease, end it, or attach a key to
 * it, which prevents others from it: only who may write all its keys. Limit:
 * those that this node knows to be its keys at this moment. False: answered. */
bool lease_may_change(struct conn *conn, uint64_t lease);
/* Replace `command` by the head of one on leases, which has cluster time and no
 * condition; add its operations to `list`, and end that. */
void lease_begin_command(struct command_txn *txn, struct command_writer *list,
                         struct buf *command, const struct command_name *name);
/* Add milliseconds as seconds: 29.5. */
void ttl_add_seconds(struct buf *out, uint64_t ms);
/* Add the members ttl and lease (0: none), each after a comma. */
void ttl_add_members(struct buf *out, uint64_t ttl_ms, uint64_t lease);

#endif
