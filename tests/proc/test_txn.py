"""Raw values, conditions, transactions, and repeats, as curl would ask."""
import base64
import http.client
import json
import threading
import time

import pytest

from cluster import TROUBLE, wait_for

MIB = 1 << 20
RAW = {"Accept": "application/octet-stream"}


def raw_put(node, key, body, headers=None, query=""):
    return node.request("PUT", f"/key/{key}{query}", body, headers)


def txn(node, then, when=None, otherwise=None, headers=None):
    body = {"then": then}
    if when is not None:
        body["if"] = when
    if otherwise is not None:
        body["else"] = otherwise
    return node.request("POST", "/txn", body, headers)


def code(response):
    problem = response.json()
    assert problem["status"] == response.status
    assert response.headers["Content-Type"] == "application/problem+json"
    return response.status, problem["code"]


# ---- values as they are ----

def test_put_and_get_any_bytes_through_every_node(three):
    body = bytes(range(256))
    for node in three:
        key = f"raw/{node.name}/%C3%A4%20b"
        created = raw_put(node, key, body)
        assert (created.status, created.body) == (201, b"")
        assert created.headers["Location"] == f"/key/{key}"
        etag = created.headers["ETag"]
        again = raw_put(node, key, body + b"2")
        assert (again.status, again.body) == (204, b"")
        assert int(again.headers["ETag"].strip('"')) > int(etag.strip('"'))
        for reader in three:
            for path, headers in ((f"/key/{key}?raw", {}), (f"/key/{key}", RAW)):
                got = reader.request("GET", path, headers=headers)
                assert (got.status, got.body) == (200, body + b"2")
                assert got.headers["Content-Type"] == "application/octet-stream"
                assert got.headers["X-Content-Type-Options"] == "nosniff"
                assert got.headers["Content-Security-Policy"] == "sandbox"
                assert got.headers["ETag"] == again.headers["ETag"]
                assert f'"{got.headers["Craftd-Create-Index"]}"' == etag
        assert code(node.request("GET", f"/key/{key}")) == (406, "not-text")
        meta = node.request("GET", f"/key/{key}?meta").json()
        assert base64.b64decode(meta.pop("value_base64")) == body + b"2"
        assert meta == {"key": f"raw/{node.name}/ä b", "version": 2,
                        "index": int(again.headers["ETag"].strip('"')),
                        "create_index": int(etag.strip('"'))}


def test_meta_of_text_and_of_nothing(three):
    assert raw_put(three[0], "text", b"v\n").status == 201
    meta = three[1].request("GET", "/key/text?meta")
    assert meta.body.endswith(b"}\n") and meta.json()["value"] == "v\n"
    assert meta.json()["version"] == 1
    assert three[0].put("text", "2").status == 200  # Counted as well.
    assert three[0].request("GET", "/key/text?meta").json()["version"] == 2
    for query in ("?meta", "?raw"):
        missing = three[2].request("GET", "/key/no-such" + query)
        assert code(missing) == (404, "not-found")


def test_head_has_what_get_has(three):
    assert raw_put(three[0], "headed", b"four").status == 201
    get = three[1].request("GET", "/key/headed?raw")
    head = three[1].request("HEAD", "/key/headed?raw")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "ETag", "Craftd-Create-Index", "Content-Type"):
        assert head.headers[name] == get.headers[name]


def test_empty_and_largest_values(three):
    assert raw_put(three[0], "empty-raw", b"").status == 201
    assert three[1].request("GET", "/key/empty-raw?raw").body == b""
    assert raw_put(three[1], "large", b"\xff" * MIB).status == 201
    assert three[2].request("GET", "/key/large?raw").body == b"\xff" * MIB
    assert code(raw_put(three[1], "large", b"x" * (MIB + 1))) == (413, "too-large")
    assert three[2].request("GET", "/key/large?raw").body == b"\xff" * MIB


# ---- conditions ----

