"""craftd ls against real nodes."""
from urllib.parse import unquote_to_bytes

from test_client import run


def test_ls_is_all_of_it_in_order(three, addr):
    """More than two pages; the keys and values come back."""
    pairs = {f"cli/ls/{i:05}\u00fc\t%": f"line\n{i}" for i in range(2500)}
    assert three[0].request("POST", "/key", pairs).status == 200
    lines = run("ls", "cli/ls/", addr=addr).splitlines()
    found = [tuple(unquote_to_bytes(part).decode() for part in line.split(b"\t"))
             for line in lines]
    assert found == sorted(pairs.items())
    keys = run("ls", "--keys", "cli/ls/", addr=addr).splitlines()
    assert keys == [line.split(b"\t")[0] for line in lines]
    assert run("ls", "--keys", "--limit", "1234", "cli/ls/", addr=addr).splitlines() == keys[:1234]
    assert run("ls", "--limit", "0", "cli/ls/", addr=addr) == b""
    assert run("ls", "cli/none/", addr=addr) == b""


def test_a_key_is_one_line(three, addr):
    for key in ("cli/one/a b", "cli/one/%41", "cli/one/tab\tline\n", "cli/one/\u00fc"):
        assert three[0].put(key, "v").status == 200
        listed = run("ls", "--keys", "--", key, addr=addr)
        assert listed.endswith(b"\n")
        assert unquote_to_bytes(listed[:-1]) == key.encode()


def test_stale_lists_work_without_a_leader(cluster):
    cluster.start(3)
    assert cluster[0].put("k", "v").status == 200
    cluster.wait_same()
    for node in (cluster[1], cluster[2]):
        node.kill()
    assert run("ls", "--stale", addr=cluster[0].http) == b"k\tv\n"
