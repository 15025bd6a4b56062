"""Locks on real nodes: their leader dies, their holder is cut off, the lines of the
manual."""
import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import time

import pytest

import netns
from cluster import BINARY, HOST, ROOT, die_with_parent, wait_for


def tickets(node, name):
    items = node.request("GET", f"/keys?prefix={name}/").json()["items"]
    return sorted(items, key=lambda item: item["create_index"])


class Locker:
    """craftd lock with a command that writes, with times, when it begins and ends,
    into a file."""
    numbers = itertools.count()

    def __init__(self, addr, name, folder, ttl="3s"):
        self.path = str(folder / f"locker-{next(Locker.numbers)}")
        script = f'echo "begin $CRAFTD_LOCK_TOKEN $(date +%s.%N)" >>{self.path}; ' \
                 f"while :; do date +%s.%N >>{self.path}.alive; sleep 0.05; done"
        argv = [BINARY, "lock", "--addr", addr, "--ttl", ttl, name, "sh", "-c", script]
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=die_with_parent)

    def began(self):
        """(token, time), or None."""
        try:
            with open(self.path, encoding="ascii") as f:
                _, token, at = f.read().split()
                return int(token), float(at)
        except (FileNotFoundError, ValueError):
            return None

    def alive_until(self):
        with open(self.path + ".alive", encoding="ascii") as f:
            return float(f.read().split()[-1])

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def lockers():
    running = []
    yield running
    for locker in running:
        locker.process.kill()
        locker.process.wait()


def addr_of(nodes):
    return ",".join(node.http for node in nodes)


def test_a_lock_outlives_the_leader(cluster, lockers, tmp_path):
    """The leader is killed, twice, while the lock is held and waited for: it is
    held all the time, and goes on to the next one."""
    nodes = cluster.start(3)
    for _ in range(2):
        lockers.append(Locker(addr_of(nodes), "jobs/a", tmp_path, ttl="8s"))
        wait_for(lambda: len(tickets(nodes[0], "jobs/a")) == len(lockers),
                 what="a ticket")
    first, second = lockers
    token, _ = wait_for(first.began, 20, "the first holds it")
    for _ in range(2):
        leader = cluster.wait_leader()
        leader.kill()
        cluster.wait_leader(20)
        time.sleep(3)
        leader.start().up()
    assert first.process.poll() is None and second.began() is None
    first.end()
    ended = first.alive_until()
    next_token, began = wait_for(second.began, 20, "the second holds it")
    assert next_token > token and began >= ended


def test_a_lock_outlives_a_restart_of_all_nodes(cluster, lockers, tmp_path):
    nodes = cluster.start(3)
    lockers.append(Locker(addr_of(nodes), "jobs/b", tmp_path, ttl="20s"))
    lockers.append(Locker(addr_of(nodes), "jobs/b", tmp_path, ttl="20s"))
    wait_for(lambda: len(tickets(nodes[0], "jobs/b")) == 2, what="two tickets")
    before = tickets(nodes[0], "jobs/b")
    for node in nodes:
        node.kill()
    for node in nodes:
        node.start()
    cluster.wait_leader(20)
    wait_for(lambda: tickets(nodes[0], "jobs/b") == before, 20, "the same tickets")
    time.sleep(5)
    assert sum(locker.began() is not None for locker in lockers) == 1
    assert all(locker.process.poll() is None for locker in lockers)


def test_a_restore_ends_a_lock(cluster, lockers, tmp_path):
    nodes = cluster.start(1)
    backup = nodes[0].request("GET", "/backup").body
    lockers.append(Locker(nodes[0].http, "jobs/c", tmp_path))
    wait_for(lockers[0].began, 20, "it holds the lock")
    assert nodes[0].request("POST", "/restore", backup).status == 200
    assert lockers[0].process.wait(20) == 8