def test_conditional_requests(three):
    leader, follower = three[0], three[1]
    for number, node in enumerate((leader, follower, three[2])):
        key = f"cond{number}"
        created = raw_put(node, key, b"1", {"If-None-Match": "*"})
        assert created.status == 201
        etag = created.headers["ETag"]
        refused = raw_put(node, key, b"2", {"If-None-Match": "*"})
        assert code(refused) == (412, "precondition-failed")
        assert refused.json()["outcome"] == "not-applied"
        assert refused.headers["ETag"] == etag
        changed = raw_put(node, key, b"2", {"If-Match": etag})
        assert changed.status == 204
        for header in ({"If-Match": etag}, {"If-Match": "W/" + changed.headers["ETag"]},
                       {"If-Match": '"foreign"'},
                       {"If-None-Match": '"1", ' + changed.headers["ETag"]}):
            refused = raw_put(node, key, b"3", header)
            assert refused.status == 412, header
            assert refused.headers["ETag"] == changed.headers["ETag"]
        assert node.get(key) == "2"
        assert raw_put(node, key, b"4", {"If-None-Match": etag}).status == 204
        assert raw_put(node, key, b"5", {"If-Match": "*"}).status == 204
        index = raw_put(node, key, b"6").headers["ETag"].strip('"')
        assert raw_put(node, key, b"7", query="?cas=1").status == 412
        assert raw_put(node, key, b"7", query="?cas=0").status == 412
        assert raw_put(node, key, b"7", query=f"?cas={index}").status == 204
        wrong = node.request("DELETE", f"/key/{key}", headers={"If-Match": etag})
        assert wrong.status == 412
        current = {"If-Match": wrong.headers["ETag"]}
        gone = node.request("DELETE", f"/key/{key}", headers=current)
        assert (gone.status, gone.headers["Craftd-Deleted"]) == (200, "1")
        missing = raw_put(node, key, b"8", {"If-Match": etag})
        assert missing.status == 412 and "ETag" not in missing.headers


def test_conditions_on_post(three):
    node = three[1]
    only = {"If-None-Match": "*"}
    assert node.request("POST", "/key", {"post-if": "1"}, only).status == 200
    assert node.request("POST", "/key", {"post-if": "2"}, only).status == 412
    assert node.request("POST", "/key?cas=0", {"post-if": "2"}).status == 412
    assert node.get("post-if") == "1"
    two = node.request("POST", "/key", {"post-a": "1", "post-b": "2"}, only)
    assert code(two) == (400, "bad-request")
    assert node.get("post-a") is None


def test_wrong_conditions_are_400(three):
    for header in ({"If-Match": "44"}, {"If-Match": '"44'}, {"If-Match": ""},
                   {"If-Match": '"1", "2"'}, {"If-None-Match": "x"}):
        assert code(raw_put(three[0], "w", b"1", header)) == (400, "bad-request")
    for query in ("?cas=", "?cas=x", "?cas=-1"):
        assert code(raw_put(three[0], "w", b"1", query=query)) == (400, "bad-param")
    assert three[0].get("w") is None


def test_duplicate_parameters_are_400(three):
    """One of two headers would be ignored."""
    etag = raw_put(three[0], "twice", b"1").headers["ETag"]
    for node in three:
        for name, values in (("If-None-Match", ('"1"', etag)),
                             ("If-Match", (etag, '"1"')),
                             ("Idempotency-Key", ("a", "b"))):
            connection = http.client.HTTPConnection(node.host, node.http_port)
            connection.putrequest("PUT", "/key/twice")
            for value in values:
                connection.putheader(name, value)
            connection.putheader("Content-Length", "1")
            connection.endheaders(b"2")
            response = connection.getresponse()
            assert response.status == 400, name
            assert json.loads(response.read())["code"] == "bad-request"
            connection.close()
    assert three[0].get("twice") == "1"


def test_tags_are_text(three):
    etag = raw_put(three[0], "text", b"1").headers["ETag"]
    almost = '"0' + etag[1:]
    assert raw_put(three[0], "text", b"2", {"If-Match": almost}).status == 412
    got = three[0].request("GET", "/key/text", headers={"If-None-Match": almost})
    assert (got.status, got.body) == (200, b'{"text":"1"}')


def test_not_modified(three):
    etag = raw_put(three[0], "cached", b"1").headers["ETag"]
    for tags in (etag, "W/" + etag, f'"1", {etag}', "*"):
        for query in ("", "?raw", "?level=none"):
            three.wait_same()
            got = three[1].request("GET", "/key/cached" + query,
                                   headers={"If-None-Match": tags})
            assert (got.status, got.body) == (304, b""), tags
            assert got.headers["ETag"] == etag
            assert "Content-Length" not in got.headers
    got = three[1].request("GET", "/key/cached", headers={"If-None-Match": '"1"'})
    assert (got.status, got.body) == (200, b'{"cached":"1"}')
    # The connection is not out of step after an answer without a body.
    connection = http.client.HTTPConnection(three[1].host, three[1].http_port)
    for _ in range(3):
        connection.request("GET", "/key/cached", headers={"If-None-Match": etag})
        response = connection.getresponse()
        assert (response.status, response.read()) == (304, b"")
    connection.close()


