/* notify.h -- reports the state of the daemon to the service manager that has
 * started it, by the protocol of sd_notify(3): datagrams to the Unix socket of
 * NOTIFY_SOCKET, a path, or "@name" in the abstract namespace of Linux.
 *
 *   READY=1      the listeners are open, and the log and the database are
 *                recovered. It does not wait for a leader or for --join, which
 *                may take for ever: STATUS says so, and /readyz is for that.
 *   STATUS=      a sentence about the role of the node, when it changes.
 *   RELOADING=1  SIGHUP has arrived; READY=1 follows once the files are read.
 *   WATCHDOG=1   a turn of the event loop has ended, twice in WATCHDOG_USEC: a
 *                loop that hangs sends none, so that the manager restarts it.
 *   STOPPING=1   the node has begun to stop, for whatever reason.
 *
 * The socket is connected before the sandbox forbids new ones, and the sandbox
 * keeps it connected to the manager (notify_descriptor()). Sending never
 * blocks; what does not fit into the queue of the manager is sent later. There
 * is one manager, and so one connection for the process. */
#ifndef CRAFTD_NOTIFY_H
#define CRAFTD_NOTIFY_H

#include "base/base.h"
#include "node/node.h"

/* Connect to the manager, if there is one. A socket that cannot be used is
 * logged: the node runs without. */
void notify_open(void);
/* The connected socket, for sandbox_enter(); -1: there is none. */
int notify_descriptor(void);

/* The node runs from now on. Without a manager this does nothing, as do the
 * others. */
void notify_ready(void);
/* SIGHUP: the files are read between these two. Nothing is reported about it
 * before notify_ready(), since that would end the start, nor during a stop. */
void notify_reloading(void);
void notify_reloaded(void);
void notify_stopping(void);

/* Call it in every turn of the event loop: sends STATUS and WATCHDOG when they
 * are due, and what could not be sent before. Times are milliseconds of
 * reactor_now_ms(). Returns the time of the next call at the latest, UINT64_MAX
 * when none is needed. */
uint64_t notify_run(const struct node *node, uint64_t now_ms);

void notify_close(void);

#endif
