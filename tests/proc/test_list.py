"""GET /keys: pages of keys in the order of their bytes."""
import concurrent.futures
import contextlib
import http.client
import json
import random
import socket
import time
from urllib.parse import quote, unquote

import pytest

from cluster import HOST, Cluster, cpu_seconds, request_on, wait_for
from load import meanwhile


def listed(node, query="", status=200):
    response = node.request("GET", "/keys" + (f"?{query}" if query else ""))
    assert response.status == status, response
    return response.json()


def keys_of(page):
    return [item.get("key", item.get("prefix")) for item in page["items"]]


def next_of(response):
    """The path in the Link header, or None."""
    link = response.headers["Link"]
    if link is None:
        return None
    assert link.startswith("<") and link.endswith('>; rel="next"'), link
    return link[1:link.index(">")]


def pages(node, query):
    """Follow the links to the end."""
    path = "/keys?" + query
    while path:
        response = node.request("GET", path)
        assert response.status == 200, (path, response)
        yield response
        path = next_of(response)


def all_keys(node, query):
    return [key for page in pages(node, query) for key in keys_of(page.json())]


def in_order(keys):
    return sorted(keys, key=lambda key: key.encode())


def put_all(node, pairs):
    pairs = list(pairs.items())
    for i in range(0, len(pairs), 5000):
        assert node.put_many(dict(pairs[i:i + 5000])).status == 200


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    nodes = Cluster(tmp_path_factory.mktemp("list"))
    try:
        yield nodes.start(1, args=["--max-body", "16M"])[0]
    finally:
        nodes.stop()


# ---- what an item is ----

def test_items_have_key_value_and_both_indexes(three):
    three[0].put("item/a", "1")
    created = three[0].request("GET", "/key/item/a").headers["ETag"]
    three[0].put("item/a", "2")
    changed = three[0].request("GET", "/key/item/a").headers["ETag"]
    for node in three:
        response = node.request("GET", "/keys?prefix=item/")
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Craftd-Level"] == "linearizable"
        page = response.json()
        assert page["items"] == [{
            "key": "item/a", "value": "2", "index": int(changed.strip('"')),
            "create_index": int(created.strip('"'))}]
        assert page["more"] is False and "after" not in page
        assert response.headers["Link"] is None
        assert page["index"] == int(response.headers["Craftd-Index"])


def test_no_match_is_an_empty_page_and_not_an_error(three):
    for query in ("prefix=nobody/", "prefix=item/&after=item0",
                  "after=b&end=a", "prefix=x&end=a", "reverse&after=a&end=b"):
        page = listed(three[1], query)
        assert page["items"] == [] and page["more"] is False, query


def test_head_is_the_head_of_get(one):
    one.put("head/a", "1")
    got = one.request("GET", "/keys?prefix=head/")
    head = one.request("HEAD", "/keys?prefix=head/")
    assert head.status == 200 and head.body == b""
    assert head.headers["Content-Length"] == str(len(got.body))
    assert one.request("POST", "/keys").status == 405
    assert "GET" in one.request("POST", "/keys").headers["Allow"]


def test_keys_alone(one):
    put_all(one, {"alone/a": "1", "alone/b": "2"})
    assert listed(one, "prefix=alone/&keys")["items"] == [
        {"key": "alone/a"}, {"key": "alone/b"}]


@pytest.mark.parametrize("query", [
    "limit=0", "limit=x", "limit=", "format=xml", "prefix=%zz", "after=%0",
    "prefix=" + "k" * 1025, "level=often", "min_index=-1", "freshness=soon",
])
def test_wrong_parameters_are_refused(one, query):
    problem = listed(one, query, 400)
    assert problem["code"] == "bad-param"


# ---- order, bounds, pages ----

def test_every_bound_against_a_sorted_list(one):
    rng = random.Random(11)
    letters = ["a", "b", "/", "\u00fc", "\U0001f600", "~", " ", "+", "%", "\t"]
    pairs = {"m/" + "".join(rng.choices(letters, k=rng.randint(0, 4))): str(i)
             for i in range(300)}
    put_all(one, pairs)
    order = in_order(pairs)
    starts = [key.encode() for key in order]
    for _ in range(150):
        after = rng.choice(starts + [b"", b"a", b"z"])
        end = rng.choice(starts + [b"", b"m/b"])
        prefix = rng.choice([b"m/", b"m/a", b"m/\xc3", b"m/b/"])
        backwards = rng.random() < 0.5
        expected = [k for k in order if k.encode().startswith(prefix)]
        if backwards:
            expected.reverse()
            expected = [k for k in expected
                        if (not after or k.encode() < after)
                        and (not end or k.encode() > end)]
        else:
            expected = [k for k in expected if k.encode() > after
                        and (not end or k.encode() < end)]
        query = (f"prefix={quote(prefix)}&after={quote(after)}"
                 f"&end={quote(end)}" + ("&reverse" if backwards else ""))
        assert keys_of(listed(one, query)) == expected, query
        limit = rng.randint(1, 40)
        assert all_keys(one, f"{query}&limit={limit}") == expected, query
        assert listed(one, query + "&count")["count"] == len(expected), query


