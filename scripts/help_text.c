/* help_text.c -- prints the pages of src/client/help_*.c, each with a final 0,
 * in the order of HELP_PAGES. The build runs it, and puts the result,
 * compressed, into the binary. */
#define HELP_TEXTS
#include <stdio.h>

#include "client/help_bench.c"
#include "client/help_cluster.c"
#include "client/help_copies.c"
#include "client/help_daemon.c"
#include "client/help_keys.c"
#include "client/help_locks.c"
#include "client/help_offline.c"
#include "client/help_overview.c"
#include "client/help_secrets.c"

int main(void)
{
#define X(name)                                                                \
    if (fwrite(help_##name, sizeof(help_##name), 1, stdout) != 1) {            \
        return 1;                                                              \
    }
    HELP_PAGES(X)
#undef X
    return fflush(stdout) != 0;
}
