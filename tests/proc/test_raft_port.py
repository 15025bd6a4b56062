"""The Raft port does not believe everybody: what a node of the cluster with a
bug, or a stranger that knows the cluster's id, may send to it. There is no
authentication yet, so who plays a leader well is still believed; but nothing
here is what a correct member would send."""
import itertools
import json
import os
import re
import socket
import sqlite3
import struct
import subprocess
import threading
import time

import pytest

import fake_peer as fake
from cluster import BINARY, HOST, rss_bytes, wait_for
from fake_peer import Facts, Peer

MIB = 1 << 20
EVIL = fake.put(b"evil", b"pwned")


@pytest.fixture
def facts(cluster):
    cluster.start(3).wait_members()
    assert cluster[0].put("before", "1").status == 200
    cluster.wait_same()
    return Facts(cluster)


def followers(cluster):
    leader = cluster.wait_leader()
    return [node for node in cluster if node is not leader]


def uuid_of(node):
    """The uuid of its directory, which only the other members know."""
    with open(os.path.join(node.dir, "IDENT"), "rb") as file:
        data = file.read()
    assert data[:8] == b"CRAFTDID"
    return data[UUID_AT:UUID_AT + 16]


UUID_AT = 32


def go_on(cluster):
    """All are alive and agree, writes are taken, elections still happen."""
    for node in cluster:
        assert node.alive(), (node.name, node.proc.returncode)
    leader = cluster.wait_leader()
    assert leader.put("after", "2").status == 200
    leader.kill()
    cluster.wait_leader()
    leader.start().up()
    cluster.wait_members()
    cluster.wait_same()
    for node in cluster:
        assert node.get("before") == "1"
        assert node.get("after") == "2"
        assert node.get("evil") is None


# ---- what is asked, and answered, by members only ----

def test_a_stranger_writes_and_removes_nothing(cluster, facts):
    leader = cluster.wait_leader()
    removed = followers(cluster)[0]
    peer = facts.stranger(leader)
    peer.send(fake.forward(fake.COMMAND, EVIL, request=7))
    answer = peer.await_type(fake.FORWARD_RESP)
    assert answer and struct.unpack_from("<QB", answer) == (7, 1)  # NO_LEADER
    number = struct.pack("<Q", facts.numbers[removed.name])
    peer.send(fake.forward(fake.REMOVE, number))
    peer.send(fake.forward(fake.JOIN, fake.member(0, "evil", "127.0.0.1:1")))
    time.sleep(0.5)
    assert len(leader.status()["peers"]) == 2
    go_on(cluster)


def test_answers_of_strangers_do_not_count(cluster, facts):
    leader = cluster.wait_leader()
    state = leader.status()
    to = facts.numbers[leader.name]
    # Not with their term either, which would depose it.
    for kind in (fake.VOTE_RESP, fake.APPEND_RESP, fake.HEARTBEAT_RESP,
                 fake.READ, fake.READ_RESP, fake.TIMEOUT_NOW):
        with facts.stranger(leader) as peer:
            peer.send(fake.message(kind, 99, to, state["term"] + 5, rnd=1,
                                   sent=1))
            time.sleep(0.05)
            assert leader.put("before", "1").status == 200
    assert leader.status()["term"] == state["term"]
    # They do not keep a leader without a majority in office, and do not commit.
    others = followers_of(cluster, leader)
    for node in others:
        node.kill()
    end = time.monotonic() + 20
    with facts.stranger(leader) as peer:
        while time.monotonic() < end and leader.status()["role"] == "leader":
            last = leader.status()["last_log"]
            peer.send(fake.message(fake.APPEND_RESP, 99, to, state["term"],
                                   match=last, flags=fake.GRANTED, sent=1 << 60))
            peer.send(fake.message(fake.HEARTBEAT_RESP, 99, to, state["term"],
                                   sent=1 << 60))
            time.sleep(0.05)
    assert leader.status()["role"] != "leader"
    for node in others:
        node.start().up()
    cluster.wait_members()
    go_on(cluster)


def followers_of(cluster, leader):
    return [node for node in cluster if node is not leader]


@pytest.mark.parametrize("words", [
    {},                             # Its directory is not the member's.
    {"uuid": fake.NOBODY},          # ... and "not known" is no directory.
    {"uuid": fake.NOBODY, "addr": "127.0.0.1:1", "http": "127.0.0.1:1"},
    {"uuid": fake.NOBODY, "start": 2**64 - 1},
])
def test_a_peer_without_the_directory_uuid_is_not_the_member(cluster, facts, words):
    """It does not learn the uuid either, with which it would be the member."""
    leader = cluster.wait_leader()
    for other in followers_of(cluster, leader):
        with Peer(leader) as peer:
            peer.send(fake.hello(facts.cluster, facts.numbers[other.name],
                                 facts.numbers[leader.name], nonce=7, **words))
            kind, payload = peer.receive()
            assert kind == fake.REFUSE
            assert uuid_of(other) not in payload
    time.sleep(0.3)
    addresses = {peer["id"]: peer["address"] for peer in leader.status()["peers"]}
    for other in followers_of(cluster, leader):
        assert addresses[other.name] == other.raft
        assert leader.status()["leader"]["id"] == leader.name
    go_on(cluster)


