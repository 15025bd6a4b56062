"""The document in the binary, held against what a node answers.

Every operation of it is asked for, with answers that are errors too. An answer
must be one that the document names: status, content type, headers, and a body
that its schema takes. What the document says of methods must be what OPTIONS
says. The reader of schemas below knows the words that the document uses, and
fails on others.
"""
import gzip
import http.client
import itertools
import os
import re

import pytest
import yaml

from cluster import HOST, ROOT, Response, wait_for
from watch import Watch

METHODS = ("get", "put", "post", "delete")
SPEC_PATH = "/api/v1/openapi.yaml"
SCHEMA_WORDS = {"type", "required", "properties", "additionalProperties", "items",
                "enum", "oneOf", "description", "minLength", "maxLength", "format",
                "minProperties", "maxProperties", "maxItems", "nullable",
                "minimum", "maximum", "default"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
         "number": (int, float)}


class Document:
    def __init__(self, text):
        self.tree = yaml.safe_load(text)
        self.operations = {(path, method): item[method]
                           for path, item in self.tree["paths"].items()
                           for method in METHODS if method in item}

    def resolve(self, node):
        while "$ref" in node:
            assert set(node) == {"$ref"}, node
            parts = node["$ref"].split("/")
            assert parts[0] == "#"
            node = self.tree
            for part in parts[1:]:
                node = node[part]
        return node

    def path_of(self, target):
        """The template that the path of a request belongs to."""
        path = target.split("?")[0]
        if path in self.tree["paths"]:
            return path
        for template in self.tree["paths"]:
            root, brace, _ = template.partition("{")
            if brace and path.startswith(root) and len(path) > len(root):
                return template
        return None

    # ---- schemas ----------------------------------------------------------

    def wrong(self, schema, value, where="$"):
        """The part of the value that violates the schema, or None."""
        schema = self.resolve(schema)
        assert set(schema) <= SCHEMA_WORDS, set(schema) - SCHEMA_WORDS
        if "oneOf" in schema:
            fits = [s for s in schema["oneOf"] if not self.wrong(s, value)]
            return None if len(fits) == 1 else f"{where}: fits {len(fits)} of oneOf"
        if value is None and schema.get("nullable"):
            return None
        kind = TYPES[schema["type"]]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            return f"{where}: {value!r} is no {schema['type']}"
        if "enum" in schema and value not in schema["enum"]:
            return f"{where}: {value!r} is none of {schema['enum']}"
        size_words = {dict: "Properties", list: "Items", str: "Length"}.get(kind)
        if size_words and not (schema.get("min" + size_words, 0) <= len(value)
                               <= schema.get("max" + size_words, 1 << 30)):
            return f"{where}: size {len(value)}"
        if kind is list:
            return self.wrong_item(schema, value, where)
        return self.wrong_member(schema, value, where) if kind is dict else None

    def wrong_item(self, schema, value, where):
        return next(filter(None, (self.wrong(schema["items"], item, f"{where}[{i}]")
                                  for i, item in enumerate(value))), None)

    def wrong_member(self, schema, value, where):
        missing = set(schema.get("required", ())) - set(value)
        if missing:
            return f"{where}: without {missing}"
        known = schema.get("properties", {})
        for name, member in value.items():
            other = schema.get("additionalProperties", True)
            if name not in known and other is False:
                return f"{where}: {name} is not in the document"
            if name in known or other is not True:
                why = self.wrong(known.get(name, other), member, f"{where}.{name}")
                if why:
                    return why
        return None

    # ---- answers ----------------------------------------------------------

    def check(self, method, target, response):
        """Check that the document has this answer. Returns the operation."""
        path = self.path_of(target)
        operation = self.operations[(path, method.lower())]
        what = f"{method} {target}: {response.status}"
        assert str(response.status) in operation["responses"], what
        described = self.resolve(operation["responses"][str(response.status)])
        for name, header in described.get("headers", {}).items():
            if self.resolve(header).get("required"):
                assert response.headers[name], f"{what}: no {name}"
        kind = (response.headers["Content-Type"] or "").split(";")[0]
        contents = described.get("content", {})
        if not contents or not kind:
            assert response.body == b"" and not kind, what
        else:
            assert kind in contents, f"{what}: {kind}"
            if kind.endswith("json") and "ndjson" not in kind:
                why = self.wrong(contents[kind]["schema"], response.json())
                assert not why, f"{what}: {why}: {response.body[:300]}"
        if response.status >= 400 and "problem" in str(contents):
            v1 = target.startswith("/api/v1")
            assert (kind == "application/json") == v1 or path in (
                "/key/{key}", "/health"), f"{what}: {kind}"
        return path, method.lower()


