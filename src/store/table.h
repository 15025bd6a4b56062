/* table.h -- an ordered table in memory, from keys to rows. Pure.
 *
 * A B+tree whose leaves are linked, so that walking needs no search. Nothing is
 * ever removed from it: a row can be a tombstone, which hides rows of older
 * tables and of the database, or a hole, which hides nothing (an entry whose
 * change was undone). All memory comes from an arena, and is freed with it at
 * once; keys, values and entries stay where they are until then. Neither the
 * order nor the shape depends on time, addresses or chance, and every operation
 * takes O(log n) comparisons whatever the keys are. */
#ifndef CRAFTD_STORE_TABLE_H
#define CRAFTD_STORE_TABLE_H

#include "base/base.h"
#include "base/bytes.h"

/* Memory that is freed at once. */
struct arena {
    /* READ-ONLY */
    uint64_t bytes; /* Taken so far, including what cannot be used. */
    /* PRIVATE */
    struct arena_chunk *chunks;
    uint8_t *at; /* Free part of the newest small chunk. */
    size_t left;
};
void arena_free(struct arena *arena);

enum table_kind { TABLE_HOLE, TABLE_TOMBSTONE, TABLE_ROW };
struct table_row {
    uint8_t kind;      /* enum table_kind */
    bool has_deadline; /* Behind the value, 8 bytes: table_deadline(). */
    uint32_t value_bytes;
    const uint8_t *value; /* In the arena. */
    uint64_t create_index;
    uint64_t modify_index;
    uint64_t version;
};

struct table_entry {
    struct table_row row;
    uint32_t key_bytes;
    uint8_t key[];
};

struct table {
    /* READ-ONLY */
    uint64_t count; /* Entries, holes included. */
    /* PRIVATE */
    struct arena *arena; /* Borrowed; outlives the table. */
    struct table_node *root;
};

/* Make `table` an empty one. */
void table_init(struct table *table, struct arena *arena);
/* The entry of `key`, a hole perhaps; NULL: there is none. */
struct table_entry *table_find(const struct table *table, struct bytes key);
/* The same; a missing one is added, as a hole. Ends every walk. */
struct table_entry *table_add(struct table *table, struct bytes key);
/* Copy a value into the arena, for a row of this table. */
const uint8_t *table_copy(struct table *table, struct bytes value);
/* Set the row's value, a copy in the arena, with its deadline; 0: none. */
void table_set_value(struct table *table, struct table_row *row,
                     struct bytes value, uint64_t deadline);

/* A walk over a table that is not changed meanwhile. */
struct table_walk {
    struct table_node *leaf; /* NULL: at the end. */
    unsigned slot;
};
/* Start at the least entry that is not less than `key`, or, in reverse, at the
 * greatest one that is less. */
struct table_walk table_seek(const struct table *table, struct bytes key,
                             bool reverse);
/* The entry at which the walk is; NULL: at the end. */
struct table_entry *table_here(const struct table_walk *walk);
/* Move by one entry, which is there. */
void table_step(struct table_walk *walk, bool reverse);

static inline struct bytes table_key(const struct table_entry *entry)
{
    return bytes_of(entry->key, entry->key_bytes);
}

static inline struct bytes table_value(const struct table_row *row)
{
    return bytes_of(row->value, row->value_bytes);
}

static inline uint64_t table_deadline(const struct table_row *row)
{
    return row->has_deadline ? load_u64(row->value + row->value_bytes) : 0;
}

/* <0, 0, >0, as memcmp; a prefix of a key is less than it. */
int table_compare(struct bytes a, struct bytes b);

#endif
