#!/usr/bin/env python3
"""How fast, how much CPU, how much memory, how many bytes: craftd, and etcd
beside it in the same run when it is installed.

    tests/bench/bench.py [--quick] [--secs N] [--runs N] [--only a,b] [--json FILE]
                         [--before BINARY]

Parts (--only): single three large cpu idle cold failover sync size io key auth
flood redis grow amplify watch leases

16-byte keys, 100-byte values, 100,000 keys, all loaded before anything is
measured; keep-alive connections, no pipelining, one wrk thread, requests to
the leader. Load generator and all nodes share this machine, so the numbers
compare programs and say little about a network. The two programs take turns,
cell by cell, so that a slow minute of the machine hits both; both stay up
meanwhile, and pay for each other's idling. A cell is the median of its runs:
requests per second (50th, 99th and 99.9th percentile of the latency), and of
craftd [no turn of the leader's event loop was longer].

Everything is bounded, runs in a temporary directory (--dir to choose the
disk), and every process is ended by its pid.
"""
import argparse
import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "proc"))

from cluster import (BINARY, TROUBLE, Cluster, Node, cpu_seconds,  # noqa: E402
                     directory_bytes, rss_bytes, wait_for, written_bytes)
from leasing import renewing  # noqa: E402
from watching import latency_ms, watching  # noqa: E402

KEYS = 100000
VALUE_BYTES = 100
LARGE_BYTES = 1 << 20


# ---- the two programs ----

class Craftd:
    name = "craftd"
    binary = BINARY
    write = ("kv-write",)
    large_write = ("kv-put",)
    large_read = ("kv-read", "raw&level=none")
    reads = {"local": ("kv-read", "level=none"),
             "linearizable": ("kv-read", "level=linearizable")}

    def __init__(self, base, count, args=()):
        self.cluster = Cluster(base)
        self.count = count
        self.args = list(args)

    def new(self):
        node = self.cluster.new(args=self.args)
        node.binary = self.binary
        return node

    def start(self):
        first = self.new().start().up()
        self.cluster.wait_leader(30)
        for _ in range(self.count - 1):
            node = self.new()
            node.join = first.http
            node.start()
            self.cluster.wait_members(timeout=60)
        return self

    def spawn(self):
        """One node, started and not waited for."""
        self.new().start()
        return self

    @property
    def nodes(self):
        return self.cluster.nodes

    def running(self):
        return self.cluster.running()

    def leader(self):
        return self.cluster.wait_leader(30)

    def put(self, node, key, value, timeout=2.0):
        return node.put(key, value, timeout).status == 200

    def put_many(self, node, pairs):
        response = node.request("POST", "/key", pairs, timeout=60)
        assert response.status == 200, response

    def stop(self):
        self.cluster.stop()


class Before(Craftd):
    """Another build of craftd, of --before."""
    name = "before"


def text64(text):
    return base64.b64encode(text.encode()).decode()


class EtcdNode(Node):
    """etcd in the place of craftd; the rest of Node serves as it is."""
    peers = ""

    def argv(self):
        return ["etcd", "--name", self.name, "--data-dir", self.dir,
                "--listen-client-urls", f"http://{self.http}",
                "--advertise-client-urls", f"http://{self.http}",
                "--listen-peer-urls", f"http://{self.raft}",
                "--initial-advertise-peer-urls", f"http://{self.raft}",
                "--initial-cluster", self.peers, "--logger", "zap",
                "--log-outputs", "stderr"]

    def call(self, path, body, timeout=2.0):
        response = self.request("POST", "/v3" + path, body, timeout=timeout)
        return response.json() if response.status == 200 else None


