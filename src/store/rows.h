/* rows.h -- results of reading the database: a row, or keys in order. For the
 * users of this room, and for api/, which reads through node/. */
#ifndef CRAFTD_STORE_ROWS_H
#define CRAFTD_STORE_ROWS_H

#include "base/base.h"
#include "base/bytes.h"

struct store_row {
    struct bytes value;    /* Valid until the next call on the store. */
    uint64_t create_index; /* Log index of the write that created the key. */
    uint64_t modify_index; /* Log index of the last write of it. */
    uint64_t version;      /* Number of writes of it; see store_counts(). */
    uint64_t deadline_ms;  /* Cluster time at which it ends; 0: none. */
    uint64_t lease;        /* The lease with which it ends; 0: none. */
};

/* A lease: its keys end with it. */
struct store_lease {
    uint64_t id; /* Index of the entry that granted it. */
    uint64_t ttl_ms;
    uint64_t deadline_ms; /* In cluster time. */
    uint64_t keys;        /* Number of its keys. */
};

/* The keys in [from, to), compared by memcmp. */
struct store_range {
    struct bytes from;
    struct bytes to; /* Empty: no end. */
    bool reverse;    /* Descending: the greatest key first. */
    bool keys_only;  /* Much cheaper, since no row is read. */
};

/* One key of a range. Views are valid until the next call on the store. */
struct store_pair {
    struct bytes key;
    /* Empty and 0 with keys_only. */
    struct bytes value;
    uint64_t create_index;
    uint64_t modify_index;
    uint64_t deadline_ms; /* As in struct store_row. */
    uint64_t lease;
};

#endif
