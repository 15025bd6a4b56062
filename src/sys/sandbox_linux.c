/* sandbox_linux.c -- seccomp-bpf and Landlock (see sandbox.h).
 *
 * Documentation/userspace-api/seccomp_filter.rst and landlock.rst of the
 * kernel. Landlock's structures and numbers are repeated here, since headers of
 * older distributions lack them; they are part of the kernel's interface and
 * never change. */
#include "sys/sandbox.h"

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Headers older than Linux 4.14. */
#ifndef SECCOMP_RET_KILL_PROCESS
#define SECCOMP_RET_KILL_PROCESS 0x80000000U
#endif
#ifndef SECCOMP_FILTER_FLAG_LOG
#define SECCOMP_FILTER_FLAG_LOG 2
#endif
#ifndef O_PATH
#define O_PATH 010000000
#endif

/* ---- seccomp ---- */

#if defined(__x86_64__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_X86_64
#elif defined(__i386__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_I386
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define AUDIT_ARCH_HERE AUDIT_ARCH_AARCH64
#elif defined(__arm__) && defined(__ARM_EABI__)
#define AUDIT_ARCH_HERE                                                        \
    (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? AUDIT_ARCH_ARMEB : AUDIT_ARCH_ARM)
#elif defined(__riscv) && __riscv_xlen == 64
#define AUDIT_ARCH_HERE AUDIT_ARCH_RISCV64
#elif defined(__mips__) && defined(_ABIO32) && _MIPS_SIM == _ABIO32
#define AUDIT_ARCH_HERE                                                        \
    (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? AUDIT_ARCH_MIPS                  \
                                            : AUDIT_ARCH_MIPSEL)
#elif defined(__mips64) && _MIPS_SIM == _ABI64
#define AUDIT_ARCH_HERE                                                        \
    (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? AUDIT_ARCH_MIPS64                \
                                            : AUDIT_ARCH_MIPSEL64)
#endif

enum { X32_BIT = 0x40000000 }; /* Of the number of a call: its ABI is x32. */

/* The calls by what they are for; each role has some of these lists. Those made
 * most often come first, since the filter looks through them in order. No
 * architecture has a number of over 16 bits among them. */
static const uint16_t allowed_events[] = {
#ifdef __NR_epoll_wait
    __NR_epoll_wait,
#endif
    __NR_epoll_pwait, __NR_io_uring_enter, __NR_epoll_ctl,
#ifdef __NR_accept
    __NR_accept,
#endif
    __NR_accept4,
};

/* Messages on sockets that exist. */
static const uint16_t allowed_messages[] = {
    __NR_recvfrom, __NR_sendto,
#ifdef __NR_recv /* arm, mips */
    __NR_recv,     __NR_send,
#endif
    __NR_sendmsg,  __NR_recvmsg,
};

static const uint16_t allowed_sockets[] = {
    __NR_connect,    __NR_getsockname, __NR_getpeername,
    __NR_getsockopt, __NR_setsockopt,  __NR_shutdown,
};

/* Without those that open a file for writing, see emit_opening(). */
static const uint16_t allowed_reading[] = {
    __NR_pread64,
    __NR_lseek,
    __NR_readlinkat,
    __NR_faccessat,
    __NR_getdents64,
    __NR_getcwd,
#ifdef __NR_newfstatat
    __NR_newfstatat,
#endif
#ifdef __NR_statx
    __NR_statx,
#endif
#ifdef __NR_faccessat2
    __NR_faccessat2,
#endif
    __NR_statfs,
    __NR_fstatfs,
#ifdef __NR_fadvise64
    __NR_fadvise64,
#endif
#ifdef __NR_fadvise64_64
    __NR_fadvise64_64,
#endif
#ifdef __NR_arm_fadvise64_64
    __NR_arm_fadvise64_64,
#endif
#ifdef __NR_open /* Not on newer architectures. */
    __NR_stat,
    __NR_lstat,
    __NR_access,
    __NR_readlink,
#endif
#ifdef __NR_fstat64 /* 32 bits. */
    __NR_stat64,
    __NR_lstat64,
    __NR_fstatat64,
    __NR_statfs64,
    __NR_fstatfs64,
    __NR__llseek,
#endif
};

