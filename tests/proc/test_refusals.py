"""Requests that are refused before their body has arrived: a client that is still
sending must be able to read the reason (RFC 9112 9.6), at no cost for the node."""
import concurrent.futures
import http.client
import json
import socket
import time

import pytest

from cluster import HOST, Stopwatch, rss_bytes, wait_for

MIB = 1 << 20


def send_whole_then_read(node, method, path, headers, size):
    """Like most libraries: no look at the answer before all has been sent."""
    client = http.client.HTTPConnection(HOST, node.http_port, timeout=20)
    try:
        client.putrequest(method, path)
        for name, value in headers.items():
            client.putheader(name, value)
        client.putheader("Content-Length", str(size))
        client.endheaders()
        block = b"b" * 65536
        while size > 0:
            client.sock.sendall(block[:min(size, len(block))])
            size -= len(block)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read()), answer.getheader("Connection")
    finally:
        client.close()


@pytest.mark.parametrize("method, path, headers, mebibytes, status", [
    ("PUT", "/key/much", {}, 5, 413),
    ("POST", "/key", {}, 6, 413),
    ("POST", "/txn", {}, 5, 413),
    ("POST", "/restore?timeout=x", {}, 6, 400),
    ("POST", "/restore", {"If-Match": "*"}, 6, 400),
    ("PUT", "/key/much", {"Expect": "something"}, 6, 413),
    ("PUT", "/key/much", {"Expect": "something"}, 4, 417),
    ("PUT", "/key/much", {"Transfer-Encoding": "gzip"}, 6, 400),
    ("PUT", "/key/much", {"X-Long": "x" * 9000}, 6, 431),
])
def test_a_client_that_sends_first_reads_the_refusal(
        three, method, path, headers, mebibytes, status):
    node = three[0]
    for _ in range(15):
        got, problem, connection = send_whole_then_read(
            node, method, path, headers, mebibytes * MIB)
        assert (got, connection) == (status, "close"), problem
        assert problem["outcome"] == "not-applied"
    assert "reset" not in node.log()


def test_refused_bodies_take_no_memory_and_no_time_of_others(three):
    node = three[0]
    before = rss_bytes(node.pid)

    def one(_):
        return send_whole_then_read(node, "PUT", "/key/m", {}, 8 * MIB)[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(one, i) for i in range(16)]
        slowest = 0.0
        while not all(future.done() for future in sent):
            watch = Stopwatch(*three)
            assert node.put("beside", "refused").status == 200
            slowest = max(slowest, watch.seconds())
        assert {future.result() for future in sent} == {413}
    assert slowest < 2
    assert rss_bytes(node.pid) - before < 24 * MIB


def test_a_refused_body_that_does_not_end_is_left(three):
    """After 30 s, whatever still comes."""
    node = three[1]
    with socket.create_connection((HOST, node.http_port), 5) as client:
        client.sendall(b"PUT /key/m HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413 ")
        watch = Stopwatch(node)

        def left():
            try:
                client.send(b"more")
            except OSError:
                return True
            return False
        wait_for(left, 40, "it is closed", pause=0.5)
        assert 25 < time.monotonic() - watch.began
        assert watch.seconds() < 35
