"""The web page in a browser, as an operator uses it: headless Chromium against real
nodes. Every page that a test opens must end without an uncaught exception, a console
error or a violation of its policy."""
import os

import pytest

import browser
from cluster import HOST, ROOT, Cluster, wait_for

pytestmark = pytest.mark.skipif(not browser.CHROMIUM, reason="no chromium")

AXE = os.path.join(os.environ.get("SOURCES", os.path.join(ROOT, "build", "sources")),
                   "axe", "axe.min.js")
WORD = "document.querySelector('#verdict-word').textContent"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def visit(chromium):
    """Opens the page of a node; `broken` says that requests will fail."""
    pages = []

    def open_page(node, path="/ui", broken=False, **looks):
        page = chromium.page(f"http://{HOST}:{node.http_port}{path}", **looks)
        pages.append((page, broken))
        return page
    yield open_page
    for page, broken in pages:
        found = page.problems()
        if broken:  # The browser reports each request that fails.
            found = [one for one in found if "Failed to load resource" not in one]
        assert found == []
        page.close()


def rows(page):
    """The table of members: a dict for each, by column."""
    return page.evaluate("""[...document.querySelectorAll("#members tr")].map(row =>
        Object.fromEntries([...row.children].map(cell =>
            [cell.dataset.label, cell.innerText.trim()])))""")


def member(page, name):
    return next(row for row in rows(page) if row["Name"] == name)


def check_accessibility(page):
    if not os.path.exists(AXE):
        pytest.skip("no axe-core: scripts/axe fetches it")
    with open(AXE, encoding="utf-8") as file:
        page.evaluate(file.read() + ";null")
    found = page.evaluate("""axe.run(document, {resultTypes: ["violations"]}).then(result =>
        result.violations.map(one => [one.id, one.nodes.map(node => node.html)]))""")
    assert found == []


# ---- the cluster ----

def test_the_cluster_at_a_glance(three, visit):
    leader = three.wait_leader()
    page = visit(leader)
    page.wait_for(f"{WORD} === 'Healthy'")
    assert sorted(row["Name"] for row in rows(page)) == ["node0", "node1", "node2"]
    mine = member(page, leader.name)
    assert (mine["Role"], mine["State"], mine["Lag"]) == ("leader", "this node", "0")
    assert mine["Address"] == leader.raft and mine["Version"] and "MiB" in mine["Memory"]
    for node in three.others(leader):
        other = member(page, node.name)
        assert (other["Role"], other["State"]) == ("follower", "connected")
        assert other["Round trip"].endswith("ms")
    term = str(leader.status()["term"])
    facts = page.evaluate("document.querySelector('#facts').innerText")
    assert f"Term\n{term}" in facts.replace("\n\n", "\n")
    assert page.evaluate("document.querySelector('#live').textContent") == "live"
    assert page.evaluate("document.title") == f"{leader.name} \u2013 craftd"


def test_writes_and_commits_are_plotted(three, visit):
    leader = three.wait_leader()
    page = visit(leader)
    page.wait_for(f"{WORD} === 'Healthy'")

    def plotted():
        for number in range(20):
            leader.put(f"plot/{number}", "x")
        return page.evaluate("""[parseFloat($("writes-now").textContent) > 0,
            $("commit-now").textContent.endsWith("ms"),
            $("writes").firstChild.getAttribute("d").includes("L")].every(Boolean)""")
    wait_for(plotted, 20, "both plots have values", pause=0.2)
    assert "now " in page.evaluate("$('writes').getAttribute('aria-label')")


def test_a_node_that_fails_and_a_lost_majority(cluster, visit):
    cluster.start(3)
    leader = cluster.wait_leader()
    first, second = cluster.others(leader)
    page = visit(leader)
    page.wait_for(f"{WORD} === 'Healthy'")
    first.kill()
    page.wait_for(f"{WORD} === 'Degraded'")
    gone = member(page, first.name)
    assert gone["State"].startswith("unreachable")
    words = page.evaluate("$('verdict-text').textContent")
    assert f"{first.name} cannot be reached" in words and "none more may fail" in words
    page.wait_for("$('hint-list').textContent.includes('%s')" % first.name)
    second.kill()
    page.wait_for(f"{WORD} === 'No quorum'")
    words = page.evaluate("$('verdict-text').textContent")
    assert "1 of 3 voters" in words and "Writes are refused" in words
    assert "no leader" in page.evaluate("$('leaders').textContent")
    first.start()
    page.wait_for(f"{WORD} === 'Degraded'")


