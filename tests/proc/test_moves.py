"""Members that come back at other addresses: the same directory, other ports.

M13. The others must find them, and the membership must follow.
"""
import shutil
import time

from cluster import Node, free_port, wait_for


def move(node):
    """Give a stopped node other addresses."""
    assert not node.alive()
    node.http_port = free_port()
    node.raft_port = free_port()


def listed(node):
    """The addresses in this node's configuration: name -> (raft, http)."""
    rows = node.request("GET", "/nodes").json()
    return {row["id"]: (row["address"], row["http"]) for row in rows}


def wait_listed(cluster):
    """Every node has everybody where they are now, and all can be reached."""
    wanted = {node.name: (node.raft, node.http) for node in cluster}

    def same():
        return all(listed(node) == wanted for node in cluster)
    wait_for(same, 20, "the membership follows")
    cluster.wait_members(len(cluster), timeout=20)


def write_and_read(cluster, key):
    writer = cluster.wait_leader(20)
    assert writer.put(key, key).status == 200
    for node in cluster:
        assert node.get(key) == key


def stop_and_move(node):
    assert node.terminate() == 0
    move(node)


def test_a_follower_moves(cluster):
    """Both of them in turn: one dials by its number, the other waits first."""
    cluster.start(3)
    for node in cluster.others(cluster.wait_leader()):
        stop_and_move(node)
        cluster.wait_leader()
        node.join = None  # It knows no other address.
        node.start().up()
        wait_listed(cluster)
        write_and_read(cluster, "behind-" + node.name)


def test_the_leader_moves(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    leader.kill()
    move(leader)
    leader.start().up()
    wait_listed(cluster)
    write_and_read(cluster, "moved")


def test_two_change_places(cluster):
    cluster.start(3)
    one, two = cluster[1], cluster[2]
    for node in (one, two):
        assert node.terminate() == 0
    one.http_port, two.http_port = two.http_port, one.http_port
    one.raft_port, two.raft_port = two.raft_port, one.raft_port
    for node in (one, two):
        node.start()
    for node in (one, two):
        node.up()
    wait_listed(cluster)
    write_and_read(cluster, "places")


def test_all_move_at_once(cluster):
    """No known address is valid any more: --join gives one that is."""
    cluster.start(3)
    write_and_read(cluster, "before")
    for node in cluster:
        node.kill()
        move(node)
    cluster[0].join = cluster[1].http
    cluster[1].join = cluster[0].http
    cluster[2].join = f"{cluster[0].http},{cluster[1].http}"
    for node in cluster:
        node.start()
    for node in cluster:
        node.up()
    wait_listed(cluster)
    write_and_read(cluster, "after")
    assert cluster[2].get("before") == "before"
    # And what they learned is in the log: the same without any hint.
    for node in cluster:
        node.kill()
        node.join = None
    for node in cluster:
        node.start()
    for node in cluster:
        node.up()
    wait_listed(cluster)
    write_and_read(cluster, "again")


def test_an_old_copy_cannot_claim_to_have_moved(cluster):
    """A copy of yesterday's directory starts elsewhere, while the member runs
    and while it is down: the membership does not follow it."""
    cluster.start(3)
    leader = cluster.wait_leader()
    victim = cluster.others(leader)[0]
    victim.terminate()
    copy = Node(cluster.base, victim.name + ".copy")
    shutil.copytree(victim.dir, copy.dir)
    copy.name = victim.name
    copy.join = leader.http
    victim.start().up()
    cluster.wait_members(3)
    cluster.wait_same()
    try:
        copy.start().up()
        wait_for(lambda: "second copy of this directory" in copy.log(), 10,
                 "the reason")
        assert listed(leader)[victim.name] == (victim.raft, victim.http)
        victim.kill()
        end = time.monotonic() + 4  # It reports its address, and is dialled there.
        while time.monotonic() < end:
            assert listed(leader)[victim.name] == (victim.raft, victim.http)
            assert copy.status()["leader"]["id"] == ""
            time.sleep(0.2)
    finally:
        copy.kill()
    victim.start().up()
    wait_listed(cluster)
    write_and_read(cluster, "the-real-one")


def test_a_hint_for_another_cluster_adds_no_member(cluster):
    """A member that is told to look in a foreign cluster is no newcomer there,
    and what is no member cannot be said to have moved."""
    a = cluster.new("a0").start().up()
    b = cluster.new("b0").start().up()
    for node in (a, b):
        wait_for(lambda n=node: n.put("k", n.name).status == 200, 10, "a leader")
    moved = {"id": "a0", "addr": a.raft, "cluster": a.status()["cluster"]}
    assert b.request("POST", "/join", moved).status == 409
    assert a.request("POST", "/join", dict(moved, id="c0")).status == 404
    assert a.request("POST", "/join", dict(moved, cluster="x")).status == 400
    assert a.request("POST", "/join", moved).status == 200
    assert [len(node.status()["followers"]) for node in (a, b)] == [0, 0]


def test_the_address_that_a_member_reports_counts(cluster):
    """Somebody spells its address in another way, or is mistaken: the member
    is here, and nothing is proposed by turns."""
    cluster.start(3)
    leader = cluster.wait_leader()
    wait_listed(cluster)
    follower = cluster.others(leader)[0]
    before = leader.status()["last_log"]
    for member in (follower, leader):
        for addr, http in ((f"localhost:{member.raft_port}", member.http),
                           (member.raft, "localhost:1"),
                           ("127.0.0.1:1", "127.0.0.1:1")):
            body = {"id": member.name, "addr": addr, "http": http}
            assert leader.request("POST", "/join", body).status == 200
    time.sleep(0.5)
    assert leader.status()["last_log"] <= before + 2
    wait_listed(cluster)
