"""Every row of the table of errors, by curl: status, type, code, message,
outcome, Retry-After, Allow. What is refused is tried through each node; what
takes a broken cluster, on one of its own."""
import concurrent.futures
import contextlib
import json
import re
import signal
import socket
import time

import pytest

from cluster import HOST, Cluster, Stopwatch, wait_for
from curl import Answer, Table, parse, run

KIB = 1 << 10
MIB = 1 << 20
RETRY = {"config-in-progress": "1", "not-caught-up": "1", "overloaded": "1",
         "no-leader": "1", "starting": "1", "stale": "1", "stopping": "5",
         "commit-timeout": "1"}


def problem(got, status, code, message="", outcome="not-applied", v1=False):
    """The answer is this problem, in every part."""
    assert got.status == status, got
    assert got.headers["content-type"] == (
        "application/json" if v1 else "application/problem+json"), got
    assert got.headers.get("retry-after") == RETRY.get(code), got
    assert ("allow" in got.headers) == (status == 405), got
    assert int(got.headers["content-length"]) == len(got.body), got
    assert got.body.endswith(b"}\n"), got
    body = json.loads(got.body)
    assert body["type"] == f"urn:craftd:{code}", body
    assert body["title"] == code.replace("-", " "), body
    assert (body["status"], body["code"]) == (status, code), body
    assert re.search(message, body["message"]), (body, message)
    assert body.get("outcome", "") == outcome, body
    assert body["node"] == got.headers["craftd-node"], body
    return body


# ---- what is refused ----
# (line, status and code, in the message, outcome: "" for reads)

