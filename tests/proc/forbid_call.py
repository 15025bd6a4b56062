"""forbid_call.py NUMBER PROGRAM WORDS... -- run a program for which the kernel
refuses one system call (a seccomp filter, EPERM), as it does in many containers.
Numbers from 424 on are those of every architecture but alpha: 425 is
io_uring_setup, 444 landlock_create_ruleset."""
import ctypes
import os
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE_EPERM = 0x7fff0000, 0x00050001


def main():
    assert platform.machine() != "alpha"
    code = b"".join(struct.pack("HBBI", *one) for one in [
        (LOAD, 0, 0, 0),  # The number of the call.
        (JUMP_IF_EQUAL, 0, 1, int(sys.argv[1])),
        (RETURN, 0, 0, REFUSE_EPERM),
        (RETURN, 0, 0, ALLOW)])
    memory = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", 4, ctypes.addressof(memory))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for args in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                 (PR_SET_SECCOMP, MODE_FILTER, program, 0, 0)):
        if prctl(*args) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execv(sys.argv[2], sys.argv[2:])


main()
