"""A node that founds a cluster where another one counts it as its member: the
founder that lost its directory and starts with its usual command line, which
has no -join."""
import http.server
import os
import threading
import time

import pytest

import netns
from cluster import BINARY, HOST, Cluster, Stopwatch, free_port, request, wait_for

CODE = "second-cluster"
ANYWAY = ["--bootstrap-anyway"]


def ready(node):
    return node.request("GET", "/readyz").status == 200


def stopped(node):
    """It knows that it is a second cluster, and its load balancer does."""
    answer = node.request("GET", "/readyz")
    return answer.status == 503 and "another cluster" in answer.body.decode()


def wipe(node):
    node.kill()
    node.wipe()
    return node


def refused(node, method, path, body=None):
    answer = node.request(method, path, body)
    assert answer.status == 503, (path, answer)
    problem = answer.json()
    assert problem["code"] == CODE and problem["outcome"] == "not-applied"
    assert "--join" in problem["message"], problem
    assert "--bootstrap-anyway" in problem["message"], problem
    return True


def orphan_of(cluster, count=3):
    """A cluster whose founder was wiped and started again as it always is."""
    cluster.start(count)
    assert cluster[0].put("before", "1").status == 200
    assert cluster[0].join is None
    wipe(cluster[0]).start().up()
    wait_for(lambda: stopped(cluster[0]), 15, "the orphan is stopped")
    return cluster[0]


# ---- the orphan ----

def test_a_wiped_founder_takes_no_writes(cluster):
    orphan = orphan_of(cluster)
    refused(orphan, "POST", "/key", {"lost": "1"})
    refused(orphan, "PUT", "/key/lost", "1")
    refused(orphan, "DELETE", "/key/before")
    refused(orphan, "POST", "/txn", {"then": [{"put": "lost", "value": "1"}]})
    backup = orphan.request("GET", "/backup?level=none").body
    refused(orphan, "POST", "/restore", backup)
    # A missing key may exist in the other cluster: only a read of this node's own
    # state may answer "not found".
    for level in ("", "?level=strong", "?level=weak", "?level=auto"):
        refused(orphan, "GET", "/key/before" + level)
    assert orphan.get("before", "none") is None
    # No node may join, or it would count as established.
    refused(orphan, "POST", "/join", {"id": "more", "addr": "localhost:1"})
    assert orphan.request("GET", "/health").status == 503
    assert orphan.request("GET", "/livez").status == 200
    hint = " ".join(orphan.status()["hints"])
    assert "another cluster" in hint and "--join" in hint, hint
    assert cluster[1].http in hint or cluster[2].http in hint, hint
    assert "error" in [line.split()[1] for line in orphan.log().splitlines()
                       if "second-cluster" in line], orphan.log()
    # The other cluster has a name for it as well.
    hints = wait_for(lambda: [hint for hint in cluster[1].status()["hints"]
                              if "belongs to another cluster" in hint], 15, "a hint")
    assert orphan.raft in hints[0] and orphan.name in hints[0], hints
    assert cluster[1].put("on", "1").status == 200


def test_an_orphan_stays_one_when_it_starts_again(cluster):
    """It needs no second greeting, since a write may come before that."""
    orphan = orphan_of(cluster)
    for node in cluster.others(orphan):
        node.kill()
    orphan.kill()
    orphan.start().up()
    assert stopped(orphan)
    refused(orphan, "PUT", "/key/lost", "1")
    assert CODE in orphan.log().splitlines()[-1] or CODE in orphan.log()