class Etcd:
    name = "etcd"
    binary = shutil.which("etcd")
    write = large_write = ("etcd-write",)
    large_read = ("etcd-read", "serializable")
    reads = {"local": ("etcd-read", "serializable"),
             "linearizable": ("etcd-read",)}

    def __init__(self, base, count):
        self.nodes = [EtcdNode(base, f"etcd{i}") for i in range(count)]
        peers = ",".join(f"{n.name}=http://{n.raft}" for n in self.nodes)
        for node in self.nodes:
            node.peers = peers

    def start(self):
        self.spawn().leader()
        return self

    def spawn(self):
        for node in self.nodes:
            node.start()
        return self

    def running(self):
        return [node for node in self.nodes if node.alive()]

    def leader(self):
        def find():
            ids, leader = {}, None
            for node in self.running():
                state = node.call("/maintenance/status", {})
                if state:
                    ids[state["header"]["member_id"]] = node
                    leader = state.get("leader") or leader
            node = ids.get(leader)
            return node if node and self.put(node, "probe", "x") else None
        return wait_for(find, 30, "etcd has a leader")

    def put(self, node, key, value, timeout=2.0):
        return node.call("/kv/put", {"key": text64(key), "value": text64(value)},
                         timeout) is not None

    def put_many(self, node, pairs):
        """Transactions of 128 operations, which is etcd's own limit."""
        items = list(pairs.items())
        for at in range(0, len(items), 128):
            done = node.call("/kv/txn", {"success": [
                {"requestPut": {"key": text64(k), "value": text64(v)}}
                for k, v in items[at:at + 128]]}, 60)
            assert done and done.get("succeeded"), done

    def stop(self):
        for node in self.running():
            node.kill()


REDIS = shutil.which("redis-server")


class RedisNode(Node):
    """One redis-server that syncs every write, as craftd does."""

    def argv(self):
        return [REDIS, "--bind", "127.0.0.1", "--port", str(self.http_port),
                "--save", "", "--appendonly", "yes", "--appendfsync", "always",
                "--dir", self.dir]

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.http_port), 1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(7) == b"+PONG\r\n"
        except OSError:
            return False


PROGRAMS = [Craftd] + ([Etcd] if Etcd.binary else [])


# ---- measuring ----

def load(program, begin=0, end=KEYS):
    """All keys, so that no read misses."""
    leader = program.leader()
    for at in range(begin, end, 500):
        program.put_many(leader, {f"k{i:015d}": "v" * VALUE_BYTES
                                  for i in range(at, min(at + 500, end))})


def turns(node):
    """Turns of the event loop so far: {bound in ms: number up to it}."""
    name = 'craftd_reactor_turn_seconds_bucket{le="'
    return {float(line[len(name):].split('"')[0]) * 1000: int(line.rsplit(" ", 1)[1])
            for line in node.request("GET", "/metrics").body.decode().splitlines()
            if line.startswith(name)}


def longest_turn_ms(before, after):
    """The bound that the longest turn in between did not exceed."""
    took = {bound: after[bound] - before[bound] for bound in after}
    return min(bound for bound in took if took[bound] == max(took.values()))


def wrk(program, script, connections, seconds, **environment):
    node = program.leader()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
         "-s", os.path.join(HERE, "load.lua"), f"http://{node.http}", "--", *script],
        capture_output=True, text=True, timeout=seconds + 60,
        stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"wrk: {done.stdout[-500:]}{done.stderr[-500:]}")
    return json.loads(lines[-1])


class Report:
    def __init__(self, path):
        self.file = open(path, "a") if path else None
        self.rows = []

    def add(self, part, what, name, value, unit, **more):
        if self.file:
            self.file.write(json.dumps(dict(
                part=part, what=what, program=name, value=value, unit=unit,
                **more)) + "\n")
            self.file.flush()
        self.rows.append((part, what, name, value, unit, more))

    def table(self, part):
        cells, order = {}, []
        for at, what, name, value, unit, more in self.rows:
            if at != part:
                continue
            if (what, unit) not in order:
                order.append((what, unit))
            cells[what, unit, name] = value, more
        present = {key[2] for key in cells}
        names = [n for n in [p.name for p in PROGRAMS] + IO_NAMES + KEY_NAMES
                 + AUTH_NAMES + FLOOD_NAMES + ["redis"] if n in present]
        print(f"\n{part:<30}" + "".join(f"{n:>42}" for n in names)
              + (f"{'/'.join(names):>14}" if len(names) > 1 else ""))
        for what, unit in order:
            line = f"{what:<30}"
            for name in names:
                value, more = cells.get((what, unit, name), (None, {}))
                text = "-" if value is None else f"{value:,.{digits(value)}f} {unit}"
                if "p50_us" in more:
                    text += " (" + "/".join(
                        short(more[q] / 1000) for q in QUANTILES if q in more) + " ms)"
                if "turn_ms" in more:
                    text += f" [{short(more['turn_ms'])} ms]"
                if more.get("bad"):
                    text += f" !{more['bad']} failed"
                line += f"{text:>42}"
            both = [cells.get((what, unit, n), (None,))[0] for n in names]
            if len(both) == 2 and None not in both and both[1]:
                line += f"{both[0] / both[1]:>14.2f}"
            print(line, flush=True)


