"""--auth: who may do what. The rules are those of the file; src/api/routes.c
says what each route needs, and is read here, so that a new route is tried with
every permission as well."""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import select
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest

from cluster import BINARY, HOST, ROOT, TROUBLE, Stopwatch, request_on, wait_for
from test_client import Server
from test_http import connect, read_until_closed
from test_unix import ask

PERMS = ["read", "write", "lease", "status", "ready", "join", "remove", "backup", "load",
         "snapshot", "leader-ops"]
SALT = bytes(range(16))


# ---- files and headers ----

def user(name, password, *perms, rounds=1000):
    entry = {"username": name, "perms": list(perms)}
    if password is not None:
        digest = hashlib.pbkdf2_hmac("sha256", password.encode(), SALT, rounds).hex()
        entry["password"] = f"pbkdf2-sha256:{rounds}:{SALT.hex()}:{digest}"
    return entry


def token(text, *perms):
    return {"token": "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
            "perms": list(perms)}


def basic(name, password):
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": "Basic " + pair}


def bearer(text):
    return {"Authorization": "Bearer " + text}


def write_rules(path, *entries):
    """As an editor does: another file in its place."""
    text = entries[0] if isinstance(entries[0], str) else json.dumps(entries)
    with open(f"{path}.new", "w", opener=lambda p, f: os.open(p, f, 0o600),
              encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}.new", path)
    return str(path)


ROOT_TOKEN = token("root", "all")
ADMIN = bearer("root")


def authorized(node):
    """All that the helpers of the node do is done by the admin."""
    plain = node.request

    def request(method, path, body=None, headers=None, timeout=15.0):
        return plain(method, path, body, {**ADMIN, **(headers or {})}, timeout)
    node.plain = plain
    node.request = request
    return node


@pytest.fixture
def start(cluster, tmp_path):
    """A node with these entries and that of an admin."""
    def run(*entries, args=(), unix=None):
        path = write_rules(tmp_path / "auth.json", ROOT_TOKEN, *entries)
        node = authorized(cluster.new(args=["--auth", path, *args]))
        if unix:
            node.args += ["--http", f"{node.http},unix:{unix}"]
        node.rules = path
        node.start().up()
        cluster.wait_leader()
        wait_for(lambda: node.request("GET", "/readyz").status == 200, 10, "ready")
        return node
    return run


def change_rules(node, *entries):
    """Returns the log that came of it."""
    before = node.log()
    write_rules(node.rules, *entries)
    node.send(signal.SIGHUP)
    wait_for(lambda: re.search(r" auth file=.* users=|the rules in use stay",
                               node.log()[len(before):]), 10, "a line")
    return node.log()[len(before):]


def code(response):
    return response.json()["code"]


def check_401(response):
    assert response.status == 401, response
    assert response.headers.get_all("WWW-Authenticate") == [
        'Basic realm="craftd", charset="UTF-8"', 'Bearer realm="craftd"']
    if response.body:
        assert (code(response), response.json()["outcome"]) == ("unauthorized", "not-applied")


def check_403(response, need):
    assert response.status == 403, response
    if response.body:
        assert (code(response), response.json()["need"]) == ("forbidden", need), response


# ---- every route, every permission ----

def routes():
    """(path, reach, verb, permission, object) of each row of the table."""
    with open(f"{ROOT}/src/api/routes.c", encoding="utf-8") as file:
        table = file.read().split("routes[] = {")[1].split("\n};")[0]
    rows = re.findall(r'\{"([^"]+)",\s*(\w+),\s*([A-Z| ]+),.*?NEED\((\w+),\s*(\w+)\)',
                      table, re.S)
    assert len(rows) == table.count('{"') > 40
    for path, reach, verbs, perm, kind in rows:
        for verb in verbs.split(" | "):
            for method in (["GET", "HEAD"] if verb == "GET" else [verb]):
                yield path, reach, method, perm.lower().replace("_", "-"), kind


def sample(path, reach, method):
    """A request of that route, and its body; most bodies are wrong, so that
    whoever may ask changes nothing."""
    if path == "/key":
        path += {"POST": ""}.get(method, "/svc/a")
    elif reach == "BELOW":
        path += "/none" if path == "/nodes" else "/svc/a"
    # The stream of a good one would not end.
    query = {("/keys", "DELETE"): "?prefix=svc/x", ("/keys", "GET"): "?prefix=svc/",
             ("/watch", "GET"): "?prefix=svc/&since=none"}
    body = {("/key", "POST"): '{"svc/a":"1"}', ("/txn", "POST"): '{"then":[{"get":"svc/a"}]}',
            ("/api/v1/properties", "POST"): '{"key":"svc/a","value":"1"}',
            ("/api/v1/settings", "POST"): '{"key":"svc/a","value":"1"}'}
    return (path + query.get((path, method), ""),
            body.get((path, method), "" if method in ("GET", "HEAD") else "x"))


def need_of(perm, kind, target):
    """The fields of a refusal."""
    if kind in ("KEY", "BODY", "PREFIX", "LIST", "WATCH", "TXN"):
        key = {"KEY": "svc/a", "PREFIX": "svc/x"}.get(kind, "")
        if kind in ("LIST", "WATCH") and "prefix=" in target:
            key = "svc/"
        return f"{perm}:{key}" if key else perm
    return perm


@pytest.fixture(scope="module")
def all_perms(tmp_path_factory):
    """A node with a token for each permission, all with "ready" named."""
    from cluster import Cluster
    base = tmp_path_factory.mktemp("perms")
    nodes = Cluster(base)
    path = write_rules(base / "auth.json", ROOT_TOKEN, token("none"),
                       *[token("only-" + perm, perm) for perm in PERMS],
                       token("near", "read:svc/", "write:svc/"),
                       token("far", "read:svd/", "write:svd/"))
    node = authorized(nodes.new(args=["--auth", path]))
    try:
        node.start().up()
        nodes.wait_leader()
        assert node.put("svc/a", "1").status == 200
        yield node
    finally:
        nodes.stop()


@pytest.mark.parametrize("path, reach, method, perm, kind", routes())
def test_every_route_with_every_permission(all_perms, path, reach, method, perm, kind):
    node = all_perms
    target, body = sample(path, reach, method)
    need = need_of(perm, kind, target)
    if kind == "ANYONE":
        for headers in ({}, bearer("none"), bearer("near"), ADMIN):
            assert node.plain(method, target, body, headers).status == 200
        check_401(node.plain(method, target, body, bearer("wrong")))
        return
    check_401(node.plain(method, target, body))
    check_403(node.plain(method, target, body, bearer("none")), need)
    for other in PERMS:
        allowed = other == perm or (kind == "TXN" and other == "read")
        got = node.plain(method, target, body, bearer("only-" + other))
        if kind == "TXN" and other == "write":
            check_403(got, "read:svc/a")
        elif allowed:
            assert got.status not in (401, 403), (other, got)
        else:
            check_403(got, need)
    assert node.plain(method, target, body, ADMIN).status not in (401, 403)
    # A permission below a prefix is one for what is there.
    got = node.plain(method, target, body, bearer("near"))
    if kind == "NODE":
        check_403(got, need)
    else:
        assert got.status not in (401, 403), got
    got = node.plain(method, target, body, bearer("far"))
    if kind in ("KEY", "PREFIX", "NODE") or "prefix=" in target:
        check_403(got, need)
    elif kind in ("BODY", "TXN"):
        check_403(got, ("read" if kind == "TXN" else perm) + ":svc/a")
    else:
        assert got.status == 200 and got.body in (b"[]\n", b""), got