def test_an_orphan_keeps_its_data_and_the_operator_may_want_it(cluster):
    """Writes before the first HELLO of the other cluster are kept, and the flag
    confirms this cluster."""
    cluster.start(2)
    first, second = cluster
    second.kill()
    wipe(first).start().up()
    wait_for(lambda: first.put("mine", "1").status == 200, 10, "a write")
    second.start().up()
    wait_for(lambda: stopped(first), 15, "the orphan is stopped")
    assert first.get("mine", "none") == "1"
    assert first.request("GET", "/backup?level=none").status == 200
    assert first.terminate() == 0
    first.args = ANYWAY
    first.start().up()
    wait_for(lambda: ready(first), 10, "it is ready")
    assert first.get("mine") == "1"
    # It is greeted all the while.
    refusals = first.log().count("peer-refused")
    wait_for(lambda: first.log().count("peer-refused") > refusals, 15, "a greeting")
    assert ready(first) and first.put("mine", "2").status == 200
    second.kill()
    assert first.terminate() == 0
    first.args = []
    first.start().up()
    wait_for(lambda: ready(first), 10, "nothing is remembered against it")


def test_an_orphan_that_is_emptied_joins_the_cluster(cluster):
    orphan = orphan_of(cluster)
    orphan.join = f"{cluster[1].http},{cluster[2].http}"
    wipe(orphan).start().up()
    cluster.wait_members(3)
    cluster.wait_same()
    assert orphan.get("before") == "1"


def test_behind_a_balancer_nothing_is_written_to_an_orphan(cluster):
    """A balancer that asks /readyz sends requests to whoever is ready. Before
    the first greeting an orphan on loopback is; from then on every acknowledged
    write is in the one cluster."""
    orphan = orphan_of(cluster)
    acked = {}
    for number in range(12):
        backends = [node for node in cluster if ready(node)]
        node = backends[number % len(backends)]
        assert node is not orphan
        key = f"key{number}"
        if node.put(key, "v").status == 200:
            acked[key] = "v"
    assert len(acked) == 12
    for key in acked:
        assert cluster[1].get(key) == "v"


def test_every_member_that_forgot_its_join_is_an_orphan(cluster):
    """Not only the founder: the kind is an empty directory without -join."""
    cluster.start(3)
    node = cluster[2]
    node.join = None
    wipe(node).start().up()
    wait_for(lambda: stopped(node), 15, "it is stopped")
    refused(node, "PUT", "/key/lost", "1")


def test_another_name_at_the_same_address_is_an_orphan_too(cluster):
    cluster.start(3)
    node = cluster[0]
    wipe(node)
    node.start([BINARY, "-id", "another", "-haddr", node.http, "-raddr", node.raft,
                node.dir]).up()
    wait_for(lambda: stopped(node), 15, "it is stopped")


# ---- who is no orphan ----

UUID = "11" * 16  # No node has a directory with it.


def test_a_greeting_does_not_stop_a_cluster_of_two(cluster):
    """Anybody can greet; an established cluster goes on."""
    cluster.start(2)
    stranger = cluster.new("stranger").start().up()
    wait_for(lambda: stranger.put("x", "1").status == 200, 10, "a leader")
    for node in cluster.nodes[:2]:
        assert stranger.request("POST", "/join", {
            "id": node.name, "addr": node.raft, "uuid": UUID}).status == 200
        wait_for(lambda n=node: "stranger" in n.log(), 15, "a greeting")
        time.sleep(0.2)
        assert ready(node)
        assert node.put("on", "1").status == 200
        assert stranger.request("DELETE", f"/nodes/{node.name}").status == 200


def test_a_recovered_cluster_is_wanted(cluster, tmp_path):
    """craftd recover says in so many words that the old one is lost."""
    cluster.start(3)
    assert cluster[0].put("kept", "1").status == 200
    cluster.wait_same()
    survivor = cluster[0]
    cluster[2].kill()
    assert survivor.terminate() == 0
    done = survivor.start([BINARY, "recover", *survivor.argv()[1:]]).wait_exit()
    assert done == 0, survivor.log()
    survivor.start().up()
    wait_for(lambda: "node1" in survivor.log().rsplit("recovered", 1)[-1] and
             "peer-refused" in survivor.log(), 15, "a greeting by the old cluster")
    assert ready(survivor)
    assert survivor.put("on", "1").status == 200


# ---- before it founds ----

