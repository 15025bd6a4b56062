"""The Raft port of a cluster with a key, under those who do not have it: what
test_raft_port.py and test_founder.py do to a cluster without one, and more, in
clear, with another key, and with recordings of links. fake_peer.SealedPeer with
the right key is the control: it is let in."""
import os
import re
import socket
import struct
import threading
import time

import pytest

import fake_peer as fake
import noise
from cluster import HOST, wait_for
from fake_peer import Facts, SealedPeer
from test_cluster_key import new_key, with_key, write_keys
from test_raft_port import EVIL, followers, go_on, image_of, uuid_of

TERMS = 2**62 - 1


class Relay:
    """Between nodes: where one is advertised. Keeps what passes, [(bytes that
    came, bytes that went back), ...] by connection; may change it."""

    def __init__(self, port):
        self.target = port
        self.links = []
        self.change = lambda data: data  # Applied to data for the target.
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self.target), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            link = (bytearray(), bytearray())
            self.links.append(link)
            for source, sink, seen, change in (
                    (client, server, link[0], lambda d: self.change(d)),
                    (server, client, link[1], lambda d: d)):
                threading.Thread(target=self.move, daemon=True,
                                 args=(source, sink, seen, change)).start()

    @staticmethod
    def move(source, sink, seen, change):
        try:
            while data := source.recv(65536):
                seen += data
                sink.sendall(change(data))
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


class Sealed:
    """A cluster of three with a key, its last node behind a relay."""

    def __init__(self, cluster, tmp_path):
        self.cluster = cluster
        self.key = new_key()
        path = write_keys(tmp_path / "cluster.key", self.key)
        for i in range(3):
            node = cluster.new(args=with_key(path))
            if i == 2:
                self.relay = Relay(node.raft_port)
                node.args += ["--raft-adv", f"{HOST}:{self.relay.port}"]
            node.join = cluster[0].http if i else None
            node.start().up()
            cluster.wait_leader()
        cluster.wait_members(3)
        assert cluster[0].put("before", "1").status == 200
        cluster.wait_same()
        self.facts = Facts(cluster, self.key)  # By the control: with the key.
        self.behind = cluster[2]


@pytest.fixture
def sealed(cluster, tmp_path):
    it = Sealed(cluster, tmp_path)
    yield it
    it.relay.close()


# ---- attackers: they send frames, and return what came back ----

def talk(node, data, more=b""):
    """All that comes back after both; `more` is sent after an answer to the
    first, or half a second."""
    got = b""
    with socket.create_connection((HOST, node.raft_port), 5) as peer:
        peer.settimeout(0.5)
        for part in (data, more):
            try:
                peer.sendall(part)
                got += peer.recv(65536)
                while piece := peer.recv(65536):
                    got += piece
            except OSError:
                pass
    return got


def wait_links(cluster, node):
    """After a restart of `node`: its links to the others are up, at both ends."""
    def last(log):
        return {peer: how for how, peer in
                re.findall(r" peer-(up|down) peer=(\S+) ", log)}

    def linked():
        log = node.log()
        mine = last(log[log.rfind(" start version="):])
        others = [other for other in cluster if other is not node]
        return all(mine.get(other.name) == "up" and last(other.log()).get(node.name) == "up"
                   for other in others)
    wait_for(linked, 15, "links between all")


def in_clear(sealed, node, frames):
    return talk(node, frames)


def with_another_key(sealed, node, frames):
    me = noise.Initiator(os.urandom(32))
    return talk(node, me.first(), frames)


def with_no_key(sealed, node, frames):
    return talk(node, noise.MAGIC + os.urandom(48), frames)


def all_at_once(sealed, node, frames):
    """A recorded first message that is not even waited for."""
    return talk(node, bytes(sealed.recorded[:noise.FIRST_BYTES]) + frames)


def behind_a_recording(sealed, node, frames):
    """The first message is good: it is answered once, which tells nothing."""
    got = talk(node, bytes(sealed.recorded[:noise.FIRST_BYTES]), frames)
    assert len(got) in (0, noise.SECOND_BYTES)
    return b""


def sealed_behind_a_recording(sealed, node, frames):
    channel = noise.Channel(os.urandom(32), os.urandom(32))
    return behind_a_recording(sealed, node, channel.seal(frames[:2000]))


ATTACKERS = [in_clear, with_another_key, with_no_key, all_at_once,
             behind_a_recording, sealed_behind_a_recording]


