/* lock_internal.h -- what craftd lock and craftd elect are made of: a lease, a
 * queue for a name, and a command that runs while its lease lives.
 *
 * The recipe, of plain requests of the HTTP API: whoever wants NAME creates a
 * lease, and with it the key NAME/LEASE, its ticket. The ticket with the lowest
 * create_index holds the name, so it goes by the order of arrival, and the
 * create_index of holders only grows: it is the fencing token. Who waits
 * watches the ticket before its own, so that a release wakes one of them alone.
 * A ticket goes when its lease is revoked or expires. Keys under NAME/ of
 * another form are no tickets.
 *
 * A lease of TTL t that was renewed by a request sent at s lives at least until
 * s + t by the clock of this machine: the cluster grants t from when it carries
 * the request out, which is later. It is renewed each t/4. From s + 3t/4 on it
 * is endangered, and a command is asked to end; at s + t it counts as over,
 * whatever the cluster says, and the command is killed. Known limit: a clock
 * that runs slower than that of the leader, by more than the time that a
 * request takes, ends the command too late. Whatever the command changes should
 * check the token therefore. */
#ifndef CRAFTD_CLIENT_LOCK_INTERNAL_H
#define CRAFTD_CLIENT_LOCK_INTERNAL_H

#include <sys/types.h>

#include "client/client_internal.h"

enum {
    LEASE_ID_BYTES = 64,
    LOCK_NAME_MAX = 200,  /* With its ticket it must fit into a struct field. */
    LOCK_VALUE_MAX = 300, /* The value of a candidate is as long at most. */
    LOCK_KEY_BYTES = LOCK_NAME_MAX + 1 + LEASE_ID_BYTES,
    LOCK_TTL_MIN_MS = 1000,
};

/* ---- signals.c: signals as bytes of a pipe ---- */

/* From now on SIGCHLD, SIGCONT and the signals that end a process or are for
 * its command are caught, but for those that are ignored already. False: there
 * is no pipe; it has been explained on stderr. While one waits to be taken,
 * requests end early, as if nobody had answered. */
bool signals_catch(const struct options *options);
/* The next signal; 0: there is none. */
int signals_take(void);
/* Wait for one, up to that time. */
void signals_wait(uint64_t ms);
/* End this process by that signal, as it had without signals_catch(). */
NORETURN void signals_die(int number);

/* ---- lease.c ---- */

struct lease {
    struct options options; /* Those of the command, with a time limit of a
                               request that suits the TTL. */
    const char *list;       /* Servers behind `addr` in options.addr. */
    char
        addr[SERVER_BYTES]; /* The server to ask: the one that answered last. */
    uint64_t ttl_ms;
    uint64_t sent_ms;  /* Time when the request was sent that renewed it. */
    uint64_t retry_ms; /* Time before which it need not be renewed. */
    char id[LEASE_ID_BYTES]; /* "": there is none. */
    bool gone;               /* The cluster says that it is over. */
    char why[REQUEST_WHY_BYTES];
};

/* Start without a lease. */
void lease_init(struct lease *lease, const struct options *options);
/* Create one. Returns an exit code; a failure is in lease->why. */
int lease_create(struct lease *lease);
/* Renew it, if that is due: one server is asked, once. */
void lease_keep(struct lease *lease);
/* ms until it must be renewed, is endangered, is over; 0: it is time. */
uint64_t lease_due_ms(const struct lease *lease);
uint64_t lease_safe_ms(const struct lease *lease);
uint64_t lease_left_ms(const struct lease *lease);
/* Revoke it: what was attached to it is deleted. Failing that, it expires. Safe
 * without a lease. */
void lease_revoke(struct lease *lease);
/* Send a request to lease->addr, and while no server answers it to the others,
 * once each. It must be one that may be carried out twice. Returns an exit
 * code, with the reason in lease->why. */
int lease_ask(struct lease *lease, struct request *request);

/* ---- queue.c ---- */

/* A ticket of the queue, as the server showed it last. */
struct ticket {
    uint64_t index; /* create_index; 0: there is none. */
    char key[LOCK_KEY_BYTES];
    char value[320]; /* Cut when it is longer. */
};

struct queue {
    struct lease *lease;
    const char *name;
    uint64_t index; /* Of the state in which the tickets below are. */
    struct ticket own;
    struct ticket first; /* That of the holder. */
    struct ticket ahead; /* The one before our own. */
};

/* Put a ticket with that value into the queue, under the lease. Returns an exit
 * code, with the reason in lease->why. */
int queue_enter(struct queue *queue, const char *value);
/* Read the queue. Returns as queue_enter(). */
int queue_read(struct queue *queue);
/* Wait up to that time for a change since the queue was read: of the ticket
 * ahead, or, with `any`, of the whole queue. False: there was none. */
bool queue_wait(struct queue *queue, bool any, uint64_t ms);

/* ---- child.c: a command with a process group of its own ---- */

struct child {
    pid_t pid;    /* The process group has the same number. */
    int terminal; /* The terminal that was given to it, -1: none. */
    bool ended;
    int code; /* Its exit code, 128 + the number of the signal that ended it. */
};

/* Run a command, argv[0] by PATH. In the foreground of a terminal, it becomes
 * the foreground there. It is killed when this process dies, on Linux. False:
 * it has been explained on stderr. */
bool child_start(struct child *child, const struct options *options,
                 char *const *argv);
/* Take signals: pass them on to the command, and find out whether it has
 * ended. When it was stopped at the terminal, this process stops as well, until
 * it is continued. */
void child_take_signals(struct child *child);
/* Send a signal to the whole process group. */
void child_signal(const struct child *child, int number);
/* It has ended: take the terminal back. */
void child_close(struct child *child);

#endif
