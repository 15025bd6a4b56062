/* init.h -- the duties of process 1, of a PID namespace (a container) or of the
 * machine.
 *
 * The kernel treats process 1 unlike others (pid_namespaces(7), reboot(2)):
 * signals without a handler have no effect on it, the one of abort() included;
 * it is the parent of every orphan, and must reap it; when it ends, the
 * kernel kills all processes of the namespace, or panics if it is the
 * machine's. So the program runs in a child of it, and process 1 does the
 * following alone. It stays the user that it was started as, outside of the
 * sandbox.
 *
 *   - It passes SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 on to the
 *     child. (Those of a terminal reach the child by themselves.)
 *   - It reaps its children.
 *   - When the child ends it ends with the same exit code; after a signal with
 *     128 and its number, as in a shell: 134 after abort().
 *
 * Process 1 of the machine is recognised by reboot(2), which accepts
 * RB_DISABLE_CAD from it and fails in other namespaces and for users without
 * CAP_SYS_BOOT. It also
 *   - brings up the loopback interface; nothing is mounted;
 *   - receives ctrl-alt-del as SIGINT;
 *   - calls sync(2), and powers the machine down after SIGTERM, or restarts it
 *     after SIGINT, once the child has ended. Without such a signal the end of
 *     the child is that of process 1, and the kernel panics: its parameter
 *     panic= decides whether the machine restarts. */
#ifndef CRAFTD_SYS_INIT_H
#define CRAFTD_SYS_INIT_H

#include "base/base.h"

/* Returns at once unless this is process 1; there it returns in the child, and
 * never in the parent. Call it before anything but the standard descriptors is
 * open. */
void init_enter(void);

#endif
