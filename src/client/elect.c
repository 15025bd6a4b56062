/* elect.c -- craftd elect: takes part in an election, or observes it. */
#include <signal.h>
#include <stdio.h>

#include "client/lock_internal.h"

enum { PAUSE_MS = 200, OBSERVE_MS = 30000 };

struct election {
    const struct options *options;
    const char *value; /* NULL: it is only observed. */
    struct lease lease;
    struct queue queue;
    uint64_t
        shown; /* Ticket of the leader that was printed last; 0: none, ... */
    bool any;  /* ... if there was a line at all. */
    bool answered; /* A server has answered. */
};

static bool is_candidate(const struct election *election)
{
    return election->value != NULL;
}

/* Print a line if the leader is another than that of the last one. */
static int show(struct election *election, const struct ticket *leader)
{
    struct buf line = {0};
    if (election->any && election->shown == leader->index) {
        return EXIT_DONE;
    }
    bool own =
        leader->index > 0 && strcmp(leader->key, election->queue.own.key) == 0;
    buf_printf(&line, "%s\t%llu\t%s\n",
               leader->index == 0 ? "none"
               : own              ? "leader"
                                  : "follower",
               (unsigned long long)leader->index, leader->value);
    election->any = true;
    election->shown = leader->index;
    int code = client_print_bytes(election->options, buf_bytes(&line));
    buf_free(&line);
    return code;
}

/* Resign, and end as the signal would have. */
static void take_signals(struct election *election)
{
    int number;
    while ((number = signals_take()) != 0) {
        if (number != SIGCHLD && number != SIGCONT) {
            client_interrupt_by(-1);
            lease_revoke(&election->lease);
            signals_die(number);
        }
    }
}

/* A failure may pass, once a server has answered. */
static int fail(struct election *election, int code)
{
    if (client_is_interrupted()) {
        return EXIT_DONE;
    }
    if ((code == EXIT_AWAY || code == EXIT_UNKNOWN) && election->answered) {
        signals_wait(PAUSE_MS);
        return EXIT_DONE;
    }
    client_say(election->options, "%s", election->lease.why);
    return code;
}

/* Become a candidate, again if the lease is over: then somebody else may lead
 * already. */
static int campaign(struct election *election)
{
    static struct ticket none; /* Not const: then it is in no file. */
    int code = election->shown > 0 ? show(election, &none) : EXIT_DONE;
    if (code) {
        return code;
    }
    lease_revoke(&election->lease);
    code = lease_create(&election->lease);
    code = code ? code : queue_enter(&election->queue, election->value);
    if (code) {
        election->lease.gone = true;
        return fail(election, code);
    }
    return EXIT_DONE;
}

static int step(struct election *election)
{
    struct lease *lease = &election->lease;
    take_signals(election);
    if (is_candidate(election) &&
        (!lease->id[0] || lease_safe_ms(lease) == 0)) {
        int code = campaign(election);
        if (code || lease->gone) {
            return code;
        }
    }
    int code = queue_read(&election->queue);
    if (code) {
        if (is_candidate(election)) {
            lease_keep(lease);
        }
        return fail(election, code);
    }
    election->answered = true;
    if (is_candidate(election) && election->queue.own.index == 0) {
        lease->gone = true; /* Somebody has deleted the ticket. */
        return EXIT_DONE;
    }
    if (is_candidate(election) && lease_safe_ms(lease) == 0) {
        return EXIT_DONE;
    }
    return show(election, &election->queue.first);
}

/* Wait for a change of the queue, and keep the lease alive meanwhile. */
static void wait_for_change(struct election *election)
{
    struct lease *lease = &election->lease;
    bool changed = false;
    while (!changed && !client_is_interrupted()) {
        uint64_t ms = OBSERVE_MS;
        if (is_candidate(election)) {
            lease_keep(lease);
            if (lease_safe_ms(lease) == 0) {
                return;
            }
            ms = max_u64(lease_due_ms(lease), 1);
        }
        changed = queue_wait(&election->queue, true, ms);
    }
}

int client_run_elect(const struct options *options)
{
    struct election election = {
        .options = options,
        .value = options->word_count > 1 ? options->words[1] : NULL};
    int code;
    if (!signals_catch(options)) {
        return EXIT_FAILED;
    }
    lease_init(&election.lease, options);
    election.queue =
        (struct queue){.lease = &election.lease, .name = options->words[0]};
    while ((code = step(&election)) == EXIT_DONE) {
        if (election.queue.index > 0 && !election.lease.gone) {
            wait_for_change(&election);
        }
    }
    client_interrupt_by(-1);
    lease_revoke(&election.lease);
    return code;
}
