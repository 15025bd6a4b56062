"""Start, stop and talk to real craftd processes on loopback.

Used by the tests in this directory and by tests/bench. Standard library only.
Every process is ended by the pid this module started, and dies with the test
runner whatever happens to that (PR_SET_PDEATHSIG). Start nodes from the main
thread: the kernel sends that signal when the *thread* that forked ends.
"""
import collections
import contextlib
import ctypes
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("CRAFTD", os.path.join(ROOT, "build", "craftd"))
HOST = "127.0.0.1"

# Exceptions of a request while nodes start and stop.
TROUBLE = (OSError, http.client.HTTPException)

# A hint that a busy machine gives, and the node is not to blame for.
SLOW_DISK = "the disk is slow: one fdatasync in a hundred takes more than 100 ms"

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNET = 0x40000000


def die_with_parent():
    """In the child. A shell that runs the tests in its background ignores
    SIGINT, and so would everything that is started from them."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _checked(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def forbidding(calls, argv):
    """The words that run argv where the kernel refuses that system call (EPERM),
    or, with a dict of numbers and errnos, those calls."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "forbid_call.py")
    if isinstance(calls, dict):
        calls = ",".join(f"{number}={error}" for number, error in calls.items())
    return [sys.executable, script, str(calls)] + argv


def enter_network(namespace):
    """Move the calling thread to the network namespace of that descriptor."""
    _checked(_libc.setns(namespace, _CLONE_NEWNET))


def leave_network():
    """Move the calling thread to a new network namespace of its own."""
    _checked(_libc.unshare(_CLONE_NEWNET))


# Ports are taken under the range that the kernel hands out to outgoing
# connections (32768 and up by default): a node that is down for a moment must
# find its port free again, not in use as the source port of a stranger.
# Each of several workers (pytest-xdist) has ports of its own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PORTS = list(range(20000, 32000))[_WORKER::_WORKERS]
random.Random(os.getpid() * 7919 + int(time.time())).shuffle(_PORTS)


def free_port():
    """A port that could be bound just now, and is given out once."""
    while _PORTS:
        port = _PORTS.pop()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind((HOST, port))
                return port
    raise RuntimeError("no free port")


