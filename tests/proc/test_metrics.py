"""/metrics as a scraper reads it: the text format of Prometheus 0.0.4, held to
the letter, and figures that move when what they count happens."""
import os
import re
import shutil
import subprocess
import time

import pytest

from cluster import Cluster, wait_for

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? ([0-9.e+-]+|\+Inf|NaN)$")
SUFFIXES = ("_bucket", "_sum", "_count")
SERIES_MAX = 200


def parse_labels(text):
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, text
        assert match[1] not in labels, text
        labels[match[1]] = match[2]
        at = match.end()
        if at < len(text):
            assert text[at] == "," and at + 1 < len(text), text
            at += 1
    return labels


def check_histograms(types, samples):
    """Cumulative, ends with +Inf, which is _count."""
    for family in (name for name, kind in types.items() if kind == "histogram"):
        series = {}
        for (name, labels), value in samples.items():
            if name == family + "_bucket":
                rest = tuple(pair for pair in labels if pair[0] != "le")
                bound = float(dict(labels)["le"])
                series.setdefault(rest, []).append((bound, value))
        assert series, family
        for rest, buckets in series.items():
            bounds = [bound for bound, _ in buckets]
            counts = [count for _, count in buckets]
            assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf")
            assert counts == sorted(counts), (family, rest)
            assert samples[family + "_count", rest] == counts[-1]
            assert samples[family + "_sum", rest] >= 0


