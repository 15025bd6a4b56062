"""The web page in a browser, as an operator uses it: headless Chromium against real
nodes. Every page that a test opens must end without an uncaught exception, a console
error or a violation of its policy."""
import json
import os
import re
import sqlite3

import pytest

import browser
from cluster import HOST, ROOT, Stopwatch, wait_for
from test_auth import ROOT_TOKEN, authorized, change_rules, token, user, write_rules

pytestmark = pytest.mark.skipif(not browser.CHROMIUM, reason="no chromium")

AXE = os.path.join(os.environ.get("SOURCES", os.path.join(ROOT, "build", "sources")),
                   "axe", "axe.min.js")
WORD = "document.querySelector('#verdict-word').textContent"
# A disk that is slow for a moment is a hint, and with one it is Working.
WELL = f"['Healthy', 'Working'].includes({WORD})"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture
def visit(chromium):
    """Opens the page of a node; `broken`: requests of it will fail, by 412 or since the
    node is down."""
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
    page.wait_for(WELL)
    page.wait_for("nodes.every(node => node.version)")
    assert sorted(row["Name"] for row in rows(page)) == ["node0", "node1", "node2"]
    mine = member(page, leader.name)
    assert (mine["Role"], mine["State"], mine["Lag"]) == ("leader", "this node", "0")
    assert mine["Address"] == leader.raft and mine["Version"] and "MiB" in mine["Memory"]
    for node in three.others(leader):
        # What it reports of itself comes with its next answer to the leader.
        wait_for(lambda node=node: member(page, node.name)["Version"] == mine["Version"],
                 20, f"{node.name} has reported")
        other = member(page, node.name)
        assert (other["Role"], other["State"]) == ("follower", "connected")
        assert "MiB" in other["Disk"] and "MiB" in other["Memory"]
        assert other["Round trip"].endswith("ms")
        assert re.fullmatch(r"[\d.]+\s.iB\n+[\d.]+\s.iB free", other["Disk"])
    # A follower shows the same of all of them, as they report it.
    other = three.others(leader)[0]
    page = visit(other)
    page.wait_for("nodes.length === 3 && nodes.every(node => node.leader || node.lag === 0)")
    for row in rows(page):
        assert row["Lag"] == "0" and "free" in row["Disk"], row
        assert row["Round trip"].endswith("ms") or row["Name"] == leader.name, row
    page = visit(leader)
    page.wait_for(WELL)
    term = str(leader.status()["term"])
    facts = page.evaluate("document.querySelector('#facts').innerText")
    assert f"Term\n{term}" in facts.replace("\n\n", "\n")
    assert page.evaluate("document.querySelector('#live').textContent") == "live"
    assert page.evaluate("document.title") == f"{leader.name} \u2013 craftd"


def test_writes_and_commits_are_plotted(three, visit):
    leader = three.wait_leader()
    page = visit(leader)
    page.wait_for(WELL)

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
    page.wait_for(WELL)
    first.kill()
    page.wait_for(f"{WORD} === 'Degraded'")
    gone = member(page, first.name)
    assert gone["State"].startswith("unreachable")
    words = page.evaluate("$('verdict-text').textContent")
    assert f"{first.name} cannot be reached" in words and "no further voter may fail" in words
    second.kill()
    page.wait_for(f"{WORD} === 'No quorum'")
    words = page.evaluate("$('verdict-text').textContent")
    assert "1 of 3 voters" in words and "Writes are refused" in words
    assert "no leader" in page.evaluate("$('leaders').textContent")
    page.wait_for("$('hint-list').textContent.includes('no leader')")
    first.start()
    page.wait_for(f"{WORD} === 'Degraded'")


def test_a_fail_over_seen_from_a_follower(cluster, visit):
    cluster.start(3)
    leader = cluster.wait_leader()
    page = visit(cluster.others(leader)[0])
    page.wait_for(WELL)
    leader.kill()
    page.wait_for(f"{WORD} === 'Degraded'")
    new = cluster.wait_leader()
    page.wait_for(f"$('leaders').firstChild.textContent.includes('{new.name} leads')")
    assert page.evaluate("$('leaders').children.length") >= 2
    assert member(page, new.name)["Role"] == "leader"


def test_the_node_of_the_page_stops_and_comes_again(cluster, visit):
    """Meanwhile it leads to the others."""
    cluster.start(3)
    node = cluster[2]
    page = visit(node, broken=True)
    page.wait_for(WELL)
    links = "[...document.querySelectorAll('#others a')].map(link => link.href)"
    assert page.evaluate(links) == []
    node.kill()
    page.wait_for("$('live').textContent === 'reconnecting'")
    page.wait_for(f"{WORD} === 'No answer'")
    assert page.evaluate("document.title").startswith("No answer")
    assert page.evaluate("$('others').textContent") == "Open node0, node1."
    assert page.evaluate(links) == [f"http://{one.http}/ui" for one in cluster.nodes[:2]]
    node.start().up()
    page.wait_for("$('live').textContent === 'live'")
    page.wait_for(WELL)
    assert page.evaluate(links) == []


def test_a_page_without_its_node_leads_to_none_that_was_down(cluster, visit):
    cluster.start(3)
    page = visit(cluster[2], broken=True)
    page.wait_for(WELL)
    cluster[0].kill()
    page.wait_for("nodes.some(node => !node.reachable)")
    cluster[2].kill()
    page.wait_for(f"{WORD} === 'No answer'")
    assert page.evaluate("$('others').textContent") == "Open node1."


@pytest.mark.parametrize("looks", [{}, {"dark": True}, {"width": 360}],
                         ids=["light", "dark", "narrow"])
def test_everybody_can_use_the_view_of_the_cluster(three, visit, looks):
    page = visit(three[1], **looks)
    page.wait_for(WELL)
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
    page.wait_for(WELL)
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


# ---- keys ----

def labels(page):
    return page.evaluate("""[...document.querySelectorAll("#tree button")]
        .map(one => one.innerText.split("\\n")[0].trim())""")


def tree_button(page, label):
    """Marks the entry with that label, for a click."""
    page.wait_for(f"""(() => {{ const one = [...document.querySelectorAll("#tree button")]
        .find(one => (one.querySelector(".label") || one).textContent === {label!r});
        document.querySelectorAll("[data-test]").forEach(x => delete x.dataset.test);
        if (one) {{ one.dataset.test = "it"; }} return Boolean(one); }})()""")
    page.click("[data-test=it]")


