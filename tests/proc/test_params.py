"""Query parameters: how they are decoded, and which a request takes.

A parameter that is not taken is refused before anything is done, on reads as
on writes: a mistyped `cas` must not become an unconditional write."""
import re
from urllib.parse import urlencode

import pytest
import yaml

from cluster import ROOT
from test_http import connect, read_until_closed

PROBES = ("/livez", "/readyz", "/healthz", "/health", "/metrics")


def refused(response):
    """The message of a 400 bad-param by which nothing was done."""
    body = response.json()
    assert (response.status, body["code"], body["outcome"]) == (
        400, "bad-param", "not-applied"), response
    return body["message"]


# ---- decoding ----

def test_a_plus_sign_is_a_blank_in_values_and_itself_in_paths(cluster):
    node = cluster.start(1)[0]
    for key in ("a b/1", "a b/2", "a+b/1"):
        assert node.put(key, "v").status == 200

    def keys(**params):
        got = node.request("GET", "/keys?" + urlencode({"keys": "", **params}))
        return [item["key"] for item in got.json()["items"]]
    assert "+" in urlencode({"prefix": "a b/"})
    assert keys(prefix="a b/") == ["a b/1", "a b/2"]
    assert keys(prefix="a+b/") == ["a+b/1"]
    assert keys(after="a b/1") == ["a b/2", "a+b/1"]
    assert keys(end="a b/2") == ["a b/1"]
    got = node.request("GET", "/keys?" + urlencode({"keys": "", "separator": " "})).json()
    assert got["items"] == [{"prefix": "a "}, {"key": "a+b/1"}]
    got = node.request("GET", "/api/v1/properties?pattern=^a+b").json()
    assert [one["key"] for one in got] == ["a b/1", "a b/2"]
    got = node.request("GET", "/api/v1/properties?" + urlencode({"pattern": "^a+ b"})).json()
    assert [one["key"] for one in got] == ["a b/1", "a b/2"]
    # In a path it is what it is.
    assert node.request("GET", "/key/a+b/1").body == b'{"a+b/1":"v"}'
    # Only the named keys are deleted.
    gone = node.request("DELETE", "/keys?" + urlencode({"prefix": "a b/"}))
    assert gone.json()["deleted"] == 2
    assert keys() == ["a+b/1"]


def test_names_and_values_are_decoded_alike(three):
    assert three[0].put("decoded/x", "1").status == 200
    for query in ("prefix=decoded%2Fx", "pre%66ix=decoded/x", "%70refix=decoded/%78&",
                  "&&prefix=decoded/x", "prefix=decoded/x&lim%69t=%31",
                  "prefix=decoded/x&level=n%6Fne", "prefix=decoded/x&timeout=%35s"):
        got = three[0].request("GET", "/keys?" + query)
        assert [item["key"] for item in got.json()["items"]] == ["decoded/x"], query
    for query in ("prefix=%", "prefix=%zz", "%zz=1", "limit=1&prefix=%4"):
        refused(three[0].request("GET", "/keys?" + query))


# ---- what is not taken ----

MISTYPED = [
    # method, path, query, the name that was meant
    ("PUT", "/key/typed", "caz=999", "cas"),
    ("POST", "/key", "timout=1s", "timeout"),
    ("DELETE", "/key/typed", "cass=1", "cas"),
    ("GET", "/key/typed", "rwa", "raw"),
    ("GET", "/key/typed", "levle=none", "level"),
    ("GET", "/key/typed", "min-index=4", "min_index"),
    ("GET", "/keys", "prefx=zzz", "prefix"),
    ("GET", "/keys", "Prefix=zzz", "prefix"),
    ("DELETE", "/keys", "prefix=t&al", "all"),
    ("POST", "/txn", "redirct", "redirect"),
    ("GET", "/status", "prety", "pretty"),
    ("GET", "/hash", "indx=7", "index"),
    ("GET", "/backup", "levl=none", "level"),
    ("GET", "/export", "indx=7", "index"),
    ("POST", "/restore", "timeoout=5s", "timeout"),
    ("POST", "/join", "redirekt", "redirect"),
    ("DELETE", "/nodes/node1", "timeot=1s", "timeout"),
    ("PUT", "/nodes/node1", "timeot=1s", "timeout"),
    ("DELETE", "/remove", "timeot=1s", "timeout"),
    ("POST", "/leader", "timeot=1s", "timeout"),
    ("POST", "/sync", "node=all", "nodes"),
    ("POST", "/snapshot", "timeot=1s", "timeout"),
    ("GET", "/api/v1/properties", "patern=x", "pattern"),
    ("DELETE", "/api/v1/properties", "patern=x", "pattern"),
    ("PUT", "/api/v1/settings/typed", "caz=1", "cas"),
    ("GET", "/api/v1/cluster/nodes", "stats=leader", "status"),
]