def attacks(sealed, node, tmp_path):
    """Name, and the frames that follow a HELLO."""
    facts, state = sealed.facts, node.status()
    to = facts.numbers[node.name]
    term, last = state["term"], state["last_log"]

    def append(payload, kind=fake.NORMAL):
        return fake.message(fake.APPEND, 99, to, term + 1, last=last,
                            last_term=term, commit=last + 1,
                            entries=[fake.entry(term + 1, payload, kind)])
    yield "nothing", b""
    yield "a write", fake.forward(fake.COMMAND, EVIL)
    yield "a removal", fake.forward(fake.REMOVE, struct.pack("<Q", to))
    yield "a term", fake.message(fake.HEARTBEAT, 99, to, TERMS)
    yield "an entry", append(EVIL)
    yield "an entry that nobody can apply", append(b"\xff\xff")
    yield "a membership", append(
        fake.conf([fake.member(1, b"n0\r\nX: y", "h:1")]), fake.CONF)
    yield "a handover", fake.message(fake.VOTE, 98, to, term + 1, last=last,
                                     last_term=term, rnd=1, flags=fake.TRANSFER)
    yield "acknowledgements", fake.message(
        fake.APPEND_RESP, 99, to, term, match=last + 5, flags=fake.GRANTED)
    image = image_of(node, tmp_path, last + 1000, term)
    yield "a snapshot", fake.message(fake.HEARTBEAT, 99, to, term + 1) + b"".join(
        fake.snapshot(image, term + 1, last + 1000, term))


def hellos(sealed, node):
    """As a stranger, and as each other member by its true directory, at its
    address and at another, at a later start."""
    facts = sealed.facts
    to = facts.numbers[node.name]
    yield fake.hello(facts.cluster, 99, to)
    for other in sealed.cluster.others(node):
        yield fake.hello(facts.cluster, facts.numbers[other.name], to,
                         uuid=uuid_of(other), start=1000, nonce=9,
                         addr="127.0.0.1:1", http="127.0.0.1:1")


@pytest.mark.parametrize("attacker", ATTACKERS, ids=lambda f: f.__name__)
def test_a_peer_without_the_key_is_not_trusted(sealed, tmp_path, attacker):
    cluster = sealed.cluster
    sealed.recorded = sealed.relay.links[-1][0]
    leader = cluster.wait_leader()
    before = {node.name: (node.status()["term"], len(node.log()))
              for node in cluster}
    members = sorted((p["id"], p["address"]) for p in leader.status()["peers"])
    node = followers(cluster)[0]
    for target in (leader, node) if attacker is in_clear else (node,):
        for hello in hellos(sealed, target):
            for name, frames in attacks(sealed, target, tmp_path):
                assert attacker(sealed, target, hello + frames) == b"", name
                if attacker in (behind_a_recording, sealed_behind_a_recording):
                    break  # Slow: two seconds for each of them.
    for node in cluster:
        term, size = before[node.name]
        assert node.status()["term"] == term
        log = node.log()[size:]
        assert "peer-up" not in log and "peer-down" not in log
        assert "addr=127.0.0.1:1 " not in log
    assert members == sorted(
        (p["id"], p["address"]) for p in leader.status()["peers"])
    go_on(cluster)


def test_a_peer_with_the_key_is_accepted(sealed):
    """The control: the same frames from somebody with the key, whom we do not
    trust for nothing."""
    node = followers(sealed.cluster)[0]
    facts = sealed.facts
    with SealedPeer(node, sealed.key) as peer:
        welcome = peer.greet(facts.cluster, 99, facts.numbers[node.name])
        assert welcome and facts.cluster in welcome
        peer.send(fake.frame(fake.PING, b""))
        assert peer.await_type(fake.PONG) == b""


# ---- recordings, and who sits between two nodes ----

def test_a_recorded_link_is_worth_nothing(sealed):
    """All that was said to a node, said again: while it has that link, after it
    was started again, and to another node. Each link is answered once."""
    cluster, node = sealed.cluster, sealed.behind
    for i in range(20):
        assert cluster[0].put(f"key{i}", "1").status == 200
    cluster.wait_same()
    recordings = [bytes(link[0]) for link in sealed.relay.links]
    assert any(len(recording) > 1000 for recording in recordings)
    for round_number, target in enumerate((node, node, cluster[0])):
        begin = len(target.log())
        for recording in recordings:
            answers = [len(talk(target, recording[:noise.FIRST_BYTES],
                                recording[noise.FIRST_BYTES:cut]))
                       for cut in (len(recording), noise.FIRST_BYTES + 100,
                                   len(recording) - 1)]
            first = noise.SECOND_BYTES if round_number > 0 else 0
            assert answers == [first, 0, 0]
        assert "peer-up" not in target.log()[begin:]
        if round_number > 0:
            assert "a record that does not open" in target.log()[begin:]
        if round_number == 0:
            node.kill()
            node.start().up()
            cluster.wait_members(3).wait_same()
            wait_links(cluster, node)  # From here on no link is made.
    go_on(cluster)


