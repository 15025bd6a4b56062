/* feed.c -- the ring of the last changes, and the index of those who follow it.
 *
 * Events have sequence numbers, [first, next) are in the ring. Those in
 * [committed, next) belong to an entry that is being applied. Slot seq %
 * events_max has an event's numbers; its key and value lie in `data`, one
 * behind the other, at a position that only grows: modulo bytes_max it is the
 * offset. An event does not wrap around the end of `data`, and skips it
 * instead.
 *
 * Followers have received everything up to sequence number `delivered`. If an
 * event is dropped before that, those whom it concerns are lost, and only they.
 */
#include "node/feed.h"

#include "base/rng.h"

enum {
    KEY_BYTES_MAX = 1024, /* Keys and prefixes; longer prefixes match none. */
    BUCKETS_MIN = 64,
};

struct slot {
    uint64_t index;
    uint64_t create_index;
    uint64_t prev_index;
    uint64_t at; /* Position in `data`. */
    uint32_t key_size;
    uint32_t value_size;
    uint8_t type;
    bool expired;
};

struct feed {
    struct slot *slots;
    uint32_t events_max;
    uint8_t *data;
    uint64_t bytes_max;
    uint64_t end; /* Position behind the last event. */
    uint64_t first;
    uint64_t next;
    uint64_t committed;
    uint64_t delivered;
    uint64_t index; /* Last entry that was committed. */
    uint64_t floor; /* Last entry of which an event was dropped, or before which
                       nothing is known. */
    uint64_t added;
    /* Followers: a hash table of struct feed_watch, by link. */
    struct list *buckets;
    uint32_t bucket_count; /* A power of two. */
    uint32_t follower_count;
    uint64_t seed;
    /* Number of prefixes watched by length, and the lengths in use, in
     * ascending order. */
    uint32_t by_length[KEY_BYTES_MAX + 1];
    uint16_t lengths[KEY_BYTES_MAX + 1];
    uint32_t length_count;
    struct list lost; /* Not yet notified. */
    feed_round_cb *round_cb;
    void *round_arg;
};

static struct slot *slot_of(const struct feed *feed, uint64_t seq)
{
    return &feed->slots[seq % feed->events_max];
}

static struct feed_event event_of(const struct feed *feed, uint64_t seq)
{
    const struct slot *slot = slot_of(feed, seq);
    const uint8_t *key = feed->data + slot->at % feed->bytes_max;
    return (struct feed_event){
        .type = (enum feed_type)slot->type,
        .expired = slot->expired,
        .index = slot->index,
        .create_index = slot->create_index,
        .prev_index = slot->prev_index,
        .key = bytes_of(key, slot->key_size),
        .value = bytes_of(key + slot->key_size, slot->value_size),
    };
}

/* ---- the index ---- */

/* FNV-1a, from which the hash of a key is that of each of its prefixes
 * continued. */
static uint64_t hash_more(uint64_t hash, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * 0x100000001b3u;
    }
    return hash;
}

static struct list *bucket_of(const struct feed *feed, uint64_t hash,
                              bool is_prefix)
{
    uint64_t mixed = mix_u64(hash + is_prefix);
    return &feed->buckets[mixed & (feed->bucket_count - 1)];
}

static struct list *bucket_for(const struct feed *feed,
                               const struct feed_watch *watch)
{
    uint64_t hash = hash_more(feed->seed, watch->key.data, watch->key.size);
    return bucket_of(feed, hash, watch->is_prefix);
}

static struct list *new_buckets(uint32_t count)
{
    struct list *buckets = mem_alloc(count * sizeof(buckets[0]));
    for (uint32_t i = 0; i < count; i++) {
        list_init(&buckets[i]);
    }
    return buckets;
}

static void grow(struct feed *feed)
{
    struct list *old = feed->buckets;
    uint32_t old_count = feed->bucket_count;
    feed->bucket_count *= 2;
    feed->buckets = new_buckets(feed->bucket_count);
    for (uint32_t i = 0; i < old_count; i++) {
        while (!list_empty(&old[i])) {
            struct feed_watch *watch =
                container_of(old[i].next, struct feed_watch, link);
            list_remove(&watch->link);
            list_add(bucket_for(feed, watch), &watch->link);
        }
    }
    mem_free(old);
}