def refused_undone(three, method, path, query):
    """The message with which a follower refuses it; nothing has been done."""
    node = three.others(three.wait_leader())[0]
    assert node.put("typed", "before").status == 200
    assert node.get("typed") == "before"  # It has been applied here, too.
    before = node.request("GET", "/status").json()
    message = refused(node.request(
        method, f"{path}?{query}", '{"typed":"after"}' if method != "GET" else None))
    after = node.request("GET", "/status").json()
    assert (after["hash"], after["leader"]) == (before["hash"], before["leader"])
    assert node.get("typed") == "before"
    return message


@pytest.mark.parametrize("method,path,query,meant", MISTYPED)
def test_a_mistyped_parameter_is_refused_with_the_one_that_was_meant(
        three, method, path, query, meant):
    message = refused_undone(three, method, path, query)
    name = query.split("&")[-1].split("=")[0]
    assert f'"{name}"' in message and f'did you mean "{meant}"?' in message, message
    assert meant in message.split("It takes ")[1].replace(" and ", ", ").split(", ")


FOREIGN = [
    ("PUT", "/key/a", "acquire=x", "If-None-Match"),
    ("PUT", "/key/a", "release=x", "If-Match"),
    ("PUT", "/key/a", "flags=1", "value"),
    ("DELETE", "/key/a", "ttl=30s", "PUT /ttl/KEY"),
    ("PUT", "/key/a", "refresh", "PUT /lease/ID"),
    ("GET", "/key/a", "recurse", "/keys?prefix="),
    ("DELETE", "/key/a", "recurse", "DELETE /keys"),
    ("DELETE", "/key/a", "recursive=true", "DELETE /keys"),
    ("PUT", "/key/a", "index=7", "GET /key/KEY"),
    ("GET", "/nodes", "waitIndex=7", "GET /watch"),
    ("GET", "/key/a", "dc=dc1", "prefix"),
    ("PUT", "/key/a", "prevExist=false", "If-None-Match"),
    ("PUT", "/key/a", "prevIndex=7", "cas"),
    ("PUT", "/key/a", "prevValue=x", "/txn"),
    ("GET", "/keys", "sorted=true", "order"),
    ("GET", "/keys", "q=SELECT", "SQL"),
    ("POST", "/key", "transaction", "atomic"),
    ("GET", "/backup", "fmt=sql", "sqlite"),
    ("GET", "/nodes", "nonvoters", "all members"),
    ("POST", "/txn", "cas=1", '"if"'),
    ("DELETE", "/keys", "prefix=a&cas=1", "one key"),
]


@pytest.mark.parametrize("method,path,query,said", FOREIGN)
def test_words_of_other_systems_get_a_sentence(three, method, path, query, said):
    message = refused_undone(three, method, path, query)
    assert said in message, message


def test_nothing_near_is_guessed(three):
    message = refused(three[0].request("GET", "/keys?unheard=of"))
    assert "did you mean" not in message
    assert message.endswith("timeout and pretty"), message
    message = refused(three[0].request("GET", "/keys?" + "x" * 5000))
    assert len(message) < 400


