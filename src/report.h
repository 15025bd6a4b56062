/* report.h -- what a node reports about its process, its links and its duties:
 * facts from rooms that the API and the node do not know. */
#ifndef CRAFTD_REPORT_H
#define CRAFTD_REPORT_H

#include "api/api.h"
#include "config.h"
#include "ops/ops.h"
#include "peer/peer.h"
#include "privileges.h"
#include "wire/wire.h"

/* Where the facts come from. All is borrowed, and outlives the API. */
struct report {
    const struct config *config;
    const struct privileges *privileges;
    const struct peers *peers;
    /* NULL behind them while there are none. */
    struct ops_join *const *join;
    struct ops_backups *const *backups;
};

/* Set the functions of the options by which the API asks, and their argument,
 * `report`. */
void report_to_api(struct report *report, struct api_options *options);
/* For node_env: the build and the memory of this process, and the free disk of
 * the directory. `arg` is the struct config. */
void report_vitals(void *arg, struct wire_vitals *vitals);

#endif
