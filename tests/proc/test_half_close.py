"""Clients that send requests and then the end of their stream (half-close),
as `printf ... | nc -N` does: what was received is executed and answered in
order, and then the connection ends."""
import json
import re
import socket
import struct
import time

import pytest

from cluster import HOST, wait_for

MIB = 1 << 20


def get(path):
    return b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()


def put(path, body):
    return (b"PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            % (path.encode(), len(body))) + body


def post(path, body):
    return put(path, body).replace(b"PUT", b"POST", 1)


def send_and_end(node, packet, pause=0.0, receive_bytes=None):
    """Everything that comes back until the node closes; a reset is an error."""
    with socket.socket() as client:
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(30)
        client.connect((HOST, node.http_port))
        client.sendall(packet)
        client.shutdown(socket.SHUT_WR)
        time.sleep(pause)
        data = bytearray()
        while piece := client.recv(1 << 20):
            data += piece
    return bytes(data)


def answers(data, heads=()):
    """[(status, body)]; the numbers in `heads` answer HEAD. Interim answers
    are passed over."""
    out = []
    while data:
        head, blank, rest = data.partition(b"\r\n\r\n")
        assert blank and head.startswith(b"HTTP/1.1 "), data[:200]
        status = int(head.split()[1])
        if status < 200:
            data = rest
            continue
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length" and len(out) not in heads:
                length = int(value)
        assert len(rest) >= length, (len(out), status, len(rest), length)
        out.append((status, rest[:length]))
        data = rest[length:]
    return out


def test_every_write_before_a_half_close_is_done(three):
    leader = three.wait_leader()
    for node in (leader, three.others(leader)[0]):
        packet = b"".join(put(f"/key/half-{node.name}-{i}", b"%d" % i)
                          for i in range(20))
        got = answers(send_and_end(node, packet))
        assert [status for status, _ in got] == [201] * 20, got
        for i in range(20):
            assert node.get(f"half-{node.name}-{i}") == str(i)
        count = post("/txn", b'{"then":[{"incr":"half-n","by":1}]}')
        got = answers(send_and_end(node, count * 20))
        values = [json.loads(body)["results"][0]["value"] for _, body in got]
        assert len(values) == 20 and values == sorted(values, key=int)
    assert leader.get("half-n") == "40"


@pytest.mark.parametrize("path", [
    "/key/halves", "/key/halves?level=none", "/key/halves?level=strong",
    "/keys?prefix=half", "/api/v1/properties?pattern=^half$", "/nodes",
    "/status", "/metrics", "/readyz?sync", "/nowhere"])
def test_every_read_before_a_half_close_is_answered(three, path):
    leader = three.wait_leader()
    assert leader.put("halves", "v").status == 200
    for node in (leader, three.others(leader)[0]):
        got = answers(send_and_end(node, get(path) * 20))
        want = node.request("GET", path).status
        assert [status for status, _ in got] == [want] * 20, got


def test_mixed_requests_before_a_half_close(three):
    node = three.others(three.wait_leader())[0]
    packet = (get("/key/mix?level=none") * 5 + put("/key/mix", b"1")
              + get("/backup") + get("/key/mix?raw") + post("/sync", b"")
              + b"DELETE /keys?prefix=mix HTTP/1.1\r\nHost: x\r\n\r\n"
              + b"HEAD /key/mix HTTP/1.1\r\nHost: x\r\n\r\n"
              + get("/keys?prefix=mix"))
    got = answers(send_and_end(node, packet), heads=(10,))
    assert [status for status, _ in got] == [404] * 5 + [
        201, 200, 200, 200, 200, 404, 200]
    assert got[6][1].startswith(b"SQLite format 3")
    assert got[7][1] == b"1"
    assert json.loads(got[9][1])["deleted"] == 1
    assert json.loads(got[11][1])["items"] == []


def test_only_the_last_answer_announces_the_end(three):
    data = send_and_end(three[0], put("/key/last", b"x") * 10)
    heads = [part for part in data.split(b"\r\n\r\n") if part]
    assert len(heads) == 10
    assert [b"Connection: close" in head for head in heads] == [False] * 9 + [True]


@pytest.mark.parametrize("level", ["none", "linearizable"])
def test_large_answers_before_a_half_close_all_arrive(three, level):
    """More than an output buffer holds, taken at once and slowly."""
    node = three[0]
    value = b"L" * MIB
    assert node.request("PUT", "/key/halves-large", value).status in (201, 204)
    for i in range(4):
        node.request("PUT", f"/key/halves-large-{i}", value)
    large = get(f"/key/halves-large?raw&level={level}")
    packet = large * 12 + get("/keys?prefix=large-") + large * 3
    for receive_bytes, pause in ((None, 0), (4096, 0.5)):
        got = answers(send_and_end(node, packet, pause, receive_bytes))
        assert [status for status, _ in got] == [200] * 16
        assert [len(body) for _, body in got].count(MIB) == 15
        assert all(body == value for i, (_, body) in enumerate(got) if i != 12)


@pytest.mark.parametrize("cut", [
    b"GET /key/cu", b"GET /key/cut HTTP/1.1\r\nHost: x\r\n",
    put("/key/cut", b"not all of it")[:-3],
    b"PUT /key/cut HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    post("/restore", b"SQLite format 3\0" * 100)[:-1],
    b"POST /restore HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
], ids=["target", "head", "body", "chunk", "restore", "chunked-restore"])
def test_a_request_that_a_half_close_cuts_is_400(three, cut):
    """RFC 9112 8: an incomplete request is an error, and it is not done."""
    node = three[1]
    for before in (b"", put("/key/before-cut", b"1")):
        got = answers(send_and_end(node, before + cut))
        assert got[-1][0] == 400, got
        problem = json.loads(got[-1][1])
        assert (problem["code"], problem["outcome"]) == ("bad-request", "not-applied")
        assert len(got) == (2 if before else 1)
        assert before == b"" or got[0][0] in (201, 204)
    assert node.get("cut") is None
    # Nothing is left of the restore: another may begin at once.
    assert node.request("POST", "/restore", b"no backup").status == 415


def test_nothing_or_blank_lines_before_a_half_close(three):
    for packet in (b"", b"\r\n"):
        assert send_and_end(three[0], packet) == b""
    assert answers(send_and_end(three[0], get("/livez") + b"\r\n")) == [(200, b"ok\n")]


def connections(node):
    text = node.request("GET", "/metrics").body.decode()
    return int(re.search(r"^craftd_http_connections (\d+)$", text, re.M).group(1))


@pytest.mark.parametrize("behind", [
    b"", put("/key/behind?timeout=100ms", b"1") * 19], ids=["alone", "pipelined"])
@pytest.mark.parametrize("ending", ["reset", "close", "half-close"])
def test_clients_that_have_gone_differ_from_clients_that_wait(cluster, ending, behind):
    """Nothing is decided, so the first request waits for its whole time. A
    client that reset or closed its connection is let go before, one that only
    ended its stream gets its answer."""
    cluster.start(3)
    node = cluster.wait_leader()
    for other in cluster.others(node):
        other.kill()
    wait_for(lambda: connections(node) == 1, 5, "nobody else")
    client = socket.create_connection((HOST, node.http_port), 20)
    timeout = "4s" if ending == "half-close" else "60s"
    client.sendall(put(f"/key/waits?timeout={timeout}", b"1") + behind)
    wait_for(lambda: connections(node) == 2, 5, "it is there")
    began = time.monotonic()
    if ending == "half-close":
        client.shutdown(socket.SHUT_WR)
        data = b""
        while piece := client.recv(65536):
            data += piece
        assert data.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 50")
        assert len(answers(data)) == (20 if behind else 1)
        assert time.monotonic() - began > 3
        return
    if ending == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                          struct.pack("ii", 1, 0))
    client.close()
    wait_for(lambda: connections(node) == 1, 10, "it is gone")


def test_http_1_0_gets_no_interim_answer(cluster):
    cluster.start(3)
    node = cluster.wait_leader()
    for other in cluster.others(node):
        other.kill()
    data = send_and_end(node, b"GET /key/a?timeout=1s HTTP/1.0\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 503 ") and data.count(b"HTTP/1.1") == 1, data