def open_key(page, key):
    page.evaluate(f"location.hash = '#keys?' + new URLSearchParams({{key: {key!r}}})")
    page.wait_for(f"$('key-name').textContent === {key!r} && !$('value').hidden")


def edit(page, text):
    page.evaluate("$('bytes').focus(), $('bytes').select()")
    page.type(text)


def test_the_tree_of_keys(three, visit):
    three[0].put_many({"svc/a/1": "one", "svc/a/2": "two", "svc/b": "three", "top": "4",
                       "app:x": "5", "<img src=x onerror=alert(1)>": "<b>bold</b>"})
    page = visit(three[1], "/ui#keys")
    page.wait_for("document.querySelectorAll('#tree button').length === 4")
    assert labels(page) == ["<img src=x onerror=alert(1)>", "app:x", "svc/", "top"]
    tree_button(page, "svc/")
    page.wait_for("document.querySelectorAll('#tree button').length === 6")
    tree_button(page, "a/")
    page.wait_for("document.querySelectorAll('#tree button').length === 8")
    assert labels(page)[2:7] == ["svc/", "a/", "1", "2", "b"]
    tree_button(page, "2")
    page.wait_for("$('bytes').value === 'two'")
    assert page.evaluate("$('key-name').textContent") == "svc/a/2"
    # It goes on by keys: to the parent, closed, and down.
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown"):
        page.press(key)
    page.wait_for("document.activeElement.textContent.startsWith('b')")
    page.press("Enter")
    page.wait_for("$('bytes').value === 'three'")
    page.evaluate("history.back()")
    page.wait_for("$('bytes').value === 'two'")


def test_another_separator_and_a_prefix(three, visit):
    three[0].put_many({"app:x:1": "a", "app:y": "b", "apple": "c", "b": "d"})
    page = visit(three[0], "/ui#keys?sep=:")
    page.wait_for("document.querySelectorAll('#tree button').length === 3")
    assert labels(page) == ["app:", "apple", "b"]
    page.evaluate("$('prefix').focus()")
    page.type("app")
    page.press("Enter")
    page.wait_for("location.hash.includes('prefix=app')")
    page.wait_for("document.querySelectorAll('#tree button').length === 2")


def test_changes_come_by_themselves(three, visit):
    leader = three.wait_leader()
    leader.put_many({"live/a": "1", "live/b": "2"})
    page = visit(three.others(leader)[0], "/ui#keys?prefix=live/&key=live/a")
    page.wait_for("stream.state === 'live' && $('bytes').value === '1'")
    leader.put("live/a", "changed")
    page.wait_for("$('bytes').value === 'changed'")
    leader.put("live/aa", "new")
    page.wait_for("document.querySelectorAll('#tree button').length === 3")
    assert labels(page) == ["a", "aa", "b"]
    leader.put("live/c/d", "deeper")
    page.wait_for("document.querySelectorAll('#tree button').length === 4")
    assert leader.request("DELETE", "/key/live/b").status == 200
    assert leader.request("DELETE", "/key/live/c/d").status == 200
    page.wait_for("document.querySelectorAll('#tree button').length === 2")
    assert page.evaluate("$('live').textContent") == "live"


def test_an_edit_is_saved(three, visit):
    three[0].put("edit/a", "before")
    page = visit(three[2], "/ui")
    open_key(page, "edit/a")
    assert page.evaluate("$('save').disabled") is True
    edit(page, "after \u00fc\nand more")
    page.click("#save")
    page.wait_for("$('done').textContent.includes('Saved edit/a')")
    assert three[0].get("edit/a") == "after \u00fc\nand more"
    page.wait_for("$('save').disabled && $('meta').textContent.includes('Version2')")
    # And once more, by the index that the first one has made.
    edit(page, "third")
    page.click("#save")
    wait_for(lambda: three[0].get("edit/a") == "third", 10, "it is saved")
    assert page.evaluate("$('conflict').hidden") is True


def test_a_conflict_is_shown_and_nothing_overwritten(three, visit):
    three[0].put("both/a", "first")
    page = visit(three[1], "/ui#keys", broken=True)
    page.wait_for("stream.state === 'live'")
    open_key(page, "both/a")
    page.evaluate("stream.stop()")  # So that the page learns of it from 412 alone.
    edit(page, "mine")
    three[0].put("both/a", "theirs")
    page.click("#save")
    page.wait_for("!$('conflict').hidden")
    assert page.evaluate("$('theirs').textContent") == "theirs"
    assert page.evaluate("$('bytes').value") == "mine"
    assert three[0].get("both/a") == "theirs"
    # Theirs has changed once more: that is a conflict again.
    three[0].put("both/a", "theirs again")
    page.click("#over")
    page.wait_for("$('theirs').textContent === 'theirs again'")
    assert three[0].get("both/a") == "theirs again"
    page.click("#over")
    page.wait_for("$('conflict').hidden")
    wait_for(lambda: three[0].get("both/a") == "mine", 10, "it is replaced")


VALUES, SAVES = 'path.includes("?meta")', 'options.method === "PUT"'


def hold_answers(page, which=VALUES):
    """From hold() to release(), the page waits for those answers."""
    page.evaluate("""(() => {
        const real = fetch;
        let gate = Promise.resolve();
        window.hold = () => { gate = new Promise(open => { window.release = open; }); };
        window.fetch = async (path, options) => {
            const answer = await real(path, options);
            if (WHICH) { window.waits = true; await gate; }
            return answer;
        };
    })()""".replace("WHICH", which))


def test_a_write_of_ours_is_no_conflict(three, visit):
    """Its answer may be lost: what comes then, by the watch or by 412, is the value that
    was typed."""
    three[0].put("lost/a", "first")
    page = visit(three[1], "/ui#keys?prefix=lost/&key=lost/a", broken=True)
    page.wait_for("stream.state === 'live' && $('bytes').value === 'first'")
    # The answer of a save is an error, with and then without the watch.
    page.evaluate("""(() => {
        const real = fetch;
        window.fetch = async (path, options) => {
            const answer = await real(path, options);
            if (options.method !== "PUT" || !window.lose) { return answer; }
            window.lose = false;
            await window.event;
            return new Response('{"message":"no answer","outcome":"unknown"}', {status: 504});
        };
    })()""")
    for text, watching in (("by the watch", True), ("by 412", False)):
        if not watching:
            page.evaluate("stream.stop()")
        edit(page, text)
        page.evaluate("""window.event = new Promise(open => { window.came = open; }),
            window.lose = true, $("save").click()""")
        wait_for(lambda text=text: three[0].get("lost/a") == text, 10, "it is saved")
        if watching:  # The event comes before the answer.
            page.wait_for(f"document.querySelector('#tree .preview').textContent === '{text}'")
        page.evaluate("came()")
        if not watching:
            page.wait_for("$('wrong').textContent.includes('or not')")
            page.click("#save")
        page.wait_for("!isDirty() && $('wrong').hidden && $('save').disabled")
        assert page.evaluate("[$('conflict').hidden, $('bytes').value]") == [True, text]
    # The value of somebody else is one still.
    edit(page, "mine")
    three[0].put("lost/a", "theirs")
    page.click("#save")
    page.wait_for("!$('conflict').hidden && $('theirs').textContent === 'theirs'")
    page.click("#take")
    page.wait_for("!isDirty()")


