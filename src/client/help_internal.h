/* help_internal.h -- passages that several pages of the manual share.
 *
 * The pages are in help_*.c, by subject. They are not linked into the binary:
 * scripts/help_text.c, which the build runs, includes them all and prints them;
 * help.txt, compressed, is what the binary has. */
#ifndef CRAFTD_CLIENT_HELP_INTERNAL_H
#define CRAFTD_CLIENT_HELP_INTERNAL_H

#include "client/client_internal.h"

#define REACH_NOTE(NOTE)                                                       \
    "    --addr ADDR[,ADDR]   servers to ask, in this order: host:port, or\n"  \
    "                         unix:PATH\n"                                     \
    "                         (CRAFTD_ADDR, else localhost:11000)\n"           \
    "    --timeout TIME       time limit of a request: 250ms, 5s (10s)\n" NOTE \
    "    --netrc              user and password of the server from ~/.netrc\n"
#define REACH REACH_NOTE("")

#define QUIET                                                                  \
    "    --quiet              no progress on stderr, which it is shown on "    \
    "if\n"                                                                     \
    "                         that is a terminal\n"

#define LEVEL                                                                  \
    "    --stale              the state of the server itself, possibly old:\n" \
    "                         works without a leader; same as --level none\n"  \
    "    --level LEVEL        linearizable (the default), strong, weak, "      \
    "none\n"                                                                   \
    "                         or auto\n"

#define CODES                                                                  \
    "    0  done\n"                                                            \
    "    1  failed: refused by the server, or an error here\n"                 \
    "    2  wrong usage\n"

#define AWAY                                                                   \
    "    6  no server could be reached, or none could answer now (no "         \
    "leader,\n"                                                                \
    "       overload): nothing was changed, try again\n"

#define UNKNOWN                                                                \
    "    7  the outcome is unknown: the connection broke or the time was "     \
    "over\n"                                                                   \
    "       after the request was sent; the change may still be made\n"

#endif
