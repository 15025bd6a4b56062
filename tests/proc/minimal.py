"""Hosts that have next to nothing: a root directory with the binary alone, PID
namespaces, closed descriptors. For tests that run as root."""
import functools
import os
import re
import shutil
import signal
import subprocess

import pytest

from cluster import BINARY, wait_for

UNPRIVILEGED = 65532  # A user that no file on the host knows.


def make_root(path):
    """A root directory with /craftd and /data, and nothing else."""
    os.makedirs(os.path.join(path, "data"))
    shutil.copy(BINARY, os.path.join(path, "craftd"))
    os.chmod(path, 0o755)
    return str(path)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(child) for child in f.read().split()]


def only_child(pid):
    found = wait_for(lambda: children(pid), 5, "its child")
    assert len(found) == 1, found
    return found[0]


def has_ended(pid):
    """Perhaps nobody has reaped it."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def access_mode(pid, fd):
    with open(f"/proc/{pid}/fdinfo/{fd}") as f:
        return int(re.search(r"flags:\s*(\d+)", f.read())[1], 8) & 3


def is_held(pid, fd):
    """By the end of a pipe that is of no use: reading from the first fails, and
    writing to the others."""
    return (os.readlink(f"/proc/{pid}/fd/{fd}").startswith("pipe:")
            and access_mode(pid, fd) == (os.O_WRONLY if fd == 0 else os.O_RDONLY))


def in_root(root, argv, user=None):
    """The words that run `argv`, whose first is a path in `root`, there."""
    words = ["chroot"] + ([f"--userspec={user}:{user}"] if user else [])
    return words + [root] + argv


@functools.lru_cache
def has_namespaces():
    """A container may have root, and not be allowed to make or mount any."""
    return subprocess.run(
        ["unshare", "-m", "-n", "-p", "-u", "-f", "mount", "--make-rprivate", "/"],
        capture_output=True).returncode == 0


def need_namespaces():
    if not has_namespaces():
        pytest.skip("no namespaces and mounts of our own here")


def as_process_1(argv):
    """The words that run `argv` as process 1 of a PID namespace. The process
    that is started is its parent, and ends as it does."""
    need_namespaces()
    return ["unshare", "-p", "-f", "--kill-child", *argv]


def boxed_argv(node, data="/data"):
    """Command line of a node in a root of make_root()."""
    argv = ["/craftd"] + node.argv()[1:]
    argv[argv.index(node.dir)] = data
    return argv


def signal_process_1(node, number=signal.SIGTERM):
    """To a node that as_process_1() started."""
    os.kill(only_child(node.pid), number)
