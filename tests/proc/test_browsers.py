"""A web page of another site can do nothing through its reader's browser.

Browsers say that a page asks, with Origin, Sec-Fetch-Site, Referer, or a
User-Agent; whoever sends none of these sees no difference."""
import os
import socket
import subprocess

import pytest
import yaml

from cluster import BINARY, HOST, ROOT
from test_http import connect, read_until_closed

EVIL = "http://evil.example"
CHANGES = [
    ("POST", "/key", '{"page":"was here"}'),
    ("PUT", "/key/page", "was here"),
    ("DELETE", "/key/kept", None),
    ("DELETE", "/keys?all", None),
    ("POST", "/txn", '{"then":[{"delete_prefix":"k"}]}'),
    ("POST", "/ttl/kept", "1s"),
    ("PUT", "/ttl/kept", "1s"),
    ("DELETE", "/ttl/kept", None),
    ("POST", "/lease?ttl=1h", None),
    ("PUT", "/lease/l-1", None),
    ("DELETE", "/lease/l-1", None),
    ("POST", "/restore", "x"),
    ("POST", "/join", '{"id":"spy","addr":"127.0.0.1:9"}'),
    ("POST", "/api/v1/join", '{"id":"spy","addr":"127.0.0.1:9"}'),
    ("DELETE", "/remove", '{"id":"node0"}'),
    ("DELETE", "/nodes/node0", None),
    ("PUT", "/nodes/node0", '{"voter":false}'),
    ("POST", "/snapshot", None),
    ("POST", "/sync", None),
    ("POST", "/leader", None),
    ("POST", "/api/v1/properties", '{"key":"page","value":"was here"}'),
    ("PUT", "/api/v1/properties/kept", '{"value":"was here"}'),
    ("DELETE", "/api/v1/settings", None),
    ("POST", "/api/v1/cluster/leader", None),
]


def forbidden(response, said=""):
    body = response.json()
    assert (response.status, body["code"], body["outcome"]) == (
        403, "forbidden", "not-applied"), response
    assert said in body["message"], body
    assert response.headers["Access-Control-Allow-Origin"] is None
    return body["message"]


def state(node):
    got = node.status()
    return {name: got[name] for name in ("hash", "keys", "last_log", "term", "leader",
                                         "followers", "peers")}


@pytest.fixture
def node(cluster):
    one = cluster.start(1)[0]
    assert one.put("kept", "safe").status == 200
    return one