def test_what_was_typed_stays_when_the_tree_is_read_again(three, visit):
    """As after a restore, or changes that are older than the history: a key that changed
    meanwhile is a conflict, and one that cannot be read is no reason to drop an edit."""
    three[0].put("reread/a", "first")
    page = visit(three[1], "/ui#keys?prefix=reread/&key=reread/a", broken=True)
    page.wait_for("stream.state === 'live' && $('bytes').value === 'first'")
    page.evaluate("stream.stop()")
    edit(page, "mine")
    three[0].put("reread/a", "theirs")
    page.evaluate("openTree(), null")
    page.wait_for("!$('conflict').hidden && $('theirs').textContent === 'theirs'")
    page.evaluate("""(() => { const real = fetch; window.fetch = (path, options) =>
        path.includes("?meta") ? Promise.reject(new TypeError()) : real(path, options); })()""")
    page.evaluate("openTree(), null")
    page.wait_for("$('message').textContent.includes('cannot be reached')")
    assert page.evaluate("[$('bytes').value, $('value').hidden]") == ["mine", False]
    page.evaluate("$('undo').click()")


def test_a_key_is_not_taken_for_another_one(three, visit):
    """What has no shape, or turns the direction of a text, is shown by its number."""
    keys = {"\u202eevil": "\\u202eevil", " blank ": "\\u0020blank\\u0020",
            "two\nlines": "two\\u000alines", "\ufeffmark": "\\ufeffmark",
            "\u05e9\u05dc\u05d5\u05dd": "\u05e9\u05dc\u05d5\u05dd", "a\u200db c": "a\u200db c"}
    three[0].put_many({key: "x" for key in keys})
    page = visit(three[1], "/ui#keys")
    page.wait_for(f"document.querySelectorAll('#tree button').length === {len(keys)}")
    found = page.evaluate("[...document.querySelectorAll('#tree .label')].map(x => x.textContent)")
    assert sorted(found) == sorted(keys.values())
    for key, label in keys.items():
        tree_button(page, label)
        page.wait_for(f"shown && shown.key === {json.dumps(key)} && !$('value').hidden")
        assert page.evaluate("$('key-name').textContent") == label
    edit(page, "saved")
    page.click("#save")
    page.wait_for("$('done').textContent.endsWith('Saved a\u200db c.')")
    assert three[0].request("GET", "/key/a%E2%80%8Db%20c?raw").body == b"saved"


def test_what_is_too_long_is_refused_and_not_cut(three, visit):
    page = visit(three[1], "/ui#keys", broken=True)
    page.wait_for("stream.state === 'live'")
    page.click("#new")
    page.type("k" * 4096)
    edit(page, "value")
    page.click("#save")
    page.wait_for("$('wrong').textContent === 'Save: a key has 1 to 1024 bytes'")
    assert three[0].request("GET", "/keys?count").json()["count"] == 0
    page.evaluate("$('undo').click()")
    # A prefix: it says why there is no list, and does not ask for it again and again.
    page.evaluate("location.hash = '#keys?prefix=' + 'p'.repeat(2000)")
    page.wait_for("$('message').textContent.includes('1024') && $('tree').textContent === ''")
    assert page.evaluate("[stream.state, $('live').textContent]") == ["none", "live"]
    page.evaluate("location.hash = '#keys'")
    page.wait_for("stream.state === 'live' && $('tree').textContent === 'No keys.'")


def test_a_list_that_is_slow_is_not_an_empty_one(three, visit):
    three[0].put("slow/a", "1")
    page = visit(three[1], "/ui#keys")
    page.wait_for("document.querySelectorAll('#tree button').length === 1")
    hold_answers(page, 'path.startsWith("/keys?")')
    page.evaluate("hold(), location.hash = '#keys?prefix=slow/'")
    page.wait_for("$('tree').textContent === 'Loading \u2026'")
    # A prefix that is typed meanwhile stays.
    page.evaluate("$('prefix').select()")
    page.type("none")
    page.evaluate("release()")
    page.wait_for("$('tree').innerText.startsWith('a')")
    assert page.evaluate("$('prefix').value") == "none"
    page.press("Enter")
    page.wait_for("$('tree').textContent === 'No keys begin with it.'")


def test_keys_alone_edit_and_delete(three, visit):
    """The focus stays in the form while buttons are disabled, and is not on a button
    that deletes."""
    page = visit(three[1], "/ui#keys?prefix=typed/")
    page.wait_for("stream.state === 'live'")
    focus = "document.activeElement.id"
    page.evaluate("$('new').focus()")
    page.press("Enter")
    page.wait_for(focus + " === 'new-name'")
    page.type("a")
    page.press("Enter")  # On to the value: an empty one is not saved by mistake.
    page.wait_for(focus + " === 'bytes'")
    page.type("value")
    page.press("Tab")
    page.press("Enter", count=3)
    page.wait_for("$('done').textContent.includes('Saved typed/a.')")
    assert three[0].get("typed/a") == "value"
    page.wait_for(focus + " === 'key-name' && $('save').disabled")
    edit(page, "other")
    page.evaluate("$('undo').focus()")
    page.press("Enter")
    page.wait_for(focus + " === 'key-name' && $('bytes').value === 'value'")
    page.evaluate("$('delete').focus()")
    page.press("Enter", count=3)
    page.wait_for("$('ask').open && " + focus + " === 'ask-no'")
    page.press("Tab", modifiers=8)
    page.press("Enter")
    page.wait_for("$('done').textContent.includes('Deleted typed/a.')")
    page.wait_for(focus + " === 'main'")
    assert three[0].get("typed/a") is None


