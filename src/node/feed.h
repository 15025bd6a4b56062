/* feed.h -- the change feed: the last changes of the state machine, and those
 * who watch them.
 *
 * apply.c adds every change of a key, in the order of the log, to a ring of
 * bounded size: at most `events_max` events and `bytes_max` bytes of keys and
 * values. When it is full, the oldest event is dropped. So a watcher can resume
 * after any index that is not below feed_floor(): all later events are here.
 *
 * A watcher (struct feed_watch) has one of these states:
 *
 *     behind     it reads events at its own pace, by feed_next()
 *     following  it has read all, and its callback receives each new event
 *     lost       an event that it has not read was dropped, or all keys were
 *                replaced (a restore, an installed snapshot)
 *
 * Following watchers are found by a hash of their key or prefix. The cost of an
 * event is that of the watchers which it concerns, and of one lookup for each
 * distinct length of a watched prefix: others cost nothing. A watcher that is
 * behind costs nothing either until it reads.
 *
 * Nothing here calls the node. Callbacks run in feed_deliver() only. */
#ifndef CRAFTD_NODE_FEED_H
#define CRAFTD_NODE_FEED_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/list.h"

/* The daemon's bounds of the ring; --history changes the first. */
enum { FEED_EVENTS_MAX = 10000, FEED_BYTES_MAX = 8 << 20 };

/* Bits, for a watcher's selection. */
enum feed_type { FEED_PUT = 1, FEED_DELETE = 2 };
enum { FEED_ALL = FEED_PUT | FEED_DELETE };

/* One change of a key. Views are valid until the feed changes. */
struct feed_event {
    enum feed_type type;
    bool expired;          /* FEED_DELETE: its time was over. */
    uint64_t index;        /* Log index of the entry that made it. */
    uint64_t create_index; /* Log index of the write that created the key. */
    uint64_t prev_index;   /* Log index of the key's change before this one; 0:
                              the key is new. */
    struct bytes key;
    struct bytes value; /* FEED_PUT only. */
};

enum feed_state { FEED_CLOSED, FEED_BEHIND, FEED_FOLLOWING, FEED_LOST };

struct feed_watch;
/* A new event for a following watcher; views are valid during the call.
 * `event` NULL: the watcher is lost. The callback may close its own watcher, or
 * put it behind by feed_fall_behind(), and must not touch the others. */
typedef void feed_cb(struct feed_watch *watch, const struct feed_event *event);

/* A watcher, in the caller's memory: zero at first. It must not move or be
 * freed before feed_close(). */
struct feed_watch {
    /* PUBLIC: set before feed_open(), and unchanged until feed_close(). */
    feed_cb *cb;
    struct bytes key; /* Borrowed. */
    bool is_prefix;   /* All keys that begin with `key`; else that key alone. */
    uint8_t types;    /* Bits of enum feed_type. */
    /* READ-ONLY */
    enum feed_state state;
    /* PRIVATE to feed.c */
    struct list link; /* In a bucket, or among the lost that are not notified.
                       */
    uint64_t after;   /* Events up to this index are not for it. */
    uint64_t next;    /* Sequence number of the first event that it has not
                         read. */
};

struct feed;

/* `seed` is random, for the hash. */
struct feed *feed_new(uint32_t events_max, size_t bytes_max, uint64_t seed);
/* Every watcher must have been closed. NULL is fine. */
void feed_free(struct feed *feed);

/* ---- the ring, for the node ---- */

/* Add a change made by entry event->index; copied. One of an entry that was
 * committed before is ignored: after a shortage of space entries are applied
 * again, with the same effect. */
void feed_add(struct feed *feed, const struct feed_event *event);
/* Drop the events added since the last feed_commit(). */
void feed_undo(struct feed *feed);
/* All events of the entries up to `index` have been added. */
void feed_commit(struct feed *feed, uint64_t index);
/* Everything up to `index` was replaced: drop all events. All watchers are
 * lost. */
void feed_reset(struct feed *feed, uint64_t index);

/* Notify watchers of the events of the next entry, and those that are lost.
 * False: there was nothing more to do. */
bool feed_deliver(struct feed *feed);
/* True when feed_deliver() has something to do. */
bool feed_is_pending(const struct feed *feed);
/* Called by feed_end_round(), which follows one or more calls of
 * feed_deliver(). */
typedef void feed_round_cb(void *arg);
void feed_on_round(struct feed *feed, feed_round_cb *cb, void *arg);
void feed_end_round(struct feed *feed);

/* ---- watchers ---- */

/* Start to watch changes of entries after index `since`, behind. `since` may be
 * greater than the last index. ERR_NOT_FOUND: it is below feed_floor(); the
 * watcher stays closed. */
MUST_CHECK enum err feed_open(struct feed *feed, struct feed_watch *watch,
                              uint64_t since);
/* The next event for a watcher that is behind, of an entry up to `upto`. Its
 * views are valid until the feed changes. The events in between are examined
 * one by one, and the ring may be long: `budget` is the number of events that
 * may be examined, and is reduced by those that were. ERR_NOT_FOUND  there is
 * none ERR_BUSY       the budget is used up: go on in a later turn ERR_CLOSED
 * the watcher is lost */
MUST_CHECK enum err feed_next(struct feed *feed, struct feed_watch *watch,
                              uint64_t upto, uint32_t *budget,
                              struct feed_event *event);
/* Follow from now on. The watcher is behind, and feed_next() up to UINT64_MAX
 * has just returned ERR_NOT_FOUND. */
void feed_follow(struct feed *feed, struct feed_watch *watch);
/* In the callback of a following watcher: it has not taken the event, and reads
 * it, and all after it, by feed_next(). */
void feed_fall_behind(struct feed *feed, struct feed_watch *watch);
/* Safe on a closed one. */
void feed_close(struct feed *feed, struct feed_watch *watch);

/* ---- state ---- */

/* The least index after which a watcher can start. */
uint64_t feed_floor(const struct feed *feed);
/* The last entry whose events have been added. */
uint64_t feed_index(const struct feed *feed);
/* Every event up to this index has been delivered to those that follow. */
uint64_t feed_delivered(const struct feed *feed);

struct feed_stats {
    uint32_t events; /* In the ring now, ... */
    uint64_t bytes;  /* ... and their keys and values. */
    uint64_t added;  /* Since the start. */
};
void feed_get_stats(const struct feed *feed, struct feed_stats *stats);
/* A watcher that is not closed has received or read every event up to this
 * index that concerns it. */
uint64_t feed_index_read(const struct feed *feed,
                         const struct feed_watch *watch);

#endif