def test_pages_follow_each_other_by_link_and_by_after(one):
    pairs = {f"page/{i:03}": str(i) for i in range(25)}
    put_all(one, pairs)
    sizes = [len(p.json()["items"]) for p in pages(one, "prefix=page/&limit=10")]
    assert sizes == [10, 10, 5]
    assert all_keys(one, "prefix=page/&limit=10") == sorted(pairs)
    assert all_keys(one, "limit=7&reverse&prefix=page/") == sorted(pairs)[::-1]
    page = listed(one, "prefix=page/&limit=10")
    assert page["more"] is True and page["after"] == "page/009"
    assert keys_of(listed(one, "prefix=page/&limit=1&after=page/009")) == ["page/010"]
    # A page that is just full knows that nothing is behind it.
    assert listed(one, "prefix=page/&limit=25")["more"] is False


def test_the_link_cannot_be_broken_out_of(one):
    put_all(one, {"out/a": "1", "out/b": "2"})
    response = one.request("GET", '/keys?prefix=out/&limit=1&end=p<">;y')
    assert response.headers["Link"] == (
        '</keys?prefix=out/&limit=1&end=p%3C%22%3E;y&after=out%2Fa>; rel="next"')


def test_a_page_is_cut_at_four_megabytes(one):
    value = "x" * 900_000
    for i in range(10):
        assert one.put(f"big/{i}", value).status == 200
    got = list(pages(one, "prefix=big/"))
    assert [len(p.json()["items"]) for p in got] == [4, 4, 2]
    assert all(len(p.body) < (4 << 20) + 4096 for p in got)
    assert [k for p in got for k in keys_of(p.json())] == [f"big/{i}" for i in range(10)]
    # One item is always taken, however large it becomes.
    assert one.put("bigger/a", "\x01" * 1_000_000).status == 200
    assert one.put("bigger/b", "small").status == 200
    got = list(pages(one, "prefix=bigger/"))
    assert [len(p.json()["items"]) for p in got] == [1, 1]
    assert got[0].json()["items"][0]["value"] == "\x01" * 1_000_000


# ---- common prefixes ----

def rolled_up(keys, prefix, separator):
    seen = []
    for key in keys:
        at = key.find(separator, len(prefix))
        item = key if at < 0 else key[:at + len(separator)]
        if not seen or seen[-1] != item:
            seen.append(item)
    return seen


@pytest.mark.parametrize("separator", ["/", "//", ":", "\u00fc"])
@pytest.mark.parametrize("backwards", [False, True])
def test_separator_against_a_model(one, separator, backwards):
    rng = random.Random(5)
    letters = ["a", "/", ":", "\u00fc", "b"]
    pairs = {"sep/" + "".join(rng.choices(letters, k=rng.randint(1, 6))): "v"
             for _ in range(400)}
    put_all(one, pairs)
    stored = all_keys(one, "prefix=sep/")
    for prefix in ("sep/", "sep/a", "sep", "sep/a/"):
        keys = [key for key in stored if key.startswith(prefix)]
        expected = rolled_up(keys, prefix, separator)
        if backwards:
            expected.reverse()
        query = (f"prefix={quote(prefix)}&separator={quote(separator)}"
                 + ("&reverse" if backwards else ""))
        for limit in (1, 3, 1000):
            assert all_keys(one, f"{query}&limit={limit}") == expected
        assert listed(one, query + "&count")["count"] == len(expected)


def test_separator_says_what_is_a_prefix(one):
    put_all(one, {"dir/a/1": "1", "dir/a/2": "2", "dir/b": "3", "dir/c/": "4"})
    items = listed(one, "prefix=dir/&separator=/&keys")["items"]
    assert items == [{"prefix": "dir/a/"}, {"key": "dir/b"}, {"prefix": "dir/c/"}]
    response = one.request("GET", "/keys?prefix=dir/&separator=/&format=lines")
    assert response.body == b"dir/a/\ndir/b\t3\ndir/c/\n"


# ---- formats ----

def test_ndjson_is_an_object_a_line(one):
    put_all(one, {"nd/a": "x\ny", "nd/b": ""})
    response = one.request("GET", "/keys?prefix=nd/&format=ndjson")
    assert response.headers["Content-Type"] == "application/x-ndjson"
    lines = response.body.decode().splitlines()
    assert [json.loads(line)["value"] for line in lines] == ["x\ny", ""]
    assert one.request("GET", "/keys?prefix=none/&format=ndjson").body == b""


