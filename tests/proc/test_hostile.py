"""Clients that mean no good, or are broken, over bare sockets."""
import itertools
import json
import signal
import socket
import string
import time

import pytest

from cluster import HOST, Cluster, rss_bytes, wait_for

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


def ask(node, head, body=b""):
    """The answer's head, on a connection of its own."""
    client = dial(node)
    client.sendall(head.replace(b"\n", b"\r\n") + b"Host: x\r\nContent-Length: "
                   + str(len(body)).encode() + b"\r\n\r\n" + body)
    return client, client.recv(4096)


# ---- memory ----

@pytest.mark.parametrize("head, status", [
    (b"POST /api/v1/properties?timeout=x HTTP/1.1\n", b" 400 "),
    (b"POST /api/v1/properties HTTP/1.1\nIf-Match: 1\n", b" 400 "),
    (b"PUT /api/v1/settings/a?ttl=1 HTTP/1.1\n", b" 400 "),
])
def test_a_refused_property_leaves_nothing_behind(one, head, status):
    """4 MiB of each of these answers stayed allocated with the connection."""
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


@pytest.mark.parametrize("target, body", [
    ("GET /key/big", b""), ("GET /api/v1/properties/big", b""),
    ("POST /txn", b'{"then":[{"get":"big"}]}')])
def test_values_that_no_client_reads_are_bounded(one, target, body):
    """A value of 1 MiB may be 6 MiB of JSON. 128 MiB may wait, small answers
    go on, and all is well when the clients have gone."""
    assert one.request("PUT", "/key/big", b"\x01" * MIB).status in (201, 204)
    one.put("small", "v")
    before = rss_bytes(one.pid)
    clients = []
    codes = set()
    for _ in range(60):
        client = socket.socket()
        client.settimeout(10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((HOST, one.http_port))
        client.sendall(f"{target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
                       "\r\n\r\n".encode() + body)
        clients.append(client)
        codes.add(client.recv(12))
    assert rss_bytes(one.pid) - before < 200 * MIB
    assert codes == {b"HTTP/1.1 200", b"HTTP/1.1 429"}
    assert one.get("small") == "v"
    for client in clients:
        client.close()

    def well():
        method, path = target.split()
        return one.request(method, path, body).status == 200
    wait_for(well, 5, "room")


# ---- time ----

def pairs(count):
    names = itertools.product(string.ascii_lowercase, repeat=4)
    return {"".join(name): "" for name in itertools.islice(names, count)}


def test_more_pairs_than_a_turn_can_apply_are_refused(cluster):
    """Half a million fit the body, and would hold every node for two seconds,
    which is longer than an election takes."""
    one = cluster.new().start().up()
    cluster.wait_leader()
    for headers in ({}, {"Idempotency-Key": "many"}):
        answer = one.request("POST", "/key", pairs(10_001), headers)
        assert answer.status == 413
        assert answer.json()["code"] == "too-large"
        assert answer.json()["outcome"] == "not-applied"
    assert one.get("aaaa") is None
    assert one.request("POST", "/key", pairs(340_000)).status == 413
    assert one.request("POST", "/key", pairs(10_000)).status == 200
    assert one.get("aaaa") == ""
    assert one.stall_seconds() < 0.5


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
    assert node.stall_seconds() < 0.8  # Parsing them all is in one turn as well.


# ---- what is known from the head ----

@pytest.mark.parametrize("head, status", [
    (b"PUT /key/a HTTP/1.1\nContent-Length: 2000000\n", 413),
    (b"PUT /key/a HTTP/1.1\nContent-Length: 5000000\n", 413),
    (b"PUT /key/ HTTP/1.1\nContent-Length: 5\n", 400),
    (b"PUT /key/%00 HTTP/1.1\nTransfer-Encoding: chunked\n", 400),
    (b"PUT /key/a?timeout=x HTTP/1.1\nContent-Length: 5\n", 400),
    (b"PUT /key/a?ttl=x HTTP/1.1\nContent-Length: 5\n", 400),
    (b"PUT /key/a HTTP/1.1\nIf-Match: 4\nContent-Length: 5\n", 400),
    (b"PUT /key/a HTTP/1.1\nIdempotency-Key: " + b"x" * 65 + b"\nContent-Length: 5\n", 400),
    (b"POST /txn?timeout=x HTTP/1.1\nContent-Length: 5\n", 400),
    (b"PUT /txn HTTP/1.1\nContent-Length: 5\n", 405),
    (b"POST /nowhere HTTP/1.1\nContent-Length: 5\n", 404),
    (b"BREW /key/a HTTP/1.1\nContent-Length: 5\n", 501),
    (b"LOCK /key/a HTTP/1.1\nContent-Length: 5\n", 405),
])
def test_expect_100_gets_the_refusal_before_the_body(one, head, status):
    """Instead of 100 (RFC 9110 10.1.1); the body may come or not, and cannot be
    told from a next request: the connection ends."""
    with dial(one) as client:
        client.sendall((head + b"Host: x\nExpect: 100-continue\n\n").replace(b"\n", b"\r\n"))
        answer = until_closed(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1") == 1
    assert json.loads(answer.split(b"\r\n\r\n")[1])["status"] == status


@pytest.mark.parametrize("head, body, status", [
    (b"PUT /key/cont HTTP/1.1\nContent-Length: 5\n", b"value", 201),
    (b"PUT /key/cont HTTP/1.1\nIf-Match: *\nTransfer-Encoding: chunked\n",
     b"3\r\nabc\r\n0\r\n\r\n", 204),
    (b"POST /key HTTP/1.1\nContent-Length: 9\n", b'{"a":"b"}', 200),
    (b"POST /txn HTTP/1.1\nContent-Length: 11\n", b'{"then":[]}', 200),
    (b"POST /join HTTP/1.1\nContent-Length: 2\n", b"{}", 400),
    (b"GET /key/cont HTTP/1.1\nContent-Length: 2\n", b"{}", 200),
])
def test_expect_100_gets_100_before_the_body(one, head, body, status):
    with dial(one) as client:
        client.sendall((head + b"Host: x\nExpect: 100-continue\n\n").replace(b"\n", b"\r\n"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert b"Connection: close" not in answer
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_time_out_after_a_head_has_its_body(one):
    """The method of the last request must not shape the answer to half a one."""
    with dial(one) as client:
        client.sendall(b"HEAD /key/none HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 404 ")
        client.sendall(b"GET /ke")
        head, body = until_closed(client).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["code"] == "request-timeout"
