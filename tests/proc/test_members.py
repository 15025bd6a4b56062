"""Membership: names and addresses that another member has, members that are
removed, and requests whose leader goes away meanwhile."""
import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import time

import pytest

from cluster import HOST, TROUBLE, Node, Stopwatch, free_port, wait_for
from fake_peer import Peer, frame

FAST = ["--election", "300ms", "--heartbeat", "50ms"]


def problem(response, status, code):
    assert response.status == status, response
    assert response.json()["code"] == code, response
    return response.json()["message"]


def rows(node):
    return {row["id"]: row for row in node.request("GET", "/nodes").json()}


def hinted(node, *texts):
    hints = node.status()["hints"]
    return any(all(text in hint for text in texts) for hint in hints)


@pytest.fixture
def copy_of(cluster):
    """Nodes with the command line of another, but for addresses and directory."""
    copies = []

    def make(node):
        copy = Node(cluster.base, node.name + ".copy", node.args)
        copy.name = node.name
        copy.join = ",".join(other.http for other in cluster.others(node))
        copies.append(copy)
        return copy
    yield make
    for copy in copies:
        if copy.proc:
            copy.kill()


# ---- names ----

def test_a_copied_name_ends_while_its_member_lives(cluster, copy_of):
    cluster.start(3)
    leader = cluster.wait_leader()
    member = cluster.others(leader)[0]
    before = rows(leader)[member.name]
    copy = copy_of(member).start()
    wait_for(lambda: hinted(leader, copy.raft, f"as {member.name}, which is alive"), 5,
             "the leader hints")
    assert copy.wait_exit(25) == 3
    assert "live member" in copy.log()
    assert rows(leader)[member.name]["number"] == before["number"]
    assert rows(leader)[member.name]["address"] == member.raft


def test_a_copied_name_does_not_replace_a_member_that_reboots(cluster, copy_of):
    """Away for longer than an election, and not for long: it comes back as the
    member that it was."""
    cluster.start(3)
    leader = cluster.wait_leader()
    member = cluster.others(leader)[0]
    number = rows(leader)[member.name]["number"]
    copy = copy_of(member).start().up()
    member.kill()
    end = time.monotonic() + 6
    wait_for(lambda: hinted(leader, copy.raft, member.name, "is silent"), 6, "a hint")
    message = problem(leader.request("POST", "/join", {
        "id": member.name, "addr": copy.raft, "uuid": "1" * 32}), 409, "member-silent")
    assert "DELETE /nodes/" + member.name in message
    time.sleep(max(0, end - time.monotonic()))
    assert rows(leader)[member.name]["number"] == number
    member.start().up()
    cluster.wait_members(3)
    assert rows(leader)[member.name]["number"] == number
    assert copy.wait_exit(25) == 3


def test_a_request_without_a_directory_moves_no_member(cluster):
    """Whoever knows a name could send the cluster elsewhere with it."""
    cluster.start(3, args=FAST)
    leader = cluster.wait_leader()
    member = cluster.others(leader)[0]
    elsewhere = f"127.0.0.1:{free_port()}"
    assert leader.request("POST", "/join", {
        "id": member.name, "addr": elsewhere}).status == 200  # It is here: nothing changes.
    assert rows(leader)[member.name]["address"] == member.raft
    member.kill()
    wait_for(lambda: not rows(leader)[member.name]["reachable"], 10, "it is down")

    def refused():
        answer = leader.request("POST", "/join", {"id": member.name, "addr": elsewhere})
        return answer if answer.status == 409 else None
    answer = wait_for(refused, 5, "a refusal")
    assert answer.json()["code"] in ("member-silent", "exists")
    assert rows(leader)[member.name]["address"] == member.raft
    assert leader.request("POST", "/join", {
        "id": member.name, "addr": member.raft}).status == 200
    member.start().up()
    cluster.wait_members(3)


