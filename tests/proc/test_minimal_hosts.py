"""Hosts with next to nothing: an empty root, process 1 of a container, few
descriptors, little address space, system calls that are missing."""
import contextlib
import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import termios
import time

import pytest

from cluster import (BINARY, HOST, cpu_seconds, die_with_parent, forbidding,
                     wait_for)
from minimal import (UNPRIVILEGED, as_process_1, boxed_argv, children, in_root,
                     make_root, need_namespaces, only_child, signal_process_1)
from syscalls import NUMBERS, SUPPORTED

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
injects = pytest.mark.skipif(not SUPPORTED, reason="x86-64 only")


@pytest.fixture
def root(tmp_path):
    """Every user may enter it."""
    for path in [tmp_path, *tmp_path.parents][:-2]:
        os.chmod(path, os.stat(path).st_mode | 0o011)
    return make_root(tmp_path / "root")


def serves(node):
    wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
    assert node.get("k") == "v"
    return True


@pytest.mark.parametrize("user", [None, UNPRIVILEGED])
def test_an_empty_root(cluster, root, user):
    """No /dev, /proc, /etc or /tmp; and none is made."""
    os.chown(os.path.join(root, "data"), user or 0, user or 0)
    node = cluster.new()
    for _ in range(2):
        node.start(in_root(root, boxed_argv(node), user)).up()
        assert serves(node)
        with open(f"/proc/{node.pid}/status") as f:
            assert f"\nUid:\t{user or 0}\t" in f.read()
        assert node.terminate() == 0
    assert sorted(os.listdir(root)) == ["craftd", "data"]


def test_a_read_only_root(cluster, root):
    """The data on a tmpfs."""
    need_namespaces()
    node = cluster.new()
    node.start(["unshare", "-m", "sh", "-c",
                'mount --make-rprivate / && mount --bind "$0" "$0" && '
                'mount -t tmpfs -o size=64m none "$0/data" && '
                'mount -o remount,bind,ro "$0" && exec chroot "$0" "$@"',
                root, *boxed_argv(node)]).up()
    assert serves(node)
    assert node.terminate() == 0
    assert os.listdir(os.path.join(root, "data")) == []


def process_metrics(node):
    text = node.request("GET", "/metrics").body.decode()
    return {name: float(value) for name, value in
            re.findall(r"(?m)^(process_\w+) (\S+)$", text)}


@pytest.mark.parametrize("has_proc", [False, True])
def test_metrics_of_the_process(cluster, root, has_proc):
    """Memory in use is unknown without /proc: the largest that it was is another
    figure, and is none."""
    node = cluster.new()
    argv = in_root(root, boxed_argv(node)) if not has_proc else node.argv()
    node.start(argv).up()
    assert serves(node)
    seen = process_metrics(node)
    memory = {"process_resident_memory_bytes", "process_virtual_memory_bytes"}
    assert set(seen) - memory == {
        "process_start_time_seconds", "process_open_fds", "process_max_fds",
        "process_cpu_seconds_total"}
    assert (set(seen) & memory == memory) == has_proc
    # The connection of the request is one of them. Files may come and go.
    wait_for(lambda: process_metrics(node)["process_open_fds"]
             == 1 + len(os.listdir(f"/proc/{node.pid}/fd")), 5, "open descriptors")
    assert seen["process_max_fds"] > 64
    assert 0 < seen["process_cpu_seconds_total"] < 10


# ---- process 1 of a PID namespace ----

@pytest.fixture
def first(cluster, root):
    """A node as the first process of a container, without privileges."""
    os.chown(os.path.join(root, "data"), UNPRIVILEGED, UNPRIVILEGED)
    node = cluster.new()
    node.start(as_process_1(in_root(root, boxed_argv(node), UNPRIVILEGED))).up()
    assert serves(node)
    yield node
    if node.alive():  # A change of user takes the signal of a parent's death away.
        os.kill(only_child(node.pid), signal.SIGKILL)
        node.wait_exit()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_ends_as_it_is_told(first, number):
    """A signal without a handler has no effect on process 1."""
    signal_process_1(first, signal.SIGHUP)
    wait_for(lambda: " hangup signal=1" in first.log(), 5, "SIGHUP")
    assert serves(first)
    signal_process_1(first, number)
    assert first.wait_exit() == 0
    assert f" stop signal={int(number)}" in first.log()
    assert " stopped code=0" in first.log()