QUANTILES = ("p50_us", "p99_us", "p999_us")


def short(value):
    """Two digits that count, as in 0.53, 5.4 and 42."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def digits(value):
    return 0 if abs(value) >= 100 or value == int(value) else 2 if abs(value) >= 1 else 3


@contextlib.contextmanager
def both(options, count):
    """The programs, started, each in a directory of its own."""
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="craftd-bench-") as base:
        programs = []
        try:
            for kind in PROGRAMS:
                folder = os.path.join(base, kind.name)
                os.mkdir(folder)
                programs.append(kind(folder, count))
                programs[-1].start()
            yield programs
        finally:
            for program in programs:
                program.stop()


def timed(program, script, connections, seconds, **environment):
    """wrk's figures, CPU seconds of all nodes and bytes that they wrote, and for
    craftd the longest turn of the leader's event loop."""
    leader = program.leader()
    before = turns(leader)
    used, wrote = (sum(f(n.pid) for n in program.running())
                   for f in (cpu_seconds, written_bytes))
    run = wrk(program, script, connections, seconds, **environment)
    time.sleep(0.3)  # Followers finish applying.
    run["cpu"] = sum(cpu_seconds(n.pid) for n in program.running()) - used
    run["wrote"] = sum(written_bytes(n.pid) for n in program.running()) - wrote
    after = turns(leader)
    if before and after:
        run["turn_ms"] = longest_turn_ms(before, after)
    return run


def cell(runs):
    """The medians of a cell; its longest turn is that of all runs."""
    fields = {field: statistics.median(run[field] for run in runs)
              for field in ("per_s", *QUANTILES) if field in runs[0]}
    if "turn_ms" in runs[0]:
        fields["turn_ms"] = max(run["turn_ms"] for run in runs)
    return dict(fields, value=fields.pop("per_s"), unit="/s",
                bad=sum(run["bad_status"] + run["bad_socket"] for run in runs),
                runs=[run["per_s"] for run in runs])


def matrix(options, report, part, count):
    """Throughput and latency of writes and of both kinds of reads."""
    writes = (64,) if options.quick else (1, 16, 64, 256)
    reads = (64,) if options.quick else (1, 64, 256)
    with both(options, count) as programs:
        for program in programs:
            load(program)
        cells = [("write", c) for c in writes]
        cells += [(f"read {level}", c) for level in Craftd.reads for c in reads]
        results = {}
        for _ in range(options.runs):
            for what, connections in cells:
                for program in programs:
                    script = (program.write if what == "write"
                              else program.reads[what.split()[1]])
                    run = timed(program, script, connections, options.secs)
                    results.setdefault((what, connections, program.name), []).append(run)
        for (what, connections, name), runs in results.items():
            report.add(part, f"{what} c={connections}", name, **cell(runs))


def part_single(options, report):
    matrix(options, report, "single", 1)


def part_three(options, report):
    matrix(options, report, "three", 3)


def part_large(options, report):
    """Values of a megabyte, in MB/s of values: one node's disk and socket see
    them once, the leader's sockets once more for every follower."""
    size = {"KEYS": "32", "VALUES": "4", "VALUE_BYTES": str(LARGE_BYTES)}
    with both(options, 3) as programs:
        results = {}
        for program in programs:
            for number in range(32):
                program.put(program.leader(), f"k{number:015d}", "v" * LARGE_BYTES, 10)
        for _ in range(options.runs):
            for connections in (1, 8):
                for program in programs:
                    for what in ("write", "read"):
                        script = getattr(program, "large_" + what)
                        run = wrk(program, script, connections, options.secs, **size)
                        results.setdefault((what, connections, program.name), []).append(run)
        for (what, connections, name), runs in results.items():
            rate = statistics.median(run["per_s"] for run in runs)
            report.add("large", f"{what} 1 MB c={connections}", name,
                       rate * LARGE_BYTES / 1e6, "MB/s",
                       bad=sum(r["bad_status"] + r["bad_socket"] for r in runs))