@pytest.mark.parametrize("how", ["flip", "cut", "repeat", "swap", "splice"])
def test_a_stream_that_was_tampered_with(sealed, how):
    """The link ends and is made anew; nothing is lost, nothing done twice."""
    cluster, node = sealed.cluster, sealed.behind
    changed = []

    def change(data):
        if len(data) < 100 or time.monotonic() < change.next:
            return data
        change.next = time.monotonic() + 0.3
        changed.append(how)
        middle = len(data) // 2
        if how == "flip":
            return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]
        if how == "cut":
            return data[:middle] + data[middle + 20:]
        if how == "repeat":
            return data + data
        if how == "splice":  # Records of another link, or of this one before.
            return bytes(sealed.relay.links[0][0][-2 * len(data):-len(data)])
        return data[middle:] + data[:middle]
    change.next = 0
    sealed.relay.change = change
    count, end = 0, time.monotonic() + 4
    while time.monotonic() < end or len(changed) < 3:
        if cluster[0].put("k", str(count)).status == 200:
            count += 1
        time.sleep(0.01)
    sealed.relay.change = lambda data: data
    assert len(changed) >= 3
    wait_for(lambda: "a record that does not open" in node.log()
             or "malformed record" in node.log(), 10, "it was seen")
    cluster.wait_members(3).wait_same()
    assert node.get("k", "none") == str(count - 1)
    go_on(cluster)


def test_a_node_does_not_talk_to_itself(sealed):
    """Its own handshake, sent back to it by a relay at a member's address."""
    cluster = sealed.cluster
    leader = cluster.wait_leader()
    relay = Relay(leader.raft_port)
    assert leader.request("POST", "/join", {
        "id": "mirror", "addr": f"{HOST}:{relay.port}"}).status == 200
    wait_for(lambda: sum(len(link[1]) > noise.SECOND_BYTES
                         for link in relay.links) >= 2, 15, "it dials")
    time.sleep(3)
    [row] = [p for p in leader.status()["peers"] if p["id"] == "mirror"]
    assert row["role"] == "learner" and not row["reachable"]
    relay.close()
    assert leader.request("DELETE", "/nodes/mirror").status == 200
    go_on(cluster)


# ---- addresses that get into the membership ----

