/* help.h -- the pages of the manual: craftd help, craftd COMMAND --help. */
#ifndef CRAFTD_CLIENT_HELP_H
#define CRAFTD_CLIENT_HELP_H

#include "base/bytes.h"

/* The pages, whose texts are in help_*.c. They are compressed in the binary,
 * and known there by their numbers; scripts/help_text.c puts them there. */
#define HELP_PAGES(X)                                                          \
    X(daemon)                                                                  \
    X(daemon_limits)                                                           \
    X(daemon_backups)                                                          \
    X(overview)                                                                \
    X(get)                                                                     \
    X(put)                                                                     \
    X(del)                                                                     \
    X(ls)                                                                      \
    X(txn)                                                                     \
    X(watch)                                                                   \
    X(lock)                                                                    \
    X(elect)                                                                   \
    X(status)                                                                  \
    X(check)                                                                   \
    X(nodes)                                                                   \
    X(leader)                                                                  \
    X(sync)                                                                    \
    X(snapshot)                                                                \
    X(backup)                                                                  \
    X(restore)                                                                 \
    X(restore_offline)                                                         \
    X(recover)                                                                 \
    X(export)                                                                  \
    X(import)                                                                  \
    X(bench)                                                                   \
    X(bench_disk)                                                              \
    X(passwd)                                                                  \
    X(token)                                                                   \
    X(keygen)                                                                  \
    X(version)                                                                 \
    X(help)

#ifdef HELP_TEXTS
#define X(name) extern const char help_##name[];
HELP_PAGES(X)
#else
#define X(name) help_##name,
enum help_page { HELP_PAGES(X) };
#endif
#undef X
extern const struct bytes embedded_help;

/* The text of an enum help_page, in `pages`, which is overwritten. */
const char *client_page(int page, struct buf *pages);

#endif