def part_cpu(options, report):
    """CPU seconds of all nodes per 100,000 requests, at 64 connections."""
    for count in (1, 3):
        with both(options, count) as programs:
            for program in programs:
                load(program)
            kinds = {"write": "write", "read local": "local",
                     "read linearizable": "linearizable"}
            results = {}
            for _ in range(options.runs):
                for what, level in kinds.items():
                    for program in programs:
                        script = program.reads.get(level, program.write)
                        run = timed(program, script, 64, options.secs)
                        done = run["requests"] - run["bad_status"]
                        results.setdefault((what, program.name), []).append(
                            run["cpu"] * 100000 / max(done, 1))
            for (what, name), runs in results.items():
                report.add("cpu", f"{what}, {count} nodes", name,
                           statistics.median(runs), "s/100k", runs=runs)


# Names of the two ways to run craftd, or its machine, that a part compares.
IO_NAMES = ["uring", "process", "sync"]
KEY_NAMES = ["sealed", "clear"]
AUTH_NAMES = ["--auth", "open"]
FLOOD_NAMES = ["flood", "quiet"]


def in_turns(options, report, part, ways, **environment):
    """Two ways to run three nodes, {name: flags}: throughput of writes, and CPU
    seconds of all nodes per 100,000 of them. They take turns within every run,
    and which of them begins changes."""
    results, names = {}, list(ways)
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="craftd-bench-") as base:
        programs = {}
        try:
            for name in names:
                folder = os.path.join(base, name)
                os.mkdir(folder)
                programs[name] = Craftd(folder, 3, ways[name]).start()
            for i in range(options.runs):
                for connections in (1, 64, 256):
                    for name in names if i % 2 else reversed(names):
                        program = programs[name]
                        run = timed(program, program.write, connections, options.secs,
                                    **environment)
                        run["cpu"] *= 100000 / max(run["requests"], 1)
                        results.setdefault((connections, name), []).append(run)
        finally:
            for program in programs.values():
                program.stop()
    for (connections, name), runs in results.items():
        report.add(part, f"write c={connections}", name, **cell(runs))
        report.add(part, f"CPU c={connections}", name,
                   statistics.median(run["cpu"] for run in runs), "s/100k")


def part_io(options, report):
    """The ways to write the log (--io)."""
    in_turns(options, report, "io", {name: [f"--io={name}"] for name in IO_NAMES})


def part_key(options, report):
    """Links between the nodes with --cluster-key, and without."""
    with tempfile.NamedTemporaryFile() as key:  # Its mode is 0600.
        key.write(b"0" * 64)
        key.flush()
        in_turns(options, report, "key", dict(zip(
            KEY_NAMES, (["--cluster-key", key.name], []))))


def bench_user():
    """The rules of --auth for all that a part does, and its Authorization."""
    users = [{"username": "*", "perms": ["status", "ready", "join"]},
             {"username": "bench", "perms": ["read:k", "write:k"],
              "password": "pbkdf2-sha256:1000:" + "00" * 16 + ":" + hashlib.pbkdf2_hmac(
                  "sha256", b"secret of the bench", bytes(16), 1000).hex()}]
    header = "Basic " + base64.b64encode(b"bench:secret of the bench").decode()
    return users, header


def part_auth(options, report):
    """Nodes with --auth, and without. Both get the same Authorization header."""
    users, header = bench_user()
    with tempfile.NamedTemporaryFile("w") as rules:  # Its mode is 0600.
        json.dump(users, rules)
        rules.flush()
        in_turns(options, report, "auth", dict(zip(
            AUTH_NAMES, (["--auth", rules.name], []))), AUTHORIZATION=header)


FLOOD_PER_SECOND = 10000