KEY = "localhost:11000/key"
V1 = "localhost:11000/api/v1"
TXN = "curl localhost:11000/txn -d "
REFUSED = [
    # 400
    ("curl --request-target nothing localhost:11000", "400 bad-request", "neither a path", "x"),
    ("curl -H Host: localhost:11000/livez", "400 bad-request", "Host", "x"),
    ("curl -H 'Host: a' -H 'Content-Length: x' localhost:11000/livez", "400 bad-request",
     "(?i)content-length", "x"),
    (f"curl -H 'Transfer-Encoding: gzip' {KEY} -d '{{}}'", "400 bad-request",
     "(?i)content-length", "x"),
    (f"curl -T one -H 'If-Match: 44' {KEY}/a", "400 bad-request", "If-Match", "x"),
    (f"curl -T one -H 'If-None-Match: x' {KEY}/a", "400 bad-request", "If-None-Match", "x"),
    (f"curl -H 'If-None-Match: x' {KEY}/a", "400 bad-request", "If-None-Match", ""),
    (f"curl -T one -H 'Idempotency-Key: {'k' * 65}' {KEY}/a", "400 bad-request", "64 bytes", "x"),
    (TXN + "'{}'", "400 bad-request", "then", "x"),
    (f"curl {KEY} -d '{{'", "400 bad-json", "at byte 1", "x"),
    (f"curl {KEY} -d '{{\"a\":1}}'", "400 bad-json", "strings", "x"),
    (f"curl {KEY} -d '[]'", "400 bad-json", "object", "x"),
    (f"curl {KEY} -d '{{\"a\":\"1\"}} x'", "400 bad-json", "after", "x"),
    (TXN + "'{\"then\":[],\"when\":[]}'", "400 bad-json", '"when"; did you mean "then"', "x"),
    ("curl localhost:11000/join -d '{\"id\":\"x\"}'", "400 bad-json", "addr", "x"),
    ("curl localhost:11000/join -d '{\"id\":\"x\",\"adr\":\"h:1\"}'", "400 bad-json",
     "unknown member", "x"),
    ("curl localhost:11000/leader -d x", "400 bad-json", "object", "x"),
    ("curl -X PUT localhost:11000/nodes/node0 -d '{}'", "400 bad-json", "voter", "x"),
    ("curl -X DELETE localhost:11000/remove", "400 bad-json", "object", "x"),
    (f"curl {KEY}/", "400 bad-key", "GET /keys lists them", "x"),
    (f"curl {KEY}", "400 bad-key", "GET /keys lists them", "x"),
    (f"curl {KEY}/%zz", "400 bad-key", "escape", "x"),
    (f"curl -T one {KEY}/%00", "400 bad-key", "UTF-8 without NUL", "x"),
    (f"curl -T one {KEY}/{'k' * 1025}", "400 bad-key", "1 to 1024 bytes", "x"),
    (f"curl {KEY} -d '{{\"\":\"1\"}}'", "400 bad-key", "1 to 1024 bytes", "x"),
    (f"curl {KEY}/a?timeout=soon", "400 bad-param", "250ms or 5s", "x"),
    (f"curl {KEY}/a?level=x", "400 bad-param", "linearizable", "x"),
    (f"curl '{KEY}/a?level=none&freshness=x'", "400 bad-param", "500ms or 2s", "x"),
    (f"curl {KEY}/a?min_index=-1", "400 bad-param", "min_index", "x"),
    (f"curl -H 'Craftd-Min-Index: x' {KEY}/a", "400 bad-param", "min_index", "x"),
    (f"curl -T one {KEY}/a?cas=x", "400 bad-param", "cas", "x"),
    (f"curl -T one {KEY}/a?ttl=x", "400 bad-param", "ttl", "x"),
    (f"curl -T one {KEY}/a?caz=7", "400 bad-param", 'did you mean "cas"', "x"),
    ("curl localhost:11000/keys?limit=x", "400 bad-param", "1 to 10000", "x"),
    ("curl localhost:11000/keys?format=x", "400 bad-param", "ndjson", "x"),
    ("curl -X DELETE localhost:11000/keys", "400 bad-param", "&all", "x"),
    ("curl -X DELETE 'localhost:11000/keys?all&limit=1'", "400 bad-param", "takes prefix", "x"),
    ("curl -X POST localhost:11000/sync?nodes=some", "400 bad-param", "all", "x"),
    ("curl localhost:11000/readyz?timeout=x", "400 bad-param", "duration", "x"),
    (f"curl '{V1}/properties?pattern=('", "400 bad-param", "pattern", "x"),
    (f"curl '{V1}/properties?pattern={'p' * 257}'", "400 bad-param", "256", "x"),
    (f"curl '{V1}/properties?offset=x'", "400 bad-param", "offset", "x"),
    (f"curl '{V1}/cluster/nodes?status=x'", "400 bad-param", "candidate", ""),
    # 404
    (f"curl {KEY}/none?raw", "404 not-found", 'there is no key "none"', ""),
    (f"curl {KEY}/none?meta", "404 not-found", 'there is no key "none"', ""),
    ("curl localhost:11000/nowhere", "404 not-found", "no such path", "x"),
    ("curl localhost:11000/", "404 not-found", "no such path", "x"),
    ("curl localhost:11000//livez", "404 not-found", "no such path", "x"),
    ("curl localhost:11000/livez/", "404 not-found", "no such path", "x"),
    ("curl localhost:11000/nodes/none", "404 not-found", 'there is no member "none"', "x"),
    ("curl -X DELETE localhost:11000/nodes/none", "404 not-found", 'there is no member "none"', "x"),
    ("curl localhost:11000/leader -d '{\"id\":\"none\"}'", "404 not-found", 'there is no member "none"', "x"),
    (f"curl {V1}/nowhere", "404 not-found", "no such path", "x"),
    (f"curl {V1}/properties/none", "404 not-found", "no such property", ""),
    (f"curl -X DELETE '{V1}/properties?pattern=^none'", "404 not-found", "no key", "x"),
    # 405: the rows of ALLOWED.
    # 406
    (f"curl {KEY}/binary", "406 not-text", r"\?raw", ""),
    # 409
    (f"curl {V1}/properties -d '{{\"key\":\"text\",\"value\":\"\"}}'", "409 exists",
     "already", "x"),
    (TXN + "'{\"then\":[{\"incr\":\"text\"}]}'", "409 not-a-number", "64-bit", "x"),
    (TXN + "'{\"then\":[{\"incr\":\"most\"}]}'", "409 overflow", "64 bits", "x"),
    ("curl -X PUT 'localhost:11000/nodes/ghost?timeout=200ms' -d '{\"voter\":true}'",
     "409 not-caught-up", "caught up", "x"),
    # 412
    (f"curl -T one -H 'If-None-Match: *' {KEY}/text", "412 precondition-failed",
     '^"text" exists already, index [0-9]+$', "x"),
    (f"curl -T one -H 'If-Match: *' {KEY}/none", "412 precondition-failed", 'there is no key "none"', "x"),
    (f"curl -T one {KEY}/text?cas=0", "412 precondition-failed", "exists already, index", "x"),
    (f"curl -T one {KEY}/text?cas=1", "412 precondition-failed",
     'index [0-9]+ last changed "text"', "x"),
    (f"curl -X DELETE -H 'If-Match: \"1\"' {KEY}/text", "412 precondition-failed",
     'index [0-9]+ last changed "text"', "x"),
    (f"curl -H 'If-None-Match: *' {KEY} -d '{{\"text\":\"2\"}}'", "412 precondition-failed",
     '^"text" exists already, index [0-9]+$', "x"),
    (f"curl {KEY}/text -d '{{\"other\":\"2\"}}'", "400 bad-key", "key of the path", "x"),
    (f"curl {KEY}/text -d '{{}}'", "400 bad-key", "key of the path", "x"),
    (TXN + "'{\"if\":[{\"key\":\"text\",\"exists\":true},{\"key\":\"none\",\"exists\":true}],"
     "\"then\":[]}'", "412 precondition-failed", "condition 1", "x"),
    # 413
    # A client that does not wait for 100 may be cut off while it sends: 64 KiB are drained.
    (f"curl -H 'Expect: 100-continue' -T over-body {KEY}/a", "413 too-large",
     r"body is over 4194304 bytes \(--max-body\)", "x"),
    (f"curl -H Expect: -H 'Transfer-Encoding: chunked' -T over-body {KEY}/a", "413 too-large",
     r"body is over 4194304 bytes \(--max-body\)", "x"),
    (f"curl -T over-value {KEY}/a", "413 too-large",
     r"value is over 1048576 bytes \(--max-value\)", "x"),
    (f"curl -H Expect: -T over-value {KEY}/a", "413 too-large",
     r"value is over 1048576 bytes \(--max-value\)", "x"),
    (f"curl {KEY} -d @over-value.json", "413 too-large",
     r"value is over 1048576 bytes \(--max-value\)", "x"),
    (f"curl {V1}/properties -d @over-property.json", "413 too-large",
     r"value is over 1048576 bytes \(--max-value\)", "x"),
    (f"curl -H 'Expect: 100-continue' {V1}/properties --data-binary @over-body", "413 too-large",
     r"body is over 4194304 bytes \(--max-body\)", "x"),
    (TXN + "@many-ops", "413 too-large", "512 operations", "x"),
    (TXN + "@many-clauses", "413 too-large", "512 clauses", "x"),
    (TXN + "'{\"then\":[{\"delete_prefix\":\"crowd/\"}]}'", "413 too-large", "1000 keys", "x"),
    (TXN + "@much-read", "413 too-large", "4 MiB", "x"),
    # 414, 431
    (f"curl {KEY}/{'u' * 8200}", "414 uri-too-long", "8192 bytes", "x"),
    (f"curl -H 'X: {'h' * 8200}' {KEY}/a", "431 headers-too-large", "8192 bytes", "x"),
    ("curl " + f"-H 'X: {'h' * 6000}' " * 3 + f"{KEY}/a", "431 headers-too-large",
     "16384 bytes", "x"),
    ("curl " + "-H X:1 " * 129 + f"{KEY}/a", "431 headers-too-large", "128 headers", "x"),
    # 417, 422
    (f"curl -H 'Expect: tea' {KEY}/a -d 1", "417 expectation-failed", "100-continue", "x"),
    (f"curl -H 'Idempotency-Key: errors' {KEY} -d '{{\"text\":\"2\"}}'",
     "422 idempotency-mismatch", "another", "x"),
    # 501
    (f"curl -X BREW {KEY}/a", "501 unsupported-method", "method", "x"),
    (f"curl -X POST -H 'Transfer-Encoding: gzip' {KEY}", "501 transfer-coding", "chunked", "x"),
]

