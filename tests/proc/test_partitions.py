"""Real processes in networks that are cut, healed and cut again, while clients
at every node read, write and delete. Each test ends with: every history is
linearizable, what was acknowledged is there, all nodes are the same.

A leader that is cut off steps down and answers nothing (E06, C02); who is cut
off disturbs nobody on his return (E03); bridges (E08); a leader that hears
nobody, though all hear it (E09); one that slept (E14).

    MINUTES=30 scripts/proc mixed_faults     a mix of all faults, five nodes
    SEED=n                                   repeats its choices
"""
import concurrent.futures
import os
import random
import signal
import time

import pytest

import netns
from cluster import wait_for
from history import Clients
from load import verify

MINUTES = float(os.environ.get("MINUTES", "0.1"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))


@pytest.fixture
def cluster(network):
    return network


def converge(cluster, *done):
    """All is healed: the nodes agree, and hold what they promised."""
    for clients in done:
        clients.stop()
    cluster.wait_leader(30)
    cluster.wait_same(30)
    for clients in done:
        clients.check()
    verify(cluster, *done)
    print([clients.summary() for clients in done])


def through(cluster, clients, pairs, kind="blackhole", connected=(), hold=0.3):
    """Cut; the connected ones go on; heal; all go on."""
    cluster.cut(pairs, kind)
    clients.wait_progress(connected)
    time.sleep(hold)
    cluster.heal()
    clients.wait_progress(cluster.nodes)


@netns.inside
def test_isolated_leader(tmp_path, cluster):
    cluster.start(3)
    clients = Clients(cluster.nodes).start()
    clients.wait_progress(cluster.nodes)
    leader = cluster.wait_leader(30)
    through(cluster, clients, netns.isolated(cluster.nodes, leader),
            connected=cluster.others(leader))
    converge(cluster, clients)


@netns.inside
def test_a_cut_that_moves(tmp_path, cluster):
    """A follower misses much, and comes back in the moment in which the leader
    is cut off. It is the most impatient one, so it asks for votes first, and
    must not get any."""
    cluster.new(args=["--election", "2s"]).start().up()
    cluster.wait_leader()
    for patience in ("2s", "600ms"):
        cluster.add(cluster[0].http, args=["--election", patience])
    cluster.wait_members(3)
    behind = cluster[2]
    clients = Clients(cluster.nodes).start()
    leader = cluster.wait_leader(30)
    while leader is behind:
        behind.request("POST", "/leader", {"id": cluster[0].name})
        leader = cluster.wait_leader(30)
    other = [node for node in cluster.others(leader) if node is not behind]
    cluster.cut(netns.isolated(cluster.nodes, behind))
    clients.wait_progress([leader] + other)
    cluster.cut(netns.isolated(cluster.nodes, leader))
    clients.wait_progress([behind] + other)
    cluster.heal()
    clients.wait_progress([leader])
    converge(cluster, clients)


@netns.inside
def test_minority(tmp_path, cluster):
    """Two of five: with the leader, then without."""
    cluster.start(5)
    clients = Clients(cluster.nodes, rate=20).start()
    clients.wait_progress(cluster.nodes)
    for with_leader in (True, False):
        leader = cluster.wait_leader(30)
        others = cluster.others(leader)
        few, many = others[:2], others[2:] + [leader]
        if with_leader:
            few, many = others[:1] + [leader], others[1:]
        through(cluster, clients, netns.between(few, many),
                "blackhole" if with_leader else "unreachable", many)
    converge(cluster, clients)


@netns.inside
@pytest.mark.parametrize("direction", ("mute", "deaf"))
def test_one_way(tmp_path, cluster, direction):
    """The leader is not heard, or does not hear; then a follower."""
    cluster.start(3)
    clients = Clients(cluster.nodes).start()
    clients.wait_progress(cluster.nodes)
    leader = cluster.wait_leader(30)
    for node in (leader, cluster.others(leader)[0]):
        cut = getattr(netns, direction)(cluster.nodes, node)
        through(cluster, clients, cut, connected=cluster.others(node))
    converge(cluster, clients)


@netns.inside
def test_questions_arrive_and_answers_do_not(tmp_path, cluster):
    """The leader hears a follower that does not hear it: what the follower
    passes on is done, and it never learns that. Done once: what came after it
    stays. And not called undone."""
    cluster.start(3)
    leader = cluster.wait_leader(30)
    follower = cluster.others(leader)[0]
    assert follower.put("before", "1").status == 200
    keys = [f"question-{i}" for i in range(8)]
    cluster.cut({(leader, follower)})
    with concurrent.futures.ThreadPoolExecutor(len(keys)) as pool:
        asked = [pool.submit(follower.request, "POST", "/key?timeout=20s",
                             {key: "first"}, timeout=30) for key in keys]
        wait_for(lambda: any(leader.get(key) for key in keys), 20,
                 "a question arrives")
        time.sleep(0.2)
        done = [key for key in keys if leader.get(key) == "first"]
        for key in done:
            assert leader.put(key, "second").status == 200
        # Until the link was given up, so that it is made again.
        wait_for(lambda: 'why="silent' in follower.log(), 20, "a broken link")
        cluster.heal()
        answers = dict(zip(keys, (question.result() for question in asked)))
    cluster.wait_leader(30)
    cluster.wait_same(30)
    print(done, {key: answer.status for key, answer in answers.items()})
    for key in done:
        answer = answers[key]
        assert answer.status == 200 or answer.json()["outcome"] == "unknown", answer
        assert [node.get(key, "none") for node in cluster] == ["second"] * 3, key


