"""Hosts that are unlike others: no user names, no environment, no host name, one
family of addresses, other file systems. The clock is in test_initramfs.py."""
import ctypes
import os
import re
import subprocess
import time

import pytest

from cluster import BINARY, die_with_parent, wait_for
from minimal import UNPRIVILEGED, boxed_argv, in_root, make_root, need_namespaces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def root(tmp_path):
    for path in [tmp_path, *tmp_path.parents][:-2]:
        os.chmod(path, os.stat(path).st_mode | 0o011)
    return make_root(tmp_path / "root")


def write_and_read(node, key="k"):
    wait_for(lambda: node.put(key, "v").status == 200, 10, "a write")
    assert node.get(key) == "v"


# ---- users and environment ----

def test_a_user_by_number(cluster, root):
    """There is no /etc/passwd to name one."""
    node = cluster.new(args=["--user", f"{UNPRIVILEGED}:{UNPRIVILEGED}"])
    os.rmdir(os.path.join(root, "data"))
    for _ in range(2):
        node.start(in_root(root, boxed_argv(node))).up()
        with open(f"/proc/{node.pid}/status") as f:
            text = f.read()
        assert f"\nUid:\t{UNPRIVILEGED}\t" in text and f"\nGid:\t{UNPRIVILEGED}\t" in text
        assert re.search(r"\nGroups:\s*65532\s*\n", text), text
        write_and_read(node)
        assert node.terminate() == 0
    assert os.stat(os.path.join(root, "data")).st_uid == UNPRIVILEGED
    node.args = ["--user", str(UNPRIVILEGED)]
    node.start(in_root(root, boxed_argv(node)))
    assert node.wait_exit() == 1
    assert f"the group must be given: {UNPRIVILEGED}:GROUP" in node.log()