ALLOWED = [
    ("key/a", "PATCH", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
    ("keys", "PUT", "GET, HEAD, DELETE, OPTIONS"),
    ("txn", "GET", "POST, OPTIONS"),
    ("status", "DELETE", "GET, HEAD, OPTIONS"),
    ("livez", "POST", "GET, HEAD, OPTIONS"),
    ("readyz", "POST", "GET, HEAD, OPTIONS"),
    ("healthz", "POST", "GET, HEAD, OPTIONS"),
    ("health", "POST", "GET, HEAD, OPTIONS"),
    ("metrics", "POST", "GET, HEAD, OPTIONS"),
    ("backup", "POST", "GET, HEAD, OPTIONS"),
    ("join", "GET", "POST, OPTIONS"),
    ("remove", "POST", "DELETE, OPTIONS"),
    ("nodes", "DELETE", "GET, HEAD, OPTIONS"),
    ("nodes/node0", "POST", "GET, HEAD, PUT, DELETE, OPTIONS"),
    ("snapshot", "GET", "POST, OPTIONS"),
    ("sync", "GET", "POST, OPTIONS"),
    ("leader", "DELETE", "GET, HEAD, POST, OPTIONS"),
    ("api/v1", "POST", "GET, HEAD, OPTIONS"),
    ("api/v1/openapi.yaml", "PUT", "GET, HEAD, OPTIONS"),
    ("api/v1/properties", "PUT", "GET, HEAD, POST, DELETE, OPTIONS"),
    ("api/v1/properties/a", "POST", "GET, HEAD, PUT, DELETE, OPTIONS"),
    ("api/v1/settings/a", "POST", "GET, HEAD, PUT, DELETE, OPTIONS"),
    ("api/v1/cluster/nodes", "POST", "GET, HEAD, OPTIONS"),
    ("api/v1/cluster/leader", "PUT", "GET, HEAD, POST, OPTIONS"),
    ("api/v1/cluster/sync", "GET", "POST, OPTIONS"),
    ("api/v1/cluster/snapshot", "GET", "POST, OPTIONS"),
    ("api/v1/join", "GET", "POST, OPTIONS"),
]


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    nodes = Cluster(tmp_path_factory.mktemp("errors"))
    try:
        nodes.start(3)
        first = nodes[0]
        assert first.put_many({"text": "one", "most": str((1 << 63) - 1)}).status == 200
        assert first.request("PUT", "/key/binary", b"\xff").status == 201
        assert first.put_many({f"crowd/{i}": "" for i in range(1001)}).status == 200
        for i in range(5):
            assert first.put(f"large/{i}", "l" * MIB).status == 200
        assert first.request("POST", "/key", {"named": "1"},
                             {"Idempotency-Key": "errors"}).status == 200
        ghost = {"id": "ghost", "addr": "127.0.0.1:1", "voter": False}
        assert first.request("POST", "/join", ghost).status == 200
        assert first.request("POST", "/sync").status == 200
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "over-body").write_bytes(b"b" * (4 * MIB + 1))
    (tmp_path / "over-value").write_bytes(b"v" * (MIB + 1))
    (tmp_path / "over-value.json").write_text(json.dumps({"a": "v" * (MIB + 1)}))
    (tmp_path / "over-property.json").write_text(
        json.dumps({"key": "a", "value": "v" * (MIB + 1)}))
    (tmp_path / "many-ops").write_text(json.dumps({"then": [{"get": "a"}] * 513}))
    (tmp_path / "many-clauses").write_text(
        json.dumps({"if": [{"key": "a", "exists": False}] * 513, "then": []}))
    (tmp_path / "much-read").write_text(
        json.dumps({"then": [{"get": f"large/{i}"} for i in range(5)]}))
    return tmp_path