def marks_of_strangers(node):
    ours = f"{HOST}:{node.http_port}"
    yield {"Origin": EVIL, "Host": ours}
    yield {"Origin": f"{EVIL}:{node.http_port}", "Host": ours}
    yield {"Origin": f"http://{HOST}:1", "Host": ours}           # Another port,
    yield {"Origin": f"http://localhost:{node.http_port}", "Host": ours}  # or host.
    yield {"Origin": f"https://{HOST}", "Host": ours}
    yield {"Origin": "null", "Host": ours}
    yield {"Origin": "", "Host": ours}
    yield {"Origin": f"http://{ours}/", "Host": ours}            # No origin at all.
    yield {"Origin": f"ftp://{ours}", "Host": ours}
    yield {"Sec-Fetch-Site": "cross-site", "Host": ours}
    yield {"Sec-Fetch-Site": "same-site", "Host": ours}
    yield {"Sec-Fetch-Site": "anything", "Host": ours}
    yield {"Sec-Fetch-Site": "same-origin", "Origin": EVIL, "Host": ours}
    yield {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{ours}", "Host": ours}
    # A name that leads here, of an origin of its own.
    yield {"Origin": EVIL, "Host": "evil.example"}
    yield {"Sec-Fetch-Site": "same-origin", "Host": "evil.example:11000"}


@pytest.mark.parametrize("method,path,body", CHANGES)
def test_a_page_of_another_site_changes_nothing(node, method, path, body):
    before = state(node)
    for marks in marks_of_strangers(node):
        got = node.request(method, path, body, {"Content-Type": "text/plain", **marks})
        forbidden(got)
    assert state(node) == before
    assert node.get("kept") == "safe"


def test_everything_that_changes_something_is_in_the_list_above():
    with open(f"{ROOT}/src/api/openapi.yaml", encoding="utf-8") as file:
        paths = yaml.safe_load(file)["paths"]
    told = {(method, path.split("?")[0].split("{")[0].rstrip("/"))
            for method, path, _ in CHANGES}
    told |= {(method, path.replace("/settings", "/properties")) for method, path in told}
    for path, item in paths.items():
        root = path.split("{")[0].rstrip("/").replace("/settings", "/properties")
        for method in ("post", "put", "delete"):
            if method in item:
                near = {m for m, p in told if root.startswith(p) or p.startswith(root)}
                assert method.upper() in near or "/cluster/" in path, (method, path)


def test_our_own_pages_may(node):
    port = node.http_port
    for origin, host in ((f"http://{HOST}:{port}", f"{HOST}:{port}"),
                         (f"http://localhost:{port}", f"LOCALHOST:{port}"),
                         (f"http://[::1]:{port}", f"[::1]:{port}"),
                         ("http://10.1.2.3", "10.1.2.3"),
                         ("http://10.1.2.3", "10.1.2.3:80"),
                         ("https://localhost", "localhost"),      # TLS in front.
                         ("https://localhost:443", "localhost"),
                         ("http://kv.localhost:80", "kv.localhost")):
        for site in ({}, {"Sec-Fetch-Site": "same-origin"}):
            got = node.request("PUT", "/key/own", origin,
                               {"Origin": origin, "Host": host, **site})
            assert got.status in (201, 204), (origin, host, got)
            assert got.headers["Access-Control-Allow-Origin"] is None
    # Somebody has typed it in.
    got = node.request("POST", "/key", '{"own":"typed"}', {"Sec-Fetch-Site": "none"})
    assert got.status == 200


def test_clients_that_are_no_browsers_see_no_difference(node):
    for headers in ({"Host": "evil.example"}, {"Host": "kv.example.com:80"}, {"Host": ""},
                    {"Host": "kv", "User-Agent": "curl/8.5.0", "Accept": "*/*"},
                    {"Host": "kv", "User-Agent": "Go-http-client/1.1"},
                    {"Host": "kv", "Sec-Fetch-Mode": "cors", "User-Agent": "node",
                     "Accept-Language": "*"}):
        assert node.request("POST", "/key", '{"k":"v"}', headers).status == 200, headers
        assert node.request("GET", "/key/k", headers=headers).status == 200, headers


BROWSERS = [{"Origin": EVIL}, {"Sec-Fetch-Site": "same-origin"}, {"Referer": EVIL + "/x"},
            {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101"}]


@pytest.mark.parametrize("marks", BROWSERS, ids=lambda marks: next(iter(marks)))
def test_a_name_that_is_not_ours_shows_a_page_nothing(node, marks):
    for path in ("/key/kept", "/keys", "/status", "/backup", "/export", "/metrics", "/nodes",
                 "/api/v1/properties", "/nowhere"):
        for host in ("evil.example", f"evil.example:{node.http_port}",
                     "localhost.evil.example", "127.0.0.1.evil.example", "xlocalhost", ""):
            for method in ("GET", "HEAD", "OPTIONS"):
                got = node.request(method, path, headers={**marks, "Host": host})
                assert got.status == 403, (method, path, host, got)
        for host in (node.http, "localhost", "localhost.", f"localhost:{node.http_port}",
                     "[::1]", "192.168.1.7:11000", socket.gethostname()):
            got = node.request("GET", path, headers={**marks, "Host": host})
            if "Origin" in marks:  # A page of another site, under our name.
                forbidden(got, "may not read anything here: see --allow-origin")
            else:
                assert got.status in (200, 404), (path, host, got)
    got = node.request("GET", "/key/kept", headers={**marks, "Host": "evil.example"})
    assert "evil.example" in forbidden(got, "--allow-host")


def test_a_health_checker_that_calls_itself_a_browser(node):
    """They ask by a name of their own; what a probe answers is no secret."""
    for agent in ("Mozilla/5.0+(compatible; UptimeRobot/2.0)",
                  "Mozilla/5.0 (compatible; Pingdom.com_bot_version_1.4)"):
        words = {"User-Agent": agent, "Host": "kv.example.com"}
        for path in ("/livez", "/readyz", "/readyz?noleader&cachebuster=1"):
            for method in ("GET", "HEAD"):
                got = node.request(method, path, headers=words)
                assert got.status == 200, (method, path, got)
        for path in ("/livez/", "/metrics", "/status", "/key/livez"):
            forbidden(node.request("GET", path, headers=words), "--allow-host")


def test_a_page_of_another_site_reads_nothing(node):
    """It would not see the answer, but the node would have made it: a backup, a
    list of everything."""
    for marks in marks_of_strangers(node):
        for path in ("/key/kept", "/keys", "/backup", "/export", "/metrics", "/status", "/api/v1",
                     "/nowhere"):
            for method in ("GET", "HEAD"):
                got = node.request(method, path, headers=marks)
                assert got.status == 403, (marks, path, got)
        assert node.request("GET", "/livez", headers=marks).status == 200


def test_a_link_to_here_may_be_followed(node):
    for site in ("cross-site", "same-site", "none"):
        marks = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        assert node.request("GET", "/status", headers=marks).status == 200
        if site != "none":  # A form may be sent, too.
            forbidden(node.request("POST", "/key", '{"page":"was here"}', marks))
            forbidden(node.request("DELETE", "/key/kept", None, marks))
    for mode in ("no-cors", "cors", "same-origin", "navigate2", ""):
        forbidden(node.request("GET", "/keys", headers={
            "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}))
    assert node.get("kept") == "safe"


PAGE = "<html><script>alert(1)</script>"
KINDS = {"application/json", "application/problem+json", "application/octet-stream",
         "application/x-ndjson", "application/yaml", "application/vnd.sqlite3", "text/plain",
         "text/event-stream"}


def test_nothing_is_served_as_a_page(node):
    """Whoever may write must not run a script in the browser of who reads."""
    key = PAGE.replace("/", "%2F").replace("<", "%3C").replace(">", "%3E")
    assert node.request("PUT", f"/key/{key}", PAGE).status == 201
    with open(f"{ROOT}/src/api/openapi.yaml", encoding="utf-8") as file:
        paths = [path.replace("{key}", key).replace("{id}", key)
                 for path, item in yaml.safe_load(file)["paths"].items() if "get" in item]
    paths += [f"/key/{key}?raw", f"/key/{key}?meta", "/keys?format=lines", "/keys?format=ndjson",
              "/keys?separator=s", f"/{key}", f"/keys?{key}", "/keys?level=" + key,
              "/api/v1/properties?pattern=(" + key]
    for path in paths:
        for accept in ("*/*", "text/html,application/xhtml+xml", "application/octet-stream"):
            method = "HEAD" if path == "/watch" else "GET"  # Its stream does not end.
            got = node.request(method, path, headers={"Accept": accept})
            kind = got.headers["Content-Type"].split(";")[0]
            assert kind in (KINDS if path != "/ui" else {"text/html"}), (path, got)
            assert got.headers["X-Content-Type-Options"] == "nosniff", (path, got)
            if got.headers["Content-Type"] == "application/octet-stream":
                assert got.headers["Content-Security-Policy"] == "sandbox", (path, got)


def test_it_is_refused_before_the_body_is_sent(node):
    with connect(node) as s:
        s.sendall(b"PUT /key/early HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil\r\n"
                  b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        answer = read_until_closed(s)
    assert answer.startswith(b"HTTP/1.1 403 ") and b"100 Continue" not in answer
    assert node.get("early") is None


def test_text_of_an_origin_is_shown_as_it_may_be(node):
    for origin in (b'http://a"b\\c', b"http://\xff\xfe", b"x" * 7000):
        with connect(node) as s:
            s.sendall(b"PUT /key/early HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: " + origin +
                      b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            answer = read_until_closed(s)
        assert answer.startswith(b"HTTP/1.1 403 "), answer
        assert b"\xff" not in answer and len(answer) < 1500


def test_nothing_is_changed_by_a_get(node):
    """A link or an image of a page may ask for it, and carries no Origin."""
    with open(f"{ROOT}/src/api/openapi.yaml", encoding="utf-8") as file:
        paths = yaml.safe_load(file)["paths"]
    before = state(node)
    for path in paths:
        target = path.replace("{key}", "kept").replace("{id}", "node0")
        for method in ("GET", "HEAD", "OPTIONS"):
            # The stream of a good one would not end.
            watch = path == "/watch" and method == "GET"
            node.request(method, target + "?since=none" if watch else target)
    assert state(node) == before


# ---- what an operator may allow ----

def test_an_origin_that_is_allowed(cluster):
    node = cluster.start(1, args=["--allow-origin",
                                  "https://ui.example.com,http://other:3000"])[0]
    ui = {"Origin": "https://ui.example.com", "Sec-Fetch-Site": "cross-site"}
    got = node.request("POST", "/key", '{"k":"v"}', ui)
    assert got.status == 200
    assert got.headers["Access-Control-Allow-Origin"] == "https://ui.example.com"
    assert "Origin" in got.headers["Vary"]
    got = node.request("GET", "/key/k", headers={"Origin": "http://other:3000"})
    assert got.headers["Access-Control-Allow-Origin"] == "http://other:3000"
    assert got.headers["Access-Control-Expose-Headers"] == "*"
    # Errors may be read, too; and the browser asks before it sends a PUT.
    assert node.request("PUT", "/key/k?caz=1", "v", ui).headers[
        "Access-Control-Allow-Origin"] == "https://ui.example.com"
    got = node.request("OPTIONS", "/key/k", headers={
        **ui, "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "if-match"})
    assert got.status == 204
    assert got.headers["Access-Control-Allow-Origin"] == "https://ui.example.com"
    assert got.headers["Access-Control-Allow-Methods"] == "*"
    assert "*" in got.headers["Access-Control-Allow-Headers"]
    # On the same connection, the next request has nothing of it.
    for origin in ("http://ui.example.com", "https://ui.example.com:8443",
                   "https://ui.example.com.evil", "http://other", "null", EVIL):
        forbidden(node.request("POST", "/key", '{"k":"w"}', {"Origin": origin}))
        got = node.request("OPTIONS", "/key/k", headers={"Origin": origin})
        assert got.headers["Access-Control-Allow-Methods"] is None
    # The same under a name that is not ours.
    forbidden(node.request("GET", "/key/k", headers={**ui, "Host": "kv.example.com"}))
    assert node.get("k") == "v"
    assert node.request("GET", "/key/k").headers["Access-Control-Allow-Origin"] is None


def test_a_host_that_is_allowed(cluster):
    node = cluster.start(1, args=["--allow-host=kv.example.com,kv2",
                                  "--http-adv", "named.example.com:80"])[0]
    for host in ("kv.example.com", "KV.example.com:8443", "kv2:1", "named.example.com",
                 "named.example.com:11000"):
        got = node.request("PUT", "/key/k", "v", {"Origin": f"http://{host}", "Host": host})
        assert got.status in (201, 204), (host, got)
    for host in ("kv.example.org", "a.kv.example.com", "kv3"):
        forbidden(node.request("GET", "/key/k", headers={"Origin": f"http://{host}",
                                                         "Host": host}), "--allow-host")


def test_a_star_allows_all(cluster):
    node = cluster.start(1, args=["--allow-host=*", "--allow-origin=*"])[0]
    got = node.request("PUT", "/key/k", "v", {"Origin": EVIL, "Host": "any.example"})
    assert got.status == 201
    assert got.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("flag,value", [
    ("--allow-origin", "ui.example.com"), ("--allow-origin", "https://ui/"),
    ("--allow-origin", ","), ("--allow-origin", "ftp://ui"), ("--allow-origin", "https://a b"),
    ("--allow-host", "http://kv"), ("--allow-host", "kv:80"), ("--allow-host", "a/b"),
    ("--allow-host", ","), ("--allow-host", "kv,b c")])
def test_a_list_that_is_none_is_refused_at_the_start(tmp_path, flag, value):
    done = subprocess.run([BINARY, flag, value, os.path.join(tmp_path, "d")],
                          capture_output=True, text=True, timeout=10)
    assert done.returncode == 2
    assert f'{flag}: "{value}" is not a list of' in done.stderr