@netns.inside
def test_on_a_network_an_empty_directory_listens_before_it_founds(network, tmp_path):
    """Nothing is ever acknowledged by the second cluster, which never is."""
    network.start(2)
    founder = network[0]
    assert founder.put("before", "1").status == 200
    wipe(founder).start().up()
    assert not ready(founder)
    wait_for(lambda: stopped(founder), 15, "it has heard the other cluster")
    refused(founder, "PUT", "/key/lost", "1")
    refused(founder, "GET", "/key/before")
    assert founder.status()["cluster"] == "0" * 32
    assert not os.path.exists(os.path.join(founder.dir, "IDENT"))
    assert "bootstrap id=" not in founder.log().rsplit("start version=", 1)[-1]
    # It does not forget, though nobody greets it this time.
    network[1].kill()
    founder.kill()
    founder.start().up()
    assert stopped(founder)
    time.sleep(5)
    assert stopped(founder)
    founder.kill()
    founder.args = ANYWAY
    founder.start().up()
    wait_for(lambda: founder.put("new", "1").status == 200, 10, "a cluster")


@netns.inside
def test_on_a_network_the_first_node_of_all_founds_a_cluster(network, tmp_path):
    node = network.new().start().up()
    assert not ready(node)
    assert "listens" in node.request("GET", "/readyz").body.decode()
    assert wait_for(lambda: node.put("first", "1").status == 200, 10, "a cluster")
    node.kill()
    node.start()
    watch = Stopwatch(node)
    node.up()
    wait_for(lambda: ready(node), 10, "ready")
    assert watch.seconds() < 3.5, "only a new directory waits"


def test_on_loopback_the_start_is_fast(cluster):
    node = cluster.new().start()
    watch = Stopwatch(node)
    node.up()
    wait_for(lambda: node.put("first", "1").status == 200, 10, "a write")
    assert watch.seconds() < 1.5
    assert "listens" not in node.log()


# ---- directories that wait to join ----

def test_a_directory_that_waited_to_join_never_founds(cluster):
    """Started with -join once and not adopted; then the flag is forgotten. It
    goes on asking the same members."""
    cluster.start(1)
    first = cluster[0]
    first.kill()
    node = cluster.add(first.http).up()
    wait_for(lambda: "join-retry" in node.log(), 10, "it asks")
    node.kill()
    node.join = None
    node.start().up()
    assert not ready(node)
    assert not os.path.exists(os.path.join(node.dir, "IDENT"))
    wait_for(lambda: node.log().count("join-retry") > 1, 10, "it asks again")
    first.start().up()
    cluster.wait_members(2)
    assert node.status()["cluster"] == first.status()["cluster"]


def test_a_directory_of_an_older_build_that_waits_says_that_it_needs_join(cluster):
    """Those did not write down whom they asked."""
    node = cluster.add("localhost:1").up()
    node.kill()
    os.unlink(os.path.join(node.dir, "JOIN"))
    node.join = None
    node.start()
    assert node.wait_exit() != 0
    assert "--join" in node.log()
    assert not os.path.exists(os.path.join(node.dir, "IDENT"))


# ---- every node with -join ----

def test_a_founder_with_itself_in_its_list_is_harmless(cluster):
    """The same list everywhere, once the cluster stands: the founder restarts
    with it, and a founder that was wiped comes back as a member."""
    cluster.start(3)
    everybody = ",".join(node.http for node in cluster)
    for node in cluster:
        assert node.terminate() == 0
        node.join = everybody
        node.start().up()
        cluster.wait_members(3)
    assert cluster[1].put("k", "1").status == 200
    founder = cluster[0]
    wipe(founder).start().up()
    cluster.wait_members(3)
    cluster.wait_same()
    assert founder.get("k") == "1"
    assert f"target={founder.http}" not in founder.log()


