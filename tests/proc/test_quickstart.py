"""The walks through hraftd's and brokerd's READMEs, line by line.

The lines are theirs, with the ports mapped to free ones, craftd in place of
hraftd, and a home directory of the test's own."""
import itertools
import os
import shlex
import subprocess

import pytest

from cluster import BINARY, ROOT, request, wait_for


class Walk:
    """Types the lines of a README into a shell."""

    def __init__(self, cluster, tmp_path):
        self.cluster = cluster
        self.home = str(tmp_path)
        self.nodes = [cluster.new(f"node{i}", host="localhost") for i in range(3)]

    def map(self, line):
        for i, node in enumerate(self.nodes):
            line = line.replace(f"1100{i}", str(node.http_port))
            line = line.replace(f"1200{i}", str(node.raft_port))
        for program in ("$GOPATH/bin/hraftd", "$GOPATH/hraftd"):
            line = line.replace(program, BINARY)
        return line

    def daemon(self, i, line):
        argv = shlex.split(self.map(line))
        argv = [word.replace("~", self.home, 1) if word.startswith("~") else word
                for word in argv]
        return self.nodes[i].start(argv).up()

    def block(self, text, folder, shell="sh"):
        """A block of a README, pasted into a fresh shell there."""
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": self.home}
        return subprocess.run([shell, "-e", "-u"], input=self.map(text), timeout=60,
                              cwd=folder, capture_output=True, env=environment,
                              text=True, check=False)

    def curl(self, line, code=0):
        # curl's own words (-v) go to stderr; the body is what counts.
        done = subprocess.run(["sh", "-c", self.map(line)], timeout=20,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              env=dict(os.environ, HOME=self.home), text=True)
        assert done.returncode == code, (line, done)
        return done.stdout


@pytest.fixture
def walk(cluster, tmp_path):
    return Walk(cluster, tmp_path)


def test_hraftd_walk(walk):
    walk.daemon(0, "$GOPATH/bin/hraftd -haddr :11000 -raddr :12000 ~/node0")
    assert walk.curl("""curl -XPOST localhost:11000/key -d '{"user1": "batman"}'""") == ""
    assert walk.curl("curl -XGET localhost:11000/key/user1") == '{"user1":"batman"}'

    walk.daemon(1, "$GOPATH/bin/hraftd -haddr :11001 -raddr :12001 -join :11000 ~/node1")
    walk.daemon(2, "$GOPATH/bin/hraftd -haddr :11002 -raddr :12002 -join :11000 ~/node2")
    for port in (11000, 11001, 11002):
        assert walk.curl(f"curl -XGET localhost:{port}/key/user1") == '{"user1":"batman"}'

    # Nothing is waited for in between: a reader of the README does not either.
    assert walk.curl("""curl -XPOST localhost:11000/key -d '{"user2": "robin"}'""") == ""
    for port in (11000, 11001, 11002):
        assert walk.curl(f"curl -XGET localhost:{port}/key/user2") == '{"user2":"robin"}'

    # "Kill the leader process and watch one of the other nodes be elected
    # leader. The keys are still available for query on the other nodes, and
    # you can set keys on the new leader."
    def voters():
        state = walk.nodes[0].status()
        return sum(p["role"] == "voter" for p in state["peers"]) >= 2
    wait_for(voters, 10, "both are voters")
    walk.nodes[0].kill()
    assert walk.curl("curl -XGET localhost:11001/key/user1") == '{"user1":"batman"}'
    assert walk.curl("""curl -XPOST localhost:11002/key -d '{"user3": "alfred"}'""") == ""
    # "when the first node is restarted, it will rejoin the cluster and learn
    # about any updates that occurred while it was down."
    walk.daemon(0, "$GOPATH/bin/hraftd -haddr :11000 -raddr :12000 ~/node0")
    assert walk.curl("curl -XGET localhost:11000/key/user3") == '{"user3":"alfred"}'


def test_first_readme_lines(walk):
    walk.daemon(0, "$GOPATH/hraftd -haddr localhost:11000 -raddr localhost:12000 ~/node0")
    assert walk.curl("""curl -v -XPOST localhost:11000/key -d '{"foo": "bar"}'""") == ""
    assert walk.curl("curl -v -XGET localhost:11000/key/foo") == '{"foo":"bar"}'


def test_first_readme_cluster(walk):
    """hraftd's first README names a directory before the flags, and ports alone."""
    walk.daemon(0, "$GOPATH/hraftd -haddr :11000 -raddr :12000 ~/node0")
    assert walk.curl("""curl -v -XPOST localhost:11000/key -d '{"user1": "batman"}'""") == ""
    walk.daemon(1, "$GOPATH/hraftd ~/node0 -haddr 11001 -raddr 12001 -join :11000 ~/node1")
    walk.daemon(2, "$GOPATH/hraftd ~/node0 -haddr 11002 -raddr 12002 -join :11000 ~/node2")
    for port in (11000, 11001, 11002):
        assert walk.curl(f"curl -v -XGET localhost:{port}/key/user1") == '{"user1":"batman"}'
    assert walk.curl("""curl -v -XPOST localhost:11000/key -d '{"user2": "robin"}'""") == ""
    assert walk.curl("""curl -v -XPOST localhost:11000/key -d '{"foo": "bar"}'""") == ""
    for port in (11000, 11001, 11002):
        assert walk.curl(f"curl -v -XGET localhost:{port}/key/user2") == '{"user2":"robin"}'
    assert walk.curl("curl -v -XGET localhost:11002/key/foo") == '{"foo":"bar"}'


