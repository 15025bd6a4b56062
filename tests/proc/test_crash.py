"""kill -9, SIGSTOP, restarts under load. What was acknowledged stays.

ROUNDS=20 makes the random rounds a long run (3 by default); SEED=n repeats
the choices of a run, as far as processes and threads let themselves be
repeated."""
import os
import random
import signal
import socket
import threading
import time

from cluster import HOST, Stopwatch, wait_for
from load import Register, Writers, verify

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))


def test_kill_the_leader_under_load(cluster):
    cluster.start(3)
    writers = Writers(cluster.nodes, threads=4, rate=80, count=2000).start()
    register = Register(cluster.nodes).start()
    writers.wait_acked(50)
    leader = cluster.wait_leader()
    leader.kill()
    cluster.wait_leader()
    writers.wait_acked(50)
    leader.start()
    writers.wait_acked(50)
    writers.stop()
    register.stop()
    cluster.wait_members(3).wait_same()
    count = verify(cluster, writers)
    print(writers.summary(), "reads", register.reads)
    assert count > 100, "too little was written to mean anything"


def test_random_kills(cluster):
    print(f"SEED={SEED} ROUNDS={ROUNDS}")
    choice = random.Random(SEED)
    cluster.start(3)
    done = []
    for number in range(ROUNDS):
        writers = Writers(cluster.nodes, threads=3, rate=60, count=500,
                          tag=f"r{number}").start()
        register = Register(cluster.nodes).start()
        for _ in range(2):
            time.sleep(choice.uniform(0.1, 0.8))
            victims = choice.sample(cluster.nodes, choice.choice((1, 1, 2, 3)))
            for node in victims:
                node.kill()
                time.sleep(choice.choice((0, 0, 0.05)))
            time.sleep(choice.uniform(0, 0.6))
            choice.shuffle(victims)
            for node in victims:
                node.start()
            cluster.wait_leader(15)
        writers.stop()
        register.stop()
        cluster.wait_same()
        done.append(writers)
        # All rounds so far, not only this one.
        verify(cluster, *done)
        print(number, writers.summary(), "reads", register.reads)


def test_kill_all_at_once(cluster):
    """The power fails (as far as a kill shows it): all go in one moment."""
    cluster.start(3)
    writers = Writers(cluster.nodes, threads=4, rate=100, count=2000).start()
    writers.wait_acked(100)
    cluster.kill_all()
    writers.stop()
    cluster.start_all()
    cluster.wait_leader(15)
    cluster.wait_same()
    assert verify(cluster, writers) > 50
    assert cluster[1].put("afterwards", "1").status == 200


def test_kill_one_node_cluster_again_and_again(cluster):
    node = cluster.new().start().up()
    done = []
    for number in range(4):
        cluster.wait_leader()
        writers = Writers([node], threads=4, rate=150, count=100,
                          tag=f"one{number}").start()
        writers.wait_acked(40)
        node.kill()
        writers.stop()
        node.start().up()
        cluster.wait_leader()
        cluster.wait_same()
        done.append(writers)
        verify(cluster, *done)


def test_rolling_restart_under_load(cluster):
    """SIGTERM, one after the other: no write needs more than one retry."""
    cluster.start(3)
    writers = Writers(cluster.nodes, threads=4, rate=60, count=900,
                      retries=1).start()
    writers.wait_acked(50)
    leader = cluster.wait_leader()
    for node in cluster.others(leader) + [leader]:
        assert node.terminate() == 0
        writers.wait_acked(20)
        node.start().up()
        cluster.wait_members(3)
        cluster.wait_same()
    writers.stop()
    cluster.wait_same()
    print(writers.summary(), "slowest", writers.slowest)
    failed = [key for key in writers.outcome if key not in set(writers.acked())]
    assert not failed, f"{len(failed)} writes failed twice: {failed[:5]}"
    assert verify(cluster, writers) > 200
    assert writers.slowest < 5