def test_a_member_that_stays_away_is_replaced(cluster, copy_of):
    cluster.start(3, args=FAST + ["--replace-after", "3s"])
    leader = cluster.wait_leader()
    member = cluster.others(leader)[0]
    number = rows(leader)[member.name]["number"]
    member.kill()
    killed = time.monotonic()
    copy = copy_of(member).start().up()
    wait_for(lambda: rows(leader).get(member.name, {}).get("address") == copy.raft, 15,
             "replaced")
    assert time.monotonic() - killed > 2.5
    assert rows(leader)[member.name]["number"] > number
    wait_for(lambda: rows(leader)[member.name]["role"] == "voter", 10, "it votes")


def test_a_removed_name_is_free_at_once(cluster, copy_of):
    cluster.start(3, args=FAST)
    leader = cluster.wait_leader()
    member = cluster.others(leader)[0]
    member.kill()
    copy = copy_of(member).start().up()
    wait_for(lambda: hinted(leader, copy.raft, "is silent"), 6, "it waits")
    assert leader.request("DELETE", "/nodes/" + member.name).status == 200
    wait_for(lambda: rows(leader).get(member.name, {}).get("address") == copy.raft, 10,
             "it joins")


def test_a_lost_disk_is_back_at_once(cluster):
    """At its own address nobody waits for longer than an election takes."""
    cluster.start(3)
    leader = cluster.wait_leader()
    member = cluster.others(leader)[0]
    number = rows(leader)[member.name]["number"]
    member.kill()
    member.wipe()
    member.start()
    watch = Stopwatch(*cluster)
    member.up()
    wait_for(lambda: rows(leader).get(member.name, {"number": 0})["number"] > number, 15,
             "replaced")
    assert watch.seconds() < 6
    cluster.wait_members(3)


# ---- addresses ----

