"""How the log is written (--io): all ways keep what was acknowledged, and
what is asked for is what one gets."""
import contextlib
import os
import signal
import subprocess
import time

import pytest

from cluster import forbidding, wait_for
from load import Writers, verify

IO_URING_SETUP = 425


def rings(node):
    """io_uring descriptors of the process."""
    folder = f"/proc/{node.pid}/fd"
    count = 0
    for name in os.listdir(folder):
        try:
            count += "io_uring" in os.readlink(os.path.join(folder, name))
        except FileNotFoundError:
            pass
    return count


def syncers(node):
    """The processes that sync for it: its children but the first, which resolves
    names."""
    with open(f"/proc/{node.pid}/task/{node.pid}/children") as file:
        return [int(pid) for pid in file.read().split()][1:]


def start_or_skip(cluster, count, io):
    """With --io=uring only where there is one."""
    if io == "uring":
        probe = cluster.new(name="probe").start().up()
        found = rings(probe)
        probe.kill()
        cluster.nodes.remove(probe)
        if not found:
            pytest.skip("no io_uring here")
    cluster.start(count, args=[f"--io={io}"])
    assert [rings(node) for node in cluster] == [int(io == "uring")] * count
    assert [len(syncers(node)) for node in cluster] == [2 * (io == "process")] * count


@pytest.mark.parametrize("io", ["sync", "uring", "process"])
def test_killed_under_load(cluster, io):
    """All at once, and again: nothing acknowledged is missing."""
    start_or_skip(cluster, 3, io)
    done = []
    for number in range(3):
        writers = Writers(cluster.nodes, threads=6, rate=150, count=400,
                          tag=f"r{number}").start()
        writers.wait_acked(100)
        cluster.kill_all()
        writers.stop()
        done.append(writers)
        cluster.start_all()
        cluster.wait_leader(15)
        cluster.wait_same()
        assert verify(cluster, *done) > 50 * len(done)


def test_a_node_may_change_its_way(cluster):
    """The files are the same."""
    start_or_skip(cluster, 1, "uring")
    node = cluster[0]
    for i, io in enumerate(["sync", "process", "uring", "auto"]):
        assert node.put(f"k{i}", "v").status == 200
        node.kill() if i % 2 else node.terminate()
        node.args = [f"--io={io}"]
        node.start().up()
        cluster.wait_leader()
        assert [node.get(f"k{k}") for k in range(i + 1)] == ["v"] * (i + 1)
        assert rings(node) == int(io in ("uring", "auto"))
        assert len(syncers(node)) == 2 * (io == "process")


def test_in_memory_there_is_nothing_to_write(cluster):
    node = cluster.new(args=["--io=uring"], inmem=True).start().up()
    assert rings(node) == 0


def test_where_it_is_forbidden(cluster):
    """Asked for: an error that says so. Else: one line, and it works."""
    node = cluster.new(args=["--io=uring"])
    wrong = subprocess.run(forbidding(IO_URING_SETUP, node.argv()),
                           capture_output=True, text=True, timeout=30,
                           stdin=subprocess.DEVNULL)
    assert wrong.returncode == 1
    assert "--io=uring" in wrong.stderr and "io_uring" in wrong.stderr
    node.args = []
    node.start(forbidding(IO_URING_SETUP, node.argv())).up()
    wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
    assert rings(node) == 0
    assert len(syncers(node)) == 2
    assert node.log().count("log=process") == 1


def test_a_process_that_syncs_is_killed(cluster):
    """Whichever it is: what it has synced is unknown, so the node stops with a
    sentence, and comes back with all that was acknowledged."""
    start_or_skip(cluster, 3, "process")
    writers = Writers(cluster.nodes, threads=6, rate=150, count=900, tag="k").start()
    writers.wait_acked(60)
    for number, node in enumerate([cluster.wait_leader(), *cluster][:3]):
        if not node.alive():
            continue
        os.kill(syncers(node)[number % 2], signal.SIGKILL)
        assert node.wait_exit(20) == -signal.SIGABRT
        assert ("which syncs files, has ended: whether the last writes are on the disk "
                "is unknown") in node.log()
        node.start().up()
        cluster.wait_leader(15)
        writers.wait_acked(60 * (number + 2))
    writers.stop()
    cluster.wait_same()
    assert verify(cluster, writers) > 100


def test_a_process_that_syncs_has_nothing_of_its_own(cluster):
    """No file, no listener, and a sandbox; Ctrl-C is for the node, and with the
    node it ends."""
    node = cluster.new(args=["--io=process"]).start().up()
    wait_for(lambda: node.put("k", "v").status == 200, 10, "a write")
    pids = syncers(node)
    for pid in pids:
        assert set(os.listdir(f"/proc/{pid}/fd")) == {"0", "1", "2", "3"}
        assert os.readlink(f"/proc/{pid}/fd/3").startswith("socket:")
        with open(f"/proc/{pid}/status") as file:
            status = file.read()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
    assert node.put("k", "w").status == 200
    node.kill()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 10,
             "they end with it")
    node.start().up()
    assert node.terminate() == 0 and node.log().count("has ended") == 0


# ---- a disk that does not answer ----

def run(*words):
    subprocess.run(words, check=True, capture_output=True, timeout=30,
                   stdin=subprocess.DEVNULL)


@contextlib.contextmanager
def frozen(folder):
    """Whoever writes to that file system waits. It thaws after a while even if
    nobody is left to see to it: who waits so cannot be killed."""
    late = subprocess.Popen(["sh", "-c", 'sleep 60; fsfreeze -u "$1"', "sh",
                             folder], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        run("fsfreeze", "-f", folder)
        try:
            yield
        finally:
            run("fsfreeze", "-u", folder)
    finally:
        late.kill()
        late.wait()


@pytest.fixture
def small_disk(tmp_path):
    """Skipped where one may not mount, or the tools are not there."""
    folder, image = str(tmp_path / "disk"), str(tmp_path / "disk.img")
    os.makedirs(folder)
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    try:
        run("mkfs.ext4", "-q", image)
        run("mount", "-o", "loop", image, folder)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system of our own: {error}")
    try:
        try:
            with frozen(folder):
                pass
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"it cannot be frozen: {error}")
        yield folder
    finally:
        run("umount", folder)


def test_a_disk_that_does_not_answer(small_disk, cluster):
    """Its node steps down, and goes on with what needs no disk; the others do
    not wait for it; when the disk is back it catches up."""
    stuck = cluster.new(args=["--io=uring"])
    stuck.dir = os.path.join(small_disk, "data")
    stuck.start().up()
    if not rings(stuck):
        pytest.skip("no io_uring here")
    cluster.wait_leader()
    for _ in range(2):
        cluster.add(stuck.http)
    cluster.wait_members(3)
    for i in range(20):
        assert stuck.put(f"before{i}", "v").status == 200
    other = cluster.others(stuck)[0]
    time.sleep(1.0)  # All is committed: the log is the next to be written.
    with frozen(small_disk):
        wait_for(lambda: other.put("during", "v").status == 200, 40)
        assert cluster.leader() != stuck
        wait_for(lambda: "disk-stuck" in stuck.log(), 10, "it is logged")
        assert stuck.get("before7", level="none") == "v"
        for i in range(20):
            assert other.put(f"during{i}", "v").status == 200
        assert "disk-again" not in stuck.log()
    cluster.wait_same()
    wait_for(lambda: "disk-again" in stuck.log(), 10, "it is logged")
    assert stuck.get("during19", level="none") == "v"
    assert stuck.get("during") == "v"