def part_flood(options, report):
    """Strangers who open FLOOD_PER_SECOND connections a second to each port of
    the leader of three nodes with --cluster-key and --auth, while one client
    writes: its latency with and without them, and the leader's term."""
    flood = os.path.join(os.path.dirname(os.path.realpath(BINARY)), "flood")
    if not os.access(flood, os.X_OK):
        sys.exit(f"{flood} is not there: run make {os.path.relpath(flood)} first")
    users, header = bench_user()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="craftd-bench-") as base, \
            tempfile.NamedTemporaryFile("w") as rules, \
            tempfile.NamedTemporaryFile("w") as key:  # Their mode is 0600.
        json.dump(users, rules)
        rules.flush()
        key.write("0" * 64)
        key.flush()
        program = Craftd(base, 3, ["--auth", rules.name, "--cluster-key", key.name])
        try:
            leader = program.start().leader()
            term = leader.status()["term"]
            quiet, flooded = [], []
            for _ in range(options.runs):
                quiet.append(wrk(program, program.write, 1, options.secs,
                                 AUTHORIZATION=header))
                with subprocess.Popen(
                        [flood, leader.raft.rsplit(":", 1)[1], leader.http.rsplit(":", 1)[1],
                         str(FLOOD_PER_SECOND), str(options.secs + 1)],
                        stdout=subprocess.PIPE, text=True) as strangers:
                    time.sleep(0.5)
                    flooded.append(wrk(program, program.write, 1, options.secs,
                                       AUTHORIZATION=header))
                    flooded[-1]["flood"] = json.loads(strangers.communicate()[0])
            elections = leader.status()["term"] - term
        finally:
            program.stop()
    for name, runs in zip(FLOOD_NAMES, (flooded, quiet)):
        report.add("flood", "write c=1 p50", name,
                   statistics.median(run["p50_us"] for run in runs), "us",
                   p99_us=statistics.median(run["p99_us"] for run in runs),
                   bad=sum(r["bad_status"] + r["bad_socket"] for r in runs))
    strangers = [run["flood"] for run in flooded]
    report.add("flood", "strangers", "flood",
               statistics.median(s["attempts"] for s in strangers) / (options.secs + 1), "/s",
               connected=sum(s["connected"] for s in strangers),
               answered=sum(s["answered"] for s in strangers),
               late_us=max(s["late_us"] for s in strangers))
    report.add("flood", "elections", "flood", elections, "")


WATCHES = 1000
WATCH_QUERIES = {  # Of each of them; None: there are none.
    "none": None,
    "of other prefixes": "prefix=other/{}/",
    "of what is written": "prefix=",
}


def write_beside(program, queries, options):
    """wrk's writes beside these watches at the leader, with its CPU time for a
    write and the events a second."""
    leader = program.leader()
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(watching(leader, queries)) if queries else lambda: 0
        used, began = cpu_seconds(leader.pid), time.monotonic()
        run = wrk(program, program.write, 16, options.secs)
        run["cpu_us"] = (cpu_seconds(leader.pid) - used) * 1e6 / max(run["requests"], 1)
        run["events"] = end() / (time.monotonic() - began)
    return run


def weigh_watch(leader):
    """Memory of an idle watch beyond that of its connection: those of plain ones
    have been there before."""
    sockets = [socket.create_connection(("127.0.0.1", leader.http_port))
               for _ in range(WATCHES)]
    for link in sockets:
        link.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        link.recv(4096)
        link.close()
    time.sleep(1)
    before = rss_bytes(leader.pid)
    with watching(leader, [f"prefix=other/{i}/" for i in range(WATCHES)]):
        return (rss_bytes(leader.pid) - before) / WATCHES


