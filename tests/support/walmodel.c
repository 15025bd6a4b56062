/* walmodel.c -- see walmodel.h. */
#include "support/walmodel.h"

struct wal_options walmodel_options(const struct fs *fs)
{
    struct wal_options options = {
        .fs = fs, .segment_bytes = WALMODEL_SEGMENT_BYTES, .salt_seed = 99};
    memset(options.cluster, 1, 16);
    memset(options.uuid, 2, 16);
    return options;
}

/* A part of one long payload that counts up. */
struct bytes walmodel_body(uint64_t index, uint64_t term, size_t size_bytes)
{
    static uint8_t bytes[256 + WALMODEL_BODY_BYTES_MAX];
    must(size_bytes <= WALMODEL_BODY_BYTES_MAX);
    for (size_t i = 0; bytes[1] == 0 && i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    return bytes_of(bytes + (uint8_t)(index * 31 + term * 7 + 1), size_bytes);
}

void walmodel_append(struct walmodel *next, struct wal *wal, uint64_t term,
                     size_t size_bytes)
{
    uint64_t index = ++next->last;
    must(index <= WALMODEL_ENTRIES_MAX);
    struct wal_entry entry = {.index = index,
                              .term = term,
                              .payload =
                                  walmodel_body(index, term, size_bytes)};
    wal_append(wal, &entry);
    next->entries[index].term = term;
    next->entries[index].size = size_bytes;
}

static void on_entry(const struct wal_entry *entry, void *arg)
{
    struct walmodel *found = arg;
    if (entry->type == WAL_ENTRY_BASE) {
        found->base = entry->index;
        found->base_term = entry->term;
        found->last = entry->index;
        found->first = 0;
        return;
    }
    if (found->first == 0) {
        found->odd |= found->base != 0 && entry->index != found->base + 1;
        found->first = entry->index;
        found->last = entry->index - 1;
    }
    /* The first remaining segment may truncate entries of a removed one. */
    found->first = min_u64(found->first, entry->index);
    if (entry->index < 1 || entry->index > found->last + 1 ||
        entry->index > WALMODEL_ENTRIES_MAX ||
        entry->payload.size > WALMODEL_BODY_BYTES_MAX ||
        !bytes_equal(entry->payload, walmodel_body(entry->index, entry->term,
                                                   entry->payload.size))) {
        found->odd = true;
        return;
    }
    found->last = entry->index;
    found->entries[entry->index].term = entry->term;
    found->entries[entry->index].size = entry->payload.size;
}

enum err walmodel_open(const struct fs *fs, struct walmodel *found,
                       struct wal **wal)
{
    struct wal_options options = walmodel_options(fs);
    memset(found, 0, sizeof(*found));
    enum err err = wal_open(&options, on_entry, found, wal);
    if (!err) {
        found->last = wal_last(*wal);
        found->term = wal_term(*wal);
        found->vote = wal_vote(*wal);
    }
    return err;
}

bool walmodel_same_log(const struct walmodel *found,
                       const struct walmodel *wanted)
{
    uint64_t limit = max_u64(1, max_u64(wanted->limit, wanted->base + 1));
    if (found->odd || found->first > limit || found->last != wanted->last ||
        (found->base != wanted->base && found->base != 0) ||
        (found->base == wanted->base &&
         found->base_term != wanted->base_term)) {
        return false;
    }
    /* The record of the base may have been removed with its segment. */
    if (found->base == 0 && wanted->base != 0 && found->first <= wanted->base) {
        return false;
    }
    for (uint64_t i = limit; i <= found->last; i++) {
        if (found->entries[i].term != wanted->entries[i].term ||
            found->entries[i].size != wanted->entries[i].size) {
            return false;
        }
    }
    return true;
}

bool walmodel_same_vote(const struct walmodel *a, const struct walmodel *b)
{
    return a->term == b->term && a->vote == b->vote;
}
