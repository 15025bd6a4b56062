"""craftd bench: figures of a running cluster, which it leaves as it was."""
import http.server
import re
import signal
import subprocess
import threading

from cluster import BINARY, die_with_parent, wait_for
from test_client import AWAY, FAILED, USAGE, craftd, run


def keys(node):
    return node.request("GET", "/keys?count").json()["count"]


def test_it_measures_and_leaves_nothing(three):
    assert three[0].put("mine", "stays").status == 200
    for words in (["--time", "600ms", three[1].http],
                  ["--time", "600ms", "--conns", "3", "--size", "30000", "--addr", three[0].http]):
        out = run("bench", *words).decode()
        for phase in ("writes", "reads"):
            found = re.search(
                rf"^{phase}: (\d+) in ([\d.]+) s, (\d+) a second; (\d+) connections, (\d+)-byte "
                r"values\n  latency ms   p50 ([\d.]+)   p99 ([\d.]+)   p99\.9 ([\d.]+)   "
                r"max ([\d.]+)\n  limit: (CPU|disk|network)", out, re.M)
            assert found, out
            count, seconds, _, conns, size = (float(found[i]) for i in range(1, 6))
            p50, p99, p999, most = (float(found[i]) for i in range(6, 10))
            assert count > 5 and seconds >= 0.3 and 0 < p50 <= p99 <= p999 <= most
            assert (conns, size) == ((3, 30000) if "--conns" in words else (16, 100))
    assert keys(three[0]) == 1 and three[0].get("mine") == "stays"


def test_an_interrupt_cleans_up(three):
    child = subprocess.Popen([BINARY, "bench", "--time", "20s", three[0].http],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             preexec_fn=die_with_parent)
    wait_for(lambda: keys(three[0]) > 10, 10, "it writes")
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert child.returncode == FAILED and out.startswith(b"writes: ") and b"reads" not in out
    assert keys(three[0]) == 0


class Complaining(http.server.BaseHTTPRequestHandler):
    """Answers a few writes, and then none."""
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.writes += 1
        self.reply(204 if self.server.writes <= 5 else self.server.status)

    def do_DELETE(self):
        self.server.deleted.append(self.path)
        self.reply(200)

    def do_GET(self):
        self.reply(404)

    def reply(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_it_stops_when_the_cluster_complains():
    """At the first such answer; what was measured before is printed."""
    for status in (429, 503, 507):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Complaining)
        server.writes, server.deleted, server.status = 0, [], status
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = craftd("bench", "--conns", "1", "--time", "5s",
                      f"127.0.0.1:{server.server_port}")
        server.shutdown()
        server.server_close()
        assert done.returncode == FAILED, done
        assert f"stopped: the cluster answers {status}" in done.stderr.decode()
        assert done.stdout.startswith(b"writes: 5 in ") and server.writes == 6
        assert b"limit: unknown" in done.stdout and b"reads:" not in done.stdout
        assert server.deleted[0].startswith("/keys?prefix=craftd-bench")


def test_a_full_database_is_left_alone(cluster):
    node = cluster.new(args=["--max-db", "2M"]).start().up()
    cluster.wait_leader()
    assert node.put("mine", "stays").status == 200
    done = craftd("bench", "--time", "20s", "--size", "100000", node.http, timeout=60)
    assert done.returncode == FAILED and b"stopped: the cluster answers 507" in done.stderr, done
    wait_for(lambda: keys(node) == 1, 10, "only ours")
    assert node.get("mine") == "stays"


def test_usage(three):
    for words in (["--conns", "0"], ["--conns", "257"], ["--size", "1048577"],
                  ["--time", "61s"]):
        assert craftd("bench", *words, three[0].http).returncode == USAGE
    assert craftd("bench", "--time", "1s", "127.0.0.1:1").returncode == AWAY
