"""The network itself: what is cut does not pass, and everything else does."""
import contextlib
import os
import re
import socket
import subprocess
import sys
import time

import netns

NODES = "abcde"


def neighbours(cut, node):
    """Those it hears and is heard by."""
    return "".join(other for other in NODES if other == node or not
                   {(node, other), (other, node)} & cut)


def test_reachability_of_all_pairs():
    assert neighbours(netns.isolated(NODES, "b"), "b") == "b"
    assert neighbours(netns.isolated(NODES, "b"), "c") == "acde"
    assert netns.mute(NODES, "a") | netns.deaf(NODES, "a") == netns.isolated(
        NODES, "a")
    assert not netns.mute(NODES, "a") & netns.deaf(NODES, "a")
    bridged = netns.bridge(NODES, "a")
    assert [neighbours(bridged, node) for node in NODES] == [
        "abcde", "abc", "abc", "ade", "ade"]
    assert [neighbours(netns.ring(NODES), node) for node in NODES] == [
        "abe", "abc", "bcd", "cde", "ade"]


def received(s):
    found = set()
    while True:
        try:
            found.add(s.recv(100).decode())
        except BlockingIOError:
            return found
        except OSError:  # About one that we sent: told once.
            pass


@netns.inside
def test_a_cut_affects_the_named_pairs(tmp_path):
    network = netns.Network()
    places = [network.add() for _ in range(3)]
    # Every place's own port, on both networks.
    sockets = {}
    for namespace, *addresses in places:
        for address in addresses:
            sockets[address] = s = netns.in_namespace(
                namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            s.bind((address, 5000))
            s.setblocking(False)
    a, b, c = (raft for _, _, raft in places)

    def expect(expected):
        """These pairs (from, to) have a way for a datagram, and no others."""
        for to in (a, b, c):
            received(sockets[to])  # Packets of the last round.
        found = set()
        end = time.monotonic() + 10
        late = None
        while time.monotonic() < (late or end):
            # Again and again: a link takes up to a second to come up.
            for source, to in everything:
                with contextlib.suppress(OSError):
                    sockets[source].sendto(source.encode(), (to, 5000))
            time.sleep(0.02)
            for to in (a, b, c):
                found |= {(source, to) for source in received(sockets[to])}
            if late is None and found >= expected:
                late = time.monotonic() + 0.1  # For those that should not.
        assert found == expected

    everything = netns.between([a], [b, c]) | netns.between([b], [c])
    expect(everything)
    for kind in netns.KINDS:
        network.set_cuts({(a, b)}, kind)
        expect(everything - {(a, b)})
        network.set_cuts(netns.between([c], [a, b]), kind)
        expect(netns.between([a], [b]))
    network.set_cuts(())
    network.set_link(b, False)
    expect(netns.between([a], [c]))
    # The tests still reach it.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        http = places[1][1]
        ours.sendto(b"hello", (http, 5000))
        sockets[http].settimeout(5)
        assert sockets[http].recv(10) == b"hello"
    network.set_link(b, True)
    expect(everything)
    network.close()


SKIPS = """
import netns, pytest
@netns.inside
def test_skips(tmp_path):
    pytest.skip("nothing to cut")
"""


@netns.inside
def test_a_skip_inside_is_a_skip_outside(tmp_path):
    (tmp_path / "test_skips.py").write_text(SKIPS)
    env = {name: value for name, value in os.environ.items() if name != "CRAFTD_NETWORK"}
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs",
         str(tmp_path)], capture_output=True, text=True, timeout=60, check=False,
        env=dict(env, PYTHONPATH=os.path.dirname(netns.__file__)))
    assert re.match("1 skipped", done.stdout.strip().splitlines()[-1]), done.stdout
    assert "nothing to cut" in done.stdout