static const uint16_t allowed_changes[] = {
    __NR_pwrite64,    __NR_openat, __NR_ftruncate, __NR_fallocate, __NR_flock,
    __NR_fchmod,      __NR_fchown, __NR_unlinkat,  __NR_mkdirat,   __NR_umask,
    __NR_renameat2,
#ifdef __NR_renameat
    __NR_renameat,
#endif
#ifdef __NR_open
    __NR_open,        __NR_unlink, __NR_mkdir,     __NR_rmdir,     __NR_rename,
#endif
#ifdef __NR_fstat64
    __NR_ftruncate64,
#endif
#ifdef __NR_getuid32
    __NR_fchown32,
#endif
};

/* For all roles: descriptors that exist, time, memory, and the process. */
static const uint16_t allowed[] = {
    __NR_fdatasync,
    __NR_close,
    __NR_read,
    __NR_write,
    __NR_readv,
    __NR_writev,
#ifdef __NR_clock_gettime
    __NR_clock_gettime,
#endif
    __NR_fsync,
#ifdef __NR_sync_file_range
    __NR_sync_file_range,
#else /* arm */
    __NR_sync_file_range2,
#endif
    __NR_fstat,
#ifdef __NR_poll
    __NR_poll,
#endif
#ifdef __NR_pipe
    __NR_pipe,
#endif
    __NR_pipe2,
#ifdef __NR_fstat64
    __NR_fstat64,
    __NR_sigreturn,
#endif
    /* Time. */
    __NR_ppoll,
#ifdef __NR_clock_nanosleep
    __NR_clock_nanosleep,
    __NR_nanosleep,
    __NR_gettimeofday,
    __NR_futex,
#endif
#ifdef __NR_time
    __NR_time,
#endif
#ifdef __NR_clock_gettime64 /* 32 bits. */
    __NR_clock_gettime64,
    __NR_clock_nanosleep_time64,
    __NR_ppoll_time64,
    __NR_futex_time64,
#endif
    /* Memory. */
    __NR_brk,
    __NR_munmap,
    __NR_mremap,
    __NR_madvise,
    /* This process. */
    __NR_exit,
    __NR_exit_group,
    __NR_restart_syscall,
    __NR_rt_sigreturn,
    __NR_rt_sigaction,
    __NR_rt_sigprocmask,
    __NR_sigaltstack,
    __NR_getpid,
    __NR_gettid,
    __NR_getppid,
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_uname,
    __NR_getrusage,
    __NR_times,
    __NR_sysinfo,
    __NR_sched_getaffinity,
    __NR_sched_yield,
    __NR_getrandom,
    __NR_wait4,
    __NR_waitid,
    __NR_set_robust_list,
#ifdef __NR_getrlimit
    __NR_getrlimit,
#endif
#ifdef __NR_ugetrlimit
    __NR_ugetrlimit,
#endif
#ifdef __NR_getuid32 /* arm, i386 */
    __NR_getuid32,
    __NR_geteuid32,
    __NR_getgid32,
    __NR_getegid32,
#endif
#ifdef __NR_rseq
    __NR_rseq,
#endif
};

static const uint16_t allowed_resolver[] = {
    __NR_bind,        __NR_sendmmsg, __NR_recvmmsg, __NR_setitimer,
    __NR_getitimer,   __NR_dup,      __NR_dup3,
#ifdef __NR_dup2
    __NR_dup2,
#endif
#ifdef __NR_fork
    __NR_fork,
#endif
#ifdef __NR_vfork
    __NR_vfork,
#endif
#ifdef __NR_alarm
    __NR_alarm,
#endif
#ifdef __NR_close_range
    __NR_close_range,
#endif
#ifdef __NR_select
    __NR_select,
#endif
    __NR_pselect6,
};

