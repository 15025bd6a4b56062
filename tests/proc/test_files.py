"""System limits for a node's files: descriptors, file sizes, names, and a
directory that is moved or removed."""
import contextlib
import os
import shutil
import socket
import stat
import subprocess
import time

import pytest

from cluster import BINARY, HOST, TROUBLE, wait_for

MIB = 1 << 20
LARGE = "d" * 900_000


def limited(node, limits):
    """`limits`: the words of a shell's ulimit, before the node is started."""
    assert node.argv()[0] == BINARY
    return ["sh", "-c", f'ulimit {limits} && exec "$@"', "sh"] + node.argv()


def start_limited(cluster, count, limits):
    for i in range(count):
        node = cluster.new()
        if i > 0:
            node.join = cluster[0].http
        node.start(limited(node, limits))
        node.up()
        cluster.wait_members(i + 1)
    return cluster.wait_leader()


def fds(node):
    return len(os.listdir(f"/proc/{node.pid}/fd"))


class Idle:
    """Connections that say nothing, or begin to. Those that are refused are
    opened anew."""

    def __init__(self):
        self.sockets = []

    def open(self, node, count, data=b""):
        for _ in range(count):
            s = socket.socket()
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                s.connect((HOST, node.http_port))
            with contextlib.suppress(OSError):
                s.send(data)
            self.sockets.append(s)

    def close(self):
        for s in self.sockets:
            s.close()
        self.sockets = []


@pytest.fixture
def idle():
    sockets = Idle()
    yield sockets
    sockets.close()


# ---- descriptors ----