def test_probes_are_open_until_the_file_names_them(start):
    node = start()
    for path in ("/livez", "/readyz", "/healthz", "/health"):
        assert node.plain("GET", path).status == 200
        assert node.plain("HEAD", path).status == 200
    check_401(node.plain("GET", "/livez", headers=bearer("wrong")))
    check_401(node.plain("GET", "/status"))
    check_401(node.plain("GET", "/metrics"))
    change_rules(node, ROOT_TOKEN, token("probe", "ready"))
    for path in ("/livez", "/readyz", "/healthz", "/health"):
        check_401(node.plain("GET", path))
        assert node.plain("GET", path, headers=bearer("probe")).status == 200
    change_rules(node, ROOT_TOKEN, user("*", None, "ready", "status"))
    assert node.plain("GET", "/readyz").status == 200
    assert node.plain("GET", "/status").status == 200
    check_401(node.plain("GET", "/keys"))


# ---- requests without a route, and other methods ----

def test_a_stranger_is_told_nothing(start):
    """No list of paths, no methods, no version."""
    node = start(token("none"))
    for method, path in (("GET", "/nowhere"), ("GET", "/"), ("POST", "/status"),
                         ("OPTIONS", "/key/a"), ("OPTIONS", "/nowhere"), ("OPTIONS", "*"),
                         ("PATCH", "/key/a"), ("GET", "/api/v1/openapi.yaml"),
                         ("DELETE", "/status")):
        got = node.plain(method, path)
        check_401(got)
        assert got.headers["Allow"] is None
    check_401(node.plain("GET", "/nowhere", headers=bearer("wrong")))
    check_401(node.plain("OPTIONS", "*", headers=bearer("wrong")))
    none = bearer("none")
    assert node.plain("GET", "/nowhere", headers=none).status == 404
    assert node.plain("POST", "/status", headers=none).status == 405
    assert node.plain("OPTIONS", "/key/a", headers=none).status == 204
    assert node.plain("OPTIONS", "*", headers=none).status == 204


def names_the_node(response):
    shown = {name for name in response.headers if name.startswith("Craftd-")}
    shown |= {name for name in ("node", "term") if response.body.startswith(b"{") and
              name in response.json()}
    assert not shown or {"Craftd-Index", "Craftd-Leader", "Craftd-Node"} <= shown
    return bool(shown)


def test_an_answer_to_a_stranger_names_no_node(start):
    """Nor its leader, nor how far it is: no more than a probe has to know."""
    node = start(token("none"), token("probe", "ready"), token("svc", "write:svc/"))
    requests = [("GET", "/livez"), ("GET", "/readyz"), ("GET", "/health"), ("GET", "/status"),
                ("GET", "/key/a"), ("GET", "/nowhere"), ("PUT", "/key/a"), ("GET", "/keys?x")]
    strangers = [{}, bearer("none"), bearer("probe")]
    for method, path in requests:
        for headers in strangers:
            assert not names_the_node(node.plain(method, path, headers=headers)), (path, headers)
        for headers in (bearer("svc"), ADMIN):
            assert names_the_node(node.plain(method, path, headers=headers)), (path, headers)
    assert not names_the_node(node.plain("GET", "/keys", headers=bearer("wrong")))
    for raw in (b"GET / HTTP/1.1\r\n\r\n", b"x\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n"
                b"Expect: x\r\nConnection: close\r\n\r\n"):
        with connect(node) as s:
            s.sendall(raw)
            answer = read_until_closed(s)
            assert b"HTTP/1.1 4" in answer and b"Craftd-" not in answer and \
                b'"node"' not in answer, answer
    change_rules(node, ROOT_TOKEN, user("*", None, "status"))
    assert names_the_node(node.plain("GET", "/key/a"))


@pytest.mark.parametrize("header", [
    "Basic", "Basic !!!!", "Basic Ym9i", "Digest username=bob", "Bearer", "bob:secret", "",
    "Basic " + "A" * 4000])
def test_malformed_credentials(start, header):
    node = start(user("*", None, "read"))
    assert node.plain("GET", "/keys").status == 200
    check_401(node.plain("GET", "/keys", headers={"Authorization": header}))


def test_a_refusal_is_json_whatever_the_key(start):
    """Bytes that are no UTF-8 cannot be in it."""
    node = start(token("none"))
    for key, shown in (("%ff", ""), ("%ed%a0%80", ""), ("a%c3", ""), ("%c3%a9", ":é"),
                       ("%22%0d%0aX", ':"\r\nX'), ("%00", ":\0")):
        for method, path, perm in (("GET", "/key/", "read"), ("PUT", "/key/", "write"),
                                   ("GET", "/keys?prefix=", "read"),
                                   ("GET", "/watch?key=", "read"),
                                   ("DELETE", "/keys?prefix=", "write"),
                                   ("DELETE", "/api/v1/properties/", "write")):
            check_403(node.plain(method, path + key, headers=bearer("none")), perm + shown)


def test_two_headers_are_none(start):
    """Another program in front may have looked at the other one."""
    node = start(user("*", None, "read"))
    raw = b"GET /keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    one = b"Authorization: Bearer root\r\n"
    for headers, status in ((one, b"200"), (one + one, b"401"),
                            (b"authorization: Bearer wrong\r\n" + one, b"401")):
        with connect(node) as s:
            s.sendall(raw + headers + b"\r\n")
            assert read_until_closed(s).split(b" ")[1] == status, headers


# ---- before the body ----

EXPECT = (b"PUT /key/%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 100000\r\n"
          b"Expect: 100-continue\r\n\r\n")


def line(headers):
    return b"".join(f"{k}: {v}\r\n".encode() for k, v in headers.items())


@pytest.mark.parametrize("headers, status", [
    ({}, b"401"), (bearer("wrong"), b"401"), (basic("bob", "wrong"), b"401"),
    (bearer("reader"), b"403"), (bearer("root"), b"100"), (basic("bob", "secret"), b"100")])