/* Calls that end the process. */
static const uint16_t killing[] = {
    __NR_execve,           __NR_execveat,
    __NR_ptrace,           __NR_bpf,
    __NR_process_vm_readv, __NR_process_vm_writev,
    __NR_init_module,      __NR_finit_module,
    __NR_delete_module,    __NR_kexec_load,
    __NR_perf_event_open,  __NR_mount,
    __NR_umount2,          __NR_pivot_root,
    __NR_chroot,           __NR_setns,
    __NR_unshare,          __NR_open_by_handle_at,
    __NR_keyctl,           __NR_add_key,
    __NR_request_key,      __NR_reboot,
    __NR_personality,      __NR_swapon,
    __NR_setuid,           __NR_setgid,
    __NR_setresuid,        __NR_setresgid,
    __NR_capset,
#ifdef __NR_userfaultfd
    __NR_userfaultfd,
#endif
#ifdef __NR_kexec_file_load
    __NR_kexec_file_load,
#endif
};

enum { INSTRUCTIONS_MAX = 512 };

struct program {
    struct sock_filter code[INSTRUCTIONS_MAX];
    size_t size;
};

static void emit(struct program *program, uint16_t code, uint32_t value,
                 uint8_t if_true, uint8_t if_false)
{
    must(program->size < INSTRUCTIONS_MAX);
    program->code[program->size++] = (struct sock_filter){
        .code = code, .jt = if_true, .jf = if_false, .k = value};
}

static void emit_load(struct program *program, size_t offset)
{
    emit(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_return(struct program *program, uint32_t action)
{
    emit(program, BPF_RET | BPF_K, action, 0, 0);
}

/* When the loaded word is `value`: `action`; else the next instruction. */
static void emit_case(struct program *program, uint32_t value, uint32_t action)
{
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    emit_return(program, action);
}

static void emit_cases(struct program *program, const uint16_t *calls,
                       size_t count, uint32_t action)
{
    for (size_t i = 0; i < count; i++) {
        emit_case(program, calls[i], action);
    }
}

/* The lower half of an argument, which is all of an int. */
static void emit_load_argument(struct program *program, size_t place)
{
    bool is_big = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    emit_load(program, offsetof(struct seccomp_data, args) +
                           place * sizeof(uint64_t) + (is_big ? 4 : 0));
}

static uint32_t refuse(int error)
{
    return SECCOMP_RET_ERRNO | (uint32_t)error;
}

/* `call` is allowed when its argument at `place` is one of `values`, else it
 * fails with `error`. */
static void emit_one_of(struct program *program, uint32_t call, size_t place,
                        const uint32_t *values, size_t count, int error)
{
    size_t rest = 2 + 2 * count; /* Instructions to pass over. */
    must(rest <= UINT8_MAX);
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, call, 0, (uint8_t)rest);
    emit_load_argument(program, place);
    for (size_t i = 0; i < count; i++) {
        emit_case(program, values[i], SECCOMP_RET_ALLOW);
    }
    emit_return(program, refuse(error));
}

/* `call` fails when its argument at `place` is `value` (`test` BPF_JEQ), or has
 * one of these bits (BPF_JSET), and is allowed else. */
static void emit_unless(struct program *program, uint32_t call, size_t place,
                        uint16_t test, uint32_t value)
{
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
    emit_load_argument(program, place);
    emit(program, BPF_JMP | BPF_K | test, value, 0, 1);
    emit_return(program, refuse(EPERM));
    emit_return(program, SECCOMP_RET_ALLOW);
}

/* Sockets of TCP over IPv4 and IPv6; the type has flags above its four bits. */
static void emit_tcp_socket(struct program *program)
{
    enum { TYPE_MASK = 0xf, REST = 9 };
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, REST);
    emit_load_argument(program, 1);
    emit(program, BPF_ALU | BPF_AND | BPF_K, TYPE_MASK, 0, 0);
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 0, 5);
    emit_load_argument(program, 0);
    emit_case(program, AF_INET, SECCOMP_RET_ALLOW);
    emit_case(program, AF_INET6, SECCOMP_RET_ALLOW);
    emit_return(program, refuse(EAFNOSUPPORT));
}

/* Descriptors, flags and locks. Other commands make the kernel send a signal of
 * choice to any process of the same user when the file can be read. */