# ---- transactions ----

def test_the_transaction_of_the_contract(three):
    for number, node in enumerate(three):
        a, b, c, n = (f"t{number}/{x}" for x in "abcn")
        index = int(raw_put(node, a, b"0").headers["ETag"].strip('"'))
        assert node.put(c, "x").status == 200
        assert node.put(f"tmp{number}/1", "x").status == 200
        assert node.put(f"tmp{number}/2", "x").status == 200
        when = [{"key": a, "index": index}, {"exists": False, "key": b},
                {"key": c, "value": "x"}, {"key": a, "create_index": index},
                {"key": c, "value_base64": "eA=="}]
        then = [{"put": a, "value": "1"}, {"delete": b},
                {"delete_prefix": f"tmp{number}/"}, {"get": c}, {"get": "none"},
                {"incr": n, "by": 8}, {"incr": n}, {"by": -10, "incr": n},
                {"value_base64": "/w==", "put": c}, {"get": c}]
        done = txn(node, then, when, [{"get": a}])
        assert done.status == 200
        assert done.body.endswith(b"}\n")
        answer = done.json()
        at = answer["index"]
        results = answer["results"]
        assert answer["ok"] is True
        assert results[:3] == [{"index": at}, {"deleted": 0}, {"deleted": 2}]
        assert (results[3]["key"], results[3]["value"]) == (c, "x")
        assert results[4] == {"key": "none", "value": None, "index": 0}
        assert results[5:8] == [{"value": "8"}, {"value": "9"}, {"value": "-1"}]
        assert results[9]["value_base64"] == "/w=="
        assert results[9]["index"] == at
        assert node.get(a) == "1" and node.get(n) == "-1"
        # Once more, and the conditions do not hold any more.
        other = txn(node, then, when, [{"get": a}]).json()
        assert other["ok"] is False and other["results"][0]["value"] == "1"
        refused = txn(node, then, [{"key": b, "exists": False}] + when)
        assert code(refused) == (412, "precondition-failed")
        assert refused.json()["clause"] == 1
        assert refused.headers["ETag"] == f'"{at}"'
        assert node.get(n) == "-1"


def test_a_transaction_that_fails_changes_nothing(three):
    node = three[2]
    assert node.put("word", "x").status == 200
    failed = txn(node, [{"put": "half", "value": "1"}, {"incr": "word"}])
    assert code(failed) == (409, "not-a-number")
    assert failed.json()["operation"] == 1
    assert node.put("most", str(2**63 - 1)).status == 200
    assert code(txn(node, [{"put": "half", "value": "1"}, {"incr": "most"}])) == \
        (409, "overflow")
    assert node.get("half") is None


def test_limits_of_a_transaction(three):
    assert three[1].status()["limits"]["txn_ops"] == 512
    node = three[1]
    most = [{"put": f"m{i}", "value": "v"} for i in range(512)]
    assert len(txn(node, most).json()["results"]) == 512
    assert code(txn(node, most + most[:1])) == (413, "too-large")
    assert code(txn(node, most, None, most[:1])) == (413, "too-large")
    assert code(txn(node, [], [{"key": "a", "index": 0}] * 513)) == (413, "too-large")
    big = [{"put": "big", "value": "x" * (MIB + 1)}]
    assert code(txn(node, big)) == (413, "too-large")
    # Results of up to 4 MiB come back over the peer link, no more.
    assert raw_put(node, "mib", b"x" * (MIB - 100)).status == 201
    for reader in three:
        rows = txn(reader, [{"get": "mib"}] * 4).json()["results"]
        assert [len(row["value"]) for row in rows] == [MIB - 100] * 4
        assert code(txn(reader, [{"get": "mib"}] * 5)) == (413, "too-large")
    for i in range(2):
        pairs = {f"many/{i}/{k}": "v" for k in range(501)}
        assert node.request("POST", "/key", pairs).status == 200
    assert code(txn(node, [{"delete_prefix": "many/"}])) == (413, "too-large")
    assert txn(node, [{"delete_prefix": "many/1"}]).json()["results"] == \
        [{"deleted": 501}]


