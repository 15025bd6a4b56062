/* heap.c -- binary min-heap. */
#include "base/heap.h"

static void put(struct heap *heap, uint32_t place, struct heap_node *node)
{
    heap->nodes[place] = node;
    node->place = place;
}

static void sift_up(struct heap *heap, struct heap_node *node, uint32_t place)
{
    while (place > 1 && heap->nodes[place / 2]->key > node->key) {
        put(heap, place, heap->nodes[place / 2]);
        place /= 2;
    }
    put(heap, place, node);
}

static void sift_down(struct heap *heap, struct heap_node *node, uint32_t place)
{
    for (;;) {
        uint32_t child = place * 2;
        if (child > heap->count) {
            break;
        }
        if (child < heap->count &&
            heap->nodes[child + 1]->key < heap->nodes[child]->key) {
            child++;
        }
        if (heap->nodes[child]->key >= node->key) {
            break;
        }
        put(heap, place, heap->nodes[child]);
        place = child;
    }
    put(heap, place, node);
}

void heap_free(struct heap *heap)
{
    mem_free(heap->nodes);
    *heap = (struct heap){0};
}

void heap_insert(struct heap *heap, struct heap_node *node, uint64_t key)
{
    must(node->place == 0);
    if (heap->count + 1 >= heap->capacity) {
        heap->capacity = heap->capacity ? heap->capacity * 2 : 16;
        /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant. */
        size_t bytes = heap->capacity * sizeof(heap->nodes[0]);
        heap->nodes = mem_realloc(heap->nodes, bytes);
    }
    node->key = key;
    heap->count++;
    sift_up(heap, node, heap->count);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    uint32_t place = node->place;
    if (place == 0) {
        return;
    }
    must(place <= heap->count && heap->nodes[place] == node);
    node->place = 0;
    struct heap_node *last = heap->nodes[heap->count];
    heap->count--;
    if (last == node) {
        return;
    }
    if (place > 1 && heap->nodes[place / 2]->key > last->key) {
        sift_up(heap, last, place);
    } else {
        sift_down(heap, last, place);
    }
}

struct heap_node *heap_min(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[1] : NULL;
}