def test_what_was_asked_for_is_in_sight_on_a_small_screen(three, visit):
    """The value of a key that was chosen in a long list, and what is reported of it."""
    three[0].put_many({f"far/{n:03}": str(n) for n in range(100)})
    page = visit(three[1], "/ui#keys?prefix=far/", width=360)
    page.wait_for("document.querySelectorAll('#tree button').length === 100")
    tree_button(page, "001")
    page.wait_for("$('bytes').value === '1'")

    def wait_in_sight(name):
        page.wait_for(f"""(() => {{ const box = $("{name}").getBoundingClientRect();
            return box.height > 0 && box.top >= 0 && box.bottom <= innerHeight; }})()""")
    wait_in_sight("key-name")
    edit(page, "other")
    page.click("#save")
    page.wait_for("$('done').textContent.includes('Saved far/001.')")
    wait_in_sight("done")
    page.evaluate("complain('A complaint.')")
    wait_in_sight("message")


def test_an_answer_that_comes_late_keeps_what_was_typed(three, visit):
    """The key is read again when the tree is, and after each change and save."""
    three[0].put("late/a", "first")
    page = visit(three[1], "/ui#keys?prefix=late/", broken=True)
    page.wait_for("stream.state === 'live'")
    open_key(page, "late/a")
    page.evaluate("stream.stop()")
    hold_answers(page)

    def type_meanwhile(text):
        page.evaluate("hold(), window.reading = openKey('late/a'), null")
        edit(page, text)
        page.evaluate("release(), reading")
        assert page.evaluate("$('bytes').value") == text
    type_meanwhile("mine")
    assert page.evaluate("$('conflict').hidden") is True
    # What was typed during a save is no conflict with that save.
    page.evaluate("hold(), $('save').click()")
    page.wait_for("$('done').textContent.includes('Saved')")
    edit(page, "mine, and more")
    page.evaluate("release()")
    page.wait_for("$('meta').textContent.includes('Version2')")
    assert page.evaluate("[$('bytes').value, $('conflict').hidden, $('save').disabled]") == [
        "mine, and more", True, False]
    page.click("#save")
    wait_for(lambda: three[0].get("late/a") == "mine, and more", 10, "it is saved")
    # A value of somebody else is a conflict.
    page.wait_for("$('meta').textContent.includes('Version3')")
    three[0].put("late/a", "theirs")
    type_meanwhile("mine")
    assert page.evaluate("[$('conflict').hidden, $('theirs').textContent]") == [False, "theirs"]
    page.click("#take")
    page.wait_for("$('bytes').value === 'theirs'")


def test_what_was_typed_goes_to_the_key_that_is_shown(three, visit):
    """Another key has been chosen, and its value has not come yet. Both keys were written
    at one index, so that a condition on that index holds for both."""
    three[0].put_many({"two/a": "a", "two/b": "b"})
    page = visit(three[1], "/ui#keys?prefix=two/&key=two/a")
    page.wait_for("stream.state === 'live' && $('bytes').value === 'a'")
    hold_answers(page)
    page.evaluate("hold(), location.hash = '#keys?prefix=two/&key=two/b'")
    page.wait_for("chosen === 'two/b'")
    edit(page, "for a")
    page.click("#save")
    page.wait_for("$('done').textContent.includes('Saved')")
    assert (three[0].get("two/a"), three[0].get("two/b")) == ("for a", "b")
    page.evaluate("release()")
    page.wait_for("$('key-name').textContent === 'two/b' && $('bytes').value === 'b'")
    assert page.evaluate("[$('save').disabled, $('conflict').hidden]") == [True, True]


def test_what_was_typed_is_dropped_only_if_the_user_agrees(three, visit):
    """Another key is chosen, by a click, by an address or by Back; the prefix is changed; a
    new key is begun; or the value of another key comes while somebody types."""
    three[0].put_many({"drop/a": "a", "drop/b": "b"})
    page = visit(three[1], "/ui#keys?prefix=drop/")
    page.wait_for("stream.state === 'live'")
    for key in ("b", "a"):
        page.evaluate(f"location.hash = '#keys?prefix=drop/&key=drop/{key}'")
        page.wait_for(f"$('key-name').textContent === 'drop/{key}' && !$('value').hidden")
    asks = "$('ask').open && $('ask-text').textContent.includes('not saved')"
    kept = ("!$('ask').open && $('bytes').value === 'typed' && shown.key === 'drop/a'"
            " && chosen === 'drop/a'"
            " && new URLSearchParams(location.hash.slice(6)).get('key') === 'drop/a'"
            " && document.querySelector('#tree [aria-selected=true] .label').textContent === 'a'")
    other = "[...document.querySelectorAll('#tree button')][1].click()"
    ways = ["history.back()", other,
            "location.hash = '#keys?prefix=drop/&key=drop/b'", "$('new').click()",
            "$('prefix').value = '', $('open').requestSubmit()"]
    for way in ways:
        edit(page, "typed")
        page.evaluate(way)
        page.wait_for(asks)
        page.evaluate("$('ask-no').click()")
        page.wait_for(kept)
    # The view of the cluster drops nothing, so it does not ask.
    page.evaluate("location.hash = ''")
    page.wait_for("view === 'cluster'")
    page.evaluate("history.back()")
    page.wait_for("view === 'keys' && " + kept)
    hold_answers(page)
    page.evaluate("$('undo').click(), hold(), location.hash = '#keys?prefix=drop/&key=drop/b'")
    page.wait_for("chosen === 'drop/b'")
    edit(page, "typed")
    page.evaluate("release()")
    page.wait_for(asks)
    page.evaluate("$('ask-no').click()")
    page.wait_for(kept)
    page.evaluate(other)
    page.wait_for(asks)
    page.click("#ask-yes")
    page.wait_for("$('key-name').textContent === 'drop/b' && $('bytes').value === 'b'")
    assert page.evaluate("isDirty()") is False
    assert (three[0].get("drop/a"), three[0].get("drop/b")) == ("a", "b")


def entries(page):
    """The addresses in the tab's history, and which one is shown."""
    history = page.send("Page.getNavigationHistory")
    return [re.sub(".*#", "", one["url"]) for one in history["entries"]], history["currentIndex"]


