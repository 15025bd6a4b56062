/* metrics_internal.h -- counts and durations of requests: metrics.c. */
#ifndef CRAFTD_API_METRICS_INTERNAL_H
#define CRAFTD_API_METRICS_INTERNAL_H

#include "base/histogram.h"
#include "http/http.h"

struct conn;

/* Requests are counted by these groups, few enough for a histogram
 * of each but the last. */
enum route_group {
    ROUTE_KEY, /* The data: keys, lists of them. */
    ROUTE_CLUSTER,
    ROUTE_PROBE, /* Health, status, metrics. */
    ROUTE_BACKUP,
    ROUTE_OTHER, /* No route, or no request that could be read. */
    ROUTE_TIMED_COUNT,
    /* Counted when it ends, and not timed. */
    ROUTE_WATCH = ROUTE_TIMED_COUNT,
    ROUTE_GROUP_COUNT,
};

/* Requests of one group, method and status. */
struct request_count {
    uint32_t what; /* 0: free. */
    uint64_t count;
};

/* Clients can produce more combinations than are worth a series each, so those
 * that come first have a count of their own, and all others are counted by the
 * class of their status: errors stay visible. */
enum { REQUEST_COUNTS_MAX = 36, STATUS_CLASSES = 5 };

struct api_metrics {
    struct request_count requests[REQUEST_COUNTS_MAX];
    uint64_t requests_beyond[STATUS_CLASSES]; /* 1xx, 2xx, ... */
    uint64_t replays;
    struct histogram duration_us[ROUTE_TIMED_COUNT];
};

const char *api_verb_name(enum http_verb verb);
void api_metrics_init(struct api_metrics *metrics);
/* The answer to the request on `conn` is complete. */
void api_metrics_count(struct conn *conn);

#endif