def test_pairs_are_taken_whatever_content_type_says(document):
    """curl -d says that it is a form, and hraftd does not look."""
    contents = document.operations[("/key", "post")]["requestBody"]["content"]
    assert contents["*/*"] == contents["application/json"]


@pytest.fixture(scope="module")
def document(three_nodes):
    response = three_nodes[0].request("GET", SPEC_PATH)
    assert response.headers["Content-Type"] == "application/yaml"
    return Document(response.body.decode())


# ---- the document itself ----

def test_it_is_the_one_in_the_source_and_has_a_tag(three):
    with open(os.path.join(ROOT, "src", "api", "openapi.yaml"), "rb") as f:
        text = f.read()
    tags = set()
    for node in three:
        response = node.request("GET", SPEC_PATH)
        assert response.body == text
        tags.add(response.headers["ETag"])
        for etag in (response.headers["ETag"], "*", f'"1", {response.headers["ETag"]}'):
            again = node.request("GET", SPEC_PATH, headers={"If-None-Match": etag})
            assert (again.status, again.body) == (304, b"")
            assert again.headers["ETag"] == response.headers["ETag"]
        other = node.request("GET", SPEC_PATH, headers={"If-None-Match": '"1"'})
        assert other.status == 200
        head = node.request("HEAD", SPEC_PATH)
        assert head.headers["Content-Length"] == str(len(text)) and head.body == b""
    assert len(tags) == 1


@pytest.mark.parametrize("accept, is_compressed", [
    (None, False), ("", False), ("identity", False), ("br", False), ("gzip", True),
    ("x-gzip", True), ("GZip", True), ("deflate, gzip;q=0.5, br", True), ("*", True),
    ("gzip;q=0", False), ("*;q=0", False), ("gzip;q=0, *", False),
    ("*;q=0, gzip", True), ("gzip;q=0.4, identity;q=0.5", False),
    ("identity;q=0.5, gzip;q=0.5", True), ("identity;q=0, *", True), ("gzipped", False)])