def test_a_fail_over_seen_from_a_follower(cluster, visit):
    cluster.start(3)
    leader = cluster.wait_leader()
    page = visit(cluster.others(leader)[0])
    page.wait_for(f"{WORD} === 'Healthy'")
    leader.kill()
    page.wait_for(f"{WORD} === 'Degraded'")
    new = cluster.wait_leader()
    page.wait_for("$('leaders').children.length >= 2")
    assert new.name in page.evaluate("$('leaders').firstChild.textContent")
    assert member(page, new.name)["Role"] == "leader"


def test_the_node_of_the_page_stops_and_comes_again(cluster, visit):
    node = cluster.start(1)[0]
    page = visit(node, broken=True)
    page.wait_for(f"{WORD} === 'Healthy'")
    node.kill()
    page.wait_for("$('live').textContent === 'reconnecting'")
    page.wait_for(f"{WORD} === 'No answer'")
    assert page.evaluate("document.title").startswith("No answer")
    node.start().up()
    page.wait_for("$('live').textContent === 'live'")
    page.wait_for(f"{WORD} === 'Healthy'")


@pytest.mark.parametrize("looks", [{}, {"dark": True}, {"width": 360}],
                         ids=["light", "dark", "narrow"])
def test_everybody_can_use_the_view_of_the_cluster(three, visit, looks):
    page = visit(three[1], **looks)
    page.wait_for(f"{WORD} === 'Healthy'")
    check_accessibility(page)
    # It is never wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# ---- strangers ----

def test_a_page_of_another_origin_can_neither_ask_nor_frame_it(three, chromium):
    page = chromium.page(f"http://localhost:{three[0].http_port}/livez")
    target = f"http://{HOST}:{three[0].http_port}"
    for options in ("{}", "{method: 'POST', body: '{\"stranger\":\"was here\"}'}",
                    "{method: 'DELETE', mode: 'no-cors'}"):
        path = "/ui" if options == "{}" else "/key"
        assert page.evaluate(f"""fetch("{target}{path}", {options}).then(
            answer => answer.type, error => "refused")""") == "refused"
    assert three[0].get("stranger") is None
    framed = page.evaluate(f"""new Promise(resolve => {{
        const frame = document.createElement("iframe");
        frame.src = "{target}/ui";
        frame.onload = () => {{
            try {{ resolve(frame.contentDocument ? "seen" : "hidden"); }}
            catch (error) {{ resolve("hidden"); }} }};
        document.body.append(frame); }})""")
    assert framed == "hidden"
    assert any("frame-ancestors" in one or "refused to connect" in one.lower()
               for one in page.problems())
    page.close()


def test_the_policy_stops_what_is_injected(three, chromium):
    """Whatever markup came in would do nothing."""
    page = chromium.page(f"http://{HOST}:{three[0].http_port}/ui")
    page.wait_for(f"{WORD} === 'Healthy'")
    assert page.evaluate("""(() => {
        try { document.body.innerHTML = "<p>"; return "set"; }
        catch (error) { return error.name; } })()""") == "TypeError"
    page.evaluate("""(() => {
        window.refused = [];
        addEventListener("securitypolicyviolation", e => refused.push(e.effectiveDirective));
        const image = new Image(); image.src = "http://127.0.0.1:1/x.png";
        const style = document.createElement("style"); style.textContent = "p { color: red }";
        document.head.append(style, image);
        fetch("http://127.0.0.1:1/").catch(() => {});
    })()""")
    page.wait_for("refused.length >= 3")
    assert {"img-src", "style-src-elem", "connect-src"} <= set(page.evaluate("refused"))
    page.close()
