"""scripts/cluster as a newcomer runs it, in a network of its own: its ports are
fixed."""
import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest

from cluster import ROOT, die_with_parent, wait_for

PREFIX = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


@pytest.fixture
def network():
    if subprocess.run([*PREFIX, "true"], capture_output=True).returncode:
        pytest.skip("no network namespace")


def inside(pid, *argv):
    """In the network of that process."""
    return subprocess.run(["nsenter", "-n", "-t", str(pid), *argv], cwd=ROOT, text=True,
                          capture_output=True, timeout=30, check=False)


# It may have to build the daemon first.
@pytest.mark.seconds(600)
def test_a_cluster_for_newcomers(network, tmp_path):
    """It says what to type, and that works; a node that dies is one line, with
    the command line that brings it back."""
    out = tmp_path / "out"
    with open(out, "wb") as file:
        script = subprocess.Popen([*PREFIX, "scripts/cluster", "--dir", str(tmp_path / "d")],
                                  cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file,
                                  stderr=file, preexec_fn=die_with_parent)
    try:
        wait_for(lambda: "node2: pid" in out.read_text(), 240, "three nodes")
        shown = out.read_text()
        for line in re.findall(r"(?m)^    (build/craftd .*|curl .*)$", shown):
            done = inside(script.pid, "sh", "-e", "-c", line)
            assert done.returncode == 0, (line, done)
        assert "build/craftd put greeting hello" in shown
        before = len(shown)
        victim = int(re.search(r"node1: pid (\d+)", shown)[1])
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: "\n" in out.read_text()[before:], 10, "a line")
        said = out.read_text()[before:].splitlines()
        assert len(said) == 1 and "node1 was killed by signal 9; " in said[0], said
        again = shlex.split(said[0].split("start it again: ")[1])
        node = subprocess.Popen(["nsenter", "-n", "-t", str(script.pid), *again], cwd=ROOT,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        try:
            wait_for(lambda: inside(script.pid, "build/craftd", "get", "--stale", "--addr",
                                    "localhost:11001", "greeting").stdout == "hello", 20,
                     "it is back")
        finally:
            node.terminate()
            node.wait(20)
    finally:
        script.send_signal(signal.SIGINT)
        script.wait(120)


def run_cluster(directory, out):
    with open(out, "wb") as file:
        script = subprocess.Popen([*PREFIX, "scripts/cluster", "--dir", str(directory)],
                                  cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file,
                                  stderr=file, preexec_fn=die_with_parent)
    return script


@pytest.mark.seconds(600)
def test_a_first_node_that_lost_its_directory_joins(network, tmp_path):
    """It founds the cluster only when no node is a member of one, be its
    directory there or not."""
    directory = tmp_path / "d"
    os.makedirs(directory / "node0")  # A first start that did not come far.
    for number, command in enumerate(("put kept 1", "get kept")):
        out = tmp_path / f"out{number}"
        script = run_cluster(directory, out)
        try:
            wait_for(lambda o=out: "node2: pid" in o.read_text(), 240, "three nodes")
            done = inside(script.pid, "build/craftd", *command.split(), "--addr",
                          "localhost:11000")
            assert done.returncode == 0, (done, out.read_text())
        finally:
            script.send_signal(signal.SIGINT)
            script.wait(120)
        shutil.rmtree(directory / "node0")
    assert done.stdout == "1"


def test_ages_are_of_the_monotonic_clock():
    """A wall clock is set at any time: it is shown, and nothing is reckoned with it.
    These show it."""
    shown = {"src/base/log.c", "src/main.c", "src/ops/backups.c", "src/report.c"}
    reads = r"\btime\((NULL|&)|CLOCK_REALTIME|gettimeofday\(|\bftime\("
    found = set()
    for folder, _, files in os.walk(os.path.join(ROOT, "src")):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as file:
                if name.endswith((".c", ".h")) and re.search(reads, file.read()):
                    found.add(os.path.relpath(path, ROOT))
    assert {path for path in found if not path.startswith("src/client/")} == shown