def test_an_address_is_no_reason_to_replace(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    member, other = cluster.others(leader)
    number = rows(leader)[member.name]["number"]
    stranger = {"id": "stranger", "addr": member.raft}
    for node in (leader, other):
        for body in (stranger, dict(stranger, replace=True)):
            message = problem(node.request("POST", "/join", body), 409, "exists")
            assert member.name in message
    member.kill()
    # As soon as the leader counts it as silent.
    wait_for(lambda: leader.request("POST", "/join", stranger).json()["code"] ==
             "address-taken", 10, "it is silent")
    for node in (leader, other):
        for body in (stranger, dict(stranger, replace=False)):
            message = problem(node.request("POST", "/join", body), 409, "address-taken")
            assert member.name in message and '"replace":true' in message
    assert hinted(leader, f"{member.raft} wants to join as stranger", member.name)
    assert rows(leader)[member.name]["number"] == number
    # With "replace", through a follower as well.
    assert other.request("POST", "/join", dict(stranger, replace=True)).status == 200
    wait_for(lambda: sorted(rows(leader)) == sorted([leader.name, other.name, "stranger"]),
             10, "replaced")


def test_unreached_members_are_limited(cluster):
    cluster.start(2)
    leader = cluster.wait_leader()
    follower = cluster.others(leader)[0]
    ghosts = [{"id": f"ghost-{i}", "addr": f"127.0.0.1:{free_port()}"} for i in range(5)]
    for ghost in ghosts[:4]:
        assert leader.request("POST", "/join", ghost).status == 200
    for node in (leader, follower):
        assert "remove" in problem(node.request("POST", "/join", ghosts[4]), 409,
                                   "unreached-members")
        # A member that exists already is not another one.
        assert node.request("POST", "/join", ghosts[0]).status == 200
    # A node that can be reached does not wait for their removal.
    assert leader.request("DELETE", "/nodes/ghost-0").status == 200
    cluster.add(leader.http)
    wait_for(lambda: rows(leader).get("node2", {}).get("role") == "voter", 10, "joined")
    assert leader.request("POST", "/join", ghosts[4]).status == 200


def test_a_lost_disk_rejoins_a_cluster_with_unreached_members(cluster):
    """Its former self is removed first: a refusal then would leave none."""
    cluster.start(3)
    leader = cluster.wait_leader()
    member = cluster.others(leader)[0]
    number = rows(leader)[member.name]["number"]
    for i in range(4):
        ghost = {"id": f"ghost-{i}", "addr": f"127.0.0.1:{free_port()}"}
        assert leader.request("POST", "/join", ghost).status == 200
    member.kill()
    member.wipe()
    member.join = leader.http
    member.start().up()
    wait_for(lambda: rows(leader).get(member.name, {"number": 0})["number"] > number
             and rows(leader)[member.name]["role"] == "voter", 15, "back")
    # It has taken no place of theirs.
    other = {"id": "other", "addr": f"127.0.0.1:{free_port()}"}
    problem(leader.request("POST", "/join", other), 409, "unreached-members")


@pytest.mark.parametrize("body", [
    '{"id":"a","id":"a","addr":"h:1"}',
    '{"id":"a","addr":"h:1","addr":"h:1"}',
    '{"id":"a","addr":"h:1","http":"h:2","http":""}',
    '{"id":"a","addr":"h:1","voter":true,"voter":false}',
    '{"id":"a","addr":"h:1","replace":false,"replace":true}',
    '{"id":"a","addr":"h:1","uuid":"%s","uuid":"%s"}' % ("0" * 32, "1" * 32),
    '{"id":"a","addr":"h:1","cluster":"%s","cluster":"%s"}' % ("0" * 32, "1" * 32),
])
def test_duplicate_members_of_a_request_are_refused(three, body):
    response = three[0].request("POST", "/join", body)
    assert "twice" in problem(response, 400, "bad-json")
    assert len(rows(three[0])) == 3


# ---- requests whose leader goes away ----

def test_the_leader_is_removed_through_another(cluster):
    """It is done within milliseconds, and so is the answer."""
    cluster.start(5, args=FAST)
    for _ in range(2):
        leader = cluster.wait_leader()
        through = cluster.others(leader)[0]
        response = through.request("DELETE", "/nodes/" + leader.name)
        assert response.status == 200, response
        assert leader.name not in rows(through)
        cluster.nodes.remove(leader)
        leader.kill()
        cluster.wait_members(len(cluster))
    assert cluster.wait_leader().put("after", "1").status == 200


@pytest.mark.parametrize("count", [2, 3])
def test_a_member_is_removed_through_itself(cluster, count):
    cluster.start(count, args=FAST)
    leader = cluster.wait_leader()
    leaver = cluster.others(leader)[0]
    response = leaver.request("DELETE", "/nodes/" + leaver.name)
    assert response.status == 200, response
    wait_for(lambda: leaver.name not in rows(leader), 5, "removed")


def test_the_leader_of_two_is_removed_through_the_other(cluster):
    cluster.start(2, args=FAST)
    leader = cluster.wait_leader()
    other = cluster.others(leader)[0]
    response = other.request("DELETE", "/remove", {"id": leader.name})
    assert response.status == 200, response
    wait_for(lambda: other.put("alone", "1").status == 200, 10, "it goes on alone")


class Forwarded(concurrent.futures.ThreadPoolExecutor):
    """Requests to a follower, which forwards all of them."""

    def __init__(self, follower):
        super().__init__(64)
        self.follower = follower
        self.before = follower.metric("craftd_http_forwarded_total")
        self.answers = []

    def submit(self, *args, **kw):
        self.answers.append(super().submit(*args, **kw))
        return self.answers[-1]

    def wait(self):
        """On a machine that is busy another node may lead already, and answer them."""
        wait_for(lambda: self.follower.metric("craftd_http_forwarded_total")
                 >= self.before + len(self.answers)
                 or all(answer.done() for answer in self.answers),
                 10, "they are forwarded")


@contextlib.contextmanager
def dying_leader(cluster):
    """Requests are sent to a follower, whose leader dies before it reads them."""
    leader = cluster.wait_leader()
    cluster.wait_same()
    follower = cluster.others(leader)[0]
    with Forwarded(follower) as pool:
        leader.send(signal.SIGSTOP)
        yield leader, follower, pool
        pool.wait()
        leader.kill()


def test_changes_are_made_though_their_leader_dies(cluster):
    """The answer of the next leader is the answer to both."""
    cluster.start(5, args=FAST)
    ghost = {"id": "ghost", "addr": f"127.0.0.1:{free_port()}", "voter": False}
    with dying_leader(cluster) as (leader, follower, pool):
        second, third = [n for n in cluster if n not in (leader, follower)][:2]
        answers = [pool.submit(follower.request, *what) for what in (
            ("DELETE", "/nodes/" + second.name),
            ("DELETE", "/nodes/" + second.name),  # One of them finds it gone.
            ("PUT", "/nodes/" + third.name, {"voter": False}),
            ("POST", "/join", ghost))]
    assert [a.result().status for a in answers] == [200] * 4, [a.result() for a in answers]
    now = rows(follower)
    assert second.name not in now and "ghost" in now
    assert now[third.name]["role"] == "non-voter"


@pytest.mark.parametrize("named", [False, True])
def test_leadership_moves_though_the_leader_dies(cluster, named):
    cluster.start(3, args=FAST)
    with dying_leader(cluster) as (leader, follower, pool):
        body = {"id": follower.name} if named else None
        answer = pool.submit(follower.request, "POST", "/leader", body)
    answer = answer.result()
    assert answer.status == 200, answer
    if named:
        assert answer.json()["id"] == follower.name
    else:
        assert answer.json()["id"] != leader.name


def incr(node, key=None, timeout="20s"):
    headers = {"Idempotency-Key": key} if key else {}
    return node.request("POST", "/txn?timeout=" + timeout,
                        {"then": [{"incr": "n", "by": 1}]}, headers, timeout=30)


def test_a_named_write_goes_to_the_next_leader(cluster):
    """It is done once, whoever answers; one without a name is not sent again.
    The election takes longer than it takes to forward all of them."""
    cluster.start(3, args=["--election", "2s"])
    with dying_leader(cluster) as (_, follower, pool):
        named = [pool.submit(incr, follower, f"key-{i}") for i in range(20)]
        plain = [pool.submit(incr, follower) for i in range(5)]
    assert [answer.result().status for answer in named] == [200] * 20
    for answer in plain:
        assert problem(answer.result(), 504, "commit-timeout") and (
            answer.result().json()["outcome"] == "unknown")
    assert follower.get("n") == "20"


def test_named_writes_in_flight_are_done_once(cluster):
    """As the leader is killed in the midst of them: each is answered, none counts
    twice."""
    cluster.start(3, args=FAST)
    done = 0
    for burst in range(3):
        leader = cluster.wait_leader()
        follower = cluster.others(leader)[0]
        stop = time.monotonic() + 1.5
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            def work(worker, burst=burst, follower=follower, stop=stop):
                count = 0
                while time.monotonic() < stop:
                    response = incr(follower, f"{burst}-{worker}-{count}")
                    assert response.status == 200, response
                    count += 1
                return count
            workers = [pool.submit(work, worker) for worker in range(40)]
            time.sleep(0.5)
            leader.kill()
            done += sum(worker.result() for worker in workers)
        leader.start()
        cluster.wait_members(3)
        assert follower.get("n") == str(done)


def flood(node, count):
    """So many writes, on one connection."""
    body = b'{"flood":"1"}'
    with socket.create_connection((HOST, node.http_port), 60) as s:
        s.sendall(b"POST /key HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" %
                  (len(body), body) * count)
        answers, rest = 0, b""
        while answers < count:
            piece = s.recv(1 << 16)
            assert piece
            rest += piece
            answers += rest.count(b"HTTP/1.1 200")
            rest = rest[rest.rfind(b"HTTP/1.1 200") + 12:]


def test_a_named_write_is_not_repeated_when_its_answer_may_be_forgotten(cluster):
    """So many writes came between that the cluster need not know it any more."""
    cluster.start(5, args=FAST)
    leader = cluster.wait_leader()
    follower = cluster.others(leader)[0]
    with Forwarded(follower) as pool:
        leader.send(signal.SIGSTOP)
        answer = pool.submit(incr, follower, "old", "60s")
        pool.wait()
        follower.send(signal.SIGSTOP)
        leader.kill()
        rest = [n for n in cluster if n not in (leader, follower)]
        wait_for(lambda: rest[0].put("next", "1", timeout=5).status == 200, 20, "a leader")
        with concurrent.futures.ThreadPoolExecutor(8) as floods:
            list(floods.map(lambda _: flood(rest[0], 650), range(8)))
        follower.send(signal.SIGCONT)
        answer = answer.result()
    problem(answer, 504, "commit-timeout")
    assert answer.json()["outcome"] == "unknown"
    assert rest[0].get("n") is None


# ---- members that are removed ----

def test_a_removed_leader_answers_and_stops_at_once(cluster):
    """Its clients write, and read, while it is removed: none waits for a leader
    that will not come, and what it took is decided."""
    cluster.start(3)
    leader = cluster.wait_leader()
    other = cluster.others(leader)[0]
    until = time.monotonic() + 2
    answers = []

    def work(name):
        count = 0
        while time.monotonic() < until:
            watch = Stopwatch(*cluster)
            try:
                response = (leader.put(f"{name}-{count}", "1") if name % 2 else
                            leader.request("GET", "/key/1-0"))
            except TROUBLE:
                return  # It has stopped.
            answers.append((response.status, watch.seconds()))
            count += 1
            if response.status == 503:
                time.sleep(0.05)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        workers = [pool.submit(work, name) for name in range(16)]
        time.sleep(0.5)
        assert other.request("DELETE", "/nodes/" + leader.name).status == 200
        time.sleep(0.7)
        watch = Stopwatch(leader)
        assert leader.terminate() in (0, 3)
        took = watch.seconds()
        for worker in workers:
            worker.result()
    assert took < 0.5
    assert {status for status, _ in answers} <= {200, 404, 503}
    assert max(seconds for _, seconds in answers) < 1


REMOVED = r"removed from its cluster at index \d+: empty the directory to join anew"


def says_removed(node):
    """It is logged, /readyz and the only hint say it, and nothing else."""
    ready = node.request("GET", "/readyz")
    hints = node.hints()
    return (ready.status == 503 and re.search(r"\[-\]node " + REMOVED, ready.body.decode())
            and len(hints) == 1 and re.fullmatch(REMOVED, hints[0])
            and node.name not in rows(node)
            and re.search("error .* removed index=", node.log()))


@pytest.mark.parametrize("who", ["leader", "follower", "founder"])
def test_a_removed_member_knows(cluster, who):
    cluster.start(3)
    leader = cluster.wait_leader()
    removed = {"leader": leader, "follower": cluster.others(leader)[0],
               "founder": cluster[0]}[who]
    other = cluster.others(removed)[0]
    watch = Stopwatch(*cluster)
    assert other.request("DELETE", "/nodes/" + removed.name).status == 200
    wait_for(lambda: says_removed(removed), 5, "it says so")
    assert watch.seconds() < 1
    # Its clients do not wait for a leader.
    for method, path, body in (("GET", "/key/a", None), ("POST", "/key", {"a": "1"})):
        response = wait_for(lambda m=method, p=path, b=body: (
            lambda r: r.status == 503 and r)(removed.request(m, p, b)), 3, "503")
        assert re.search(REMOVED, problem(response, 503, "no-leader"))
    watch = Stopwatch(removed)
    assert removed.request("GET", "/key/a").status == 503
    assert watch.seconds() < 0.5
    if not removed.join:
        time.sleep(6)
        assert removed.terminate() == 0
        removed.start().up()  # It knows after a restart too.
        wait_for(lambda: says_removed(removed), 5, "it says so again")
    else:
        assert removed.wait_exit(10) == 3


@pytest.mark.parametrize("moved", [False, True])
def test_a_member_that_was_removed_while_it_was_down_learns_of_it(cluster, moved):
    """By the members, or, when it knows none of their addresses, by the answer to
    its --join."""
    cluster.start(3, args=FAST)
    leader = cluster.wait_leader()
    removed = [n for n in cluster.others(leader) if n is not cluster[0]][0]
    removed.kill()
    wait_for(lambda: leader.request("DELETE", "/nodes/" + removed.name).status == 200, 5,
             "removed")
    rest = cluster.others(removed)
    if moved:
        for node in rest:
            node.terminate()
            node.raft_port = free_port()
        rest[0].join, rest[1].join = rest[1].http, rest[0].http
        for node in rest:
            node.start()
        wait_for(lambda: all(rows(n)[o.name]["address"] == o.raft
                             for n in rest for o in rest), 20, "they have moved")
    removed.join = ",".join(node.http for node in rest)
    removed.start().up()
    wait_for(lambda: says_removed(removed), 8, "it says so")
    assert removed.wait_exit(10) == 3
    removed.wipe()
    removed.start()
    wait_for(lambda: rows(rest[0]).get(removed.name, {}).get("role") == "voter", 15,
             "it has joined anew")


def test_strangers_cannot_report_a_member_as_removed(cluster):
    """Somebody who knows the cluster's id says so, but is no member of it."""
    cluster.start(2)
    member = cluster[1]
    peer = Peer(member)
    number = rows(member)[member.name]["number"]
    assert peer.greet(bytes.fromhex(member.status()["cluster"]), 99, number)
    peer.send(frame(11, struct.pack("<Q", 1000)))
    assert peer.closed()
    assert "the sender is no member" in member.log()
    assert member.request("GET", "/readyz").status == 200
    assert member.put("still", "a member").status == 200


def test_a_node_that_has_left_joins_anew(cluster):
    """With the directory that it has: it is another member, with the same data."""
    args = FAST + ["--leave-on-exit"]
    cluster.start(3, args=args)
    leader = cluster.wait_leader()
    leaver = [n for n in cluster.others(leader) if n is not cluster[0]][0]
    number = rows(leader)[leaver.name]["number"]
    assert leader.put("kept", "1").status == 200
    for _ in range(2):
        assert leaver.terminate() == 0
        wait_for(lambda: leaver.name not in rows(leader), 5, "it has left")
        assert leader.put("meanwhile", "2").status == 200
        leaver.start().up()
        wait_for(lambda: rows(leader).get(leaver.name, {}).get("role") == "voter", 15,
                 "it is back")
        assert rows(leader)[leaver.name]["number"] > number
        number = rows(leader)[leaver.name]["number"]
        cluster.wait_members(3)
        assert leaver.get("kept", "none") == "1"
    # From now on it is a member as any other.
    leaver.kill()
    leaver.start().up()
    cluster.wait_members(3)
    assert rows(leader)[leaver.name]["number"] == number


def test_a_node_that_has_left_keeps_its_data_until_it_is_taken(cluster):
    """No node answers its --join: its data may be the only copy."""
    args = FAST + ["--leave-on-exit"]
    cluster.start(2, args=args)
    leader = cluster.wait_leader()
    leaver = cluster.others(leader)[0]
    assert leader.put("kept", "1").status == 200
    cluster.wait_same()  # It cannot apply more without a leader.
    assert leaver.terminate() == 0
    leader.kill()
    leaver.join = leader.http
    leaver.start().up()
    assert leaver.request("GET", "/readyz").status == 503
    assert leaver.terminate() == 0
    leaver.join = None  # As it was, it is readable.
    leaver.start().up()
    assert leaver.get("kept", "none") == "1"
    assert "start it with --join" in leaver.log()


# ---- a member that contradicts the others ----

def raise_term(cluster, times):
    for _ in range(times):
        leader = cluster.wait_leader()
        assert leader.request("POST", "/leader").status == 200


@pytest.mark.parametrize("newer", ["the others", "the odd one"])
def test_a_node_that_contradicts_its_cluster_says_so(cluster, newer):
    """The disks of a majority are those of yesterday: the third one holds as
    committed what the cluster never had. It shows nothing of it any more. When
    its terms are the newer ones it even wins an election, and still the majority
    prevails."""
    cluster.start(3, args=FAST)
    assert cluster.wait_leader().put("k", "old").status == 200
    cluster.wait_same()
    for node in cluster:
        assert node.terminate() == 0
    odd, rest = cluster[2], [cluster[0], cluster[1]]
    for node in rest:
        shutil.copytree(node.dir, node.dir + ".yesterday")
    for node in cluster:
        node.start()
    cluster.wait_members(3)
    raise_term(cluster, 6 if newer == "the odd one" else 0)
    for i in range(10):
        assert cluster.wait_leader().put("k", f"lost-{i}").status == 200
    cluster.wait_same()
    for node in cluster:
        assert node.terminate() == 0
    for node in rest:
        shutil.rmtree(node.dir)
        os.rename(node.dir + ".yesterday", node.dir)
    # It has forgotten their newer starts, or it would not talk to them at all.
    os.unlink(os.path.join(odd.dir, "STARTS"))
    for node in rest:
        node.start()
    cluster.wait_leader()
    raise_term(cluster, 12 if newer == "the others" else 0)
    for i in range(20):
        assert cluster.wait_leader().put("k", f"new-{i}").status == 200
    odd.start().up()

    def quarantined():
        answer = odd.request("GET", "/key/k?level=none")
        return answer.status == 503 and answer
    answer = wait_for(quarantined, 20, "it answers no more")
    assert "empty its directory" in problem(answer, 503, "quarantined")
    for path in ("/key/k", "/key/k?level=strong", "/keys?level=none", "/backup?level=none",
                 "/api/v1/properties/k?level=none", "/key/k?level=none&min_index=1"):
        problem(odd.request("GET", path), 503, "quarantined")
    for method, path in (("PUT", "/key/k"), ("DELETE", "/nodes/" + odd.name)):
        answer = odd.request(method, path, b"v")
        assert "its directory" in problem(answer, 503, "quarantined")
        assert answer.json()["outcome"] == "not-applied"
    assert hinted(odd, "contradicts its cluster", "--join")
    ready = odd.request("GET", "/readyz")
    assert ready.status == 503 and b"[-]store contradicts" in ready.body
    assert re.search("error .* contradiction index=", odd.log())
    # It neither goes on to be dialled in vain, nor to fill its log: once its last
    # links are down and its join has been accepted, nothing more is written.
    def quiet():
        lines = odd.log().splitlines()
        time.sleep(5)
        return odd.log().splitlines() == lines
    wait_for(quiet, 15, "it logs nothing more")
    problem(odd.request("GET", "/key/k?level=none"), 503, "quarantined")
    # Which of the two sides is odd is a question of numbers.
    wait_for(lambda: all(n.request("GET", "/readyz").status == 200 for n in rest), 15,
             "the others are well")
    leader = wait_for(lambda: next((n for n in rest if n.status()["role"] == "leader"), None),
                      15, "a leader")
    assert leader.put("goes", "on").status == 200
    # The hint of its message helps.
    odd.kill()
    odd.wipe()
    odd.join = leader.http
    odd.start()
    cluster.wait_members(3, timeout=30)
    assert odd.get("k") == "new-19" and odd.get("goes") == "on"
    assert odd.request("GET", "/readyz").status == 200


def test_each_member_knows_what_the_others_report(cluster):
    """Version, sizes, memory, free disk and, of the leader, the latency of commits and
    what it knows of its peers, at every node; of one that is down, what it reported
    last, and the lag that the leader sees."""
    cluster.start(3)
    leader = cluster.wait_leader()

    def nodes(node):
        return {one["id"]: one for one in node.request("GET", "/nodes").json()}

    def all_known():
        leader.put("reported", "x")
        return all("version" in one and one["log_bytes"] > 0 and one["db_bytes"] > 0
                   and one["memory_bytes"] > 1 << 20 and one["disk_free_bytes"] > 1 << 20
                   and (one["leader"] or "rtt_ms" in one and one["lag"] < 5)
                   for node in cluster
                   for one in nodes(node).values())
    wait_for(all_known, 10, "all have reported", pause=0.1)
    follower, other = cluster.others(leader)
    wait_for(lambda: leader.put("reported", "x") and
             "commit_p99_us" in nodes(follower)[leader.name], 20, "a latency", pause=0.1)
    wait_for(lambda: "commit_p99_us" not in nodes(follower)[leader.name], 20,
             "no latency while there are no commits", pause=0.1)
    assert {one["version"] for one in nodes(follower).values()} == {leader.status()["version"]}
    other.kill()
    wait_for(lambda: not nodes(follower)[other.name]["reachable"], 10, "it is down")
    for number in range(20):
        leader.put(f"more/{number}", "x")
    wait_for(lambda: nodes(follower)[other.name]["lag"] >= 20 and
             nodes(follower)[follower.name]["lag"] < 20, 20, "the lag is known", pause=0.1)
    last = nodes(follower)[other.name]
    assert last["version"] and last["report_age_ms"] < 30000
    wait_for(lambda: nodes(follower)[other.name]["report_age_ms"] > last["report_age_ms"], 5,
             "its report gets older")
