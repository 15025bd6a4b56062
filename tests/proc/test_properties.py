"""/api/v1: what brokerd's document has, over the same keys and values."""
import base64
import concurrent.futures
import re
import time
from urllib.parse import quote

import pytest

from cluster import Cluster, Stopwatch, wait_for
from load import meanwhile

V1 = "/api/v1"
BOTH = (V1 + "/properties", V1 + "/settings")


def create(node, key, value, root=BOTH[0], headers=None):
    return node.request("POST", root, {"key": key, "value": value}, headers)


def put_all(node, pairs):
    assert node.put_many(pairs).status == 200


def code(response):
    """Errors there have brokerd's content type, code and message."""
    problem = response.json()
    assert response.headers["Content-Type"] == "application/json"
    assert problem["message"]
    return response.status, problem["code"]


def listed(node, query=""):
    response = node.request("GET", f"{V1}/properties?{query}")
    assert response.status == 200, response
    assert response.headers["Content-Type"] == "application/json"
    return response.json()


def keys(node, query=""):
    return [item["key"] for item in listed(node, query)]


@pytest.fixture
def one(cluster):
    return cluster.start(1)[0]


# ---- one property ----

def test_the_life_of_a_property_through_every_node(three):
    for i, root in enumerate(BOTH):
        for node in three:
            other = three[(i + 1) % 3]
            key = f"life.{i}.{node.name}/ä b"
            path = f"{root}/{quote(key, safe='/')}"
            assert code(node.request("GET", path)) == (404, "not-found")
            change = {"key": key, "value": "0"}
            assert code(node.request("PUT", path, change)) == (404, "not-found")
            made = create(node, key, "1", root)
            assert (made.status, made.json()) == (200, {"key": key, "value": "1"})
            assert code(create(other, key, "2", root)) == (409, "exists")
            got = other.request("GET", path)
            assert (got.status, got.json()) == (200, {"key": key, "value": "1"})
            assert got.headers["Content-Type"] == "application/json"
            assert got.headers["ETag"] == f'"{made.headers["Craftd-Index"]}"'
            changed = other.request("PUT", path, {"key": key, "value": "2"})
            assert (changed.status, changed.json()) == (200, {"key": key, "value": "2"})
            # The same store: hraftd's path shows it.
            assert node.request("GET", "/key/" + quote(key)).json() == {key: "2"}
            gone = node.request("DELETE", path)
            assert (gone.status, gone.json()["deleted"]) == (200, 1)
            assert code(other.request("DELETE", path)) == (404, "not-found")
            assert code(other.request("GET", path)) == (404, "not-found")


def test_only_one_of_many_creates(three):
    def attempt(i):
        return create(three[i % 3], "race", str(i)).status
    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        statuses = list(pool.map(attempt, range(18)))
    assert sorted(statuses) == [200] + [409] * 17
    winner = str(statuses.index(200))
    for node in three:
        assert node.get("race") == winner


def test_requirements_for_bodies(one):
    path = V1 + "/properties"
    for body, why in (
            ("", "bad-json"), ("[]", "bad-json"), ("{", "bad-json"),
            ('{"key":"a","value":"1"}x', "bad-json"),
            ('{"key":"a","value":1}', "bad-json"),
            ('{"key":"a","value":"1","ttl":"1s"}', "bad-json"),
            ('{"key":"a","key":"b","value":"1"}', "bad-json"),
            ('{"key":"a"}', "bad-request"),
            ('{"value":"1"}', "bad-key"), ('{"key":"","value":"1"}', "bad-key"),
            ('{"key":"a\\u0000","value":"1"}', "bad-key"),
            ('{"key":"%s","value":"1"}' % ("k" * 1025), "bad-key")):
        assert code(one.request("POST", path, body)) == (400, why), body
    assert one.status()["keys"] == 0
    assert create(one, "k" * 1024, "").status == 200
    assert code(create(one, "large", "x" * ((1 << 20) + 1))) == (413, "too-large")
    assert create(one, "large", "x" * (1 << 20)).json()["value"] == "x" * (1 << 20)
    # The key of the body may be left out, and may not be another.
    assert one.request("PUT", path + "/large", {"value": "small"}).json() == {
        "key": "large", "value": "small"}
    other = {"key": "other", "value": "1"}
    assert code(one.request("PUT", path + "/large", other)) == (400, "bad-key")
    assert one.get("large") == "small"
    assert code(one.request("GET", path + "/")) == (400, "bad-key")
    assert code(one.request("GET", path + "/%zz")) == (400, "bad-key")


