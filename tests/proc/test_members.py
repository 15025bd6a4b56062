"""Who belongs to a cluster: names and addresses that somebody else has, members
that are removed, and requests whose leader goes away because of them."""
import time

import pytest

from cluster import Node, free_port, wait_for

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


# ---- names ---------------------------------------------------------------------

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


def test_a_copied_name_does_not_replace_who_reboots(cluster, copy_of):
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


def test_who_stays_away_is_replaced(cluster, copy_of):
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
    began = time.monotonic()
    member.start().up()
    wait_for(lambda: rows(leader).get(member.name, {"number": 0})["number"] > number, 15,
             "replaced")
    assert time.monotonic() - began < 6
    cluster.wait_members(3)


# ---- addresses -----------------------------------------------------------------

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
    time.sleep(2)
    for node in (leader, other):
        for body in (stranger, dict(stranger, replace=False)):
            message = problem(node.request("POST", "/join", body), 409, "address-taken")
            assert member.name in message and '"replace":true' in message
    assert hinted(leader, f"{member.raft} wants to join as stranger", member.name)
    assert rows(leader)[member.name]["number"] == number
    # When told so, through a follower as well.
    assert other.request("POST", "/join", dict(stranger, replace=True)).status == 200
    wait_for(lambda: sorted(rows(leader)) == sorted([leader.name, other.name, "stranger"]),
             10, "replaced")


def test_members_that_nobody_has_reached_are_few(cluster):
    cluster.start(2)
    leader = cluster.wait_leader()
    follower = cluster.others(leader)[0]
    ghosts = [{"id": f"ghost-{i}", "addr": f"127.0.0.1:{free_port()}"} for i in range(5)]
    for ghost in ghosts[:4]:
        assert leader.request("POST", "/join", ghost).status == 200
    for node in (leader, follower):
        assert "remove" in problem(node.request("POST", "/join", ghosts[4]), 409,
                                   "unreached-members")
        # Who is there already is no other one.
        assert node.request("POST", "/join", ghosts[0]).status == 200
    # Who can be reached does not wait for them to go.
    assert leader.request("DELETE", "/nodes/ghost-0").status == 200
    cluster.add(leader.http)
    wait_for(lambda: rows(leader).get("node2", {}).get("role") == "voter", 10, "joined")
    assert leader.request("POST", "/join", ghosts[4]).status == 200


@pytest.mark.parametrize("body", [
    '{"id":"a","id":"a","addr":"h:1"}',
    '{"id":"a","addr":"h:1","addr":"h:1"}',
    '{"id":"a","addr":"h:1","http":"h:2","http":""}',
    '{"id":"a","addr":"h:1","voter":true,"voter":false}',
    '{"id":"a","addr":"h:1","replace":false,"replace":true}',
    '{"id":"a","addr":"h:1","uuid":"%s","uuid":"%s"}' % ("0" * 32, "1" * 32),
    '{"id":"a","addr":"h:1","cluster":"%s","cluster":"%s"}' % ("0" * 32, "1" * 32),
])
def test_a_member_of_a_request_comes_once(three, body):
    response = three[0].request("POST", "/join", body)
    assert "twice" in problem(response, 400, "bad-json")
    assert len(rows(three[0])) == 3
