/* table.c -- an ordered table in memory: a B+tree to which entries are only
 * added. See table.h.
 *
 * Inner nodes have the least entry below each child (below the first one: any
 * that was the least once; what is less goes there, too). A full node is split
 * on the way down, so that an insertion never has to go back up. */
#include "store/table.h"

enum {
    FANOUT = 32,
    CHUNK_BYTES = 64 << 10,
    ALIGN_BYTES = 8,
};

struct arena_chunk {
    struct arena_chunk *next;
    uint8_t data[];
};

struct table_node {
    struct table_node *prev; /* Leaves: their neighbours. */
    struct table_node *next;
    bool is_leaf;
    unsigned count;
    struct table_entry *entries[FANOUT]; /* Inner nodes: see above. */
    struct table_node *children[];       /* Inner nodes: FANOUT. */
};

/* ---- memory ---- */

static struct arena_chunk *add_chunk(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = mem_alloc(sizeof(*chunk) + size);
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->bytes += size;
    return chunk;
}

/* Memory for large things is a chunk of its own. */
static void *take(struct arena *arena, size_t size)
{
    size = (size + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    if (size > CHUNK_BYTES / 4) {
        return add_chunk(arena, size)->data;
    }
    if (size > arena->left) {
        arena->at = add_chunk(arena, CHUNK_BYTES)->data;
        arena->left = CHUNK_BYTES;
    }
    uint8_t *taken = arena->at;
    arena->at += size;
    arena->left -= size;
    return taken;
}

void arena_free(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *next = arena->chunks->next;
        mem_free(arena->chunks);
        arena->chunks = next;
    }
    *arena = (struct arena){0};
}

static struct table_node *new_node(struct table *table, bool is_leaf)
{
    size_t size = sizeof(struct table_node) +
                  (is_leaf ? 0 : FANOUT * sizeof(struct table_node *));
    struct table_node *node = take(table->arena, size);
    memset(node, 0, size);
    node->is_leaf = is_leaf;
    return node;
}

static struct table_entry *new_entry(struct table *table, struct bytes key)
{
    struct table_entry *entry = take(table->arena, sizeof(*entry) + key.size);
    *entry = (struct table_entry){.key_bytes = (uint32_t)key.size};
    memcpy(entry->key, key.data, key.size);
    table->count++;
    return entry;
}

const uint8_t *table_copy(struct table *table, struct bytes value)
{
    uint8_t *copy = take(table->arena, value.size);
    if (value.size > 0) {
        memcpy(copy, value.data, value.size);
    }
    return copy;
}

void table_set_value(struct table *table, struct table_row *row,
                     struct bytes value, uint64_t deadline)
{
    row->has_deadline = deadline != 0;
    if (!row->has_deadline) {
        row->value = table_copy(table, value);
        return;
    }
    uint8_t *copy = take(table->arena, value.size + sizeof(deadline));
    if (value.size > 0) {
        memcpy(copy, value.data, value.size);
    }
    store_u64(copy + value.size, deadline);
    row->value = copy;
}

void table_init(struct table *table, struct arena *arena)
{
    *table = (struct table){.arena = arena};
}

/* ---- searching ---- */

int table_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Number of entries of the node that are less than `key`. *equal: the next one
 * is it. */