def test_a_duplicate_parameter_is_refused(three):
    """One of two conditions would be ignored."""
    node = three[0]
    assert node.put("twice", "before").status == 200
    index = node.request("GET", "/key/twice?meta").json()["index"]
    for first, second in ((index, 1), (1, index), (index, index)):
        message = refused(node.request(
            "PUT", f"/key/twice?cas={first}&cas={second}", "after"))
        assert "cas is given twice" in message
    assert "prefix is given twice" in refused(
        node.request("GET", "/keys?prefix=a&keys&pre%66ix=b"))
    assert node.get("twice") == "before"


def test_common_parameters_are_valid_everywhere(three):
    """`=0` of a flag that has no meaning here asks for nothing."""
    assert three[0].request("DELETE", "/keys?prefix=none/&count=0&keys=false").status == 200
    refused(three[0].request("DELETE", "/keys?prefix=none/&count=1"))
    refused(three[0].request("DELETE", "/keys?prefix=none/&limit=0"))


@pytest.mark.parametrize("path", PROBES)
def test_probes_ignore_what_they_do_not_know(three, path):
    """Health checkers and caches add parameters of their own."""
    for query in ("_=1723456", "unheard=of", "pretty&pretty", "prefix=x", "%zz", "a=%"):
        got = three[0].request("GET", f"{path}?{query}")
        assert got.status == 200, (path, query, got)
    if path in ("/readyz", "/healthz"):
        refused(three[0].request("GET", f"{path}?timeout=soon"))


def test_it_is_refused_before_the_body_is_sent(three):
    for node in three:
        with connect(node) as s:
            s.sendall(b"PUT /key/early?caz=9 HTTP/1.1\r\nHost: x\r\n"
                      b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            answer = read_until_closed(s)
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"100 Continue" not in answer and b"did you mean" in answer
        assert node.get("early") is None


# ---- the document ----

def test_the_document_names_the_accepted_parameters(three):
    """The parameters that a request names when it refuses one are those of the
    document; `timeout` and `pretty` are valid everywhere."""
    with open(f"{ROOT}/src/api/openapi.yaml", encoding="utf-8") as file:
        tree = yaml.safe_load(file)

    def resolve(node):
        if "$ref" not in node:
            return node
        return tree["components"]["parameters"][node["$ref"].split("/")[-1]]
    checked = 0
    for path, item in tree["paths"].items():
        target = path.replace("{key}", "x").replace("{id}", "node0")
        if target in PROBES:
            continue
        for method in ("get", "put", "post", "delete"):
            if method not in item:
                continue
            said = {p["name"] for p in map(resolve, item.get("parameters", []) +
                                           item[method].get("parameters", []))
                    if p["in"] == "query"}
            message = refused(three[0].request(method.upper(), target + "?unheard=of"))
            taken = set(re.split(", | and ", message.split("it takes ")[1]))
            assert {"timeout", "pretty"} <= taken
            extra = {"timeout", "pretty"}
            assert said - extra == taken - extra, (method, path)
            checked += 1
    assert checked > 40


# ---- methods ----

@pytest.mark.parametrize("method", ["PATCH", "TRACE", "PROPFIND", "LINK", "MKCOL"])
def test_methods_that_others_know_are_405(three, method):
    for path, allow in (("/key/x", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
                        ("/keys", "GET, HEAD, DELETE, OPTIONS"),
                        ("/livez", "GET, HEAD, OPTIONS"),
                        ("/nodes/", "GET, HEAD, OPTIONS"),
                        ("/nodes/x", "GET, HEAD, PUT, DELETE, OPTIONS")):
        got = three[1].request(method, path)
        assert (got.status, got.headers["Allow"]) == (405, allow), (method, path)
    assert three[1].request(method, "/nowhere").status == 404


def test_connect_is_405_and_closes(three):
    """The bytes after it would be for the tunnel, which does not exist."""
    with connect(three[0]) as s:
        s.sendall(b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"
                  b"DELETE /keys?all HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read_until_closed(s)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n" in answer


def test_unknown_methods_are_501(three):
    for method in ("BREW", "get", "GETS"):
        assert three[0].request(method, "/key/x").status == 501