def test_an_edit_that_is_kept_leaves_the_history_as_it_was(three, visit):
    """Back, or two entries back, is refused: the page goes forward to where it was."""
    three[0].put_many({"back/a": "a", "back/b": "b", "back/c": "c"})
    page = visit(three[1], "/ui#keys?prefix=back/")
    page.wait_for("stream.state === 'live'")
    for key in ("a", "b", "c"):
        page.evaluate(f"location.hash = '#keys?prefix=back/&key=back/{key}'")
        page.wait_for(f"$('bytes').value === '{key}' && !$('value').hidden")
    before = entries(page)
    asks, shown = "$('ask').open", "!$('ask').open && location.hash.endsWith('back/c')"
    for steps in (-1, -2, -1):
        edit(page, "typed")
        page.evaluate(f"history.go({steps})")
        page.wait_for(asks)
        page.click("#ask-no")
        page.wait_for(shown)
        assert entries(page) == before
        assert page.evaluate("[$('bytes').value, shown.key]") == ["typed", "back/c"]
    # By way of the other view, whose link leads back to the key, and to another address.
    page.click("#nav-cluster")
    page.wait_for("view === 'cluster'")
    page.click("#nav-keys")
    page.wait_for("view === 'keys' && $('bytes').value === 'typed'")
    assert page.evaluate("$('ask').open") is False
    page.click("#nav-keys")
    page.evaluate("history.go(-3)")
    page.wait_for(asks)
    page.press("Escape")
    page.wait_for("!$('ask').open && chosen === 'back/c' && location.hash.includes('back%2Fc')")
    page.evaluate("$('undo').click(), history.go(-3)")
    page.wait_for("$('bytes').value === 'b' && chosen === 'back/b'")
    # A key that is begun is an entry of its own, and Back leads to the one before it.
    page.click("#new")
    page.wait_for("$('key-name').textContent === 'New key'")
    page.evaluate("history.back()")
    page.wait_for("$('bytes').value === 'b' && $('key-name').textContent === 'back/b'")


def test_what_is_typed_while_a_new_key_is_saved_stays(three, visit):
    page = visit(three[1], "/ui#keys?prefix=fresh/")
    page.wait_for("stream.state === 'live'")
    hold_answers(page, SAVES)
    page.evaluate("hold()")
    page.click("#new")
    page.evaluate("$('new-name').value = 'fresh/a'")
    edit(page, "one")
    page.click("#save")
    wait_for(lambda: three[0].get("fresh/a") == "one", 10, "it is saved")
    edit(page, "one and two")
    page.evaluate("release()")
    page.wait_for("$('key-name').textContent === 'fresh/a' && $('new-label').hidden")
    assert page.evaluate("[$('bytes').value, isDirty(), $('ask').open, $('conflict').hidden]") == [
        "one and two", True, False, True]


def test_the_event_of_a_save_may_come_before_its_answer(three, visit):
    """It is no conflict with somebody else."""
    three[0].put("own/a", "first")
    page = visit(three[1], "/ui#keys?prefix=own/&key=own/a")
    page.wait_for("stream.state === 'live' && $('bytes').value === 'first'")
    hold_answers(page, SAVES)
    page.evaluate("""(() => { const real = fetch, sent = new Promise(open => { window.send = open; });
        window.fetch = async (path, options) => {
            if (options.method === "PUT") { await sent; }
            return real(path, options); }; })()""")
    page.evaluate("hold()")
    edit(page, "mine")
    page.click("#save")
    edit(page, "mine, and more")  # That is none either.
    page.evaluate("send()")
    page.wait_for("document.querySelector('#tree .preview').textContent === 'mine'")
    assert page.evaluate("$('conflict').hidden") is True
    page.evaluate("release()")
    page.wait_for("$('meta').textContent.includes('Version2')")
    assert page.evaluate("[$('conflict').hidden, $('bytes').value]") == [True, "mine, and more"]
    page.evaluate("$('undo').click()")


def test_a_change_right_after_a_save_is_shown(three, visit):
    """It comes while the page still reads what it has saved."""
    three[0].put("after/a", "first")
    page = visit(three[1], "/ui#keys?prefix=after/&key=after/a")
    page.wait_for("stream.state === 'live' && $('bytes').value === 'first'")
    hold_answers(page)
    page.evaluate("hold()")
    edit(page, "mine")
    page.click("#save")
    page.wait_for("window.waits")
    three[0].put("after/a", "theirs")
    page.wait_for("document.querySelector('#tree .preview').textContent === 'theirs'")
    page.evaluate("release()")
    page.wait_for("$('bytes').value === 'theirs'")


def test_a_change_while_typing_is_shown_and_keeps_what_was_typed(three, visit):
    three[0].put("typing/a", "first")
    page = visit(three[1], "/ui#keys", broken=True)
    page.wait_for("stream.state === 'live'")
    open_key(page, "typing/a")
    edit(page, "mine")
    three[0].put("typing/a", "theirs")
    page.wait_for("!$('conflict').hidden")
    assert page.evaluate("$('bytes').value") == "mine"
    page.click("#take")
    page.wait_for("$('bytes').value === 'theirs' && $('conflict').hidden")
    # A deletion meanwhile is a conflict as well.
    edit(page, "mine")
    assert three[0].request("DELETE", "/key/typing/a").status == 200
    page.wait_for("!$('conflict').hidden && $('theirs').hidden")
    page.click("#save")
    page.wait_for("$('conflict-why').textContent.includes('deleted')")
    assert three[0].get("typing/a") is None


def test_a_key_is_made_once_and_deleted(three, visit):
    page = visit(three[0], "/ui#keys?prefix=made/", broken=True)
    page.wait_for("stream.state === 'live'")
    page.click("#new")
    page.type("\u00e4 b?c%")
    edit(page, "value")
    three[1].put("made/\u00e4 b?c%", "was first")
    page.click("#save")
    page.wait_for("!$('conflict').hidden")
    assert three[0].request("GET", "/key/made/%C3%A4%20b%3Fc%25?raw").body == b"was first"
    page.click("#take")
    page.wait_for("$('bytes').value === 'was first'")
    page.click("#delete")
    page.wait_for("$('ask').open")
    page.click("#ask-no")
    assert three[0].request("GET", "/key/made/%C3%A4%20b%3Fc%25").status == 200
    page.click("#delete")
    page.wait_for("$('ask').open")
    page.click("#ask-yes")
    page.wait_for("$('done').textContent.includes('Deleted')")
    assert three[0].request("GET", "/key/made/%C3%A4%20b%3Fc%25").status == 404
    assert page.evaluate("$('value').hidden") is True