static void emit_fcntl(struct program *program, enum sandbox_role role)
{
    enum { COPIES = 2 };
    const uint32_t commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD,
                                 F_SETFD, F_GETFL,         F_SETFL,
                                 F_GETLK, F_SETLK,         F_SETLKW};
    size_t skipped = role == SANDBOX_RESOLVER ? 0 : COPIES;
    size_t count = ARRAY_COUNT(commands) - skipped;
    emit_one_of(program, __NR_fcntl, 1, commands + skipped, count, EPERM);
#ifdef __NR_fcntl64
    emit_one_of(program, __NR_fcntl64, 1, commands + skipped, count, EPERM);
#endif
}

/* Files are opened for reading alone. */
static void emit_opening(struct program *program)
{
    const uint32_t changing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    emit_unless(program, __NR_openat, 2, BPF_JSET, changing);
#ifdef __NR_open
    emit_unless(program, __NR_open, 1, BPF_JSET, changing);
#endif
}

/* No call that takes an address takes this descriptor; and none makes a copy of
 * it, as far as the node is concerned. */
static void emit_sealed(struct program *program, int fd)
{
    const uint32_t calls[] = {__NR_connect, __NR_sendto, __NR_sendmsg};
    for (size_t i = 0; i < ARRAY_COUNT(calls) && fd >= 0; i++) {
        emit_unless(program, calls[i], 0, BPF_JEQ, (uint32_t)fd);
    }
}

/* Where all of them are one call (i386), its number is seen, not what the
 * pointer behind it leads to. */
static void emit_socketcall(struct program *program, enum sandbox_role role)
{
#ifdef __NR_socketcall
    enum { MESSAGES = 6 };
    const uint32_t calls[] = {SYS_SEND,     SYS_SENDTO,      SYS_SENDMSG,
                              SYS_RECV,     SYS_RECVFROM,    SYS_RECVMSG,
                              SYS_SOCKET,   SYS_CONNECT,     SYS_ACCEPT,
                              SYS_ACCEPT4,  SYS_GETSOCKNAME, SYS_GETPEERNAME,
                              SYS_SHUTDOWN, SYS_SETSOCKOPT,  SYS_GETSOCKOPT};
    if (role != SANDBOX_OFFLINE) {
        emit_one_of(program, __NR_socketcall, 0, calls,
                    role == SANDBOX_SYNC ? MESSAGES : ARRAY_COUNT(calls),
                    ENOSYS);
    }
#else
    (void)program;
    (void)role;
#endif
}

/* Memory is writable or executable, never both in turn. Where there is mmap2, C
 * libraries use no other, and mmap is left out: that of i386 has its arguments
 * in memory, out of the filter's sight. */
static void emit_memory(struct program *program)
{
#ifdef __NR_mmap2
    emit_unless(program, __NR_mmap2, 2, BPF_JSET, PROT_EXEC);
#else
    emit_unless(program, __NR_mmap, 2, BPF_JSET, PROT_EXEC);
#endif
    emit_unless(program, __NR_mprotect, 2, BPF_JSET, PROT_EXEC);
}

static void emit_arguments(struct program *program, enum sandbox_role role)
{
    const uint32_t ioctls[] = {FIONREAD, TCGETS};
    const uint32_t self[] = {(uint32_t)getpid()}; /* raise(), abort() */
    const uint32_t own[] = {0, (uint32_t)getpid()};
    if (role == SANDBOX_NODE) {
        emit_tcp_socket(program);
    }
    emit_socketcall(program, role);
    emit_fcntl(program, role);
    emit_one_of(program, __NR_ioctl, 1, ioctls, ARRAY_COUNT(ioctls), EPERM);
    emit_one_of(program, __NR_tgkill, 0, self, ARRAY_COUNT(self), EPERM);
    emit_one_of(program, __NR_tkill, 0, self, ARRAY_COUNT(self), EPERM);
    emit_one_of(program, __NR_kill, 0, self, ARRAY_COUNT(self), EPERM);
    emit_one_of(program, __NR_prlimit64, 0, own, ARRAY_COUNT(own), EPERM);
    emit_memory(program);
}