static void use_length(struct feed *feed, size_t length)
{
    if (feed->by_length[length]++ > 0) {
        return;
    }
    uint32_t at = feed->length_count++;
    for (; at > 0 && feed->lengths[at - 1] > length; at--) {
        feed->lengths[at] = feed->lengths[at - 1];
    }
    feed->lengths[at] = (uint16_t)length;
}

static void release_length(struct feed *feed, size_t length)
{
    must(feed->by_length[length] > 0);
    if (--feed->by_length[length] > 0) {
        return;
    }
    uint32_t at = 0;
    while (feed->lengths[at] != length) {
        at++;
    }
    feed->length_count--;
    for (; at < feed->length_count; at++) {
        feed->lengths[at] = feed->lengths[at + 1];
    }
}

static void enter(struct feed *feed, struct feed_watch *watch)
{
    if (feed->follower_count >= feed->bucket_count) {
        grow(feed);
    }
    list_add(bucket_for(feed, watch), &watch->link);
    feed->follower_count++;
    if (watch->is_prefix) {
        use_length(feed, watch->key.size);
    }
    watch->state = FEED_FOLLOWING;
}

/* Out of the index, or of the list of the lost. */
static void leave(struct feed *feed, struct feed_watch *watch)
{
    if (watch->state == FEED_FOLLOWING) {
        feed->follower_count--;
        if (watch->is_prefix) {
            release_length(feed, watch->key.size);
        }
    }
    list_remove(&watch->link);
}

static void lose(struct feed *feed, struct feed_watch *watch)
{
    leave(feed, watch);
    watch->state = FEED_LOST;
    list_add(&feed->lost, &watch->link);
}

static bool concerns(const struct feed_watch *watch, const struct slot *slot,
                     const uint8_t *key)
{
    size_t size = watch->key.size;
    return (watch->types & slot->type) && slot->index > watch->after &&
           (watch->is_prefix ? slot->key_size >= size
                             : slot->key_size == size) &&
           (size == 0 || memcmp(watch->key.data, key, size) == 0);
}

/* Visit those that watch the first `size` bytes of the event's key, as a prefix
 * or as the key. Others in the bucket have their own turn. */
static void visit_bucket(struct feed *feed, struct list *bucket, uint64_t seq,
                         bool is_prefix, size_t size,
                         void (*visit)(struct feed *feed,
                                       struct feed_watch *watch, uint64_t seq))
{
    const struct slot *slot = slot_of(feed, seq);
    const uint8_t *key = feed->data + slot->at % feed->bytes_max;
    for (struct list *at = bucket->next; at != bucket;) {
        struct feed_watch *watch = container_of(at, struct feed_watch, link);
        at = at->next;
        if (watch->is_prefix == is_prefix && watch->key.size == size &&
            watch->next <= seq && concerns(watch, slot, key)) {
            visit(feed, watch, seq);
        }
    }
}

/* Visit the followers that an event concerns and that have not read it. A visit
 * may remove its own watcher from the index. */
static void visit_concerned(struct feed *feed, uint64_t seq,
                            void (*visit)(struct feed *feed,
                                          struct feed_watch *watch,
                                          uint64_t seq))
{
    const struct slot *slot = slot_of(feed, seq);
    const uint8_t *key = feed->data + slot->at % feed->bytes_max;
    uint64_t hash = feed->seed;
    size_t hashed = 0;
    for (uint32_t i = 0; i < feed->length_count;) {
        size_t length = feed->lengths[i];
        if (length > slot->key_size) {
            break;
        }
        hash = hash_more(hash, key + hashed, length - hashed);
        hashed = length;
        visit_bucket(feed, bucket_of(feed, hash, true), seq, true, length,
                     visit);
        /* The visit may have removed the last prefix of this length. */
        i += i < feed->length_count && feed->lengths[i] == length;
    }
    hash = hash_more(hash, key + hashed, slot->key_size - hashed);
    visit_bucket(feed, bucket_of(feed, hash, false), seq, false, slot->key_size,
                 visit);
}

/* ---- the ring ---- */

