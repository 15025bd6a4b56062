"""Make a system call in a process that runs: what an attacker who executes code
in it would try. By ptrace(2), on x86-64."""
import contextlib
import ctypes
import errno
import os
import platform
import signal
import time

SUPPORTED = platform.machine() == "x86_64"

NUMBERS = {"mmap": 9, "mprotect": 10, "ioctl": 16, "close": 3, "socket": 41,
           "bind": 49, "listen": 50, "clone": 56, "fork": 57, "execve": 59,
           "kill": 62, "ptrace": 101, "openat": 257, "tgkill": 234, "prlimit64": 302,
           "write": 1, "dup": 32, "dup2": 33, "connect": 42, "accept": 43,
           "sendto": 44, "sendmsg": 46, "unlinkat": 263, "io_uring_setup": 425, "fdatasync": 75, "prctl": 157, "fcntl": 72}
AT_FDCWD = -100
X32 = 0x40000000  # Bit of a number of the x32 ABI.

_ATTACH, _DETACH, _STEP, _GETREGS, _SETREGS = 16, 17, 9, 12, 13
_FIELDS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax "
           "rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()
_SYSCALL, _INT80 = b"\x0f\x05", b"\xcd\x80"


class _Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in _FIELDS]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                         ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, data=None):
    if _libc.ptrace(request, pid, None, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _memory(pid, address, data=None, size=0):
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        return memory.write(data) if data is not None else memory.read(size)


def _registers(pid):
    registers = _Registers()
    _ptrace(_GETREGS, pid, ctypes.addressof(registers))
    return registers


def _wait_stopped(pid):
    _, status = os.waitpid(pid, 0x40000000)  # __WALL
    assert os.WIFSTOPPED(status), status


@contextlib.contextmanager
def _stopped(pid):
    """The process, stopped in a system call of its own."""
    for _ in range(200):
        _ptrace(_ATTACH, pid)
        _wait_stopped(pid)
        registers = _registers(pid)
        if _memory(pid, registers.rip - 2, size=2) == _SYSCALL:
            break
        _ptrace(_DETACH, pid)
        time.sleep(0.01)
    else:
        raise AssertionError("it never sleeps in a system call")
    try:
        yield registers
    finally:
        with contextlib.suppress(ProcessLookupError):
            _ptrace(_DETACH, pid)


def _prepare(pid, saved, number, args):
    registers = _Registers.from_buffer_copy(saved)
    place = (saved.rsp - 8192) & ~15
    for register, arg in zip("rdi rsi rdx r10 r8 r9".split(), args):
        if isinstance(arg, str):
            arg = arg.encode() + b"\0"
        if isinstance(arg, bytes):
            _memory(pid, place, arg)
            arg, place = place, place + 256
        setattr(registers, register, arg & 0xffffffffffffffff)
    registers.rax = number
    registers.orig_rax = 0xffffffffffffffff  # Nothing is to be restarted.
    registers.rip -= 2
    _ptrace(_SETREGS, pid, ctypes.addressof(registers))


def call(pid, name, *args):
    """The result: a number, or the name of an error ("EPERM"). The process goes
    on as if nothing had happened."""
    with _stopped(pid) as saved:
        _prepare(pid, saved, NUMBERS[name], args)
        _ptrace(_STEP, pid)
        _wait_stopped(pid)
        result = ctypes.c_longlong(_registers(pid).rax).value
        _ptrace(_SETREGS, pid, ctypes.addressof(saved))
    return errno.errorcode[-result] if -4096 < result < 0 else result


def last_call(pid, name, *args, abi="x86_64"):
    """The same for a call that is expected to end the process, which goes on
    from it. `abi`: x86_64, x32 or i386."""
    number = {"x86_64": NUMBERS.get(name), "x32": X32 | NUMBERS.get(name, 0),
              "i386": {"execve": 11}.get(name)}[abi]
    with _stopped(pid) as saved:
        if abi == "i386":
            _memory(pid, saved.rip - 2, _INT80)
        _prepare(pid, saved, number, args)


assert signal.SIGSYS  # Linux.