@pytest.mark.parametrize("number", range(3))
def test_refused_requests(trio, folder, number):
    rows = Table(folder, trio[number])
    wrong = []
    for line, expected, message, outcome in REFUSED:
        status, code = expected.split()
        got, done = run(rows.line(line), str(folder), trio[number].http)
        assert got.status, (line, done)
        try:
            problem(got, int(status), code, message, "not-applied" if outcome else "",
                    v1="/api/v1" in line)
        except AssertionError as error:
            wrong.append(f"{line[:200]}: {error}")
    assert not wrong, "\n".join(wrong)
    # Nothing of it has happened.
    assert trio[number].get("text") == "one" and trio[number].get("a") is None


@pytest.mark.parametrize("number", range(3))
def test_allowed_methods(trio, folder, number):
    for path, method, allowed in ALLOWED:
        got, done = run(f"curl -X {method} localhost:11000/{path}", str(folder),
                        trio[number].http)
        assert done.returncode == 0, done
        problem(got, 405, "method-not-allowed", "does not take this method", v1=path.startswith("api/v1"))
        assert got.headers["allow"] == allowed, path


@pytest.mark.parametrize("number", range(3))
def test_head_and_304_have_no_body(trio, folder, number):
    """The same head as with a body; and the connection goes on behind it."""
    for path, status in (("nowhere", 404), ("key/a?level=x", 400), ("key/none", 404),
                         ("key/none?raw", 404), ("key/binary", 406), ("txn", 405),
                         ("api/v1/nowhere", 404), ("api/v1/properties/none", 404),
                         ("key/" + "k" * 1025, 400), ("nodes/none", 404),
                         ("nowhere?pretty", 404), ("key/text", 200), ("keys", 200)):
        url = f"localhost:11000/{path}"
        whole, _ = run(f"curl '{url}'", str(folder), trio[number].http)
        got, done = run(f"curl -I -w '%{{num_connects}}' '{url}' {url.split('?')[0]}",
                        str(folder), trio[number].http)
        assert done.returncode == 0, done
        assert [s for s, _ in got.blocks][0] == whole.status == status, (path, got)
        head = got.blocks[0][1]
        assert int(head["content-length"]) == len(whole.body), path
        volatile = ("craftd-index", "craftd-last-contact", "date")
        assert {k: v for k, v in head.items() if k not in volatile} == \
            {k: v for k, v in whole.headers.items() if k not in volatile}, path
        assert len(got.blocks) == 2 and b"HTTP" not in got.body, got
    etag = trio[number].request("GET", "/key/text").headers["ETag"]
    for method in ("GET", "HEAD"):
        option = "-I" if method == "HEAD" else ""
        got, done = run(f"curl {option} -H 'If-None-Match: {etag}' {KEY}/text {KEY}/text",
                        str(folder), trio[number].http)
        assert done.returncode == 0
        assert [s for s, _ in got.blocks] == [304, 304] and got.body == b"", got
        assert "content-length" not in got.headers