def test_values_as_text_json_and_hex(three, visit):
    node = three[0]
    numbers = '{"big":12345678901234567890,"list":[1,{}],"text":"a,b:{c}"}'
    node.put("form/json", numbers)
    node.request("PUT", "/key/form/raw", bytes(range(250, 256)) + b"hello, bytes")
    node.request("PUT", "/key/form/cr", b"a\r\nb")
    page = visit(node, "/ui")
    open_key(page, "form/json")
    page.click("[name=format][value=json]")
    page.wait_for("$('bytes').value.includes('\\n')")
    assert page.evaluate("$('bytes').value") == """{
  "big": 12345678901234567890,
  "list": [
    1,
    {}
  ],
  "text": "a,b:{c}"
}"""
    assert page.evaluate("$('save').disabled") is True  # Nothing has changed.
    edit(page, "{broken")
    page.click("#save")
    page.wait_for("$('wrong').textContent.includes('not JSON')")
    assert node.get("form/json") == numbers
    page.click("#undo")
    open_key(page, "form/raw")
    assert page.evaluate("$('bytes').value").startswith(
        "000000  fa fb fc fd fe ff 68 65 6c 6c 6f 2c 20 62 79 74  |......hello, byt|\n000010")
    assert page.evaluate("[...document.getElementsByName('format')].map(x => x.disabled)") == [
        True, True, False]
    edit(page, "00 ff 0A")
    page.click("#save")
    wait_for(lambda: node.request("GET", "/key/form/raw?raw").body == b"\x00\xff\n", 10,
             "the bytes are saved")
    # A field for text would make it another value.
    open_key(page, "form/cr")
    assert "61 0d 0a 62" in page.evaluate("$('bytes').value")
    # The next one is shown as its reader chose.
    open_key(page, "form/json")
    assert page.evaluate("$('bytes').value").startswith('{\n  "big"')


def test_a_fail_over_while_watching(cluster, visit):
    cluster.start(3)
    leader = cluster.wait_leader()
    leader.put("over/a", "1")
    first = cluster.others(leader)[0]
    page = visit(first, "/ui#keys?prefix=over/&key=over/a")
    page.wait_for("stream.state === 'live' && $('bytes').value === '1'")
    leader.kill()
    new = cluster.wait_leader()
    assert new.put("over/a", "2").status == 200
    assert new.put("over/b", "3").status == 200
    page.wait_for("$('bytes').value === '2'")
    page.wait_for("document.querySelectorAll('#tree button').length === 2")


def test_the_watched_node_comes_again_and_nothing_is_missed(cluster, visit):
    cluster.start(3)
    node = cluster[2]
    cluster[0].put("miss/a", "1")
    page = visit(node, "/ui#keys?prefix=miss/&key=miss/a", broken=True)
    page.wait_for("stream.state === 'live' && $('bytes').value === '1'")
    node.kill()
    page.wait_for("$('live').textContent === 'reconnecting'")
    cluster.wait_leader()
    cluster[0].put("miss/a", "2")
    cluster[0].request("PUT", "/key/miss/b", "3")
    node.start().up()
    page.wait_for("$('live').textContent === 'live'", 30)
    page.wait_for("$('bytes').value === '2'")
    page.wait_for("document.querySelectorAll('#tree button').length === 2")


def test_without_a_leader_keys_are_shown_as_old(cluster, visit):
    cluster.start(3)
    cluster[0].put("alone", "1")
    cluster.wait_same()
    page = visit(cluster[0], "/ui#keys", broken=True)
    page.wait_for("document.querySelectorAll('#tree button').length === 1")
    for node in cluster.nodes[1:]:
        node.kill()
    wait_for(lambda: cluster[0].request("GET", "/health").status == 503, 15, "no leader")
    open_key(page, "alone")
    page.wait_for("!$('old').hidden")
    edit(page, "2")
    assert page.evaluate("$('bytes').value") == "2"


@pytest.mark.parametrize("looks", [{}, {"dark": True}, {"width": 360}],
                         ids=["light", "dark", "narrow"])
