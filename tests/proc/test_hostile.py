"""Clients that mean no good, or are broken, over bare sockets."""
import itertools
import json
import re
import signal
import socket
import string
import time

import pytest

from cluster import HOST, Cluster, rss_bytes

MIB = 1 << 20


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    nodes = Cluster(tmp_path_factory.mktemp("hostile"))
    try:
        yield nodes.start(1)[0]
    finally:
        nodes.stop()


def dial(node):
    return socket.create_connection((HOST, node.http_port), 20)


def until_closed(client):
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def stall_seconds(node):
    metrics = node.request("GET", "/metrics").body.decode()
    return float(re.search(r"^craftd_reactor_stall_seconds_max (\S+)$", metrics,
                           re.M).group(1))


def ask(node, head, body=b""):
    """The answer's head, on a connection of its own."""
    client = dial(node)
    client.sendall(head.replace(b"\n", b"\r\n") + b"Host: x\r\nContent-Length: "
                   + str(len(body)).encode() + b"\r\n\r\n" + body)
    return client, client.recv(4096)


# ---- memory -------------------------------------------------------------------

@pytest.mark.parametrize("head, status", [
    (b"POST /api/v1/properties?timeout=x HTTP/1.1\n", b" 400 "),
    (b"POST /api/v1/properties HTTP/1.1\nIf-Match: 1\n", b" 400 "),
    (b"PUT /api/v1/settings/a?ttl=1 HTTP/1.1\n", b" 400 "),
])
def test_a_refused_property_leaves_nothing_behind(one, head, status):
    """Of each of these, 4 MiB of the answer stayed with the connection."""
    body = b'{"key":"a","value":"' + b"\\u0001" * 690_000 + b'"}'
    first, answer = ask(one, head, body)
    assert status in answer
    before = rss_bytes(one.pid)
    clients = [first]
    for _ in range(20):
        client, answer = ask(one, head, body)
        assert status in answer
        clients.append(client)
    time.sleep(0.2)
    assert rss_bytes(one.pid) - before < 30 * MIB
    for client in clients:
        client.close()


# ---- time ---------------------------------------------------------------------

def pairs(count):
    names = itertools.product(string.ascii_lowercase, repeat=4)
    return {"".join(name): "" for name in itertools.islice(names, count)}


def test_more_pairs_than_a_turn_can_apply_are_refused(one):
    """Half a million fit the body, and would hold every node for two seconds,
    which is longer than an election takes."""
    for headers in ({}, {"Idempotency-Key": "many"}):
        answer = one.request("POST", "/key", pairs(10_001), headers)
        assert answer.status == 413
        assert answer.json()["code"] == "too-large"
        assert answer.json()["outcome"] == "not-applied"
    assert one.get("aaaa") is None
    assert one.request("POST", "/key", pairs(340_000)).status == 413
    assert one.request("POST", "/key", pairs(10_000)).status == 200
    assert one.get("aaaa") == ""
    assert stall_seconds(one) < 0.5


def test_many_large_entries_are_not_applied_in_one_turn(cluster):
    """30 requests of 10,000 pairs are committed at once; one takes 50 ms."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    clients = [dial(node) for _ in range(30)]
    for i, client in enumerate(clients):
        body = json.dumps({f"{key}{i}": "" for key in pairs(10_000)}).encode()
        client.sendall(b"POST /key HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                       % len(body) + body[:-1])
    node.send(signal.SIGSTOP)
    for client in clients:
        client.sendall(b"}")
    node.send(signal.SIGCONT)
    for client in clients:
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        client.close()
    assert stall_seconds(node) < 0.8  # Parsing them all is in one turn as well.