def test_ctrl_c_reaches_the_node_once(cluster, root):
    """The kernel sends it to process 1 and to its child: the second one would
    stop the node without a hand-over."""
    terminal, ours = os.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(ours, termios.TIOCSCTTY, 0)
        die_with_parent()
    node = cluster.new()
    try:
        with open(node.log_path, "ab") as log:
            node.proc = subprocess.Popen(
                as_process_1(in_root(root, boxed_argv(node))), stdin=ours,
                stdout=log, stderr=log, preexec_fn=take_terminal)
        assert serves(node.up())
        init = only_child(node.pid)
        other = cluster.add(node.http)
        cluster.wait_members(2)
        other.kill()  # A leader that stops tries to hand over, for a second.
        os.kill(init, signal.SIGSTOP)
        os.write(terminal, b"\x03")
        wait_for(lambda: " stop signal=2" in node.log(), 5, "SIGINT")
        os.kill(init, signal.SIGCONT)
        assert node.wait_exit() == 0
        assert node.log().count(" stop ") == 1
    finally:
        os.close(terminal)
        os.close(ours)


def test_process_1_reaps_what_it_adopts(first):
    """The orphans of every process in its namespace are its children."""
    init = only_child(first.pid)
    before = set(children(init))
    subprocess.run(["nsenter", "-p", "-t", str(init), "sh", "-c",
                    "for i in 1 2 3; do (sleep 60 &); done"], check=True,
                   stdin=subprocess.DEVNULL)
    adopted = set(children(init)) - before
    assert len(adopted) == 3
    for pid in adopted:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: set(children(init)) == before, 5, "no zombies")
    assert serves(first)


@injects
def test_process_1_that_dies_says_why(cluster, root):
    """abort() has no effect on process 1 but a second fault, SIGSEGV."""
    node = cluster.new(args=["--io=sync"])
    node.start(as_process_1(forbidding(
        {NUMBERS["fdatasync"]: 5}, in_root(root, boxed_argv(node)))))
    assert node.wait_exit() == 128 + signal.SIGABRT
    assert 'fatal why="meta.0: fdatasync failed' in node.log()


def test_process_1_whose_node_is_killed(first):
    """As by the kernel, when the memory is used up: a code and a sentence."""
    node = only_child(only_child(first.pid))
    os.kill(node, signal.SIGKILL)
    assert first.wait_exit() == 128 + signal.SIGKILL
    assert 'why="ended by signal 9' in first.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_as_process_1(root, number):
    """Its exit code is that of the command, and a signal ends it."""
    words = as_process_1(in_root(root, ["/craftd", "nodes", "--addr", "127.0.0.1:1"]))
    done = subprocess.run(words, capture_output=True, timeout=60, text=True)
    assert done.returncode == 6, done
    reader, writer = os.pipe()  # Nobody writes: the command waits for its value.
    words = as_process_1(in_root(root, ["/craftd", "put", "k"]))
    process = subprocess.Popen(words, stdin=reader, preexec_fn=die_with_parent,
                               stderr=subprocess.PIPE)
    try:
        command = only_child(process.pid)
        wait_for(lambda: os.readlink(f"/proc/{command}/exe").endswith("/craftd"),
                 5, "exec")
        time.sleep(0.2)
        os.kill(command, number)
        assert process.wait(10) == 128 + number
    finally:
        process.kill()
        os.close(reader)
        os.close(writer)


# ---- limits, and system calls that are missing ----

def limited(option, argv):
    return ["prlimit", option, "--", *argv]