static void emit_arguments_of_resolver(struct program *program)
{
    const uint32_t families[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
    const uint16_t free_calls[] = {
#ifdef __NR_socketcall
        __NR_socketcall,
#endif
        __NR_mprotect,
#ifdef __NR_mmap
        __NR_mmap,
#endif
#ifdef __NR_mmap2
        __NR_mmap2,
#endif
    };
    const uint32_t self[] = {0};
    /* Those that ask. Others type on the terminal that this process has, or
     * send signals as in emit_fcntl(). */
    const uint32_t ioctls[] = {
        FIONREAD,       FIONBIO,      FIOCLEX,       TCGETS,        TIOCGWINSZ,
        SIOCGIFNAME,    SIOCGIFINDEX, SIOCGIFCONF,   SIOCGIFFLAGS,  SIOCGIFADDR,
        SIOCGIFNETMASK, SIOCGIFMTU,   SIOCGIFHWADDR, SIOCGIFBRDADDR};
    /* CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET */
    const uint32_t namespaces = 0x7e020000;
    emit_one_of(program, __NR_socket, 0, families, ARRAY_COUNT(families),
                EAFNOSUPPORT);
    emit_opening(program);
    emit_fcntl(program, SANDBOX_RESOLVER);
    emit_one_of(program, __NR_ioctl, 1, ioctls, ARRAY_COUNT(ioctls), EPERM);
    emit_unless(program, __NR_clone, 0, BPF_JSET, namespaces);
    /* Not those of the node, which has the same user. */
    emit_one_of(program, __NR_prlimit64, 0, self, ARRAY_COUNT(self), EPERM);
    emit_cases(program, free_calls, ARRAY_COUNT(free_calls), SECCOMP_RET_ALLOW);
    emit_cases(program, allowed_resolver, ARRAY_COUNT(allowed_resolver),
               SECCOMP_RET_ALLOW);
}

#ifdef AUDIT_ARCH_HERE

/* The lists of a role. */
static void emit_lists(struct program *program, enum sandbox_role role)
{
#define ALLOW(list)                                                            \
    emit_cases(program, list, ARRAY_COUNT(list), SECCOMP_RET_ALLOW)
    bool is_node = role == SANDBOX_NODE;
    bool connects = is_node || role == SANDBOX_RESOLVER;
    if (is_node) {
        ALLOW(allowed_events);
    }
    if (role != SANDBOX_OFFLINE) {
        ALLOW(allowed_messages);
    }
    ALLOW(allowed);
    if (connects) {
        ALLOW(allowed_sockets);
    }
    if (role != SANDBOX_SYNC) {
        ALLOW(allowed_reading);
    }
    if (is_node || role == SANDBOX_OFFLINE) {
        ALLOW(allowed_changes);
    }
#undef ALLOW
}

static void build(struct program *program, enum sandbox_role role,
                  int sealed_fd)
{
    program->size = 0;
    emit_load(program, offsetof(struct seccomp_data, arch));
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_HERE, 1, 0);
    emit_return(program, SECCOMP_RET_KILL_PROCESS);
    emit_load(program, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    emit(program, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    emit_return(program, SECCOMP_RET_KILL_PROCESS);
#endif
    emit_sealed(program, sealed_fd);
    emit_lists(program, role);
    if (role != SANDBOX_RESOLVER) {
        emit_arguments(program, role);
    } else {
        emit_arguments_of_resolver(program);
    }
    emit_cases(program, killing, ARRAY_COUNT(killing),
               SECCOMP_RET_KILL_PROCESS);
    emit_return(program, refuse(ENOSYS));
}

static bool filter_calls(enum sandbox_role role, int sealed_fd)
{
    struct program program;
    build(&program, role, sealed_fd);
    struct sock_fprog filter = {.len = (unsigned short)program.size,
                                .filter = program.code};
    /* Without the flag where the kernel does not know it (before 4.14), ... */
    return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
                   SECCOMP_FILTER_FLAG_LOG, &filter) == 0 ||
           /* ... and without the call (before 3.17). */
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

#else

static bool filter_calls(enum sandbox_role role, int sealed_fd)
{
    (void)role;
    (void)sealed_fd;
    errno = ENOSYS;
    return false;
}

#endif

/* ---- Landlock ---- */

enum {
    LANDLOCK_CREATE = 444,
    LANDLOCK_ADD_RULE = 445,
    LANDLOCK_RESTRICT_SELF = 446,
    LANDLOCK_VERSION_FLAG = 1,
    LANDLOCK_PATH_RULE = 1,
    ABI_RENAME = 2, /* The least that is used, see sandbox.h. */
    ABI_TRUNCATE = 3,
    ABI_IOCTL = 5,
    ABI_SCOPES = 6,
};

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_SYM = 1 << 12,
    FS_RENAME = 1 << 13,
    FS_TRUNCATE = 1 << 14,
    FS_IOCTL = 1 << 15,
    /* All that are younger than the call come one by one. */
    FS_ALL_AT_FIRST = 2 * FS_MAKE_SYM - 1,
    FS_OF_FILES = FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE,
    SCOPE_ABSTRACT_SOCKETS = 1 << 0,
    SCOPE_SIGNALS = 1 << 1,
};

struct landlock_ruleset {
    uint64_t files;
    uint64_t ports;
    uint64_t scopes;
};

struct landlock_path {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

static uint64_t rights_of(enum sandbox_access access)
{
    switch (access) {
    case SANDBOX_READ:
        return FS_READ_FILE | FS_READ_DIR;
    case SANDBOX_WRITE:
        return FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_REMOVE_DIR |
               FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_RENAME |
               FS_TRUNCATE;
    case SANDBOX_REMOVE:
        return FS_REMOVE_FILE;
    }
    return 0;
}

static bool add_path(int ruleset, uint64_t handled,
                     const struct sandbox_path *path)
{
    struct stat file;
    int fd = open(path->path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0) {
        return true; /* There is nothing to allow. */
    }
    struct landlock_path rule = {.allowed = rights_of(path->access) & handled,
                                 .parent = fd};
    if (!S_ISDIR(file.st_mode)) {
        rule.allowed &= FS_OF_FILES;
    }
    bool done =
        syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_PATH_RULE, &rule, 0) == 0;
    /* A directory of /proc is made anew when nobody has it open, and no rule
     * stands for the new one: that descriptor stays open. */
    if (strncmp(path->path, "/proc/", 6) != 0) {
        (void)close(fd);
    }
    return done;
}

static bool restrict_files(const struct sandbox_path *paths, size_t count)
{
    long abi = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION_FLAG);
    if (abi >= 0 && abi < ABI_RENAME) {
        errno = ENOSYS;
        abi = -1;
    }
    if (abi < 0) {
        return false;
    }
    struct landlock_ruleset handled = {
        .files = FS_ALL_AT_FIRST | FS_RENAME |
                 (abi >= ABI_TRUNCATE ? FS_TRUNCATE : 0) |
                 (abi >= ABI_IOCTL ? FS_IOCTL : 0),
        .scopes =
            abi >= ABI_SCOPES ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0,
    };
    size_t size = abi >= ABI_SCOPES ? sizeof(handled) : sizeof(handled.files);
    int ruleset = (int)syscall(LANDLOCK_CREATE, &handled, size, 0);
    if (ruleset < 0) {
        return false;
    }
    bool done = true;
    for (size_t i = 0; done && i < count; i++) {
        done = add_path(ruleset, handled.files, &paths[i]);
    }
    done = done && syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) == 0;
    int error = errno;
    (void)close(ruleset);
    errno = error;
    return done;
}

void sandbox_enter(enum sandbox_role role, const struct sandbox_path *paths,
                   size_t path_count, int sealed_fd,
                   struct sandbox_status *status)
{
    *status = (struct sandbox_status){0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        (void)snprintf(status->why, sizeof(status->why), "no_new_privs: %s",
                       strerror(errno));
        return;
    }
    /* The filter has none of Landlock's calls. */
    status->landlock = restrict_files(paths, path_count);
    if (!status->landlock) {
        (void)snprintf(status->why, sizeof(status->why), "landlock: %s",
                       errno == ENOSYS ? "this kernel is too old"
                                       : strerror(errno));
    }
    status->seccomp = filter_calls(role, sealed_fd);
    if (!status->seccomp) {
        (void)snprintf(status->why, sizeof(status->why), "seccomp: %s",
                       strerror(errno));
    }
}

#endif
