"""Bounds that are reached: too many writes at once, clients that do not read,
disks that fill up. Nothing acknowledged is lost, and it all heals."""
import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from cluster import BINARY, HOST, TROUBLE, request, rss_bytes, wait_for

MIB = 1 << 20


def try_put(node, key, value, timeout="3s"):
    """(status, code, outcome)"""
    try:
        response = request(node.http_port, "POST", f"/key?timeout={timeout}",
                           {key: value}, timeout=30)
    except TROUBLE:
        return 0, "", "unknown"
    if response.status == 200:
        return 200, "", ""
    problem = response.json()
    return response.status, problem["code"], problem.get("outcome")


def test_too_many_writes_at_once_are_429(cluster):
    """16 MiB of writes may wait. Nobody commits, so they do; more is refused
    at once, and certainly not done."""
    cluster.start(3)
    leader = cluster.wait_leader()
    value = "x" * (MIB - 100)
    for node in cluster.others(leader):
        node.send(signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        began = time.monotonic()
        answers = list(pool.map(
            lambda i: try_put(leader, f"many-{i}", value), range(40)))
        assert time.monotonic() - began < 20
    for node in cluster.others(leader):
        node.send(signal.SIGCONT)
    refused = [a for a in answers if a[0] == 429]
    assert refused, answers
    assert all(a[1:] == ("overloaded", "not-applied") for a in refused), refused
    assert len(refused) >= 40 - 2 * 16 - 2, answers
    cluster.wait_leader()
    wait_for(lambda: try_put(leader, "after", "1")[0] == 200, 10, "a write")
    for i, (status, _, outcome) in enumerate(answers):
        there = leader.get(f"many-{i}") == value
        assert there or status != 200, i
        assert not there or outcome != "not-applied", i


def test_a_client_that_does_not_read_costs_bounded_memory(cluster):
    node = cluster.new().start().up()
    cluster.wait_leader()
    value = "y" * (MIB - 100)
    assert node.put("big", value).status == 200
    assert node.get("big") == value
    before = rss_bytes(node.pid)
    asked = 200
    with socket.create_connection((HOST, node.http_port), 10) as client:
        one = b"GET /key/big HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall(one * asked)
        for _ in range(20):
            time.sleep(0.05)
            assert node.get("big") == value  # Others are served meanwhile.
        assert rss_bytes(node.pid) - before < 24 * MIB
        client.settimeout(20)
        got = b""
        heads = 0
        total = 0
        while heads < asked:
            data = client.recv(1 << 20)
            assert data, (heads, total)
            total += len(data)
            got = got[-20:] + data
            heads += got.count(b"HTTP/1.1 200")
            got = got[-11:]
        assert total <= asked * (MIB + 1000)


def read_answer(client):
    """(status, body), of a socket's file."""
    status = int(client.readline().split()[1])
    length = 0
    while (line := client.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return status, client.read(length)


@pytest.mark.parametrize("level", ["none", "linearizable"])
def test_large_values_asked_for_at_once_do_not_hold_the_loop(cluster, level):
    """While the node sleeps, all of them ask: they are in one turn. A third
    goes away again, and one has asked for several in a row."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    values = [chr(ord("a") + i) * (MIB - 100) for i in range(4)]
    for i, value in enumerate(values):
        assert node.put(f"big-{i}", value).status == 200
    node.terminate()
    node.start().up()
    cluster.wait_leader()
    assert node.get("big-0") == values[0]
    asks = [(b"GET /key/big-%d?raw&level=" % i) + level.encode() +
            b" HTTP/1.1\r\nHost: x\r\n\r\n" for i in range(4)]
    clients = [socket.create_connection((HOST, node.http_port), 20) for _ in range(150)]
    wait_for(lambda: node.metric("craftd_http_connections") >= 150, 5, "150 connections")
    node.send(signal.SIGSTOP)
    for i, client in enumerate(clients):
        client.sendall(asks[i % 4] if i > 0 else b"".join(asks))
    for client in clients[100:]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    node.send(signal.SIGCONT)
    time.sleep(0.02)
    for client in clients[100:]:
        client.close()

    def take(i):
        with clients[i].makefile("rb") as file:
            for k in range(4) if i == 0 else [i % 4]:
                assert read_answer(file) == (200, values[k].encode())
        clients[i].close()
        return True
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        assert all(pool.map(take, range(100)))
    # All in one turn: twice that, and more.
    assert node.stall_seconds() < 0.13


def test_a_follower_that_sleeps_costs_bounded_memory(cluster):
    """R13: what it misses stays on disk, whatever it amounts to. Four keys
    are written over and over: SQLite's cache does not grow with them, so what
    grows is the link's output (8 MiB) and the recent entries (2 MiB)."""
    cluster.start(3)
    leader = cluster.wait_leader()
    sleeper, other = cluster.others(leader)
    value = "s" * 500_000
    for i in range(20):  # Caches are warm.
        assert leader.put(f"slept-{i % 4}", f"{i}" + value).status == 200
    before = {node.name: rss_bytes(node.pid) for node in (leader, other)}
    sleeper.send(signal.SIGSTOP)
    count = 300
    for i in range(count):
        assert leader.put(f"slept-{i % 4}", f"{i}" + value).status == 200
    for node in (leader, other):
        grown = rss_bytes(node.pid) - before[node.name]
        assert grown < 24 * MIB, (node.name, grown)
    sleeper.send(signal.SIGCONT)
    cluster.wait_same(30)
    for node in cluster.nodes:
        assert rss_bytes(node.pid) - before[leader.name] < 32 * MIB, node.name
    assert sleeper.get("slept-3") == f"{count - 1}" + value


def test_the_quota_leaves_deletes(cluster):
    """--max-db: no more is written, but it can be deleted, and then written
    again. Every node minds its own."""
    cluster.start(3, args=["-max-db", "2M"])
    leader = cluster.wait_leader()
    value = "q" * 100_000
    answers = []
    for i in range(60):
        answers.append(try_put(cluster[i % 3], f"quota-{i}", value))
        if answers[-1][0] != 200:
            break
        time.sleep(0.06)  # The size is looked at when SQLite has committed.
    assert answers[-1] == (507, "no-space", "not-applied"), answers
    assert 10 < len(answers) < 40, len(answers)
    status = leader.status()
    # A hint that the disk is slow may come first.
    assert status["storage"]["no_space"]
    assert [hint for hint in status["hints"] if "max-db" in hint], status["hints"]
    assert leader.get("quota-0") == value
    leader.kill()
    leader.start().up()
    leader = cluster.wait_leader()
    assert try_put(leader, "more", value)[0] == 507
    for i in range(8):
        assert leader.request("DELETE", f"/key/quota-{i}").status == 200
    wait_for(lambda: try_put(leader, "room", value)[0] == 200, 10, "a write")
    cluster.wait_same()


# ---- full disks ----

def can_mount():
    probe = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True, check=False)
    return probe.returncode == 0


needs_mount = pytest.mark.skipif(
    not shutil.which("unshare") or not can_mount(),
    reason="no user namespace to mount a small file system in")


def start_on_small_disk(node, mebibytes):
    """In a mount namespace of its own, which ends with the process."""
    os.makedirs(node.dir, exist_ok=True)
    script = (f'mount -t tmpfs -o size={mebibytes}m none "$1" && shift && '
              'exec "$@"')
    argv = [a if a != node.dir else node.dir + "/data" for a in node.argv()]
    assert argv[0] == BINARY
    node.start(["unshare", "-Urm", "sh", "-c", script, "sh", node.dir] + argv)
    return node.up()


def filler(node):
    return f"/proc/{node.pid}/root{node.dir}/filler"


def fill(node, mode="wb"):
    with open(filler(node), mode, buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"f" * 65536)


@needs_mount
def test_a_full_disk_refuses_writes_and_heals(cluster):
    """D09."""
    node = start_on_small_disk(cluster.new(), 32)
    cluster.wait_leader()
    value = "z" * 100_000
    acked = []
    for i in range(5):
        assert node.put(f"full-{i}", value).status == 200
        acked.append(f"full-{i}")
    fill(node)
    refused = 0
    for i in range(5, 400):
        answer = try_put(node, f"full-{i}", value)
        if answer[0] == 200:
            acked.append(f"full-{i}")
            refused = 0
            continue
        assert answer == (507, "no-space", "not-applied"), answer
        refused += 1
        if refused == 4:
            break
        time.sleep(0.25)  # Old segments of the log make some room.
    assert refused == 4
    until = time.monotonic() + 1.5  # SQLite commits meanwhile, or cannot.
    while time.monotonic() < until:
        for key in acked:
            assert node.get(key, level="none") == value, key
    assert node.status()["storage"]["no_space"]
    assert "no-space" in node.log()
    os.unlink(filler(node))
    wait_for(lambda: node.put("healed", "1").status == 200, 10, "a write again")
    for key in acked:
        assert node.get(key) == value, key
    assert node.alive()


@needs_mount
def test_the_database_commits_into_its_reserve(cluster):
    """A02: the disk gets full while SQLite's transaction is open. The log has
    room for more, but the database has only what was kept for it."""
    node = start_on_small_disk(cluster.new(), 32)
    cluster.wait_leader()
    reserve = f"/proc/{node.pid}/root{node.dir}/data/db/reserve.tmp"
    wait_for(lambda: os.path.exists(reserve) and
             os.stat(reserve).st_blocks * 512 >= MIB, 5, "the reserve")
    value = "r" * 100_000

    def is_told():
        """A transaction is committed after 50 ms without a write: on a machine
        that is busy the disk may be full too late for it. So most of the disk is
        filled before."""
        disk = os.statvfs(f"/proc/{node.pid}/root{node.dir}")
        with open(filler(node), "wb", buffering=0) as file:
            for _ in range(disk.f_bavail * disk.f_frsize // MIB - 4):
                file.write(b"f" * MIB)
            for i in range(8):
                assert node.put(f"open-{i}", value).status == 200
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"f" * MIB)
        fill(node, "ab")
        end = time.monotonic() + 1
        while time.monotonic() < end:
            if node.status()["storage"]["no_space"]:
                return True
        os.unlink(filler(node))
        return False
    wait_for(is_told, 30, "it is told")
    assert not os.path.exists(reserve)
    assert "no-space what=database" in node.log()
    assert try_put(node, "more", "1") == (507, "no-space", "not-applied")
    for i in range(8):
        assert node.get(f"open-{i}", level="none") == value, i
    os.unlink(filler(node))
    wait_for(lambda: try_put(node, "more", "1")[0] == 200, 10, "a write again")
    assert os.stat(reserve).st_size == MIB
    assert node.get("open-7") == value


@needs_mount
def test_a_follower_with_a_full_disk_affects_no_other_node(cluster):
    cluster.start(2)
    full = cluster.new()
    full.join = cluster[0].http
    start_on_small_disk(full, 32)
    cluster.wait_members(3)
    leader = cluster.wait_leader()
    if leader is full:
        assert full.request("POST", "/leader", {}).status == 200
        leader = wait_for(lambda: (lambda l: l if l is not full else None)(
            cluster.leader()), 10, "another leader")
    value = "w" * 100_000
    fill(full)
    for i in range(150):
        assert leader.put(f"beside-{i}", value).status == 200, i
    assert full.alive()
    os.unlink(filler(full))
    wait_for(lambda: full.get("beside-149", level="none") == value, 20,
             "the follower caught up")
    cluster.wait_same()