def test_a_start_that_is_too_far_ahead_is_refused(cluster, facts):
    """Otherwise the real one would be an old copy for ever."""
    for node in cluster:
        for other in followers_of(cluster, node):
            for start in (2**64 - 1, 2**32 + 1000):
                with Peer(node) as peer:
                    assert peer.greet(
                        facts.cluster, facts.numbers[other.name],
                        facts.numbers[node.name], uuid=uuid_of(other),
                        start=start) is None
    for node in cluster:
        node.kill()
    for node in cluster:
        node.start()
    cluster.wait_leader()
    go_on(cluster)


def test_a_forged_leadership_transfer(cluster, facts):
    leader = cluster.wait_leader()
    state = leader.status()
    with facts.stranger(leader, 98) as peer:
        for later in range(1, 11):
            peer.send(fake.message(
                fake.VOTE, 98, facts.numbers[leader.name], state["term"] + later,
                last=state["last_log"], last_term=state["term"], rnd=later,
                flags=fake.TRANSFER))
            time.sleep(0.05)
            assert leader.put(f"key{later}", "1").status == 200
    assert leader.status()["term"] == state["term"]
    assert leader.status()["role"] == "leader"
    go_on(cluster)


# ---- numbers ----

@pytest.mark.parametrize("kind", [fake.HEARTBEAT, fake.APPEND, fake.VOTE])
def test_no_message_uses_up_the_terms(cluster, facts, kind):
    """196 bytes to one follower ended a cluster for ever."""
    node = followers(cluster)[0]
    term = node.status()["term"]
    with facts.stranger(node) as peer:
        peer.send(fake.message(kind, 99, facts.numbers[node.name], 2**62 - 1,
                               flags=fake.TRANSFER if kind == fake.VOTE else 0))
        assert peer.closed(10)
    time.sleep(0.5)
    assert node.status()["term"] == term
    go_on(cluster)


# ---- what cannot be applied ----

def odd_entries():
    evil = b"n0\r\nSet-Cookie: a=b"
    one = fake.member(1, "n0", "127.0.0.1:1")
    yield "a later version", b"\xff\xff", fake.NORMAL
    yield "a command cut short", EVIL[:-1], fake.NORMAL
    yield "bytes behind a command", EVIL + b"x", fake.NORMAL
    yield "nothing", b"", fake.NORMAL
    yield "a no-op with a payload", b"x", fake.NOOP
    yield "no membership", b"\xff", fake.CONF
    yield "a name with line ends", fake.conf([fake.member(1, evil, "h:1")]), fake.CONF
    yield "an address with a blank", fake.conf([fake.member(1, "n0", "h :1")]), fake.CONF
    yield "an HTTP address with ESC", fake.conf(
        [fake.member(1, "n0", "h:1", http="\x1b:1")]), fake.CONF
    yield "nobody votes", fake.conf([fake.member(1, "n0", "h:1", suffrage=2)]), fake.CONF
    yield "the same member twice", fake.conf([one, one]), fake.CONF


@pytest.mark.parametrize("payload, kind", [
    pytest.param(payload, kind, id=name.replace(" ", "-"))
    for name, payload, kind in odd_entries()])
def test_an_entry_that_cannot_be_applied_costs_the_link(cluster, facts, payload,
                                                        kind):
    """The link, not the node: it would end again at every start."""
    term = cluster.wait_leader().status()["term"]
    for node in cluster:
        last = node.status()["last_log"]
        with facts.stranger(node) as peer:
            peer.send(fake.message(
                fake.APPEND, 99, facts.numbers[node.name], term + 1, last=last,
                last_term=term, commit=last + 1,
                entries=[fake.entry(term + 1, payload, kind)]))
            assert peer.closed(10)
    for node in cluster:
        assert node.request("GET", "/livez").status == 200
    go_on(cluster)


# ---- snapshots ----

def image_of(node, tmp_path, applied, term, **columns):
    """A backup of the node's, as if it were a snapshot at that entry."""
    path = tmp_path / "image.db"
    path.write_bytes(node.request("GET", "/backup").body)
    db = sqlite3.connect(path)
    db.execute("update raft set applied=?, term=?", (applied, term))
    for name, value in columns.items():
        db.execute(f"update raft set {name}=?", (value,))
    db.execute("insert or replace into pairs values (x'6576696c', x'01', 2, 2, 1)")
    db.commit()
    db.close()
    return path.read_bytes()


