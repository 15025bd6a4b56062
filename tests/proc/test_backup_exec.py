"""--backup-exec: a command for each scheduled backup; what has become of it is in
/status, /metrics and the hints."""
import os
import re
import shutil
import signal
import time

import pytest

from cluster import wait_for


@pytest.fixture
def start(cluster, tmp_path):
    def run(command, *args):
        node = cluster.new(args=["--backup-dir", str(tmp_path / "backups"), "--backup-every",
                                 "1s", "--backup-exec", command, *args])
        node.where = str(tmp_path / "backups")
        node.start().up()
        cluster.wait_leader()
        return node
    return run


def backups(node):
    return node.status()["backups"]


def test_the_command_gets_path_index_and_size(start, tmp_path):
    """Its environment; the shell's words; its output is in the log."""
    done = tmp_path / "it's done"
    node = start(f'echo "$CRAFTD_PATH $CRAFTD_INDEX $CRAFTD_BYTES" >>"{done}"; echo said; '
                 f'readlink /proc/self/fd/* >>"{tmp_path}/fds"; true')
    assert backups(node) == {"time": 0, "index": 0, "bytes": 0, "failures": 0,
                             "exec_time": 0, "exec_failures": 0}
    for i in range(2):
        assert node.put("k", f"{i}").status == 200
        wait_for(lambda i=i: done.exists() and done.read_text().count("\n") == i + 1, 15, "a run")
    wait_for(lambda: backups(node)["exec_time"] > 0, 5, "its end")
    path, index, size = done.read_text().splitlines()[-1].split()
    assert os.path.dirname(path) == node.where and f"{int(index):020}" in path
    assert os.path.getsize(path) == int(size)
    state = backups(node)
    assert (state["index"], state["bytes"]) == (int(index), int(size))
    assert (state["failures"], state["exec_failures"]) == (0, 0)
    assert abs(state["exec_time"] - time.time()) < 60 and abs(state["time"] - time.time()) < 60
    assert node.metric("craftd_backup_last_success_size_bytes") == int(size)
    assert node.metric("craftd_backup_exec_last_success_time_seconds") >= state["exec_time"]
    assert node.metric("craftd_backup_exec_failures_total") == 0
    assert "said\n" in node.log()
    assert not [hint for hint in node.status()["hints"] if "backup" in hint]
    # It has none of the node's descriptors.
    assert not re.search(r"state\.db|\.wal|socket:", (tmp_path / "fds").read_text())


def test_the_command_has_the_environment_of_the_node(start, tmp_path, monkeypatch):
    """The operator puts the keys of its tools there. What a service manager has set
    for the node alone would make a program in it report to the manager."""
    seen = tmp_path / "environment"
    for name, value in (("ACCESS_KEY", "of the store"), ("NOTIFY_SOCKET", str(tmp_path / "n")),
                        ("WATCHDOG_USEC", "60000000")):
        monkeypatch.setenv(name, value)
    node = start(f"env >{seen}.new; mv {seen}.new {seen}")
    assert node.put("k", "1").status == 200
    wait_for(seen.exists, 15, "a run")
    lines = seen.read_text().splitlines()
    assert "ACCESS_KEY=of the store" in lines
    assert not [line for line in lines if line.startswith(("NOTIFY_", "WATCHDOG_"))]


def test_no_signal_is_ignored_in_the_command(start, tmp_path):
    """As the node ignores some: a writer to a pipe that nobody reads ends."""
    seen = tmp_path / "ignored"
    node = start(f"grep -E 'Sig(Ign|Blk)' /proc/self/status >{seen}.new; mv {seen}.new {seen}")
    assert node.put("k", "1").status == 200
    wait_for(seen.exists, 15, "a run")
    assert set(re.findall(r":\s*([0-9a-f]+)", seen.read_text())) == {"0" * 16}


@pytest.mark.parametrize("command, why", [
    ("exit 3", "its exit code was 3"), ("kill -9 $$", "signal 9 ended it"),
    ("nowhere-to-be-found", "its exit code was 127"),
    ("sleep 300 & sleep 300", "it was killed after 1 s")])
def test_a_failure_is_a_hint_and_a_figure(start, command, why):
    node = start(f"test -e ok || {{ {command}; }}")
    assert node.put("k", "v").status == 200

    def hint():
        return [hint for hint in node.status()["hints"] if "--backup-exec failed" in hint]
    said = wait_for(hint, 15, "a hint")
    assert why in said[0] and f"index {backups(node)['index']}:" in said[0]
    assert backups(node)["exec_failures"] == 1 and backups(node)["exec_time"] == 0
    assert node.metric("craftd_backup_exec_failures_total") == 1
    assert backups(node)["failures"] == 0 and os.listdir(node.where)
    assert f'why="{why}"' in node.log()
    if "sleep" in command:  # All that it has started is gone.
        wait_for(lambda: not sleepers(node), 5, "no process")


def sleepers(node):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                environment = f.read()
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if f.read() == b"sleep\x00300\x00" and node.where.encode() in environment:
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_a_hint_goes_when_the_next_run_succeeds(start, tmp_path):
    node = start(f"test -e '{tmp_path}/ok'")
    assert node.put("k", "1").status == 200
    wait_for(lambda: backups(node)["exec_failures"] == 1, 15, "a failure")
    (tmp_path / "ok").write_text("")
    assert node.put("k", "2").status == 200
    wait_for(lambda: backups(node)["exec_time"] > 0, 15, "a success")
    assert not [hint for hint in node.status()["hints"] if "backup" in hint]
    assert backups(node)["exec_failures"] == 1


def test_a_slow_command_holds_nothing_up(start):
    node = start("sleep 0.8")
    assert node.put("k", "1").status == 200
    wait_for(lambda: backups(node)["index"] > 0, 15, "a backup")
    began = time.monotonic()
    for i in range(50):
        assert node.put(f"more-{i}", "x").status == 200
    assert time.monotonic() - began < 5
    wait_for(lambda: backups(node)["exec_time"] > 0, 15, "its end")
    began = time.monotonic()
    assert node.terminate() == 0
    assert time.monotonic() - began < 8


def test_the_process_that_runs_it_may_die(start):
    """Then runs fail, and nothing else does."""
    node = start("true")
    assert node.put("k", "1").status == 200
    wait_for(lambda: backups(node)["exec_time"] > 0, 15, "a run")
    helpers = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            if parent == node.pid:
                fds = [os.readlink(f"/proc/{pid}/fd/{fd}")
                       for fd in os.listdir(f"/proc/{pid}/fd")]
                if sum("socket:" in fd for fd in fds) == 1:
                    helpers.append(int(pid))
        except OSError:
            pass
    for pid in helpers:  # One of them resolves names, and is replaced.
        os.kill(pid, signal.SIGKILL)
    assert node.put("k", "2").status == 200
    wait_for(lambda: backups(node)["exec_failures"] > 0, 15, "a failure")
    assert "could not be started" in str(node.status()["hints"])
    assert node.put("k", "3").status == 200 and node.terminate() == 0


def test_a_failed_backup_is_a_hint(start):
    node = start("true")
    shutil.rmtree(node.where)
    assert node.put("k", "1").status == 200
    wait_for(lambda: backups(node)["failures"] > 0, 15, "a failure")
    assert [hint for hint in node.status()["hints"] if "scheduled backup failed" in hint]
    assert node.metric("craftd_backup_failures_total") > 0


def test_it_needs_a_directory(cluster):
    node = cluster.new(args=["--backup-exec", "true"]).start()
    assert node.wait_exit() == 2
    assert "--backup-exec needs --backup-dir" in node.log()