def test_nodes_that_all_wait_for_each_other_say_so(tmp_path):
    """One and the same -join list on all of three new nodes: nobody founds, the
    answers come at once, and the sentence says what to do."""
    nodes = Cluster(tmp_path)
    try:
        for _ in range(3):
            nodes.new()
        for node in nodes:
            node.join = ",".join(other.http for other in nodes)
            node.start()
        for node in nodes:
            node.up()
        watch = Stopwatch(nodes[0])
        answer = nodes[0].request("POST", "/join", {"id": "x", "addr": "localhost:1"})
        assert watch.seconds() < 2
        assert answer.status == 503 and answer.json()["code"] == "starting"
        sentence = "start one node without --join"
        for node in nodes:
            wait_for(lambda n=node: sentence in n.log(), 10, "a sentence")
            assert f"target={node.http}" not in node.log()
            assert any(sentence in hint for hint in node.status()["hints"])
    finally:
        nodes.stop()


# ---- who may adopt a node that joins ----

def uuid_of(node):
    """The uuid of a directory that waits to join, as in its requests."""
    with open(os.path.join(node.dir, "UUID"), "rb") as f:
        return f.read(16).hex()


def stranger_of(cluster):
    node = cluster.new("stranger").start().up()
    wait_for(lambda: node.put("x", "1").status == 200, 10, "a leader")
    return node


def test_a_stranger_does_not_adopt_a_node_that_joins(cluster):
    """The first HELLO with its name did, whoever sent it."""
    first, stranger = cluster.new(), stranger_of(cluster)
    node = cluster.add(first.http).up()
    for directory in ({}, {"uuid": UUID}):
        assert stranger.request("POST", "/join", {
            "id": node.name, "addr": node.raft, **directory}).status == 200
        wait_for(lambda: "adopt from=stranger" in node.log().splitlines()[-1] or
                 node.log().count("adopt from=stranger") > 0, 15, "a greeting")
        time.sleep(0.5)
        assert node.status()["cluster"] == "0" * 32
        assert stranger.request("DELETE", f"/nodes/{node.name}").status == 200
        node.kill()
        os.truncate(node.log_path, 0)
        node.start().up()
    first.start().up()
    wait_for(lambda: node.status()["cluster"] == first.status()["cluster"], 15,
             "the cluster that was asked adopts it")


def test_only_the_cluster_that_answered_adopts(cluster):
    """Another one that knows the directory, for it was asked as well, or has
    overheard it, does not."""
    first, stranger = cluster.new().start().up(), stranger_of(cluster)
    wait_for(lambda: first.put("y", "1").status == 200, 10, "a leader")
    node = cluster.new(args=["--raft-adv", f"{HOST}:{free_port()}"])
    node.join = first.http
    node.start().up()
    wait_for(lambda: "outcome=accepted" in node.log(), 10, "an answer")
    assert stranger.request("POST", "/join", {
        "id": node.name, "addr": node.raft, "uuid": uuid_of(node)}).status == 200
    wait_for(lambda: "another cluster has answered --join" in node.log(), 15,
             "it is refused")
    assert node.status()["cluster"] == "0" * 32


def test_an_older_cluster_adopts_by_the_directory_alone(cluster):
    """Nodes of the build before answer POST /join without Craftd-Cluster."""
    first, stranger = cluster.new().start().up(), stranger_of(cluster)
    wait_for(lambda: first.put("y", "1").status == 200, 10, "a leader")

    class Bare(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = request(first.http_port, "POST", self.path, body)
            self.send_response(answer.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((HOST, 0), Bare)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        node = cluster.add(f"{HOST}:{server.server_port}")
        node.up()
        stranger.request("POST", "/join", {"id": node.name, "addr": node.raft})
        wait_for(lambda: node.status()["cluster"] == first.status()["cluster"], 15,
                 "it is adopted")
    finally:
        server.shutdown()


def test_the_answer_to_a_join_may_come_in_chunks(cluster):
    """As a proxy passes it on. Each chunk ends where it likes, and an answer
    without a length ends with its connection."""
    problem = b'{"code":"starting","message":"it waits to join a cluster"}'

    class Chunked(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503)
            if self.server.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in (problem[:15], problem[15:]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece)
                                 if self.server.chunked else piece)
                time.sleep(0.1)
            if self.server.chunked:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_):
            pass

    for chunked in (True, False):
        server = http.server.ThreadingHTTPServer((HOST, 0), Chunked)
        server.chunked = chunked
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            node = cluster.add(f"{HOST}:{server.server_port}").up()
            wait_for(lambda: 'why="503 it waits to join a cluster"' in node.log(),
                     10, f"the whole message ({chunked=})")
            wait_for(lambda: "all of these nodes wait to join" in node.log(), 5,
                     "what the code means")
        finally:
            server.shutdown()


