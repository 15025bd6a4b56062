"""The daemon whose reactor is src/reactor/kqueue.c, over an emulation of
kqueue(2): nodes of macOS and the BSDs, as far as Linux can show them."""
import os
import socket
import time

import pytest

from cluster import BINARY, HOST, cpu_seconds, wait_for
from load import Writers, compare_hashes, verify

KQUEUE = os.path.join(os.path.dirname(BINARY), "kqueue", "craftd")

pytestmark = pytest.mark.skipif(not os.path.exists(KQUEUE),
                                reason="make proc builds build/kqueue/craftd")


def pollers(node):
    """epoll has one descriptor, the emulated kqueue two."""
    folder = f"/proc/{node.pid}/fd"
    return sum(os.readlink(os.path.join(folder, name)) == "anon_inode:[eventpoll]"
               for name in os.listdir(folder))


def start(cluster, *binaries):
    """A node of each binary."""
    for binary in binaries:
        node = cluster.new()
        node.binary = binary
        if node is not cluster[0]:
            node.join = cluster[0].http
        node.start().up()
        cluster.wait_leader()
    cluster.wait_members()
    assert [pollers(node) for node in cluster] == [
        2 if binary == KQUEUE else 1 for binary in binaries]
    return cluster


def lead(cluster, node):
    wait_for(lambda: cluster.leader() is node or node.request(
        "POST", "/leader", {"id": node.name}).status == 200, 15, f"{node.name} leads")
    wait_for(lambda: cluster.leader() is node, 15, f"{node.name} leads")


def kill_each_and_catch_up(cluster):
    """Each leads, is killed under load and catches up; nothing acknowledged is
    lost, and all end with the same state."""
    done = []
    for node in cluster:
        lead(cluster, node)
        writers = Writers(cluster.nodes, threads=6, rate=150, count=400,
                          tag=node.name).start()
        writers.wait_acked(60)
        node.kill()
        writers.wait_acked(120)
        node.start().up()
        writers.stop()
        done.append(writers)
        cluster.wait_leader(15)
        cluster.wait_same()
    assert verify(cluster, *done) > 100
    compare_hashes(cluster)


def test_cluster_over_kqueue(cluster):
    kill_each_and_catch_up(start(cluster, KQUEUE, KQUEUE, KQUEUE))
    for node in cluster:
        assert node.terminate() == 0


def test_epoll_and_kqueue_in_one_cluster(cluster):
    start(cluster, BINARY, KQUEUE, BINARY)
    for number, node in enumerate(cluster):
        assert node.put(f"by{number}", str(number)).status == 200
        for other in cluster:
            assert other.get(f"by{number}") == str(number)
    kill_each_and_catch_up(cluster)


def test_back_pressure_over_kqueue(cluster):
    """A client that does not read, one that sends more than is taken, and one
    that resets: each is handled, and then the node sleeps."""
    node = start(cluster, KQUEUE)[0]
    value = "x" * 1000000
    assert node.put("big", value).status == 200

    reader = socket.create_connection((HOST, node.http_port))
    for _ in range(20):  # Twenty answers, of which the kernel takes a few.
        reader.sendall(b"GET /key/big?level=none HTTP/1.1\r\nHost: a\r\n\r\n")
    gone = socket.create_connection((HOST, node.http_port))
    gone.sendall(b"GET /key/big HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
    open_before = node.metric("craftd_http_connections")
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()
    wait_for(lambda: node.metric("craftd_http_connections") < open_before, 10,
             "a reset that nobody waits for is seen")

    before = cpu_seconds(node.pid)
    time.sleep(1)
    assert cpu_seconds(node.pid) - before < 0.5  # It sleeps, though bytes wait.

    assert node.put("small", "1").status == 200
    got = 0
    while got < 20 * len(value):
        piece = reader.recv(1 << 20)
        assert piece
        got += len(piece)
    reader.close()