def part_watch(options, report):
    """Writes without watches, beside 1,000 of other prefixes and beside 1,000 of
    what is written, at the leader of three nodes, in turns; the memory of an idle
    watch; the time from an answer to the event at another node."""
    runs = {name: [] for name in WATCH_QUERIES}
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="craftd-bench-") as base:
        program = Craftd(base, 3, ["--max-conns", str(4 * WATCHES)])
        try:
            leader = program.start().leader()
            report.add("watch", "an idle watch", "craftd", weigh_watch(leader), "bytes")
            for _ in range(options.runs):
                for name, query in WATCH_QUERIES.items():
                    queries = query and [query.format(i) for i in range(WATCHES)]
                    runs[name].append(write_beside(program, queries, options))
        finally:
            program.stop()
    for name, of_name in runs.items():
        report.add("watch", "write, watches " + name, "craftd",
                   statistics.median(run["per_s"] for run in of_name), "/s",
                   bad=sum(r["bad_status"] + r["bad_socket"] for r in of_name))
        report.add("watch", "CPU, watches " + name, "craftd",
                   statistics.median(run["cpu_us"] for run in of_name), "us/write")
    report.add("watch", "events to 1,000 watches", "craftd",
               statistics.median(r["events"] for r in runs["of what is written"]), "/s")
    with both(options, 3) as programs:
        for program in programs:
            median, p99, _ = latency_ms(program, options.secs)
            report.add("watch", "answer to event elsewhere, p50", program.name, median, "ms")
            report.add("watch", "answer to event elsewhere, p99", program.name, p99, "ms")


def cores_used(program, seconds):
    """CPU seconds a second of the three nodes together, and of the leader."""
    nodes, leader = program.running(), program.leader()
    before = {node.pid: cpu_seconds(node.pid) for node in nodes}
    time.sleep(seconds)
    used = {pid: (cpu_seconds(pid) - old) / seconds for pid, old in before.items()}
    return sum(used.values()), used[leader.pid]


def part_leases(options, report):
    """CPU of three nodes that do nothing, and that keep 1,000 leases alive, each
    every 3 s over its own connection, at all nodes; etcd by its JSON gateway."""
    with both(options, 3) as programs:
        time.sleep(2)
        for program in programs:
            name = program.name
            idle, _ = cores_used(program, options.secs)
            report.add("leases", "3 nodes of a CPU, idle", name, 100 * idle, "%")
            with renewing(program, 1000, 3):
                time.sleep(3)
                used, leader = cores_used(program, options.secs * options.runs)
            report.add("leases", "3 nodes, 1,000 leases", name, 100 * used, "%")
            report.add("leases", "the leader of them", name, 100 * leader, "%")


def weigh(report, programs, memory, directory):
    """The values of these two keys at each leader."""
    for program in programs:
        node = program.leader()
        report.add("idle", memory, program.name, rss_bytes(node.pid) / 1e6, "MB")
        report.add("idle", directory, program.name,
                   directory_bytes(node.dir) / 1e6, "MB")


def part_idle(options, report):
    """Memory with nothing and with all keys; disk and CPU of doing nothing."""
    seconds = 10 if options.quick else 60
    with both(options, 3) as programs:
        time.sleep(2)
        weigh(report, programs, "RSS, empty", "directory, fresh")
        for program in programs:
            load(program)
        time.sleep(5)
        weigh(report, programs, "RSS, 100k keys", "directory, 100k keys")
        time.sleep(5)
        before = {p.name: [(written_bytes(n.pid), cpu_seconds(n.pid))
                           for n in p.nodes] for p in programs}
        time.sleep(seconds)
        for program in programs:
            written = cpu = 0
            for node, (old_written, old_cpu) in zip(program.nodes, before[program.name]):
                written += written_bytes(node.pid) - old_written
                cpu += cpu_seconds(node.pid) - old_cpu
            report.add("idle", f"3 nodes wrote in {seconds} s", program.name, written, "B")
            report.add("idle", "3 nodes used of a CPU", program.name,
                       100 * cpu / seconds, "%")


def part_cold(options, report):
    """From exec to the first acknowledged write; then the same after a kill."""
    results = {}
    for _ in range(2 if options.quick else 7):
        for kind in PROGRAMS:
            with tempfile.TemporaryDirectory(dir=options.dir) as base:
                program = kind(base, 1)
                try:
                    for what in ("cold start to first write", "restart to first write"):
                        began = time.monotonic()
                        if program.nodes:
                            program.nodes[0].start()
                        else:
                            program.spawn()
                        node = program.nodes[0]
                        wait_for(lambda: program.put(node, "k", "v"), 30,
                                 "a first write", pause=0.001)
                        results.setdefault((what, kind.name), []).append(
                            time.monotonic() - began)
                        node.kill()
                finally:
                    program.stop()
    for (what, name), runs in results.items():
        report.add("cold", what, name, 1000 * statistics.median(runs), "ms", runs=runs)