def test_64_descriptors(cluster):
    """They are shared between clients, files and peers, so that a crowd of clients
    takes none from the others."""
    nodes = [cluster.new() for _ in range(3)]
    for node in nodes:
        node.join = nodes[0].http if node is not nodes[0] else None
        node.start(limited("--nofile=64:64", node.argv())).up()
        cluster.wait_leader()
    cluster.wait_members(3)
    for node in nodes:
        assert " descriptors limit=64 " in node.log()
        with contextlib.ExitStack() as crowd:
            for _ in range(100):
                crowd.enter_context(
                    socket.create_connection((HOST, node.http_port)))
            wait_for(lambda: node.put("crowd", node.name).status == 200, 15,
                     "a write")
            assert not re.search(r"accept-paused|Too many open files", node.log())
        leader = cluster.wait_leader()
        leader.terminate()
        assert serves(cluster.others(leader)[0])
        leader.start(limited("--nofile=64:64", leader.argv())).up()
        cluster.wait_members(3)
    cluster.wait_same()


@pytest.mark.parametrize("limit", [8, 14, 20, 47])
def test_too_few_descriptors(cluster, limit):
    """Something else would fail later, with another reason."""
    node = cluster.new()
    node.start(limited(f"--nofile={limit}:{limit}", node.argv()))
    assert node.wait_exit() == 1
    assert f'limit of descriptors is {limit}, and a node needs 48"' in node.log()
    assert len(node.log().splitlines()) == 1 and not os.path.exists(node.dir)


def test_little_address_space(cluster):
    """32 MB of it, for a database of a few."""
    node = cluster.new()
    node.start(limited(f"--as={32 << 20}", node.argv())).up()
    assert serves(node)
    for number in range(40):
        pairs = {f"k{number}-{i}": "v" * 1000 for i in range(100)}
        assert node.put_many(pairs).status == 200
    assert len(node.request("GET", "/keys?limit=1000").body) > 1000
    assert node.request("GET", "/metrics").status == 200
    assert node.terminate() == 0
    node.start(limited(f"--as={32 << 20}", node.argv())).up()
    assert node.get("k39-99") == "v" * 1000


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS])
def test_without_io_uring(cluster, error):
    """The log is synced by other processes, and a line says so."""
    node = cluster.new()
    node.start(forbidding({425: error}, node.argv())).up()
    assert serves(node)
    assert node.log().count(" io log=process why=") == 1
    assert node.terminate() == 0


