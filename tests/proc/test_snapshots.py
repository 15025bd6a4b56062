"""Snapshots and compaction: the log stays short, and who has missed more than
it holds gets the database itself."""
import concurrent.futures
import os
import signal
import socket
import sqlite3
import threading
import time

from cluster import HOST, Stopwatch, directory_bytes, wait_for
from load import Writers, measured_syncs, meanwhile, verify

MIB = 1 << 20


def log_bytes(node):
    return directory_bytes(os.path.join(node.dir, "wal"))


def pipeline(node, pairs):
    """All of them over one connection, without waiting in between."""
    packets = []
    for key, value in pairs:
        body = b'{"%s":"%s"}' % (key.encode(), value.encode())
        packets.append(b"POST /key HTTP/1.1\r\nHost: x\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with socket.create_connection((HOST, node.http_port), 60) as client:
        sender = threading.Thread(
            target=lambda: [client.sendall(p) for p in packets])
        sender.start()
        answered, rest = 0, b""
        while answered < len(packets):
            data = client.recv(1 << 16)
            assert data, f"closed after {answered}"
            rest += data
            answered += rest.count(b"HTTP/1.1 200 ")
            assert b"HTTP/1.1 4" not in rest and b"HTTP/1.1 5" not in rest, rest
            rest = rest[-12:]
        sender.join()


def write_much(node, count, keys, size=500_000):
    """Values of half a megabyte, over and over to the same keys."""
    filler = "x" * size
    pipeline(node, ((f"much-{i % keys}", f"v{i}:{filler}") for i in range(count)))


def added(cluster, member, **kw):
    """A node that has joined through that one, and has all there is."""
    node = cluster.add(member.http, **kw)
    cluster.wait_members()
    cluster.wait_same(30)
    return node


def one_away(cluster):
    """Three nodes: the leader, a follower that was killed, and the other one."""
    cluster.start(3)
    leader = cluster.wait_leader()
    away, other = cluster.others(leader)
    away.kill()
    return leader, away, other


def test_log_and_database_stay_bounded(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    write_much(leader, 400, 10)  # 200 MB to 5 MB of keys.
    cluster.wait_same()
    for node in cluster.nodes:
        wait_for(lambda node=node: log_bytes(node) <= 48 * MIB, 10,
                 f"{node.name}: log of {log_bytes(node)}")
        assert directory_bytes(node.dir) < 120 * MIB, node.name
    for node in cluster.nodes:
        assert node.get("much-9").startswith("v399:")
    for node in cluster.nodes:
        node.kill()
    cluster.start_all()
    cluster.wait_members(3).wait_same()
    assert leader.get("much-9").startswith("v399:")


def test_many_writes_to_one_key_stay_bounded(cluster):
    """Each is in the log, and changes the same page of the database."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        filler = "x" * 8000
        for _ in pool.map(
                lambda t: pipeline(node, (("one", f"{t}-{i}:{filler}")
                                          for i in range(600))), range(16)):
            pass
    assert node.put("one", "last").status == 200
    wait_for(lambda: log_bytes(node) <= 48 * MIB, 10, "a short log")
    assert directory_bytes(os.path.join(node.dir, "db")) < 40 * MIB
    node.kill()
    node.start().up()
    wait_for(lambda: node.get("one") is not None, 10, "a leader")
    assert node.get("one") == "last"


def test_newcomer_gets_a_snapshot(cluster):
    """S01: the log does not begin with entry 1 any more when it joins."""
    first = cluster.new().start().up()
    cluster.wait_leader()
    write_much(first, 200, 20)
    wait_for(lambda: log_bytes(first) <= 48 * MIB, 10, "a short log")
    newcomer = added(cluster, first)
    assert "snapshot-installed" in newcomer.log()
    assert newcomer.get("much-19", level="none").startswith("v199:")
    # It is as good as any: it serves alone what it was given.
    third = added(cluster, newcomer)
    first.kill()
    wait_for(lambda: newcomer.put("after", "1").status == 200, 15, "a write")
    assert third.get("much-3").startswith("v183:")
    first.start().up()
    cluster.wait_same(30)


def test_long_absence_under_load(cluster):
    leader, away, other = one_away(cluster)
    write_much(leader, 250, 10)
    writers = Writers([leader, other], threads=2, rate=50, count=150).start()
    away.start().up()
    cluster.wait_members(3)
    writers.wait()
    cluster.wait_same(30)
    assert "snapshot-installed" in away.log()
    verify(cluster, writers)


def test_killed_while_it_is_installed(cluster):
    """Again and again, at any moment of it."""
    leader, away, _ = one_away(cluster)
    write_much(leader, 200, 100)  # 50 MB of database.
    for attempt in range(10):
        away.start()
        time.sleep(0.04 * attempt)
        away.kill()
    away.start().up()
    cluster.wait_members(3)
    cluster.wait_same(30)
    for i in (0, 50, 99):
        assert away.get(f"much-{i}", level="none").startswith(f"v{100 + i}:")
    generations = [name for name in os.listdir(os.path.join(away.dir, "db"))
                   if name not in ("CURRENT", "reserve.tmp")]
    assert len(generations) == 1 and generations[0].startswith("gen-")


def test_leader_dies_while_it_sends(cluster):
    """S08: the next leader begins anew, from its own database."""
    leader, away, other = one_away(cluster)
    write_much(leader, 200, 150)
    away.start()
    wait_for(lambda: "snapshot" in leader.log(), 10, "a transfer", pause=0.001)
    leader.send(signal.SIGKILL)
    leader.proc.wait()
    wait_for(lambda: other.put("second", "1").status == 200, 20, "a write")
    leader.start().up()
    cluster.wait_members(3)
    cluster.wait_same(30)
    assert away.get("much-149", level="none").startswith("v149:")


def test_in_memory(cluster):
    cluster.start(2, inmem=True)
    leader = cluster.wait_leader()
    write_much(leader, 200, 10)
    third = added(cluster, leader, inmem=True)
    assert "snapshot-installed" in third.log()
    on_disk = added(cluster, third)
    assert "snapshot-installed" in on_disk.log()
    assert on_disk.get("much-9", level="none").startswith("v199:")
    on_disk.terminate()
    database = sqlite3.connect(
        os.path.join(on_disk.dir, "db", "gen-0000002", "state.db"))
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("SELECT count(*) FROM pairs").fetchone() == (10,)
    database.close()


def test_requests_are_answered_while_a_snapshot_is_sent(cluster):
    leader, away, other = one_away(cluster)
    write_much(leader, 300, 200)  # 100 MB.
    slowest = 0.0
    alive = (leader, other)

    def ask(i):
        nonlocal slowest
        watch = Stopwatch(*alive)
        assert leader.put(f"meanwhile-{i % 7}", str(i)).status == 200
        slowest = max(slowest, watch.seconds())

    term = leader.status()["term"]
    with measured_syncs(leader.dir) as sync_seconds, meanwhile(ask):
        away.start().up()
        wait_for(lambda: "snapshot-installed" in away.log(), 30, "a snapshot")
    # A write waits for its own sync, and for the one in flight before it.
    assert slowest < 0.5 + 2 * sync_seconds(), (slowest, sync_seconds())
    assert leader.status()["term"] == term
    cluster.wait_same(30)
    assert other.get("much-199").startswith("v199:")
