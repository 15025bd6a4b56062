/* heap.h -- intrusive binary min-heap of pointers, keyed by a u64 (a deadline).
 * Each node knows its place, so that it can be removed in O(log n). A
 * zero-initialised heap is empty; its array grows and never shrinks. */
#ifndef CRAFTD_BASE_HEAP_H
#define CRAFTD_BASE_HEAP_H

#include "base/base.h"

struct heap_node {
    uint64_t key;
    uint32_t place; /* Index in heap.nodes, from 1 on; 0: in no heap. */
};

struct heap {
    struct heap_node **nodes; /* [0] unused. */
    uint32_t count;
    uint32_t capacity;
};

/* Free the array; the nodes belong to their owners, and are not changed. */
void heap_free(struct heap *heap);
/* `node` must not be in a heap. */
void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key);
/* Safe on a node that is in no heap. */
void heap_remove(struct heap *heap, struct heap_node *node);
/* The node with the least key, or NULL. */
struct heap_node *heap_min(const struct heap *heap);

#endif
