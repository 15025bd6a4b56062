"""Clients that mean no good, or are broken, over bare sockets."""
import http.client
import itertools
import re
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