# ---- what curl would not send by itself ----

def raw(node, data, seconds=10):
    """The answer to these bytes, and the end of the connection."""
    with socket.create_connection((HOST, node.http_port), seconds) as s:
        s.sendall(data)
        out = b""
        while piece := s.recv(65536):
            out += piece
    head, _, body = out.partition(b"\r\n\r\n")
    blocks = parse(head)
    assert len(blocks) == 1, out
    return Answer(*blocks[0], body, blocks)


def test_versions(trio):
    for line in (b"GET /livez HTTP/2.0", b"GET /livez HTTP/1.2", b"PRI * HTTP/2.0"):
        got = raw(trio[1], line + b"\r\nHost: x\r\n\r\n")
        problem(got, 505, "http-version", "HTTP/1.0 and HTTP/1.1")
        assert got.headers["connection"] == "close"


def test_an_error_has_the_form_of_its_own_request(trio):
    """Not that of the one before it on the connection."""
    for node in trio:
        with socket.create_connection((HOST, node.http_port), 10) as s:
            s.sendall(b"HEAD /api/v1/nowhere?pretty HTTP/1.1\r\nHost: x\r\n\r\nwrong\r\n\r\n")
            out = b""
            while piece := s.recv(65536):
                out += piece
        first, second, body = out.split(b"\r\n\r\n")
        (status, _), = parse(first)
        assert status == 404
        blocks = parse(second)
        problem(Answer(*blocks[0], body, blocks), 400, "bad-request", "request line")
        assert body.count(b"\n") == 1


def test_slow_requests(trio):
    """10 s for a head, 30 s without progress in a body; under /api/v1 too."""
    def slow(data):
        watch = Stopwatch(trio[2])
        return raw(trio[2], data, 40), watch.passed(), watch.seconds()
    post = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        head = pool.submit(slow, b"GET /livez HTTP/1.1\r\nX-Slow: ")
        body = pool.submit(slow, post % b"/key")
        v1 = pool.submit(slow, post % b"/api/v1/properties?pretty")
    got, passed, seconds = head.result()
    problem(got, 408, "request-timeout", "headers took longer than 10s")
    assert 9 < passed and seconds < 14
    got, passed, seconds = body.result()
    problem(got, 408, "request-timeout", "no progress for 30s")
    assert 29 < passed and seconds < 34
    got, *_ = v1.result()
    problem(got, 408, "request-timeout", "no progress for 30s", v1=True)
    assert got.body.startswith(b'{\n  "type"')


# ---- limits that are flags ----