def test_100_continue_is_for_those_who_may(start, headers, status):
    node = start(token("reader", "read"), user("bob", "secret", "write:svc/"))
    with connect(node) as s:
        s.sendall(EXPECT % (b"svc/a", line(headers)))
        answer = s.recv(4096)
        assert answer.split(b" ")[1] == status, answer
        if status == b"100":
            s.sendall(b"v" * 100000)
            assert s.recv(4096).split(b" ")[1] == b"201"


@pytest.mark.parametrize("headers, status", [
    ({}, b"401"), (bearer("reader"), b"403"), (basic("bob", "wrong"), b"401")])
@pytest.mark.parametrize("length", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_a_body_of_a_stranger_is_not_waited_for(start, headers, status, length):
    node = start(token("reader", "read"), user("bob", "secret", "write:svc/"))
    with connect(node) as s:
        s.sendall(b"PUT /key/svc/a HTTP/1.1\r\nHost: x\r\n" + line(headers) + length +
                  b"\r\n\r\n" + b"1\r\nx")
        assert s.recv(4096).split(b" ")[1] == status


@pytest.mark.parametrize("path", ["/key/svc/b", "/api/v1/properties/svc/a"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("pause", [False, True])
def test_a_request_waits_for_the_check_of_its_password(start, path, chunked, pause):
    """It is in the stream meanwhile: whole or in part, and others behind it."""
    node = start(user("bob", "secret", "all", rounds=200000))
    assert node.put("svc/a", "old").status == 200
    value = b'{"value":"new"}' if "api" in path else b"new"
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\n".encode() + line(basic("bob", "secret"))
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"".join(b"1\r\n%c\r\n" % c for c in value) + b"0\r\n\r\n"
    else:
        head += b"Content-Length: %d\r\n\r\n" % len(value)
        body = value
    last = (b"GET /key/svc/a?raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer root\r\n\r\n")
    with connect(node) as s:
        if pause:
            s.sendall(head)
            time.sleep(0.05)
            s.sendall(body + last)
        else:
            s.sendall(head + body + last)
        answers = read_until_closed(s)
    assert answers.split(b" ")[1] == (b"200" if "api" in path else b"201"), answers
    assert answers.endswith(b"new" if "api" in path else b"old"), answers


def test_restore_needs_load_before_its_body(start):
    node = start(user("op", "secret", "load", "backup"), token("writer", "write"))
    assert node.put("k", "1").status == 200
    image = node.plain("GET", "/backup", headers=basic("op", "secret")).body
    node.put("k", "2")
    check_401(node.plain("POST", "/restore", image))
    check_403(node.plain("POST", "/restore", image, bearer("writer")), "load")
    assert node.get("k") == "2"
    change_rules(node, ROOT_TOKEN, user("op", "secret", "load", rounds=100000))
    assert node.plain("POST", "/restore", image, basic("op", "secret")).status == 200
    assert node.get("k") == "1"


def test_one_connection_several_senders(start):
    """The permission of one request does not count for the next."""
    node = start(token("reader", "read"), token("writer", "write"))
    connection = http.client.HTTPConnection(HOST, node.http_port, timeout=15)
    for _ in range(2):
        assert request_on(connection, "POST", "/key", '{"a":"1"}', bearer("writer")).status == 200
        check_401(request_on(connection, "GET", "/key/a"))
        check_403(request_on(connection, "GET", "/key/a", None, bearer("writer")), "read:a")
        assert request_on(connection, "GET", "/key/a", None, bearer("reader")).status == 200
        check_401(request_on(connection, "GET", "/key/a", None, basic("reader", "")))
    connection.close()


def test_a_client_that_goes_while_it_waits(start):
    node = start(user("bob", "secret", "all", rounds=300000))
    for i in range(20):
        with connect(node) as s:
            s.sendall(b"GET /keys HTTP/1.1\r\nHost: x\r\n" + line(basic("bob", f"wrong{i}")) +
                      b"\r\n")
            if i % 2:
                time.sleep(0.01)
    assert node.plain("GET", "/keys", headers=ADMIN).status == 200
    assert node.alive()


# ---- keys ----

@pytest.fixture
def bob(start):
    """Reads and writes svc/, reads pub."""
    node = start(user("bob", "secret", "read:svc/", "write:svc/", "watch:pub"))
    for key in ("svc/a", "svc/b", "svc", "svd/a", "Svc/a", "pub", "public/x", "zzz",
                "svc%2Fa", "a"):
        assert node.put(key, "1").status == 200
    node.bob = lambda *a, **kw: node.plain(*a, headers=basic("bob", "secret"), **kw)
    return node


@pytest.mark.parametrize("path, key", [
    ("svc/a", "svc/a"), ("svc%2Fa", "svc/a"), ("%73%76%63/%61", "svc/a"), ("svc%2fb", "svc/b"),
    ("pub", "pub"), ("public/x", "public/x")])
def test_keys_that_begin_with_the_prefix(bob, path, key):
    got = bob.bob("GET", "/key/" + path)
    assert (got.status, got.json()) == (200, {key: "1"})
    assert bob.bob("GET", "/api/v1/properties/" + path).json() == {"key": key, "value": "1"}


@pytest.mark.parametrize("path, key", [
    ("svc", "svc"), ("svd/a", "svd/a"), ("Svc/a", "Svc/a"), ("SVC/a", "SVC/a"),
    ("svc%252Fa", "svc%2Fa"), ("/svc/a", "/svc/a"), ("svc%2E/a", "svc./a"),
    ("a/../svc/a", "a/../svc/a"), ("pu", "pu"), ("zzz", "zzz"), ("%20svc/a", " svc/a")])
def test_keys_that_do_not(bob, path, key):
    for root in ("/key/", "/api/v1/properties/", "/api/v1/settings/"):
        for method in ("GET", "HEAD"):
            check_403(bob.bob(method, root + path), "read:" + key)
        check_403(bob.bob("PUT", root + path, '{"value":"x"}'), "write:" + key)
        check_403(bob.bob("DELETE", root + path), "write:" + key)
    assert bob.get("svd/a") == "1"


def test_to_read_is_not_to_write(bob):
    assert bob.bob("GET", "/key/pub").status == 200
    check_403(bob.bob("PUT", "/key/pub", "x"), "write:pub")
    check_403(bob.bob("DELETE", "/key/pub"), "write:pub")
    check_403(bob.bob("POST", "/key", {"pub": "x"}), "write:pub")


def test_bad_keys_are_bad(bob):
    for path in ("/key/", "/key/%zz", "/key/%00", "/key/%ff", "/key/" + "k" * 1025):
        assert bob.bob("GET", path).status in (400, 403), path


def test_pairs_are_written_all_or_none(bob):
    assert bob.bob("POST", "/key", {"svc/a": "2", "svc/c": "2"}).status == 200
    check_403(bob.bob("POST", "/key", {"svc/a": "3", "svd/a": "3"}), "write:svd/a")
    check_403(bob.bob("POST", "/key/svc/a", {"svc/a": "3", "svc": "3"}), "write:svc")
    check_403(bob.bob("POST", "/key?cas=0", {"new": "3"}), "write:new")
    assert (bob.get("svc/a"), bob.get("svd/a"), bob.get("svc")) == ("2", "1", "1")
    assert bob.bob("POST", "/key", {}).status == 200


def test_properties_are_created_where_they_may(bob):
    assert bob.bob("POST", "/api/v1/properties", {"key": "svc/n", "value": "1"}).status == 200
    check_403(bob.bob("POST", "/api/v1/properties", {"key": "svd/n", "value": "1"}),
              "write:svd/n")
    check_403(bob.bob("POST", "/api/v1/settings", {"value": "1", "key": "n"}), "write:n")


@pytest.mark.parametrize("txn, need", [
    ({"then": [{"get": "svc/a"}, {"put": "svc/x", "value": "1"}, {"incr": "svc/n"},
               {"delete": "svc/y"}, {"delete_prefix": "svc/z"}, {"get": "pub"}]}, None),
    ({"if": [{"key": "svc/a", "exists": True}], "then": [], "else": [{"get": "svc/b"}]}, None),
    ({"then": [{"get": "svc/a"}, {"get": "svd/a"}]}, "read:svd/a"),
    ({"then": [{"put": "svd/a", "value": "1"}]}, "write:svd/a"),
    ({"then": [{"put": "pub", "value": "1"}]}, "write:pub"),
    ({"then": [{"delete": "svc"}]}, "write:svc"),
    ({"then": [{"delete_prefix": "sv"}]}, "write:sv"),
    ({"then": [{"delete_prefix": "pub"}]}, "write:pub"),
    ({"then": [{"incr": "n"}]}, "read:n"),
    ({"if": [{"key": "zzz", "exists": True}], "then": []}, "read:zzz"),
    ({"if": [{"value": "1", "key": "zzz"}], "then": []}, "read:zzz"),
    ({"then": [], "else": [{"get": "zzz"}]}, "read:zzz"),
    ({"then": [], "else": [{"value": "1", "put": "zzz"}]}, "write:zzz")])
def test_transactions_key_by_key(bob, txn, need):
    before = bob.status()["hash"]
    got = bob.bob("POST", "/txn", txn)
    if need:
        check_403(got, need)
        assert bob.status()["hash"] == before
    else:
        assert got.status == 200, got


def test_incr_shows_what_it_writes(start):
    node = start(token("writer", "write"), token("both", "read", "write"))
    txn = {"then": [{"incr": "n", "by": 0}]}
    check_403(node.plain("POST", "/txn", txn, bearer("writer")), "read:n")
    assert node.plain("POST", "/txn", txn, bearer("both")).status == 200


def test_deletions_of_many_keys(bob):
    for query, need in (("?all", "write"), ("?prefix=sv", "write:sv"), ("?prefix=pub", "write:pub"),
                        ("?prefix=svd/", "write:svd/"), ("?prefix=&all", "write"),
                        ("?prefix=svc", "write:svc"), ("?prefix=%73vd/", "write:svd/")):
        check_403(bob.bob("DELETE", "/keys" + query), need)
    for path in ("/api/v1/properties", "/api/v1/settings?pattern=^svc/"):
        check_403(bob.bob("DELETE", path), "write")
    assert bob.bob("DELETE", "/keys?prefix=svc/a").json()["deleted"] == 1
    assert bob.bob("DELETE", "/keys?prefix=svc%2F").json()["deleted"] == 1
    assert bob.get("svc") == "1"


# ---- lists show what may be read ----

def keys_of(response):
    assert response.status == 200, response
    return [item.get("key") or item["prefix"] for item in response.json()["items"]]


ALLOWED = ["pub", "public/x", "svc/a", "svc/b"]


def test_a_lease_is_theirs_who_may_write_its_keys(start):
    """It can be renewed, ended, and given more keys by whoever may write all that
    it has. What may not be read is not named."""
    node = start(token("tok", "lease", "write:own/", "read:own/", "read:seen/"))
    tok = bearer("tok")
    for keys, need in ((["own/a"], None), ([], None), (["own/a", "seen/b"], "write:seen/b"),
                       (["hidden/c", "own/a"], "write")):
        lease = node.plain("POST", "/lease?ttl=60s", headers=tok).json()["id"]
        for key in keys:
            assert node.request("PUT", f"/key/{key}?lease={lease}", "v").status in (201, 204)
        put = {"put": "own/z", "value": "", "lease": lease}
        answers = [node.plain("POST", f"/lease/{lease}", headers=tok),
                   node.plain("PUT", f"/lease/{lease}", headers=tok),
                   node.plain("PUT", f"/key/own/x?lease={lease}", "", headers=tok),
                   node.plain("POST", f"/key?lease={lease}", '{"own/y": ""}', headers=tok),
                   node.plain("POST", "/txn", json.dumps({"then": [put, put]}), headers=tok),
                   node.plain("DELETE", f"/lease/{lease}", headers=tok)]
        if need:
            for answer in answers:
                check_403(answer, need)
            assert all(node.get(key) == "v" for key in keys)
            assert node.get("own/x") is node.get("own/y") is node.get("own/z") is None
            assert node.request("DELETE", f"/lease/{lease}").status == 200
        else:
            assert [answer.status for answer in answers] == [204, 204, 201, 200, 200, 200]
            assert answers[-1].headers["Craftd-Deleted"] == str(len(keys) + 3)
    for method in ("PUT", "DELETE"):
        assert node.plain(method, "/lease/l-99999", headers=tok).status == 404


def test_a_transaction_looks_at_few_leases(start):
    """Each may have a thousand keys to be compared with the rules."""
    node = start(token("tok", "lease", "write:own/"))
    leases = [node.plain("POST", "/lease?ttl=60s", headers=bearer("tok")).json()["id"]
              for _ in range(9)]

    def attach(leases, request, **words):
        then = [{"put": f"own/{lease}/{i}", "value": "", "lease": lease}
                for lease in leases for i in range(20)]
        return request("POST", "/txn", json.dumps({"then": then}), **words)
    assert attach(leases[:8], node.plain, headers=bearer("tok")).status == 200
    answer = attach(leases, node.plain, headers=bearer("tok"))
    assert (answer.status, answer.json()["code"]) == (413, "too-large")
    assert attach(leases, node.request).status == 200  # All keys may be written.


def test_lists_show_what_may_be_read(bob):
    assert keys_of(bob.bob("GET", "/keys")) == ALLOWED
    assert keys_of(bob.bob("GET", "/keys?reverse")) == ALLOWED[::-1]
    assert keys_of(bob.bob("GET", "/keys?prefix=s")) == ALLOWED[2:]
    assert keys_of(bob.bob("GET", "/keys?prefix=svc/")) == ALLOWED[2:]
    assert keys_of(bob.bob("GET", "/keys?after=public/x")) == ALLOWED[2:]
    assert keys_of(bob.bob("GET", "/keys?end=svc/b")) == ALLOWED[:3]
    assert keys_of(bob.bob("GET", "/keys?reverse&end=pub")) == ALLOWED[:0:-1]
    assert keys_of(bob.bob("GET", "/keys?separator=/")) == ["pub", "public/", "svc/"]
    assert bob.bob("GET", "/keys?count").json()["count"] == 4
    assert bob.bob("GET", "/keys?count&prefix=s").json()["count"] == 2
    assert bob.bob("GET", "/keys?format=lines&keys").body == b"pub\npublic/x\nsvc/a\nsvc/b\n"
    check_403(bob.bob("GET", "/keys?prefix=svd"), "read:svd")
    check_403(bob.bob("GET", "/keys?prefix=svd/&count"), "read:svd/")
    for path in ("/api/v1/properties", "/api/v1/settings"):
        assert [p["key"] for p in bob.bob("GET", path).json()] == ALLOWED
        assert [p["key"] for p in bob.bob("GET", path + "?offset=1&limit=2").json()] == ALLOWED[1:3]
        assert [p["key"] for p in bob.bob("GET", path + "?pattern=a$").json()] == ["svc/a"]


@pytest.mark.parametrize("reverse", ["", "&reverse"])
def test_pages_of_a_list(bob, reverse):
    got, after = [], ""
    for _ in range(10):
        page = bob.bob("GET", f"/keys?limit=1{reverse}{after}")
        got += keys_of(page)
        if not page.json()["more"]:
            break
        after = "&after=" + page.json()["after"]
    assert got == (ALLOWED[::-1] if reverse else ALLOWED)


def test_a_walk_over_many_forbidden_keys(start):
    """It jumps over them: a few searches, not all of them."""
    prefixes = [f"read:p{i:02}/" for i in range(0, 60, 2)]
    node = start(token("some", *prefixes))
    for i in range(60):
        assert node.put_many({f"p{i:02}/{j:04}": "v" for j in range(1000)}).status == 200
    want = [f"p{i:02}/{j:04}" for i in range(0, 60, 2) for j in (0, 999)]
    some = bearer("some")
    assert node.plain("GET", "/keys?count", headers=some).json()["count"] == 30000
    assert node.plain("GET", "/keys?count&prefix=p1", headers=some).json()["count"] == 5000
    assert keys_of(node.plain("GET", "/keys?limit=1&after=p00/0999", headers=some)) == [want[2]]
    assert keys_of(node.plain("GET", "/keys?limit=1&reverse&after=p58/0000",
                              headers=some)) == ["p56/0999"]


# ---- the Unix socket ----

def test_users_of_this_machine(start, tmp_path):
    """The kernel says who is at the other end of a Unix socket."""
    uid = f"uid:{os.getuid()}"
    os.chdir(tmp_path)  # Paths of sockets are short: pytest's are long.
    path = "craftd.sock"
    node = start(user(uid, None, "read:svc/"), user("bob", "secret", "write"), unix=path)
    assert ask(path, "GET", "/key/svc/a").status == 404
    check_401(ask(path, "GET", "/key/svd/a"))
    check_401(ask(path, "PUT", "/key/svc/a", "v"))
    # Credentials that are given count, not who gives them.
    assert ask(path, "PUT", "/key/svc/a", "v", basic("bob", "secret")).status == 201
    check_403(ask(path, "GET", "/key/svc/a", headers=basic("bob", "secret")), "read:svc/a")
    check_401(ask(path, "GET", "/key/svc/a", headers=basic(uid, "")))
    # Over TCP nobody has a number, whatever it says.
    check_401(node.plain("GET", "/key/svc/a"))
    check_401(node.plain("GET", "/key/svc/a", headers=basic(uid, "")))
    change_rules(node, ROOT_TOKEN, user("uid:4294967295", None, "all"))
    check_401(ask(path, "GET", "/key/svc/a"))


def test_a_file_behind_links(start, tmp_path):
    """As containers get their secrets: a directory that is a link is replaced."""
    for version, words in enumerate((["read"], ["write"])):
        os.makedirs(tmp_path / "mount" / f"..{version}")
        write_rules(tmp_path / "mount" / f"..{version}" / "auth", ROOT_TOKEN,
                    token("t", *words))
    os.symlink("..0", tmp_path / "mount" / "..data")
    os.symlink("..data/auth", tmp_path / "mount" / "auth")
    node = start(args=["--auth", str(tmp_path / "mount" / "auth")])
    assert node.plain("GET", "/keys", headers=bearer("t")).status == 200
    os.symlink("..1", tmp_path / "mount" / "new")
    os.rename(tmp_path / "mount" / "new", tmp_path / "mount" / "..data")
    assert "users=2" in change_mode(node, "users=")
    check_403(node.plain("GET", "/keys", headers=bearer("t")), "read")


# ---- the rules change ----

def test_rules_are_read_again(start):
    node = start(user("bob", "old", "read"), token("t", "write"))
    assert node.plain("GET", "/keys", headers=basic("bob", "old")).status == 200
    assert node.plain("PUT", "/key/a", "1", bearer("t")).status == 201
    log = change_rules(node, ROOT_TOKEN, user("bob", "new", "read:svc/"))
    assert "users=2" in log
    check_401(node.plain("GET", "/keys", headers=basic("bob", "old")))
    check_401(node.plain("PUT", "/key/a", "1", bearer("t")))
    check_403(node.plain("GET", "/key/a", headers=basic("bob", "new")), "read:a")
    assert node.plain("GET", "/key/svc/a", headers=basic("bob", "new")).status == 404


@pytest.mark.parametrize("head", [
    b"Content-Length: 100000\r\n\r\n", b"Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"])
def test_rules_that_change_while_a_body_comes(start, head):
    """Who sends slowly does not keep the rights of the beginning. A password
    has to be checked anew, for which a body in chunks cannot wait."""
    node = start(user("bob", "secret", "write"), token("tok", "write"))
    for sender, entries, status in (
            (basic("bob", "secret"), [user("bob", "secret", "read")],
             b"429" if b"chunked" in head else b"403"),
            (basic("bob", "secret"), [user("bob", "secret", "write", rounds=2000)],
             b"429" if b"chunked" in head else b"201"),
            (bearer("tok"), [token("tok", "read")], b"403"),
            (bearer("tok"), [], b"401")):
        change_rules(node, ROOT_TOKEN, user("bob", "secret", "write"), token("tok", "write"))
        with connect(node) as s:
            s.sendall(b"PUT /key/a HTTP/1.1\r\nHost: x\r\n" + line(sender) + head)
            s.sendall(b"v" * 50000)
            if b"Expect" in head:
                assert s.recv(4096).split(b" ")[1] == b"100"
            else:
                time.sleep(0.2)
            change_rules(node, ROOT_TOKEN, *entries)
            s.sendall(b"v" * 50000 + (b"\r\n0\r\n\r\n" if b"chunked" in head else b""))
            assert s.recv(4096).split(b" ")[1] == status
        node.request("DELETE", "/key/a")


@pytest.mark.parametrize("path, answer", [
    ("/watch?prefix=a&min_index={}", "503 "),
    ("/key/a?level=none&min_index={}&index={}&wait=60s", "304 "),
    ("/keys?prefix=a&level=none&min_index={}&index={}&wait=60s", "304 ")])
def test_what_has_to_wait_first_does_not_stay_under_old_rules(start, path, answer):
    """A watch, or a read that waits for a change, that was allowed by rules which
    are gone by the time when it would begin to wait for changes."""
    node = start(token("tok", "read"))
    index = int(node.put("a", "old").headers["Craftd-Index"])
    with connect(node) as s:
        s.sendall(f"GET {path.format(index + 2, index + 2)} HTTP/1.1\r\nHost: x\r\n".encode()
                  + line(bearer("tok")) + b"\r\n")
        time.sleep(0.3)
        change_rules(node, ROOT_TOKEN)
        for _ in range(3):
            assert node.put("b", "1").status == 200
        time.sleep(0.5)
        assert node.put("a", "secret").status == 200
        s.settimeout(3)
        with contextlib.suppress(TimeoutError):
            data = s.recv(65536)
            assert data.decode().startswith("HTTP/1.1 " + answer), data
            while more := s.recv(65536):
                data += more
        assert b"secret" not in data


def test_the_first_page_of_a_watch_waits_for_no_old_rules(start):
    """Long walks have the places, so that it waits while the rules change."""
    node = start(token("tok", "read"))
    for i in range(4):
        assert node.put_many({f"{i}/{j:0200}": "v" for j in range(10000)}).status == 200
    walk = "/api/v1/properties?limit=10&pattern=(.%3F)%7B100%7Dzz&timeout=60s"
    with contextlib.ExitStack() as stack:
        def ask(headers, path):
            s = stack.enter_context(connect(node))
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() + line(headers) + b"\r\n")
            s.settimeout(30)
            return s
        walks = [ask(ADMIN, walk) for _ in range(4)]
        time.sleep(0.1)
        watch = ask(bearer("tok"), "/watch?initial&events=delete")
        time.sleep(0.1)
        change_rules(node, ROOT_TOKEN)
        answer = watch.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"rules-changed" in answer, answer
        assert walks[0].recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_broken_file_keeps_the_old_rules(start):
    node = start(user("bob", "secret", "read"))

    def still():
        assert node.plain("GET", "/keys", headers=basic("bob", "secret")).status == 200
        check_401(node.plain("GET", "/keys"))
    still()
    log = change_rules(node, '[\n{"username":"*",\n "perms":["raed"]}]')
    assert 'line 3, column 11: there is no permission' in log
    assert "did you mean read?" in log
    assert "the rules in use stay as they are" in log
    still()
    os.chmod(node.rules, 0o640)
    assert "chmod 600" in change_mode(node)
    still()
    os.remove(node.rules)
    assert "No such file" in change_mode(node)
    still()
    assert "users=1" in change_rules(node, ROOT_TOKEN)
    check_401(node.plain("GET", "/keys", headers=basic("bob", "secret")))


def change_mode(node, line="stay as they are"):
    before = node.log()
    node.send(signal.SIGHUP)
    wait_for(lambda: line in node.log()[len(before):], 10, "a line")
    return node.log()[len(before):]


@pytest.mark.parametrize("text, mode, why", [
    ("[{}]", 0o600, "line 1, column 2: an object has either"),
    ("[]", 0o644, "chmod 600"), ("[]", 0o602, "chmod 600"), ("[]", 0o620, "chmod 600"),
    (None, 0o600, "No such file"), pytest.param(" " * 300000, 0o600, "over 262144 bytes",
                                                id="too-long")])
def test_no_start_without_rules(cluster, tmp_path, text, mode, why):
    path = tmp_path / "auth.json"
    if text is not None:
        path.write_text(text)
        os.chmod(path, mode)
    node = cluster.new(args=["--auth", str(path)]).start()
    assert node.wait_exit() == 1
    assert why in node.log()


# ---- wrong passwords ----

def latency(node, headers, seconds):
    """Median of reads on one connection, in ms; and how many."""
    connection = http.client.HTTPConnection(HOST, node.http_port, timeout=15)
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        assert request_on(connection, "GET", "/key/a?level=none", None, headers).status == 200
        took.append(1000 * (time.perf_counter() - start))
        time.sleep(0.002)
    connection.close()
    return statistics.median(took), len(took)


@contextlib.contextmanager
def flood(node, headers_of):
    """Eight clients that ask without a pause; the statuses of the answers."""
    stop = threading.Event()
    answers = []

    def ask(number):
        asked = 0
        while not stop.is_set():
            asked += 1
            with contextlib.suppress(*TROUBLE):
                answers.append(node.plain("GET", "/key/a?level=none", timeout=1,
                                          headers=headers_of(number, asked)).status)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_flood_of_wrong_passwords_holds_nobody_up(start):
    """Beside the same flood of requests that are let in: that is what a busy
    machine, and the threads here, cost."""
    node = start(user("bob", "secret", "read", rounds=100000))
    node.put("a", "1")
    bob = basic("bob", "secret")
    assert node.plain("GET", "/key/a", headers=bob).status == 200
    with flood(node, lambda *_: bob) as answers:
        reference, _ = latency(node, bob, 3)
    assert set(answers) == {200}
    with flood(node, lambda *guess: basic("bob", f"wrong-{guess}")) as answers:
        busy, count = latency(node, bob, 4)
    assert count > 20
    assert busy < 2 * reference + 2, (busy, reference)
    # One in 100, 200, 400, ... ms: hardly any guess is tried.
    assert set(answers) <= {401, 429}
    assert 1 <= answers.count(401) <= 12, answers.count(401)
    assert re.search(r"auth-failed at=\S+ count=\d+", node.log())
    assert node.log().count("auth-failed") <= 12
    assert b"craftd_auth_failures_total" in node.plain("GET", "/metrics", headers=ADMIN).body


def test_a_check_holds_nobody_up(start):
    """Others are answered again and again while one password is checked."""
    node = start(user("bob", "secret", "read", rounds=1_000_000))
    with connect(node) as slow, \
            contextlib.closing(http.client.HTTPConnection(HOST, node.http_port)) as other:
        slow.sendall(b"GET /key/a HTTP/1.1\r\nHost: x\r\nAuthorization: "
                     + basic("bob", "wrong")["Authorization"].encode() + b"\r\n\r\n")
        answered = -1  # The first one may have come before.
        while not select.select([slow], [], [], 0)[0]:
            assert request_on(other, "GET", "/livez").status == 200
            answered += 1
        assert slow.recv(12) == b"HTTP/1.1 401"
    assert answered >= 20


def test_wrong_ones_in_a_row_take_their_time(start):
    node = start(token("good", "read"))
    begun = time.monotonic()
    for i in range(5):
        check_401(node.plain("GET", "/keys", headers=bearer(f"wrong-{i}")))
    took = time.monotonic() - begun
    assert took >= 1.5 * 0.95, took  # 100 + 200 + 400 + 800 ms
    # Credentials that are known already are not delayed by it.
    assert node.plain("GET", "/keys", headers=ADMIN).status == 200


def test_clients_of_a_proxy_are_delayed_one_by_one(start):
    """One connection of the proxy, requests of two clients."""
    node = start(token("good", "read"), args=["--trust-proxy", f"header:{HOST}"])
    connection = http.client.HTTPConnection(HOST, node.http_port, timeout=15)

    def ask_as(client, text):
        return request_on(connection, "GET", "/keys", None,
                          {**bearer(text), "X-Forwarded-For": client})
    for i in range(5):  # The next one from there has to wait for 1.6 s.
        check_401(ask_as("192.0.2.1", f"wrong-{i}"))
    assert ask_as("192.0.2.2", "good").status == 200
    connection.close()
    assert "auth-failed at=192.0.2.1:" in node.log()
    assert f"auth-failed at={HOST}:" not in node.log()


@pytest.mark.parametrize("first", [0, 3])
def test_one_that_waits_holds_up_no_other_address(start, first):
    """The next turn of checks is not that of the one that waits."""
    node = start(user("bob", "secret", "read"), args=["--trust-proxy", f"header:{HOST}"])

    def ask_as(s, client, password):
        s.sendall(b"GET /keys HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + client +
                  b"\r\n" + line(basic("bob", password)) + b"\r\n")
    with connect(node) as bad, connect(node) as good:
        for i in range(5):
            ask_as(bad, b"192.0.2.1", f"wrong-{i}")
            assert b" 401 " in bad.recv(4096)
        ask_as(bad, b"192.0.2.1", "wrong")  # It waits for 1.6 s from now.
        time.sleep(0.1 * first)
        watch = Stopwatch(node)
        ask_as(good, b"192.0.2.2", "secret")
        assert b" 200 " in good.recv(4096)
        assert watch.seconds() < 1


def test_a_user_of_the_machine_holds_up_no_other(start, tmp_path):
    """All of loopback is one address; at a Unix socket each user is one."""
    os.chdir(tmp_path)
    node = start(user("bob", "secret", "read"), unix="craftd.sock")
    for i in range(5):
        check_401(node.plain("GET", "/keys", headers=basic("bob", f"wrong-{i}")))
    watch = Stopwatch(node)
    assert ask("craftd.sock", "GET", "/keys", headers=basic("bob", "secret")).status == 200
    assert watch.seconds() < 1
    begun = time.monotonic()
    for i in range(3):
        check_401(ask("craftd.sock", "GET", "/keys", headers=basic("bob", f"wrong-{i}")))
    assert time.monotonic() - begun >= 0.3 * 0.95  # 100 + 200 ms


# ---- clusters ----

def cluster_with_rules(cluster, tmp_path, *entries, count=3):
    rules = write_rules(tmp_path / "auth.json", ROOT_TOKEN, token("joiner", "join"), *entries)
    join_token = tmp_path / "join-token"
    join_token.write_text("joiner\n")
    os.chmod(join_token, 0o600)
    args = ["--auth", rules, "--join-token-file", str(join_token)]
    first = authorized(cluster.new(args=args)).start().up()
    cluster.wait_leader()
    for _ in range(count - 1):
        authorized(cluster.new(args=args))
        cluster.nodes[-1].join = first.http
        cluster.nodes[-1].start()
    return cluster.wait_members()


def test_joining_with_a_token_and_writing_everywhere(cluster, tmp_path):
    cluster_with_rules(cluster, tmp_path, user("bob", "secret", "read:svc/", "write:svc/"))
    for i, node in enumerate(cluster):
        bob = basic("bob", "secret")
        assert node.plain("PUT", f"/key/svc/{i}", "v", bob).status == 201
        check_403(node.plain("PUT", "/key/other", "v", bob), "write:other")
        check_401(node.plain("PUT", "/key/svc/x", "v"))
        for other in cluster:
            assert other.plain("GET", f"/key/svc/{i}?raw", headers=bob).body == b"v"
            check_403(other.plain("GET", "/key/other", headers=bob), "read:other")
    # A redirect is for those who may, too.
    follower = next(node for node in cluster if node is not cluster.leader())
    check_401(follower.plain("PUT", "/key/svc/r?redirect", "v"))
    assert follower.plain("PUT", "/key/svc/r?redirect", "v",
                          basic("bob", "secret")).status == 307


def test_joining_without_a_token_is_refused(cluster, tmp_path):
    cluster_with_rules(cluster, tmp_path, count=1)
    stranger = cluster.add(cluster[0].http, args=["--election", "500ms"])
    wait_for(lambda: "401 this needs a user" in stranger.log(), 10, "a refusal")
    assert len(cluster[0].status()["peers"]) == 0
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong-token")
    os.chmod(wrong, 0o600)
    other = cluster.add(cluster[0].http, args=["--join-token-file", str(wrong)])
    wait_for(lambda: "401 the user, the password or the token is wrong" in other.log(), 15,
             "a refusal")
    assert len(cluster[0].status()["peers"]) == 0


def test_a_join_token_is_for_the_targets(cluster, tmp_path):
    """Not for where an answer leads."""
    path = tmp_path / "token"
    path.write_text("secret")
    os.chmod(path, 0o600)
    elsewhere = Server(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    target = Server(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://%s/join\r\n"
                    b"Content-Length: 0\r\n\r\n" % elsewhere.addr.encode())
    try:
        node = cluster.new(args=["--join-token-file", str(path)])
        node.join = target.addr
        node.start()
        wait_for(lambda: elsewhere.requests, 10, "a redirect is followed")
        assert b"Authorization: Bearer secret" in target.requests[0]
        assert b"Authorization" not in elsewhere.requests[0]
    finally:
        target.close()
        elsewhere.close()


@pytest.mark.parametrize("text, mode, why", [
    ("", 0o600, "not one token"), ("a b", 0o600, "not one token"),
    ("a\r\nX: y", 0o600, "not one token"), ("a", 0o644, "chmod 600"), (None, 0, "No such file")])
def test_a_join_token_that_is_none(cluster, tmp_path, text, mode, why):
    path = tmp_path / "token"
    if text is not None:
        path.write_bytes(text.encode())
        os.chmod(path, mode)
    node = cluster.new(args=["--join-token-file", str(path)]).start()
    assert node.wait_exit() == 1
    assert "--join-token-file" in node.log() and why in node.log()


# ---- browsers ----

def test_pages_with_credentials_are_pages_all_the_same(start):
    """A browser sends the password that it was given with what any page asks."""
    node = start(user("bob", "secret", "all"), args=["--allow-origin", "https://ui.example.com"])
    bob = basic("bob", "secret")
    for origin in ("http://evil.example", "null"):
        got = node.plain("PUT", "/key/a", "x", {**bob, "Origin": origin})
        assert got.status == 403 and "need" not in got.json(), got
    ui = {"Origin": "https://ui.example.com"}
    got = node.plain("OPTIONS", "/key/a", headers={
        **ui, "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization"})
    assert got.status == 204
    assert got.headers["Access-Control-Allow-Origin"] == ui["Origin"]
    assert node.plain("PUT", "/key/a", "x", {**bob, **ui}).status == 201
    got = node.plain("PUT", "/key/a", "x", ui)
    check_401(got)
    assert got.headers["Access-Control-Allow-Origin"] == ui["Origin"]
    check_401(node.plain("OPTIONS", "/key/a", headers={"Origin": "http://evil.example"}))


# ---- results that are kept ----

def test_a_repeat_is_the_same_users(start):
    """Under the same Idempotency-Key another one's request is another request,
    on whatever node: nobody gets the answer to another's."""
    node = start(user("bob", "secret", "read", "write"), user("amy", "secret", "read", "write"),
                 token("tok", "all"), user("*", None, "read", "write"))
    senders = [basic("bob", "secret"), basic("amy", "secret"), bearer("tok"), ADMIN, {}]
    requests = [("POST", "/key", '{"k":"v"}'), ("PUT", "/key/k", "v"), ("DELETE", "/key/k", None),
                ("POST", "/txn", '{"then":[{"get":"k"},{"put":"k","value":"2"}]}')]
    for number, (method, path, body) in enumerate(requests):
        for mine, sender in enumerate(senders):
            name = {"Idempotency-Key": f"{number}-{mine}"}

            def send(who):
                return node.plain(method, path, body, {**who, **name})
            first = send(sender)
            assert first.status < 300 and "Idempotency-Replayed" not in first.headers
            for other in senders:
                again = send(other)
                if other is sender:
                    assert again.headers["Idempotency-Replayed"] == "true"
                    assert (again.status, again.body) == (first.status, first.body)
                else:
                    assert (again.status, code(again)) == (422, "idempotency-mismatch")
                    assert "by another user" in again.json()["message"]
    # The name is what counts, not the password; and not the rules.
    change_rules(node, ROOT_TOKEN, user("bob", "new", "write"))
    again = node.plain("POST", "/key", '{"k":"v"}', {**basic("bob", "new"),
                                                     "Idempotency-Key": "0-0"})
    assert again.headers["Idempotency-Replayed"] == "true"


# ---- tokens for one join ----

def new_token(node, headers=None):
    got = node.plain("POST", "/join/token", headers=headers or ADMIN)
    assert got.status == 200, got
    assert got.json()["node"] == node.name and got.json()["expires_in"] == 600
    return got.json()["token"]


def join_body(name, port=1, **more):
    return {"id": name, "addr": f"127.0.0.1:{port}", **more}


def members(node):
    return {p["id"] for p in node.request("GET", "/nodes").json()}


def test_a_token_for_one_join(start):
    node = start(token("joiner", "join"))
    text = new_token(node, bearer("joiner"))
    assert text not in node.log()
    once = bearer(text)
    # It can do nothing else, and makes no others.
    check_403(node.plain("GET", "/status", headers=once), "status")
    check_403(node.plain("GET", "/key/a", headers=once), "read:a")
    check_403(node.plain("DELETE", "/nodes/x", headers=once), "remove")
    assert node.plain("POST", "/join/token", headers=once).status == 403
    # What is no request to join does not use it.
    assert node.plain("POST", "/join", "{}", once).status == 400
    for _ in range(2):
        assert node.plain("POST", "/join", join_body("n1"), once).status == 200
    for other in (join_body("n2"), join_body("n1", 2), join_body("n1", uuid="1" * 32),
                  join_body("n1", voter=False), join_body("n1", http="127.0.0.1:3"),
                  join_body("n2", cluster=node.status()["cluster"])):
        for path in ("/join", "/api/v1/join"):
            got = node.plain("POST", path, other, once)
            assert got.status == 403 and "for one join" in got.json()["message"], got
    assert members(node) == {node.name, "n1"}
    check_401(node.plain("POST", "/join", join_body("n2"), bearer(text[:-1] + "g")))
    # Read again, the rules revoke it.
    other = new_token(node)
    change_rules(node, ROOT_TOKEN)
    check_401(node.plain("POST", "/join", join_body("n2"), bearer(other)))
    # So does a new start.
    other = new_token(node)
    node.terminate()
    node.start().up()
    check_401(node.plain("POST", "/join", join_body("n2"), bearer(other)))


def test_tokens_for_one_join_are_few(start):
    node = start()
    assert len({new_token(node) for _ in range(16)}) == 16
    got = node.plain("POST", "/join/token", headers=ADMIN)
    assert (got.status, code(got)) == (429, "overloaded")
    check_401(node.plain("POST", "/join/token"))


def test_no_token_where_none_is_asked_for(cluster):
    node = cluster.start(1)[0]
    got = node.request("POST", "/join/token")
    assert (got.status, code(got)) == (409, "no-auth")


def test_a_node_joins_with_a_token_for_one(cluster, tmp_path):
    """Made by the command, at a node that does not lead; nobody else joins."""
    cluster_with_rules(cluster, tmp_path, count=2)
    follower = next(node for node in cluster if node is not cluster.leader())
    made = subprocess.run(
        [BINARY, "token", "--join", "--addr", follower.http], capture_output=True, text=True,
        env=dict(os.environ, CRAFTD_TOKEN_FILE=str(tmp_path / "join-token")))
    assert made.returncode == 0, made
    assert f"must --join {follower.name}" in made.stderr
    path = tmp_path / "once"
    path.write_text(made.stdout)
    os.chmod(path, 0o600)
    args = ["--auth", str(tmp_path / "auth.json"), "--join-token-file", str(path)]
    authorized(cluster.new(args=args))
    cluster.nodes[-1].join = follower.http
    cluster.nodes[-1].start()
    cluster.wait_members()
    late = cluster.new(args=args)
    late.join = follower.http
    late.start()
    wait_for(lambda: "403 this token is for one join" in late.log(), 15, "a refusal")
    assert late.name not in members(cluster[0])
    refused = subprocess.run([BINARY, "token", "--join", "--addr", follower.http],
                             capture_output=True, text=True)
    assert refused.returncode == 1 and "needs a user" in refused.stderr
    assert subprocess.run([BINARY, "token", "--join", "read"]).returncode == 2
