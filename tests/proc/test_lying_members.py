"""Members that have the cluster key, and lie: requests that no client can make,
with numbers that no build writes. The others go on, or end the link; they take
no harm that a restart would not mend."""
import contextlib
import json
import sqlite3
import struct

import pytest

import fake_peer as fake
from cluster import wait_for
from fake_peer import Facts, SealedPeer
from test_cluster_key import new_key, with_key, write_keys
from test_raft_port import DONE, FAILED, followers, install, uuid_of

(PUT, _, DELETE_PREFIX, INCR, GET, PUT_TIMED, TOUCH, GRANT, KEEP, REVOKE,
 EXPIRE) = range(1, 12)
IF_INDEX = 1
APPLIED = 6
OK, BUSY = 0, 2
HUGE = 2**64 - 1
NAMED, ELSE, TIMED = 1, 2, 4


def u64(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def op(kind, *numbers, key=b"", value=None):
    size = b"" if value is None else struct.pack("<I", len(value))
    return (struct.pack("<BH", kind, len(key)) + size + key + (value or b"")
            + u64(*numbers))


def items(*some, count=None):
    return struct.pack("<I", len(some) if count is None else count) + b"".join(some)


def txn(*ops, conditions=(), flags=TIMED, name=b"", other=()):
    head = struct.pack("<BB", 2, flags)
    if flags & NAMED:
        head += struct.pack("<B", len(name)) + name + u64(7)
    return (head + items(*conditions) + items(*ops)
            + (items(*other) if flags & ELSE else b""))


class Liar(SealedPeer):
    """In the place of a member that has been stopped."""

    def __init__(self, cluster, key, facts, target, member, start=1000):
        super().__init__(target, key)
        self.facts, self.target, self.member = facts, target, member
        assert self.greet(facts.cluster, facts.numbers[member.name],
                          facts.numbers[target.name], uuid=uuid_of(member),
                          start=start, nonce=start, name=member.name,
                          addr=member.raft, http=member.http,
                          commands=4)

    def ask(self, kind, body, request=1):
        """The outcome; None: there is none, since the link has ended."""
        if not self.send(fake.forward(kind, body, request)):
            return None
        got = self.await_type(fake.FORWARD_RESP, 5)
        return got and got[8]


@pytest.fixture
def members(cluster, tmp_path):
    """Two, and the key and the directory of the third."""
    class It:
        pass
    it = It()
    it.cluster = cluster
    it.key = new_key()
    path = write_keys(tmp_path / "cluster.key", it.key)
    for i in range(3):
        node = cluster.new(args=with_key(path))
        node.join = cluster[0].http if i else None
        node.start().up()
        cluster.wait_leader()
    cluster.wait_members(3)
    assert cluster[0].put("before", "1").status == 200
    cluster.wait_same()
    it.facts = Facts(cluster, it.key)
    it.leader = cluster.wait_leader()
    it.member, it.other = followers(cluster)
    it.member.kill()
    it.starts = iter(range(1000, 2000))
    it.liar = lambda target: Liar(
        cluster, it.key, it.facts, target, it.member, next(it.starts))
    return it


def survives(it):
    """Both are alive, and after a restart; they take writes, and agree."""
    for node in (it.leader, it.other):
        assert node.alive(), (node.name, node.proc.returncode, node.log()[-600:])
    assert it.cluster.wait_leader().put("after", "2").status == 200
    for node in (it.leader, it.other):
        node.kill()
    for node in (it.leader, it.other):
        node.start().up()
    it.cluster.wait_leader()
    assert it.leader.get("before") == "1" and it.leader.get("after") == "2"
    wait_for(lambda: it.leader.status()["applied"] == it.other.status()["applied"],
             15, "one index")
    assert it.leader.get("after") == it.other.get("after") == "2"


COMMANDS = {
    "a lease of another kind": txn(op(PUT_TIMED, 0, 2**63, key=b"k", value=b"v")),
    "the last lease": txn(op(PUT_TIMED, 0, HUGE, key=b"k", value=b"v")),
    "a lease to keep": txn(op(KEEP, HUGE), op(KEEP, 2**63)),
    "a lease to end": txn(op(REVOKE, HUGE), op(REVOKE, 2**63)),
    "two leases in one": txn(op(GRANT, 1000), op(GRANT, 1000)),
    "a lease for ever": txn(op(GRANT, HUGE)),
    "the longest lease": txn(op(GRANT, 3653 * 24 * 3600 * 1000)),
    "a time-out for ever": txn(op(TOUCH, HUGE, key=b"before")),
    "both": txn(op(PUT_TIMED, 1, 1, key=b"k", value=b"v")),
    "an expiry": txn(op(EXPIRE, 1 << 20)),
    "many expiries": txn(*[op(PUT_TIMED, 1, 0, key=b"k", value=b"v"),
                           op(EXPIRE, 1)] * 200),
    "an expiry of all": txn(op(EXPIRE, HUGE)),
    "a sum": txn(op(INCR, 2**63 - 1, key=b"n"), op(INCR, 1, key=b"n"), flags=0),
    "a least sum": txn(op(INCR, 2**63, key=b"n"), op(INCR, 2**63, key=b"n"),
                       flags=0),
    "all by a prefix": txn(op(DELETE_PREFIX, key=b"\xff" * 1024), flags=0),
    "a put and all of it, again and again": txn(
        *[op(PUT, key=b"k", value=b"v"), op(DELETE_PREFIX, key=b"k")] * 500,
        flags=0),
    "more operations than there are": b"\2\4" + items() + items(count=1 << 20),
    "a name of all bytes": txn(op(GET, key=b"before"), flags=NAMED,
                               name=bytes(range(64))),
    "a condition on the end of all": txn(
        op(GET, key=b"k"), conditions=[op(IF_INDEX, HUGE, key=b"k")], flags=0),
    "a stamp": b"\4" + u64(2**61) + txn(op(KEEP, 1)),
    "a stamp over a stamp": b"\4" + u64(1) + b"\4" + u64(1) + txn(),
    "a restore of nothing": b"\3\1" + u64(HUGE),
    "the end of a restore": b"\3\3" + u64(HUGE, HUGE, HUGE),
    "rows of no restore": b"\3\2" + u64(5, HUGE) + items(
        struct.pack("<HI", 1, 1) + b"kv"),
    "version 9": b"\x09" + bytes(20),
    "nothing": b"",
}


def test_no_command_ends_the_others(members):
    it = members
    for name, command in COMMANDS.items():
        it.leader = it.cluster.wait_leader()
        it.other = next(n for n in it.cluster if n not in (it.leader, it.member))
        with it.liar(it.leader) as liar:
            liar.ask(fake.COMMAND, command)
        for node in (it.leader, it.other):
            assert node.alive(), (name, node.log()[-1000:])
    survives(it)


def test_no_command_holds_the_others_for_long(members):
    """No client can send one of so many operations: the link ends."""
    many = 10_001
    put = op(PUT, key=b"evil", value=b"")
    for command in (
            txn(*[put] * many, flags=0), txn(*[op(GET, key=b"a")] * many, flags=0),
            txn(*[op(KEEP, 1)] * many),
            txn(conditions=[op(IF_INDEX, 0, key=b"a")] * many, flags=0),
            b"\1" + items(*[put] * many), txn(op(EXPIRE, 1)),
            b"\3\2" + u64(5, 0) + items(*[struct.pack("<HI", 1, 0) + b"k"] * many)):
        with members.liar(members.leader) as liar:
            assert liar.ask(fake.COMMAND, command) is None
            assert liar.closed()
    with members.liar(members.leader) as liar:
        assert liar.ask(fake.COMMAND, txn(*[put] * (many - 1), flags=0)) == OK
    survives(members)


def test_requests_that_wait_for_ever_are_few(members):
    """For an index that never comes: a bound on their number, not on their time
    alone."""
    asked = 10_000
    with members.liar(members.leader) as liar:
        for first in range(0, asked, 500):
            assert liar.send(b"".join(fake.forward(APPLIED, u64(HUGE), request=i)
                                      for i in range(first, first + 500)))
        refused = 0
        while refused < asked - 8192:
            answer = liar.await_type(fake.FORWARD_RESP)
            assert answer and answer[8] == BUSY
            refused += 1
        assert members.leader.put("after", "1").status == 200
    survives(members)


# ---- a leader that lies about the time ----

def lead(it, payload, kind=fake.NORMAL):
    """Both others apply that entry, from a leader of the next term."""
    it.cluster.wait_same()
    state = it.leader.status()
    term, last = state["term"] + 1, state["applied"]
    lie = fake.entry(term, payload, kind)
    with it.liar(it.leader) as first, it.liar(it.other) as second:
        me = it.facts.numbers[it.member.name]
        for liar in (first, second):
            assert liar.send(fake.message(
                fake.APPEND, me, it.facts.numbers[liar.target.name], term,
                last=last, last_term=state["term"], commit=last + 1,
                entries=[lie]))
        wait_for(lambda: all(node.status()["applied"] > last
                             for node in (it.leader, it.other)), 5, "the lie")


def ends_in_time(it, key):
    """A key and a lease live as long as they should, and no longer."""
    leader = it.cluster.wait_leader()
    assert leader.request("PUT", f"/key/{key}?ttl=2s", b"1").status == 201
    assert leader.request("PUT", f"/key/{key}-later?ttl=1h", b"1").status == 201
    lease = leader.request("POST", "/lease?ttl=2s")
    assert lease.status == 201
    assert leader.get(key) == "1"
    wait_for(lambda: leader.get(key) is None, 10, "the end of the key")
    wait_for(lambda: leader.request(
        "GET", "/lease/" + lease.json()["id"]).status == 404, 10, "of the lease")
    left = leader.request("GET", f"/ttl/{key}-later").json()["ttl"]
    assert 3500 < left <= 3600


@pytest.mark.parametrize("stamp", [2**61, 2**61 - 1, 2**50 + 1, 2**50 - 1],
                         ids=["last", "last-but-one", "beyond", "before"])
def test_a_leader_cannot_use_up_the_time(members, stamp):
    """The others do not end, nor does the time stand still, today or after a
    restart."""
    it = members
    lead(it, b"\4" + u64(stamp) + txn())
    ends_in_time(it, "a")
    for node in (it.leader, it.other):
        assert node.alive(), (node.name, node.log()[-600:])
    survives(it)
    ends_in_time(it, "b")


@pytest.mark.parametrize("time, outcome", [(2**61, FAILED), (2**63 - 1, FAILED),
                                           (2**50, DONE)])
def test_a_snapshot_cannot_use_up_the_time(members, tmp_path, time, outcome):
    it = members
    assert it.leader.request("PUT", "/key/a?ttl=1h", b"1").status == 201
    assert it.leader.request("DELETE", "/key/a").status == 200
    it.cluster.wait_same()
    state = it.other.status()
    term, index = state["term"], state["applied"] + 1000
    path = tmp_path / "image.db"
    path.write_bytes(it.other.request("GET", "/backup").body)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("update raft set applied=?, term=?, time=?", (index, term, time))
        db.commit()
    with it.liar(it.other) as liar:
        assert install(liar, it.facts.numbers[it.member.name],
                       it.facts.numbers[it.other.name], term + 1,
                       path.read_bytes(), index, term) == outcome
    for node in (it.leader, it.other):
        assert node.alive(), (node.name, node.log()[-600:])
    if outcome == FAILED:
        assert "the cluster time in it" in it.other.log()
        ends_in_time(it, "a")
        survives(it)


@pytest.mark.parametrize("index", [2**62 - 3, 2**61 + 2**40])
def test_a_snapshot_cannot_use_up_the_indexes(members, tmp_path, index):
    """Few entries could come behind it, or none; then no leader could write."""
    it = members
    it.cluster.wait_same()
    state = it.other.status()
    term = state["term"]
    path = tmp_path / "image.db"
    path.write_bytes(it.other.request("GET", "/backup").body)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("update raft set applied=?, term=?", (index, term))
        db.commit()
    with it.liar(it.other) as liar:
        assert install(liar, it.facts.numbers[it.member.name],
                       it.facts.numbers[it.other.name], term + 1,
                       path.read_bytes(), index, term) == FAILED
    survives(it)


@pytest.mark.parametrize("number", [2**40, 2**62 - 1])
def test_a_member_cannot_use_up_the_numbers_of_members(members, number):
    """Nobody can be added behind the last number; then that member is removed."""
    it = members
    lie = [fake.member(it.facts.numbers[node.name], node.name, node.raft,
                       uuid=uuid_of(node), http=node.http) for node in it.cluster]
    lie.append(fake.member(number, "ghost", "127.0.0.1:1", suffrage=3))
    lead(it, fake.conf(lie), fake.CONF)
    leader = it.cluster.wait_leader()
    assert b"ghost" in leader.request("GET", "/nodes").body
    new = {"id": "new", "addr": "127.0.0.1:2", "voter": False}
    answer = leader.request("POST", "/join", json.dumps(new))
    assert it.leader.alive() and it.other.alive()
    if number < 2**62 - 1:
        assert answer.status == 200, answer
    else:
        assert answer.status >= 400
        assert leader.request("DELETE", "/nodes/ghost").status == 200
        assert leader.request("POST", "/join", json.dumps(new)).status == 200
    survives(it)