def cpu_wait_seconds(task):
    """Seconds for which that task of /proc was ready to run, and the machine
    had no processor for it; 0 where the kernel does not say."""
    try:
        with open(f"/proc/{task}/schedstat") as f:
            return int(f.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class Stopwatch:
    """Measures how long craftd takes, whatever else runs on the machine: the
    time since the start, without the time for which this thread or one of the
    nodes was ready to run and had no processor. That is for upper bounds: a time-out
    goes on meanwhile, so what it must not be below is passed()."""

    def __init__(self, *nodes):
        tasks = [f"self/task/{threading.get_native_id()}"]
        tasks += [str(node.pid) for node in nodes]
        self.waited = {task: cpu_wait_seconds(task) for task in tasks}
        self.began = time.monotonic()

    def seconds(self):
        waited = sum(max(0.0, cpu_wait_seconds(task) - before)
                     for task, before in self.waited.items())
        return self.passed() - waited

    def passed(self):
        return time.monotonic() - self.began


def wait_for(check, timeout=10.0, what="condition", pause=0.02):
    """The first true value of check(); an exception of TROUBLE counts as not
    yet. The time-out is that of a Stopwatch of all running nodes: up to four
    times as long on a machine that is busy with something else."""
    watch = Stopwatch(*(node for node in Node.all_nodes if node.alive()))
    end = watch.began + timeout
    last = None
    while True:
        try:
            value = check()
            if value:
                return value
            last = value
        except TROUBLE as error:
            last = error
        now = time.monotonic()
        if now > end and (watch.seconds() > timeout or now > end + 3 * timeout):
            raise AssertionError(f"{what}: not within {timeout} s (last: {last!r})")
        time.sleep(pause)


class Response(collections.namedtuple("Response", "status headers body")):
    def json(self):
        return json.loads(self.body)


def request(port, method, path, body=None, headers=None, timeout=15.0, host=HOST):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        return request_on(connection, method, path, body, headers)
    finally:
        connection.close()


def request_on(connection, method, path, body=None, headers=None):
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return Response(response.status, response.headers, response.read())


class Node:
    """One daemon: its ports, directory, log, and its process when it runs."""
    all_nodes = weakref.WeakSet()

    def __init__(self, base, name, args=(), inmem=False, host=HOST):
        self.name = name
        self.http_port = free_port()
        self.raft_port = free_port()
        self.host = host
        self.raft_host = host
        self.reach = HOST  # Host of its HTTP port for the tests.
        self.namespace = None  # Network namespace, if not ours (netns.py).
        self.args = list(args)
        self.binary = BINARY
        self.inmem = inmem
        self.dir = os.path.join(str(base), name)
        self.log_path = os.path.join(str(base), name + ".log")
        self.proc = None
        self.join = None
        Node.all_nodes.add(self)

    # ---- addresses ----------------------------------------------------

    @property
    def http(self):
        return f"{self.host}:{self.http_port}"

    @property
    def raft(self):
        return f"{self.raft_host}:{self.raft_port}"

    binary = BINARY  # A node may run another build.

    def argv(self):
        argv = [self.binary, "-id", self.name, "-haddr", self.http, "-raddr", self.raft]
        if self.join:
            argv += ["-join", self.join]
        argv += self.args
        return argv + (["-inmem"] if self.inmem else [self.dir])

    # ---- the process --------------------------------------------------

    def start(self, argv=None):
        assert not self.alive(), f"{self.name} is already running"
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(
                argv or self.argv(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, preexec_fn=self._before_exec)
        return self

    def _before_exec(self):
        die_with_parent()
        if self.namespace is not None:
            enter_network(self.namespace)

    @property
    def pid(self):
        return self.proc.pid

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def send(self, number):
        if self.alive():
            os.kill(self.proc.pid, number)

    def kill(self):
        """kill -9, and wait until it is gone."""
        self.send(signal.SIGKILL)
        if self.proc:
            self.proc.wait()

    def terminate(self, timeout=10.0, number=signal.SIGTERM):
        """SIGTERM; the exit code. A node that does not go is an error."""
        self.send(number)
        try:
            return self.wait_exit(timeout)
        except AssertionError:
            self.kill()
            raise

    def wait_exit(self, timeout=10.0):
        """The exit code of a node that is expected to end by itself."""
        wait_for(lambda: not self.alive(), timeout, f"{self.name} ends", pause=0.005)
        return self.proc.returncode

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.log_path, errors="replace") as f:
                return f.read()
        return ""

    def wipe(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- requests -----------------------------------------------------

    def request(self, method, path, body=None, headers=None, timeout=15.0):
        return request(self.http_port, method, path, body, headers, timeout,
                       self.reach)

    def put(self, key, value, timeout=15.0):
        return self.request("POST", "/key", {key: value}, timeout=timeout)

    def put_many(self, pairs, timeout=15.0):
        """All of them at once: one write."""
        return self.request("POST", "/key", pairs, timeout=timeout)

    def get(self, key, level=None, timeout=15.0):
        """The value, or None when there is no such key."""
        path = "/key/" + key + (f"?level={level}" if level else "")
        response = self.request("GET", path, timeout=timeout)
        if response.status == 404:
            return None
        assert response.status == 200, (self.name, path, response)
        return response.json()[key]

    def status(self, timeout=2.0):
        response = self.request("GET", "/status", timeout=timeout)
        assert response.status == 200, (self.name, response)
        return response.json()

    def hints(self):
        """What /status says that needs attention, but for a slow disk."""
        return [hint for hint in self.status()["hints"] if hint != SLOW_DISK]

    def metric(self, name):
        text = self.request("GET", "/metrics").body.decode()
        return float(re.search(rf"(?m)^{name} (\S+)$", text)[1])

    def stall_seconds(self):
        """The longest turn of the event loop, without the time for which the process
        was ready to run and had no processor."""
        return (self.metric("craftd_reactor_stall_seconds_max") -
                cpu_wait_seconds(self.pid))

    def up(self, timeout=10.0):
        """Wait until HTTP answers."""
        def answers():
            assert self.alive(), f"{self.name} ended with {self.proc.returncode}"
            return self.status(1.0)
        wait_for(answers, timeout, f"{self.name} answers")
        return self


class Cluster:
    """Nodes that know each other. cluster[i] is node i; node 0 bootstraps."""

    def __init__(self, base):
        self.base = base
        self.nodes = []

    def __getitem__(self, i):
        return self.nodes[i]

    def __iter__(self):
        return iter(self.nodes)

    def __len__(self):
        return len(self.nodes)

    def new(self, name=None, args=(), **kw):
        """One more node, not started."""
        node = Node(self.base, name or f"node{len(self.nodes)}", args, **kw)
        self.nodes.append(node)
        return node

    def add(self, join, name=None, args=(), **kw):
        """One more node, started, that joins through that HTTP address."""
        node = self.new(name, args, **kw)
        node.join = join
        return node.start()

    def start(self, count, args=(), **kw):
        """A fresh cluster of `count`, all voters, all caught up and connected."""
        first = self.new(args=args, **kw).start().up()
        self.wait_leader()
        for _ in range(count - 1):
            self.add(first.http, args=args, **kw)
        return self.wait_members().wait_links()

    def start_all(self):
        for node in self.nodes:
            if not node.alive():
                node.start()
        return self

    def kill_all(self):
        """In one moment, as if the power failed; then they are gone."""
        for node in self:
            node.send(signal.SIGKILL)
        for node in self:
            node.kill()

    def running(self):
        return [node for node in self.nodes if node.alive()]

    def others(self, node):
        return [other for other in self.nodes if other is not node]

    def leader(self):
        """The node that says it leads and that a majority of the running
        nodes take for their leader, or None."""
        states = {}
        for node in self.running():
            with contextlib.suppress(*TROUBLE):
                states[node.name] = node.status(1.0)
        for node in self.running():
            state = states.get(node.name)
            if not state or state["role"] != "leader":
                continue
            believers = sum(1 for other in states.values()
                            if other["leader"]["id"] == node.name
                            and other["term"] == state["term"])
            if believers * 2 > len(states):
                return node
        return None

    def wait_leader(self, timeout=15.0):
        return wait_for(self.leader, timeout, "a leader")

    def wait_members(self, count=None, timeout=15.0):
        """All running nodes agree on `count` members; nobody is a learner."""
        count = count or len(self.nodes)

        def settled():
            leader = self.leader()
            if not leader:
                return False
            state = leader.status()
            voters = [p for p in state["peers"]
                      if p["role"] == "voter" and p["id"] != leader.name]
            if len(voters) != count - 1:
                return False
            return all(len(node.status()["followers"]) == count - 1
                       for node in self.running())
        wait_for(settled, timeout, f"{count} voters", pause=0.05)
        return self

    def wait_links(self, timeout=15.0):
        """Every running node has a connection with every other member. Two that dial
        each other before both know of their membership try again a second later."""
        def connected():
            return all(peer["reachable"] for node in self.running()
                       for peer in node.status()["peers"])
        wait_for(connected, timeout, "all nodes are connected", pause=0.05)
        return self

    def wait_same(self, timeout=20.0):
        """Every running node has applied the same, and it is all there is. A
        new leader's commit index is old until it has committed in its term, so
        its log is compared as well."""
        def same():
            states = [node.status() for node in self.running()]
            leaders = [s for s in states if s["role"] == "leader"]
            return (len({s["applied"] for s in states}) == 1
                    and all(s["applied"] == s["commit"] for s in states)
                    and any(s["last_log"] == s["commit"] for s in leaders))
        wait_for(same, timeout, "all nodes have applied the same", pause=0.05)
        return self

    def stop(self):
        for node in self.nodes:
            if node.proc and node.alive():
                node.send(signal.SIGCONT)
                node.kill()


def written_bytes(pid):
    """Bytes that the process has caused to be written to storage (/proc/PID/io)."""
    with open(f"/proc/{pid}/io") as f:
        for line in f:
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    raise RuntimeError("no write_bytes")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def directory_bytes(path):
    """Blocks on disk, as du counts them."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total
