"""GET /watch in a browser: its EventSource comes again by itself, with the id of the
last event, and its page misses nothing and sees nothing twice."""
import shutil

import pytest

import browser
from cluster import HOST, wait_for
from nginx import nginx_before

pytestmark = pytest.mark.skipif(not browser.CHROMIUM, reason="no chromium")

# A page that keeps what it received, and how often its connection was opened.
FOLLOW = """
window.seen = [];
window.opened = window.failed = 0;
window.source = new EventSource(%r);
source.onopen = () => opened++;
source.onerror = () => failed += source.readyState === EventSource.CLOSED;
for (const type of ["put", "delete", "sync", "reset", "lost"]) {
    source.addEventListener(type, e => seen.push(
        [type, JSON.parse(e.data).key ?? null, JSON.parse(e.data).index, e.lastEventId]));
}
null"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


def follow(chromium, port, path):
    page = chromium.page(f"http://{HOST}:{port}/livez")
    page.evaluate(FOLLOW % path)
    page.wait_for("opened === 1")
    return page


def put(node, key):
    response = node.request("PUT", "/key/" + key, "x")
    assert response.status in (201, 204), response
    return int(response.headers["ETag"].strip('"'))


def put_anywhere(nodes, key):
    """By its name it is written once, however often it is sent."""
    def write():
        for node in nodes:
            if node.alive():
                answer = node.request("PUT", "/key/" + key, "x",
                                      {"Idempotency-Key": key}, timeout=5)
                if answer.status in (201, 204):
                    return int(answer.headers["ETag"].strip('"'))
        return None
    return wait_for(write, 30, "a write")


def test_the_page_sees_the_set_and_then_each_change(three, chromium):
    first = put(three[0], "es/a")
    page = follow(chromium, three[1].http_port, "/watch?prefix=es/&initial")
    page.wait_for("seen.length === 2")
    second = put(three[2], "es/b")
    third = int(three[0].request("DELETE", "/key/es/a").headers["Craftd-Index"])
    page.wait_for("seen.length === 4")
    seen = page.evaluate("seen")
    assert seen[0][:3] == ["put", "es/a", first]
    assert seen[1][0] == "sync" and seen[1][3] == str(seen[1][2])
    assert seen[2:] == [["put", "es/b", second, str(second)],
                        ["delete", "es/a", third, str(third)]]
    assert page.problems() == []
    page.close()
    wait_for(lambda: three[1].status()["watch"]["watchers"] == 0,
             what="a page that is closed watches no more")


def test_it_comes_again_when_its_node_was_killed(cluster, chromium):
    """What was written meanwhile is in the ring of the node, from its log."""
    nodes = cluster.start(3)
    page = follow(chromium, nodes[0].http_port, "/watch?prefix=kill/")
    want = [put_anywhere(nodes, f"kill/{i}") for i in range(5)]
    page.wait_for("seen.length === 5")
    nodes[0].kill()
    want += [put_anywhere(nodes, f"kill/{i}") for i in range(5, 10)]
    nodes[0].start()
    want += [put_anywhere(nodes, f"kill/{i}") for i in range(10, 15)]
    page.wait_for("seen.length >= 15", 30)
    want.append(put_anywhere(nodes, "kill/last"))
    page.wait_for(f"seen.at(-1)[2] === {want[-1]}")
    seen = page.evaluate("seen")
    assert [event[2] for event in seen] == want
    assert page.evaluate("[opened, failed]") == [2, 0]


@pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx")
@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_behind_nginx_it_goes_on_at_another_node(cluster, chromium, tmp_path, end):
    nodes = cluster.start(3)
    with nginx_before(nodes, tmp_path) as port:
        page = follow(chromium, port, "/watch?prefix=proxy/")
        want = [put_anywhere(nodes, f"proxy/{i}") for i in range(5)]
        page.wait_for("seen.length === 5")
        serving = next(node for node in nodes
                       if node.status()["watch"]["watchers"] == 1)
        getattr(serving, end)()
        want += [put_anywhere(nodes, f"proxy/{i}") for i in range(5, 10)]
        page.wait_for("seen.length >= 10", 30)
        want.append(put_anywhere(nodes, "proxy/last"))
        page.wait_for(f"seen.at(-1)[2] === {want[-1]}")
        seen = page.evaluate("seen")
        assert [event[2] for event in seen] == want
        assert page.evaluate("[opened, failed]") == [2, 0]


def test_a_page_of_another_site_may_not_watch(three, chromium):
    """Another port is another origin: here the page of one node asks another."""
    page = chromium.page(f"http://{HOST}:{three[0].http_port}/livez")
    page.evaluate(FOLLOW % f"http://{HOST}:{three[1].http_port}/watch?initial")
    page.wait_for("failed === 1")
    assert page.evaluate("[opened, seen]") == [0, []]
