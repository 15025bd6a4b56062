"""The web page as a document: who gets it, how it is sent, and what it may do. What it
shows in a browser is in test_ui_page.py."""
import base64
import gzip
import hashlib
import http.client
import re

import pytest

from cluster import HOST, ROOT, request_on
from test_auth import check_401, bearer, start, token, user, basic  # noqa: F401

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
GZIP = {"Accept-Encoding": "gzip, deflate, br"}
COMPRESSED_MAX = 24 << 10


@pytest.fixture(scope="module")
def page(three_nodes):
    got = three_nodes[0].request("GET", "/ui", headers=GZIP)
    assert got.status == 200
    return got


def test_the_root_is_the_page_for_a_browser_alone(three, page):
    for accept in (BROWSER, "text/html", "TEXT/HTML;level=1", "a/b, text/html;q=0.1"):
        got = three[1].request("GET", "/", headers={"Accept": accept, **GZIP})
        assert (got.status, got.body) == (200, page.body), accept
        assert "Accept" in got.headers.get_all("Vary")
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json, text/plain"},
                    {"Accept": "text/*"}):
        got = three[1].request("GET", "/", headers=headers)
        assert (got.status, got.json()["code"]) == (404, "not-found"), headers
    for method in ("POST", "PUT", "DELETE"):
        got = three[1].request(method, "/", headers={"Accept": BROWSER})
        assert got.status == 404, method
    got = three[1].request("POST", "/ui", "x")
    assert (got.status, got.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


def test_it_is_one_compressed_document(page):
    assert page.headers["Content-Encoding"] == "gzip"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert len(page.body) <= COMPRESSED_MAX
    text = gzip.decompress(page.body).decode()
    for name in ("style", "script"):
        source = {"style": "page.css", "script": "page.js"}[name]
        with open(f"{ROOT}/src/ui/{source}", encoding="utf-8") as file:
            last = file.read().strip().splitlines()[-1].strip()
        assert f"{last}\n</{name}>" in text
    # Nothing is loaded from elsewhere, and no attribute is a script.
    assert not re.search(r"<(?:link|script|img|iframe)[^>]*(?:src|href)=\"(?!data:)", text)
    assert not re.search(r"<[a-z][^>]*\s(?:on[a-z]+|style)=", text)


def test_a_cache_asks_and_gets_304(three, page):
    tag = page.headers["ETag"]
    assert page.headers["Cache-Control"] == "no-cache"
    for path in ("/ui", "/"):
        headers = {"If-None-Match": tag, "Accept": BROWSER, **GZIP}
        got = three[2].request("GET", path, headers=headers)
        assert (got.status, got.body, got.headers["ETag"]) == (304, b"", tag)
    plain = three[0].request("GET", "/ui", headers={"If-None-Match": tag})
    assert (plain.status, plain.body) == (200, gzip.decompress(page.body))
    assert plain.headers["Content-Encoding"] is None and plain.headers["ETag"] != tag
    assert "Accept-Encoding" in page.headers.get_all("Vary")
    head = three[0].request("HEAD", "/ui", headers=GZIP)
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "ETag", "Content-Encoding", "Content-Security-Policy"):
        assert head.headers[name] == page.headers[name]
    # The answer behind it on the same connection is not for caches.
    connection = http.client.HTTPConnection(HOST, three[0].http_port, timeout=15)
    kept = [request_on(connection, "GET", path).headers["Cache-Control"]
            for path in ("/ui", "/status", "/ui", "/key/none")]
    connection.close()
    assert kept == ["no-cache", "no-store", "no-cache", "no-store"]


def test_its_policy_allows_its_own_script_and_style_alone(page):
    policy = dict(part.strip().split(" ", 1)
                  for part in page.headers["Content-Security-Policy"].split(";"))
    text = gzip.decompress(page.body).decode()
    for name in ("style", "script"):
        parts = re.findall(rf"<{name}>(.*?)</{name}>", text, re.S)
        assert len(parts) == 1
        digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
        assert policy[f"{name}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in str(policy)
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_node_without_it(cluster):
    node = cluster.start(1, args=["--no-ui"])[0]
    for path in ("/ui", "/"):
        got = node.request("GET", path, headers={"Accept": BROWSER})
        assert (got.status, got.json()["code"]) == (404, "not-found")
    assert node.request("POST", "/ui").status == 404
    assert node.request("GET", "/whoami").status == 200


def test_a_page_of_another_site_may_link_to_it_and_not_read_it(three):
    strange = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Accept": BROWSER}
    assert three[0].request("GET", "/", headers=strange).status == 200
    for path in ("/ui", "/whoami"):
        for marks in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"},
                      {"Host": "evil.example", "Referer": "http://evil.example/"}):
            assert three[0].request("GET", path, headers=marks).status == 403, (path, marks)


# ---- with --auth ----

def test_the_page_is_for_everybody_and_names_no_node(start):  # noqa: F811
    node = start(token("probe", "ready"))
    for path in ("/ui", "/"):
        got = node.plain("GET", path, headers={"Accept": BROWSER})
        assert got.status == 200
        assert not [name for name in got.headers if name.startswith("Craftd-")]
    check_401(node.plain("GET", "/"))
    check_401(node.plain("GET", "/ui", headers=bearer("wrong")))


def test_whoami_tells_what_the_sender_may_do(start):  # noqa: F811
    def whoami(headers=None):
        got = node.plain("GET", "/whoami", headers=headers)
        assert got.status == 200
        return got.json()
    node = start(user("bob", "secret", "read:svc/", 'write:"q"', "status"),
                 token("all", "all"), user("*", None, "ready", "read:public/"))
    everybody = ["ready", "read:public/"]
    assert whoami() == {"auth": True, "perms": everybody}
    bob = whoami(basic("bob", "secret"))
    assert (bob["user"], bob["perms"]) == ("bob", [
        "status", "ready", "read:svc/", 'write:"q"', "read:public/"])
    owner = whoami(bearer("all"))
    assert "user" not in owner and "leader-ops" in owner["perms"]
    check_401(node.plain("GET", "/whoami", headers=basic("bob", "wrong")))


def test_whoami_without_rules(three):
    got = three[0].request("GET", "/whoami").json()
    assert got["auth"] is False and "user" not in got
    assert {"read", "write", "remove", "backup", "leader-ops"} <= set(got["perms"])
