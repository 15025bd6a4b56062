"""The process is started with descriptors 0 to 2 closed, where there is no /dev: a
file or socket that is opened then must not get the number of one of them, or log
lines would be written into it."""
import contextlib
import itertools
import os
import subprocess

import pytest

from cluster import die_with_parent, wait_for
from minimal import (boxed_argv, children, in_root, is_held, make_root,
                     need_namespaces)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

COMBINATIONS = [which for count in (1, 2, 3)
                for which in itertools.combinations((0, 1, 2), count)]


def closing(which, argv):
    return ["sh", "-c", 'exec "$@" ' + " ".join(f"{fd}<&-" for fd in which), "sh",
            *argv]


def files_below(folder):
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb") as f:
                yield os.path.join(path, name), f.read()


@pytest.fixture
def root(tmp_path):
    return make_root(tmp_path / "root")


@pytest.mark.parametrize("which", COMBINATIONS)
def test_the_node_holds_closed_descriptors(cluster, root, which):
    node = cluster.new(args=["--log-level=debug"])
    words = closing(which, in_root(root, boxed_argv(node)))
    for _ in range(2):
        node.start(words).up()
        for pid in [node.pid] + children(node.pid):
            for fd in range(3):
                assert is_held(pid, fd) == (fd in which), (pid, fd)
        for number in range(20):
            wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
        assert node.get("k") == "v"
        assert node.terminate() == 0
    for path, content in files_below(root + "/data"):
        assert b" start version=" not in content and b" debug " not in content, path
    assert (" stopped code=0" in node.log()) == (2 not in which)


def test_lines_that_nobody_reads_are_dropped_at_once(cluster, root):
    """The pipe that is held in place of stderr could be opened for writing; lines
    would fill it, and wait for ever."""
    need_namespaces()
    node = cluster.new(args=["--log-level=debug"])
    proc = os.path.join(root, "proc")
    os.mkdir(proc)
    node.start(["unshare", "-m", "sh", "-c",
                'mount --make-rprivate / && mount -t proc none "$0/proc" && '
                'exec chroot "$0" "$@" 2>&-', root, *boxed_argv(node)]).up()
    assert is_held(node.pid, 2)
    held = os.readlink(f"/proc/{node.pid}/fd/2")
    links = []
    for fd in os.listdir(f"/proc/{node.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # It was closed meanwhile.
            links.append(os.readlink(f"/proc/{node.pid}/fd/{fd}"))
    assert links.count(held) == 1


@pytest.mark.parametrize("which", COMBINATIONS)
def test_commands_hold_closed_descriptors(cluster, root, which):
    """recover and restore do their work; a command of a client that cannot print
    says so by its exit code."""
    node = cluster.new()
    node.start(in_root(root, boxed_argv(node))).up()
    cluster.wait_leader()
    addr = ["--addr", node.http]

    def run(*words, stdin=b""):
        process = subprocess.Popen(
            closing(which, in_root(root, ["/craftd", *words])),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=die_with_parent)
        out, err = process.communicate(stdin, timeout=30)
        return process.returncode, out, err

    code, out, err = run("put", *addr, "k", "of " + str(which))
    assert code == 0, err
    code, out, err = run("get", *addr, "k")
    assert (code, out) == (
        (1, b"") if 1 in which else (0, f"of {which}".encode())), err
    code, out, err = run("put", *addr, "other", stdin=b"value")
    assert code == (1 if 0 in which else 0), err
    assert node.get("other") == (None if 0 in which else "value")
    assert run("backup", *addr, "/data/backup.db")[0] == 0
    assert node.terminate() == 0
    code, out, err = run("recover", "-id", node.name, "/data")
    assert code == 0, err
    assert (b"recovered" in out) == (1 not in which)
    code, out, err = run("restore", "/data/backup.db", "-id", node.name, "/data/new")
    assert code == 0, err
    for data in ("/data", "/data/new"):
        node.start(in_root(root, boxed_argv(node, data))).up()
        cluster.wait_leader()
        assert node.get("k") == "of " + str(which)
        assert node.terminate() == 0
    for path, content in files_below(root + "/data"):
        for text in (b"recovered, ", b"restored, ", b" warn  ", b" info  "):
            assert text not in content, (path, text)