def test_no_environment(cluster, root):
    """No TZ, HOME or PATH; times are UTC."""
    node = cluster.new()
    node.start(["env", "-i", "/usr/sbin/chroot", root, *boxed_argv(node)]).up()
    with open(f"/proc/{node.pid}/environ") as f:
        assert f.read() == ""
    write_and_read(node)
    for words, out in ((["get", "k"], "v"), (["ls"], "k"), (["--version"], "craftd ")):
        addr = ["--addr", node.http] if words[0] != "--version" else []
        done = subprocess.run(["env", "-i", BINARY, *words[:1], *addr, *words[1:]],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and done.stdout.startswith(out), done
    assert node.terminate() == 0


@pytest.mark.parametrize("name", ["", "n" * 64])
def test_the_name_of_the_host(cluster, name):
    """Empty, and as long as can be."""
    need_namespaces()
    libc = ctypes.CDLL(None, use_errno=True)

    def become_host():
        die_with_parent()
        if libc.unshare(0x04000000) or libc.sethostname(name.encode(), len(name)):
            os._exit(99)
    node = cluster.new()
    with open(node.log_path, "ab") as log:
        node.proc = subprocess.Popen(
            node.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=become_host)
    node.up()
    write_and_read(node)
    for host, status in ((name or "x", 200 if name else 403), (node.http, 200)):
        response = node.request("GET", "/status", headers={
            "Host": host, "Origin": "http://" + host})
        assert response.status == status, (host, response)
    assert node.terminate() == 0


# ---- networks ----

def alone(setup, argv):
    """In a network namespace with a loopback interface after `setup`."""
    need_namespaces()
    return ["unshare", "-n", "sh", "-c", f'ip link set lo up && {setup} && exec "$@"',
            "sh", *argv]


def command(node, *words):
    return subprocess.run(["nsenter", "-n", "-t", str(node.pid), BINARY, words[0],
                           "--addr", f"localhost:{node.http_port}", *words[1:]],
                          capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("setup, bound", [
    ("ip addr del 127.0.0.1/8 dev lo", r"\[::1\]"),
    ("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6", r"127\.0\.0\.1"),
    ("true", r"127\.0\.0\.1:\d+,\[::1\]")])
def test_one_family_of_addresses_and_no_route(cluster, setup, bound):
    """Others cannot be reached; that stops nothing."""
    node = cluster.new()
    node.start(alone(setup, [BINARY, "-id", node.name, "-http",
                             f"localhost:{node.http_port}", "-raft",
                             f"localhost:{node.raft_port}", node.dir]))
    wait_for(lambda: " ready applied=" in node.log(), 10, "the start")
    assert re.search(rf" http={bound}:{node.http_port} ", node.log()), node.log()
    assert command(node, "put", "k", "v").returncode == 0
    assert command(node, "get", "k").stdout == "v"
    assert node.terminate() == 0
    node.join = "10.1.2.3:1,[fd00::1]:1"
    other = cluster.new()
    other.start(alone(setup, [BINARY, "-id", other.name, "-http",
                              f"localhost:{other.http_port}", "-raft",
                              f"localhost:{other.raft_port}", "-join", node.join,
                              other.dir]))
    wait_for(lambda: "network unreachable" in other.log(), 20, "the line")
    assert command(other, "status").returncode in (0, 1)
    assert other.terminate() == 0


# ---- file systems ----

def has(tool, *words):
    try:
        return subprocess.run([tool, *words], capture_output=True).returncode == 0
    except OSError:
        return False


MOUNTS = {
    "tmpfs": 'mount -t tmpfs -o size=64m none "$0"',
    "ext4": 'truncate -s 64M "$0.img" && mkfs.ext4 -q -F "$0.img" && '
            'mount -o loop,noatime "$0.img" "$0"',
    # A container's image below, perhaps with data, and its changes on top.
    "overlay": 'mkdir -p "$0.up" && mount -t tmpfs -o size=64m none "$0.up" && '
               'mkdir "$0.up/up" "$0.up/work" && mount -t overlay -o '
               'lowerdir="$0.low",upperdir="$0.up/up",workdir="$0.up/work" none "$0"',
    "overlay over squashfs":
        'mksquashfs "$0.low" "$0.img" -quiet -no-progress >/dev/null && '
        'mkdir -p "$0.up" "$0.ro" && mount -o loop "$0.img" "$0.ro" && '
        'mount -t tmpfs -o size=64m none "$0.up" && mkdir "$0.up/up" "$0.up/work" && '
        'mount -t overlay -o lowerdir="$0.ro",upperdir="$0.up/up",'
        'workdir="$0.up/work" none "$0"',
}


@pytest.mark.parametrize("kind", MOUNTS)
def test_file_systems(cluster, tmp_path, kind):
    """A node that was killed goes on with what it had, on each; and with what an
    image had. The directory is the one that it has opened."""
    if kind == "overlay over squashfs" and not has("mksquashfs", "-version"):
        pytest.skip("no mksquashfs")
    folder = str(tmp_path / "disk")
    for path in (folder, folder + ".low"):
        os.mkdir(path)
    node = cluster.new()
    node.dir = folder + ".low/data"
    if kind.startswith("overlay"):
        node.start().up()
        write_and_read(node, "below")
        node.kill()
    if subprocess.run(["sh", "-c", MOUNTS[kind], folder], capture_output=True).returncode:
        pytest.skip("cannot be mounted here")
    try:
        node.dir = folder + "/data"
        for number in range(3):
            node.start().up()
            write_and_read(node, f"k{number}")
            if kind.startswith("overlay"):
                assert node.get("below") == "v"
            for before in range(number):
                assert node.get(f"k{before}") == "v"
            assert node.put_many({f"{number}-{i}": "x" * 1000 for i in range(3000)}
                                 ).status == 200
            node.kill()
        node.start().up()
        cluster.wait_leader()
        if kind.startswith("overlay"):
            time.sleep(3.5)  # It looks whether its directory is still there.
        assert node.get("k2") == "v"
        assert "directory-gone" not in node.log()
        assert node.terminate() == 0
    finally:
        for path in (folder, folder + ".up", folder + ".ro"):
            subprocess.run(["umount", "-l", path], capture_output=True)