def test_a_lock_needs_the_permissions_that_the_manual_names(cluster, tmp_path):
    rules, token = tmp_path / "auth.json", tmp_path / "token"
    digest = hashlib.sha256(b"secret").hexdigest()
    rules.write_text(json.dumps([
        {"token": "sha256:" + digest,
         "perms": ["lease", "read:jobs/", "write:jobs/"]},
        {"username": "*", "perms": ["status"]}]))
    token.write_text("secret")
    for path in (rules, token):
        path.chmod(0o600)
    node = cluster.new(args=["--auth", str(rules)]).start().up()
    cluster.wait_leader()
    for name, code in (("jobs/a", 0), ("other/a", 1)):
        done = subprocess.run(
            [BINARY, "lock", "--addr", node.http, name, "true"], capture_output=True,
            env=dict(os.environ, CRAFTD_TOKEN_FILE=str(token)), text=True, timeout=30)
        assert done.returncode == code, done
        assert (code == 0) == (done.stderr == ""), done


@netns.inside
@pytest.mark.parametrize("kind", ["blackhole", "unreachable"])
def test_the_node_of_the_holder_is_cut_off(network, lockers, tmp_path, kind):
    """The holder knows that node alone. Its command has ended when the next one
    holds the lock, though none of the two can know of the other."""
    nodes = network.start(3)
    leader = network.wait_leader()
    lost, other = network.others(leader)
    for node in (lost, other):
        lockers.append(Locker(f"{node.reach}:{node.http_port}", "jobs/n", tmp_path))
        wait_for(lambda: len(tickets(leader, "jobs/n")) == len(lockers),
                 what="a ticket")
    first, second = lockers
    token, _ = wait_for(first.began, 20, "the first holds it")
    network.cut(netns.isolated(network.nodes, lost), kind)
    assert first.process.wait(20) == 8
    next_token, began = wait_for(second.began, 20, "the second holds it")
    assert next_token > token
    assert first.alive_until() <= began
    network.heal()
    wait_for(lambda: len(tickets(lost, "jobs/n")) == 1, 20, "it is back")


# ---- the manual ----

def recipe():
    """The lines with curl of the page."""
    with open(os.path.join(ROOT, "scripts", "manual", "locks.md"),
              encoding="utf-8") as f:
        text = f.read()
    return re.findall(r"(?m)^ {4,7}(curl (?:.*txn.*\n.*|.*))$", text)


def test_the_recipe_works_at_every_node(cluster, tmp_path):
    """Two who follow it by hand, line by line as printed, and a craftd lock between
    them."""
    nodes = cluster.start(3)
    grant, ticket, queue, wait, renew, release, simple, fenced = recipe()

    def run(line, **variables):
        line = line.replace("localhost:11000", f"{HOST}:{node.http_port}")
        done = subprocess.run(["sh", "-c", line.replace("-s ", "-si ", 1)], timeout=60,
                              capture_output=True, text=True, check=True,
                              env=dict(os.environ, **variables))
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        return int(head.split()[1]), head, body

    for node in nodes:
        leases = []
        for _ in range(2):
            status, _, body = run(grant)
            assert status == 201, body
            leases.append(json.loads(body)["id"])
            assert run(ticket, lease=leases[-1])[0] == 201
        status, head, body = run(queue)
        items = sorted(map(json.loads, body.splitlines()),
                       key=lambda item: item["create_index"])
        assert [item["key"] for item in items] == [
            f"jobs/backup/{lease}" for lease in leases]
        waiter = subprocess.Popen([BINARY, "lock", "--addr", node.http, "jobs/backup",
                                   "echo", "held"], stdout=subprocess.PIPE, text=True)
        index = re.search(r"(?mi)^craftd-index: (\d+)$", head)[1]
        assert run(renew, lease=leases[0])[0] == 204
        assert run(fenced, lease=leases[0])[0] == 200
        assert run(simple, lease=leases[0])[0] == 201
        assert run(simple, lease=leases[1])[0] == 412
        assert run(release, lease=leases[0])[0] == 200
        assert run(wait, ahead=leases[0], index=index)[0] == 404
        assert run(renew, lease=leases[0])[0] == 404
        assert run(fenced, lease=leases[0])[0] == 412
        assert run(simple, lease=leases[1])[0] == 201
        assert waiter.poll() is None
        assert run(release, lease=leases[1])[0] == 200
        assert waiter.communicate(timeout=30)[0] == "held\n"
        wait_for(lambda node=node: not tickets(node, "jobs/backup"), what="none is left")