def first_write(program, nodes, key, timeout):
    """Seconds until any of the nodes acknowledges a write."""
    began, ended, stop = time.monotonic(), [], threading.Event()

    def probe(node):
        while not stop.is_set():
            try:
                if program.put(node, key, "x", 0.5):
                    ended.append(time.monotonic())
                    stop.set()
            except TROUBLE:
                pass
            time.sleep(0.002)
    threads = [threading.Thread(target=probe, args=(n,)) for n in nodes]
    for thread in threads:
        thread.start()
    stop.wait(timeout)
    stop.set()
    for thread in threads:
        thread.join()
    if not ended:
        raise RuntimeError(f"{program.name}: no write within {timeout} s")
    return min(ended) - began


def part_failover(options, report):
    """The leader of three is gone: how long until the next write?"""
    results = {}
    with both(options, 3) as programs:
        for trial in range(2 if options.quick else 10):
            for program in programs:
                for what, number in (("kill -9", signal.SIGKILL),
                                     ("SIGTERM", signal.SIGTERM)):
                    leader = program.leader()
                    rest = [n for n in program.nodes if n is not leader]
                    assert program.put(leader, "before", str(trial))
                    leader.send(number)
                    results.setdefault((what, program.name), []).append(
                        first_write(program, rest, f"after-{trial}", 30))
                    leader.terminate(20)
                    leader.start()
                    wait_for(lambda: program.put(leader, "back", "x"), 30, "is back")
                    time.sleep(1)
    for (what, name), runs in results.items():
        report.add("failover", f"leader {what}, median", name,
                   1000 * statistics.median(runs), "ms", runs=runs)
        report.add("failover", f"leader {what}, worst", name, 1000 * max(runs), "ms")