@injects
def test_an_old_kernel(cluster, root):
    """Calls of the last ten years, all of them missing: rseq, clone3, close_range,
    openat2, faccessat2, statx, io_uring and Landlock's, membarrier, renameat2,
    seccomp, copy_file_range."""
    gone = [334, 435, 436, 437, 439, 332, 425, 426, 427, 444, 445, 446, 324, 316, 317,
            326]
    cluster.start(1)
    node = cluster.new()
    node.join = cluster[0].http.replace(HOST, "name.invalid") + "," + cluster[0].http
    node.start(forbidding({number: errno.ENOSYS for number in gone},
                          node.argv())).up()
    cluster.wait_members(2)
    assert serves(node)
    assert " sandbox seccomp=on landlock=off " in node.log()
    assert node.request("GET", "/metrics").status == 200
    assert node.terminate() == 0
    done = subprocess.run(
        forbidding({number: errno.ENOSYS for number in gone},
                   [BINARY, "recover", "-id", node.name, node.dir]),
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done


ACCEPT4, ACCEPT = 288, 43  # A C library may try the one after the other.


@injects
@pytest.mark.parametrize("error", [errno.EACCES, errno.ENOSYS, errno.ECONNABORTED])
def test_no_connection_can_be_accepted(cluster, error):
    """A security module forbids it, or every connection fails: each listener says
    so once, and tries again at rest."""
    node = cluster.new()
    path = str(cluster.base / "socket")
    argv = node.argv()
    argv[argv.index("-haddr") + 1] += ",unix:" + path
    node.start(forbidding({ACCEPT4: error, ACCEPT: error}, argv))
    wait_for(lambda: " start version=" in node.log(), 10, "it starts")
    with contextlib.ExitStack() as clients:
        for port in (node.http_port, node.raft_port):
            clients.enter_context(socket.create_connection((HOST, port)))
        unix = clients.enter_context(socket.socket(socket.AF_UNIX))
        unix.connect(path)
        wait_for(lambda: node.log().count(" accept-paused ") == 3, 5, "the lines")
        for where in (node.http, node.raft, "unix:" + path):
            assert f' accept-paused at={where} why="' in node.log()
        before = cpu_seconds(node.pid)
        time.sleep(2)
        assert cpu_seconds(node.pid) - before < 0.5
        assert node.log().count(" accept-paused ") == 3
    assert node.terminate() == 0


# ---- entropy ----

GETRANDOM = 318


@injects
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_without_getrandom_there_is_a_device(cluster, tmp_path, error):
    """A kernel before 3.17, or a filter. It stays open in the sandbox."""
    key = tmp_path / "key"
    made = subprocess.run(forbidding({GETRANDOM: error}, [BINARY, "keygen"]),
                          capture_output=True, text=True)
    assert made.returncode == 0, made
    key.write_text(made.stdout)
    key.chmod(0o600)
    nodes = [cluster.new(args=["--cluster-key", str(key)]) for _ in range(2)]
    for node in nodes:
        node.join = nodes[0].http if node is not nodes[0] else None
        node.start(forbidding({GETRANDOM: error}, node.argv())).up()
        cluster.wait_leader()
    cluster.wait_members(2)
    for _ in range(2):  # Handshakes in the sandbox need it again.
        nodes[1].terminate()
        nodes[1].start(forbidding({GETRANDOM: error}, nodes[1].argv())).up()
        cluster.wait_members(2)
    assert serves(nodes[0])
    assert [os.readlink(f"/proc/{nodes[0].pid}/fd/{fd}")
            for fd in os.listdir(f"/proc/{nodes[0].pid}/fd")].count(
                "/dev/urandom") == 1


@injects
@pytest.mark.parametrize("command", [None, "keygen", "recover"])
def test_without_any_entropy_nothing_starts(cluster, root, command):
    node = cluster.new()
    argv = boxed_argv(node)
    if command:
        argv = ["/craftd", command] + (["/data"] if command == "recover" else [])
    node.start(forbidding({GETRANDOM: errno.ENOSYS}, in_root(root, argv)))
    assert node.wait_exit() == 1
    assert ('why="this system has no random numbers: getrandom: Function not '
            'implemented, /dev/urandom: No such file or directory"') in node.log()
    assert os.listdir(os.path.join(root, "data")) == []


@injects
def test_a_file_is_no_source_of_entropy(cluster, root):
    """What looks like the device may have been packed with the image."""
    os.mkdir(os.path.join(root, "dev"))
    with open(os.path.join(root, "dev", "urandom"), "wb") as f:
        f.write(bytes(4096))
    node = cluster.new()
    node.start(forbidding({GETRANDOM: errno.ENOSYS},
                          in_root(root, boxed_argv(node))))
    assert node.wait_exit() == 1
    assert "/dev/urandom: No such device" in node.log()


@injects
def test_a_kernel_that_has_just_started(cluster):
    """It waits, at rest, and says so once."""
    node = cluster.new()
    node.start(forbidding({GETRANDOM: errno.EAGAIN}, node.argv()))
    wait_for(lambda: "waiting for the kernel" in node.log(), 5, "the line")
    before = cpu_seconds(node.pid)
    time.sleep(2)
    assert cpu_seconds(node.pid) - before < 0.5
    assert node.log().count("waiting for the kernel") == 1
    node.send(signal.SIGTERM)
    assert node.wait_exit() == -signal.SIGTERM
    assert not os.path.exists(node.dir)
