"""The rules for Prometheus, the dashboard for Grafana and the snippets for proxies of
scripts/dist, with the tools that read them."""
import json
import os
import re

import pytest
import yaml

import dist
from cluster import HOST, free_port, request, wait_for
from dist import need, run
from nginx import http
from test_proxies import running


def slow(name, slow_part):
    """A histogram in which one observation of `slow_part` takes over a second."""
    counts = {"0.1": 100 - 100 // slow_part, "0.25": 100 - 100 // slow_part,
              "1": 100 - 100 // slow_part, "5": 100, "+Inf": 100}
    return {f'{name}_bucket{{job="craftd",instance="a",le="{le}"}}': f"0+{n}x40"
            for le, n in counts.items()}


def craftd(name, values, more="", instance="a"):
    return {f'{name}{{job="craftd",instance="{instance}"{more}}}': values}


def requests(errors):
    return {**craftd("craftd_http_requests_total", "0+100x40", ',code="2xx"'),
            **craftd("craftd_http_requests_total", f"0+{errors}x40", ',code="5xx"')}


def peers(reachable):
    return {**craftd("craftd_raft_peers", "2x40", ',role="voter"'),
            **craftd("craftd_raft_peers", "1x40", ',role="learner"'),
            **craftd("craftd_raft_peers_reachable", f"{reachable}x40")}


def database(quota):
    return {**craftd("craftd_storage_db_size_bytes", "900x40"),
            **craftd("craftd_storage_quota_bytes", f"{quota}x40")}


def applied(behind):
    return {**craftd("craftd_raft_commit_index", "50000x40"),
            **craftd("craftd_raft_applied_index", f"{50000 - behind}x40"),
            **craftd("craftd_raft_applied_index", "50000x40", instance="b")}


# Of each alert: series with which it fires, and series with which it does not. They
# have a sample a minute.
ALERTS = {
    "CraftdNoLeader": (craftd("craftd_raft_is_leader", "0x40"),
                       {**craftd("craftd_raft_is_leader", "0x40"),
                        **craftd("craftd_raft_is_leader", "1x40", instance="b")}),
    "CraftdNodeDown": (craftd("up", "0x40"), craftd("up", "1x40")),
    "CraftdNoLeaderKnown": (craftd("craftd_raft_has_leader", "0x40"),
                            craftd("craftd_raft_has_leader", "1x40")),
    "CraftdPeersUnreachable": (peers(1), peers(2)),
    "CraftdLeaderChanges": (craftd("craftd_raft_leader_changes_total", "0+1x40"),
                            craftd("craftd_raft_leader_changes_total", "0x20 1x20")),
    "CraftdFollowerBehind": (applied(20000), applied(9000)),
    "CraftdDiskFull": (craftd("craftd_storage_no_space", "1x40"),
                       craftd("craftd_storage_no_space", "0x40")),
    # Without a quota the database is never nearly full.
    "CraftdDatabaseNearlyFull": (database(1000), database(0)),
    "CraftdSlowDisk": (slow("craftd_storage_fsync_duration_seconds", 20),
                       slow("craftd_storage_fsync_duration_seconds", 1000)),
    "CraftdSlowCommits": (slow("craftd_raft_commit_duration_seconds", 20),
                          slow("craftd_raft_commit_duration_seconds", 1000)),
    "CraftdServerErrors": (requests(20), requests(1)),
    "CraftdLoginsFail": (craftd("craftd_auth_failures_total", "0+120x40"),
                         craftd("craftd_auth_failures_total", "0+30x40")),
    "CraftdWatchesSlow": (craftd("craftd_watch_lag_seconds_max", "12x40"),
                          craftd("craftd_watch_lag_seconds_max", "0x30 12x10")),
    # Time 0 of a test is that of the epoch.
    "CraftdBackupOld": (craftd("craftd_backup_last_success_time_seconds", "-172900x40"),
                        craftd("craftd_backup_last_success_time_seconds", "-3600x40")),
    "CraftdDescriptors": ({**craftd("process_open_fds", "95x40"),
                           **craftd("process_max_fds", "100x40")},
                          {**craftd("process_open_fds", "50x40"),
                           **craftd("process_max_fds", "100x40")}),
}


def rules():
    with open(os.path.join(dist.SCRIPTS, "alerts.yml")) as file:
        return [rule for group in yaml.safe_load(file)["groups"]
                for rule in group["rules"]]


def test_every_alert_fires_and_is_silent(tmp_path):
    """promtool runs the rules over series of both kinds."""
    need("promtool")
    assert {rule["alert"] for rule in rules()} == set(ALERTS)
    run("promtool", "check", "rules", os.path.join(dist.SCRIPTS, "alerts.yml"))
    for kind in (0, 1):
        tests = []
        for alert, series in ALERTS.items():
            expression = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
            tests.append({
                "interval": "1m", "name": alert,
                "input_series": [{"series": name, "values": values}
                                 for name, values in series[kind].items()],
                "promql_expr_test": [{"expr": expression, "eval_time": "35m",
                                      "exp_samples": [{"labels": "{}", "value": 1}]
                                      if kind == 0 else []}]})
        path = tmp_path / f"tests{kind}.yml"
        path.write_text(yaml.safe_dump({
            "rule_files": [os.path.join(dist.SCRIPTS, "alerts.yml")], "tests": tests}))
        run("promtool", "test", "rules", path)


def dashboard():
    return json.loads(run(os.path.join(dist.SCRIPTS, "dashboard")))


def expressions():
    return [target["expr"] for panel in dashboard()["panels"]
            for target in panel["targets"]]


def test_the_dashboard_is_queries(tmp_path):
    """Each of them is one that Prometheus understands, with Grafana's variables in
    their places."""
    need("promtool")
    assert len(expressions()) > 15
    known = [("$__rate_interval", "5m"), ("$job", "craftd"), ("$instance", ".*")]
    tried = []
    for number, text in enumerate(expressions()):
        for name, value in known:
            text = text.replace(name, value)
        assert "$" not in text
        tried.append({"record": f"one:{number}", "expr": text})
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": tried}]}))
    run("promtool", "check", "rules", path)
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
    assert len(places) == len(panels)


def test_every_metric_is_one_of_the_node(cluster, tmp_path):
    """Names and labels of rules and dashboard are in /metrics of a node that has done
    everything that is counted."""
    node = cluster.new(args=["--backup-dir", str(tmp_path / "backups"),
                             "--backup-every", "1s"]).start().up()
    cluster.wait_leader()
    assert node.put("k", "v").status == 200
    wait_for(lambda: b"craftd_backup_last_success_time_seconds"
             in node.request("GET", "/metrics").body, 20, "a backup")
    text = node.request("GET", "/metrics").body.decode()
    exported = set(re.findall(r"(?m)^(\w+)[{ ]", text))
    for expression in expressions() + [rule["expr"] for rule in rules()]:
        names = set(re.findall(r"\b(?:craftd|process)_[a-z_]+\b", expression))
        assert names <= exported, names - exported
        for labels in re.findall(r"by \(([a-z, ]+)\)", expression):
            for label in set(labels.split(", ")) - {"job", "instance"}:
                assert re.search(rf'(?m)^(?:{"|".join(names)})(?:_bucket)?\{{.*\b{label}="',
                                 text), (expression, label)


# ---- proxies ----

def snippet(name, nodes, port):
    """The file with the addresses of these nodes, and that port."""
    with open(os.path.join(dist.SCRIPTS, name)) as file:
        text = file.read()
    for number, node in enumerate(nodes, 1):
        assert f"10.0.0.{number}:11000" in text
        text = text.replace(f"10.0.0.{number}:11000", f"{HOST}:{node.http_port}")
    assert re.search(r"(bind :|listen )80\b", text)
    return re.sub(r"(bind :|listen )80\b", lambda m: {
        "bind :": f"bind {HOST}:", "listen ": f"listen {HOST}:"}[m[1]] + str(port), text)


def haproxy(nodes, port, folder):
    config = folder / "haproxy.cfg"
    config.write_text(snippet("haproxy.cfg", nodes, port))
    run("haproxy", "-c", "-f", config)
    return ["haproxy", "-db", "-f", str(config)]


def nginx(nodes, port, folder):
    (folder / "craftd.conf").write_text(snippet("nginx.conf", nodes, port))
    config = folder / "nginx.conf"
    config.write_text(f"""
        daemon off;
        pid {folder}/nginx.pid;
        error_log stderr;
        """ + http(folder, f"include {folder}/craftd.conf;"))
    run("nginx", "-t", "-c", config)
    return ["nginx", "-c", str(config)]


@pytest.mark.parametrize("configure", [haproxy, nginx])
def test_writes_through_a_proxy_go_to_any_node(cluster, tmp_path, configure):
    """Every node takes them; when one dies, the others do. HAProxy asks /readyz."""
    need(configure.__name__)
    cluster.start(3, args=["--trust-proxy", f"header:{HOST}"])
    port = free_port()
    os.chmod(tmp_path, 0o777)
    with running(configure(list(cluster), port, tmp_path), port, tmp_path / "proxy.log"):
        wait_for(lambda: request(port, "GET", "/readyz").status == 200, 20, "it is up")
        for number in range(6):
            assert request(port, "POST", "/key", {f"k{number}": "v"}).status == 200
        assert request(port, "PUT", "/key/large", "x" * 500_000).status in (200, 201)
        for node in cluster:
            assert node.metric(
                r'craftd_http_request_duration_seconds_count\{route="key"\}') > 0
        answered = {request(port, "GET", "/status").json()["me"]["id"] for _ in range(12)}
        assert answered == {node.name for node in cluster}
        assert request(port, "GET", "/backup").body.startswith(b"SQLite format 3\0")

        dead = cluster.wait_leader()
        dead.kill()
        cluster.wait_leader()

        def writes():
            # Each request is answered by one of the two.
            return all(request(port, "POST", "/key", {"after": str(n)}).status == 200
                       for n in range(6))
        wait_for(writes, 20, "writes go on")
        assert request(port, "GET", "/key/k0").json() == {"k0": "v"}

        # A node that follows no leader is not ready, and gets nothing from HAProxy.
        if configure is haproxy:
            last = cluster.others(dead)[0]
            last.kill()
            alone = cluster.others(dead)[1]
            wait_for(lambda: alone.request("GET", "/readyz").status == 503, 20, "alone")
            wait_for(lambda: request(port, "GET", "/livez").status == 503, 20,
                     "no server is left")
