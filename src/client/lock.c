/* lock.c -- craftd lock: runs a command while it holds a lock. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/lock_internal.h"
#include "sys/sys.h"

enum { GO_ON = -1, PAUSE_MS = 200 };

struct lock {
    const struct options *options;
    struct lease lease;
    struct queue queue;
    uint64_t until_ms; /* End of --wait; UINT64_MAX: there is none. */
    bool waited;       /* It has been in the queue. */
};

/* ---- getting it ---- */

/* A signal before the command runs ends this process, which leaves the queue
 * first. */
static void take_signals(struct lock *lock)
{
    int number;
    while ((number = signals_take()) != 0) {
        if (number != SIGCHLD && number != SIGCONT) {
            lease_revoke(&lock->lease);
            signals_die(number);
        }
    }
}

static int fail(struct lock *lock, int code)
{
    client_say(lock->options, "%s", lock->lease.why);
    return code;
}

/* A failure may pass: of servers that do not answer, once they have. */
static int fail_or_go_on(struct lock *lock, int code)
{
    if ((code == EXIT_AWAY || code == EXIT_UNKNOWN) && lock->waited) {
        signals_wait(PAUSE_MS);
        return GO_ON;
    }
    return client_is_interrupted() ? GO_ON : fail(lock, code);
}

/* Go to the end of the queue, with a new lease. */
static int join(struct lock *lock)
{
    char host[256] = "";
    char value[300];
    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(value, sizeof(value), "%s %ld", host, (long)getpid());
    lease_revoke(&lock->lease);
    int code = lease_create(&lock->lease);
    code = code ? code : queue_enter(&lock->queue, value);
    if (code) {
        lock->lease.gone = true; /* Begin anew. */
        return fail_or_go_on(lock, code);
    }
    if (lock->waited) {
        client_say(lock->options,
                   "the lease ended while it waited for %s: now "
                   "it waits at the end of the queue",
                   lock->queue.name);
    }
    lock->waited = true;
    return GO_ON;
}

static int give_up(struct lock *lock)
{
    const struct ticket *first = &lock->queue.first;
    client_say(lock->options, "%s is held by %s, index %llu", lock->queue.name,
               first->value[0] ? first->value : "another",
               (unsigned long long)first->index);
    return EXIT_NO;
}

/* Wait for a change of the ticket ahead, and keep the lease alive meanwhile. */
static int wait_in_queue(struct lock *lock)
{
    bool changed = false;
    while (!changed && lease_safe_ms(&lock->lease) > 0) {
        uint64_t now_ms = sys_now_ms();
        if (now_ms >= lock->until_ms) {
            return give_up(lock);
        }
        take_signals(lock);
        lease_keep(&lock->lease);
        uint64_t ms =
            min_u64(lease_due_ms(&lock->lease), lock->until_ms - now_ms);
        changed = queue_wait(&lock->queue, false, max_u64(ms, 1));
    }
    return GO_ON;
}

/* One step on the way to the lock. Returns an exit code, GO_ON, or EXIT_DONE
 * when it is held. */
static int step(struct lock *lock)
{
    take_signals(lock);
    if (!lock->lease.id[0] || lease_safe_ms(&lock->lease) == 0) {
        return join(lock);
    }
    lease_keep(&lock->lease);
    int code = queue_read(&lock->queue);
    if (code) {
        return fail_or_go_on(lock, code);
    }
    if (lock->queue.own.index == 0) {
        lock->lease.gone = true; /* Somebody has deleted the ticket. */
        return GO_ON;
    }
    if (lock->queue.ahead.index > 0) {
        return wait_in_queue(lock);
    }
    return lease_safe_ms(&lock->lease) > 0 ? EXIT_DONE : GO_ON;
}

/* ---- holding it ---- */

static void set_environment(const struct lock *lock)
{
    char token[24];
    (void)snprintf(token, sizeof(token), "%llu",
                   (unsigned long long)lock->queue.own.index);
    (void)setenv("CRAFTD_LOCK", lock->queue.name, 1);
    (void)setenv("CRAFTD_LOCK_KEY", lock->queue.own.key, 1);
    (void)setenv("CRAFTD_LOCK_TOKEN", token, 1);
    (void)setenv("CRAFTD_LEASE", lock->lease.id, 1);
}

/* Wait for the end of the command, and keep the lease alive. Returns whether it
 * was alive all the time. */
static bool hold(struct lock *lock, struct child *child)
{
    struct lease *lease = &lock->lease;
    uint64_t kill_ms = UINT64_MAX; /* Time to kill it. */
    for (;;) {
        child_take_signals(child);
        if (child->ended) {
            return kill_ms == UINT64_MAX && lease_left_ms(lease) > 0;
        }
        uint64_t now_ms = sys_now_ms();
        if (kill_ms == UINT64_MAX && lease_safe_ms(lease) == 0) {
            client_say(lock->options, "%s: %s: the command is ended",
                       lock->queue.name,
                       lease->gone ? "the lease is gone"
                                   : "the lease could not be renewed in time");
            child_signal(child, SIGTERM);
            child_signal(child, SIGCONT);
            kill_ms = now_ms +
                      (lease->gone ? lease->ttl_ms / 4 : lease_left_ms(lease));
        }
        if (now_ms >= kill_ms) {
            child_signal(child, SIGKILL);
        }
        lease_keep(lease);
        now_ms = sys_now_ms();
        uint64_t ms = lease->gone ? PAUSE_MS : lease_due_ms(lease);
        signals_wait(min_u64(ms, kill_ms == UINT64_MAX ? lease_safe_ms(lease)
                                 : kill_ms > now_ms    ? kill_ms - now_ms
                                                       : PAUSE_MS));
    }
}

static int run(struct lock *lock)
{
    struct child child;
    set_environment(lock);
    if (!child_start(&child, lock->options, lock->options->rest)) {
        return EXIT_FAILED;
    }
    bool held = hold(lock, &child);
    child_close(&child);
    if (!held) {
        client_say(lock->options, "%s was lost before the command had ended",
                   lock->queue.name);
    }
    return held ? child.code : EXIT_LOST;
}

int client_run_lock(const struct options *options)
{
    struct lock lock = {.options = options, .until_ms = UINT64_MAX};
    int code;
    if (!signals_catch(options)) {
        return EXIT_FAILED;
    }
    lease_init(&lock.lease, options);
    lock.queue =
        (struct queue){.lease = &lock.lease, .name = options->words[0]};
    if (options->has_wait) {
        lock.until_ms = sys_now_ms() + options->wait_ms;
    }
    do {
        code = step(&lock);
    } while (code == GO_ON);
    if (code == EXIT_DONE) {
        code = run(&lock);
    }
    client_interrupt_by(-1);
    lease_revoke(&lock.lease);
    return code;
}