def parse(text):
    """{(name, labels): value}, or an assertion that names the line."""
    assert text.endswith("\n")
    helped, types, samples, family = set(), {}, {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in helped and line.split(" ", 3)[3], line
            helped.add(family)
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and name not in types, line
            assert kind in ("counter", "gauge", "histogram"), line
            assert (kind == "counter") == name.endswith("_total"), line
            types[name] = kind
            continue
        match = SAMPLE.match(line)
        assert match, line
        labels = parse_labels(match[2] or "")
        name = match[1]
        if types.get(family) == "histogram":
            assert name in [family + suffix for suffix in SUFFIXES], line
            assert ("le" in labels) == name.endswith("_bucket"), line
        else:
            assert name == family and family in types, line
        key = name, tuple(sorted(labels.items()))
        assert key not in samples, line
        samples[key] = float(match[3])
    check_histograms(types, samples)
    assert len(samples) <= SERIES_MAX
    return samples


def scrape(node):
    response = node.request("GET", "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return parse(response.body.decode())


def value(samples, name, **labels):
    return samples[name, tuple(sorted(labels.items()))]


# ---- the parser itself ----

@pytest.mark.parametrize("wrong", [
    "# HELP a x\n# TYPE a gauge\na 1",  # No line feed at the end.
    "a 1\n",  # No TYPE.
    "# HELP a x\n# TYPE a gauge\na 1\na 1\n",
    "# HELP a x\n# TYPE a gauge\na{b=\"c} 1\n",
    "# HELP a x\n# TYPE a gauge\na{b=\"c\",} 1\n",
    "# HELP a x\n# TYPE a gauge\na{b=\"\\x\"} 1\n",
    "# HELP a x\n# TYPE a counter\na 1\n",
    "# HELP a x\n# TYPE a gauge\nb 1\n",
    "# HELP a x\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_sum 1\na_count 2\n",
    "# HELP a x\n# TYPE a histogram\n"
    "a_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
])
def test_the_parser_is_strict(wrong):
    with pytest.raises((AssertionError, KeyError)):
        parse(wrong)


# ---- the daemon's ----

def test_metrics_of_a_cluster(cluster):
    """A cluster of its own: a node counts 36 kinds of requests apart, which the tests
    that share one may have used up."""
    three = cluster.start(3)
    leader = three[0]
    assert cluster.wait_leader() is leader
    before = {node.name: scrape(node) for node in three}
    for i in range(20):
        assert three[i % 3].put(f"metric-{i}", "1").status == 200
    three[0].request("GET", "/key/metric-0")
    three[0].request("GET", "/no/such/path")
    for node in three:
        assert node.request("POST", "/snapshot").status == 200
    cluster.wait_same()
    after = {node.name: scrape(node) for node in three}

    def grown(node, name, **labels):
        return (value(after[node.name], name, **labels)
                - value(before[node.name], name, **labels))

    for node in three:
        now = after[node.name]
        leads = node is leader
        assert value(now, "craftd_raft_is_leader") == leads
        assert value(now, "craftd_raft_has_leader") == 1
        assert value(now, "craftd_raft_peers", role="voter") == 3
        assert value(now, "craftd_raft_term") == node.status()["term"]
        assert value(now, "craftd_keys") >= 20
        assert value(now, "process_resident_memory_bytes") > 1 << 20
        assert 5 < value(now, "process_open_fds") < 100
        assert abs(value(now, "craftd_start_time_seconds") - time.time()) < 3600
        assert value(now, "process_start_time_seconds") == value(
            now, "craftd_start_time_seconds")
        assert value(now, "craftd_raft_peers_reachable") == 2
        assert not [key for key in now if "backup_last" in key[0]], "no --backup-dir"
        assert grown(node, "craftd_raft_commit_index") >= 20
        assert grown(node, "craftd_storage_fsync_duration_seconds_count") > 0
        assert grown(node, "craftd_storage_written_bytes_total", file="log") > 0
        assert grown(node, "craftd_storage_written_bytes_total", file="db") > 4096
        lags = [key for key in now if key[0] == "craftd_raft_peer_lag_entries"]
        assert len(lags) == (2 if leads else 0)
        # Those of one's own, and those that others passed on.
        assert grown(node, "craftd_raft_proposals_total", result="committed") == (
            20 if leads else 0)
        assert grown(node, "craftd_raft_commit_duration_seconds_count") == (
            20 if leads else 0)
        mine = sum(1 for i in range(20) if three[i % 3] is node)
        assert grown(node, "craftd_http_forwarded_total") == (0 if leads else mine)
        assert grown(node, "craftd_http_request_duration_seconds_count",
                     route="key") == mine + (node is three[0])
    now = after[three[0].name]
    assert value(now, "craftd_http_requests_total", route="other", method="GET",
                 code="404") >= 1
    assert value(now, "craftd_http_requests_total", route="key", method="POST",
                 code="200") >= 7


def test_metrics_count_refused_requests(cluster):
    node = cluster.start(1)[0]

    def count(code):
        return scrape(node).get(("craftd_http_requests_total", (
            ("code", str(code)), ("method", "POST"), ("route", "key"))), 0)

    before = count(400)
    for _ in range(3):
        assert node.request("POST", "/key", b"[]").status == 400
    assert count(400) == before + 3


def test_metrics_stay_few(cluster):
    """Whatever clients send: the combinations beyond the first ones share a row
    for each class of status, and none of them is lost."""
    node = cluster.new(inmem=True).start().up()
    cluster.wait_leader()
    paths = ["/key/x", "/key/", "/nodes", "/nodes/x", "/status", "/livez",
             "/leader", "/join", "/remove", "/backup", "/nowhere"]
    sent = 0
    for path in paths:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"):
            node.request(method, path + "?timeout=100ms", b"x")
            sent += 1
    samples = scrape(node)
    rows = {key: count for key, count in samples.items()
            if key[0] == "craftd_http_requests_total"}
    assert len(rows) == 40
    beyond = {c: value(samples, "craftd_http_requests_total", route="any",
                       method="any", code=f"{c}xx") for c in (2, 3, 4, 5)}
    assert beyond[4] > 0 and beyond[5] == 0

    # Beyond them, an error is still told from a success.
    for _ in range(3):
        assert node.request("DELETE", "/nowhere").status == 404
        assert node.request("PUT", "/nowhere", b"").status == 404
    samples = scrape(node)
    grown = value(samples, "craftd_http_requests_total", route="any", method="any",
                  code="4xx") - beyond[4]
    assert grown == 6
    sent += 6
    rows = {key: count for key, count in samples.items()
            if key[0] == "craftd_http_requests_total"}
    # And those of waiting for it to be up.
    assert sum(rows.values()) >= sent
    assert node.request("HEAD", "/metrics").body == b""
    assert node.request("POST", "/metrics", b"").status == 405


def test_metrics_of_leaders_that_come_and_go(cluster):
    cluster.start(3)
    leader = cluster.wait_leader()
    seen = {node.name: value(scrape(node), "craftd_raft_leader_changes_total")
            for node in cluster}
    leader.kill()
    cluster.wait_leader()
    for node in cluster.others(leader):
        wait_for(lambda node=node: value(
            scrape(node), "craftd_raft_leader_changes_total") > seen[node.name],
            5, "the change was counted")
    assert sum(value(scrape(node), "craftd_raft_elections_total")
               for node in cluster.others(leader)) >= 1


def test_metrics_of_peers_that_are_away(cluster):
    """Members that cannot be reached still count as members."""
    cluster.start(3)
    leader = cluster.wait_leader()
    cluster.others(leader)[0].kill()

    def reachable():
        return value(scrape(leader), "craftd_raft_peers_reachable")
    wait_for(lambda: reachable() == 1, 10, "one is away")
    assert value(scrape(leader), "craftd_raft_peers", role="voter") == 3
    cluster.start_all()
    wait_for(lambda: reachable() == 2, 10, "it is back")


def test_metrics_of_the_last_good_backup(cluster, tmp_path):
    """It moves on while backups hold everything, and stays when they fail."""
    where = tmp_path / "backups"
    cluster.start(1, args=["--backup-dir", str(where), "--backup-every", "1s"])
    node = cluster[0]

    def last():
        return value(scrape(node), "craftd_backup_last_success_time_seconds")
    assert last() == 0 or os.listdir(where)
    assert node.put("k", "1").status == 200
    first = wait_for(last, 10, "a backup")
    assert abs(first - time.time()) < 60 and os.listdir(where)
    # Nothing has changed, so nothing is written: the newest is as good.
    later = wait_for(lambda: last() > first and last(), 10, "the time moves on")
    shutil.rmtree(where)
    assert node.put("k", "2").status == 200
    wait_for(lambda: " error " in node.log() and "backup" in node.log(), 10, "it fails")
    stays = last()
    time.sleep(2.2)
    assert last() == stays and stays >= later


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")
def test_metrics_please_promtool(three):
    for node in three:
        text = node.request("GET", "/metrics").body
        done = subprocess.run(["promtool", "check", "metrics"], input=text,
                              capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()


def test_metrics_without_a_cluster(tmp_path):
    """A node that waits to be let in has no log yet, and says so by silence."""
    nodes = Cluster(tmp_path)
    try:
        node = nodes.new()
        node.join = "127.0.0.1:1"
        node.start().up()
        samples = scrape(node)
        assert value(samples, "craftd_raft_has_leader") == 0
        assert not [k for k in samples if k[0].startswith("craftd_storage_fsync")]
    finally:
        nodes.stop()