def test_everybody_can_use_the_view_of_keys(three, visit, looks):
    three[0].put_many({"axe/a/1": "one", "axe/b": "x" * 300, "z" * 200: "long"})
    page = visit(three[1], "/ui#keys?key=axe/b", **looks)
    page.wait_for("$('bytes').value !== ''")
    tree_button(page, "axe/")
    page.wait_for("document.querySelectorAll('#tree ul button').length === 2")
    check_accessibility(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# ---- a million keys ----

MILLION = 1000000


@pytest.mark.seconds(240)
def test_a_million_keys(cluster, visit):
    """Half of them in one prefix, the others in a thousand: the view opens at once,
    pages go on and back, and a prefix leads anywhere. Its rows stay few."""
    node = cluster.new(inmem=True, args=["--max-body", "16M"]).start().up()
    cluster.wait_leader()
    for start in range(0, MILLION, 10000):
        pairs = {(f"flat{n:07}" if n % 2 else f"d{n // 1000:03}/{n:07}"): "x"
                 for n in range(start, start + 10000)}
        assert node.put_many(pairs, timeout=60).status == 200
    page = visit(node, "/ui#keys")
    watch = Stopwatch(node)
    page.wait_for("document.querySelectorAll('#tree button').length === 201")
    assert watch.seconds() < 10
    assert labels(page)[0] == "d000/" and labels(page)[-1] == "Next 200"
    page.wait_for("$('count').textContent.replace(/\\D/g, '') === '1000000'")
    tree_button(page, "Next 200")
    page.wait_for("document.activeElement.textContent === 'Previous 200'")
    assert labels(page)[1] == "d200/"
    tree_button(page, "Previous 200")
    page.wait_for("document.querySelector('#tree .label').textContent === 'd000/'")
    page.evaluate("location.hash = '#keys?prefix=flat09999'")
    page.wait_for("document.querySelectorAll('#tree button').length === 50")
    assert labels(page)[0] == "01"
    page.evaluate("location.hash = '#keys?prefix=flat'")
    page.wait_for("document.querySelectorAll('#tree button').length === 201")
    # Thousands of changes a second leave it usable.
    for start in range(0, 100000, 5000):
        node.put_many({f"flat{n:07}": "changed" for n in range(start, start + 5000)})
    page.wait_for("document.querySelector('#tree .preview').textContent === 'changed'")
    assert page.evaluate("document.querySelectorAll('#tree button').length") <= 402
    tree_button(page, "0000003")
    page.wait_for("$('bytes').value === 'changed'")


def test_time_to_live_and_lease(three, visit):
    """They are shown, a save keeps them, and a key that ends goes."""
    node = three[0]
    node.request("PUT", "/key/ttl/long?ttl=1h", "1")
    lease = node.request("POST", "/lease?ttl=60s").json()["id"]
    node.request("PUT", f"/key/ttl/leased?lease={lease}", "2")
    page = visit(three[1], "/ui#keys?prefix=ttl/&key=ttl/long")
    page.wait_for("stream.state === 'live' && $('bytes').value === '1'")
    words = page.evaluate("$('tree').innerText")
    assert "expires in 60 min" in words and f"lease {lease}" in words
    assert "Expires in60 min" in page.evaluate("$('meta').textContent")
    edit(page, "changed")
    page.click("#save")
    wait_for(lambda: node.get("ttl/long") == "changed", 10, "it is saved")
    left = node.request("GET", "/ttl/ttl/long").json()["ttl"]
    assert 3500 < left <= 3600
    page.evaluate("location.hash = '#keys?prefix=ttl/&key=ttl/leased'")
    page.wait_for("$('bytes').value === '2'")
    edit(page, "changed")
    page.click("#save")
    wait_for(lambda: node.get("ttl/leased") == "changed", 10, "it is saved")
    assert node.request("GET", "/key/ttl/leased?meta").json()["lease"] == lease
    node.request("PUT", "/key/ttl/short?ttl=8s", "3")
    page.wait_for("/short\\s+expires in \\d s/.test($('tree').innerText)")
    page.wait_for("!$('tree').innerText.includes('short')")


def test_keys_that_a_browser_takes_for_folders_harm_nothing(three, visit):
    three[0].put_many({".": "1", "..": "2", "a/../b": "3"})
    page = visit(three[0], "/ui#keys?prefix=.")
    page.wait_for("document.querySelectorAll('#tree button').length === 2")
    page.evaluate("location.hash = '#keys?key=..'")
    page.wait_for("$('message').textContent.includes('cannot send the key ..')")
    page.evaluate("location.hash = '#keys?key=a/../b'")
    page.wait_for("$('bytes').value === '3'")
    edit(page, "4")
    page.click("#save")
    wait_for(lambda: three[0].request("GET", "/key/a%2F..%2Fb?raw").body == b"4", 10, "saved")


# ---- actions ----

def press_action(page, label):
    page.wait_for(f"""document.querySelector('[aria-label="{label}"]')""")
    page.click(f'[aria-label="{label}"]')


def test_a_button_stays_where_somebody_aims_at_it(three, visit):
    """News, complaints and hints come and go with a poll, between a look and a click."""
    page = visit(three.wait_leader())
    page.wait_for("document.querySelector('.actions button')")

    def place():
        return page.evaluate("document.querySelector('.actions button').getBoundingClientRect().y")
    page.evaluate("clearTimeout(timer), polling = true")
    before = place()
    for change in ("report('News.')", "report(''), complain('A complaint.')", "complain('')",
                   "status.hints = ['A hint.', 'Another.'], drawHints()"):
        page.evaluate(change)
        assert place() == before, change
    page.evaluate("polling = false, poll()")


def test_the_leader_is_moved(three, visit):
    leader = three.wait_leader()
    other = three.others(leader)[0]
    page = visit(leader)
    press_action(page, f"Make leader: {other.name}")
    page.wait_for(f"$('done').textContent.includes('leader to {other.name}: done')")
    page.wait_for(f"$('verdict-text').textContent.includes('{other.name} leads')")
    assert three.wait_leader() is other


def test_a_double_click_acts_once(three, visit):
    """As does a key that is held down, and a click while an action has not ended."""
    page = visit(three.wait_leader())

    def move(act):
        before = page.requests("POST", "/leader")
        page.evaluate("report('')")
        page.wait_for("[...$('operate').children].length === 3 && nodes.every(x => x.reachable)")
        act()
        page.wait_for("$('done').textContent.includes('Moving the leader: done')")
        assert page.requests("POST", "/leader") == before + 1
        three.wait_leader()
    last = "#operate button:last-child"
    move(lambda: page.click(last, 2))
    page.evaluate(f"document.querySelector('{last}').focus()")
    move(lambda: page.press("Enter", count=4))
    hold_answers(page, 'path === "/leader"')

    def impatient():
        page.evaluate("hold()")
        page.click(last)
        page.click(last)
        page.evaluate("release()")
    move(impatient)
    three[0].put_many({"twice/a/b": "1", "twice/a/c": "2"})
    page.evaluate("location.hash = '#keys?prefix=twice/'")
    page.wait_for("document.querySelectorAll('#tree button').length === 1")
    page.click("#tree button", 2)
    page.wait_for("document.querySelectorAll('#tree button').length === 3")


def test_a_vote_is_taken_and_given_and_a_member_removed(cluster, visit):
    cluster.start(3)
    leader = cluster.wait_leader()
    other = cluster.others(leader)[0]
    page = visit(leader)
    press_action(page, f"Demote: {other.name}")
    page.wait_for("$('ask').open")
    page.press("Escape")
    page.wait_for("!$('ask').open")
    press_action(page, f"Demote: {other.name}")
    page.wait_for("$('ask').open")
    page.click("#ask-yes")
    press_action(page, f"Promote: {other.name}")
    press_action(page, f"Demote: {other.name}")
    page.wait_for("$('ask').open")
    page.click("#ask-no")
    press_action(page, f"Remove: {other.name}")
    page.wait_for("$('ask').open")
    for word in ("", leader.name, other.name.upper()):
        page.evaluate("$('ask-word').select()")
        page.type(word)
        assert page.evaluate("$('ask-yes').disabled") is True
        page.press("Enter")
    assert len(leader.request("GET", "/nodes").json()) == 3
    page.evaluate("$('ask-word').select()")
    page.type(other.name)
    page.press("Enter")
    page.wait_for("document.querySelectorAll('#members tr').length === 2")
    assert other.name not in [one["id"] for one in leader.request("GET", "/nodes").json()]


def test_an_action_that_is_refused_says_why(cluster, visit):
    node = cluster.start(1)[0]
    page = visit(node, broken=True)
    press_action(page, f"Remove: {node.name}")
    page.wait_for("$('ask').open")
    page.type(node.name)
    page.press("Enter")
    page.wait_for("!$('message').hidden")
    got = node.request("DELETE", f"/nodes/{node.name}").json()
    assert got["message"] in page.evaluate("$('message').textContent")


def test_a_backup_is_downloaded_and_a_snapshot_taken(three, visit, tmp_path):
    three[0].put("kept", "safe")
    page = visit(three[0])
    page.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.wait_for("[...$('operate').children].some(one => one.textContent.includes('backup'))")
    page.click("#operate button")
    page.wait_for("$('done').textContent.includes('The browser saves craftd-')")

    def saved():
        names = [name for name in os.listdir(tmp_path) if name.endswith(".db")]
        return names and sqlite3.connect(tmp_path / names[0]).execute(
            "select value from kv where key = 'kept'").fetchall()
    assert wait_for(saved, 20, "the file is there") == [("safe",)]
    page.click("#operate button:nth-child(2)")
    page.wait_for("$('done').textContent.includes('Snapshot of node0: done')")


# ---- with --auth ----

def sign_in(page, name, password):
    page.wait_for("!$('login').hidden")
    page.evaluate("$('name').select()")
    page.type(name)
    page.evaluate("$('password').select()")
    page.type(password)
    page.press("Enter")


@pytest.fixture
def guarded(cluster, tmp_path):
    rules = write_rules(tmp_path / "auth.json", ROOT_TOKEN, user("op", "pass w\u00f6rd", "all"),
                        user("dev", "dev", "read:svc/", "write:svc/a", "status"),
                        user("reader", "reader", "read:svc/"), token("machine", "all"))
    node = authorized(cluster.new(args=["--auth", rules]))
    node.rules = rules
    node.start().up()
    cluster.wait_leader()
    node.put_many({"svc/a": "1", "svc/b": "2", "secret": "3"})
    return node


def test_it_asks_for_credentials_and_keeps_them_to_itself(guarded, visit):
    page = visit(guarded, broken=True)
    sign_in(page, "op", "wrong")
    page.wait_for("$('login-why').textContent.includes('is wrong')")
    assert page.evaluate("document.querySelectorAll('#members tr').length") == 0
    sign_in(page, "op", "pass w\u00f6rd")
    page.wait_for(WELL)
    assert page.evaluate("$('user').textContent") == "op"
    page.evaluate("location.hash = 'keys'")
    page.wait_for("stream.state === 'live' && document.querySelectorAll('#tree button').length")
    assert guarded.put("svc/new", "live").status == 200
    tree_button(page, "svc/")
    page.wait_for("document.querySelectorAll('#tree button').length === 5")
    # They are stored nowhere.
    assert page.evaluate("localStorage.length + sessionStorage.length + "
                         "document.cookie.length") == 0
    page.click("#sign")
    page.wait_for("$('user').textContent === 'not signed in'")
    page.click("#sign")
    sign_in(page, "", "machine")
    page.wait_for("$('user').textContent === 'a token' && stream.state === 'live'")


def test_what_a_user_may_not_do_is_not_offered(guarded, visit):
    page = visit(guarded, broken=True)
    sign_in(page, "dev", "dev")
    page.wait_for(WELL)
    assert page.evaluate("document.querySelectorAll('.actions button, #operate button').length") == 0
    page.evaluate("location.hash = '#keys?prefix=svc/&key=svc/b'")
    page.wait_for("$('bytes').value === '2'")
    assert labels(page) == ["a", "b"]
    assert page.evaluate("[$('bytes').readOnly, $('save').disabled, $('delete').hidden]") == [
        True, True, True]
    page.evaluate("location.hash = '#keys?prefix=svc/&key=svc/a'")
    page.wait_for("$('bytes').value === '1' && !$('bytes').readOnly && !$('delete').hidden")
    edit(page, "changed")
    page.click("#save")
    wait_for(lambda: guarded.get("svc/a") == "changed", 10, "it is saved")


def test_one_who_may_not_see_the_cluster_sees_keys(guarded, visit):
    page = visit(guarded, "/ui#keys?prefix=svc/", broken=True)
    sign_in(page, "reader", "reader")
    page.wait_for("document.querySelectorAll('#tree button').length === 2")
    page.evaluate("location.hash = 'cluster'")
    page.wait_for("$('verdict-text').textContent.includes('permission status')")
    assert page.evaluate("$('new').hidden") is True


def test_credentials_that_end_are_asked_for_again(guarded, visit):
    page = visit(guarded, broken=True)
    sign_in(page, "dev", "dev")
    page.wait_for(WELL)
    change_rules(guarded, ROOT_TOKEN, user("dev", "other", "status"))
    page.wait_for("!$('login').hidden")
    sign_in(page, "dev", "other")
    page.wait_for(f"{WELL} && $('login').hidden")


def test_what_was_typed_outlives_the_credentials(guarded, visit):
    """It is kept for the same user alone, and nothing of it is in the document meanwhile."""
    rules = user("dev", "dev", "status", "read:svc/")
    page = visit(guarded, "/ui#keys?prefix=svc/&key=svc/a", broken=True)
    password = "pass w\u00f6rd"
    for name, after in (("op", "op"), ("op", "dev")):
        sign_in(page, name, password)
        page.wait_for("$('bytes').value === '1' && stream.state === 'live'")
        edit(page, "typed by op")
        password = "new" + after
        change_rules(guarded, ROOT_TOKEN, user("op", password, "all"), rules)
        page.wait_for("!$('login').hidden")
        # Nothing of it is in the document, typed or read.
        assert page.evaluate("""[$("bytes").value, $("key-name").textContent,
            $("tree").textContent, $("members").textContent, $("facts").textContent,
            $("meta").textContent].join("")""") == ""
        sign_in(page, after, password if after == "op" else "dev")
        page.wait_for("$('login').hidden && stream.state === 'live' && !$('value').hidden")
        if after == "op":
            assert page.evaluate("[$('bytes').value, isDirty()]") == ["typed by op", True]
            page.click("#save")
            wait_for(lambda: guarded.get("svc/a") == "typed by op", 10, "it is saved")
            guarded.put("svc/a", "1")
            page.wait_for("$('bytes').value === '1'")
            page.click("#sign")
            page.wait_for("$('user').textContent === 'not signed in'")
            assert page.evaluate("$('bytes').value") == ""
            page.click("#sign")
        else:
            page.wait_for("$('bytes').value === '1'")
            assert page.evaluate("[isDirty(), kept]") == [False, None]


def test_everybody_can_use_what_asks_and_warns(guarded, visit):
    page = visit(guarded, broken=True)
    page.wait_for("!$('login').hidden")
    check_accessibility(page)
    sign_in(page, "op", "pass w\u00f6rd")
    press_action(page, f"Remove: {guarded.name}")
    page.wait_for("$('ask').open")
    check_accessibility(page)
    page.press("Escape")
    open_key(page, "svc/a")
    page.evaluate("stream.stop()")
    guarded.put("svc/a", "theirs")
    for dark in (False, True):
        page.dark(dark)
        edit(page, "mine")
        page.click("#save")
        page.wait_for("!$('conflict').hidden")
        check_accessibility(page)
    page.evaluate("$('bytes').value = written")