def test_limits_name_their_flags(cluster, folder):
    node = cluster.new(args=["--max-value=1k", "--max-body", "4k", "--max-conns", "5"])
    node.start().up()
    cluster.wait_leader()
    (folder / "value").write_bytes(b"v" * 1025)
    (folder / "body").write_bytes(b"b" * 4097)
    for name, message in (("value", r"1024 bytes \(--max-value\)"),
                          ("body", r"4096 bytes \(--max-body\)")):
        for option in ("", "-H Expect: ", "-H 'Expect: 100-continue' "):
            got, _ = run(f"curl {option} -T {name} {KEY}/a", str(folder), node.http)
            problem(got, 413, "too-large", message)
    with contextlib.ExitStack() as many:
        for _ in range(5):  # In the middle of a request: the idle give way.
            one = many.enter_context(socket.create_connection((HOST, node.http_port), 5))
            one.sendall(b"GET /key/a HTTP/1.1\r\n")

        def refused():
            got, _ = run(f"curl {KEY}/a", str(folder), node.http)
            return got.status == 429 and got
        got = wait_for(refused, 5, "too many")
        problem(got, 429, "overloaded", r"5 connections already \(--max-conns\)")
        assert got.headers["connection"] == "close"
        assert node.request("GET", "/livez").status == 200
    wait_for(lambda: node.request("GET", "/key/a").status != 429, 5, "room again")
    limits = node.status()["limits"]
    assert (limits["value"], limits["body"], limits["connections"]) == (1024, 4096, 5)


def test_a_database_that_is_full(cluster, folder):
    """507 at every node; deletes go on. A retry would not help: no Retry-After."""
    cluster.start(2, args=["--max-db", "1M"])
    (folder / "much").write_bytes(b"m" * 200_000)
    leader = cluster.wait_leader()

    (folder / "some").write_bytes(b"s" * 2000)

    def full(what):
        got, _ = run(f"curl -T {what} {KEY}/{what}-{time.monotonic_ns()}", str(folder),
                     leader.http)
        if got.status == 507:
            problem(got, 507, "no-space", "--max-db")
        return got.status == 507
    # What would go over the limit is refused; less may still have room.
    wait_for(lambda: full("much"), 20, "there is no room for much")
    wait_for(lambda: full("some"), 20, "the database is full")
    for node in cluster:
        got, _ = run(f"curl -T one {KEY}/a", str(folder), node.http)
        problem(got, 507, "no-space", "--max-db")
        got, _ = run(f"curl {V1}/properties -d '{{\"key\":\"a\",\"value\":\"\"}}'",
                     str(folder), node.http)
        problem(got, 507, "no-space", "--max-db", v1=True)
        got, _ = run(f"curl -X DELETE {KEY}/a", str(folder), node.http)
        assert got.status == 200
    got, _ = run(f"curl -T one {KEY}/a", str(folder), leader.http)
    problem(got, 507, "no-space", r"1048576 bytes \(--max-db\); deletes still work")


def wait_connected(node, count):
    """That many requests have arrived, not counting the one that asks."""
    wait_for(lambda: node.metric("craftd_http_connections") > count, 10,
             f"{count} connections")
    time.sleep(0.5)  # They are read.


# ---- members ----

def test_alone(cluster, folder):
    cluster.start(1)
    node = cluster[0]
    for line, code in ((f"curl -X DELETE localhost:11000/nodes/{node.name}", "last-voter"),
                       (f"curl -X PUT localhost:11000/nodes/{node.name} -d '{{\"voter\":false}}'",
                        "last-voter"),
                       ("curl -X POST localhost:11000/leader", "not-caught-up")):
        got, _ = run(line, str(folder), node.http)
        problem(got, 409, code)


def test_no_member_yet(cluster, folder):
    """It waits to be let in by somebody who is not there."""
    node = cluster.new()
    node.join = f"{HOST}:1"
    node.start().up()
    for line in (f"curl '{KEY}/a?level=none'", f"curl '{KEY}/a?timeout=200ms'",
                 f"curl '{KEY}?timeout=200ms' -d '{{\"a\":\"1\"}}'",
                 "curl 'localhost:11000/keys?timeout=200ms'",
                 f"curl -X DELETE '{KEY}/a?timeout=200ms'",
                 "curl 'localhost:11000/leader?timeout=200ms' -d '{}'"):
        got, _ = run(line, str(folder), node.http)
        problem(got, 503, "starting", "no member of a cluster yet")
    got, _ = run("curl 'localhost:11000/backup?level=none'", str(folder), node.http)
    problem(got, 503, "starting", "no member of a cluster yet")
    got, _ = run("curl localhost:11000/readyz", str(folder), node.http)
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    # At SIGTERM waiting requests are answered at once.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        late = pool.submit(run, f"curl {KEY}/a?timeout=20s", str(folder), node.http)
        wait_connected(node, 1)
        assert node.terminate() == 0
        problem(late.result()[0], 503, "stopping", "stopping")


