"""forbid_call.py CALL[=ERROR][,CALL...] PROGRAM WORDS... -- run a program for
which the kernel refuses these system calls with that errno (1, EPERM, without
one), by a seccomp filter: as it does in many containers, or as a kernel that
lacks them does (38, ENOSYS). Numbers from 424 on are those of every
architecture but alpha: 425 is io_uring_setup, 444 landlock_create_ruleset."""
import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7fff0000, 0x00050000


def main():
    assert platform.machine() != "alpha"
    code = [(LOAD, 0, 0, 0)]  # The number of the call.
    for call in sys.argv[1].split(","):
        number, _, error = call.partition("=")
        code += [(JUMP_IF_EQUAL, 0, 1, int(number)),
                 (RETURN, 0, 0, REFUSE | int(error or errno.EPERM))]
    code.append((RETURN, 0, 0, ALLOW))
    memory = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *one) for one in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(memory))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for args in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                 (PR_SET_SECCOMP, MODE_FILTER, program, 0, 0)):
        if prctl(*args) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