# ---- words for what is in the way ----

def test_an_address_that_nobody_reaches_is_named(cluster):
    """The newcomer logged "accepted" every two seconds."""
    cluster.start(1)
    port = free_port()
    node = cluster.new(args=["--raft-adv", f"{HOST}:{port}"])
    node.join = cluster[0].http
    node.start().up()
    sentence = f"cannot reach it at {HOST}:{port} (--raft-adv"
    wait_for(lambda: sentence in node.log(), 15, "a sentence")
    assert any(sentence in hint for hint in node.status()["hints"])
    time.sleep(5)
    assert node.log().count(sentence) == 1 and node.log().count("accepted") <= 3
    answer = cluster[0].request("POST", "/join", {
        "id": node.name, "addr": f"{HOST}:{port}", "uuid": uuid_of(node),
        "voter": True})
    assert answer.status == 200 and answer.body == b""
    assert answer.headers["Craftd-Unreached"] == f"{HOST}:{port}"
    assert answer.headers["Craftd-Cluster"] == cluster[0].status()["cluster"]


def test_a_raft_port_in_join_says_that_it_is_one(cluster):
    cluster.start(1)
    first = cluster[0]
    node = cluster.add(first.raft).up()
    wait_for(lambda: "Raft port" in node.log(), 10, "a sentence")
    assert "HTTP address" in node.log()
    answer = request(first.raft_port, "GET", "/status")
    assert answer.status == 400 and "Raft port" in answer.json()["message"]
    assert "peer-garbage" not in first.log()


@pytest.mark.parametrize("form", ["http://{}", "http://{}/", "HTTP://{}"])
def test_a_url_in_join_is_taken(cluster, form):
    cluster.start(1)
    cluster.add(form.format(cluster[0].http) + "," + cluster[0].http)
    cluster.wait_members(2)


def test_a_bare_port_in_join_is_an_address_here(cluster):
    """As README has it: -join :11000. Nodes of the build before put that into
    Host as well."""
    cluster.start(1)
    cluster.add(f":{cluster[0].http_port}")
    cluster.wait_members(2)
    body = f'{{"id":"x","addr":"{HOST}:{free_port()}"}}'
    answer = cluster[0].request("POST", "/join", body, {
        "Host": f":{cluster[0].http_port}"})
    assert answer.status == 200, answer


@pytest.mark.parametrize("kind", ["inmem", "restored"])
def test_every_way_to_found_again_is_seen(cluster, kind):
    """A founder in memory is wiped by every restart; one that is restored from a
    backup has data, and is a second cluster all the same."""
    cluster.start(2)
    first = cluster[0]
    assert first.put("old", "1").status == 200
    backup = os.path.join(str(cluster.base), "backup.db")
    with open(backup, "wb") as f:
        f.write(first.request("GET", "/backup").body)
    wipe(first)
    if kind == "inmem":
        first.inmem = True
    else:
        done = first.start([BINARY, "restore", backup, *first.argv()[1:]]).wait_exit()
        assert done == 0, first.log()
    first.start().up()
    wait_for(lambda: stopped(first), 15, "it is stopped")
    refused(first, "PUT", "/key/lost", "1")
    if kind == "restored":
        assert first.get("old", "none") == "1"
