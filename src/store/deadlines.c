/* deadlines.c -- when keys and leases end.
 *
 * The row of a key says when it ends: at a deadline in cluster time, or with a
 * lease (the lease's id, with bit LEASE_BIT). Table deadlines finds them again.
 * It is an ordered table of the two tiers and the database as any other, so
 * nothing has to be rebuilt when a database is opened, and keys without a
 * deadline cost nothing. Its keys, in big-endian so that they are in order:
 *
 *     u8 1 | u64 deadline | u8 0 | u64 lease   a lease ends; no value
 *     u8 1 | u64 deadline | u8 1 | key         a key ends; no value
 *     u8 2 | u64 lease | key                   a key is attached; no value
 *     u8 3 | u64 lease                         a lease; its value is
 *                                              u64 ttl_ms | u64 deadline |
 *                                              u64 keys, little-endian
 *
 * What is due is deleted by an entry, COMMAND_EXPIRE, in the order of the
 * table. A lease ends with all its keys at once. A deadline lies after the time
 * of the entry that sets it, so nothing is ever inserted before the last
 * deadline that was found due: searches start there (`floor_ms`), and do not
 * pass the tombstones of all that has expired since the last flush. */
#include "store/store_internal.h"

enum {
    OF_DEADLINE = 1,
    OF_LEASE = 2,
    LEASE = 3,
    ENDS_LEASE = 0,
    ENDS_KEY = 1,
    PREFIX_BYTES = 1 + 8,
    KEY_BYTES_MAX = PREFIX_BYTES + 1 + COMMAND_KEY_BYTES_MAX,
};
#define LEASE_BIT (UINT64_C(1) << 63)
_Static_assert(COMMAND_LEASE_MAX < LEASE_BIT, "an id does not have the bit");

struct index_key {
    size_t size;
    uint8_t data[KEY_BYTES_MAX];
};

static void add_number(struct index_key *key, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8) {
        key->data[key->size++] = (uint8_t)(number >> shift);
    }
}

static uint64_t get_number(const uint8_t *data)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) {
        number = number << 8 | data[i];
    }
    return number;
}

static struct index_key prefix(uint8_t kind, uint64_t number)
{
    struct index_key key;
    key.size = 0;
    key.data[key.size++] = kind;
    add_number(&key, number);
    return key;
}

static void add_key(struct index_key *to, struct bytes key)
{
    must(to->size + key.size <= KEY_BYTES_MAX);
    memcpy(to->data + to->size, key.data, key.size);
    to->size += key.size;
}

static struct bytes view(const struct index_key *key)
{
    return bytes_of(key->data, key->size);
}

/* ---- rows of the table ---- */

static void set_row(struct store *store, const struct index_key *key,
                    struct bytes value)
{
    store_tier_set(store, TIER_DEADLINES, view(key),
                   &(struct table_row){.kind = TABLE_ROW,
                                       .value = value.data,
                                       .value_bytes = (uint32_t)value.size,
                                       .version = 1});
}

static void drop_row(struct store *store, const struct index_key *key)
{
    store_tier_set(store, TIER_DEADLINES, view(key),
                   &(struct table_row){.kind = TABLE_TOMBSTONE});
}

static void set_end(struct store *store, struct index_key *key,
                    uint64_t deadline_ms)
{
    must(deadline_ms >= store->floor_ms);
    set_row(store, key, (struct bytes){0});
    store->due_ms = min_u64(store->due_ms, deadline_ms);
}

static struct index_key end_of_lease(uint64_t lease, uint64_t deadline_ms)
{
    struct index_key key = prefix(OF_DEADLINE, deadline_ms);
    key.data[key.size++] = ENDS_LEASE;
    add_number(&key, lease);
    return key;
}

static struct index_key end_of_key(struct bytes of, uint64_t deadline_ms)
{
    struct index_key key = prefix(OF_DEADLINE, deadline_ms);
    key.data[key.size++] = ENDS_KEY;
    add_key(&key, of);
    return key;
}