def test_it_is_sent_compressed_to_those_who_accept_it(three, accept, is_compressed):
    def get(method, **headers):
        connection = http.client.HTTPConnection(HOST, three[0].http_port, timeout=15)
        connection.putrequest(method, SPEC_PATH, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if accept is not None:
            connection.putheader("Accept-Encoding", accept)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        connection.close()
        vary = ", ".join(response.headers.get_all("Vary")).lower().split(", ")
        assert "accept-encoding" in vary and "accept" in vary
        return Response(response.status, response.headers, body)

    with open(os.path.join(ROOT, "src", "api", "openapi.yaml"), "rb") as f:
        text = f.read()
    response = get("GET")
    coding = response.headers["Content-Encoding"]
    body = gzip.decompress(response.body) if is_compressed else response.body
    assert (coding, body) == ("gzip" if is_compressed else None, text)
    assert response.headers["Content-Type"] == "application/yaml"
    head = get("HEAD")
    assert (head.body, head.headers["Content-Encoding"]) == (b"", coding)
    assert head.headers["Content-Length"] == str(len(response.body))
    again = get("GET", If_None_Match=response.headers["ETag"])
    assert (again.status, again.body, again.headers["Content-Encoding"]) == (304, b"", None)
    # The tag of one form is none of the other (RFC 9110 8.8.3.3).
    other = three[0].request("GET", SPEC_PATH, headers={
        "Accept-Encoding": "identity" if is_compressed else "gzip"})
    assert other.headers["ETag"] != response.headers["ETag"]
    assert get("GET", If_None_Match=other.headers["ETag"]).status == 200


def test_its_references_lead_somewhere_and_all_parts_are_used(document):
    used = set()

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                document.resolve(node)
                used.add(node["$ref"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
    walk(document.tree)
    # Ways to authenticate are used by their names.
    used |= {f"#/components/securitySchemes/{name}"
             for way in document.tree["security"] for name in way}
    parts = {f"#/components/{kind}/{name}"
             for kind, names in document.tree["components"].items() for name in names}
    assert used == parts


def test_every_operation_is_documented_for_openapi(document):
    assert document.tree["openapi"].startswith("3.0.")
    tags = {tag["name"] for tag in document.tree["tags"]}
    names = [operation.get("operationId", "") for operation in document.operations.values()]
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in names), names
    assert len(set(names)) == len(names)  # Generators make functions of them.
    for (path, method), operation in document.operations.items():
        assert operation["summary"] and set(operation["tags"]) <= tags
        parameters = [document.resolve(p) for p in
                      operation.get("parameters", []) +
                      document.tree["paths"][path].get("parameters", [])]
        assert all({"name", "in", "schema"} <= set(p) for p in parameters)
        named = {p["name"] for p in parameters if p["in"] == "path"}
        assert named == {part.split("}")[0] for part in path.split("{")[1:]}
        assert all(p.get("required") for p in parameters if p["in"] == "path")
        for status, response in operation["responses"].items():
            assert document.resolve(response)["description"], (path, method, status)


def test_its_methods_are_those_of_options(three, document):
    allowed = {}
    for path in document.tree["paths"]:
        target = path.replace("{key}", "x").replace("{id}", "node0")
        response = three[1].request("OPTIONS", target)
        assert response.status == 204
        allowed[path] = {m.lower() for m in response.headers["Allow"].split(", ")}
    # One route serves /key and what is below it.
    for path, methods in allowed.items():
        described = {method for other, method in document.operations
                     if other == path or path in ("/key", "/key/{key}") and
                     other in ("/key", "/key/{key}")}
        assert methods - {"head", "options"} == described, path


# ---- answers ----

BINARY = bytes(range(256))


def requests(three):
    """(node, method, path, body, headers): every operation, and errors."""
    leader = three.wait_leader()
    follower, other = three.others(leader)
    late = {"Idempotency-Key": "openapi-1"}

    def get(path, headers=None):
        return (follower, "GET", path, None, headers)

    def on(method, path, body=None, headers=None, node=follower):
        return (node, method, path, body, headers)
    keys = [
        on("POST", "/key", {"oa/a": "1", "oa/b": "2"}), on("POST", "/key", "{"),
        on("POST", "/key?redirect", {"oa/a": "1"}),
        on("POST", "/key", {"oa/a": "1"}, {"Content-Type": "application/x-www-form-urlencoded"}),
        on("POST", "/key", {"oa/a": "1"}, {"Content-Type": "text/plain"}),
        on("POST", "/key", {"oa/a": "1"}, {"If-Match": '"1"'}),
        on("POST", "/key", {"oa/n": "1"}, late), on("POST", "/key", {"oa/n": "2"}, late),
        on("POST", "/key", {"oa/n": "x" * ((1 << 20) + 1)}),
        on("PUT", "/key/oa/raw", BINARY), on("PUT", "/key/oa/raw", BINARY),
        on("PUT", "/key/oa/raw", b"", {"If-None-Match": "*"}),
        on("PUT", "/key/" + "k" * 1025, b""),
        get("/key/oa/a"), get("/key/oa/a?raw"), get("/key/oa/a?meta"),
        get("/key/oa/raw?meta"), get("/key/oa/raw"), get("/key/oa/none"),
        get("/key/oa/none?meta"), get("/key/oa/a?level=x"), get("/key/oa/a?redirect"),
        get("/key/oa/a", {"If-None-Match": "*"}),
        get("/key/oa/a?level=none&min_index=99999999&timeout=50ms"),
        get("/keys?prefix=oa/"), get("/keys?prefix=oa/&limit=1"),
        get("/keys?prefix=oa/&keys"), get("/keys?prefix=o&separator=/"),
        get("/keys?count"), get("/keys?prefix=oa/&count"),
        get("/keys?prefix=oa/&format=ndjson"), get("/keys?prefix=oa/&format=lines"),
        get("/keys?limit=0"), get("/keys?redirect"), get("/watch?since=x"),
        on("DELETE", "/key/oa/a"), on("DELETE", "/key/oa/b", None, {"If-Match": '"1"'}),
        on("DELETE", "/keys"), on("DELETE", "/keys?prefix=oa/r"),
        on("DELETE", "/keys?all&redirect"),
        on("POST", "/txn", {"then": [{"put": "oa/t", "value": "1"}, {"get": "oa/t"},
                                     {"incr": "oa/t"}, {"get": "oa/none"},
                                     {"delete_prefix": "oa/t"}]}),
        on("POST", "/txn", {"if": [{"key": "oa/x", "exists": True}], "then": []}),
        on("POST", "/txn", {"if": [{"key": "oa/x", "exists": True}], "then": [],
                            "else": [{"delete": "oa/x"}]}),
        on("POST", "/txn", {"then": [{"incr": "oa/b"}, {"put": "oa/b", "value": "x"},
                                     {"incr": "oa/b"}]}),
        on("POST", "/txn", {}), on("POST", "/txn", {"then": [{"get": "a"}] * 513}),
    ]
    lease = "l-" + follower.request("POST", "/lease?ttl=1h").headers["Craftd-Index"]
    keys += [
        on("PUT", "/key/oa/t?ttl=1h", b"1"), on("PUT", f"/key/oa/l?lease={lease}", b"1"),
        on("PUT", "/key/oa/l?lease=l-1", b"1"), on("POST", "/key?lease=l-1", {"oa/l": "1"}),
        on("POST", "/key?ttl=90s", {"oa/p": "1"}), on("PUT", "/key/oa/t?ttl=1ms", b"1"),
        get("/key/oa/t?meta"), get("/key/oa/l?meta"), get("/keys?prefix=oa/"),
        get("/ttl/oa/t"), get("/ttl/oa/l"), get("/ttl/oa/none"), get("/ttl/oa/t?level=x"),
        get("/ttl/oa/t?redirect"),
        on("PUT", "/ttl/oa/t", "30m"), on("POST", "/ttl/oa/t?ttl=2h"),
        on("PUT", "/ttl/oa/t", "x"), on("PUT", "/ttl/oa/none", "30m"),
        on("PUT", "/ttl/oa/t", "30m", {"If-Match": '"1"'}),
        on("PUT", "/ttl/oa/t?redirect", "30m"),
        on("DELETE", "/ttl/oa/t"), on("DELETE", "/ttl/oa/none"), get("/ttl/oa/t"),
        on("POST", "/txn", {"then": [{"put": "oa/t", "value": "1", "ttl": "1h"},
                                     {"put": "oa/u", "value": "1", "lease": lease}]}),
        on("POST", "/txn", {"then": [{"put": "oa/u", "value": "1", "lease": "l-1"}]}),
        on("POST", "/lease?ttl=1h"), on("POST", "/lease"), on("POST", "/lease?ttl=1h&redirect"),
        get("/lease"), get("/lease?limit=1"), get("/lease?after=x"), get("/lease?redirect"),
        get(f"/lease/{lease}"), get("/lease/l-1"), get("/lease/x"),
        on("PUT", f"/lease/{lease}"), on("POST", f"/lease/{lease}"), on("PUT", "/lease/l-1"),
        on("POST", "/lease/l-1"),
        on("DELETE", f"/lease/{lease}"), on("DELETE", f"/lease/{lease}"),
    ]
    probes = [get(path) for path in
              ("/status", "/livez", "/readyz", "/readyz?sync", "/readyz?sync&timeout=x",
               "/healthz", "/health", "/hash", "/hash?index=x", "/hash?index=999999999",
               "/hash?index=0", "/whoami", "/ui", "/metrics", "/nodes", "/nodes/node1",
               "/nodes/nobody", "/leader", "/backup", "/backup?redirect",
               "/backup?level=none", "/backup?level=x", "/export", "/export?after=x",
               "/export?index=1", "/export?redirect", "/api/v1", "/api/v1/",
               SPEC_PATH, "/api/v1/cluster/nodes", "/api/v1/cluster/nodes?status=leader",
               "/api/v1/cluster/nodes?status=x", "/api/v1/cluster/leader")]
    ghost = {"id": "ghost", "addr": "127.0.0.1:1", "voter": False}
    member = {"id": other.name, "addr": other.raft}
    cluster = []
    for root in ("", "/api/v1"):
        v1 = "/api/v1/cluster" if root else ""
        cluster += [
            on("POST", root + "/join", member), on("POST", root + "/join", {"id": "x"}),
            on("POST", root + "/join?redirect", member),
            on("POST", "/join/token"),
            on("POST", v1 + "/leader", {"id": "nobody"}), on("POST", v1 + "/leader", "x"),
            on("POST", v1 + "/leader", {"id": leader.name}, node=leader),
            on("POST", v1 + "/sync"), on("POST", v1 + "/sync?nodes=all"),
            on("POST", v1 + "/sync?nodes=x"),
            on("POST", "/key", {"oa/s": root}), on("POST", v1 + "/sync"),
            on("POST", v1 + "/snapshot"), on("POST", v1 + "/snapshot"),
            on("POST", v1 + "/snapshot?timeout=x"),
        ]
    cluster += [
        on("PUT", "/nodes/node1", {"voter": "x"}), on("PUT", "/nodes/nobody", {"voter": True}),
        on("PUT", f"/nodes/{other.name}", {"voter": True}),
        on("POST", "/join", ghost), on("DELETE", "/nodes/ghost"),
        on("POST", "/join", ghost), on("DELETE", "/remove", {"id": "ghost"}),
        on("DELETE", "/nodes/nobody"), on("DELETE", "/remove", {"id": "nobody"}),
        on("DELETE", "/remove", "x"),
        on("POST", "/restore", b"no backup"), on("POST", "/restore?timeout=x", b"x"),
        on("POST", "/restore?redirect", b"x"),
    ]
    v1 = []
    for root in ("/api/v1/properties", "/api/v1/settings"):
        one = {"key": "oa.p", "value": "1"}
        v1 += [
            on("POST", root, one), on("POST", root, one), on("POST", root, {"key": "x"}),
            on("POST", root, {"key": "x", "value": "x" * ((1 << 20) + 1)}),
            on("POST", root + "?redirect", one),
            get(root), get(root + "?pattern=^oa&limit=1"), get(root + "?pattern=("),
            get(root + "?pattern=^none"), get(root + "?redirect"),
            get(root + "/oa.p"), get(root + "/oa.none"), get(root + "/oa.p?level=x"),
            get(root + "/oa.p?redirect"), on("PUT", root + "/oa.p", {"value": "2"}),
            on("PUT", root + "/oa.p", one), on("PUT", root + "/oa.none", {"value": ""}),
            on("PUT", root + "/oa.p", {"key": "other", "value": ""}),
            on("PUT", root + "/oa.p", {"value": ""}, {"If-Match": '"1"'}),
            on("DELETE", root + "/oa.p", None, {"If-Match": '"1"'}),
            on("DELETE", root + "/oa.p"), on("DELETE", root + "/oa.p"),
            on("DELETE", root + "?pattern=("), on("DELETE", root + "?pattern=^none"),
            on("POST", root, one), on("DELETE", root + "?pattern=^oa.p$"),
        ]
    restore = [on("POST", "/restore", follower.request("GET", "/backup").body)]
    return itertools.chain(keys, probes, cluster, v1, restore)


def test_every_operation_answers_as_documented(three, document):
    asked = {}
    for node, method, path, body, headers in requests(three):
        response = node.request(method, path, body, headers)
        operation = document.check(method, path, response)
        asked.setdefault(operation, set()).add(response.status)
        if method == "GET":
            head = node.request("HEAD", path, body, headers)
            assert (head.status, head.body) == (response.status, b""), path
    with Watch(three[0]) as watch:  # Its answer does not end.
        response = Response(watch.status, watch.headers, b"")
        asked[document.check("GET", "/watch", response)].add(watch.status)
    assert set(document.operations) == set(asked)
    for operation, statuses in asked.items():
        assert (min(statuses) in (200, 201, 204) or
                operation == ("/join/token", "post")), (operation, statuses)
    assert three[0].request("DELETE", "/keys?prefix=oa").status == 200


def test_a_token_for_one_join_as_documented(cluster, document, tmp_path):
    """It is made only where there is --auth."""
    rules = tmp_path / "auth.json"
    rules.write_text('[{"username":"*","perms":["join"]}]')
    os.chmod(rules, 0o600)
    node = cluster.new(args=["--auth", str(rules)]).start()
    wait_for(lambda: node.request("POST", "/join/token").status != 503, 10, "it has started")
    for status in [200] * 15 + [429]:
        response = node.request("POST", "/join/token")
        assert response.status == status
        document.check("POST", "/join/token", response)


def test_a_node_on_its_own_answers_as_documented(cluster, document):
    """No leader: 503 and 504 are in the document, and nobody says done."""
    cluster.start(3)
    node = cluster[0]
    assert node.put("k", "v").status == 200
    for other in cluster.nodes[1:]:
        other.kill()

    def alone():
        return node.request("GET", "/health").status == 503
    wait_for(alone, 15, "no leader")
    body = {"key": "k", "value": "1"}
    for method, path, sent in (
            ("GET", "/key/k", None), ("PUT", "/key/k", b"1"), ("POST", "/key", {"k": "1"}),
            ("DELETE", "/key/k", None), ("GET", "/keys", None),
            ("DELETE", "/keys?all", None), ("POST", "/txn", {"then": [{"delete": "k"}]}),
            ("GET", "/readyz", None), ("GET", "/health", None), ("GET", "/leader", None),
            ("POST", "/leader", None), ("POST", "/sync", None),
            ("DELETE", "/nodes/node1", None), ("PUT", "/nodes/node1", {"voter": False}),
            ("DELETE", "/remove", {"id": "node1"}), ("GET", "/backup", None),
            ("POST", "/join", {"id": "x", "addr": "127.0.0.1:1"}),
            ("GET", "/api/v1/properties", None), ("POST", "/api/v1/properties", body),
            ("DELETE", "/api/v1/properties", None), ("GET", "/api/v1/properties/k", None),
            ("PUT", "/api/v1/properties/k", body), ("DELETE", "/api/v1/properties/k", None),
            ("POST", "/api/v1/cluster/leader", None), ("POST", "/api/v1/cluster/sync", None),
            ("POST", "/api/v1/join", {"id": "x", "addr": "127.0.0.1:1"})):
        response = node.request(
            method, path + ("&" if "?" in path else "?") + "timeout=100ms", sent)
        assert response.status in (503, 504), (method, path, response)
        document.check(method, path, response)
    assert node.get("k", level="none") == "v"


def test_the_reader_of_schemas_finds_violations(document):
    """It would not do to check with something that takes everything."""
    node = {"id": "a", "address": "b", "status": "leader"}
    schema = {"$ref": "#/components/schemas/ClusterNode"}
    assert document.wrong(schema, node) is None
    for bad in (dict(node, status="x"), dict(node, id=1), dict(node, more="x"),
                {"id": "a", "address": "b"}, [node], None, "x"):
        assert document.wrong(schema, bad), bad
    several = {"type": "array", "items": schema}
    assert document.wrong(several, [node, node]) is None
    assert document.wrong(several, [node, dict(node, status="x")])
    assert document.wrong({"type": "integer"}, True)
    assert document.wrong({"$ref": "#/components/schemas/Property"}, {"key": "a"})
