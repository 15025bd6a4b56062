/* sandbox.h -- limits what the process can do from some moment on, also when an
 * attacker runs code in it.
 *
 * Three layers, each used where the kernel has it:
 *   no_new_privs  no program that is run gets more rights (setuid, file
 *                 capabilities).
 *   seccomp       an allow list of system calls, written by hand. Their numbers
 *                 come from the kernel's headers when this is compiled.
 *   Landlock      an allow list of files and directories; Linux 5.19 and
 *                 later, since before that no file can be renamed to another
 *                 directory.
 * OpenBSD has pledge(2) and unveil(2) for the last two.
 *
 * A call that is not on the list fails and does not end the process: a store
 * must not die of a call that a newer C library makes. The error is ENOSYS, as
 * on an older kernel, since C libraries know another way after that error only
 * (clone3 after EPERM makes fork() fail, after ENOSYS it does not). Wrong
 * arguments of a call that is on the list are EPERM, and a socket of another
 * family EAFNOSUPPORT. Only calls that no C library makes by itself, and that
 * injected code begins with (execve, ptrace, bpf, mount, modules, ...), end the
 * process, with SIGSYS: their caller must not go on. The kernel logs all of
 * these (audit) where it can.
 *
 * Known limits. On i386 what socketcall(2) points to is out of a filter's
 * sight, so that family and type of a socket, and a sealed one, are not checked
 * there. io_uring
 * makes calls that no filter sees; the ring of uring.h is restricted by itself,
 * and another cannot be made. Builds with AddressSanitizer have no sandbox: its
 * runtime makes calls of its own. */
#ifndef CRAFTD_SYS_SANDBOX_H
#define CRAFTD_SYS_SANDBOX_H

#include "base/base.h"

enum sandbox_role {
    /* The node: sockets of TCP over IPv4 and IPv6 that connect, but no new one
     * that listens; no other process, nor a signal to one, be it by way of a
     * file (F_SETOWN); no new executable memory. */
    SANDBOX_NODE,
    /* The process that resolves names (reactor.h), and a command that does so
     * and reads a file of a stranger: sockets of the kinds that resolvers of C
     * libraries use, and children and libraries; no signal either, no input for
     * a terminal, and no change of any file. */
    SANDBOX_RESOLVER,
    /* A process that syncs files that it is given (fs.h): it opens no file and
     * makes and connects no socket. */
    SANDBOX_SYNC,
    /* A command that works on files, some from strangers: as the node, but it
     * has no socket at all. */
    SANDBOX_OFFLINE,
};

enum sandbox_access {
    SANDBOX_READ,   /* Files and directories: this one, and all below it. */
    SANDBOX_WRITE,  /* The same, and everything in it may change. */
    SANDBOX_REMOVE, /* Files may be removed from this directory and below. */
};

struct sandbox_path {
    const char *path;
    enum sandbox_access access;
};

struct sandbox_status {
    bool seccomp;  /* or pledge */
    bool landlock; /* or unveil */
    /* The reason why a layer is missing, a few words; "" when none is. */
    char why[96];
};

/* Enter the sandbox; there is no way back. Paths that do not exist are skipped.
 * A rule is for the file that a path names now: for files that are replaced,
 * give their directory. Descriptors that are open stay usable. `sealed_fd` is a
 * connected datagram socket, or -1: it can be written to by write(2) alone, and
 * cannot be pointed at another address. */
void sandbox_enter(enum sandbox_role role, const struct sandbox_path *paths,
                   size_t path_count, int sealed_fd,
                   struct sandbox_status *status);

/* The directory that a file is in, wherever links lead: a rule for it stays
 * true when the file is replaced. To be freed; NULL: there is none, or it is
 * "/". */
char *sandbox_directory_of(const char *path);

/* The same as SANDBOX_RESOLVER, with what the resolver of the C library reads,
 * and these files, of which NULL is none. */
enum { SANDBOX_FILES_MAX = 4 };
void sandbox_enter_resolver(const char *const *files, size_t file_count,
                            struct sandbox_status *status);

#endif