def test_brokerd_walk(walk):
    walk.daemon(0, "$GOPATH/bin/hraftd -id node0 -haddr :11000 -raddr :12000 ~/node0")
    assert walk.curl("""curl -XPOST localhost:11000/key -d '{"foo": "bar"}'""") == ""
    assert walk.curl("curl -XGET localhost:11000/key/foo") == '{"foo":"bar"}'
    walk.daemon(1, "$GOPATH/bin/hraftd -id node1 -haddr :11001 -raddr :12001 -join :11000 ~/node1")
    walk.daemon(2, "$GOPATH/bin/hraftd -id node2 -haddr :11002 -raddr :12002 -join :11000 ~/node2")
    assert walk.curl("""curl -XPOST localhost:11002/key -d '{"user2": "robin"}'""") == ""
    for port in (11000, 11001, 11002):
        assert walk.curl(f"curl -XGET localhost:{port}/key/user2") == '{"user2":"robin"}'
    assert walk.nodes[1].status()["me"]["id"] == "node1"


def test_brokerd_flags(walk):
    """-i -h -r -j -d and their long forms; -h with a word is an address."""
    walk.daemon(0, "$GOPATH/bin/hraftd -i node0 -h localhost:11000 -r localhost:12000 -d ~/node0")
    walk.daemon(1, "$GOPATH/bin/hraftd --id=node1 --http=localhost:11001 "
                   "--raft=localhost:12001 --join=localhost:11000 --dir=~/node1"
                   .replace("~", walk.home))
    assert walk.curl("""curl -XPOST localhost:11001/key -d '{"foo": "bar"}'""") == ""
    assert walk.curl("curl -XGET localhost:11000/key/foo") == '{"foo":"bar"}'


def test_own_client_form(walk):
    """hraftd's own test posts with Content-Type application-type/json."""
    walk.daemon(0, "$GOPATH/bin/hraftd -haddr :11000 -raddr :12000 ~/node0")
    response = request(walk.nodes[0].http_port, "POST", "/key", {"k1": "v1"},
                       {"Content-Type": "application-type/json"})
    assert (response.status, response.body) == (200, b"")


def test_default_id_is_the_raft_address(walk):
    walk.daemon(0, "$GOPATH/bin/hraftd -haddr localhost:11000 -raddr localhost:12000 ~/node0")
    me = walk.nodes[0].status()["me"]
    assert me["id"] == f"localhost:{walk.nodes[0].raft_port}"
    assert me["address"] == me["id"]


def first_block(page):
    """The first indented block of a page of the manual."""
    with open(os.path.join(ROOT, "scripts", "manual", page)) as f:
        lines = f.read().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("    "))
    block = itertools.takewhile(lambda line: line.startswith("    "), lines[first:])
    return "".join(line[4:] + "\n" for line in block)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_own_page_for_the_shell(walk, tmp_path, shell):
    """As printed, twice: no file is missing, the lock is free again, nothing is
    replaced, and every command ends with 0."""
    for i in range(3):
        join = "-join :11000 " if i else ""
        walk.daemon(i, f"$GOPATH/bin/hraftd -id node{i} -haddr :1100{i} -raddr :1200{i} "
                       f"{join}~/node{i}")
    walk.cluster.wait_members(3)
    os.symlink(os.path.dirname(BINARY), tmp_path / "build")
    block = first_block("shell.md")
    for command in ("put", "get", "ls", "txn", "nodes", "leader", "status", "backup",
                    "del", "bench-disk"):
        assert f"craftd {command}" in block
    for _ in range(2):
        done = walk.block(block, tmp_path, shell)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert "hello" in done.stdout and "fencing token" in done.stdout
        walk.nodes[0].put("since", "kept")
    assert walk.nodes[0].get("since") == "kept"
    assert walk.nodes[0].get("lock") is None
    with open(tmp_path / "backup.db", "rb") as f:
        assert f.read(15) == b"SQLite format 3"


def test_make_install(tmp_path):
    done = subprocess.run(["make", "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr"],
                          cwd=ROOT, capture_output=True, text=True, timeout=600,
                          check=False)
    assert done.returncode == 0, done
    installed = tmp_path / "usr" / "bin" / "craftd"
    assert os.access(installed, os.X_OK)
    done = subprocess.run([installed, "version"], capture_output=True, text=True,
                          timeout=10, check=False)
    assert done.stdout.startswith("craftd ")
