/* survey_internal.h -- what every node of the cluster says of itself: GET
 * /status of each, one after the other.
 *
 * The members are those of GET /nodes at the first server that answers. Servers
 * of --addr are asked under that address, since it may be the only one that can
 * be reached from here, and since credentials go to no other server. A node has
 * SURVEY_NODE_MS to answer, or --timeout if that is less.
 *
 * Fields that a node of an older build does not send are "". */
#ifndef CRAFTD_CLIENT_SURVEY_INTERNAL_H
#define CRAFTD_CLIENT_SURVEY_INTERNAL_H

#include "client/client_internal.h"

enum { SURVEY_NODES_MAX = 64, SURVEY_NODE_MS = 2000 };

enum survey_field {
    SURVEY_ID,
    SURVEY_CLUSTER,
    SURVEY_ROLE,
    SURVEY_TERM,
    SURVEY_COMMIT,
    SURVEY_APPLIED,
    SURVEY_VERSION,
    SURVEY_HASH,
    SURVEY_KEYS,
    SURVEY_READY,
    SURVEY_DB_BYTES,
    SURVEY_QUOTA_BYTES,
    SURVEY_NO_SPACE,
    SURVEY_FIELDS,
};

struct survey_node {
    char id[64];             /* "" until it is known. */
    char http[SERVER_BYTES]; /* Where it is asked; "": nowhere. */
    char suffrage[16];       /* "voter", ...; "": it is no member. */
    bool asked;
    int code;                    /* Exit code of the request; EXIT_DONE: it has
                                    answered. */
    int status;                  /* HTTP's; 0: no answer. */
    char why[REQUEST_WHY_BYTES]; /* If it has not answered. */
    struct buf json;             /* Its answer. */
    struct buf facts;            /* The same as lines, client_flatten(). */
    char fields[SURVEY_FIELDS][48]; /* Cut when they are longer. */
    uint64_t disk_free_bytes; /* On its disk, as GET /nodes has it; 0: that
                                 is not known. */
    uint64_t lag;             /* Entries that the leader has committed, and
                                 it has not applied. */
};

struct survey {
    const struct options *options;
    unsigned count;
    struct survey_node nodes[SURVEY_NODES_MAX];
    struct survey_node *leader; /* The one with the highest term that says it
                                   leads; NULL: none does. */
};

/* Ask all nodes. Returns EXIT_DONE when at least one has answered; otherwise
 * the exit code, and `why` the reasons of all servers. Free it in any case. */
int survey_take(struct survey *survey, const struct options *options,
                struct buf *why);
void survey_free(struct survey *survey);

/* A field as a number; 0 if there is none. */
uint64_t survey_number(const struct survey_node *node, enum survey_field field);
/* A value of its answer, by the path of client_flatten(), such as "leader.id";
 * valid until survey_free(). Empty: there is none. */
struct bytes survey_fact(const struct survey_node *node, const char *path);
/* Hint `at` of a node, from 0 on, the most urgent one first; valid until
 * survey_free(). Empty: it has no more. */
struct bytes survey_hint(const struct survey_node *node, unsigned at);
/* "ok", "not-ready", "full", "down", or "unknown": it has refused to say. */
const char *survey_health(const struct survey_node *node);

#endif