@pytest.mark.parametrize("body", [
    "", "[]", "{}", "1", '{"then":[]}x', '{"then":{}}', '{"then":[1]}',
    '{"if":[]}', '{"then":[],"then":[]}', '{"then":[],"and":[]}',
    '{"then":[{}]}', '{"then":[{"put":"a"}]}', '{"then":[{"value":"a"}]}',
    '{"then":[{"put":"a","value":1}]}', '{"then":[{"put":"","value":"1"}]}',
    '{"then":[{"put":"a","value":"1","ttl":"x"}]}',
    '{"then":[{"put":"a","value":"1","value_base64":"MQ=="}]}',
    '{"then":[{"put":"a","value_base64":"MQ"}]}',
    '{"then":[{"put":"a","get":"a","value":"1"}]}',
    '{"then":[{"get":"a","value":"1"}]}', '{"then":[{"get":"a","by":1}]}',
    '{"then":[{"incr":"a","by":1.5}]}', '{"then":[{"incr":"a","by":1e3}]}',
    '{"then":[{"incr":"a","by":9223372036854775808}]}',
    '{"then":[{"delete_prefix":""}]}', '{"then":[{"get":"a\\u0000"}]}',
    '{"if":[{"key":"a"}],"then":[]}', '{"if":[{"index":1}],"then":[]}',
    '{"if":[{"key":"a","index":1,"exists":true}],"then":[]}',
    '{"if":[{"key":"a","key":"b","index":1}],"then":[]}',
    '{"if":[{"key":"a","index":-1}],"then":[]}',
    '{"if":[{"key":"a","index":"1"}],"then":[]}',
    '{"if":[{"key":"a","exists":1}],"then":[]}',
    '{"if":[{"key":"a","version":1}],"then":[]}',
])
def test_wrong_transactions_are_400(three, body):
    response = three[0].request("POST", "/txn", body)
    assert response.status == 400, response
    assert response.json()["outcome"] == "not-applied"


def test_txn_is_for_post(three):
    got = three[0].request("GET", "/txn")
    assert got.status == 405 and got.headers["Allow"] == "POST, OPTIONS"


