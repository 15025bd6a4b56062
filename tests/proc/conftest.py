import faulthandler
import os
import resource
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import netns  # noqa: E402
from cluster import BINARY, HOST, Cluster, free_port, wait_for  # noqa: E402

LOG_TAIL = 60
TEST_SECONDS_MAX = int(os.environ.get("TEST_SECONDS_MAX", "180"))


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): the test may take that long")
    # 1000 idle connections need a descriptor each, here as in the daemon.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096 <= hard or hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))


def pytest_sessionstart(session):
    if not os.access(BINARY, os.X_OK):
        pytest.exit(f"{BINARY} is not there: run make first", returncode=2)


@pytest.fixture
def cluster(tmp_path):
    """An empty cluster of the test's own: cluster.start(3), cluster.new()."""
    nodes = Cluster(tmp_path)
    yield nodes
    nodes.stop()


@pytest.fixture
def network(tmp_path):
    """With a namespace for each node; empty outside (netns.inside)."""
    if not netns.INSIDE:
        yield ()
        return
    with netns.cluster_in(tmp_path) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def three_nodes(tmp_path_factory):
    nodes = Cluster(tmp_path_factory.mktemp("three"))
    try:
        yield nodes.start(3)
    finally:
        nodes.stop()


@pytest.fixture
def three(three_nodes):
    """Three nodes without keys, shared by the tests that leave members and
    processes as they were."""
    leader = three_nodes.wait_leader()
    if leader.request("GET", "/keys?count").json()["count"] > 0:
        assert leader.request("DELETE", "/keys?all", timeout=60).status == 200
    three_nodes.wait_same()
    yield three_nodes
    for node in three_nodes.running():
        wait_for(lambda node=node: node.status()["watch"]["watchers"] == 0, 10,
                 f"the test leaves no watch open at {node.name}")


@pytest.fixture
def addr(three):
    """For CRAFTD_ADDR: nobody listens at the first one."""
    return ",".join([f"{HOST}:{free_port()}"] + [node.http for node in three])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails, with the stacks of all threads."""
    marker = item.get_closest_marker("seconds")
    limit = max(TEST_SECONDS_MAX, marker.args[0] if marker else 0)
    if "ROUNDS" in os.environ or "IDLE" in os.environ:
        limit *= 20
    limit += int(60 * float(os.environ.get("MINUTES", "0")))

    def too_long(*_):
        faulthandler.dump_traceback(file=sys.__stderr__)
        raise AssertionError(f"not done within {limit} s")
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(limit)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every node's log."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for name in ("cluster", "three"):
        for node in getattr(item, "funcargs", {}).get(name, ()):
            tail = node.log().splitlines()[-LOG_TAIL:]
            state = "running" if node.alive() else (
                f"exit {node.proc.returncode}" if node.proc else "not started")
            report.sections.append((f"{node.name} ({state}) {node.log_path}",
                                    "\n".join(tail)))