class Spy:
    """Listens like a node, keeps what comes, and answers with something."""

    def __init__(self, port, answer):
        self.answer = answer
        self.heard = []
        self.listener = socket.create_server((HOST, port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.listen, args=(peer,), daemon=True).start()

    def listen(self, peer):
        heard = bytearray()
        self.heard.append(heard)
        peer.settimeout(3)
        try:
            while data := peer.recv(65536):
                heard += data
                if len(heard) >= noise.FIRST_BYTES:
                    peer.sendall(self.answer(bytes(heard)))
        except OSError:
            pass
        peer.close()

    def close(self):
        self.listener.close()


def with_a_made_up_key(heard):
    """The answer of somebody who knows the format and another key."""
    me = noise.Responder(os.urandom(32))
    me.mix_public(heard[8:40])
    me.mix_hash(heard[40:56])  # Not opened: it cannot be.
    public = me.write()
    me.mix_key(noise.x25519(me.secret, heard[8:40]))
    return public + me.seal(b"")


@pytest.mark.parametrize("answer", [
    lambda heard: b"", lambda heard: os.urandom(48), lambda heard: heard[8:56],
    lambda heard: bytes(48), with_a_made_up_key,
    lambda heard: fake.frame(fake.WELCOME, b"")],
    ids=["silent", "random", "reflects", "zeros", "another-key", "in-clear"])
def test_a_stranger_in_the_membership_learns_nothing(sealed, answer):
    """POST /join makes the leader dial: it says its first message and no more,
    and who cannot answer that never votes."""
    cluster = sealed.cluster
    leader = cluster.wait_leader()
    spy = Spy(0, answer)
    assert leader.request("POST", "/join", {
        "id": "spy", "addr": f"{HOST}:{spy.port}"}).status == 200
    wait_for(lambda: len(spy.heard) >= 2, 15, "it is dialled")
    assert leader.put("secret", "x" * 1000).status == 200
    time.sleep(4)
    for heard in spy.heard:
        assert heard.startswith(noise.MAGIC) and len(heard) <= noise.FIRST_BYTES
    [row] = [p for p in leader.status()["peers"] if p["id"] == "spy"]
    assert row["role"] == "learner" and not row["reachable"]
    spy.close()
    assert leader.request("DELETE", "/nodes/spy").status == 200
    go_on(cluster)


def test_the_address_of_a_dead_member_is_worth_nothing(sealed):
    """Whoever listens there now, and even takes its place in the membership."""
    cluster = sealed.cluster
    leader = cluster.wait_leader()
    dead = [node for node in followers(cluster) if node is not sealed.behind][0]
    dead.kill()
    spy = Spy(dead.raft_port, with_a_made_up_key)
    body = {"id": "evil", "addr": dead.raft}
    wait_for(lambda: leader.request("POST", "/join", body).json().get("code")
             == "address-taken", 10, "it is refused")
    assert leader.request("POST", "/join", dict(body, replace=True)).status == 200
    time.sleep(4)
    [row] = [p for p in leader.status()["peers"] if p["id"] == "evil"]
    assert row["role"] == "learner"
    assert all(len(heard) <= noise.FIRST_BYTES for heard in spy.heard)
    spy.close()


def greeting_of(node):
    """A HELLO of a made-up cluster, which knows the directory that joins."""
    with open(os.path.join(node.dir, "UUID"), "rb") as file:
        return fake.hello(os.urandom(16), 1, 7, to_uuid=file.read(16),
                          to_name=node.name)


def test_a_node_that_joins_is_adopted_by_no_other_cluster(cluster, tmp_path):
    """Before the cluster that it asks has answered."""
    key = new_key()
    path = write_keys(tmp_path / "key", key)
    first = cluster.new(args=with_key(path))
    node = cluster.add(first.http, args=with_key(path)).up()
    for attacker in (in_clear, with_another_key, with_no_key):
        assert attacker(None, node, greeting_of(node)) == b""
    assert "adopt" not in node.log() and "foreign" not in node.log()
    assert node.status()["cluster"] == "0" * 32
    # The control has the key, and so it is believed.
    control = cluster.add(first.http, args=with_key(path)).up()
    with SealedPeer(control, key) as peer:
        peer.send(greeting_of(control))
        assert peer.receive()[0] == fake.WELCOME
    control.kill()
    cluster.nodes.remove(control)
    first.start().up()
    cluster.wait_members(2).wait_same()


# ---- many of them ----

class Flood:
    """As many connections as it can make, which send that and are renewed."""

    def __init__(self, nodes, data, source="127.0.0.9", threads=2):
        self.nodes, self.data, self.source = nodes, data, source
        self.count = 0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True)
                        for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self):
        held = []
        while not self.over.is_set():
            for node in self.nodes:
                client = socket.socket()
                try:
                    client.settimeout(1)
                    client.bind((self.source, 0))
                    client.connect((HOST, node.raft_port))
                    client.sendall(self.data)
                except OSError:
                    pass
                held.append(client)
                self.count += 1
            while len(held) > 20:
                held.pop(0).close()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("source, kind", [
    ("127.0.0.9", "silence"), ("127.0.0.9", "a wrong key"),
    ("127.0.0.9", "a recording"), (HOST, "a recording")])
def test_a_flood_of_handshakes_stops_no_member(sealed, source, kind):
    """No election, and members that start again come back in the flood, also
    when it comes from an address of theirs."""
    cluster = sealed.cluster
    recorded = bytes(sealed.relay.links[-1][0][:noise.FIRST_BYTES])
    data = {"silence": b"", "a recording": recorded,
            "a wrong key": noise.MAGIC + os.urandom(48)}[kind]
    leader = cluster.wait_leader()
    term = leader.status()["term"]
    flood = Flood(list(cluster), data, source)
    try:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert leader.put("before", "1", timeout=2).status == 200
            time.sleep(0.02)
        assert leader.status()["term"] == term
        for node in cluster:
            node.kill()
        for node in cluster:
            node.start()
        wait_for(lambda: all(node.request("GET", "/readyz", timeout=1).status == 200
                             for node in cluster), 15, "all are ready")
    finally:
        flood.stop()
    assert flood.count > 500
    go_on(cluster)
