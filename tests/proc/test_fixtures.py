"""The tools of these tests themselves: fixtures, and how time is measured."""
import os
import subprocess
import sys
import time

import pytest

from cluster import Stopwatch, cpu_wait_seconds, die_with_parent, wait_for


@pytest.mark.parametrize("number", [0, 1, 2])
def test_shared_nodes_have_no_keys_at_the_start_of_a_test(three, number):
    assert three[number].request("PUT", "/key/shared", b"1").status == 201


def test_a_stopwatch_does_not_count_the_wait_for_a_processor():
    """Three processes that compute all the time share one processor with this
    thread, so that it gets a quarter of it."""
    if not os.path.exists("/proc/self/schedstat"):
        pytest.skip("no schedstat")
    processors = os.sched_getaffinity(0)
    others = []
    try:
        os.sched_setaffinity(0, {min(processors)})
        for _ in range(3):
            others.append(subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                           preexec_fn=die_with_parent))
        for other in others:
            wait_for(lambda pid=other.pid: cpu_wait_seconds(pid) > 0.05, 20, "it competes")
        watch = Stopwatch()
        used = time.thread_time()
        while time.thread_time() < used + 0.2:
            pass
        seconds = watch.seconds()
        elapsed = time.monotonic() - watch.began
    finally:
        os.sched_setaffinity(0, processors)
        for other in others:
            other.kill()
            other.wait()
    assert elapsed > 0.3
    assert 0.2 <= seconds < elapsed - 0.1