def test_sigterm_hands_leadership_over(cluster):
    """A new leader within a second, that is: without an election timeout."""
    cluster.start(3)
    for _ in range(2):
        leader = cluster.wait_leader()
        term = leader.status()["term"]
        rest = cluster.others(leader)
        watch = Stopwatch(*cluster)
        leader.send(signal.SIGTERM)

        def handed_over():
            return any(n.status()["role"] == "leader" and n.status()["term"] > term
                       for n in rest)
        wait_for(handed_over, 5, "another leader", pause=0.01)
        seconds = watch.seconds()
        assert leader.wait_exit(10) == 0
        assert seconds < 1, f"took {seconds:.2f} s"
        assert rest[0].put("handed", "over").status == 200
        leader.start().up()
        cluster.wait_members(3).wait_same()


def test_a_stopped_follower_does_not_disturb_the_others(cluster):
    """SIGSTOP: it is not dead, its sockets are open, it answers nothing."""
    cluster.start(3)
    leader = cluster.wait_leader()
    sleeper, other = cluster.others(leader)
    term = leader.status()["term"]
    sleeper.send(signal.SIGSTOP)
    writers = Writers([leader, other], threads=2, rate=80, count=250).start()
    writers.wait()
    assert len(writers.acked()) == 500, writers.summary()
    assert writers.slowest < 1
    sleeper.send(signal.SIGCONT)
    cluster.wait_same()
    verify(cluster, writers)
    # It slept through elections that were none of its business.
    assert leader.status()["role"] == "leader"
    assert leader.status()["term"] == term


def test_a_stopped_leader_resumes_and_serves_no_stale_read(cluster):
    """E14: a read that was sent to the old leader after a newer value had been
    acknowledged elsewhere: the new value or an error, never the old one."""
    cluster.start(3)
    leader = cluster.wait_leader()
    rest = cluster.others(leader)
    assert leader.put("tale", "old").status == 200
    leader.send(signal.SIGSTOP)
    wait_for(lambda: any(n.status()["role"] == "leader" for n in rest), 10,
             "another leader")
    wait_for(lambda: rest[0].put("tale", "new").status == 200, 10, "a write")
    # The kernel takes the connections and the requests for the sleeper.
    waiting = []
    for _ in range(20):
        s = socket.create_connection((HOST, leader.http_port), 5)
        s.sendall(b"GET /key/tale HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        waiting.append(s)
    leader.send(signal.SIGCONT)
    for s in waiting:
        s.settimeout(15)
        data = b""
        while piece := s.recv(4096):
            data += piece
        s.close()
        assert b'"old"' not in data, data
        assert data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 50")), data
    cluster.wait_same()
    for node in cluster:
        assert node.get("tale") == "new"


def test_pauses_under_load(cluster):
    """Leaders stopped for longer than an election, with readers watching."""
    cluster.start(3)
    writers = Writers(cluster.nodes, threads=2, rate=40, count=400).start()
    register = Register(cluster.nodes).start()
    for _ in range(2):
        leader = cluster.wait_leader()
        leader.send(signal.SIGSTOP)
        time.sleep(2.5)
        leader.send(signal.SIGCONT)
        cluster.wait_leader()
        time.sleep(0.5)
    writers.stop()
    register.stop()
    cluster.wait_same()
    verify(cluster, writers)


def test_long_absence(cluster):
    """A follower that misses thousands of entries catches up, big ones too."""
    cluster.start(3)
    absent = cluster.others(cluster.wait_leader())[0]
    absent.kill()
    rest = cluster.running()
    writers = Writers(rest, threads=4, rate=2000, count=700).start()
    for i in range(8):
        assert rest[0].put(f"big-{i}", str(i) * 900000).status == 200
    writers.wait()
    absent.start().up()
    cluster.wait_same(30)
    verify(cluster, writers)
    for i in range(8):
        assert absent.get(f"big-{i}", "none") == str(i) * 900000


def test_many_concurrent_writers_on_a_follower(cluster):
    """All through forwarding; replies are never crossed."""
    cluster.start(3)
    follower = cluster.others(cluster.wait_leader())[0]
    wrong = []

    def work(number):
        for i in range(40):
            key = f"f-{number}"
            if follower.put(key, f"{number}-{i}").status != 200:
                wrong.append((number, i, "put"))
            elif follower.get(key) != f"{number}-{i}":
                wrong.append((number, i, "get"))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong, wrong[:5]
