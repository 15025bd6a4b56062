/* linear.c -- see linear.h. */
#include "linear.h"

#include <stdlib.h>

#include "base/base.h"
#include "base/rng.h"

enum { WORDS = LINEAR_OPS_MAX / 64, TABLE = 1 << 16 };

/* The operations as calls and returns in one list, by time. */
struct mark {
    uint64_t at;
    size_t op;
    bool is_return;
    struct mark *match; /* The return of this call; NULL for a return. */
    struct mark *prev;
    struct mark *next;
};

/* A state that was tried: the completed operations and the register's value. */
struct tried {
    uint64_t hash;
    uint64_t value;
    uint64_t done[WORDS];
    struct tried *next;
};

struct search {
    const struct linear_op *ops;
    struct mark head;
    struct mark *marks;
    struct mark **stack; /* Calls that are done, in order. */
    uint64_t *values;    /* The register before each. */
    size_t depth;
    uint64_t value;
    uint64_t done[WORDS];
    struct tried **table;
};

static int by_time(const void *a, const void *b)
{
    const struct mark *x = a;
    const struct mark *y = b;
    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }
    /* Equal times: calls first, so that the two count as concurrent. */
    if (x->is_return != y->is_return) {
        return x->is_return ? 1 : -1;
    }
    return (x->op > y->op) - (x->op < y->op);
}

static void unlink_mark(struct mark *mark)
{
    mark->prev->next = mark->next;
    if (mark->next) {
        mark->next->prev = mark->prev;
    }
}

static void relink_mark(struct mark *mark)
{
    mark->prev->next = mark;
    if (mark->next) {
        mark->next->prev = mark;
    }
}

static void lift(struct mark *call)
{
    unlink_mark(call);
    if (call->match) {
        unlink_mark(call->match);
    }
}

static void unlift(struct mark *call)
{
    if (call->match) {
        relink_mark(call->match);
    }
    relink_mark(call);
}

static size_t make_marks(struct search *s, size_t count)
{
    size_t made = 0;
    for (size_t i = 0; i < count; i++) {
        s->marks[made++] = (struct mark){.at = s->ops[i].begin, .op = i};
        if (s->ops[i].end != UINT64_MAX) {
            s->marks[made++] =
                (struct mark){.at = s->ops[i].end, .op = i, .is_return = true};
        }
    }
    qsort(s->marks, made, sizeof(s->marks[0]), by_time);
    struct mark **call_of = mem_zalloc((count + 1) * sizeof(struct mark *));
    struct mark *before = &s->head;
    for (size_t i = 0; i < made; i++) {
        struct mark *mark = &s->marks[i];
        mark->prev = before;
        before->next = mark;
        before = mark;
        if (!mark->is_return) {
            call_of[mark->op] = mark;
        } else {
            call_of[mark->op]->match = mark;
        }
    }
    mem_free(call_of);
    return made;
}

/* True when this state is new. */
static bool remember(struct search *s)
{
    uint64_t hash = mix_u64(s->value);
    for (size_t i = 0; i < WORDS; i++) {
        hash = mix_u64(hash ^ s->done[i]);
    }
    struct tried **place = &s->table[hash % TABLE];
    for (const struct tried *t = *place; t; t = t->next) {
        if (t->hash == hash && t->value == s->value &&
            memcmp(t->done, s->done, sizeof(t->done)) == 0) {
            return false;
        }
    }
    struct tried *t = mem_alloc(sizeof(*t));
    t->hash = hash;
    t->value = s->value;
    memcpy(t->done, s->done, sizeof(t->done));
    t->next = *place;
    *place = t;
    return true;
}

/* Can the operation of this call be the next one? Then it is. */
static bool take(struct search *s, struct mark *call)
{
    const struct linear_op *op = &s->ops[call->op];
    bool known = op->end != UINT64_MAX;
    bool refused = op->cas && op->expected != s->value;
    if ((!op->write && op->value != s->value) || (refused && known)) {
        return false;
    }
    uint64_t before = s->value;
    uint64_t bit = UINT64_C(1) << (call->op % 64);
    s->value = op->write && !refused ? op->value : s->value;
    s->done[call->op / 64] |= bit;
    if (!remember(s)) {
        s->value = before;
        s->done[call->op / 64] &= ~bit;
        return false;
    }
    s->stack[s->depth] = call;
    s->values[s->depth] = before;
    s->depth++;
    lift(call);
    return true;
}

/* Undo the last one; what to try instead, NULL when there is nothing. */
static struct mark *step_back(struct search *s)
{
    if (s->depth == 0) {
        return NULL;
    }
    s->depth--;
    struct mark *call = s->stack[s->depth];
    s->value = s->values[s->depth];
    s->done[call->op / 64] &= ~(UINT64_C(1) << (call->op % 64));
    unlift(call);
    return call;
}

static bool search(struct search *s)
{
    struct mark *at = s->head.next;
    for (;;) {
        /* Only calls are left whose outcome is not known: they need not have
         * happened. */
        bool answered = false;
        for (const struct mark *m = s->head.next; m && !answered; m = m->next) {
            answered = m->is_return;
        }
        if (!answered) {
            return true;
        }
        while (at && !at->is_return && !take(s, at)) {
            at = at->next;
        }
        if (at && !at->is_return) {
            at = s->head.next;
            continue;
        }
        /* A return whose call is not done: nothing more may come first. */
        struct mark *undone = step_back(s);
        if (!undone) {
            return false;
        }
        at = undone->next;
    }
}

bool linear_check(const struct linear_op *ops, size_t count)
{
    must(count <= LINEAR_OPS_MAX);
    struct search s = {.ops = ops};
    s.marks = mem_zalloc((2 * count + 1) * sizeof(s.marks[0]));
    s.stack = mem_zalloc((count + 1) * sizeof(struct mark *));
    s.values = mem_zalloc((count + 1) * sizeof(s.values[0]));
    s.table = mem_zalloc(TABLE * sizeof(struct tried *));
    (void)make_marks(&s, count);
    bool ok = search(&s);
    for (size_t i = 0; i < TABLE; i++) {
        for (struct tried *t = s.table[i]; t;) {
            struct tried *next = t->next;
            mem_free(t);
            t = next;
        }
    }
    mem_free(s.table);
    mem_free(s.values);
    mem_free(s.stack);
    mem_free(s.marks);
    return ok;
}