static unsigned count_less(const struct table_node *node, struct bytes key,
                           bool *equal)
{
    unsigned low = 0;
    unsigned high = node->count;
    *equal = false;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order = table_compare(table_key(node->entries[middle]), key);
        if (order == 0) {
            *equal = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The child below which `key` is, or would be. */
static unsigned child_for(const struct table_node *node, struct bytes key)
{
    bool equal;
    unsigned less = count_less(node, key, &equal);
    return equal ? less : less > 0 ? less - 1 : 0;
}

static struct table_node *find_leaf(const struct table *table, struct bytes key)
{
    struct table_node *node = table->root;
    while (node && !node->is_leaf) {
        node = node->children[child_for(node, key)];
    }
    return node;
}

struct table_entry *table_find(const struct table *table, struct bytes key)
{
    bool equal;
    const struct table_node *leaf = find_leaf(table, key);
    if (!leaf) {
        return NULL;
    }
    unsigned at = count_less(leaf, key, &equal);
    return equal ? leaf->entries[at] : NULL;
}

/* ---- adding ---- */

/* Makes room at `at`. */
static void shift(struct table_node *node, unsigned at)
{
    size_t after = node->count - at;
    must(node->count < FANOUT && at <= node->count);
    memmove(node->entries + at + 1, node->entries + at,
            after * sizeof(node->entries[0]));
    if (!node->is_leaf) {
        memmove(node->children + at + 1, node->children + at,
                after * sizeof(node->children[0]));
    }
    node->count++;
}

/* Moves the upper half of child `at`, which is full, into a new one. The last
 * leaf gives its last entry only: keys that come in order leave full leaves. */
static void split_child(struct table *table, struct table_node *parent,
                        unsigned at)
{
    struct table_node *low = parent->children[at];
    struct table_node *high = new_node(table, low->is_leaf);
    unsigned keep = low->is_leaf && !low->next ? FANOUT - 1 : FANOUT / 2;
    must(low->count == FANOUT);
    high->count = FANOUT - keep;
    low->count = keep;
    memcpy(high->entries, low->entries + keep,
           high->count * sizeof(high->entries[0]));
    if (low->is_leaf) {
        high->prev = low;
        high->next = low->next;
        if (low->next) {
            low->next->prev = high;
        }
        low->next = high;
    } else {
        memcpy(high->children, low->children + keep,
               high->count * sizeof(high->children[0]));
    }
    shift(parent, at + 1);
    parent->entries[at + 1] = high->entries[0];
    parent->children[at + 1] = high;
}

static void grow_root(struct table *table)
{
    struct table_node *old = table->root;
    table->root = new_node(table, false);
    table->root->count = 1;
    table->root->entries[0] = old->entries[0];
    table->root->children[0] = old;
    split_child(table, table->root, 0);
}

static struct table_entry *insert(struct table *table, struct bytes key)
{
    bool equal;
    struct table_entry *entry = new_entry(table, key);
    if (!table->root) {
        table->root = new_node(table, true);
    } else if (table->root->count == FANOUT) {
        grow_root(table);
    }
    struct table_node *node = table->root;
    while (!node->is_leaf) {
        unsigned at = child_for(node, key);
        if (node->children[at]->count == FANOUT) {
            split_child(table, node, at);
            at = child_for(node, key);
        }
        node = node->children[at];
    }
    unsigned at = count_less(node, key, &equal);
    must(!equal);
    shift(node, at);
    node->entries[at] = entry;
    return entry;
}

struct table_entry *table_add(struct table *table, struct bytes key)
{
    struct table_entry *entry = table_find(table, key);
    return entry ? entry : insert(table, key);
}

/* ---- walking ---- */

struct table_entry *table_here(const struct table_walk *walk)
{
    return walk->leaf ? walk->leaf->entries[walk->slot] : NULL;
}

static void step_forward(struct table_walk *walk)
{
    if (++walk->slot >= walk->leaf->count) {
        walk->leaf = walk->leaf->next;
        walk->slot = 0;
    }
}

static void step_back(struct table_walk *walk)
{
    if (walk->slot > 0) {
        walk->slot--;
        return;
    }
    walk->leaf = walk->leaf->prev;
    walk->slot = walk->leaf ? walk->leaf->count - 1 : 0;
}

void table_step(struct table_walk *walk, bool reverse)
{
    must(walk->leaf && walk->slot < walk->leaf->count);
    if (reverse) {
        step_back(walk);
    } else {
        step_forward(walk);
    }
}

struct table_walk table_seek(const struct table *table, struct bytes key,
                             bool reverse)
{
    bool equal;
    struct table_walk walk = {.leaf = find_leaf(table, key)};
    if (!walk.leaf) {
        return walk;
    }
    walk.slot = count_less(walk.leaf, key, &equal);
    if (reverse) {
        step_back(&walk);
    } else if (walk.slot == walk.leaf->count) {
        walk.slot--;
        step_forward(&walk);
    }
    return walk;
}
