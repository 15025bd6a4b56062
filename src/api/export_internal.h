/* export_internal.h -- states of the whole store that exports read: export.c.
 */
#ifndef CRAFTD_API_EXPORT_INTERNAL_H
#define CRAFTD_API_EXPORT_INTERNAL_H

#include "base/base.h"
#include "reactor/reactor.h"

struct api;
struct store_image;

/* Fewer than STORE_IMAGES_MAX: backups and snapshots need some too. */
enum { EXPORT_VIEWS_MAX = 2 };

/* The store at one index. It has no reader while it waits for a client to
 * resume, which it does for a minute. */
struct export_view {
    struct store_image *image; /* NULL: this place is free. */
    uint64_t index;
    uint64_t keys; /* Number of all keys in it. */
    uint32_t readers;
    uint64_t left_ms; /* Time when the last reader left. */
    bool is_lost;     /* It cannot be read any more. */
};

struct api_exports {
    struct export_view views[EXPORT_VIEWS_MAX];
    uint32_t readers; /* All views have so many together. */
    struct timer timer;
};

/* Close the views without readers, so that their images can be used for
 * something else. */
void api_exports_close_unread(struct api *api);
/* Close all views. No connection may be left. */
void api_exports_free(struct api *api);

#endif