@pytest.mark.parametrize("limit, clients", [(256, 300), (1024, 1100)])
def test_idle_clients_leave_descriptors_for_files(cluster, idle, limit, clients):
    """Clients take the places that there are for clients; the log goes on from
    segment to segment, and members reach each other."""
    start_limited(cluster, 3, f"-n {limit}")
    for node in cluster:
        idle.open(node, clients)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        for node in cluster:
            idle.open(node, 60 if limit == 1024 else 20)
        time.sleep(0.1)
    writers = []
    for node in cluster:
        writer = socket.create_connection((HOST, node.http_port), timeout=15)
        writers.append(writer)
    for i in range(16):  # Three segments and more.
        body = LARGE.encode()
        writers[i % 3].sendall(
            b"PUT /key/large-%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % (i, len(body)) + body)
        answer = writers[i % 3].recv(65536)
        assert answer.startswith(b"HTTP/1.1 20"), (i, answer)
    for node in cluster:
        assert node.alive(), node.name
        assert fds(node) <= limit - 16, (node.name, fds(node))
        log = node.log()
        assert "op=open" not in log, log
        assert log.count("descriptors limit=%d" % limit) == 1, log
    for writer in writers:
        writer.close()
    idle.close()
    wait_for(lambda: cluster.leader().put("after", "1").status == 200, 20, "a write")
    cluster.wait_same()
    status = cluster.leader().status()
    assert any("limit of descriptors" in hint for hint in status["hints"]), status
    assert status["limits"]["connections"] < limit


def test_half_requests_leave_descriptors_for_files(cluster, idle):
    """Connections in the midst of a request do not give way to others: no more
    of them are accepted, and the rest waits in the kernel's queue."""
    limit = 256
    leader = start_limited(cluster, 3, f"-n {limit}")
    other = cluster.others(leader)[0]
    idle.open(leader, 300, b"GET /key/a HTTP/1.1\r\n")
    wait_for(lambda: fds(leader) > 160, 5, "the places are taken")
    for i in range(16):
        idle.open(leader, 20, b"GET /key/a HTTP/1.1\r\n")
        answer = other.request("PUT", "/key/large-%d" % i, LARGE)
        assert answer.status == 201, (i, answer)
        assert fds(leader) <= limit - 16, fds(leader)
    assert leader.alive() and "op=open" not in leader.log()
    idle.close()
    cluster.wait_same()


def test_enough_descriptors_are_no_matter_to_log(cluster):
    cluster.start(1)
    node = cluster.wait_leader()
    assert "descriptors limit" not in node.log()
    assert not any("descriptors" in hint for hint in node.status()["hints"])


def test_a_process_out_of_descriptors_continues_when_there_are_some(cluster):
    """Somebody lowers the limit of the running process to what it has open: the
    log cannot go on to its next segment, which is a refusal and no end."""
    prlimit = pytest.importorskip("resource").prlimit
    import resource
    cluster.start(1)
    node = cluster.wait_leader()
    before = prlimit(node.pid, resource.RLIMIT_NOFILE)
    assert node.put("first", "1").status == 200
    with socket.create_connection((HOST, node.http_port), timeout=15) as client:
        def put(i):
            body = LARGE.encode()
            client.sendall(b"PUT /key/k%d HTTP/1.1\r\nHost: x\r\n"
                           b"Content-Length: %d\r\n\r\n" % (i, len(body)) + body)
            return client.recv(65536)
        assert put(0).startswith(b"HTTP/1.1 20")
        time.sleep(0.3)  # The next segment is prepared.
        prlimit(node.pid, resource.RLIMIT_NOFILE, (4, before[1]))
        answers = [put(i) for i in range(1, 40)]
        assert answers[-1].startswith(b"HTTP/1.1 429"), answers[-1]
        assert b"descriptors" in answers[-1], answers[-1]
        assert node.alive()
        log = node.log()
        assert log.count("Too many open files") <= 2, log
        prlimit(node.pid, resource.RLIMIT_NOFILE, before)
        wait_for(lambda: put(99).startswith(b"HTTP/1.1 20"), 10, "a write again")
    assert "space-again" in node.log()
    acked = sum(a.startswith(b"HTTP/1.1 20") for a in answers)
    for i in range(1, 1 + acked):
        assert node.get(f"k{i}") == LARGE, i


# ---- the size of files ----

def test_a_limit_of_the_size_of_files_is_a_full_disk(cluster):
    """ulimit -f, in blocks of 512 bytes: EFBIG (and SIGXFSZ) instead of ENOSPC,
    met by the database, which is the largest file."""
    node = cluster.new()
    node.start(limited(node, f"-f {32 * MIB // 512}"))
    node.up()
    cluster.wait_leader()
    acked, answer = [], None
    for i in range(60):
        try:
            answer = node.put(f"big-{i}", LARGE)
        except TROUBLE as trouble:
            raise AssertionError(f"{i}: {trouble!r}: {node.log()}") from trouble
        if answer.status != 200:
            break
        acked.append(f"big-{i}")
    assert answer.status == 507, answer
    assert answer.json()["code"] == "no-space"
    time.sleep(0.5)
    assert node.alive(), node.log()
    for key in acked:
        assert node.get(key, level="none") == LARGE, key
    assert node.log().count("error") < 4, node.log()
    assert node.terminate() == 0
    node.start().up()
    wait_for(lambda: node.put("healed", "1").status == 200, 10, "a write again")
    for key in acked:
        assert node.get(key) == LARGE, key


def test_a_limit_that_lasts_fills_no_log(cluster):
    """The database cannot grow, though the disk has room: what is tried again
    says nothing new."""
    node = cluster.new()
    node.start(limited(node, f"-f {9 * MIB // 512}"))
    node.up()
    cluster.wait_leader()
    answers = [node.put(f"big-{i}", LARGE).status for i in range(24)]
    assert answers[-1] == 507, answers
    time.sleep(4)
    lines = [line for line in node.log().splitlines() if "space" in line]
    assert 1 <= len(lines) <= 6, lines
    assert node.alive()


# ---- the directory ----

def removed(node):
    shutil.rmtree(node.dir)


def renamed(node):
    os.rename(node.dir, node.dir + ".old")


def replaced(node):
    os.rename(node.dir, node.dir + ".old")
    shutil.copytree(node.dir + ".old", node.dir)


@pytest.mark.parametrize("lose", [removed, renamed, replaced])
def test_a_node_without_its_directory_hands_over_and_ends(cluster, lose):
    """Later acknowledged writes would be lost with it."""
    cluster.start(3)
    leader = cluster.wait_leader()
    assert leader.put("before", "1").status == 200
    with socket.create_connection((HOST, leader.http_port), timeout=15):
        lose(leader)
        assert leader.wait_exit(12) == 1
    log = leader.log()
    assert log.count("directory-gone") == 1 and leader.dir in log, log
    assert "transfer outcome=done" in log or "role=follower" in log, log
    after = wait_for(cluster.leader, 5, "another leader")
    assert after is not leader
    assert after.get("before") == "1"
    assert after.put("after", "1").status == 200


def test_a_directory_that_stays_is_not_reported(cluster):
    cluster.start(1)
    node = cluster.wait_leader()
    time.sleep(3.5)
    assert node.put("k", "1").status == 200
    assert "directory-gone" not in node.log()


@pytest.mark.parametrize("mask", ["000", "077", "777"])
def test_created_files_are_for_their_owner_alone(cluster, tmp_path, mask):
    """Whatever the umask: data directory and the folders above it, database,
    log, backups, and what craftd backup writes. An owner needs access."""
    node = cluster.new()
    made = tmp_path / "made"
    node.dir = str(made / "above" / "data")
    node.args = ["--backup-dir", str(made / "backups"), "--backup-every", "1s"]
    argv = ["sh", "-c", f'umask {mask} && exec "$@"', "sh"]
    node.start(argv + node.argv())
    node.up()
    cluster.wait_leader()
    assert node.put("k", "v").status == 200
    wait_for(lambda: list(made.glob("backups/*.db")), 10, "a backup")
    subprocess.run(argv + [BINARY, "backup", "--addr", node.http,
                           str(made / "by-command.db")], check=True)
    assert node.terminate() == 0
    modes = {str(path): stat.S_IMODE(path.stat().st_mode)
             for path in [made, *made.rglob("*")]}
    assert len(modes) > 10
    wrong = {path: oct(mode) for path, mode in modes.items()
             if mode != (0o700 if os.path.isdir(path) else 0o600)}
    assert not wrong