static struct index_key attachment(uint64_t lease, struct bytes of)
{
    struct index_key key = prefix(OF_LEASE, lease);
    add_key(&key, of);
    return key;
}

/* ---- leases ---- */

static void set_lease(struct store *store, const struct store_lease *lease)
{
    struct index_key key = prefix(LEASE, lease->id);
    uint8_t value[STORE_LEASE_BYTES];
    store_u64(value, lease->ttl_ms);
    store_u64(value + 8, lease->deadline_ms);
    store_u64(value + 16, lease->keys);
    set_row(store, &key, bytes_of(value, sizeof(value)));
}

static bool read_lease(uint64_t id, struct bytes value,
                       struct store_lease *lease)
{
    if (value.size != STORE_LEASE_BYTES) {
        return false;
    }
    *lease = (struct store_lease){.id = id,
                                  .ttl_ms = load_u64(value.data),
                                  .deadline_ms = load_u64(value.data + 8),
                                  .keys = load_u64(value.data + 16)};
    return true;
}

bool store_lease_find(struct store *store, uint64_t id,
                      struct store_lease *lease, bool *found)
{
    struct index_key key = prefix(LEASE, id);
    uint8_t room[STORE_LEASE_BYTES];
    struct bytes value = {0};
    *found = false;
    if (store->now.leases == 0) {
        return true;
    }
    if (!store_deadline_find(store, view(&key), room, &value)) {
        return false;
    }
    *found = read_lease(id, value, lease);
    return true;
}

enum result_status store_lease_grant(struct store *store, uint64_t id,
                                     uint64_t ttl_ms)
{
    struct index_key key = end_of_lease(id, store->now.time + ttl_ms);
    struct store_lease lease = {
        .id = id, .ttl_ms = ttl_ms, .deadline_ms = store->now.time + ttl_ms};
    if (store->now.leases >= COMMAND_LEASES_MAX) {
        return RESULT_LIMIT;
    }
    set_lease(store, &lease);
    set_end(store, &key, lease.deadline_ms);
    store->now.leases++;
    return RESULT_THEN;
}

bool store_lease_keep(struct store *store, uint64_t id, bool *found,
                      uint64_t *ttl_ms)
{
    struct store_lease lease;
    if (!store_lease_find(store, id, &lease, found)) {
        return false;
    }
    if (!*found) {
        return true;
    }
    *ttl_ms = lease.ttl_ms;
    struct index_key old = end_of_lease(id, lease.deadline_ms);
    lease.deadline_ms = store->now.time + lease.ttl_ms;
    struct index_key key = end_of_lease(id, lease.deadline_ms);
    drop_row(store, &old);
    set_end(store, &key, lease.deadline_ms);
    set_lease(store, &lease);
    return true;
}

/* Lists the keys of a lease in store->lease_keys. */
static bool list_keys(struct store *store, uint64_t id)
{
    struct index_key from = prefix(OF_LEASE, id);
    struct index_key to = prefix(OF_LEASE, id + 1);
    struct merge merge = {.from = view(&from), .to = view(&to)};
    struct bytes key;
    const struct table_row *row;
    enum err err;
    store->lease_keys.size = 0;
    store_merge_open(store, &merge, store->deadline_range, TIER_DEADLINES);
    while ((err = store_merge_next(&merge, &key, &row)) == ERR_OK) {
        buf_add_u16(&store->lease_keys, (uint16_t)(key.size - PREFIX_BYTES));
        buf_add(&store->lease_keys, key.data + PREFIX_BYTES,
                key.size - PREFIX_BYTES);
    }
    store_merge_close(&merge);
    return err == ERR_NOT_FOUND;
}