def install(peer, number, to, term, image, index, index_term):
    if number:
        peer.send(fake.message(fake.HEARTBEAT, number, to, term))
    for piece in fake.snapshot(image, term, index, index_term):
        peer.send(piece)
    state = peer.await_type(fake.SNAPSHOT_RESP)
    while state and state[-1] == 1:  # More is wanted.
        state = peer.await_type(fake.SNAPSHOT_RESP)
    return state[-1] if state else None


DONE, FAILED = 2, 3


@pytest.mark.parametrize("conf", [
    b"\xff", b"", fake.conf([fake.member(1, "a\nb", "h:1")]),
    fake.conf([fake.member(1, "a", "h:1", suffrage=3)])],
    ids=["garbage", "empty", "a-name-with-a-line-end", "nobody-votes"])
def test_a_snapshot_without_a_membership_is_refused(cluster, facts, tmp_path, conf):
    """Before it takes the place of the data: there is no way back from that."""
    node = followers(cluster)[0]
    state = node.status()
    term, index = state["term"], state["applied"] + 1000
    image = image_of(node, tmp_path, index, term, conf=conf)
    with facts.stranger(node) as peer:
        assert install(peer, 99, facts.numbers[node.name], term + 1, image,
                       index, term) == FAILED
    assert node.alive()
    node.kill()
    node.start().up()
    go_on(cluster)


def test_a_snapshot_at_the_end_of_all_numbers_is_refused(cluster, facts, tmp_path):
    """No entry could come after it."""
    node = followers(cluster)[0]
    term, index = node.status()["term"], 2**62
    image = image_of(node, tmp_path, index, term)
    with facts.stranger(node) as peer:
        assert install(peer, 99, facts.numbers[node.name], term + 1, image,
                       index, term) == FAILED
    go_on(cluster)


def test_a_snapshot_from_a_node_that_does_not_lead_is_refused(cluster, facts,
                                                             tmp_path):
    node = followers(cluster)[0]
    state = node.status()
    term, index = state["term"], state["applied"] + 1000
    image = image_of(node, tmp_path, index, term)
    for said in (term, term + 1):
        with facts.stranger(node) as peer:
            assert install(peer, 0, 0, said, image, index, term) == FAILED
    go_on(cluster)


# ---- the way out ----

@pytest.mark.parametrize("words", [
    ["--without-log", "DIR"], ["DIR", "--without-log"],
    ["-id", "node0", "--without-log", "DIR"], ["-without-log", "DIR"]])
def test_recovery_without_a_log(cluster, words):
    """From the command line, wherever among the flags."""
    node = cluster.start(1)[0]
    assert node.put("k", "v").status == 200
    assert node.request("POST", "/snapshot").status == 200
    node.kill()
    [name] = [name for name in sorted(os.listdir(os.path.join(node.dir, "wal")))
              if name.endswith("1.wal")]
    with open(os.path.join(node.dir, "wal", name), "r+b") as file:
        file.write(b"damage" * 1000)
    node.start()
    assert node.wait_exit() == 4
    argv = [BINARY, "recover"] + [node.dir if w == "DIR" else w for w in words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30,
                          check=False)
    assert done.returncode == 0, done.stderr
    node.start().up()
    wait_for(lambda: node.get("k") == "v", 10, "the data is there")


# ---- memory ----

def test_unfinished_frames_have_a_bound_together(cluster, facts):
    """A frame has up to 32 MiB; those of strangers share the room of one."""
    leader = cluster.wait_leader()
    before = rss_bytes(leader.pid)
    peers = [facts.stranger(leader, number) for number in range(100, 114)]
    try:
        for peer in peers:
            peer.send(fake.head((32 << 20) - 12) + bytes(4))
        chunk = bytes(MIB)
        for _ in range(20):
            for peer in peers:
                peer.send(chunk)
        time.sleep(0.5)
        assert rss_bytes(leader.pid) - before < 100 * MIB
    finally:
        for peer in peers:
            peer.close()
    go_on(cluster)


# ---- places ----

