"""Run a program for which there is no io_uring: the kernel refuses to set one
up (a seccomp filter), as it does in many containers."""
import ctypes
import os
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
IO_URING_SETUP = 425  # On every architecture but alpha.
ALLOW, REFUSE_EPERM = 0x7fff0000, 0x00050001


def main():
    assert platform.machine() != "alpha"
    code = b"".join(struct.pack("HBBI", *one) for one in [
        (LOAD, 0, 0, 0),  # The number of the call.
        (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, REFUSE_EPERM),
        (RETURN, 0, 0, ALLOW)])
    memory = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", 4, ctypes.addressof(memory))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for args in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                 (PR_SET_SECCOMP, MODE_FILTER, program, 0, 0)):
        if prctl(*args) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execv(sys.argv[1], sys.argv[1:])


main()