@netns.inside
@pytest.mark.parametrize("count,rounds", ((3, (False, True)), (5, (False,))),
                         ids=("three", "five"))
def test_bridge(tmp_path, cluster, count, rounds):
    """The halves meet in one node only, which follows, or leads; the middle
    and either half are a majority, so somebody goes on."""
    cluster.start(count)
    clients = Clients(cluster.nodes, rate=90 // count).start()
    clients.wait_progress(cluster.nodes)
    for middle_leads in rounds:
        leader = cluster.wait_leader(30)
        middle = leader if middle_leads else cluster.others(leader)[0]
        through(cluster, clients, netns.bridge(cluster.nodes, middle),
                connected=[middle])
    converge(cluster, clients)


@netns.inside
def test_stopped_leader(tmp_path, cluster):
    """It sleeps through an election, its sockets open, and wakes up cut off
    from all but its clients, who ask it what it believes."""
    cluster.start(3)
    clients = Clients(cluster.nodes).start()
    clients.wait_progress(cluster.nodes)
    for cut_off in (False, True):
        leader = cluster.wait_leader(30)
        leader.send(signal.SIGSTOP)
        clients.wait_progress(cluster.others(leader))
        if cut_off:
            cluster.cut(netns.isolated(cluster.nodes, leader))
        leader.send(signal.SIGCONT)
        time.sleep(1)
        cluster.heal()
        clients.wait_progress(cluster.nodes)
    converge(cluster, clients)


class Mix:
    """One fault after another, of all kinds, several at a time."""

    def __init__(self, cluster, dice):
        self.cluster = cluster
        self.dice = dice
        self.killed, self.stopped = [], []

    def cut(self):
        nodes, dice = list(self.cluster.nodes), self.dice
        dice.shuffle(nodes)
        leader = self.cluster.leader() or nodes[0]
        who = dice.choice((leader, nodes[0]))
        pairs = dice.choice((
            lambda: netns.isolated(nodes, who),
            lambda: netns.mute(nodes, who),
            lambda: netns.deaf(nodes, who),
            lambda: netns.between(nodes[:2], nodes[2:]),
            lambda: netns.bridge(nodes, who),
            lambda: netns.ring(nodes),
            lambda: {pair for pair in netns.between(nodes, nodes)
                     if pair[0] is not pair[1] and dice.random() < 0.3},
        ))()
        self.cluster.cut(pairs, dice.choice(netns.KINDS))

    def unplug(self):
        self.cluster.unplug(self.dice.choice(self.cluster.nodes))

    def kill(self):
        count = self.dice.choice((1, 1, 2, 5))
        for node in self.dice.sample(self.cluster.nodes, count):
            if node not in self.killed + self.stopped:
                node.kill()
                self.killed.append(node)

    def stop(self):
        node = self.dice.choice((self.cluster.leader(),
                                 self.dice.choice(self.cluster.nodes)))
        if node and node not in self.killed + self.stopped:
            node.send(signal.SIGSTOP)
            self.stopped.append(node)

    def transfer(self):
        """Leadership moves with a SIGTERM, too."""
        node = self.cluster.leader()
        if node and node not in self.stopped:
            node.send(signal.SIGTERM)
            node.wait_exit(20)
            self.killed.append(node)

    def some(self, count):
        for _ in range(count):
            fault = self.dice.choice((self.cut, self.cut, self.cut, self.unplug,
                                      self.kill, self.stop, self.transfer))
            fault()
            time.sleep(self.dice.choice((0, 0.2, self.dice.uniform(0, 4))))

    def heal(self):
        """In any order."""
        def wake():
            for node in self.stopped:
                node.send(signal.SIGCONT)

        def restart():
            for node in self.killed:
                node.start()
        steps = [self.cluster.heal, wake, restart]
        self.dice.shuffle(steps)
        for step in steps:
            step()
            time.sleep(self.dice.choice((0, 0, self.dice.uniform(0, 1))))
        self.killed, self.stopped = [], []


@netns.inside
def test_mixed_faults(tmp_path, cluster):
    print(f"SEED={SEED} MINUTES={MINUTES}")
    dice = random.Random(SEED)
    cluster.start(5)
    mix = Mix(cluster, dice)
    end = time.monotonic() + MINUTES * 60
    while True:
        # Every few rounds all is checked, with fresh clients after that.
        clients = Clients(cluster.nodes, rate=20, seed=dice.random()).start()
        for _ in range(5):
            clients.wait_progress(cluster.nodes, count=4, timeout=60)
            if time.monotonic() > end:
                break
            mix.some(dice.randint(1, 3))
            mix.heal()
        clients.wait_progress(cluster.nodes, count=4, timeout=60)
        converge(cluster, clients)
        if time.monotonic() > end:
            break