# ---- without a majority ----

@contextlib.contextmanager
def frozen(cluster):
    """The leader, while the others do not run."""
    leader = cluster.wait_leader()
    cluster.wait_same()
    for node in cluster.others(leader):
        node.send(signal.SIGSTOP)
    try:
        yield leader
    finally:
        for node in cluster.others(leader):
            node.send(signal.SIGCONT)


def test_a_leader_without_its_majority(cluster, folder):
    """As long as it believes to lead, proposals have an unknown outcome."""
    cluster.start(3, args=["--election", "3s"])
    cluster.wait_leader().put("a", "0")
    with frozen(cluster) as leader:
        where = str(folder), leader.http
        got, _ = run(f"curl -T one '{KEY}/a?timeout=300ms'", *where)
        problem(got, 504, "commit-timeout", "no decision within the time-out", "unknown")
        got, _ = run(f"curl '{KEY}/a?level=strong&timeout=300ms'", *where)
        problem(got, 504, "commit-timeout", "time-out")
    with frozen(cluster) as leader, concurrent.futures.ThreadPoolExecutor(1) as pool:
        where = str(folder), leader.http
        ghost = """curl 'localhost:11000/join?timeout=%s' -d '{"id":"%s","addr":"h:%d"}'"""
        last = leader.status()["last_log"]
        first = pool.submit(run, ghost % ("1s", "one", 1), str(folder / ".."), leader.http)
        wait_for(lambda: leader.status()["last_log"] > last, 10, "it is proposed")
        got, _ = run(ghost % ("300ms", "two", 2), *where)
        problem(got, 409, "config-in-progress", "membership change")
        problem(first.result()[0], 504, "commit-timeout", "time-out", "unknown")
    cluster.wait_leader(20)
    with frozen(cluster) as leader:
        for body in ("", """-d '{"id":"%s"}'""" % cluster.others(leader)[0].name):
            got, _ = run(f"curl -X POST 'localhost:11000/leader?timeout=10s' {body}",
                         str(folder), leader.http)
            if got.status == 503:  # It has stepped down by now.
                problem(got, 503, "no-leader", "no leader known")
            else:
                problem(got, 504, "commit-timeout", "no new leader is known", "unknown")
            if not body:
                assert got.status == 504


def test_leadership_is_not_transferred_to_a_node_that_lags(cluster, folder):
    """One that sleeps, beside a majority that does not: it may catch up."""
    cluster.start(3)
    leader = cluster.wait_leader()
    sleeper, other = cluster.others(leader)
    sleeper.send(signal.SIGSTOP)
    assert leader.put("missed", "1").status == 200
    for node in (leader, other):
        got, _ = run(f"curl localhost:11000/leader -d '{{\"id\":\"{sleeper.name}\"}}'",
                     str(folder), node.http)
        problem(got, 409, "not-caught-up", "caught up")
    sleeper.send(signal.SIGCONT)
    wait_for(lambda: sleeper.get("missed", level="none") == "1", 10, "caught up")
    got, _ = run(f"curl localhost:11000/leader -d '{{\"id\":\"{sleeper.name}\"}}'",
                 str(folder), other.http)
    assert got.status == 200 and json.loads(got.body)["id"] == sleeper.name


def test_leadership_is_not_transferred_to_a_dead_node(cluster, folder):
    """No link is left, and it does not know yet that it leads nobody."""
    cluster.start(3, args=["--election", "4s"])
    leader = cluster.wait_leader()
    for node in cluster.others(leader):
        node.kill()
    wait_for(lambda: not any(p["reachable"] for p in leader.status()["peers"]), 3, "seen")
    got, _ = run("curl -X POST localhost:11000/leader", str(folder), leader.http)
    problem(got, 504, "commit-timeout", "no new leader is known", "unknown")