def test_lines_are_for_the_shell(one):
    values = {"ln/a": "plain value", "ln/b": "tab\tline\n100%", "ln/\u00fc": "\u00fc",
              "ln/~\u009b2J": "\x1b[2J"}  # What a terminal would obey.
    put_all(one, values)
    response = one.request("GET", "/keys?prefix=ln/&format=lines")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert response.body.decode() == (
        "ln/a\tplain value\nln/b\ttab%09line%0A100%25\n"
        "ln/~%C2%9B2J\t%1B[2J\nln/\u00fc\t\u00fc\n")
    back = dict(map(unquote, line.split("\t"))
                for line in response.body.decode().splitlines())
    assert back == values
    assert one.request("GET", "/keys?prefix=ln/&format=lines&keys&limit=1").body == b"ln/a\n"
    assert one.request("GET", "/keys?prefix=ln/&format=lines&count").body == b"4\n"


# ---- one state a page, and a loop that goes on ----

@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Half a million keys in one node."""
    nodes = Cluster(tmp_path_factory.mktemp("many"))
    try:
        node = nodes.start(1)[0]
        put_all(node, {f"k/{i % 7}/{i:06}": "v" * (250 if i < 70_000 else 20)
                       for i in range(500_000)})
        yield node
    finally:
        nodes.stop()


def test_counting_many_keys_does_not_hold_the_loop(many):
    assert listed(many, "count")["count"] >= 500_000
    connection = http.client.HTTPConnection(HOST, many.http_port, timeout=15)
    ended = []
    most = 0

    def read(_):
        request_on(connection, "GET", "/key/k/0/000000?level=none")
        ended.append(time.monotonic())
    with meanwhile(read):
        # A count takes some 30 slices. Were it one, a read would end before it
        # and one with it, in every attempt.
        for attempt in range(50):
            start = time.monotonic()
            page = listed(many, "prefix=k/&count")
            stop = time.monotonic()
            most = max(most, sum(start < end < stop for end in ended))
            assert page["count"] == 500_000 and page["exact"] is True
            assert listed(many, "prefix=k/3/&count")["count"] == 71_429
            assert len(listed(many, "prefix=k/&limit=10000")["items"]) == 10_000
            if attempt >= 4 and most > 8:
                break
    connection.close()
    assert most > 8


def test_separator_jumps_over_a_million_and_does_not_walk(many):
    used = cpu_seconds(many.pid)
    for _ in range(5):
        assert listed(many, "prefix=k/&count")["count"] == 500_000
    walked = cpu_seconds(many.pid) - used
    for _ in range(20):
        assert keys_of(listed(many, "prefix=k/&separator=/&keys")) == [
            f"k/{i}/" for i in range(7)]
    jumped = cpu_seconds(many.pid) - used - walked
    assert jumped < walked, (jumped, walked)  # 20 walks: four times that.


def test_a_count_among_writes_says_that_it_is_not_exact(many):
    def inexact():
        page = listed(many, "prefix=k/&count")
        return None if page["exact"] else page
    with meanwhile(lambda i: many.put(f"other/{i}", "x")):
        page = wait_for(inexact, 10, "a count between writes")
    assert page["count"] == 500_000  # None of these came or went.


def test_a_page_shows_one_state_however_long_it_takes(many):
    """Each write sets all of many keys, far apart, to the same value: no page
    may show two of them."""
    keys = [f"k/0/{i:06}" for i in range(0, 70_000, 700)]
    wanted = set(keys)

    def write(i):
        assert many.put_many({key: f"{i:020}" for key in keys}).status == 200
        time.sleep(0.003)

    def read():
        page = listed(many, "prefix=k/0/&limit=10000")
        values = {item["value"] for item in page["items"] if item["key"] in wanted}
        return len(page["items"]), values

    def reads(_):
        return [read() for _ in range(15)]
    write(0)
    with meanwhile(write), concurrent.futures.ThreadPoolExecutor(4) as pool:
        shown = [one for some in pool.map(reads, range(4)) for one in some]
    assert all(len(values) <= 1 for _, values in shown), shown
    sizes = [size for size, _ in shown]
    assert min(sizes) > 0, "no progress"
    assert min(sizes) < 10_000, "no write came between: the test shows nothing"


def test_pages_that_no_client_reads_are_bounded(one):
    """A value of 1 MiB is 6 MiB as JSON, and every page has at least one."""
    assert one.request("PUT", "/key/heavy", b"\x01" * (1 << 20)).status == 201
    answers = []
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(20)
            s.connect((HOST, one.http_port))
            s.sendall(b"GET /keys?prefix=heavy HTTP/1.1\r\nHost: x\r\n\r\n")
            answers.append(s.recv(12))
        assert set(answers) == {b"HTTP/1.1 200", b"HTTP/1.1 429"}
        assert answers.count(b"HTTP/1.1 200") < 30
        # A request that gathers nothing continues.
        assert listed(one, "count&prefix=heavy")["count"] == 1
    wait_for(lambda: one.request("GET", "/keys?prefix=heavy").status == 200)
    assert one.request("DELETE", "/key/heavy").status == 200