class Crowd(threading.Thread):
    """Connections that say nothing, to every node, renewed when closed."""

    def __init__(self, cluster, each, source):
        super().__init__(daemon=True)
        self.ports = [node.raft_port for node in cluster]
        self.each = each
        self.source = source
        self.over = threading.Event()

    def connect(self, port):
        client = socket.socket()
        client.setblocking(False)
        client.bind((self.source, 0))
        client.connect_ex((HOST, port))
        return client

    @staticmethod
    def is_open(client):
        try:
            return client.recv(1) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def run(self):
        clients = {port: [] for port in self.ports}
        while not self.over.is_set():
            for port, mine in clients.items():
                for client in [c for c in mine if not self.is_open(c)]:
                    mine.remove(client)
                    client.close()
                mine += [self.connect(port) for _ in range(self.each - len(mine))]
            self.over.wait(0.02)
        for client in itertools.chain(*clients.values()):
            client.close()


@pytest.mark.parametrize("source", [HOST, "127.0.0.9"])
def test_silent_connections_do_not_block_members(cluster, source):
    """All three are started again in the crowd. Members have this address, or
    another one than the crowd."""
    cluster.start(3).wait_members()
    assert cluster[0].put("before", "1").status == 200
    crowd = Crowd(cluster, 64, source)
    crowd.start()
    try:
        time.sleep(1)
        for _ in range(2):
            for node in cluster:
                node.kill()
            for node in cluster:
                node.start()
            for node in cluster:
                node.up(10)
            wait_for(lambda: cluster[0].put("after", "2", timeout=2).status == 200,
                     8, "a write")
            wait_for(lambda: all(
                node.request("GET", "/readyz").status == 200 for node in cluster),
                8, "all are ready")
    finally:
        crowd.over.set()
        crowd.join()
    cluster.wait_same()


# ---- lines of the log ----

def flood(node, data, count):
    for _ in range(count):
        with Peer(node) as peer:
            peer.send(data)
            peer.receive()  # An answer, or the end.


def counted(lines):
    return sum(int(re.search(r" count=(\d+)$", line)[1]) for line in lines)


def logged_in_time(node, begin, began, event):
    """The lines of that event since then, once they count 300, and the seconds
    that this took."""
    def lines():
        return [line for line in node.log()[begin:].splitlines() if event in line]
    wait_for(lambda: counted(lines()) >= 300, 20, "300 are counted")
    return lines(), time.monotonic() - began


@pytest.mark.parametrize("kind, event", [
    ("garbage", "peer-garbage"), ("hello", "peer-refused"),
    ("stranger", "peer-")])
def test_strangers_fill_no_log(cluster, kind, event):
    """A line a second, with the number that it stands for."""
    cluster.start(3).wait_members()
    facts = Facts(cluster)
    node = cluster[0]
    data = {"garbage": b"\xff" * 40,
            "hello": fake.hello(bytes(16), 9, 1),
            "stranger": fake.hello(facts.cluster, 99, facts.numbers[node.name]),
            }[kind]
    time.sleep(1.2)  # Count of the attempts by Facts.
    begin = len(node.log())
    began = time.monotonic()
    flood(node, data, 300)
    lines, seconds = logged_in_time(node, begin, began, event)
    assert 1 <= len(lines) <= seconds + 3, lines


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_crowd_without_a_word_is_logged(cluster, data):
    """Connections that are closed before a HELLO, to make room or by time-out, are
    counted like those that send something else."""
    node = cluster.start(1)[0]
    time.sleep(1.2)
    begin = len(node.log())
    began = time.monotonic()
    crowd = []
    for _ in range(300):
        crowd.append(socket.create_connection((HOST, node.raft_port)))
        crowd[-1].sendall(data)
    logged_in_time(node, begin, began, "peer-refused")
    time.sleep(1.2)  # No more than these are counted.
    lines, seconds = logged_in_time(node, begin, began, "peer-refused")
    for s in crowd:
        s.close()
    assert 1 <= len(lines) <= seconds + 2, lines
    assert counted(lines) == 300, lines


def test_the_name_of_a_stranger_is_no_field(cluster):
    """It is no second field of the same name either."""
    def pairs(items):
        assert len({key for key, _ in items}) == len(items), items
        return dict(items)
    node = cluster.new(args=["--log-json"]).start().up()
    for name in (b"x\\", b"x=1", b"l\\\\"):
        with Peer(node) as peer:
            peer.send(fake.hello(bytes(16), 9, 1, name=name, to_name=name))
            peer.receive()
        time.sleep(1.1)
    for name in (b"x level=fatal admin=1", b'x" level="error', b"x\n{}"):
        with Peer(node) as peer:
            peer.send(fake.hello(bytes(16), 9, 1, name=name))
            assert peer.receive() is None  # No word: no HELLO.
    lines = [json.loads(line, object_pairs_hook=pairs)
             for line in node.log().splitlines()]
    refused = [line for line in lines if line["event"] == "peer-refused"]
    assert [line["from"] for line in refused] == ["x\\", "x=1", "l\\\\"]
    assert all(line["level"] == "warn" and HOST in line["at"] for line in refused)
