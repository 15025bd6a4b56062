/* space_internal.h -- space on the disk inside the room (space.c). */
#ifndef CRAFTD_NODE_SPACE_INTERNAL_H
#define CRAFTD_NODE_SPACE_INTERNAL_H

#include "node/node.h"

/* Where space runs short. */
enum space_place {
    SPACE_LOG_BATCH,     /* A batch of the log was not written. */
    SPACE_LOG_SEGMENT,   /* The log's next segment cannot be made. */
    SPACE_LOG_RESERVE,   /* The log has no reserve. */
    SPACE_ENTRY,         /* An entry was not applied. */
    SPACE_FLUSH,         /* What was applied could not be flushed. */
    SPACE_CHECKPOINT,    /* Part of the -wal could not be copied. */
    SPACE_STORE_RESERVE, /* The database has no reserve. */
    SPACE_DATA,          /* There is no room for more data (growth.c). */
    SPACE_QUOTA,         /* options.db_bytes_max is reached: deletes only. */
    SPACE_PLACES,
};

struct space {
    /* ERR_OK: enough. Written by space_set() only. */
    enum err shortage[SPACE_PLACES];
    uint64_t retry_ms[SPACE_PLACES]; /* Earliest time of the next attempt. */
    bool database_short; /* A flush or a checkpoint was short of space, and
                            the database has not recovered since. */
    bool scarce;         /* Little space is left: log and -wal stay short. */
    bool awaited;        /* In this turn a command was found to wait for space:
                            drop what the log need not keep. */
    uint64_t free_bytes; /* Of the disk, in this turn while it is scarce;
                            UINT64_MAX: unknown. */
    uint64_t check_ms;   /* Time of the next check of free space. */
    uint64_t unused_bytes;    /* Pages of the database, as of the last */
    uint64_t used_bytes;      /* node_check_quota(). */
    uint64_t unchecked_bytes; /* Applied since then. */
    uint64_t refused_bytes;   /* SPACE_DATA: what had no room last. */
    uint64_t refused_spread;
    uint64_t deletes_room; /* Bytes of the -wal left for deletes on a full
                              disk. */
};

/* Check the quota against the size of the database, after it has changed. */
void node_check_quota(struct node *node);
/* The shortage for which data was or is refused: ERR_NOSPACE, ERR_RESOURCES, or
 * ERR_OK when nothing is short. */
enum err node_shortage(const struct node *node);
bool space_is_full(const struct node *node);
/* Is there little space but what is reserved? */
bool space_is_tight(const struct node *node);
enum space_answer {
    SPACE_YES,
    SPACE_BUSY,  /* Descriptors or memory are short. */
    SPACE_LATER, /* There may be room after a checkpoint: it was asked for. */
    SPACE_NO,
};
/* May the command be proposed? On a full disk SPACE_YES takes the room that a
 * delete needs. *spread is growth_spread(), or 0 while space is plentiful. */
enum space_answer space_admit(struct node *node, struct bytes command,
                              uint64_t *spread);
/* Make a slice of what is kept for a full disk: the next segment of the log,
 * then, when nothing is more urgent, the reserves. True: there is more. */
bool space_prepare_log(struct node *node);
bool space_prepare(struct node *node);
uint64_t space_deadline_ms(const struct node *node);
/* The only writer of a shortage. A change is logged, once; a shortage is not
 * tried again for half a second. */
void space_set(struct node *node, enum space_place place, enum err err);
/* There is a shortage, and it is too early to try again. */
bool space_is_put_off(const struct node *node, enum space_place place);
/* Log the recovery of the database once it has recovered. */
void space_check_database(struct node *node);
/* Check the free space, once a turn, before anything is flushed. */
void space_check(struct node *node);

/* ---- growth.c: room for more data ---- */

/* Bytes that SQLite may write to its -wal for the command. */
uint64_t growth_spread(const struct node *node, struct bytes command);
/* Room on the disk for `bytes` more of data: SPACE_YES, SPACE_LATER or
 * SPACE_NO. */
enum space_answer growth_on_disk(const struct node *node, uint64_t bytes,
                                 uint64_t spread);
/* Data was refused because of that: SPACE_DATA, until as much would fit. */
void growth_refuse(struct node *node, uint64_t bytes, uint64_t spread);
void growth_check(struct node *node);
/* Room for the command within options.db_bytes_max; likewise. */
enum space_answer growth_in_quota(const struct node *node,
                                  struct bytes command);
/* True when the size of the database should be checked after each turn. */
bool growth_is_near_quota(const struct node *node);

#endif