bool store_lease_end(struct store *store, uint64_t id, bool expired,
                     bool *found, uint64_t *deleted)
{
    struct store_lease lease;
    if (!store_lease_find(store, id, &lease, found)) {
        return false;
    }
    if (!*found) {
        return true;
    }
    if (!list_keys(store, id)) {
        return false;
    }
    struct cursor keys = cursor_of(buf_bytes(&store->lease_keys));
    while (cursor_left(&keys) > 0) {
        uint64_t gone = 0;
        size_t size = cursor_u16(&keys);
        struct bytes key = cursor_bytes(&keys, size);
        if (!store_delete(store, key, expired, &gone)) {
            return false;
        }
        must(gone == 1); /* It would not be attached. */
        *deleted += gone;
    }
    struct index_key at = prefix(LEASE, id);
    struct index_key end = end_of_lease(id, lease.deadline_ms);
    drop_row(store, &at);
    drop_row(store, &end);
    must(store->now.leases > 0);
    store->now.leases--;
    return true;
}

/* ---- keys ---- */

uint64_t store_deadline_of_lease(uint64_t lease)
{
    must(lease > 0 && lease <= COMMAND_LEASE_MAX);
    return lease | LEASE_BIT;
}

uint64_t store_lease_of(uint64_t deadline)
{
    return deadline & LEASE_BIT ? deadline & ~LEASE_BIT : 0;
}

/* A key leaves or joins a lease, which is there if it leaves. */
static bool count_key(struct store *store, uint64_t id, bool joins,
                      enum result_status *status)
{
    struct store_lease lease;
    bool found;
    if (!store_lease_find(store, id, &lease, &found)) {
        return false;
    }
    if (joins && !found) {
        *status = RESULT_NO_LEASE;
        return true;
    }
    must(found);
    if (joins && lease.keys >= COMMAND_LEASE_KEYS_MAX) {
        *status = RESULT_LIMIT;
        return true;
    }
    must(joins || lease.keys > 0);
    lease.keys = joins ? lease.keys + 1 : lease.keys - 1;
    set_lease(store, &lease);
    return true;
}

static bool detach(struct store *store, struct bytes key, uint64_t old,
                   enum result_status *status)
{
    uint64_t lease = store_lease_of(old);
    struct index_key at = lease ? attachment(lease, key) : end_of_key(key, old);
    drop_row(store, &at);
    must(store->now.timed_keys > 0);
    store->now.timed_keys--;
    return !lease || count_key(store, lease, false, status);
}

static bool attach(struct store *store, struct bytes key, uint64_t deadline,
                   enum result_status *status)
{
    enum result_status before = *status;
    uint64_t lease = store_lease_of(deadline);
    if (lease && !count_key(store, lease, true, status)) {
        return false;
    }
    if (*status != before) {
        return true;
    }
    struct index_key at =
        lease ? attachment(lease, key) : end_of_key(key, deadline);
    if (lease) {
        set_row(store, &at, (struct bytes){0});
    } else {
        set_end(store, &at, deadline);
    }
    store->now.timed_keys++;
    return true;
}

bool store_deadline_move(struct store *store, struct bytes key, uint64_t old,
                         uint64_t deadline, enum result_status *status)
{
    if (old == deadline) {
        return true;
    }
    return (old == 0 || detach(store, key, old, status)) &&
           (deadline == 0 || attach(store, key, deadline, status));
}

/* ---- what is due ---- */

/* Lists in store->due the ends up to `upto_ms`, at most `limit`. *next_ms is
 * the deadline of the first one that is not listed; UINT64_MAX: there is
 * none. */
static bool list_due(struct store *store, uint64_t upto_ms, uint64_t limit,
                     uint64_t *next_ms)
{
    struct index_key from = prefix(OF_DEADLINE, store->floor_ms);
    struct index_key to = prefix(OF_LEASE, 0);
    struct merge merge = {.from = view(&from), .to = view(&to)};
    struct bytes key;
    const struct table_row *row;
    enum err err;
    *next_ms = UINT64_MAX;
    store->due.size = 0;
    store_merge_open(store, &merge, store->deadline_range, TIER_DEADLINES);
    while ((err = store_merge_next(&merge, &key, &row)) == ERR_OK) {
        uint64_t deadline_ms = get_number(key.data + 1);
        if (deadline_ms > upto_ms || limit == 0) {
            *next_ms = deadline_ms;
            break;
        }
        buf_add_u16(&store->due, (uint16_t)(key.size - PREFIX_BYTES));
        buf_add(&store->due, key.data + PREFIX_BYTES, key.size - PREFIX_BYTES);
        limit--;
    }
    store_merge_close(&merge);
    return err == ERR_OK || err == ERR_NOT_FOUND;
}