def test_values_that_are_no_text(one):
    raw = bytes(range(256))
    assert one.request("PUT", "/key/raw", raw).status == 201
    item = {"key": "raw", "value_base64": base64.b64encode(raw).decode()}
    assert one.request("GET", V1 + "/properties/raw").json() == item
    assert listed(one) == [item]


def test_conditions_and_repeats(three):
    made = create(three[0], "cond", "1", headers={"Idempotency-Key": "cond-1"})
    assert made.status == 200
    again = create(three[1], "cond", "1", headers={"Idempotency-Key": "cond-1"})
    assert (again.status, again.json()) == (200, made.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Craftd-Index"] == made.headers["Craftd-Index"]
    path = V1 + "/properties/cond"
    etag = f'"{made.headers["Craftd-Index"]}"'
    new = {"value": "2"}
    ok = three[2].request("PUT", path, new, {"If-Match": etag})
    assert ok.status == 200
    stale = three[0].request("PUT", path, new, {"If-Match": etag})
    assert code(stale) == (412, "precondition-failed")
    assert code(three[0].request("DELETE", path, headers={"If-Match": etag})) == (
        412, "precondition-failed")
    assert three[0].request("DELETE", path).status == 200


# ---- lists ----

def test_patterns_against_a_model(three):
    stored = [f"pat.{a}.{b}" for a in ("svc", "vm", "port") for b in range(12)]
    put_all(three[0], {key: key.upper() for key in stored})
    put_all(three[0], {"pat.ä": "1"})
    for pattern in (r"^pat\.svc\.", r"pat.*1$", r"^pat\.(vm|port)\.[0-9]{2}$",
                    r"^pat\.[^sv]", r"^pat\.(svc)?.?[[:alpha:]]+\.1*$", "^pat.ä$"):
        python = pattern.replace("[[:alpha:]]", "[a-z]")
        expected = sorted(k for k in stored + ["pat.ä"] if re.search(python, k))
        assert expected, pattern
        for node in three:
            items = listed(node, "pattern=" + quote(pattern))
            assert [item["key"] for item in items] == expected, pattern
            assert all(item["value"] in (item["key"].upper(), "1") for item in items)
    assert listed(three[0], "pattern=" + quote("^nobody$")) == []


def test_pages_by_offset(three):
    put_all(three[0], {f"off/{i:03}": str(i) for i in range(25)})
    # Keys that do not match are not counted, before and between.
    put_all(three[0], {"0": "x"} | {f"off/{i:03}x": "x" for i in range(25)})
    pattern = "pattern=" + quote("^off/[0-9]+$")
    everything = keys(three[1], pattern)
    assert everything == [f"off/{i:03}" for i in range(25)]
    assert keys(three[1], pattern + "&limit=10") == everything[:10]
    assert keys(three[1], pattern + "&limit=10&offset=20") == everything[20:]
    assert keys(three[1], pattern + "&offset=25") == []
    path, got = f"{V1}/properties?{pattern}&limit=10", []
    while path:
        response = three[2].request("GET", path)
        got += [item["key"] for item in response.json()]
        link = response.headers["Link"]
        path = link and f"{V1}/properties" + link[1:link.index(">")]
    assert got == everything
    for bad in ("limit=0", "limit=x", "offset=-1", "offset=x", "pattern=%zz",
                "pattern=(", "pattern=(a)%5C1", "pattern=" + "a" * 257,
                "pattern=((a%7B255%7D)%7B255%7D)"):
        assert code(three[0].request("GET", f"{V1}/properties?{bad}")) == (
            400, "bad-param"), bad


def test_a_page_is_cut_and_says_so(one):
    for i in range(6):
        assert one.put(f"big/{i}", "x" * 1_000_000).status == 200
    response = one.request("GET", V1 + "/properties")
    assert len(response.json()) == 4
    assert response.headers["Link"] == '<?offset=4>; rel="next"'
    assert keys(one, "offset=4") == ["big/4", "big/5"]


def test_levels_as_elsewhere(three):
    put_all(three[0], {"lvl": "1"})
    follower = three.others(three.wait_leader())[0]
    wait_for(lambda: follower.get("lvl", level="none") == "1")
    got = follower.request("GET", V1 + "/properties/lvl?level=none")
    assert got.headers["Craftd-Level"] == "none"
    got = follower.request("GET", V1 + "/properties?level=none&pattern=lvl")
    assert got.headers["Craftd-Level"] == "none"
    assert code(follower.request("GET", V1 + "/properties/lvl?level=x")) == (
        400, "bad-param")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    nodes = Cluster(tmp_path_factory.mktemp("many"))
    try:
        node = nodes.start(1)[0]
        for i in range(0, 200_000, 5000):
            put_all(node, {"a" * 60 + f"{j:06}": "v" for j in range(i, i + 5000)})
        yield node
    finally:
        nodes.stop()


def test_no_pattern_holds_the_loop(many):
    """Costly expressions over many keys, while reads of others go on."""
    slow = "pattern=" + quote("(a?){100}a{100}b") + "&timeout=3s"
    waits = []

    def read(_):
        watch = Stopwatch(many)
        assert many.request("GET", "/key/none?level=none").status == 404
        waits.append(watch.seconds())
    with meanwhile(read), concurrent.futures.ThreadPoolExecutor(3) as pool:
        path = f"{V1}/properties?{slow}"
        got = list(pool.map(lambda _: many.request("GET", path), range(3)))
    for response in got:
        if response.status == 200:
            assert response.json() == []
        else:
            assert code(response) == (504, "timeout")
    waits.sort()
    assert len(waits) > 50
    assert waits[len(waits) // 2] < 0.1, waits[-5:]
    assert many.status()["storage"]["turn_ms_max"] < 1000


def test_a_list_is_whole_among_writes(many):
    """It takes many slices, and something is written between them, where the walk has
    been already: every write up to the index that the list states is in it."""
    last = ["a" * 60 + f"{i:06}" for i in range(196_000, 200_000)]
    written = []  # Index of each write.
    lists = []    # Keys and index of each list during which something was written.

    def write(i):
        written.append(int(many.put(f"A/{i:04}", "x").headers["Craftd-Index"]))

    def write_among_it():
        before = len(written)
        response = many.request(
            "GET", V1 + "/properties?limit=5000&pattern=" + quote("^A/|^a{60}19[6-9]"))
        keys = [item["key"] for item in response.json()]
        first = [key for key in keys if key.startswith("A/")]
        assert keys[len(first):] == last[:5000 - len(first)]
        covers = int(response.headers["Craftd-Index"])
        if len(written) > before and written[-1] > covers:
            lists.append((first, covers))
        return len(lists) >= 10
    with meanwhile(write):
        wait_for(write_among_it, 60, "something is written during ten lists")
    for first, covers in lists:
        want = [f"A/{i:04}" for i, index in enumerate(written) if index <= covers]
        assert first[:len(want)] == want[:5000]


# ---- deleting many ----

def test_delete_by_pattern_through_every_node(three):
    for node in three:
        put_all(three[0], {f"del/{i}/{i % 3}": "v" for i in range(3000)})
        put_all(three[0], {"undel/1": "v"})
        path = f"{V1}/properties?pattern=" + quote("^del/.*/[01]$")
        gone = node.request("DELETE", path)
        assert (gone.status, gone.json()["deleted"]) == (200, 2000)
        for other in three:
            assert len(keys(other, "pattern=" + quote("^del/"))) == 1000
            assert other.get("undel/1") == "v"
        assert code(node.request("DELETE", path)) == (404, "not-found")
        rest = node.request("DELETE", f"{V1}/settings?pattern=del/")
        assert rest.json()["deleted"] == 1001


def test_delete_everything(one):
    path = V1 + "/properties"
    assert code(one.request("DELETE", path)) == (404, "not-found")
    put_all(one, {str(i): "v" for i in range(10)})
    assert code(one.request("DELETE", path + "?patern=1")) == (400, "bad-param")
    assert code(one.request("DELETE", path + "?pattern=(")) == (400, "bad-param")
    assert code(one.request("DELETE", path, headers={"If-Match": "*"})) == (
        400, "bad-request")
    assert one.status()["keys"] == 10
    assert one.request("DELETE", path + "?timeout=5s").json()["deleted"] == 10


def test_a_pattern_that_was_refused_is_forgotten(one):
    """On one connection: the pattern of an earlier request narrows no other."""
    import http.client
    from cluster import HOST, request_on
    put_all(one, {str(i): "v" for i in range(10)})
    connection = http.client.HTTPConnection(HOST, one.http_port, timeout=15)
    path = V1 + "/properties?pattern=1&level=nonsense"
    assert request_on(connection, "GET", path).status == 400
    response = request_on(connection, "DELETE", "/keys?all")
    assert response.json()["deleted"] == 10
    connection.close()


# ---- the cluster ----

def test_nodes_by_status(three):
    leader = three.wait_leader()
    everyone = {(n.name, n.raft) for n in three}
    for node in three:
        nodes = node.request("GET", V1 + "/cluster/nodes").json()
        assert {(n["id"], n["address"]) for n in nodes} == everyone
        assert all(set(n) == {"id", "address", "status"} for n in nodes)

        def with_status(status):
            path = f"{V1}/cluster/nodes?status={status}"
            return {n["id"] for n in node.request("GET", path).json()}
        assert with_status("leader") == {leader.name}
        assert with_status("follower") == {n.name for n in three.others(leader)}
        assert with_status("candidate") == set()
        assert code(node.request("GET", V1 + "/cluster/nodes?status=x")) == (
            400, "bad-param")


def test_a_node_that_hears_nobody_is_a_candidate(cluster):
    cluster.start(3)
    for node in cluster.nodes[1:]:
        node.kill()

    def campaigns():
        got = cluster[0].request("GET", V1 + "/cluster/nodes?status=candidate")
        return [n["id"] for n in got.json()] == ["node0"]
    wait_for(campaigns, 15, "a candidate")


def test_leader_sync_and_snapshot(three):
    for node in three:
        target = three.others(three.wait_leader())[0]
        moved = node.request("POST", V1 + "/cluster/leader", {"id": target.name})
        assert (moved.status, moved.json()["id"]) == (200, target.name)
        assert three.wait_leader() is target
        got = node.request("GET", V1 + "/cluster/leader")
        assert got.json()["address"] == target.raft
        synced = node.request("POST", V1 + "/cluster/sync?nodes=all").json()
        assert set(synced["nodes"]) == {n.name for n in three}
        put_all(node, {"snap": node.name})
        assert node.request("POST", V1 + "/cluster/snapshot").json()["index"] > 0
    nobody = three[0].request("POST", V1 + "/cluster/leader", {"id": "nobody"})
    assert code(nobody) == (404, "not-found")
    assert code(three[0].request("GET", V1 + "/cluster/sync")) == (
        405, "method-not-allowed")


def test_join_by_that_path(cluster):
    a = cluster.start(1)[0]
    b = cluster.new(args=["--join", f"127.0.0.1:{a.http_port}"])
    body = {"addr": b.raft, "id": b.name}
    assert a.request("POST", V1 + "/join", body).status == 200
    assert code(a.request("POST", V1 + "/join", {"id": "x"})) == (400, "bad-json")
    wait_for(lambda: len(a.request("GET", V1 + "/cluster/nodes").json()) == 2)


def test_names_and_missing_properties(three):
    for path in (V1, V1 + "/"):
        response = three[0].request("GET", path)
        assert response.json() == {"name": "craftd", "api": "v1"}
    for path in ("/nothing", "/propertiesx", "/cluster", "/cluster/nodes/x"):
        assert code(three[0].request("GET", V1 + path)) == (404, "not-found")
    assert three[0].request("GET", "/api/v2").headers["Content-Type"] == (
        "application/problem+json")
    for path, allow in ((V1 + "/properties", "GET, HEAD, POST, DELETE, OPTIONS"),
                        (V1 + "/properties/x", "GET, HEAD, PUT, DELETE, OPTIONS")):
        method = "PUT" if path.endswith("properties") else "POST"
        refused = three[0].request(method, path, {})
        assert code(refused) == (405, "method-not-allowed")
        assert refused.headers["Allow"] == allow
    # The type of errors is that of the path, also on a connection kept open.
    assert three[0].request("GET", "/nodes/x").headers["Content-Type"] == (
        "application/problem+json")


def test_a_refusal_that_is_repeated_says_so(cluster):
    cluster.start(1)
    node = cluster[0]
    assert node.put("there", "1").status == 200
    cases = [("POST", V1 + "/properties", {"key": "there", "value": "2"}, 409),
             ("PUT", V1 + "/properties/gone", {"value": "2"}, 404),
             ("DELETE", V1 + "/properties/gone", None, 404)]
    for number, (verb, path, body, status) in enumerate(cases):
        headers = {"Idempotency-Key": f"refused-{number}"}
        first = node.request(verb, path, body, headers)
        again = node.request(verb, path, body, headers)
        assert first.status == again.status == status
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.headers["Craftd-Index"] == first.headers["Craftd-Index"]


def test_options_lists_the_allowed_methods(cluster):
    cluster.start(1)
    for path, allow in ((V1 + "/properties", "GET, HEAD, POST, DELETE, OPTIONS"),
                        (V1 + "/properties/k", "GET, HEAD, PUT, DELETE, OPTIONS"),
                        (V1 + "/settings/k", "GET, HEAD, PUT, DELETE, OPTIONS"),
                        ("/nodes", "GET, HEAD, OPTIONS"),
                        ("/nodes/node0", "GET, HEAD, PUT, DELETE, OPTIONS")):
        answer = cluster[0].request("OPTIONS", path)
        assert answer.status == 204 and answer.headers["Allow"] == allow, path
    for path in (V1 + "/restore", V1 + "/backup", V1 + "/cluster"):
        for verb in ("OPTIONS", "GET", "POST"):
            assert cluster[0].request(verb, path).status == 404, (verb, path)
