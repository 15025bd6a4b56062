"""craftd get, put, txn against real nodes: what goes in comes out."""
import json
import os
import socket
import threading

import pytest

from test_client import AWAY, DONE, FAILED, NO, UNKNOWN, Server, craftd, run


@pytest.mark.parametrize("value", [
    b"", b"\n", b"plain", "\u00fc\U0001f600".encode(), bytes(range(256)),
    os.urandom(1 << 20), b'{"a":1}\r\n'], ids=len)
def test_bytes_in_bytes_out(three, addr, value):
    run("put", "cli/bytes", addr=addr, data=value)
    for node in three:
        assert run("get", "cli/bytes", addr=node.http) == value


@pytest.mark.parametrize("key", [
    "cli/a b", "cli/%41", "cli//x/", "cli/../up", "cli/?q#f&g=h+i", "cli/\u00fc", "-dash",
    "cli/tab\tline\n"])
def test_keys_as_they_are(three, addr, key):
    run("put", "--", key, "v", addr=addr)
    assert run("get", "--", key, addr=addr) == b"v"
    run("del", "--", key, addr=addr)
    assert craftd("get", "--", key, addr=addr).returncode == NO


def test_create_and_compare_and_set(three, addr):
    first = run("put", "--create", "--print-index", "cli/cas", "1", addr=addr).strip()
    assert craftd("put", "--create", "cli/cas", "2", addr=addr).returncode == NO
    meta = json.loads(run("get", "--meta", "cli/cas", addr=addr))
    assert (meta["key"], meta["value"], meta["index"]) == ("cli/cas", "1", int(first))
    second = run("put", "--if-index", first.decode(), "--print-index", "cli/cas", "2",
                 addr=addr).strip()
    assert int(second) > int(first)
    for words in (["put", "--if-index", first.decode(), "cli/cas", "3"],
                  ["del", "--if-index", first.decode(), "cli/cas"]):
        assert craftd(*words, addr=addr).returncode == NO
    assert run("get", "cli/cas", addr=addr) == b"2"
    run("del", "--if-index", second.decode(), "cli/cas", addr=addr)
    assert craftd("get", "cli/cas", addr=addr).returncode == NO


def test_one_of_many_creates(three):
    """A lock from the shell: of eight that try at once, one gets it."""
    codes = []

    def grab(i):
        done = craftd("put", "--create", "cli/lock", str(i), addr=three[i % 3].http)
        codes.append((done.returncode, i))
    threads = [threading.Thread(target=grab, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [i for code, i in codes if code == DONE]
    assert len(codes) == 8 and len(winners) == 1
    assert all(code in (DONE, NO) for code, _ in codes)
    assert run("get", "cli/lock", addr=three[0].http) == str(winners[0]).encode()
    run("del", "cli/lock", addr=three[0].http)


def test_refusals_are_explained(three, addr):
    for words, data in [
            (["put", "k" * 1025, "v"], b""), (["put", "k"], b"x" * ((1 << 20) + 1)),
            (["put", "k"], b"x" * (15 << 20)), (["txn"], b"{"),
            (["get", "--level", "nonsense", "k"], b"")]:
        done = craftd(*words, addr=addr, data=data)
        assert done.returncode == FAILED, (words[0], done)
        assert done.stderr.count(b"\n") == 1 and len(done.stderr) > 60


def test_txn(three, addr):
    move = {"if": [{"key": "cli/from", "value": "10"}],
            "then": [{"put": "cli/to", "value": "10"}, {"delete": "cli/from"}]}
    text = json.dumps(move).encode()
    run("put", "cli/from", "10", addr=addr)
    answer = json.loads(run("txn", addr=addr, data=text))
    assert answer["ok"] is True
    assert run("get", "cli/to", addr=addr) == b"10"
    again = craftd("txn", addr=addr, data=text)
    assert (again.returncode, again.stdout) == (NO, b"")
    move["else"] = [{"get": "cli/to"}]
    again = craftd("txn", addr=addr, data=json.dumps(move).encode())
    assert again.returncode == NO and json.loads(again.stdout)["ok"] is False


def test_stale_reads_work_without_a_leader(cluster):
    cluster.start(3)
    run("put", "k", "v", addr=cluster[0].http)
    cluster.wait_same()
    for node in (cluster[1], cluster[2]):
        node.kill()
    addr = cluster[0].http
    assert craftd("get", "k", "--timeout", "1s", addr=addr).returncode == AWAY
    assert run("get", "--stale", "k", addr=addr) == b"v"
    assert craftd("put", "k", "w", "--timeout", "1s", addr=addr).returncode in (AWAY, UNKNOWN)


def test_an_answer_that_is_lost_does_not_count_twice(three, addr):
    """The node has done it, and the connection breaks before it can say so."""
    text = b'{"then":[{"incr":"cli/counter"}]}'

    def swallow(request, _):
        host, port = addr.split(",")[0].rsplit(":", 1)
        with socket.create_connection((host, int(port))) as node:
            node.sendall(request)
            assert node.recv(4096).startswith(b"HTTP/1.1 200 ")
    lossy = Server(swallow)
    answer = json.loads(run("txn", data=text, addr=f"{lossy.addr},{addr}"))
    lossy.close()
    assert answer["results"] == [{"value": "1"}]
    assert run("get", "cli/counter", addr=addr) == b"1"


def test_a_txn_may_read_much(three, addr):
    """More than is kept with a name."""
    value = b"x" * 200_000
    run("put", "cli/much", data=value, addr=addr)
    answer = json.loads(run("txn", data=b'{"then":[{"get":"cli/much"}]}', addr=addr))
    assert answer["results"][0]["value"].encode() == value