def test_compare_and_set_loses_no_update(three):
    """Eight clients add, through all nodes, by reading and writing if nothing
    came between; others by incr."""
    assert raw_put(three[0], "sum", b"0").status == 201
    added = []

    def add(node):
        done = 0
        while done < 15:
            got = node.request("GET", "/key/sum?raw")
            value = str(int(got.body) + 1).encode()
            answer = raw_put(node, "sum", value, {"If-Match": got.headers["ETag"]})
            assert answer.status in (204, 412)
            done += answer.status == 204
            assert txn(node, [{"incr": "other"}]).status == 200
            added.append(1)
    threads = [threading.Thread(target=add, args=(three[i % 3],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert three[0].get("sum") == str(8 * 15)
    assert three[1].get("other") == str(len(added))


# ---- repeats ----

def test_a_repeat_through_another_node_gets_the_first_answer(three):
    def twice(name, method, path, body):
        header = {"Idempotency-Key": name}
        first = three[1].request(method, path, body, header)
        index = first.headers["Craftd-Index"]
        assert "Idempotency-Replayed" not in first.headers
        for node in three:
            again = node.request(method, path, body, header)
            assert again.status == first.status
            if first.status < 400:  # A problem names the node that tells it.
                assert again.body == first.body
            assert again.headers["Idempotency-Replayed"] == "true"
            assert again.headers["Craftd-Index"] == index
            for header_name in ("ETag", "Location", "Craftd-Deleted"):
                assert again.headers[header_name] == first.headers[header_name]
        return first

    assert twice("r1", "PUT", "/key/once", b"1").status == 201
    assert twice("r2", "PUT", "/key/once", b"2").status == 204
    assert twice("r3", "POST", "/key", '{"once":"3"}').status == 200
    assert twice("r4", "DELETE", "/key/once", None).headers["Craftd-Deleted"] == "1"
    assert twice("r5", "POST", "/txn",
                 '{"then":[{"incr":"count"}]}').json()["results"] == [{"value": "1"}]
    assert three[0].get("count") == "1"
    refused = '{"if":[{"key":"later","exists":true}],"then":[]}'
    assert twice("r6", "POST", "/txn", refused).status == 412
    # Another request under a name that is taken.
    for method, path, body in (("PUT", "/key/once", b"x"), ("PUT", "/key/two", b"1"),
                               ("POST", "/key", '{"once":"1"}'),
                               ("DELETE", "/key/once", None)):
        other = three[2].request(method, path, body, {"Idempotency-Key": "r1"})
        assert code(other) == (422, "idempotency-mismatch")
    assert three[0].get("two") is None


def test_names_of_requests(three):
    for name in ("", "x" * 65):
        response = raw_put(three[0], "named", b"1", {"Idempotency-Key": name})
        assert code(response) == (400, "bad-request")
    assert raw_put(three[0], "named", b"1",
                   {"Idempotency-Key": "x" * 64}).status == 201


def test_retries_across_leader_kills_count_once(cluster):
    """C04: clients retry requests without an answer at other nodes until they get
    one. Every request counts once, though leaders are killed meanwhile."""
    cluster.start(3)
    stop = threading.Event()
    done = [0] * 4
    replays = []

    def client(number):
        while not stop.is_set():
            name = f"c{number}-{done[number]}"
            body = json.dumps({"then": [{"incr": "total"}, {"incr": f"c{number}"}]})
            for attempt in range(1000):
                node = cluster[(number + attempt) % 3]
                try:
                    answer = node.request("POST", "/txn?timeout=500ms", body,
                                          {"Idempotency-Key": name}, timeout=2)
                except TROUBLE:
                    time.sleep(0.02)
                    continue
                if answer.status == 200:
                    mine = answer.json()["results"][1]["value"]
                    assert int(mine) == done[number] + 1, (name, answer)
                    if "Idempotency-Replayed" in answer.headers:
                        replays.append(name)
                    break
                assert answer.status in (429, 503, 504), answer
            done[number] += 1

    failures = []

    def guarded(number):
        try:
            client(number)
        except AssertionError as error:
            failures.append(error)
    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for kill in range(1, 5):
        wait_for(lambda n=kill: failures or sum(done) > 13 * n, 30, "requests")
        leader = cluster.leader()
        if leader:
            leader.kill()
            time.sleep(0.3)
            leader.start()
        wait_for(cluster.leader, 15, "a leader")
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    cluster.wait_members(3).wait_same()
    print("requests", sum(done), "replays", len(replays))
    for node in cluster:
        assert node.get("total") == str(sum(done))
        for number in range(4):
            assert node.get(f"c{number}") == str(done[number])
    assert sum(done) > 50
    assert len({node.status()["hash"] for node in cluster}) == 1


def test_answers_survive_a_restart_and_reach_a_newcomer(cluster):
    cluster.start(2)
    header = {"Idempotency-Key": "kept"}
    body = '{"then":[{"incr":"n"}]}'
    first = cluster[0].request("POST", "/txn", body, header)
    assert first.status == 200
    for node in cluster:
        node.terminate()
    cluster.start_all()
    cluster.wait_members(2)
    newcomer = cluster.new()
    newcomer.join = cluster[0].http
    newcomer.start()
    cluster.wait_members(3)
    again = newcomer.request("POST", "/txn", body, header)
    assert again.body == first.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert newcomer.get("n") == "1"


def test_parameters_that_would_be_ignored_are_refused(cluster):
    """A condition or a time to live that nothing comes of."""
    node = cluster.new().start().up()
    cluster.wait_leader()
    body = '{"then":[{"put":"a","value":"1"}]}'
    for headers in ({"If-Match": '"1"'}, {"If-None-Match": "*"}):
        answer = node.request("POST", "/txn", body, headers)
        assert answer.status == 400, answer.body
        assert answer.json()["code"] == "bad-request"
    for method, path in (("POST", "/txn?cas=1"),
                         ("POST", "/txn?ttl=30s"), ("POST", "/txn?lease=l-1"),
                         ("DELETE", "/key/a?ttl=30s")):
        answer = node.request(method, path, body)
        assert answer.status == 400, answer.body
        assert answer.json()["code"] == "bad-param"
    assert node.request("GET", "/keys?count").json()["count"] == 0