static bool expire_one(struct store *store, struct bytes end, uint64_t *deleted)
{
    struct bytes rest = bytes_of(end.data + 1, end.size - 1);
    bool found = false;
    if (end.data[0] == ENDS_KEY) {
        uint64_t gone = 0;
        bool ok = store_delete(store, rest, true, &gone);
        must(!ok || gone == 1);
        *deleted += gone;
        return ok;
    }
    bool ok =
        store_lease_end(store, get_number(rest.data), true, &found, deleted);
    must(!ok || found);
    return ok;
}

bool store_expire(struct store *store, uint64_t limit, uint64_t *deleted)
{
    uint64_t next_ms;
    uint64_t now_ms = store->now.time;
    if (!list_due(store, now_ms, limit, &next_ms)) {
        return false;
    }
    struct cursor due = cursor_of(buf_bytes(&store->due));
    while (cursor_left(&due) > 0) {
        size_t size = cursor_u16(&due);
        if (!expire_one(store, cursor_bytes(&due, size), deleted)) {
            return false;
        }
    }
    /* In force once the entry is applied. */
    store->next_floor_ms = min_u64(next_ms, now_ms + 1);
    return true;
}

/* ---- for the public header ---- */

uint64_t store_due_ms(const struct store *store)
{
    return store->now.timed_keys + store->now.leases > 0 ? store->due_ms
                                                         : UINT64_MAX;
}

enum err store_find_due(struct store *store)
{
    uint64_t next_ms = UINT64_MAX;
    if (store->timed && !list_due(store, 0, 0, &next_ms)) {
        return store_failed(store, "reading the deadlines");
    }
    store->due_ms = next_ms;
    return ERR_OK;
}

uint64_t store_timed_keys(const struct store *store)
{
    return store->now.timed_keys;
}

uint64_t store_leases(const struct store *store)
{
    return store->now.leases;
}

enum err store_lease_get(struct store *store, uint64_t id,
                         struct store_lease *lease)
{
    bool found;
    if (!store_lease_find(store, id, lease, &found)) {
        return store_failed(store, "reading a lease");
    }
    return found ? ERR_OK : ERR_NOT_FOUND;
}

enum err store_lease_next(struct store *store, uint64_t after,
                          struct store_lease *lease)
{
    struct index_key from = prefix(LEASE, after + 1);
    struct index_key to = prefix(LEASE + 1, 0);
    struct merge merge = {.from = view(&from), .to = view(&to)};
    struct bytes key;
    const struct table_row *row;
    bool ok = false;
    if (store->now.leases == 0) {
        return ERR_NOT_FOUND;
    }
    store_merge_open(store, &merge, store->deadline_range, TIER_DEADLINES);
    enum err err = store_merge_next(&merge, &key, &row);
    if (!err) {
        ok = read_lease(get_number(key.data + 1),
                        row ? table_value(row)
                            : store_column(store->deadline_range, 1),
                        lease);
    }
    store_merge_close(&merge);
    if (err == ERR_IO) {
        return store_failed(store, "reading leases");
    }
    return ok ? ERR_OK : ERR_NOT_FOUND;
}

enum err store_lease_keys(struct store *store, uint64_t id, struct cursor *keys)
{
    store->lease_keys.size = 0;
    if (store->now.leases > 0 && !list_keys(store, id)) {
        return store_failed(store, "reading the keys of a lease");
    }
    *keys = cursor_of(buf_bytes(&store->lease_keys));
    return ERR_OK;
}
