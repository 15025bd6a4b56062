/* dump_internal.h -- keys and values in the formats that craftd import reads,
 * one after the other in bounded memory: dump.c.
 *
 *     craftd   an export: an object a line, with "key" or "key_base64", "value"
 *              or "value_base64", and other members, which are ignored, such as
 *              those of later versions. The last line is {"end":true, ...}.
 *     etcd     etcdctl get --prefix '' -w json, and what the gateway of etcd
 *              answers to /v3/kv/range: the list "kvs" of an object, whose
 *              items have "key" and "value" in base64
 *     consul   consul kv export: an array of objects with "key", and "value" in
 *              base64
 *     redis    redis-cli --json of a map from keys to strings (help_copies.c
 * has the command): an object, or an array of such objects. Strings may have
 * bytes that are no UTF-8, as redis-cli writes them.
 *
 * A dump is untrusted: an item may have DUMP_ITEM_BYTES_MAX bytes, and what
 * does not belong to the format is an error. */
#ifndef CRAFTD_CLIENT_DUMP_INTERNAL_H
#define CRAFTD_CLIENT_DUMP_INTERNAL_H

#include "base/base.h"
#include "base/bytes.h"

/* The longest item: a value of 4 MiB of which each byte is escaped. */
enum { DUMP_ITEM_BYTES_MAX = 32 << 20 };

enum dump_format { DUMP_CRAFTD, DUMP_ETCD, DUMP_CONSUL, DUMP_REDIS };

struct dump {
    /* READ-ONLY */
    enum dump_format format;
    uint64_t items;      /* Read so far, ... */
    uint64_t offset;     /* ... and the bytes of the file before the window. */
    const char *why;     /* After DUMP_ERROR: static text. */
    bool has_end;        /* An export: its last line was read, ... */
    uint64_t keys_total; /* ... which names this number of keys. */
    /* PRIVATE */
    int fd;
    struct buf window; /* Bytes from `offset` on, of which ... */
    size_t at;         /* ... these have been consumed. */
    bool eof;
    uint8_t state;
    bool is_nested; /* redis: the objects are items of an array. */
    struct buf key;
    struct buf value;
};

struct dump_pair {
    struct bytes key; /* Views, valid until the next call. */
    struct bytes value;
};

enum dump_result { DUMP_PAIR, DUMP_END, DUMP_ERROR };

/* Read from `fd`, which is borrowed. */
void dump_init(struct dump *dump, enum dump_format format, int fd);
void dump_free(struct dump *dump);
/* The next key and value. DUMP_END: that was all, and the file is complete as
 * far as its format shows. */
enum dump_result dump_next(struct dump *dump, struct dump_pair *pair);
/* Offset of the byte that is read next. */
uint64_t dump_offset(const struct dump *dump);
/* Find a format by its name. */
bool dump_format_named(const char *name, enum dump_format *format);

/* Read one line of an export, which is overwritten; `dump` has only buffers for
 * this. DUMP_END: it is the last line. */
enum dump_result dump_read_line(struct dump *dump, uint8_t *line, size_t size,
                                struct dump_pair *pair);

#endif