def test_without_a_leader(cluster, folder):
    cluster.start(3)
    cluster.wait_leader().put("a", "0")
    with frozen(cluster) as node:
        where = str(folder), node.http
        wait_for(lambda: node.request("GET", "/leader").status == 503, 10, "no leader")
        said = (r"^no leader known for \d+\.\ds: 1 of 3 voters reachable "
                r"\(node\d: .+, node\d: .+\)$")
        wait_for(lambda: re.search(said, json.loads(
            run(f"curl '{KEY}/a?timeout=100ms'", *where)[0].body)["message"]), 20, "it is told")
        for line in (f"curl '{KEY}/a?timeout=300ms'", f"curl -T one '{KEY}/a?timeout=300ms'",
                     "curl 'localhost:11000/keys?timeout=300ms'",
                     "curl -X DELETE 'localhost:11000/keys?all&timeout=300ms'",
                     TXN.replace("txn", "txn?timeout=300ms") + "'{\"then\":[]}'",
                     "curl 'localhost:11000/backup?timeout=300ms'",
                     "curl 'localhost:11000/leader?timeout=300ms' -d '{}'",
                     "curl -X DELETE 'localhost:11000/nodes/node0?timeout=300ms'"):
            got, _ = run(line, *where)
            problem(got, 503, "no-leader", said)
            assert "craftd-leader" not in got.headers
        got, _ = run(f"curl '{V1}/properties?timeout=300ms'", *where)
        problem(got, 503, "no-leader", said, v1=True)
        got, _ = run(f"curl -T one {KEY}/a?redirect", *where)
        problem(got, 503, "no-leader", "redirect")
        got, _ = run("curl localhost:11000/leader", *where)
        problem(got, 503, "no-leader", "no leader", "")
        got, _ = run("curl -X POST 'localhost:11000/sync?timeout=300ms'", *where)
        problem(got, 504, "commit-timeout", "confirmed", "unknown")
        # Old is not missing: what this node has can be read, unless it is too old.
        got, _ = run(f"curl {KEY}/a?level=none", *where)
        assert (got.status, got.body) == (200, b'{"a":"0"}')
        got, _ = run(f"curl '{KEY}/a?level=none&freshness=500ms'", *where)
        problem(got, 503, "stale", r"the last contact with the leader was \d+ ms ago")
        got, _ = run(f"curl '{KEY}/a?level=none&min_index=99999&timeout=200ms'", *where)
        problem(got, 503, "stale", "entry 99999")
        # 16 MiB may wait.
        (folder / "mib").write_bytes(b"m" * MIB)
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            def put(i):
                home = folder / f"put-{i}"
                home.mkdir()
                return run(f"curl -T ../mib '{KEY}/m-{i}?timeout=3s'", str(home), node.http)[0]
            answers = list(pool.map(put, range(20)))
        refused = [got for got in answers if got.status == 429]
        assert 3 <= len(refused) < 20, [got.status for got in answers]
        for got in answers:
            if got in refused:
                problem(got, 429, "overloaded", "4096 writes, or 16 MiB")
            else:
                problem(got, 503, "no-leader", said)
        # Told to stop: 503 for those who wait, and not a broken connection.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            waiting = []
            for i, line in enumerate((f"curl {KEY}/a?timeout=30s",
                                      f"curl -T ../one {KEY}/a?timeout=30s")):
                home = folder / f"stop-{i}"
                home.mkdir()
                waiting.append(pool.submit(run, line, str(home), node.http, 40))
            wait_connected(node, 2)
            assert node.terminate() == 0
            for answer in waiting:
                problem(answer.result()[0], 503, "stopping", "stopping")


def test_the_end_of_a_link_is_reported(cluster, folder):
    """A follower has forwarded a write, and its leader dies before the time-out."""
    cluster.start(3, args=["--election", "4s"])
    leader = cluster.wait_leader()
    follower = cluster.others(leader)[0]
    forwarded = follower.metric("craftd_http_forwarded_total")
    leader.send(signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        answer = pool.submit(run, f"curl -T one {KEY}/a?timeout=20s", str(folder), follower.http)
        wait_for(lambda: follower.metric("craftd_http_forwarded_total") > forwarded, 10,
                 "it is forwarded")
        leader.kill()
        got, _ = answer.result()
    assert time.monotonic() - began < 10
    problem(got, 504, "commit-timeout", "the link to the leader ended", "unknown")
    # The follower does not yet know that there is none, but it knows why.
    got, _ = run(f"curl -T one {KEY}/a?timeout=300ms", str(folder), follower.http)
    problem(got, 503, "no-leader", f"no link to the leader, {leader.name}: .+")


def test_the_tables_are_as_large_as_they_were():
    """A table that has lost its rows passes."""
    assert len(REFUSED) > 75 and len(ALLOWED) > 24
    codes = {row[1] for row in REFUSED}
    assert len(codes) == 18, sorted(codes)