struct feed *feed_new(uint32_t events_max, size_t bytes_max, uint64_t seed)
{
    must(events_max > 0 && bytes_max > 0);
    struct feed *feed = mem_zalloc(sizeof(*feed));
    feed->events_max = events_max;
    feed->bytes_max = bytes_max;
    feed->slots = mem_alloc(events_max * sizeof(feed->slots[0]));
    feed->data = mem_alloc(bytes_max);
    feed->bucket_count = BUCKETS_MIN;
    feed->buckets = new_buckets(BUCKETS_MIN);
    feed->seed = mix_u64(seed);
    list_init(&feed->lost);
    return feed;
}

void feed_free(struct feed *feed)
{
    if (!feed) {
        return;
    }
    must(feed->follower_count == 0 && list_empty(&feed->lost));
    mem_free(feed->slots);
    mem_free(feed->data);
    mem_free(feed->buckets);
    mem_free(feed);
}

static void lose_visit(struct feed *feed, struct feed_watch *watch,
                       uint64_t seq)
{
    (void)seq;
    lose(feed, watch);
}

/* Drop the oldest event. */
static void drop_first(struct feed *feed)
{
    must(feed->first < feed->next);
    if (feed->first >= feed->delivered) {
        if (feed->follower_count > 0) {
            visit_concerned(feed, feed->first, lose_visit);
        }
        feed->delivered = feed->first + 1;
    }
    feed->floor = max_u64(feed->floor, slot_of(feed, feed->first)->index);
    feed->first++;
    feed->committed = max_u64(feed->committed, feed->first);
}

void feed_add(struct feed *feed, const struct feed_event *event)
{
    uint64_t size = (uint64_t)event->key.size + event->value.size;
    if (event->index <= feed->index) {
        return;
    }
    if (size > feed->bytes_max || event->key.size > KEY_BYTES_MAX) {
        feed_reset(feed, event->index); /* It cannot be kept. */
        return;
    }
    uint64_t at = feed->end;
    if (at % feed->bytes_max + size > feed->bytes_max) {
        at += feed->bytes_max - at % feed->bytes_max;
    }
    while (feed->first < feed->next &&
           (feed->next - feed->first == feed->events_max ||
            at + size - slot_of(feed, feed->first)->at > feed->bytes_max)) {
        drop_first(feed);
    }
    *slot_of(feed, feed->next) = (struct slot){
        .index = event->index,
        .create_index = event->create_index,
        .prev_index = event->prev_index,
        .at = at,
        .key_size = (uint32_t)event->key.size,
        .value_size = (uint32_t)event->value.size,
        .type = (uint8_t)event->type,
        .expired = event->expired,
    };
    uint8_t *out = feed->data + at % feed->bytes_max;
    memcpy(out, event->key.data, event->key.size);
    if (event->value.size > 0) {
        memcpy(out + event->key.size, event->value.data, event->value.size);
    }
    feed->end = at + size;
    feed->next++;
}

void feed_undo(struct feed *feed)
{
    if (feed->committed < feed->next) {
        feed->end = slot_of(feed, feed->committed)->at;
        feed->next = feed->committed;
    }
}

void feed_commit(struct feed *feed, uint64_t index)
{
    must(feed->committed <= feed->next);
    feed->added += feed->next - feed->committed;
    feed->committed = feed->next;
    feed->index = max_u64(feed->index, index);
    if (feed->follower_count == 0) {
        feed->delivered = feed->committed; /* There is nobody to visit. */
    }
}

void feed_reset(struct feed *feed, uint64_t index)
{
    for (uint32_t i = 0; i < feed->bucket_count; i++) {
        while (!list_empty(&feed->buckets[i])) {
            lose(feed,
                 container_of(feed->buckets[i].next, struct feed_watch, link));
        }
    }
    /* A number is skipped, so that those behind are lost that have read all. */
    feed->next++;
    feed->first = feed->next;
    feed->committed = feed->next;
    feed->delivered = feed->next;
    feed->index = max_u64(feed->index, index);
    feed->floor = feed->index;
}

/* ---- delivery ---- */

static void deliver_visit(struct feed *feed, struct feed_watch *watch,
                          uint64_t seq)
{
    struct feed_event event = event_of(feed, seq);
    watch->next = seq;
    watch->cb(watch, &event);
}

bool feed_is_pending(const struct feed *feed)
{
    return feed->delivered < feed->committed || !list_empty(&feed->lost);
}