def strace_syncs(pid, work):
    """fsync and fdatasync calls of the process while work() runs."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-e", "trace=fsync,fdatasync", "-qq", "-p", str(pid)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(tracer.stderr))
    reader.start()
    try:
        time.sleep(1)
        work()
        time.sleep(0.5)
    finally:
        tracer.terminate()
        tracer.wait(10)
        reader.join(10)
    # A call that was interrupted by another thread's shows up twice.
    return sum(1 for line in lines if "sync(" in line and "resumed" not in line)


def part_sync(options, report):
    """fsync and fdatasync calls per write of one node. strace counts, and
    slows the calls, so that batches are larger than without it."""
    if not shutil.which("strace"):
        print("sync: needs strace", file=sys.stderr)
        return
    with both(options, 1) as programs:
        for program in programs:
            node = program.leader()
            for connections in (1, 64):
                runs = []
                calls = strace_syncs(node.pid, lambda: runs.append(
                    wrk(program, program.write, connections, 3)))
                writes = runs[0]["requests"] - runs[0]["bad_status"]
                report.add("sync", f"syncs per write c={connections}", program.name,
                           calls / max(writes, 1), "")


def redis_run(node, requests):
    """redis-benchmark's figures in the form of wrk's."""
    done = subprocess.run(
        ["redis-benchmark", "-p", str(node.http_port), "-t", "set", "-c", "64", "-d",
         str(VALUE_BYTES), "-r", str(KEYS), "-n", str(requests), "--csv"],
        capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=True)
    names, values = ([field.strip('"') for field in line.split(",")]
                     for line in done.stdout.splitlines()[-2:])
    figures = dict(zip(names, values))
    return {"per_s": float(figures["rps"]), "p50_us": 1000 * float(figures["p50_latency_ms"]),
            "p99_us": 1000 * float(figures["p99_latency_ms"]),
            "bad_status": 0, "bad_socket": 0}


def part_redis(options, report):
    """One node beside redis-server that syncs as often: writes from 64
    connections. Each program gets the load of its own kind."""
    if not REDIS or not shutil.which("redis-benchmark"):
        print("redis: needs redis-server (scripts/setup all)", file=sys.stderr)
        return
    results = {}
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="craftd-bench-") as base:
        redis = RedisNode(base, "redis")
        craftd = Craftd(base, 1)
        os.mkdir(redis.dir)
        try:
            redis.start()
            wait_for(redis.answers, 10, "redis answers")
            craftd.start()
            for _ in range(options.runs):
                run = timed(craftd, craftd.write, 64, options.secs)
                results.setdefault("craftd", []).append(run)
                # About as long as craftd's: redis is not much slower or faster.
                results.setdefault("redis", []).append(
                    redis_run(redis, run["requests"]))
        finally:
            craftd.stop()
            redis.kill()
    for name, runs in results.items():
        report.add("redis", "write c=64", name, **cell(runs))


def part_grow(options, report):
    """What a write costs as the data grows: random overwrites from 64
    connections of 10^4 to 10^7 keys (quick: 10^6) at one node."""
    sizes = [10 ** n for n in range(4, 7 if options.quick else 8)]
    results, loaded = {}, 0
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="craftd-bench-") as base:
        program = Craftd(base, 1)
        try:
            program.start()
            for size in sizes:
                load(program, loaded, size)
                loaded = size
                for _ in range(options.runs):
                    run = timed(program, program.write, 64, options.secs, KEYS=str(size))
                    results.setdefault(size, []).append(run)
                node = program.leader()
                report.add("grow", f"RSS, {size:,} keys", "craftd",
                           rss_bytes(node.pid) / 1e6, "MB")
        finally:
            program.stop()
    for size, runs in results.items():
        report.add("grow", f"write, {size:,} keys", "craftd", **cell(runs))
        report.add("grow", f"CPU, {size:,} keys", "craftd", statistics.median(
            run["cpu"] * 100000 / run["requests"] for run in runs), "s/100k")


def part_amplify(options, report):
    """Bytes written to the disk per byte of keys and values, and memory: random
    overwrites of a million keys at full speed for 60 s (quick: 10), one node."""
    keys, seconds = 1000000, 10 if options.quick else 60
    for kind in PROGRAMS:
        with tempfile.TemporaryDirectory(dir=options.dir, prefix="craftd-bench-") as base:
            program = kind(base, 1)
            try:
                program.start()
                load(program, 0, keys)
                run = timed(program, program.write, 256, seconds, KEYS=str(keys))
                payload = run["requests"] * (16 + VALUE_BYTES)
                report.add("amplify", "write c=256", kind.name, **cell([run]))
                report.add("amplify", "written per byte", kind.name,
                           run["wrote"] / payload, "")
                report.add("amplify", "RSS", kind.name,
                           rss_bytes(program.leader().pid) / 1e6, "MB")
            finally:
                program.stop()


def part_size(options, report):
    for kind in PROGRAMS:
        report.add("size", "binary", kind.name,
                   os.path.getsize(os.path.realpath(kind.binary)) / 1e6, "MB")


PARTS = {name[5:]: function for name, function in list(globals().items())
         if name.startswith("part_")}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--secs", type=int, default=None, help="of one cell (8; quick: 2)")
    parser.add_argument("--runs", type=int, default=None, help="of every cell (3; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="minutes instead of an hour")
    parser.add_argument("--only", help="parts, with commas: " + " ".join(PARTS))
    parser.add_argument("--before", metavar="BINARY",
                        help="another build of craftd in the place of etcd")
    parser.add_argument("--json", help="append one JSON object a line to this file")
    parser.add_argument("--dir", help="where the data goes (a real disk, not /dev/shm)")
    options = parser.parse_args()
    options.secs = options.secs or (2 if options.quick else 8)
    options.runs = options.runs or (1 if options.quick else 3)
    parts = options.only.split(",") if options.only else list(PARTS)
    for part in parts:
        if part not in PARTS:
            parser.error(f"no part {part}; there are: {' '.join(PARTS)}")
    if options.before:
        Before.binary = os.path.realpath(options.before)
        PROGRAMS[1:] = [Before]
    for binary in (BINARY, PROGRAMS[-1].binary):
        if not os.access(binary, os.X_OK):
            parser.error(f"{binary} is not there: run make first")
    if not shutil.which("wrk"):
        parser.error("wrk is not installed: scripts/setup all")
    if not Etcd.binary and not options.before:
        print("etcd is not installed: craftd alone (scripts/setup all)", file=sys.stderr)

    # A terminated run stops its nodes as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report(options.json)
    try:
        for part in parts:
            PARTS[part](options, report)
            report.table(part)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
