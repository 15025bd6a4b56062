/* space_internal.h -- space on the disk inside the room (space.c). */
#ifndef CRAFTD_NODE_SPACE_INTERNAL_H
#define CRAFTD_NODE_SPACE_INTERNAL_H

#include "node/node.h"

/* Where space runs short. */
enum space_place {
    SPACE_LOG_BATCH,     /* A batch of the log was not written. */
    SPACE_LOG_SEGMENT,   /* The log's next segment cannot be made. */
    SPACE_LOG_RESERVE,   /* The log has no reserve. */
    SPACE_ENTRY,         /* An entry was not applied, or not committed. */
    SPACE_CHECKPOINT,    /* Part of the -wal could not be copied. */
    SPACE_STORE_RESERVE, /* The database has no reserve. */
    SPACE_QUOTA,         /* options.db_bytes_max is reached: deletes only. */
    SPACE_PLACES,
};

struct space {
    /* ERR_OK: enough. Written by space_set() only. */
    enum err shortage[SPACE_PLACES];
    uint64_t retry_ms[SPACE_PLACES]; /* Earliest time of the next attempt. */
    bool database_short;   /* An entry or a checkpoint was short of space, and
                              the database has not recovered since. */
    bool scarce;           /* Little space is left: log and -wal stay short. */
    uint64_t check_ms;     /* Time of the next check of free space. */
    uint64_t unused_bytes; /* Within the database, as of the last commit. */
    uint64_t deletes_room; /* Bytes of the -wal left for deletes on a full
                              disk. */
};

/* Check the quota against the size of the database, after it has changed. */
void node_check_quota(struct node *node);
/* The shortage for which new data is refused: ERR_NOSPACE, ERR_RESOURCES, or
 * ERR_OK when nothing is short. */
enum err node_shortage(const struct node *node);
bool space_is_full(const struct node *node);
enum space_answer {
    SPACE_YES,
    SPACE_BUSY,  /* Descriptors or memory are short. */
    SPACE_LATER, /* A delete for which there will be room after a checkpoint. */
    SPACE_NO,
};
/* May the command be proposed? On a full disk SPACE_YES takes the room that a
 * delete needs. */
enum space_answer space_admit(struct node *node, struct bytes command);
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

#endif