bool feed_deliver(struct feed *feed)
{
    while (!list_empty(&feed->lost)) {
        struct feed_watch *watch =
            container_of(feed->lost.next, struct feed_watch, link);
        list_remove(&watch->link);
        watch->cb(watch, NULL);
    }
    if (feed->delivered == feed->committed) {
        return false;
    }
    uint64_t index = slot_of(feed, feed->delivered)->index;
    while (feed->delivered < feed->committed &&
           slot_of(feed, feed->delivered)->index == index) {
        if (feed->follower_count > 0) {
            visit_concerned(feed, feed->delivered, deliver_visit);
        }
        feed->delivered++;
    }
    return true;
}

void feed_on_round(struct feed *feed, feed_round_cb *cb, void *arg)
{
    feed->round_cb = cb;
    feed->round_arg = arg;
}

void feed_end_round(struct feed *feed)
{
    if (feed->round_cb) {
        feed->round_cb(feed->round_arg);
    }
}

/* ---- watchers ---- */

/* Sequence number of the first committed event after index `since`. */
static uint64_t find_after(const struct feed *feed, uint64_t since)
{
    uint64_t low = feed->first;
    uint64_t high = feed->committed;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (slot_of(feed, middle)->index > since) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

enum err feed_open(struct feed *feed, struct feed_watch *watch, uint64_t since)
{
    must(watch->state == FEED_CLOSED && watch->cb);
    must(watch->key.size <= KEY_BYTES_MAX);
    if (since < feed->floor) {
        return ERR_NOT_FOUND;
    }
    list_init(&watch->link);
    watch->state = FEED_BEHIND;
    watch->after = since;
    watch->next = find_after(feed, since);
    return ERR_OK;
}

enum err feed_next(struct feed *feed, struct feed_watch *watch, uint64_t upto,
                   uint32_t *budget, struct feed_event *event)
{
    must(watch->state == FEED_BEHIND || watch->state == FEED_LOST);
    if (watch->state == FEED_LOST || watch->next < feed->first) {
        return ERR_CLOSED;
    }
    while (watch->next < feed->committed) {
        const struct slot *slot = slot_of(feed, watch->next);
        if (slot->index > upto) {
            break;
        }
        if (*budget == 0) {
            return ERR_BUSY;
        }
        (*budget)--;
        const uint8_t *key = feed->data + slot->at % feed->bytes_max;
        watch->next++;
        if (concerns(watch, slot, key)) {
            *event = event_of(feed, watch->next - 1);
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

void feed_follow(struct feed *feed, struct feed_watch *watch)
{
    must(watch->state == FEED_BEHIND && watch->next == feed->committed);
    enter(feed, watch);
}

void feed_fall_behind(struct feed *feed, struct feed_watch *watch)
{
    must(watch->state == FEED_FOLLOWING);
    leave(feed, watch);
    watch->state = FEED_BEHIND;
}

void feed_close(struct feed *feed, struct feed_watch *watch)
{
    if (watch->state != FEED_CLOSED) {
        leave(feed, watch);
        watch->state = FEED_CLOSED;
    }
}

/* ---- state ---- */

uint64_t feed_floor(const struct feed *feed)
{
    return feed->floor;
}

uint64_t feed_index(const struct feed *feed)
{
    return feed->index;
}

uint64_t feed_delivered(const struct feed *feed)
{
    return feed->delivered == feed->committed
               ? feed->index
               : slot_of(feed, feed->delivered)->index - 1;
}

void feed_get_stats(const struct feed *feed, struct feed_stats *stats)
{
    uint64_t events = feed->committed - feed->first;
    *stats = (struct feed_stats){
        .events = (uint32_t)events,
        .bytes = events > 0 ? feed->end - slot_of(feed, feed->first)->at : 0,
        .added = feed->added,
    };
}

uint64_t feed_index_read(const struct feed *feed,
                         const struct feed_watch *watch)
{
    must(watch->state != FEED_CLOSED);
    if (watch->state == FEED_FOLLOWING) {
        return feed_delivered(feed);
    }
    uint64_t next = max_u64(watch->next, feed->first);
    return next >= feed->committed ? feed->index
                                   : slot_of(feed, next)->index - 1;
}
